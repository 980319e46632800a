//! Working memory of a core for heads on their way: used up before anything else runs.

use std::rc::Rc;

use ringway_protocols::HeadTable;
use ringway_protocols::hpack::FieldList;
use ringway_protocols::http2::Role;
use ringway_protocols::http2::message::Repeat;
use ringway_runtime::Chunk;

/// See the module. It grows to the largest head within the limits.
#[derive(Default)]
pub(crate) struct Scratch {
    /// The fields of the section that was decoded last, of either role: requests and responses come by turns, and what comes again is not decoded
    /// again.
    pub(super) fields: Fields,
    /// A head in the form of HTTP/1.
    pub(super) block: Vec<u8>,
    /// Names in lower case.
    pub(super) lower: Vec<u8>,
    /// A field block before it is cut into frames.
    pub(super) coded: Vec<u8>,
    pub(super) tables: Tables,
}

/// A response's head as its exchange takes it. One that comes again is shared.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) block: Chunk,
    pub(super) table: Rc<HeadTable>,
}

/// A list for each role, and the head that came in it.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) of_requests: (FieldList, Repeat),
    pub(super) of_responses: (FieldList, Repeat<Option<Head>>),
}

impl Fields {
    /// The list of a connection on which we have this role.
    #[inline]
    pub(super) fn read_as(&mut self, role: Role) -> &mut FieldList {
        match role {
            Role::Server => &mut self.of_requests.0,
            Role::Client => &mut self.of_responses.0,
        }
    }
}

/// Tables of heads that wait for their exchange, in between.
#[derive(Default)]
pub(super) struct Tables(Vec<Rc<HeadTable>>);

/// Tables that are kept for the next heads: those of a turn in which as many responses begin. 16 bytes each for as many fields as
/// a response may have, so 100 KiB at Envoy's 100 fields.
const TABLES_KEPT_MAX: usize = 64;

impl Tables {
    /// A table for a head of so many fields at most, which nobody else has. One of a cluster that allows fewer is let go.
    pub(super) fn take(&mut self, headers_max: usize) -> Rc<HeadTable> {
        while let Some(table) = self.0.pop() {
            if table.has_room(headers_max) {
                return table;
            }
        }
        Rc::new(HeadTable::new(headers_max))
    }

    /// A table whose head is done with, unless others have it, too.
    #[inline]
    pub(super) fn give(&mut self, table: Rc<HeadTable>) {
        if Rc::strong_count(&table) == 1 && self.0.len() < TABLES_KEPT_MAX {
            self.0.push(table);
        }
    }
}

impl Scratch {
    /// A table whose head is done with.
    #[inline]
    pub(crate) fn give_table(&mut self, table: Rc<HeadTable>) {
        self.tables.give(table);
    }
}
