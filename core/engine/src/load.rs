//! What this core counts for load reports (LRS): where a try goes, and what becomes of it.
//!
//! A pool counts for its endpoint, in the row of the locality that the endpoint belongs to: how many tries are under way, how many were
//! sent, and what became of them. Where load is not reported it has no row. Where it is, a try costs a few additions on cache lines of
//! this core's own; no atomic read-modify-write, and no memory.
//!
//! Invariant: tries under way are counted in the row that their pool has now, each once.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use ringway_model::ClusterId;
use ringway_observe::{ClusterRows, DroppedLoad, LocalityLoad};

/// The rows of clusters that a commit brings or changes.
pub(crate) type LoadRows = HashMap<ClusterId, Arc<ClusterRows>>;

/// One version of a cluster's rows on this core.
pub(crate) struct ClusterLoad {
    /// In the order of the rows.
    localities: Box<[Rc<CoreLoad>]>,
    rows: Arc<ClusterRows>,
    worker: usize,
}

/// One locality's row on this core.
pub(crate) struct CoreLoad {
    rows: Arc<[LocalityLoad]>,
    worker: usize,
}

impl ClusterLoad {
    pub(crate) fn new(rows: &Arc<ClusterRows>, worker: usize) -> Self {
        let own = rows.localities.iter().map(|locality| CoreLoad { rows: Arc::clone(&locality.workers), worker });
        Self { localities: own.map(Rc::new).collect(), rows: Arc::clone(rows), worker }
    }

    /// That of the endpoint at a position; where there are no endpoints, that of all addresses.
    pub(crate) fn of_endpoint(&self, at: usize) -> &Rc<CoreLoad> {
        let place = self.rows.of_endpoints.get(at).map_or(0, |place| *place as usize);
        &self.localities[place]
    }

    /// What is not sent.
    fn dropped(&self) -> &DroppedLoad {
        &self.rows.dropped[self.worker]
    }

    /// A circuit breaker is open.
    pub(crate) fn overflowed(&self) {
        self.dropped().all.add(1);
    }

    /// `drop_overloads`.
    pub(crate) fn overloaded(&self) {
        self.dropped().all.add(1);
        self.dropped().overload.add(1);
    }
}

impl CoreLoad {
    #[inline]
    pub(crate) fn row(&self) -> &LocalityLoad {
        &self.rows[self.worker]
    }
}

/// Whether a gRPC status counts as 5xx does: those that Envoy maps to such a status of HTTP. A call without a status is none that
/// succeeded.
pub(crate) fn is_grpc_failure(status: Option<u32>) -> bool {
    // OK; CANCELLED, INVALID_ARGUMENT, NOT_FOUND to RESOURCE_EXHAUSTED, FAILED_PRECONDITION to OUT_OF_RANGE, UNAUTHENTICATED.
    !matches!(status, Some(0 | 1 | 3 | 5..=8 | 9..=11 | 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::pool::EndpointPool;

    fn rows() -> Arc<[LocalityLoad]> {
        (0..2).map(|_| LocalityLoad::default()).collect()
    }

    fn load(rows: &Arc<[LocalityLoad]>) -> Option<Rc<CoreLoad>> {
        Some(Rc::new(CoreLoad { rows: Arc::clone(rows), worker: 1 }))
    }

    /// issued, under way, successful, failed.
    fn counts(rows: &[LocalityLoad]) -> [u64; 4] {
        assert_eq!([rows[0].issued.value(), rows[0].active.value()], [0, 0], "another worker's row");
        let row = &rows[1];
        [row.issued.value(), row.active.value(), row.successful.value(), row.failed.value()]
    }

    #[test]
    fn a_try_is_under_way_until_it_is_over_whatever_becomes_of_it() {
        let (rows, pool) = (rows(), Rc::new(EndpointPool::new(([127, 0, 0, 1], 1).into())));
        pool.set_load(load(&rows));
        let one = pool.begin_request();
        assert_eq!(counts(&rows), [0, 1, 0, 0]);
        one.sent();
        one.judged(true);
        assert_eq!(counts(&rows), [1, 1, 1, 0]);
        drop(one);
        let two = pool.begin_request();
        two.judged(false);
        drop(two);
        assert_eq!(counts(&rows), [1, 0, 1, 1]);
    }

    #[test]
    fn what_is_under_way_moves_with_its_endpoint() {
        let (before, after) = (rows(), rows());
        let pool = Rc::new(EndpointPool::new(([127, 0, 0, 1], 1).into()));
        let early = pool.begin_request();
        early.sent();
        assert!(!early.is_reported());
        pool.set_load(load(&before));
        let one = pool.begin_request();
        assert_eq!(counts(&before), [0, 2, 0, 0]);
        pool.set_load(load(&after));
        assert_eq!((counts(&before), counts(&after)), ([0; 4], [0, 2, 0, 0]));
        // Another version of the cluster has the same row.
        pool.set_load(load(&after));
        drop((early, one));
        assert_eq!(counts(&after), [0; 4]);
    }

    #[test]
    fn grpc_statuses_that_are_the_servers_fault_are_failures() {
        let failures: Vec<u32> = (0..=17).filter(|status| is_grpc_failure(Some(*status))).collect();
        assert_eq!(failures, [2, 4, 12, 13, 14, 15, 17]);
        assert!(is_grpc_failure(None));
    }
}
