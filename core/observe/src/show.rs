//! How a histogram reads in text and in JSON, as Envoy writes it.
//!
//! Envoy shows two distributions: of the last interval between two flushes, and of all time. Ringway keeps the second one; the
//! first is said not to be there (`nan`, `null`), where Envoy says the same of an interval without a value.

use std::fmt::{self, Write};

use crate::Distribution;

/// The bounds that Envoy counts up to where the configuration names no others.
pub const DEFAULT_BUCKETS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// `histogram_buckets=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Buckets {
    /// Quantiles.
    #[default]
    Summary,
    /// How many up to each bound.
    Cumulative,
    /// How many between each two bounds.
    Disjoint,
    /// Every bin, and the quantiles.
    Detailed,
}

/// Writes a histogram's line (or lines).
///
/// # Errors
/// What `out` failed with.
pub fn histogram_text(
    out: &mut dyn Write,
    name: &str,
    distribution: &Distribution,
    buckets: Buckets,
    bounds: &[f64],
) -> fmt::Result {
    write!(out, "{name}:")?;
    if distribution.total() == 0 {
        return out.write_str(" No recorded values\n");
    }
    match buckets {
        Buckets::Summary => quantiles(out, distribution, " ")?,
        Buckets::Detailed => {
            out.write_str("\n  totals=")?;
            for (at, bin) in distribution.bins().enumerate() {
                let comma = if at == 0 { "" } else { ", " };
                write!(out, "{comma}{},{}:{}", bin.lower, bin.width, bin.count)?;
            }
            out.write_str("\n  intervals=\n  summary=")?;
            quantiles(out, distribution, "")?;
        }
        Buckets::Cumulative | Buckets::Disjoint => {
            for (bound, count) in counts(distribution, buckets, bounds) {
                out.write_str(" B")?;
                general(bound, out)?;
                write!(out, "(0,{count})")?;
            }
        }
    }
    out.write_char('\n')
}

fn quantiles(out: &mut dyn Write, distribution: &Distribution, first: &str) -> fmt::Result {
    for (at, share) in Distribution::QUANTILES.into_iter().enumerate() {
        let blank = if at == 0 { first } else { " " };
        let value = distribution.quantile(share).unwrap_or(f64::NAN);
        write!(out, "{blank}P{}(nan,{value})", percent(share))?;
    }
    Ok(())
}

/// 0.995 is 99.5.
fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

/// The counts of each bound: up to it, or from the one before.
fn counts<'d>(
    distribution: &'d Distribution,
    buckets: Buckets,
    bounds: &'d [f64],
) -> impl Iterator<Item = (f64, u64)> + 'd {
    let mut before = 0;
    distribution.below(bounds).map(move |(bound, count)| match buckets {
        Buckets::Disjoint => (bound, count - std::mem::replace(&mut before, count)),
        _ => (bound, count),
    })
}

/// As C's `%g` writes it.
fn general(value: f64, out: &mut dyn Write) -> fmt::Result {
    if value == 0.0 || (1e-4..1e6).contains(&value.abs()) {
        return write!(out, "{value}");
    }
    let text = format!("{value:.5e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "{}e{sign}{:02}", digits.trim_end_matches('0').trim_end_matches('.'), exponent.abs())
}

/// Histograms of one answer in JSON: the forms of Envoy's `/stats?format=json`, one object for all of them.
#[derive(Debug)]
pub struct HistogramsJson {
    buckets: Buckets,
    count: usize,
}

impl HistogramsJson {
    /// Nothing was written yet.
    pub fn new(buckets: Buckets) -> Self {
        Self { buckets, count: 0 }
    }

    /// Writes one histogram. `is_first`: nothing stands before it in the list of statistics.
    ///
    /// # Errors
    /// What `out` failed with.
    pub fn write(
        &mut self,
        out: &mut dyn Write,
        is_first: bool,
        name: &str,
        distribution: &Distribution,
        bounds: &[f64],
    ) -> fmt::Result {
        if self.count > 0 {
            out.write_char(',')?;
        } else {
            if !is_first {
                out.write_char(',')?;
            }
            out.write_str("{\"histograms\":")?;
            match self.buckets {
                Buckets::Summary => {
                    out.write_str("{\"supported_quantiles\":")?;
                    percents(out)?;
                    out.write_str(",\"computed_quantiles\":[")?;
                }
                Buckets::Detailed => {
                    out.write_str("{\"supported_percentiles\":")?;
                    percents(out)?;
                    out.write_str(",\"details\":[")?;
                }
                Buckets::Cumulative | Buckets::Disjoint => out.write_char('[')?,
            }
        }
        self.count += 1;
        out.write_str("{\"name\":")?;
        json_text(name, out)?;
        match self.buckets {
            Buckets::Summary => {
                out.write_str(",\"values\":[")?;
                json_quantiles(out, distribution)?;
            }
            Buckets::Detailed => {
                out.write_str(",\"totals\":[")?;
                for (at, bin) in distribution.bins().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(
                        out,
                        "{comma}{{\"lower_bound\":{},\"width\":{},\"count\":{}}}",
                        bin.lower, bin.width, bin.count
                    )?;
                }
                out.write_str("],\"intervals\":[],\"percentiles\":[")?;
                json_quantiles(out, distribution)?;
            }
            Buckets::Cumulative | Buckets::Disjoint => {
                out.write_str(",\"buckets\":[")?;
                for (at, (bound, count)) in counts(distribution, self.buckets, bounds).enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(out, "{comma}{{\"upper_bound\":{bound},\"interval\":0,\"cumulative\":{count}}}")?;
                }
            }
        }
        out.write_str("]}")
    }

    /// Closes what was opened.
    ///
    /// # Errors
    /// What `out` failed with.
    pub fn finish(self, out: &mut dyn Write) -> fmt::Result {
        match (self.count, self.buckets) {
            (0, _) => Ok(()),
            (_, Buckets::Summary | Buckets::Detailed) => out.write_str("]}}"),
            (_, Buckets::Cumulative | Buckets::Disjoint) => out.write_str("]}"),
        }
    }
}

