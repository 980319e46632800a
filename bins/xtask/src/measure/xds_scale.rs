//! 10,000 clusters and 50,000 endpoints by delta ADS: how long until they serve, what they take, and how soon one moved endpoint is in effect
//! on all workers, with what it does to the traffic beside it.
//!
//! An endpoint is in effect when each of several connections, which ask in turn, was answered by it; that counts from when the server gave the
//! response to gRPC. So a figure holds half a round of requests more than the change took. Windows with and without changes take turns.

mod server;

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::server::Server;
use super::{Stand, Table};
use crate::lab::http::{Head, read_body};
use crate::lab::origin::Origin;
use crate::lab::proxy::{Kind, Launch, Proxy};
use crate::setup;

const CLUSTERS: u64 = 10_000;
const ENDPOINTS: u64 = 5;
const WORKERS: usize = 2;
/// Connections that ask in turn: more than workers, so that each worker has one.
const CONNECTIONS: usize = 4;
/// A thousand changes, in windows with as long a time without before each.
const WINDOWS: usize = 20;
const MOVES: usize = 50;
/// From one change to the next.
const PACE: Duration = Duration::from_millis(20);
const TAKEN_LIMIT: Duration = Duration::from_secs(60);
const MOVE_LIMIT: Duration = Duration::from_secs(5);

const BOOTSTRAP: &str = r#"node: {id: scale, cluster: measures}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
dynamic_resources:
  ads_config: {api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: server}}]}
  cds_config: {ads: {}, resource_api_version: V3}
  lds_config: {ads: {}, resource_api_version: V3}
static_resources:
  clusters:
  - name: server
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: server
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}}]}]
"#;

/// What one proxy came to.
#[derive(Debug, Default)]
struct Outcome {
    serving: Duration,
    acknowledged: Duration,
    /// Bytes, at most.
    resident: u64,
    /// From when a move was said until all connections had it.
    effect: Vec<Duration>,
    /// Latencies of requests in windows without and with changes.
    latencies: [Vec<Duration>; 2],
    /// CPU time for a move, of all threads that are no workers.
    control: Duration,
}

