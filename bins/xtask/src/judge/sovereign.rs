//! A management server that nobody here wrote: sovereign (PyPI), which speaks REST alone. What it says takes effect, what is wrong is refused,
//! and what stands goes on without it.

mod server;

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use self::server::Sovereign;
use super::{Bench, verdict};
use crate::lab::http::{Head, read_body};
use crate::lab::origin::Origin;
use crate::lab::pace::wait_for;
use crate::lab::proxy::{Launch, Proxy, get};
use crate::setup;
use crate::step::Verdict;

const BOOTSTRAP: &str = include_str!("sovereign/bootstrap.yaml");
/// sovereign reads its values once a second and is asked ten times a second; the rest is for a busy machine.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);
/// What stays as it was is looked at for so long: sovereign has said the other by then.
const STAYS_FOR: Duration = Duration::from_secs(3);

pub(super) fn run(bench: &Bench) -> Verdict {
    match setup::sovereign_python() {
        Some(python) => verdict(judge(bench, &python)),
        None => Verdict::Missing("Python with sovereign: `cargo xtask setup` installs it".to_owned()),
    }
}

/// What the templates are filled with.
fn state(word: &str, port: u16, clusters: &[&str], connect_timeout: &str) -> Value {
    json!({"word": word, "port": port, "clusters": clusters, "connect_timeout": connect_timeout})
}

fn judge(bench: &Bench, python: &Path) -> Result<String, String> {
    let origins = [origin("first")?, origin("second")?];
    let [first, second] = origins.each_ref().map(|origin| origin.address.port());
    let mut server = Sovereign::start(python, &bench.folder, &state("one", first, &["a"], "1s"))?;
    let file = bench.folder.join("bootstrap.yaml");
    std::fs::write(&file, server.filled(BOOTSTRAP)).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    let name = format!("proxy-{}", bench.kind.name());
    let launch =
        Launch { kind: bench.kind, folder: &bench.folder, name: &name, file: &file, concurrency: 2, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let at = proxy.listener("main")?;
    let mut shown = Vec::new();
    let mut step = |what: &'static str, outcome: Result<(), String>| {
        shown.push(what);
        outcome.map_err(|why| format!("{what}: {why}\n{}", proxy.log_tail()))
    };

    step("all four types come", becomes(at, "/word", "one").and_then(|()| becomes(at, "/a", "first")))?;
    server.say(&state("two", first, &["a"], "1s"))?;
    step("a route changes", becomes(at, "/word", "two"))?;
    server.say(&state("two", second, &["a"], "1s"))?;
    step("endpoints move", becomes(at, "/a", "second"))?;
    server.say(&state("three", second, &["a", "b"], "1s"))?;
    step("a cluster and its route come", becomes(at, "/b", "second"))?;
    server.say(&state("four", second, &["a", "b"], "-1s"))?;
    let refused = || wait_for("a refusal", CHANGE_LIMIT, || rejected(&proxy).filter(|count| *count > 0)).map(|_| ());
    step("wrong clusters are refused, the others of the version taken", refused().and(becomes(at, "/word", "four")))?;
    step("and those before stay", stays(at, "/a", "second"))?;
    // What was refused is not said to be held, so that it comes again with each answer: as on Envoy.
    server.say(&state("five", second, &["a", "b"], "2s"))?;
    let changed = || {
        let timeout = || proxy.admin("/config_dump").ok().filter(|dump| dump.contains("\"connect_timeout\": \"2s\""));
        wait_for("connect_timeout 2s in /config_dump", CHANGE_LIMIT, timeout).map(|_| ())
    };
    step("right ones are taken again", changed())?;
    server.say(&state("six", second, &[], "2s"))?;
    let gone = || status_becomes(at, "/a", 404);
    step("routes that are gone are gone; no cluster at all is 404 there, and deletes none", gone())?;
    let kept = proxy.stat("cluster_manager.active_clusters")?;
    step("the clusters stay", if kept == 3 { Ok(()) } else { Err(format!("there are {kept} instead of 3")) })?;
    server.say(&state("seven", second, &["a"], "2s"))?;
    step("and serve again", becomes(at, "/a", "second"))?;
    server.kill()?;
    step("without the server all goes on", stays(at, "/a", "second").and_then(|()| becomes(at, "/word", "seven")))?;
    server.say(&state("eight", first, &["a"], "2s"))?;
    server.restart()?;
    step("and follows it when it is back", becomes(at, "/word", "eight").and_then(|()| becomes(at, "/a", "first")))?;
    Ok(format!("{} steps", shown.len()))
}

/// Clusters that were refused, in answers.
fn rejected(proxy: &Proxy) -> Option<u64> {
    proxy.stat("cluster_manager.cds.update_rejected").ok()
}

/// Waits until a path is answered so.
fn becomes(at: SocketAddr, path: &str, body: &str) -> Result<(), String> {
    let mut last = None;
    let outcome = wait_for(path, CHANGE_LIMIT, || {
        let answer = get(at, "GET", path);
        let is_it = matches!(&answer, Ok((200, text)) if text == body);
        last = Some(answer);
        is_it.then_some(())
    });
    outcome.map_err(|_| format!("{path} does not become {body:?}, but is {last:?}"))
}

fn status_becomes(at: SocketAddr, path: &str, status: u16) -> Result<(), String> {
    let is_it = || get(at, "GET", path).ok().filter(|(found, _)| *found == status).map(|_| ());
    wait_for(path, CHANGE_LIMIT, is_it).map_err(|_| format!("{path} does not become {status}"))
}

/// Looks again and again whether a path is answered so.
fn stays(at: SocketAddr, path: &str, body: &str) -> Result<(), String> {
    let began = std::time::Instant::now();
    while began.elapsed() < STAYS_FOR {
        match get(at, "GET", path)? {
            (200, text) if text == body => {}
            other => return Err(format!("{path} is {other:?} instead of {body:?}")),
        }
    }
    Ok(())
}

/// An origin that says who it is.
fn origin(body: &'static str) -> Result<Origin, String> {
    Origin::start("127.0.0.1", move |stream: TcpStream| {
        let mut reader = BufReader::new(stream);
        while let Some(head) = Head::read(&mut reader)? {
            let framing = head.request_framing()?;
            read_body(&mut reader, framing)?;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            reader.get_mut().write_all(answer.as_bytes())?;
        }
        Ok(())
    })
}
