//! Which resources of a type are wanted.

use std::collections::BTreeSet;

/// All that there are, or these, or both: a server may have resources that its wildcard leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) is_wildcard: bool,
    /// Opaque, whatever they look like (`xdstp://`).
    pub(crate) names: BTreeSet<String>,
}

/// The name that stands for all (xDS, "How the client specifies what resources to return").
pub(crate) const WILDCARD: &str = "*";

impl Interest {
    pub(crate) fn all() -> Self {
        Self { is_wildcard: true, names: BTreeSet::new() }
    }

    pub(crate) fn these<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self { is_wildcard: false, names: names.into_iter().map(Into::into).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.is_wildcard && self.names.is_empty()
    }

    /// Whether a resource of this name was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.is_wildcard || self.names.contains(name)
    }

    /// Every name, the wildcard as `*`.
    pub(crate) fn spelt(&self) -> impl Iterator<Item = &str> {
        self.is_wildcard.then_some(WILDCARD).into_iter().chain(self.names.iter().map(String::as_str))
    }

    /// What is in this one and not in the other, spelt.
    pub(crate) fn beyond<'i>(&'i self, other: &'i Interest) -> impl Iterator<Item = &'i str> {
        let wildcard = (self.is_wildcard && !other.is_wildcard).then_some(WILDCARD);
        wildcard.into_iter().chain(self.names.difference(&other.names).map(String::as_str))
    }

    /// Whether one who was `told` this cannot see that some of it was given up, because it is `wanted` again.
    pub(crate) fn is_hidden(&self, wanted: &Interest, told: &Interest) -> bool {
        let is_hidden = |name: &String| told.names.contains(name) && wanted.wants(name);
        self.is_wildcard && wanted.is_wildcard && told.is_wildcard || self.names.iter().any(is_hidden)
    }

    /// What is in this one and not in the other.
    pub(crate) fn without(&self, other: &Interest) -> Interest {
        Interest {
            is_wildcard: self.is_wildcard && !other.is_wildcard,
            names: self.names.difference(&other.names).cloned().collect(),
        }
    }
}
