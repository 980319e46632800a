//! Requests through the proxy, from a client by hand to a scripted origin, on both drivers.

use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::origin::{Origin, refusing, served_by};
use crate::common::process::Proxy;
use crate::common::{on_each_driver, wait_for};
use serde_json::Value;

fn forwarding(origin: &Origin) -> Config {
    Config::new().to("/", "origin").cluster("origin", origin.address)
}

#[test]
fn bodies_of_every_framing_pass_both_ways() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let proxy = Proxy::start(io, &forwarding(&origin));
        let mut client = proxy.client();
        for path in ["/echo", "/echo-chunked"] {
            for size in [0, 1, 5000, 300_000] {
                let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
                client
                    .send(format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n"))
                    .send(&body);
                let response = client.response(false);
                assert_eq!((response.status(), response.body == body), (200, true), "{path} {size} by length");
                assert_eq!(origin.request().header("content-length"), Some(&*size.to_string()));

                client.send(format!("POST {path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"));
                for piece in body.chunks(7000) {
                    client.send(format!("{:x}\r\n", piece.len())).send(piece).send("\r\n");
                }
                client.send("0\r\n\r\n");
                let response = client.response(false);
                assert_eq!((response.status(), response.body == body), (200, true), "{path} {size} in chunks");
                assert_eq!(origin.request().header("transfer-encoding"), Some("chunked"));
            }
        }
    });
}

#[test]
fn get_and_head_pass_and_the_connection_stays() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let proxy = Proxy::start(io, &forwarding(&origin));
        let mut client = proxy.client();
        for _ in 0..3 {
            let response = client.get("/name?q=1");
            assert_eq!((response.status(), response.text().as_str()), (200, "one"));
            assert_eq!(response.header("x-origin"), Some("yes"));
            assert_eq!(origin.request().line, "GET /name?q=1 HTTP/1.1");
            let response = client.ask("HEAD", "/name");
            assert_eq!((response.status(), response.header("content-length")), (200, Some("3")));
            assert_eq!(origin.request().line, "HEAD /name HTTP/1.1");
        }
        assert_eq!(proxy.stat("http.main.downstream_cx_total"), 1);
        assert_eq!(proxy.stat("http.main.downstream_rq_total"), 6);
        assert_eq!(proxy.stat("cluster.origin.upstream_cx_total"), 1);
        assert_eq!(proxy.stat("cluster.origin.upstream_rq_2xx"), 6);
    });
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let config =
            Config::new().to("/a", "one").to("/b", "two").cluster("one", one.address).cluster("two", two.address);
        let proxy = Proxy::start(io, &config);
        let mut client = proxy.client();
        let requests: String = ["/a", "/b", "/direct", "/a", "/none"]
            .map(|path| format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"))
            .concat();
        client.send(requests);
        let answers: Vec<_> =
            (0..5).map(|_| client.response(false)).map(|answer| (answer.status(), answer.text())).collect();
        let texts: Vec<_> = answers.iter().map(|(status, text)| (*status, text.as_str())).collect();
        assert_eq!(texts[..4], [(200, "one"), (200, "two"), (200, "direct"), (200, "one")]);
        assert_eq!(texts[4].0, 404);
    });
}

#[test]
fn a_body_that_ends_with_the_connection_passes() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let proxy = Proxy::start(io, &forwarding(&origin));
        let mut client = proxy.client();
        assert_eq!(client.get("/until-close").text(), "until the end");
        assert_eq!(proxy.get("/name").text(), "one");
    });
}

#[test]
fn what_cannot_be_forwarded_is_answered_for() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let config = Config::new()
            .to("/dead", "dead")
            .route("prefix: /silent", "route: {cluster: origin, timeout: 0.2s}")
            .route("prefix: /teapot", "direct_response: {status: 418, body: {inline_string: short and stout}}")
            .cluster("origin", origin.address)
            .cluster("dead", refusing("127.0.0.1"));
        let proxy = Proxy::start(io, &config);
        for (path, status, part) in [
            ("/direct", 200, "direct"),
            ("/teapot", 418, "short and stout"),
            ("/none", 404, ""),
            ("/dead", 503, "upstream connect error"),
            ("/silent", 504, "timeout"),
        ] {
            let response = proxy.get(path);
            assert_eq!(response.status(), status, "{path}");
            assert!(response.text().contains(part), "{path}: {}", response.text());
        }
        for wrong in [
            "nonsense\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nBad Name: 1\r\n\r\n",
        ] {
            let mut client = proxy.client();
            client.send(wrong);
            assert_eq!(client.response(false).status(), 400, "{wrong:?}");
            assert!(client.ended(), "{wrong:?}");
        }
        assert_eq!(proxy.stat("http.main.no_route"), 1);
        assert_eq!(proxy.stat("http.main.rq_direct_response"), 2);
        assert_eq!(proxy.stat("cluster.origin.upstream_rq_timeout"), 1);
        assert!(proxy.stat("cluster.dead.upstream_cx_connect_fail") >= 1);
        assert_eq!(proxy.stat("http.main.downstream_cx_protocol_error"), 4);
    });
}

