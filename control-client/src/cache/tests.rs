//! Scripts: what comes, what is said of it, what is whole then.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::bootstrap::{ReadOptions, Source, read_bootstrap};
use crate::files::read_response;
use crate::problem::Report;
use crate::reader::Unknown;
use crate::tls::TlsContexts;
use crate::wire::Writer;
use crate::{Builder, Built};

mod extensions;
mod goldens;
mod names;
mod runtime;
mod secrets;

/// A cache with roots of a bootstrap, and a clock.
struct World {
    cache: Cache,
    contexts: TlsContexts,
    builder: Builder,
    now: Instant,
}

/// A source that needs to exist only because the reader asks: this very file.
fn source() -> Arc<ConfigSource> {
    Arc::new(ConfigSource::Path { path: file(), watched_directory: None })
}

fn file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
}

fn at() -> String {
    format!("{{path_config_source: {{path: {}}}}}", file().display())
}

/// Lists and clusters by the one source, and these static resources.
fn bootstrap(statics: &str) -> String {
    format!("dynamic_resources: {{lds_config: {0}, cds_config: {0}}}\nstatic_resources: {{{statics}}}\n", at())
}

impl World {
    fn new(bootstrap: &str) -> World {
        let mut world =
            World { cache: Cache::new(), contexts: TlsContexts::new(), builder: Builder::new(), now: Instant::now() };
        world.load(bootstrap);
        world
    }

    fn load(&mut self, text: &str) {
        let read = read_bootstrap(Source { name: "b", text }, &ReadOptions::default()).expect("the bootstrap is right");
        self.cache.set_roots(read.roots.expect("more has to come"), self.at());
    }

    fn at(&self) -> Moment {
        Moment { instant: self.now, time: SystemTime::UNIX_EPOCH }
    }

    fn update(&mut self, kind: Kind, version: &str, resources: &[String]) -> Update {
        let list: String = resources.iter().map(|resource| format!("- {resource}\n")).collect();
        let text = format!("version_info: {version:?}\nresources:\n{list}");
        read_response("r", &text, &source(), kind, Unknown::Refused).expect("a response")
    }

    /// The state of the world, and the verdict as text.
    fn world(&mut self, kind: Kind, resources: &[String]) -> String {
        let update = self.update(kind, "1", resources);
        self.apply(update)
    }

    fn delta(&mut self, kind: Kind, resources: &[String], removed: &[&str]) -> String {
        let mut update = self.update(kind, "1", resources);
        let Change::World(changed) = update.change else { unreachable!("as it was read") };
        update.change = Change::Delta { changed, removed: removed.iter().map(|name| (*name).to_owned()).collect() };
        self.apply(update)
    }

    fn apply(&mut self, update: Update) -> String {
        let at = self.at();
        let verdict = self.cache.apply(update, &mut self.contexts, at);
        let mut text = format!("{} accepted", verdict.accepted);
        if verdict.unwanted > 0 {
            text += &format!(", {} unwanted", verdict.unwanted);
        }
        for refused in verdict.refused {
            let problems: Vec<String> =
                refused.problems.iter().map(|problem| format!("{}: {}", problem.path, problem.rule)).collect();
            text += &format!("; {} refused: {}", refused.name, problems.join(" | "));
        }
        text
    }

    /// What is whole, as text: what is built of it and committed, and who waits.
    fn settle(&mut self) -> String {
        let at = self.at();
        self.cache.take_up_layers(&mut self.contexts, at);
        let settled = self.cache.settle(self.now);
        let (how, built) = match settled.outcome {
            Outcome::Same => ("same", None),
            Outcome::Clusters(parts) => ("clusters", Some(self.builder.with_clusters(&parts))),
            Outcome::All => ("all", Some(self.builder.build_resources(&self.cache.resources()))),
        };
        let how = if matches!(built, Some(Built::Same(_))) { "same" } else { how };
        self.cache.caught_up();
        self.cache.share(&self.builder);
        let mut text = format!("{how}: {}", self.in_force());
        for Wait { who, what, until, .. } in settled.waits {
            let what = what.split(" of ").next().expect("a text");
            let until = until.map(|until| until.saturating_duration_since(self.now).as_secs());
            text += &format!("; {who} waits for {what} {}", until.map_or("for ever".into(), |s| format!("{s} s")));
        }
        text
    }

    /// `c=PORT,PORT` for each cluster, `l/host->cluster` for each listener with its routes.
    fn in_force(&self) -> String {
        let Some(snapshot) = self.builder.last() else { return String::new() };
        let mut words = Vec::new();
        for cluster in snapshot.clusters.iter() {
            let port = |endpoint: &ringway_model::Endpoint| {
                endpoint.address.ip().map_or(0, |address| address.port()).to_string()
            };
            let ports: Vec<String> = cluster.endpoints.iter().map(port).collect();
            words.push(format!("{}={}", cluster.name, ports.join(",")));
        }
        for listener in &snapshot.listeners {
            let routes = listener.all_chains().filter_map(|chain| chain.http()).flat_map(|http| {
                let hosts = http.routes.virtual_hosts().iter();
                hosts.map(|host| host.name.clone()).collect::<Vec<_>>()
            });
            let routes: Vec<String> = routes.collect();
            words.push(format!("{}/{}", listener.name, routes.join(",")));
        }
        words.join(" ")
    }

