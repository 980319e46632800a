//! `grpc-message`: a text whose odd bytes are written as `%` and two digits (doc/PROTOCOL-HTTP2.md, "Responses").

use crate::out::Out;

/// Writes a text: visible ASCII and spaces as they are but for `%`, all else percent-encoded; `~`, too, as Envoy does. At most three times as
/// long.
pub fn encode_message(text: &[u8], out: &mut impl Out) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let is_plain = |byte: u8| (b' '..b'~').contains(&byte) && byte != b'%';
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.iter().position(|&byte| !is_plain(byte)).unwrap_or(rest.len());
        out.put(&rest[..plain]);
        rest = &rest[plain..];
        if let [odd, after @ ..] = rest {
            out.put(&[b'%', DIGITS[usize::from(odd >> 4)], DIGITS[usize::from(odd & 15)]]);
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads it back, as a client does: what is no encoding stays as it is.
    fn decode_message(value: &[u8], out: &mut Vec<u8>) {
        let mut rest = value;
        while let [byte, after @ ..] = rest {
            match (byte, after) {
                (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or_default() as u8;
                    out.put(&[digit(high) << 4 | digit(low)]);
                    rest = after;
                }
                _ => {
                    out.put(&[*byte]);
                    rest = after;
                }
            }
        }
    }

    #[test]
    fn messages_survive() {
        for (text, expect) in [
            ("", ""),
            ("no healthy upstream", "no healthy upstream"),
            ("100%", "100%25"),
            ("a\r\nb\t~\u{7f}", "a%0D%0Ab%09%7E%7F"),
            ("\u{e9}\u{2603}", "%C3%A9%E2%98%83"),
            ("%41", "%2541"),
        ] {
            let (mut encoded, mut decoded) = (Vec::new(), Vec::new());
            encode_message(text.as_bytes(), &mut encoded);
            assert_eq!(String::from_utf8_lossy(&encoded), expect);
            decode_message(&encoded, &mut decoded);
            assert_eq!(decoded, text.as_bytes());
        }
    }
}
