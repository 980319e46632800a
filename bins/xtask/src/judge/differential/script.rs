//! What a client sends in the differential: requests drawn by chance, and a list of odd ones.

use std::fmt;

use super::routes;
use crate::lab::chance::Chance;

/// What is special about a script, so that a reviewed difference can be confined to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// Goes to one of two clusters by chance.
    Weighted,
    /// The origin closes without an answer.
    Reset,
    /// The origin's Connection field nominates another.
    Nominated,
    /// Has trailers.
    Trailers,
    /// Asks for 100 (Continue).
    Expect,
    /// Is answered by the proxy itself.
    Local,
    /// Is a pipeline in which a request with a body is answered by the proxy itself.
    Cut,
    /// Has a body and is answered by the proxy itself, which may not have read it.
    Unread,
}

/// One connection of a client.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// What is sent, a write for each.
    pub(super) pieces: Vec<Vec<u8>>,
    /// The methods of the requests, which say how answers are framed.
    pub(super) methods: Vec<&'static str>,
    tags: Vec<Tag>,
    odd: Option<&'static Odd>,
}

impl Script {
    /// One request, sent in these pieces.
    pub(super) fn new(pieces: Vec<Vec<u8>>, method: &'static str, tags: Vec<Tag>) -> Self {
        Self { pieces, methods: vec![method], tags, odd: None }
    }

    /// Whether it has this tag.
    pub(super) fn has(&self, tag: Tag) -> bool {
        self.tags.contains(&tag)
    }

    /// The odd request that it is, if it is one.
    pub(super) fn odd(&self) -> Option<&'static Odd> {
        self.odd
    }

    /// How many requests it sends.
    pub(super) fn requests(&self) -> usize {
        self.methods.len()
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.pieces.concat();
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        let name = self.odd.map_or("", |odd| odd.name);
        write!(f, "{name}{:?} {start:?}", self.tags)
    }
}

/// Scripts with `count` requests together, or a few more.
pub(super) fn generate(chance: &mut Chance, count: usize) -> Vec<Script> {
    let mut scripts = Vec::new();
    let (mut requests, mut odd, mut routed) = (0, 0, 0);
    while requests < count {
        let script = match chance.below(10) {
            0 | 1 => {
                odd += 1;
                odd_request(odd - 1)
            }
            2 => pipeline(chance),
            3..7 => {
                routed += 1;
                routes::script(chance, routed - 1)
            }
            _ => one(chance),
        };
        requests += script.requests();
        scripts.push(script);
    }
    scripts
}

/// Paths and what they lead to; the last part tells the origin what to do.
const PATHS: &[(&str, Option<Tag>)] = &[
    ("/exact", None),
    ("/exact?q=1", None),
    ("/exactly", None),
    ("/a/length-0", None),
    ("/a/length-1", None),
    ("/a/length-70000?x=/b/", None),
    ("/b/length-5000", None),
    ("/a/chunked-0", None),
    ("/a/chunked-1", None),
    ("/b/chunked-50000", None),
    ("/a/trailers-2000", Some(Tag::Trailers)),
    ("/a/close-0", None),
    ("/a/close-3000", None),
    ("/a/status-204", None),
    ("/a/status-304", None),
    ("/b/status-404", None),
    ("/b/status-500", None),
    ("/a/status-301", None),
    ("/a/many", None),
    ("/a/hop", None),
    ("/a/nominated", Some(Tag::Nominated)),
    ("/a/reset", Some(Tag::Reset)),
    ("/a/garbage", None),
    ("/a/both", None),
    ("/a/cut", None),
    ("/timeout/silent", None),
    ("/timeout/quick", None),
    ("/dead/x", None),
    ("/nowhere", None),
    ("/direct", None),
    ("/direct/more?and=query", None),
    ("/empty", None),
    ("/weighted/x", Some(Tag::Weighted)),
    ("/a/%2e%2e/b/x", None),
    ("/a//b/../x;y=1", None),
    ("/a/%41%00?%zz", None),
    ("/a/q?a=b&c=\"d\"|{}^`<>\\", None),
    ("/A/x", None),
    ("http://second.test/absolute", None),
    ("http://a.test/a/absolute?x", None),
];

const HOSTS: &[&str] =
    &["a.test", "a.test", "second.test", "SECOND.test", "x.second.test", "second.test:80", "[::1]:8080", "a.test:8080"];

const METHODS: &[&str] = &["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"];

