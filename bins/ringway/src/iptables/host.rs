//! The programs that know this host's rules: `iptables-save`, `iptables-restore` and `ip`, and what their errors mean.
//!
//! Decides nothing: says what is there, and takes what was planned. An error names the program, what it said, the line of ours that it
//! said it of, and what to do.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use super::options::Backend;
use super::plan::Family;

/// What could not be done, and what to do about it.
pub(crate) type Problem = String;

/// How long another run of iptables is waited for, in seconds: loads of ten thousand rules take one.
const LOCK_WAIT_S: &str = "30";

/// Capability 12: who may change a network (capability.h).
const CAP_NET_ADMIN: u32 = 12;

/// `iptables-restore` and what it is called with, for one family.
pub(crate) fn restore_words(backend: Backend, family: Family) -> [String; 4] {
    [program(backend, family, "restore"), "--noflush".to_owned(), "--wait".to_owned(), LOCK_WAIT_S.to_owned()]
}

/// What `iptables-save` prints.
///
/// # Errors
/// It is not there, or failed.
pub(crate) fn save(backend: Backend, family: Family) -> Result<String, Problem> {
    let program = program(backend, family, "save");
    let output = run(&program, &[], "")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(&program, &output, ""))
}

/// Gives a script to `iptables-restore`; with `test` it is tried and not put in force.
///
/// # Errors
/// It is not there, or refused the script.
pub(crate) fn restore(backend: Backend, family: Family, script: &str, test: bool) -> Result<(), Problem> {
    let words = restore_words(backend, family);
    let mut arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    arguments.extend(test.then_some("--test"));
    let output = run(&words[0], &arguments, script)?;
    if output.status.success() { Ok(()) } else { Err(failed(&words[0], &output, script)) }
}

/// Runs a line of `ip`.
///
/// # Errors
/// It is not there, or failed.
pub(crate) fn ip(line: &str) -> Result<(), Problem> {
    let output = run_line(line)?;
    if output.status.success() { Ok(()) } else { Err(failed(line, &output, "")) }
}

/// What a question to `ip` is answered; nothing where it fails, as for a table without routes.
///
/// # Errors
/// There is no `ip`.
pub(crate) fn ask(line: &str) -> Result<String, Problem> {
    let output = run_line(line)?;
    let answered = if output.status.success() { output.stdout } else { Vec::new() };
    Ok(String::from_utf8_lossy(&answered).into_owned())
}

/// Whether this host has IPv6 at all: without an interface that speaks it there is nothing to capture.
pub(crate) fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|interfaces| !interfaces.trim().is_empty())
}

fn program(backend: Backend, family: Family, what: &str) -> String {
    let name = match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    match backend {
        Backend::Auto => format!("{name}-{what}"),
        Backend::Nft => format!("{name}-nft-{what}"),
        Backend::Legacy => format!("{name}-legacy-{what}"),
    }
}

fn run_line(line: &str) -> Result<Output, Problem> {
    let words: Vec<&str> = line.split(' ').collect();
    run(words[0], &words[1..], "")
}

fn run(program: &str, arguments: &[&str], input: &str) -> Result<Output, Problem> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let package = if program == "ip" { "iproute2" } else { "iptables" };
            format!("there is no `{program}` on this host's PATH: install {package} (apt-get install {package})")
        }
        _ => format!("`{program}` cannot be run: {error}"),
    })?;
    // A program that ends before it has read everything says why itself.
    let _unread = child.stdin.take().expect("it was asked for").write_all(input.as_bytes());
    child.wait_with_output().map_err(|error| format!("`{program}` cannot be waited for: {error}"))
}

fn failed(what: &str, output: &Output, script: &str) -> Problem {
    let said = String::from_utf8_lossy(&output.stderr);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    explain(what, &said, script, may_change_networks(&status))
}

/// The error as a sentence: what said it, of which line, and what to do.
fn explain(what: &str, said: &str, script: &str, allowed: bool) -> Problem {
    let line = number_after(said, "line ").and_then(|number| script.lines().nth(number.checked_sub(1)?));
    let mut text = format!("{what}: {}", said.split_whitespace().collect::<Vec<_>>().join(" "));
    if let Some(line) = line {
        text.push_str(&format!("; the line: {line}"));
    }
    if !allowed {
        text.push_str("; to do: this process lacks CAP_NET_ADMIN: run it as root, in Kubernetes in an init container with NET_ADMIN");
    } else if lacks_a_module(said) {
        let modules = modules(line.unwrap_or_default());
        text.push_str(&format!(
            "; to do: the kernel lacks what it wants ({modules}): load it on the host itself (modprobe), or try the other --backend"
        ));
        if what.starts_with("ip6") {
            text.push_str(", or leave IPv6 out (--no-ipv6)");
        }
    }
    text
}

/// Whether a program says that the kernel does not know something.
fn lacks_a_module(said: &str) -> bool {
    [
        "missing kernel module",
        "does not exist",
        "No chain/target/match",
        "RULE_APPEND failed",
        "CHAIN_ADD failed",
        "Couldn't load",
    ]
    .iter()
    .any(|sign| said.contains(sign))
}

/// The modules that a line of ours may want.
fn modules(line: &str) -> &'static str {
    let wants: &[(&str, &str)] = &[
        ("TPROXY", "xt_TPROXY"),
        ("-m socket", "xt_socket"),
        ("CONNMARK", "xt_connmark"),
        ("-m conntrack", "xt_conntrack"),
        ("-m owner", "xt_owner"),
        ("-j REDIRECT", "xt_REDIRECT"),
        ("-j MARK", "xt_mark"),
        ("-m mark", "xt_mark"),
    ];
    wants
        .iter()
        .find(|(word, _)| line.contains(word))
        .map_or("iptable_nat and iptable_mangle, or nft_compat", |(_, module)| module)
}

fn number_after(text: &str, word: &str) -> Option<usize> {
    let rest = &text[text.find(word)? + word.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

/// Whether /proc/self/status says that CAP_NET_ADMIN is effective.
fn may_change_networks(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    effective.is_none_or(|set| set & (1 << CAP_NET_ADMIN) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &str, script: &str, allowed: bool, parts: &[&str]) {
        let text = explain("ip6tables-restore", said, script, allowed);
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn an_error_names_its_line_and_what_to_do() {
        let script = "*nat\n:X - [0:0]\n-A X -m owner --uid-owner 1 -j RETURN\nCOMMIT\n";
        let legacy = "ip6tables-restore: line 3 failed\nip6tables: No chain/target/match by that name.";
        check(legacy, script, true, &["-A X -m owner", "xt_owner", "modprobe", "--no-ipv6"]);
        let nft = "ip6tables-restore v1.8.9 (nf_tables): \nline 1: TABLE_ADD failed: table does not exist";
        check(nft, script, true, &["the line: *nat", "nft_compat", "--backend"]);
        check("Fatal: Permission denied (you must be root)", script, false, &["CAP_NET_ADMIN", "init container"]);
        check("line 99 is odd", script, true, &["line 99 is odd"]);
    }

    #[test]
    fn capabilities_are_read() {
        assert!(may_change_networks("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(may_change_networks("CapEff:\t0000000000001000\n"));
        assert!(!may_change_networks("CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000000\n"));
        assert!(may_change_networks(""));
    }
}
