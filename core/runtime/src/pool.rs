//! The buffers of one core: receive chunks, bulk buffers and blocks, and the way home of each.
//!
//! Receive chunks are few and shared by all sockets. On `ring` the free ones lie in the kernel's provided-buffer ring
//! (io_uring_register_buf_ring(3)); on `poll` on a free list. Bulk buffers are allocated when first wanted and kept for reuse.
//! Invariant: `chunks_free` counts exactly the receive chunks that no `Chunk` names and no completion carries.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{Cell, OnceCell, RefCell};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::block::{self, BlockMut, BlockPool, Purpose};
use crate::chunk::{Chunk, HEADER_SIZE, Header, Kind};
use crate::core::Options;
use crate::stats::LoopStats;

const PAGE_SIZE: usize = 4096;

/// All buffers of one core. It stays at one address from the first buffer on (headers point back to it).
pub(crate) struct Pools {
    blocks: BlockPool,
    chunks: ChunkPool,
    bulk: BulkPool,
}

impl Pools {
    pub(crate) fn new(options: &Options) -> Pools {
        Pools {
            blocks: BlockPool::new(options.blocks_bytes_max),
            chunks: ChunkPool::new(options),
            bulk: BulkPool::new(options),
        }
    }

    /// An empty block of at least `capacity_min` bytes.
    #[inline]
    pub(crate) fn block(&self, capacity_min: usize) -> BlockMut {
        BlockMut::new(self.blocks.take(self, capacity_min, Purpose::Bytes))
    }

    /// A block that holds a copy of `bytes`.
    #[inline]
    pub(crate) fn copied(&self, bytes: &[u8]) -> Chunk {
        let mut block = self.block(bytes.len());
        block.extend_from_slice(bytes);
        block.freeze()
    }

    /// Memory for a value of `size` bytes, aligned to 32.
    #[inline]
    pub(crate) fn cell(&self, size: usize) -> NonNull<Header> {
        self.blocks.take(self, size, Purpose::Cell)
    }

    /// Sends a buffer without holders home.
    ///
    /// # Safety
    /// `header` came from these pools and has no count left.
    #[inline]
    pub(crate) unsafe fn release(header: NonNull<Header>) {
        // SAFETY: the caller's promise; `Pools` outlives its buffers (core.rs leaks it rather than free it too early).
        let (head, pools) = unsafe { (header.as_ref(), &*header.as_ref().pools.get()) };
        debug_assert_eq!(head.refs.get(), 0);
        match head.kind.get() {
            Kind::Recv => pools.chunks.put(head),
            // SAFETY: no count is left, and the kind says where the buffer came from.
            Kind::Bytes | Kind::Cell => unsafe { pools.blocks.put(header) },
            Kind::Bulk => pools.bulk.put(header),
            // SAFETY: as above.
            Kind::HeapBytes | Kind::HeapCell => unsafe { pools.blocks.put_heap(header) },
        }
    }

    /// Sends memory taken by [`Pools::cell`] home.
    ///
    /// # Safety
    /// `header` came from `cell`, and its value was dropped.
    #[inline]
    pub(crate) unsafe fn release_cell(header: NonNull<Header>) {
        // SAFETY: the caller's promise.
        unsafe {
            header.as_ref().refs.set(0);
            Pools::release(header);
        }
    }

    /// Provides the first chunks, for the kernel (`ring`) or for the poll driver's own receives.
    pub(crate) fn start(&self, ring: bool) {
        if ring {
            let made = self.chunks.ring.set(BufRing::new(self.chunks.max));
            assert!(made.is_ok(), "pools start once");
        }
        self.chunks.grow(self, self.chunks.initial);
    }

    /// Twice as many chunks, within the limit. Says whether there are more now.
    pub(crate) fn chunks_grow(&self) -> bool {
        self.chunks.grow(self, self.chunks.total.get())
    }

    /// Chunks that nobody holds.
    #[inline]
    pub(crate) fn chunks_free(&self) -> u32 {
        self.chunks.free.get()
    }

