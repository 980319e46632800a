//! The rules of h2spec's verdicts, as its `Verify...` calls have them, one after the other over what the server sends.

use serde_json::Value;

use crate::lab::h2::frame::{Frame, Heard, code_name, code_named, kind};

/// What must come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// SETTINGS, as the first frame of all.
    Preface,
    /// HEADERS on stream 1, which all these cases use.
    Headers,
    /// Any DATA; with a size: the first DATA has this size.
    Data(Option<usize>),
    /// A PING, answered or not.
    AnyPing,
    /// The answer to a PING with this payload, and none with another.
    Pong(Vec<u8>),
    /// That, or the end of the connection.
    PongOrClose(Vec<u8>),
    /// An acknowledgement of SETTINGS.
    SettingsAck,
    /// The end of a response.
    StreamClose,
    /// RST_STREAM or GOAWAY with one of these codes, or the end of the connection.
    StreamError(Vec<u32>),
    /// GOAWAY with one of these codes, or the end of the connection.
    ConnectionError(Vec<u32>),
    /// The end of the connection.
    ConnectionClose,
    /// GOAWAY with this code; with any, if there is none. The end alone will not do.
    GoAway(Option<u32>),
    /// RST_STREAM with this code. The end alone will not do.
    Reset(u32),
}

impl Rule {
    /// The rules of a case: of its recorded calls, and of the few that h2spec wrote out by hand.
    pub(super) fn of(id: &str, verify: &Value, pings: &[Vec<u8>]) -> Result<Vec<Rule>, String> {
        let code = |name: &str| code_named(name);
        let by_hand = match id {
            "generic/1/1" | "http2/3.5/1" => vec![Rule::Preface],
            "http2/5.4.1/2" => vec![Rule::GoAway(None)],
            "http2/6.9.1/2" => vec![Rule::GoAway(Some(code("FLOW_CONTROL_ERROR")))],
            "http2/6.9.1/3" => vec![Rule::Reset(code("FLOW_CONTROL_ERROR"))],
            "http2/6.5.3/1" | "http2/6.9.1/1" => vec![Rule::SettingsAck, Rule::Data(Some(1))],
            "http2/6.9.2/1" => vec![Rule::SettingsAck, Rule::SettingsAck, Rule::Data(Some(1))],
            "http2/6.9.2/2" => {
                vec![Rule::SettingsAck, Rule::Data(Some(3)), Rule::SettingsAck, Rule::Data(Some(1))]
            }
            _ => Vec::new(),
        };
        if !by_hand.is_empty() {
            return Ok(by_hand);
        }
        let calls = verify.as_array().map(Vec::as_slice).unwrap_or_default();
        let rules: Result<Vec<Rule>, String> = calls.iter().map(|call| Rule::from_call(id, call, pings)).collect();
        match rules {
            Ok(rules) if rules.is_empty() => Err(format!("{id} has no rule")),
            other => other,
        }
    }

    fn from_call(id: &str, call: &Value, pings: &[Vec<u8>]) -> Result<Rule, String> {
        let (name, argument) = (call[0].as_str().unwrap_or_default(), call[1].as_str().unwrap_or_default());
        let ping = || pings.last().cloned().ok_or_else(|| format!("{id} sends no PING"));
        Ok(match name {
            "VerifyHeadersFrame" => Rule::Headers,
            "VerifyEventType" if argument == "spec.EventDataFrame" => Rule::Data(None),
            "VerifyEventType" if argument == "spec.EventPingFrame" => Rule::AnyPing,
            "VerifyPingFrameWithAck" => Rule::Pong(ping()?),
            "VerifyPingFrameOrConnectionClose" => Rule::PongOrClose(ping()?),
            "VerifySettingsFrameWithAck" => Rule::SettingsAck,
            "VerifyStreamClose" => Rule::StreamClose,
            "VerifyStreamError" => Rule::StreamError(codes(id, argument)?),
            "VerifyConnectionError" => Rule::ConnectionError(codes(id, argument)?),
            "VerifyConnectionClose" => Rule::ConnectionClose,
            _ => return Err(format!("{id}: no rule {name} {argument}")),
        })
    }

