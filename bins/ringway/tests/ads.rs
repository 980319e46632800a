//! Resources from management servers (`ads`, `api_config_source`): what is asked, what is served, and what becomes of it when the
//! server goes wrong or away.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::certificates::{self, Pair, pair};
use crate::common;
use crate::common::files::certificates::Leaf;
use crate::common::files::{Files, upstream};
use crate::common::on_each_driver;
use crate::common::origin::{Origin, refusing};
use crate::common::process::{Proxy, TempDir, run};
use crate::common::resources::{assignment, eds_cluster, listener, routes, static_cluster};
use crate::common::xds::{Mood, Server};

pub(crate) const ADS: &str = "{ads: {}, resource_api_version: V3}";
pub(crate) const FORMS: [&str; 2] = ["GRPC", "DELTA_GRPC"];

/// An `ApiConfigSource` by the cluster `xds`, with these further fields.
pub(crate) fn api(form: &str, fields: &str) -> String {
    // Tried again soon, so that tests need not wait.
    let retry = "retry_policy: {retry_back_off: {base_interval: 0.05s, max_interval: 0.2s}}";
    format!(
        "{{api_type: {form}, transport_api_version: V3, grpc_services: [{{envoy_grpc: {{cluster_name: xds, {retry}}}}}]{fields}}}"
    )
}

/// The cluster of the management server.
pub(crate) fn xds_cluster(address: &str, fields: &str) -> String {
    format!(
        "{{name: xds, connect_timeout: 1s{fields}, typed_extension_protocol_options: \
         {{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{\"@type\": \
         type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {{http2_protocol_options: \
         {{}}}}}}}}, load_assignment: {{cluster_name: xds, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {address}}}}}]}}]}}}}"
    )
}

pub(crate) fn socket(address: SocketAddr) -> String {
    format!("{{socket_address: {{address: {}, port_value: {}}}}}", address.ip(), address.port())
}

/// A bootstrap with these `dynamic_resources`, and the management server there.
pub(crate) fn bootstrap(dynamic: &str, cluster: &str, statics: &str) -> String {
    format!(
        "node: {{id: node-1, cluster: tests, metadata: {{team: a}}}}\nadmin: {{address: {{socket_address: {{address: 127.0.0.1, \
         port_value: 0}}}}}}\ndynamic_resources: {{{dynamic}}}\nstatic_resources: {{clusters: [{cluster}]{statics}}}\n"
    )
}

/// All by ADS.
pub(crate) fn by_ads(form: &str, server: &Server) -> String {
    let dynamic = format!("ads_config: {}, cds_config: {ADS}, lds_config: {ADS}", api(form, ""));
    bootstrap(&dynamic, &xds_cluster(&socket(server.address), ""), "")
}

/// The listener `main` with routes `r`, a cluster `c` with its endpoint, and the route to it.
pub(crate) fn one_cluster(server: &Server, endpoint: SocketAddr) {
    server.set("CDS", &[("c", eds_cluster("c", ADS, ""))]);
    server.set("EDS", &[("c", assignment("c", endpoint))]);
    server.set("LDS", &[("main", listener("main", "r", ADS))]);
    server.set("RDS", &[("r", routes("r", &[("/", "c")]))]);
}

pub(crate) fn start(io: &str, bootstrap: &str) -> Proxy {
    Proxy::start_yaml(io, bootstrap, &["--concurrency", "2"])
}

