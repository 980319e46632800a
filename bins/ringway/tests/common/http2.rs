//! A peer that speaks HTTP/2 by prior knowledge, as client or as origin: frames by hand, literals for fields, and our own HPACK
//! decoder, which other judges look at.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use ringway_protocols::hpack::{Decoder, FieldList, ListLimits};

use super::client::Client;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Names and values.
pub(crate) type Fields = Vec<(String, String)>;

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A field section: a head, or trailers.
    Section { stream: u32, fields: Fields, ends: bool },
    /// A piece of content.
    Data { stream: u32, bytes: Vec<u8>, ends: bool },
    /// RST_STREAM.
    Reset { stream: u32, code: u32 },
    /// GOAWAY.
    GoAway { last: u32, code: u32 },
    /// SETTINGS, already acknowledged.
    Settings(Vec<(u16, u32)>),
    /// The answer to a PING of ours.
    Pong,
}

/// One frame.
struct Raw {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// What came on a stream, put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// Statuses before the final one.
    pub(crate) interim: Vec<String>,
    /// The head.
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// Whether the peer has ended its side.
    pub(crate) ended: bool,
    /// The code of a RST_STREAM.
    pub(crate) reset: Option<u32>,
}

impl Exchange {
    /// The first value of a field of the head; empty where there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        value(&self.fields, name)
    }

    /// `:status`.
    pub(crate) fn status(&self) -> &str {
        self.field(":status")
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The first value of a field; empty where there is none.
pub(crate) fn value<'f>(fields: &'f Fields, name: &str) -> &'f str {
    fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
}

/// One side of a connection.
pub(crate) struct Peer {
    wire: Client,
    unread: Vec<u8>,
    decoder: Decoder,
    next: u32,
    /// A field section of which more frames come.
    section: Option<(u32, bool, Vec<u8>)>,
    /// Streams that somebody may still ask for.
    streams: BTreeMap<u32, Exchange>,
    /// The last GOAWAY: its last stream and code.
    pub(crate) gone: Option<(u32, u32)>,
    /// Whether content is credited as it comes.
    pub(crate) credits: bool,
}

impl Peer {
    /// Connects as a client.
    #[track_caller]
    pub(crate) fn connect(to: SocketAddr) -> Peer {
        Peer::connect_with(to, &[])
    }

    /// The same with these settings.
    #[track_caller]
    pub(crate) fn connect_with(to: SocketAddr, settings: &[(u16, u32)]) -> Peer {
        Peer::on(Client::connect(to), settings)
    }

    /// Begins as a client on this connection.
    #[track_caller]
    pub(crate) fn on(wire: Client, settings: &[(u16, u32)]) -> Peer {
        let mut peer = Peer::new(wire, 1);
        peer.send([PREFACE, &settings_frame(settings)].concat());
        peer
    }

    /// Takes a connection as an origin; none if the client does not speak HTTP/2.
    pub(crate) fn accept(wire: Client, settings: &[(u16, u32)]) -> Option<Peer> {
        let mut peer = Peer::new(wire, 2);
        while peer.unread.len() < PREFACE.len() {
            if !peer.more().ok()? {
                return None;
            }
        }
        if !peer.unread.starts_with(PREFACE) {
            return None;
        }
        peer.unread.drain(..PREFACE.len());
        peer.send(settings_frame(settings));
        Some(peer)
    }

    fn new(wire: Client, next: u32) -> Peer {
        Peer {
            wire,
            unread: vec![],
            decoder: Decoder::new(4096),
            next,
            section: None,
            streams: BTreeMap::new(),
            gone: None,
            credits: true,
        }
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.send(bytes);
    }

