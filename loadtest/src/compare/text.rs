//! A comparison on a terminal: a table for each scenario, as soon as it is through.

use std::fmt::Write;

use super::row::{Measured, Outcome, Row, Spread};
use super::scenario::{Load, Scenario, Whose};

/// The name of the row of the origin alone.
pub(crate) const ORIGIN: &str = "origin";

/// Twice what the origin takes to receive and answer one request: what the kernel's part of a proxied one costs on two connections.
pub(crate) fn floor(scenario: &Scenario, rows: &[Row]) -> Option<f64> {
    let origin = rows.iter().find(|row| row.subject == ORIGIN).filter(|_| scenario.way.has_floor())?;
    match &origin.outcome {
        Outcome::Measured(measured) => measured.cpu_us().map(|spread| 2.0 * spread.median),
        _ => None,
    }
}

/// Percentiles of the latency; of an open loop with their spread, for there they are what counts.
fn latency(scenario: &Scenario, measured: &Measured) -> String {
    let names: &[&str] = if scenario.is_open() { &["p50", "p99", "p99.9"] } else { &["p50", "p99"] };
    let shown = names.iter().filter_map(|name| {
        let Spread { median, least, most } = measured.latency(name)?;
        let spread = if scenario.is_open() { format!(" ({least:.0} to {most:.0})") } else { String::new() };
        Some(format!(", {name} {median:.0} us{spread}"))
    });
    let late = measured.late("p99").map(|late| format!(", late p99 {:.0} us", late.median));
    shown.chain(late).collect()
}

/// Of an open loop at one rate for all: which one.
fn same_rate(scenario: &Scenario, rows: &[Row]) -> Option<String> {
    let Load::Part { part, whose: Whose::Slowest, .. } = scenario.load else { return None };
    let asked = rows.iter().find_map(|row| match &row.outcome {
        Outcome::Measured(measured) => measured.asked.as_ref(),
        _ => None,
    })?;
    let (rate, of, capacity) = (asked.rate, &asked.of, asked.capacity);
    Some(format!("{rate:.0}/s for all: {:.0} % of what {of} came to, {capacity:.0}/s", part * 100.0))
}

/// The rows of a scenario.
pub(crate) fn table(scenario: &Scenario, rows: &[Row]) -> String {
    let mut out = format!("\n{}: {}\n", scenario.name, scenario.what);
    if let Some(said) = same_rate(scenario, rows) {
        let _ = writeln!(out, "  {said}");
    }
    let floor = floor(scenario, rows);
    let width = rows.iter().map(|row| row.subject.chars().count()).max().unwrap_or(0);
    for row in rows {
        let _ = write!(out, "  {:width$}  ", row.subject);
        match &row.outcome {
            Outcome::Cannot(why) => _ = write!(out, "cannot: {why}"),
            Outcome::Failed(why) => _ = write!(out, "FAILED: {why}"),
            Outcome::Idle(idle) => {
                let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                let (each, before) = (idle.each, idle.before);
                let _ = write!(out, "{each:>8.0} B each of {} connections, ", idle.connections);
                let _ = write!(
                    out,
                    "{:.1} MiB before (proportional {:.1})",
                    mib(before.resident),
                    mib(before.proportional)
                );
            }
            Outcome::Measured(measured) => {
                if let Some(rate) = measured.rate() {
                    let _ = write!(out, "{:>8.0}/s", rate.median);
                }
                if let Some(cpu) = measured.cpu_us() {
                    let _ = write!(out, "  {:>7.2} us CPU a request ({:.2} to {:.2})", cpu.median, cpu.least, cpu.most);
                    if let Some(floor) = floor.filter(|floor| *floor > 0.0 && row.subject != ORIGIN) {
                        let _ = write!(out, ", {:.2} x floor", cpu.median / floor);
                    }
                }
                if let Some((user, kernel)) = measured.instructions {
                    let _ = write!(out, ", {:.1}k + {:.1}k instructions", user / 1e3, kernel / 1e3);
                }
                let _ = write!(out, "{}", latency(scenario, measured));
                if let Some(connections) = measured.connections().filter(|all| all.len() > 1) {
                    let all: Vec<String> = connections.iter().map(u64::to_string).collect();
                    let _ = write!(out, ", connections {}", all.join(" + "));
                }
                if let Some(failures) = measured.failures() {
                    let _ = write!(out, "  FAILED: {failures}");
                }
                if let Some(doubt) = measured.doubt() {
                    let _ = write!(out, "  (the generator: {doubt})");
                }
            }
        }
        out.push('\n');
    }
    out
}
