//! The connection for an exchange, where the pool has none: within the cluster's limits and the exchange's timeouts.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ringway_model::format::Moment;
use ringway_runtime::ConnectError;

use super::{Exchange, scopeguard};
use crate::date::elapsed_ms;
use crate::pool::{ConnectionPermit, EndpointPool, Upstream};
use crate::record::transport_failure;
use crate::reply::Failure;
use crate::worker::Worker;

impl Exchange<'_> {
    /// A new connection to the endpoint, within the cluster's limits and timeouts.
    pub(super) async fn connect(&mut self, pool: &Rc<EndpointPool>) -> Result<Upstream, Failure> {
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
            if let Some(permit) = ConnectionPermit::acquire(&breakers, pool, &self.worker().core) {
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
                        self.note(|record, _| record.transport_failure = transport_failure(&error));
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
