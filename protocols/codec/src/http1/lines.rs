//! The lines of a head: where a method, a target, a version, a field name and a value end, and which rule their first wrong
//! byte breaks.
//!
//! It never looks at what a value means. Invariant: the answer depends on the bytes up to the first wrong one alone, so it is
//! the same however they arrive.
//!
//! Cost (callgrind, x86-64): about 1.5 instructions a byte, 180 a usual field with what its name means. A general tokeniser in
//! front of the same checks took 370 a field by itself, and each rule that it is lenient on was a second look.

use crate::chars::{is_host, is_space, is_target, is_token, is_value};
use crate::error::Rule;
use crate::head::Version;
use crate::lane::{ALL, LANE_BYTES, Lane};

/// The longest method there is room for; the registered ones have 17 bytes at most (RFC 9112 §3: 501 for longer ones).
pub(super) const METHOD_BYTES_MAX: usize = 32;

/// One line read, or what is missing.
pub(super) enum Line<T> {
    /// The bytes end before the line does.
    More,
    /// The line.
    Read(T),
    /// The empty line, and where what follows it begins.
    Empty(usize),
}

/// Offsets of a field line, all from the start of the bytes.
pub(super) struct FieldLine {
    pub(super) name_end: usize,
    pub(super) value_start: usize,
    pub(super) value_end: usize,
    /// Where the next line begins.
    pub(super) next: usize,
}

/// Offsets of a request line.
pub(super) struct RequestLine {
    pub(super) method_end: usize,
    pub(super) target_end: usize,
    pub(super) version: Version,
    pub(super) next: usize,
}

/// Offsets of a status line.
pub(super) struct StatusLine {
    pub(super) version: Version,
    pub(super) status: u16,
    pub(super) reason_start: usize,
    pub(super) reason_end: usize,
    pub(super) next: usize,
}

/// The field line at `start`. Inlined always: it is called once a field, and its answer would go through memory.
#[inline(always)]
pub(super) fn field_line(bytes: &[u8], start: usize) -> Result<Line<FieldLine>, Rule> {
    let name_end = start + token_len(&bytes[start..]);
    if name_end == start || bytes.get(name_end) != Some(&b':') {
        return no_name(bytes, start, name_end);
    }
    let mut value_start = name_end + 1;
    // Nearly always one space, and none at the end.
    if let Some([b' ', 0x21..=0xff]) = bytes[value_start..].first_chunk() {
        value_start += 1;
    } else {
        while bytes.get(value_start).is_some_and(|&b| is_space(b)) {
            value_start += 1;
        }
    }
    let line_end = value_start + value_len(&bytes[value_start..]);
    let Some(next) = crlf(bytes, line_end, Rule::FieldValue)? else { return Ok(Line::More) };
    let mut value_end = line_end;
    while value_end > value_start && is_space(bytes[value_end - 1]) {
        value_end -= 1;
    }
    Ok(Line::Read(FieldLine { name_end, value_start, value_end, next }))
}

/// A line that does not begin with a name and a colon: the empty line, a partial one, or a wrong one.
#[cold]
fn no_name(bytes: &[u8], start: usize, name_end: usize) -> Result<Line<FieldLine>, Rule> {
    Err(match bytes.get(name_end) {
        None => return Ok(Line::More),
        Some(b'\r') if name_end == start => match bytes.get(start + 1) {
            None => return Ok(Line::More),
            Some(b'\n') => return Ok(Line::Empty(start + 2)),
            Some(_) => Rule::BareCr,
        },
        Some(b'\n') if name_end == start => Rule::BareLf,
        Some(&b) if is_space(b) && name_end == start => Rule::ObsFold,
        Some(&b) if is_space(b) => Rule::SpaceBeforeColon,
        Some(_) => Rule::FieldName,
    })
}

