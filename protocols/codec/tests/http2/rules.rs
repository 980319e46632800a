//! RFC 9113 §3 to §6 as a server keeps them: which frames are right, and what those that are not end.

use ringway_protocols::http2::{Code, Limits, PREFACE, Role};

use crate::side::*;

#[test]
fn requests_content_and_trailers_are_told_in_their_order() {
    check(&[&get(1)], "head 1 ends", "");
    check(&[&post(1), &data(0, 1, 5), &data(0, 1, 6), &data(END, 1, 7)], "head 1 · data 1 18 ends", "");
    check(&[&post(1), &data(0, 1, 5), &data(END, 1, 0)], "head 1 · data 1 5 ends", "");
    check(&[&post(1), &data(END, 1, 0)], "head 1 · data 1 0 ends", "");
    let trailers = headers(WHOLE_END, 1, &[("a", "b")]);
    check(&[&post(1), &data(0, 1, 5), &trailers], "head 1 · data 1 5 · trailers 1", "");
    check(&[&post(1), &trailers], "head 1 · trailers 1", "");
    let both = [post(1), post(3), data(0, 3, 2), data(END, 1, 1), data(END, 3, 1)].concat();
    check(&[&both], "head 1 · head 3 · data 3 2 · data 1 1 ends · data 3 1 ends", "");
}

#[test]
fn field_blocks_come_in_several_frames() {
    let block = block(GET);
    let (first, rest) = block.split_at(3);
    let head = frame(HEADERS, END, 1, first);
    check(&[&head, &frame(CONTINUATION, WHOLE, 1, rest)], "head 1 ends", "");
    let pieces: Vec<u8> = rest.iter().take(5).flat_map(|&byte| frame(CONTINUATION, 0, 1, &[byte])).collect();
    check(&[&head, &pieces, &frame(CONTINUATION, WHOLE, 1, &rest[5..])], "head 1 ends", "");
    let interrupted = "failed FieldBlockInterrupted PROTOCOL_ERROR";
    for between in [
        frame(PRIORITY, 0, 1, &[0; 5]),
        get(3),
        frame(CONTINUATION, WHOLE, 3, rest),
        frame(0xbb, 0, 0, b"x"),
        frame(PING, 0, 0, &[0; 8]),
    ] {
        check(&[&head, &between], interrupted, "GOAWAY 0 PROTOCOL_ERROR");
    }
    let unexpected = "ContinuationUnexpected PROTOCOL_ERROR";
    check(&[&frame(CONTINUATION, WHOLE, 1, b"")], &format!("failed {unexpected}"), "GOAWAY 0 PROTOCOL_ERROR");
    check(
        &[&get(1), &frame(CONTINUATION, WHOLE, 1, b"\x82")],
        &format!("head 1 ends · failed {unexpected}"),
        "GOAWAY 1 PROTOCOL_ERROR",
    );
}

#[test]
fn padding_and_priority_are_taken_off() {
    let block = block(GET);
    let padded = [&[4][..], &block, &[0; 4]].concat();
    check(&[&frame(HEADERS, WHOLE_END | PADDED, 1, &padded)], "head 1 ends", "");
    let prioritized = [&[0x80, 0, 0, 7, 200][..], &block].concat();
    check(&[&frame(HEADERS, WHOLE_END | PRIORITIZED, 1, &prioritized)], "head 1 ends", "");
    let both = [&[1, 0, 0, 0, 7, 200][..], &block, &[0]].concat();
    check(&[&frame(HEADERS, WHOLE_END | PRIORITIZED | PADDED, 1, &both)], "head 1 ends", "");
    check(&[&post(1), &frame(DATA, PADDED | END, 1, b"\x03abc\0\0\0")], "head 1 · data 1 3 ends", "");
    check(&[&post(1), &frame(DATA, PADDED, 1, b"\x03abc\0\0\0"), &data(END, 1, 2)], "head 1 · data 1 5 ends", "");
    check(&[&post(1), &frame(DATA, PADDED | END, 1, b"\x03\0\0\0")], "head 1 · data 1 0 ends", "");
}

