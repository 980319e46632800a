//! The endpoint for a request, out of this core's view of its cluster.

use ringway_model::LbPolicy;

use crate::view::CoreCluster;

/// The position of the next endpoint by the cluster's policy; `None` when it has none.
pub(crate) fn pick(cluster: &CoreCluster) -> Option<usize> {
    let count = cluster.endpoints.len();
    if count == 0 {
        return None;
    }
    match cluster.config.lb_policy {
        // Each core turns its own wheel: over all cores the shares are even, the order is not.
        LbPolicy::RoundRobin => {
            let at = cluster.state.cursor.get();
            let at = if at < count { at } else { 0 };
            cluster.state.cursor.set(at + 1);
            Some(at)
        }
    }
}
