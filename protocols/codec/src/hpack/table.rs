//! The dynamic table: the fields that were told last, newest first (RFC 7541 §2.3.2, §4).
//!
//! Invariant: the sum of its entries' sizes is at most its limit, and its bytes lie in one piece in the order in which they came. An empty table
//! holds no memory.

use std::collections::VecDeque;

/// What an entry costs beyond its bytes (RFC 7541 §4.1).
pub(super) const ENTRY_OVERHEAD: usize = 32;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where its name begins, counted from the first byte that the table ever had; the value follows.
    start: u64,
    name_len: u32,
    value_len: u32,
}

impl Entry {
    fn len(self) -> usize {
        self.name_len as usize + self.value_len as usize
    }
}

/// The entries, oldest first, and their bytes.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// Where `bytes` begins, counted as in the entries.
    origin: u64,
    /// By RFC 7541 §4.1.
    size: usize,
    size_max: usize,
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

    /// Bytes of memory that it holds.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The entry that came `age` entries before the newest one: name and value.
    #[inline]
    pub(super) fn get(&self, age: usize) -> Option<(&[u8], &[u8])> {
        let (whole, name_len) = self.whole(age)?;
        Some(whole.split_at(name_len))
    }

    /// Likewise: its name with its value behind it, and the name's length.
    #[inline]
    pub(super) fn whole(&self, age: usize) -> Option<(&[u8], usize)> {
        let at = self.entries.len().checked_sub(age + 1)?;
        let entry = self.entries[at];
        let start = (entry.start - self.origin) as usize;
        Some((&self.bytes[start..start + entry.len()], entry.name_len as usize))
    }

    /// Adds an entry and takes out as many of the oldest as that costs: all, where it is larger than the table (RFC 7541 §4.4). How many
    /// went, and whether it is in.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) -> (usize, bool) {
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        let fits = size <= self.size_max;
        let evicted = self.evict(if fits { self.size_max - size } else { 0 });
        if fits {
            self.make_room(name.len() + value.len());
            let start = self.origin + self.bytes.len() as u64;
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(value);
            let (name_len, value_len) = (name.len() as u32, value.len() as u32);
            self.entries.push_back(Entry { start, name_len, value_len });
            self.size += size;
        }
        (evicted, fits)
    }

    /// Another limit; how many entries it cost. An empty table gives its memory back.
    pub(super) fn resize(&mut self, size_max: usize) -> usize {
        self.size_max = size_max;
        self.evict(size_max)
    }

    /// Takes out the oldest entries until `size` suffices.
    fn evict(&mut self, size: usize) -> usize {
        let before = self.entries.len();
        while self.size > size {
            let entry = self.entries.pop_front().expect("what has a size has an entry");
            self.size -= entry.len() + ENTRY_OVERHEAD;
        }
        if self.entries.is_empty() {
            self.bytes.clear();
            if self.size_max == 0 {
                (self.bytes, self.entries) = (Vec::new(), VecDeque::new());
            }
        }
        before - self.entries.len()
    }

    /// Moves the live bytes to the front before more memory is taken: there are never more than `size_max` of them.
    fn make_room(&mut self, more: usize) {
        if self.bytes.len() + more <= self.bytes.capacity() {
            return;
        }
        let end = self.origin + self.bytes.len() as u64;
        let live = self.entries.front().map_or(end, |oldest| oldest.start);
        self.bytes.drain(..(live - self.origin) as usize);
        self.origin = live;
        let wanted = self.bytes.len() + more;
        if wanted > self.bytes.capacity() {
            let capacity = wanted.next_power_of_two().min(self.size_max).max(wanted);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_a_list_would_be() {
        let (mut table, mut list) = (Table::new(200), VecDeque::<(Vec<u8>, Vec<u8>)>::new());
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
                let (_, fits) = table.insert(&name, &value);
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
                assert_eq!(table.get(age), Some((&**name, &**value)));
            }
            assert_eq!(table.get(list.len()), None);
            assert!(table.bytes.capacity() <= 512, "{}", table.bytes.capacity());
        }
        table.resize(0);
        assert_eq!(table.memory(), 0);
    }
}
