//! Requests that are sent more than once, by retry policy or because a client of ours asks for it, on both drivers.

use crate::common::client::Message;
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::{Origin, refusing};
use crate::common::process::Proxy;

/// A route for everything with this action beside its cluster.
fn route(action: &str) -> Config {
    Config::new().route("prefix: /", &format!("route: {{cluster: origin, {action}}}"))
}

/// A policy that waits for nothing.
fn policy(rest: &str) -> String {
    format!("retry_policy: {{retry_back_off: {{base_interval: 0.001s, max_interval: 0.001s}}, {rest}}}")
}

fn requests(origin: &Origin) -> Vec<Message> {
    (0..origin.requests()).map(|_| origin.request()).collect()
}

#[test]
fn what_the_policy_names_is_tried_again_and_nothing_else() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let case = |on: &str, steps: &str, status: u16, tries: usize| {
            let config = route(&policy(&format!(
                "retry_on: \"{on}\", num_retries: 2, retriable_status_codes: [418], retriable_headers: [{{name: x-again}}]"
            )));
            let proxy = Proxy::start(io, &config.cluster("origin", origin.address));
            let response = proxy.get(&format!("/script/{steps}?{on}"));
            assert_eq!((response.status(), requests(&origin).len()), (status, tries), "{on} {steps}");
            let retries = tries as u64 - 1;
            assert_eq!(proxy.stat("cluster.origin.upstream_rq_retry"), retries, "{on} {steps}");
            let is_success = status == 200 && retries > 0;
            assert_eq!(proxy.stat("cluster.origin.upstream_rq_retry_success"), u64::from(is_success), "{on} {steps}");
            let exceeded = tries == 3 && status != 200;
            assert_eq!(
                proxy.stat("cluster.origin.upstream_rq_retry_limit_exceeded"),
                u64::from(exceeded),
                "{on} {steps}"
            );
            assert_eq!(proxy.stat("cluster.origin.upstream_rq_total"), tries as u64, "{on} {steps}");
        };
        case("5xx", "503,500,200", 200, 3);
        case("5xx", "503", 503, 3);
        case("5xx", "404,200", 404, 1);
        case("5xx", "reset,200", 200, 2);
        case("5xx", "broken,200", 200, 2);
        case("gateway-error", "500,200", 500, 1);
        case("gateway-error", "502,504,200", 200, 3);
        case("retriable-4xx", "409,200", 200, 2);
        case("retriable-status-codes", "418,200", 200, 2);
        case("5xx", "418,200", 418, 1);
        case("retriable-headers", "200:x-again=1,200", 200, 2);
        case("unavailable,cancelled", "200:grpc-status=14,200:grpc-status=1,200", 200, 3);
        case("5xx", "503:x-envoy-ratelimited=1,200", 503, 1);
        case("envoy-ratelimited", "429:x-envoy-ratelimited=1,200", 200, 2);
        case("connect-failure,refused-stream", "reset,200", 503, 1);
        case("reset", "503,200", 503, 1);
        case("nonsense", "503,200", 503, 1);
    });
}

/// A response that has begun is never tried again.
#[test]
fn a_response_that_breaks_off_is_not_replaced() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let config = route(&policy("retry_on: \"5xx,reset\", num_retries: 5")).cluster("origin", origin.address);
        let proxy = Proxy::start(io, &config);
        let mut client = proxy.client();
        client.send("GET /script/cut,200 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.read(false, true).is_err());
        assert_eq!(requests(&origin).len(), 1);
    });
}

/// RFC 9110 §9.2.2; checklist PL-2.
#[test]
fn a_request_that_may_have_been_acted_on_is_sent_again_only_where_that_is_safe() {
    on_each_driver(|io| {
        let all = "retry_on: \"5xx,reset,connect-failure\"";
        let named = "retry_on: \"5xx,reset\", retriable_request_headers: [{name: x-key}]";
        for (policy_text, head, steps, status, tries) in [
            (all, "PUT", "reset,200", 200, 2),
            (all, "DELETE", "reset,200", 200, 2),
            (all, "POST", "reset,200", 503, 1),
            (all, "PATCH", "reset,200", 503, 1),
            // The origin says itself what became of it.
            (all, "POST", "503,200", 200, 2),
            (named, "POST", "reset,200", 503, 1),
            (named, "POST x-key", "reset,200", 200, 2),
            (named, "GET", "503,200", 503, 1),
        ] {
            let origin = Origin::start("one");
            let config = route(&policy(policy_text)).cluster("origin", origin.address);
            let proxy = Proxy::start(io, &config);
            let mut client = proxy.client();
            let (method, field) = head.split_once(' ').unwrap_or((head, "x-none"));
            client.send(format!(
                "{method} /script/{steps}?{method} HTTP/1.1\r\nHost: a\r\n{field}: 1\r\nContent-Length: 4\r\n\r\nbody"
            ));
            let response = client.response(false);
            let seen = requests(&origin);
            assert_eq!((response.status(), seen.len()), (status, tries), "{policy_text} {head} {steps}");
            assert!(seen.iter().all(|request| request.body == b"body"), "{head}");
            assert!(status != 200 || response.body == b"body", "{head}");
        }
        // Not a byte was sent: every method is tried again.
        let config =
            route(&policy("retry_on: connect-failure, num_retries: 2")).cluster("origin", refusing("127.0.0.1"));
        let proxy = Proxy::start(io, &config);
        let mut client = proxy.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(client.response(false).status(), 503);
        assert_eq!(proxy.stat("cluster.origin.upstream_cx_connect_fail"), 3);
    });
}

