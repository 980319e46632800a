//! Memory for values that wait from one task to another: it goes from one value to the next, so that a warm core asks the allocator for none.

/// Places that are kept: those of a turn in which as many values wait. A box each.
const KEPT_MAX: usize = 64;

/// See the module.
pub(crate) struct Places<T> {
    empty: Vec<Box<Option<T>>>,
}

/// A value in its place.
pub(crate) struct Kept<T>(Box<Option<T>>);

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { empty: Vec::new() }
    }
}

impl<T> Places<T> {
    /// Takes a value, which is there, with its place, which gets another: a large value stays where it was written.
    #[inline]
    pub(super) fn keep(&mut self, filled: &mut Kept<T>) -> Kept<T> {
        let empty = self.empty.pop().unwrap_or_default();
        debug_assert!(empty.is_none() && filled.0.is_some(), "a value for an empty place");
        std::mem::replace(filled, Kept(empty))
    }

    /// What was kept is taken: its place is the next one's.
    #[inline]
    pub(crate) fn give_back(&mut self, kept: Kept<T>) {
        let Kept(place) = kept;
        assert!(place.is_none(), "a value is taken once");
        if self.empty.len() < KEPT_MAX {
            self.empty.push(place);
        }
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T> Kept<T> {
    /// Where the value is.
    #[inline]
    pub(crate) fn place(&mut self) -> &mut Option<T> {
        &mut self.0
    }
}
