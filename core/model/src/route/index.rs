//! From a path to the routes that its path specifiers allow, in the order of the file, without trying them all.
//!
//! Prefixes and exact paths stand in a trie, once with case and once without; expressions are tried in their order, and
//! only those that stand before what the trie found. The answer is that of trying one route after the other: the first
//! that matches wins (Envoy, `VirtualHost.routes`).
//!
//! Cost: the trie's walk, then a search by halving in the lists along the way for each route whose conditions failed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::matcher::{PathMatch, RouteMatch};
use super::radix::Radix;
use super::request::{Caches, RequestView};

/// See the module. Routes have their position as number.
#[derive(Clone, Default, PartialEq)]
pub(super) struct PathIndex {
    sensitive: Paths,
    folded: Paths,
    /// Routes that only trying can tell, in order.
    expressions: Vec<u32>,
    /// How many routes there are.
    count: u32,
}

/// Up to so many routes are tried one after the other, which costs less than the walks that would find the one.
const TRIED_MAX: u32 = 4;

/// What it says is all in the routes.
impl fmt::Debug for PathIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathIndex").finish_non_exhaustive()
    }
}

/// No route: larger than every number of one.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug, Default, PartialEq)]
struct Paths {
    radix: Radix,
    /// By key of the trie.
    keys: Vec<Key>,
    /// The lists of all keys, each ascending.
    routes: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq)]
struct Key {
    /// Routes that this key is a prefix for.
    prefix: Range<u32>,
    /// Routes that this key is the whole path for.
    exact: Range<u32>,
    /// The longest other key that begins this one and has routes that it is a prefix for.
    up: Option<u32>,
    /// The first route of the prefixes from here up.
    first: u32,
}

/// The lists that hold the routes for one path.
#[derive(Clone, Copy)]
struct Found {
    /// The longest key that is a prefix for some route.
    prefix: Option<u32>,
    exact: Option<u32>,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests count the cost of a look-up"))]
    steps: usize,
}

impl PathIndex {
    pub(super) fn new<'m>(matches: impl Iterator<Item = &'m RouteMatch>) -> Self {
        let mut sensitive = Lists::default();
        let mut folded = Lists::default();
        let mut expressions = Vec::new();
        let mut count = 0;
        for (position, rule) in matches.enumerate() {
            let route = u32::try_from(position).expect("a document has fewer nodes");
            count = route + 1;
            let lists = if rule.ignore_case { &mut folded } else { &mut sensitive };
            let ends = rule.conditions.is_none();
            let mut add = |key: &str, exact: bool| {
                let mut key = key.as_bytes().to_vec();
                if rule.ignore_case {
                    key.make_ascii_lowercase();
                }
                let entry = lists.entry(key).or_default();
                let list = if exact { &mut entry.exact } else { &mut entry.prefix };
                // Behind a route without conditions none of the same list is ever reached.
                if !list.ended {
                    list.routes.push(route);
                    list.ended = ends;
                }
            };
            match &rule.path {
                PathMatch::Prefix(prefix) => add(prefix, false),
                PathMatch::Exact(exact) => add(exact, true),
                PathMatch::SeparatedPrefix(prefix) => {
                    add(prefix, true);
                    add(&format!("{prefix}/"), false);
                }
                PathMatch::Regex(_) => expressions.push(route),
                // Looked for by `VirtualHost::find_connect`.
                PathMatch::Connect => {}
            }
        }
        Self { sensitive: Paths::new(sensitive), folded: Paths::new(folded), expressions, count }
    }

    /// The first of `rules`, over which this was built, that matches. `path` comes without its query.
    pub(super) fn find<'m>(
        &self,
        rules: impl Fn(u32) -> &'m RouteMatch,
        path: &[u8],
        request: &impl RequestView,
        chance: u64,
        caches: &mut Caches,
    ) -> Option<u32> {
        if self.count <= TRIED_MAX {
            return (0..self.count).find(|&route| {
                let rule = rules(route);
                rule.takes_path(path, &mut caches.regexes) && holds(rule, request, chance, caches)
            });
        }
        let sensitive = self.sensitive.find(path, false);
        let folded = self.folded.find(path, true);
        let mut next = self.sensitive.first(sensitive).min(self.folded.first(folded));
        let mut expressions = self.expressions.iter().copied().peekable();
        loop {
            while let Some(route) = expressions.next_if(|&route| route < next) {
                let rule = rules(route);
                let PathMatch::Regex(regex) = &rule.path else { unreachable!("the list is of expressions") };
                if regex.matches(path, &mut caches.regexes) && holds(rule, request, chance, caches) {
                    return Some(route);
                }
            }
            if next == NONE {
                return None;
            }
            if holds(rules(next), request, chance, caches) {
                return Some(next);
            }
            let after = next + 1;
            next = self.sensitive.next(sensitive, after).min(self.folded.next(folded, after));
        }
    }

    #[cfg(test)]
    pub(super) fn steps(&self, path: &[u8]) -> usize {
        self.sensitive.find(path, false).steps + self.folded.find(path, true).steps
    }
}

