//! The statistics that dashboards are built on: after the same traffic, each family of metrics that Envoy shows is one of ours, with
//! the same type and labels, or it is on the reviewed list with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{Bench, verdict};
use crate::lab::config::{Config, Http2, answer, route};
use crate::lab::h2::origin::{self, Response};
use crate::lab::h2::session::{Event, Session, fields};
use crate::lab::load::Backend;
use crate::lab::pace::wait_for;
use crate::lab::proxy::{Kind, Launch, Proxy, get};
use crate::setup;
use crate::step::Verdict;

/// Families of Envoy's that Ringway does not show: the name or, before a `*`, how names begin; and why.
const REVIEWED: &[(&str, &str)] = &[
    ("envoy_cluster_assignment_*", "clusters by EDS are refused"),
    ("envoy_cluster_bind_errors", "a source address that cannot be bound is a failed connection"),
    ("envoy_cluster_circuit_breakers_default_cx_pool_open", "max_connection_pools is refused"),
    ("envoy_cluster_circuit_breakers_high_cx_pool_open", "max_connection_pools is refused"),
    (
        "envoy_cluster_default_total_match_count",
        "matches of transport sockets are chosen when the configuration is read, not counted",
    ),
    ("envoy_cluster_http1_*", "what is counted of responses by the codec: options that are refused on clusters"),
    ("envoy_cluster_http2_cookie*", "of limits and histograms that are Envoy's own"),
    ("envoy_cluster_http2_deferred_stream_close", "of Envoy's codec"),
    ("envoy_cluster_http2_header_count", "a histogram of heads"),
    ("envoy_cluster_http2_header_list_size*", "a histogram of heads, and a limit of Envoy's own"),
    ("envoy_cluster_http2_headers_cb_no_stream", "of Envoy's codec"),
    ("envoy_cluster_http2_metadata_empty_frames", "allow_metadata is refused"),
    ("envoy_cluster_http2_nghttp2_*", "of Envoy's libraries"),
    ("envoy_cluster_http2_oghttp2_*", "of Envoy's libraries"),
    ("envoy_cluster_http2_outbound_control_frames_active", "bytes that wait are counted, not frames"),
    ("envoy_cluster_http2_outbound_frames_active", "bytes that wait are counted, not frames"),
    ("envoy_cluster_lb_*", "subsets and zones are refused"),
    ("envoy_cluster_manager_cluster_updated*", "merging of updates: a commit is whole"),
    ("envoy_cluster_manager_update_*", "merging of updates: a commit is whole"),
    ("envoy_cluster_manager_warming_clusters", "a cluster that warms is not in force"),
    ("envoy_cluster_max_host_weight", "of one load balancer in Envoy"),
    ("envoy_cluster_update_empty", "of EDS"),
    ("envoy_cluster_upstream_cx_connect_with_0_rtt", "HTTP/3"),
    ("envoy_cluster_upstream_cx_http3_total", "HTTP/3"),
    ("envoy_cluster_upstream_cx_pool_overflow", "max_connection_pools is refused"),
    ("envoy_cluster_upstream_cx_preconnect_skipped", "preconnecting is refused"),
    ("envoy_cluster_upstream_cx_rx_bytes_buffered", "buffers are the worker's: /workers shows them"),
    ("envoy_cluster_upstream_cx_tx_bytes_buffered", "buffers are the worker's: /workers shows them"),
    ("envoy_cluster_upstream_flow_control_*", "Envoy's water marks; a source is just not read"),
    ("envoy_cluster_upstream_http3_broken", "HTTP/3"),
    ("envoy_cluster_upstream_internal_redirect_*", "internal redirects are refused"),
    ("envoy_cluster_upstream_queue_overloaded", "of QUIC"),
    ("envoy_cluster_upstream_rq_0rtt", "HTTP/3"),
    ("envoy_cluster_upstream_rq_active_overflow", "counted as upstream_rq_pending_overflow"),
    ("envoy_cluster_upstream_rq_maintenance_mode", "there is no runtime"),
    ("envoy_cluster_upstream_rq_rx_reset_no_error", "counted as upstream_rq_rx_reset, like the others"),
    ("envoy_cluster_version", "of xDS"),
    ("envoy_cluster_warming_state", "a cluster that warms is not in force"),
    ("envoy_envoy_overload_actions_*", "overload_manager has no effect"),
    ("envoy_http1_metadata_not_supported_error", "of HTTP/2's METADATA, which is refused"),
    ("envoy_http1_response_flood", "a pipelining client is not read while its answers wait"),
    ("envoy_http2_cookie*", "of limits and histograms that are Envoy's own"),
    ("envoy_http2_deferred_stream_close", "of Envoy's codec"),
    ("envoy_http2_header_count", "a histogram of heads"),
    ("envoy_http2_header_list_size*", "a histogram of heads, and a limit of Envoy's own"),
    ("envoy_http2_headers_cb_no_stream", "of Envoy's codec"),
    ("envoy_http2_metadata_empty_frames", "allow_metadata is refused"),
    ("envoy_http2_nghttp2_*", "of Envoy's libraries"),
    ("envoy_http2_oghttp2_*", "of Envoy's libraries"),
    ("envoy_http2_outbound_control_frames_active", "bytes that wait are counted, not frames"),
    ("envoy_http2_outbound_frames_active", "bytes that wait are counted, not frames"),
    ("envoy_http_downstream_cx_http1_soft_drain", "of the drain of HTTP/1 by time"),
    ("envoy_http_downstream_cx_http3_*", "HTTP/3"),
    ("envoy_http_downstream_cx_overload_disable_keepalive", "overload_manager has no effect"),
    ("envoy_http_downstream_cx_rx_bytes_buffered", "buffers are the worker's: /workers shows them"),
    ("envoy_http_downstream_cx_tx_bytes_buffered", "buffers are the worker's: /workers shows them"),
    ("envoy_http_downstream_cx_ssl_*", "TLS"),
    ("envoy_http_downstream_flow_control_*", "Envoy's water marks; a source is just not read"),
    ("envoy_http_downstream_rq_http3_total", "HTTP/3"),
    ("envoy_http_downstream_rq_non_relative_path", "counted as a protocol error"),
    ("envoy_http_downstream_rq_overload_close", "overload_manager has no effect"),
    ("envoy_http_downstream_rq_rejected_via_ip_detection", "original_ip_detection_extensions is refused"),
    ("envoy_http_downstream_rq_too_large", "of the buffer filter"),
    ("envoy_http_downstream_rq_too_many_premature_resets", "counted as http2.reset_flood, whoever reset"),
    ("envoy_http_passthrough_internal_redirect_*", "internal redirects are refused"),
    ("envoy_http_rq_overload_local_reply", "overload_manager has no effect"),
    ("envoy_http_rq_redirect", "internal redirects are refused"),
    ("envoy_http_rs_too_large", "of the buffer filter"),
    ("envoy_http_tracing_*", "tracing is refused"),
    ("envoy_listener_admin_*", "the admin server does not count itself"),
    ("envoy_listener_connections_accepted_per_socket_event", "a ring accepts without such events"),
    ("envoy_listener_downstream_cx_overload_reject", "overload_manager has no effect"),
    ("envoy_listener_downstream_cx_transport_socket_connect_timeout", "TLS"),
    ("envoy_listener_downstream_global_cx_overflow", "overload_manager has no effect"),
    ("envoy_listener_extension_config_missing", "of ECDS"),
    ("envoy_listener_network_extension_config_missing", "of ECDS"),
    ("envoy_listener_manager_listener_in_place_updated", "every update keeps the socket"),
    ("envoy_listener_manager_listener_stopped", "of a listener that warmed: there is no such state"),
    ("envoy_listener_manager_total_filter_chains_draining", "chains are not drained apart from listeners"),
    ("envoy_listener_manager_total_listeners_warming", "a listener that warms is not in force"),
    ("envoy_listener_manager_workers_pinned", "/workers shows which are"),
    ("envoy_main_thread_watchdog_*", "stalls are counted by worker: ringway_loop_stalls"),
    ("envoy_overload_refresh_interval_delay", "overload_manager has no effect"),
    ("envoy_runtime_deprecated_feature_*", "a deprecated field is done or refused"),
    ("envoy_runtime_override_dir_*", "how often layers of files were there: /runtime shows what they say"),
    ("envoy_server_compilation_settings_fips_mode", "TLS"),
    ("envoy_server_debug_assertion_failures", "an assertion that fails ends the process"),
    ("envoy_server_dropped_stat_flushes", "stats_sinks is refused"),
    ("envoy_server_dynamic_unknown_fields", "there is no xDS"),
    ("envoy_server_envoy_bug_failures", "an assertion that fails ends the process"),
    ("envoy_server_envoy_notifications", "of Envoy's own code"),
    ("envoy_server_hot_restart_*", "there is no hot restart"),
    ("envoy_server_main_thread_watchdog_*", "stalls are counted by worker: ringway_loop_stalls"),
    ("envoy_server_parent_connections", "there is no hot restart"),
    ("envoy_server_seconds_until_first_ocsp_response_expiring", "TLS"),
    ("envoy_server_static_unknown_fields", "an unknown field is refused or a warning of the log"),
    ("envoy_server_stats_recent_lookups", "statistics are not looked up while serving"),
    ("envoy_server_version", "a number made of Envoy's commit"),
    ("envoy_server_wip_protos", "of Envoy's API"),
    ("envoy_server_worker_watchdog_*", "stalls are counted by worker: ringway_loop_stalls"),
    ("envoy_thread_local_cluster_manager_*", "every worker has every cluster"),
    ("envoy_workers_watchdog_*", "stalls are counted by worker: ringway_loop_stalls"),
];

