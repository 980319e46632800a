//! `envoy.config.route.v3.RouteAction`: to which cluster, and what is changed on the way.

use std::time::Duration;

use ringway_model::{
    ForwardAction, GrpcBound, GrpcTimeout, HostRewrite, PathRewrite, Priority, Rewrite, Substitution, Target,
    WeightedCluster,
};

use super::super::http_filter::per_filter;
use super::super::timeout::unless_zero;
use super::super::{Context, matcher, upgrade};
use super::{Scope, hash_policy, mutation};
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

pub(super) fn forward(context: &mut Context<'_>, message: &Message, scope: Scope) -> Option<ForwardAction> {
    refuse_unsupported(message, context.report);
    let target = target(context, message, scope);
    let path = path_rewrite(context, message);
    let host = host_rewrite(context, message);
    let limits = context.inside(message, "max_stream_duration", |context, limits| {
        refuse_unsupported(limits, context.report);
        Some(limits)
    });
    let of_stream = limits.and_then(|limits| {
        let offset = limits.duration("grpc_timeout_header_offset");
        limits.duration("grpc_timeout_header_max").map(|max| GrpcTimeout::Stream(bound(max, offset)))
    });
    let of_request = || {
        let offset = message.duration("grpc_timeout_offset");
        message.duration("max_grpc_timeout").map(|max| GrpcTimeout::Request(bound(max, offset)))
    };
    let upgrades = upgrade::upgrades(context, message);
    let hash_policies = hash_policy::hash_policies(context, message);
    let mut action = ForwardAction {
        not_found_status: match message.number("cluster_not_found_response_code") {
            0 => 503,
            1 => 404,
            _ => 500,
        },
        idle_timeout: message.duration("idle_timeout").map(unless_zero),
        max_stream_duration: limits.and_then(|limits| limits.duration("max_stream_duration")).map(unless_zero),
        // Envoy, `usingNewTimeouts`: the one takes the place of the other.
        grpc_timeout: if limits.is_some() { of_stream } else { of_request() },
        path,
        host,
        priority: match message.number("priority") {
            1 => Priority::High,
            _ => Priority::Default,
        },
        append_x_forwarded_host: message.boolean("append_x_forwarded_host").unwrap_or(false),
        upgrades,
        hash_policies,
        ..ForwardAction::new(target?)
    };
    if limits.is_some() {
        action.timeout = None;
    } else if let Some(timeout) = message.duration("timeout") {
        action.timeout = unless_zero(timeout);
    }
    Some(action)
}

fn bound(max: Duration, offset: Option<Duration>) -> GrpcBound {
    GrpcBound { max: unless_zero(max), offset: offset.unwrap_or_default() }
}

fn target(context: &mut Context<'_>, message: &Message, scope: Scope) -> Option<Target> {
    match (message.text("cluster"), message.text("cluster_header")) {
        ("", "") => context.inside(message, "weighted_clusters", |context, message| weighted(context, message, scope)),
        ("", header) => Some(Target::Header(header.to_ascii_lowercase())),
        (name, _) => {
            check_known(context, message, "cluster", scope);
            Some(Target::Cluster(context.names.id(name)))
        }
    }
}

/// Envoy: "route: unknown cluster".
fn check_known(context: &mut Context<'_>, message: &Message, field: &str, scope: Scope) {
    let name = message.text(field);
    if scope.validate_clusters && !(context.knows)(name) {
        context.problem(message, field, format!("unknown cluster {name:?}"));
    }
}

