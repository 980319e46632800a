//! Histograms: how often each value was met, in log-linear bins.
//!
//! The bins are those of Envoy's circllhist for whole numbers: two decimal digits are kept, so that a bin is at most a tenth
//! of its value wide and its middle at most 5 % off. What is read here therefore reads as Envoy's does, to the digit.
//!
//! A histogram is allocated when it is first written, and a decade of it when a value falls there: one that never saw a value
//! costs 16 bytes, one with values below 10 costs 240, and each further decade 720. No atomic read-modify-write: like a
//! [`Counter`] it has one writer.

use std::sync::OnceLock;

use crate::Counter;

/// Values below this have a bin each, and those of the histogram itself.
const FIRST: u64 = 10;
/// Bins of a decade: 1.0, 1.1 ... 9.9 times a power of ten.
const PER_DECADE: usize = 90;
/// Decades beyond the first: up to 10^10 (as milliseconds, 115 days). What is larger falls into the last bin.
const DECADES: usize = 9;
/// All bins.
const BINS: usize = FIRST as usize + DECADES * PER_DECADE;

/// How often each value was met. Any thread may read it; one thread writes it.
#[derive(Debug, Default)]
pub struct Histogram(OnceLock<Box<Bins>>);

#[derive(Debug, Default)]
struct Bins {
    first: [Counter; FIRST as usize],
    decades: [OnceLock<Box<Decade>>; DECADES],
}

#[derive(Debug)]
struct Decade([Counter; PER_DECADE]);

impl Default for Decade {
    fn default() -> Self {
        Self([const { Counter::new() }; PER_DECADE])
    }
}

/// The bin of a value beyond the first ones: its decade and its place there.
#[inline]
fn place(value: u64) -> (usize, usize) {
    let exponent = value.ilog10() as usize;
    if exponent > DECADES {
        return (DECADES - 1, PER_DECADE - 1);
    }
    (exponent - 1, (value / 10u64.pow(exponent as u32 - 1)) as usize - FIRST as usize)
}

impl Histogram {
    /// Counts a value. For the one writer.
    #[inline]
    pub fn record(&self, value: u64) {
        let bins = self.0.get_or_init(Box::default);
        match bins.first.get(value as usize) {
            Some(bin) => bin.add(1),
            None => {
                let (decade, at) = place(value);
                bins.decades[decade].get_or_init(Box::default).0[at].add(1);
            }
        }
    }
}

/// What several histograms hold together, for who reads them. Kept and cleared, so that a scrape allocates it once.
#[derive(Debug)]
pub struct Distribution {
    counts: Box<[u64; BINS]>,
    total: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { counts: Box::new([0; BINS]), total: 0 }
    }
}

/// One bin that is not empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// The least value in it.
    pub lower: f64,
    /// How far the next bin is; 0 for the bin of zero.
    pub width: f64,
    /// How many values fell into it.
    pub count: u64,
}

impl Bin {
    fn new(at: usize, count: u64) -> Bin {
        let Some(beyond) = at.checked_sub(FIRST as usize) else {
            return Bin { lower: at as f64, width: if at == 0 { 0.0 } else { 0.1 }, count };
        };
        let width = 10f64.powi((beyond / PER_DECADE) as i32);
        Bin { lower: (beyond % PER_DECADE + FIRST as usize) as f64 * width, width, count }
    }
}

