//! A compressed trie of byte strings, built once: which of many keys begin a text.
//!
//! It never holds values: keys have numbers, and who uses it keeps a list by number. A walk costs the nodes on the
//! text's own way, at most one a byte of the longest key that begins it, however many keys there are.
//!
//! Invariant: the children of a node lie together, ordered by their first byte, which differ.

use std::collections::VecDeque;
use std::ops::Range;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Radix {
    nodes: Vec<Node>,
    /// The first byte of each node's label, by the node's number: a look-up among children touches this alone.
    firsts: Vec<u8>,
    labels: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
struct Node {
    /// What follows the first byte, which the way here has compared; all of it at the root.
    label: Range<u32>,
    children: Range<u32>,
    /// The key that ends here.
    key: Option<u32>,
}

impl Radix {
    /// Builds the trie of these keys; a key's number is its position. They are in ascending order, and none is there twice.
    pub(crate) fn new<K: AsRef<[u8]>>(keys: &[K]) -> Self {
        assert!(keys.windows(2).all(|pair| pair[0].as_ref() < pair[1].as_ref()), "keys in order, each once");
        let mut radix = Self::default();
        if keys.is_empty() {
            return radix;
        }
        radix.push_node(0);
        // Nodes that have a number and wait for their content: the keys below them, and how many bytes lead to them.
        let mut waiting = VecDeque::from([(0, 0..keys.len(), 0)]);
        while let Some((node, below, depth)) = waiting.pop_front() {
            let first = keys[below.start].as_ref();
            let last = keys[below.end - 1].as_ref();
            let common = first[depth..].iter().zip(&last[depth..]).take_while(|(one, other)| one == other).count();
            let label = radix.labels.len() as u32;
            radix.labels.extend_from_slice(&first[depth..depth + common]);
            let depth = depth + common;
            let ends_here = first.len() == depth;
            let mut at = below.start + usize::from(ends_here);
            let children = radix.nodes.len() as u32;
            while at < below.end {
                let byte = keys[at].as_ref()[depth];
                let end = at + keys[at..below.end].partition_point(|key| key.as_ref()[depth] == byte);
                waiting.push_back((radix.nodes.len(), at..end, depth + 1));
                radix.push_node(byte);
                at = end;
            }
            radix.nodes[node] = Node {
                label: label..radix.labels.len() as u32,
                children: children..radix.nodes.len() as u32,
                key: ends_here.then_some(below.start as u32),
            };
        }
        radix
    }

    fn push_node(&mut self, first: u8) {
        assert!(self.nodes.len() < u32::MAX as usize, "a configuration's text is far shorter");
        self.nodes.push(Node { label: 0..0, children: 0..0, key: None });
        self.firsts.push(first);
    }

    /// Calls `seen` with each key that begins `text`, shortest first, and with whether it is all of it. With `fold` the
    /// text's letters count as lower case, which the keys then are in. Gives the number of nodes that were looked at.
    #[inline]
    pub(crate) fn walk(&self, text: &[u8], fold: bool, mut seen: impl FnMut(u32, bool)) -> usize {
        let Some(mut node) = self.nodes.first() else { return 0 };
        let mut rest = text;
        let mut steps = 1;
        loop {
            if node.label.start < node.label.end {
                let label = &self.labels[node.label.start as usize..node.label.end as usize];
                let Some((start, behind)) = rest.split_at_checked(label.len()) else { return steps };
                let same = if fold { start.eq_ignore_ascii_case(label) } else { start == label };
                if !same {
                    return steps;
                }
                rest = behind;
            }
            if let Some(key) = node.key {
                seen(key, rest.is_empty());
            }
            let Some((&byte, behind)) = rest.split_first() else { return steps };
            let byte = if fold { byte.to_ascii_lowercase() } else { byte };
            let first = node.children.start as usize;
            let firsts = &self.firsts[first..node.children.end as usize];
            // Digits and letters often come all: then the place of one is known.
            let guess = byte.wrapping_sub(firsts.first().copied().unwrap_or(0)) as usize;
            let child = match firsts.get(guess) {
                Some(&found) if found == byte => guess,
                _ if firsts.len() <= LINEAR_MAX => match firsts.iter().position(|&found| found == byte) {
                    Some(child) => child,
                    None => return steps,
                },
                _ => match firsts.binary_search(&byte) {
                    Ok(child) => child,
                    Err(_) => return steps,
                },
            };
            node = &self.nodes[first + child];
            rest = behind;
            steps += 1;
        }
    }
}

/// Up to so many children a walk along them is cheaper than halving.
const LINEAR_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 9] = ["", "/", "/a", "/a/", "/ab", "/abc/d", "/b", "x", "x/y/z"];

    #[track_caller]
    fn check(text: &str, fold: bool, expect: &[(&str, bool)]) {
        let mut found = Vec::new();
        let steps = Radix::new(&KEYS).walk(text.as_bytes(), fold, |key, all| found.push((KEYS[key as usize], all)));
        assert_eq!(found, expect, "{text}");
        assert!(steps <= text.len() + 1, "{text}: {steps}");
    }

    #[test]
    fn every_key_that_begins_the_text_and_no_other() {
        check("", false, &[("", true)]);
        check("/", false, &[("", false), ("/", true)]);
        check("/a/b", false, &[("", false), ("/", false), ("/a", false), ("/a/", false)]);
        check("/abc/d", false, &[("", false), ("/", false), ("/a", false), ("/ab", false), ("/abc/d", true)]);
        check("/abc", false, &[("", false), ("/", false), ("/a", false), ("/ab", false)]);
        check("/A", false, &[("", false), ("/", false)]);
        check("/ABC/D", true, &[("", false), ("/", false), ("/a", false), ("/ab", false), ("/abc/d", true)]);
        check("x/y", false, &[("", false), ("x", false)]);
        check("zz", false, &[("", false)]);
    }

    #[test]
    fn no_keys_are_no_steps() {
        assert_eq!(Radix::new::<&str>(&[]).walk(b"/", false, |_, _| unreachable!("there is no key")), 0);
    }

    #[test]
    fn steps_grow_with_the_length_of_a_key_and_not_with_their_number() {
        let steps = |count: usize| {
            let mut keys: Vec<String> = (0..count).map(|at| format!("/service{at:05}/")).collect();
            keys.sort_unstable();
            Radix::new(&keys).walk(b"/service00007/x", false, |_, _| {})
        };
        assert!(steps(10_000) <= steps(10) + 4, "{} {}", steps(10), steps(10_000));
    }
}
