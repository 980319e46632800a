//! The clients: each visit is one connection of one class, drawn from a seed, and each of its requests is accounted for.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::account::{Account, Class, Manner, Outcome, Target};
use super::origin::Paced;
use crate::lab::chance::Chance;
use crate::lab::http::{Framing, Head, read_body_into, write_chunk};
use crate::lab::interrupted::uninterrupted;
use crate::lab::pace::pause;
use crate::lab::pattern::{PATTERN_SIZE, Pattern};

/// Nothing at all comes for so long: that is no answer. The slowest that may: a route's 5 s and its network's repeats.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// The same of a bad network between client and proxy, where a lost reset leaves the client waiting.
const FAR_SILENCE_MAX: Duration = Duration::from_secs(5);
/// One request, dawdling included.
const REQUEST_MAX: Duration = Duration::from_secs(60);
/// Requests of one visit that stays; of one pipeline.
const STAY_MAX: usize = 40;
const PIPELINE_MAX: usize = 6;
/// Between two requests of a visit, at most, and between two visits.
const THINK_MAX: usize = 90;
/// A slow sender's pieces of one body, some milliseconds apart: well within [`REQUEST_MAX`].
const SLOW_PIECES_MAX: usize = 2_000;
/// How long a write waits before it looks whether an answer came instead.
const WRITE_TURN: Duration = Duration::from_millis(50);

/// What clients share.
#[derive(Debug)]
pub(super) struct Field<'a> {
    /// Where right clients connect.
    pub(super) front: SocketAddr,
    /// The listener behind a bad network.
    pub(super) far: SocketAddr,
    /// Whether that network is bad: without a namespace it is not, and the class is left out.
    pub(super) network: bool,
    /// All bodies.
    pub(super) pattern: &'a Pattern,
    /// Where outcomes go.
    pub(super) account: &'a Account,
    /// Whether it is over.
    pub(super) done: &'a AtomicBool,
}

/// Who visits, each as often as it stands here.
const CLASSES: &[Class] = &[
    Class::Staying,
    Class::Staying,
    Class::Staying,
    Class::Pipelined,
    Class::Pipelined,
    Class::Fresh,
    Class::Fresh,
    Class::Fresh,
    Class::Fresh,
    Class::SlowReader,
    Class::SlowSender,
    Class::Faraway,
    Class::HalfClosed,
    Class::Rude,
    Class::Rude,
    Class::Rude,
];
const TARGETS: &[Target] = &[
    Target::Healthy,
    Target::Healthy,
    Target::Healthy,
    Target::Healthy,
    Target::Passing,
    Target::Frozen,
    Target::Broken,
    Target::Broken,
    Target::Broken,
    Target::Lossy,
    Target::Refusing,
    Target::Silent,
];
/// Sizes of bodies: their kinds, each as often as it stands here, and then anything up to it.
const SIZES: &[usize] = &[1, 100, 100, 1_000, 1_000, 1_000, 5_000, 5_000, 20_000, 70_000, 200_000, 1 << 20];

/// One request.
#[derive(Clone, Debug)]
struct Ask {
    target: Target,
    manner: Manner,
    method: &'static str,
    id: u64,
    /// Size, start, and whether chunked.
    answer: (u64, u64, bool),
    /// The same, of the request's own body.
    body: Option<(u64, u64, bool)>,
}

fn size(chance: &mut Chance, max: usize) -> u64 {
    let kind = (*chance.pick(SIZES)).min(max);
    1 + chance.below(kind) as u64
}

