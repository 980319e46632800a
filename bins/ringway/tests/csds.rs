//! The client status discovery service by gRPC, on the admin address: what it answers, what it refuses, and what it leaves to HTTP/1.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::ads::{ADS, by_ads, one_cluster, start};
use crate::certificates::pair;
use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::grpc::{Connection, run};
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir};
use crate::common::resources::{eds_cluster, static_cluster};
use crate::common::xds::{Server, field, fields, read_varint};
use crate::common::{on_each_driver, wait_for};

const FETCH: &str = "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus";
const STREAM: &str = "/envoy.service.status.v3.ClientStatusDiscoveryService/StreamClientStatus";
/// `exclude_resource_contents`.
const BRIEF: &[u8] = b"\x18\x01";

/// What a response says of one resource, of `GenericXdsConfig`.
#[derive(Debug, Default, PartialEq)]
struct Told {
    version: String,
    /// Of the `Any`: its type and how long its value is.
    contents: Option<(String, usize)>,
    status: u64,
    /// `details`, and whether it has the refused resource.
    error: Option<(String, bool)>,
}

/// By type and name.
type Configs = BTreeMap<(String, String), Told>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("a string")
}

/// The one client of a response: its node's texts, and its resources.
fn read(response: &Bytes) -> (BTreeMap<u64, String>, Configs) {
    let clients = fields(response);
    let [(1, client)] = clients[..] else { panic!("one client: {clients:?}") };
    let (mut node, mut configs) = (BTreeMap::new(), Configs::new());
    for (number, part) in fields(client) {
        match number {
            1 => node.extend(
                fields(part).into_iter().map(|(number, of)| (number, String::from_utf8_lossy(of).into_owned())),
            ),
            3 => {
                let (key, config) = generic(part);
                assert!(configs.insert(key, config).is_none(), "each once");
            }
            other => panic!("no field {other} is said"),
        }
    }
    (node, configs)
}

fn generic(bytes: &[u8]) -> ((String, String), Told) {
    let (mut key, mut config) = (Default::default(), Told { status: number(bytes, 7), ..Told::default() });
    let (url, name): &mut (String, String) = &mut key;
    let mut has_time = false;
    for (number, part) in fields(bytes) {
        match number {
            1 => *url = text(part),
            2 => *name = text(part),
            3 => config.version = text(part),
            4 => {
                let any: BTreeMap<u64, &[u8]> = fields(part).into_iter().collect();
                config.contents = Some((text(any[&1]), any[&2].len()));
            }
            5 => has_time = self::number(part, 1) > 1_700_000_000,
            8 => {
                let failure: BTreeMap<u64, &[u8]> = fields(part).into_iter().collect();
                config.error = Some((text(failure[&3]), failure.contains_key(&1)));
            }
            other => panic!("no field {other} is said"),
        }
    }
    assert_eq!(has_time, !config.version.is_empty(), "{key:?}: what was accepted was accepted at some time");
    (key, config)
}

/// The number in a field.
fn number(mut bytes: &[u8], wanted: u64) -> u64 {
    let mut found = 0;
    while !bytes.is_empty() {
        let (tag, value) = (read_varint(&mut bytes), read_varint(&mut bytes));
        match tag & 7 {
            2 => bytes = &bytes[value as usize..],
            _ if tag >> 3 == wanted => found = value,
            _ => {}
        }
    }
    found
}

fn fetch(proxy: &Proxy, request: &[u8]) -> Bytes {
    run(async { Connection::to(proxy.admin).await.ask(FETCH, request).await.expect("an answer") })
}

/// What `/client_status` says, in the same words.
fn by_http(proxy: &Proxy) -> Value {
    let answer: Value = serde_json::from_str(&proxy.admin("GET", "/client_status").text()).expect("JSON");
    answer["config"][0].clone()
}

