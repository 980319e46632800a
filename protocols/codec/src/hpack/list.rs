//! A decoded field section: the bytes of all names and values, and where each lies.
//!
//! One a core, reused for every section, as [`crate::HeadTable`] is for HTTP/1: it grows to the largest section within the limits.

use super::Field;

/// Where a field lies. 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Where the name begins; the value follows it.
    pub(super) start: u32,
    pub(super) value_len: u32,
    pub(super) name_len: u16,
    /// The first index of the name in the static table; 0: it is not there, or nobody looked.
    pub(super) static_name: u8,
    pub(super) never_indexed: bool,
}

/// A field where it lies, so that its bytes can be looked at a lane at a time.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    /// The name, the value, and what is listed behind them.
    rest: &'a [u8],
    name_len: usize,
    value_len: usize,
    /// An index of the static table that has this name; 0: nobody knows one.
    pub(crate) static_name: u8,
    pub(crate) never_indexed: bool,
}

impl<'a> Named<'a> {
    pub(crate) fn name(&self) -> &'a [u8] {
        &self.rest[..self.name_len]
    }

    pub(crate) fn value(&self) -> &'a [u8] {
        &self.rest[self.name_len..self.name_len + self.value_len]
    }

    /// From the name's first byte on, to the end of the list.
    pub(crate) fn bytes_at_name(&self) -> &'a [u8] {
        self.rest
    }

    /// From the value's first byte on.
    pub(crate) fn bytes_at_value(&self) -> &'a [u8] {
        &self.rest[self.name_len..]
    }
}

/// The fields of one section in their order.
#[derive(Debug, Default)]
pub struct FieldList {
    pub(super) bytes: Vec<u8>,
    pub(super) fields: Vec<Listed>,
    /// RFC 9113 §6.5.2: bytes and 32 for each field, of all that came, kept or not.
    pub(super) size: usize,
    pub(super) is_too_large: bool,
}

impl FieldList {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// What `SETTINGS_MAX_HEADER_LIST_SIZE` bounds: bytes of names and values, and 32 for each field (RFC 9113 §6.5.2). Also of what was not kept.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether the section went beyond a limit: what is listed is a part of it, and it is to be answered 431 (RFC 6585 §5).
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// All names and values, in order and without gaps.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The fields in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'_>> {
        self.fields.iter().map(|listed| {
            let bytes = &self.bytes[listed.start as usize..];
            let (name, rest) = bytes.split_at(usize::from(listed.name_len));
            Field { name, value: &rest[..listed.value_len as usize], never_indexed: listed.never_indexed }
        })
    }

    /// The fields in order, each with what the block said of its name.
    pub(crate) fn named(&self) -> impl ExactSizeIterator<Item = Named<'_>> + Clone {
        self.fields.iter().map(|listed| Named {
            rest: &self.bytes[listed.start as usize..],
            name_len: usize::from(listed.name_len),
            value_len: listed.value_len as usize,
            static_name: listed.static_name,
            never_indexed: listed.never_indexed,
        })
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        (self.size, self.is_too_large) = (0, false);
    }
}
