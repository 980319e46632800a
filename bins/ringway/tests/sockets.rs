//! What is set on sockets: options, sources, keep-alive, both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir, run};

/// The next connection to a listener of the test's, and where it comes from.
fn peer_of(listener: &TcpListener) -> (SocketAddr, Client) {
    let (stream, peer) = listener.accept().expect("the proxy connects");
    (peer, Client::on(stream))
}

#[test]
fn connections_come_from_the_source_of_their_family() {
    on_each_driver(|io| {
        for (at, source, expect) in [
            ("127.0.0.1", "source_address: {address: 127.0.0.6, port_value: 0}", "127.0.0.6"),
            (
                "127.0.0.1",
                "source_address: {address: '::1', port_value: 0}, extra_source_addresses: [{address: {address: 127.0.0.7, \
                 port_value: 0}}]",
                "127.0.0.7",
            ),
            ("127.0.0.1", "source_address: {address: 127.9.9.9, port_value: 0}, freebind: true", "127.9.9.9"),
        ] {
            let origin = TcpListener::bind((at, 0)).expect("a port");
            let address = origin.local_addr().expect("bound");
            let config =
                Config::new().to("/", "c").cluster_with("c", address, &format!("upstream_bind_config: {{{source}}}"));
            let proxy = Proxy::start(io, &config);
            let mut client = proxy.client();
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            let (peer, mut upstream) = peer_of(&origin);
            assert_eq!(peer.ip(), expect.parse::<IpAddr>().expect("an address"), "{source}");
            upstream.read(false, false).expect("a request").expect("not the end");
            upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(client.response(false).status(), 200);
        }
    });
}

#[test]
fn a_source_of_another_family_or_of_nobodys_is_a_failed_connection() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        for source in ["'::1'", "192.0.2.77"] {
            let fields = format!("upstream_bind_config: {{source_address: {{address: {source}, port_value: 0}}}}");
            let proxy = Proxy::start(io, &Config::new().to("/", "c").cluster_with("c", origin.address, &fields));
            assert_eq!(proxy.get("/name").status(), 503, "{source}");
            assert_eq!(proxy.stat("cluster.c.upstream_cx_connect_fail"), 1);
        }
    });
}

/// SO_KEEPALIVE and its times as the kernel keeps them: `/proc/net/tcp` shows a running keep-alive timer as `02` before its time.
fn has_keepalive(local: SocketAddr, remote: SocketAddr) -> bool {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(address) => {
            format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
        }
        SocketAddr::V6(_) => unreachable!("the test is over IPv4"),
    };
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let wanted = format!("{} {}", hex(local), hex(remote));
    let row = table.lines().find(|row| row.contains(&wanted)).unwrap_or_else(|| panic!("{wanted} is not in\n{table}"));
    row.split_whitespace().nth(5).is_some_and(|timer| timer.starts_with("02:"))
}

#[test]
fn keepalive_is_on_where_it_is_asked_for() {
    const KEEPALIVE: &str = "tcp_keepalive: {keepalive_time: 30, keepalive_interval: 10, keepalive_probes: 3}";
    on_each_driver(|io| {
        for on in [true, false] {
            let origin = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = origin.local_addr().expect("bound");
            let fields = match on {
                true => format!("upstream_connection_options: {{{KEEPALIVE}}}"),
                false => "connect_timeout: 5s".to_owned(),
            };
            let mut config = Config::new().to("/", "c").cluster_with("c", address, &fields);
            if on {
                config = config.listener(KEEPALIVE);
            }
            let proxy = Proxy::start(io, &config);
            let stream = std::net::TcpStream::connect(proxy.address).expect("it listens");
            let own = stream.local_addr().expect("connected");
            let mut client = Client::on(stream);
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            let (peer, mut upstream) = peer_of(&origin);
            upstream.read(false, false).expect("a request").expect("not the end");
            upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(client.response(false).status(), 200);
            assert_eq!(has_keepalive(peer, address), on, "towards the origin");
            assert_eq!(has_keepalive(proxy.address, own), on, "towards the client");
        }
    });
}

#[test]
fn a_listener_of_both_families_names_ipv4_clients_as_such() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let yaml =
            Config::new().to("/", "c").cluster("c", origin.address).manager("use_remote_address: true").yaml().replace(
                "name: main\n    address: {socket_address: {address: 127.0.0.1,",
                "name: main\n    address: {socket_address: {address: '::', ipv4_compat: true,",
            );
        let proxy = Proxy::start_yaml(io, &yaml, &["--concurrency", "2"]);
        let port = proxy.address.port();
        for (ip, expect) in [(IpAddr::from(Ipv4Addr::LOCALHOST), "127.0.0.1"), (Ipv6Addr::LOCALHOST.into(), "::1")] {
            assert_eq!(Client::connect((ip, port).into()).get("/name").status(), 200);
            assert_eq!(origin.request().header("x-forwarded-for"), Some(expect));
        }
    });
}

/// SO_RCVBUF and TCP_FASTOPEN are taken; an option that there is none of is refused by the kernel, and that is said.
#[test]
fn options_reach_the_kernel_and_its_refusal_is_said() {
    let taken = "socket_options: [{level: 1, name: 8, int_value: 16384}, {level: 6, name: 23, int_value: 5, state: STATE_BOUND}]\n    \
                 freebind: true\n    tcp_fast_open_queue_length: 7";
    on_each_driver(|io| {
        let proxy = Proxy::start_with(io, &Config::new().listener(taken), &["--concurrency", "2"]);
        assert_eq!(proxy.get("/direct").text(), "direct");
    });
    // No level has this number.
    let refused = Config::new().listener("socket_options: [{level: 4711, name: 1, int_value: 1}]").yaml();
    let dir = TempDir::new();
    let file = dir.rename_over("c.yaml", &refused);
    let output = run(&["-c", &file.display().to_string(), "--mode", "init_only", "--io", "poll"]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && log.contains("listener 'main': cannot bind 127.0.0.1:0"), "{log}");
    // The same towards an origin is a connection that cannot be made.
    let origin = Origin::start("one");
    let fields = "upstream_bind_config: {socket_options: [{level: 4711, name: 1, int_value: 1}]}";
    let proxy = Proxy::start("poll", &Config::new().to("/", "c").cluster_with("c", origin.address, fields));
    assert_eq!(proxy.get("/name").status(), 503);
}

#[test]
fn other_options_are_another_socket_of_the_same_address() {
    on_each_driver(|io| {
        let before = Config::new();
        let mut proxy = Proxy::start_with(io, &before, &["--concurrency", "2"]);
        let mut old = proxy.client();
        assert_eq!(old.get("/direct").text(), "direct");
        let port = proxy.address.port();
        let fixed = |config: Config| {
            config.yaml().replacen(
                "name: main\n    address: {socket_address: {address: 127.0.0.1, port_value: 0}}",
                &format!("name: main\n    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"),
                1,
            )
        };
        proxy.replace(&fixed(before.clone()));
        proxy.line("generation 2 in force");
        proxy.replace(&fixed(before.clone().listener("freebind: true")));
        proxy.line("generation 3 in force");
        assert_eq!(proxy.get("/direct").text(), "direct");
        assert_eq!(old.get("/direct").text(), "direct", "a connection outlives its socket");
    });
}
