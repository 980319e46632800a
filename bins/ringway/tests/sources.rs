//! Resources from files (`path_config_source`): what is served, what is followed, what is refused or waits alone.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::common;
use crate::common::on_each_driver;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir, run};
use crate::common::resources::{assignment, eds_cluster, listener, routes, static_cluster};

/// Files of resources in one directory.
struct Sources {
    dir: TempDir,
}

const FILES: [&str; 4] = ["cds.yaml", "eds.yaml", "lds.yaml", "rds.yaml"];

impl Sources {
    fn new() -> Sources {
        Sources { dir: TempDir::new() }
    }

    /// Puts a response in place by a move.
    fn put(&self, name: &str, version: &str, resources: &[String]) {
        self.dir.rename_over(name, &response(version, resources));
    }

    /// A `ConfigSource` with these further fields.
    fn source(&self, name: &str, fields: &str) -> String {
        format!("{{path_config_source: {{path: {}}}{fields}}}", self.dir.0.join(name).display())
    }

    /// A bootstrap that has all else from here.
    fn bootstrap(&self, statics: &str) -> String {
        let [lds, cds] = ["lds.yaml", "cds.yaml"].map(|name| self.source(name, ""));
        format!(
            "node: {{id: node-1, cluster: tests}}\nadmin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: \
             0}}}}}}\ndynamic_resources: {{lds_config: {lds}, cds_config: {cds}}}\n{statics}\n"
        )
    }

    /// The listener `main` with routes `r`, a cluster `c` with endpoints, and the routes to it.
    fn one_cluster(&self, endpoint: SocketAddr) {
        self.put("cds.yaml", "1", &[self.eds_cluster("c")]);
        self.put("eds.yaml", "1", &[assignment("c", endpoint)]);
        self.put("rds.yaml", "1", &[routes("r", &[("/", "c")])]);
        self.put("lds.yaml", "1", &[self.listener("main", "r")]);
    }

    fn eds_cluster(&self, name: &str) -> String {
        eds_cluster(name, &self.source("eds.yaml", ""), "")
    }

    fn listener(&self, name: &str, routes: &str) -> String {
        self.listener_of(name, routes, &self.source("rds.yaml", ""))
    }

    fn listener_of(&self, name: &str, routes: &str, source: &str) -> String {
        listener(name, routes, source)
    }
}

fn response(version: &str, resources: &[String]) -> String {
    let mut text = format!("version_info: \"{version}\"\nresources:\n");
    for resource in resources {
        let _ = writeln!(text, "- {resource}");
    }
    text
}

fn start(io: &str, sources: &Sources) -> Proxy {
    Proxy::start_yaml(io, &sources.bootstrap(""), &["--concurrency", "2"])
}

