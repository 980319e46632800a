//! `layered_runtime` of a bootstrap that is read again, and layers that come of sources: who took values has those that hold.

use super::*;

fn layered(weight: u32) -> String {
    let layers = format!("layered_runtime: {{layers: [{{name: a, static_layer: {{w.c: {weight}}}}}]}}\n");
    layers + &bootstrap("")
}

fn weights(world: &World) -> String {
    let snapshot = format!("{:?}", world.builder.last().expect("something is in force"));
    let weights = snapshot.split("weight: ").skip(1).filter_map(|rest| rest.split([',', ' ']).next());
    weights.collect::<Vec<_>>().join(" ")
}

#[test]
fn routes_that_came_before_take_up_a_value_that_changed() {
    let mut world = World::new(&layered(7));
    world.world(Kind::Cluster, &[cluster("c", 1), cluster("d", 2)]);
    world.world(Kind::Listener, &[listener("l", 10, &rds("r"))]);
    let to = "weighted_clusters: {runtime_key_prefix: w, clusters: [{name: c, weight: 50}, {name: d, weight: 60}]}";
    let routes = format!(
        "{{'@type': t/envoy.config.route.v3.RouteConfiguration, name: r, virtual_hosts: [{{name: v, domains: ['*'], routes: [{{match: \
         {{prefix: /}}, route: {{{to}}}}}]}}]}}"
    );
    world.world(Kind::Routes, &[routes]);
    world.settle();
    let before = weights(&world);
    assert!(before.contains("7 60"), "{before}");
    world.load(&layered(8));
    let at = world.at();
    assert!(world.cache.translate_again(true, &mut world.contexts, at).is_empty());
    world.settle();
    let after = weights(&world);
    assert!(after.contains("8 60") && !after.contains("7 60"), "{after}");
}

/// A layer of a source between two of the file, each with these values.
pub(super) fn with_layer(name: &str, below: &str, above: &str, statics: &str) -> String {
    let layer = format!("{{name: L, rtds_layer: {{name: {name}, rtds_config: {}}}}}", at());
    let (below, above) = (format!("{{name: a, static_layer: {below}}}"), format!("{{name: b, static_layer: {above}}}"));
    format!("layered_runtime: {{layers: [{below}, {layer}, {above}]}}\n") + &bootstrap(statics)
}

/// What a layer says.
pub(super) fn layer(name: &str, values: &str) -> String {
    format!("{{'@type': t/envoy.service.runtime.v3.Runtime, name: {name}, layer: {values}}}")
}

/// Two clusters, a listener of routes `r`, and those: 50 to one, 60 to the other.
fn weighted(world: &mut World) {
    world.world(Kind::Cluster, &[cluster("c", 1), cluster("d", 2)]);
    world.world(Kind::Listener, &[listener("l", 10, &rds("r"))]);
    world.world(Kind::Routes, &[weighted_routes("50")]);
}

pub(super) fn weighted_routes(weight: &str) -> String {
    let to = format!(
        "weighted_clusters: {{runtime_key_prefix: w, clusters: [{{name: c, weight: {weight}}}, {{name: d, weight: 60}}]}}"
    );
    format!(
        "{{'@type': t/envoy.config.route.v3.RouteConfiguration, name: r, virtual_hosts: [{{name: v, domains: ['*'], routes: [{{match: \
         {{prefix: /}}, route: {{{to}}}}}]}}]}}"
    )
}

