//! A queue of chunks: the first few lie in the queue itself; when there are more, all move to a block of the core's pool, which is
//! given back when the queue is empty.
//!
//! Invariant: the `len` places from `head` on (wrapping at `capacity`) hold live chunks; without a block, `capacity` is `INLINE`.

use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use crate::chunk::{Chunk, HEADER_SIZE, Header};
use crate::pool::Pools;

/// Places of a fresh block: what the smallest one holds.
const PLACES_MIN: usize = (128 - HEADER_SIZE) / size_of::<Chunk>();

pub(crate) struct ChunkQueue<const INLINE: usize> {
    inline: UnsafeCell<[MaybeUninit<Chunk>; INLINE]>,
    /// The block, or null.
    base: Cell<*mut Header>,
    head: Cell<u32>,
    len: Cell<u32>,
    capacity: Cell<u32>,
}

impl<const INLINE: usize> ChunkQueue<INLINE> {
    pub(crate) const fn new() -> ChunkQueue<INLINE> {
        const { assert!(INLINE < PLACES_MIN) };
        ChunkQueue {
            inline: UnsafeCell::new([const { MaybeUninit::uninit() }; INLINE]),
            base: Cell::new(ptr::null_mut()),
            head: Cell::new(0),
            len: Cell::new(0),
            capacity: Cell::new(INLINE as u32),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.get() as usize
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    #[inline]
    fn places(&self) -> *mut Chunk {
        match NonNull::new(self.base.get()) {
            None => self.inline.get().cast(),
            Some(block) => Header::bytes(block).cast(),
        }
    }

    /// The address of the place `index` counted from the front.
    #[inline]
    fn place(&self, index: u32) -> *mut Chunk {
        let mut at = self.head.get() + index;
        if at >= self.capacity.get() {
            at -= self.capacity.get();
        }
        // SAFETY: at < capacity.
        unsafe { self.places().add(at as usize) }
    }

    #[inline]
    fn reserve(&self, pools: &Pools) {
        if self.len.get() == self.capacity.get() {
            self.enlarge(pools);
        }
    }

    #[cold]
    fn enlarge(&self, pools: &Pools) {
        let places = (self.capacity.get() as usize * 2).max(PLACES_MIN);
        let header = pools.cell(places * size_of::<Chunk>());
        // SAFETY: fresh from the pool.
        let capacity = unsafe { header.as_ref() }.capacity.get() as usize / size_of::<Chunk>();
        let to = Header::bytes(header).cast::<Chunk>();
        for index in 0..self.len.get() {
            // SAFETY: moves each live chunk to its new place; the old places are forgotten below.
            unsafe { to.add(index as usize).copy_from_nonoverlapping(self.place(index), 1) };
        }
        if let Some(old) = NonNull::new(self.base.replace(header.as_ptr())) {
            // SAFETY: its chunks were moved out.
            unsafe { Pools::release_cell(old) };
        }
        self.head.set(0);
        self.capacity.set(capacity as u32);
    }

    #[inline]
    pub(crate) fn push(&self, pools: &Pools, chunk: Chunk) {
        self.reserve(pools);
        // SAFETY: `reserve` made room; the place is free.
        unsafe { self.place(self.len.get()).write(chunk) };
        self.len.set(self.len.get() + 1);
    }

    pub(crate) fn push_front(&self, pools: &Pools, chunk: Chunk) {
        self.reserve(pools);
        let head = if self.head.get() == 0 { self.capacity.get() - 1 } else { self.head.get() - 1 };
        self.head.set(head);
        // SAFETY: the place before the old front is free, as there was room.
        unsafe { self.place(0).write(chunk) };
        self.len.set(self.len.get() + 1);
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<Chunk> {
        let len = self.len.get();
        if len == 0 {
            return None;
        }
        // SAFETY: the front is live; it is forgotten right here.
        let chunk = unsafe { self.place(0).read() };
        self.len.set(len - 1);
        if len == 1 {
            self.emptied();
        } else {
            let head = self.head.get() + 1;
            self.head.set(if head == self.capacity.get() { 0 } else { head });
        }
        Some(chunk)
    }

    #[inline]
    fn emptied(&self) {
        self.head.set(0);
        if !self.base.get().is_null() {
            self.give_back();
        }
    }

    #[inline(never)]
    fn give_back(&self) {
        self.capacity.set(INLINE as u32);
        if let Some(header) = NonNull::new(self.base.replace(ptr::null_mut())) {
            // SAFETY: the queue is empty, so the block holds no live chunk.
            unsafe { Pools::release_cell(header) };
        }
    }

    /// The chunk at `index` from the front.
    ///
    /// # Safety
    /// `index < len()`, and the reference ends before the queue changes.
    #[inline]
    pub(crate) unsafe fn at(&self, index: usize) -> &Chunk {
        debug_assert!(index < self.len());
        // SAFETY: live by the invariant; the caller limits the reference.
        unsafe { &*self.place(index as u32) }
    }

    /// Copies all bytes, in order, to the front of `to`, and says how many there were. Panics when they do not fit.
    #[inline]
    pub(crate) fn copy_to(&self, to: &mut [u8]) -> usize {
        let mut end = 0;
        for index in 0..self.len() {
            // SAFETY: in range; the reference is gone before the queue changes.
            let chunk = unsafe { self.at(index) };
            to[end..end + chunk.len()].copy_from_slice(chunk);
            end += chunk.len();
        }
        end
    }

    /// Drops bytes from the front, as far as `n` reaches.
    #[inline]
    pub(crate) fn consume(&self, mut n: usize) {
        while n > 0 {
            assert!(!self.is_empty(), "no more is consumed than was queued");
            // SAFETY: not empty; the reference ends with this block.
            let front = unsafe { &mut *self.place(0) };
            if n < front.len() {
                front.advance(n);
                return;
            }
            n -= front.len();
            drop(self.pop());
        }
    }

    pub(crate) fn clear(&self) {
        while self.pop().is_some() {}
    }

    /// Forgets the places behind the first `len`, which hold nothing any more.
    fn shorten(&self, len: usize) {
        self.len.set(len as u32);
        if len == 0 {
            self.emptied();
        }
    }

    /// Copies the bytes that lie in receive chunks into blocks, so that the chunks go home; order is kept, and neighbours
    /// are joined. Returns the bytes copied.
    pub(crate) fn settle(&self, pools: &Pools) -> usize {
        let count = self.len.get();
        // Fast way out: nothing of it is in a receive chunk.
        // SAFETY: in range; the reference is gone at once.
        if !(0..count).any(|i| unsafe { self.at(i as usize) }.is_recv()) {
            return 0;
        }
        let mut copied = 0;
        let mut kept = 0u32; // places already final
        let mut index = 0u32;
        while index < count {
            // SAFETY: takes the chunk out of its place; places below `kept` and from `index` on are the live ones.
            let chunk = unsafe { self.place(index).read() };
            index += 1;
            if !chunk.is_recv() {
                // SAFETY: kept < index, so this place was emptied.
                unsafe { self.place(kept).write(chunk) };
                kept += 1;
                continue;
            }
            copied += chunk.len();
            // SAFETY: kept > 0: that place is live and nobody else refers to it.
            if kept > 0 && unsafe { &mut *self.place(kept - 1) }.append_unique(&chunk) {
                continue;
            }
            // Behind another piece comes a larger block, so that a trickle of single bytes is joined, not listed.
            let mut run = chunk.len();
            for i in index..count {
                // SAFETY: live: at or behind `index`.
                let next = unsafe { &*self.place(i) };
                if !next.is_recv() {
                    break;
                }
                run += next.len();
            }
            let room = if kept > 0 { run.max(BLOCK_BEHIND_MIN) } else { run };
            let mut block = pools.block(room.min(BLOCK_MAX).max(chunk.len()));
            block.extend_from_slice(&chunk);
            // SAFETY: kept < index, so this place was emptied.
            unsafe { self.place(kept).write(block.freeze()) };
            kept += 1;
        }
        self.shorten(kept as usize);
        copied
    }
}

/// Room of a settled block that follows another piece.
const BLOCK_BEHIND_MIN: usize = 1024;
/// The largest block a settled run is joined into.
const BLOCK_MAX: usize = 64 << 10;

impl<const INLINE: usize> Drop for ChunkQueue<INLINE> {
    fn drop(&mut self) {
        self.clear();
    }
}
