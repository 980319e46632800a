//! Integers with a prefix of some bits of their first byte (RFC 7541 §5.1).

use crate::error::Rule;

/// The largest value: more than any limit of ours, and far from overflow.
pub(super) const VALUE_MAX: u32 = 1 << 28;
/// Bytes of the longest integer that is written: the prefix and four more hold 28 bits.
pub(super) const BYTES_MAX: usize = 6;

/// The value at the front of `bytes`, whose prefix has `bits` bits, and the bytes behind it.
///
/// # Errors
/// A block that ends within it, or more than [`VALUE_MAX`]: also by zeros that say nothing.
#[inline]
pub(super) fn decode(bytes: &[u8], bits: u32) -> Result<(u32, &[u8]), Rule> {
    let (&first, rest) = bytes.split_first().ok_or(Rule::HpackTruncated)?;
    let mask = (1u32 << bits) - 1;
    let value = u32::from(first) & mask;
    if value < mask { Ok((value, rest)) } else { decode_rest(value, rest) }
}

#[cold]
fn decode_rest(mut value: u32, mut rest: &[u8]) -> Result<(u32, &[u8]), Rule> {
    for shift in [0, 7, 14, 21] {
        let (&byte, after) = rest.split_first().ok_or(Rule::HpackTruncated)?;
        rest = after;
        value += u32::from(byte & 0x7f) << shift;
        if value > VALUE_MAX {
            break;
        }
        if byte & 0x80 == 0 {
            return Ok((value, rest));
        }
    }
    Err(Rule::HpackInteger)
}

/// `value` behind the bits of `first` that are above the prefix; the number of bytes.
#[inline]
pub(super) fn encode(value: u32, bits: u32, first: u8, into: &mut [u8; BYTES_MAX]) -> usize {
    debug_assert!(value <= VALUE_MAX);
    let mask = (1u32 << bits) - 1;
    if value < mask {
        into[0] = first | value as u8;
        return 1;
    }
    into[0] = first | mask as u8;
    let (mut left, mut at) = (value - mask, 1);
    while left >= 0x80 {
        into[at] = left as u8 | 0x80;
        left >>= 7;
        at += 1;
    }
    into[at] = left as u8;
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        for bits in 4..=7 {
            for value in (0..5000).chain([65_535, 1 << 20, VALUE_MAX - 1, VALUE_MAX]) {
                let mut bytes = [0; BYTES_MAX];
                let size = encode(value, bits, 0, &mut bytes);
                assert_eq!(decode(&bytes[..size], bits), Ok((value, &[][..])), "{value} behind {bits} bits");
                for cut in 0..size {
                    assert_eq!(decode(&bytes[..cut], bits), Err(Rule::HpackTruncated));
                }
            }
        }
        // RFC 7541 appendix C.1.
        assert_eq!(decode(&[0b1110_1010], 5), Ok((10, &[][..])));
        assert_eq!(decode(&[0b0001_1111, 0b1001_1010, 0b0000_1010, 7], 5), Ok((1337, &[7][..])));
    }

    #[test]
    fn what_is_too_large_or_too_long_is_refused() {
        for bytes in [
            &[0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f][..],
            &[0x7f, 0x80, 0x80, 0x80, 0x80, 0x00],
            &[0x7f, 0xff, 0xff, 0xff, 0x7f],
        ] {
            let decoded = decode(bytes, 7);
            assert_eq!(decoded, Err(Rule::HpackInteger), "{bytes:02x?}");
        }
    }
}
