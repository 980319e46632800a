//! A field block to fields (RFC 7541 §3, §6).
//!
//! It never stops in the middle: a section that is too large is read to its end, so that both sides' tables stay equal, and only not kept.
//! The work is bounded by the block and by [`UNKEPT_BYTES_MAX`]: an entry of the table can be large and a reference to it is a byte or two, so who
//! goes far beyond the limit is not read to the end.

use std::sync::atomic::{AtomicU64, Ordering};

use super::list::{BlockId, FieldList, Listed};
use super::name::Name;
use super::table::{ENTRY_OVERHEAD, Found, Table};
use super::{huffman, integer, line, statics};
use crate::error::{Error, Rule};

/// What a section may have beyond [`ListLimits::size_max`] and still be read to its end, to be answered 431. Reading it costs about a
/// millisecond; without the bound a block of 120 KiB that names one large entry again and again would cost 300.
const UNKEPT_BYTES_MAX: usize = 1 << 20;

/// The longest block that is known again: heads of a usual size. So much memory a list.
const KNOWN_BYTES_MAX: usize = 512;

/// Bounds on one field section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// [`FieldList::size`] at most, as told by `SETTINGS_MAX_HEADER_LIST_SIZE`; past it 431. Worst case: so many bytes in a core's one list.
    pub size_max: usize,
    /// Fields at most; past it 431. Worst case: 16 bytes each in a core's one list.
    pub fields_max: usize,
}

/// One direction's state at the side that reads.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// What the peer may make of the table, as we told it (`SETTINGS_HEADER_TABLE_SIZE`).
    allowed: usize,
    /// The peer has yet to say that it keeps to less than before (RFC 7541 §4.2).
    update_due: bool,
    /// A number that no other has.
    id: u64,
    /// Blocks that it has read.
    blocks: u64,
    /// The block at hand has led to the table's entries.
    has_looked: bool,
}

