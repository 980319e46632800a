//! `envoy.extensions.filters.network.rbac.v3.RBAC`: who may connect.

use ringway_model::Regexes;
use ringway_model::rbac::{Action, NetworkRbac, Permission, Policy, Principal, Rbac};

use super::{Context, cidr, extension, matcher};
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

const MTLS: &str = "envoy.extensions.rbac.principals.mtls_authenticated.v3.Config";

pub(super) fn network_rbac(context: &mut Context<'_>, message: &Message) -> Option<NetworkRbac> {
    refuse_unsupported(message, context.report);
    context.regexes = Regexes::default();
    let mut read = |name: &str| match message.get(name) {
        Some(_) => context.inside(message, name, rules).map(Some),
        None => Some(None),
    };
    let (rules, shadow_rules) = (read("rules"), read("shadow_rules"));
    Some(NetworkRbac {
        stat_prefix: message.text("stat_prefix").to_owned(),
        rules: rules?,
        shadow_rules: shadow_rules?,
        delay_deny: message.duration("delay_deny").filter(|delay| !delay.is_zero()),
    })
}

/// `envoy.config.rbac.v3.RBAC`.
fn rules(context: &mut Context<'_>, message: &Message) -> Option<Rbac> {
    refuse_unsupported(message, context.report);
    let action = match message.number("action") {
        1 => Action::Deny,
        2 => Action::Log,
        _ => Action::Allow,
    };
    let entries = match message.get("policies").map(|set| &set.value) {
        Some(Value::Map(entries)) => entries.as_slice(),
        _ => &[],
    };
    let mut policies = Vec::with_capacity(entries.len());
    for (name, item) in entries {
        let Value::Message(policy) = &item.value else { unreachable!("policies are messages") };
        policies.push(context.field("policies", |context| {
            let size = context.report.enter_key(name);
            let policy = self::policy(context, name, policy);
            context.report.leave(size);
            policy
        }));
    }
    let policies: Option<Vec<Policy>> = policies.into_iter().collect();
    Some(Rbac::new(action, policies?))
}

fn policy(context: &mut Context<'_>, name: &str, message: &Message) -> Option<Policy> {
    refuse_unsupported(message, context.report);
    let permissions: Option<Vec<_>> = context.each(message, "permissions", permission).into_iter().collect();
    let principals: Option<Vec<_>> = context.each(message, "principals", principal).into_iter().collect();
    Some(Policy { name: name.to_owned(), permissions: permissions?, principals: principals? })
}

/// As deep as a file may nest; `None` where it has a problem, or says nothing, which the rules refuse.
fn permission(context: &mut Context<'_>, message: &Message) -> Option<Permission> {
    refuse_unsupported(message, context.report);
    let set = message.fields.first()?;
    let name = set.field.name();
    let several = |context: &mut Context<'_>| -> Option<Vec<Permission>> {
        context.inside(message, name, |context, set| {
            refuse_unsupported(set, context.report);
            context.each(set, "rules", permission).into_iter().collect()
        })
    };
    match name {
        "any" => Some(Permission::Any),
        "and_rules" => several(context).map(Permission::And),
        "or_rules" => several(context).map(Permission::Or),
        "not_rule" => context.inside(message, name, permission).map(|rule| Permission::Not(Box::new(rule))),
        "destination_ip" => context.inside(message, name, cidr).map(Permission::DestinationIp),
        "destination_port" => {
            message.uint(name).and_then(|port| u16::try_from(port).ok()).map(Permission::DestinationPort)
        }
        "destination_port_range" => context.inside(message, name, |context, range| {
            refuse_unsupported(range, context.report);
            let (start, end) = (range.int("start").unwrap_or(0), range.int("end").unwrap_or(0));
            if start < 0 || start >= end || end > 65_536 {
                // Envoy: "range start and end must be in ...".
                context.report.problem(range.place, "start must be less than end, and both from 0 to 65536");
                return None;
            }
            Some(Permission::DestinationPorts(start as u32..end as u32))
        }),
        "requested_server_name" => context.inside(message, name, matcher::text).map(Permission::ServerName),
        _ => None, // refused above
    }
}

/// The same of `Principal`.
fn principal(context: &mut Context<'_>, message: &Message) -> Option<Principal> {
    refuse_unsupported(message, context.report);
    let set = message.fields.first()?;
    let name = set.field.name();
    let several = |context: &mut Context<'_>| -> Option<Vec<Principal>> {
        context.inside(message, name, |context, set| {
            refuse_unsupported(set, context.report);
            context.each(set, "ids", principal).into_iter().collect()
        })
    };
    match name {
        "any" => Some(Principal::Any),
        "and_ids" => several(context).map(Principal::And),
        "or_ids" => several(context).map(Principal::Or),
        "not_id" => context.inside(message, name, principal).map(|id| Principal::Not(Box::new(id))),
        "authenticated" => context.inside(message, name, |context, message| {
            refuse_unsupported(message, context.report);
            match message.get("principal_name") {
                Some(_) => context.inside(message, "principal_name", matcher::text).map(Some),
                None => Some(None),
            }
            .map(Principal::Authenticated)
        }),
        "custom" => context.inside(message, name, |context, extension| {
            refuse_unsupported(extension, context.report);
            extension::of(context, extension, &[MTLS], mtls)
        }),
        "direct_remote_ip" => context.inside(message, name, cidr).map(Principal::DirectRemoteIp),
        "remote_ip" | "source_ip" => context.inside(message, name, cidr).map(Principal::RemoteIp),
        _ => None, // refused above
    }
}

/// Who has shown a certificate that was verified.
fn mtls(context: &mut Context<'_>, message: &Message) -> Option<Principal> {
    refuse_unsupported(message, context.report);
    if message.get("san_matcher").is_none() {
        return match message.boolean("any_validated_client_certificate") {
            Some(true) => Some(Principal::MtlsAuthenticated(None)),
            _ => {
                // Envoy: "... did not have any configured validation. At least one configuration field must be set."
                context.report.problem(message.place, "san_matcher or any_validated_client_certificate must be set");
                None
            }
        };
    }
    context.inside(message, "san_matcher", |context, san| {
        const URI: i32 = 3;
        refuse_unsupported(san, context.report);
        if san.number("san_type") != URI {
            context.problem(san, "san_type", "only URI is supported yet".to_owned());
        }
        context.inside(san, "matcher", matcher::text).map(|uri| Principal::MtlsAuthenticated(Some(uri)))
    })
}
