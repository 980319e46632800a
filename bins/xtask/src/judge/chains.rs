//! Filter chains drawn at random, the same file on a real Envoy and on Ringway: does the same chain take each connection?
//!
//! Each chain forwards to an origin that says its number. Addresses are those of a PROXY header, so that any will do; the client begins with
//! a ClientHello, with HTTP or with neither.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Bench, verdict};
use crate::lab::chance::Chance;
use crate::lab::interrupted::uninterrupted;
use crate::lab::proxy::{Kind, Launch, Proxy};
use crate::setup;
use crate::step::Verdict;

/// Listeners, each with chains of its own.
const SETS: usize = 12;
/// Chains of one listener at most.
const CHAINS: usize = 14;
/// Cases that run side by side.
const LANES: usize = 8;
/// A proxy that has not answered after this never will.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Less would mean that what is drawn hardly ever meets a chain.
const MATCHED_PERCENT_MIN: usize = 30;

pub(super) fn run(bench: &Bench) -> Verdict {
    if !setup::envoy_path().is_file() {
        return Verdict::Missing(format!("Envoy {} (cargo xtask setup)", setup::ENVOY_VERSION));
    }
    verdict(judge(bench))
}

/// One connection.
#[derive(Clone, Debug)]
struct Case {
    set: usize,
    /// For people.
    about: String,
    wire: Vec<u8>,
}

/// A criterion and the values that a chain may have for it; a chain has none of them, mostly. There is no range of all addresses: to Envoy it is the
/// same key as no range, and which of the two chains then takes a connection hangs on the order of a hash map, anew with each start.
const CRITERIA: &[(&str, &[&str])] = &[
    ("destination_port", &["443", "80"]),
    ("prefix_ranges", &["198.51.100.0/24", "198.51.100.7/32", "198.0.0.0/8", "2001:db8::/32"]),
    ("server_names", &["a.test", "b.test", "*.test", "*.b.test", "a.test|*.b.test"]),
    ("transport_protocol", &["tls", "raw_buffer"]),
    ("application_protocols", &["h2", "http/1.1", "h2c", "h2|http/1.1"]),
    ("direct_source_prefix_ranges", &["127.0.0.0/8", "10.0.0.0/8"]),
    ("source_type", &["SAME_IP_OR_LOOPBACK", "EXTERNAL"]),
    ("source_prefix_ranges", &["192.0.2.0/24", "192.0.2.1/32", "192.0.2.1/32|203.0.113.0/24"]),
    ("source_ports", &["7000", "7000|7001"]),
];

/// The matches of one listener's chains: none that a connection could not tell from another, which both proxies refuse.
fn matches(chance: &mut Chance) -> Vec<String> {
    let mut taken: BTreeSet<Vec<&str>> = BTreeSet::new();
    let mut all = Vec::new();
    for _ in 0..CHAINS {
        let value = |chance: &mut Chance, values: &[&'static str]| {
            if chance.once_in(3) { *chance.pick(values) } else { "" }
        };
        let drawn: Vec<&str> = CRITERIA.iter().map(|(_, values)| value(chance, values)).collect();
        let mut keys: Vec<Vec<&str>> = vec![vec![]];
        for value in &drawn {
            let each = |key: &Vec<&'static str>| -> Vec<Vec<&'static str>> {
                value.split('|').map(|one| [key.as_slice(), &[one]].concat()).collect()
            };
            keys = keys.iter().flat_map(each).collect();
        }
        if keys.iter().any(|key| taken.contains(key)) {
            continue;
        }
        taken.extend(keys);
        let fields = CRITERIA.iter().zip(&drawn).filter(|(_, value)| !value.is_empty());
        let fields: Vec<String> = fields.map(|((name, _), value)| field(name, value)).collect();
        all.push(fields.join(", "));
    }
    all
}

fn field(name: &str, value: &str) -> String {
    let items = |item: fn(&str) -> String| value.split('|').map(item).collect::<Vec<_>>().join(", ");
    match name {
        "destination_port" | "transport_protocol" | "source_type" => format!("{name}: {value}"),
        "server_names" | "application_protocols" => format!("{name}: [{}]", items(|one| format!("\"{one}\""))),
        "source_ports" => format!("{name}: [{}]", items(str::to_owned)),
        _ => {
            let range = |one: &str| {
                let (ip, bits) = one.split_once('/').expect("a range");
                format!("{{address_prefix: \"{ip}\", prefix_len: {bits}}}")
            };
            format!("{name}: [{}]", items(range))
        }
    }
}

