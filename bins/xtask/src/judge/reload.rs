//! Reloads that change route, cluster and endpoint together, under load: no request is torn, stale or failed.
//!
//! Version k of the file has the endpoints 127.1.(k / 256).(k mod 256), so that an origin knows from its own end of the
//! connection which version's *endpoint* was used. Route r leads, in version k, to the cluster on origin (r + k) mod 4, so
//! that the origin that answers tells which version's *route* was used. Half of the clusters have a new name in each
//! version, half keep theirs and change their endpoint. An answer is
//! * torn, when route and endpoint are of two versions, or its body is;
//! * stale, when its version is older than the last one that was reported as committed before the request was begun;
//! * failed, when it is not a 200, or does not come.

use std::io::{self, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Bench, verdict};
use crate::lab::chance::Chance;
use crate::lab::config::{Config, answer, route};
use crate::lab::http::{Head, read_body, write_chunk};
use crate::lab::origin::Origin;
use crate::lab::pace::{pause, wait_for};
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;

/// Origins, and routes to them.
const ORIGINS: u64 = 4;
/// A reload takes milliseconds; on a busy machine it may wait for its turn. Longer is a reload that did not come.
const RELOAD_LIMIT: Duration = Duration::from_secs(60);
/// Traffic between two reloads.
const BETWEEN: Duration = Duration::from_millis(5);
/// An answer that takes longer does not come.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Failures told in words; all are counted.
const TOLD_MAX: usize = 5;

pub(super) fn run(bench: &Bench) -> Verdict {
    verdict(judge(bench))
}

