//! Reading of big-endian numbers and length-prefixed lists, as TLS and the PROXY protocol write them. It knows no format.

/// What is left to be read. Each method takes from the front, or gives `None` and is of no further use.
#[derive(Clone, Copy)]
pub(crate) struct Wire<'a>(pub(crate) &'a [u8]);

impl<'a> Wire<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Bytes behind their length in one byte.
    pub(crate) fn list_u8(&mut self) -> Option<Wire<'a>> {
        let len = self.u8()?;
        self.take(len.into()).map(Wire)
    }

    /// Bytes behind their length in two bytes.
    pub(crate) fn list_u16(&mut self) -> Option<Wire<'a>> {
        let len = self.u16()?;
        self.take(len.into()).map(Wire)
    }
}
