//! The clock of a core: nanoseconds that are cheap to compute with, and the `Instant`s that its users know.
//!
//! An `Instant` hides two numbers: taking one from another costs as many instructions as reading the clock. A loop that measures
//! each of its turns therefore reads nanoseconds, and makes an `Instant` of them once a turn.
//! Invariant: `instant` is never ahead of `Instant::now()`, and behind it by less than what lay between two reads at the start.

use std::time::{Duration, Instant};

use crate::sys;

/// Attempts to read both clocks with nothing in between; the best one counts.
const TRIES: u32 = 16;

/// An instant, and the nanoseconds of the monotonic clock (which std's `Instant` reads on Linux, too) right after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    instant: Instant,
    ns: u64,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        let pair = || {
            let before = sys::monotonic_ns();
            let instant = Instant::now();
            let ns = sys::monotonic_ns();
            (ns - before, Clock { instant, ns })
        };
        let best = (0..TRIES).map(|_| pair()).min_by_key(|(gap, _)| *gap);
        best.expect("there are tries").1
    }

    /// When this clock was made.
    pub(crate) fn begin(&self) -> Instant {
        self.instant
    }

    /// Nanoseconds now.
    #[inline]
    pub(crate) fn ns(&self) -> u64 {
        sys::monotonic_ns()
    }

    /// The instant of these nanoseconds.
    #[inline]
    pub(crate) fn instant(&self, ns: u64) -> Instant {
        self.instant + Duration::from_nanos(ns.saturating_sub(self.ns))
    }

    /// The nanoseconds of this instant.
    pub(crate) fn ns_of(&self, instant: Instant) -> u64 {
        self.ns + instant.saturating_duration_since(self.instant).as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_are_one() {
        let clock = Clock::start();
        for _ in 0..1000 {
            let (ns, now) = (clock.ns(), Instant::now());
            assert!(clock.instant(ns) <= now, "never ahead");
            assert_eq!(clock.ns_of(clock.instant(ns)), ns, "there and back");
        }
    }
}
