//! Reading: one frame after another, until there is something to tell.
//!
//! Every rule of RFC 9113 §4 to §6 is kept here, and each broken one ends its stream or the connection. Field sections are only decoded: what
//! their fields must be (§8.2, §8.3) is judged above.

use super::Role;
use super::closed::Past;
use super::code::Code;
use super::connection::{Block, Connection, Leaving, Reading};
use super::event::{Event, Step};
use super::fault::Call;
use super::frame::{self, *};
use super::stream::{LENGTH_UNTOLD, Section, State};
use super::streams::Key;
use crate::error::{Error, Rule};
use crate::hpack::FieldList;
use crate::out::Out;

/// What became of the front of some bytes.
enum Taken {
    /// So many bytes were consumed, and this happened.
    Bytes(usize, Option<Event>),
    /// There are too few of them.
    NeedMore,
}

impl Connection {
    /// Reads at the front of `bytes` until something happened that the caller must know, or until they are too few. Answers (acknowledgements, resets,
    /// windows, GOAWAY) are written to `out` at once. A section's fields are in `fields` until the next call.
    ///
    /// Frames other than DATA have to lie whole in `bytes`: a part of one is left, and the caller comes again with more behind it.
    pub fn receive(&mut self, bytes: &[u8], now: u64, fields: &mut FieldList, out: &mut impl Out) -> Step {
        let mut call = Call { now, fields, out };
        let mut at = 0;
        let step = loop {
            match self.next(&bytes[at..], &mut call) {
                Ok(Taken::Bytes(taken, None)) => at += taken,
                Ok(Taken::Bytes(taken, Some(event))) => {
                    let event = match event {
                        Event::Data { key, range, ends } => {
                            Event::Data { key, range: at + range.start..at + range.end, ends }
                        }
                        event => event,
                    };
                    break Step { consumed: at + taken, event };
                }
                Ok(Taken::NeedMore) => break Step { consumed: at, event: Event::NeedMore },
                Err(rule) => {
                    self.leaving = Leaving::Warned; // whatever was said before, the reason is said now
                    self.go_away(Code::of(rule), call.out);
                    self.reading = Reading::Nothing;
                    self.block = None;
                    break Step { consumed: bytes.len(), event: Event::Failed(Error::peer(rule)) };
                }
            }
        };
        #[cfg(debug_assertions)]
        self.check_invariants();
        step
    }

    #[inline]
    fn next(&mut self, bytes: &[u8], call: &mut Call<'_, impl Out>) -> Result<Taken, Rule> {
        match self.reading {
            Reading::Frames => {
                if let Some(event) = self.unsaid() {
                    return Ok(Taken::Bytes(0, Some(event?)));
                }
                self.frame(bytes, call)
            }
            Reading::Content { .. } => Ok(self.content(bytes, call)),
            Reading::Skip(left) => {
                let taken = bytes.len().min(left as usize);
                self.reading = match left - taken as u32 {
                    0 => Reading::Frames,
                    _ if taken == 0 => return Ok(Taken::NeedMore),
                    left => Reading::Skip(left),
                };
                Ok(Taken::Bytes(taken, None))
            }
            Reading::Preface(seen) => {
                let rest = &PREFACE[usize::from(seen)..];
                let taken = bytes.len().min(rest.len());
                if bytes[..taken] != rest[..taken] {
                    return Err(Rule::Preface);
                }
                if taken == rest.len() {
                    self.reading = Reading::Frames;
                } else if taken == 0 {
                    return Ok(Taken::NeedMore);
                } else {
                    self.reading = Reading::Preface(seen + taken as u8);
                }
                Ok(Taken::Bytes(taken, None))
            }
            Reading::Nothing => {
                if bytes.is_empty() {
                    Ok(Taken::NeedMore)
                } else {
                    Ok(Taken::Bytes(bytes.len(), None))
                }
            }
        }
    }

    /// What is to be told before anything is read.
    #[inline]
    fn unsaid(&mut self) -> Option<Result<Event, Rule>> {
        if self.broken.is_none() && !self.peer_leaving.is_some_and(|leaving| leaving.unsaid) {
            return None;
        }
        if let Some(rule) = self.broken.take() {
            return Some(Err(rule));
        }
        // RFC 9113 §6.8: streams above the last one were not processed, and will not be.
        let leaving = self.peer_leaving.as_mut()?;
        let last = leaving.last;
        let Some((key, _)) = self.streams.iter().find(|(key, _)| key.id() > last) else {
            leaving.unsaid = false;
            return None;
        };
        self.end_stream(key, true);
        Some(Ok(Event::Reset { key, code: Code::REFUSED_STREAM, rule: None, unprocessed: true }))
    }

