//! Fields to a field block (RFC 7541 §6), and what is worth a place in the table.
//!
//! It never reads the clock and never fails: what cannot be indexed is written out.

use std::collections::VecDeque;

use super::last::Last;
use super::name::Name;
use super::table::{ENTRY_OVERHEAD, Found, Table};
use super::{Field, huffman, integer, line, statics};
use crate::lane::is_same;

/// What is done about the table with a field that is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Indexing {
    /// It goes in: it will come again.
    Incremental,
    /// Its value will hardly come again, but its name will: it goes in where that is not there.
    Name,
    /// It stays out.
    Without,
    /// It stays out, here and with every intermediary (RFC 7541 §7.1.3).
    Never,
}

/// One direction's state at the side that writes.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// Hashes of the entries' names, and of names and values, newest last: looked through before any bytes are.
    names: VecDeque<u32>,
    pairs: VecDeque<u32>,
    /// The number of the entry that was put in last, by the top of its pair's hash and of its name's: a guess, which is looked after. None while
    /// the table was never used.
    recent: Vec<u16>,
    /// Entries that were ever put in, modulo 2^16: far more than there can be.
    inserted: u16,
    /// The number of the entry that the block at hand had last, if it had one; that of the one with which a block begins; and of the one that may
    /// come next: heads of a connection have the same fields in the same order.
    last: Option<u16>,
    first: u16,
    next: u16,
    /// The section before. In memory of its own, which a connection that rests does without.
    before: Option<Box<Last>>,
    /// What we would use, and what the peer allows.
    wanted: usize,
    allowed: usize,
    /// The table's smallest size since the last block, where it has to be told (RFC 7541 §4.2).
    smallest: Option<usize>,
}

impl Encoder {
    /// The peer's table until it says otherwise (RFC 9113 §6.5.2).
    pub const TABLE_BYTES: usize = 4096;

    /// Uses at most `table_bytes_max` bytes of the peer's table, however many it offers: looking through it costs.
    #[must_use]
    pub fn new(table_bytes_max: usize) -> Self {
        let size = table_bytes_max.min(Self::TABLE_BYTES);
        Self {
            table: Table::new(size),
            names: VecDeque::new(),
            pairs: VecDeque::new(),
            recent: Vec::new(),
            inserted: 0,
            last: None,
            first: 0,
            next: 0,
            before: None,
            wanted: table_bytes_max,
            allowed: Self::TABLE_BYTES,
            smallest: (size < Self::TABLE_BYTES).then_some(size),
        }
    }

    /// The peer's `SETTINGS_HEADER_TABLE_SIZE` (RFC 9113 §6.5.2).
    pub fn allowed(&mut self, table_bytes_max: usize) {
        self.allowed = table_bytes_max;
        self.resize(self.wanted.min(table_bytes_max));
    }

    /// Gives the table's memory back; the next block tells the peer, and begins anew.
    pub fn shrink(&mut self) {
        if self.table.len() > 0 {
            self.resize(0);
            (self.names, self.pairs, self.recent) = (VecDeque::new(), VecDeque::new(), Vec::new());
            self.resize(self.wanted.min(self.allowed));
        }
        self.before = None;
    }

    /// Bytes of memory that it holds beyond itself.
    #[must_use]
    pub fn memory(&self) -> usize {
        let hashes = self.names.capacity() + self.pairs.capacity();
        let before = self.before.as_ref().map_or(0, |before| before.memory());
        self.table.memory() + before + hashes * size_of::<u32>() + self.recent.capacity() * size_of::<u16>()
    }

    fn resize(&mut self, size: usize) {
        if size != self.table.size_max() {
            self.smallest = Some(self.smallest.map_or(size, |smallest| smallest.min(size)));
            let evicted = self.table.resize(size);
            self.forget(evicted);
        }
    }

    fn forget(&mut self, count: usize) {
        self.names.drain(..count);
        self.pairs.drain(..count);
    }

