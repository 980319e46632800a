//! Ten thousand streams on one connection: each gets its share, one that takes nothing holds up nobody, and an open one costs little.
//!
//! Downloads: all ask, the origin answers when all have, the client opens all streams' windows at once but one's, and the connection's
//! bit by bit, so that the proxy always has something to send of many streams: what it sends of each is its own choice. Uploads: the
//! origin gives all streams windows but one. In both, all others come to their end while that one waits, and it then comes to its own.

mod origin;
mod spread;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::origin::{APART, FIRST, Gate};
use self::spread::Spread;
use super::{Bench, verdict};
use crate::lab::config::{Config, Http2, route};
use crate::lab::either::Version;
use crate::lab::h2::frame;
use crate::lab::h2::origin::value;
use crate::lab::h2::session::{Event, INITIAL_WINDOW_SIZE, Session, fields};
use crate::lab::origin::Origin;
use crate::lab::pace::{pause, wait_for};
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;

/// What both sides of the proxy allow on a connection.
pub(super) const STREAMS_MAX: u32 = 20_000;
/// HTTP/1 origins get a part of the streams: each takes a connection, and a thread of the judge.
const HTTP1_PART: u64 = 4;
/// Requests on their way to the origin: as many connections wait to be accepted by an HTTP/1 origin, whose backlog is 128.
const AT_ONCE: usize = 64;
/// What a stream may send to the proxy. The connection takes as much of each, so that no stream waits for an origin.
const WINDOW: usize = 65_535;
/// Content of each download, and of the one that is apart.
const DOWNLOAD_HTTP1: usize = 256 << 10;
const DOWNLOAD_HTTP2: usize = WINDOW;
const DOWNLOAD_APART: usize = 1 << 20;
/// The same of uploads.
const UPLOAD: usize = 16 << 10;
const UPLOAD_APART: usize = 64 << 10;
/// What the proxy sends of a stream in its turn.
const TURN: u64 = 16 << 10;
/// One receive of an origin that is read little by little, as those of many streams are: each stream holds so much at least.
const CHUNK: u64 = 4 << 10;
/// What may be left of a turn for the next.
const TURN_REST: u64 = 2 << 10;
/// How far one stream may be ahead of another: the one turn that it has had and the other has not; one that the other lost
/// when it had sent all that waited, and had to stand behind the others again; and one for which the other had too little waiting.
const SPREAD_MAX: usize = (3 * TURN + TURN_REST) as usize;
/// What waits in the proxy for the one that is apart: the window that it gave, or a receive of 64 KiB that was taken and one that was not, and as much
/// again for holding that in blocks.
const HELD_MAX: u64 = 256 << 10;
/// What waits in the proxy for each stream while the connection's window is shut and its own is not: what its next turn sends, a receive of 64 KiB, one
/// that was not taken, and what holding that in blocks costs.
const FULL_MAX: u64 = 192 << 10;
/// A connection's window at its begin (RFC 9113 §6.9.2).
const CONNECTION_WINDOW: usize = 65_535;
/// A proxy has taken so much after this.
const FULL_LIMIT: Duration = Duration::from_secs(60);
/// A proxy has taken all that it will when that does not change for so many looks.
const LOOKS: usize = 50;
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A proxy is done with streams that have ended after this.
const SETTLED_LIMIT: Duration = Duration::from_secs(60);
/// Resident memory of an open stream that waits, with its stream at the origin; over HTTP/1 with a connection there.
const STREAM_BYTES_MAX: u64 = 6 << 10;
/// What the client's connection is opened by at once.
const CREDIT: u32 = 64 << 10;

pub(super) fn run(bench: &Bench) -> Verdict {
    verdict(judge(bench))
}

fn judge(bench: &Bench) -> Result<String, String> {
    let mut said = Vec::new();
    for (version, streams) in [(Version::Http2, bench.count), (Version::Http1, bench.count / HTTP1_PART)] {
        for (name, play) in [("down", downloads as Play), ("up", uploads as Play)] {
            let begun = Instant::now();
            let stand = Stand::start(bench, version, name)?;
            let way = format!("h2->{} {name} {streams}", version.name());
            let line = play(&stand, version, streams as usize).map_err(|why| format!("{way}: {why}"))?;
            println!("{way}: {line}; {:.1} s", begun.elapsed().as_secs_f64());
            said.push(format!("{way}: {line}"));
        }
    }
    Ok(said.join("; "))
}

