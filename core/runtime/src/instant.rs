//! An instant of a core's life: the monotonic clock's nanoseconds as one number.
//!
//! std's `Instant` hides two numbers: to add to one, or to take one from another, costs twenty to forty instructions, and an exchange
//! does so a dozen times. This is the same clock; nothing but the form differs.
//! Invariant: arithmetic saturates. The end of time is 584 years after the host's start, and a deadline there never comes.

use std::num::NonZeroU64;
use std::ops::{Add, Sub};
use std::time::Duration;

use crate::sys;

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// A point in time (CLOCK_MONOTONIC), to be compared and computed with. 8 bytes, also where there may be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// Now. On a core, [`crate::Core::now`] costs nothing.
    #[must_use]
    pub fn now() -> Self {
        Self::of_ns(sys::monotonic_ns())
    }

    /// The instant of these nanoseconds of the monotonic clock. It is past zero since the host has started.
    #[inline]
    pub(crate) fn of_ns(ns: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(ns.saturating_sub(1)))
    }

    /// Its nanoseconds on the monotonic clock.
    #[inline]
    pub(crate) fn ns(self) -> u64 {
        self.0.get()
    }

    /// How long after `earlier` it is; zero when it is before.
    #[inline]
    #[must_use]
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// How long ago it was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }

    /// How long after `earlier` it is, in whole milliseconds.
    #[inline]
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> u64 {
        self.0.get().saturating_sub(earlier.0.get()) / NS_PER_MS
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    #[inline]
    fn add(self, duration: Duration) -> Self {
        let ns = duration.as_secs().saturating_mul(NS_PER_S).saturating_add(u64::from(duration.subsec_nanos()));
        Self(self.0.saturating_add(ns))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// As [`Instant::saturating_duration_since`].
    #[inline]
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_clock_of_std() {
        let (before, one) = (std::time::Instant::now(), Instant::now());
        while Instant::now() == one {}
        let (other, after) = (Instant::now(), std::time::Instant::now());
        assert!(one < other && other - one <= after - before, "{one:?} {other:?}");
    }

    #[test]
    fn it_never_overflows() {
        let at = |ns| Instant::of_ns(ns);
        for (instant, duration, expect) in [
            (at(0), Duration::ZERO, at(1)),
            (at(5), Duration::from_nanos(7), at(12)),
            (at(1), Duration::from_millis(1500), at(1_500_000_001)),
            (at(u64::MAX - 1), Duration::from_secs(1), at(u64::MAX)),
            (at(1), Duration::MAX, at(u64::MAX)),
        ] {
            assert_eq!(instant + duration, expect);
            assert_eq!(instant.saturating_duration_since(expect), Duration::ZERO);
            assert_eq!(expect - instant, Duration::from_nanos(expect.ns() - instant.ns()));
            assert_eq!(expect.ms_since(instant), (expect - instant).as_millis() as u64);
        }
    }

    #[test]
    fn none_takes_no_room() {
        assert_eq!(size_of::<Option<Instant>>(), 8);
    }
}
