//! Each server gives the right answers on each scene: a figure of a wrong answer would be none.

use std::path::Path;

use ringway_benches::relay::load::Step;
use ringway_benches::relay::rows::Row;
use ringway_benches::relay::runtimes::Runtime;
use ringway_benches::relay::server::{Watch, measure};
use ringway_benches::relay::setup::{Scene, head_end};

#[track_caller]
fn check(runtime: Runtime) {
    let program = Path::new(env!("CARGO_BIN_EXE_relay-server"));
    // More than a buffer at once, so that reads and writes come in parts.
    for (scene, message_size) in
        [(Scene::Echo, 64), (Scene::Echo, 100_000), (Scene::Forward, 100_000), (Scene::Http1, 0)]
    {
        let row = Row { scene, connections: 3, message_size };
        // `drive` compares each byte while it connects, and each length while it exchanges.
        let steps = [Step::Connect(3), Step::Exchange(100), Step::Connect(5)];
        let samples = measure(program, runtime, &row, &Watch::Nothing, &steps).expect("served, and ended well");
        assert_eq!(samples.len(), 4);
        assert!(samples.is_sorted_by_key(|sample| sample.cpu), "CPU time only grows");
        assert!(samples.iter().all(|sample| sample.resident > 0), "a process has memory");
    }
}

#[test]
fn ring_serves() {
    check(Runtime::Ring);
}

#[test]
fn poll_serves() {
    check(Runtime::Poll);
}

#[test]
fn monoio_serves() {
    check(Runtime::Monoio);
}

#[test]
fn monoio_tuned_serves() {
    check(Runtime::MonoioTuned);
}

#[test]
fn monoio_on_epoll_serves() {
    check(Runtime::MonoioEpoll);
}

#[test]
fn tokio_serves() {
    check(Runtime::Tokio);
}

#[test]
fn a_head_ends_behind_its_empty_line() {
    for (bytes, end) in
        [(&b"GET / HTTP/1.1\r\n\r"[..], None), (b"a\r\n\r\n", Some(5)), (b"a\r\n\r\nb\r\n\r\n", Some(5))]
    {
        assert_eq!(head_end(bytes), end);
    }
}
