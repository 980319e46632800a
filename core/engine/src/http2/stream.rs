//! A stream as a side of an exchange.
//!
//! What HTTP/1's path only passes by is kept out of it (`inline(never)`): there it is a test of one word.
//!
//! Dropping it ends the stream: who has not heard its end hears that nobody goes on with it.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_protocols::HeadTable;
use ringway_protocols::http2::Code;
use ringway_runtime::Chunk;

use crate::relay::CHUNK_BYTES;

use super::link::{Link, PortId, State};
use super::port::{Received, Reset, Sent, TURN_BYTES};
use super::sending::HeadForm;

/// See the module.
pub(crate) struct Http2Stream {
    link: Rc<Link>,
    port: PortId,
    /// What a peer is told that is not done when this is dropped.
    pub(super) code: std::cell::Cell<Code>,
    /// Who waits for room on its connection.
    waiting: Option<Rc<dyn Waiting>>,
}

/// Who waits for room on a connection.
pub(crate) trait Waiting {
    /// There may be some.
    fn room(&self);
}

impl Http2Stream {
    pub(super) fn new(link: &Rc<Link>, port: PortId, code: Code) -> Self {
        Self { link: Rc::clone(link), port, code: std::cell::Cell::new(code), waiting: None }
    }

    /// Tells of the room that it leaves.
    pub(crate) fn frees_room_for(&mut self, waiting: Rc<dyn Waiting>) {
        self.waiting = Some(waiting);
    }