/// Each row breaks a rule that ends the connection: on a fresh one, or behind a request on stream 1.
#[test]
fn what_ends_the_connection() {
    let on_itself = [&[0, 0, 0, 1, 0][..], &[]].concat();
    let rows: &[(&str, &str, &[Vec<u8>])] = &[
        // RFC 9113 §4.2
        ("FrameTooLarge", "FRAME_SIZE_ERROR", &[data(0, 1, 16_385)]),
        ("FrameTooLarge", "FRAME_SIZE_ERROR", &[frame(HEADERS, WHOLE, 3, &[0; 16_385])]),
        ("FrameTooLarge", "FRAME_SIZE_ERROR", &[frame(0xbb, 0, 0, &[0; 16_385])]),
        // §4.3
        ("HpackIndex", "COMPRESSION_ERROR", &[frame(HEADERS, WHOLE, 3, &[0xff, 0x30])]),
        // §5.1
        ("StreamIdle", "PROTOCOL_ERROR", &[data(0, 3, 1)]),
        ("StreamIdle", "PROTOCOL_ERROR", &[rst(3, Code::CANCEL)]),
        ("StreamIdle", "PROTOCOL_ERROR", &[window(3, 1)]),
        ("StreamIdle", "PROTOCOL_ERROR", &[window(2, 1)]),
        // §5.1.1
        ("StreamIdentifier", "PROTOCOL_ERROR", &[get(2)]),
        ("StreamIdentifier", "PROTOCOL_ERROR", &[rst(1, Code::CANCEL), get(5), rst(5, Code::CANCEL), get(3)]),
        // §6: what a frame is about
        ("FrameStream", "PROTOCOL_ERROR", &[data(0, 0, 1)]),
        ("FrameStream", "PROTOCOL_ERROR", &[get(0)]),
        ("FrameStream", "PROTOCOL_ERROR", &[frame(PRIORITY, 0, 0, &[0; 5])]),
        ("FrameStream", "PROTOCOL_ERROR", &[rst(0, Code::CANCEL)]),
        ("FrameStream", "PROTOCOL_ERROR", &[frame(SETTINGS, 0, 1, &[])]),
        ("FrameStream", "PROTOCOL_ERROR", &[frame(PING, 0, 1, &[0; 8])]),
        ("FrameStream", "PROTOCOL_ERROR", &[frame(GOAWAY, 0, 1, &[0; 8])]),
        // §6: sizes
        ("FrameSize", "FRAME_SIZE_ERROR", &[frame(PRIORITY, 0, 1, &[0; 4])]),
        ("FrameSize", "FRAME_SIZE_ERROR", &[frame(RST_STREAM, 0, 1, &[0; 5])]),
        ("FrameSize", "FRAME_SIZE_ERROR", &[frame(SETTINGS, 0, 0, &[0; 7])]),
        ("FrameSize", "FRAME_SIZE_ERROR", &[frame(SETTINGS, ACK, 0, &[0; 6])]),
        ("FrameSize", "FRAME_SIZE_ERROR", &[frame(PING, 0, 0, &[0; 7])]),
        ("FrameSize", "FRAME_SIZE_ERROR", &[frame(GOAWAY, 0, 0, &[0; 7])]),
        ("FrameSize", "FRAME_SIZE_ERROR", &[frame(WINDOW_UPDATE, 0, 0, &[0; 3])]),
        ("FrameSize", "FRAME_SIZE_ERROR", &[frame(HEADERS, WHOLE | PADDED, 3, &[])]),
        ("FrameSize", "FRAME_SIZE_ERROR", &[frame(HEADERS, WHOLE | PRIORITIZED, 3, &[0; 4])]),
        ("FrameSize", "FRAME_SIZE_ERROR", &[frame(DATA, PADDED, 1, &[])]),
        // §6.1, §6.2
        ("Padding", "PROTOCOL_ERROR", &[frame(DATA, PADDED, 1, &[1])]),
        ("Padding", "PROTOCOL_ERROR", &[frame(HEADERS, WHOLE | PADDED, 3, &[2, 0x82])]),
        // RFC 7540 §5.3.1
        ("SelfDependency", "PROTOCOL_ERROR", &[frame(PRIORITY, 0, 1, &on_itself)]),
        // RFC 9113 §6.5.2
        ("SettingsValue", "PROTOCOL_ERROR", &[settings(&[(2, 2)])]),
        ("SettingsWindow", "FLOW_CONTROL_ERROR", &[settings(&[(4, 1 << 31)])]),
        ("SettingsValue", "PROTOCOL_ERROR", &[settings(&[(5, 16_383)])]),
        ("SettingsValue", "PROTOCOL_ERROR", &[settings(&[(5, 1 << 24)])]),
        ("SettingsValue", "PROTOCOL_ERROR", &[settings(&[(8, 2)])]),
        ("SettingsValue", "PROTOCOL_ERROR", &[settings(&[(8, 1), (8, 0)])]),
        ("SettingsValue", "PROTOCOL_ERROR", &[settings(&[(9, 2)])]),
        // §6.6, §8.4
        ("PushPromise", "PROTOCOL_ERROR", &[frame(PUSH_PROMISE, WHOLE, 1, &[0, 0, 0, 2, 0x82])]),
        // §6.9
        ("WindowIncrement", "PROTOCOL_ERROR", &[window(0, 0)]),
        ("WindowOverflow", "FLOW_CONTROL_ERROR", &[window(0, (1 << 31) - 1)]),
    ];
    for (rule, code, wire) in rows {
        let mut side = Side::server(&Limits::default());
        side.feed(&post(1));
        side.forget();
        side.feed(&wire.concat());
        let events = side.events();
        assert!(events.ends_with(&format!("failed {rule} {code}")), "{rule}: {events}");
        let wrote = side.wrote();
        assert!(wrote.contains("GOAWAY") && wrote.ends_with(code), "{rule}: {wrote}");
        // Nothing more is read, whatever comes.
        side.feed(&get(7));
        assert_eq!((side.events(), side.wrote()), (String::new(), String::new()));
    }
}