#[test]
fn a_start_from_ads_in_either_form_and_changes_of_each_type() {
    on_each_driver(|io| {
        for form in FORMS {
            let (one, two) = (Origin::start("one"), Origin::start("two"));
            let server = Server::start();
            one_cluster(&server, one.address);
            let mut proxy = start(io, &by_ads(form, &server));
            let mut client = proxy.client();
            assert_eq!(client.get("/name").text(), "one", "{form}");
            assert_eq!(proxy.stat("control_plane.connected_state"), 1);
            let texts = proxy.admin("GET", "/stats?type=TextReadouts").text();
            let (version, identifier) = texts.split_once('\n').expect("two texts at least");
            assert_eq!(version, "cluster_manager.cds.version_text: \"1\"");
            assert!(identifier.starts_with("control_plane.identifier: \"scripted\"\n"), "{texts}");
            // Who asks is said, and each response is acknowledged.
            server.asked("#1 CDS []", "node");
            for service in ["CDS", "EDS", "LDS", "RDS"] {
                let ack = server.asked(&format!("#1 {service} ["), "nonce");
                assert!(!ack.contains("NACK"), "{ack}");
            }
            // An assignment moves the traffic, and nothing else.
            server.set("EDS", &[("c", assignment("c", two.address))]);
            proxy.line("endpoints: generation");
            assert_eq!(client.get("/name").text(), "two", "{form}");
            // A cluster and a route to it.
            server.set("CDS", &[("c", eds_cluster("c", ADS, "")), ("d", static_cluster("d", one.address))]);
            proxy.line(" in force");
            server.set("RDS", &[("r", routes("r", &[("/d", "d"), ("/", "c")]))]);
            proxy.line(" in force");
            assert_eq!(client.get("/d").text(), "one", "{form}");
            // A listener comes and goes; the connection to the other one stays through all of that.
            let second = ("second", listener("second", "r", ADS));
            server.set("LDS", &[("main", listener("main", "r", ADS)), second]);
            let line = proxy.line("listener second: ");
            let address: SocketAddr = line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("an address");
            assert_eq!(common::client::Client::connect(address).get("/d").text(), "one");
            server.set("LDS", &[("main", listener("main", "r", ADS))]);
            common::wait_for("a closed port", || TcpStream::connect(address).err());
            // A cluster that is gone is gone, and its route has none.
            server.set("CDS", &[("c", eds_cluster("c", ADS, ""))]);
            common::wait_for("no cluster", || (client.get("/d").status() == 503).then_some(()));
            assert_eq!(client.get("/name").text(), "two");
            assert_eq!(proxy.stat("http.main.downstream_cx_total"), 1);
            assert_eq!(server.connections(), 1);
            let dump = proxy.admin("GET", "/config_dump").text();
            assert!(dump.contains("\"version_info\""), "{dump}");
            assert!(proxy.stat("cluster_manager.cds.update_success") >= 3);
            assert_eq!(proxy.stat("cluster_manager.cds.update_rejected"), 0);
        }
    });
}

#[test]
fn a_bad_resource_is_refused_with_its_path_and_alone() {
    for form in FORMS {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let server = Server::start();
        one_cluster(&server, one.address);
        let mut proxy = start("poll", &by_ads(form, &server));
        let bad = eds_cluster("c", ADS, ", outlier_detection: {}");
        server.set("CDS", &[("c", bad.clone()), ("d", static_cluster("d", two.address))]);
        let nack = server.asked("#1 CDS []", "NACK");
        assert!(nack.contains("\"c\": outlier_detection: not supported yet"), "{nack}");
        proxy.line("cluster \"c\" refused");
        server.set("RDS", &[("r", routes("r", &[("/d", "d"), ("/", "c")]))]);
        common::wait_for("the neighbour", || (proxy.get("/d").text() == "two").then_some(()));
        assert_eq!(proxy.get("/name").text(), "one", "{form}");
        assert_eq!(proxy.stat("cluster_manager.cds.update_rejected"), 1);
        let dump = proxy.admin("GET", "/config_dump?resource=dynamic_active_clusters").text();
        assert!(dump.contains("error_state") && dump.contains("outlier_detection"), "{dump}");
        // Mended, it is accepted.
        server.set("CDS", &[("c", eds_cluster("c", ADS, "")), ("d", static_cluster("d", two.address))]);
        proxy.wait_stat("cluster_manager.cds.update_success", |count| count == 2);
    }
}

/// A server that sends the same wrong resource after each NACK: it is answered, at a pace, and people hear of it once.
#[test]
fn a_server_that_insists_is_said_once() {
    for form in FORMS {
        let one = Origin::start("one");
        let server = Server::start();
        one_cluster(&server, one.address);
        let mut proxy = start("poll", &by_ads(form, &server));
        server.feel(Mood::Insisting);
        server.set("CDS", &[("c", eds_cluster("c", ADS, ", outlier_detection: {}"))]);
        proxy.line("cluster \"c\" refused");
        let nacks = || server.log().iter().filter(|line| line.contains("NACK")).count();
        common::wait_for("NACKs", || (nacks() >= 9).then_some(()));
        assert_eq!(proxy.get("/name").text(), "one");
        server.feel(Mood::Serving);
        server.set("CDS", &[("c", eds_cluster("c", ADS, "")), ("d", static_cluster("d", one.address))]);
        proxy.line(" in force");
        assert_eq!(proxy.lines_with("cluster \"c\" refused"), 1);
    }
}

