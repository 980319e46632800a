//! The little of DER (X.690) that reading a certificate's fields takes: one value after the other.
//!
//! It never judges a certificate (the verifier does) and never recurses. Bytes that are no DER give `None`.

/// BOOLEAN, INTEGER and the other tags that certificates use.
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// A certificate's lengths fit in three octets: more than 16 MiB in one value is refused.
const LENGTH_OCTETS_MAX: usize = 3;

/// One value: its tag, its contents, and all of it with tag and length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) contents: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// Reads values from the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next value, of whatever tag; `None` at the end, or where there is no DER.
    pub(crate) fn value(&mut self) -> Option<Value<'a>> {
        let bytes = self.0;
        let (&tag, rest) = bytes.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            _ => {
                let octets = usize::from(first & 0x7F);
                if octets == 0 || octets > LENGTH_OCTETS_MAX {
                    return None;
                }
                let (length, rest) = rest.split_at_checked(octets)?;
                (length.iter().fold(0, |sum, &octet| sum << 8 | usize::from(octet)), rest)
            }
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Value { tag, contents, whole: &bytes[..bytes.len() - rest.len()] })
    }

    /// The next value, if it has this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<Value<'a>> {
        let mut ahead = *self;
        let value = ahead.value().filter(|value| value.tag == tag)?;
        *self = ahead;
        Some(value)
    }

    /// A reader of the next value's contents, if it has this tag.
    pub(crate) fn enter(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.expect(tag).map(|value| Reader(value.contents))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], tag: u8, expect: Option<&[u8]>) {
        assert_eq!(Reader(bytes).expect(tag).map(|value| value.contents), expect);
    }

    #[test]
    fn values() {
        check(&[2, 1, 5], INTEGER, Some(&[5]));
        check(&[2, 1, 5], SEQUENCE, None);
        check(&[2, 2, 5], INTEGER, None);
        check(&[4, 0x81, 1, 9], OCTET_STRING, Some(&[9]));
        check(&[4, 0x80, 9], OCTET_STRING, None);
        check(&[4, 0x84, 0, 0, 0, 1, 9], OCTET_STRING, None);
        check(&[], INTEGER, None);
    }
}
