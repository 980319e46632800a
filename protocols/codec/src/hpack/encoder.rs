//! Fields to a field block (RFC 7541 §6), and what is worth a place in the table.
//!
//! It never reads the clock and never fails: what cannot be indexed is written out.

use std::collections::VecDeque;

use super::table::{ENTRY_OVERHEAD, Table};
use super::{Field, huffman, integer, statics};
use crate::out::Out;

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
    /// The number of the entry that was put in last, by the top of its pair's hash: a guess, which is looked after. None while the table was never
    /// used.
    recent: Vec<u16>,
    /// Entries that were ever put in, modulo 2^16: far more than there can be.
    inserted: u16,
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
    }

    /// Bytes of memory that its table holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        let hashes = self.names.capacity() + self.pairs.capacity();
        self.table.memory() + hashes * size_of::<u32>() + self.recent.capacity() * size_of::<u16>()
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
    pub fn begin(&mut self, out: &mut impl Out) {
        if let Some(smallest) = self.smallest.take() {
            let size = self.table.size_max();
            if smallest < size {
                put_integer(smallest, 5, 0x20, out);
            }
            put_integer(size, 5, 0x20, out);
        }
    }

    /// Writes one field.
    #[inline]
    pub fn field(&mut self, field: Field<'_>, out: &mut impl Out) {
        let Field { name, value, never_indexed } = field;
        let name_hash = hash(0, name);
        let pair_hash = hash(name_hash, value);
        // What is in the table was worth it, and comes again: most fields end here.
        if !never_indexed && let Some(age) = self.guessed(pair_hash, name, value) {
            return put_integer(statics::LEN + 1 + age, 7, 0x80, out);
        }
        self.unguessed(field, name_hash, pair_hash, out);
    }

    /// A field that was not found at once.
    #[inline(never)]
    fn unguessed(&mut self, field: Field<'_>, name_hash: u32, pair_hash: u32, out: &mut impl Out) {
        let Field { name, value, never_indexed } = field;
        let known = statics::find_name(name);
        let indexing = if never_indexed { Indexing::Never } else { indexing(known, name, value) };
        if indexing != Indexing::Never
            && known != 0
            && let Some(index) = statics::find_value(known, value)
        {
            return put_integer(index, 7, 0x80, out);
        }
        if matches!(indexing, Indexing::Incremental | Indexing::Name)
            && let Some(age) = self.find(&self.pairs, pair_hash, |entry| entry == (name, value))
        {
            return put_integer(statics::LEN + 1 + age, 7, 0x80, out);
        }
        let named = match known {
            0 => self.find(&self.names, name_hash, |entry| entry.0 == name).map_or(0, |age| statics::LEN + 1 + age),
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
            let (evicted, _) = self.table.insert(name, value);
            self.forget(evicted);
            self.names.push_back(name_hash);
            self.pairs.push_back(pair_hash);
            if self.recent.is_empty() {
                self.recent = vec![0; RECENT];
            }
            self.recent[recent_place(pair_hash)] = self.inserted;
            self.inserted = self.inserted.wrapping_add(1);
        }
    }

    /// The age of the entry that was put in last under this hash, where it is still there and is this field.
    #[inline]
    fn guessed(&self, pair_hash: u32, name: &[u8], value: &[u8]) -> Option<usize> {
        let number = *self.recent.get(recent_place(pair_hash))?;
        let age = usize::from(self.inserted.wrapping_sub(number).wrapping_sub(1));
        let at = self.pairs.len().checked_sub(age + 1)?;
        if self.pairs[at] != pair_hash {
            return None;
        }
        let (known_name, known_value) = self.table.get(age)?;
        let is_it = known_name == name && known_value == value;
        is_it.then_some(age)
    }

    /// The age of the newest entry that has this hash and is what is looked for.
    #[inline]
    fn find(&self, hashes: &VecDeque<u32>, hash: u32, is_it: impl Fn((&[u8], &[u8])) -> bool) -> Option<usize> {
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

/// What a field is worth. As nghttp2's deflater (lib/nghttp2_hd.c) for names that have an index: values that change with each message stay out, and
/// secrets are marked; short cookies are guessed too easily to be compressed beside an attacker's bytes.
fn indexing(known: usize, name: &[u8], value: &[u8]) -> Indexing {
    const COOKIE_GUESSED_MAX: usize = 20;
    match known {
        0 => match name {
            b"x-request-id" | b"traceparent" | b"x-b3-traceid" | b"x-b3-spanid" | b"x-b3-parentspanid" => {
                Indexing::Name
            }
            _ => Indexing::Incremental,
        },
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

/// A number that tells strings apart quickly; not for an adversary: what looks equal is compared, and the table is short.
#[inline]
fn hash(seed: u32, bytes: &[u8]) -> u32 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let len = bytes.len();
    let mut state = (u64::from(seed) ^ (len as u64) << 32).wrapping_add(MIX);
    // The last word overlaps the one before it, where they do not fall together: no loop over single bytes.
    let last = if let Some(last) = bytes.last_chunk::<8>() {
        for word in bytes[..len - 1].as_chunks::<8>().0 {
            state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(MIX).rotate_left(29);
        }
        u64::from_le_bytes(*last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
    } else if len > 0 {
        u64::from(bytes[0]) | u64::from(bytes[len / 2]) << 8 | u64::from(bytes[len - 1]) << 16
    } else {
        0
    };
    state = (state ^ last).wrapping_mul(MIX);
    ((state ^ state >> 29).wrapping_mul(MIX) >> 32) as u32
}

#[inline]
fn put_integer(value: usize, bits: u32, first: u8, out: &mut impl Out) {
    if value < (1 << bits) - 1 {
        return out.put(&[first | value as u8]);
    }
    let mut bytes = [0; integer::BYTES_MAX];
    let size = integer::encode(value as u32, bits, first, &mut bytes);
    out.put(&bytes[..size]);
}

/// By its code, where that is shorter.
#[inline]
fn put_string(plain: &[u8], out: &mut impl Out) {
    let coded = huffman::encoded_len(plain);
    if coded < plain.len() {
        put_integer(coded, 7, 0x80, out);
        huffman::encode(plain, |bytes| out.put(bytes));
    } else {
        put_integer(plain.len(), 7, 0x00, out);
        out.put(plain);
    }
}