    /// A free receive chunk of the poll driver, with one count. `None` when all are held and the limit is reached.
    #[inline]
    pub(crate) fn chunk_take(&self) -> Option<NonNull<Header>> {
        if self.chunks.list.get().is_null() && !self.chunks_grow() {
            return None;
        }
        self.chunks.take_listed()
    }

    /// The chunk `index` that the kernel filled with `len` bytes.
    #[inline]
    pub(crate) fn chunk_filled(&self, index: u16, len: usize) -> Chunk {
        self.chunks.filled(self, index, len)
    }

    /// Makes the chunks that came home visible to the kernel.
    #[inline]
    pub(crate) fn chunks_publish(&self) {
        self.chunks.publish();
    }

    /// Address and entries of the provided-buffer ring, for its registration.
    pub(crate) fn buf_ring(&self) -> Option<(u64, u16)> {
        self.chunks.ring.get().map(|ring| (ring.base as u64, ring.mask + 1))
    }

    /// A bulk buffer with one count; `None` at the limit.
    #[inline]
    pub(crate) fn bulk_take(&self) -> Option<NonNull<Header>> {
        self.bulk.take(self)
    }

    pub(crate) fn bulk_size(&self) -> usize {
        self.bulk.size
    }

    /// Buffers that somebody still holds: receive chunks, bulk buffers, and bytes of blocks.
    pub(crate) fn outstanding(&self) -> (u32, u32, usize) {
        (self.chunks.total.get() - self.chunks.free.get(), self.bulk.in_use.get(), self.blocks.in_use_bytes())
    }

    /// Brings the gauges of the statistics up to date.
    #[inline]
    pub(crate) fn gauge(&self, stats: &LoopStats) {
        stats.chunks_total.set(u64::from(self.chunks.total.get()));
        stats.chunks_free.set(u64::from(self.chunks.free.get()));
        stats.bulk_in_use.set(u64::from(self.bulk.in_use.get()));
        stats.blocks_in_use_bytes.set(self.blocks.in_use_bytes() as u64);
        stats.blocks_cached_bytes.set(self.blocks.cached_bytes() as u64);
    }

    /// Whether [`Pools::shrink`] might give something back.
    #[inline]
    pub(crate) fn could_shrink(&self) -> bool {
        self.blocks.cached_bytes() > BLOCKS_KEEP_BYTES
            || !self.bulk.list.get().is_null()
            || self.chunks.discardable.get()
    }

    /// Gives memory back that a quiet core does not need: half of the cached blocks, all cached bulk buffers, and the
    /// pages of receive chunks beyond the first ones.
    ///
    /// `deferred` says that the kernel fills chunks only inside `enter` (IORING_SETUP_DEFER_TASKRUN): without it a chunk
    /// that counts as free might just have been filled, so no page may go.
    pub(crate) fn shrink(&self, deferred: bool) {
        let keep = (self.blocks.cached_bytes() / 2).max(BLOCKS_KEEP_BYTES);
        self.blocks.trim(keep);
        self.bulk.trim();
        if deferred {
            self.chunks.discard_pages();
        }
    }
}

/// Cached blocks that stay also on a quiet core: the working set of a few dozen exchanges.
const BLOCKS_KEEP_BYTES: usize = 128 << 10;

impl Drop for Pools {
    fn drop(&mut self) {
        assert_eq!(self.outstanding(), (0, 0, 0), "buffers outlive their holders, never the other way round");
        self.blocks.trim(0);
        self.bulk.trim();
    }
}

/// A run of chunks in one allocation.
struct Slab {
    base: NonNull<u8>,
    layout: Layout,
}

struct ChunkPool {
    chunk_size: usize,
    stride: usize,
    initial: u32,
    max: u32,
    total: Cell<u32>,
    free: Cell<u32>,
    /// The fewest free chunks since the last look of the housekeeper: how much of the pool was in use at once.
    free_low: Cell<u32>,
    /// Slabs beyond the first hold pages that a quiet core could give back. Ring only.
    discardable: Cell<bool>,
    list: Cell<*mut Header>,
    /// The chunk of each index; null beyond `total`.
    table: Box<[Cell<*mut Header>]>,
    slabs: RefCell<Vec<Slab>>,
    ring: OnceCell<BufRing>,
}

