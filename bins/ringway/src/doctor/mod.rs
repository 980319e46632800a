//! `ringway doctor`: what this host allows, what that means for Ringway, and what its owner can do about it.
//!
//! Really makes a ring and an epoll loop, with the options given, and drops them again; binds no port and changes nothing.
//! Exit code 1 only where `run` with the same options would not start.

mod rows;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use ringway_runtime::cpus::Host;
use ringway_runtime::{IoChoice, IoReport, Options, StartError, Wake};

use crate::args::Tuning;
use crate::plan::Plan;
use crate::run::runtime_options;
use rows::{Found, Row, Verdict};

/// The options of `doctor`.
#[derive(Debug)]
pub(crate) struct Doctor {
    /// `--json`.
    pub(crate) json: bool,
    /// How it would run.
    pub(crate) engine: Tuning,
}

/// Looks at the host and prints what was found.
pub(crate) fn doctor(options: &Doctor) -> ExitCode {
    let root = Path::new("/");
    let host = match Host::here() {
        Ok(host) => host,
        Err(error) => {
            let _ = writeln!(io::stderr(), "the CPUs of this process are not known: {error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = runtime_options(&options.engine);
    let found = Found {
        root,
        ring: try_io(&runtime, IoChoice::Ring),
        poll: try_io(&runtime, IoChoice::Poll),
        plan: Plan::on(&options.engine, host.clone()),
        host,
    };
    let starts = found.plan.is_ok()
        && match options.engine.io {
            IoChoice::Ring => found.ring.is_ok(),
            IoChoice::Poll => found.poll.is_ok(),
            // Auto; in tests the fault driver, too, which always starts.
            _ => found.ring.is_ok() || found.poll.is_ok(),
        };
    let rows = rows::rows(&found, options.engine.io == IoChoice::Ring);
    let text = if options.json { json(&rows, starts) } else { table(&rows) };
    let _ = io::stdout().write_all(text.as_bytes());
    if starts { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a core of this driver says of itself; it lives only for that.
fn try_io(options: &Options, io: IoChoice) -> Result<IoReport, StartError> {
    let options = Options { io, ..options.clone() };
    let wake = Wake::new().map_err(|error| StartError { tried: "an eventfd".into(), error, advice: "" })?;
    ringway_runtime::run(&options, wake, |_, report| async { report })
}

/// Columns: verdict, subject, what was found; what to do stands on a line of its own.
fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.subject.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let _ = writeln!(text, "{:<8} {:<width$}  {}", row.verdict.text(), row.subject, row.found);
        if !row.to_do.is_empty() {
            let _ = writeln!(text, "{:8} {:<width$}  to do: {}", "", "", row.to_do);
        }
    }
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let (problems, notes) = (count(Verdict::Problem), count(Verdict::Note));
    let _ = writeln!(text, "\nproblems: {problems}, notes: {notes}");
    text
}

fn json(rows: &[Row], starts: bool) -> String {
    let rows: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "subject": row.subject,
                "verdict": row.verdict.text(),
                "found": row.found,
                "to_do": row.to_do,
            })
        })
        .collect();
    format!("{:#}\n", serde_json::json!({ "starts": starts, "rows": rows }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_columns_and_says_what_to_do() {
        let row = |verdict, subject: &str, to_do: &str| Row {
            verdict,
            subject: subject.into(),
            found: format!("of {subject}"),
            to_do: to_do.into(),
        };
        let rows = [row(Verdict::Ok, "one", ""), row(Verdict::Problem, "another", "this")];
        let expect = "\
ok       one      of one
problem  another  of another
                  to do: this

problems: 1, notes: 0
";
        assert_eq!(table(&rows), expect);
        let json: serde_json::Value = serde_json::from_str(&json(&rows, true)).expect("JSON");
        assert_eq!((&json["starts"], &json["rows"][1]["to_do"]), (&true.into(), &"this".into()));
    }
}
