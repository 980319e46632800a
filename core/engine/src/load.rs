//! What this core counts for load reports (LRS): where a try goes, and what becomes of it.
//!
//! ```text
//!            picked             sent                answered, or failed
//!   (none) ────────> Connecting ─────────> UnderWay ───────────────────> Judged
//!                        │ no connection      │ the client is gone          │ over
//!                        └─> failed           └──────────── ended ──────────┘
//! ```
//! Where load is not reported there is nothing but `None`. Where it is, a try costs a few additions on cache lines of this core's
//! own; no atomic read-modify-write, and no memory.
//!
//! Invariant: what is counted as issued is counted as ended once, and as successful or failed at most once.

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
    fn row(&self) -> &LocalityLoad {
        &self.rows[self.worker]
    }
}

/// One try, as far as load reports count it.
#[derive(Default)]
pub(crate) struct TryLoad {
    /// `None`: nobody reports, or nothing more is to be counted.
    load: Option<Rc<CoreLoad>>,
    state: State,
}

/// How far it has come.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Connecting,
    UnderWay,
    Judged,
}

impl TryLoad {
    /// An endpoint was picked, whose locality this is.
    #[inline]
    pub(crate) fn picked(load: Option<Rc<CoreLoad>>) -> Self {
        Self { load, state: State::Connecting }
    }

    /// It is sent.
    #[inline]
    pub(crate) fn sent(&mut self) {
        if let (Some(load), State::Connecting) = (&self.load, self.state) {
            load.row().issued.add(1);
            self.state = State::UnderWay;
        }
    }

    /// What became of it. Only the first word counts.
    #[inline]
    pub(crate) fn judge(&mut self, is_successful: bool) {
        let Some(load) = self.load.as_ref().filter(|_| self.state != State::Judged) else { return };
        let row = load.row();
        if is_successful { &row.successful } else { &row.failed }.add(1);
        if self.state == State::Connecting {
            // It was never sent, so that it does not end.
            self.load = None;
        }
        self.state = State::Judged;
    }

    /// Whether it makes a difference what becomes of it.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.load.is_some() && self.state == State::UnderWay
    }
}

impl Drop for TryLoad {
    fn drop(&mut self) {
        if let (Some(load), State::UnderWay | State::Judged) = (&self.load, self.state) {
            load.row().ended.add(1);
        }
    }
}

/// A raw connection, which load reports count as a request under way and are told nothing more of.
pub(crate) struct RawLoad(Option<Rc<CoreLoad>>);

impl RawLoad {
    /// It is there.
    pub(crate) fn begin(load: Option<Rc<CoreLoad>>) -> Self {
        if let Some(load) = &load {
            load.row().issued.add(1);
        }
        Self(load)
    }
}

impl Drop for RawLoad {
    fn drop(&mut self) {
        if let Some(load) = &self.0 {
            load.row().ended.add(1);
        }
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

    fn load() -> (Arc<[LocalityLoad]>, Rc<CoreLoad>) {
        let rows: Arc<[LocalityLoad]> = (0..2).map(|_| LocalityLoad::default()).collect();
        (Arc::clone(&rows), Rc::new(CoreLoad { rows, worker: 1 }))
    }

    /// issued, ended, successful, failed.
    fn counts(rows: &[LocalityLoad]) -> [u64; 4] {
        assert_eq!([rows[0].issued.value(), rows[0].ended.value()], [0, 0], "another worker's row");
        [&rows[1].issued, &rows[1].ended, &rows[1].successful, &rows[1].failed].map(|counter| counter.value())
    }

    #[test]
    fn a_try_is_issued_and_ended_once_and_judged_at_most_once() {
        let (rows, load) = load();
        let mut own = TryLoad::picked(Some(Rc::clone(&load)));
        assert!(!own.is_open());
        own.sent();
        own.sent();
        assert!(own.is_open());
        assert_eq!(counts(&rows), [1, 0, 0, 0]);
        own.judge(true);
        own.judge(false);
        assert_eq!(counts(&rows), [1, 0, 1, 0]);
        drop(own);
        assert_eq!(counts(&rows), [1, 1, 1, 0]);
        // A client that goes away says nothing of the upstream.
        let mut own = TryLoad::picked(Some(Rc::clone(&load)));
        own.sent();
        drop(own);
        assert_eq!(counts(&rows), [2, 2, 1, 0]);
        // Another try takes the place of one.
        let mut own = TryLoad::picked(Some(Rc::clone(&load)));
        own.sent();
        own.judge(false);
        own = TryLoad::picked(Some(load));
        assert_eq!(counts(&rows), [3, 3, 1, 1]);
        drop(own);
        assert_eq!(counts(&rows), [3, 3, 1, 1]);
    }

    /// As Envoy counts: an error that was not issued.
    #[test]
    fn a_connection_that_could_not_be_made_is_a_failure_that_was_not_issued() {
        let (rows, load) = load();
        let mut own = TryLoad::picked(Some(load));
        own.judge(false);
        own.judge(false);
        drop(own);
        assert_eq!(counts(&rows), [0, 0, 0, 1]);
    }

    #[test]
    fn a_raw_connection_is_under_way_while_it_is_there() {
        let (rows, load) = load();
        let own = RawLoad::begin(Some(load));
        assert_eq!(counts(&rows), [1, 0, 0, 0]);
        drop(own);
        assert_eq!(counts(&rows), [1, 1, 0, 0]);
        drop(RawLoad::begin(None));
    }

    #[test]
    fn where_nobody_reports_nothing_happens() {
        let mut own = TryLoad::picked(None);
        own.sent();
        own.judge(true);
        assert!(!own.is_open());
    }

    #[test]
    fn grpc_statuses_that_are_the_servers_fault_are_failures() {
        let failures: Vec<u32> = (0..=17).filter(|status| is_grpc_failure(Some(*status))).collect();
        assert_eq!(failures, [2, 4, 12, 13, 14, 15, 17]);
        assert!(is_grpc_failure(None));
    }
}
