//! How far the reading of one head has come, and which rule a bad head broke first.
//!
//! It never accepts anything: it says "parse now", "wait" or "refuse". Invariant: the work on one head is linear in its
//! length however it arrives, because it is parsed whole only at the first attempt (so that garbage is refused early), when
//! its end was seen, and when its length has doubled.

use crate::chars::{is_space, is_target, is_token, is_value};
use crate::error::Rule;
use crate::limits::Limits;
use memchr::memchr_iter;

const VERSION_BYTES: usize = 8;

/// The longest method there is room for; the registered ones have 17 bytes at most (RFC 9110 §9.1: 501 for the rest).
pub(super) const METHOD_BYTES_MAX: usize = 32;

/// What decoding a head gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<T> {
    /// Nothing is wrong so far; call again with the same bytes followed by more.
    Partial,
    /// The head, and how many bytes it took.
    Complete {
        /// The decoded head.
        head: T,
        /// Bytes of it, the empty line included.
        consumed: usize,
    },
}

/// Where an earlier attempt on this head stopped. Use `HeadScan::default()` for each new head, and the same one for as long
/// as the head is partial.
#[derive(Debug, Default, Clone, Copy)]
pub struct HeadScan {
    /// Bytes there were at the last whole parse.
    parsed: u32,
    /// Bytes searched for line ends.
    searched: u32,
    /// Where the start line ends; 0 while that is not known.
    start_line_end: u32,
}

pub(super) enum Next {
    Parse,
    Wait,
}

