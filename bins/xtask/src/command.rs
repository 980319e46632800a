//! Running another program to its end, within a time, with its output passed on line by line.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What a program that ended said.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether it ended by itself, in time, with code 0.
    pub(crate) success: bool,
    /// Its exit code; none if a signal or the time limit ended it.
    pub(crate) code: Option<i32>,
    /// Its standard output and standard error, as lines, in the order of arrival.
    pub(crate) lines: Vec<String>,
}

impl Outcome {
    /// The lines by which tests say that they left something out: `SKIP name: why`.
    pub(crate) fn skips(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| line.trim_start().strip_prefix("SKIP "))
    }
}

/// What of a program's output is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    /// Each line.
    All,
    /// None.
    Nothing,
    /// All but what test programs say of tests that passed: a thousand lines would hide the one that matters.
    NotSuccesses,
}

/// The lines that [`Echo`] lets through, one after the other.
#[derive(Debug)]
struct Filter {
    echo: Echo,
    /// Between `successes:` and what follows that section.
    in_successes: bool,
}

impl Filter {
    fn passes(&mut self, line: &str) -> bool {
        if line.starts_with("successes:") {
            self.in_successes = true;
        } else if line.starts_with("failures:") || line.starts_with("test result:") || line.starts_with("running ") {
            self.in_successes = false;
        }
        match self.echo {
            Echo::All => true,
            Echo::Nothing => false,
            Echo::NotSuccesses => {
                let passed = line.starts_with("test ") && line.ends_with("... ok");
                !(self.in_successes || passed || line.is_empty())
            }
        }
    }
}

/// Lines kept of one program; beyond it they are passed on but not kept. A test run says some 10,000 lines of 100 bytes.
const LINES_MAX: usize = 200_000;

/// Runs `command` to its end, but no longer than `limit`. Its lines are passed on as `echo` says.
///
/// # Errors
/// Says which program could not be started, or that it took longer than `limit`.
pub(crate) fn run(mut command: Command, limit: Duration, echo: Echo) -> Result<Outcome, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0); // so that what it started can be ended with it
    let mut child = command.spawn().map_err(|e| format!("cannot start {name}: {e}"))?;
    let (say, heard) = mpsc::channel();
    let readers = [
        pass_on(child.stdout.take().expect("piped above"), say.clone()),
        pass_on(child.stderr.take().expect("piped above"), say),
    ];
    let deadline = Instant::now() + limit;
    let mut lines = Vec::new();
    let mut filter = Filter { echo, in_successes: false };
    // The channel closes when both pipes are at their end, that is when the program and its children have ended.
    loop {
        match heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if filter.passes(&line) {
                    println!("{line}");
                }
                if lines.len() < LINES_MAX {
                    lines.push(line);
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                signal_group("KILL", child.id());
                let _ended = child.wait();
                let tail = lines.iter().rev().take(20).rev().cloned().collect::<Vec<_>>().join("\n");
                return Err(format!("{name} took longer than {} s; its last lines:\n{tail}", limit.as_secs()));
            }
        }
    }
    let status = child.wait().map_err(|e| format!("cannot wait for {name}: {e}"))?;
    for reader in readers {
        let _ended = reader.join();
    }
    Ok(Outcome { success: status.success(), code: status.code(), lines })
}

fn pass_on(from: impl Read + Send + 'static, to: mpsc::Sender<String>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|size| size > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            if to.send(text).is_err() {
                return;
            }
            line.clear();
        }
    })
}

/// Sends a signal (`TERM`, `HUP`, ...) to one process. By the command of that name: std has no call for it.
pub(crate) fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).stderr(Stdio::null()).status();
    assert!(sent.is_ok(), "no `kill` on this machine");
}

/// The same to a group of processes.
pub(crate) fn signal_group(name: &str, leader: u32) {
    let group = format!("-{leader}");
    let sent = Command::new("kill").arg(format!("-{name}")).args(["--", &group]).stderr(Stdio::null()).status();
    assert!(sent.is_ok(), "no `kill` on this machine");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_code_and_skips_are_kept() {
        let outcome =
            run(shell("echo one; echo SKIP x: no y; exit 3"), Duration::from_secs(60), Echo::Nothing).unwrap();
        assert_eq!((outcome.success, outcome.code), (false, Some(3)));
        assert_eq!(outcome.skips().collect::<Vec<_>>(), ["x: no y"]);
        assert_eq!(outcome.lines[0], "one");
    }

    #[test]
    fn what_passed_is_not_passed_on() {
        let mut filter = Filter { echo: Echo::NotSuccesses, in_successes: false };
        let output = "running 2 tests\ntest a ... ok\ntest b ... FAILED\n\nsuccesses:\n---- a stdout ----\nnoise\n\
                      failures:\n---- b stdout ----\nwhy\ntest result: FAILED. 1 passed";
        let said: Vec<_> = output.lines().filter(|line| filter.passes(line)).collect();
        let wanted = ["running 2 tests", "test b ... FAILED", "failures:", "---- b stdout ----", "why"];
        assert_eq!(said[..5], wanted);
        assert_eq!(said.len(), 6);
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let why = run(shell("echo begun; sleep 1000"), Duration::from_millis(50), Echo::Nothing).unwrap_err();
        assert!(why.contains("took longer"), "{why}");
    }
}
