//! Earliest deadline first: weighted turns without bursts.
//!
//! Each item is due once in 1/weight; whoever is due first is next (Envoy, `EdfScheduler`). Over a span in which the weights
//! divide evenly each item is picked exactly as often as its weight says. A pick costs O(log n) and no memory.
//!
//! Invariant: `queue` is a heap: no item is due before its parent.

/// Beyond this the clock starts anew. By then each item was picked some thousand times its weight, so that the one walk over the
/// items costs nothing per pick, and deadlines keep 42 bits behind the point.
const NOW_MAX: f64 = 1024.0;

/// As many turns as a fresh wheel may have behind it (Envoy's bound, a tenth of 2^32).
const TURNS_MAX: u64 = 429_496_729;

/// The items and when they are due.
#[derive(Clone, Debug, Default)]
pub(super) struct Edf {
    /// When the last item picked was due.
    now: f64,
    /// Ties are broken by who was queued first.
    order: u64,
    queue: Vec<Due>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    at: f64,
    order: u64,
    item: u32,
}

impl Due {
    #[inline]
    fn is_before(&self, other: &Due) -> bool {
        self.at < other.at || (self.at == other.at && self.order < other.order)
    }
}

impl Edf {
    /// A wheel as it stands after `turns` picks, so that not every worker begins with the same item. Items are in ascending order.
    pub(super) fn after(items: &[(u32, f64)], turns: u64) -> Edf {
        let turns = turns % TURNS_MAX;
        let sum: f64 = items.iter().map(|(_, weight)| weight).sum();
        let mut done = 0;
        let mut edf = Edf::default();
        for (item, weight) in items {
            assert!(*weight > 0.0, "who has no weight has no turn");
            let picks = (turns as f64 * weight / sum) as u64;
            done += picks;
            edf.push(*item, (picks + 1) as f64 / weight);
        }
        edf.heapify();
        // What rounding left: fewer turns than there are items.
        let place = |item| items.binary_search_by_key(&item, |(item, _)| *item).expect("it is one of them");
        (done..turns).for_each(|_| _ = edf.pick(|item| items[place(item)].1));
        edf.now = (turns as f64 / sum).min(edf.queue.first().map_or(0.0, |due| due.at));
        edf.rebase();
        edf
    }

    /// A wheel whose items (name, weight, part) are due in these parts of their own periods.
    pub(super) fn resumed(items: impl Iterator<Item = (u32, f64, f64)>) -> Edf {
        let mut edf = Edf::default();
        items.for_each(|(item, weight, part)| edf.push(item, part / weight));
        edf.heapify();
        edf
    }

    /// Each item and in how long it is due.
    pub(super) fn remaining(&self) -> impl Iterator<Item = (u32, f64)> {
        self.queue.iter().map(|due| (due.item, (due.at - self.now).max(0.0)))
    }

    /// The next item, which is queued again with the weight that it has now.
    #[inline]
    pub(super) fn pick(&mut self, weight: impl FnOnce(u32) -> f64) -> u32 {
        let first = self.queue[0];
        self.now = first.at;
        self.queue[0] = Due { at: first.at + 1.0 / weight(first.item), order: self.order, item: first.item };
        self.order += 1;
        self.sift_down(0);
        if self.now > NOW_MAX {
            self.rebase();
        }
        first.item
    }

    fn push(&mut self, item: u32, at: f64) {
        self.queue.push(Due { at, order: self.order, item });
        self.order += 1;
    }

    fn heapify(&mut self) {
        (0..self.queue.len() / 2).rev().for_each(|at| self.sift_down(at));
    }

    fn sift_down(&mut self, mut at: usize) {
        let queue = &mut self.queue[..];
        loop {
            let left = 2 * at + 1;
            if left >= queue.len() {
                return;
            }
            let right = left + 1;
            let child = if right < queue.len() && queue[right].is_before(&queue[left]) { right } else { left };
            if !queue[child].is_before(&queue[at]) {
                return;
            }
            queue.swap(at, child);
            at = child;
        }
    }

