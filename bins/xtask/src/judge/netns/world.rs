//! Two hosts with all that runs on them, and what is asked across.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use super::app;
use super::case::{CASES, Case, Counts, Source, accepted, made};
use super::rules::{MARK, seen_on_the_wire};
use super::sidecar::{Install, Logs, PROXY, Sidecar, Stats};
use crate::lab::host::{Host, Program, User};
use crate::lab::pace::wait_for;
use crate::lab::proxy::Kind;

/// A body in one piece and in many.
pub(super) const BODIES: [usize; 2] = [1_000, 300_000];
/// How long a client waits for its answer, in seconds, and where nobody should answer.
const PATIENCE: &str = "60";
const NOBODY: &str = "1";
/// The application listens within this.
const APPLICATION_LIMIT: Duration = Duration::from_secs(60);
/// A loop would make connections until ports or descriptors end; this is enough to see one.
const END_LIMIT: Duration = Duration::from_secs(30);

/// All that runs while a mode is judged.
#[derive(Debug)]
pub(super) struct World<'h> {
    client: &'h Host,
    server: &'h Host,
    install: &'h Install,
    logs: Logs<'h>,
    client_sidecar: Sidecar<'h>,
    server_sidecar: Sidecar<'h>,
    _applications: [Program; 2],
    /// What was counted last, so that each case is held against what was before it.
    counted: Counts,
}

/// One of the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }
}

/// Starts the applications, and writes what clients will send.
pub(super) fn applications(hosts: &[Host; 2], install: &Install, logs: Logs<'_>) -> Result<[Program; 2], String> {
    for size in BODIES {
        let file = install.body(size);
        std::fs::write(&file, body(size)).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    }
    let start = |host: &Host, name: &str| {
        let log = logs.of(name);
        let addresses = [false, true].map(|ipv6| host.address(ipv6).to_string());
        let words = ["part", "netns-application", &addresses[0], &addresses[1]];
        let program = host.start(User::Root, &install.client, &words, &log)?;
        let ready = || std::fs::read_to_string(&log).is_ok_and(|said| said.contains(app::READY)).then_some(());
        wait_for("the application", APPLICATION_LIMIT, ready)?;
        Ok::<Program, String>(program)
    };
    Ok([start(&hosts[0], "client-application")?, start(&hosts[1], "server-application")?])
}

