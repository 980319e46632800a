//! h2spec's 147 strict cases as recordings (`h2spec-wire.json`), played against a listener, with an HTTP/1 and with an
//! HTTP/2 origin behind it; the verdict by each entry's own rule.
//!
//! With `--io envoy`, HAProxy, which made the recordings, is judged too where it is installed: what it fails is the judge's fault.

mod recording;
mod rule;

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::recording::{Recording, Step};
use self::rule::{Judgement, Progress};
use super::{Bench, verdict};
use crate::lab::config::{Config, Http2, route};
use crate::lab::h2::frame::{Heard, Reader};
use crate::lab::h2::origin as h2_origin;
use crate::lab::http::{Head, read_body};
use crate::lab::origin::Origin;
use crate::lab::peer::Peer;
use crate::lab::proxy::{Kind, Launch, Proxy};
use crate::step::Verdict;
use crate::workspace;

/// The settings under which the recordings were made: 100 streams, windows of RFC 9113's default.
const FRONT: &str = "http2_protocol_options: {max_concurrent_streams: 100, initial_stream_window_size: 65535, \
     initial_connection_window_size: 65535, allow_connect: true},";
/// Longer than any window of a case, shorter than any limit.
const BODY: &[u8] = b"hello, h2spec\n";
/// How long a case may wait for what its rule wants. Only a case that fails takes it.
const VERDICT_LIMIT: Duration = Duration::from_secs(30);
/// How long a case waits between two of its sends for what the recorded server said there; then it goes on.
const TURN_LIMIT: Duration = Duration::from_secs(1);
/// Cases at the same time: they wait more than they work.
const PLAYERS: usize = 8;

pub(super) fn run(bench: &Bench) -> Verdict {
    let Some(folder) = workspace::conformance() else {
        return Verdict::Missing("the outside data (../shared/conformance or $RINGWAY_CONFORMANCE)".to_owned());
    };
    verdict(judge(bench, &folder))
}

fn judge(bench: &Bench, data: &Path) -> Result<String, String> {
    let recordings = recording::read(&data.join("h2spec-wire.json"))?;
    let old = Origin::start("127.0.0.1", http1)?;
    let new = h2_origin::start(|request| {
        let body = if request.value(":method") == "HEAD" { b"" } else { BODY };
        h2_origin::Response::plain(200, body)
    })?;
    let fronts = [("h1", "an HTTP/1 origin"), ("h2", "an HTTP/2 origin")];
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let hosts = |cluster: &str| format!("[{{name: all, domains: [\"*\"], routes: [{}]}}]", route("/", cluster));
    let config = Config::default()
        .listener_with_hosts("h1", any, &hosts("h1"), FRONT)
        .listener_with_hosts("h2", any, &hosts("h2"), FRONT)
        .cluster("h1", &[old.address])
        .cluster_http2("h2", &[new.address], &Http2::default());
    let file = bench.folder.join("h2spec.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let launch =
        Launch { kind: bench.kind, folder: &bench.folder, name: "h2spec", file: &file, concurrency: 1, arguments: &[] };
    if bench.kind == Kind::Envoy
        && let Some(haproxy) = Peer::haproxy_http2(&bench.folder, old.address)?
    {
        let (said, _) = play_all("HAProxy", haproxy.address, &recordings)?;
        println!("{said}");
    }
    let proxy = Proxy::start(&launch)?;
    let mut lines = Vec::new();
    let mut failed = 0;
    for (front, behind) in fronts {
        let (said, wrong) = play_all(behind, proxy.listener(front)?, &recordings)?;
        failed += wrong;
        lines.push(said);
    }
    let said = lines.join("; ");
    if failed == 0 { Ok(said) } else { Err(said) }
}

/// Plays all; a line that says how many passed and names the others, and how many those are.
fn play_all(name: &str, to: SocketAddr, recordings: &[Recording]) -> Result<(String, usize), String> {
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                while let Some(recording) = recordings.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = play(to, recording) {
                        wrong.lock().expect("no player panics").push((recording, why));
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().map_err(|e| format!("a player panicked: {e}"))?;
    wrong.sort_by_key(|(recording, _)| recording.number);
    for (recording, why) in &wrong {
        println!("{name}: {} ({}): {why}; {}", recording.id, recording.what, recording.requirement);
    }
    let ids: Vec<&str> = wrong.iter().map(|(recording, _)| recording.id.as_str()).collect();
    let count = recordings.len();
    let mut said = format!("{name}: {}/{count}", count - wrong.len());
    if !ids.is_empty() {
        said += &format!(" (not {})", ids.join(", "));
    }
    Ok((said, wrong.len()))
}

/// Plays one recording; an error says what was missing, and what came.
fn play(to: SocketAddr, recording: &Recording) -> Result<(), String> {
    let mut stream = TcpStream::connect_timeout(&to, VERDICT_LIMIT).map_err(|e| format!("cannot connect: {e}"))?;
    let _set = stream.set_nodelay(true);
    let mut reader = Reader::default();
    let mut progress = Progress::new(&recording.rules);
    for step in &recording.steps {
        match step {
            // The peer may have closed already: what it said before is in what is read below.
            Step::Send(bytes) => drop(stream.write_all(bytes)),
            Step::Await(wanted) => {
                let until = Instant::now() + TURN_LIMIT;
                loop {
                    match reader.hear(&stream, until) {
                        Heard::Frame(frame) => {
                            progress.hear(&Heard::Frame(frame.clone()));
                            if wanted.is_met_by(&frame) {
                                break;
                            }
                        }
                        closed @ Heard::Closed { .. } => {
                            progress.hear(&closed);
                            break;
                        }
                        Heard::Silence => break,
                    }
                }
            }
        }
    }
    let until = Instant::now() + VERDICT_LIMIT;
    loop {
        match progress.judgement() {
            Judgement::Passed => return Ok(()),
            Judgement::Failed => return Err(progress.said()),
            Judgement::Open => {}
        }
        let heard = reader.hear(&stream, until);
        if heard == Heard::Silence {
            return Err(format!("{}, then silence", progress.said()));
        }
        progress.hear(&heard);
    }
}

/// An origin that speaks HTTP/1.1.
fn http1(mut stream: TcpStream) -> std::io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        read_body(&mut from, head.request_framing()?)?;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BODY.len());
        stream.write_all(answer.as_bytes())?;
        if !head.line.starts_with("HEAD ") {
            stream.write_all(BODY)?;
        }
    }
    Ok(())
}
