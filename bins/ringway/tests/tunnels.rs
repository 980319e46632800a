//! Upgrades and CONNECT: what is asked for, what is granted, and the bytes both ways after that.

use std::net::SocketAddr;
use std::thread;

use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::served_by;
use crate::common::process::{Proxy, TempDir};
use crate::common::wait_for;

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";

/// Answers as the path, or the host of a CONNECT, says. A tunnel begins with the request's head and echoes what comes, until the end;
/// then it says `over`.
fn switching(mut connection: Client) {
    while let Ok(Some(request)) = connection.read(false, false) {
        let target = request.line.split(' ').nth(1).unwrap_or_default();
        let kind = target.trim_start_matches('/').split('.').next().unwrap_or_default();
        let fields: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let head = format!("{}\n{fields}{}", request.line, request.text());
        match kind {
            "plain" => _ = connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len())),
            "refuse" => {
                connection.send(
                    "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: b\r\nContent-Length: 2\r\n\r\nno",
                );
            }
            "unasked" => {
                connection.send("HTTP/1.1 101 Switching Protocols\r\n\r\n");
                return;
            }
            _ => {
                let answer = if request.line.starts_with("CONNECT") {
                    // What a 2xx to CONNECT says of a length is not so (RFC 9110 §9.3.6).
                    "HTTP/1.1 200 Fine\r\nContent-Length: 3\r\n\r\n".to_owned()
                } else {
                    format!("{SWITCHING}X-Origin: yes\r\n\r\n")
                };
                // In one piece: the tunnel's first bytes come with the head.
                connection.send(format!("{answer}{head}$"));
                return echo(connection);
            }
        }
    }
}

fn echo(mut connection: Client) {
    while let Ok(bytes) = connection.some() {
        if bytes.is_empty() {
            connection.send("over").finish();
            return;
        }
        connection.send(bytes);
    }
}

/// Says something first, as no HTTP server does, then echoes.
fn banner(mut connection: Client) {
    connection.send("220 ready$");
    echo(connection);
}

fn asks(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: web.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{more}\r\n")
}

fn config(origin: SocketAddr) -> Config {
    Config::new()
        .manager("upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: plain}, {upgrade_type: never, enabled: false}]")
        .route(
            "connect_matcher: {}, headers: [{name: x-end, present_match: true}]",
            "route: {cluster: c, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}",
        )
        .route(
            "connect_matcher: {}, headers: [{name: x-on, present_match: true}]",
            "route: {cluster: c, prefix_rewrite: /x, upgrade_configs: [{upgrade_type: CONNECT}]}",
        )
        .route("connect_matcher: {}", "route: {cluster: c}")
        .route("prefix: /off", "route: {cluster: c, upgrade_configs: [{upgrade_type: WebSocket, enabled: false}]}")
        .route("prefix: /on", "route: {cluster: c, upgrade_configs: [{upgrade_type: never}]}")
        .route("prefix: /idle", "route: {cluster: c, idle_timeout: 2s, timeout: 1s}")
        .route(
            "prefix: /",
            "route: {cluster: c, timeout: 1s}\n                \
             response_headers_to_add: [{header: {key: x-added, value: '%RESPONSE_CODE%'}}]",
        )
        .cluster("c", origin)
}

/// Reads up to and with the `$` that ends what a tunnel begins with.
#[track_caller]
fn beginning(client: &mut Client) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"$") {
        text.extend(client.bytes(1));
    }
    String::from_utf8(text).expect("text")
}

#[test]
fn an_upgrade_that_is_granted_is_a_tunnel() {
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &config(served_by(switching)));
        let mut client = proxy.client();
        // The first bytes for the tunnel come with the request, and they are none.
        client.send(asks("/echo", "TE: trailers\r\n").replace(": Upgrade", ": keep-alive, X-Hop,upgrade") + "early");
        let answer = client.response(false);
        assert_eq!(answer.status(), 101);
        for (name, value) in
            [("connection", "upgrade"), ("upgrade", "websocket"), ("x-origin", "yes"), ("x-added", "101")]
        {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        assert_eq!(answer.header("x-envoy-upstream-service-time"), None);
        let head = beginning(&mut client);
        assert!(head.starts_with("GET /echo HTTP/1.1\nhost: web.test\n"), "{head}");
        assert!(head.contains("connection: keep-alive, upgrade\nupgrade: websocket\n"), "{head}");
        assert_eq!(client.bytes(5), b"early");
        assert_eq!(proxy.stat("http.main.downstream_cx_upgrades_active"), 1);
        client.send("GET / HTTP/1.1\r\n\r\n");
        assert_eq!(client.bytes(18), b"GET / HTTP/1.1\r\n\r\n");
        client.finish();
        assert_eq!(client.bytes(4), b"over");
        assert!(client.ended());
        proxy.wait_stat("http.main.downstream_cx_upgrades_active", |active| active == 0);
        assert_eq!(proxy.stat("http.main.downstream_cx_upgrades_total"), 1);
        assert_eq!(proxy.stat("http.main.downstream_rq_1xx"), 1);
        proxy.wait_stat("cluster.c.upstream_cx_active", |active| active == 0);
    });
}