    /// Sends a frame.
    #[track_caller]
    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.send(frame(kind, flags, stream, payload));
    }

    /// Sends a field section in one frame.
    #[track_caller]
    pub(crate) fn section(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) {
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.frame(HEADERS, flags, stream, &block(fields));
    }

    /// Opens a stream with these fields; its number.
    #[track_caller]
    pub(crate) fn open(&mut self, fields: &[(&str, &str)], ends: bool) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.section(stream, fields, ends);
        stream
    }

    /// Opens a stream with a plain GET.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> u32 {
        self.open(&get(path), true)
    }

    /// Opens a stream with a POST that content follows.
    #[track_caller]
    pub(crate) fn post(&mut self, path: &str) -> u32 {
        let mut fields = get(path);
        fields[0].1 = "POST";
        self.open(&fields, false)
    }

    /// Sends content, however large a window is.
    #[track_caller]
    pub(crate) fn data(&mut self, stream: u32, bytes: impl AsRef<[u8]>, ends: bool) {
        let pieces: Vec<&[u8]> = match bytes.as_ref() {
            [] => vec![&[]],
            bytes => bytes.chunks(16_384).collect(),
        };
        for (at, piece) in pieces.iter().enumerate() {
            let last = at + 1 == pieces.len();
            self.frame(DATA, if last && ends { END_STREAM } else { 0 }, stream, piece);
        }
    }

    /// RST_STREAM.
    #[track_caller]
    pub(crate) fn reset(&mut self, stream: u32, code: u32) {
        self.frame(RST_STREAM, 0, stream, &code.to_be_bytes());
    }

    /// GOAWAY.
    #[track_caller]
    pub(crate) fn go_away(&mut self, last: u32, code: u32) {
        self.frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat());
    }

    /// WINDOW_UPDATE.
    #[track_caller]
    pub(crate) fn window(&mut self, stream: u32, increment: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
    }

    /// What comes next; none at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Came> {
        loop {
            let frame = self.take_frame().ok()??;
            if let Some(came) = self.take(frame) {
                self.note(&came);
                return Some(came);
            }
        }
    }

    /// Reads until this stream is over, and gives what came on it.
    #[track_caller]
    pub(crate) fn answer(&mut self, stream: u32) -> Exchange {
        self.until(stream, |exchange| exchange.ended || exchange.reset.is_some());
        self.streams.remove(&stream).expect("it was there")
    }

    /// Reads until this holds of what came on a stream.
    #[track_caller]
    pub(crate) fn until(&mut self, stream: u32, holds: impl Fn(&Exchange) -> bool) -> &Exchange {
        while !self.streams.get(&stream).is_some_and(&holds) {
            assert!(
                self.next().is_some(),
                "stream {stream} had {:?}, and the connection ended; GOAWAY {:?}",
                self.streams.get(&stream),
                self.gone
            );
        }
        &self.streams[&stream]
    }

    /// Reads until the peer's GOAWAY.
    #[track_caller]
    pub(crate) fn until_gone(&mut self) -> (u32, u32) {
        loop {
            if let Some(gone) = self.gone {
                return gone;
            }
            assert!(self.next().is_some(), "the connection ended without GOAWAY");
        }
    }

    /// Waits until the peer has read all that was sent.
    #[track_caller]
    pub(crate) fn ping(&mut self) {
        self.frame(PING, 0, 0, b"question");
        loop {
            match self.next() {
                Some(Came::Pong) => return,
                Some(_) => {}
                None => panic!("no answer to a PING; GOAWAY {:?}", self.gone),
            }
        }
    }

    /// Whether nothing comes any more but the end.
    pub(crate) fn ends(&mut self) -> bool {
        while self.next().is_some() {}
        true
    }

    fn note(&mut self, came: &Came) {
        match came {
            Came::Section { stream, fields, ends } => {
                let exchange = self.streams.entry(*stream).or_default();
                let status = value(fields, ":status");
                if status.starts_with('1') {
                    exchange.interim.push(status.to_owned());
                } else if exchange.fields.is_empty() {
                    exchange.fields = fields.clone();
                } else {
                    exchange.trailers = fields.clone();
                }
                exchange.ended |= ends;
            }
            Came::Data { stream, bytes, ends } => {
                let exchange = self.streams.entry(*stream).or_default();
                exchange.body.extend_from_slice(bytes);
                exchange.ended |= ends;
            }
            Came::Reset { stream, code } => self.streams.entry(*stream).or_default().reset = Some(*code),
            Came::GoAway { last, code } => self.gone = Some((*last, *code)),
            Came::Settings(_) | Came::Pong => {}
        }
    }

    fn take(&mut self, Raw { kind, flags, stream, payload }: Raw) -> Option<Came> {
        match kind {
            HEADERS => {
                self.section = Some((stream, flags & END_STREAM != 0, payload));
                self.section_end(flags)
            }
            CONTINUATION => {
                self.section.as_mut().expect("a section is open").2.extend(payload);
                self.section_end(flags)
            }
            DATA => {
                let (size, ends) = (payload.len() as u32, flags & END_STREAM != 0);
                if self.credits && size > 0 {
                    let mut credit = frame(WINDOW_UPDATE, 0, 0, &size.to_be_bytes());
                    if !ends {
                        credit.extend(frame(WINDOW_UPDATE, 0, stream, &size.to_be_bytes()));
                    }
                    self.wire.try_send(&credit);
                }
                Some(Came::Data { stream, bytes: payload, ends })
            }
            RST_STREAM => Some(Came::Reset { stream, code: word(&payload, 0) }),
            GOAWAY => Some(Came::GoAway { last: word(&payload, 0), code: word(&payload, 4) }),
            SETTINGS if flags & ACK == 0 => {
                let entries = payload.chunks_exact(6).map(|entry| {
                    (
                        u16::from_be_bytes([entry[0], entry[1]]),
                        u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]),
                    )
                });
                let entries = entries.collect();
                self.wire.try_send(&frame(SETTINGS, ACK, 0, &[]));
                Some(Came::Settings(entries))
            }
            PING if flags & ACK != 0 => Some(Came::Pong),
            PING => {
                self.wire.try_send(&frame(PING, ACK, 0, &payload));
                None
            }
            _ => None,
        }
    }

    fn section_end(&mut self, flags: u8) -> Option<Came> {
        if flags & END_HEADERS == 0 {
            return None;
        }
        let (stream, ends, block) = self.section.take()?;
        let mut list = FieldList::new();
        let limits = ListLimits { size_max: 1 << 20, fields_max: 1000 };
        self.decoder.decode(&block, &limits, &mut list).expect("a right field section");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = list.iter().map(|field| (text(field.name), text(field.value))).collect();
        Some(Came::Section { stream, fields, ends })
    }

    fn take_frame(&mut self) -> io::Result<Option<Raw>> {
        loop {
            if let Some(header) = self.unread.first_chunk::<9>().copied() {
                let size = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
                if self.unread.len() >= 9 + size {
                    let payload = self.unread[9..9 + size].to_vec();
                    self.unread.drain(..9 + size);
                    return Ok(Some(Raw { kind: header[3], flags: header[4], stream: word(&header, 5), payload }));
                }
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    fn more(&mut self) -> io::Result<bool> {
        let bytes = self.wire.some()?;
        self.unread.extend_from_slice(&bytes);
        Ok(!bytes.is_empty())
    }
}

/// An origin of HTTP/2: a thread for each connection, which is told how many came before it.
pub(crate) fn origin(
    settings: &'static [(u16, u32)],
    serve: impl Fn(Peer, usize) + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice");
    let address = listener.local_addr().expect("an address");
    let serve = std::sync::Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let serve = serve.clone();
            thread::spawn(move || {
                if let Some(peer) = Peer::accept(Client::on(stream), settings) {
                    serve(peer, number);
                }
            });
        }
    });
    address
}

/// The fields of a plain GET.
pub(crate) fn get(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "test")]
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let size = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![size[1], size[2], size[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field section: literals without indexing.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = vec![];
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            let size = text.len();
            if size < 127 {
                bytes.push(size as u8);
            } else {
                let rest = size - 127;
                bytes.extend([127, rest as u8 | 0x80, (rest >> 7) as u8 | 0x80, (rest >> 14) as u8]);
            }
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

fn settings_frame(entries: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        entries.iter().flat_map(|(id, value)| id.to_be_bytes().into_iter().chain(value.to_be_bytes())).collect();
    frame(SETTINGS, 0, 0, &payload)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes) & 0x7FFF_FFFF
}
