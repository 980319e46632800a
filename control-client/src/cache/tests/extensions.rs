//! Configurations of HTTP filters that come by themselves: who waits for them, what goes by a default or by none, what a wrong one leaves alone.

use ringway_model::{ChainId, HttpConnectionManager};

use super::*;

const FILTERS: &str = "t/envoy.extensions.filters.http";
const ROUTER: &str = "t/envoy.extensions.filters.http.router.v3.Router";
const STATS: &str = "t/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig";

/// A filter of this name, for which one of these types may come, with these further fields.
fn discovered(name: &str, types: &[&str], more: &str) -> String {
    let types = types.join(", ");
    format!("{{name: {name}, config_discovery: {{config_source: {}, type_urls: [{types}]{more}}}}}", at())
}

fn router() -> String {
    format!("{{name: r, typed_config: {{'@type': {ROUTER}}}}}")
}

/// A listener of a chain of these filters.
fn of_filters(name: &str, port: u16, filters: &[String]) -> String {
    let text = listener(name, port, &inline("a"));
    let own = format!("http_filters: [{}]", router());
    assert!(text.contains(&own), "{text}");
    text.replace(&own, &format!("http_filters: [{}]", filters.join(", ")))
}

/// One whose router has to come.
pub(super) fn of_router(name: &str, port: u16, more: &str) -> String {
    of_filters(name, port, &[discovered("f", &[ROUTER], more)])
}

fn extension(name: &str, config: &str) -> String {
    format!("{{'@type': t/envoy.config.core.v3.TypedExtensionConfig, name: {name}, typed_config: {{{config}}}}}")
}

pub(super) fn router_config(suppresses: bool) -> String {
    extension("f", &format!("'@type': {ROUTER}, suppress_envoy_headers: {suppresses}"))
}

fn stats_config() -> String {
    extension("f", &format!("'@type': {STATS}, stats_for_all_methods: true"))
}

impl World {
    fn with_cluster() -> World {
        let mut world = World::new(&bootstrap(""));
        world.world(Kind::Cluster, &[cluster("a", 1)]);
        world
    }

    fn manager(&self, listener: &str) -> (ChainId, HttpConnectionManager) {
        let snapshot = self.builder.last().expect("something is in force");
        let listener = snapshot.listeners.iter().find(|other| other.name == listener).expect("it is in force");
        let chain = &listener.chains[0];
        (chain.id, (**chain.http().expect("it speaks HTTP")).clone())
    }

    /// What the filters of a listener come to.
    pub(super) fn filters(&self, listener: &str) -> String {
        let (_, manager) = self.manager(listener);
        let mut words = Vec::new();
        words.extend(manager.headers.suppress_envoy_headers.then_some("suppresses"));
        words.extend(manager.grpc_stats.is_some().then_some("counts"));
        words.extend(manager.lacks_filter.then_some("lacks"));
        words.join(" ")
    }
}

#[test]
fn a_listener_waits_for_its_filter_alone_and_a_change_keeps_its_connections() {
    let mut world = World::with_cluster();
    let listeners = [of_router("l", 2, ""), listener("m", 3, &inline("a"))];
    assert_eq!(world.world(Kind::Listener, &listeners), "2 accepted");
    assert_eq!(world.settle(), "all: a=1 m/v; listener \"l\" waits for extension configuration \"f\" 15 s");
    let names = Names::These(BTreeSet::from(["f".into()]));
    assert!(world.cache.wanted().iter().any(|wanted| wanted.kind == Kind::Extension && wanted.names == names));
    let other = router_config(true).replace("name: f", "name: g");
    assert_eq!(world.world(Kind::Extension, &[other, router_config(true)]), "1 accepted, 1 unwanted");
    assert_eq!(world.settle(), "all: a=1 l/v m/v");
    assert_eq!(world.filters("l"), "suppresses");
    let (id, _) = world.manager("l");
    assert_eq!(world.world(Kind::Extension, &[router_config(true)]), "1 accepted");
    assert_eq!(world.settle(), "same: a=1 l/v m/v");
    assert_eq!(world.world(Kind::Extension, &[router_config(false)]), "1 accepted");
    assert_eq!(world.settle(), "all: a=1 l/v m/v");
    assert_eq!((world.filters("l").as_str(), world.manager("l").0), ("", id));
    let shown = world.cache.shown();
    let shown = shown.iter().find(|shown| shown.kind == Kind::Extension).expect("it is shown");
    assert!(shown.name == "f" && shown.active.as_ref().expect("it came").to_json().contains("router.v3.Router"));
    // Nobody wants it any more.
    world.world(Kind::Listener, &[listener("m", 3, &inline("a"))]);
    assert_eq!(world.settle(), "all: a=1 m/v");
    assert!(world.cache.extensions.is_empty() && world.cache.around.extensions.is_empty());
    assert!(world.cache.extension_users.is_empty());
}

