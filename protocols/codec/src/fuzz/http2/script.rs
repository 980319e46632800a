//! Scripts: four bytes a step, each a frame of the peer's or a wish of the application's. Every input is one.

use super::model::{Due, Outcome, Wrote};
use super::{Field, Player, Role};
use crate::error::Rule;
use crate::http2::{Code, PINGS_MAX};

/// From here on a step's second byte makes a frame wild: a few in a hundred, or scripts would end where they begin.
const WILD: u8 = 248;
/// Bytes of a step.
const STEP_BYTES: usize = 4;
/// Steps of one script.
const STEPS_MAX: usize = 160;
/// The kinds of frames that a step may be, each as often as it is worth.
const KINDS: [u8; 20] = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 3, 4, 8, 9, 6, 7, 2, 5, 0xbb];

/// Field blocks: a request, responses, trailers, one beside the table, one that empties it, one of it, and one with too many fields.
const SECTIONS: [&[u8]; 8] = [
    b"\x82\x86\x84\x41\x01a",
    b"\x88",
    b"\x08\x03103",
    b"\x00\x01a\x01b",
    b"\x80",
    b"\x20\x3f\xe1\x1f\x82",
    b"\xbe",
    b"\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82\x82",
];

/// Lengths of content: none, few, about a window, about a frame.
const LENGTHS: [usize; 8] = [0, 1, 7, 300, 1_999, 2_001, 16_384, 16_385];
const WINDOWS: [u32; 8] = [0, 1, 100, 20_000, 65_535, 1 << 30, (1 << 31) - 1, 1 << 31];

pub(super) struct Script<'i> {
    steps: &'i [u8],
    /// What a field block still lacks.
    rest: &'static [u8],
}

impl<'i> Script<'i> {
    pub(super) fn new(steps: &'i [u8]) -> Self {
        Self { steps, rest: &[] }
    }

    pub(super) fn run(mut self, player: &mut Player) {
        for step in self.steps.chunks(STEP_BYTES).take(STEPS_MAX) {
            let at = |at: usize| step.get(at).copied().unwrap_or(0);
            let (op, a, b, c) = (at(0) % 32, at(1), at(2), at(3));
            match KINDS.get(usize::from(op)) {
                Some(&kind) => self.frame(player, kind, a, b, c),
                None if player.model.failed => {} // who failed is closed, and has no wishes
                None => wish(player, op, a, b, c),
            }
        }
    }

