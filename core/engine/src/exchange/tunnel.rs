//! An exchange that asks for a tunnel: its request's head, and the bytes both ways once the tunnel is there.

use std::task::{Context, Poll};

use ringway_observe::ResponseFlag;
use ringway_runtime::{Chunk, Pooled};

use super::{Exchange, Stop};
use crate::handshake::Handshake;
use crate::pool::{EndpointPool, Upstream};
use crate::relay::{Relay, RelayError};
use crate::reply::Failure;
use crate::side::Side;
use crate::tunnel::{self, End, Tunnel};

impl Exchange<'_> {
    /// The client asks for a tunnel: whatever it gets, its connection has no further request.
    pub(super) fn ask(&mut self, tunnel: Tunnel, handshake: Handshake) {
        (self.tunnel, self.handshake) = (tunnel, handshake);
        self.keep_alive &= tunnel == Tunnel::Not;
    }

    /// As [`Exchange::await_offer`], in memory of its own.
    #[cold]
    pub(super) fn offered(
        &mut self,
        pool: &EndpointPool,
        upstream: &Upstream,
    ) -> Pooled<impl Future<Output = Result<(), Failure>>> {
        self.worker().core.pooled(self.await_offer(pool, upstream))
    }

    /// Waits until the upstream has said whether it takes extended CONNECT.
    async fn await_offer(&mut self, pool: &EndpointPool, upstream: &Upstream) -> Result<(), Failure> {
        let Some(stream) = upstream.stream.http2() else { return Ok(()) };
        loop {
            match stream.takes_extended_connect() {
                Some(true) => return Ok(()),
                Some(false) => return Err(Failure::NoExtendedConnect),
                // Its SETTINGS wake all who wait for the endpoint, and so does its end.
                None => self.unless_expired(pool.wait()).await?,
            }
        }
    }

    /// Whether the two sides speak different versions of HTTP, this time.
    pub(super) fn crosses(&self) -> bool {
        self.to_http2 != self.connection.stream.is_http2()
    }

    /// The head that asks the upstream for a tunnel, this time.
    #[cold]
    pub(super) fn tunnel_head(&mut self, head: &Chunk) -> Chunk {
        let worker = self.worker();
        let nonce = [worker.chance(), worker.chance()];
        let crosses = self.crosses();
        let changed = crosses.then(|| self.handshake.request(&worker.core, head, nonce)).flatten();
        let Some(head) = changed else { return head.clone() };
        self.note(|record, _| record.request = Some(head.clone()));
        head
    }

    /// Until both sides of a tunnel have ended, or one broke off.
    pub(super) fn poll_tunnel(
        &mut self,
        context: &mut Context<'_>,
        download: &mut Relay,
        upstream: &Side,
    ) -> Poll<Result<(), Stop>> {
        let (sides, relays) = ((&self.connection.stream, upstream), (&mut self.upload, &mut *download));
        let mut first = None;
        let polled = tunnel::poll(context, &self.connection.worker, relays, sides, |end| first = Some(end));
        match first {
            // Envoy, which ends both sides with the first, has it so in its logs.
            Some(End::Client) => self.note(|record, _| record.client_gone()),
            Some(End::Upstream) if self.tunnel != Tunnel::Terminated => {
                self.note(|record, _| record.cut(Some(ResponseFlag::UC), ""));
            }
            _ => {}
        }
        if let Poll::Ready(result) = polled {
            return Poll::Ready(result.map_err(|end| match end {
                End::Client => Stop::Client(RelayError::Source),
                End::Upstream => Stop::Fail(Failure::Reset),
            }));
        }
        let moved = self.upload.moved + download.moved;
        if moved != self.moved {
            self.moved = moved;
            self.active_at = self.worker().core.now();
        }
        self.poll_expired(context).map(|failure| Err(Stop::Fail(failure)))
    }
}
