//! HTTP filters whose configuration comes by itself (`config_discovery`): it takes effect on connections that are open, what is wrong is refused,
//! and where there is none nobody gets through.
//!
//! The filter is the router, which shows: with `suppress_envoy_headers` there is no `x-envoy-upstream-service-time`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::ads::{ADS, api, bootstrap, by_ads, one_cluster, socket, start, xds_cluster};
use crate::common;
use crate::common::client::Client;
use crate::common::on_each_driver;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir};
use crate::common::resources::{listener, static_cluster};
use crate::common::xds::Server;
use crate::rest::{self, REST};

const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters.http";

/// A router of this name.
fn router(name: &str, suppresses: bool) -> String {
    extension(name, &format!("\"@type\": {FILTERS}.router.v3.Router, suppress_envoy_headers: {suppresses}"))
}

fn extension(name: &str, config: &str) -> String {
    format!(
        "{{\"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig, name: {name}, typed_config: {{{config}}}}}"
    )
}

/// A listener whose router comes of a `ConfigSource`, with these further fields of that.
fn discovering(listener: &str, filter: &str, source: &str, more: &str) -> String {
    let own = format!("{{name: r, typed_config: {{\"@type\": {FILTERS}.router.v3.Router}}}}");
    assert!(listener.contains(&own), "{listener}");
    let types = format!("type_urls: [{FILTERS}.router.v3.Router]");
    listener.replace(&own, &format!("{{name: {filter}, config_discovery: {{config_source: {source}, {types}{more}}}}}"))
}

/// Whether the router of now suppresses; the answer is right all the same.
#[track_caller]
fn suppresses(client: &mut Client) -> bool {
    let answer = client.get("/name");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "one"));
    answer.header("x-envoy-upstream-service-time").is_none()
}

fn address(line: &str) -> SocketAddr {
    line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("an address")
}

#[test]
fn a_filter_changes_under_open_connections_and_no_request_fails() {
    on_each_driver(|io| {
        for form in ["GRPC", "DELTA_GRPC"] {
            let one = Origin::start("one");
            let server = Server::start();
            one_cluster(&server, one.address);
            server.set("LDS", &[("main", discovering(&listener("main", "r", ADS), "f", ADS, ""))]);
            server.set("ECDS", &[("f", router("f", true))]);
            let mut proxy = start(io, &by_ads(form, &server));
            let mut client = proxy.client();
            assert!(suppresses(&mut client), "{form}");
            let ends = Arc::new(AtomicBool::new(false));
            let (mut other, is_over) = (proxy.client(), ends.clone());
            let load = thread::spawn(move || {
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    suppresses(&mut other);
                    count += 1;
                }
                count
            });
            for change in 1..=10 {
                server.set("ECDS", &[("f", router("f", change % 2 == 0))]);
                proxy.line(" in force");
                assert_eq!(suppresses(&mut client), change % 2 == 0, "{form}, {change}");
            }
            // One that decides who may pass and is not enforced here, and what is wrong in itself: the last good one stays.
            let refused = "envoy.extensions.filters.http.rbac.v3.RBAC is not supported yet";
            server.set("ECDS", &[("f", extension("f", &format!("\"@type\": {FILTERS}.rbac.v3.RBAC")))]);
            let nack = server.asked("#1 ECDS [", "NACK");
            assert!(nack.contains(refused), "{nack}");
            proxy.line("extension configuration \"f\" refused");
            assert!(suppresses(&mut client), "{form}");
            let dump = proxy.admin("GET", "/config_dump?resource=ecds_filters").text();
            for part in ["EcdsConfigDump.EcdsFilterConfig", "\"suppress_envoy_headers\": true", "error_state", refused]
            {
                assert!(dump.contains(part), "{part}: {dump}");
            }
            let stat = |name: &str| proxy.stat(&format!("extension_config_discovery.http_filter.f.{name}"));
            assert_eq!((stat("update_success"), stat("config_reload")), (11, 11), "{form}");
            assert_eq!((stat("update_rejected"), stat("config_fail"), stat("config_conflict")), (1, 1, 0), "{form}");
            ends.store(true, Ordering::Relaxed);
            assert!(load.join().expect("each request was answered") > 0);
            assert_eq!(proxy.stat("http.main.downstream_cx_total"), 2, "{form}");
            assert_eq!(proxy.stat("http.main.downstream_rq_5xx"), 0, "{form}");
        }
    });
}