/// Those of the routes alone: endpoints stand behind.
pub(super) fn shares(world: &World) -> String {
    weights(world).split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_layer_that_comes_moves_routes_that_came_before_and_counts_by_its_place() {
    let mut world = World::new(&with_layer("one", "{w.c: 5, w.d: 5}", "{w.d: 9}", ""));
    weighted(&mut world);
    // Nothing that asks for values is in force before the layer is there, or was waited for.
    let waiting = world.settle();
    assert!(waiting.contains("layered_runtime waits for runtime layer \"one\" 15 s"), "{waiting}");
    assert!(!waiting.contains("l/"), "{waiting}");
    assert_eq!(world.world(Kind::Runtime, &[layer("one", "{w.c: 7, w.d: 7}")]), "1 accepted");
    assert!(world.settle().starts_with("all: c=1 d=2 l/v"), "{}", world.in_force());
    assert_eq!(shares(&world), "7 9", "the layer above the one that came wins, and the one below loses");
    assert_eq!(world.world(Kind::Runtime, &[layer("one", "{w: {c: 8}}")]), "1 accepted");
    world.settle();
    assert_eq!(shares(&world), "8 9");
    let runtime = world.cache.runtime().expect("one was taken up");
    assert_eq!(runtime.entries()["w.c"], ["5", "8", ""]);
    assert_eq!((runtime.key_count(), runtime.layers().count()), (2, 3));
    // A key that goes away falls back to the layer below.
    world.world(Kind::Runtime, &[layer("one", "{}")]);
    world.settle();
    assert_eq!(shares(&world), "5 9");
    // What nobody asked for changes nothing.
    world.world(Kind::Runtime, &[layer("one", "{x: 1}")]);
    assert!(world.settle().starts_with("same: "));
}

#[test]
fn keys_that_only_envoy_reads_are_said() {
    let mut world = World::new(&with_layer("one", "{}", "{}", ""));
    let values = "{envoy.resource_limits.listener.l.connection_limit: 5, overload.global_downstream_max_connections: 2147483647, w.c: 1}";
    assert_eq!(world.world(Kind::Runtime, &[layer("one", values)]), "1 accepted");
    let warnings = world.cache.layer_warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("envoy.resource_limits.listener.l.connection_limit has no effect"), "{warnings:?}");
    // The same again is no news.
    assert_eq!(world.world(Kind::Runtime, &[layer("one", values)]), "1 accepted");
    assert!(world.cache.layer_warnings().is_empty());
}

#[test]
fn a_layer_that_is_gone_is_empty() {
    let mut world = World::new(&with_layer("one", "{}", "{}", ""));
    weighted(&mut world);
    world.world(Kind::Runtime, &[layer("one", "{w.c: 7}")]);
    world.settle();
    assert_eq!(shares(&world), "7 60");
    // The state of the world says nothing of what it does not name: only delta takes away.
    assert_eq!(world.world(Kind::Runtime, &[]), "0 accepted");
    world.settle();
    assert_eq!(shares(&world), "7 60");
    world.delta(Kind::Runtime, &[], &["one", "never"]);
    world.settle();
    assert_eq!(shares(&world), "50 60");
    assert_eq!(world.delta(Kind::Runtime, &[layer("one", "{w.c: 8}")], &[]), "1 accepted");
    world.settle();
    assert_eq!(shares(&world), "8 60");
}

#[test]
fn a_layer_that_is_wrong_leaves_the_last_one() {
    let mut world = World::new(&with_layer("one", "{}", "{}", ""));
    weighted(&mut world);
    world.world(Kind::Runtime, &[layer("one", "{w.c: 7}")]);
    world.settle();
    for (resources, expect) in [
        (
            vec![layer("one", "{w.c: 8, a: {b: [1]}}")],
            "0 accepted; one refused: resources[0].layer: Invalid runtime entry value for a.b",
        ),
        (
            vec![layer("one", "{w.c: null}")],
            "0 accepted; one refused: resources[0].layer: Invalid runtime entry value for w.c",
        ),
        (vec![layer("one", "5")], "0 accepted; one refused: resources[0].layer: expected an object, found a number"),
        (
            vec![layer("other", "{w.c: 8}")],
            "0 accepted; other refused: resources[0].name: only \"one\" is asked for here",
        ),
        (vec![layer("one", "{w.c: 7}"), layer("other", "{w.c: 8}")], "1 accepted, 1 unwanted"),
        (
            vec![layer("one", "{w.c: 7}"), layer("one", "{w.c: 8}")],
            "1 accepted; one refused: resources[1].name: a second runtime layer \"one\" in one response",
        ),
        (
            vec!["{'@type': t/envoy.service.runtime.v3.Runtime, layer: {w.c: 8}}".to_owned()],
            "0 accepted;  refused: resources[0].name: value length must be at least 1 characters",
        ),
    ] {
        assert_eq!(world.world(Kind::Runtime, &resources), expect);
        assert!(world.settle().starts_with("same: "), "{expect}");
        assert_eq!(shares(&world), "7 60", "{expect}");
    }
}