impl Distribution {
    /// The quantiles that Envoy shows.
    pub const QUANTILES: [f64; 10] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0];

    /// Forgets all.
    pub fn clear(&mut self) {
        if self.total > 0 {
            self.counts.fill(0);
            self.total = 0;
        }
    }

    /// Adds what a histogram holds now.
    pub fn add(&mut self, histogram: &Histogram) {
        let Some(bins) = histogram.0.get() else { return };
        let mut add = |at: usize, counters: &[Counter]| {
            for (place, counter) in self.counts[at..].iter_mut().zip(counters) {
                let count = counter.value();
                *place += count;
                self.total += count;
            }
        };
        add(0, &bins.first);
        for (decade, counters) in bins.decades.iter().enumerate() {
            if let Some(counters) = counters.get() {
                add(FIRST as usize + decade * PER_DECADE, &counters.0);
            }
        }
    }

    /// How many values there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The bins that are not empty, smallest first.
    pub fn bins(&self) -> impl Iterator<Item = Bin> {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(at, count)| Bin::new(at, *count))
    }

    /// The sum of all values as Envoy has it: of each bin its middle, weighed towards the lower bound.
    pub fn sum(&self) -> f64 {
        let middle = |bin: Bin| match bin.lower {
            0.0 => 0.0,
            lower => lower + bin.width * lower / (lower + lower + bin.width),
        };
        self.bins().map(|bin| middle(bin) * bin.count as f64).sum()
    }

    /// Values up to each bound (growing), counted by whole bins: the bin that a bound falls into counts as below it.
    pub fn below<'d>(&'d self, bounds: &'d [f64]) -> impl Iterator<Item = (f64, u64)> + 'd {
        let mut bins = self.bins().peekable();
        let mut count = 0;
        bounds.iter().map(move |&bound| {
            while let Some(bin) = bins.next_if(|bin| bin.lower <= bound) {
                count += bin.count;
            }
            (bound, count)
        })
    }

    /// The value below which this share (0 to 1) of all lies, a bin's values taken as spread evenly; `None` of none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = ((share * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut before = 0;
        self.bins().find_map(|bin| {
            let at = rank - before;
            before += bin.count;
            (rank <= before).then(|| bin.lower + bin.width * at as f64 / (bin.count + 1) as f64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(u64, u64)]) -> Distribution {
        let histogram = Histogram::default();
        values.iter().for_each(|(value, count)| (0..*count).for_each(|_| histogram.record(*value)));
        let mut distribution = Distribution::default();
        distribution.add(&histogram);
        distribution
    }

    #[test]
    fn a_bin_is_at_most_a_tenth_of_its_value_wide() {
        for (value, lower, width) in [
            (0, 0.0, 0.0),
            (1, 1.0, 0.1),
            (9, 9.0, 0.1),
            (10, 10.0, 1.0),
            (99, 99.0, 1.0),
            (100, 100.0, 10.0),
            (119, 110.0, 10.0),
            (123_456, 120_000.0, 10_000.0),
            (9_999_999_999, 9_900_000_000.0, 100_000_000.0),
            (10_000_000_000, 9_900_000_000.0, 100_000_000.0),
            (u64::MAX, 9_900_000_000.0, 100_000_000.0),
        ] {
            let bins: Vec<Bin> = of(&[(value, 1)]).bins().collect();
            assert_eq!(bins, [Bin { lower, width, count: 1 }], "{value}");
        }
        for value in (0..5_000_000u64).step_by(37).chain(1_000_000_000..1_000_001_000) {
            let bin = of(&[(value, 1)]).bins().next().expect("one value");
            assert!(bin.lower <= value as f64 && value as f64 <= bin.lower + bin.width, "{value}: {bin:?}");
            assert!(bin.width <= bin.lower / 10.0 + f64::EPSILON, "{value}: {bin:?}");
        }
    }

    /// What Envoy 1.40 showed of the same values.
    #[test]
    fn quantiles_and_sums_are_envoys() {
        let shown = |distribution: &Distribution| Distribution::QUANTILES.map(|share| distribution.quantile(share));
        let some = |values: [f64; 10]| values.map(Some);
        assert_eq!(
            shown(&of(&[(0, 9), (1, 1), (3, 1), (20, 1), (43, 1), (44, 1)])),
            some([0.0, 0.0, 0.0, 3.05, 43.5, 44.5, 44.5, 44.5, 44.5, 44.5])
        );
        let twelve = of(&[(1, 12)]);
        for (share, expect) in
            [(0.0, 1.0076923), (0.25, 1.0230769), (0.5, 1.0461538), (0.9, 1.0846153), (1.0, 1.0923076)]
        {
            let found = twelve.quantile(share).expect("twelve values");
            assert!((found - expect).abs() < 1e-6, "{share}: {found}");
        }
        let sum = of(&[(0, 9), (1, 1), (3, 1), (20, 1), (43, 1), (44, 1)]).sum();
        assert!((sum - 112.573_239_149_571_8).abs() < 1e-9, "{sum}");
        assert_eq!(Distribution::default().quantile(0.5), None);
    }

    #[test]
    fn a_bound_takes_the_bin_that_it_falls_into() {
        let distribution = of(&[(0, 9), (1, 1), (3, 1), (25, 1), (250, 2), (260, 1)]);
        let counts: Vec<u64> = distribution.below(&[0.5, 1.0, 5.0, 25.0, 250.0, 1e6]).map(|(_, count)| count).collect();
        assert_eq!(counts, [9, 10, 11, 12, 14, 15]);
    }

    #[test]
    fn several_are_read_as_one_and_cleared() {
        let histograms = [Histogram::default(), Histogram::default(), Histogram::default()];
        histograms[0].record(5);
        histograms[1].record(5);
        histograms[1].record(500);
        let mut distribution = Distribution::default();
        histograms.iter().for_each(|histogram| distribution.add(histogram));
        assert_eq!((distribution.total(), distribution.bins().count()), (3, 2));
        distribution.clear();
        assert_eq!((distribution.total(), distribution.bins().count()), (0, 0));
    }

    /// What docs/LIMITS.md says of the memory.
    #[test]
    fn memory_is_as_said() {
        assert_eq!((size_of::<Histogram>(), size_of::<Bins>(), size_of::<Decade>()), (16, 224, 720));
    }
}
