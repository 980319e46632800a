//! Received and outgoing bytes: `Chunk`, a counted slice of a buffer of this core.
//!
//! A chunk never leaves its core and is never copied to be shared. Its buffer goes home (to the receive ring, the bulk
//! pool or the block pool) with the last chunk that names it.
//! Invariant: `header` names a live buffer whose count includes this chunk, and `offset + len <= capacity`.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, Range};
use std::ptr::NonNull;

use crate::pool::Pools;

/// What a buffer is, and so where it goes when its last holder lets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A receive chunk (provided-buffer ring or the poll driver's pool): held only while its bytes move.
    Recv,
    /// A large receive buffer.
    Bulk,
    /// A pooled block of bytes.
    Bytes,
    /// A pooled block that holds Rust values (a task, a future, a queue).
    Cell,
    /// Bytes beyond the largest class, straight from the allocator.
    HeapBytes,
    /// Values beyond the largest class.
    HeapCell,
}

/// The head of every buffer; its bytes follow it directly.
#[repr(C, align(32))]
pub(crate) struct Header {
    pub(crate) refs: Cell<u32>,
    pub(crate) capacity: Cell<u32>,
    pub(crate) kind: Cell<Kind>,
    pub(crate) class: Cell<u8>,
    pub(crate) index: Cell<u16>,
    pub(crate) pools: Cell<*const Pools>,
    pub(crate) next: Cell<*mut Header>,
}

pub(crate) const HEADER_SIZE: usize = size_of::<Header>();
const _: () = assert!(HEADER_SIZE == 32);

impl Header {
    /// The first byte behind the header.
    #[inline]
    pub(crate) fn bytes(this: NonNull<Header>) -> *mut u8 {
        // SAFETY: every header is the start of an allocation of HEADER_SIZE + capacity bytes (pool.rs, block.rs).
        unsafe { this.as_ptr().add(1).cast::<u8>() }
    }
}

/// A counted, read-only slice of one of this core's buffers. Cloning and slicing copy no byte. 16 bytes, `!Send`.
pub struct Chunk {
    header: NonNull<Header>,
    offset: u32,
    len: u32,
}

const _: () = assert!(size_of::<Option<Chunk>>() == 16);

impl Chunk {
    /// Takes over one count of `header`.
    ///
    /// # Safety
    /// The caller owns one count, and the first `offset + len` bytes are initialised and inside the buffer.
    #[inline]
    pub(crate) unsafe fn from_raw(header: NonNull<Header>, offset: u32, len: u32) -> Chunk {
        Chunk { header, offset, len }
    }

    #[inline]
    fn head(&self) -> &Header {
        // SAFETY: the chunk holds a count, so the header is alive; it is only changed through its cells.
        unsafe { self.header.as_ref() }
    }

    /// Bytes in this slice.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the slice is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The part `range` of this slice, sharing the buffer. Panics outside the slice.
    #[inline]
    pub fn slice(&self, range: Range<usize>) -> Chunk {
        assert!(range.start <= range.end && range.end <= self.len(), "slice inside the chunk");
        let mut part = self.clone();
        part.offset += range.start as u32;
        part.len = (range.end - range.start) as u32;
        part
    }

    /// Cuts off and returns the first `n` bytes. Panics when there are fewer.
    #[inline]
    pub fn split_to(&mut self, n: usize) -> Chunk {
        let head = self.slice(0..n);
        self.advance(n);
        head
    }

    /// Drops the first `n` bytes from the slice. Panics when there are fewer.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "advance inside the chunk");
        self.offset += n as u32;
        self.len -= n as u32;
    }

    /// Keeps only the first `n` bytes; no effect when there are fewer.
    #[inline]
    pub fn truncate(&mut self, n: usize) {
        self.len = self.len.min(n.min(u32::MAX as usize) as u32);
    }

    /// The bytes for writing, when nobody else holds the buffer.
    pub fn unique_mut(&mut self) -> Option<&mut [u8]> {
        if self.head().refs.get() != 1 {
            return None;
        }
        // SAFETY: the only count is ours and `self` is borrowed mutably, so no other slice of these bytes exists.
        Some(unsafe { std::slice::from_raw_parts_mut(self.data(), self.len as usize) })
    }

    /// Appends `bytes` when this slice ends where its uniquely held block has room. Says whether it did.
    pub(crate) fn append_unique(&mut self, bytes: &[u8]) -> bool {
        let head = self.head();
        let end = (self.offset + self.len) as usize;
        let fits = head.refs.get() == 1
            && matches!(head.kind.get(), Kind::Bytes | Kind::HeapBytes)
            && bytes.len() <= head.capacity.get() as usize - end;
        if fits {
            // SAFETY: the only count is ours, `end + bytes.len() <= capacity`, and `bytes` is borrowed from elsewhere:
            // a slice of this buffer would need a second count.
            unsafe { Header::bytes(self.header).add(end).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
            self.len += bytes.len() as u32;
        }
        fits
    }

    /// Whether the bytes lie in a receive chunk, which must go home before the turn ends.
    #[inline]
    pub(crate) fn is_recv(&self) -> bool {
        self.head().kind.get() == Kind::Recv
    }

    #[inline]
    pub(crate) fn data(&self) -> *mut u8 {
        // SAFETY: offset <= capacity by the invariant.
        unsafe { Header::bytes(self.header).add(self.offset as usize) }
    }
}

impl Clone for Chunk {
    #[inline]
    fn clone(&self) -> Chunk {
        let refs = &self.head().refs;
        assert!(refs.get() != u32::MAX, "counts never wrap");
        refs.set(refs.get() + 1);
        Chunk { header: self.header, offset: self.offset, len: self.len }
    }
}

impl Drop for Chunk {
    #[inline]
    fn drop(&mut self) {
        let refs = &self.head().refs;
        let left = refs.get() - 1;
        refs.set(left);
        if left == 0 {
            // SAFETY: the last count is gone, so the buffer is nobody's.
            unsafe { Pools::release(self.header) };
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the invariant of the type; nobody writes to counted bytes (`unique_mut` needs the only count).
        unsafe { std::slice::from_raw_parts(self.data(), self.len as usize) }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq<[u8]> for Chunk {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes, {:?})", self.len, self.head().kind.get())
    }
}
