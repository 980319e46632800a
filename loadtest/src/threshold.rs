//! When a run has failed: `p99>5ms,errors>0`.

use std::fmt;

use crate::failure::Failure;
use crate::run::Outcome;
use crate::units;

/// What is measured, in the unit that its values are written in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// Latency that this part of the requests is within, in seconds.
    Quantile(f64),
    Mean,
    Max,
    /// Failed requests.
    Errors,
    /// Their part of all.
    ErrorRate,
    Failure(Failure),
    Answered,
    /// Answers a second.
    Rate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Relation {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// One condition under which a run has failed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Threshold {
    /// As it was written.
    text: String,
    metric: Metric,
    relation: Relation,
    value: f64,
}

/// What one came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) text: String,
    /// In seconds where it is of time.
    pub(crate) measured: f64,
    pub(crate) failed: bool,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.text, self.measured, if self.failed { "failed" } else { "held" })
    }
}

impl Threshold {
    /// Reads a list of conditions, with commas in between.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Threshold>, String> {
        text.split(',').map(Threshold::parse).collect()
    }

    fn parse(text: &str) -> Result<Threshold, String> {
        let text = text.trim();
        let at = text.find(['<', '>']).ok_or_else(|| format!("{text:?} has neither < nor >"))?;
        let (name, rest) = text.split_at(at);
        let (relation, value) = match rest.as_bytes() {
            [b'>', b'=', ..] => (Relation::AtLeast, &rest[2..]),
            [b'<', b'=', ..] => (Relation::AtMost, &rest[2..]),
            [b'>', ..] => (Relation::Above, &rest[1..]),
            _ => (Relation::Below, &rest[1..]),
        };
        let metric = Metric::parse(name.trim()).ok_or_else(|| format!("{name:?} is nothing that is measured"))?;
        let value = metric.value(value.trim()).map_err(|error| format!("{text:?}: {error}"))?;
        Ok(Threshold { text: text.to_owned(), metric, relation, value })
    }

    /// Whether a run has failed by it.
    pub(crate) fn judge(&self, outcome: &Outcome) -> Judged {
        let measured = self.metric.of(outcome);
        let failed = match self.relation {
            Relation::Above => measured > self.value,
            Relation::AtLeast => measured >= self.value,
            Relation::Below => measured < self.value,
            Relation::AtMost => measured <= self.value,
        };
        Judged { text: self.text.clone(), measured, failed }
    }
}

impl Metric {
    fn parse(name: &str) -> Option<Metric> {
        if let Some(percent) = name.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok()) {
            return (0.0..=100.0).contains(&percent).then_some(Metric::Quantile(percent / 100.0));
        }
        Some(match name {
            "mean" => Metric::Mean,
            "max" => Metric::Max,
            "errors" => Metric::Errors,
            "error_rate" => Metric::ErrorRate,
            "answered" => Metric::Answered,
            "rate" => Metric::Rate,
            _ => Metric::Failure(Failure::ALL.into_iter().find(|failure| failure.name() == name)?),
        })
    }

    fn value(self, text: &str) -> Result<f64, String> {
        match self {
            Metric::Quantile(_) | Metric::Mean | Metric::Max => units::duration(text).map(|time| time.as_secs_f64()),
            _ => {
                let (digits, part) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
                let number: f64 = digits.parse().map_err(|_| format!("{text:?} is no number"))?;
                Ok(number / part)
            }
        }
    }

    fn of(self, outcome: &Outcome) -> f64 {
        let total = &outcome.total;
        let errors = total.failures.total() as f64;
        match self {
            Metric::Quantile(quantile) => total.latency.value_at_quantile(quantile) as f64 / 1e9,
            Metric::Mean => total.latency.mean() / 1e9,
            Metric::Max => total.latency.max() as f64 / 1e9,
            Metric::Errors => errors,
            Metric::ErrorRate => errors / (errors + total.answered as f64).max(1.0),
            Metric::Failure(failure) => total.failures.of(failure) as f64,
            Metric::Answered => total.answered as f64,
            Metric::Rate => outcome.rate(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        for (text, expect) in [
            ("p99>5ms", Some((Metric::Quantile(0.99), Relation::Above, 0.005))),
            ("p99.9 >= 1s", Some((Metric::Quantile(0.999), Relation::AtLeast, 1.0))),
            ("error_rate>1%", Some((Metric::ErrorRate, Relation::Above, 0.01))),
            ("rate<1000", Some((Metric::Rate, Relation::Below, 1000.0))),
            ("answered<=0", Some((Metric::Answered, Relation::AtMost, 0.0))),
            ("timeout>0", Some((Metric::Failure(Failure::Timeout), Relation::Above, 0.0))),
            ("p101>1s", None),
            ("p99=5ms", None),
            ("p99>fast", None),
            ("beauty>1", None),
            ("", None),
        ] {
            let read = Threshold::parse(text).ok().map(|read| (read.metric, read.relation, read.value));
            match (read, expect) {
                (Some(read), Some(expect)) => {
                    assert!((read.2 - expect.2).abs() < 1e-12 && read.1 == expect.1, "{text}: {read:?}");
                    let close = match (read.0, expect.0) {
                        (Metric::Quantile(a), Metric::Quantile(b)) => (a - b).abs() < 1e-12,
                        (a, b) => a == b,
                    };
                    assert!(close, "{text}: {read:?}");
                }
                (read, expect) => assert_eq!(read, expect, "{text}"),
            }
        }
        assert_eq!(Threshold::parse_all("p99>5ms, errors>0").map(|all| all.len()), Ok(2));
    }
}