#[test]
fn a_layer_that_does_not_come_in_time_is_empty_until_it_does() {
    let mut world = World::new(&with_layer("one", "{w.c: 5}", "{}", ""));
    weighted(&mut world);
    assert!(world.settle().contains("layered_runtime waits"));
    assert!(world.later(14).settle().contains("waits for runtime layer \"one\" 1 s"));
    let now = world.later(1).now;
    assert!(!world.cache.awaits_layers(now));
    let settled = world.cache.settle(now);
    assert_eq!((settled.timed_out, settled.until), (vec![Scope::Runtime], None));
    world.cache.is_reshaped = true;
    world.settle();
    assert_eq!(shares(&world), "5 60");
    world.world(Kind::Runtime, &[layer("one", "{w.c: 6}")]);
    world.settle();
    assert_eq!(shares(&world), "6 60");
    // A file that has none, or only others, is an answer, too: nobody waits for it. So is what cannot be read at all.
    for resources in [vec![], vec![layer("other", "{w.c: 6}")]] {
        let mut world = World::new(&with_layer("one", "{w.c: 5}", "{}", ""));
        weighted(&mut world);
        assert!(world.settle().contains("layered_runtime waits"));
        world.world(Kind::Runtime, &resources);
        world.settle();
        assert_eq!(shares(&world), "5 60");
    }
    let mut world = World::new(&with_layer("one", "{w.c: 5}", "{}", ""));
    weighted(&mut world);
    world.settle();
    assert_eq!(world.cache.failed(&source(), Kind::Runtime), [Scope::Runtime]);
    world.settle();
    assert_eq!(shares(&world), "5 60");
}

#[test]
fn the_bootstraps_own_follow_a_layer() {
    let listener = listener(
        "l",
        10,
        &inline("c")
            .replace("prefix: /}", "prefix: /, runtime_fraction: {runtime_key: part, default_value: {numerator: 43}}}"),
    );
    let own = |text: String| {
        let text = text.replace("'@type': t/envoy.config.listener.v3.Listener, ", "");
        text.replace("'@type': t/envoy.config.cluster.v3.Cluster, ", "")
    };
    let biased = cluster("c", 1).replacen("name: c,", "name: c, lb_policy: LEAST_REQUEST, least_request_lb_config: {active_request_bias: {runtime_key: bias, default_value: 0.5}},", 1);
    let statics = format!("listeners: [{}], clusters: [{}]", own(listener), own(biased));
    let text = with_layer("one", "{}", "{}", &statics).replace("dynamic_resources:", "#");
    let mut world = World::new(&text);
    assert_eq!(world.settle(), "all: ; layered_runtime waits for runtime layer \"one\" 15 s");
    world.world(Kind::Runtime, &[layer("one", "{part: 7, bias: 0.25}")]);
    assert_eq!(world.settle(), "all: c=1 l/v");
    let shown = |world: &World| format!("{:?}", world.builder.last().expect("something is in force"));
    assert!(shown(&world).contains("numerator: 7, denominator: 100"), "{}", shown(&world));
    assert!(shown(&world).contains("active_request_bias: 0.25"), "{}", shown(&world));
    world.world(Kind::Runtime, &[layer("one", "{bias: 0.75}")]);
    world.settle();
    assert!(shown(&world).contains("numerator: 43, denominator: 100"), "{}", shown(&world));
    assert!(shown(&world).contains("active_request_bias: 0.75"), "{}", shown(&world));
    // Read again, they have what came at once.
    world.load(&text);
    let at = world.at();
    assert!(world.cache.translate_again(true, &mut world.contexts, at).is_empty());
    world.settle();
    assert!(shown(&world).contains("active_request_bias: 0.75"), "{}", shown(&world));
}

#[test]
fn another_layer_of_a_bootstrap_that_is_read_again_leaves_what_is_in_force_until_it_comes() {
    let mut world = World::new(&with_layer("one", "{w.c: 5}", "{}", ""));
    weighted(&mut world);
    world.world(Kind::Runtime, &[layer("one", "{w.c: 7}")]);
    world.settle();
    world.load(&with_layer("two", "{w.c: 5}", "{}", ""));
    let at = world.at();
    assert!(world.cache.translate_again(true, &mut world.contexts, at).is_empty());
    let settled = world.settle();
    assert!(settled.contains("layered_runtime waits for runtime layer \"two\" 15 s"), "{settled}");
    assert_eq!(shares(&world), "7 60", "in force");
    // Routes that come meanwhile wait with the listener.
    world.world(Kind::Routes, &[weighted_routes("51")]);
    world.settle();
    assert_eq!(shares(&world), "7 60");
    assert_eq!(
        world.world(Kind::Runtime, &[layer("one", "{w.c: 8}"), layer("two", "{w.c: 9}")]),
        "1 accepted, 1 unwanted"
    );
    world.settle();
    assert_eq!(shares(&world), "9 60");
    // Without any, nobody asks for one.
    world.load(&layered(3));
    let at = world.at();
    assert!(world.cache.translate_again(true, &mut world.contexts, at).is_empty());
    world.settle();
    assert_eq!(shares(&world), "3 60");
    assert!(world.cache.wanted().iter().all(|wanted| wanted.kind != Kind::Runtime));
    assert!(world.cache.runtime().is_none());
}