/// Each row breaks a rule that ends a stream; the next stream is served.
#[test]
fn what_ends_a_stream() {
    let on_itself = [&[0, 0, 0, 1, 0][..], &block(GET)].concat();
    let rows: &[(&str, &str, &[Vec<u8>])] = &[
        ("StreamClosed", "STREAM_CLOSED", &[get(1), data(0, 1, 1)]),
        ("StreamClosed", "STREAM_CLOSED", &[get(1), get(1)]),
        ("TrailersEnd", "PROTOCOL_ERROR", &[post(1), post(1)]),
        ("WindowIncrement", "PROTOCOL_ERROR", &[post(1), window(1, 0)]),
        ("WindowOverflow", "FLOW_CONTROL_ERROR", &[post(1), window(1, (1 << 31) - 1)]),
        ("SelfDependency", "PROTOCOL_ERROR", &[post(1), frame(HEADERS, WHOLE_END | PRIORITIZED, 1, &on_itself)]),
    ];
    for (rule, code, wire) in rows {
        let events =
            format!("head 1{} · reset 1 {code} {rule} · head 3 ends", if wire[0] == get(1) { " ends" } else { "" });
        check(&[&wire.concat(), &get(3)], &events, &format!("RST 1 {code}"));
    }
    // Before the stream is known to anybody.
    check(&[&frame(HEADERS, WHOLE_END | PRIORITIZED, 1, &on_itself), &get(3)], "head 3 ends", "RST 1 PROTOCOL_ERROR");
}

#[test]
fn what_is_legal_is_ignored_or_answered() {
    check(&[&frame(0xbb, 0xff, 77, b"abc"), &get(1)], "head 1 ends", "");
    check(&[&frame(PING, 0xfe, 0, &[0, 0, 0, 0, 0, 0, 0, 9])], "", "PONG 9");
    check(&[&frame(PING, ACK, 0, &[0; 8])], "", "");
    check(&[&frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9]), &get(1)], "head 1 ends", "");
    check(&[&settings(&[(0xff, 1), (3, 5)])], "settings", "ACK");
    check(&[&settings(&[(2, 1)])], "settings", "ACK");
    check(&[&goaway(0, Code(0xffff)), &get(1)], "goaway UNKNOWN · head 1 ends", "");
    check(&[&post(1), &rst(1, Code(0xffff)), &get(3)], "head 1 · reset 1 UNKNOWN by peer · head 3 ends", "");
    // It crossed the stream's end.
    check(
        &[&post(1), &rst(1, Code::CANCEL), &rst(1, Code::CANCEL), &window(1, 1)],
        "head 1 · reset 1 CANCEL by peer",
        "",
    );
    // The reserved bit.
    let mut reserved = get(1);
    reserved[5] |= 0x80;
    check(&[&reserved], "head 1 ends", "");
}

