//! The transparent sidecar where it works: two hosts, on each an application and a Ringway to which `ringway iptables` leads all that is sent.
//!
//! Held to: curl and a client of bare TCP that know of no proxy reach the application with every byte right, in IPv4 and IPv6, captured by REDIRECT and
//! by TPROXY; between sidecars the wire carries TLS alone; what is excluded goes directly, and what was connected
//! before the rules goes on; no connection comes back to who made it; a
//! sidecar that was killed serves again once it is started again; and the rules are the same after a second run, and gone after `--clean`.
//!
//! The configuration is docs/deploy/sidecar-config.yaml itself, but for paths. Wants root; hosts are network namespaces of the judge's own.

mod app;
mod case;
mod held;
mod rules;
mod sidecar;
mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use self::held::Held;
use self::sidecar::{Install, Logs, Mode};
use self::world::World;
use super::{Bench, verdict};
use crate::lab::host::Host;
use crate::lab::proxy::Kind;
use crate::step::Verdict;
use crate::{command, setup, workspace};

/// The modes, one after the other on fresh hosts. Once each, as in CI, the drivers share them.
fn modes(bench: &Bench) -> &'static [Mode] {
    match (bench.kind, bench.count) {
        (Kind::Ring, 1) => &[Mode::Tproxy],
        (Kind::Poll, 1) => &[Mode::Redirect],
        _ => &[Mode::Redirect, Mode::Tproxy],
    }
}

/// What is asked of `openssl` takes milliseconds.
const OPENSSL_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn run(bench: &Bench) -> Verdict {
    match allowed() {
        Ok(()) => verdict(judge(bench)),
        Err(why) => Verdict::Missing(why),
    }
}

/// `xtask part`: the application and the client.
pub(super) fn part(words: &[&str]) -> Option<Result<(), String>> {
    match words {
        ["netns-application", addresses @ ..] => Some(app::serve(addresses)),
        ["netns-holder", to, file, go] => Some(app::hold(to.parse().ok()?, file, go)),
        ["netns-client", to, file, patience, end] => {
            let (to, patience) = (to.parse().ok()?, Duration::from_secs(patience.parse().ok()?));
            Some(app::ask(to, file, patience, *end == app::LATE))
        }
        _ => None,
    }
}

/// Whether this machine has what the judge needs, asked without Ringway, so that a `ringway iptables` that fails is a failure.
fn allowed() -> Result<(), String> {
    let script = "ip link set lo up && for t in iptables ip6tables; do \
                  $t -t nat -A OUTPUT -p tcp -m owner --uid-owner 1337 -j REDIRECT --to-ports 1 && \
                  $t -t mangle -A PREROUTING -p tcp -m socket --transparent -m conntrack --ctdir REPLY -j MARK --set-mark 1 && \
                  $t -t mangle -A PREROUTING -p tcp -j CONNMARK --set-mark 1 && \
                  $t -t mangle -A PREROUTING -p tcp -m mark --mark 1 -j TPROXY --on-port 1 && \
                  $t -t raw -A PREROUTING -p tcp -m string --algo bm --string x || exit 1; done; \
                  setpriv --version && curl --version && openssl version";
    let tried = Command::new("unshare").args(["--net", "--", "sh", "-c", script]).stdin(Stdio::null()).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
            Err(format!(
                "no network namespaces with iptables here ({said}): they want root, iptables, iproute2, curl and openssl (`cargo xtask setup`), \
                 and xt_owner, xt_REDIRECT, xt_TPROXY, xt_socket, xt_mark, xt_connmark, xt_conntrack and xt_string in the kernel"
            ))
        }
        Err(e) => Err(format!("no `unshare` on this machine: {e}")),
    }
}

fn judge(bench: &Bench) -> Result<String, String> {
    let folder = Readable::new()?;
    let mut connections = 0;
    let modes = modes(bench);
    for &mode in modes {
        let install = install(bench.kind, mode, &folder.0)?;
        connections += judge_mode(bench, &install).map_err(|why| format!("{}: {why}", mode.name()))?;
    }
    let modes = modes.iter().map(|mode| mode.name()).collect::<Vec<_>>().join(" and ");
    Ok(format!(
        "{connections} connections by {modes}, IPv4 and IPv6: right, once through each sidecar, mTLS in the mesh"
    ))
}

