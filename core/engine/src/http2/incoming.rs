//! What comes on a connection: from its socket to the codec, and from there to the ports and to who takes it.
//!
//! It decides nothing about a message but whether it is one.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_protocols::http2::message::{Asked, read_trailers};
use ringway_protocols::http2::{Code, Event, Key};
use ringway_protocols::{Framing, HeadTable, Limits, Method, Response, Rule};
use ringway_runtime::{Chunk, Stream};

use super::link::{Happened, Link, PortId, State, enqueue};
use super::port::{Received, Reset};

impl Link {
    pub(super) fn poll_recv(&self, context: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match &self.state.borrow().socket {
            Some(socket) => socket.poll_recv(context),
            None => Poll::Ready(Ok(None)),
        }
    }

    /// Puts bytes back in front of all that was received.
    pub(super) fn unread(&self, chunk: Chunk) {
        if let Some(socket) = &self.state.borrow().socket {
            socket.unread(chunk);
        }
    }

    /// Whether so much waits for the peer to read that nothing more is read from it; wakes when that has changed.
    pub(super) fn is_choked(&self, context: &mut Context<'_>) -> bool {
        let state = self.state.borrow();
        let Some(socket) = &state.socket else { return false };
        socket.unsent() > 2 * self.unsent_high && socket.poll_unsent_below(context, self.unsent_high).is_pending()
    }

    /// Whether something came that may not have been taken.
    pub(super) fn has_fresh(&self) -> bool {
        !self.state.borrow().fresh.is_empty()
    }

