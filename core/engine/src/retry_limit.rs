//! How many retries the whole process may have under way towards one cluster: `max_retries`, or a budget in proportion to
//! the requests under way.
//!
//! Retries are rare, so this is one shared count, exact at any size. It never refuses a request, only another try of one.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ringway_model::{CircuitBreakers, RetryBudget};
use ringway_observe::ClusterStats;

use crate::breakers::Breakers;

/// The process's count of retries towards one cluster.
#[derive(Debug)]
pub(crate) struct RetryLimit {
    /// `max_retries`, or `min_retry_concurrency` of a budget.
    max: AtomicU32,
    /// `budget_percent` as the bits of an f64; 0.0 where there is no budget.
    percent: AtomicU64,
    /// Retries under way.
    active: AtomicU32,
    /// Each worker's count of requests under way.
    requests: Vec<Arc<ClusterStats>>,
}

impl RetryLimit {
    pub(crate) fn new(breakers: &CircuitBreakers, requests: Vec<Arc<ClusterStats>>) -> Self {
        let active = AtomicU32::new(0);
        let limit = Self { max: AtomicU32::new(0), percent: AtomicU64::new(0), active, requests };
        limit.set(breakers);
        limit
    }

    /// What each worker counts for the cluster.
    pub(crate) fn counted(&self) -> &[Arc<ClusterStats>] {
        &self.requests
    }

    /// A changed limit. Retries under way stay.
    pub(crate) fn set(&self, breakers: &CircuitBreakers) {
        let (max, percent) = match breakers.retry_budget {
            None => (breakers.retries_max, 0.0),
            Some(RetryBudget { percent, retries_min }) => (retries_min, percent),
        };
        self.max.store(max, Ordering::Relaxed);
        self.percent.store(percent.to_bits(), Ordering::Relaxed);
    }

    /// Retries that may be under way now.
    pub(crate) fn max(&self) -> u32 {
        let max = self.max.load(Ordering::Relaxed);
        let percent = f64::from_bits(self.percent.load(Ordering::Relaxed));
        if percent == 0.0 {
            return max;
        }
        let requests: u64 = self.requests.iter().map(|worker| worker.upstream_rq_active.value()).sum();
        // Towards zero, as Envoy; `as` saturates.
        max.max((percent / 100.0 * requests as f64) as u32)
    }

    /// Whether no other retry may begin now.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.active.load(Ordering::Relaxed) >= self.max()
    }

    fn try_take(&self) -> bool {
        let max = self.max();
        let more = |active: u32| (active < max).then_some(active + 1);
        self.active.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok()
    }
}

/// One retry under way, until it is dropped.
pub(crate) struct RetryPermit(Rc<Breakers>);

impl RetryPermit {
    /// `None` when the limit is reached.
    pub(crate) fn acquire(breakers: &Rc<Breakers>) -> Option<Self> {
        breakers.retries.try_take().then(|| Self(Rc::clone(breakers)))
    }
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        let before = self.0.retries.active.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "a retry ends once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(max: u32, budget: Option<(f64, u32)>, requests: &[u64], expect: u32) {
        let stats: Vec<_> = requests.iter().map(|_| ClusterStats::new()).collect();
        for (stats, requests) in stats.iter().zip(requests) {
            stats.upstream_rq_active.add(*requests);
        }
        let retry_budget = budget.map(|(percent, retries_min)| RetryBudget { percent, retries_min });
        let breakers = CircuitBreakers { retries_max: max, retry_budget, ..CircuitBreakers::default() };
        let limit = RetryLimit::new(&breakers, stats);
        let took = (0..expect + 5).filter(|_| limit.try_take()).count() as u32;
        assert_eq!((limit.max(), took), (expect, expect), "{max} {budget:?} {requests:?}");
    }

    #[test]
    fn the_limit_is_exact_over_all_workers() {
        check(3, None, &[1000], 3);
        check(0, None, &[1000], 0);
        check(1000, None, &[0, 0], 1000);
        check(9, Some((20.0, 3)), &[0], 3);
        check(9, Some((20.0, 3)), &[10, 5, 5, 80], 20);
        check(9, Some((20.0, 3)), &[19], 3);
        check(9, Some((12.5, 0)), &[9], 1);
        check(9, Some((100.0, 0)), &[7], 7);
    }

    #[test]
    fn a_lowered_limit_holds_once_retries_end() {
        let limit = RetryLimit::new(&CircuitBreakers::default(), Vec::new());
        assert!((0..3).all(|_| limit.try_take()));
        limit.set(&CircuitBreakers { retries_max: 1, ..CircuitBreakers::default() });
        limit.active.fetch_sub(2, Ordering::Relaxed);
        assert!(!limit.try_take());
        limit.active.fetch_sub(1, Ordering::Relaxed);
        assert!(limit.try_take() && !limit.try_take());
    }
}
