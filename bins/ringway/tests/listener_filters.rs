//! Listener filters: what the PROXY protocol says of a client and where that goes, and how long a client is waited for.

use std::fs;
use std::net::TcpStream;

use crate::common::client::Client;
use crate::common::config::{Config, access_log};
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir};
use crate::common::raw::{
    Chains, chain_of, client_hello, http_inspector, listener_stat, proxy_protocol, proxy_v2, tls_inspector,
};
use crate::common::{on_each_driver, wait_for};

/// Fields of a cluster that is told by the PROXY protocol whose connections it gets.
fn told(config: &str) -> String {
    format!(
        "    transport_socket: {{name: pp, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport, config: {{{config}}}, \
         transport_socket: {{name: raw, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}}}}}}\n"
    )
}

/// Bytes that are sent, and what the origin gets; `None`: the connection is closed. OWN: the connection's own addresses, as version 1 writes them.
type Row = (Vec<u8>, Option<&'static str>);
const OWN: &str = "OWN";

#[track_caller]
fn check_v1(rules: &str, rows: &[Row]) {
    on_each_driver(|io| {
        let chains = Chains::new().listener(&format!("listener_filters: [{}]", proxy_protocol(rules)));
        let proxy = chains.chain("through", "", "", &told("version: V1")).start(io, 1);
        for (begins, expect) in rows {
            let stream = TcpStream::connect(proxy.address).expect("the listener");
            let own = stream.local_addr().expect("an address");
            let mut client = Client::on(stream);
            client.try_send(begins);
            let Some(expect) = expect else {
                assert_eq!(chain_of(&mut client), "closed", "{io}: {rules}: {}", begins.escape_ascii());
                continue;
            };
            let (from, to) = (own, proxy.address);
            let own = format!("PROXY TCP4 {} {} {} {}", from.ip(), to.ip(), from.port(), to.port());
            let expect = expect.replace(OWN, &own);
            assert_eq!(chain_of(&mut client), "through", "{io}: {rules}: {}", begins.escape_ascii());
            let got = client.bytes(expect.len());
            assert_eq!(String::from_utf8_lossy(&got), expect, "{io}: {}", begins.escape_ascii());
        }
        let refused = rows.iter().filter(|(_, expect)| expect.is_none()).count() as u64;
        assert_eq!(listener_stat(&proxy, "downstream_listener_filter_error"), refused, "{io}: {rules}");
    });
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.2 1000 2000\r\nhi";
const V1_TOLD: &str = "PROXY TCP4 192.0.2.1 198.51.100.2 1000 2000\r\nhi";

fn v2() -> Vec<u8> {
    [proxy_v2(Some(("192.0.2.1:1000", "198.51.100.2:2000")), &[]).as_slice(), b"hi"].concat()
}

#[test]
fn who_the_client_is_by_the_word_of_a_proxy() {
    let v6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 2000\r\nhi".to_vec();
    let mapped = b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 1000 2000\r\nhi".to_vec();
    check_v1(
        "",
        &[
            (V1.to_vec(), Some(V1_TOLD)),
            (v2(), Some(V1_TOLD)),
            (mapped, Some(V1_TOLD)),
            (v6, Some("PROXY TCP6 2001:db8::1 2001:db8::2 1000 2000\r\nhi")),
            (b"PROXY UNKNOWN\r\nhi".to_vec(), Some("OWN\r\nhi")),
            ([proxy_v2(None, &[]).as_slice(), b"hi"].concat(), Some("OWN\r\nhi")),
            (b"PROXY TCP4 192.0.2.1\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 1000 65536\r\n".to_vec(), None),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), None),
        ],
    );
}

#[test]
fn a_header_may_be_left_out_where_the_file_says_so() {
    let plain = "hello, said without a header";
    check_v1(
        "allow_requests_without_proxy_protocol: true",
        &[(plain.as_bytes().to_vec(), Some("OWN\r\nhello, said without a header")), (V1.to_vec(), Some(V1_TOLD))],
    );
}

#[test]
fn a_version_may_be_refused() {
    check_v1("disallowed_versions: [V1]", &[(V1.to_vec(), None), (v2(), Some(V1_TOLD))]);
    check_v1("disallowed_versions: [V2]", &[(v2(), None), (V1.to_vec(), Some(V1_TOLD))]);
}

