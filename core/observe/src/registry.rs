//! Where all blocks are known: found by name, summed over the workers, shown under their whole names.
//!
//! Locks are taken by the control thread (a configuration brings or takes names) and the admin threads (a scrape), for
//! as long as it takes to find a name or to copy the list of them; never while numbers are read, and by no worker.
//!
//! Nobody but a worker writes its numbers, so that `/reset_counters` cannot set them to zero: it remembers what they were, and
//! that is taken off from then on.

mod entry;
mod names;
mod show;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

pub(crate) use self::entry::Entry;
use self::names::{Names, lock};
pub(crate) use self::show::classes;
use self::show::{Rows, visit_histograms};
pub use self::show::{Visit, VisitHistogram};
use crate::{
    AssignmentStats, Block, BreakerStats, ClusterStats, ConnectionLimitStats, ControlPlaneStats, Distribution,
    ExtensionStats, HttpInspectorStats, HttpStats, Kind, ListenerStats, LoadBook, LoadReporterStats, MembershipStats,
    ProxyProtocolStats, RateLimitStats, RbacStats, RouteConfigStats, Row, RuntimeStats, Server, Shown,
    SubscriptionStats, TcpStats, TlsInspectorStats,
};

/// All numbers of the process.
#[derive(Debug)]
pub struct Registry {
    workers: usize,
    /// The process's own numbers.
    pub server: Server,
    server_base: Mutex<HashMap<&'static str, u64>>,
    clusters: Names<ClusterStats>,
    memberships: Names<MembershipStats>,
    assignments: Names<AssignmentStats>,
    /// Under its one name, once somebody is asked.
    control_planes: Names<ControlPlaneStats>,
    /// Likewise.
    load_reporters: Names<LoadReporterStats>,
    /// Likewise, with the first configuration.
    runtimes: Names<RuntimeStats>,
    /// What load reports are made of, where load is reported.
    loads: OnceLock<LoadBook>,
    /// Of CDS, LDS, SDS and RTDS, by their whole names.
    subscriptions: Names<SubscriptionStats>,
    extensions: Names<ExtensionStats>,
    /// Of RDS, by what stands behind `http.`.
    route_subscriptions: Names<SubscriptionStats>,
    /// Likewise.
    route_configs: Names<RouteConfigStats>,
    /// The versions that were accepted last, by the whole names of their texts.
    versions: Mutex<BTreeMap<String, String>>,
    breakers: Names<BreakerStats>,
    listeners: Names<ListenerStats>,
    https: Names<HttpStats>,
    tcps: Names<TcpStats>,
    rbacs: Names<RbacStats>,
    connection_limits: Names<ConnectionLimitStats>,
    rate_limits: Names<RateLimitStats>,
    /// Of listener filters; those without a prefix have an empty name.
    tls_inspectors: Names<TlsInspectorStats>,
    http_inspectors: Names<HttpInspectorStats>,
    proxy_protocols: Names<ProxyProtocolStats>,
    /// By listener and prefix, the listeners that are gone included: their part of the prefix's sum stays until the prefix goes.
    listener_https: Mutex<BTreeMap<ListenerAndPrefix, Part>>,
}

type ListenerAndPrefix = (Arc<str>, Arc<str>);

/// The blocks of one prefix on one listener, one per worker.
#[derive(Debug)]
struct Part {
    blocks: Arc<[Arc<HttpStats>]>,
    is_shown: bool,
}

impl Registry {
    /// A registry for this many workers (at least 1).
    pub fn new(workers: usize) -> Arc<Self> {
        assert!(workers > 0, "a process has workers");
        let server = Server::default();
        server.concurrency.set(workers as u64);
        Arc::new(Self {
            workers,
            server,
            server_base: Mutex::default(),
            clusters: Names::default(),
            memberships: Names::default(),
            assignments: Names::default(),
            control_planes: Names::default(),
            load_reporters: Names::default(),
            runtimes: Names::default(),
            loads: OnceLock::new(),
            subscriptions: Names::default(),
            extensions: Names::default(),
            route_subscriptions: Names::default(),
            route_configs: Names::default(),
            versions: Mutex::default(),
            breakers: Names::default(),
            listeners: Names::default(),
            https: Names::default(),
            tcps: Names::default(),
            rbacs: Names::default(),
            connection_limits: Names::default(),
            rate_limits: Names::default(),
            tls_inspectors: Names::default(),
            http_inspectors: Names::default(),
            proxy_protocols: Names::default(),
            listener_https: Mutex::default(),
        })
    }

