//! Many connections that hold one byte of a head each, and many requests open at an origin that says nothing: the
//! receive ring stays more than half free, and others' requests are answered meanwhile. Then all of them go on.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Bench, verdict};
use crate::lab::config::{Config, route};
use crate::lab::http::{Head, read_body};
use crate::lab::interrupted::uninterrupted;
use crate::lab::origin::Origin;
use crate::lab::pace::wait_for;
use crate::lab::proxy::{Launch, Proxy, raise_descriptors};
use crate::step::Verdict;

/// A quarter as many requests as one-byte heads: 20,000 and 5,000.
const REQUESTS_PART: u64 = 4;
/// The most chunks that a worker's ring has (core/runtime, `Options::chunks_max`); half of them may be held.
const CHUNKS_MAX: u64 = 1024;
/// Requests of others, meanwhile.
const OTHERS: usize = 200;
/// Of the one-byte heads, one in so many is finished at the end and must be answered.
const FINISHED_EACH: usize = 20;
/// Descriptors for all else: logs, listeners, others' requests, the admin server, the event loop.
const DESCRIPTORS_APART: u64 = 500;
/// How long the proxy may take to accept all and to open all requests, on a busy machine.
const GATHER_LIMIT: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn run(bench: &Bench) -> Verdict {
    verdict(judge(bench))
}