    fn later(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }
}

fn cluster(name: &str, port: u16) -> String {
    format!(
        "{{'@type': t/envoy.config.cluster.v3.Cluster, name: {name}, load_assignment: {{cluster_name: {name}, endpoints: \
         [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}}}"
    )
}

/// With these further fields of the cluster.
fn eds_cluster(name: &str, fields: &str) -> String {
    format!(
        "{{'@type': t/envoy.config.cluster.v3.Cluster, name: {name}, type: EDS, eds_cluster_config: {{eds_config: {}}}{fields}}}",
        at()
    )
}

fn assignment(name: &str, port: u16) -> String {
    format!(
        "{{'@type': t/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: {name}, endpoints: [{{lb_endpoints: \
         [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}"
    )
}

/// A listener at a port with `rds` or `route_config`.
fn listener(name: &str, port: u16, routes: &str) -> String {
    format!(
        "{{'@type': t/envoy.config.listener.v3.Listener, name: {name}, address: {{socket_address: {{address: 127.0.0.1, port_value: \
         {port}}}}}, filter_chains: [{{filters: [{{name: hcm, typed_config: {{'@type': t/envoy.extensions.filters.network.\
         http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, {routes}, http_filters: [{{name: r, typed_config: {{'@type': \
         t/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}]}}]}}"
    )
}

fn rds(name: &str) -> String {
    format!("rds: {{route_config_name: {name}, config_source: {}}}", at())
}

fn inline(cluster: &str) -> String {
    format!(
        "route_config: {{virtual_hosts: [{{name: v, domains: ['*'], routes: [{{match: {{prefix: /}}, route: {{cluster: {cluster}}}}}]}}]}}"
    )
}

/// Routes to a cluster, whose virtual host has this name.
fn routes(name: &str, host: &str, cluster: &str) -> String {
    format!(
        "{{'@type': t/envoy.config.route.v3.RouteConfiguration, name: {name}, virtual_hosts: [{{name: {host}, domains: ['*'], routes: \
         [{{match: {{prefix: /}}, route: {{cluster: {cluster}}}}}]}}]}}"
    )
}

#[test]
fn a_tree_comes_into_force_when_it_is_whole() {
    let mut world = World::new(&bootstrap(""));
    assert_eq!(world.settle(), "all: ; clusters waits for all 15 s; listeners waits for all 15 s");
    assert_eq!(world.world(Kind::Cluster, &[eds_cluster("c", ""), cluster("d", 1)]), "2 accepted");
    assert_eq!(
        world.world(Kind::Listener, &[listener("l", 80, &rds("r")), listener("m", 81, &inline("d"))]),
        "2 accepted"
    );
    assert_eq!(
        world.settle(),
        "all: d=1 m/v; cluster \"c\" waits for assignment \"c\" 15 s; listener \"l\" waits for route configuration \"r\" 15 s"
    );
    assert_eq!(
        world.world(Kind::Routes, &[routes("r", "h", "c"), routes("other", "h", "c")]),
        "1 accepted, 1 unwanted"
    );
    assert_eq!(world.later(3).settle(), "all: d=1 l/h m/v; cluster \"c\" waits for assignment \"c\" 12 s");
    assert_eq!(world.world(Kind::Assignment, &[assignment("c", 7), assignment("x", 8)]), "1 accepted, 1 unwanted");
    assert_eq!(world.settle(), "all: d=1 c=7 l/h m/v");
}

#[test]
fn what_does_not_come_in_time_is_gone_without() {
    let mut world = World::new(&bootstrap(""));
    let for_ever = eds_cluster("e", "").replace("eds_config: {", "eds_config: {initial_fetch_timeout: 0s, ");
    world.world(Kind::Cluster, &[eds_cluster("c", ""), for_ever]);
    world.world(Kind::Listener, &[listener("l", 80, &rds("r"))]);
    assert!(world.settle().starts_with("all: ; cluster"));
    assert!(world.later(14).settle().contains("\"c\" waits"));
    let now = world.later(1).now;
    let settled = world.cache.settle(now);
    assert_eq!(settled.timed_out.len(), 2, "{settled:?}");
    assert_eq!(settled.until, None);
    world.cache.is_reshaped = true;
    assert_eq!(world.settle(), "all: c= l/; cluster \"e\" waits for assignment \"e\" for ever");
    // What comes late is taken up.
    world.world(Kind::Assignment, &[assignment("c", 7)]);
    assert!(world.settle().starts_with("clusters: c=7 l/;"));
    world.world(Kind::Routes, &[routes("r", "h", "c")]);
    assert!(world.settle().starts_with("all: c=7 l/h;"));
}

