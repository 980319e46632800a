//! What one proxy came to in one scenario: the rounds, and what is said of them together.

use serde_json::{Map, Value, json};

use super::capacity::Asked;
use super::idle::Idle;
use super::measure::Sample;
use crate::report::QUANTILES;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The proxy, or the origin itself.
    pub(crate) subject: String,
    pub(crate) outcome: Outcome,
}

/// How it went.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It is not made for this, for this reason.
    Cannot(String),
    /// It failed, or something of the run did.
    Failed(String),
    Idle(Idle),
    Measured(Measured),
}

/// To a thousandth: more digits than any figure here has.
pub(crate) fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

/// Rounds of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) rounds: Vec<Sample>,
    /// CPU time of the target is known.
    pub(crate) has_cpu: bool,
    /// Bodies are what counts.
    pub(crate) is_bulk: bool,
    /// Resident at most, in bytes, all processes together.
    pub(crate) peak: u64,
    /// Instructions a request in user space and in the kernel, from a pass of its own.
    pub(crate) instructions: Option<(f64, f64)>,
    /// The rate that was asked for, of an open loop.
    pub(crate) asked: Option<Asked>,
}

/// The middle of some figures, and their least and greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut all: Vec<f64> = figures.into_iter().collect();
        all.sort_by(f64::total_cmp);
        let (least, most) = (*all.first()?, *all.last()?);
        let half = all.len() / 2;
        let median = if all.len() % 2 == 1 { all[half] } else { f64::midpoint(all[half - 1], all[half]) };
        Some(Spread { median, least, most })
    }

    fn document(self) -> Value {
        json!({"median": rounded(self.median), "least": rounded(self.least), "most": rounded(self.most)})
    }
}

impl Measured {
    fn spread(&self, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(figure))
    }

    /// Answers a second.
    pub(crate) fn rate(&self) -> Option<Spread> {
        self.spread(Sample::rate)
    }

    /// CPU time a request, in microseconds, where it is known.
    pub(crate) fn cpu_us(&self) -> Option<Spread> {
        self.spread(Sample::cpu_us).filter(|_| self.has_cpu)
    }

    /// What failed in all rounds, in words.
    pub(crate) fn failures(&self) -> Option<String> {
        let failed = self.rounds.iter().filter(|sample| sample.failed() > 0);
        let said: Vec<String> = failed.map(Sample::failures).collect();
        if !said.is_empty() {
            return Some(said.join("; "));
        }
        self.rounds.iter().any(|sample| sample.answered() == 0.0).then(|| "nothing was answered".to_owned())
    }

    /// The generator did not keep the rate in some round, which is why its latencies are not the target's.
    pub(crate) fn doubt(&self) -> Option<String> {
        let faults = self.rounds.iter().filter_map(|sample| sample.run.pointer("/generator/fault")?.as_str());
        faults.map(str::to_owned).next()
    }

    /// A percentile of the latencies over the rounds, in microseconds.
    pub(crate) fn latency(&self, quantile: &str) -> Option<Spread> {
        self.times("/latency_us", quantile)
    }

    /// By how much the generator itself was late, of an open loop, likewise.
    pub(crate) fn late(&self, quantile: &str) -> Option<Spread> {
        self.asked.as_ref().and_then(|_| self.times("/generator/late_us", quantile))
    }

    fn times(&self, pointer: &str, name: &str) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|sample| sample.run.pointer(pointer)?[name].as_f64()))
    }

    /// Each percentile's median over the rounds, in microseconds.
    fn percentiles(&self, pointer: &str) -> Value {
        let names = QUANTILES.iter().map(|(name, _)| *name).chain(["mean", "max"]);
        let of = |name: &str| self.times(pointer, name).map(|spread| rounded(spread.median));
        Value::Object(names.map(|name| (name.to_owned(), json!(of(name)))).collect::<Map<_, _>>())
    }

    /// Connections of each worker, of the last round that knows them.
    pub(crate) fn connections(&self) -> Option<&[u64]> {
        self.rounds.iter().rev().find_map(|sample| sample.connections.as_deref())
    }

    /// Each thread's part of the CPU time, of those that have a hundredth of it, in the last round.
    fn threads(&self) -> Vec<Value> {
        let threads = self.rounds.last().map(|sample| sample.threads.as_slice()).unwrap_or_default();
        let all: u64 = threads.iter().map(|(_, time)| time).sum();
        let parts = threads.iter().map(|(name, time)| (name, *time as f64 / all.max(1) as f64));
        parts
            .filter(|(_, part)| *part >= 0.01)
            .map(|(name, part)| json!({"name": name, "part": rounded(part)}))
            .collect()
    }

    fn document(&self) -> Value {
        let spread = |spread: Option<Spread>| spread.map(Spread::document);
        json!({
            "rate": spread(self.rate()),
            "cpu_us": spread(self.cpu_us()),
            "cpu_s_per_gb": spread(self.spread(Sample::cpu_s_per_gb).filter(|_| self.is_bulk && self.has_cpu)),
            "gbit_s": spread(self.spread(Sample::gbit_s).filter(|_| self.is_bulk)),
            "instructions_user": self.instructions.map(|(user, _)| user),
            "instructions_kernel": self.instructions.map(|(_, kernel)| kernel),
            "generator_cpu_us": spread(self.spread(Sample::generator_us)),
            "latency_us": self.percentiles("/latency_us"),
            "late_us": self.asked.as_ref().map(|_| self.percentiles("/generator/late_us")),
            "asked_rate": self.asked.as_ref().map(|asked| asked.rate),
            "capacity": self.asked.as_ref().map(|asked| asked.capacity),
            "capacity_of": self.asked.as_ref().map(|asked| &asked.of),
            "own_capacity": self.asked.as_ref().map(|asked| asked.own),
            "peak_bytes": self.has_cpu.then_some(self.peak),
            "threads": self.threads(),
            "connections": self.connections(),
            "doubt": self.doubt(),
            "rounds": self.rounds.iter().map(|sample| sample.document(self.has_cpu)).collect::<Vec<_>>(),
        })
    }
}

