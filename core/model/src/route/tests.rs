//! The look-up as a whole: by rows, against trying one route after the other, and its cost.

use std::sync::Arc;

use super::domain::HOST_BYTES_MAX;
use super::request::tests::Sample;
use super::*;

fn route(name: String, rule: RouteMatch) -> Route {
    let action = Action::Direct(Arc::new(DirectResponse { status: 200, body: vec![] }));
    Route { name, rule, action, headers: None }
}

fn host(name: &str, domains: &[&str], paths: &[PathMatch]) -> VirtualHost {
    let domains = domains.iter().map(|text| Domain::parse(text).expect("a domain")).collect();
    let routes = paths.iter().enumerate();
    let routes = routes.map(|(at, path)| route(format!("{name}{at}"), RouteMatch::of_path(path.clone()))).collect();
    VirtualHost::new(name.into(), domains, routes)
}

fn prefix(text: &str) -> PathMatch {
    PathMatch::Prefix(text.into())
}

fn table() -> RouteConfiguration {
    let all = || vec![prefix("/")];
    RouteConfiguration::new(
        "r".into(),
        vec![
            host("exact", &["a.example.org", "b.example.org:8080"], &all()),
            host("short", &["*.org"], &all()),
            host("long", &["*.example.org", "*-dash.org"], &all()),
            host("pre", &["api.*"], &all()),
            host("longer", &["api.t*"], &all()),
            host("any", &["*"], &[PathMatch::Exact("/x".into()), prefix("/x"), prefix("/y/")]),
        ],
    )
    .expect("no domain twice")
}

fn find<'t>(table: &'t RouteConfiguration, authority: &str, path: &str) -> Option<&'t str> {
    let [authority, path]: [&'static str; 2] = [authority, path].map(|text| &*text.to_owned().leak());
    let request = Sample { authority, path, ..Sample::default() };
    match table.route(&request, 0, &mut Caches::default()) {
        LookUp::Found(found) => Some(found.route.name.as_str()),
        LookUp::RequiresTls => Some("https"),
        LookUp::Nothing => None,
    }
}

#[track_caller]
fn check(authority: &str, path: &str, expect: Option<&str>) {
    assert_eq!(find(&table(), authority, path), expect, "{authority} {path}");
}

#[test]
fn hosts_exact_before_longest_suffix_before_longest_prefix_before_any() {
    check("a.example.org", "/", Some("exact0"));
    check("A.Example.ORG", "/", Some("exact0"));
    check("b.example.org:8080", "/", Some("exact0"));
    check("b.example.org", "/", Some("long0"));
    check("x.y.example.org", "/", Some("long0"));
    check("x-dash.org", "/", Some("long0"));
    check(".example.org", "/", Some("short0"));
    check("api.example.org", "/", Some("long0"));
    check("api.test", "/", Some("longer0"));
    check("api.t", "/", Some("pre0"));
    check("api.rest", "/", Some("pre0"));
    check("api.", "/", None);
    check("elsewhere", "/x", Some("any0"));
}

#[test]
fn a_host_for_tls_alone_sends_elsewhere_whatever_the_path() {
    let mut secure = host("s", &["s.test"], &[prefix("/x")]);
    secure.require_tls = RequireTls::All;
    let table = RouteConfiguration::new("r".into(), vec![secure]).expect("one domain");
    assert_eq!(["/x", "/y"].map(|path| find(&table, "s.test", path)), [Some("https"); 2]);
    let fields = &[("x-forwarded-proto", "https")];
    let request = Sample { authority: "s.test", path: "/x", fields, ..Sample::default() };
    assert!(matches!(table.route(&request, 0, &mut Caches::default()), LookUp::Found(_)));
}

#[test]
fn a_port_counts_unless_it_is_to_be_ignored() {
    let mut table = table();
    assert_eq!(find(&table, "a.example.org:80", "/x"), Some("any0"));
    table.ignore_port = true;
    assert_eq!(find(&table, "a.example.org:80", "/x"), Some("exact0"));
    assert_eq!(find(&table, "b.example.org:8080", "/x"), Some("long0"));
}

#[test]
fn the_first_path_that_matches_wins_and_the_query_does_not_count() {
    check("h", "/x", Some("any0"));
    check("h", "/x?q=/y/", Some("any0"));
    check("h", "/xy", Some("any1"));
    check("h", "/y", None);
    check("h", "/y/", Some("any2"));
    check("h", "/X", None);
    check("h", "", None);
}

#[test]
fn a_host_too_long_to_be_a_name_matches_only_any() {
    let long = "a".repeat(HOST_BYTES_MAX) + ".example.org";
    check(&long, "/x", Some("any0"));
}

#[test]
fn a_domain_claimed_twice_is_an_error() {
    let twice = vec![host("a", &["x"], &[]), host("b", &["y", "X"], &[])];
    assert_eq!(RouteConfiguration::new("r".into(), twice), Err((Domain::Exact("x".into()), 1)));
    let twice = vec![host("a", &["*.x", "*.x"], &[])];
    assert_eq!(RouteConfiguration::new("r".into(), twice), Err((Domain::Suffix(".x".into()), 0)));
}