impl Ask {
    /// Any request whose bodies are no longer than `size_max`.
    fn draw(chance: &mut Chance, network: bool, size_max: usize) -> Ask {
        let target = *chance.pick(TARGETS);
        // Without a network of its own nothing keeps a connection from being answered.
        let target = if target == Target::Silent && !network { Target::Refusing } else { target };
        let manner = *chance.pick(if target == Target::Broken { &Manner::ALL[..] } else { &Manner::RIGHT[..] });
        let part = |chance: &mut Chance| (size(chance, size_max), chance.below(PATTERN_SIZE) as u64, chance.once_in(2));
        let body = chance.once_in(3).then(|| part(chance));
        let method = match body {
            Some(_) => "POST",
            None if manner == Manner::Whole && chance.once_in(12) => "HEAD",
            None => "GET",
        };
        let id = chance.below(1 << 40) as u64;
        Ask { target, manner, method, id, answer: part(chance), body }
    }

    fn head(&self) -> Vec<u8> {
        let (size, start, chunked) = self.answer;
        let (target, manner) = (self.target.name(), self.manner.name());
        let mut text = format!(
            "{} /{target}/{manner}/{}/{size}/{start} HTTP/1.1\r\nhost: a\r\nx-id: {}\r\n",
            self.method,
            if chunked { "c" } else { "l" },
            self.id
        );
        if let Some((size, start, chunked)) = self.body {
            text.push_str(&format!("x-size: {size}\r\nx-start: {start}\r\n"));
            if chunked {
                text.push_str("transfer-encoding: chunked\r\n");
            } else {
                text.push_str(&format!("content-length: {size}\r\n"));
            }
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// The body as it goes over the wire, in chunks of at most `piece_max`.
    fn body(&self, pattern: &Pattern, piece_max: u64) -> Vec<u8> {
        let Some((mut left, mut at, chunked)) = self.body else { return Vec::new() };
        let mut wire = Vec::new();
        while left > 0 {
            let piece = pattern.piece(at, left.min(piece_max));
            if chunked {
                write_chunk(&mut wire, piece).expect("writing to memory");
            } else {
                wire.extend_from_slice(piece);
            }
            (at, left) = (at + piece.len() as u64, left - piece.len() as u64);
        }
        if chunked {
            wire.extend_from_slice(b"0\r\n\r\n");
        }
        wire
    }
}

/// One client: visits until it is over.
pub(super) fn live(field: &Field, seed: u64) {
    let mut chance = Chance::new(seed);
    while !field.done.load(Ordering::Relaxed) {
        let class = *chance.pick(CLASSES);
        if class == Class::Faraway && !field.network {
            continue;
        }
        Visit { field, class, chance: &mut chance }.run();
        pause(Duration::from_millis(chance.below(THINK_MAX) as u64));
    }
}

#[derive(Debug)]
struct Visit<'a, 'b> {
    field: &'a Field<'a>,
    class: Class,
    chance: &'b mut Chance,
}

/// Whether a connection goes on.
type GoesOn = bool;

impl Visit<'_, '_> {
    fn run(&mut self) {
        let to = if self.class == Class::Faraway { self.field.far } else { self.field.front };
        let silence_max = if self.class == Class::Faraway { FAR_SILENCE_MAX } else { SILENCE_MAX };
        let connected = TcpStream::connect_timeout(&to, silence_max).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(silence_max))?;
            stream.set_write_timeout(Some(WRITE_TURN))?;
            Ok(stream)
        });
        let ask = self.draw();
        let stream = match connected {
            Ok(stream) => stream,
            Err(why) => return self.record(&ask, &unanswered(&why), Instant::now(), &format!("connecting: {why}")),
        };
        self.field.account.connected();
        match self.class {
            Class::Fresh | Class::HalfClosed => {
                self.ask(&stream, &ask);
            }
            Class::SlowReader | Class::SlowSender => {
                if self.ask(&stream, &ask) {
                    let next = self.draw();
                    self.ask(&stream, &next);
                }
            }
            Class::Staying | Class::Faraway => {
                let mut next = ask;
                for _ in 0..1 + self.chance.below(STAY_MAX) {
                    if !self.ask(&stream, &next) || self.field.done.load(Ordering::Relaxed) {
                        return;
                    }
                    pause(Duration::from_millis(self.chance.below(THINK_MAX) as u64));
                    next = self.draw();
                }
            }
            Class::Pipelined => {
                let mut goes_on = true;
                while goes_on && !self.chance.once_in(4) {
                    goes_on = self.pipeline(&stream);
                }
            }
            Class::Rude => self.break_off(&stream, &ask),
        }
    }

    fn draw(&mut self) -> Ask {
        // What dawdles over every few KiB has no time for more.
        let size_max = match self.class {
            Class::SlowReader | Class::SlowSender => 100_000,
            Class::Pipelined => 2_000,
            _ => usize::MAX,
        };
        Ask::draw(self.chance, self.field.network, size_max)
    }

    fn record(&self, ask: &Ask, outcome: &Outcome, begun: Instant, why: &str) {
        let what = format!("{} of {:?} body {:?}, id {}: {why}", ask.method, ask.answer, ask.body, ask.id);
        self.field.account.record(self.class, ask.target, ask.manner, outcome, begun.elapsed(), &what);
    }

    /// Sends one request and waits for what becomes of it.
    fn ask(&mut self, stream: &TcpStream, ask: &Ask) -> GoesOn {
        let begun = Instant::now();
        let sent = self.send(stream, ask, begun);
        if self.class == Class::HalfClosed {
            let _refused = stream.shutdown(Shutdown::Write);
        }
        // Whatever became of the sending: an answer may be there.
        let mut from = self.reader(stream);
        let (outcome, why, goes_on) = match sent {
            Ok(Sent::Stuck) => (Outcome::Hung, "the request is not taken".to_owned(), false),
            Ok(_) | Err(_) => receive(&mut from, self.field.pattern, ask, begun),
        };
        let whole = matches!(sent, Ok(Sent::Whole));
        let why = if whole { why } else { format!("{why}; sending: {sent:?}") };
        self.record(ask, &outcome, begun, &why);
        goes_on && whole
    }

    fn reader<'s>(&self, stream: &'s TcpStream) -> BufReader<Paced<&'s TcpStream>> {
        let (capacity, each) = match self.class {
            Class::SlowReader => (2 << 10, Duration::from_millis(4)),
            _ => (32 << 10, Duration::ZERO),
        };
        BufReader::with_capacity(capacity, Paced { from: stream, each })
    }

    fn send(&mut self, stream: &TcpStream, ask: &Ask, begun: Instant) -> io::Result<Sent> {
        let piece_max = *self.chance.pick(&[10_000, 100_000, 3_000_000]);
        let (head, body) = (ask.head(), ask.body(self.field.pattern, piece_max));
        if self.class == Class::SlowSender {
            for byte in head {
                write(stream, &[byte], begun)?;
                pause(Duration::from_millis(1));
            }
            // Large bodies in larger pieces: else one byte each 3 ms may take longer than any request may.
            let piece_size = (1 + self.chance.below(3_000)).max(body.len() / SLOW_PIECES_MAX);
            for piece in body.chunks(piece_size) {
                match write(stream, piece, begun)? {
                    Sent::Whole => pause(Duration::from_millis(3)),
                    other => return Ok(other),
                }
            }
            return Ok(Sent::Whole);
        }
        // Head and body at once or one after the other: the proxy sees both.
        if self.chance.once_in(2) {
            return write(stream, &[head, body].concat(), begun);
        }
        match write(stream, &head, begun)? {
            Sent::Whole => write(stream, &body, begun),
            other => Ok(other),
        }
    }

    /// Some requests at once, and then all their answers.
    fn pipeline(&mut self, stream: &TcpStream) -> GoesOn {
        let asks: Vec<Ask> = (0..2 + self.chance.below(PIPELINE_MAX - 1)).map(|_| self.draw()).collect();
        let mut bytes = Vec::new();
        for ask in &asks {
            bytes.extend(ask.head());
            bytes.extend(ask.body(self.field.pattern, 1_000));
        }
        let first = Instant::now();
        let sent = write(stream, &bytes, first);
        let mut from = self.reader(stream);
        for ask in &asks {
            // The answer before it was the start of this one's time.
            let begun = Instant::now();
            let (outcome, why, goes_on) = receive(&mut from, self.field.pattern, ask, begun);
            self.record(ask, &outcome, begun, &format!("{why}; pipelined, sending: {sent:?}"));
            if !goes_on {
                return false; // what was asked after it is for another connection (RFC 9112 §9.6)
            }
        }
        matches!(sent, Ok(Sent::Whole))
    }

    /// A request that is not waited for: broken off within its head or its body, before its answer or within it.
    fn break_off(&mut self, mut stream: &TcpStream, ask: &Ask) {
        let begun = Instant::now();
        let bytes = [ask.head(), ask.body(self.field.pattern, 10_000)].concat();
        let end = if self.chance.once_in(3) { 1 + self.chance.below(bytes.len()) } else { bytes.len() };
        let sent = write(stream, &bytes[..end], begun);
        match self.chance.below(4) {
            0 => {}
            1 => pause(Duration::from_millis(self.chance.below(50) as u64)),
            // A close with bytes unread resets: so does this once something came, which need not be.
            2 if end == bytes.len() => {
                let _came = uninterrupted(|| stream.peek(&mut [0]));
            }
            _ if end == bytes.len() => {
                let mut some = vec![0; 1 + self.chance.below(30_000)];
                let _came = uninterrupted(|| stream.read(&mut some));
            }
            _ => {}
        }
        self.record(ask, &Outcome::Left, begun, &format!("{sent:?}"));
    }
}

