//! `upgrade_configs` of the HTTP connection manager and of a route's action.

use ringway_model::Upgrade;

use super::Context;
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

/// The list in `message`.
pub(super) fn upgrades(context: &mut Context<'_>, message: &Message) -> Vec<Upgrade> {
    let mut upgrades: Vec<Upgrade> = Vec::new();
    context.each(message, "upgrade_configs", |context, message| {
        let Some(found) = upgrade(context, message) else { return };
        if Upgrade::find(&upgrades, found.kind.as_bytes()).is_some() {
            // Envoy: "multiple upgrade configs with the same name", "Duplicate upgrade".
            context.problem(message, "upgrade_type", format!("a second upgrade {:?}", found.kind));
            return;
        }
        upgrades.push(found);
    });
    upgrades
}

fn upgrade(context: &mut Context<'_>, message: &Message) -> Option<Upgrade> {
    refuse_unsupported(message, context.report);
    let kind = message.text("upgrade_type").to_owned();
    let is_of_route = message.kind.field("connect_config").is_some();
    if kind.is_empty() {
        // A route's has a rule of its own; Envoy takes this one and never finds it.
        if !is_of_route {
            context.problem(message, "upgrade_type", "value is required");
        }
        return None;
    }
    let terminates = is_of_route
        .then(|| {
            context.inside(message, "connect_config", |context, config| {
                refuse_unsupported(config, context.report);
                Some(())
            })
        })
        .flatten();
    if terminates.is_some() && !kind.eq_ignore_ascii_case("CONNECT") {
        // Envoy: "Non-CONNECT upgrade type has ConnectConfig".
        let rule = if kind.eq_ignore_ascii_case("CONNECT-UDP") { "not supported yet" } else { "only CONNECT has one" };
        context.problem(message, "connect_config", rule);
    }
    let enabled = message.boolean("enabled").unwrap_or(true);
    Some(Upgrade { kind, enabled, terminates: terminates.is_some() })
}
