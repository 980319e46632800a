//! Flow control (RFC 9113 §5.2, §6.9) in both directions, and how windows grow.

use ringway_protocols::http2::Limits;

use crate::side::*;

fn answering(limits: &Limits) -> Side {
    let mut side = Side::server(limits);
    side.feed(&join(&[&get(1), &get(3)]));
    side.respond(1, false, OK);
    side.respond(3, false, OK);
    side.forget();
    side
}

#[test]
fn content_is_granted_by_windows_and_frames() {
    let mut side = answering(&Limits::default());
    assert_eq!(side.send(1, 100_000, true), 16_384, "the peer's frames");
    for _ in 0..3 {
        side.send(1, 100_000, true);
    }
    side.forget();
    assert_eq!((side.send(1, 100_000, true), side.send(3, 1, false)), (0, 0), "both windows are used");
    assert_eq!(side.wrote(), "");
    side.feed(&window(1, 100_000));
    assert_eq!((side.events().as_str(), side.send(1, 5, false)), ("window 1", 0));
    side.feed(&window(0, 10));
    assert_eq!((side.events().as_str(), side.send(3, 4, false), side.send(1, 50, true)), ("window 0", 4, 6));
    side.feed(&join(&[&window(0, 44), &window(0, 1)]));
    assert_eq!((side.events().as_str(), side.send(1, 44, true)), ("window 0", 44));
    assert_eq!(side.wrote(), "DATA 3 4 · DATA 1 6 · DATA 1 44 end");
    // The end needs no window.
    side.send(3, 1, false);
    assert_eq!(side.send(3, 1, true), 0);
    assert_eq!((side.send(3, 0, true), side.wrote().as_str()), (0, "DATA 3 1 · DATA 3 0 end"));
    assert_eq!(side.connection.active(), 0);
}

#[test]
fn the_peers_frames_may_be_larger() {
    let mut side = answering(&Limits::default());
    side.feed(&settings(&[(5, 30_000)]));
    assert_eq!(side.send(1, 100_000, false), 30_000);
}

/// RFC 9113 §6.9.2: a change of the initial window holds for streams that are there, and may leave less than nothing.
#[test]
fn the_initial_window_may_change_and_go_below_zero() {
    let mut side = answering(&Limits::default());
    assert_eq!(side.send(1, 100, false), 100);
    side.feed(&settings(&[(4, 50)]));
    assert_eq!((side.send(1, 1, false), side.send(3, 60, false)), (0, 50), "50 below zero; 50");
    side.feed(&window(1, 50));
    assert_eq!((side.events().as_str(), side.send(1, 1, false)), ("settings", 0), "it is nothing yet");
    side.feed(&window(1, 20));
    assert_eq!((side.events().as_str(), side.send(1, 30, false)), ("window 1", 20));
    side.feed(&settings(&[(4, 0), (4, 130)]));
    assert_eq!((side.send(1, 90, false), side.send(3, 90, false)), (80, 80));
    // Too large for a stream that has more than it began with.
    side.feed(&window(1, 1_000));
    side.feed(&settings(&[(4, (1 << 31) - 1)]));
    assert_eq!(side.events(), "settings · window 1 · failed WindowOverflow FLOW_CONTROL_ERROR");
}

#[test]
fn who_sends_beyond_a_window_is_stopped() {
    let limits = Limits { stream_window: 1_000, stream_window_max: 1_000, ..Limits::default() };
    let told = || {
        let mut side = Side::server(&limits);
        side.feed(&join(&[&frame(SETTINGS, ACK, 0, &[]), &post(1)]));
        side.forget();
        side
    };
    check_with(told, &[&data(0, 1, 1_000), &get(3)], "data 1 1000 · head 3 ends", "");
    let broken = "reset 1 FLOW_CONTROL_ERROR WindowExceeded";
    check_with(told, &[&data(0, 1, 1_001), &get(3)], &format!("{broken} · head 3 ends"), "RST 1 FLOW_CONTROL_ERROR");
    check_with(
        told,
        &[&data(0, 1, 999), &data(END, 1, 2)],
        &format!("data 1 999 · {broken}"),
        "RST 1 FLOW_CONTROL_ERROR",
    );
    // Padding counts, and comes back.
    let padded = frame(DATA, PADDED, 1, &[&[200][..], &[b'x'; 700], &[0; 200]].concat());
    check_with(told, &[&padded, &data(0, 1, 99)], "data 1 799", "");
    check_with(told, &[&padded, &data(0, 1, 100)], &format!("data 1 700 · {broken}"), "RST 1 FLOW_CONTROL_ERROR");
    // Before it has read our SETTINGS a peer may send what the RFC gives.
    let untold = || {
        let mut side = Side::server(&limits);
        side.feed(&post(1));
        side.forget();
        side
    };
    check_with(
        untold,
        &[&data(0, 1, 16_384), &frame(SETTINGS, ACK, 0, &[]), &get(3)],
        "data 1 16384 · head 3 ends",
        "",
    );
    // The connection's window ends the connection.
    let many: Vec<u8> = (0..5).flat_map(|_| data(0, 1, 16_384)).collect();
    let mut side =
        Side::server(&Limits { connection_window: 65_535, connection_window_max: 65_535, ..Limits::default() });
    side.feed(&join(&[&post(1), &many]));
    assert_eq!(side.events(), "head 1 · data 1 49152 · failed WindowExceeded FLOW_CONTROL_ERROR");
}

