//! Raw connections from the file: by weight, and their ends; and requests that say where they go (ORIGINAL_DST).

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::{Origin, served_by};
use crate::common::process::Proxy;

/// Echoes to the end, then says `over`.
fn echo(mut connection: Client) {
    while let Ok(bytes) = connection.some() {
        if bytes.is_empty() {
            connection.send("over").finish();
            return;
        }
        connection.send(bytes);
    }
}

/// A file with one listener that ends in `tcp_proxy`.
fn file(proxy: &str, clusters: &str) -> String {
    format!(
        r#"admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: main
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: raw
          # Where descriptors run out now and then, one of these finds some.
          max_connect_attempts: 1000
          {proxy}
  clusters:
{clusters}"#
    )
}

fn cluster(name: &str, address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "  - name: {name}\n    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: \
         {{socket_address: {{address: {ip}, port_value: {port}}}}}}}}}]}}]}}\n"
    )
}

const ORIGINAL: &str = "type: ORIGINAL_DST\n    lb_policy: CLUSTER_PROVIDED\n    cleanup_interval: 0.1s";

#[test]
fn connections_are_shared_out_by_weight_and_every_byte_comes_back() {
    const SIZE: usize = 3 << 20;
    const CONNECTIONS: usize = 20;
    on_each_driver(|io| {
        let (one, other) = (served_by(echo), served_by(echo));
        let weights = "weighted_clusters: {clusters: [{name: one, weight: 1}, {name: other, weight: 1}]}";
        let yaml = file(weights, &(cluster("one", one) + &cluster("other", other)));
        let proxy = Proxy::start_yaml(io, &yaml, &["--concurrency", "1"]);
        for _ in 1..CONNECTIONS {
            let mut client = proxy.client();
            assert_eq!(client.send("hello").bytes(5), b"hello");
            client.finish();
            assert_eq!(client.bytes(4), b"over");
            assert!(client.ended());
        }
        let mut client = proxy.client();
        let sent: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
        let mut sender = client.again();
        let all = sent.clone();
        let sends = thread::spawn(move || sender.send(all).finish());
        assert!(client.bytes(SIZE) == sent);
        assert_eq!(client.bytes(4), b"over");
        sends.join().expect("sent");
        drop(client);
        for (name, value) in [
            ("tcp.raw.downstream_cx_total", CONNECTIONS),
            ("tcp.raw.downstream_cx_rx_bytes_total", SIZE + 5 * (CONNECTIONS - 1)),
            ("tcp.raw.downstream_cx_tx_bytes_total", SIZE + 5 * (CONNECTIONS - 1) + 4 * CONNECTIONS),
        ] {
            proxy.wait_stat(name, |now| now == value as u64);
        }
        let picked = ["one", "other"].map(|name| proxy.stat(&format!("cluster.{name}.upstream_rq_total")));
        assert_eq!(picked.iter().sum::<u64>(), CONNECTIONS as u64);
        // One in half a million runs has them all on one side.
        assert!(picked.iter().all(|count| *count > 0), "{picked:?}");
        for name in ["one", "other"] {
            proxy.wait_stat(&format!("cluster.{name}.upstream_cx_active"), |now| now == 0);
        }
    });
}

#[test]
fn a_request_goes_where_its_field_says() {
    on_each_driver(|io| {
        let origins = ["one", "other"].map(Origin::start);
        let fields = format!("{ORIGINAL}\n    original_dst_lb_config: {{use_http_header: true}}");
        let config = Config::new().to("/", "original").cluster_lines("original", &fields, "connect_timeout: 5s");
        let proxy = Proxy::start_with(io, &config, &["--concurrency", "1"]);
        let ask = |field: &str| {
            let mut client = proxy.client();
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n")).response(false)
        };
        for origin in origins.iter().chain(&origins) {
            let answer = ask(&format!("x-envoy-original-dst-host: {}\r\n", origin.address));
            assert_eq!(answer.status(), 200);
        }
        assert_eq!(origins.each_ref().map(Origin::requests), [2, 2]);
        assert_eq!(ask("x-envoy-original-dst-host: nowhere\r\n").status(), 503);
        assert_eq!(ask("").status(), 503);
        assert_eq!(proxy.stat("cluster.original.original_dst_host_invalid"), 1);
        assert_eq!(proxy.stat("cluster.original.upstream_cx_none_healthy"), 2);
        assert_eq!(proxy.stat("cluster.original.lb_healthy_panic"), 0);
        // Idle connections go with the addresses that nobody asks for.
        proxy.wait_stat("cluster.original.upstream_cx_active", |now| now == 0);
        let dead = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        assert_eq!(ask(&format!("x-envoy-original-dst-host: {dead}\r\n")).status(), 503);
    });
}

/// Guards against a proxy that connects to itself, again and again: who connected to it was not redirected, and leads nowhere.
#[test]
fn a_connection_that_nobody_redirected_has_no_original_destination() {
    const FILTER: &str = "listener_filters: [{name: o, typed_config: {'@type': \
                          type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst}}]";
    on_each_driver(|io| {
        let config = Config::new().listener(FILTER).to("/", "original");
        let config = config.cluster_lines("original", ORIGINAL, "connect_timeout: 5s");
        let proxy = Proxy::start_with(io, &config, &["--concurrency", "1"]);
        assert_eq!(proxy.get("/").status(), 503);
        assert_eq!(proxy.stat("cluster.original.upstream_cx_none_healthy"), 1);
        assert_eq!(proxy.stat("cluster.original.upstream_cx_total"), 0);
    });
}

/// Every connection of one client leads to one endpoint by its address, whatever worker serves it.
#[test]
fn connections_of_one_client_lead_to_one_endpoint() {
    fn one(mut connection: Client) {
        connection.send("1").finish();
    }
    fn other(mut connection: Client) {
        connection.send("2").finish();
    }
    on_each_driver(|io| {
        // Nine of each: that all connections lead to one of them by chance is out of the question.
        let endpoints = (0..18).map(|at| served_by(if at < 9 { one } else { other }));
        let endpoint = |address: SocketAddr| {
            let (ip, port) = (address.ip(), address.port());
            format!("{{endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}}}")
        };
        let endpoints: Vec<String> = endpoints.map(endpoint).collect();
        for policy in ["RING_HASH", "MAGLEV"] {
            let cluster = format!(
                "  - name: c\n    lb_policy: {policy}\n    load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: \
                 [{}]}}]}}\n",
                endpoints.join(", ")
            );
            let proxy =
                Proxy::start_yaml(io, &file("cluster: c\n          hash_policy: [{source_ip: {}}]", &cluster), &[]);
            let answers: Vec<Vec<u8>> = (0..24).map(|_| proxy.client().bytes(1)).collect();
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{io} {policy}: {answers:?}");
        }
    });
}
