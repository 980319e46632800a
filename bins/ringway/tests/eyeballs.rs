//! An endpoint of several addresses (Happy Eyeballs, RFC 8305): by `additional_addresses`, and by a name of LOGICAL_DNS.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::common::config::Config;
use crate::common::dns::{Answer, NameServer};
use crate::common::origin::{Origin, refusing};
use crate::common::process::{Proxy, TempDir, run};
use crate::common::{on_each_driver, wait_for};

/// An address at which a connect neither succeeds nor fails: its queue is full, so what comes is dropped (listen(2)).
struct Silent {
    address: SocketAddr,
    _socket: OwnedFd,
    _queued: Vec<TcpStream>,
}

impl Silent {
    fn new() -> Silent {
        let socket = ringway_runtime::bind(([127, 0, 0, 1], 0).into(), false).expect("a port");
        ringway_runtime::start_listening(socket.as_fd(), 0).expect("it is bound");
        let listener = TcpListener::from(socket.try_clone().expect("a descriptor"));
        let address = listener.local_addr().expect("bound");
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
        Silent { address, _queued: std::iter::from_fn(connect).collect(), _socket: socket }
    }
}

fn socket(address: SocketAddr) -> String {
    format!("address: {{socket_address: {{address: '{}', port_value: {}}}}}", address.ip(), address.port())
}

/// A cluster `c` of one endpoint with these addresses, all requests to it, and a log of where they went.
fn config(fields: &str, addresses: &[SocketAddr], log: &str) -> Config {
    let additional: Vec<String> = addresses[1..].iter().map(|address| format!("{{{}}}", socket(*address))).collect();
    let assignment = format!(
        "load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: [{{endpoint: {{{}, additional_addresses: [{}]}}}}]}}]}}",
        socket(addresses[0]),
        additional.join(", ")
    );
    Config::new().to("/", "c").cluster_lines("c", fields, &assignment).manager(&format!(
        "access_log: [{{name: a, typed_config: {{'@type': \
         type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: {log}, \
         log_format: {{text_format_source: {{inline_string: \"%UPSTREAM_HOST% %UPSTREAM_REMOTE_ADDRESS% \
         %RESPONSE_FLAGS%\\n\"}}}}}}}}]"
    ))
}

const FLUSH: &[&str] = &["--concurrency", "1", "--file-flush-interval-msec", "20"];

#[test]
fn the_first_address_that_answers_is_taken() {
    on_each_driver(|io| {
        let (silent, origin) = (Silent::new(), Origin::start("one"));
        let refused = refusing("127.0.0.1");
        for (addresses, attempts) in [
            (vec![origin.address, refused], 1),
            (vec![refused, origin.address], 2),
            // The next begins when nothing has come of the one before.
            (vec![silent.address, origin.address], 2),
            (vec![silent.address, refused, origin.address], 3),
            // Families take turns, wherever they stand in the list.
            (vec![refused, silent.address, silent.address, silent.address, refusing("::1")], 0),
        ] {
            let dir = TempDir::new();
            let log = dir.0.join("log");
            let served = attempts > 0;
            let timeout = if served { "connect_timeout: 20s" } else { "connect_timeout: 0.5s" };
            let proxy = Proxy::start_with(io, &config(timeout, &addresses, &log.display().to_string()), FLUSH);
            let mut client = proxy.client();
            let status = if served { 200 } else { 503 };
            // The second goes over the connection that was made.
            for _ in 0..1 + usize::from(served) {
                assert_eq!(client.get("/name").status(), status, "{addresses:?}");
            }
            if served {
                assert_eq!(proxy.stat("cluster.c.upstream_cx_total"), attempts, "{addresses:?}");
                assert_eq!(proxy.stat("cluster.c.upstream_cx_connect_fail"), 0);
                assert_eq!(proxy.stat("cluster.c.upstream_cx_active"), 1);
            } else {
                // It has one time for all, and is one connection that failed.
                assert_eq!(proxy.stat("cluster.c.upstream_cx_connect_fail"), 1);
                assert_eq!(proxy.stat("cluster.c.upstream_cx_connect_timeout"), 1);
                assert_eq!(proxy.stat("cluster.c.upstream_cx_active"), 0);
            }
            assert_eq!(proxy.stat("cluster.c.membership_total"), 1);
            let first = addresses[0];
            let expect = match served {
                true => format!("{first} {} -\n", origin.address).repeat(2),
                false => format!("{first} {first} UF\n"),
            };
            wait_for(&expect, || (fs::read_to_string(&log).ok()? == expect).then_some(()));
        }
    });
}