#[test]
fn files_are_served_and_each_move_is_followed() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let sources = Sources::new();
        sources.one_cluster(one.address);
        let mut proxy = start(io, &sources);
        let mut client = proxy.client();
        assert_eq!(client.get("/name").text(), "one");
        for stat in ["cluster_manager.cds", "listener_manager.lds", "http.main.rds.r", "cluster.c"] {
            let counts = ["attempt", "success", "failure"].map(|name| proxy.stat(&format!("{stat}.update_{name}")));
            assert_eq!((counts, proxy.stat(&format!("{stat}.update_rejected"))), ([1, 1, 0], 0), "{stat}");
        }
        assert_eq!(proxy.stat("config.generation"), 1);
        // An assignment moves the traffic, and nothing else.
        sources.put("eds.yaml", "2", &[assignment("c", two.address)]);
        proxy.line("endpoints: generation 2 in force");
        assert_eq!(client.get("/name").text(), "two");
        assert_eq!(proxy.stat("cluster.c.update_success"), 2);
        assert_eq!(proxy.stat("cluster_manager.cds.update_attempt"), 1);
        // Written in place, it does not count.
        fs::write(sources.dir.0.join("eds.yaml"), response("3", &[assignment("c", one.address)])).expect("the file");
        sources.put("rds.yaml", "2", &[routes("r", &[("/only", "c")])]);
        proxy.line("generation 3 in force");
        assert_eq!(client.get("/name").status(), 404);
        assert_eq!(client.get("/only").text(), "two");
        // SIGHUP asks for all of them.
        proxy.signal("HUP");
        proxy.line("generation 4 in force");
        assert_eq!(client.get("/only").text(), "one");
        // A cluster and a route to it come, another listener with them; the connection stays through all of that.
        sources.put("cds.yaml", "2", &[sources.eds_cluster("c"), static_cluster("d", two.address)]);
        proxy.line("generation 5 in force");
        sources.put("rds.yaml", "3", &[routes("r", &[("/d", "d"), ("/", "c")])]);
        proxy.line("generation 6 in force");
        assert_eq!(client.get("/d").text(), "two");
        sources.put("lds.yaml", "2", &[sources.listener("main", "r"), sources.listener("second", "r")]);
        let line = proxy.line("listener second: ");
        let second: SocketAddr = line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("an address");
        let texts = proxy.admin("GET", "/stats?type=TextReadouts").text();
        assert_eq!(proxy.stat("http.main.rds.r.config_reload"), 3);
        assert_eq!(proxy.stat("http.main.rds.r.update_empty"), 0);
        let durations = proxy.admin("GET", "/stats?type=Histograms").text();
        for scope in ["cluster_manager.cds", "http.main.rds.r", "listener_manager.lds"] {
            assert!(durations.contains(&format!("{scope}.update_duration: P0(")), "{durations}");
        }
        let versions = [("cluster_manager.cds", 2), ("http.main.rds.r", 3), ("listener_manager.lds", 2)];
        assert_eq!(texts, versions.map(|(of, version)| format!("{of}.version_text: \"{version}\"\n")).concat());
        assert!(proxy.listens_at(second.port()));
        assert_eq!(common::client::Client::connect(second).get("/d").text(), "two");
        assert_eq!(proxy.stat("http.main.downstream_cx_total"), 1);
        let dump = proxy.admin("GET", "/config_dump?resource=dynamic_listeners").text();
        assert!(dump.contains("\"name\": \"second\"") && dump.contains("\"version_info\": \"2\""), "{dump}");
        // What is not in the file any more is gone.
        sources.put("lds.yaml", "3", &[sources.listener("main", "r")]);
        proxy.line("generation 8 in force");
        assert!(!proxy.admin("GET", "/listeners").text().contains("second"));
        common::wait_for("a closed port", || (!proxy.listens_at(second.port())).then_some(()));
        assert_eq!(client.get("/d").text(), "two");
    });
}

#[test]
fn one_bad_resource_is_refused_alone_and_shown() {
    on_each_driver(|io| {
        let (one, two) = (Origin::start("one"), Origin::start("two"));
        let sources = Sources::new();
        sources.one_cluster(one.address);
        let mut proxy = start(io, &sources);
        let bad = sources.eds_cluster("c").replace("name: c,", "name: c, outlier_detection: {},");
        sources.put("cds.yaml", "bad", &[bad, static_cluster("d", two.address)]);
        proxy.line("cluster \"c\" refused");
        proxy.line("cds.yaml:");
        proxy.said("resources[0].outlier_detection: not supported yet");
        proxy.line("generation 2 in force");
        sources.put("rds.yaml", "2", &[routes("r", &[("/d", "d"), ("/", "c")])]);
        proxy.line("generation 3 in force");
        assert_eq!(proxy.get("/name").text(), "one");
        assert_eq!(proxy.get("/d").text(), "two");
        assert_eq!(proxy.stat("cluster_manager.cds.update_rejected"), 1);
        let dump = proxy.admin("GET", "/config_dump?resource=dynamic_active_clusters").text();
        for part in
            ["error_state", "resources[0].outlier_detection", "\"version_info\": \"bad\"", "\"version_info\": \"1\""]
        {
            assert!(dump.contains(part), "{part}: {dump}");
        }
        // No response at all leaves everything.
        sources.dir.rename_over("cds.yaml", "resources: [");
        proxy.line("no cluster could be read of it");
        proxy.wait_stat("cluster_manager.cds.update_failure", |count| count == 1);
        assert_eq!(proxy.get("/d").text(), "two");
        // A listener whose address another has is the host's to refuse; its neighbour comes.
        let taken =
            sources.listener("taken", "r").replace("port_value: 0", &format!("port_value: {}", one.address.port()));
        sources.put("lds.yaml", "2", &[sources.listener("main", "r"), taken, sources.listener("third", "r")]);
        proxy.line("listener refused: listener 'taken': cannot bind");
        proxy.line("listener third: ");
        assert_eq!(proxy.get("/name").text(), "one");
        assert!(proxy.stat("listener_manager.lds.update_rejected") >= 1);
    });
}