#[test]
fn a_connection_begins_with_its_preface() {
    let fresh = || Side::new(Role::Server, &Limits::default());
    check_with(fresh, &[PREFACE, &settings(&[]), &get(1)], "settings · head 1 ends", "ACK");
    let failed = "failed Preface PROTOCOL_ERROR";
    for wire in [
        b"GET / HTTP/1.1\r\n".to_vec(),
        join(&[&PREFACE[..23], b"x"]),
        join(&[PREFACE, &get(1)]),
        join(&[PREFACE, &frame(SETTINGS, ACK, 0, &[])]),
        join(&[PREFACE, &frame(0xbb, 0, 0, &[])]),
    ] {
        check_with(fresh, &[&wire], failed, "GOAWAY 0 PROTOCOL_ERROR");
    }
}

#[test]
fn what_we_say_first() {
    let mut limits = Limits::default();
    let said = |role, limits: &Limits| {
        let mut side = Side::new(role, limits);
        side.connection = ringway_protocols::http2::Connection::new(role, limits, 0);
        side.connection.begin(&mut side.out);
        if role == Role::Client {
            assert!(side.out.starts_with(PREFACE));
            side.out.drain(..PREFACE.len());
        }
        side.wrote()
    };
    assert_eq!(said(Role::Server, &limits), "SETTINGS 3=1024 4=16384 6=61440 · WINDOW 0 +983041");
    assert_eq!(said(Role::Client, &limits), "SETTINGS 2=0 4=16384 6=61440 · WINDOW 0 +983041");
    (limits.extended_connect, limits.decoder_table_bytes, limits.stream_window) = (true, 0, 100_000);
    limits.connection_window = 65_535;
    assert_eq!(said(Role::Server, &limits), "SETTINGS 1=0 3=1024 4=100000 6=61440 8=1");
}

/// RFC 9113 §5.1: frames for a stream that is gone.
#[test]
fn late_frames() {
    let ended = || {
        let mut side = Side::server(&Limits::default());
        side.feed(&get(1));
        side.respond(1, true, OK);
        side.forget();
        side
    };
    let closed = "failed StreamClosed STREAM_CLOSED";
    check_with(ended, &[&data(0, 1, 1)], closed, "GOAWAY 1 STREAM_CLOSED");
    check_with(ended, &[&get(1)], closed, "GOAWAY 1 STREAM_CLOSED");
    check_with(
        ended,
        &[&rst(1, Code::CANCEL), &window(1, 9), &frame(PRIORITY, 0, 1, &[0; 5]), &get(3)],
        "head 3 ends",
        "",
    );
    // The peer reset it, and goes on.
    let events = "head 1 · reset 1 CANCEL by peer · failed StreamClosed STREAM_CLOSED";
    check(&[&post(1), &rst(1, Code::CANCEL), &data(0, 1, 1)], events, "GOAWAY 1 STREAM_CLOSED");
    check(&[&post(1), &rst(1, Code::CANCEL), &get(1)], events, "GOAWAY 1 STREAM_CLOSED");
    // We reset it: the peer may not know, and its content is given back to the connection.
    let reset = || {
        let mut side = Side::server(&Limits { connection_window: 65_535, ..Limits::default() });
        side.feed(&post(1));
        let key = side.key(1);
        side.connection.reset(key, Code::CANCEL, &mut side.out);
        assert!(!side.connection.is_open(key));
        side.forget();
        side
    };
    let late = [data(0, 1, 16_384), data(0, 1, 16_000), data(0, 1, 400), headers(WHOLE_END, 1, &[("a", "b")])].concat();
    check_with(reset, &[&late, &get(3)], "head 3 ends", "WINDOW 0 +32784");
    // A stream that was never there.
    check(
        &[&get(5), &data(0, 3, 1)],
        "head 5 ends · failed StreamIdentifier PROTOCOL_ERROR",
        "GOAWAY 5 PROTOCOL_ERROR",
    );
}