impl HeadScan {
    /// Whether `bytes` are worth a parse. `Err` when a line ends in LF alone, or CR stands where it may not.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Next, ()> {
        if self.parsed == 0 {
            return Ok(Next::Parse);
        }
        let ended = self.search(bytes)?;
        Ok(if ended || bytes.len() >= 2 * self.parsed as usize { Next::Parse } else { Next::Wait })
    }

    /// A whole parse wanted more bytes than `bytes`.
    pub(super) fn parsed_partial(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.parsed = bytes.len() as u32;
        self.search(bytes).map(|_| ())
    }

    /// Looks at the line ends that are new; true when one of them ends the head.
    fn search(&mut self, bytes: &[u8]) -> Result<bool, ()> {
        let from = (self.searched as usize).min(bytes.len());
        self.searched = bytes.len() as u32;
        for offset in memchr_iter(b'\n', &bytes[from..]) {
            let line_end = from + offset;
            if line_end == 0 || bytes[line_end - 1] != b'\r' {
                return Err(()); // RFC 9112 §2.2: a bare LF may end a line for a lenient reader; we have none.
            }
            // The empty line that may come before is two bytes.
            if line_end > 1 && self.start_line_end == 0 {
                self.start_line_end = line_end as u32;
            }
            if line_end >= 3 && bytes[line_end - 3..line_end] == *b"\r\n\r" {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a partial head is already too large for.
    pub(super) fn too_large(&self, bytes: &[u8], is_request: bool, limits: &Limits) -> Option<Rule> {
        if is_request {
            // "HTTP/1.1", two spaces and a CR: what may be there beside method and target.
            const AROUND: usize = 11;
            let line_end = if self.start_line_end == 0 { bytes.len() } else { self.start_line_end as usize };
            let line = &bytes[..line_end];
            let line = line.strip_prefix(b"\r\n").unwrap_or(line);
            if line.len() > METHOD_BYTES_MAX && line[..=METHOD_BYTES_MAX].iter().all(|&b| is_token(b)) {
                return Some(Rule::MethodTooLong);
            }
            if line.len() > METHOD_BYTES_MAX + limits.target_bytes_max + AROUND {
                return Some(Rule::TargetTooLong);
            }
        }
        (bytes.len() > limits.head_bytes_max).then_some(Rule::HeadTooLarge)
    }
}

/// The empty line that may precede a request line (RFC 9112 §2.2): how many bytes it takes, `None` when that is not known
/// yet.
pub(super) fn leading_line(bytes: &[u8]) -> Result<Option<usize>, Rule> {
    match bytes {
        [] | [b'\r'] | [b'\r', b'\n', b'\r'] => Ok(None),
        [b'\r', b'\n', b'\r', b'\n', ..] => Err(Rule::EmptyLines),
        [b'\n', ..] | [b'\r', b'\n', b'\n', ..] => Err(Rule::BareLf),
        [b'\r', b'\n', b'\r', ..] => Err(Rule::BareCr),
        [b'\r', b'\n', ..] => Ok(Some(2)),
        [b'\r', ..] => Err(Rule::BareCr),
        _ => Ok(Some(0)),
    }
}

/// The first rule that the bytes of a request head break, byte by byte, so that the answer does not depend on how they
/// arrived. For heads that are refused anyway: cold.
#[cold]
pub(super) fn diagnose_request(bytes: &[u8]) -> Option<Rule> {
    let mut at = bytes.iter().take_while(|&&b| is_token(b)).count();
    if at > METHOD_BYTES_MAX {
        return Some(Rule::MethodTooLong);
    }
    match bytes.get(at)? {
        b' ' if at > 0 => at += 1,
        b'\n' | b'\r' => return Some(Rule::RequestLine),
        _ => return Some(Rule::MethodToken),
    }
    let target = bytes[at..].iter().take_while(|&&b| is_target(b)).count();
    at += target;
    match bytes.get(at)? {
        b' ' if target > 0 => at += 1,
        // RFC 9112 §2.3: a request line without a version is HTTP/0.9.
        b'\r' | b'\n' | b' ' => return Some(Rule::RequestLine),
        _ => return Some(Rule::TargetByte),
    }
    if let Some(rule) = diagnose_version(&bytes[at..], Rule::RequestLine) {
        return Some(rule);
    }
    at += VERSION_BYTES;
    match bytes.get(at..)? {
        [] | [b'\r'] => return None,
        [b'\r', b'\n', ..] => at += 2,
        [b'\r', ..] => return Some(Rule::BareCr),
        [b'\n', ..] => return Some(Rule::BareLf),
        _ => return Some(Rule::RequestLine),
    }
    diagnose_fields(&bytes[at..])
}

/// As [`diagnose_request`], for a response head.
#[cold]
pub(super) fn diagnose_response(bytes: &[u8]) -> Option<Rule> {
    if let Some(rule) = diagnose_version(bytes, Rule::StatusLine) {
        return Some(rule);
    }
    for (&byte, expected) in bytes.iter().skip(VERSION_BYTES).zip(b" ###") {
        let fits = if *expected == b'#' { byte.is_ascii_digit() } else { byte == *expected };
        if !fits {
            return Some(Rule::StatusLine);
        }
    }
    let reason = match bytes.get(12)? {
        b'\r' | b'\n' => 12,
        b' ' => 13,
        _ => return Some(Rule::StatusLine),
    };
    let at = reason + bytes[reason..].iter().take_while(|&&b| is_value(b)).count();
    match &bytes[at..] {
        [] | [b'\r'] => None,
        [b'\r', b'\n', rest @ ..] => diagnose_fields(rest),
        [b'\r', ..] => Some(Rule::BareCr),
        [b'\n', ..] => Some(Rule::BareLf),
        _ => Some(Rule::StatusLine),
    }
}

/// "HTTP/1.0" and "HTTP/1.1" pass; other numbers are another version, anything else is `otherwise`.
fn diagnose_version(bytes: &[u8], otherwise: Rule) -> Option<Rule> {
    // 1 and 0 stand where the digits of a version do: the major one is 1, the minor one 0 or 1.
    for (&byte, expected) in bytes.iter().zip(b"HTTP/\x01.\x00") {
        match (expected, byte) {
            (1, b'1') | (0, b'0' | b'1') => {}
            (0 | 1, b'0'..=b'9') => return Some(Rule::Version),
            (expected, byte) if *expected > 1 && byte == *expected => {}
            _ => return Some(otherwise),
        }
    }
    None
}

/// The first rule that field lines break; used for trailer sections too. Stops at the empty line.
pub(super) fn diagnose_fields(mut bytes: &[u8]) -> Option<Rule> {
    loop {
        match bytes {
            [] | [b'\r'] | [b'\r', b'\n', ..] => return None,
            [b'\r', ..] => return Some(Rule::BareCr),
            [b'\n', ..] => return Some(Rule::BareLf),
            [first, ..] if is_space(*first) => return Some(Rule::ObsFold),
            _ => {}
        }
        let name = bytes.iter().take_while(|&&b| is_token(b)).count();
        match bytes.get(name)? {
            b':' if name > 0 => {}
            byte if is_space(*byte) => return Some(Rule::SpaceBeforeColon),
            _ => return Some(Rule::FieldName),
        }
        let line = name + 1 + bytes[name + 1..].iter().take_while(|&&b| is_value(b)).count();
        match &bytes[line..] {
            [] | [b'\r'] => return None,
            [b'\r', b'\n', rest @ ..] => bytes = rest,
            [b'\r', ..] => return Some(Rule::BareCr),
            [b'\n', ..] => return Some(Rule::BareLf),
            _ => return Some(Rule::FieldValue),
        }
    }
}
