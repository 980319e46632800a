//! TLS with origins: whom the proxy believes, what it says when it does not, and where a body ends.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ringway_tls::{ServerContext, ServerOptions, Version};

use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::files::certificates::{self, Authority, Leaf, dns, trusting, uri};
use crate::common::files::{Files, protocols, upstream, version};
use crate::common::http2::{Came, Peer, value};
use crate::common::origin::{Origin, served_by};
use crate::common::process::{Proxy, TempDir};
use crate::common::{on_each_driver, wait_for};

/// The cluster's field of [`HttpProtocolOptions`](https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/upstreams/http/v3/http_protocol_options.proto).
fn options(version: &str) -> String {
    format!(
        "typed_extension_protocol_options:\n      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n        \"@type\": \
         type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n        {version}"
    )
}

const FILE: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";

fn showing(files: &Files, leaf: &Leaf) -> Arc<ServerContext> {
    certificates::server(&ServerOptions { certificates: vec![files.authority.issue(leaf)], ..ServerOptions::default() })
}

/// An origin that does with each secured connection what `serve` says.
fn secured_by(context: Arc<ServerContext>, serve: impl Fn(Client) + Clone + Send + 'static) -> SocketAddr {
    secured_in_turn([context], serve)
}

/// The same with another context for each connection, in turn.
fn secured_in_turn<const N: usize>(
    contexts: [Arc<ServerContext>; N],
    serve: impl Fn(Client) + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let context = Arc::clone(&contexts[number % N]);
            let serve = serve.clone();
            thread::spawn(move || _ = Client::accept(stream, &context).map(serve));
        }
    });
    address
}

