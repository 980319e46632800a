//! `/memory`, `/runtime` and the other small endpoints: what Envoy's tools ask, answered with what there is.

use serde_json::json;

use super::Context;
use super::http::{Request, Response};
use super::process::command;
use crate::command::Command;

/// `/memory`, Envoy's `Memory`. What the allocator keeps of it is not told apart.
pub(crate) fn memory(context: &Context, _: &Request) -> Response {
    context.state.measure();
    let server = &context.state.registry.server;
    Response::json(&json!({
        "allocated": server.memory_allocated.value().to_string(),
        "heap_size": server.memory_heap_size.value().to_string(),
        "pageheap_unmapped": "0",
        "pageheap_free": "0",
        "total_thread_cache": "0",
        "total_physical_bytes": server.memory_physical_size.value().to_string(),
    }))
}

/// `/runtime`: each key of `layered_runtime` with its value in each layer; the last that is there holds.
pub(crate) fn runtime(context: &Context, _: &Request) -> Response {
    let view = context.state.view();
    let runtime = &view.runtime;
    let entries = runtime.entries().into_iter().map(|(key, values)| {
        let last = values.iter().rev().find(|value| !value.is_empty()).cloned().unwrap_or_default();
        (key.to_owned(), json!({ "layer_values": values, "final_value": last }))
    });
    let entries: serde_json::Map<String, serde_json::Value> = entries.collect();
    Response::json(&json!({ "entries": entries, "layers": runtime.layers().collect::<Vec<_>>() }))
}

/// `/hot_restart_version`, as Envoy says it with `--disable-hot-restart`.
pub(crate) fn hot_restart_version(_: &Context, _: &Request) -> Response {
    Response::text(200, "disabled")
}

/// `/reopen_logs`.
pub(crate) fn reopen_logs(context: &Context, _: &Request) -> Response {
    command(context, Command::ReopenLogs)
}

/// `/stats/recentlookups`: statistics are found once, when a configuration brings them; there is nothing to track.
pub(crate) fn recent_lookups(_: &Context, _: &Request) -> Response {
    Response::text(200, "Lookup tracking is not enabled.\n\ntotal: 0\n")
}

/// `/stats/recentlookups/enable` and the like.
pub(crate) fn no_lookups(_: &Context, _: &Request) -> Response {
    Response::text(400, "lookups are not tracked\n")
}