    /// One frame, or a DATA frame's beginning.
    #[inline]
    fn frame(&mut self, bytes: &[u8], call: &mut Call<'_, impl Out>) -> Result<Taken, Rule> {
        let Some(header) = Header::read(bytes) else { return Ok(Taken::NeedMore) };
        if header.len > PAYLOAD_MAX {
            return Err(Rule::FrameTooLarge);
        }
        // RFC 9113 §6.10: nothing comes between the frames of a field block.
        if let Some(block) = &self.block
            && (header.kind != CONTINUATION || header.stream != block.stream)
        {
            return Err(Rule::FieldBlockInterrupted);
        }
        // RFC 9113 §3.4: SETTINGS come first.
        if !self.told && (header.kind != SETTINGS || header.has(ACK)) {
            return Err(Rule::Preface);
        }
        if header.kind == DATA {
            return self.data(header, bytes, call);
        }
        if header.kind > CONTINUATION {
            // RFC 9113 §5.5: unknown frames are ignored.
            self.glitch(call.now)?;
            self.reading = Reading::Skip(header.len);
            return Ok(Taken::Bytes(HEADER_BYTES, None));
        }
        let size = HEADER_BYTES + header.len as usize;
        let Some(payload) = bytes.get(HEADER_BYTES..size) else { return Ok(Taken::NeedMore) };
        let event = match header.kind {
            HEADERS => self.headers(header, payload, call)?,
            CONTINUATION => self.continuation(header, payload, call)?,
            WINDOW_UPDATE => self.window_update(header, payload, call)?,
            RST_STREAM => self.rst_stream(header, payload, call)?,
            SETTINGS => self.settings(header, payload, call)?,
            PING => self.pinged(header, payload, call)?,
            PRIORITY => self.priority(header, payload)?,
            GOAWAY => self.goaway(header, payload, call)?,
            // A client pushes nothing, and we told servers not to (RFC 9113 §8.4).
            PUSH_PROMISE => return Err(Rule::PushPromise),
            _ => unreachable!("the kinds are {DATA} to {CONTINUATION}"),
        };
        Ok(Taken::Bytes(size, event))
    }

    /// RFC 9113 §6.1.
    fn data(&mut self, header: Header, bytes: &[u8], call: &mut Call<'_, impl Out>) -> Result<Taken, Rule> {
        if header.stream == 0 {
            return Err(Rule::FrameStream);
        }
        let (before, padding) = match header.has(PADDED) {
            false => (HEADER_BYTES, 0),
            true if header.len == 0 => return Err(Rule::FrameSize),
            true => {
                let Some(&padding) = bytes.get(HEADER_BYTES) else { return Ok(Taken::NeedMore) };
                if u32::from(padding) >= header.len {
                    return Err(Rule::Padding);
                }
                (HEADER_BYTES + 1, u32::from(padding))
            }
        };
        let content = header.len - (before - HEADER_BYTES) as u32 - padding;
        let ends = header.has(END_STREAM);
        self.not_empty(content > 0 || ends)?;
        // RFC 9113 §6.9: the whole payload counts, and on the connection whatever becomes of its stream.
        if !self.incoming.receive(header.len, content) {
            return Err(Rule::WindowExceeded);
        }
        let unwanted = Reading::Skip(content + padding);
        let Some(key) = self.streams.find(header.stream) else {
            self.late(header.stream, call.now)?;
            self.incoming.take(content);
            self.credit(call.out);
            self.reading = unwanted;
            return Ok(Taken::Bytes(before, None));
        };
        let stream = self.streams.get_mut(key).expect("a stream that was found");
        let broken = if !stream.receives() {
            Some(Rule::StreamClosed)
        } else if stream.section != Section::Trailers {
            Some(Rule::DataBeforeHead)
        } else if !stream.incoming.receive(header.len, content) {
            Some(Rule::WindowExceeded)
        } else if !stream.content(content, ends) {
            Some(Rule::ContentLengthMismatch)
        } else {
            None
        };
        if let Some(rule) = broken {
            self.incoming.take(content);
            self.credit(call.out);
            self.reading = unwanted;
            return Ok(Taken::Bytes(before, Some(self.stream_error(key, rule, call)?)));
        }
        self.growth.received(header.stream, header.len);
        if self.growth.holds(self.incoming.held(), self.limits.connection_window_max) {
            self.credit(call.out);
        }
        if content > 0 {
            self.reading = Reading::Content { key, left: content, padding, ends };
            return Ok(Taken::Bytes(before, None));
        }
        self.reading = Reading::Skip(padding);
        if !ends {
            // All of it was padding: nobody will take it, so it is given back as it comes.
            self.consumed(key, 0, call.out);
            return Ok(Taken::Bytes(before, None));
        }
        self.credit(call.out);
        self.end_theirs(key);
        Ok(Taken::Bytes(before, Some(Event::Data { key, range: before..before, ends })))
    }