    /// How many blocks each name has.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The blocks of a cluster, by worker; made at the first ask. `stat_name` is the model's `Cluster::stat_name`;
    /// clusters with the same one share them.
    pub fn cluster(&self, stat_name: &str) -> Vec<Arc<ClusterStats>> {
        self.clusters.find(stat_name, self.workers)
    }

    /// What the control thread says of a cluster's endpoints; made at the first ask.
    pub fn membership(&self, stat_name: &str) -> Arc<MembershipStats> {
        self.memberships.find(stat_name, 1).pop().expect("one block")
    }

    /// What the control thread says of a cluster's assignments; made at the first ask.
    pub fn assignment(&self, stat_name: &str) -> Arc<AssignmentStats> {
        self.assignments.find(stat_name, 1).pop().expect("one block")
    }

    /// What the control thread says of management servers; made at the first ask.
    pub fn control_plane(&self) -> Arc<ControlPlaneStats> {
        self.control_planes.find("control_plane", 1).pop().expect("one block")
    }

    /// What is counted of the stream of load reports; made at the first ask.
    pub fn load_reporter(&self) -> Arc<LoadReporterStats> {
        self.load_reporters.find("load_reporter", 1).pop().expect("one block")
    }

    /// What the control thread says of `layered_runtime`; made at the first ask.
    pub fn runtime(&self) -> Arc<RuntimeStats> {
        self.runtimes.find("runtime", 1).pop().expect("one block")
    }

    /// From the next commit on workers count what load reports say.
    pub fn begin_loads(&self) {
        self.loads.get_or_init(LoadBook::default);
    }

    /// What load reports are made of; `None`: nothing of it is counted.
    pub fn loads(&self) -> Option<&LoadBook> {
        self.loads.get()
    }

    /// What the control thread says of clusters by CDS; made at the first ask.
    pub fn cds(&self) -> Arc<SubscriptionStats> {
        self.subscriptions.find("cluster_manager.cds", 1).pop().expect("one block")
    }

    /// What it says of listeners by LDS; made at the first ask.
    pub fn lds(&self) -> Arc<SubscriptionStats> {
        self.subscriptions.find("listener_manager.lds", 1).pop().expect("one block")
    }

    /// What it says of one secret by SDS; made at the first ask.
    pub fn sds(&self, name: &str) -> Arc<SubscriptionStats> {
        self.subscriptions.find(&format!("sds.{name}"), 1).pop().expect("one block")
    }

    /// What it says of layers of the runtime by RTDS, all together as in Envoy; made at the first ask.
    pub fn rtds(&self) -> Arc<SubscriptionStats> {
        self.subscriptions.find("runtime", 1).pop().expect("one block")
    }

    /// What it says of the configuration of one HTTP filter by ECDS; made at the first ask.
    pub fn ecds(&self, name: &str) -> Arc<SubscriptionStats> {
        self.subscriptions.find(&extension_scope(name), 1).pop().expect("one block")
    }

    /// The rest of that; made at the first ask.
    pub fn extension(&self, name: &str) -> Arc<ExtensionStats> {
        self.extensions.find(&extension_scope(name), 1).pop().expect("one block")
    }

    /// What it says of one route configuration by RDS of the connection managers of a `stat_prefix`; made at the first
    /// ask.
    pub fn rds(&self, stat_prefix: &str, name: &str) -> Arc<SubscriptionStats> {
        self.route_subscriptions.find(&format!("{stat_prefix}.rds.{name}"), 1).pop().expect("one block")
    }

