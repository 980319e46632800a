//! Where all blocks are known: found by name, summed over the workers, shown under their whole names.
//!
//! Locks are taken by the control thread (a configuration brings or takes names) and the admin threads (a scrape), for
//! as long as it takes to find a name or to copy the list of them; never while numbers are read, and by no worker.
//!
//! Nobody but a worker writes its numbers, so that `/reset_counters` cannot set them to zero: it remembers what they were, and
//! that is taken off from then on.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    Block, BreakerStats, ClusterStats, CodesRow, Distribution, HttpStats, Kind, ListenerStats, MembershipStats, Row,
    Server, Shown,
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
    breakers: Names<BreakerStats>,
    listeners: Names<ListenerStats>,
    https: Names<HttpStats>,
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

/// One name and its blocks, one per worker and sometimes more.
#[derive(Debug)]
pub(crate) struct Entry<B> {
    pub(crate) name: Arc<str>,
    pub(crate) blocks: Arc<[Arc<B>]>,
    base: Option<Arc<Base>>,
}

/// What counters were when they were reset last, by block.
#[derive(Debug)]
struct Base(Vec<BlockBase>);

#[derive(Debug)]
struct BlockBase {
    /// In the order of the block's table.
    counters: Vec<u64>,
    /// In the order of the block's counts by status.
    codes: Vec<Vec<(u16, u64)>>,
}

impl<B: Block> Entry<B> {
    /// The number of this row of one block.
    pub(crate) fn value_of(&self, block: usize, row: usize) -> u64 {
        let Row { kind, value, .. } = &B::table()[row];
        let value = value(&self.blocks[block]);
        match (kind, self.base.as_ref().and_then(|base| base.0.get(block))) {
            (Kind::Counter, Some(base)) => value.saturating_sub(base.counters[row]),
            _ => value,
        }
    }

    /// Whether this row of the table is shown under the entry's name.
    pub(crate) fn shows(&self, row: usize) -> bool {
        match &B::table()[row].shown {
            Shown::Always => true,
            Shown::Once(has) => self.blocks.iter().any(|block| has(block)),
            Shown::InSum => false,
        }
    }

    /// The number of this row of the table, of all blocks together.
    pub(crate) fn value(&self, row: usize) -> u64 {
        (0..self.blocks.len()).fold(0u64, |sum, block| sum.wrapping_add(self.value_of(block, row)))
    }

    /// The counts by status of this row, of all blocks together, sorted; those of zero left out.
    pub(crate) fn codes(&self, row: usize, sums: &mut Vec<(u16, u64)>) {
        sums.clear();
        let CodesRow { of, .. } = &B::codes()[row];
        self.blocks.iter().for_each(|block| of(block, &mut |codes| codes.add_to(sums)));
        for base in self.base.iter().flat_map(|base| &base.0) {
            for (code, before) in &base.codes[row] {
                if let Ok(at) = sums.binary_search_by_key(code, |sum| sum.0) {
                    sums[at].1 = sums[at].1.saturating_sub(*before);
                }
            }
        }
        sums.retain(|sum| sum.1 > 0);
    }

    fn base(&self) -> Base {
        let of = |block: &Arc<B>| BlockBase {
            counters: B::table().iter().map(|row| (row.value)(block)).collect(),
            codes: B::codes()
                .iter()
                .map(|row| {
                    let mut sums = Vec::new();
                    (row.of)(block, &mut |codes| codes.add_to(&mut sums));
                    sums
                })
                .collect(),
        };
        Base(self.blocks.iter().map(of).collect())
    }
}

/// Shows a number under its whole name.
pub type Visit<'v> = &'v mut dyn FnMut(&str, Kind, u64) -> fmt::Result;

