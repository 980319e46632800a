//! The section that was written last, in pieces: what comes again is not written again, and what differs is alone written anew.
//!
//! A piece is a stretch of the text that fields are made of, a line mostly, and what it was written as, which may be nothing. With the table as it was then it
//! would be written the same. It never looks at what a piece says.
//!
//! Cost: one comparison and one copy for a section that comes again; for a piece that differs the two, and a copy of the piece.

use std::ops::Range;

use crate::lane::common_len;

/// The longest text that is kept: a head of a usual size. So much memory a connection, what it was written as, and 4 bytes a line; while it is used.
const TEXT_BYTES_MAX: usize = 1024;

/// Pieces at most, so that what a section was written as can be counted in 16 bits.
const PIECES_MAX: usize = 128;

/// Where a piece ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct End {
    text: u16,
    code: u16,
}

/// How far the section at hand is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nobody has said what it is made of.
    #[default]
    Begun,
    /// It is not kept.
    Passed,
    /// Its next piece is the one at this place.
    Kept(usize),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Last {
    text: Vec<u8>,
    code: Vec<u8>,
    ends: Vec<End>,
    /// The table's number with which it was written, and what else it depends on.
    table: u64,
    form: u8,
    state: State,
    /// Where in the block at hand the next piece's code begins.
    from: usize,
    /// The table's number when the section before began, and one more: 0 before there was any.
    seen: u64,
}

impl Last {
    /// A section begins.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.state = State::Begun;
    }

    /// Appends to `out` what the front of `text`, which is all that is left of the section's, was written as, and says how much of it that is: whole
    /// pieces, all of it perhaps. `None`: the section is not kept. `table`: its number now; what `form` says goes for the whole section.
    #[inline]
    pub(super) fn again(&mut self, form: u8, text: &[u8], table: u64, out: &mut Vec<u8>) -> Option<usize> {
        let at = match self.state {
            State::Kept(at) if self.table == table => at,
            State::Begun if self.says(form, text, table) => 0,
            State::Begun => return self.opened(form, text, table, out),
            State::Kept(_) | State::Passed => return self.passed(),
        };
        let start = self.start(at);
        let (known, code) = (&self.text[usize::from(start.text)..], &self.code[usize::from(start.code)..]);
        if known == text {
            out.extend_from_slice(code);
            self.state = State::Passed;
            return Some(text.len());
        }
        Some(self.front(at, text, out))
    }

    /// Whether what is kept is of use for a section that begins.
    #[inline]
    fn says(&self, form: u8, text: &[u8], table: u64) -> bool {
        self.table == table && self.form == form && !self.ends.is_empty() && text.len() <= TEXT_BYTES_MAX
    }

    /// What of the pieces from `at` on is at the front of `text`. The last one is the text's end: in the midst of another it would say something else.
    fn front(&mut self, at: usize, text: &[u8], out: &mut Vec<u8>) -> usize {
        let start = self.start(at);
        let common = common_len(&self.text[usize::from(start.text)..], text);
        let others = self.ends.split_last().map_or(&[][..], |(_, others)| others);
        let count = others.get(at..).unwrap_or_default();
        let count = count.iter().take_while(|end| usize::from(end.text - start.text) <= common).count();
        let end = self.start(at + count);
        out.extend_from_slice(&self.code[usize::from(start.code)..usize::from(end.code)]);
        self.state = State::Kept(at + count);
        self.from = out.len();
        usize::from(end.text - start.text)
    }

    /// The first that is heard of a section, where what is kept is no use: whether this one will be. One that comes behind a change of the table would be kept in
    /// vain where each section changes it.
    #[cold]
    fn opened(&mut self, form: u8, text: &[u8], table: u64, out: &[u8]) -> Option<usize> {
        let is_steady = self.seen == table + 1;
        self.seen = table + 1;
        self.clear();
        self.state = State::Passed;
        if !is_steady || text.len() > TEXT_BYTES_MAX {
            return None;
        }
        (self.table, self.form, self.state, self.from) = (table, form, State::Kept(0), out.len());
        Some(0)
    }

    /// What is kept is not true any more, if it was.
    #[cold]
    fn passed(&mut self) -> Option<usize> {
        self.clear();
        self.state = State::Passed;
        None
    }

    /// The next piece of the section was written behind what `out` had.
    #[inline]
    pub(super) fn piece(&mut self, text: &[u8], table: u64, out: &[u8]) {
        if let State::Kept(at) = self.state {
            if self.table != table || at == PIECES_MAX {
                self.passed();
                return;
            }
            self.put(at, text, &out[self.from..]);
            (self.state, self.from) = (State::Kept(at + 1), out.len());
        }
    }

    /// The last piece, for which nothing is written: the text's end.
    #[inline]
    pub(super) fn end(&mut self, text: &[u8], table: u64, out: &[u8]) {
        self.piece(text, table, out);
        if let State::Kept(count) = self.state {
            self.ends.truncate(count);
            let end = self.start(count);
            self.text.truncate(usize::from(end.text));
            self.code.truncate(usize::from(end.code));
            self.state = State::Passed;
        }
    }

    /// A piece in the place of that at `at`, or behind the last one.
    fn put(&mut self, at: usize, text: &[u8], code: &[u8]) {
        let start = self.start(at);
        let end = self.ends.get(at).copied().unwrap_or(start);
        replace(&mut self.text, usize::from(start.text)..usize::from(end.text), text);
        replace(&mut self.code, usize::from(start.code)..usize::from(end.code), code);
        let new = End { text: start.text + text.len() as u16, code: start.code + code.len() as u16 };
        if at == self.ends.len() {
            self.ends.push(new);
        } else if new == end {
            // As long as the one before.
        } else {
            for later in &mut self.ends[at..] {
                later.text = later.text - end.text + new.text;
                later.code = later.code - end.code + new.code;
            }
        }
    }

    #[inline]
    fn start(&self, at: usize) -> End {
        at.checked_sub(1).map_or(End::default(), |before| self.ends[before])
    }

    fn clear(&mut self) {
        self.text.clear();
        self.code.clear();
        self.ends.clear();
    }

    /// Bytes of memory that it and what it holds take.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.text.capacity() + self.code.capacity() + self.ends.capacity() * size_of::<End>()
    }
}

#[inline]
fn replace(bytes: &mut Vec<u8>, range: Range<usize>, with: &[u8]) {
    if range.len() == with.len() {
        bytes[range].copy_from_slice(with);
    } else {
        bytes.splice(range, with.iter().copied());
    }
}
