//! The endpoint for a request, out of this core's view of its cluster.

use crate::reply::Failure;
use crate::view::CoreCluster;
use crate::worker::Worker;

/// The position of the next endpoint by the cluster's policy; `None` when there is none to be picked.
#[inline]
pub(crate) fn pick(worker: &Worker, cluster: &CoreCluster) -> Option<usize> {
    let active = |position: usize| cluster.endpoints[position].active();
    let wheels = &mut cluster.wheels.borrow_mut();
    let pick = cluster.config.balancer.pick(wheels, &mut || worker.chance(), &active);
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
