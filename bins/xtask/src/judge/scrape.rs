//! A scrape of thousands of clusters delays nobody: `/ready` answers at once while a scraper loops, and the text of the scrape is
//! never in memory as a whole.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Bench, verdict};
use crate::lab::config::{Config, answer};
use crate::lab::interrupted::uninterrupted;
use crate::lab::pace::pause;
use crate::lab::proxy::{Launch, Proxy, get};
use crate::step::Verdict;

/// The promise for `/ready` under a scrape of so many clusters: its 99th percentile. A sample only shows it: its host may be busy.
const PROMISED: u64 = 10_000;
const READY_MAX: Duration = Duration::from_millis(5);
/// How much slower than alone it may be where the host alone takes longer than that.
const BUSY_HOST: u32 = 2;
/// The share of a scrape's time that half of the answers stay under on any host: who waited for the scraper would take half of it.
const SHARE_MAX: u32 = 4;
/// How many answers come while a scrape stands still, its text not read.
const ASKED_BESIDE: usize = 100;
/// What a scrape may add to the resident memory: the list of names, one piece of the text and its thread.
const GROWTH_MAX: u64 = 8 << 20;
/// How often `/ready` is asked, and how long after the answer before.
const ASKED: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(2);
/// Nobody is at this port of the loopback: no cluster is used.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn run(bench: &Bench) -> Verdict {
    verdict(judge(bench))
}

fn judge(bench: &Bench) -> Result<String, String> {
    let mut config =
        Config::default().listener("front", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &[answer("/", 200, "here")]);
    for number in 0..bench.count {
        config = config.cluster(&format!("cluster-{number:05}"), &[NOBODY]);
    }
    let file = bench.folder.join("scrape.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let launch =
        Launch { kind: bench.kind, folder: &bench.folder, name: "scrape", file: &file, concurrency: 1, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let quiet = ask_ready(&proxy, ASKED)?;
    beside_a_scrape_that_nobody_reads(&proxy)?;
    let before = proxy.resident_bytes();
    let (stop, begun) = (AtomicBool::new(false), AtomicBool::new(false));
    let (busy, scrapes, grown) = thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let mut scrapes = Vec::new();
            while !stop.load(Ordering::Acquire) || scrapes.is_empty() {
                scrapes.push(scrape(proxy.admin, &begun));
            }
            scrapes
        });
        let watched = scope.spawn(|| {
            let mut most = 0;
            while !stop.load(Ordering::Acquire) {
                most = most.max(proxy.resident_bytes());
                pause(PAUSE);
            }
            most
        });
        while !begun.load(Ordering::Acquire) && !scraper.is_finished() {
            pause(PAUSE);
        }
        let busy = ask_ready(&proxy, ASKED);
        stop.store(true, Ordering::Release);
        let scrapes = scraper.join().expect("the scraper does not panic");
        (busy, scrapes, watched.join().expect("the watcher does not panic").saturating_sub(before))
    });
    let busy = busy?;
    let scrapes = scrapes.into_iter().collect::<Result<Vec<_>, _>>()?;
    let bytes = scrapes.iter().map(|scrape| scrape.0).max().unwrap_or(0);
    let mut times: Vec<Duration> = scrapes.iter().map(|scrape| scrape.1).collect();
    times.sort_unstable();
    let (took, usual) = (at(&times, 1.0), at(&times, 0.5));
    let line = format!(
        "{} clusters, {} scrapes of {:.1} MB, the longest {:.0} ms; /ready p50 {:.2} ms, p99 {:.2} ms (alone {:.2}, {:.2}); {} KiB more \
         resident",
        bench.count,
        scrapes.len(),
        bytes as f64 / 1e6,
        ms(took),
        ms(at(&busy, 0.5)),
        ms(at(&busy, 0.99)),
        ms(at(&quiet, 0.5)),
        ms(at(&quiet, 0.99)),
        grown / 1024,
    );
    let mut wrong = Vec::new();
    if at(&busy, 0.5) * SHARE_MAX > usual {
        wrong.push(format!(
            "half of /ready took over {:.2} ms beside scrapes of {:.2} ms",
            ms(at(&busy, 0.5)),
            ms(usual)
        ));
    }
    // A host that is busy itself is slow without any scrape, too.
    if bench.count >= PROMISED && at(&busy, 0.99) >= READY_MAX.max(at(&quiet, 0.99) * BUSY_HOST) {
        wrong.push(format!("/ready took {:.2} ms at its 99th percentile", ms(at(&busy, 0.99))));
    }
    if grown > GROWTH_MAX {
        wrong.push(format!("a scrape took {} KiB of memory", grown / 1024));
    }
    let least = bench.count as usize * 1_000;
    if bytes < least {
        wrong.push(format!("a scrape had {bytes} bytes, fewer than {least}"));
    }
    if wrong.is_empty() { Ok(line) } else { Err(format!("{}; {line}", wrong.join("; "))) }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value at this share of sorted ones.
fn at(times: &[Duration], share: f64) -> Duration {
    times[((times.len() - 1) as f64 * share).round() as usize]
}

/// A scraper that stops reading holds nobody up, however long it takes: no lock is held over its text.
fn beside_a_scrape_that_nobody_reads(proxy: &Proxy) -> Result<(), String> {
    let begin = || -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&proxy.admin, ANSWER_LIMIT)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(b"GET /stats/prometheus HTTP/1.1\r\nhost: a\r\n\r\n")?;
        stream.read_exact(&mut [0])?;
        Ok(stream)
    };
    let stuck = begin().map_err(|error| format!("a scrape that nobody reads: {error}"))?;
    ask_ready(proxy, ASKED_BESIDE).map_err(|error| format!("beside a scrape that nobody reads: {error}"))?;
    drop(stuck);
    Ok(())
}

/// How long each answer of `/ready` took, connecting included; sorted.
fn ask_ready(proxy: &Proxy, count: usize) -> Result<Vec<Duration>, String> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        let (status, body) = get(proxy.admin, "GET", "/ready")?;
        times.push(begun.elapsed());
        if (status, body.as_str()) != (200, "LIVE\n") {
            return Err(format!("/ready: {status} {body:?}"));
        }
        pause(PAUSE);
    }
    times.sort_unstable();
    Ok(times)
}

/// One scrape, its text thrown away: how many bytes, and how long.
fn scrape(admin: SocketAddr, begun: &AtomicBool) -> Result<(usize, Duration), String> {
    let start = Instant::now();
    let once = || -> std::io::Result<usize> {
        let mut stream = TcpStream::connect_timeout(&admin, ANSWER_LIMIT)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(b"GET /stats/prometheus HTTP/1.1\r\nhost: a\r\n\r\n")?;
        let (mut total, mut piece) = (0, vec![0; 64 << 10]);
        loop {
            match uninterrupted(|| stream.read(&mut piece))? {
                0 if total > 0 => return Ok(total),
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                count => total += count,
            }
            begun.store(true, Ordering::Release);
        }
    };
    once().map(|bytes| (bytes, start.elapsed())).map_err(|error| format!("a scrape: {error}"))
}
