//! What a cluster's file says of HTTP/2 towards its endpoints, seen by them: how often, how long and by how many streams a connection is
//! used, how large heads may be, and what an endpoint may not do.

use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::frames::{
    ACK, CANCEL, DATA, END_STREAM, Frame, Frames, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use crate::common::on_each_driver;
use crate::common::origin::served_by;
use crate::common::process::Proxy;

/// The options of HTTP/2, and those of HTTP whatever its version.
fn typed(options: &str, common: &str) -> String {
    format!(
        "typed_extension_protocol_options: {{http: {{'@type': \
         type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, common_http_protocol_options: \
         {{{common}}}, explicit_http_config: {{http2_protocol_options: {{{options}}}}}}}}}"
    )
}

fn start(io: &str, origin: fn(Client), fields: &str) -> Proxy {
    Proxy::start(io, &Config::new().to("/", "c").cluster_with("c", served_by(origin), fields))
}

/// Reads to the end; does with each stream what `serve` says once its request is there. Answers PINGs.
fn each_request(client: Client, serve: fn(&mut Frames, u32)) {
    let Some(mut frames) = Frames::accept(client) else { return };
    while let Some(Frame { kind, flags, stream, payload }) = frames.next() {
        match kind {
            HEADERS | DATA if flags & END_STREAM > 0 => serve(&mut frames, stream),
            PING if flags & ACK == 0 => {
                frames.send(PING, ACK, 0, &payload);
            }
            _ => {}
        }
    }
}

/// Answers with 200 and a body.
fn good(client: Client) {
    each_request(client, |frames, stream| {
        frames.head(stream, &[(":status", "200")], false).send(DATA, END_STREAM, stream, b"good");
    });
}

#[test]
fn a_connection_carries_as_many_requests_as_it_may() {
    for fields in [
        typed("", "max_requests_per_connection: 2"),
        "http2_protocol_options: {}\n    max_requests_per_connection: 2".to_owned(),
    ] {
        on_each_driver(|io| {
            let proxy = start(io, good, &fields);
            let mut client = proxy.client();
            for _ in 0..5 {
                assert_eq!(client.get("/").text(), "good", "{fields}");
            }
            let counted = ["upstream_cx_total", "upstream_cx_http2_total", "upstream_cx_max_requests"];
            assert_eq!(counted.map(|name| proxy.stat(&format!("cluster.c.{name}"))), [3, 3, 2], "{fields}");
        });
    }
}

#[test]
fn a_stream_takes_no_longer_than_it_may() {
    on_each_driver(|io| {
        let proxy = start(io, silent, &typed("", "max_stream_duration: 0.05s"));
        assert_eq!(proxy.client().get("/").status(), 504);
        let counted = ["upstream_rq_max_duration_reached", "http2.tx_reset", "upstream_cx_active"];
        assert_eq!(counted.map(|name| proxy.stat(&format!("cluster.c.{name}"))), [1, 1, 1]);
    });
}

#[test]
fn an_idle_connection_ends() {
    on_each_driver(|io| {
        let proxy = start(io, good, &typed("", "idle_timeout: 0.05s"));
        assert_eq!(proxy.client().get("/").text(), "good");
        proxy.wait_stat("cluster.c.upstream_cx_idle_timeout", |count| count == 1);
        proxy.wait_stat("cluster.c.upstream_cx_active", |count| count == 0);
        assert_eq!(proxy.client().get("/").text(), "good");
        assert_eq!(proxy.stat("cluster.c.upstream_cx_total"), 2);
    });
}

/// Two requests under way, of which a connection may have one.
#[test]
fn no_more_streams_are_open_than_the_file_says() {
    for (options, connections) in [("max_concurrent_streams: 1", 2), ("max_concurrent_streams: 2", 1)] {
        on_each_driver(|io| {
            let proxy = start(io, silent, &typed(options, ""));
            let mut clients = [proxy.client(), proxy.client()];
            for (at, client) in clients.iter_mut().enumerate() {
                client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
                proxy.wait_stat("cluster.c.http2.streams_active", |count| count == at as u64 + 1);
            }
            assert_eq!(proxy.stat("cluster.c.upstream_cx_active"), connections, "{options}");
        });
    }
}

/// Takes requests and never answers.
fn silent(client: Client) {
    each_request(client, |_, _| {});
}

#[test]
fn heads_are_no_larger_than_the_file_says() {
    fn large(client: Client) {
        each_request(client, |frames, stream| {
            let value = "v".repeat(100);
            let names: Vec<String> = (0..20).map(|at| format!("x-{at}")).collect();
            let fields = names.iter().map(|name| (name.as_str(), value.as_str()));
            let head: Vec<_> = [(":status", "200")].into_iter().chain(fields).collect();
            frames.head(stream, &head, true);
        });
    }
    for (common, expect) in [
        ("", 200),
        ("max_response_headers_kb: 1", 502),
        ("max_response_headers_kb: 4", 200),
        // Pseudo-fields count, as in Envoy.
        ("max_headers_count: 20", 502),
        ("max_headers_count: 21", 200),
    ] {
        on_each_driver(|io| {
            let proxy = start(io, large, &typed("", common));
            assert_eq!(proxy.client().get("/").status(), expect, "{common}");
        });
    }
}

/// What a worker keeps for heads is of no cluster: one that allows few fields leaves no bound for another.
#[test]
fn the_bound_of_one_cluster_is_not_anothers() {
    fn large(client: Client) {
        each_request(client, |frames, stream| {
            let names: Vec<String> = (0..30).map(|at| format!("x-{at}")).collect();
            let fields = names.iter().map(|name| (name.as_str(), "v"));
            let head: Vec<_> = [(":status", "200")].into_iter().chain(fields).collect();
            frames.head(stream, &head, true);
        });
    }
    fn small(client: Client) {
        each_request(client, |frames, stream| {
            frames.head(stream, &[(":status", "200")], true);
        });
    }
    on_each_driver(|io| {
        let config = Config::new()
            .to("/small", "small")
            .to("/", "large")
            .cluster_with("small", served_by(small), &typed("", "max_headers_count: 5"))
            .cluster_with("large", served_by(large), &typed("", ""));
        let proxy = Proxy::start(io, &config);
        let mut client = proxy.client();
        for path in ["/small", "/", "/small", "/small", "/small", "/", "/"] {
            assert_eq!(client.get(path).status(), 200, "{path}");
        }
    });
}

#[test]
fn a_malformed_response_ends_what_the_file_says() {
    fn malformed(client: Client) {
        each_request(client, |frames, stream| {
            frames.head(stream, &[(":status", "200"), ("Upper", "a")], true);
        });
    }
    for (options, active) in [("", 1), ("override_stream_error_on_invalid_http_message: false", 0)] {
        on_each_driver(|io| {
            let proxy = start(io, malformed, &typed(options, ""));
            assert_eq!(proxy.client().get("/").status(), 502, "{options}");
            proxy.wait_stat("cluster.c.upstream_cx_active", |count| count == active);
            assert_eq!(proxy.stat("cluster.c.http2.rx_messaging_error"), 1, "{options}");
        });
    }
}

/// Answers in the version in which it is spoken to, with its name and the number of the request on the connection.
fn either(mut client: Client) {
    if client.peek(4) != b"PRI " {
        for count in 1.. {
            let Ok(Some(_)) = client.read(false, false) else { return };
            let body = format!("HTTP/1 {count}");
            client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    }
    each_request(client, |frames, stream| {
        let body = format!("HTTP/2 {}", stream.div_ceil(2));
        frames.head(stream, &[(":status", "200")], false).send(DATA, END_STREAM, stream, body.as_bytes());
    });
}

/// Guards connections of a version that the file no longer asks for, and streams under bounds that it no longer has. What is no bound
/// of the codec's leaves connections alone.
#[test]
fn a_reload_brings_another_version_and_other_options() {
    on_each_driver(|io| {
        let origin = served_by(either);
        let config = |fields: &str| Config::new().to("/", "c").cluster_with("c", origin, fields);
        let mut proxy = Proxy::start(io, &config("connect_timeout: 5s"));
        let mut client = proxy.client();
        let mut generation = 1;
        for (fields, answers) in [
            ("connect_timeout: 6s".to_owned(), ["HTTP/1 1", "HTTP/1 2"]),
            (typed("", ""), ["HTTP/2 1", "HTTP/2 2"]),
            (typed("", "idle_timeout: 5s"), ["HTTP/2 3", "HTTP/2 4"]),
            (typed("max_concurrent_streams: 5", ""), ["HTTP/2 1", "HTTP/2 2"]),
            (typed("max_concurrent_streams: 5", "max_headers_count: 50"), ["HTTP/2 1", "HTTP/2 2"]),
            ("connect_timeout: 5s".to_owned(), ["HTTP/1 3", "HTTP/1 4"]),
        ] {
            generation += 1;
            proxy.replace(&config(&fields).yaml());
            proxy.line(&format!("generation {generation} in force"));
            for answer in answers {
                assert_eq!(client.get("/").text(), answer, "{fields}");
            }
        }
    });
}

/// Takes the connection and never says anything more.
#[test]
fn a_silent_endpoint_is_asked_and_given_up() {
    fn deaf(client: Client) {
        let Some(mut frames) = Frames::accept(client) else { return };
        while frames.next().is_some() {}
    }
    on_each_driver(|io| {
        let options = "connection_keepalive: {interval: 0.05s, timeout: 0.05s, interval_jitter: {value: 0}}";
        let proxy = start(io, deaf, &typed(options, ""));
        assert!(matches!(proxy.client().get("/").status(), 502 | 503));
        proxy.wait_stat("cluster.c.http2.keepalive_timeout", |count| count == 1);
        proxy.wait_stat("cluster.c.upstream_cx_active", |count| count == 0);
    });
}

#[test]
fn floods_of_endpoints_end_connections_and_are_counted() {
    fn resets(client: Client) {
        each_request(client, |frames, stream| {
            frames.send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        });
    }
    fn empties(client: Client) {
        each_request(client, |frames, stream| {
            frames.head(stream, &[(":status", "200")], false).send(DATA, 0, stream, b"");
        });
    }
    fn priorities(client: Client) {
        each_request(client, |frames, stream| {
            for _ in 0..10 {
                frames.send(PRIORITY, 0, stream, &[0, 0, 0, 0, 16]);
            }
        });
    }
    fn windows(client: Client) {
        each_request(client, |frames, _| {
            for _ in 0..50 {
                frames.send(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes());
            }
        });
    }
    fn settings(client: Client) {
        each_request(client, |frames, _| {
            for _ in 0..1_000 {
                frames.send(SETTINGS, 0, 0, b"");
            }
        });
    }
    type Serve = fn(Client);
    let rows: [(&str, &str, Serve); 5] = [
        ("stream_reset_burst: 3, stream_reset_rate: 0", "reset_flood", resets),
        ("max_consecutive_inbound_frames_with_empty_payload: 0", "inbound_empty_frames_flood", empties),
        ("max_inbound_priority_frames_per_stream: 1", "inbound_priority_frames_flood", priorities),
        ("max_inbound_window_update_frames_per_data_frame_sent: 1", "inbound_window_update_frames_flood", windows),
        ("", "settings_flood", settings),
    ];
    for (options, counter, origin) in rows {
        on_each_driver(|io| {
            let proxy = start(io, origin, &typed(options, ""));
            let counter = format!("cluster.c.http2.{counter}");
            for _ in 0..6 {
                if proxy.stat(&counter) == 0 {
                    let mut client = proxy.client();
                    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
                    // What a client hears of it is the exchange's affair.
                    let _ = client.read(false, true);
                }
            }
            proxy.wait_stat(&counter, |count| count == 1);
        });
    }
}
