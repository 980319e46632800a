//! The opening handshake of a WebSocket over HTTP/1 (RFC 6455 §4): the key that asks, and what shows that the other side has understood.
//!
//! It never looks at frames, and draws no key: chance comes in. HTTP/2 has neither field (RFC 8441 §5); who stands between the two versions makes
//! them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The field of a key, in lower case.
pub const KEY: &str = "sec-websocket-key";
/// The field of what answers a key, in lower case.
pub const ACCEPT: &str = "sec-websocket-accept";

/// Bytes of a key: 16 in Base64 (RFC 6455 §4.1).
pub const KEY_BYTES: usize = 24;
/// Bytes of what answers a key: 20 in Base64 (RFC 6455 §4.2.2).
pub const ACCEPT_BYTES: usize = 28;

/// Stands behind the key in what is hashed (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The key of these random bytes.
#[must_use]
pub fn key(nonce: [u8; 16]) -> [u8; KEY_BYTES] {
    base64(&nonce)
}

/// Whether a client may say this: Base64 of 16 bytes. The four bits that are over count for nothing (RFC 4648 §3.5 leaves it to us).
#[must_use]
pub fn is_key(value: &[u8]) -> bool {
    const DIGITS: usize = KEY_BYTES - 2;
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    value.len() == KEY_BYTES && value[..DIGITS].iter().all(is_digit) && value[DIGITS..] == *b"=="
}

/// What answers a key.
#[must_use]
pub fn accept(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    base64(&hash)
}

fn base64<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut text = [0; N];
    let size = STANDARD.encode_slice(bytes, &mut text);
    assert_eq!(size, Ok(N), "the text has the size of its bytes");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §1.3.
    #[test]
    fn the_key_of_the_rfc_and_its_answer() {
        let key = key(*b"the sample nonce");
        assert_eq!(&key, b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(&accept(&key), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_a_key() {
        for (value, expect) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("++++++++++++++++//////==", true),
            ("dGhlIHNhbXBsZSBub25jZR==", true),
            ("", false),
            ("dGhlIHNhbXBsZSBub25jZQ=", false),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("dGhlIHNhbXBsZSBub25jZ===", false),
            ("dGhlIHNhbXBsZSBub25jZWE=", false),
            ("dGhlIHNhbXBsZSBub25jZQ== ", false),
            ("dGhlIHNhbXBsZSBub25jZ_==", false),
            ("dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==", false),
        ] {
            assert_eq!(is_key(value.as_bytes()), expect, "{value}");
        }
    }
}
