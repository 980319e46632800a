//! HPACK: field sections of HTTP/2 as bytes (RFC 7541), both directions.
//!
//! A [`Decoder`] reads a whole block into a [`FieldList`]; an [`Encoder`] writes fields to the caller's [`crate::Out`]. Both know only their dynamic
//! table; what a field means, and which are forbidden, is HTTP/2's affair. They hold no memory while their table is empty.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod list;
mod statics;
mod table;

pub use decoder::{Decoder, ListLimits};
pub use encoder::Encoder;
pub use list::FieldList;
pub(crate) use list::Named;

/// Entries of the static table.
pub(crate) const STATIC_LEN: usize = statics::LEN;

/// The name at an index of the static table, 1 to [`STATIC_LEN`].
pub(crate) const fn static_name(index: usize) -> &'static str {
    statics::ENTRIES[index - 1].0
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name; in HTTP/2 in lower case.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// It is never to be put into a table, here or further on (RFC 7541 §7.1.3).
    pub never_indexed: bool,
}
