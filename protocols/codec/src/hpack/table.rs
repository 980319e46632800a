//! The dynamic table: the fields that were told last, newest first (RFC 7541 §2.3.2, §4).
//!
//! An entry's bytes stand as a line of HTTP/1.1, `name: value` and CRLF: so the reader's side copies one to a head at once, and the writer's side
//! finds one by the line that it has to write.
//!
//! Invariant: the sum of its entries' sizes is at most its limit, and its bytes lie in one piece in the order in which they came. An empty table
//! holds no memory.

use std::collections::VecDeque;

use super::line;
use super::name::Name;

/// What an entry costs beyond its bytes (RFC 7541 §4.1).
pub(super) const ENTRY_OVERHEAD: usize = 32;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where its line begins, counted from the first byte that the table ever had, modulo 2^32.
    start: u32,
    name_len: u32,
    value_len: u32,
    /// What its name is, where that and its value are known to be right.
    name: Name,
    /// The number of the entry that came behind this one in the last block that had both: a guess of who writes.
    follower: u16,
}

const _: () = assert!(size_of::<Entry>() == 16);

impl Entry {
    /// As RFC 7541 §4.1 counts it.
    fn size(self) -> usize {
        self.name_len as usize + self.value_len as usize + ENTRY_OVERHEAD
    }

    fn line_len(self) -> usize {
        self.name_len as usize + self.value_len as usize + line::OVERHEAD
    }
}

/// An entry as it is read.
#[derive(Clone, Copy)]
pub(super) struct Found<'t> {
    pub(super) line: &'t [u8],
    pub(super) name_len: usize,
    pub(super) name: Name,
    /// See [`Table::follow`].
    pub(super) follower: u16,
}

/// The entries, oldest first, and their bytes.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// Where `bytes` begins, counted as in the entries.
    origin: u32,
    /// By RFC 7541 §4.1.
    size: usize,
    size_max: usize,
    /// Counts what changed it.
    changes: u64,
}

impl Table {
    pub(super) fn new(size_max: usize) -> Self {
        Self { size_max, ..Self::default() }
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn size_max(&self) -> usize {
        self.size_max
    }

    /// A number that is another one whenever an index may mean another entry.
    #[inline]
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Bytes of memory that it holds.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The entry that came `age` entries before the newest one.
    #[inline]
    pub(super) fn get(&self, age: usize) -> Option<Found<'_>> {
        let at = self.entries.len().checked_sub(age + 1)?;
        let entry = self.entries[at];
        let start = entry.start.wrapping_sub(self.origin) as usize;
        let line = &self.bytes[start..start + entry.line_len()];
        Some(Found { line, name_len: entry.name_len as usize, name: entry.name, follower: entry.follower })
    }

    /// Says which entry comes behind the one that came `age` entries before the newest, if that is there.
    #[inline]
    pub(super) fn follow(&mut self, age: usize, follower: u16) {
        if let Some(at) = self.entries.len().checked_sub(age + 1) {
            self.entries[at].follower = follower;
        }
    }

