//! The time of day for `Date` fields, and durations for statistics. It looks at no clock: time comes in.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringway_model::format::TimeFormat;

/// The time of day as HTTP writes it (RFC 9110 §5.6.7), made anew at most once a second.
pub(crate) struct Date {
    base: Instant,
    base_wall: Duration,
    made_for: Cell<u64>,
    text: Cell<[u8; DATE_SIZE]>,
    format: TimeFormat,
    /// Where the text is made: kept, so that a new second allocates nothing.
    made: RefCell<Vec<u8>>,
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_SIZE: usize = 29;

impl Date {
    /// Counts from `now`, which is `wall` on the clock on the wall. The clock is looked at once: a day's drift of a
    /// second does not matter to a `Date` field.
    pub(crate) fn new(now: Instant, wall: SystemTime) -> Self {
        let base_wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            base: now,
            base_wall,
            made_for: Cell::new(u64::MAX),
            text: Cell::new([0; DATE_SIZE]),
            format: TimeFormat::parse("%a, %d %b %Y %H:%M:%S GMT").expect("letters that are known"),
            made: RefCell::new(Vec::with_capacity(DATE_SIZE)),
        }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn nanos(&self, now: Instant) -> u64 {
        let since = self.base_wall + now.saturating_duration_since(self.base);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
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

/// Whole milliseconds between two instants.
#[inline]
pub(crate) fn elapsed_ms(since: Instant, now: Instant) -> u64 {
    let elapsed = now.saturating_duration_since(since);
    elapsed.as_secs() * 1000 + u64::from(elapsed.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_the_rfc_writes_them() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_102_444_800, "Fri, 01 Jan 2100 00:00:00 GMT"),
        ] {
            let now = Instant::now();
            let date = Date::new(now, UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(std::str::from_utf8(&date.text(now)), Ok(text));
            let next = date.text(now + Duration::from_millis(999));
            assert_eq!(std::str::from_utf8(&next), Ok(text), "the same second");
            assert_ne!(date.text(now + Duration::from_secs(1)), next);
        }
    }
}
