//! Routes end to end: which is taken, what it changes on the way up and back, and what it answers itself.

use std::net::SocketAddr;

use crate::common::client::Message;
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::Origin;
use crate::common::process::Proxy;

fn get(proxy: &Proxy, path: &str, fields: &str) -> Message {
    let mut client = proxy.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: web.test\r\n{fields}\r\n")).response(false)
}

#[test]
fn the_first_route_of_which_all_holds_is_taken() {
    on_each_driver(|io| {
        let [one, two] = ["one", "two"].map(Origin::start);
        let config = Config::new()
            .route(r#"safe_regex: {regex: "/name/[0-9]+"}"#, "route: {cluster: one}")
            .route("path_separated_prefix: /NAME, case_sensitive: false", "route: {cluster: two}")
            .route(
                r#"prefix: /, headers: [{name: x-kind, string_match: {prefix: a}}], query_parameters: [{name: q}]"#,
                "route: {cluster: two, prefix_rewrite: /name}",
            )
            .route(
                "prefix: /by",
                "route: {cluster_header: X-To, prefix_rewrite: /name, cluster_not_found_response_code: NOT_FOUND}",
            )
            .cluster("one", one.address)
            .cluster("two", two.address);
        let proxy = Proxy::start(io, &config);
        for (path, fields, status, text) in [
            ("/name/12", "", 200, "one"),
            ("/name", "", 200, "two"),
            ("/names", "", 404, ""),
            ("/?q", "X-Kind: b\r\nX-Kind: ab\r\n", 200, "two"),
            ("/?q", "X-Kind: b\r\n", 404, ""),
            ("/?x", "X-Kind: a\r\n", 404, ""),
            ("/by", "X-To: one\r\n", 200, "one"),
            ("/by", "X-To: none\r\n", 404, ""),
        ] {
            let answer = get(&proxy, path, fields);
            assert_eq!(answer.status(), status, "{path} {fields}");
            assert!(text.is_empty() || answer.text() == text, "{path} {fields}: {}", answer.text());
        }
    });
}

#[test]
fn paths_hosts_and_fields_are_changed_on_the_way_up_and_back() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let action = r#"route: {cluster: one, regex_rewrite: {pattern: {regex: "^/v[0-9]/(.*)$"}, substitution: '/\1'}, host_rewrite_literal: inner.test, append_x_forwarded_host: true}
                request_headers_to_add: [{header: {key: x-seen, value: "%REQ(:path)% %REQ(:authority)%"}}, {header: {key: x-a, value: "<%REQ(x-a)%>"}, append_action: OVERWRITE_IF_EXISTS}]
                request_headers_to_remove: [x-secret]
                response_headers_to_add: [{header: {key: x-back, value: "%REQ(x-seen)% %RESPONSE_CODE%"}}]
                response_headers_to_remove: [x-origin]"#;
        let proxy = Proxy::start(io, &Config::new().route("prefix: /", action).cluster("one", origin.address));
        let answer = get(&proxy, "/v1/name?q=/v2/", "X-A: 1\r\nX-Secret: 2\r\n");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "one"));
        assert_eq!(answer.header("x-back"), Some("/v1/name?q=/v2/ web.test 200"));
        assert_eq!(answer.header("x-origin"), None);
        let request = origin.request();
        assert_eq!(request.line, "GET /name?q=/v2/ HTTP/1.1");
        for (name, value) in [
            ("host", Some("inner.test")),
            ("x-forwarded-host", Some("web.test")),
            ("x-envoy-original-path", Some("/v1/name?q=/v2/")),
            ("x-envoy-original-host", Some("web.test")),
            ("x-seen", Some("/v1/name?q=/v2/ web.test")),
            ("x-a", Some("<1>")),
            ("x-secret", None),
        ] {
            assert_eq!(request.header(name), value, "{name}");
        }
    });
}

/// Guards against heads that are none: what a client sends can end in a path or a host.
#[test]
fn what_a_rewrite_makes_is_checked_before_it_is_sent() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let config = Config::new()
            .route("prefix: /host", "route: {cluster: one, host_rewrite_header: x-host, prefix_rewrite: /name}")
            .route(
                "prefix: /",
                r#"route: {cluster: one, regex_rewrite: {pattern: {regex: "^/bare/"}, substitution: ''}}"#,
            )
            .cluster("one", origin.address);
        let proxy = Proxy::start(io, &config);
        for (path, fields, status) in [
            ("/host", "X-Host: fine.test\r\n", 200),
            ("/host", "X-Host: not a host\r\n", 400),
            ("/host", "X-Host: a/b\r\n", 400),
            ("/bare/name", "", 400),
            ("/name", "", 200),
        ] {
            assert_eq!(get(&proxy, path, fields).status(), status, "{path} {fields}");
        }
        assert_eq!(origin.requests(), 2);
    });
}

#[test]
fn redirects_and_answers_of_our_own() {
    on_each_driver(|io| {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let config = Config::new()
            .route("prefix: /old/", "redirect: {https_redirect: true, port_redirect: 8443, prefix_rewrite: /new/, strip_query: true, response_code: PERMANENT_REDIRECT}")
            .route(
                "prefix: /made",
                "direct_response: {status: 201, body: {inline_string: '{}'}}\n                \
                 response_headers_to_add: [{header: {key: content-type, value: application/json}}]",
            )
            .route(
                "prefix: /dead",
                "route: {cluster: dead}\n                response_headers_to_add: [{header: {key: x-added, value: '1'}}]",
            )
            .cluster("dead", nobody);
        let proxy = Proxy::start(io, &config);
        let answer = get(&proxy, "/old/x?q", "");
        assert_eq!((answer.status(), answer.header("location")), (308, Some("https://web.test:8443/new/x")));
        let answer = get(&proxy, "/made?q", "");
        assert_eq!((answer.status(), answer.header("location")), (201, Some("http://web.test/made?q")));
        assert_eq!((answer.header("content-type"), answer.text().as_str()), (Some("application/json"), "{}"));
        let answer = get(&proxy, "/dead", "");
        assert_eq!((answer.status(), answer.header("x-added")), (503, Some("1")));
    });
}
