//! Working memory of a core for heads on their way: used up before anything else runs.

use ringway_protocols::HeadTable;
use ringway_protocols::hpack::FieldList;
use ringway_protocols::http2::Role;
use ringway_protocols::http2::message::Repeat;

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
    /// Tables of heads that wait for their exchange, in between.
    #[expect(clippy::vec_box, reason = "they come and go as boxes, which a port holds")]
    tables: Vec<Box<HeadTable>>,
}

/// A list for each role, and the head that came in it.
#[derive(Default)]
pub(crate) struct Fields {
    of_requests: (FieldList, Repeat),
    of_responses: (FieldList, Repeat),
}

impl Fields {
    /// The list of a connection on which we have this role.
    #[inline]
    pub(super) fn read_as(&mut self, role: Role) -> &mut (FieldList, Repeat) {
        match role {
            Role::Server => &mut self.of_requests,
            Role::Client => &mut self.of_responses,
        }
    }
}

/// Tables that are kept for the next heads: those of a turn in which as many responses begin. 16 bytes each for as many fields as
/// a response may have, so 100 KiB at Envoy's 100 fields.
const TABLES_KEPT_MAX: usize = 64;

impl Scratch {
    /// A table for a head of so many fields at most.
    pub(super) fn take_table(&mut self, headers_max: usize) -> Box<HeadTable> {
        self.tables.pop().unwrap_or_else(|| Box::new(HeadTable::new(headers_max)))
    }

    /// A table whose head is done with.
    pub(crate) fn give_table(&mut self, table: Box<HeadTable>) {
        if self.tables.len() < TABLES_KEPT_MAX {
            self.tables.push(table);
        }
    }
}
