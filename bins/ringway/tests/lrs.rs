//! Load reports (`cluster_manager.load_stats_config`): what a server is told of what was sent where, and when.

use std::net::SocketAddr;

use crate::common;
use crate::common::lrs::Server;
use crate::common::origin::{Origin, refusing};
use crate::common::process::Proxy;
use crate::common::{on_each_driver, uninterrupted};

/// Short, so that tests need not wait.
const INTERVAL_MS: u64 = 100;

fn endpoint(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!("{{endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}}}")
}

/// A cluster of endpoints in zones.
fn cluster(name: &str, endpoints: &[(&str, SocketAddr)], fields: &str) -> String {
    let localities: Vec<String> = endpoints
        .iter()
        .map(|(zone, address)| format!("{{locality: {{zone: {zone}}}, lb_endpoints: [{}]}}", endpoint(*address)))
        .collect();
    let localities = localities.join(", ");
    format!(
        "{{name: {name}, connect_timeout: 1s, load_assignment: {{cluster_name: {name}, endpoints: [{localities}]{fields}}}}}"
    )
}

/// A bootstrap with these clusters, a path for each (`/NAME`), and the server of load reports there.
fn bootstrap(server: &Server, names: &[&str], clusters: &[String]) -> String {
    let retry = "retry_policy: {retry_back_off: {base_interval: 0.05s, max_interval: 0.2s}}";
    let routes: Vec<String> = names
        .iter()
        .map(|name| {
            format!(
                "{{match: {{prefix: /{name}/}}, route: {{cluster: {name}, prefix_rewrite: /, timeout: 20s, \
                     retry_policy: {{retry_on: gateway-error, num_retries: 1}}}}}}"
            )
        })
        .collect();
    let lrs = endpoint(server.address);
    format!(
        "node: {{id: node-1, cluster: tests}}\nadmin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}\n\
         cluster_manager: {{load_stats_config: {{api_type: GRPC, transport_api_version: V3, grpc_services: [{{envoy_grpc: \
         {{cluster_name: lrs, {retry}}}}}]}}}}\nstatic_resources:\n  listeners: [{{name: main, address: {{socket_address: {{address: \
         127.0.0.1, port_value: 0}}}}, filter_chains: [{{filters: [{{name: hcm, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: main, \
         route_config: {{virtual_hosts: [{{name: all, domains: [\"*\"], routes: [{}]}}]}}, http_filters: [{{name: r, typed_config: \
         {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}]}}]}}]\n  clusters: [{{name: lrs, \
         connect_timeout: 1s, typed_extension_protocol_options: {{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{\"@type\": \
         type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {{http2_protocol_options: \
         {{}}}}}}}}, load_assignment: {{cluster_name: lrs, endpoints: [{{lb_endpoints: [{lrs}]}}]}}}}, {}]\n",
        routes.join(", "),
        clusters.join(", ")
    )
}

fn start(io: &str, bootstrap: &str) -> Proxy {
    Proxy::start_yaml(io, bootstrap, &["--concurrency", "2"])
}

