//! Circuit breakers of both priorities, exact over all workers, on both drivers.

mod common;

use common::config::Config;
use common::on_each_driver;
use common::origin::Origin;
use common::process::Proxy;

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
            under_way.iter().for_each(|_| origin.release());
            for client in &mut under_way {
                assert_eq!(client.response(false).status(), 200, "{workers}");
            }
            proxy.wait_stat("cluster.origin.upstream_rq_active", |active| active == 0);
            for path in ["/name", "/high/name"] {
                assert_eq!(proxy.get(path).status(), 200, "{workers} {path}");
            }
        }
    });
}