/// Guards against a request that goes to an origin which is not who it must be. Each is told: 503, the flag UF, the reason.
#[test]
fn origins_are_judged() {
    let files = Files::new();
    let other = Authority::new("tests");
    let named = |name: &str, serial, years| Leaf { names: vec![uri(name)], serial, years, ..Leaf::default() };
    let good = "spiffe://td/sa/good";
    let by_other =
        ServerOptions { certificates: vec![other.issue(&named(good, 1, (2000, 2100)))], ..ServerOptions::default() };
    let choosy = ServerOptions {
        certificates: vec![files.authority.issue(&named(good, 1, (2000, 2100)))],
        validation: Some(trusting(&files.authority)),
        require_client_certificate: true,
        ..ServerOptions::default()
    };
    files.put("crl.pem", &files.authority.revoke(&[4], 2100));
    let validation = format!(
        "validation_context: {{trusted_ca: {}, crl: {}, match_typed_subject_alt_names: [{{san_type: URI, matcher: {{exact: \
         '{good}'}}}}]}}",
        files.file("ca.pem"),
        files.file("crl.pem")
    );
    files.identity("client", &Leaf::default());
    let shows = format!("{validation}, tls_certificates: [{}]", files.certificate("client"));
    // By the cluster's name: the origin, what the proxy is to show, the reason as the log tells it, and what is counted.
    let origin = |context| Origin::secured("origin", context).address;
    let plain = |mut connection: Client| {
        if connection.some().is_ok() {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    };
    let rows = [
        ("right", origin(showing(&files, &named(good, 1, (2000, 2100)))), &validation, "", ""),
        ("shown", origin(certificates::server(&choosy)), &shows, "", ""),
        (
            "san",
            origin(showing(&files, &named("spiffe://td/sa/bad", 2, (2000, 2100)))),
            &validation,
            "SAN_matcher",
            "fail_verify_san",
        ),
        (
            "expired",
            origin(showing(&files, &named(good, 3, (2000, 2010)))),
            &validation,
            "expired",
            "fail_verify_error",
        ),
        (
            "revoked",
            origin(showing(&files, &named(good, 4, (2000, 2100)))),
            &validation,
            "revoked",
            "fail_verify_error",
        ),
        ("other", origin(certificates::server(&by_other)), &validation, "untrusted", "fail_verify_error"),
        ("unshown", origin(certificates::server(&choosy)), &validation, "alert_received", "connection_error"),
        ("plain", served_by(plain), &validation, "not_TLS", "connection_error"),
    ];
    on_each_driver(|io| {
        let dir = TempDir::new();
        let path = dir.0.join("log");
        let format = "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON%\\n";
        let mut config = Config::new().manager(&format!(
            "access_log: [{{name: f, typed_config: {{'@type': {FILE}, path: {}, log_format: {{text_format_source: {{inline_string: \
             \"{format}\"}}}}}}}}]",
            path.display()
        ));
        for (name, address, common, ..) in &rows {
            let fields = upstream("sni: server.test, ", common);
            config = config.to(&format!("/{name}"), name).cluster_with(
                name,
                *address,
                &format!("connect_timeout: 5s\n    {fields}"),
            );
        }
        let options = ["--concurrency", "1", "--file-flush-interval-msec", "20", "--file-flush-min-size-kb", "1"];
        let proxy = Proxy::start_with(io, &config, &options);
        for (said, (name, _, _, reason, counter)) in rows.iter().enumerate() {
            let answer = proxy.get(&format!("/{name}"));
            let is_good = reason.is_empty();
            assert_eq!(answer.status(), if is_good { 200 } else { 503 }, "{name}");
            if is_good {
                assert_eq!(proxy.stat(&format!("cluster.{name}.ssl.handshake")), 1, "{name}");
            } else {
                assert!(proxy.stat(&format!("cluster.{name}.ssl.{counter}")) >= 1, "{name}: {counter}");
                assert_eq!(proxy.stat(&format!("cluster.{name}.ssl.handshake")), 0, "{name}");
                assert!(proxy.stat(&format!("cluster.{name}.upstream_cx_connect_fail")) >= 1, "{name}");
            }
            let line = wait_for("a line", || {
                let lines = std::fs::read_to_string(&path).unwrap_or_default();
                lines.lines().nth(said).map(str::to_owned)
            });
            let expect = if is_good { format!("/{name} 200 - -") } else { format!("/{name} 503 UF TLS_error:_") };
            assert!(line.starts_with(&expect) && line.contains(reason), "{name}: {line}");
        }
    });
}

/// Guards against a body cut short by whoever can end a connection: only close_notify ends one that ends with its connection.
#[test]
fn an_end_without_close_notify_is_a_truncation() {
    const LARGE: usize = 1 << 20;
    let files = Files::new();
    let context = showing(&files, &Leaf::default());
    let whole = secured_by(Arc::clone(&context), |mut connection| {
        let _request = connection.read(false, false);
        connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end").finish();
    });
    let cut = secured_by(context, |mut connection| {
        let _request = connection.read(false, false);
        connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").send(vec![b'~'; LARGE]);
    });
    on_each_driver(|io| {
        let tls = format!("connect_timeout: 5s\n    {}", upstream("", ""));
        let config =
            Config::new().to("/whole", "w").to("/cut", "c").cluster_with("w", whole, &tls).cluster_with("c", cut, &tls);
        let proxy = Proxy::start(io, &config);
        assert_eq!(proxy.get("/whole").text(), "until the end");
        let mut client = proxy.client();
        client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
        // All that came is passed on, to a client that reads late, too; but not that it is all.
        proxy.wait_stat("cluster.c.upstream_cx_active", |active| active == 0);
        let mut came = Vec::new();
        let _ended = client.socket().read_to_end(&mut came);
        assert_eq!(came.iter().filter(|byte| **byte == b'~').count(), LARGE);
        assert!(!came.ends_with(b"\r\n0\r\n\r\n"), "the proxy says that it is all");
        assert_eq!(proxy.stat("cluster.c.upstream_cx_destroy_with_active_rq"), 1);
    });
}

#[test]
fn sessions_with_origins_are_resumed() {
    let files = Files::new();
    on_each_driver(|io| {
        for (parameters, speaks, sessions, reused) in [
            ("", Version::Tls12, "", 2),
            (", tls_params: {tls_maximum_protocol_version: TLSv1_3}", Version::Tls13, "max_session_keys: 4, ", 2),
            ("", Version::Tls12, "max_session_keys: 0, ", 0),
        ] {
            let options = ServerOptions {
                certificates: vec![files.authority.issue(&Leaf::default())],
                parameters: version(speaks),
                alpn: protocols(&["http/1.1"]),
                ..ServerOptions::default()
            };
            let origin = Origin::secured("origin", certificates::server(&options));
            let common = format!("validation_context: {{trusted_ca: {}}}{parameters}", files.file("ca.pem"));
            let tls = upstream(&format!("{sessions}sni: example.com, "), &common);
            let config = Config::new().to("/", "o").cluster_with(
                "o",
                origin.address,
                &format!("connect_timeout: 5s\n    {tls}"),
            );
            let proxy = Proxy::start(io, &config);
            for _ in 0..3 {
                assert_eq!(proxy.get("/script/200:connection=close").status(), 200);
                proxy.wait_stat("cluster.o.upstream_cx_active", |active| active == 0);
            }
            assert_eq!(proxy.stat("cluster.o.ssl.handshake"), 3);
            assert_eq!(proxy.stat("cluster.o.ssl.session_reused"), reused, "{speaks:?} {sessions}");
        }
    });
}

/// Connections to a unix socket lead on to this address.
fn at_path(path: &Path, address: SocketAddr) {
    let listener = UnixListener::bind(path).expect("a path of its own");
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = TcpStream::connect(address).expect("it listens");
            let (mut sends, mut receives) =
                (near.try_clone().expect("a descriptor"), far.try_clone().expect("a descriptor"));
            let (mut near, mut far) = (near, far);
            thread::spawn(move || {
                let _ended = io::copy(&mut sends, &mut far);
                let _gone = far.shutdown(Shutdown::Write);
            });
            thread::spawn(move || {
                let _ended = io::copy(&mut receives, &mut near);
                let _gone = near.shutdown(Shutdown::Write);
            });
        }
    });
}

