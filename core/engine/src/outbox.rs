//! The block in which a head is written before it is sent, as the codec's `Out`.

use ringway_protocols::Out;
use ringway_protocols::http1::proper_case;
use ringway_runtime::{BlockMut, Chunk, Core};

/// A head being written. Sized by the codec's upper bound, so that it never grows.
pub(crate) struct Outbox(BlockMut);

impl Outbox {
    pub(crate) fn new(core: &Core, capacity: usize) -> Self {
        Self(core.block(capacity))
    }

    /// The head in the case that its reader wants.
    #[inline]
    pub(crate) fn finish_in_case(mut self, proper: bool) -> Chunk {
        if proper {
            proper_case(&mut self.0);
        }
        self.finish()
    }

    pub(crate) fn finish(self) -> Chunk {
        self.0.freeze()
    }
}

impl Out for Outbox {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}
