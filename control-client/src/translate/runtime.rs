//! `envoy.config.bootstrap.v3.LayeredRuntime`.

use super::Context;
use crate::compatibility::refuse_unsupported;
use crate::message::{Json, Message, Value};
use crate::runtime::{InvalidKey, Runtime};

/// `Bootstrap.layered_runtime`.
pub(super) fn of_bootstrap(context: &mut Context<'_>, message: &Message) -> Runtime {
    context.inside(message, "layered_runtime", |context, message| Some(layers(context, message))).unwrap_or_default()
}

/// Keys that Envoy reads by itself, and that decide who may connect or where traffic goes: no field names them, so that none is translated.
const MISSED: [&str; 5] = [
    "envoy.resource_limits.",
    "overload.",
    "upstream.maintenance_mode.",
    "circuit_breakers.",
    "upstream.healthy_panic_threshold",
];
/// Of those what bounds connections: nothing is missed where it says that there is no bound.
const CONNECTIONS: [&str; 2] = ["envoy.resource_limits.listener.", "overload.global_downstream_max_connections"];
/// What stands where no limit is meant (Istio's bootstrap).
const UNLIMITED: f64 = 2_147_483_647.0;

/// Says which of them have no effect.
fn say_missed(context: &mut Context<'_>, message: &Message, members: &[(String, Json)]) {
    for (key, value) in members.iter().filter(|(key, _)| MISSED.iter().any(|missed| key.starts_with(missed))) {
        let is_unlimited = match value {
            Json::Number(number) => *number >= UNLIMITED,
            Json::Text(text) => text.trim().parse::<f64>().is_ok_and(|number| number >= UNLIMITED),
            _ => false,
        };
        if !(is_unlimited && CONNECTIONS.iter().any(|bound| key.starts_with(bound))) {
            let rule = format!("{key} has no effect: Envoy reads it where no field names it");
            context.report.warning(message.place_of("static_layer"), rule);
        }
    }
}

/// Its layers, the lowest first.
fn layers(context: &mut Context<'_>, message: &Message) -> Runtime {
    refuse_unsupported(message, context.report);
    let mut runtime = Runtime::default();
    context.each(message, "layers", |context, message| {
        refuse_unsupported(message, context.report);
        let name = message.text("name");
        if runtime.has(name) {
            // Envoy's words.
            context.problem(message, "name", format!("Duplicate layer name: {name}"));
        }
        let members: &[(String, Json)] = match message.get("static_layer").map(|set| &set.value) {
            Some(Value::Json(Json::Map(members))) => members,
            _ => &[],
        };
        say_missed(context, message, members);
        if let Err(InvalidKey(key)) = runtime.push(name, members) {
            // Envoy's words.
            context.problem(message, "static_layer", format!("Invalid runtime entry value for {key}"));
        }
    });
    runtime
}
