//! gRPC through the proxy: the official interop cases by three clients that share no code, direct, through one proxy and
//! through two in a row; and what the proxy itself says to a gRPC client, read as frames.

mod statuses;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Bench, verdict};
use crate::lab::config::{Config, Http2, route};
use crate::lab::pace::wait_for;
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;
use crate::{command, setup, workspace};

/// A client's 15 cases take a second; one that hangs gives up by itself.
const CLIENT_LIMIT: Duration = Duration::from_secs(120);
/// grpcio takes a second to start on a busy machine.
const SERVER_LIMIT: Duration = Duration::from_secs(30);
/// The outside runner and the official protos, in the folder of outside data.
const RUNNER: &str = "tools/grpc_interop_cases.py";
const PROTOS: &str = "grpc-interop-protos";
const CASES: &str = " 15 ok []";

pub(super) fn run(bench: &Bench) -> Verdict {
    let Some(data) = workspace::conformance() else {
        return Verdict::Missing("the outside data (../shared/conformance or $RINGWAY_CONFORMANCE)".to_owned());
    };
    let Some(python) = setup::python_path() else {
        return Verdict::Missing("Python with grpcio and grpclib: `cargo xtask setup` installs it".to_owned());
    };
    match setup::node_modules() {
        Some(modules) => verdict(judge(bench, &data, &python, &modules)),
        None => Verdict::Missing("Node with grpc-js: `cargo xtask setup` as root installs both".to_owned()),
    }
}

fn judge(bench: &Bench, data: &Path, python: &Path, modules: &Path) -> Result<String, String> {
    generate(bench, data, python)?;
    let server = Server::start(bench, python, &data.join(RUNNER))?;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let start = |name: &str, config: &Config| {
        let file = bench.folder.join(format!("{name}.yaml"));
        std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
        let launch =
            Launch { kind: bench.kind, folder: &bench.folder, name, file: &file, concurrency: 1, arguments: &[] };
        Proxy::start(&launch)
    };
    let last = Config::default().listener("one", any, &[route("/", "server")]);
    let last = start("last", &last.cluster_http2("server", &[server.address], &Http2::default()))?;
    let one = last.listener("one")?;
    let first = Config::default().listener("two", any, &[route("/", "last")]);
    let first = start("first", &first.cluster_http2("last", &[one], &Http2::default()))?;
    let ways = [("direct", server.address), ("one", one), ("two", first.listener("two")?)];
    let mut wrong = Vec::new();
    let mut sums = Vec::new();
    for client in clients(bench, data, python, modules)? {
        let mut command = client.command;
        command.args(ways.map(|(name, address)| format!("{name}:{}", address.port())));
        let outcome = command::run(command, CLIENT_LIMIT, command::Echo::All)?;
        for (name, _) in ways {
            let line = outcome.lines.iter().find(|line| line.starts_with(&format!("{name} ")));
            let good = line.and_then(|line| line.split(' ').nth(1)?.parse::<usize>().ok()).unwrap_or(0);
            sums.push(good);
            if !line.is_some_and(|line| line.contains(CASES)) {
                let line = line.map_or_else(|| format!("{name}: no word"), Clone::clone);
                wrong.push(format!("{} {line}", client.name));
            }
        }
    }
    let (good, count) = statuses::judge(bench, &mut wrong)?;
    let by_way = ways.iter().enumerate().map(|(at, (name, _))| {
        let good: Vec<String> = sums.iter().skip(at).step_by(ways.len()).map(usize::to_string).collect();
        format!("{name} {}", good.join("+"))
    });
    let by_way: Vec<String> = by_way.collect();
    let said = format!("of 15 cases by three clients: {}; {good}/{count} own answers", by_way.join(", "));
    if wrong.is_empty() { Ok(said) } else { Err(format!("{said}, but: {}", wrong.join("; "))) }
}

/// A client that plays all cases on each way that it is told.
struct Client {
    name: &'static str,
    command: Command,
}

fn clients(bench: &Bench, data: &Path, python: &Path, modules: &Path) -> Result<[Client; 3], String> {
    let script = |name: &str, text: &str| {
        let path = bench.folder.join(name);
        std::fs::write(&path, text).map_err(|e| format!("cannot write {name}: {e}")).map(|()| path)
    };
    let mut first = in_folder(bench, python);
    first.arg(data.join(RUNNER));
    let mut second = in_folder(bench, python);
    second.arg(script("second_client.py", include_str!("grpc/second_client.py"))?);
    let mut third = in_folder(bench, Path::new("node"));
    third.env("NODE_PATH", modules);
    third.arg(script("third_client.js", include_str!("grpc/third_client.js"))?).arg(data.join(PROTOS));
    let named = |name, command| Client { name, command };
    Ok([named("grpcio", first), named("grpclib", second), named("grpc-js", third)])
}

fn in_folder(bench: &Bench, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(&bench.folder);
    command
}

/// The modules of the official protos, in `gen/` of the judge's folder, where both scripts look for them.
fn generate(bench: &Bench, data: &Path, python: &Path) -> Result<(), String> {
    let protos = data.join(PROTOS);
    std::fs::create_dir_all(bench.folder.join("gen")).map_err(|e| format!("cannot make gen/: {e}"))?;
    let mut command = in_folder(bench, python);
    command.args(["-m", "grpc_tools.protoc", "--python_out=gen", "--grpc_python_out=gen"]);
    command.arg(format!("-I{}", protos.display()));
    let files: Vec<PathBuf> = ["empty", "messages", "test"].map(|name| protos.join(format!("{name}.proto"))).into();
    command.args(files);
    let outcome = command::run(command, CLIENT_LIMIT, command::Echo::Nothing)?;
    if outcome.success { Ok(()) } else { Err(format!("protoc: {}", outcome.lines.join("\n"))) }
}

/// The interop server of grpcio; ends when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(bench: &Bench, python: &Path, runner: &Path) -> Result<Server, String> {
        // The runner wants to be told a port: one that was free a moment ago.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let address = free.map_err(|e| format!("no free port: {e}"))?;
        let mut command = in_folder(bench, python);
        command.arg(runner).arg("serve").arg(address.port().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|e| format!("cannot start the interop server: {e}"))?;
        let server = Server { child, address };
        wait_for("the interop server", SERVER_LIMIT, || TcpStream::connect(address).ok())?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
