//! Extensions: what stands behind a `typed_config`, if it is of a type that is supported.

use super::Context;
use crate::compatibility::is_ignored_in;
use crate::message::{Message, Value};

/// Whether the extension of `message` is of a type that may stand there and does nothing.
pub(super) fn is_ignored(message: &Message) -> bool {
    let holder = message.kind.name().rsplit('.').next().expect("a name has a last part");
    let url = message.any("typed_config").map_or("", |any| &any.type_url);
    url.rsplit_once('/').is_some_and(|(_, name)| is_ignored_in(name, holder))
}

/// Does `inner` with `typed_config` of `message`, a `TypedExtensionConfig` or its like, if it is of one of these types.
pub(super) fn of<T>(
    context: &mut Context<'_>,
    message: &Message,
    supported: &[&str],
    inner: impl FnOnce(&mut Context<'_>, &Message) -> Option<T>,
) -> Option<T> {
    let found = message.any("typed_config").and_then(|any| any.value.as_deref());
    match found {
        Some(Value::Message(config)) if supported.contains(&config.kind.name()) => {
            context.field("typed_config", |context| inner(context, config))
        }
        Some(Value::Message(config)) => {
            context.problem(message, "typed_config", format!("{} is not supported yet", config.kind.name()));
            None
        }
        // Envoy: "Didn't find a registered implementation".
        _ if message.any("typed_config").is_some_and(|any| !any.type_url.is_empty()) => {
            let url = &message.any("typed_config").expect("it is set").type_url;
            context.problem(message, "typed_config", format!("no implementation for the type {url}"));
            None
        }
        _ => {
            let has_name = message.kind.fields().iter().any(|field| field.name() == "name");
            let name = if has_name { message.text("name") } else { "" };
            let rule = format!("no implementation for {name:?} without a type");
            context.problem(message, "typed_config", rule);
            None
        }
    }
}
