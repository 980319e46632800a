//! Upgrades and CONNECT: which become tunnels, and what is refused.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::{Class, Front};
use crate::judge::differential::case::Case;
use crate::judge::differential::origin::{Ask, Next};
use crate::lab::chance::Chance;
use crate::lab::interrupted::uninterrupted;

pub(super) const CLASS: Class = Class {
    name: "upgrades",
    fronts: &[
        Front { name: "upgrades", ..Front::PLAIN },
        Front {
            name: "upgrades-all",
            manager: "upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: other}],",
            ..Front::PLAIN
        },
        Front {
            name: "upgrades-routes",
            hosts: HOSTS,
            manager: "upgrade_configs: [{upgrade_type: websocket, enabled: false}],",
            ..Front::PLAIN
        },
    ],
    cases,
    origin,
    ..Class::PLAIN
};

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    let mut cases: Vec<Case> = ODD.iter().map(|(name, text)| Case::raw(chance, name, "GET", text)).collect();
    for (name, method, text) in NAMED {
        cases.push(Case::of(chance, name, method, text).on("upgrades-all"));
    }
    while cases.len() < count {
        let front = *chance.pick(&["upgrades", "upgrades-all", "upgrades-all", "upgrades-routes"]);
        let path = *chance.pick(&["/a/tunnel-0", "/a/tunnel-5", "/on/tunnel-9", "/a/x", "/b/status-403", "/nowhere"]);
        let protocol = *chance.pick(&["websocket", "WebSocket", "other", "unknown"]);
        let option = *chance.pick(&["Upgrade", "upgrade", "keep-alive, Upgrade"]);
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: up.test\r\nConnection: {option}\r\nUpgrade: {protocol}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let mut case = Case::of(chance, "", "GET", &text).on(front);
        let size = chance.below(20_000);
        case.tunnel = chance.bytes(size);
        let greeting = path.rsplit_once('-').and_then(|(_, number)| number.parse::<usize>().ok()).unwrap_or(0);
        case.tunnel_back = greeting + size;
        cases.push(case);
    }
    cases
}

const HOSTS: &str = r#"
  {name: up, domains: ["up.test"], routes: [
    {match: {prefix: /on/}, route: {cluster: a, upgrade_configs: [{upgrade_type: websocket}]}},
    {match: {prefix: /a/}, route: {cluster: a}}]}"#;

/// Grants what is asked for, sends so many bytes at once, and then says back what comes, to its end.
fn origin(ask: &Ask, mut stream: &TcpStream) -> io::Result<Next> {
    if ask.kind != "tunnel" || !ask.head.has_word("connection", "upgrade") {
        return Ok(if ask.kind == "tunnel" { refuse(stream)? } else { Next::Unknown });
    }
    let protocol = ask.head.values("upgrade").next().unwrap_or_default();
    let greeting = "g".repeat(ask.number);
    let head =
        format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n{greeting}");
    stream.write_all(head.as_bytes())?;
    let mut bytes = [0; 4_096];
    loop {
        match uninterrupted(|| stream.read(&mut bytes))? {
            0 => return Ok(Next::Close),
            size => stream.write_all(&bytes[..size])?,
        }
    }
}

fn refuse(mut stream: &TcpStream) -> io::Result<Next> {
    stream.write_all(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")?;
    Ok(Next::Keep)
}

/// Where upgrades are granted. No request with content: Envoy keeps it back until the 101, for which the origin waits in vain
/// (RFC 9110 §7.8).
const NAMED: &[(&str, &str, &str)] = &[
    (
        "a redirect instead of a WebSocket",
        "GET",
        "GET /a/status-302 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    (
        "not modified instead of a WebSocket",
        "GET",
        "GET /a/status-304 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    (
        "chunks instead of a WebSocket",
        "GET",
        "GET /a/chunked-5000 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    (
        "a head alone",
        "HEAD",
        "HEAD /a/length-20 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    ("many fields", "GET", "GET /a/many HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("a CONNECT that nobody granted", "CONNECT", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"),
    (
        "a WebSocket of an older draft",
        "GET",
        "GET /a/tunnel-3 HTTP/1.1\r\nHost: a\r\nConnection: close, upgrade\r\nUpgrade: websocket/76\r\n\r\n",
    ),
    ("an upgrade of no kind", "GET", "GET /a/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade:\r\n\r\n"),
];

const ODD: &[(&str, &str)] = &[
    (
        "an upgrade that nobody granted",
        "GET /a/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    (
        "an upgrade to h2c",
        "GET /a/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
    ),
];
