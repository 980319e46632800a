//! Outside judges: vectors that other projects wrote, from `../shared/conformance` (or `$RINGWAY_CONFORMANCE`).

use ringway_protocols::audit::audit;
use ringway_protocols::script::{Outcome, Side, Stop, play_every_way};
use ringway_protocols::{Limits, Method};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The folder, or `None` after saying so; a missing judge fails where all are required.
#[allow(clippy::print_stderr, reason = "a skip has to be seen")]
fn conformance(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("RINGWAY_CONFORMANCE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"), PathBuf::from);
    if folder.join(name).exists() {
        return Some(folder.join(name));
    }
    assert!(std::env::var("RINGWAY_REQUIRE_ALL").as_deref() != Ok("1"), "{name} is required and not there");
    eprintln!("SKIP {name}: not found beside the project; set RINGWAY_CONFORMANCE");
    None
}

fn has_complete(outcome: &Outcome) -> bool {
    outcome.messages.iter().any(|message| message.complete)
}

/// Chunk parsing probes (w4ke, 2025): each has a second reading for a lenient parser. 48 are refused; the 4 whose inverted
/// form is nothing but an empty last chunk are right by themselves, and are read as one empty message and nothing more.
#[test]
fn funky_chunks() {
    let Some(path) = conformance("funky-chunks.json") else { return };
    let text = std::fs::read_to_string(path).expect("a readable judge");
    let (mut probes, mut refused, mut plain) = (0, 0, 0);
    let mut id = String::new();
    for line in text.lines() {
        let Some((key, value)) = line.trim().trim_end_matches(',').split_once(": ") else { continue };
        let value = value.trim_matches('"');
        match key.trim_matches('"') {
            "id" => id = value.to_owned(),
            "forward_hex" | "inverted_hex" => {
                probes += 1;
                let wire = String::from_utf8(unhex(value)).expect("ASCII").replace("__HOST__", "a.test");
                let outcome = play_every_way(Side::Request, wire.as_bytes(), &Limits::default());
                if wire.ends_with("\r\n\r\n0\r\n\r\n") && wire.matches("\r\n\r\n").count() == 2 {
                    plain += 1;
                    assert_eq!((outcome.stop, outcome.messages.len()), (Stop::Closed, 1), "{id}");
                    assert!(outcome.messages[0].content.is_empty(), "{id}");
                    assert_eq!(audit(&outcome.forwarded), Ok(1), "{id}");
                } else {
                    refused += 1;
                    assert!(matches!(outcome.stop, Stop::Refused(_)) && !has_complete(&outcome), "{id}: {outcome:?}");
                }
            }
            _ => {}
        }
    }
    assert_eq!((probes, refused, plain), (52, 48, 4));
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

/// One vector of llhttp's.
struct Vector {
    name: String,
    side: Side,
    wire: Vec<u8>,
    /// What llhttp's strict mode says: an error that is not a pause of its own API.
    refused: bool,
}

fn llhttp_vectors(text: &str, file: &str) -> Vec<Vector> {
    let mut vectors = Vec::new();
    let (mut heading, mut meta, mut block, mut wire) =
        (String::new(), String::new(), None::<(String, Vec<&str>)>, None);
    for line in text.lines() {
        if let Some((kind, lines)) = &mut block {
            if line.starts_with("```") {
                match &**kind {
                    "http" => wire = Some(unescape(&lines.join("\n"))),
                    "log" => {
                        let side = match () {
                            () if meta.contains("\"type\": \"request\"") => Some(Side::Request),
                            () if meta.contains("\"type\": \"response\"") => Some(Side::Response(Method::Get)),
                            () => None, // a lenient mode, or a test of llhttp's own API
                        };
                        if let (Some(side), Some(wire)) = (side, wire.take()) {
                            let refused = lines.iter().any(|line| {
                                line.contains(" error code=")
                                    && !["=21 ", "=22 ", "=23 "].iter().any(|p| line.contains(p))
                            });
                            vectors.push(Vector { name: format!("{file}: {heading}"), side, wire, refused });
                        }
                    }
                    _ => {}
                }
                block = None;
            } else {
                lines.push(line);
            }
        } else if let Some(kind) = line.strip_prefix("```") {
            block = Some((kind.to_owned(), Vec::new()));
        } else if let Some(title) = line.strip_prefix('#') {
            heading = title.trim_start_matches('#').trim().to_owned();
        } else if line.contains("meta=") {
            meta = line.to_owned();
        }
    }
    vectors
}

/// llhttp's notation: a line end is CRLF, an escaped one is none, and control bytes are written as escapes.
fn unescape(text: &str) -> Vec<u8> {
    let text = text.replace("\\\n", "").replace('\n', "\r\n");
    let text = text.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t").replace("\\f", "\x0c");
    let mut bytes = Vec::new();
    let mut rest = &*text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(&after[..2], 16).expect("two digits"));
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// llhttp does not look at Host; most of its requests have none.
fn with_host(wire: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(wire).to_lowercase();
    match (text.contains("\nhost"), text.find("http/1.1\r\n")) {
        (false, Some(at)) => {
            let (line, rest) = wire.split_at(at + "http/1.1\r\n".len());
            [line, b"Host: a.test\r\n", rest].concat()
        }
        _ => wire.to_vec(),
    }
}

#[test]
fn llhttp() {
    let Some(folder) = conformance("llhttp/test") else { return };
    let mut disagreements = BTreeMap::new();
    let mut vectors = 0;
    for side in ["request", "response"] {
        let mut files: Vec<_> = std::fs::read_dir(folder.join(side))
            .expect("a readable judge")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        for path in files {
            let file = format!("{side}/{}", path.file_name().expect("a file").to_string_lossy());
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            for vector in llhttp_vectors(&text, &file) {
                vectors += 1;
                let wire = if side == "request" { with_host(&vector.wire) } else { vector.wire };
                let outcome = play_every_way(vector.side, &wire, &Limits::default());
                let refused = matches!(outcome.stop, Stop::Refused(_));
                if refused != vector.refused {
                    let ours = format!(
                        "{:?} llhttp refused={}\n{:?}",
                        outcome.stop,
                        vector.refused,
                        String::from_utf8_lossy(&wire)
                    );
                    disagreements.insert(vector.name, ours);
                }
            }
        }
    }
    assert_eq!(vectors, 209, "the judge has grown or shrunk");
    let reviewed: Vec<_> = REVIEWED.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let new: Vec<_> = disagreements.iter().filter(|(name, _)| !reviewed.contains(&name.as_str())).collect();
    assert!(new.is_empty(), "{new:#?}");
    let gone: Vec<_> = reviewed.iter().filter(|name| !disagreements.contains_key(**name)).collect();
    assert!(gone.is_empty(), "no longer a disagreement: {gone:#?}");
}

/// Where the verdict differs from llhttp's, and why ours stands.
const REVIEWED: [(&str, &[&str]); 11] = [
    (
        "llhttp refuses what follows a last message; we close without reading it (RFC 9112 §9.6)",
        &[
            "request/connection.md: CRLF between requests, explicit `close`",
            "request/connection.md: CRLF between requests, explicit `close` followed by tab",
            "response/connection.md: HTTP/1.1 with keep-alive disabled and 204 status",
            "response/connection.md: HTTP/1.1 with keep-alive disabled, content-length",
        ],
    ),
    (
        "more than one empty line before a request, or any before a response (RFC 9112 §2.2 asks for one, before requests)",
        &[
            "request/connection.md: CRLF between requests, implicit `keep-alive`",
            "response/connection.md: HTTP 100 first, then 400",
            "response/connection.md: HTTP 304 with Content-Length",
            "response/pipelining.md: Should parse multiple events",
            "response/sample.md: Response starting with CRLF",
        ],
    ),
    (
        "llhttp stops at a request to upgrade; we read on until a 101, and a client that sends more before it is not HTTP/1",
        &[
            "request/connection.md: Multiple tokens with folding and LWS",
            "request/connection.md: Upgrade GET request",
            "request/connection.md: Upgrade POST request",
        ],
    ),
    (
        "the vector's second request has no Host (RFC 9112 §3.2)",
        &[
            "request/connection.md: Restarting when keep-alive is explicitly",
            "request/pipelining.md: Should parse multiple events",
        ],
    ),
    (
        "llhttp has a list of methods; a proxy passes any token (RFC 9110 §9.1)",
        &["request/invalid.md: HTTP protocol and ANNOUNCE method", "request/invalid.md: Invalid method"],
    ),
    (
        "another protocol or version: RTSP, ICE, HTTP/0.9 (RFC 9112 §2.3)",
        &[
            "request/method.md: ANNOUNCE request with RTSP",
            "request/method.md: OPTIONS request with RTSP",
            "request/method.md: SOURCE request with ICE",
            "request/sample.md: No HTTP version",
            "response/sample.md: HTTP version 0.9",
            "response/sample.md: ICE response",
            "response/sample.md: RTSP response",
        ],
    ),
    ("a CR alone (RFC 9112 §2.2)", &["request/invalid.md: Headers separated by CR"]),
    (
        "content where there is none: CONNECT (RFC 9110 §9.3.6), 101 (RFC 9110 §8.6, RFC 9112 §6.1)",
        &[
            "request/method.md: CONNECT with body",
            "response/connection.md: HTTP 101 response with Upgrade and Content-Length header",
            "response/connection.md: HTTP 101 response with Upgrade and Transfer-Encoding header",
        ],
    ),
    (
        "a target that is not one: `*` for OPTIONS alone (RFC 9112 §3.2.4), fragments (§3.2), userinfo (RFC 9110 §4.2.4)",
        &[
            "request/method.md: M-SEARCH request",
            "request/method.md: PRI request HTTP2",
            "request/transfer-encoding.md: POST with `chunked` as last transfer-encoding",
            "request/transfer-encoding.md: POST with `chunked` as last transfer-encoding (multiple headers)",
            "request/uri.md: Fragment in URI",
            "request/uri.md: `host:port` and basic auth",
        ],
    ),
    (
        "absolute-form with a query and no path is legal; nobody sends it, and its path is not among its bytes",
        &[
            "request/uri.md: Host terminated by a query string",
            "request/uri.md: `host:port` terminated by a query string",
        ],
    ),
    (
        "a coding that is not chunked alone: RFC 9112 §6.3 would read until close, and two readers may not agree on where that is",
        &[
            "response/transfer-encoding.md: `chunked` before other transfer-encoding",
            "response/transfer-encoding.md: `chunkedchunked` transfer-encoding does not enable chunked enconding",
            "response/transfer-encoding.md: multiple transfer-encoding where chunked is not the last one",
        ],
    ),
];
