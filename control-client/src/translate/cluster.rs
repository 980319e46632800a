//! `envoy.config.cluster.v3.Cluster` and `envoy.config.endpoint.v3.ClusterLoadAssignment`.

use std::time::Duration;

use ringway_model::{CircuitBreakers, Cluster, Endpoint, LbPolicy};

use super::{Context, address};
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Set, Value};

/// `Cluster.connect_timeout` where the file says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// `HttpProtocolOptions.idle_timeout` where the file says nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

pub(super) fn cluster(context: &mut Context<'_>, message: &Message) -> Option<Cluster> {
    refuse_unsupported(message, context.report);
    let name = message.text("name");
    // What an assignment may hold depends on the type; where the type is refused, that says enough.
    let is_static = ["type", "cluster_type"].into_iter().filter_map(|name| message.get(name)).all(is_static);
    let endpoints = match is_static {
        true => context.inside(message, "load_assignment", load_assignment).unwrap_or_default(),
        false => Vec::new(),
    };
    let stat_name = match message.text("alt_stat_name") {
        "" => name,
        other => other,
    };
    Some(Cluster {
        id: context.names.id(name),
        name: name.to_owned(),
        stat_name: stat_name.to_owned(),
        connect_timeout: message.duration("connect_timeout").unwrap_or(CONNECT_TIMEOUT),
        lb_policy: LbPolicy::RoundRobin,
        circuit_breakers: context.inside(message, "circuit_breakers", circuit_breakers).unwrap_or_default(),
        endpoints,
        idle_timeout: IDLE_TIMEOUT,
    })
}

/// Whether a `type` is STATIC, number 0 of `Cluster.DiscoveryType`.
fn is_static(set: &Set) -> bool {
    matches!(set.value, Value::Enum(0))
}

fn circuit_breakers(context: &mut Context<'_>, message: &Message) -> Option<CircuitBreakers> {
    refuse_unsupported(message, context.report);
    let mut limits = CircuitBreakers::default();
    let mut known = false;
    context.each(message, "thresholds", |context, message| {
        refuse_unsupported(message, context.report);
        if message.get("priority").is_some() {
            return; // refused above: the default priority is the one that is not set
        }
        if known {
            // Envoy takes the first and says nothing.
            context.report.problem(message.place, "a second threshold for the priority DEFAULT: only one would count");
        }
        known = true;
        let limit = |name, default| message.uint(name).unwrap_or(default);
        limits = CircuitBreakers {
            connections_max: limit("max_connections", limits.connections_max),
            pending_requests_max: limit("max_pending_requests", limits.pending_requests_max),
            requests_max: limit("max_requests", limits.requests_max),
            retries_max: limit("max_retries", limits.retries_max),
        };
    });
    Some(limits)
}

fn load_assignment(context: &mut Context<'_>, message: &Message) -> Option<Vec<Endpoint>> {
    refuse_unsupported(message, context.report);
    let mut endpoints = Vec::new();
    context.each(message, "endpoints", |context, message| {
        refuse_unsupported(message, context.report);
        context.each(message, "lb_endpoints", |context, message| {
            refuse_unsupported(message, context.report);
            if message.get("endpoint_name").is_some() {
                return; // refused above
            }
            let address = context.inside(message, "endpoint", |context, message| {
                refuse_unsupported(message, context.report);
                let hostname = message.text("hostname");
                context.inside(message, "address", |context, message| Some((address(context, message), hostname)))
            });
            match address {
                Some((address, hostname)) => {
                    endpoints.extend(address.map(|address| Endpoint { address, hostname: hostname.to_owned() }));
                }
                // Envoy: "Address must be set".
                None => context.report.problem_in("endpoint.address", message.place, "value is required"),
            }
        });
    });
    Some(endpoints)
}
