//! A proxy process under a judge: Ringway on one of its drivers, or Envoy, started from the same file.
//!
//! Is ended when dropped. Its file, log and admin address stay in the judge's folder.

use std::fs::File;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::http::{Head, read_body};
use super::pace::wait_for;
use crate::command::signal;
use crate::{setup, workspace};

/// Which program, and on Ringway which driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ringway over io_uring.
    Ring,
    /// Ringway over readiness.
    Poll,
    /// The real Envoy.
    Envoy,
}

impl Kind {
    /// The kind of this word.
    pub(crate) fn named(word: &str) -> Option<Kind> {
        [Kind::Ring, Kind::Poll, Kind::Envoy].into_iter().find(|kind| kind.name() == word)
    }

    /// The word for it in tables and file names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Ring => "ring",
            Kind::Poll => "poll",
            Kind::Envoy => "envoy",
        }
    }
}

/// How to start a proxy.
#[derive(Clone, Debug)]
pub(crate) struct Launch<'a> {
    /// The program.
    pub(crate) kind: Kind,
    /// The judge's folder.
    pub(crate) folder: &'a Path,
    /// Tells this process from others in the folder.
    pub(crate) name: &'a str,
    /// The configuration file, already there.
    pub(crate) file: &'a Path,
    /// Workers; 0: as many as the proxy counts for itself.
    pub(crate) concurrency: usize,
    /// Further arguments.
    pub(crate) arguments: &'a [&'a str],
}

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    log: PathBuf,
    /// Where its admin server listens.
    pub(crate) admin: SocketAddr,
}

/// Envoy takes half a second to start, a second on a busy machine; a proxy that has not started after this never will.
const START_LIMIT: Duration = Duration::from_secs(20);
/// An admin server answers within milliseconds; a judge that waits longer would hide that it does not.
const ADMIN_LIMIT: Duration = Duration::from_secs(30);
/// Descriptors wished for: 25,000 clients, 5,000 upstream connections, and room.
const DESCRIPTORS: u64 = 65_536;

impl Proxy {
    /// Starts the proxy and waits until it is ready.
    pub(crate) fn start(launch: &Launch) -> Result<Proxy, String> {
        let mut proxy = Proxy::spawn(launch)?;
        proxy.wait_ready()?;
        Ok(proxy)
    }

    /// Starts the proxy and waits until its admin server has said where it listens.
    fn spawn(launch: &Launch) -> Result<Proxy, String> {
        let said = launch.folder.join(format!("{}.admin", launch.name));
        let log = launch.folder.join(format!("{}.log", launch.name));
        let _gone = std::fs::remove_file(&said);
        let out = File::create(&log).map_err(|e| format!("cannot write {}: {e}", log.display()))?;
        let err = out.try_clone().map_err(|e| format!("cannot write {}: {e}", log.display()))?;
        let mut command = match launch.kind {
            Kind::Ring | Kind::Poll => Command::new(workspace::ringway()),
            Kind::Envoy => Command::new(setup::envoy_path()),
        };
        match launch.kind {
            Kind::Ring | Kind::Poll => command.args(["run", "--io", launch.kind.name()]),
            Kind::Envoy => command.args(["--disable-hot-restart", "--use-dynamic-base-id"]),
        };
        command.arg("-c").arg(launch.file).arg("--admin-address-path").arg(&said);
        if launch.concurrency > 0 {
            command.args(["--concurrency", &launch.concurrency.to_string()]);
        }
        command.args(launch.arguments);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let mut child = command.spawn().map_err(|e| format!("cannot start {command:?}: {e}"))?;
        let mut ended = None;
        let found = wait_for("the admin server's address", START_LIMIT, || {
            ended = child.try_wait().ok().flatten();
            let text = std::fs::read_to_string(&said).ok();
            let address = text.and_then(|text| text.trim().parse::<SocketAddr>().ok());
            if ended.is_some() { Some(None) } else { address.map(Some) }
        });
        match found {
            Ok(Some(admin)) => Ok(Proxy { child, log, admin }),
            Ok(None) => Err(format!("{} ended at its start: {}", launch.name, tail(&log))),
            Err(why) => {
                let _ended = child.kill().and_then(|()| child.wait());
                Err(format!("{why}: {}", tail(&log)))
            }
        }
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        let admin = self.admin;
        wait_for("/ready", START_LIMIT, || get(admin, "GET", "/ready").ok().filter(|(status, _)| *status == 200))
            .map(|_| ())
            .map_err(|why| format!("{why}: {}", self.log_tail()))
    }

