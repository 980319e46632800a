//! One exchange over either version of HTTP: a client that asks, and an origin that answers by the same function.
//!
//! Requests and responses are in HTTP/2's form (pseudo-fields first, names in lower case), so that what came can be compared
//! with what was sent whichever versions lay between.

use std::collections::BTreeMap;
use std::io::{self, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};

use super::h2::frame::code_name;
use super::h2::origin::{self as h2_origin, Request, Response, value};
use super::h2::session::{Event, LIMIT, Session};
use super::http::{Fields, Framing, Head, read_body, write_chunk};
use super::origin::Origin;

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

impl Version {
    pub(crate) const ALL: [Version; 2] = [Version::Http1, Version::Http2];

    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Version::Http1 => "h1",
            Version::Http2 => "h2",
        }
    }
}

/// What came for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Statuses of heads before the final one.
    pub(crate) interim: Vec<String>,
    pub(crate) status: String,
    /// Of the final head, without pseudo-fields; names in lower case.
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    /// What broke it off, if something did: the name of an error code, or `closed`.
    pub(crate) broken: Option<String>,
}

/// An origin of this version, by prior knowledge.
pub(crate) fn origin(
    version: Version,
    answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
) -> Result<Origin, String> {
    match version {
        Version::Http2 => h2_origin::start(answer),
        Version::Http1 => Origin::start("127.0.0.1", move |stream: TcpStream| serve(stream, &answer)),
    }
}

/// Serves one HTTP/1.1 connection to its end.
fn serve(mut stream: TcpStream, answer: &impl Fn(&Request) -> Response) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        let mut words = head.line.split(' ');
        let [method, path] = [words.next().unwrap_or_default(), words.next().unwrap_or_default()];
        let host = head.values("host").next().unwrap_or_default();
        let mut fields: Fields = [(":method", method), (":path", path), (":authority", host)]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .into();
        let method = method.to_owned();
        fields.extend(lower(&head.fields).into_iter().filter(|(name, _)| name != "host"));
        if head.has_word("expect", "100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let (body, trailers) = read_body(&mut from, head.request_framing()?)?;
        let response = answer(&Request { fields, body, trailers: lower(&trailers) });
        if !write_response(&mut stream, &method, &response)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes an answer; whether the connection goes on.
fn write_response(stream: &mut TcpStream, method: &str, response: &Response) -> io::Result<bool> {
    let mut wire = Vec::new();
    for interim in &response.interim {
        write_head(&mut wire, interim);
    }
    if response.silent || (response.reset.is_some() && response.fields.is_empty()) {
        stream.write_all(&wire)?;
        return Ok(response.silent);
    }
    let status = value(&response.fields, ":status");
    let without = method == "HEAD" || status == "204" || status == "304";
    let mut fields = response.fields.clone();
    let known = fields.iter().any(|(name, _)| name == "content-length");
    let chunked = response.trailers.is_some() || response.reset.is_some();
    if chunked && !without {
        fields.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
    } else if response.go_away {
        fields.push(("connection".to_owned(), "close".to_owned()));
        fields.push(("content-length".to_owned(), response.body.len().to_string()));
    } else if !without && !known {
        fields.push(("content-length".to_owned(), response.body.len().to_string()));
    }
    write_head(&mut wire, &fields);
    if !without && chunked {
        for piece in response.body.chunks(10_000) {
            write_chunk(&mut wire, piece)?;
        }
        if response.reset.is_none() {
            wire.extend(b"0\r\n");
            write_fields(&mut wire, response.trailers.as_deref().unwrap_or_default());
        }
    } else if !without {
        wire.extend(&response.body);
    }
    stream.write_all(&wire)?;
    Ok(response.reset.is_none() && !response.go_away)
}

fn write_head(wire: &mut Vec<u8>, fields: &[(String, String)]) {
    let status = fields.iter().find(|(name, _)| name == ":status").map_or("", |(_, status)| status);
    wire.extend(format!("HTTP/1.1 {status} Word\r\n").into_bytes());
    write_fields(wire, fields);
}

/// Field lines and the empty line; pseudo-fields are passed over.
fn write_fields(wire: &mut Vec<u8>, fields: &[(String, String)]) {
    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(':')) {
        wire.extend(super::h2::hpack::bytes(&format!("{name}: {value}\r\n")));
    }
    wire.extend(b"\r\n");
}

fn lower(fields: &Fields) -> Fields {
    fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
}

/// Asks for all of these on one connection: one after the other over HTTP/1, all at once over HTTP/2.
pub(crate) fn ask(version: Version, to: SocketAddr, requests: &[Request]) -> io::Result<Vec<Answer>> {
    match version {
        Version::Http1 => ask_in_turn(to, requests),
        Version::Http2 => ask_at_once(to, requests),
    }
}

