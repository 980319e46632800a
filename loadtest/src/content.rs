//! What requests carry: a body of one size, of a file, or of sizes drawn from a distribution.

use crate::chance::Chance;
use crate::units;

/// Bytes of bodies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sizes {
    /// Always so many; 0 is no body.
    Fixed(u64),
    /// Evenly between these two.
    Uniform(u64, u64),
    /// Exponential with this mean, cut off at its tenfold.
    Exponential(u64),
    /// Each with its weight.
    Weighted(Vec<(u64, f64)>),
}

/// Exponential sizes end at so many times their mean: one in 22,000 would be larger.
const EXPONENTIAL_MAX: u64 = 10;
/// What a body in memory may be: it is held once a core.
pub(crate) const BYTES_MAX: u64 = 1 << 30;

impl Sizes {
    /// Reads `4k`, `uniform:1k-64k`, `exp:16k` or `weighted:1k=90,1m=10`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Sizes, String> {
        let sizes = match text.split_once(':') {
            None => Sizes::Fixed(units::size(text)?),
            Some(("uniform", range)) => {
                let (first, last) = range.split_once('-').ok_or("uniform:FIRST-LAST")?;
                let (first, last) = (units::size(first)?, units::size(last)?);
                if first > last {
                    return Err(format!("{range:?} runs backwards"));
                }
                Sizes::Uniform(first, last)
            }
            Some(("exp", mean)) => Sizes::Exponential(units::size(mean)?),
            Some(("weighted", list)) => {
                let part = |part: &str| {
                    let (size, weight) = part.split_once('=').ok_or("weighted:SIZE=WEIGHT,...")?;
                    let weight: f64 = weight.parse().map_err(|_| format!("{weight:?} is no number"))?;
                    if !(weight > 0.0 && weight.is_finite()) {
                        return Err(format!("{weight} is no weight"));
                    }
                    Ok::<_, String>((units::size(size)?, weight))
                };
                Sizes::Weighted(list.split(',').map(part).collect::<Result<_, _>>()?)
            }
            Some((other, _)) => return Err(format!("{other:?} is none of uniform, exp, weighted")),
        };
        if sizes.max() > BYTES_MAX { Err("a body is at most 1g".into()) } else { Ok(sizes) }
    }

    /// The greatest.
    pub(crate) fn max(&self) -> u64 {
        match self {
            Sizes::Fixed(size) => *size,
            Sizes::Uniform(_, last) => *last,
            Sizes::Exponential(mean) => mean * EXPONENTIAL_MAX,
            Sizes::Weighted(all) => all.iter().map(|(size, _)| *size).max().unwrap_or(0),
        }
    }

    /// The one size there is.
    pub(crate) fn fixed(&self) -> Option<u64> {
        match self {
            Sizes::Fixed(size) => Some(*size),
            _ => None,
        }
    }

    /// As [`Sizes::parse`] reads it.
    pub(crate) fn text(&self) -> String {
        match self {
            Sizes::Fixed(size) => size.to_string(),
            Sizes::Uniform(first, last) => format!("uniform:{first}-{last}"),
            Sizes::Exponential(mean) => format!("exp:{mean}"),
            Sizes::Weighted(all) => {
                let parts: Vec<String> = all.iter().map(|(size, weight)| format!("{size}={weight}")).collect();
                format!("weighted:{}", parts.join(","))
            }
        }
    }

    /// The next one.
    pub(crate) fn draw(&self, chance: &mut Chance) -> u64 {
        match self {
            Sizes::Fixed(size) => *size,
            Sizes::Uniform(first, last) => chance.between(*first, *last),
            Sizes::Exponential(mean) => ((*mean as f64 * chance.exponential()) as u64).min(self.max()),
            Sizes::Weighted(all) => {
                let mut left = chance.unit() * all.iter().map(|(_, weight)| weight).sum::<f64>();
                let found = all.iter().find(|(_, weight)| {
                    left -= weight;
                    left < 0.0
                });
                found.or(all.last()).map_or(0, |(size, _)| *size)
            }
        }
    }
}

/// Bytes that look like none in particular, always the same: no compression makes them small.
pub(crate) fn filling(size: usize) -> Vec<u8> {
    let mut chance = Chance::new(0x7269_6e67);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&chance.next().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, range: std::ops::RangeInclusive<f64>, max: u64) {
        let sizes = Sizes::parse(text).expect(text);
        let mut chance = Chance::new(1);
        let drawn: Vec<u64> = (0..20_000).map(|_| sizes.draw(&mut chance)).collect();
        let mean = drawn.iter().sum::<u64>() as f64 / 20_000.0;
        assert!(range.contains(&mean), "{text}: {mean}");
        assert!(drawn.iter().all(|size| *size <= max) && sizes.max() == max, "{text}");
        assert_eq!(Sizes::parse(&sizes.text()), Ok(sizes));
    }

    #[test]
    fn sizes_have_their_means() {
        check("4k", 4096.0..=4096.0, 4096);
        check("uniform:100-300", 195.0..=205.0, 300);
        check("exp:1000", 970.0..=1030.0, 10_000);
        check("weighted:100=90,1000=10", 180.0..=200.0, 1000);
    }

    #[test]
    fn what_is_no_size() {
        for text in ["uniform:5", "uniform:9-5", "exp:", "weighted:5", "weighted:5=0", "normal:5", "2g"] {
            assert!(Sizes::parse(text).is_err(), "{text}");
        }
    }
}