    fn is_met_by(&self, heard: &Heard) -> bool {
        match (self, heard) {
            (Rule::Preface, Heard::Frame(frame)) => frame.kind == kind::SETTINGS && !frame.is_ack(kind::SETTINGS),
            (Rule::Headers, Heard::Frame(frame)) => frame.kind == kind::HEADERS && frame.stream == 1,
            (Rule::Data(size), Heard::Frame(frame)) => {
                frame.kind == kind::DATA && size.is_none_or(|size| frame.payload.len() == size)
            }
            (Rule::AnyPing, Heard::Frame(frame)) => frame.kind == kind::PING,
            (Rule::Pong(payload) | Rule::PongOrClose(payload), Heard::Frame(frame)) => {
                frame.is_ack(kind::PING) && frame.payload == *payload
            }
            (Rule::SettingsAck, Heard::Frame(frame)) => frame.is_ack(kind::SETTINGS),
            (Rule::StreamClose, Heard::Frame(frame)) => frame.ends(),
            (Rule::StreamError(codes), Heard::Frame(frame)) => {
                matches!(frame.kind, kind::GOAWAY | kind::RST_STREAM) && codes.contains(&frame.code())
            }
            (Rule::ConnectionError(codes), Heard::Frame(frame)) => {
                frame.kind == kind::GOAWAY && codes.contains(&frame.code())
            }
            (Rule::GoAway(code), Heard::Frame(frame)) => {
                frame.kind == kind::GOAWAY && code.is_none_or(|code| frame.code() == code)
            }
            (Rule::Reset(code), Heard::Frame(frame)) => frame.kind == kind::RST_STREAM && frame.code() == *code,
            (
                Rule::PongOrClose(_) | Rule::StreamError(_) | Rule::ConnectionError(_) | Rule::ConnectionClose,
                Heard::Closed { .. },
            ) => true,
            _ => false,
        }
    }

    /// Whether this can no longer be met after what came.
    fn is_broken_by(&self, heard: &Heard) -> bool {
        match (self, heard) {
            (_, Heard::Closed { .. }) | (Rule::Preface, _) => true,
            (Rule::Data(Some(_)), Heard::Frame(frame)) => frame.kind == kind::DATA,
            (Rule::Pong(_), Heard::Frame(frame)) => frame.is_ack(kind::PING),
            _ => false,
        }
    }
}

/// Error codes as h2spec's calls name them; where they stand in a variable, what it holds.
fn codes(id: &str, argument: &str) -> Result<Vec<u32>, String> {
    let argument = match (argument, id) {
        ("codes...", "http2/5.1/10" | "http2/5.1/13") => "StreamClosed, Protocol",
        ("codes...", "http2/5.1.2/1") => "Protocol, RefusedStream",
        ("codes...", "http2/6.5/3") => "FrameSize",
        _ => argument,
    };
    let names = argument.split(", ").map(|name| match name {
        "Protocol" => Ok("PROTOCOL_ERROR"),
        "Compression" => Ok("COMPRESSION_ERROR"),
        "FrameSize" => Ok("FRAME_SIZE_ERROR"),
        "FlowControl" => Ok("FLOW_CONTROL_ERROR"),
        "StreamClosed" => Ok("STREAM_CLOSED"),
        "RefusedStream" => Ok("REFUSED_STREAM"),
        _ => Err(format!("{id}: no code {name}")),
    });
    names.map(|name| name.map(code_named)).collect()
}

/// Whether a case is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Open,
    Passed,
    Failed,
}

/// How far the rules of a case have got.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    left: &'a [Rule],
    broken: bool,
    /// The handshake is not what the rules are about, unless a rule says so.
    settings_pass: usize,
    acks_pass: usize,
    heard: Vec<String>,
}

/// What a failure shows of what came.
const SAID_MAX: usize = 6;

