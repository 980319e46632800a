//! Raw connections: what one side sends the other has, byte for byte and end for end, whichever way the proxy moves it; and nothing is
//! left behind.
//!
//! Bulk and small messages, plain and with TLS between two proxies; readers that rest, ends and resets at any moment; readers that take
//! nothing; short connections that end in six ways. Which way the bytes took, the proxy's own statistics say.

mod held;
mod plan;
mod short;
mod side;
mod world;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::held::Through;
use self::plan::{Plan, Side, Traffic};
use self::world::{Way, World};
use super::{Bench, verdict};
use crate::lab::chance::Chance;
use crate::lab::counted::Counted;
use crate::lab::origin::Origin;
use crate::lab::pace::wait_for;
use crate::step::Verdict;

/// Connections at once.
const AT_ONCE: usize = 12;
/// Short connections for each MiB: 100,000 at full count.
const SHORT_PER_MIB: u64 = 10;
/// So many ports, ways of their own: a way has 28,232 ephemeral ports on each side of the proxy, and a closed connection keeps its own for
/// a minute.
const SHORT_WAYS: usize = 8;
/// Before the first look at what is there at rest: pools and tables have been there once.
const WARM: u64 = 200;
/// Of what comes in bulk, the part that must go by splice(2) where nothing forbids it. The rest is what came before it was known to be bulk.
const SPLICED_MIN_PERCENT: u64 = 50;
/// A receive of bulk that may not be spliced brings more than a chunk of the runtime's, on average; one of small messages does not.
const CHUNK_SIZE: u64 = 4 << 10;

/// What the listeners and clusters say of buffers, and what may then lie in the proxy for a reader that takes nothing.
const LIMITS: &[(Option<u32>, u64)] = &[
    // 128 KiB and one burst (docs/LIMITS.md).
    (None, 272 << 10),
    (Some(1 << 20), 1 << 20),
    (Some(300 << 10), 300 << 10),
    (Some(200 << 10), 200 << 10),
    (Some(32 << 10), 32 << 10),
];

/// Who sends to such a reader, the client or the origin, and in pieces of which size: what keeps up with small ones stays in chunks.
const STALLS: [(bool, usize); 4] = [(true, 64 << 10), (false, 64 << 10), (true, 4_000), (false, 4_000)];

pub(super) fn run(bench: &Bench) -> Verdict {
    verdict(judge(bench))
}

fn judge(bench: &Bench) -> Result<String, String> {
    let mut said = Vec::new();
    for tls in [false, true] {
        said.push(judge_world(bench, tls)?);
    }
    Ok(said.join("; "))
}

/// What our two sides saw.
#[derive(Debug, Default)]
struct Ledger {
    /// Connections whose origin is done.
    served: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

impl Ledger {
    fn note(&self, ended: Result<(), String>) {
        if let Err(why) = ended {
            self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(why);
        }
    }

