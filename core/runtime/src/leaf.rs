//! A cell for state that is only touched by short pieces of code that call nothing of ours: what `RefCell` would guard at run
//! time on every access of the hot way is promised here at each call.

use std::cell::UnsafeCell;

pub(crate) struct Leaf<T>(UnsafeCell<T>);

impl<T> Leaf<T> {
    pub(crate) const fn new(value: T) -> Leaf<T> {
        Leaf(UnsafeCell::new(value))
    }

    /// Runs `f` on the value.
    ///
    /// # Safety
    /// `f` does not lead back into this cell: it calls no waker, drops no foreign value, runs no callback.
    #[inline(always)]
    pub(crate) unsafe fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the cell is `!Sync`, and by the caller's promise no other reference exists while `f` runs.
        f(unsafe { &mut *self.0.get() })
    }
}
