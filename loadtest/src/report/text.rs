//! The outcome for people.

use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::{QUANTILES, Verdict};
use crate::outcome::Outcome;
use crate::plan::Pace;
use crate::target::Protocol;
use crate::threshold::Judged;

/// Above this part of a CPU the generator is what bounds a closed loop.
const BUSY: f64 = 0.95;
/// Waiting for a CPU is worth a word from so many percent of the time on.
const WAITED_PERCENT: f64 = 5.0;
/// Lateness above this part of a latency is worth a word beside it.
const LATE_PART: f64 = 0.2;

/// Writes it.
pub(crate) fn write(outcome: &Outcome, verdict: &Verdict, judged: &[Judged]) -> String {
    let mut out = String::new();
    let total = &outcome.total;
    let failed = total.failures.total();
    let seconds = outcome.measured.as_secs_f64();
    let mut line = |text: String| _ = writeln!(out, "{text}");
    line(format!("ringway-load: {}", outcome.plan.summary()));
    line(outcome.io.clone());
    line(format!(
        "{} answered ({:.0}/s), {} sent, {failed} failed, {:.1} MB received ({:.1} MB/s), {:.1} MB sent ({:.1} MB/s) in {:.2} s",
        total.answered,
        outcome.rate(),
        total.sent,
        total.bytes_received as f64 / 1e6,
        total.bytes_received as f64 / 1e6 / seconds.max(1e-9),
        total.bytes_sent as f64 / 1e6,
        total.bytes_sent as f64 / 1e6 / seconds.max(1e-9),
        seconds,
    ));
    if outcome.plan.target.protocol == Protocol::Grpc {
        let received = total.messages_received;
        line(format!("{received} messages received ({:.0}/s)", received as f64 / seconds.max(1e-9)));
    }
    if failed > 0 {
        let kinds: Vec<String> =
            total.failures.some().map(|(failure, count)| format!("{} {count}", failure.name())).collect();
        line(format!("failures: {}", kinds.join(", ")));
        total.failures.causes().for_each(|(failure, why)| line(format!("the first {}: {why}", failure.name())));
    }
    if total.statuses.keys().any(|status| *status != 200) {
        let statuses: Vec<String> =
            total.statuses.iter().map(|(status, count)| format!("{status} x {count}")).collect();
        line(format!("statuses: {}", statuses.join(", ")));
    }
    line(format!("latency us {}", quantiles(&total.latency)));
    if let Pace::Open { rate, .. } = outcome.plan.pace {
        let (due, in_time) = (outcome.due(), outcome.in_time());
        let part = 100.0 * in_time as f64 / due.max(1) as f64;
        line(format!("asked for {rate}/s: {due} due, {in_time} answered in time ({part:.1} %)"));
    }
    let is_open_loop = matches!(outcome.plan.pace, Pace::Open { .. });
    if is_open_loop {
        line(format!("service us {}", quantiles(&total.service)));
        line(format!("late us {}", quantiles(&total.late)));
    } else {
        line(
            "closed loop: these latencies are of a target under as much load as it takes, and hide its stalls"
                .to_owned(),
        );
    }
    if !total.connect.is_empty() {
        line(format!("connect us {} ({} connections)", quantiles(&total.connect), total.connections));
    }
    let cpu: Vec<String> = outcome
        .cpu
        .iter()
        .map(|cpu| {
            let part = |time: Duration| 100.0 * time.as_secs_f64() / outcome.ran.as_secs_f64().max(1e-9);
            match part(cpu.waited) {
                waited if waited < WAITED_PERCENT => format!("{:.0} %", part(cpu.ran)),
                waited => format!("{:.0} % (and waited for it for {waited:.0} %)", part(cpu.ran)),
            }
        })
        .collect();
    line(format!("generator's CPUs: {}", cpu.join(", ")));
    if !is_open_loop && outcome.busiest() > BUSY {
        line("the generator was busy all the time: this may be its own ceiling, not the target's".to_owned());
    }
    let part = |quantile| {
        total.late.value_at_quantile(quantile) as f64 / total.latency.value_at_quantile(quantile).max(1) as f64
    };
    if is_open_loop && (part(0.5) > LATE_PART || part(0.99) > LATE_PART) {
        line("a good part of these latencies is the generator's own lateness (see late)".to_owned());
    }
    for judged in judged {
        line(format!("threshold {judged}"));
    }
    match verdict {
        Verdict::Good | Verdict::Failed => {}
        Verdict::Generator(fault) => line(format!("THE GENERATOR IS AT FAULT: {fault}")),
        Verdict::Interrupted => line("interrupted: this is what was measured so far".to_owned()),
    }
    out
}

/// In microseconds.
fn quantiles(histogram: &Histogram<u64>) -> String {
    if histogram.is_empty() {
        return "- (there was none)".to_owned();
    }
    let mut out = String::new();
    for (name, quantile) in QUANTILES {
        let _ = write!(out, "{name} {} ", histogram.value_at_quantile(quantile).div_ceil(1000));
    }
    let _ = write!(out, "max {} mean {:.0}", histogram.max().div_ceil(1000), histogram.mean() / 1e3);
    out
}
