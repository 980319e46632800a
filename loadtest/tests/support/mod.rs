//! Origins and loads as processes, as users run them.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway-load");
/// Slow hosts are no failure of what these tests are about.
const PATIENT: [&str; 6] = ["--timeout", "60s", "--connect-timeout", "60s", "--late-max", "60s"];

/// `ringway-load serve`, ended when dropped.
pub(crate) struct Origin {
    child: Child,
    /// Its URL, as it says it.
    pub(crate) url: String,
}

impl Origin {
    pub(crate) fn start(options: &[&str]) -> Origin {
        let mut command = Command::new(PROGRAM);
        command.arg("serve").args(options).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program is there");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("it was asked for");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it serves");
        let url = line.trim().strip_prefix("serving ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Origin { child, url }
    }

    /// Its address and port.
    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").expect("a URL").1
    }

    /// The same with another scheme.
    pub(crate) fn as_scheme(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address())
    }

    /// As by SIGKILL, when it has no time to say anything.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// What a load came to.
pub(crate) struct Loaded {
    pub(crate) status: i32,
    pub(crate) json: Value,
}

impl Loaded {
    pub(crate) fn number(&self, member: &str) -> u64 {
        self.json[member].as_u64().unwrap_or_else(|| panic!("{member} in {:#}", self.json))
    }

    pub(crate) fn failures(&self, kind: &str) -> u64 {
        self.json["failures"][kind].as_u64().unwrap_or(0)
    }

    fn of(output: &Output) -> Loaded {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let json = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {stderr} {}", String::from_utf8_lossy(&output.stdout)));
        Loaded { status: output.status.code().expect("it ends by itself"), json }
    }
}

/// `ringway-load` with these arguments, to its end.
pub(crate) fn command(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().expect("the program is there")
}

/// A run that is patient with slow hosts, told as JSON. What `arguments` say stands.
pub(crate) fn load(arguments: &[&str]) -> Loaded {
    let mut all = vec!["run", "--quiet", "--json", "-"];
    for pair in PATIENT.chunks(2).filter(|pair| !arguments.contains(&pair[0])) {
        all.extend_from_slice(pair);
    }
    all.extend_from_slice(arguments);
    Loaded::of(&command(&all))
}

/// A run that goes on until it is interrupted.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStderr>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Running {
        Running::start_as(&[&["run", "--json", "-", "--duration", "1h"], arguments].concat())
    }

    /// With nothing but these arguments.
    pub(crate) fn start_as(arguments: &[&str]) -> Running {
        let mut command = Command::new(PROGRAM);
        command.args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program is there");
        let lines = BufReader::new(child.stderr.take().expect("it was asked for"));
        Running { child, lines }
    }

    /// Waits for a second of which this is said.
    pub(crate) fn wait_for(&mut self, is: impl Fn(&str) -> bool) {
        let mut line = String::new();
        while self.lines.read_line(&mut line).expect("lines are text") > 0 {
            if is(&line) {
                return;
            }
            line.clear();
        }
        panic!("it ended before");
    }

    /// As Ctrl-C does.
    pub(crate) fn interrupt(self) -> Loaded {
        Loaded::of(&self.interrupt_to_the_end())
    }

    /// Likewise, with whatever it says then.
    pub(crate) fn interrupt_to_the_end(self) -> Output {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().expect("kill(1)");
        assert!(sent.success());
        self.child.wait_with_output().expect("it ends")
    }
}
