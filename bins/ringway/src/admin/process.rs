//! `/ready`, `/server_info`, `/workers`, and what changes the process: health, drain, quit.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use ringway_engine::WorkerRow;
use ringway_observe::ServerState;
use ringway_runtime::cpus::Topology;
use ringway_runtime::{Histogram, Instant, IoReport, LoopStats};
use serde_json::{Value, json};

use super::Context;
use super::http::{Request, Response};
use crate::command::{Command, DynamicView};
use crate::watch::Load;

/// How long the control thread may take to answer; it may be busy with a large configuration.
const CONTROL_PATIENCE: Duration = Duration::from_secs(5);

/// `/ready`.
pub(crate) fn ready(context: &Context, _: &Request) -> Response {
    let state = context.state.server_state();
    Response::text(if state == ServerState::Live { 200 } else { 503 }, format!("{}\n", state.text()))
}

/// `/server_info`, Envoy's `ServerInfo`.
pub(crate) fn server_info(context: &Context, _: &Request) -> Response {
    let state = &context.state;
    let view = state.view();
    let uptime = format!("{}s", Instant::now().saturating_duration_since(state.started).as_secs());
    let build = if cfg!(debug_assertions) { "DEBUG" } else { "RELEASE" };
    Response::json(&json!({
        "version": format!("{}/ringway/{build}", env!("CARGO_PKG_VERSION")),
        "state": state.server_state().text(),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "command_line_options": state.command_line,
        "node": {
            "id": view.node.0,
            "cluster": view.node.1,
            "user_agent_name": "ringway",
            "user_agent_version": env!("CARGO_PKG_VERSION"),
        },
    }))
}

/// `/workers`. Ringway's own.
pub(crate) fn workers(context: &Context, _: &Request) -> Response {
    let (reply, rows) = sync_channel(1);
    if context.commands.try_send(Command::Workers(reply)).is_err() {
        return busy();
    }
    let Ok(rows) = rows.recv_timeout(CONTROL_PATIENCE) else {
        return busy();
    };
    Response::json(&json!({ "workers": rows }))
}

/// What came besides the bootstrap; `None`: the control thread is busy.
pub(super) fn dynamic(context: &Context) -> Option<DynamicView> {
    let (reply, view) = sync_channel(1);
    context.commands.try_send(Command::Dynamic(reply)).ok()?;
    view.recv_timeout(CONTROL_PATIENCE).ok()
}

/// `/init_dump`, Envoy's `UnreadyTargetsDumps`: who waits, and for what.
pub(crate) fn init_dump(context: &Context, request: &Request) -> Response {
    // Envoy: ?mask=listener.
    let is_asked = |who: &str| request.parameter("mask").is_none_or(|mask| mask.is_empty() || who.starts_with(mask));
    let Some(view) = dynamic(context) else { return busy() };
    let mut dumps: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for wait in view.waits.iter().filter(|wait| is_asked(&wait.who)) {
        dumps.entry(&wait.who).or_default().push(&wait.what);
    }
    let dumps: Vec<Value> = dumps.into_iter().map(|(who, what)| json!({ "name": who, "target_names": what })).collect();
    Response::json(&if dumps.is_empty() { json!({}) } else { json!({ "unready_targets_dumps": dumps }) })
}

/// `/healthcheck/fail`.
pub(crate) fn healthcheck_fail(context: &Context, _: &Request) -> Response {
    set_health(context, true)
}

/// `/healthcheck/ok`.
pub(crate) fn healthcheck_ok(context: &Context, _: &Request) -> Response {
    set_health(context, false)
}

fn set_health(context: &Context, failed: bool) -> Response {
    context.state.health_failed.store(failed, Ordering::SeqCst);
    // The gauges follow with the control thread's next turn; `/ready` already has it.
    let _ = context.commands.try_send(Command::Show);
    Response::text(200, "OK\n")
}

