//! A decoded field section: its fields as lines, and where each lies.
//!
//! One a core, reused for every section, as [`crate::HeadTable`] is for HTTP/1: it grows to the largest section within the limits.

use std::ops::Range;

use super::name::{Name, check_value};
use super::{Field, ListLimits, line};
use crate::error::Rule;

/// Where a field lies. 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Where its line begins.
    pub(super) start: u32,
    pub(super) value_len: u32,
    pub(super) name_len: u16,
    /// What its name is, where somebody has read it.
    pub(super) name: Name,
    /// Somebody has looked at its value, too, and it is right.
    pub(super) is_value_read: bool,
    pub(super) never_indexed: bool,
    /// It went to the table.
    pub(super) is_inserted: bool,
}

const _: () = assert!(size_of::<Listed>() == 16);

/// A field where it lies, so that its bytes can be looked at a lane at a time.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    /// Its line, and those behind it.
    rest: &'a [u8],
    listed: Listed,
}

impl<'a> Named<'a> {
    pub(crate) fn name(&self) -> &'a [u8] {
        &self.rest[..usize::from(self.listed.name_len)]
    }

    pub(crate) fn value(&self) -> &'a [u8] {
        &self.bytes_at_value()[..self.listed.value_len as usize]
    }

    pub(crate) fn name_len(&self) -> u16 {
        self.listed.name_len
    }

    pub(crate) fn value_len(&self) -> u32 {
        self.listed.value_len
    }

    /// Where its line begins in the list's bytes.
    pub(crate) fn start(&self) -> usize {
        self.listed.start as usize
    }

    /// Where its value begins in the list's bytes.
    pub(crate) fn value_start(&self) -> usize {
        self.start() + usize::from(self.listed.name_len) + line::BETWEEN.len()
    }

    /// Where its line ends in the list's bytes.
    pub(crate) fn end(&self) -> usize {
        self.start() + usize::from(self.listed.name_len) + self.listed.value_len as usize + line::OVERHEAD
    }

    pub(crate) fn never_indexed(&self) -> bool {
        self.listed.never_indexed
    }

    /// Whether its name begins with a colon.
    #[inline(always)]
    pub(crate) fn is_pseudo(&self) -> bool {
        match self.listed.name {
            Name::Unread => self.name().first() == Some(&b':'),
            name => matches!(name, Name::Pseudo(_)),
        }
    }

    /// What its name is.
    ///
    /// # Errors
    /// See [`Name::read`].
    #[inline(always)]
    pub(crate) fn read_name(&self) -> Result<Name, Rule> {
        match self.listed.name {
            Name::Unread => Name::read(self.rest, usize::from(self.listed.name_len)),
            name => Ok(name),
        }
    }

    /// # Errors
    /// See [`check_value`].
    #[inline(always)]
    pub(crate) fn check_value(&self) -> Result<(), Rule> {
        if self.listed.is_value_read {
            return Ok(());
        }
        check_value(self.bytes_at_value(), self.listed.value_len as usize)
    }

    fn bytes_at_value(&self) -> &'a [u8] {
        &self.rest[usize::from(self.listed.name_len) + line::BETWEEN.len()..]
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
    pub(super) source: Source,
}

/// A block that was read: no other has the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockId {
    /// Who read it; nobody has 0.
    pub(super) decoder: u64,
    /// How many it had read before.
    pub(super) number: u64,
}

/// Which block the fields of a list are of, where the same block would say the same again.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) id: BlockId,
    /// It came again.
    pub(super) is_repeated: bool,
    /// With which limits.
    pub(super) limits: Option<ListLimits>,
    /// The table's number, where the block's indices lead there.
    pub(super) table: Option<u64>,
    /// The table's numbers between which this block alone was read.
    pub(super) alone: Range<u64>,
    /// The table's number at which the block leaves in it what it finds there.
    pub(super) leaves: Option<u64>,
    pub(super) block: Vec<u8>,
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

    /// The block, where it came more than once.
    #[inline]
    pub(crate) fn repeated(&self) -> Option<BlockId> {
        self.source.is_repeated.then_some(self.source.id)
    }

    /// All fields as lines, `name: value` and CRLF, in order and without gaps. Unchecked: what stands in a value may look like another line.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        &self.bytes
    }

    /// The fields in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'_>> {
        self.named().map(|field| Field {
            name: field.name(),
            value: field.value(),
            never_indexed: field.never_indexed(),
        })
    }

    /// The fields in order, each with what is known of it.
    pub(crate) fn named(&self) -> impl ExactSizeIterator<Item = Named<'_>> + Clone {
        self.fields.iter().map(|listed| Named { rest: &self.bytes[listed.start as usize..], listed: *listed })
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        (self.size, self.is_too_large) = (0, false);
        (self.source.id, self.source.is_repeated) = (BlockId::default(), false);
    }
}
