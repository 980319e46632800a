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
    /// Puts a value, which is there, where who has this finds it: from place to place, for it is large.
    #[inline]
    pub(super) fn keep(&mut self, value: &mut Option<T>) -> Kept<T> {
        let mut place = self.empty.pop().unwrap_or_default();
        debug_assert!(place.is_none() && value.is_some(), "a value for an empty place");
        *place = value.take();
        Kept(place)
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

impl<T> Kept<T> {
    /// Where the value is.
    #[inline]
    pub(crate) fn place(&mut self) -> &mut Option<T> {
        &mut self.0
    }
}