/// Guards access: what is not enforced here must not come in by this door.
#[test]
fn a_wrong_one_is_refused_with_its_place_and_the_last_good_one_stays() {
    let mut world = World::with_cluster();
    let chain = [discovered("f", &[STATS, ROUTER], ""), discovered("g", &[STATS, ROUTER], "")];
    world.world(Kind::Listener, &[of_filters("l", 2, &chain)]);
    let last = router_config(true).replace("name: f", "name: g");
    assert_eq!(world.world(Kind::Extension, &[stats_config(), last.clone()]), "2 accepted");
    assert_eq!(world.settle(), "all: a=1 l/v");
    assert_eq!(world.filters("l"), "suppresses counts");
    let of = |kind: &str| extension("f", &format!("'@type': {FILTERS}.{kind}"));
    for (wrong, expect) in [
        (
            of("cors.v3.Cors"),
            "typed_config: filter config has type URL envoy.extensions.filters.http.cors.v3.Cors but expect \
             envoy.extensions.filters.http.grpc_stats.v3.FilterConfig, envoy.extensions.filters.http.router.v3.Router: listener \"l\"",
        ),
        (
            router_config(false),
            "typed_config: the router must be the last filter of its chain, and this one is not: listener \"l\"",
        ),
        (
            stats_config().replace("name: f", "name: g"),
            "typed_config: the last filter of a chain must be the router: listener \"l\"",
        ),
        (
            of("rbac.v3.RBAC"),
            "resources[0].typed_config: envoy.extensions.filters.http.rbac.v3.RBAC is not supported yet",
        ),
        (
            of("ext_authz.v3.ExtAuthz"),
            "resources[0].typed_config: envoy.extensions.filters.http.ext_authz.v3.ExtAuthz is not supported yet",
        ),
        (of("router.v3.Router, dynamic_stats: false"), "resources[0].typed_config.dynamic_stats: not supported yet"),
        (extension("f", ""), "resources[0].typed_config: no implementation for \"f\" without a type"),
        (
            extension("f", "'@type': t/envoy.config.core.v3.Node"),
            "resources[0].typed_config: envoy.config.core.v3.Node is not supported yet",
        ),
    ] {
        let name = if wrong.contains("name: g") { "g" } else { "f" };
        // Its neighbour comes all the same.
        let neighbour = if name == "g" { stats_config() } else { last.clone() };
        let said = world.world(Kind::Extension, &[wrong.clone(), neighbour]);
        assert!(said.starts_with(&format!("1 accepted; {name} refused: {expect}")), "{wrong}: {said}");
        assert_eq!(world.settle(), "same: a=1 l/v", "{wrong}");
        assert_eq!(world.filters("l"), "suppresses counts", "{wrong}");
        let shown = world.cache.shown().into_iter().find(|shown| shown.kind == Kind::Extension && shown.name == name);
        assert!(shown.is_some_and(|shown| shown.active.is_some() && shown.error.is_some()), "{wrong}");
    }
    assert_eq!(world.world(Kind::Extension, &[stats_config(), last]), "2 accepted");
    assert!(world.cache.shown().iter().all(|shown| shown.error.is_none()));
}

/// A chain that counts twice is wrong whichever of the two comes last.
#[test]
fn a_configuration_that_does_not_go_with_its_neighbours_is_refused() {
    let mut world = World::with_cluster();
    let own = format!("{{name: s, typed_config: {{'@type': {STATS}}}}}");
    world.world(Kind::Listener, &[of_filters("l", 2, &[own, discovered("f", &[STATS], ""), router()])]);
    let said = world.world(Kind::Extension, &[stats_config()]);
    assert!(
        said.starts_with("0 accepted; f refused: filter_chains[0].filters[0].typed_config.http_filters[1]."),
        "{said}"
    );
    assert!(said.ends_with("the filter grpc_stats is supported once in a chain"), "{said}");
    world.settle();
    assert_eq!(world.filters("l"), "counts lacks");
}

