//! The time formats of `%START_TIME(...)%`: strftime's letters as pieces, in UTC.
//!
//! It reads no clock and knows no time zone: an instant comes in as nanoseconds since 1970. Envoy's additions are the
//! fractions `%f`, `%1f` ... `%9f`, and `%1s` ... `%9s`, seconds since 1970 with so many digits of the fraction behind them.

/// A time format, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFormat {
    pieces: Vec<TimePiece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TimePiece {
    Text(String),
    /// One of [`LETTERS`].
    Letter(u8),
    /// So many digits of the fraction of the second.
    Fraction(u8),
    /// Seconds since 1970, then so many digits of the fraction.
    Epoch(u8),
}

/// What strftime's letters we write; the rest is refused when a format is read.
const LETTERS: &[u8] = b"YmdHMSyCeIjpaAbBhDFRTuwzZ";
/// Nanoseconds in a second.
const NANOS: u64 = 1_000_000_000;
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Default for TimeFormat {
    /// ISO 8601 with milliseconds: `2018-11-13T20:20:39.000Z`.
    fn default() -> Self {
        Self::parse("%Y-%m-%dT%H:%M:%S.%3fZ").expect("our own format")
    }
}

impl TimeFormat {
    /// Reads a format.
    ///
    /// # Errors
    /// The byte offset of the `%` that begins what is not supported, and why.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text.char_indices();
        while let Some((at, char)) = rest.next() {
            if char != '%' {
                plain.push(char);
                continue;
            }
            let mut after = text[at + 1..].chars();
            let mut letter = after.next();
            let digits = letter.and_then(|letter| letter.to_digit(10)).filter(|digits| *digits > 0);
            if digits.is_some() {
                letter = after.next();
            }
            let piece = match (digits, letter) {
                (None, Some('%')) => {
                    plain.push('%');
                    rest.next();
                    continue;
                }
                (digits, Some('f')) => TimePiece::Fraction(digits.unwrap_or(9) as u8),
                (digits, Some('s')) => TimePiece::Epoch(digits.unwrap_or(0) as u8),
                (None, Some(letter)) if u8::try_from(letter).is_ok_and(|byte| LETTERS.contains(&byte)) => {
                    TimePiece::Letter(letter as u8)
                }
                // Envoy: "Invalid header configuration. Format string contains newline."
                (_, Some('n')) => return Err((at, "a time format must not contain a line end".to_owned())),
                (_, Some(letter)) => return Err((at, format!("%{letter} is not supported in a time format"))),
                (_, None) => return Err((at, "the time format ends within a %".to_owned())),
            };
            rest.next();
            if digits.is_some() {
                rest.next();
            }
            if !plain.is_empty() {
                pieces.push(TimePiece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
        }
        if !plain.is_empty() {
            pieces.push(TimePiece::Text(plain));
        }
        Ok(Self { pieces })
    }

    /// Writes the instant that lies `nanos` nanoseconds after 1970 began.
    pub fn write(&self, nanos: u64, out: &mut Vec<u8>) {
        self.write_pieces(nanos, out, |_, _| {});
    }

    /// The same, with `text` kept from the last time: within a second only fractions change.
    pub fn write_again(&self, nanos: u64, text: &mut TimeText, out: &mut Vec<u8>) {
        let (second, fraction) = (nanos / NANOS, nanos % NANOS);
        let TimeText { made_for, bytes, fractions } = text;
        if *made_for != Some(second) {
            *made_for = Some(second);
            bytes.clear();
            fractions.clear();
            self.write_pieces(nanos, bytes, |end, digits| fractions.push((end, digits)));
        }
        let begin = out.len();
        out.extend_from_slice(bytes);
        for &(end, digits) in &*fractions {
            let mut left = fraction / TENS[9 - usize::from(digits)];
            for place in out[begin + end - usize::from(digits)..begin + end].iter_mut().rev() {
                *place = b'0' + (left % 10) as u8;
                left /= 10;
            }
        }
    }

    /// Writes it, and tells where each fraction ends, from where the text began, and its digits.
    fn write_pieces(&self, nanos: u64, out: &mut Vec<u8>, mut fraction_ends: impl FnMut(usize, u8)) {
        let (seconds, fraction) = (nanos / NANOS, nanos % NANOS);
        let date = Date::of(seconds / 86_400);
        let second = (seconds % 86_400) as u32;
        let begin = out.len();
        for piece in &self.pieces {
            match piece {
                TimePiece::Text(text) => out.extend_from_slice(text.as_bytes()),
                TimePiece::Letter(letter) => date.write(*letter, second, out),
                TimePiece::Fraction(digits) => {
                    put_fraction(fraction, *digits, out);
                    fraction_ends(out.len() - begin, *digits);
                }
                TimePiece::Epoch(digits) => {
                    put_number(seconds, 1, b'0', out);
                    put_fraction(fraction, *digits, out);
                    fraction_ends(out.len() - begin, *digits);
                }
            }
        }
    }
}

/// A time as it was written last.
#[derive(Clone, Debug, Default)]
pub struct TimeText {
    /// The second since 1970.
    made_for: Option<u64>,
    bytes: Vec<u8>,
    /// Where fractions of the second end, and how many digits each has.
    fractions: Vec<(usize, u8)>,
}

/// Powers of ten.
const TENS: [u64; 10] = {
    let mut tens = [1; 10];
    let mut at = 1;
    while at < tens.len() {
        tens[at] = tens[at - 1] * 10;
        at += 1;
    }
    tens
};

/// A day of the proleptic Gregorian calendar.
struct Date {
    year: u64,
    /// 0 is January.
    month: usize,
    /// 1 is the first of the month.
    day: u64,
    /// 1 is the first of January.
    day_of_year: u64,
    /// 0 is Thursday, as 1970 began.
    weekday: usize,
}

impl Date {
    /// The day so many days after 1970-01-01, by the arithmetic of 400-year eras.
    fn of(days: u64) -> Self {
        // Years begin in March here, so that the leap day is a year's last.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * from_march + 2) / 153;
        let month = ((month_from_march + 2) % 12) as usize;
        let year = era * 400 + year_of_era + u64::from(month < 2);
        let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        // March begins after 59 days, or 60.
        let day_of_year = if month < 2 { from_march - 306 } else { from_march + 59 + u64::from(is_leap) };
        Self {
            year,
            month,
            day: from_march - (153 * month_from_march + 2) / 5 + 1,
            day_of_year: day_of_year + 1,
            weekday: (days % 7) as usize,
        }
    }