#[test]
fn values_of_a_header_go_on_as_both_sides_say() {
    let ends = Some(("192.0.2.1:1000", "198.51.100.2:2000"));
    let (one, other) = (b"\xe0\0\x03abc", b"\xe1\0\x01x");
    let both = [one.as_slice(), other].concat();
    let only_one = "match_type: INCLUDE, tlv_type: [0xE0]";
    for (kept, passed, expect) in [
        ("match_type: INCLUDE_ALL", "match_type: INCLUDE_ALL", both.as_slice()),
        (only_one, "match_type: INCLUDE_ALL", one),
        ("match_type: INCLUDE_ALL", only_one, one),
        (only_one, "match_type: INCLUDE", b""),
    ] {
        on_each_driver(|io| {
            let filter = proxy_protocol(&format!("pass_through_tlvs: {{{kept}}}"));
            let cluster = told(&format!("version: V2, pass_through_tlvs: {{{passed}}}"));
            let chains = Chains::new().listener(&format!("listener_filters: [{filter}]"));
            let proxy = chains.chain("through", "", "", &cluster).start(io, 1);
            let mut client = proxy.client();
            client.send(proxy_v2(ends, &both)).send("hi");
            let expect = [proxy_v2(ends, expect).as_slice(), b"hi"].concat();
            assert_eq!(chain_of(&mut client), "through", "{io}");
            assert_eq!(client.bytes(expect.len()), expect, "{io}: {kept} / {passed}");
        });
    }
}

#[test]
fn requests_and_access_logs_tell_the_client() {
    on_each_driver(|io| {
        let (origin, dir) = (Origin::start("origin"), TempDir::new());
        let paths = ["requests", "connections"].map(|name| dir.0.join(name));
        let [of_requests, of_connections] = paths.each_ref().map(|path| {
            let ends = "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% \
                        %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_DIRECT_LOCAL_ADDRESS%";
            access_log(path, ends)
        });
        let config = Config::new()
            .listener(&format!("listener_filters: [{}]", proxy_protocol("")))
            .manager("use_remote_address: true")
            .manager(&of_requests)
            .listener(&of_connections)
            .to("/", "origin")
            .cluster("origin", origin.address);
        let proxy = Proxy::start_with(io, &config, &["--concurrency", "1", "--file-flush-interval-msec", "10"]);
        let mut client = proxy.client();
        client.send("PROXY TCP4 192.0.2.1 198.51.100.2 1000 2000\r\n");
        assert_eq!(client.get("/").status(), 200, "{io}");
        assert_eq!(origin.request().header("x-forwarded-for"), Some("192.0.2.1"), "{io}");
        drop(client);
        for path in paths {
            let line = wait_for("a line of the access log", || {
                fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))
            });
            let expect = format!("192.0.2.1:1000 127.0.0.1 198.51.100.2:2000 {}\n", proxy.address);
            assert_eq!(line, expect, "{io}: {}", path.display());
        }
    });
}

#[test]
fn who_lets_the_server_speak_first_waits_only_where_a_chain_depends_on_its_words() {
    on_each_driver(|io| {
        let filters = format!("listener_filters: [{}, {}]", tls_inspector(), http_inspector());
        let chains = Chains::new().listener(&filters).listener("listener_filters_timeout: 3600s");
        let proxy = chains.chain("through", "", "", "").start(io, 1);
        assert_eq!(chain_of(&mut proxy.client()), "through", "{io}");
        assert_eq!(listener_stat(&proxy, "downstream_pre_cx_timeout"), 0, "{io}");
    });
}

#[test]
fn silence_ends_by_the_listeners_time() {
    for (goes_on, expect) in [("false", "closed"), ("true", "raw")] {
        on_each_driver(|io| {
            let proxy = Chains::new()
                .listener(&format!("listener_filters: [{}]", tls_inspector()))
                .listener("listener_filters_timeout: 0.2s")
                .listener(&format!("continue_on_listener_filters_timeout: {goes_on}"))
                .chain("tls", "transport_protocol: tls", "", "")
                .chain("raw", "transport_protocol: raw_buffer", "", "")
                .start(io, 1);
            assert_eq!(chain_of(&mut proxy.client()), expect, "{io}");
            assert_eq!(listener_stat(&proxy, "downstream_pre_cx_timeout"), 1, "{io}");
            wait_for("none is looked at any more", || {
                (listener_stat(&proxy, "downstream_pre_cx_active") == 0).then_some(())
            });
        });
    }
}

