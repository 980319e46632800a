//! The `ringway` command: reads its arguments, starts the threads, and leaves the rest to the rooms that know how.
//!
//! Threads: the workers (the engine's), `main` (control: the only one that holds the engine), `admin` and one for each
//! of its connections, `signals`, `access-log` (their lines), and `watch` (the configuration file). None but the workers ever touches a request.

#![forbid(unsafe_code)]

mod access_log;
mod admin;
mod args;
mod check;
mod command;
mod control;
mod demo;
mod doctor;
mod dynamic;
mod explain;
mod iptables;
mod load;
mod load_reports;
mod log;
mod plan;
mod run;
mod signals;
mod state;
mod tally;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

/// Per-thread heaps and a small resident set.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The stack of every thread that is not a worker. Only what is touched is resident; what recurses is the reading of
/// configuration for `/config_dump`, whose depth is bounded.
const STACK_SIZE: usize = 1 << 20;

fn main() -> ExitCode {
    match args::parse(std::env::args_os()) {
        Ok(args::Command::Run(options)) => run::run(*options),
        Ok(args::Command::Check(source)) => check::check(source),
        Ok(args::Command::Demo(options)) => demo::demo(options),
        Ok(args::Command::Doctor(options)) => doctor::doctor(&options),
        Ok(args::Command::Explain(asked)) => explain::explain(&asked),
        Ok(args::Command::Iptables(run)) => iptables::iptables(&run),
        Err(error) if error.use_stderr() => {
            let _ = write!(io::stderr(), "{}", error.render());
            ExitCode::FAILURE
        }
        Err(text) => {
            let _ = write!(io::stdout(), "{}", text.render());
            ExitCode::SUCCESS
        }
    }
}
