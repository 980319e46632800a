//! What a gRPC client is told by ourselves, over HTTP/1: each as Envoy 1.40 answers.

use std::net::SocketAddr;

use crate::common;
use crate::common::client::Message;
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir};

fn dead() -> SocketAddr {
    "127.0.0.1:1".parse().expect("an address")
}

fn config() -> Config {
    let typed = "direct_response: {status: 418, body: {inline_string: x}}\n                response_headers_to_add: [{header: {key: content-type, value: text/html}}, {header: {key: x-a, value: b}}]";
    Config::new()
        .route("path: /text", "direct_response: {status: 200, body: {inline_string: \"di~re%ct\\n\"}}")
        .route("path: /typed", typed)
        .route("path: /redirect", "redirect: {path_redirect: /z}")
        .to("/dead", "dead")
        .cluster("dead", dead())
}

/// A call, as far as a client gets with it over HTTP/1.
fn call(proxy: &Proxy, method: &str, path: &str, content_type: &str) -> Message {
    let fields = format!("Host: h\r\nContent-Type: {content_type}\r\nContent-Length: 0\r\n");
    proxy.client().send(format!("{method} {path} HTTP/1.1\r\n{fields}\r\n")).response(method == "HEAD")
}

const RESET: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure";

#[test]
fn answers_of_our_own_are_trailers_only() {
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &config());
        for (path, status, message, location) in [
            ("/text", "2", Some("di%7Ere%25ct%0A"), None),
            ("/typed", "2", Some("x"), None),
            ("/redirect", "2", None, Some("http://h/z")),
            ("/nowhere", "12", None, None),
            ("/dead", "14", Some(RESET), None),
        ] {
            for content_type in ["application/grpc", "application/grpc+proto"] {
                let answer = call(&proxy, "POST", path, content_type);
                assert_eq!(answer.status(), 200, "{path}");
                assert_eq!(answer.header("content-type"), Some("application/grpc"), "{path}");
                assert_eq!(answer.header("grpc-status"), Some(status), "{path}");
                assert_eq!(answer.header("grpc-message"), message, "{path}");
                assert_eq!(answer.header("location"), location, "{path}");
                assert_eq!((answer.header("content-length"), answer.text()), (Some("0"), String::new()), "{path}");
            }
        }
        let kinds = call(&proxy, "POST", "/typed", "application/grpc").headers;
        assert_eq!(kinds.iter().filter(|(name, _)| name == "content-type").count(), 1);
        // A HEAD gets no text, and who speaks something else gets what it always got.
        assert_eq!(call(&proxy, "HEAD", "/dead", "application/grpc").header("grpc-message"), None);
        for content_type in ["application/grpc-web", "application/json", "application/grpcx"] {
            let answer = call(&proxy, "POST", "/dead", content_type);
            assert_eq!((answer.status(), answer.header("grpc-status"), &*answer.text()), (503, None, RESET));
        }
        // The client is told 200; what the cluster came to is another matter.
        assert_eq!(proxy.stat("cluster.dead.upstream_rq_503"), 6);
    });
}

#[test]
fn a_changed_answer_is_told_the_same_way() {
    const MAPPED: &str = r#"local_reply_config: {mappers: [
            {filter: {status_code_filter: {comparison: {op: EQ, value: {default_value: 404, runtime_key: k}}}},
             status_code: 403, headers_to_add: [{header: {key: x-l, value: "%RESPONSE_CODE%"}}]}],
            body_format: {json_format: {m: "%LOCAL_REPLY_BODY%"}}}"#;
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &config().manager(MAPPED));
        let answer = call(&proxy, "POST", "/dead", "application/grpc");
        let json = format!("{{\"m\":\"{RESET}\"}}");
        assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some("14")));
        assert_eq!(answer.header("grpc-message"), Some(&*json));
        assert_eq!((answer.header("content-type"), &*answer.text()), (Some("application/grpc"), ""));
        let answer = call(&proxy, "POST", "/nowhere", "application/grpc");
        assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some("7")));
        assert_eq!(answer.header("x-l"), Some("404"));
        assert_eq!(call(&proxy, "POST", "/nowhere", "application/json").status(), 403);
    });
}

