//! The values of an HTTP connection manager that says nothing: Envoy's (docs/HCM_DEFAULTS.md).

use std::time::Duration;

use ringway_control_client::{Builder, ReadOptions, Source, read_bootstrap};
use ringway_model::{
    Action, ConnectionRules, HeaderRules, HttpConnectionManager, NetworkFilter, RequestRules, ServerHeader,
};

/// The connection manager of a file that sets these fields of it and these of its one route's action.
fn manager(fields: &str, route: &str) -> HttpConnectionManager {
    let text = format!(
        "static_resources: {{clusters: [{{name: a}}], listeners: [{{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}, \
         filter_chains: [{{filters: [{{name: h, typed_config: {{'@type': t/envoy.extensions.filters.network.\
         http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, {fields} route_config: {{virtual_hosts: [{{name: v, \
         domains: ['*'], routes: [{{match: {{prefix: /}}, route: {{cluster: a{route}}}}}]}}]}}, http_filters: [{{name: r, \
         typed_config: {{'@type': t/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}]}}]}}]}}\n"
    );
    let bootstrap = read_bootstrap(Source { name: "f", text: &text }, &ReadOptions::default())
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    let built = Builder::new().build(&bootstrap);
    let NetworkFilter::Http(manager) = &built.snapshot().listeners[0].chains[0].filter;
    (**manager).clone()
}

#[test]
fn a_bare_connection_manager_has_envoys_values() {
    let bare = manager("", "");
    assert_eq!(bare.idle_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(bare.stream_idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!((bare.request_timeout, bare.request_headers_timeout, bare.max_stream_duration), (None, None, None));
    assert_eq!(bare.delayed_close_timeout, Duration::from_secs(1));
    let connections = ConnectionRules {
        duration_max: None,
        requests_max: None,
        drain_timeout: Duration::from_secs(5),
        is_soft: false,
    };
    assert_eq!(bare.connections, connections);
    assert_eq!((bare.request_head_bytes_max, bare.request_fields_max), (60 * 1024, 100));
    assert!(bare.requests == RequestRules::default() && bare.requests.is_none() && !bare.keeps_after_400);
    let HeaderRules { use_remote_address, trusted_hops, skip_xff_append, internal, generate_request_id, .. } =
        bare.headers.clone();
    assert!(!use_remote_address && trusted_hops == 0 && !skip_xff_append && internal.is_empty() && generate_request_id);
    assert_eq!((bare.headers.server, bare.headers.server_name.as_str()), (ServerHeader::Overwrite, "envoy"));
    assert!(!bare.headers.keeps_client_cert && bare.headers.user_agent.is_none() && bare.headers.scheme.is_none());
    assert!(bare.upgrades.is_empty() && bare.access_logs.is_empty());
    let Action::Forward(route) = &bare.routes.virtual_hosts()[0].routes()[0].action else { panic!("a route") };
    assert_eq!(route.timeout, Some(Duration::from_secs(15)));
    assert_eq!((route.idle_timeout, route.max_stream_duration), (None, None));
}

#[test]
fn a_timeout_of_zero_is_off() {
    let off = manager(
        "stream_idle_timeout: 0s, request_timeout: 0s, request_headers_timeout: 0s, delayed_close_timeout: 0s, \
         common_http_protocol_options: {idle_timeout: 0s, max_stream_duration: 0s, max_connection_duration: 0s, \
         max_requests_per_connection: 0},",
        ", timeout: 0s, idle_timeout: 0s, max_stream_duration: {max_stream_duration: 0s}",
    );
    assert_eq!((off.idle_timeout, off.stream_idle_timeout, off.max_stream_duration), (None, None, None));
    assert_eq!((off.request_timeout, off.request_headers_timeout), (None, None));
    assert_eq!((off.connections.duration_max, off.connections.requests_max), (None, None));
    // Not waited for at all.
    assert_eq!(off.delayed_close_timeout, Duration::ZERO);
    let Action::Forward(route) = &off.routes.virtual_hosts()[0].routes()[0].action else { panic!("a route") };
    assert_eq!((route.timeout, route.idle_timeout, route.max_stream_duration), (None, Some(None), Some(None)));
}

/// Guards the page: a row that names no test is a claim without one.
#[test]
fn each_row_of_the_page_names_a_test_that_exists() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../");
    let page = std::fs::read_to_string(format!("{root}docs/HCM_DEFAULTS.md")).expect("the page");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 30, "{} rows", rows.len());
    for row in rows {
        let last = row.trim_end_matches('|').rsplit('|').next().expect("columns");
        let mut names = last.split('`').skip(1).step_by(2).peekable();
        assert!(names.peek().is_some(), "no test in {row}");
        for name in names {
            let (file, test) = name.split_once("::").unwrap_or_else(|| panic!("{name} is no file and test"));
            let text =
                std::fs::read_to_string(format!("{root}{file}")).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(text.contains(&format!("fn {test}(")), "{file} has no test {test}");
        }
    }
}