/// What is refused may be all that was new: nothing is committed then, however often it is tried.
#[test]
fn a_listener_that_is_refused_and_nothing_else() {
    on_each_driver(|io| {
        let one = Origin::start("one");
        let sources = Sources::new();
        sources.one_cluster(one.address);
        let mut proxy = start(io, &sources);
        let taken =
            sources.listener("taken", "r").replace("port_value: 0", &format!("port_value: {}", one.address.port()));
        sources.put("lds.yaml", "2", &[sources.listener("main", "r"), taken.clone()]);
        proxy.line("listener refused: listener 'taken': cannot bind");
        proxy.signal("HUP");
        proxy.line("listener refused: listener 'taken': cannot bind");
        assert_eq!(proxy.get("/name").text(), "one");
        let pipe = format!("{{pipe: {{path: {}}}}}", sources.dir.0.join("socket").display());
        let at =
            |name| sources.listener(name, "r").replace("{socket_address: {address: 127.0.0.1, port_value: 0}}", &pipe);
        sources.put("lds.yaml", "3", &[sources.listener("main", "r"), at("z")]);
        proxy.line("listener z: ");
        // The one that has it keeps it, though its next version is wrong and another one comes first.
        let wrong = at("z").replace("name: hcm", "name: hcm, nothing: 1");
        sources.put("lds.yaml", "4", &[sources.listener("main", "r"), wrong, at("b")]);
        proxy.line("listener \"z\" refused");
        proxy.line("listener refused: listener 'b': cannot bind");
        assert!(!proxy.admin("GET", "/listeners").text().contains("b::"));
    });
}

/// A bootstrap that the host refuses leaves the one before it in force, and what that one follows is followed.
#[test]
fn a_refused_bootstrap_leaves_what_the_one_before_follows() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let (sources, others) = (Sources::new(), Sources::new());
    sources.one_cluster(one.address);
    others.one_cluster(two.address);
    let untyped = |resource: String| {
        let end = resource.find(", ").expect("a type comes first");
        format!("{{{}", &resource[end + 2..])
    };
    let busy =
        untyped(others.listener("busy", "r")).replace("port_value: 0", &format!("port_value: {}", one.address.port()));
    let busy = others.bootstrap(&format!("static_resources: {{listeners: [{busy}]}}"));
    let mut proxy = start("poll", &sources);
    proxy.replace(&busy);
    proxy.line("configuration refused");
    // A file of the refused one means nothing, one of that in force takes effect.
    others.put("eds.yaml", "2", &[assignment("c", two.address)]);
    sources.put("eds.yaml", "2", &[assignment("c", two.address)]);
    common::wait_for("the other origin", || (proxy.get("/name").text() == "two").then_some(()));
    // One that says all by itself is not emptied.
    let (listener, cluster) = (untyped(sources.listener("main", "r")), untyped(static_cluster("c", one.address)));
    let rds = sources.source("rds.yaml", "");
    let inline = listener.replace(
        &format!("rds: {{route_config_name: r, config_source: {rds}}}"),
        "route_config: {virtual_hosts: [{name: v, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: c}}]}]}",
    );
    assert_ne!(inline, listener);
    proxy.replace(&format!(
        "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}\nstatic_resources: {{listeners: [{inline}], \
         clusters: [{cluster}]}}\n"
    ));
    common::wait_for("the first origin", || (proxy.get("/name").text() == "one").then_some(()));
    proxy.replace(&busy);
    proxy.line("configuration refused");
    others.put("lds.yaml", "2", &[others.listener("main", "r")]);
    proxy.signal("HUP");
    proxy.line("configuration refused");
    assert_eq!(proxy.get("/name").text(), "one");
}