/// `prefix_rewrite` or `regex_rewrite` of a route's action or of a redirect.
pub(super) fn path_rewrite(context: &mut Context<'_>, message: &Message) -> Option<PathRewrite> {
    let prefix = message.text("prefix_rewrite");
    let has_regex = message.get("regex_rewrite").is_some();
    if prefix.is_empty() {
        return context.inside(message, "regex_rewrite", rewrite).map(PathRewrite::Regex);
    }
    if has_regex {
        // Envoy: "Specify only one of prefix_rewrite, regex_rewrite or path_rewrite_policy".
        context.problem(message, "regex_rewrite", "prefix_rewrite and regex_rewrite are both set");
        return None;
    }
    if !prefix.starts_with('/') || prefix.bytes().any(|byte| !(0x21..=0x7e).contains(&byte) || byte == b'#') {
        // Envoy would send a request line that is none.
        context.problem(
            message,
            "prefix_rewrite",
            "what the path begins with must begin with / and be legal in a path",
        );
        return None;
    }
    Some(PathRewrite::Prefix(prefix.to_owned()))
}

/// `envoy.type.matcher.v3.RegexMatchAndSubstitute`.
pub(super) fn rewrite(context: &mut Context<'_>, message: &Message) -> Option<Rewrite> {
    refuse_unsupported(message, context.report);
    let pattern = context.inside(message, "pattern", matcher::search_regex)?;
    match Substitution::parse(message.text("substitution"), &pattern) {
        Ok(substitution) => Some(Rewrite { pattern, substitution }),
        Err(reason) => {
            context.problem(message, "substitution", reason);
            None
        }
    }
}

fn host_rewrite(context: &mut Context<'_>, message: &Message) -> Option<HostRewrite> {
    if let Some(host) = literal_host(context, message) {
        return Some(host);
    }
    match message.text("host_rewrite_header") {
        "" if message.boolean("auto_host_rewrite") == Some(true) => Some(HostRewrite::Endpoint),
        "" => context.inside(message, "host_rewrite_path_regex", rewrite).map(HostRewrite::Path),
        name => Some(HostRewrite::Header(name.to_ascii_lowercase())),
    }
}

fn literal_host(context: &mut Context<'_>, message: &Message) -> Option<HostRewrite> {
    match message.text("host_rewrite_literal") {
        "" => None,
        host if host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte)) => {
            Some(HostRewrite::Literal(host.to_owned()))
        }
        _ => {
            // Envoy would send it as it is.
            context.problem(message, "host_rewrite_literal", "not a host");
            None
        }
    }
}

fn weighted(context: &mut Context<'_>, message: &Message, scope: Scope) -> Option<Target> {
    refuse_unsupported(message, context.report);
    let prefix = message.text("runtime_key_prefix");
    let by_runtime = |context: &mut Context<'_>, name: &str| match prefix {
        "" => None,
        prefix => context.runtime_uint(&format!("{prefix}.{name}")),
    };
    let clusters = context.each(message, "clusters", |context, message| {
        refuse_unsupported(message, context.report);
        let weight = by_runtime(context, message.text("name")).or(message.uint("weight"));
        if weight.is_none() {
            context.problem(message, "weight", "value is required");
        }
        let host = literal_host(context, message);
        let headers = mutation::mutations(context, message);
        per_filter(context, message);
        match message.text("name") {
            // cluster_header has been refused.
            "" if message.get("cluster_header").is_some() => None,
            "" => {
                context.problem(message, "name", "value is required");
                None
            }
            name => {
                check_known(context, message, "name", scope);
                Some(WeightedCluster { cluster: context.names.id(name), weight: weight?, host, headers })
            }
        }
    });
    let complete = clusters.iter().all(Option::is_some);
    let clusters: Vec<WeightedCluster> = clusters.into_iter().flatten().collect();
    let total: u64 = clusters.iter().map(|entry| u64::from(entry.weight)).sum();
    match u32::try_from(total) {
        _ if !complete => None,
        Ok(0) => {
            context.problem(message, "clusters", "the sum of the weights must be greater than 0");
            None
        }
        Ok(total) => Some(Target::Weighted { clusters, total }),
        Err(_) => {
            context.problem(message, "clusters", format!("the sum of the weights must not exceed {}", u32::MAX));
            None
        }
    }
}
