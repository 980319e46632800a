//! Writing: requests, responses, trailers, content, resets, and the windows that readers open.
//!
//! It never waits: what does not fit a window is not granted, and an event of `receive` says when to try again. A key whose stream is gone does
//! nothing.

use super::Role;
use super::code::Code;
use super::connection::Connection;
use super::frame::{self, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Header};
use super::stream::{LENGTH_UNTOLD, State};
use super::streams::Key;
use super::window::MEASURE;
use crate::error::Rule;
use crate::hpack::{Encoder, Field, FieldSink};
use crate::out::Out;

/// Where the fields of a section go, one after another.
#[derive(Debug)]
pub struct Fields<'a> {
    encoder: &'a mut Encoder,
    block: &'a mut Vec<u8>,
}

impl Fields<'_> {
    /// The next field; pseudo-fields come first.
    #[inline]
    pub fn put(&mut self, field: Field<'_>) {
        self.encoder.field(field, self.block);
    }
}

impl FieldSink for Fields<'_> {
    #[inline]
    fn field(&mut self, field: Field<'_>) {
        self.encoder.field(field, self.block);
    }

    #[inline]
    fn line(&mut self, line: &[u8]) -> bool {
        self.encoder.line(line, self.block)
    }

    #[inline]
    fn next_lines(&mut self, lines: &[u8]) -> usize {
        self.encoder.next_lines(lines, self.block)
    }

    #[inline]
    fn again(&mut self, form: u8, text: &[u8]) -> Option<usize> {
        self.encoder.again(form, text, self.block)
    }

    #[inline]
    fn piece(&mut self, text: &[u8]) {
        self.encoder.piece(text, self.block);
    }

    #[inline]
    fn end(&mut self, text: &[u8]) {
        self.encoder.end(text, self.block);
    }

    #[inline]
    fn pseudo(&mut self, index: usize, field: Field<'_>) {
        self.encoder.pseudo(index, field, self.block);
    }
}

