//! Sixteen bytes looked at together: which of them are of a class, as one bit a byte.
//!
//! It knows nothing of messages. Invariant: what it says of a byte depends on that byte alone.

use wide::u8x16;

/// Bytes of a lane.
pub(crate) const LANE_BYTES: usize = 16;

/// A bit for each byte of a lane.
pub(crate) const ALL: u32 = (1 << LANE_BYTES) - 1;

/// Sixteen bytes.
#[derive(Clone, Copy)]
pub(crate) struct Lane(u8x16);

/// Those of a lane's bytes that have a property.
#[derive(Clone, Copy)]
pub(crate) struct Those(u8x16);

impl Lane {
    #[inline(always)]
    pub(crate) fn of(bytes: &[u8; LANE_BYTES]) -> Self {
        Self(u8x16::new(*bytes))
    }

    /// The first of `bytes`, and zeros behind them where they are too few.
    #[inline(always)]
    pub(crate) fn first_of(bytes: &[u8]) -> Self {
        match bytes.first_chunk() {
            Some(lane) => Self::of(lane),
            None => Self::of(&padded(bytes)),
        }
    }

    /// With bit 5 set in every byte, which makes letters lower case.
    #[inline(always)]
    pub(crate) fn lower(self) -> Self {
        Self(self.0 | u8x16::splat(0x20))
    }

    #[inline(always)]
    pub(crate) fn equal(self, byte: u8) -> Those {
        Those(self.0.simd_eq(u8x16::splat(byte)))
    }

    #[inline(always)]
    pub(crate) fn same(self, bytes: &[u8; LANE_BYTES]) -> Those {
        Those(self.0.simd_eq(u8x16::new(*bytes)))
    }

    /// Both ends are in.
    #[inline(always)]
    pub(crate) fn within(self, first: u8, last: u8) -> Those {
        let from_first = self.0 - u8x16::splat(first);
        Those(from_first.min(u8x16::splat(last - first)).simd_eq(from_first))
    }
}

/// Fewer bytes than a lane has, and zeros behind them. Without a loop: two words that overlap are all of them.
#[cold]
#[inline(never)]
fn padded(bytes: &[u8]) -> [u8; LANE_BYTES] {
    fn joined<const N: usize>(bytes: &[u8], word: impl Fn([u8; N]) -> u64) -> Option<u128> {
        let (first, last) = (bytes.first_chunk()?, bytes.last_chunk()?);
        Some(u128::from(word(*first)) | u128::from(word(*last)) << (8 * (bytes.len() - N)))
    }
    let long = joined(bytes, u64::from_le_bytes);
    let middle = || joined(bytes, |word| u64::from(u32::from_le_bytes(word)));
    let short = || bytes.iter().rev().fold(0, |all, &byte| all << 8 | u128::from(byte));
    long.or_else(middle).unwrap_or_else(short).to_le_bytes()
}

impl Those {
    #[inline(always)]
    pub(crate) fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// One bit for each byte, the first one's lowest.
    #[inline(always)]
    pub(crate) fn bits(self) -> u32 {
        self.0.to_bitmask()
    }
}

/// Where this byte comes first from `at` on, or the end.
#[inline(always)]
pub(crate) fn find(bytes: &[u8], mut at: usize, byte: u8) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<LANE_BYTES>) {
        let bits = Lane::of(chunk).equal(byte).bits();
        if bits != 0 {
            return at + bits.trailing_zeros() as usize;
        }
        at += LANE_BYTES;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(|&other| other == byte).map_or(bytes.len(), |more| at + more)
}

/// Whether two texts are the same: looked at a lane at a time, the last lane over what was seen already.
#[inline]
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (Some(last), Some(other_last)) = (one.last_chunk::<LANE_BYTES>(), other.last_chunk()) else {
        return one == other;
    };
    for (one, other) in one.as_chunks().0.iter().zip(other.as_chunks().0) {
        if Lane::of(one).same(other).bits() != ALL {
            return false;
        }
    }
    Lane::of(last).same(other_last).bits() == ALL
}

/// Bytes at the front of both.
#[inline]
pub(crate) fn common_len(one: &[u8], other: &[u8]) -> usize {
    let mut at = 0;
    for (one, other) in one.as_chunks::<LANE_BYTES>().0.iter().zip(other.as_chunks().0) {
        let same = Lane::of(one).same(other).bits();
        if same != ALL {
            return at + same.trailing_ones() as usize;
        }
        at += LANE_BYTES;
    }
    at + one[at..].iter().zip(&other[at..]).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_wherever_a_byte_does() {
        for len in 0..70 {
            let text = vec![b'a'; len];
            assert!(is_same(&text, &text.clone()) && !is_same(&text, &vec![b'a'; len + 1]));
            assert_eq!(common_len(&text, &vec![b'a'; len + 1]), len);
            for at in 0..len {
                let mut other = text.clone();
                other[at] = b'b';
                assert!(!is_same(&text, &other), "{at} of {len}");
                assert_eq!(common_len(&text, &other), at);
            }
        }
    }

    #[test]
    fn few_bytes_have_zeros_behind_them() {
        let bytes: [u8; LANE_BYTES] = std::array::from_fn(|at| at as u8 + 1);
        for len in 0..LANE_BYTES {
            let mut lane = [0; LANE_BYTES];
            lane[..len].copy_from_slice(&bytes[..len]);
            assert_eq!(padded(&bytes[..len]), lane);
        }
    }
}
