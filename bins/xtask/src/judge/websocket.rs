//! WebSockets in all four combinations of HTTP/1 and HTTP/2 (RFC 6455, RFC 8441): what a client says, right and wrong, comes to what it comes to
//! without a proxy, frame for frame.
//!
//! The cases cover the ground of Autobahn's fuzzing client (which wants Python 2.7), group by group; client and origin are scripts over the libraries
//! `websockets` and `h2`.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::{Bench, verdict};
use crate::lab::config::{Config, Http2, route};
use crate::lab::pace::wait_for;
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;
use crate::{command, setup};

/// All cases take 5 s on each driver, and 20 s on a busy machine.
const CLIENT_LIMIT: Duration = Duration::from_secs(240);
/// Nobody waits for a tunnel that both sides have left.
const TUNNELS_LIMIT: Duration = Duration::from_secs(60);
const FRONT: &str = "upgrade_configs: [{upgrade_type: websocket}], http2_protocol_options: {allow_connect: true},";
/// Each bit that is turned has to be seen.
const ALTERED: &str = "8/8";
const SCRIPTS: [(&str, &str); 3] = [
    ("cases.py", include_str!("websocket/cases.py")),
    ("client.py", include_str!("websocket/client.py")),
    ("origin.py", include_str!("websocket/origin.py")),
];

pub(super) fn run(bench: &Bench) -> Verdict {
    match setup::websocket_python() {
        Some(python) => verdict(judge(bench, &python)),
        None => Verdict::Missing("Python with websockets and h2: `cargo xtask setup` installs it".to_owned()),
    }
}

fn judge(bench: &Bench, python: &std::path::Path) -> Result<String, String> {
    for (name, text) in SCRIPTS {
        std::fs::write(bench.folder.join(name), text).map_err(|e| format!("cannot write {name}: {e}"))?;
    }
    let script = |name: &str| {
        let mut command = Command::new(python);
        command.current_dir(&bench.folder).env("PYTHONDONTWRITEBYTECODE", "1").arg(name);
        command
    };
    let origin = Origin::start(script("origin.py"))?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let hosts = |cluster: &str| format!("[{{name: all, domains: [\"*\"], routes: [{}]}}]", route("/", cluster));
    let http2 = Http2 { options: "allow_connect: true", ..Http2::default() };
    let config = Config::default()
        .listener_with_hosts("h1", any, &hosts("h1"), FRONT)
        .listener_with_hosts("h2", any, &hosts("h2"), FRONT)
        .cluster("h1", &[origin.old])
        .cluster_http2("h2", &[origin.new], &http2);
    let file = bench.folder.join("websocket.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let (kind, folder) = (bench.kind, &bench.folder);
    let launch = Launch { kind, folder, name: "websocket", file: &file, concurrency: 1, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let mut client = script("client.py");
    client.arg(bench.count.to_string()).arg(format!("direct=h1:{}", origin.old.port()));
    client.arg(format!("h2 direct=h2:{}", origin.new.port()));
    for back in ["h1", "h2"] {
        let port = proxy.listener(back)?.port();
        client.args(["h1", "h2"].map(|front| format!("{front}->{back}={front}:{port}")));
    }
    let outcome = command::run(client, CLIENT_LIMIT, command::Echo::All)?;
    // However they ended, none is left.
    wait_for("all tunnels to be gone", TUNNELS_LIMIT, || {
        let active = |back| proxy.stat(&format!("http.{back}.downstream_cx_upgrades_active"));
        ["h1", "h2"].iter().all(|back| active(back) == Ok(0)).then_some(())
    })?;
    let said: Vec<&str> = outcome.lines.iter().filter_map(|line| line.strip_prefix("way ")).collect();
    let is_good = |way: &&str| match way.rsplit_once(' ') {
        Some(("altered", told_apart)) => told_apart == ALTERED,
        Some((_, counts)) => counts.split_once('/').is_some_and(|(same, all)| same == all && all != "0"),
        None => false,
    };
    let is_whole = outcome.success && said.len() == 7;
    let text = format!("the same as direct: {}", said.join(", "));
    if is_whole && said.iter().all(is_good) { Ok(text) } else { Err(text) }
}

/// The echoing origin, over HTTP/1 and over HTTP/2; ends when dropped.
struct Origin {
    child: Child,
    old: SocketAddr,
    new: SocketAddr,
    /// Kept open: it writes nothing more.
    _said: BufReader<ChildStdout>,
}

impl Origin {
    fn start(mut command: Command) -> Result<Origin, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("cannot start the origin: {e}"))?;
        let mut said = BufReader::new(child.stdout.take().expect("piped above"));
        let mut line = String::new();
        said.read_line(&mut line).map_err(|e| format!("the origin says nothing: {e}"))?;
        let ports: Vec<u16> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if let [old, new] = ports[..] {
            let [old, new] = [old, new].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            return Ok(Origin { child, old, new, _said: said });
        }
        let _ended = child.kill().and_then(|()| child.wait());
        Err(format!("the origin did not say its ports, but {line:?}"))
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