    /// A frame that is right for its stream, unless `a` says that it is to be wild.
    fn frame(&mut self, player: &mut Player, kind: u8, a: u8, b: u8, c: u8) {
        let model = &player.model;
        let is_wild = a >= WILD;
        let open: Vec<u32> = model.streams.iter().filter(|(_, stream)| !stream.theirs).map(|(&id, _)| id).collect();
        let some = open.get(usize::from(a) % open.len().max(1)).copied();
        let new = if model.last == 0 { 1 } else { model.last + 2 + u32::from(c > 240) * 4 };
        let is_server = player.side.connection.role() == Role::Server;
        // A block that has begun goes on; without a stream that takes it a frame is about a new one, or a PING.
        let kind = match kind {
            _ if is_wild => kind,
            _ if model.continues().is_some() => 9,
            0 | 3 if some.is_none() => 6 - 5 * u8::from(is_server),
            1 if some.is_none() && !is_server => 6,
            9 | 5 => 8,
            7 if c < 200 => 6,
            kind => kind,
        };
        let kind = if kind == 6 && is_server && !is_wild && model.streams.is_empty() { 1 } else { kind };
        let begins = kind == 1 && is_server && (!a.is_multiple_of(4) || some.is_none());
        let id = match kind {
            _ if is_wild => wild_id(model.last, b),
            1 if begins => new,
            0 | 1 | 3 => some.unwrap_or(1),
            2 => new,
            8 if a.is_multiple_of(2) => some.unwrap_or(0),
            9 => model.continues().unwrap_or(1),
            _ => 0,
        };
        let (mut flags, mut payload) = (b & 1, Vec::new());
        match kind {
            0 => {
                let stream = model.streams.get(&id);
                let most = stream.map_or(0, |stream| model.receive.min(stream.receive).clamp(0, 16_384) as usize);
                let most = most.min(stream.and_then(|stream| stream.left).unwrap_or(u64::MAX) as usize);
                let len = LENGTHS[usize::from(c % 8)];
                let len = if is_wild { len } else { len.min(most).max(usize::from(b & 1 == 0 && most > 0)) };
                payload.resize(len, b'x');
                if b & 4 != 0 && (is_wild || !payload.is_empty()) {
                    // A part of the content becomes padding.
                    let padding = if is_wild { b } else { (b >> 4).min((len - 1) as u8) };
                    flags |= 8;
                    if let Some(first) = payload.first_mut() {
                        *first = padding;
                    }
                }
            }
            1 => {
                let due_head = model.streams.get(&id).is_some_and(|stream| stream.due == Due::Head);
                let section = match (is_wild, begins, due_head) {
                    (true, ..) => c % 8,
                    (_, true, _) => [0, 0, 0, 5, 7][usize::from(c % 5)],
                    (_, _, true) => [1, 2][usize::from(c % 2)],
                    _ => 3,
                };
                if !is_wild && !begins {
                    flags = if due_head { b & u8::from(section == 1) } else { 1 };
                }
                let (padded, prioritized) = (b & 4 != 0, b & 8 != 0);
                flags |= (b & 4) << 1 | (b & 8) << 2;
                flags |= if b & 2 == 0 { 4 } else { 0 };
                if padded {
                    payload.push(if is_wild { b } else { b >> 5 });
                }
                if prioritized {
                    payload.extend(if c > 250 { id } else { 0 }.to_be_bytes());
                    payload.push(c);
                }
                let section = SECTIONS[usize::from(section)];
                let (now, rest) = if b & 2 != 0 { section.split_at(section.len() / 2 + 1) } else { (section, &[][..]) };
                let (now, rest) = if now.is_empty() { (section, &[][..]) } else { (now, rest) };
                self.rest = rest;
                payload.extend_from_slice(now);
                payload.resize(payload.len() + usize::from(padded) * usize::from(b >> 5), 0);
            }
            9 => {
                let rest = if is_wild { SECTIONS[usize::from(c % 8)] } else { self.rest };
                let (now, rest) = rest.split_at(if b & 6 == 6 { rest.len() / 2 } else { rest.len() });
                self.rest = rest;
                payload.extend_from_slice(now);
                flags = if rest.is_empty() || (is_wild && b & 1 == 0) { 4 } else { 0 };
            }
            3 => payload.extend(u32::from(c % 16).to_be_bytes()),
            4 if flags == 0 => {
                let name = [1_u8, 2, 3, 4, 4, 5, 8, 9][usize::from(c % 8)];
                let value = match name {
                    1 => u32::from(b) << 4,
                    3 => u32::from(b >> 1),
                    4 if is_wild => WINDOWS[usize::from(b >> 1) % 8],
                    4 => WINDOWS[usize::from(b >> 1) % 5],
                    5 => 16_384 + u32::from(b) * 99 - u32::from(is_wild) * 200,
                    2 => 0,
                    _ => 1 + u32::from(is_wild),
                };
                payload.extend([0, name]);
                payload.extend(value.to_be_bytes());
            }
            4 => {}
            8 if is_wild => payload.extend(WINDOWS[usize::from(c % 8)].to_be_bytes()),
            8 => payload.extend(WINDOWS[1 + usize::from(c % 4)].to_be_bytes()),
            6 => payload.extend(if c > 150 { *b"\0window\0" } else { u64::from(c).to_be_bytes() }),
            7 => {
                // Rarely: nothing is opened behind it.
                let last = if c > 230 { u32::from(b) } else { (1 << 31) - 1 };
                payload.extend(last.to_be_bytes());
                payload.extend(u32::from(b).to_be_bytes());
            }
            2 => payload.extend([0, 0, 0, if is_wild { b } else { 0 }, b]),
            _ => payload.resize(usize::from(c % 16), 0),
        }
        if is_wild && b > 200 {
            payload.pop();
        }
        player.peer(kind, flags, id, &payload);
    }
}

/// Any stream: one of the last, the next, an even one, or none.
fn wild_id(last: u32, choice: u8) -> u32 {
    match choice % 8 {
        0..4 => last.saturating_sub(2 * (u32::from(choice >> 3) % 4)).max(1),
        4 | 5 => last + if last == 0 { 1 } else { 2 },
        6 => u32::from(choice >> 3) % 8,
        _ => 0,
    }
}

