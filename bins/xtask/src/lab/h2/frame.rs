//! Frames of HTTP/2 (RFC 9113 §4, §6) as bytes: writes any, right or wrong, and reads what a peer sent.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What a client sends first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The 9 bytes before a payload.
pub(crate) const HEADER_SIZE: usize = 9;

/// Types of frames, by their numbers.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags, by their bits.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Error codes (RFC 9113 §7), by their names there.
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// The name of an error code.
pub(crate) fn code_name(code: u32) -> String {
    CODES.get(code as usize).map_or_else(|| format!("code {code}"), |name| (*name).to_owned())
}

/// The error code of this name.
pub(crate) fn code_named(name: &str) -> u32 {
    CODES.iter().position(|known| *known == name).expect("a name of RFC 9113 §7") as u32
}

/// One frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// Without the reserved bit.
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Whether it is of this type and has this flag.
    pub(crate) fn is(&self, kind: u8, flag: u8) -> bool {
        self.kind == kind && self.flags & flag == flag
    }

    /// Whether it is an ACK of SETTINGS or PING.
    pub(crate) fn is_ack(&self, kind: u8) -> bool {
        self.is(kind, flag::ACK)
    }

    /// Whether it ends its stream.
    pub(crate) fn ends(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & flag::END_STREAM != 0
    }

    /// The error code of a RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        self.word(at)
    }

    /// The 32 bits at this place of the payload; 0 where it is shorter.
    pub(crate) fn word(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    }

    /// The payload without padding and priority.
    pub(crate) fn content(&self) -> io::Result<&[u8]> {
        let mut content = self.payload.as_slice();
        if self.flags & flag::PADDED != 0 {
            let (padding, rest) = content.split_first().ok_or_else(|| bad("no pad length"))?;
            let size = rest.len().checked_sub(usize::from(*padding)).ok_or_else(|| bad("more padding than payload"))?;
            content = &rest[..size];
        }
        if self.is(kind::HEADERS, flag::PRIORITY) {
            content = content.get(5..).ok_or_else(|| bad("no priority"))?;
        }
        Ok(content)
    }

    /// A line for people.
    pub(crate) fn line(&self) -> String {
        let names = [
            "DATA",
            "HEADERS",
            "PRIORITY",
            "RST_STREAM",
            "SETTINGS",
            "PUSH_PROMISE",
            "PING",
            "GOAWAY",
            "WINDOW_UPDATE",
        ];
        let name = names.get(usize::from(self.kind)).map_or("another", |name| *name);
        let code = match self.kind {
            kind::RST_STREAM | kind::GOAWAY => format!(" {}", code_name(self.code())),
            _ => String::new(),
        };
        format!("{name} of stream {} flags {:#x} with {} bytes{code}", self.stream, self.flags, self.payload.len())
    }
}

/// The bytes of one frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).expect("a judge's own payload").to_be_bytes();
    let mut bytes = vec![size[1], size[2], size[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// SETTINGS with these entries.
pub(crate) fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        entries.iter().flat_map(|(id, value)| id.to_be_bytes().into_iter().chain(value.to_be_bytes())).collect();
    frame(kind::SETTINGS, 0, 0, &payload)
}

/// RST_STREAM.
pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// WINDOW_UPDATE.
pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// GOAWAY without debug data.
pub(crate) fn go_away(last: u32, code: u32) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend(code.to_be_bytes());
    frame(kind::GOAWAY, 0, 0, &payload)
}

/// What came next from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Frame(Frame),
    /// The connection is at its end, by FIN or by a reset.
    Closed {
        by_reset: bool,
    },
    /// Nothing, within the time.
    Silence,
}

/// Takes frames out of the bytes of a connection, from the front.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    input: Vec<u8>,
    begin: usize,
}

impl Reader {
    /// Bytes that came.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.input.drain(..self.begin);
        self.begin = 0;
        self.input.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let header = self.input.get(self.begin..self.begin + HEADER_SIZE)?;
        let size = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let (kind, flags) = (header[3], header[4]);
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]) & 0x7FFF_FFFF;
        let from = self.begin + HEADER_SIZE;
        let payload = self.input.get(from..from + size)?.to_vec();
        self.begin = from + size;
        Some(Frame { kind, flags, stream, payload })
    }

    /// Takes what must stand before the first frame: the client's preface.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Option<bool> {
        let have = self.input.get(self.begin..self.begin + bytes.len())?;
        let same = have == bytes;
        self.begin += bytes.len();
        Some(same)
    }

    /// Waits for the next frame, at most until then.
    pub(crate) fn hear(&mut self, stream: &TcpStream, until: Instant) -> Heard {
        loop {
            if let Some(frame) = self.next() {
                return Heard::Frame(frame);
            }
            match self.read_more(stream, until) {
                Ok(true) => {}
                Ok(false) => return Heard::Closed { by_reset: false },
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Heard::Silence,
                Err(_) => return Heard::Closed { by_reset: true },
            }
        }
    }

    /// Waits for more bytes, at most until then; false at the end of the connection.
    pub(crate) fn read_more(&mut self, mut stream: &TcpStream, until: Instant) -> io::Result<bool> {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 16 << 10];
        loop {
            match stream.read(&mut piece) {
                Ok(size) => {
                    self.push(&piece[..size]);
                    return Ok(size > 0);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written_however_the_bytes_are_cut() {
        let mut wire = frame(kind::HEADERS, flag::PADDED | flag::PRIORITY, 5, b"\x02\0\0\0\0\x10field\0\0");
        wire.extend(go_away(7, 11));
        let mut reader = Reader::default();
        let mut frames = Vec::new();
        for byte in wire {
            reader.push(&[byte]);
            frames.extend(reader.next());
        }
        let [headers, end] = frames.as_slice() else { panic!("{frames:?}") };
        assert_eq!((headers.kind, headers.stream, headers.content().unwrap()), (kind::HEADERS, 5, b"field".as_slice()));
        assert_eq!((end.word(0), code_name(end.code()).as_str()), (7, "ENHANCE_YOUR_CALM"));
        assert_eq!(code_named("ENHANCE_YOUR_CALM"), 11);
    }
}
