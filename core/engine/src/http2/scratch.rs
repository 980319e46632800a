//! Working memory of a core for heads on their way: used up before anything else runs.

use ringway_protocols::hpack::FieldList;

/// See the module. It grows to the largest head within the limits.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The fields of the section that was decoded last.
    pub(super) fields: FieldList,
    /// A head in the form of HTTP/1.
    pub(super) block: Vec<u8>,
    /// Names in lower case.
    pub(super) lower: Vec<u8>,
    /// A field block before it is cut into frames.
    pub(super) coded: Vec<u8>,
}
