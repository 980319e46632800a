//! What became of streams that are gone: enough to tell a late frame, which is right, from one that must not be (RFC 9113 §5.1).
//!
//! It remembers the last few. Invariant: it never calls a stream unused that was used: what it forgot it calls [`Past::Forgotten`].

/// Streams remembered. Late frames come within a round trip; who is older than this many is not judged.
const REMEMBERED: usize = 32;

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// The peer ended it, or reset it: it sends nothing more.
    Ended,
    /// We reset it: the peer may not know yet.
    Reset,
    /// So old that nothing is known of it.
    Forgotten,
    /// It was never used: a higher one was opened, and this one was not.
    Unused,
}

/// The last streams that went, in a ring: each identifier doubled, and one more where we reset it. 0: an empty place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Closed {
    ring: [u32; REMEMBERED],
    next: u8,
    /// The highest that was forgotten.
    forgotten: u32,
}

impl Closed {
    #[inline]
    pub(super) fn push(&mut self, id: u32, reset: bool) {
        let place = &mut self.ring[usize::from(self.next)];
        self.forgotten = self.forgotten.max(*place >> 1);
        *place = id << 1 | u32::from(reset);
        self.next = (self.next + 1) % REMEMBERED as u8;
    }

    pub(super) fn past(&self, id: u32) -> Past {
        match self.ring.iter().find(|&&place| place >> 1 == id) {
            Some(place) if place & 1 == 1 => Past::Reset,
            Some(_) => Past::Ended,
            None if id <= self.forgotten => Past::Forgotten,
            None => Past::Unused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_not_called_unused() {
        let mut closed = Closed::default();
        assert_eq!(closed.past(1), Past::Unused);
        for id in (1..=2 * REMEMBERED as u32).filter(|id| id % 4 == 1) {
            closed.push(id, id % 8 == 1);
        }
        assert_eq!([1, 3, 5].map(|id| closed.past(id)), [Past::Reset, Past::Unused, Past::Ended]);
        for id in (101..).step_by(2).take(REMEMBERED) {
            closed.push(id, false);
        }
        assert_eq!([1, 3, 5].map(|id| closed.past(id)), [Past::Forgotten; 3]);
        assert_eq!([101, 99].map(|id| closed.past(id)), [Past::Ended, Past::Unused]);
    }
}
