//! One HTTP/2 connection of a judge, as client or server: answers SETTINGS and PING, keeps windows, and gives events.
//!
//! One thread, blocking. Bodies are queued and go out as the peer's windows let them, whenever something is heard.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::frame::{self, Frame, Heard, PREFACE, Reader, flag, kind};
use super::hpack::{self, Decoder};
use crate::lab::http::Fields;

/// What a window is before SETTINGS say otherwise (RFC 9113 §6.9.2).
const WINDOW: i64 = 65_535;
/// The longest payload before SETTINGS say otherwise (RFC 9113 §4.2).
const FRAME_SIZE: usize = 16_384;
const HEADER_TABLE_SIZE: u16 = 1;
/// SETTINGS_MAX_CONCURRENT_STREAMS.
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
/// SETTINGS_INITIAL_WINDOW_SIZE.
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
/// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441).
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
/// A proxy answers within this, on a machine however busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// What came of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A field section: of a request, of a response interim or final, or trailers.
    Fields { stream: u32, fields: Fields, ends: bool },
    /// A piece of content.
    Data { stream: u32, bytes: Vec<u8>, ends: bool },
    /// RST_STREAM.
    Reset { stream: u32, code: u32 },
    /// GOAWAY.
    GoAway { last: u32, code: u32 },
    /// The peer's SETTINGS, already acknowledged.
    Settings(Vec<(u16, u32)>),
    /// An acknowledgement of our PING.
    Pong(Vec<u8>),
    /// The end of the connection.
    Closed,
    /// Nothing came in time.
    Silence,
}

/// Content that waits for windows.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// What stands behind it: trailers, or nothing.
    trailers: Option<Fields>,
    ends: bool,
}

/// What became of a stream's turn.
enum Sent {
    /// There is more.
    More,
    /// All that is queued.
    All,
    /// A window is closed.
    Blocked,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) stream: TcpStream,
    reader: Reader,
    decoder: Decoder,
    next: u32,
    /// What we may send: on the connection, and on streams that differ from the initial window.
    window: i64,
    initial: i64,
    windows: BTreeMap<u32, i64>,
    frame_size: usize,
    outgoing: BTreeMap<u32, Outgoing>,
    /// The stream that has the next turn, where one waits for the connection's window.
    first: u32,
    /// A field section that is not yet whole: its stream, whether it ends it, its bytes.
    section: Option<(u32, bool, Vec<u8>)>,
    /// The window that the peer has on each stream at first, and what came since windows were last given back.
    granted: u32,
    taken: u32,
    stream_taken: BTreeMap<u32, u32>,
    /// Whether windows are given back; else the peer's windows run out.
    pub(crate) credits: bool,
    /// A stream whose window is not given back.
    pub(crate) starved: Option<u32>,
    /// The largest frame of content that we send, if smaller than the peer's.
    pub(crate) piece: usize,
}

impl Session {
    /// Connects as a client, with these settings.
    pub(crate) fn client(to: SocketAddr, settings: &[(u16, u32)]) -> io::Result<Session> {
        let stream = TcpStream::connect_timeout(&to, LIMIT)?;
        let mut session = Session::new(stream, 1, settings)?;
        session.send(&[PREFACE, &frame::settings(settings)].concat())?;
        Ok(session)
    }

