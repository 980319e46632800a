//! The rules of a transparent sidecar, as a function of the options.
//!
//! Runs nothing and reads nothing: what is already there comes in as [`Present`]. All chains are ours by name, and all that is done
//! to a chain of somebody else's is one jump into ours. A script for `iptables-restore --noflush` says a table's whole change, which the
//! kernel takes at one instant or not at all, and leaves the same rules whatever an earlier run has left.
//!
//! What must never happen, and what prevents it:
//! the proxy's own connections coming back to it (by owner); those of its inbound side to the application coming back (by their
//! source, [`Family::passthrough`], or because they lead to the loopback network); a connection that was there before the rules being cut (it keeps its
//! socket); anybody reaching the application around the proxy (by the end of a handshake that the proxy began).

use std::fmt::Write as _;

use super::options::{Capture, Mode, Options, Range};

/// One of the two; each has tables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The loopback network: what leads there never leaves its owner.
    fn loopback(self) -> &'static str {
        match self {
            Family::V4 => "127.0.0.0/8",
            Family::V6 => "::1/128",
        }
    }

    /// The source from which the proxy's inbound side talks to the application at its own address: Istio's, so that clusters written for
    /// it (`InboundPassthroughClusterIpv4`, `upstream_bind_config`) are let through. The first is on every host; [`Step`]s add the second.
    pub(crate) fn passthrough(self) -> &'static str {
        match self {
            Family::V4 => "127.0.0.6/32",
            Family::V6 => "::6/128",
        }
    }

    fn has(self, range: Range) -> bool {
        range.is_ipv6() == (self == Family::V6)
    }
}

/// A chain of ours and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    name: &'static str,
    rules: Vec<String>,
}

/// A jump from a chain of the kernel's into one of ours: where, of which packets, and where to.
type Jump = (&'static str, &'static str, &'static str);

/// The start of a connection. Where nobody asked for connection tracking before our rules, it takes the next packet of every connection
/// for its first one: such a packet must not be redirected, or the rules would cut what was there before them.
const START: &str = "-p tcp --syn";
/// All of it.
const ALL: &str = "-p tcp";

/// One table of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    chains: Vec<Chain>,
    jumps: Vec<Jump>,
}

/// One family's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    nat: Table,
    mangle: Table,
}

const INBOUND: &str = "RINGWAY_INBOUND";
const OUTPUT: &str = "RINGWAY_OUTPUT";
const IN_REDIRECT: &str = "RINGWAY_IN_REDIRECT";
const REDIRECT: &str = "RINGWAY_REDIRECT";
const DIVERT: &str = "RINGWAY_DIVERT";
const TPROXY: &str = "RINGWAY_TPROXY";

/// Every name of a chain that any options lead to: what else is there is somebody else's.
const OURS: [&str; 6] = [INBOUND, OUTPUT, IN_REDIRECT, REDIRECT, DIVERT, TPROXY];

/// The tables that any options lead to.
const TABLES: [&str; 2] = ["mangle", "nat"];

/// The rules that these options ask for in one family.
pub(crate) fn plan(options: &Options, family: Family) -> Rules {
    let mut rules = Rules::default();
    let inbound = !options.inbound.is_nothing();
    if inbound {
        match options.mode {
            Mode::Redirect => redirect_inbound(options, &mut rules.nat),
            Mode::Tproxy => tproxy_inbound(options, family, &mut rules.mangle),
        }
    }
    output(options, family, inbound, &mut rules.nat);
    rules
}

/// Inbound by REDIRECT: which ports, and where to.
fn redirect_inbound(options: &Options, nat: &mut Table) {
    nat.jumps.push(("PREROUTING", START, INBOUND));
    nat.chains.push(Chain { name: INBOUND, rules: inbound_ports(options, IN_REDIRECT) });
    let to = format!("-p tcp -j REDIRECT --to-ports {}", options.inbound_port);
    nat.chains.push(Chain { name: IN_REDIRECT, rules: vec![to] });
}

