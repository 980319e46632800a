//! `layered_runtime` in the place of defaults, and the command line in the place of the file's node.

use ringway_control_client::{Bootstrap, Builder, NodeOptions, ReadOptions, Source, read_bootstrap};

/// A bootstrap in which each kind of field that may have a key has one.
const TEXT: &str = "\
static_resources:
  clusters:
  - name: a
    lb_policy: LEAST_REQUEST
    least_request_lb_config: {active_request_bias: {default_value: 0.5, runtime_key: bias}}
  - {name: b}
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: few
        typed_config: {'@type': t/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit, stat_prefix: few, max_connections: 3, runtime_enabled: {default_value: true, runtime_key: limited}}
      - name: hcm
        typed_config:
          '@type': t/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          access_log:
          - name: one
            filter: {status_code_filter: {comparison: {op: GE, value: {default_value: 444, runtime_key: status}}}}
            typed_config: {'@type': t/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}
          - name: two
            filter: {runtime_filter: {runtime_key: sampled, percent_sampled: {numerator: 44}}}
            typed_config: {'@type': t/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}
          route_config:
            virtual_hosts:
            - name: v
              domains: ['*']
              routes:
              - match: {prefix: /, runtime_fraction: {default_value: {numerator: 43}, runtime_key: part}}
                route: {weighted_clusters: {runtime_key_prefix: w, clusters: [{name: a, weight: 41}, {name: b, weight: 42}]}}
          http_filters: [{name: r, typed_config: {'@type': t/envoy.extensions.filters.http.router.v3.Router}}]
";

fn read(runtime: &str, node: NodeOptions) -> Bootstrap {
    let text = format!("{runtime}\n{TEXT}");
    let options = ReadOptions { node, ..ReadOptions::default() };
    read_bootstrap(Source { name: "f", text: &text }, &options).expect("the file is right")
}

/// What of the snapshot this text makes is there, of these words.
#[track_caller]
fn check(runtime: &str, there: &[&str], gone: &[&str]) {
    let bootstrap = read(runtime, NodeOptions::default());
    let snapshot = format!("{:?}", Builder::new().build(&bootstrap).snapshot());
    for word in there {
        assert!(snapshot.contains(word), "{runtime}: {word}: {snapshot}");
    }
    for word in gone {
        assert!(!snapshot.contains(word), "{runtime}: {word}: {snapshot}");
    }
}

const DEFAULTS: [&str; 7] = [
    "active_request_bias: 0.5",
    "connections_max: 3",
    "value: 444",
    "numerator: 44,",
    "numerator: 43, denominator: 100",
    "weight: 41",
    "total: 83",
];

#[test]
fn without_a_layer_defaults_hold() {
    check("", &DEFAULTS, &[]);
    check("layered_runtime: {layers: [{name: admin, admin_layer: {}}]}", &DEFAULTS, &[]);
    // What is no number is none.
    check(
        "layered_runtime: {layers: [{name: a, static_layer: {bias: x, part: true, status: -1, w.a: {b: 1}}}]}",
        &DEFAULTS,
        &[],
    );
}

#[test]
fn values_of_a_layer_hold_in_their_place() {
    let runtime = "layered_runtime: {layers: [{name: low, static_layer: {bias: 9, part: 9}}, {name: a, static_layer: {bias: 2.25, \
                   limited: false, status: 555, sampled: {numerator: 77, denominator: TEN_THOUSAND}, part: 66, w: {a: 11}}}]}";
    let there = [
        "active_request_bias: 2.25",
        "value: 555",
        "numerator: 77, denominator: 10000",
        "numerator: 66, denominator: 100",
        "weight: 11",
        "weight: 42",
        "total: 53",
    ];
    let gone = ["active_request_bias: 0.5", "connections_max: 3", "value: 444", "numerator: 43", "weight: 41"];
    check(runtime, &there, &gone);
}

#[test]
fn the_command_line_names_the_node() {
    let options = NodeOptions { id: "n".into(), cluster: String::new(), zone: "z".into() };
    let file = "node: {id: file, cluster: c, locality: {region: r, zone: file}}";
    let node = read(file, options.clone()).node;
    let found = [&node.id, &node.cluster, &node.region, &node.zone].map(String::as_str);
    assert_eq!(found, ["n", "c", "r", "z"]);
    let node = read("", options).node;
    assert_eq!((&*node.id, &*node.cluster, &*node.zone), ("n", "", "z"));
}

/// What is said of a bootstrap that begins so: problems, or warnings.
#[track_caller]
fn says(text: &str, what: &str) {
    let said = match read_bootstrap(Source { name: "f", text }, &ReadOptions::default()) {
        Ok(bootstrap) => bootstrap.warnings.iter().map(|warning| format!("warning {}\n", warning.rule)).collect(),
        Err(problems) => problems.iter().map(|problem| format!("{}\n", problem.rule)).collect::<String>(),
    };
    assert_eq!(said.trim_end(), what, "{text}");
}

/// Envoy reads them where no field names them: who relies on one must hear that it is not there.
#[test]
fn keys_of_envoys_own_are_not_taken_in_silence() {
    let layer = |values: &str| format!("layered_runtime: {{layers: [{{name: l, static_layer: {{{values}}}}}]}}");
    let missed = |name: &str| format!("warning {name} has no effect: Envoy reads it where no field names it");
    for name in ["envoy.resource_limits.listener.l.connection_limit", "overload.global_downstream_max_connections"] {
        says(&layer(&format!("{name}: 1000")), &missed(name));
        says(&layer(&format!("{name}: 2147483647")), "");
        says(&layer(&format!("{name}: '2147483647'")), "");
    }
    let name = "circuit_breakers.c.default.max_requests";
    says(&layer(&format!("{name}: 2147483647")), &missed(name));
    says(&layer("anything.else: 1"), "");
}

#[test]
fn a_bound_of_all_connections_is_not_taken_in_silence() {
    let file = |max: u64| {
        format!(
            "overload_manager: {{resource_monitors: [{{name: m, typed_config: {{'@type': t/envoy.extensions.resource_monitors.\
             downstream_connections.v3.DownstreamConnectionsConfig, max_active_downstream_connections: {max}}}}}]}}"
        )
    };
    let monitors = "warning has no effect: memory and connections are bounded from the start (docs/LIMITS.md)";
    let bound = "warning max_active_downstream_connections has no effect: descriptors bound how many connect";
    says(&file(1000), &format!("{monitors}\n{bound}"));
    says(&file(2_147_483_647), monitors);
}

/// As Envoy 1.40: it goes on without, and Istio's bootstrap has it so.
#[test]
fn load_reports_to_nobody_are_none() {
    let text =
        "node: {id: a, cluster: b}\ncluster_manager: {load_stats_config: {api_type: GRPC, transport_api_version: V3}}";
    says(text, "warning names no server: load is not reported");
}
