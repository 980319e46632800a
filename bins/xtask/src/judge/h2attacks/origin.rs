//! An origin that floods: what a client may do wrong, done by the other side; and the requests that provoke it.

use std::io::{self, BufReader, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::flood::{self, Flood, Outcome};
use crate::lab::h2::frame::{self, Heard, PREFACE, Reader, flag, frame, kind};
use crate::lab::h2::hpack;
use crate::lab::http::{Head, read_body};
use crate::lab::origin::Origin;
use crate::lab::pace::wait_for;

/// What an origin does wrong.
#[derive(Clone, Debug)]
pub(super) struct Attack {
    pub(super) id: String,
    how: How,
}

/// When, and what.
#[derive(Clone, Debug)]
enum How {
    /// At the first request: frames that name no stream, or one of the flood's own.
    Connection(Flood),
    /// At the first request, on its stream: the first unit, then the other without end.
    Stream([fn(u32) -> Vec<u8>; 2]),
    /// In answer to each request, once.
    Answer(fn(u32) -> Vec<u8>),
}

/// Fields of an answer, as a block.
fn block(more: &[(&str, &str)]) -> Vec<u8> {
    hpack::encode(&[&[(":status", "200")], more].concat())
}

fn head(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, block)
}

const WHOLE: u8 = flag::END_HEADERS | flag::END_STREAM;

/// A whole answer without content.
fn answer(stream: u32) -> Vec<u8> {
    head(stream, WHOLE, &block(&[]))
}

/// A head that content may follow.
fn open(stream: u32) -> Vec<u8> {
    head(stream, flag::END_HEADERS, &block(&[]))
}

/// A literal that is kept, and the same again and again (CVE-2016-6581): 4,000 bytes for each byte.
fn bomb(stream: u32) -> Vec<u8> {
    let mut bytes = block(&[]);
    bytes.extend(*b"\x40\x01a\x7f\x81\x1e");
    bytes.extend([b'x'; 127 + 1 + (0x1e << 7)]);
    bytes.extend([0xbe; 8_000]);
    head(stream, WHOLE, &bytes)
}

/// The client's floods as an origin has them, and two that only an origin has.
pub(super) fn attacks(floods: &[Flood]) -> Vec<Attack> {
    let mut attacks: Vec<Attack> = floods
        .iter()
        .map(|flood| {
            let how = match flood.id.as_str() {
                "rapid_reset" => How::Answer(|stream| frame::reset(stream, frame::code_named("CANCEL"))),
                "myr_wu0" => How::Answer(|stream| frame::window_update(stream, 0)),
                "myr_wuoverflow" => How::Answer(|stream| frame::window_update(stream, 0x7FFF_FFFF)),
                "myr_priolen" => How::Answer(|stream| frame(2, 0, stream, &[0; 4])),
                "myr_prioself" => How::Answer(|stream| {
                    let itself = [&stream.to_be_bytes()[..], &[16]].concat();
                    [frame(2, 0, stream, &itself), answer(stream)].concat()
                }),
                "myr_data_closed" => How::Answer(|stream| [answer(stream), frame(0, 1, stream, b"x")].concat()),
                "myr_hdr_closed" => How::Answer(|stream| [answer(stream), answer(stream)].concat()),
                "rst_bad_request" => How::Answer(|stream| head(stream, WHOLE, &block(&[("connection", "x")]))),
                "cont_flood" => How::Stream([
                    |stream| head(stream, flag::END_STREAM, &block(&[])),
                    |stream| frame(kind::CONTINUATION, 0, stream, &b"\x00\x01a\x01b".repeat(200)),
                ]),
                "cont_empty" => How::Stream([
                    |stream| head(stream, flag::END_STREAM, &block(&[])),
                    |stream| frame(kind::CONTINUATION, 0, stream, b""),
                ]),
                "empty_data" => How::Stream([open, |stream| frame(kind::DATA, 0, stream, b"")]),
                "padded_data" => {
                    How::Stream([open, |stream| frame(kind::DATA, flag::PADDED, stream, b"\x07\0\0\0\0\0\0\0")])
                }
                "empty_hdr_names" => How::Answer(|stream| head(stream, WHOLE, &block(&[("", ""); 50]))),
                "hpack_bomb" => How::Answer(bomb),
                "cookie_crumbs" => How::Answer(|stream| head(stream, WHOLE, &block(&[("set-cookie", "a"); 900]))),
                "push_promise" => How::Answer(|stream| {
                    frame(5, flag::END_HEADERS, stream, &[&[0, 0, 0, 2], &block(&[])[..]].concat())
                }),
                // A server opens no stream but by PUSH_PROMISE.
                "newstreams_hold" => How::Answer(|stream| open(stream + 1)),
                _ => How::Connection(flood.clone()),
            };
            Attack { id: flood.id.clone(), how }
        })
        .collect();
    attacks.push(Attack { id: "interim_flood".to_owned(), how: How::Stream([early, early]) });
    attacks.push(Attack {
        id: "goaway_flood".to_owned(),
        how: How::Stream([|_| frame::go_away(0x7FFF_FFFF, 0), |_| frame::go_away(0x7FFF_FFFF, 0)]),
    });
    attacks
}

/// GOAWAY for what comes after this stream, and a reset of it.
pub(super) fn rst_after_goaway() -> Attack {
    let how = How::Answer(|stream| {
        [frame::go_away(stream, 0), frame::reset(stream, frame::code_named("INTERNAL_ERROR"))].concat()
    });
    Attack { id: "rst_after_goaway".to_owned(), how }
}

/// An interim answer (RFC 8297), of which there may be any number.
fn early(stream: u32) -> Vec<u8> {
    head(stream, flag::END_HEADERS, &hpack::encode(&[(":status", "103"), ("link", "</a>")]))
}