    /// Adds an entry and takes out as many of the oldest as that costs: all, where it is larger than the table (RFC 7541 §4.4). How many
    /// went, and whether it is in.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], known: Name) -> (usize, bool) {
        self.add(name.len(), value.len(), known, |bytes| line::put(name, value, bytes))
    }

    /// The same for a field that stands as a line already.
    pub(super) fn insert_line(&mut self, line: &[u8], name_len: usize, known: Name) -> (usize, bool) {
        let value_len = line.len() - line::OVERHEAD - name_len;
        self.add(name_len, value_len, known, |bytes| bytes.extend_from_slice(line))
    }

    #[inline]
    fn add(&mut self, name_len: usize, value_len: usize, name: Name, put: impl FnOnce(&mut Vec<u8>)) -> (usize, bool) {
        let size = name_len + value_len + ENTRY_OVERHEAD;
        let fits = size <= self.size_max;
        let evicted = self.evict(if fits { self.size_max - size } else { 0 });
        self.changes += 1;
        if fits {
            let start = self.make_room(name_len + value_len + line::OVERHEAD);
            put(&mut self.bytes);
            let (name_len, value_len) = (name_len as u32, value_len as u32);
            self.entries.push_back(Entry { start, name_len, value_len, name, follower: 0 });
            self.size += size;
        }
        (evicted, fits)
    }

    /// Another limit; how many entries it cost. An empty table gives its memory back.
    pub(super) fn resize(&mut self, size_max: usize) -> usize {
        self.size_max = size_max;
        self.changes += 1;
        self.evict(size_max)
    }

    /// Takes out the oldest entries until `size` suffices.
    fn evict(&mut self, size: usize) -> usize {
        let before = self.entries.len();
        while self.size > size {
            let entry = self.entries.pop_front().expect("what has a size has an entry");
            self.size -= entry.size();
        }
        if self.entries.is_empty() {
            self.bytes.clear();
            if self.size_max == 0 {
                (self.bytes, self.entries) = (Vec::new(), VecDeque::new());
            }
        }
        before - self.entries.len()
    }

    /// Room for so many bytes; where they begin, counted as in the entries.
    #[inline]
    fn make_room(&mut self, more: usize) -> u32 {
        if self.bytes.len() + more > self.bytes.capacity() {
            self.compact(more);
        }
        self.origin.wrapping_add(self.bytes.len() as u32)
    }

    /// Moves the live bytes to the front before more memory is taken: there are never more than `size_max` of them. Where they are nearly all that
    /// there is room for, more is taken, or they would be moved for every few entries.
    #[cold]
    fn compact(&mut self, more: usize) {
        let end = self.origin.wrapping_add(self.bytes.len() as u32);
        let live = self.entries.front().map_or(end, |oldest| oldest.start);
        self.bytes.drain(..live.wrapping_sub(self.origin) as usize);
        self.origin = live;
        let wanted = self.bytes.len() + more;
        if wanted + wanted / 4 > self.bytes.capacity() {
            let capacity = (wanted + wanted / 4).next_power_of_two().min(self.size_max).max(wanted);
            self.bytes.reserve_exact(capacity.saturating_sub(self.bytes.len()).max(more));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_a_list_would_be() {
        let (mut table, mut list) = (Table::new(200), VecDeque::<(Vec<u8>, Vec<u8>)>::new());
        table.origin = u32::MAX - 5000; // it passes the end of what is counted
        let mut seed = 1;
        for _ in 0..20_000 {
            let random = crate::fuzz::next(&mut seed);
            if random.is_multiple_of(50) {
                table.resize((random >> 8) as usize % 400);
            } else {
                let (name, value) = (
                    vec![random as u8; (random >> 8) as usize % 20],
                    vec![!random as u8; (random >> 16) as usize % 90],
                );
                let (_, fits) = match random & 1 << 40 {
                    0 => table.insert(&name, &value, Name::Unread),
                    _ => {
                        let mut line = Vec::new();
                        line::put(&name, &value, &mut line);
                        table.insert_line(&line, name.len(), Name::Unread)
                    }
                };
                assert_eq!(fits, name.len() + value.len() + ENTRY_OVERHEAD <= table.size_max());
                list.push_front((name, value));
                if !fits {
                    list.clear();
                }
            }
            let size = |list: &VecDeque<(Vec<u8>, Vec<u8>)>| -> usize {
                list.iter().map(|(name, value)| name.len() + value.len() + ENTRY_OVERHEAD).sum()
            };
            while size(&list) > table.size_max() {
                list.pop_back();
            }
            assert_eq!(table.len(), list.len());
            for (age, (name, value)) in list.iter().enumerate() {
                let found = table.get(age).unwrap();
                assert_eq!(line::split(found.line, found.name_len), (&**name, &**value));
            }
            assert!(table.get(list.len()).is_none());
            assert!(table.bytes.capacity() <= 512, "{}", table.bytes.capacity());
        }
        table.resize(0);
        assert_eq!(table.memory(), 0);
    }
}
