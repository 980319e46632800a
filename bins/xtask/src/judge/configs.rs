//! Envoy configurations of others: a real Envoy and Ringway read each; what Ringway accepts it also serves.
//!
//! A file of which Ringway takes all must be one that Envoy takes, and answers requests as Envoy does, with every address
//! rewritten to this host. A file that asks for more is refused with file, line, column and the field's path.

use std::fmt::Write as _;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Bench, verdict};
use crate::lab::http::{Head, read_body};
use crate::lab::origin::Origin;
use crate::lab::proxy::{Kind, Launch, Proxy, get};
use crate::step::Verdict;
use crate::{command, setup, workspace};

/// The files that use nothing but HTTP/1 features of the connection manager, routes and clusters: these must serve.
const SERVED: &[&str] = &[
    "csrf_crosssite_envoy.yaml",
    "double-proxy_envoy.yaml",
    "front-proxy_service-envoy-2.yaml",
    "front-proxy_service-envoy.yaml",
    "websocket_envoy-ws-route.yaml",
    "websocket_envoy-ws.yaml",
];

/// Reading one file takes Envoy 50 ms; one that loads a missing module gives up sooner.
const READ_LIMIT: Duration = Duration::from_secs(20);
/// An answer of a proxy whose origin is this process.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

pub(super) fn run(bench: &Bench) -> Verdict {
    if !setup::envoy_path().is_file() {
        return Verdict::Missing(format!("Envoy {} (cargo xtask setup)", setup::ENVOY_VERSION));
    }
    let Some(folder) = workspace::conformance().map(|folder| folder.join("envoy-configs/examples")) else {
        return Verdict::Missing("the folder of outside judges' data".to_owned());
    };
    verdict(judge(bench, &folder))
}

/// What each of the two says of a file.
struct Read2 {
    envoy: Result<(), String>,
    ringway: Result<(), Vec<String>>,
}

fn judge(bench: &Bench, folder: &Path) -> Result<String, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    let (mut wrong, mut served, mut refused) = (Vec::new(), 0, 0);
    let mut table = String::from("| file | Envoy | Ringway |\n|---|---|---|\n");
    for name in &names {
        let read = read(&folder.join(name))?;
        let envoy = if read.envoy.is_ok() { "loads" } else { "refuses" };
        let ringway = match (&read.ringway, &read.envoy) {
            (Ok(()), Err(why)) => {
                // What Envoy lacks here (a module, a variable, a certificate) is not the file's fault.
                wrong.push(format!("{name}: Ringway accepts what Envoy refuses: {why}"));
                "loads".to_owned()
            }
            // All that it would serve comes of a management server, which is not here: judge `xds` has those.
            (Ok(()), Ok(())) if asks_a_server(&folder.join(name))? => "loads, and asks for the rest".to_owned(),
            (Ok(()), Ok(())) => match serve(bench, folder, name) {
                Ok(requests) => {
                    served += 1;
                    format!("serves ({requests} requests answered as Envoy does)")
                }
                Err(why) => {
                    wrong.push(format!("{name}: {why}"));
                    "does not serve".to_owned()
                }
            },
            (Err(lines), _) => {
                refused += 1;
                let paths: Vec<Result<&str, String>> = lines.iter().map(|line| path_of(name, line)).collect();
                wrong.extend(paths.iter().filter_map(|path| path.clone().err()));
                if SERVED.contains(&name.as_str()) {
                    wrong.push(format!("{name} uses HTTP/1 only and is refused: {}", lines.join("; ")));
                }
                let mut fields: Vec<&str> = paths.into_iter().flatten().map(last_field).collect();
                fields.dedup();
                format!("refuses {} problems: {}", lines.len(), fields.join(", "))
            }
        };
        writeln!(table, "| {name} | {envoy} | {ringway} |").expect("writing to a string");
    }
    println!("{table}");
    wrong.extend(
        SERVED.iter().filter(|name| !names.iter().any(|known| known == *name)).map(|name| format!("no {name}")),
    );
    let line = format!("{} files: {served} served, {refused} refused with a path", names.len());
    if wrong.is_empty() { Ok(line) } else { Err(format!("{line}; wrong:\n{}", wrong.join("\n"))) }
}

