//! One poll of a connection's task, on either side: what came is read, what time asks for is looked after, what is to go is sent.
//!
//! Whose connection it is decides only what an event means: see [`Tends`].

use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_runtime::{BlockMut, Chunk};

use super::link::{End, Happened, Link};
use crate::worker::Worker;

/// Receives of one poll at most, before others have theirs.
const RECEIVES_PER_POLL_MAX: usize = 16;

/// What a connection's task does that the other side's does otherwise.
pub(super) trait Tends {
    /// A peer that does not read what it asked for is read from all the same.
    const READS_FROM_CHOKED: bool;
    /// Heads that one receive may bring before those that have begun, and other connections, have their turn.
    const HEADS_PER_RECEIVE_MAX: u32;

    fn reading(&mut self) -> &mut Reading;

    /// So many bytes came.
    fn came(&mut self, bytes: usize);

    /// What was read. An error: the connection ends.
    fn happened(&mut self, happened: Happened) -> Result<(), End>;

    /// What time, a drain and the configuration ask for.
    fn look_after(&mut self, context: &mut Context<'_>) -> Option<End>;
}

/// What was received and not read yet.
#[derive(Default)]
pub(super) struct Reading {
    /// A frame that has not come whole.
    held: Option<BlockMut>,
    /// Bytes that were put back: they come again.
    put_back: usize,
}

/// Ready when the connection has ended.
pub(super) fn poll<T: Tends>(task: &mut T, link: &Rc<Link>, worker: &Worker, context: &mut Context<'_>) -> Poll<End> {
    link.runs(context);
    link.settle();
    let mut end = None;
    for turn in 0.. {
        if turn == RECEIVES_PER_POLL_MAX {
            context.waker().wake_by_ref();
            break;
        }
        if !T::READS_FROM_CHOKED && link.is_choked(context) {
            break;
        }
        match link.poll_recv(context) {
            Poll::Pending => break,
            Poll::Ready(Ok(Some(chunk))) => match feed(task, link, worker, chunk) {
                Ok(true) => continue,
                Ok(false) => link.wake(),
                Err(error) => end = Some(error),
            },
            Poll::Ready(Ok(None) | Err(_)) => end = Some(End::Peer),
        }
        break;
    }
    let end = end.or_else(|| task.look_after(context));
    link.pump(context);
    if let Some(end) = end {
        return Poll::Ready(end);
    }
    if link.has_fresh() {
        // Who something came for runs now; what it does not take is settled after that.
        link.wake();
    }
    Poll::Pending
}

/// Whether all of it was read; else the rest waits with the socket.
fn feed<T: Tends>(task: &mut T, link: &Link, worker: &Worker, chunk: Chunk) -> Result<bool, End> {
    let reading = task.reading();
    let again = reading.put_back.min(chunk.len());
    reading.put_back -= again;
    let held = reading.held.take();
    task.came(chunk.len() - again);
    link.heard();
    let chunk = match held {
        None => chunk,
        Some(held) => worker.join(held, &chunk),
    };
    let (mut at, mut heads) = (0, 0);
    loop {
        let (consumed, happened) = link.receive(&chunk, at);
        at += consumed;
        match happened {
            Happened::Nothing => {}
            Happened::NeedMore => {
                if at < chunk.len() {
                    task.reading().held = Some(worker.copy(&chunk[at..]));
                }
                return Ok(true);
            }
            happened => {
                heads += u32::from(matches!(happened, Happened::Head { .. }));
                task.happened(happened)?;
                if heads == T::HEADS_PER_RECEIVE_MAX {
                    task.reading().put_back += chunk.len() - at;
                    link.unread(chunk.slice(at..chunk.len()));
                    return Ok(false);
                }
            }
        }
    }
}