#[test]
fn a_bad_resource_is_refused_alone_with_all_its_problems() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[cluster("a", 1), cluster("b", 2)]);
    assert_eq!(world.settle(), "all: a=1 b=2; listeners waits for all 15 s");
    let bad =
        cluster("b", 3).replacen("name: b,", "name: b, dns_lookup_family: NOT, outlier_detection: {}, nope: 1,", 1);
    assert_eq!(
        world.world(Kind::Cluster, &[cluster("a", 9), bad, cluster("c", 4)]),
        "2 accepted; b refused: resources[1].dns_lookup_family: \"NOT\" is none of AUTO, V4_ONLY, V6_ONLY, V4_PREFERRED, ALL | \
         resources[1].nope: no such field in envoy.config.cluster.v3.Cluster"
    );
    assert!(world.settle().starts_with("all: a=9 b=2 c=4;"));
    // Read, but not supported; its neighbour of the same response is a new one.
    let bad = cluster("b", 3).replacen("name: b,", "name: b, outlier_detection: {},", 1);
    let verdict = world.world(Kind::Cluster, &[bad, cluster("a", 9)]);
    assert_eq!(verdict, "1 accepted; b refused: resources[0].outlier_detection: not supported yet");
    assert_eq!(world.settle(), "all: a=9 b=2; listeners waits for all 15 s", "c was removed, b stays");
    let error = world.cache.shown().into_iter().find(|shown| shown.name == "b").and_then(|shown| shown.error);
    assert!(error.expect("it is shown").problems[0].contains("outlier_detection"));
    world.world(Kind::Cluster, &[cluster("b", 5)]);
    assert!(world.settle().starts_with("all: b=5;"));
    assert!(world.cache.shown().iter().all(|shown| shown.error.is_none()));
}

#[test]
fn a_response_with_a_resource_that_cannot_be_read_deletes_nothing() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[cluster("a", 1), cluster("b", 2)]);
    assert!(world.settle().starts_with("all: a=1 b=2;"));
    // It may have been b.
    let verdict = world.world(Kind::Cluster, &[cluster("a", 3), routes("x", "h", "c")]);
    assert!(verdict.starts_with("1 accepted;"), "{verdict}");
    assert!(world.settle().starts_with("clusters: a=3 b=2;"));
    world.world(Kind::Cluster, &[cluster("a", 3)]);
    assert!(world.settle().starts_with("all: a=3;"));
}

#[test]
fn refusals_by_name() {
    let statics =
        format!("clusters: [{}]", cluster("own", 1).replace("'@type': t/envoy.config.cluster.v3.Cluster, ", ""));
    let wrong_type = routes("x", "h", "c");
    for (resources, expect) in [
        (
            vec![cluster("a", 1), cluster("a", 2)],
            "1 accepted; a refused: resources[1].name: a second cluster \"a\" in one response",
        ),
        (
            vec![cluster("own", 2), cluster("b", 2)],
            "1 accepted; own refused: resources[0].name: the bootstrap has a cluster \"own\" of its own, which stays",
        ),
        (
            vec![wrong_type],
            "0 accepted;  refused: resources[0]: envoy.config.route.v3.RouteConfiguration is not the type that is asked for, \
             envoy.config.cluster.v3.Cluster",
        ),
        (
            vec!["{'@type': t/no.such.Type, name: x}".into()],
            "0 accepted; x refused: resources[0].@type: the type no.such.Type is not known",
        ),
        (vec!["5".into()], "0 accepted;  refused: resources[0]: expected an object with \"@type\", found a number"),
    ] {
        assert_eq!(World::new(&bootstrap(&statics)).world(Kind::Cluster, &resources), expect);
    }
}

#[test]
fn at_most_so_many_resources_of_a_kind() {
    let mut world = World::new(&bootstrap(""));
    world.cache.resources_max = Some(2);
    let all = [cluster("a", 1), cluster("b", 2), cluster("c", 3)];
    let expect = "2 accepted; c refused: resources[2].name: there are 2 clusters already, the most that are held";
    assert_eq!(world.world(Kind::Cluster, &all), expect);
    assert_eq!(world.world(Kind::Cluster, &all), expect, "what was refused takes no place");
    assert_eq!(world.world(Kind::Cluster, &all[1..2]), "1 accepted");
}

