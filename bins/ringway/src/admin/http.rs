//! As much of HTTP/1.1 as an admin server needs: one request on a connection, one answer, close. Who speaks HTTP/2 is found out here, too.
//!
//! Not the proxy's codec: this is ordinary blocking code for a handful of trusted clients, and shares nothing with the
//! workers. Everything is bounded: the head, a body that is read only to be thrown away, and the time for both.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::socket::Stream as Socket;
use crate::command::Command;

/// The longest head; a regular expression in a query is the longest thing that anybody sends.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The longest body that is read (and ignored), so that a client that sends one still gets its answer.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// How long a client may take to send its request, and again to take the answer's next bytes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What was asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// `GET`, `POST`, ...
    pub(crate) method: String,
    /// The target up to its query.
    pub(crate) path: String,
    /// HTTP/1.1: the answer may come in chunks.
    pub(crate) takes_chunks: bool,
    /// The query's parameters in order, decoded; a parameter without `=` has an empty value.
    pub(crate) query: Vec<(String, String)>,
}

impl Request {
    /// The first value of this parameter, where it was given at all.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on: given, and not by `false` or `0`.
    pub(crate) fn switch(&self, name: &str) -> bool {
        self.parameter(name).is_some_and(|value| !matches!(value, "false" | "0"))
    }
}

/// How a connection begins.
#[derive(Debug)]
pub(crate) enum Opening {
    /// With a request of HTTP/1.
    Request(Request),
    /// With the preface of HTTP/2: all that was read.
    Http2(Vec<u8>),
}

/// What is answered.
#[derive(Debug)]
pub(crate) struct Response {
    /// The status.
    pub(crate) status: u16,
    /// `content-type`.
    pub(crate) content_type: &'static str,
    /// The body.
    pub(crate) body: Body,
    /// What is done once the answer is written: a process that ends first would leave its client without one.
    pub(crate) then: Option<Command>,
}

/// An answer's body.
pub(crate) enum Body {
    /// Whole, and short.
    Text(String),
    /// Written while it is sent, so that a long one takes no more memory than [`PIECE_BYTES`].
    Stream(Stream),
}

/// What writes a long body.
pub(crate) type Stream = Box<dyn FnOnce(&mut dyn fmt::Write) -> fmt::Result>;

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Text(text) => text.fmt(formatter),
            Body::Stream(_) => formatter.write_str("a stream"),
        }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body::Text(text)
    }
}

/// `content-type` of plain text, as Envoy writes it.
pub(crate) const TEXT: &str = "text/plain; charset=UTF-8";

impl Response {
    /// Plain text.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Response {
        Response { status, content_type: TEXT, body: body.into().into(), then: None }
    }

    /// JSON, indented.
    pub(crate) fn json(value: &serde_json::Value) -> Response {
        Response { status: 200, content_type: "application/json", body: format!("{value:#}\n").into(), then: None }
    }

    /// A long text that is written while it is sent.
    pub(crate) fn stream(
        content_type: &'static str,
        write: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result + 'static,
    ) -> Response {
        Response { status: 200, content_type, body: Body::Stream(Box::new(write)), then: None }
    }
}

/// The first line of HTTP/2's preface and the empty one behind it (RFC 9113 §3.4), which end a head of HTTP/1: it is no request there.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Reads a request from a client that has until `deadline`, or finds that it speaks HTTP/2.
///
/// # Errors
/// `Err(Some)`: what to answer instead. `Err(None)`: the client is gone or too slow, there is nobody to answer.
pub(crate) fn read(stream: &mut Socket, deadline: Instant) -> Result<Opening, Option<Response>> {
    let mut head = Vec::new();
    let end = loop {
        if let Some(at) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at;
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Err(Some(Response::text(431, "the request's head is too long\n")));
        }
        let mut piece = [0; 2048];
        let count = read_some(stream, &mut piece, deadline).map_err(|_| None)?;
        head.extend_from_slice(&piece[..count]);
    };
    if head.starts_with(PREFACE) {
        return Ok(Opening::Http2(head));
    }
    let (request, body) = parse(&head[..end]).map_err(|why| Some(Response::text(400, format!("{why}\n"))))?;
    if body > BODY_BYTES_MAX {
        return Err(Some(Response::text(413, "the request's body is too long\n")));
    }
    let mut left = body.saturating_sub((head.len() - end - 4) as u64);
    while left > 0 {
        let mut piece = [0; 2048];
        left = left.saturating_sub(read_some(stream, &mut piece, deadline).map_err(|_| None)? as u64);
    }
    Ok(Opening::Request(request))
}

/// Reads what there is, once there is something.
pub(super) fn read_some(stream: &mut Socket, piece: &mut [u8], deadline: Instant) -> io::Result<usize> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(left)?;
        match stream.read(piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            // With a time limit also where the process was stopped or frozen, without any signal handler (signal(7)).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Reads a head (without the empty line that ends it): the request and the length of its body.
fn parse(head: &[u8]) -> Result<(Request, u64), &'static str> {
    let head = std::str::from_utf8(head).map_err(|_| "the request's head is not text")?;
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let [method, target, version @ ("HTTP/1.1" | "HTTP/1.0")] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err("the request line is not METHOD TARGET HTTP/1.1");
    };
    if method.is_empty() || !target.starts_with('/') {
        return Err("the request line is not METHOD TARGET HTTP/1.1");
    }
    let mut body = 0;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a header has no colon")?;
        if name.eq_ignore_ascii_case("content-length") {
            body = value.trim().parse().map_err(|_| "Content-Length is not a number")?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("a body must come with its Content-Length");
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (decoded(key), decoded(value))
        })
        .collect();
    let takes_chunks = version == "HTTP/1.1";
    Ok((Request { method: method.into(), path: path.into(), takes_chunks, query }, body))
}

