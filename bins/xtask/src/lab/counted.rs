//! Bytes that a seed and a position give: what a stream of any length carries is known at each place and kept nowhere.
//!
//! Nothing repeats, so that a piece which is lost, doubled or in another's place never looks right.

/// What a stream of this seed carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted(pub(crate) u64);

const WORD: usize = 8;

impl Counted {
    /// The eight bytes from position `8 * index`: splitmix64 of it (Steele, Lea, Flood 2014).
    #[inline]
    fn word(self, index: u64) -> [u8; WORD] {
        let mut word = (self.0 ^ index).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)).to_le_bytes()
    }

    /// Writes the bytes from position `at`.
    pub(crate) fn fill(self, at: u64, bytes: &mut [u8]) {
        let (head, rest) = bytes.split_at_mut(to_whole(at).min(bytes.len()));
        let inside = (at % WORD as u64) as usize;
        head.copy_from_slice(&self.word(at / WORD as u64)[inside..][..head.len()]);
        let first = (at + head.len() as u64) / WORD as u64;
        for (index, piece) in (first..).zip(rest.chunks_mut(WORD)) {
            piece.copy_from_slice(&self.word(index)[..piece.len()]);
        }
    }

    /// The position of the first of these bytes, which begin at position `at`, that is another; `None` if all are right.
    pub(crate) fn differs(self, at: u64, bytes: &[u8]) -> Option<u64> {
        let head = to_whole(at).min(bytes.len());
        let mut own = [0; WORD];
        self.fill(at, &mut own[..head]);
        let mut right = own[..head] == bytes[..head];
        let first = (at + head as u64) / WORD as u64;
        for (index, piece) in (first..).zip(bytes[head..].chunks(WORD)) {
            right &= self.word(index)[..piece.len()] == *piece;
        }
        if right {
            return None;
        }
        let mut all = vec![0; bytes.len()];
        self.fill(at, &mut all);
        all.iter().zip(bytes).position(|(own, other)| own != other).map(|found| at + found as u64)
    }
}

/// Bytes from here to the begin of a word.
fn to_whole(at: u64) -> usize {
    (WORD as u64 - at % WORD as u64) as usize % WORD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_its_byte_however_it_is_come_to() {
        let counted = Counted(7);
        let mut all = vec![0; 1000];
        counted.fill(3, &mut all);
        for (from, to) in [(0, 1000), (0, 0), (1, 2), (5, 6), (2, 9), (4, 13), (13, 999)] {
            let mut part = vec![0; to - from];
            counted.fill(3 + from as u64, &mut part);
            assert_eq!(part, all[from..to], "{from}..{to}");
            assert_eq!(counted.differs(3 + from as u64, &part), None);
            if let Some(last) = part.last_mut() {
                *last ^= 1;
                assert_eq!(counted.differs(3 + from as u64, &part), Some(3 + to as u64 - 1));
            }
        }
        assert!(counted.differs(4, &all).is_some() && Counted(8).differs(3, &all).is_some());
    }
}
