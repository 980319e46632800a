//! Configurations in the shapes of real control planes (`control-client/tests/goldens/`), as a management server brings them, with the
//! addresses of this host in the place of theirs: requests on the main way of each.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use ringway_control_client::{Kind, fuzz};
use ringway_tls::{ClientOptions, Identity, ServerOptions};

use crate::common::client::Client;
use crate::common::files::certificates::{self, Leaf, dns, uri};
use crate::common::files::{Files, protocols};
use crate::common::on_each_driver;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir};
use crate::common::tls::Tls;
use crate::common::xds::Server;

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../control-client/tests/goldens");

const FILES: [(&str, &str, Kind); 4] = [
    ("CDS", "clusters.yaml", Kind::Cluster),
    ("EDS", "endpoints.yaml", Kind::Assignment),
    ("LDS", "listeners.yaml", Kind::Listener),
    ("RDS", "routes.yaml", Kind::Routes),
];

/// A golden, and what stands in the place of its texts.
struct Golden {
    name: &'static str,
    instead: Vec<(&'static str, String)>,
}

impl Golden {
    fn text(&self, file: &str) -> String {
        let path = Path::new(GOLDENS).join(self.name).join(file);
        let text = fs::read_to_string(path).unwrap_or_else(|_| "resources: []".to_owned());
        self.instead.iter().fold(text, |text, (old, new)| text.replace(old, new))
    }

    /// Gives the server all of it, but for secrets.
    fn serve(&self, server: &Server) {
        for (service, file, kind) in FILES {
            server.set_encoded(service, fuzz::resources(kind, &self.text(file)));
        }
    }

