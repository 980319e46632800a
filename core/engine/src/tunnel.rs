//! Tunnels: what a client asks for with `Upgrade` or CONNECT, and the bytes after both sides have agreed.
//!
//! ```text
//!             101 to an Upgrade that went up, 2xx to CONNECT        one end
//!   Exchange ────────────────────────────────────────────> both ────────────> half ────> done
//!      │ any other response: an ordinary one, and the connection ends with it     the other end, or a failure
//! ```
//!
//! Neither side's bytes are looked at. An end travels on as an end, and the other direction stays open until it ends, too; a side
//! that does not read holds back the other one. Nothing of the client's is sent before the answer came: what came early is the
//! tunnel's if there will be one, and is dropped if there will be none.

use std::task::{Context, Poll};

use ringway_model::{Action, Upgrade};
use ringway_protocols::{Known, Method, Request, Response, Version};

use crate::relay::{Relay, RelayError};
use crate::side::Side;
use crate::worker::Worker;

/// What a request asks for beside an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tunnel {
    /// Nothing.
    #[default]
    Not,
    /// Another protocol, from whoever answers.
    Upgrade,
    /// WebSocket, which is an upgrade like others but for answers without an error that do not grant it.
    WebSocket,
    /// A way to its target, of the next proxy.
    Connect,
    /// A way to its target, of us: the cluster is where it leads (`connect_config`).
    Terminated,
}

impl Tunnel {
    /// What this request asks for, and what it is called in `upgrade_configs`.
    #[inline]
    pub(crate) fn asked<'r>(request: &Request<'r>) -> (Self, &'r [u8]) {
        if request.has(Known::Upgrade) || request.method() == Method::Connect {
            return Self::asked_by(request);
        }
        (Self::Not, b"")
    }

    #[cold]
    fn asked_by<'r>(request: &Request<'r>) -> (Self, &'r [u8]) {
        match (request.method(), request.upgrade()) {
            (Method::Connect, _) => (Self::Connect, b"CONNECT"),
            // HTTP/2 would begin under our hands; RFC 9113 §3.1 has given this way in up. Envoy takes it off, too.
            (_, Some(kind)) if kind.eq_ignore_ascii_case(b"websocket") => (Self::WebSocket, kind),
            (_, Some(kind)) if !kind.eq_ignore_ascii_case(b"h2c") || request.version() == Version::Http2 => {
                (Self::Upgrade, kind)
            }
            _ => (Self::Not, b""),
        }
    }

    /// What the route makes of it.
    #[cold]
    pub(crate) fn on(self, route: &Action) -> Self {
        let connect = Upgrade::find(upgrades(route), b"CONNECT");
        let terminates = self == Self::Connect && connect.is_some_and(|upgrade| upgrade.terminates);
        if terminates { Self::Terminated } else { self }
    }

    /// Whether a response of this status begins it; a 101 has to name a protocol.
    #[inline]
    pub(crate) fn begins(self, status: u16, response: &Response<'_>) -> bool {
        self != Self::Not && self.is_begun_by(status, response)
    }

    /// Whether it is an `Upgrade`, which travels on.
    #[inline]
    pub(crate) fn is_upgrade(self) -> bool {
        matches!(self, Self::Upgrade | Self::WebSocket)
    }

    /// Whether this status says that there is no WebSocket, and yet that all is well. The client, which sends frames or
    /// nothing from here on, gets the head without the content (Envoy, `websocket_handshake_unsuccessful`).
    #[inline]
    pub(crate) fn is_missed_by(self, status: u16) -> bool {
        self == Self::WebSocket && matches!(status, 200..=399)
    }

    #[cold]
    fn is_begun_by(self, status: u16, response: &Response<'_>) -> bool {
        match self {
            Self::Not => false,
            Self::Upgrade | Self::WebSocket => status == 101 && response.upgrade().is_some(),
            Self::Connect | Self::Terminated => matches!(status, 200..=299),
        }
    }
}

/// `RouteAction.upgrade_configs`.
pub(crate) fn upgrades(route: &Action) -> &[Upgrade] {
    match route {
        Action::Forward(forward) => &forward.upgrades,
        Action::Direct(_) | Action::Redirect(_) => &[],
    }
}

/// Who ended or broke a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Upstream,
}

/// Moves what can be moved now, both ways. `ended` is told who ended first. Ready when both have, and all of it is sent; an error
/// when a side broke off.
pub(crate) fn poll(
    context: &mut Context<'_>,
    worker: &Worker,
    (up, down): (&mut Relay, &mut Relay),
    (client, upstream): (&Side, &Side),
    mut ended: impl FnMut(End),
) -> Poll<Result<(), End>> {
    let was_open = [up.is_done(), down.is_done()];
    if let Poll::Ready(Err(error)) = up.poll(context, worker, client, upstream) {
        match error {
            RelayError::Sink if !down.is_done() => up.give_up(),
            RelayError::Sink => return Poll::Ready(Err(End::Upstream)),
            RelayError::Source | RelayError::Malformed(_) => return Poll::Ready(Err(End::Client)),
        }
    }
    if let Poll::Ready(Err(error)) = down.poll(context, worker, upstream, client) {
        let end = if matches!(error, RelayError::Sink) { End::Client } else { End::Upstream };
        return Poll::Ready(Err(end));
    }
    match (was_open, [up.is_done(), down.is_done()]) {
        ([false, false], [true, _]) => ended(End::Client),
        ([false, false], [false, true]) => ended(End::Upstream),
        _ => {}
    }
    if up.is_done() {
        upstream.shutdown_write();
    }
    if down.is_done() {
        client.shutdown_write();
    }
    if !(up.is_done() && down.is_done()) {
        return Poll::Pending;
    }
    // The last bytes are not lost to a close: who does not take them has as long as the tunnel's idle timeout.
    for (stream, end) in [(client, End::Client), (upstream, End::Upstream)] {
        match stream.poll_unsent_below(context, 0) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Err(end)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Poll::Ready(Ok(()))
}

/// What a connection that is made says to CONNECT.
pub(crate) const ESTABLISHED: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