impl ChunkPool {
    fn new(options: &Options) -> ChunkPool {
        let stride = (options.chunk_size + HEADER_SIZE).next_multiple_of(64);
        ChunkPool {
            chunk_size: options.chunk_size,
            stride,
            initial: u32::from(options.chunks_initial),
            max: u32::from(options.chunks_max),
            total: Cell::new(0),
            free: Cell::new(0),
            free_low: Cell::new(0),
            discardable: Cell::new(false),
            list: Cell::new(ptr::null_mut()),
            table: vec![ptr::null_mut(); usize::from(options.chunks_max)].into_iter().map(Cell::new).collect(),
            slabs: RefCell::new(Vec::new()),
            ring: OnceCell::new(),
        }
    }

    #[cold]
    fn grow(&self, pools: &Pools, more: u32) -> bool {
        let first = self.total.get();
        let count = more.min(self.max - first);
        if count == 0 {
            return false;
        }
        let layout = Layout::from_size_align((self.stride * count as usize).next_multiple_of(PAGE_SIZE), PAGE_SIZE)
            .expect("chunks_max x chunk_size is far below isize::MAX");
        // SAFETY: the layout has a size. Zeroed, so that a fresh chunk is initialised memory.
        let Some(base) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
        for i in 0..count {
            // SAFETY: chunk `i` lies inside the slab: count x stride <= layout.size().
            let header = unsafe { base.add(i as usize * self.stride) }.cast::<Header>();
            self.stamp(pools, header, (first + i) as u16);
            self.table[(first + i) as usize].set(header.as_ptr());
        }
        self.slabs.borrow_mut().push(Slab { base, layout });
        self.discardable.set(first > 0 && self.ring.get().is_some());
        self.total.set(first + count);
        for i in first..first + count {
            // SAFETY: just stamped.
            self.put(unsafe { &*self.table[i as usize].get() });
        }
        self.publish();
        true
    }

    #[inline]
    fn publish(&self) {
        if let Some(ring) = self.ring.get() {
            ring.publish();
        }
    }

    /// Writes a chunk's header (again): giving its pages back had zeroed it.
    #[inline]
    fn stamp(&self, pools: *const Pools, header: NonNull<Header>, index: u16) {
        // SAFETY: `header` is the start of a chunk's own memory, which nobody else uses now.
        unsafe {
            header.write(Header {
                refs: Cell::new(0),
                capacity: Cell::new(self.chunk_size as u32),
                kind: Cell::new(Kind::Recv),
                class: Cell::new(0),
                index: Cell::new(index),
                pools: Cell::new(pools),
                next: Cell::new(ptr::null_mut()),
            });
        }
    }

    #[inline]
    fn put(&self, head: &Header) {
        self.free.set(self.free.get() + 1);
        if let Some(ring) = self.ring.get() {
            ring.push(Header::bytes(NonNull::from(head)), self.chunk_size as u32, head.index.get());
            return;
        }
        head.next.set(self.list.get());
        self.list.set(ptr::from_ref(head).cast_mut());
    }

    #[inline]
    fn taken(&self) {
        let free = self.free.get() - 1;
        self.free.set(free);
        if free < self.free_low.get() {
            self.free_low.set(free);
        }
    }

    #[inline]
    fn take_listed(&self) -> Option<NonNull<Header>> {
        let header = NonNull::new(self.list.get())?;
        // SAFETY: on the free list, so whole and unused.
        let head = unsafe { header.as_ref() };
        self.list.set(head.next.get());
        head.refs.set(1);
        self.taken();
        Some(header)
    }

    #[inline]
    fn filled(&self, pools: &Pools, index: u16, len: usize) -> Chunk {
        assert!(len <= self.chunk_size, "the kernel fills no more than it was given");
        let header = NonNull::new(self.table[index as usize].get()).expect("the kernel names chunks that exist");
        // SAFETY: the kernel took this chunk out of the ring and named it in a completion: it is ours now.
        let head = unsafe { header.as_ref() };
        if head.pools.get().is_null() {
            self.stamp(pools, header, index);
            self.discardable.set(true);
        }
        head.refs.set(1);
        self.taken();
        // SAFETY: one count is ours, and the kernel wrote `len` bytes.
        unsafe { Chunk::from_raw(header, 0, len as u32) }
    }

