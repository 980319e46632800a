//! What RFC 9113 says becomes of a frame, as plainly as it can be written: maps, wide numbers, and every stream that ever was.
//!
//! It shares nothing with the connection under test but the decoder of field blocks, the limits and the names. It never sees our state: windows of
//! ours go by the WINDOW_UPDATE frames that were really written.

use std::collections::BTreeMap;

use crate::hpack::{Decoder, FieldList};
use crate::http2::{Code, Limits, Role};

/// An event, without its key and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Seen {
    Head(u32, bool),
    Trailers(u32),
    Data(u32, usize, bool),
    /// With its code, and whether it was unprocessed.
    Reset(u32, u32, bool),
    /// 0: the connection's.
    Window(u32),
    Settings,
    GoAway(u32),
    Pong(u64),
    Failed(u32),
}

/// A frame of ours, but for WINDOW_UPDATE and the PING that measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wrote {
    Ack,
    Pong(u64),
    Ping(u64),
    Rst(u32, u32),
    GoAway(u32),
    Headers(u32, bool),
    Data(u32, usize, bool),
}

/// What one frame brings.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) seen: Vec<Seen>,
    pub(super) wrote: Vec<Wrote>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Head,
    Trailers,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// The peer has ended its side; we ours.
    pub(super) theirs: bool,
    pub(super) ours: bool,
    pub(super) due: Due,
    /// What we may send, what the peer may.
    pub(super) send: i64,
    pub(super) receive: i64,
    pub(super) left: Option<u64>,
}

struct Block {
    stream: u32,
    ends: bool,
    on_itself: bool,
    bytes: Vec<u8>,
    continuations: u32,
}

/// Why a frame ends something.
enum Fault {
    Connection(Code),
    Stream(u32, Code),
}

use Fault::{Connection, Stream as OfStream};

const STREAM_BITS: u32 = (1 << 31) - 1;
const WINDOW_MAX: i64 = (1 << 31) - 1;
/// Streams that a side has to remember, and that it may forget beyond.
const REMEMBERED: usize = 32;

pub(super) struct Model {
    role: Role,
    limits: Limits,
    pub(super) streams: BTreeMap<u32, Stream>,
    /// Every stream that went, and whether we reset it.
    closed: Vec<(u32, bool)>,
    pub(super) last: u32,
    opened: u64,
    block: Option<Block>,
    decoder: Decoder,
    list: FieldList,
    told: bool,
    acknowledged: bool,
    pub(super) failed: bool,
    pub(super) warned: bool,
    pub(super) gone: bool,
    pub(super) peer_last: Option<u32>,
    pub(super) send: i64,
    pub(super) receive: i64,
    initial: i64,
    pub(super) max_frame: usize,
    pub(super) max_streams: u32,
    offers_connect: bool,
    empty: u32,
    window_updates: u64,
    pub(super) data_sent: u64,
    pub(super) pings: u32,
    /// A PING of the connection's own is under way.
    pub(super) measures: bool,
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

impl Model {
    pub(super) fn new(role: Role, limits: &Limits) -> Self {
        Self {
            role,
            limits: *limits,
            streams: BTreeMap::new(),
            closed: Vec::new(),
            last: 0,
            opened: 0,
            block: None,
            decoder: Decoder::new(4_096),
            list: FieldList::new(),
            told: false,
            acknowledged: false,
            failed: false,
            warned: false,
            gone: false,
            peer_last: None,
            send: 65_535,
            receive: i64::from(limits.connection_window),
            initial: 65_535,
            max_frame: 16_384,
            max_streams: 100,
            offers_connect: false,
            empty: 0,
            window_updates: 0,
            data_sent: 0,
            pings: 0,
            measures: false,
        }
    }

    /// The stream whose field block is not whole.
    pub(super) fn continues(&self) -> Option<u32> {
        self.block.as_ref().map(|block| block.stream)
    }

    pub(super) fn open(&mut self, id: u32, theirs: bool) {
        self.last = id;
        self.opened += 1;
        let receive = if self.acknowledged { i64::from(self.limits.stream_window) } else { 65_535 };
        let due = if self.role == Role::Server { Due::Trailers } else { Due::Head };
        self.streams.insert(id, Stream { theirs, ours: false, due, send: self.initial, receive, left: None });
    }

