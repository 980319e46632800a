//! Circuit breakers of both priorities, exact over all workers, on both drivers.

use std::net::TcpListener;

use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::Origin;
use crate::common::process::Proxy;

#[test]
fn each_priority_has_its_own_limit_to_the_last_request() {
    on_each_driver(|io| {
        for workers in ["1", "2", "4"] {
            let origin = Origin::start("one");
            let breakers = "circuit_breakers: {thresholds: [{max_requests: 1}, {priority: HIGH, max_requests: 3}]}";
            let config = Config::new()
                .route("prefix: /high/", "route: {cluster: origin, priority: HIGH, prefix_rewrite: /}")
                .to("/", "origin")
                .cluster_with("origin", origin.address, breakers);
            let proxy = Proxy::start_with(io, &config, &["--concurrency", workers]);
            let mut under_way = Vec::new();
            for path in ["/high/slow", "/slow", "/high/slow", "/high/slow"] {
                let mut client = proxy.client();
                client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
                origin.request();
                under_way.push(client);
            }
            for path in ["/name", "/high/name", "/name", "/high/name"] {
                let refused = proxy.get(path);
                assert_eq!(
                    (refused.status(), refused.header("x-envoy-overloaded")),
                    (503, Some("true")),
                    "{workers} {path}"
                );
            }
            assert_eq!(proxy.stat("cluster.origin.upstream_rq_pending_overflow"), 4);
            let open = |priority: &str, level: &str, value| {
                proxy.wait_stat(&format!("cluster.origin.circuit_breakers.{priority}.{level}"), |now| now == value);
            };
            open("default", "rq_open", 1);
            open("high", "rq_open", 1);
            assert_eq!(proxy.stat("cluster.origin.circuit_breakers.high.cx_open"), 0);
            under_way.iter().for_each(|_| origin.release());
            for client in &mut under_way {
                assert_eq!(client.response(false).status(), 200, "{workers}");
            }
            proxy.wait_stat("cluster.origin.upstream_rq_active", |active| active == 0);
            open("default", "rq_open", 0);
            open("high", "rq_open", 0);
            for path in ["/name", "/high/name"] {
                assert_eq!(proxy.get(path).status(), 200, "{workers} {path}");
            }
        }
    });
}

/// Each level alone: one connection, which stays open when it is idle; one request that waits for it; one retry that waits to begin.
#[test]
fn each_level_is_shown_while_its_limit_is_reached() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let fickle = TcpListener::bind("127.0.0.1:0").expect("a port");
        let limits = |limits: &str| format!("circuit_breakers: {{thresholds: [{{{limits}}}]}}");
        let retries = "route: {cluster: again, retry_policy: {retry_on: reset, num_retries: 1}}";
        let config = Config::new()
            .route("prefix: /again", retries)
            .to("/", "one")
            .cluster_with("one", origin.address, &limits("max_connections: 1, max_pending_requests: 1"))
            .cluster_with("again", fickle.local_addr().expect("bound"), &limits("max_retries: 1"));
        let proxy = Proxy::start(io, &config);
        let shown = |cluster: &str, level: &str, value| {
            proxy.wait_stat(&format!("cluster.{cluster}.circuit_breakers.default.{level}"), |now| now == value);
        };
        assert_eq!(proxy.get("/name").status(), 200);
        shown("one", "cx_open", 1);
        shown("one", "rq_pending_open", 0);
        let mut first = proxy.client();
        first.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
        origin.request();
        origin.request();
        let mut second = proxy.client();
        second.send("GET /name HTTP/1.1\r\nHost: test\r\n\r\n");
        shown("one", "rq_pending_open", 1);
        origin.release();
        assert_eq!((first.response(false).status(), second.response(false).status()), (200, 200));
        shown("one", "rq_pending_open", 0);
        let mut retried = proxy.client();
        retried.send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n");
        let try_of = || {
            let mut upstream = Client::on(fickle.accept().expect("the proxy connects").0);
            upstream.read(false, false).expect("a request").expect("not the end");
            upstream
        };
        drop(try_of());
        let mut upstream = try_of();
        shown("again", "rq_retry_open", 1);
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(retried.response(false).status(), 200);
        shown("again", "rq_retry_open", 0);
        let metrics = proxy.admin("GET", "/stats/prometheus").text();
        let expect = "envoy_cluster_circuit_breakers_default_cx_open{envoy_cluster_name=\"one\"} 1";
        assert!(metrics.contains(expect), "{metrics}");
    });
}