/// Envoy 1.40 withholds this ACK for `initial_fetch_timeout`.
#[test]
fn a_cluster_that_changes_takes_up_its_assignment_at_once() {
    let one = Origin::start("one");
    let server = Server::start();
    one_cluster(&server, one.address);
    let proxy = start("poll", &by_ads("DELTA_GRPC", &server));
    let mut client = proxy.client();
    let generation = proxy.stat("config.generation");
    server.asked("#1 EDS [] nonce", "");
    let asked = server.log().iter().filter(|line| line.contains("EDS")).count();
    server.set("CDS", &[("c", eds_cluster("c", ADS, ", connect_timeout: 3s"))]);
    proxy.wait_stat("config.generation", |now| now == generation + 1);
    assert_eq!(client.get("/name").text(), "one");
    proxy.wait_stat("cluster_manager.cds.update_success", |count| count == 2);
    common::wait_for("the second ACK", || {
        let acks = server.log().iter().filter(|line| line.contains("CDS [] nonce")).count();
        (acks == 2).then_some(())
    });
    assert_eq!(proxy.stat("cluster.c.init_fetch_timeout"), 0);
    assert_eq!(server.log().iter().filter(|line| line.contains("EDS")).count(), asked, "nothing was asked anew");
}

/// State of the world says nothing of an assignment that it leaves out; delta says that it is gone.
#[test]
fn an_assignment_goes_only_where_that_is_said() {
    let one = Origin::start("one");
    for form in FORMS {
        let server = Server::start();
        one_cluster(&server, one.address);
        let proxy = start("poll", &by_ads(form, &server));
        assert_eq!(proxy.get("/name").text(), "one");
        server.set("EDS", &[]);
        match form {
            "GRPC" => {
                server.asked("#1 EDS [c] version 5 nonce", "");
                assert_eq!(proxy.get("/name").text(), "one");
            }
            _ => common::wait_for("no endpoint", || (proxy.get("/name").status() == 503).then_some(())),
        }
    }
}

#[test]
fn a_stream_that_ends_is_begun_again_with_all_that_is_held() {
    for form in FORMS {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let server = Server::start();
        one_cluster(&server, one.address);
        let mut proxy = start("poll", &by_ads(form, &server));
        assert_eq!(proxy.get("/name").text(), "one");
        server.kill();
        server.connected(2);
        proxy.line("what has come stays");
        for (service, names, name) in [("CDS", "", "c"), ("EDS", "c", "c"), ("LDS", "", "main"), ("RDS", "r", "r")] {
            let line = server.asked(&format!("#2 {service} [{names}]"), "");
            let is_held = match form {
                "GRPC" => line.contains(" version ") && !line.contains("nonce"),
                _ => line.contains(&format!("held[{name}:")) && !line.contains("nonce"),
            };
            assert!(is_held, "{line}");
        }
        assert_eq!(proxy.get("/name").text(), "one");
        server.set("EDS", &[("c", assignment("c", two.address))]);
        common::wait_for("the change", || (proxy.get("/name").text() == "two").then_some(()));
        assert_eq!(proxy.stat("control_plane.connected_state"), 1);
    }
}

/// A bootstrap with a listener and a cluster of its own, which waits a short while for ADS.
fn with_statics(server: SocketAddr, own: SocketAddr) -> String {
    let soon = "{ads: {}, resource_api_version: V3, initial_fetch_timeout: 0.5s}";
    let untyped = |resource: String| {
        let end = resource.find(", ").expect("a type comes first");
        format!("{{{}", &resource[end + 2..])
    };
    let rds = format!("rds: {{route_config_name: r, config_source: {ADS}}}");
    let listener = untyped(listener("main", "r", ADS)).replace(
        &rds,
        "route_config: {virtual_hosts: [{name: all, domains: [\"*\"], routes: [{match: {prefix: /}, route: {cluster: own}}]}]}",
    );
    let clusters = format!("{}, {}", xds_cluster(&socket(server), ""), untyped(static_cluster("own", own)));
    let dynamic = format!("ads_config: {}, cds_config: {soon}, lds_config: {soon}", api("GRPC", ""));
    bootstrap(&dynamic, &clusters, &format!(", listeners: [{listener}]"))
}