/// A listener of these weights and of a router that has to come, whose newer version waits for its routes; and a reload that brings a layer
/// which has not come. What came for the layer before says 7.
fn one_that_is_in_force_meanwhile() -> World {
    let mut world = World::new(&with_layer("one", "{}", "{}", ""));
    world.world(Kind::Cluster, &[cluster("c", 1), cluster("d", 2)]);
    let routes = weighted_routes("50");
    let (_, hosts) = routes.split_once("name: r, ").expect("it has a name");
    let of_routes = |routes: &str| extensions::of_router("l", 10, "").replace(&inline("a"), routes);
    world.world(Kind::Listener, &[of_routes(&format!("route_config: {{{hosts}"))]);
    world.world(Kind::Runtime, &[layer("one", "{w.c: 7}")]);
    world.world(Kind::Extension, &[extensions::router_config(true)]);
    assert_eq!(world.settle(), "all: c=1 d=2 l/v");
    world.world(Kind::Listener, &[of_routes(&rds("r"))]);
    assert!(world.settle().contains("listener \"l\" waits for route configuration \"r\""));
    world.load(&with_layer("two", "{}", "{}", ""));
    world
}

#[test]
fn the_version_in_force_keeps_its_values_while_the_newer_one_and_a_layer_are_awaited() {
    let mut world = one_that_is_in_force_meanwhile();
    let at = world.at();
    assert!(world.cache.translate_again(true, &mut world.contexts, at).is_empty());
    let settled = world.settle();
    assert!(settled.contains("layered_runtime waits for runtime layer \"two\""), "{settled}");
    assert_eq!(shares(&world), "7 60");
    // A filter that comes meanwhile waits with the layer.
    assert_eq!(world.world(Kind::Extension, &[extensions::router_config(false)]), "1 accepted");
    world.settle();
    assert_eq!((shares(&world).as_str(), world.filters("l").as_str()), ("7 60", "suppresses"));
    world.world(Kind::Runtime, &[layer("two", "{w.c: 9}")]);
    world.settle();
    assert_eq!((shares(&world).as_str(), world.filters("l").as_str()), ("9 60", ""));
}

#[test]
fn who_cannot_take_a_value_keeps_what_it_was() {
    let mut world = World::new(&with_layer("one", "{}", "{}", ""));
    weighted(&mut world);
    world.world(Kind::Runtime, &[layer("one", "{w.c: 7}")]);
    world.settle();
    assert_eq!(world.world(Kind::Runtime, &[layer("one", "{w: {c: 0, d: 0}}")]), "1 accepted");
    let at = world.at();
    let refused = world.cache.take_up_layers(&mut world.contexts, at);
    let problems: Vec<String> = refused
        .iter()
        .map(|(kind, refused)| format!("{kind} {}: {}", refused.name, refused.problems[0].rule))
        .collect();
    assert_eq!(problems, ["route configuration r: the sum of the weights must be greater than 0"]);
    world.settle();
    assert_eq!(shares(&world), "7 60");
    world.world(Kind::Runtime, &[layer("one", "{w: {c: 0, d: 1}}")]);
    world.settle();
    assert_eq!(shares(&world), "0 1");
}

#[test]
fn a_listener_that_was_refused_for_a_layer_is_tried_again_when_another_comes() {
    let mut world = World::new(&with_layer("one", "{}", "{}", ""));
    world.world(Kind::Cluster, &[cluster("c", 1), cluster("d", 2)]);
    world.world(Kind::Runtime, &[layer("one", "{w: {c: 0, d: 0}}")]);
    let routes = weighted_routes("50");
    let (_, hosts) = routes.split_once("name: r, ").expect("it has a name");
    let said = world.world(Kind::Listener, &[listener("l", 10, &format!("route_config: {{{hosts}"))]);
    assert!(said.ends_with("the sum of the weights must be greater than 0"), "{said}");
    assert_eq!(world.settle(), "all: c=1 d=2");
    world.world(Kind::Runtime, &[layer("one", "{w: {c: 0, d: 1}}")]);
    assert_eq!(world.settle(), "all: c=1 d=2 l/v");
    assert_eq!(shares(&world), "0 1");
}