    /// Where the listener of this name is bound, from /listeners.
    pub(crate) fn listener(&self, name: &str) -> Result<SocketAddr, String> {
        let (_, text) = get(self.admin, "GET", "/listeners")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("::"));
        line.and_then(|address| address.trim().parse().ok())
            .ok_or_else(|| format!("/listeners has no {name}: {text:?}"))
    }

    /// The body of a GET of the admin server that must answer 200.
    pub(crate) fn admin(&self, path: &str) -> Result<String, String> {
        match get(self.admin, "GET", path)? {
            (200, body) => Ok(body),
            (status, body) => Err(format!("{path} answered {status}: {body}")),
        }
    }

    /// One statistic by its whole name; 0 if it is not there.
    pub(crate) fn stat(&self, name: &str) -> Result<u64, String> {
        let text = self.admin(&format!("/stats?filter={name}"))?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map_or(Ok(0), |value| value.trim().parse().map_err(|_| format!("{name} is {value:?}")))
    }

    /// The sum over all workers of one number in /workers.
    pub(crate) fn workers_sum(&self, key: &str) -> Result<u64, String> {
        let text = self.admin("/workers")?;
        let json: Value = serde_json::from_str(&text).map_err(|e| format!("/workers is not JSON: {e}"))?;
        let mut found = Vec::new();
        collect(&json, key, &mut found);
        if found.is_empty() { Err(format!("/workers has no {key}: {text}")) } else { Ok(found.iter().sum()) }
    }

    /// Resident memory now, in bytes, from /proc.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most of it since the process began.
    pub(crate) fn resident_most(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, member: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(member));
        line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// Its threads: number and name.
    pub(crate) fn threads(&self) -> Vec<(u32, String)> {
        let folder = format!("/proc/{}/task", self.child.id());
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let named = entries.filter_map(|entry| {
            let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, name.trim().to_owned()))
        });
        named.collect()
    }

    /// The threads of its workers: `rw:0`, `rw:1`, ... on Ringway, `wrk:worker_0`, ... on Envoy.
    pub(crate) fn worker_threads(&self) -> Vec<u32> {
        let threads = self.threads().into_iter();
        let workers = threads.filter(|(_, name)| name.starts_with("rw:") || name.starts_with("wrk:"));
        workers.map(|(thread, _)| thread).collect()
    }

    /// How often a thread of its went to sleep by itself, since its start.
    pub(crate) fn voluntary_switches(&self, thread: u32) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/task/{thread}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// CPU time of all its threads since its start, from /proc: to the nanosecond, where a tick is 10 ms.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.threads().into_iter().map(|(thread, _)| self.thread_cpu_time(thread)).sum()
    }

    /// The same of one thread.
    pub(crate) fn thread_cpu_time(&self, thread: u32) -> Duration {
        let text = std::fs::read_to_string(format!("/proc/{}/task/{thread}/schedstat", self.child.id()));
        let text = text.unwrap_or_default();
        Duration::from_nanos(text.split(' ').next().and_then(|spent| spent.parse().ok()).unwrap_or(0))
    }

    /// Moves all its threads to one CPU.
    pub(crate) fn move_to(&self, cpu: usize) -> Result<(), String> {
        let (cpu, process) = (cpu.to_string(), self.child.id().to_string());
        let moved = Command::new("taskset").args(["-a", "-p", "-c", &cpu, &process]).stdout(Stdio::null()).status();
        match moved {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(format!("the proxy cannot be moved to CPU {cpu}")),
            Err(e) => Err(format!("no `taskset` on this machine: {e}")),
        }
    }

    /// Open descriptors now, from /proc.
    pub(crate) fn descriptors(&self) -> u64 {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, |entries| entries.count() as u64)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `TERM`, `HUP`, ...
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Waits for the process to end by itself; its exit code, none if a signal ended it.
    pub(crate) fn wait_end(&mut self, limit: Duration) -> Result<Option<i32>, String> {
        let child = &mut self.child;
        wait_for("the proxy's end", limit, || child.try_wait().ok().flatten()).map(|status| status.code())
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Its whole log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// All numbers of this key in a JSON value, wherever they stand.
fn collect(value: &Value, key: &str, found: &mut Vec<u64>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_u64() {
                    Some(number) if name == key => found.push(number),
                    _ => collect(member, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, found)),
        _ => {}
    }
}

