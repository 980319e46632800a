//! What a cluster says of HTTP: how often and how long a connection is used, and how large a response's head may be; in its own
//! message, and in the fields that came before it.

use crate::common;
use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::{Origin, served_by};
use crate::common::process::{Proxy, run};

fn typed(fields: &str) -> String {
    format!(
        "typed_extension_protocol_options: {{o: {{'@type': \
         type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, {fields}}}}}"
    )
}

fn explicit(common: &str) -> String {
    typed(&format!("explicit_http_config: {{http_protocol_options: {{}}}}, common_http_protocol_options: {{{common}}}"))
}

#[test]
fn a_connection_carries_as_many_requests_as_it_may() {
    let follows = "use_downstream_protocol_config: {http_protocol_options: {}}, common_http_protocol_options: \
                   {max_requests_per_connection: 2}";
    for fields in [
        explicit("max_requests_per_connection: 2"),
        typed(follows),
        "max_requests_per_connection: 2".to_owned(),
        "common_http_protocol_options: {max_requests_per_connection: 2}".to_owned(),
        // The newer one counts.
        "max_requests_per_connection: 9\n    ".to_owned() + &explicit("max_requests_per_connection: 2"),
    ] {
        on_each_driver(|io| {
            let origin = Origin::start("o");
            let proxy = Proxy::start(io, &Config::new().to("/", "c").cluster_with("c", origin.address, &fields));
            let mut client = proxy.client();
            for _ in 0..5 {
                assert_eq!(client.get("/name").text(), "o", "{fields}");
            }
            let counted = ["upstream_cx_total", "upstream_cx_max_requests", "upstream_cx_destroy_local"];
            assert_eq!(counted.map(|name| proxy.stat(&format!("cluster.c.{name}"))), [3, 2, 2], "{fields}");
        });
    }
}

#[test]
fn a_connection_grows_no_older_than_it_may() {
    on_each_driver(|io| {
        let origin = Origin::start("o");
        let fields = explicit("max_connection_duration: 0.05s, idle_timeout: 0s");
        let proxy = Proxy::start(io, &Config::new().to("/", "c").cluster_with("c", origin.address, &fields));
        let mut client = proxy.client();
        assert_eq!(client.get("/name").text(), "o");
        // Nobody asks for it: it is closed all the same.
        proxy.wait_stat("cluster.c.upstream_cx_max_duration_reached", |count| count == 1);
        proxy.wait_stat("cluster.c.upstream_cx_active", |count| count == 0);
        assert_eq!(client.get("/name").text(), "o");
        let counted = ["upstream_cx_total", "upstream_cx_idle_timeout"];
        assert_eq!(counted.map(|name| proxy.stat(&format!("cluster.c.{name}"))), [2, 0]);
    });
}

#[test]
fn a_connection_that_nobody_needs_is_closed() {
    for fields in [explicit("idle_timeout: 0.05s"), "common_http_protocol_options: {idle_timeout: 0.05s}".to_owned()] {
        on_each_driver(|io| {
            let origin = Origin::start("o");
            let proxy = Proxy::start(io, &Config::new().to("/", "c").cluster_with("c", origin.address, &fields));
            assert_eq!(proxy.get("/name").text(), "o");
            proxy.wait_stat("cluster.c.upstream_cx_idle_timeout", |count| count == 1);
            proxy.wait_stat("cluster.c.upstream_cx_active", |count| count == 0);
        });
    }
}

/// Answers with a head of so many fields, or so many bytes, as the path says.
fn heads(mut connection: Client) {
    while let Ok(Some(request)) = connection.read(false, false) {
        let mut asked = request.line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').split('-');
        let (kind, count) = (asked.next().unwrap_or_default(), asked.next().and_then(|count| count.parse().ok()));
        let count: usize = count.unwrap_or_default();
        let mut head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n".to_owned();
        match kind {
            "fields" => (1..count).for_each(|_| head += "a: 1\r\n"),
            _ => head += &format!("a: {}\r\n", "x".repeat(count - head.len() - 7)),
        }
        connection.send(head + "\r\n");
    }
}