    pub(super) fn close(&mut self, id: u32, reset: bool) {
        assert!(self.streams.remove(&id).is_some());
        self.closed.push((id, reset));
    }

    pub(super) fn close_if_ended(&mut self, id: u32) {
        if self.streams.get(&id).is_some_and(|stream| stream.ours && stream.theirs) {
            self.close(id, false);
        }
    }

    fn is_idle(&self, id: u32) -> bool {
        id.is_multiple_of(2) || id > self.last
    }

    /// `Some(true)`: we reset it, or nobody knows; `Some(false)`: the peer should know better; `None`: it never was.
    fn is_late(&self, id: u32) -> Option<bool> {
        let known = self.closed.len().saturating_sub(REMEMBERED);
        if let Some((_, reset)) = self.closed[known..].iter().find(|(closed, _)| *closed == id) {
            return Some(*reset);
        }
        (self.role == Role::Client || self.closed[..known].iter().any(|(closed, _)| *closed >= id)).then_some(true)
    }

    /// A frame of the peer's.
    pub(super) fn frame(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Outcome {
        let mut outcome = Outcome::default();
        if self.failed {
            return outcome;
        }
        match self.judge(kind, flags, id, payload, &mut outcome) {
            Ok(()) => {}
            Err(OfStream(id, code)) => {
                self.close(id, true);
                outcome.wrote.push(Wrote::Rst(id, code.0));
                outcome.seen.push(Seen::Reset(id, code.0, false));
            }
            Err(Connection(code)) => {
                self.failed = true;
                outcome.wrote.push(Wrote::GoAway(code.0));
                outcome.seen.push(Seen::Failed(code.0));
            }
        }
        outcome
    }

    fn judge(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8], outcome: &mut Outcome) -> Result<(), Fault> {
        let protocol = || Err(Connection(Code::PROTOCOL_ERROR));
        let size = || Err(Connection(Code::FRAME_SIZE_ERROR));
        if payload.len() > 16_384 {
            return size();
        }
        if self.block.as_ref().is_some_and(|block| kind != 9 || block.stream != id) {
            return protocol();
        }
        if !self.told && (kind != 4 || flags & 1 != 0) {
            return protocol();
        }
        match kind {
            0..=3 if id == 0 => protocol(),
            4 | 6 | 7 if id != 0 => protocol(),
            0 => self.data(flags, id, payload, outcome),
            1 => {
                let mut rest = payload;
                let mut padding = 0;
                if flags & 8 != 0 {
                    let Some((&first, after)) = rest.split_first() else { return size() };
                    (padding, rest) = (usize::from(first), after);
                }
                let mut on_itself = false;
                if flags & 0x20 != 0 {
                    if rest.len() < 5 {
                        return size();
                    }
                    on_itself = number(rest, 0) & STREAM_BITS == id;
                    rest = &rest[5..];
                }
                if padding > rest.len() {
                    return protocol();
                }
                let bytes = rest[..rest.len() - padding].to_vec();
                self.count_empty(bytes.is_empty() && flags & 1 == 0)?;
                self.block = Some(Block { stream: id, ends: flags & 1 != 0, on_itself, bytes, continuations: 0 });
                self.section(flags, outcome)
            }
            9 => {
                self.count_empty(payload.is_empty())?;
                let Some(block) = &mut self.block else { return protocol() };
                block.continuations += 1;
                block.bytes.extend_from_slice(payload);
                let too_many = block.continuations > self.limits.continuations_max
                    || block.bytes.len() > self.limits.block_bytes_max as usize;
                if too_many { Err(Connection(Code::ENHANCE_YOUR_CALM)) } else { self.section(flags, outcome) }
            }
            2 if payload.len() != 5 => size(),
            2 if number(payload, 0) & STREAM_BITS == id => protocol(),
            3 if payload.len() != 4 => size(),
            3 if self.streams.contains_key(&id) => {
                self.close(id, false);
                let code = number(payload, 0);
                outcome.seen.push(Seen::Reset(id, code, code == Code::REFUSED_STREAM.0));
                Ok(())
            }
            3 if self.is_idle(id) => protocol(),
            4 if flags & 1 != 0 && !payload.is_empty() => size(),
            4 if flags & 1 != 0 => {
                if !std::mem::replace(&mut self.acknowledged, true) {
                    let more = i64::from(self.limits.stream_window) - 65_535;
                    self.streams.values_mut().for_each(|stream| stream.receive += more);
                }
                Ok(())
            }
            4 => self.settings(payload, outcome),
            5 => protocol(),
            6 if payload.len() != 8 => size(),
            6 => {
                let said = u64::from_be_bytes(payload.try_into().expect("eight bytes"));
                if flags & 1 == 0 {
                    outcome.wrote.push(Wrote::Pong(said));
                } else if payload == b"\0window\0" {
                    self.measures = false;
                } else if self.pings > 0 {
                    self.pings -= 1;
                    outcome.seen.push(Seen::Pong(said));
                }
                Ok(())
            }
            7 if payload.len() < 8 => size(),
            7 => {
                let last = (number(payload, 0) & STREAM_BITS).min(self.peer_last.unwrap_or(u32::MAX));
                self.peer_last = Some(last);
                outcome.seen.push(Seen::GoAway(number(payload, 4)));
                if self.role == Role::Client {
                    let lost: Vec<u32> = self.streams.keys().copied().filter(|&id| id > last).collect();
                    for id in lost {
                        self.close(id, true);
                        outcome.seen.push(Seen::Reset(id, Code::REFUSED_STREAM.0, true));
                    }
                }
                Ok(())
            }
            8 => self.window_update(id, payload, outcome),
            _ => Ok(()),
        }
    }

