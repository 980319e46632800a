//! One side of a connection, a client or an origin: it does what the plan says, and compares each byte and the end.
//!
//! A reset is made by closing with a byte unread (RFC 9293 §3.6.1, RFC 1122 §4.2.2.13), for std has no other way.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::plan::{Direction, End, Plan, Side, Traffic};
use crate::lab::chance::Chance;
use crate::lab::interrupted::uninterrupted;
use crate::lab::pace::pause;

/// Who hears nothing for so long hears nothing any more.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// A reader rests after so many bytes at most, and so long at most: the other side is held back then.
const REST_AFTER: usize = 8 << 20;
const REST_MS: usize = 30;

/// Tells the origin the connection's plan, in front of all else.
pub(super) fn greet(mut stream: &TcpStream, seed: u64) -> io::Result<()> {
    stream.write_all(&seed.to_le_bytes())
}

/// What [`greet`] said.
pub(super) fn greeted(mut stream: &TcpStream) -> io::Result<u64> {
    let mut seed = [0; 8];
    stream.read_exact(&mut seed)?;
    Ok(u64::from_le_bytes(seed))
}

/// Does this side's part of the plan.
///
/// # Errors
/// Says what was otherwise than planned.
pub(super) fn play(stream: TcpStream, plan: &Plan, traffic: Traffic, side: Side) -> Result<(), String> {
    let done = match traffic {
        Traffic::Bulk => play_bulk(&stream, plan, side),
        Traffic::Messages => play_messages(&stream, plan, side),
    };
    done.map_err(|why| format!("{side:?} of {:#x}, {:?}: {why}", plan.seed, plan.end))
}

// --- By turns ------------------------------------------------------------------------------------------------------------

fn play_messages(stream: &TcpStream, plan: &Plan, side: Side) -> Result<(), String> {
    let (own, other) = (plan.of(side), plan.of(side.other()));
    let (mut sent, mut heard) = (0, 0);
    let mut buffer = vec![0; own.piece_max.max(other.piece_max)];
    for [up, down] in plan.messages() {
        let turn = match side {
            Side::Client => [(true, up), (false, down)],
            Side::Origin => [(false, up), (true, down)],
        };
        for (sends, size) in turn {
            let message = &mut buffer[..size];
            if sends {
                own.bytes.fill(sent, message);
                let mut to = stream;
                to.write_all(message).map_err(|e| format!("byte {sent} cannot be sent: {e}"))?;
                sent += size as u64;
            } else {
                let mut from = stream;
                from.read_exact(message).map_err(|e| format!("after {heard} bytes of {}: {e}", other.size))?;
                compare(other, heard, message)?;
                heard += size as u64;
            }
        }
    }
    match plan.end {
        End::Whole => {
            // One says its last first, and hears the other's.
            let first = if plan.seed & 1 == 0 { Side::Client } else { Side::Origin };
            let finish = || stream.shutdown(Shutdown::Write).map_err(|e| format!("no end can be sent: {e}"));
            if side == first {
                finish()?;
            }
            expect_end(stream)?;
            if side != first { finish() } else { Ok(()) }
        }
        End::Quiet(by) | End::Busy(by) if by == side => wait_unread(stream),
        End::Quiet(_) | End::Busy(_) => {
            let mut to = stream;
            to.write_all(&[0]).map_err(|e| format!("the last byte cannot be sent: {e}"))?;
            expect_reset(stream)
        }
    }
}

/// Reads the end behind the last byte.
pub(super) fn expect_end(mut from: &TcpStream) -> Result<(), String> {
    match uninterrupted(|| from.read(&mut [0; 8])) {
        Ok(0) => Ok(()),
        Ok(_) => Err("bytes behind the last".to_owned()),
        Err(e) => Err(format!("no end behind the last byte: {e}")),
    }
}

/// Reads a reset behind the last byte.
pub(super) fn expect_reset(mut from: &TcpStream) -> Result<(), String> {
    match uninterrupted(|| from.read(&mut [0; 8])) {
        Ok(0) => Err("a reset came as an end".to_owned()),
        Ok(_) => Err("bytes behind the last".to_owned()),
        Err(e) if e.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(e) => Err(format!("no reset: {e}")),
    }
}

/// Waits until a byte lies unread.
pub(super) fn wait_unread(stream: &TcpStream) -> Result<(), String> {
    match uninterrupted(|| stream.peek(&mut [0])) {
        Ok(1) => Ok(()),
        Ok(_) => Err("an end in place of a byte".to_owned()),
        Err(e) => Err(format!("no byte before the reset: {e}")),
    }
}

// --- Both ways at once ---------------------------------------------------------------------------------------------------