/// In chunks and by length, whole in one piece and while it still comes.
#[test]
fn a_body_is_sent_again_whole_if_it_was_kept() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        // Of the two the smaller one.
        let config = route(&policy("retry_on: \"5xx\""))
            .host("per_request_buffer_limit_bytes: 60000")
            .listener("per_connection_buffer_limit_bytes: 50000")
            .cluster("origin", origin.address);
        let proxy = Proxy::start(io, &config);
        let mut client = proxy.client();
        let mut abandoned = 0;
        for size in [0_usize, 1, 1024, 30_000, 50_000, 50_001, 300_000] {
            let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            for is_chunked in [false, true] {
                let framing = if is_chunked {
                    "Transfer-Encoding: chunked".to_owned()
                } else {
                    format!("Content-Length: {size}")
                };
                client
                    .send(format!("POST /script/503,200?{size}-{is_chunked} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
                if is_chunked {
                    for piece in body.chunks(7000) {
                        client.send(format!("{:x}\r\n", piece.len())).send(piece).send("\r\n");
                    }
                    client.send("0\r\n\r\n");
                } else {
                    client.send(&body);
                }
                let response = client.response(false);
                let is_kept = size <= 50_000;
                abandoned += u64::from(!is_kept);
                let expect = if is_kept { 200 } else { 503 };
                assert_eq!((response.status(), response.body == body), (expect, true), "{size} {is_chunked}");
                let seen = requests(&origin);
                assert_eq!(seen.len(), if is_kept { 2 } else { 1 }, "{size} {is_chunked}");
                assert!(seen.iter().all(|request| request.body == body), "{size} {is_chunked}");
            }
        }
        assert_eq!(proxy.stat("cluster.origin.retry_or_shadow_abandoned"), abandoned);
    });
}

#[test]
fn a_try_that_takes_too_long_is_replaced() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let action = format!("timeout: 20s, {}", policy("retry_on: 5xx, per_try_timeout: 1s"));
        let proxy = Proxy::start(io, &route(&action).cluster("origin", origin.address));
        assert_eq!(proxy.get("/script/silent,200").status(), 200);
        assert_eq!(proxy.stat("cluster.origin.upstream_rq_per_try_timeout"), 1);
        assert_eq!(proxy.stat("cluster.origin.upstream_rq_timeout"), 0);
        let response = proxy.get("/script/silent");
        assert_eq!((response.status(), response.text().as_str()), (504, "upstream request timeout"));
        assert_eq!(proxy.stat("cluster.origin.upstream_rq_per_try_timeout"), 3);
        assert_eq!(requests(&origin).len(), 4);
        // Without a policy it still bounds the one try.
        let action = "timeout: 20s, retry_policy: {per_try_idle_timeout: 0.2s}";
        let proxy = Proxy::start(io, &route(action).cluster("origin", origin.address));
        assert_eq!(proxy.get("/script/silent?idle").status(), 504);
        assert_eq!(proxy.stat("cluster.origin.upstream_rq_per_try_idle_timeout"), 1);
    });
}

/// The route's timeout ends everything, a wait for the next try too.
#[test]
fn the_whole_may_take_no_longer_than_the_route_says() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let back_off = "retry_policy: {retry_on: 5xx, num_retries: 50, rate_limited_retry_back_off: \
                        {reset_headers: [{name: Retry-After}]}}";
        let action = format!("timeout: 1s, {back_off}");
        let proxy = Proxy::start(io, &route(&action).cluster("origin", origin.address));
        assert_eq!(proxy.get("/script/503:retry-after=60,200").status(), 504);
        assert_eq!(requests(&origin).len(), 1);
        assert_eq!(proxy.stat("cluster.origin.upstream_rq_retry_backoff_ratelimited"), 1);
        assert_eq!(proxy.stat("cluster.origin.upstream_rq_retry_backoff_exponential"), 0);
    });
}

#[test]
fn another_endpoint_is_taken_where_that_is_asked_for() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let predicate = "retry_on: connect-failure, host_selection_retry_max_attempts: 5, retry_host_predicate: [{name: p, typed_config: \
                         {\"@type\": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]";
        let endpoints = [refusing("127.0.0.1"), origin.address];
        let proxy =
            Proxy::start(io, &route(&policy(predicate)).cluster_of("origin", &endpoints, "connect_timeout: 5s"));
        for _ in 0..6 {
            assert_eq!(proxy.get("/name").status(), 200);
        }
    });
}

