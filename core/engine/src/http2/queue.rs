//! A queue that seldom holds more than one: the first lies in place, and only more of them ask the allocator for room.

use std::collections::VecDeque;

/// See the module.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// Empty only where all is.
    first: Option<T>,
    /// Made with the second one.
    #[expect(clippy::box_collection, reason = "a word in a queue of one, of which a stream has three")]
    rest: Option<Box<VecDeque<T>>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { first: None, rest: None }
    }
}

impl<T> Queue<T> {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub(super) fn push_back(&mut self, item: T) {
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.rest.get_or_insert_default().push_back(item),
        }
    }

    pub(super) fn push_front(&mut self, item: T) {
        if let Some(second) = self.first.replace(item) {
            self.rest.get_or_insert_default().push_front(second);
        }
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<T> {
        let first = self.first.take()?;
        self.first = self.rest.as_mut().and_then(|rest| rest.pop_front());
        Some(first)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(self.rest.iter_mut().flat_map(|rest| rest.iter_mut()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_first_goes_first() {
        let mut queue = Queue::default();
        assert!(queue.is_empty() && queue.pop_front().is_none());
        (1..=3).for_each(|item| queue.push_back(item));
        queue.push_front(0);
        queue.iter_mut().for_each(|item| *item += 6);
        assert_eq!(std::iter::from_fn(|| queue.pop_front()).collect::<Vec<_>>(), [6, 7, 8, 9]);
        assert!(queue.is_empty());
    }
}