    fn start(&self, io: &str) -> Proxy {
        Proxy::start_nameless(io, &self.text("bootstrap.yaml"), &["--concurrency", "2", "--drain-time-s", "1"])
    }
}

/// As `SocketAddress` is written in a golden.
fn at(address: SocketAddr) -> String {
    format!("address: {}, port_value: {}", address.ip(), address.port())
}

fn pem(identity: &Identity) -> [String; 2] {
    let chain = String::from_utf8(identity.certificate_chain.clone()).expect("PEM");
    let key = String::from_utf8(identity.private_key.bytes().to_vec()).expect("PEM");
    [format!("{chain:?}"), format!("{key:?}")]
}

fn secret(name: &str, fields: &str) -> String {
    format!(
        "{{\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: {name}, {fields}}}"
    )
}

fn named(uri_name: &str) -> Leaf {
    Leaf { names: vec![uri(uri_name), dns("a.test")], ..Leaf::default() }
}

/// What a request for this host is answered with.
fn ask(address: SocketAddr, host: &str) -> String {
    let mut client = Client::connect(address);
    client.send(format!("GET /name HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.response(false).text()
}

/// A sidecar of Istio with its two servers at their sockets.
struct Sidecar {
    golden: Golden,
    server: Server,
    files: Files,
    _dir: TempDir,
    _secrets: Server,
}

impl Sidecar {
    /// `app` is behind it, `reviews` beyond it.
    fn new(app: SocketAddr, reviews: SocketAddr) -> Sidecar {
        let (dir, files) = (TempDir::new(), Files::new());
        let path = |name: &str| dir.0.join(name);
        let server = Server::at(&path("XDS"));
        let secrets = Server::at(&path("SDS"));
        let [chain, key] = pem(&files.authority.issue(&named("spiffe://cluster.local/ns/shop/sa/productpage")));
        let certificate = format!(
            "tls_certificate: {{certificate_chain: {{inline_string: {chain}}}, private_key: {{inline_string: {key}}}}}"
        );
        let trust = format!("validation_context: {{trusted_ca: {{inline_string: {:?}}}}}", files.authority.pem);
        secrets.set("SDS", &[("default", secret("default", &certificate)), ("ROOTCA", secret("ROOTCA", &trust))]);
        let here = |port: &str| format!("address: 127.0.0.1, port_value: {port}");
        let golden = Golden {
            name: "istio-sidecar",
            instead: vec![
                ("./etc/istio/proxy/XDS", path("XDS").display().to_string()),
                ("./var/run/secrets/workload-spiffe-uds/socket", path("SDS").display().to_string()),
                ("path: /dev/stdout", format!("path: {}", path("log").display())),
                ("address: 127.0.0.1, port_value: 15000", here("0")),
                ("address: 0.0.0.0, port_value: 15021", here("0")),
                ("address: 0.0.0.0, port_value: 15001", here("0")),
                ("address: 0.0.0.0, port_value: 15006", here("0")),
                // Nothing is redirected here: who goes out connects to the listener itself, and who comes in says by a PROXY header
                // where to.
                ("address: 0.0.0.0, port_value: 9080", here("0")),
                ("bind_to_port: false", "bind_to_port: true".to_owned()),
                ("listener.original_dst.v3.OriginalDst", "listener.proxy_protocol.v3.ProxyProtocol".to_owned()),
                ("destination_port: 9080", format!("destination_port: {}", app.port())),
                ("address: 10.244.1.7, port_value: 9080", at(reviews)),
            ],
        };
        golden.serve(&server);
        Sidecar { golden, server, files, _dir: dir, _secrets: secrets }
    }
}

/// A connection that was redirected: on its way to the application at this address.
fn redirected(listener: SocketAddr, to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(listener).expect("the listener is there");
    stream.write_all(format!("PROXY TCP4 127.0.0.1 127.0.0.1 5555 {}\r\n", to.port()).as_bytes()).expect("sent");
    stream
}

#[test]
fn a_sidecar_of_istio_serves_both_ways() {
    on_each_driver(|io| {
        let (app, reviews) = (Origin::start("app"), Origin::start("reviews"));
        let sidecar = Sidecar::new(app.address, reviews.address);
        let proxy = sidecar.golden.start(io);
        // What is not enforced is refused, by its name, and nothing else is.
        let nack = sidecar.server.asked("#1 CDS [] ", "NACK");
        assert!(nack.contains("ratings.shop.svc.cluster.local\": outlier_detection: not supported yet"), "{nack}");
        assert_eq!(sidecar.server.log().iter().filter(|line| line.contains("NACK")).count(), 1, "{io}");
        assert_eq!(ask(proxy.listener("0.0.0.0_9080"), "reviews:9080"), "reviews", "{io}");
        let inbound = proxy.listener("virtualInbound");
        assert_eq!(Client::on(redirected(inbound, app.address)).get("/name").text(), "app", "{io}");
        // A mesh is told apart by its client certificate; it offers the exchange of metadata, which nobody here speaks.
        let identity = sidecar.files.authority.issue(&named("spiffe://cluster.local/ns/shop/sa/web"));
        let alpn = protocols(&["istio-peer-exchange", "istio-http/1.1", "istio", "http/1.1"]);
        let options = ClientOptions { certificate: Some(identity), alpn, ..ClientOptions::default() };
        let context = sidecar.files.client(options);
        let mut tls = Tls::client(redirected(inbound, app.address), &context, Some("a.test")).expect("a handshake");
        assert_eq!(tls.info().alpn.as_deref(), Some(&b"http/1.1"[..]), "{io}");
        tls.write_all(b"GET /name HTTP/1.1\r\nHost: productpage\r\n\r\n").expect("sent");
        let mut answer = Vec::new();
        let mut piece = [0; 1024];
        while !answer.ends_with(b"\r\n\r\napp") {
            let count = tls.read(&mut piece).expect("an answer");
            assert!(count > 0, "{io}: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..count]);
        }
        let forwarded = app.request();
        let forwarded = [app.request(), forwarded]
            .into_iter()
            .find_map(|request| request.header("x-forwarded-client-cert").map(str::to_owned));
        assert!(forwarded.is_some_and(|field| field.contains("spiffe://cluster.local/ns/shop/sa/web")), "{io}");
        // What stands in a layer is shown; what only the administrator could set is empty.
        let runtime = proxy.admin("GET", "/runtime").text();
        let runtime: serde_json::Value = serde_json::from_str(&runtime).expect("JSON");
        assert_eq!(runtime["layers"], serde_json::json!(["global config", "admin"]));
        let entry = &runtime["entries"]["overload.global_downstream_max_connections"];
        assert_eq!(entry, &serde_json::json!({"layer_values": ["100000", ""], "final_value": "100000"}));
    });
}

/// An origin of TLS that tells which protocol it agreed on, having these to choose from.
fn agreeing(files: &Files, names: &[&str]) -> (SocketAddr, Receiver<Option<Vec<u8>>>) {
    let certificates = vec![files.authority.issue(&named("spiffe://cluster.local/ns/shop/sa/reviews"))];
    let options = ServerOptions { certificates, alpn: protocols(names), ..ServerOptions::default() };
    let context = certificates::server(&options);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice");
    let address = listener.local_addr().expect("bound");
    let (agreed, seen) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(mut client) = Client::accept(stream, &context) else { continue };
            let _ = agreed.send(client.info().alpn.clone());
            let _ = client.until(b"\r\n\r\n");
            client.try_send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret");
        }
    });
    (address, seen)
}

/// Guards against the trap of ALPN: a peer that agrees on `istio-peer-exchange` speaks first, and not HTTP.
#[test]
fn a_sidecar_of_istio_offers_what_the_filter_says() {
    on_each_driver(|io| {
        let app = Origin::start("app");
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let mut sidecar = Sidecar::new(app.address, nobody);
        // This server would rather exchange metadata, then take what a transport socket alone would say.
        let liked = ["istio-peer-exchange", "http/1.0", "istio-http/1.1", "istio"];
        let (address, agreed) = agreeing(&sidecar.files, &liked);
        let workload = "istio: {workload: reviews-v1;shop;reviews;v1;Kubernetes}";
        for (old, new) in
            [(at(nobody), at(address)), (workload.to_owned(), "envoy.transport_socket_match: {tlsMode: istio}".into())]
        {
            let text = sidecar.golden.text("endpoints.yaml");
            assert!(text.contains(&old), "{old}: {text}");
            sidecar.golden.instead.push((Box::leak(old.into_boxed_str()), new));
        }
        sidecar.golden.serve(&sidecar.server);
        let proxy = sidecar.golden.start(io);
        assert_eq!(ask(proxy.listener("0.0.0.0_9080"), "reviews:9080"), "secret", "{io}");
        let agreed = agreed.recv().expect("a handshake");
        assert_eq!(agreed.as_deref(), Some(&b"istio-http/1.1"[..]), "{io}");
    });
}

#[test]
fn a_sidecar_of_istio_without_what_it_enforces_is_closed() {
    let server = Server::start();
    let golden = Golden {
        name: "istio-authorization",
        instead: vec![("pipe: {path: ./etc/istio/proxy/XDS}", format!("socket_address: {{{}}}", at(server.address)))],
    };
    golden.serve(&server);
    let text = golden.text("bootstrap.yaml");
    let admin = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n";
    let proxy = Proxy::start_nameless("poll", &format!("{admin}{text}"), &["--concurrency", "1"]);
    let nack = server.asked("#1 LDS [] ", "NACK");
    for name in ["rules-of-http", "rules-of-http-optional", "tokens", "asks-another"] {
        assert!(nack.contains(&format!("\"{name}\": ")), "{name}: {nack}");
    }
    let listeners = proxy.admin("GET", "/listeners").text();
    let open: Vec<&str> = listeners.lines().filter_map(|line| line.split("::").next()).collect();
    assert_eq!(open, ["rules-of-tcp"]);
}

#[test]
fn a_proxy_of_envoy_gateway_serves() {
    on_each_driver(|io| {
        let catalog = Origin::start("catalog");
        let (server, files) = (Server::start(), Files::new());
        let [chain, key] = pem(&files.authority.issue(&Leaf::default()));
        let mut golden = Golden {
            name: "envoy-gateway",
            instead: vec![
                ("address: envoy-gateway.example, port_value: 18000", at(server.address)),
                ("@CERTIFICATE@", chain),
                ("@KEY@", key),
                ("@AUTHORITY@", format!("{:?}", files.authority.pem)),
                ("port_value: 19000", "port_value: 0".to_owned()),
                ("address: 0.0.0.0, port_value: 10080", "address: 127.0.0.1, port_value: 0".to_owned()),
                ("path: /dev/stdout", format!("path: {}", files.dir.0.join("log").display())),
                ("address: 10.244.2.7, port_value: 8080", at(catalog.address)),
                // No name server is asked.
                ("address: images.example,", "address: 127.0.0.1,".to_owned()),
            ],
        };
        // The server of the tests speaks without TLS.
        let bootstrap = golden.text("bootstrap.yaml");
        let (from, to) = (bootstrap.find("    transport_socket:"), bootstrap.find("overload_manager:"));
        let socket = bootstrap[from.expect("mTLS")..to.expect("the next field")].to_owned();
        golden.instead.push((Box::leak(socket.into_boxed_str()), String::new()));
        golden.serve(&server);
        let proxy = golden.start(io);
        let address = proxy.listener("shop/edge/http");
        let mut client = Client::connect(address);
        client.send("GET /v2/name HTTP/1.1\r\nHost: catalog.example.com\r\nX-Version: two\r\n\r\n");
        assert_eq!(client.response(false).text(), "catalog", "{io}");
        assert_eq!(catalog.request().header("x-route"), Some("two"), "{io}");
        client.send("GET / HTTP/1.1\r\nHost: old.example.com\r\n\r\n");
        let moved = client.response(false);
        assert_eq!((moved.status(), moved.header("location")), (301, Some("http://catalog.example.com/")), "{io}");
        let nack = server.asked("#1 LDS [] ", "NACK");
        assert!(nack.contains("\"shop/edge/limited\": "), "{nack}");
    });
}

#[test]
fn a_sidecar_of_consul_serves_whom_an_intention_names() {
    on_each_driver(|io| {
        let app = Origin::start("app");
        let (server, files) = (Server::start(), Files::new());
        let own = "spiffe://example.consul/ns/default/dc/dc1/svc/billing";
        let [chain, key] = pem(&files.authority.issue(&named(own)));
        let camel = |address: SocketAddr| at(address).replace("port_value", "portValue");
        let golden = Golden {
            name: "consul",
            instead: vec![
                ("\"address\": \"127.0.0.1\", \"port_value\": 8502", at(server.address)),
                ("\"port_value\": 19000", "\"port_value\": 0".to_owned()),
                ("@CERTIFICATE@", chain),
                ("@KEY@", key),
                ("@AUTHORITY@", format!("{:?}", files.authority.pem)),
                ("address: 127.0.0.1, portValue: 8080", camel(app.address)),
                ("address: 0.0.0.0, portValue: 20000", "address: 127.0.0.1, portValue: 0".to_owned()),
                ("address: 127.0.0.1, portValue: 9191", "address: 127.0.0.1, portValue: 0".to_owned()),
            ],
        };
        golden.serve(&server);
        let proxy = golden.start(io);
        let address = proxy.listener("public_listener:0.0.0.0:20000");
        let secured = |service: &str| {
            let name = format!("spiffe://example.consul/ns/default/dc/dc1/svc/{service}");
            let certificate = Some(files.authority.issue(&named(&name)));
            let context = files.client(ClientOptions { certificate, ..ClientOptions::default() });
            Client::secured(address, &context, Some("a.test")).expect("a handshake")
        };
        assert_eq!(secured("web").get("/name").text(), "app", "{io}");
        let mut other = secured("batch");
        other.try_send(b"GET /name HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(other.until(b"app").is_err(), "{io}: nobody named it");
        assert_eq!(app.requests(), 1, "{io}");
        let nack = server.asked("#1 LDS [] ", "NACK");
        assert!(nack.contains("\"public_listener:0.0.0.0:20001\": ") && nack.contains("rbac"), "{nack}");
        server.asked("#1 CDS [] ", "ledger.default.dc1.internal.example.consul\": outlier_detection");
    });
}

#[test]
fn a_sidecar_of_kuma_serves_both_ways() {
    on_each_driver(|io| {
        let (app, stock) = (Origin::start("app"), Origin::start("stock"));
        let (server, files) = (Server::start(), Files::new());
        let camel = |address: SocketAddr| at(address).replace("port_value", "portValue");
        let here = || "address: 127.0.0.1, portValue: 0".to_owned();
        let mut golden = Golden {
            name: "kuma",
            instead: vec![
                ("address: control-plane.example, portValue: 5678", camel(server.address)),
                ("@AUTHORITY@", format!("{:?}", files.authority.pem)),
                (
                    "admin:\n  address: {socketAddress: {address: 127.0.0.1, portValue: 9901}}",
                    format!("admin:\n  address: {{socketAddress: {{{}}}}}", here()),
                ),
                ("address: 127.0.0.1, portValue: 8080", camel(app.address)),
                ("address: 10.244.3.5, portValue: 8080", here()),
                ("address: 10.244.3.5, portValue: 9901", here()),
                ("address: 0.0.0.0, portValue: 15006", here()),
                ("address: 0.0.0.0, portValue: 15001", here()),
                ("address: 241.0.0.1, portValue: 80", here()),
                ("bindToPort: false", "bindToPort: true".to_owned()),
                ("address: 10.244.3.9, portValue: 8080", camel(stock.address)),
            ],
        };
        let bootstrap = golden.text("bootstrap.yaml");
        let socket = bootstrap[bootstrap.find("    transportSocket:").expect("TLS")..].to_owned();
        golden.instead.push((Box::leak(socket.into_boxed_str()), String::new()));
        golden.serve(&server);
        let [chain, key] = pem(&files.authority.issue(&named("spiffe://default/orders")));
        let certificate = format!(
            "tls_certificate: {{certificate_chain: {{inline_string: {chain}}}, private_key: {{inline_string: {key}}}}}"
        );
        let trust = format!("validation_context: {{trusted_ca: {{inline_string: {:?}}}}}", files.authority.pem);
        server.set("SDS", &[("default", secret("default", &certificate)), ("ROOTCA", secret("ROOTCA", &trust))]);
        let proxy = golden.start(io);
        assert_eq!(ask(proxy.listener("inbound:10.244.3.5:8080"), "orders"), "app", "{io}");
        assert_eq!(ask(proxy.listener("outbound:241.0.0.1:80"), "stock"), "stock", "{io}");
        assert_eq!(stock.request().header("x-kuma-tags"), Some("&kuma.io/service=orders&"), "{io}");
        let nack = server.asked("#1 LDS [] ", "NACK");
        assert!(nack.contains("\"kuma:dns\": ") && nack.contains("\"inbound:10.244.3.5:8081\": "), "{nack}");
    });
}