#[test]
fn readers_open_windows_in_halves() {
    let limits = Limits {
        connection_window: 65_535,
        connection_window_max: 65_535,
        stream_window: 65_535,
        stream_window_max: 65_535,
        ..Limits::default()
    };
    let mut side = Side::server(&limits);
    side.feed(&join(&[&post(1), &data(0, 1, 16_384), &data(0, 1, 16_384)]));
    side.consume(1, 16_384);
    assert_eq!(side.wrote(), "");
    side.consume(1, 16_384);
    assert_eq!(side.wrote(), "WINDOW 1 +32768 · WINDOW 0 +32768");
    // One that ends needs no window of its own.
    side.feed(&join(&[&data(0, 1, 16_384), &data(0, 1, 16_383), &data(END, 1, 16_384)]));
    side.consume(1, 49_151);
    assert_eq!(side.wrote(), "WINDOW 0 +49151");
    assert_eq!(side.events(), "head 1 · data 1 81919 ends");
}

/// One reader that stops holds its window, and nothing of what the others have.
#[test]
fn a_reader_that_stops_does_not_stop_the_others() {
    let mut side = Side::server(&Limits { stream_window: 65_535, ..Limits::default() });
    side.feed(&join(&[&post(1), &post(3)]));
    (0..3).for_each(|_| side.feed(&data(0, 1, 16_384)));
    side.feed(&data(0, 1, 16_383));
    for _ in 0..1_000 {
        side.feed(&data(0, 3, 16_384));
        side.consume(3, 16_384);
    }
    side.feed(&data(END, 3, 0));
    assert!(side.events().ends_with("ends"));
    assert!(!side.wrote().contains("WINDOW 1 "));
}

/// What comes between a PING of ours and its answer is what the path holds.
#[test]
fn windows_grow_while_they_bound() {
    let limits = Limits {
        stream_window: 65_535,
        stream_window_max: 1 << 20,
        connection_window_max: 1 << 21,
        ..Limits::default()
    };
    let mut side = Side::server(&limits);
    side.feed(&post(1));
    let mut window: i64 = 65_535;
    let mut largest = 0;
    for _ in 0..40 {
        // A sender that fills the window within each round trip, and a reader that keeps up.
        let mut pinged = false;
        let mut credited = 0;
        while window > 0 {
            let bytes = window.min(16_384) as usize;
            side.feed(&data(0, 1, bytes));
            side.consume(1, bytes);
            window -= bytes as i64;
            let wrote = side.wrote();
            pinged |= wrote.contains("PING");
            for word in wrote.split(" · ").filter_map(|frame| frame.strip_prefix("WINDOW 1 +")) {
                credited += word.parse::<i64>().expect("a number");
            }
        }
        if pinged {
            side.feed(&frame(PING, ACK, 0, b"\0window\0"));
        }
        window += credited;
        largest = largest.max(window);
    }
    assert!(largest > 600_000 && largest <= 1 << 20, "{largest}");
    // A slow sender measures once in a while, and changes nothing.
    let mut side = Side::server(&limits);
    side.feed(&post(1));
    let mut pings = 0;
    for _ in 0..4_000 {
        side.feed(&data(0, 1, 1_000));
        side.consume(1, 1_000);
        if side.wrote().contains("PING") {
            pings += 1;
            side.feed(&frame(PING, ACK, 0, b"\0window\0"));
        }
    }
    assert!((1..=5).contains(&pings), "{pings}");
}

