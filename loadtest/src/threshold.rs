//! When a run has failed: `p99>5ms,errors>0`.

use std::fmt;

use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::tally::Second;
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
    /// In seconds where it is of time; infinite where it is of requests that had no answer.
    pub(crate) measured: f64,
    pub(crate) failed: bool,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.failed { "failed" } else { "held" };
        if self.measured.is_infinite() {
            return write!(f, "{} (some had no answer): {verdict}", self.text);
        }
        write!(f, "{} ({}): {verdict}", self.text, self.measured)
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
                let (digits, part) = match text.strip_suffix('%') {
                    Some(digits) if self == Metric::ErrorRate => (digits, 100.0),
                    Some(_) => return Err("% is of error_rate alone".to_owned()),
                    None => (text, 1.0),
                };
                match digits.parse::<f64>() {
                    Ok(number) if number.is_finite() && number >= 0.0 => Ok(number / part),
                    _ => Err(format!("{text:?} is no number from 0 up")),
                }
            }
        }
    }

    /// In seconds. A request that had no whole answer took longer than any: what is cut off at a timeout, or refused, is not fast.
    fn latency(self, total: &Second) -> f64 {
        let latency = &total.latency;
        // Those that were answered whole and wrong are among both.
        let unanswered = (total.answered + total.failures.total()).saturating_sub(latency.len());
        let all = (latency.len() + unanswered) as f64;
        let seconds = match self {
            Metric::Quantile(quantile) if rank(quantile, all) <= latency.len() as f64 && !latency.is_empty() => {
                // The same request, counted among those that were answered; half a request less, so that no rounding leads to the next one.
                latency.value_at_quantile((rank(quantile, all) - 0.5) / latency.len() as f64) as f64
            }
            Metric::Mean if unanswered == 0 && !latency.is_empty() => latency.mean(),
            Metric::Max if unanswered == 0 && !latency.is_empty() => latency.max() as f64,
            _ => f64::INFINITY,
        };
        seconds / 1e9
    }

    fn of(self, outcome: &Outcome) -> f64 {
        let total = &outcome.total;
        let errors = total.failures.total() as f64;
        match self {
            Metric::Quantile(_) | Metric::Mean | Metric::Max => self.latency(total),
            Metric::Errors => errors,
            Metric::ErrorRate => errors / (errors + total.answered as f64).max(1.0),
            Metric::Failure(failure) => total.failures.of(failure) as f64,
            Metric::Answered => total.answered as f64,
            Metric::Rate => outcome.rate(),
        }
    }
}

/// Which of so many requests, in order, a part of all is within: 999 of 1,000 for 0.999, which as a number is a little more than that.
fn rank(quantile: f64, all: f64) -> f64 {
    (quantile * all - 1e-6).ceil().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_exact() {
        for (percent, all, expect) in [
            (99.9, 1000.0, 999.0),
            (99.9, 10_000.0, 9_990.0),
            (55.0, 100.0, 55.0),
            (7.0, 100.0, 7.0),
            (99.9, 1001.0, 1000.0),
            (50.0, 3.0, 2.0),
            (0.0, 5.0, 1.0),
            (100.0, 5.0, 5.0),
        ] {
            assert!((rank(percent / 100.0, all) - expect).abs() < 1e-9, "p{percent} of {all}");
        }
    }

    #[test]
    fn who_had_no_answer_waited_longer_than_anybody() {
        let mut total = Second::default();
        let p = |percent| Metric::Quantile(percent / 100.0);
        let all = |total: &Second| [p(50.0), p(75.0), p(99.0), Metric::Mean, Metric::Max].map(|it| it.latency(total));
        assert!(all(&total).iter().all(|seconds| seconds.is_infinite()), "nothing was measured");
        for ms in [1_u64, 2, 3] {
            total.latency.record(ms * 1_000_000).expect("it grows");
        }
        total.answered = 2;
        total.failures.add(Failure::Status, 1); // answered whole, and wrong
        let near = |seconds: f64, expect: f64| (seconds - expect).abs() < 1e-5;
        let [p50, p75, p99, mean, max] = all(&total);
        assert!(near(p50, 0.002) && near(p75, 0.003) && near(p99, 0.003) && near(mean, 0.002) && near(max, 0.003));
        total.failures.add(Failure::Timeout, 1);
        let [p50, p75, p99, mean, max] = all(&total);
        assert!(near(p50, 0.002) && near(p75, 0.003), "{p50} {p75}");
        assert!([p99, mean, max].iter().all(|seconds| seconds.is_infinite()));
    }

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
            ("errors>nan", None),
            ("errors>inf", None),
            ("errors>-1", None),
            ("errors>1%", None),
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
