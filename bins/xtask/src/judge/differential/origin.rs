//! The origins of the differential: two of them, which do what a path says and record each whole request.
//!
//! The last part of the path is a kind and a number (`length-70000`). A class may bring kinds of its own; the others are here.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::case::MARK;
use super::classes::CLASSES;
use crate::lab::http::{Head, read_body, write_chunk};
use crate::lab::interrupted::uninterrupted;
use crate::lab::origin::Origin;

/// A whole request, as it reached an origin.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    /// `a` or `b`.
    pub(super) origin: &'static str,
    pub(super) head: Head,
    pub(super) framing: &'static str,
    pub(super) body: Vec<u8>,
}

/// Two origins and what reached them.
#[derive(Debug)]
pub(super) struct Recorder {
    origins: [Origin; 2],
    recorded: Arc<Mutex<Records>>,
}

/// By the number of the case that each request carries; those without one under none.
type Records = HashMap<Option<u64>, Vec<Recorded>>;

/// A request that an origin has read, for a class's own kinds of answers.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    /// `a` or `b`.
    pub(super) origin: &'static str,
    /// What its path's last part says before the `-`.
    pub(super) kind: &'a str,
    /// What it says after it; 0 if that is no number.
    pub(super) number: usize,
    pub(super) head: &'a Head,
    /// How many requests of its case have come, this one included: 1 at the first attempt.
    pub(super) attempt: usize,
}

/// Whether the connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It does.
    Keep,
    /// It is closed.
    Close,
    /// The kind is not one of this class.
    Unknown,
}

impl Recorder {
    /// Starts both.
    pub(super) fn start() -> Result<Recorder, String> {
        let recorded = Arc::default();
        let start = |name| {
            let recorded = Arc::clone(&recorded);
            Origin::start("127.0.0.1", move |stream: TcpStream| serve(name, stream, &recorded))
        };
        Ok(Recorder { origins: [start("a")?, start("b")?], recorded })
    }

    /// Where the first listens.
    pub(super) fn a(&self) -> SocketAddr {
        self.origins[0].address
    }

    /// Where the second listens.
    pub(super) fn b(&self) -> SocketAddr {
        self.origins[1].address
    }

    /// What came of the case with this number; of none: what came without one.
    pub(super) fn take(&self, case: Option<u64>) -> Vec<Recorded> {
        self.recorded.lock().expect("no origin panicked").remove(&case).unwrap_or_default()
    }

    /// What came since the last call, of whichever case.
    pub(super) fn take_all(&self) -> Vec<Recorded> {
        let all = std::mem::take(&mut *self.recorded.lock().expect("no origin panicked"));
        all.into_values().flatten().collect()
    }
}

fn serve(name: &'static str, stream: TcpStream, recorded: &Mutex<Records>) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        let framing = head.request_framing()?;
        if head.has_word("expect", "100-continue") {
            (&stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let (body, _) = read_body(&mut from, framing)?;
        let request = Recorded { origin: name, head: head.clone(), framing: framing.class(), body };
        let case = head.values(MARK).next().and_then(|number| u64::from_str_radix(number, 16).ok());
        let attempt = {
            let mut recorded = recorded.lock().expect("no origin panicked");
            let of_case = recorded.entry(case).or_default();
            of_case.push(request);
            of_case.len()
        };
        let target = head.line.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let wanted = path.rsplit('/').next().unwrap_or_default();
        let (kind, number) = wanted.split_once('-').unwrap_or((wanted, ""));
        let ask = Ask { origin: name, kind, number: number.parse().unwrap_or(0), head: &head, attempt };
        if answer(&ask, &stream)? == Next::Close {
            return stream.shutdown(Shutdown::Both);
        }
    }
    Ok(())
}

/// Answers as the kind says.
fn answer(ask: &Ask, mut stream: &TcpStream) -> io::Result<Next> {
    for class in CLASSES {
        match (class.origin)(ask, stream)? {
            Next::Unknown => {}
            next => return Ok(next),
        }
    }
    let Ask { origin: name, kind, number, .. } = *ask;
    let is_head = ask.head.line.starts_with("HEAD ");
    let filler = |size: usize| (0..size).map(|index| b"abcdefghij\n"[index % 11]).collect::<Vec<u8>>();
    let status = if kind == "status" { number } else { 200 };
    let mut head = format!("HTTP/1.1 {status} As Asked\r\nX-Origin: {name}\r\n");
    let (body, next) = match kind {
        "close" => {
            head += "connection: close\r\n\r\n";
            (filler(number), Next::Close)
        }
        "chunked" | "trailers" => {
            head += "Transfer-Encoding: chunked\r\n";
            head += if kind == "trailers" { "Trailer: x-sum\r\n\r\n" } else { "\r\n" };
            let mut chunks = Vec::new();
            for piece in filler(number).chunks(1000) {
                write_chunk(&mut chunks, piece)?;
            }
            chunks.extend_from_slice(if kind == "trailers" { b"0\r\nx-sum: 5\r\n\r\n" } else { b"0\r\n\r\n" });
            (chunks, Next::Keep)
        }
        "status" if number == 204 || number == 304 => {
            head += "\r\n";
            (Vec::new(), Next::Keep)
        }
        "many" => {
            head += "Set-Cookie: a=1\r\nset-cookie: b=2; Path=/\r\nX-Empty:\r\nX-Pad:   two  words  \r\nVary: a, b\r\nETag: \"x\"\r\nContent-Length: 4\r\n\r\n";
            (b"many".to_vec(), Next::Keep)
        }
        "hop" => {
            head += "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nContent-Length: 3\r\n\r\n";
            (b"hop".to_vec(), Next::Keep)
        }
        "nominated" => {
            head += "Connection: x-secret\r\nX-Secret: 1\r\nContent-Length: 3\r\n\r\n";
            (b"hop".to_vec(), Next::Keep)
        }
        "silent" => {
            // Until the proxy gives up: the end of the connection, or this much time.
            stream.set_read_timeout(Some(Duration::from_secs(3)))?;
            let mut byte = [0; 1];
            let _ended = uninterrupted(|| io::Read::read(&mut stream, &mut byte));
            return Ok(Next::Close);
        }
        "reset" => return Ok(Next::Close),
        "garbage" => {
            stream.write_all(b"HTTP/1.1 abc\r\nnot a field\r\n\r\n")?;
            return Ok(Next::Close);
        }
        "cut" => {
            head += "Content-Length: 100\r\n\r\n";
            (filler(10), Next::Close)
        }
        "both" => {
            head += "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
            (Vec::new(), Next::Close)
        }
        _ => {
            let size = if kind == "length" { number } else { 2 };
            head += &format!("Content-Type: text/plain\r\nContent-Length: {size}\r\n\r\n");
            (filler(size), Next::Keep)
        }
    };
    let mut message = head.into_bytes();
    if !is_head {
        message.extend_from_slice(&body);
    }
    stream.write_all(&message)?;
    // Whole without its body: a connection that closed now would take another case's request with it.
    Ok(if is_head && matches!(kind, "cut" | "both") { Next::Keep } else { next })
}
