//! Requests under way to an endpoint, as all workers count them: for LEAST_REQUEST alone.
//!
//! A row is a number for each worker, on one cache line for up to sixteen of them. Each worker stores its own and reads all: no atomic
//! read-modify-write, no lock, and one line to be fetched a look (docs/decisions/0013-requests-counted-for-all-workers.md).
//!
//! Invariant: a worker's number is that of its pool for the endpoint, from when it has the row until it has another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ringway_model::{Address, Cluster, ClusterId, ClusterTable, LbPolicy, Snapshot};

/// Numbers that fit on a cache line.
const LINE: usize = 16;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU32; LINE]);

/// One endpoint's numbers.
#[derive(Clone, Debug)]
pub(crate) struct ActiveRow(Arc<[Line]>);

impl ActiveRow {
    fn new(workers: usize) -> Self {
        Self((0..workers.div_ceil(LINE)).map(|_| Line::default()).collect())
    }

    /// Tells this worker's number. No other writes there.
    #[inline]
    pub(crate) fn tell(&self, worker: usize, count: u32) {
        self.0[worker / LINE].0[worker % LINE].store(count, Relaxed);
    }

    /// All workers' numbers together.
    #[inline]
    pub(crate) fn sum(&self) -> u32 {
        self.0.iter().flat_map(|line| &line.0).map(|count| count.load(Relaxed)).sum()
    }
}

/// The rows of clusters that a commit brings or changes, in the order of their endpoints.
pub(crate) type ActiveRows = HashMap<ClusterId, Vec<ActiveRow>>;

/// The control side's book of rows: an endpoint's lasts as long as its cluster has it.
#[derive(Debug, Default)]
pub(crate) struct ActiveBook(HashMap<ClusterId, (String, HashMap<Address, ActiveRow>)>);

impl ActiveBook {
    /// The rows for what differs from `before`.
    pub(crate) fn rows(&mut self, before: Option<&Snapshot>, snapshot: &Snapshot, workers: usize) -> ActiveRows {
        let none = ClusterTable::default();
        let mut rows = ActiveRows::new();
        for change in snapshot.clusters.changes(before.map_or(&none, |before| &before.clusters)) {
            let Some(cluster) = change.now.filter(|cluster| needs_rows(cluster)) else {
                change.before.map(|before| self.0.remove(&before.id));
                continue;
            };
            if self.0.get(&cluster.id).is_some_and(|(name, _)| *name != cluster.name) {
                self.0.remove(&cluster.id);
            }
            let (_, known) = self.0.entry(cluster.id).or_insert_with(|| (cluster.name.clone(), HashMap::new()));
            let old = std::mem::take(known);
            for endpoint in cluster.endpoints.iter() {
                let fresh = || ActiveRow::new(workers);
                known
                    .entry(endpoint.address.clone())
                    .or_insert_with(|| old.get(&endpoint.address).cloned().unwrap_or_else(fresh));
            }
            rows.insert(
                cluster.id,
                cluster.endpoints.iter().map(|endpoint| known[&endpoint.address].clone()).collect(),
            );
        }
        rows
    }
}

fn needs_rows(cluster: &Cluster) -> bool {
    matches!(cluster.balancer.config().policy, LbPolicy::LeastRequest(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_a_number_of_its_own_and_all_are_summed() {
        for workers in [1, 2, 16, 17, 40] {
            let row = ActiveRow::new(workers);
            (0..workers).for_each(|worker| row.tell(worker, worker as u32 + 1));
            assert_eq!(row.sum() as usize, workers * (workers + 1) / 2);
            row.tell(workers - 1, 0);
            assert_eq!(row.sum() as usize, workers * (workers - 1) / 2);
            assert_eq!(std::mem::align_of_val(&row.0[0]), 64);
        }
    }
}
