//! What a run came to, for people and for programs.

pub(crate) mod csv;
pub(crate) mod file;
pub(crate) mod hdr;
pub(crate) mod json;
pub(crate) mod setting;
pub(crate) mod text;

use crate::outcome::Outcome;
use crate::threshold::{Judged, Threshold};

/// What is to be thought of a run, and its exit status.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Good,
    /// A threshold was passed; without thresholds, something failed, or nothing was answered.
    Failed,
    /// The generator did not keep the rate, or make its connections, by its own fault, which is this.
    Generator(String),
    /// The user wanted no more.
    Interrupted,
}

impl Verdict {
    /// Of a run, and what its thresholds came to.
    pub(crate) fn of(outcome: &Outcome, thresholds: &[Threshold]) -> (Verdict, Vec<Judged>) {
        let judged: Vec<Judged> = thresholds.iter().map(|threshold| threshold.judge(outcome)).collect();
        let failed = if thresholds.is_empty() {
            outcome.total.failures.total() > 0 || outcome.total.answered == 0
        } else {
            judged.iter().any(|judged| judged.failed)
        };
        let verdict = if outcome.interrupted {
            Verdict::Interrupted
        } else if let Some(fault) = outcome.fault() {
            Verdict::Generator(fault)
        } else if failed {
            Verdict::Failed
        } else {
            Verdict::Good
        };
        (verdict, judged)
    }

    /// As JSON has it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Failed => "failed",
            Verdict::Generator(_) => "generator",
            Verdict::Interrupted => "interrupted",
        }
    }

    /// The command's exit status. 2 is that of a wrong command line.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Verdict::Good => 0,
            Verdict::Failed => 1,
            Verdict::Generator(_) => 3,
            Verdict::Interrupted => 130,
        }
    }
}

/// The parts of all requests that are told of.
pub(crate) const QUANTILES: [(&str, f64); 8] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
    ("p99.999", 0.99999),
];