fn play_bulk(stream: &TcpStream, plan: &Plan, side: Side) -> Result<(), String> {
    let (own, other) = (plan.of(side), plan.of(side.other()));
    let (sizes, rests) = (Chance::new(own.bytes.0 ^ 1), Chance::new(own.bytes.0 ^ 2));
    let (tell, told) = channel();
    match plan.end {
        End::Whole => std::thread::scope(|scope| {
            let sends = scope.spawn(move || {
                send(stream, own, &told, sizes).map_err(|e| format!("the rest cannot be sent: {e}"))?;
                stream.shutdown(Shutdown::Write).map_err(|e| format!("no end can be sent: {e}"))
            });
            let heard = hear(stream, other, tell, rests);
            let sent = sends.join().map_err(|_| "the sender panicked".to_owned())?;
            match heard {
                Ok(at) if at == other.size => sent,
                Ok(at) => Err(format!("the end after {at} bytes of {}", other.size)),
                Err(why) => Err(why.to_string()),
            }
        }),
        End::Quiet(by) | End::Busy(by) if by == side => {
            send(stream, own, &told, sizes).map_err(|e| format!("what goes before a reset cannot be sent: {e}"))?;
            wait_unread(stream)
        }
        End::Quiet(_) => {
            send(stream, own, &told, sizes).map_err(|e| format!("a byte cannot be sent: {e}"))?;
            expect_broken(hear(stream, other, tell, rests))
        }
        End::Busy(_) => std::thread::scope(|scope| {
            let sends = scope.spawn(move || send(stream, own, &told, sizes));
            let heard = hear(stream, other, tell, rests);
            // Who sends may be told of it first, and then the reader sees an end: the kernel tells an error once.
            match (heard, sends.join().map_err(|_| "the sender panicked".to_owned())?) {
                (Ok(_), Err(e)) if is_broken(&e) => Ok(()),
                (heard, _) => expect_broken(heard),
            }
        }),
    }
}

fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn expect_broken(heard: Result<u64, Heard>) -> Result<(), String> {
    match heard {
        Ok(at) => Err(format!("a reset came as an end, after {at} bytes")),
        Err(Heard::Failed(_, error)) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(why) => Err(why.to_string()),
    }
}

/// Sends a direction's bytes in pieces of any size; the last of them when it is told.
fn send(mut to: &TcpStream, own: &Direction, told: &Receiver<()>, mut chance: Chance) -> io::Result<()> {
    let mut buffer = vec![0; own.piece_max];
    let mut at = 0;
    let before = own.size - own.behind_end;
    while at < own.size {
        if at == before && told.recv_timeout(LIMIT).is_err() {
            return Err(io::Error::new(ErrorKind::TimedOut, "the other's end did not come"));
        }
        let left = if at < before { before - at } else { own.size - at };
        let size = (1 + chance.below(own.piece_max)).min(usize::try_from(left).unwrap_or(usize::MAX));
        own.bytes.fill(at, &mut buffer[..size]);
        to.write_all(&buffer[..size])?;
        at += size as u64;
    }
    Ok(())
}

/// Why hearing ended before an end.
#[derive(Debug)]
enum Heard {
    Failed(u64, io::Error),
    Wrong(String),
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Heard::Failed(at, error) => write!(f, "after {at} bytes: {error}"),
            Heard::Wrong(why) => f.write_str(why),
        }
    }
}

/// Reads to the end, with rests, and tells that it came; how many bytes there were.
fn hear(mut from: &TcpStream, other: &Direction, tell: Sender<()>, mut chance: Chance) -> Result<u64, Heard> {
    let mut buffer = vec![0; other.read_max];
    let (mut at, mut until_rest) = (0, chance.below(REST_AFTER));
    loop {
        let read = uninterrupted(|| from.read(&mut buffer)).map_err(|e| Heard::Failed(at, e))?;
        if read == 0 {
            let _nobody_waits = tell.send(());
            return Ok(at);
        }
        compare(other, at, &buffer[..read]).map_err(Heard::Wrong)?;
        at += read as u64;
        match until_rest.checked_sub(read) {
            Some(left) => until_rest = left,
            None => {
                pause(Duration::from_millis(1 + chance.below(REST_MS) as u64));
                until_rest = chance.below(REST_AFTER);
            }
        }
    }
}

fn compare(other: &Direction, at: u64, bytes: &[u8]) -> Result<(), String> {
    match other.bytes.differs(at, bytes) {
        _ if at + bytes.len() as u64 > other.size => Err(format!("more than the {} bytes that were sent", other.size)),
        Some(found) => Err(format!("another byte at {found} of {}", other.size)),
        None => Ok(()),
    }
}