    fn write(&self, letter: u8, second: u32, out: &mut Vec<u8>) {
        let (hour, minute, second) = (u64::from(second / 3_600), u64::from(second / 60 % 60), u64::from(second % 60));
        let hour12 = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
        let month = self.month as u64 + 1;
        let mut two = |value: u64| put_number(value, 2, b'0', out);
        match letter {
            b'Y' => put_number(self.year, 1, b'0', out),
            b'C' => two(self.year / 100),
            b'y' => two(self.year % 100),
            b'm' => two(month),
            b'd' => two(self.day),
            b'H' => two(hour),
            b'I' => two(hour12),
            b'M' => two(minute),
            b'S' => two(second),
            b'e' => put_number(self.day, 2, b' ', out),
            b'j' => put_number(self.day_of_year, 3, b'0', out),
            b'p' => out.extend_from_slice(if hour < 12 { b"AM" } else { b"PM" }),
            b'a' => out.extend_from_slice(&DAYS[self.weekday].as_bytes()[..3]),
            b'A' => out.extend_from_slice(DAYS[self.weekday].as_bytes()),
            b'b' | b'h' => out.extend_from_slice(&MONTHS[self.month].as_bytes()[..3]),
            b'B' => out.extend_from_slice(MONTHS[self.month].as_bytes()),
            // Monday is 1, Sunday 7.
            b'u' => put_number((self.weekday as u64 + 3) % 7 + 1, 1, b'0', out),
            // Sunday is 0.
            b'w' => put_number((self.weekday as u64 + 4) % 7, 1, b'0', out),
            b'z' => out.extend_from_slice(b"+0000"),
            b'Z' => out.extend_from_slice(b"UTC"),
            b'D' => joined(&[month, self.day, self.year % 100], b'/', out),
            b'F' => {
                put_number(self.year, 1, b'0', out);
                out.push(b'-');
                joined(&[month, self.day], b'-', out);
            }
            b'R' => joined(&[hour, minute], b':', out),
            b'T' => joined(&[hour, minute, second], b':', out),
            other => unreachable!("{other} is not among the letters"),
        }
    }
}

/// Two-digit numbers with something between them.
fn joined(values: &[u64], between: u8, out: &mut Vec<u8>) {
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(between);
        }
        put_number(*value, 2, b'0', out);
    }
}

