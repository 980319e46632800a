//! The time of day for `Date` fields and access logs, and durations for statistics. It looks at no clock of its own: time comes in, and
//! the clock on the wall as a function.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway_model::format::TimeFormat;
use ringway_runtime::Instant;

/// The time of day as HTTP writes it (RFC 9110 §5.6.7), made anew at most once a second.
pub(crate) struct Date {
    /// The clock on the wall.
    wall: fn() -> SystemTime,
    /// The same instant on both clocks.
    base: Cell<(Instant, Duration)>,
    made_for: Cell<u64>,
    text: Cell<[u8; DATE_SIZE]>,
    format: TimeFormat,
    /// Where the text is made: kept, so that a new second allocates nothing.
    made: RefCell<Vec<u8>>,
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_SIZE: usize = 29;

impl Date {
    /// Counts from `now`. The clock on the wall is asked once a second at most, so that a step of it is followed within one.
    pub(crate) fn new(now: Instant, wall: fn() -> SystemTime) -> Self {
        Self {
            wall,
            base: Cell::new((now, since_1970(wall()))),
            made_for: Cell::new(u64::MAX),
            text: Cell::new([0; DATE_SIZE]),
            format: TimeFormat::parse("%a, %d %b %Y %H:%M:%S GMT").expect("letters that are known"),
            made: RefCell::new(Vec::with_capacity(DATE_SIZE)),
        }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn nanos(&self, now: Instant) -> u64 {
        let (base, wall) = self.base.get();
        let since = now.saturating_duration_since(base);
        if since >= BASE_AGE_MAX {
            let wall = since_1970((self.wall)());
            self.base.set((now, wall));
            return nanos(wall);
        }
        // What began before the last look at the clock is told by that look, too.
        nanos((wall + since).saturating_sub(base.saturating_duration_since(now)))
    }

    pub(crate) fn text(&self, now: Instant) -> [u8; DATE_SIZE] {
        let nanos = self.nanos(now);
        let seconds = nanos / 1_000_000_000;
        if self.made_for.replace(seconds) != seconds {
            let made = &mut *self.made.borrow_mut();
            made.clear();
            self.format.write(nanos, made);
            self.text.set(made.as_slice().try_into().expect("four digits of a year"));
        }
        self.text.get()
    }
}

/// How old the pair of clocks may be by which an instant becomes a time of day.
const BASE_AGE_MAX: Duration = Duration::from_secs(1);

fn since_1970(wall: SystemTime) -> Duration {
    wall.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Whole milliseconds between two instants.
#[inline]
pub(crate) fn elapsed_ms(since: Instant, now: Instant) -> u64 {
    now.ms_since(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    /// A clock on the wall that stands where it is put.
    static WALL: AtomicU64 = AtomicU64::new(0);

    #[test]
    fn dates_as_the_rfc_writes_them_follow_the_clock() {
        let wall = || UNIX_EPOCH + Duration::from_secs(WALL.load(Relaxed));
        for (seconds, text) in [
            (10, "Thu, 01 Jan 1970 00:00:10 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_102_444_800, "Fri, 01 Jan 2100 00:00:00 GMT"),
        ] {
            let now = Instant::now();
            WALL.store(seconds, Relaxed);
            let date = Date::new(now, wall);
            let check = |at: Instant, expect: &str| assert_eq!(std::str::from_utf8(&date.text(at)), Ok(expect));
            check(now, text);
            check(now + Duration::from_millis(999), text);
            // An hour back: what comes a second after the last look follows, what began before it is told by it.
            WALL.store(784_108_177, Relaxed);
            check(now + Duration::from_secs(1), "Sun, 06 Nov 1994 07:49:37 GMT");
            check(now + Duration::from_millis(500), "Sun, 06 Nov 1994 07:49:36 GMT");
            check(now + Duration::from_millis(1500), "Sun, 06 Nov 1994 07:49:37 GMT");
        }
    }
}
