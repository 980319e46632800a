//! A histogram of latencies: 64 bins for each doubling, so that a value is known to 1.6 %, in 30 KiB.

/// Bins of one doubling, as a power of two.
const BINS_LOG2: u32 = 6;
/// Doublings beyond the first bins: up to 2^60, which no latency reaches.
const DOUBLINGS: usize = 60;

/// Counts of values by their size.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    bins: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { bins: vec![0; (DOUBLINGS + 1) << BINS_LOG2], count: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    pub(crate) fn record(&mut self, value: u64) {
        let last = self.bins.len() - 1;
        self.bins[bin(value).min(last)] += 1;
        self.count += 1;
    }

    /// The value that so great a part of all is not above, rounded up to its bin's upper end; 0 where there are none.
    pub(crate) fn quantile(&self, part: f64) -> u64 {
        let rank = (self.count as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.bins.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(at);
            }
        }
        0
    }
}

fn bin(value: u64) -> usize {
    let doublings = (64 - value.leading_zeros()).saturating_sub(BINS_LOG2 + 1);
    ((doublings as usize) << BINS_LOG2) + (value >> doublings) as usize
}

/// The greatest value of a bin.
fn upper(at: usize) -> u64 {
    let doublings = (at >> BINS_LOG2).saturating_sub(1);
    let first = at - (doublings << BINS_LOG2);
    ((first as u64 + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_to_one_part_in_64() {
        let mut at = 0;
        for value in (0..200_000_u64).chain([1 << 40, u64::MAX >> 5]) {
            let now = bin(value);
            assert!(now >= at, "{value}");
            at = now;
            assert!(upper(now) >= value && upper(now) - value <= value / 64, "{value} {}", upper(now));
        }
    }

    #[test]
    fn quantiles_are_of_what_was_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), 0);
        (1..=100).for_each(|value| histogram.record(value));
        let quantiles = [0.0, 0.5, 0.99, 1.0].map(|part| histogram.quantile(part));
        assert_eq!(quantiles, [1, 50, 99, 100]);
    }
}