/// Guards access: a filter without a configuration is not passed over.
#[test]
fn without_a_configuration_nobody_gets_through() {
    on_each_driver(|io| {
        let one = Origin::start("one");
        let server = Server::start();
        one_cluster(&server, one.address);
        let main = ("main", listener("main", "r", ADS));
        server.set("LDS", std::slice::from_ref(&main));
        server.set("ECDS", &[("g", router("g", true))]);
        let mut proxy = start(io, &by_ads("DELTA_GRPC", &server));
        let for_ever = format!("{{initial_fetch_timeout: 0s, {}", &ADS[1..]);
        let second = ("second", discovering(&listener("second", "r", ADS), "g", &for_ever, ""));
        let default =
            format!(", default_config: {{\"@type\": {FILTERS}.router.v3.Router, suppress_envoy_headers: true}}");
        let third = format!("{default}, apply_default_config_without_warming: true");
        let third = ("third", discovering(&listener("third", "r", ADS), "h", &for_ever, &third));
        server.set("LDS", &[main.clone(), third.clone()]);
        let mut at_third = Client::connect(address(&proxy.line("listener third: ")));
        assert!(suppresses(&mut at_third));
        server.set("LDS", &[main, third, second]);
        let (mut third, mut second) = (at_third, Client::connect(address(&proxy.line("listener second: "))));
        assert!(suppresses(&mut second));
        // What goes is gone.
        server.set("ECDS", &[]);
        proxy.line(" in force");
        let answer = second.get("/name");
        assert_eq!((answer.status(), answer.text().as_str()), (500, ""));
        let explained = proxy.admin("GET", "/explain?url=http://x/name&listener=second").text();
        assert!(explained.contains("NFCF") && explained.contains("config_discovery"), "{explained}");
        // Nobody asks for the route before that.
        assert!(!explained.contains("virtual host"), "{explained}");
        // What comes is taken up.
        server.set("ECDS", &[("g", router("g", false)), ("h", router("h", false))]);
        proxy.line(" in force");
        assert!(!suppresses(&mut second));
        assert!(!suppresses(&mut third));
        server.set("ECDS", &[("g", router("g", false))]);
        proxy.line(" in force");
        assert!(!suppresses(&mut second));
        assert!(suppresses(&mut third), "the default again");
        assert_eq!(proxy.get("/name").text(), "one");
        assert_eq!(proxy.stat("http.second.downstream_cx_total"), 1);
    });
}

/// A server of the state of the world has not said anything yet: who waits is named, and comes in time.
#[test]
fn a_listener_waits_for_its_filter() {
    let one = Origin::start("one");
    let server = Server::start();
    one_cluster(&server, one.address);
    let main = ("main", listener("main", "r", ADS));
    server.set("LDS", std::slice::from_ref(&main));
    let mut proxy = start("poll", &by_ads("GRPC", &server));
    let second = discovering(&listener("second", "r", ADS), "g", ADS, "");
    server.set("LDS", &[main.clone(), ("second", second)]);
    server.asked("#1 ECDS [g]", "");
    let waits = || proxy.admin("GET", "/init_dump").text();
    let waits = common::wait_for("a listener that waits", || Some(waits()).filter(|text| text.contains("second")));
    assert!(waits.contains("extension configuration \\\"g\\\" of ADS"), "{waits}");
    server.set("ECDS", &[("g", router("g", true))]);
    let second = address(&proxy.line("listener second: "));
    assert!(suppresses(&mut Client::connect(second)));
    assert_eq!(proxy.stat("extension_config_discovery.http_filter.g.init_fetch_timeout"), 0);
    // It may come too late, too: then nobody gets through.
    let soon = format!("{{initial_fetch_timeout: 0.1s, {}", &ADS[1..]);
    let third = discovering(&listener("third", "r", ADS), "late", &soon, "");
    server.set("LDS", &[main, ("third", third)]);
    let third = address(&proxy.line("listener third: "));
    assert_eq!(Client::connect(third).get("/name").status(), 500);
    proxy.wait_stat("extension_config_discovery.http_filter.late.init_fetch_timeout", |count| count == 1);
}