/// Guards against an endpoint that has no address: its path tells it from others.
#[test]
fn origins_at_unix_sockets_are_secured() {
    let files = Files::new();
    on_each_driver(|io| {
        let origins = [(); 2].map(|()| Origin::secured("origin", showing(&files, &Leaf::default())));
        let dir = TempDir::new();
        let mut config = Config::new();
        for (name, origin) in [("a", &origins[0]), ("b", &origins[1])] {
            let path = dir.0.join(name);
            at_path(&path, origin.address);
            let tls = upstream(
                "max_session_keys: 4, ",
                &format!("validation_context: {{trusted_ca: {}}}", files.file("ca.pem")),
            );
            let assignment = format!(
                "load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: \
                 \"{}\"}}}}}}}}]}}]}}",
                path.display()
            );
            config = config
                .route(&format!("prefix: /{name}/"), &format!("route: {{cluster: {name}, prefix_rewrite: /}}"))
                .cluster_lines(name, &format!("connect_timeout: 5s\n    {tls}"), &assignment);
        }
        let proxy = Proxy::start(io, &config);
        for name in ["a", "b"] {
            for _ in 0..2 {
                assert_eq!(proxy.get(&format!("/{name}/script/200:connection=close")).status(), 200, "{name}");
                proxy.wait_stat(&format!("cluster.{name}.upstream_cx_active"), |active| active == 0);
            }
            assert_eq!(proxy.stat(&format!("cluster.{name}.ssl.handshake")), 2);
            assert_eq!(proxy.stat(&format!("cluster.{name}.ssl.session_reused")), 1);
        }
    });
}

/// Guards against raw connections to a cluster that judges names by the request's host: they have none, and no name is judged, as in Envoy.
#[test]
fn raw_bytes_name_no_host() {
    const TCP: &str = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    let files = Files::new();
    on_each_driver(|io| {
        let leaf = Leaf { names: vec![dns("origin.test")], ..Leaf::default() };
        let origin = Origin::secured("origin", showing(&files, &leaf));
        let tls = upstream("", &format!("validation_context: {{trusted_ca: {}}}", files.file("ca.pem")));
        let fields = format!(
            "connect_timeout: 5s\n    {tls}\n    typed_extension_protocol_options:\n      \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n        \"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n        explicit_http_config: \
             {{http_protocol_options: {{}}}}\n        upstream_http_protocol_options: {{auto_sni: true, auto_san_validation: true}}"
        );
        let config = Config::new().manager("http_protocol_options: {accept_http_10: true}").to("/", "o").cluster_with(
            "o",
            origin.address,
            &fields,
        );
        let yaml = config.yaml();
        let (head, rest) = yaml.split_once("    filter_chains:").expect("chains");
        let (_, clusters) = rest.split_once("  clusters:\n").expect("clusters");
        let filter = format!("{{name: t, typed_config: {{'@type': {TCP}, stat_prefix: raw, cluster: o}}}}");
        let yaml = format!("{head}    filter_chains:\n    - filters: [{filter}]\n  clusters:\n{clusters}");
        let raw = Proxy::start_yaml(io, &yaml, &[]);
        let mut client = raw.client();
        assert_eq!(client.get("/name").text(), "origin");
        let judged = Proxy::start(io, &config);
        for (request, expect) in [
            ("GET /name HTTP/1.1\r\nHost: origin.test\r\n\r\n", 200),
            ("GET /name HTTP/1.1\r\nHost: other.test\r\n\r\n", 503),
        ] {
            let mut client = judged.client();
            client.send(request);
            assert_eq!(client.response(false).status(), expect, "{request}");
        }
    });
}

