//! Blocks: right-sized memory of this core, for bytes that must wait and for tasks and futures.
//!
//! A block is one allocation of a size class (header included), kept on a free list of its class when it is let go. It
//! never moves and is never shared with another core.
//! Invariant: bytes of a block of bytes are always initialised (fresh ones are zeroed), so its spare room may be lent out
//! as `&mut [u8]`. Blocks of values have lists of their own, because padding may leave them uninitialised.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use crate::chunk::{Chunk, HEADER_SIZE, Header, Kind};
use crate::pool::Pools;

/// Total sizes of the classes, header included: two an octave, so that at most a third of a block is slack. The last one
/// holds 64 KiB of payload whole.
const CLASSES: [usize; 20] = [
    128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152, 65536,
    65600,
];
const CLASS_MAX: usize = CLASSES[CLASSES.len() - 1];
const _: () = assert!(CLASS_MAX >= 65536 + HEADER_SIZE);

/// What a block is for; the two sorts never mix (see the module's invariant).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Bytes = 0,
    Cell = 1,
}

#[inline]
fn class_of(total: usize) -> Option<usize> {
    if total <= CLASSES[0] {
        return Some(0);
    }
    if total > 65536 {
        return (total <= CLASS_MAX).then_some(CLASSES.len() - 1);
    }
    let octave = (usize::BITS - 1 - (total - 1).leading_zeros()) as usize; // floor(log2(total - 1)) >= 7
    let base = 1usize << octave;
    Some((octave - 7) * 2 + if total <= base + base / 2 { 1 } else { 2 })
}

/// The free lists of one core.
pub(crate) struct BlockPool {
    free: [[Cell<*mut Header>; CLASSES.len()]; 2],
    in_use_bytes: Cell<usize>,
    cached_bytes: Cell<usize>,
    /// Free bytes kept at most; what comes home beyond goes to the allocator.
    cached_bytes_max: usize,
}

impl BlockPool {
    pub(crate) fn new(cached_bytes_max: usize) -> BlockPool {
        BlockPool {
            free: std::array::from_fn(|_| std::array::from_fn(|_| Cell::new(ptr::null_mut()))),
            in_use_bytes: Cell::new(0),
            cached_bytes: Cell::new(0),
            cached_bytes_max,
        }
    }

    /// A buffer of at least `capacity_min` bytes with one count.
    #[inline]
    pub(crate) fn take(&self, pools: *const Pools, capacity_min: usize, purpose: Purpose) -> NonNull<Header> {
        let Some(class) = class_of(capacity_min + HEADER_SIZE) else {
            return self.take_heap(pools, capacity_min, purpose);
        };
        let total = CLASSES[class];
        self.in_use_bytes.set(self.in_use_bytes.get() + total);
        let list = &self.free[purpose as usize][class];
        match NonNull::new(list.get()) {
            Some(header) => {
                // SAFETY: what is on a free list is a whole, unused buffer of this class; only this core sees it.
                let head = unsafe { header.as_ref() };
                list.set(head.next.get());
                head.refs.set(1);
                self.cached_bytes.set(self.cached_bytes.get() - total);
                header
            }
            None => {
                let kind = if purpose == Purpose::Bytes { Kind::Bytes } else { Kind::Cell };
                fresh(pools, total, kind, class as u8)
            }
        }
    }

    /// Takes back a block of a class.
    ///
    /// # Safety
    /// `header` came from `take`, has no count left and holds no live value.
    #[inline]
    pub(crate) unsafe fn put(&self, header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        let head = unsafe { header.as_ref() };
        let class = head.class.get() as usize;
        let total = head.capacity.get() as usize + HEADER_SIZE;
        self.in_use_bytes.set(self.in_use_bytes.get() - total);
        let cached = self.cached_bytes.get() + total;
        if cached > self.cached_bytes_max {
            // SAFETY: allocated by `fresh` with this layout.
            unsafe { dealloc(header.as_ptr().cast(), layout(total)) };
            return;
        }
        self.cached_bytes.set(cached);
        let purpose = if head.kind.get() == Kind::Bytes { Purpose::Bytes } else { Purpose::Cell };
        let list = &self.free[purpose as usize][class];
        head.next.set(list.get());
        list.set(header.as_ptr());
    }

    /// Gives free blocks back to the allocator until at most `keep_bytes` are cached.
    pub(crate) fn trim(&self, keep_bytes: usize) {
        for lists in &self.free {
            for (class, list) in lists.iter().enumerate().rev() {
                while self.cached_bytes.get() > keep_bytes {
                    let Some(header) = NonNull::new(list.get()) else { break };
                    // SAFETY: on the free list, so whole and unused; allocated by `fresh` with this class's layout.
                    unsafe {
                        list.set(header.as_ref().next.get());
                        dealloc(header.as_ptr().cast(), layout(CLASSES[class]));
                    }
                    self.cached_bytes.set(self.cached_bytes.get() - CLASSES[class]);
                }
            }
        }
    }

    #[inline]
    pub(crate) fn cached_bytes(&self) -> usize {
        self.cached_bytes.get()
    }

    #[inline]
    pub(crate) fn in_use_bytes(&self) -> usize {
        self.in_use_bytes.get()
    }

    #[cold]
    fn take_heap(&self, pools: *const Pools, capacity: usize, purpose: Purpose) -> NonNull<Header> {
        assert!(capacity <= u32::MAX as usize - HEADER_SIZE, "a buffer's size fits 32 bits");
        self.in_use_bytes.set(self.in_use_bytes.get() + capacity + HEADER_SIZE);
        let kind = if purpose == Purpose::Bytes { Kind::HeapBytes } else { Kind::HeapCell };
        fresh(pools, capacity + HEADER_SIZE, kind, u8::MAX)
    }

