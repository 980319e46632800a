//! Version 3 of Envoy's configuration, as JSON: Envoy and Ringway read the same.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{BACKLOG, CERTIFICATE, CONNECTIONS_MAX, SIDECAR_CLUSTERS, SIDECAR_ROUTES, Way, Wiring};

/// Every so many routes one wants a field that no request has, so that it is looked for and not taken.
const CONDITIONAL_EACH: u32 = 8;

pub(super) fn write(wiring: &Wiring) -> String {
    let listeners: Vec<Value> = wiring.listeners.iter().map(|(way, port)| listener(wiring, *way, *port)).collect();
    let needs = |ways: &[Way]| wiring.listeners.iter().any(|(way, _)| ways.contains(way));
    let origins = wiring.origins;
    let mut clusters = Vec::new();
    if needs(&[Way::Http1, Way::Http2ToHttp1, Way::Tcp, Way::Tls]) {
        clusters.push(cluster("small", origins.small, false));
    }
    if needs(&[Way::Http1Bulk, Way::TcpBulk]) {
        clusters.push(cluster("bulk", origins.bulk, false));
    }
    if needs(&[Way::Http2]) {
        clusters.push(cluster("small-h2", origins.small, true));
    }
    if needs(&[Way::Sidecar]) {
        clusters.extend((0..SIDECAR_CLUSTERS).map(|at| cluster(&format!("app-{at}"), origins.small, false)));
    }
    let document = json!({
        "admin": {"address": address(SocketAddr::from(([127, 0, 0, 1], wiring.admin)))},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    });
    format!("{document:#}\n")
}

fn address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}

fn typed(name: &str, mut members: Value) -> Value {
    members["@type"] = format!("type.googleapis.com/envoy.extensions.{name}").into();
    members
}

fn cluster_of(way: Way) -> &'static str {
    match way {
        Way::Http1Bulk | Way::TcpBulk => "bulk",
        Way::Http2 => "small-h2",
        _ => "small",
    }
}

fn listener(wiring: &Wiring, way: Way, port: u16) -> Value {
    let filter = if way.is_raw() {
        let members = json!({"stat_prefix": way.name(), "cluster": cluster_of(way)});
        json!({
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": typed("filters.network.tcp_proxy.v3.TcpProxy", members),
        })
    } else {
        json!({
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager(wiring, way),
        })
    };
    let mut chain = json!({"filters": [filter]});
    if way == Way::Tls {
        let [certificate, key, _] = CERTIFICATE.map(|name| wiring.path(name));
        let pair = json!({"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}});
        let members = json!({"common_tls_context": {"tls_certificates": [pair]}});
        chain["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": typed("transport_sockets.tls.v3.DownstreamTlsContext", members),
        });
    }
    json!({
        "name": way.name(),
        "address": address(SocketAddr::from(([127, 0, 0, 1], port))),
        "tcp_backlog_size": BACKLOG,
        "filter_chains": [chain],
    })
}

fn manager(wiring: &Wiring, way: Way) -> Value {
    let is_sidecar = way == Way::Sidecar;
    let routes = if is_sidecar {
        (0..SIDECAR_ROUTES).map(sidecar_route).collect()
    } else {
        vec![json!({"match": {"prefix": "/"}, "route": {"cluster": cluster_of(way)}})]
    };
    let mut members = json!({
        "stat_prefix": way.name(),
        "codec_type": if way.is_http2() { "HTTP2" } else { "AUTO" },
        "generate_request_id": is_sidecar,
        "route_config": {"name": way.name(), "virtual_hosts": [{"name": "any", "domains": ["*"], "routes": routes}]},
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": typed("filters.http.router.v3.Router", json!({})),
        }],
    });
    if is_sidecar {
        let log = json!({
            "path": wiring.path(&format!("{}.access.log", wiring.name)),
            "log_format": {"json_format": {
                "start": "%START_TIME%", "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%", "host": "%REQ(:AUTHORITY)%",
                "status": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%", "duration_ms": "%DURATION%",
                "upstream": "%UPSTREAM_HOST%", "request_id": "%REQ(X-REQUEST-ID)%", "bytes": "%BYTES_SENT%",
            }},
        });
        members["access_log"] = json!([{
            "name": "envoy.access_loggers.file",
            "typed_config": typed("access_loggers.file.v3.FileAccessLog", log),
        }]);
    }
    typed("filters.network.http_connection_manager.v3.HttpConnectionManager", members)
}

fn sidecar_route(number: u32) -> Value {
    let mut route = json!({
        "match": {"prefix": format!("/app{number}/")},
        "route": {"cluster": format!("app-{}", number % SIDECAR_CLUSTERS), "timeout": "15s"},
    });
    if number.is_multiple_of(CONDITIONAL_EACH) {
        let wanted = json!({"name": "x-request-field-7", "string_match": {"safe_regex": {"regex": "canary-[0-9]+"}}});
        route["match"]["headers"] = json!([wanted]);
    }
    route
}

fn cluster(name: &str, at: SocketAddr, is_http2: bool) -> Value {
    let most = CONNECTIONS_MAX;
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {
            "thresholds": [{"max_connections": most, "max_pending_requests": most, "max_requests": most}],
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(at)}}]}],
        },
    });
    if is_http2 {
        let options = typed(
            "upstreams.http.v3.HttpProtocolOptions",
            json!({"explicit_http_config": {"http2_protocol_options": {}}}),
        );
        cluster["typed_extension_protocol_options"] =
            json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options});
    }
    cluster
}
