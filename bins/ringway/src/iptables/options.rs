//! What `ringway iptables` can be told: which connections are captured, where they are sent, and who is let through.
//!
//! Reads arguments and nothing else. What is here has been checked one by one: a port is no 0, a range has no bits beside its
//! prefix, a list of one family's ranges holds no other's. Defaults are Istio's (tools/istio-iptables), so that what was written for its init
//! container works here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

/// What is to be done with the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Put them in force, in place of those of an earlier run.
    Load,
    /// `--clean`: remove them.
    Clean,
}

/// How inbound connections come to the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The destination is rewritten; the proxy asks for the original one (SO_ORIGINAL_DST).
    #[default]
    Redirect,
    /// Nothing is rewritten; the proxy's socket is transparent (IP_TRANSPARENT) and its own address is the original one.
    Tproxy,
}

/// Which programs of the same iptables: a host may have both, and a rule belongs to one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Backend {
    /// What the host calls `iptables`.
    #[default]
    Auto,
    /// `iptables-nft`.
    Nft,
    /// `iptables-legacy`.
    Legacy,
}

/// All, or these alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Capture<T> {
    /// `*`.
    All,
    /// A list; an empty one is nothing.
    Only(Vec<T>),
}

impl<T> Capture<T> {
    /// Whether nothing is captured.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Capture::Only(list) if list.is_empty())
    }
}

/// A range of addresses, as CIDR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    address: IpAddr,
    prefix: u8,
}

impl Range {
    /// Whether its addresses are IPv6.
    pub(crate) fn is_ipv6(&self) -> bool {
        self.address.is_ipv6()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A user or a group: a number, or a name that this host knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner(String);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All that the rules depend on.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// `--mode`.
    pub(crate) mode: Mode,
    /// `--inbound-port`: where the proxy takes what others send to this host.
    pub(crate) inbound_port: u16,
    /// `--outbound-port`: where the proxy takes what this host sends to others.
    pub(crate) outbound_port: u16,
    /// `--proxy-uid`: users whose connections are the proxy's own.
    pub(crate) proxy_uids: Vec<Owner>,
    /// `--proxy-gid`: the same by group.
    pub(crate) proxy_gids: Vec<Owner>,
    /// `--include-inbound-ports`.
    pub(crate) inbound: Capture<u16>,
    /// `--exclude-inbound-ports`.
    pub(crate) exclude_inbound_ports: Vec<u16>,
    /// `--include-outbound-ports`: captured whatever the range.
    pub(crate) include_outbound_ports: Vec<u16>,
    /// `--exclude-outbound-ports`.
    pub(crate) exclude_outbound_ports: Vec<u16>,
    /// `--include-outbound-ranges`.
    pub(crate) outbound: Capture<Range>,
    /// `--exclude-outbound-ranges`.
    pub(crate) exclude_outbound_ranges: Vec<Range>,
    /// `--exclude-uids`.
    pub(crate) exclude_uids: Vec<Owner>,
    /// `--exclude-gids`.
    pub(crate) exclude_gids: Vec<Owner>,
    /// `--mark`: of packets that are for a transparent socket; the next number marks the proxy's own to this host.
    pub(crate) mark: u32,
    /// `--route-table`: where marked packets are routed.
    pub(crate) route_table: u32,
    /// Whether IPv6 is captured, too; not with `--no-ipv6`.
    pub(crate) ipv6: bool,
    /// `--backend`.
    pub(crate) backend: Backend,
}

/// One run of `ringway iptables`.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// What is to be done.
    pub(crate) action: Action,
    /// `--dry-run`: print it instead.
    pub(crate) dry_run: bool,
    /// The rules.
    pub(crate) options: Options,
}

/// Istio's ports, owner, mark and table (tools/istio-iptables/pkg/constants).
const INBOUND_PORT: &str = "15006";
const OUTBOUND_PORT: &str = "15001";
const PROXY_ID: &str = "1337";
const MARK: &str = "1337";
const ROUTE_TABLE: &str = "133";

/// The largest table number before those that the kernel has for itself (253 to 255) as long as numbers are bytes; larger ones are others' business.
const ROUTE_TABLE_MAX: i64 = 252;

