//! How many responses had each status: `upstream_rq_200`, `upstream_rq_404` and so on.
//!
//! Statuses are found in the order in which they first came: most clusters answer with a few, and the usual one is first. A
//! run of [`SLOTS`] is allocated when the one before is full. All that is by class, and the sum, is computed by who reads.

use std::sync::OnceLock;

use crate::Counter;

/// Statuses of one run: 128 bytes. There are 500 statuses, so that at worst there are 63 runs.
const SLOTS: usize = 8;

/// Counts by status. Any thread may read them; one thread writes them.
#[derive(Debug, Default)]
pub struct Codes(OnceLock<Box<Run>>);

#[derive(Debug, Default)]
struct Run {
    /// The status and how often it came; a status of 0 is free, and so are those behind it.
    slots: [(Counter, Counter); SLOTS],
    next: Codes,
}

impl Codes {
    /// Counts a response. Statuses outside 100..=599 belong nowhere. For the one writer.
    #[inline]
    pub fn count(&self, status: u16) {
        if !(100..600).contains(&status) {
            return;
        }
        let mut run = self.0.get_or_init(Box::default);
        loop {
            for (code, count) in &run.slots {
                if code.value() == u64::from(status) {
                    return count.add(1);
                }
                if code.value() == 0 {
                    code.add(u64::from(status));
                    return count.add(1);
                }
            }
            run = run.next.0.get_or_init(Box::default);
        }
    }

    /// Adds what there is to `sums`, sorted by status.
    pub fn add_to(&self, sums: &mut Vec<(u16, u64)>) {
        let mut next = self.0.get();
        while let Some(run) = next {
            for (code, count) in &run.slots {
                let (code, count) = (code.value() as u16, count.value());
                if code == 0 {
                    return;
                }
                match sums.binary_search_by_key(&code, |sum| sum.0) {
                    Ok(at) => sums[at].1 += count,
                    Err(at) => sums.insert(at, (code, count)),
                }
            }
            next = run.next.0.get();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_counted_and_what_is_none_is_not() {
        let codes = [Codes::default(), Codes::default()];
        for status in (100..620).chain([0, 99, 200, 65535]) {
            codes[0].count(status);
        }
        codes[1].count(404);
        let mut sums = vec![];
        codes.iter().for_each(|codes| codes.add_to(&mut sums));
        assert_eq!(sums.len(), 500);
        assert!(sums.is_sorted());
        let odd: Vec<_> = sums.into_iter().filter(|sum| sum.1 != 1).collect();
        assert_eq!(odd, [(200, 2), (404, 2)]);
    }
}