    /// Takes a connection as a server, with these settings.
    pub(crate) fn server(stream: TcpStream, settings: &[(u16, u32)]) -> io::Result<Session> {
        let mut session = Session::new(stream, 2, settings)?;
        session.send(&frame::settings(settings))?;
        let until = Instant::now() + LIMIT;
        loop {
            match session.reader.take(PREFACE) {
                Some(true) => return Ok(session),
                Some(false) => return Err(io::Error::new(ErrorKind::InvalidData, "no preface of HTTP/2")),
                None if session.reader.read_more(&session.stream, until)? => {}
                None => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    fn new(stream: TcpStream, next: u32, settings: &[(u16, u32)]) -> io::Result<Session> {
        let granted = settings.iter().find(|(id, _)| *id == INITIAL_WINDOW_SIZE);
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Session {
            stream,
            reader: Reader::default(),
            decoder: Decoder::default(),
            next,
            window: WINDOW,
            initial: WINDOW,
            windows: BTreeMap::new(),
            frame_size: FRAME_SIZE,
            outgoing: BTreeMap::new(),
            first: 0,
            section: None,
            granted: granted.map_or(WINDOW as u32, |(_, value)| *value),
            taken: 0,
            stream_taken: BTreeMap::new(),
            credits: true,
            starved: None,
            piece: usize::MAX,
        })
    }

    /// Sends these bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Opens a stream with these fields; its number.
    pub(crate) fn open(&mut self, fields: &[(String, String)], ends: bool) -> io::Result<u32> {
        let stream = self.next;
        self.next += 2;
        self.fields(stream, fields, ends)?;
        Ok(stream)
    }

    /// Sends a field section, in as many frames as it needs.
    pub(crate) fn fields(&mut self, stream: u32, fields: &[(String, String)], ends: bool) -> io::Result<()> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (hpack::bytes(name), hpack::bytes(value))).collect();
        let block = hpack::encode(&fields);
        let pieces: Vec<&[u8]> = block.chunks(self.frame_size).collect();
        let mut wire = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            let last = if at + 1 == pieces.len() { flag::END_HEADERS } else { 0 };
            let end = if at == 0 && ends { flag::END_STREAM } else { 0 };
            let kind = if at == 0 { kind::HEADERS } else { kind::CONTINUATION };
            wire.extend(frame::frame(kind, last | end, stream, piece));
        }
        self.send(&wire)
    }

    /// Queues content, behind what is queued already; with trailers the stream ends in any case.
    pub(crate) fn body(&mut self, stream: u32, bytes: Vec<u8>, trailers: Option<Fields>, ends: bool) -> io::Result<()> {
        let queued = self.outgoing.entry(stream).or_insert_with(|| Outgoing {
            bytes: Vec::new(),
            sent: 0,
            trailers: None,
            ends: false,
        });
        queued.bytes.extend(bytes);
        queued.ends |= ends || trailers.is_some();
        queued.trailers = trailers;
        self.pump(Some(stream))
    }

    /// RST_STREAM.
    pub(crate) fn reset(&mut self, stream: u32, code: u32) -> io::Result<()> {
        self.outgoing.remove(&stream);
        self.send(&frame::reset(stream, code))
    }

    /// Sends of what is queued what the windows let through: of one stream, or of all, a frame each in turn.
    fn pump(&mut self, only: Option<u32>) -> io::Result<()> {
        let mut wire = Vec::new();
        let mut done = Vec::new();
        let mut turn: Vec<u32> = match only {
            Some(stream) => vec![stream],
            // Who stood first when the connection's window was used up begins.
            None => {
                let first = std::mem::take(&mut self.first);
                let later = self.outgoing.range(first..);
                later.chain(self.outgoing.range(..first)).map(|(stream, _)| *stream).collect()
            }
        };
        while !turn.is_empty() {
            turn.retain(|&stream| match self.send_piece(stream, &mut wire) {
                Sent::More => true,
                Sent::All => {
                    done.push(stream);
                    false
                }
                Sent::Blocked => {
                    if self.window <= 0 && self.first == 0 {
                        self.first = stream;
                    }
                    false
                }
            });
        }
        self.send(&wire)?;
        for stream in done {
            let out = self.outgoing.remove(&stream);
            if let Some(trailers) = out.and_then(|out| out.trailers) {
                self.fields(stream, &trailers, true)?;
            }
        }
        Ok(())
    }

    /// Writes the next frame of a stream's content, if there is any and a window for it.
    fn send_piece(&mut self, stream: u32, wire: &mut Vec<u8>) -> Sent {
        let Some(out) = self.outgoing.get_mut(&stream) else { return Sent::Blocked };
        let window = self.windows.entry(stream).or_insert(self.initial);
        let left = out.bytes.len() - out.sent;
        let open = self.window.min(*window).max(0);
        let size = left.min(self.frame_size).min(self.piece).min(open as usize);
        let last = size == left;
        if size == 0 && left > 0 {
            return Sent::Blocked;
        }
        let ends = last && out.ends && out.trailers.is_none();
        if size > 0 || ends {
            let piece = &out.bytes[out.sent..out.sent + size];
            wire.extend(frame::frame(kind::DATA, u8::from(ends) * flag::END_STREAM, stream, piece));
            out.sent += size;
            self.window -= size as i64;
            *window -= size as i64;
        }
        if last { Sent::All } else { Sent::More }
    }

    /// Waits for the next event.
    pub(crate) fn hear(&mut self) -> io::Result<Event> {
        self.hear_until(Instant::now() + LIMIT)
    }

    /// Waits for the next event until then.
    pub(crate) fn hear_until(&mut self, until: Instant) -> io::Result<Event> {
        loop {
            let frame = match self.reader.hear(&self.stream, until) {
                Heard::Frame(frame) => frame,
                Heard::Closed { .. } => return Ok(Event::Closed),
                Heard::Silence => return Ok(Event::Silence),
            };
            if let Some(event) = self.take(&frame)? {
                return Ok(event);
            }
        }
    }

    fn take(&mut self, frame: &Frame) -> io::Result<Option<Event>> {
        let stream = frame.stream;
        Ok(match frame.kind {
            kind::HEADERS => {
                self.section = Some((stream, frame.ends(), frame.content()?.to_vec()));
                self.section_end(frame)?
            }
            kind::CONTINUATION => {
                let section = self.section.as_mut().ok_or_else(|| bad("CONTINUATION of nothing"))?;
                section.2.extend_from_slice(&frame.payload);
                self.section_end(frame)?
            }
            kind::DATA => {
                if self.credits {
                    self.credit(frame)?;
                }
                Some(Event::Data { stream, bytes: frame.content()?.to_vec(), ends: frame.ends() })
            }
            kind::RST_STREAM => {
                self.outgoing.remove(&stream);
                Some(Event::Reset { stream, code: frame.code() })
            }
            kind::GOAWAY => Some(Event::GoAway { last: frame.word(0) & 0x7FFF_FFFF, code: frame.code() }),
            kind::SETTINGS if !frame.is_ack(kind::SETTINGS) => Some(self.settings(frame)?),
            kind::PING if frame.is_ack(kind::PING) => Some(Event::Pong(frame.payload.clone())),
            kind::PING => {
                self.send(&frame::frame(kind::PING, flag::ACK, 0, &frame.payload))?;
                None
            }
            kind::WINDOW_UPDATE => {
                let increment = i64::from(frame.word(0) & 0x7FFF_FFFF);
                if stream == 0 {
                    self.window += increment;
                    self.pump(None)?;
                } else {
                    *self.windows.entry(stream).or_insert(self.initial) += increment;
                    self.pump(Some(stream))?;
                }
                None
            }
            _ => None,
        })
    }

    /// Gives back windows of what came, in pieces of half a window: many small WINDOW_UPDATEs are a flood.
    fn credit(&mut self, frame: &Frame) -> io::Result<()> {
        let size = frame.payload.len() as u32;
        let mut wire = Vec::new();
        self.taken += size;
        if self.taken >= WINDOW as u32 / 2 {
            wire.extend(frame::window_update(0, self.taken));
            self.taken = 0;
        }
        let taken = self.stream_taken.entry(frame.stream).or_default();
        *taken += size;
        if frame.ends() {
            self.stream_taken.remove(&frame.stream);
        } else if self.starved != Some(frame.stream) && *taken >= (self.granted / 2).max(1) {
            wire.extend(frame::window_update(frame.stream, *taken));
            *taken = 0;
        }
        self.send(&wire)
    }

    /// Gives the starved stream's window back.
    pub(crate) fn feed(&mut self) -> io::Result<()> {
        let Some(stream) = self.starved.take() else { return Ok(()) };
        match self.stream_taken.remove(&stream) {
            Some(taken) => self.send(&frame::window_update(stream, taken)),
            None => Ok(()),
        }
    }

    fn section_end(&mut self, frame: &Frame) -> io::Result<Option<Event>> {
        if frame.flags & flag::END_HEADERS == 0 {
            return Ok(None);
        }
        let (stream, ends, block) = self.section.take().expect("set by whoever calls");
        let fields = self.decoder.decode(&block).map_err(|why| bad(&why))?;
        Ok(Some(Event::Fields { stream, fields, ends }))
    }

    fn settings(&mut self, frame: &Frame) -> io::Result<Event> {
        let entries: Vec<(u16, u32)> = frame
            .payload
            .chunks_exact(6)
            .map(|entry| {
                let id = u16::from_be_bytes([entry[0], entry[1]]);
                (id, u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]))
            })
            .collect();
        for (id, value) in &entries {
            match *id {
                INITIAL_WINDOW_SIZE => {
                    let value = i64::from(*value);
                    self.windows.values_mut().for_each(|window| *window += value - self.initial);
                    self.initial = value;
                }
                MAX_FRAME_SIZE => self.frame_size = *value as usize,
                // We index nothing, so that any size of the peer's table will do.
                HEADER_TABLE_SIZE => {}
                _ => {}
            }
        }
        self.send(&frame::frame(kind::SETTINGS, flag::ACK, 0, b""))?;
        self.pump(None)?;
        Ok(Event::Settings(entries))
    }
}

/// One text field after the other, as the session takes them.
pub(crate) fn fields(of: &[(&str, &str)]) -> Fields {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}
