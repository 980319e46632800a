//! The connection for an exchange, where the pool has none: within the cluster's limits and the exchange's timeouts.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ringway_model::format::Moment;
use ringway_runtime::{ConnectError, Pooled};

use super::{Exchange, scopeguard};
use crate::date::elapsed_ms;
use crate::http2::{ConnectFailure, client};
use crate::pool::{ConnectionPermit, EndpointPool, Upstream};
use crate::record::transport_failure;
use crate::reply::Failure;
use crate::tunnel::Tunnel;
use crate::worker::Worker;

impl Exchange<'_> {
    /// What is there for the next try: room on a connection where HTTP/2 is spoken, else a connection. `replays`: a replay never takes a
    /// second connection that may have died the same way.
    #[inline]
    pub(super) fn take(&self, pool: &Rc<EndpointPool>, replays: u32) -> Option<Upstream> {
        match () {
            () if self.tunnel == Tunnel::Terminated => None,
            () if self.is_http2_upstream() => pool.take_stream(),
            () if replays == 0 => pool.take(),
            () => None,
        }
    }

    /// What is not there and has to be made or waited for: in memory of its own, which most requests do without.
    #[inline(never)]
    pub(super) fn acquired(
        &mut self,
        pool: &Rc<EndpointPool>,
    ) -> Pooled<impl Future<Output = Result<Upstream, Failure>>> {
        self.worker().core.pooled(self.acquire(pool))
    }

    async fn acquire(&mut self, pool: &Rc<EndpointPool>) -> Result<Upstream, Failure> {
        if self.tunnel != Tunnel::Terminated && self.is_http2_upstream() {
            return self.multiplex(pool).await;
        }
        self.connect(pool).await
    }

    /// Whether the cluster's endpoints are spoken to in HTTP/2.
    #[inline]
    pub(super) fn is_http2_upstream(&self) -> bool {
        self.cluster.config.protocol.is_http2(self.connection.stream.is_http2())
    }

    /// A stream, once one of the endpoint's connections has room or a new one is there.
    async fn multiplex(&mut self, pool: &Rc<EndpointPool>) -> Result<Upstream, Failure> {
        let breakers = Rc::clone(self.cluster.state.breakers_of(self.priority));
        if !breakers.pending.try_acquire() {
            breakers.stats.upstream_rq_pending_overflow.add(1);
            return Err(Failure::Overflow);
        }
        breakers.stats.upstream_rq_pending_total.add(1);
        breakers.stats.upstream_rq_pending_active.add(1);
        let _pending = scopeguard(|| {
            breakers.pending.release();
            breakers.stats.upstream_rq_pending_active.sub(1);
        });
        let (failures, _) = pool.links.failures();
        let mut is_counted = false;
        loop {
            if pool.links.wants_another(pool.reuse.get().requests_max) {
                match ConnectionPermit::acquire(&breakers, pool, &self.worker().core, true) {
                    Some(permit) => client::start(&self.connection.worker, self.cluster, pool, &breakers, permit),
                    None if !is_counted => {
                        breakers.stats.upstream_cx_overflow.add(1);
                        is_counted = true;
                    }
                    None => {}
                }
            }
            self.note(|record, now| record.mark(Moment::ConnectBegan, now));
            let waited = {
                pool.links.begin_wait();
                let _waits = scopeguard(|| pool.links.end_wait());
                self.unless_expired(pool.wait()).await
            };
            waited.inspect_err(|_| breakers.stats.upstream_rq_cancelled.add(1))?;
            if let Some(upstream) = pool.take_stream() {
                self.note(|record, now| record.mark(Moment::ConnectEnded, now));
                return Ok(upstream);
            }
            let (now, failure) = pool.links.failures();
            if now != failures {
                breakers.stats.upstream_rq_pending_failure_eject.add(1);
                return Err(match failure {
                    ConnectFailure::Timeout => Failure::ConnectTimeout,
                    ConnectFailure::Io(kind) => {
                        self.note(|record, _| record.transport_failure = transport_failure(kind));
                        Failure::Connect
                    }
                });
            }
        }
    }

    /// A new connection to the endpoint, within the cluster's limits and timeouts.
    async fn connect(&mut self, pool: &Rc<EndpointPool>) -> Result<Upstream, Failure> {
        let breakers = Rc::clone(self.cluster.state.breakers_of(self.priority));
        if !breakers.pending.try_acquire() {
            breakers.stats.upstream_rq_pending_overflow.add(1);
            return Err(Failure::Overflow);
        }
        breakers.stats.upstream_rq_pending_total.add(1);
        breakers.stats.upstream_rq_pending_active.add(1);
        let _pending = scopeguard(|| {
            breakers.pending.release();
            breakers.stats.upstream_rq_pending_active.sub(1);
        });
        let permit = loop {
            if let Some(permit) = ConnectionPermit::acquire(&breakers, pool, &self.worker().core, false) {
                break permit;
            }
            breakers.stats.upstream_cx_overflow.add(1);
            self.unless_expired(pool.wait()).await.inspect_err(|_| breakers.stats.upstream_rq_cancelled.add(1))?;
            if let Some(upstream) = pool.take() {
                return Ok(upstream);
            }
        };
        self.note(|record, now| record.mark(Moment::ConnectBegan, now));
        let Worker { core, limits, .. } = self.worker();
        let began = core.now();
        let deadline = began + self.cluster.config.connect_timeout;
        let connected = self
            .unless_expired(pool.connect((core, limits), &breakers, self.cluster.config.outgoing.as_deref(), deadline))
            .await;
        match connected.inspect_err(|_| breakers.stats.upstream_rq_cancelled.add(1))? {
            Ok(stream) => {
                breakers.stats.upstream_cx_connect_ms.record(elapsed_ms(began, core.now()));
                self.note(|record, now| record.mark(Moment::ConnectEnded, now));
                Ok(Upstream::new(stream, permit))
            }
            Err(error) => {
                breakers.stats.upstream_cx_connect_fail.add(1);
                breakers.stats.upstream_rq_pending_failure_eject.add(1);
                Err(match error {
                    ConnectError::Timeout => {
                        breakers.stats.upstream_cx_connect_timeout.add(1);
                        Failure::ConnectTimeout
                    }
                    ConnectError::Io(error) => {
                        permit.closed_by_peer();
                        self.note(|record, _| record.transport_failure = transport_failure(error.kind()));
                        Failure::Connect
                    }
                })
            }
        }
    }

    /// Waits for `work` as long as the exchange's own timeouts allow.
    pub(super) async fn unless_expired<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut work = pin!(work);
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_expired(context).map(Err),
        })
        .await
    }
}