const FIELDS: &[&str] = &[
    "X-A: one",
    "X-A:two",
    "x-a:   three words  ",
    "x-empty:",
    "Cookie: a=1",
    "cookie: b=2",
    "Accept: */*, text/html;q=0.5",
    "User-Agent: judge/1.0 (x; y)",
    "Authorization: Basic eDp5",
    "X-Forwarded-For: 192.0.2.7",
    "X-Request-Id: 0a1b",
    "Via: 1.0 before",
    "Range: bytes=0-3",
    "If-None-Match: \"x\"",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: x-mine\r\nX-Mine: 1",
    "Keep-Alive: timeout=3",
    "Proxy-Connection: keep-alive",
    "TE: trailers",
    "TE: gzip",
    "Max-Forwards: 3",
    "x-!#$%&'*+-.^_`|~: odd name",
    "X-High: caf\u{e9}",
    "Priority: u=1",
];

fn one(chance: &mut Chance) -> Script {
    let mut script = Script::default();
    let bytes = request(chance, &mut script);
    // Whole, or cut at one point: a head or body that comes in two segments.
    if bytes.len() > 1 && chance.once_in(3) {
        let at = 1 + chance.below(bytes.len() - 1);
        script.pieces = vec![bytes[..at].to_vec(), bytes[at..].to_vec()];
    } else {
        script.pieces = vec![bytes];
    }
    script
}

/// Two to four requests in one write.
fn pipeline(chance: &mut Chance) -> Script {
    let mut script = Script::default();
    let mut bytes = Vec::new();
    for _ in 0..2 + chance.below(3) {
        bytes.extend(request(chance, &mut script));
    }
    script.pieces = vec![bytes];
    if script.has(Tag::Local) && script.has(Tag::Unread) {
        script.tags.push(Tag::Cut);
    }
    script
}

fn request(chance: &mut Chance, script: &mut Script) -> Vec<u8> {
    let method = *chance.pick(METHODS);
    let (path, tag) = *chance.pick(PATHS);
    let is_local =
        ["/exactly", "/nowhere", "/direct", "/empty", "/dead", "/A/"].iter().any(|start| path.starts_with(start));
    script.tags.extend(is_local.then_some(Tag::Local));
    script.methods.push(method);
    script.tags.extend(tag);
    let mut fields = vec![format!("Host: {}", chance.pick(HOSTS))];
    for _ in 0..chance.below(5) {
        let field = chance.pick(FIELDS);
        fields.insert(chance.below(fields.len() + 1), (*field).to_owned());
    }
    let mut body = Vec::new();
    if matches!(method, "POST" | "PUT" | "PATCH") || chance.once_in(8) {
        let size = *chance.pick(&[0, 1, 10, 1_000, 16_384, 100_000]);
        let content = chance.bytes(size);
        script.tags.extend(is_local.then_some(Tag::Unread));
        if chance.once_in(2) {
            fields.push("Transfer-Encoding: chunked".to_owned());
            body = chunked(chance, &content, script);
        } else {
            fields.push(format!("Content-Length: {size}"));
            body = content;
        }
        if chance.once_in(6) {
            fields.push("Expect: 100-continue".to_owned());
            script.tags.push(Tag::Expect);
        }
    }
    let mut bytes: Vec<u8> = Vec::new();
    let head = format!("{method} {path} HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n"));
    // Field values are written as Latin-1, so that one of them has a byte above 0x7f.
    bytes.extend(head.chars().map(|character| u8::try_from(character).expect("the tables are Latin-1")));
    bytes.extend(body);
    bytes
}

fn chunked(chance: &mut Chance, mut content: &[u8], script: &mut Script) -> Vec<u8> {
    let mut body = Vec::new();
    while !content.is_empty() {
        let size = 1 + chance.below(content.len().min(20_000));
        let extension = if chance.once_in(5) { ";name=value" } else { "" };
        body.extend(format!("{size:x}{extension}\r\n").as_bytes());
        body.extend_from_slice(&content[..size]);
        body.extend_from_slice(b"\r\n");
        content = &content[size..];
    }
    if chance.once_in(5) {
        script.tags.push(Tag::Trailers);
        body.extend_from_slice(b"0\r\nX-Trailer: 1\r\n\r\n");
    } else {
        body.extend_from_slice(b"0\r\n\r\n");
    }
    body
}

/// A request that breaks a rule, or is rare.
#[derive(Debug)]
pub(super) struct Odd {
    /// What is odd about it.
    pub(super) name: &'static str,
    text: &'static str,
    /// Where the two are meant to answer differently.
    pub(super) meant: Option<Meant>,
}

/// What each answers to an odd request, by status (0: no answer), and why ours is another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meant {
    pub(super) envoy: u16,
    pub(super) ringway: u16,
    #[expect(dead_code, reason = "for who reads the table")]
    pub(super) reason: &'static str,
}

const fn same(name: &'static str, text: &'static str) -> Odd {
    Odd { name, text, meant: None }
}

const fn other(name: &'static str, text: &'static str, envoy: u16, ringway: u16, reason: &'static str) -> Odd {
    Odd { name, text, meant: Some(Meant { envoy, ringway, reason }) }
}