#[test]
fn without_a_configuration_the_default_counts_or_each_request_is_refused() {
    let default = |name: &str, more: &str| {
        let more = format!(", default_config: {{'@type': {ROUTER}, suppress_envoy_headers: true}}{more}");
        of_router(name, if name == "d" { 3 } else { 4 }, &more)
    };
    let at_once = default("k", ", apply_default_config_without_warming: true");
    let mut world = World::with_cluster();
    world.world(Kind::Listener, &[of_router("l", 2, ""), default("d", ""), at_once]);
    let waits = "listener \"d\" waits for extension configuration \"f\" 15 s; listener \"l\" waits for extension configuration \"f\" 15 s";
    assert_eq!(world.settle(), format!("all: a=1 k/v; {waits}"));
    assert_eq!(world.filters("k"), "suppresses");
    world.later(16);
    let settled = world.cache.settle(world.now);
    assert_eq!(settled.timed_out, [Scope::Extension("f".into())]);
    assert!(settled.waits.is_empty() && matches!(settled.outcome, Outcome::All));
    world.cache.is_reshaped = true;
    assert_eq!(world.settle(), "all: a=1 d/v k/v l/v");
    let all = |world: &World| ["l", "d", "k"].map(|name| world.filters(name));
    assert_eq!(all(&world), ["lacks", "suppresses", "suppresses"]);
    // What comes late is taken up, and what goes is gone.
    assert_eq!(world.delta(Kind::Extension, &[router_config(false)], &[]), "1 accepted");
    assert_eq!(world.settle(), "all: a=1 d/v k/v l/v");
    assert_eq!(all(&world), ["", "", ""]);
    assert_eq!(world.delta(Kind::Extension, &[], &["f", "g"]), "0 accepted");
    assert_eq!(world.settle(), "all: a=1 d/v k/v l/v");
    assert_eq!(all(&world), ["lacks", "suppresses", "suppresses"]);
    // The state of the world says nothing of what it leaves out.
    world.world(Kind::Extension, &[router_config(false)]);
    world.world(Kind::Extension, &[]);
    world.settle();
    assert_eq!(all(&world), ["", "", ""]);
}

#[test]
fn a_refusal_and_a_removal_end_the_wait() {
    for is_removed in [false, true] {
        let mut world = World::with_cluster();
        world.world(Kind::Listener, &[of_router("l", 2, "")]);
        assert!(world.settle().contains("waits"));
        match is_removed {
            true => assert_eq!(world.delta(Kind::Extension, &[], &["f"]), "0 accepted"),
            false => assert!(world.world(Kind::Extension, &[stats_config()]).starts_with("0 accepted; f refused")),
        }
        assert_eq!(world.settle(), "all: a=1 l/v");
        assert_eq!(world.filters("l"), "lacks");
        world.world(Kind::Extension, &[router_config(true)]);
        world.settle();
        assert_eq!(world.filters("l"), "suppresses");
    }
}

#[test]
fn who_names_the_same_shares_it_and_it_has_to_be_for_all() {
    let mut world = World::with_cluster();
    let both = [of_router("l", 2, ""), of_filters("m", 3, &[discovered("f", &[STATS, ROUTER], "")])];
    world.world(Kind::Listener, &both);
    assert_eq!(world.cache.wanted().iter().filter(|wanted| wanted.kind == Kind::Extension).count(), 1);
    world.world(Kind::Extension, &[router_config(true)]);
    assert_eq!(world.settle(), "all: a=1 l/v m/v");
    assert_eq!((world.filters("l"), world.filters("m")), ("suppresses".into(), "suppresses".into()));
    // A third one that it is not for changes nothing for them.
    let third = of_filters("k", 4, &[discovered("f", &[STATS], ""), router()]);
    let said = world.delta(Kind::Listener, &[third], &[]);
    assert_eq!(said, "1 accepted");
    let settled = world.settle();
    assert!(settled.starts_with("same: a=1 l/v m/v; listener \"k\" waits"), "{settled}");
    let said = world.world(Kind::Extension, &[router_config(false)]);
    assert!(said.contains("f refused") && said.contains("listener \"k\""), "{said}");
    world.delta(Kind::Listener, &[], &["k"]);
    assert_eq!(world.settle(), "all: a=1 l/v m/v", "what was refused is right now");
    assert_eq!((world.filters("l"), world.filters("m")), (String::new(), String::new()));
}

