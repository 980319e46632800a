//! `envoy.config.bootstrap.v3.LayeredRuntime`.

use super::Context;
use crate::compatibility::refuse_unsupported;
use crate::message::{Json, Message, Value};
use crate::runtime::{InvalidKey, Runtime};

/// `Bootstrap.layered_runtime`.
pub(super) fn of_bootstrap(context: &mut Context<'_>, message: &Message) -> Runtime {
    context.inside(message, "layered_runtime", |context, message| Some(layers(context, message))).unwrap_or_default()
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
        if let Err(InvalidKey(key)) = runtime.push(name, members) {
            // Envoy's words.
            context.problem(message, "static_layer", format!("Invalid runtime entry value for {key}"));
        }
    });
    runtime
}
