//! Plays bytes through the decoders in pieces of any size, forwards what comes out, and tells what it was.
//!
//! For tests and fuzz bodies; never on a request's path. It keeps what the caller of the codec has to keep: a block for an
//! incomplete head or trailer section, and nothing else. Invariant: what it reports does not depend on the pieces.

use crate::error::Rule;
use crate::head::{FieldRef, Framing, HeadTable, Known, Method, Request, Response, Version};
use crate::http1::{
    BodyDecoder, BodyPart, CHUNK_END, Decoded, HeadEdit, HeadScan, LAST_CHUNK, chunk_header, decode_request,
    decode_response, encode_request, encode_response, encode_trailers, is_trailer_allowed, request_head_size,
    response_head_size, trailer_fields,
};
use crate::limits::Limits;
use std::fmt::Write;

/// Who sent the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A client.
    Request,
    /// An origin, each time in answer to this method.
    Response(Method),
}

/// One message that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// What the head says, for a reader: start line, authority, version, framing, persistence, flags.
    pub head: String,
    /// What must be the same after forwarding: start line, authority, end-to-end fields.
    pub kept: String,
    /// The content so far.
    pub content: Vec<u8>,
    /// The trailer fields that may travel on, one a line.
    pub trailers: String,
    /// Whether it is complete.
    pub complete: bool,
}

/// Why reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Every byte belongs to a complete message.
    Clean,
    /// The bytes end within a message.
    Partial,
    /// A message said that it is the last: what follows is not read.
    Closed,
    /// A rule was broken.
    Refused(Rule),
}

/// What was read, and what would have been sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The messages in order; the last may be incomplete.
    pub messages: Vec<Message>,
    /// Why reading stopped.
    pub stop: Stop,
    /// Bytes at the end that no message took, when it stopped for want of more.
    pub unread: usize,
    /// The bytes for the other side. Chunks follow the pieces, so these may differ in them.
    pub forwarded: Vec<u8>,
}

impl Outcome {
    /// Panics unless `other`, the same `wire` in other pieces, came to the same. One thing may differ: a head that has not ended
    /// is not looked at with each byte, so that its fault may not have been seen yet.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, wire: &[u8], pieces: &str) {
        let wire_text = String::from_utf8_lossy(wire);
        assert_eq!(self.messages, other.messages, "{pieces}: {wire_text:?}");
        let head_has_ended = wire[wire.len() - other.unread..].windows(4).any(|end| end == b"\r\n\r\n");
        let is_late = matches!(self.stop, Stop::Refused(_)) && other.stop == Stop::Partial && !head_has_ended;
        assert!(self.stop == other.stop || is_late, "{pieces}: {:?} {:?} {wire_text:?}", self.stop, other.stop);
    }
}

enum State {
    Head(HeadScan),
    Body(BodyDecoder, Framing),
}

struct Player {
    side: Side,
    limits: Limits,
    table: HeadTable,
    state: State,
    last: bool,
    connection_options: Vec<Vec<u8>>,
    outcome: Outcome,
}

/// Plays `wire`, each piece as long as `piece` says (at least 1; the rest when it is longer), then the end of the connection.
#[must_use]
pub fn play(side: Side, wire: &[u8], limits: &Limits, mut piece: impl FnMut(usize) -> usize) -> Outcome {
    let mut player = Player {
        side,
        limits: *limits,
        table: HeadTable::new(limits.headers_max),
        state: State::Head(HeadScan::default()),
        last: false,
        connection_options: Vec::new(),
        outcome: Outcome { messages: Vec::new(), stop: Stop::Clean, unread: 0, forwarded: Vec::new() },
    };
    let mut held = Vec::new();
    let mut at = 0;
    while at < wire.len() {
        let len = piece(at).clamp(1, wire.len() - at);
        held.extend_from_slice(&wire[at..at + len]);
        at += len;
        match player.take(&held) {
            Ok(consumed) => drop(held.drain(..consumed)),
            Err(stop) => {
                player.outcome.stop = stop;
                return player.outcome;
            }
        }
    }
    player.outcome.unread = held.len();
    player.outcome.stop = match &player.state {
        State::Head(_) if held.is_empty() => Stop::Clean,
        State::Head(_) => Stop::Partial,
        State::Body(decoder, _) if decoder.finish_on_eof().is_ok() => player.finish(),
        State::Body(..) => Stop::Partial,
    };
    player.outcome
}

