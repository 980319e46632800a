//! The two kinds of number: what only grows, and what goes up and down.
//!
//! Neither uses an atomic read-modify-write: there is one writer, so that a relaxed load and a relaxed store are
//! enough, and they compile to plain moves. Two writers at once would lose counts, never memory safety.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that only grows. Any thread may read it; one thread writes it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A count of zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts `n` more. For the one writer.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The count so far.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A level that goes up and down, never below zero. Any thread may read it; one thread writes it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Raises the level by `n`. For the one writer.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Lowers the level by `n`, which must have been added before. For the one writer.
    #[inline]
    pub fn sub(&self, n: u64) {
        let level = self.0.load(Relaxed);
        debug_assert!(level >= n, "a gauge never falls below zero");
        self.0.store(level.saturating_sub(n), Relaxed);
    }

    /// Sets the level. For the one writer.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The level now.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
