//! Time per message of the same relay on each runtime: `cargo bench -p ringway-benches --bench relay`.
//!
//! Shorter and coarser than `relay-table`, which makes the tables of docs/decisions/0006: here are rows to compare a change with
//! the state before it. Each server is a process of its own on CPU 0; the load is this thread, on CPU 1.
#![allow(missing_docs)] // criterion's macros make public items without any
#![allow(clippy::print_stdout, reason = "a bench says what it left out")]

use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use ringway_benches::relay::load::Step;
use ringway_benches::relay::rows::ROWS;
use ringway_benches::relay::runtimes::Runtime;
use ringway_benches::relay::server::{LOAD_CPU, Programs, Watch, measure};
use ringway_benches::relay::setup::Scene;

/// Messages of one sample at least: below, what a start of a process leaves behind (page faults, cold caches) is seen.
const MESSAGES_MIN: u64 = 3_000;

fn relay(criterion: &mut Criterion) {
    ringway_runtime::raise_descriptor_limit().expect("no privilege is needed");
    if ringway_runtime::cpus::pin_current_thread(LOAD_CPU).is_err() {
        println!("one CPU only: the load shares it with the server");
    }
    let relay_server = Path::new(env!("CARGO_BIN_EXE_relay-server"));
    let folder = relay_server.parent().expect("a program stands in a folder");
    let programs = Programs::new(relay_server, folder);
    if let Err(why) = &programs.glommio {
        println!("left out: {why}");
    }
    // The other size of message is in relay-table; criterion's share of the time is limited (five minutes in all).
    let rows = ROWS.iter().filter(|row| row.scene != Scene::Echo || row.message_size == 64);
    for row in rows {
        let mut group = criterion.benchmark_group(row.name());
        group.throughput(Throughput::Elements(1)).sampling_mode(SamplingMode::Flat);
        group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(1500));
        for runtime in Runtime::ALL {
            let Ok(program) = programs.of(runtime) else { continue };
            group.bench_function(BenchmarkId::from_parameter(runtime), |bencher| {
                bencher.iter_custom(|messages| {
                    let counted = messages.max(MESSAGES_MIN);
                    let warm_up = Step::Exchange(MESSAGES_MIN);
                    let steps = [Step::Connect(row.connections), warm_up, Step::Exchange(counted)];
                    let samples =
                        measure(program, runtime, row, &Watch::Nothing, &steps).expect("served, and ended well");
                    let [.., before, after] = samples.as_slice() else { unreachable!("a sample a step") };
                    (after.at - before.at).mul_f64(messages as f64 / counted as f64)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, relay);
criterion_main!(benches);