/// A folder that user 1337 can read, which a checkout need not be; removed when dropped.
#[derive(Debug)]
struct Readable(PathBuf);

impl Readable {
    fn new() -> Result<Readable, String> {
        let folder = std::env::temp_dir().join(format!("ringway-netns-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        Ok(Readable(folder))
    }
}

impl Drop for Readable {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// Puts the proxy, its configuration and its certificates there.
fn install(kind: Kind, mode: Mode, folder: &Path) -> Result<Install, String> {
    let (program, client) = (folder.join("proxy"), folder.join("xtask"));
    if !program.exists() {
        let from = if kind == Kind::Envoy { setup::envoy_path() } else { workspace::ringway() };
        let own = std::env::current_exe().map_err(|e| format!("no name of the own program: {e}"))?;
        for (from, to) in [(&from, &program), (&own, &client)] {
            std::fs::copy(from, to).map_err(|e| format!("cannot copy {}: {e}", from.display()))?;
        }
        certificates(folder)?;
    }
    let example = workspace::root().join("docs/deploy/sidecar-config.yaml");
    let text = std::fs::read_to_string(&example).map_err(|e| format!("{}: {e}", example.display()))?;
    let mut changes = vec![
        ("/etc/ringway/tls/", format!("{}/", folder.display())),
        // The server that speaks first is waited for so long, and a client that a busy host holds up.
        ("listener_filters_timeout: 1s", "listener_filters_timeout: 3s".to_owned()),
    ];
    if mode == Mode::Tproxy {
        changes.push(("traffic_direction: INBOUND", "traffic_direction: INBOUND\n    transparent: true".to_owned()));
    }
    let mut text = text;
    for (from, to) in &changes {
        if !text.contains(from) {
            return Err(format!("{} has no {from}", example.display()));
        }
        text = text.replace(from, to);
    }
    let file = folder.join(format!("{}.yaml", mode.name()));
    std::fs::write(&file, text).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    Ok(Install { kind, mode, folder: folder.to_owned(), program, file, client })
}

/// An authority and a certificate of the example's trust domain, for both sidecars.
fn certificates(folder: &Path) -> Result<(), String> {
    let script = "set -e; cd \"$0\"; new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'\n\
                  openssl req -x509 $new -keyout ca.key -out ca.pem -subj /CN=authority -days 2\n\
                  openssl req $new -keyout key.pem -out request.pem -subj /CN=sidecar\n\
                  printf 'subjectAltName=URI:spiffe://mesh.example/sidecar\\nextendedKeyUsage=serverAuth,clientAuth\\n' >extensions\n\
                  openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem\n\
                  chmod 644 *.pem";
    let mut sh = Command::new("sh");
    sh.args(["-c", script]).arg(folder);
    let outcome = command::run(sh, OPENSSL_LIMIT, command::Echo::Nothing)?;
    if outcome.success { Ok(()) } else { Err(format!("openssl: {}", outcome.lines.join("\n"))) }
}

fn judge_mode(bench: &Bench, install: &Install) -> Result<u64, String> {
    let hosts = Host::pair()?;
    let [client, server] = &hosts;
    for host in &hosts {
        rules::watch_the_wire(host)?;
    }
    let before = [rules::state(client)?, rules::state(server)?];
    let logs = Logs { folder: &bench.folder, mode: install.mode };
    let applications = world::applications(&hosts, install, logs)?;
    let held = Held::start(&hosts, install, logs)?;
    rules::load(client, install, &["--exclude-outbound-ports", "9091,9092"])?;
    rules::load(server, install, &["--exclude-inbound-ports", "15021,9090,9092"])?;
    held.end()?;
    let mut world = World::start(&hosts, install, logs, applications)?;
    let connections = world.judge(bench.count).map_err(|why| format!("{why}\n{}", world.log_tails()))?;
    drop(world);
    for (host, before) in hosts.iter().zip(before) {
        rules::iptables(host, install, &["--clean"])?;
        let after = rules::state(host)?;
        if after != before {
            return Err(format!("--clean did not restore what was there:\n{before}\n-- now:\n{after}"));
        }
    }
    Ok(connections)
}
