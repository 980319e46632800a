//! Version 4 UUIDs (RFC 9562 §5.4) as texts. Chance comes in.

/// Bytes of a UUID's text.
pub(crate) const UUID_SIZE: usize = 36;

/// The UUID of these random bits, of which the version and the variant take six.
#[inline]
pub(crate) fn uuid_v4(high: u64, low: u64) -> [u8; UUID_SIZE] {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    let parts = [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32].map(digits);
    let mut text = [b'-'; UUID_SIZE];
    text[..8].copy_from_slice(&parts[0]);
    text[9..13].copy_from_slice(&parts[1][..4]);
    text[14..18].copy_from_slice(&parts[1][4..]);
    text[19..23].copy_from_slice(&parts[2][..4]);
    text[24..28].copy_from_slice(&parts[2][4..]);
    text[28..].copy_from_slice(&parts[3]);
    text
}

/// A number as eight digits: a digit a byte, all eight at once.
fn digits(number: u32) -> [u8; 8] {
    let mut nibbles = u64::from(number);
    nibbles = (nibbles << 16 | nibbles) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles << 8 | nibbles) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles << 4 | nibbles) & (ONES * 0x0f);
    // 16 is reached by those from 10 on: they are letters.
    let letters = (nibbles + ONES * 6) >> 4 & ONES;
    (nibbles + ONES * u64::from(b'0') + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

const ONES: u64 = 0x0101_0101_0101_0101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_variant_stand_in_their_places() {
        for (high, low, expect) in [
            (0, 0, "00000000-0000-4000-8000-000000000000"),
            (u64::MAX, u64::MAX, "ffffffff-ffff-4fff-bfff-ffffffffffff"),
            (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, "01234567-89ab-4def-bedc-ba9876543210"),
        ] {
            assert_eq!(std::str::from_utf8(&uuid_v4(high, low)), Ok(expect));
        }
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for shift in 0..32 {
            for number in [0x9a_u32, 0x0f0f_f0f0, 0x0123_4567, 0x89ab_cdef].map(|number| number.rotate_left(shift)) {
                assert_eq!(digits(number), format!("{number:08x}").as_bytes());
            }
        }
    }
}