/// One request of an admin server: status and body.
pub(crate) fn get(admin: SocketAddr, method: &str, path: &str) -> Result<(u16, String), String> {
    let ask = || -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&admin, ADMIN_LIMIT)?;
        stream.set_read_timeout(Some(ADMIN_LIMIT))?;
        stream.write_all(format!("{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").as_bytes())?;
        let mut from = BufReader::new(stream);
        let head = Head::read(&mut from)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let (body, _) = read_body(&mut from, head.response_framing(method)?)?;
        Ok((head.status(), String::from_utf8_lossy(&body).into_owned()))
    };
    ask().map_err(|e| format!("admin {method} {path}: {e}"))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Raises how many descriptors this process, and each proxy that it starts, may hold; how many that is now.
///
/// To [`DESCRIPTORS`] where this user may, else as far as the host's hard limit lets anybody.
pub(crate) fn raise_descriptors() -> Result<u64, String> {
    let own = std::process::id().to_string();
    for limit in [format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}"), hard_limit()] {
        let raised = Command::new("prlimit").args(["--pid", &own, &limit]).stderr(Stdio::null()).status();
        match raised {
            Ok(status) if status.success() => break,
            Ok(_) => {}
            Err(e) => return Err(format!("no `prlimit` on this machine: {e}")),
        }
    }
    descriptor_limits().map(|[soft, _]| soft).ok_or_else(|| "no limits in /proc/self".to_owned())
}

fn hard_limit() -> String {
    format!("--nofile={}:", descriptor_limits().map_or(1024, |[_, hard]| hard))
}

/// Soft and hard limit of open files.
fn descriptor_limits() -> Option<[u64; 2]> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
    Some([words.next()?, words.next()?])
}

/// Whether the kernel gives this process an io_uring at all. Asked of the kernel and not of Ringway, so that a `ring`
/// that no longer starts is a failure and not a skip. By Python, because std has no call for it.
pub(crate) fn ring_allowed() -> Result<bool, String> {
    // io_uring_setup(1, NULL): EFAULT (14) where it exists and is allowed; EPERM or ENOSYS where it is not.
    const ASK: &str =
        "import ctypes; c = ctypes.CDLL(None, use_errno=True); c.syscall(425, 1, None); print(ctypes.get_errno())";
    let answer = Command::new("python3").args(["-c", ASK]).output().map_err(|e| format!("no python3: {e}"))?;
    Ok(String::from_utf8_lossy(&answer.stdout).trim() == "14")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_one_key_are_collected_wherever_they_stand() {
        let json = serde_json::json!({"workers": [{"chunks_free": 3, "loop": {"chunks_free": 4}}, {"chunks": 9}]});
        let mut found = Vec::new();
        collect(&json, "chunks_free", &mut found);
        assert_eq!(found, [3, 4]);
    }
}
