//! An idle proxy costs nothing: no CPU, no wake-ups, no iowait in the host's statistics, under 1 KiB for an idle connection.
//!
//! Looked at without connections, and with many keep-alive connections that each had one answer.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{Bench, verdict};
use crate::lab::config::{Config, answer};
use crate::lab::http::{Head, read_body};
use crate::lab::pace::pause;
use crate::lab::proxy::{Kind, Launch, Proxy, raise_descriptors};
use crate::step::Verdict;

/// The promise for one idle connection: resident bytes.
const CONNECTION_MAX: u64 = 1_024;
/// Times that one worker may wake up in a second: none has a reason to, but a timer of some minutes may fall into the look.
const WAKES_MAX: f64 = 1.0;
/// CPU time of the whole process, of each second: 0 %, as a tool that shows whole percents says it. The control thread
/// looks at the file and the admin server's thread waits.
const CPU_MAX: f64 = 0.005;
/// How much of one CPU the host's iowait may rise by. A ring that counts its waiting as I/O raises it by a whole one.
const IOWAIT_MAX: f64 = 0.25;
/// Looks at an idle process, each so long.
const LOOKS: usize = 5;
const LOOK: Duration = Duration::from_secs(1);
/// What a first burst leaves behind (answers on their way, timers that were set) is gone after this.
const SETTLE: Duration = Duration::from_millis(1_500);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Half of the proxy's descriptors are for clients; and some are for all else.
const DESCRIPTORS_APART: u64 = 500;

pub(super) fn run(bench: &Bench) -> Verdict {
    verdict(judge(bench))
}

fn judge(bench: &Bench) -> Result<String, String> {
    let room = (raise_descriptors()? / 2).saturating_sub(DESCRIPTORS_APART);
    let count = bench.count.min(room);
    let mut wrong = Vec::new();
    let without = Look::take(None);
    let config = Config::default().listener("front", any(), &[answer("/", 200, "here")]);
    let file = bench.folder.join("idle.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let launch =
        Launch { kind: bench.kind, folder: &bench.folder, name: "idle", file: &file, concurrency: 1, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    pause(SETTLE);
    let empty = Look::take(Some(&proxy));
    println!("no proxy: {}\n0 connections: {}", without.line(), empty.line());
    empty.judge("0 connections", &without, bench.kind, &mut wrong);

    // The first quarter pays for what all connections share: the slope is that of the rest.
    let front = proxy.listener("front")?;
    let mut held = Vec::new();
    let mut connect = |until: u64| -> Result<u64, String> {
        while (held.len() as u64) < until {
            held.push(greet(front).map_err(|e| format!("connection {}: {e}", held.len()))?);
        }
        pause(SETTLE);
        Ok(proxy.resident_bytes())
    };
    let (first, all) = (connect(count / 4)?, connect(count)?);
    let each = all.saturating_sub(first) / (count - count / 4).max(1);
    let full = Look::take(Some(&proxy));
    println!("{count} connections: {each} B resident each; {}", full.line());
    full.judge(&format!("{count} connections"), &without, bench.kind, &mut wrong);
    if each > CONNECTION_MAX {
        wrong.push(format!("{each} B for each idle connection, more than {CONNECTION_MAX}"));
    }
    // They were idle and not gone.
    for stream in held.iter_mut().step_by(50) {
        ask(stream).map_err(|e| format!("an idle connection's next request: {e}"))?;
    }
    let line = format!("{each} B each of {count} connections; {}", full.line());
    if wrong.is_empty() { Ok(line) } else { Err(format!("{}; {line}", wrong.join("; "))) }
}

fn any() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn greet(front: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&front, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    ask(&mut stream)?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    let mut from = BufReader::new(stream);
    let head = Head::read(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let (body, _) = read_body(&mut from, head.response_framing("GET")?)?;
    if (head.status(), body.as_slice()) == (200, b"here") {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, head.line))
    }
}

/// What an idle second costs, of some seconds.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// CPU time of the process, of a second.
    cpu: f64,
    /// Wake-ups of the worker.
    wakes: f64,
    /// Time that the host's CPUs waited for I/O, in CPUs.
    iowait: f64,
}

impl Look {
    fn take(proxy: Option<&Proxy>) -> Look {
        let read = || {
            let cpu = proxy.map_or(Duration::ZERO, Proxy::cpu_time);
            let wakes: u64 = proxy.map_or(0, |proxy| {
                proxy.worker_threads().into_iter().map(|thread| proxy.voluntary_switches(thread)).sum()
            });
            (Instant::now(), cpu, wakes, iowait_ticks())
        };
        let looks: Vec<Look> = (0..LOOKS)
            .map(|_| {
                let (begun, cpu, wakes, iowait) = read();
                pause(LOOK);
                let (ended, cpu_then, wakes_then, iowait_then) = read();
                let seconds = (ended - begun).as_secs_f64();
                Look {
                    cpu: cpu_then.saturating_sub(cpu).as_secs_f64() / seconds,
                    wakes: wakes_then.saturating_sub(wakes) as f64 / seconds,
                    iowait: iowait_then.saturating_sub(iowait) as f64 / TICKS / seconds,
                }
            })
            .collect();
        let mean = |of: fn(&Look) -> f64| looks.iter().map(of).sum::<f64>() / LOOKS as f64;
        let mut iowaits: Vec<f64> = looks.iter().map(|look| look.iowait).collect();
        iowaits.sort_by(f64::total_cmp);
        // The least of what all programs of the host have a part in (a ring that counts its waiting raises each look); the mean of
        // what is ours alone.
        Look { cpu: mean(|look| look.cpu), wakes: mean(|look| look.wakes), iowait: iowaits[0] }
    }

    fn line(&self) -> String {
        let [cpu, iowait] = [self.cpu, self.iowait].map(|share| share * 100.0);
        format!("{cpu:.2} % CPU, {:.1} wake-ups/s, iowait {iowait:.0} % of a CPU", self.wakes)
    }

    fn judge(&self, when: &str, without: &Look, kind: Kind, wrong: &mut Vec<String>) {
        if self.cpu > CPU_MAX {
            wrong.push(format!("{:.2} % CPU while idle with {when}", self.cpu * 100.0));
        }
        if self.wakes > WAKES_MAX {
            wrong.push(format!("{:.1} wake-ups per second with {when}", self.wakes));
        }
        if kind == Kind::Ring && self.iowait > without.iowait + IOWAIT_MAX {
            wrong.push(format!("iowait {:.0} % of a CPU with {when}", self.iowait * 100.0));
        }
    }
}

/// /proc/stat counts in hundredths of a second on every Linux that is in use (USER_HZ).
const TICKS: f64 = 100.0;

/// The host's time of waiting for I/O since its start, all CPUs, in ticks (proc(5): the fifth number of `cpu`).
fn iowait_ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    text.lines().next().and_then(|line| line.split_whitespace().nth(5)?.parse().ok()).unwrap_or(0)
}
