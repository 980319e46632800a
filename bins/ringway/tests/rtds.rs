//! Layers of the runtime from sources (`rtds_layer`): what is asked, what a value does to requests, what `/runtime` and statistics show.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::json;

use crate::ads::{ADS, FORMS, api, bootstrap, one_cluster, socket, start, xds_cluster};
use crate::common;
use crate::common::client::Client;
use crate::common::on_each_driver;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir};
use crate::common::resources::{eds_cluster, static_cluster};
use crate::common::xds::Server;

/// `layered_runtime` with the layer `one` of this source between two of the file.
pub(crate) fn layered(source: &str) -> String {
    format!(
        "layered_runtime: {{layers: [{{name: base, static_layer: {{canary: 0, other: 1}}}}, {{name: pushed, rtds_layer: {{name: one, \
         rtds_config: {source}}}}}, {{name: admin, admin_layer: {{}}}}]}}\n"
    )
}

/// What the layer `one` says.
pub(crate) fn layer(values: &str) -> String {
    format!("{{\"@type\": type.googleapis.com/envoy.service.runtime.v3.Runtime, name: one, layer: {values}}}")
}

/// Routes of which so many of 100 requests go to `d` as `canary` says, and the others to `c`.
const SHARED: &str = "virtual_hosts: [{name: all, domains: [\"*\"], routes: [{match: {prefix: /, runtime_fraction: {runtime_key: canary, \
                      default_value: {numerator: 0}}}, route: {cluster: d}}, {match: {prefix: /}, route: {cluster: c}}]}]";

/// A bootstrap whose own listener has these routes.
pub(crate) fn own_routes(source: &str, clusters: &str, (one, two): (SocketAddr, SocketAddr)) -> String {
    let own = |name: &str, to: SocketAddr| {
        static_cluster(name, to).replace("\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, ", "")
    };
    let listener = crate::common::resources::listener("main", "r", "{ads: {}}")
        .replace("rds: {route_config_name: r, config_source: {ads: {}}}", &format!("route_config: {{{SHARED}}}"))
        .replace("\"@type\": type.googleapis.com/envoy.config.listener.v3.Listener, ", "");
    let statics = format!(", {}, {}], listeners: [{listener}", own("c", one), own("d", two));
    let clusters = if clusters.is_empty() { statics[2..].to_owned() } else { format!("{clusters}{statics}") };
    format!(
        "{}node: {{id: node-1, cluster: tests}}\nadmin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: \
         0}}}}}}\nstatic_resources: {{clusters: [{clusters}]}}\n",
        layered(source)
    )
}

/// Waits until `/runtime` says that of `canary`.
#[track_caller]
fn shown(proxy: &Proxy, pushed: &str, last: &str) {
    let expect = json!({ "layer_values": ["0", pushed, ""], "final_value": last });
    common::wait_for("a value of the runtime", || {
        let runtime = proxy.admin("GET", "/runtime").text();
        let runtime: serde_json::Value = serde_json::from_str(&runtime).expect("JSON");
        assert_eq!(runtime["layers"], json!(["base", "pushed", "admin"]));
        (runtime["entries"]["canary"] == expect).then_some(())
    });
}

