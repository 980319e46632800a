//! System calls of the worker for each proxied request on one connection, counted from outside by strace.
//!
//! Once with an origin that answers at once, where the next completion is often there already, and once with one that takes
//! a millisecond, where the worker sleeps for each of them. The promise is of ring; poll's figure is shown.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Bench, verdict};
use crate::lab::config::{Config, route};
use crate::lab::http::{Head, read_body};
use crate::lab::load::{BODY_SIZE, Backend};
use crate::lab::pace::wait_for;
use crate::lab::proxy::{Kind, Launch, Proxy};
use crate::step::Verdict;
use crate::{command, setup};

/// The promise: receive and send on both sides are two, and a little for what is not of a request.
const CALLS_MAX: f64 = 2.2;
/// Requests before the count, so that pools, timers and the upstream connection are there.
const WARM: u64 = 200;
/// How long the slow origin takes.
const SLOW: Duration = Duration::from_millis(1);
/// strace attaches and ends at once; a machine may be busy.
const STRACE_LIMIT: Duration = Duration::from_secs(20);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

pub(super) fn run(bench: &Bench) -> Verdict {
    if !setup::there_is("strace") {
        return Verdict::Missing("no `strace` on this machine: `cargo xtask setup` as root installs it".to_owned());
    }
    let counted = [
        Backend::start(&bench.folder, None).map_err(Trouble::from).and_then(|origin| count(bench, "quick", &origin)),
        Backend::threads(SLOW).map_err(Trouble::from).and_then(|origin| count(bench, "slow", &origin)),
    ];
    let counts = match counted.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(counts) => counts,
        Err(Trouble::NoTrace(why)) => return Verdict::Missing(why),
        Err(Trouble::Other(why)) => return verdict(Err(why)),
    };
    let line = counts.iter().map(|count| count.line.as_str()).collect::<Vec<_>>().join("; ");
    let most = counts.iter().map(|count| count.each).fold(0.0, f64::max);
    match bench.kind {
        Kind::Ring if most > CALLS_MAX => Verdict::Fail(format!("{line}: more than {CALLS_MAX}")),
        Kind::Ring => Verdict::Pass(line),
        Kind::Poll | Kind::Envoy => Verdict::Shown(line),
    }
}

#[derive(Debug)]
struct Count {
    line: String,
    each: f64,
}

/// Why nothing was counted.
#[derive(Debug)]
enum Trouble {
    /// This host lets nobody trace.
    NoTrace(String),
    Other(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Trouble {
        Trouble::Other(why)
    }
}

fn count(bench: &Bench, name: &str, origin: &Backend) -> Result<Count, Trouble> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = Config::default().listener("front", any, &[route("/", "back")]).cluster("back", &[origin.address()]);
    let file = bench.folder.join(format!("{name}.yaml"));
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let launch = Launch { kind: bench.kind, folder: &bench.folder, name, file: &file, concurrency: 1, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let worker = proxy.worker_threads();
    let [worker] = worker.as_slice() else { return Err(Trouble::Other(format!("workers {worker:?} instead of one"))) };
    let stream = TcpStream::connect(proxy.listener("front")?).map_err(|e| format!("cannot connect: {e}"))?;
    let mut stream = BufReader::new(stream);
    ask(&mut stream, WARM).map_err(|e| format!("a warm-up request: {e}"))?;
    let trace = Trace::attach(bench, name, *worker)?;
    let asked = ask(&mut stream, bench.count).map_err(|e| format!("a request: {e}"));
    let calls = trace.end()?;
    asked?;
    let total: u64 = calls.iter().map(|(_, count)| count).sum();
    let each = total as f64 / bench.count as f64;
    let parts: Vec<String> = calls.iter().map(|(call, count)| format!("{call} {count}")).collect();
    println!("{name} origin ({}): {} requests: {}", origin.name(), bench.count, parts.join(", "));
    Ok(Count { line: format!("{each:.2} with a {name} origin"), each })
}

/// So many requests, one after the other.
fn ask(stream: &mut BufReader<TcpStream>, count: u64) -> io::Result<()> {
    stream.get_ref().set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.get_ref().set_nodelay(true)?;
    for _ in 0..count {
        stream.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
        let head = Head::read(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (body, _) = read_body(stream, head.response_framing("GET")?)?;
        if head.status() != 200 || body.len() != BODY_SIZE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, head.line));
        }
    }
    Ok(())
}

/// A strace that counts one thread's calls.
#[derive(Debug)]
struct Trace {
    child: Child,
    table: std::path::PathBuf,
}

impl Trace {
    fn attach(bench: &Bench, name: &str, thread: u32) -> Result<Trace, Trouble> {
        let table = bench.folder.join(format!("{name}.strace"));
        let mut command = Command::new("strace");
        command.args(["-c", "-p", &thread.to_string(), "-o"]).arg(&table).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("cannot start strace: {e}"))?;
        let mut said = String::new();
        let heard = BufReader::new(child.stderr.take().expect("piped above")).read_line(&mut said);
        if heard.is_ok() && said.contains("attached") && !said.contains("attach:") {
            return Ok(Trace { child, table });
        }
        let _ended = child.kill().and_then(|()| child.wait());
        Err(Trouble::NoTrace(format!("strace may not attach here ({}): it needs ptrace", said.trim())))
    }

    /// Detaches; each call with its count.
    fn end(mut self) -> Result<Vec<(String, u64)>, String> {
        command::signal("INT", self.child.id());
        wait_for("strace's end", STRACE_LIMIT, || self.child.try_wait().ok().flatten())?;
        let text = std::fs::read_to_string(&self.table).map_err(|e| format!("no table of strace: {e}"))?;
        let calls = read_table(&text);
        if calls.is_empty() { Err(format!("strace counted nothing: {text:?}")) } else { Ok(calls) }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The calls of strace's table and their counts: `% time, seconds, usecs/call, calls, errors if any, syscall`.
fn read_table(text: &str) -> Vec<(String, u64)> {
    let rows = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, count) = (words.last()?, words.get(3)?.parse().ok()?);
        (*name != "total").then(|| ((*name).to_owned(), count))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_strace_is_read() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    99.00    0.000123           1      4000         3 io_uring_enter\n\
                     1.00    0.000001           1         2           futex\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.000124           1      4002         3 total\n";
        assert_eq!(read_table(text), [("io_uring_enter".to_owned(), 4000), ("futex".to_owned(), 2)]);
    }
}
