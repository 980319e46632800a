//! Which filter chain takes a connection, by what is known of it before its first byte is served. TLS is not ended here: it passes through.

use crate::common::on_each_driver;
use crate::common::raw::{
    Chains, chain_of, client_hello, http_inspector, listener_stat, proxy_protocol, tls_inspector,
};

/// What clients begin with, and the chain that answers each.
#[track_caller]
fn check(chains: &Chains, rows: &[(Vec<u8>, &str)]) {
    on_each_driver(|io| {
        let proxy = chains.start(io, 1);
        for (begins, expect) in rows {
            let mut client = proxy.client();
            client.try_send(begins);
            assert_eq!(chain_of(&mut client), *expect, "{io}: {}", begins.escape_ascii());
        }
        let none = rows.iter().filter(|(_, expect)| *expect == "closed").count();
        proxy.wait_stat(
            &format!("listener.{}.no_filter_chain_match", proxy.address.to_string().replace(':', "_")),
            |count| count == none as u64,
        );
        assert_eq!(listener_stat(&proxy, "downstream_listener_filter_error"), 0, "{io}");
    });
}

#[test]
fn names_and_protocols_of_a_client_hello() {
    let chains = Chains::new()
        .listener(&format!("listener_filters: [{}]", tls_inspector()))
        .chain("exact", "server_names: [a.test]", "", "")
        .chain("wild", "server_names: [\"*.test\"]", "", "")
        .chain("wild_h2", "server_names: [\"*.test\"], application_protocols: [h2]", "", "")
        .chain("kuma", "server_names: [\"prices{Mesh=default}\"]", "", "")
        .chain("h2", "transport_protocol: tls, application_protocols: [h2, other]", "", "")
        .chain("raw", "transport_protocol: raw_buffer", "", "");
    check(
        &chains,
        &[
            (client_hello("a.test", &[]), "exact"),
            (client_hello("A.TEST", &[]), "exact"),
            // The name comes first: what it leaves out does not come back.
            (client_hello("a.test", &["h2"]), "exact"),
            (client_hello("b.test", &[]), "wild"),
            (client_hello("c.b.test", &["http/1.1"]), "wild"),
            // No DNS name, which is nothing to a connection whose TLS passes through.
            (client_hello("prices{mesh=Default}", &[]), "kuma"),
            (client_hello("other{mesh=default}", &["http/1.1"]), "closed"),
            (client_hello("b.test", &["http/1.1", "h2"]), "wild_h2"),
            (client_hello("", &["h2"]), "h2"),
            (client_hello("x.example", &["x", "other"]), "h2"),
            (client_hello("x.example", &["http/1.1"]), "closed"),
            (client_hello("test", &[]), "closed"),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "raw"),
        ],
    );
}

#[test]
fn what_passes_through_is_whole() {
    on_each_driver(|io| {
        let chains = Chains::new().chain("tls", "server_names: [a.test]", "", "");
        let proxy = chains.start(io, 1);
        let hello = client_hello("a.test", &["h2"]);
        let mut client = proxy.client();
        // Byte by byte, and what comes behind the hello.
        hello.iter().for_each(|byte| {
            client.send([*byte]);
        });
        client.send("behind");
        assert_eq!(chain_of(&mut client), "tls", "{io}");
        assert_eq!(client.bytes(hello.len() + 6), [hello.as_slice(), b"behind"].concat(), "{io}");
    });
}

#[test]
fn what_http_begins_with() {
    let filters = format!("listener_filters: [{}, {}]", tls_inspector(), http_inspector());
    let chains = Chains::new()
        .listener(&filters)
        .chain("h2c", "transport_protocol: raw_buffer, application_protocols: [h2c]", "", "")
        .chain("http1", "transport_protocol: raw_buffer, application_protocols: [http/1.1, http/1.0]", "", "")
        .chain("tls_h2", "transport_protocol: tls, application_protocols: [h2]", "", "")
        .default_chain("other");
    check(
        &chains,
        &[
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "h2c"),
            (b"GET / HTTP/1.1\r\n".to_vec(), "http1"),
            (b"GET / HTTP/1.0\r\n".to_vec(), "http1"),
            (client_hello("a", &["h2"]), "tls_h2"),
            (client_hello("a", &["http/1.1"]), "other"),
            (b"SSH-2.0-x\r\n".to_vec(), "other"),
        ],
    );
}

#[test]
fn addresses_and_ports() {
    let to = |source: &str, destination: &str| -> Vec<u8> {
        let [(source, source_port), (destination, port)] =
            [source, destination].map(|text| text.split_once(':').expect("an address"));
        format!("PROXY TCP4 {source} {destination} {source_port} {port}\r\n").into_bytes()
    };
    let ranges = |text: &str, bits: u8| format!("[{{address_prefix: {text}, prefix_len: {bits}}}]");
    let chains = Chains::new()
        .listener(&format!("listener_filters: [{}]", proxy_protocol("")))
        .chain("port", "destination_port: 443", "", "")
        .chain("net", &format!("prefix_ranges: {}", ranges("198.51.100.0", 24)), "", "")
        .chain("host", &format!("prefix_ranges: {}", ranges("198.51.100.7", 32)), "", "")
        .chain("from", &format!("source_prefix_ranges: {}", ranges("192.0.2.0", 24)), "", "")
        .chain("from_port", "source_ports: [7000, 7001]", "", "")
        .chain("local", "source_type: SAME_IP_OR_LOOPBACK", "", "")
        .chain(
            "elsewhere",
            &format!("destination_port: 80, direct_source_prefix_ranges: {}", ranges("10.0.0.0", 8)),
            "",
            "",
        )
        .chain(
            "direct",
            &format!("destination_port: 81, direct_source_prefix_ranges: {}", ranges("127.0.0.0", 8)),
            "",
            "",
        );
    check(
        &chains,
        &[
            (to("192.0.2.1:7000", "198.51.100.7:443"), "port"),
            (to("192.0.2.1:7000", "198.51.100.8:444"), "net"),
            (to("192.0.2.1:7000", "198.51.100.7:444"), "host"),
            (to("192.0.2.1:7000", "203.0.113.1:444"), "from"),
            (to("192.0.3.1:7001", "203.0.113.1:444"), "from_port"),
            (to("192.0.3.1:7002", "203.0.113.1:444"), "closed"),
            (to("127.0.0.1:7002", "203.0.113.1:444"), "local"),
            (to("203.0.113.1:7002", "203.0.113.1:444"), "local"),
            // The port comes first, and its chain is not for this peer.
            (to("192.0.2.1:7000", "203.0.113.1:80"), "closed"),
            (to("192.0.2.1:7000", "203.0.113.1:81"), "direct"),
        ],
    );
}
