//! Records (RFC 8446 §5, RFC 5246 §6.2) once the keys are there: opened in place, sealed into the caller's buffer.
//!
//! It owns no buffer and allocates nothing. Invariant: no sequence number is used twice with one key.

use std::ops::Range;

use aws_lc_rs::aead::{self, AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

use crate::options::Version;

pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;

/// Content type, version and length.
pub(crate) const HEADER: usize = 5;
/// Plaintext of one record (RFC 8446 §5.1, RFC 5246 §6.2.1).
pub const PLAINTEXT_MAX: usize = 1 << 14;
/// What a record may have besides its plaintext: 256 bytes in TLS 1.3 (RFC 8446 §5.2), 2,048 in TLS 1.2 (RFC 5246 §6.2.3).
const EXPANSION_TLS13: usize = 256;
const EXPANSION_TLS12: usize = 2048;
/// The longest record there is.
pub const RECORD_MAX: usize = HEADER + PLAINTEXT_MAX + EXPANSION_TLS12;
/// Records that one AES-GCM key seals (RFC 8446 §5.5: 2^24.5 of full size).
const RECORDS_MAX_GCM: u64 = 1 << 24;
/// ChaCha20-Poly1305 has no such limit before the sequence numbers end; this is far below it.
const RECORDS_MAX_CHACHA: u64 = 1 << 48;

/// Why sequence numbers never begin anew (RFC 8446 §5.3).
const SEQUENCE: &str = "records are far fewer than 2^64";
const TAG: usize = 16;
/// The part of the nonce that TLS 1.2 sends with each record of AES-GCM (RFC 5288 §3).
const EXPLICIT: usize = 8;

/// How nonces and associated data are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Tls13,
    Tls12Gcm,
    Tls12ChaCha,
}

/// Why a record does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// The content type or version is none.
    NoRecord,
    /// Longer than the protocol allows.
    TooLong,
    /// The tag does not fit the bytes.
    Forged,
    /// Padding alone, without a content type (RFC 8446 §5.4).
    Empty,
}

/// The keys of one direction.
pub(crate) struct Keys {
    key: LessSafeKey,
    iv: [u8; aead::NONCE_LEN],
    sequence: u64,
    shape: Shape,
    /// Records that may be sealed before the key must change.
    records_max: u64,
}

