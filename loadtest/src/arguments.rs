//! Arguments that several subcommands have: said, explained and read in one place.

use clap::{Arg, ArgMatches, value_parser};
use ringway_runtime::{IoChoice, cpus};

/// A core for each CPU, and none has more than this.
const THREADS_MAX: i64 = 1024;

/// A list of CPUs as one value of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpus(pub(crate) Vec<usize>);

/// Reads `0,2-3`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn cpu_list(text: &str) -> Result<Cpus, String> {
    cpus::parse(text).map(Cpus).map_err(|error| error.to_string())
}

pub(crate) fn threads() -> Arg {
    Arg::new("threads")
        .short('t')
        .long("threads")
        .value_name("N")
        .default_value("1")
        .value_parser(value_parser!(u32).range(1..=THREADS_MAX))
        .conflicts_with("cpus")
        .help("Cores, not pinned")
}

pub(crate) fn cpus() -> Arg {
    Arg::new("cpus").long("cpus").value_name("LIST").value_parser(cpu_list).help("A core pinned to each of 0,2-3")
}

/// How many cores those two ask for, and where they are pinned, if they are.
pub(crate) fn cores(matches: &mut ArgMatches) -> (usize, Vec<usize>) {
    let cpus = matches.remove_one::<Cpus>("cpus").unwrap_or_default().0;
    let threads: u32 = matches.remove_one("threads").expect("with a default");
    (if cpus.is_empty() { threads as usize } else { cpus.len() }, cpus)
}

pub(crate) fn io() -> Arg {
    Arg::new("io")
        .long("io")
        .value_name("auto|ring|poll")
        .default_value("auto")
        .value_parser(value_parser!(IoChoice))
        .help("What it runs on")
}

pub(crate) fn seed() -> Arg {
    Arg::new("seed")
        .long("seed")
        .value_name("N")
        .default_value("1")
        .value_parser(value_parser!(u64))
        .help("Of all that is drawn by chance: the same again")
}

pub(crate) fn requests_per_connection() -> Arg {
    Arg::new("requests-per-connection")
        .long("requests-per-connection")
        .value_name("N")
        .value_parser(value_parser!(u64).range(1..))
        .help("Requests of a connection before it is closed")
}