/// The file. Every other listener has a chain for whoever no other one takes.
fn config(chance: &mut Chance, origins: &[SocketAddr]) -> String {
    let listener_filter = |name: &str, kind: &str, more: &str| {
        format!(
            "{{name: envoy.filters.listener.{name}, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.listener.{name}.v3.{kind}{more}}}}}"
        )
    };
    let inspectors = [
        listener_filter("proxy_protocol", "ProxyProtocol", ", allow_requests_without_proxy_protocol: true"),
        listener_filter("tls_inspector", "TlsInspector", ""),
        listener_filter("http_inspector", "HttpInspector", ""),
    ]
    .join(", ");
    let filters = |at: usize| {
        format!(
            "filters: [{{name: tcp, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
             stat_prefix: t, cluster: c{at}}}}}]"
        )
    };
    let address = "address: {socket_address: {address: 127.0.0.1, port_value: 0}}";
    let mut text = format!("admin: {{{address}}}\nstatic_resources:\n  listeners:\n");
    for set in 0..SETS {
        let _ = writeln!(
            text,
            "  - name: set{set}\n    {address}\n    listener_filters: [{inspectors}]\n    filter_chains:"
        );
        for (at, matching) in matches(chance).iter().enumerate() {
            let _ = writeln!(text, "    - {{filter_chain_match: {{{matching}}}, {}}}", filters(at));
        }
        if set % 2 == 0 {
            let _ = writeln!(text, "    default_filter_chain: {{{}}}", filters(CHAINS));
        }
    }
    text.push_str("  clusters:\n");
    for (at, origin) in origins.iter().enumerate() {
        let (ip, port) = (origin.ip(), origin.port());
        let _ = writeln!(
            text,
            "  - {{name: c{at}, connect_timeout: 5s, load_assignment: {{cluster_name: c{at}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: \
             {{socket_address: {{address: {ip}, port_value: {port}}}}}}}}}]}}]}}}}"
        );
    }
    text
}

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    let sources = ["192.0.2.1", "192.0.2.9", "127.0.0.1", "198.51.100.7", "203.0.113.1"];
    let destinations = ["198.51.100.7", "198.51.100.9", "203.0.113.1"];
    let ports = ["443", "80", "8080"];
    let source_ports = ["7000", "7001", "7002"];
    let names = ["", "a.test", "A.Test", "b.test", "x.b.test", "c.test", "test", "y.example"];
    let protocols: [&[&str]; 6] = [&[], &["h2"], &["http/1.1"], &["h2", "http/1.1"], &["http/1.1", "h2"], &["odd"]];
    let mut case = || {
        let set = chance.below(SETS);
        let (from, to) = (*chance.pick(&source_ports), *chance.pick(&ports));
        let header = match chance.below(10) {
            0 => String::new(),
            1 => "PROXY UNKNOWN\r\n".to_owned(),
            2 => format!("PROXY TCP6 2001:db8::1 {} {from} {to}\r\n", chance.pick(&["2001:db8::1", "2001:db9::2"])),
            _ => format!("PROXY TCP4 {} {} {from} {to}\r\n", chance.pick(&sources), chance.pick(&destinations)),
        };
        let (about, begins) = match chance.below(8) {
            0 => ("HTTP/1.1".to_owned(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
            1 => ("h2c".to_owned(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
            2 => ("neither".to_owned(), b"SSH-2.0-of-somebody\r\n".to_vec()),
            _ => {
                let (name, protocols) = (*chance.pick(&names), *chance.pick(&protocols));
                (format!("TLS {name:?} {protocols:?}"), client_hello(name, protocols))
            }
        };
        let about = format!("set{set}: {:?}, {about}", header.trim_end());
        Case { set, about, wire: [header.into_bytes(), begins].concat() }
    };
    (0..count).map(|_| case()).collect()
}

/// A list behind its length in `N` bytes.
fn list<const N: usize>(bytes: &[u8]) -> Vec<u8> {
    let len = (bytes.len() as u32).to_be_bytes();
    [&len[4 - N..], bytes].concat()
}

/// A record with a ClientHello that Envoy's TLS reads, too: RFC 8446 §4.1.2, §9.2.
fn client_hello(server_name: &str, protocols: &[&str]) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut add = |kind: u16, content: Vec<u8>| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(list::<2>(&content));
    };
    if !server_name.is_empty() {
        add(0, list::<2>(&[&[0], list::<2>(server_name.as_bytes()).as_slice()].concat()));
    }
    if !protocols.is_empty() {
        add(16, list::<2>(&protocols.iter().flat_map(|name| list::<1>(name.as_bytes())).collect::<Vec<u8>>()));
    }
    add(10, list::<2>(&[0, 29])); // x25519
    add(13, list::<2>(&[4, 3, 8, 4, 4, 1]));
    add(43, list::<1>(&[3, 4, 3, 3]));
    add(51, list::<2>(&[&[0, 29], list::<2>(&[9; 32]).as_slice()].concat()));
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(list::<1>(&[5; 32]));
    body.extend(list::<2>(&[0x13, 0x01, 0xc0, 0x2f]));
    body.extend(list::<1>(&[0]));
    body.extend(list::<2>(&extensions));
    let message = [&[1], list::<3>(&body).as_slice()].concat();
    [&[22, 3, 1], list::<2>(&message).as_slice()].concat()
}

/// An origin that says its number, and reads until the end.
fn origin(number: usize) -> Result<SocketAddr, String> {
    let failed = |e: std::io::Error| format!("cannot listen: {e}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _left = stream.write_all(format!("chain {number}\n").as_bytes());
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
            });
        }
    });
    Ok(address)
}