/// The origin may close a pooled connection at the very moment of its reuse; the client must not see it.
#[test]
fn a_reused_connection_that_dies_is_replaced() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let proxy = Proxy::start(io, &forwarding(&origin));
        let mut client = proxy.client();
        for _ in 0..3 {
            let response = client.get("/die-if-reused");
            assert_eq!((response.status(), response.text().as_str()), (200, "one"));
        }
        assert_eq!(proxy.stat("cluster.origin.upstream_cx_total"), 3);
    });
}

#[test]
fn an_open_circuit_breaker_answers_503_and_closes_again() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let breakers = "circuit_breakers: {thresholds: [{max_requests: 1}]}";
        let config = Config::new().to("/", "origin").cluster_with("origin", origin.address, breakers);
        let proxy = Proxy::start(io, &config);
        let mut first = proxy.client();
        first.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
        origin.request();
        let refused = proxy.get("/name");
        assert_eq!(refused.status(), 503);
        assert_eq!(proxy.stat("cluster.origin.upstream_rq_pending_overflow"), 1);
        origin.release();
        assert_eq!(first.response(false).text(), "one");
        assert_eq!(proxy.get("/name").text(), "one");
    });
}

#[test]
fn weights_share_requests_out() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let weighted = "route: {weighted_clusters: {clusters: [{name: one, weight: 9}, {name: two, weight: 1}, {name: gone, weight: 0}]}}";
        let config = Config::new()
            .route("prefix: /", weighted)
            .cluster("one", one.address)
            .cluster("two", two.address)
            .cluster("gone", refusing("127.0.0.1"));
        let proxy = Proxy::start(io, &config);
        let mut client = proxy.client();
        let names: Vec<_> = (0..400).map(|_| client.get("/name").text()).collect();
        let twos = names.iter().filter(|name| *name == "two").count();
        assert!(names.iter().all(|name| name == "one" || name == "two"));
        // 40 are expected; 5 and 100 are more than five standard deviations away.
        assert!((5..=100).contains(&twos), "{twos} of 400");
    });
}

/// Answers with a head at once, and with a body when it has the request's.
fn head_first(mut connection: Client) {
    while connection.until(b"\r\n\r\n").is_ok() {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        if connection.until(b"go").is_err() {
            return;
        }
        connection.send("hello");
    }
}

/// Guards against a core that a few slow bodies starve: the worst kernel leaves it two receive chunks in all.
#[test]
fn a_body_that_is_awaited_holds_no_chunk() {
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &Config::new().to("/", "origin").cluster("origin", served_by(head_first)));
        let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n");
            client.until(b"\r\n\r\n").expect("a head");
        }
        wait_for("all chunks at home", || {
            let workers: Value = serde_json::from_str(&proxy.admin("GET", "/workers").text()).ok()?;
            let figures = &workers["workers"][0]["loop"];
            (figures["chunks_total"].as_u64()? == figures["chunks_free"].as_u64()?).then_some(())
        });
        for client in &mut clients {
            client.send("go");
            assert_eq!(client.bytes(5), b"hello");
        }
    });
}

#[test]
fn many_clients_on_two_workers() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let proxy = Proxy::start_with(io, &forwarding(&origin), &["--concurrency", "2"]);
        let mut clients: Vec<_> = (0..50).map(|_| proxy.client()).collect();
        for _ in 0..4 {
            for client in &mut clients {
                client.send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello");
            }
            for client in &mut clients {
                assert_eq!(client.response(false).text(), "hello");
            }
        }
        assert_eq!(proxy.stat("http.main.downstream_rq_completed"), 200);
    });
}