fn ask_in_turn(to: SocketAddr, requests: &[Request]) -> io::Result<Vec<Answer>> {
    let stream = TcpStream::connect_timeout(&to, LIMIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut from = BufReader::new(stream.try_clone()?);
    let mut answers = Vec::new();
    for request in requests {
        let mut wire = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\n",
            request.value(":method"),
            request.value(":path"),
            request.value(":authority")
        )
        .into_bytes();
        let known = !request.value("content-length").is_empty();
        let chunked = !request.trailers.is_empty() || (!request.body.is_empty() && !known);
        if chunked {
            wire.extend(b"transfer-encoding: chunked\r\n");
        }
        write_fields(&mut wire, &request.fields);
        if chunked {
            for piece in request.body.chunks(10_000) {
                write_chunk(&mut wire, piece)?;
            }
            wire.extend(b"0\r\n");
            write_fields(&mut wire, &request.trailers);
        } else {
            wire.extend(&request.body);
        }
        let mut to = stream.try_clone()?;
        // A proxy may answer before it has read all; who only writes would wait for who only writes.
        let answer = std::thread::scope(|scope| {
            let writing = scope.spawn(move || to.write_all(&wire));
            let answer = read_answer(&mut from, request.value(":method"));
            let _ended = writing.join();
            answer
        })?;
        let broken = answer.broken.is_some();
        answers.push(answer);
        if broken {
            break;
        }
    }
    Ok(answers)
}

fn read_answer(from: &mut BufReader<TcpStream>, method: &str) -> io::Result<Answer> {
    let mut answer = Answer::default();
    let head = loop {
        let head = match Head::read(from) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(Answer { broken: Some("closed".to_owned()), ..answer }),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {
                return Ok(Answer { broken: Some("closed".to_owned()), ..answer });
            }
            Err(e) => return Err(e),
        };
        if head.status() >= 200 || head.status() == 101 {
            break head;
        }
        answer.interim.push(head.status().to_string());
    };
    answer.status = head.status().to_string();
    answer.fields = lower(&head.fields);
    let framing = head.response_framing(method)?;
    match read_body(from, framing) {
        Ok((body, trailers)) => (answer.body, answer.trailers) = (body, lower(&trailers)),
        Err(_) => answer.broken = Some("closed".to_owned()),
    }
    if framing == Framing::Close {
        answer.fields.push((":framing".to_owned(), "close".to_owned()));
    }
    Ok(answer)
}

fn ask_at_once(to: SocketAddr, requests: &[Request]) -> io::Result<Vec<Answer>> {
    let mut session = Session::client(to, &[])?;
    let mut open = BTreeMap::new();
    for (at, request) in requests.iter().enumerate() {
        let mut fields = request.fields.clone();
        if request.value(":scheme").is_empty() {
            fields.insert(1, (":scheme".to_owned(), "http".to_owned()));
        }
        let whole = request.body.is_empty() && request.trailers.is_empty();
        let stream = session.open(&fields, whole)?;
        if !whole {
            let trailers = (!request.trailers.is_empty()).then(|| request.trailers.clone());
            session.body(stream, request.body.clone(), trailers, true)?;
        }
        open.insert(stream, at);
    }
    let mut answers = vec![Answer::default(); requests.len()];
    while !open.is_empty() {
        let event = session.hear()?;
        let ended = match event {
            Event::Fields { stream, mut fields, ends } => {
                if let Some(at) = open.get(&stream) {
                    let answer = &mut answers[*at];
                    if !answer.status.is_empty() {
                        answer.trailers = fields;
                    } else {
                        let status = value(&fields, ":status").to_owned();
                        if status.starts_with('1') {
                            answer.interim.push(status);
                        } else {
                            fields.retain(|(name, _)| name != ":status");
                            (answer.status, answer.fields) = (status, fields);
                        }
                    }
                }
                ends.then_some(stream)
            }
            Event::Data { stream, bytes, ends } => {
                if let Some(at) = open.get(&stream) {
                    answers[*at].body.extend(bytes);
                }
                ends.then_some(stream)
            }
            Event::Reset { stream, code } => {
                if let Some(at) = open.get(&stream) {
                    answers[*at].broken = Some(code_name(code));
                }
                Some(stream)
            }
            Event::Closed => {
                for at in open.values() {
                    answers[*at].broken = Some("closed".to_owned());
                }
                break;
            }
            Event::Silence => return Err(io::Error::new(ErrorKind::TimedOut, format!("{} not answered", open.len()))),
            Event::GoAway { .. } | Event::Settings(_) | Event::Pong(_) => None,
        };
        if let Some(stream) = ended {
            open.remove(&stream);
        }
    }
    Ok(answers)
}
