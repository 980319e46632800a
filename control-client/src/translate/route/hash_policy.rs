//! `envoy.config.route.v3.RouteAction.HashPolicy`.

use ringway_model::{HASH_POLICIES_MAX, HashCookie, HashPolicy, HashSource, Subject};

use super::super::Context;
use super::action::rewrite;
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

/// Of a route, in the order of the file. One that asks for nothing finds nothing.
pub(super) fn hash_policies(context: &mut Context<'_>, message: &Message) -> Vec<HashPolicy> {
    if message.items("hash_policy").len() > HASH_POLICIES_MAX {
        context.problem(message, "hash_policy", format!("more than {HASH_POLICIES_MAX} are not supported"));
        return Vec::new();
    }
    let policies = context.each(message, "hash_policy", |context, message| {
        refuse_unsupported(message, context.report);
        Some(HashPolicy { source: source(context, message)?, terminal: message.boolean("terminal").unwrap_or(false) })
    });
    policies.into_iter().flatten().collect()
}

fn source(context: &mut Context<'_>, message: &Message) -> Option<HashSource> {
    let header = context.inside(message, "header", |context, message| {
        refuse_unsupported(message, context.report);
        let rewritten = context.inside(message, "regex_rewrite", rewrite);
        Some(HashSource::Header(Subject::parse(message.text("header_name")), rewritten))
    });
    let of_cookie =
        context.inside(message, "cookie", |context, message| Some(HashSource::Cookie(cookie(context, message))));
    let source = context.inside(message, "connection_properties", |context, message| {
        refuse_unsupported(message, context.report);
        message.boolean("source_ip").unwrap_or(false).then_some(HashSource::SourceIp)
    });
    let query = context.inside(message, "query_parameter", |context, message| {
        refuse_unsupported(message, context.report);
        Some(HashSource::QueryParameter(message.text("name").to_owned()))
    });
    // The rules allow one of them.
    header.or(of_cookie).or(source).or(query)
}

fn cookie(context: &mut Context<'_>, message: &Message) -> HashCookie {
    refuse_unsupported(message, context.report);
    for name in ["name", "path"] {
        if message.text(name).bytes().any(|byte| !(0x20..=0x7e).contains(&byte) || byte == b';') {
            // Envoy would send it as it is.
            context.problem(message, name, "not legal in a cookie");
        }
    }
    let attributes = context.each(message, "attributes", |context, message| {
        refuse_unsupported(message, context.report);
        (message.text("name").to_owned(), message.text("value").to_owned())
    });
    HashCookie {
        name: message.text("name").to_owned(),
        ttl: message.duration("ttl").map(|ttl| ttl.as_secs()),
        path: message.text("path").to_owned(),
        attributes,
    }
}
