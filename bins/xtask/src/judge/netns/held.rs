//! Connections from before the rules, in both directions and families: what is loaded meanwhile must not touch them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::app;
use super::sidecar::{Install, Logs};
use super::world::{BODIES, body};
use crate::lab::host::{Host, Program, User};
use crate::lab::pace::wait_for;

/// A connection is made, and its answer is there, within this, also on a busy host.
const LIMIT: Duration = Duration::from_secs(60);

/// Clients that hold their connections.
#[derive(Debug)]
pub(super) struct Held {
    clients: Vec<(Program, PathBuf, Vec<u8>)>,
    go: PathBuf,
}

impl Held {
    /// Connects from each host to the other, in each family.
    pub(super) fn start(hosts: &[Host; 2], install: &Install, logs: Logs<'_>) -> Result<Held, String> {
        let (file, go) = (install.body(BODIES[1]), install.folder.join(format!("go-{}", install.mode.name())));
        let mut clients = Vec::new();
        for (from, to) in [(0, 1), (1, 0)] {
            for ipv6 in [false, true] {
                let log = logs.of(&format!("held-{from}-{ipv6}"));
                let address = SocketAddr::new(hosts[to].address(ipv6), app::ECHO).to_string();
                let words = ["part", "netns-holder", &address, &file.to_string_lossy(), &go.to_string_lossy()];
                let client = hosts[from].start(User::Root, &install.client, &words, &log)?;
                let mut expect = format!("{}\n", app::READY).into_bytes();
                wait_for("a connection from before the rules", LIMIT, || {
                    (std::fs::read(&log).ok()? == expect).then_some(())
                })?;
                expect.extend(app::answer(hosts[from].address(ipv6), &body(BODIES[1])));
                clients.push((client, log, expect));
            }
        }
        Ok(Held { clients, go })
    }

    /// Lets them go on; each must have its whole answer.
    pub(super) fn end(mut self) -> Result<(), String> {
        std::fs::write(&self.go, "").map_err(|e| format!("cannot write {}: {e}", self.go.display()))?;
        for (client, log, expect) in &mut self.clients {
            wait_for("the end of a connection from before the rules", LIMIT, || client.has_ended().then_some(()))?;
            let said = std::fs::read(&*log).unwrap_or_default();
            if said != *expect {
                let text = String::from_utf8_lossy(&said);
                let last = text.lines().last().unwrap_or_default();
                return Err(format!("the rules cut a connection from before them ({}): {last}", log.display()));
            }
        }
        Ok(())
    }
}
