//! Version 4 UUIDs (RFC 9562 §5.4) as texts. Chance comes in.

/// Bytes of a UUID's text.
pub(crate) const UUID_SIZE: usize = 36;

/// The UUID of these random bits, of which the version and the variant take six.
pub(crate) fn uuid_v4(high: u64, low: u64) -> [u8; UUID_SIZE] {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    let mut text = [b'-'; UUID_SIZE];
    let mut at = 0;
    for (index, byte) in high.to_be_bytes().into_iter().chain(low.to_be_bytes()).enumerate() {
        // After 4, 6, 8 and 10 bytes.
        at += usize::from(matches!(index, 4 | 6 | 8 | 10));
        text[at..at + 2].copy_from_slice(&PAIRS[usize::from(byte)]);
        at += 2;
    }
    text
}

/// Each byte as two digits.
const PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

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