#[test]
fn a_resource_has_one_name() {
    let mut world = World::new(&bootstrap("clusters: [{name: own}]"));
    let named = |name: &str, resource: String| {
        format!("{{'@type': t/envoy.service.discovery.v3.Resource, name: {name}, resource: {resource}}}")
    };
    assert_eq!(
        world.world(Kind::Cluster, &[named("x", cluster("own", 1)), named("c", cluster("c", 1))]),
        "1 accepted; x refused: resources[0].resource.name: \"own\" is not the name that the resource was given, \"x\""
    );
    assert!(world.settle().starts_with("all: own= c=1"), "{}", world.in_force());
    // One without a name may be any of those that are held: none goes.
    assert!(world.world(Kind::Cluster, &["{name: 1}".to_owned()]).starts_with("0 accepted;  refused: "));
    assert!(world.settle().starts_with("same: own= c=1"), "{}", world.in_force());
    // Of the other kinds it is nobody's, and is not passed over.
    let nameless = assignment("c", 1).replace("cluster_name: c, ", "");
    assert_eq!(
        world.world(Kind::Assignment, &[nameless]),
        "0 accepted;  refused: resources[0].cluster_name: value length must be at least 1 characters"
    );
    let nameless = routes("r", "h", "c").replace("name: r, ", "");
    assert_eq!(world.world(Kind::Routes, &[nameless]), "0 accepted;  refused: resources[0].name: value is required");
}

#[test]
fn what_waits_does_not_stop_what_is_in_force() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[eds_cluster("a", "")]);
    world.world(Kind::Assignment, &[assignment("a", 1)]);
    world.world(Kind::Listener, &[listener("l", 80, &rds("r"))]);
    world.world(Kind::Routes, &[routes("r", "one", "a")]);
    assert_eq!(world.settle(), "all: a=1 l/one");
    // Newer versions want what is not there: the assignment `s`, the routes `q`.
    let moved = eds_cluster("a", "").replace("eds_cluster_config: {", "eds_cluster_config: {service_name: s, ");
    world.world(Kind::Cluster, &[moved]);
    world.world(Kind::Listener, &[listener("l", 80, &rds("q"))]);
    let waits =
        "; cluster \"a\" waits for assignment \"s\" 15 s; listener \"l\" waits for route configuration \"q\" 15 s";
    assert_eq!(world.settle(), format!("same: a=1 l/one{waits}"));
    assert_eq!(world.world(Kind::Assignment, &[assignment("a", 2)]), "1 accepted");
    assert_eq!(world.settle(), format!("clusters: a=2 l/one{waits}"));
    assert_eq!(world.world(Kind::Routes, &[routes("r", "two", "a")]), "1 accepted");
    assert_eq!(world.settle(), format!("all: a=2 l/two{waits}"));
    assert_eq!(world.settle(), format!("same: a=2 l/two{waits}"));
    world.world(Kind::Assignment, &[assignment("s", 3)]);
    world.world(Kind::Routes, &[routes("q", "three", "a")]);
    assert_eq!(world.settle(), "all: a=3 l/three");
}

#[test]
fn who_is_wrong_only_with_another_comes_when_that_is_mended() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Listener, &[listener("l", 80, &rds("r"))]);
    // Routes before their cluster, which they insist on.
    let strict = routes("r", "one", "a").replace("name: r,", "name: r, validate_clusters: true,");
    assert!(world.world(Kind::Routes, &[strict]).contains("unknown cluster"));
    let at = world.at();
    assert_eq!(world.cache.retry(Kind::Routes, &mut world.contexts, at), 0);
    assert!(world.cache.take_retried().counted.is_empty(), "it was counted as refused once");
    world.world(Kind::Cluster, &[cluster("a", 1)]);
    assert_eq!(world.cache.retry(Kind::Routes, &mut world.contexts, at), 1);
    let scope = || Scope::Routes { stat_prefix: "s".into(), name: "r".into() };
    let Retried { counted, routes, .. } = world.cache.take_retried();
    assert_eq!(counted, [Counted { scope: scope(), accepted: Some("1".into()) }]);
    assert_eq!(routes, [(scope(), RoutesEvent::Reload)]);
    assert_eq!(world.settle(), "all: a=1 l/one");
}

#[test]
fn delta_removes_what_it_names() {
    let mut world = World::new(&bootstrap(""));
    world.delta(Kind::Cluster, &[eds_cluster("a", ""), cluster("b", 2)], &[]);
    world.world(Kind::Listener, &[]);
    world.delta(Kind::Assignment, &[assignment("a", 1)], &[]);
    assert_eq!(world.settle(), "all: a=1 b=2");
    assert_eq!(world.delta(Kind::Cluster, &[cluster("c", 3)], &["b", "never seen"]), "1 accepted");
    assert_eq!(world.settle(), "all: a=1 c=3".to_owned());
    // Said to be gone: nobody waits for it.
    world.delta(Kind::Assignment, &[], &["a"]);
    assert_eq!(world.settle(), "clusters: a= c=3");
    assert_eq!(world.cache.versions(&source(), Kind::Cluster).len(), 2);
}

