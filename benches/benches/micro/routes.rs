//! The look-up of a route, for tables of 10 to 10,000: it should cost what the request's path and host are long.

use std::hint::black_box;
use std::sync::Arc;

use ringway_benches::case::Case;
use ringway_model::{
    Action, Caches, Conditions, DirectResponse, Domain, HeaderMatcher, HeaderTest, LookUp, PathMatch, Regexes,
    RequestView, Route, RouteConfiguration, RouteMatch, Subject, TextMatcher, TextPattern, VirtualHost,
};

const COUNTS: [usize; 3] = [10, 1_000, 10_000];
/// Each expression of a list is tried in its turn, so that longer lists say nothing more.
const EXPRESSIONS: [usize; 2] = [10, 100];

/// A GET.
struct Get {
    authority: String,
    path: String,
    /// Of the field `x-shard`.
    shard: String,
}

impl RequestView for Get {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn authority(&self) -> &[u8] {
        self.authority.as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn scheme(&self) -> &[u8] {
        b"http"
    }

    fn values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
        [("accept", "*/*"), ("user-agent", "bench/1"), ("x-shard", &self.shard)]
            .into_iter()
            .filter(move |(other, _)| *other == name)
            .map(|(_, value)| value.as_bytes())
    }
}

/// What the middle one of a table is found by.
type Table = fn(usize) -> (RouteConfiguration, Get);

/// The suite.
pub(crate) fn cases() -> Vec<Case> {
    let rows: [(&str, Table, &[usize]); 8] = [
        ("prefix, the middle one", prefixes, &COUNTS),
        ("path, the middle one", paths, &COUNTS),
        ("none of the prefixes", none, &COUNTS),
        ("expression, the middle one", expressions, &EXPRESSIONS),
        ("one path, and a field of the middle one", fields, &COUNTS[..2]),
        ("host of the middle one", exact_hosts, &COUNTS),
        ("*.host of the middle one", suffix_hosts, &COUNTS),
        ("host.* of the middle one", prefix_hosts, &COUNTS),
    ];
    let case = |name: &'static str, table: Table, count: usize| {
        Case::new("route", format!("{name}/{count}"), move || {
            let (table, request) = table(count);
            let mut caches = Caches::default();
            let is_found = !name.starts_with("none");
            assert_eq!(matches!(table.route(&request, 0, &mut caches), LookUp::Found(_)), is_found, "{name}");
            move || {
                _ = black_box(matches!(black_box(&table).route(black_box(&request), 0, &mut caches), LookUp::Found(_)))
            }
        })
    };
    rows.into_iter()
        .flat_map(|(name, table, counts)| counts.iter().map(move |&count| case(name, table, count)))
        .collect()
}

fn get(path: String) -> Get {
    Get { authority: "shop.example.org".into(), path, shard: String::new() }
}

fn route(rule: RouteMatch) -> Route {
    let action = Action::Direct(Arc::new(DirectResponse { status: 200, body: Vec::new() }));
    Route { name: String::new(), rule, action, headers: None }
}

/// One virtual host.
fn table(rules: impl Iterator<Item = RouteMatch>) -> RouteConfiguration {
    let host = VirtualHost::new("v".into(), vec![Domain::Any], rules.map(route).collect());
    RouteConfiguration::new("r".into(), vec![host]).expect("one domain")
}

fn prefixes(count: usize) -> (RouteConfiguration, Get) {
    let rule = |at| RouteMatch::of_path(PathMatch::Prefix(format!("/service{at}/")));
    (table((0..count).map(rule)), get(format!("/service{}/x", count / 2)))
}

fn paths(count: usize) -> (RouteConfiguration, Get) {
    let rule = |at| RouteMatch::of_path(PathMatch::Exact(format!("/service{at}/x")));
    (table((0..count).map(rule)), get(format!("/service{}/x", count / 2)))
}

fn none(count: usize) -> (RouteConfiguration, Get) {
    (prefixes(count).0, get("/service/elsewhere".into()))
}

fn expressions(count: usize) -> (RouteConfiguration, Get) {
    let mut regexes = Regexes::default();
    let mut rule = |at| {
        let pattern = format!("/service{at}/[a-z]+");
        RouteMatch::of_path(PathMatch::Regex(regexes.whole(&pattern).expect("a pattern")))
    };
    (table((0..count).map(&mut rule)), get(format!("/service{}/x", count / 2)))
}

/// Routes of one path: each but the middle one asks for another value of a field.
fn fields(count: usize) -> (RouteConfiguration, Get) {
    let rule = |at: usize| {
        let matcher = HeaderMatcher {
            subject: Subject::parse("x-shard"),
            test: HeaderTest::Text(TextMatcher { pattern: TextPattern::Exact(at.to_string()), ignore_case: false }),
            invert: false,
            missing_is_empty: false,
        };
        let conditions = Conditions { headers: vec![matcher], ..Conditions::default() };
        RouteMatch {
            conditions: Some(Box::new(conditions)),
            ..RouteMatch::of_path(PathMatch::Prefix("/items/".into()))
        }
    };
    (table((0..count).map(rule)), Get { shard: (count / 2).to_string(), ..get("/items/42".into()) })
}

fn hosts(count: usize, domain: impl Fn(usize) -> String, authority: String) -> (RouteConfiguration, Get) {
    let host = |at| {
        let routes = vec![route(RouteMatch::of_path(PathMatch::Prefix("/".into())))];
        VirtualHost::new(format!("v{at}"), vec![Domain::parse(&domain(at)).expect("a domain")], routes)
    };
    let table = RouteConfiguration::new("r".into(), (0..count).map(host).collect()).expect("different domains");
    (table, Get { authority, ..get("/items/42".into()) })
}

fn exact_hosts(count: usize) -> (RouteConfiguration, Get) {
    hosts(count, |at| format!("shop{at}.example.org"), format!("shop{}.example.org", count / 2))
}

fn suffix_hosts(count: usize) -> (RouteConfiguration, Get) {
    hosts(count, |at| format!("*.shop{at}.example.org"), format!("eu.shop{}.example.org", count / 2))
}

fn prefix_hosts(count: usize) -> (RouteConfiguration, Get) {
    hosts(count, |at| format!("shop{at}.example.*"), format!("shop{}.example.org", count / 2))
}
