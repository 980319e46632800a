//! Bounds on what a peer may make us do: each ends the connection with ENHANCE_YOUR_CALM, and what is just within does not.

use ringway_protocols::http2::{Code, Limits, Rate};

use crate::side::*;

/// Takes a stream, gives the frames of one round.
type Unit<'a> = &'a dyn Fn(u32) -> Vec<u8>;

/// How many of `unit` a server takes before it ends the connection, and why; each unit is about the next stream.
fn units(side: &mut Side, max: u32, mut unit: impl FnMut(u32) -> Vec<u8>) -> (u32, String) {
    for count in 0..max {
        side.feed(&unit(2 * count + 1));
        let events = side.events();
        if let Some(at) = events.find("failed") {
            return (count, events[at..].into());
        }
        side.out.clear();
        side.connection.unsent(0);
    }
    (max, String::new())
}

fn server() -> Side {
    Side::server(&Limits::default())
}

const CALM: &str = "ENHANCE_YOUR_CALM";

#[test]
fn a_malformed_message_ends_its_stream_or_the_connection() {
    for (malformed_ends_connection, expect) in [(false, ""), (true, "failed FieldName PROTOCOL_ERROR")] {
        let mut side = Side::server(&Limits { malformed_ends_connection, ..Limits::default() });
        side.feed(&get(1));
        side.connection.reject(side.key(1), ringway_protocols::Rule::FieldName, 0, &mut side.out);
        side.events();
        side.feed(b"");
        assert_eq!(side.events(), expect);
    }
}

#[test]
fn one_budget_for_resets_whoever_caused_them() {
    let kinds: [Unit<'_>; 5] = [
        &|id| join(&[&get(id), &rst(id, Code::CANCEL)]),
        &|id| join(&[&get(id), &window(id, 0)]),
        &|id| join(&[&get(id), &window(id, (1 << 31) - 1)]),
        &|id| join(&[&get(id), &data(END, id, 1)]),
        &|id| join(&[&get(id), &get(id)]),
    ];
    for kind in kinds {
        assert_eq!(units(&mut server(), 12_000, kind), (1_000, format!("failed TooManyResets {CALM}")));
    }
    // All kinds draw on it; what the caller rejects, too.
    let mut side = server();
    let mixed = |id: u32| kinds[id as usize / 2 % 5](id);
    assert_eq!(units(&mut side, 12_000, mixed).0, 1_000);
    let mut side = server();
    for count in 0.. {
        side.feed(&get(2 * count + 1));
        if side.events().contains("failed") {
            assert_eq!(count, 1_001, "told when more is read");
            break;
        }
        let key = side.key(2 * count + 1);
        side.connection.reject(key, ringway_protocols::Rule::FieldName, side.now, &mut side.out);
        side.connection.unsent(0);
    }
    // In the long run 33 a second are no harm.
    let mut side = server();
    for second in 0..100 {
        side.now = second * 1_000;
        for count in 0..33 {
            let id = 2 * (33 * second as u32 + count) + 1;
            side.feed(&join(&[&get(id), &rst(id, Code::CANCEL)]));
        }
    }
    assert!(!side.events().contains("failed"));
    // A server that does not want the rest of a request that it has answered resets nothing.
    let mut side = Side::client(&Limits { resets: Rate { burst: 0, per_second: 0 }, ..Limits::default() });
    let id = side.request(false).expect("capacity");
    side.feed(&join(&[&headers(WHOLE_END, id, OK), &rst(id, Code::NO_ERROR)]));
    assert_eq!(side.events(), "head 1 ends · reset 1 NO_ERROR by peer");
}

