//! Short connections: one exchange, and one of the ways in which clients and origins close.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::side::{expect_end, expect_reset, greet, greeted, wait_unread};
use crate::lab::chance::Chance;
use crate::lab::counted::Counted;

/// How a short connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// The client has its answer and closes.
    ClientFirst,
    OriginFirst,
    ClientResets,
    OriginResets,
    /// The client's end comes before the answer.
    Half,
    /// The client says nothing at all.
    Unsaid,
}

const CLOSES: [Close; 6] =
    [Close::ClientFirst, Close::OriginFirst, Close::ClientResets, Close::OriginResets, Close::Half, Close::Unsaid];
/// What is asked and what is answered: up to so many bytes.
const SIZE_MAX: usize = 3_000;

fn drawn(seed: u64) -> (Close, Counted, [usize; 2]) {
    let mut chance = Chance::new(seed);
    let close = *chance.pick(&CLOSES);
    (close, Counted(chance.number()), [(); 2].map(|()| 1 + chance.below(SIZE_MAX)))
}

/// The client of the connection of this seed.
pub(super) fn ask(stream: TcpStream, seed: u64) -> Result<(), String> {
    let (close, bytes, [question, answer]) = drawn(seed);
    let go = || {
        match close {
            Close::Unsaid => return Ok(()),
            Close::ClientFirst | Close::Half | Close::ClientResets | Close::OriginFirst => {
                say(&stream, seed, bytes, question)?;
            }
            // The last byte stays unread with the origin.
            Close::OriginResets => say(&stream, seed, bytes, question + 1)?,
        }
        if close == Close::Half {
            finish(&stream)?;
        }
        hear(&stream, bytes, answer)?;
        match close {
            Close::ClientFirst | Close::Unsaid => Ok(()),
            Close::OriginFirst | Close::Half => expect_end(&stream),
            Close::ClientResets => wait_unread(&stream),
            Close::OriginResets => expect_reset(&stream),
        }
    };
    go().map_err(|why| format!("client of {seed:#x}, {close:?}: {why}"))
}

/// The origin of a short connection.
pub(super) fn answer(stream: TcpStream) -> Result<(), String> {
    let Ok(seed) = greeted(&stream) else { return Ok(()) }; // [`Close::Unsaid`]
    let (close, bytes, [question, answer]) = drawn(seed);
    let go = || {
        hear(&stream, bytes, question)?;
        if close == Close::Half {
            expect_end(&stream)?;
        }
        let mut to = &stream;
        let mut text = vec![0; answer + usize::from(close == Close::ClientResets)];
        bytes.fill(0, &mut text);
        to.write_all(&text).map_err(|e| format!("the answer cannot be sent: {e}"))?;
        match close {
            Close::OriginFirst | Close::Half | Close::Unsaid => Ok(()),
            Close::ClientFirst => expect_end(&stream),
            Close::ClientResets => expect_reset(&stream),
            Close::OriginResets => wait_unread(&stream),
        }
    };
    go().map_err(|why| format!("origin of {seed:#x}, {close:?}: {why}"))
}

fn say(stream: &TcpStream, seed: u64, bytes: Counted, size: usize) -> Result<(), String> {
    let mut text = vec![0; size];
    bytes.fill(0, &mut text);
    let mut to = stream;
    greet(stream, seed).and_then(|()| to.write_all(&text)).map_err(|e| format!("the question cannot be sent: {e}"))
}

fn hear(mut from: &TcpStream, bytes: Counted, size: usize) -> Result<(), String> {
    let mut text = vec![0; size];
    from.read_exact(&mut text).map_err(|e| format!("of {size} bytes: {e}"))?;
    if bytes.differs(0, &text).is_none() { Ok(()) } else { Err("other bytes".to_owned()) }
}

fn finish(stream: &TcpStream) -> Result<(), String> {
    stream.shutdown(Shutdown::Write).map_err(|e| format!("no end can be sent: {e}"))
}
