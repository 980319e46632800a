//! What a commit says of a cluster's endpoints in the statistics.

use std::sync::Arc;

use ringway_model::Cluster;
use ringway_observe::Registry;

/// Counts the endpoints of a cluster that was like `old` in the generation before.
pub(crate) fn count_members(registry: &Registry, old: Option<&Arc<Cluster>>, new: &Cluster) {
    let before = old.filter(|old| old.stat_name == new.stat_name);
    if before.is_some_and(|before| before.endpoints == new.endpoints) {
        return;
    }
    let (stats, members) = (registry.membership(&new.stat_name), new.balancer.membership());
    stats.membership_change.add(u64::from(members.total > 0 || before.is_some()));
    stats.membership_total.set(members.total as u64);
    stats.membership_healthy.set(members.healthy as u64);
    stats.membership_degraded.set(members.degraded as u64);
    stats.membership_excluded.set(members.excluded as u64);
}
