//! The rules of a host as the judge sees them: put in force twice, compared, and a count of packets beside them.

use super::sidecar::{Install, Mode};
use crate::lab::host::Host;
use crate::workspace;

/// What is found on the wire where it is not encrypted.
pub(super) const MARK: &str = "RINGWAY-PLAINTEXT";

/// A rule of somebody else's in each table, and counters of packets that show what is sent.
pub(super) fn watch_the_wire(host: &Host) -> Result<(), String> {
    for program in ["iptables", "ip6tables"] {
        for chain in [["PREROUTING", "-i"], ["OUTPUT", "-o"]] {
            let [chain, interface] = chain;
            let rule = [
                "-t", "raw", "-A", chain, interface, "eth0", "-p", "tcp", "-m", "string", "--algo", "bm", "--string",
                MARK,
            ];
            host.must(program, &rule)?;
        }
        host.must(program, &["-t", "nat", "-A", "OUTPUT", "-p", "udp", "-j", "ACCEPT"])?;
        host.must(program, &["-t", "mangle", "-N", "SOMEBODY"])?;
    }
    Ok(())
}

/// How many packets of a host's `eth0` had [`MARK`] in them so far.
pub(super) fn seen_on_the_wire(host: &Host) -> Result<u64, String> {
    let mut seen = 0;
    for program in ["iptables-save", "ip6tables-save"] {
        let saved = host.must(program, &["-c", "-t", "raw"])?;
        let counts =
            saved.lines().filter(|line| line.contains(MARK)).filter_map(|line| line.strip_prefix('[')?.split_once(':'));
        seen += counts.filter_map(|(packets, _)| packets.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(seen)
}

/// Everything that `ringway iptables` may change on a host, as text.
pub(super) fn state(host: &Host) -> Result<String, String> {
    let mut state = String::new();
    for program in ["iptables-save", "ip6tables-save"] {
        let saved = host.must(program, &[])?;
        let own = |line: &&str| line.starts_with("-A") || (line.starts_with(':') && line.contains(" - "));
        state
            .extend(saved.lines().filter(own).map(|line| format!("{}\n", line.split(" [").next().unwrap_or_default())));
    }
    for question in [
        "-4 rule show",
        "-6 rule show",
        "-4 route show table all",
        "-6 route show table all",
        "-6 -o address show dev lo",
    ] {
        let said = host.must("ip", &question.split(' ').collect::<Vec<_>>())?;
        // Of all tables that of the marked; the kernel's own change by themselves.
        let own = |line: &&str| !question.contains("table all") || line.contains(" table 133");
        state.extend(said.lines().filter(own).map(|line| format!("{line}\n")));
    }
    Ok(state)
}

/// Puts the rules in force, twice: the second time changes nothing.
pub(super) fn load(host: &Host, install: &Install, options: &[&str]) -> Result<(), String> {
    iptables(host, install, options)?;
    let once = state(host)?;
    iptables(host, install, options)?;
    let twice = state(host)?;
    if once != twice {
        return Err(format!("a second run of the same rules changes them:\n{once}\n-- now:\n{twice}"));
    }
    if once.contains("RINGWAY_TPROXY") != (install.mode == Mode::Tproxy) {
        return Err(format!("the rules are not those of {}:\n{once}", install.mode.name()));
    }
    Ok(())
}

/// Runs `ringway iptables` on a host.
pub(super) fn iptables(host: &Host, install: &Install, options: &[&str]) -> Result<String, String> {
    let arguments = [&["iptables", "--mode", install.mode.name()], options].concat();
    // Ringway's, also when Envoy is to be judged.
    host.must(&workspace::ringway().to_string_lossy(), &arguments)
}
