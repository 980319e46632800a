//! A set of which nearly all have at most one member.
//!
//! There are three of them for each of ten thousand clusters, and the smallest tree takes some 300 bytes.

use std::collections::BTreeSet;
use std::iter::{Chain, Flatten};
use std::option;

/// See the module. In order, as a [`BTreeSet`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Few<T> {
    #[default]
    None,
    One(T),
    /// Two or more.
    Many(BTreeSet<T>),
}

impl<T: Ord> Few<T> {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Few::None)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let (one, many) = match self {
            Few::None => (None, None),
            Few::One(one) => (Some(one), None),
            Few::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(super) fn contains(&self, value: &T) -> bool {
        match self {
            Few::None => false,
            Few::One(one) => one == value,
            Few::Many(many) => many.contains(value),
        }
    }

    /// The members that `other` does not have.
    pub(super) fn difference<'s>(&'s self, other: &'s Few<T>) -> impl Iterator<Item = &'s T> {
        self.iter().filter(|value| !other.contains(value))
    }

    pub(super) fn insert(&mut self, value: T) {
        *self = match std::mem::take(self) {
            Few::None => Few::One(value),
            Few::One(one) if one == value => Few::One(one),
            Few::One(one) => Few::Many(BTreeSet::from([one, value])),
            Few::Many(mut many) => {
                many.insert(value);
                Few::Many(many)
            }
        };
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, value: &Q)
    where
        T: std::borrow::Borrow<Q>,
    {
        match self {
            Few::One(one) if (*one).borrow() == value => *self = Few::None,
            Few::Many(many) => {
                many.remove(value);
                if many.len() == 1 {
                    *self = many.pop_first().map_or(Few::None, Few::One);
                }
            }
            Few::None | Few::One(_) => {}
        }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = Chain<option::IntoIter<T>, Flatten<option::IntoIter<BTreeSet<T>>>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self {
            Few::None => (None, None),
            Few::One(one) => (Some(one), None),
            Few::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

impl<T: Ord> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut few = Few::None;
        values.into_iter().for_each(|value| few.insert(value));
        few
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every series of insertions and removals of three values, next to the set that it stands for.
    #[test]
    fn it_is_a_set() {
        let steps: Vec<(bool, &str)> =
            [true, false].into_iter().flat_map(|is| ["a", "b", "c"].map(|v| (is, v))).collect();
        let mut all: Vec<(Few<String>, BTreeSet<String>)> = vec![(Few::None, BTreeSet::new())];
        for _ in 0..5 {
            let mut longer = Vec::new();
            for (few, set) in &all {
                for (is_inserted, value) in &steps {
                    let (mut few, mut set) = (few.clone(), set.clone());
                    if *is_inserted {
                        few.insert((*value).to_owned());
                        set.insert((*value).to_owned());
                    } else {
                        few.remove(*value);
                        set.remove(*value);
                    }
                    assert!(few.iter().eq(&set), "{few:?} {set:?}");
                    assert_eq!(few.is_empty(), set.is_empty());
                    assert!(["a", "b", "c"].iter().all(|v| few.contains(&(*v).to_owned()) == set.contains(*v)));
                    assert_eq!(few, set.iter().cloned().collect());
                    assert!(few.clone().into_iter().eq(set.clone()));
                    longer.push((few, set));
                }
            }
            all = longer;
            all.dedup_by(|(a, _), (b, _)| a == b);
        }
        let [ab, bc] = [["a", "b"], ["b", "c"]].map(|values| values.into_iter().collect::<Few<&str>>());
        assert!(ab.difference(&bc).eq([&"a"]) && bc.difference(&ab).eq([&"c"]));
    }
}
