//! The values of an HTTP connection manager, and of a cluster's HTTP/2, that say nothing: Envoy's (docs/HCM_DEFAULTS.md,
//! docs/HTTP2_DEFAULTS.md).

use std::time::Duration;

use ringway_control_client::{Builder, ReadOptions, Source, read_bootstrap};
use ringway_model::{
    Action, ClientCertRules, Cluster, CodecType, ConnectionRules, HeaderRules, Http2Options, HttpConnectionManager,
    Keepalive, MalformedEnds, RequestRules, ServerHeader, Snapshot, UpstreamProtocol,
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
    let snapshot = snapshot(&text);
    let manager = snapshot.listeners[0].chains[0].http().expect("the chain is HTTP");
    (**manager).clone()
}

/// The cluster of a file that sets these fields of it.
fn cluster(fields: &str) -> Cluster {
    let snapshot = snapshot(&format!("static_resources: {{clusters: [{{name: a, {fields}}}]}}\n"));
    let cluster = snapshot.clusters.iter().next().expect("one cluster");
    (**cluster).clone()
}

/// With these options of HTTP by type.
fn typed(options: &str) -> Cluster {
    cluster(&format!(
        "typed_extension_protocol_options: {{http: {{'@type': t/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, {options}}}}}"
    ))
}

fn snapshot(text: &str) -> Snapshot {
    let bootstrap = read_bootstrap(Source { name: "f", text }, &ReadOptions::default())
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    Builder::new().build(&bootstrap).snapshot().as_ref().clone()
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
    assert!(
        bare.headers.client_cert == ClientCertRules::default()
            && bare.headers.user_agent.is_none()
            && bare.headers.scheme.is_none()
    );
    assert!(bare.upgrades.is_empty() && bare.access_logs.is_empty());
    let Action::Forward(route) = &bare.routes.virtual_hosts()[0].routes()[0].action else { panic!("a route") };
    assert_eq!(route.timeout, Some(Duration::from_secs(15)));
    assert_eq!((route.idle_timeout, route.max_stream_duration), (None, None));
}

#[test]
fn http2_that_says_nothing_has_envoys_values_but_two() {
    let bare = manager("", "");
    assert_eq!((bare.codec, bare.http2), (CodecType::Auto, Http2Options::default()));
    // An empty message is as good as none.
    assert_eq!(manager("http2_protocol_options: {},", "").http2, Http2Options::default());
    let cluster = cluster("");
    assert_eq!((cluster.protocol, cluster.http2), (UpstreamProtocol::Http1, Http2Options::default()));
    let expect = Http2Options {
        max_concurrent_streams: 1024,
        initial_stream_window_size: None,
        initial_connection_window_size: None,
        hpack_table_size: 4096,
        allow_connect: false,
        max_outbound_frames: 10_000,
        max_outbound_control_frames: 1000,
        max_consecutive_inbound_frames_with_empty_payload: 1,
        max_inbound_priority_frames_per_stream: 100,
        max_inbound_window_update_frames_per_data_frame_sent: 10,
        stream_reset_burst: 1000,
        stream_reset_rate: 33,
        connection_keepalive: None,
        malformed_ends: MalformedEnds::Stream,
    };
    assert_eq!(bare.http2, expect);
}

#[test]
fn each_option_of_http2_has_its_field() {
    let options = "http2_protocol_options: {max_concurrent_streams: 1, initial_stream_window_size: 65536, \
         initial_connection_window_size: 65537, hpack_table_size: 2, allow_connect: true, max_outbound_frames: 3, \
         max_outbound_control_frames: 4, max_consecutive_inbound_frames_with_empty_payload: 5, \
         max_inbound_priority_frames_per_stream: 6, max_inbound_window_update_frames_per_data_frame_sent: 7, \
         stream_reset_burst: 8, stream_reset_rate: 18446744073709551615, \
         override_stream_error_on_invalid_http_message: false, \
         connection_keepalive: {interval: 9s, timeout: 10s, connection_idle_interval: 11s}}";
    let expect = Http2Options {
        max_concurrent_streams: 1,
        initial_stream_window_size: Some(65_536),
        initial_connection_window_size: Some(65_537),
        hpack_table_size: 2,
        allow_connect: true,
        max_outbound_frames: 3,
        max_outbound_control_frames: 4,
        max_consecutive_inbound_frames_with_empty_payload: 5,
        max_inbound_priority_frames_per_stream: 6,
        max_inbound_window_update_frames_per_data_frame_sent: 7,
        stream_reset_burst: 8,
        stream_reset_rate: u32::MAX,
        connection_keepalive: Some(Keepalive {
            interval: Some(Duration::from_secs(9)),
            interval_jitter_percent: 15.0,
            timeout: Duration::from_secs(10),
            connection_idle_interval: Some(Duration::from_secs(11)),
        }),
        malformed_ends: MalformedEnds::Connection,
    };
    assert_eq!(manager(&format!("{options},"), "").http2, expect);
    assert_eq!(cluster(options).http2, expect);
    for chosen in ["explicit_http_config", "use_downstream_protocol_config"] {
        assert_eq!(typed(&format!("{chosen}: {{{options}}}")).http2, expect);
    }
}

