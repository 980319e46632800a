//! The rows of the checklist for HTTP/1 proxies that a client can try in one piece, by their ids; docs/HTTP1_CHECKLIST.md says where the
//! others are tested, or what was decided.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common;
use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::served_by;
use crate::common::process::Proxy;

/// Answers each request with all that it read of it, line ends written as `|`.
fn telling(mut connection: Client) {
    while let Ok(head) = connection.until(b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&head).into_owned();
        let body = match head.to_lowercase() {
            text if text.contains("chunked") => connection.until(b"0\r\n\r\n").unwrap_or_default(),
            text if text.contains("content-length: 5") => connection.bytes(5),
            _ => Vec::new(),
        };
        let told = (head + &String::from_utf8_lossy(&body)).replace("\r\n", "|");
        let length = if told.starts_with("HEAD") { 0 } else { told.len() };
        connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", length));
    }
}

/// What has to come of a row.
enum Expect {
    /// This status, and the connection ends: the origin was not asked.
    Refused(u16),
    /// This status from the proxy itself; the connection may go on.
    Answered(u16),
    /// The origin got a request with this in it, and without that.
    Passed(&'static str, &'static str),
}

use Expect::{Answered, Passed, Refused};

/// Id, the request (where it is a head alone, `Host` and the empty line are put behind it), what has to come of it.
const ROWS: &[(&str, &str, Expect)] = &[
    ("HH-01", "GET / HTTP/1.1\r\nConnection: X-A, close\r\nX-A: 1", Passed("GET / ", "X-A")),
    ("HH-02", "GET / HTTP/1.1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive", Passed("GET / ", "alive")),
    ("HH-02", "GET / HTTP/1.1\r\nTE: gzip\r\nUpgrade: x", Passed("GET / ", "gzip")),
    ("HH-04", "GET / HTTP/1.1\r\nConnection: Authorization\r\nAuthorization: x", Refused(400)),
    ("HH-04", "GET / HTTP/1.1\r\nConnection: X-Forwarded-For\r\nX-Forwarded-For: 1.1.1.1", Refused(400)),
    ("MF-1", "OPTIONS * HTTP/1.1\r\nMax-Forwards: 0", Answered(200)),
    ("MF-1", "OPTIONS /a HTTP/1.1\r\nMax-Forwards: 3", Passed("max-forwards: 2|", "3")),
    ("MF-1", "TRACE /a HTTP/1.1\r\nMax-Forwards: 10", Passed("max-forwards: 9|", "10")),
    ("MF-1", "GET /a HTTP/1.1\r\nMax-Forwards: 0", Passed("Max-Forwards: 0|", "-1")),
    ("TR-1", "TRACE /a HTTP/1.1\r\nMax-Forwards: 0\r\nCookie: secret", Answered(405)),
    ("HO-1", "GET / HTTP/1.1\r\n\r\n", Refused(400)),
    ("HO-1", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Refused(400)),
    ("HO-1", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Refused(400)),
    ("HO-2", "GET http://b.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n", Passed("GET /x HTTP/1.1|Host: b.test|", "a.test")),
    ("HO-3", "GET http://a.test/ HTTP/1.1", Passed("GET / HTTP/1.1|Host: a.test|", "http://")),
    ("HO-4", "GET http://u:p@a.test/ HTTP/1.1", Refused(400)),
    ("RL-1", "GET /*7900* HTTP/1.1", Passed("aaaaaaaa HTTP/1.1|", "#")),
    ("RL-1", "GET /*50000* HTTP/1.1", Refused(414)),
    ("RL-2", "GET  /  HTTP/1.1", Refused(400)),
    ("RL-2", "GET\t/ HTTP/1.1", Refused(400)),
    ("RL-3", "GET /a#b HTTP/1.1", Refused(400)),
    ("RL-3", "GET /a\x01b HTTP/1.1", Refused(400)),
    ("RL-3", "GET /\u{e4} HTTP/1.1", Refused(400)),
    ("RL-4", "GET / HTTP/1.1\r\n X: y", Refused(400)),
    ("RL-5", "GET /\r\n", Refused(400)),
    ("RL-5", "GET / HTTP/2.0", Refused(505)),
    ("RL-5", "GET / HTTP/1.9", Refused(505)),
    ("RL-5", "GET / HTTP/1.10", Refused(400)),
    ("LF-1", "GET / HTTP/1.1\nHost: a\n\n", Refused(400)),
    ("CR-1", "GET / HTTP/1.1\r\nX: a\rb", Refused(400)),
    ("OF-1", "GET / HTTP/1.1\r\nX: a\r\n b", Refused(400)),
    ("WS-1", "POST / HTTP/1.1\r\nContent-Length : 5", Refused(400)),
    ("FV-1", "GET / HTTP/1.1\r\nX: a\0b", Refused(400)),
    ("FV-1", "GET / HTTP/1.1\r\nX: a\x07b", Refused(400)),
    ("FN-1", "GET / HTTP/1.1\r\n: x", Refused(400)),
    ("FN-1", "GET / HTTP/1.1\r\nX(: x", Refused(400)),
    ("FN-1", "GET / HTTP/1.1\r\nX\u{e4}: x", Refused(400)),
    ("CL-1", "POST / HTTP/1.1\r\nContent-Length: +5", Refused(400)),
    ("CL-1", "POST / HTTP/1.1\r\nContent-Length: -5", Refused(400)),
    ("CL-1", "POST / HTTP/1.1\r\nContent-Length: 0x5", Refused(400)),
    ("CL-1", "POST / HTTP/1.1\r\nContent-Length: 5, 6", Refused(400)),
    ("CL-1", "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999", Refused(400)),
    ("CL-2", "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5", Refused(400)),
    ("CL-2", "POST / HTTP/1.1\r\nContent-Length: 5, 5", Refused(400)),
    ("TE-1", "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", Refused(400)),
    ("TE-2", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip", Refused(400)),
    ("TE-2", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked", Refused(501)),
    ("TE-3", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked", Refused(400)),
    ("TE-4", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked", Refused(400)),
    ("TE-4", "POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked", Refused(400)),
    ("TE-4", "POST / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"", Refused(400)),
    ("TE-4", "POST / HTTP/1.1\r\nTransfer-Encoding: \u{a0}chunked", Refused(400)),
    ("CK-1", "*0x5\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("CK-1", "*5_0\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("CK-1", "*+5\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("CK-1", "*5 \r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("CK-1", "*5\nhello\n0\n\n", Refused(400)),
    ("CK-1", "*10000000000000005\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("CK-2", "*5;a=b;c=\"d;e\"\r\nhello\r\n0;f\r\n\r\n", Passed("||5|hello|0||", ";")),
    ("CK-2", "*5;a=\r\nhello\r\n0\r\n\r\n", Refused(400)),
    ("CK-5", "*005\r\nhello\r\n00\r\n\r\n", Passed("||5|hello|0||", "005")),
    ("PA-1", "GET /a%2fb/../c?x=%2f HTTP/1.1", Passed("GET /a%2fb/../c?x=%2f HTTP/1.1|", "#")),
    (
        "UP-1",
        "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A",
        Passed("GET /", "h2c"),
    ),
];

/// The bytes of a row.
fn wire(row: &str) -> Vec<u8> {
    let text = match row.strip_prefix('*') {
        Some(body) => format!("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}"),
        None if row.ends_with('\n') => row.to_owned(),
        None => format!("{row}\r\nHost: a.test\r\n\r\n"),
    };
    let text = match text.split_once('*').and_then(|(start, rest)| Some((start, rest.split_once('*')?))) {
        Some((start, (count, rest))) if !count.is_empty() => {
            start.to_owned() + &"a".repeat(count.parse().expect("a number")) + rest
        }
        _ => text,
    };
    // One byte a character: what is beyond ASCII is a byte above 0x7f.
    text.chars().map(|character| u8::try_from(u32::from(character)).expect("Latin-1")).collect()
}

#[test]
fn rows() {
    on_each_driver(|io| {
        let config = Config::new().to("/", "c").route("path: '*'", "route: {cluster: c}");
        let proxy = Proxy::start(io, &config.cluster("c", served_by(telling)));
        for (id, row, expect) in ROWS {
            let mut client = proxy.client();
            client.send(wire(row));
            let answer = client.response(row.starts_with("HEAD"));
            let (status, text) = (answer.status(), answer.text());
            match expect {
                Refused(expect) => {
                    assert_eq!(status, *expect, "{id} {row:?}: {text}");
                    assert_eq!(answer.header("connection"), Some("close"), "{id} {row:?}");
                    assert!(client.ended(), "{id} {row:?}");
                }
                Answered(expect) => assert_eq!((status, text.as_str()), (*expect, ""), "{id} {row:?}"),
                Passed(with, without) => {
                    assert_eq!(status, 200, "{id} {row:?}: {text}");
                    assert!(text.contains(with) && !text.contains(without), "{id} {row:?}: {text}");
                }
            }
        }
        // PL-3: nothing behind the last request is read.
        let mut client = proxy.client();
        client.send("GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.response(false).text().starts_with("GET /1 "));
        assert!(client.ended(), "PL-3");
        // PL-4: what is refused is read before the close; no reset takes the answer away.
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n").send(vec![b'x'; 100_000]);
        assert_eq!(client.response(false).status(), 400, "PL-4");
        assert!(client.ended(), "PL-4");
    });
}

/// The page has each row of HTTP/1, and each test that it names exists.
#[test]
fn the_page_names_every_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/HTTP1_CHECKLIST.md")).expect("the page");
    let mut listed = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("| ") && line.contains('-')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (id, place) = (cells[0], cells[1]);
        assert!(listed.insert(id.to_owned()), "{id} stands there twice");
        if place == "decided" {
            assert!(cells[2].len() > 20, "{id}: what was decided?");
        } else if place == "rows" {
            let has = ROWS.iter().any(|(row, ..)| *row == id) || ["PL-3", "PL-4"].contains(&id);
            assert!(has, "{id} has no row");
        } else {
            let (file, test) = place.trim_matches('`').split_once("::").unwrap_or_else(|| panic!("{id}: {place}"));
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{id}: {file}: {error}"));
            assert!(text.contains(&format!("fn {test}(")), "{id}: {file} has no test {test}");
        }
    }
    for (id, ..) in ROWS {
        assert!(listed.contains(*id), "{id} is not on the page");
    }
    let folder = std::env::var_os("RINGWAY_CONFORMANCE").map_or_else(|| root.join("../shared/conformance"), Into::into);
    let Ok(checklist) = std::fs::read_to_string(folder.join("rfc-proxy-checklist.tsv")) else {
        return common::skip("the checklist is not there");
    };
    // The rest is of HTTP/2, gRPC, TLS and the PROXY protocol, but for two rows that stand among these.
    let other = ["H2-", "GR-", "TL-", "PP-", "HO-5", "CO-3"];
    let ids = checklist.lines().skip(1).filter_map(|line| line.split('\t').next());
    let wanted: BTreeSet<String> =
        ids.filter(|id| !other.iter().any(|start| id.starts_with(start))).map(str::to_owned).collect();
    assert_eq!(listed, wanted);
}
