//! Tables, and chains and connections of small worlds against what the documentation says, step by step.

use super::*;
use crate::filter_chain_match::ServerNames;

fn range(text: &str) -> Cidr {
    let (address, prefix) = text.split_once('/').expect("a range");
    Cidr::new(address.parse().expect("an address"), prefix.parse().expect("a length"))
}

fn ranges(texts: &[&str]) -> Vec<Cidr> {
    texts.iter().map(|text| range(text)).collect()
}

fn names(texts: &[&str]) -> Vec<ServerNames> {
    texts.iter().map(|text| ServerNames::parse(text).expect("a name")).collect()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// A connection from 10.1.1.1:1000 to 10.0.0.1:80 without TLS, but for what a row says otherwise.
#[derive(Clone, Copy)]
struct Connection {
    destination: &'static str,
    server_name: &'static str,
    transport: &'static str,
    protocols: &'static [&'static str],
    direct_source: &'static str,
    source: &'static str,
}

const PLAIN: Connection = Connection {
    destination: "10.0.0.1:80",
    server_name: "",
    transport: "raw_buffer",
    protocols: &[],
    direct_source: "10.1.1.1:1000",
    source: "10.1.1.1:1000",
};

impl Connection {
    fn facts(&self) -> ChainFacts<'static> {
        let address = |text: &str| text.parse().ok();
        ChainFacts {
            destination: address(self.destination),
            server_name: self.server_name.as_bytes(),
            transport_protocol: self.transport,
            direct_source: address(self.direct_source),
            source: address(self.source),
        }
    }

    fn find(&self, index: &ChainIndex) -> Option<usize> {
        index.find(&self.facts(), self.protocols.iter().map(|name| name.as_bytes()))
    }
}

#[track_caller]
fn check(chains: &[FilterChainMatch], rows: &[(Connection, Option<usize>)]) {
    let index = ChainIndex::new(chains).expect("chains that can be told apart");
    for (at, (connection, expect)) in rows.iter().enumerate() {
        assert_eq!(connection.find(&index), *expect, "row {at}");
    }
}

fn any() -> FilterChainMatch {
    FilterChainMatch::default()
}

#[test]
fn no_chain_takes_nothing_and_one_without_a_match_takes_all() {
    check(&[], &[(PLAIN, None)]);
    let pipe = Connection { destination: "", direct_source: "", source: "", ..PLAIN };
    let tls = Connection { server_name: "a.b", transport: "tls", protocols: &["h2"], ..PLAIN };
    check(&[any()], &[(PLAIN, Some(0)), (pipe, Some(0)), (tls, Some(0))]);
}

/// Envoy's documentation of `FilterChainMatch`: once the port has a branch, nothing outside of it is looked at.
#[test]
fn a_port_that_is_named_is_not_left_again() {
    let chains = [
        FilterChainMatch { destination_port: Some(80), transport_protocol: "tls".into(), ..any() },
        FilterChainMatch { transport_protocol: "raw_buffer".into(), ..any() },
        FilterChainMatch { transport_protocol: "tls".into(), ..any() },
    ];
    let to = |destination, transport| Connection { destination, transport, ..PLAIN };
    check(
        &chains,
        &[
            (to("10.0.0.1:80", "tls"), Some(0)),
            (to("10.0.0.1:80", "raw_buffer"), None),
            (to("10.0.0.1:81", "tls"), Some(2)),
            (to("10.0.0.1:81", "raw_buffer"), Some(1)),
            (to("", "tls"), Some(2)),
        ],
    );
}