/// Guards the order of the three fields that have a say in it: Envoy's.
#[test]
fn a_malformed_message_ends_what_the_nearest_field_says() {
    let (over, before) =
        ("override_stream_error_on_invalid_http_message: ", "stream_error_on_invalid_http_messaging: true");
    let manager_says = |says: &str| format!("stream_error_on_invalid_http_message: {says}, ");
    for (fields, expect) in [
        (String::new(), MalformedEnds::Stream),
        (manager_says("false"), MalformedEnds::Connection),
        (manager_says("true"), MalformedEnds::Stream),
        (manager_says("false") + "http2_protocol_options: {},", MalformedEnds::Connection),
        (manager_says("false") + &format!("http2_protocol_options: {{{over}true}},"), MalformedEnds::Stream),
        (manager_says("true") + &format!("http2_protocol_options: {{{over}false}},"), MalformedEnds::Connection),
        (manager_says("false") + &format!("http2_protocol_options: {{{before}}},"), MalformedEnds::Connection),
        (format!("http2_protocol_options: {{{over}false, {before}}},"), MalformedEnds::Connection),
        (format!("http2_protocol_options: {{{before}}},"), MalformedEnds::Stream),
    ] {
        assert_eq!(manager(&fields, "").http2.malformed_ends, expect, "{fields}");
    }
}

#[test]
fn the_version_of_http_is_as_the_file_says() {
    for (text, expect) in
        [("AUTO", CodecType::Auto), ("HTTP1", CodecType::Http1), ("HTTP2", CodecType::Http2), ("2", CodecType::Http2)]
    {
        assert_eq!(manager(&format!("codec_type: {text},"), "").codec, expect, "{text}");
    }
    for (options, expect) in [
        ("explicit_http_config: {http_protocol_options: {}}", UpstreamProtocol::Http1),
        ("explicit_http_config: {http2_protocol_options: {}}", UpstreamProtocol::Http2),
        ("use_downstream_protocol_config: {}", UpstreamProtocol::AsDownstream),
        ("use_downstream_protocol_config: {http2_protocol_options: {}}", UpstreamProtocol::AsDownstream),
    ] {
        assert_eq!(typed(options).protocol, expect, "{options}");
    }
    for (fields, expect) in [
        ("", UpstreamProtocol::Http1),
        ("http_protocol_options: {}", UpstreamProtocol::Http1),
        ("http2_protocol_options: {}", UpstreamProtocol::Http2),
        ("protocol_selection: USE_DOWNSTREAM_PROTOCOL", UpstreamProtocol::AsDownstream),
        ("protocol_selection: USE_DOWNSTREAM_PROTOCOL, http2_protocol_options: {}", UpstreamProtocol::AsDownstream),
    ] {
        assert_eq!(cluster(fields).protocol, expect, "{fields}");
    }
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

/// Guards the pages: a row that names no test is a claim without one.
#[test]
fn each_row_of_the_pages_names_a_test_that_exists() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../");
    for (page, rows_min) in [("HCM_DEFAULTS", 31), ("HTTP2_DEFAULTS", 15), ("XDS_CHECKLIST", 35)] {
        let page = std::fs::read_to_string(format!("{root}docs/{page}.md")).expect("the page");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert!(rows.len() >= rows_min, "{} rows", rows.len());
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
}
