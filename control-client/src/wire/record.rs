//! Protobuf's wire form, one record after the other: a field's number and a payload whose meaning only a schema knows.
//!
//! The words are those of protobuf.dev/programming-guides/encoding. Nothing here allocates, and nothing is remembered
//! but where the next record begins. Groups, which proto3 does not have, are a fault.

use std::fmt;

/// A field's number and what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Record<'b> {
    pub(crate) number: u32,
    pub(crate) payload: Payload<'b>,
}

/// The payload, by its wire type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Payload<'b> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    I64(u64),
    /// Wire type 2.
    Len(&'b [u8]),
    /// Wire type 5.
    I32(u32),
}

impl Payload<'_> {
    /// The name that protobuf's documents have for it.
    pub(crate) fn wire_type(&self) -> &'static str {
        match self {
            Payload::Varint(_) => "VARINT",
            Payload::I64(_) => "I64",
            Payload::Len(_) => "LEN",
            Payload::I32(_) => "I32",
        }
    }
}

/// Why bytes are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They end within a record.
    Truncated,
    /// More than the 64 bits that ten bytes hold.
    LongVarint,
    /// A number that no field has: 0, or above [`NUMBER_MAX`].
    Number,
    /// Wire types 3 and 4.
    Group,
    /// Wire types 6 and 7.
    WireType,
}

/// The largest number of a field, of 29 bits.
const NUMBER_MAX: u64 = (1 << 29) - 1;
/// The longest varint: 64 bits, seven a byte.
const VARINT_BYTES_MAX: usize = 10;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Truncated => "it ends within a field",
            Fault::LongVarint => "a number has more than 64 bits",
            Fault::Number => "a field has a number that no field can have",
            Fault::Group => "a group, which proto3 does not have",
            Fault::WireType => "a wire type that protobuf does not have",
        })
    }
}

/// The records of one message.
#[derive(Clone, Debug)]
pub(crate) struct Records<'b> {
    rest: &'b [u8],
}

impl<'b> Records<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next record; `None` behind the last. After a fault there is no telling where the next one begins.
    pub(crate) fn next(&mut self) -> Result<Option<Record<'b>>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = tag >> 3;
        if !(1..=NUMBER_MAX).contains(&number) {
            return Err(Fault::Number);
        }
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::I64(self.fixed64()?),
            2 => {
                let size = usize::try_from(self.varint()?).map_err(|_| Fault::Truncated)?;
                Payload::Len(self.take(size)?)
            }
            3 | 4 => return Err(Fault::Group),
            5 => Payload::I32(self.fixed32()?),
            _ => return Err(Fault::WireType),
        };
        Ok(Some(Record { number: number as u32, payload }))
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A varint without a tag, as in a packed list.
    pub(crate) fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for at in 0..VARINT_BYTES_MAX {
            let byte = *self.rest.get(at).ok_or(Fault::Truncated)?;
            // The tenth byte has room for the last of 64 bits.
            if at == VARINT_BYTES_MAX - 1 && byte > 1 {
                return Err(Fault::LongVarint);
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        unreachable!("the tenth byte is the last, or too large");
    }

    /// Four bytes without a tag.
    pub(crate) fn fixed32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four were taken")))
    }

    /// Eight bytes without a tag.
    pub(crate) fn fixed64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight were taken")))
    }

    fn take(&mut self, size: usize) -> Result<&'b [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(size).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All records in one line, or what stopped it.
    #[track_caller]
    fn check(bytes: &[u8], expect: &str) {
        let (mut records, mut out) = (Records::new(bytes), Vec::new());
        loop {
            match records.next() {
                Ok(Some(Record { number, payload })) => out.push(format!("{number}={payload:?}")),
                Ok(None) => break,
                Err(fault) => {
                    out.push(format!("{fault:?}"));
                    break;
                }
            }
        }
        assert_eq!(out.join(" "), expect);
    }

    #[test]
    fn each_wire_type() {
        check(b"", "");
        check(&[0x08, 0x96, 0x01], "1=Varint(150)");
        check(&[0x12, 2, b'h', b'i', 0x12, 0], "2=Len([104, 105]) 2=Len([])");
        check(&[0x1d, 1, 0, 0, 0, 0x19, 2, 0, 0, 0, 0, 0, 0, 0], "3=I32(1) 3=I64(2)");
        // A padded varint is a varint.
        check(&[0x88, 0x80, 0x00, 0x81, 0x00], "1=Varint(1)");
        check(&[0xf8, 0xff, 0xff, 0xff, 0x0f, 0], "536870911=Varint(0)");
    }

    #[test]
    fn what_no_message_holds() {
        check(&[0x08], "Truncated");
        check(&[0x08, 0x80], "Truncated");
        check(&[0x12, 3, b'h', b'i'], "Truncated");
        check(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "Truncated");
        check(&[0x1d, 1, 0, 0], "Truncated");
        check(&[0x19, 1, 0, 0, 0, 0, 0, 0], "Truncated");
        check(&[0x00, 0x01], "Number");
        check(&[0x80, 0x80, 0x80, 0x80, 0x10, 0], "Number");
        check(&[0x0b, 0x0c], "Group");
        check(&[0x0c], "Group");
        check(&[0x0e], "WireType");
        check(&[0x0f], "WireType");
    }

    #[test]
    fn a_varint_has_64_bits() {
        let ten = |last| [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, last];
        check(&ten(0x01), "1=Varint(18446744073709551615)");
        check(&ten(0x02), "LongVarint");
        check(&ten(0x81), "LongVarint");
    }
}
