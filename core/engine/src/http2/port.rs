//! What one stream holds between its connection's task and its exchange: what came and was not taken, what is to go and was not sent.
//!
//! It never touches the socket. Invariant: a receive chunk stays here for at most one turn; what waits longer was copied into a block.

use std::rc::Rc;
use std::task::Waker;

use ringway_protocols::http2::message::write_trailers;
use ringway_protocols::http2::{Code, Connection, Key};
use ringway_protocols::{HeadTable, Method};
use ringway_runtime::{Chunk, Core};

use super::backlog::Backlog;
use super::outgoing::Outgoing;
use super::queue::Queue;
use super::scratch::Scratch;

/// How far the peer's message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Open,
    /// To its end.
    Ended,
}

/// How a stream was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reset {
    /// What the peer was told, or told us.
    pub(crate) code: Code,
    /// The peer did nothing about the request: it is safe to send it again (RFC 9113 §8.7).
    pub(crate) is_unprocessed: bool,
    /// It was we who broke it off, for the peer's fault.
    pub(crate) is_ours: bool,
}

/// What a request asks for, as its response has to know.
#[derive(Debug)]
pub(super) struct AskedFor {
    pub(super) method: Method,
    pub(super) upgrade: Option<Box<[u8]>>,
}

/// How far ours has.
#[derive(Debug)]
pub(super) enum Sent {
    Open,
    /// With the last byte that waits, it ends.
    Ending,
    /// Behind the last byte that waits come trailers.
    Trailers(Chunk),
    Ended,
    /// Nobody takes it any more.
    Refused,
}

/// What goes before all content: a head, or bytes that were put back.
#[derive(Debug)]
struct First {
    chunk: Chunk,
    /// Of a head: where everything lies in it.
    table: Option<Rc<HeadTable>>,
}

/// What became of a port's turn to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has more to send.
    More,
    /// A window is closed.
    Blocked,
    /// Nothing is left to send.
    Done,
}

/// Content that a stream sends in its turn: a frame of the size that every peer takes (RFC 9113 §4.2). In bytes and not in frames, or a stream whose
/// content came in small pieces would get less than others.
pub(super) const TURN_BYTES: usize = 16_384;

/// Less than this is left for the next turn: a frame for it would be dear.
const TURN_REST_MAX: usize = 2_048;

/// See the module.
#[derive(Debug)]
pub(super) struct Port {
    /// Its place with the codec; a request's from its head on.
    pub(super) key: Option<Key>,
    /// The codec does not know the stream any more.
    pub(super) is_over: bool,
    /// What the response will be to, of a request of ours.
    pub(super) asked: Option<AskedFor>,
    /// Heads of interim responses that came.
    pub(super) interims: u32,
    /// The peer's fields are to be kept out of every table.
    pub(super) never_indexed: bool,
    pub(super) received: Received,
    /// The stream was broken off, whatever had come of it.
    pub(super) reset: Option<Reset>,
    pub(super) sent: Sent,
    firsts: Queue<First>,
    /// Content that came, for which the peer gets new room when it is taken.
    content: Backlog,
    /// That of the head that was taken last.
    pub(super) table: Option<Rc<HeadTable>>,
    pub(super) trailers: Option<Chunk>,
    pub(super) reader: Option<Waker>,
    outbound: Backlog,
    pub(super) writer: Option<Waker>,
    /// What is left of its turn, or of the last one for the next.
    turn_left: u32,
    /// Below this the writer is woken.
    pub(super) unsent_limit: usize,
    /// It stands in the connection's list of those whose content lies as it came.
    pub(super) is_unsettled: bool,
    /// It stands in the connection's queue of those that send.
    pub(super) is_queued: bool,
    /// Its content is received in bulk buffers.
    pub(super) is_bulky: bool,
}

impl Port {
    pub(super) fn new(key: Option<Key>) -> Self {
        Self {
            key,
            is_over: false,
            asked: None,
            interims: 0,
            never_indexed: false,
            received: Received::Open,
            reset: None,
            sent: Sent::Open,
            firsts: Queue::default(),
            content: Backlog::default(),
            table: None,
            trailers: None,
            reader: None,
            outbound: Backlog::default(),
            writer: None,
            turn_left: 0,
            unsent_limit: 0,
            is_unsettled: false,
            is_queued: false,
            is_bulky: false,
        }
    }

    /// A head that came.
    pub(super) fn push_head(&mut self, block: Chunk, table: Rc<HeadTable>) {
        self.firsts.push_back(First { chunk: block, table: Some(table) });
        self.wake_reader();
    }

    /// Content that came.
    pub(super) fn push_data(&mut self, chunk: Chunk) {
        self.content.push(chunk);
        self.wake_reader();
    }

