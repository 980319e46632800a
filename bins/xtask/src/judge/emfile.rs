//! No descriptors left: who is connected is served, who waits is answered when there are some again, and nobody spins meanwhile.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Bench, verdict};
use crate::lab::config::{Config, answer, route};
use crate::lab::http::{Head, read_body};
use crate::lab::load::Backend;
use crate::lab::pace::pause;
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;

/// Descriptors beyond those that the proxy has when it is ready.
const ROOM: u64 = 40;
/// Clients that come beyond them: fewer than a listener's backlog, so that the kernel keeps them all.
const WAITING: usize = 100;
/// A client's patience: an accept that failed is tried again after 100 ms.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long the proxy is watched while it has no descriptor, and the CPU time that it may spend on that.
const WATCHED: Duration = Duration::from_secs(1);
const CPU_MAX: Duration = Duration::from_millis(100);

pub(super) fn run(bench: &Bench) -> Verdict {
    verdict(judge(bench))
}

fn judge(bench: &Bench) -> Result<String, String> {
    let origin = Backend::threads(Duration::ZERO)?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = Config::default()
        .listener("front", any, &[route("/up", "back"), answer("/", 200, "here")])
        .cluster("back", &[origin.address()]);
    let file = bench.folder.join("proxy.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let launch =
        Launch { kind: bench.kind, folder: &bench.folder, name: "proxy", file: &file, concurrency: 1, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let front = proxy.listener("front")?;
    let mut warm = connect(front).map_err(|e| format!("the first client: {e}"))?;
    let asked = |stream: &mut TcpStream, path: &str| ask(stream, path).map_err(|e| format!("{path}: {e}"));
    is(200, asked(&mut warm, "/up")?)?;
    // A process of its own limit: what its thread pool opens later counts, too.
    proxy.limit_descriptors(proxy.descriptors() + ROOM)?;
    let mut idle = Vec::new();
    for _ in 0..ROOM {
        idle.push(connect(front).map_err(|e| format!("a client: {e}"))?);
    }
    let mut waiting = Vec::new();
    for _ in 0..WAITING {
        let mut stream = connect(front).map_err(|e| format!("a client that has to wait: {e}"))?;
        stream.write_all(REQUEST.as_bytes()).map_err(|e| format!("a client that has to wait: {e}"))?;
        waiting.push(stream);
    }
    pause(WATCHED); // until it has met the limit
    let (before, at_limit) = (proxy.cpu_time(), proxy.descriptors());
    pause(WATCHED);
    let spent = proxy.cpu_time().saturating_sub(before);
    if spent > CPU_MAX {
        return Err(format!("without descriptors it spends {spent:?} of CPU in {WATCHED:?}"));
    }
    // Who is connected is served, over the warm connection upstream.
    is(200, asked(&mut warm, "/up")?)?;
    drop(idle);
    let mut answered = 0;
    for stream in &mut waiting {
        is(200, read(stream).map_err(|e| format!("client {answered} of {WAITING} that waited: {e}"))?)?;
        answered += 1;
    }
    is(200, asked(&mut connect(front).map_err(|e| format!("a client afterwards: {e}"))?, "/up")?)?;
    Ok(format!(
        "{at_limit} descriptors and no more: {answered} clients that waited were answered, {spent:?} of CPU meanwhile"
    ))
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

fn is(wanted: u16, status: u16) -> Result<(), String> {
    if status == wanted { Ok(()) } else { Err(format!("{status} instead of {wanted}")) }
}

fn connect(front: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&front, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream, path: &str) -> io::Result<u16> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes())?;
    read(stream)
}

fn read(stream: &mut TcpStream) -> io::Result<u16> {
    let mut from = BufReader::new(stream);
    let head = Head::read(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    read_body(&mut from, head.response_framing("GET")?)?;
    Ok(head.status())
}

impl Proxy {
    /// Lets it have so many descriptors from now on.
    fn limit_descriptors(&self, limit: u64) -> Result<(), String> {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &self.id().to_string(), &format!("--nofile={limit}:")]).stderr(Stdio::null());
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err("prlimit is not allowed to limit the proxy".to_owned()),
            Err(e) => Err(format!("no `prlimit` on this machine: {e}")),
        }
    }
}