#[test]
fn the_longest_range_wins_and_is_not_left_again() {
    let chains = [
        FilterChainMatch { prefix_ranges: ranges(&["10.0.0.0/8", "fd00::/8"]), ..any() },
        FilterChainMatch { prefix_ranges: ranges(&["10.0.0.0/24"]), transport_protocol: "tls".into(), ..any() },
        FilterChainMatch { prefix_ranges: ranges(&["10.0.0.9/32", "fd00::9/128"]), ..any() },
        any(),
    ];
    let to = |destination, transport| Connection { destination, transport, ..PLAIN };
    check(
        &chains,
        &[
            (to("10.0.0.1:1", "tls"), Some(1)),
            (to("10.0.0.1:1", "raw_buffer"), None),
            (to("10.0.1.1:1", "raw_buffer"), Some(0)),
            (to("10.0.0.9:1", "raw_buffer"), Some(2)),
            (to("11.0.0.9:1", "tls"), Some(3)),
            (to("[fd00::9]:1", "tls"), Some(2)),
            (to("[fd00::8]:1", "tls"), Some(0)),
            (to("[fe00::8]:1", "tls"), Some(3)),
            (to("", "tls"), Some(3)),
        ],
    );
    // A unix socket is looked for as 255.255.255.255.
    let all = [FilterChainMatch { prefix_ranges: ranges(&["0.0.0.0/0"]), ..any() }];
    check(&all, &[(to("", "tls"), Some(0)), (to("[::1]:1", "tls"), None)]);
}

#[test]
fn names_before_wildcards_before_none() {
    let of = |name| FilterChainMatch { server_names: names(&[name]), ..any() };
    let chains = [of("www.example.com"), of("*.example.com"), of("*.com"), any(), of("*.b.example.com"), of("x.test")];
    let to = |server_name| Connection { server_name, ..PLAIN };
    check(
        &chains,
        &[
            (to("www.example.com"), Some(0)),
            (to("ww.example.com"), Some(1)),
            (to("a.b.example.com"), Some(4)),
            (to("b.example.com"), Some(1)),
            (to("example.com"), Some(2)),
            (to("com"), Some(3)),
            (to(""), Some(3)),
            (to("x.test"), Some(5)),
            (to("y.x.test"), Some(3)),
            (to(".com"), Some(2)), // as in Envoy: the key of *.com itself
            (to("a.com."), Some(3)),
            (to("."), Some(3)),
        ],
    );
    // The name of another chain is not left again, either.
    let chains = [
        FilterChainMatch { server_names: names(&["a.test"]), transport_protocol: "tls".into(), ..any() },
        FilterChainMatch { server_names: names(&["*.test"]), ..any() },
    ];
    check(&chains, &[(to("a.test"), None), (to("b.test"), Some(1)), (to("a.other"), None)]);
}

/// Istio's permissive inbound: mutual TLS, TLS of the workload's own, HTTP and TCP on one port.
#[test]
fn permissive_mode() {
    let chain = |transport: &str, protocols: &[&str]| FilterChainMatch {
        destination_port: Some(8080),
        transport_protocol: transport.into(),
        application_protocols: strings(protocols),
        ..any()
    };
    let chains = [
        chain("tls", &["istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"]),
        chain("tls", &["istio-peer-exchange"]),
        chain("raw_buffer", &["http/1.1", "h2c"]),
        chain("raw_buffer", &[]),
        chain("tls", &[]),
    ];
    let of = |transport, protocols| Connection { destination: "10.0.0.1:8080", transport, protocols, ..PLAIN };
    check(
        &chains,
        &[
            (of("tls", &["istio-peer-exchange", "istio"]), Some(1)), // the client's order
            (of("tls", &["istio", "istio-peer-exchange"]), Some(0)),
            (of("tls", &["x", "istio-h2"]), Some(0)),
            (of("tls", &["h2"]), Some(4)),
            (of("tls", &[]), Some(4)),
            (of("raw_buffer", &["http/1.1"]), Some(2)),
            (of("raw_buffer", &["http/1.0"]), Some(3)),
            (of("raw_buffer", &[]), Some(3)),
            (of("quic", &[]), None),
        ],
    );
}