type Play = fn(&Stand, Version, usize) -> Result<String, String>;

/// A proxy and the origin behind it.
struct Stand {
    proxy: Proxy,
    front: SocketAddr,
    gate: Arc<Gate>,
    _origin: Origin,
}

impl Stand {
    fn start(bench: &Bench, version: Version, name: &str) -> Result<Stand, String> {
        let gate = Gate::new(bench.seed);
        let origin = origin::start(version, &gate)?;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let connection = WINDOW as u64 * bench.count;
        let options = format!(
            "max_concurrent_streams: {STREAMS_MAX}, initial_stream_window_size: {WINDOW}, \
             initial_connection_window_size: {connection}"
        );
        let hosts = format!("[{{name: all, domains: [\"*\"], routes: [{}]}}]", route("/", "back"));
        let fields = format!("stream_idle_timeout: 0s, http2_protocol_options: {{{options}}},");
        let config = Config::default().listener_with_hosts("front", any, &hosts, &fields);
        let config = match version {
            Version::Http1 => config.cluster("back", &[origin.address]),
            Version::Http2 => config.cluster_http2("back", &[origin.address], &Http2 { options: &options, common: "" }),
        };
        let name = format!("{}-{name}", version.name());
        let file = bench.folder.join(format!("{name}.yaml"));
        std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
        let launch = Launch {
            kind: bench.kind,
            folder: &bench.folder,
            name: &name,
            file: &file,
            concurrency: 1,
            arguments: &[],
        };
        let proxy = Proxy::start(&launch)?;
        let front = proxy.listener("front")?;
        Ok(Stand { proxy, front, gate, _origin: origin })
    }

    /// Bytes in the runtime's blocks: what waits.
    fn waiting(&self) -> Result<u64, String> {
        self.proxy.workers_sum("blocks_in_use_bytes")
    }

    /// What waits for each of so many streams when no more comes, beyond this.
    fn full(&self, streams: usize, idle: u64) -> Result<u64, String> {
        let (mut last, mut same) = (0, 0);
        wait_for("a part of each stream to lie in the proxy", FULL_LIMIT, || {
            let now = self.waiting().unwrap_or(0).saturating_sub(idle) / streams as u64;
            (last, same) = (now, if now == last { same + 1 } else { 0 });
            pause(LOOK_EVERY);
            (same >= LOOKS && now >= CHUNK).then_some(now)
        })
    }

    /// What waits beyond this, once the proxy is done with streams that have ended.
    fn held(&self, idle: u64) -> Result<u64, String> {
        let mut held = 0;
        let waited = wait_for("streams that have ended", SETTLED_LIMIT, || {
            held = self.waiting().unwrap_or(u64::MAX).saturating_sub(idle);
            (held <= HELD_MAX).then_some(held)
        });
        Ok(waited.unwrap_or(held))
    }
}

/// The fields of a request for so many bytes.
fn request(method: &str, path: &str, size: usize) -> Vec<(String, String)> {
    fields(&[(":method", method), (":scheme", "http"), (":path", &format!("{path}/{size}")), (":authority", "a.test")])
}

/// The place of the one that is apart among so many.
fn apart_of(streams: usize) -> usize {
    streams / 2
}