    /// What precedes the fields of a block: the table's new size, where it has changed (RFC 7541 §4.2).
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        (self.last, self.next) = (None, self.first);
        if let Some(before) = &mut self.before {
            before.begin();
        }
        if let Some(smallest) = self.smallest.take() {
            let size = self.table.size_max();
            if smallest < size {
                put_integer(smallest, 5, 0x20, out);
            }
            put_integer(size, 5, 0x20, out);
        }
    }

    /// Writes what the front of `text` was written as in the section before: `text` is what is left of what the fields of this one are made of, and what is
    /// written so is done with. How much that is; `None`: this section is not kept, and need not be told of. Who is told some other number writes the
    /// next piece of the text, tells of it by [`Encoder::piece`], and asks again. `form` is all that fields depend on beside their piece of text.
    #[inline]
    pub(crate) fn again(&mut self, form: u8, text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let done = self.before.get_or_insert_default().again(form, text, self.table.changes(), out);
        if done.is_some_and(|len| len > 0) {
            // No entry is known to have been the last one.
            (self.last, self.next) = (Some(self.inserted), self.inserted);
        }
        done
    }

    /// Keeps what this piece of text was written as, which is what came to `out` since the one before.
    #[inline]
    pub(crate) fn piece(&mut self, text: &[u8], out: &[u8]) {
        if let Some(before) = &mut self.before {
            before.piece(text, self.table.changes(), out);
        }
    }

    /// The same of the end of the text.
    #[inline]
    pub(crate) fn end(&mut self, text: &[u8], out: &[u8]) {
        if let Some(before) = &mut self.before {
            before.end(text, self.table.changes(), out);
        }
    }

    /// Writes the field of a whole line, `name: value` and CRLF, where it is in the table as it stands: most fields of a connection that is
    /// used end here, and nobody has looked where their values begin. False, and nothing was written: it is another's to read it.
    #[inline]
    pub fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(text) = line.len().checked_sub(line::END.len()).filter(|&len| len >= SAMPLE) else { return false };
        let Some((age, found)) = self.guess(line_hash(&line[..text])) else { return false };
        if !is_same(found.line, line) {
            return false;
        }
        let follower = found.follower;
        put_integer(statics::LEN + 1 + age, 7, 0x80, out);
        self.passed(age, follower);
        true
    }

    /// Writes the fields whose lines are at the front of `lines`, as far as each is the one that came next the last time: nobody has looked where
    /// they end, either. The length of these lines; what is behind them see [`Encoder::line`] about.
    #[inline]
    pub fn next_lines(&mut self, lines: &[u8], out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        loop {
            let age = usize::from(self.inserted.wrapping_sub(self.next).wrapping_sub(1));
            let Some(Found { line, follower, .. }) = self.table.get(age) else { return at };
            if !lines[at..].starts_with(line) {
                return at;
            }
            put_integer(statics::LEN + 1 + age, 7, 0x80, out);
            (self.last, self.next, at) = (Some(self.next), follower, at + line.len());
        }
    }

    /// The entry of this age was written, of which `follower` is told.
    #[inline]
    fn passed(&mut self, age: usize, follower: u16) {
        let number = self.inserted.wrapping_sub(age as u16).wrapping_sub(1);
        match self.last {
            None => self.first = number,
            Some(last) => self.table.follow(usize::from(self.inserted.wrapping_sub(last).wrapping_sub(1)), number),
        }
        (self.last, self.next) = (Some(number), follower);
    }

    /// Writes one field.
    pub fn field(&mut self, field: Field<'_>, out: &mut Vec<u8>) {
        let known = statics::find_name(field.name);
        self.named(known, field, out);
    }

    /// The same where its name is the static table's at this index, the first of that name.
    #[inline]
    pub(crate) fn pseudo(&mut self, known: usize, field: Field<'_>, out: &mut Vec<u8>) {
        debug_assert_eq!(known, statics::find_name(field.name), "the index of its name");
        match statics::find_value(known, field.value) {
            Some(index) => out.push(0x80 | index as u8),
            None => self.named(known, field, out),
        }
    }

    fn named(&mut self, known: usize, field: Field<'_>, out: &mut Vec<u8>) {
        let Field { name, value, never_indexed } = field;
        if known != 0
            && !never_indexed
            && let Some(index) = statics::find_value(known, value)
        {
            return out.push(0x80 | index as u8);
        }
        let indexing = if never_indexed { Indexing::Never } else { indexing(known, name, value) };
        // What stays out is not in.
        if indexing == Indexing::Incremental {
            let is_this = |found: Found<'_>| line::split(found.line, found.name_len) == (name, value);
            if let Some(age) = self.find(&self.pairs, pair_hash(name, value), is_this) {
                let follower = self.table.get(age).map_or(0, |found| found.follower);
                put_integer(statics::LEN + 1 + age, 7, 0x80, out);
                return self.passed(age, follower);
            }
        }
        let named = match known {
            0 => self
                .find(&self.names, line_hash(name), |found| &found.line[..found.name_len] == name)
                .map_or(0, |age| statics::LEN + 1 + age),
            known => known,
        };
        let indexing = match indexing {
            _ if name.len() + value.len() + ENTRY_OVERHEAD > self.table.size_max() / 4 * 3
                && indexing != Indexing::Never =>
            {
                Indexing::Without
            }
            Indexing::Name if named == 0 => Indexing::Incremental,
            Indexing::Name => Indexing::Without,
            indexing => indexing,
        };
        match indexing {
            Indexing::Incremental => put_integer(named, 6, 0x40, out),
            Indexing::Never => put_integer(named, 4, 0x10, out),
            Indexing::Without | Indexing::Name => put_integer(named, 4, 0x00, out),
        }
        if named == 0 {
            put_string(name, out);
        }
        put_string(value, out);
        if indexing == Indexing::Incremental {
            self.insert(name, value);
        }
    }

    #[inline(never)]
    fn insert(&mut self, name: &[u8], value: &[u8]) {
        let (name_hash, pair_hash) = (line_hash(name), pair_hash(name, value));
        let (evicted, _) = self.table.insert(name, value, Name::Unread);
        self.forget(evicted);
        self.names.push_back(name_hash);
        self.pairs.push_back(pair_hash);
        if self.recent.is_empty() {
            self.recent = vec![0; RECENT];
        }
        self.recent[recent_place(name_hash)] = self.inserted;
        self.recent[recent_place(pair_hash)] = self.inserted;
        self.inserted = self.inserted.wrapping_add(1);
        if self.table.len() > 0 {
            // Of a new entry the most likely is that it comes where the one came that it stands for.
            let after = self.table.get(usize::from(self.inserted.wrapping_sub(self.next).wrapping_sub(1)));
            let follower = after.map_or(self.next, |found| found.follower);
            self.passed(0, follower);
            self.table.follow(0, follower);
        }
    }

    /// The entry that was put in last under a hash with this one's top, where it is still there, and its age.
    #[inline]
    fn guess(&self, hash: u32) -> Option<(usize, Found<'_>)> {
        let number = *self.recent.get(recent_place(hash))?;
        let age = usize::from(self.inserted.wrapping_sub(number).wrapping_sub(1));
        Some((age, self.table.get(age)?))
    }

    /// The age of an entry that has this hash and is what is looked for.
    #[inline]
    fn find(&self, hashes: &VecDeque<u32>, hash: u32, is_it: impl Fn(Found<'_>) -> bool) -> Option<usize> {
        if let Some((age, found)) = self.guess(hash)
            && is_it(found)
        {
            return Some(age);
        }
        let (older, newer) = hashes.as_slices();
        let mut age = 0;
        for part in [newer, older] {
            for &known in part.iter().rev() {
                if known == hash && self.table.get(age).is_some_and(&is_it) {
                    return Some(age);
                }
                age += 1;
            }
        }
        None
    }
}