#[test]
fn sources() {
    let chains = [
        FilterChainMatch { source_type: SourceType::SameIpOrLoopback, ..any() },
        FilterChainMatch { source_type: SourceType::External, source_ports: vec![7], ..any() },
        any(),
        FilterChainMatch { direct_source_prefix_ranges: ranges(&["10.9.0.0/16"]), ..any() },
    ];
    let from = |source| Connection { source, direct_source: source, ..PLAIN };
    check(
        &chains,
        &[
            (from("127.0.0.1:5"), Some(0)),
            (from("[::1]:5"), Some(0)),
            (from("127.0.0.2:5"), None), // Envoy: the one loopback address
            (from("10.0.0.1:5"), Some(0)),
            (from(""), Some(0)),
            (from("10.1.1.1:7"), Some(1)),
            (from("10.1.1.1:8"), None), // EXTERNAL is not left again
            (Connection { direct_source: "10.9.1.1:1", ..PLAIN }, Some(3)),
        ],
    );
    let chains = [
        FilterChainMatch { source_prefix_ranges: ranges(&["10.0.0.0/8"]), source_ports: vec![1, 2], ..any() },
        FilterChainMatch { source_prefix_ranges: ranges(&["10.0.0.0/8"]), ..any() },
        FilterChainMatch { source_prefix_ranges: ranges(&["10.1.0.0/16"]), source_ports: vec![3], ..any() },
        FilterChainMatch { source_ports: vec![9], ..any() },
    ];
    check(
        &chains,
        &[
            (from("10.2.0.1:1"), Some(0)),
            (from("10.2.0.1:2"), Some(0)),
            (from("10.2.0.1:3"), Some(1)),
            (from("10.1.0.1:3"), Some(2)),
            (from("10.1.0.1:1"), None),
            (from("11.1.0.1:9"), Some(3)),
            (from("11.1.0.1:1"), None),
        ],
    );
}

#[test]
fn conflicts() {
    #[track_caller]
    fn check(chains: &[FilterChainMatch], expect: &[(usize, usize)]) {
        let problems = ChainIndex::new(chains).err().unwrap_or_default();
        let expect: Vec<_> = expect.iter().map(|&(first, second)| ChainProblem::Conflict { first, second }).collect();
        assert_eq!(problems, expect);
    }
    let of_names = |texts: &[&str]| FilterChainMatch { server_names: names(texts), ..any() };
    let of_ranges = |texts: &[&str]| FilterChainMatch { prefix_ranges: ranges(texts), ..any() };
    check(&[any(), any()], &[(0, 1)]);
    check(&[of_names(&["a", "b"]), any(), of_names(&["c", "B"])], &[(0, 2)]);
    check(&[of_names(&["a", "A"])], &[(0, 0)]);
    check(&[of_names(&["*.a", "a"])], &[]);
    check(&[of_ranges(&["10.1.0.0/8"]), of_ranges(&["10.0.0.0/9"]), of_ranges(&["10.2.0.0/8"])], &[(0, 2)]);
    // Said or not said: Envoy takes both, and either may win; here the range does.
    check(&[of_ranges(&["0.0.0.0/0"]), any()], &[]);
    let port = |port| FilterChainMatch { destination_port: port, source_ports: vec![1, 2], ..any() };
    check(&[port(None), port(Some(1)), port(Some(1)), any(), port(None)], &[(0, 4), (1, 2)]);
}

#[test]
fn rows_are_bounded_and_small() {
    let many = |count: u16| FilterChainMatch { source_ports: (1..=count).collect(), ..any() };
    let lists = FilterChainMatch {
        prefix_ranges: (0..1 << 9).map(|number: u32| Cidr::new(IpAddr::from(number.to_be_bytes()), 32)).collect(),
        ..many(1 << 9)
    };
    let index = ChainIndex::new([&lists]).expect("as many as there may be");
    assert_eq!(index.rows.len(), ROWS_MAX);
    assert!(size_of::<Row>() <= 120, "{}", size_of::<Row>());
    let too_large = Some(vec![ChainProblem::TooLarge { chain: 1 }]);
    assert_eq!(ChainIndex::new([&lists, &any()]).err(), too_large);
    let endless = FilterChainMatch {
        source_ports: vec![1; 1 << 16],
        prefix_ranges: vec![range("::/0"); 1 << 16],
        source_prefix_ranges: vec![range("::/0"); 1 << 16],
        direct_source_prefix_ranges: vec![range("::/0"); 1 << 16],
        server_names: names(&["a"; 2]),
        ..any()
    };
    assert_eq!(ChainIndex::new(&[any(), endless]).err(), too_large);
}

