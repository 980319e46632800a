//! Chance from a seed: splitmix64, so that a run can be repeated.

/// A stream of numbers that its seed decides.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The stream of one of several who share a seed.
    pub(crate) fn of(seed: u64, who: u64) -> Chance {
        let mut chance = Chance(seed ^ who.wrapping_mul(GOLDEN));
        chance.next();
        chance
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A time between two events of a Poisson process of rate 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// A number from `first` to `last`, both included.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + ((last - first + 1) as f64 * self.unit()) as u64
    }
}

/// 2^64 over the golden ratio: splitmix64's step.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_all() {
        let row = |mut chance: Chance| (0..5).map(|_| chance.next()).collect::<Vec<_>>();
        assert_eq!(row(Chance::of(7, 1)), row(Chance::of(7, 1)));
        assert_ne!(row(Chance::of(7, 1)), row(Chance::of(7, 2)));
        assert_ne!(row(Chance::new(7)), row(Chance::new(8)));
    }

    #[test]
    fn an_exponential_has_mean_one() {
        let mut chance = Chance::new(1);
        let mean = (0..100_000).map(|_| chance.exponential()).sum::<f64>() / 1e5;
        assert!((0.98..1.02).contains(&mean), "{mean}");
        assert!((0..1000).all(|_| (3..=5).contains(&chance.between(3, 5))));
    }
}