    fn is_right(&self) -> bool {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Waits for the origins of so many connections; an error names what went wrong.
    fn close(&self, connections: u64) -> Result<(), String> {
        let all = wait_for("the origins' ends", side::LIMIT, || {
            (self.served.load(Ordering::Relaxed) >= connections || !self.is_right()).then_some(())
        });
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        match wrong.first() {
            Some(first) => Err(format!("{} connections went wrong: {first}", wrong.len())),
            None => all,
        }
    }
}

/// An origin that tells the ledger how each connection went.
fn origin(
    ledger: &Arc<Ledger>,
    serve: impl Fn(TcpStream) -> Result<(), String> + Send + Sync + 'static,
) -> Result<Origin, String> {
    let ledger = Arc::clone(ledger);
    Origin::start("127.0.0.1", move |stream: TcpStream| {
        set(&stream)?;
        ledger.note(serve(stream));
        ledger.served.fetch_add(1, Ordering::Relaxed);
        Ok(())
    })
}

fn set(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(side::LIMIT))?;
    stream.set_write_timeout(Some(side::LIMIT))
}

fn judge_world(bench: &Bench, tls: bool) -> Result<String, String> {
    let name = if tls { "TLS" } else { "plain" };
    let ledger = Arc::new(Ledger::default());
    let mut ways = Vec::new();
    let mut origins = Vec::new();
    for traffic in [Traffic::Bulk, Traffic::Messages] {
        let origin = origin(&ledger, move |stream| {
            let seed = side::greeted(&stream).map_err(|e| format!("a connection without a greeting: {e}"))?;
            side::play(stream, &Plan::new(seed, traffic), traffic, Side::Origin)
        })?;
        ways.push(Way { name: way(traffic).to_owned(), origin: origin.address, limit: None });
        origins.push(origin);
    }
    for at in 0..SHORT_WAYS {
        let origin = origin(&ledger, short::answer)?;
        ways.push(Way { name: format!("short{at}"), origin: origin.address, limit: None });
        origins.push(origin);
    }
    let mut stalled = Vec::new();
    for (at, (limit, _)) in LIMITS.iter().enumerate() {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("an origin cannot listen: {e}"))?;
        let address = listener.local_addr().map_err(|e| format!("an origin has no address: {e}"))?;
        ways.push(Way { name: format!("held{at}"), origin: address, limit: *limit });
        stalled.push(listener);
    }
    let world = World::start(bench, tls, &ways)?;
    let judged = || -> Result<String, String> {
        let mut said = Vec::new();
        let shorts = bench.count * SHORT_PER_MIB;
        short(&world, &ledger, bench.seed ^ 1, WARM)?;
        for traffic in [Traffic::Bulk, Traffic::Messages] {
            flood(&world, &ledger, traffic, bench.seed, 1)?;
        }
        let before = world.rest()?;
        for traffic in [Traffic::Bulk, Traffic::Messages] {
            said.push(judge_flood(&world, &ledger, traffic, bench, tls)?);
        }
        if !tls {
            said.push(judge_held(&world, &stalled, bench.seed)?);
        }
        let begun = Instant::now();
        short(&world, &ledger, bench.seed, shorts)?;
        let took = begun.elapsed().as_secs_f64();
        world.wait_rest(&before)?;
        println!("{name}, {shorts} short connections: {took:.1} s; at rest: {before:?}");
        said.push(format!("{shorts} short connections left nothing; peak {} MiB", world.peak_kib() >> 10));
        Ok(said.join(", "))
    };
    let said = judged().map_err(|why| format!("{name}: {why}\n{}", world.log_tails()))?;
    Ok(format!("{name}: {said}"))
}

fn way(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::Bulk => "bulk",
        Traffic::Messages => "messages",
    }
}

// --- Bytes ---------------------------------------------------------------------------------------------------------------

/// What a load was.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    bytes: u64,
    connections: u64,
    took: Duration,
}

/// Connections of these plans until so many MiB have been sent.
fn flood(world: &World, ledger: &Arc<Ledger>, traffic: Traffic, seed: u64, mib: u64) -> Result<Moved, String> {
    let front = world.front(way(traffic))?;
    let served = ledger.served.load(Ordering::Relaxed);
    let (bytes, connections, begun) = (AtomicU64::new(0), AtomicU64::new(0), Instant::now());
    let seeds = Mutex::new(Chance::new(seed));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while bytes.load(Ordering::Relaxed) < mib << 20 && ledger.is_right() {
                    let seed = seeds.lock().unwrap_or_else(PoisonError::into_inner).number();
                    let plan = Plan::new(seed, traffic);
                    bytes.fetch_add(plan.up.size + plan.down.size, Ordering::Relaxed);
                    connections.fetch_add(1, Ordering::Relaxed);
                    ledger.note(client(front, &plan, traffic));
                }
            });
        }
    });
    let connections = connections.into_inner();
    ledger.close(served + connections)?;
    Ok(Moved { bytes: bytes.into_inner(), connections, took: begun.elapsed() })
}

fn client(front: SocketAddr, plan: &Plan, traffic: Traffic) -> Result<(), String> {
    let connect = || {
        let stream = TcpStream::connect(front)?;
        set(&stream)?;
        side::greet(&stream, plan.seed)?;
        Ok(stream)
    };
    let stream = connect().map_err(|e: std::io::Error| format!("client of {:#x} at its begin: {e}", plan.seed))?;
    side::play(stream, plan, traffic, Side::Client)
}

