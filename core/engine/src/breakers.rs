//! A cluster's circuit breakers on this core, with the statistics that tell of them.
//!
//! Outlives generations: keyed by the cluster's name, so that a changed cluster neither forgets what is open nor counts it
//! twice.

use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ringway_model::{CircuitBreakers, Cluster, ClusterId};
use ringway_observe::{BreakerStats, ClusterStats, PriorityLevels};

use crate::lease::{Lease, SharedLimit};
use crate::retry_limit::RetryLimit;

/// The limits of one cluster over all cores, shared by every generation of it.
#[derive(Debug)]
pub(crate) struct ClusterLimits {
    pub(crate) default: Limits,
    /// Of the priority HIGH, where requests may have it.
    high: Option<HighLimits>,
    /// Where it is shown which of them are reached.
    levels: Arc<BreakerStats>,
}

impl ClusterLimits {
    /// `stats`: what each of `workers` counts for the cluster.
    pub(crate) fn new(
        cluster: &Cluster,
        stats: &[Arc<ClusterStats>],
        levels: Arc<BreakerStats>,
        workers: usize,
    ) -> Self {
        let default = Limits::new(&cluster.circuit_breakers, stats.to_vec(), workers);
        let high = cluster.high_breakers.map(|now| HighLimits { now: Mutex::new(now), limits: OnceLock::new() });
        Self { default, high, levels }
    }

    /// Those of the priority HIGH.
    pub(crate) fn high(&self) -> Option<&Limits> {
        self.high.as_ref().map(|high| high.limits(&self.default))
    }

    /// Shows which limits are reached now.
    pub(crate) fn show(&self) {
        self.default.show(&self.levels.default);
        match &self.high {
            Some(high) => high.show(&self.levels.high),
            // It may have been shown before it went.
            None => show(&self.levels.high, [false; 4]),
        }
    }

    /// Takes up changed limits; `false` where a priority has come or gone.
    pub(crate) fn set(&self, cluster: &Cluster) -> bool {
        self.default.set(&cluster.circuit_breakers);
        match (&self.high, &cluster.high_breakers) {
            (Some(high), Some(breakers)) => {
                high.set(breakers);
                true
            }
            (None, None) => true,
            _ => false,
        }
    }
}

/// The limits of the priority HIGH, made for the first request that has it: with routes that come and go each of ten thousand clusters may be
/// asked for it, and hardly any is.
#[derive(Debug)]
struct HighLimits {
    /// As configured now. Whoever makes or changes `limits` holds it, so that no change is lost between the two: a worker once, for its first
    /// such request to the cluster.
    now: Mutex<CircuitBreakers>,
    limits: OnceLock<Limits>,
}

impl HighLimits {
    /// `default`: those of the same cluster's other priority.
    fn limits(&self, default: &Limits) -> &Limits {
        self.limits.get().unwrap_or_else(|| {
            let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            self.limits.get_or_init(|| default.with(&now))
        })
    }

    fn show(&self, levels: &PriorityLevels) {
        if let Some(limits) = self.limits.get() {
            return limits.show(levels);
        }
        // Of nothing, all is taken.
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let retries_max = now.retry_budget.map_or(now.retries_max, |budget| budget.retries_min);
        show(
            levels,
            [now.connections_max, now.requests_max, now.pending_requests_max, retries_max].map(|max| max == 0),
        );
    }

    fn set(&self, breakers: &CircuitBreakers) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = *breakers;
        if let Some(limits) = self.limits.get() {
            limits.set(breakers);
        }
    }
}

/// The limits of one priority.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) connections: Arc<SharedLimit>,
    pub(crate) pending: Arc<SharedLimit>,
    pub(crate) requests: Arc<SharedLimit>,
    pub(crate) retries: Arc<RetryLimit>,
}

impl Limits {
    /// Those of a process with one worker.
    #[cfg(test)]
    pub(crate) fn of_one(breakers: &CircuitBreakers, stats: &Arc<ClusterStats>) -> Self {
        Self::new(breakers, vec![Arc::clone(stats)], 1)
    }

