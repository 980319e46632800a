//! The outcome for programs: one JSON document. docs/LOADTEST.md has its members.

use std::time::UNIX_EPOCH;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::setting::{Setting, without_secret};
use super::{QUANTILES, Verdict};
use crate::outcome::{Outcome, Point};
use crate::plan::{Pace, Plan, Reply};
use crate::schedule::Arrivals;
use crate::target::Protocol;
use crate::threshold::Judged;

/// The document's version: another one where a member changes its meaning or goes away.
const VERSION: u32 = 1;

/// Writes it.
pub(crate) fn write(outcome: &Outcome, setting: &Setting, verdict: &Verdict, judged: &[Judged]) -> Value {
    let total = &outcome.total;
    let began = outcome.began.duration_since(UNIX_EPOCH).unwrap_or_default();
    let failures: Map<String, Value> =
        total.failures.some().map(|(failure, count)| (failure.name().to_owned(), count.into())).collect();
    let causes: Map<String, Value> =
        total.failures.causes().map(|(failure, why)| (failure.name().to_owned(), why.into())).collect();
    let statuses: Map<String, Value> =
        total.statuses.iter().map(|(status, count)| (status.to_string(), (*count).into())).collect();
    let thresholds: Vec<Value> = judged
        .iter()
        .map(|judged| json!({"condition": judged.text, "measured": judged.measured, "failed": judged.failed}))
        .collect();
    let is_open_loop = matches!(outcome.plan.pace, Pace::Open { .. });
    let document = json!({
        "version": VERSION,
        "plan": plan(&outcome.plan),
        "io": outcome.io,
        "measured_s": outcome.measured.as_secs_f64(),
        "sent": total.sent,
        "answered": total.answered,
        "failed": total.failures.total(),
        "rate": outcome.rate(),
        "failures": failures,
        "causes": causes,
        "statuses": statuses,
        "bytes_received": total.bytes_received,
        "bytes_sent": total.bytes_sent,
        "messages_received": (outcome.plan.target.protocol == Protocol::Grpc).then_some(total.messages_received),
        "connections": total.connections,
        "latency_us": times(&total.latency),
        "service_us": times(if total.service.is_empty() { &total.latency } else { &total.service }),
        "connect_us": times(&total.connect),
        "generator": {
            "late_us": times(&total.late),
            "missed": outcome.missed,
            "due": if is_open_loop { Some(outcome.due()) } else { None },
            "answered_in_time": outcome.in_time(),
            "cpu_s": outcome.cpu.iter().map(|cpu| cpu.ran.as_secs_f64()).collect::<Vec<_>>(),
            "cpu_waited_s": outcome.cpu.iter().map(|cpu| cpu.waited.as_secs_f64()).collect::<Vec<_>>(),
            "busiest": outcome.busiest(),
            "fault": outcome.fault(),
        },
        "series": outcome.series.iter().map(point).collect::<Vec<_>>(),
        "thresholds": thresholds,
        "verdict": verdict.name(),
        "exit_status": verdict.status(),
    });
    let mut surroundings = setting.document();
    surroundings["began_unix_s"] = began.as_secs_f64().into(); // when its first second did
    joined(document, surroundings)
}

/// The members of both: `json!` cannot take as many at once as some documents have.
pub(crate) fn joined(mut one: Value, other: Value) -> Value {
    match (one.as_object_mut(), other) {
        (Some(members), Value::Object(others)) => members.extend(others),
        _ => unreachable!("both are written as objects"),
    }
    one
}

/// All that was to be done.
pub(crate) fn plan(plan: &Plan) -> Value {
    let (rate, arrivals) = match plan.pace {
        Pace::Closed => (None, None),
        Pace::Open { rate, arrivals: Arrivals::Constant } => (Some(rate), Some("constant")),
        Pace::Open { rate, arrivals: Arrivals::Poisson } => (Some(rate), Some("poisson")),
    };
    let is = |protocol| plan.target.protocol == protocol;
    let request = json!({
        "target": plan.target.url(),
        "protocol": plan.target.protocol.name(),
        "tls": plan.target.tls,
        "address": plan.address.to_string(),
        "path": plan.target.path,
        "method": plan.request.method,
        "headers": plan.request.headers.iter().map(|(name, value)| without_secret(&format!("{name}: {value}"))).collect::<Vec<_>>(),
        "body_bytes": plan.request.sizes.text(),
        "messages": is(Protocol::Grpc).then_some(plan.request.messages),
        "tcp_reply": is(Protocol::Tcp).then(|| match plan.reply {
            Reply::Echo => "echo".to_owned(),
            Reply::None => "none".to_owned(),
            Reply::Bytes(bytes) => bytes.to_string(),
        }),
        "expect_statuses": plan.expect.statuses.iter().map(|(first, last)| format!("{first}-{last}")).collect::<Vec<_>>(),
        "expect_messages": plan.expect.messages,
        "expect_body_bytes": plan.expect.body_bytes,
        "expect_body_xxhash64": plan.expect.body_hash.map(|hash| format!("{hash:016x}")),
        "server_name": plan.target.tls.then_some(&plan.trust.name),
        "verified": plan.target.tls.then_some(plan.trust.ca.is_some()),
        "requests_per_connection": plan.requests_per_connection,
    });
    let pace = json!({
        "loop": if rate.is_some() { "open" } else { "closed" },
        "rate": rate,
        "arrivals": arrivals,
        "connections": plan.connections,
        "streams": plan.streams,
        "threads": plan.threads,
        "cpus": plan.cpus,
        "duration_s": plan.is_timed.then_some(plan.duration.as_secs_f64()),
        "count": plan.count,
        "warm_up_s": plan.warm_up.as_secs_f64(),
        "ramp_s": plan.ramp.as_secs_f64(),
        "hold_s": plan.hold.as_secs_f64(),
        "timeout_s": plan.timeout.as_secs_f64(),
        "connect_timeout_s": plan.connect_timeout.as_secs_f64(),
        "late_max_s": plan.late_max.as_secs_f64(),
        "spin_us": plan.spin_us,
        "seed": plan.seed,
    });
    joined(request, pace)
}

/// In microseconds; null where there is nothing that it could be of.
pub(crate) fn times(histogram: &Histogram<u64>) -> Value {
    let us = |ns: u64| ns as f64 / 1e3;
    let mut all = Map::new();
    let mut insert = |name: &str, time: f64| {
        all.insert(name.into(), if histogram.is_empty() { Value::Null } else { time.into() });
    };
    insert("min", us(histogram.min()));
    insert("mean", histogram.mean() / 1e3);
    insert("stdev", histogram.stdev() / 1e3);
    for (name, quantile) in QUANTILES {
        insert(name, us(histogram.value_at_quantile(quantile)));
    }
    insert("max", us(histogram.max()));
    all.insert("count".into(), histogram.len().into());
    Value::Object(all)
}

fn point(point: &Point) -> Value {
    let us = |ns: u64| (!point.is_unanswered).then_some(ns as f64 / 1e3);
    json!({
        "second": point.interval.from.as_secs(),
        "length_s": point.interval.length().as_secs_f64(),
        "answered": point.answered,
        "failed": point.failed,
        "bytes_received": point.bytes_received,
        "p50_us": us(point.p50),
        "p99_us": us(point.p99),
        "p99.9_us": us(point.p999),
        "max_us": us(point.max),
    })
}
