//! The time of day for `Date` fields. It looks at no clock: time comes in.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time of day as HTTP writes it (RFC 9110 §5.6.7), made anew at most once a second.
pub(crate) struct Date {
    base: Instant,
    base_wall: Duration,
    made_for: Cell<u64>,
    text: Cell<[u8; DATE_SIZE]>,
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_SIZE: usize = 29;

impl Date {
    /// Counts from `now`, which is `wall` on the clock on the wall. The clock is looked at once: a day's drift of a
    /// second does not matter to a `Date` field.
    pub(crate) fn new(now: Instant, wall: SystemTime) -> Self {
        let base_wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { base: now, base_wall, made_for: Cell::new(u64::MAX), text: Cell::new([0; DATE_SIZE]) }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn nanos(&self, now: Instant) -> u64 {
        let since = self.base_wall + now.saturating_duration_since(self.base);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn text(&self, now: Instant) -> [u8; DATE_SIZE] {
        let seconds = (self.base_wall + now.saturating_duration_since(self.base)).as_secs();
        if self.made_for.replace(seconds) != seconds {
            self.text.set(imf_fixdate(seconds));
        }
        self.text.get()
    }
}

/// Seconds since 1970 as IMF-fixdate. Days to a date by the era arithmetic of the proleptic Gregorian calendar.
fn imf_fixdate(seconds: u64) -> [u8; DATE_SIZE] {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March here, so that the leap day is a year's last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let two = |value: u64| [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8];
    text[0..3].copy_from_slice(DAYS[(days % 7) as usize]);
    text[5..7].copy_from_slice(&two(day));
    text[8..11].copy_from_slice(MONTHS[month as usize]);
    text[12..14].copy_from_slice(&two(year / 100));
    text[14..16].copy_from_slice(&two(year % 100));
    text[17..19].copy_from_slice(&two(second / 3_600));
    text[20..22].copy_from_slice(&two(second / 60 % 60));
    text[23..25].copy_from_slice(&two(second % 60));
    text
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
            assert_eq!(std::str::from_utf8(&imf_fixdate(seconds)), Ok(text));
        }
    }
}
