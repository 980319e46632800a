//! `cargo xtask bench-compare BASE [FILTER] [--bench SUITE] [--fail-if-above PCT]`: what a change did to the instructions of the micro benches.
//!
//! Builds the benches of BASE, any revision, in a worktree of its own below `target/bench-compare`, which stays so that the next run builds
//! less, and those of the checkout as it is. Each case of both is counted by callgrind and stands in one table. Time plays no part,
//! so that a busy host says the same as an idle one. Invariant: BASE and the checkout are counted by the same rules: those of the checkout.

mod callgrind;
mod side;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::thread;

use side::{Program, Side};
pub(crate) use table::Row;
use table::Table;

use crate::{setup, workspace};

/// Benches that are lists of cases; the others are made of threads and of the kernel, and are only timed.
const SUITES: [&str; 2] = ["micro", "config"];

/// What is asked for.
#[derive(Debug, PartialEq)]
struct Wish {
    base: String,
    /// A part of the name; of every case where it is empty.
    filter: String,
    /// Those whose cases are asked for: a suite that is not is not built.
    suites: Vec<&'static str>,
    /// In percent.
    fail_if_above: Option<f64>,
}

impl Wish {
    fn read(words: &[&str]) -> Result<Wish, String> {
        let (mut names, mut suites, mut fail_if_above) = (Vec::new(), SUITES.to_vec(), None);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--fail-if-above" => {
                    let percent = words.next().ok_or("--fail-if-above wants a number of percent")?;
                    let number = percent.trim_end_matches('%').parse::<f64>().ok().filter(|percent| *percent >= 0.0);
                    fail_if_above = Some(number.ok_or_else(|| format!("{percent:?} is no number of percent"))?);
                }
                "--bench" => {
                    let name = words.next().copied().unwrap_or_default();
                    suites = SUITES.into_iter().filter(|suite| *suite == name).collect();
                    if suites.is_empty() {
                        return Err(format!("--bench wants one of {}", SUITES.join(", ")));
                    }
                }
                _ if word.starts_with("--") => return Err(format!("{word:?} is not known; {USAGE}")),
                name => names.push(name.to_owned()),
            }
        }
        let mut names = names.into_iter();
        let (Some(base), filter, None) = (names.next(), names.next().unwrap_or_default(), names.next()) else {
            return Err(USAGE.to_owned());
        };
        Ok(Wish { base, filter, suites, fail_if_above })
    }
}

const USAGE: &str = "cargo xtask bench-compare BASE [FILTER] [--bench SUITE] [--fail-if-above PCT]";

/// Compares, and prints the table. An error says what is missing, or that a case became dearer than was allowed.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let wish = Wish::read(words)?;
    if !setup::there_is("valgrind") {
        return Err(
            "there is no valgrind, whose callgrind counts: `cargo xtask setup` installs it (Debian's package valgrind)"
                .to_owned(),
        );
    }
    let base = Side::base(&workspace::root(), &workspace::target().join("bench-compare"), &wish.base)?;
    let ours = Side::checkout();
    println!("before: {}\nafter: {}", base.name, ours.name);
    let sides = [base.build(&wish.suites)?, ours.build(&wish.suites)?];
    let [before, after] = &sides;
    let rows = count([before, after], |name| name.contains(&wish.filter))?;
    if rows.is_empty() {
        return Err(format!("no case has {:?} in its name", wish.filter));
    }
    let table = Table::new(rows);
    print!("\n{table}");
    match wish.fail_if_above {
        Some(percent) => table.judge(percent),
        None => Ok(()),
    }
}

/// A case that is to be counted: on which side, of which program.
struct Task<'p> {
    side: usize,
    program: &'p Program,
    name: String,
    rounds: u64,
}

/// Counts some cases of `micro` twice, as many as wished for, from all of its parts: on both sides is what the tests have built.
pub(crate) fn again(wished: usize) -> Result<Vec<Row>, String> {
    let programs = vec![Side::checkout().build_for_tests(SUITES[0])?];
    let names: Vec<String> = callgrind::cases(&programs[0])?.into_iter().map(|(name, _)| name).collect();
    let chosen: BTreeSet<&String> = names.iter().step_by((names.len() / wished.max(1)).max(1)).collect();
    count([&programs, &programs], |name| chosen.contains(&name.to_owned()))
}

/// Counts on both sides each case that `is_wanted`. Errors: callgrind failed.
fn count(sides: [&[Program]; 2], is_wanted: impl Fn(&str) -> bool) -> Result<Vec<Row>, String> {
    let mut tasks = Vec::new();
    for (side, programs) in sides.into_iter().enumerate() {
        for program in programs {
            let cases = callgrind::cases(program)?.into_iter().filter(|(name, _)| is_wanted(name));
            tasks.extend(cases.map(|(name, rounds)| Task { side, program, name, rounds }));
        }
    }
    println!("{} counts", tasks.len());
    // The dear ones come last in a suite: taken from there, no CPU waits for another at the end.
    let (left, counted) = (Mutex::new(tasks), Mutex::new(BTreeMap::<String, [Option<f64>; 2]>::new()));
    let work = || -> Result<(), String> {
        loop {
            let Some(task) = left.lock().expect("no panic").pop() else { return Ok(()) };
            let instructions = callgrind::count(task.program, &task.name)?;
            let each = instructions as f64 / task.rounds as f64;
            counted.lock().expect("no panic").entry(task.name).or_default()[task.side] = Some(each);
        }
    };
    let cpus = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cpus).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    let counted = counted.into_inner().expect("no panic");
    Ok(counted.into_iter().map(|(name, [before, after])| Row { name, before, after }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_a_base_a_filter_and_a_bound() {
        let wish = |base: &str, filter: &str, fail_if_above| {
            Ok(Wish { base: base.into(), filter: filter.into(), suites: SUITES.to_vec(), fail_if_above })
        };
        let micro = Wish { suites: vec!["micro"], ..wish("main", "tls", None).expect("a wish") };
        for (words, expect) in [
            ("main", wish("main", "", None)),
            ("main route/", wish("main", "route/", None)),
            ("--fail-if-above 0.5 HEAD~3", wish("HEAD~3", "", Some(0.5))),
            ("main http1 --fail-if-above 2%", wish("main", "http1", Some(2.0))),
            ("main tls --bench micro", Ok(micro)),
            ("main --bench relay", Err("--bench wants one of micro, config".to_owned())),
            ("", Err(USAGE.to_owned())),
            ("one two three", Err(USAGE.to_owned())),
            ("main --fail-if-above", Err("--fail-if-above wants a number of percent".to_owned())),
            ("main --fail-if-above -1", Err("\"-1\" is no number of percent".to_owned())),
            ("main --fail-if-above x", Err("\"x\" is no number of percent".to_owned())),
            ("main --quick", Err(format!("\"--quick\" is not known; {USAGE}"))),
        ] {
            assert_eq!(Wish::read(&words.split_whitespace().collect::<Vec<_>>()), expect, "{words:?}");
        }
    }
}
