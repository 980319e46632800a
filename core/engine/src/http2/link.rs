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
//! Here is the state, how it begins and ends, and what opens and leaves; what comes is in `incoming`, what goes in `sending`.
//!
//! Invariant: the state is borrowed by nobody while another task runs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Waker};

use ringway_protocols::Error;
use ringway_protocols::http2::{Code, Connection, Key, Role};
use ringway_runtime::{Core, Instant, Stream};
use slab::Slab;

use crate::relay::BULK_BYTES;

use super::keepalive::Keepalive;
use super::meter::Meter;
use super::outgoing::Outgoing;
use super::port::{Port, Reset};
use super::scratch::Scratch;

/// What the PING behind a first GOAWAY says. A keepalive's are numbers that begin at 1.
pub(super) const DRAIN_PING: u64 = u64::MAX;

/// A port's place among those of its connection.
pub(super) type PortId = usize;

/// Content of all streams that waits to be sent, beyond which a stream gets only what its next turn sends: as much as one turn of the
/// connection takes. A peer that opens every window and never reads would else make us hold `Limits::unsent_high` for each of its streams
/// (CVE-2019-9517).
const CROWDED_BYTES: usize = super::sending::PUMPED_PER_TURN_MAX;

/// Streams of a peer from which on their origins are read one receive at a time: a burst of a multishot is up to 144 KiB that nobody asked for.
const READ_AHEAD_STREAMS_MAX: u32 = 8;

/// Up to so many are few again.
const READ_AHEAD_STREAMS_FEW: u32 = READ_AHEAD_STREAMS_MAX / 2;

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
    pub(super) unsent_high: usize,
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
    pub(super) by_key: Vec<PortId>,
    pub(super) out: Outgoing,
    /// Ports that have something to send, in turn.
    pub(super) sending: VecDeque<PortId>,
    /// Ports that something came for which was not taken at once.
    pub(super) fresh: Vec<PortId>,
    /// Ports that got something to send which lies as it came.
    pub(super) unsettled: Vec<PortId>,
    /// Ports of requests whose head was not sent yet.
    pub(super) reserved: u32,
    /// Bytes of content that wait in all ports.
    pub(super) pending: usize,
    /// Ports whose content is received in bulk buffers.
    pub(super) bulky: usize,
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

impl State {
    /// Whether as much content waits as the connection may hold: each stream has what its next turn sends, and no more.
    pub(super) fn is_crowded(&self) -> bool {
        self.pending >= CROWDED_BYTES
    }

    /// Whether the content of this port may be received in bulk buffers: there is room for all that may come at once.
    pub(super) fn take_bulk(&mut self, id: PortId) -> bool {
        let reserved = self.bulky * BULK_BYTES;
        let is_free = match self.ports[id].is_bulky {
            true => !self.is_crowded(),
            false => self.pending + reserved < CROWDED_BYTES,
        };
        self.set_bulky(id, is_free);
        is_free
    }

    /// Whether it is.
    pub(super) fn set_bulky(&mut self, id: PortId, on: bool) {
        if std::mem::replace(&mut self.ports[id].is_bulky, on) != on {
            self.bulky = if on { self.bulky + 1 } else { self.bulky - 1 };
        }
    }

    /// Whether so many streams of the peer are open that what is read ahead for each of them would add up; `None`: nearly. So a connection
    /// to an origin is not switched to and fro by streams that share it.
    pub(super) fn is_many(&self) -> Option<bool> {
        match self.codec.active() {
            _ if self.codec.role() == Role::Client => Some(false),
            0..=READ_AHEAD_STREAMS_FEW => Some(false),
            READ_AHEAD_STREAMS_MAX.. => Some(true),
            _ => None,
        }
    }
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
            bulky: 0,
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

    /// Ends the connection for all of its streams. The socket is given to who closes it.
    pub(super) fn close(&self, end: End) -> Option<Stream> {
        let State { socket, ports, sending, out, pending, end: ended, .. } = &mut *self.state.borrow_mut();
        ended.get_or_insert(end);
        sending.clear();
        for (_, port) in ports.iter_mut() {
            if port.open_key().is_some() {
                let is_ours = matches!(end, End::Failed(_));
                *pending -= port.break_off(Reset { code: Code::CANCEL, is_unprocessed: false, is_ours });
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
        let State { codec, ports, out, sending, end, reserved, pending, bulky, .. } = &mut *self.state.borrow_mut();
        let port = ports.remove(id);
        *pending -= port.unsent();
        *bulky -= usize::from(port.is_bulky);
        if port.is_queued {
            // Or the next port of this number would have its turn and this one's.
            sending.retain(|other| *other != id);
        }
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
}

/// A port gets its turn to send.
pub(super) fn enqueue(ports: &mut Slab<Port>, sending: &mut VecDeque<PortId>, id: PortId) {
    let port = &mut ports[id];
    if port.wants_to_send() && !port.is_queued {
        port.is_queued = true;
        sending.push_back(id);
    }
}

/// A stream's port is this one.
pub(super) fn place(by_key: &mut Vec<PortId>, key: Key, port: PortId) {
    let at = key.index();
    if by_key.len() <= at {
        by_key.resize(at + 1, usize::MAX);
    }
    by_key[at] = port;
}