#[test]
fn who_leaves_early_is_counted() {
    on_each_driver(|io| {
        let chains = Chains::new().listener(&format!("listener_filters: [{}]", proxy_protocol("")));
        let proxy = chains.chain("through", "", "", "").start(io, 1);
        let mut client = proxy.client();
        client.send("PROXY TC").finish();
        assert_eq!(chain_of(&mut client), "closed", "{io}");
        assert_eq!(listener_stat(&proxy, "downstream_listener_filter_remote_close"), 1, "{io}");
    });
}

/// What the listener filters find is counted under Envoy's names, each row as Envoy 1.40 counts it.
#[test]
fn what_a_connection_begins_with_is_counted() {
    let too_large = [b"\x16\x03\x01\x40\0\x01\0\x44\0".as_slice(), &[b'x'; 16_380]].concat();
    let rows: [(&[u8], &str); 6] = [
        (b"GET / HTTP/1.1\r\n\r\n", "tls_inspector.tls_not_found http_inspector.http11_found"),
        (b"GET / HTTP/1.0\r\n\r\n", "tls_inspector.tls_not_found http_inspector.http10_found"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "tls_inspector.tls_not_found http_inspector.http2_found"),
        (b"\x01 no HTTP", "tls_inspector.tls_not_found http_inspector.http_not_found"),
        (&client_hello("a.test", &["h2"]), "tls_inspector.tls_found tls_inspector.sni_found tls_inspector.alpn_found"),
        (&client_hello("", &[]), "tls_inspector.tls_found tls_inspector.sni_not_found tls_inspector.alpn_not_found"),
    ];
    on_each_driver(|io| {
        let filters = format!("listener_filters: [{}, {}]", tls_inspector(), http_inspector());
        let chains = Chains::new().listener(&filters).chain("h2", "application_protocols: [h2]", "", "");
        let proxy = chains.chain("other", "", "", "").start(io, 1);
        let mut counts = std::collections::BTreeMap::new();
        for (begins, counted) in &rows {
            let mut client = proxy.client();
            client.send(begins);
            assert_ne!(chain_of(&mut client), "closed", "{io}");
            counted.split(' ').for_each(|name| *counts.entry(name).or_insert(0) += 1);
            for (name, count) in &counts {
                assert_eq!(proxy.stat(name), *count, "{io}: {name} after {}", begins.escape_ascii());
            }
        }
        let mut client = proxy.client();
        client.try_send(&too_large);
        assert_eq!(chain_of(&mut client), "closed", "{io}");
        assert_eq!(proxy.stat("tls_inspector.client_hello_too_large"), 1, "{io}");
    });
}

/// What is wrong with a header of the PROXY protocol is counted, and the first is said in the log: who sent it, which rule, where.
#[test]
fn a_wrong_header_is_counted_and_said() {
    /// What a connection begins with, and what is counted then.
    type Wrong<'w> = (&'w [u8], &'w str);
    let wrong_v2 = b"\r\n\r\n\0\r\nQUIT\n\x2f\x11\0\x0c";
    let wrong_v1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 1000 65536\r\n";
    let groups: [(&str, &[Wrong<'_>], &str); 2] = [
        (
            "",
            &[
                (wrong_v1, "versions.v1.error"),
                (wrong_v2, "versions.v2.error"),
                (b"GET / HTTP/1.1\r\n\r\n", "not_found_disallowed"),
            ],
            "a port of version 1 is a number up to 65535 without leading zeros; not so from byte 46 on of \"PROXY TCP4 192",
        ),
        (
            "stat_prefix: pre, disallowed_versions: [V1]",
            &[(V1, "pre.versions.v1.disallowed"), (b"\n", "pre.not_found_disallowed")],
            "its version is not among disallowed_versions; not so from byte 45 on",
        ),
    ];
    for (rules, rows, said) in groups {
        on_each_driver(|io| {
            let chains = Chains::new().listener(&format!("listener_filters: [{}]", proxy_protocol(rules)));
            let mut proxy = chains.chain("through", "", "", "").start(io, 1);
            let mut first = None;
            for (begins, counted) in rows {
                let stream = TcpStream::connect(proxy.address).expect("the listener");
                first = first.or(stream.local_addr().ok());
                let mut client = Client::on(stream);
                client.try_send(begins);
                assert_eq!(chain_of(&mut client), "closed", "{io}");
                assert_eq!(proxy.stat(&format!("proxy_proto.{counted}")), 1, "{io}: {counted}");
            }
            let line = proxy.line("PROXY protocol");
            assert!(line.contains("[warning] listener \"main\"") && line.contains(said), "{io}: {line}");
            assert!(line.contains(&format!("{} is refused", first.expect("an address"))), "{io}: {line}");
        });
    }
}