/// The same, and which way the bytes took.
fn judge_flood(
    world: &World,
    ledger: &Arc<Ledger>,
    traffic: Traffic,
    bench: &Bench,
    tls: bool,
) -> Result<String, String> {
    let rows = || -> Result<[u64; 3], String> {
        Ok([world.sum("bytes_spliced")?, world.sum("bytes_received")?, world.sum("recvs")?])
    };
    let before = rows()?;
    let Moved { bytes, connections, took } = flood(world, ledger, traffic, bench.seed, bench.count)?;
    let after = rows()?;
    let [spliced, received, receives] = [0, 1, 2].map(|row| after[row] - before[row]);
    let percent = spliced * 100 / received.max(1);
    let each = (received - spliced) / receives.max(1);
    let line = format!("{} of {} MiB on {connections} connections, {percent} % spliced", way(traffic), bytes >> 20);
    println!("{line}, {each} B a receive, {:.1} s", took.as_secs_f64());
    let right = match (traffic, tls) {
        (Traffic::Bulk, false) => percent >= SPLICED_MIN_PERCENT,
        (Traffic::Bulk, true) => spliced == 0 && each > CHUNK_SIZE,
        (Traffic::Messages, _) => spliced == 0 && each <= CHUNK_SIZE,
    };
    if right { Ok(line) } else { Err(format!("not the way it should have taken: {line}, {each} B a receive")) }
}

// --- Readers that take nothing -------------------------------------------------------------------------------------------

fn judge_held(world: &World, origins: &[TcpListener], seed: u64) -> Result<String, String> {
    let mut stalls = Vec::new();
    for (at, (origin, (limit, bound))) in origins.iter().zip(LIMITS).enumerate() {
        let front = world.front(&format!("held{at}"))?;
        for (upwards, piece_size) in STALLS {
            let through = Through::open(front, origin).map_err(|e| format!("a connection: {e}"))?;
            let way = if upwards { "up" } else { "down" };
            let what = format!("limit {limit:?}, {way} in {piece_size}");
            stalls.push(move || match through.stall(upwards, piece_size, Counted(seed)) {
                Ok(held) if (1..=*bound).contains(&held) => Ok(format!("{what}: {held}")),
                Ok(held) => Err(format!("{what}: {held} bytes held, and not 1 to {bound}")),
                Err(why) => Err(format!("{what}: {why}")),
            });
        }
    }
    let ended: Vec<_> = std::thread::scope(|scope| {
        let stalls: Vec<_> = stalls.into_iter().map(|stall| scope.spawn(stall)).collect();
        stalls.into_iter().map(|stall| stall.join().unwrap_or_else(|_| Err("a reader panicked".to_owned()))).collect()
    });
    let said = ended.into_iter().collect::<Result<Vec<String>, String>>()?;
    for at in 0..LIMITS.len() {
        let name = format!("tcp.held{at}.downstream_flow_control_paused_reading_total");
        if world.stat(&name)? == 0 {
            return Err(format!("{name} is 0: nobody was held back"));
        }
    }
    println!("bytes held for readers that take nothing: {}", said.join("; "));
    Ok(format!("{} readers that took nothing", said.len()))
}

// --- Short connections ---------------------------------------------------------------------------------------------------

fn short(world: &World, ledger: &Arc<Ledger>, seed: u64, connections: u64) -> Result<(), String> {
    let fronts = (0..SHORT_WAYS).map(|at| world.front(&format!("short{at}"))).collect::<Result<Vec<_>, _>>()?;
    let served = ledger.served.load(Ordering::Relaxed);
    let begun = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    if number >= connections || !ledger.is_right() {
                        return;
                    }
                    let seed = Chance::new(seed ^ number).number();
                    let front = fronts[number as usize % fronts.len()];
                    ledger.note(
                        TcpStream::connect(front)
                            .and_then(|stream| set(&stream).map(|()| stream))
                            .map_err(|e| format!("short connection {number}: {e}"))
                            .and_then(|stream| short::ask(stream, seed)),
                    );
                }
            });
        }
    });
    ledger.close(served + connections)
}
