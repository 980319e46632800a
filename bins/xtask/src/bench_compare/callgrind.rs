//! Asks a suite for its cases, and callgrind for the instructions of one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::side::Program;
use crate::command::{self, Echo};
use crate::workspace;

/// The function within which is counted: that of `benches/src/case.rs`.
const COUNTED: &str = "*case::counted_rounds*";
/// One case takes some seconds under callgrind, the largest configuration a minute on a busy host.
const CASE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The suite's cases: name, and rounds that are counted. Errors: the program does not say them.
pub(super) fn cases(program: &Program) -> Result<Vec<(String, u64)>, String> {
    let mut ask = Command::new(&program.path);
    ask.arg("--cases").env("RINGWAY_CONFORMANCE", conformance());
    let output = ask.output().map_err(|error| format!("cannot start {}: {error}", program.path.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let cases = if output.status.success() { parse_cases(&said) } else { None };
    cases.ok_or_else(|| {
        let why = String::from_utf8_lossy(&output.stderr);
        format!("{} does not say its cases: {}", program.path.display(), why.trim_end())
    })
}

fn parse_cases(said: &str) -> Option<Vec<(String, u64)>> {
    let case = |line: &str| {
        let (rounds, name) = line.split_once('\t')?;
        Some((name.to_owned(), rounds.parse().ok().filter(|rounds| *rounds > 0)?))
    };
    said.lines().map(case).collect()
}

/// The same data for both sides, though one of them is elsewhere.
fn conformance() -> PathBuf {
    workspace::conformance().and_then(|folder| folder.canonicalize().ok()).unwrap_or_default()
}

/// Instructions in user space of all rounds of a case, without its set-up. Errors: callgrind failed, or counted nothing.
pub(super) fn count(program: &Program, name: &str) -> Result<u64, String> {
    static FILES: AtomicU64 = AtomicU64::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let folder = workspace::target().join("bench-compare");
    std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let file = folder.join(format!("callgrind.{}.{number}", std::process::id()));
    let mut callgrind = Command::new("valgrind");
    callgrind.args(["--tool=callgrind", "--quiet", &format!("--toggle-collect={COUNTED}")]);
    callgrind.arg(format!("--callgrind-out-file={}", file.display()));
    callgrind.arg(&program.path).args(["--once", name]).env("RINGWAY_CONFORMANCE", conformance());
    let outcome = command::run(callgrind, CASE_LIMIT, Echo::Nothing)?;
    let text = fs::read_to_string(&file).unwrap_or_default();
    // It is read, and there are hundreds; where it cannot be removed it is only in the way.
    let _ = fs::remove_file(&file);
    if !outcome.success {
        return Err(format!("{name:?} failed under callgrind:\n{}", outcome.lines.join("\n")));
    }
    match totals(&text) {
        Some(0) => Err(format!(
            "callgrind saw nothing of {COUNTED} in {name:?}: is the function inlined, or called otherwise?"
        )),
        Some(instructions) => Ok(instructions),
        None => Err(format!("callgrind wrote no totals for {name:?}")),
    }
}

/// The first event's total, which is to be the instructions. `None`: the file is another, or not whole.
fn totals(text: &str) -> Option<u64> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next());
    value("events:").filter(|event| *event == "Ir")?;
    value("totals:")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As callgrind 3.19 writes it, shortened.
    const WRITTEN: &str = "# callgrind format\nversion: 1\ncreator: callgrind-3.19.0\npid: 42\ncmd:  target/release/deps/micro --once x\n\
        part: 1\n\n\ndesc: I1 cache: \ndesc: Trigger: Program termination\n\npositions: line\nevents: Ir\nsummary: 123456\n\n\n\
        ob=(1) micro\nfl=(1) case.rs\nfn=(1) ringway_benches::case::counted_rounds\n77 2000\ncfn=(2) body\ncalls=1000 0\n77 121456\n\n\
        totals: 123456\n";

    #[test]
    fn the_total_of_the_instructions_is_read() {
        assert_eq!(totals(WRITTEN), Some(123_456));
        assert_eq!(
            totals(&WRITTEN.replace("events: Ir", "events: Ir Dr Dw").replace("totals: 123456", "totals: 7 8 9")),
            Some(7)
        );
    }

    #[test]
    fn a_file_that_is_cut_or_counts_other_things_has_no_total() {
        let cut = &WRITTEN[..WRITTEN.find("totals").expect("it is there")];
        for text in
            ["", cut, &WRITTEN.replace("events: Ir", "events: Dr"), &WRITTEN.replace("totals: 123456", "totals: x")]
        {
            assert_eq!(totals(text), None, "{text}");
        }
    }

    #[test]
    fn cases_are_lines_of_rounds_and_a_name() {
        let said = "1000\troute/prefix, the middle one/10\n20\ttls/TLSv1.3: handshake\n";
        let expect = [("route/prefix, the middle one/10".to_owned(), 1_000), ("tls/TLSv1.3: handshake".to_owned(), 20)];
        assert_eq!(parse_cases(said).as_deref(), Some(&expect[..]));
        for other in ["route/prefix\n", "0\troute/prefix\n", "Benchmarking route/prefix\n"] {
            assert_eq!(parse_cases(other), None, "{other:?}");
        }
    }
}