fn downloads(stand: &Stand, version: Version, streams: usize) -> Result<String, String> {
    let said = |e: io::Error| e.to_string();
    let mut taking = Taking::begin(stand, version).map_err(said)?;
    // The first request paid for what all share.
    let (resident, idle) = (stand.proxy.resident_bytes(), stand.waiting()?);
    taking.ask(streams)?;
    stand.gate.wait_asked(1 + streams)?;
    let each = stand.proxy.resident_bytes().saturating_sub(resident) / streams as u64;
    stand.gate.let_answer();
    taking.heads().map_err(said)?;
    taking.open_all_but_one().map_err(said)?;
    let full = stand.full(streams, idle)?;
    let cpu = stand.proxy.cpu_time();
    let after_first = taking.all_but_one().map_err(said)?;
    let cpu = (stand.proxy.cpu_time() - cpu).as_secs_f64() * 1e6 / ((streams * taking.due) >> 20) as f64;
    let held = stand.held(idle)?;
    taking.the_last().map_err(said)?;
    let spread = taking.spread.widest();
    let line = format!(
        "{each} B resident each; {} KiB each wait for the connection; {} KiB apart at most, the first ended when all had {:.0} %, \
         {cpu:.0} us of CPU for each MiB; {} KiB held for one",
        full >> 10,
        spread >> 10,
        100.0 * after_first as f64 / taking.due as f64,
        held >> 10
    );
    let wrong = [
        (spread > SPREAD_MAX, "one stream was ahead of another"),
        (full > FULL_MAX, "too much waits for the connection's window"),
        (held > HELD_MAX, "too much waits for one"),
        (each > STREAM_BYTES_MAX, "too much memory for an open stream"),
    ];
    match wrong.iter().find(|(is, _)| *is) {
        Some((_, what)) => Err(format!("{what}: {line}")),
        None => Ok(line),
    }
}

/// A client that takes what it asked for.
struct Taking<'a> {
    session: Session,
    gate: &'a Gate,
    /// What each stream is to get.
    due: usize,
    /// The place of each stream.
    of: BTreeMap<u32, usize>,
    /// What each has got.
    got: Vec<usize>,
    /// Of all but the one that is apart.
    spread: Spread,
    apart: usize,
}

impl Taking<'_> {
    /// Uses the connection's window up, so that nothing goes until it is opened.
    fn begin(stand: &Stand, version: Version) -> io::Result<Taking<'_>> {
        let mut session = Session::client(stand.front, &[(INITIAL_WINDOW_SIZE, 0)])?;
        session.credits = false;
        let stream = session.open(&request("GET", FIRST, CONNECTION_WINDOW), true)?;
        session.send(&frame::window_update(stream, CONNECTION_WINDOW as u32))?;
        let due = match version {
            Version::Http1 => DOWNLOAD_HTTP1,
            Version::Http2 => DOWNLOAD_HTTP2,
        };
        let of = BTreeMap::new();
        let mut taking =
            Taking { session, gate: &stand.gate, due, of, got: Vec::new(), spread: Spread::new(0), apart: usize::MAX };
        let mut left = CONNECTION_WINDOW;
        while left > 0 {
            match taking.session.hear()? {
                Event::Data { bytes, .. } => left -= bytes.len(),
                Event::Fields { ends: false, .. } | Event::Settings(_) | Event::Pong(_) => {}
                event => return Err(unexpected(&event, "the first answer")),
            }
        }
        Ok(taking)
    }

    /// Opens so many streams.
    fn ask(&mut self, streams: usize) -> Result<(), String> {
        self.apart = apart_of(streams);
        self.got = vec![0; streams];
        self.spread = Spread::new(streams - 1);
        for at in 0..streams {
            let (path, size) = if at == self.apart { (APART, DOWNLOAD_APART) } else { ("/one", self.due) };
            let stream = self.session.open(&request("GET", path, size), true).map_err(|e| e.to_string())?;
            self.of.insert(stream, at);
            if at % AT_ONCE == 0 {
                self.gate.wait_asked(1 + at)?;
            }
        }
        Ok(())
    }

    /// Waits for all heads.
    fn heads(&mut self) -> io::Result<()> {
        let mut left = self.of.len();
        while left > 0 {
            match self.session.hear()? {
                Event::Fields { fields, ends: false, .. } if value(&fields, ":status") == "200" => left -= 1,
                Event::Data { bytes, .. } if bytes.is_empty() => {}
                Event::Settings(_) | Event::Pong(_) => {}
                event => return Err(unexpected(&event, &format!("{left} heads to come"))),
            }
        }
        Ok(())
    }

    /// Opens the windows of all streams but one, and not the connection's.
    fn open_all_but_one(&mut self) -> io::Result<()> {
        let all = self.of.iter().filter(|(_, at)| **at != self.apart);
        let wire: Vec<u8> = all.flat_map(|(stream, _)| frame::window_update(*stream, self.due as u32)).collect();
        self.session.send(&wire)
    }

    /// Takes all content but the one's; what who had least had when the first had all.
    fn all_but_one(&mut self) -> io::Result<usize> {
        let (mut left, mut taken, mut after_first) = (self.of.len() - 1, CREDIT, None);
        while left > 0 {
            if taken >= CREDIT / 2 {
                self.session.send(&frame::window_update(0, taken))?;
                taken = 0;
            }
            let (at, size, ended) = self.piece()?;
            if at == self.apart {
                return Err(io::Error::other("content without a window"));
            }
            self.spread.got(self.got[at] - size, size);
            if ended {
                left -= 1;
                after_first.get_or_insert(self.spread.last());
            }
            taken += size as u32;
        }
        Ok(after_first.unwrap_or(self.due))
    }

    /// Takes the one's.
    fn the_last(&mut self) -> io::Result<()> {
        let stream = self.of.iter().find(|(_, at)| **at == self.apart).map_or(0, |(stream, _)| *stream);
        let size = DOWNLOAD_APART as u32;
        self.session.send(&[frame::window_update(stream, size), frame::window_update(0, size)].concat())?;
        while !self.piece()?.2 {}
        Ok(())
    }

    /// The next piece of content: whose, how much, and whether it was the last.
    fn piece(&mut self) -> io::Result<(usize, usize, bool)> {
        loop {
            match self.session.hear()? {
                Event::Data { stream, bytes, ends } => {
                    let at = *self.of.get(&stream).ok_or_else(|| io::Error::other("content for nobody"))?;
                    if !self.gate.pattern().holds(self.got[at] as u64, &bytes) {
                        return Err(io::Error::other(format!("other bytes on stream {stream}")));
                    }
                    self.got[at] += bytes.len();
                    let due = if at == self.apart { DOWNLOAD_APART } else { self.due };
                    if ends && self.got[at] != due {
                        return Err(io::Error::other(format!("{} bytes instead of {due}", self.got[at])));
                    }
                    return Ok((at, bytes.len(), ends));
                }
                Event::Settings(_) | Event::Pong(_) => {}
                event => {
                    let ended = self.got.iter().filter(|got| **got >= self.due).count();
                    return Err(unexpected(&event, &format!("{ended} streams had all")));
                }
            }
        }
    }
}

