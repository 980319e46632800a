//! One recording: what to send, what to wait for between two sends, and the rules of its verdict.

use std::path::Path;

use serde_json::Value;

use super::rule::Rule;
use crate::lab::h2::frame::{Frame, PREFACE, Reader, flag, kind};

/// One case of h2spec.
#[derive(Debug)]
pub(super) struct Recording {
    /// Its place in the file.
    pub(super) number: usize,
    pub(super) id: String,
    pub(super) what: String,
    pub(super) requirement: String,
    pub(super) steps: Vec<Step>,
    pub(super) rules: Vec<Rule>,
}

/// What the player does next.
#[derive(Debug)]
pub(super) enum Step {
    Send(Vec<u8>),
    /// The recorded server said something here that the next send may depend on.
    Await(Wanted),
}

/// The last frame that the recorded server sent before the client went on, as far as all servers have it alike.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Wanted {
    pub(super) fn is_met_by(&self, frame: &Frame) -> bool {
        frame.is(self.kind, self.flags) && frame.stream == self.stream
    }

    fn of(frame: &Frame) -> Option<Wanted> {
        let flags = match frame.kind {
            // When windows are credited is each server's own affair.
            kind::WINDOW_UPDATE => return None,
            kind::SETTINGS | kind::PING => flag::ACK & frame.flags,
            kind::HEADERS | kind::DATA => flag::END_STREAM & frame.flags,
            _ => 0,
        };
        Some(Wanted { kind: frame.kind, flags, stream: frame.stream })
    }
}

/// All cases of the file.
pub(super) fn read(file: &Path) -> Result<Vec<Recording>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let json: Value = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    let cases = json["cases"].as_array().ok_or("no cases")?;
    cases.iter().enumerate().map(|(number, case)| one(number, case)).collect()
}

fn one(number: usize, case: &Value) -> Result<Recording, String> {
    let text = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
    let id = text("id");
    // Some cases open another connection to find out how long a body is; the first is the one that is judged.
    let chunks = case["connections"][0].as_array().ok_or_else(|| format!("{id} has no connection"))?;
    let mut steps = Vec::new();
    let mut sent = Vec::new();
    let mut server = Reader::default();
    for chunk in chunks {
        let (who, what) = (chunk[0].as_str().unwrap_or_default(), chunk[1].as_str().unwrap_or_default());
        let Some(bytes) = bytes(what) else { continue }; // "eof", "err": the recorded end
        if who == "c" {
            sent.extend_from_slice(&bytes);
            steps.push(Step::Send(bytes));
        } else {
            server.push(&bytes);
            let frames = std::iter::from_fn(|| server.next());
            steps.extend(frames.filter_map(|frame| Wanted::of(&frame)).last().map(Step::Await));
        }
    }
    // What was said last is what the rules look at.
    while matches!(steps.last(), Some(Step::Await(_))) {
        steps.pop();
    }
    let rules = Rule::of(&id, &case["verify"], &pings(&sent))?;
    Ok(Recording { number, id, what: text("desc"), requirement: text("requirement"), steps, rules })
}

/// The payloads of the PINGs that are to be answered.
fn pings(sent: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Reader::default();
    reader.push(sent);
    if reader.take(PREFACE) != Some(true) {
        return Vec::new();
    }
    let frames = std::iter::from_fn(|| reader.next());
    frames.filter(|frame| frame.kind == kind::PING && !frame.is_ack(kind::PING)).map(|frame| frame.payload).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::h2::frame::frame;

    #[test]
    fn a_case_is_read_with_its_turns() {
        let ping = frame(kind::PING, 0, 0, b"12345678");
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let hello = [PREFACE, &frame(kind::SETTINGS, 0, 0, b"")].concat();
        let ready = [frame(kind::SETTINGS, flag::ACK, 0, b""), frame(kind::WINDOW_UPDATE, 0, 0, &[1; 4])].concat();
        let case = serde_json::json!({
            "id": "x", "verify": [["VerifyPingFrameWithAck", "data"]],
            "connections": [[["c", hex(&hello)], ["s", hex(&ready)], ["c", hex(&ping)], ["s", "00"], ["c", "eof"]]],
        });
        let read = one(3, &case).unwrap();
        let [Step::Send(first), Step::Await(wanted), Step::Send(last)] = read.steps.as_slice() else {
            panic!("{:?}", read.steps)
        };
        assert_eq!((first, last), (&hello, &ping));
        assert_eq!(*wanted, Wanted { kind: kind::SETTINGS, flags: flag::ACK, stream: 0 });
        assert_eq!(read.rules, [Rule::Pong(b"12345678".to_vec())]);
    }
}
