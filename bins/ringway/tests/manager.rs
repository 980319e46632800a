//! The HTTP connection manager's options, from the outside: what is made of a request before a route is looked for, and what is said of
//! clients and of ourselves.

use std::io::ErrorKind;

use crate::common::client::{Client, Message};
use crate::common::config::Config;
use crate::common::origin::Origin;
use crate::common::process::Proxy;
use crate::common::{on_each_driver, uninterrupted, wait_for};

/// One request on a connection of its own.
fn ask(proxy: &Proxy, path: &str, host: &str, fields: &str) -> Message {
    proxy.client().send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).response(false)
}

fn forwarding(origin: &Origin) -> Config {
    Config::new().to("/", "origin").cluster("origin", origin.address)
}

/// Statuses and paths as Envoy 1.40 has them; the model's own tests have many more.
#[test]
fn paths_are_normalised_before_routes_see_them() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let config = Config::new()
            .manager("normalize_path: true")
            .manager("merge_slashes: true")
            .manager("path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD")
            .route("prefix: /secret", "direct_response: {status: 403}")
            .to("/", "origin")
            .cluster("origin", origin.address);
        let proxy = Proxy::start(io, &config);
        for (path, expect) in [
            ("/a/./b/../%63?q=/../x", "/a/c?q=/../x"),
            ("/a%2f..\\b//c", "/b/c"),
            ("/plain?q", "/plain?q"),
            ("/a\"b|c", "/a%22b%7Cc"),
        ] {
            assert_eq!(ask(&proxy, path, "h.test", "").status(), 200, "{path}");
            assert_eq!(origin.request().line, format!("GET {expect} HTTP/1.1"), "{path}");
        }
        for path in ["/x/../secret", "/%73ecret", "//secret", "/x%2f..%5csecret", "/..;a=b/secret"] {
            assert_eq!(ask(&proxy, path, "h.test", "").status(), 403, "{path}");
        }
        let mut client = proxy.client();
        assert_eq!(client.get("/a%00b").status(), 400);
        assert!(client.ended());
        assert_eq!(origin.requests(), 0);
        assert_eq!(proxy.stat("http.main.downstream_rq_failed_path_normalization"), 1);
    });
}

#[test]
fn escaped_slashes_are_refused_or_redirected() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let action = |action: &str| forwarding(&origin).manager(&format!("path_with_escaped_slashes_action: {action}"));
        let proxy = Proxy::start(io, &action("REJECT_REQUEST"));
        assert_eq!(ask(&proxy, "/a%2Fb", "h.test", "").status(), 400);
        assert_eq!(proxy.stat("http.main.downstream_rq_failed_path_normalization"), 1);
        let proxy = Proxy::start(io, &action("UNESCAPE_AND_REDIRECT"));
        let mut client = proxy.client();
        let answer = client.get("/a%5cb%2fc?%2f");
        assert_eq!((answer.status(), answer.header("location")), (307, Some("/a\\b/c?%2f")));
        assert_eq!(client.get("/name").status(), 200);
        // It would not follow.
        let answer = ask(&proxy, "/a%2fb", "h.test", "Content-Type: application/grpc\r\n");
        assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some("13")));
        assert_eq!(proxy.stat("http.main.downstream_rq_redirected_with_normalized_path"), 1);
        assert_eq!(origin.requests(), 1);
    });
}

#[test]
fn a_bad_request_that_could_be_read_ends_the_connection_unless_it_is_to_go_on() {
    on_each_driver(|io| {
        let bad = Config::new().manager("normalize_path: true").route("prefix: /bad", "direct_response: {status: 400}");
        let proxy = Proxy::start(io, &bad);
        for path in ["/%00", "/bad"] {
            let mut client = proxy.client();
            let answer = client.get(path);
            assert_eq!((answer.status(), answer.header("connection")), (400, Some("close")), "{path}");
            assert!(client.ended(), "{path}");
        }
        let proxy = Proxy::start(io, &bad.manager("stream_error_on_invalid_http_message: true"));
        let mut client = proxy.client();
        for path in ["/%00", "/bad"] {
            assert_eq!(client.get(path).status(), 400, "{path}");
        }
        assert_eq!(client.get("/direct").status(), 200);
        // What cannot be framed ends it all the same.
        client.send("GET /direct HTTP/1.1\r\nHost : a\r\n\r\n");
        assert_eq!(client.response(false).status(), 400);
        assert!(client.ended());
    });
}