/// An origin that does what it is told to do wrong.
#[derive(Clone, Debug)]
pub(super) struct Bad {
    address: SocketAddr,
    _origin: Arc<Origin>,
    orders: Arc<Mutex<Orders>>,
}

#[derive(Debug, Default)]
struct Orders {
    attack: Option<Attack>,
    count: u64,
    /// Of connections that ended.
    outcomes: Vec<Outcome>,
    /// Requests that came.
    requests: u64,
    /// Its connections.
    streams: Vec<TcpStream>,
}

/// After its proxy has nothing more to say, an origin's connection is over.
const QUIET_LIMIT: Duration = Duration::from_secs(30);
/// For the proxy's word about the last of the answers.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// Requests that may be lost with a connection of the attack before.
const TRIES_MAX: u64 = 10;
/// A request is answered within this, whatever the origin does.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

impl Bad {
    pub(super) fn start() -> Result<Bad, String> {
        let orders: Arc<Mutex<Orders>> = Arc::default();
        let told = Arc::clone(&orders);
        let origin = Origin::start("127.0.0.1", move |stream: TcpStream| serve(stream, &told))?;
        Ok(Bad { address: origin.address, _origin: Arc::new(origin), orders })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.orders.lock().expect("no holder panics")
    }

    /// From now on this attack, of so many units.
    pub(super) fn prepare(&self, attack: &Attack, count: u64) {
        *self.orders() = Orders { attack: Some(attack.clone()), count, ..Orders::default() };
    }

    /// Ends the attack, and all connections.
    pub(super) fn end(&self) {
        let ended = std::mem::take(&mut *self.orders());
        for stream in ended.streams {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }

    /// What came of the first connection that ended, if one did.
    fn outcome(&self) -> Option<Outcome> {
        self.orders().outcomes.first().cloned()
    }
}

fn serve(mut stream: TcpStream, orders: &Mutex<Orders>) -> io::Result<()> {
    let mut reader = Reader::default();
    let until = Instant::now() + QUIET_LIMIT;
    while reader.take(PREFACE).is_none() {
        if !reader.read_more(&stream, until)? {
            return Ok(());
        }
    }
    orders.lock().expect("no holder panics").streams.push(stream.try_clone()?);
    stream.write_all(&[frame::settings(&[]), frame(kind::SETTINGS, flag::ACK, 0, b"")].concat())?;
    let mut outcome = Outcome::default();
    loop {
        match reader.hear(&stream, Instant::now() + QUIET_LIMIT) {
            Heard::Frame(heard) if heard.kind == kind::HEADERS => {
                let (attack, count) = {
                    let mut orders = orders.lock().expect("no holder panics");
                    orders.requests += 1;
                    (orders.attack.clone(), orders.count)
                };
                let Some(attack) = attack else { return Ok(()) };
                outcome.units += 1;
                match attack.how {
                    How::Answer(unit) => {
                        if stream.write_all(&unit(heard.stream)).is_err() {
                            outcome.closed = true;
                            break;
                        }
                    }
                    How::Connection(flood) => {
                        outcome = flood::play(&mut stream, count, |number| flood.unit(number))?;
                        break;
                    }
                    How::Stream([first, next]) => {
                        let unit = |number| if number == 0 { first(heard.stream) } else { next(heard.stream) };
                        outcome = flood::play(&mut stream, count, unit)?;
                        break;
                    }
                }
            }
            Heard::Frame(heard) if heard.kind == kind::GOAWAY => outcome.go_away = Some(heard.code()),
            Heard::Frame(heard) if heard.kind == kind::RST_STREAM => {
                *outcome.resets.entry(heard.code()).or_default() += 1;
            }
            Heard::Frame(_) => {}
            Heard::Closed { .. } => {
                outcome.closed = true;
                break;
            }
            Heard::Silence => break,
        }
    }
    orders.lock().expect("no holder panics").outcomes.push(outcome);
    Ok(())
}

/// Asks for what the bad origin has, until a connection to it has ended; each request must be answered, however.
pub(super) fn provoke(front: SocketAddr, bad: &Bad, attack: &Attack, count: u64) -> io::Result<Outcome> {
    let answers = matches!(attack.how, How::Answer(_));
    let mut tries = if answers { count } else { TRIES_MAX };
    while tries > 0 && bad.outcome().is_none() && (answers || bad.orders().requests == 0) {
        let asked = ask(front, bad, &mut tries);
        asked.map_err(|e| io::Error::new(e.kind(), format!("a request to the bad origin was not answered: {e}")))?;
    }
    let limit = if answers { AFTERWARDS } else { ANSWER_LIMIT };
    let outcome = wait_for("a connection's end", limit, || bad.outcome());
    Ok(outcome.unwrap_or_else(|_| Outcome { units: bad.orders().requests, ..Outcome::default() }))
}

/// Requests on one connection, until it or the origin's ends.
fn ask(front: SocketAddr, bad: &Bad, tries: &mut u64) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&front, ANSWER_LIMIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut from = BufReader::new(stream.try_clone()?);
    while *tries > 0 && bad.outcome().is_none() {
        *tries -= 1;
        stream.write_all(b"GET /bad HTTP/1.1\r\nhost: bad\r\n\r\n")?;
        let head = loop {
            let head = Head::read(&mut from)?.ok_or(ErrorKind::UnexpectedEof)?;
            if head.status() >= 200 {
                break head;
            }
        };
        // What the origin began without an end breaks off.
        let whole = head.response_framing("GET").and_then(|framing| read_body(&mut from, framing));
        if whole.is_err() || head.closes() {
            break;
        }
    }
    Ok(())
}