    /// Gives the pages of all slabs but the first back to the system when no chunk is held and few were in use at once
    /// since the last call. The chunks stay provided; their memory comes back, zeroed, when it is next written.
    fn discard_pages(&self) {
        let (total, free) = (self.total.get(), self.free.get());
        let used_at_once = total - self.free_low.replace(free);
        if !self.discardable.get() || free != total || used_at_once > self.initial / 2 {
            return;
        }
        self.discardable.set(false);
        for slab in self.slabs.borrow().iter().skip(1) {
            // SAFETY: the range is this slab's own; no chunk of it is held, and a header that reads as zero is
            // stamped again before use (`filled`). The kernel writes to these buffers only inside `enter`, that is
            // never at the same time (the caller's promise).
            unsafe { libc::madvise(slab.base.as_ptr().cast(), slab.layout.size(), libc::MADV_DONTNEED) };
        }
    }
}

impl Drop for ChunkPool {
    fn drop(&mut self) {
        for slab in self.slabs.get_mut() {
            // SAFETY: no chunk is held (checked by `Pools::drop`), and the ring, if any, is closed before the pools go.
            unsafe { dealloc(slab.base.as_ptr(), slab.layout) };
        }
    }
}

/// The ring of free chunks that is shared with the kernel (io_uring_setup_buf_ring(3)); only its tail is ours to move.
struct BufRing {
    base: *mut BufRingEntry,
    layout: Layout,
    mask: u16,
    tail: Cell<u16>,
}

impl BufRing {
    fn new(chunks_max: u32) -> BufRing {
        let entries = chunks_max.next_power_of_two();
        assert!(entries <= 1 << 15, "the kernel's limit of entries in a buffer ring");
        let layout =
            Layout::from_size_align(entries as usize * size_of::<BufRingEntry>(), PAGE_SIZE).expect("at most 512 KiB");
        // SAFETY: the layout has a size.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            handle_alloc_error(layout)
        }
        BufRing { base: base.cast(), layout, mask: (entries - 1) as u16, tail: Cell::new(0) }
    }

    #[inline]
    fn push(&self, data: *mut u8, len: u32, index: u16) {
        let tail = self.tail.get();
        // SAFETY: inside the ring by the mask. Entries between the published tail and ours are not the kernel's: there are
        // never more free chunks than entries, so this one was consumed.
        unsafe {
            let entry = &mut *self.base.add((tail & self.mask) as usize);
            entry.set_addr(data as u64);
            entry.set_len(len);
            entry.set_bid(index);
        }
        self.tail.set(tail.wrapping_add(1));
    }

    #[inline]
    fn publish(&self) {
        // SAFETY: the tail word lies in the first entry's reserved field and is only written by us.
        let tail = unsafe { &*BufRingEntry::tail(self.base).cast::<AtomicU16>() };
        tail.store(self.tail.get(), Ordering::Release);
    }
}