/// Guards against reading what is meant for a tunnel as requests: after a wish that is not granted the connection ends.
#[test]
fn what_is_not_granted() {
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &config(served_by(switching)));
        let smuggled = "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n";
        for (request, status, text) in [
            (asks("/off", ""), 403, ""),
            (asks("/echo", "").replace("websocket", "other"), 403, ""),
            (asks("/echo", "").replace("websocket", "never"), 403, ""),
            (asks("/echo", "").replace("websocket", "websocket, h2c"), 403, ""),
            (asks("/direct", ""), 200, "direct"),
            (asks("/refuse", ""), 426, "no"),
            // No WebSocket, and no error: the head alone (Envoy).
            (asks("/plain", ""), 200, ""),
            (asks("/plain", "").replace("websocket", "plain"), 200, "GET /plain"),
            (asks("/unasked", ""), 502, "protocol error"),
            ("CONNECT echo.test:443 HTTP/1.1\r\nHost: echo.test:443\r\n\r\n".into(), 403, ""),
            ("CONNECT refuse.test:443 HTTP/1.1\r\nHost: refuse.test:443\r\nX-On: 1\r\n\r\n".into(), 426, "no"),
        ] {
            let mut client = proxy.client();
            client.send(request.clone() + smuggled);
            let answer = client.response(false);
            assert_eq!(answer.status(), status, "{request}");
            assert!(answer.text().contains(text), "{request}: {}", answer.text());
            assert!(!text.is_empty() || answer.body.is_empty(), "{request}: {}", answer.text());
            assert_eq!(answer.header("x-envoy-upstream-service-time"), None, "{request}");
            assert_eq!(answer.header("connection"), Some("close"), "{request}");
            assert!(client.ended(), "{request}");
        }
        assert_eq!(proxy.stat("http.main.downstream_rq_ws_on_non_ws_route"), 5);
        // A 101 that nobody asked for.
        assert_eq!(proxy.get("/unasked").status(), 502);
        // Not granted and not refused either: no such wish, or one that is not to be heard.
        for fields in [
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n",
            "Upgrade: websocket\r\n",
            "Connection: Upgrade\r\n",
        ] {
            let mut client = proxy.client();
            client.send(format!("GET /plain HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
            let text = client.response(false).text().to_lowercase();
            assert!(!text.contains("upgrade") && !text.contains("http2"), "{fields}: {text}");
        }
    });
}

/// A request's body goes first; a switch before its end is no switch (RFC 9110 §7.8).
#[test]
fn a_body_comes_before_the_tunnel() {
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &config(served_by(switching)));
        for body in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
            let mut client = proxy.client();
            client.send(asks("/echo", "").replace("GET", "POST").trim_end().to_owned() + "\r\n" + body + "tunnel");
            assert_eq!(client.response(false).status(), 101, "{body}");
            let head = beginning(&mut client);
            assert!(head.ends_with("\nhello$"), "{head}");
            assert_eq!(client.bytes(6), b"tunnel", "{body}");
        }
        let hasty = |mut connection: Client| {
            connection.send(format!("{SWITCHING}\r\n"));
            while connection.some().is_ok_and(|bytes| !bytes.is_empty()) {}
        };
        let proxy = Proxy::start(io, &config(served_by(hasty)));
        let mut client = proxy.client();
        client.send(asks("/echo", "Content-Length: 5\r\n") + "hel");
        assert_eq!(client.response(false).status(), 502);
    });
}

#[test]
fn much_goes_both_ways_at_once() {
    on_each_driver(|io| {
        const SIZE: usize = 3_000_000;
        let proxy = Proxy::start(io, &config(served_by(switching)));
        let mut client = proxy.client();
        client.send(asks("/echo", ""));
        assert_eq!(client.response(false).status(), 101);
        beginning(&mut client);
        let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
        let mut writer = client.again();
        let sent = bytes.clone();
        // The writer blocks while nothing is read: the sum of all buffers on the way is far below what is sent.
        let writing = thread::spawn(move || {
            writer.send(&sent);
            writer.finish();
        });
        assert!(client.bytes(SIZE) == bytes);
        writing.join().expect("no panic");
        assert_eq!(client.bytes(4), b"over");
        assert!(client.ended());
    });
}

