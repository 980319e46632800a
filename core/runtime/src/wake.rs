//! How other threads wake a core: one flag that says "look", and an eventfd that is written only when the core sleeps.
//!
//! Invariant: after `wake` returns, the core either sees the flag before it sleeps, or is woken from its sleep. The two
//! SeqCst fences order "flag set, then sleeping read" against "sleeping set, then flag read": one of the two sees the other.

use std::io;
use std::sync::Arc;

use crate::sync::{AtomicBool, Ordering, fence};
use crate::sys;

/// Wakes one core from any thread. `Send + Sync`.
#[derive(Debug)]
pub struct Wake {
    event: sys::Event,
    sleeping: AtomicBool,
    pending: AtomicBool,
}

impl Wake {
    /// A handle for a core that is yet to run. Errors: those of eventfd(2).
    pub fn new() -> io::Result<Arc<Wake>> {
        Ok(Arc::new(Wake { event: sys::eventfd()?, sleeping: AtomicBool::new(false), pending: AtomicBool::new(false) }))
    }

    /// Makes the core look at its mailboxes and complete [`crate::Core::woken`]. Costs no system call while the core is awake.
    pub fn wake(&self) {
        self.pending.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed) {
            sys::eventfd_write(&self.event);
        }
    }

    /// Whether somebody woke the core since the last call.
    #[inline]
    pub(crate) fn take_pending(&self) -> bool {
        // The swap (and not a store) is what makes the waker's earlier pushes visible; it runs only when there is one.
        self.pending.load(Ordering::Relaxed) && self.pending.swap(false, Ordering::AcqRel)
    }

    /// Announces sleep. False, and awake again, when somebody called meanwhile.
    #[inline]
    pub(crate) fn may_sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.pending.load(Ordering::Relaxed) {
            self.awake();
            return false;
        }
        true
    }

    #[inline]
    pub(crate) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Whether a wake waits to be taken.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn event(&self) -> &sys::Event {
        &self.event
    }
}