/// Names of the time and of tracing, whose values are hardly ever the same twice: entries of theirs would push out what comes again.
const CHANGING: [&[u8]; 10] = [
    b"x-request-id",
    b"x-envoy-upstream-service-time",
    b"grpc-timeout",
    b"traceparent",
    b"tracestate",
    b"b3",
    b"x-b3-traceid",
    b"x-b3-spanid",
    b"x-b3-parentspanid",
    b"x-cloud-trace-context",
];

/// What a field is worth. As nghttp2's deflater (lib/nghttp2_hd.c) for names that have an index: values that change with each message stay out, and
/// secrets are marked; short cookies are guessed too easily to be compressed beside an attacker's bytes.
fn indexing(known: usize, name: &[u8], value: &[u8]) -> Indexing {
    const COOKIE_GUESSED_MAX: usize = 20;
    match known {
        // A digit does come again: an origin that takes some milliseconds.
        0 if value.len() > 1 && CHANGING.contains(&name) => Indexing::Name,
        0 => Indexing::Incremental,
        // authorization, proxy-authorization
        23 | 49 => Indexing::Never,
        // cookie
        32 if value.len() < COOKIE_GUESSED_MAX => Indexing::Never,
        // :path, age, content-length, etag, if-modified-since, if-none-match, location, set-cookie
        4 | 21 | 28 | 34 | 40 | 41 | 46 | 55 => Indexing::Without,
        _ => Indexing::Incremental,
    }
}

