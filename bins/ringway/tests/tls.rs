//! TLS with clients: who gets in and who does not, what is chosen and counted, and what the origin is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;

use ringway_tls::{ClientContext, ClientOptions, Version};

use crate::common;
use crate::common::client::Client;
use crate::common::config::{Config, LOGS_SOON, access_log};
use crate::common::files::certificates::{Authority, Leaf, dns, self_signed, uri};
use crate::common::files::{Files, protocols, socket, version};
use crate::common::http2::Peer;
use crate::common::on_each_driver;
use crate::common::origin::{Origin, served_by};
use crate::common::process::{Proxy, TempDir};

const INSPECTOR: &str = "listener_filters: [{name: i, typed_config: {'@type': type.googleapis.com/\
                         envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}]";
const FILE_LOG: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
const TCP: &str = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

fn listener_stat(proxy: &Proxy, name: &str) -> u64 {
    proxy.stat(&format!("listener.127.0.0.1_{}.{name}", proxy.address.port()))
}

#[track_caller]
fn connect(proxy: &Proxy, context: &Arc<ClientContext>) -> Client {
    Client::secured(proxy.address, context, Some("example.com")).expect("a handshake")
}

#[test]
fn alpn_chooses_the_protocol() {
    let files = Files::new();
    on_each_driver(|io| {
        let origin = Origin::start("origin");
        let tls = files.socket("", ", alpn_protocols: [h2, http/1.1]");
        let proxy = Proxy::start(io, &Config::new().to("/", "o").cluster("o", origin.address).chain(&tls));
        for (offered, chosen) in [
            (&["h2", "http/1.1"][..], Some("h2")),
            (&["http/1.1", "h2"], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&["spdy/3"], None),
            (&[], None),
        ] {
            let context = files.client(ClientOptions { alpn: protocols(offered), ..ClientOptions::default() });
            let mut client = connect(&proxy, &context);
            assert_eq!(client.info().alpn.as_deref(), chosen.map(str::as_bytes), "{offered:?}");
            if chosen == Some("h2") {
                let mut peer = Peer::on(client, &[]);
                let stream = peer.get("/name");
                assert_eq!(peer.answer(stream).text(), "origin");
            } else {
                assert_eq!(client.get("/name").text(), "origin");
            }
            assert_eq!(origin.request().header("x-forwarded-proto"), Some("https"), "{offered:?}");
        }
        // Without ALPN the first bytes tell, as on a plain connection.
        let mut peer = Peer::on(connect(&proxy, &files.client(ClientOptions::default())), &[]);
        let stream = peer.get("/name");
        assert_eq!(peer.answer(stream).status(), "200");
        assert_eq!(proxy.stat("http.main.downstream_cx_http2_total"), 3);
        assert_eq!(listener_stat(&proxy, "ssl.handshake"), 6);
        assert_eq!(listener_stat(&proxy, "ssl.no_certificate"), 6);
        assert_eq!(listener_stat(&proxy, "ssl.versions.TLSv1.3"), 6);
    });
}

/// Of a connection: why it came to nothing, or who it was.
const WHO: &str = "%ACCESS_LOG_TYPE% %PROTOCOL% %RESPONSE_FLAGS% %DOWNSTREAM_TRANSPORT_FAILURE_REASON% %DOWNSTREAM_PEER_URI_SAN% \
                   %DOWNSTREAM_TLS_VERSION%";
const EXPIRED: &str = "verify_cert_failed:_certificate_has_expired_or_is_not_yet_valid";
const GOOD: &str = "spiffe://td/sa/good";