#[test]
fn each_resource_is_told_as_by_http() {
    on_each_driver(|io| {
        let one = Origin::start("one");
        let server = Server::start();
        one_cluster(&server, one.address);
        let proxy = start(io, &by_ads("GRPC", &server));
        // One version that is refused, one that waits for what is requested.
        let bad = eds_cluster("c", ADS, ", outlier_detection: {}");
        server.set("CDS", &[("c", bad), ("d", eds_cluster("d", ADS, "")), ("e", static_cluster("e", one.address))]);
        let response = wait_for("a status of the refused version", || {
            let response = fetch(&proxy, b"");
            read(&response).1.values().any(|config| config.error.is_some()).then_some(response)
        });
        let (node, configs) = read(&response);
        assert_eq!((node[&1].as_str(), node[&2].as_str(), node[&6].as_str()), ("node-1", "tests", "ringway"));
        assert!(!node.contains_key(&10), "without client_features");
        let shown = by_http(&proxy);
        let shown = shown["generic_xds_configs"].as_array().expect("there are resources");
        assert_eq!(configs.len(), shown.len());
        let names = ["", "REQUESTED", "DOES_NOT_EXIST", "ACKED", "NACKED"];
        for shown in shown {
            let key = ["type_url", "name"].map(|name| shown[name].as_str().expect("a text").to_owned());
            let config = &configs[&key.clone().into()];
            assert_eq!(names[config.status as usize], shown["client_status"], "{shown}");
            assert_eq!(config.version, shown["version_info"].as_str().unwrap_or(""), "{shown}");
            assert_eq!(
                config.contents.as_ref().map(|(url, _)| url),
                shown.get("xds_config").map(|_| &key[0]),
                "{shown}"
            );
            assert!(config.contents.as_ref().is_none_or(|(_, size)| *size > 0));
            let error = shown.get("error_state").map(|error| error["details"].as_str().expect("a text").to_owned());
            assert_eq!(config.error, error.map(|details| (details, true)), "{shown}");
        }
        let statuses = |wanted| configs.values().filter(move |config| config.status == wanted).count();
        assert_eq!((statuses(1), statuses(4)), (1, 1), "{configs:?}");
        // Without contents all the rest is the same.
        let (_, mut brief) = read(&fetch(&proxy, BRIEF));
        let mut whole = configs;
        for config in whole.values_mut() {
            config.contents = None;
            config.error.iter_mut().for_each(|error| error.1 = false);
        }
        assert_eq!(brief, whole);
        assert!(brief.values_mut().all(|config| config.contents.is_none()));
    });
}