#[test]
fn large_bodies_both_ways() {
    const SIZE: usize = 1_000_000;
    let files = Files::new();
    let leaf = Leaf { names: vec![dns("example.com")], ..Leaf::default() };
    let origin = Origin::secured("origin", showing(&files, &leaf));
    on_each_driver(|io| {
        let tls = upstream("", &format!("validation_context: {{trusted_ca: {}}}", files.file("ca.pem")));
        let config =
            Config::new().to("/", "o").cluster_with("o", origin.address, &format!("connect_timeout: 5s\n    {tls}"));
        let proxy = Proxy::start(io, &config);
        let body: Vec<u8> = (0..SIZE).map(|at| (at % 253) as u8).collect();
        for path in ["/echo", "/echo-chunked"] {
            let mut client = proxy.client();
            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"));
            client.send(&body);
            assert!(client.response(false).body == body, "{path}");
            assert_eq!(client.get("/name").text(), "origin");
        }
    });
}

/// The time for a connection is the time for its handshake, too.
#[test]
fn a_silent_origin_is_given_up() {
    let silent = served_by(|mut connection| while connection.some().is_ok_and(|bytes| !bytes.is_empty()) {});
    on_each_driver(|io| {
        let tls = format!("connect_timeout: 0.1s\n    {}", upstream("", ""));
        let proxy = Proxy::start(io, &Config::new().to("/", "o").cluster_with("o", silent, &tls));
        let answer = proxy.get("/name");
        assert_eq!(answer.status(), 503);
        assert!(answer.text().ends_with("connection timeout"), "{}", answer.text());
        assert_eq!(proxy.stat("cluster.o.ssl.handshake_timeout"), 1);
        assert_eq!(proxy.stat("cluster.o.upstream_cx_active"), 0);
    });
}

const WEBSOCKET: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Speaks what ALPN chose, and says so; ends its connection behind `/last`.
fn as_chosen(mut connection: Client) {
    if connection.info().alpn.as_deref() != Some(b"h2") {
        while let Ok(Some(request)) = connection.read(false, false) {
            let path = request.line.split(' ').nth(1).unwrap_or_default().to_owned();
            match path.as_str() {
                "/ws" => connection.send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: the origin's own\r\n\r\n",
                ),
                _ => connection.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nHTTP/1.1"),
            };
            if path == "/last" {
                return;
            }
        }
        return;
    }
    let Some(mut peer) = Peer::accept(connection, &[(8, 1)]) else { return };
    while let Some(came) = peer.next() {
        let Came::Section { stream, fields, .. } = came else { continue };
        let path = value(&fields, ":path").to_owned();
        peer.section(stream, &[(":status", "200")], false);
        if path != "/ws" {
            peer.data(stream, "HTTP/2", true);
        }
        if path == "/last" {
            peer.go_away(stream, 0);
            return;
        }
    }
}

