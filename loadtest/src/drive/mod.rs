//! One connection after another: each is driven by what is spoken on it.
//!
//! A driver takes requests from the dispatcher, sends them, and says what became of each: an answer, or why there is none. It connects
//! anew where its connection is gone, and only for a request, so that whatever happens is somebody's.

mod head;
mod http1;
mod http2;
mod serial;
mod tcp;

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_runtime::{Chunk, Stream, Timer};

use crate::connect::Wire;
use crate::failure::Failure;
use crate::pacing::{Job, Seat};
use crate::target::Protocol;
use crate::worker::Worker;

/// What a driver begins with.
struct Begin {
    /// A connection that was made already.
    wire: Option<Wire>,
    /// A request that was taken already.
    job: Option<Job>,
}

/// The connection at a place of its core, and those that follow it there.
pub(crate) async fn connection(worker: Rc<Worker>, at: usize) {
    let seat = worker.dispatcher.seat();
    let mut begin = Begin { wire: worker.first(at).await, job: None };
    if worker.plan.target.protocol == Protocol::HttpByAlpn && begin.wire.is_none() {
        match first_choice(&worker, &seat).await {
            Some(chosen) => begin = chosen,
            None => return,
        }
    }
    match worker.plan.target.protocol {
        Protocol::Tcp => tcp::drive(worker, seat, begin).await,
        Protocol::Http1 => http1::drive(worker, seat, begin).await,
        Protocol::Http2 | Protocol::Grpc => http2::drive(worker, seat, begin).await,
        Protocol::HttpByAlpn if begin.wire.as_ref().is_some_and(|wire| wire.is_http2) => {
            http2::drive(worker, seat, begin).await;
        }
        Protocol::HttpByAlpn => http1::drive(worker, seat, begin).await,
    }
}

/// Connects for one request after another until it is known what is spoken.
async fn first_choice(worker: &Rc<Worker>, seat: &Rc<Seat>) -> Option<Begin> {
    worker.dispatcher.offer(seat, 1, worker.core.now());
    loop {
        let job = worker.dispatcher.take(seat).await?;
        match worker.connect().await {
            Ok(wire) => return Some(Begin { wire: Some(wire), job: Some(job) }),
            Err(failure) => worker.failed_to_connect(seat, job, failure).await,
        }
    }
}

/// What came next, or why nothing did: `None` is the peer's end.
fn poll_recv(
    worker: &Worker,
    stream: &Stream,
    timer: &Timer,
    context: &mut Context<'_>,
) -> Poll<Result<Option<Chunk>, Failure>> {
    match stream.poll_recv(context) {
        Poll::Ready(received) => Poll::Ready(received.map_err(|error| lost(worker, &error))),
        Poll::Pending => timer.poll_expired(context).map(|()| Err(Failure::Timeout)),
    }
}

/// Waits for [`poll_recv`].
async fn recv(worker: &Worker, stream: &Stream, timer: &Timer) -> Result<Option<Chunk>, Failure> {
    poll_fn(|context| poll_recv(worker, stream, timer, context)).await
}

/// Why a connection is gone.
fn lost(worker: &Worker, error: &io::Error) -> Failure {
    let failure = match error.kind() {
        io::ErrorKind::UnexpectedEof => Failure::CutShort,
        io::ErrorKind::Other => Failure::Tls, // a layer says so
        _ => Failure::Reset,
    };
    worker.tally.because(failure, error)
}
