//! Extensions: what stands behind a `typed_config`, if it is of a type that is supported.

use super::Context;
use crate::compatibility::is_ignored_in;
use crate::message::{Message, Value};

/// Whether the extension of `message` is of a type that may stand there and does nothing.
pub(super) fn is_ignored(message: &Message) -> bool {
    let holder = message.kind.name().rsplit('.').next().expect("a name has a last part");
    is_ignored_in(type_of(message, "typed_config"), holder)
}

/// The full name of the type of an `Any`; empty where there is none.
pub(super) fn type_of<'m>(message: &'m Message, field: &str) -> &'m str {
    let url = message.any(field).map_or("", |any| &any.type_url);
    url.rsplit_once('/').map_or("", |(_, name)| name)
}

/// Does `inner` with `typed_config` of `message`, a `TypedExtensionConfig` or its like, if it is of one of these types.
pub(super) fn of<T>(
    context: &mut Context<'_>,
    message: &Message,
    supported: &[&str],
    inner: impl FnOnce(&mut Context<'_>, &Message) -> Option<T>,
) -> Option<T> {
    in_field(context, message, "typed_config", supported, inner)
}

/// The same of another field.
pub(super) fn in_field<T>(
    context: &mut Context<'_>,
    message: &Message,
    field: &str,
    supported: &[&str],
    inner: impl FnOnce(&mut Context<'_>, &Message) -> Option<T>,
) -> Option<T> {
    let found = message.any(field).and_then(|any| any.value.as_deref());
    match found {
        Some(Value::Message(config)) if supported.contains(&config.kind.name()) => {
            context.field(field, |context| inner(context, config))
        }
        Some(Value::Message(config)) => {
            context.problem(message, field, format!("{} is not supported yet", config.kind.name()));
            None
        }
        // Envoy: "Didn't find a registered implementation".
        _ if message.any(field).is_some_and(|any| !any.type_url.is_empty()) => {
            let url = &message.any(field).expect("it is set").type_url;
            context.problem(message, field, format!("no implementation for the type {url}"));
            None
        }
        _ => {
            let has_name = message.kind.fields().iter().any(|field| field.name() == "name");
            let name = if has_name { message.text("name") } else { "" };
            let rule = format!("no implementation for {name:?} without a type");
            context.problem(message, field, rule);
            None
        }
    }
}