    /// A piece of a DATA frame's content.
    #[inline]
    fn content(&mut self, bytes: &[u8], call: &mut Call<'_, impl Out>) -> Taken {
        let Reading::Content { key, left, padding, ends } = &mut self.reading else {
            unreachable!("asked by who looked")
        };
        let (key, padding, ends) = (*key, *padding, *ends);
        if !self.streams.get(key).is_some_and(|stream| stream.receives()) {
            // It was reset in the middle of a frame.
            let left = *left;
            self.reading = Reading::Skip(left + padding);
            self.incoming.take(left);
            self.credit(call.out);
            return Taken::Bytes(0, None);
        }
        let taken = bytes.len().min(*left as usize);
        if taken == 0 {
            return Taken::NeedMore;
        }
        *left -= taken as u32;
        let is_last = *left == 0;
        if is_last {
            self.reading = if padding > 0 { Reading::Skip(padding) } else { Reading::Frames };
            if ends {
                self.end_theirs(key);
            }
        }
        Taken::Bytes(taken, Some(Event::Data { key, range: 0..taken, ends: ends && is_last }))
    }

    /// RFC 9113 §6.2.
    fn headers(
        &mut self,
        header: Header,
        payload: &[u8],
        call: &mut Call<'_, impl Out>,
    ) -> Result<Option<Event>, Rule> {
        if header.stream == 0 {
            return Err(Rule::FrameStream);
        }
        let mut block = payload;
        let mut padding = 0;
        if header.has(PADDED) {
            let (&first, rest) = block.split_first().ok_or(Rule::FrameSize)?;
            (padding, block) = (usize::from(first), rest);
        }
        let mut on_itself = false;
        if header.has(PRIORITIZED) {
            let (priority, rest) = block.split_at_checked(PRIORITY_BYTES).ok_or(Rule::FrameSize)?;
            on_itself = frame::number(priority, 0) & STREAM_MAX == header.stream;
            block = rest;
        }
        block = block.len().checked_sub(padding).map(|len| &block[..len]).ok_or(Rule::Padding)?;
        let ends = header.has(END_STREAM);
        self.not_empty(!block.is_empty() || ends)?;
        if header.has(END_HEADERS) {
            return self.section(header.stream, ends, on_itself, block, call);
        }
        let bytes = block.to_vec();
        self.block = Some(Box::new(Block { stream: header.stream, ends, on_itself, continuations: 0, bytes }));
        Ok(None)
    }

    /// RFC 9113 §6.10.
    fn continuation(
        &mut self,
        header: Header,
        payload: &[u8],
        call: &mut Call<'_, impl Out>,
    ) -> Result<Option<Event>, Rule> {
        self.not_empty(!payload.is_empty())?;
        let block = self.block.as_mut().ok_or(Rule::ContinuationUnexpected)?;
        block.continuations += 1;
        if block.continuations > self.limits.continuations_max {
            return Err(Rule::TooManyContinuations);
        }
        if block.bytes.len() + payload.len() > self.limits.block_bytes_max as usize {
            return Err(Rule::FieldBlockTooLarge);
        }
        block.bytes.extend_from_slice(payload);
        if !header.has(END_HEADERS) {
            return Ok(None);
        }
        let block = self.block.take().expect("the block that was just added to");
        self.section(block.stream, block.ends, block.on_itself, &block.bytes, call)
    }

