//! Flow control (RFC 9113 §5.2, §6.9): what a side may still send, and when the other is told that it may send more.
//!
//! A window that we send into is a number that may be negative (§6.9.2). One that we receive into also knows what is held by readers, so that its
//! sum never exceeds its target: `open + held <= target` while it is full.

/// The largest window (RFC 9113 §6.9.1).
pub(super) const WINDOW_MAX: u32 = (1 << 31) - 1;
/// What a window is before anybody says otherwise (RFC 9113 §6.9.2).
pub(super) const WINDOW_INITIAL: u32 = 65_535;

/// A window that we send into, opened by `more`; `None`: it is too large now.
#[inline]
pub(super) fn opened(window: i32, more: i64) -> Option<i32> {
    i32::try_from(i64::from(window) + more).ok()
}

/// A window that the peer sends into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    /// What the peer may still send.
    open: i32,
    /// What it sent and nobody has taken.
    held: u32,
}

impl Incoming {
    pub(super) const CLOSED: Self = Self { open: 0, held: 0 };

    pub(super) fn new(open: u32) -> Self {
        Self { open: open as i32, held: 0 }
    }

    pub(super) fn open(&self) -> i32 {
        self.open
    }

    pub(super) fn held(&self) -> u32 {
        self.held
    }

    /// A frame took `bytes` of it, `content` of which somebody has to take; false: it was not so large.
    #[inline]
    #[must_use]
    pub(super) fn receive(&mut self, bytes: u32, content: u32) -> bool {
        let fits = i64::from(bytes) <= i64::from(self.open);
        if fits {
            self.open -= bytes as i32;
            self.held += content;
        }
        fits
    }

    /// Somebody took so many.
    #[inline]
    pub(super) fn take(&mut self, bytes: u32) {
        debug_assert!(bytes <= self.held, "{bytes} taken of {}", self.held);
        self.held = self.held.saturating_sub(bytes);
    }

    /// Our announced initial window has changed (RFC 9113 §6.9.2).
    pub(super) fn shift(&mut self, by: i64) {
        self.open = opened(self.open, by).unwrap_or(WINDOW_MAX as i32);
    }

    /// What the peer is to be told now: nothing until it is half of the window, so that there are few frames.
    #[inline]
    pub(super) fn increment(&mut self, target: u32) -> u32 {
        let more = i64::from(target) - i64::from(self.open) - i64::from(self.held);
        if more < i64::from(target / 2).max(1) {
            return 0;
        }
        self.open += more as i32;
        more as u32
    }
}

/// The payload of the PING that measures: its answer says how much came within one round trip.
pub(super) const MEASURE: [u8; 8] = *b"\0window\0";

/// How windows grow. With a stream's WINDOW_UPDATE goes a PING; when its answer comes, all that the peer had left before the update has come, too, and
/// the reader has kept up, then the sender stood still for a part of a round trip: the window doubles. No clock is read, and who sends slowly costs
/// a PING now and then. The connection's window doubles also when readers that stopped hold half of it: others are not to wait for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    /// What streams' windows are opened to.
    pub(super) stream: u32,
    /// What the connection's is opened to.
    pub(super) connection: u32,
    measure: Measure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// No PING before streams were told of so many more bytes.
    Resting(u32),
    /// A PING is under way.
    Running {
        stream: u32,
        /// What the peer may still send of what it had before the update.
        left: u32,
    },
}

/// After a measure that changed nothing, so many windows' worth of bytes come before the next.
const REST: u32 = 16;

impl Growth {
    pub(super) fn new(stream: u32, connection: u32) -> Self {
        Self { stream, connection, measure: Measure::Resting(0) }
    }

    /// A stream of which the peer had `left` to send is told of `more`: whether a measure begins, for which [`MEASURE`] is to be sent.
    pub(super) fn told(&mut self, stream: u32, left: i32, more: u32, stream_max: u32) -> bool {
        match self.measure {
            Measure::Resting(0) if self.stream < stream_max => {
                self.measure = Measure::Running { stream, left: left.max(0) as u32 };
                return true;
            }
            Measure::Resting(rest) => self.measure = Measure::Resting(rest.saturating_sub(more)),
            Measure::Running { .. } => {}
        }
        false
    }