fn judge(bench: &Bench) -> Result<String, String> {
    assert!(bench.count < 65_000, "versions are numbered by two bytes of an address");
    let origins = (0..ORIGINS)
        .map(|index| Origin::start("0.0.0.0", move |stream: TcpStream| serve(index, stream)))
        .collect::<Result<Vec<_>, _>>()?;
    let ports: Vec<u16> = origins.iter().map(|origin| origin.address.port()).collect();
    let file = bench.folder.join("reload.yaml");
    write(&file, 1, &ports)?;
    let launch =
        Launch { kind: bench.kind, folder: &bench.folder, name: "reload", file: &file, concurrency: 2, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let front = proxy.listener("front")?;
    let first_generation = proxy.stat("config.generation")?;
    if first_generation == 0 {
        return Err("config.generation is 0 although the proxy is ready".to_owned());
    }

    let watch = Watch::default();
    watch.written.store(1, Ordering::SeqCst);
    watch.committed.store(1, Ordering::SeqCst);
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let reloaded = std::thread::scope(|scope| {
        for (index, client) in CLIENTS.iter().enumerate() {
            let (watch, seed) = (&watch, bench.seed + index as u64);
            scope.spawn(move || {
                let mut chance = Chance::new(seed);
                while !watch.done.load(Ordering::Relaxed) {
                    client(front, watch, &mut chance);
                }
            });
        }
        let mut reloads = || -> Result<(), String> {
            for version in 2..=bench.count + 1 {
                pause(BETWEEN);
                watch.written.store(version, Ordering::SeqCst);
                let renamed = Instant::now();
                write(&file, version, &ports)?;
                let wanted = first_generation + version - 1;
                let reported = || (proxy.stat("config.generation").ok()? >= wanted).then_some(());
                wait_for(&format!("generation {wanted}"), RELOAD_LIMIT, reported)?;
                watch.committed.store(version, Ordering::SeqCst);
                slowest = slowest.max(renamed.elapsed());
            }
            pause(Duration::from_millis(100)); // the last version gets its requests, too
            Ok(())
        };
        let reloaded = reloads();
        watch.done.store(true, Ordering::SeqCst);
        reloaded
    });

    let counts = watch.counts.into_inner().expect("no client panicked");
    let line = format!(
        "{} reloads, {} requests ({} new connections), torn {}, stale {}, failed {}; slowest reload {} ms",
        bench.count,
        counts.answered,
        counts.connections,
        counts.torn,
        counts.stale,
        counts.failed,
        slowest.as_millis()
    );
    println!("{line}; {:.1} s; versions seen: {}", begun.elapsed().as_secs_f64(), counts.versions);
    counts.told.iter().for_each(|told| println!("  {told}"));
    reloaded.map_err(|why| format!("{why}; {line}\n{}", proxy.log_tail()))?;
    let refused = proxy.stat("config.reload_failed")?;
    if counts.torn + counts.stale + counts.failed + refused > 0 {
        return Err(format!("{line}; {refused} reloads refused"));
    }
    // A judge whose requests miss most versions has not looked.
    if counts.versions * 2 < bench.count || counts.answered < bench.count * 10 {
        return Err(format!("{line}: too few requests ({} versions seen) to judge by", counts.versions));
    }
    Ok(line)
}

/// Writes a version beside the file and renames it into place.
fn write(file: &Path, version: u64, ports: &[u16]) -> Result<(), String> {
    let beside = file.with_extension("tmp");
    std::fs::write(&beside, text(version, ports))
        .and_then(|()| std::fs::rename(&beside, file))
        .map_err(|e| format!("cannot write version {version}: {e}"))
}

fn text(version: u64, ports: &[u16]) -> String {
    let ip = IpAddr::V4(Ipv4Addr::new(127, 1, (version >> 8) as u8, version as u8));
    let cluster = |origin: u64| {
        if origin.is_multiple_of(2) { format!("stable-{origin}") } else { format!("version-{version}-{origin}") }
    };
    let mut routes = vec![answer("/version", 200, &token(version, 0))];
    let mut config = Config::default();
    for index in 0..ORIGINS {
        routes.push(route(&format!("/r{index}/"), &cluster((index + version) % ORIGINS)));
        config = config.cluster(&cluster(index), &[SocketAddr::new(ip, ports[index as usize])]);
    }
    config.listener("front", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &routes).text()
}

/// What names version and origin in a body, again and again.
fn token(version: u64, origin: u64) -> String {
    format!("{version:05}.{origin};")
}

const TOKEN_SIZE: usize = 8;

fn serve(index: u64, mut stream: TcpStream) -> io::Result<()> {
    let IpAddr::V4(own) = stream.local_addr()?.ip() else { return Ok(()) };
    let [_, _, high, low] = own.octets();
    let token = token(u64::from(high) << 8 | u64::from(low), index);
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        read_body(&mut from, head.request_framing()?)?;
        let target = head.line.split(' ').nth(1).unwrap_or_default();
        let count: usize = target.rsplit('/').next().and_then(|word| word.parse().ok()).unwrap_or(1);
        let body = token.repeat(count.max(1));
        if target.contains("/slow/") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            for _ in 0..10 {
                write_chunk(&mut stream, body.as_bytes())?;
                pause(Duration::from_millis(10));
            }
            stream.write_all(b"0\r\n\r\n")?;
        } else {
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
        }
    }
    Ok(())
}

/// What the driver and the clients tell each other.
#[derive(Debug, Default)]
struct Watch {
    /// The newest version that may be in force.
    written: AtomicU64,
    /// The newest version that was reported as committed.
    committed: AtomicU64,
    done: AtomicBool,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    answered: u64,
    connections: u64,
    torn: u64,
    stale: u64,
    failed: u64,
    /// Versions that some answer had.
    versions: u64,
    seen: std::collections::BTreeSet<u64>,
    told: Vec<String>,
}

impl Watch {
    fn connected(&self) {
        self.counts.lock().expect("no client panicked").connections += 1;
    }

