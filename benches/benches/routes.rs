//! The look-up of a route, for tables of 10 to 10,000: it should cost what the request's path is long.
#![allow(missing_docs, reason = "criterion's macros write functions")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringway_model::{
    Action, Caches, DirectResponse, Domain, LookUp, PathMatch, Regexes, RequestView, Route, RouteConfiguration,
    RouteMatch, VirtualHost,
};

/// A GET of this path.
struct Get(String);

impl RequestView for Get {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn authority(&self) -> &[u8] {
        b"shop.example.org"
    }

    fn path(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn scheme(&self) -> &[u8] {
        b"http"
    }

    fn values<'r>(&'r self, _name: &'r str) -> impl Iterator<Item = &'r [u8]> {
        std::iter::empty()
    }
}

fn table(count: usize, mut path: impl FnMut(usize) -> PathMatch) -> RouteConfiguration {
    let routes = (0..count).map(|at| Route {
        name: String::new(),
        rule: RouteMatch::of_path(path(at)),
        action: Action::Direct(Arc::new(DirectResponse { status: 200, body: Vec::new() })),
        headers: None,
    });
    let host = VirtualHost::new("v".into(), vec![Domain::Any], routes.collect());
    RouteConfiguration::new("r".into(), vec![host]).expect("one domain")
}

fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for count in [10usize, 1_000, 10_000] {
        let tables = [
            ("prefix, the middle one", table(count, |at| PathMatch::Prefix(format!("/service{at}/")))),
            ("path, the middle one", table(count, |at| PathMatch::Exact(format!("/service{at}/x")))),
        ];
        for (name, table) in tables {
            let request = Get(format!("/service{}/x", count / 2));
            let mut caches = Caches::default();
            group.bench_with_input(BenchmarkId::new(name, count), &request, |bencher, request| {
                bencher.iter(|| matches!(black_box(table.route(black_box(request), 0, &mut caches)), LookUp::Found(_)));
            });
        }
    }
    let mut regexes = Regexes::default();
    let table = table(10, |at| PathMatch::Regex(regexes.whole(&format!("/service{at}/[a-z]+")).expect("a pattern")));
    let mut caches = Caches::default();
    group.bench_function("expression, the sixth of ten", |bencher| {
        let request = Get("/service5/x".into());
        bencher.iter(|| matches!(black_box(table.route(black_box(&request), 0, &mut caches)), LookUp::Found(_)));
    });
    group.finish();
}

criterion_group!(benches, routes);
criterion_main!(benches);
