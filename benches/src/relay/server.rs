//! A server as a child process: started alone, under callgrind or under strace; pinned; sampled from /proc; and ended.
//!
//! Never a thread of this process, so that what is counted is the server's own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::relay::load::{Origin, Step, drive};
use crate::relay::rows::Row;
use crate::relay::runtimes::Runtime;

/// The CPU of the server.
pub const SERVER_CPU: usize = 0;
/// The CPU of the load, if the host has a second one.
pub const LOAD_CPU: usize = 1;

/// The server's programs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `relay-server`.
    pub ours: PathBuf,
    /// The server of `benches/glommio`, or why there is none.
    pub glommio: Result<PathBuf, String>,
}

impl Programs {
    /// Takes `relay-server` as given and builds glommio's beside it, under `target`. That it cannot be built (no C compiler,
    /// no network) is not an error: its rows say so.
    pub fn new(relay_server: &Path, target: &Path) -> Programs {
        Programs { ours: relay_server.to_path_buf(), glommio: build_glommio(target) }
    }

    /// The program for a runtime. Errors: why there is none.
    pub fn of(&self, runtime: Runtime) -> Result<&Path, &str> {
        match runtime {
            Runtime::Glommio => self.glommio.as_deref().map_err(String::as_str),
            _ => Ok(&self.ours),
        }
    }
}

fn build_glommio(target: &Path) -> Result<PathBuf, String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("glommio/Cargo.toml");
    let target = target.join("glommio");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--locked", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target)
        .output()
        .map_err(|error| format!("cargo does not run: {error}"))?;
    if built.status.success() {
        return Ok(target.join("release/relay-server-glommio"));
    }
    let said = String::from_utf8_lossy(&built.stderr);
    let error = said.lines().find(|line| line.starts_with("error")).unwrap_or("error: it says no more");
    Err(format!("benches/glommio does not build: {error}"))
}

/// What watches the server while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Nothing.
    Nothing,
    /// callgrind, which writes its counts into the file at the end.
    Callgrind(PathBuf),
    /// strace, which writes its counts into the file at the end.
    Strace(PathBuf),
}

/// The server at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// CPU time of all its threads so far, user and kernel.
    pub cpu: Duration,
    /// Resident bytes.
    pub resident: u64,
}

/// Reads samples of one process.
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    pid: u32,
}

impl Sampler {
    /// The process now. Panics when it is gone: a load without its server is no measurement.
    pub fn sample(&self) -> Sample {
        Sample { at: Instant::now(), cpu: self.cpu(), resident: self.resident() }
    }

    /// The first number of schedstat (proc_pid_schedstat: nanoseconds on a CPU), over all threads; io_uring's workers are among them.
    fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).expect("the server runs");
        let nanoseconds = tasks.flatten().filter_map(|task| {
            let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number of kB");
        kibibytes * 1024
    }
}

/// Starts the server of a row, drives it through the steps, and waits for its end. Returns the samples, one more than steps.
///
/// Errors: the server cannot be started, or ended otherwise than well.
pub fn measure(
    program: &Path,
    runtime: Runtime,
    row: &Row,
    watch: &Watch,
    steps: &[Step],
) -> Result<Vec<Sample>, String> {
    let origin = Origin::bind().map_err(|error| format!("no origin: {error}"))?;
    let mut server = start(program, runtime, row, watch, origin.address)?;
    let address = server.address;
    let samples =
        drive(origin, address, row.scene, row.message_size, steps.to_vec(), Sampler { pid: server.child.id() });
    let status = server.child.wait().map_err(|error| format!("no end: {error}"))?;
    if status.success() { Ok(samples) } else { Err(format!("{runtime} {}: ended with {status}", row.name())) }
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    /// Also when the load panicked: no server is left behind.
    fn drop(&mut self) {
        // It has ended already, or it shall: either answer is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(program: &Path, runtime: Runtime, row: &Row, watch: &Watch, origin: SocketAddr) -> Result<Server, String> {
    // taskset(1) replaces itself, so the child is the server (or what watches it).
    let mut command = Command::new("taskset");
    command.args(["-c", &SERVER_CPU.to_string()]);
    match watch {
        Watch::Nothing => {}
        Watch::Callgrind(file) => {
            command
                .args(["valgrind", "--quiet", "--tool=callgrind"])
                .arg(format!("--callgrind-out-file={}", file.display()));
        }
        Watch::Strace(file) => {
            command.args(["strace", "--follow-forks", "--summary-only", "--output"]).arg(file);
        }
    }
    let mut child = command
        .arg(program)
        .args([runtime.name(), row.scene.name(), &origin.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("taskset(1) does not run: {error}"))?;
    let mut line = String::new();
    let out = child.stdout.take().expect("piped");
    let read = BufReader::new(out).read_line(&mut line);
    match (read, line.trim().parse()) {
        (Ok(_), Ok(address)) => Ok(Server { child, address }),
        _ => {
            let _ = child.kill();
            let status = child.wait();
            Err(format!("{runtime} {}: no server: {line:?}, {status:?}", row.name()))
        }
    }
}

/// Instructions of the whole process, from what callgrind wrote. Errors: no such file, or no such line.
pub fn instructions(file: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.and_then(|number| number.trim().parse().ok()).ok_or_else(|| format!("{}: no totals", file.display()))
}

/// System calls of the whole process, from what `strace --summary-only` wrote. Errors: no such file, or no such line.
pub fn system_calls(file: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    // "% time, seconds, usecs/call, calls, errors, name"
    let total = text.lines().find(|line| line.ends_with(" total"));
    total
        .and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
        .ok_or_else(|| format!("{}: no total", file.display()))
}
