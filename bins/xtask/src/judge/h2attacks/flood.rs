//! One flood of `h2-attacks.json` on one connection: units as fast as the proxy takes them, and what it says meanwhile.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::h2::frame::{self, HEADER_SIZE, Reader, code_name, kind};
use crate::lab::pace::pause;

/// Units written at once, as the tool that measured others does.
const BATCH: u64 = 10;
/// A flood that the proxy neither ends nor takes is over after this.
const FLOOD_LIMIT: Duration = Duration::from_secs(60);
/// After the last unit: for an answer to what is still in the buffers.
const AFTERWARDS: Duration = Duration::from_millis(1_200);
const PRIORITY: u8 = 2;

/// What is sent again and again.
#[derive(Clone, Debug)]
pub(super) struct Flood {
    pub(super) id: String,
    /// What it is known as.
    pub(super) cve: String,
    first: Vec<u8>,
    second: Vec<u8>,
}

impl Flood {
    /// The unit of this number: the second one's streams go up by 2 with each, if they did from the first to the second.
    pub(super) fn unit(&self, number: u64) -> Vec<u8> {
        // The one whose units differ in a value: they alternate.
        if number == 0 || (self.id == "settings_vals" && number.is_multiple_of(2)) {
            return self.first.clone();
        }
        let advance = 2 * (number - 1) as u32;
        let mut unit = self.second.clone();
        let mut at = 0;
        while at + HEADER_SIZE <= unit.len() {
            let size = u32::from_be_bytes([0, unit[at], unit[at + 1], unit[at + 2]]) as usize;
            let kind = unit[at + 3];
            add(&mut unit[at + 5..at + 9], advance);
            if kind == PRIORITY {
                add(&mut unit[at + HEADER_SIZE..at + HEADER_SIZE + 4], advance);
            }
            at += HEADER_SIZE + size;
        }
        unit
    }
}

/// Moves a stream on, if it is the second unit's own.
fn add(word: &mut [u8], advance: u32) {
    let stream = u32::from_be_bytes(word.try_into().expect("4 bytes"));
    if stream == 3 {
        word.copy_from_slice(&(stream + advance).to_be_bytes());
    }
}

/// The floods of the file.
pub(super) fn read(file: &Path) -> Result<Vec<Flood>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let json: Value = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    let attacks = json["attacks"].as_array().ok_or("no attacks")?;
    let one = |attack: &Value| {
        let text = |key: &str| attack[key].as_str().unwrap_or_default();
        let hex = |key: &str| bytes(text(key)).ok_or_else(|| format!("{} has no {key}", text("id")));
        let (first, second) = (hex("unit0_hex")?, hex("unit1_hex")?);
        Ok(Flood { id: text("id").to_owned(), cve: text("cve").to_owned(), first, second })
    };
    attacks.iter().map(one).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

/// What came of a flood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) units: u64,
    pub(super) took: Duration,
    /// The code of the peer's GOAWAY; one that is no error is kept only if no other came.
    pub(super) go_away: Option<u32>,
    pub(super) closed: bool,
    pub(super) resets: BTreeMap<u32, u64>,
    pub(super) heads: u64,
    pub(super) acks: u64,
}

impl Outcome {
    /// Whether the peer put an end to it.
    pub(super) fn is_ended(&self) -> bool {
        self.closed || self.go_away.is_some()
    }

    /// A line for people.
    pub(super) fn line(&self) -> String {
        let end = match (self.go_away, self.closed) {
            (Some(code), _) => format!("GOAWAY {}", code_name(code)),
            (None, true) => "closed".to_owned(),
            (None, false) => "not ended".to_owned(),
        };
        let resets: Vec<String> =
            self.resets.iter().map(|(code, count)| format!("{count} {}", code_name(*code))).collect();
        let resets = if resets.is_empty() { String::new() } else { format!(", resets {}", resets.join(" + ")) };
        format!(
            "{end} after {} units in {} ms ({} heads, {} acks{resets})",
            self.units,
            self.took.as_millis(),
            self.heads,
            self.acks
        )
    }

