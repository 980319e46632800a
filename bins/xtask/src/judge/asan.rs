//! The tests of the crates that hold `unsafe`, and of who uses them most, under AddressSanitizer and LeakSanitizer.
//!
//! With the stable toolchain: it carries the sanitizer's runtime (`librustc-stable_rt.asan.a`) though its flag is not
//! stable, which is all that `RUSTC_BOOTSTRAP` lets through. std itself is not instrumented; its allocator calls are.

use std::path::Path;
use std::process::Command;

use super::Bench;
use crate::ci;
use crate::step::{Skips, Verdict};
use crate::workspace;

/// The crates, in the order of their risk; `count` of them are run.
pub(super) const CRATES: [&str; 2] = ["ringway-runtime", "ringway-engine"];
/// Tests that leave memory behind on purpose: they run apart, without the search for leaks. By name and not by a
/// suppression, because LeakSanitizer can read names only where a symbolizer is installed.
const LEAKING: &[(&str, &str)] = &[
    (
        "what_outlives_its_core_does_no_harm",
        "a core whose handles are still held when it ends is left behind, not freed",
    ),
    ("blocked_by_seccomp", A_FAILED_RING),
    ("no_such_system_call", A_FAILED_RING),
    ("no_memory_for_a_ring", A_FAILED_RING),
    ("what_a_ring_cannot_be_without", A_FAILED_RING),
    (
        "kinds_have_one_number_and_those_beyond_the_last_share_one",
        "kinds of tasks are named by literals; the test makes its own",
    ),
];
const A_FAILED_RING: &str = "the kernel may still hold the buffers of a ring that failed its start: they stay, once";

pub(super) fn run(bench: &Bench, skips: &mut Skips) -> Verdict {
    let (host, libraries) = match toolchain() {
        Ok(found) => found,
        Err(why) => return Verdict::Missing(why),
    };
    if !has_runtime(Path::new(&libraries)) {
        return Verdict::Missing(format!("this Rust toolchain brings no AddressSanitizer for {host} ({libraries})"));
    }
    let crates = CRATES.len().min(bench.count.max(1) as usize);
    let mut said = Vec::new();
    for name in &CRATES[..crates] {
        let mut all = vec!["--no-fail-fast", "-p", name, "--", "--show-output"];
        LEAKING.iter().for_each(|(test, _)| all.extend(["--skip", *test]));
        match sanitized(&host, "detect_leaks=1", &all, skips) {
            Verdict::Pass(text) => said.push(format!("{name} {text}")),
            other => return other,
        }
    }
    let mut leaking = vec!["-p", CRATES[0], "--"];
    for (test, why) in LEAKING {
        println!("without the search for leaks: {test}, because {why}");
        leaking.push(test);
    }
    match sanitized(&host, "detect_leaks=0", &leaking, skips) {
        Verdict::Pass(text) => Verdict::Pass(format!("{}; {text} without the search for leaks", said.join(", "))),
        other => other,
    }
}

fn sanitized(host: &str, options: &str, arguments: &[&str], skips: &mut Skips) -> Verdict {
    let folder = workspace::target().join("asan").to_string_lossy().into_owned();
    let mut words = vec!["test", "--target", host, "--target-dir", &folder];
    words.extend(arguments);
    let set = [
        ("RUSTC_BOOTSTRAP", "1"),
        ("RUSTFLAGS", "-Zsanitizer=address -Cforce-frame-pointers=yes"),
        ("ASAN_OPTIONS", options),
    ];
    ci::cargo_with(&words, &set, ci::STEP_LIMIT, skips)
}

/// The host's triple and the folder of its libraries, from rustc.
fn toolchain() -> Result<(String, String), String> {
    let ask = |argument: &[&str]| {
        let output = Command::new("rustc").args(argument).current_dir(workspace::root()).output();
        let output = output.map_err(|e| format!("cannot run rustc: {e}"))?;
        Ok::<String, String>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let version = ask(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names no host")?;
    Ok((host.to_owned(), ask(&["--print", "target-libdir"])?.trim().to_owned()))
}

fn has_runtime(libraries: &Path) -> bool {
    let entries = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"))
}