fn judge(bench: &Bench) -> Result<String, String> {
    // The proxy gives half of its descriptors to clients (docs/LIMITS.md); this process plays clients and origin, and has
    // one for each connection, two for each request and one more for what an origin just took.
    let descriptors = raise_descriptors()?;
    let clients = (descriptors / 2).saturating_sub(DESCRIPTORS_APART);
    let room = clients * REQUESTS_PART / (REQUESTS_PART + 1);
    let count = bench.count.min(room);
    let capped = if count < bench.count {
        format!(" (of {}: this host's hard limit of {descriptors} descriptors has no room for more)", bench.count)
    } else {
        String::new()
    };
    let requests = count / REQUESTS_PART;
    let silent = Silent::default();
    let quiet = silent.clone();
    let silent_origin = Origin::start("127.0.0.1", move |stream: TcpStream| quiet.hold(stream))?;
    let quick_origin = Origin::start("127.0.0.1", quick)?;
    // All addresses of this host, because one has no room for 25,000 connections of one client.
    let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let config = Config::default()
        .listener("front", every, &[route("/silent", "silent"), route("/", "quick")])
        .cluster("silent", &[silent_origin.address])
        .cluster("quick", &[quick_origin.address]);
    let file = bench.folder.join("flood.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    // One worker: all of it falls on one ring.
    let launch =
        Launch { kind: bench.kind, folder: &bench.folder, name: "flood", file: &file, concurrency: 1, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let port = proxy.listener("front")?.port();
    let front = |index: u64| SocketAddr::from((Ipv4Addr::new(127, 0, 0, 1 + (index % 8) as u8), port));
    let base = proxy.resident_bytes();

    let begun = Instant::now();
    let mut heads = Vec::new();
    for index in 0..count {
        let mut stream = connect(front(index)).map_err(|e| format!("connection {index}: {e}"))?;
        stream.write_all(b"G").map_err(|e| format!("the one byte of connection {index}: {e}"))?;
        heads.push(stream);
    }
    let mut open = Vec::new();
    for index in 0..requests {
        let mut stream = connect(front(index)).map_err(|e| format!("request {index}: {e}"))?;
        let head = format!("GET /silent/{index} HTTP/1.1\r\nhost: a\r\nx-padding: {}\r\n\r\n", "p".repeat(200));
        stream.write_all(head.as_bytes()).map_err(|e| format!("request {index}: {e}"))?;
        open.push(stream);
    }
    wait_for("all connections to be accepted", GATHER_LIMIT, || {
        (proxy.stat("http.front.downstream_cx_active").ok()? >= count + requests).then_some(())
    })?;
    wait_for("all requests at the silent origin", GATHER_LIMIT, || (silent.count() as u64 >= requests).then_some(()))?;
    println!("{count} connections{capped} and {requests} requests open after {:.1} s", begun.elapsed().as_secs_f64());

    let slowest = others(front(0)).map_err(|e| format!("others' requests: {e}"))?;
    let (total, free) = (proxy.workers_sum("chunks_total")?, proxy.workers_sum("chunks_free")?);
    let each = proxy.resident_bytes().saturating_sub(base) / (count + requests);
    let line = format!(
        "{count}{capped} + {requests} held {} of {total} chunks ({} without), {each} B resident each; {OTHERS} others answered, the slowest in {} ms",
        total.saturating_sub(free),
        proxy.workers_sum("enobufs").unwrap_or(0),
        slowest.as_millis()
    );
    println!("{line}");
    if free * 2 <= total || total - free > CHUNKS_MAX / 2 {
        return Err(format!("{line}: not more than half free"));
    }

    silent.speak();
    for (index, stream) in open.iter().enumerate() {
        let (status, _) = response(stream).map_err(|e| format!("the answer of request {index}: {e}"))?;
        if status != 200 {
            return Err(format!("request {index} got {status}"));
        }
    }
    for (index, stream) in heads.iter().enumerate().step_by(FINISHED_EACH) {
        let rest = (&mut &*stream).write_all(b"ET /late HTTP/1.1\r\nhost: a\r\n\r\n");
        let (status, _) = rest.and_then(|()| response(stream)).map_err(|e| format!("the late head {index}: {e}"))?;
        if status != 200 {
            return Err(format!("the late head {index} got {status}"));
        }
    }
    Ok(line)
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn response(stream: &TcpStream) -> io::Result<(u16, Vec<u8>)> {
    let mut from = BufReader::with_capacity(512, stream);
    let head = Head::read(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let (body, _) = read_body(&mut from, head.response_framing("GET")?)?;
    Ok((head.status(), body))
}

/// Requests on connections of their own, one after the other; the longest wait.
fn others(front: SocketAddr) -> io::Result<Duration> {
    let mut slowest = Duration::ZERO;
    for index in 0..OTHERS {
        let begun = Instant::now();
        let mut stream = connect(front)?;
        stream.write_all(format!("GET /other/{index} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())?;
        let (status, body) = response(&stream)?;
        if (status, body.as_slice()) != (200, b"quick".as_slice()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("other {index} got {status}")));
        }
        slowest = slowest.max(begun.elapsed());
    }
    Ok(slowest)
}

fn quick(mut stream: TcpStream) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    while Head::read(&mut from)?.is_some() {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nquick")?;
    }
    Ok(())
}

/// An origin that holds its connections without a thread for each, and answers all of them at once when told to.
#[derive(Clone, Debug, Default)]
struct Silent {
    held: Arc<Mutex<Vec<TcpStream>>>,
    spoken: Arc<AtomicBool>,
}

impl Silent {
    /// Reads one head and keeps the connection.
    fn hold(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut head = Vec::new();
        let mut piece = [0; 1024];
        while !head.ends_with(b"\r\n\r\n") {
            let read = uninterrupted(|| stream.read(&mut piece))?;
            if read == 0 {
                return Ok(());
            }
            head.extend_from_slice(&piece[..read]);
        }
        assert!(!self.spoken.load(Ordering::Relaxed), "a request after the end of silence");
        self.held.lock().expect("no panic while held").push(stream);
        Ok(())
    }

    fn count(&self) -> usize {
        self.held.lock().expect("no panic while held").len()
    }

    fn speak(&self) {
        self.spoken.store(true, Ordering::Relaxed);
        let mut held = self.held.lock().expect("no panic while held");
        for stream in held.iter_mut() {
            // A proxy that gave one up is seen at its client.
            let _written = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nat end");
        }
    }
}