#[test]
fn one_assignment_changes_one_cluster() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[eds_cluster("a", ""), eds_cluster("b", ""), cluster("c", 3)]);
    world.world(Kind::Listener, &[listener("l", 80, &inline("a"))]);
    world.world(Kind::Assignment, &[assignment("a", 1), assignment("b", 2)]);
    assert_eq!(world.settle(), "all: a=1 b=2 c=3 l/v");
    let before = world.builder.last().expect("it was built").clone();
    world.world(Kind::Assignment, &[assignment("b", 9)]);
    assert_eq!(world.settle(), "clusters: a=1 b=9 c=3 l/v");
    let after = world.builder.last().expect("it was built").clone();
    let same: Vec<bool> = before.clusters.iter().zip(after.clusters.iter()).map(|(b, a)| Arc::ptr_eq(b, a)).collect();
    assert_eq!(same, [true, false, true]);
    assert!(Arc::ptr_eq(&before.listeners[0], &after.listeners[0]));
    // The same again changes nothing.
    world.world(Kind::Assignment, &[assignment("a", 1), assignment("b", 9)]);
    assert_eq!(world.settle(), "same: a=1 b=9 c=3 l/v");
    // Neither does all of it built anew.
    world.cache.is_reshaped = true;
    assert_eq!(world.settle(), "same: a=1 b=9 c=3 l/v");
}

/// Of ten thousand clusters each would take another kilobyte or nine.
#[test]
fn what_is_in_force_is_in_memory_once() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[eds_cluster("a", ""), cluster("b", 3)]);
    world.world(Kind::Listener, &[]);
    world.world(Kind::Assignment, &[assignment("a", 1)]);
    assert_eq!(world.settle(), "all: a=1 b=3");
    world.world(Kind::Assignment, &[assignment("a", 2)]);
    assert_eq!(world.settle(), "clusters: a=2 b=3");
    let last = world.builder.last().expect("it was built").clone();
    for cluster in last.clusters.iter() {
        let built = world.cache.clusters[&cluster.name].built.as_ref().expect("it is whole");
        assert!(Arc::ptr_eq(&built.cluster, cluster), "{}", cluster.name);
    }
    assert!(world.cache.assignments.values().all(|want| want.made.capacity() == 0));
    // A commit that does not have its newest version gives it nothing.
    world.world(Kind::Assignment, &[assignment("a", 4)]);
    world.cache.settle(world.now);
    world.cache.share(&world.builder);
    let built = world.cache.clusters["a"].built.as_ref().expect("it is whole");
    assert!(!last.clusters.iter().any(|cluster| Arc::ptr_eq(cluster, &built.cluster)));
    // A bootstrap that is read again and says the same makes all anew, and all is held once afterwards, too.
    world.settle();
    world.load(&bootstrap(""));
    let at = world.at();
    assert!(world.cache.translate_again(true, &mut world.contexts, at).is_empty());
    world.settle();
    let last = world.builder.last().expect("it was built").clone();
    for cluster in last.clusters.iter() {
        let built = world.cache.clusters[&cluster.name].built.as_ref().expect("it is whole");
        assert!(Arc::ptr_eq(&built.cluster, cluster), "{}", cluster.name);
    }
}

/// Another text with the same meaning is nothing new, and is held once all the same.
#[test]
fn a_cluster_that_means_the_same_is_held_once() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[cluster("a", 1)]);
    world.world(Kind::Listener, &[]);
    assert_eq!(world.settle(), "all: a=1");
    let other = cluster("a", 1).replacen("name: a", "name: a, metadata: {filter_metadata: {x: {y: 1}}}", 1);
    assert_eq!(world.world(Kind::Cluster, &[other]), "1 accepted");
    assert_eq!(world.settle(), "same: a=1");
    let last = world.builder.last().expect("it was built").clone();
    let built = world.cache.clusters["a"].built.as_ref().expect("it is whole");
    assert!(last.clusters.iter().all(|cluster| Arc::ptr_eq(cluster, &built.cluster)));
}

#[test]
fn of_endpoints_with_one_address_the_first_counts() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[eds_cluster("a", "")]);
    world.world(Kind::Listener, &[]);
    let endpoint = |port: u16, hostname: &str| {
        format!(
            "{{endpoint: {{hostname: {hostname}, address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}"
        )
    };
    let endpoints = [endpoint(1, "one"), endpoint(2, "two"), endpoint(1, "other")].join(", ");
    let assignment = format!(
        "{{'@type': t/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: a, endpoints: [{{lb_endpoints: [{endpoints}]}}]}}"
    );
    assert_eq!(world.world(Kind::Assignment, &[assignment]), "1 accepted");
    assert_eq!(world.settle(), "all: a=1,2");
    let last = world.builder.last().expect("it was built");
    let hostnames =
        last.clusters.iter().flat_map(|cluster| cluster.endpoints.iter()).map(|endpoint| endpoint.hostname.clone());
    assert_eq!(hostnames.collect::<Vec<_>>(), ["one", "two"]);
}

/// A refusal is of what the source had: where that is gone, so is it.
#[test]
fn what_goes_takes_its_refusal_with_it() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[eds_cluster("a", "")]);
    world.world(Kind::Listener, &[]);
    let wrong = assignment("a", 1).replace("127.0.0.1", "nowhere");
    assert!(world.delta(Kind::Assignment, &[wrong], &[]).contains("refused"));
    assert!(world.cache.assignments.values().all(|want| want.rejected.is_some()));
    world.delta(Kind::Assignment, &[], &["a"]);
    assert!(world.cache.assignments.values().all(|want| want.rejected.is_none() && !want.is_awaited()));
}

