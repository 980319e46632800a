//! A table of questions over one file: what is said, and where the request ends.

use ringway_control_client::{Builder, ReadOptions, Source, TlsContexts, read_bootstrap_with};
use ringway_engine::explain as explained;
use ringway_model::{Address, Snapshot};

use super::*;

/// A chain that ends in an HTTP connection manager with this route configuration and these fields.
fn http(routes: &str, fields: &str) -> String {
    format!(
        "{{name: hcm, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: web, {fields} \
         route_config: {{name: routes, validate_clusters: false, {routes}}}, http_filters: [{{name: r, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}"
    )
}

fn listener(name: &str, port: u16, rest: &str) -> String {
    format!("  - {{name: {name}, address: {{socket_address: {{address: 0.0.0.0, port_value: {port}}}}}, {rest}}}\n")
}

fn extension(kind: &str, fields: &str) -> String {
    format!("{{name: x, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.{kind}, {fields}}}}}")
}

fn cluster(name: &str, policy: &str, endpoints: &[(u16, &str)]) -> String {
    let endpoint = |(port, fields): &(u16, &str)| {
        format!("{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}{fields}}}")
    };
    let endpoints = endpoints.iter().map(endpoint).collect::<Vec<_>>().join(", ");
    format!(
        "  - {{name: {name}, lb_policy: {policy}, load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{endpoints}]}}]}}}}\n"
    )
}

/// The file of all cases.
fn file(certificate: &str, key: &str) -> String {
    let routes = "virtual_hosts: [{name: shop, domains: [shop.test, \"*.shop.test\"], routes: [\
         {name: api, match: {prefix: /api, headers: [{name: x-v, string_match: {exact: two}}]}, route: {cluster: two, prefix_rewrite: /v2}}, \
         {name: canary, match: {prefix: /api, runtime_fraction: {default_value: {numerator: 5}}}, route: {cluster: two}}, \
         {match: {prefix: /api}, route: {weighted_clusters: {clusters: [{name: one, weight: 7}, {name: gone, weight: 3}]}}}, \
         {match: {path: /sick}, route: {cluster: sick}}, {match: {path: /gone}, route: {cluster: gone}}, \
         {match: {path: /old}, redirect: {path_redirect: /new}}, {match: {path: /hi}, direct_response: {status: 200, body: {inline_string: hi}}}, \
         {match: {path: /by}, route: {cluster_header: x-to}}]}, \
         {name: sure, domains: [sure.test], require_tls: ALL, routes: [{match: {prefix: /}, route: {cluster: one}}]}]";
    let rbac = |policy: &str| {
        extension("network.rbac.v3.RBAC", &format!("stat_prefix: who, rules: {{action: DENY, policies: {{{policy}}}}}"))
    };
    let from =
        rbac("far: {permissions: [{any: true}], principals: [{remote_ip: {address_prefix: 10.0.0.0, prefix_len: 8}}]}");
    let tcp = extension("network.tcp_proxy.v3.TcpProxy", "stat_prefix: raw, cluster: two");
    let empty = extension("network.tcp_proxy.v3.TcpProxy", "stat_prefix: raw, cluster: sick");
    let tls = format!(
        "{{name: tls, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, \
         common_tls_context: {{tls_certificates: [{{certificate_chain: {{inline_string: {certificate:?}}}, private_key: {{inline_string: \
         {key:?}}}}}]}}}}}}"
    );
    let inspector = extension("listener.tls_inspector.v3.TlsInspector", "");
    let original = extension("listener.original_dst.v3.OriginalDst", "");
    let listeners = [
        listener(
            "web",
            80,
            &format!("filter_chains: [{{name: all, filters: [{from}, {}]}}]", http(routes, "normalize_path: true,")),
        ),
        listener(
            "sure",
            443,
            &format!(
                "listener_filters: [{inspector}], filter_chains: [{{name: shop, filter_chain_match: {{server_names: [\"*.shop.test\"]}}, \
                 transport_socket: {tls}, filters: [{}]}}, {{name: raw, filter_chain_match: {{transport_protocol: raw_buffer}}, filters: [{tcp}]}}]",
                http(routes, "")
            ),
        ),
        listener(
            "out",
            15001,
            &format!("use_original_dst: true, listener_filters: [{original}], filter_chains: [{{filters: [{empty}]}}]"),
        ),
    ];
    let clusters = [
        cluster(
            "one",
            "ROUND_ROBIN",
            &[(1001, ""), (1002, ", health_status: UNHEALTHY"), (1003, ", load_balancing_weight: 4")],
        ),
        cluster("two", "RING_HASH", &[(2001, "")]),
        cluster("sick", "ROUND_ROBIN", &[]),
    ];
    format!("static_resources:\n  listeners:\n{}  clusters:\n{}", listeners.concat(), clusters.concat())
}