/// Guesses: enough for a full table of 4,096 bytes, 256 bytes of memory.
const RECENT: usize = 128;

#[inline]
fn recent_place(pair_hash: u32) -> usize {
    pair_hash as usize >> (32 - RECENT.ilog2())
}

/// Bytes that are looked at together.
const SAMPLE: usize = 8;

/// A number that tells texts apart quickly, by their length, their ends and their middle; not for an adversary: what looks equal is compared, and
/// the table is short.
#[inline]
fn line_hash(text: &[u8]) -> u32 {
    let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) else { return short_hash(text) };
    let middle = text[text.len() / 2 - SAMPLE / 2..].first_chunk().unwrap_or(last);
    mixed(text.len(), *first, *middle, *last)
}

#[cold]
fn short_hash(text: &[u8]) -> u32 {
    let mut padded = [0; SAMPLE];
    padded[..text.len()].copy_from_slice(text);
    mixed(text.len(), padded, padded, padded)
}

/// What [`line_hash`] says of the line that this field is, without its end.
#[inline(never)]
fn pair_hash(name: &[u8], value: &[u8]) -> u32 {
    let value_start = name.len() + line::BETWEEN.len();
    let len = value_start + value.len();
    let sample = |at: usize| -> [u8; SAMPLE] {
        let whole = match at.checked_sub(value_start) {
            Some(at) => value[at..].first_chunk(),
            None => name.get(at..).and_then(|rest| rest.first_chunk()),
        };
        let byte = |at: usize| match at.checked_sub(name.len()) {
            None => name[at],
            Some(at) if at < line::BETWEEN.len() => line::BETWEEN[at],
            Some(at) => value.get(at - line::BETWEEN.len()).copied().unwrap_or(0),
        };
        whole.copied().unwrap_or_else(|| std::array::from_fn(|more| byte(at + more)))
    };
    if len < SAMPLE {
        let padded = sample(0);
        return mixed(len, padded, padded, padded);
    }
    mixed(len, sample(0), sample(len / 2 - SAMPLE / 2), sample(len - SAMPLE))
}

#[inline]
fn mixed(len: usize, first: [u8; SAMPLE], middle: [u8; SAMPLE], last: [u8; SAMPLE]) -> u32 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = len as u64;
    for sample in [first, middle, last] {
        state = (state ^ u64::from_le_bytes(sample)).wrapping_mul(MIX).rotate_left(29);
    }
    (state.wrapping_mul(MIX) >> 32) as u32
}

#[inline]
fn put_integer(value: usize, bits: u32, first: u8, out: &mut Vec<u8>) {
    if value < (1 << bits) - 1 {
        return out.push(first | value as u8);
    }
    let mut bytes = [0; integer::BYTES_MAX];
    let size = integer::encode(value as u32, bits, first, &mut bytes);
    out.extend_from_slice(&bytes[..size]);
}

/// By its code, where that is shorter.
#[inline]
fn put_string(plain: &[u8], out: &mut Vec<u8>) {
    /// Strings up to here are coded before the length of that is known: it is one byte.
    const SHORT_MAX: usize = 64;
    if plain.len() <= SHORT_MAX {
        let mut code = [0; SHORT_MAX + huffman::ROOM_MORE];
        let (first, string) = match huffman::encode(plain, &mut code) {
            Some(len) => (0x80 | len as u8, &code[..len]),
            None => (plain.len() as u8, plain),
        };
        out.push(first);
        return out.extend_from_slice(string);
    }
    let coded = huffman::encoded_len(plain);
    if coded < plain.len() {
        put_integer(coded, 7, 0x80, out);
        let start = out.len();
        out.resize(start + coded + huffman::ROOM_MORE, 0);
        _ = huffman::encode(plain, &mut out[start..]);
        out.truncate(start + coded);
    } else {
        put_integer(plain.len(), 7, 0x00, out);
        out.extend_from_slice(plain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_its_parts_have_one_hash() {
        let text = b"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
        for name_len in 0..26 {
            for value_len in 0..26 {
                let (name, value) = (&text[..name_len], &text[26..26 + value_len]);
                let mut line = Vec::new();
                line::put(name, value, &mut line);
                let whole = line_hash(&line[..line.len() - line::END.len()]);
                assert_eq!(pair_hash(name, value), whole, "{name_len} and {value_len}");
            }
        }
    }
}