fn percents(out: &mut dyn Write) -> fmt::Result {
    for (at, share) in Distribution::QUANTILES.into_iter().enumerate() {
        write!(out, "{}{}", if at == 0 { '[' } else { ',' }, percent(share))?;
    }
    out.write_char(']')
}

fn json_quantiles(out: &mut dyn Write, distribution: &Distribution) -> fmt::Result {
    for (at, share) in Distribution::QUANTILES.into_iter().enumerate() {
        out.write_str(if at == 0 { "{\"cumulative\":" } else { ",{\"cumulative\":" })?;
        match distribution.quantile(share) {
            Some(value) => write!(out, "{value},\"interval\":null}}")?,
            None => out.write_str("null,\"interval\":null}")?,
        }
    }
    Ok(())
}

/// Writes a JSON string.
///
/// # Errors
/// What `out` failed with.
pub fn json_text(text: &str, out: &mut dyn Write) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32)?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Histogram;

    fn sample() -> Distribution {
        let histogram = Histogram::default();
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 20, 43, 44].into_iter().for_each(|value| histogram.record(value));
        let mut distribution = Distribution::default();
        distribution.add(&histogram);
        distribution
    }

    #[track_caller]
    fn check(distribution: &Distribution, buckets: Buckets, expect: &str) {
        let mut out = String::new();
        histogram_text(&mut out, "h", distribution, buckets, &[0.5, 1.0, 1.8e6]).expect("a text takes all");
        assert_eq!(out, expect);
    }

    /// Envoy 1.40's own lines of the same values, but for the interval.
    #[test]
    fn text_is_envoys() {
        check(
            &sample(),
            Buckets::Summary,
            "h: P0(nan,0) P25(nan,0) P50(nan,0) P75(nan,3.05) P90(nan,43.5) P95(nan,44.5) P99(nan,44.5) P99.5(nan,44.5) \
             P99.9(nan,44.5) P100(nan,44.5)\n",
        );
        check(&sample(), Buckets::Cumulative, "h: B0.5(0,9) B1(0,10) B1.8e+06(0,14)\n");
        check(&sample(), Buckets::Disjoint, "h: B0.5(0,9) B1(0,1) B1.8e+06(0,4)\n");
        check(
            &sample(),
            Buckets::Detailed,
            "h:\n  totals=0,0:9, 1,0.1:1, 3,0.1:1, 20,1:1, 43,1:1, 44,1:1\n  intervals=\n  summary=P0(nan,0) P25(nan,0) \
             P50(nan,0) P75(nan,3.05) P90(nan,43.5) P95(nan,44.5) P99(nan,44.5) P99.5(nan,44.5) P99.9(nan,44.5) \
             P100(nan,44.5)\n",
        );
        check(&Distribution::default(), Buckets::Cumulative, "h: No recorded values\n");
    }

    #[test]
    fn json_is_envoys() {
        let (sample, none) = (sample(), Distribution::default());
        for (buckets, expect) in [
            (
                Buckets::Disjoint,
                r#"{"histograms":[{"name":"a","buckets":[{"upper_bound":1,"interval":0,"cumulative":10}]},{"name":"b","buckets":[{"upper_bound":1,"interval":0,"cumulative":0}]}]}"#,
            ),
            (
                Buckets::Detailed,
                r#"{"histograms":{"supported_percentiles":[0,25,50,75,90,95,99,99.5,99.9,100],"details":[{"name":"a","totals":[{"lower_bound":0,"width":0,"count":9},"#,
            ),
            (
                Buckets::Summary,
                r#"{"histograms":{"supported_quantiles":[0,25,50,75,90,95,99,99.5,99.9,100],"computed_quantiles":[{"name":"a","values":[{"cumulative":0,"interval":null},"#,
            ),
        ] {
            let mut out = String::new();
            let mut json = HistogramsJson::new(buckets);
            json.write(&mut out, true, "a", &sample, &[1.0]).expect("a text takes all");
            json.write(&mut out, true, "b", &none, &[1.0]).expect("a text takes all");
            json.finish(&mut out).expect("a text takes all");
            assert!(out.starts_with(expect), "{out}");
            let depth = |open: char, close: char| {
                out.chars().filter(|c| *c == open).count() == out.chars().filter(|c| *c == close).count()
            };
            assert!(depth('{', '}') && depth('[', ']'), "{out}");
        }
    }
}