/// Guards an order that servers choose: neither may take the other down.
#[test]
fn a_listener_and_its_filter_change_their_type_in_either_order() {
    let of_stats = || of_filters("l", 2, &[discovered("f", &[STATS], ""), router()]);
    let of_cors = || of_filters("l", 2, &[discovered("f", &[&format!("{FILTERS}.cors.v3.Cors")], ""), router()]);
    let cors = || extension("f", &format!("'@type': {FILTERS}.cors.v3.Cors"));
    for listener_first in [true, false] {
        let mut world = World::with_cluster();
        world.world(Kind::Listener, &[of_stats()]);
        world.world(Kind::Extension, &[stats_config()]);
        assert_eq!(world.settle(), "all: a=1 l/v");
        if listener_first {
            assert_eq!(world.world(Kind::Listener, &[of_cors()]), "1 accepted");
            let settled = world.settle();
            assert!(
                settled.starts_with("same: a=1 l/v; listener \"l\" waits for extension configuration \"f\""),
                "{settled}"
            );
            assert_eq!(world.filters("l"), "counts");
            // A reload meanwhile leaves the one in force as it is.
            let at = world.at();
            assert!(world.cache.translate_again(true, &mut world.contexts, at).is_empty());
            assert!(world.settle().contains("listener \"l\" waits"));
            assert_eq!(world.filters("l"), "counts");
            assert_eq!(world.world(Kind::Extension, &[cors()]), "1 accepted");
        } else {
            assert!(world.world(Kind::Extension, &[cors()]).contains("f refused"));
            world.settle();
            assert_eq!(world.filters("l"), "counts");
            assert!(world.cache.take_retried().counted.is_empty());
            assert_eq!(world.world(Kind::Listener, &[of_cors()]), "1 accepted");
            // What was counted as refused is counted as accepted, once.
            let Retried { counted, extensions, .. } = world.cache.take_retried();
            let accepted = Some("1".to_owned());
            assert_eq!(counted, [Counted { scope: Scope::Extension("f".into()), accepted }]);
            assert_eq!(extensions, [("f".to_owned(), ExtensionEvent::Reload)]);
            assert!(world.cache.take_retried().counted.is_empty());
        }
        assert_eq!(world.settle(), "all: a=1 l/v");
        assert_eq!(world.filters("l"), "");
        assert!(world.cache.shown().iter().all(|shown| shown.error.is_none()));
    }
    // Whoever waits too long goes on without.
    let mut world = World::with_cluster();
    world.world(Kind::Listener, &[of_stats()]);
    world.world(Kind::Extension, &[stats_config()]);
    world.settle();
    world.world(Kind::Listener, &[of_cors()]);
    world.settle();
    assert_eq!(world.later(16).settle(), "all: a=1 l/v");
    assert_eq!(world.filters("l"), "lacks");
}

/// Guards who is in force: what came for the newer version is not for it, and must not leave its requests without a filter.
#[test]
fn the_version_in_force_keeps_its_filter_while_the_newer_one_waits_for_something_else() {
    let cors = format!("{FILTERS}.cors.v3.Cors");
    let mut world = World::with_cluster();
    world.world(Kind::Listener, &[of_filters("l", 2, &[discovered("f", &[STATS], ""), router()])]);
    world.world(Kind::Extension, &[stats_config()]);
    world.settle();
    let newer = of_filters("l", 2, &[discovered("f", &[&cors], ""), router()]).replace(&inline("a"), &rds("r"));
    assert_eq!(world.world(Kind::Listener, &[newer]), "1 accepted");
    assert_eq!(world.world(Kind::Extension, &[extension("f", &format!("'@type': {cors}"))]), "1 accepted");
    let waits = "listener \"l\" waits for route configuration \"r\" 15 s";
    assert_eq!(world.settle(), format!("same: a=1 l/v; {waits}"));
    assert_eq!(world.filters("l"), "counts");
    world.world(Kind::Routes, &[routes("r", "h", "a")]);
    assert_eq!(world.settle(), "all: a=1 l/h");
    assert_eq!(world.filters("l"), "");
}

