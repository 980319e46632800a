//! `/config_dump`: what was read from the file, in Envoy's `ConfigDump`, whole or a part of it.

use std::time::SystemTime;

use regex_lite::{Regex, RegexBuilder};
use ringway_control_client::{Dump, has_path};
use ringway_model::{Cluster, Snapshot};
use serde_json::{Map, Value, json};

use super::Context;
use super::config::{address_json, eds_health, locality_json};
use super::http::{Request, Response};
use crate::log::timestamp;
use crate::state::View;

/// A compiled expression of a query: many times what people write.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The lists of Envoy's dumps that a file without a control plane leaves empty.
const EMPTY: [&str; 9] = [
    "dynamic_active_clusters",
    "dynamic_warming_clusters",
    "dynamic_listeners",
    "dynamic_route_configs",
    "inline_scoped_route_configs",
    "dynamic_scoped_route_configs",
    "static_secrets",
    "dynamic_active_secrets",
    "dynamic_warming_secrets",
];

/// One list of the dump.
struct List {
    /// The dump that it stands in.
    dump: &'static str,
    /// Its field there, and the type of its items.
    field: &'static str,
    item: &'static str,
    /// The field of an item that holds the resource, the resource's type, and the field of its name.
    resource: &'static str,
    of: &'static str,
    name: &'static str,
    values: Vec<Value>,
}

/// `/config_dump`: what was read from the file, and beside it, under `ringway`, the generation in force and the last configuration
/// that was refused.
pub(crate) fn config_dump(context: &Context, request: &Request) -> Response {
    let said = |name: &str| request.parameter(name).filter(|value| !value.is_empty());
    let pattern = match said("name_regex").map(whole).transpose() {
        Ok(pattern) => pattern,
        Err(error) => return Response::text(400, format!("Error while parsing name_regex: {error}\n")),
    };
    let view = context.state.view();
    let json = view.bootstrap.as_ref().map(Dump::to_json).unwrap_or_default();
    let bootstrap: Value = serde_json::from_str(&json).unwrap_or(Value::Null);
    drop(json);
    // As in Envoy, by being there at all.
    let mut lists = lists(&bootstrap, &view, request.parameter("include_eds").is_some());
    for list in &mut lists {
        let is_named = |value: &Value| {
            let name = value.pointer(&format!("/{}/{}", list.resource, list.name)).and_then(Value::as_str);
            pattern.as_ref().is_none_or(|pattern| pattern.is_match(name.unwrap_or("")))
        };
        list.values.retain(is_named);
    }
    match said("resource") {
        Some(resource) => one(lists, resource, said("mask")),
        None => all(lists, bootstrap, &view, said("mask")),
    }
}

/// An expression that a whole name is to match.
fn whole(pattern: &str) -> Result<Regex, regex_lite::Error> {
    // By itself first: what closes a group that it did not open is none.
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build()?;
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_BYTES_MAX).build()
}

fn lists(bootstrap: &Value, view: &View, with_endpoints: bool) -> Vec<List> {
    let updated = timestamp(view.updated);
    let part = |name: &str| bootstrap.pointer(&format!("/static_resources/{name}")).and_then(Value::as_array);
    let wrapped = |resource: &str, of: &str, value: &Value| {
        let mut item = Map::new();
        item.insert(resource.into(), typed(of, value));
        item.insert("last_updated".into(), updated.as_str().into());
        Value::Object(item)
    };
    const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
    const ASSIGNMENT: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment";
    const LISTENER: &str = "envoy.config.listener.v3.Listener";
    const ROUTES: &str = "envoy.config.route.v3.RouteConfiguration";
    let mut routes = vec![];
    part("listeners").into_iter().flatten().for_each(|listener| route_configurations(listener, &mut routes));
    let clusters = part("clusters").into_iter().flatten().map(|cluster| wrapped("cluster", CLUSTER, cluster)).collect();
    let listeners = part("listeners").into_iter().flatten().map(|one| wrapped("listener", LISTENER, one)).collect();
    let routes = routes.into_iter().map(|routes| wrapped("route_config", ROUTES, routes)).collect();
    let mut lists = vec![List {
        dump: "ClustersConfigDump",
        field: "static_clusters",
        item: "StaticCluster",
        resource: "cluster",
        of: CLUSTER,
        name: "name",
        values: clusters,
    }];
    if with_endpoints {
        let clusters = view.snapshot.iter().flat_map(|snapshot: &std::sync::Arc<Snapshot>| snapshot.clusters.iter());
        let assignments = clusters.map(|cluster| json!({ "endpoint_config": typed(ASSIGNMENT, &assignment(cluster)) }));
        lists.push(List {
            dump: "EndpointsConfigDump",
            field: "static_endpoint_configs",
            item: "StaticEndpointConfig",
            resource: "endpoint_config",
            of: ASSIGNMENT,
            name: "cluster_name",
            values: assignments.collect(),
        });
    }
    lists.push(List {
        dump: "ListenersConfigDump",
        field: "static_listeners",
        item: "StaticListener",
        resource: "listener",
        of: LISTENER,
        name: "name",
        values: listeners,
    });
    lists.push(List {
        dump: "RoutesConfigDump",
        field: "static_route_configs",
        item: "StaticRouteConfig",
        resource: "route_config",
        of: ROUTES,
        name: "name",
        values: routes,
    });
    lists
}