    /// A whole field block. It is decoded whatever becomes of it, or the tables would differ (RFC 9113 §4.3).
    fn section(
        &mut self,
        id: u32,
        ends: bool,
        on_itself: bool,
        block: &[u8],
        call: &mut Call<'_, impl Out>,
    ) -> Result<Option<Event>, Rule> {
        let key = self.streams.find(id);
        let is_new = self.role == Role::Server && id > self.last && id % 2 == 1;
        if key.is_none() && !is_new {
            // RFC 9113 §5.1.1: a client's streams are odd and go up.
            if self.is_idle(id) || id.is_multiple_of(2) {
                return Err(Rule::StreamIdentifier);
            }
            if self.late(id, call.now)? == Past::Reset {
                self.spend_reset(call.now)?; // one trailer section may have been on its way; more make us decode for nothing
            }
        }
        self.decoder.decode(block, &self.limits.fields, call.fields).map_err(|error| error.rule)?;
        if call.fields.is_too_large() {
            self.spend_reset(call.now)?; // a head that we refuse costs a peer what a reset costs
        }
        match key {
            Some(key) => self.section_of(key, ends, on_itself, call),
            None if is_new => self.request(id, ends, on_itself, call),
            None => Ok(None),
        }
    }

    /// A request's head.
    #[inline]
    fn request(
        &mut self,
        id: u32,
        ends: bool,
        on_itself: bool,
        call: &mut Call<'_, impl Out>,
    ) -> Result<Option<Event>, Rule> {
        if id - self.last > 2 {
            self.glitch(call.now)?; // legal, and how one bucket of streams would be filled
        }
        let refused = match () {
            () if self.leaving == Leaving::Gone => {
                // RFC 9113 §6.8: not processed, and the peer knows or will.
                (self.last, self.counts.streams) = (id, self.counts.streams.saturating_add(1));
                self.closed.push(id, true);
                return Ok(None);
            }
            () if self.streams.count() >= self.limits.max_concurrent_streams => Rule::StreamsTooMany,
            () if on_itself => Rule::SelfDependency,
            () => {
                let key = self.begin_stream(id, if ends { State::EndedByPeer } else { State::Open });
                return Ok(Some(Event::Head { key, ends }));
            }
        };
        (self.last, self.counts.streams) = (id, self.counts.streams.saturating_add(1));
        self.closed.push(id, true);
        self.answer(&frame::rst_stream(id, Code::of(refused)), call.out)?;
        self.spend_reset(call.now)?;
        Ok(None)
    }

    /// A section on a stream that is there: a response's head, or trailers.
    #[inline]
    fn section_of(
        &mut self,
        key: Key,
        ends: bool,
        on_itself: bool,
        call: &mut Call<'_, impl Out>,
    ) -> Result<Option<Event>, Rule> {
        let stream = self.streams.get_mut(key).expect("a stream that was found");
        let is_head = stream.section != Section::Trailers;
        // RFC 9113 §8.1: an interim head ends nothing, trailers end the stream.
        let is_interim = is_head
            && call.fields.iter().next().is_some_and(|field| field.name == b":status" && field.value.starts_with(b"1"));
        let broken = if !stream.receives() {
            Some(Rule::StreamClosed)
        } else if on_itself {
            Some(Rule::SelfDependency)
        } else if is_interim && ends {
            Some(Rule::InterimEnds)
        } else if !is_head && !ends {
            Some(Rule::TrailersEnd)
        } else if !is_head && !matches!(stream.left, 0 | LENGTH_UNTOLD) {
            Some(Rule::ContentLengthMismatch)
        } else {
            None
        };
        if let Some(rule) = broken {
            return self.stream_error(key, rule, call).map(Some);
        }
        let is_next = stream.section == Section::NextHead;
        stream.section = if is_interim { Section::NextHead } else { Section::Trailers };
        if is_interim && is_next {
            self.glitch(call.now)?; // one is usual, and they need not end
        }
        if ends {
            self.end_theirs(key);
        }
        Ok(Some(if is_head { Event::Head { key, ends } } else { Event::Trailers { key } }))
    }

    /// The peer's side ends.
    #[inline]
    fn end_theirs(&mut self, key: Key) {
        let stream = self.streams.get_mut(key).expect("a stream that was just read for");
        match stream.state {
            State::Open => stream.state = State::EndedByPeer,
            State::EndedByUs => self.end_stream(key, false),
            State::EndedByPeer => unreachable!("refused by who reads"),
        }
    }
}
