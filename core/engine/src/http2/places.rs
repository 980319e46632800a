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
    /// Puts a value where who has this finds it.
    pub(super) fn keep(&mut self, value: T) -> Kept<T> {
        let mut place = self.empty.pop().unwrap_or_default();
        *place = Some(value);
        Kept(place)
    }

    /// The value; its place is the next one's.
    pub(super) fn give_back(&mut self, kept: Kept<T>) -> T {
        let Kept(mut place) = kept;
        let value = place.take().expect("a value is taken once");
        if self.empty.len() < KEPT_MAX {
            self.empty.push(place);
        }
        value
    }
}
