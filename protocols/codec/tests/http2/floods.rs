//! Floods: the outside ones of `../shared/conformance/h2-attacks.json` (or `$RINGWAY_CONFORMANCE`), and the same from an origin.
//!
//! Each ends the connection within its bound, and nothing is held while it lasts.

use std::path::PathBuf;

use ringway_protocols::http2::{Code, Limits, Role};
use serde_json::Value;

use crate::side::*;

/// The file's text, or `None` and a word why.
#[allow(clippy::print_stderr, reason = "a skip has to be seen")]
pub(crate) fn judge(name: &str) -> Option<Value> {
    let folder = std::env::var_os("RINGWAY_CONFORMANCE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance")),
        PathBuf::from,
    );
    match std::fs::read_to_string(folder.join(name)) {
        Ok(text) => Some(serde_json::from_str(&text).expect("JSON")),
        Err(_) => {
            assert!(std::env::var_os("RINGWAY_REQUIRE_ALL").is_none(), "{name} is missing");
            eprintln!("SKIP {name}: not found beside the project; set RINGWAY_CONFORMANCE");
            None
        }
    }
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// `unit` with each stream and what a PRIORITY depends on moved on by `by`.
fn moved(unit: &[u8], by: u32) -> Vec<u8> {
    let (mut unit, mut at) = (unit.to_vec(), 0);
    while at < unit.len() {
        let len = usize::from(unit[at + 1]) << 8 | usize::from(unit[at + 2]);
        let mut places = vec![at + 5];
        if unit[at + 3] == PRIORITY && len == 5 && unit[at + 9..at + 13] == unit[at + 5..at + 9] {
            places.push(at + 9);
        }
        for place in places {
            let id = u32::from_be_bytes(unit[place..place + 4].try_into().expect("four"));
            unit[place..place + 4].copy_from_slice(&(id + by).to_be_bytes());
        }
        at += 9 + len;
    }
    unit
}

/// How many units the side takes, and what ended it. Nobody answers the requests.
fn flood(side: &mut Side, max: u32, mut unit: impl FnMut(u32) -> Vec<u8>) -> (u32, String) {
    let mut memory = 0;
    for count in 0..max {
        side.feed(&unit(count));
        let events = side.events();
        if let Some(at) = events.find("failed") {
            let last = side.wrote();
            assert!(last.split(" · ").last().is_some_and(|frame| frame.starts_with("GOAWAY")), "{last}");
            assert!(memory <= 256 << 10, "{memory} bytes");
            return (count, events[at + 7..].into());
        }
        let heads = events.split(" · ").filter_map(|event| event.strip_prefix("head "));
        let ids: Vec<u32> = heads.filter_map(|head| head.split(' ').next()?.parse().ok()).collect();
        for id in ids {
            if side.fields.is_too_large() {
                side.respond(id, true, &[(":status", "431")]);
            }
            side.keys.remove(&id);
        }
        memory = memory.max(side.connection.memory() + side.fields.lines().len());
        side.out.clear();
        side.connection.unsent(0);
    }
    (max, "not at all".into())
}

#[test]
fn outside_floods_end_within_their_bounds() {
    let Some(file) = judge("h2-attacks.json") else { return };
    let rows = [
        ("rapid_reset", 1_000, "TooManyResets"),
        ("myr_wu0", 1_000, "TooManyResets"),
        ("myr_wuoverflow", 1_000, "TooManyResets"),
        ("myr_priolen", 0, "FrameSize"),
        ("myr_prioself", 0, "SelfDependency"),
        ("myr_data_closed", 1_000, "TooManyResets"),
        ("myr_hdr_closed", 1_000, "TooManyResets"),
        ("rst_bad_request", 1_000, "TooManyResets"),
        ("cont_flood", 8, "TooManyContinuations"),
        ("cont_empty", 1, "TooManyEmptyFrames"),
        ("settings_flood", 100, "TooManySettings"),
        ("settings_vals", 100, "TooManySettings"),
        ("ping_flood", 1_000, "TooManyPings"),
        ("empty_data", 1, "TooManyEmptyFrames"),
        ("padded_data", 1, "TooManyEmptyFrames"),
        ("prio_flood", 100, "TooManyPriorities"),
        ("wu_flood", 5, "TooManyWindowUpdates"),
        ("unknown_flood", 10_000, "TooManyGlitches"),
        ("empty_hdr_names", 1_000, "TooManyResets"),
        ("hpack_bomb", 0, "HpackIndex"),
        ("cookie_crumbs", 1_000, "TooManyResets"),
        ("push_promise", 0, "PushPromise"),
        ("newstreams_hold", 2_024, "TooManyResets"),
    ];
    let attacks = file["attacks"].as_array().expect("a list");
    assert_eq!(attacks.len(), rows.len());
    for attack in attacks {
        let id = attack["id"].as_str().expect("an id");
        let units = ["unit0_hex", "unit1_hex"].map(|unit| unhex(attack[unit].as_str().expect("hex")));
        let stream = |unit: &[u8]| unit[unit.len().min(8)];
        let step = if stream(&units[0]) == stream(&units[1]) { 0 } else { 2 };
        let mut side = Side::new(Role::Server, &Limits::default());
        side.feed(ringway_protocols::http2::PREFACE);
        side.feed(&join(&[&settings(&[]), &frame(SETTINGS, ACK, 0, &[])]));
        side.forget();
        side.judges = true;
        let (count, why) = flood(&mut side, 12_000, |count| match count {
            0 => units[0].clone(),
            count => moved(&units[1], step * (count - 1)),
        });
        let row = rows.iter().find(|row| row.0 == id).unwrap_or_else(|| panic!("{id} is new"));
        assert_eq!((count, why.split(' ').next()), (row.1, Some(row.2)), "{id}");
    }
}

