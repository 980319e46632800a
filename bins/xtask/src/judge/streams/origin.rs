//! Origins that wait until all have asked, over either version: content for each GET, a check of what each POST brings.
//!
//! One request is apart: its path says that its content is read only when it may be.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::STREAMS_MAX;
use crate::lab::either::Version;
use crate::lab::h2::origin::{Response, send, value};
use crate::lab::h2::session::{Event, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, Session};
use crate::lab::http::{Fields, Framing, Head};
use crate::lab::origin::Origin;
use crate::lab::pattern::Pattern;

/// Between two looks at whether something is allowed now.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Requests that have not come after this never will.
const ASKED_LIMIT: Duration = Duration::from_secs(60);
/// An origin waits longer than that for its judge.
const LIMIT: Duration = Duration::from_secs(300);
/// What a client's stream may send before it is given more: less than its content, so that who gets no more waits.
const WINDOW: u32 = 4_096;
/// The path of what is apart.
pub(super) const APART: &str = "/apart";
/// The path of what is answered at once.
pub(super) const FIRST: &str = "/first";

/// What origins tell their judge, and what it allows.
#[derive(Debug)]
pub(super) struct Gate {
    pattern: Pattern,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Requests that came.
    asked: usize,
    may_answer: bool,
    may_read_apart: bool,
}

impl Gate {
    pub(super) fn new(seed: u64) -> Arc<Gate> {
        Arc::new(Gate { pattern: Pattern::new(seed), state: Mutex::default(), changed: Condvar::new() })
    }

    /// The content of every message.
    pub(super) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Waits until so many have asked.
    pub(super) fn wait_asked(&self, streams: usize) -> Result<(), String> {
        let came = || format!("{} of {streams} requests came to the origin", self.state().asked);
        self.wait(ASKED_LIMIT, |state| state.asked >= streams).map_err(|_| came())
    }

    pub(super) fn let_answer(&self) {
        self.change(|state| state.may_answer = true);
    }

    pub(super) fn let_read_apart(&self) {
        self.change(|state| state.may_read_apart = true);
    }

    fn state(&self) -> State {
        *self.state.lock().expect("no holder panics")
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.state.lock().expect("no holder panics"));
        self.changed.notify_all();
    }

    fn wait(&self, limit: Duration, is: impl Fn(&State) -> bool) -> io::Result<()> {
        let state = self.state.lock().expect("no holder panics");
        let (state, _) = self.changed.wait_timeout_while(state, limit, |state| !is(state)).expect("no holder panics");
        if is(&state) { Ok(()) } else { Err(ErrorKind::TimedOut.into()) }
    }
}

/// An origin of this version.
pub(super) fn start(version: Version, gate: &Arc<Gate>) -> Result<Origin, String> {
    let gate = Arc::clone(gate);
    Origin::start("127.0.0.1", move |stream: TcpStream| match version {
        Version::Http1 => serve_http1(stream, &gate),
        Version::Http2 => serve_http2(stream, &gate),
    })
}

/// The number that a path ends with.
fn size(path: &str) -> usize {
    path.rsplit('/').next().and_then(|size| size.parse().ok()).unwrap_or(0)
}

fn serve_http1(mut stream: TcpStream, gate: &Gate) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        gate.change(|state| state.asked += 1);
        let path = head.line.split(' ').nth(1).unwrap_or_default().to_owned();
        let status = match head.request_framing()? {
            Framing::Length(came) if came > 0 => {
                if path.starts_with(APART) {
                    gate.wait(LIMIT, |state| state.may_read_apart)?;
                }
                let mut content = vec![0; came as usize];
                from.read_exact(&mut content)?;
                if gate.pattern.holds(0, &content) { 200 } else { 500 }
            }
            _ => 200,
        };
        if !path.starts_with(FIRST) {
            gate.wait(LIMIT, |state| state.may_answer)?;
        }
        let size = size(&path) as u64;
        stream.write_all(format!("HTTP/1.1 {status} Word\r\ncontent-length: {size}\r\n\r\n").as_bytes())?;
        gate.pattern.write(&mut stream, 0, size)?;
    }
    Ok(())
}

/// A request that is under way.
struct Open {
    path: String,
    /// How much of its content came, all of it right.
    came: Option<usize>,
}

fn serve_http2(stream: TcpStream, gate: &Gate) -> io::Result<()> {
    let settings = [(MAX_CONCURRENT_STREAMS, STREAMS_MAX), (INITIAL_WINDOW_SIZE, WINDOW)];
    let mut session = Session::server(stream, &settings)?;
    let mut open = std::collections::BTreeMap::<u32, Open>::new();
    let mut ended = Vec::new();
    loop {
        match session.hear_until(Instant::now() + LOOK_EVERY)? {
            Event::Fields { stream, fields, ends } => {
                gate.change(|state| state.asked += 1);
                let path = path(&fields);
                if !ends && path.starts_with(APART) {
                    session.starved = Some(stream);
                }
                open.insert(stream, Open { path, came: Some(0) });
                if ends {
                    ended.push(stream);
                }
            }
            Event::Data { stream, bytes, ends } => {
                if let Some(request) = open.get_mut(&stream) {
                    let came = request.came.filter(|came| gate.pattern.holds(*came as u64, &bytes));
                    request.came = came.map(|came| came + bytes.len());
                }
                if ends {
                    ended.push(stream);
                }
            }
            Event::Reset { stream, .. } => {
                open.remove(&stream);
            }
            Event::Closed => return Ok(()),
            Event::Silence | Event::GoAway { .. } | Event::Settings(_) | Event::Pong(_) => {}
        }
        let state = gate.state();
        if state.may_read_apart {
            session.feed()?;
        }
        for stream in std::mem::take(&mut ended) {
            if !state.may_answer && !open.get(&stream).is_some_and(|request| request.path.starts_with(FIRST)) {
                ended.push(stream);
                continue;
            }
            let Some(request) = open.remove(&stream) else { continue };
            let status = if request.came.is_some() { 200 } else { 500 };
            let content = content(gate, size(&request.path));
            send(&mut session, stream, Response::plain(status, &content))?;
        }
    }
}

fn path(fields: &Fields) -> String {
    value(fields, ":path").to_owned()
}

fn content(gate: &Gate, size: usize) -> Vec<u8> {
    let mut content = Vec::with_capacity(size);
    gate.pattern.write(&mut content, 0, size as u64).expect("writing to memory");
    content
}