/// Something that the application does.
fn wish(player: &mut Player, op: u8, a: u8, b: u8, c: u8) {
    let (ends, mut outcome) = (b & 1 != 0, Outcome::default());
    let sending = player.model.streams.iter().filter(|(_, stream)| !stream.ours || op == 26 || op == 27);
    let ids: Vec<u32> = sending.map(|(&id, _)| id).filter(|id| player.side.keys.contains_key(id)).collect();
    let id = ids.get(usize::from(a) % ids.len().max(1)).copied();
    let key = id.map(|id| player.side.keys[&id]);
    let Player { side, model, .. } = player;
    match (op, id.zip(key)) {
        (20 | 21, _) if side.connection.role() == Role::Client && b & 2 == 0 => {
            let has_room = side.connection.capacity() > 0;
            let opened = side.request(ends);
            assert_eq!(opened.is_some(), has_room);
            if let Some(id) = opened {
                model.open(id, false);
                model.streams.get_mut(&id).expect("just opened").ours = ends;
                outcome.wrote.push(Wrote::Headers(id, ends));
            }
        }
        (20 | 21, Some((id, key))) => {
            let value = &[b'0' + c % 10][..];
            let put = side.connection.send_headers(key, ends, &mut side.scratch, &mut side.out, |fields| {
                for name in [&b":status"[..], b"x", b"cookie"].iter().take(usize::from(c % 4)) {
                    fields.put(Field { name, value, never_indexed: c & 8 != 0 });
                }
            });
            assert!(put);
            model.streams.get_mut(&id).expect("an open stream").ours = ends;
            outcome.wrote.push(Wrote::Headers(id, ends));
            model.close_if_ended(id);
        }
        (22 | 23, Some((id, key))) => {
            let wanted = [0, 1, 100, 3_000, 100_000][usize::from(c % 5)];
            let stream = model.streams.get_mut(&id).expect("an open stream");
            let most = model.send.min(stream.send).clamp(0, model.max_frame as i64) as usize;
            let granted = side.connection.send_data(key, wanted, ends, &mut side.out);
            assert_eq!(granted, wanted.min(most));
            side.out.resize(side.out.len() + granted, 0);
            let ended = ends && granted == wanted;
            if granted > 0 || ended {
                stream.send -= granted as i64;
                model.send -= granted as i64;
                stream.ours = ended;
                model.data_sent += 1;
                outcome.wrote.push(Wrote::Data(id, granted, ended));
                model.close_if_ended(id);
            }
        }
        (24 | 25, _) => {
            let held: Vec<u32> = side.held.keys().copied().collect();
            if let Some(&id) = held.get(usize::from(a) % held.len().max(1)) {
                let bytes = if b & 1 == 0 { side.held[&id] } else { side.held[&id] / 2 };
                *side.held.get_mut(&id).expect("a stream that holds") -= bytes;
                side.held.retain(|_, bytes| *bytes > 0);
                side.connection.consumed(side.keys[&id], bytes, &mut side.out);
            }
        }
        (26, Some((id, key))) => {
            side.connection.reset(key, Code::CANCEL, &mut side.out);
            model.close(id, true);
            outcome.wrote.push(Wrote::Rst(id, Code::CANCEL.0));
        }
        (27, Some((id, key))) => {
            side.connection.reject(key, Rule::FieldName, 0, &mut side.out);
            model.close(id, true);
            outcome.wrote.push(Wrote::Rst(id, Code::PROTOCOL_ERROR.0));
        }
        (28, Some((id, key))) => {
            let bytes = [0, 1, 300, 2_000][usize::from(c % 4)];
            side.connection.expect_length(key, bytes);
            model.streams.get_mut(&id).expect("an open stream").left = Some(bytes);
        }
        (29, _) if model.pings < PINGS_MAX => {
            model.pings += 1;
            side.connection.ping(u64::from(c), &mut side.out);
            outcome.wrote.push(Wrote::Ping(u64::from(c)));
        }
        (30, _) => {
            if b & 1 == 0 && !model.warned && !model.gone {
                outcome.wrote.push(Wrote::GoAway(0));
                model.warned = true;
            } else if b & 1 == 1 && !model.gone {
                outcome.wrote.push(Wrote::GoAway(0));
                model.gone = true;
            }
            match b & 1 {
                0 => side.connection.drain(&mut side.out),
                _ => side.connection.go_away(Code::NO_ERROR, &mut side.out),
            }
        }
        (31, _) => {
            side.connection.shrink();
            side.connection.unsent(usize::from(c));
        }
        _ => {}
    }
    player.compare(outcome);
}
