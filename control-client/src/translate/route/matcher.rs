//! `envoy.config.route.v3.RouteMatch`.

use ringway_model::{Conditions, PathMatch, RouteMatch};

use super::super::{Context, matcher};
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

pub(super) fn route_match(context: &mut Context<'_>, message: &Message) -> Option<RouteMatch> {
    refuse_unsupported(message, context.report);
    let path = path(context, message);
    let headers = context.each(message, "headers", matcher::header);
    let query = context.each(message, "query_parameters", matcher::query);
    let grpc = context.inside(message, "grpc", |context, options| {
        refuse_unsupported(options, context.report);
        Some(())
    });
    let fraction = context.inside(message, "runtime_fraction", matcher::fraction);
    if headers.iter().any(Option::is_none) || query.iter().any(Option::is_none) {
        return None;
    }
    let conditions = Conditions {
        headers: headers.into_iter().flatten().collect(),
        query: query.into_iter().flatten().collect(),
        grpc: grpc.is_some(),
        fraction,
    };
    Some(RouteMatch {
        path: path?,
        ignore_case: !message.boolean("case_sensitive").unwrap_or(true),
        conditions: (conditions != Conditions::default()).then(|| Box::new(conditions)),
    })
}

fn path(context: &mut Context<'_>, message: &Message) -> Option<PathMatch> {
    if message.get("connect_matcher").is_some() {
        return context.inside(message, "connect_matcher", |context, matcher| {
            refuse_unsupported(matcher, context.report);
            Some(PathMatch::Connect)
        });
    }
    let text = |name| message.get(name).map(|_| message.text(name).to_owned());
    if message.get("safe_regex").is_some() {
        return context.inside(message, "safe_regex", matcher::whole_regex).map(PathMatch::Regex);
    }
    if let Some(prefix) = text("path_separated_prefix") {
        // Envoy's rule is the pattern ^[^?#]+[^?#/]$.
        if prefix.len() < 2 || prefix.contains(['?', '#']) || prefix.ends_with('/') {
            let rule = "must have at least two characters, no ? or #, and not end with /";
            context.problem(message, "path_separated_prefix", rule);
            return None;
        }
        return Some(PathMatch::SeparatedPrefix(prefix));
    }
    text("prefix").map(PathMatch::Prefix).or_else(|| text("path").map(PathMatch::Exact))
}
