//! One HTTP/2 connection (RFC 9113), either role: its state, and all that is neither reading nor writing frames.
//!
//! It holds no socket, reads no clock and keeps no content. Its memory is its streams, two tables of HPACK, and a field block while one comes in
//! several frames. What reads is in `receive`, what writes in `send`.
//!
//! Invariant: whatever the peer sends and the caller asks, windows, streams and budgets stay within [`Limits`]; a connection that failed reads
//! nothing more.

use super::Role;
use super::budget::Budget;
use super::closed::Closed;
use super::code::Code;
use super::frame::{self, STREAM_MAX};
use super::limits::Limits;
use super::outbound::Outbound;
use super::settings::{Ours, Settings};
use super::stream::{State, Stream};
use super::streams::{Key, Streams};
use super::window::{Growth, Incoming, WINDOW_INITIAL};
use crate::error::Rule;
use crate::hpack::{Decoder, Encoder};
use crate::out::Out;

/// What the next bytes are.
#[derive(Debug)]
pub(super) enum Reading {
    /// The client's preface, of which so many bytes came.
    Preface(u8),
    /// A frame.
    Frames,
    /// Content of a DATA frame.
    Content {
        key: Key,
        left: u32,
        /// Bytes of padding behind it.
        padding: u32,
        ends: bool,
    },
    /// A payload that nobody wants.
    Skip(u32),
    /// The connection has failed.
    Nothing,
}

/// A field block that is not whole yet.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) ends: bool,
    pub(super) on_itself: bool,
    pub(super) continuations: u32,
    pub(super) bytes: Vec<u8>,
}

/// How far our leaving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Not at all.
    Staying,
    /// The peer was warned, and may not know yet.
    Warned,
    /// Streams opened from now on are not processed.
    Gone,
}

/// What the peer's GOAWAY said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerLeaving {
    /// Streams above this one are not processed.
    pub(super) last: u32,
    /// Such streams may still be there.
    pub(super) unsaid: bool,
}

/// Frames since the connection began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Streams opened by either side.
    pub(super) streams: u32,
    pub(super) priorities: u32,
    pub(super) window_updates: u32,
    /// DATA and HEADERS of ours, and how many there were at the peer's last PING.
    pub(super) sent: u32,
    pub(super) sent_at_ping: u32,
    /// DATA of ours.
    pub(super) data_sent: u32,
    /// Frames without content, one after another.
    pub(super) empty: u32,
    /// PINGs of the caller's without an answer.
    pub(super) pings: u32,
}

/// What is left to the peer of each budget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budgets {
    pub(super) settings: Budget,
    pub(super) pings: Budget,
    pub(super) resets: Budget,
    pub(super) glitches: Budget,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) role: Role,
    pub(super) limits: Limits,
    pub(super) reading: Reading,
    pub(super) block: Option<Box<Block>>,
    pub(super) streams: Streams,
    pub(super) closed: Closed,
    /// The highest stream of the client's.
    pub(super) last: u32,
    pub(super) peer: Settings,
    /// The peer's SETTINGS came; ours were acknowledged.
    pub(super) told: bool,
    pub(super) acknowledged: bool,
    pub(super) leaving: Leaving,
    pub(super) peer_leaving: Option<PeerLeaving>,
    /// What we may send.
    pub(super) window: i32,
    /// What the peer may send.
    pub(super) incoming: Incoming,
    pub(super) growth: Growth,
    pub(super) encoder: Encoder,
    pub(super) decoder: Decoder,
    pub(super) outbound: Outbound,
    pub(super) counts: Counts,
    pub(super) budgets: Budgets,
    /// A rule that was broken while nobody read.
    pub(super) broken: Option<Rule>,
}