/// `auto_config`: whoever chooses HTTP/2 by ALPN gets it, whatever the client speaks. An endpoint may change its mind.
#[test]
fn alpn_chooses_what_an_origin_is_spoken_to_in() {
    let files = Files::new();
    let choosing = |names: &[&str]| {
        let certificates = vec![files.authority.issue(&Leaf::default())];
        certificates::server(&ServerOptions { certificates, alpn: protocols(names), ..ServerOptions::default() })
    };
    let (new, old) = (choosing(&["h2", "http/1.1"]), choosing(&["http/1.1"]));
    let fickle = [new.clone(), old.clone(), new.clone()];
    let fields = |version: &str, common: &str| {
        format!("connect_timeout: 5s\n    {}\n    {}", upstream("", common), options(version))
    };
    let either = "auto_config: {http_protocol_options: {}, http2_protocol_options: {allow_connect: true}}";
    let one = |version| format!("explicit_http_config: {{{version}: {{}}}}");
    let rows = [
        ("new", secured_by(new.clone(), as_chosen), fields(either, ""), "HTTP/2"),
        ("old", secured_by(old, as_chosen), fields(either, ""), "HTTP/1.1"),
        ("silent", secured_by(choosing(&[]), as_chosen), fields(either, ""), "HTTP/1.1"),
        // What the transport socket names is what is offered.
        ("named", secured_by(new.clone(), as_chosen), fields(either, "alpn_protocols: [http/1.1]"), "HTTP/1.1"),
        // What is spoken anyway is offered, too: origins that want ALPN find it.
        ("one", secured_by(new.clone(), as_chosen), fields(&one("http_protocol_options"), ""), "HTTP/1.1"),
        ("two", secured_by(new, as_chosen), fields(&one("http2_protocol_options"), ""), "HTTP/2"),
    ];
    on_each_driver(|io| {
        let mut config = Config::new().manager("upgrade_configs: [{upgrade_type: websocket}]");
        for (name, address, fields, _) in &rows {
            config = config
                .route(&format!("prefix: /{name}/"), &format!("route: {{cluster: {name}, prefix_rewrite: /}}"))
                .cluster_with(name, *address, fields);
        }
        let changes = secured_in_turn(fickle.clone(), as_chosen);
        config = config.to("/last", "fickle").cluster_with("fickle", changes, &fields(either, ""));
        let proxy = Proxy::start(io, &config);
        for (name, _, _, spoken) in &rows {
            let mut client = proxy.client();
            for _ in 0..3 {
                assert_eq!(client.get(&format!("/{name}/x")).text(), *spoken, "{name}");
            }
            let mut peer = Peer::connect(proxy.address);
            let streams = [(); 3].map(|()| peer.get(&format!("/{name}/x")));
            for stream in streams {
                assert_eq!(peer.answer(stream).text(), *spoken, "{name}");
            }
            let counted = |version: &str| proxy.stat(&format!("cluster.{name}.upstream_cx_{version}_total"));
            let (http1, http2) = (counted("http1"), counted("http2"));
            assert_eq!((http1 > 0, http2), if *spoken == "HTTP/2" { (false, 1) } else { (true, 0) }, "{name}");
            if *name == "new" || *name == "old" {
                let mut client = proxy.client();
                client.send(WEBSOCKET.replace("/ws", &format!("/{name}/ws")));
                let answer = client.response(false);
                assert_eq!(answer.status(), 101, "{name}");
                // Where the versions differ the key is ours to answer (RFC 6455 §1.3 has this one).
                let accept = if *name == "new" { "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" } else { "the origin's own" };
                assert_eq!(answer.header("sec-websocket-accept"), Some(accept), "{name}");
            }
        }
        for spoken in ["HTTP/2", "HTTP/1.1", "HTTP/2"] {
            assert_eq!(proxy.get("/last").text(), spoken);
            proxy.wait_stat("cluster.fickle.upstream_cx_active", |active| active == 0);
        }
    });
}

/// Reads a request's content in chunks, strictly: so many bytes of it, or with `None` all; and the trailers behind it.
fn chunks(connection: &mut Client, size: Option<usize>) -> (String, String) {
    let line = |connection: &mut Client| {
        let line = connection.until(b"\r\n").expect("a line");
        String::from_utf8_lossy(&line).trim_end().to_owned()
    };
    let mut content = vec![];
    while size.is_none_or(|size| content.len() < size) {
        // What ends a chunk may come with the next one.
        if !content.is_empty() {
            assert_eq!(connection.bytes(2), b"\r\n", "behind a chunk");
        }
        let text = line(connection);
        let size = usize::from_str_radix(&text, 16).unwrap_or_else(|_| panic!("no size of a chunk: {text:?}"));
        if size == 0 {
            break;
        }
        content.extend(connection.bytes(size));
    }
    let mut trailers = String::new();
    while size.is_none() {
        match line(connection) {
            end if end.is_empty() => break,
            trailer => trailers += trailer.strip_prefix("x-trailer: ").expect("the trailer that was sent"),
        }
    }
    (String::from_utf8(content).expect("text"), trailers)
}