/// `/drain_listeners`.
pub(crate) fn drain_listeners(context: &Context, request: &Request) -> Response {
    for parameter in ["inboundonly", "skip_exit"] {
        if request.switch(parameter) {
            // To drain everything instead would cut the application off from what it still has to call.
            return Response::text(400, format!("{parameter} is not supported yet\n"));
        }
    }
    command(context, Command::DrainListeners)
}

/// `/quitquitquit`.
pub(crate) fn quit(_: &Context, _: &Request) -> Response {
    Response { then: Some(Command::Stop), ..Response::text(200, "OK\n") }
}

/// Sends a command to the control thread.
pub(crate) fn command(context: &Context, command: Command) -> Response {
    match context.commands.try_send(command) {
        Ok(()) => Response::text(200, "OK\n"),
        Err(_) => busy(),
    }
}

pub(super) fn busy() -> Response {
    Response::text(503, "the control thread is busy\n")
}

/// One worker for `/workers`: the engine's figures, its io level, and its loop's figures.
pub(crate) fn worker_json(row: &WorkerRow, io: &IoReport, topology: &Topology, figures: Value) -> Value {
    json!({
        "worker": row.index,
        "cpu": row.cpu,
        "numa_node": row.cpu.and_then(|cpu| topology.node_of(cpu)),
        "smt_siblings": row.cpu.map(|cpu| topology.siblings_of(cpu)),
        "generation": row.generation,
        "connections": row.connections,
        "handed_over": row.handed_over,
        "taken_over": row.taken_over,
        "kept_full": row.kept_full,
        "listeners": row.listeners,
        "http2_connections": row.http2_connections,
        "http2_streams": row.http2_streams,
        "http2_memory_bytes": row.http2_memory_bytes,
        "io": {
            "driver": io.driver,
            "features": io.features,
            "missing": io.missing.to_string(),
            "reason": io.reason,
            "to_do": io.advice,
        },
        "loop": figures,
    })
}

/// A loop for `/workers`: its counters, what is derived of them, its load in the last second, and who held it.
pub(crate) fn loop_json(stats: &LoopStats, load: Load, now: Instant) -> Value {
    let mut figures: serde_json::Map<String, Value> =
        stats.rows().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let nanos = |duration: Option<Duration>| duration.map(|duration| duration.as_nanos() as u64);
    let per = |part: u64, whole: u64| hundredths(part as f64 / whole.max(1) as f64);
    let stall = stats.last_stall().map(|stall| {
        json!({
            "kind": stall.kind,
            "ms": stall.held.as_millis() as u64,
            "polls": stall.polls,
            "ago_ms": now.saturating_duration_since(stall.at).as_millis() as u64,
        })
    });
    let hold = stats.hold(now).map(|hold| json!({ "kind": hold.kind, "us": hold.held.as_micros() as u64 }));
    for (name, value) in [
        ("wall_ns", json!(nanos(stats.age(now)))),
        ("cpu_ns", json!(nanos(stats.cpu_time()))),
        ("busy_percent", json!(hundredths(load.busy))),
        ("cpu_percent", json!(hundredths(load.cpu))),
        ("completions_per_enter", json!(per(stats.completions.get(), stats.enters.get()))),
        ("polls_per_turn", json!(per(stats.polls.get(), stats.turns.get()))),
        ("turn_us", quantiles(&stats.turn_time)),
        ("wake_delay_us", quantiles(&stats.wake_delay)),
        ("last_stall", json!(stall)),
        ("turn_under_way", json!(hold)),
    ] {
        figures.insert(name.to_owned(), value);
    }
    Value::Object(figures)
}

/// Bounds below which these shares lie, in microseconds; `null` beyond the last bound.
fn quantiles(histogram: &Histogram) -> Value {
    let bound = |share: f64| match histogram.quantile_ns(share) {
        u64::MAX => None,
        ns => Some(ns as f64 / 1000.0),
    };
    json!({ "p50": bound(0.5), "p90": bound(0.9), "p99": bound(0.99), "p999": bound(0.999), "p100": bound(1.0) })
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