impl<'a> Progress<'a> {
    pub(super) fn new(rules: &'a [Rule]) -> Progress<'a> {
        let handshake = usize::from(rules != [Rule::Preface]);
        Progress { left: rules, broken: false, settings_pass: handshake, acks_pass: handshake, heard: Vec::new() }
    }

    /// Takes what came next.
    pub(super) fn hear(&mut self, heard: &Heard) {
        let Some((rule, rest)) = self.left.split_first() else { return };
        match heard {
            Heard::Frame(frame) => {
                if self.is_handshake(frame) {
                    return;
                }
                self.heard.push(frame.line());
            }
            Heard::Closed { by_reset } => self.heard.push(if *by_reset { "a reset" } else { "the end" }.to_owned()),
            Heard::Silence => return,
        }
        if rule.is_met_by(heard) {
            self.left = rest;
        } else {
            self.broken |= rule.is_broken_by(heard);
        }
        // Nothing comes after the end but the end.
        self.broken |= matches!(heard, Heard::Closed { .. }) && !self.left.is_empty();
    }

    fn is_handshake(&mut self, frame: &Frame) -> bool {
        if frame.kind != kind::SETTINGS {
            return false;
        }
        let pass = if frame.is_ack(kind::SETTINGS) { &mut self.acks_pass } else { &mut self.settings_pass };
        let passes = *pass > 0;
        *pass -= usize::from(passes);
        passes
    }

    pub(super) fn judgement(&self) -> Judgement {
        match (self.left, self.broken) {
            ([], _) => Judgement::Passed,
            (_, true) => Judgement::Failed,
            (_, false) => Judgement::Open,
        }
    }

    /// What is still missing, and what came.
    pub(super) fn said(&self) -> String {
        let wanted = match self.left.first() {
            Some(Rule::StreamError(codes)) => format!("a stream error {}", names(codes)),
            Some(Rule::ConnectionError(codes)) => format!("a connection error {}", names(codes)),
            Some(rule) => format!("{rule:?}"),
            None => "nothing".to_owned(),
        };
        let from = self.heard.len().saturating_sub(SAID_MAX);
        format!("wanted {wanted}, got [{}]", self.heard[from..].join("; "))
    }
}

fn names(codes: &[u32]) -> String {
    codes.iter().map(|code| code_name(*code)).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::h2::frame::{Reader, flag, frame, go_away, reset};

    #[track_caller]
    fn check(rules: &[Rule], wire: &[u8], closed: bool, expect: Judgement) {
        let mut progress = Progress::new(rules);
        let mut reader = Reader::default();
        reader.push(wire);
        while let Some(frame) = reader.next() {
            progress.hear(&Heard::Frame(frame));
        }
        if closed {
            progress.hear(&Heard::Closed { by_reset: false });
        }
        assert_eq!(progress.judgement(), expect, "{}", progress.said());
    }

    #[test]
    fn each_rule_can_pass_and_fail() {
        let settings = frame(kind::SETTINGS, 0, 0, b"");
        let ack = frame(kind::SETTINGS, flag::ACK, 0, b"");
        let hello = [settings.clone(), ack.clone()].concat();
        let error = |rule: fn(Vec<u32>) -> Rule| [rule(vec![1])];
        check(&[Rule::Preface], &settings, false, Judgement::Passed);
        check(&[Rule::Preface], &ack, false, Judgement::Failed);
        check(&[Rule::SettingsAck], &hello, false, Judgement::Open);
        check(&[Rule::SettingsAck], &[hello.clone(), ack].concat(), false, Judgement::Passed);
        check(&error(Rule::ConnectionError), &go_away(0, 1), false, Judgement::Passed);
        check(&error(Rule::ConnectionError), &reset(1, 1), false, Judgement::Open);
        check(&error(Rule::ConnectionError), b"", true, Judgement::Passed);
        check(&error(Rule::StreamError), &reset(1, 1), false, Judgement::Passed);
        check(&error(Rule::StreamError), &reset(1, 2), false, Judgement::Open);
        check(&[Rule::GoAway(None)], b"", true, Judgement::Failed);
        check(&[Rule::Reset(3)], &go_away(0, 3), true, Judgement::Failed);
        let data = |size: usize| frame(kind::DATA, 0, 1, &vec![0; size]);
        check(&[Rule::Data(Some(1))], &data(1), false, Judgement::Passed);
        check(&[Rule::Data(Some(1))], &data(2), false, Judgement::Failed);
        let pong = |payload: &[u8]| frame(kind::PING, flag::ACK, 0, payload);
        check(&[Rule::Pong(b"12345678".to_vec())], &pong(b"12345678"), false, Judgement::Passed);
        check(&[Rule::Pong(b"12345678".to_vec())], &pong(b"invalid\0"), false, Judgement::Failed);
    }
}
