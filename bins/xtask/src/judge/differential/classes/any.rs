//! Any request: of all that is ordinary, drawn by chance.

use crate::judge::differential::case::{Case, Tag};
use crate::lab::chance::Chance;

/// One of any kind.
pub(super) fn request(chance: &mut Chance) -> Case {
    let case = Case::new(chance, "");
    cut(with_request(case, chance, 8), chance)
}

/// One with a body.
pub(super) fn with_body(chance: &mut Chance) -> Case {
    let case = Case::new(chance, "");
    cut(with_request(case, chance, 1), chance)
}

/// A GET without anything special.
pub(super) fn get(chance: &mut Chance, path: &str) -> Case {
    Case::of(chance, "", "GET", &format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
}

/// Two to four requests in one write.
pub(super) fn pipeline(chance: &mut Chance) -> Case {
    let mut case = Case::new(chance, "");
    for _ in 0..2 + chance.below(3) {
        case = with_request(case, chance, 8);
    }
    case
}

/// Whole, or cut at one point: a head or body that comes in two segments.
fn cut(case: Case, chance: &mut Chance) -> Case {
    if chance.once_in(3) { case.split(chance) } else { case }
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

/// One more request; once in `body` with a body also where the method seldom has one.
fn with_request(mut case: Case, chance: &mut Chance, body: usize) -> Case {
    let method = *chance.pick(METHODS);
    let (path, tag) = *chance.pick(PATHS);
    let mut tags = Vec::from_iter(tag);
    let mut fields = vec![format!("Host: {}", chance.pick(HOSTS))];
    for _ in 0..chance.below(5) {
        let field = chance.pick(FIELDS);
        fields.insert(chance.below(fields.len() + 1), (*field).to_owned());
    }
    let mut content = Vec::new();
    if matches!(method, "POST" | "PUT" | "PATCH") || chance.once_in(body) {
        let size = *chance.pick(&[0, 1, 10, 1_000, 16_384, 100_000]);
        content = chance.bytes(size);
        tags.extend((path == "/dead/x").then_some(Tag::Unsent));
        if chance.once_in(2) {
            fields.push("Transfer-Encoding: chunked".to_owned());
            content = chunked(chance, &content, &mut tags);
        } else {
            fields.push(format!("Content-Length: {size}"));
        }
        if chance.once_in(6) {
            fields.push("Expect: 100-continue".to_owned());
            tags.push(Tag::Expect);
        }
    }
    let head = format!("{method} {path} HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n"));
    // Field values are written as Latin-1, so that one of them has a byte above 0x7f.
    let mut bytes: Vec<u8> =
        head.chars().map(|character| u8::try_from(character).expect("the tables are Latin-1")).collect();
    bytes.extend(content);
    case = case.request(method, bytes);
    tags.into_iter().fold(case, Case::tag)
}

fn chunked(chance: &mut Chance, mut content: &[u8], tags: &mut Vec<Tag>) -> Vec<u8> {
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
        tags.push(Tag::Trailers);
        body.extend_from_slice(b"0\r\nX-Trailer: 1\r\n\r\n");
    } else {
        body.extend_from_slice(b"0\r\n\r\n");
    }
    body
}