/// A cluster's endpoints as they are in force: those that a name led to, too.
fn assignment(cluster: &Cluster) -> Value {
    let mut groups: Vec<(u32, Value, Vec<Value>)> = Vec::new();
    for endpoint in &cluster.endpoints {
        let placement = &endpoint.placement;
        let (priority, locality) = (placement.priority, locality_json(placement.locality.as_deref()));
        let mut address = json!({ "address": address_json(&endpoint.address), "health_check_config": {} });
        if !endpoint.hostname.is_empty() {
            address["hostname"] = endpoint.hostname.as_str().into();
        }
        let row = json!({
            "endpoint": address,
            "health_status": eds_health(placement.health),
            "load_balancing_weight": placement.weight,
        });
        match groups.iter_mut().find(|(of, at, _)| *of == priority && *at == locality) {
            Some((_, _, rows)) => rows.push(row),
            None => groups.push((priority, locality, vec![row])),
        }
    }
    let groups = groups.into_iter().map(|(priority, locality, rows)| {
        let mut group = json!({ "locality": locality, "lb_endpoints": rows });
        if priority > 0 {
            group["priority"] = priority.into();
        }
        group
    });
    json!({
        "cluster_name": cluster.name,
        "endpoints": groups.collect::<Vec<_>>(),
        "policy": { "overprovisioning_factor": cluster.balancer.config().overprovisioning_factor },
    })
}

/// The items of one list, each as a dump of its own.
fn one(lists: Vec<List>, resource: &str, mask: Option<&str>) -> Response {
    if matches!(resource, "bootstrap" | "last_updated") {
        let rule = format!("{resource} is not a repeated field. Use ?mask={resource} to get only this field\n");
        return Response::text(400, rule);
    }
    let Some(list) = lists.into_iter().find(|list| list.field == resource) else {
        return match EMPTY.contains(&resource) {
            true => Response::json(&json!({})),
            false => Response::text(404, format!("{resource} not found in config dump\n")),
        };
    };
    let mut values = list.values;
    if let Some(mask) = mask {
        let exists = |path: &[&str]| match path {
            ["last_updated"] => true,
            [first, rest @ ..] => *first == list.resource && has_path(list.of, rest),
            [] => false,
        };
        match paths(mask, exists) {
            Some(paths) => values.iter_mut().for_each(|value| *value = masked(value, &paths)),
            None => return Response::text(400, format!("FieldMask {mask} could not be successfully used.\n")),
        }
    }
    let item = format!("{}.{}", list.dump, list.item);
    let values: Vec<Value> = values.iter().map(|value| with_type(admin_type(&item), value)).collect();
    Response::json(&if values.is_empty() { json!({}) } else { json!({ "configs": values }) })
}