    /// Judges one answer. `route` is none where the proxy itself answers.
    fn answered(&self, committed: u64, route: Option<u64>, head: &Head, body: &[u8]) {
        let written = self.written.load(Ordering::SeqCst);
        let judged = judge_body(committed, written, route, head.status(), body);
        let mut counts = self.counts.lock().expect("no client panicked");
        counts.answered += 1;
        match judged {
            Ok(version) => {
                counts.seen.insert(version);
                counts.versions = counts.seen.len() as u64;
                return;
            }
            Err(Fault::Torn) => counts.torn += 1,
            Err(Fault::Stale) => counts.stale += 1,
            Err(Fault::Failed) => counts.failed += 1,
        }
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let told =
            format!("{judged:?}: {} {start:?} on route {route:?}, committed {committed}, written {written}", head.line);
        counts.tell(told);
    }

    fn failed(&self, what: &str, why: &io::Error) {
        let mut counts = self.counts.lock().expect("no client panicked");
        counts.failed += 1;
        counts.tell(format!("{what}: {why}"));
    }
}

impl Counts {
    fn tell(&mut self, what: String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Torn,
    Stale,
    Failed,
}

/// The version of an answer, or what is wrong with it.
fn judge_body(committed: u64, written: u64, route: Option<u64>, status: u16, body: &[u8]) -> Result<u64, Fault> {
    if status != 200 || body.len() < TOKEN_SIZE {
        return Err(Fault::Failed);
    }
    let first = &body[..TOKEN_SIZE];
    if body.chunks(TOKEN_SIZE).any(|token| token != first) {
        return Err(Fault::Torn);
    }
    let text = std::str::from_utf8(first).map_err(|_| Fault::Failed)?;
    let (version, origin) = text.trim_end_matches(';').split_once('.').ok_or(Fault::Failed)?;
    let version: u64 = version.parse().map_err(|_| Fault::Failed)?;
    let origin: u64 = origin.parse().map_err(|_| Fault::Failed)?;
    if route.is_some_and(|route| (route + version) % ORIGINS != origin) || version > written {
        return Err(Fault::Torn);
    }
    if version < committed {
        return Err(Fault::Stale);
    }
    Ok(version)
}

type Client = fn(SocketAddr, &Watch, &mut Chance);

/// All at once: long-lived connections, pipelines, a new connection for each request, bodies that outlast reloads.
const CLIENTS: &[Client] = &[long_lived, long_lived, pipelined, fresh, fresh, slow_answer, slow_request];

fn connect(front: SocketAddr, watch: &Watch) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&front, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_nodelay(true)?;
    watch.connected();
    Ok(BufReader::new(stream))
}

/// Reads one answer and judges it; whether the connection goes on.
fn receive(from: &mut BufReader<TcpStream>, watch: &Watch, committed: u64, route: Option<u64>) -> io::Result<bool> {
    let head =
        Head::read(from)?.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"))?;
    let (body, _) = read_body(from, head.response_framing("GET")?)?;
    watch.answered(committed, route, &head, &body);
    Ok(!head.closes())
}

