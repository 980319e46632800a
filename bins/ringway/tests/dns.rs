//! Clusters of names: STRICT_DNS and LOGICAL_DNS against a name server of our own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::ads::{self, ADS, by_ads};
use crate::common::config::Config;
use crate::common::dns::{A, AAAA, Answer, NameServer};
use crate::common::on_each_driver;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir, run};
use crate::common::resources::{eds_cluster, routes, static_cluster};
use crate::common::wait_for;
use crate::common::xds::Server;

/// Asked for again at once: tests wait for questions, not for time.
const SOON: &str = "dns_refresh_rate: 0.02s";
const V4: &str = "dns_lookup_family: V4_ONLY";

/// A cluster `c` of `a.test` at a port, with these fields.
fn config(server: &NameServer, port: u16, fields: &[&str]) -> Config {
    let fields = fields.join("\n    ");
    Config::new().top(&server.resolver("")).to("/", "c").names("c", "a.test", port, &fields)
}

/// Who answers, of so many requests.
fn answered_by(proxy: &Proxy, count: usize) -> BTreeSet<String> {
    (0..count).map(|_| proxy.get("/name").text()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn each_address_of_a_strict_name_is_an_endpoint_and_changes_are_followed() {
    on_each_driver(|io| {
        let [one, _two] = Origin::on_one_port(["127.0.0.1", "127.0.0.2"]);
        let server = NameServer::start();
        server.set("a.test", Answer::of(&["127.0.0.1", "127.0.0.2"]));
        let proxy = Proxy::start(io, &config(&server, one.address.port(), &["type: STRICT_DNS", SOON, V4]));
        // It serves only since the names are known.
        assert_eq!(answered_by(&proxy, 4), set(&["127.0.0.1", "127.0.0.2"]));
        server.set("a.test", Answer::of(&["127.0.0.2"]));
        wait_for("one endpoint", || (answered_by(&proxy, 3) == set(&["127.0.0.2"])).then_some(()));
        // Another order is no change.
        server.set("a.test", Answer::of(&["127.0.0.1", "127.0.0.2"]));
        wait_for("two endpoints", || (answered_by(&proxy, 4) == set(&["127.0.0.1", "127.0.0.2"])).then_some(()));
        // Workers serve by a generation before it is reported.
        proxy.wait_stat("config.generation", |now| now == 3);
        server.set("a.test", Answer::of(&["127.0.0.2", "127.0.0.1"]));
        server.wait_question("a.test");
        server.wait_question("a.test");
        assert_eq!(proxy.stat("config.generation"), 3);
        // Without any address the cluster is empty; a name that is gone has none.
        for gone in [Answer::default(), Answer { code: 3, ..Answer::default() }] {
            server.set("a.test", gone);
            wait_for("an empty cluster", || (proxy.get("/name").status() == 503).then_some(()));
            server.set("a.test", Answer::of(&["127.0.0.1"]));
            wait_for("an endpoint", || (proxy.get("/name").text() == "127.0.0.1").then_some(()));
        }
        let stat = |name: &str| proxy.stat(&format!("cluster.c.{name}"));
        // In this order: they grow meanwhile.
        let same = stat("update_no_rebuild");
        let success = stat("update_success");
        assert!(success > same && same > 0 && stat("update_attempt") >= success, "{success} {same}");
        assert_eq!(stat("update_failure"), 0);
    });
}

#[test]
fn a_failure_leaves_the_last_good_answer() {
    on_each_driver(|io| {
        let [one] = Origin::on_one_port(["127.0.0.1"]);
        let server = NameServer::start();
        server.set("a.test", Answer::of(&["127.0.0.1"]));
        let fields =
            ["type: STRICT_DNS", SOON, V4, "dns_failure_refresh_rate: {base_interval: 0.01s, max_interval: 0.02s}"];
        let mut proxy = Proxy::start(io, &config(&server, one.address.port(), &fields));
        server.set("a.test", Answer { code: 2, ..Answer::default() });
        proxy.wait_stat("cluster.c.update_failure", |count| count > 2);
        proxy.line("cluster 'c': cannot look up a.test");
        assert_eq!(proxy.get("/name").text(), "127.0.0.1");
    });
}

#[test]
fn a_logical_name_is_one_endpoint_that_keeps_its_connections() {
    on_each_driver(|io| {
        let [one, _two] = Origin::on_one_port(["127.0.0.1", "127.0.0.2"]);
        let server = NameServer::start();
        server.set("a.test", Answer::of(&["127.0.0.1", "127.0.0.2"]));
        let proxy = Proxy::start(io, &config(&server, one.address.port(), &["type: LOGICAL_DNS", SOON, V4]));
        assert_eq!(answered_by(&proxy, 3), set(&["127.0.0.1"]));
        let generation = proxy.stat("config.generation");
        server.set("a.test", Answer::of(&["127.0.0.2", "127.0.0.1"]));
        proxy.wait_stat("config.generation", |now| now > generation);
        // The connection of before is as good as ever; while it is in use, a new one goes to the new address.
        let mut slow = proxy.client();
        slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
        wait_for("the slow request", || one.request().line.contains("/slow").then_some(()));
        assert_eq!(proxy.get("/name").text(), "127.0.0.2");
        one.release();
        assert_eq!(slow.response(false).text(), "127.0.0.1");
        assert_eq!(proxy.stat("cluster.c.upstream_cx_total"), 2);
        // Envoy: no address any more is a failure, and nothing changes.
        server.set("a.test", Answer::default());
        proxy.wait_stat("cluster.c.update_failure", |count| count > 1);
        assert_eq!(proxy.get("/name").status(), 200);
    });
}

#[test]
fn families_are_asked_for_as_the_file_says() {
    let both = || Answer::of(&["127.0.0.1", "::1"]);
    for (family, answer, expect) in [
        ("AUTO", both(), "::1"),
        ("AUTO", Answer::of(&["127.0.0.1"]), "127.0.0.1"),
        ("V4_ONLY", both(), "127.0.0.1"),
        ("V6_ONLY", both(), "::1"),
        ("V6_ONLY", Answer::of(&["127.0.0.1"]), ""),
        ("V4_PREFERRED", both(), "127.0.0.1"),
        ("V4_PREFERRED", Answer::of(&["::1"]), "::1"),
        ("ALL", both(), "127.0.0.1 ::1"),
    ] {
        let [origin, _v6] = Origin::on_one_port(["127.0.0.1", "::1"]);
        let server = NameServer::start();
        server.set("a.test", answer.clone());
        let family_field = format!("dns_lookup_family: {family}");
        let proxy = Proxy::start("poll", &config(&server, origin.address.port(), &["type: STRICT_DNS", &family_field]));
        let expect: Vec<&str> = expect.split_whitespace().collect();
        let clusters = proxy.admin("GET", "/clusters").text();
        if expect.is_empty() {
            assert_eq!(proxy.get("/name").status(), 503, "{family} {answer:?}\n{clusters}");
        } else {
            assert_eq!(answered_by(&proxy, 4), set(&expect), "{family} {answer:?}\n{clusters}");
        }
        let kinds: BTreeSet<u16> = server.questions().iter().map(|question| question.1).collect();
        match family {
            "V4_ONLY" => assert_eq!(kinds, BTreeSet::from([A])),
            "V6_ONLY" => assert_eq!(kinds, BTreeSet::from([AAAA])),
            _ => {}
        }
    }
}

#[test]
fn ttls_aliases_and_truncated_answers() {
    let [one] = Origin::on_one_port(["127.0.0.1"]);
    let server = NameServer::start();
    // An hour by the file, a second by the answer, over TCP, by another name.
    let answer = Answer { ttl: 1, truncated: true, alias: Some("b.test"), ..Answer::of(&["127.0.0.1"]) };
    server.set("a.test", answer);
    let fields = ["type: STRICT_DNS", V4, "dns_refresh_rate: 3600s", "respect_dns_ttl: true"];
    let proxy = Proxy::start("poll", &config(&server, one.address.port(), &fields));
    assert_eq!(proxy.get("/name").text(), "127.0.0.1");
    assert!(server.questions().contains(&("a.test".to_owned(), A, true)), "{:?}", server.questions());
    proxy.wait_stat("cluster.c.update_success", |count| count > 1);
}

#[test]
fn names_may_be_asked_for_over_tcp_and_of_the_library() {
    let [one] = Origin::on_one_port(["127.0.0.1"]);
    let server = NameServer::start();
    server.set("a.test", Answer::of(&["127.0.0.1"]));
    let tcp = server.resolver("").replace("no_default_search_domain: true", "use_tcp_for_dns_lookups: true");
    let port = one.address.port();
    let over_tcp =
        Config::new().top(&tcp).to("/", "c").names("c", "a.test", port, &format!("type: STRICT_DNS\n    {V4}"));
    let proxy = Proxy::start("poll", &over_tcp);
    assert_eq!(proxy.get("/name").text(), "127.0.0.1");
    assert!(server.questions().iter().all(|question| question.2), "{:?}", server.questions());
    let library = "typed_dns_resolver_config: {name: libc, typed_config: {'@type': type.googleapis.com/envoy.extensions.network.\
                   dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig}}";
    for host in ["localhost", "127.0.0.1"] {
        let fields = format!("type: STRICT_DNS\n    {V4}");
        let proxy = Proxy::start("poll", &Config::new().top(library).to("/", "c").names("c", host, port, &fields));
        assert_eq!(proxy.get("/name").text(), "127.0.0.1", "{host}");
    }
}

#[test]
fn typed_clusters_do_the_same() {
    const TYPED: &str =
        "'@type': type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, dns_lookup_family: V4_ONLY";
    let [one, _two] = Origin::on_one_port(["127.0.0.1", "127.0.0.2"]);
    let server = NameServer::start();
    server.set("a.test", Answer::of(&["127.0.0.1", "127.0.0.2"]));
    let both: &[&str] = &["127.0.0.1", "127.0.0.2"];
    for (kind, expect) in [
        (format!("{{name: envoy.cluster.dns, typed_config: {{{TYPED}}}}}"), both),
        (format!("{{name: any, typed_config: {{{TYPED}, all_addresses_in_single_endpoint: true}}}}"), &both[..1]),
        ("{name: envoy.cluster.strict_dns}".to_owned(), both),
        ("{name: envoy.cluster.logical_dns}".to_owned(), &both[..1]),
    ] {
        let proxy = Proxy::start("poll", &config(&server, one.address.port(), &[&format!("cluster_type: {kind}"), V4]));
        assert_eq!(answered_by(&proxy, 4), set(expect), "{kind}");
    }
}

#[test]
fn a_host_rewrite_says_the_name() {
    on_each_driver(|io| {
        let [one] = Origin::on_one_port(["127.0.0.1"]);
        let server = NameServer::start();
        server.set("a.test", Answer::of(&["127.0.0.1"]));
        let config = Config::new()
            .top(&server.resolver(""))
            .route("prefix: /", "route: {cluster: c, auto_host_rewrite: true}")
            .names("c", "a.test", one.address.port(), &format!("type: STRICT_DNS\n    {V4}"));
        let proxy = Proxy::start(io, &config);
        assert_eq!(proxy.get("/name").status(), 200);
        assert_eq!(one.request().header("host"), Some("a.test"));
    });
}

#[test]
fn a_start_waits_for_the_first_answer_and_can_be_ended() {
    let server = NameServer::start();
    server.set("a.test", Answer { silent: true, ..Answer::default() });
    let patient = config(&server, 1, &["type: STRICT_DNS", V4]);
    // A cluster that need not be warm holds up nothing.
    let impatient = config(&server, 1, &["type: STRICT_DNS", V4, "wait_for_warm_on_init: false"]);
    let proxy = Proxy::start("poll", &impatient);
    assert_eq!(proxy.get("/name").status(), 503);
    // The answer fails in time, and the process serves without it.
    let short = patient.yaml().replace(
        "no_default_search_domain: true}",
        "no_default_search_domain: true}, query_timeout_seconds: 1, query_tries: 1",
    );
    let dir = TempDir::new();
    let file = dir.rename_over("c.yaml", &short);
    let output = run(&["-c", &file.display().to_string(), "--mode", "init_only", "--io", "poll"]);
    assert!(output.status.success(), "{output:?}");
    // One that waits is told to end.
    let mut waiting = Proxy::start_until("poll", &patient, &["--concurrency", "1"], "wait for their names");
    waiting.signal("TERM");
    assert!(waiting.end().success());
}

/// Requests without a pause while answers change, the file is reloaded, and a new cluster of it waits for its name.
#[test]
fn no_request_fails_while_names_and_files_change() {
    on_each_driver(|io| {
        let [one, _two] = Origin::on_one_port(["127.0.0.1", "127.0.0.2"]);
        let server = NameServer::start();
        server.set("a.test", Answer::of(&["127.0.0.1"]));
        let fields = ["type: STRICT_DNS", SOON, V4];
        let before = config(&server, one.address.port(), &fields);
        let mut proxy = Proxy::start_with(io, &before, &["--concurrency", "2"]);
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let (stop, mut client) = (stop.clone(), proxy.client());
                thread::spawn(move || {
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(client.get("/name").status(), 200);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for addresses in [&["127.0.0.2"][..], &["127.0.0.1", "127.0.0.2"], &["127.0.0.1"], &["127.0.0.2"]] {
            let generation = proxy.stat("config.generation");
            server.set("a.test", Answer::of(addresses));
            proxy.wait_stat("config.generation", |now| now > generation);
        }
        // The new cluster's name is not known yet: until it is, what is in force stays, and goes on following its names.
        server.set("b.test", Answer { silent: true, ..Answer::default() });
        let after = before.clone().names("d", "b.test", 1, &format!("type: STRICT_DNS\n    {V4}"));
        proxy.replace(&after.yaml());
        proxy.line("wait for their names");
        let generation = proxy.stat("config.generation");
        server.set("a.test", Answer::of(&["127.0.0.1"]));
        proxy.wait_stat("config.generation", |now| now > generation);
        assert!(!proxy.admin("GET", "/clusters").text().contains("d::"));
        // Another file takes its place, and the file after that finds its name known.
        proxy.replace(&before.yaml());
        proxy.line("nothing changed");
        server.set("b.test", Answer::of(&["127.0.0.1"]));
        proxy.replace(&after.yaml());
        wait_for("the new cluster", || proxy.admin("GET", "/clusters").text().contains("d::").then_some(()));
        stop.store(true, Ordering::Relaxed);
        let counts: Vec<u32> = clients.into_iter().map(|client| client.join().expect("no request failed")).collect();
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        assert_eq!(proxy.stat("config.reload_failed"), 0);
    });
}

/// A cluster of ADS whose name nobody answers for holds up nobody, and comes when it is known. Until then it is one that is not there.
#[test]
fn a_cluster_that_comes_waits_for_its_name_alone() {
    on_each_driver(|io| {
        let [one, two] = ["one", "two"].map(Origin::start);
        let names = NameServer::start();
        names.set("a.test", Answer { silent: true, ..Answer::default() });
        let server = Server::start();
        ads::one_cluster(&server, one.address);
        let of_name = |name: &str| {
            let address = format!("address: {}", two.address.ip());
            let text = static_cluster("d", two.address).replace(&address, &format!("address: {name}"));
            text.replace("load_assignment", &format!("type: STRICT_DNS, {V4}, load_assignment"))
        };
        let of_d = |to: &str| ("RDS", [("r", routes("r", &[("/d", "d"), ("/", to)]))]);
        let set = |(service, resources): (&'static str, [(&str, String); 1])| server.set(service, &resources);
        let bootstrap = format!("{}\n{}", by_ads("DELTA_GRPC", &server), names.resolver(""));
        let mut proxy = ads::start(io, &bootstrap);
        assert_eq!(proxy.get("/name").text(), "one");
        server.set("CDS", &[("c", eds_cluster("c", ADS, "")), ("d", of_name("a.test"))]);
        proxy.line("cluster \"d\" waits for the first answer to its names");
        set(of_d("c"));
        proxy.line(" in force");
        assert_eq!((proxy.get("/name").text().as_str(), proxy.get("/d").status()), ("one", 503));
        assert!(proxy.admin("GET", "/init_dump").text().contains("the first answer to its names"));
        // Others go on coming.
        server.set("CDS", &[("c", static_cluster("c", two.address)), ("d", of_name("a.test"))]);
        proxy.line(" in force");
        assert_eq!(proxy.get("/name").text(), "two");
        names.set("b.test", Answer::of(&["127.0.0.1"]));
        server.set("CDS", &[("c", static_cluster("c", one.address)), ("d", of_name("b.test"))]);
        wait_for("the cluster of a name", || (proxy.get("/d").status() == 200).then_some(()));
        assert_eq!(proxy.get("/name").text(), "one");
        // A version of another name that nobody answers for leaves the one before in force.
        server.set("CDS", &[("c", static_cluster("c", two.address)), ("d", of_name("a.test"))]);
        proxy.line("cluster \"d\" waits for the first answer to its names");
        wait_for("the other cluster", || (proxy.get("/name").text() == "two").then_some(()));
        assert_eq!(proxy.get("/d").status(), 200);
        assert_eq!(proxy.stat("config.reload_failed"), 0);
    });
}

/// Guards the time between two commits: what is known of a cluster that goes and comes again meanwhile is not waited for.
#[test]
fn names_that_are_known_are_taken_up_while_a_file_waits_for_others() {
    on_each_driver(|io| {
        let [one, two] = ["one", "two"].map(Origin::start);
        let names = NameServer::start();
        names.set("a.test", Answer { silent: true, ..Answer::default() });
        names.set("d.test", Answer::of(&["127.0.0.1"]));
        let server = Server::start();
        ads::one_cluster(&server, one.address);
        let of_name = |name: &str, host: &str| {
            let address = format!("address: {}", two.address.ip());
            let text = static_cluster(name, two.address).replace(&address, &format!("address: {host}"));
            text.replace(
                "load_assignment",
                &format!("type: STRICT_DNS, {V4}, dns_refresh_rate: 3600s, load_assignment"),
            )
        };
        let with_d = [("c", eds_cluster("c", ADS, "")), ("d", of_name("d", "d.test"))];
        server.set("CDS", &with_d);
        server.set("RDS", &[("r", routes("r", &[("/d", "d"), ("/", "c")]))]);
        // Nothing but what it sends makes it look again.
        let resolver = names.resolver(", query_timeout_seconds: 60");
        let bootstrap = format!("{}\n{resolver}", by_ads("DELTA_GRPC", &server));
        let mut proxy = ads::start(io, &bootstrap);
        wait_for("the cluster of a name", || (proxy.get("/d").status() == 200).then_some(()));
        let own =
            of_name("e", "a.test").replace("\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, ", "");
        let other = bootstrap.replace("clusters: [", &format!("clusters: [{own}, "));
        assert_ne!(other, bootstrap);
        proxy.replace(&other);
        proxy.line("wait for their names");
        // The file is not in force yet, and neither is what comes.
        let answers = proxy.stat("cluster_manager.cds.update_success");
        server.set("CDS", &with_d[..1]);
        proxy.wait_stat("cluster_manager.cds.update_success", |count| count > answers);
        server.set("CDS", &with_d);
        proxy.wait_stat("cluster_manager.cds.update_success", |count| count > answers + 1);
        let waits = || proxy.admin("GET", "/init_dump").text().contains("the first answer to its names");
        wait_for("what is known of the cluster", || (!waits()).then_some(()));
        assert_eq!(proxy.get("/d").status(), 200);
        proxy.replace(&bootstrap);
        proxy.line("nothing changed");
        assert_eq!(proxy.get("/d").status(), 200);
    });
}
