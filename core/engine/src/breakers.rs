//! A cluster's circuit breakers on this core, with the statistics that tell of them.
//!
//! Outlives generations: keyed by the cluster's name, so that a changed cluster neither forgets what is open nor counts it
//! twice.

use std::sync::Arc;

use ringway_model::ClusterId;
use ringway_observe::ClusterStats;

use crate::lease::{Lease, SharedLimit};
use crate::retry_limit::RetryLimit;

/// The limits of one cluster over all cores, shared by every generation of it.
#[derive(Debug)]
pub(crate) struct ClusterLimits {
    pub(crate) connections: Arc<SharedLimit>,
    pub(crate) pending: Arc<SharedLimit>,
    pub(crate) requests: Arc<SharedLimit>,
    pub(crate) retries: Arc<RetryLimit>,
}

/// What the control side gives a worker for one cluster that is new to it.
#[derive(Clone)]
pub(crate) struct ClusterSeed {
    pub(crate) id: ClusterId,
    pub(crate) stats: Arc<ClusterStats>,
    pub(crate) limits: Arc<ClusterLimits>,
}

/// This core's permits for one cluster's name.
pub(crate) struct Breakers {
    pub(crate) stats: Arc<ClusterStats>,
    pub(crate) connections: Lease,
    pub(crate) pending: Lease,
    pub(crate) requests: Lease,
    pub(crate) retries: Arc<RetryLimit>,
}

impl Breakers {
    pub(crate) fn new(seed: &ClusterSeed) -> Self {
        Self {
            stats: Arc::clone(&seed.stats),
            connections: Lease::new(Arc::clone(&seed.limits.connections)),
            pending: Lease::new(Arc::clone(&seed.limits.pending)),
            requests: Lease::new(Arc::clone(&seed.limits.requests)),
            retries: Arc::clone(&seed.limits.retries),
        }
    }
}