/// Guards against a client that is let in although its certificate is not right, in both versions: in TLS 1.3 the client is done first.
#[test]
fn client_certificates_are_judged() {
    let files = Files::new();
    let name = || vec![uri(GOOD)];
    let leaf = |serial, years| Leaf { names: name(), serial, years, ..Leaf::default() };
    let good = files.authority.issue(&leaf(1, (2000, 2100)));
    let rows = [
        ("right", Some(good), None),
        ("none", None, Some(("fail_verify_no_cert", "CertificateRequired", "peer_did_not_return_a_certificate"))),
        (
            "expired",
            Some(files.authority.issue(&leaf(2, (2000, 2010)))),
            Some(("fail_verify_error", "CertificateExpired", EXPIRED)),
        ),
        (
            "not yet valid",
            Some(files.authority.issue(&leaf(3, (2090, 2100)))),
            Some(("fail_verify_error", "CertificateExpired", EXPIRED)),
        ),
        (
            "revoked",
            Some(files.authority.issue(&leaf(4, (2000, 2100)))),
            Some(("fail_verify_error", "CertificateRevoked", "verify_cert_failed:_revoked")),
        ),
        (
            "another name",
            Some(files.authority.issue(&Leaf { names: vec![uri("spiffe://td/sa/goodish")], ..Leaf::default() })),
            Some(("fail_verify_san", "CertificateUnknown", "verify_cert_failed:_SAN_matcher")),
        ),
        (
            "another authority",
            Some(Authority::new("tests").issue(&leaf(1, (2000, 2100)))),
            Some(("fail_verify_error", "", "verify_cert_failed:_untrusted")),
        ),
        (
            "self-signed",
            Some(self_signed(true)),
            Some(("fail_verify_error", "CertificateUnknown", "verify_cert_failed:_untrusted")),
        ),
    ];
    files.put("crl.pem", &files.authority.revoke(&[4], 2100));
    let validation = format!(
        ", validation_context: {{trusted_ca: {}, crl: {}, match_typed_subject_alt_names: [{{san_type: URI, matcher: {{exact: \
         'spiffe://td/sa/good'}}}}]}}",
        files.file("ca.pem"),
        files.file("crl.pem")
    );
    on_each_driver(|io| {
        for is_required in [true, false] {
            let log = TempDir::new();
            let log = log.0.join("log");
            let socket = files.socket(if is_required { "require_client_certificate: true, " } else { "" }, &validation);
            let config = Config::new().chain(&socket).listener(&access_log(&log, WHO));
            let proxy = Proxy::start_with(io, &config, LOGS_SOON);
            let mut lines = Vec::new();
            for speaks in [Version::Tls12, Version::Tls13] {
                for (case, certificate, refused) in &rows {
                    let options = ClientOptions {
                        certificate: certificate.clone(),
                        parameters: version(speaks),
                        ..ClientOptions::default()
                    };
                    let refused = refused.filter(|_| is_required || *case != "none");
                    let before = refused.map(|(counter, ..)| listener_stat(&proxy, &format!("ssl.{counter}")));
                    let asked = Client::secured(proxy.address, &files.client(options), Some("example.com")).and_then(
                        |mut client| {
                            client.try_send(b"GET /direct HTTP/1.1\r\nHost: a\r\n\r\n");
                            client.read(false, true)
                        },
                    );
                    let Some((counter, alert, reason)) = refused else {
                        let answer = asked.expect("an answer").expect("an answer");
                        assert_eq!(answer.text(), "direct", "{case}");
                        let (uri, version) = (certificate.as_ref().map_or("-", |_| GOOD), speaks.name());
                        lines.push(format!("NotSet HTTP/1.1 - - {uri} {version}"));
                        continue;
                    };
                    lines.push(format!("NotSet - - TLS_error:_{reason} - -"));
                    let why = asked.err().unwrap_or_else(|| panic!("{case}: served")).to_string();
                    assert!(why.contains(&format!("peer sent alert {alert}")), "{case}: {why}");
                    let name = format!("ssl.{counter}");
                    common::wait_for(&name, || (listener_stat(&proxy, &name) > before?).then_some(()));
                }
            }
            lines.sort();
            assert_eq!(Proxy::log_lines(&log, lines.len()), lines, "{io}");
        }
    });
}