/// xorshift64: the same numbers from the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// A path of few letters, so that many begin each other.
    fn path(&mut self) -> String {
        let size = self.below(6);
        (0..size).fold("/".to_owned(), |path, _| path + ["a", "b", "A", "/", "ab"][self.below(5)])
    }

    fn rule(&mut self, regexes: &mut Regexes) -> RouteMatch {
        let text = self.path();
        let path = match self.below(8) {
            0..3 => PathMatch::Prefix(text),
            3..5 => PathMatch::Exact(text),
            5 => PathMatch::SeparatedPrefix(text),
            _ => PathMatch::Regex(regexes.whole(&format!("{text}[ab]*")).expect("a pattern")),
        };
        let conditions = (self.below(3) == 0).then(|| {
            let fraction = Some(Fraction { numerator: self.below(101) as u32, denominator: 100 });
            Box::new(Conditions { fraction, ..Conditions::default() })
        });
        RouteMatch { path, ignore_case: self.below(4) == 0, conditions }
    }
}

/// One route, as Envoy tries it.
fn naive(rule: &RouteMatch, path: &str, chance: u64, caches: &mut Caches) -> bool {
    let same = |one: &str, other: &str| if rule.ignore_case { one.eq_ignore_ascii_case(other) } else { one == other };
    let begins = |prefix: &str| path.get(..prefix.len()).is_some_and(|start| same(start, prefix));
    let matches = match &rule.path {
        PathMatch::Prefix(prefix) => begins(prefix),
        PathMatch::Exact(exact) => same(path, exact),
        PathMatch::SeparatedPrefix(prefix) => same(path, prefix) || begins(&format!("{prefix}/")),
        PathMatch::Regex(regex) => regex.matches(path.as_bytes(), &mut caches.regexes),
        PathMatch::Connect => false,
    };
    matches && rule.conditions.as_ref().is_none_or(|conditions| conditions.fraction.expect("one").holds(chance))
}

#[test]
fn the_answer_is_that_of_trying_one_after_the_other() {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut matched = 0;
    for table in 0..400 {
        let mut regexes = Regexes::default();
        let count = chance.below(if table % 2 == 0 { 6 } else { 40 });
        let rules: Vec<RouteMatch> = (0..count).map(|_| chance.rule(&mut regexes)).collect();
        let routes = rules.iter().enumerate().map(|(at, rule)| route(at.to_string(), rule.clone())).collect();
        let host = VirtualHost::new("h".into(), vec![Domain::Any], routes);
        let mut caches = Caches::default();
        for _ in 0..50 {
            let path: &'static str = Box::leak(chance.path().into_boxed_str());
            let number = chance.below(1000) as u64;
            let request = Sample { path, ..Sample::default() };
            let found = host.find(&request, number, &mut caches).map(|route| host.routes[route as usize].name.clone());
            let expect = rules.iter().position(|rule| naive(rule, path, number, &mut caches));
            matched += usize::from(expect.is_some());
            assert_eq!(found, expect.map(|at| at.to_string()), "table {table}, {path}, {number}: {rules:#?}");
        }
    }
    assert!((5_000..19_000).contains(&matched), "both outcomes are tried: {matched} of 20000");
}

#[test]
fn ten_thousand_routes_cost_hardly_more_steps_than_ten() {
    let steps = |count: usize, path: &str| {
        let paths: Vec<PathMatch> = (0..count).map(|at| prefix(&format!("/service{at}/"))).collect();
        host("h", &["*"], &paths).index.steps(path.as_bytes())
    };
    for at in [0, 5, 9] {
        let path = format!("/service{at}/x");
        assert!(steps(10_000, &path) <= steps(10, &path) + 1, "{path}");
    }
    assert!(steps(10_000, "/service9876/x") <= 6);
}

#[test]
fn mutations_come_from_the_route_outwards_unless_the_most_specific_wins() {
    let level = |name: &str| {
        let mutation = HeaderMutation { remove: vec![name.into()], ..HeaderMutation::default() };
        Some(Box::new(HeaderMutations { request: mutation, ..HeaderMutations::default() }))
    };
    let mut inner = host("h", &["*"], &[prefix("/")]);
    inner.headers = level("host");
    inner.routes[0].headers = level("route");
    let mut table = RouteConfiguration::new("r".into(), vec![inner]).expect("one domain");
    table.headers = level("configuration");
    let weighted = WeightedCluster { headers: level("weighted"), ..WeightedCluster::new(crate::ClusterId(0), 1) };
    let order = |table: &RouteConfiguration, weighted| {
        let found = table.at(Position { host: 0, route: 0 });
        let names = found.mutations(weighted).map(|level| level.request.remove[0].clone());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order(&table, Some(&weighted)), "weighted route host configuration");
    assert_eq!(order(&table, None), "route host configuration");
    table.most_specific_wins = true;
    assert_eq!(order(&table, Some(&weighted)), "configuration host route weighted");
}