/// The request line at `start`.
pub(super) fn request_line(bytes: &[u8], start: usize) -> Result<Line<RequestLine>, Rule> {
    let method_end = start + token_len(&bytes[start..]);
    if method_end - start > METHOD_BYTES_MAX {
        return Err(Rule::MethodTooLong);
    }
    match bytes.get(method_end) {
        None => return Ok(Line::More),
        Some(b' ') if method_end > start => {}
        Some(b'\r' | b'\n') => return Err(Rule::RequestLine),
        Some(_) => return Err(Rule::MethodToken),
    }
    let target_start = method_end + 1;
    let target_end = target_start + target_len(&bytes[target_start..]);
    match bytes.get(target_end) {
        None => return Ok(Line::More),
        Some(b' ') if target_end > target_start => {}
        // RFC 9112 §2.3: a request line without a version is HTTP/0.9.
        Some(b' ' | b'\r' | b'\n') => return Err(Rule::RequestLine),
        Some(b'#') => return Err(Rule::Fragment),
        Some(_) => return Err(Rule::TargetByte),
    }
    let version_start = target_end + 1;
    let version = match bytes[version_start..].first_chunk() {
        Some(b"HTTP/1.1") => Version::Http11,
        Some(b"HTTP/1.0") => Version::Http10,
        _ => return not_a_version(&bytes[version_start..], Rule::RequestLine),
    };
    Ok(match crlf(bytes, version_start + VERSION_BYTES, Rule::RequestLine)? {
        Some(next) => Line::Read(RequestLine { method_end, target_end, version, next }),
        None => Line::More,
    })
}

/// The status line at the start of `bytes`: `HTTP/1.x SP 3DIGIT`, then SP and a phrase that may be empty. RFC 9112 §4 wants the
/// SP even before an empty phrase; many servers leave it out.
pub(super) fn status_line(bytes: &[u8]) -> Result<Line<StatusLine>, Rule> {
    let version = match bytes.first_chunk() {
        Some(b"HTTP/1.1") => Version::Http11,
        Some(b"HTTP/1.0") => Version::Http10,
        _ => return not_a_version(bytes, Rule::StatusLine),
    };
    // RFC 9110 §15: codes begin with 1.
    let status = match bytes[VERSION_BYTES..].first_chunk() {
        Some([b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9']) => {
            u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
        }
        _ => return not_a_status(&bytes[VERSION_BYTES..]),
    };
    const STATUS_END: usize = VERSION_BYTES + 4;
    let reason_start = match bytes.get(STATUS_END) {
        None => return Ok(Line::More),
        Some(b' ') => STATUS_END + 1,
        Some(b'\r' | b'\n') => STATUS_END,
        Some(_) => return Err(Rule::StatusLine),
    };
    let reason_end = reason_start + value_len(&bytes[reason_start..]);
    Ok(match crlf(bytes, reason_end, Rule::StatusLine)? {
        Some(next) => Line::Read(StatusLine { version, status, reason_start, reason_end, next }),
        None => Line::More,
    })
}

const VERSION_BYTES: usize = 8;

/// What is not SP and a status code: partial or wrong.
#[cold]
fn not_a_status(bytes: &[u8]) -> Result<Line<StatusLine>, Rule> {
    let fits = bytes.iter().zip(0..4).all(|(byte, at)| match at {
        0 => *byte == b' ',
        1 => matches!(byte, b'1'..=b'9'),
        _ => byte.is_ascii_digit(),
    });
    if fits { Ok(Line::More) } else { Err(Rule::StatusLine) }
}

/// What begins neither with HTTP/1.1 nor with HTTP/1.0: partial, another version, or `otherwise`.
#[cold]
fn not_a_version<T>(bytes: &[u8], otherwise: Rule) -> Result<Line<T>, Rule> {
    // # stands where the digits of a version do.
    for (&byte, &expected) in bytes.iter().zip(b"HTTP/#.#") {
        if expected == b'#' && byte.is_ascii_digit() {
            // The major digit decides at once; after "HTTP/1." any digit that is here is not ours, or is the last byte.
            if byte != b'1' && !(byte == b'0' && bytes.get(..7) == Some(b"HTTP/1.")) {
                return Err(Rule::Version);
            }
        } else if byte != expected || expected == b'#' {
            return Err(otherwise);
        }
    }
    Ok(Line::More)
}

/// Where the next line begins when CRLF stands at `at`; `None` when the bytes end before that is known.
#[inline]
fn crlf(bytes: &[u8], at: usize, otherwise: Rule) -> Result<Option<usize>, Rule> {
    let rest = &bytes[at..];
    if rest.first_chunk() == Some(b"\r\n") { Ok(Some(at + 2)) } else { no_crlf(rest, otherwise) }
}

/// What stands where a line should end: nothing yet, or what is wrong.
#[cold]
fn no_crlf(rest: &[u8], otherwise: Rule) -> Result<Option<usize>, Rule> {
    match rest {
        [] | [b'\r'] => Ok(None),
        [b'\r', ..] => Err(Rule::BareCr),
        [b'\n', ..] => Err(Rule::BareLf),
        _ => Err(otherwise),
    }
}

/// Bytes of the token at the start.
#[inline]
fn token_len(bytes: &[u8]) -> usize {
    let letters_or_dash = |lane: Lane| lane.lower().within(b'a', b'z').or(lane.equal(b'-'));
    run_len(bytes, |lane| !letters_or_dash(lane).bits() & ALL, is_token)
}

/// Bytes up to the first that no field value has (RFC 9110 §5.5).
#[inline]
pub(super) fn value_len(bytes: &[u8]) -> usize {
    run_len(bytes, |lane| lane.within(0, 0x1f).or(lane.equal(0x7f)).bits(), is_value)
}

/// Bytes up to the first that no request target has.
#[inline]
fn target_len(bytes: &[u8]) -> usize {
    let stops = |lane: Lane| lane.within(0, 0x20).or(lane.within(0x7f, 0xff)).or(lane.equal(b'#'));
    run_len(bytes, |lane| stops(lane).bits(), is_target)
}

/// Bytes up to the first that no host has, RFC 3986 §3.2.2.
#[inline]
pub(super) fn host_bytes(bytes: &[u8]) -> usize {
    let common = |lane: Lane| {
        let digits_dash_dot_slash = lane.within(b'-', b'9');
        lane.lower().within(b'a', b'z').or(digits_dash_dot_slash)
    };
    run_len(bytes, |lane| (!common(lane).bits() & ALL) | lane.equal(b'/').bits(), is_host)
}

/// Bytes up to the first that is not one of the class `is`, a lane at a time: `stops` has the bit of each byte that may not be one.
#[inline(always)]
fn run_len(bytes: &[u8], stops: impl Fn(Lane) -> u32, is: impl Fn(u8) -> bool) -> usize {
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        let mut stops = stops(Lane::of(chunk));
        while stops != 0 {
            let stop = stops.trailing_zeros() as usize % LANE_BYTES;
            if !is(bytes[at + stop]) {
                return at + stop;
            }
            stops &= stops - 1;
        }
        at += LANE_BYTES;
    }
    rest_len(bytes, at, stops, is)
}