impl Connection {
    /// A connection on which nothing was sent. `now`: the caller's milliseconds, here and below.
    ///
    /// # Panics
    /// Where `limits` contradict themselves: a window larger than what it may grow to, or than 2^31-1.
    #[must_use]
    pub fn new(role: Role, limits: &Limits, now: u64) -> Self {
        assert!(limits.is_sound(), "{limits:?}");
        // Until our SETTINGS are acknowledged the peer's table has what it has without them. More may be used as soon as it says so.
        let mut decoder = Decoder::new(Encoder::TABLE_BYTES);
        if limits.decoder_table_bytes as usize > Encoder::TABLE_BYTES {
            decoder.announced(limits.decoder_table_bytes as usize);
        }
        Self {
            role,
            limits: *limits,
            reading: match role {
                Role::Server => Reading::Preface(0),
                Role::Client => Reading::Frames,
            },
            block: None,
            streams: Streams::new(),
            closed: Closed::default(),
            last: 0,
            peer: Settings::UNTOLD,
            told: false,
            acknowledged: false,
            leaving: Leaving::Staying,
            peer_leaving: None,
            window: WINDOW_INITIAL as i32,
            incoming: Incoming::new(WINDOW_INITIAL),
            growth: Growth::new(limits.stream_window, limits.connection_window),
            encoder: Encoder::new(limits.encoder_table_bytes as usize),
            decoder,
            outbound: Outbound::default(),
            counts: Counts::default(),
            budgets: Budgets {
                settings: Budget::new(limits.settings, now),
                pings: Budget::new(limits.pings, now),
                resets: Budget::new(limits.resets, now),
                glitches: Budget::new(limits.glitches, now),
            },
            broken: None,
        }
    }

    /// What has to be sent first: a client's preface, our SETTINGS, and the connection's window where it is larger than the RFC's.
    pub fn begin(&mut self, out: &mut impl Out) {
        if self.role == Role::Client {
            out.put(frame::PREFACE);
            self.outbound.frame(frame::PREFACE.len());
        }
        let ours = Ours::new(self.role, &self.limits);
        self.put(ours.bytes(), out);
        let more = self.limits.connection_window - WINDOW_INITIAL;
        if more > 0 {
            self.incoming.shift(i64::from(more));
            self.put(&frame::window_update(0, more), out);
        }
    }

    /// Our side.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// What the peer has told of itself.
    #[must_use]
    pub fn peer(&self) -> &Settings {
        &self.peer
    }