/// Inbound by TPROXY. Packets whose socket is the proxy's are only marked, so that they are routed to it whatever their address; what
/// answers a connection that began here, and what belongs to one from before the rules, keeps the socket that it has; the rest gets the
/// proxy's listener. A connection that got it is marked, too: the end of its handshake must not find the application's listener where
/// the proxy's answered by a SYN cookie, which is no socket yet.
fn tproxy_inbound(options: &Options, family: Family, mangle: &mut Table) {
    let (mark, own) = (mark(options.mark), mark(options.mark + 1));
    mangle.jumps.extend([("PREROUTING", ALL, INBOUND), ("OUTPUT", ALL, OUTPUT)]);
    let mut rules = vec![
        format!("-p tcp -m socket --transparent -j {DIVERT}"),
        "-m conntrack --ctdir REPLY -j RETURN".to_owned(),
        format!("-p tcp ! --syn -m connmark ! --mark {mark} -m socket -j RETURN"),
        // The application's connections to itself are its own affair, but not the proxy's to a service that is here, too.
        format!("-i lo -m mark ! --mark {own} -j RETURN"),
    ];
    rules.extend(inbound_ports(options, TPROXY));
    mangle.chains.push(Chain { name: INBOUND, rules });
    let divert = vec![format!("-j MARK --set-xmark {mark}"), "-j ACCEPT".to_owned()];
    mangle.chains.push(Chain { name: DIVERT, rules: divert });
    let others = format!("! -d {} -p tcp", family.loopback());
    let tproxy = vec![
        format!("{others} -j CONNMARK --set-xmark {mark}"),
        format!("{others} -j TPROXY --on-port {} --tproxy-mark {mark}", options.inbound_port),
    ];
    mangle.chains.push(Chain { name: TPROXY, rules: tproxy });
    let mut output = vec![format!("-s {} -j RETURN", family.passthrough())];
    output.extend(own_to_here(options, family).map(|who| format!("{who} -j MARK --set-xmark {own}")));
    mangle.chains.push(Chain { name: OUTPUT, rules: output });
}

/// Which ports are captured inbound.
fn inbound_ports(options: &Options, to: &str) -> Vec<String> {
    let mut rules: Vec<String> = dports(&options.exclude_inbound_ports, "RETURN").collect();
    match &options.inbound {
        Capture::All => rules.push(format!("-p tcp -j {to}")),
        Capture::Only(ports) => rules.extend(dports(ports, to)),
    }
    rules
}

/// Outbound, always by REDIRECT.
fn output(options: &Options, family: Family, inbound: bool, nat: &mut Table) {
    let mut rules = vec![format!("-s {} -o lo -j RETURN", family.passthrough())];
    // The proxy calls a service whose endpoint is here: as from elsewhere, by the inbound side. With TPROXY the mark does that.
    if inbound && options.mode == Mode::Redirect {
        rules.extend(own_to_here(options, family).map(|who| format!("{who} -p tcp -j {INBOUND}")));
    }
    rules.push("-o lo -j RETURN".to_owned());
    rules.extend(owners(options).map(|owner| format!("{owner} -j RETURN")));
    rules.extend(dports(&options.exclude_outbound_ports, "RETURN"));
    let excluded = options.exclude_outbound_ranges.iter().filter(|range| family.has(**range));
    rules.extend(excluded.map(|range| format!("-d {range} -j RETURN")));
    rules.extend(dports(&options.include_outbound_ports, REDIRECT));
    match &options.outbound {
        Capture::All => rules.push(format!("-p tcp -j {REDIRECT}")),
        Capture::Only(ranges) => {
            let ranges = ranges.iter().filter(|range| family.has(**range));
            rules.extend(ranges.map(|range| format!("-d {range} -p tcp -j {REDIRECT}")));
        }
    }
    nat.jumps.push(("OUTPUT", START, OUTPUT));
    nat.chains.push(Chain { name: OUTPUT, rules });
    let to = format!("-p tcp -j REDIRECT --to-ports {}", options.outbound_port);
    nat.chains.push(Chain { name: REDIRECT, rules: vec![to] });
}

