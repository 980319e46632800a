//! The part of a request's body that was sent and may have to be sent again.
//!
//! Copied into blocks as it passes, so that no receive chunk waits; bounded for one request by its route and for all of a worker by
//! [`Limits::kept_bytes_max`](crate::Limits::kept_bytes_max); without rules for tries by
//! [`Limits::unprocessed_bytes_max`](crate::Limits::unprocessed_bytes_max). A body that is too large is let go at once: its request is not
//! sent again.

use std::cell::Cell;
use std::rc::Rc;

use ringway_runtime::{BlockMut, Chunk, Core};

/// The smallest and the largest block. They double, so that a body takes at most twice its size.
const BLOCK_BYTES_MIN: usize = 1024;
const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// What all kept bodies of one worker may take.
#[derive(Clone, Debug)]
pub(crate) struct KeptBudget {
    held: Rc<Cell<usize>>,
    max: usize,
}

impl KeptBudget {
    pub(crate) fn new(max: usize) -> Self {
        Self { held: Rc::default(), max }
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = self.held.get() + bytes <= self.max;
        if fits {
            self.held.set(self.held.get() + bytes);
        }
        fits
    }
}

/// One body's bytes, without framing.
#[derive(Debug)]
pub(crate) struct Kept {
    budget: KeptBudget,
    /// Of the budget.
    held: usize,
    bytes_max: u64,
    bytes: u64,
    full: Vec<Chunk>,
    last: Option<BlockMut>,
    /// The trailers as they came, none or some, once the body has ended.
    pub(crate) end: Option<Chunk>,
    /// It was too much: nothing is kept any more.
    overflowed: bool,
}

impl Kept {
    pub(crate) fn new(budget: &KeptBudget) -> Self {
        Self {
            budget: budget.clone(),
            held: 0,
            bytes_max: 0,
            bytes: 0,
            full: Vec::new(),
            last: None,
            end: None,
            overflowed: false,
        }
    }

    /// Begins anew, with at most so many bytes to keep.
    pub(crate) fn begin(&mut self, bytes_max: u64) {
        self.clear();
        (self.bytes_max, self.overflowed) = (bytes_max, false);
    }

    /// Lets go of everything.
    pub(crate) fn clear(&mut self) {
        self.full.clear();
        (self.last, self.end, self.bytes) = (None, None, 0);
        self.budget.held.set(self.budget.held.get() - self.held);
        self.held = 0;
    }

    pub(crate) fn is_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Keeps `data`, or lets everything go where it is too much.
    pub(crate) fn push(&mut self, core: &Core, mut data: &[u8]) {
        if self.overflowed {
            return;
        }
        self.bytes += data.len() as u64;
        if self.bytes > self.bytes_max {
            return self.overflow();
        }
        while !data.is_empty() {
            if self.last.as_ref().is_none_or(|last| last.spare() == 0) {
                let size = data.len().max(self.held).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
                if !self.budget.take(size) {
                    return self.overflow();
                }
                self.held += size;
                self.full.extend(self.last.replace(core.block(size)).map(BlockMut::freeze));
            }
            let last = self.last.as_mut().expect("made just now");
            let (now, later) = data.split_at(data.len().min(last.spare()));
            last.extend_from_slice(now);
            data = later;
        }
    }

    fn overflow(&mut self) {
        self.clear();
        self.overflowed = true;
    }

    /// All bytes, in order.
    pub(crate) fn chunks(&mut self) -> &[Chunk] {
        self.full.extend(self.last.take().map(BlockMut::freeze));
        &self.full
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use ringway_runtime::{IoChoice, Options, Wake, run};

    use super::*;

    fn on_a_core(work: impl FnOnce(Core) + 'static) {
        let options = Options { io: IoChoice::Poll, ..Options::default() };
        let wake = Wake::new().expect("an eventfd");
        run(&options, wake, |core, _| async move { work(core) }).expect("the poll driver runs everywhere");
    }

    fn bytes(kept: &mut Kept) -> Vec<u8> {
        kept.chunks().iter().flat_map(|chunk| chunk.to_vec()).collect()
    }

    #[test]
    fn what_was_kept_comes_again_in_order() {
        on_a_core(|core| {
            let budget = KeptBudget::new(1 << 20);
            let mut kept = Kept::new(&budget);
            kept.begin(300_000);
            let body: Vec<u8> = (0..300_000).map(|at| (at % 251) as u8).collect();
            for piece in body.chunks(7001) {
                kept.push(&core, piece);
            }
            assert!(bytes(&mut kept) == body && !kept.is_overflowed());
            assert!(budget.held.get() <= 2 * body.len(), "{}", budget.held.get());
            // More may come after it was sent once.
            kept.begin(10);
            kept.push(&core, b"one");
            assert_eq!(bytes(&mut kept), b"one");
            kept.push(&core, b"two");
            assert_eq!(bytes(&mut kept), b"onetwo");
            drop(kept);
            assert_eq!(budget.held.get(), 0);
        });
    }

    #[test]
    fn one_byte_too_many_and_nothing_is_kept() {
        on_a_core(|core| {
            let budget = KeptBudget::new(4096);
            let mut kept = Kept::new(&budget);
            for (max, size, overflows) in
                [(10, 10, false), (10, 11, true), (0, 1, true), (8192, 4096, false), (8192, 4097, true)]
            {
                kept.begin(max);
                kept.push(&core, &vec![1; size]);
                assert_eq!(kept.is_overflowed(), overflows, "{size} of {max}");
                kept.push(&core, b"");
                assert_eq!(bytes(&mut kept).len(), if overflows { 0 } else { size });
                assert!(budget.held.get() <= 4096);
            }
            // What another request keeps counts, too.
            let mut other = Kept::new(&budget);
            other.begin(4096);
            other.push(&core, &[1; 1024]);
            kept.begin(4096);
            kept.push(&core, &[1; 4096]);
            assert!(kept.is_overflowed() && !other.is_overflowed());
        });
    }
}
