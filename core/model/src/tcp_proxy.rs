//! `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`.

use std::time::Duration;

use crate::{AccessLog, ClusterId};

/// A connection's bytes go to an endpoint as they are, and back.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpProxy {
    /// `stat_prefix`.
    pub stat_prefix: String,
    /// `cluster` or `weighted_clusters`.
    pub target: TcpTarget,
    /// `idle_timeout`: no byte either way. Envoy: 1 h; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// `max_downstream_connection_duration`. Envoy: no end.
    pub duration_max: Option<Duration>,
    /// `max_connect_attempts`. Envoy: 1.
    pub connect_attempts_max: u32,
    /// `access_log`, in the order of the file.
    pub access_logs: Vec<AccessLog>,
    /// `hash_policy` is `source_ip`.
    pub hashes_source_ip: bool,
}

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpTarget {
    /// `cluster`.
    Cluster(ClusterId),
    /// `weighted_clusters`: each connection is shared out anew by weight.
    Weighted(Vec<(ClusterId, u32)>),
}

impl TcpTarget {
    /// The cluster of one connection; `chance` is any number.
    pub fn pick(&self, chance: u64) -> ClusterId {
        match self {
            TcpTarget::Cluster(id) => *id,
            TcpTarget::Weighted(clusters) => {
                let total: u64 = clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
                assert!(total > 0, "weights are at least 1");
                let mut left = chance % total;
                for (id, weight) in clusters {
                    match left.checked_sub(u64::from(*weight)) {
                        None => return *id,
                        Some(rest) => left = rest,
                    }
                }
                unreachable!("it is less than the sum")
            }
        }
    }

    /// All that it may go to.
    pub fn clusters(&self) -> impl Iterator<Item = ClusterId> {
        let (one, several) = match self {
            TcpTarget::Cluster(id) => (Some(*id), &[][..]),
            TcpTarget::Weighted(clusters) => (None, &clusters[..]),
        };
        one.into_iter().chain(several.iter().map(|(id, _)| *id))
    }

    /// The same with other numbers for its clusters.
    pub fn numbered(&self, number: impl Fn(ClusterId) -> ClusterId) -> Self {
        match self {
            TcpTarget::Cluster(id) => TcpTarget::Cluster(number(*id)),
            TcpTarget::Weighted(all) => {
                TcpTarget::Weighted(all.iter().map(|(id, weight)| (number(*id), *weight)).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out_by_weight() {
        let target = TcpTarget::Weighted(vec![(ClusterId(1), 1), (ClusterId(2), 3)]);
        let mut counts = [0; 3];
        (0..400).for_each(|chance| counts[target.pick(chance).0 as usize] += 1);
        assert_eq!(counts, [0, 100, 300]);
        assert_eq!(TcpTarget::Cluster(ClusterId(7)).pick(3), ClusterId(7));
        assert_eq!(target.clusters().collect::<Vec<_>>(), [ClusterId(1), ClusterId(2)]);
    }
}
