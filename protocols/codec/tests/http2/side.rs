//! One side under test, frames to feed it, and its events and frames as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ringway_protocols::hpack::{Encoder, Field, FieldList};
use ringway_protocols::http2::{Code, Connection, Event, Key, Limits, PREFACE, Role, message};
use ringway_protocols::{Framing, HeadTable};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags: END_STREAM or ACK, END_HEADERS, both.
pub(crate) const END: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const WHOLE: u8 = 4;
pub(crate) const WHOLE_END: u8 = 5;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITIZED: u8 = 0x20;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub(crate) fn join(frames: &[&[u8]]) -> Vec<u8> {
    frames.concat()
}

/// A field block without a table.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let mut encoder = Encoder::new(0);
    fields.iter().for_each(|&(name, value)| encoder.field(field(name, value), &mut block));
    block
}

pub(crate) fn field<'a>(name: &'a str, value: &'a str) -> Field<'a> {
    Field { name: name.as_bytes(), value: value.as_bytes(), never_indexed: false }
}

pub(crate) const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")];
pub(crate) const OK: &[(&str, &str)] = &[(":status", "200")];

pub(crate) fn headers(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags, stream, &block(fields))
}

pub(crate) fn get(stream: u32) -> Vec<u8> {
    headers(WHOLE_END, stream, GET)
}

pub(crate) fn post(stream: u32) -> Vec<u8> {
    headers(WHOLE, stream, GET)
}

pub(crate) fn data(flags: u8, stream: u32, len: usize) -> Vec<u8> {
    frame(DATA, flags, stream, &vec![b'x'; len])
}

pub(crate) fn rst(stream: u32, code: Code) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.0.to_be_bytes())
}

pub(crate) fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        entries.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

pub(crate) fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

pub(crate) fn goaway(last: u32, code: Code) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.0.to_be_bytes()].concat())
}

/// One side.
pub(crate) struct Side {
    pub(crate) connection: Connection,
    pub(crate) now: u64,
    pub(crate) fields: FieldList,
    pub(crate) out: Vec<u8>,
    pub(crate) keys: BTreeMap<u32, Key>,
    pub(crate) scratch: Vec<u8>,
    /// Whether requests are judged, and malformed ones rejected.
    pub(crate) judges: bool,
    unread: Vec<u8>,
    /// Events as text; content under way is told when its stream does something else.
    log: Vec<String>,
}

impl Side {
    /// One whose first words were said and forgotten.
    pub(crate) fn new(role: Role, limits: &Limits) -> Self {
        let mut side = Self {
            connection: Connection::new(role, limits, 0),
            now: 0,
            fields: FieldList::new(),
            out: Vec::new(),
            keys: BTreeMap::new(),
            scratch: Vec::new(),
            judges: false,
            unread: Vec::new(),
            log: Vec::new(),
        };
        side.connection.begin(&mut side.out);
        side.out.clear();
        side
    }

    /// A server that has heard the client's preface.
    pub(crate) fn server(limits: &Limits) -> Self {
        let mut side = Self::new(Role::Server, limits);
        side.feed(&join(&[PREFACE, &settings(&[])]));
        side.forget();
        side
    }

    /// A client that has heard the server's SETTINGS.
    pub(crate) fn client(limits: &Limits) -> Self {
        let mut side = Self::new(Role::Client, limits);
        side.feed(&settings(&[]));
        side.forget();
        side
    }

    pub(crate) fn forget(&mut self) {
        self.out.clear();
        self.log.clear();
    }

