//! What reading a connection brings: one event at a time.
//!
//! It holds no bytes: content is a range of what was given, fields are in the caller's list.

use std::ops::Range;

use super::code::Code;
use super::streams::Key;
use crate::error::{Error, Rule};

/// What one call of [`super::Connection::receive`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes at the front that are done with.
    pub consumed: usize,
    /// What they brought.
    pub event: Event,
}

/// What the caller has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What is left is a part of a frame, or nothing: come again with more behind it. A frame that has to be whole has 16,393 bytes at most.
    NeedMore,
    /// A head, in `fields`: of a request on a new stream (server); of a response, interim or final (client). Nobody has judged its fields. Where
    /// `fields.is_too_large()`, it is not whole and to be answered 431, or given up.
    Head {
        /// Its stream.
        key: Key,
        /// There is no content and no trailers.
        ends: bool,
    },
    /// The trailer section, in `fields`; it ends the peer's side.
    Trailers {
        /// Its stream.
        key: Key,
    },
    /// A piece of content: `range` of the bytes given. To be told by [`super::Connection::consumed`] once somebody has taken it; what was padding
    /// or framing is not counted.
    Data {
        /// Its stream.
        key: Key,
        /// Where it lies; empty at the end of a stream only.
        range: Range<usize>,
        /// It was the last: no trailers come.
        ends: bool,
    },
    /// The stream is gone, and its key is free.
    Reset {
        /// It was this one.
        key: Key,
        /// Why, as it was said on the wire; REFUSED_STREAM where the peer's GOAWAY said that it was not processed.
        code: Code,
        /// The rule that the peer broke, where it was us who ended it; `None`: it was the peer.
        rule: Option<Rule>,
        /// The peer did nothing about it: safe to send again (RFC 9113 §8.7).
        unprocessed: bool,
    },
    /// A window was shut and is open: of this stream, or (`None`) the connection's, and each stream that waits may try again.
    Window {
        /// Whose it is.
        key: Option<Key>,
    },
    /// The peer's SETTINGS: [`super::Connection::peer`], `capacity` and every stream's window may have changed.
    Settings,
    /// The peer takes no new streams. Those it did not process follow as [`Event::Reset`].
    GoAway {
        /// Why.
        code: Code,
    },
    /// The answer to a PING of the caller's.
    Pong(u64),
    /// The connection has failed: GOAWAY is written; send it and close. Nothing more is read.
    Failed(Error),
}