/// By turns refuses a request and tells in its answer what came of one. `/part`: it refuses behind the first piece.
fn refusing_in_turn(mut connection: Client, refuses: bool, part: usize) {
    if connection.info().alpn.as_deref() != Some(b"h2") {
        let Ok(head) = connection.until(b"\r\n\r\n") else { return };
        let size = (refuses && head.starts_with(b"POST /part")).then_some(part);
        let (content, trailer) = chunks(&mut connection, size);
        let status = if refuses { 503 } else { 200 };
        connection.send(format!(
            "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: 0\r\nx-content: {content}\r\nx-trailer: {trailer}\r\n\r\n"
        ));
        _ = connection.some(); // until the proxy ends it
        return;
    }
    let Some(mut peer) = Peer::accept(connection, &[]) else { return };
    while let Some(came) = peer.next() {
        let Came::Section { stream, fields, ends } = came else { continue };
        let is_part = value(&fields, ":path").starts_with("/part");
        if refuses && is_part {
            peer.until(stream, |exchange| exchange.body.len() >= part);
        } else {
            assert!(!ends, "a body without a length");
            let whole = peer.answer(stream);
            if !refuses {
                let (content, trailer) = (whole.text(), value(&whole.trailers, "x-trailer"));
                peer.section(stream, &[(":status", "200"), ("x-content", &content), ("x-trailer", trailer)], true);
            }
        }
        peer.go_away(if refuses { 0 } else { stream }, 0);
        peer.ends();
        return;
    }
}

/// Guards against a body that is framed for another version than its sink's: what was sent in one is sent again in the other.
#[test]
fn a_body_is_framed_anew_for_an_endpoint_that_changes_its_mind() {
    let files = Files::new();
    let choosing = |name: &str| {
        let certificates = vec![files.authority.issue(&Leaf::default())];
        certificates::server(&ServerOptions { certificates, alpn: protocols(&[name]), ..ServerOptions::default() })
    };
    let fields = format!(
        "connect_timeout: 5s\n    {}\n    {}",
        upstream("", ""),
        options("auto_config: {http_protocol_options: {enable_trailers: true}, http2_protocol_options: {}}")
    );
    let policy = ", retry_policy: {retry_on: 5xx, num_retries: 1, retry_back_off: {base_interval: 0.001s}}";
    // Each connection of a cluster takes one request, and each request two connections.
    on_each_driver(|io| {
        for order in [["h2", "http/1.1"], ["http/1.1", "h2"]] {
            for pieces in [["hello", "world!"], ["", "hello"], ["", ""]] {
                let connections = Arc::new(AtomicUsize::new(0));
                let address = secured_in_turn(order.map(choosing), move |connection| {
                    let refuses = connections.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
                    refusing_in_turn(connection, refuses, pieces[0].len());
                });
                let config = Config::new()
                    .manager("http_protocol_options: {enable_trailers: true}")
                    .route("prefix: /", &format!("route: {{cluster: c{policy}}}"))
                    .cluster_with("c", address, &fields);
                let proxy = Proxy::start(io, &config);
                let mut tries = 0;
                for (path, trailer, http1) in [
                    ("/whole", "", false),
                    ("/whole", "t", false),
                    ("/whole", "t", true),
                    ("/whole", "", true),
                    ("/part", "", false),
                    ("/part", "t", false),
                    ("/part", "t", true),
                    ("/part", "", true),
                ] {
                    tries += 2;
                    let wait =
                        || proxy.wait_stat("cluster.c.upstream_rq_total", |total| path != "/part" || total == tries);
                    let found = if http1 {
                        let mut client = proxy.client();
                        let chunk = |piece: &str| match piece {
                            "" => String::new(),
                            piece => format!("{:x}\r\n{piece}\r\n", piece.len()),
                        };
                        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
                        client.send(chunk(pieces[0]));
                        wait();
                        client.send(chunk(pieces[1]));
                        client.send(if trailer.is_empty() { "0\r\n\r\n" } else { "0\r\nx-trailer: t\r\n\r\n" });
                        let answer = client.response(false);
                        ["x-content", "x-trailer"].map(|name| answer.header(name).unwrap_or("none").to_owned())
                    } else {
                        let mut client = Peer::connect(proxy.address);
                        let stream = client.post(path);
                        let mut send = |piece: &str, ends: bool| {
                            if ends || !piece.is_empty() {
                                client.data(stream, piece, ends);
                            }
                        };
                        send(pieces[0], false);
                        wait();
                        send(pieces[1], trailer.is_empty());
                        if !trailer.is_empty() {
                            client.section(stream, &[("x-trailer", "t")], true);
                        }
                        let answer = client.answer(stream);
                        ["x-content", "x-trailer"].map(|name| answer.field(name).to_owned())
                    };
                    assert_eq!(found, [&pieces.concat(), trailer], "{order:?} {pieces:?} {path} {http1}");
                    proxy.wait_stat("cluster.c.upstream_cx_active", |active| active == 0);
                }
                assert_eq!(proxy.stat("cluster.c.upstream_rq_retry"), tries / 2);
                assert_eq!(proxy.stat("cluster.c.upstream_cx_http2_total"), tries / 2);
            }
        }
    });
}