/// Guards a listener that is refused only for what is held: nothing says it again when that is right.
#[test]
fn a_listener_that_was_refused_is_tried_again_when_its_filter_comes() {
    let cors = format!("{FILTERS}.cors.v3.Cors");
    let own = format!("{{name: s, typed_config: {{'@type': {STATS}}}}}");
    let both = discovered("f", &[STATS, &cors], "");
    for is_removed in [false, true] {
        let mut world = World::with_cluster();
        world.world(Kind::Listener, &[of_filters("l", 2, &[both.clone(), router()])]);
        world.world(Kind::Extension, &[stats_config()]);
        assert_eq!(world.settle(), "all: a=1 l/v");
        let said = world.delta(Kind::Listener, &[of_filters("m", 3, &[own.clone(), both.clone(), router()])], &[]);
        assert!(said.ends_with("the filter grpc_stats is supported once in a chain"), "{said}");
        let came = BTreeSet::from([Kind::Extension]);
        let again = |world: &mut World| {
            let at = world.at();
            world.cache.retry_after(&came, &mut world.contexts, at);
            world.settle()
        };
        assert_eq!(again(&mut world), "same: a=1 l/v");
        match is_removed {
            true => _ = world.delta(Kind::Extension, &[], &["f"]),
            false => _ = world.world(Kind::Extension, &[extension("f", &format!("'@type': {cors}"))]),
        }
        assert_eq!(again(&mut world), "all: a=1 l/v m/v");
        assert_eq!(world.filters("m"), if is_removed { "counts lacks" } else { "counts" });
        assert!(world.cache.shown().iter().all(|shown| shown.error.is_none()));
    }
}

/// Guards who warms: what is in force meanwhile is served with the filter that came.
#[test]
fn the_version_in_force_takes_up_what_comes_while_a_newer_one_waits() {
    let mut world = World::with_cluster();
    world.world(Kind::Listener, &[of_router("l", 2, "")]);
    world.world(Kind::Extension, &[router_config(true)]);
    world.settle();
    let newer = of_router("l", 2, "").replace(&inline("a"), &rds("r"));
    assert_eq!(world.world(Kind::Listener, &[newer]), "1 accepted");
    assert!(world.settle().starts_with("same: a=1 l/v; listener \"l\" waits for route configuration"));
    world.world(Kind::Extension, &[router_config(false)]);
    assert!(world.settle().starts_with("all: a=1 l/v; listener \"l\" waits for route configuration"));
    assert_eq!(world.filters("l"), "");
    world.world(Kind::Routes, &[routes("r", "h", "a")]);
    assert_eq!(world.settle(), "all: a=1 l/h");
}

/// Guards what is in force without its filter: nothing else waits because the one that is held is for another version.
#[test]
fn a_listener_that_came_back_without_its_filter_takes_up_its_routes() {
    let mut world = World::with_cluster();
    let of = |port: u16, kind: &str| {
        of_filters("l", port, &[discovered("f", &[kind], ""), router()]).replace(&inline("a"), &rds("r"))
    };
    let cors = format!("{FILTERS}.cors.v3.Cors");
    world.world(Kind::Listener, &[of(2, STATS)]);
    world.world(Kind::Routes, &[routes("r", "one", "a")]);
    world.settle();
    assert_eq!(world.later(16).settle(), "all: a=1 l/one");
    assert_eq!(world.filters("l"), "lacks");
    world.world(Kind::Listener, &[of(3, &cors)]);
    assert_eq!(world.world(Kind::Extension, &[extension("f", &format!("'@type': {cors}"))]), "1 accepted");
    let _ = world.cache.settle(world.now);
    let at = world.at();
    assert!(world.cache.refuse_listener("l", "in use".into(), &mut world.contexts, at));
    assert_eq!(world.settle(), "same: a=1 l/one", "it waits for nothing");
    assert_eq!(world.world(Kind::Routes, &[routes("r", "two", "a")]), "1 accepted");
    assert_eq!(world.settle(), "all: a=1 l/two");
    assert_eq!(world.filters("l"), "lacks");
}

#[test]
fn what_the_bootstrap_has_gets_its_filters_too() {
    let strip = |text: String, kind: &str| text.replace(&format!("'@type': t/envoy.config.{kind}, "), "");
    let a = strip(cluster("a", 1), "cluster.v3.Cluster");
    let l = strip(of_router("l", 2, ""), "listener.v3.Listener");
    let text = format!("static_resources: {{clusters: [{a}], listeners: [{l}]}}\n");
    let mut world = World::new(&text);
    assert_eq!(world.settle(), "all: a=1; listener \"l\" waits for extension configuration \"f\" 15 s");
    assert_eq!(world.world(Kind::Extension, &[router_config(true)]), "1 accepted");
    assert_eq!(world.settle(), "all: a=1 l/v");
    assert_eq!(world.filters("l"), "suppresses");
    // The file is read again: what came stays.
    world.load(&text);
    let at = world.at();
    assert!(world.cache.translate_again(true, &mut world.contexts, at).is_empty());
    assert_eq!(world.settle(), "same: a=1 l/v");
    assert_eq!(world.filters("l"), "suppresses");
    world.world(Kind::Extension, &[router_config(false)]);
    world.settle();
    assert_eq!(world.filters("l"), "");
}

