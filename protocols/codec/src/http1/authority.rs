//! Host and port, strictly: `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2).
//!
//! It never resolves or compares hosts. An empty host, userinfo, a path or a port out of range is no authority.

use std::net::Ipv6Addr;

use super::lines::host_bytes;
use crate::head::KnownAuthority;

/// Whether `bytes` are a host that is not empty, and a port (which the grammar allows to be empty).
pub(super) fn is_valid(bytes: &[u8]) -> bool {
    split(bytes, bytes.len()).is_some()
}

/// The same of the first `len` bytes. What follows them is no part of a host, and lets all of it be looked at in one lane. An authority that is
/// known is valid.
#[inline]
pub(crate) fn begins(bytes: &[u8], len: usize, known: &mut KnownAuthority) -> bool {
    len > 0 && known.is(&bytes[..len]) || begins_unknown(bytes, len, known)
}

#[inline(never)]
fn begins_unknown(bytes: &[u8], len: usize, known: &mut KnownAuthority) -> bool {
    let is_valid = split(bytes, len).is_some();
    if is_valid {
        known.learn(&bytes[..len]);
    }
    is_valid
}

/// The same with a port from 1 to 65535, as CONNECT wants it (RFC 9110 §9.3.6).
pub(super) fn is_valid_with_port(bytes: &[u8]) -> bool {
    split(bytes, bytes.len()).flatten().is_some_and(|port| port > 0)
}

/// `Some(port)` when it is an authority.
fn split(all: &[u8], len: usize) -> Option<Option<u16>> {
    let bytes = &all[..len];
    let rest = if let Some(literal) = bytes.strip_prefix(b"[") {
        let end = literal.iter().position(|&b| b == b']')?;
        std::str::from_utf8(&literal[..end]).ok()?.parse::<Ipv6Addr>().ok()?;
        &literal[end + 1..]
    } else {
        let end = host_len(all).min(len);
        if end == 0 {
            return None;
        }
        &bytes[end..]
    };
    match rest {
        [] => Some(None),
        [b':', port @ ..] => parse_port(port),
        _ => None,
    }
}

/// Bytes of the reg-name or IPv4 address at the start.
fn host_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += host_bytes(&bytes[at..]);
        // pct-encoded is "%" HEXDIG HEXDIG.
        match bytes[at..] {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => at += 3,
            _ => return at,
        }
    }
}

fn parse_port(digits: &[u8]) -> Option<Option<u16>> {
    if digits.is_empty() {
        return Some(None);
    }
    if digits.len() > 5 {
        return None;
    }
    let mut port = 0;
    for digit in digits {
        let digit = u32::from(digit.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        port = port * 10 + digit;
    }
    u16::try_from(port).ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for good in ["a", "a.test", "a.test:80", "a.test:", "127.0.0.1:8080", "[::1]", "[::1]:65535", "a_b", "a%2Eb"] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        let bad = [
            "",
            ":80",
            "u@a",
            "u:p@a",
            "a/b",
            "a b",
            "a:b",
            "a:65536",
            "a:+80",
            "a:80:80",
            "[::1",
            "[::1]x",
            "[]",
            "[a]",
            "::1",
            "a?b",
            "a#b",
            "a\\b",
            "a%",
            "a%2",
            "a%zz",
            "a,b",
            "\u{e9}",
            "a:000080",
            "[fe80::1%25eth0]",
            "a<b",
        ];
        for bad in bad {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
        // In a head, where more follows.
        for (head, len, is) in
            [("a.test:80 \r\n\r\n", 9, true), ("a%2\r\n", 3, false), ("a b\r\n", 3, false), ("\r\n", 0, false)]
        {
            let mut known = KnownAuthority::default();
            // Once more: what is known is as valid as before.
            assert_eq!([(); 2].map(|()| begins(head.as_bytes(), len, &mut known)), [is; 2], "{head:?}");
        }
        let mut known = KnownAuthority::default();
        let long = "a".repeat(33);
        for (authority, is) in [
            ("a.test", true),
            ("a.tes", true),
            ("a.test:80", true),
            ("a.test:x", false),
            (&long, true),
            ("a.test:80/", false),
        ] {
            assert_eq!(begins(authority.as_bytes(), authority.len(), &mut known), is, "{authority} after others");
        }
        assert!(is_valid_with_port(b"a:443") && is_valid_with_port(b"[::1]:1"));
        assert!(!is_valid_with_port(b"a") && !is_valid_with_port(b"a:") && !is_valid_with_port(b"a:0"));
    }
}