/// The chains pruned criterion by criterion, as the comment of Envoy's `FilterChainMatch` puts it.
fn pruned(chains: &[FilterChainMatch], connection: &Connection) -> Option<usize> {
    /// Of these chains those that say one of `keys`, the earliest that any says; or those that say nothing.
    fn prune(
        left: &[usize],
        keys: impl IntoIterator<Item = String>,
        says: impl Fn(usize) -> Vec<String>,
    ) -> Vec<usize> {
        for key in keys {
            let meet: Vec<_> = left.iter().copied().filter(|&chain| says(chain).contains(&key)).collect();
            if !meet.is_empty() {
                return meet;
            }
        }
        left.iter().copied().filter(|&chain| says(chain).is_empty()).collect()
    }
    fn wider(address: Option<SocketAddr>) -> impl Iterator<Item = String> {
        let ip = address.map_or(IpAddr::V4(Ipv4Addr::BROADCAST), |address| address.ip());
        let bits: u32 = if ip.is_ipv4() { 32 } else { 128 };
        (0..=bits).rev().map(move |prefix| said(Cidr::new(ip, prefix)))
    }
    fn said(range: Cidr) -> String {
        format!("{}/{}", range.address(), range.prefix())
    }
    let facts = connection.facts();
    let all: Vec<_> = (0..chains.len()).collect();
    let texts = |ranges: &[Cidr]| ranges.iter().map(|&range| said(range)).collect();
    let port = |address: Option<SocketAddr>| address.map(|address| address.port().to_string());

    let left =
        prune(&all, port(facts.destination), |at| chains[at].destination_port.iter().map(u16::to_string).collect());
    let left = prune(&left, wider(facts.destination), |at| texts(&chains[at].prefix_ranges));
    let name = connection.server_name;
    let parents = name.match_indices('.').filter(|(at, _)| *at > 0).map(|(at, _)| name[at..].to_owned());
    let name_keys = (!name.is_empty()).then(|| name.to_owned()).into_iter().chain(parents);
    let left = prune(&left, name_keys, |at| chains[at].server_names.iter().map(|name| name.key().to_owned()).collect());
    let left = prune(&left, [connection.transport.to_owned()], |at| {
        Some(chains[at].transport_protocol.clone()).filter(|name| !name.is_empty()).into_iter().collect()
    });
    let left = prune(&left, strings(connection.protocols), |at| chains[at].application_protocols.clone());
    let left = prune(&left, wider(facts.direct_source), |at| texts(&chains[at].direct_source_prefix_ranges));
    let local = facts.source.is_none_or(|source| {
        ["127.0.0.1", "::1"].contains(&source.ip().to_string().as_str())
            || facts.destination.is_some_and(|destination| destination.ip() == source.ip())
    });
    let left = prune(&left, [if local { "SameIpOrLoopback" } else { "External" }.to_owned()], |at| {
        Some(chains[at].source_type)
            .filter(|&of| of != SourceType::Any)
            .map(|of| format!("{of:?}"))
            .into_iter()
            .collect()
    });
    let left = prune(&left, wider(facts.source), |at| texts(&chains[at].source_prefix_ranges));
    let left = prune(&left, port(facts.source), |at| chains[at].source_ports.iter().map(u16::to_string).collect());
    assert!(left.len() <= 1, "{left:?}");
    left.first().copied()
}

/// splitmix64
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % bound
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// None of them half the time, else one to three, perhaps one twice.
    fn some<T: Copy>(&mut self, of: &[T]) -> Vec<T> {
        let count = [0, 0, 0, 1, 2, 3][self.below(6)];
        (0..count).map(|_| self.one(of)).collect()
    }
}

const RANGES: &[&str] =
    &["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32", "0.0.0.0/0", "fd00::/8", "fd00::1/128", "127.0.0.0/8"];
const ADDRESSES: &[&str] =
    &["10.1.1.1:1", "10.1.2.2:2", "10.2.2.2:3", "127.0.0.1:1", "192.0.2.1:2", "[fd00::1]:1", "[fd00::2]:3", ""];
