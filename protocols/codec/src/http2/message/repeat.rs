//! The last head that came twice: the third time it is not read again.
//!
//! Cost: a copy of the head and of its table, a quarter of reading it; nothing for heads that differ.

use super::read::{Asked, read_request, read_response};
use crate::error::Error;
use crate::head::{HeadTable, Method};
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

/// See the module. One for each [`FieldList`], as long-lived as that. It grows to the largest head that came twice, which is one of a small block.
#[derive(Debug)]
pub struct Repeat {
    read: Option<Read>,
    table: HeadTable,
    head: Vec<u8>,
}

impl Default for Repeat {
    fn default() -> Self {
        Self { read: None, table: HeadTable::new(0), head: Vec::new() }
    }
}

impl Repeat {
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

    /// As [`read_response`].
    ///
    /// # Errors
    /// As there.
    pub fn read_response(
        &mut self,
        fields: &FieldList,
        ends: bool,
        asked: Asked<'_>,
        limits: &Limits,
        table: &mut HeadTable,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        // What answers an extended CONNECT is rare, and is not the same from request to request.
        let read = fields.repeated().filter(|_| asked.upgrade.is_none()).map(|block| {
            let as_what = As::Response { to: asked.method };
            Read { block, ends, as_what, limits: *limits }
        });
        if self.gives(read, table, out) {
            return Ok(());
        }
        read_response(fields, ends, asked, limits, table, out)?;
        self.keep(read, table, out);
        Ok(())
    }

    /// Whether it is the head that is kept; if so it is in `table` and `out`.
    #[inline]
    fn gives(&self, read: Option<Read>, table: &mut HeadTable, out: &mut Vec<u8>) -> bool {
        if read.is_none() || self.read != read || !table.has_room_for(&self.table) {
            return false;
        }
        debug_assert!(out.is_empty(), "a head's offsets begin at its own first byte");
        table.copy_from(&self.table);
        out.extend_from_slice(&self.head);
        true
    }

    #[inline]
    fn keep(&mut self, read: Option<Read>, table: &HeadTable, head: &[u8]) {
        if read.is_some() {
            self.keep_head(read, table, head);
        }
    }

    #[cold]
    fn keep_head(&mut self, read: Option<Read>, table: &HeadTable, head: &[u8]) {
        self.read = read;
        self.table.copy_from(table);
        self.head.clear();
        self.head.extend_from_slice(head);
    }
}