/// The three ways every test plays its bytes: whole, byte by byte, and split at every point.
#[must_use]
pub fn play_every_way(side: Side, wire: &[u8], limits: &Limits) -> Outcome {
    let whole = play(side, wire, limits, |_| wire.len());
    let bytewise = play(side, wire, limits, |_| 1);
    whole.assert_same(&bytewise, wire, "byte by byte");
    for cut in 1..wire.len() {
        let split = play(side, wire, limits, |at| if at == 0 { cut } else { wire.len() });
        whole.assert_same(&split, wire, &format!("split at {cut}"));
    }
    whole
}

impl Player {
    /// Reads what it can of `bytes` and says how much that was.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            at += match &mut self.state {
                State::Head(_) => match self.head(rest)? {
                    Some(consumed) => consumed,
                    None => return Ok(at),
                },
                State::Body(decoder, framing) => {
                    let step = decoder.decode(rest, &self.limits).map_err(|error| Stop::Refused(error.rule))?;
                    let framing = *framing;
                    match step.part {
                        BodyPart::NeedMore => return Ok(at + step.consumed),
                        BodyPart::Data(range) => self.data(&rest[range], framing),
                        BodyPart::Trailers(range) => self.trailers(&rest[range]),
                        BodyPart::End => match self.finish() {
                            Stop::Clean => {}
                            stop => return Err(stop),
                        },
                    }
                    step.consumed
                }
            };
        }
    }

    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Stop> {
        let State::Head(scan) = &mut self.state else { unreachable!("asked in a body") };
        let mut message = Message::default();
        let forwarded = &mut self.outcome.forwarded;
        let before = forwarded.len();
        let (framing, consumed, options) = match self.side {
            Side::Request => match decode_request(bytes, scan, &mut self.table, &self.limits) {
                Err(error) => return Err(Stop::Refused(error.rule)),
                Ok(Decoded::Partial) => return Ok(None),
                Ok(Decoded::Complete { head, consumed }) => {
                    describe_request(&head, &mut message);
                    self.last = !head.keep_alive() || head.method() == Method::Connect;
                    // What an HTTP/1.0 request without Host needs.
                    let authority = head.authority().is_empty().then_some(b"default.test".as_slice());
                    let edit = HeadEdit { authority, ..HeadEdit::default() };
                    encode_request(&head, head.framing(), &edit, forwarded);
                    assert!(forwarded.len() - before <= request_head_size(&head, &edit), "the size is a bound");
                    (head.framing(), consumed, owned(head.connection_options()))
                }
            },
            Side::Response(method) => match decode_response(bytes, scan, &mut self.table, &self.limits, method) {
                Err(error) => return Err(Stop::Refused(error.rule)),
                Ok(Decoded::Partial) => return Ok(None),
                Ok(Decoded::Complete { head, consumed }) => {
                    describe_response(&head, &mut message);
                    let is_tunnel = head.status() == 101 || (method == Method::Connect && head.status() / 100 == 2);
                    let awaits_more = head.framing() == Framing::UntilClose || head.is_interim();
                    self.last = is_tunnel || !(head.keep_alive() || awaits_more);
                    let framing = forwarded_framing(head.framing());
                    let edit = HeadEdit::default();
                    encode_response(&head, framing, false, &edit, forwarded);
                    assert!(forwarded.len() - before <= response_head_size(&head, &edit), "the size is a bound");
                    (head.framing(), consumed, owned(head.connection_options()))
                }
            },
        };
        self.connection_options = options;
        self.outcome.messages.push(message);
        self.state = State::Body(BodyDecoder::new(framing), framing);
        Ok(Some(consumed))
    }

    fn message(&mut self) -> &mut Message {
        self.outcome.messages.last_mut().expect("a body follows a head")
    }

    fn data(&mut self, data: &[u8], framing: Framing) {
        assert!(!data.is_empty(), "data is never empty");
        self.message().content.extend_from_slice(data);
        let forwarded = &mut self.outcome.forwarded;
        if forwarded_framing(framing) == Framing::Chunked {
            forwarded.extend_from_slice(chunk_header(data.len(), &mut [0; 18]));
            forwarded.extend_from_slice(data);
            forwarded.extend_from_slice(CHUNK_END);
        } else {
            forwarded.extend_from_slice(data);
        }
    }

    fn trailers(&mut self, section: &[u8]) {
        let options = std::mem::take(&mut self.connection_options);
        let remove = options.iter().map(Vec::as_slice);
        let mut kept = String::new();
        for (name, value) in trailer_fields(section) {
            if is_trailer_allowed(name) && !remove.clone().any(|option| option.eq_ignore_ascii_case(name)) {
                write!(kept, "{}={}|", text(name), text(value)).expect("a String takes all");
            }
        }
        let before = self.outcome.forwarded.len();
        encode_trailers(section, remove, &mut self.outcome.forwarded);
        assert!(self.outcome.forwarded.len() - before <= 3 + section.len(), "the size is a bound");
        self.message().trailers = kept;
        // What ends the body has been written.
        if let State::Body(_, framing) = &mut self.state {
            *framing = Framing::None;
        }
    }

    /// The message is complete.
    fn finish(&mut self) -> Stop {
        let State::Body(_, framing) = &self.state else { unreachable!("only a body ends") };
        if forwarded_framing(*framing) == Framing::Chunked {
            self.outcome.forwarded.extend_from_slice(LAST_CHUNK);
        }
        self.message().complete = true;
        self.state = State::Head(HeadScan::default());
        if self.last { Stop::Closed } else { Stop::Clean }
    }
}

