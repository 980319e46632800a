//! A whole connection of HTTP/2 against a reference model: frames, right and wrong, mixed with what an application does.
//!
//! What must hold after each step: events and answers are the model's; what is written keeps to the peer's windows and to streams that are there;
//! windows add up; keys open what they were made for. And the same script in other pieces brings the same.

mod model;
mod script;

use std::collections::BTreeMap;

use crate::hpack::{Decoder, Field, FieldList, ListLimits};
use crate::http2::{Connection, Event, Key, Limits, PREFACE, Rate, Role};
use model::{Model, Outcome, Seen, Wrote};
use script::Script;

/// One script, whole and in pieces. Gives which kinds of events there were.
pub fn connection(input: &[u8]) -> u64 {
    let whole = play(input, usize::MAX);
    for piece in [1, 2, 5, 11] {
        assert_eq!(play(input, piece), whole, "in pieces of {piece}");
    }
    whole.1
}

/// One script in pieces that it chooses itself. Gives which kinds of events there were.
pub fn connection_quick(input: &[u8]) -> u64 {
    play(input, input.get(1).map_or(usize::MAX, |&byte| 1 + 3 * usize::from(byte))).1
}

/// Bytes that are no script, to a server or to a client that waits for two answers: nothing must come of them but events.
pub fn wire(input: &[u8]) -> u64 {
    let Some((&first, rest)) = input.split_first() else { return 0 };
    let run = |piece: usize| {
        let mut side = Side::new(if first % 2 == 1 { Role::Client } else { Role::Server }, &limits(first));
        if side.connection.role() == Role::Server {
            side.read(PREFACE, usize::MAX);
        }
        side.read(&[0, 0, 0, 4, 0, 0, 0, 0, 0], usize::MAX);
        (0..2).for_each(|_| _ = side.request(false));
        side.read(rest, piece);
        (side.seen, side.out)
    };
    let whole = run(usize::MAX);
    assert_eq!(run(3), whole);
    whole.0.iter().fold(1, |sum, seen| digest(sum, shape(seen)))
}

/// Budgets without an end, so that scripts go on; windows and streams small enough to be met.
fn limits(choice: u8) -> Limits {
    let all = Rate { burst: 1 << 30, per_second: 0 };
    Limits {
        max_concurrent_streams: 4,
        stream_window: if choice & 4 == 0 { 2_000 } else { 70_000 },
        stream_window_max: 140_000,
        connection_window: 65_535,
        connection_window_max: CONNECTION_WINDOW_MAX,
        fields: ListLimits { size_max: 1_000, fields_max: 20 },
        block_bytes_max: 40,
        continuations_max: 3,
        max_inbound_priority_frames_per_stream: 1 << 20,
        max_inbound_window_update_frames_per_data_frame_sent: 1,
        settings: all,
        pings: all,
        resets: all,
        glitches: all,
        ..Limits::default()
    }
}

const CONNECTION_WINDOW_MAX: u32 = 200_000;

