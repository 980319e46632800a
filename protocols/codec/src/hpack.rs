//! HPACK: field sections of HTTP/2 as bytes (RFC 7541), both directions.
//!
//! A [`Decoder`] reads a whole block into a [`FieldList`]; an [`Encoder`] writes fields to the caller's [`crate::Out`]. Both know only their dynamic
//! table; what a field means, and which are forbidden, is HTTP/2's affair. They hold no memory while their table is empty, but for the section that an encoder in use wrote last.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod last;
mod line;
mod list;
mod name;
mod statics;
mod table;

pub use decoder::{Decoder, ListLimits};
pub use encoder::Encoder;
pub(crate) use line::put as put_line;
pub use list::FieldList;
pub(crate) use list::{BlockId, Named};
pub(crate) use name::{Name, Pseudo};

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

/// Where fields go, one after another: an [`Encoder`]'s block, or whatever takes a [`Field`].
pub trait FieldSink {
    /// The next field.
    fn field(&mut self, field: Field<'_>);

    /// The next field, given as its whole line with CRLF, for who knows it by that: whether it is taken. If not, it comes again by
    /// [`FieldSink::field`].
    fn line(&mut self, line: &[u8]) -> bool {
        _ = line;
        false
    }

    /// The next fields, as far as they are those whose lines came next the last time: the length of their lines, which are at the front of `lines`.
    fn next_lines(&mut self, lines: &[u8]) -> usize {
        _ = lines;
        0
    }

    /// Takes what the front of `text` says, as far as it is the same that was taken the last time: `text` is what is left of what this section's fields
    /// are made of, a part of them from each of its pieces, in order. How much that is: whole pieces. `None`: the section is not kept, and that is not asked again.
    /// Else the next piece comes field by field, then [`FieldSink::piece`], then this again. `form` is all that fields depend on beside their piece.
    fn again(&mut self, form: u8, text: &[u8]) -> Option<usize> {
        _ = (form, text);
        None
    }

    /// What came since the one before was this piece's.
    fn piece(&mut self, text: &[u8]) {
        _ = text;
    }

    /// The end of the text, which says nothing.
    fn end(&mut self, text: &[u8]) {
        _ = text;
    }

    /// A pseudo-field, whose name the static table first has at this index.
    fn pseudo(&mut self, index: usize, field: Field<'_>) {
        _ = index;
        self.field(field);
    }
}

impl<F: FnMut(Field<'_>)> FieldSink for F {
    fn field(&mut self, field: Field<'_>) {
        self(field);
    }
}
