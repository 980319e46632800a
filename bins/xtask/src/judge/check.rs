//! A wrong file: every problem with its place, exit code 1. A wrong reload: the old configuration stays, and says why.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use super::{Bench, verdict};
use crate::command;
use crate::lab::config::{Config, answer};
use crate::lab::http::{Head, read_body};
use crate::lab::pace::wait_for;
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;
use crate::workspace;

/// Reading a file of a few hundred lines takes milliseconds.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// What is wrong with a good file when `from` becomes `to`, and what each line about it must hold. Each line must open with
/// FILE:LINE:COLUMN. No rows of expectations: the file must be accepted.
struct Case {
    guards: &'static str,
    changes: &'static [(&'static str, &'static str)],
    expect: &'static [&'static [&'static str]],
}

const GOOD: &str = r#"admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            name: routes
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: "/"}
                route: {cluster: back, timeout: 1.5s}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: back
    connect_timeout: 5s
    type: STATIC
    load_assignment:
      cluster_name: back
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9}}}}]}]
"#;

const CASES: &[Case] = &[
    Case { guards: "a good file is accepted", changes: &[], expect: &[] },
    Case {
        guards: "an unknown field is refused by its name and place",
        changes: &[("    connect_timeout: 5s", "    conect_timeout: 5s")],
        expect: &[&[":25:", "static_resources.clusters[0]", "conect_timeout"]],
    },
    Case {
        guards: "three problems in three places are three lines, in the order of the file",
        changes: &[
            ("stat_prefix: front", "stat_prefix: ''"),
            ("cluster: back, timeout: 1.5s", "cluster: back, timeout: soon"),
            ("connect_timeout: 5s", "connect_timeout: -5s"),
        ],
        expect: &[&[":11:", "stat_prefix"], &[":19:", "timeout"], &[":25:", "connect_timeout"]],
    },
    Case {
        guards: "a route to a cluster that is not there is refused",
        changes: &[("route: {cluster: back", "route: {cluster: bakc")],
        expect: &[&[":19:", "bakc"]],
    },
    Case {
        guards: "what Ringway does not do is refused by name, not ignored",
        changes: &[("type: STATIC", "type: STATIC\n    filters: [{name: x}]")],
        expect: &[&[":27:", "filters"]],
    },
    Case {
        guards: "text that is not YAML is refused at its place",
        changes: &[("domains: [\"*\"]", "domains: [\"*\"")],
        expect: &[&[":"]],
    },
    Case {
        guards: "two clusters of one name are refused",
        changes: &[("  clusters:\n", "  clusters:\n  - {name: back, connect_timeout: 1s, type: STATIC}\n")],
        expect: &[&["back"]],
    },
];

pub(super) fn run(bench: &Bench) -> Verdict {
    verdict(cases(bench).and_then(|text| wrong_reload(bench).map(|more| format!("{text}; {more}"))))
}

fn cases(bench: &Bench) -> Result<String, String> {
    let mut failures = Vec::new();
    for (index, case) in CASES.iter().enumerate() {
        let mut text = GOOD.to_owned();
        for (from, to) in case.changes {
            assert!(text.contains(from), "a case changes what is not there: {from}");
            text = text.replacen(from, to, 1);
        }
        let file = bench.folder.join(format!("case{index}.yaml"));
        std::fs::write(&file, text).map_err(|e| format!("cannot write a case: {e}"))?;
        let mut check = Command::new(workspace::ringway());
        check.arg("check").arg("-c").arg(&file);
        let outcome = command::run(check, CHECK_LIMIT, command::Echo::Nothing)?;
        let place = format!("{}:", file.display());
        let problems: Vec<&String> = outcome.lines.iter().filter(|line| line.starts_with(&place)).collect();
        let code = if case.expect.is_empty() { 0 } else { 1 };
        let all_there = problems.len() == case.expect.len()
            && problems.iter().zip(case.expect).all(|(line, words)| {
                let line = line.replacen(&place, ":", 1);
                words.iter().all(|word| line.contains(word))
            });
        let held = outcome.code == Some(code) && all_there;
        println!("{} {}", if held { "ok  " } else { "FAIL" }, case.guards);
        if !held {
            println!("     exit code {:?}, wanted {code}; {}", outcome.code, outcome.lines.join("\n     "));
            failures.push(case.guards);
        }
    }
    if failures.is_empty() { Ok(format!("{} files", CASES.len())) } else { Err(failures.join("; ")) }
}

/// A wrong file in place of a good one: requests go on as before, the failure is counted and told.
fn wrong_reload(bench: &Bench) -> Result<String, String> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let file = bench.folder.join("reload.yaml");
    let good = |body: &str| Config::default().listener("front", any, &[answer("/", 200, body)]).text();
    replace(bench, &file, &good("first"))?;
    let launch =
        Launch { kind: bench.kind, folder: &bench.folder, name: "reload", file: &file, concurrency: 1, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let front = proxy.listener("front")?;
    replace(bench, &file, &good("second").replace("stat_prefix", "stat_prefax"))?;
    let limit = Duration::from_secs(60);
    wait_for("config.reload_failed", limit, || (proxy.stat("config.reload_failed").ok()? == 1).then_some(()))?;
    let body = ask(front)?;
    if body != "first" {
        return Err(format!("after a wrong reload the answer is {body:?}, not the old one"));
    }
    for (where_, text) in [("the log", proxy.log()), ("/config_dump", proxy.admin("/config_dump")?)] {
        if !text.contains("stat_prefax") {
            return Err(format!("{where_} does not say why a reload was refused: {text}"));
        }
    }
    replace(bench, &file, &good("third"))?;
    wait_for("the good file after the wrong one", limit, || (ask(front).ok()? == "third").then_some(()))?;
    Ok("a wrong reload kept the old configuration".to_owned())
}

/// Puts a file in the place of another by renaming, as every careful writer does.
fn replace(bench: &Bench, file: &std::path::Path, text: &str) -> Result<(), String> {
    let beside = bench.folder.join("beside.tmp");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, file))
        .map_err(|e| format!("cannot write: {e}"))
}

fn ask(front: SocketAddr) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(front)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
        let mut from = BufReader::new(stream);
        let head = Head::read(&mut from)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let (body, _) = read_body(&mut from, head.response_framing("GET")?)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    };
    ask().map_err(|e| format!("a request failed: {e}"))
}