    /// More bytes came.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        loop {
            let step = self.connection.receive(&self.unread, self.now, &mut self.fields, &mut self.out);
            let what = match step.event {
                Event::NeedMore => {
                    self.unread.drain(..step.consumed);
                    return;
                }
                Event::Head { key, ends } => {
                    self.keys.insert(key.id(), key);
                    if self.is_malformed(key, ends) {
                        self.unread.drain(..step.consumed);
                        continue;
                    }
                    let large = if self.fields.is_too_large() { " too-large" } else { "" };
                    format!("head {}{}{large}", key.id(), if ends { " ends" } else { "" })
                }
                Event::Trailers { key } => {
                    let read =
                        message::read_trailers(&self.fields, &ringway_protocols::Limits::default(), &mut Vec::new());
                    if self.judges
                        && let Err(error) = read
                    {
                        self.connection.reject(key, error.rule, self.now, &mut self.out);
                        self.unread.drain(..step.consumed);
                        continue;
                    }
                    format!("trailers {}", key.id())
                }
                Event::Data { key, range, ends } => {
                    assert!(range.end <= step.consumed && (ends || !range.is_empty()));
                    let ends = if ends { " ends" } else { "" };
                    let before = self.log.last().and_then(|last| last.strip_prefix(&format!("data {} ", key.id())));
                    match before.and_then(|count| count.parse::<usize>().ok()) {
                        Some(count) => {
                            self.log.pop();
                            format!("data {} {}{ends}", key.id(), count + range.len())
                        }
                        None => format!("data {} {}{ends}", key.id(), range.len()),
                    }
                }
                Event::Reset { key, code, rule, unprocessed } => {
                    let by = rule.map_or("by peer".into(), |rule| format!("{rule:?}"));
                    format!("reset {} {} {by}{}", key.id(), code.name(), if unprocessed { " unprocessed" } else { "" })
                }
                Event::Window { key } => format!("window {}", key.map_or(0, Key::id)),
                Event::Settings => "settings".into(),
                Event::GoAway { code } => format!("goaway {}", code.name()),
                Event::Pong(number) => format!("pong {number}"),
                Event::Failed(error) => format!("failed {:?} {}", error.rule, Code::of(error.rule).name()),
            };
            self.unread.drain(..step.consumed);
            self.log.push(what);
        }
    }

    /// Rejects a request that is, and says what length of content the others have told.
    fn is_malformed(&mut self, key: Key, ends: bool) -> bool {
        if !self.judges || self.fields.is_too_large() {
            return false;
        }
        let (mut table, mut head) = (HeadTable::new(100), Vec::new());
        let limits = ringway_protocols::Limits::default();
        match message::read_request(&self.fields, ends, false, &limits, &mut table, &mut head) {
            Ok(()) => {
                if let Framing::Length(bytes) = table.request(&head).framing() {
                    self.connection.expect_length(key, bytes);
                }
                false
            }
            Err(error) => {
                self.connection.reject(key, error.rule, self.now, &mut self.out);
                true
            }
        }
    }

    pub(crate) fn key(&self, stream: u32) -> Key {
        self.keys[&stream]
    }

    /// Events since the last time.
    pub(crate) fn events(&mut self) -> String {
        std::mem::take(&mut self.log).join(" · ")
    }

    /// Frames written since the last time.
    pub(crate) fn wrote(&mut self) -> String {
        let mut out = std::mem::take(&mut self.out);
        let text = frames(&mut out);
        assert!(out.is_empty(), "a part of a frame was written: {out:?}");
        text
    }

    pub(crate) fn request(&mut self, ends: bool) -> Option<u32> {
        let key = self.connection.send_request(ends, &mut self.scratch, &mut self.out, |fields| {
            GET.iter().for_each(|&(name, value)| fields.put(field(name, value)));
        })?;
        self.keys.insert(key.id(), key);
        Some(key.id())
    }

    pub(crate) fn respond(&mut self, stream: u32, ends: bool, fields: &[(&str, &str)]) {
        let key = self.key(stream);
        self.connection.send_headers(key, ends, &mut self.scratch, &mut self.out, |section| {
            fields.iter().for_each(|&(name, value)| section.put(field(name, value)));
        });
    }

    /// What was granted of `wanted`; the content goes behind it.
    pub(crate) fn send(&mut self, stream: u32, wanted: usize, ends: bool) -> usize {
        let granted = self.connection.send_data(self.key(stream), wanted, ends, &mut self.out);
        self.out.resize(self.out.len() + granted, b'y');
        granted
    }

    pub(crate) fn consume(&mut self, stream: u32, bytes: usize) {
        self.connection.consumed(self.key(stream), bytes, &mut self.out);
    }
}

/// Whole frames at the front of `bytes` as text; they are taken out.
pub(crate) fn frames(bytes: &mut Vec<u8>) -> String {
    let mut text = Vec::new();
    let mut at = 0;
    while let Some(&[_, a, b, kind, flags, s0, s1, s2, s3]) = bytes[at..].first_chunk::<9>() {
        let len = usize::from(a) << 8 | usize::from(b);
        let Some(payload) = bytes.get(at + 9..at + 9 + len) else { break };
        at += 9 + len;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        let number =
            |at: usize| payload.get(at..at + 4).map_or(0, |four| u32::from_be_bytes(four.try_into().expect("four")));
        let end = if flags & END != 0 { " end" } else { "" };
        text.push(match kind {
            DATA => format!("DATA {stream} {len}{end}"),
            HEADERS if flags & WHOLE == 0 => format!("HEADERS {stream} {len} part{end}"),
            HEADERS => format!("HEADERS {stream}{end}"),
            CONTINUATION => format!("CONTINUATION {stream} {len}{}", if flags & WHOLE == 0 { " part" } else { "" }),
            RST_STREAM => format!("RST {stream} {}", Code(number(0)).name()),
            SETTINGS if flags & ACK != 0 => "ACK".into(),
            SETTINGS => payload.as_chunks::<6>().0.iter().fold(String::from("SETTINGS"), |mut text, entry| {
                let _ = write!(text, " {}={}", entry[1], u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]));
                text
            }),
            PING => format!("{} {}", if flags & ACK != 0 { "PONG" } else { "PING" }, number(4)),
            GOAWAY => format!("GOAWAY {} {}", number(0), Code(number(4)).name()),
            WINDOW_UPDATE => format!("WINDOW {stream} +{}", number(0)),
            kind => format!("FRAME {kind}"),
        });
    }
    bytes.drain(..at);
    text.join(" · ")
}

/// A server gets `wire` behind the preface, whole, byte by byte and in odd pieces: the same events, the same frames.
#[track_caller]
pub(crate) fn check(wire: &[&[u8]], events: &str, wrote: &str) {
    check_with(|| Side::server(&Limits::default()), wire, events, wrote);
}

#[track_caller]
pub(crate) fn check_with(make: impl Fn() -> Side, wire: &[&[u8]], events: &str, wrote: &str) {
    let wire = join(wire);
    for piece in [wire.len().max(1), 1, 7, 13] {
        let mut side = make();
        wire.chunks(piece).for_each(|bytes| side.feed(bytes));
        assert_eq!((side.events().as_str(), side.wrote().as_str()), (events, wrote), "in pieces of {piece}");
    }
}