#[test]
fn connect_is_forwarded_or_ends_here() {
    on_each_driver(|io| {
        let connect = |field: &str| format!("CONNECT echo.test:443 HTTP/1.1\r\nHost: other.test\r\n{field}: 1\r\n\r\n");
        let proxy = Proxy::start(io, &config(served_by(switching)));
        let mut client = proxy.client();
        client.send(connect("X-On"));
        let head = client.read(true, true).expect("a head").expect("a head");
        assert_eq!((head.line.as_str(), head.header("content-length")), ("HTTP/1.1 200 Fine", None));
        assert!(beginning(&mut client).starts_with("CONNECT echo.test:443 HTTP/1.1\nhost: echo.test:443\n"));
        client.send("ping");
        assert_eq!(client.bytes(4), b"ping");

        let proxy = Proxy::start(io, &config(served_by(banner)));
        for _ in 0..2 {
            let mut client = proxy.client();
            client.send(connect("X-End") + "early");
            let head = client.read(true, true).expect("a head").expect("a head");
            assert_eq!((head.line.as_str(), head.header("content-length")), ("HTTP/1.1 200 OK", None));
            assert_eq!(beginning(&mut client), "220 ready$");
            assert_eq!(client.bytes(5), b"early");
            client.finish();
            assert_eq!(client.bytes(4), b"over");
            assert!(client.ended());
        }
        // Each CONNECT has a connection of its own.
        assert_eq!(proxy.stat("cluster.c.upstream_cx_total"), 2);
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let proxy = Proxy::start(io, &config(nobody));
        let mut client = proxy.client();
        client.send(connect("X-End"));
        assert_eq!(client.response(false).status(), 503);
        for wrong in ["echo.test", "echo.test:", "echo.test:0", "echo.test:99999", "/echo"] {
            let mut client = proxy.client();
            client.send(format!("CONNECT {wrong} HTTP/1.1\r\nHost: a\r\nX-On: 1\r\n\r\n"));
            assert_eq!(client.response(false).status(), 400, "{wrong}");
        }
    });
}

#[test]
fn a_tunnel_outlives_a_reload_and_a_route_timeout_and_ends_by_its_own() {
    on_each_driver(|io| {
        let address = served_by(switching);
        let mut proxy = Proxy::start_with(io, &config(address), &["--drain-time-s", "20", "--concurrency", "1"]);
        let mut client = proxy.client();
        client.send(asks("/echo", ""));
        assert_eq!(client.response(false).status(), 101);
        beginning(&mut client);
        proxy.replace(&Config::new().yaml());
        proxy.line("generation 2 in force");
        client.send("still there");
        assert_eq!(client.bytes(11), b"still there");
        proxy.replace(&config(address).yaml());
        proxy.line("generation 3 in force");
        // Nothing moves, in the tunnel or before it, for as long as the route's idle timeout; its timeout is over long before.
        let mut idle = proxy.client();
        idle.send(asks("/idle", ""));
        assert_eq!(idle.response(false).status(), 101);
        beginning(&mut idle);
        assert!(idle.ended());
        assert_eq!(proxy.stat("http.main.downstream_rq_idle_timeout"), 1);
        proxy.signal("TERM");
        proxy.line("SIGTERM");
        client.send("and still");
        assert_eq!(client.bytes(9), b"and still");
        client.finish();
        assert_eq!(client.bytes(4), b"over");
        assert_eq!(proxy.end().code(), Some(0));
    });
}

#[test]
fn a_tunnel_is_logged_at_its_end() {
    const FILE: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
    on_each_driver(|io| {
        let dir = TempDir::new();
        let path = dir.0.join("log");
        let format =
            "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED%\\n";
        let config = config(served_by(switching)).manager(&format!(
            "access_log: [{{name: f, typed_config: {{'@type': {FILE}, path: {}, log_format: {{text_format_source: {{inline_string: \
             \"{format}\"}}}}}}}}]",
            path.display()
        ));
        let options = ["--concurrency", "1", "--file-flush-interval-msec", "20", "--file-flush-min-size-kb", "1"];
        let proxy = Proxy::start_with(io, &config, &options);
        let read = || std::fs::read_to_string(&path).unwrap_or_default();
        let mut expect = String::new();
        for (request, line) in [
            (asks("/echo", "") + "12345", "GET /echo 101 DC downstream_remote_disconnect 5\n"),
            (asks("/off", ""), "GET /off 403 - upgrade_failed 0\n"),
            (
                "CONNECT echo.test:1 HTTP/1.1\r\nHost: a\r\nX-On: 1\r\n\r\n12345".into(),
                "CONNECT - 200 DC downstream_remote_disconnect 5\n",
            ),
        ] {
            let mut client = proxy.client();
            client.send(request);
            client.finish();
            while client.some().is_ok_and(|bytes| !bytes.is_empty()) {}
            expect += line;
            wait_for("a line", || (read() == expect).then_some(()));
        }
    });
}
