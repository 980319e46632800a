//! `/config_dump`: what was read from the file, in Envoy's `ConfigDump`, whole or a part of it.

use std::time::SystemTime;

use regex_lite::{Regex, RegexBuilder};
use ringway_control_client::{Dump, Kind, ShownError, ShownResource, ShownVersion, has_path};
use ringway_model::{Cluster, Snapshot};
use serde_json::{Map, Value, json};

use super::Context;
use super::config::{address_json, eds_health, locality_json};
use super::http::{Request, Response};
use crate::log::timestamp;
use crate::state::View;

/// A compiled expression of a query: many times what people write.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The lists of Envoy's dumps that are always empty.
const EMPTY: [&str; 3] = ["inline_scoped_route_configs", "dynamic_scoped_route_configs", "static_secrets"];

/// One list of the dump.
struct List {
    /// The dump that it stands in.
    dump: &'static str,
    /// Its field there, and the type of its items.
    field: &'static str,
    item: &'static str,
    /// The field of an item that holds the resource, and the resource's type.
    resource: &'static str,
    of: &'static str,
    /// Where an item has its name; the first that is there.
    names: Vec<String>,
    values: Vec<Value>,
}

impl List {
    /// Whether an item has something at this path.
    fn has(&self, path: &[&str]) -> bool {
        match path {
            ["last_updated" | "version_info"] => true,
            ["name"] => self.field == "dynamic_listeners" || self.dump == "SecretsConfigDump",
            // What they hold is as the item is.
            ["active_state" | "warming_state" | "error_state", ..] => {
                self.field.starts_with("dynamic_") || self.field == "ecds_filters"
            }
            [first, rest @ ..] => *first == self.resource && has_path(self.of, rest),
            [] => false,
        }
    }
}

/// `/config_dump`: what was read from the file and what came besides, and beside it, under `ringway`, the generation in
/// force and the last configuration
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
    let with_endpoints = request.parameter("include_eds").is_some();
    let Some(came) = super::process::dynamic(context) else { return super::process::busy() };
    let mut lists = lists(&bootstrap, &view, &came.resources, with_endpoints);
    for list in &mut lists {
        let is_named = |value: &Value| {
            let name = list.names.iter().find_map(|name| value.pointer(name)).and_then(Value::as_str);
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

fn lists(bootstrap: &Value, view: &View, came: &[ShownResource], with_endpoints: bool) -> Vec<List> {
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
    const EXTENSION: &str = "envoy.config.core.v3.TypedExtensionConfig";
    const SECRET: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";
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
        names: vec!["/cluster/name".into()],
        values: clusters,
    }];
    let dynamic = |lists: &mut Vec<List>, dump, field, item, resource, of, name: &str, values| {
        let names = ["", "/error_state/failed_configuration"]
            .map(|at| if at.is_empty() { format!("/{resource}/{name}") } else { format!("{at}/{name}") });
        lists.push(List { dump, field, item, resource, of, names: names.into(), values });
    };
    let of_kind = |kind: Kind| came.iter().filter(move |shown| shown.kind == kind);
    for (field, is_warming) in [("dynamic_active_clusters", false), ("dynamic_warming_clusters", true)] {
        let values = of_kind(Kind::Cluster).filter_map(|shown| {
            let state = if is_warming { shown.warming.as_ref() } else { shown.active.as_ref() };
            // One that was never accepted stands where those are that are not in force.
            let shows_error = shown.active.is_some() != is_warming;
            let error = shown.error.as_ref().filter(|_| shows_error);
            (state.is_some() || error.is_some()).then(|| state_json("cluster", CLUSTER, state, error))
        });
        let values = values.collect();
        dynamic(&mut lists, "ClustersConfigDump", field, "DynamicCluster", "cluster", CLUSTER, "name", values);
    }
    // As in Envoy, once a filter names one.
    if of_kind(Kind::Extension).next().is_some() {
        let state =
            |shown: &ShownResource| state_json("ecds_filter", EXTENSION, shown.active.as_ref(), shown.error.as_ref());
        let came = of_kind(Kind::Extension).filter(|shown| shown.active.is_some() || shown.error.is_some());
        let values = came.map(state).collect();
        let (dump, field, item) = ("EcdsConfigDump", "ecds_filters", "EcdsFilterConfig");
        dynamic(&mut lists, dump, field, item, "ecds_filter", EXTENSION, "name", values);
    }
    if with_endpoints {
        let clusters = view.snapshot.iter().flat_map(|snapshot: &std::sync::Arc<Snapshot>| snapshot.clusters.iter());
        let assignments = clusters.map(|cluster| json!({ "endpoint_config": typed(ASSIGNMENT, &assignment(cluster)) }));
        lists.push(List {
            dump: "EndpointsConfigDump",
            field: "static_endpoint_configs",
            item: "StaticEndpointConfig",
            resource: "endpoint_config",
            of: ASSIGNMENT,
            names: vec!["/endpoint_config/cluster_name".into()],
            values: assignments.collect(),
        });
        let (dump, field, item) = ("EndpointsConfigDump", "dynamic_endpoint_configs", "DynamicEndpointConfig");
        let state = |shown: &ShownResource| {
            state_json("endpoint_config", ASSIGNMENT, shown.active.as_ref(), shown.error.as_ref())
        };
        let came = of_kind(Kind::Assignment).filter(|shown| shown.active.is_some() || shown.error.is_some());
        let values = came.map(state).collect();
        dynamic(&mut lists, dump, field, item, "endpoint_config", ASSIGNMENT, "cluster_name", values);
    }
    lists.push(List {
        dump: "ListenersConfigDump",
        field: "static_listeners",
        item: "StaticListener",
        resource: "listener",
        of: LISTENER,
        names: vec!["/listener/name".into()],
        values: listeners,
    });
    lists.push(List {
        dump: "ListenersConfigDump",
        field: "dynamic_listeners",
        item: "DynamicListener",
        resource: "listener",
        of: LISTENER,
        names: vec!["/name".into()],
        values: of_kind(Kind::Listener)
            .map(|shown| {
                let mut value = json!({ "name": shown.name });
                for (field, state) in [("active_state", &shown.active), ("warming_state", &shown.warming)] {
                    if let Some(state) = state {
                        value[field] = state_json("listener", LISTENER, Some(state), None);
                    }
                }
                if let Some(error) = &shown.error {
                    value["error_state"] = error_json(LISTENER, error);
                }
                value
            })
            .collect(),
    });
    lists.push(List {
        dump: "RoutesConfigDump",
        field: "static_route_configs",
        item: "StaticRouteConfig",
        resource: "route_config",
        of: ROUTES,
        names: vec!["/route_config/name".into()],
        values: routes,
    });
    let state = |shown: &ShownResource| state_json("route_config", ROUTES, shown.active.as_ref(), shown.error.as_ref());
    let came = of_kind(Kind::Routes).filter(|shown| shown.active.is_some() || shown.error.is_some());
    let values = came.map(state).collect();
    let (dump, field, item) = ("RoutesConfigDump", "dynamic_route_configs", "DynamicRouteConfig");
    dynamic(&mut lists, dump, field, item, "route_config", ROUTES, "name", values);
    for (field, is_warming) in [("dynamic_active_secrets", false), ("dynamic_warming_secrets", true)] {
        // One that has not come yet stands among those that warm, by its name.
        let came = of_kind(Kind::Secret).filter(|shown| shown.active.is_none() == is_warming);
        let values = came.map(|shown| {
            let mut value = state_json("secret", SECRET, shown.active.as_ref(), shown.error.as_ref());
            value["name"] = shown.name.as_str().into();
            value
        });
        lists.push(List {
            dump: "SecretsConfigDump",
            field,
            item: "DynamicSecret",
            resource: "secret",
            of: SECRET,
            names: vec!["/name".into()],
            values: values.collect(),
        });
    }
    lists
}

