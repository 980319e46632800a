//! What a route does with a request.

use std::sync::Arc;
use std::time::Duration;

use crate::ClusterId;

/// `Route.action`.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `route`: to a cluster.
    Forward(ForwardAction),
    /// `direct_response`: an answer of our own.
    Direct(Arc<DirectResponse>),
}

/// `envoy.config.route.v3.RouteAction`.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardAction {
    /// `cluster_specifier`.
    pub target: Target,
    /// `timeout`: from the end of the request to the end of the response. Envoy: 15 s; `None` (0 s): none.
    pub timeout: Option<Duration>,
}

/// `RouteAction.cluster_specifier`.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// `cluster`.
    Cluster(ClusterId),
    /// `weighted_clusters`.
    Weighted {
        /// In the order of the file; none has weight 0 but for those that are never chosen.
        clusters: Vec<WeightedCluster>,
        /// The sum of the weights; at least 1.
        total: u32,
    },
}

impl Target {
    /// The cluster for one request. `chance` is a uniformly random number; the same number gives the same cluster.
    pub fn pick(&self, chance: u64) -> ClusterId {
        match self {
            Target::Cluster(id) => *id,
            Target::Weighted { clusters, total } => {
                assert!(*total > 0, "a weighted target has weight");
                let mut point = (chance % u64::from(*total)) as u32;
                for entry in clusters {
                    if point < entry.weight {
                        return entry.cluster;
                    }
                    point -= entry.weight;
                }
                unreachable!("the weights add up to the total")
            }
        }
    }
}

/// `WeightedCluster.ClusterWeight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// `name`.
    pub cluster: ClusterId,
    /// `weight`.
    pub weight: u32,
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
            clusters: [(1, 3), (2, 0), (3, 7)]
                .map(|(id, weight)| WeightedCluster { cluster: ClusterId(id), weight })
                .to_vec(),
            total: 10,
        };
        let picks = |id| (0..10).filter(|&chance| target.pick(chance) == ClusterId(id)).count();
        assert_eq!([picks(1), picks(2), picks(3)], [3, 0, 7]);
    }
}