const ODD: &[Odd] = &[
    same(
        "length and coding",
        "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    same("two lengths", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    same("a length twice", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    same("a list of lengths", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc"),
    same("a signed length", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
    same("a length of letters", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\n"),
    same("a length too long", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
    other(
        "another coding",
        "POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        501,
        400,
        "RFC 9112 §6.3: chunked is not last",
    ),
    other(
        "chunked is not last",
        "POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        501,
        400,
        "RFC 9112 §6.3: chunked is not last",
    ),
    other(
        "chunked twice",
        "POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
        400,
        "RFC 9112 §7.1 forbids it",
    ),
    same("a chunk size of no digits", "POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n"),
    same(
        "a chunk size too long",
        "POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    ),
    other(
        "a chunk longer than it says",
        "POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        200,
        400,
        "RFC 9112 §7.1: no CRLF after the chunk",
    ),
    other("no host", "GET /a/x HTTP/1.1\r\nX-A: 1\r\n\r\n", 400, 400, "only the text of the body is another"),
    other("two hosts", "GET /a/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 200, 400, "RFC 9112 §3.2 demands 400"),
    other("an empty host", "GET /a/x HTTP/1.1\r\nHost:\r\n\r\n", 200, 400, "RFC 9110 §4.2.1: an http URI has a host"),
    same("a host with a path", "GET /a/x HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    same("a space before the colon", "GET /a/x HTTP/1.1\r\nHost: a\r\nX-A : 1\r\n\r\n"),
    other(
        "a folded field",
        "GET /a/x HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n\r\n",
        200,
        400,
        "RFC 9112 §5.2 lets a server refuse it",
    ),
    same("a field without colon", "GET /a/x HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n"),
    same("a field without name", "GET /a/x HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"),
    other(
        "a bare LF",
        "GET /a/x HTTP/1.1\nHost: a\n\n",
        200,
        400,
        "one line end only: what two parsers may read otherwise is refused",
    ),
    other("a bare CR", "GET /a/x HTTP/1.1\r\nHost: a\r\nX-A: 1\r2\r\n\r\n", 200, 400, "RFC 9112 §2.2 has it invalid"),
    same("a NUL in a value", "GET /a/x HTTP/1.1\r\nHost: a\r\nX-A: 1\u{0}2\r\n\r\n"),
    same("a control byte in a value", "GET /a/x HTTP/1.1\r\nHost: a\r\nX-A: 1\u{1}2\r\n\r\n"),
    same("a space in the target", "GET /a/x y HTTP/1.1\r\nHost: a\r\n\r\n"),
    same("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    other("no version", "GET /a/x\r\nHost: a\r\n\r\n", 426, 400, "there is no such request line in HTTP/1.1"),
    other("version 2.0", "GET /a/x HTTP/2.0\r\nHost: a\r\n\r\n", 426, 505, "RFC 9110 §15.6.6"),
    same("version 1.0", "GET /a/x HTTP/1.0\r\nHost: a\r\n\r\n"),
    other("version 1.2", "GET /a/x HTTP/1.2\r\nHost: a\r\n\r\n", 426, 505, "RFC 9110 §15.6.6"),
    other(
        "a lower-case method",
        "get /a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
        200,
        "RFC 9110 §9.1: any token is a method; the origin judges it",
    ),
    other(
        "an unknown method",
        "BREW /a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
        200,
        "RFC 9110 §9.1: any token is a method; the origin judges it",
    ),
    same("a relative target", "GET a/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    other("a fragment", "GET /a/x#top HTTP/1.1\r\nHost: a\r\n\r\n", 400, 400, "only the text of the body is another"),
    same("options of the server", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    same("connect", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"),
    same("trace", "TRACE /a/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    same(
        "an upgrade that nobody granted",
        "GET /a/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    same(
        "an upgrade to h2c",
        "GET /a/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
    ),
    other(
        "empty lines before",
        "\r\n\r\nGET /a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        200,
        400,
        "RFC 9112 §2.2 asks for one; this has two",
    ),
    same("not HTTP at all", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n"),
    same("many fields", "*fields"),
    same("a head too long", "*long"),
];

/// Odd requests in their order, again from the first after the last: all of them come before one comes twice.
fn odd_request(index: usize) -> Script {
    let odd = &ODD[index % ODD.len()];
    let text = match odd.text {
        "*fields" => format!("GET /a/x HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: 1\r\n".repeat(150)),
        "*long" => format!("GET /a/x HTTP/1.1\r\nHost: a\r\nX-A: {}\r\n\r\n", "a".repeat(70_000)),
        text => text.to_owned(),
    };
    Script { pieces: vec![text.into_bytes()], methods: vec!["GET"], tags: Vec::new(), odd: Some(odd) }
}