    #[cold]
    fn rebase(&mut self) {
        let now = self.now;
        self.queue.iter_mut().for_each(|due| due.at -= now);
        self.now = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(weights: &[f64], turns: u64, count: usize) -> String {
        let items: Vec<(u32, f64)> = (0..).zip(weights.iter().copied()).collect();
        let mut edf = Edf::after(&items, turns);
        (0..count).map(|_| char::from(b'a' + edf.pick(|item| weights[item as usize]) as u8)).collect()
    }

    fn sorted(text: &str) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters.into_iter().collect()
    }

    /// By hand: a is due at 1, b at 1/2 and 1, c at 1/3, 2/3 and 1; who was queued first of those due at 1 goes first. (In the second round
    /// 1 + 1/3 + 1/3 + 1/3 is a little less than 2.)
    #[test]
    fn the_order_is_that_of_the_deadlines() {
        assert_eq!(order(&[1.0, 2.0, 3.0], 0, 12), "cbcabccbccab");
        assert_eq!(order(&[1.0, 1.0, 1.0], 0, 6), "abcabc");
        assert_eq!(order(&[5.0, 1.0], 0, 12), "aaaabaaaaaab");
    }

    #[test]
    fn after_any_number_of_turns_each_period_holds_the_weights() {
        for weights in [&[1.0, 2.0, 3.0][..], &[7.0, 3.0], &[1.0, 1.0, 5.0, 2.0]] {
            let period = weights.iter().sum::<f64>() as usize;
            let expect = sorted(&order(weights, 0, period));
            for turns in 0..25 {
                // Whole periods from where a wheel that began at 0 would end one.
                let skip = (period - turns as usize % period) % period;
                let found = order(weights, turns, skip + 3 * period);
                for begin in [skip, skip + period, skip + 2 * period] {
                    assert_eq!(sorted(&found[begin..begin + period]), expect, "{weights:?} after {turns}");
                }
            }
        }
    }

    #[test]
    fn shares_are_exact_also_after_the_clock_began_anew() {
        let weights = [1.0, 2.0, 3.0];
        let mut edf = Edf::after(&[(0, 1.0), (1, 2.0), (2, 3.0)], 12345);
        let mut counts = [0u32; 3];
        let rounds = 5 * NOW_MAX as u32;
        (0..6 * rounds).for_each(|_| counts[edf.pick(|item| weights[item as usize]) as usize] += 1);
        for (count, weight) in counts.iter().zip([1, 2, 3]) {
            assert!(count.abs_diff(weight * rounds) <= 1, "{counts:?}");
        }
        assert!(edf.now <= NOW_MAX + 1.0);
    }

    #[test]
    fn a_resumed_wheel_goes_on_where_it_stood() {
        let weights = [1.0, 2.0, 3.0];
        let items = [(0, 1.0), (1, 2.0), (2, 3.0)];
        for turns in 0..6 {
            let mut one = Edf::after(&items, turns);
            let parts: Vec<_> = one
                .remaining()
                .map(|(item, left)| (item, weights[item as usize], left * weights[item as usize]))
                .collect();
            let mut other = Edf::resumed(parts.into_iter());
            let mut pick =
                |_| [&mut one, &mut other].map(|edf| char::from(b'a' + edf.pick(|item| weights[item as usize]) as u8));
            let picks: Vec<[char; 2]> = (0..60).map(&mut pick).collect();
            for side in [0, 1] {
                let text: String = picks.iter().map(|pick| pick[side]).collect();
                let count = |letter| {
                    text.matches(letter).count().abs_diff(match letter {
                        'a' => 10,
                        'b' => 20,
                        _ => 30,
                    })
                };
                assert!(['a', 'b', 'c'].into_iter().all(|letter| count(letter) <= 1), "{turns}: {text}");
            }
            let first: String = picks[..3].iter().map(|pick| pick[0]).collect();
            let resumed: String = picks[..3].iter().map(|pick| pick[1]).collect();
            assert_eq!(sorted(&first), sorted(&resumed), "{turns}");
        }
    }
}
