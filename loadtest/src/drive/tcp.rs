//! Raw connections: so many bytes go, so many come back, both ways at once.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use ringway_runtime::{Stream, Timer};

use super::serial::Serial;
use super::{Begin, lost, poll_recv};
use crate::expect::{Answer, Body};
use crate::failure::Failure;
use crate::pacing::Seat;
use crate::plan::Reply;
use crate::worker::Worker;

/// Bytes of one piece, and what may wait to be taken by the kernel: large enough to keep a connection busy, small enough for the others' turn.
const PIECE: usize = 64 << 10;
const UNSENT_MAX: usize = 256 << 10;
/// Replies beyond this size come in bulk buffers.
const BULK_MIN: u64 = 64 << 10;

pub(super) async fn drive(worker: Rc<Worker>, seat: Rc<Seat>, begin: Begin) {
    let mut serial = Serial::new(&worker, &seat, begin);
    while let Some(taken) = serial.take().await {
        let size = worker.draw_size();
        let sent = worker.core.now();
        worker.tally.sent(taken.job, size as u64);
        let result = exchange(&worker, &taken.stream, serial.timer(), size).await;
        serial.done(taken, sent, result.map(|answer| (answer, true)));
    }
}

/// Sends so many bytes and reads the reply.
async fn exchange(worker: &Worker, stream: &Stream, timer: &Timer, size: usize) -> Result<Answer, Failure> {
    let wanted = match worker.plan.reply {
        Reply::Echo => size as u64,
        Reply::None => 0,
        Reply::Bytes(bytes) => bytes,
    };
    stream.set_bulk(wanted > BULK_MIN);
    let content = &worker.message.body;
    let mut body = Body::new(&worker.plan.expect);
    let mut at = 0;
    poll_fn(|context| {
        while at < size {
            match stream.poll_unsent_below(context, UNSENT_MAX) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(lost(worker, &error))),
                Poll::Pending => break,
            }
            let end = size.min(at + PIECE);
            stream.send(content.slice(at..end));
            at = end;
        }
        while body.bytes < wanted {
            match poll_recv(worker, stream, timer, context) {
                Poll::Ready(Ok(Some(chunk))) => body.push(&chunk),
                Poll::Ready(Ok(None)) => return Poll::Ready(Err(Failure::CutShort)),
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if wanted > 0 {
            return Poll::Ready(Ok(()));
        }
        match stream.poll_unsent_below(context, 0) {
            Poll::Ready(Ok(())) if at == size => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(lost(worker, &error))),
            _ => timer.poll_expired(context).map(|()| Err(Failure::Timeout)),
        }
    })
    .await?;
    if body.bytes > wanted {
        return Err(worker.tally.because(Failure::Body, "more came than was sent for"));
    }
    Ok(Answer { status: 0, grpc_status: None, body })
}
