//! A network of a judge's own, whose packets it may lose: a network namespace and nftables in it.
//!
//! Needs root, or whatever else lets `unshare` and `nft` through; a judge asks [`allowed`] and says what it leaves out.
//! Nothing outside the namespace is ever touched, and the kernel removes it with its last process.

use std::process::{Command, Stdio};

/// Whether a namespace with packet faults can be had here; if not, why.
pub(crate) fn allowed() -> Result<(), String> {
    let script = "ip link set lo up && nft add table inet faults";
    let tried = Command::new("unshare").args(["--net", "--", "sh", "-c", script]).stdin(Stdio::null()).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().lines().next().unwrap_or_default().to_owned();
            Err(format!("no network namespace with nftables ({said}); `cargo xtask setup` as root installs both"))
        }
        Err(e) => Err(format!("no `unshare` on this machine: {e}")),
    }
}

/// A program that is to run in a fresh namespace.
pub(crate) fn inside(program: &std::path::Path) -> Command {
    let mut command = Command::new("unshare");
    command.arg("--net").arg("--").arg(program);
    command
}

/// Starts the loopback interface of the namespace that this process is in, and an empty table of faults.
pub(crate) fn prepare() -> Result<(), String> {
    run("ip", &["link", "set", "lo", "up"])?;
    // Input and not output: what is dropped on output is an error of the sender's own call, which no network gives.
    nft("add table inet faults; add chain inet faults arriving { type filter hook input priority 0; }")
}

/// What happens to packets of TCP from or to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// All arrive.
    None,
    /// So many of 100 are lost.
    Lose(u8),
    /// So many of 100 are answered by a reset.
    Reset(u8),
    /// What is beyond so many KiB per second is lost.
    Limit(u32),
    /// None arrives.
    Dark,
}

impl Fault {
    fn rules(self, port: u16) -> String {
        let verdict = match self {
            Fault::None => return String::new(),
            Fault::Lose(percent) => format!("numgen random mod 100 < {percent} drop"),
            Fault::Reset(percent) => format!("numgen random mod 100 < {percent} reject with tcp reset"),
            Fault::Limit(rate) => format!("limit rate over {rate} kbytes/second drop"),
            Fault::Dark => "drop".to_owned(),
        };
        ["dport", "sport"].map(|end| format!("add rule inet faults arriving tcp {end} {port} {verdict}; ")).concat()
    }
}

/// Replaces all faults by these, each of one port.
pub(crate) fn set(faults: &[(u16, Fault)]) -> Result<(), String> {
    let rules: String = faults.iter().map(|(port, fault)| fault.rules(*port)).collect();
    nft(&format!("flush chain inet faults arriving; {rules}"))
}

fn nft(script: &str) -> Result<(), String> {
    run("nft", &[script])
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("no `{program}` on this machine: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_a_rule_for_each_direction() {
        assert_eq!(Fault::None.rules(7), "");
        let rules = Fault::Reset(3).rules(7);
        assert!(rules.contains("tcp dport 7 numgen random mod 100 < 3 reject with tcp reset; "), "{rules}");
        assert!(rules.contains("tcp sport 7 numgen"), "{rules}");
    }
}