#[test]
fn ports_and_dots_of_hosts_are_taken_off() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let check = |manager: &[&str], rows: &[(&str, &str)]| {
            let config = manager.iter().fold(forwarding(&origin), |config, field| config.manager(field));
            let proxy = Proxy::start(io, &config);
            let own = proxy.address.port().to_string();
            for (host, expect) in rows {
                let [host, expect] = [host, expect].map(|text| text.replace("PORT", &own));
                assert_eq!(ask(&proxy, "/name", &host, "").status(), 200, "{host}");
                assert_eq!(origin.request().header("host"), Some(&*expect), "{manager:?} {host}");
            }
        };
        check(&["strip_any_host_port: true"], &[("a:80", "a"), ("[::1]:80", "[::1]"), ("a", "a"), ("a.:1", "a.")]);
        check(&["strip_matching_host_port: true"], &[("a:PORT", "a"), ("a:1", "a:1")]);
        let both = ["strip_trailing_host_dot: true", "strip_matching_host_port: true"];
        check(&both, &[("a.", "a"), ("a.:PORT", "a"), ("a.:1", "a:1")]);
    });
}

#[test]
fn names_with_underscores_are_refused_or_left_out() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let config = |action: &str| {
            let options = format!("common_http_protocol_options: {{headers_with_underscores_action: {action}}}");
            Config::new()
                .manager(&options)
                .route("prefix: /, headers: [{name: x_a, present_match: true}]", "direct_response: {status: 403}")
                .to("/", "origin")
                .cluster("origin", origin.address)
        };
        let fields = "X-A: 1\r\nX_A: 2\r\n_: 3\r\nX-B: 4\r\n";
        assert_eq!(ask(&Proxy::start(io, &config("ALLOW")), "/name", "h", fields).status(), 403);
        let proxy = Proxy::start(io, &config("REJECT_REQUEST"));
        let mut client = proxy.client();
        client.send(format!("GET /name HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        assert_eq!(client.response(false).status(), 400);
        assert!(client.ended());
        assert_eq!(proxy.stat("http1.requests_rejected_with_underscores_in_headers"), 1);
        assert_eq!(proxy.stat("http.main.downstream_cx_protocol_error"), 1);
        let proxy = Proxy::start(io, &config("DROP_HEADER"));
        assert_eq!(ask(&proxy, "/name", "h", fields).status(), 200);
        let request = origin.request();
        for (name, value) in [("x-a", Some("1")), ("x_a", None), ("_", None), ("x-b", Some("4"))] {
            assert_eq!(request.header(name), value, "{name}");
        }
        assert_eq!(proxy.stat("http1.dropped_headers_with_underscores"), 2);
    });
}

#[test]
fn a_request_has_so_many_fields_and_no_more() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        for (options, max) in [("", 100), ("max_headers_count: 5", 5), ("max_headers_count: 300", 300)] {
            let proxy =
                Proxy::start(io, &forwarding(&origin).manager(&format!("common_http_protocol_options: {{{options}}}")));
            // Host is one.
            for (count, status) in [(max - 1, 200), (max, 431)] {
                assert_eq!(
                    ask(&proxy, "/name", "h", &"X-A: 1\r\n".repeat(count)).status(),
                    status,
                    "{options} {count}"
                );
            }
        }
    });
}

