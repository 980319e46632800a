//! Durations and sizes as people write them: `250ms`, `10s`, `4k`.

use std::time::Duration;

/// A duration with a unit (`us`, `ms`, `s`, `m`, `h`); a bare number is of seconds.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(format!("{unit:?} is none of us, ms, s, m, h")),
    };
    if seconds > DURATION_MAX_S {
        return Err("longer than a year".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// As [`duration`], of one that is longer than 0.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn some_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("nothing is done in no time".into()),
        some => Ok(some),
    }
}

/// A year: longer runs are typing errors, and times in nanoseconds stay far from their end.
const DURATION_MAX_S: f64 = 366.0 * 86_400.0;

/// A size in bytes, with `k`, `m` or `g` for powers of 1024.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "" => number,
        "k" | "K" => number * 1024.0,
        "m" | "M" => number * 1024.0 * 1024.0,
        "g" | "G" => number * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("{unit:?} is none of k, m, g")),
    };
    if bytes > SIZE_MAX {
        return Err("larger than a tebibyte".into());
    }
    Ok(bytes as u64)
}

/// A tebibyte: larger sizes are typing errors.
const SIZE_MAX: f64 = (1_u64 << 40) as f64;

fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number: f64 = digits.parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    Ok((number, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expect) in [
            ("10", Some(Duration::from_secs(10))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("250ms", Some(Duration::from_millis(250))),
            ("40us", Some(Duration::from_micros(40))),
            ("2m", Some(Duration::from_secs(120))),
            ("", None),
            ("ms", None),
            ("-1s", None),
            ("5 parsecs", None),
            ("9999999999h", None),
        ] {
            assert_eq!(duration(text).ok(), expect, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expect) in [
            ("0", Some(0)),
            ("1k", Some(1024)),
            ("1.5k", Some(1536)),
            ("2M", Some(2 << 20)),
            ("1g", Some(1 << 30)),
            ("1x", None),
            ("2048g", None),
        ] {
            assert_eq!(size(text).ok(), expect, "{text}");
        }
    }
}
