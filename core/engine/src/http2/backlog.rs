//! Content that waits, in order: what came in this turn as it lies, and what waits longer in one block.
//!
//! Invariant: of what was settled nothing lies in a receive chunk, and it takes at most twice its size: a peer that sends a byte at a time gets no
//! block for each.

use ringway_runtime::{BlockMut, Chunk, Core};

use super::queue::Queue;

/// The smallest block; the next one is twice as large.
const BLOCK_BYTES_MIN: usize = 256;

/// As much as the first block takes where nothing lies before it: with its head it is one of 16 KiB. What a stream's window lets come at first is
/// 64 bytes more, and these are behind it in the smallest: in one block they would take half as much again.
const FIRST_BYTES: usize = 16_320;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Settled before, perhaps in part gone.
    front: Option<Chunk>,
    /// Settled behind it, and filled further.
    filling: Option<BlockMut>,
    fresh: Queue<Chunk>,
    len: usize,
}

impl Backlog {
    /// Bytes that wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds content, of which there is some.
    #[inline]
    pub(super) fn push(&mut self, chunk: Chunk) {
        debug_assert!(!chunk.is_empty(), "content");
        self.len += chunk.len();
        self.fresh.push_back(chunk);
    }

    /// The first piece.
    #[inline]
    pub(super) fn front_mut(&mut self) -> Option<&mut Chunk> {
        if self.front.is_none() {
            self.front = self.filling.take().map(BlockMut::freeze).or_else(|| self.fresh.pop_front());
        }
        self.front.as_mut()
    }

    /// Takes the first piece.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Chunk> {
        self.front_mut()?;
        let chunk = self.front.take()?;
        self.len -= chunk.len();
        Some(chunk)
    }

    /// Takes so many bytes of the first piece, which has more.
    pub(super) fn split_front(&mut self, size: usize) -> Option<Chunk> {
        let taken = self.front_mut()?.split_to(size);
        self.len -= taken.len();
        Some(taken)
    }

    /// Whether all of it is in the first piece.
    pub(super) fn is_one(&mut self) -> bool {
        let len = self.len;
        self.front_mut().is_some_and(|front| front.len() == len)
    }

    /// Copies what came in this turn, so that no receive chunk waits.
    pub(super) fn settle(&mut self, core: &Core) {
        if let Some(front) = &mut self.front {
            *front = core.settled(front.clone());
        }
        while let Some(mut chunk) = self.fresh.pop_front() {
            let filled = self.filling.as_ref().map_or(0, BlockMut::len);
            if self.front.is_none() && filled + chunk.len() > FIRST_BYTES {
                let more = FIRST_BYTES.saturating_sub(filled);
                if more > 0 {
                    self.fill(core, &chunk.split_to(more), FIRST_BYTES);
                }
                self.front = self.filling.take().map(BlockMut::freeze);
            }
            // What fits the first block grows no larger than that.
            let most = if self.front.is_none() { FIRST_BYTES } else { usize::MAX };
            self.fill(core, &chunk, most);
        }
    }

    /// Copies `bytes` behind what is filled, in a block of twice as much, or `most`, where there is no room for them.
    fn fill(&mut self, core: &Core, bytes: &[u8], most: usize) {
        let filled = self.filling.as_ref().map_or(0, BlockMut::len);
        let size = filled + bytes.len();
        if self.filling.as_ref().is_none_or(|filling| size > filling.capacity()) {
            let mut larger = core.block(size.max((2 * filled).min(most)).max(BLOCK_BYTES_MIN));
            if let Some(filling) = self.filling.take() {
                larger.extend_from_slice(&filling);
            }
            self.filling = Some(larger);
        }
        self.filling.as_mut().expect("made just now").extend_from_slice(bytes);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use ringway_runtime::{IoChoice, Options, Wake, run};

    use super::*;

    #[test]
    fn a_first_window_takes_little_more_than_it_is() {
        let window = ringway_protocols::http2::Limits::default().stream_window as usize;
        let options = Options { io: IoChoice::Poll, ..Options::default() };
        let wake = Wake::new().expect("an eventfd");
        let work = move |core: Core, _| async move {
            for piece in [window, 8_192, 4_087, 1_000, 100] {
                let (mut backlog, mut left) = (Backlog::default(), window);
                while left > 0 {
                    let size = piece.min(left);
                    backlog.push(core.chunk(&vec![1; size]));
                    backlog.settle(&core);
                    left -= size;
                }
                let block = backlog.filling.as_ref().expect("what the first block does not take");
                assert_eq!(block.len(), window - FIRST_BYTES);
                assert!(block.capacity() < 2 * BLOCK_BYTES_MIN, "{} bytes in pieces of {piece}", block.capacity());
                let front = backlog.front.as_ref().expect("the first block").len();
                assert_eq!((front, backlog.len()), (FIRST_BYTES, window));
            }
            assert!(core.block(FIRST_BYTES).capacity() < 16_384, "a block of 16 KiB");
        };
        run(&options, wake, work).expect("the poll driver runs everywhere");
    }

    #[test]
    fn what_waits_stays_in_order_and_in_few_blocks() {
        let options = Options { io: IoChoice::Poll, ..Options::default() };
        let wake = Wake::new().expect("an eventfd");
        let work = |core: Core, _| async move {
            let mut backlog = Backlog::default();
            let mut expect = Vec::new();
            for at in 0..10_000u32 {
                let byte = at as u8;
                backlog.push(core.chunk(&[byte]));
                expect.push(byte);
                if at % 3 == 0 {
                    backlog.settle(&core);
                }
                if at % 1000 == 999 {
                    let taken = backlog.split_front(1).expect("there is some");
                    assert_eq!(taken[..], expect[..1]);
                    expect.remove(0);
                }
            }
            assert_eq!(backlog.len(), expect.len());
            let (mut pieces, mut all) = (0, Vec::new());
            while let Some(chunk) = backlog.pop() {
                all.extend_from_slice(&chunk);
                pieces += 1;
            }
            assert!(all == expect && backlog.is_empty());
            assert!(pieces <= 5, "{pieces} pieces");
        };
        run(&options, wake, work).expect("the poll driver runs everywhere");
    }
}
