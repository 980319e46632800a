//! Processes that end with us, whatever ends us.
//!
//! Each is the child of a small one of our own (`ringway-load held`), which is bound to the CPUs that it is to run on and waits on its
//! standard input: where that ends, because we want it so, because we panicked or were killed, it ends all that it started. Each has a
//! process group of its own, so that Ctrl-C on a terminal reaches us alone.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};
use ringway_runtime::cpus;

use super::account::descendants;
use crate::arguments::{Cpus, cpu_list};

/// Who does not end within this after SIGTERM is ended by SIGKILL: proxies with nothing to do end at once.
const END_MAX: Duration = Duration::from_secs(3);
/// The exit status where the program cannot be started, as a shell's.
const NOT_STARTED: u8 = 127;

/// `held`, which is not for people.
pub(crate) fn command() -> clap::Command {
    clap::Command::new("held")
        .hide(true)
        .about("Runs a command until it ends or standard input does")
        .arg(Arg::new("cpus").long("cpus").value_parser(cpu_list))
        .arg(Arg::new("command").required(true).num_args(1..).action(ArgAction::Append).last(true))
}

/// Runs a command until it ends or standard input does; its exit status.
///
/// # Errors
/// It cannot be bound to its CPUs.
pub(crate) fn hold(matches: &mut ArgMatches) -> Result<u8, String> {
    let words: Vec<String> = matches.remove_many("command").expect("required").collect();
    if let Some(Cpus(list)) = matches.remove_one("cpus") {
        cpus::pin_current_thread_to(&list).map_err(|error| format!("CPUs {list:?}: {error}"))?;
    }
    let mut child = match Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).process_group(0).spawn() {
        Ok(child) => child,
        Err(error) => {
            crate::say_error(&format!("{}: {error}", words[0]));
            return Ok(NOT_STARTED);
        }
    };
    let group = child.id();
    let (ended, end) = channel::<()>();
    let watch = std::thread::spawn(move || {
        let _end = std::io::stdin().read_to_end(&mut Vec::new()); // an error is an end as well
        signal("TERM", group);
        if end.recv_timeout(END_MAX) == Err(RecvTimeoutError::Timeout) {
            signal("KILL", group);
        }
    });
    let status = child.wait().map_err(|error| error.to_string())?;
    drop(ended);
    drop(watch);
    signal("KILL", group); // what it has started and left
    Ok(code(status))
}

/// An exit status in the form of a shell: 128 and the signal, where one ended it.
fn code(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + signal);
    u8::try_from(status.code().or(signal).unwrap_or(1)).unwrap_or(1)
}

/// Sends a signal to a process group. By the shell, whose `kill` is part of it: std has no call for it.
fn signal(name: &str, group: u32) {
    let script = format!("kill -{name} -{group}");
    let _gone = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status(); // it may be there no more
}

/// A process that is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    holder: Child,
    input: Option<ChildStdin>,
}

impl Held {
    /// Starts a command on these CPUs; on all where there are none named.
    ///
    /// # Errors
    /// Why not. That the program itself cannot be started shows as its end.
    pub(crate) fn start(words: &[String], cpus: &[usize], stdout: Stdio, stderr: Stdio) -> Result<Held, String> {
        let own = std::env::current_exe().map_err(|error| format!("where is ringway-load? {error}"))?;
        let list: Vec<String> = cpus.iter().map(usize::to_string).collect();
        let mut command = Command::new(own);
        command.arg("held");
        if !cpus.is_empty() {
            command.args(["--cpus", &list.join(",")]);
        }
        command.arg("--").args(words);
        command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr).process_group(0);
        let mut holder = command.spawn().map_err(|error| format!("{}: {error}", words[0]))?;
        let input = holder.stdin.take();
        Ok(Held { holder, input })
    }

    /// What it says, where that was asked for.
    pub(crate) fn output(&mut self) -> Option<ChildStdout> {
        self.holder.stdout.take()
    }

    /// What it says of itself, likewise.
    pub(crate) fn errors(&mut self) -> Option<ChildStderr> {
        self.holder.stderr.take()
    }

    /// The process and all that it has started, without what holds it.
    pub(crate) fn processes(&self) -> Vec<u32> {
        descendants(self.holder.id())
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<u8> {
        self.holder.try_wait().ok().flatten().map(code)
    }

    /// Asks it to end. It has some seconds for it.
    pub(crate) fn ask_to_end(&mut self) {
        self.input = None;
    }

    /// Ends it, and says how it ended.
    pub(crate) fn end(&mut self) -> Option<u8> {
        self.ask_to_end();
        self.holder.wait().ok().map(code)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.end();
    }
}
