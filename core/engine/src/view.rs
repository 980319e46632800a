//! One generation of the configuration, as one core sees it.
//!
//! A view wraps the shared snapshot in this core's own reference counts, so that a request pins what it needs without
//! an atomic operation. It is built when the core adopts a generation; what did not change is carried over, and with
//! it the pools and counters. A request holds its [`CoreCluster`] to its last byte and nothing else of the view.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use ringway_model::format::{Fact, Operator};
use ringway_model::{
    AccessLog, Caches, ChainId, ClusterId, Differing, FilterChain, HttpConnectionManager, Listener, ListenerId,
    NetworkFilter, Pages, Snapshot, TcpProxy,
};
use ringway_observe::{HttpStats, Line, ListenerStats, TcpStats};

use crate::active::ActiveRows;
use crate::breakers::ClusterSeed;
use crate::by_chain::ByChain;
use crate::connection_filter::{CoreFilter, FilterKey, FilterSeed};
use crate::core_cluster::{ClusterState, CoreCluster};
use crate::inspector_stats::InspectorStats;
use crate::load::{ClusterLoad, LoadRows};
use crate::log::LogSinks;
use crate::told_heads::AskedFields;

/// What the control side gives a worker for one HTTP connection manager's statistics.
pub(crate) type HttpSeeds = HashMap<(ListenerId, String), Arc<HttpStats>>;

/// The statistics that the control side gives a worker for what it listens to.
#[derive(Default)]
pub(crate) struct ListenerSeeds {
    pub(crate) listeners: HashMap<ListenerId, Arc<ListenerStats>>,
    pub(crate) http: HttpSeeds,
    /// Of listener filters, by their place.
    pub(crate) inspectors: HashMap<(ListenerId, usize), InspectorStats>,
    /// Of network filters before the last.
    pub(crate) filters: HashMap<FilterKey, FilterSeed>,
    /// Of `tcp_proxy`, by `stat_prefix`.
    pub(crate) tcp: HashMap<String, Arc<TcpStats>>,
}

/// What access logs want on this core.
pub(crate) struct CoreLogs {
    /// The lines of the access logs and the numbers of their sinks, in the order of the logs.
    pub(crate) lines: Vec<(Line, u32)>,
    /// What the logs ask of heads.
    pub(crate) asked_fields: AskedFields,
    /// Whether a log tells of our address towards the upstream: the system is asked only then.
    pub(crate) asks_upstream_local: bool,
}

impl CoreLogs {
    fn new(logs: &[AccessLog], sinks: &LogSinks) -> Self {
        Self {
            lines: logs.iter().map(|log| (Line::new(&log.text), sinks[&log.sink])).collect(),
            asked_fields: AskedFields::of(logs),
            asks_upstream_local: logs.iter().any(|log| log.text.asks_for(is_upstream_local)),
        }
    }

    /// Whether they are those of `logs`, which did not change, in these sinks.
    fn go_to(&self, logs: &[AccessLog], sinks: &LogSinks) -> bool {
        self.lines.iter().map(|(_, sink)| *sink).eq(logs.iter().map(|log| sinks[&log.sink]))
    }
}

/// A filter chain that ends in `tcp_proxy`, on this core.
pub(crate) struct CoreTcp {
    pub(crate) listener: Arc<Listener>,
    pub(crate) config: Arc<FilterChain>,
    pub(crate) tcp: Arc<TcpProxy>,
    pub(crate) stats: Arc<TcpStats>,
    pub(crate) logs: CoreLogs,
    /// Those of its listener, where it has some.
    pub(crate) listener_logs: Option<Rc<CoreLogs>>,
    /// What may be queued towards a client, where the listener says.
    pub(crate) unsent_max: Option<u32>,
}

impl CoreTcp {
    /// Whether some log tells of its connections.
    pub(crate) fn is_logged(&self) -> bool {
        !self.logs.lines.is_empty() || self.listener_logs.is_some()
    }
}

