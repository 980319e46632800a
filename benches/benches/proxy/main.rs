//! The whole proxy over loopback, requests and bytes a second: `cargo bench -p ringway-benches --bench proxy`.
//!
//! Engine, load and origin are threads of this process. One worker has CPU 0 and load and origin share CPU 1; with two workers the second
//! shares CPU 1 with them, so that on a host of two CPUs the rows of two show what sharing costs, not what a second core brings.
#![allow(clippy::print_stdout, reason = "a bench says what it left out")]

mod http2;
mod load;
mod origin;
#[path = "../started/mod.rs"]
mod started;

use std::process::ExitCode;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use load::{Load, Plan, Speech};
use origin::Answer;
use ringway_benches::case::Asked;
use ringway_control_client::Builder;
use ringway_engine::Engine;
use ringway_runtime::IoChoice;
use started::{LISTENER, commit, read, start};

/// Per-thread heaps, as the product has them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if Asked::of(std::env::args().skip(1)) != Asked::Timed {
        println!("nothing here is counted: it is made of threads and of the kernel");
        return ExitCode::FAILURE;
    }
    ringway_runtime::raise_descriptor_limit().expect("no privilege is needed");
    let mut criterion = Criterion::default().configure_from_args();
    let load = Load::start();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for io in [IoChoice::Ring, IoChoice::Poll] {
        for workers in [1, 2] {
            let pinned: Vec<Option<usize>> = (0..workers).map(|at| (at < cpus).then_some(at)).collect();
            match start(io, &pinned) {
                Ok(engine) => time(&mut criterion, engine, &load, &format!("proxy, {io}, {workers} workers")),
                Err(error) => println!("left out: {workers} workers on {io}: {error}"),
            }
        }
    }
    criterion.final_summary();
    ExitCode::SUCCESS
}

fn time(criterion: &mut Criterion, mut engine: Engine, load: &Load, name: &str) {
    let all = ALL.replace("ORIGIN", &load.origin.port().to_string());
    let bootstrap = read(&format!("{LISTENER}{all}"));
    commit(&mut engine, Builder::new().build(&bootstrap).snapshot().clone());
    let address = engine.listeners()[0].1[0].ip().expect("TCP");
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(2_000));
    for speech in [Speech::Http1, Speech::Http2] {
        for answer in [Answer::Small, Answer::Large] {
            group.throughput(match answer {
                Answer::Small => Throughput::Elements(1),
                Answer::Large => Throughput::Bytes(answer.size() as u64),
            });
            let plan = |requests| Plan { address, speech, answer, requests };
            group.bench_function(format!("{}/{}", speech.name(), answer.name()), |bencher| {
                bencher.iter_custom(|requests| {
                    let counted = requests.max(answer.requests_min());
                    load.drive(plan(counted)).mul_f64(requests as f64 / counted as f64)
                });
            });
        }
    }
    group.finish();
    engine.stop();
}

/// One route and one cluster behind the listener.
const ALL: &str = "              - match: {prefix: /}
                route: {cluster: origin}
  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ORIGIN}}}
";