#[test]
fn a_fraction_by_ads_moves_all_requests_and_fails_none() {
    on_each_driver(|io| {
        for form in FORMS {
            let (one, two) = (Origin::start("one"), Origin::start("two"));
            let server = Server::start();
            one_cluster(&server, one.address);
            server.set("CDS", &[("c", eds_cluster("c", ADS, "")), ("d", static_cluster("d", two.address))]);
            let routes = format!(
                "{{\"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: r, {SHARED}}}"
            );
            server.set("RDS", &[("r", routes)]);
            server.set("RTDS", &[("one", layer("{canary: 0}"))]);
            let dynamic = format!("ads_config: {}, cds_config: {ADS}, lds_config: {ADS}", api(form, ""));
            let text = layered(ADS) + &bootstrap(&dynamic, &xds_cluster(&socket(server.address), ""), "");
            let mut proxy = start(io, &text);
            // Before all else, as by Envoy.
            let first = server.log().into_iter().nth(1).expect("a first request");
            assert!(first.starts_with("#1 RTDS [one] node"), "{first}");
            let generation = proxy.stat("config.generation");
            let (is_over, counts) = (AtomicBool::new(false), [AtomicU64::new(0), AtomicU64::new(0)]);
            let address = proxy.address;
            thread::scope(|scope| {
                let _stop = common::Stop(&is_over);
                for _ in 0..2 {
                    scope.spawn(|| {
                        let mut client = Client::connect(address);
                        while !is_over.load(Ordering::Relaxed) {
                            let answer = client.get("/name");
                            assert_eq!(answer.status(), 200, "{form}");
                            counts[usize::from(answer.text() == "two")].fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                let mut client = proxy.client();
                for (value, name) in
                    [("100", "two"), ("0", "one"), ("{numerator: 1000000, denominator: MILLION}", "two")]
                {
                    server.set("RTDS", &[("one", layer(&format!("{{canary: {value}}}")))]);
                    proxy.line(" in force");
                    for _ in 0..50 {
                        assert_eq!(client.get("/name").text(), name, "{form} {value}");
                    }
                }
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) > 0), "{counts:?}");
            assert_eq!(proxy.stat("config.generation"), generation + 3, "each change is one commit");
            assert_eq!((proxy.stat("runtime.update_success"), proxy.stat("runtime.update_rejected")), (4, 0));
            assert_eq!((proxy.stat("runtime.num_layers"), proxy.stat("runtime.num_keys")), (3, 2));
            // Half is a share of requests.
            server.set("RTDS", &[("one", layer("{canary: 50}"))]);
            proxy.line(" in force");
            shown(&proxy, "50", "50");
            let mut client = proxy.client();
            let moved = (0..400).filter(|_| client.get("/name").text() == "two").count();
            assert!((100..300).contains(&moved), "{moved} of 400");
            // A wrong one is refused with its place, and the last one stays.
            server.set("RTDS", &[("one", layer("{canary: [1]}"))]);
            let nack = server.asked("#1 RTDS [", "NACK");
            assert!(nack.contains("layer: Invalid runtime entry value for canary"), "{nack}");
            proxy.line("runtime layer \"one\" refused");
            shown(&proxy, "50", "50");
            assert_eq!(proxy.stat("runtime.update_rejected"), 1);
            // Gone, it is empty where that is said.
            server.set("RTDS", &[]);
            if form == "DELTA_GRPC" {
                shown(&proxy, "", "0");
                common::wait_for("the layer below", || (client.get("/name").text() == "one").then_some(()));
                assert!((0..50).all(|_| client.get("/name").text() == "one"));
            }
        }
    });
}

#[test]
fn a_stream_of_its_own_and_the_bootstraps_own_listener() {
    for (form, method) in [("GRPC", "StreamRuntime"), ("DELTA_GRPC", "DeltaRuntime")] {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let server = Server::start();
        server.set("RTDS", &[("one", layer("{canary: 100}"))]);
        let source = format!("{{api_config_source: {}, resource_api_version: V3}}", api(form, ""));
        let text = own_routes(&source, &xds_cluster(&socket(server.address), ""), (one.address, two.address));
        let mut proxy = start("poll", &text);
        server.asked(&format!("#1 /envoy.service.runtime.v3.RuntimeDiscoveryService/{method}"), "");
        let mut client = proxy.client();
        assert_eq!(client.get("/name").text(), "two", "{form}: the first commit waited for it");
        shown(&proxy, "100", "100");
        server.set("RTDS", &[("one", layer("{canary: 0}"))]);
        proxy.line(" in force");
        assert_eq!(client.get("/name").text(), "one", "{form}");
        // Read again, the file has what came.
        server.set("RTDS", &[("one", layer("{canary: 100}"))]);
        proxy.line(" in force");
        proxy.replace(&text.replace("other: 1", "other: 2"));
        proxy.signal("HUP");
        common::wait_for("the file", || proxy.admin("GET", "/runtime").text().contains("\"2\"").then_some(()));
        assert!((0..50).all(|_| client.get("/name").text() == "two"), "{form}");
        assert_eq!(proxy.stat("http.main.downstream_cx_total"), 1);
    }
}

#[test]
fn a_layer_from_a_file_and_one_that_does_not_come_in_time() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let dir = TempDir::new();
        let response = |resource: &str| format!("resources: [{resource}]\n");
        let path = dir.rename_over("runtime.yaml", &response(&layer("{canary: 100}")));
        let source = format!("{{path_config_source: {{path: {}}}}}", path.display());
        let mut proxy = start(io, &own_routes(&source, "", (one.address, two.address)));
        let mut client = proxy.client();
        assert_eq!(client.get("/name").text(), "two");
        dir.rename_over("runtime.yaml", &response(&layer("{canary: 0}")));
        proxy.line(" in force");
        assert_eq!(client.get("/name").text(), "one");
        let other = layer("{canary: 100}").replace("name: one", "name: two");
        dir.rename_over("runtime.yaml", &response(&other));
        proxy.line("only \"one\" is asked for here");
        assert_eq!(client.get("/name").text(), "one");
        assert_eq!((proxy.stat("runtime.update_success"), proxy.stat("runtime.update_rejected")), (2, 1));

        let server = Server::start();
        let source = format!("{{api_config_source: {}, initial_fetch_timeout: 0.2s}}", api("GRPC", ""));
        let text = own_routes(&source, &xds_cluster(&socket(server.address), ""), (one.address, two.address));
        let mut proxy = start(io, &text);
        proxy.said("layered_runtime waits for runtime layer \"one\"");
        let mut client = proxy.client();
        assert_eq!((client.get("/name").text(), proxy.stat("runtime.init_fetch_timeout")), ("one".to_owned(), 1));
        server.set("RTDS", &[("one", layer("{canary: 100}"))]);
        proxy.line(" in force");
        assert_eq!(client.get("/name").text(), "two");
    });
}

