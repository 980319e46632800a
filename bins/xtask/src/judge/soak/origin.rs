//! The origin's process: right or wrong as the path of a request says.
//!
//! A process of its own, so that it can be stopped. Reads a request's head but for its last byte first: a socket that is
//! closed with a byte unread resets its connection, which std has no other call for.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::account::Manner;
use crate::command::signal;
use crate::lab::http::{Framing, Head, read_body, write_chunk};
use crate::lab::interrupted::uninterrupted;
use crate::lab::origin::Origin;
use crate::lab::pace::pause;
use crate::lab::pattern::Pattern;

/// The process of one origin, ended when dropped.
#[derive(Debug)]
pub(super) struct Process {
    /// Where it listens.
    pub(super) address: SocketAddr,
    child: Child,
    /// It ends when this is closed: so it never outlives its judge.
    _held: ChildStdin,
}

impl Process {
    /// Starts an origin whose bodies are of the pattern of this seed.
    pub(super) fn start(seed: u64) -> Result<Process, String> {
        let own = std::env::current_exe().map_err(|e| format!("no name of the own program: {e}"))?;
        let mut command = Command::new(own);
        command.args(["part", "soak-origin", &seed.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("cannot start an origin: {e}"))?;
        let held = child.stdin.take().expect("piped above");
        let mut line = String::new();
        let said = io::BufRead::read_line(&mut BufReader::new(child.stdout.take().expect("piped above")), &mut line);
        match said.ok().and_then(|_| line.trim().parse().ok()) {
            Some(address) => Ok(Process { address, child, _held: held }),
            None => Err(format!("an origin does not say where it listens but {line:?}")),
        }
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The program of the process: says its address, and serves until its standard input ends.
pub(super) fn main(seed: u64) -> Result<(), String> {
    let pattern = Arc::new(Pattern::new(seed));
    let origin = Origin::start("0.0.0.0", move |stream: TcpStream| serve(&pattern, stream))?;
    println!("127.0.0.1:{}", origin.address.port());
    let mut rest = Vec::new();
    io::stdin().read_to_end(&mut rest).map(|_| ()).map_err(|e| format!("standard input: {e}"))
}

/// The longest head that a judge's client sends, as the proxy forwards it.
const HEAD_SIZE_MAX: usize = 16 << 10;
/// An answer that is delayed, at most; and one that is late.
const DELAY_MAX: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_millis(2_600);

/// What a path asks for: `/TARGET/MANNER/l|c/SIZE/START`.
#[derive(Debug)]
struct Wanted {
    manner: Manner,
    chunked: bool,
    size: u64,
    start: u64,
}

impl Wanted {
    fn read(head: &Head) -> Option<Wanted> {
        let mut words = head.line.split(' ').nth(1)?.split('/').skip(2);
        Some(Wanted {
            manner: Manner::named(words.next()?)?,
            chunked: words.next()? == "c",
            size: words.next()?.parse().ok()?,
            start: words.next()?.parse().ok()?,
        })
    }
}

fn serve(pattern: &Pattern, mut stream: TcpStream) -> io::Result<()> {
    while let Some(head) = read_all_but_one(&mut stream)? {
        let Some(wanted) = Wanted::read(&head) else {
            return stream.write_all(b"HTTP/1.1 500 what?\r\ncontent-length: 0\r\n\r\n");
        };
        if wanted.manner == Manner::Reset {
            return Ok(()); // with a byte unread
        }
        if wanted.manner == Manner::ShortReset {
            answer(pattern, &mut stream, &head, &wanted)?;
            pause(Duration::from_millis(5)); // so that most of it is on its way to the client
            return Ok(());
        }
        stream.read_exact(&mut [0])?;
        if wanted.manner == Manner::Early {
            answer(pattern, &mut stream, &head, &wanted)?;
            stream.shutdown(Shutdown::Write)?;
            return io::copy(&mut stream, &mut io::sink()).map(|_| ());
        }
        if !read_request_body(pattern, &mut stream, &head, &wanted)? {
            return stream.write_all(b"HTTP/1.1 500 another body than was sent\r\ncontent-length: 0\r\n\r\n");
        }
        match wanted.manner {
            Manner::Closed => return Ok(()),
            Manner::Garbage => return stream.write_all(b"SSH-2.0-origin\r\n\r\n"),
            Manner::Late => pause(LATE),
            Manner::Delayed => pause(Duration::from_millis(wanted.start % DELAY_MAX.as_millis() as u64)),
            _ => {}
        }
        answer(pattern, &mut stream, &head, &wanted)?;
        if matches!(wanted.manner, Manner::ClosedAfter | Manner::ClosedSilently | Manner::Short) {
            return Ok(());
        }
    }
    Ok(())
}

/// Waits for a whole head and takes all of it but its last byte.
fn read_all_but_one(stream: &mut TcpStream) -> io::Result<Option<Head>> {
    let mut bytes = vec![0; HEAD_SIZE_MAX];
    loop {
        let seen = uninterrupted(|| stream.peek(&mut bytes))?;
        if seen == 0 {
            return Ok(None);
        }
        if let Some(end) = bytes[..seen].windows(4).position(|window| window == b"\r\n\r\n") {
            let size = end + 4;
            let head = Head::read(&mut &bytes[..size])?;
            stream.read_exact(&mut bytes[..size - 1])?;
            return Ok(head);
        }
        if seen == bytes.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a head too long"));
        }
        pause(Duration::from_millis(1)); // peek does not wait for more
    }
}

/// Reads the request's body; whether it is right.
fn read_request_body(pattern: &Pattern, stream: &mut TcpStream, head: &Head, wanted: &Wanted) -> io::Result<bool> {
    let framing = head.request_framing()?;
    if framing == Framing::None {
        return Ok(true);
    }
    let number = |name| head.values(name).next().and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
    let (start, size) = (number("x-start"), number("x-size"));
    let each = if wanted.manner == Manner::SlowlyRead { Duration::from_millis(1) } else { Duration::ZERO };
    let mut from = BufReader::with_capacity(16 << 10, Paced { from: stream, each });
    let (body, _) = read_body(&mut from, framing)?;
    Ok(body.len() as u64 == size && pattern.holds(start, &body))
}

/// A reader that pauses before each read.
#[derive(Debug)]
pub(super) struct Paced<R> {
    /// Where from.
    pub(super) from: R,
    /// How long.
    pub(super) each: Duration,
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.each.is_zero() {
            pause(self.each);
        }
        self.from.read(into)
    }
}

fn answer(pattern: &Pattern, stream: &mut TcpStream, head: &Head, wanted: &Wanted) -> io::Result<()> {
    let id = head.values("x-id").next().unwrap_or_default();
    let framing = if wanted.chunked {
        "transfer-encoding: chunked".to_owned()
    } else {
        format!("content-length: {}", wanted.size)
    };
    let close = matches!(wanted.manner, Manner::ClosedAfter | Manner::Early);
    let close = if close { "connection: close\r\n" } else { "" };
    let mut bytes = format!("HTTP/1.1 200 OK\r\nx-id: {id}\r\n{close}{framing}\r\n\r\n").into_bytes();
    if head.line.starts_with("HEAD ") {
        return stream.write_all(&bytes);
    }
    let cut = matches!(wanted.manner, Manner::Short | Manner::ShortReset);
    let size = if cut { wanted.size / 2 } else { wanted.size };
    // A few pieces with pauses, or as much as there is at once.
    let trickled = wanted.manner == Manner::Trickled;
    let piece_max = if trickled { (size / 8).max(1) } else { size };
    let (mut at, mut left) = (wanted.start, size);
    while left > 0 {
        let piece = pattern.piece(at, left.min(piece_max));
        if wanted.chunked {
            write_chunk(&mut bytes, piece)?;
        } else {
            bytes.extend_from_slice(piece);
        }
        stream.write_all(&bytes)?;
        bytes.clear();
        (at, left) = (at + piece.len() as u64, left - piece.len() as u64);
        if trickled {
            pause(Duration::from_millis(3));
        }
    }
    if wanted.chunked && !cut {
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
    stream.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_is_wanted() {
        let head = Head { line: "GET /broken/short/c/12/34 HTTP/1.1".to_owned(), fields: Vec::new() };
        let wanted = Wanted::read(&head).unwrap();
        assert_eq!((wanted.manner, wanted.chunked, wanted.size, wanted.start), (Manner::Short, true, 12, 34));
        let head = Head { line: "GET /broken/rude/c/12/34 HTTP/1.1".to_owned(), fields: Vec::new() };
        assert!(Wanted::read(&head).is_none());
    }
}
