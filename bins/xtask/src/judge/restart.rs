//! SIGTERM restarts on one port while new connections keep arriving: each that connected is answered.
//!
//! The next process starts at the moment of the SIGTERM and listens beside the old one (SO_REUSEPORT). A connection
//! whose connect() succeeded and that is reset, closed without a whole answer, or left unanswered is a failure; so is
//! one that is refused, because there is always a process that listens.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Bench, verdict};
use crate::lab::config::{Config, route};
use crate::lab::http::{Head, read_body};
use crate::lab::origin::Origin;
use crate::lab::pace::pause;
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;

/// Seconds for --drain-time-s: half of them the old process goes on accepting.
const DRAIN_TIME: &str = "4";
/// After the drain time an old process must be gone; the rest is for a busy machine.
const END_LIMIT: Duration = Duration::from_secs(12);
/// Threads of new connections, and the pause of each after an answer: some 1,500 new connections a second.
const ARRIVALS: usize = 6;
const ARRIVAL_PAUSE: Duration = Duration::from_millis(3);
/// Threads with a connection that stays and asks every few milliseconds.
const STAYING: usize = 2;
/// An answer that takes longer does not come.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Failures told in words; all are counted.
const TOLD_MAX: usize = 5;

pub(super) fn run(bench: &Bench) -> Verdict {
    verdict(judge(bench))
}

fn judge(bench: &Bench) -> Result<String, String> {
    let origin = Origin::start("127.0.0.1", serve)?;
    // A port that stays the same over all processes: below those that the kernel gives to clients.
    let front = fixed_port()?;
    let config = Config::default().listener("front", front, &[route("/", "back")]).cluster("back", &[origin.address]);
    let file = bench.folder.join("restart.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let start = |number: u64| {
        Proxy::start(&Launch {
            kind: bench.kind,
            folder: &bench.folder,
            name: &format!("process{number}"),
            file: &file,
            concurrency: 2,
            arguments: &["--drain-time-s", DRAIN_TIME],
        })
    };
    let mut current = start(0)?;
    let watch = Watch::default();
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let restarted = std::thread::scope(|scope| {
        for _ in 0..ARRIVALS {
            scope.spawn(|| {
                while !watch.done.load(Ordering::Relaxed) {
                    watch.count(arrive(front));
                    pause(ARRIVAL_PAUSE);
                }
            });
        }
        for _ in 0..STAYING {
            scope.spawn(|| {
                while !watch.done.load(Ordering::Relaxed) {
                    watch.count(stay(front, &watch));
                }
            });
        }
        let mut restarts = || -> Result<(), String> {
            for number in 1..=bench.count {
                let told = Instant::now();
                current.signal("TERM");
                let next = start(number)?;
                let code = current.wait_end(END_LIMIT).map_err(|why| format!("restart {number}: {why}"))?;
                slowest = slowest.max(told.elapsed());
                if code != Some(0) {
                    return Err(format!("the process of restart {number} ended with {code:?}: {}", current.log_tail()));
                }
                current = next;
            }
            Ok(())
        };
        let restarted = restarts();
        watch.done.store(true, Ordering::SeqCst);
        restarted
    });
    let counts = watch.counts.into_inner().expect("no client panicked");
    let failures: u64 = counts.failures.values().sum();
    let line = format!(
        "{} restarts, {} connections, {} requests, failed {failures} {:?}; slowest drain {:.1} s",
        bench.count,
        counts.connections,
        counts.answered,
        counts.failures,
        slowest.as_secs_f64()
    );
    println!("{line}; {:.1} s", begun.elapsed().as_secs_f64());
    counts.told.iter().for_each(|told| println!("  {told}"));
    restarted.map_err(|why| format!("{why}; {line}"))?;
    if failures > 0 {
        return Err(line);
    }
    if counts.connections < bench.count * 100 {
        return Err(format!("{line}: too few connections to judge by"));
    }
    Ok(line)
}

/// A free port of 127.0.0.1 below the range from which the kernel gives ports to clients.
fn fixed_port() -> Result<SocketAddr, String> {
    let first = 12_000 + (std::process::id() % 10_000) as u16;
    let free = (first..first + 1_000).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    free.into_iter().find(|address| TcpListener::bind(address).is_ok()).ok_or_else(|| "no free port".to_owned())
}

#[derive(Debug, Default)]
struct Watch {
    done: AtomicBool,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: u64,
    answered: u64,
    /// By kind.
    failures: BTreeMap<&'static str, u64>,
    told: Vec<String>,
}

/// How a connection ended: the number of its answers, or what failed.
type Ended = Result<u64, (&'static str, io::Error)>;

impl Watch {
    fn count(&self, ended: Ended) {
        let mut counts = self.counts.lock().expect("no client panicked");
        counts.connections += 1;
        match ended {
            Ok(answered) => counts.answered += answered,
            Err((kind, why)) => {
                *counts.failures.entry(kind).or_default() += 1;
                if counts.told.len() < TOLD_MAX {
                    counts.told.push(format!("{kind}: {why}"));
                }
            }
        }
    }
}

fn connect(front: SocketAddr) -> Result<BufReader<TcpStream>, (&'static str, io::Error)> {
    let connected = TcpStream::connect_timeout(&front, ANSWER_LIMIT).map_err(|why| ("not connected", why))?;
    connected.set_read_timeout(Some(ANSWER_LIMIT)).map_err(|why| ("not connected", why))?;
    Ok(BufReader::new(connected))
}

/// One request and its answer; whether the connection goes on.
fn ask(stream: &mut BufReader<TcpStream>) -> io::Result<bool> {
    stream.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    let head =
        Head::read(stream)?.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"))?;
    let (body, _) = read_body(stream, head.response_framing("GET")?)?;
    if (head.status(), body.as_slice()) != (200, b"here".as_slice()) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, head.line));
    }
    Ok(!head.closes())
}

/// A connection for one request.
fn arrive(front: SocketAddr) -> Ended {
    let mut stream = connect(front)?;
    ask(&mut stream).map(|_| 1).map_err(|why| ("connected, not answered", why))
}

/// A connection that stays until it is told that it ends: a process that goes must say so before it does.
fn stay(front: SocketAddr, watch: &Watch) -> Ended {
    let mut stream = connect(front)?;
    let mut answered = 0;
    while !watch.done.load(Ordering::Relaxed) {
        let goes_on = ask(&mut stream).map_err(|why| ("a staying connection, not told", why))?;
        answered += 1;
        if !goes_on {
            break;
        }
        pause(ARRIVAL_PAUSE);
    }
    Ok(answered)
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    while Head::read(&mut from)?.is_some() {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhere")?;
    }
    Ok(())
}