struct Given {
    snapshot: std::sync::Arc<Snapshot>,
    bound: Vec<(String, Vec<Address>)>,
}

fn given() -> Given {
    let pair = rcgen::generate_simple_self_signed(["a.shop.test".to_owned()]).expect("a certificate");
    let text = file(&pair.cert.pem(), &pair.signing_key.serialize_pem());
    let source = Source { name: "file", text: &text };
    let bootstrap = read_bootstrap_with(source, &ReadOptions::default(), &mut TlsContexts::new());
    let bootstrap = bootstrap.unwrap_or_else(|problems| panic!("{problems:#?}"));
    let snapshot = Builder::new().build(&bootstrap).snapshot().clone();
    let addresses =
        |listener: &ringway_model::Listener| listener.addresses.iter().map(|at| at.address.clone()).collect();
    let bound = snapshot.listeners.iter().map(|listener| (listener.name.clone(), addresses(listener))).collect();
    Given { snapshot, bound }
}

impl Given {
    fn ask(&self, query: &[(&str, &str)]) -> Result<Explanation, String> {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        explained(&self.snapshot, &self.bound, &question::read(&query)?)
    }

    /// The end is this, and the steps hold each of these, in this order.
    #[track_caller]
    fn check(&self, query: &[(&str, &str)], end: &str, steps: &[&str]) {
        let explanation = self.ask(query).unwrap_or_else(|why| panic!("{query:?}: {why}"));
        let text = as_text(&view(), &Question::default(), &explanation, &[]);
        assert_eq!(end_text(&explanation.end), end, "{query:?}: {text}");
        let mut rest = text.as_str();
        for step in steps {
            let Some(at) = rest.find(step) else { panic!("{query:?}: no {step:?} in its place in\n{text}") };
            rest = &rest[at + step.len()..];
        }
    }
}

fn view() -> View {
    View {
        snapshot: None,
        listeners: vec![],
        bootstrap: None,
        certificates: std::sync::Arc::from([]),
        node: Default::default(),
        runtime: Default::default(),
        stats: Default::default(),
        updated: std::time::UNIX_EPOCH,
        rejection: None,
        control_plane: String::new(),
    }
}

#[test]
fn a_request_is_followed_to_its_cluster() {
    let given = given();
    given.check(
        &[("url", "http://a.shop.test/api/x?y"), ("header", "x-v: two")],
        "forwarded",
        &[
            "connection: from 127.0.0.1:0 (assumed) to 127.0.0.1:80 (assumed), in plaintext",
            "listener \"web\": the one listener at this port: 0.0.0.0:80",
            "filter chain \"all\": it takes what no other says",
            "rbac who\": rules: allowed: no policy matches",
            "http_connection_manager web",
            "route configuration \"routes\"",
            "virtual host \"shop\": domain \"*.shop.test\"",
            "route \"api\": route 1 of 8: prefix \"/api\", header \"x-v\" exact \"two\"",
            "http filters \"router\"",
            "rewrite: path becomes \"/v2/x?y\"",
            "cluster \"two\": ring hash by chance: the route has no hash_policy; HTTP/1.1",
            "endpoint 127.0.0.1:2001: HEALTHY, weight 1, priority 0, may be picked",
        ],
    );
    given.check(
        &[("url", "http://shop.test/api/x")],
        "as its cluster says",
        &[
            "route: route 3 of 8: prefix \"/api\"; by chance (runtime_fraction): route 3 of 8 for 95 of 100, route 2 of 8 for 5 of 100",
            "cluster \"one\": weight 7 of 10; round robin",
            "=> forwarded",
            "cluster \"gone\": weight 3 of 10",
            "=> answered 503 NC: no such cluster",
        ],
    );
    given.check(
        &[("url", "http://shop.test/a/../by"), ("header", "x-to: one")],
        "forwarded",
        &[
            "request: path becomes \"/by\"",
            "endpoint 127.0.0.1:1001: HEALTHY, weight 1, priority 0, may be picked",
            "endpoint 127.0.0.1:1002: UNHEALTHY, weight 1, priority 0, not picked",
            "endpoint 127.0.0.1:1003: HEALTHY, weight 4",
        ],
    );
}

