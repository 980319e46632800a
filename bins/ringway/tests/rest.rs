//! Resources by REST (`api_config_source` of `api_type: REST`): what is asked, what is served, and what becomes of it when the server says
//! something else than a response.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::common;
use crate::common::on_each_driver;
use crate::common::origin::Origin;
use crate::common::process::Proxy;
use crate::common::resources::{assignment, eds_cluster, listener, routes, static_cluster};
use crate::rtds::{layer, own_routes};

pub(crate) const REST: &str = "{api_config_source: {api_type: REST, transport_api_version: V3, cluster_names: [xds], refresh_delay: 0.02s, \
                    request_timeout: 5s}, resource_api_version: V3}";

/// A management server that says what it was given, by type (`clusters`). Its thread ends with the test's process.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// A version and a list of resources, or a status.
    says: BTreeMap<&'static str, Says>,
    /// The last request of each type, and how many were answered with 304.
    asked: BTreeMap<String, String>,
    unchanged: usize,
}

#[derive(Clone)]
enum Says {
    Resources(&'static str, String),
    Status(u16),
}

impl Server {
    pub(crate) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice");
        let server = Server { address: listener.local_addr().expect("it is bound"), state: Arc::default() };
        let own = server.clone();
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| own.serve(stream)));
        server
    }

    pub(crate) fn set(&self, of: &'static str, version: &'static str, resources: &[String]) {
        let list = resources.join(", ");
        self.state.lock().expect("no panic").says.insert(of, Says::Resources(version, format!("[{list}]")));
    }

    fn fail(&self, of: &'static str, status: u16) {
        self.state.lock().expect("no panic").says.insert(of, Says::Status(status));
    }

    fn asked(&self, of: &str) -> String {
        self.state.lock().expect("no panic").asked.get(of).cloned().unwrap_or_default()
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut heard = Vec::new();
        let body = loop {
            let mut room = [0; 4096];
            match stream.read(&mut room) {
                Ok(0) | Err(_) => return,
                Ok(size) => heard.extend_from_slice(&room[..size]),
            }
            let text = String::from_utf8_lossy(&heard);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("it has a length");
            if body.len() == length.parse::<usize>().expect("a number") {
                break body.to_owned();
            }
        };
        let text = String::from_utf8_lossy(&heard).into_owned();
        let of = text.strip_prefix("POST /v3/discovery:").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        let mut state = self.state.lock().expect("no panic");
        state.asked.insert(of.to_owned(), body.clone());
        let mut out = String::new();
        match state.says.get(of).cloned().unwrap_or(Says::Status(404)) {
            Says::Status(status) => _ = write!(out, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n"),
            Says::Resources(version, _) if body.contains(&format!("\"version_info\": \"{version}\"")) => {
                state.unchanged += 1;
                out.push_str("HTTP/1.1 304 Not Modified\r\n\r\n");
            }
            Says::Resources(version, list) => {
                let body = format!("{{\"version_info\": \"{version}\", \"resources\": {list}}}");
                let _ = write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            }
        }
        drop(state);
        // Who has heard enough closes.
        let _ = stream.write_all(out.as_bytes());
    }
}

fn bootstrap(server: &Server) -> String {
    let cluster = static_cluster("xds", server.address)
        .replace("\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, ", "");
    format!(
        "node: {{id: node-1, cluster: tests}}\nadmin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}\n\
         dynamic_resources: {{cds_config: {REST}, lds_config: {REST}}}\nstatic_resources: {{clusters: [{cluster}]}}\n"
    )
}

