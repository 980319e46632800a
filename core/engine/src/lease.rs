//! A limit of the whole process that cores use without contention.
//!
//! The process has one [`SharedLimit`]; each core takes slices of it into its own [`Lease`] and spends them there with
//! plain arithmetic. Below [`EXACT_BELOW_PER_WORKER`] times the number of workers a slice is one permit, given back at
//! once, so that small limits are exact; above, what idle cores hold back is at most one slice each.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Limits below this many per worker are kept to the last permit.
const EXACT_BELOW_PER_WORKER: u32 = 4;
/// The largest slice: what a core may hold back unused.
const SLICE_MAX: u32 = 64;

/// The process's count against one limit. Written by all cores, but only once a slice. A cache line to itself: one core's slices
/// must not slow what others read. More of a distance would cost ten thousand clusters 20 MiB.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct SharedLimit {
    max: AtomicU32,
    workers: u32,
    leased: AtomicU32,
}

impl SharedLimit {
    pub(crate) fn new(max: u32, workers: usize) -> Arc<Self> {
        let workers = u32::try_from(workers).expect("few workers");
        Arc::new(Self { max: AtomicU32::new(max), workers, leased: AtomicU32::new(0) })
    }

    /// A changed limit. What is out already stays out and is not replaced until it fits.
    pub(crate) fn set_max(&self, max: u32) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Between how many it is divided.
    pub(crate) fn workers(&self) -> usize {
        self.workers as usize
    }

    /// Whether no permit is left to be leased.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.leased.load(Ordering::Relaxed) >= self.max.load(Ordering::Relaxed)
    }

    fn slice(&self) -> u32 {
        let max = self.max.load(Ordering::Relaxed);
        match max / (EXACT_BELOW_PER_WORKER * self.workers) {
            0 => 1,
            share => share.min(SLICE_MAX),
        }
    }

    /// Up to `want` permits; 0 when the limit is reached.
    fn take(&self, want: u32) -> u32 {
        let max = self.max.load(Ordering::Relaxed);
        let mut leased = self.leased.load(Ordering::Relaxed);
        loop {
            let granted = want.min(max.saturating_sub(leased));
            if granted == 0 {
                return 0;
            }
            match self.leased.compare_exchange_weak(leased, leased + granted, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return granted,
                Err(now) => leased = now,
            }
        }
    }

    fn give(&self, count: u32) {
        let before = self.leased.fetch_sub(count, Ordering::AcqRel);
        assert!(before >= count, "more permits came back than went out");
    }
}

/// One core's part of a [`SharedLimit`].
#[derive(Debug)]
pub(crate) struct Lease {
    shared: Arc<SharedLimit>,
    held: Cell<u32>,
    used: Cell<u32>,
}

impl Lease {
    pub(crate) fn new(shared: Arc<SharedLimit>) -> Self {
        Self { shared, held: Cell::new(0), used: Cell::new(0) }
    }

    /// One permit, or `false` when the process has none left.
    #[inline]
    pub(crate) fn try_acquire(&self) -> bool {
        if self.used.get() == self.held.get() {
            let granted = self.shared.take(self.shared.slice());
            if granted == 0 {
                return false;
            }
            self.held.set(self.held.get() + granted);
        }
        self.used.set(self.used.get() + 1);
        true
    }

    /// Gives one permit back; a whole unused slice goes back to the process.
    #[inline]
    pub(crate) fn release(&self) {
        assert!(self.used.get() > 0, "a permit is released once");
        self.used.set(self.used.get() - 1);
        let spare = self.held.get() - self.used.get();
        let slice = self.shared.slice();
        if slice == 1 {
            self.held.set(self.used.get());
            self.shared.give(spare);
        } else if spare >= 2 * slice {
            self.held.set(self.held.get() - slice);
            self.shared.give(slice);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.give(self.held.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_limit_is_exact_over_all_workers() {
        for workers in [1, 2, 4] {
            for max in 0..(EXACT_BELOW_PER_WORKER * workers as u32) {
                let shared = SharedLimit::new(max, workers);
                let leases: Vec<Lease> = (0..workers).map(|_| Lease::new(Arc::clone(&shared))).collect();
                for round in 0..3 {
                    let got = (0..max + 5).filter(|at| leases[*at as usize % workers].try_acquire()).count();
                    assert_eq!(got as u32, max, "workers {workers} round {round}");
                    for lease in &leases {
                        while lease.used.get() > 0 {
                            lease.release();
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_large_limit_is_never_exceeded_and_one_worker_alone_can_use_nearly_all_of_it() {
        let shared = SharedLimit::new(1024, 4);
        let leases: Vec<Lease> = (0..4).map(|_| Lease::new(Arc::clone(&shared))).collect();
        for lease in &leases[1..] {
            assert!(lease.try_acquire());
            lease.release();
        }
        let got = (0..2000).filter(|_| leases[0].try_acquire()).count() as u32;
        assert!((1024 - 3 * 2 * SLICE_MAX..=1024).contains(&got), "{got}");
    }

    #[test]
    fn a_dropped_lease_returns_everything() {
        let shared = SharedLimit::new(100, 1);
        let lease = Lease::new(Arc::clone(&shared));
        assert!(lease.try_acquire());
        drop(lease);
        assert_eq!(shared.leased.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_lowered_limit_holds_once_permits_come_back() {
        let shared = SharedLimit::new(3, 1);
        let lease = Lease::new(Arc::clone(&shared));
        assert!((0..3).all(|_| lease.try_acquire()));
        shared.set_max(1);
        lease.release();
        assert!(!lease.try_acquire());
        lease.release();
        assert!(!lease.try_acquire());
        lease.release();
        assert!(lease.try_acquire());
    }
}