#[test]
fn a_beginning_that_comes_to_nothing_after_a_wait_is_an_error() {
    let one = Origin::start("one");
    let sources = Sources::new();
    sources.one_cluster(one.address);
    sources.put("eds.yaml", "1", &[]);
    let end = sources.listener("busy", "r");
    let end = &end[end.find(", ").expect("a type comes first") + 2..];
    let busy = format!("{{{end}").replace("port_value: 0", &format!("port_value: {}", one.address.port()));
    let statics = format!("static_resources: {{listeners: [{busy}]}}");
    let mut proxy = Proxy::start_somewhere("poll", &sources.bootstrap(&statics));
    proxy.line("cluster \"c\" waits for assignment \"c\" of ");
    sources.put("eds.yaml", "2", &[assignment("c", one.address)]);
    proxy.line("cannot bind");
    assert_eq!(proxy.end().code(), Some(1));
}

/// As the kubelet does it: name -> ..data/name, ..data -> ..1; then ..data is replaced by a link to ..2.
#[test]
fn a_swap_of_the_kubernetes_link_commits_all_at_once() {
    on_each_driver(|io| {
        let origins = [Origin::start("one"), Origin::start("two")];
        let sources = Sources::new();
        let dir = &sources.dir.0;
        let write = |version: usize| {
            let (cluster, path) = (format!("c{version}"), format!("/v{version}"));
            let own = dir.join(format!("..{version}"));
            fs::create_dir(&own).expect("a directory");
            let put = |name: &str, resource: String| {
                fs::write(own.join(name), response(&version.to_string(), &[resource])).expect("a file");
            };
            put("cds.yaml", sources.eds_cluster(&cluster));
            put("eds.yaml", assignment(&cluster, origins[version - 1].address));
            put("rds.yaml", routes("r", &[(path.as_str(), cluster.as_str())]));
            put("lds.yaml", sources.listener("main", "r"));
        };
        write(1);
        write(2);
        symlink("..1", dir.join("..data")).expect("link");
        FILES.iter().for_each(|name| symlink(Path::new("..data").join(name), dir.join(name)).expect("link"));
        let mut proxy = start(io, &sources);
        assert_eq!(proxy.get("/v1").text(), "one");
        symlink("..2", dir.join("..tmp")).expect("link");
        fs::rename(dir.join("..tmp"), dir.join("..data")).expect("rename");
        proxy.line("generation 2 in force");
        assert_eq!(proxy.get("/v2").text(), "two");
        assert_eq!(proxy.get("/v1").status(), 404);
        assert_eq!(proxy.stat("config.generation"), 2);
    });
}