#[test]
fn without_a_server_what_stands_in_the_file_serves_after_a_while() {
    let one = Origin::start("one");
    let mut proxy = start("poll", &with_statics(refusing("127.0.0.1"), one.address));
    assert_eq!(proxy.get("/name").text(), "one");
    assert_eq!(proxy.stat("control_plane.connected_state"), 0);
    assert_eq!(proxy.stat("cluster_manager.cds.init_fetch_timeout"), 1);
    proxy.wait_stat("cluster_manager.cds.update_failure", |count| count >= 1);
    if proxy.lines_with("ADS: 127.0.0.1:") == 0 {
        proxy.line("ADS: 127.0.0.1:");
    }
    assert!(proxy.runs());
}

#[test]
fn a_server_that_says_nothing_is_waited_for_as_long_and_may_speak_later() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let server = Server::start();
    server.feel(Mood::Silent);
    let mut proxy = start("poll", &with_statics(server.address, one.address));
    assert_eq!(proxy.get("/name").text(), "one");
    assert_eq!(proxy.stat("cluster_manager.cds.init_fetch_timeout"), 1);
    assert_eq!(proxy.stat("cluster_manager.cds.update_failure"), 0);
    server.set("CDS", &[("c", static_cluster("c", two.address))]);
    server.set("LDS", &[("late", listener("late", "r", ADS))]);
    server.set("RDS", &[("r", routes("r", &[("/", "c")]))]);
    server.feel(Mood::Serving);
    let line = proxy.line("listener late: ");
    let address: SocketAddr = line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("an address");
    assert_eq!(common::client::Client::connect(address).get("/name").text(), "two");
    assert_eq!(proxy.get("/name").text(), "one");
}

#[test]
fn a_server_that_talks_garbage_is_backed_off_from_and_changes_nothing() {
    let one = Origin::start("one");
    let server = Server::start();
    one_cluster(&server, one.address);
    let mut proxy = start("poll", &by_ads("GRPC", &server));
    for (mood, said) in [(Mood::Garbage, "is no discovery response"), (Mood::Huge, "more than 67108864")] {
        let before = server.connections();
        server.feel(mood);
        server.kill();
        proxy.line(said);
        server.connected(before + 4);
        assert_eq!(proxy.get("/name").text(), "one");
    }
    let failures = proxy.stat("cluster_manager.cds.update_failure");
    assert!(failures >= 6, "{failures}");
    // It comes to its senses.
    let two = Origin::start("two");
    server.set("EDS", &[("c", assignment("c", two.address))]);
    server.feel(Mood::Serving);
    server.kill();
    common::wait_for("the change", || (proxy.get("/name").text() == "two").then_some(()));
    proxy.line("ADS: connected to");
}

/// As Istio's agent and its secrets' server are asked.
#[test]
fn a_server_at_a_unix_socket() {
    on_each_driver(|io| {
        let one = Origin::start("one");
        let dir = TempDir::new();
        let path = dir.0.join("xds.sock");
        let server = Server::at(&path);
        one_cluster(&server, one.address);
        let dynamic = format!("ads_config: {}, cds_config: {ADS}, lds_config: {ADS}", api("DELTA_GRPC", ""));
        let cluster = xds_cluster(&format!("{{pipe: {{path: {}}}}}", path.display()), "");
        let proxy = start(io, &bootstrap(&dynamic, &cluster, ""));
        assert_eq!(proxy.get("/name").text(), "one");
    });
}

#[test]
fn a_stream_for_each_type_with_what_the_file_says_of_it() {
    let one = Origin::start("one");
    let server = Server::start();
    let source = |form: &str| format!("{{api_config_source: {}, resource_api_version: V3}}", api(form, ""));
    let [sotw, delta] = FORMS.map(source);
    server.set("CDS", &[("c", eds_cluster("c", &delta, ""))]);
    server.set("EDS", &[("c", assignment("c", one.address))]);
    server.set("LDS", &[("main", listener("main", "r", &sotw))]);
    server.set("RDS", &[("r", routes("r", &[("/", "c")]))]);
    let said = sotw
        .replace("cluster_name: xds,", "cluster_name: xds, authority: control.example,")
        .replace("}}}}]", "}}}, initial_metadata: [{key: x-token, value: secret}]}]");
    assert!(said.contains("x-token"), "{said}");
    let dynamic = format!("cds_config: {said}, lds_config: {delta}");
    let text = bootstrap(&dynamic, &xds_cluster(&socket(server.address), ""), "");
    let proxy = start("poll", &text);
    assert_eq!(proxy.get("/name").text(), "one");
    assert_eq!(server.connections(), 4);
    let log = server.log();
    for path in [
        "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters control.example x-token=secret",
        "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints xds ",
        "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners xds ",
        "/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes xds ",
    ] {
        assert!(log.iter().any(|line| line.ends_with(path)), "{path}: {log:?}");
    }
    // State of the world says who asks each time, unless it is told not to.
    assert!(log.iter().any(|line| line.contains("CDS [] version") && line.ends_with("node")), "{log:?}");
    // What nobody wants any more is not asked for any more.
    server.set("CDS", &[("c", static_cluster("c", one.address))]);
    common::wait_for("a route to the other kind of cluster", || {
        (proxy.stat("cluster_manager.cds.update_success") == 2).then_some(())
    });
    assert_eq!(proxy.get("/name").text(), "one");
}