    /// The rest of that; made at the first ask.
    pub fn route_config(&self, stat_prefix: &str, name: &str) -> Arc<RouteConfigStats> {
        self.route_configs.find(&format!("{stat_prefix}.rds.{name}"), 1).pop().expect("one block")
    }

    /// Says which version of a subscription (`cluster_manager.cds`, `sds.s`, `http.p.rds.r`) was accepted last.
    pub fn tell_version(&self, subscription: &str, version: &str) {
        let mut versions = lock(&self.versions);
        match versions.get_mut(&version_text(subscription)) {
            Some(known) => version.clone_into(known),
            None => _ = versions.insert(version_text(subscription), version.to_owned()),
        }
    }

    /// Envoy's text readouts of the subscriptions, sorted by name.
    pub fn texts(&self) -> Vec<(String, String)> {
        lock(&self.versions).iter().map(|(name, version)| (name.clone(), version.clone())).collect()
    }

    /// What the control thread says of a cluster's limits; made at the first ask.
    pub fn breakers(&self, stat_name: &str) -> Arc<BreakerStats> {
        self.breakers.find(stat_name, 1).pop().expect("one block")
    }

    /// The blocks of a listener's address (`127.0.0.1:8080`, `[::1]:8080`), by worker; made at the first ask.
    pub fn listener(&self, address: &str) -> Vec<Arc<ListenerStats>> {
        self.listeners.find(&listener_scope(address), self.workers)
    }

    /// The blocks of an HTTP connection manager's `stat_prefix` on this listener, by worker; made at the first ask. What is shown of
    /// a prefix is the sum over its listeners.
    pub fn http(&self, prefix: &str, address: &str) -> Vec<Arc<HttpStats>> {
        let key = (Arc::from(listener_scope(address)), Arc::from(prefix));
        let mut parts = lock(&self.listener_https);
        let part = parts
            .entry(key)
            .or_insert_with(|| Part { blocks: self.https.extend(prefix, self.workers), is_shown: true });
        part.is_shown = true;
        part.blocks.to_vec()
    }

    /// The blocks of a `tcp_proxy`'s `stat_prefix`, by worker; made at the first ask.
    pub fn tcp(&self, prefix: &str) -> Vec<Arc<TcpStats>> {
        self.tcps.find(prefix, self.workers)
    }

    /// The blocks of a network RBAC's `stat_prefix`, by worker; made at the first ask. Those of filters that are gone stay.
    pub fn rbac(&self, prefix: &str) -> Vec<Arc<RbacStats>> {
        self.rbacs.find(prefix.trim_end_matches('.'), self.workers)
    }

    /// The blocks of a `connection_limit`'s `stat_prefix`, likewise.
    pub fn connection_limit(&self, prefix: &str) -> Vec<Arc<ConnectionLimitStats>> {
        self.connection_limits.find(prefix, self.workers)
    }

    /// The blocks of a `local_ratelimit`'s `stat_prefix`, likewise.
    pub fn rate_limit(&self, prefix: &str) -> Vec<Arc<RateLimitStats>> {
        self.rate_limits.find(prefix, self.workers)
    }

    /// The blocks of all `tls_inspector`s together, likewise.
    pub fn tls_inspector(&self) -> Vec<Arc<TlsInspectorStats>> {
        self.tls_inspectors.find("", self.workers)
    }

    /// The blocks of all `http_inspector`s together, likewise.
    pub fn http_inspector(&self) -> Vec<Arc<HttpInspectorStats>> {
        self.http_inspectors.find("", self.workers)
    }

    /// The blocks of a `proxy_protocol`'s `stat_prefix`, which may be empty, likewise.
    pub fn proxy_protocol(&self, prefix: &str) -> Vec<Arc<ProxyProtocolStats>> {
        self.proxy_protocols.find(prefix, self.workers)
    }

