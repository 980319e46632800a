//! The word that names the configuration in force: one store makes a new one valid on all cores.
//!
//! It never says what the configuration is; it only grows.

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering};

/// A shared, growing number with one writer; it has a cache line of its own, which readers keep until it changes.
#[derive(Clone, Debug, Default)]
pub struct Generation(Arc<CachePadded<AtomicU64>>);

impl Generation {
    /// Generation 0.
    pub fn new() -> Generation {
        Generation::default()
    }

    /// The generation in force. What its writer did before `store` is visible after this.
    #[inline]
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Puts `generation` in force. Panics unless it grows.
    pub fn store(&self, generation: u64) {
        assert!(generation > self.0.load(Ordering::Relaxed), "a generation only grows");
        self.0.store(generation, Ordering::Release);
    }
}
