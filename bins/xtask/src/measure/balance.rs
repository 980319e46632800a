//! How connections spread over the workers by `--balance`, and what handing them over costs.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::{Stand, Table, Variant, median};
use crate::lab::config::{Config, answer};
use crate::lab::http::{Head, read_body};
use crate::lab::pace::{pause, wait_for};
use crate::lab::proxy::{Kind, Launch, Proxy};

const WAYS: [&str; 3] = ["local", "least-of-two", "exact"];
/// Trials for each `--rounds`: 5 rounds are 200 trials, which tell 50 % from 40 %.
const TRIALS_PER_ROUND: usize = 40;
/// The proxy counts a close within microseconds; more is a busy machine.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// Fresh connections again and again: where are they?
pub(super) fn spread(stand: &Stand) -> Result<Table, String> {
    let trials = stand.rounds * TRIALS_PER_ROUND;
    let mut table = Table {
        note: format!(
            "{trials} trials of fresh connections, opened one after the other without a pause, on ring; busiest worker ÷ average: \
             mean (95th percentile), share of trials with an idle worker"
        ),
        columns: [&["workers", "connections"][..], &WAYS].concat().into_iter().map(str::to_owned).collect(),
        rows: Vec::new(),
    };
    for workers in [2, 4, 8] {
        let proxies = WAYS.map(|way| start(stand, way, workers));
        for connections in [2, 4, 8, 16, 64] {
            let mut row = vec![workers.to_string(), connections.to_string()];
            for proxy in &proxies {
                let proxy = proxy.as_ref().map_err(Clone::clone)?;
                let front = proxy.listener("front")?;
                let found: Result<Vec<_>, String> = (0..trials).map(|_| trial(proxy, front, connections)).collect();
                row.push(summary(&found?));
            }
            table.rows.push(row);
        }
    }
    Ok(table)
}

fn start(stand: &Stand, way: &str, workers: usize) -> Result<Proxy, String> {
    let any = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
    let config = Config::default().listener("front", any, &[answer("/", 200, "here")]);
    let variant = Variant::of(Kind::Ring).workers(workers).with(&format!("{way}-{workers}"), &["--balance", way]);
    let file = stand.folder.join(format!("{}.yaml", variant.name));
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let (folder, name) = (stand.folder.as_path(), variant.name.as_str());
    let arguments: Vec<&str> = variant.arguments.iter().map(String::as_str).collect();
    let launch = Launch { kind: variant.kind, folder, name, file: &file, concurrency: workers, arguments: &arguments };
    Proxy::start(&launch)
}

/// Connections of each worker with this many open ones.
fn trial(proxy: &Proxy, front: SocketAddr, connections: usize) -> Result<Vec<u64>, String> {
    let open = || -> io::Result<Vec<BufReader<TcpStream>>> {
        let mut all = Vec::new();
        for _ in 0..connections {
            all.push(BufReader::new(TcpStream::connect(front)?));
        }
        // One request each: then all are accepted, and counted where they are.
        all.iter_mut().try_for_each(ask)?;
        Ok(all)
    };
    let open = open().map_err(|e| format!("a connection: {e}"))?;
    let found = loads(proxy)?;
    drop(open);
    wait_for("closed connections", CLOSE_LIMIT, || loads(proxy).ok().filter(|found| found.iter().sum::<u64>() == 0))?;
    Ok(found)
}

fn ask(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    stream.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    let head = Head::read(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    read_body(stream, head.response_framing("GET")?).map(drop)
}

fn loads(proxy: &Proxy) -> Result<Vec<u64>, String> {
    let json: Value = serde_json::from_str(&proxy.admin("/workers")?).map_err(|e| format!("/workers: {e}"))?;
    let rows = json["workers"].as_array().ok_or("/workers has no workers")?;
    Ok(rows.iter().filter_map(|row| row["connections"].as_u64()).collect())
}

fn summary(trials: &[Vec<u64>]) -> String {
    let ratio = |loads: &Vec<u64>| {
        let most = loads.iter().max().copied().unwrap_or(0) as f64;
        most * loads.len() as f64 / loads.iter().sum::<u64>() as f64
    };
    let mut ratios: Vec<f64> = trials.iter().map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    let p95 = ratios[(ratios.len() * 95).div_ceil(100) - 1];
    let idle = trials.iter().filter(|loads| loads.contains(&0)).count() * 100 / trials.len();
    format!("{mean:.2} ({p95:.2}), {idle} %")
}

/// A new connection for each request: what does the sharing cost?
pub(super) fn cost(stand: &Stand) -> Result<Table, String> {
    let columns =
        ["workers", "clients", "--balance", "CPU per connection (µs)", "handed over", "connections per second"];
    let mut table = Table {
        note: format!(
            "{} rounds of {} s, medians, interleaved; a new connection for each request, answered by the proxy itself, on ring",
            stand.rounds, stand.seconds
        ),
        columns: columns.map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    for (workers, clients) in [(2, 1), (2, 16), (4, 16)] {
        let proxies: Vec<Proxy> = WAYS.iter().map(|way| start(stand, way, workers)).collect::<Result<_, _>>()?;
        let mut rounds: Vec<Vec<[f64; 3]>> = vec![Vec::new(); proxies.len()];
        for number in 0..stand.rounds {
            for turn in 0..proxies.len() {
                let at = (turn + number) % proxies.len();
                rounds[at].push(arrivals(&proxies[at], clients, Duration::from_secs(stand.seconds))?);
            }
        }
        for (way, rounds) in WAYS.iter().zip(&rounds) {
            let of = |at: usize| median(rounds.iter().map(|round| round[at]).collect());
            let figures = [format!("{:.1}", of(0)), format!("{:.0} %", of(1) * 100.0), format!("{:.0}", of(2))];
            let row = [workers.to_string(), clients.to_string(), (*way).to_owned()];
            table.rows.push(row.into_iter().chain(figures).collect());
        }
    }
    Ok(table)
}

/// CPU in microseconds for each connection, the share that was handed over, connections a second.
fn arrivals(proxy: &Proxy, clients: usize, time: Duration) -> Result<[f64; 3], String> {
    let front = proxy.listener("front")?;
    let count = || -> Result<[u64; 2], String> {
        Ok([proxy.stat("http.front.downstream_cx_total")?, proxy.workers_sum("handed_over")?])
    };
    let ([connections, over], cpu) = (count()?, proxy.cpu_time());
    let done = AtomicBool::new(false);
    let arrive = || {
        while !done.load(Ordering::Relaxed) {
            // One that fails is not counted by the proxy either.
            let _asked = TcpStream::connect(front).and_then(|stream| ask(&mut BufReader::new(stream)));
        }
    };
    std::thread::scope(|scope| {
        (0..clients).for_each(|_| _ = scope.spawn(arrive));
        pause(time);
        done.store(true, Ordering::Relaxed);
    });
    let ([connections, over], cpu) = match count()? {
        [now, over_now] => ([now - connections, over_now - over], proxy.cpu_time().saturating_sub(cpu)),
    };
    let connections = connections.max(1) as f64;
    Ok([cpu.as_secs_f64() * 1e6 / connections, over as f64 / connections, connections / time.as_secs_f64()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_the_busiest_and_the_idle() {
        assert_eq!(summary(&[vec![2, 0], vec![1, 1]]), "1.50 (2.00), 50 %");
        assert_eq!(summary(&[vec![2, 1, 1]]), "1.50 (1.50), 0 %");
    }
}
