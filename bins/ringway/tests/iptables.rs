//! `ringway iptables` with a host's programs played by scripts: what is run and in which order, and what is said when one fails.
//!
//! The rules themselves are judged where they work, in network namespaces (`cargo xtask judge netns`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::common;
use crate::common::process::TempDir;

/// A folder that is a host's whole PATH. Each program writes its words into `log`, and answers what a file of its name says.
struct Host {
    dir: TempDir,
    /// One at a time: a script that another test's child has inherited half written cannot be run (ETXTBSY).
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Host {
    /// A host with these programs.
    fn with(programs: &[&str]) -> Host {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = TempDir::new();
        let here = dir.0.display();
        for program in programs {
            let script = format!(
                "#!/bin/sh\nPATH=/usr/bin:/bin\nset -- {program} \"$@\"\necho \"$*\" >>{here}/log\n\
                 case \"$1\" in *-restore) cat >>{here}/scripts;; esac\n\
                 [ ! -f \"{here}/$*.fails\" ] || {{ cat \"{here}/$*.fails\" >&2; exit 1; }}\n\
                 [ ! -f \"{here}/$1.says\" ] || cat \"{here}/$1.says\"\n"
            );
            let path = dir.0.join(program);
            fs::write(&path, script).expect("a script");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        }
        Host { dir, _alone: alone }
    }

    /// A host with all of them.
    fn whole() -> Host {
        Host::with(&["iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore", "ip"])
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command.arg("iptables").args(line.split_whitespace()).env("PATH", &self.dir.0);
        command.output().expect("the binary runs")
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir.0.join(name)).unwrap_or_default()
    }

    /// This program, called so, fails and says this.
    fn fails(&self, words: &str, said: &str) {
        fs::write(self.dir.0.join(format!("{words}.fails")), said).expect("a file");
    }
}

/// Runs it; the exit code, and parts of what it prints.
#[track_caller]
fn check(host: &Host, line: &str, code: i32, out: &[&str], err: &[&str]) {
    let output = host.run(line);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{line}: {stdout}{stderr}");
    for (text, parts) in [(&stdout, out), (&stderr, err)] {
        assert_eq!(text.is_empty(), parts.is_empty(), "{line}: {text}");
        for part in parts {
            assert!(text.contains(part), "{line}: no {part:?} in:\n{text}");
        }
    }
}

#[test]
fn a_dry_run_prints_a_script_and_asks_nobody() {
    let host = Host::whole();
    let parts =
        ["#!/bin/sh", "iptables-restore --noflush", "ip6tables-restore --noflush", "--to-ports 15001", "::6/128"];
    check(&host, "--dry-run", 0, &parts, &[]);
    check(&host, "--dry-run --clean --backend nft", 0, &["iptables-nft-restore", "-X RINGWAY_OUTPUT"], &[]);
    assert_eq!(host.file("log"), "");
}

#[test]
fn all_is_asked_then_tried_then_done() {
    let host = Host::whole();
    check(&host, "--no-ipv6 --mode tproxy", 0, &["IPv6 left as it is", "rules for IPv4: loaded"], &[]);
    let expect = "\
iptables-save
ip -4 rule show
ip -4 route show table 133
ip -4 address show dev lo
iptables-restore --noflush --wait 30 --test
ip -4 route add local default dev lo table 133
ip -4 rule add fwmark 0x539 lookup 133
iptables-restore --noflush --wait 30
";
    assert_eq!(host.file("log"), expect);
    let scripts = host.file("scripts");
    assert_eq!(scripts.matches("*mangle\n").count(), 2, "the one that is tried and the one that is loaded: {scripts}");
}

#[test]
fn where_nothing_is_ours_nothing_is_removed() {
    let host = Host::with(&["iptables-save"]);
    check(&host, "--no-ipv6 --clean", 0, &["nothing of ours was there"], &[]);
    assert_eq!(host.file("log"), "iptables-save\n");
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    check(&Host::with(&[]), "", 1, &[], &["`iptables-save`", "apt-get install iptables"]);
    check(&Host::with(&["iptables-save"]), "--no-ipv6 --backend legacy", 1, &[], &["`iptables-legacy-save`"]);
    let host = Host::with(&["iptables-save", "iptables-restore"]);
    check(&host, "--no-ipv6 --mode tproxy", 1, &[], &["`ip`", "apt-get install iproute2"]);
}

#[test]
fn what_the_kernel_refuses_changes_nothing() {
    let host = Host::whole();
    let words = "iptables-restore --noflush --wait 30 --test";
    host.fails(words, "iptables-restore: line 14 failed\niptables: No chain/target/match by that name.\n");
    let line = host.run("--no-ipv6");
    assert_eq!(line.status.code(), Some(1));
    let said = String::from_utf8_lossy(&line.stderr).into_owned();
    // Without the capability that is the reason; with it, the kernel is.
    assert!(said.contains("the line: -A ") && said.contains("to do: "), "{said}");
    assert!(host.file("log").ends_with(&format!("{words}\n")), "{}", host.file("log"));
}

#[test]
fn one_family_that_cannot_be_loaded_holds_back_the_other() {
    if fs::read_to_string("/proc/net/if_inet6").is_ok_and(|interfaces| !interfaces.trim().is_empty()) {
        let host = Host::whole();
        host.fails("ip6tables-restore --noflush --wait 30 --test", "ip6tables-restore: line 1 failed\n");
        check(&host, "", 1, &[], &["ip6tables-restore: ", "the line: *nat"]);
        assert!(!host.file("log").contains("iptables-restore --noflush --wait 30\n"), "{}", host.file("log"));
    } else {
        common::skip("no IPv6 on this host");
    }
}

#[test]
fn options_are_refused_by_name() {
    let host = Host::with(&[]);
    check(&host, "--exclude-inbound-ports 0", 1, &[], &["--exclude-inbound-ports", "0 is no port"]);
    check(&host, "--exclude-outbound-ranges 10.0.0.1/8", 1, &[], &["10.0.0.0/8"]);
    check(&host, "--proxy-uid= --proxy-gid=", 1, &[], &["come back to it"]);
    check(&host, "--help", 0, &["--include-outbound-ranges", "docs/deploy/SIDECAR.md"], &[]);
}