/// A request that is not complete, and one that no origin answers.
const PART_OF_A_HEAD: &str = "GET /silent HTTP/1.1\r\nHost";
const PART_OF_A_BODY: &str = "POST /silent HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc";
const WHOLE: &str = "GET /silent HTTP/1.1\r\nHost: h\r\n\r\n";

/// Each status, text and statistic as Envoy 1.40 has them.
#[test]
fn a_request_has_so_much_time() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let check = |manager: &str, request: &str, status: u16, text: &str, stat: &str| {
            let proxy = Proxy::start(io, &forwarding(&origin).manager(manager));
            let mut client = proxy.client();
            client.send(request);
            let answer = client.response(false);
            assert_eq!((answer.status(), answer.text().as_str()), (status, text), "{manager} {request:?}");
            assert_eq!(proxy.stat(&format!("http.main.{stat}")), 1, "{manager} {request:?}");
        };
        let whole = "request_timeout: 0.1s";
        for request in [PART_OF_A_HEAD, PART_OF_A_BODY] {
            check(whole, request, 408, "request timeout", "downstream_rq_timeout");
        }
        let head = "request_headers_timeout: 0.1s";
        check(head, PART_OF_A_HEAD, 408, "request header timeout", "downstream_rq_header_timeout");
        let stream = "common_http_protocol_options: {max_stream_duration: 0.1s}";
        let text = "downstream duration timeout";
        for (request, status) in [(PART_OF_A_HEAD, 408), (PART_OF_A_BODY, 408), (WHOLE, 504)] {
            check(stream, request, status, text, "downstream_rq_max_duration_reached");
        }
        // Neither counts once the request is complete, and a route can turn the last one off. Its own timeout then counts for nothing, as in Envoy.
        for manager in [whole, head, stream] {
            let route = "route: {cluster: origin, timeout: 0.1s, idle_timeout: 0.3s, max_stream_duration: {max_stream_duration: 0s}}";
            let config = Config::new().manager(manager).route("prefix: /", route).cluster("origin", origin.address);
            let answer = Proxy::start(io, &config).get("/silent");
            assert_eq!((answer.status(), answer.text().as_str()), (504, "stream timeout"), "{manager}");
        }
    });
}

/// Opens connections until one does what it has to: on a busy host one may be at its end before its first request is read. All of them are counted.
#[track_caller]
fn in_time(proxy: &Proxy, opened: &mut u64, is_in_time: impl Fn(&mut Client) -> bool) -> Client {
    const TRIES_MAX: usize = 20;
    for _ in 0..TRIES_MAX {
        let mut client = proxy.client();
        *opened += 1;
        if is_in_time(&mut client) {
            return client;
        }
    }
    panic!("none of {TRIES_MAX} connections was in time");
}

/// Whether the peer has ended a connection on which nothing has come, without waiting for that.
fn is_at_its_end(client: &Client) -> bool {
    client.socket().set_nonblocking(true).expect("a socket");
    let came = uninterrupted(|| client.socket().peek(&mut [0]));
    client.socket().set_nonblocking(false).expect("a socket");
    !matches!(came, Ok(1..)) && !came.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Whether a request is answered as if the connection went on.
fn goes_on(client: &mut Client) -> bool {
    client.try_send(b"GET /name HTTP/1.1\r\nHost: h\r\n\r\n");
    let answer = client.read(false, true).ok().flatten();
    answer.is_some_and(|answer| answer.header("connection").is_none())
}

#[test]
fn a_connection_has_so_much_time() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let options = "common_http_protocol_options: {max_connection_duration: 1s}";
        let config = forwarding(&origin).manager(options).manager("drain_timeout: 0.1s");
        let proxy = Proxy::start(io, &config);
        let mut opened = 0;
        let mut busy = in_time(&proxy, &mut opened, |client| {
            client.try_send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
            wait_for("the request at the origin, or the end of its connection", || match origin.requests() {
                0 => is_at_its_end(client).then_some(false),
                _ => Some(true),
            })
        });
        origin.request();
        // Opened later, and at its end: so the first one is, too.
        assert!(in_time(&proxy, &mut opened, |_| true).ended());
        origin.release();
        let answer = busy.response(false);
        assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
        assert!(busy.ended());
        assert!(in_time(&proxy, &mut opened, goes_on).ended());
        proxy.wait_stat("http.main.downstream_cx_max_duration_reached", |count| count == opened);
        assert_eq!(proxy.stat("http.main.downstream_cx_idle_timeout"), 0);
        // Only a response ends one that had a request.
        let proxy =
            Proxy::start(io, &forwarding(&origin).manager(options).manager("http1_safe_max_connection_duration: true"));
        let mut idle = in_time(&proxy, &mut opened, goes_on);
        assert!(proxy.client().ended());
        assert_eq!(idle.get("/name").header("connection"), Some("close"));
        assert!(idle.ended());
    });
}

