//! Floods of HTTP/2 against the proxy: those of `h2-attacks.json` from a client, the same from an origin, and the ones that
//! the file only describes. Each must end bounded: by GOAWAY or a close, with little memory, and unnoticed by others.

mod described;
mod flood;
mod origin;
mod witness;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use self::flood::{Flood, Outcome};
use self::witness::{Waits, Witness};
use super::{Bench, verdict};
use crate::lab::config::{Config, Http2, route};
use crate::lab::h2::frame::{flag, frame, kind};
use crate::lab::h2::hpack;
use crate::lab::h2::origin as h2_origin;
use crate::lab::origin::Origin;
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;
use crate::workspace;

/// What a flood may add to the proxy's memory (issue 5).
const GROWTH_MAX: u64 = 4 << 20;
/// The same of answers that are asked for and never read (CVE-2019-9517), which miss that: behind an origin of HTTP/2 each of 100 streams
/// may have a window's 16 KiB on either side of us, and the pool of receive chunks grows by its 4 MiB. 5 to 11 MiB were seen.
const BUFFERED_MAX: u64 = 16 << 20;
/// The witness's median during a flood, over its median before: the flood and the witness share one worker, which reads
/// what a flood sent in one turn before it comes to others.
const SLOWDOWN_MAX: f64 = 10.0;
/// The same over its median during bursts of a thousand requests that break no rule, from a client that goes away then:
/// nobody is to get more out of breaking rules.
const OVER_BURST_MAX: f64 = 2.0;
const BURST: u64 = 1_000;
/// What a busy machine takes from any process by turns: a median below it says nothing about the proxy.
const SLICE: Duration = Duration::from_millis(5);
/// Requests of the witness before a flood, for its usual median.
const REQUESTS_BEFORE: usize = 300;
/// Requests during floods at least, or the median says nothing; a flood that ends sooner is played again, so often at most.
const REQUESTS_DURING: usize = 40;
const REPEATS_MAX: usize = 30;
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// A receive chunk (`Options::chunk_size`).
const CHUNK_BYTES: u64 = 4096;

/// Floods that need no end: RFC 9113 wants the frames ignored, and each costs the receiver as little as the sender.
const IGNORED: &[&str] = &["unknown_flood"];

pub(super) fn run(bench: &Bench) -> Verdict {
    let Some(folder) = workspace::conformance() else {
        return Verdict::Missing("the outside data (../shared/conformance or $RINGWAY_CONFORMANCE)".to_owned());
    };
    verdict(judge(bench, &folder))
}

/// Where floods meet the proxy, with one worker for all.
struct Stand<'a> {
    bench: &'a Bench,
    proxy: Proxy,
    /// The listener, for whoever floods and for who only asks.
    front: SocketAddr,
    /// The origins behind it.
    _origins: Vec<Origin>,
    bad: origin::Bad,
    /// The witness's median while a client that breaks no rule asks as much as it may.
    burst: Duration,
    /// How much more memory is borne.
    growth_max: u64,
}

fn judge(bench: &Bench, data: &Path) -> Result<String, String> {
    let floods = flood::read(&data.join("h2-attacks.json"))?;
    let mut wrong = Vec::new();
    let mut sums = Vec::new();
    let mut note = |side: &str, results: Vec<(String, Result<String, String>)>| {
        let count = results.len();
        let mut good = 0;
        for (name, result) in results {
            match result {
                Ok(line) => {
                    good += 1;
                    println!("{side} {name}: {line}");
                }
                Err(why) => {
                    println!("{side} {name}: NOT BOUNDED: {why}");
                    wrong.push(format!("{side} {name}"));
                }
            }
        }
        sums.push(format!("{side} {good}/{count}"));
    };
    // With a proxy of its own: the memory that so many requests want is not there already when floods come.
    let burst = Stand::start(bench, "h2attacks-burst", Duration::ZERO)?.burst()?;
    let mut stand = Stand::start(bench, "h2attacks", burst)?;
    let names: Vec<String> = floods.iter().map(|flood| flood.id.clone()).collect();
    note("client", each(&names, |at| stand.client_floods(&floods[at])));
    let attacks = origin::attacks(&floods);
    let names: Vec<String> = attacks.iter().map(|attack| attack.id.clone()).collect();
    note("origin", each(&names, |at| stand.origin_floods(&attacks[at])));
    let names: Vec<String> = described::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    note("described", each(&names, |at| (described::ALL[at].1)(&mut stand)));
    let said = sums.join(", ");
    if wrong.is_empty() { Ok(said) } else { Err(format!("{said}; not bounded: {}", wrong.join(", "))) }
}