/// The proxy's own connections to an address of this host that is not the loopback network's.
fn own_to_here(options: &Options, family: Family) -> impl Iterator<Item = String> {
    let loopback = family.loopback();
    proxy_owners(options).map(move |owner| format!("! -d {loopback} -o lo {owner}"))
}

fn proxy_owners(options: &Options) -> impl Iterator<Item = String> {
    let uids = options.proxy_uids.iter().map(|uid| format!("-m owner --uid-owner {uid}"));
    uids.chain(options.proxy_gids.iter().map(|gid| format!("-m owner --gid-owner {gid}")))
}

/// Whose connections go out as they are.
fn owners(options: &Options) -> impl Iterator<Item = String> {
    let uids = options.exclude_uids.iter().map(|uid| format!("-m owner --uid-owner {uid}"));
    let gids = options.exclude_gids.iter().map(|gid| format!("-m owner --gid-owner {gid}"));
    proxy_owners(options).chain(uids).chain(gids)
}

fn dports(ports: &[u16], to: &str) -> impl Iterator<Item = String> {
    ports.iter().map(move |port| format!("-p tcp -m tcp --dport {port} -j {to}"))
}

fn mark(mark: u32) -> String {
    format!("{mark:#x}/0xffffffff")
}

/// What is there of ours in one family's tables, as `iptables-save` says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Present {
    /// Table and chain.
    chains: Vec<(&'static str, &'static str)>,
    /// Table and rule, from `OUTPUT -p tcp -j RINGWAY_OUTPUT` on.
    jumps: Vec<(&'static str, String)>,
}

impl Present {
    /// What `iptables-save` printed, read for what is ours.
    pub(crate) fn read(saved: &str) -> Present {
        let mut present = Present::default();
        let mut table = None;
        for line in saved.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = TABLES.into_iter().find(|table| *table == name.trim());
                continue;
            }
            let Some(table) = table else { continue };
            if let Some(chain) = line.strip_prefix(':') {
                let name = chain.split(' ').next().unwrap_or_default();
                present.chains.extend(OURS.into_iter().find(|ours| *ours == name).map(|ours| (table, ours)));
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let from = rule.split(' ').next().unwrap_or_default();
                let to = target(rule);
                if !OURS.contains(&from) && OURS.contains(&to) {
                    present.jumps.push((table, rule.trim_end().to_owned()));
                }
            }
        }
        present
    }

    /// What these rules leave.
    pub(crate) fn of(rules: &Rules) -> Present {
        let mut present = Present::default();
        for (name, table) in rules.tables() {
            present.chains.extend(table.chains.iter().map(|chain| (name, chain.name)));
            present.jumps.extend(table.jumps.iter().map(|jump| (name, rule_of(*jump))));
        }
        present
    }

    fn in_table<'p>(
        &'p self,
        table: &'p str,
    ) -> (impl Iterator<Item = &'static str> + 'p, impl Iterator<Item = &'p str> + 'p) {
        let chains = self.chains.iter().filter(move |(name, _)| *name == table).map(|(_, chain)| *chain);
        let jumps = self.jumps.iter().filter(move |(name, _)| *name == table).map(|(_, rule)| rule.as_str());
        (chains, jumps)
    }
}

/// Where a rule leads, by -j or -g.
fn target(rule: &str) -> &str {
    let mut words = rule.split_whitespace();
    while let Some(word) = words.next() {
        if matches!(word, "-j" | "-g") {
            return words.next().unwrap_or_default();
        }
    }
    ""
}

fn rule_of((hook, packets, chain): Jump) -> String {
    format!("{hook} {packets} -j {chain}")
}

