//! `Part`: the neutral message that stands between the versions, so that N versions cost N converters.
//!
//! It never says which version a message came in, and it holds no copy: blocks are the caller's, shared by cheap clones.
//! Order of the parts of one message: `Head` (any number of 1xx, then the final one), `Data` any number of times, then
//! `Trailers` at most once, then `End`. `Reset` ends it at any point, and nothing follows it.

use crate::head::{HeadTable, Request, Response};
use std::ops::Deref;

/// Shared immutable bytes: the runtime's chunk in the engine, `Rc<[u8]>` in tests. Cloning shares, it does not copy.
pub trait Block: Clone + Deref<Target = [u8]> {}
impl<B: Clone + Deref<Target = [u8]>> Block for B {}

/// One part of a message.
#[derive(Debug, Clone)]
pub enum Part<B> {
    /// A head, interim or final.
    Head(Head<B>),
    /// Content, without any framing.
    Data(B),
    /// A validated trailer section as HTTP/1 writes it: field lines, each ended by CRLF, then the empty line.
    Trailers(B),
    /// The message is complete.
    End,
    /// The message will not be completed; what came before must not look complete to the other side.
    Reset(ResetReason),
}

/// Why a message was given up. The versions map it to their own codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    /// The receiver no longer wants it.
    Cancel,
    /// It was not processed at all: safe to send again (RFC 9113 §8.7).
    Refused,
    /// The sender broke the protocol.
    Protocol,
    /// We failed.
    Internal,
}

/// A head that owns its bytes and its table, so that it can wait or travel.
#[derive(Debug, Clone)]
pub struct Head<B> {
    /// The head's bytes, exactly those that decoding consumed.
    pub block: B,
    /// Where everything lies in `block`.
    pub table: HeadTable,
}

impl<B: Block> Head<B> {
    /// The request view. Panics when the table holds a response.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        self.table.request(&self.block)
    }

    /// The response view. Panics when the table holds a request.
    #[must_use]
    pub fn response(&self) -> Response<'_> {
        self.table.response(&self.block)
    }
}