impl<'h> World<'h> {
    /// Starts the sidecars of two hosts whose rules are in force.
    pub(super) fn start(
        hosts: &'h [Host; 2],
        install: &'h Install,
        logs: Logs<'h>,
        applications: [Program; 2],
    ) -> Result<World<'h>, String> {
        let [client, server] = hosts;
        let client_sidecar = Sidecar::start(client, install, &logs.of("client"))?;
        let server_sidecar = Sidecar::start(server, install, &logs.of("server"))?;
        let counted = Counts { client: Stats::default(), server: Stats::default(), wire: 0 };
        Ok(World {
            client,
            server,
            install,
            logs,
            client_sidecar,
            server_sidecar,
            _applications: applications,
            counted,
        })
    }

    /// All that is held of a mode; how many connections that were.
    pub(super) fn judge(&mut self, count: u64) -> Result<u64, String> {
        self.count()?;
        let mut connections = 0;
        for case in &CASES {
            connections += self.case(case, count)?;
        }
        connections += self.own_addresses()?;
        connections += self.own_ports()?;
        connections += self.cookies()?;
        for side in [Side::Server, Side::Client] {
            connections += self.restart(side)?;
        }
        Ok(connections)
    }

    /// The last lines of both logs. What was counted last stays in the judge's folder.
    pub(super) fn log_tails(&self) -> String {
        for (name, stats) in [("client-stats", &self.counted.client), ("server-stats", &self.counted.server)] {
            let text: String = stats.iter().map(|(name, count)| format!("{name}: {count}\n")).collect();
            let _shown = std::fs::write(self.logs.of(name), text);
        }
        let [client, server] = [&self.client_sidecar, &self.server_sidecar].map(Sidecar::log_tail);
        format!("-- the client's sidecar:\n{client}\n-- the server's sidecar:\n{server}")
    }

    /// Counts anew; what was before, and what is now.
    fn count(&mut self) -> Result<(Counts, &Counts), String> {
        let now = Counts {
            client: self.client_sidecar.stats()?,
            server: self.server_sidecar.stats()?,
            wire: seen_on_the_wire(self.server)?,
        };
        let before = std::mem::replace(&mut self.counted, now);
        Ok((before, &self.counted))
    }

    /// Sends a body of this size as this user from a host, and gives the whole answer.
    fn ask(&self, from: &Host, user: User, to: SocketAddr, size: usize, patience: &str) -> Result<Vec<u8>, String> {
        let file = self.install.body(size).to_string_lossy().into_owned();
        let to_text = to.to_string();
        let output = if to.port() == app::HTTP {
            let mut curl = from.command(user, Path::new("curl"));
            curl.args(["-sSf", "--max-time", patience, "--noproxy", "*", "-H", "Expect:"]);
            curl.args(["--data-binary", &format!("@{file}"), &format!("http://{to_text}/")]).output()
        } else {
            let end = if self.install.kind == Kind::Envoy { app::LATE } else { app::EARLY };
            let mut client = from.command(user, &self.install.client);
            client.args(["part", "netns-client", &to_text, &file, patience, end]).output()
        };
        let output = output.map_err(|e| format!("cannot start a client: {e}"))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// Sends a body of each size and compares the answer; how many connections that were.
    fn right(&self, from: &Host, user: User, to: SocketAddr, source: IpAddr) -> Result<u64, String> {
        for size in BODIES {
            let answer = self.ask(from, user, to, size, PATIENCE).map_err(|why| format!("to {to}: {why}"))?;
            let expect = app::answer(source, &body(size));
            if answer != expect {
                let line = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned();
                let at = answer.iter().zip(&expect).take_while(|(one, other)| one == other).count();
                return Err(format!(
                    "to {to}: {} bytes for {}, different from byte {at} on; first line {:?} for {:?}",
                    answer.len(),
                    expect.len(),
                    line(&answer),
                    line(&expect)
                ));
            }
        }
        Ok(BODIES.len() as u64)
    }

    /// One case in both families, `times` times.
    fn case(&mut self, case: &Case, times: u64) -> Result<u64, String> {
        let wrong = |why: String| format!("{}: {why}", case.name);
        let mut asked = 0;
        for _ in 0..times {
            for ipv6 in [false, true] {
                let source = if case.source == Source::Client { self.client.address(ipv6) } else { passthrough(ipv6) };
                let to = SocketAddr::new(self.server.address(ipv6), case.port);
                asked += self.right(self.client, User::Root, to, source).map_err(wrong)?;
            }
        }
        let (before, after) = self.count()?;
        case.judge(asked, &before, after).map_err(wrong)?;
        Ok(asked)
    }

    /// Connections to the own host: the application's are nobody's business, the proxy's are captured inbound, once.
    fn own_addresses(&mut self) -> Result<u64, String> {
        let mut all = 0;
        for user in [User::Root, User::Id(PROXY)] {
            let mut asked = 0;
            for ipv6 in [false, true] {
                let own = self.server.address(ipv6);
                let source = if user == User::Root { own } else { passthrough(ipv6) };
                let asking = self.right(self.server, user, SocketAddr::new(own, app::ECHO), source);
                asked += asking.map_err(|why| format!("{user:?} to the own host: {why}"))?;
            }
            let captured = if user == User::Root { 0 } else { asked };
            let (before, after) = self.count()?;
            let accepted = accepted(&after.server) - accepted(&before.server);
            if accepted != captured {
                return Err(format!(
                    "{user:?} to the own host: {accepted} of {asked} connections captured, not {captured}"
                ));
            }
            all += asked;
        }
        Ok(all)
    }

    /// Connections to the ports of the proxy itself: they end, and lead to nobody.
    fn own_ports(&mut self) -> Result<u64, String> {
        let mut all = 0;
        for ipv6 in [false, true] {
            let loopback: IpAddr = if ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
            let other = self.server.address(ipv6);
            let ways = [
                (self.client, User::Id(PROXY), SocketAddr::new(other, 15006)),
                (self.client, User::Root, SocketAddr::new(loopback, 15001)),
                (self.server, User::Root, SocketAddr::new(other, 15006)),
            ];
            for (from, user, to) in ways {
                let began = Instant::now();
                let answer = self.ask(from, user, to, BODIES[0], PATIENCE).unwrap_or_default();
                if !answer.is_empty() || began.elapsed() > END_LIMIT {
                    return Err(format!("{to}, the proxy's own port: {} bytes, {:?}", answer.len(), began.elapsed()));
                }
                all += 1;
            }
        }
        let (before, after) = self.count()?;
        let made = made(&after.client) + made(&after.server) - made(&before.client) - made(&before.server);
        if made > 0 { Err(format!("{all} connections to the proxy's own ports led to {made} others")) } else { Ok(all) }
    }

    /// SYN cookies for each connection: the end of a handshake has no socket, and must not find the application's listener for one. It
    /// would take it once it has sent cookies itself, as it does for the first of these.
    fn cookies(&mut self) -> Result<u64, String> {
        self.server.must("sh", &["-c", "echo 2 >/proc/sys/net/ipv4/tcp_syncookies"])?;
        self.case(&CASES[1], 2).map_err(|why| format!("with SYN cookies: {why}"))
    }

    /// A sidecar is killed: nothing gets through. It is started again: everything does.
    fn restart(&mut self, side: Side) -> Result<u64, String> {
        let (name, log) = (side.name(), self.logs.of(side.name()));
        let host = match side {
            Side::Client => self.client,
            Side::Server => self.server,
        };
        self.sidecar(side).kill();
        let to = SocketAddr::new(self.server.address(false), app::ECHO);
        let answer = self.ask(self.client, User::Root, to, BODIES[0], NOBODY).unwrap_or_default();
        if !answer.is_empty() {
            return Err(format!("without the {name}'s sidecar {} bytes came back", answer.len()));
        }
        *self.sidecar(side) = Sidecar::start(host, self.install, &log)?;
        // Not counted: what the client's sidecar still tries for the connection above may arrive now (a SYN that TPROXY had dropped).
        let mut all = 1;
        for case in &CASES[..2] {
            for ipv6 in [false, true] {
                let to = SocketAddr::new(self.server.address(ipv6), case.port);
                let again = self.right(self.client, User::Root, to, passthrough(ipv6));
                all += again.map_err(|why| format!("the {name}'s sidecar was killed and started again: {why}"))?;
            }
        }
        Ok(all)
    }

    fn sidecar(&mut self, side: Side) -> &mut Sidecar<'h> {
        match side {
            Side::Client => &mut self.client_sidecar,
            Side::Server => &mut self.server_sidecar,
        }
    }
}

fn passthrough(ipv6: bool) -> IpAddr {
    let text = if ipv6 { "::6" } else { "127.0.0.6" };
    text.parse().expect("an address")
}

/// A body of this size, whose lines say where they are.
pub(super) fn body(size: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(size + 64);
    let mut line = 0;
    while body.len() < size {
        body.extend_from_slice(format!("{MARK} {line:08}\n").as_bytes());
        line += 1;
    }
    body.truncate(size);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_as_long_as_asked_and_has_the_mark() {
        let body = body(1_000);
        assert_eq!(body.len(), 1_000);
        assert!(body.starts_with(b"RINGWAY-PLAINTEXT 00000000\nRINGWAY-PLAINTEXT 00000001\n"));
    }
}
