//! The one place where these tests touch the API: a row is bytes and what they must mean.

use ringway_protocols::audit::audit;
use ringway_protocols::script::{Outcome, Side, Stop, play_every_way};
use ringway_protocols::{Limits, Rule};

/// What a row's bytes must come to, whole, byte by byte and split at every point.
#[track_caller]
pub(crate) fn check(side: Side, wire: &[u8], expect: &str) {
    let outcome = play_every_way(side, wire, &Limits::default());
    assert_eq!(told(&outcome), expect, "{:?}", String::from_utf8_lossy(wire));
    if side == Side::Request && outcome.messages.iter().all(|message| message.complete) {
        assert_eq!(audit(&outcome.forwarded), Ok(outcome.messages.len()), "{:?}", String::from_utf8_lossy(wire));
    }
}

/// Nothing of these bytes comes out, because they break `rule`.
#[track_caller]
pub(crate) fn refused(side: Side, wire: &[u8], rule: Rule) {
    let outcome = play_every_way(side, wire, &Limits::default());
    assert_eq!(outcome.stop, Stop::Refused(rule), "{:?}", String::from_utf8_lossy(wire));
    assert!(outcome.messages.iter().all(|message| !message.complete), "{:?}", String::from_utf8_lossy(wire));
}

/// One line: heads, contents and trailers in order, then why it stopped.
pub(crate) fn told(outcome: &Outcome) -> String {
    let mut text = String::new();
    for message in &outcome.messages {
        text += &message.head;
        if !message.content.is_empty() {
            text += &format!(" {:?}", String::from_utf8_lossy(&message.content));
        }
        if !message.trailers.is_empty() {
            text += &format!(" trailers {}", message.trailers);
        }
        text += if message.complete { " · " } else { " … " };
    }
    text + &match outcome.stop {
        Stop::Clean => "end".to_owned(),
        Stop::Partial => "more".to_owned(),
        Stop::Closed => "close".to_owned(),
        Stop::Refused(rule) => format!("{rule:?}"),
    }
}