    /// Forgets the numbers of a `tcp_proxy`'s `stat_prefix`; see [`Registry::forget_cluster`].
    pub fn forget_tcp(&self, prefix: &str) {
        self.tcps.forget(prefix);
    }

    /// Forgets a cluster's numbers. Who still holds a block may go on writing it; nobody will read it.
    pub fn forget_cluster(&self, stat_name: &str) {
        self.clusters.forget(stat_name);
        self.memberships.forget(stat_name);
        self.assignments.forget(stat_name);
        self.breakers.forget(stat_name);
    }

    /// Forgets a listener's numbers; see [`Registry::forget_cluster`].
    pub fn forget_listener(&self, address: &str) {
        let scope = listener_scope(address);
        self.listeners.forget(&scope);
        let mut parts = lock(&self.listener_https);
        parts.iter_mut().filter(|((listener, _), _)| **listener == *scope).for_each(|(_, part)| part.is_shown = false);
    }

    /// Forgets the numbers of a `stat_prefix`; see [`Registry::forget_cluster`].
    pub fn forget_http(&self, prefix: &str) {
        self.https.forget(prefix);
        for entry in self.route_subscriptions.entries() {
            if route_scope(&entry.name).0 == prefix {
                self.route_subscriptions.forget(&entry.name);
                self.route_configs.forget(&entry.name);
                lock(&self.versions).remove(&version_text(&format!("http.{}", entry.name)));
            }
        }
        lock(&self.listener_https).retain(|(_, other), _| **other != *prefix);
    }

    /// Lets every counter begin at zero again. Gauges and histograms stay, as Envoy's do.
    pub fn reset_counters(&self) {
        self.clusters.reset();
        self.memberships.reset();
        self.assignments.reset();
        self.control_planes.reset();
        self.load_reporters.reset();
        self.runtimes.reset();
        self.subscriptions.reset();
        self.extensions.reset();
        self.route_subscriptions.reset();
        self.route_configs.reset();
        self.listeners.reset();
        self.https.reset();
        self.tcps.reset();
        self.rbacs.reset();
        self.connection_limits.reset();
        self.rate_limits.reset();
        self.tls_inspectors.reset();
        self.http_inspectors.reset();
        self.proxy_protocols.reset();
        let mut base = HashMap::new();
        self.server.rows(&mut |name, kind, value| {
            if kind == Kind::Counter {
                base.insert(name, value);
            }
        });
        *lock(&self.server_base) = base;
    }

    /// The process's own numbers, and those of CDS and LDS, sorted by name.
    pub(crate) fn server_rows(&self) -> Vec<(Cow<'static, str>, Kind, u64)> {
        let base = lock(&self.server_base);
        let mut rows = vec![];
        self.server.rows(&mut |name, kind, value| {
            rows.push((Cow::from(name), kind, value.saturating_sub(base.get(name).copied().unwrap_or(0))));
        });
        drop(base);
        let known = rows.len();
        add_whole(&self.subscriptions.entries(), &mut rows);
        add_whole(&self.extensions.entries(), &mut rows);
        add_whole(&self.control_planes.entries(), &mut rows);
        add_whole(&self.load_reporters.entries(), &mut rows);
        add_whole(&self.runtimes.entries(), &mut rows);
        if rows.len() > known {
            rows.sort_by(|one, other| one.0.cmp(&other.0));
        }
        rows
    }

