//! The attacks that `h2-attacks.json` only describes, each with what must hold.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Stand;
use crate::lab::h2::frame;
use crate::lab::h2::origin::{Request, Response, value};
use crate::lab::h2::session::{Event, INITIAL_WINDOW_SIZE, LIMIT, Session, fields};
use crate::lab::http::{Head, read_body};
use crate::lab::pace::wait_for;

/// Fields of the connection manager: a stream that nothing moves on is given up.
pub(super) const FRONT: &str = "stream_idle_timeout: 2s,";
/// Longer than what may lie in the proxy and its sockets for one stream.
const BIG: usize = 1 << 20;
const STREAMS: usize = 100;
/// SETTINGS_INITIAL_WINDOW_SIZE at its highest.
const WINDOW_MAX: u32 = 0x7FFF_FFFF;

/// Plays one, and says what held or what did not.
type Attack = fn(&mut Stand) -> Result<String, String>;

/// Name and judge of each.
pub(super) const ALL: &[(&str, Attack)] = &[
    ("data_dribble", data_dribble),
    ("internal_data_buffering", internal_data_buffering),
    ("slow_read", slow_read),
    ("window_zero_after_headers", window_zero_after_headers),
    ("rst_after_goaway", rst_after_goaway),
    ("h2c_smuggle", h2c_smuggle),
    ("settings_ack_missing", settings_ack_missing),
    ("many_1byte_data", many_1byte_data),
];

/// The good origin: `/big` is long, a POST comes back, all else is short.
pub(super) fn answer(request: &Request) -> Response {
    match (request.value(":method"), request.value(":path")) {
        ("POST", _) => Response::plain(200, &request.body),
        (_, "/big") => {
            static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(BIG));
            BIG_ANSWERS.fetch_add(1, Ordering::Relaxed);
            Response::plain(200, &CONTENT)
        }
        _ => Response::plain(200, b"good"),
    }
}

/// Long answers that origins have begun.
static BIG_ANSWERS: AtomicUsize = AtomicUsize::new(0);

/// The same over HTTP/1: it says which of the fields that matter came.
pub(super) fn answer_http1(mut stream: TcpStream) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        read_body(&mut from, head.request_framing()?)?;
        let unclean: Vec<&str> =
            head.fields.iter().map(|(name, _)| name.as_str()).filter(|name| is_of_h2c(name)).collect();
        let body = unclean.join(",");
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
    }
    Ok(())
}

