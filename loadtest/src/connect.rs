//! A connection to the target: TCP, and TLS where the plan says so.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use ringway_runtime::{ConnectError, Core, Instant, Stream};
use ringway_tls::{ClientContext, ClientOptions, ContextError, Session, Target, Validation};

use crate::failure::Failure;
use crate::plan::{Plan, Trust};
use crate::target::Protocol;
use crate::tls::secure;
use crate::worker::Worker;
use std::sync::Arc;

/// A connection, and whether HTTP/2 was chosen on it.
pub(crate) struct Wire {
    pub(crate) stream: Stream,
    pub(crate) is_http2: bool,
}

/// What all TLS sessions of a run share.
///
/// # Errors
/// What of the options is wrong.
pub(crate) fn context(plan: &Plan) -> Result<Option<Arc<ClientContext>>, ContextError> {
    if !plan.target.tls {
        return Ok(None);
    }
    let Trust { ca, name } = &plan.trust;
    let alpn: &[&[u8]] = match plan.target.protocol {
        Protocol::Http1 => &[b"http/1.1"],
        Protocol::Http2 | Protocol::Grpc => &[b"h2"],
        Protocol::HttpByAlpn => &[b"h2", b"http/1.1"],
        Protocol::Tcp => &[],
    };
    let is_name = name.parse::<std::net::IpAddr>().is_err();
    let options = ClientOptions {
        alpn: alpn.iter().map(|name| name.to_vec()).collect(),
        validation: ca.as_ref().map(|ca| Validation { trusted_ca: Some(ca.clone()), ..Validation::default() }),
        sni: is_name.then(|| name.clone()),
        max_session_keys: 0, // each handshake is a whole one, so that all cost the same
        ..ClientOptions::default()
    };
    ClientContext::new(&options).map(Some)
}

impl Worker {
    /// Connects, in the time that the plan gives.
    pub(crate) async fn connect(&self) -> Result<Wire, Failure> {
        let began = self.core.now();
        let until = began + self.plan.connect_timeout;
        let wire = connect(&self.core, &self.plan, self.tls.as_ref(), until).await;
        let wire = wire.map_err(|Lost { failure, why }| self.tally.because(failure, why))?;
        self.tally.connected(self.core.now() - began);
        Ok(wire)
    }
}

/// Why there is no connection.
struct Lost {
    failure: Failure,
    why: String,
}

impl Lost {
    fn of(failure: Failure, why: impl ToString) -> Lost {
        Lost { failure, why: why.to_string() }
    }
}

/// Whether a system call failed for want of something on this host: descriptors, ports or memory.
fn is_shortage(error: &io::Error) -> bool {
    // Linux's, on all that it runs on; std has no kinds for them.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory)
        || matches!(error.raw_os_error(), Some(ENFILE | EMFILE | ENOBUFS))
}

/// Connects until `until` at the latest.
async fn connect(core: &Core, plan: &Plan, tls: Option<&Arc<ClientContext>>, until: Instant) -> Result<Wire, Lost> {
    let stream = core.connect(plan.address, until).await.map_err(|error| match error {
        ConnectError::Timeout => Lost::of(Failure::ConnectTimeout, "nobody answered in time"),
        ConnectError::Io(error) => {
            let failure = match error.kind() {
                io::ErrorKind::ConnectionRefused => Failure::ConnectRefused,
                io::ErrorKind::TimedOut => Failure::ConnectTimeout,
                _ if is_shortage(&error) => Failure::Shortage,
                _ => Failure::Connect,
            };
            Lost::of(failure, error)
        }
    })?;
    let Some(tls) = tls else { return Ok(Wire { stream, is_http2: plan.is_http2() }) };
    let names = [plan.trust.name.as_str()];
    let endpoint = plan.address.to_string();
    let target = Target {
        server_name: None,
        endpoint: endpoint.as_bytes(),
        subject_alt_names: if plan.trust.ca.is_some() { &names } else { &[] },
        alpn: &[],
    };
    let session = Session::client(tls, target).map_err(|error| Lost::of(Failure::Tls, error.reason))?;
    let info = {
        let timer = core.timer();
        timer.set(until);
        let mut handshake = pin!(secure(core, &stream, session));
        poll_fn(|context| match handshake.as_mut().poll(context) {
            Poll::Ready(made) => Poll::Ready(made.map_err(|why| Lost::of(Failure::Tls, why))),
            Poll::Pending => timer
                .poll_expired(context)
                .map(|()| Err(Lost::of(Failure::ConnectTimeout, "the TLS handshake did not end in time"))),
        })
        .await?
    };
    let chosen = info.alpn.as_deref();
    let is_http2 = match plan.target.protocol {
        Protocol::HttpByAlpn => chosen == Some(b"h2"),
        // RFC 9113 §3.2: prior knowledge is for cleartext alone, and a server that chose nothing does not speak it.
        Protocol::Http2 | Protocol::Grpc if chosen != Some(b"h2") => {
            return Err(Lost::of(Failure::Tls, "the server did not choose h2 by ALPN"));
        }
        _ => plan.is_http2(),
    };
    Ok(Wire { stream, is_http2 })
}
