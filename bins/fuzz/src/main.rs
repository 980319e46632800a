//! Fuzzes the parsers at full speed: `ringway-fuzz NAME EXECUTIONS SECONDS SEED FOLDER...`.
//!
//! An input of the corpus, changed at random, goes through a parser's quick body, and one in [`THOROUGH`] through its thorough
//! one as well. A body gives the shape of its answer; an input with a new shape joins the corpus of the run, so that later
//! ones begin from there. It writes nothing: who wants coverage builds it with `-C instrument-coverage`.
//!
//! Invariant: a run is repeated by its seed. A body that panics ends the process, and the input has been printed.
// A tool for the command line: it speaks on standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]
#![forbid(unsafe_code)]

mod input;
mod targets;

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use input::{Mutator, Trying};
use targets::{TARGETS, Target};

/// One execution in so many is a thorough one: it plays the input in every way and costs some fifty quick ones.
const THOROUGH: u64 = 128;
/// Inputs that a run keeps because their answer had a new shape: 512 bytes each at most.
const KEPT_MAX: usize = 20_000;
/// The clock is looked at once in so many executions.
const ROUND: u64 = 1_024;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, executions, seconds, seed, folders @ ..] = words.as_slice() else {
        eprintln!("ringway-fuzz NAME EXECUTIONS SECONDS SEED CORPUS_FOLDER");
        for target in TARGETS {
            println!("{}", target.name);
        }
        return ExitCode::FAILURE;
    };
    let numbers = [executions, seconds, seed].map(|word| word.parse::<u64>());
    let (Some(target), [Ok(executions), Ok(seconds), Ok(seed)]) =
        (TARGETS.iter().find(|target| target.name == name), numbers)
    else {
        eprintln!("no target {name}, or a number that is none");
        return ExitCode::FAILURE;
    };
    let mut corpus: Vec<Vec<u8>> = target.inputs.iter().map(|text| text.as_bytes().to_vec()).collect();
    for folder in folders {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = files.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        paths.sort_unstable(); // the file system's order is chance, the run's must not be
        corpus.extend(paths.iter().filter_map(|path| std::fs::read(path).ok()));
    }
    if corpus.is_empty() {
        eprintln!("{name}: no corpus in {folders:?}");
        return ExitCode::FAILURE;
    }
    run(target, corpus, executions, Duration::from_secs(seconds), seed);
    ExitCode::SUCCESS
}

/// Runs until there were so many executions or the time has passed, and says what there was.
// How fast this host is is what a run measures; a fuzzer has no clock to be given.
#[allow(clippy::disallowed_methods)]
fn run(target: &Target, mut corpus: Vec<Vec<u8>>, executions: u64, limit: Duration, seed: u64) {
    let began = Instant::now();
    let read = corpus.len();
    let mut shapes = HashSet::new();
    let mut mutator = Mutator::new(seed);
    let mut quick = (target.quick)();
    let mut thorough = 0;
    for input in &corpus {
        let _trying = Trying::new(target.name, input);
        shapes.insert(quick(input));
        (target.thorough)(input);
    }
    let mut done = 0;
    while done < executions && began.elapsed() < limit {
        for _ in 0..ROUND.min(executions - done) {
            let input = mutator.next(&corpus);
            let _trying = Trying::new(target.name, input);
            let shape = quick(input);
            done += 1;
            if done % THOROUGH == 0 {
                (target.thorough)(input);
                thorough += 1;
            }
            if shapes.insert(shape) && corpus.len() < read + KEPT_MAX {
                let kept = input.to_vec();
                drop(_trying);
                corpus.push(kept);
            }
        }
    }
    let (seconds, busy) = (began.elapsed().as_secs_f64(), cpu_seconds().unwrap_or(f64::NAN));
    println!(
        "{} executions {done} thorough {thorough} seconds {seconds:.1} rate {:.0} a CPU second {:.0} shapes {} corpus {read}",
        target.name,
        done as f64 / seconds,
        done as f64 / busy,
        shapes.len(),
    );
}

/// What this process was given of a CPU: a rate by it means the same on a busy host.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    text.split(' ').next()?.parse::<f64>().ok().map(|nanos| nanos / 1e9)
}