#[test]
fn a_connection_has_so_many_requests() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let options = "common_http_protocol_options: {max_requests_per_connection: 2}";
        let proxy = Proxy::start(io, &forwarding(&origin).manager(options));
        for path in ["/name", "/direct", "/nowhere/else"] {
            let mut client = proxy.client();
            client.send("GET /name HTTP/1.1\r\nHost: h\r\n\r\n");
            client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").repeat(2));
            assert_eq!(client.response(false).header("connection"), None);
            assert_eq!(client.response(false).header("connection"), Some("close"));
            assert!(client.ended());
        }
        assert_eq!(proxy.stat("http.main.downstream_cx_max_requests_reached"), 3);
    });
}

#[test]
fn an_idle_connection_ends_and_a_refused_one_is_not_waited_for() {
    on_each_driver(|io| {
        let config = Config::new()
            .manager("common_http_protocol_options: {idle_timeout: 1s}")
            .manager("delayed_close_timeout: 0.1s");
        let proxy = Proxy::start(io, &config);
        assert!(proxy.client().ended());
        let mut served = proxy.client();
        assert_eq!(served.get("/direct").status(), 200);
        assert!(served.ended());
        assert_eq!(proxy.stat("http.main.downstream_cx_idle_timeout"), 2);
        let mut refused = proxy.client();
        assert_eq!(refused.send("nonsense\r\n\r\n").response(false).status(), 400);
        proxy.wait_stat("http.main.downstream_cx_delayed_close_timeout", |count| count == 1);
    });
}

/// However little may be queued, bodies pass whole both ways; how much is queued the engine's own test tells.
#[test]
fn a_small_buffer_limit_stops_no_body() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let limit = "per_connection_buffer_limit_bytes: 1000";
        let config = Config::new().listener(limit).to("/", "origin").cluster_with(
            "origin",
            origin.address,
            &format!("connect_timeout: 5s\n    {limit}"),
        );
        let proxy = Proxy::start(io, &config);
        let body: Vec<u8> = (0..300_000).map(|at| (at % 251) as u8).collect();
        let mut client = proxy.client();
        for path in ["/echo", "/echo-chunked"] {
            client
                .send(format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()))
                .send(&body);
            let answer = client.response(false);
            assert_eq!((answer.status(), answer.body == body), (200, true), "{path}");
        }
    });
}

