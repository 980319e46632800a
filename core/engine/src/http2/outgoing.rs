//! The bytes that one turn of a connection has to send: frames are written one behind the other, and large payloads lie between them
//! as the slices in which they came.
//!
//! Invariant: what is put leaves in the order in which it was put.

use ringway_protocols::Out;
use ringway_runtime::{BlockMut, Chunk, Core, Stream};

/// A block for frames: the frames of a usual turn. A full one is followed by larger ones.
const BLOCK_BYTES: usize = 1024;
const BLOCK_BYTES_MAX: usize = 16 * 1024;

/// A payload of at most this size is copied behind its frame's head: one buffer to send is cheaper for the kernel than two are, by more
/// than the copy costs.
const COPIED_MAX: usize = 2048;

/// See the module.
pub(super) struct Outgoing {
    core: Core,
    last: Option<BlockMut>,
    full: Vec<Chunk>,
    len: usize,
}

impl Outgoing {
    pub(super) fn new(core: Core) -> Self {
        Self { core, last: None, full: Vec::new(), len: 0 }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that wait for the end of the turn.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts a payload behind the head of its frame.
    pub(super) fn payload(&mut self, chunk: Chunk) {
        if chunk.len() <= COPIED_MAX {
            return self.put(&chunk);
        }
        self.len += chunk.len();
        self.full.extend(self.last.take().map(BlockMut::freeze));
        self.full.push(chunk);
    }

    /// Hands all of it to the socket.
    pub(super) fn flush(&mut self, socket: &Stream) {
        for chunk in self.full.drain(..).chain(self.last.take().map(BlockMut::freeze)) {
            socket.send(chunk);
        }
        self.len = 0;
    }

    /// Nobody will read it.
    pub(super) fn clear(&mut self) {
        (self.last, self.len) = (None, 0);
        self.full.clear();
    }

    #[cold]
    fn grow(&mut self, size: usize) {
        let before = self.last.as_ref().map_or(BLOCK_BYTES / 2, BlockMut::capacity);
        self.full.extend(self.last.take().filter(|last| !last.is_empty()).map(BlockMut::freeze));
        self.last = Some(self.core.block(size.max((before * 2).min(BLOCK_BYTES_MAX))));
    }
}

impl Out for Outgoing {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if self.last.as_ref().is_none_or(|last| last.spare() < bytes.len()) {
            self.grow(bytes.len());
        }
        if let Some(last) = &mut self.last {
            last.extend_from_slice(bytes);
        }
        self.len += bytes.len();
    }
}
