//! `layered_runtime` of a bootstrap that is read again: what came before has its values, too.

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