    /// Shows every number under its whole name, summed over the workers: clusters, then the rest of Envoy's first words
    /// in their order, each by name and then by statistic.
    ///
    /// # Errors
    /// What `visit` failed with; nothing more is shown then.
    pub fn visit(&self, visit: Visit<'_>) -> fmt::Result {
        let mut server = self.server_rows().into_iter().peekable();
        let mut server_below = |bound: &str, visit: Visit<'_>| -> fmt::Result {
            while let Some((name, kind, value)) = server.next_if(|(name, ..)| &**name < bound) {
                visit(&name, kind, value)?;
            }
            Ok(())
        };
        let mut rows = Rows::default();
        server_below("cluster.", visit)?;
        let mut memberships = self.memberships.entries().into_iter().peekable();
        let mut assignments = self.assignments.entries().into_iter().peekable();
        let mut breakers = self.breakers.entries().into_iter().peekable();
        for entry in self.clusters.entries() {
            rows.add(&entry);
            if let Some(membership) = memberships.next_if(|membership| membership.name == entry.name) {
                rows.add(&membership);
            }
            // What warms has numbers before its cluster has any.
            while assignments.next_if(|assignment| assignment.name < entry.name).is_some() {}
            if let Some(assignment) = assignments.next_if(|assignment| assignment.name == entry.name) {
                rows.add(&assignment);
            }
            if let Some(breakers) = breakers.next_if(|breakers| breakers.name == entry.name) {
                rows.add(&breakers);
            }
            rows.show("cluster", &entry.name, visit)?;
        }
        server_below("connection_limit.", visit)?;
        for entry in self.connection_limits.entries() {
            rows.add(&entry);
            rows.show("connection_limit", &entry.name, visit)?;
        }
        server_below("http.", visit)?;
        let (subscriptions, configs) = (self.route_subscriptions.entries(), self.route_configs.entries());
        for entry in self.https.entries() {
            rows.add(&entry);
            push_routes(&subscriptions, &entry.name, &mut rows);
            push_routes(&configs, &entry.name, &mut rows);
            rows.show("http", &entry.name, visit)?;
        }
        for (name, kind, value) in self.codec_rows() {
            visit(name, kind, value)?;
        }
        for entry in self.http_inspectors.entries() {
            rows.add(&entry);
            rows.show("http_inspector", &entry.name, visit)?;
        }
        server_below("listener.", visit)?;
        let parts = self.listener_https();
        for entry in self.listeners.entries() {
            rows.add(&entry);
            for worker in 0..entry.blocks.len() {
                for (at, row) in worker_rows() {
                    let name = format!("worker_{worker}.{}", row.name);
                    rows.push(name, row.kind, entry.value_of(worker, at));
                }
            }
            for (_, part) in parts.iter().filter(|(listener, _)| *listener == entry.name) {
                for (at, row) in listener_http_rows() {
                    let name = format!("http.{}.{}", part.name, row.name);
                    rows.push(name, row.kind, part.value(at));
                }
            }
            rows.show("listener", &entry.name, visit)?;
        }
        server_below("local_rate_limit.", visit)?;
        for entry in self.rate_limits.entries() {
            rows.add(&entry);
            rows.show("local_rate_limit", &entry.name, visit)?;
        }
        server_below("proxy_proto.", visit)?;
        for entry in self.proxy_protocols.entries() {
            rows.add(&entry);
            rows.show("proxy_proto", &entry.name, visit)?;
        }
        server_below("tcp.", visit)?;
        for entry in self.tcps.entries() {
            rows.add(&entry);
            rows.show("tcp", &entry.name, visit)?;
        }
        for entry in self.tls_inspectors.entries() {
            rows.add(&entry);
            rows.show("tls_inspector", &entry.name, visit)?;
        }
        server_below("~", visit)?;
        // Their first words are the file's.
        for entry in self.rbacs.entries() {
            rows.add(&entry);
            rows.show(&entry.name, "rbac", visit)?;
        }
        Ok(())
    }

    /// Shows every histogram under its whole name, summed over the workers and sorted by name: those that are always there, and of
    /// the others what has a value.
    ///
    /// # Errors
    /// What `visit` failed with; nothing more is shown then.
    pub fn visit_histograms(&self, visit: VisitHistogram<'_>) -> fmt::Result {
        let mut distribution = Distribution::default();
        visit_histograms("cluster", &self.clusters.entries(), &mut distribution, visit)?;
        let subscriptions = self.subscriptions.entries();
        let of = |first: &'static str, last: &'static str| {
            subscriptions.iter().filter(move |entry| *first < *entry.name && *entry.name < *last)
        };
        visit_histograms("", of("cluster.", "http."), &mut distribution, visit)?;
        let routes = self.route_subscriptions.entries();
        for entry in self.https.entries() {
            let of_entry = routes.iter().filter(|other| route_scope(&other.name).0 == &*entry.name);
            visit_histograms("http", [&entry], &mut distribution, visit)?;
            visit_histograms("http", of_entry, &mut distribution, visit)?;
        }
        visit_histograms("listener", &self.listeners.entries(), &mut distribution, visit)?;
        visit_histograms("", of("listener.", "server."), &mut distribution, visit)?;
        distribution.clear();
        distribution.add(&self.server.initialization_time_ms);
        visit(INITIALIZATION_TIME, &distribution)
    }

    /// What all connection managers count together by version of HTTP, sorted by name; of HTTP/2 once it was spoken.
    pub(crate) fn codec_rows(&self) -> Vec<(&'static str, Kind, u64)> {
        let https = self.https.entries();
        let sum = |at| https.iter().map(|entry| entry.value(at)).fold(0, u64::wrapping_add);
        let http1 = [
            ("http1.dropped_headers_with_underscores", "dropped_headers_with_underscores"),
            ("http1.requests_rejected_with_underscores_in_headers", "requests_rejected_with_underscores_in_headers"),
        ]
        .map(|(name, row)| {
            let at = HttpStats::table().iter().position(|other| other.name == row).expect("a row of the table");
            (name, Kind::Counter, sum(at))
        });
        let speaks_http2 = https.iter().flat_map(|entry| entry.blocks.iter()).any(|block| block.http2.read().is_some());
        let in_sum = HttpStats::table().iter().enumerate().filter(|(_, row)| matches!(row.shown, Shown::InSum));
        let http2 = in_sum.filter(|_| speaks_http2).map(|(at, row)| (row.name, row.kind, sum(at)));
        http1.into_iter().chain(http2).collect()
    }

    pub(crate) fn clusters(&self) -> Vec<Entry<ClusterStats>> {
        self.clusters.entries()
    }

    pub(crate) fn breaker_levels(&self) -> Vec<Entry<BreakerStats>> {
        self.breakers.entries()
    }

    pub(crate) fn memberships(&self) -> Vec<Entry<MembershipStats>> {
        self.memberships.entries()
    }

    pub(crate) fn assignments(&self) -> Vec<Entry<AssignmentStats>> {
        self.assignments.entries()
    }

    pub(crate) fn route_subscriptions(&self) -> Vec<Entry<SubscriptionStats>> {
        self.route_subscriptions.entries()
    }

    pub(crate) fn route_configs(&self) -> Vec<Entry<RouteConfigStats>> {
        self.route_configs.entries()
    }

    /// Of CDS, LDS, SDS, RTDS and ECDS, by their whole names.
    pub(crate) fn subscriptions(&self) -> Vec<Entry<SubscriptionStats>> {
        self.subscriptions.entries()
    }

    pub(crate) fn listeners(&self) -> Vec<Entry<ListenerStats>> {
        self.listeners.entries()
    }

    pub(crate) fn https(&self) -> Vec<Entry<HttpStats>> {
        self.https.entries()
    }

    pub(crate) fn tls_inspectors(&self) -> Vec<Entry<TlsInspectorStats>> {
        self.tls_inspectors.entries()
    }

    pub(crate) fn http_inspectors(&self) -> Vec<Entry<HttpInspectorStats>> {
        self.http_inspectors.entries()
    }

    pub(crate) fn proxy_protocols(&self) -> Vec<Entry<ProxyProtocolStats>> {
        self.proxy_protocols.entries()
    }

    pub(crate) fn rbacs(&self) -> Vec<Entry<RbacStats>> {
        self.rbacs.entries()
    }

    pub(crate) fn connection_limits(&self) -> Vec<Entry<ConnectionLimitStats>> {
        self.connection_limits.entries()
    }

    pub(crate) fn rate_limits(&self) -> Vec<Entry<RateLimitStats>> {
        self.rate_limits.entries()
    }

    pub(crate) fn tcps(&self) -> Vec<Entry<TcpStats>> {
        self.tcps.entries()
    }

    /// The listeners' own parts of the connection managers' numbers: the listener, and an entry named by the prefix.
    pub(crate) fn listener_https(&self) -> Vec<(Arc<str>, Entry<HttpStats>)> {
        let bases: HashMap<_, _> = self
            .https
            .entries()
            .into_iter()
            .filter_map(|Entry { name, blocks, base }| Some((name, (blocks, base?))))
            .collect();
        let parts = lock(&self.listener_https);
        let shown = parts.iter().filter(|(_, part)| part.is_shown);
        shown
            .map(|((listener, prefix), Part { blocks, .. })| {
                // The part's blocks stand together among those of the prefix, and so do their bases.
                let base = bases.get(prefix).and_then(|(all, base)| {
                    let at = all.iter().position(|block| Arc::ptr_eq(block, &blocks[0]))?;
                    base.counters_of(at..at + blocks.len())
                });
                let (name, blocks) = (prefix.clone(), blocks.clone());
                (listener.clone(), Entry { name, blocks, base: base.map(Arc::new) })
            })
            .collect()
    }
}

