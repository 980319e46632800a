//! What came of a run, and what is to be thought of it: its rate, whether the target kept up, and whether the generator did.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cpu_time::CpuTime;
use crate::failure::Failure;
use crate::plan::{Pace, Plan};
use crate::tally::{Interval, Second};

/// A target of which less than this part of what is due is answered does not keep up.
const KEPT_PART: f64 = 0.98;
/// A core that wanted its CPU for more than this part of the time may be what was too slow.
const STARVED: f64 = 0.95;

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) plan: Arc<Plan>,
    /// What the runtime says of its driver.
    pub(crate) io: String,
    pub(crate) began: SystemTime,
    /// From the end of the warm-up to the end of the last request.
    pub(crate) measured: Duration,
    pub(crate) total: Second,
    pub(crate) series: Vec<Point>,
    /// Requests that the schedule had no time for.
    pub(crate) missed: u64,
    /// What each core of the generator had of its CPU since the run began, and over how long: up to when all was answered.
    pub(crate) cpu: Vec<CpuTime>,
    pub(crate) ran: Duration,
    /// All requests were sent that were to be, or no more were wanted: not the time was the end, but the last answer.
    pub(crate) is_counted_off: bool,
    /// The user wanted no more.
    pub(crate) interrupted: bool,
}

/// A second of the series, in nanoseconds where it is of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) interval: Interval,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) bytes_received: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
    /// No answer came to its end in it: the times are of none.
    pub(crate) is_unanswered: bool,
}

impl Point {
    pub(crate) fn new(interval: Interval, second: &Second) -> Point {
        let at = |quantile| second.latency.value_at_quantile(quantile);
        Point {
            interval,
            answered: second.answered,
            failed: second.failures.total(),
            bytes_received: second.bytes_received,
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: second.latency.max(),
            is_unanswered: second.latency.is_empty(),
        }
    }

    /// Nothing came to its end in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.answered == 0 && self.failed == 0
    }
}

impl Outcome {
    /// Answers a second that were as expected: of what is counted off, until the last one; else over a time that is as long as requests were due and
    /// is later by the shortest latency. So what was sent last counts as all else does, and what a slow target answers after the end does not.
    pub(crate) fn rate(&self) -> f64 {
        let time = if self.is_counted_off { self.measured } else { self.plan.duration - self.plan.warm_up };
        self.answered_within(self.total.least.unwrap_or(0)) as f64 / time.as_secs_f64().max(1e-9)
    }

    /// Answers that came no later after the end than half of all took: in an open loop, if the target keeps up, as many as were due.
    pub(crate) fn in_time(&self) -> u64 {
        self.answered_within(self.total.latency.value_at_quantile(0.5))
    }

    /// Answers that were as expected and came no later than so many nanoseconds after the end, if time was the end.
    fn answered_within(&self, ns: u64) -> u64 {
        let after = &self.total.after;
        if self.is_counted_off || after.is_empty() {
            return self.total.answered;
        }
        self.total.answered - (after.len() - after.count_between(0, ns))
    }

    /// Requests of an open loop that were due, warm-up aside.
    pub(crate) fn due(&self) -> u64 {
        self.total.late.len() + self.missed
    }

    /// Too few of what was due was answered in time: the target does not keep up, or the generator.
    pub(crate) fn is_behind(&self) -> bool {
        (self.in_time() as f64) < KEPT_PART * self.due() as f64
    }

    /// How busy the busiest of the generator's cores was, as a part of 1.
    pub(crate) fn busiest(&self) -> f64 {
        self.part(|cpu| cpu.ran)
    }

    /// Of the CPU time that passed, the most that a core had or waited for, as a part of 1.
    pub(crate) fn wanted(&self) -> f64 {
        self.part(CpuTime::wanted)
    }

    fn part(&self, of: fn(CpuTime) -> Duration) -> f64 {
        let most = self.cpu.iter().map(|cpu| of(*cpu)).max().unwrap_or_default();
        most.as_secs_f64() / self.ran.as_secs_f64().max(1e-9)
    }

    /// Why what was measured says nothing of the target: what this host had no more of, or [`Outcome::own_fault`].
    pub(crate) fn fault(&self) -> Option<String> {
        let failures = &self.total.failures;
        match failures.of(Failure::Shortage) {
            0 => self.own_fault(),
            count => {
                let cause = failures.causes().find(|(failure, _)| *failure == Failure::Shortage);
                Some(format!(
                    "this host had nothing left for {count} connections: {}",
                    cause.map_or("", |(_, why)| why)
                ))
            }
        }
    }