/// Envoy 1.40 waits 15 s here by delta ADS: the assignment was not sent again.
#[test]
fn a_changed_cluster_keeps_its_assignment() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[eds_cluster("a", "")]);
    world.world(Kind::Listener, &[]);
    world.world(Kind::Assignment, &[assignment("a", 1)]);
    assert_eq!(world.settle(), "all: a=1");
    assert_eq!(world.world(Kind::Cluster, &[eds_cluster("a", ", connect_timeout: 1s")]), "1 accepted");
    assert_eq!(world.settle(), "clusters: a=1");
    let cluster = world.builder.last().and_then(|last| last.clusters.iter().next().cloned()).expect("one cluster");
    assert_eq!(cluster.connect_timeout, Duration::from_secs(1));
    // Another name of the same source is another thing: the version before stays until it comes.
    let moved = eds_cluster("a", "").replace("eds_cluster_config: {", "eds_cluster_config: {service_name: s, ");
    world.world(Kind::Cluster, &[moved]);
    assert_eq!(world.settle(), "same: a=1; cluster \"a\" waits for assignment \"s\" 15 s");
    world.world(Kind::Assignment, &[assignment("s", 4)]);
    assert_eq!(world.settle(), "clusters: a=4");
    let names =
        world.cache.wanted().into_iter().find(|wanted| wanted.kind == Kind::Assignment).map(|wanted| wanted.names);
    assert_eq!(names, Some(Names::These(BTreeSet::from(["s".to_owned()]))));
}

#[test]
fn a_bad_assignment_leaves_the_one_before_and_ends_the_first_wait() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[eds_cluster("a", ""), eds_cluster("b", "")]);
    world.world(Kind::Listener, &[]);
    world.world(Kind::Assignment, &[assignment("a", 1)]);
    world.settle();
    let bad = |name| assignment(name, 2).replace("127.0.0.1", "no-address");
    let expect = "0 accepted; a refused: resources[0].endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: \
                  malformed IP address: no-address; b refused: resources[1].endpoints[0].lb_endpoints[0].endpoint.address.\
                  socket_address.address: malformed IP address: no-address";
    assert_eq!(world.world(Kind::Assignment, &[bad("a"), bad("b")]), expect);
    assert_eq!(world.settle(), "all: a=1 b=");
}

#[test]
fn listeners_do_not_share_an_address() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[cluster("c", 1)]);
    let [l, m] = ["l", "m"].map(|name| listener(name, 80, &inline("c")));
    let other = listener("m", 81, &inline("c"));
    let refused =
        "1 accepted; m refused: resources[1].address: the listener \"l\" has the address 127.0.0.1:80 already";
    assert_eq!(world.world(Kind::Listener, &[l.clone(), m.clone()]), refused);
    assert_eq!(world.world(Kind::Listener, &[l.clone(), other]), "2 accepted");
    assert_eq!(world.settle(), "all: c=1 l/v m/v");
    // They change places.
    let swapped = [listener("l", 81, &inline("c")), m.clone()];
    assert_eq!(world.world(Kind::Listener, &swapped), "2 accepted");
    assert_eq!(world.world(Kind::Listener, &[m]), "1 accepted");
    assert_eq!(world.settle(), "all: c=1 m/v");
    // A cluster that nobody knows is a problem of routes that stand in the listener, not of RDS.
    let unknown = world.world(Kind::Listener, &[listener("l", 82, &inline("x")), listener("o", 83, &rds("r"))]);
    assert!(unknown.starts_with("1 accepted; l refused: "), "{unknown}");
    assert!(unknown.ends_with("unknown cluster \"x\""), "{unknown}");
    assert_eq!(world.world(Kind::Routes, &[routes("r", "h", "x")]), "1 accepted");
}