impl Connection {
    /// As a client: opens a stream and sends the request's head on it. `None`, and nothing was written: there is no capacity.
    ///
    /// `block` is scratch, and may be the same for all connections of a core.
    ///
    /// # Panics
    /// As a server.
    pub fn send_request(
        &mut self,
        ends: bool,
        block: &mut Vec<u8>,
        out: &mut impl Out,
        fields: impl FnOnce(&mut Fields<'_>),
    ) -> Option<Key> {
        assert!(self.role == Role::Client, "a server opens no streams");
        if self.capacity() == 0 {
            return None;
        }
        let id = if self.last == 0 { 1 } else { self.last + 2 };
        let key = self.begin_stream(id, State::Open);
        self.send_section(key, ends, block, out, fields);
        Some(key)
    }

    /// Sends a head, interim or final, or trailers (which end our side: `ends`). False, and nothing was written: the stream is gone.
    ///
    /// # Panics
    /// Where our side of the stream has ended.
    pub fn send_headers(
        &mut self,
        key: Key,
        ends: bool,
        block: &mut Vec<u8>,
        out: &mut impl Out,
        fields: impl FnOnce(&mut Fields<'_>),
    ) -> bool {
        let Some(stream) = self.streams.get(key) else { return false };
        assert!(stream.sends(), "our side of the stream has ended");
        self.send_section(key, ends, block, out, fields);
        true
    }

    /// A field section: HEADERS, and CONTINUATION beyond what the peer takes in a frame.
    #[inline]
    fn send_section(
        &mut self,
        key: Key,
        ends: bool,
        block: &mut Vec<u8>,
        out: &mut impl Out,
        fields: impl FnOnce(&mut Fields<'_>),
    ) {
        block.clear();
        self.encoder.begin(block);
        fields(&mut Fields { encoder: &mut self.encoder, block });
        let max = self.peer.max_frame_size as usize;
        let (mut kind, mut flags) = (HEADERS, if ends { END_STREAM } else { 0 });
        let mut rest = block.as_slice();
        while rest.len() > max {
            let (piece, after) = rest.split_at(max);
            self.framed(Header { len: max as u32, kind, flags, stream: key.id() }, piece, out);
            (kind, flags, rest) = (CONTINUATION, 0, after);
        }
        self.framed(Header { len: rest.len() as u32, kind, flags: flags | END_HEADERS, stream: key.id() }, rest, out);
        self.counts.sent = self.counts.sent.wrapping_add(1);
        if ends {
            self.end_ours(key);
        }
    }

    #[inline]
    fn framed(&mut self, header: Header, payload: &[u8], out: &mut impl Out) {
        self.outbound.frame(frame::HEADER_BYTES + payload.len());
        out.put(&header.write());
        out.put(payload);
    }

    /// Bytes of content that the stream's own window lets us send; below 0 after the peer has made it smaller.
    #[must_use]
    #[inline]
    pub fn window_of(&self, key: Key) -> i32 {
        self.streams.get(key).map_or(0, |stream| stream.window)
    }

    /// What [`Connection::send_data`] would grant of any amount.
    #[must_use]
    #[inline]
    pub fn sendable(&self, key: Key) -> usize {
        let Some(stream) = self.streams.get(key) else { return 0 };
        let window = self.window.min(stream.window).max(0);
        (window as usize).min(self.peer.max_frame_size as usize)
    }

    /// Writes the header of one DATA frame for as many of the `wanted` bytes as the windows and the peer's frames take, and says how many: they are
    /// the caller's to put behind it, before anything else. 0: none, and nothing was written. With `ends` the frame that takes all of them ends our
    /// side; where none are wanted, an empty one does, and no window can stop it.
    ///
    /// # Panics
    /// Where our side of the stream has ended.
    #[inline]
    pub fn send_data(&mut self, key: Key, wanted: usize, ends: bool, out: &mut impl Out) -> usize {
        let granted = wanted.min(self.sendable(key));
        let ends = ends && granted == wanted;
        if granted == 0 && !ends {
            return 0;
        }
        let Some(stream) = self.streams.get_mut(key) else { return 0 };
        assert!(stream.sends(), "our side of the stream has ended");
        stream.window -= granted as i32;
        self.window -= granted as i32;
        let flags = if ends { END_STREAM } else { 0 };
        out.put(&Header { len: granted as u32, kind: DATA, flags, stream: key.id() }.write());
        self.outbound.frame(frame::HEADER_BYTES + granted);
        self.counts.sent = self.counts.sent.wrapping_add(1);
        self.counts.data_sent = self.counts.data_sent.saturating_add(1);
        if ends {
            self.end_ours(key);
        }
        granted
    }

    /// Our side ends.
    #[inline]
    fn end_ours(&mut self, key: Key) {
        let stream = self.streams.get_mut(key).expect("a stream that was just written to");
        match stream.state {
            State::Open => stream.state = State::EndedByUs,
            State::EndedByPeer => self.end_stream(key, false),
            State::EndedByUs => unreachable!("asserted by who sends"),
        }
    }

    /// Ends the stream because we wish so: NO_ERROR once a response is complete (RFC 9113 §8.1), CANCEL and the like.
    pub fn reset(&mut self, key: Key, code: Code, out: &mut impl Out) {
        if self.streams.get(key).is_some() {
            self.end_stream(key, true);
            self.put(&frame::rst_stream(key.id(), code), out);
        }
    }

    /// Ends the stream because the peer's message broke `rule` (RFC 9113 §8.1.1). It counts against the peer; a peer of too many, or of one where
    /// [`super::Limits::malformed_ends_connection`], is told at the next [`Connection::receive`]. Also of a message that was the stream's last, of
    /// which there is nothing left to end.
    pub fn reject(&mut self, key: Key, rule: Rule, now: u64, out: &mut impl Out) {
        let mut answered = Ok(());
        if self.streams.get(key).is_some() {
            self.end_stream(key, true);
            answered = self.answer(&frame::rst_stream(key.id(), Code::of(rule)), out);
        }
        let spent = self.spend_reset(now);
        let also = self.limits.malformed_ends_connection.then_some(rule);
        self.broken = self.broken.or(answered.and(spent).err()).or(also);
    }

    /// The content of the message under way comes to so many bytes: its Content-Length, or 0 for a response that has none whatever it says (to HEAD,
    /// 204, 304). Content that is more or less ends the stream (RFC 9113 §8.1.1). To be called after the head, before more is read.
    #[inline]
    pub fn expect_length(&mut self, key: Key, bytes: u64) {
        if let Some(stream) = self.streams.get_mut(key) {
            // Nobody sends as much as the largest number: that it is one less changes no verdict.
            stream.left = bytes.min(LENGTH_UNTOLD - 1);
        }
    }

    /// Somebody took so many bytes of a stream's content, or nobody will: the peer may send more. Also of a stream that is gone.
    #[inline]
    pub fn consumed(&mut self, key: Key, bytes: usize, out: &mut impl Out) {
        let bytes = bytes as u32;
        let target = self.stream_target();
        if let Some(stream) = self.streams.get_mut(key) {
            stream.incoming.take(bytes);
            if stream.receives() {
                let left = stream.incoming.open();
                let more = stream.incoming.increment(target);
                if more > 0 {
                    self.put(&frame::window_update(key.id(), more), out);
                    if self.growth.told(key.id(), left, more, self.limits.stream_window_max) {
                        self.put(&frame::ping(0, &MEASURE), out);
                    }
                }
            }
        }
        self.incoming.take(bytes);
        self.credit(out);
    }
}