#[test]
fn plain_and_tls_on_one_port() {
    let files = Files::new();
    on_each_driver(|io| {
        let origin = Origin::start("origin");
        let chain = format!(
            "filter_chain_match: {{transport_protocol: tls}}\n      {}\n    - filters: *filters",
            files.socket("", "")
        );
        let config = Config::new().to("/", "o").cluster("o", origin.address).listener(INSPECTOR).chain(&chain);
        let proxy = Proxy::start(io, &config);
        assert_eq!(proxy.get("/name").status(), 200);
        assert_eq!(origin.request().header("x-forwarded-proto"), Some("http"));
        let mut client = connect(&proxy, &files.client(ClientOptions::default()));
        assert_eq!(client.get("/name").status(), 200);
        assert_eq!(origin.request().header("x-forwarded-proto"), Some("https"));
        assert_eq!(listener_stat(&proxy, "ssl.handshake"), 1);
    });
}

#[test]
fn each_server_name_has_its_certificate() {
    let files = Files::new();
    files.identity("a", &Leaf { names: vec![dns("a.test")], serial: 0x0A, ..Leaf::default() });
    files.identity("b", &Leaf { names: vec![dns("*.b.test")], serial: 0x0B, ..Leaf::default() });
    let all = ["a", "b"].map(|name| files.certificate(name)).join(", ");
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &Config::new().chain(&socket("", &format!("tls_certificates: [{all}]"))));
        let context = files.client(ClientOptions::default());
        for (name, shown) in [
            (Some("a.test"), "a.test"),
            (Some("x.b.test"), "*.b.test"),
            (Some("x.y.b.test"), "a.test"),
            (Some("other.test"), "a.test"),
            (None, "a.test"),
        ] {
            let mut client = Client::secured(proxy.address, &context, name).expect("a handshake");
            assert_eq!(client.get("/direct").status(), 200);
            let peer = client.info().peer.as_ref().expect("a certificate");
            assert_eq!(peer.certificate.dns_names().collect::<Vec<_>>(), [shown], "{name:?}");
        }
    });
}

/// `require_sni`: who names no server is not served.
#[test]
fn a_server_name_may_be_required() {
    let files = Files::new();
    files.identity("a", &Leaf { names: vec![dns("a.test")], ..Leaf::default() });
    let common = format!("tls_certificates: [{}]", files.certificate("a"));
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &Config::new().chain(&socket("require_sni: true,", &common)));
        let context = files.client(ClientOptions::default());
        let mut client = Client::secured(proxy.address, &context, Some("a.test")).expect("a handshake");
        assert_eq!(client.get("/direct").status(), 200);
        if let Ok(mut client) = Client::secured(proxy.address, &context, None) {
            client.try_send(b"GET /direct HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(client.ended());
        }
        proxy.wait_stat(&format!("listener.127.0.0.1_{}.ssl.connection_error", proxy.address.port()), |count| {
            count == 1
        });
    });
}

/// What an origin is told of a client's certificate (Envoy: `forward_client_cert_details`), and never more.
#[test]
fn the_origin_is_told_whose_certificate_it_was() {
    let files = Files::new();
    let leaf = Leaf { names: vec![uri("spiffe://td/sa/me"), dns("me.test")], ..Leaf::default() };
    let certificate = Some(files.authority.issue(&leaf));
    let validation = format!(", validation_context: {{trusted_ca: {}}}", files.file("ca.pem"));
    let forged = "Hash=0;URI=spiffe://td/sa/forged";
    on_each_driver(|io| {
        // Where ours is set: whether behind what came.
        for (mode, set) in [
            ("SANITIZE", None),
            ("SANITIZE_SET", Some(false)),
            ("APPEND_FORWARD", Some(true)),
            ("FORWARD_ONLY", None),
            ("ALWAYS_FORWARD_ONLY", None),
        ] {
            let origin = Origin::start("origin");
            let config = Config::new()
                .to("/", "o")
                .cluster("o", origin.address)
                .manager(&format!("forward_client_cert_details: {mode}"))
                .manager("set_current_client_cert_details: {uri: true, dns: true}")
                .chain(&files.socket("", &validation));
            let proxy = Proxy::start(io, &config);
            for certificate in [certificate.clone(), None] {
                let is_shown = certificate.is_some();
                let mut client =
                    connect(&proxy, &files.client(ClientOptions { certificate, ..ClientOptions::default() }));
                client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: {forged}\r\n\r\n"));
                assert_eq!(client.response(false).status(), 200);
                let request = origin.request();
                let told = request.header("x-forwarded-client-cert");
                match set.filter(|_| is_shown) {
                    Some(is_appended) => {
                        let told = told.unwrap_or_else(|| panic!("{mode}: nothing told"));
                        assert!(told.ends_with(";URI=spiffe://td/sa/me;DNS=me.test"), "{mode}: {told}");
                        assert_eq!(told.matches("Hash=").count(), 1 + usize::from(is_appended), "{mode}: {told}");
                        assert_eq!(told.starts_with(&format!("{forged},")), is_appended, "{mode}: {told}");
                    }
                    // Who showed no certificate cannot have been told of by one who may.
                    None => {
                        let stays = mode == "ALWAYS_FORWARD_ONLY" || mode == "FORWARD_ONLY" && is_shown;
                        assert_eq!(told, stays.then_some(forged), "{mode}, shown: {is_shown}");
                    }
                }
            }
        }
    });
}

