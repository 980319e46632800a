//! Who waits for other threads, and wakes them all when one has spoken.
//!
//! It is its core's alone: other threads reach it through `Wake` only, which the core takes once a turn.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// Wakers of tasks that wait for other threads: at mailboxes, and for `Core::woken`.
#[derive(Default)]
pub(crate) struct Mail {
    wakers: RefCell<Vec<Waker>>,
    /// How often.
    pub(crate) woken: Cell<u64>,
}

impl Mail {
    /// Remembers a waker until the next wake; one task is remembered once.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// Wakes all: they are few, and other threads speak seldom.
    pub(crate) fn wake_all(&self) {
        self.woken.set(self.woken.get() + 1);
        while let Some(waker) = { self.wakers.borrow_mut().pop() } {
            waker.wake();
        }
    }
}