/// A certificate of a server of secrets comes, rotates under a connection, and is kept where the next one is wrong.
#[test]
fn a_secret_by_a_stream_of_its_own_or_by_ads() {
    const CONTEXT: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
    for (form, is_ads) in [("GRPC", false), ("DELTA_GRPC", false), ("GRPC", true), ("DELTA_GRPC", true)] {
        let (server, first, second) = (Server::start(), pair(), pair());
        let secret = |chain: &Pair, key: &Pair| {
            let (chain, key) = (&chain.chain, &key.key);
            format!(
                "{{\"@type\": {CONTEXT}.Secret, name: server, tls_certificate: {{certificate_chain: {{inline_string: {chain:?}}}, \
                 private_key: {{inline_string: {key:?}}}}}}}"
            )
        };
        server.set("SDS", &[("server", secret(&first, &first))]);
        let (source, dynamic) = match is_ads {
            true => (ADS.to_owned(), format!("ads_config: {}", api(form, ""))),
            false => (format!("{{api_config_source: {}, resource_api_version: V3}}", api(form, "")), String::new()),
        };
        let inline = listener("main", "r", "SOURCE").replace(
            "rds: {route_config_name: r, config_source: SOURCE}",
            "route_config: {virtual_hosts: [{name: v, domains: [\"*\"], routes: [{match: {prefix: /}, direct_response: {status: \
             200, body: {inline_string: direct}}}]}]}",
        );
        let tls = format!(
            "filter_chains: [{{transport_socket: {{name: tls, typed_config: {{\"@type\": {CONTEXT}.DownstreamTlsContext, \
             common_tls_context: {{tls_certificate_sds_secret_configs: [{{name: server, sds_config: {source}}}]}}}}}}, "
        );
        let inline = inline
            .replace("\"@type\": type.googleapis.com/envoy.config.listener.v3.Listener, ", "")
            .replace("filter_chains: [{", &tls);
        let text = bootstrap(&dynamic, &xds_cluster(&socket(server.address), ""), &format!(", listeners: [{inline}]"));
        let mut proxy = start("poll", &text);
        let mut client = certificates::Client::connect(&proxy);
        client.ask();
        let before = client.serial();
        server.set("SDS", &[("server", secret(&second, &second))]);
        proxy.line("generation 2 in force");
        let after = certificates::Client::connect(&proxy).serial();
        assert_ne!(before, after, "{form}");
        client.ask();
        server.set("SDS", &[("server", secret(&first, &second))]);
        proxy.line("the private key does not belong to the certificate");
        server.asked("#1 SDS [", "NACK");
        assert_eq!(certificates::Client::connect(&proxy).serial(), after, "{form}");
        client.ask();
        let service = if is_ads { "AggregatedDiscoveryService" } else { "SecretDiscoveryService" };
        assert!(server.log().iter().any(|line| line.contains(service)), "{:?}", server.log());
    }
}

