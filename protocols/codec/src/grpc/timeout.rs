//! `grpc-timeout`: at most eight digits and a unit (doc/PROTOCOL-HTTP2.md, "Requests").

use std::time::Duration;

/// Bytes that [`write_timeout`] writes at most.
pub const TIMEOUT_BYTES_MAX: usize = DIGITS_MAX + 1;
const DIGITS_MAX: usize = 8;
const VALUE_MAX: u64 = 99_999_999;

/// The time that a value says. `None`: it is none, and no bound.
#[must_use]
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Writes a time as Envoy does: in milliseconds, in larger units where it has more digits than there may be. Parts of a
/// millisecond count as a whole one, so that a time is never none.
pub fn write_timeout(timeout: Duration, buffer: &mut [u8; TIMEOUT_BYTES_MAX]) -> &[u8] {
    let mut value = u64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    let mut unit = b'm';
    for (larger, many) in [(b'S', 1000), (b'M', 60), (b'H', 60)] {
        if value <= VALUE_MAX {
            break;
        }
        (unit, value) = (larger, value / many);
    }
    value = value.min(VALUE_MAX);
    let mut at = DIGITS_MAX;
    buffer[at] = unit;
    loop {
        at -= 1;
        buffer[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &buffer[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read() {
        for (text, expect) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("100m", Some(Duration::from_millis(100))),
            ("250u", Some(Duration::from_micros(250))),
            ("00000007n", Some(Duration::from_nanos(7))),
            ("0S", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("100000000S", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            (" 1S", None),
            ("1S ", None),
        ] {
            assert_eq!(parse_timeout(text.as_bytes()), expect, "{text}");
        }
    }

    #[test]
    fn timeouts_are_written() {
        for (timeout, expect) in [
            (Duration::ZERO, "0m"),
            (Duration::from_nanos(1), "1m"),
            (Duration::from_millis(1500), "1500m"),
            (Duration::from_millis(99_999_999), "99999999m"),
            (Duration::from_millis(100_000_000), "100000S"),
            (Duration::from_secs(100_000_000), "1666666M"),
            (Duration::from_secs(100_000_000 * 60), "1666666H"),
            (Duration::MAX, "99999999H"),
        ] {
            let mut buffer = [0; TIMEOUT_BYTES_MAX];
            let text = write_timeout(timeout, &mut buffer);
            assert_eq!(std::str::from_utf8(text), Ok(expect));
            assert!(parse_timeout(text).is_some());
        }
    }
}
