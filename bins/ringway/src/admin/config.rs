//! `/clusters` and `/listeners`: the configuration as it is in force.

use std::fmt::{self, Write};

use ringway_model::{Address, CircuitBreakers, Cluster, HealthStatus, Locality};
use serde_json::{Value, json};

use super::Context;
use super::http::{Request, Response, TEXT};
use super::stats::Filter;
use crate::state::View;

/// `/clusters`. Envoy's rows, without those that count per endpoint: Ringway counts per cluster.
pub(crate) fn clusters(context: &Context, request: &Request) -> Response {
    let filter = match Filter::read(context, request) {
        Ok(filter) => filter,
        Err(refusal) => return refusal,
    };
    let view = context.state.view();
    let shown = move |view: &View, show: &mut dyn FnMut(&Cluster) -> fmt::Result| {
        let clusters = view.snapshot.iter().flat_map(|snapshot| snapshot.clusters.iter());
        clusters.filter(|cluster| filter.keeps_name(&cluster.name)).try_for_each(|cluster| show(cluster))
    };
    match request.parameter("format").unwrap_or("text") {
        "text" | "" => {
            let mut text = String::new();
            let mut write = move |cluster: &Cluster, out: &mut dyn Write| {
                text.clear();
                cluster_text(cluster, &mut text);
                out.write_str(&text)
            };
            Response::stream(TEXT, move |out| shown(&view, &mut |cluster| write(cluster, out)))
        }
        "json" => Response::stream("application/json", move |out| {
            out.write_str("{\"cluster_statuses\":[")?;
            let mut is_first = true;
            shown(&view, &mut |cluster| {
                let comma = if std::mem::take(&mut is_first) { "" } else { "," };
                write!(out, "{comma}{}", cluster_json(cluster))
            })?;
            out.write_str("]}\n")
        }),
        _ => Response::text(400, "usage: /clusters?format=(text|json)\n"),
    }
}

fn cluster_text(cluster: &Cluster, out: &mut String) {
    let name = &cluster.name;
    let _ = writeln!(out, "{name}::observability_name::{}", cluster.stat_name);
    for (priority, limits) in priorities(cluster) {
        for (limit, value) in [
            ("max_connections", limits.connections_max),
            ("max_pending_requests", limits.pending_requests_max),
            ("max_requests", limits.requests_max),
            ("max_retries", limits.retries_max),
        ] {
            let _ = writeln!(out, "{name}::{priority}::{limit}::{value}");
        }
    }
    let _ = writeln!(out, "{name}::added_via_api::false");
    for endpoint in cluster.endpoints.iter() {
        let placement = &endpoint.placement;
        let locality = placement.locality.as_deref().cloned().unwrap_or_default();
        for (row, value) in [
            ("hostname", endpoint.hostname.as_str()),
            ("health_flags", health_flags(placement.health)),
            ("weight", &placement.weight.to_string()),
            ("region", &locality.region),
            ("zone", &locality.zone),
            ("sub_zone", &locality.sub_zone),
            ("canary", "false"),
            ("priority", &placement.priority.to_string()),
            // Envoy's word for: outlier_detection, which is refused, does not watch it.
            ("success_rate", "-1"),
            ("local_origin_success_rate", "-1"),
        ] {
            let _ = writeln!(out, "{name}::{}::{row}::{value}", endpoint.address);
        }
    }
}

/// The circuit breakers of both priorities.
fn priorities(cluster: &Cluster) -> [(&'static str, CircuitBreakers); 2] {
    let high = cluster.high_breakers.unwrap_or_default();
    [("default_priority", cluster.circuit_breakers), ("high_priority", high)]
}

fn cluster_json(cluster: &Cluster) -> Value {
    let thresholds = |(_, limits): (_, CircuitBreakers)| {
        json!({
            "max_connections": limits.connections_max,
            "max_pending_requests": limits.pending_requests_max,
            "max_requests": limits.requests_max,
            "max_retries": limits.retries_max,
        })
    };
    let [default, high] = priorities(cluster).map(thresholds);
    let mut high = high;
    high["priority"] = json!("HIGH");
    let hosts = cluster.endpoints.iter().map(|endpoint| {
        json!({
            "address": address_json(&endpoint.address),
            "health_status": { "eds_health_status": eds_health(endpoint.placement.health) },
            "weight": endpoint.placement.weight,
            "priority": endpoint.placement.priority,
            "hostname": endpoint.hostname,
            "locality": locality_json(endpoint.placement.locality.as_deref()),
        })
    });
    json!({
        "name": cluster.name,
        "host_statuses": hosts.collect::<Vec<_>>(),
        "circuit_breakers": { "thresholds": [default, high] },
        "observability_name": cluster.stat_name,
    })
}

/// Envoy's words for why an endpoint is not healthy.
fn health_flags(health: HealthStatus) -> &'static str {
    match health {
        HealthStatus::Healthy => "healthy",
        HealthStatus::Degraded => "/degraded_eds_health",
        HealthStatus::Unhealthy | HealthStatus::Timeout => "/failed_eds_health",
        HealthStatus::Draining => "/eds_status_draining",
    }
}

/// A TIMEOUT is shown as what it comes to, as Envoy does.
pub(super) fn eds_health(health: HealthStatus) -> &'static str {
    if health == HealthStatus::Timeout { HealthStatus::Unhealthy.name() } else { health.name() }
}

pub(super) fn locality_json(locality: Option<&Locality>) -> Value {
    let mut json = serde_json::Map::new();
    if let Some(Locality { region, zone, sub_zone }) = locality {
        for (name, text) in [("region", region), ("zone", zone), ("sub_zone", sub_zone)] {
            if !text.is_empty() {
                json.insert(name.into(), text.as_str().into());
            }
        }
    }
    Value::Object(json)
}

pub(super) fn address_json(address: &Address) -> Value {
    match address {
        Address::Ip(address) => {
            json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
        }
        Address::Pipe(pipe) => json!({ "pipe": { "path": &*pipe.path } }),
    }
}

/// `/listeners`: `name::address` for each address, as bound.
pub(crate) fn listeners(context: &Context, request: &Request) -> Response {
    let view = context.state.view();
    match request.parameter("format").unwrap_or("text") {
        "text" | "" => {
            let mut body = String::new();
            for (name, addresses) in &view.listeners {
                for address in addresses {
                    let _ = writeln!(body, "{name}::{address}");
                }
            }
            Response::text(200, body)
        }
        "json" => {
            let statuses = view.listeners.iter().map(|(name, addresses)| {
                let mut addresses = addresses.iter().map(address_json);
                let mut status = json!({ "name": name, "local_address": addresses.next() });
                let others: Vec<_> = addresses.collect();
                if !others.is_empty() {
                    status["additional_local_addresses"] = others.into();
                }
                status
            });
            Response::json(&json!({ "listener_statuses": statuses.collect::<Vec<_>>() }))
        }
        _ => Response::text(400, "usage: /listeners?format=(text|json)\n"),
    }
}