/// A directory of files behind a link: each move is one commit, and what is wrong leaves the version before it.
#[test]
fn a_layer_of_files_moves_all_requests_and_fails_none() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let home = TempDir::new();
        let version = |name: &str, value: &str| {
            let directory = home.0.join(name).join("e");
            std::fs::create_dir_all(&directory).expect("a directory");
            std::fs::write(directory.join("canary"), value).expect("a file");
            std::os::unix::fs::symlink(name, home.0.join("next")).expect("a link");
            std::fs::rename(home.0.join("next"), home.0.join("current")).expect("a move");
        };
        version("1", "0\n");
        let link = home.0.join("current");
        let text = own_routes("SOURCE", "", (one.address, two.address));
        let layer = "rtds_layer: {name: one, rtds_config: SOURCE}";
        assert!(text.contains(layer), "{text}");
        let files = format!("disk_layer: {{symlink_root: {}, subdirectory: e}}", link.display());
        let mut proxy = start(io, &text.replace(layer, &files));
        let mut client = proxy.client();
        assert_eq!(client.get("/name").text(), "one");
        for (name, value, answered) in [("2", "100", "two"), ("3", "0", "one"), ("4", "100", "two")] {
            version(name, value);
            shown(&proxy, value, value);
            assert_eq!(client.get("/name").text(), answered);
        }
        // What nobody asks for is no commit, and is shown all the same.
        let generation = proxy.stat("config.generation");
        std::fs::create_dir_all(home.0.join("nobody/e")).expect("a directory");
        std::fs::write(home.0.join("nobody/e/unheard"), "7").expect("a file");
        version("nobody", "100");
        let is_shown = || proxy.admin("GET", "/runtime").text().contains("unheard").then_some(());
        common::wait_for("a value that nobody asks for", is_shown);
        assert_eq!(proxy.stat("config.generation"), generation);
        version("5", "a: b: [");
        proxy.line("no runtime layer could be read of it");
        assert_eq!(client.get("/name").text(), "two");
        // Said first, then counted.
        common::wait_for("the error in the statistics", || (proxy.stat("runtime.load_error") == 1).then_some(()));
        assert_eq!(proxy.stat("http.main.downstream_cx_total"), 1);
        assert_eq!(proxy.stat("config.reload_failed"), 0);
        let status = proxy.admin("GET", "/client_status").text();
        assert!(!status.contains("Runtime"), "{status}");
    });
}