    /// Why the generator itself did not keep the rate, if it did not.
    pub(crate) fn own_fault(&self) -> Option<String> {
        if !matches!(self.plan.pace, Pace::Open { .. }) {
            return None;
        }
        if self.missed > 0 {
            return Some(format!("{} requests were due and there was no time to send them", self.missed));
        }
        let late = Duration::from_nanos(self.total.late.value_at_quantile(0.99));
        if late > self.plan.late_max {
            return Some(format!(
                "one request in a hundred was looked at {late:?} after it was due, or later (--late-max {:?})",
                self.plan.late_max
            ));
        }
        // Whoever spins is busy whatever there is to do.
        let is_starved = self.wanted() > STARVED && self.ran.mul_f64(self.wanted()) > self.plan.late_max;
        let is_starved = is_starved && self.is_behind() && self.plan.spin_us == 0;
        is_starved.then(|| {
            format!(
                "{} requests were due and {} answered in time, and a core had its CPU for {:.0} % of the time and waited for it for {:.0} %",
                self.due(),
                self.in_time(),
                100.0 * self.busiest(),
                100.0 * (self.wanted() - self.busiest()),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::command;

    const MS: u64 = 1_000_000;

    fn outcome(arguments: &[&str]) -> Outcome {
        let words = [&["run", "http://127.0.0.1:1/"], arguments].concat();
        let mut matches = command::run_command("run", "").get_matches_from(words);
        Outcome {
            plan: Arc::new(command::plan(&mut matches).expect("a plan")),
            io: String::new(),
            began: SystemTime::UNIX_EPOCH,
            measured: Duration::from_secs(2),
            total: Second::default(),
            series: Vec::new(),
            missed: 0,
            cpu: vec![CpuTime::default()],
            ran: Duration::from_secs(2),
            is_counted_off: arguments.contains(&"-n"),
            interrupted: false,
        }
    }

    /// So many requests that were due, and those of them that were answered: each after so long, of which so much was after the end.
    fn answers(outcome: &mut Outcome, due: u64, all: &[(u64, u64)]) {
        let total = &mut outcome.total;
        total.late.record_n(0, due).expect("it grows");
        for (latency, after) in all {
            total.answered += 1;
            total.least = total.least.into_iter().chain([*latency]).min();
            total.latency.record(*latency).expect("it grows");
            if *after > 0 {
                total.after.record(*after).expect("it grows");
            }
        }
    }

    /// A target that takes 300 ms keeps up with 100 a second for a second, though a third of the answers come after it.
    #[test]
    fn a_rate_that_is_kept_is_the_rate() {
        let mut slow = outcome(&["--rate", "100", "-d", "1s"]);
        let all: Vec<(u64, u64)> =
            (0..100).map(|at: u64| (300 * MS, ((at + 31) * 10 * MS).saturating_sub(1000 * MS))).collect();
        answers(&mut slow, 100, &all);
        assert!((slow.rate() - 100.0).abs() < 1e-9 && !slow.is_behind(), "{}", slow.rate());
        // The ramp makes fewer of them due: that is no fault of the target.
        let mut ramped = outcome(&["--rate", "100", "-d", "1s", "--ramp", "1s"]);
        answers(&mut ramped, 50, &all[..50]);
        assert!(!ramped.is_behind());
    }

    #[test]
    fn one_answer_long_after_the_end_is_not_the_rate() {
        let mut hung = outcome(&["-c", "4", "-d", "1s"]);
        let mut all = vec![(MS, 0); 1000];
        all.push((2000 * MS, 1500 * MS));
        answers(&mut hung, 0, &all);
        assert!((hung.rate() - 1000.0).abs() < 1e-9, "{}", hung.rate());
        // What is counted off lasts until its last one.
        let mut counted = outcome(&["-c", "4", "-n", "1001"]);
        answers(&mut counted, 0, &all);
        assert!((counted.rate() - 500.5).abs() < 1e-9, "{}", counted.rate());
    }

    #[test]
    fn a_target_that_answers_what_is_due_after_the_end_is_behind() {
        let mut behind = outcome(&["--rate", "100", "-d", "1s"]);
        let all: Vec<(u64, u64)> =
            (1..=100).map(|at: u64| (at * 10 * MS, (at * 20 * MS).saturating_sub(1000 * MS))).collect();
        answers(&mut behind, 100, &all);
        assert!(behind.is_behind() && (49.0..53.0).contains(&behind.rate()), "{}", behind.rate());
        assert_eq!(behind.own_fault(), None);
        // Unless it was the generator that could not look: it wanted its CPU all the time, and had it for a half.
        behind.cpu = vec![CpuTime { ran: Duration::from_secs(1), waited: Duration::from_millis(980) }];
        let fault = behind.own_fault().expect("a fault");
        assert!(fault.contains("for 50 % of the time and waited for it for 49 %"), "{fault}");
        let mut kept = outcome(&["--rate", "100", "-d", "1s"]);
        kept.cpu.clone_from(&behind.cpu);
        answers(&mut kept, 100, &[(MS, 0); 100]);
        assert_eq!(kept.own_fault(), None, "what was due was answered");
    }
}
