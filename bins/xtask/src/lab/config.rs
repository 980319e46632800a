//! Configuration text, as a user writes it: the fields that judges vary, and nothing clever.

use std::fmt::Write;
use std::net::SocketAddr;

/// A file with one HTTP listener after another, in Envoy's v3 format.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    listeners: String,
    clusters: String,
}

/// How a cluster speaks HTTP/2.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Http2<'a> {
    /// Fields of `Http2ProtocolOptions`: members of a flow mapping.
    pub(crate) options: &'a str,
    /// Other fields of `HttpProtocolOptions`: members of a flow mapping, each with a comma after it.
    pub(crate) common: &'a str,
}

impl Config {
    /// Adds a listener whose routes are given as the YAML flow sequence of one virtual host for all domains.
    pub(crate) fn listener(self, name: &str, address: SocketAddr, routes: &[String]) -> Config {
        let hosts = format!("[{{name: all, domains: [\"*\"], routes: [{}]}}]", routes.join(", "));
        self.listener_with_hosts(name, address, &hosts, "")
    }

    /// Adds a listener with these virtual hosts, as a YAML flow sequence, and these further fields of the HTTP connection
    /// manager, as lines of a flow mapping that end in commas.
    pub(crate) fn listener_with_hosts(mut self, name: &str, address: SocketAddr, hosts: &str, fields: &str) -> Config {
        write!(
            self.listeners,
            r#"
  - name: {name}
    address: {{socket_address: {{address: "{ip}", port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config: {{
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
          stat_prefix: {name}, {fields}
          route_config: {{name: routes, virtual_hosts: {hosts}}},
          http_filters: [{{name: envoy.filters.http.router, typed_config: {{
            "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]}}"#,
            ip = address.ip(),
            port = address.port(),
        )
        .expect("writing to a string");
        self
    }

    /// Gives the last listener's chain TLS: the fields of a `DownstreamTlsContext`, as members of a flow mapping, and further fields
    /// of the chain, as lines indented by six.
    pub(crate) fn tls(mut self, context: &str, chain: &str) -> Config {
        write!(
            self.listeners,
            r#"
      transport_socket: {{name: envoy.transport_sockets.tls, typed_config: {{
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, {context}}}}}{chain}"#
        )
        .expect("writing to a string");
        self
    }

    /// Adds a static cluster with these endpoints and limits wide enough for any judge.
    pub(crate) fn cluster(self, name: &str, endpoints: &[SocketAddr]) -> Config {
        self.cluster_with_connect_timeout(name, endpoints, "5s")
    }

    /// The same with a `connect_timeout`, as the file has it.
    pub(crate) fn cluster_with_connect_timeout(
        mut self,
        name: &str,
        endpoints: &[SocketAddr],
        connect_timeout: &str,
    ) -> Config {
        let endpoints: Vec<String> = endpoints
            .iter()
            .map(|endpoint| {
                let (ip, port) = (endpoint.ip(), endpoint.port());
                format!("{{endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}}}")
            })
            .collect();
        write!(
            self.clusters,
            r#"
  - name: {name}
    connect_timeout: {connect_timeout}
    type: STATIC
    circuit_breakers: {{thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]}}
    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{}]}}]}}"#,
            endpoints.join(", ")
        )
        .expect("writing to a string");
        self
    }

    /// Adds a static cluster of origins that speak HTTP/2, with these options of it.
    pub(crate) fn cluster_http2(mut self, name: &str, endpoints: &[SocketAddr], http2: &Http2) -> Config {
        self = self.cluster(name, endpoints);
        write!(
            self.clusters,
            r#"
    typed_extension_protocol_options: {{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, {}
      explicit_http_config: {{http2_protocol_options: {{{}}}}}}}}}"#,
            http2.common, http2.options
        )
        .expect("writing to a string");
        self
    }

    /// Adds a static cluster of one endpoint that has a name.
    pub(crate) fn cluster_with_hostname(mut self, name: &str, endpoint: SocketAddr, hostname: &str) -> Config {
        let (ip, port) = (endpoint.ip(), endpoint.port());
        write!(
            self.clusters,
            r#"
  - name: {name}
    type: STATIC
    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: {{
      hostname: {hostname}, address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}}}]}}]}}"#
        )
        .expect("writing to a string");
        self
    }

    /// Adds clusters as they stand here: items of the YAML list, indented by two, each with a line end before it.
    pub(crate) fn cluster_text(mut self, text: &str) -> Config {
        self.clusters.push_str(text);
        self
    }

    /// The file's text. The admin server is on a port that the kernel chooses.
    pub(crate) fn text(&self) -> String {
        format!(
            "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}\n\
             static_resources:\n  listeners:{}\n  clusters:{}\n",
            if self.listeners.is_empty() { " []" } else { &self.listeners },
            if self.clusters.is_empty() { " []" } else { &self.clusters },
        )
    }
}

/// A route from a prefix to a cluster, with no time limit.
pub(crate) fn route(prefix: &str, cluster: &str) -> String {
    route_with_timeout(prefix, cluster, "0s")
}

/// A route from a prefix to a cluster with a `timeout`, as the file has it.
pub(crate) fn route_with_timeout(prefix: &str, cluster: &str, timeout: &str) -> String {
    format!("{{match: {{prefix: \"{prefix}\"}}, route: {{cluster: {cluster}, timeout: {timeout}}}}}")
}

/// A route from a prefix to a fixed answer.
pub(crate) fn answer(prefix: &str, status: u16, body: &str) -> String {
    format!(
        "{{match: {{prefix: \"{prefix}\"}}, direct_response: {{status: {status}, body: {{inline_string: \"{body}\"}}}}}}"
    )
}