/// An origin is a peer, too. A new request goes out before each unit, which is about it.
#[test]
fn floods_of_an_origin_end_within_their_bounds() {
    let crumbs = vec![("set-cookie", "a"); 200];
    let interim = headers(WHOLE, 1, &[(":status", "103")]);
    let ping = frame(PING, 0, 0, &[0; 8]);
    let rows: [(&str, u32, Unit<'_>); 12] = [
        ("TooManyResets", 1_000, &|id| rst(id, Code::CANCEL)),
        ("TooManyResets", 1_000, &|id| join(&[&headers(WHOLE, id, OK), &window(id, 0)])),
        ("TooManyResets", 1_000, &|id| data(0, id, 1)),
        ("TooManyResets", 1_000, &|id| headers(WHOLE_END, id, &crumbs)),
        ("TooManyGlitches", 10_000, &|id| join(&[&headers(WHOLE_END, id, OK), &frame(0xbb, 0, 0, b"x")])),
        ("TooManyEmptyFrames", 0, &|id| join(&[&headers(WHOLE, id, OK), &data(0, id, 0), &data(0, id, 0)])),
        ("TooManySettings", 99, &|id| join(&[&headers(WHOLE_END, id, OK), &settings(&[(3, 1), (3, 100)])])),
        ("TooManyPings", 1_000, &|id| join(&[&headers(WHOLE_END, id, OK), &ping, &ping])),
        ("TooManyPriorities", 1, &|id| frame(PRIORITY, 0, id, &[0, 0, 0, 0, 9]).repeat(200)),
        ("TooManyWindowUpdates", 5, &|id| join(&[&headers(WHOLE_END, id, OK), &window(0, 1).repeat(3)])),
        ("TooManyContinuations", 0, &|id| {
            join(&[&frame(HEADERS, 0, id, &[0x88]), &frame(CONTINUATION, 0, id, &[0x88]).repeat(9)])
        }),
        ("PushPromise", 0, &|_| frame(PUSH_PROMISE, WHOLE, 1, &[0, 0, 0, 2, 0x82])),
    ];
    for (rule, bound, unit) in rows {
        let mut side = Side::client(&Limits::default());
        side.feed(&settings(&[(3, 1_000)]));
        let mut ended = (0, String::new());
        for count in 0..12_000 {
            let id = side.request(true).expect("capacity");
            side.feed(&unit(id));
            let events = side.events();
            if let Some(at) = events.find("failed") {
                ended = (count, events[at + 7..].into());
                break;
            }
            assert!(side.connection.memory() <= 64 << 10);
            side.out.clear();
            side.connection.unsent(0);
        }
        assert_eq!((ended.0, ended.1.split(' ').next()), (bound, Some(rule)));
    }
    // Interim heads without end.
    let mut side = Side::client(&Limits::default());
    side.request(true);
    side.feed(&interim.repeat(10_001));
    assert!(!side.events().contains("failed"));
    side.feed(&interim);
    assert_eq!(side.events(), "failed TooManyGlitches ENHANCE_YOUR_CALM");
}

/// CVE-2019-9511: windows of one byte. A frame of one byte for each, and no more of them than a budget.
#[test]
fn a_window_of_one_byte_at_a_time() {
    let mut side = Side::server(&Limits::default());
    side.feed(&join(&[&settings(&[(4, 0)]), &get(1)]));
    side.respond(1, false, OK);
    side.forget();
    let mut sent = 0;
    let (count, why) = {
        let mut count = 0;
        loop {
            side.feed(&window(1, 1));
            let events = side.events();
            if events.contains("failed") {
                break (count, events);
            }
            assert_eq!(events, "window 1");
            sent += side.send(1, 1 << 20, true);
            assert_eq!(side.wrote(), "DATA 1 1");
            side.connection.unsent(0);
            count += 1;
        }
    };
    assert_eq!((count, sent, why.as_str()), (10_000, 10_000, "failed TooManyGlitches ENHANCE_YOUR_CALM"));
}

/// CVE-2020-12603: content in frames of one byte costs no memory here, and each is a range of what came.
#[test]
fn content_in_frames_of_one_byte() {
    let mut side = Side::server(&Limits::default());
    side.feed(&post(1));
    let memory = side.connection.memory();
    for _ in 0..100_000 {
        side.feed(&data(0, 1, 1));
        side.consume(1, 1);
    }
    assert_eq!((side.events().as_str(), side.connection.memory()), ("head 1 · data 1 100000", memory));
    assert!(side.wrote().len() < 200, "windows are told in halves");
}

/// A peer that never acknowledges our SETTINGS is served as the RFC's own values say.
#[test]
fn settings_that_are_never_acknowledged() {
    let limits = Limits { stream_window: 100, stream_window_max: 100, decoder_table_bytes: 0, ..Limits::default() };
    let mut side = Side::server(&limits);
    let indexed = frame(HEADERS, WHOLE, 1, &[&block(GET)[..], &[0x40, 1, b'a', 1, b'b']].concat());
    side.feed(&join(&[
        &indexed,
        &data(0, 1, 200),
        &frame(HEADERS, WHOLE_END, 3, &[&block(GET)[..], &[0xbe]].concat()),
    ]));
    assert_eq!(side.events(), "head 1 · data 1 200 · head 3 ends");
}

/// Takes a stream, gives the frames of one round.
type Unit<'a> = &'a dyn Fn(u32) -> Vec<u8>;
