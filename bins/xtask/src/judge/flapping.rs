//! Two origins, of which one at a time goes away and comes back, in each way that origins have: what one of them could answer is
//! answered.
//!
//! Before the next one goes, both are there for as long as every client takes for one whole request: so no request meets more
//! than one that goes. Now and then both are away: then a request may fail, but is told so.

mod origin;

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Bench, verdict};
use crate::lab::chance::Chance;
use crate::lab::config::Config;
use crate::lab::http::{Head, read_body};
use crate::lab::pace::{pause, wait_for};
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;
use origin::{Away, Flapper};

/// Each asks on a connection of its own, one request after another.
const CLIENTS: usize = 4;
/// Requests of each client while one origin is away, at least: half of them meet it first.
const REQUESTS_AWAY: u64 = 4;
/// Once in so many times both are away.
const BOTH_ONCE_IN: usize = 6;
/// Six tries of 500 ms and what is waited between them, and room for a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Tries go to the other endpoint; a connection and a try have 500 ms. By default a cluster has three tries again at a time.
const CLUSTER: &str = r#"
  - name: back
    connect_timeout: 0.5s
    type: STATIC
    circuit_breakers: {thresholds: [{max_retries: 100}]}
    common_lb_config: {healthy_panic_threshold: {value: 0}}
    load_assignment: {cluster_name: back, endpoints: [{lb_endpoints: [
      {endpoint: {address: {socket_address: {address: IP_A, port_value: PORT_A}}}},
      {endpoint: {address: {socket_address: {address: IP_B, port_value: PORT_B}}}}]}]}"#;
