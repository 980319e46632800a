//! The origins of the differential: two of them, which do what a path says and record each whole request.

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::lab::http::{Head, read_body, write_chunk};
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
    recorded: Arc<Mutex<Vec<Recorded>>>,
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

    /// What came since the last call.
    pub(super) fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.recorded.lock().expect("no origin panicked"))
    }
}

fn serve(name: &'static str, stream: TcpStream, recorded: &Mutex<Vec<Recorded>>) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        let framing = head.request_framing()?;
        if head.has_word("expect", "100-continue") {
            (&stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let (body, _) = read_body(&mut from, framing)?;
        let target = head.line.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let wanted = path.rsplit('/').next().unwrap_or_default().to_owned();
        let is_head = head.line.starts_with("HEAD ");
        let request = Recorded { origin: name, head, framing: framing.class(), body };
        recorded.lock().expect("no origin panicked").push(request);
        if !answer(name, &stream, &wanted, is_head)? {
            return stream.shutdown(Shutdown::Both);
        }
    }
    Ok(())
}

/// Answers as the last part of the path says; whether the connection goes on.
fn answer(name: &str, mut stream: &TcpStream, wanted: &str, is_head: bool) -> io::Result<bool> {
    let (kind, number) = wanted.split_once('-').unwrap_or((wanted, ""));
    let number: usize = number.parse().unwrap_or(0);
    let filler = |size: usize| (0..size).map(|index| b"abcdefghij\n"[index % 11]).collect::<Vec<u8>>();
    let status = if kind == "status" { number } else { 200 };
    let mut head = format!("HTTP/1.1 {status} As Asked\r\nX-Origin: {name}\r\n");
    let (body, goes_on) = match kind {
        "close" => {
            head += "connection: close\r\n\r\n";
            (filler(number), false)
        }
        "chunked" | "trailers" => {
            head += "Transfer-Encoding: chunked\r\n";
            head += if kind == "trailers" { "Trailer: x-sum\r\n\r\n" } else { "\r\n" };
            let mut chunks = Vec::new();
            for piece in filler(number).chunks(1000) {
                write_chunk(&mut chunks, piece)?;
            }
            chunks.extend_from_slice(if kind == "trailers" { b"0\r\nx-sum: 5\r\n\r\n" } else { b"0\r\n\r\n" });
            (chunks, true)
        }
        "status" if number == 204 || number == 304 => {
            head += "\r\n";
            (Vec::new(), true)
        }
        "many" => {
            head += "Set-Cookie: a=1\r\nset-cookie: b=2; Path=/\r\nX-Empty:\r\nX-Pad:   two  words  \r\nVary: a, b\r\nETag: \"x\"\r\nContent-Length: 4\r\n\r\n";
            (b"many".to_vec(), true)
        }
        "hop" => {
            head += "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nContent-Length: 3\r\n\r\n";
            (b"hop".to_vec(), true)
        }
        "nominated" => {
            head += "Connection: x-secret\r\nX-Secret: 1\r\nContent-Length: 3\r\n\r\n";
            (b"hop".to_vec(), true)
        }
        "silent" => {
            // Until the proxy gives up: the end of the connection, or this much time.
            stream.set_read_timeout(Some(Duration::from_secs(3)))?;
            let mut byte = [0; 1];
            let _ended = io::Read::read(&mut stream, &mut byte);
            return Ok(false);
        }
        "reset" => return Ok(false),
        "garbage" => {
            stream.write_all(b"HTTP/1.1 abc\r\nnot a field\r\n\r\n")?;
            return Ok(false);
        }
        "cut" => {
            head += "Content-Length: 100\r\n\r\n";
            (filler(10), false)
        }
        "both" => {
            head += "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
            (Vec::new(), false)
        }
        _ => {
            let size = if kind == "length" { number } else { 2 };
            head += &format!("Content-Type: text/plain\r\nContent-Length: {size}\r\n\r\n");
            (filler(size), true)
        }
    };
    let mut message = head.into_bytes();
    if !is_head {
        message.extend_from_slice(&body);
    }
    stream.write_all(&message)?;
    Ok(goes_on)
}
