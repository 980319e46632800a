//! The types of Istio's own: each alone, as itself and in a TypedStruct, optional or not; and what decides who may pass.

use ringway_control_client::{ReadOptions, Source, read_bootstrap};

const ROUTER: &str = "{name: r, typed_config: {'@type': t/envoy.extensions.filters.http.router.v3.Router}}";

/// The problems of a bootstrap whose listener has these filters before its last ones.
fn problems(http: &str, network: &str) -> Vec<String> {
    let manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let text = format!(
        "static_resources: {{listeners: [{{name: l, address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}, filter_chains: \
         [{{filters: [{network}{{name: h, typed_config: {{'@type': t/{manager}, stat_prefix: s, route_config: {{}}, http_filters: \
         [{http}{ROUTER}]}}}}]}}]}}]}}"
    );
    let read = read_bootstrap(Source { name: "f", text: &text }, &ReadOptions::default());
    read.err().unwrap_or_default().iter().map(|problem| problem.rule.clone()).collect()
}

/// The filter as itself and in a TypedStruct, optional or not.
fn forms(kind: &str, fields: &str) -> [String; 4] {
    let plain = format!("'@type': type.googleapis.com/{kind}{}{fields}", if fields.is_empty() { "" } else { ", " });
    let inside = format!(
        "'@type': type.googleapis.com/udpa.type.v1.TypedStruct, type_url: type.googleapis.com/{kind}, value: {{{fields}}}"
    );
    let filter = |config: &str, more: &str| format!("{{name: x, typed_config: {{{config}}}{more}}}, ");
    [
        filter(&plain, ""),
        filter(&plain, ", is_optional: true"),
        filter(&inside, ""),
        filter(&inside, ", is_optional: true"),
    ]
}

#[track_caller]
fn check_http(kind: &str, fields: &str, expect: &[&str]) {
    for filter in forms(kind, fields) {
        assert_eq!(problems(&filter, ""), expect, "{filter}");
    }
}

#[track_caller]
fn check_network(kind: &str, fields: &str, expect: &[&str]) {
    let [plain, _, inside, _] = forms(kind, fields);
    for filter in [plain, inside] {
        assert_eq!(problems("", &filter), expect, "{filter}");
    }
}

#[test]
fn http_filters_that_decide_nothing_are_taken() {
    check_http("stats.PluginConfig", "metrics: [{dimensions: {a: b}}], disable_host_header_fallback: true", &[]);
    check_http("io.istio.http.peer_metadata.Config", "upstream_discovery: [{istio_headers: {}}]", &[]);
    let alpn = "alpn_override: [{upstream_protocol: HTTP11, alpn_override: [istio-http/1.1, istio]}]";
    check_http("istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig", alpn, &[]);
    check_http("envoy.extensions.filters.http.fault.v3.HTTPFault", "", &[]);
    check_http("envoy.extensions.filters.http.cors.v3.Cors", "", &[]);
}

#[test]
fn network_filters_that_decide_nothing_are_taken() {
    check_network("stats.PluginConfig", "", &[]);
    check_network("envoy.tcp.metadataexchange.config.MetadataExchange", "protocol: istio-peer-exchange", &[]);
    check_network("io.istio.network.authn.Config", "", &[]);
}

/// Guards the sidecar's policy: to be let through because nobody enforces it would be worse than no listener.
#[test]
fn filters_that_decide_are_refused_optional_or_not() {
    for kind in ["rbac.v3.RBAC", "jwt_authn.v3.JwtAuthentication"] {
        let kind = format!("envoy.extensions.filters.http.{kind}");
        check_http(&kind, "", &[&format!("{kind} is not supported yet")]);
    }
    let fault = "delay: {fixed_delay: 1s, percentage: {numerator: 100}}";
    check_http("envoy.extensions.filters.http.fault.v3.HTTPFault", fault, &["not supported yet"]);
}

/// A type may do nothing in one place and decide in another: only the first is known.
#[test]
fn a_type_is_taken_only_where_it_may_stand() {
    let exchange = "envoy.tcp.metadataexchange.config.MetadataExchange";
    check_http(exchange, "", &[&format!("no implementation for the type type.googleapis.com/{exchange}")]);
    let peer = "io.istio.http.peer_metadata.Config";
    check_network(peer, "", &[&format!("no implementation for the type type.googleapis.com/{peer}")]);
    let unheard = problems(&forms("istio.unheard.Of", "")[1], "");
    assert!(unheard.contains(&"the type istio.unheard.Of is not known".to_owned()), "{unheard:?}");
}

/// What a route says for a filter that was taken because it had nothing to do.
#[test]
fn routes_that_give_work_to_an_idle_filter_are_refused() {
    let named = |name: &str, config: &str| {
        let text = format!(
            "static_resources: {{clusters: [{{name: a}}], listeners: [{{name: l, address: {{socket_address: {{address: 127.0.0.1, \
             port_value: 0}}}}, filter_chains: [{{filters: [{{name: h, typed_config: {{'@type': \
             t/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, http_filters: \
             [{ROUTER}], route_config: {{virtual_hosts: [{{name: v, domains: ['*'], routes: [{{match: {{prefix: /}}, route: {{cluster: \
             a}}, typed_per_filter_config: {{{name}: {config}}}}}]}}]}}}}}}]}}]}}]}}"
        );
        let read = read_bootstrap(Source { name: "f", text: &text }, &ReadOptions::default());
        read.err().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let of_route = |config: &str| named("x", config);
    let fault = "'@type': t/envoy.extensions.filters.http.fault.v3.HTTPFault";
    let abort = "abort: {http_status: 503, percentage: {numerator: 100}}";
    let wrapped =
        |more: &str| format!("{{'@type': t/envoy.config.route.v3.FilterConfig, config: {{{fault}, {abort}}}{more}}}");
    let cors = "{'@type': t/envoy.extensions.filters.http.cors.v3.CorsPolicy, allow_origin_string_match: [{exact: a}]}";
    let path = "typed_per_filter_config[\"x\"]";
    for (config, at) in [
        (format!("{{{fault}, {abort}}}"), format!("{path}.abort: not supported yet")),
        (wrapped(""), format!("{path}.config.abort: not supported yet")),
        (cors.to_owned(), format!("{path}.allow_origin_string_match: not supported yet")),
    ] {
        let problems = of_route(&config);
        assert!(problems.len() == 1 && problems[0].ends_with(&at), "{config}: {problems:?}");
    }
    for config in [format!("{{{fault}}}"), wrapped(", disabled: true")] {
        assert_eq!(of_route(&config), Vec::<String>::new(), "{config}");
    }
    // What acts on its own, and would go on for this route.
    for name in ["istio.alpn", "envoy.filters.http.grpc_stats"] {
        let problems = named(name, "{'@type': t/envoy.config.route.v3.FilterConfig, disabled: true}");
        let expect = format!("typed_per_filter_config[{name:?}].disabled: {name} cannot be disabled for a route yet");
        assert!(problems.len() == 1 && problems[0].ends_with(&expect), "{problems:?}");
    }
}