fn is_of_h2c(name: &str) -> bool {
    ["upgrade", "http2-settings"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

/// The fields of a GET.
pub(super) fn get(path: &str) -> Vec<(String, String)> {
    fields(&[(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a.test")])
}

/// CVE-2019-9511: a hundred long answers, one byte of window at a time.
fn data_dribble(stand: &mut Stand) -> Result<String, String> {
    let credits = stand.bench.count as usize / 10;
    let (front, mut frames) = (stand.front, 0);
    stand.watched(|| {
        let mut session = Session::client(front, &[(INITIAL_WINDOW_SIZE, 1)])?;
        session.credits = false;
        let streams: Vec<u32> = (0..STREAMS).map(|_| session.open(&get("/big"), true)).collect::<io::Result<_>>()?;
        for round in 0..credits.div_ceil(STREAMS) {
            let mut got = 0;
            while got < STREAMS {
                match session.hear()? {
                    Event::Data { .. } => got += 1,
                    event @ (Event::Closed | Event::Reset { .. } | Event::GoAway { .. }) => {
                        return Ok(format!("{event:?} in round {round}, after {got} of {STREAMS} bytes"));
                    }
                    Event::Silence => return Err(io::Error::other(format!("silence in round {round}"))),
                    _ => {}
                }
            }
            frames += got;
            session.send(&streams.iter().flat_map(|stream| frame::window_update(*stream, 1)).collect::<Vec<u8>>())?;
        }
        Ok(format!("{frames} frames for as many credits"))
    })
}

/// CVE-2019-9517: all windows wide open, a hundred long answers, and the socket never read. With a proxy of its own: memory that another flood
/// has taken would hide what this one takes.
fn internal_data_buffering(stand: &mut Stand) -> Result<String, String> {
    let mut own = Stand::start(stand.bench, "h2attacks-buffering", stand.burst)?;
    let front = own.front;
    own.growth_max = super::BUFFERED_MAX;
    own.watched(|| {
        let all = BIG_ANSWERS.load(Ordering::Relaxed) + STREAMS;
        let mut session = Session::client(front, &[(INITIAL_WINDOW_SIZE, WINDOW_MAX)])?;
        session.send(&frame::window_update(0, WINDOW_MAX - 65_535))?;
        for _ in 0..STREAMS {
            session.open(&get("/big"), true)?;
        }
        // Until the origin has begun all of them, and what lies in the proxy has no more room to grow: others' requests are what passes the time.
        wait_for("all answers at the origin", LIMIT, || (BIG_ANSWERS.load(Ordering::Relaxed) >= all).then_some(()))
            .map_err(io::Error::other)?;
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            crate::lab::pace::pause(Duration::from_millis(50));
        }
        Ok("100 answers of 1 MiB unread".to_owned())
    })
}

/// A window of 0 that is never opened.
fn slow_read(stand: &mut Stand) -> Result<String, String> {
    let front = stand.front;
    stand.watched(|| {
        let mut session = Session::client(front, &[(INITIAL_WINDOW_SIZE, 0)])?;
        session.open(&get("/big"), true)?;
        loop {
            match session.hear()? {
                Event::Reset { code, .. } => return Ok(format!("RST_STREAM {}", frame::code_name(code))),
                Event::Closed | Event::GoAway { .. } => return Ok("closed".to_owned()),
                Event::Silence => return Err(io::Error::other("held open beyond its stream_idle_timeout")),
                _ => {}
            }
        }
    })
}

/// RFC 9113 §6.9.2: the window goes below nothing in the middle of an answer, and comes back; no byte is lost.
fn window_zero_after_headers(stand: &mut Stand) -> Result<String, String> {
    let front = stand.front;
    stand.watched(|| {
        let mut session = Session::client(front, &[(INITIAL_WINDOW_SIZE, 65_535)])?;
        session.credits = false;
        let stream = session.open(&get("/big"), true)?;
        let mut body = Vec::new();
        while body.len() < 65_535 {
            match session.hear()? {
                Event::Data { bytes, .. } => body.extend(bytes),
                Event::Closed | Event::Silence => return Err(io::Error::other("no first window of content")),
                _ => {}
            }
        }
        session.send(&frame::settings(&[(INITIAL_WINDOW_SIZE, 0)]))?;
        session.send(&[frame::window_update(0, WINDOW_MAX - 65_535), frame::window_update(stream, 65_535)].concat())?;
        // The stream's window is 65,535 - 65,535 + (0 - 65,535) + 65,535 = 0: nothing may come before this answer.
        session.send(&frame::frame(frame::kind::PING, 0, 0, b"nothing?"))?;
        loop {
            match session.hear()? {
                Event::Pong(_) => break,
                Event::Data { bytes, .. } if !bytes.is_empty() => {
                    return Err(io::Error::other("content beyond the window"));
                }
                Event::Closed | Event::Silence => return Err(io::Error::other("no answer to a PING")),
                _ => {}
            }
        }
        session.send(&frame::settings(&[(INITIAL_WINDOW_SIZE, BIG as u32)]))?;
        loop {
            match session.hear()? {
                Event::Data { bytes, ends, .. } => {
                    body.extend(bytes);
                    if ends {
                        break;
                    }
                }
                Event::Closed | Event::Silence | Event::Reset { .. } => return Err(io::Error::other("no end")),
                _ => {}
            }
        }
        if body == pattern(BIG) { Ok("every byte there".to_owned()) } else { Err(io::Error::other("other bytes")) }
    })
}

/// CVE-2023-35945: an origin says GOAWAY and resets what is open, while requests queue.
fn rst_after_goaway(stand: &mut Stand) -> Result<String, String> {
    const AT_ONCE: usize = 20;
    let rounds = (stand.bench.count as usize / AT_ONCE / 10).max(5);
    let (front, bad) = (stand.front, stand.bad.clone());
    bad.prepare(&super::origin::rst_after_goaway(), 0);
    let result = stand.watched(|| {
        let mut session = Session::client(front, &[])?;
        for round in 0..rounds {
            for _ in 0..AT_ONCE {
                session.open(&get("/bad"), true)?;
            }
            let mut answered = 0;
            while answered < AT_ONCE {
                match session.hear()? {
                    Event::Fields { ends, .. } | Event::Data { ends, .. } => answered += usize::from(ends),
                    Event::Reset { .. } => answered += 1,
                    Event::Closed | Event::Silence => {
                        return Err(io::Error::other(format!("{answered} of {AT_ONCE} answered in round {round}")));
                    }
                    _ => {}
                }
            }
        }
        Ok(format!("{} requests answered", rounds * AT_ONCE))
    });
    bad.end();
    result
}

/// HTTP/1.1 `Upgrade: h2c`: it ends here, and the request is one like others.
fn h2c_smuggle(stand: &mut Stand) -> Result<String, String> {
    let front = stand.front;
    stand.watched(|| {
        let mut stream = TcpStream::connect_timeout(&front, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(
            b"GET /old HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        )?;
        let mut from = BufReader::new(stream);
        let head = Head::read(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (body, _) = read_body(&mut from, head.response_framing("GET")?)?;
        match (head.status(), body.as_slice()) {
            (200, b"") => Ok("a request like others".to_owned()),
            // Refusing it is as safe.
            (status @ 400..500, _) => Ok(format!("refused with {status}")),
            (status, body) => {
                Err(io::Error::other(format!("{status}, and the origin got {:?}", String::from_utf8_lossy(body))))
            }
        }
    })
}

/// A client that never acknowledges SETTINGS: tolerated or closed.
fn settings_ack_missing(stand: &mut Stand) -> Result<String, String> {
    let front = stand.front;
    let count = stand.bench.count / 10;
    stand.watched(|| {
        let mut stream = TcpStream::connect_timeout(&front, LIMIT)?;
        stream.set_nodelay(true)?;
        stream.write_all(&[frame::PREFACE, &frame::settings(&[])].concat())?;
        let block = crate::lab::h2::hpack::encode(&get("/"));
        let mut reader = frame::Reader::default();
        let mut ended = 0;
        for number in 0..count {
            let flags = frame::flag::END_HEADERS | frame::flag::END_STREAM;
            stream.write_all(&frame::frame(frame::kind::HEADERS, flags, 2 * number as u32 + 1, &block))?;
            loop {
                match reader.hear(&stream, Instant::now() + LIMIT) {
                    frame::Heard::Frame(frame) if frame.ends() => break,
                    frame::Heard::Frame(_) => {}
                    frame::Heard::Closed { .. } => return Ok(format!("closed after {ended} requests")),
                    frame::Heard::Silence => return Err(io::Error::other(format!("silence after {ended} requests"))),
                }
            }
            stream.write_all(&[frame::window_update(0, 4)].concat())?;
            ended += 1;
        }
        Ok(format!("{ended} requests answered without an ACK"))
    })
}

/// CVE-2020-12603: content in frames of one byte.
fn many_1byte_data(stand: &mut Stand) -> Result<String, String> {
    let front = stand.front;
    let size = stand.bench.count as usize * 5;
    stand.watched(|| {
        let mut session = Session::client(front, &[])?;
        session.piece = 1;
        let mut head = get("/echo");
        head[0].1 = "POST".to_owned();
        let stream = session.open(&head, false)?;
        let sent = pattern(size);
        session.body(stream, sent.clone(), None, true)?;
        let mut body = Vec::new();
        let mut status = String::new();
        loop {
            match session.hear()? {
                Event::Fields { fields, .. } => status = value(&fields, ":status").to_owned(),
                Event::Data { bytes, ends, .. } => {
                    body.extend(bytes);
                    if ends {
                        break;
                    }
                }
                Event::Reset { code, .. } => return Ok(format!("RST_STREAM {}", frame::code_name(code))),
                Event::GoAway { code, .. } => return Ok(format!("GOAWAY {}", frame::code_name(code))),
                Event::Closed => return Ok("closed".to_owned()),
                Event::Silence => return Err(io::Error::other("silence")),
                _ => {}
            }
        }
        if body == sent {
            return Ok(format!("{status}, {size} bytes back"));
        }
        if status.starts_with('5') {
            return Ok(format!("answered {status}"));
        }
        Err(io::Error::other(format!("{status} with {} bytes that are not the same", body.len())))
    })
}