    fn take(&mut self, reader: &mut Reader) {
        while let Some(frame) = reader.next() {
            match frame.kind {
                kind::GOAWAY if self.go_away.is_none_or(|code| code == 0) => self.go_away = Some(frame.code()),
                kind::RST_STREAM => *self.resets.entry(frame.code()).or_default() += 1,
                kind::HEADERS => self.heads += 1,
                kind::SETTINGS | kind::PING if frame.is_ack(frame.kind) => self.acks += 1,
                _ => {}
            }
        }
    }

    /// Whether there is nothing more to expect: the end, or word of an error.
    fn is_over(&self) -> bool {
        self.closed || self.go_away.is_some_and(|code| code != 0)
    }
}

/// What a client says before the first unit: the preface, SETTINGS, and an ACK of the server's, which come in time.
pub(super) fn hello() -> Vec<u8> {
    let settings = frame::settings(&[]);
    [frame::PREFACE, &settings, &frame::frame(kind::SETTINGS, frame::flag::ACK, 0, b"")].concat()
}

/// Writes units until the peer ends it or there are `count` of them, and reads all the while.
pub(super) fn play(stream: &mut TcpStream, count: u64, unit: impl Fn(u64) -> Vec<u8>) -> io::Result<Outcome> {
    let begun = Instant::now();
    let mut outcome = Outcome::default();
    let mut reader = Reader::default();
    let mut wire: Vec<u8> = Vec::new();
    stream.set_nonblocking(true)?;
    while begun.elapsed() < FLOOD_LIMIT && !outcome.is_over() {
        if wire.is_empty() {
            if outcome.units >= count {
                break;
            }
            wire = (outcome.units..outcome.units + BATCH).flat_map(&unit).collect();
            outcome.units += BATCH;
        }
        let written = match stream.write(&wire) {
            Ok(size) => {
                wire.drain(..size);
                true
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => false,
            // What the peer said before its reset may still be there to read.
            Err(_) => {
                listen(stream, &mut reader, &mut outcome);
                outcome.closed = true;
                true
            }
        };
        if !listen(stream, &mut reader, &mut outcome) && !written {
            pause(Duration::from_millis(1));
        }
    }
    let last = Instant::now();
    while last.elapsed() < AFTERWARDS && !outcome.is_over() {
        if !listen(stream, &mut reader, &mut outcome) {
            pause(Duration::from_millis(2));
        }
    }
    // Who was stopped meanwhile has not looked.
    while !outcome.is_over() && listen(stream, &mut reader, &mut outcome) {}
    outcome.took = begun.elapsed();
    Ok(outcome)
}

/// Takes what there is to read; whether there was anything.
fn listen(stream: &mut TcpStream, reader: &mut Reader, outcome: &mut Outcome) -> bool {
    let mut piece = [0; 64 << 10];
    match stream.read(&mut piece) {
        Ok(0) => outcome.closed = true,
        Ok(size) => {
            reader.push(&piece[..size]);
            outcome.take(reader);
        }
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return false,
        Err(_) => outcome.closed = true,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::h2::frame::{Frame, settings};

    fn streams(unit: &[u8]) -> Vec<u32> {
        let mut reader = Reader::default();
        reader.push(unit);
        std::iter::from_fn(|| reader.next()).map(|frame: Frame| frame.stream).collect()
    }

    #[test]
    fn units_go_up_as_the_first_two_did() {
        let flood =
            |id: &str, first: Vec<u8>, second: Vec<u8>| Flood { id: id.to_owned(), cve: String::new(), first, second };
        let pair = |stream: u32| [frame::frame(1, 5, stream, b"x"), frame::reset(stream, 8)].concat();
        let rapid = flood("rapid_reset", pair(1), pair(3));
        assert_eq!(
            [0, 1, 2, 9].map(|number| streams(&rapid.unit(number))),
            [[1, 1], [3, 3], [5, 5], [19, 19]].map(Vec::from)
        );
        let same = flood("cont_empty", pair(1), frame::frame(9, 0, 1, b""));
        assert_eq!(streams(&same.unit(7)), [1]);
        let values = flood("settings_vals", settings(&[(1, 0)]), settings(&[(1, 4096)]));
        assert_eq!(values.unit(4), settings(&[(1, 0)]));
        assert_eq!(values.unit(5), settings(&[(1, 4096)]));
        let itself = |stream: u32| frame::frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[16]].concat());
        let itself_flood = flood("myr_prioself", itself(1), itself(3));
        assert_eq!(itself_flood.unit(3), itself(7));
    }
}
