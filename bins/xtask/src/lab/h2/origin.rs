//! An HTTP/2 origin of a judge (by prior knowledge): reads each request whole, and answers as it is told.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::frame;
use super::session::{ENABLE_CONNECT_PROTOCOL, Event, MAX_CONCURRENT_STREAMS, Session};
use crate::lab::http::Fields;
use crate::lab::origin::Origin;

/// A connection that nobody speaks on ends after this.
const IDLE_LIMIT: Duration = Duration::from_secs(300);
/// SETTINGS of an origin that does not limit its clients.
const SETTINGS: [(u16, u32); 2] = [(MAX_CONCURRENT_STREAMS, 1_000), (ENABLE_CONNECT_PROTOCOL, 1)];

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// Pseudo-fields, too, in their order.
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    /// Empty where there were none.
    pub(crate) trailers: Fields,
}

impl Request {
    /// The first value of a field; empty if there is none.
    pub(crate) fn value(&self, name: &str) -> &str {
        value(&self.fields, name)
    }
}

/// The first value of a field; empty if there is none.
pub(crate) fn value<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
}

/// What an origin answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    /// Heads before the final one.
    pub(crate) interim: Vec<Fields>,
    /// With `:status`.
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<Fields>,
    /// RST_STREAM with this code in place of the end.
    pub(crate) reset: Option<u32>,
    /// Nothing at all; the stream stays open.
    pub(crate) silent: bool,
    /// GOAWAY before it, which leaves this stream the last; over HTTP/1 the end of the connection.
    pub(crate) go_away: bool,
}

impl Response {
    /// A status and a body.
    pub(crate) fn plain(status: u16, body: &[u8]) -> Response {
        let fields = vec![(":status".to_owned(), status.to_string())];
        Response { fields, body: body.to_vec(), ..Response::default() }
    }
}

/// Listens at 127.0.0.1 and answers each request by `answer`.
pub(crate) fn start(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Result<Origin, String> {
    Origin::start("127.0.0.1", move |stream: TcpStream| serve(stream, &answer))
}

/// Serves one connection to its end.
pub(crate) fn serve(stream: TcpStream, answer: &impl Fn(&Request) -> Response) -> io::Result<()> {
    let mut session = Session::server(stream, &SETTINGS)?;
    let mut open: BTreeMap<u32, Request> = BTreeMap::new();
    loop {
        let ended = match session.hear_until(Instant::now() + IDLE_LIMIT)? {
            Event::Fields { stream, fields, ends } => {
                match open.get_mut(&stream) {
                    Some(request) => request.trailers = fields,
                    None => {
                        open.insert(stream, Request { fields, ..Request::default() });
                    }
                }
                ends.then_some(stream)
            }
            Event::Data { stream, bytes, ends } => {
                if let Some(request) = open.get_mut(&stream) {
                    request.body.extend(bytes);
                }
                ends.then_some(stream)
            }
            Event::Reset { stream, .. } => {
                open.remove(&stream);
                None
            }
            Event::Closed | Event::Silence => return Ok(()),
            Event::GoAway { .. } | Event::Settings(_) | Event::Pong(_) => None,
        };
        let Some(stream) = ended else { continue };
        let Some(request) = open.remove(&stream) else { continue };
        send(&mut session, stream, answer(&request))?;
    }
}

/// Sends a whole answer, or queues what the windows do not let through.
pub(crate) fn send(session: &mut Session, stream: u32, response: Response) -> io::Result<()> {
    if response.silent {
        return Ok(());
    }
    if response.go_away {
        session.send(&frame::go_away(stream, 0))?;
    }
    for head in &response.interim {
        session.fields(stream, head, false)?;
    }
    // A reset may come before any head.
    if let (Some(code), true) = (response.reset, response.fields.is_empty()) {
        return session.reset(stream, code);
    }
    let ends = response.reset.is_none();
    let empty = response.body.is_empty() && response.trailers.is_none() && ends;
    session.fields(stream, &response.fields, empty)?;
    if !empty {
        session.body(stream, response.body, response.trailers, ends)?;
    }
    match response.reset {
        Some(code) => session.reset(stream, code),
        None => Ok(()),
    }
}