#[test]
fn resources_are_polled_judged_and_followed() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let server = Server::start();
        server.set("clusters", "1", &[eds_cluster("c", REST, "")]);
        server.set("endpoints", "1", &[assignment("c", one.address)]);
        server.set("listeners", "1", &[listener("main", "r", REST)]);
        server.set("routes", "1", &[routes("r", &[("/", "c")])]);
        let mut proxy = Proxy::start_yaml(io, &bootstrap(&server), &["--concurrency", "2"]);
        let mut client = proxy.client();
        assert_eq!(client.get("/name").text(), "one");
        let asked = server.asked("endpoints");
        for part in
            ["\"id\":\"node-1\"", "\"resource_names\": [\"c\"]", "envoy.config.endpoint.v3.ClusterLoadAssignment"]
        {
            assert!(asked.contains(part), "{part}: {asked}");
        }
        // What is in force is said, so that the server need not say it again; nothing is committed meanwhile.
        common::wait_for("some polls", || (server.state.lock().expect("no panic").unchanged > 8).then_some(()));
        assert_eq!(proxy.stat("config.generation"), 1);
        assert_eq!(proxy.stat("control_plane.connected_state"), 1);
        server.set("endpoints", "2", &[assignment("c", two.address)]);
        proxy.line("endpoints: generation 2 in force");
        assert_eq!(client.get("/name").text(), "two");
        // A bad one is refused alone; the version that has it is not said to be held.
        let bad = eds_cluster("bad", REST, ", outlier_detection: {}");
        server.set("clusters", "bad", &[eds_cluster("c", REST, ""), bad, static_cluster("d", one.address)]);
        proxy.line("cluster \"bad\" refused");
        proxy.line("generation 3 in force");
        common::wait_for("the version before", || {
            server.asked("clusters").contains("\"version_info\": \"1\"").then_some(())
        });
        assert!(proxy.stat("cluster_manager.cds.update_rejected") >= 1);
        server.set("routes", "2", &[routes("r", &[("/d", "d"), ("/", "c")])]);
        proxy.line("generation 4 in force");
        assert_eq!(client.get("/d").text(), "one");
        // Nothing, an error, and no response: what has come stays, and the next good answer counts.
        server.fail("clusters", 404);
        proxy.line("the server has none");
        server.fail("endpoints", 503);
        proxy.line("the server answered with HTTP status 503; what has come stays");
        server.set("listeners", "3", &["no resource".to_owned()]);
        proxy.line("listener \"\" refused");
        assert_eq!((client.get("/name").text(), client.get("/d").text()), ("two".to_owned(), "one".to_owned()));
        server.set("endpoints", "3", &[assignment("c", one.address)]);
        proxy.line("endpoints: generation 5 in force");
        assert_eq!(client.get("/name").text(), "one");
        assert_eq!(proxy.stat("http.main.downstream_cx_total"), 1);
        assert!(proxy.stat("cluster_manager.cds.update_failure") >= 1);
    });
}

/// A server that has nothing yet does not hold up what stands in the file for longer than its first answer.
#[test]
fn a_server_that_has_nothing_is_not_waited_for() {
    let server = Server::start();
    let mut proxy = Proxy::start_somewhere("poll", &bootstrap(&server));
    proxy.line("listeners of REST by cluster xds: the server has none");
    proxy.line("[info] serving");
    let one = Origin::start("one");
    server.set("clusters", "1", &[static_cluster("c", one.address)]);
    server.set("routes", "1", &[routes("r", &[("/", "c")])]);
    server.set("listeners", "1", &[listener("main", "r", REST)]);
    proxy.line("listener main: ");
}

#[test]
fn a_layer_of_the_runtime_is_polled() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let server = Server::start();
    server.set("runtime", "1", &[layer("{canary: 0}")]);
    let cluster = static_cluster("xds", server.address)
        .replace("\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, ", "");
    let text = own_routes(REST, &cluster, (one.address, two.address));
    let mut proxy = Proxy::start_yaml("poll", &text, &["--concurrency", "2"]);
    let mut client = proxy.client();
    assert_eq!(client.get("/name").text(), "one");
    let asked = server.asked("runtime");
    assert!(asked.contains("\"resource_names\": [\"one\"]"), "{asked}");
    server.set("runtime", "2", &[layer("{canary: 100}")]);
    proxy.line(" in force");
    assert_eq!(client.get("/name").text(), "two");
}