impl Row {
    /// Why it counts as failed, if it does.
    pub(crate) fn failed(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Failed(why) => Some(why.clone()),
            Outcome::Measured(measured) => measured.failures(),
            Outcome::Idle(_) | Outcome::Cannot(_) => None,
        }
    }

    /// As the document has it.
    pub(crate) fn document(&self) -> Value {
        let failed = self.failed();
        let (outcome, why) = match (&self.outcome, &failed) {
            (Outcome::Cannot(why), _) => ("cannot", Some(why)),
            (_, Some(why)) => ("failed", Some(why)),
            _ => ("measured", None),
        };
        let mut row = json!({"subject": self.subject, "outcome": outcome, "why": why});
        let figures = match &self.outcome {
            Outcome::Measured(measured) => measured.document(),
            Outcome::Idle(idle) => json!({"idle": {
                "connections": idle.connections,
                "resident_before_bytes": idle.before.resident,
                "proportional_before_bytes": idle.before.proportional,
                "resident_bytes": idle.after.resident,
                "each_bytes": rounded(idle.each),
            }}),
            _ => Value::Null,
        };
        if let (Value::Object(row), Value::Object(figures)) = (&mut row, figures) {
            row.extend(figures);
        }
        if let Value::Object(row) = &mut row {
            row.retain(|_, figure| !figure.is_null());
        }
        row
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A round with this rate and CPU time a request.
    fn sample(rate: f64, cpu_us: f64, failed: u64) -> Sample {
        let run = json!({
            "rate": rate, "answered": 1000, "failed": failed, "failures": {"reset": failed}, "latency_us": {"p50": rate},
        });
        Sample { run, threads: vec![("w".into(), (cpu_us * 1e6) as u64), ("x".into(), 1)], connections: None }
    }

    #[test]
    fn figures_are_medians_with_their_spread() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of([3.0, 1.0]).map(|spread| spread.median), Some(2.0));
        assert_eq!(Spread::of([]), None);
        let rounds = vec![sample(10.0, 4.0, 0), sample(30.0, 6.0, 0), sample(20.0, 5.0, 0)];
        let measured = Measured { rounds, has_cpu: true, ..Measured::default() };
        let document = Row { subject: "p".into(), outcome: Outcome::Measured(measured) }.document();
        assert_eq!((&document["outcome"], &document["rate"]["median"]), (&json!("measured"), &json!(20.0)));
        assert_eq!((&document["cpu_us"]["least"], &document["latency_us"]["p50"]), (&json!(4.0), &json!(20.0)));
        assert_eq!(document["threads"].as_array().map(Vec::len), Some(1), "who has nothing to do is left out");
    }

    #[test]
    fn a_round_that_failed_makes_the_row_failed() {
        let rounds = vec![sample(10.0, 4.0, 0), sample(10.0, 4.0, 2)];
        let row = Row { subject: "p".into(), outcome: Outcome::Measured(Measured { rounds, ..Measured::default() }) };
        assert_eq!((row.failed(), &row.document()["outcome"]), (Some("2 reset".to_owned()), &json!("failed")));
        let row = Row { subject: "p".into(), outcome: Outcome::Cannot("no".into()) };
        assert_eq!((row.failed(), &row.document()["outcome"]), (None, &json!("cannot")));
    }
}