#[test]
fn the_log_tells_what_the_client_was_told() {
    on_each_driver(|io| {
        let folder = TempDir::new();
        let log = folder.0.join("log");
        let format = "%RESPONSE_CODE% %GRPC_STATUS_NUMBER% %GRPC_STATUS% %RESPONSE_CODE_DETAILS% %BYTES_SENT%\\n";
        let access_log = format!(
            "access_log: [{{name: f, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: \"{}\", log_format: {{text_format_source: {{inline_string: \"{format}\"}}}}}}}}]",
            log.display()
        );
        let soon = ["--concurrency", "1", "--file-flush-interval-msec", "20"];
        let served = config().to("/s", "c").cluster("c", common::origin::served_by(serve));
        let proxy = Proxy::start_with(io, &served.manager(&access_log), &soon);
        call(&proxy, "POST", "/s/two", "application/grpc");
        call(&proxy, "POST", "/s/head", "application/grpc");
        call(&proxy, "POST", "/text", "application/grpc");
        call(&proxy, "POST", "/nowhere", "application/grpc");
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        common::wait_for("the lines", || (read().lines().count() == 4).then_some(()));
        assert_eq!(
            read(),
            "200 0 OK via_upstream 12\n200 5 NotFound via_upstream 0\n200 2 Unknown direct_response 0\n200 12 Unimplemented route_not_found 0\n"
        );
    });
}

#[test]
fn deadlines_are_kept_and_told() {
    on_each_driver(|io| {
        let origin = Origin::start("origin");
        let capped = "max_stream_duration: {grpc_timeout_header_max: 0.5s, grpc_timeout_header_offset: 0.2s}";
        let retried = "max_grpc_timeout: 5s, retry_policy: {retry_on: 5xx, num_retries: 1, per_try_timeout: 0.25s}";
        let to = |fields: &str| format!("route: {{cluster: c, prefix_rewrite: /slow, {fields}}}");
        let config = Config::new()
            .route("prefix: /any", &to("max_stream_duration: {grpc_timeout_header_max: 0s}"))
            .route("prefix: /capped", &to(capped))
            .route("prefix: /stream", &to("max_stream_duration: {max_stream_duration: 0.3s}"))
            .route("prefix: /old", &to("max_grpc_timeout: 0.3s"))
            .route("prefix: /retried", &to(retried))
            .route("prefix: /plain", &to("timeout: 0.3s"))
            .to("/name", "c")
            .cluster("c", origin.address);
        let proxy = Proxy::start(io, &config);
        // Upstream, too, there is a connection then: no request waits for one while its time runs.
        let ready = |proxy: &Proxy| {
            let mut client = proxy.client();
            assert_eq!(client.get("/name").status(), 200);
            origin.request();
            client
        };
        for (path, said, told, status) in [
            ("/any", "150m", Some("150m"), "4"),
            ("/any", "150000u", Some("150m"), "4"),
            ("/capped", "5S", Some("300m"), "4"),
            ("/stream", "5S", Some("300m"), "4"),
            ("/stream", "150m", Some("150m"), "4"),
            ("/old", "5S", Some("300m"), "14"),
            ("/old", "junk", Some("300m"), "14"),
            ("/old", "200m", Some("200m"), "14"),
            ("/retried", "5S", Some("250m"), "14"),
            ("/plain", "5S", Some("5S"), "14"),
        ] {
            let fields = format!("Host: h\r\nContent-Type: application/grpc\r\ngrpc-timeout: {said}\r\n");
            let mut client = ready(&proxy);
            // A POST is not sent again once it has gone.
            client.send(format!("PUT {path} HTTP/1.1\r\n{fields}Content-Length: 0\r\n\r\n"));
            let answer = client.response(false);
            assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some(status)), "{path} {said}");
            assert_eq!(origin.request().header("grpc-timeout"), told, "{path} {said}");
            if path == "/retried" {
                assert_eq!(origin.request().header("grpc-timeout"), told, "{path} {said}");
            }
        }
        // Who does not speak gRPC is bounded by its word where the stream is, and not where the call is.
        let proxy = Proxy::start(io, &config);
        for (path, told) in [("/any", "150m"), ("/capped", "300m")] {
            let said = if path == "/any" { "150m" } else { "5S" };
            let mut client = ready(&proxy);
            client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\ngrpc-timeout: {said}\r\n\r\n"));
            assert_eq!(client.response(false).status(), 504, "{path}");
            assert_eq!(origin.request().header("grpc-timeout"), Some(told), "{path}");
        }
    });
}

const COUNTED: &str = "http_filters:
          - name: envoy.filters.http.grpc_stats
            typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig, emit_filter_state: true}