    /// Others of the same workers and the same cluster.
    fn with(&self, breakers: &CircuitBreakers) -> Self {
        Self::new(breakers, self.retries.counted().to_vec(), self.connections.workers())
    }

    fn new(breakers: &CircuitBreakers, stats: Vec<Arc<ClusterStats>>, workers: usize) -> Self {
        Self {
            connections: SharedLimit::new(breakers.connections_max, workers),
            pending: SharedLimit::new(breakers.pending_requests_max, workers),
            requests: SharedLimit::new(breakers.requests_max, workers),
            retries: Arc::new(RetryLimit::new(breakers, stats)),
        }
    }

    fn show(&self, levels: &PriorityLevels) {
        let [connections, requests, pending] =
            [&self.connections, &self.requests, &self.pending].map(|limit| limit.is_exhausted());
        show(levels, [connections, requests, pending, self.retries.is_exhausted()]);
    }

    fn set(&self, breakers: &CircuitBreakers) {
        self.connections.set_max(breakers.connections_max);
        self.pending.set_max(breakers.pending_requests_max);
        self.requests.set_max(breakers.requests_max);
        self.retries.set(breakers);
    }
}

/// Whether there is no room for another connection, request, request that waits, or retry.
fn show(levels: &PriorityLevels, [connections, requests, pending, retries]: [bool; 4]) {
    levels.cx_open.set(u64::from(connections));
    levels.rq_open.set(u64::from(requests));
    levels.rq_pending_open.set(u64::from(pending));
    levels.rq_retry_open.set(u64::from(retries));
}

/// What the control side gives a worker for one cluster that is new to it.
#[derive(Clone)]
pub(crate) struct ClusterSeed {
    pub(crate) id: ClusterId,
    pub(crate) stats: Arc<ClusterStats>,
    pub(crate) limits: Arc<ClusterLimits>,
}

/// This core's permits for one cluster's name and one priority.
pub(crate) struct Breakers {
    pub(crate) stats: Arc<ClusterStats>,
    pub(crate) connections: Lease,
    pub(crate) pending: Lease,
    pub(crate) requests: Lease,
    pub(crate) retries: Arc<RetryLimit>,
}

impl Breakers {
    pub(crate) fn new(stats: &Arc<ClusterStats>, limits: &Limits) -> Rc<Self> {
        Rc::new(Self {
            stats: Arc::clone(stats),
            connections: Lease::new(Arc::clone(&limits.connections)),
            pending: Lease::new(Arc::clone(&limits.pending)),
            requests: Lease::new(Arc::clone(&limits.requests)),
            retries: Arc::clone(&limits.retries),
        })
    }
}

/// A request that waits for a connection, among those that its cluster lets wait; or a raw connection that waits for its upstream.
pub(crate) struct Pending<'b>(&'b Breakers);

impl<'b> Pending<'b> {
    /// `None`: as many as may are waiting.
    pub(crate) fn enter(breakers: &'b Breakers) -> Option<Self> {
        if !breakers.pending.try_acquire() {
            breakers.stats.upstream_rq_pending_overflow.add(1);
            return None;
        }
        breakers.stats.upstream_rq_pending_total.add(1);
        breakers.stats.upstream_rq_pending_active.add(1);
        Some(Self(breakers))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.pending.release();
        self.0.stats.upstream_rq_pending_active.sub(1);
    }
}

/// A place under `max_connections` for a connection to come.
pub(crate) struct Place(Rc<Breakers>);

impl Place {
    /// `None`: all are taken.
    pub(crate) fn take(breakers: &Rc<Breakers>) -> Option<Self> {
        if !breakers.connections.try_acquire() {
            breakers.stats.upstream_cx_overflow.add(1);
            return None;
        }
        Some(Self(Rc::clone(breakers)))
    }

    /// Whose they are. The place is the caller's to release from now on.
    pub(crate) fn keep(self) -> Rc<Breakers> {
        let breakers = Rc::clone(&self.0);
        std::mem::forget(self);
        breakers
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.release();
    }
}