#[test]
fn frames_that_bring_nothing() {
    let rows: [(&str, u32, Unit<'_>); 8] = [
        ("TooManySettings", 100, &|_| settings(&[])),
        ("TooManyPings", 1_000, &|_| frame(PING, 0, 0, &[0; 8])),
        ("TooManyPriorities", 100, &|id| frame(PRIORITY, 0, id, &[0, 0, 0, 0, 9])),
        ("TooManyWindowUpdates", 5, &|_| window(0, 1)),
        ("TooManyGlitches", 10_000, &|_| frame(0xbb, 0, 0, &[])),
        ("TooManyGlitches", 10_000, &|_| frame(PING, ACK, 0, &[0; 8])),
        ("TooManyResets", 1_001, &|_| goaway(0, Code::NO_ERROR)),
        ("TooManyGlitches", 10_001, &|_| frame(SETTINGS, ACK, 0, &[])),
    ];
    for (rule, count, unit) in rows {
        assert_eq!(units(&mut server(), 12_000, unit), (count, format!("failed {rule} {CALM}")));
    }
    for empty in [data(0, 1, 0), frame(DATA, PADDED, 1, &[7, 0, 0, 0, 0, 0, 0, 0])] {
        let mut side = server();
        side.feed(&post(1));
        assert_eq!(units(&mut side, 9, |_| empty.clone()), (1, format!("failed TooManyEmptyFrames {CALM}")));
        // Not one after another.
        let mut side = server();
        side.feed(&post(1));
        assert_eq!(units(&mut side, 999, |_| join(&[&empty, &data(0, 1, 1)])).0, 999);
    }
}

#[test]
fn field_blocks_are_bounded_in_frames_and_bytes() {
    let begun = || {
        let mut side = server();
        side.feed(&frame(HEADERS, 0, 1, &block(GET)));
        side
    };
    assert_eq!(
        units(&mut begun(), 99, |_| frame(CONTINUATION, 0, 1, b"\x82")),
        (8, format!("failed TooManyContinuations {CALM}"))
    );
    assert_eq!(
        units(&mut begun(), 99, |_| frame(CONTINUATION, 0, 1, &[0x82; 16_384])),
        (7, format!("failed FieldBlockTooLarge {CALM}"))
    );
    assert_eq!(units(&mut begun(), 99, |_| frame(CONTINUATION, 0, 1, b"")).0, 1);
    // The memory of a block ends with it.
    let mut side = begun();
    side.feed(&frame(CONTINUATION, 0, 1, &[0x82; 16_384]));
    assert!((16_384..=120 << 10).contains(&side.connection.memory()));
    side.feed(&frame(CONTINUATION, WHOLE, 1, b""));
    assert!(side.connection.memory() < 1_000, "{}", side.connection.memory());
    // As much as the configuration allows.
    let limits = Limits::default().with_heads(1 << 20, 100);
    assert!(limits.continuations_max >= 64 && limits.block_bytes_max == 2 << 20);
}

#[test]
fn sections_are_bounded_in_bytes_and_fields() {
    let mut side = server();
    let fields: Vec<(&str, &str)> = GET.iter().copied().chain(vec![("a", "b"); 96]).collect();
    side.feed(&headers(WHOLE_END, 1, &fields));
    side.feed(&headers(WHOLE_END, 3, &[&fields[..], &[("a", "b")]].concat()));
    assert_eq!(side.events(), "head 1 ends · head 3 ends too-large");
    let large = "x".repeat(15_000);
    side.feed(&headers(WHOLE_END, 5, &[("a", &large)]));
    assert_eq!(side.events(), "head 5 ends");
    // A bomb: few bytes that say many (CVE-2016-6581). What is kept is bounded, and so is how often.
    let bomb = |times: usize| {
        move |id: u32| {
            let first = [&[0x40, 1, b'a', 0x7f, 0x81, 0x1e][..], &[b'x'; 4_000]].concat();
            let first = if id == 1 { first } else { Vec::new() };
            frame(HEADERS, WHOLE_END, id, &[first, vec![0xbe; times]].concat())
        }
    };
    let mut side = server();
    let (count, why) = units(&mut side, 12_000, bomb(200));
    assert_eq!((count, why.as_str()), (1_000, "failed TooManyResets ENHANCE_YOUR_CALM"));
    assert!(side.fields.lines().len() <= 60 << 10 && side.connection.memory() < 64 << 10);
    // One that says megabytes is not read to its end.
    let (count, why) = units(&mut server(), 12_000, bomb(8_000));
    assert_eq!((count, why.as_str()), (0, "failed FieldBlockTooLarge ENHANCE_YOUR_CALM"));
}

#[test]
fn answers_that_nobody_reads() {
    let limits = Limits { pings: Rate { burst: 1 << 20, per_second: 0 }, ..Limits::default() };
    let ping = frame(PING, 0, 0, &[0; 8]);
    let mut side = Side::server(&limits);
    side.connection.unsent(0);
    let mut count = 0;
    while !side.events().contains(&format!("failed TooManyAnswersUnsent {CALM}")) {
        side.feed(&ping);
        side.connection.unsent(side.out.len());
        count += 1;
    }
    assert_eq!(count, 1_001);
    // With a bound on all frames, those count that nobody made us send; their own bound is not reached.
    let mut side = Side::server(&Limits { max_outbound_frames: 100, ..limits });
    side.connection.unsent(0);
    for count in 0..150 {
        side.feed(&get(2 * count + 1));
        side.respond(2 * count + 1, true, OK);
    }
    let mut count = 0;
    while !side.events().contains(&format!("failed TooManyFramesUnsent {CALM}")) {
        side.feed(&ping);
        side.connection.unsent(side.out.len());
        count += 1;
    }
    assert_eq!(count, 2 * 101 - 150);
    // Who reads, if late, is answered for ever.
    let mut side = Side::server(&limits);
    side.connection.unsent(0);
    for _ in 0..10_000 {
        side.feed(&ping);
        side.connection.unsent(side.out.len().min(17 * 300));
    }
    assert!(!side.events().contains("failed"));
}

#[test]
fn streams_that_are_held_are_refused_and_then_the_connection() {
    let (count, why) = units(&mut server(), 12_000, post);
    assert_eq!((count, why.as_str()), (2_024, "failed TooManyResets ENHANCE_YOUR_CALM"));
}

#[test]
fn settings_entries_are_bounded() {
    let mut side = server();
    side.feed(&settings(&[(0xff, 1); 32]));
    side.feed(&settings(&[(0xff, 1); 33]));
    assert_eq!(side.events(), format!("settings · failed TooManySettings {CALM}"));
}

/// gRPC peers ping for each answer that they got, to measure the path.
#[test]
fn pings_behind_answers_are_free() {
    let limits = Limits {
        pings: Rate { burst: 0, per_second: 0 },
        max_inbound_window_update_frames_per_data_frame_sent: 0,
        ..Limits::default()
    };
    let mut side = Side::server(&limits);
    for count in 0..5_000 {
        let id = 2 * count + 1;
        side.feed(&get(id));
        side.respond(id, true, OK);
        side.feed(&frame(PING, 0, 0, &[0; 8]));
        side.feed(&window(0, 1)); // two for each stream
        side.connection.unsent(0);
    }
    assert!(!side.events().contains("failed"));
    side.feed(&frame(PING, 0, 0, &[0; 8]));
    assert!(side.events().contains("failed TooManyPings"));
}

/// What a connection holds: nothing beside itself when it is quiet, little for each stream, and never more than its limits say.
#[test]
fn memory() {
    let size = size_of::<ringway_protocols::http2::Connection>();
    assert!(size <= 900, "{size} bytes");
    let mut side = server();
    assert_eq!(side.connection.memory(), 0);
    for count in 0..1_000 {
        side.feed(&get(2 * count + 1));
    }
    assert!(side.connection.memory() <= 1_024 * 36, "{}", side.connection.memory());
    for count in 0..1_000 {
        side.respond(2 * count + 1, true, OK);
    }
    side.connection.shrink();
    assert_eq!(side.connection.memory(), 0);
}
