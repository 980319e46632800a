//! Where all blocks are known: found by name, summed over the workers, shown under their whole names.
//!
//! Locks are taken by the control thread (a configuration brings or takes names) and the admin thread (a scrape), for
//! as long as it takes to find a name or to copy the list of them; never while numbers are read, and by no worker.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Block, ClusterStats, HttpStats, Kind, ListenerStats, Server};

/// All numbers of the process.
#[derive(Debug)]
pub struct Registry {
    workers: usize,
    /// The process's own numbers.
    pub server: Server,
    clusters: Names<ClusterStats>,
    listeners: Names<ListenerStats>,
    https: Names<HttpStats>,
}

/// One name and its blocks, one per worker.
pub(crate) type Entry<B> = (Arc<str>, Arc<[Arc<B>]>);

impl Registry {
    /// A registry for this many workers (at least 1).
    pub fn new(workers: usize) -> Arc<Self> {
        assert!(workers > 0, "a process has workers");
        let server = Server::default();
        server.concurrency.set(workers as u64);
        Arc::new(Self {
            workers,
            server,
            clusters: Names::default(),
            listeners: Names::default(),
            https: Names::default(),
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

    /// The blocks of a listener's address (`127.0.0.1:8080`, `[::1]:8080`), by worker; made at the first ask.
    pub fn listener(&self, address: &str) -> Vec<Arc<ListenerStats>> {
        self.listeners.find(&listener_scope(address), self.workers)
    }

    /// The blocks of an HTTP connection manager's `stat_prefix`, by worker; made at the first ask. Managers with the
    /// same prefix share them.
    pub fn http(&self, prefix: &str) -> Vec<Arc<HttpStats>> {
        self.https.find(prefix, self.workers)
    }

    /// Forgets a cluster's numbers. Who still holds a block may go on writing it; nobody will read it.
    pub fn forget_cluster(&self, stat_name: &str) {
        self.clusters.lock().remove(stat_name);
    }

    /// Forgets a listener's numbers; see [`Registry::forget_cluster`].
    pub fn forget_listener(&self, address: &str) {
        self.listeners.lock().remove(listener_scope(address).as_str());
    }

    /// Forgets the numbers of a `stat_prefix`; see [`Registry::forget_cluster`].
    pub fn forget_http(&self, prefix: &str) {
        self.https.lock().remove(prefix);
    }

    /// Shows every number under its whole name, summed over the workers: clusters, then the rest of Envoy's first words
    /// in their order, each by name and then by statistic.
    pub fn visit(&self, visit: &mut dyn FnMut(&str, Kind, u64)) {
        let mut server = vec![];
        self.server.rows(&mut |name, kind, value| server.push((name, kind, value)));
        let mut server = server.into_iter().peekable();
        let mut server_below = |bound: &str, visit: &mut dyn FnMut(&str, Kind, u64)| {
            while let Some((name, kind, value)) = server.next_if(|(name, ..)| *name < bound) {
                visit(name, kind, value);
            }
        };
        server_below("cluster.", visit);
        visit_scope("cluster", &self.clusters.entries(), visit, &|_, _, _| ());
        server_below("http.", visit);
        visit_scope("http", &self.https.entries(), visit, &|_, _, _| ());
        self.codec_rows(visit);
        visit_scope("listener", &self.listeners.entries(), visit, &|scope, blocks, visit| {
            let mut name = String::new();
            for (worker, block) in blocks.iter().enumerate() {
                for (row, kind, value) in [
                    ("downstream_cx_active", Kind::Gauge, block.downstream_cx_active.value()),
                    ("downstream_cx_total", Kind::Counter, block.downstream_cx_total.value()),
                ] {
                    name.clear();
                    let _ = write!(name, "{scope}worker_{worker}.{row}");
                    visit(&name, kind, value);
                }
            }
        });
        server_below("~", visit);
    }

    /// What all connection managers count together of HTTP/1, by name.
    pub(crate) fn codec_rows(&self, visit: &mut dyn FnMut(&str, Kind, u64)) {
        let https = self.https.entries();
        let total = |value: fn(&HttpStats) -> u64| https.iter().map(|(_, blocks)| sum(blocks, value)).sum();
        let dropped = total(|block| block.dropped_headers_with_underscores.value());
        visit("http1.dropped_headers_with_underscores", Kind::Counter, dropped);
        let rejected = total(|block| block.requests_rejected_with_underscores_in_headers.value());
        visit("http1.requests_rejected_with_underscores_in_headers", Kind::Counter, rejected);
    }

    pub(crate) fn clusters(&self) -> Vec<Entry<ClusterStats>> {
        self.clusters.entries()
    }

    pub(crate) fn listeners(&self) -> Vec<Entry<ListenerStats>> {
        self.listeners.entries()
    }

    pub(crate) fn https(&self) -> Vec<Entry<HttpStats>> {
        self.https.entries()
    }
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

/// A number of all workers together.
pub(crate) fn sum<B>(blocks: &[Arc<B>], value: fn(&B) -> u64) -> u64 {
    blocks.iter().fold(0u64, |sum, block| sum.wrapping_add(value(block)))
}

type Also<'a, B> = &'a dyn Fn(&str, &[Arc<B>], Visit<'_>);
type Visit<'v> = &'v mut dyn FnMut(&str, Kind, u64);

/// Shows all entries of one kind; `also` shows what an entry has beside its table.
fn visit_scope<B: Block>(kind: &str, entries: &[Entry<B>], visit: Visit<'_>, also: Also<'_, B>) {
    let mut name = String::new();
    for (entry, blocks) in entries {
        name.clear();
        let _ = write!(name, "{kind}.{entry}.");
        let scope = name.len();
        for row in B::table() {
            name.truncate(scope);
            name.push_str(row.name);
            visit(&name, row.kind, sum(blocks, row.value));
        }
        name.truncate(scope);
        also(&name, blocks, visit);
    }
}

/// The names of one kind of block.
#[derive(Debug)]
struct Names<B>(Mutex<Map<B>>);

type Map<B> = BTreeMap<Arc<str>, Arc<[Arc<B>]>>;

impl<B> Default for Names<B> {
    fn default() -> Self {
        Names(Mutex::default())
    }
}

impl<B: Block> Names<B> {
    fn lock(&self) -> MutexGuard<'_, Map<B>> {
        // A panic while the lock was held leaves a whole map behind: inserting and removing are all that happens.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str, workers: usize) -> Vec<Arc<B>> {
        let mut names = self.lock();
        if let Some(blocks) = names.get(name) {
            return blocks.to_vec();
        }
        let blocks: Arc<[Arc<B>]> = (0..workers).map(|_| Arc::default()).collect();
        names.insert(name.into(), blocks.clone());
        blocks.to_vec()
    }

    /// A copy of the list, so that numbers are read without the lock.
    fn entries(&self) -> Vec<Entry<B>> {
        self.lock().iter().map(|(name, blocks)| (name.clone(), blocks.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(registry: &Registry) -> Vec<(String, u64)> {
        let mut rows = vec![];
        registry.visit(&mut |name, _, value| rows.push((name.to_owned(), value)));
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
        registry.http("in")[0].count_status(404);
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
            ("http.in.downstream_rq_4xx", 1),
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
        registry.http("h")[0].rq_total.add(1);
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
}
