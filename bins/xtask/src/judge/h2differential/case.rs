//! One case: what a client sends on one stream of a fresh connection, right or wrong, and what came of it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::lab::either::{self, Version};
use crate::lab::h2::frame::{self, flag, kind};
use crate::lab::h2::hpack;
use crate::lab::h2::origin::{Request, value};
use crate::lab::h2::session::{Event, Session};
use crate::lab::http::Fields;

/// A case that hears nothing for so long has no answer.
const SILENCE: Duration = Duration::from_secs(5);

/// Something that a client does on its stream, after the head.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Data(Vec<u8>, bool),
    Trailers(Fields, bool),
    Reset(u32),
    /// GOAWAY of the client's.
    GoAway,
    /// Waits until the proxy has read all that was sent.
    Barrier,
    /// Bytes as they are.
    Raw(Vec<u8>),
}

/// One case.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) class: &'static str,
    pub(super) name: String,
    /// What the client speaks.
    pub(super) client: Version,
    /// What the origin behind speaks.
    pub(super) back: Version,
    /// Pseudo-fields, too; any bytes.
    pub(super) fields: Fields,
    pub(super) settings: Vec<(u16, u32)>,
    pub(super) steps: Vec<Step>,
}

impl Case {
    /// A GET of `path`, to be changed.
    pub(super) fn get(class: &'static str, name: &str, path: &str) -> Case {
        let fields = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "h2.test")];
        Case {
            class,
            name: name.to_owned(),
            client: Version::Http2,
            back: Version::Http2,
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            settings: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// A POST to `/echo` with this content, in one piece.
    pub(super) fn post(class: &'static str, name: &str, content: &[u8]) -> Case {
        let mut case = Case::get(class, name, "/echo").set(":method", "POST");
        case.steps.push(Step::Data(content.to_vec(), true));
        case
    }

    /// Puts a field in the place of the first one of its name, or behind all.
    pub(super) fn set(mut self, name: &str, value: &str) -> Case {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some(field) => value.clone_into(&mut field.1),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Adds a field behind all.
    pub(super) fn add(mut self, name: &str, value: &str) -> Case {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a field before all.
    pub(super) fn first(mut self, name: &str, value: &str) -> Case {
        self.fields.insert(0, (name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a field out.
    pub(super) fn without(mut self, name: &str) -> Case {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    /// Adds a step.
    pub(super) fn step(mut self, step: Step) -> Case {
        self.steps.push(step);
        self
    }

    /// Plays it; its `number` tells the origin whose it is.
    pub(super) fn play(&self, to: SocketAddr, number: usize) -> io::Result<Outcome> {
        let mut fields = self.fields.clone();
        fields.push(("x-case".to_owned(), number.to_string()));
        if self.client == Version::Http1 {
            return self.play_http1(to, fields);
        }
        let mut session = Session::client(to, &self.settings)?;
        let block: Vec<_> = fields.iter().map(|(name, value)| (hpack::bytes(name), hpack::bytes(value))).collect();
        let block = hpack::encode(&block);
        let ends = if self.steps.is_empty() { flag::END_STREAM } else { 0 };
        let mut pieces = block.chunks(16_384).peekable();
        let mut wire = Vec::new();
        while let Some(piece) = pieces.next() {
            let first = wire.is_empty();
            let last = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
            let kind = if first { kind::HEADERS } else { kind::CONTINUATION };
            wire.extend(frame::frame(kind, last | if first { ends } else { 0 }, 1, piece));
        }
        // In as few writes as can be: what a proxy has read when it first looks is the same each time.
        let mut outcome = Outcome::default();
        for step in &self.steps {
            let more = match step {
                Step::Data(bytes, ends) => frame::frame(kind::DATA, u8::from(*ends), 1, bytes),
                Step::Trailers(fields, ends) => {
                    let block: Vec<_> =
                        fields.iter().map(|(name, value)| (hpack::bytes(name), hpack::bytes(value))).collect();
                    frame::frame(kind::HEADERS, flag::END_HEADERS | u8::from(*ends), 1, &hpack::encode(&block))
                }
                Step::Reset(code) => frame::reset(1, *code),
                Step::GoAway => frame::go_away(0, 0),
                Step::Raw(bytes) => bytes.clone(),
                Step::Barrier => {
                    // Where the connection has gone, the rest has no one to go to.
                    wire.extend(frame::frame(kind::PING, 0, 0, b"barrier!"));
                    let _closed = session.send(&std::mem::take(&mut wire));
                    while outcome.is_open() && !outcome.hear(&mut session)? {}
                    continue;
                }
            };
            wire.extend(more);
            if matches!(step, Step::Reset(_)) {
                outcome.end = "reset by the client".to_owned();
            }
        }
        let _closed = session.send(&wire);
        while outcome.is_open() {
            outcome.hear(&mut session)?;
        }
        Ok(outcome)
    }

    /// Over HTTP/1 a case is a whole request.
    fn play_http1(&self, to: SocketAddr, fields: Fields) -> io::Result<Outcome> {
        let mut request = Request { fields, ..Request::default() };
        for step in &self.steps {
            match step {
                Step::Data(bytes, _) => request.body.extend(bytes),
                Step::Trailers(fields, _) => request.trailers.clone_from(fields),
                _ => {}
            }
        }
        request.fields.retain(|(name, _)| name != ":scheme");
        let answers = either::ask(Version::Http1, to, &[request])?;
        let answer = answers.into_iter().next().unwrap_or_default();
        let end = if answer.broken.is_some() { REFUSED } else { WHOLE };
        Ok(Outcome {
            interim: answer.interim,
            status: answer.status,
            fields: answer.fields,
            body: answer.body,
            trailers: answer.trailers,
            end: end.to_owned(),
            how: answer.broken.unwrap_or_default(),
        })
    }
}

const WHOLE: &str = "whole";
const REFUSED: &str = "refused";

/// What a client saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) interim: Vec<String>,
    pub(super) status: String,
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Fields,
    /// `whole`, `refused` (by a reset or with the connection), or `silence`.
    pub(super) end: String,
    /// How it was refused; shown, not compared: Envoy closes where others reset.
    pub(super) how: String,
}

impl Outcome {
    fn is_open(&self) -> bool {
        self.end.is_empty()
    }

    /// Whether the proxy refused it, by a reset or with the connection.
    pub(super) fn is_refused(&self) -> bool {
        self.end == REFUSED
    }

    /// Takes the next event; whether it was a PING's answer.
    fn hear(&mut self, session: &mut Session) -> io::Result<bool> {
        match session.hear_until(Instant::now() + SILENCE)? {
            Event::Fields { fields, ends, stream: 1 } => {
                let status = value(&fields, ":status").to_owned();
                if !self.status.is_empty() {
                    self.trailers = fields;
                } else if status.starts_with('1') {
                    self.interim.push(status);
                } else {
                    self.status = status;
                    self.fields = fields;
                    self.fields.retain(|(name, _)| name != ":status");
                }
                self.over(ends);
            }
            Event::Data { bytes, ends, stream: 1 } => {
                self.body.extend(bytes);
                self.over(ends);
            }
            Event::Reset { code, stream: 1 } => {
                self.end = REFUSED.to_owned();
                self.how = frame::code_name(code);
            }
            Event::GoAway { code, .. } if code != 0 => {
                self.end = REFUSED.to_owned();
                self.how = format!("GOAWAY {}", frame::code_name(code));
            }
            Event::Closed => {
                self.end = REFUSED.to_owned();
                "closed".clone_into(&mut self.how);
            }
            Event::Silence => "silence".clone_into(&mut self.end),
            Event::Pong(_) => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    fn over(&mut self, ends: bool) {
        if ends {
            WHOLE.clone_into(&mut self.end);
        }
    }
}

/// One aspect in which the sides differ.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) aspect: String,
    pub(super) theirs: String,
    pub(super) own: String,
}

/// Fields that are new each time, or say who wrote them.
const PASSED_OVER: &[&str] =
    &["date", "server", "x-request-id", "x-envoy-upstream-service-time", "x-case", "transfer-encoding"];

/// Each aspect in which two sides differ.
pub(super) fn differences(theirs: &(Outcome, Vec<Request>), own: &(Outcome, Vec<Request>)) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |aspect: String, theirs: String, own: String| {
        if theirs != own {
            found.push(Difference { aspect, theirs, own });
        }
    };
    let (a, b) = (&theirs.0, &own.0);
    differ("end".to_owned(), format!("{} {}", a.end, a.status), format!("{} {}", b.end, b.status));
    if a.end == b.end {
        differ("interim".to_owned(), a.interim.join(","), b.interim.join(","));
        if a.end == WHOLE {
            differ("body".to_owned(), text(&a.body), text(&b.body));
            fields_differ("trailer", &a.trailers, &b.trailers, &mut differ);
            fields_differ("field", &a.fields, &b.fields, &mut differ);
        }
    }
    // What of a refused request had gone on already is a matter of moments; nothing of it goes on that is malformed.
    if a.end == WHOLE && b.end == WHOLE {
        differ("requests at the origin".to_owned(), theirs.1.len().to_string(), own.1.len().to_string());
    }
    for (a, b) in theirs.1.iter().zip(&own.1) {
        differ("content at the origin".to_owned(), text(&a.body), text(&b.body));
        fields_differ("trailer at the origin", &a.trailers, &b.trailers, &mut differ);
        fields_differ("field at the origin", &a.fields, &b.fields, &mut differ);
    }
    found
}

fn fields_differ(what: &str, theirs: &Fields, own: &Fields, differ: &mut impl FnMut(String, String, String)) {
    let by_name = |fields: &Fields| {
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in fields.iter().filter(|(name, _)| !PASSED_OVER.contains(&name.as_str())) {
            names.entry(name.clone()).or_default().push(value.clone());
        }
        names
    };
    let (theirs, own) = (by_name(theirs), by_name(own));
    let line =
        |values: Option<&Vec<String>>| values.map_or("nothing".to_owned(), |values| text(values.join(",").as_bytes()));
    for name in theirs.keys().chain(own.keys().filter(|name| !theirs.contains_key(*name))) {
        differ(format!("{what} {name}"), line(theirs.get(name)), line(own.get(name)));
    }
}

fn text(bytes: &[u8]) -> String {
    if bytes.len() <= 100 {
        return format!("{:?}", String::from_utf8_lossy(bytes));
    }
    let digest = bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
    format!("{} bytes with digest {digest:016x}", bytes.len())
}