/// Guards access: a file that is read again must not make a filter go by its default while what is held is right for what is in force.
#[test]
fn a_listener_of_the_bootstrap_that_cannot_have_what_is_held_stays_as_it_was() {
    let strip = |text: String, kind: &str| text.replace(&format!("'@type': t/envoy.config.{kind}, "), "");
    let a = strip(cluster("a", 1), "cluster.v3.Cluster");
    let text = |filters: &[String]| {
        let l = strip(of_filters("l", 2, filters), "listener.v3.Listener");
        format!("static_resources: {{clusters: [{a}], listeners: [{l}]}}\n")
    };
    let cors = format!("{FILTERS}.cors.v3.Cors");
    let own = format!("{{name: s, typed_config: {{'@type': {STATS}}}}}");
    for more in ["", ", default_config: {'@type': CORS}, apply_default_config_without_warming: true"] {
        let comes = discovered("f", &[STATS, &cors], &more.replace("CORS", &cors));
        let mut world = World::new(&text(&[comes.clone(), router()]));
        world.settle();
        assert_eq!(world.world(Kind::Extension, &[stats_config()]), "1 accepted");
        world.settle();
        assert_eq!(world.filters("l"), "counts");
        world.load(&text(&[own.clone(), comes.clone(), router()]).replace("name: v,", "name: w,"));
        let at = world.at();
        let refused = world.cache.translate_again(true, &mut world.contexts, at);
        assert_eq!(refused.len(), 1, "{more}: {refused:?}");
        for _ in 0..2 {
            let settled = world.later(16).settle();
            let expect = "same: a=1 l/v; listener \"l\" waits for another extension configuration \"f\" for ever";
            assert_eq!(settled, expect, "{more}");
            assert_eq!(world.filters("l"), "counts", "{more}");
        }
        // The right one comes.
        let right = extension("f", &format!("'@type': {cors}"));
        assert_eq!(world.world(Kind::Extension, &[right]), "1 accepted", "{more}");
        assert_eq!(world.settle(), "all: a=1 l/w", "{more}");
    }
}

#[test]
fn what_a_listener_may_not_say() {
    let default = |kind: &str| format!(", default_config: {{'@type': {kind}}}");
    let wrong = [
        (
            of_router("l", 2, ", apply_default_config_without_warming: true"),
            "apply_default_config_without_warming: filter config f applied without warming but has no default config",
        ),
        (
            of_router("l", 2, &default(STATS)),
            "default_config: filter config has type URL envoy.extensions.filters.http.grpc_stats.v3.FilterConfig but expect \
             envoy.extensions.filters.http.router.v3.Router",
        ),
        (
            of_filters("l", 2, &[discovered("f", &[ROUTER], &default(ROUTER)), router()]),
            "default_config: the router must be the last filter of its chain, and this one is not",
        ),
        (
            of_filters("l", 2, &[discovered("f", &[&format!("{FILTERS}.rbac.v3.RBAC")], ""), router()]),
            "type_urls[0]: envoy.extensions.filters.http.rbac.v3.RBAC is not supported yet",
        ),
        (
            of_router("l", 2, &format!(", default_config: {{'@type': {ROUTER}, dynamic_stats: false}}")),
            "default_config.dynamic_stats: not supported yet",
        ),
    ];
    for (wrong, expect) in wrong {
        let said = World::with_cluster().world(Kind::Listener, &[wrong]);
        let expect = format!("http_filters[0].config_discovery.{expect}");
        assert!(said.starts_with("0 accepted; l refused: ") && said.ends_with(&expect), "{said}");
    }
    let said =
        World::with_cluster().world(Kind::Listener, &[of_filters("l", 2, &[router(), discovered("f", &[ROUTER], "")])]);
    assert!(said.ends_with("http_filters: must be the router, envoy.filters.http.router, once"), "{said}");
}