/// A body that lasts until close is sent on in chunks, so that its end can be seen.
fn forwarded_framing(framing: Framing) -> Framing {
    if framing == Framing::UntilClose { Framing::Chunked } else { framing }
}

fn owned<'b>(options: impl Iterator<Item = &'b [u8]>) -> Vec<Vec<u8>> {
    options.map(<[u8]>::to_vec).collect()
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

fn describe_request(head: &Request<'_>, message: &mut Message) {
    let authority = match head.authority() {
        b"" => "default.test".to_owned(),
        authority => text(authority),
    };
    let line = format!("{} {} @{authority}", text(head.method_str()), text(head.path()));
    message.head = format!("{line} {}", framing_and_more(head.framing(), head.version(), head.keep_alive()));
    if head.expect_continue() {
        message.head.push_str(" expect");
    }
    if let Some(upgrade) = head.upgrade() {
        write!(message.head, " upgrade={}", text(upgrade)).expect("a String takes all");
    }
    message.kept = format!("{line} {:?} te={} ", head.framing(), head.te_trailers());
    let is_old = head.version() == Version::Http10;
    let stays = |known| known == Known::Host || (known == Known::Expect && is_old);
    describe_fields(head.fields().filter(|field| !stays(field.known)), &mut message.kept);
}

fn describe_response(head: &Response<'_>, message: &mut Message) {
    let line = format!("{} {}", head.status(), text(head.reason()));
    message.head = format!("{line} {}", framing_and_more(head.framing(), head.version(), head.keep_alive()));
    message.kept = line;
    if head.table().length_is_of_get {
        write!(message.kept, " length={:?} ", head.content_length()).expect("a String takes all");
    }
    describe_fields(head.fields(), &mut message.kept);
}

fn framing_and_more(framing: Framing, version: Version, keep_alive: bool) -> String {
    let framing = match framing {
        Framing::None => "none".to_owned(),
        Framing::Length(length) => format!("length={length}"),
        Framing::Chunked => "chunked".to_owned(),
        Framing::UntilClose => "until-close".to_owned(),
    };
    let version = match version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
        Version::Http2 => "2",
    };
    format!("{version} {framing} {}", if keep_alive { "keep" } else { "close" })
}

fn describe_fields<'a>(fields: impl Iterator<Item = FieldRef<'a>>, into: &mut String) {
    for field in fields.filter(|field| !field.known.is_of_the_hop() && !field.nominated) {
        write!(into, "{}={}|", text(field.name), text(field.value)).expect("a String takes all");
    }
}
