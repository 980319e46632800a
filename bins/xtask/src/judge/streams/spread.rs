//! How far apart streams are: bytes that each has got, and the difference between the first and the last of them at any moment.

use std::collections::BTreeMap;

/// See the module.
#[derive(Debug)]
pub(super) struct Spread {
    /// How many streams have got so many bytes.
    at: BTreeMap<usize, usize>,
    widest: usize,
}

impl Spread {
    /// Of so many streams that have got nothing.
    pub(super) fn new(streams: usize) -> Spread {
        Spread { at: BTreeMap::from([(0, streams)]), widest: 0 }
    }

    /// One that had `before` has got `more`.
    pub(super) fn got(&mut self, before: usize, more: usize) {
        let count = self.at.get_mut(&before).expect("a stream that has so many");
        *count -= 1;
        if *count == 0 {
            self.at.remove(&before);
        }
        *self.at.entry(before + more).or_default() += 1;
        self.widest = self.widest.max(self.first() - self.last());
    }

    /// What who has most has.
    fn first(&self) -> usize {
        self.at.last_key_value().map_or(0, |(bytes, _)| *bytes)
    }

    /// What who has least has.
    pub(super) fn last(&self) -> usize {
        self.at.first_key_value().map_or(0, |(bytes, _)| *bytes)
    }

    /// The largest difference that there ever was.
    pub(super) fn widest(&self) -> usize {
        self.widest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_moment_counts() {
        let mut spread = Spread::new(3);
        for (before, more) in [(0, 5), (5, 5), (0, 4)] {
            spread.got(before, more);
        }
        assert_eq!((spread.last(), spread.widest()), (0, 10));
        spread.got(0, 10);
        assert_eq!((spread.last(), spread.widest()), (4, 10));
    }
}