";

/// Two messages and trailers, or what another path asks for.
fn serve(mut client: common::client::Client) {
    while let Ok(Some(request)) = client.read(false, false) {
        const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n";
        match request.line.split(' ').nth(1).unwrap_or_default() {
            "/a.b.S/Head" | "/s/head" => client.send(format!("{HEAD}grpc-status: 5\r\nContent-Length: 0\r\n\r\n")),
            "/s/whole" => client.send(format!("{HEAD}Content-Length: 7\r\n\r\n\0\0\0\0\x02hi")),
            _ => {
                let body = "4\r\n\0\0\0\0\r\n3\r\n\x02hi\r\n5\r\n\0\0\0\0\0\r\n0\r\ngrpc-status: 0\r\n\r\n";
                client.send(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{body}"))
            }
        };
    }
}

#[test]
fn calls_are_counted_where_the_filter_is() {
    on_each_driver(|io| {
        let config = Config::new().to("/s", "c").cluster("c", common::origin::served_by(serve)).to("/dead", "dead");
        let yaml = config.cluster("dead", dead()).yaml();
        let plain = Proxy::start_yaml(io, &yaml, &[]);
        let proxy = Proxy::start_yaml(io, &yaml.replace("http_filters:\n", COUNTED), &[]);
        let ask = |proxy: &Proxy, path: &str, kind: &str| {
            let fields = format!("Host: h\r\nContent-Type: {kind}\r\nContent-Length: 12\r\n\r\n");
            let bodies = "\0\0\0\0\x02ab\0\0\0\0\0";
            proxy.client().send(format!("POST {path} HTTP/1.1\r\n{fields}{bodies}")).response(false);
        };
        for path in ["/s/two", "/s/head", "/s/whole", "/dead"] {
            ask(&proxy, path, "application/grpc");
            ask(&proxy, path, "application/json");
            ask(&plain, path, "application/grpc");
        }
        for (name, count) in [
            ("c.grpc.0", 1),
            ("c.grpc.5", 1),
            ("c.grpc.success", 1),
            ("c.grpc.failure", 1),
            ("c.grpc.total", 2),
            ("c.grpc.request_message_count", 6),
            ("c.grpc.response_message_count", 3),
        ] {
            assert_eq!(proxy.stat(&format!("cluster.{name}")), count, "{name}");
        }
        assert!(!proxy.admin("GET", "/stats").text().contains("cluster.dead.grpc."), "our own answers are no calls");
        assert!(!plain.admin("GET", "/stats").text().contains(".grpc."));
    });
}

/// Answers each call with a message and trailers; `/a.b.S/Head` with a head that is all.
fn call_origin() -> SocketAddr {
    common::http2::origin(&[], |mut peer, _| {
        while let Some(came) = peer.next() {
            let common::http2::Came::Section { stream, fields, .. } = came else { continue };
            let whole = peer.answer(stream);
            let kind = ("content-type", "application/grpc");
            if common::http2::value(&fields, ":path") == "/a.b.S/Head" {
                peer.section(stream, &[(":status", "200"), kind, ("grpc-status", "5")], true);
            } else {
                peer.section(stream, &[(":status", "200"), kind], false);
                peer.data(stream, [whole.body, b"\0\0\0\0\0".to_vec()].concat(), false);
                peer.section(stream, &[("grpc-status", "0")], true);
            }
        }
    })
}

/// Names and numbers as Envoy 1.40 has them of the same calls.
#[test]
fn calls_are_counted_by_method_where_that_is_asked_for() {
    const ALLOW: &str = "individual_method_stats_allowlist: {services: [{name: a.b.S, method_names: [One]}, {name: q, method_names: [m]}]}";
    let all: &[&str] = &[
        "Head.5 1",
        "Head.failure 1",
        "Head.request_message_count 1",
        "Head.total 1",
        "One.0 2",
        "One.request_message_count 2",
        "One.response_message_count 4",
        "One.success 2",
        "One.total 2",
    ];
    let of_q =
        ["q.m.0 1", "q.m.request_message_count 1", "q.m.response_message_count 2", "q.m.success 1", "q.m.total 1"];
    let expect = |prefix: &str| -> Vec<String> {
        let of_s = all.iter().map(|row| format!("{prefix}.{row}"));
        of_s.chain(of_q.map(str::to_owned)).collect()
    };
    let listed = [
        "5 1",
        "a.b.S.One.0 2",
        "a.b.S.One.request_message_count 2",
        "a.b.S.One.response_message_count 4",
        "a.b.S.One.success 2",
        "a.b.S.One.total 2",
        "failure 1",
        "q.m.0 1",
        "q.m.request_message_count 1",
        "q.m.response_message_count 2",
        "q.m.success 1",
        "q.m.total 1",
        "request_message_count 1",
        "total 1",
    ]
    .map(str::to_owned);
    let rows: [(&str, Vec<String>, &[&str]); 3] = [
        (
            "stats_for_all_methods: true, enable_upstream_stats: true",
            expect("a.b.S"),
            &["a.b.S.Head", "a.b.S.One", "q.m"],
        ),
        ("stats_for_all_methods: true, replace_dots_in_grpc_service_name: true", expect("a_b_S"), &[]),
        (
            &format!("{ALLOW}, enable_upstream_stats: true, replace_dots_in_grpc_service_name: true"),
            listed.to_vec(),
            &["a.b.S.One", "q.m", ""],
        ),
    ];
    for (options, expect, times) in rows {
        on_each_driver(|io| {
            let http2 = "connect_timeout: 5s
    http2_protocol_options: {}";
            let config = Config::new().to("/", "c").cluster_with("c", call_origin(), http2);
            let filter = COUNTED.replace("emit_filter_state: true", options);
            let proxy = Proxy::start_yaml(io, &config.yaml().replace("http_filters:\n", &filter), &[]);
            let mut client = common::http2::Peer::connect(proxy.address);
            for path in ["/a.b.S/One", "/a.b.S/One", "/a.b.S/Head", "/q/m?x=1", "/odd", "/odd/a/b"] {
                let mut fields = common::http2::get(path);
                fields[0].1 = "POST";
                fields.push(("content-type", "application/grpc"));
                let stream = client.open(&fields, false);
                client.data(stream, b"\0\0\0\0\x02ab", true);
                client.answer(stream);
            }
            let stats = proxy.admin("GET", "/stats?filter=grpc").text();
            let shown = stats.lines().filter_map(|line| line.strip_prefix("cluster.c.grpc."));
            let (histograms, counters): (Vec<_>, Vec<_>) = shown.partition(|line| line.contains("upstream_rq_time"));
            let counters: Vec<String> = counters.iter().map(|line| line.replace(": ", " ")).collect();
            assert_eq!(counters, expect, "{options}");
            let histograms: Vec<_> = histograms
                .iter()
                .map(|line| line.split("upstream_rq_time").next().unwrap_or_default().trim_end_matches('.'))
                .collect();
            assert_eq!(histograms, times, "{options}");
        });
    }
}

/// Clients may invent methods: as many as there is room for are counted apart, and none is lost.
#[test]
fn methods_have_a_bound_and_calls_over_http1_are_counted_by_them() {
    const METHODS_MAX: u64 = 1_000;
    on_each_driver(|io| {
        let config = Config::new().to("/", "c").cluster("c", common::origin::served_by(serve));
        let filter =
            COUNTED.replace("emit_filter_state: true", "stats_for_all_methods: true, enable_upstream_stats: true");
        let proxy = Proxy::start_yaml(io, &config.yaml().replace("http_filters:\n", &filter), &["--concurrency", "1"]);
        let mut client = proxy.client();
        let mut call = |path: &str| {
            let fields = "Host: h\r\nContent-Type: application/grpc\r\nContent-Length: 7\r\n\r\n\0\0\0\0\x02ab";
            client.send(format!("POST {path} HTTP/1.1\r\n{fields}")).response(false);
        };
        call("/a.b.S/Head");
        call("/a.b.S/Head");
        for number in 1..METHODS_MAX + 5 {
            call(&format!("/s/m{number}"));
        }
        call("/s/m7");
        for (name, count) in [
            ("a.b.S.Head.5", 2),
            ("a.b.S.Head.request_message_count", 2),
            ("s.m7.response_message_count", 4),
            ("s.m7.total", 2),
            ("s.m999.total", 1),
            ("methods_overflow", 5),
            ("total", 5),
        ] {
            assert_eq!(proxy.stat(&format!("cluster.c.grpc.{name}")), count, "{name}");
        }
        let stats = proxy.admin("GET", "/stats?filter=grpc").text();
        assert_eq!(stats.lines().filter(|line| line.contains(".total: ")).count() as u64, METHODS_MAX + 1);
    });
}
