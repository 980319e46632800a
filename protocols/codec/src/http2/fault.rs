//! What breaking a rule costs a peer: its stream, a part of a budget, or the connection.
//!
//! It knows no frame. Invariant: what a peer may repeat is paid from a budget each time.

use super::Role;
use super::closed::Past;
use super::code::Code;
use super::connection::Connection;
use super::event::Event;
use super::frame;
use super::streams::Key;
use crate::error::Rule;
use crate::hpack::FieldList;
use crate::out::Out;

/// The caller's side of one call.
pub(super) struct Call<'a, O> {
    pub(super) now: u64,
    pub(super) fields: &'a mut FieldList,
    pub(super) out: &'a mut O,
}

impl Connection {
    /// The peer broke a rule that ends a stream (RFC 9113 §5.4.2).
    pub(super) fn stream_error(&mut self, key: Key, rule: Rule, call: &mut Call<'_, impl Out>) -> Result<Event, Rule> {
        self.end_stream(key, true);
        let code = Code::of(rule);
        self.answer(&frame::rst_stream(key.id(), code), call.out)?;
        self.spend_reset(call.now)?;
        Ok(Event::Reset { key, code, rule: Some(rule), unprocessed: false })
    }

    /// A stream that nobody has opened yet (RFC 9113 §5.1), which only HEADERS may change.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        id.is_multiple_of(2) || id > self.last
    }

    /// DATA or HEADERS for a stream that is not there: right where the peer cannot know yet that we reset it (RFC 9113 §5.1).
    pub(super) fn late(&mut self, id: u32, now: u64) -> Result<Past, Rule> {
        if self.is_idle(id) {
            return Err(Rule::StreamIdle);
        }
        let past = self.closed.past(id);
        match past {
            Past::Ended => Err(Rule::StreamClosed),
            // A client has used all that it could have.
            Past::Unused if self.role == Role::Server => Err(Rule::StreamIdentifier),
            Past::Reset => Ok(past),
            Past::Forgotten | Past::Unused => self.glitch(now).map(|()| past),
        }
    }

    /// Counts frames that bring nothing (CVE-2019-9518).
    #[inline]
    pub(super) fn not_empty(&mut self, has_content: bool) -> Result<(), Rule> {
        self.counts.empty = if has_content { 0 } else { self.counts.empty + 1 };
        let too_many = self.counts.empty > self.limits.max_consecutive_inbound_frames_with_empty_payload;
        if too_many { Err(Rule::TooManyEmptyFrames) } else { Ok(()) }
    }

    /// Something legal but odd.
    pub(super) fn glitch(&mut self, now: u64) -> Result<(), Rule> {
        if self.budgets.glitches.spend(self.limits.glitches, now) { Ok(()) } else { Err(Rule::TooManyGlitches) }
    }

    /// One of the resets that the peer is allowed.
    pub(super) fn spend_reset(&mut self, now: u64) -> Result<(), Rule> {
        if self.budgets.resets.spend(self.limits.resets, now) { Ok(()) } else { Err(Rule::TooManyResets) }
    }
}