#[test]
fn fields_of_ours_come_from_ours_alone() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let fields = "X-Int: 1\r\nx-two: 2\r\nX-Forwarded-Client-Cert: forged\r\n";
        let check = |config: Config, also: &str, status: u16, expect: [Option<&str>; 2]| {
            let proxy = Proxy::start(io, &config.configuration("internal_only_headers: [x-int, X-Two]"));
            assert_eq!(ask(&proxy, "/name", "h", &format!("{fields}{also}")).status(), status);
            if status == 200 {
                let request = origin.request();
                let found = ["x-int", "x-forwarded-client-cert"].map(|name| request.header(name));
                assert_eq!(found, expect);
                assert_eq!(request.header("x-two").is_some(), expect[0].is_some());
            }
        };
        let seen = |config: Config| {
            config
                .route("prefix: /, headers: [{name: x-int, present_match: true}]", "direct_response: {status: 403}")
                .to("/", "origin")
                .cluster("origin", origin.address)
        };
        let ours = "internal_address_config: {cidr_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]}";
        check(forwarding(&origin), "", 200, [None, None]);
        check(seen(Config::new()), "", 200, [None, None]);
        // A route that changes the head takes another way to the encoder.
        let changed = forwarding(&origin).host("request_headers_to_add: [{header: {key: x-more, value: a}}]");
        check(changed, "", 200, [None, None]);
        let inside = || Config::new().manager("use_remote_address: true").manager(ours);
        check(seen(inside()), "", 403, [None, None]);
        check(seen(inside()), "X-Forwarded-For: 1.2.3.4\r\n", 200, [None, None]);
        let kept = forwarding(&origin).manager("forward_client_cert_details: ALWAYS_FORWARD_ONLY");
        check(kept, "", 200, [None, Some("forged")]);
        check(forwarding(&origin).manager("forward_client_cert_details: FORWARD_ONLY"), "", 200, [None, None]);
    });
}

#[test]
fn what_is_said_of_the_connection_and_of_ourselves() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let seen = |manager: &[&str], fields: &str| {
            let config = manager.iter().fold(forwarding(&origin), |config, field| config.manager(field));
            let proxy = Proxy::start(io, &config);
            assert_eq!(ask(&proxy, "/name", "h", fields).status(), 200, "{manager:?}");
            (origin.request(), proxy.address.port().to_string())
        };
        let (request, port) = seen(&["append_x_forwarded_port: true", "add_user_agent: true"], "User-Agent:\r\n");
        assert_eq!(request.header("x-forwarded-port"), Some(&*port));
        assert_eq!(request.header("user-agent"), Some("tests"));
        assert_eq!(request.header("x-envoy-downstream-service-cluster"), Some("tests"));
        assert_eq!(request.header("x-envoy-downstream-service-node"), Some("node-1"));
        let told = "X-Forwarded-Port: 1\r\nUser-Agent: u\r\nX-Envoy-Downstream-Service-Node: forged\r\n";
        let (request, _) = seen(&["append_x_forwarded_port: true", "add_user_agent: true"], told);
        assert_eq!(request.header("x-forwarded-port"), Some("1"));
        assert_eq!(request.header("user-agent"), Some("u"));
        assert_eq!(request.header("x-envoy-downstream-service-node"), Some("node-1"));
        let edge = ["append_x_forwarded_port: true", "use_remote_address: true"];
        let (request, port) = seen(&edge, told);
        assert_eq!(request.header("x-forwarded-port"), Some(&*port));
        let mapped = ["represent_ipv4_remote_address_as_ipv4_mapped_ipv6: true", "use_remote_address: true"];
        let (request, _) = seen(&mapped, "X-Forwarded-For: 1.2.3.4\r\n");
        assert_eq!(request.header("x-forwarded-for"), Some("1.2.3.4,::ffff:127.0.0.1"));
        let (request, _) =
            seen(&["scheme_header_transformation: {scheme_to_overwrite: https}"], "X-Forwarded-Proto: http\r\n");
        assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    });
}

#[test]
fn who_comes_from_outside_is_sent_to_tls() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let ours = "internal_address_config: {cidr_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]}";
        let config =
            forwarding(&origin).manager("use_remote_address: true").manager(ours).host("require_tls: EXTERNAL_ONLY");
        let proxy = Proxy::start(io, &config);
        assert_eq!(ask(&proxy, "/name", "h", "").status(), 200);
        let answer = ask(&proxy, "/name", "h", "X-Forwarded-For: 1.2.3.4\r\n");
        assert_eq!((answer.status(), answer.header("location")), (301, Some("https://h/name")));
    });
}