#[test]
fn where_a_request_ends_is_said_with_its_reason() {
    let given = given();
    for (url, end) in [
        ("http://other.test/", "answered 404 NR: no virtual host has a domain for \"other.test\""),
        ("http://shop.test/nothing", "answered 404 NR: none of its 8 routes takes \"/nothing\""),
        ("http://shop.test/sick", "answered 503 UH: the cluster has no endpoint"),
        ("http://shop.test/gone", "answered 503 NC: no such cluster"),
        ("http://shop.test/by", "answered 503 NC: no such cluster"),
        ("http://shop.test/old", "answered 301: redirect: location http://shop.test/new"),
        ("http://shop.test/hi", "answered 200: direct_response: 2 bytes of body"),
        ("http://sure.test/", "answered 301: require_tls: redirected to https"),
    ] {
        given.check(&[("url", url)], end, &[]);
    }
    let gone = given.ask(&[("url", "http://shop.test/gone")]).expect("an explanation");
    assert_eq!(gone.clusters[0].name, "gone", "a cluster that is not there is named");
    let upgrade = [
        ("url", "http://shop.test/api"),
        ("header", "x-v: two"),
        ("header", "connection: upgrade"),
        ("header", "upgrade: websocket"),
    ];
    given.check(&upgrade, "answered 403: upgrade_configs do not allow \"websocket\"", &["route \"api\""]);
    let bad = [("url", "http://shop.test/api"), ("header", "content-length: x")];
    let end = given.ask(&bad).expect("an explanation").end;
    assert!(matches!(end, End::Answered { status: 400, .. }), "{end:?}");
}

#[test]
fn where_a_connection_ends_is_said_with_its_reason() {
    let given = given();
    given.check(
        &[("url", "http://shop.test/hi"), ("source", "10.1.1.1")],
        "the connection is closed: rbac_access_denied_matched_policy[far]",
        &["from 10.1.1.1:0 to", "denied: policy \"far\" matches"],
    );
    given.check(
        &[("url", "https://shop.test/hi")],
        "the connection is closed: no filter chain takes it (destination 127.0.0.1:443, server name \"shop.test\", transport protocol tls, \
         application protocols [\"h2\", \"http/1.1\"], source 127.0.0.1:0), and there is no default one",
        &["listener \"sure\""],
    );
    given.check(
        &[("url", "https://shop.test/hi"), ("sni", "A.shop.test")],
        "answered 200: direct_response: 2 bytes of body",
        &[
            "listener filter \"tls_inspector\": server name \"a.shop.test\", ALPN h2, http/1.1",
            "filter chain \"shop\": server_names *.shop.test",
            "transport socket \"tls\"",
        ],
    );
    given.check(
        &[("url", "http://127.0.0.1:443/")],
        "forwarded",
        &["filter chain \"raw\": transport_protocol raw_buffer", "tcp_proxy raw", "cluster \"two\""],
    );
    given.check(
        &[("url", "https://shop.test/"), ("listener", "web")],
        "the connection is closed: the client speaks TLS, and this chain plaintext",
        &[],
    );
    given.check(
        &[("url", "http://127.0.0.1:81/")],
        "the connection is closed: no listener at 127.0.0.1:81: the connection is refused",
        &[],
    );
}

#[test]
fn a_redirected_connection_goes_on_to_another_listener() {
    let given = given();
    let out = [("url", "http://shop.test/hi"), ("listener", "out")];
    let handed = [&out[..], &[("original_destination", "9.9.9.9:80")]].concat();
    given.check(
        &handed,
        "answered 200: direct_response: 2 bytes of body",
        &[
            "listener \"out\": as asked for",
            "original_dst\": it wanted to go to 9.9.9.9:80",
            "listener \"web\": use_original_dst: it is that of 9.9.9.9:80",
        ],
    );
    let stays = [&out[..], &[("original_destination", "9.9.9.9:81")]].concat();
    given.check(
        &stays,
        "the connection is closed: the cluster has no endpoint",
        &["it wanted to go to 9.9.9.9:81", "tcp_proxy raw"],
    );
}

#[test]
fn json_says_the_same() {
    let explanation = given().ask(&[("url", "http://shop.test/api")]).expect("an explanation");
    let json = as_json(&view(), &Question::default(), &explanation, &[]);
    assert_eq!(json["end"]["kind"], "by_cluster");
    assert_eq!(json["steps"][1]["step"], "listener");
    assert_eq!((&json["clusters"][0]["weight"], &json["clusters"][0]["total_weight"]), (&7.into(), &10.into()));
    assert_eq!(json["clusters"][0]["endpoints"][1]["percent"], 0);
    assert_eq!(
        (&json["clusters"][1]["end"]["status"], &json["clusters"][1]["end"]["flag"]),
        (&503.into(), &"NC".into())
    );
}

#[test]
fn a_question_that_leaves_the_listener_open_is_refused() {
    let given = given();
    for (query, word) in [
        (&[("url", "http://shop.test:81/")][..], "\"web\", \"sure\", \"out\""),
        (&[("url", "http://a/"), ("listener", "nobody")], "no listener \"nobody\""),
    ] {
        let refusal = given.ask(query).expect_err("it is open");
        assert!(refusal.contains(word), "{refusal}");
    }
}