/// Windows that one stream has made large are not given to each of a hundred: readers that stop would hold as much each.
#[test]
fn a_grown_window_is_shared_by_many() {
    let told = |side: &mut Side, prefix: &str| -> i64 {
        let wrote = side.wrote();
        if wrote.contains("PING") {
            side.feed(&frame(PING, ACK, 0, b"\0window\0"));
        }
        wrote.split(" · ").filter_map(|frame| frame.strip_prefix(prefix)?.parse::<i64>().ok()).sum()
    };
    let check = |others: u32, least: i64, most: i64| {
        let mut side = Side::server(&Limits::default());
        side.feed(&join(&[&frame(SETTINGS, ACK, 0, &[]), &post(1)]));
        side.forget();
        let mut window = 16_384_i64;
        while window < 256 << 10 {
            while window > 0 {
                let bytes = window.min(16_384) as usize;
                side.feed(&data(0, 1, bytes));
                side.consume(1, bytes);
                window -= bytes as i64;
            }
            window += told(&mut side, "WINDOW 1 +");
        }
        (1..=others).for_each(|at| side.feed(&post(2 * at + 1)));
        side.forget();
        side.feed(&data(0, 3, 16_384));
        side.consume(3, 16_384);
        let told = told(&mut side, "WINDOW 3 +");
        assert!((least..=most).contains(&told), "{others} others: {told}");
    };
    check(1, 256 << 10, 16 << 20);
    check(99, 16_384, 16_384);
}

/// A table that the peer makes smaller and larger again: its next block says so (RFC 7541 §4.2), and large heads are cut to its frames.
#[test]
fn large_heads_are_cut_to_the_peers_frames() {
    let mut side = answering(&Limits::default());
    let value = "\u{1}".repeat(20_000); // has no shorter code
    side.respond(1, true, &[(":status", "200"), ("a", &value)]);
    assert_eq!(side.wrote(), "HEADERS 1 16384 part end · CONTINUATION 1 3624");
}

/// A window that our SETTINGS make smaller than what was sent into it is opened again, although nobody takes any more.
#[test]
fn a_window_that_our_settings_shut_opens_again() {
    let limits = Limits { stream_window: 1_000, stream_window_max: 1_000, ..Limits::default() };
    let mut side = Side::server(&limits);
    side.feed(&join(&[&post(1), &data(0, 1, 10_000), &post(3)]));
    side.consume(1, 10_000);
    assert_eq!(side.wrote(), "");
    side.feed(&frame(SETTINGS, ACK, 0, &[]));
    assert_eq!(side.wrote(), "WINDOW 1 +10000", "it was 9,000 below zero");
}

/// Sixteen slow readers fill a mebibyte; the seventeenth stream is served all the same, until the connection holds all that it may.
#[test]
fn slow_readers_do_not_starve_the_others() {
    let limits = Limits { connection_window_max: 4 << 20, ..Limits::default() };
    let mut side = Side::server(&limits);
    let full = |id: u32| join(&[&post(id), &data(0, id, 16_384).repeat(3), &data(0, id, 16_383)]);
    for stream in 0..63 {
        side.feed(&full(2 * stream + 1));
    }
    assert!(!side.events().contains("failed"));
    // A peer that keeps to what it was told.
    let told: u64 =
        side.wrote().split(" · ").filter_map(|frame| frame.strip_prefix("WINDOW 0 +")?.parse::<u64>().ok()).sum();
    assert_eq!(told + (1 << 20), 4 << 20);
    side.feed(&full(127));
    side.feed(&join(&[&post(129), &data(0, 129, 100)]));
    assert!(side.events().ends_with("failed WindowExceeded FLOW_CONTROL_ERROR"));
}

/// With our own values: a sender that fills what it has, a reader that takes each frame, and a window that is wide after a few round trips.
#[test]
fn a_window_of_one_frame_grows() {
    let mut side = Side::server(&Limits::default());
    side.feed(&join(&[&frame(SETTINGS, ACK, 0, &[]), &post(1)]));
    side.forget();
    let (mut window, mut trips) = (16_384_i64, 0);
    while window < 1 << 20 {
        let sent = window;
        while window > 0 {
            let bytes = window.min(16_384) as usize;
            side.feed(&data(0, 1, bytes));
            side.consume(1, bytes);
            window -= bytes as i64;
        }
        let wrote = side.wrote();
        let told = wrote.split(" · ").filter_map(|frame| frame.strip_prefix("WINDOW 1 +")?.parse::<i64>().ok());
        window += told.sum::<i64>();
        if wrote.contains("PING") {
            side.feed(&frame(PING, ACK, 0, b"\0window\0"));
        }
        trips += 1;
        assert!(trips < 20 && window > 0, "{sent} sent, {window} told after {trips} round trips");
    }
}