/// As [`run_len`] from `at` on, where less than a lane is left.
#[inline(always)]
fn rest_len(bytes: &[u8], at: usize, stops: impl Fn(Lane) -> u32, is: impl Fn(u8) -> bool) -> usize {
    let Some(chunk) = bytes.last_chunk::<LANE_BYTES>() else {
        return bytes.iter().position(|&b| !is(b)).unwrap_or(bytes.len());
    };
    let start = bytes.len() - LANE_BYTES;
    // A last lane that begins earlier: what was looked at already is shifted out.
    let mut stops = stops(Lane::of(chunk)) >> (at - start) << (at - start);
    while stops != 0 {
        let stop = stops.trailing_zeros() as usize % LANE_BYTES;
        if !is(chunk[stop]) {
            return start + stop;
        }
        stops &= stops - 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lane at a time or one at a time: every byte value at every place says the same, with more than a lane, one and less.
    #[test]
    fn lanes_and_bytes_agree() {
        for byte in 0..=255u8 {
            for (len, at) in [7, 16, 17, 31, 40].into_iter().flat_map(|len| (0..len).map(move |at| (len, at))) {
                for fill in [b'a', b'\t', 0x80, 0x7e, 0x21, b'-', b'Z', b'0'] {
                    let mut bytes = [fill; 40];
                    bytes[at] = byte;
                    let bytes = &bytes[..len];
                    let one_by_one = |is: fn(u8) -> bool| bytes.iter().position(|&b| !is(b)).unwrap_or(len);
                    assert_eq!(value_len(bytes), one_by_one(is_value), "{bytes:?}");
                    assert_eq!(target_len(bytes), one_by_one(is_target), "{bytes:?}");
                    assert_eq!(token_len(bytes), one_by_one(is_token), "{bytes:?}");
                    assert_eq!(host_bytes(bytes), one_by_one(is_host), "{bytes:?}");
                }
            }
        }
    }
}
