//! Hosts of a judge's own: network namespaces joined by a pair of virtual interfaces, in which programs are started.
//!
//! Wants root. A namespace has no name: it lives as long as a process that waits in it, and that waits for the end of a pipe which is
//! ours, so that nothing remains of it however we end. Nothing outside is touched.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::pace::wait_for;

/// A host: a network namespace with a loopback interface and `eth0`.
#[derive(Debug)]
pub(crate) struct Host {
    /// Waits in the namespace, and keeps it.
    keeper: Child,
    /// Its addresses on `eth0`.
    pub(crate) v4: Ipv4Addr,
    /// Likewise.
    pub(crate) v6: Ipv6Addr,
}

/// Who a program on a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// uid 0, with all capabilities.
    Root,
    /// uid and gid, without capabilities.
    Id(u32),
    /// uid and gid, with CAP_NET_RAW.
    IdWithNetRaw(u32),
}

/// A namespace is there within this, also on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);

impl Host {
    /// Two hosts whose `eth0` are joined, one hop from each other.
    pub(crate) fn pair() -> Result<[Host; 2], String> {
        let hosts = [Host::new(1)?, Host::new(2)?];
        let [one, other] = &hosts;
        let peer = other.keeper.id().to_string();
        one.must("ip", &["link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", &peer])?;
        for host in &hosts {
            host.must("ip", &["address", "add", &format!("{}/24", host.v4), "dev", "eth0"])?;
            host.must("ip", &["address", "add", &format!("{}/64", host.v6), "dev", "eth0", "nodad"])?;
            host.must("ip", &["link", "set", "lo", "up"])?;
            host.must("ip", &["link", "set", "eth0", "up"])?;
        }
        Ok(hosts)
    }

    /// A host with the addresses of this number (RFC 5737, RFC 3849).
    fn new(number: u8) -> Result<Host, String> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let keeper = command.spawn().map_err(|e| format!("no `unshare` on this machine: {e}"))?;
        let id = keeper.id();
        let (v4, v6) = (Ipv4Addr::new(192, 0, 2, number), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()));
        let mut host = Host { keeper, v4, v6 };
        let own = std::fs::read_link("/proc/self/ns/net").ok();
        wait_for("a network namespace (this wants root)", START_LIMIT, || {
            let there = std::fs::read_link(format!("/proc/{id}/ns/net")).ok();
            let ended = host.keeper.try_wait().ok().flatten().is_some();
            if ended { Some(false) } else { (there.is_some() && there != own).then_some(true) }
        })
        .and_then(|there| {
            if there { Ok(host) } else { Err("no network namespace can be made: this wants root".into()) }
        })
    }

    /// Its address in one of the families.
    pub(crate) fn address(&self, ipv6: bool) -> IpAddr {
        if ipv6 { self.v6.into() } else { self.v4.into() }
    }

    /// A program on this host.
    pub(crate) fn command(&self, user: User, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.keeper.id())).arg("--");
        if let User::Id(id) | User::IdWithNetRaw(id) = user {
            let id = id.to_string();
            command.args(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]);
        }
        if let User::IdWithNetRaw(_) = user {
            command.args(["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"]);
        }
        command.arg(program).stdin(Stdio::null());
        command
    }

    /// Starts a program on this host, its output in a file. It ends when dropped.
    pub(crate) fn start(&self, user: User, program: &Path, arguments: &[&str], log: &Path) -> Result<Program, String> {
        let wrong = |e| format!("cannot write {}: {e}", log.display());
        let out = File::options().append(true).create(true).open(log).map_err(wrong)?;
        let err = out.try_clone().map_err(wrong)?;
        let mut command = self.command(user, program);
        command.args(arguments).stdout(out).stderr(err);
        let child = command.spawn().map_err(|e| format!("cannot start {command:?}: {e}"))?;
        Ok(Program { child })
    }

    /// Runs a program of root's to its end.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Result<Output, String> {
        let mut command = self.command(User::Root, Path::new(program));
        command.args(arguments).output().map_err(|e| format!("cannot start {program}: {e}"))
    }

    /// What a program prints that must succeed.
    pub(crate) fn must(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = self.run(program, arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Its pipe ends with it; what was started here has been ended by its own drop.
        let _ended = self.keeper.kill().and_then(|()| self.keeper.wait());
    }
}

/// A running program on a host.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
