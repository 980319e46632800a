//! `envoy.config.route.v3.RetryPolicy`, and what routes and virtual hosts say beside it of tries.

use std::sync::Arc;
use std::time::Duration;

use ringway_model::{BackOff, HeaderMatcher, RateLimitedBackOff, ResetHeader, RetryOn, RetryPolicy, RetryRules};

use super::super::timeout::unless_zero;
use super::super::{Context, matcher};
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

/// `RateLimitedRetryBackOff.max_interval` where the file says nothing.
const RATE_LIMITED_MAX: Duration = Duration::from_secs(300);
const MILLISECOND: Duration = Duration::from_millis(1);

/// What a virtual host says of the tries of its routes.
pub(super) struct HostRules {
    policy: Option<RetryPolicy>,
    rules: RetryRules,
}

/// Of a virtual host.
pub(super) fn host(context: &mut Context<'_>, message: &Message) -> HostRules {
    let told = |name| message.boolean(name).unwrap_or(false);
    let rules = RetryRules {
        counts_in_request: told("include_request_attempt_count"),
        counts_in_response: told("include_attempt_count_in_response"),
        tells_timeout_retry: told("include_is_timeout_retry_header"),
        ..RetryRules::DEFAULT
    };
    HostRules { policy: context.inside(message, "retry_policy", policy), rules: with_limit(rules, message) }
}

/// Of a route, whose own policy takes the place of its host's as a whole. `None`: nothing is said.
pub(super) fn route(context: &mut Context<'_>, message: &Message, host: &HostRules) -> Option<Arc<RetryRules>> {
    let action = message.message("route")?;
    let own = context.field("route", |context| context.inside(action, "retry_policy", policy));
    let mut rules = with_limit(host.rules.clone(), message);
    if let Some(policy) = own.or_else(|| host.policy.clone()) {
        rules.policy = policy;
    }
    (rules != RetryRules::DEFAULT).then(|| Arc::new(rules))
}

/// How much of a body is kept; a route's word goes before its host's.
fn with_limit(rules: RetryRules, message: &Message) -> RetryRules {
    RetryRules {
        body_bytes_max: message.wide_uint("request_body_buffer_limit").or(rules.body_bytes_max),
        request_bytes_max: message.uint("per_request_buffer_limit_bytes").or(rules.request_bytes_max),
        ..rules
    }
}

fn policy(context: &mut Context<'_>, message: &Message) -> Option<RetryPolicy> {
    refuse_unsupported(message, context.report);
    let default = RetryRules::DEFAULT.policy;
    // Envoy passes over words that it does not know.
    let on = RetryOn::parse(message.text("retry_on").as_bytes(), |_| ());
    let matchers = |context: &mut Context<'_>, name| -> Vec<HeaderMatcher> {
        context.each(message, name, matcher::header).into_iter().flatten().collect()
    };
    let statuses = message.items("retriable_status_codes").iter().filter_map(|item| match item.value {
        Value::Uint(status) => u16::try_from(status).ok(),
        _ => unreachable!("statuses are unsigned"),
    });
    let selections = message.int("host_selection_retry_max_attempts").unwrap_or(1);
    Some(RetryPolicy {
        on,
        retries_max: message.uint("num_retries").unwrap_or(default.retries_max),
        per_try_timeout: message.duration("per_try_timeout").and_then(unless_zero),
        per_try_idle_timeout: message.duration("per_try_idle_timeout").and_then(unless_zero),
        back_off: context.inside(message, "retry_back_off", back_off).unwrap_or_default(),
        rate_limited: context.inside(message, "rate_limited_retry_back_off", rate_limited),
        statuses: statuses.collect(),
        response_headers: matchers(context, "retriable_headers"),
        request_headers: matchers(context, "retriable_request_headers"),
        avoids_previous_hosts: host_predicates(context, message),
        host_selections_max: u32::try_from(selections).unwrap_or(if selections < 0 { 0 } else { u32::MAX }),
    })
}

fn back_off(context: &mut Context<'_>, message: &Message) -> Option<BackOff> {
    refuse_unsupported(message, context.report);
    // Envoy counts in whole milliseconds, and at least one.
    let base = message.duration("base_interval")?.max(MILLISECOND);
    let max = match message.duration("max_interval") {
        None => base.saturating_mul(10),
        Some(max) => max.max(MILLISECOND),
    };
    if max < base {
        context.problem(message, "max_interval", "must be greater than or equal to the base_interval");
        return None;
    }
    Some(BackOff { base, max })
}

fn rate_limited(context: &mut Context<'_>, message: &Message) -> Option<RateLimitedBackOff> {
    refuse_unsupported(message, context.report);
    let headers = context.each(message, "reset_headers", |context, message| {
        refuse_unsupported(message, context.report);
        ResetHeader { name: message.text("name").to_ascii_lowercase(), is_timestamp: message.number("format") == 1 }
    });
    Some(RateLimitedBackOff { headers, max: message.duration("max_interval").unwrap_or(RATE_LIMITED_MAX) })
}

/// Whether endpoints that were tried are to be avoided. A canary is told from others by metadata, which endpoints do not have here:
/// none is left out for being one.
fn host_predicates(context: &mut Context<'_>, message: &Message) -> bool {
    let mut avoids_previous = false;
    context.each(message, "retry_host_predicate", |context, message| {
        refuse_unsupported(message, context.report);
        let kind = match message.any("typed_config").and_then(|any| any.value.as_deref()) {
            Some(Value::Message(config)) => config.kind.name(),
            _ => "",
        };
        match kind {
            "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate" => avoids_previous = true,
            "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate" => {}
            // Envoy: "Didn't find a registered implementation".
            "" => {
                let rule = format!("no implementation for {:?} without a type", message.text("name"));
                context.problem(message, "typed_config", rule);
            }
            kind => context.problem(message, "typed_config", format!("{kind} is not supported yet")),
        }
    });
    avoids_previous
}
