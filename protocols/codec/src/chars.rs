//! Classes of bytes, as the RFCs define them, in one table of bits. No meaning beyond one byte.

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const HOST: u8 = 8;
const QUOTED: u8 = 16;

const CLASSES: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut byte = 0usize;
    while byte < 256 {
        let b = byte as u8;
        let mut bits = 0;
        if b.is_ascii_alphanumeric() || is_one_of(b, b"!#$%&'*+-.^_`|~") {
            bits |= TOKEN;
        }
        if b == b'\t' || (b >= 0x20 && b != 0x7f) {
            bits |= VALUE;
            if b != b'"' && b != b'\\' {
                bits |= QUOTED;
            }
        }
        if b > 0x20 && b < 0x7f && b != b'#' {
            bits |= TARGET;
        }
        // unreserved / sub-delims but ","
        if b.is_ascii_alphanumeric() || is_one_of(b, b"-._~!$&'()*+;=") {
            bits |= HOST;
        }
        table[byte] = bits;
        byte += 1;
    }
    table
};

const fn is_one_of(byte: u8, set: &[u8]) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

const fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// tchar, RFC 9110 §5.6.2.
pub(crate) const fn is_token(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// A byte of a field value: HTAB, SP, VCHAR and obs-text (RFC 9110 §5.5).
pub(crate) const fn is_value(byte: u8) -> bool {
    is(byte, VALUE)
}

/// A byte of a request target: visible ASCII but "#". RFC 3986 allows fewer, but what clients leave unescaped
/// (`|`, `{`, `"`) has one reading only and is passed on as it is.
pub(crate) const fn is_target(byte: u8) -> bool {
    is(byte, TARGET)
}

/// A byte of reg-name or of an IPv4 address, RFC 3986 §3.2.2, but "%", which needs two digits after it, and the comma:
/// that is what two merged Host fields look like.
pub(crate) const fn is_host(byte: u8) -> bool {
    is(byte, HOST)
}

/// qdtext, RFC 9110 §5.6.4.
pub(crate) const fn is_quoted(byte: u8) -> bool {
    is(byte, QUOTED)
}

/// SP or HTAB: OWS and BWS, RFC 9110 §5.6.3.
pub(crate) const fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// A non-empty run of tchar.
pub(crate) fn is_token_all(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token(b))
}

/// `bytes` without leading and trailing OWS.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The members of a comma-separated list, trimmed, empty ones left out (RFC 9110 §5.6.1.2).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|&b| b == b',').map(trim).filter(|member| !member.is_empty())
}
