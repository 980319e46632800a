//! What a listener has of each of its filter chains, found by the chain's number.
//!
//! Sorted: a look-up, of which a request makes several, is a comparison for the one chain that most listeners have, and fourteen for
//! 5,000. Numbers grow over the life of the process, so that an array by number would, too.

use ringway_model::ChainId;

/// See the module.
pub(crate) struct ByChain<T>(Vec<(ChainId, T)>);

impl<T> ByChain<T> {
    #[inline]
    pub(crate) fn get(&self, id: ChainId) -> Option<&T> {
        let at = self.0.binary_search_by(|(other, _)| {
            #[cfg(test)]
            COMPARISONS.set(COMPARISONS.get() + 1);
            other.cmp(&id)
        });
        at.ok().map(|at| &self.0[at].1)
    }

    /// The numbers, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ChainId> {
        self.0.iter().map(|(id, _)| *id)
    }
}

impl<T> FromIterator<(ChainId, T)> for ByChain<T> {
    fn from_iter<I: IntoIterator<Item = (ChainId, T)>>(chains: I) -> Self {
        let mut chains: Vec<_> = chains.into_iter().collect();
        chains.sort_unstable_by_key(|(id, _)| *id);
        assert!(chains.windows(2).all(|two| two[0].0 < two[1].0), "each chain has a number of its own");
        Self(chains)
    }
}

#[cfg(test)]
thread_local! {
    /// What look-ups took on this thread.
    pub(crate) static COMPARISONS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_and_no_other() {
        let chains: ByChain<u32> = [7, 3, 5].map(|id| (ChainId(id), id * 10)).into_iter().collect();
        for (id, found) in [(2, None), (3, Some(30)), (4, None), (5, Some(50)), (7, Some(70)), (8, None)] {
            assert_eq!(chains.get(ChainId(id)).copied(), found, "{id}");
        }
        assert_eq!(chains.ids().map(|id| id.0).collect::<Vec<_>>(), [3, 5, 7]);
        assert!([].into_iter().collect::<ByChain<()>>().get(ChainId(0)).is_none());
    }
}
