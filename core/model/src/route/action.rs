//! What a route does with a request.

use std::sync::Arc;
use std::time::Duration;

use super::grpc_timeout::GrpcTimeout;
use super::hash_policy::HashPolicy;
use super::mutation::HeaderMutations;
use super::redirect::Redirect;
use super::retry::RetryRules;
use super::rewrite::{HostRewrite, PathRewrite};
use crate::{ClusterId, Priority, Upgrade};

/// `Route.action`.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `route`: to a cluster.
    Forward(Box<ForwardAction>),
    /// `direct_response`: an answer of our own.
    Direct(Arc<DirectResponse>),
    /// `redirect`: an answer of our own that sends the client elsewhere.
    Redirect(Box<Redirect>),
}

/// `envoy.config.route.v3.RouteAction`.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardAction {
    /// `cluster_specifier`.
    pub target: Target,
    /// `cluster_not_found_response_code`: 503, 404 or 500.
    pub not_found_status: u16,
    /// `timeout`: from the end of the request to the end of the response. Envoy: 15 s, and none where the route has a
    /// `max_stream_duration`; `None` (0 s): none.
    pub timeout: Option<Duration>,
    /// `idle_timeout`: in the place of the connection manager's `stream_idle_timeout`. `Some(None)` (0 s): none.
    pub idle_timeout: Option<Option<Duration>>,
    /// `max_stream_duration.max_stream_duration`: from the request's first byte to the end of the response, in the place of the
    /// connection manager's. `Some(None)` (0 s): no bound.
    pub max_stream_duration: Option<Option<Duration>>,
    /// What `grpc-timeout` counts for. Nothing.
    pub grpc_timeout: Option<GrpcTimeout>,
    /// `prefix_rewrite`, `regex_rewrite`.
    pub path: Option<PathRewrite>,
    /// `host_rewrite_specifier`.
    pub host: Option<HostRewrite>,
    /// `append_x_forwarded_host`: the host that is rewritten is kept there.
    pub append_x_forwarded_host: bool,
    /// `upgrade_configs`: in the place of the connection manager's, kind by kind.
    pub upgrades: Vec<Upgrade>,
    /// `priority`.
    pub priority: Priority,
    /// `retry_policy` and what goes with it; `None`: [`RetryRules::DEFAULT`].
    pub retry: Option<Arc<RetryRules>>,
    /// `hash_policy`; at most [`HASH_POLICIES_MAX`](crate::HASH_POLICIES_MAX).
    pub hash_policies: Vec<HashPolicy>,
}

/// `RouteAction.timeout` where the file says nothing.
const TIMEOUT: Duration = Duration::from_secs(15);

impl ForwardAction {
    /// To this target, with Envoy's defaults for all else.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            not_found_status: 503,
            timeout: Some(TIMEOUT),
            idle_timeout: None,
            max_stream_duration: None,
            grpc_timeout: None,
            path: None,
            host: None,
            append_x_forwarded_host: false,
            upgrades: Vec::new(),
            priority: Priority::Default,
            retry: None,
            hash_policies: Vec::new(),
        }
    }
}

/// `RouteAction.cluster_specifier`.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// `cluster`.
    Cluster(ClusterId),
    /// `cluster_header`: the cluster that the first field of this name (in lower case) names.
    Header(String),
    /// `weighted_clusters`.
    Weighted {
        /// In the order of the file; none has weight 0 but for those that are never chosen.
        clusters: Vec<WeightedCluster>,
        /// The sum of the weights; at least 1.
        total: u32,
    },
}

impl Target {
    /// The weighted cluster at this position, if there is one.
    pub fn weighted(&self, position: usize) -> Option<&WeightedCluster> {
        let Target::Weighted { clusters, .. } = self else { return None };
        clusters.get(position)
    }

    /// Which of weighted clusters a request goes to, by its position. `chance` is the request's random number; the same
    /// number gives the same cluster. `None`: the target is no weighted one.
    pub fn pick(&self, chance: u64) -> Option<(usize, &WeightedCluster)> {
        let Target::Weighted { clusters, total } = self else { return None };
        assert!(*total > 0, "a weighted target has weight");
        let mut point = (chance % u64::from(*total)) as u32;
        for (position, entry) in clusters.iter().enumerate() {
            if point < entry.weight {
                return Some((position, entry));
            }
            point -= entry.weight;
        }
        unreachable!("the weights add up to the total")
    }
}

/// `WeightedCluster.ClusterWeight`.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedCluster {
    /// `name`.
    pub cluster: ClusterId,
    /// `weight`.
    pub weight: u32,
    /// `host_rewrite_literal`, where the route says nothing.
    pub host: Option<HostRewrite>,
    /// `request_headers_to_*`, `response_headers_to_*`.
    pub headers: Option<Box<HeaderMutations>>,
}

impl WeightedCluster {
    /// A cluster and its weight, and nothing else.
    pub fn new(cluster: ClusterId, weight: u32) -> Self {
        Self { cluster, weight, host: None, headers: None }
    }
}

/// `envoy.config.route.v3.DirectResponseAction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// `status`: 200 to 599.
    pub status: u16,
    /// `body`; at most `max_direct_response_body_size_bytes`, 4 KiB by default.
    pub body: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_kept_exactly_over_one_whole_turn() {
        let target = Target::Weighted {
            clusters: [(1, 3), (2, 0), (3, 7)].map(|(id, weight)| WeightedCluster::new(ClusterId(id), weight)).to_vec(),
            total: 10,
        };
        let picked = |chance| target.pick(chance).expect("weighted").1.cluster;
        let picks = |id| (0..10).filter(|&chance| picked(chance) == ClusterId(id)).count();
        assert_eq!([picks(1), picks(2), picks(3)], [3, 0, 7]);
    }
}