#[test]
fn a_stream_that_is_reset_in_the_middle_of_a_frame_is_skipped() {
    let mut side = Side::server(&Limits { connection_window: 65_535, ..Limits::default() });
    let padded = [&[9][..], &[b'x'; 10_000], &[0; 9]].concat();
    let wire = join(&[&post(1), &frame(DATA, END | PADDED, 1, &padded), &get(3)]);
    side.feed(&wire[..1_000]);
    let key = side.key(1);
    side.connection.reset(key, Code::CANCEL, &mut side.out);
    side.feed(&wire[1_000..]);
    let had = side.events();
    let got: usize = had.split(' ').nth(5).and_then(|count| count.parse().ok()).expect("a count");
    assert_eq!(had, format!("head 1 · data 1 {got} · head 3 ends"));
    side.connection.consumed(key, got, &mut side.out);
    assert_eq!(side.wrote(), "RST 1 CANCEL", "less than half of the window");
    side.feed(&join(&[&post(5), &data(0, 5, 16_384), &data(0, 5, 10_000)]));
    side.consume(5, 26_384);
    assert_eq!(side.wrote(), "WINDOW 0 +36394", "all of it was given back");
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let limits = Limits { max_concurrent_streams: 2, ..Limits::default() };
    let wire = [post(1), post(3), post(5), data(0, 5, 3), data(END, 1, 1)].concat();
    let make = || Side::server(&limits);
    check_with(make, &[&wire], "head 1 · head 3 · data 1 1 ends", "RST 5 REFUSED_STREAM");
    let mut side = make();
    side.feed(&wire);
    side.respond(1, true, OK);
    side.forget();
    side.feed(&get(7));
    assert_eq!(side.events(), "head 7 ends");
}

#[test]
fn leaving_goes_in_two_steps() {
    let mut side = Side::server(&Limits::default());
    side.feed(&post(1));
    side.connection.drain(&mut side.out);
    side.connection.drain(&mut side.out);
    side.feed(&get(3)); // it was on its way
    side.connection.go_away(Code::NO_ERROR, &mut side.out);
    side.connection.go_away(Code::NO_ERROR, &mut side.out);
    assert_eq!(side.wrote(), "GOAWAY 2147483647 NO_ERROR · GOAWAY 3 NO_ERROR");
    side.feed(&join(&[&post(5), &data(0, 5, 9), &data(END, 1, 1), &rst(5, Code::CANCEL)]));
    assert_eq!(side.events(), "head 1 · head 3 ends · data 1 1 ends");
    side.respond(1, true, OK);
    side.respond(3, true, OK);
    assert_eq!((side.wrote().as_str(), side.connection.active()), ("HEADERS 1 end · HEADERS 3 end", 0));
}

#[test]
fn pings_of_ours_come_back() {
    let mut side = Side::server(&Limits::default());
    side.connection.ping(77, &mut side.out);
    assert_eq!(side.wrote(), "PING 77");
    side.feed(&frame(PING, ACK, 0, &77_u64.to_be_bytes()));
    side.feed(&frame(PING, ACK, 0, &78_u64.to_be_bytes()));
    assert_eq!(side.events(), "pong 77");
}

#[test]
fn content_comes_to_its_length() {
    let with = |length| {
        move || {
            let mut side = Side::server(&Limits::default());
            side.feed(&post(1));
            let key = side.key(1);
            side.connection.expect_length(key, length);
            side.forget();
            side
        }
    };
    let trailers = headers(WHOLE_END, 1, &[("a", "b")]);
    check_with(with(5), &[&data(0, 1, 3), &data(END, 1, 2)], "data 1 5 ends", "");
    check_with(with(5), &[&data(0, 1, 5), &data(END, 1, 0)], "data 1 5 ends", "");
    check_with(with(5), &[&data(0, 1, 5), &trailers], "data 1 5 · trailers 1", "");
    check_with(with(0), &[&data(END, 1, 0)], "data 1 0 ends", "");
    let broken = "reset 1 PROTOCOL_ERROR ContentLengthMismatch";
    check_with(with(5), &[&data(END, 1, 4)], broken, "RST 1 PROTOCOL_ERROR");
    check_with(with(5), &[&data(END, 1, 6)], broken, "RST 1 PROTOCOL_ERROR");
    check_with(with(0), &[&data(0, 1, 1)], broken, "RST 1 PROTOCOL_ERROR");
    check_with(with(5), &[&trailers], broken, "RST 1 PROTOCOL_ERROR");
    check_with(with(u64::MAX), &[&data(END, 1, 4)], broken, "RST 1 PROTOCOL_ERROR");
    check_with(with(u64::MAX), &[&trailers], broken, "RST 1 PROTOCOL_ERROR");
    check_with(with(5), &[&data(0, 1, 3), &data(END, 1, 0)], &format!("data 1 3 · {broken}"), "RST 1 PROTOCOL_ERROR");
    check_with(with(5), &[&data(0, 1, 3), &data(0, 1, 3)], &format!("data 1 3 · {broken}"), "RST 1 PROTOCOL_ERROR");
}