/// `server.initialization_time_ms`.
pub(crate) const INITIALIZATION_TIME: &str = "server.initialization_time_ms";

/// What a listener shows of each worker, with its place in the table.
pub(crate) fn worker_rows() -> impl Iterator<Item = (usize, &'static Row<ListenerStats>)> {
    let is_shown = |name| matches!(name, "downstream_cx_active" | "downstream_cx_total");
    ListenerStats::table().iter().enumerate().filter(move |(_, row)| is_shown(row.name))
}

/// What a listener shows of a connection manager, with its place in the table.
pub(crate) fn listener_http_rows() -> impl Iterator<Item = (usize, &'static Row<HttpStats>)> {
    let is_shown = |name: &str| name == "downstream_rq_completed" || name.ends_with("xx");
    HttpStats::table().iter().enumerate().filter(move |(_, row)| is_shown(row.name))
}

/// Whether Envoy's `?usedonly` shows this number: it was ever written. Ours have no such mark: a number of the process
/// itself is always written, another counts as written when it is not zero.
pub fn is_used(name: &str, value: u64) -> bool {
    value != 0 || ["server.", "config.", "listener_manager.", "cluster_manager."].iter().any(|of| name.starts_with(of))
}

fn extension_scope(name: &str) -> String {
    format!("extension_config_discovery.http_filter.{name}")
}

