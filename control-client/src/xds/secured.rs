//! TLS to a management server: a session of the cluster's own context over a socket.
//!
//! The contexts, and what is asked of a certificate, are those of connections that workers make (`ringway-tls`), so that a cluster means the
//! same whoever connects to it; an adapter of another library would have to be told each of those rules again.
//!
//! Invariant: what was sealed is sent before anything is sealed anew.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ringway_model::{TlsContext, UpstreamTls};
use ringway_tls::{ClientContext, Opened, PLAINTEXT_MAX, Session, Target};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::dial::Io;

/// What is received at once: a whole record with room to spare.
const RECEIVED_BYTES: usize = 32 << 10;
/// What gRPC is offered as (RFC 9113 §3.2).
const HTTP2: &[u8] = b"h2";

/// See the module.
pub(super) struct Secured {
    io: Box<dyn Io>,
    session: Session,
    /// Received and not opened.
    input: Vec<u8>,
    /// Opened and not read; what is before `read` has been.
    plain: Vec<u8>,
    read: usize,
    /// Sealed and not sent; what is before `sent` has been.
    sealed: Vec<u8>,
    sent: usize,
    is_closed: bool,
}

impl Secured {
    /// Makes a session. `authority` is the host of the requests, `hostname` the endpoint's, `endpoint` what tells it from others.
    ///
    /// # Errors
    /// What the handshake failed for, or the socket.
    pub(super) async fn connect(
        mut io: Box<dyn Io>,
        tls: &UpstreamTls,
        authority: &str,
        hostname: &str,
        endpoint: &str,
    ) -> io::Result<Self> {
        let name = if tls.auto_sni {
            authority
        } else if tls.auto_host_sni {
            hostname
        } else {
            &*tls.sni
        };
        let names = [authority];
        let target = Target {
            server_name: Some(name).filter(|name| !name.is_empty()),
            endpoint: endpoint.as_bytes(),
            subject_alt_names: if tls.auto_san_validation { &names } else { &[] },
            alpn: &[HTTP2],
        };
        let mut session = Session::client(&context(&tls.context), target).map_err(io::Error::other)?;
        let (mut input, mut out) = (Vec::new(), Vec::new());
        loop {
            let stepped = session.handshake(&mut input, &mut out);
            // An alert, too, is for the server.
            io.write_all(&out).await?;
            io.flush().await?;
            out.clear();
            let progress = stepped.map_err(io::Error::other)?;
            input.drain(..progress.consumed);
            if progress.done {
                break;
            }
            let mut piece = [0; 4096];
            match io.read(&mut piece).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => input.extend_from_slice(&piece[..count]),
            }
        }
        let chosen = session.take_info().and_then(|info| info.alpn);
        if chosen.as_deref().is_some_and(|chosen| chosen != HTTP2) {
            return Err(io::Error::other("the server does not speak HTTP/2 (ALPN)"));
        }
        let (plain, sealed) = (Vec::new(), Vec::new());
        Ok(Self { io, session, input, plain, read: 0, sealed, sent: 0, is_closed: false })
    }

    /// Sends what is sealed.
    fn poll_sealed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.sealed.len() {
            match ready!(Pin::new(&mut self.io).poll_write(context, &self.sealed[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.sealed.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Opens the next record with data: `false` at the end.
    fn poll_plain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            // What the session itself answered goes as soon as it may, and holds up no reading.
            let opened = self.session.open(&mut self.input, &mut self.sealed);
            if let Poll::Ready(Err(error)) = self.poll_sealed(context) {
                return Poll::Ready(Err(error));
            }
            match opened.map_err(io::Error::other)? {
                Opened::Closed => return Poll::Ready(Ok(false)),
                Opened::Record { consumed, plaintext } => {
                    self.plain.clear();
                    self.plain.extend_from_slice(&self.input[plaintext]);
                    self.read = 0;
                    self.input.drain(..consumed);
                    if !self.plain.is_empty() {
                        return Poll::Ready(Ok(true));
                    }
                }
                Opened::Partial(_) => {
                    let mut room = [0; RECEIVED_BYTES];
                    let mut buffer = ReadBuf::new(&mut room);
                    ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer))?;
                    if buffer.filled().is_empty() {
                        // Without close_notify: cut, or killed.
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    self.input.extend_from_slice(buffer.filled());
                }
            }
        }
    }
}

impl AsyncRead for Secured {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read == this.plain.len() && !ready!(this.poll_plain(context))? {
            return Poll::Ready(Ok(()));
        }
        let rest = &this.plain[this.read..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        this.read += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Secured {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_sealed(context))?;
        let count = bytes.len().min(PLAINTEXT_MAX);
        let start = this.sealed.len();
        this.sealed.resize(start + this.session.sealed_len(count), 0);
        let written = this.session.seal([&bytes[..count]], count, &mut this.sealed[start..]);
        this.sealed.truncate(start + written.as_ref().copied().unwrap_or(0));
        written.map_err(io::Error::other)?;
        // Taken: what of it does not go now goes before what comes next.
        match this.poll_sealed(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_sealed(context))?;
        Pin::new(&mut this.io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.is_closed, true) {
            this.session.close(&mut this.sealed);
        }
        ready!(this.poll_sealed(context))?;
        Pin::new(&mut this.io).poll_shutdown(context)
    }
}

fn context(of: &TlsContext) -> Arc<ClientContext> {
    of.get::<ClientContext>().expect("a client's context")
}