impl Drop for BufRing {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`; the ring that knew it is closed before the pools go (driver/ring.rs).
        unsafe { dealloc(self.base.cast(), self.layout) };
    }
}

struct BulkPool {
    size: usize,
    max: u32,
    in_use: Cell<u32>,
    list: Cell<*mut Header>,
}

impl BulkPool {
    fn new(options: &Options) -> BulkPool {
        BulkPool {
            size: options.bulk_size,
            max: options.bulk_buffers_max as u32,
            in_use: Cell::new(0),
            list: Cell::new(ptr::null_mut()),
        }
    }

    fn take(&self, pools: *const Pools) -> Option<NonNull<Header>> {
        if self.in_use.get() >= self.max {
            return None;
        }
        self.in_use.set(self.in_use.get() + 1);
        let Some(header) = NonNull::new(self.list.get()) else {
            return Some(block::fresh(pools, self.size + HEADER_SIZE, Kind::Bulk, 0));
        };
        // SAFETY: on the free list, so whole and unused.
        let head = unsafe { header.as_ref() };
        self.list.set(head.next.get());
        head.refs.set(1);
        Some(header)
    }

    fn put(&self, header: NonNull<Header>) {
        self.in_use.set(self.in_use.get() - 1);
        // SAFETY: without holders and alive; the list is this core's. Free ones are at most `max` (those ever in use).
        unsafe { header.as_ref() }.next.set(self.list.get());
        self.list.set(header.as_ptr());
    }

    fn trim(&self) {
        while let Some(header) = NonNull::new(self.list.get()) {
            // SAFETY: on the free list; made by `fresh` with this size.
            unsafe {
                self.list.set(header.as_ref().next.get());
                block::free_fresh(header, self.size + HEADER_SIZE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(ring: bool) -> Box<Pools> {
        let options = Options { chunks_initial: 4, chunks_max: 10, ..Options::default() };
        let pools = Box::new(Pools::new(&options)); // At its address before the first buffer.
        pools.start(ring);
        pools
    }

    #[test]
    fn chunks_grow_to_their_limit() {
        let pools = pools(false);
        let mut held = Vec::new();
        while let Some(header) = pools.chunk_take() {
            // SAFETY: its only count, and no bytes.
            held.push(unsafe { Chunk::from_raw(header, 0, 0) });
        }
        assert_eq!(held.len(), 10);
        assert_eq!(pools.chunks_free(), 0);
        held.clear();
        assert_eq!(pools.chunks_free(), 10);
        assert!(!pools.chunks_grow());
    }

    /// A chunk whose pages were given back is whole again when the kernel names it.
    #[test]
    fn discarded_chunks_come_back() {
        let pools = pools(true);
        assert!(pools.chunks_grow() && pools.chunks_grow());
        pools.shrink(true); // Looks back on the start, when some were used.
        assert!(pools.could_shrink());
        pools.shrink(true);
        assert!(!pools.could_shrink());
        for index in 0..10 {
            let chunk = pools.chunk_filled(index, 7);
            assert_eq!((chunk.len(), pools.chunks_free()), (7, 9));
        }
        assert!(pools.could_shrink());
    }

    #[test]
    fn quiet_pools_give_back() {
        let pools = pools(false);
        let bulk = pools.bulk_take().expect("below the limit");
        // SAFETY: its only count, and no bytes.
        drop(unsafe { Chunk::from_raw(bulk, 0, 0) });
        let blocks: Vec<_> = (0..100).map(|_| pools.block(4000)).collect();
        drop(blocks);
        while pools.could_shrink() {
            pools.shrink(true);
        }
        assert!(pools.blocks.cached_bytes() <= BLOCKS_KEEP_BYTES);
    }

    #[test]
    fn a_block_is_reused_and_keeps_its_size() {
        let pools = pools(false);
        for size in [0, 1, 96, 97, 4000, 65_536, 100_000] {
            let mut block = pools.block(size);
            assert!(block.capacity() >= size && block.is_empty());
            block.extend_from_slice(&vec![1; size]);
            let address = block.as_ptr();
            let chunk = block.freeze();
            assert_eq!((chunk.len(), chunk.as_ptr()), (size, address));
            let tail = chunk.slice(size / 2..size);
            drop(chunk);
            assert!(tail.iter().all(|&byte| byte == 1));
            drop(tail);
            if size <= 65_536 {
                assert_eq!(pools.block(size).as_ptr(), address, "the last one back is the first one out");
            }
        }
    }

    #[test]
    fn chunks_are_cut_without_copies() {
        let pools = pools(false);
        let mut block = pools.block(10);
        block.extend_with(|room| {
            room[..6].copy_from_slice(b"abcdef");
            6
        });
        block.push(b'g');
        let mut chunk = block.freeze();
        let mut head = chunk.split_to(3);
        assert!(head.unique_mut().is_none(), "shared");
        chunk.advance(1);
        chunk.truncate(2);
        assert_eq!((&*head, &*chunk), (&b"abc"[..], &b"ef"[..]));
        drop(chunk);
        head.unique_mut().expect("alone")[0] = b'X';
        assert_eq!(&*head, b"Xbc");
    }
}
