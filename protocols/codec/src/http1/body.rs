//! The body of a message as data ranges: by length, chunked, or until the connection ends (RFC 9112 §6, §7).
//!
//! It never buffers: chunk lines are read by a state machine that can stop at any byte. The one thing that has to be contiguous
//! is the trailer section, which the caller gathers. Invariant: the ranges given out, in order, are the content, and nothing
//! of a chunk line is ever among them.
//!
//! ```text
//!             HEXDIG              ";"                       LF             left = 0
//!   Size ─────────────┐   ┌──► extension states ──┐   ┌─► Data ──► DataCr ──► DataLf ──► Size
//!     └► Size ────────┴───┴──────────► SizeLf ────┴───┤
//!                          CR                         └─► Trailers ──► TrailersRead ──► Done     (size 0)
//! ```

use super::lines::field_line;
use crate::chars::{is_quoted, is_space, is_token, is_value};
use crate::error::{Error, Rule};
use crate::head::Framing;
use crate::limits::Limits;
use memchr::memchr;
use std::ops::Range;

/// HEXDIG of a chunk size: 16 fill 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// What one call of [`BodyDecoder::decode`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyStep {
    /// Bytes that are done with. The rest has to be given again, followed by more when `part` is `NeedMore`.
    pub consumed: usize,
    /// What they were.
    pub part: BodyPart,
}

/// One part of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyPart {
    /// What was given holds no further part. Bytes that were not consumed are the start of a trailer section: keep them, and
    /// give them again followed by more.
    NeedMore,
    /// Content: this range of what was given. Never empty.
    Data(Range<usize>),
    /// The trailer section: this range of what was given, each line ended by CRLF, and the empty line. Its syntax is right; see
    /// [`super::trailer_fields`] and [`super::encode_trailers`].
    Trailers(Range<usize>),
    /// The body is complete; bytes that were not consumed belong to the next message.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Length,
    UntilClose,
    /// In a chunk size.
    Size,
    /// Whitespace after a size: only ";" may follow.
    SizeSpace,
    /// After ";" and its whitespace: a name has to come.
    ExtensionName,
    InExtensionName,
    /// Whitespace after a name: "=" or ";" has to come.
    ExtensionNameSpace,
    /// After "=": a token or a quoted string has to come.
    ExtensionValue,
    InExtensionToken,
    InQuoted,
    InQuotedPair,
    AfterQuoted,
    /// Whitespace after a value: only ";" may follow.
    ExtensionValueSpace,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    TrailersRead,
    Done,
}

/// Reads one body. Small and `Copy`: it is part of an exchange's state.
#[derive(Debug, Clone, Copy)]
pub struct BodyDecoder {
    /// Bytes left of the length or of the chunk; while a size is read, the size so far.
    left: u64,
    /// Bytes of chunk extensions so far, all chunks together.
    extension_bytes: u32,
    glitches: u32,
    /// Bytes of an incomplete trailer section whose lines were found right.
    trailer_bytes_checked: u32,
    trailer_fields: u16,
    digits: u8,
    state: State,
}

const _: () = assert!(size_of::<BodyDecoder>() <= 48);