    fn count_empty(&mut self, is_empty: bool) -> Result<(), Fault> {
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        let max = self.limits.max_consecutive_inbound_frames_with_empty_payload;
        if self.empty > max { Err(Connection(Code::ENHANCE_YOUR_CALM)) } else { Ok(()) }
    }

    fn data(&mut self, flags: u8, id: u32, payload: &[u8], outcome: &mut Outcome) -> Result<(), Fault> {
        let ends = flags & 1 != 0;
        let content = match flags & 8 {
            0 => payload.len(),
            _ => {
                let Some(&padding) = payload.first() else { return Err(Connection(Code::FRAME_SIZE_ERROR)) };
                let Some(content) = (payload.len() - 1).checked_sub(usize::from(padding)) else {
                    return Err(Connection(Code::PROTOCOL_ERROR));
                };
                content
            }
        };
        self.count_empty(content == 0 && !ends)?;
        self.receive -= payload.len() as i64;
        if self.receive < 0 {
            return Err(Connection(Code::FLOW_CONTROL_ERROR));
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return match self.is_late(id) {
                _ if self.is_idle(id) => Err(Connection(Code::PROTOCOL_ERROR)),
                Some(true) => Ok(()),
                Some(false) => Err(Connection(Code::STREAM_CLOSED)),
                None => Err(Connection(Code::PROTOCOL_ERROR)),
            };
        };
        if stream.theirs {
            return Err(OfStream(id, Code::STREAM_CLOSED));
        }
        if stream.due == Due::Head {
            return Err(OfStream(id, Code::PROTOCOL_ERROR));
        }
        stream.receive -= payload.len() as i64;
        if stream.receive < 0 {
            return Err(OfStream(id, Code::FLOW_CONTROL_ERROR));
        }
        if let Some(left) = &mut stream.left {
            let wrong = content as u64 > *left || (ends && (content as u64) < *left);
            if wrong {
                return Err(OfStream(id, Code::PROTOCOL_ERROR));
            }
            *left -= content as u64;
        }
        if content > 0 || ends {
            outcome.seen.push(Seen::Data(id, content, ends));
        }
        stream.theirs = ends;
        self.close_if_ended(id);
        Ok(())
    }