    /// What is known of the request that a response answers.
    pub(super) fn with_asked<T>(&self, id: PortId, then: impl FnOnce(Asked<'_>) -> T) -> T {
        let state = self.state.borrow();
        let asked = state.ports[id].asked.as_ref().expect("a request of ours");
        then(Asked { method: asked.method, upgrade: asked.upgrade.as_deref() })
    }

    /// One more interim response came; how many there were.
    pub(super) fn count_interim(&self, id: PortId) -> u32 {
        let port = &mut self.state.borrow_mut().ports[id];
        port.interims += 1;
        port.interims
    }

    /// What content has to come behind a response's head.
    pub(super) fn expect(&self, id: PortId, key: Key, response: &Response<'_>) {
        let state = &mut *self.state.borrow_mut();
        let method = state.ports[id].asked.as_ref().map(|asked| asked.method);
        let status = response.status();
        if method == Some(Method::Head) || matches!(status, 204 | 304) {
            state.codec.expect_length(key, 0);
        } else if let Framing::Length(length) = response.framing() {
            state.codec.expect_length(key, length);
        }
    }

    /// The content of a stream has to be this long.
    pub(super) fn expect_length(&self, key: Key, length: u64) {
        self.state.borrow_mut().codec.expect_length(key, length);
    }

    /// The fields of a request are to be kept out of every table, or not.
    pub(super) fn keep_out(&self, id: PortId, never_indexed: bool) {
        self.state.borrow_mut().ports[id].never_indexed = never_indexed;
    }

    /// The port of a stream.
    pub(super) fn port_of(&self, key: Key) -> PortId {
        self.state.borrow().by_key[key.index()]
    }

    /// The peer's message was whole with its head.
    pub(super) fn ended(&self, id: PortId) {
        self.state.borrow_mut().ports[id].received = Received::Ended;
    }

    /// Breaks a stream off for a message that breaks this rule.
    pub(super) fn reject(&self, id: PortId, key: Key, rule: Rule) {
        let now = self.now();
        let State { codec, ports, out, pending, .. } = &mut *self.state.borrow_mut();
        codec.reject(key, rule, now, out);
        self.meter.reset(Code::PROTOCOL_ERROR, Some(rule));
        *pending -= ports[id].break_off(Reset { code: Code::PROTOCOL_ERROR, is_unprocessed: false, is_ours: true });
    }

    /// Reads what the front of `bytes` says; how much of it is done with.
    pub(super) fn receive(&self, chunk: &Chunk, at: usize) -> (usize, Happened) {
        let now = self.now();
        let State { codec, socket, ports, by_key, out, sending, fresh, pending, .. } = &mut *self.state.borrow_mut();
        codec.unsent(socket.as_ref().map_or(0, Stream::unsent) + out.len());
        let fields = &mut self.scratch.borrow_mut().fields;
        let step = codec.receive(&chunk[at..], now, fields.read_as(codec.role()), out);
        let happened = match step.event {
            Event::NeedMore => Happened::NeedMore,
            Event::Head { key, ends } => Happened::Head { key, ends },
            Event::Trailers { key } => Happened::Trailers(by_key[key.index()], key),
            Event::Data { key, range, ends } => {
                let id = by_key[key.index()];
                let port = &mut ports[id];
                if ends {
                    port.received = Received::Ended;
                    port.forget_if_over();
                }
                if range.is_empty() {
                    port.wake_reader();
                } else {
                    port.push_data(chunk.slice(at + range.start..at + range.end));
                    fresh.push(id);
                }
                Happened::Nothing
            }
            Event::Reset { key, code, rule, unprocessed } => {
                self.meter.reset(code, rule);
                let told = Reset { code, is_unprocessed: unprocessed, is_ours: rule.is_some() };
                *pending -= ports[by_key[key.index()]].break_off(told);
                Happened::Nothing
            }
            Event::Window { key: Some(key) } => {
                let id = by_key[key.index()];
                enqueue(ports, sending, id);
                // Its turn may be far off, while the connection's window is shut: what that turn sends can be got ready.
                ports[id].wake_writer();
                Happened::Nothing
            }
            // Who waits for the connection's window stands in the queue already.
            Event::Window { key: None } => Happened::Nothing,
            Event::Settings => {
                let waiting: Vec<PortId> =
                    ports.iter().filter(|(_, port)| port.wants_to_send()).map(|(id, _)| id).collect();
                waiting.into_iter().for_each(|id| enqueue(ports, sending, id));
                Happened::Settings
            }
            Event::GoAway { .. } => Happened::GoAway,
            Event::Pong(payload) => Happened::Pong(payload),
            Event::Failed(error) => {
                self.meter.failed(error.rule);
                Happened::Failed(error)
            }
        };
        (step.consumed, happened)
    }

    /// A head for a stream that has a port.
    pub(super) fn push_head(&self, id: PortId, block: Chunk, table: Rc<HeadTable>, ends: bool) {
        let port = &mut self.state.borrow_mut().ports[id];
        if ends {
            port.received = Received::Ended;
            port.forget_if_over();
        }
        port.never_indexed = table.response(&block).never_indexed();
        port.push_head(block, table);
    }

    /// Reads the trailers that came, which end the stream's message.
    pub(super) fn read_trailers(&self, id: PortId, key: Key, limits: &Limits) {
        let read = {
            let scratch = &mut *self.scratch.borrow_mut();
            scratch.block.clear();
            let fields = scratch.fields.read_as(self.state.borrow().codec.role());
            read_trailers(fields, limits, &mut scratch.block).map(|()| self.core.chunk(&scratch.block))
        };
        match read {
            Ok(lines) => self.push_trailers(id, lines),
            Err(error) => self.reject(id, key, error.rule),
        }
    }

    fn push_trailers(&self, id: PortId, lines: Chunk) {
        self.meter.stats().trailers.add(1);
        let port = &mut self.state.borrow_mut().ports[id];
        port.trailers = Some(lines);
        port.received = Received::Ended;
        port.forget_if_over();
        port.wake_reader();
    }

    /// Copies what nobody took in its turn.
    pub(super) fn settle(&self) {
        let State { ports, fresh, .. } = &mut *self.state.borrow_mut();
        for id in fresh.drain(..) {
            if let Some(port) = ports.get_mut(id) {
                port.settle(&self.core);
            }
        }
    }

    /// Takes a piece that came for a stream.
    pub(super) fn take(&self, id: PortId) -> Option<Chunk> {
        let State { codec, ports, out, end, .. } = &mut *self.state.borrow_mut();
        let port = &mut ports[id];
        let (chunk, credit) = port.take()?;
        if let (Some(key), true, None) = (port.key, credit > 0, end) {
            codec.consumed(key, credit, out);
            if !out.is_empty() {
                self.wake();
            }
        }
        Some(chunk)
    }

    /// Ready when the stream has something to say, or what.
    pub(super) fn poll_readable(&self, id: PortId, context: &mut Context<'_>) -> Poll<()> {
        let port = &mut self.state.borrow_mut().ports[id];
        if port.has_pieces() || port.reset.is_some() {
            return Poll::Ready(());
        }
        port.reader = Some(context.waker().clone());
        Poll::Pending
    }
}
