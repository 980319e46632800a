//! What a core's loop counts, readable from any thread.
//!
//! Each figure has one writer, its core: a change is a load and a store, never a read-modify-write. A reader sees each
//! figure whole, and no two of them at one instant.

use std::sync::atomic::{AtomicU64, Ordering};

/// One figure with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The figure now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn sub(&self, n: u64) {
        debug_assert!(self.get() >= n, "a gauge never goes below zero");
        self.0.store(self.get().wrapping_sub(n), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}

macro_rules! loop_stats {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// The figures of one core's loop. Counters only grow; gauges are named by what is there now.
        #[derive(Debug, Default)]
        pub struct LoopStats {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        impl LoopStats {
            /// Each figure's name and value, in the order of declaration.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)+]
            }
        }
    };
}

loop_stats! {
    /// Turns of the loop.
    turns,
    /// Calls of io_uring_enter or epoll_wait.
    enters,
    /// Those of them that were allowed to sleep.
    sleeps,
    /// Socket system calls made outside `enter` (all of them on `poll`; connect, shutdown, close and set-up on `ring`).
    syscalls,
    /// Completion events taken (ring) or readiness events (poll).
    completions,
    /// Task polls.
    polls,
    /// Gathered send attempts.
    sends,
    /// Send attempts that the kernel took only in part or not at all.
    send_stalls,
    /// Receives that brought bytes.
    recvs,
    /// Bytes received.
    bytes_received,
    /// Bytes that the kernel took from send queues.
    bytes_sent,
    /// Bytes copied at the end of turns from receive chunks into blocks.
    bytes_settled,
    /// Receives that found no chunk.
    enobufs,
    /// Times that the completion queue had overflowed into the kernel's list.
    cq_overflows,
    /// Connections accepted.
    accepts,
    /// Accepts that failed (EMFILE and the like).
    accept_errors,
    /// Receive chunks that exist.
    chunks_total,
    /// Receive chunks that nobody holds.
    chunks_free,
    /// Bulk buffers that are held by sockets, tasks or the kernel.
    bulk_in_use,
    /// Bytes of blocks (and of task and future memory) in use.
    blocks_in_use_bytes,
    /// Bytes of blocks that are kept for reuse.
    blocks_cached_bytes,
    /// Tasks alive.
    tasks,
    /// Sockets alive (streams and connects; listeners apart).
    streams,
    /// Timers alive.
    timers,
    /// Nanoseconds between wake and sleep, estimated from one turn in sixteen.
    busy_ns,
}
