//! The serving half of gRPC, for one connection that was accepted: calls, one after the other or at once, and when it ends.
//!
//! ```text
//!   the thread of a connection:  connection ──> calling (one for each call) ──> answer: bytes of a request -> bytes of a response
//!                                    └ h2: frames, windows, heads
//! ```
//! The thread is the caller's, and the answer may wait: only calls of this connection wait with it. Of the answers of a connection one at a
//! time is in memory.
//!
//! Invariant: whatever a client does not do, each wait has its end, and the connection with it: a call's in [`calling`], and a connection
//! without a call ends after [`PATIENCE`].

mod calling;
mod replayed;
mod status;

use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime;
use tokio::sync::Mutex;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

use self::replayed::Replayed;
pub(crate) use self::status::{Code, Status};
use crate::race::{First, race};

/// Calls at once on one connection: people make one, and a tool a few.
const STREAMS_MAX: u32 = 8;
/// The largest head of a request: a path and a few fields.
const HEAD_BYTES_MAX: u32 = 16 << 10;
/// Bytes of answers that wait for the socket: what a call still has to send waits with the call, whose patience ends.
const SEND_BYTES_MAX: usize = 64 << 10;
/// How long a client may take for its handshake, to begin a call, to say the one message of a call of one, to take the next bytes of an
/// answer, and to take the end of the connection: as long as for HTTP/1.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a stream of requests may be quiet: longer than anybody's interval of asking, shorter than what is forgotten.
const QUIET_MAX: Duration = Duration::from_secs(60);

/// How long is waited for a client.
#[derive(Clone, Copy, Debug)]
struct Limits {
    patience: Duration,
    quiet_max: Duration,
}

/// A client's connection.
#[derive(Debug)]
pub enum Accepted {
    /// By TCP.
    Tcp(TcpStream),
    /// By a unix socket.
    Unix(UnixStream),
}

/// What can be called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method {
    /// `/SERVICE/METHOD`.
    pub(crate) path: &'static str,
    pub(crate) form: Form,
}

/// How many messages a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One, which is answered.
    Unary,
    /// Any number, each of which is answered.
    Stream,
}

/// The methods of a connection, and what answers them.
struct Service<A> {
    methods: &'static [Method],
    answer: A,
    limits: Limits,
    /// Held while an answer is made and sent.
    turn: Mutex<()>,
}

/// Serves a connection until it ends; `before` is what has been read of it. The answer to a request is its bytes, or why there is none.
///
/// # Errors
/// What the kernel says of a socket that cannot be waited for. What goes wrong on the connection ends it, and nobody has to know.
pub(crate) fn serve<A>(socket: Accepted, before: Vec<u8>, methods: &'static [Method], answer: A) -> io::Result<()>
where
    A: Fn(&[u8]) -> Result<Vec<u8>, Status> + 'static,
{
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let limits = Limits { patience: PATIENCE, quiet_max: QUIET_MAX };
    let service = Rc::new(Service { methods, answer, limits, turn: Mutex::new(()) });
    LocalSet::new().block_on(&runtime, async {
        match socket {
            Accepted::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                connection(Replayed::new(before, tokio::net::TcpStream::from_std(socket)?), service).await;
            }
            Accepted::Unix(socket) => {
                socket.set_nonblocking(true)?;
                connection(Replayed::new(before, tokio::net::UnixStream::from_std(socket)?), service).await;
            }
        }
        Ok(())
    })
}

/// What happens next on a connection.
enum Next {
    Call(Box<Request<RecvStream>>, SendResponse<Bytes>),
    /// One of the calls is over.
    Over,
    /// There was no call for as long as we wait.
    Quiet,
    Closed,
}

async fn connection<I, A>(io: I, service: Rc<Service<A>>)
where
    I: AsyncRead + AsyncWrite + Unpin,
    A: Fn(&[u8]) -> Result<Vec<u8>, Status> + 'static,
{
    let patience = service.limits.patience;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_send_buffer_size(SEND_BYTES_MAX);
    let Ok(Ok(mut connection)) = timeout(patience, builder.handshake::<_, Bytes>(io)).await else { return };
    let (mut calls, mut is_leaving) = (JoinSet::new(), false);
    loop {
        match next(&mut connection, &mut calls, patience).await {
            Next::Call(request, respond) => _ = calls.spawn_local(calling::call(*request, respond, service.clone())),
            Next::Over => {}
            // A call may have been on its way to us: it is served.
            Next::Quiet if !is_leaving => {
                connection.graceful_shutdown();
                is_leaving = true;
            }
            Next::Quiet | Next::Closed => return,
        }
    }
}

/// Waits. Frames move meanwhile, also those of calls.
async fn next<I>(connection: &mut Connection<I, Bytes>, calls: &mut JoinSet<()>, patience: Duration) -> Next
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let accepted = if calls.is_empty() {
        match timeout(patience, connection.accept()).await {
            Ok(accepted) => accepted,
            Err(_) => return Next::Quiet,
        }
    } else {
        match race(connection.accept(), calls.join_next()).await {
            First::One(accepted) => accepted,
            First::Other(_) => return Next::Over,
        }
    };
    match accepted {
        Some(Ok((request, respond))) => Next::Call(Box::new(request), respond),
        // It is closed, or it broke a rule of HTTP/2, which h2 has told it.
        Some(Err(_)) | None => Next::Closed,
    }
}

#[cfg(test)]
mod tests;