    /// The next piece, and how much room the peer gets for it.
    pub(super) fn take(&mut self) -> Option<(Chunk, usize)> {
        if let Some(first) = self.firsts.pop_front() {
            self.table = first.table;
            return Some((first.chunk, 0));
        }
        let chunk = self.content.pop()?;
        let size = chunk.len();
        Some((chunk, size))
    }

    /// Puts a piece back for which the peer got its room.
    pub(super) fn unread(&mut self, chunk: Chunk) {
        self.firsts.push_front(First { chunk, table: None });
    }

    pub(super) fn has_pieces(&self) -> bool {
        !self.firsts.is_empty() || !self.content.is_empty()
    }

    /// Bytes that wait to be taken, for which the peer has had no room yet.
    pub(super) fn owed(&self) -> usize {
        self.content.len()
    }

    /// Copies what was not taken, or not sent, within its turn, so that no receive chunk waits for it.
    pub(super) fn settle(&mut self, core: &Core) {
        for first in self.firsts.iter_mut() {
            first.chunk = core.settled(first.chunk.clone());
        }
        self.content.settle(core);
    }

    /// Copies what is not sent within its turn.
    pub(super) fn settle_outbound(&mut self, core: &Core) {
        self.outbound.settle(core);
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    /// Wakes who writes, if there is room for what it wants to write.
    pub(super) fn wake_writer(&mut self) {
        if self.outbound.len() <= self.unsent_limit
            && let Some(waker) = self.writer.take()
        {
            waker.wake();
        }
    }

    /// Queues content.
    pub(super) fn push_outbound(&mut self, chunk: Chunk) {
        self.outbound.push(chunk);
    }

    /// Bytes that wait to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.outbound.len()
    }

    /// Whether it has anything to send.
    pub(super) fn wants_to_send(&self) -> bool {
        !self.is_over
            && self.key.is_some()
            && (!self.outbound.is_empty() || matches!(self.sent, Sent::Ending | Sent::Trailers(_)))
    }

    /// The stream was broken off. Bytes that wait no more.
    pub(super) fn break_off(&mut self, reset: Reset) -> usize {
        let waited = self.unsent();
        self.is_over = true;
        self.reset = Some(reset);
        self.refuse();
        self.wake_reader();
        waited
    }

    /// Nothing of ours goes to the peer any more.
    pub(super) fn refuse(&mut self) {
        self.outbound.clear();
        if !matches!(self.sent, Sent::Ended) {
            self.sent = Sent::Refused;
        }
        self.wake_writer();
    }

    /// Sends what its turn is: less than that only where nothing more waits or a window is closed.
    ///
    /// So of two streams that have always something to send none is ahead of the other by much more than a turn.
    pub(super) fn send(&mut self, codec: &mut Connection, scratch: &mut Scratch, out: &mut Outgoing) -> Turn {
        let Some(key) = self.key.filter(|_| !self.is_over) else {
            self.refuse();
            return Turn::Done;
        };
        let mut left = self.turn_left as usize;
        if left < TURN_REST_MAX {
            left += TURN_BYTES;
        }
        while left >= TURN_REST_MAX && !self.outbound.is_empty() {
            let size = self.outbound.front_mut().map_or(0, |chunk| chunk.len());
            let ends = size <= left && matches!(self.sent, Sent::Ending) && self.outbound.is_one();
            let granted = codec.send_data(key, size.min(left), ends, out);
            if granted == 0 {
                self.turn_left = left as u32;
                self.wake_writer();
                return Turn::Blocked;
            }
            left -= granted;
            let payload = if granted < size { self.outbound.split_front(granted) } else { self.outbound.pop() };
            payload.into_iter().for_each(|payload| out.payload(payload));
            if granted == size && ends {
                self.sent = Sent::Ended;
            }
        }
        self.turn_left = if self.outbound.is_empty() { 0 } else { left as u32 };
        if self.outbound.is_empty() {
            match &self.sent {
                Sent::Ending => {
                    codec.send_data(key, 0, true, out);
                    self.sent = Sent::Ended;
                }
                Sent::Trailers(lines) => {
                    let Scratch { lower, coded, .. } = scratch;
                    codec.send_headers(key, true, coded, out, |fields| {
                        write_trailers(lines, std::iter::empty(), lower, fields);
                    });
                    self.sent = Sent::Ended;
                }
                Sent::Open | Sent::Ended | Sent::Refused => {}
            }
        }
        self.wake_writer();
        if self.wants_to_send() { Turn::More } else { Turn::Done }
    }

    /// The codec forgets a stream that has ended both ways; so do we.
    pub(super) fn forget_if_over(&mut self) {
        if self.received == Received::Ended && matches!(self.sent, Sent::Ended) {
            self.is_over = true;
        }
    }

    /// The stream, as long as the codec knows it.
    pub(super) fn open_key(&self) -> Option<Key> {
        self.key.filter(|_| !self.is_over)
    }
}
