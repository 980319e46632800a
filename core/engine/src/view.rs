//! One generation of the configuration, as one core sees it.
//!
//! A view wraps the shared snapshot in this core's own reference counts, so that a request pins what it needs without
//! an atomic operation. It is built when the core adopts a generation; what did not change is carried over, and with
//! it the pools and counters. A request holds its [`CoreCluster`] to its last byte and nothing else of the view.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use ringway_model::format::{Fact, Operator};
use ringway_model::{
    AccessLog, Address, Caches, ChainId, Cluster, ClusterId, FilterChain, HttpConnectionManager, Listener, ListenerId,
    NetworkFilter, Priority, Snapshot, TcpProxy, Wheels,
};
use ringway_observe::{HttpStats, Line, ListenerStats, TcpStats};

use crate::active::ActiveRows;
use crate::breakers::{Breakers, ClusterSeed};
use crate::by_chain::ByChain;
use crate::connection_filter::{CoreFilter, FilterKey, FilterSeed};
use crate::inspector_stats::InspectorStats;
use crate::log::LogSinks;
use crate::original_dst::Originals;
use crate::pool::EndpointPool;
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

/// This core's state of one cluster's name. Outlives generations; keyed by what does not change with them.
pub(crate) struct ClusterState {
    pub(crate) breakers: Rc<Breakers>,
    /// Of requests of the priority HIGH.
    high_breakers: Option<Rc<Breakers>>,
    pools: RefCell<HashMap<Address, Rc<EndpointPool>>>,
    /// Those of ORIGINAL_DST.
    pub(crate) originals: Rc<Originals>,
}

/// The key of a name's pool, which stays when the name's address changes.
const LOGICAL: Address = Address::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));

/// One version of a cluster on this core.
pub(crate) struct CoreCluster {
    pub(crate) config: Arc<Cluster>,
    pub(crate) state: Rc<ClusterState>,
    /// In the order of the configuration's endpoints.
    pub(crate) endpoints: Vec<Rc<EndpointPool>>,
    /// Whose turn it is.
    pub(crate) wheels: RefCell<Wheels>,
    /// The bounds on one response.
    pub(crate) codec_limits: ringway_protocols::Limits,
}

impl CoreCluster {
    /// `before`: the version before, whose turns go on.
    fn new(
        config: Arc<Cluster>,
        state: Rc<ClusterState>,
        before: Option<&CoreCluster>,
        chance: &mut impl FnMut() -> u64,
    ) -> Rc<Self> {
        assert_eq!(config.balancer.membership().total, config.endpoints.len(), "the balancer is that of the endpoints");
        let mut pools = state.pools.borrow_mut();
        let closes = config.balancer.config().closes_with_changes;
        if closes && before.is_some_and(|before| before.config.endpoints != config.endpoints) {
            pools.drain().for_each(|(_, pool)| pool.retire());
        }
        // A connection of HTTP/2 was made under the options of its time, which its peer was told: it takes no more streams under others.
        let options =
            |config: &Cluster| (config.http2, config.http.response_head_bytes_max, config.http.response_fields_max);
        if before.is_some_and(|before| options(&before.config) != options(&config)) {
            pools.values().for_each(|pool| pool.links.retire());
            state.originals.retire_links();
        }
        if before.is_some_and(|before| before.config.transports != config.transports) {
            state.originals.retire();
        }
        let endpoints: Vec<_> = config
            .endpoints
            .iter()
            .map(|endpoint| {
                let fresh = || Rc::new(EndpointPool::new(endpoint.address.clone()));
                let transport = &config.transports[usize::from(endpoint.transport)];
                let key = if config.logical { LOGICAL } else { endpoint.address.clone() };
                let pool = match pools.entry(key) {
                    Entry::Vacant(place) => Rc::clone(place.insert(fresh())),
                    Entry::Occupied(place) if !place.get().differs_from(endpoint, transport, config.logical) => {
                        Rc::clone(place.get())
                    }
                    // Some of its connections may lead where the endpoint is not any more.
                    Entry::Occupied(mut place) => {
                        place.insert(fresh()).retire();
                        Rc::clone(place.get())
                    }
                };
                pool.set_addresses(endpoint);
                pool.set_transport(transport, &endpoint.hostname);
                pool.set_reuse(config.http.reuse);
                pool
            })
            .collect();
        // Where an endpoint stood in the version before, by its position: what the pools remember for a moment.
        if let Some(before) = before {
            for (position, pool) in before.endpoints.iter().enumerate() {
                pool.mark.set(Some(position));
            }
        }
        let wheels = match before {
            None => config.balancer.wheels(chance),
            Some(before) => {
                let kept = |position: usize| endpoints[position].mark.get();
                config.balancer.resumed((&before.config.balancer, &before.wheels.borrow()), &kept, chance)
            }
        };
        endpoints.iter().for_each(|pool| pool.mark.set(Some(usize::MAX)));
        pools.retain(|_, pool| {
            let is_kept = pool.mark.take() == Some(usize::MAX);
            if !is_kept {
                pool.retire();
            }
            is_kept
        });
        drop(pools);
        let codec_limits = ringway_protocols::Limits {
            head_bytes_max: config.http.response_head_bytes_max,
            headers_max: config.http.response_fields_max,
            ..ringway_protocols::Limits::default()
        };
        Rc::new(Self { config, state, endpoints, wheels: RefCell::new(wheels), codec_limits })
    }

