//! `cargo xtask ci`: everything that must hold, on a clean clone, within half an hour on two cores.
//!
//! Goes on after a failure, so that one run shows all that is wrong, and ends with one table.

use std::process::Command;
use std::time::Duration;

use crate::step::{Report, Skips, Verdict};
use crate::{command, judge, setup, tidy, workspace};

/// The longest a cold step takes on two cores is about 11 minutes: the tests, with the C code of the ciphers. One that hangs must end before
/// CI's own limit, an hour and a half.
pub(crate) const STEP_LIMIT: Duration = Duration::from_secs(25 * 60);

/// Most tests wait for other processes most of their time.
const TEST_THREADS_PER_CPU: usize = 2;

/// Runs all steps; an error names those that failed.
pub(crate) fn run() -> Result<(), String> {
    let mut report = Report::default();
    report.step("setup", |_| from(setup::run().map(|()| format!("Envoy {}", setup::ENVOY_VERSION))));
    report.step("fmt", |skips| cargo(&["fmt", "--all", "--check"], skips));
    report.step("tidy", |_| tidy::verdict());
    report.step("clippy", |skips| cargo(&["clippy", "--all-targets", "--", "--deny", "warnings"], skips));
    // No default member, since libFuzzer wants a nightly compiler: at least it compiles.
    report.step("clippy of fuzz", |skips| cargo(&["clippy", "-p", "ringway-fuzz", "--", "--deny", "warnings"], skips));
    // --show-output: a test that passes by leaving something out says so on its standard output.
    let threads = std::thread::available_parallelism().map_or(2, |cpus| cpus.get() * TEST_THREADS_PER_CPU).to_string();
    // The tests that ask a real Envoy ask the one that was installed above.
    let envoy = setup::envoy_path().display().to_string();
    let set = [("RUST_TEST_THREADS", threads.as_str()), ("RINGWAY_ENVOY", envoy.as_str())];
    // By itself: each has its time.
    report.step("build tests", |skips| cargo(&["test", "--no-run"], skips));
    let tests = ["test", "--no-fail-fast", "--", "--show-output"];
    report.step("test", |skips| cargo_with(&tests, &set, STEP_LIMIT, skips));
    report.step("build --release", |skips| cargo(&["build", "--release", "--bin", "ringway"], skips));
    let judges = judge::Wish { scale: judge::Scale::Sample, ..judge::Wish::default() };
    judge::run_all(&judges, &mut report);
    report.end()
}

fn from(done: Result<String, String>) -> Verdict {
    match done {
        Ok(text) => Verdict::Pass(text),
        Err(why) => {
            println!("{why}");
            Verdict::Fail(why)
        }
    }
}

/// One run of Cargo over the default members, in the root.
pub(crate) fn cargo(arguments: &[&str], skips: &mut Skips) -> Verdict {
    cargo_with(arguments, &[], STEP_LIMIT, skips)
}

/// The same with variables of its environment set, and for no longer than `limit`.
pub(crate) fn cargo_with(arguments: &[&str], set: &[(&str, &str)], limit: Duration, skips: &mut Skips) -> Verdict {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(workspace::root());
    // One build from nothing: what would speed up the next one is only written and never read.
    cargo.env("CARGO_INCREMENTAL", "0").envs(set.iter().copied());
    let outcome = match command::run(cargo, limit, command::Echo::NotSuccesses) {
        Ok(outcome) => outcome,
        Err(why) => return Verdict::Fail(why),
    };
    for why in outcome.skips() {
        skips.heard(why);
    }
    let passed = total(&outcome.lines, " passed;");
    let tests = if passed > 0 { format!("{passed} tests") } else { String::new() };
    if outcome.success {
        return Verdict::Pass(tests);
    }
    // A panic that aborts ends a test program before its summary: the exit code is what decides.
    let first = outcome.lines.iter().find(|line| line.contains("FAILED") || line.starts_with("error"));
    let first = first.map_or("see above", String::as_str);
    Verdict::Fail(format!("{tests} {first}\n{}", failures(&outcome.lines).join("\n")))
}

/// Lines of failures that are said again after the table at the end.
const FAILURE_LINES_MAX: usize = 60;

/// What test programs say of the tests that failed, and the compiler of its errors: once more for the end, where one looks first.
fn failures(lines: &[String]) -> Vec<&str> {
    let mut wanted = Vec::new();
    let mut inside = false;
    for line in lines {
        inside = match line.as_str() {
            "failures:" => true,
            line if line.starts_with("test result:") || line.starts_with("successes:") => false,
            _ => inside,
        };
        let error = line.starts_with("error") || line.contains("... FAILED");
        if (inside || error) && !line.is_empty() && wanted.len() < FAILURE_LINES_MAX {
            wanted.push(line.as_str());
        }
    }
    wanted
}

/// Adds up the numbers before `word` in the lines `test result: ok. 12 passed; 0 failed; ...`.
fn total(lines: &[String], word: &str) -> usize {
    let counts = lines.iter().filter(|line| line.starts_with("test result:")).filter_map(|line| {
        let before = &line[..line.find(word)?];
        before.rsplit(' ').next()?.parse::<usize>().ok()
    });
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_said_again() {
        let lines = [
            "test a ... ok",
            "test b ... FAILED",
            "successes:",
            "noise",
            "failures:",
            "",
            "why",
            "test result: FAILED",
        ];
        assert_eq!(failures(&lines.map(str::to_owned)), ["test b ... FAILED", "failures:", "why"]);
    }

    #[test]
    fn passed_tests_are_added_up() {
        let lines = [
            "running 2 tests",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 3 passed; 1 failed; 0 ignored",
        ];
        assert_eq!(total(&lines.map(str::to_owned), " passed;"), 15);
    }
}