fn each(
    names: &[String],
    mut play: impl FnMut(usize) -> Result<String, String>,
) -> Vec<(String, Result<String, String>)> {
    names.iter().enumerate().map(|(at, name)| (name.clone(), play(at))).collect()
}

impl Stand<'_> {
    /// `name` is the process's, and its file's: more than one may stand at a time.
    fn start<'b>(bench: &'b Bench, name: &'static str, burst: Duration) -> Result<Stand<'b>, String> {
        let good = h2_origin::start(described::answer)?;
        let old = Origin::start("127.0.0.1", described::answer_http1)?;
        let bad = origin::Bad::start()?;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let routes = [route("/bad", "bad"), route("/witness", "old"), route("/old", "old"), route("/", "good")];
        let hosts = format!("[{{name: all, domains: [\"*\"], routes: [{}]}}]", routes.join(", "));
        let config = Config::default()
            .listener_with_hosts("front", any, &hosts, described::FRONT)
            .cluster_http2("good", &[good.address], &Http2::default())
            .cluster("old", &[old.address])
            .cluster_http2("bad", &[bad.address()], &Http2::default());
        let file = bench.folder.join(format!("{name}.yaml"));
        std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
        // One worker: flood and witness meet on it.
        let launch =
            Launch { kind: bench.kind, folder: &bench.folder, name, file: &file, concurrency: 1, arguments: &[] };
        let proxy = Proxy::start(&launch)?;
        let front = proxy.listener("front")?;
        // What is allocated once, at a first use, is not a flood's.
        Witness::connect(front)?.count(REQUESTS_BEFORE, &proxy)?;
        Ok(Stand { bench, proxy, front, _origins: vec![good, old], bad, burst, growth_max: GROWTH_MAX })
    }

    /// The witness's median while a client that breaks no rule asks as much as it may.
    fn burst(mut self) -> Result<Duration, String> {
        let front = self.front;
        let (_, noticed) = self.witnessed(|| burst(front))?;
        println!("bursts of {BURST} requests: {}", noticed.line());
        Ok(noticed.during.median)
    }

    /// A flood from a client.
    fn client_floods(&mut self, flood: &Flood) -> Result<String, String> {
        let (front, count) = (self.front, self.bench.count);
        let (outcomes, noticed) = self.witnessed(|| {
            let mut stream = TcpStream::connect_timeout(&front, CONNECT_LIMIT)?;
            stream.set_nodelay(true)?;
            stream.write_all(&flood::hello())?;
            flood::play(&mut stream, count, |number| flood.unit(number))
        })?;
        bounded(&flood.id, &outcomes, &noticed).map(|line| format!("{line} ({})", flood.cve))
    }

    /// A flood from an origin.
    fn origin_floods(&mut self, attack: &origin::Attack) -> Result<String, String> {
        let (front, count, bad) = (self.front, self.bench.count, self.bad.clone());
        let (outcomes, noticed) = self.witnessed(|| {
            bad.prepare(attack, count);
            let outcome = origin::provoke(front, &bad, attack, count);
            bad.end();
            outcome
        })?;
        bounded(&attack.id, &outcomes, &noticed)
    }

    /// Plays one of the described attacks, which says itself whether what it wants holds, under a witness's eyes.
    fn watched(&mut self, mut play: impl FnMut() -> io::Result<String>) -> Result<String, String> {
        let mut said = String::new();
        let (_, noticed) = self.witnessed(|| {
            said = play()?;
            Ok(Outcome::default())
        })?;
        match noticed.verdict() {
            Ok(more) => Ok(format!("{said}; {more}")),
            Err(more) => Err(format!("{said}; {more}")),
        }
    }

    /// Plays a flood, as often as a witness needs to notice it, or until one is not ended.
    fn witnessed(&mut self, mut play: impl FnMut() -> io::Result<Outcome>) -> Result<(Vec<Outcome>, Noticed), String> {
        let proxy = &self.proxy;
        let mut witness = Witness::connect(self.front)?;
        let before = witness.count(REQUESTS_BEFORE, proxy)?;
        let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (outcomes, during) = std::thread::scope(|scope| {
            let noticing = scope.spawn(|| witness.until(&over, &asked, proxy));
            let mut outcomes = Vec::new();
            while outcomes.len() < REPEATS_MAX && asked.load(Ordering::Relaxed) < REQUESTS_DURING {
                outcomes.push(play());
                if outcomes.last().is_some_and(|outcome| !outcome.as_ref().is_ok_and(Outcome::is_ended)) {
                    break;
                }
            }
            over.store(true, Ordering::Relaxed);
            (outcomes, noticing.join())
        });
        let during = during.map_err(|_| "the witness panicked".to_owned())??;
        let outcomes: io::Result<Vec<Outcome>> = outcomes.into_iter().collect();
        let outcomes = outcomes.map_err(|e| format!("the flood: {e}"))?;
        Ok((outcomes, Noticed { before, during, burst: self.burst, growth_max: self.growth_max }))
    }
}

