//! A long body to a slow reader, and a long body from a fast sender to a slow origin: the proxy holds little of it.
//!
//! Looked at throughout: the runtime's buffers (from /workers) and the growth of resident memory. Every byte is compared.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Bench, verdict};
use crate::lab::config::{Config, route};
use crate::lab::http::{Framing, Head};
use crate::lab::interrupted::uninterrupted;
use crate::lab::origin::Origin;
use crate::lab::pace::pause;
use crate::lab::pattern::Pattern;
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;

/// The promise: what one stalled body may hold, all buffers together, and how much the process may grow by it.
const HELD_MAX: u64 = 1 << 20;
/// The runtime's receive chunk and bulk buffer (core/runtime, `Options`); a judge imports nothing of ours.
const CHUNK_SIZE: u64 = 4 << 10;
const BULK_SIZE: u64 = 64 << 10;
/// Between two looks at the proxy's buffers.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Looks at the proxy during a transfer, or the most that was held says nothing.
const LOOKS_MIN: u64 = 20;
/// How long the reader is slow before its bursts: 64 KiB each 50 ms.
const SLOW_FOR: Duration = Duration::from_secs(2);
/// What a reader takes at once in its second part, between two stalls of 20 ms.
const BURST_SIZE: u64 = 64 << 20;

pub(super) fn run(bench: &Bench) -> Verdict {
    verdict(judge(bench))
}

fn judge(bench: &Bench) -> Result<String, String> {
    let size = bench.count << 20;
    let pattern = Arc::new(Pattern::new(bench.seed));
    let serving = Arc::clone(&pattern);
    let origin = Origin::start("127.0.0.1", move |stream: TcpStream| serve(&serving, stream))?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = Config::default().listener("front", any, &[route("/", "back")]).cluster("back", &[origin.address]);
    let file = bench.folder.join("slow.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let launch =
        Launch { kind: bench.kind, folder: &bench.folder, name: "slow", file: &file, concurrency: 1, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let front = proxy.listener("front")?;
    // Once in small, so that what a first exchange and a first look at /workers need is there before the first figure.
    for transfer in [download, upload] {
        transfer(&pattern, front, 1 << 20).map_err(|e| format!("the first MiB: {e}"))?;
    }
    let mut said = Vec::new();
    for (name, transfer) in [("download", download as Transfer), ("upload", upload as Transfer)] {
        let begun = Instant::now();
        let held = watched(&proxy, || transfer(&pattern, front, size).map_err(|e| format!("{name}: {e}")))?;
        let line = format!(
            "{name} {} MiB: {} KiB of buffers, {} KiB of growth at most",
            bench.count,
            held.buffers >> 10,
            held.growth >> 10
        );
        println!("{line}, {} looks, {:.1} s", held.looks, begun.elapsed().as_secs_f64());
        if held.buffers > HELD_MAX || held.growth > HELD_MAX {
            return Err(format!("{line}: more than {} KiB", HELD_MAX >> 10));
        }
        if held.looks < LOOKS_MIN {
            return Err(format!("{line}: {} looks are too few to judge by", held.looks));
        }
        said.push(line);
    }
    Ok(said.join("; "))
}

type Transfer = fn(&Pattern, SocketAddr, u64) -> io::Result<()>;

/// The most that was held while something ran.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Bytes in the runtime's chunks, bulk buffers and blocks.
    buffers: u64,
    /// Bytes of resident memory above the start.
    growth: u64,
    looks: u64,
}

/// Runs `work` and looks at the proxy meanwhile.
fn watched(proxy: &Proxy, work: impl FnOnce() -> Result<(), String>) -> Result<Held, String> {
    let base = proxy.resident_bytes();
    let (done, buffers, growth, looks) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| -> Result<(), String> {
            while !done.load(Ordering::Relaxed) {
                let chunks = proxy.workers_sum("chunks_total")?.saturating_sub(proxy.workers_sum("chunks_free")?);
                let held = chunks * CHUNK_SIZE
                    + proxy.workers_sum("bulk_in_use")? * BULK_SIZE
                    + proxy.workers_sum("blocks_in_use_bytes")?;
                buffers.fetch_max(held, Ordering::Relaxed);
                growth.fetch_max(proxy.resident_bytes().saturating_sub(base), Ordering::Relaxed);
                looks.fetch_add(1, Ordering::Relaxed);
                pause(LOOK_EVERY);
            }
            Ok(())
        });
        let worked = work();
        done.store(true, Ordering::Relaxed);
        let watched = watcher.join().map_err(|_| "the watcher panicked".to_owned())?;
        worked.and(watched)
    })?;
    Ok(Held { buffers: buffers.into_inner(), growth: growth.into_inner(), looks: looks.into_inner() })
}

/// The origin: sends as many bytes as the path says, or reads slowly what it gets and answers at the end.
fn serve(pattern: &Pattern, mut stream: TcpStream) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        match head.request_framing()? {
            Framing::Length(size) => {
                let answer = match read_slowly(pattern, &mut from, size) {
                    Ok(()) => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
                    Err(why) => format!("HTTP/1.1 500 {why}\r\ncontent-length: 0\r\n\r\n"),
                };
                stream.write_all(answer.as_bytes())?;
            }
            _ => {
                let size = head.line.split(['/', ' ']).find_map(|word| word.parse::<u64>().ok()).unwrap_or(0);
                stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").as_bytes())?;
                pattern.write(&mut stream, 0, size)?;
            }
        }
    }
    Ok(())
}

fn download(pattern: &Pattern, front: SocketAddr, size: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(front)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(format!("GET /{size} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())?;
    let mut from = BufReader::with_capacity(4096, stream);
    let head = Head::read(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if head.status() != 200 || head.response_framing("GET")? != Framing::Length(size) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{head:?}")));
    }
    read_slowly(pattern, &mut from, size)
}

fn upload(pattern: &Pattern, front: SocketAddr, size: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(front)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(format!("POST /up HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n").as_bytes())?;
    pattern.write(&mut stream, 0, size)?;
    let mut from = BufReader::new(stream);
    let head = Head::read(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if head.status() == 200 { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidData, head.line)) }
}

/// Reads `size` bytes: slowly at first, then in bursts with stalls between, comparing each.
fn read_slowly(pattern: &Pattern, from: &mut impl Read, size: u64) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let (mut at, mut burst, begun) = (0, 0, Instant::now());
    while at < size {
        let wanted = (buffer.len() as u64).min(size - at) as usize;
        let read = uninterrupted(|| from.read(&mut buffer[..wanted]))?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the end at byte {at} of {size}")));
        }
        if !pattern.holds(at, &buffer[..read]) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("other bytes around {at}")));
        }
        at += read as u64;
        burst += read as u64;
        if begun.elapsed() < SLOW_FOR {
            pause(Duration::from_millis(50));
            burst = 0;
        } else if burst >= BURST_SIZE {
            pause(Duration::from_millis(20));
            burst = 0;
        }
    }
    Ok(())
}
