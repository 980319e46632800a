//! Several addresses: of one listener, and (see `eyeballs.rs`) of one endpoint.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::process::{Proxy, TempDir, run};
use crate::common::{on_each_driver, wait_for};

const ANY: &str = "{socket_address: {address: 127.0.0.1, port_value: 0}}";

/// A listener that answers with its own address, and listens at these besides the first.
fn config(additional: &[String]) -> Config {
    let additional: Vec<String> = additional.iter().map(|address| format!("{{address: {address}}}")).collect();
    Config::new()
        .route(
            "path: /where",
            "direct_response: {status: 200}\n                response_headers_to_add: [{header: {key: x-at, value: \
             '%DOWNSTREAM_LOCAL_ADDRESS%'}}]",
        )
        .listener(&format!("additional_addresses: [{}]", additional.join(", ")))
}

fn pipe(path: &Path) -> String {
    format!("{{pipe: {{path: {}}}}}", path.display())
}

/// The addresses that `/listeners` shows.
fn shown(proxy: &Proxy) -> Vec<String> {
    let listeners = proxy.admin("GET", "/listeners").text();
    listeners.lines().map(|line| line.strip_prefix("main::").expect("one listener").to_owned()).collect()
}

/// What a request at this address is told of it.
fn told(address: &str) -> String {
    const REQUEST: &[u8] = b"GET /where HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    let mut exchange = |mut stream: Box<dyn ReadWrite>| {
        stream.write_all(REQUEST).expect("it is read");
        stream.read_to_string(&mut answer).expect("an answer");
    };
    match address.parse::<SocketAddr>() {
        Ok(address) => exchange(Box::new(TcpStream::connect(address).expect("it listens"))),
        Err(_) => exchange(Box::new(UnixStream::connect(address).expect("it listens"))),
    }
    let at = answer.lines().find_map(|line| line.strip_prefix("x-at: "));
    at.unwrap_or_else(|| panic!("{address}: {answer}")).to_owned()
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[test]
fn a_listener_serves_at_each_of_its_addresses() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let pipes = ["a", "b"].map(|name| dir.0.join(name));
        let additional = [ANY.into(), ANY.into(), pipe(&pipes[0]), pipe(&pipes[1])];
        let proxy = Proxy::start_with(io, &config(&additional), &["--concurrency", "2"]);
        let addresses = shown(&proxy);
        assert_eq!(addresses.len(), 5, "{addresses:?}");
        assert_eq!(addresses[3..], pipes.each_ref().map(|path| path.display().to_string()));
        for address in &addresses {
            assert_eq!(told(address), *address);
        }
        let json = proxy.admin("GET", "/listeners?format=json").text();
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let status = &json["listener_statuses"][0];
        assert_eq!(status["local_address"]["socket_address"]["port_value"], proxy.address.port());
        assert_eq!(status["additional_local_addresses"][3]["pipe"]["path"], addresses[4]);
        // They count together, under the name of the first.
        let scope = format!("listener.{}", addresses[0].replace(':', "_"));
        proxy.wait_stat(&format!("{scope}.downstream_cx_total"), |total| total == 5);
        let stats = proxy.admin("GET", "/stats").text();
        assert!(!stats.contains(&format!("listener.{}", addresses[1].replace(':', "_"))), "{stats}");
        assert_eq!(proxy.stat("listener_manager.total_listeners_active"), 1);
    });
}

#[test]
fn a_reload_keeps_the_addresses_that_stay_and_those_connected() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let [one, two] = ["one", "two"].map(|name| dir.0.join(name));
        let before = config(&[ANY.into(), pipe(&one)]);
        let mut proxy = Proxy::start_with(io, &before, &["--concurrency", "2"]);
        let addresses = shown(&proxy);
        let mut kept = proxy.client();
        let mut gone = Client::connect(addresses[1].parse().expect("an address"));
        assert_eq!((kept.get("/direct").text(), gone.get("/direct").text()), ("direct".into(), "direct".into()));
        // One goes, one stays where it was, one comes.
        proxy.replace(&config(&[pipe(&one), pipe(&two)]).yaml());
        proxy.line("generation 2 in force");
        let after = [addresses[0].clone(), addresses[2].clone(), two.display().to_string()];
        assert_eq!(shown(&proxy), after);
        for address in &after {
            assert_eq!(told(address), *address);
        }
        wait_for("the socket's end", || TcpStream::connect(&addresses[1]).is_err().then_some(()));
        // The chain is there still, so what was connected is served.
        assert_eq!((kept.get("/direct").text(), gone.get("/direct").text()), ("direct".into(), "direct".into()));
        // A repeated address changes nothing.
        proxy.replace(&config(&[pipe(&one), pipe(&one)]).yaml());
        proxy.line(&format!("additional_addresses[1].address: a second listener on {}", one.display()));
        assert_eq!(shown(&proxy), after);
        assert_eq!(proxy.stat("listener_manager.listener_modified"), 1);
    });
}

/// The first address of the file becomes the second: the sockets stay, what they count goes by the other name.
#[test]
fn statistics_go_by_the_first_address() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let file = |first: &str, second: &str| {
            config(&[second.to_owned()])
                .yaml()
                .replace(&format!("name: main\n    address: {ANY}"), &format!("name: main\n    address: {first}"))
        };
        let [one, two] = ["one", "two"].map(|name| dir.0.join(name));
        let swapped = file(&pipe(&two), &pipe(&one));
        // The test's own client wants TCP: it only asks the admin server.
        let mut proxy = Proxy::start_with(io, &config(&[pipe(&one)]), &["--concurrency", "1"]);
        proxy.replace(&file(&pipe(&one), &pipe(&two)));
        proxy.line("generation 2 in force");
        told(&one.display().to_string());
        let name = |path: &Path| format!("listener.{}.downstream_cx_total", path.display());
        proxy.wait_stat(&name(&one), |total| total == 1);
        proxy.replace(&swapped);
        proxy.line("generation 3 in force");
        told(&one.display().to_string());
        proxy.wait_stat(&name(&two), |total| total == 1);
        assert_eq!(proxy.stat(&name(&one)), 0);
    });
}

#[test]
fn an_address_that_cannot_be_bound_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let dir = TempDir::new();
    for (additional, options, expect) in [
        (format!("{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"), "", format!("127.0.0.1:{port}")),
        // An option of one address alone, which there is none of.
        (
            ANY.to_owned(),
            ", socket_options: {socket_options: [{level: 4711, name: 1, int_value: 1}]}",
            "127.0.0.1:0".to_owned(),
        ),
    ] {
        let fields = format!("additional_addresses: [{{address: {additional}{options}}}]");
        let file = dir.rename_over("c.yaml", &Config::new().listener(&fields).yaml());
        let output = run(&["-c", &file.display().to_string(), "--mode", "init_only", "--io", "poll"]);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && log.contains(&format!("listener 'main': cannot bind {expect}")), "{log}");
    }
    // None in the place of the listener's options: the same level that is nobody's does no harm there.
    let own = "socket_options: [{level: 4711, name: 1, int_value: 1}]\n    additional_addresses: [{address: {socket_address: {address: 127.0.0.1, port_value: 0}}, socket_options: {}}]";
    let file = dir.rename_over("c.yaml", &Config::new().listener(own).yaml());
    let output = run(&["-c", &file.display().to_string(), "--mode", "init_only", "--io", "poll"]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(log.matches("cannot bind 127.0.0.1:0").count(), 1, "{log}");
}
