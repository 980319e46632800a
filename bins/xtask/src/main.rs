//! The project's chores: `cargo xtask bench-compare`, `ci`, `fuzz`, `judge`, `measure`, `setup`, `tidy`.
//!
//! Imports nothing of ours: a judge that shared code with what it judges would share its mistakes, so the HTTP/1 reader
//! in `lab` is a second, independent one. Chores start the built command and look at it from outside.
// A chore speaks on standard output; that is its whole purpose.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench_compare;
mod ci;
mod command;
mod fuzz;
mod judge;
mod lab;
mod measure;
mod setup;
mod step;
mod tidy;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask bench-compare BASE [FILTER]   what a change did to the benches' instructions [--bench SUITE] [--fail-if-above PCT]
cargo xtask ci                            everything that must hold, judges at their sample
cargo xtask judge NAME|all [--sample]     judges at their full counts [--seed N] [--count N] [--io ring|poll|envoy]
cargo xtask judge list                    their names, and what each shows
cargo xtask measure NAME|all|list         figures for people, as Markdown tables [--rounds N] [--seconds N]
cargo xtask fuzz NAME|all                 parsers under mutated inputs [--executions N] [--seconds N] [--seed N] [--coverage]
cargo xtask setup                         install what the judges need (a real Envoy, tools of the distribution)
cargo xtask tidy                          formatting, lints, import rules, file lengths, words that must not be committed
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["bench-compare", rest @ ..] => bench_compare::run(rest),
        ["ci"] => ci::run(),
        ["tidy"] => tidy::run(),
        ["setup"] => setup::run(),
        ["judge", "list"] => {
            judge::list();
            Ok(())
        }
        ["measure", "list"] => {
            measure::list();
            Ok(())
        }
        ["measure", rest @ ..] if !rest.is_empty() => measure::run(rest),
        ["fuzz", rest @ ..] if !rest.is_empty() => fuzz::run(rest),
        ["part", rest @ ..] => judge::part(rest),
        ["judge", rest @ ..] if !rest.is_empty() => judge::run(rest),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
