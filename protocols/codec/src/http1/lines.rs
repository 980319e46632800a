//! The lines of a head: where a method, a target, a version, a field name and a value end, and which rule their first wrong
//! byte breaks.
//!
//! It never looks at what a value means. Invariant: the answer depends on the bytes up to the first wrong one alone, so it is
//! the same however they arrive.
//!
//! Cost (callgrind, x86-64): 140 instructions a usual field with what its name means, up to sixteen bytes of each at once. A general tokeniser in
//! front of the same checks took 370 a field by itself, and each rule that it is lenient on was a second look.

use crate::chars::{is_host, is_space, is_target, is_token, is_value};
use crate::error::Rule;
use crate::head::{Known, Version};
use crate::lane::{ALL, LANE_BYTES, Lane};

/// The longest method there is room for; the registered ones have 17 bytes at most (RFC 9112 §3: 501 for longer ones).
pub(crate) const METHOD_BYTES_MAX: usize = 32;

/// One line read, or what is missing.
pub(super) enum Line<T> {
    /// The bytes end before the line does.
    More,
    /// The line.
    Read(T),
    /// The empty line.
    Empty,
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

/// The field line at the start of `rest`, `at` of the head, if it is as nearly all are: letters, digits and dashes, a colon and one space, a value
/// without tabs and without spaces around it, CRLF. Of any other line it says nothing: see [`field_line`].
#[inline(always)]
pub(super) fn usual_line(rest: &[u8], at: usize) -> Option<(FieldLine, Known)> {
    let lane = Lane::first_of(rest);
    let stops = not_usual_in_names(lane);
    let name = if stops != 0 { stops.trailing_zeros() as usize } else { long_name(rest) };
    let (colon, value) = rest.get(name..)?.split_first_chunk()?;
    if name == 0 || colon != b": " {
        return None;
    }
    let len = stop_len(value, no_value);
    let is_bare = |at: usize| value.get(at).is_some_and(|&byte| byte != b' ');
    if value.get(len..)?.first_chunk() != Some(b"\r\n") || !is_bare(0) || !is_bare(len.wrapping_sub(1)) {
        return None;
    }
    let name_end = at + name;
    let value_start = name_end + 2;
    let value_end = value_start + len;
    let known = Known::of_letters(&rest[..name], lane);
    Some((FieldLine { name_end, value_start, value_end, next: value_end + 2 }, known))
}

/// Bytes of a name that fills a lane.
#[cold]
#[inline(never)]
fn long_name(rest: &[u8]) -> usize {
    stop_len(rest, not_usual_in_names)
}

/// The field line at `start`, whatever it looks like.
#[cold]
#[inline(never)]
pub(super) fn field_line(bytes: &[u8], start: usize) -> Result<Line<FieldLine>, Rule> {
    let name_end = start + token_len(&bytes[start..]);
    if name_end == start || bytes.get(name_end) != Some(&b':') {
        return no_name(bytes, start, name_end);
    }
    let mut value_start = name_end + 1;
    while bytes.get(value_start).is_some_and(|&b| is_space(b)) {
        value_start += 1;
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
            Some(b'\n') => return Ok(Line::Empty),
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
    let rest = &bytes[start..];
    let method_end = start + if rest.first_chunk() == Some(b"GET ") { 3 } else { token_len(rest) };
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
    let rest = &bytes[version_start..];
    if rest.first_chunk() == Some(b"HTTP/1.1\r\n") {
        let next = version_start + VERSION_BYTES + 2;
        return Ok(Line::Read(RequestLine { method_end, target_end, version: Version::Http11, next }));
    }
    let version = match rest.first_chunk() {
        Some(b"HTTP/1.1") => Version::Http11,
        Some(b"HTTP/1.0") => Version::Http10,
        _ => return not_a_version(rest, Rule::RequestLine),
    };
    Ok(match crlf(bytes, version_start + VERSION_BYTES, Rule::RequestLine)? {
        Some(next) => Line::Read(RequestLine { method_end, target_end, version, next }),
        None => Line::More,
    })
}

/// The status line at the start of `bytes`: `HTTP/1.x SP 3DIGIT`, then SP and a phrase that may be empty. RFC 9112 §4 wants the
/// SP even before an empty phrase; many servers leave it out.
pub(super) fn status_line(bytes: &[u8]) -> Result<Line<StatusLine>, Rule> {
    let version = match bytes.first_chunk().map(|version| u64::from_le_bytes(*version)) {
        Some(HTTP_1_1) => Version::Http11,
        Some(HTTP_1_0) => Version::Http10,
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
    let rest = &bytes[reason_start..];
    let reason_end = reason_start + if rest.first_chunk() == Some(b"OK\r\n") { 2 } else { value_len(rest) };
    Ok(match crlf(bytes, reason_end, Rule::StatusLine)? {
        Some(next) => Line::Read(StatusLine { version, status, reason_start, reason_end, next }),
        None => Line::More,
    })
}

const VERSION_BYTES: usize = 8;
/// Versions as one number: a pattern of bytes would be compared byte by byte.
const HTTP_1_1: u64 = u64::from_le_bytes(*b"HTTP/1.1");
const HTTP_1_0: u64 = u64::from_le_bytes(*b"HTTP/1.0");

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
#[inline(always)]
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
    run_len(bytes, not_usual_in_names, is_token)
}

/// Bytes up to the first that no field value has (RFC 9110 §5.5).
#[inline]
pub(super) fn value_len(bytes: &[u8]) -> usize {
    run_len(bytes, no_value, is_value)
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

/// The bytes of a lane that are not what nearly all names are made of.
#[inline(always)]
fn not_usual_in_names(lane: Lane) -> u32 {
    let usual = lane.lower().within(b'a', b'z').or(lane.equal(b'-')).or(lane.within(b'0', b'9'));
    !usual.bits() & ALL
}

/// The bytes of a lane that no value has, and tabs.
#[inline(always)]
fn no_value(lane: Lane) -> u32 {
    lane.within(0, 0x1f).or(lane.equal(0x7f)).bits()
}

/// Bytes up to the first of those that `stops` has the bit of; all when there is none. Zero is always one of them: it stands for the end.
#[inline(always)]
fn stop_len(bytes: &[u8], stops: impl Fn(Lane) -> u32) -> usize {
    let mut at = 0;
    loop {
        let stops = stops(Lane::first_of(&bytes[at..]));
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
        }
        at += LANE_BYTES;
    }
}

/// Bytes up to the first that is not one of the class `is`, a lane at a time: `stops` has the bit of each byte that may not be one, and
/// of zero.
#[inline(always)]
fn run_len(bytes: &[u8], stops: impl Fn(Lane) -> u32, is: impl Fn(u8) -> bool) -> usize {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let mut stops = stops(Lane::first_of(rest));
        while stops != 0 {
            let stop = stops.trailing_zeros() as usize;
            if !rest.get(stop).is_some_and(|&byte| is(byte)) {
                return at + stop;
            }
            stops &= stops - 1;
        }
        at += LANE_BYTES;
    }
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
