//! A suite's program: criterion, or what `ringway_benches::case` answers.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use ringway_benches::case::{Asked, Case, Work, answer};

/// Per-thread heaps, as the product has them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Resamplings of criterion's statistics. Its own hundred thousand take as long as a measurement here.
const RESAMPLES: usize = 10_000;

/// Samples of a case, and of one that takes long: criterion's least.
const SAMPLES: usize = 20;
const SAMPLES_MIN: usize = 10;

/// The program of the suite `cases`, and what else it has that is only timed.
pub(crate) fn main(cases: &[Case], only_timed: impl FnOnce(&mut Criterion)) -> ExitCode {
    let asked = Asked::of(std::env::args().skip(1));
    if asked == Asked::Timed {
        let mut criterion = criterion();
        cases.chunk_by(|one, next| one.group == next.group).for_each(|group| time(group, &mut criterion));
        only_timed(&mut criterion);
        criterion.final_summary();
        return ExitCode::SUCCESS;
    }
    match answer(&asked, cases, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Criterion with short times: `cargo bench` has 15 minutes for all suites. Its own arguments go before them.
fn criterion() -> Criterion {
    Criterion::default()
        .nresamples(RESAMPLES)
        .sample_size(SAMPLES)
        .warm_up_time(Duration::from_millis(150))
        .measurement_time(Duration::from_millis(600))
        .configure_from_args()
}

/// Times the cases of one group.
fn time(cases: &[Case], criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(cases[0].group);
    for case in cases {
        // A throughput holds for what comes behind it.
        group.throughput(match case.work() {
            Some(Work::Bytes(bytes)) => Throughput::Bytes(bytes),
            Some(Work::Elements(count)) => Throughput::Elements(count),
            None => Throughput::Elements(1),
        });
        // The dear ones come last.
        if case.is_dear {
            group.sample_size(SAMPLES_MIN);
        }
        let mut body = None;
        group.bench_function(&case.name, |bencher| bencher.iter(body.get_or_insert_with(|| case.body())));
    }
    group.finish();
}