#[test]
fn a_stream_is_told_what_is_there_at_each_request() {
    let one = Origin::start("one");
    let server = Server::start();
    one_cluster(&server, one.address);
    let mut proxy = start("poll", &by_ads("DELTA_GRPC", &server));
    run(async {
        let mut connection = Connection::to(proxy.admin).await;
        let mut call = connection.call(STREAM).await.expect("a call");
        let cluster = |name: &str| ("type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned(), name.to_owned());
        call.say(b"");
        let (_, before) = read(&call.next().await.expect("an answer"));
        assert!(before.contains_key(&cluster("c")) && !before.contains_key(&cluster("e")));
        server.set("CDS", &[("c", eds_cluster("c", ADS, "")), ("e", static_cluster("e", one.address))]);
        proxy.line(" in force");
        call.say(BRIEF);
        let (_, after) = read(&call.next().await.expect("an answer"));
        assert_eq!((after[&cluster("e")].status, after[&cluster("e")].contents.as_ref()), (3, None));
        // Another call on the same connection does not wait for the end of this one.
        connection.ask(FETCH, b"").await.expect("an answer");
        call.end();
        assert_eq!(call.next().await, Err("0".to_owned()));
    });
}

#[test]
fn what_is_no_request_is_refused_and_http_1_goes_on() {
    let proxy = Proxy::start("poll", &Config::new());
    run(async {
        let mut connection = Connection::to(proxy.admin).await;
        let mut matcher = Vec::new();
        field(&mut matcher, 1, b"");
        for (path, message, expect) in [
            ("/envoy.service.status.v3.ClientStatusDiscoveryService/Fetch", &b""[..], "12 unknown method "),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", b"", "12 unknown method "),
            (FETCH, b"\x18", "3 not a ClientStatusRequest: "),
            (STREAM, b"<html>", "3 not a ClientStatusRequest: "),
            (FETCH, &matcher, "3 node_matchers are not supported"),
        ] {
            let refused = connection.ask(path, message).await.expect_err("a refusal");
            assert!(refused.starts_with(expect), "{path}: {refused}");
        }
        for (bytes, expect) in
            [(vec![1, 0, 0, 0, 1, 0], "12 compressed "), (vec![0, 0, 1, 0, 1], "8 a message of 65537 ")]
        {
            let mut call = connection.call(FETCH).await.expect("a call");
            call.say_bytes(bytes);
            let refused = call.next().await.expect_err("a refusal");
            assert!(refused.starts_with(expect), "{refused}");
        }
        // Each refusal was one call's: the connection serves on.
        let (_, configs) = read(&connection.ask(FETCH, b"").await.expect("an answer"));
        assert_eq!(configs.len(), 0, "nothing came besides the file");
        // While it is open, HTTP/1 has its own; and what only begins like HTTP/2 is no request.
        assert_eq!(proxy.admin("GET", "/ready").text(), "LIVE\n");
        for odd in ["PRI * HTTP/2.0\r\nHost: a\r\n\r\n", "PRI * HTTP/1.1\r\n\r\n"] {
            let mut client = Client::connect(proxy.admin);
            client.send(odd);
            assert_eq!(client.response(false).status(), 400, "{odd}");
        }
    });
}

/// Guards probes: calls that stay open hold threads of the admin server, and HTTP/1 finds one nevertheless.
#[test]
fn calls_that_stay_leave_room_for_http_1() {
    let proxy = Proxy::start("poll", &Config::new());
    run(async {
        let mut open = Vec::new();
        for _ in 0..8 {
            let mut connection = Connection::to(proxy.admin).await;
            let mut call = connection.call(STREAM).await.expect("a call");
            call.say(b"");
            call.next().await.expect("an answer");
            open.push((connection, call));
        }
        // More are sent away at once, by a GOAWAY that says why.
        for _ in 0..32 {
            let why = Connection::to(proxy.admin).await.ask(FETCH, b"").await.expect_err("one too many");
            assert!(why.contains("excessive load"), "{why}");
        }
        assert_eq!(proxy.admin("GET", "/ready").text(), "LIVE\n");
        // Those that are there are served, and who goes makes room.
        let (_, call) = &mut open[7];
        call.say(b"");
        call.next().await.expect("an answer");
        open.pop();
        let deadline = std::time::Instant::now() + crate::common::PATIENCE;
        while let Err(why) = Connection::to(proxy.admin).await.ask(FETCH, b"").await {
            assert!(std::time::Instant::now() < deadline, "never room: {why}");
        }
    });
}

#[test]
fn keys_are_not_told() {
    let (dir, pair) = (TempDir::new(), pair());
    let context = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
    let sds = dir.rename_over(
        "sds.yaml",
        &format!(
            "version_info: \"1\"\nresources:\n- {{\"@type\": {context}.Secret, name: server, tls_certificate: {{certificate_chain: \
             {{inline_string: {:?}}}, private_key: {{inline_string: {:?}}}}}}}\n",
            pair.chain, pair.key
        ),
    );
    let socket = format!(
        "transport_socket: {{name: tls, typed_config: {{\"@type\": {context}.DownstreamTlsContext, common_tls_context: \
         {{tls_certificate_sds_secret_configs: [{{name: server, sds_config: {{path_config_source: {{path: {}}}}}}}]}}}}}}",
        sds.display()
    );
    let proxy = Proxy::start("poll", &Config::new().chain(&socket));
    let response = fetch(&proxy, b"");
    let (_, configs) = read(&response);
    assert_eq!(configs.values().filter(|config| config.contents.is_some()).count(), 1, "{configs:?}");
    let said = String::from_utf8_lossy(&response);
    assert!(said.contains("BEGIN CERTIFICATE") && said.contains("[redacted]"), "{said}");
    assert!(!said.contains("PRIVATE KEY"), "{said}");
}

#[test]
fn it_is_served_at_a_unix_socket_too() {
    let dir = TempDir::new();
    let path = dir.0.join("admin.sock");
    let yaml = Config::new().yaml().replace(
        "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}",
        &format!("admin: {{address: {{pipe: {{path: {}}}}}}}", path.display()),
    );
    let mut proxy = Proxy::start_somewhere("poll", &yaml);
    proxy.line("[info] serving");
    run(async {
        let socket = UnixStream::connect(&path).await.expect("it listens");
        let response = Connection::over(socket).await.ask(FETCH, b"").await.expect("an answer");
        assert_eq!(read(&response).0[&6], "ringway");
    });
}