/// What a log says of a connection's TLS: who the client was, and who we were to it.
#[test]
fn a_log_says_whose_connection_it_was() {
    let files = Files::new();
    let names = vec![uri("spiffe://td/sa/me"), uri("urn:2"), dns("me.test")];
    let certificate = Some(files.authority.issue(&Leaf { names, serial: 0x0A_0B, ..Leaf::default() }));
    let tls = files.socket("", &format!(", validation_context: {{trusted_ca: {}}}", files.file("ca.pem")));
    let operators = "%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER% %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_DNS_SAN% \
                     %DOWNSTREAM_PEER_IP_SAN% %DOWNSTREAM_PEER_SERIAL% %DOWNSTREAM_LOCAL_DNS_SAN% %UPSTREAM_PROTOCOL%";
    on_each_driver(|io| {
        let origin = Origin::start("origin");
        let path = files.dir.0.join(format!("log.{io}"));
        let log = format!(
            "access_log: [{{name: f, typed_config: {{'@type': {FILE_LOG}, path: {}, log_format: {{text_format_source: {{inline_string: \
             \"{operators}\\n\"}}}}}}}}]",
            path.display()
        );
        let config = Config::new().manager(&log).to("/", "o").cluster("o", origin.address).chain(&tls);
        let proxy = Proxy::start_with(io, &config, &["--concurrency", "1", "--file-flush-interval-msec", "20"]);
        let mut lines = String::new();
        for (speaks, said, cipher) in [
            (Version::Tls13, "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
            (Version::Tls12, "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ] {
            for certificate in [certificate.clone(), None] {
                let peer = if certificate.is_some() { "spiffe://td/sa/me,urn:2 me.test - 0a0b" } else { "- - - -" };
                let parameters = version(speaks);
                let options = ClientOptions { certificate, parameters, ..ClientOptions::default() };
                assert_eq!(connect(&proxy, &files.client(options)).get("/name").status(), 200);
                lines.push_str(&format!("{said} {cipher} {peer} example.com HTTP/1.1\n"));
            }
        }
        let read = || std::fs::read_to_string(&path).unwrap_or_default();
        common::wait_for("the lines", || (read().lines().count() == 4).then_some(()));
        assert_eq!(read(), lines);
    });
}

/// Guards against counting a connection twice while its handshake is under way: a worker would be full at half of its clients.
#[test]
fn a_handshake_under_way_counts_once() {
    let files = Files::new();
    on_each_driver(|io| {
        let proxy = Proxy::start_with(io, &Config::new().chain(&files.socket("", "")), &["--concurrency", "1"]);
        let silent: Vec<_> = (0..3).map(|_| proxy.client()).collect();
        let listener = format!("listener.127.0.0.1_{}", proxy.address.port());
        proxy.wait_stat(&format!("{listener}.downstream_cx_active"), |active| active == 3);
        assert_eq!(proxy.stat(&format!("{listener}.downstream_pre_cx_active")), 0);
        drop(silent);
        proxy.wait_stat(&format!("{listener}.downstream_cx_active"), |active| active == 0);
        assert_eq!(proxy.stat(&format!("{listener}.downstream_pre_cx_active")), 0);
    });
}

/// Guards against peers that hold a connection for nothing: silent ones, and ones that stop within a record.
#[test]
fn a_slow_handshake_ends() {
    let files = Files::new();
    on_each_driver(|io| {
        let short = format!("{}\n      transport_socket_connect_timeout: 0.1s", files.socket("", ""));
        let hasty = Proxy::start(io, &Config::new().chain(&short));
        for (begins, counter) in [(&b""[..], "handshake_timeout"), (&[22, 3, 1, 1, 0, 1], "handshake_timeout")] {
            let before = listener_stat(&hasty, &format!("ssl.{counter}"));
            let mut client = hasty.client();
            client.send(begins);
            assert!(client.ended());
            let name = format!("ssl.{counter}");
            common::wait_for(&name, || (listener_stat(&hasty, &name) > before).then_some(()));
        }
        // What is no TLS ends at once, not when the usual time is up.
        let proxy = Proxy::start(io, &Config::new().chain(&files.socket("", "")));
        for (sent, alert) in
            [(&b"GET / HTTP/1.1\r\n\r\n"[..], false), (&[22, 3, 1, 0x48, 1], true), (&[21, 3, 1, 0, 2, 2, 40], false)]
        {
            let before = listener_stat(&proxy, "ssl.connection_error");
            let mut client = proxy.client();
            client.send(sent);
            let came = client.some().unwrap_or_default();
            assert!(!alert || came.is_empty() || came[0] == 21, "{sent:?}: {came:?}");
            common::wait_for("connection_error", || {
                (listener_stat(&proxy, "ssl.connection_error") > before).then_some(())
            });
        }
        assert_eq!(connect(&proxy, &files.client(ClientOptions::default())).get("/direct").status(), 200);
        for proxy in [hasty, proxy] {
            proxy.wait_stat(&format!("listener.127.0.0.1_{}.downstream_cx_active", proxy.address.port()), |active| {
                active <= 1
            });
        }
    });
}

#[test]
fn sessions_are_resumed() {
    let files = Files::new();
    on_each_driver(|io| {
        for (fields, speaks, is_resumed) in [
            ("", Version::Tls13, true),
            ("", Version::Tls12, true),
            ("disable_stateless_session_resumption: true, ", Version::Tls13, false),
            ("disable_stateless_session_resumption: true, ", Version::Tls12, false),
        ] {
            let proxy = Proxy::start(io, &Config::new().chain(&files.socket(fields, "")));
            let context = files.client(ClientOptions { parameters: version(speaks), ..ClientOptions::default() });
            for turn in [false, true] {
                let mut client = connect(&proxy, &context);
                assert_eq!(client.info().resumed, turn && is_resumed, "{fields} {speaks:?}");
                assert_eq!(client.get("/direct").text(), "direct");
            }
            assert_eq!(listener_stat(&proxy, "ssl.session_reused"), u64::from(is_resumed));
            assert_eq!(listener_stat(&proxy, "ssl.handshake"), 2);
        }
    });
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

/// Each direction ends by itself: close_notify is an end of data, and what comes after it the other way still arrives.
#[test]
fn raw_bytes_and_their_ends() {
    const SIZE: usize = 200_000;
    let files = Files::new();
    on_each_driver(|io| {
        let tls = files.socket("", "");
        let yaml = raw(&Config::new().cluster("o", served_by(echo)).yaml(), &tls);
        let proxy = Proxy::start_yaml(io, &yaml, &["--concurrency", "1"]);
        let context = files.client(ClientOptions::default());
        let mut client = connect(&proxy, &context);
        let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
        for piece in bytes.chunks(30_000) {
            client.send(piece);
            assert!(client.bytes(piece.len()) == piece);
        }
        client.finish();
        assert_eq!(client.bytes(4), b"over");
        assert_eq!(client.some().expect("close_notify, not just an end"), b"");
        proxy.wait_stat("cluster.o.upstream_cx_active", |active| active == 0);
    });
}

/// Guards against bytes that are lost because who sent them closed its socket without close_notify, as many do: all of them arrive, and their end.
#[test]
fn an_end_without_close_notify_ends_raw_bytes() {
    const SIZE: usize = 1 << 20;
    let files = Files::new();
    on_each_driver(|io| {
        let sink = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = sink.local_addr().expect("bound");
        let (closes, is_closed) = mpsc::channel();
        let reads = thread::spawn(move || {
            let mut connection = sink.accept().expect("a connection").0;
            is_closed.recv().expect("the client closes");
            let mut all = Vec::new();
            let ended = connection.read_to_end(&mut all);
            ended.map(|_| all.len()).map_err(|error| error.kind())
        });
        let yaml = raw(&Config::new().cluster("o", address).yaml(), &files.socket("", ""));
        let proxy = Proxy::start_yaml(io, &yaml, &["--concurrency", "1"]);
        let mut client = connect(&proxy, &files.client(ClientOptions::default()));
        for _ in 0..SIZE / (64 << 10) {
            client.send([b'x'; 64 << 10]);
        }
        client.socket().shutdown(Shutdown::Write).expect("it is open");
        closes.send(()).expect("somebody waits");
        assert_eq!(reads.join().expect("the sink"), Ok(SIZE));
        assert_eq!(client.some().expect("close_notify"), b"");
        proxy.wait_stat("cluster.o.upstream_cx_active", |active| active == 0);
    });
}

/// The same file with a listener whose chain is raw, behind this transport.
fn raw(yaml: &str, tls: &str) -> String {
    let (head, rest) = yaml.split_once("    filter_chains:").expect("chains");
    let (_, clusters) = rest.split_once("  clusters:\n").expect("clusters");
    format!(
        "{head}    filter_chains:\n    - filters: [{{name: t, typed_config: {{'@type': {TCP}, stat_prefix: raw, cluster: o}}}}]\n      \
         {tls}\n  clusters:\n{clusters}"
    )
}

#[test]
fn large_bodies_both_ways() {
    const SIZE: usize = 1_000_000;
    let files = Files::new();
    on_each_driver(|io| {
        let origin = Origin::start("origin");
        let config = Config::new().to("/", "o").cluster("o", origin.address).chain(&files.socket("", ""));
        let proxy = Proxy::start(io, &config);
        let body: Vec<u8> = (0..SIZE).map(|at| (at % 253) as u8).collect();
        for path in ["/echo", "/echo-chunked"] {
            let mut client = connect(&proxy, &files.client(ClientOptions::default()));
            client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"));
            client.send(&body);
            assert!(client.response(false).body == body, "{path}");
        }
    });
}

/// A client that sends what no record may be: an alert, its end, and nobody else notices.
#[test]
fn wrong_records_end_their_connection() {
    let files = Files::new();
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &Config::new().chain(&files.socket("", "")));
        let context = files.client(ClientOptions::default());
        let mut other = connect(&proxy, &context);
        for wrong in
            [&[23, 3, 3, 0, 32, 1, 2][..], &[23, 3, 3, 0x50, 0], &[99, 3, 3, 0, 1, 0], &[22, 3, 3, 0, 4, 1, 0, 0, 0]]
        {
            let client = connect(&proxy, &context);
            let mut socket: TcpStream = client.socket().try_clone().expect("a descriptor");
            socket.write_all(wrong).expect("it takes bytes");
            if wrong[0] == 23 && wrong[3] == 0 {
                // A record that never becomes whole, and then its end.
                socket.shutdown(std::net::Shutdown::Write).expect("a FIN");
            }
            let mut client = client;
            assert!(client.some().map_or(true, |bytes| bytes.is_empty()), "{wrong:?}");
        }
        assert_eq!(other.get("/direct").status(), 200);
    });
}