impl Keys {
    pub(crate) fn new(version: Version, sequence: u64, secrets: &ConnectionTrafficSecrets) -> Option<Keys> {
        let (algorithm, key, iv, gcm) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, true),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, true),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv, false),
            _ => return None,
        };
        let shape = match (version, gcm) {
            (Version::Tls13, _) => Shape::Tls13,
            (Version::Tls12, true) => Shape::Tls12Gcm,
            (Version::Tls12, false) => Shape::Tls12ChaCha,
        };
        Some(Keys {
            key: LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?),
            iv: iv.as_ref().try_into().ok()?,
            sequence,
            shape,
            records_max: if gcm { RECORDS_MAX_GCM } else { RECORDS_MAX_CHACHA },
        })
    }

    /// Bytes before a record's contents.
    fn prefix(&self) -> usize {
        match self.shape {
            Shape::Tls12Gcm => HEADER + EXPLICIT,
            Shape::Tls13 | Shape::Tls12ChaCha => HEADER,
        }
    }

    /// Bytes after them.
    fn suffix(&self) -> usize {
        match self.shape {
            Shape::Tls13 => 1 + TAG,
            Shape::Tls12Gcm | Shape::Tls12ChaCha => TAG,
        }
    }

    /// The length of a record with so many bytes of contents.
    pub(crate) fn sealed_len(&self, contents: usize) -> usize {
        self.prefix() + contents + self.suffix()
    }

    /// How many more records these keys may seal.
    pub(crate) fn records_left(&self) -> u64 {
        self.records_max.saturating_sub(self.sequence)
    }

    #[cfg(test)]
    pub(crate) fn set_records_max(&mut self, records_max: u64) {
        self.records_max = records_max;
    }

    fn nonce(&self) -> [u8; aead::NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= sequence;
        }
        nonce
    }

    /// RFC 5246 §6.2.3.3.
    fn aad_tls12(&self, content: u8, length: usize) -> [u8; 13] {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
        aad[8..].copy_from_slice(&header(content, length));
        aad
    }

    /// Seals `contents` that stand in `out` at their place already, or, if given, from where they are. Returns the record's length.
    fn seal_at(&mut self, content: u8, length: usize, from: Option<&[u8]>, out: &mut [u8]) -> usize {
        debug_assert!(length <= PLAINTEXT_MAX || cfg!(test), "tests play peers that send more");
        let total = self.sealed_len(length);
        let nonce = self.nonce();
        let (prefix, rest) = out[..total].split_at_mut(self.prefix());
        let (body, tail) = rest.split_at_mut(length);
        let outer = if self.shape == Shape::Tls13 { APPLICATION_DATA } else { content };
        let head = header(outer, total - HEADER);
        prefix[..HEADER].copy_from_slice(&head);
        let explicit = &mut prefix[HEADER..];
        explicit.copy_from_slice(&nonce[aead::NONCE_LEN - explicit.len()..]);
        let inner: &[u8] = if self.shape == Shape::Tls13 { &[content] } else { &[] };
        let aad_tls12;
        let aad: &[u8] = match self.shape {
            Shape::Tls13 => &head,
            Shape::Tls12Gcm | Shape::Tls12ChaCha => {
                aad_tls12 = self.aad_tls12(content, length);
                &aad_tls12
            }
        };
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = match from {
            Some(from) => self.key.seal_out_of_place_scatter(nonce, Aad::from(aad), from, body, inner, tail),
            None => self.key.seal_in_place_scatter(nonce, Aad::from(aad), body, inner, tail),
        };
        sealed.expect("a record's lengths are within every AEAD's");
        self.sequence = self.sequence.checked_add(1).expect(SEQUENCE);
        total
    }

    /// Seals one record of these contents into `out`, which has room for it. Returns the record's length.
    pub(crate) fn seal(&mut self, content: u8, contents: &[u8], out: &mut [u8]) -> usize {
        self.seal_at(content, contents.len(), Some(contents), out)
    }

    /// Seals one record of `length` bytes that `fill` puts where they are sealed. Returns the record's length.
    pub(crate) fn seal_gathered(
        &mut self,
        content: u8,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
        out: &mut [u8],
    ) -> usize {
        let prefix = self.prefix();
        fill(&mut out[prefix..prefix + length]);
        self.seal_at(content, length, None, out)
    }

    /// The whole length of the record that begins like this; `None` while its header is incomplete.
    pub(crate) fn record_len(&self, input: &[u8]) -> Result<Option<usize>, Unopened> {
        let expansion = if self.shape == Shape::Tls13 { EXPANSION_TLS13 } else { EXPANSION_TLS12 };
        record_len(input, expansion)
    }

    /// Opens one whole record in place: its content type, and where its contents are.
    pub(crate) fn open(&mut self, record: &mut [u8]) -> Result<(u8, Range<usize>), Unopened> {
        let outer = record[0];
        if self.shape == Shape::Tls13 && outer != APPLICATION_DATA {
            return Err(Unopened::NoRecord); // RFC 8446 §5.2: after the handshake all is protected
        }
        let start = self.prefix();
        let length = record.len().checked_sub(start + TAG).ok_or(Unopened::Forged)?;
        let nonce = match self.shape {
            Shape::Tls12Gcm => {
                let mut nonce = self.iv;
                nonce[4..].copy_from_slice(&record[HEADER..start]);
                nonce
            }
            Shape::Tls13 | Shape::Tls12ChaCha => self.nonce(),
        };
        let aad_tls12;
        let head: [u8; HEADER];
        let aad: &[u8] = match self.shape {
            Shape::Tls13 => {
                head = record[..HEADER].try_into().expect("a record has its header");
                &head
            }
            Shape::Tls12Gcm | Shape::Tls12ChaCha => {
                aad_tls12 = self.aad_tls12(outer, length);
                &aad_tls12
            }
        };
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened =
            self.key.open_in_place(nonce, Aad::from(aad), &mut record[start..]).map_err(|_| Unopened::Forged)?;
        self.sequence = self.sequence.checked_add(1).expect(SEQUENCE);
        let opened_len = opened.len();
        let (content, length) = match self.shape {
            Shape::Tls13 => {
                let at = opened.iter().rposition(|&byte| byte != 0).ok_or(Unopened::Empty)?;
                (opened[at], at)
            }
            Shape::Tls12Gcm | Shape::Tls12ChaCha => (outer, length),
        };
        // RFC 8446 §5.4: padding counts, too.
        if opened_len > PLAINTEXT_MAX + usize::from(self.shape == Shape::Tls13) {
            return Err(Unopened::TooLong);
        }
        Ok((content, start..start + length))
    }
}

fn header(content: u8, length: usize) -> [u8; HEADER] {
    let length = u16::try_from(length).expect("a record is shorter than 64 KiB").to_be_bytes();
    [content, 3, 3, length[0], length[1]]
}

/// The whole length of the record that begins like this, during a handshake; `None` while its header is incomplete.
pub(crate) fn handshake_record_len(input: &[u8]) -> Result<Option<usize>, Unopened> {
    record_len(input, EXPANSION_TLS12)
}

fn record_len(input: &[u8], expansion: usize) -> Result<Option<usize>, Unopened> {
    match input {
        [content, ..] if !(CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(content) => Err(Unopened::NoRecord),
        [_, major, ..] if *major != 3 => Err(Unopened::NoRecord),
        [_, _, _, high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if length > PLAINTEXT_MAX + expansion { Err(Unopened::TooLong) } else { Ok(Some(HEADER + length)) }
        }
        _ => Ok(None),
    }
}