/// Shows a histogram under its whole name.
pub type VisitHistogram<'v> = &'v mut dyn FnMut(&str, &Distribution) -> fmt::Result;

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
            breakers: Names::default(),
            listeners: Names::default(),
            https: Names::default(),
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

    /// Forgets a cluster's numbers. Who still holds a block may go on writing it; nobody will read it.
    pub fn forget_cluster(&self, stat_name: &str) {
        self.clusters.forget(stat_name);
        self.memberships.forget(stat_name);
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
        lock(&self.listener_https).retain(|(_, other), _| **other != *prefix);
    }

    /// Lets every counter begin at zero again. Gauges and histograms stay, as Envoy's do.
    pub fn reset_counters(&self) {
        self.clusters.reset();
        self.memberships.reset();
        self.listeners.reset();
        self.https.reset();
        let mut base = HashMap::new();
        self.server.rows(&mut |name, kind, value| {
            if kind == Kind::Counter {
                base.insert(name, value);
            }
        });
        *lock(&self.server_base) = base;
    }

    /// The process's own numbers, sorted by name.
    pub(crate) fn server_rows(&self) -> Vec<(&'static str, Kind, u64)> {
        let base = lock(&self.server_base);
        let mut rows = vec![];
        self.server.rows(&mut |name, kind, value| {
            rows.push((name, kind, value.saturating_sub(base.get(name).copied().unwrap_or(0))));
        });
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
            while let Some((name, kind, value)) = server.next_if(|(name, ..)| *name < bound) {
                visit(name, kind, value)?;
            }
            Ok(())
        };
        let mut rows = Rows::default();
        server_below("cluster.", visit)?;
        let mut memberships = self.memberships.entries().into_iter().peekable();
        let mut breakers = self.breakers.entries().into_iter().peekable();
        for entry in self.clusters.entries() {
            rows.add(&entry);
            if let Some(membership) = memberships.next_if(|membership| membership.name == entry.name) {
                rows.add(&membership);
            }
            if let Some(breakers) = breakers.next_if(|breakers| breakers.name == entry.name) {
                rows.add(&breakers);
            }
            rows.show("cluster", &entry.name, visit)?;
        }
        server_below("http.", visit)?;
        for entry in self.https.entries() {
            rows.add(&entry);
            rows.show("http", &entry.name, visit)?;
        }
        for (name, kind, value) in self.codec_rows() {
            visit(name, kind, value)?;
        }
        server_below("listener.", visit)?;
        let parts = self.listener_https();
        for entry in self.listeners.entries() {
            rows.add(&entry);
            for worker in 0..entry.blocks.len() {
                for (at, row) in worker_rows() {
                    let name = format!("worker_{worker}.{}", row.name);
                    rows.0.push((name.into(), row.kind, entry.value_of(worker, at)));
                }
            }
            for (_, part) in parts.iter().filter(|(listener, _)| *listener == entry.name) {
                for (at, row) in listener_http_rows() {
                    let name = format!("http.{}.{}", part.name, row.name);
                    rows.0.push((name.into(), row.kind, part.value(at)));
                }
            }
            rows.show("listener", &entry.name, visit)?;
        }
        server_below("~", visit)
    }

    /// Shows every histogram under its whole name, summed over the workers and sorted by name: those that are always there, and of
    /// the others what has a value.
    ///
    /// # Errors
    /// What `visit` failed with; nothing more is shown then.
    pub fn visit_histograms(&self, visit: VisitHistogram<'_>) -> fmt::Result {
        let mut distribution = Distribution::default();
        visit_histograms("cluster", &self.clusters.entries(), &mut distribution, visit)?;
        visit_histograms("http", &self.https.entries(), &mut distribution, visit)?;
        visit_histograms("listener", &self.listeners.entries(), &mut distribution, visit)?;
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

    pub(crate) fn listeners(&self) -> Vec<Entry<ListenerStats>> {
        self.listeners.entries()
    }

    pub(crate) fn https(&self) -> Vec<Entry<HttpStats>> {
        self.https.entries()
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
                    let of = |at: usize| base.0.get(at).map(|base| base.counters.clone());
                    let counters: Option<Vec<_>> = (at..at + blocks.len()).map(of).collect();
                    Some(Base(counters?.into_iter().map(|counters| BlockBase { counters, codes: vec![] }).collect()))
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

/// The address as Envoy puts it into a statistic's name: `:` would be taken for a separator by statsd.
fn listener_scope(address: &str) -> String {
    address.replace(':', "_")
}

/// The numbers of one entry, on their way to be sorted.
#[derive(Default)]
struct Rows(Vec<(Cow<'static, str>, Kind, u64)>, Vec<(u16, u64)>, String);

impl Rows {
    fn add<B: Block>(&mut self, entry: &Entry<B>) {
        let table = B::table().iter().enumerate().filter(|(at, _)| entry.shows(*at));
        self.0.extend(table.map(|(at, row)| (row.name.into(), row.kind, entry.value(at))));
        for (at, CodesRow { prefix, .. }) in B::codes().iter().enumerate() {
            entry.codes(at, &mut self.1);
            let mut push = |name: String, value| self.0.push((name.into(), Kind::Counter, value));
            for (code, count) in &self.1 {
                push(format!("{prefix}upstream_rq_{code}"), *count);
            }
            for (class, count) in classes(&self.1) {
                push(format!("{prefix}upstream_rq_{class}xx"), count);
            }
            let completed = self.1.iter().map(|sum| sum.1).sum();
            if completed > 0 {
                push(format!("{prefix}upstream_rq_completed"), completed);
            }
        }
    }

    /// Shows what was added, in order, and forgets it.
    fn show(&mut self, scope: &str, entry: &str, visit: Visit<'_>) -> fmt::Result {
        let Rows(rows, _, name) = self;
        rows.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        name.clear();
        write!(name, "{scope}.{entry}.")?;
        let stem = name.len();
        for (row, kind, value) in rows.drain(..) {
            name.truncate(stem);
            name.push_str(&row);
            visit(name, kind, value)?;
        }
        Ok(())
    }
}

/// The counts of each class that has any.
pub(crate) fn classes(codes: &[(u16, u64)]) -> impl Iterator<Item = (u16, u64)> {
    (1..6).filter_map(|class| {
        let count = codes.iter().filter(|sum| sum.0 / 100 == class).map(|sum| sum.1).sum();
        (count > 0).then_some((class, count))
    })
}

fn visit_histograms<B: Block>(
    scope: &str,
    entries: &[Entry<B>],
    distribution: &mut Distribution,
    visit: VisitHistogram<'_>,
) -> fmt::Result {
    let mut name = String::new();
    for entry in entries {
        for row in B::histograms() {
            distribution.clear();
            entry.blocks.iter().for_each(|block| (row.add)(block, distribution));
            if row.is_always || distribution.total() > 0 {
                name.clear();
                write!(name, "{scope}.{}.{}", entry.name, row.name)?;
                visit(&name, distribution)?;
            }
        }
    }
    Ok(())
}

/// A panic while a lock was held leaves a whole map behind: inserting and removing are all that happens.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names of one kind of block.
#[derive(Debug)]
struct Names<B>(Mutex<BTreeMap<Arc<str>, Named<B>>>);

#[derive(Debug)]
struct Named<B> {
    blocks: Arc<[Arc<B>]>,
    base: Option<Arc<Base>>,
}

impl<B> Default for Names<B> {
    fn default() -> Self {
        Names(Mutex::default())
    }
}

impl<B: Block> Names<B> {
    fn find(&self, name: &str, count: usize) -> Vec<Arc<B>> {
        let mut names = lock(&self.0);
        if let Some(named) = names.get(name) {
            return named.blocks.to_vec();
        }
        let blocks = fresh(count);
        names.insert(name.into(), Named { blocks: blocks.clone(), base: None });
        blocks.to_vec()
    }

    /// Gives a name further blocks, and these.
    fn extend(&self, name: &str, count: usize) -> Arc<[Arc<B>]> {
        let blocks = fresh(count);
        let mut names = lock(&self.0);
        let none = || Named { blocks: Arc::default(), base: None };
        let named = names.entry(name.into()).or_insert_with(none);
        named.blocks = named.blocks.iter().chain(blocks.iter()).cloned().collect();
        blocks
    }

    fn forget(&self, name: &str) {
        lock(&self.0).remove(name);
    }

    /// A copy of the list, so that numbers are read without the lock.
    fn entries(&self) -> Vec<Entry<B>> {
        let entry = |(name, Named { blocks, base }): (&Arc<str>, &Named<B>)| Entry {
            name: name.clone(),
            blocks: blocks.clone(),
            base: base.clone(),
        };
        lock(&self.0).iter().map(entry).collect()
    }

    fn reset(&self) {
        let entries = self.entries();
        let bases: Vec<_> = entries.iter().map(|entry| (entry.name.clone(), Arc::new(entry.base()))).collect();
        let mut names = lock(&self.0);
        for (name, base) in bases {
            if let Some(named) = names.get_mut(&name) {
                named.base = Some(base);
            }
        }
    }
}

fn fresh<B: Block>(count: usize) -> Arc<[Arc<B>]> {
    (0..count).map(|_| Arc::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;

    fn rows(registry: &Registry) -> Vec<(String, u64)> {
        let mut rows = vec![];
        let visited = registry.visit(&mut |name, _, value| {
            rows.push((name.to_owned(), value));
            Ok(())
        });
        visited.expect("a list takes all");
        rows
    }

    #[test]
    fn numbers_are_summed_over_workers_and_sorted() {
        let registry = Registry::new(2);
        let cluster = registry.cluster("b");
        cluster[0].upstream_rq_total.add(3);
        cluster[1].upstream_rq_total.add(4);
        registry.cluster("b")[1].upstream_rq_total.add(1);
        registry.cluster("a")[0].upstream_cx_active.add(1);
        registry.listener("[::1]:80")[1].downstream_cx_total.add(9);
        registry.http("in", "[::1]:80")[0].count_status(404);
        registry.http("in", "1.2.3.4:5")[1].count_status(405);
        cluster[1].count_status(Origin::External, 503);
        registry.membership("b").membership_total.set(3);
        registry.server.uptime.set(5);
        let rows = rows(&registry);
        assert!(rows.iter().map(|(name, _)| name).is_sorted(), "{rows:#?}");
        let value = |name: &str| rows.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name}")).1;
        for (name, expect) in [
            ("cluster.b.upstream_rq_total", 8),
            ("cluster.a.upstream_cx_active", 1),
            ("cluster_manager.active_clusters", 0),
            ("listener.[__1]_80.downstream_cx_total", 9),
            ("listener.[__1]_80.worker_0.downstream_cx_total", 0),
            ("listener.[__1]_80.worker_1.downstream_cx_total", 9),
            ("http.in.downstream_rq_4xx", 2),
            ("listener.[__1]_80.http.in.downstream_rq_4xx", 1),
            ("cluster.b.external.upstream_rq_503", 1),
            ("cluster.b.upstream_rq_5xx", 1),
            ("cluster.b.upstream_rq_completed", 1),
            ("cluster.b.membership_total", 3),
            ("server.concurrency", 2),
            ("server.uptime", 5),
        ] {
            assert_eq!(value(name), expect, "{name}");
        }
    }

    #[test]
    fn what_is_forgotten_is_not_shown_and_starts_again_at_zero() {
        let registry = Registry::new(1);
        registry.cluster("a")[0].upstream_rq_total.add(1);
        registry.listener("1.2.3.4:5")[0].downstream_cx_total.add(1);
        registry.http("h", "1.2.3.4:5")[0].rq_total.add(1);
        registry.forget_cluster("a");
        registry.forget_listener("1.2.3.4:5");
        registry.forget_http("h");
        assert!(rows(&registry).iter().all(|(name, _)| !name.contains(".a.") && !name.contains("1.2.3.4")));
        assert_eq!(registry.cluster("a")[0].upstream_rq_total.value(), 0);
    }

    #[test]
    fn used_is_what_was_written() {
        for (name, value, expect) in [
            ("server.state", 0, true),
            ("listener_manager.workers_started", 0, true),
            ("cluster.a.upstream_rq_total", 0, false),
            ("cluster.a.upstream_rq_total", 1, true),
            ("listener.127.0.0.1_80.downstream_cx_total", 0, false),
        ] {
            assert_eq!(is_used(name, value), expect, "{name}");
        }
    }

    #[test]
    fn reset_counters_begin_at_zero_and_nothing_else_does() {
        let registry = Registry::new(2);
        let (cluster, http) = (registry.cluster("c"), registry.http("h", "1.2.3.4:5"));
        let listener = registry.listener("1.2.3.4:5");
        let count = || {
            cluster[1].upstream_rq_total.add(2);
            cluster[0].count_status(Origin::Internal, 200);
            http[1].count_status(200);
            listener[1].downstream_cx_total.add(1);
            registry.server.cluster_added.add(1);
            registry.http("h", "5.6.7.8:9")[0].count_status(200);
        };
        count();
        count();
        cluster[0].upstream_cx_active.add(5);
        cluster[0].upstream_cx_connect_ms.record(1);
        registry.reset_counters();
        let check = |expect: &[(&str, u64)]| {
            let rows = rows(&registry);
            for (name, expect) in expect {
                let found = rows.iter().find(|row| row.0 == *name).map_or(0, |row| row.1);
                assert_eq!(found, *expect, "{name}");
            }
        };
        let counted = |count| {
            [
                ("cluster.c.upstream_rq_total", 2 * count),
                ("cluster.c.upstream_rq_200", count),
                ("cluster.c.internal.upstream_rq_2xx", count),
                ("http.h.downstream_rq_2xx", 2 * count),
                ("listener.1.2.3.4_5.http.h.downstream_rq_2xx", count),
                ("listener.1.2.3.4_5.worker_1.downstream_cx_total", count),
                ("cluster_manager.cluster_added", count),
                ("cluster.c.upstream_cx_active", 5),
            ]
        };
        check(&counted(0));
        count();
        check(&counted(1));
        let mut totals = vec![];
        let visited = registry.visit_histograms(&mut |name, distribution| {
            totals.push((name.to_owned(), distribution.total()));
            Ok(())
        });
        visited.expect("a list takes all");
        assert!(totals.contains(&("cluster.c.upstream_cx_connect_ms".to_owned(), 1)), "{totals:?}");
        assert!(totals.is_sorted(), "{totals:?}");
        assert!(!totals.iter().any(|(name, _)| name.ends_with("upstream_rq_time")), "{totals:?}");
    }

    /// Guards the absence of zeros that look like measurements.
    #[test]
    fn http2_is_shown_once_it_was_spoken() {
        let registry = Registry::new(2);
        let (cluster, one, two) =
            (registry.cluster("c"), registry.http("h", "1.2.3.4:5"), registry.http("i", "1.2.3.4:6"));
        registry.cluster("silent");
        let of_http2 = || rows(&registry).into_iter().filter(|(name, _)| name.contains("http2.")).collect::<Vec<_>>();
        assert_eq!(of_http2(), []);
        cluster[1].http2.write().tx_reset.add(3);
        one[0].http2.write().goaway_sent.add(1);
        two[1].http2.write().goaway_sent.add(1);
        two[1].dropped_for_underscores(true).add(4);
        two[1].dropped_for_underscores(false).add(5);
        let set: Vec<_> = of_http2().into_iter().filter(|row| row.1 > 0).collect();
        let expect =
            [("cluster.c.http2.tx_reset", 3), ("http2.dropped_headers_with_underscores", 4), ("http2.goaway_sent", 2)];
        assert_eq!(set, expect.map(|(name, value)| (name.to_owned(), value)));
        assert!(rows(&registry).contains(&("http1.dropped_headers_with_underscores".to_owned(), 5)));
        assert!(of_http2().iter().all(|(name, _)| !name.contains("silent") && !name.starts_with("http.")));
        assert!(rows(&registry).iter().map(|(name, _)| name).is_sorted());
        registry.reset_counters();
        assert!(of_http2().iter().all(|row| row.1 == 0));
        one[0].http2.write().goaway_sent.add(1);
        assert!(of_http2().contains(&("http2.goaway_sent".to_owned(), 1)));
    }

    #[test]
    fn a_prefix_keeps_what_its_gone_listeners_counted() {
        let registry = Registry::new(1);
        registry.listener("1.2.3.4:5");
        registry.http("h", "1.2.3.4:5")[0].count_status(200);
        registry.forget_listener("1.2.3.4:5");
        registry.http("h", "1.2.3.4:6")[0].count_status(200);
        let rows = rows(&registry);
        assert!(rows.contains(&("http.h.downstream_rq_2xx".to_owned(), 2)), "{rows:?}");
        assert!(!rows.iter().any(|(name, _)| name.contains("1.2.3.4_5")), "{rows:?}");
    }
}
