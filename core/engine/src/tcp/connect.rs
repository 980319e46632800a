//! The upstream of a raw connection: the cluster, one of its endpoints, a place among its connections, and the connection itself.
//!
//! Each attempt picks anew, by the same hash where there is one. What `max_connections` does not allow is refused at once, as in Envoy: a raw connection has nothing to wait
//! for. Nothing is read from the client meanwhile.

use std::net::SocketAddr;
use std::rc::Rc;

use ringway_model::hash::hash_of_ip;
use ringway_model::{Address, ResponseFlag, ResponseFlags};
use ringway_runtime::{Instant, Stream};

use crate::arrived::Arrived;
use crate::balance;
use crate::breakers::{Pending, Place};
use crate::core_cluster::CoreCluster;
use crate::establish::{Established, Purpose, establish};
use crate::http2::ConnectFailure;
use crate::original_dst;
use crate::pool::{ActiveRequest, ConnectionPermit, EndpointPool};
use crate::record::transport_failure;
use crate::worker::Worker;

use super::Connection;

/// A connection to an endpoint.
pub(super) struct Upstream {
    pub(super) stream: Stream,
    pub(super) permit: ConnectionPermit,
    pub(super) cluster: Rc<CoreCluster>,
    /// The endpoint has one more to serve, for those who count.
    _active: ActiveRequest,
}

/// What is remembered of the way to the upstream.
#[derive(Default)]
pub(super) struct Attempted {
    pub(super) cluster: Option<Rc<CoreCluster>>,
    /// The endpoint tried last.
    pub(super) endpoint: Option<Address>,
    /// Which of several addresses of the endpoint the connection leads to.
    pub(super) remote: Option<SocketAddr>,
    /// The first attempt began, and one succeeded.
    pub(super) began: Option<Instant>,
    pub(super) connected: Option<Instant>,
    pub(super) flags: ResponseFlags,
    pub(super) transport_failure: &'static str,
    /// Endpoints tried.
    pub(super) attempts: u32,
}

impl Connection {
    /// Connects; `None` when that cannot be. What was tried is told either way, where somebody wants to know.
    pub(super) async fn connect(&self, client: &Stream, told: &mut Option<Box<Attempted>>) -> Option<Upstream> {
        let mut tried = Attempted::default();
        let upstream = self.attempt(client, &mut tried).await;
        if let Some(told) = told {
            **told = tried;
        }
        upstream
    }

    async fn attempt(&self, client: &Stream, tried: &mut Attempted) -> Option<Upstream> {
        let attempts_max = self.tcp.tcp.connect_attempts_max;
        let worker = &*self.registered.worker;
        loop {
            let id = self.tcp.tcp.target.pick(worker.chance());
            let Some(cluster) = self.registered.worker.view_for(self.registered.key).cluster(id).map(Rc::clone) else {
                self.tcp.stats.downstream_cx_no_route.add(1);
                tried.flags.insert(ResponseFlag::NC);
                return None;
            };
            let stats = &cluster.state.breakers.stats;
            if tried.attempts >= attempts_max {
                stats.upstream_cx_connect_attempts_exceeded.add(1);
                tried.flags.insert(ResponseFlag::URX);
                return None;
            }
            tried.cluster = Some(Rc::clone(&cluster));
            // Before an endpoint is picked, as in Envoy.
            let Some(place) = Place::take(&cluster.state.breakers) else {
                tried.flags.insert(ResponseFlag::UO);
                return None;
            };
            let Some(pool) = self.endpoint(&cluster, client) else {
                stats.upstream_cx_none_healthy.add(1);
                tried.flags.insert(ResponseFlag::UH);
                return None;
            };
            tried.attempts += 1;
            tried.began.get_or_insert(worker.core.now());
            tried.endpoint = Some(pool.address.borrow().clone());
            match open(worker, &cluster, &pool, place, || self.arrived(client)).await {
                Ok(upstream) => {
                    tried.connected = Some(worker.core.now());
                    tried.remote = pool.has_several_addresses().then(|| upstream.stream.peer_addr()).flatten();
                    return Some(upstream);
                }
                Err(Unopened::Overflow) => {
                    tried.flags.insert(ResponseFlag::UO);
                    return None;
                }
                Err(Unopened::Failed(failure)) => {
                    tried.flags.insert(ResponseFlag::UF);
                    tried.transport_failure = match failure {
                        ConnectFailure::Timeout => "",
                        ConnectFailure::Io(kind) => transport_failure(kind),
                        ConnectFailure::Tls(reason) => reason,
                    };
                }
            }
        }
    }
}

impl Connection {
    fn endpoint(&self, cluster: &CoreCluster, client: &Stream) -> Option<Rc<EndpointPool>> {
        let worker = &*self.registered.worker;
        if cluster.config.original_dst.is_some() {
            return original_dst::endpoint(worker, cluster, None, self.arrived.get()?.restored());
        }
        let is_asked = self.tcp.tcp.hashes_source_ip && cluster.config.balancer.config().policy.is_by_hash();
        let source = is_asked.then(|| self.arrived(client).peer).flatten();
        let hash = source.map(|source| hash_of_ip(source.ip()));
        balance::pick_by(worker, cluster, hash, 0).map(|at| Rc::clone(cluster.pool(at)))
    }
}

/// Why there is no connection.
enum Unopened {
    Overflow,
    Failed(ConnectFailure),
}

/// One attempt: a connection to this endpoint that is ready for bytes.
async fn open(
    worker: &Worker,
    cluster: &Rc<CoreCluster>,
    pool: &Rc<EndpointPool>,
    place: Place,
    client: impl FnOnce() -> Rc<Arrived>,
) -> Result<Upstream, Unopened> {
    let breakers = &cluster.state.breakers;
    let pending = Pending::enter(breakers).ok_or(Unopened::Overflow)?;
    let permit = ConnectionPermit::raw(place, pool, &worker.core);
    let active = pool.begin_request();
    let ended = establish(worker, cluster, (pool, breakers), &Purpose::default(), || Some(client())).await;
    drop(pending);
    let Established { stream, .. } = permit.connected(ended).map_err(|failure| {
        breakers.stats.upstream_rq_pending_failure_eject.add(1);
        Unopened::Failed(failure)
    })?;
    permit.set_busy(true);
    breakers.stats.upstream_rq_total.add(1);
    active.sent();
    Ok(Upstream { stream, permit, cluster: Rc::clone(cluster), _active: active })
}