/// How sending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Whole,
    /// An answer came before all was sent (RFC 9112 §9.6): the rest is not sent.
    Answered,
    /// Nothing was taken for longer than anything may take.
    Stuck,
}

/// Writes all, unless an answer comes first.
fn write(mut stream: &TcpStream, bytes: &[u8], begun: Instant) -> io::Result<Sent> {
    let mut left = bytes;
    while !left.is_empty() {
        match stream.write(&left[..left.len().min(64 << 10)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(size) => left = &left[size..],
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) if is_timeout(&why) => {
                stream.set_nonblocking(true)?;
                let came = stream.peek(&mut [0]);
                stream.set_nonblocking(false)?;
                if came.is_ok() {
                    return Ok(Sent::Answered);
                }
                if begun.elapsed() > SILENCE_MAX {
                    return Ok(Sent::Stuck);
                }
            }
            Err(why) => return Err(why),
        }
    }
    Ok(Sent::Whole)
}

fn is_timeout(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The outcome of a request that failed before its answer's head was read.
fn unanswered(why: &io::Error) -> Outcome {
    match why.kind() {
        io::ErrorKind::InvalidData => Outcome::Wrong(why.to_string()),
        _ if is_timeout(why) => Outcome::Hung,
        _ => Outcome::Lost,
    }
}

/// Reads one answer and says what it is.
fn receive(from: &mut impl io::BufRead, pattern: &Pattern, ask: &Ask, begun: Instant) -> (Outcome, String, GoesOn) {
    let wrong = |what: String| (Outcome::Wrong(what), String::new(), false);
    let head = match Head::read(from) {
        Ok(Some(head)) => head,
        Ok(None) => return (Outcome::Lost, "closed without an answer".to_owned(), false),
        Err(why) => return (unanswered(&why), why.to_string(), false),
    };
    let framing = match head.response_framing(ask.method) {
        Ok(Framing::Close) => return wrong(format!("a body without an end: {head:?}")),
        Ok(framing) => framing,
        Err(why) => return wrong(why.to_string()),
    };
    let mut body = Vec::new();
    let read = read_body_into(from, framing, &mut body);
    if begun.elapsed() > REQUEST_MAX {
        return (Outcome::Hung, format!("an answer of {} s", begun.elapsed().as_secs()), false);
    }
    let of_origin = head.values("x-id").next();
    if let Some(id) = of_origin {
        if head.status() != 200 || id != ask.id.to_string() {
            return wrong(format!("the answer to another: {head:?}"));
        }
        if body.len() as u64 > ask.answer.0 || !pattern.holds(ask.answer.1, &body) {
            return wrong(format!("other bytes, {} of {}", body.len(), ask.answer.0));
        }
    }
    match (read, of_origin) {
        (Ok(_), None) if head.status() == 200 => wrong(format!("an answer of nobody: {head:?}")),
        (Ok(_), None) => (Outcome::Local(head.status()), head.line.clone(), !head.closes()),
        (Ok(_), Some(_)) if ask.method != "HEAD" && body.len() as u64 != ask.answer.0 => {
            wrong(format!("a whole answer with {} of {} bytes", body.len(), ask.answer.0))
        }
        (Ok(_), Some(_)) => (Outcome::Exact, String::new(), !head.closes()),
        (Err(why), _) if matches!(why.kind(), io::ErrorKind::InvalidData) => wrong(why.to_string()),
        (Err(why), _) if is_timeout(&why) => (Outcome::Hung, format!("after {} bytes of the body", body.len()), false),
        (Err(why), None) => (Outcome::Lost, format!("a local answer, cut: {} {why}", head.line), false),
        (Err(why), Some(_)) => (Outcome::Cut, format!("after {} bytes: {why}", body.len()), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, expect: fn(&Outcome) -> bool) {
        let pattern = Pattern::new(1);
        let ask = Ask {
            target: Target::Healthy,
            manner: Manner::Whole,
            method: "GET",
            id: 7,
            answer: (3, 0, false),
            body: None,
        };
        let mut wire = answer.as_bytes().to_vec();
        if let Some(at) = answer.find('*') {
            wire.splice(at..=at, pattern.piece(0, 3).iter().copied());
        }
        let (outcome, why, _) = receive(&mut wire.as_slice(), &pattern, &ask, Instant::now());
        assert!(expect(&outcome), "{outcome:?} {why}: {answer:?}");
    }

    #[test]
    fn answers_are_told_apart() {
        let wrong = |outcome: &Outcome| matches!(outcome, Outcome::Wrong(_));
        check("HTTP/1.1 200 OK\r\nx-id: 7\r\ncontent-length: 3\r\n\r\n*", |outcome| *outcome == Outcome::Exact);
        check("HTTP/1.1 200 OK\r\nx-id: 7\r\ncontent-length: 3\r\n\r\n", |outcome| *outcome == Outcome::Cut);
        check("HTTP/1.1 200 OK\r\nx-id: 7\r\ncontent-length: 6\r\n\r\n**", wrong);
        check("HTTP/1.1 200 OK\r\nx-id: 8\r\ncontent-length: 3\r\n\r\n*", wrong);
        check("HTTP/1.1 200 OK\r\nx-id: 7\r\ncontent-length: 3\r\n\r\nabc", wrong);
        check("HTTP/1.1 200 OK\r\nx-id: 7\r\n\r\n*", wrong);
        check("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n*", wrong);
        check("HTTP/1.1 500 body\r\nx-id: 7\r\ncontent-length: 3\r\n\r\n*", wrong);
        check("HTTP/1.1 503 no\r\ncontent-length: 2\r\n\r\nno", |outcome| *outcome == Outcome::Local(503));
        check("HTTP/1.1 503 no\r\ncontent-length: 2\r\n\r\nn", |outcome| *outcome == Outcome::Lost);
        check("HTTP/1.1 200", |outcome| *outcome == Outcome::Lost);
        check("", |outcome| *outcome == Outcome::Lost);
    }
}