/// A server that must be who it says and wants to know who we are, behind TLS that a proxy of ours ends.
#[test]
fn a_server_behind_mutual_tls() {
    let one = Origin::start("one");
    let server = Server::start();
    one_cluster(&server, one.address);
    let files = Files::new();
    files.identity("client", &Leaf::default());
    let ca = format!(", validation_context: {{trusted_ca: {}}}, alpn_protocols: [h2]", files.file("ca.pem"));
    let secured = files.socket("require_client_certificate: true, ", &ca);
    let endpoint = socket(server.address);
    let front = Proxy::start_yaml(
        "poll",
        &format!(
            "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}\nstatic_resources: {{listeners: [{{name: main, \
             address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}, filter_chains: [{{{secured}, filters: [{{name: t, \
             typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, \
             cluster: s}}}}]}}]}}], clusters: [{{name: s, load_assignment: {{cluster_name: s, endpoints: [{{lb_endpoints: [{{endpoint: \
             {{address: {endpoint}}}}}]}}]}}}}]}}\n"
        ),
        &["--concurrency", "1"],
    );
    let trusted = format!("validation_context: {{trusted_ca: {}}}", files.file("ca.pem"));
    let shown =
        upstream("sni: example.com, ", &format!("{trusted}, tls_certificates: [{}]", files.certificate("client")));
    let dynamic = format!("ads_config: {}, cds_config: {ADS}, lds_config: {ADS}", api("GRPC", ""));
    let with =
        |transport: &str| bootstrap(&dynamic, &xds_cluster(&socket(front.address), &format!(", {transport}")), "");
    let mut proxy = start("poll", &with(&shown));
    assert_eq!(proxy.get("/name").text(), "one");
    assert!(front.stat("tcp.t.downstream_cx_total") >= 1);
    // A server that is not who it must be is told nothing.
    let other = shown.replace(
        "{trusted_ca",
        "{match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: other}}], trusted_ca",
    );
    proxy.replace(&with(&other));
    proxy.line("configuration: ");
    server.kill();
    proxy.line("what has come stays");
    proxy.line("verify cert failed: SAN matcher");
    assert!(server.log().iter().all(|line| line.starts_with("#1 ")), "{:?}", server.log());
    assert_eq!(proxy.get("/name").text(), "one");
    // Another file mends it, without a connection having to end.
    proxy.replace(&with(&shown));
    common::wait_for("a request of another connection", || {
        let is_first = |line: &String| line.contains(" CDS ") && line.contains("version") && !line.contains("nonce");
        server.log().iter().any(is_first).then_some(())
    });
}

#[test]
fn another_ads_config_begins_another_stream_and_what_came_stays() {
    for form in FORMS {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let (first, second) = (Server::start(), Server::start());
        one_cluster(&first, one.address);
        first.set("CDS", &[("c", eds_cluster("c", ADS, "")), ("old", static_cluster("old", one.address))]);
        let proxy = start("poll", &by_ads(form, &first));
        assert_eq!(proxy.get("/name").text(), "one");
        assert!(proxy.admin("GET", "/clusters").text().contains("old::"));
        // The second one has not what the first one had besides, and other endpoints.
        one_cluster(&second, two.address);
        let other = by_ads(form, &second)
            .replace("envoy_grpc: {cluster_name: xds, ", "envoy_grpc: {cluster_name: xds, authority: second, ");
        proxy.replace(&other);
        common::wait_for("the second server's endpoints", || (proxy.get("/name").text() == "two").then_some(()));
        common::wait_for("the end of what the second one has not", || {
            (!proxy.admin("GET", "/clusters").text().contains("old::")).then_some(())
        });
        let held = second.asked("#1 CDS", "node");
        match form {
            "GRPC" => assert!(!held.contains("version"), "{held}"),
            _ => assert!(held.contains("held[c: old:]"), "{held}"),
        }
        // Without dynamic resources nobody is asked any more; the statics serve.
        let connections = second.connections();
        proxy.replace(&bootstrap("", &xds_cluster(&socket(second.address), ""), ""));
        common::wait_for("the end of the listener", || TcpStream::connect(proxy.address).err());
        second.set("EDS", &[("c", assignment("c", one.address))]);
        assert_eq!((second.connections(), proxy.stat("control_plane.connected_state")), (connections, 0));
    }
}

