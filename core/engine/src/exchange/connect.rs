//! The connection for an exchange, where the pool has none: within the cluster's limits and the exchange's timeouts.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ringway_model::UpstreamVersion;
use ringway_model::format::Moment;
use ringway_runtime::Pooled;

use super::{Exchange, scopeguard};
use crate::breakers::{Breakers, Pending};
use crate::establish::{Established, Purpose, establish};
use crate::http2::{ConnectFailure, client};
use crate::pool::{ConnectionPermit, EndpointPool, Upstream};
use crate::record::transport_failure;
use crate::reply::Failure;
use crate::tunnel::Tunnel;

impl Exchange<'_> {
    /// What is there for the next try: room on a connection where HTTP/2 is spoken, else a connection. `replays`: a replay never takes a
    /// second connection that may have died the same way.
    #[inline]
    pub(super) fn take(&self, pool: &Rc<EndpointPool>, replays: u32) -> Option<Upstream> {
        if self.tunnel == Tunnel::Terminated {
            return None;
        }
        match self.version() {
            UpstreamVersion::Http2 => pool.take_stream(),
            UpstreamVersion::Http1 if replays == 0 => pool.take(),
            UpstreamVersion::Http1 => None,
            UpstreamVersion::ByAlpn => pool.take_stream().or_else(|| pool.take().filter(|_| replays == 0)),
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
        let is_multiplexed = match self.version() {
            _ if self.tunnel == Tunnel::Terminated => false,
            UpstreamVersion::Http1 => false,
            UpstreamVersion::Http2 => true,
            UpstreamVersion::ByAlpn => pool.chose_http2.get(),
        };
        if is_multiplexed && let Some(upstream) = self.multiplex(pool).await? {
            return Ok(upstream);
        }
        self.connect(pool).await
    }

    /// What the cluster's endpoints are spoken to in.
    #[inline]
    pub(super) fn version(&self) -> UpstreamVersion {
        self.cluster.config.protocol.version(self.connection.stream.is_http2())
    }

    /// A stream, once one of the endpoint's connections has room or a new one is there. `None`: the endpoint chooses HTTP/1 by now.
    async fn multiplex(&mut self, pool: &Rc<EndpointPool>) -> Result<Option<Upstream>, Failure> {
        let version = self.version();
        let breakers = Rc::clone(self.cluster.state.breakers_of(self.priority));
        let _pending = Pending::enter(&breakers).ok_or(Failure::Overflow)?;
        let (failures, _) = pool.links.failures();
        let mut is_counted = false;
        loop {
            if pool.links.wants_another(pool.reuse.get().requests_max) {
                match ConnectionPermit::acquire(&breakers, pool, &self.worker().core, version) {
                    Some(permit) => {
                        let purpose = Purpose::http(version, self.chain.http.alpn.as_ref());
                        client::start(&self.connection.worker, self.cluster, pool, &breakers, (permit, purpose));
                    }
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
                return Ok(Some(upstream));
            }
            if version == UpstreamVersion::ByAlpn && !pool.chose_http2.get() {
                return Ok(pool.take());
            }
            let (now, failure) = pool.links.failures();
            if now != failures {
                return Err(self.failed(&breakers, failure));
            }
        }
    }

    /// What the client is told where no connection could be made.
    fn failed(&mut self, breakers: &Breakers, failure: ConnectFailure) -> Failure {
        breakers.stats.upstream_rq_pending_failure_eject.add(1);
        match failure {
            ConnectFailure::Timeout => Failure::ConnectTimeout,
            ConnectFailure::Io(kind) => {
                self.note(|record, _| record.transport_failure = transport_failure(kind));
                Failure::Connect
            }
            ConnectFailure::Tls(reason) => {
                self.note(|record, _| record.transport_failure = reason);
                Failure::Connect
            }
        }
    }

    /// A new connection to the endpoint, within the cluster's limits and timeouts.
    async fn connect(&mut self, pool: &Rc<EndpointPool>) -> Result<Upstream, Failure> {
        let breakers = Rc::clone(self.cluster.state.breakers_of(self.priority));
        let _pending = Pending::enter(&breakers).ok_or(Failure::Overflow)?;
        // What is asked to open a tunnel is spoken to in HTTP/1, or not at all.
        let version = if self.tunnel == Tunnel::Terminated { UpstreamVersion::Http1 } else { self.version() };
        let permit = loop {
            if let Some(permit) = ConnectionPermit::acquire(&breakers, pool, &self.worker().core, version) {
                break permit;
            }
            breakers.stats.upstream_cx_overflow.add(1);
            self.unless_expired(pool.wait()).await.inspect_err(|_| breakers.stats.upstream_rq_cancelled.add(1))?;
            if let Some(upstream) = self.take(pool, 0) {
                return Ok(upstream);
            }
        };
        self.note(|record, now| record.mark(Moment::ConnectBegan, now));
        // What a terminated CONNECT carries need not be HTTP.
        let purpose = match self.tunnel {
            Tunnel::Terminated => Purpose::default(),
            _ => Purpose::http(version, self.chain.http.alpn.as_ref()),
        };
        let connecting = establish(&self.connection.worker, self.cluster, (pool, &breakers), &purpose, || {
            Some(Rc::clone(self.connection.arrived()))
        });
        let ended = self.unless_expired(connecting).await;
        match permit.connected(ended.inspect_err(|_| breakers.stats.upstream_rq_cancelled.add(1))?) {
            Ok(Established { stream, chose_http2 }) => {
                self.note(|record, now| record.mark(Moment::ConnectEnded, now));
                if version != UpstreamVersion::ByAlpn {
                    return Ok(Upstream::new(stream, permit));
                }
                permit.count_version(chose_http2);
                pool.chose_http2.set(chose_http2);
                if !chose_http2 {
                    return Ok(Upstream::new(stream, permit));
                }
                client::adopt(&self.connection.worker, self.cluster, pool, &breakers, (stream, permit));
                // The endpoint of a new connection has not said yet that it takes no stream at all.
                pool.take_stream().ok_or(Failure::Connect)
            }
            Err(failure) => Err(self.failed(&breakers, failure)),
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
