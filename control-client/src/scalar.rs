//! The JSON spellings of protobuf's scalars, as lenient as Envoy's parser is (observed on Envoy 1.40).
//!
//! Pure functions from a node's content to a value; an error is the rule that the text breaks.

use std::time::Duration;

use crate::document::{Content, Node};

type Read<T> = Result<T, String>;

/// The longest duration: protobuf's own limit is 10,000 years, Envoy's is what 64 bits of nanoseconds hold.
const DURATION_SECONDS_MAX: u64 = 9_223_372_036;

/// `true`, `false`, and as strings also `t`, `yes`, `y`, `1` and their opposites (absl::SimpleAtob).
pub(crate) fn boolean(node: &Node) -> Read<bool> {
    match node.content() {
        Content::Bool(value) => Ok(*value),
        Content::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => Ok(true),
            "false" | "f" | "no" | "n" | "0" => Ok(false),
            _ => Err(format!("expected a bool, found {text:?}")),
        },
        _ => Err(format!("expected a bool, found {}", node.noun())),
    }
}

/// A whole number between `min` and `max`: `5`, `"5"`, `5.0`, `5e3`, `"0x10"`.
pub(crate) fn integer(node: &Node, min: i128, max: i128) -> Read<i128> {
    let value = match node.content() {
        Content::Int(value) => i128::from(*value),
        Content::Text(text) => whole(text)?,
        _ => return Err(format!("expected a number, found {}", node.noun())),
    };
    if (min..=max).contains(&value) { Ok(value) } else { Err(format!("{value} is not between {min} and {max}")) }
}

fn whole(text: &str) -> Read<i128> {
    if let Ok(value) = text.parse::<i128>() {
        return Ok(value);
    }
    if let Some(value) = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
        return Ok(i128::from(value));
    }
    let value = decimal(text).ok_or_else(|| format!("expected a number, found {text:?}"))?;
    if value.fract() != 0.0 {
        return Err(format!("expected a whole number, found {text:?}"));
    }
    Ok(value as i128)
}

/// A number with digits, without the words that `f64::from_str` also takes.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    plain.then(|| text.parse().ok()).flatten()
}

/// A float or double; as strings also `NaN`, `Infinity` and `-Infinity`.
pub(crate) fn double(node: &Node) -> Read<f64> {
    match node.content() {
        Content::Int(value) => Ok(*value as f64),
        Content::Text(text) => match &**text {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            text => decimal(text).ok_or_else(|| format!("expected a number, found {text:?}")),
        },
        _ => Err(format!("expected a number, found {}", node.noun())),
    }
}

/// Only what YAML reads as a string: `1` or `true` want quotes.
pub(crate) fn text(node: &Node) -> Read<String> {
    match node.content() {
        Content::Text(text) => Ok(text.to_string()),
        Content::Bool(_) | Content::Int(_) => {
            Err(format!("expected a string, found {}: put it in quotes", node.noun()))
        }
        _ => Err(format!("expected a string, found {}", node.noun())),
    }
}

/// Base64 with either alphabet, with or without padding.
pub(crate) fn bytes(node: &Node) -> Read<Vec<u8>> {
    let text = text(node)?;
    base64(text.trim_end_matches('=')).ok_or_else(|| "expected base64".to_owned())
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // One digit alone holds no byte.
    (text.len() % 4 != 1).then_some(out)
}

/// `<seconds>[.<up to 9 digits>]s`. Envoy also takes the object `{seconds, nanos}`, which the reader turns into this.
pub(crate) fn duration(node: &Node) -> Read<Duration> {
    let Content::Text(text) = node.content() else {
        return Err(format!("expected a duration such as \"1.5s\", found {}", node.noun()));
    };
    let wrong = || format!("expected a duration such as \"1.5s\" (seconds, nothing else), found {text:?}");
    let number = text.strip_suffix('s').ok_or_else(wrong)?;
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return Err(wrong());
    }
    let nanos = fraction.parse::<u32>().map_err(|_| wrong())? * 10u32.pow(9 - fraction.len() as u32);
    // More digits than 64 bits hold are out of range, too.
    span(seconds.parse().unwrap_or(u64::MAX), nanos, negative)
}

/// A duration from its parts.
pub(crate) fn span(seconds: u64, nanos: u32, negative: bool) -> Read<Duration> {
    if negative && (seconds, nanos) != (0, 0) {
        return Err("a duration must not be negative".into());
    }
    if seconds >= DURATION_SECONDS_MAX || nanos >= 1_000_000_000 {
        return Err(format!("a duration must be shorter than {DURATION_SECONDS_MAX} s"));
    }
    Ok(Duration::new(seconds, nanos))
}
