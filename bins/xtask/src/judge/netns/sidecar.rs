//! One host's sidecar: the proxy with the example's configuration, as user 1337, and the rules that lead to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lab::host::{Host, Program, User};
use crate::lab::pace::wait_for;
use crate::lab::proxy::Kind;

/// The proxy's user, as the rules have it by default.
pub(super) const PROXY: u32 = 1337;

/// A proxy that has not started after this never will.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How the kernel hands over what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// By rewriting the destination.
    Redirect,
    /// By giving it to a transparent socket.
    Tproxy,
}

impl Mode {
    /// The word for it in `ringway iptables`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Mode::Redirect => "redirect",
            Mode::Tproxy => "tproxy",
        }
    }
}

/// What sidecars are started from, where user 1337 can read it.
#[derive(Clone, Debug)]
pub(super) struct Install {
    pub(super) kind: Kind,
    pub(super) mode: Mode,
    /// Where all of it is.
    pub(super) folder: PathBuf,
    /// The proxy.
    pub(super) program: PathBuf,
    /// Its configuration.
    pub(super) file: PathBuf,
    /// This program, whose parts are the application and a client.
    pub(super) client: PathBuf,
}

impl Install {
    /// The file with a body of this size.
    pub(super) fn body(&self, size: usize) -> PathBuf {
        self.folder.join(format!("body-{size}"))
    }
}

/// Where logs are: a name's file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logs<'h> {
    /// The judge's folder.
    pub(super) folder: &'h Path,
    /// Whose logs they are.
    pub(super) mode: Mode,
}

impl Logs<'_> {
    /// The file of a program's output.
    pub(super) fn of(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}-{}.log", self.mode.name()))
    }
}

/// Counts of a proxy, by their names.
pub(super) type Stats = BTreeMap<String, u64>;

/// A running sidecar.
#[derive(Debug)]
pub(super) struct Sidecar<'h> {
    host: &'h Host,
    program: Program,
    log: PathBuf,
}

impl<'h> Sidecar<'h> {
    /// Starts it and waits until it is ready.
    pub(super) fn start(host: &'h Host, install: &Install, log: &Path) -> Result<Sidecar<'h>, String> {
        let file = install.file.to_string_lossy();
        let arguments = match install.kind {
            Kind::Envoy => vec!["--disable-hot-restart", "--concurrency", "1", "-c", &file],
            Kind::Ring | Kind::Poll => vec!["run", "--io", install.kind.name(), "--concurrency", "1", "-c", &file],
        };
        let arguments = [&arguments[..], &["--file-flush-interval-msec", "50"]].concat();
        let user = if install.mode == Mode::Tproxy { User::IdWithNetRaw(PROXY) } else { User::Id(PROXY) };
        let program = host.start(user, &install.program, &arguments, log)?;
        let mut sidecar = Sidecar { host, program, log: log.to_owned() };
        let ready = wait_for("a sidecar's /ready", START_LIMIT, || {
            let ended = sidecar.program.has_ended();
            if ended { Some(false) } else { sidecar.admin("/ready").ok().map(|_| true) }
        });
        match ready {
            Ok(true) => Ok(sidecar),
            Ok(false) => Err(format!("a sidecar ended at its start: {}", sidecar.log_tail())),
            Err(why) => Err(format!("{why}: {}", sidecar.log_tail())),
        }
    }

    fn admin(&self, path: &str) -> Result<String, String> {
        self.host.must("curl", &["-sSf", "--max-time", "5", &format!("http://127.0.0.1:15000{path}")])
    }

    /// All its counts now.
    pub(super) fn stats(&self) -> Result<Stats, String> {
        let text = self.admin("/stats")?;
        let counts = text.lines().filter_map(|line| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(counts.collect())
    }

    /// Ends it at once, as SIGKILL does.
    pub(super) fn kill(&mut self) {
        self.program.kill();
    }

    /// The last lines of its log.
    pub(super) fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

/// The sum of the counts with these names.
pub(super) fn sum(stats: &Stats, is_one: impl Fn(&str) -> bool) -> u64 {
    stats.iter().filter(|(name, _)| is_one(name)).map(|(_, count)| count).sum()
}
