//! Reloads: what a rename or SIGHUP brings in force, and what a wrong file leaves alone.

use crate::common;
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::Origin;
use crate::common::process::Proxy;

fn config(path: &str, cluster: &str, origin: &Origin) -> Config {
    Config::new().to(path, cluster).cluster(cluster, origin.address)
}

#[test]
fn a_rename_brings_route_cluster_and_endpoint_together() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let mut proxy = Proxy::start_with(io, &config("/one", "c1", &one), &["--concurrency", "2"]);
        let mut client = proxy.client();
        assert_eq!(client.get("/one").text(), "one");
        assert_eq!(client.get("/two").status(), 404);
        proxy.replace(&config("/two", "c2", &two).yaml());
        proxy.line("generation 2 in force");
        // The connection stays: only what it is used for has changed.
        assert_eq!(client.get("/two").text(), "two");
        assert_eq!(client.get("/one").status(), 404);
        assert_eq!(proxy.stat("http.main.downstream_cx_total"), 1);
        assert_eq!(proxy.stat("config.generation"), 2);
        assert_eq!(proxy.stat("cluster_manager.active_clusters"), 1);
        assert!(proxy.admin("GET", "/clusters").text().contains("c2::observability_name::c2"));
        // The same endpoint under the same name, another address: only the endpoint changes.
        proxy.replace(&config("/two", "c2", &one).yaml());
        proxy.line("generation 3 in force");
        assert_eq!(client.get("/two").text(), "one");
    });
}

#[test]
fn a_request_finishes_on_the_configuration_that_it_began_with() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let mut proxy = Proxy::start(io, &config("/", "c1", &one));
        let mut slow = proxy.client();
        slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
        one.request();
        proxy.replace(&config("/", "c2", &two).yaml());
        proxy.line("generation 2 in force");
        assert_eq!(proxy.get("/name").text(), "two");
        one.release();
        assert_eq!(slow.response(false).text(), "one");
        assert_eq!(slow.get("/name").text(), "two");
    });
}

#[test]
fn a_wrong_file_changes_nothing_and_is_shown() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let mut proxy = Proxy::start(io, &config("/", "c1", &one));
        for (round, wrong) in [
            "static_resources: {listeners: [".to_owned(),
            "no_such_field: 1\n".to_owned() + &config("/", "c1", &two).yaml(),
            config("/", "c2", &two).to("/x", "no-such-cluster").yaml(),
        ]
        .iter()
        .enumerate()
        {
            proxy.replace(wrong);
            proxy.line("configuration refused, the old one stays in force");
            assert_eq!(proxy.get("/name").text(), "one");
            proxy.wait_stat("config.reload_failed", |count| count == round as u64 + 1);
            assert_eq!(proxy.stat("config.generation"), 1);
        }
        let dump = proxy.admin("GET", "/config_dump").text();
        assert!(dump.contains("no-such-cluster"), "{dump}");
        proxy.replace(&config("/", "c2", &two).yaml());
        proxy.line("generation ");
        assert_eq!(proxy.get("/name").text(), "two");
        let dump = proxy.admin("GET", "/config_dump").text();
        assert!(dump.contains("\"rejected\": null"), "{dump}");
    });
}

#[test]
fn sighup_reloads_and_sees_that_nothing_changed() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let mut proxy = Proxy::start(io, &config("/", "c1", &one));
        proxy.signal("HUP");
        proxy.line("nothing changed");
        // An edit in place is not followed by itself; SIGHUP is how to ask for it.
        std::fs::write(proxy.file(), config("/", "c1", &two).yaml()).expect("the file");
        proxy.signal("HUP");
        proxy.line("in force");
        assert_eq!(proxy.get("/name").text(), "two");
    });
}

#[test]
fn listeners_come_and_go() {
    on_each_driver(|io| {
        let one = Origin::start("one");
        let config = config("/", "c1", &one).yaml();
        let start = config.find("  - name: main").expect("the listener");
        let end = config.find("  clusters:").expect("the clusters");
        let second = config[start..end].replace("name: main", "name: second");
        let both = format!("{}{second}{}", &config[..end], &config[end..]);
        let mut proxy = Proxy::start(io, &self::config("/", "c1", &one));
        let mut client = proxy.client();
        assert_eq!(client.get("/name").text(), "one");
        proxy.replace(&both);
        proxy.line("listener second: ");
        let listeners = proxy.admin("GET", "/listeners").text();
        let address = listeners.lines().find_map(|line| line.strip_prefix("second::")).expect("the second listener");
        let mut on_second = common::client::Client::connect(address.parse().expect("an address"));
        assert_eq!(on_second.get("/name").text(), "one");
        proxy.replace(&config);
        proxy.line("generation 3 in force");
        assert!(!proxy.admin("GET", "/listeners").text().contains("second"));
        // The idle connection is closed; new ones find nobody.
        assert!(on_second.ended());
        common::wait_for("a closed port", || std::net::TcpStream::connect(address).err());
        assert_eq!(client.get("/name").text(), "one");
    });
}