impl Decoder {
    /// A table of at most `table_bytes_max` bytes, which is what we announce; 4,096 without an announcement (RFC 9113 §6.5.2).
    #[must_use]
    pub fn new(table_bytes_max: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            table: Table::new(table_bytes_max),
            allowed: table_bytes_max,
            update_due: false,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            blocks: 0,
            has_looked: false,
        }
    }

    /// We have announced another size, and the peer has acknowledged it.
    pub fn announced(&mut self, table_bytes_max: usize) {
        self.allowed = table_bytes_max;
        self.update_due = self.table.size_max() > table_bytes_max;
    }

    /// Bytes of memory that its table holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.table.memory()
    }

    /// Reads one whole block into `list`, which forgets what it had.
    ///
    /// A block that says what the last one in this list said is not read again: a burst of requests that differ in nothing, or their responses, costs
    /// one look at each block's bytes and what it does to the table.
    ///
    /// # Errors
    /// The rule that the block breaks: the tables may differ from here on, so that it ends the connection (COMPRESSION_ERROR, RFC 9113 §4.3).
    pub fn decode(&mut self, block: &[u8], limits: &ListLimits, list: &mut FieldList) -> Result<(), Error> {
        if self.knows(block, limits, list) {
            list.source.is_repeated = true;
            if list.source.leaves != Some(self.table.changes()) {
                self.repeat(list);
            }
            return Ok(());
        }
        list.clear();
        self.has_looked = false;
        self.blocks += 1;
        let before = self.table.changes();
        let mut rest = self.updates(block)?;
        let is_updated = rest.len() < block.len();
        while let Some(&first) = rest.first() {
            rest = if first & 0x80 != 0 {
                let (index, rest) = integer::decode(rest, 7)?;
                self.indexed(index as usize, limits, list)?;
                rest
            } else if first & 0x40 != 0 {
                self.literal(rest, 6, limits, list)?
            } else if first & 0x20 != 0 {
                return Err(Rule::HpackSizeUpdate.into()); // behind a field
            } else {
                self.literal(rest, 4, limits, list)?
            };
            if list.size.saturating_sub(limits.size_max) > UNKEPT_BYTES_MAX {
                return Err(Rule::FieldBlockTooLarge.into());
            }
        }
        // What leads to the table and changes it says something else the next time.
        let is_lasting = !is_updated && (!self.has_looked || self.table.changes() == before);
        if is_lasting && !list.is_too_large && block.len() <= KNOWN_BYTES_MAX {
            let source = &mut list.source;
            source.id = BlockId { decoder: self.id, number: self.blocks };
            source.limits = Some(*limits);
            source.table = self.has_looked.then_some(before);
            (source.alone, source.leaves) = (before..self.table.changes(), None);
            source.block.clear();
            source.block.extend_from_slice(block);
        }
        Ok(())
    }

    /// Puts into the table what the list's block puts there.
    ///
    /// Once the block has put there all that the table holds, each time the same entries, and as many go as come, the table is what it was: from then on
    /// nothing has to be done, until another block changes it.
    fn repeat(&mut self, list: &mut FieldList) {
        let (before, entries) = (self.table.changes(), self.table.len());
        for field in list.fields.iter().filter(|field| field.is_inserted) {
            let name_len = usize::from(field.name_len);
            let end = field.start as usize + name_len + field.value_len as usize + line::OVERHEAD;
            self.table.insert_line(&list.bytes[field.start as usize..end], name_len, field.name);
        }
        let (source, after) = (&mut list.source, self.table.changes());
        let since = if source.alone.end == before { source.alone.start } else { before };
        source.alone = since..after;
        let is_full = before - since >= entries as u64 && self.table.len() == entries;
        source.leaves = (after == before || is_full).then_some(after);
    }

    /// Whether the list has what this block says.
    #[inline]
    fn knows(&self, block: &[u8], limits: &ListLimits, list: &FieldList) -> bool {
        let source = &list.source;
        source.id.decoder == self.id
            && !self.update_due
            && source.block == block
            && source.table.is_none_or(|table| table == self.table.changes())
            && source.limits == Some(*limits)
    }

    /// The changes of the table's size at the front of a block: two at most, the smallest and the last one (RFC 7541 §4.2).
    fn updates<'b>(&mut self, block: &'b [u8]) -> Result<&'b [u8], Error> {
        let mut rest = block;
        for _ in 0..2 {
            match rest.first() {
                Some(first) if first & 0xe0 == 0x20 => {}
                _ => break,
            }
            let (size, after) = integer::decode(rest, 5)?;
            if size as usize > self.allowed {
                return Err(Rule::HpackSizeUpdate.into());
            }
            self.table.resize(size as usize);
            self.update_due = false;
            rest = after;
        }
        if self.update_due { Err(Rule::HpackSizeUpdate.into()) } else { Ok(rest) }
    }

    #[inline]
    fn indexed(&mut self, index: usize, limits: &ListLimits, list: &mut FieldList) -> Result<(), Error> {
        self.has_looked |= index > statics::LEN;
        let Found { line, name_len, name, .. } = self.entry(index)?;
        let start = list.bytes.len();
        let value_len = line.len() - name_len - line::OVERHEAD;
        if admit(list, limits, name_len, value_len) {
            list.bytes.extend_from_slice(line);
            list.fields.push(Listed {
                start: start as u32,
                value_len: value_len as u32,
                name_len: name_len as u16,
                name,
                is_value_read: name != Name::Unread,
                never_indexed: false,
                is_inserted: false,
            });
        }
        Ok(())
    }

    #[inline]
    fn entry(&self, index: usize) -> Result<Found<'_>, Error> {
        match index.checked_sub(statics::LEN + 1) {
            Some(age) => self.table.get(age).ok_or_else(|| Rule::HpackIndex.into()),
            None if index == 0 => Err(Rule::HpackIndex.into()),
            None => Ok(statics::get(index)),
        }
    }

    /// A field that is written out, its name perhaps by an index of `bits` bits. With 6 it goes to the table.
    fn literal<'b>(
        &mut self,
        bytes: &'b [u8],
        bits: u32,
        limits: &ListLimits,
        list: &mut FieldList,
    ) -> Result<&'b [u8], Error> {
        let never_indexed = bits == 4 && bytes[0] & 0x10 != 0;
        let (index, mut rest) = integer::decode(bytes, bits)?;
        let start = list.bytes.len();
        let mut name = Name::Unread;
        if index == 0 {
            rest = string(rest, &mut list.bytes)?;
            list.bytes.extend_from_slice(line::BETWEEN);
        } else {
            self.has_looked |= index as usize > statics::LEN;
            let found = self.entry(index as usize)?;
            list.bytes.extend_from_slice(&found.line[..found.name_len + line::BETWEEN.len()]);
            name = found.name;
        }
        let value_start = list.bytes.len();
        rest = string(rest, &mut list.bytes)?;
        let name_len = value_start - start - line::BETWEEN.len();
        let value_len = list.bytes.len() - value_start;
        list.bytes.extend_from_slice(line::END);
        let is_inserted = bits == 6;
        if is_inserted {
            let line = &list.bytes[start..];
            name = Name::of_entry(line, name_len, name);
            self.table.insert_line(line, name_len, name);
        }
        if admit(list, limits, name_len, value_len) {
            list.fields.push(Listed {
                start: start as u32,
                value_len: value_len as u32,
                name_len: name_len as u16,
                name,
                is_value_read: is_inserted && name != Name::Unread,
                never_indexed,
                is_inserted,
            });
        } else {
            list.bytes.truncate(start);
        }
        Ok(rest)
    }
}

/// Counts a field; whether it is kept.
#[inline]
fn admit(list: &mut FieldList, limits: &ListLimits, name_len: usize, value_len: usize) -> bool {
    list.size = list.size.saturating_add(name_len + value_len + ENTRY_OVERHEAD);
    list.is_too_large |=
        list.size > limits.size_max || list.fields.len() >= limits.fields_max || name_len > usize::from(u16::MAX);
    !list.is_too_large
}

/// Appends the string at the front of `bytes`, and gives what is behind it (RFC 7541 §5.2).
#[inline]
fn string<'b>(bytes: &'b [u8], plain: &mut Vec<u8>) -> Result<&'b [u8], Rule> {
    let is_coded = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let (len, rest) = integer::decode(bytes, 7)?;
    let (string, rest) = rest.split_at_checked(len as usize).ok_or(Rule::HpackTruncated)?;
    if is_coded {
        huffman::decode(string, plain)?;
    } else {
        plain.extend_from_slice(string);
    }
    Ok(rest)
}