fn asks_a_server(file: &Path) -> Result<bool, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(["ads_config:", "api_config_source:"].iter().any(|key| text.contains(key)))
}

fn read(file: &Path) -> Result<Read2, String> {
    let mut envoy = Command::new(setup::envoy_path());
    envoy.args(["--mode", "validate", "-c"]).arg(file);
    let envoy = command::run(envoy, READ_LIMIT, command::Echo::Nothing)?;
    let last = envoy.lines.last().cloned().unwrap_or_default();
    let mut ringway = Command::new(workspace::ringway());
    ringway.args(["check", "-c"]).arg(file);
    let ringway = command::run(ringway, READ_LIMIT, command::Echo::Nothing)?;
    Ok(Read2 {
        envoy: if envoy.success { Ok(()) } else { Err(last) },
        ringway: if ringway.success { Ok(()) } else { Err(ringway.lines) },
    })
}

/// The path of the field in a line `FILE:LINE:COLUMN: PATH: why`.
fn path_of<'a>(name: &str, line: &'a str) -> Result<&'a str, String> {
    let bad = || format!("{name}: a problem without place or path: {line}");
    let (_, rest) = line.split_once(&format!("{name}:")).ok_or_else(bad)?;
    let mut parts = rest.splitn(4, ':').map(str::trim);
    let mut is_number = || parts.next().is_some_and(|part| part.parse::<u32>().is_ok_and(|number| number > 0));
    if !(is_number() && is_number()) {
        return Err(bad());
    }
    let path = parts.next().unwrap_or_default();
    // The whole file is none of what a file may be: there is no field to name.
    if path.starts_with("expected an object") {
        return Ok("(all of it)");
    }
    if path.is_empty() || path.contains(' ') { Err(bad()) } else { Ok(path) }
}