    /// The block, if it is whole.
    fn section(&mut self, flags: u8, outcome: &mut Outcome) -> Result<(), Fault> {
        if flags & 4 == 0 {
            return Ok(());
        }
        let Block { stream: id, ends, on_itself, bytes, .. } = self.block.take().expect("a block");
        let is_new = self.role == Role::Server && id % 2 == 1 && id > self.last;
        if !is_new && !self.streams.contains_key(&id) {
            match self.is_late(id) {
                _ if self.is_idle(id) => return Err(Connection(Code::PROTOCOL_ERROR)),
                Some(true) => {}
                Some(false) => return Err(Connection(Code::STREAM_CLOSED)),
                None => return Err(Connection(Code::PROTOCOL_ERROR)),
            }
        }
        let decoded = self.decoder.decode(&bytes, &self.limits.fields, &mut self.list);
        decoded.map_err(|_| Connection(Code::COMPRESSION_ERROR))?;
        if is_new {
            let refused = if self.streams.len() >= self.limits.max_concurrent_streams as usize {
                Some(Code::REFUSED_STREAM)
            } else {
                on_itself.then_some(Code::PROTOCOL_ERROR)
            };
            self.open(id, ends);
            if self.gone {
                self.close(id, true);
            } else if let Some(code) = refused {
                self.close(id, true);
                outcome.wrote.push(Wrote::Rst(id, code.0));
            } else {
                outcome.seen.push(Seen::Head(id, ends));
            }
            return Ok(());
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let is_head = stream.due == Due::Head;
        let first = self.list.iter().next();
        let interim = is_head && first.is_some_and(|field| field.name == b":status" && field.value.starts_with(b"1"));
        if stream.theirs {
            return Err(OfStream(id, Code::STREAM_CLOSED));
        }
        let too_short = !is_head && stream.left.is_some_and(|left| left > 0);
        if on_itself || (interim && ends) || (!is_head && !ends) || too_short {
            return Err(OfStream(id, Code::PROTOCOL_ERROR));
        }
        if !interim {
            stream.due = Due::Trailers;
        }
        stream.theirs = ends;
        outcome.seen.push(if is_head { Seen::Head(id, ends) } else { Seen::Trailers(id) });
        self.close_if_ended(id);
        Ok(())
    }

    fn settings(&mut self, payload: &[u8], outcome: &mut Outcome) -> Result<(), Fault> {
        if !payload.len().is_multiple_of(6) {
            return Err(Connection(Code::FRAME_SIZE_ERROR));
        }
        let mut initial = self.initial;
        for entry in payload.chunks(6) {
            let (name, value) = (u16::from_be_bytes([entry[0], entry[1]]), number(entry, 2));
            let wrong = match name {
                2 => value > 1 || (value == 1 && self.role == Role::Client),
                5 => !(16_384..1 << 24).contains(&value),
                8 => value > 1 || (value == 0 && self.offers_connect),
                9 => value > 1,
                _ => false,
            };
            if wrong {
                return Err(Connection(Code::PROTOCOL_ERROR));
            }
            match name {
                3 => self.max_streams = value,
                4 if i64::from(value) > WINDOW_MAX => return Err(Connection(Code::FLOW_CONTROL_ERROR)),
                4 => initial = i64::from(value),
                5 => self.max_frame = value as usize,
                8 => self.offers_connect = value == 1,
                _ => {}
            }
        }
        self.told = true;
        let more = initial - self.initial;
        self.initial = initial;
        for stream in self.streams.values_mut() {
            stream.send += more;
            if stream.send > WINDOW_MAX {
                return Err(Connection(Code::FLOW_CONTROL_ERROR));
            }
        }
        outcome.wrote.push(Wrote::Ack);
        outcome.seen.push(Seen::Settings);
        Ok(())
    }

    fn window_update(&mut self, id: u32, payload: &[u8], outcome: &mut Outcome) -> Result<(), Fault> {
        if payload.len() != 4 {
            return Err(Connection(Code::FRAME_SIZE_ERROR));
        }
        self.window_updates += 1;
        let by_data = u64::from(self.limits.max_inbound_window_update_frames_per_data_frame_sent) * self.data_sent;
        if self.window_updates > 5 + 2 * (self.opened + by_data) {
            return Err(Connection(Code::ENHANCE_YOUR_CALM));
        }
        let more = i64::from(number(payload, 0) & STREAM_BITS);
        let is_idle = self.is_idle(id);
        let (window, fault): (&mut i64, &dyn Fn(Code) -> Fault) = match self.streams.get_mut(&id) {
            Some(stream) => (&mut stream.send, &|code| OfStream(id, code)),
            None if id == 0 => (&mut self.send, &Connection),
            None if is_idle => return Err(Connection(Code::PROTOCOL_ERROR)),
            None => return Ok(()),
        };
        if more == 0 {
            return Err(fault(Code::PROTOCOL_ERROR));
        }
        let before = *window;
        *window += more;
        if *window > WINDOW_MAX {
            return Err(fault(Code::FLOW_CONTROL_ERROR));
        }
        if before <= 0 && *window > 0 {
            outcome.seen.push(Seen::Window(id));
        }
        Ok(())
    }
}