impl BodyDecoder {
    /// For a body framed like this.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let (state, left) = match framing {
            Framing::None | Framing::Length(0) => (State::Done, 0),
            Framing::Length(length) => (State::Length, length),
            Framing::Chunked => (State::Size, 0),
            Framing::UntilClose => (State::UntilClose, 0),
        };
        Self { left, extension_bytes: 0, glitches: 0, trailer_bytes_checked: 0, trailer_fields: 0, digits: 0, state }
    }

    /// Reads the next part at the start of `bytes`. Call until `NeedMore` or `End`; see [`BodyStep::consumed`].
    ///
    /// # Errors
    /// The rule of RFC 9112 §7 that was broken, or the limit that was passed. The connection cannot be read any further, and
    /// what came before must not look complete to anyone.
    pub fn decode(&mut self, bytes: &[u8], limits: &Limits) -> Result<BodyStep, Error> {
        let step = match self.state {
            State::Length => Ok(self.data_of_length(bytes)),
            State::UntilClose => Ok(if bytes.is_empty() { need_more(0) } else { data(0, bytes.len()) }),
            _ => self.chunked(bytes, limits),
        };
        if let Ok(step) = &step {
            debug_assert!(step.consumed <= bytes.len());
        }
        step.map_err(Error::peer)
    }

    /// The connection has ended. Right for a body that lasts until then, and for one that is complete.
    ///
    /// # Errors
    /// `Truncated`: the message is incomplete and must not be passed on as if it were not (RFC 9112 §8).
    pub fn finish_on_eof(&self) -> Result<(), Error> {
        match self.state {
            State::UntilClose | State::Done | State::TrailersRead => Ok(()),
            _ => Err(Error::peer(Rule::Truncated)),
        }
    }

    /// Whether nothing more belongs to this body: true as soon as the last byte was consumed, also before `End` is asked for.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::TrailersRead)
    }

    /// Bytes left, where the framing says so beforehand.
    #[must_use]
    pub fn remaining_hint(&self) -> Option<u64> {
        match self.state {
            State::Length => Some(self.left),
            State::Done | State::TrailersRead => Some(0),
            _ => None,
        }
    }

    /// So many bytes of content were moved by somebody who does not look at them, of a body whose size is told beforehand. Panics where they are
    /// more than are left.
    pub fn pass(&mut self, bytes: u64) {
        assert!(self.state == State::Length && bytes <= self.left, "content of this body");
        self.left -= bytes;
        if self.left == 0 {
            self.state = State::Done;
        }
    }

    /// Legal but odd events so far: chunks with extensions, sizes with more zeros than one.
    #[must_use]
    pub fn glitches(&self) -> u32 {
        self.glitches
    }

    fn data_of_length(&mut self, bytes: &[u8]) -> BodyStep {
        let len = clamp(self.left, bytes.len());
        if len == 0 {
            return need_more(0);
        }
        self.left -= len as u64;
        if self.left == 0 {
            self.state = State::Done;
        }
        data(0, len)
    }

    fn chunked(&mut self, bytes: &[u8], limits: &Limits) -> Result<BodyStep, Rule> {
        let mut at = 0;
        loop {
            match self.state {
                State::Data => {
                    let len = clamp(self.left, bytes.len() - at);
                    if len == 0 {
                        return Ok(need_more(at));
                    }
                    self.left -= len as u64;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(data(at, at + len));
                }
                State::Trailers => return self.trailers(bytes, at, limits),
                State::TrailersRead => {
                    self.state = State::Done;
                    return Ok(BodyStep { consumed: at, part: BodyPart::End });
                }
                State::Done => return Ok(BodyStep { consumed: at, part: BodyPart::End }),
                _ => {}
            }
            let Some(&byte) = bytes.get(at) else { return Ok(need_more(at)) };
            self.line_byte(byte, limits)?;
            at += 1;
        }
    }

    /// One byte of a chunk line, or of the line end after chunk data.
    #[inline]
    fn line_byte(&mut self, byte: u8, limits: &Limits) -> Result<(), Rule> {
        self.state = match self.state {
            State::Size => return self.size_byte(byte, limits),
            State::SizeLf => match byte {
                b'\n' if self.left == 0 => State::Trailers,
                b'\n' => State::Data,
                _ => return Err(Rule::ChunkLine),
            },
            State::DataCr if byte == b'\r' => State::DataLf,
            State::DataLf if byte == b'\n' => {
                self.digits = 0;
                self.left = 0;
                State::Size
            }
            State::DataCr | State::DataLf => return Err(Rule::ChunkEnd),
            _ => return self.extension_byte(byte, limits),
        };
        Ok(())
    }

    #[inline]
    fn size_byte(&mut self, byte: u8, limits: &Limits) -> Result<(), Rule> {
        if let Some(digit) = (byte as char).to_digit(16) {
            if self.digits == SIZE_DIGITS_MAX {
                return Err(Rule::ChunkSize);
            }
            // A zero before other digits is legal and nobody writes it.
            if self.digits == 1 && self.left == 0 {
                self.glitch(limits)?;
            }
            self.left = self.left << 4 | u64::from(digit);
            self.digits += 1;
            return Ok(());
        }
        self.state = match byte {
            _ if self.digits == 0 => return Err(Rule::ChunkSize),
            b'\r' => State::SizeLf,
            b'\n' => return Err(Rule::ChunkLine),
            b';' | b' ' | b'\t' => {
                self.glitch(limits)?;
                self.extension_room(limits)?;
                if byte == b';' { State::ExtensionName } else { State::SizeSpace }
            }
            _ => return Err(Rule::ChunkSize),
        };
        Ok(())
    }

    /// RFC 9112 §7.1.1. A reader that skips to the next line end instead is what TERM.EXT and EXT.TERM attacks live on.
    fn extension_byte(&mut self, byte: u8, limits: &Limits) -> Result<(), Rule> {
        self.extension_room(limits)?;
        self.state = match (self.state, byte) {
            (State::SizeSpace, b) if is_space(b) => State::SizeSpace,
            (State::SizeSpace, b';') => State::ExtensionName,
            // "5 \r\n" is a size with something after it, not an extension.
            (State::SizeSpace, _) => return Err(Rule::ChunkSize),

            (State::ExtensionName, b) if is_space(b) => State::ExtensionName,
            (State::ExtensionName | State::InExtensionName, b) if is_token(b) => State::InExtensionName,
            (State::InExtensionName, b'\r') => State::SizeLf,
            (State::InExtensionName, b) if is_space(b) => State::ExtensionNameSpace,
            (State::ExtensionNameSpace, b) if is_space(b) => State::ExtensionNameSpace,
            (State::InExtensionName | State::ExtensionNameSpace, b';') => State::ExtensionName,
            (State::InExtensionName | State::ExtensionNameSpace, b'=') => State::ExtensionValue,

            (State::ExtensionValue, b) if is_space(b) => State::ExtensionValue,
            (State::ExtensionValue, b'"') => State::InQuoted,
            (State::ExtensionValue | State::InExtensionToken, b) if is_token(b) => State::InExtensionToken,

            (State::InQuoted, b'"') => State::AfterQuoted,
            (State::InQuoted, b'\\') => State::InQuotedPair,
            (State::InQuoted, b) if is_quoted(b) => State::InQuoted,
            (State::InQuotedPair, b) if is_value(b) => State::InQuoted,

            (State::InExtensionToken | State::AfterQuoted, b'\r') => State::SizeLf,
            (State::InExtensionToken | State::AfterQuoted | State::ExtensionValueSpace, b';') => State::ExtensionName,
            (State::InExtensionToken | State::AfterQuoted | State::ExtensionValueSpace, b) if is_space(b) => {
                State::ExtensionValueSpace
            }
            _ => return Err(Rule::ChunkExtension),
        };
        Ok(())
    }

    fn extension_room(&mut self, limits: &Limits) -> Result<(), Rule> {
        self.extension_bytes += 1;
        if self.extension_bytes as usize > limits.chunk_extension_bytes_max {
            return Err(Rule::ChunkExtensionTooLarge);
        }
        Ok(())
    }

    fn glitch(&mut self, limits: &Limits) -> Result<(), Rule> {
        self.glitches += 1;
        if self.glitches > limits.glitches_max { Err(Rule::TooManyGlitches) } else { Ok(()) }
    }

    /// The trailer section at `bytes[start..]`. Lines are checked as they complete, each once however the section arrives.
    fn trailers(&mut self, bytes: &[u8], start: usize, limits: &Limits) -> Result<BodyStep, Rule> {
        let section = &bytes[start..];
        let mut line_start = self.trailer_bytes_checked as usize;
        loop {
            let rest = section.get(line_start..).unwrap_or_default();
            let Some(line_len) = memchr(b'\n', rest).map(|line_feed| line_feed + 1) else {
                self.trailer_bytes_checked = line_start as u32;
                return if section.len() > limits.trailer_bytes_max {
                    Err(Rule::TrailersTooLarge)
                } else {
                    Ok(need_more(start))
                };
            };
            let line = &rest[..line_len];
            let end = line_start + line_len;
            if end > limits.trailer_bytes_max.max(2) {
                return Err(Rule::TrailersTooLarge);
            }
            if line == b"\r\n" {
                self.state = State::TrailersRead;
                if line_start == 0 {
                    self.state = State::Done;
                    return Ok(BodyStep { consumed: start + end, part: BodyPart::End });
                }
                return Ok(BodyStep { consumed: start + end, part: BodyPart::Trailers(start..start + end) });
            }
            field_line(line, 0)?;
            self.trailer_fields += 1;
            if usize::from(self.trailer_fields) > limits.headers_max {
                return Err(Rule::TrailersTooLarge);
            }
            line_start = end;
        }
    }
}

fn clamp(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

fn need_more(consumed: usize) -> BodyStep {
    BodyStep { consumed, part: BodyPart::NeedMore }
}

fn data(start: usize, end: usize) -> BodyStep {
    BodyStep { consumed: end, part: BodyPart::Data(start..end) }
}
