//! The client's side: what a server may send, how many streams are opened, and what GOAWAY says of them.

use ringway_protocols::http2::{Code, Limits};

use crate::side::*;

const CONTINUE: &[(&str, &str)] = &[(":status", "103")];

fn asked() -> Side {
    let mut side = Side::client(&Limits::default());
    assert_eq!((side.request(true), side.request(false)), (Some(1), Some(3)));
    side.forget();
    side
}

#[test]
fn responses_interim_heads_and_trailers() {
    check_with(asked, &[&headers(WHOLE_END, 1, OK)], "head 1 ends", "");
    let whole = [headers(WHOLE, 1, CONTINUE), headers(WHOLE, 1, CONTINUE), headers(WHOLE, 1, OK), data(0, 1, 3)];
    check_with(asked, &[&whole.concat(), &data(END, 1, 2)], "head 1 · head 1 · head 1 · data 1 5 ends", "");
    let trailers = headers(WHOLE_END, 1, &[("grpc-status", "0")]);
    check_with(asked, &[&whole.concat(), &trailers], "head 1 · head 1 · head 1 · data 1 3 · trailers 1", "");
}

#[test]
fn what_a_server_may_not_send() {
    let rows: &[(&str, &[Vec<u8>])] = &[
        ("reset 1 PROTOCOL_ERROR DataBeforeHead", &[data(0, 1, 1)]),
        ("head 1 · reset 1 PROTOCOL_ERROR DataBeforeHead", &[headers(WHOLE, 1, CONTINUE), data(0, 1, 1)]),
        ("reset 1 PROTOCOL_ERROR InterimEnds", &[headers(WHOLE_END, 1, CONTINUE)]),
        ("head 1 · reset 1 PROTOCOL_ERROR TrailersEnd", &[headers(WHOLE, 1, OK), headers(WHOLE, 1, OK)]),
        ("head 1 ends · failed StreamClosed STREAM_CLOSED", &[headers(WHOLE_END, 1, OK), data(0, 1, 1)]),
        ("head 3 ends · reset 3 STREAM_CLOSED StreamClosed", &[headers(WHOLE_END, 3, OK), data(0, 3, 1)]),
        ("failed StreamIdentifier PROTOCOL_ERROR", &[headers(WHOLE, 2, OK)]),
        ("failed StreamIdentifier PROTOCOL_ERROR", &[headers(WHOLE, 5, OK)]),
        ("failed StreamIdle PROTOCOL_ERROR", &[data(0, 5, 1)]),
        ("failed PushPromise PROTOCOL_ERROR", &[frame(PUSH_PROMISE, WHOLE, 1, &[0, 0, 0, 2, 0x82])]),
        ("failed SettingsValue PROTOCOL_ERROR", &[settings(&[(2, 1)])]),
    ];
    for (events, wire) in rows {
        let mut side = asked();
        side.feed(&wire.concat());
        assert_eq!(side.events(), *events);
    }
    check_with(
        || Side::new(ringway_protocols::http2::Role::Client, &Limits::default()),
        &[&headers(WHOLE, 1, OK)],
        "failed Preface PROTOCOL_ERROR",
        "GOAWAY 0 PROTOCOL_ERROR",
    );
}

#[test]
fn streams_are_opened_as_both_sides_allow() {
    let limits = Limits { max_concurrent_streams: 150, ..Limits::default() };
    let mut side = Side::new(ringway_protocols::http2::Role::Client, &limits);
    assert_eq!(side.connection.capacity(), 100, "the server has said nothing");
    side.feed(&settings(&[(3, 500)]));
    assert_eq!(side.connection.capacity(), 150, "ours");
    side.feed(&settings(&[(3, 2)]));
    assert_eq!((side.request(true), side.request(true), side.request(true)), (Some(1), Some(3), None));
    side.feed(&settings(&[(3, 1)]));
    side.feed(&headers(WHOLE_END, 1, OK));
    assert_eq!(side.connection.capacity(), 0, "one is there already");
    side.feed(&headers(WHOLE_END, 3, OK));
    assert_eq!((side.connection.capacity(), side.request(true)), (1, Some(5)));
}

#[test]
fn goaway_says_what_was_not_processed() {
    let mut side = asked();
    assert_eq!(side.request(true), Some(5));
    side.forget();
    // The first of two steps: nothing is lost.
    side.feed(&goaway((1 << 31) - 1, Code::NO_ERROR));
    assert_eq!((side.events().as_str(), side.connection.capacity()), ("goaway NO_ERROR", 0));
    assert_eq!(side.request(true), None);
    side.feed(&join(&[&goaway(1, Code::NO_ERROR), &headers(WHOLE, 1, OK), &data(0, 3, 2), &headers(WHOLE_END, 3, OK)]));
    let unprocessed = "reset 3 REFUSED_STREAM by peer unprocessed · reset 5 REFUSED_STREAM by peer unprocessed";
    assert_eq!(side.events(), format!("goaway NO_ERROR · {unprocessed} · head 1"));
    // It does not go up again, and those that are there end.
    side.feed(&join(&[&goaway(7, Code::NO_ERROR), &data(END, 1, 1)]));
    assert_eq!((side.events().as_str(), side.connection.active()), ("goaway NO_ERROR · data 1 1 ends", 0));
}

#[test]
fn refused_streams_may_be_sent_again() {
    check_with(asked, &[&rst(1, Code::REFUSED_STREAM)], "reset 1 REFUSED_STREAM by peer unprocessed", "");
    check_with(asked, &[&rst(1, Code::INTERNAL_ERROR)], "reset 1 INTERNAL_ERROR by peer", "");
    // An answer, and no wish for the rest of the request (RFC 9113 §8.1).
    let wire = [headers(WHOLE_END, 3, OK), rst(3, Code::NO_ERROR)].concat();
    check_with(asked, &[&wire], "head 3 ends · reset 3 NO_ERROR by peer", "");
}

/// CVE-2023-35945: streams that a peer ends by GOAWAY and then resets.
#[test]
fn resets_behind_goaway_leave_nothing_behind() {
    for _ in 0..1_000 {
        let mut side = asked();
        side.feed(&join(&[&goaway(1, Code::NO_ERROR), &rst(3, Code::CANCEL), &rst(1, Code::CANCEL)]));
        let events = "goaway NO_ERROR · reset 3 REFUSED_STREAM by peer unprocessed · reset 1 CANCEL by peer";
        assert_eq!((side.events().as_str(), side.connection.active()), (events, 0));
        side.connection.shrink();
        assert_eq!(side.connection.memory(), 0);
    }
}

#[test]
fn what_the_server_told_is_there() {
    let mut side = Side::client(&Limits::default());
    assert!(!side.connection.peer().enable_connect_protocol);
    side.feed(&settings(&[(8, 1), (5, 20_000), (6, 5_000), (4, 100)]));
    let peer = side.connection.peer();
    assert!(peer.enable_connect_protocol && peer.max_frame_size == 20_000 && peer.max_header_list_size == 5_000);
    assert_eq!(peer.initial_window_size, 100);
}