#[inline]
fn holds(rule: &RouteMatch, request: &impl RequestView, chance: u64, caches: &mut Caches) -> bool {
    rule.conditions.as_ref().is_none_or(|conditions| conditions.hold(request, chance, caches))
}

type Lists = BTreeMap<Vec<u8>, Entry>;

#[derive(Default)]
struct Entry {
    prefix: List,
    exact: List,
}

#[derive(Default)]
struct List {
    routes: Vec<u32>,
    ended: bool,
}

impl Paths {
    fn new(lists: Lists) -> Self {
        let names: Vec<&[u8]> = lists.keys().map(Vec::as_slice).collect();
        let radix = Radix::new(&names);
        let mut paths = Self { radix, ..Self::default() };
        // Keys with prefixes that begin the one at hand, shortest first. In ascending order each is met before those it begins.
        let mut above: Vec<u32> = Vec::new();
        for (number, (name, entry)) in lists.iter().enumerate() {
            while above.pop_if(|key| !name.starts_with(names[*key as usize])).is_some() {}
            let up = above.last().copied();
            let prefix = paths.push(&entry.prefix);
            let exact = paths.push(&entry.exact);
            let own = entry.prefix.routes.first().copied().unwrap_or(NONE);
            let first = up.map_or(own, |up| own.min(paths.keys[up as usize].first));
            if !prefix.is_empty() {
                above.push(number as u32);
            }
            paths.keys.push(Key { prefix, exact, up, first });
        }
        paths
    }

    fn push(&mut self, list: &List) -> Range<u32> {
        let start = self.routes.len() as u32;
        self.routes.extend_from_slice(&list.routes);
        start..self.routes.len() as u32
    }

    fn list(&self, range: &Range<u32>) -> &[u32] {
        &self.routes[range.start as usize..range.end as usize]
    }

    #[inline]
    fn find(&self, path: &[u8], fold: bool) -> Found {
        let mut found = Found { prefix: None, exact: None, steps: 0 };
        let steps = self.radix.walk(path, fold, |number, all| {
            let key = &self.keys[number as usize];
            if !key.prefix.is_empty() {
                found.prefix = Some(number);
            }
            if all && !key.exact.is_empty() {
                found.exact = Some(number);
            }
        });
        Found { steps, ..found }
    }

    /// The first route in the lists of `found`.
    #[inline]
    fn first(&self, found: Found) -> u32 {
        let prefix = found.prefix.map_or(NONE, |key| self.keys[key as usize].first);
        let exact = found.exact.map_or(NONE, |key| self.list(&self.keys[key as usize].exact)[0]);
        prefix.min(exact)
    }

    /// The first route from `start` on.
    fn next(&self, found: Found, start: u32) -> u32 {
        let from = |range: &Range<u32>| {
            let list = self.list(range);
            list.get(list.partition_point(|&route| route < start)).copied().unwrap_or(NONE)
        };
        let mut next = found.exact.map_or(NONE, |key| from(&self.keys[key as usize].exact));
        let mut at = found.prefix;
        while let Some(key) = at {
            let key = &self.keys[key as usize];
            next = next.min(from(&key.prefix));
            at = key.up;
        }
        next
    }
}