    /// Whether the peer's SETTINGS came: before that, [`Connection::peer`] is what holds without them.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// Streams that are there.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.streams.count()
    }

    /// Whether the stream is still there.
    #[must_use]
    pub fn is_open(&self, key: Key) -> bool {
        self.streams.get(key).is_some()
    }

    /// As a client: how many more streams may be opened now. 100 at most before the peer has said how many it takes.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        if self.role == Role::Server || self.is_leaving() || self.last >= STREAM_MAX - 1 {
            return 0;
        }
        let max = self.peer.max_concurrent_streams.min(self.limits.max_concurrent_streams);
        max.saturating_sub(self.streams.count())
    }

    /// Bytes of content that the connection's window lets us send, of all streams together; below 0 after the peer has made it smaller.
    #[must_use]
    pub fn window(&self) -> i32 {
        self.window
    }

    /// Whether either side has said GOAWAY.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving != Leaving::Staying || self.peer_leaving.is_some() || matches!(self.reading, Reading::Nothing)
    }

    /// So many bytes at the end of what we wrote are not out yet: to be told before [`Connection::receive`], or the connection ends when it has
    /// answered [`Limits::max_outbound_control_frames`] times. Granted content counts as written.
    #[inline]
    pub fn unsent(&mut self, bytes: usize) {
        self.outbound.unsent(bytes);
    }

    /// Says that we go: the peer opens no more streams once it has read it, and those on their way are still processed. [`Connection::go_away`]
    /// follows a round trip later (RFC 9113 §6.8).
    pub fn drain(&mut self, out: &mut impl Out) {
        if self.leaving == Leaving::Staying {
            self.leaving = Leaving::Warned;
            self.put(&frame::go_away(STREAM_MAX, Code::NO_ERROR), out);
        }
    }

    /// Says what the last stream was that we process. Those that are there go on; later ones are not answered.
    pub fn go_away(&mut self, code: Code, out: &mut impl Out) {
        if self.leaving != Leaving::Gone {
            self.leaving = Leaving::Gone;
            let last = if self.role == Role::Server { self.last } else { 0 };
            self.put(&frame::go_away(last, code), out);
        }
    }

    /// Asks the peer for a sign of life; [`super::Event::Pong`] has the same number. At most [`PINGS_MAX`] are under way: beyond that nothing is sent.
    pub fn ping(&mut self, payload: u64, out: &mut impl Out) {
        if self.counts.pings >= PINGS_MAX {
            return; // they are asked already
        }
        self.counts.pings += 1;
        self.put(&frame::ping(0, &payload.to_be_bytes()), out);
    }

    /// A quiet connection gives back what it needs for speed only: the encoder's table, and places for streams.
    pub fn shrink(&mut self) {
        self.encoder.shrink();
        self.streams.shrink();
    }

    /// Bytes of memory held beyond itself.
    #[must_use]
    pub fn memory(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |block| size_of::<Block>() + block.bytes.capacity());
        self.encoder.memory() + self.decoder.memory() + self.streams.memory() + block
    }

    /// A frame of ours.
    #[inline]
    pub(super) fn put(&mut self, frame: &[u8], out: &mut impl Out) {
        self.outbound.frame(frame.len());
        out.put(frame);
    }

    /// A frame that the peer made us send.
    ///
    /// # Errors
    /// It does not read those that it has.
    pub(super) fn answer(&mut self, frame: &[u8], out: &mut impl Out) -> Result<(), Rule> {
        self.outbound.answer(frame.len());
        out.put(frame);
        if self.outbound.answers() > self.limits.max_outbound_control_frames {
            return Err(Rule::TooManyAnswersUnsent);
        }
        // The count may be of twice what is unsent, and small frames are no fault.
        if self.outbound.frames() / 2 > self.limits.max_outbound_frames {
            return Err(Rule::TooManyFramesUnsent);
        }
        Ok(())
    }

    /// A stream that begins.
    #[inline]
    pub(super) fn begin_stream(&mut self, id: u32, state: State) -> Key {
        self.last = id;
        self.counts.streams = self.counts.streams.saturating_add(1);
        let incoming = if self.acknowledged { self.limits.stream_window } else { WINDOW_INITIAL };
        self.streams.insert(Stream::new(id, state, self.role, self.peer.initial_window_size, incoming))
    }

    /// A stream that is gone, perhaps because we reset it.
    #[inline]
    pub(super) fn end_stream(&mut self, key: Key, reset: bool) {
        self.streams.remove(key);
        self.closed.push(key.id(), reset);
    }

    /// What a stream's window is opened to: of one that has grown no more than its share of the connection's, or as many readers that stop as there
    /// are streams would hold many times what the connection is to hold.
    #[inline]
    pub(super) fn stream_target(&self) -> u32 {
        let (grown, first) = (self.growth.stream, self.limits.stream_window);
        if grown == first {
            return first;
        }
        grown.min((self.growth.connection / self.active().max(1)).max(first))
    }

    /// Tells the peer what it may send on the connection, where that is worth a frame.
    #[inline]
    pub(super) fn credit(&mut self, out: &mut impl Out) {
        let more = self.incoming.increment(self.growth.connection);
        if more > 0 {
            self.put(&frame::window_update(0, more), out);
        }
    }

    /// What must hold between calls.
    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(&self) {
        let held: u64 = self.streams.iter().map(|(_, stream)| u64::from(stream.incoming.held())).sum();
        assert!(held <= u64::from(self.incoming.held()), "streams hold {held} bytes of {:?}", self.incoming);
        assert_eq!(self.streams.iter().count(), self.streams.count() as usize);
        assert!(self.streams.count() <= self.limits.max_concurrent_streams);
        assert!(self.streams.iter().all(|(_, stream)| stream.id <= self.last && stream.id % 2 == 1));
    }
}

/// PINGs of the caller's under way: it has one timer, and one PING for leaving.
pub const PINGS_MAX: u32 = 8;