/// A listener's chains on this core, by what they end in.
struct CoreListener {
    config: Arc<Listener>,
    stats: Arc<ListenerStats>,
    /// Which chain takes a connection may depend on what the client says first.
    waits: bool,
    /// Of its listener filters, in their order.
    inspectors: Rc<[InspectorStats]>,
    /// `access_log`, where it has some.
    logs: Option<Rc<CoreLogs>>,
    chains: ByChain<Chain>,
}

/// One chain of it.
struct Chain {
    /// Those before the last, where it has some.
    filters: Option<Rc<[CoreFilter]>>,
    last: Last,
}

/// What a chain ends in.
enum Last {
    Http(Rc<CoreChain>),
    Tcp(Rc<CoreTcp>),
}

/// A filter chain that ends in an HTTP connection manager, on this core.
pub(crate) struct CoreChain {
    pub(crate) config: Arc<FilterChain>,
    pub(crate) http: Arc<HttpConnectionManager>,
    pub(crate) stats: Arc<HttpStats>,
    /// Working memory of this core for look-ups in the chain's routes.
    pub(crate) caches: Rc<RefCell<Caches>>,
    /// The bounds on one request, as the connection manager sets them.
    pub(crate) codec_limits: ringway_protocols::Limits,
    /// What may be queued towards a client, where the listener says.
    pub(crate) unsent_max: Option<u32>,
    pub(crate) logs: CoreLogs,
}

impl CoreChain {
    /// The bounds on one request, as a connection manager sets them.
    pub(crate) fn codec_limits(http: &HttpConnectionManager) -> ringway_protocols::Limits {
        ringway_protocols::Limits {
            head_bytes_max: http.request_head_bytes_max,
            headers_max: http.request_fields_max,
            ..ringway_protocols::Limits::default()
        }
    }

    /// Whether what happens in an exchange is to be remembered: for an access log, or for what is made of answers of our own.
    #[inline]
    pub(crate) fn keeps_records(&self) -> bool {
        self.is_logged() || self.http.local_replies.is_some()
    }

    /// Whether it has an access log.
    #[inline]
    pub(crate) fn is_logged(&self) -> bool {
        !self.logs.lines.is_empty()
    }
}

/// One generation on one core.
#[derive(Default)]
pub(crate) struct View {
    pub(crate) generation: u64,
    pub(crate) snapshot: Arc<Snapshot>,
    listeners: Vec<Option<CoreListener>>,
    clusters: Pages<Rc<CoreCluster>>,
}