/// A listener of the file with routes and a cluster of its own, whose router comes from there.
fn of_file(source: &str, dynamic: &str, xds: &str, origin: SocketAddr) -> String {
    let strip =
        |text: String, kind: &str| text.replace(&format!("\"@type\": type.googleapis.com/envoy.config.{kind}, "), "");
    let route = "route_config: {virtual_hosts: [{name: v, domains: [\"*\"], routes: [{match: {prefix: /}, route: {cluster: c}}]}]}";
    let listener = listener("main", "r", "SOURCE").replace("rds: {route_config_name: r, config_source: SOURCE}", route);
    let listener = strip(discovering(&listener, "f", source, ""), "listener.v3.Listener");
    let cluster = strip(static_cluster("c", origin), "cluster.v3.Cluster");
    bootstrap(dynamic, &format!("{xds}{cluster}"), &format!(", listeners: [{listener}]"))
}

/// The one in force at first suppresses; `change` brings one that does not.
#[track_caller]
fn follows(mut proxy: Proxy, change: impl FnOnce()) {
    let mut client = proxy.client();
    assert!(suppresses(&mut client));
    change();
    proxy.line(" in force");
    assert!(!suppresses(&mut client));
    assert_eq!(proxy.stat("extension_config_discovery.http_filter.f.config_reload"), 2);
    assert_eq!(proxy.stat("http.main.downstream_cx_total"), 1);
    // The file is read again: what came stays.
    let text = std::fs::read_to_string(proxy.file()).expect("the file");
    proxy.replace(&format!("{text}\n# again\n"));
    proxy.wait_stat("config.reload_success", |count| count >= 1);
    assert!(!suppresses(&mut client));
}

#[test]
fn a_filter_by_a_stream_of_its_own_by_rest_and_from_a_file() {
    let one = Origin::start("one");
    for (form, method) in [("GRPC", "StreamExtensionConfigs"), ("DELTA_GRPC", "DeltaExtensionConfigs")] {
        let server = Server::start();
        server.set("ECDS", &[("f", router("f", true))]);
        let source = format!("{{api_config_source: {}, resource_api_version: V3}}", api(form, ""));
        let xds = format!("{}, ", xds_cluster(&socket(server.address), ""));
        let proxy = start("poll", &of_file(&source, "", &xds, one.address));
        follows(proxy, || server.set("ECDS", &[("f", router("f", false))]));
        let path = format!("/envoy.service.extension.v3.ExtensionConfigDiscoveryService/{method}");
        assert!(server.log().iter().any(|line| line.contains(&path)), "{:?}", server.log());
    }
    let server = rest::Server::start();
    server.set("extension_configs", "1", &[router("f", true)]);
    let xds = static_cluster("xds", server.address);
    let xds = format!("{}, ", xds.replace("\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, ", ""));
    let proxy = start("poll", &of_file(REST, "", &xds, one.address));
    follows(proxy, || server.set("extension_configs", "2", &[router("f", false)]));
    let directory = TempDir::new();
    let put = |suppresses| {
        let resources = format!("version_info: \"{suppresses}\"\nresources: [{}]\n", router("f", suppresses));
        directory.rename_over("ecds.yaml", &resources);
    };
    put(true);
    let source = format!("{{path_config_source: {{path: {}}}}}", directory.0.join("ecds.yaml").display());
    let proxy = start("poll", &of_file(&source, "", "", one.address));
    follows(proxy, || put(false));
}