    /// A stream got `bytes`.
    #[inline]
    pub(super) fn received(&mut self, id: u32, bytes: u32) {
        if let Measure::Running { stream, left } = &mut self.measure
            && *stream == id
        {
            *left = left.saturating_sub(bytes);
        }
    }

    /// The stream that is measured.
    pub(super) fn measures(&self) -> Option<u32> {
        match self.measure {
            Measure::Running { stream, .. } => Some(stream),
            Measure::Resting(_) => None,
        }
    }

    /// The answer came, and the stream's reader has still to take `held`; `None`: the stream has ended.
    pub(super) fn measured(&mut self, held: Option<u32>, stream_max: u32, connection_max: u32) {
        let Measure::Running { left, .. } = self.measure else { return };
        // What is less than a frame may be a sender's rounding; and what came with the answer nobody can have taken.
        let is_bound = left < self.stream / 16 && held.is_some_and(|held| held <= self.stream / 4 * 3);
        self.measure = match held {
            None => Measure::Resting(0),
            Some(_) if is_bound => {
                self.stream = self.stream.saturating_mul(2).min(stream_max);
                // One stream never fills it all.
                self.connection = self.connection.max((self.stream / 2 * 3).min(connection_max));
                Measure::Resting(0)
            }
            Some(_) => Measure::Resting(self.stream.saturating_mul(REST)),
        };
    }

    /// Readers hold so much of the connection's window; whether it has grown.
    #[inline]
    pub(super) fn holds(&mut self, held: u32, connection_max: u32) -> bool {
        let grows = held > self.connection / 2 && self.connection < connection_max;
        if grows {
            self.connection = self.connection.saturating_mul(2).min(connection_max);
        }
        grows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_told_in_halves_and_never_beyond_its_target() {
        let mut window = Incoming::new(100);
        assert!(window.receive(40, 40) && !window.receive(61, 61));
        window.take(40);
        assert_eq!(window.increment(100), 0);
        assert!(window.receive(20, 10)); // ten of padding
        assert_eq!(window.increment(100), 50);
        window.take(10);
        assert_eq!(window.increment(100), 0);
        assert_eq!(window.increment(200), 110); // it has grown
    }

    #[test]
    fn windows_grow_while_they_are_what_bounds() {
        let mut growth = Growth::new(160, 1_000);
        assert!(growth.told(1, 80, 80, 1_000) && !growth.told(1, 80, 80, 1_000));
        growth.received(3, 100);
        growth.received(1, 75);
        assert_eq!(growth.measures(), Some(1));
        growth.measured(Some(80), 1_000, 1_200);
        assert_eq!((growth.stream, growth.connection), (320, 1_000));
        assert!(growth.told(1, 160, 160, 1_000));
        growth.received(1, 100);
        growth.measured(Some(0), 1_000, 1_200);
        growth.measured(Some(0), 1_000, 1_200); // nobody asked
        assert_eq!(growth.stream, 320, "it had enough for a round trip");
        assert!(!growth.told(1, 160, 320 * REST - 1, 1_000) && !growth.told(1, 160, 1, 1_000));
        assert!(growth.told(1, 0, 160, 1_000), "measured again later");
        growth.measured(Some(300), 1_000, 1_200);
        assert_eq!(growth.stream, 320, "its reader is what bounds");
        growth.measure = Measure::Resting(0);
        assert!(growth.told(1, 0, 160, 1_000));
        growth.measured(None, 1_000, 1_200);
        assert_eq!(growth.stream, 320, "it has ended");
        growth.stream = 800;
        assert!(growth.told(1, 0, 160, 1_000));
        growth.measured(Some(600), 1_000, 1_200);
        assert_eq!((growth.stream, growth.connection), (1_000, 1_200));
        assert!(!growth.told(1, 500, 500, 1_000), "there is nothing to grow to");
    }

    #[test]
    fn readers_that_stopped_leave_the_others_their_half() {
        let mut growth = Growth::new(100, 1_000);
        assert!(!growth.holds(500, 1_800) && growth.holds(501, 1_800));
        assert!(!growth.holds(900, 1_800) && !growth.holds(1_800, 1_800), "there is nothing to grow to");
        assert_eq!((growth.stream, growth.connection), (100, 1_800));
    }
}