/// `DynamicCluster` and its like: a version of a resource, and the one after it that was refused.
fn state_json(resource: &str, of: &str, state: Option<&ShownVersion>, error: Option<&ShownError>) -> Value {
    let mut value = json!({});
    if let Some(state) = state {
        let body = serde_json::from_str(&state.to_json()).unwrap_or(Value::Null);
        value["version_info"] = state.version.as_str().into();
        value[resource] = typed(of, &body);
        value["last_updated"] = timestamp(state.updated).into();
    }
    if let Some(error) = error {
        value["error_state"] = error_json(of, error);
    }
    value
}

/// `UpdateFailureState`.
pub(super) fn error_json(of: &str, error: &ShownError) -> Value {
    let mut value = json!({
        "last_update_attempt": timestamp(error.at),
        "details": error.problems.join("\n"),
        "version_info": error.version,
    });
    if let Some(failed) = &error.failed {
        let body = serde_json::from_str(&failed.to_json()).unwrap_or(Value::Null);
        value["failed_configuration"] = typed(of, &body);
    }
    value
}

/// A cluster's endpoints as they are in force: those that a name led to, too.
fn assignment(cluster: &Cluster) -> Value {
    let mut groups: Vec<(u32, Value, Vec<Value>)> = Vec::new();
    for endpoint in cluster.endpoints.iter() {
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
    let Some(mut list) = lists.into_iter().find(|list| list.field == resource) else {
        return match EMPTY.contains(&resource) {
            true => Response::json(&json!({})),
            false => Response::text(404, format!("{resource} not found in config dump\n")),
        };
    };
    let mut values = std::mem::take(&mut list.values);
    if let Some(mask) = mask {
        match paths(mask, |path| list.has(path)) {
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
    for lists in lists.chunk_by(|one, other| one.dump == other.dump) {
        let dump = lists[0].dump;
        if dump == "RoutesConfigDump" {
            add("ScopedRoutesConfigDump", nothing(), &|_| false);
        }
        let mut value = Map::new();
        for list in lists.iter().filter(|list| !list.values.is_empty()) {
            value.insert(list.field.into(), list.values.clone().into());
        }
        add(dump, Value::Object(value), &|path| lists.iter().any(|list| path == [list.field]));
    }
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
pub(super) fn typed(name: &str, message: &Value) -> Value {
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