const HOSTS: &str = r#"[{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: back, timeout: 10s,
  retry_policy: {retry_on: "connect-failure,reset,5xx", num_retries: 5, per_try_timeout: 0.5s,
    retry_back_off: {base_interval: 0.005s, max_interval: 0.02s}, host_selection_retry_max_attempts: 5,
    retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts, typed_config: {
      "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]}}}]}]"#;

pub(super) fn run(bench: &Bench) -> Verdict {
    verdict(judge(bench))
}

/// What clients and the schedule tell each other.
#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    /// Both were away at some time since every client began a request.
    excused: AtomicBool,
    done: [AtomicU64; CLIENTS],
    failed: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

fn judge(bench: &Bench) -> Result<String, String> {
    let origins = [Flapper::start(Ipv4Addr::new(127, 0, 7, 1))?, Flapper::start(Ipv4Addr::new(127, 0, 7, 2))?];
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut cluster = CLUSTER.to_owned();
    for (name, origin) in ["A", "B"].iter().zip(&origins) {
        let address = origin.address();
        cluster = cluster.replace(&format!("IP_{name}"), &address.ip().to_string());
        cluster = cluster.replace(&format!("PORT_{name}"), &address.port().to_string());
    }
    // A flow sequence is indented deeper than the block that it stands in.
    let hosts = HOSTS.replace('\n', "\n            ");
    let config = Config::default().listener_with_hosts("front", any, &hosts, "").cluster_text(&cluster);
    let file = bench.folder.join("proxy.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let launch =
        Launch { kind: bench.kind, folder: &bench.folder, name: "proxy", file: &file, concurrency: 1, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let front = proxy.listener("front")?;
    let shared = Shared::default();
    let played = std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let shared = &shared;
            scope.spawn(move || client(front, number, shared));
        }
        let played = flap(&origins, &shared, bench);
        shared.over.store(true, Ordering::SeqCst);
        played
    })?;
    let wrong = shared.wrong.into_inner().expect("no client panicked");
    if let Some(first) = wrong.first() {
        return Err(format!("{} requests were lost; the first: {first}", wrong.len()));
    }
    wait_for("the last request upstream to end", ANSWER_LIMIT, || {
        proxy.stat("cluster.back.upstream_rq_active").is_ok_and(|active| active == 0).then_some(())
    })?;
    let requests: u64 = shared.done.iter().map(|done| done.load(Ordering::SeqCst)).sum();
    let (retries, failed) = (proxy.stat("cluster.back.upstream_rq_retry")?, shared.failed.load(Ordering::SeqCst));
    if retries == 0 {
        return Err("no try was made again: nothing was judged".to_owned());
    }
    Ok(format!("{played}: {requests} requests, {retries} tries again, {failed} failed, all while both were away"))
}

/// Lets them go and come back; says what was played.
fn flap(origins: &[Flapper; 2], shared: &Shared, bench: &Bench) -> Result<String, String> {
    let mut chance = Chance::new(bench.seed);
    let mut both = 0;
    let ways = Away::ALL;
    for time in 0..bench.count as usize {
        let (way, other) = (ways[time % ways.len()], ways[chance.below(ways.len())]);
        let first = chance.below(2);
        if time % BOTH_ONCE_IN == BOTH_ONCE_IN - 1 {
            both += 1;
            shared.excused.store(true, Ordering::SeqCst);
            origins[first].go(way)?;
            origins[1 - first].go(other)?;
            each_does(shared, 1)?;
            origins[0].come()?;
            origins[1].come()?;
            // Who began while they were away has ended before they count again.
            each_does(shared, 2)?;
            shared.excused.store(false, Ordering::SeqCst);
        } else {
            origins[first].go(way)?;
            each_does(shared, REQUESTS_AWAY)?;
            origins[first].come()?;
        }
        each_does(shared, 2)?;
    }
    Ok(format!("{} times an origin went away in {} ways, {both} of them both", bench.count, ways.len()))
}

/// Waits until each client has ended so many requests more.
fn each_does(shared: &Shared, more: u64) -> Result<(), String> {
    let count = |number: usize| shared.done[number].load(Ordering::SeqCst);
    let wanted: [u64; CLIENTS] = std::array::from_fn(|number| count(number) + more);
    let limit = ANSWER_LIMIT * (1 + more as u32);
    wait_for("every client's next answers", limit, || {
        (0..CLIENTS).all(|number| count(number) >= wanted[number]).then_some(())
    })
}

/// Asks until it is over. What is neither answered nor excused is wrong.
fn client(front: SocketAddr, number: usize, shared: &Shared) {
    let mut stream = None;
    let mut count = 0;
    while !shared.over.load(Ordering::SeqCst) {
        count += 1;
        let excused = shared.excused.load(Ordering::SeqCst);
        let path = format!("/{number}/{count}");
        let answered = ask(front, &mut stream, &path);
        let excused = excused || shared.excused.load(Ordering::SeqCst);
        match answered {
            Ok((200, body)) if body == path.as_bytes() => {}
            Ok((503 | 504, _)) if excused => _ = shared.failed.fetch_add(1, Ordering::SeqCst),
            other => {
                stream = None;
                let other = other.map(|(status, body)| (status, String::from_utf8_lossy(&body).into_owned()));
                shared.wrong.lock().expect("no client panicked").push(format!("{path}: {other:?}"));
            }
        }
        shared.done[number].fetch_add(1, Ordering::SeqCst);
        pause(Duration::from_millis(1));
    }
}

/// One request, by turns without and with content; the connection is kept as long as it lives.
fn ask(front: SocketAddr, kept: &mut Option<TcpStream>, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let stream = match kept {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(front)?;
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            kept.insert(stream)
        }
    };
    let text = if path.ends_with(['0', '2', '4', '6', '8']) {
        format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")
    } else {
        format!("PUT {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody")
    };
    stream.write_all(text.as_bytes())?;
    let mut from = BufReader::new(&*stream);
    let head = Head::read(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let (body, _) = read_body(&mut from, head.response_framing("GET")?)?;
    let status = head.status();
    drop(from);
    if head.closes() {
        *kept = None;
    }
    Ok((status, body))
}