fn request(chance: &mut Chance) -> (String, Option<u64>) {
    if chance.once_in(8) {
        return ("GET /version HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), None);
    }
    let route = chance.below(ORIGINS as usize) as u64;
    let count = *chance.pick(&[1, 1, 10, 100, 2_000]);
    (format!("GET /r{route}/{count} HTTP/1.1\r\nhost: a\r\n\r\n"), Some(route))
}

/// Runs a client's work, and counts its error as a failure.
fn count(watch: &Watch, what: &str, work: impl FnOnce() -> io::Result<()>) {
    if let Err(why) = work() {
        watch.failed(what, &why);
    }
}

/// One request after the other on one connection, for the whole run.
fn long_lived(front: SocketAddr, watch: &Watch, chance: &mut Chance) {
    count(watch, "a long-lived connection", || {
        let mut stream = connect(front, watch)?;
        while !watch.done.load(Ordering::Relaxed) {
            let (text, route) = request(chance);
            let committed = watch.committed.load(Ordering::SeqCst);
            stream.get_mut().write_all(text.as_bytes())?;
            if !receive(&mut stream, watch, committed, route)? {
                break;
            }
        }
        Ok(())
    });
}

/// Four requests at once, again and again. Each may be of another version; none may be older than the batch.
fn pipelined(front: SocketAddr, watch: &Watch, chance: &mut Chance) {
    count(watch, "a pipeline", || {
        let mut stream = connect(front, watch)?;
        while !watch.done.load(Ordering::Relaxed) {
            let batch: Vec<(String, Option<u64>)> = (0..4).map(|_| request(chance)).collect();
            let committed = watch.committed.load(Ordering::SeqCst);
            let text: String = batch.iter().map(|(text, _)| text.as_str()).collect();
            stream.get_mut().write_all(text.as_bytes())?;
            for (_, route) in batch {
                if !receive(&mut stream, watch, committed, route)? {
                    return Ok(()); // what was asked after it is for another connection (RFC 9112 §9.6)
                }
            }
        }
        Ok(())
    });
}

/// One connection for one request.
fn fresh(front: SocketAddr, watch: &Watch, chance: &mut Chance) {
    count(watch, "a new connection", || {
        let (text, route) = request(chance);
        let committed = watch.committed.load(Ordering::SeqCst);
        let mut stream = connect(front, watch)?;
        stream.get_mut().write_all(text.as_bytes())?;
        receive(&mut stream, watch, committed, route).map(|_| ())
    });
    pause(Duration::from_millis(1)); // a port of the client's side rests for a minute: some 28,000 of them must do
}

/// A body that comes for 100 ms, over several reloads.
fn slow_answer(front: SocketAddr, watch: &Watch, chance: &mut Chance) {
    count(watch, "a slow answer", || {
        let mut stream = connect(front, watch)?;
        let route = chance.below(ORIGINS as usize) as u64;
        let committed = watch.committed.load(Ordering::SeqCst);
        stream.get_mut().write_all(format!("GET /r{route}/slow/50 HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())?;
        receive(&mut stream, watch, committed, Some(route)).map(|_| ())
    });
}

/// A head whose body comes 50 ms later: the exchange stays with the version of its head.
fn slow_request(front: SocketAddr, watch: &Watch, chance: &mut Chance) {
    count(watch, "a slow request", || {
        let mut stream = connect(front, watch)?;
        let route = chance.below(ORIGINS as usize) as u64;
        let committed = watch.committed.load(Ordering::SeqCst);
        let head = format!("POST /r{route}/3 HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfirst");
        stream.get_mut().write_all(head.as_bytes())?;
        pause(Duration::from_millis(50));
        stream.get_mut().write_all(b"later")?;
        receive(&mut stream, watch, committed, Some(route)).map(|_| ())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, route: Option<u64>, expect: Result<u64, Fault>) {
        assert_eq!(judge_body(7, 9, route, 200, body.as_bytes()), expect, "{body}");
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        // Version 8 leads route 1 to origin 1, version 9 to origin 2.
        check(&token(8, 1).repeat(3), Some(1), Ok(8));
        check(&token(9, 2), Some(1), Ok(9));
        check(&token(9, 1), Some(1), Err(Fault::Torn)); // the route of 8, the endpoint of 9
        check(&format!("{}{}", token(8, 1), token(9, 1)), Some(1), Err(Fault::Torn));
        check(&token(10, 3), Some(1), Err(Fault::Torn)); // nobody wrote it yet
        check(&token(6, 3), Some(1), Err(Fault::Stale));
        check(&token(8, 0), None, Ok(8));
        check("", Some(1), Err(Fault::Failed));
        assert_eq!(judge_body(7, 9, None, 503, token(8, 0).as_bytes()), Err(Fault::Failed));
    }

    #[test]
    fn a_version_names_its_endpoints_and_its_routes() {
        let text = text(258, &[1, 2, 3, 4]);
        assert!(text.contains("127.1.1.2") && text.contains("version-258-1") && text.contains("stable-0"), "{text}");
        assert_eq!(token(258, 3).len(), TOKEN_SIZE);
    }
}
