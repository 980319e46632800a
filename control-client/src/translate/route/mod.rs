//! `envoy.config.route.v3.RouteConfiguration`: virtual hosts, routes and their actions.

mod action;
mod hash_policy;
mod matcher;
pub(super) mod mutation;
mod redirect;
mod retry;

use std::sync::Arc;

use ringway_model::{
    Action, DirectResponse, Domain, ForwardAction, Regexes, RequireTls, Route, RouteConfiguration, VirtualHost,
};

use super::Context;
use super::http_filter::per_filter;
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

/// `RouteConfiguration.max_direct_response_body_size_bytes` where the file says nothing.
const DIRECT_BODY_BYTES: u32 = 4096;

/// What a route takes from its route configuration.
#[derive(Clone, Copy)]
struct Scope {
    /// `validate_clusters`: true by default for routes that stand in the listener, false for those of RDS.
    validate_clusters: bool,
    direct_body_bytes_max: usize,
}

/// `validates`: what an unset `validate_clusters` means.
pub(super) fn configuration(
    context: &mut Context<'_>,
    message: &Message,
    validates: bool,
) -> Option<RouteConfiguration> {
    refuse_unsupported(message, context.report);
    // Each route configuration numbers its expressions for itself.
    context.regexes = Regexes::default();
    let body_max = message.uint("max_direct_response_body_size_bytes").unwrap_or(DIRECT_BODY_BYTES);
    let scope = Scope {
        validate_clusters: message.boolean("validate_clusters").unwrap_or(validates),
        direct_body_bytes_max: body_max as usize,
    };
    let headers = mutation::mutations(context, message);
    let internal_only = mutation::removals(context, message, "internal_only_headers");
    per_filter(context, message);
    let hosts = context.each(message, "virtual_hosts", |context, host| virtual_host(context, host, scope));
    let complete = hosts.iter().all(Option::is_some);
    let hosts: Vec<VirtualHost> = hosts.into_iter().flatten().collect();
    match RouteConfiguration::new(message.text("name").to_owned(), hosts) {
        Ok(mut configuration) => {
            configuration.ignore_port = message.boolean("ignore_port_in_host_matching").unwrap_or(false);
            configuration.most_specific_wins = message.boolean("most_specific_header_mutations_wins").unwrap_or(false);
            configuration.headers = headers;
            configuration.internal_only = internal_only;
            Some(configuration)
        }
        Err((domain, position)) => {
            // Positions agree with the file's only if no virtual host is missing; what is missing has a problem already.
            if complete {
                report_domain(context, message, &domain, position);
            }
            None
        }
    }
}

/// Envoy: "Only unique values for domains are permitted".
fn report_domain(context: &mut Context<'_>, message: &Message, domain: &Domain, position: usize) {
    let Some(host) = message.messages("virtual_hosts").nth(position) else { return };
    let same = |item: &&crate::message::Item| match &item.value {
        Value::Text(text) => Domain::parse(text).as_ref() == Some(domain),
        _ => false,
    };
    // The later of two: the last that equals it within this virtual host.
    let Some(index) = host.items("domains").iter().rposition(|item| same(&item)) else { return };
    let place = host.items("domains")[index].place;
    let path = format!("virtual_hosts[{position}].domains[{index}]");
    context.report.problem_in(&path, place, "the domain is claimed twice");
}

