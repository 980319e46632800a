//! A snapshot in force on all cores: from staging until each worker has said that it has adopted it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use ringway_control_client::Builder;
use ringway_engine::Engine;
use ringway_model::Snapshot;
use ringway_runtime::IoChoice;

use crate::endpoints_at;
use crate::started::{commit, read, start};
use crate::texts::{Endpoints, bootstrap};

/// Commits of one and of all clusters, for engines of one and two workers.
pub(crate) fn commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    for workers in [1, 2] {
        for count in crate::COUNTS {
            let name = format!("the endpoints of one cluster, {workers} workers/{count}");
            time(&mut group, &name, workers, || one_changes(count));
        }
        let name = format!("the endpoints of all clusters, {workers} workers/1000");
        time(&mut group, &name, workers, || all_change(1_000));
    }
    group.finish();
}

/// The next snapshot, each time.
type Next = Box<dyn FnMut() -> Arc<Snapshot>>;

fn time(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, workers: usize, make: impl Fn() -> Next) {
    let mut made = None;
    group.bench_function(name, |bencher| {
        let (engine, next) = made.get_or_insert_with(|| {
            let mut engine = start(IoChoice::Auto, &vec![None; workers]).unwrap_or_else(|error| panic!("{error}"));
            let mut next = make();
            commit(&mut engine, next());
            (engine, next)
        });
        bencher.iter_custom(|commits| (0..commits).map(|_| timed(engine, next())).sum());
    });
    if let Some((engine, _)) = made {
        engine.stop();
    }
}

fn timed(engine: &mut Engine, snapshot: Arc<Snapshot>) -> Duration {
    let began = Instant::now();
    commit(engine, snapshot);
    let took = began.elapsed();
    engine.sweep();
    took
}

fn one_changes(count: usize) -> Next {
    let mut builder = Builder::new();
    let mut first = Some(builder.build(&read(&bootstrap(count, Endpoints::Static(80)))).snapshot().clone());
    let mut versions = [81, 82].map(endpoints_at);
    Box::new(move || {
        first.take().unwrap_or_else(|| {
            versions.swap(0, 1);
            let changed = BTreeMap::from([("c0".to_owned(), versions[0].clone())]);
            builder.with_endpoints(changed).snapshot().clone()
        })
    })
}

fn all_change(count: usize) -> Next {
    let mut builder = Builder::new();
    let mut versions = [80, 81].map(|port| read(&bootstrap(count, Endpoints::Static(port))));
    Box::new(move || {
        versions.swap(0, 1);
        builder.build(&versions[0]).snapshot().clone()
    })
}
