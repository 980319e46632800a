//! What a bootstrap says of the process itself, and what has no effect here.

use super::{Context, extension};
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

const INTERNAL_LISTENER: &str = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener";

/// Who may connect: the one monitor that decides that.
const DOWNSTREAM_CONNECTIONS: &str =
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig";
/// What stands where no limit is meant (Istio's bootstrap).
const UNLIMITED: i64 = 2_147_483_647;

/// Expressions mean what they mean to it in any case.
const GOOGLE_RE2: &str = "envoy.extensions.regex_engines.v3.GoogleRE2";

/// `default_regex_engine`, `overload_manager` and `bootstrap_extensions`.
pub(super) fn without_resources(context: &mut Context<'_>, message: &Message) {
    context.inside(message, "overload_manager", |context, message| {
        refuse_unsupported(message, context.report);
        context.each(message, "resource_monitors", |context, message| {
            let config = message.any("typed_config").and_then(|any| any.value.as_deref());
            let Some(Value::Message(config)) = config else { return };
            let is_bounded = config.kind.name() == DOWNSTREAM_CONNECTIONS
                && config.int("max_active_downstream_connections").is_some_and(|max| max < UNLIMITED);
            if is_bounded {
                context.field("typed_config", |context| {
                    let place = config.place_of("max_active_downstream_connections");
                    let rule = "max_active_downstream_connections has no effect: descriptors bound how many connect";
                    context.report.warning(place, rule);
                });
            }
        });
        Some(())
    });
    context.inside(message, "default_regex_engine", |context, message| {
        refuse_unsupported(message, context.report);
        extension::of(context, message, &[GOOGLE_RE2], |_, _| Some(()))
    });
    context.each(message, "bootstrap_extensions", |context, message| {
        refuse_unsupported(message, context.report);
        if extension::is_ignored(message) {
            return;
        }
        extension::of(context, message, &[INTERNAL_LISTENER], |context, config| {
            refuse_unsupported(config, context.report);
            Some(())
        });
    });
}
