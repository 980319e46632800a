//! `/client_status`: what came of management servers and files, resource by resource, as the client status discovery service (CSDS) says it:
//! `envoy.service.status.v3.ClientStatusResponse` as JSON. Of the same source as `/config_dump`, keys redacted alike. The service itself is
//! in [`super::grpc`].

use ringway_control_client::{Dump, ShownResource};
use serde_json::{Map, Value, json};

use super::Context;
use super::config_dump::{error_json, typed};
use super::http::{Request, Response};
use crate::log::timestamp;
use crate::state::View;

/// What of `node` a management server is told.
const NODE: [&str; 5] = ["id", "cluster", "metadata", "dynamic_parameters", "locality"];

/// `/client_status`: one client, which is this process, with all resources that did not come with the file.
pub(crate) fn client_status(context: &Context, request: &Request) -> Response {
    let Some(came) = super::process::dynamic(context) else { return super::process::busy() };
    let is_brief = request.switch("exclude_resource_contents");
    let configs: Vec<Value> = came.resources.iter().map(|shown| config(shown, is_brief)).collect();
    let mut client = Map::new();
    client.insert("node".into(), node(&context.state.view()));
    if !configs.is_empty() {
        client.insert("generic_xds_configs".into(), configs.into());
    }
    Response::json(&json!({ "config": [client] }))
}

/// `GenericXdsConfig`.
fn config(shown: &ShownResource, is_brief: bool) -> Value {
    let mut value = json!({
        "type_url": format!("type.googleapis.com/{}", shown.kind.type_name()),
        "name": shown.name,
        "client_status": shown.status().name(),
    });
    if let Some(accepted) = shown.accepted() {
        value["version_info"] = accepted.version.as_str().into();
        value["last_updated"] = timestamp(accepted.updated).into();
        if !is_brief {
            let body = serde_json::from_str(&accepted.to_json()).unwrap_or(Value::Null);
            value["xds_config"] = typed(shown.kind.type_name(), &body);
        }
    }
    if let Some(error) = &shown.error {
        let mut error = error_json(shown.kind.type_name(), error);
        if is_brief && let Some(error) = error.as_object_mut() {
            error.remove("failed_configuration");
        }
        value["error_state"] = error;
    }
    value
}

/// Who we are, as management servers are told.
fn node(view: &View) -> Value {
    let json = view.bootstrap.as_ref().map(Dump::to_json).unwrap_or_default();
    let mut bootstrap: Value = serde_json::from_str(&json).unwrap_or(Value::Null);
    let mut node = match bootstrap.get_mut("node").map(Value::take) {
        Some(Value::Object(node)) => node,
        _ => Map::new(),
    };
    node.retain(|name, _| NODE.contains(&name.as_str()));
    node.insert("user_agent_name".into(), "ringway".into());
    node.insert("user_agent_version".into(), env!("CARGO_PKG_VERSION").into());
    Value::Object(node)
}

#[cfg(test)]
mod tests {
    use ringway_control_client::Kind;

    use super::*;

    #[test]
    fn a_resource_that_was_asked_for_is_requested_until_something_is_said() {
        let shown = |is_missing| ShownResource {
            kind: Kind::Assignment,
            name: "c".into(),
            active: None,
            warming: None,
            error: None,
            is_missing,
        };
        let url = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
        for (is_missing, status) in [(false, "REQUESTED"), (true, "DOES_NOT_EXIST")] {
            let expect = json!({ "type_url": url, "name": "c", "client_status": status });
            assert_eq!(config(&shown(is_missing), false), expect);
        }
    }
}