#[test]
fn tries_are_told_to_both_sides_where_that_is_asked_for() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let config = route(&format!("timeout: 10s, {}", policy("retry_on: 5xx, per_try_timeout: 2s")))
            .host("include_request_attempt_count: true")
            .host("include_attempt_count_in_response: true")
            .cluster("origin", origin.address);
        let proxy = Proxy::start(io, &config);
        let mut client = proxy.client();
        client.send("GET /script/503,200 HTTP/1.1\r\nHost: a\r\nx-envoy-attempt-count: 7\r\n\r\n");
        let response = client.response(false);
        assert_eq!(response.header("x-envoy-attempt-count"), Some("2"));
        let seen = requests(&origin);
        let told: Vec<_> = seen.iter().map(|request| request.header("x-envoy-attempt-count")).collect();
        assert_eq!(told, [Some("1"), Some("2")]);
        let within: Vec<_> = seen.iter().map(|request| request.header("x-envoy-expected-rq-timeout-ms")).collect();
        assert_eq!(within, [Some("2000"), Some("2000")]);
        let counts =
            |request: &Message| request.headers.iter().filter(|(name, _)| name == "x-envoy-attempt-count").count();
        assert!(seen.iter().all(|request| counts(request) == 1));
        let local = proxy.get("/script/reset");
        assert_eq!((local.status(), local.header("x-envoy-attempt-count")), (503, Some("2")));
        assert!(
            local.text().contains("retried and the latest reset reason: connection termination"),
            "{}",
            local.text()
        );
    });
}

/// Only a client of ours may: `use_remote_address`, and an address that is ours.
#[test]
fn a_client_of_ours_asks_for_tries_itself() {
    on_each_driver(|io| {
        let ours = "internal_address_config: {cidr_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]}";
        for (is_ours, status, tries) in [(true, 200, 3), (false, 503, 1)] {
            let origin = Origin::start("one");
            let config = route("timeout: 9s").manager("use_remote_address: true").cluster("origin", origin.address);
            let config = if is_ours { config.manager(ours) } else { config };
            let proxy = Proxy::start(io, &config);
            let mut client = proxy.client();
            client.send(
                "POST /script/418,reset,200 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nx-envoy-retry-on: reset,retriable-status-codes\r\n\
                 x-envoy-retriable-status-codes: 418, 7\r\nx-envoy-max-retries: 2\r\nx-envoy-upstream-rq-timeout-ms: 5000\r\n\r\nb",
            );
            let answer = client.response(false);
            let seen = requests(&origin);
            let expect = if is_ours { (status, tries) } else { (418, 1) };
            assert_eq!((answer.status(), seen.len()), expect, "{is_ours}");
            assert!(seen.iter().all(|request| !request.headers.iter().any(|(name, _)| name.contains("retr"))));
            let within = seen[0].header("x-envoy-expected-rq-timeout-ms");
            assert_eq!(within, Some(if is_ours { "5000" } else { "9000" }));
        }
    });
}

#[test]
fn retries_of_the_whole_process_have_a_limit() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        for (breakers, allowed) in [
            ("max_retries: 0", false),
            ("max_retries: 1", true),
            ("max_retries: 1, retry_budget: {budget_percent: {value: 0}, min_retry_concurrency: 0}", false),
            ("max_retries: 0, retry_budget: {min_retry_concurrency: 0, budget_percent: {value: 100}}", true),
            ("max_retries: 0, retry_budget: {}", true),
        ] {
            let breakers = format!("circuit_breakers: {{thresholds: [{{{breakers}}}]}}");
            let config = route(&policy("retry_on: 5xx")).cluster_with("origin", origin.address, &breakers);
            let proxy = Proxy::start(io, &config);
            let mut client = proxy.client();
            for round in 0..3 {
                let response = client.get(&format!("/script/503,200?{round}{breakers}").replace(' ', ""));
                assert_eq!(response.status(), if allowed { 200 } else { 503 }, "{breakers}");
            }
            let overflows = if allowed { 0 } else { 3 };
            assert_eq!(proxy.stat("cluster.origin.upstream_rq_retry_overflow"), overflows, "{breakers}");
        }
    });
}

/// An upstream that resets each second request under load.
#[test]
fn a_flapping_upstream_is_not_seen_by_clients() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let breakers = "circuit_breakers: {thresholds: [{max_retries: 1000}]}";
        let config = route(&policy("retry_on: \"5xx,reset,connect-failure\", num_retries: 3")).cluster_with(
            "origin",
            origin.address,
            breakers,
        );
        let proxy = Proxy::start_with(io, &config, &["--concurrency", "2"]);
        let mut clients: Vec<_> = (0..10).map(|_| proxy.client()).collect();
        for round in 0..10 {
            for (at, client) in clients.iter_mut().enumerate() {
                client.send(format!("GET /script/reset,200?{round}-{at} HTTP/1.1\r\nHost: a\r\n\r\n"));
            }
            for client in &mut clients {
                assert_eq!(client.response(false).status(), 200);
            }
        }
    });
}