#[test]
fn each_request_is_reported_once_with_its_zone_and_how_it_ended() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let server = Server::start();
        let clusters = [
            cluster("c", &[("a", one.address), ("b", two.address)], ""),
            cluster("again", &[("a", one.address)], ""),
            cluster("dead", &[("a", refusing("127.0.0.1"))], ""),
            cluster(
                "drop",
                &[("a", one.address)],
                ", policy: {drop_overloads: [{category: throttle, drop_percentage: {numerator: 100}}]}",
            ),
        ];
        let mut proxy = start(io, &bootstrap(&server, &["c", "again", "dead", "drop"], &clusters));
        // Who reports says who it is, and then nothing before it is asked.
        common::wait_for("the first report", || (server.reports().len() == 1).then_some(()));
        let first = &server.reports()[0];
        let (id, features) = first.node.clone().expect("the first report has the node");
        assert_eq!(id, "node-1");
        assert!(features.iter().any(|feature| feature == "envoy.lrs.supports_send_all_clusters"), "{features:?}");
        assert!(first.clusters.is_empty());
        // What was before is nobody's.
        assert_eq!(proxy.get("/c/name").status(), 200);
        server.want(&["c", "again", "dead", "drop", "none"], INTERVAL_MS);
        proxy.line("LRS: connected to");
        proxy.wait_stat("load_reporter.requests", |count| count == 1);
        let clients: Vec<_> = (0..4).map(|_| proxy.client()).collect();
        for mut client in clients {
            for _ in 0..5 {
                assert_eq!(client.get("/c/name").status(), 200);
            }
            assert_eq!(client.get("/c/script/404").status(), 404);
            assert_eq!(client.get("/c/script/500").status(), 500);
        }
        // Round-robin is each worker's own: the zones' parts are known together.
        let whole = || {
            let sum = server.sum("c");
            let of = |pick: fn(&common::lrs::Locality) -> u64| sum.localities.values().map(pick).sum::<u64>();
            [of(|one| one.issued), of(|one| one.successful), of(|one| one.failed), of(|one| one.in_progress)]
        };
        common::wait_for("all of them", || (whole() == [28, 24, 4, 0]).then_some(()));
        for (origin, zone) in [(&one, "a"), (&two, "b")] {
            // Each origin knows what it was sent, but for the request before.
            let issued = server.sum("c").localities[&(zone.to_owned(), 0)].issued;
            let seen = origin.requests() as u64;
            assert!(seen == issued || seen == issued + 1, "{zone}: {issued} of {seen}");
        }
        // A connection that cannot be made is tried twice, and never issued.
        assert_eq!(proxy.get("/dead/name").status(), 503);
        server.comes_to("dead", &[("a", [0, 0, 2, 0])]);
        // A 503 that is tried again is another request.
        assert_eq!(proxy.get("/again/script/503,200").status(), 200);
        server.comes_to("again", &[("a", [2, 1, 1, 0])]);
        for _ in 0..3 {
            assert_eq!(proxy.get("/drop/name").status(), 503);
        }
        common::wait_for("what was dropped", || (server.sum("drop").dropped == 3).then_some(()));
        let drop = server.sum("drop");
        assert_eq!(drop.dropped_by.into_iter().collect::<Vec<_>>(), [("throttle".to_owned(), 3)]);
        assert!(drop.localities.is_empty());
        // Nothing is said twice.
        server.more(3);
        assert_eq!(whole(), [28, 24, 4, 0]);
        for report in server.reports().iter().skip(1) {
            assert!(report.node.is_none());
            for (name, cluster) in &report.clusters {
                assert!(cluster.interval_ms >= INTERVAL_MS, "{name}: {cluster:?}");
            }
            assert!(!report.clusters.contains_key("none"));
        }
        let stat = |name: &str| proxy.stat(&format!("load_reporter.{name}"));
        assert_eq!([stat("requests"), stat("errors"), stat("retries")], [1, 0, 0]);
        assert!(stat("responses") >= 5);
        let dump = proxy.admin("GET", "/config_dump").text();
        assert!(dump.contains("\"load_stats_config\"") && dump.contains("\"static_clusters\""), "{dump}");
    });
}

