//! Version 4 UUIDs (RFC 9562 §5.4) as texts. Chance comes in.

/// Bytes of a UUID's text.
pub(crate) const UUID_SIZE: usize = 36;

/// The UUID of these random bits, of which the version and the variant take six.
pub(crate) fn uuid_v4(high: u64, low: u64) -> [u8; UUID_SIZE] {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    let mut text = [b'-'; UUID_SIZE];
    let mut put = |at: usize, value: u64, digits: usize| {
        for digit in 0..digits {
            let nibble = value >> (4 * (digits - 1 - digit)) & 15;
            text[at + digit] = b"0123456789abcdef"[nibble as usize];
        }
    };
    put(0, high >> 32, 8);
    put(9, high >> 16, 4);
    put(14, high, 4);
    put(19, low >> 48, 4);
    put(24, low, 12);
    text
}

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
}
