//! Frames (RFC 9113 §4.1, §6): nine bytes before each payload. Reading them, and writing those that we send.
//!
//! It knows no stream and no state. A payload is never copied: DATA's is the caller's to put behind the header.

use super::code::Code;

/// Bytes of a frame's header.
pub(super) const HEADER_BYTES: usize = 9;
/// The largest payload that is sent to us: we announce no other `SETTINGS_MAX_FRAME_SIZE` (RFC 9113 §4.2).
pub(super) const PAYLOAD_MAX: u32 = 1 << 14;
/// Streams have 31 bits (RFC 9113 §4.1); the bit above is ignored.
pub(super) const STREAM_MAX: u32 = (1 << 31) - 1;
/// What PRIORITY says, alone or in HEADERS.
pub(super) const PRIORITY_BYTES: usize = 5;
/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// DATA, HEADERS: the peer's side ends with it.
pub(super) const END_STREAM: u8 = 0x1;
/// SETTINGS, PING: it answers one.
pub(super) const ACK: u8 = 0x1;
/// HEADERS, CONTINUATION: the field block ends with it.
pub(super) const END_HEADERS: u8 = 0x4;
/// DATA, HEADERS: it has a padding.
pub(super) const PADDED: u8 = 0x8;
/// HEADERS: it has what PRIORITY has.
pub(super) const PRIORITIZED: u8 = 0x20;

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of its payload.
    pub(super) len: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Header {
    /// The one at the front of `bytes`, if all of it is there.
    #[inline]
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, s0, s1, s2, s3] = bytes.first_chunk::<HEADER_BYTES>()?;
        Some(Self {
            len: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & STREAM_MAX,
        })
    }

    #[inline]
    pub(super) fn write(self) -> [u8; HEADER_BYTES] {
        let [_, a, b, c] = self.len.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s0, s1, s2, s3]
    }

    #[inline]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A whole frame of `N` bytes, of which 9 are the header's.
#[inline]
fn whole<const N: usize>(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> [u8; N] {
    let mut frame = [0; N];
    frame[..HEADER_BYTES].copy_from_slice(&Header { len: payload.len() as u32, kind, flags, stream }.write());
    frame[HEADER_BYTES..].copy_from_slice(payload);
    frame
}

pub(super) fn rst_stream(stream: u32, code: Code) -> [u8; 13] {
    whole(RST_STREAM, 0, stream, &code.0.to_be_bytes())
}

pub(super) fn ping(flags: u8, payload: &[u8; 8]) -> [u8; 17] {
    whole(PING, flags, 0, payload)
}

pub(super) fn go_away(last_stream: u32, code: Code) -> [u8; 17] {
    let mut payload = [0; 8];
    payload[..4].copy_from_slice(&last_stream.to_be_bytes());
    payload[4..].copy_from_slice(&code.0.to_be_bytes());
    whole(GOAWAY, 0, 0, &payload)
}

pub(super) fn window_update(stream: u32, increment: u32) -> [u8; 13] {
    whole(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(super) fn settings_ack() -> [u8; HEADER_BYTES] {
    whole(SETTINGS, ACK, 0, &[])
}

/// The number at the front of a payload, which has it.
#[inline]
pub(super) fn number(payload: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back() {
        let header = Header { len: 0x01_02_03, kind: HEADERS, flags: END_STREAM | PADDED, stream: STREAM_MAX };
        assert_eq!(Header::read(&header.write()), Some(header));
        assert_eq!(Header::read(&header.write()[..8]), None);
        // The reserved bit is not looked at.
        assert_eq!(Header::read(&[0, 0, 0, 6, 0, 0x80, 0, 0, 7]).map(|header| header.stream), Some(7));
        assert_eq!(go_away(5, Code::CANCEL), [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 8]);
        assert_eq!(window_update(3, 256), [0, 0, 4, 8, 0, 0, 0, 0, 3, 0, 0, 1, 0]);
    }
}
