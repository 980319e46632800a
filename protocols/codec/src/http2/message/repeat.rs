//! The last head that came twice: the third time it is not read again.
//!
//! Cost: a copy of the head and of its table, a quarter of reading it, or of what the caller has made of them, which may be shared; nothing for heads
//! that differ.

use super::read::{Asked, read_request};
use crate::error::Error;
use crate::head::{HeadId, HeadTable, Method};
use crate::hpack::{BlockId, FieldList};
use crate::limits::Limits;

/// What a head was read with: with the same it says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Read {
    block: BlockId,
    ends: bool,
    as_what: As,
    limits: Limits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    Request { extended_connect: bool },
    Response { to: Method },
}

/// See the module. One for each [`FieldList`], as long-lived as that. It keeps one head, of a small block: as a copy, or as what the caller has made of it.
#[derive(Debug, Default)]
pub struct Repeat<H = Copied> {
    read: Option<Read>,
    head: H,
}

/// A copy of a head. It grows to the largest that came twice.
#[derive(Debug)]
pub struct Copied {
    table: HeadTable,
    bytes: Vec<u8>,
}

impl Default for Copied {
    fn default() -> Self {
        Self { table: HeadTable::new(0), bytes: Vec::new() }
    }
}

impl<H: Clone + Default> Repeat<H> {
    /// A response's head: what is kept, if it is that one; else what `read` makes of the fields ([`super::read_response`] with the same arguments), which
    /// is kept if they came twice. `read` is given what is not kept any more, and of what is going to be the number that its table gets.
    ///
    /// # Errors
    /// Those of `read`.
    #[inline]
    pub fn response(
        &mut self,
        fields: &FieldList,
        ends: bool,
        asked: Asked<'_>,
        limits: &Limits,
        read: impl FnOnce(H, Option<HeadId>) -> Result<H, Error>,
    ) -> Result<H, Error> {
        // What answers an extended CONNECT is rare, and is not the same from request to request.
        let Some(block) = fields.repeated().filter(|_| asked.upgrade.is_none()) else {
            return read(H::default(), None);
        };
        let as_what = As::Response { to: asked.method };
        let known = Some(Read { block, ends, as_what, limits: *limits });
        if self.read != known {
            self.read = None;
            self.head = read(std::mem::take(&mut self.head), Some(HeadId::next()))?;
            self.read = known;
        }
        Ok(self.head.clone())
    }
}

impl Repeat<Copied> {
    /// As [`read_request`].
    ///
    /// # Errors
    /// As there.
    pub fn read_request(
        &mut self,
        fields: &FieldList,
        ends: bool,
        extended_connect: bool,
        limits: &Limits,
        table: &mut HeadTable,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let read = fields.repeated().map(|block| {
            let as_what = As::Request { extended_connect };
            Read { block, ends, as_what, limits: *limits }
        });
        if self.gives(read, table, out) {
            return Ok(());
        }
        read_request(fields, ends, extended_connect, limits, table, out)?;
        self.keep(read, table, out);
        Ok(())
    }

    /// Whether it is the head that is kept; if so it is in `table` and `out`.
    #[inline]
    fn gives(&self, read: Option<Read>, table: &mut HeadTable, out: &mut Vec<u8>) -> bool {
        if read.is_none() || self.read != read || !table.has_room_for(&self.head.table) {
            return false;
        }
        debug_assert!(out.is_empty(), "a head's offsets begin at its own first byte");
        table.copy_from(&self.head.table);
        out.extend_from_slice(&self.head.bytes);
        true
    }

    #[inline]
    fn keep(&mut self, read: Option<Read>, table: &mut HeadTable, head: &[u8]) {
        if read.is_some() {
            self.keep_head(read, table, head);
        }
    }

    #[cold]
    fn keep_head(&mut self, read: Option<Read>, table: &mut HeadTable, head: &[u8]) {
        table.know_as(Some(HeadId::next()));
        self.read = read;
        self.head.table.copy_from(table);
        self.head.bytes.clear();
        self.head.bytes.extend_from_slice(head);
    }
}
