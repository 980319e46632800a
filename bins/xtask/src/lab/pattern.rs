//! Bytes that are known at each position, so that a body of any length is compared as it comes and never kept.

use std::io::{self, Write};

use super::chance::Chance;

/// A prime, so that two blocks exchanged or left out never look right.
pub(crate) const PATTERN_SIZE: usize = 1_048_573;
/// What is written at once.
const PIECE_SIZE: usize = 256 << 10;

/// An endless repetition of [`PATTERN_SIZE`] bytes that a seed gave.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    /// The pattern of this seed.
    pub(crate) fn new(seed: u64) -> Pattern {
        Pattern(Chance::new(seed).bytes(PATTERN_SIZE))
    }

    /// The bytes from position `at`, as many as there are in one piece, at most `size` of them. At least one, if `size` is.
    pub(crate) fn piece(&self, at: u64, size: u64) -> &[u8] {
        let start = (at % PATTERN_SIZE as u64) as usize;
        let count = (PATTERN_SIZE - start).min(PIECE_SIZE).min(usize::try_from(size).unwrap_or(usize::MAX));
        &self.0[start..start + count]
    }

    /// Writes the `size` bytes from position `at`.
    pub(crate) fn write(&self, to: &mut impl Write, mut at: u64, mut size: u64) -> io::Result<()> {
        while size > 0 {
            let piece = self.piece(at, size);
            to.write_all(piece)?;
            at += piece.len() as u64;
            size -= piece.len() as u64;
        }
        Ok(())
    }

    /// Whether these are the bytes from position `at`.
    pub(crate) fn holds(&self, mut at: u64, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let piece = self.piece(at, bytes.len() as u64);
            if piece != &bytes[..piece.len()] {
                return false;
            }
            at += piece.len() as u64;
            bytes = &bytes[piece.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_knows_each_position() {
        let pattern = Pattern::new(1);
        let mut bytes = Vec::new();
        let size = PATTERN_SIZE as u64 * 2 + 77;
        pattern.write(&mut bytes, 3, size).unwrap();
        assert_eq!(bytes.len() as u64, size);
        assert!(pattern.holds(3, &bytes));
        assert!(pattern.holds(8, &bytes[5..]));
        assert!(!pattern.holds(9, &bytes[5..]));
    }
}