fn uploads(stand: &Stand, _: Version, streams: usize) -> Result<String, String> {
    let said = |e: io::Error| e.to_string();
    let mut session = Session::client(stand.front, &[]).map_err(said)?;
    stand.gate.let_answer();
    let idle = stand.waiting()?;
    let apart = apart_of(streams);
    let mut apart_stream = 0;
    for at in 0..streams {
        let (path, size) = if at == apart { (APART, UPLOAD_APART) } else { ("/one", UPLOAD) };
        let mut request = request("POST", path, 0);
        request.push(("content-length".to_owned(), size.to_string()));
        let stream = session.open(&request, false).map_err(said)?;
        if at % AT_ONCE == 0 {
            stand.gate.wait_asked(at)?;
        }
        let content = stand.gate.pattern().piece(0, size as u64).to_vec();
        session.body(stream, content, None, true).map_err(said)?;
        if at == apart {
            apart_stream = stream;
        }
    }
    let mut left = streams;
    let mut answered = |session: &mut Session, until: usize| -> Result<(), String> {
        while left > until {
            match session.hear().map_err(said)? {
                Event::Fields { fields, stream, .. } if value(&fields, ":status") == "200" => {
                    left -= 1;
                    if stream == apart_stream && until > 0 {
                        return Err("the one was answered before its time".to_owned());
                    }
                }
                Event::Data { .. } | Event::Settings(_) | Event::Pong(_) => {}
                event => return Err(unexpected(&event, &format!("{left} answers to come")).to_string()),
            }
        }
        Ok(())
    };
    answered(&mut session, 1)?;
    let held = stand.held(idle)?;
    stand.gate.let_read_apart();
    answered(&mut session, 0)?;
    let line = format!("{} KiB held for one", held >> 10);
    if held > HELD_MAX { Err(format!("too much waits: {line}")) } else { Ok(line) }
}

fn unexpected(event: &Event, when: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{event:?}, {when}"))
}
