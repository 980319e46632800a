//! Configuration files, put together from parts.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

/// Options with which a log is written soon: a test need not wait for Envoy's ten seconds.
pub(crate) const LOGS_SOON: &[&str] = &["--concurrency", "1", "--file-flush-interval-msec", "20"];

/// The field `access_log`: lines of this text in a file.
pub(crate) fn access_log(path: &Path, format: &str) -> String {
    format!(
        "access_log: [{{name: f, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
         path: \"{}\", log_format: {{text_format_source: {{inline_string: \"{format}\\n\"}}}}}}}}]",
        path.display()
    )
}

/// A bootstrap: an admin server, one listener `main` with one virtual host, and clusters.
#[derive(Clone, Default)]
pub(crate) struct Config {
    routes: String,
    clusters: String,
    extra: String,
    manager: String,
    routes_also: String,
    host: String,
    listener: String,
    chain: String,
}

impl Config {
    /// An empty one: everything is 404.
    pub(crate) fn new() -> Config {
        Config::default()
    }

    /// Adds a route: what matches (`prefix: /a`) and what is done (`route: {...}`).
    pub(crate) fn route(mut self, matches: &str, action: &str) -> Config {
        let _ = write!(self.routes, "              - match: {{{matches}}}\n                {action}\n");
        self
    }

    /// Adds a route for a prefix to a cluster.
    pub(crate) fn to(self, prefix: &str, cluster: &str) -> Config {
        self.route(&format!("prefix: {prefix}"), &format!("route: {{cluster: {cluster}}}"))
    }

    /// Adds a cluster.
    pub(crate) fn cluster(self, name: &str, endpoint: SocketAddr) -> Config {
        self.cluster_with(name, endpoint, "connect_timeout: 5s")
    }

    /// Adds a cluster with fields of its own.
    pub(crate) fn cluster_with(self, name: &str, endpoint: SocketAddr, fields: &str) -> Config {
        self.cluster_of(name, &[endpoint], fields)
    }

    /// Adds a cluster of several endpoints.
    pub(crate) fn cluster_of(mut self, name: &str, endpoints: &[SocketAddr], fields: &str) -> Config {
        let endpoint = |endpoint: &SocketAddr| {
            let (ip, port) = (endpoint.ip(), endpoint.port());
            format!("{{endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}}}")
        };
        let endpoints = endpoints.iter().map(endpoint).collect::<Vec<_>>().join(", ");
        let _ = write!(
            self.clusters,
            "  - name: {name}\n    {fields}\n    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: \
             [{endpoints}]}}]}}\n"
        );
        self
    }

    /// Adds a cluster at a unix socket.
    pub(crate) fn pipe(mut self, name: &str, path: &str) -> Config {
        let _ = write!(
            self.clusters,
            "  - name: {name}\n    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: \
             [{{endpoint: {{address: {{pipe: {{path: \"{path}\"}}}}}}}}]}}]}}\n"
        );
        self
    }

    /// Adds a cluster of one name, with fields of its own.
    pub(crate) fn names(mut self, name: &str, host: &str, port: u16, fields: &str) -> Config {
        let _ = write!(
            self.clusters,
            "  - name: {name}\n    {fields}\n    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: \
             [{{endpoint: {{address: {{socket_address: {{address: {host}, port_value: {port}}}}}}}}}]}}]}}\n"
        );
        self
    }

    /// Adds a cluster of these lines and this `load_assignment`.
    pub(crate) fn cluster_lines(mut self, name: &str, fields: &str, assignment: &str) -> Config {
        let _ = write!(self.clusters, "  - name: {name}\n    {fields}\n    {assignment}\n");
        self
    }

    /// Adds fields to the HTTP connection manager.
    pub(crate) fn manager(mut self, fields: &str) -> Config {
        let _ = writeln!(self.manager, "          {fields}");
        self
    }

    /// Adds fields to the route configuration.
    pub(crate) fn configuration(mut self, fields: &str) -> Config {
        let _ = writeln!(self.routes_also, "            {fields}");
        self
    }

    /// Adds fields to the virtual host.
    pub(crate) fn host(mut self, fields: &str) -> Config {
        let _ = writeln!(self.host, "              {fields}");
        self
    }

    /// Adds fields to the listener.
    pub(crate) fn listener(mut self, fields: &str) -> Config {
        let _ = writeln!(self.listener, "    {fields}");
        self
    }

    /// Adds fields to the listener's filter chain, and chains behind it, whose `filters` may be `*filters`.
    pub(crate) fn chain(mut self, fields: &str) -> Config {
        let _ = writeln!(self.chain, "      {fields}");
        self
    }

    /// Adds lines at the top level.
    pub(crate) fn top(mut self, lines: &str) -> Config {
        let _ = writeln!(self.extra, "{lines}");
        self
    }

    /// The file.
    pub(crate) fn yaml(&self) -> String {
        let Config { routes, clusters, extra, manager, routes_also, host, listener, chain } = self;
        format!(
            r#"{extra}node: {{id: node-1, cluster: tests}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: main
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
{listener}    filter_chains:
    - filters: &filters
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          generate_request_id: false
{manager}          route_config:
            name: main
{routes_also}            virtual_hosts:
            - name: all
              domains: ["*"]
{host}              routes:
              - match: {{path: /direct}}
                direct_response: {{status: 200, body: {{inline_string: direct}}}}
{routes}          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
{chain}  clusters:
{clusters}"#
        )
    }
}

/// Fields of a cluster whose endpoints speak HTTP/2, with these options (`http2_protocol_options`).
pub(crate) fn http2_cluster(options: &str) -> String {
    format!(
        "connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{{options}}}}}"
    )
}
