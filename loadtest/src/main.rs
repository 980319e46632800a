//! `ringway-load`: load for proxies and servers, on Ringway's own runtime.
//!
//! `run` sends requests in closed loop or in open loop and says what became of each, `serve` is an origin for tests, `sweep` looks for the knee, `compare` sets proxies side
//! by side, `report` draws what they found; docs/LOADTEST.md is for its users.
//!
//! What is to be done stands in a [`plan::Plan`]; each core (`worker`) sends its part, by drivers (`drive`) that take what is due from a
//! dispatcher (`pacing`), and measures second by second (`tally`); `run` puts that together, and `report` says it.
#![forbid(unsafe_code)]

mod arguments;
mod chance;
mod command;
mod compare;
mod connect;
mod content;
mod contradiction;
mod cpu_time;
mod drive;
mod expect;
mod failure;
mod grpc;
mod host;
mod message;
mod outcome;
mod pacing;
mod page;
mod plan;
mod plot;
mod report;
mod run;
mod schedule;
mod serve;
mod sweep;
mod tally;
mod target;
mod threshold;
mod tls;
mod units;
mod view;
mod windows;
mod worker;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use clap::ArgMatches;
use command::Output;
use report::file::{Document, File};
use report::hdr::Log;
use report::setting::Setting;
use report::{Verdict, csv, json, text};
use view::View;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let names_command = |argument: &OsString| command::SUBCOMMANDS.iter().any(|name| argument == *name);
    if arguments.get(1).is_some_and(|first| !names_command(first) && first != "-h" && first != "-V") {
        arguments.insert(1, "run".into());
    }
    let mut matches = command::command().get_matches_from(arguments);
    let done = match matches.remove_subcommand() {
        Some((name, mut matches)) if name == "run" => run(&mut matches),
        Some((name, mut matches)) if name == "serve" => {
            interruption().and_then(|flag| serve::serve(&mut matches, &flag, say)).map(|()| 0)
        }
        Some((name, mut matches)) if name == "sweep" => {
            interruption().and_then(|flag| sweep::sweep(&mut matches, &flag, say))
        }
        Some((name, mut matches)) if name == "compare" => {
            interruption().and_then(|flag| compare::compare(&mut matches, &flag, say))
        }
        Some((name, mut matches)) if name == "held" => compare::held::hold(&mut matches),
        Some((name, mut matches)) if name == "report" => page::report(&mut matches).map(|()| 0),
        _ => unreachable!("clap knows no other"),
    };
    // Who reads no further, as `head`, has what was wanted: that alone is no error.
    let lost = LOST.get().filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
    match (done, lost) {
        (Ok(status), None) => ExitCode::from(status),
        (Ok(_), Some(error)) => {
            say_error(&format!("standard output: {error}"));
            ExitCode::from(WRONG)
        }
        (Err(why), _) => {
            say_error(&why);
            ExitCode::from(WRONG)
        }
    }
}

/// The exit status of a command that could not be carried out, as clap's for one that it could not read.
const WRONG: u8 = 2;

fn say_error(why: &str) {
    note(&format!("ringway-load: {why}"));
}

/// A line on standard error. Where that takes none, nobody is to be told of it either.
fn note(line: &str) {
    let _gone = writeln!(io::stderr().lock(), "{line}");
}

/// Says what came of it, on standard output. Once that takes no more, what goes on is to end as by Ctrl-C: files are written still.
fn say(text: &str) {
    if LOST.get().is_some() {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        LOST.get_or_init(|| error);
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
}

/// Why standard output takes no more.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// What goes on is to end.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Set by the first Ctrl-C or SIGTERM; the second one ends the process at once.
fn interruption() -> Result<Arc<AtomicBool>, String> {
    let flag = Arc::clone(&INTERRUPTED);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(|error| format!("signals: {error}"))?;
    }
    Ok(flag)
}

fn run(matches: &mut ArgMatches) -> Result<u8, String> {
    let output = Output::of(matches);
    let plan = Arc::new(command::plan(matches)?);
    let interrupted = interruption()?;
    let document = output.json.as_deref().map(Document::create).transpose()?;
    let table = output.csv.as_deref().map(File::create).transpose()?;
    let mut log = output.hdr.as_deref().map(Log::create).transpose().map_err(|error| format!("--hdr: {error}"))?;
    let setting = Setting::now();
    let mut view = View::new(&plan, output.quiet);
    let outcome = run::run(plan, &interrupted, &mut view, log.as_mut())?;
    let (verdict, judged) = Verdict::of(&outcome, &output.thresholds);
    if !matches!(document, Some(Document::Stdout)) {
        say(&text::write(&outcome, &verdict, &judged));
    }
    if let Some(document) = document {
        document.write(&format!("{:#}\n", json::write(&outcome, &setting, &verdict, &judged)))?;
    }
    if let Some(table) = table {
        table.write(&csv::write(&outcome.series))?;
    }
    Ok(verdict.status())
}
