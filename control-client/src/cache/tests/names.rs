//! Clusters of names: each waits for its own names, alone.

use super::*;

fn of_names(name: &str, host: &str, more: &str) -> String {
    let text = cluster(name, 1).replace("address: 127.0.0.1", &format!("address: {host}"));
    text.replace("load_assignment", &format!("type: STRICT_DNS{more}, load_assignment"))
}

impl World {
    /// Those whose names are to be looked up.
    fn asked(&self) -> Vec<&str> {
        self.cache.awaited_names().keys().map(String::as_str).collect()
    }

    fn answer(&mut self, names: &[&str]) -> bool {
        let mut plans = self.cache.awaited_names().clone();
        plans.retain(|name, _| names.contains(&name.as_str()));
        self.cache.know_names(plans)
    }
}

const WAITS: &str = "waits for the first answer to its names for ever";

#[test]
fn a_cluster_waits_for_its_names_alone() {
    let mut world = World::new(&bootstrap(""));
    assert_eq!(world.world(Kind::Cluster, &[cluster("a", 1), of_names("k", "n.test", "")]), "2 accepted");
    world.world(Kind::Listener, &[listener("l", 2, &inline("k"))]);
    assert_eq!(world.settle(), format!("all: a=1 l/v; cluster \"k\" {WAITS}"));
    assert_eq!(world.asked(), ["k"]);
    assert!(!world.answer(&[]), "nobody is told");
    // Others come meanwhile.
    world.delta(Kind::Cluster, &[cluster("b", 2), of_names("o", "o.test", "")], &[]);
    assert_eq!(world.settle(), format!("all: a=1 b=2 l/v; cluster \"k\" {WAITS}; cluster \"o\" {WAITS}"));
    assert!(world.answer(&["k"]));
    assert!(!world.answer(&["k"]), "that is known");
    assert_eq!(world.settle(), format!("all: a=1 k= b=2 l/v; cluster \"o\" {WAITS}"));
    assert_eq!(world.asked(), ["o"]);
    // Another version with the same names need not wait; one with others leaves it as it is.
    world.delta(Kind::Cluster, &[of_names("k", "n.test", ", connect_timeout: 3s")], &[]);
    assert_eq!(world.settle(), format!("all: a=1 k= b=2 l/v; cluster \"o\" {WAITS}"));
    world.delta(Kind::Cluster, &[of_names("k", "m.test", "")], &[]);
    assert_eq!(world.settle(), format!("same: a=1 k= b=2 l/v; cluster \"k\" {WAITS}; cluster \"o\" {WAITS}"));
    world.delta(Kind::Cluster, &[of_names("a", "a.test", "")], &[]);
    assert!(world.settle().starts_with("same: a=1 k= b=2 l/v; cluster \"a\""), "the endpoints of before");
    // Who goes is not asked for, and who comes again is not known.
    world.delta(Kind::Cluster, &[cluster("a", 1)], &["k", "o"]);
    assert_eq!(world.settle(), "all: a=1 b=2 l/v");
    assert!(world.asked().is_empty());
    world.delta(Kind::Cluster, &[of_names("k", "n.test", "")], &[]);
    assert_eq!(world.settle(), format!("same: a=1 b=2 l/v; cluster \"k\" {WAITS}"));
    // One that does not want to wait.
    let at_once = of_names("o", "o.test", ", wait_for_warm_on_init: false");
    world.delta(Kind::Cluster, &[at_once], &["k"]);
    assert_eq!(world.settle(), "all: a=1 b=2 o= l/v");
}

/// Guards names that are known from being asked for again and again.
#[test]
fn names_that_are_known_stay_known_while_something_else_is_awaited() {
    let mut world = World::new(&runtime::with_layer("one", "{}", "{}", ""));
    let biased = ", lb_policy: LEAST_REQUEST, least_request_lb_config: {active_request_bias: {runtime_key: bias, default_value: 0.5}}";
    world.world(Kind::Cluster, &[of_names("k", "n.test", biased)]);
    world.world(Kind::Listener, &[]);
    assert!(world.settle().contains(WAITS));
    assert!(world.answer(&["k"]));
    for _ in 0..2 {
        assert_eq!(world.settle(), "same: ; layered_runtime waits for runtime layer \"one\" 15 s");
        assert_eq!(world.asked(), ["k"], "they are still followed");
    }
    world.world(Kind::Runtime, &[runtime::layer("one", "{bias: 0.25}")]);
    assert_eq!(world.settle(), "all: k=");
    assert!(world.asked().is_empty());
}

/// Guards requests: a cluster that goes and comes again between two commits has its endpoints all the time.
#[test]
fn names_that_are_in_force_are_known_to_who_comes_again_in_the_same_settling() {
    let k = || of_names("k", "n.test", "");
    let whole = || bootstrap("");
    let elsewhere = || {
        // The same clusters of another source, and the listeners of the one before.
        let own = file().with_file_name("build.rs");
        whole().replace(
            &format!("cds_config: {}", at()),
            &format!("cds_config: {{path_config_source: {{path: {}}}}}", own.display()),
        )
    };
    let in_force = || {
        let mut world = World::new(&whole());
        world.world(Kind::Cluster, &[cluster("a", 1), k()]);
        world.world(Kind::Listener, &[]);
        world.settle();
        assert!(world.answer(&["k"]));
        assert_eq!(world.settle(), "all: a=1 k=");
        world
    };
    for other_source in [false, true] {
        let comes_again = |world: &mut World, cluster: String| match other_source {
            false => {
                world.delta(Kind::Cluster, &[], &["k"]);
                world.delta(Kind::Cluster, &[cluster], &[]);
            }
            true => {
                assert_ne!(elsewhere(), whole());
                world.load(&elsewhere());
                let mut update = world.update(Kind::Cluster, "1", &[self::cluster("a", 1), cluster]);
                update.source = world.cache.roots().cds.as_ref().expect("it has one").source.clone();
                world.apply(update);
            }
        };
        // With other names it is another cluster.
        let mut world = in_force();
        comes_again(&mut world, of_names("k", "m.test", ""));
        assert_eq!(world.settle(), format!("all: a=1; cluster \"k\" {WAITS}"), "{other_source}");
        let mut world = in_force();
        comes_again(&mut world, k());
        assert_eq!(world.settle(), "same: a=1 k=", "{other_source}");
        assert!(world.asked().is_empty());
        // What was known is known for that settling alone.
        world.delta(Kind::Cluster, &[], &["k"]);
        assert_eq!(world.settle(), "all: a=1");
        world.delta(Kind::Cluster, &[k()], &[]);
        assert_eq!(world.settle(), format!("same: a=1; cluster \"k\" {WAITS}"));
    }
}