impl View {
    /// The next generation, built over this one. `seeds` are the clusters whose names are new to this worker.
    pub(crate) fn adopt(
        &self,
        snapshot: Arc<Snapshot>,
        seeds: &[ClusterSeed],
        seeds_of_listeners: &ListenerSeeds,
        sinks: &LogSinks,
        (worker, active, loads): (usize, &ActiveRows, &LoadRows),
        chance: &mut impl FnMut() -> u64,
    ) -> View {
        let seeds: HashMap<ClusterId, &ClusterSeed> = seeds.iter().map(|seed| (seed.id, seed)).collect();
        let mut clusters = self.clusters.clone();
        for Differing { at, now: config, .. } in snapshot.clusters.changes(&self.snapshot.clusters) {
            let old = self.clusters.get(at);
            let next = config.map(|config| {
                let rows = active.get(&config.id).map(|rows| (rows.clone().into_boxed_slice(), worker));
                let load = loads.get(&config.id).map(|rows| ClusterLoad::new(rows, worker));
                let (state, before) = match (old, seeds.get(&config.id)) {
                    (Some(old), None) => (Rc::clone(&old.state), Some(&**old)),
                    (_, Some(seed)) => (Rc::new(ClusterState::new(seed)), None),
                    (None, None) => unreachable!("a cluster that is new comes with its seed"),
                };
                CoreCluster::new(Arc::clone(config), state, before, rows, load, chance)
            });
            if let Some(old) = old
                && next.as_ref().is_none_or(|next| !Rc::ptr_eq(&next.state, &old.state))
            {
                old.retire();
            }
            clusters.set(at, next);
        }
        let mut listeners: Vec<Option<CoreListener>> = Vec::new();
        for listener in &snapshot.listeners {
            let at = listener.id.0 as usize;
            listeners.resize_with(listeners.len().max(at + 1), || None);
            let old = self.listener(listener.id).filter(|old| Arc::ptr_eq(&old.config, listener));
            let logs = match old {
                Some(CoreListener { logs: Some(old), .. }) if old.go_to(&listener.access_logs, sinks) => {
                    Some(Rc::clone(old))
                }
                _ => {
                    let logs = &listener.access_logs;
                    (!logs.is_empty()).then(|| Rc::new(CoreLogs::new(logs, sinks)))
                }
            };
            let chains = listener.all_chains().map(|chain| {
                let filters = (!chain.before.is_empty()).then(|| {
                    let before = self.filters(listener.id, chain.id);
                    let filters = chain.before.iter().enumerate().map(|(at, filter)| {
                        let seed = &seeds_of_listeners.filters[&(listener.id, chain.id, at)];
                        CoreFilter::new(filter, seed, before.as_ref().and_then(|before| before.get(at)))
                    });
                    filters.collect()
                });
                let last = match &chain.filter {
                    NetworkFilter::Http(config) => {
                        Last::Http(self.http_chain(listener, chain, config, &seeds_of_listeners.http, sinks))
                    }
                    NetworkFilter::Tcp(config) => {
                        let stats = &seeds_of_listeners.tcp[&config.stat_prefix];
                        Last::Tcp(self.tcp_chain((listener, logs.as_ref()), chain, config, stats, sinks))
                    }
                };
                (chain.id, Chain { filters, last })
            });
            listeners[at] = Some(CoreListener {
                config: Arc::clone(listener),
                stats: Arc::clone(&seeds_of_listeners.listeners[&listener.id]),
                waits: listener.waits_for_first_bytes(),
                inspectors: (0..listener.inspects.filters.len())
                    .map(|at| seeds_of_listeners.inspectors[&(listener.id, at)].clone())
                    .collect(),
                chains: chains.collect(),
                logs,
            });
        }
        View { generation: snapshot.generation, snapshot, listeners, clusters }
    }

    fn http_chain(
        &self,
        listener: &Listener,
        chain: &Arc<FilterChain>,
        config: &Arc<HttpConnectionManager>,
        seeds: &HttpSeeds,
        sinks: &LogSinks,
    ) -> Rc<CoreChain> {
        let key = (listener.id, config.stat_prefix.clone());
        let stats = Arc::clone(seeds.get(&key).expect("statistics come with the preparation"));
        let codec_limits = CoreChain::codec_limits(config);
        let old = self.chain(listener.id, chain.id);
        let is_same = |old: &&Rc<CoreChain>| {
            Arc::ptr_eq(&old.config, chain)
                && Arc::ptr_eq(&old.stats, &stats)
                && old.unsent_max == listener.buffer_bytes_max
                && old.logs.go_to(&config.access_logs, sinks)
        };
        if let Some(old) = old.filter(is_same) {
            return Rc::clone(old);
        }
        let old = old.filter(|old| Arc::ptr_eq(&old.http.routes, &config.routes));
        let caches = old.map_or_else(Rc::default, |old| Rc::clone(&old.caches));
        Rc::new(CoreChain {
            config: Arc::clone(chain),
            http: Arc::clone(config),
            stats,
            caches,
            codec_limits,
            unsent_max: listener.buffer_bytes_max,
            logs: CoreLogs::new(&config.access_logs, sinks),
        })
    }

    /// `logs`: those of its listener, where it has some.
    fn tcp_chain(
        &self,
        (listener, logs): (&Arc<Listener>, Option<&Rc<CoreLogs>>),
        chain: &Arc<FilterChain>,
        config: &Arc<TcpProxy>,
        stats: &Arc<TcpStats>,
        sinks: &LogSinks,
    ) -> Rc<CoreTcp> {
        let is_same = |old: &&Rc<CoreTcp>| {
            Arc::ptr_eq(&old.listener, listener)
                && Arc::ptr_eq(&old.stats, stats)
                && old.listener_logs.as_ref().map(Rc::as_ptr) == logs.map(Rc::as_ptr)
                && old.logs.go_to(&config.access_logs, sinks)
        };
        if let Some(old) = self.tcp(listener.id, chain.id).filter(is_same) {
            return Rc::clone(old);
        }
        Rc::new(CoreTcp {
            listener: Arc::clone(listener),
            config: Arc::clone(chain),
            tcp: Arc::clone(config),
            stats: Arc::clone(stats),
            logs: CoreLogs::new(&config.access_logs, sinks),
            listener_logs: logs.cloned(),
            unsent_max: listener.buffer_bytes_max,
        })
    }

