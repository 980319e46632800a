//! One connection, as its task and its streams share it.
//!
//! ```text
//!   socket ──> task: receive ──> ports ──> exchanges (take)
//!                                             │ send
//!   socket <── task: pump <───── ports <──────┘
//! ```
//!
//! The task alone reads the socket and hands it what is to go; streams put what they have into their ports and wake the task, which runs
//! behind all that is ready in the same turn: what a turn produced leaves in one send.
//!
//! Invariant: the state is borrowed by nobody while another task runs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_protocols::http2::message::{Asked, write_request, write_response, write_trailers};
use ringway_protocols::http2::{Code, Connection, Event, Key, Role};
use ringway_protocols::{Error, Framing, HeadTable, Method, Response, Rule};
use ringway_runtime::{Chunk, Core, Instant, Stream};
use slab::Slab;

use super::keepalive::Keepalive;
use super::meter::{Held, Meter};
use super::outgoing::Outgoing;
use super::port::{AskedFor, Port, Received, Reset, Sent, Turn};
use super::scratch::Scratch;

/// Bytes of content that one turn of a connection sends at most before others have theirs.
const PUMPED_PER_TURN_MAX: usize = 512 * 1024;

/// A connection without a request for so long gives back what it has for speed: the encoder's table, room for streams. What comes more often than
/// this pays nothing for it.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// What the PING behind a first GOAWAY says. A keepalive's are numbers that begin at 1.
pub(super) const DRAIN_PING: u64 = u64::MAX;

/// A port's place among those of its connection.
pub(super) type PortId = usize;

/// See the module.
pub(crate) struct Link {
    pub(super) core: Core,
    /// Where the codec's time begins.
    since: Instant,
    pub(super) scratch: Rc<RefCell<Scratch>>,
    pub(super) state: RefCell<State>,
    task: RefCell<Option<Waker>>,
    is_woken: Cell<bool>,
    /// It takes no more streams and closes with the last one.
    is_leaving: Cell<bool>,
    pub(super) keepalive: RefCell<Option<Keepalive>>,
    /// What may be queued towards the socket.
    unsent_high: usize,
    /// Streams that we open at once at most.
    streams_max: u32,
    pub(super) meter: Meter,
}

/// What a connection is made with beside its codec.
pub(super) struct Setup {
    /// What may be queued towards the socket.
    pub(super) unsent_high: usize,
    /// Streams that we open at once at most.
    pub(super) streams_max: u32,
    pub(super) meter: Meter,
    pub(super) keepalive: Option<Keepalive>,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer did, or its network.
    Peer,
    /// The peer broke the protocol.
    Failed(Error),
    /// We did.
    Closed,
}

pub(super) struct State {
    pub(super) codec: Connection,
    pub(super) socket: Option<Stream>,
    pub(super) ports: Slab<Port>,
    /// The port of each of the codec's streams.
    by_key: Vec<PortId>,
    pub(super) out: Outgoing,
    /// Ports that have something to send, in turn.
    sending: VecDeque<PortId>,
    /// Ports that something came for which was not taken at once.
    fresh: Vec<PortId>,
    /// Ports that got something to send which lies as it came.
    unsettled: Vec<PortId>,
    /// Ports of requests whose head was not sent yet.
    reserved: u32,
    /// Bytes of content that wait in all ports.
    pending: usize,
    pub(super) end: Option<End>,
}

/// What a received event means for the connection's task; what it means for a stream is done.
pub(super) enum Happened {
    Nothing,
    /// A head came: for a new stream (server), or for the port's (client).
    Head {
        key: Key,
        ends: bool,
    },
    /// A trailer section came for this port.
    Trailers(PortId, Key),
    /// What the peer allows has changed.
    Settings,
    GoAway,
    Pong(u64),
    Failed(Error),
    /// More bytes are needed.
    NeedMore,
}

