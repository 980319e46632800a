//! Latency in open loop, next to the peers: requests come at a constant rate, half of what the slowest of all can do.
//!
//! A latency runs from when a request was due (`ringway-load --rate`), so that a stall is charged with all that it delays.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use super::{Stand, Table, Variant, median};
use crate::lab::load::{self, Backend, on};
use crate::lab::peer::Peer;
use crate::lab::proxy::Kind;
use crate::{command, workspace};

/// Connections of the load, in both loops.
const CONNECTIONS: usize = 64;
/// Beyond its time the load waits for its last answers, and starts.
const LOAD_SLACK: Duration = Duration::from_secs(20);

/// What one round said.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Said {
    /// In microseconds: p50, p99, p99.9, the greatest.
    latency: [f64; 4],
    failed: f64,
}

pub(super) fn run(stand: &Stand) -> Result<Table, String> {
    build()?;
    let [load_cpu, proxy_cpu] = [0, 1].map(|at: usize| stand.apart.map(|cpus| cpus[at]));
    let origin = Backend::start(&stand.folder, load_cpu)?;
    let kinds = [Kind::Ring, Kind::Poll, Kind::Envoy];
    let proxies = kinds.map(|kind| Variant::of(kind).start(stand, &origin));
    let mut fronts: Vec<(String, SocketAddr)> = Vec::new();
    for (kind, proxy) in kinds.iter().zip(&proxies) {
        match proxy {
            Ok(proxy) => fronts.push((kind.name().to_owned(), proxy.listener("front")?)),
            Err(why) => println!("left out: {}: {why}", kind.name()),
        }
    }
    let peers = [
        ("haproxy", Peer::haproxy(&stand.folder, origin.address(), proxy_cpu)?),
        ("nginx", Peer::nginx(&stand.folder, origin.address(), proxy_cpu)?),
    ];
    for (name, peer) in &peers {
        match peer {
            Some(peer) => fronts.push(((*name).to_owned(), peer.address)),
            None => println!("left out: {name} is not installed"),
        }
    }
    let mut capacity = Vec::new();
    for (name, front) in &fronts {
        let answered = load::ask(*front, CONNECTIONS, stand.seconds, load_cpu)?;
        capacity.push(answered.requests as f64 / answered.seconds);
        println!("{name}: {:.0} requests a second in closed loop", capacity[capacity.len() - 1]);
    }
    let rate = (capacity.iter().copied().fold(f64::INFINITY, f64::min) / 2.0).floor();
    let mut rounds: Vec<Vec<Said>> = vec![Vec::new(); fronts.len()];
    for number in 0..stand.rounds {
        for turn in 0..fronts.len() {
            let at = (turn + number) % fronts.len();
            rounds[at].push(round(fronts[at].1, rate, stand.seconds, load_cpu)?);
        }
    }
    let columns = ["proxy", "capacity (1/s)", "p50 (µs)", "p99 (µs)", "p99.9 (µs)", "max (µs)", "failed"];
    let mut table = Table {
        note: format!(
            "open loop at {rate:.0} requests a second on {CONNECTIONS} connections: half of the slowest's capacity; {} rounds of \
             {} s, medians",
            stand.rounds, stand.seconds
        ),
        columns: columns.map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    for (((name, _), rounds), capacity) in fronts.iter().zip(&rounds).zip(&capacity) {
        let mut row = vec![name.clone(), format!("{capacity:.0}")];
        let figure = |at: usize| median(rounds.iter().map(|said| said.latency[at]).collect());
        row.extend((0..4).map(|at| format!("{:.0}", figure(at))));
        row.push(format!("{:.0}", rounds.iter().map(|said| said.failed).sum::<f64>()));
        table.rows.push(row);
    }
    Ok(table)
}

/// The load generator is no default part of a release build of the command.
fn build() -> Result<(), String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--package", "ringway-load"]).current_dir(workspace::root());
    let built = command::run(cargo, Duration::from_secs(1_200), command::Echo::Nothing)?;
    if built.success { Ok(()) } else { Err(built.lines.join("\n")) }
}

fn round(front: SocketAddr, rate: f64, seconds: u64, cpu: Option<usize>) -> Result<Said, String> {
    let mut load = on(cpu, &workspace::target().join("release/ringway-load"));
    load.args([&front.to_string(), "-c", &CONNECTIONS.to_string(), "-d", &seconds.to_string()]);
    load.args(["--rate", &rate.to_string()]);
    let outcome = command::run(load, Duration::from_secs(seconds) + LOAD_SLACK, command::Echo::Nothing)?;
    read(&outcome.lines).ok_or_else(|| format!("ringway-load said {:?}", outcome.lines))
}

fn read(lines: &[String]) -> Option<Said> {
    let line = lines.iter().find_map(|line| line.strip_prefix("latency us "))?;
    let words: Vec<&str> = line.split(' ').collect();
    let number =
        |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1)?.parse().ok());
    let answered = lines.iter().find(|line| line.contains(" answered ("))?;
    let failed = answered.split(", ").find_map(|part| part.strip_suffix(" failed"))?.parse().ok()?;
    Some(Said { latency: [number("p50")?, number("p99")?, number("p99.9")?, number("max")?], failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_load_says_is_read() {
        let said = "io ring\n1000 answered (500/s), 1003 sent, 3 failed, 1.0 MB received\nlatency us p50 90 p99 180 p99.9 400 max 900";
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        assert_eq!(read(&lines), Some(Said { latency: [90.0, 180.0, 400.0, 900.0], failed: 3.0 }));
        assert_eq!(read(&lines[..2]), None);
    }
}