const ANSWER_LIMIT: Duration = Duration::from_secs(60);

pub(super) fn run(bench: &Bench) -> Verdict {
    if !setup::envoy_path().is_file() {
        return Verdict::Missing(format!("Envoy {} (cargo xtask setup)", setup::ENVOY_VERSION));
    }
    verdict(judge(bench))
}

/// A family: its type, and the names of its labels.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

fn judge(bench: &Bench) -> Result<String, String> {
    let (theirs, ours) = (play(bench, Kind::Envoy, "envoy")?, play(bench, bench.kind, "ringway")?);
    let mut wrong = Vec::new();
    let covers = |row: &str, family: &str| match row.strip_suffix('*') {
        Some(start) => family.starts_with(start),
        None => family == row,
    };
    let missing: Vec<&String> = theirs.keys().filter(|family| !ours.contains_key(*family)).collect();
    for family in &missing {
        if !REVIEWED.iter().any(|(row, _)| covers(row, family)) {
            wrong.push(format!("{family} is not shown"));
        }
    }
    for (row, reason) in REVIEWED {
        if !missing.iter().any(|family| covers(row, family)) {
            wrong.push(format!("nothing is left out by the row {row} ({reason})"));
        }
    }
    for (family, shape) in &theirs {
        if let Some(other) = ours.get(family).filter(|other| *other != shape) {
            wrong.push(format!("{family} is {other:?}, not {shape:?}"));
        }
    }
    let line = format!(
        "{} families of Envoy's: {} are ours, {} reviewed",
        theirs.len(),
        theirs.len() - missing.len(),
        missing.len()
    );
    if wrong.is_empty() { Ok(line) } else { Err(format!("{}; {line}", wrong.join("; "))) }
}

