//! One direction of a raw connection: what one side sends goes to the other as it is.
//!
//! ```text
//!          the source's end, passed on
//!   Open ──────────────────────────────> Ended
//!     ├── the source failed ───────────> Reset
//!     └── the sink takes nothing more ─> Cut
//! ```
//!
//! How the bytes travel, the runtime's pump knows; here it is decided what their ends mean. Backpressure: while as much is held for the
//! sink as may be, the source is not read. Invariant: nothing is sent behind an end.

use std::io::ErrorKind;
use std::task::{Context, Poll};

use ringway_runtime::{Pump, PumpError, PumpLimits, Stream};

use crate::limits::Limits;
use crate::relay::{BULK_BYTES, CHUNK_BYTES};

/// What a sparing source brings.
const CHUNK: u32 = CHUNK_BYTES as u32;
/// What a source brings that is not asked for more: the receives of one turn (32 of a chunk each, where the kernel repeats them by itself)
/// behind what may lie unread.
const BURST: u32 = ringway_runtime::RECV_UNREAD_MAX as u32 + 32 * CHUNK;
/// Below this a pump does not receive in bulk buffers: they hold as much.
const BULK: u32 = BULK_BYTES as u32;
/// What a layer may hold of a record of TLS, or have opened of it, beside what the sink holds.
const RECORD: u32 = ringway_runtime::RECV_UNREAD_MAX as u32 + CHUNK;

/// What a direction may hold for its sink when this source is read, so that it is never more than `max` (of
/// `per_connection_buffer_limit_bytes`). Of a small one a burst would be too much: the source is then read a chunk at a time.
pub(super) fn held_max(limits: &Limits, max: Option<u32>, from: &Stream) -> u32 {
    let Some(max) = max else { return u32::try_from(limits.unsent_high).unwrap_or(u32::MAX) };
    if max >= BURST + BULK {
        return max - BURST;
    }
    from.set_sparing(true);
    max.saturating_sub(if from.has_layer() { CHUNK + RECORD } else { CHUNK }).min(BULK - 1)
}

/// Where a direction stands: see the module's diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Ended,
    Reset,
    Cut,
}

/// What a poll did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) bytes: u64,
    /// From here on the source is not read, for the sink holds enough.
    pub(super) paused: bool,
    /// It is read again.
    pub(super) resumed: bool,
}

/// See the module.
pub(super) struct Flow {
    pub(super) state: State,
    is_paused: bool,
    pump: Pump,
    held_max: u32,
}

impl Flow {
    pub(super) fn new(held_max: u32) -> Self {
        Self { state: State::Open, is_paused: false, pump: Pump::new(), held_max }
    }

    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Bytes moved so far.
    pub(super) fn moved(&self) -> u64 {
        self.pump.moved()
    }

    /// Bytes held for the sink.
    #[inline]
    pub(super) fn held(&self, to: &Stream) -> usize {
        to.unsent() + self.pump.held()
    }

    /// Moves what can be moved now, and about as many bytes at most.
    #[inline]
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        (from, to): (&Stream, &Stream),
        bytes_per_poll: usize,
    ) -> Moved {
        if self.state != State::Open {
            return Moved::default();
        }
        let before = self.pump.moved();
        let held_max = self.held_max as usize;
        match self.pump.poll(context, from, to, PumpLimits { bytes_per_poll, held_max, left: None }) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                to.shutdown_write();
                self.state = State::Ended;
            }
            // A layer's source that ended below it, and did not say so within: nobody can tell who cut it off. All that there is of it goes on, and then
            // an end, as of bare bytes and as in Envoy: what a protocol calls whole, its own ends have to know.
            Poll::Ready(Err(PumpError::Source(error))) if error.kind() == ErrorKind::UnexpectedEof => {
                to.shutdown_write();
                self.state = State::Ended;
            }
            Poll::Ready(Err(PumpError::Source(_))) => self.state = State::Reset,
            Poll::Ready(Err(PumpError::Sink(_))) => self.state = State::Cut,
        }
        let was_paused = self.is_paused;
        self.is_paused = self.is_open() && (to.unsent() > held_max || self.pump.held() > 0);
        Moved {
            bytes: self.pump.moved() - before,
            paused: self.is_paused && !was_paused,
            resumed: was_paused && !self.is_paused,
        }
    }

    /// Once the other direction is over, nobody reads from the sink, and its failure would go unseen until the next byte: looks for it.
    #[cold]
    pub(super) fn watch_sink(&mut self, context: &mut Context<'_>, to: &Stream) {
        if self.is_open()
            && !self.is_paused
            && to.unsent() > 0
            && let Poll::Ready(Err(_)) = to.poll_unsent_below(context, 0)
        {
            self.state = State::Cut;
        }
    }
}