fn virtual_host(context: &mut Context<'_>, message: &Message, scope: Scope) -> Option<VirtualHost> {
    refuse_unsupported(message, context.report);
    let mut domains = Vec::new();
    for (index, item) in message.items("domains").iter().enumerate() {
        let Value::Text(text) = &item.value else { unreachable!("domains are strings") };
        match Domain::parse(text) {
            Some(domain) => domains.push(domain),
            None => {
                // Envoy takes "a*b" for a host of that very name, which no client can send.
                let rule = "a domain is a name, with at most one * that stands first or last";
                context.report.problem_in(&format!("domains[{index}]"), item.place, rule);
            }
        }
    }
    let headers = mutation::mutations(context, message);
    per_filter(context, message);
    let tries = retry::host(context, message);
    let routes = context.each(message, "routes", |context, message| route(context, message, scope, &tries));
    let complete = domains.len() == message.items("domains").len() && routes.iter().all(Option::is_some);
    complete.then(|| {
        let routes = routes.into_iter().flatten().collect();
        let mut host = VirtualHost::new(message.text("name").to_owned(), domains, routes);
        host.headers = headers;
        host.require_tls = match message.number("require_tls") {
            1 => RequireTls::ExternalOnly,
            2 => RequireTls::All,
            _ => RequireTls::None,
        };
        host
    })
}

fn route(context: &mut Context<'_>, message: &Message, scope: Scope, tries: &retry::HostRules) -> Option<Route> {
    refuse_unsupported(message, context.report);
    let rule = context.inside(message, "match", matcher::route_match);
    let headers = mutation::mutations(context, message);
    per_filter(context, message);
    let forward = context.inside(message, "route", |context, message| action::forward(context, message, scope));
    let tries = retry::route(context, message, tries);
    let redirect = context.inside(message, "redirect", redirect::redirect);
    let direct = context.inside(message, "direct_response", |context, message| direct(context, message, scope));
    let action = forward
        .map(|forward| Action::Forward(Box::new(ForwardAction { retry: tries, ..forward })))
        .or(redirect.map(|redirect| Action::Redirect(Box::new(redirect))))
        .or(direct.map(|direct| Action::Direct(Arc::new(direct))));
    Some(Route { name: message.text("name").to_owned(), rule: rule?, action: action?, headers })
}

fn direct(context: &mut Context<'_>, message: &Message, scope: Scope) -> Option<DirectResponse> {
    refuse_unsupported(message, context.report);
    let body = match message.message("body") {
        None => Vec::new(),
        Some(body) => context.field("body", |context| data(context, body, scope.direct_body_bytes_max))?,
    };
    let status = message.uint("status").and_then(|status| u16::try_from(status).ok())?;
    Some(DirectResponse { status, body })
}

/// `envoy.config.core.v3.DataSource` of at most `size_max` bytes.
pub(super) fn data(context: &mut Context<'_>, message: &Message, size_max: usize) -> Option<Vec<u8>> {
    refuse_unsupported(message, context.report);
    const KINDS: [&str; 4] = ["filename", "inline_bytes", "inline_string", "environment_variable"];
    let set = message.fields.iter().find(|set| KINDS.contains(&set.field.name()))?;
    let data = match &set.value {
        Value::Bytes(bytes) => bytes.clone(),
        Value::Text(path) if set.field.name() == "filename" => match read(path, size_max) {
            Ok(data) => data,
            Err(rule) => {
                context.problem(message, "filename", rule);
                return None;
            }
        },
        Value::Text(name) if set.field.name() == "environment_variable" => match std::env::var_os(name) {
            Some(value) => value.into_encoded_bytes(),
            None => {
                // Envoy's words.
                context.problem(message, "environment_variable", format!("Environment variable doesn't exist: {name}"));
                return None;
            }
        },
        Value::Text(text) => text.clone().into_bytes(),
        other => unreachable!("a data source holds no {other:?}"),
    };
    if data.len() > size_max {
        // Envoy: "response body size is N bytes; maximum is M".
        let rule = format!("response body size is {} bytes; maximum is {size_max}", data.len());
        context.problem(message, set.field.name(), rule);
        return None;
    }
    Some(data)
}

/// Reads a file, but no more of it than shows that it is too large.
fn read(path: &str, size_max: usize) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut data = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
    file.take(size_max as u64 + 1).read_to_end(&mut data).map_err(|error| format!("{path} cannot be read: {error}"))?;
    if data.len() > size_max {
        return Err(format!("{path} is larger than {size_max} bytes"));
    }
    Ok(data)
}