#[test]
fn a_listener_that_the_host_refuses_is_refused_alone() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[cluster("c", 1)]);
    world.world(Kind::Listener, &[listener("l", 80, &inline("c")), listener("m", 81, &inline("c"))]);
    assert_eq!(world.settle(), "all: c=1 l/v m/v");
    world.world(Kind::Listener, &[listener("l", 90, &inline("c")), listener("m", 91, &inline("c"))]);
    let _ = world.cache.settle(world.now);
    let at = world.at();
    assert!(world.cache.refuse_listener("l", "in use".into(), &mut world.contexts, at));
    assert!(!world.cache.refuse_listener("nobody", "in use".into(), &mut world.contexts, at));
    world.builder.build_resources(&world.cache.resources());
    let ports: Vec<String> =
        world.builder.last().expect("built").listeners.iter().map(|l| l.addresses[0].address.to_string()).collect();
    assert_eq!(ports, ["127.0.0.1:80", "127.0.0.1:91"]);
    let shown = world.cache.shown().into_iter().find(|shown| shown.name == "l").expect("it is shown");
    assert_eq!(shown.error.expect("refused").problems, ["listener \"l\":1:1: address: in use"]);
    assert!(
        world.cache.refuse_listener("m", "in use as well".into(), &mut world.contexts, at),
        "nothing was committed yet"
    );
    // Another settling before the commit does not forget what was in force, and neither do two versions in a row.
    world.world(Kind::Listener, &[listener("l", 92, &inline("c")), listener("m", 81, &inline("c"))]);
    let _ = world.cache.settle(world.now);
    world.world(Kind::Listener, &[listener("l", 93, &inline("c")), listener("m", 81, &inline("c"))]);
    let _ = world.cache.settle(world.now);
    assert!(world.cache.refuse_listener("l", "in use".into(), &mut world.contexts, at));
    world.settle();
    let listeners = &world.builder.last().expect("built").listeners;
    assert_eq!(listeners[0].addresses[0].address.to_string(), "127.0.0.1:80");
    // What was committed does not go back.
    assert!(!world.cache.refuse_listener("l", "in use".into(), &mut world.contexts, at));
}

/// Guards values that came while another version had taken its place.
#[test]
fn a_listener_that_comes_back_has_what_came_meanwhile() {
    let mut world = World::new(&runtime::with_layer("one", "{}", "{}", ""));
    world.world(Kind::Cluster, &[cluster("a", 1), cluster("c", 1), cluster("d", 2)]);
    let weighted = |port| {
        let routes = runtime::weighted_routes("50");
        let (_, hosts) = routes.split_once("name: r, ").expect("it has a name");
        listener("l", port, &format!("route_config: {{{hosts}"))
    };
    let both = |port| vec![weighted(port), extensions::of_router("m", port + 1, "")];
    world.world(Kind::Listener, &both(10));
    world.world(Kind::Runtime, &[runtime::layer("one", "{w.c: 7}")]);
    world.world(Kind::Extension, &[extensions::router_config(true)]);
    assert_eq!(world.settle(), "all: a=1 c=1 d=2 l/v m/v");
    world.world(Kind::Listener, &both(20));
    let _ = world.cache.settle(world.now);
    world.world(Kind::Runtime, &[runtime::layer("one", "{w.c: 9}")]);
    world.world(Kind::Extension, &[extensions::router_config(false)]);
    let at = world.at();
    assert!(world.cache.take_up_layers(&mut world.contexts, at).is_empty());
    let _ = world.cache.settle(world.now);
    for name in ["l", "m"] {
        assert!(world.cache.refuse_listener(name, "in use".into(), &mut world.contexts, at));
    }
    world.settle();
    let listeners = &world.builder.last().expect("built").listeners;
    assert_eq!(listeners[0].addresses[0].address.to_string(), "127.0.0.1:10");
    assert_eq!((runtime::shares(&world).as_str(), world.filters("m").as_str()), ("9 60", ""));
}

/// Guards what is shown: who cannot be read has not said that there is none.
#[test]
fn what_could_not_be_read_is_not_missing() {
    let is_missing = |world: &World| {
        world.cache.shown().iter().find(|shown| shown.kind == Kind::Assignment).map(|shown| shown.is_missing)
    };
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[eds_cluster("c", "")]);
    world.world(Kind::Listener, &[]);
    assert!(world.settle().contains("waits for assignment"));
    assert_eq!(is_missing(&world), Some(false));
    world.cache.failed(&source(), Kind::Assignment);
    assert_eq!(is_missing(&world), Some(false));
    assert_eq!(world.settle(), "all: c=", "nobody waits for it");
    world.cache.has_none(&source(), Kind::Assignment);
    assert_eq!(is_missing(&world), Some(true));
    world.cache.failed(&source(), Kind::Assignment);
    assert_eq!(is_missing(&world), Some(true), "it was said once");
    world.world(Kind::Assignment, &[assignment("c", 1)]);
    assert_eq!(is_missing(&world), Some(false));
    // Nothing in time.
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[eds_cluster("c", "")]);
    world.settle();
    world.later(16).settle();
    assert_eq!(is_missing(&world), Some(true));
}

#[test]
fn route_configurations_that_change_and_files_without_any_are_counted() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[cluster("c", 1)]);
    world.world(Kind::Listener, &[listener("l", 80, &rds("r"))]);
    assert!(world.settle().contains("waits for route configuration"));
    let scope = || Scope::Routes { stat_prefix: "s".into(), name: "r".into() };
    for (resources, expect) in [
        (vec![], vec![(scope(), RoutesEvent::Empty)]),
        (vec![routes("r", "h", "c")], vec![(scope(), RoutesEvent::Reload)]),
        (vec![routes("r", "h", "c")], vec![]),
        (vec![routes("other", "h", "c")], vec![]),
        (vec![routes("r", "h", "c, cluster: {}")], vec![]),
        (vec![routes("r", "i", "c")], vec![(scope(), RoutesEvent::Reload)]),
    ] {
        let update = world.update(Kind::Routes, "1", &resources);
        let at = world.at();
        let verdict = world.cache.apply(update, &mut world.contexts, at);
        assert_eq!(verdict.routes, expect, "{resources:?}");
        if resources.is_empty() {
            assert_eq!(verdict.counted, [Counted { scope: scope(), accepted: Some("1".into()) }]);
            assert_eq!(world.settle(), "all: c=1 l/", "nobody waits for them any more");
        }
    }
}