#[test]
fn a_response_s_head_is_as_large_as_it_may_be() {
    on_each_driver(|io| {
        let limits = explicit("max_headers_count: 5, max_response_headers_kb: 1");
        let origin = served_by(heads);
        let config = Config::new().to("/fields-9", "d").to("/bytes-9", "d").to("/", "c");
        let proxy = Proxy::start(io, &config.cluster_with("c", origin, &limits).cluster("d", origin));
        for (path, status) in [
            ("/fields-5", 200),
            ("/bytes-1000", 200),
            ("/fields-6", 502),
            ("/bytes-1100", 502),
            ("/fields-99", 200),
            ("/bytes-9000", 200),
        ] {
            assert_eq!(proxy.get(path).status(), status, "{path}");
        }
        assert_eq!(proxy.stat("cluster.c.upstream_cx_protocol_error"), 2);
    });
}

/// What Envoy 1.40 was seen to do: each try has its time, a request that was not complete is told 408.
#[test]
fn a_try_takes_no_longer_than_it_may() {
    fn begins(mut client: Client) {
        while let Ok(Some(request)) = client.read(false, false) {
            if request.line.starts_with("GET /begins ") {
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab");
            }
        }
    }
    let again =
        "route: {cluster: c, retry_policy: {retry_on: reset, num_retries: 1, retry_back_off: {base_interval: 0.001s}}}";
    for fields in
        [explicit("max_stream_duration: 0.2s"), "common_http_protocol_options: {max_stream_duration: 0.2s}".into()]
    {
        on_each_driver(|io| {
            let config = Config::new().route("prefix: /again", again).to("/", "c");
            let proxy = Proxy::start(io, &config.cluster_with("c", served_by(begins), &fields));
            for (request, status, tries) in [
                ("GET /silent HTTP/1.1\r\nHost: test\r\n\r\n", 504, 1),
                ("GET /again HTTP/1.1\r\nHost: test\r\n\r\n", 504, 3),
                ("POST /part HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nab", 408, 4),
            ] {
                let mut client = proxy.client();
                let response = client.send(request).response(false);
                assert_eq!(
                    (response.status(), response.text().as_str()),
                    (status, "upstream max stream duration reached")
                );
                assert_eq!(proxy.stat("cluster.c.upstream_rq_max_duration_reached"), tries, "{request}");
            }
            let mut client = proxy.client();
            client.send("GET /begins HTTP/1.1\r\nHost: test\r\n\r\n");
            assert!(client.read(false, true).is_err(), "a part of the body, and the end");
            assert_eq!(proxy.stat("cluster.c.upstream_rq_max_duration_reached"), 5);
            assert_eq!(proxy.stat("cluster.c.upstream_rq_timeout"), 0);
        });
    }
}

#[test]
fn what_cannot_count_is_refused() {
    let origin = ([127, 0, 0, 1], 1).into();
    let folder = common::process::TempDir::new();
    for (fields, problem) in [
        (
            "common_http_protocol_options: {idle_timeout: 1s}\n    ".to_owned() + &explicit(""),
            "clusters[0].common_http_protocol_options: without effect beside typed_extension_protocol_options",
        ),
        (
            typed("auto_config: {http_protocol_options: {}}"),
            "auto_config: needs transport sockets that speak ALPN, each of them",
        ),
        (explicit("max_headers_count: 513"), "at most 512 headers are supported"),
    ] {
        let yaml = Config::new().to("/", "c").cluster_with("c", origin, &fields).yaml();
        let file = folder.rename_over("f.yaml", &yaml);
        let output = run(&["check", "-c", file.to_str().expect("a path of ours")]);
        let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && text.contains(problem), "{problem}: {text}");
    }
}