#[test]
fn families_take_turns_as_the_cluster_says() {
    on_each_driver(|io| {
        let [v4, v6] = [Origin::on_one_port(["127.0.0.1"]), Origin::on_one_port(["::1"])].map(|[origin]| origin);
        let refused = refusing("127.0.0.1");
        let options = |config: &str| format!("upstream_connection_options: {{happy_eyeballs_config: {{{config}}}}}");
        for (options, addresses, name, attempts) in [
            ("connect_timeout: 5s".to_owned(), [refused, v4.address, v6.address], "::1", 2),
            (options("first_address_family_version: V6"), [v4.address, refused, v6.address], "::1", 1),
            (options("first_address_family_version: V4"), [v6.address, v4.address, refused], "127.0.0.1", 1),
            (options("first_address_family_count: 2"), [refused, v6.address, v4.address], "127.0.0.1", 2),
        ] {
            let proxy = Proxy::start(io, &config(&options, &addresses, "/dev/null"));
            assert_eq!(proxy.get("/name").text(), name, "{options}");
            assert_eq!(proxy.stat("cluster.c.upstream_cx_total"), attempts, "{options}");
        }
    });
}

#[test]
fn when_all_refuse_it_is_one_failure() {
    on_each_driver(|io| {
        let addresses = [refusing("127.0.0.1"), refusing("::1"), refusing("127.0.0.1")];
        let proxy = Proxy::start(io, &config("connect_timeout: 5s", &addresses, "/dev/null"));
        assert_eq!(proxy.get("/name").status(), 503);
        assert_eq!(proxy.stat("cluster.c.upstream_cx_total"), 3);
        assert_eq!(proxy.stat("cluster.c.upstream_cx_http1_total"), 1);
        assert_eq!(proxy.stat("cluster.c.upstream_cx_connect_fail"), 1);
    });
}

/// A change of the other addresses: connections that may lead to one that is gone are not used any more.
#[test]
fn a_reload_of_the_addresses_is_followed() {
    on_each_driver(|io| {
        let (one, two, refused) = (Origin::start("one"), Origin::start("two"), refusing("127.0.0.1"));
        let with = |origin: &Origin| config("connect_timeout: 5s", &[refused, origin.address], "/dev/null");
        let mut proxy = Proxy::start(io, &with(&one));
        let mut client = proxy.client();
        assert_eq!(client.get("/name").text(), "one");
        proxy.replace(&with(&two).yaml());
        proxy.line("generation 2 in force");
        assert_eq!(client.get("/name").text(), "two");
    });
}

#[test]
fn the_addresses_of_a_logical_name_are_tried_in_turn() {
    on_each_driver(|io| {
        let [origin] = Origin::on_one_port(["127.0.0.2"]);
        let server = NameServer::start();
        server.set("a.test", Answer::of(&["127.0.0.3", "127.0.0.2"]));
        let fields = "type: LOGICAL_DNS\n    dns_lookup_family: V4_ONLY\n    dns_refresh_rate: 0.02s";
        let config =
            Config::new().top(&server.resolver("")).to("/", "c").names("c", "a.test", origin.address.port(), fields);
        let proxy = Proxy::start(io, &config);
        assert_eq!(proxy.get("/name").text(), "127.0.0.2");
        assert_eq!(proxy.stat("cluster.c.upstream_cx_total"), 2);
        assert_eq!(proxy.stat("cluster.c.membership_total"), 1);
        let generation = proxy.stat("config.generation");
        // The first is what counts: another order of the rest is no change.
        server.wait_question("a.test");
        server.wait_question("a.test");
        assert_eq!(proxy.stat("config.generation"), generation);
        server.set("a.test", Answer::of(&["127.0.0.2", "127.0.0.3"]));
        proxy.wait_stat("config.generation", |now| now > generation);
    });
}

#[test]
fn what_has_no_order_is_refused() {
    let dir = TempDir::new();
    let [a, b] = [refusing("127.0.0.1"), refusing("127.0.0.1")];
    let whole = config("connect_timeout: 5s", &[a, b], "/dev/null").yaml();
    let pipe = "address: {pipe: {path: /nobody}}";
    for (yaml, expect) in [
        (
            whole.replace(&socket(b), pipe),
            "additional_addresses[0].address.pipe: one of several addresses must be a socket_address",
        ),
        (whole.replace(&socket(a), pipe), "endpoint.additional_addresses: a unix socket has no other addresses"),
        (whole.replace(&socket(b), ""), "additional_addresses[0].address: value is required"),
        (
            whole.replace("connect_timeout: 5s", "type: STRICT_DNS"),
            "endpoint.additional_addresses: a cluster of names has none, only a STATIC one",
        ),
    ] {
        let file = dir.rename_over("c.yaml", &yaml);
        let output = run(&["-c", &file.display().to_string(), "--mode", "validate"]);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && log.contains(expect), "{expect}: {log}");
    }
}
