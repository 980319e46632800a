//! Frames of ours that the peer has not taken: counted, so that a peer that makes us answer and does not read is found out.
//!
//! It keeps no list: frames are counted before and behind a mark, and the mark moves on when all before it was taken. Invariant: the count is never
//! less than what is unsent, and at most what was unsent at the last two marks.

/// So many frames, and how many of them the peer made us send.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    frames: u32,
    answers: u32,
}

/// What was written, and what of it is out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outbound {
    /// Bytes since the connection began.
    written: u64,
    mark: u64,
    before: Count,
    behind: Count,
}

impl Outbound {
    #[inline]
    pub(super) fn frame(&mut self, bytes: usize) {
        self.written += bytes as u64;
        self.behind.frames += 1;
    }

    #[inline]
    pub(super) fn answer(&mut self, bytes: usize) {
        self.frame(bytes);
        self.behind.answers += 1;
    }

    /// So many bytes at the end of what was written are not out yet.
    #[inline]
    pub(super) fn unsent(&mut self, bytes: usize) {
        if bytes == 0 {
            (self.before, self.behind, self.mark) = (Count::default(), Count::default(), self.written);
        } else if self.written.saturating_sub(bytes as u64) >= self.mark {
            (self.before, self.behind, self.mark) = (self.behind, Count::default(), self.written);
        }
    }

    pub(super) fn frames(&self) -> u32 {
        self.before.frames + self.behind.frames
    }

    pub(super) fn answers(&self) -> u32 {
        self.before.answers + self.behind.answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_never_less_than_what_is_unsent() {
        let mut outbound = Outbound::default();
        let (mut seed, mut unsent, mut peak) = (3, std::collections::VecDeque::new(), 0);
        for _ in 0..10_000 {
            let random = crate::fuzz::next(&mut seed);
            for _ in 0..random % 5 {
                outbound.answer(10);
                unsent.push_back(());
            }
            unsent.drain(..unsent.len().min((random >> 8) as usize % 6));
            outbound.unsent(unsent.len() * 10);
            peak = peak.max(unsent.len());
            assert!(outbound.answers() as usize >= unsent.len() && outbound.frames() == outbound.answers());
            assert!(outbound.answers() as usize <= 2 * peak + 5);
        }
        outbound.unsent(0);
        assert_eq!(outbound.frames(), 0);
    }
}