impl Rules {
    fn tables(&self) -> [(&'static str, &Table); 2] {
        [(TABLES[0], &self.mangle), (TABLES[1], &self.nat)]
    }

    /// The text for `iptables-restore --noflush` that puts these rules in the place of what is there; empty if there is nothing to do.
    /// Without rules it removes what is there.
    pub(crate) fn script(&self, present: &Present) -> String {
        let mut text = String::new();
        for (name, table) in self.tables() {
            let (there, jumps) = present.in_table(name);
            let wanted = |chain: &str| table.chains.iter().any(|wanted| wanted.name == chain);
            let gone: Vec<&str> = there.filter(|chain| !wanted(chain)).collect();
            let jumps: Vec<&str> = jumps.collect();
            if table.chains.is_empty() && gone.is_empty() && jumps.is_empty() {
                continue;
            }
            let mut line = |line: std::fmt::Arguments<'_>| {
                text.write_fmt(line).expect("writing to a string");
                text.push('\n');
            };
            line(format_args!("*{name}"));
            // Naming a chain makes it, or empties it where it is.
            for chain in table.chains.iter().map(|chain| chain.name).chain(gone.iter().copied()) {
                line(format_args!(":{chain} - [0:0]"));
            }
            jumps.iter().for_each(|jump| line(format_args!("-D {jump}")));
            for chain in &table.chains {
                chain.rules.iter().for_each(|rule| line(format_args!("-A {} {rule}", chain.name)));
            }
            table.jumps.iter().for_each(|jump| line(format_args!("-A {}", rule_of(*jump))));
            gone.iter().for_each(|chain| line(format_args!("-X {chain}")));
            line(format_args!("COMMIT"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::options;
    use super::*;

    /// The whole script of options on a host with nothing of ours.
    #[track_caller]
    fn check(line: &str, family: Family, expect: &str) {
        let found = plan(&options(line), family).script(&Present::default());
        let expect: String = expect.trim().lines().map(|line| format!("{}\n", line.trim())).collect();
        assert_eq!(found, expect, "{line}:\n{found}");
    }

    /// The rules of one chain.
    #[track_caller]
    fn check_chain(line: &str, family: Family, chain: &str, expect: &[&str]) {
        let script = plan(&options(line), family).script(&Present::default());
        let prefix = format!("-A {chain} ");
        let found: Vec<&str> = script.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
        assert_eq!(found, expect, "{line}");
    }

    #[test]
    fn by_default_everything_is_redirected() {
        check(
            "",
            Family::V4,
            "*nat
            :RINGWAY_INBOUND - [0:0]
            :RINGWAY_IN_REDIRECT - [0:0]
            :RINGWAY_OUTPUT - [0:0]
            :RINGWAY_REDIRECT - [0:0]
            -A RINGWAY_INBOUND -p tcp -j RINGWAY_IN_REDIRECT
            -A RINGWAY_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
            -A RINGWAY_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN
            -A RINGWAY_OUTPUT ! -d 127.0.0.0/8 -o lo -m owner --uid-owner 1337 -p tcp -j RINGWAY_INBOUND
            -A RINGWAY_OUTPUT ! -d 127.0.0.0/8 -o lo -m owner --gid-owner 1337 -p tcp -j RINGWAY_INBOUND
            -A RINGWAY_OUTPUT -o lo -j RETURN
            -A RINGWAY_OUTPUT -m owner --uid-owner 1337 -j RETURN
            -A RINGWAY_OUTPUT -m owner --gid-owner 1337 -j RETURN
            -A RINGWAY_OUTPUT -p tcp -j RINGWAY_REDIRECT
            -A RINGWAY_REDIRECT -p tcp -j REDIRECT --to-ports 15001
            -A PREROUTING -p tcp --syn -j RINGWAY_INBOUND
            -A OUTPUT -p tcp --syn -j RINGWAY_OUTPUT
            COMMIT",
        );
    }

    #[test]
    fn tproxy_marks_and_leaves_the_addresses_alone() {
        check(
            "--mode tproxy --proxy-gid= --inbound-port 16006",
            Family::V6,
            "*mangle
            :RINGWAY_INBOUND - [0:0]
            :RINGWAY_DIVERT - [0:0]
            :RINGWAY_TPROXY - [0:0]
            :RINGWAY_OUTPUT - [0:0]
            -A RINGWAY_INBOUND -p tcp -m socket --transparent -j RINGWAY_DIVERT
            -A RINGWAY_INBOUND -m conntrack --ctdir REPLY -j RETURN
            -A RINGWAY_INBOUND -p tcp ! --syn -m connmark ! --mark 0x539/0xffffffff -m socket -j RETURN
            -A RINGWAY_INBOUND -i lo -m mark ! --mark 0x53a/0xffffffff -j RETURN
            -A RINGWAY_INBOUND -p tcp -j RINGWAY_TPROXY
            -A RINGWAY_DIVERT -j MARK --set-xmark 0x539/0xffffffff
            -A RINGWAY_DIVERT -j ACCEPT
            -A RINGWAY_TPROXY ! -d ::1/128 -p tcp -j CONNMARK --set-xmark 0x539/0xffffffff
            -A RINGWAY_TPROXY ! -d ::1/128 -p tcp -j TPROXY --on-port 16006 --tproxy-mark 0x539/0xffffffff
            -A RINGWAY_OUTPUT -s ::6/128 -j RETURN
            -A RINGWAY_OUTPUT ! -d ::1/128 -o lo -m owner --uid-owner 1337 -j MARK --set-xmark 0x53a/0xffffffff
            -A PREROUTING -p tcp -j RINGWAY_INBOUND
            -A OUTPUT -p tcp -j RINGWAY_OUTPUT
            COMMIT
            *nat
            :RINGWAY_OUTPUT - [0:0]
            :RINGWAY_REDIRECT - [0:0]
            -A RINGWAY_OUTPUT -s ::6/128 -o lo -j RETURN
            -A RINGWAY_OUTPUT -o lo -j RETURN
            -A RINGWAY_OUTPUT -m owner --uid-owner 1337 -j RETURN
            -A RINGWAY_OUTPUT -p tcp -j RINGWAY_REDIRECT
            -A RINGWAY_REDIRECT -p tcp -j REDIRECT --to-ports 15001
            -A OUTPUT -p tcp --syn -j RINGWAY_OUTPUT
            COMMIT",
        );
    }

    #[test]
    fn excluded_ports_come_before_included_ones() {
        let line = "--exclude-inbound-ports 22,15021 --include-inbound-ports 80,22";
        let expect = [
            "-p tcp -m tcp --dport 22 -j RETURN",
            "-p tcp -m tcp --dport 15021 -j RETURN",
            "-p tcp -m tcp --dport 80 -j RINGWAY_IN_REDIRECT",
            "-p tcp -m tcp --dport 22 -j RINGWAY_IN_REDIRECT",
        ];
        check_chain(line, Family::V4, INBOUND, &expect);
    }

    #[test]
    fn each_family_gets_its_own_ranges() {
        let line = "--include-outbound-ranges 10.0.0.0/8,fd00::/8 --exclude-outbound-ranges 10.9.0.0/16 \
                    --exclude-outbound-ports 25 --include-outbound-ports 443 --exclude-uids 0 --exclude-gids admin --proxy-gid=";
        let rules = |loopback: &str, source: &str, ranges: &[&str], redirected: &str| -> Vec<String> {
            let mut rules = vec![
                format!("-s {source} -o lo -j RETURN"),
                format!("! -d {loopback} -o lo -m owner --uid-owner 1337 -p tcp -j RINGWAY_INBOUND"),
                "-o lo -j RETURN".to_owned(),
                "-m owner --uid-owner 1337 -j RETURN".to_owned(),
                "-m owner --uid-owner 0 -j RETURN".to_owned(),
                "-m owner --gid-owner admin -j RETURN".to_owned(),
                "-p tcp -m tcp --dport 25 -j RETURN".to_owned(),
            ];
            rules.extend(ranges.iter().map(|range| format!("-d {range} -j RETURN")));
            rules.push("-p tcp -m tcp --dport 443 -j RINGWAY_REDIRECT".to_owned());
            rules.push(format!("-d {redirected} -p tcp -j RINGWAY_REDIRECT"));
            rules
        };
        let v4 = rules("127.0.0.0/8", "127.0.0.6/32", &["10.9.0.0/16"], "10.0.0.0/8");
        let v6 = rules("::1/128", "::6/128", &[], "fd00::/8");
        for (family, expect) in [(Family::V4, v4), (Family::V6, v6)] {
            let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
            check_chain(line, family, OUTPUT, &expect);
        }
    }

    #[test]
    fn without_inbound_ports_nothing_is_done_inbound() {
        for mode in ["redirect", "tproxy"] {
            let rules = plan(&options(&format!("--include-inbound-ports= --mode {mode}")), Family::V4);
            let script = rules.script(&Present::default());
            assert!(!script.contains("INBOUND") && !script.contains("mangle"), "{script}");
        }
    }

    /// What a host with rules of others and of an earlier run says; the jump is there twice, as a run that was not ours might leave it.
    const SAVED: &str = "\
# Generated by iptables-save
*filter
:INPUT ACCEPT [0:0]
:RINGWAY_OUTPUT - [0:0]
COMMIT
*nat
:PREROUTING ACCEPT [1:60]
:OUTPUT ACCEPT [0:0]
:KUBE_SERVICES - [0:0]
:RINGWAY_MINE - [0:0]
:RINGWAY_OUTPUT - [0:0]
:RINGWAY_INBOUND - [0:0]
-A PREROUTING -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j RINGWAY_INBOUND
-A PREROUTING -j KUBE_SERVICES
-A OUTPUT -p tcp -j RINGWAY_OUTPUT
-A OUTPUT -d 10.0.0.1/32 -p tcp -j RINGWAY_OUTPUT
-A OUTPUT -j RINGWAY_MINE
-A RINGWAY_OUTPUT -p tcp -j RINGWAY_INBOUND
COMMIT
";

    #[test]
    fn what_is_ours_is_removed_and_nothing_else() {
        let script = Rules::default().script(&Present::read(SAVED));
        let expect = "\
*nat
:RINGWAY_OUTPUT - [0:0]
:RINGWAY_INBOUND - [0:0]
-D PREROUTING -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j RINGWAY_INBOUND
-D OUTPUT -p tcp -j RINGWAY_OUTPUT
-D OUTPUT -d 10.0.0.1/32 -p tcp -j RINGWAY_OUTPUT
-X RINGWAY_OUTPUT
-X RINGWAY_INBOUND
COMMIT
";
        assert_eq!(script, expect);
        assert_eq!(Rules::default().script(&Present::default()), "");
    }

    #[test]
    fn an_earlier_run_is_replaced() {
        let rules = plan(&options("--mode tproxy"), Family::V4);
        let script = rules.script(&Present::read(SAVED));
        let nat = script.split_once("*nat\n").expect("a nat table").1;
        assert!(
            nat.starts_with(
                ":RINGWAY_OUTPUT - [0:0]\n:RINGWAY_REDIRECT - [0:0]\n:RINGWAY_INBOUND - [0:0]\n-D PREROUTING"
            ),
            "{nat}"
        );
        assert!(nat.ends_with("-A OUTPUT -p tcp --syn -j RINGWAY_OUTPUT\n-X RINGWAY_INBOUND\nCOMMIT\n"), "{nat}");
    }

    /// `--clean --dry-run` shows what the same options without it would have left.
    #[test]
    fn what_rules_leave_is_what_is_removed() {
        let present = Present::of(&plan(&options("--mode tproxy"), Family::V4));
        let script = Rules::default().script(&present);
        for line in
            ["-D PREROUTING -p tcp -j RINGWAY_INBOUND", "-X RINGWAY_TPROXY", "-D OUTPUT -p tcp -j RINGWAY_OUTPUT"]
        {
            assert!(script.contains(line), "{script}");
        }
    }
}