/// Route and endpoints of one directory belong together: no response is of both versions.
#[test]
fn no_request_sees_two_versions_of_a_directory_that_is_swapped() {
    const FLIPS: usize = 60;
    on_each_driver(|io| {
        let origins = [Origin::start("one"), Origin::start("two")];
        let sources = Sources::new();
        let dir = &sources.dir.0;
        for (origin, name) in origins.iter().zip(["one", "two"]) {
            let own = dir.join(format!("..{name}"));
            fs::create_dir(&own).expect("a directory");
            let put = |file: &str, resource: String| {
                fs::write(own.join(file), response(name, &[resource])).expect("a file");
            };
            let added = format!("name: r, response_headers_to_add: [{{header: {{key: x-version, value: {name}}}}}]");
            put("cds.yaml", sources.eds_cluster("c"));
            put("eds.yaml", assignment("c", origin.address));
            put("rds.yaml", routes("r", &[("/", "c")]).replace("name: r", &added));
            put("lds.yaml", sources.listener("main", "r"));
        }
        symlink("..one", dir.join("..data")).expect("link");
        FILES.iter().for_each(|name| symlink(Path::new("..data").join(name), dir.join(name)).expect("link"));
        let proxy = start(io, &sources);
        let address = proxy.address;
        let is_over = AtomicBool::new(false);
        let seen = [const { AtomicUsize::new(0) }; 3];
        thread::scope(|scope| {
            let _stop = common::Stop(&is_over);
            for seen in &seen {
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut client = common::client::Client::connect(address);
                    while !is_over.load(Ordering::Relaxed) {
                        let answer = client.get("/name");
                        assert_eq!(answer.header("x-version"), Some(answer.text().as_str()), "after {seen:?}");
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for flip in 0..FLIPS {
                symlink(if flip % 2 == 0 { "..two" } else { "..one" }, dir.join("..tmp")).expect("link");
                fs::rename(dir.join("..tmp"), dir.join("..data")).expect("rename");
                proxy.wait_stat("config.generation", |generation| generation == flip as u64 + 2);
            }
            // Each has had its part, whoever of them stood still meanwhile.
            common::wait_for("clients", || seen.iter().all(|seen| seen.load(Ordering::Relaxed) > FLIPS).then_some(()));
        });
    });
}

#[test]
fn a_watched_directory_says_when() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let (sources, watched) = (Sources::new(), TempDir::new());
    sources.one_cluster(one.address);
    let directory = format!("watched_directory: {{path: {}}}, path:", watched.0.display());
    let cluster = sources.eds_cluster("c").replace("path:", &directory);
    sources.put("cds.yaml", "1", &[cluster]);
    let mut proxy = start("poll", &sources);
    sources.put("eds.yaml", "2", &[assignment("c", two.address)]);
    sources.put("rds.yaml", "2", &[routes("r", &[("/a", "c")])]);
    proxy.line("generation 2 in force");
    assert_eq!(proxy.get("/a").text(), "one", "not where it is watched");
    watched.rename_over("anything", "");
    proxy.line("endpoints: generation 3 in force");
    assert_eq!(proxy.get("/a").text(), "two");
}

#[test]
fn what_waits_holds_back_nobody_else_and_not_for_ever() {
    on_each_driver(|io| {
        let one = Origin::start("one");
        let sources = Sources::new();
        sources.one_cluster(one.address);
        let mut proxy = start(io, &sources);
        // Routes that nobody sent, and a cluster without its assignment; both for three seconds, beside a change
        // that is whole.
        let soon = ", initial_fetch_timeout: 3s";
        let second = sources.listener_of("second", "missing", &sources.source("rds.yaml", soon));
        sources.put("lds.yaml", "2", &[sources.listener("main", "r"), second]);
        let dump = common::wait_for("a waiting listener", || {
            let dump = proxy.admin("GET", "/init_dump").text();
            dump.contains("missing").then_some(dump)
        });
        assert!(dump.contains("listener \\\"second\\\""), "{dump}");
        assert!(proxy.admin("GET", "/config_dump?resource=dynamic_listeners").text().contains("warming_state"));
        assert!(!proxy.admin("GET", "/listeners").text().contains("second"));
        sources.put("rds.yaml", "2", &[routes("r", &[("/other", "c")])]);
        proxy.line("generation 2 in force");
        assert_eq!(proxy.get("/other").text(), "one");
        let line = proxy.line("listener second: ");
        let address: SocketAddr = line.rsplit(' ').next().and_then(|word| word.parse().ok()).expect("an address");
        let mut client = common::client::Client::connect(address);
        assert_eq!(client.get("/").status(), 404, "without routes");
        assert_eq!(proxy.stat("http.second.rds.missing.init_fetch_timeout"), 1);
        // They come late.
        sources.put("rds.yaml", "3", &[routes("r", &[("/other", "c")]), routes("missing", &[("/", "c")])]);
        common::wait_for("routes", || (client.get("/").status() == 200).then_some(()));
    });
}

#[test]
fn the_beginning_waits_for_all_that_is_wanted() {
    let one = Origin::start("one");
    let sources = Sources::new();
    sources.one_cluster(one.address);
    sources.put("eds.yaml", "1", &[]);
    let mut proxy = Proxy::start_somewhere("poll", &sources.bootstrap(""));
    proxy.line("cluster \"c\" waits for assignment \"c\" of ");
    sources.put("eds.yaml", "2", &[assignment("c", one.address)]);
    proxy.line("generation 1 in force");
    proxy.line("[info] serving");
}

#[test]
fn a_bootstrap_may_mix_its_own_with_what_comes() {
    let (one, two) = (Origin::start("one"), Origin::start("two"));
    let sources = Sources::new();
    sources.one_cluster(one.address);
    sources.put("cds.yaml", "1", &[static_cluster("own", two.address), static_cluster("c", one.address)]);
    let untyped = |resource: String| {
        let end = resource.find(", ").expect("a type comes first");
        format!("{{{}", &resource[end + 2..])
    };
    let statics = |endpoint| {
        let (listener, cluster) = (untyped(sources.listener("main", "r")), untyped(static_cluster("own", endpoint)));
        format!("static_resources: {{listeners: [{listener}], clusters: [{cluster}]}}")
    };
    sources.put("lds.yaml", "1", &[]);
    sources.put("rds.yaml", "1", &[routes("r", &[("/own", "own"), ("/", "c")])]);
    let mut proxy = Proxy::start_yaml("poll", &sources.bootstrap(&statics(one.address)), &["--concurrency", "1"]);
    proxy.said("cluster \"own\" refused");
    assert_eq!(proxy.get("/own").text(), "one");
    // Another bootstrap keeps what came.
    proxy.replace(&sources.bootstrap(&statics(two.address)));
    proxy.line("generation 2 in force");
    assert_eq!(proxy.get("/own").text(), "two");
    assert_eq!(proxy.get("/").text(), "one");
    // A wrong one changes nothing, and what comes goes on.
    proxy.replace("nothing: 1");
    proxy.line("configuration refused");
    sources.put("rds.yaml", "2", &[routes("r", &[("/", "own")])]);
    proxy.line("generation 3 in force");
    assert_eq!(proxy.get("/").text(), "two");
}

#[test]
fn check_reads_the_files_of_a_bootstrap() {
    let one = Origin::start("one");
    let sources = Sources::new();
    sources.one_cluster(one.address);
    let check = |file: &PathBuf| {
        let output = run(&["check", "-c", &file.display().to_string()]);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let file = sources.dir.rename_over("bootstrap.yaml", &sources.bootstrap(""));
    let (good, said) = check(&file);
    assert!(good, "{said}");
    sources.put("rds.yaml", "1", &[routes("r", &[("/", "c")]).replace("name: all", "nome: all")]);
    let (good, said) = check(&file);
    assert!(!good && said.contains("rds.yaml:3:") && said.contains("resources[0].virtual_hosts[0].nome"), "{said}");
    fs::remove_file(sources.dir.0.join("cds.yaml")).expect("the file");
    let (good, said) = check(&file);
    assert!(!good && said.contains("dynamic_resources.cds_config.path_config_source.path: paths must refer"), "{said}");
    let ads = sources.dir.rename_over("bootstrap.yaml", "dynamic_resources: {cds_config: {ads: {}}}");
    let (good, said) = check(&ads);
    assert!(!good && said.contains("cds_config.ads: ADS must be configured to support an ADS config source"), "{said}");
}