/// The first digits of a fraction that is given in nanoseconds; cut, not rounded.
fn put_fraction(nanos: u64, digits: u8, out: &mut Vec<u8>) {
    if digits > 0 {
        put_number(nanos / TENS[9 - usize::from(digits)], usize::from(digits), b'0', out);
    }
}

/// A number of at least `digits` digits, with `pad` in front of shorter ones.
pub fn put_number(mut number: u64, digits: usize, pad: u8, out: &mut Vec<u8>) {
    let mut text = [pad; 20]; // u64::MAX has 20
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at.min(text.len() - digits)..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &str, nanos: u64, expect: &str) {
        let mut out = Vec::new();
        let format = TimeFormat::parse(format).expect("a format");
        format.write(nanos, &mut out);
        assert_eq!(String::from_utf8(out).expect("text"), expect);
        // With a text kept from another second, from this one, and from another time of this one.
        let mut text = TimeText::default();
        for kept in [nanos + NANOS, nanos - nanos % NANOS, nanos, nanos - nanos % NANOS + 999_999_999] {
            format.write_again(kept, &mut text, &mut Vec::new());
            let mut out = b"before".to_vec();
            format.write_again(nanos, &mut text, &mut out);
            assert_eq!(String::from_utf8_lossy(&out[6..]), expect);
        }
    }

    #[test]
    fn times_as_strftime_writes_them() {
        let nanos = 784_111_777_012_345_678;
        for (format, expect) in [
            ("%Y-%m-%dT%H:%M:%S.%3fZ", "1994-11-06T08:49:37.012Z"),
            ("%a, %d %b %Y %T %Z|%A %B %e", "Sun, 06 Nov 1994 08:49:37 UTC|Sunday November  6"),
            ("%s %3s %9s %f %6f %1f", "784111777 784111777012 784111777012345678 012345678 012345 0"),
            ("%F %R %D %I%p %j %u %w %y %C %z %%d", "1994-11-06 08:49 11/06/94 08AM 310 7 0 94 19 +0000 %d"),
            ("", ""),
        ] {
            check(format, nanos, expect);
        }
        check("%F %j %u %I %p", 0, "1970-01-01 001 4 12 AM");
        check("%F %j", 951_782_400 * NANOS, "2000-02-29 060");
        check("%F %j", 978_220_800 * NANOS, "2000-12-31 366");
        check("%F %j", 4_107_542_400 * NANOS, "2100-03-01 060");
        let mut out = Vec::new();
        TimeFormat::default().write(nanos, &mut out);
        assert_eq!(out, b"1994-11-06T08:49:37.012Z");
    }

    #[test]
    fn what_is_not_written_is_refused_where_it_stands() {
        for (format, at) in [("%Y %n", 3), ("é%Q", 2), ("%", 0), ("%Y%3", 2), ("%3Y", 0), ("%E3S", 0), ("%0f", 0)] {
            assert_eq!(TimeFormat::parse(format).map_err(|(at, _)| at), Err(at), "{format}");
        }
    }
}