pub(super) fn run(stand: &Stand) -> Result<Table, String> {
    let python =
        setup::xds_python().ok_or("Python with grpcio and xds-protos: `cargo xtask setup` installs it".to_owned())?;
    let origins = [origin(0)?, origin(1)?];
    let ports = origins.each_ref().map(|origin| origin.address.port());
    let mut table = Table {
        note: format!(
            "{CLUSTERS} clusters, {} endpoints, {WORKERS} workers; {} moves of one endpoint; ms but for what says otherwise",
            CLUSTERS * ENDPOINTS,
            WINDOWS * MOVES
        ),
        columns: [
            "proxy",
            "serving s",
            "acknowledged s",
            "resident MiB, at most",
            "move p50",
            "move p99",
            "move max",
            "p99 without",
            "p99 during",
            "control CPU a move",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Table::default()
    };
    for kind in [Kind::Envoy, Kind::Ring, Kind::Poll] {
        let folder = stand.folder.join(kind.name());
        std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        let mut server = Server::start(&python, &folder, [CLUSTERS, ENDPOINTS, ports[0].into()])?;
        let outcome = measure(kind, &folder, &mut server, ports);
        let outcome = outcome.map_err(|why| match server.said().refused {
            Some(refused) => format!("{}: {why}; {refused}", kind.name()),
            None => format!("{}: {why}", kind.name()),
        })?;
        table.rows.push(row(kind, outcome));
    }
    Ok(table)
}

fn measure(kind: Kind, folder: &std::path::Path, server: &mut Server, ports: [u16; 2]) -> Result<Outcome, String> {
    let port = server.said().port.expect("it was waited for");
    let file = folder.join("bootstrap.yaml");
    std::fs::write(&file, BOOTSTRAP.replace("PORT", &port.to_string())).map_err(|e| format!("cannot write: {e}"))?;
    let (began, began_at) = (Instant::now(), now());
    let launch = Launch { kind, folder, name: "proxy", file: &file, concurrency: WORKERS, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let at = proxy.listener("main")?;
    let mut probes: Vec<Probe> = Vec::new();
    for _ in 0..CONNECTIONS {
        probes.push(Probe::connect(at).map_err(|e| format!("cannot connect: {e}"))?);
    }
    while ask(&mut probes[0])? != 0 {}
    let serving = began.elapsed();
    let is_all = |count: u64| count >= CLUSTERS;
    let taken = server.wait("all acknowledged", TAKEN_LIMIT, |said| {
        said.acked.iter().filter(|(_, count, _)| is_all(*count)).count() >= 2
    })?;
    let last = taken.acked.iter().filter(|(_, count, _)| is_all(*count)).map(|(.., at)| *at).max().unwrap_or(0);
    let acknowledged = Duration::from_nanos(last.saturating_sub(began_at));
    let mut outcome = Outcome { serving, acknowledged, ..Outcome::default() };
    let mut control = Duration::ZERO;
    let mut place = 0;
    for _ in 0..WINDOWS {
        let until = Instant::now() + PACE * MOVES as u32;
        while Instant::now() < until {
            for probe in &mut probes {
                let asked = Instant::now();
                ask(probe)?;
                outcome.latencies[0].push(asked.elapsed());
            }
        }
        let before = control_cpu(&proxy);
        for _ in 0..MOVES {
            place = 1 - place;
            let count = server.said().moved.len();
            server.move_to(ports[place])?;
            let began = Instant::now();
            let mut seen = [None; CONNECTIONS];
            while began.elapsed() < PACE || seen.contains(&None) {
                if began.elapsed() > MOVE_LIMIT {
                    return Err("a moved endpoint is not in effect".to_owned());
                }
                for (probe, seen) in probes.iter_mut().zip(&mut seen) {
                    let asked = Instant::now();
                    if ask(probe)? == place {
                        seen.get_or_insert_with(now);
                    }
                    outcome.latencies[1].push(asked.elapsed());
                }
            }
            let said = server.wait("the server's word", MOVE_LIMIT, |said| said.moved.len() > count)?.moved[count];
            let last = seen.iter().flatten().max().copied().unwrap_or(0);
            outcome.effect.push(Duration::from_nanos(last.saturating_sub(said)));
        }
        control += control_cpu(&proxy).saturating_sub(before);
    }
    outcome.resident = proxy.resident_most();
    outcome.control = control / (WINDOWS * MOVES) as u32;
    Ok(outcome)
}

/// CPU time of the threads that are no workers.
fn control_cpu(proxy: &Proxy) -> Duration {
    let workers = proxy.worker_threads().into_iter().map(|thread| proxy.thread_cpu_time(thread)).sum();
    proxy.cpu_time().saturating_sub(workers)
}

/// The system's clock, in nanoseconds, as the script reads it.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A connection that asks again and again.
struct Probe(BufReader<TcpStream>);

impl Probe {
    fn connect(at: SocketAddr) -> io::Result<Probe> {
        let stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(MOVE_LIMIT))?;
        Ok(Probe(BufReader::new(stream)))
    }
}

/// Which origin answers.
fn ask(probe: &mut Probe) -> Result<usize, String> {
    let mut exchange = || -> io::Result<(u16, Vec<u8>)> {
        probe.0.get_mut().write_all(b"GET /probed HTTP/1.1\r\nhost: a\r\n\r\n")?;
        let head = Head::read(&mut probe.0)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let framing = head.response_framing("GET")?;
        Ok((head.status(), read_body(&mut probe.0, framing)?.0))
    };
    match exchange().map_err(|e| format!("a request failed: {e}"))? {
        (200, body) if body == b"0" => Ok(0),
        (200, body) if body == b"1" => Ok(1),
        (status, body) => Err(format!("a request was answered {status}: {}", String::from_utf8_lossy(&body))),
    }
}

/// An origin that says its number.
fn origin(number: usize) -> Result<Origin, String> {
    Origin::start("127.0.0.1", move |stream: TcpStream| {
        let mut reader = BufReader::new(stream);
        while let Some(head) = Head::read(&mut reader)? {
            let framing = head.request_framing()?;
            read_body(&mut reader, framing)?;
            reader.get_mut().write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}").as_bytes())?;
        }
        Ok(())
    })
}

fn row(kind: Kind, outcome: Outcome) -> Vec<String> {
    let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
    let Outcome { serving, acknowledged, resident, mut effect, latencies, control } = outcome;
    let [mut without, mut during] = latencies;
    vec![
        kind.name().to_owned(),
        format!("{:.2}", serving.as_secs_f64()),
        format!("{:.2}", acknowledged.as_secs_f64()),
        (resident >> 20).to_string(),
        ms(percentile(&mut effect, 50.0)),
        ms(percentile(&mut effect, 99.0)),
        ms(percentile(&mut effect, 100.0)),
        ms(percentile(&mut without, 99.0)),
        ms(percentile(&mut during, 99.0)),
        ms(control),
    ]
}

/// The smallest that so many percent are not above.
fn percentile(times: &mut [Duration], percent: f64) -> Duration {
    times.sort_unstable();
    let rank = (percent / 100.0 * times.len() as f64).ceil() as usize;
    times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let mut times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let of = [50.0, 99.0, 99.9, 100.0].map(|percent| percentile(&mut times, percent).as_millis());
        assert_eq!(of, [100, 198, 200, 200]);
        assert_eq!(percentile(&mut [], 99.0), Duration::ZERO);
    }
}