    /// Whether a client that says nothing is waited for, because a chain depends on what it says.
    pub(crate) fn waits(&self, id: ListenerId) -> bool {
        self.listener(id).is_some_and(|listener| listener.waits)
    }

    /// What is counted of a listener's filters. Panics where this generation has no such listener.
    pub(crate) fn inspectors(&self, id: ListenerId) -> Rc<[InspectorStats]> {
        Rc::clone(&self.listener(id).expect("a listener of this view").inspectors)
    }

    /// A listener's own access logs, where it has some.
    pub(crate) fn listener_logs(&self, id: ListenerId) -> Option<&Rc<CoreLogs>> {
        self.listener(id)?.logs.as_ref()
    }

    /// A listener's statistics. Panics where this generation has no such listener.
    pub(crate) fn listener_stats(&self, id: ListenerId) -> Arc<ListenerStats> {
        Arc::clone(&self.listener(id).expect("a listener of this view").stats)
    }

    fn listener(&self, id: ListenerId) -> Option<&CoreListener> {
        self.listeners.get(id.0 as usize)?.as_ref()
    }

    /// The chain under which an HTTP connection was accepted, in this generation; `None` when it is gone.
    #[inline]
    pub(crate) fn chain(&self, listener: ListenerId, chain: ChainId) -> Option<&Rc<CoreChain>> {
        match &self.listener(listener)?.chains.get(chain)?.last {
            Last::Http(core) => Some(core),
            Last::Tcp(_) => None,
        }
    }

    /// The same of a raw one.
    pub(crate) fn tcp(&self, listener: ListenerId, chain: ChainId) -> Option<&Rc<CoreTcp>> {
        match &self.listener(listener)?.chains.get(chain)?.last {
            Last::Tcp(core) => Some(core),
            Last::Http(_) => None,
        }
    }

    /// The filters of a chain before its last, if it has some.
    pub(crate) fn filters(&self, listener: ListenerId, chain: ChainId) -> Option<Rc<[CoreFilter]>> {
        self.listener(listener)?.chains.get(chain)?.filters.clone()
    }

    /// Whether this generation has the chain.
    pub(crate) fn has_chain(&self, listener: ListenerId, chain: ChainId) -> bool {
        self.listener(listener).is_some_and(|listener| listener.chains.get(chain).is_some())
    }

    /// What this generation has and `next` has not, in order.
    pub(crate) fn chains_gone(&self, next: &View) -> Vec<(ListenerId, ChainId)> {
        let all =
            self.listeners.iter().flatten().flat_map(|core| core.chains.ids().map(|chain| (core.config.id, chain)));
        all.filter(|(listener, chain)| !next.has_chain(*listener, *chain)).collect()
    }

    #[inline]
    pub(crate) fn cluster(&self, id: ClusterId) -> Option<&Rc<CoreCluster>> {
        self.clusters.get(id.0 as usize)
    }

    /// Lets go of every pooled connection: the worker is about to end.
    pub(crate) fn retire_all(&self) {
        self.clusters.iter().for_each(|cluster| cluster.retire());
    }
}

/// Whether an operator tells of our address towards the upstream.
fn is_upstream_local(operator: &Operator) -> bool {
    use Fact::{UpstreamLocalAddress, UpstreamLocalAddressWithoutPort, UpstreamLocalPort};
    matches!(operator, Operator::Fact(UpstreamLocalAddress | UpstreamLocalAddressWithoutPort | UpstreamLocalPort))
}

#[cfg(test)]
mod tests;