/// `%41` is `A`. `+` stays: it means something in the regular expressions that queries carry.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten();
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Bytes of a long body that are collected before they are sent.
const PIECE_BYTES: usize = 64 * 1024;

/// What the client said of how it wants its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taking {
    /// Not for HEAD.
    pub(crate) body: bool,
    /// HTTP/1.1.
    pub(crate) chunks: bool,
}

/// Writes the answer and ends the connection. A client that does not take it in time loses it.
pub(crate) fn write(stream: &mut Socket, response: Response, taking: Taking) -> io::Result<()> {
    let Response { status, content_type, body, .. } = response;
    let length = match (&body, taking.chunks) {
        (Body::Text(text), _) => format!("content-length: {}\r\n", text.len()),
        (Body::Stream(_), true) => "transfer-encoding: chunked\r\n".to_owned(),
        // Its end is that of the connection.
        (Body::Stream(_), false) => String::new(),
    };
    let head = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: {content_type}\r\n{length}cache-control: no-cache, max-age=0\r\n\
         x-content-type-options: nosniff\r\nserver: ringway\r\nconnection: close\r\n\r\n",
        reason(status),
    );
    stream.set_write_timeout(PATIENCE)?;
    stream.write_all(head.as_bytes())?;
    match body {
        _ if !taking.body => {}
        Body::Text(text) => stream.write_all(text.as_bytes())?,
        Body::Stream(write) => {
            let piece = String::with_capacity(PIECE_BYTES);
            let mut pieces = Pieces { stream, piece, chunks: taking.chunks, result: Ok(()) };
            // A failure is in `result`.
            let _ = write(&mut pieces).and_then(|()| pieces.flush());
            let Pieces { result, chunks, .. } = pieces;
            result?;
            if chunks {
                stream.write_all(b"0\r\n\r\n")?;
            }
        }
    }
    stream.finish()
}

/// A long body on its way, piece by piece.
struct Pieces<'s> {
    stream: &'s mut Socket,
    piece: String,
    chunks: bool,
    result: io::Result<()>,
}

impl Pieces<'_> {
    fn flush(&mut self) -> fmt::Result {
        if self.piece.is_empty() {
            return Ok(());
        }
        self.result = send_piece(self.stream, &self.piece, self.chunks);
        self.piece.clear();
        self.result.as_ref().map(|_| ()).map_err(|_| fmt::Error)
    }
}

fn send_piece(stream: &mut Socket, piece: &str, as_chunk: bool) -> io::Result<()> {
    if !as_chunk {
        return stream.write_all(piece.as_bytes());
    }
    stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
    stream.write_all(piece.as_bytes())?;
    stream.write_all(b"\r\n")
}

impl fmt::Write for Pieces<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.piece.len() + text.len() > PIECE_BYTES {
            self.flush()?;
        }
        self.piece.push_str(text);
        Ok(())
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, path, query, length of the body.
    type Read<'e> = (&'e str, &'e str, &'e [(&'e str, &'e str)], u64);

    #[track_caller]
    fn check(head: &str, expect: Result<Read<'_>, &str>) {
        let found = parse(head.as_bytes());
        let expect = expect.map(|(method, path, query, body)| {
            let query = query.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
            let takes_chunks = head.contains(" HTTP/1.1");
            (Request { method: method.into(), path: path.into(), takes_chunks, query }, body)
        });
        match (found, expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found, expect),
            (Err(found), Err(expect)) => assert!(found.contains(expect), "{found}"),
            (found, expect) => panic!("{found:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn requests_are_read() {
        check("GET /ready HTTP/1.1\r\nHost: a", Ok(("GET", "/ready", &[], 0)));
        check("POST /x HTTP/1.0\r\ncontent-LENGTH: 12", Ok(("POST", "/x", &[], 12)));
        check(
            "GET /stats?usedonly&filter=%5eserver%5C.%28a+b%29&&x=1=2&y=%zz%4 HTTP/1.1",
            Ok(("GET", "/stats", &[("usedonly", ""), ("filter", "^server\\.(a+b)"), ("x", "1=2"), ("y", "%zz%4")], 0)),
        );
        check(
            "GET /stats?filter=^(server\\.state|x) HTTP/1.1",
            Ok(("GET", "/stats", &[("filter", "^(server\\.state|x)")], 0)),
        );
    }

    #[test]
    fn what_is_no_request_is_refused() {
        check("", Err("request line"));
        check("GET  / HTTP/1.1", Err("request line"));
        check("GET / HTTP/2", Err("request line"));
        check("GET http://a/ HTTP/1.1", Err("request line"));
        check("GET / HTTP/1.1\r\nnonsense", Err("colon"));
        check("POST / HTTP/1.1\r\nContent-Length: -1", Err("Content-Length"));
        check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked", Err("Content-Length"));
    }

    #[test]
    fn switches_are_on_when_given() {
        let (request, _) = parse(b"GET /?a&b=true&c=false&d=0 HTTP/1.1").expect("a request");
        assert_eq!(["a", "b", "c", "d", "e"].map(|name| request.switch(name)), [true, true, false, false, false]);
    }
}
