//! What a bootstrap says of the process itself, and what has no effect here.

use super::{Context, extension};
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

const INTERNAL_LISTENER: &str = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener";

/// Expressions mean what they mean to it in any case.
const GOOGLE_RE2: &str = "envoy.extensions.regex_engines.v3.GoogleRE2";

/// `default_regex_engine`, `cluster_manager`, `overload_manager` and `bootstrap_extensions`.
pub(super) fn without_resources(context: &mut Context<'_>, message: &Message) {
    for name in ["cluster_manager", "overload_manager"] {
        context.inside(message, name, |context, message| {
            refuse_unsupported(message, context.report);
            Some(())
        });
    }
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