/// LDS and CDS are two files, and are moved in any order.
#[test]
fn a_listener_that_was_refused_is_tried_again_when_clusters_come() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[cluster("c", 1)]);
    assert!(world.world(Kind::Listener, &[listener("l", 80, &inline("d"))]).contains("unknown cluster"));
    assert_eq!(world.settle(), "all: c=1");
    let error = |world: &World| {
        let shown = world.cache.shown().into_iter().find(|shown| shown.name == "l").expect("it is shown");
        shown.error.map(|error| error.problems[0].clone())
    };
    let before = error(&world);
    let at = world.at();
    assert_eq!(world.cache.retry(Kind::Listener, &mut world.contexts, at), 0);
    assert_eq!(error(&world), before, "as it was said");
    world.world(Kind::Cluster, &[cluster("d", 1)]);
    assert_eq!(world.cache.retry(Kind::Listener, &mut world.contexts, at), 1);
    assert_eq!(world.settle(), "all: d=1 l/v");
    assert_eq!(error(&world), None);
}

#[test]
fn another_bootstrap_keeps_what_came() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[eds_cluster("c", "")]);
    world.world(Kind::Listener, &[]);
    world.world(Kind::Assignment, &[assignment("c", 1)]);
    assert_eq!(world.settle(), "all: c=1");
    let statics = cluster("own", 1).replace("'@type': t/envoy.config.cluster.v3.Cluster, ", "");
    world.load(&bootstrap(&format!("clusters: [{statics}]")));
    assert_eq!(world.settle(), "all: c=1 own=1");
    world.load(&format!(
        "static_resources: {{clusters: [{}]}}",
        eds_cluster("own", "").replace("'@type': t/envoy.config.cluster.v3.Cluster, ", "")
    ));
    assert_eq!(world.settle(), "all: own=1; cluster \"own\" waits for assignment \"own\" 15 s");
}

#[test]
fn secrets_are_kept_and_not_shown() {
    let mut world = World::new(&bootstrap(""));
    let tls = "transport_socket: {name: t, typed_config: {'@type': t/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
               common_tls_context: {tls_certificates: [{certificate_chain: {inline_string: no}, private_key: {inline_string: secret}}]}}}";
    let with_key = cluster("c", 1).replace("name: c, load", &format!("name: c, {tls}, load"));
    let refused = world.world(Kind::Cluster, &[with_key]);
    assert!(refused.contains("refused: resources[0].transport_socket"), "{refused}");
    let error = world.cache.shown().remove(0).error.expect("refused");
    let shown = error.failed.expect("it was read").to_json();
    assert!(shown.contains("[redacted]") && !shown.contains("secret\""), "{shown}");
    assert!(!format!("{:?}", world.cache.shown()).contains("secret"));
}

/// Large responses are judged on a thread of the command's own, whose stack is a MiB.
#[test]
fn the_deepest_message_fits_the_stack_of_who_judges_it() {
    fn nested(out: &mut Writer, depth: usize) {
        match depth {
            0 => out.text(3, "x"),
            // A Value that is a list of one Value.
            _ => out.message(6, |out| out.message(1, |out| nested(out, depth - 1))),
        }
    }
    let judge = |depth: usize| {
        let mut out = Writer::default();
        out.text(1, "c");
        // metadata: filter_metadata["a"]: {k: ...}
        out.message(25, |out| {
            out.message(1, |out| {
                out.text(1, "a");
                out.message(2, |out| {
                    out.message(1, |out| {
                        out.text(1, "k");
                        out.message(2, |out| nested(out, depth));
                    });
                });
            });
        });
        let body = Unread::Wire(out.bytes.into());
        let report = Report::new("r");
        let received = Received { name: "c".into(), version: "1".into(), body, report };
        let change = Change::Delta { changed: vec![received], removed: Vec::new() };
        let mut world = World::new(&bootstrap(""));
        let update = Update { source: source(), kind: Kind::Cluster, version: String::new(), change };
        (world.apply(update), world.settle())
    };
    let judged = std::thread::Builder::new().stack_size(1 << 20).spawn(move || [40, 60].map(judge));
    let [(fits, settled), (deep, _)] = judged.expect("a thread").join().expect("no panic");
    assert_eq!(fits, "1 accepted");
    assert!(settled.contains("c="), "{settled}");
    assert!(deep.contains("nested deeper than 100"), "{deep}");
}