/// The connection manager's prefix and the route configuration of `<stat_prefix>.rds.<name>`.
pub(crate) fn route_scope(name: &str) -> (&str, &str) {
    name.split_once(".rds.").unwrap_or((name, ""))
}

fn version_text(subscription: &str) -> String {
    format!("{subscription}.version_text")
}

/// The address as Envoy puts it into a statistic's name: `:` would be taken for a separator by statsd.
fn listener_scope(address: &str) -> String {
    address.replace(':', "_")
}

/// The numbers of blocks that stand under whole names.
/// What route configurations of the connection managers of this prefix count.
fn push_routes<B: Block>(entries: &[Entry<B>], prefix: &str, rows: &mut Rows) {
    for entry in entries.iter().filter(|entry| route_scope(&entry.name).0 == prefix) {
        for (at, row) in B::table().iter().enumerate() {
            rows.push(format!("rds.{}.{}", route_scope(&entry.name).1, row.name), row.kind, entry.value(at));
        }
    }
}

fn add_whole<B: Block>(entries: &[Entry<B>], rows: &mut Vec<(Cow<'static, str>, Kind, u64)>) {
    for entry in entries {
        let row = |(at, row): (usize, &Row<B>)| {
            (Cow::from(format!("{}.{}", entry.name, row.name)), row.kind, entry.value(at))
        };
        rows.extend(B::table().iter().enumerate().map(row));
    }
}

#[cfg(test)]
mod tests;