const NAMES: &[&str] = &["a.x.test", "*.x.test", "x.test", "*.test", "b.test"];
const ASKED: &[&str] = &["a.x.test", "b.x.test", "x.test", "b.test", "other", "", "x.test.", "a..test"];

fn some_chain(dice: &mut Dice) -> FilterChainMatch {
    FilterChainMatch {
        destination_port: dice.some(&[1, 2]).first().copied(),
        prefix_ranges: ranges(&dice.some(RANGES)),
        server_names: names(&dice.some(NAMES)),
        transport_protocol: dice.one(&["", "", "tls", "raw_buffer"]).to_owned(),
        application_protocols: strings(&dice.some(&["h2", "istio"])),
        direct_source_prefix_ranges: ranges(&dice.some(&RANGES[..2])),
        source_type: dice.one(&[SourceType::Any, SourceType::Any, SourceType::SameIpOrLoopback, SourceType::External]),
        source_prefix_ranges: ranges(&dice.some(&RANGES[..4])),
        source_ports: dice.some(&[1, 2]),
    }
}

fn some_connection(dice: &mut Dice) -> Connection {
    Connection {
        destination: dice.one(ADDRESSES),
        server_name: dice.one(ASKED),
        transport: dice.one(&["tls", "raw_buffer"]),
        protocols: dice.one(&[[].as_slice(), &["h2"], &["istio", "h2"], &["h2", "istio"], &["x", "istio"]]),
        direct_source: dice.one(ADDRESSES),
        source: dice.one(ADDRESSES),
    }
}

/// Whether some combination is one of both.
fn overlap(one: &FilterChainMatch, other: &FilterChainMatch) -> bool {
    fn meet<T: PartialEq>(one: &[T], other: &[T]) -> bool {
        (one.is_empty() && other.is_empty()) || one.iter().any(|entry| other.contains(entry))
    }
    one.destination_port == other.destination_port
        && meet(&one.prefix_ranges, &other.prefix_ranges)
        && meet(&one.server_names, &other.server_names)
        && one.transport_protocol == other.transport_protocol
        && meet(&one.application_protocols, &other.application_protocols)
        && meet(&one.direct_source_prefix_ranges, &other.direct_source_prefix_ranges)
        && one.source_type == other.source_type
        && meet(&one.source_prefix_ranges, &other.source_prefix_ranges)
        && meet(&one.source_ports, &other.source_ports)
}

fn repeats(chain: &FilterChainMatch) -> bool {
    fn twice<T: PartialEq>(entries: &[T]) -> bool {
        entries.iter().enumerate().any(|(at, entry)| entries[..at].contains(entry))
    }
    twice(&chain.prefix_ranges)
        || twice(&chain.server_names)
        || twice(&chain.application_protocols)
        || twice(&chain.direct_source_prefix_ranges)
        || twice(&chain.source_prefix_ranges)
        || twice(&chain.source_ports)
}

#[test]
fn chains_and_connections_of_chance() {
    let (mut found, mut conflicts) = (0, 0);
    for seed in 0..80 {
        let mut dice = Dice(seed);
        let mut chains: Vec<FilterChainMatch> = Vec::new();
        let wanted = 2 + dice.below(25);
        while chains.len() < wanted {
            let chain = some_chain(&mut dice);
            let clashes = repeats(&chain) || chains.iter().any(|other| overlap(other, &chain));
            chains.push(chain);
            assert_eq!(ChainIndex::new(&chains).is_err(), clashes, "seed {seed}: {chains:?}");
            if clashes {
                chains.pop();
                conflicts += 1;
            }
        }
        let index = ChainIndex::new(&chains).expect("no conflict");
        for _ in 0..100 {
            let connection = some_connection(&mut dice);
            let expect = pruned(&chains, &connection);
            assert_eq!(connection.find(&index), expect, "seed {seed}: {:?} {chains:#?}", connection.facts());
            found += usize::from(expect.is_some());
        }
    }
    assert!(found > 500 && conflicts > 500, "chance meets both: {found} {conflicts}");
}