/// The subcommand as clap wants it.
pub(crate) fn command() -> Command {
    Command::new("iptables")
        .about("Send this host's connections through the proxy: write iptables rules for a transparent sidecar")
        .after_help("Run again, it replaces its own rules. Wants CAP_NET_ADMIN; docs/deploy/SIDECAR.md explains the rules.")
        .args([
            switch("dry-run", "Print what would be run, as a shell script, and change nothing"),
            switch("clean", "Remove the rules"),
            value("mode", "redirect|tproxy", "How inbound connections come to the proxy; tproxy keeps both addresses and wants a transparent listener")
                .value_parser(["redirect", "tproxy"])
                .default_value("redirect"),
            port("inbound-port", INBOUND_PORT, "The proxy's port for what others send to this host"),
            port("outbound-port", OUTBOUND_PORT, "The proxy's port for what this host sends to others"),
            list("proxy-uid", "UIDS", "Users whose connections are the proxy's own, numbers or names").default_value(PROXY_ID).value_parser(owners),
            list("proxy-gid", "GIDS", "Groups whose connections are the proxy's own").default_value(PROXY_ID).value_parser(owners),
            list("include-inbound-ports", "*|PORTS", "Captured inbound; empty: none").default_value("*").value_parser(capture::<Port>),
            list("exclude-inbound-ports", "PORTS", "Not captured inbound, with *").value_parser(several::<Port>),
            list("include-outbound-ports", "PORTS", "Captured outbound, whatever the range").value_parser(several::<Port>),
            list("exclude-outbound-ports", "PORTS", "Not captured outbound").value_parser(several::<Port>),
            list("include-outbound-ranges", "*|CIDRS", "Captured outbound, IPv4 and IPv6; empty: none").default_value("*").value_parser(capture::<Range>),
            list("exclude-outbound-ranges", "CIDRS", "Not captured outbound, IPv4 and IPv6").value_parser(several::<Range>),
            list("exclude-uids", "UIDS", "Users whose connections are not captured").value_parser(owners),
            list("exclude-gids", "GIDS", "Groups whose connections are not captured").value_parser(owners),
            value("mark", "N", "tproxy: the mark of packets for transparent sockets; N+1 marks the proxy's own to this host")
                .default_value(MARK)
                .value_parser(value_parser!(u32).range(1..i64::from(u32::MAX))),
            value("route-table", "N", "tproxy: the table that routes marked packets")
                .default_value(ROUTE_TABLE)
                .value_parser(value_parser!(u32).range(1..=ROUTE_TABLE_MAX)),
            switch("no-ipv6", "Leave IPv6 as it is"),
            value("backend", "auto|nft|legacy", "Which iptables: the host's own, or one by name")
                .value_parser(["auto", "nft", "legacy"])
                .default_value("auto"),
        ])
}

/// What these arguments say.
///
/// # Errors
/// What they may not say together.
pub(crate) fn read(matches: &ArgMatches) -> Result<Run, String> {
    fn all<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
        matches.get_one::<Vec<T>>(name).cloned().unwrap_or_default()
    }
    fn one<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> T {
        matches.get_one::<T>(name).cloned().expect("it has a default")
    }
    let ports = |name| all::<Port>(matches, name).into_iter().map(|port| port.0).collect::<Vec<u16>>();
    let word = |name| one::<String>(matches, name);
    let options = Options {
        mode: if word("mode") == "tproxy" { Mode::Tproxy } else { Mode::Redirect },
        inbound_port: one(matches, "inbound-port"),
        outbound_port: one(matches, "outbound-port"),
        proxy_uids: all(matches, "proxy-uid"),
        proxy_gids: all(matches, "proxy-gid"),
        inbound: match one::<Capture<Port>>(matches, "include-inbound-ports") {
            Capture::All => Capture::All,
            Capture::Only(ports) => Capture::Only(ports.into_iter().map(|port| port.0).collect()),
        },
        exclude_inbound_ports: ports("exclude-inbound-ports"),
        include_outbound_ports: ports("include-outbound-ports"),
        exclude_outbound_ports: ports("exclude-outbound-ports"),
        outbound: one(matches, "include-outbound-ranges"),
        exclude_outbound_ranges: all(matches, "exclude-outbound-ranges"),
        exclude_uids: all(matches, "exclude-uids"),
        exclude_gids: all(matches, "exclude-gids"),
        mark: one(matches, "mark"),
        route_table: one(matches, "route-table"),
        ipv6: !matches.get_flag("no-ipv6"),
        backend: match word("backend").as_str() {
            "nft" => Backend::Nft,
            "legacy" => Backend::Legacy,
            _ => Backend::Auto,
        },
    };
    if options.proxy_uids.is_empty() && options.proxy_gids.is_empty() {
        return Err(
            "--proxy-uid and --proxy-gid are both empty: the proxy's own connections would come back to it".into()
        );
    }
    let action = if matches.get_flag("clean") { Action::Clean } else { Action::Load };
    Ok(Run { action, dry_run: matches.get_flag("dry-run"), options })
}

fn value(name: &'static str, shape: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(shape).help(help)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn port(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    value(name, "PORT", help).default_value(default).value_parser(value_parser!(u16).range(1..))
}

/// A list with commas, which may be empty.
fn list(name: &'static str, shape: &'static str, help: &'static str) -> Arg {
    value(name, shape, help)
}