#[test]
fn a_request_under_way_is_told_as_long_as_it_is() {
    on_each_driver(|io| {
        let one = Origin::start("one");
        let server = Server::start();
        let proxy = start(io, &bootstrap(&server, &["c"], &[cluster("c", &[("a", one.address)], "")]));
        server.want(&["c"], INTERVAL_MS);
        proxy.wait_stat("load_reporter.requests", |count| count == 1);
        let mut client = proxy.client();
        client.send("GET /c/slow HTTP/1.1\r\nHost: h\r\n\r\n");
        server.comes_to("c", &[("a", [1, 0, 0, 1])]);
        server.more(2);
        server.comes_to("c", &[("a", [1, 0, 0, 1])]);
        one.release();
        server.comes_to("c", &[("a", [1, 1, 0, 0])]);
        // A client that goes away says nothing of the upstream. It leaves an answer unread, so that its connection is reset.
        let mut client = proxy.client();
        client.send("GET /c/name HTTP/1.1\r\nHost: h\r\n\r\nGET /c/silent HTTP/1.1\r\nHost: h\r\n\r\n");
        server.comes_to("c", &[("a", [3, 2, 0, 1])]);
        assert_eq!(uninterrupted(|| client.socket().peek(&mut [0])).expect("an answer"), 1);
        drop(client);
        server.comes_to("c", &[("a", [3, 2, 0, 0])]);
    });
}

#[test]
fn a_server_that_goes_and_comes_back_misses_nothing() {
    on_each_driver(|io| {
        let one = Origin::start("one");
        let server = Server::start();
        let mut proxy = start(io, &bootstrap(&server, &["c"], &[cluster("c", &[("a", one.address)], "")]));
        server.want(&["c"], INTERVAL_MS);
        proxy.wait_stat("load_reporter.requests", |count| count == 1);
        let mut client = proxy.client();
        let mut sent = 0;
        for (is_proper, errors) in [(false, 1), (true, 1)] {
            for _ in 0..10 {
                assert_eq!(client.get("/c/name").status(), 200);
            }
            sent += 10;
            server.comes_to("c", &[("a", [sent, sent, 0, 0])]);
            let streams = server.streams();
            server.end(is_proper);
            proxy.line("load is counted meanwhile");
            for _ in 0..5 {
                assert_eq!(client.get("/c/name").status(), 200);
            }
            sent += 5;
            common::wait_for("another stream", || (server.streams() > streams).then_some(()));
            server.comes_to("c", &[("a", [sent, sent, 0, 0])]);
            let reports = server.reports();
            let first = reports.iter().find(|report| report.stream == streams + 1).expect("it reports");
            assert!(first.node.is_some() && first.clusters.contains_key("c"), "{first:?}");
            assert_eq!(proxy.stat("load_reporter.errors"), errors);
            assert_eq!(proxy.stat("load_reporter.retries"), streams as u64);
        }
        server.more(2);
        server.comes_to("c", &[("a", [sent, sent, 0, 0])]);
    });
}

#[test]
fn a_cluster_that_comes_later_is_reported_from_its_beginning_and_all_clusters_from_the_next_report() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let server = Server::start();
        let c = cluster("c", &[("a", one.address)], "");
        let mut proxy = start(io, &bootstrap(&server, &["c"], std::slice::from_ref(&c)));
        server.want(&["c", "late"], INTERVAL_MS);
        server.more(2);
        assert!(!server.reports().iter().any(|report| report.clusters.contains_key("late")));
        let late = cluster("late", &[("b", two.address)], "");
        proxy.replace(&bootstrap(&server, &["c", "late"], &[c, late]));
        proxy.line("generation 2 in force");
        for _ in 0..3 {
            assert_eq!(proxy.get("/late/name").text(), "two");
        }
        server.comes_to("late", &[("b", [3, 3, 0, 0])]);
        // The stream is the same: the file changed nothing about it.
        assert_eq!((server.streams(), proxy.stat("load_reporter.retries")), (1, 0));
        server.want_all(INTERVAL_MS);
        proxy.wait_stat("load_reporter.requests", |count| count == 2);
        common::wait_for("all clusters", || {
            let reports = server.reports();
            let last = reports.last().expect("there are some");
            last.clusters.keys().map(String::as_str).eq(["c", "late", "lrs"]).then_some(())
        });
        assert_eq!(proxy.get("/c/name").text(), "one");
        server.comes_to("c", &[("a", [1, 1, 0, 0])]);
        server.comes_to("late", &[("b", [3, 3, 0, 0])]);
    });
}
