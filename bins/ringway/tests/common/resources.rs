//! Resources as texts, as files and management servers have them.

use std::net::SocketAddr;

/// An assignment of one endpoint.
pub(crate) fn assignment(name: &str, endpoint: SocketAddr) -> String {
    format!(
        "{{\"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: {name}, endpoints: [{{lb_endpoints: \
         [{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}]}}]}}",
        endpoint.ip(),
        endpoint.port()
    )
}

/// A cluster with its endpoint.
pub(crate) fn static_cluster(name: &str, endpoint: SocketAddr) -> String {
    let assignment = assignment(name, endpoint)
        .replace("\"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, ", "");
    format!(
        "{{\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: {name}, load_assignment: {assignment}}}"
    )
}

/// A route configuration: prefixes to clusters.
pub(crate) fn routes(name: &str, to: &[(&str, &str)]) -> String {
    let to: Vec<String> = to
        .iter()
        .map(|(prefix, cluster)| format!("{{match: {{prefix: {prefix}}}, route: {{cluster: {cluster}}}}}"))
        .collect();
    format!(
        "{{\"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: {name}, virtual_hosts: [{{name: all, domains: \
         [\"*\"], routes: [{}]}}]}}",
        to.join(", ")
    )
}

/// A cluster whose assignment comes of a `ConfigSource`, with these further fields.
pub(crate) fn eds_cluster(name: &str, source: &str, fields: &str) -> String {
    format!(
        "{{\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: {name}, type: EDS, eds_cluster_config: \
         {{eds_config: {source}}}{fields}}}"
    )
}

/// A listener whose route configuration comes of a `ConfigSource`.
pub(crate) fn listener(name: &str, routes: &str, source: &str) -> String {
    format!(
        "{{\"@type\": type.googleapis.com/envoy.config.listener.v3.Listener, name: {name}, address: {{socket_address: {{address: \
         127.0.0.1, port_value: 0}}}}, filter_chains: [{{filters: [{{name: hcm, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: {name}, \
         rds: {{route_config_name: {routes}, config_source: {source}}}, http_filters: [{{name: r, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}]}}]}}"
    )
}
