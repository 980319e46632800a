//! Whether a connection begins with HTTP, and with which version (Envoy's `http_inspector`).
//!
//! It never reads further than the request line, and judges no more of it than what tells HTTP from other protocols; the rest is the
//! decoder's. HTTP/2 is known by its preface (RFC 9113 §3.4). For HTTP/1 it is more generous than the decoder, and just as Envoy is, so that nobody
//! leaves the chain for HTTP by an oddity that some server would forgive: blanks may repeat and may stand at the end, CR may be missing or
//! repeat, the version may be any two digits or missing (HTTP/0.9). 1.1 is HTTP/1.1, all others are HTTP/1.0; whoever serves them answers
//! 400 or 505. The target begins with `/`, `*` or `letters://`, but for CONNECT. An empty line in front is no HTTP, nor is a method of
//! more than 32 bytes; the latter Envoy would take.
//!
//! A byte that no request line has at its place decides at once, so a client of a binary protocol, and of most others, waits for nothing. Where the
//! server speaks first there is no byte to look at: there the listener's timeout decides.
//!
//! Invariant: what is said of a part of the bytes is `NeedMore`, or what is said of all of them.

use crate::chars::{is_space, is_target, is_token};
use crate::http1::METHOD_BYTES_MAX;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Detected {
    /// What could still become HTTP, or no byte yet.
    NeedMore,
    /// The preface of HTTP/2.
    Http2,
    /// A request line of HTTP/1.1.
    Http11,
    /// A request line of another version.
    Http10,
    /// No HTTP.
    NotHttp,
    /// A request line longer than the limit.
    TooLarge,
}

impl Detected {
    /// What stands for it in `FilterChainMatch.application_protocols`.
    #[must_use]
    pub const fn application_protocol(self) -> Option<&'static str> {
        match self {
            Self::Http2 => Some("h2c"),
            Self::Http11 => Some("http/1.1"),
            Self::Http10 => Some("http/1.0"),
            Self::NeedMore | Self::NotHttp | Self::TooLarge => None,
        }
    }
}

/// Looks at the first bytes of a connection, of which at most `size_max` are a request line. A call costs a walk along what is there.
#[must_use]
pub fn detect(bytes: &[u8], size_max: usize) -> Detected {
    let common = bytes.iter().zip(PREFACE).take_while(|(one, other)| one == other).count();
    if common == PREFACE.len() {
        return Detected::Http2;
    }
    if common == bytes.len() {
        return Detected::NeedMore;
    }
    match line(&bytes[..bytes.len().min(size_max)]) {
        Detected::NeedMore if bytes.len() >= size_max => Detected::TooLarge,
        detected => detected,
    }
}

/// RFC 9113 §3.4
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const NAME: &[u8] = b"HTTP/";

/// What the request line says, without regard to its length.
fn line(bytes: &[u8]) -> Detected {
    use Detected::{Http10, Http11, NeedMore, NotHttp};

    let (method, rest) = split(bytes, is_token);
    if method.len() > METHOD_BYTES_MAX {
        return NotHttp;
    }
    match rest {
        [] => return NeedMore,
        [b' ' | b'\t', ..] if !method.is_empty() => {}
        _ => return NotHttp,
    }
    let (_, rest) = split(rest, is_space);
    let (target, rest) = split(rest, |byte| is_target(byte) || byte == b'#');
    if target.is_empty() && rest.is_empty() {
        return NeedMore;
    }
    if !is_target_of(method, target, !rest.is_empty()) {
        return NotHttp;
    }
    let (blanks, rest) = split(rest, is_space);
    match rest {
        [] => return NeedMore,
        [b'\r' | b'\n', ..] => return ended(rest, Http10),
        _ if blanks.is_empty() => return NotHttp,
        _ => {}
    }
    let (name, version) = rest.split_at(rest.len().min(NAME.len()));
    if !NAME.starts_with(name) {
        return NotHttp;
    }
    match version {
        [b'1', b'.', b'1', rest @ ..] => ended(rest, Http11),
        [a, b'.', b, rest @ ..] if a.is_ascii_digit() && b.is_ascii_digit() => ended(rest, Http10),
        [] => NeedMore,
        [a] | [a, b'.'] if a.is_ascii_digit() => NeedMore,
        _ => NotHttp,
    }
}

/// The bytes of a class at the start, and what follows.
fn split(bytes: &[u8], is: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().take_while(|&&byte| is(byte)).count())
}

/// Whether these bytes are a target, or the start of one.
fn is_target_of(method: &[u8], target: &[u8], is_whole: bool) -> bool {
    const SEPARATOR: &[u8] = b"://";
    match target {
        [] => false,
        [b'/' | b'*', ..] => true,
        _ if method == b"CONNECT" => true,
        _ => {
            let (scheme, rest) = split(target, |byte| byte.is_ascii_alphabetic());
            !scheme.is_empty() && (rest.starts_with(SEPARATOR) || (!is_whole && SEPARATOR.starts_with(rest)))
        }
    }
}

/// `found`, once the line has come to its end.
fn ended(rest: &[u8], found: Detected) -> Detected {
    match split(rest, |byte| is_space(byte) || byte == b'\r').1 {
        [] => Detected::NeedMore,
        [b'\n', ..] => found,
        _ => Detected::NotHttp,
    }
}