    fn retire(&self) {
        self.state.originals.retire();
        for (_, pool) in self.state.pools.borrow_mut().drain() {
            pool.retire();
        }
    }
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
    clusters: Vec<Option<Rc<CoreCluster>>>,
}

impl View {
    /// The next generation, built over this one. `seeds` are the clusters whose names are new to this worker.
    pub(crate) fn adopt(
        &self,
        snapshot: Arc<Snapshot>,
        seeds: &[ClusterSeed],
        seeds_of_listeners: &ListenerSeeds,
        sinks: &LogSinks,
        (worker, active): (usize, &ActiveRows),
        chance: &mut impl FnMut() -> u64,
    ) -> View {
        let mut clusters: Vec<Option<Rc<CoreCluster>>> = Vec::with_capacity(self.clusters.len());
        for config in snapshot.clusters.iter() {
            let at = config.id.0 as usize;
            clusters.resize(clusters.len().max(at + 1), None);
            let seed = seeds.iter().find(|seed| seed.id == config.id);
            let old = self.clusters.get(at).and_then(Option::as_ref);
            let is_same = |old: &Rc<CoreCluster>| seed.is_none() && Arc::ptr_eq(&old.config, config);
            if let Some(old) = old.filter(|old| is_same(old)) {
                clusters[at] = Some(Rc::clone(old));
                continue;
            }
            let cluster = match (old, seed) {
                (Some(old), None) => CoreCluster::new(Arc::clone(config), Rc::clone(&old.state), Some(old), chance),
                (_, Some(seed)) => CoreCluster::new(Arc::clone(config), Rc::new(ClusterState::new(seed)), None, chance),
                (None, None) => unreachable!("a cluster that is new comes with its seed"),
            };
            let rows = active.get(&config.id);
            for (position, pool) in cluster.endpoints.iter().enumerate() {
                pool.set_row(rows.map(|rows| (rows[position].clone(), worker)));
            }
            clusters[at] = Some(cluster);
        }
        for (at, old) in self.clusters.iter().enumerate() {
            if let Some(old) = old {
                let next = clusters.get(at).and_then(Option::as_ref);
                if next.is_none_or(|next| !Rc::ptr_eq(&next.state, &old.state)) {
                    old.retire();
                }
            }
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
        self.clusters.get(id.0 as usize)?.as_ref()
    }

    /// Lets go of every pooled connection: the worker is about to end.
    pub(crate) fn retire_all(&self) {
        self.clusters.iter().flatten().for_each(|cluster| cluster.retire());
    }
}

/// Whether an operator tells of our address towards the upstream.
fn is_upstream_local(operator: &Operator) -> bool {
    use Fact::{UpstreamLocalAddress, UpstreamLocalAddressWithoutPort, UpstreamLocalPort};
    matches!(operator, Operator::Fact(UpstreamLocalAddress | UpstreamLocalAddressWithoutPort | UpstreamLocalPort))
}

impl ClusterState {
    fn new(seed: &ClusterSeed) -> Self {
        let breakers = Breakers::new(&seed.stats, &seed.limits.default);
        let high_breakers = seed.limits.high.as_ref().map(|limits| Breakers::new(&seed.stats, limits));
        Self { breakers, high_breakers, pools: RefCell::default(), originals: Rc::default() }
    }

    /// The circuit breakers that a request comes under.
    #[inline]
    pub(crate) fn breakers_of(&self, priority: Priority) -> &Rc<Breakers> {
        match (priority, &self.high_breakers) {
            (Priority::High, Some(breakers)) => breakers,
            // A generation in which no route had it: its cluster is kept from before.
            _ => &self.breakers,
        }
    }
}

#[cfg(test)]
mod tests;