/// What a witness noticed before a flood, and during it.
#[derive(Clone, Copy, Debug)]
struct Noticed {
    before: Waits,
    during: Waits,
    burst: Duration,
    growth_max: u64,
}

impl Noticed {
    /// Without that of the pool of receive chunks, which has a bound of its own and no connection's: how much came within one turn decides
    /// how far it goes.
    fn growth(&self) -> u64 {
        let pool = self.during.chunks.saturating_sub(self.before.chunks) * CHUNK_BYTES;
        self.during.resident.saturating_sub(self.before.resident + pool)
    }

    fn line(&self) -> String {
        let (before, during) = (self.before, self.during);
        format!(
            "others' median {} us before, {} us during ({} requests, slowest {} us); memory +{} KiB",
            before.median.as_micros(),
            during.median.as_micros(),
            during.requests,
            during.slowest.as_micros(),
            self.growth() >> 10
        )
    }

    /// Whether others had their usual service meanwhile, in a line.
    fn verdict(&self) -> Result<String, String> {
        let line = self.line();
        if self.growth() >= self.growth_max {
            return Err(format!("{line}: {} MiB or more", self.growth_max >> 20));
        }
        let during = self.during.median;
        let over = |usual: Duration, times: f64| during.as_secs_f64() > times * usual.as_secs_f64();
        if during > SLICE && over(self.before.median, SLOWDOWN_MAX) && over(self.burst, OVER_BURST_MAX) {
            let burst = self.burst.as_micros();
            return Err(format!(
                "{line}: more than {SLOWDOWN_MAX} times as long, and {OVER_BURST_MAX} times {burst} us"
            ));
        }
        Ok(line)
    }
}

/// As many requests at once as a reset budget forgives, all of them right; then the client is gone.
fn burst(front: SocketAddr) -> io::Result<Outcome> {
    let mut stream = TcpStream::connect_timeout(&front, CONNECT_LIMIT)?;
    stream.set_nodelay(true)?;
    stream.write_all(&flood::hello())?;
    let block = hpack::encode(&described::get("/"));
    let flags = flag::END_HEADERS | flag::END_STREAM;
    let wire: Vec<u8> =
        (0..BURST).flat_map(|number| frame(kind::HEADERS, flags, 2 * number as u32 + 1, &block)).collect();
    stream.write_all(&wire)?;
    Ok(Outcome { closed: true, units: BURST, ..Outcome::default() })
}

/// Whether a flood ended and nobody else noticed.
fn bounded(id: &str, outcomes: &[Outcome], noticed: &Noticed) -> Result<String, String> {
    let worst = outcomes.iter().find(|outcome| !outcome.is_ended()).or(outcomes.first());
    let worst = worst.ok_or("no flood was played")?;
    let line = format!("{}; {} floods", worst.line(), outcomes.len());
    if !worst.is_ended() && !IGNORED.contains(&id) {
        return Err(line);
    }
    match noticed.verdict() {
        Ok(more) => Ok(format!("{line}; {more}")),
        Err(more) => Err(format!("{line}; {more}")),
    }
}
