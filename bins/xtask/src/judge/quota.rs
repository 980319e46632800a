//! A proxy under a quota of 1.5 CPUs and more load than it can serve: with the workers that it counts for itself it is not
//! throttled more than with one, and two are shown beside it.
//!
//! docs/decisions/0009 says why. The quota binds only while the group gets the CPUs that it asks for: it is preferred to all
//! other groups, and the two-worker row says whether this host could show anything.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Bench, verdict};
use crate::lab::config::{Config, answer};
use crate::lab::interrupted::uninterrupted;
use crate::lab::pace::pause;
use crate::lab::proxy::{Launch, Proxy};
use crate::lab::quota_group::{QuotaGroup, Throttling};
use crate::step::{Skips, Verdict};

/// One and a half CPUs: 150 ms in each 100 ms.
const QUOTA_US: u32 = 150_000;
/// Connections, so many that both of two workers have their share.
const CONNECTIONS: usize = 32;
/// Requests that a client sends at once: the proxy works, and the client waits.
const BATCH: usize = 32;
/// Routes that a request is compared with before its own.
const ROUTES: usize = 2_000;
/// Until connections are made and buffers are warm.
const WARM_UP: Duration = Duration::from_millis(500);
/// A throttled period now and then belongs to the other threads of the process, with one worker as with the chosen number.
const SLACK_PER_SECOND: f64 = 1.0;
/// A client that waits longer than this has been forgotten.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What one proxy did under load.
#[derive(Debug)]
struct Row {
    workers: usize,
    requests_per_second: f64,
    throttled_per_second: f64,
    stood_ms_per_second: f64,
    /// Round trips of batches, shortest first.
    trips: Vec<Duration>,
}

pub(super) fn run(bench: &Bench, skips: &mut Skips) -> Verdict {
    let group = match QuotaGroup::new("ringway-quota", QUOTA_US) {
        Ok(group) => group,
        Err(why) => {
            skips.push(format!("a quota of CPU time: {why}"));
            return Verdict::Shown("left out: no control group here".to_owned());
        }
    };
    verdict(judge(bench, &group))
}

fn judge(bench: &Bench, group: &QuotaGroup) -> Result<String, String> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // Each request is held against all the others: a proxy that works much more than its clients.
    let others = (0..ROUTES).map(|n| {
        format!(
            "{{match: {{prefix: /, headers: [{{name: x-number, string_match: {{exact: \"{n}\"}}}}]}}, \
             direct_response: {{status: 404}}}}"
        )
    });
    let routes: Vec<String> = others.chain([answer("/", 200, "here")]).collect();
    let config = Config::default().listener("front", any, &routes);
    let file = bench.folder.join("quota.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let time = Duration::from_secs(bench.count);
    println!(
        "workers   requests/s  throttled periods/s  ms stood still/s  a batch of {BATCH}: p50, p99, longest in ms"
    );
    let measure = |name: &str, concurrency: usize| {
        let launch = Launch { kind: bench.kind, folder: &bench.folder, name, file: &file, concurrency, arguments: &[] };
        let row = measure(&launch, group, time)?;
        let at = |share: f64| row.trips[((row.trips.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!(
            "{:<5} {:>14.0} {:>20.1} {:>17.0}  {:.1}, {:.1}, {:.1}  ({name})",
            row.workers,
            row.requests_per_second,
            row.throttled_per_second,
            row.stood_ms_per_second,
            at(0.5),
            at(0.99),
            at(1.0)
        );
        Ok::<Row, String>(row)
    };
    let single = measure("single", 1)?;
    let chosen = measure("chosen", 0)?;
    let double = measure("double", 2)?;
    let line = format!(
        "1.5 CPUs: {} worker chosen, throttled {:.1}/s; one asked for {:.1}/s; two {:.1}/s",
        chosen.workers, chosen.throttled_per_second, single.throttled_per_second, double.throttled_per_second
    );
    if (single.workers, double.workers) != (1, 2) {
        return Err(format!("{line}: not as many workers as asked for"));
    }
    // One worker is one worker: what differs then is the host.
    if chosen.workers > 1 && chosen.throttled_per_second > single.throttled_per_second + SLACK_PER_SECOND {
        return Err(line);
    }
    if double.throttled_per_second <= SLACK_PER_SECOND {
        return Ok(format!("{line} (this host is too busy to use the quota up)"));
    }
    Ok(line)
}

fn measure(launch: &Launch, group: &QuotaGroup, time: Duration) -> Result<Row, String> {
    // No other thread of ours lives now: the clients come later, and so stay outside.
    let proxy = group.inside(|| Proxy::start(launch))??;
    let front = proxy.listener("front")?;
    let workers: Value = serde_json::from_str(&proxy.admin("/workers")?).map_err(|e| format!("/workers: {e}"))?;
    let workers = workers["workers"].as_array().map_or(0, Vec::len);
    let done = Arc::new(AtomicBool::new(false));
    let (answered, before, after, took) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| client(front, &done))).collect();
        pause(WARM_UP);
        let (began, before) = (Instant::now(), group.throttling());
        pause(time);
        let (took, after) = (began.elapsed(), group.throttling());
        done.store(true, Ordering::Relaxed);
        let answered: Vec<_> = clients.into_iter().map(|client| client.join().expect("no panic")).collect();
        (answered, before, after, took)
    });
    let mut trips = Vec::new();
    for client in answered {
        // Each trip with the time at its end: those of the warm-up are too few to matter.
        trips.extend(client.map_err(|e| format!("a client: {e}: {}", proxy.log_tail()))?);
    }
    if trips.is_empty() {
        return Err("nothing was answered".to_owned());
    }
    trips.sort_unstable();
    let (before, after): (Throttling, Throttling) = (before?, after?);
    let per_second = |count: u64| count as f64 / took.as_secs_f64();
    Ok(Row {
        workers,
        requests_per_second: (trips.len() * BATCH) as f64 / (took + WARM_UP).as_secs_f64(),
        throttled_per_second: per_second(after.throttled - before.throttled),
        stood_ms_per_second: per_second(after.stood_us - before.stood_us) / 1e3,
        trips,
    })
}

/// Sends batches and reads their answers until told to stop; how long each took.
fn client(front: SocketAddr, done: &AtomicBool) -> std::io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(front)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nx-number: none\r\n\r\n";
    let mut buffer = vec![0; 64 << 10];
    // One answer alone says how long each is.
    stream.write_all(request.as_bytes())?;
    let mut size = 0;
    while !buffer[..size].ends_with(b"\r\n\r\nhere") {
        match uninterrupted(|| stream.read(&mut buffer[size..]))? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => size += read,
        }
    }
    let batch = request.repeat(BATCH);
    let mut trips = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let began = Instant::now();
        stream.write_all(batch.as_bytes())?;
        let mut left = size * BATCH;
        while left > 0 {
            match uninterrupted(|| stream.read(&mut buffer))? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => left = left.checked_sub(read).ok_or(std::io::ErrorKind::InvalidData)?,
            }
        }
        trips.push(began.elapsed());
    }
    Ok(trips)
}
