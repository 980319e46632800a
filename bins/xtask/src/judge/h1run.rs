//! The outside HTTP/1 vectors, by their own runner. Shown, not judged: the HTTP/1 work has them as its bar.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use super::Bench;
use crate::command;
use crate::lab::config::{Config, route};
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;
use crate::workspace;

/// Each vector waits for an answer that may not come, for half a second; the runner takes a few at a time.
const RUN_LIMIT: Duration = Duration::from_secs(120);

pub(super) fn run(bench: &Bench) -> Verdict {
    let Some(folder) = workspace::conformance() else {
        return Verdict::Missing("the outside data (../shared/conformance or $RINGWAY_CONFORMANCE)".to_owned());
    };
    match play(bench, &folder) {
        Ok(text) => Verdict::Shown(text),
        Err(why) => {
            println!("{why}");
            Verdict::Fail(why)
        }
    }
}

fn play(bench: &Bench, folder: &std::path::Path) -> Result<String, String> {
    // The runner wants to listen on the origin's port itself: one that was free a moment ago.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let origin = free.map_err(|e| format!("no free port: {e}"))?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = Config::default().listener("front", any, &[route("/", "back")]).cluster("back", &[origin]);
    let file = bench.folder.join("h1run.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let launch =
        Launch { kind: bench.kind, folder: &bench.folder, name: "h1run", file: &file, concurrency: 1, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let front = proxy.listener("front")?;
    let mut runner = Command::new("python3");
    runner.arg(folder.join("tools/h1run.py")).arg(format!("ringway:{}:{}", front.port(), origin.port()));
    runner.arg("--json").arg(bench.folder.join("h1run.json"));
    let outcome = command::run(runner, RUN_LIMIT, command::Echo::All)?;
    let counts: Vec<&str> = outcome.lines.iter().filter(|line| line.contains('=')).map(|line| line.trim()).collect();
    Ok(format!("exit code {:?}: {}", outcome.code, counts.join(" | ")))
}