fn last_field(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Starts both proxies with the file rewritten to this host and asks both the same; how many requests.
fn serve(bench: &Bench, folder: &Path, name: &str) -> Result<usize, String> {
    let text = std::fs::read_to_string(folder.join(name)).map_err(|e| format!("cannot read: {e}"))?;
    let origin = Origin::start("127.0.0.1", answer)?;
    let file = bench.folder.join(name);
    std::fs::write(&file, rewritten(&text, origin.address)).map_err(|e| format!("cannot write: {e}"))?;
    let start = |kind: Kind| {
        let name = format!("{name}-{}", kind.name());
        let launch = Launch { kind, folder: &bench.folder, name: &name, file: &file, concurrency: 1, arguments: &[] };
        Proxy::start(&launch)
    };
    let proxies = [start(Kind::Envoy)?, start(bench.kind)?];
    let fronts = [fronts(&proxies[0])?, fronts(&proxies[1])?];
    if fronts[0].len() != fronts[1].len() || fronts[0].is_empty() {
        return Err(format!("{} listeners on Envoy, {} on Ringway", fronts[0].len(), fronts[1].len()));
    }
    let requests = requests(&text);
    let [envoy_fronts, own_fronts] = &fronts;
    for (envoy, ringway) in envoy_fronts.iter().zip(own_fronts) {
        for request in &requests {
            let [theirs, own] = [envoy, ringway].map(|front| ask(*front, request));
            if theirs != own {
                return Err(format!("{request:?}: Envoy {theirs:?}, Ringway {own:?}"));
            }
        }
    }
    Ok(requests.len() * own_fronts.len())
}

/// The addresses that a proxy's TCP listeners are bound to, in the file's order.
fn fronts(proxy: &Proxy) -> Result<Vec<SocketAddr>, String> {
    let (_, text) = get(proxy.admin, "GET", "/listeners")?;
    Ok(text.lines().filter_map(|line| line.rsplit_once("::")?.1.trim().parse().ok()).collect())
}

/// The file with every address on this host: listeners and the admin server on ports that the kernel chooses, endpoints where
/// the origin is. Lines only: the files write one scalar a line.
fn rewritten(text: &str, origin: SocketAddr) -> String {
    let mut out = String::new();
    let (mut in_clusters, mut has_admin) = (false, false);
    for line in text.lines() {
        let key = line.trim_start().trim_start_matches("- ");
        let blanks = &line[..line.len() - key.len()];
        if line.starts_with("  clusters:") {
            in_clusters = true;
        } else if line.starts_with("  listeners:") || line.starts_with("admin:") {
            in_clusters = false;
        }
        has_admin |= line.starts_with("admin:");
        if key.starts_with("address: ") {
            writeln!(out, "{blanks}address: 127.0.0.1").expect("writing to a string");
        } else if key.starts_with("port_value: ") {
            writeln!(out, "{blanks}port_value: {}", if in_clusters { origin.port() } else { 0 })
                .expect("writing to a string");
        } else {
            writeln!(out, "{line}").expect("writing to a string");
        }
    }
    if !has_admin {
        out += "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n";
    }
    out
}

/// A GET and a POST below each path that the file's routes name, and, where it speaks of upgrades, a WebSocket.
fn requests(text: &str) -> Vec<String> {
    let values = text.lines().filter_map(|line| {
        let line = line.trim_start().trim_start_matches("- ");
        let value = line.strip_prefix("prefix: ").or_else(|| line.strip_prefix("path: "))?;
        Some(value.trim().trim_matches('"').to_owned()).filter(|value| value.starts_with('/'))
    });
    let mut paths: Vec<String> = values.chain(["/".to_owned(), "/other".to_owned()]).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut requests = Vec::new();
    for path in paths {
        requests.push(format!("GET {path} HTTP/1.1\r\nHost: some.test\r\n\r\n"));
        requests.push(format!("POST {path}?q HTTP/1.1\r\nHost: some.test\r\nContent-Length: 4\r\n\r\nbody"));
        if text.contains("upgrade_type") {
            requests.push(format!(
                "GET {path} HTTP/1.1\r\nHost: some.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ));
        }
    }
    requests
}

/// Status and body. Through a tunnel the client says `ping`, and the body is what comes back.
fn ask(front: SocketAddr, request: &str) -> Result<(u16, String), String> {
    let ask = || -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(front)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(request.as_bytes())?;
        let mut from = BufReader::new(stream.try_clone()?);
        let head = Head::read(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut body = Vec::new();
        if head.status() == 101 {
            stream.write_all(b"ping")?;
            body.resize(4, 0);
            from.read_exact(&mut body)?;
        } else {
            body = read_body(&mut from, head.response_framing("GET")?)?.0;
        }
        Ok((head.status(), String::from_utf8_lossy(&body).into_owned()))
    };
    ask().map_err(|e| e.to_string())
}

/// The origin: says the request line and the body back; grants every upgrade and echoes.
fn answer(stream: TcpStream) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        if head.has_word("connection", "upgrade") {
            (&stream)
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")?;
            io::copy(&mut from, &mut &stream)?;
            return Ok(());
        }
        let (body, _) = read_body(&mut from, head.request_framing()?)?;
        let body = format!("{} {}", head.line, String::from_utf8_lossy(&body));
        (&stream).write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_place_or_path_is_found() {
        assert_eq!(
            path_of("x.yaml", "/f/x.yaml:3:5: static_resources.clusters[0].type: no"),
            Ok("static_resources.clusters[0].type")
        );
        for line in ["x.yaml: no", "x.yaml:3: a.b: no", "x.yaml:0:1: a: no", "x.yaml:3:5: some words: no", "else"] {
            assert!(path_of("x.yaml", line).is_err(), "{line}");
        }
    }

    #[test]
    fn addresses_become_this_hosts() {
        let text = "static_resources:\n  listeners:\n  - address: {}\n      address: 0.0.0.0\n      port_value: 80\n  clusters:\n      address: name\n      port_value: 81\n";
        let got = rewritten(text, SocketAddr::from(([127, 0, 0, 1], 7)));
        let lines: Vec<&str> = got.lines().collect();
        assert_eq!(&lines[3..5], ["      address: 127.0.0.1", "      port_value: 0"]);
        assert_eq!(&lines[6..8], ["      address: 127.0.0.1", "      port_value: 7"]);
        assert!(lines[8].starts_with("admin:"));
    }
}
