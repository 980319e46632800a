//! The outside judge's 147 cases (`../shared/conformance/h2spec-wire.json`), on the connection alone: each client's bytes, an application that answers
//! each request at once with "hello", and the requirement's verdict on what was written.
//!
//! Stricter than the judge where it takes a closed connection for any error: the code has to be there.

use std::collections::BTreeMap;

use ringway_protocols::http2::{Code, Limits, Role};

use crate::floods::{judge, unhex};
use crate::side::*;

/// A server, and what it has to say on each stream.
struct Application {
    side: Side,
    /// Content that is still to be sent.
    due: BTreeMap<u32, usize>,
    answers: bool,
    wrote: Vec<String>,
    failed: bool,
}

impl Application {
    fn hear(&mut self, bytes: &[u8]) {
        if self.failed {
            return;
        }
        self.side.feed(bytes);
        for event in self.side.events().split(" · ") {
            let words: Vec<&str> = event.split(' ').collect();
            let stream = words.get(1).and_then(|id| id.parse::<u32>().ok());
            match (words[0], stream) {
                ("head" | "data", Some(id)) if words.last() == Some(&"ends") => self.answer(id),
                ("trailers", Some(id)) => self.answer(id),
                ("reset", Some(id)) => drop(self.due.remove(&id)),
                ("failed", _) => self.failed = true,
                _ => {}
            }
        }
        for (&id, due) in &mut self.due {
            while *due > 0 {
                let granted = self.side.send(id, *due, true);
                *due -= granted;
                if granted == 0 {
                    break;
                }
            }
        }
        self.due.retain(|_, due| *due > 0);
        self.side.connection.unsent(0);
        self.wrote.extend(self.side.wrote().split(" · ").filter(|frame| !frame.is_empty()).map(str::to_owned));
    }

    fn answer(&mut self, id: u32) {
        if self.answers && self.side.connection.is_open(self.side.key(id)) {
            self.side.respond(id, false, OK);
            self.due.insert(id, "hello".len());
        }
    }

    fn has(&self, start: &str) -> bool {
        self.wrote.iter().any(|frame| frame.starts_with(start))
    }

    /// RST_STREAM or GOAWAY with one of the codes; of any error where the judge's list has no name here.
    fn error(&self, kinds: &[&str], codes: &str) -> bool {
        let names: Vec<String> = codes.split(", ").map(|code| format!("{}_", snake(code))).collect();
        self.wrote.iter().any(|frame| {
            let words: Vec<&str> = frame.split(' ').collect();
            kinds.contains(&words[0])
                && words[2] != Code::NO_ERROR.name()
                && (codes == "codes..." || names.iter().any(|name| format!("{}_", words[2]).starts_with(name)))
        })
    }

    /// By the name of the judge's function.
    fn verdict(&self, verify: &str, argument: &str) -> bool {
        match verify {
            "VerifyHeadersFrame" => self.has("HEADERS"),
            "VerifyEventType" if argument.contains("Data") => self.has("DATA"),
            "VerifyEventType" | "VerifyPingFrameWithAck" => self.has("PONG"),
            "VerifySettingsFrameWithAck" => self.has("ACK"),
            "VerifyPingFrameOrConnectionClose" => self.has("PONG"),
            "VerifyStreamClose" => self.wrote.iter().any(|frame| frame.ends_with(" end") || frame.starts_with("RST")),
            "VerifyConnectionClose" => self.failed,
            "VerifyConnectionError" => self.failed && self.error(&["GOAWAY"], argument),
            "VerifyStreamError" => self.error(&["RST", "GOAWAY"], argument),
            other => panic!("{other} is new"),
        }
    }
}

/// `StreamClosed` as `STREAM_CLOSED`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

#[test]
fn all_cases() {
    let Some(file) = judge("h2spec-wire.json") else { return };
    let cases = file["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 147);
    let mut failures = Vec::new();
    for case in cases {
        let id = case["id"].as_str().expect("an id");
        for (index, connection) in case["connections"].as_array().expect("a list").iter().enumerate() {
            let limits = Limits { max_concurrent_streams: 100, ..Limits::default() };
            let mut application = Application {
                side: Side::new(Role::Server, &limits),
                due: BTreeMap::new(),
                answers: id != "http2/5.1.2/1", // where streams are to pile up
                wrote: Vec::new(),
                failed: false,
            };
            application.side.judges = true;
            let mut reference = Vec::new();
            for entry in connection.as_array().expect("a list") {
                let (who, what) = (entry[0].as_str().expect("who"), entry[1].as_str().expect("what"));
                let bytes = if what.bytes().all(|byte| byte.is_ascii_hexdigit()) && what.len() % 2 == 0 {
                    unhex(what)
                } else {
                    continue;
                };
                match who {
                    "c" => application.hear(&bytes),
                    _ => reference.extend(bytes),
                }
            }
            let verify = case["verify"].as_array().expect("a list");
            let reference = frames(&mut reference);
            let passed = if verify.is_empty() || index > 0 {
                // The judge looks for itself here: what the recorded server ended is to be ended, and nothing else.
                ["RST", "GOAWAY"].iter().all(|kind| application.has(kind) == reference.contains(kind))
            } else {
                verify.iter().all(|row| {
                    application.verdict(row[0].as_str().expect("a name"), row[1].as_str().expect("an argument"))
                })
            };
            if !passed {
                failures.push(format!("{id} {}: {verify:?}: {:?} {reference}", case["desc"], application.wrote));
            }
        }
    }
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}
