//! HTTP/2 by hand: frames as they lie on the wire, on either side, and heads without any coding. Sends wrong ones as readily as right ones.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::client::Client;

// RFC 9113 §6.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

// RFC 9113 §7.
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The number at this place of the payload: a code, an increment.
    pub(crate) fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

/// One connection.
pub(crate) struct Frames {
    client: Client,
}

impl Frames {
    /// Connects as a client without a setting.
    #[track_caller]
    pub(crate) fn connect(to: SocketAddr) -> Frames {
        let mut frames = Frames { client: Client::connect(to) };
        frames.client.send(PREFACE);
        frames.send(SETTINGS, 0, 0, b"");
        frames
    }

    /// Takes a connection as a server without a setting; nothing where no preface comes.
    pub(crate) fn accept(mut client: Client) -> Option<Frames> {
        if client.until(b"SM\r\n\r\n").ok()? != PREFACE {
            return None;
        }
        let mut frames = Frames { client };
        frames.send(SETTINGS, 0, 0, b"");
        Some(frames)
    }

    /// The bytes beneath.
    pub(crate) fn bytes(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Sends a frame. One that a closed connection does not take is lost.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> &mut Frames {
        let mut bytes = u32::try_from(payload.len()).expect("a frame").to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.client.try_send(&bytes);
        self
    }

    /// Sends a head in one frame: each field literal and never indexed (RFC 7541 §6.2.3).
    pub(crate) fn head(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) -> &mut Frames {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0x10);
            for text in [name, value] {
                assert!(text.len() < 127, "lengths of one byte");
                block.push(text.len() as u8);
                block.extend(text.as_bytes());
            }
        }
        self.send(HEADERS, END_HEADERS | if ends { END_STREAM } else { 0 }, stream, &block)
    }

    /// Sends a GET.
    pub(crate) fn get(&mut self, stream: u32, path: &str) -> &mut Frames {
        self.head(stream, &[(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", path)], true)
    }

    /// The next frame; nothing at the connection's end.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let head = self.client.exactly(9).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.client.exactly(length).ok()?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads up to the first frame of this kind on this stream.
    #[track_caller]
    pub(crate) fn until(&mut self, kind: u8, stream: u32) -> Frame {
        let mut before = Vec::new();
        while let Some(frame) = self.next() {
            if (frame.kind, frame.stream) == (kind, stream) {
                return frame;
            }
            before.push((frame.kind, frame.flags, frame.stream));
        }
        panic!("no frame of the kind {kind} on stream {stream}, but {before:?} and the end");
    }

    /// Reads up to the peer's SETTINGS.
    #[track_caller]
    pub(crate) fn settings(&mut self) -> BTreeMap<u16, u32> {
        let Frame { payload, .. } = self.until(SETTINGS, 0);
        let entry = |bytes: &[u8]| {
            (u16::from_be_bytes([bytes[0], bytes[1]]), u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]))
        };
        payload.chunks_exact(6).map(entry).collect()
    }

    /// Reads to the connection's end; the code of its GOAWAY, if there was one.
    pub(crate) fn end(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next() {
            if frame.kind == GOAWAY {
                code = Some(frame.word(4));
            }
        }
        code
    }
}