#[test]
fn the_next_endpoint_and_the_next_service_are_tried_in_turn() {
    let one = Origin::start("one");
    let server = Server::start();
    one_cluster(&server, one.address);
    let dead = [refusing("127.0.0.1"), refusing("127.0.0.1")].map(socket);
    // Of the first service one endpoint of two is there; the second one has none that is.
    let of_two = xds_cluster(&dead[0], "")
        .replace("lb_endpoints: [", &format!("lb_endpoints: [{{endpoint: {{address: {}}}}}, ", dead[1]));
    let all_dead = of_two.replace("name: xds,", "name: gone,");
    let last = xds_cluster(&socket(server.address), "").replace("name: xds,", "name: there,");
    let both = api("DELTA_GRPC", "").replace(
        "grpc_services: [",
        "grpc_services: [{envoy_grpc: {cluster_name: gone}}, {envoy_grpc: {cluster_name: there, authority: last}}, ",
    );
    let dynamic = format!("ads_config: {both}, cds_config: {ADS}, lds_config: {ADS}");
    let proxy = start("poll", &bootstrap(&dynamic, &format!("{of_two}, {all_dead}, {last}"), ""));
    assert_eq!(proxy.get("/name").text(), "one");
    assert!(server.log()[0].ends_with("DeltaAggregatedResources last "), "{:?}", server.log());
    // When that one is gone, its turn comes again after the others'.
    server.kill();
    server.asked("#2 CDS", "held[c:");
    // An endpoint that is there is found among others.
    let server = Server::start();
    one_cluster(&server, one.address);
    let mixed = xds_cluster(&dead[0], "")
        .replace("lb_endpoints: [", &format!("lb_endpoints: [{{endpoint: {{address: {}}}}}, ", socket(server.address)));
    let dynamic = format!("ads_config: {}, cds_config: {ADS}, lds_config: {ADS}", api("GRPC", ""));
    let proxy = start("poll", &bootstrap(&dynamic, &mixed, ""));
    assert_eq!(proxy.get("/name").text(), "one");
    server.kill();
    server.asked("#2 CDS", "version");
}

#[test]
fn requests_keep_to_the_rate_that_the_file_allows() {
    let one = Origin::start("one");
    let server = Server::start();
    one_cluster(&server, one.address);
    let limited = ", rate_limit_settings: {max_tokens: 1, fill_rate: 20}";
    let dynamic = format!("ads_config: {}, cds_config: {ADS}, lds_config: {ADS}", api("GRPC", limited));
    let proxy = start("poll", &bootstrap(&dynamic, &xds_cluster(&socket(server.address), ""), ""));
    assert_eq!(proxy.get("/name").text(), "one");
    proxy.wait_stat("control_plane.pending_requests", |count| count == 0);
    assert!(proxy.stat("control_plane.rate_limit_enforced") >= 1);
}

#[test]
fn check_asks_nobody() {
    let server = Server::start();
    let dir = TempDir::new();
    let file = dir.rename_over("ads.yaml", &by_ads("GRPC", &server));
    let output = run(&["check", "-c", &file.display().to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.connections(), 0);
}

/// A dead connection that nobody closes is found out by its silence.
#[test]
fn a_server_that_answers_no_ping_is_left() {
    let one = Origin::start("one");
    let server = Server::start();
    one_cluster(&server, one.address);
    let mute = Mute::before(server.address);
    let keepalive = "http2_protocol_options: {connection_keepalive: {interval: 0.1s, timeout: 5s}}";
    let cluster = xds_cluster(&socket(mute.address), "").replace("http2_protocol_options: {}", keepalive);
    let dynamic = format!("ads_config: {}, cds_config: {ADS}, lds_config: {ADS}", api("GRPC", ""));
    let mut proxy = start("poll", &bootstrap(&dynamic, &cluster, ""));
    assert_eq!(proxy.get("/name").text(), "one");
    mute.hush();
    proxy.line("the server did not answer a PING");
    server.connected(2);
    assert_eq!(proxy.get("/name").text(), "one");
}

/// Passes bytes on until it is told to pass none of the connections that there are.
struct Mute {
    address: SocketAddr,
    is_hushed: Arc<AtomicBool>,
}

impl Mute {
    fn before(server: SocketAddr) -> Mute {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice");
        let mute = Mute { address: listener.local_addr().expect("bound"), is_hushed: Arc::default() };
        let is_hushed = mute.is_hushed.clone();
        thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                let server = TcpStream::connect(server).expect("the server");
                let ends = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
                for (from, to) in ends {
                    let (mut from, mut to) = (from.expect("a descriptor"), to.expect("a descriptor"));
                    let is_hushed = is_hushed.clone();
                    thread::spawn(move || {
                        let mut piece = [0; 16 << 10];
                        while let Ok(count @ 1..) = from.read(&mut piece) {
                            // Only the first one falls silent.
                            if (number > 0 || !is_hushed.load(Ordering::SeqCst))
                                && to.write_all(&piece[..count]).is_err()
                            {
                                return;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        mute
    }

    fn hush(&self) {
        self.is_hushed.store(true, Ordering::SeqCst);
    }
}