    /// Frees a buffer that is larger than any class.
    ///
    /// # Safety
    /// `header` came from `take`, is of a heap kind, and has no count left.
    pub(crate) unsafe fn put_heap(&self, header: NonNull<Header>) {
        // SAFETY: the caller's promise; the layout is the one of `fresh`.
        unsafe {
            let total = header.as_ref().capacity.get() as usize + HEADER_SIZE;
            self.in_use_bytes.set(self.in_use_bytes.get() - total);
            dealloc(header.as_ptr().cast(), layout(total));
        }
    }
}

fn layout(total: usize) -> Layout {
    Layout::from_size_align(total, align_of::<Header>()).expect("block sizes are far below isize::MAX")
}

/// A new allocation of `total` bytes with one count.
#[cold]
pub(crate) fn fresh(pools: *const Pools, total: usize, kind: Kind, class: u8) -> NonNull<Header> {
    let layout = layout(total);
    // SAFETY: the layout has a size; bytes are zeroed by the module's invariant, bulk buffers and values need not be
    // (only what was written to them is ever read).
    let raw = unsafe {
        match kind {
            Kind::Bytes | Kind::HeapBytes => alloc_zeroed(layout),
            _ => alloc(layout),
        }
    };
    let Some(header) = NonNull::new(raw.cast::<Header>()) else { handle_alloc_error(layout) };
    // SAFETY: fresh memory, large enough and aligned for a header.
    unsafe {
        header.write(Header {
            refs: Cell::new(1),
            capacity: Cell::new((total - HEADER_SIZE) as u32),
            kind: Cell::new(kind),
            class: Cell::new(class),
            index: Cell::new(0),
            pools: Cell::new(pools),
            next: Cell::new(ptr::null_mut()),
        });
    }
    header
}

/// Frees a buffer made by `fresh` outside the classes (bulk buffers).
///
/// # Safety
/// `header` came from `fresh(_, total, ..)` and nobody uses it.
pub(crate) unsafe fn free_fresh(header: NonNull<Header>, total: usize) {
    // SAFETY: the caller's promise.
    unsafe { dealloc(header.as_ptr().cast(), layout(total)) };
}

/// An exclusive, growing block: bytes are appended up to a fixed capacity and then frozen into a [`Chunk`]. `!Send`.
pub struct BlockMut {
    header: NonNull<Header>,
    len: u32,
}

impl BlockMut {
    /// Takes over the only count of `header`, a buffer of bytes.
    #[inline]
    pub(crate) fn new(header: NonNull<Header>) -> BlockMut {
        BlockMut { header, len: 0 }
    }

    /// Bytes that fit, at least what was asked for.
    #[inline]
    pub fn capacity(&self) -> usize {
        // SAFETY: we hold the only count.
        unsafe { self.header.as_ref() }.capacity.get() as usize
    }

    /// Bytes written.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing was written yet.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that still fit.
    #[inline]
    pub fn spare(&self) -> usize {
        self.capacity() - self.len()
    }

    /// Appends `bytes`. Panics past the capacity.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.spare(), "a block never grows past its capacity");
        // SAFETY: inside the capacity; the block is exclusive, so `bytes` lies elsewhere.
        unsafe {
            let end = Header::bytes(self.header).add(self.len as usize);
            end.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        self.len += bytes.len() as u32;
    }

    /// Appends one byte. Panics past the capacity.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    /// Lends the spare room to `write`, which returns how many bytes of it, from the front, now count. Panics when that is
    /// more than there were.
    #[inline]
    pub fn extend_with(&mut self, write: impl FnOnce(&mut [u8]) -> usize) {
        // SAFETY: inside the capacity, initialised by the module's invariant, and exclusive.
        let spare =
            unsafe { std::slice::from_raw_parts_mut(Header::bytes(self.header).add(self.len as usize), self.spare()) };
        let n = write(spare);
        assert!(n <= self.spare(), "no more bytes count than there was room");
        self.len += n as u32;
    }

    /// Keeps only the first `len` bytes; no effect when there are fewer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len.min(u32::MAX as usize) as u32);
    }

    /// Forgets what was written.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The written bytes as a shareable chunk; the spare room stays unused.
    #[inline]
    pub fn freeze(self) -> Chunk {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: our count moves into the chunk; `len` bytes are written.
        unsafe { Chunk::from_raw(this.header, 0, this.len) }
    }
}

impl Drop for BlockMut {
    fn drop(&mut self) {
        // SAFETY: we held the only count.
        unsafe {
            self.header.as_ref().refs.set(0);
            Pools::release(self.header);
        }
    }
}

impl Deref for BlockMut {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: exclusive, and `len` bytes are written.
        unsafe { std::slice::from_raw_parts(Header::bytes(self.header), self.len as usize) }
    }
}

impl DerefMut for BlockMut {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: exclusive, and `len` bytes are written.
        unsafe { std::slice::from_raw_parts_mut(Header::bytes(self.header), self.len as usize) }
    }
}

impl fmt::Debug for BlockMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockMut({} of {} bytes)", self.len, self.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_gets_the_smallest_class_that_holds_it() {
        for total in 1..=CLASS_MAX {
            let expect = CLASSES.iter().position(|&size| size >= total);
            assert_eq!(class_of(total), expect, "total {total}");
        }
        assert_eq!(class_of(CLASS_MAX + 1), None);
    }
}