impl Link {
    pub(super) fn new(
        core: &Core,
        scratch: &Rc<RefCell<Scratch>>,
        codec: Connection,
        socket: Stream,
        setup: Setup,
    ) -> Rc<Self> {
        let Setup { unsent_high, streams_max, meter, keepalive } = setup;
        let state = State {
            codec,
            socket: Some(socket),
            ports: Slab::new(),
            by_key: Vec::new(),
            out: Outgoing::new(core.clone()),
            sending: VecDeque::new(),
            fresh: Vec::new(),
            unsettled: Vec::new(),
            reserved: 0,
            pending: 0,
            end: None,
        };
        Rc::new(Self {
            core: core.clone(),
            since: core.now(),
            scratch: Rc::clone(scratch),
            state: RefCell::new(state),
            task: RefCell::default(),
            is_woken: Cell::new(false),
            is_leaving: Cell::new(false),
            keepalive: RefCell::new(keepalive),
            unsent_high,
            streams_max,
            meter,
        })
    }

    /// The connection's task, which polls now.
    pub(super) fn runs(&self, context: &Context<'_>) {
        self.is_woken.set(false);
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            *task = Some(context.waker().clone());
        }
    }

    /// Lets the task run in this turn, behind all that is ready.
    pub(super) fn wake(&self) {
        if !self.is_woken.replace(true)
            && let Some(task) = &*self.task.borrow()
        {
            task.wake_by_ref();
        }
    }

    /// Takes no more streams.
    pub(super) fn leave(&self) {
        if !self.is_leaving.replace(true) {
            self.wake();
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.get()
    }

    /// Time for the codec, in milliseconds.
    pub(super) fn now(&self) -> u64 {
        self.core.now().ms_since(self.since)
    }

    pub(super) fn local_path(&self) -> Option<String> {
        self.state.borrow().socket.as_ref()?.local_path()
    }

    pub(super) fn peer_addr(&self) -> Option<SocketAddr> {
        self.state.borrow().socket.as_ref()?.peer_addr()
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.state.borrow().socket.as_ref()?.local_addr()
    }

    /// What goes first.
    pub(super) fn begin(&self) {
        let State { codec, out, .. } = &mut *self.state.borrow_mut();
        codec.begin(out);
    }

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

    /// Open streams.
    pub(super) fn active(&self) -> u32 {
        self.state.borrow().codec.active()
    }

    /// Streams that both sides allow at once.
    pub(super) fn streams_max(&self) -> u32 {
        let state = self.state.borrow();
        state.codec.peer().max_concurrent_streams.min(self.streams_max)
    }

    /// Gives memory back that a quiet connection does without.
    pub(super) fn shrink(&self) {
        let state = &mut *self.state.borrow_mut();
        state.codec.shrink();
        if state.ports.is_empty() {
            state.ports.shrink_to_fit();
            state.by_key = Vec::new();
            state.sending = VecDeque::new();
            state.fresh = Vec::new();
            state.unsettled = Vec::new();
        }
    }

    pub(super) fn drain(&self) {
        let State { codec, out, .. } = &mut *self.state.borrow_mut();
        codec.drain(out);
        self.meter.stats().goaway_sent.add(1);
        // When it comes back the client knows.
        codec.ping(DRAIN_PING, out);
    }

    pub(super) fn go_away(&self, code: Code) {
        let State { codec, out, .. } = &mut *self.state.borrow_mut();
        codec.go_away(code, out);
        self.meter.stats().goaway_sent.add(1);
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

    /// Something came from the peer.
    pub(super) fn heard(&self) {
        if let Some(keepalive) = &mut *self.keepalive.borrow_mut() {
            keepalive.heard(self.core.now());
        }
    }

    /// Sends the PING that is due, and says when to look again; an error: the peer did not answer in time.
    pub(super) fn keep_alive(&self, chance: impl FnOnce() -> u64) -> Result<Option<Instant>, ()> {
        let mut keepalive = self.keepalive.borrow_mut();
        let Some(keepalive) = &mut *keepalive else { return Ok(None) };
        let now = self.core.now();
        if keepalive.is_lost(now) {
            self.meter.stats().keepalive_timeout.add(1);
            return Err(());
        }
        if let Some(payload) = keepalive.ping(now, chance()) {
            let State { codec, out, .. } = &mut *self.state.borrow_mut();
            codec.ping(payload, out);
        }
        Ok(keepalive.next())
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
        *pending -= reset(&mut ports[id], Reset { code: Code::PROTOCOL_ERROR, is_unprocessed: false, is_ours: true });
    }

    /// A port for a stream that the peer has opened.
    pub(super) fn open(&self, key: Key) -> PortId {
        let State { ports, by_key, .. } = &mut *self.state.borrow_mut();
        let port = ports.insert(Port::new(Some(key)));
        place(by_key, key, port);
        port
    }

    /// A port for a request of ours, where there is room for one.
    pub(super) fn reserve(&self, expected: u32) -> Option<PortId> {
        let State { codec, ports, reserved, out, .. } = &mut *self.state.borrow_mut();
        let is_beyond = !codec.is_told() && codec.active() + *reserved >= expected;
        if codec.capacity() <= *reserved || is_beyond {
            return None;
        }
        *reserved += 1;
        if let Some(keepalive) = &mut *self.keepalive.borrow_mut()
            && let Some(payload) = keepalive.ping_before_stream(self.core.now())
        {
            codec.ping(payload, out);
        }
        Some(ports.insert(Port::new(None)))
    }

    /// Reads what the front of `bytes` says; how much of it is done with.
    pub(super) fn receive(&self, chunk: &Chunk, at: usize) -> (usize, Happened) {
        let now = self.now();
        let State { codec, socket, ports, by_key, out, sending, fresh, pending, .. } = &mut *self.state.borrow_mut();
        codec.unsent(socket.as_ref().map_or(0, Stream::unsent) + out.len());
        let step = codec.receive(&chunk[at..], now, &mut self.scratch.borrow_mut().fields, out);
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
                *pending -= reset(&mut ports[by_key[key.index()]], told);
                Happened::Nothing
            }
            Event::Window { key: Some(key) } => {
                let id = by_key[key.index()];
                enqueue(ports, sending, id);
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
    pub(super) fn push_head(&self, id: PortId, block: Chunk, table: Box<HeadTable>, ends: bool) {
        let port = &mut self.state.borrow_mut().ports[id];
        if ends {
            port.received = Received::Ended;
            port.forget_if_over();
        }
        port.never_indexed = table.response(&block).never_indexed();
        port.push_head(block, table);
    }

    /// The trailers of a stream's message, which end it.
    pub(super) fn push_trailers(&self, id: PortId, lines: Chunk) {
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

    /// Sends what may go; ready when all that is possible now is with the socket.
    pub(super) fn pump(&self, context: &mut Context<'_>) {
        let State { codec, socket, ports, out, sending, unsettled, pending, .. } = &mut *self.state.borrow_mut();
        let Some(socket) = socket else { return };
        let scratch = &mut *self.scratch.borrow_mut();
        codec.unsent(socket.unsent() + out.len());
        let mut budget = PUMPED_PER_TURN_MAX;
        while let Some(id) = sending.pop_front() {
            if socket.unsent() + out.len() > self.unsent_high {
                // The rest goes when the peer has taken of it.
                sending.push_front(id);
                settle_outbound(ports, unsettled, &self.core);
                if !out.is_empty() {
                    out.flush(socket);
                }
                let _wakes = socket.poll_unsent_below(context, self.unsent_high / 2);
                break;
            }
            if budget == 0 {
                sending.push_front(id);
                settle_outbound(ports, unsettled, &self.core);
                context.waker().wake_by_ref();
                break;
            }
            let Some(port) = ports.get_mut(id) else { continue };
            let (before, waited) = (out.len(), port.unsent());
            let turn = port.send(codec, scratch, out);
            *pending -= waited - port.unsent();
            budget = budget.saturating_sub(out.len() - before);
            match turn {
                Turn::More => sending.push_back(id),
                Turn::Blocked if codec.window() <= 0 => {
                    // All wait for the connection's window, in their turn.
                    sending.push_front(id);
                    settle_outbound(ports, unsettled, &self.core);
                    // What ends without content needs no window.
                    sending.retain(|&id| {
                        let Some(port) = ports.get_mut(id) else { return false };
                        if port.unsent() > 0 {
                            return true;
                        }
                        port.is_queued = port.send(codec, scratch, out) == Turn::More;
                        port.forget_if_over();
                        port.is_queued
                    });
                    break;
                }
                Turn::Blocked => {
                    port.is_queued = false;
                    port.settle_outbound(&self.core);
                }
                Turn::Done => port.is_queued = false,
            }
            port.forget_if_over();
        }
        if sending.is_empty() {
            for id in unsettled.drain(..) {
                if let Some(port) = ports.get_mut(id) {
                    port.is_unsettled = false;
                }
            }
        }
        if !out.is_empty() {
            out.flush(socket);
        }
        self.meter.holds(Held { streams: codec.active(), pending: *pending, memory: codec.memory() });
    }

    /// Ends the connection for all of its streams. The socket is given to who closes it.
    pub(super) fn close(&self, end: End) -> Option<Stream> {
        let State { socket, ports, sending, out, pending, end: ended, .. } = &mut *self.state.borrow_mut();
        ended.get_or_insert(end);
        sending.clear();
        for (_, port) in ports.iter_mut() {
            if port.open_key().is_some() {
                let is_ours = matches!(end, End::Failed(_));
                *pending -= reset(port, Reset { code: Code::CANCEL, is_unprocessed: false, is_ours });
            }
        }
        if let Some(socket) = &socket
            && !out.is_empty()
        {
            out.flush(socket);
        }
        out.clear();
        socket.take()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.borrow().end.is_some()
    }

    /// Lets go of a stream; who has not heard its end hears this code.
    pub(super) fn release(&self, id: PortId, code: Code) {
        let State { codec, ports, out, end, reserved, pending, .. } = &mut *self.state.borrow_mut();
        let port = ports.remove(id);
        *pending -= port.unsent();
        let Some(key) = port.key else {
            *reserved -= 1;
            return;
        };
        if end.is_some() {
            return;
        }
        if !port.is_over {
            codec.reset(key, code, out);
            self.meter.stats().tx_reset.add(1);
        }
        let owed = port.owed();
        if owed > 0 {
            codec.consumed(key, owed, out);
        }
        self.wake();
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

    /// Sends a head of ours. `ends`: it is the whole message.
    pub(super) fn send_head(&self, id: PortId, head: &[u8], form: HeadForm) {
        let State { codec, ports, by_key, out, reserved, end, .. } = &mut *self.state.borrow_mut();
        let port = &mut ports[id];
        if end.is_some() && port.key.is_none() {
            reset(port, Reset { code: Code::REFUSED_STREAM, is_unprocessed: true, is_ours: false });
            return;
        }
        let Scratch { lower, coded, .. } = &mut *self.scratch.borrow_mut();
        let HeadForm { ends, tunnel, never_indexed, is_https } = form;
        match (codec.role(), port.key) {
            (Role::Server, Some(key)) if !port.is_over && matches!(port.sent, Sent::Open) => {
                codec.send_headers(key, ends, coded, out, |fields| {
                    write_response(head, tunnel, never_indexed, lower, &mut |field| fields.put(field));
                });
            }
            (Role::Client, None) => {
                port.asked = Some(asked_for(head, tunnel));
                let key = codec.send_request(ends, coded, out, |fields| {
                    let scheme: &[u8] = if is_https { b"https" } else { b"http" };
                    write_request(head, scheme, tunnel, never_indexed, lower, &mut |field| fields.put(field));
                });
                match key {
                    Some(key) => {
                        *reserved -= 1;
                        port.key = Some(key);
                        place(by_key, key, id);
                    }
                    // The peer has said GOAWAY since.
                    None => {
                        reset(port, Reset { code: Code::REFUSED_STREAM, is_unprocessed: true, is_ours: false });
                    }
                }
            }
            _ => return,
        }
        if ends && matches!(port.sent, Sent::Open) {
            port.sent = Sent::Ended;
            port.forget_if_over();
        }
        self.wake();
    }

    /// Queues content of a stream.
    pub(super) fn send_data(&self, id: PortId, chunk: Chunk) {
        let State { ports, sending, unsettled, pending, .. } = &mut *self.state.borrow_mut();
        let port = &mut ports[id];
        if !port.is_over && matches!(port.sent, Sent::Open) && !chunk.is_empty() {
            *pending += chunk.len();
            if !port.is_unsettled {
                port.is_unsettled = true;
                unsettled.push(id);
            }
            port.push_outbound(chunk);
            enqueue(ports, sending, id);
            self.wake();
        }
    }

    /// The message ends behind what was queued, with trailers or without.
    pub(super) fn end(&self, id: PortId, trailers: Option<Chunk>) {
        let State { ports, sending, .. } = &mut *self.state.borrow_mut();
        let port = &mut ports[id];
        if matches!(port.sent, Sent::Open) {
            port.sent = trailers.map_or(Sent::Ending, Sent::Trailers);
            enqueue(ports, sending, id);
            self.wake();
        }
    }
}

/// How a head goes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeadForm {
    /// It is the whole message.
    pub(crate) ends: bool,
    /// It asks for a tunnel that travels on, or grants one.
    pub(crate) tunnel: bool,
    /// Its fields are to be kept out of every table (RFC 7541 §7.1.3).
    pub(crate) never_indexed: bool,
    /// A request's scheme.
    pub(crate) is_https: bool,
}

fn place(by_key: &mut Vec<PortId>, key: Key, port: PortId) {
    let at = key.index();
    if by_key.len() <= at {
        by_key.resize(at + 1, usize::MAX);
    }
    by_key[at] = port;
}

/// What the response to a head of ours has to know of it.
fn asked_for(head: &[u8], tunnel: bool) -> AskedFor {
    let method = head.split(|&byte| byte == b' ').next().map_or(Method::Other, Method::from_token);
    let lines = || head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let upgrade = || {
        const NAME: &[u8] = b"upgrade: ";
        let line = lines().find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))?;
        Some(Box::from(&line[NAME.len()..]))
    };
    AskedFor { method, upgrade: if tunnel && method != Method::Connect { upgrade() } else { None } }
}

/// A port gets its turn to send.
fn enqueue(ports: &mut Slab<Port>, sending: &mut VecDeque<PortId>, id: PortId) {
    let port = &mut ports[id];
    if port.wants_to_send() && !port.is_queued {
        port.is_queued = true;
        sending.push_back(id);
    }
}

/// What waits on the way out lies in no receive chunk any more.
fn settle_outbound(ports: &mut Slab<Port>, unsettled: &mut Vec<PortId>, core: &Core) {
    for id in unsettled.drain(..) {
        if let Some(port) = ports.get_mut(id) {
            port.is_unsettled = false;
            port.settle_outbound(core);
        }
    }
}

/// A stream was broken off. Bytes that wait no more.
fn reset(port: &mut Port, reset: Reset) -> usize {
    let waited = port.unsent();
    port.is_over = true;
    port.reset = Some(reset);
    port.refuse();
    port.wake_reader();
    waited
}

/// Sends the trailers of a message, which end it.
pub(super) fn send_trailers(codec: &mut Connection, key: Key, lines: &[u8], scratch: &mut Scratch, out: &mut Outgoing) {
    let Scratch { lower, coded, .. } = scratch;
    codec.send_headers(key, true, coded, out, |fields| {
        write_trailers(lines, std::iter::empty(), lower, &mut |field| fields.put(field));
    });
}

impl Link {
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