    #[inline(never)]
    pub(crate) fn poll_recv(&self, context: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        if let Some(chunk) = self.link.take(self.port) {
            return Poll::Ready(Ok(Some(chunk)));
        }
        let port = &mut self.link.state.borrow_mut().ports[self.port];
        match (port.received, port.reset) {
            (Received::Ended, _) => Poll::Ready(Ok(None)),
            (Received::Open, Some(_)) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            (Received::Open, None) => {
                port.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    #[inline(never)]
    pub(crate) fn try_recv(&self) -> Option<io::Result<Option<Chunk>>> {
        if let Some(chunk) = self.link.take(self.port) {
            return Some(Ok(Some(chunk)));
        }
        let is_reset = self.link.state.borrow().ports[self.port].reset.is_some();
        is_reset.then(|| Err(io::ErrorKind::ConnectionReset.into()))
    }

    #[inline(never)]
    pub(crate) fn poll_watch(&self, context: &mut Context<'_>) -> Poll<()> {
        self.link.poll_readable(self.port, context)
    }

    #[inline(never)]
    pub(crate) fn unread(&self, chunk: Chunk) {
        self.link.state.borrow_mut().ports[self.port].unread(chunk);
    }

    /// The table of the head that was taken last.
    #[inline(never)]
    pub(crate) fn take_table(&self) -> Option<Rc<HeadTable>> {
        self.link.state.borrow_mut().ports[self.port].table.take()
    }

    /// The trailers of the peer's message, once it has ended.
    #[inline(never)]
    pub(crate) fn take_trailers(&self) -> Option<Chunk> {
        self.link.state.borrow_mut().ports[self.port].trailers.take()
    }

    /// Whether the peer's message has ended and all of it was taken.
    #[inline(never)]
    pub(crate) fn is_finished(&self) -> bool {
        let port = &self.link.state.borrow().ports[self.port];
        port.received == Received::Ended && !port.has_pieces() && port.trailers.is_none()
    }

    /// Whether the peer takes extended CONNECT. `None`: it has not said; until it has, nobody asks (RFC 8441 §3).
    #[inline(never)]
    pub(crate) fn takes_extended_connect(&self) -> Option<bool> {
        let state = self.link.state.borrow();
        // Of one that has ended every request shows it.
        (state.codec.is_told() || state.end.is_some())
            .then(|| state.codec.peer().enable_connect_protocol || state.end.is_some())
    }

    /// How it was broken off, if it was.
    #[inline(never)]
    pub(crate) fn reset(&self) -> Option<Reset> {
        self.link.state.borrow().ports[self.port].reset
    }

    /// Whether the connection is gone.
    #[inline(never)]
    pub(crate) fn has_lost_connection(&self) -> bool {
        self.link.has_ended()
    }

    /// Whether the fields of the peer's head are to be kept out of every table.
    #[inline(never)]
    pub(crate) fn never_indexed(&self) -> bool {
        self.link.state.borrow().ports[self.port].never_indexed
    }

    #[inline(never)]
    pub(crate) fn send_head(&self, head: &[u8], form: HeadForm) {
        self.link.send_head(self.port, head, form);
    }

    #[inline(never)]
    pub(crate) fn send_whole(&self, message: &[u8]) {
        const END: &[u8] = b"\r\n\r\n";
        let size = message.windows(END.len()).position(|four| four == END).map_or(message.len(), |at| at + END.len());
        let (head, body) = message.split_at(size);
        self.link.send_head(self.port, head, HeadForm { ends: body.is_empty(), ..HeadForm::default() });
        if !body.is_empty() {
            self.link.send_data(self.port, self.link.core.chunk(body));
            self.link.end(self.port, None);
        }
    }

    #[inline(never)]
    pub(crate) fn send_data(&self, chunk: Chunk) {
        self.link.send_data(self.port, chunk);
    }

    /// The message ends behind what was queued.
    #[inline(never)]
    pub(crate) fn end(&self, trailers: Option<Chunk>) {
        self.link.end(self.port, trailers);
    }

    pub(crate) fn unsent(&self) -> usize {
        self.link.state.borrow().ports[self.port].unsent()
    }

    #[inline(never)]
    pub(crate) fn poll_unsent_below(&self, context: &mut Context<'_>, limit: usize) -> Poll<io::Result<()>> {
        let state = &mut *self.link.state.borrow_mut();
        let is_crowded = state.is_crowded();
        let State { codec, ports, pending, .. } = state;
        let port = &mut ports[self.port];
        if matches!(port.sent, Sent::Refused) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // Its end is something to be sent, too.
        let end = usize::from(matches!(port.sent, Sent::Ending | Sent::Trailers(_)));
        // Beyond what the peer's windows take nothing more is wanted, or a slow stream would hold more than its windows, and a slow connection
        // as much for each of its streams; but each has what its next turn sends.
        let is_shut = || {
            let beyond = |window: i32, waits: usize| waits as i64 >= i64::from(window);
            let of_stream = port.open_key().is_some_and(|key| beyond(codec.window_of(key), port.unsent()));
            // What is received for a crowded connection is one chunk: with it there is a turn at most, in one block of that size.
            let is_turn_full = is_crowded && port.unsent() + CHUNK_BYTES > TURN_BYTES;
            of_stream || is_turn_full || (port.unsent() >= TURN_BYTES && beyond(codec.window(), *pending))
        };
        if port.unsent() + end <= limit && (port.unsent() == 0 || !is_shut()) {
            return Poll::Ready(Ok(()));
        }
        port.unsent_limit = limit;
        port.writer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether its content may be received in bulk buffers from here on.
    pub(crate) fn take_bulk(&self) -> bool {
        self.link.state.borrow_mut().take_bulk(self.port)
    }

    /// Its content is not received in bulk buffers any more.
    pub(crate) fn leave_bulk(&self) {
        self.link.state.borrow_mut().set_bulky(self.port, false);
    }

    /// Whether it is one of so many that nothing should be read ahead for it; `None`: as it was for whom its origin's connection served before.
    pub(crate) fn is_one_of_many(&self) -> Option<bool> {
        self.link.state.borrow().is_many()
    }

    /// The peer opened no window for the rest in time.
    pub(super) fn count_flush_timeout(&self) {
        self.link.meter.stats().tx_flush_timeout.add(1);
    }

    /// Ready when it was broken off.
    #[inline(never)]
    pub(crate) fn poll_reset(&self, context: &mut Context<'_>) -> Poll<()> {
        let port = &mut self.link.state.borrow_mut().ports[self.port];
        if port.reset.is_some() {
            return Poll::Ready(());
        }
        port.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether the last byte of the message that was begun has left.
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.link.state.borrow().ports[self.port].sent, Sent::Ended)
    }

    /// Ready when the last byte of the message that was begun has left, or nobody takes it.
    pub(super) fn poll_sent(&self, context: &mut Context<'_>) -> Poll<()> {
        let port = &mut self.link.state.borrow_mut().ports[self.port];
        match port.sent {
            Sent::Ending | Sent::Trailers(_) => {
                port.writer = Some(context.waker().clone());
                port.unsent_limit = 0;
                Poll::Pending
            }
            Sent::Open | Sent::Ended | Sent::Refused => Poll::Ready(()),
        }
    }

    pub(crate) fn local_path(&self) -> Option<String> {
        self.link.local_path()
    }

    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        self.link.peer_addr()
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.link.local_addr()
    }
}

impl Drop for Http2Stream {
    #[inline(never)]
    fn drop(&mut self) {
        self.link.release(self.port, self.code.get());
        if let Some(waiting) = &self.waiting {
            waiting.room();
        }
    }
}