/// Who answers: a chain, or `closed`.
fn play(address: SocketAddr, wire: &[u8]) -> String {
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let _closed_before = stream.write_all(wire);
        let mut said = Vec::new();
        let mut bytes = [0; 64];
        while !said.ends_with(b"\n") {
            match uninterrupted(|| stream.read(&mut bytes)) {
                Ok(0) => break,
                Ok(count) => said.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error),
            }
        }
        Ok(String::from_utf8_lossy(&said).trim_end().to_owned())
    };
    match asked() {
        Ok(said) if said.is_empty() => "closed".to_owned(),
        Ok(said) => said,
        Err(error) => format!("an error: {error}"),
    }
}

fn judge(bench: &Bench) -> Result<String, String> {
    let mut chance = Chance::new(bench.seed);
    let origins = (0..=CHAINS).map(origin).collect::<Result<Vec<_>, _>>()?;
    let file = bench.folder.join("chains.yaml");
    std::fs::write(&file, config(&mut chance, &origins)).map_err(|e| format!("cannot write: {e}"))?;
    let cases = cases(&mut chance, bench.count as usize);
    let side = |kind, name| -> Result<(Proxy, Vec<SocketAddr>), String> {
        let launch = Launch { kind, folder: &bench.folder, name, file: &file, concurrency: 1, arguments: &[] };
        let proxy = Proxy::start(&launch)?;
        let listeners = (0..SETS).map(|set| proxy.listener(&format!("set{set}"))).collect::<Result<_, _>>()?;
        Ok((proxy, listeners))
    };
    let sides = [side(Kind::Envoy, "theirs")?, side(bench.kind, "ours")?];
    let (next, found) = (AtomicUsize::new(0), Mutex::new((HashMap::<bool, usize>::new(), Vec::new())));
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let [theirs, own] = [0, 1].map(|at: usize| play(sides[at].1[case.set], &case.wire));
                    let (counts, differ) = &mut *found.lock().expect("no lane panicked");
                    *counts.entry(theirs != "closed").or_default() += 1;
                    if theirs != own || theirs.starts_with("an error") {
                        differ.push(format!("Envoy {theirs}, Ringway {own}: {}", case.about));
                    }
                }
            });
        }
    });
    let (counts, differ) = found.into_inner().expect("no lane panicked");
    let taken = counts.get(&true).copied().unwrap_or(0);
    let line =
        format!("{} connections to {SETS} listeners from seed {}, {taken} taken by a chain", cases.len(), bench.seed);
    for difference in differ.iter().take(20) {
        println!("UNEXPECTED {difference}");
    }
    if !differ.is_empty() {
        return Err(format!("{line}: {} differ", differ.len()));
    }
    if taken * 100 < cases.len() * MATCHED_PERCENT_MIN {
        return Err(format!("{line}: too few to say anything"));
    }
    Ok(format!("{line}: no difference"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_file_and_one_list_of_cases() {
        let drawn = |seed| {
            let mut chance = Chance::new(seed);
            let text = config(&mut chance, &[]);
            let wires: Vec<Vec<u8>> = cases(&mut chance, 50).into_iter().map(|case| case.wire).collect();
            (text, wires)
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert!(matches(&mut Chance::new(1)).len() > 1);
    }
}