fn digest(sum: u64, more: u64) -> u64 {
    (sum ^ more).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

/// What an event is, without its numbers.
fn shape(seen: &Seen) -> u64 {
    match *seen {
        Seen::Head(_, ends) => 1 + u64::from(ends),
        Seen::Trailers(_) => 3,
        Seen::Data(_, len, ends) => 4 + 2 * u64::from(usize::BITS - len.leading_zeros()) + u64::from(ends),
        Seen::Reset(_, code, unprocessed) => 100 + 2 * u64::from(code.min(20)) + u64::from(unprocessed),
        Seen::Window(id) => 200 + u64::from(id != 0),
        Seen::Settings => 202,
        Seen::GoAway(_) => 203,
        Seen::Pong(_) => 204,
        Seen::Failed(code) => 300 + u64::from(code),
    }
}

/// The connection, and what its caller keeps.
struct Side {
    connection: Connection,
    fields: FieldList,
    out: Vec<u8>,
    scratch: Vec<u8>,
    unread: Vec<u8>,
    keys: BTreeMap<u32, Key>,
    /// Content that nobody has taken yet.
    held: BTreeMap<u32, usize>,
    seen: Vec<Seen>,
}

impl Side {
    fn new(role: Role, limits: &Limits) -> Self {
        let mut connection = Connection::new(role, limits, 0);
        connection.begin(&mut Vec::new());
        Self {
            connection,
            fields: FieldList::new(),
            out: Vec::new(),
            scratch: Vec::new(),
            unread: Vec::new(),
            keys: BTreeMap::new(),
            held: BTreeMap::new(),
            seen: Vec::new(),
        }
    }

    /// So many bytes at a time.
    fn read(&mut self, bytes: &[u8], piece: usize) {
        // Long content in a few pieces: what matters is where the beginnings of frames are cut.
        let (first, rest) = bytes.split_at(bytes.len().min(64));
        for bytes in first.chunks(piece).chain(rest.chunks(piece.max(rest.len() / 4))) {
            self.unread.extend_from_slice(bytes);
            let mut at = 0;
            loop {
                let step = self.connection.receive(&self.unread[at..], 0, &mut self.fields, &mut self.out);
                let given = self.unread.len() - at;
                assert!(step.consumed <= given);
                at += step.consumed;
                if step.event == Event::NeedMore {
                    break;
                }
                self.saw(step.event, given);
            }
            self.unread.drain(..at);
        }
    }

    fn saw(&mut self, event: Event, given: usize) {
        let seen = match event {
            Event::NeedMore => unreachable!("ends the loop"),
            Event::Head { key, ends } => {
                self.keys.insert(key.id(), key);
                Seen::Head(key.id(), ends)
            }
            Event::Trailers { key } => Seen::Trailers(key.id()),
            Event::Data { key, range, ends } => {
                assert!(range.end <= given && (ends || !range.is_empty()));
                *self.held.entry(key.id()).or_default() += range.len();
                if let Some(Seen::Data(id, len, false)) = self.seen.last_mut()
                    && *id == key.id()
                {
                    // Another piece of the same frame: scripts look after each.
                    let len = *len + range.len();
                    self.seen.pop();
                    self.seen.push(Seen::Data(key.id(), len, ends));
                    return;
                }
                Seen::Data(key.id(), range.len(), ends)
            }
            Event::Reset { key, code, rule, unprocessed } => {
                assert!(!self.connection.is_open(key));
                assert!(!unprocessed || rule.is_none());
                Seen::Reset(key.id(), code.0, unprocessed)
            }
            Event::Window { key } => Seen::Window(key.map_or(0, Key::id)),
            Event::Settings => Seen::Settings,
            Event::GoAway { code } => Seen::GoAway(code.0),
            Event::Pong(number) => Seen::Pong(number),
            Event::Failed(error) => Seen::Failed(crate::http2::Code::of(error.rule).0),
        };
        self.seen.push(seen);
    }

    fn request(&mut self, ends: bool) -> Option<u32> {
        if self.connection.role() == Role::Server {
            return None;
        }
        let name = b":path";
        let key = self.connection.send_request(ends, &mut self.scratch, &mut self.out, |fields| {
            fields.put(Field { name, value: b"/", never_indexed: false });
        })?;
        self.keys.insert(key.id(), key);
        Some(key.id())
    }
}

/// A connection, its model, and a peer that reads what we write.
struct Player {
    side: Side,
    model: Model,
    /// The peer's decoder, and what it has.
    decoder: Decoder,
    list: FieldList,
    block: Vec<u8>,
    piece: usize,
    /// Of all that happened, in its order.
    sum: u64,
    /// A bit for each kind of event.
    kinds: u64,
}

fn play(input: &[u8], piece: usize) -> (u64, u64) {
    let (&first, rest) = input.split_first().unwrap_or((&0, &[]));
    let role = if first & 1 == 1 { Role::Client } else { Role::Server };
    let limits = limits(first);
    let mut player = Player {
        side: Side::new(role, &limits),
        model: Model::new(role, &limits),
        decoder: Decoder::new(4_096),
        list: FieldList::new(),
        block: Vec::new(),
        piece,
        sum: 1,
        kinds: 0,
    };
    if role == Role::Server {
        player.side.read(PREFACE, piece);
    }
    if first < 250 {
        player.peer(4, 0, 0, &[]);
    }
    if first < 250 && first & 2 == 0 {
        player.peer(4, 1, 0, &[]);
    }
    Script::new(rest.get(1..).unwrap_or_default()).run(&mut player);
    player.end();
    (player.sum, player.kinds)
}

impl Player {
    /// A frame of the peer's: the model's outcome, and nothing else.
    fn peer(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(id.to_be_bytes());
        frame.extend(payload);
        let outcome = self.model.frame(kind, flags, id, payload);
        self.side.read(&frame, self.piece);
        if kind == 4 && flags & 1 == 0 && outcome.seen == [Seen::Settings] {
            // The peer reads our blocks by what it said, once we have acknowledged it.
            let sizes = payload.chunks_exact(6).filter(|entry| entry[..2] == [0, 1]);
            sizes.for_each(|entry| self.decoder.announced(usize::from(entry[4]) << 8 | usize::from(entry[5])));
        }
        //PROBE
        self.compare(outcome);
    }

    /// What was to happen has happened.
    fn compare(&mut self, mut outcome: Outcome) {
        let mut seen = std::mem::take(&mut self.side.seen);
        if outcome.seen.iter().any(|seen| matches!(seen, Seen::Reset(_, _, true))) {
            // In no order that means anything.
            seen.sort_unstable();
            outcome.seen.sort_unstable();
        }
        assert_eq!(seen, outcome.seen);
        let wrote = self.written();
        assert_eq!(wrote, outcome.wrote);
        self.sum = seen.iter().fold(self.sum, |sum, seen| digest(sum, shape(seen)));
        self.sum = digest(self.sum, wrote.len() as u64);
        self.kinds = seen.iter().fold(self.kinds, |kinds, seen| kinds | 1 << (shape(seen) % 64));
        self.check();
    }

    /// Reads what was written as the peer would. Windows are opened in the model, never beyond what they may be.
    fn written(&mut self) -> Vec<Wrote> {
        let out = std::mem::take(&mut self.side.out);
        let (mut wrote, mut rest) = (Vec::new(), out.as_slice());
        while let Some((&[_, l0, l1, kind, flags, s0, s1, s2, s3], after)) = rest.split_first_chunk::<9>() {
            let (payload, after) = after.split_at(usize::from(l0) << 8 | usize::from(l1));
            rest = after;
            let id = u32::from_be_bytes([s0, s1, s2, s3]);
            let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
            wrote.push(match kind {
                0 => Wrote::Data(id, payload.len(), flags & 1 != 0),
                1 => {
                    assert!(flags & 4 != 0, "our sections are short here");
                    self.block.clear();
                    self.block.extend_from_slice(payload);
                    let limits = ListLimits { size_max: 1 << 16, fields_max: 100 };
                    self.decoder.decode(&self.block, &limits, &mut self.list).expect("what we write can be read");
                    Wrote::Headers(id, flags & 1 != 0)
                }
                3 => Wrote::Rst(id, number(0)),
                4 => {
                    assert_eq!((flags, payload.len(), id), (1, 0, 0));
                    Wrote::Ack
                }
                6 if payload == b"\0window\0" && flags == 0 => {
                    assert!(!std::mem::replace(&mut self.model.measures, true), "one measure at a time");
                    continue;
                }
                6 if flags == 0 => Wrote::Ping(u64::from_be_bytes(payload.try_into().expect("eight bytes"))),
                6 => Wrote::Pong(u64::from_be_bytes(payload.try_into().expect("eight bytes"))),
                7 => {
                    assert!(number(0) == (1 << 31) - 1 || number(0) == self.highest());
                    Wrote::GoAway(number(4))
                }
                8 => {
                    self.opened(id, i64::from(number(0)));
                    continue;
                }
                kind => panic!("we write no frame {kind}"),
            });
        }
        assert!(rest.is_empty());
        wrote
    }

    /// The last stream that we have processed.
    fn highest(&self) -> u32 {
        if self.side.connection.role() == Role::Server { self.model.last } else { 0 }
    }

    fn opened(&mut self, id: u32, more: i64) {
        assert!(more > 0);
        if id == 0 {
            self.model.receive += more;
            assert!(self.model.receive <= i64::from(CONNECTION_WINDOW_MAX));
        } else {
            let stream = self.model.streams.get_mut(&id).expect("a window of a stream that is there");
            assert!(!stream.theirs, "nothing more comes");
            stream.receive += more;
            assert!(stream.receive <= 140_000);
        }
    }

    /// What must hold between steps.
    fn check(&self) {
        let (connection, model) = (&self.side.connection, &self.model);
        assert_eq!(connection.active() as usize, model.streams.len());
        for (&id, &key) in &self.side.keys {
            let stream = model.streams.get(&id);
            assert_eq!(connection.is_open(key), stream.is_some(), "stream {id}");
            // A connection that failed in the middle of SETTINGS sends nothing any more.
            if let Some(stream) = stream.filter(|_| !model.failed) {
                let most = model.send.min(stream.send).clamp(0, model.max_frame as i64);
                assert_eq!(connection.sendable(key), most as usize);
            }
        }
        if connection.role() == Role::Client {
            let is_leaving = model.failed || model.warned || model.gone || model.peer_last.is_some();
            let room = model.max_streams.min(4).saturating_sub(model.streams.len() as u32);
            assert_eq!(connection.capacity(), if is_leaving { 0 } else { room });
        }
    }

    /// All that was held is taken, and the peer may send again.
    fn end(&mut self) {
        for (id, bytes) in std::mem::take(&mut self.side.held) {
            self.side.connection.consumed(self.side.keys[&id], bytes, &mut self.side.out);
        }
        self.written();
        if self.model.failed {
            return;
        }
        assert!(self.model.receive > 65_535 / 2, "{}", self.model.receive);
        for (id, stream) in &self.model.streams {
            assert!(stream.theirs || stream.receive >= 1_000, "stream {id}: {stream:?}");
        }
        let memory = self.side.connection.memory();
        assert!(memory <= 20_000, "{memory} bytes");
    }
}