/// Starts a proxy, asks it for a bit of everything, and reads what it shows.
fn play(bench: &Bench, kind: Kind, name: &str) -> Result<Families, String> {
    let origin = Backend::threads(Duration::ZERO)?;
    let http2 = origin::start(|_| Response::plain(200, b"two"))?;
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let routes = [route("/a", "a"), route("/dead", "dead"), route("/two", "two"), answer("/direct", 200, "here")];
    let config = Config::default()
        .listener("front", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &routes)
        .cluster("a", &[origin.address()])
        .cluster("dead", &[nobody])
        .cluster_http2("two", &[http2.address], &Http2::default());
    let file = bench.folder.join(format!("families-{name}.yaml"));
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let proxy =
        Proxy::start(&Launch { kind, folder: &bench.folder, name, file: &file, concurrency: 1, arguments: &[] })?;
    let front = proxy.listener("front")?;
    for request in [
        "GET /a HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.0.0.1\r\n",
        "GET /a HTTP/1.1\r\nhost: a\r\n",
        "GET /dead HTTP/1.1\r\nhost: a\r\n",
        "GET /direct HTTP/1.1\r\nhost: a\r\n",
        "GET /none HTTP/1.1\r\nhost: a\r\n",
        "GET /a HTTP/1.1\r\nno colon\r\n",
    ] {
        let mut stream = TcpStream::connect_timeout(&front, ANSWER_LIMIT).map_err(|e| format!("{name}: {e}"))?;
        let mut answer = Vec::new();
        stream
            .set_read_timeout(Some(ANSWER_LIMIT))
            .and_then(|()| stream.write_all(format!("{request}connection: close\r\n\r\n").as_bytes()))
            .and_then(|()| stream.read_to_end(&mut answer))
            .map_err(|e| format!("{name}: {request:?}: {e}"))?;
    }
    ask_http2(front).map_err(|e| format!("{name}: over HTTP/2: {e}"))?;
    wait_for("the last connection's end", ANSWER_LIMIT, || {
        (proxy.stat("http.front.downstream_cx_destroy").ok()? == 7).then_some(())
    })?;
    Ok(families(&get(proxy.admin, "GET", "/stats/prometheus")?.1))
}

/// One request over HTTP/2, whole, and its connection's end.
fn ask_http2(front: SocketAddr) -> Result<(), String> {
    let mut session = Session::client(front, &[]).map_err(|e| e.to_string())?;
    let head = [(":method", "GET"), (":scheme", "http"), (":path", "/two"), (":authority", "a")];
    let stream = session.open(&fields(&head), true).map_err(|e| e.to_string())?;
    loop {
        match session.hear_until(Instant::now() + ANSWER_LIMIT).map_err(|e| e.to_string())? {
            Event::Data { stream: of, ends: true, .. } if of == stream => return Ok(()),
            event @ (Event::Reset { .. } | Event::GoAway { .. } | Event::Closed | Event::Silence) => {
                return Err(format!("{event:?} in place of an answer"));
            }
            _ => {}
        }
    }
}

fn families(text: &str) -> Families {
    let mut families = Families::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            name.clone_into(&mut family);
            families.insert(family.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if let (Some((_, labels)), Some((_, names))) = (line.split_once('{'), families.get_mut(&family)) {
            // No label of ours or of Envoy's holds `="` within its text here.
            let parts = labels.split("=\"").filter_map(|part| part.rsplit(['{', ',']).next());
            names.extend(parts.filter(|part| !part.contains(['"', '}'])).map(str::to_owned));
        }
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_read() {
        let found = families("# TYPE a counter\na{x=\"1\",y=\"2\"} 3\n# TYPE b gauge\nb{} 1\n");
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(found["a"], ("counter".to_owned(), names(&["x", "y"])));
        assert_eq!(found["b"], ("gauge".to_owned(), names(&[])));
    }
}
