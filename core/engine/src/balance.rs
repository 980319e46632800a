//! The endpoint for a request, out of this core's view of its cluster.

use ringway_model::Pick;

use crate::core_cluster::CoreCluster;
use crate::reply::Failure;
use crate::worker::Worker;

/// The position of the next endpoint by the cluster's policy; `None` when there is none to be picked, or when that was asked already: by
/// hash, and in ORIGINAL_DST clusters.
#[inline]
pub(crate) fn pick(worker: &Worker, cluster: &CoreCluster) -> Option<usize> {
    let balancer = &cluster.config.balancer;
    if cluster.config.original_dst.is_some() || balancer.config().policy.is_by_hash() {
        return None;
    }
    let active = |position: usize| cluster.active(position);
    let wheels = &mut cluster.wheels.borrow_mut();
    counted(cluster, balancer.pick(wheels, &mut || worker.chance(), &active))
}

/// The same where what is asked for may have a hash; without one chance takes its place. `attempt` counts the endpoints that were picked
/// for the same request and not wanted.
#[inline]
pub(crate) fn pick_by(worker: &Worker, cluster: &CoreCluster, hash: Option<u64>, attempt: u32) -> Option<usize> {
    let balancer = &cluster.config.balancer;
    if !balancer.config().policy.is_by_hash() {
        return pick(worker, cluster);
    }
    counted(cluster, balancer.pick_by_hash(hash.unwrap_or_else(|| worker.chance()), attempt))
}

#[inline]
fn counted(cluster: &CoreCluster, pick: Pick) -> Option<usize> {
    if pick.is_panic {
        cluster.state.breakers.stats.lb_healthy_panic.add(1);
    }
    pick.position
}

/// Whether the cluster drops this request unseen (`policy.drop_overloads`), and as what.
#[inline]
pub(crate) fn drops(worker: &Worker, cluster: &CoreCluster) -> Option<Failure> {
    let fraction = cluster.config.balancer.config().drop_overload?;
    let all = fraction.numerator == fraction.denominator;
    let is_dropped = all || fraction.holds(worker.chance());
    is_dropped.then_some(if all { Failure::UnconditionalDrop } else { Failure::DropOverload })
}
