//! The management server of the measure: a process of the script, and what it has said so far.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::lab::pace::wait_for;

const SCRIPT: &str = include_str!("scale.py");
/// It makes tens of thousands of messages before it listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Times of the system's clock, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) port: Option<u16>,
    /// Of each move, when it was given to gRPC.
    pub(super) moved: Vec<u64>,
    /// Of each answer: of what, how many resources, and when.
    pub(super) acked: Vec<(String, u64, u64)>,
    pub(super) refused: Option<String>,
}

/// A running server; ends when dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    to: ChildStdin,
    said: Arc<Mutex<Said>>,
}

impl Server {
    pub(super) fn start(python: &Path, folder: &Path, arguments: [u64; 3]) -> Result<Server, String> {
        let (script, log) = (folder.join("scale.py"), folder.join("scale.log"));
        std::fs::write(&script, SCRIPT).map_err(|e| format!("cannot write {}: {e}", script.display()))?;
        let log = std::fs::File::create(&log).map_err(|e| format!("cannot write {}: {e}", log.display()))?;
        let mut command = Command::new(python);
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(&script).args(arguments.map(|number| number.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(|e| format!("cannot start the server: {e}"))?;
        let (to, from) = (child.stdin.take().expect("piped above"), child.stdout.take().expect("piped above"));
        let said = Arc::new(Mutex::new(Said::default()));
        let noted = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                note(&mut noted.lock().expect("no thread panics with it"), &line);
            }
        });
        let server = Server { child, to, said };
        server.wait("the server's port", START_LIMIT, |said| said.port.is_some())?;
        Ok(server)
    }

    /// What it has said so far.
    pub(super) fn said(&self) -> Said {
        self.said.lock().expect("no thread panics with it").clone()
    }

    pub(super) fn wait(&self, what: &str, limit: Duration, is_it: impl Fn(&Said) -> bool) -> Result<Said, String> {
        wait_for(what, limit, || Some(self.said()).filter(|said| is_it(said)))
    }

    /// Moves the probed endpoint.
    pub(super) fn move_to(&mut self, port: u16) -> Result<(), String> {
        writeln!(self.to, "move {port}").and_then(|()| self.to.flush()).map_err(|e| format!("the server is gone: {e}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn note(said: &mut Said, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| word.parse::<u64>().unwrap_or(0);
    match words[..] {
        [port] => said.port = port.parse().ok(),
        ["said", at] => said.moved.push(number(at)),
        ["acked", kind, count, at] => said.acked.push((kind.to_owned(), number(count), number(at))),
        ["refused", ..] => said.refused = Some(line.to_owned()),
        _ => {}
    }
}