/// A port as an item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Port(u16);

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Port, String> {
        match text.parse() {
            Ok(port) if port > 0 => Ok(Port(port)),
            _ => Err(format!("{text} is no port: a number from 1 to 65535")),
        }
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Range, String> {
        let wrong = || format!("{text} is no range of addresses, such as 10.0.0.0/8 or fd00::/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            // Digits alone: `+8` is a number to Rust and nothing to iptables.
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => prefix.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
            None => bits,
        };
        if prefix > bits {
            return Err(format!("{text}: the prefix has at most {bits} bits"));
        }
        let first = first_of(address, prefix);
        if first != address {
            return Err(format!("{text} has bits beside its prefix: {first}/{prefix}, or one address alone?"));
        }
        Ok(Range { address, prefix })
    }
}

/// The first address of the range that this one is in.
fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)).into()),
        IpAddr::V6(v6) => {
            IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)).into())
        }
    }
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Owner, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if text.is_empty() || text.starts_with('-') || !text.bytes().all(fits) {
            return Err(format!("{text:?} is no user or group: a number or a name"));
        }
        Ok(Owner(text.to_owned()))
    }
}

fn several<T: FromStr<Err = String>>(text: &str) -> Result<Vec<T>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|item| item.trim().parse()).collect()
}

fn owners(text: &str) -> Result<Vec<Owner>, String> {
    several(text)
}

fn capture<T: FromStr<Err = String>>(text: &str) -> Result<Capture<T>, String> {
    if text.trim() == "*" { Ok(Capture::All) } else { several(text).map(Capture::Only) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The options of a command line.
    #[track_caller]
    pub(in crate::iptables) fn options(line: &str) -> Options {
        run(line).expect(line).options
    }

    fn run(line: &str) -> Result<Run, String> {
        let words = std::iter::once("iptables").chain(line.split_whitespace());
        read(&command().try_get_matches_from(words).map_err(|error| error.to_string())?)
    }

    #[track_caller]
    fn refused(line: &str, words: &[&str]) {
        let error = run(line).expect_err(line);
        for word in words {
            assert!(error.contains(word), "{line}: no {word:?} in {error}");
        }
    }

    #[test]
    fn the_defaults_are_istios() {
        let options = options("");
        assert_eq!((options.inbound_port, options.outbound_port), (15006, 15001));
        assert_eq!((options.mark, options.route_table, options.ipv6), (1337, 133, true));
        assert_eq!((options.mode, options.backend), (Mode::Redirect, Backend::Auto));
        assert_eq!((options.inbound, options.outbound), (Capture::All, Capture::All));
        assert_eq!(options.proxy_uids, [Owner("1337".to_owned())]);
        let run = run("--clean --dry-run").expect("both");
        assert_eq!((run.action, run.dry_run), (Action::Clean, true));
    }

    #[test]
    fn lists_are_read() {
        let options = options(concat!(
            "--exclude-inbound-ports 22,15021 --include-inbound-ports= --include-outbound-ranges 10.0.0.0/8,fd00::/8,1.2.3.4 ",
            "--exclude-outbound-ranges=::/0 --exclude-uids 0,ringway --proxy-gid= --no-ipv6 --mode tproxy --backend legacy"
        ));
        assert_eq!(options.exclude_inbound_ports, [22, 15021]);
        assert!(options.inbound.is_nothing() && options.proxy_gids.is_empty() && !options.ipv6);
        let Capture::Only(ranges) = options.outbound else { panic!("ranges") };
        let shown: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "fd00::/8", "1.2.3.4/32"]);
        assert_eq!(options.exclude_outbound_ranges[0].to_string(), "::/0");
        assert_eq!(options.exclude_uids[1].to_string(), "ringway");
        assert_eq!((options.mode, options.backend), (Mode::Tproxy, Backend::Legacy));
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        refused("--inbound-port 0", &["--inbound-port", "0"]);
        refused("--exclude-inbound-ports 80,x", &["--exclude-inbound-ports", "x is no port"]);
        refused("--exclude-outbound-ports 80,,81", &["--exclude-outbound-ports", " is no port"]);
        refused("--exclude-outbound-ports 65536", &["65536 is no port"]);
        refused("--include-outbound-ranges *,10.0.0.0/8", &["--include-outbound-ranges", "* is no range"]);
        refused("--exclude-outbound-ranges 10.0.0.0/33", &["at most 32 bits"]);
        refused("--exclude-outbound-ranges fd00::/+8", &["is no range"]);
        refused("--exclude-outbound-ranges 10.0.0.1/8", &["10.0.0.1/8 has bits beside its prefix", "10.0.0.0/8"]);
        refused("--exclude-uids ;reboot", &["--exclude-uids", "is no user"]);
        refused("--proxy-uid= --proxy-gid=", &["come back to it"]);
        refused("--mark 0", &["--mark"]);
        refused("--route-table 255", &["--route-table"]);
        refused("--mode both", &["--mode", "tproxy"]);
    }
}