/// All dumps, or what a mask leaves of those that it can be laid on.
fn all(lists: Vec<List>, bootstrap: Value, view: &View, mask: Option<&str>) -> Response {
    let updated = timestamp(view.updated);
    let mut configs = Vec::new();
    let mut add = |dump: &str, value: Value, exists: &dyn Fn(&[&str]) -> bool| {
        let value = match mask {
            None => value,
            Some(mask) => match paths(mask, exists) {
                Some(paths) => masked(&value, &paths),
                None => return,
            },
        };
        configs.push(with_type(admin_type(dump), &value));
    };
    add("BootstrapConfigDump", json!({ "bootstrap": bootstrap, "last_updated": updated }), &|path| match path {
        ["last_updated"] => true,
        ["bootstrap", rest @ ..] => has_path("envoy.config.bootstrap.v3.Bootstrap", rest),
        _ => false,
    });
    let nothing = || Value::Object(Map::new());
    for list in lists {
        if list.dump == "RoutesConfigDump" {
            add("ScopedRoutesConfigDump", nothing(), &|_| false);
        }
        let mut value = Map::new();
        if !list.values.is_empty() {
            value.insert(list.field.into(), list.values.into());
        }
        add(list.dump, Value::Object(value), &|path| path == [list.field]);
    }
    add("SecretsConfigDump", nothing(), &|_| false);
    if configs.is_empty() {
        let mask = mask.unwrap_or_default();
        return Response::text(400, format!("FieldMask {mask} could not be successfully applied to any configs.\n"));
    }
    let mut whole = json!({ "configs": configs });
    if mask.is_none() {
        let generation = view.snapshot.as_ref().map_or(0, |snapshot| snapshot.generation);
        let rejected = view
            .rejection
            .as_ref()
            .map(|rejection| json!({ "last_update_attempt": timestamp(rejection.at), "details": rejection.problems }));
        whole["ringway"] = json!({
            "generation": generation,
            "last_updated": updated_or_never(generation, view.updated),
            "rejected": rejected,
        });
    }
    Response::json(&whole)
}

/// The paths of a mask, if each exists.
fn paths(mask: &str, exists: impl Fn(&[&str]) -> bool) -> Option<Vec<Vec<&str>>> {
    let paths: Vec<Vec<&str>> = mask.split(',').map(|path| path.split('.').collect()).collect();
    paths.iter().all(|path| exists(path)).then_some(paths)
}

/// What of a message stands at these paths, its type, and the messages on the way.
fn masked(value: &Value, paths: &[Vec<&str>]) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let mut kept = Map::new();
    if let Some(name) = fields.get("@type") {
        kept.insert("@type".into(), name.clone());
    }
    for (name, field) in fields {
        let inner: Vec<Vec<&str>> =
            paths.iter().filter(|path| path[0] == name).map(|path| path[1..].to_vec()).collect();
        if inner.iter().any(Vec::is_empty) {
            kept.insert(name.clone(), field.clone());
        } else if !inner.is_empty() {
            kept.insert(name.clone(), masked(field, &inner));
        }
    }
    Value::Object(kept)
}

fn updated_or_never(generation: u64, updated: SystemTime) -> Option<String> {
    (generation > 0).then(|| timestamp(updated))
}

fn admin_type(name: &str) -> String {
    format!("type.googleapis.com/envoy.admin.v3.{name}")
}

/// A message as an `Any` in JSON.
fn typed(name: &str, message: &Value) -> Value {
    with_type(format!("type.googleapis.com/{name}"), message)
}

fn with_type(name: String, message: &Value) -> Value {
    let mut any = Map::new();
    any.insert("@type".into(), name.into());
    if let Some(fields) = message.as_object() {
        any.extend(fields.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Value::Object(any)
}

/// Every `route_config` within a listener, at whatever depth its filter stands.
fn route_configurations<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if key == "route_config" {
                    found.push(value);
                } else {
                    route_configurations(value, found);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| route_configurations(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_leaves_what_stands_at_its_paths() {
        let value = json!({ "@type": "t", "a": { "b": { "c": 1, "d": 2 }, "e": [{ "f": 1 }] }, "g": 3 });
        for (mask, expect) in [
            ("g", json!({ "@type": "t", "g": 3 })),
            ("a.b.c,g", json!({ "@type": "t", "a": { "b": { "c": 1 } }, "g": 3 })),
            ("a.b.c,a.b", json!({ "@type": "t", "a": { "b": { "c": 1, "d": 2 } } })),
            ("a.e", json!({ "@type": "t", "a": { "e": [{ "f": 1 }] } })),
            ("a.x", json!({ "@type": "t", "a": {} })),
        ] {
            assert_eq!(masked(&value, &paths(mask, |_| true).expect("all exist")), expect, "{mask}");
        }
        assert_eq!(paths("a,b", |path| path == ["a"]), None);
    }
}
