//! The harness of the end-to-end tests: the real binary as a process of its own, a client that speaks HTTP/1 by hand,
//! and origins that do as they are told.
//!
//! Ports are the kernel's choice, nothing sleeps: whatever is waited for is a line of the log, a byte on a socket or a
//! statistic, and every wait ends after [`PATIENCE`] with a panic that says what was missing.

pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod dns;
pub(crate) mod files;
pub(crate) mod frames;
pub(crate) mod grpc;
pub(crate) mod http2;
pub(crate) mod lrs;
pub(crate) mod origin;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod resources;
pub(crate) mod tls;
pub(crate) mod xds;

use std::io::{self, Write};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before it counts as never happening.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Does it until no signal interrupts it. What waits on a socket with a time limit ends with `EINTR` where the process is stopped or
/// frozen meanwhile, without any signal handler (signal(7)).
pub(crate) fn uninterrupted<T>(mut once: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match once() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Says that it is over when dropped: also when a test fails, which would else wait for its threads for ever.
pub(crate) struct Stop<'s>(pub(crate) &'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs a test on both drivers, and on `ring` over a simulated kernel that does its worst: by `RINGWAY_FAULT_SEED`, or by a few
/// fixed seeds. Where the kernel grants no ring it says so: a line, or, with `RINGWAY_REQUIRE_ALL=1`, a failure.
#[track_caller]
pub(crate) fn on_each_driver(test: impl Fn(&'static str)) {
    test("poll");
    if process::ring_works() {
        test("ring");
    } else {
        skip("this kernel grants no io_uring");
    }
    match std::env::var("RINGWAY_FAULT_SEED") {
        Ok(seed) => test(Box::leak(format!("fault:{seed}").into_boxed_str())),
        Err(_) => FAULTS.iter().for_each(|io| test(io)),
    }
}

/// Seeds that are 3 modulo 4 run out of descriptors now and then; odd ones have two receive chunks in all.
const FAULTS: [&str; 3] = ["fault:1", "fault:2", "fault:3"];

/// What the proxy calls the driver behind `--io`: without the seed.
pub(crate) fn driver(io: &str) -> &str {
    io.split(':').next().unwrap_or_default()
}

/// Says loudly that something was left out.
#[track_caller]
pub(crate) fn skip(why: &str) {
    let name = format!("{}", Location::caller());
    assert!(std::env::var("RINGWAY_REQUIRE_ALL").as_deref() != Ok("1"), "{name}: {why}");
    // Past the test runner's capture: a skip is to be seen also where all is well.
    let _ = writeln!(std::io::stderr(), "SKIP {name}: {why}");
}

/// Asks until the answer is `Some`.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        // A pause between two questions, not a wait for time to pass.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
