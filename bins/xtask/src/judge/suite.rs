//! Suites of the runtime's own that `cargo test` runs in small, or needs another build for: here they run in full.

use std::time::Duration;

use super::Bench;
use crate::step::{Skips, Verdict};
use crate::{ci, workspace};

/// Connections that one life of a core has in `core/runtime/tests/faults.rs`, on each driver.
const CONNECTIONS: u64 = 12;
/// Fourteen thousand lives take some minutes; on a busy machine many.
const FAULTS_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Loom tries every interleaving: minutes.
const LOOM_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Random connect, send, receive, cancel and close on starved cores, on each driver and on the simulated kernel.
pub(super) fn faults(bench: &Bench, skips: &mut Skips) -> Verdict {
    let seeds = bench.count.to_string();
    let words = ["test", "-p", "ringway-runtime", "--release", "--test", "faults", "--", "--show-output"];
    let verdict = ci::cargo_with(&words, &[("RINGWAY_FAULT_SEEDS", &seeds)], FAULTS_LIMIT, skips);
    match verdict {
        Verdict::Pass(_) => Verdict::Pass(format!("{seeds} lives of {CONNECTIONS} connections on each driver")),
        other => other,
    }
}

/// Mailboxes and wake-ups in every interleaving.
pub(super) fn loom(_: &Bench, skips: &mut Skips) -> Verdict {
    if !workspace::root().join("core/runtime/tests/loom.rs").is_file() {
        skips.push("loom: the runtime has no suite for it yet");
        return Verdict::Shown("left out: no such suite".to_owned());
    }
    let folder = workspace::target().join("loom").to_string_lossy().into_owned();
    let words = ["test", "-p", "ringway-runtime", "--release", "--test", "loom", "--target-dir", &folder];
    ci::cargo_with(&words, &[("RUSTFLAGS", "--cfg loom")], LOOM_LIMIT, skips)
}
