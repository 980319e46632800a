//! `ringway-load sweep`: one run after another, at growing rates or with growing concurrency, up to the knee and past it.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use crate::outcome::Outcome;
use crate::plan::{Pace, Plan};
use crate::report::Verdict;
use crate::report::file::Document;
use crate::report::json::{joined, times};
use crate::report::setting::Setting;
use crate::run;
use crate::schedule::Arrivals;
use crate::view::View;
use crate::{command, report};

/// Parts of the capacity at which latencies are measured where no rates are given: below the knee, around it and past it.
const PARTS: [f64; 9] = [0.1, 0.25, 0.5, 0.65, 0.8, 0.9, 1.0, 1.1, 1.25];
/// Concurrency doubles up to this where none is given.
const CONCURRENCY_MAX: usize = 1024;
/// A target whose p99 is so many times that of the first step is past its knee.
const SLOWER: f64 = 5.0;
/// Twice the concurrency that brings less than this many times the rate is past the knee.
const GAIN: f64 = 1.05;
/// Steps past the knee, so that it can be seen on both sides.
const STEPS_PAST: usize = 2;

/// What can be said: all that `run` takes, and what grows.
pub(crate) fn command() -> Command {
    command::run_command("sweep", "Runs at growing rates, or with growing concurrency, up to the knee and past it")
        .args([
            of_run("no rate", "rate", "a sweep has several: --rates LIST").short('r'),
            of_run("no csv", "csv", "a sweep has a line a step: --json has all of it"),
            of_run("no hdr", "hdr", "a sweep has a line a step: --json has all of it"),
            of_run("no fail-if", "fail-if", "that is of `ringway-load run`: a sweep looks for the knee"),
        ])
        .mut_arg("arrivals", |arg| arg.conflicts_with("concurrencies"))
        .next_help_heading("What grows")
        .arg(
            Arg::new("rates")
                .long("rates")
                .value_name("LIST")
                .value_parser(rates)
                .help("Open loop at these rates; else at parts of the capacity that a closed loop finds first"),
        )
        .arg(
            Arg::new("concurrencies")
                .long("concurrencies")
                .value_name("LIST|auto")
                .conflicts_with("rates")
                .value_parser(concurrencies)
                .help("Closed loop with so many connections; auto: 1, 2, 4 and so on"),
        )
}

/// An option of one run, which says here what there is instead.
fn of_run(id: &'static str, long: &'static str, instead: &'static str) -> Arg {
    // Its name is another one than in `run`, where its value is meant.
    Arg::new(id).long(long).value_name("VALUE").hide(true).value_parser(move |_: &str| Err::<String, &str>(instead))
}

/// A list that grows, as one value of the command line.
#[derive(Clone, Debug, PartialEq)]
struct List<T>(Vec<T>);

fn list<T: PartialOrd>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<List<T>, String> {
    let list = text.split(',').map(parse).collect::<Result<Vec<T>, _>>()?;
    let grows = list.windows(2).all(|two| two[0] < two[1]);
    if grows { Ok(List(list)) } else { Err("numbers that grow".into()) }
}

fn rates(text: &str) -> Result<List<f64>, String> {
    list(text, command::rate)
}

fn concurrencies(text: &str) -> Result<List<usize>, String> {
    if text == "auto" {
        let doubling = std::iter::successors(Some(1), |last| Some(last * 2));
        return Ok(List(doubling.take_while(|count| *count <= CONCURRENCY_MAX).collect()));
    }
    list(text, |part| match part.trim().parse::<usize>() {
        Ok(count) if (1..=command::CONNECTIONS_MAX as usize).contains(&count) => Ok(count),
        _ => Err(format!("{part:?} is no number from 1 to {}", command::CONNECTIONS_MAX)),
    })
}

/// What grows.
#[derive(Clone, Debug, PartialEq)]
enum Axis {
    Rates(Vec<f64>),
    Concurrencies(Vec<usize>),
}

/// What a sweep came to.
struct Found<'a> {
    /// The first step's.
    plan: &'a Plan,
    axis: &'a Axis,
    capacity: Option<f64>,
    steps: &'a [Step],
    is_interrupted: bool,
}

/// One run of a sweep.
struct Step {
    /// The rate or the concurrency.
    at: f64,
    outcome: Outcome,
    /// Why it is past the knee, if it is.
    past: Option<Past>,
}

/// Why nothing can be said for a step.
#[derive(Clone, Debug, PartialEq)]
enum Past {
    /// The target does not keep up.
    Target(String),
    /// The generator did not, twice: what the target can do beyond is not known.
    Generator(String),
}

impl Past {
    fn text(&self) -> String {
        match self {
            Past::Target(why) => why.clone(),
            Past::Generator(fault) => format!("the generator is at fault: {fault}"),
        }
    }
}

/// Sweeps, and says what it found; the exit status.
///
/// # Errors
/// What cannot be set up, in words.
pub(crate) fn sweep(matches: &mut ArgMatches, interrupted: &AtomicBool, say: impl Fn(&str)) -> Result<u8, String> {
    let json_path: Option<PathBuf> = matches.remove_one("json");
    let is_quiet = matches.get_flag("quiet");
    let concurrencies: Option<List<usize>> = matches.remove_one("concurrencies");
    let rates: Option<List<f64>> = matches.remove_one("rates");
    let arrivals = matches.get_one::<Arrivals>("arrivals").copied().expect("with a default");
    let plan = command::plan(matches)?;
    let json = json_path.as_deref().map(Document::create).transpose()?;
    let is_stdout = matches!(json, Some(Document::Stdout));
    let setting = Setting::now();
    let say = |text: &str| {
        if !is_stdout {
            say(text);
        }
    };
    let mut capacity = None;
    let axis = match (concurrencies, rates) {
        (Some(List(concurrencies)), _) => Axis::Concurrencies(concurrencies),
        (None, Some(List(rates))) => Axis::Rates(rates),
        (None, None) => {
            let outcome = one(&plan, interrupted, is_quiet)?;
            let end = match outcome.fault() {
                // What it came to so far is no capacity, and parts of it are no rates that anybody asked for.
                _ if outcome.interrupted => Some(Verdict::Interrupted),
                Some(fault) => Some(Verdict::Generator(fault)),
                None => (outcome.total.answered == 0).then_some(Verdict::Failed),
            };
            if let Some(verdict) = end {
                say(&report::text::write(&outcome, &verdict, &[]));
                if let Some(json) = json {
                    let axis = Axis::Rates(Vec::new());
                    let is_interrupted = outcome.interrupted;
                    let found = Found { plan: &plan, axis: &axis, capacity: None, steps: &[], is_interrupted };
                    let mut document = found.document(&setting, None);
                    document["knee_is_least"] = json!(matches!(verdict, Verdict::Generator(_)));
                    json.write(&format!("{document:#}\n"))?;
                }
                return Ok(verdict.status());
            }
            say(&format!("capacity in closed loop: {:.0}/s\n", outcome.rate()));
            capacity = Some(outcome.rate());
            let mut rates = PARTS.map(|part| (part * outcome.rate()).max(1.0).round()).to_vec();
            rates.dedup();
            Axis::Rates(rates)
        }
    };
    let points: Vec<(f64, Plan)> = match &axis {
        Axis::Rates(rates) => rates
            .iter()
            .map(|rate| (*rate, Plan { pace: Pace::Open { rate: *rate, arrivals }, ..plan.clone() }))
            .collect(),
        Axis::Concurrencies(all) => all
            .iter()
            .map(|count| {
                let plan = Plan { pace: Pace::Closed, connections: *count, ..plan.clone() };
                (*count as f64, Plan { threads: plan.threads.min(*count), ..plan })
            })
            .collect(),
    };
    let (first, last) = (&points[0].1, &points[points.len() - 1].1);
    say(&format!("{}\n{}", first.summary_up_to(last), header()));
    let mut steps: Vec<Step> = Vec::new();
    let mut is_interrupted = false;
    for (at, plan) in &points {
        let at = *at;
        let mut outcome = one(plan, interrupted, is_quiet)?;
        if outcome.fault().is_some() && !outcome.interrupted {
            // The host may have stood still for a moment.
            outcome = one(plan, interrupted, is_quiet)?;
        }
        if outcome.interrupted {
            // A part of a step is none: its rate and its percentiles are of something else.
            say(&format!("{at:>10} interrupted\n"));
            is_interrupted = true;
            break;
        }
        let past = past(&axis, &steps, &outcome);
        steps.push(Step { at, outcome, past });
        say(&row(&steps[steps.len() - 1]));
        if steps.iter().rev().take_while(|step| step.past.is_some()).count() > STEPS_PAST {
            break;
        }
    }
    let knee = knee(&steps);
    let hidden = steps.iter().find_map(|step| step.past.as_ref()).filter(|past| matches!(past, Past::Generator(_)));
    let said = match (knee, &hidden) {
        (Some(step), None) => format!("knee: {} ({:.0}/s answered)\n", step.at, step.outcome.rate()),
        (None, None) if steps.is_empty() => "interrupted before any step was whole\n".to_owned(),
        (None, None) => "knee: below the first step\n".to_owned(),
        (Some(step), Some(past)) => {
            format!("knee: {} or more ({:.0}/s answered); {}\n", step.at, step.outcome.rate(), past.text())
        }
        (None, Some(past)) => format!("knee: not known; {}\n", past.text()),
    };
    say(&said);
    if let Some(json) = json {
        let found = Found { plan: first, axis: &axis, capacity, steps: &steps, is_interrupted };
        let mut document = found.document(&setting, knee);
        document["knee_is_least"] = json!(hidden.is_some());
        json.write(&format!("{document:#}\n"))?;
    }
    Ok(match (knee, hidden) {
        _ if is_interrupted => Verdict::Interrupted,
        (_, Some(past)) => Verdict::Generator(past.text()),
        (Some(_), None) => Verdict::Good,
        (None, None) => Verdict::Failed,
    }
    .status())
}

fn one(plan: &Plan, interrupted: &AtomicBool, is_quiet: bool) -> Result<Outcome, String> {
    let mut view = View::new(plan, is_quiet);
    run::run(Arc::new(plan.clone()), interrupted, &mut view, None)
}

/// Why a step is past the knee, if it is.
fn past(axis: &Axis, before: &[Step], outcome: &Outcome) -> Option<Past> {
    if let Some(fault) = outcome.fault() {
        return Some(Past::Generator(fault));
    }
    let failed = outcome.total.failures.total();
    if failed > 0 {
        return Some(Past::Target(format!("{failed} failed")));
    }
    let why = match axis {
        _ if outcome.total.answered == 0 => {
            Some("nothing was answered: nothing was due, or the step is too short".to_owned())
        }
        Axis::Rates(_) if outcome.is_behind() => {
            let part = outcome.in_time() as f64 / outcome.due().max(1) as f64;
            Some(format!("{:.1} % of what was due was answered in time", 100.0 * part))
        }
        Axis::Rates(_) => {
            let p99 = |outcome: &Outcome| outcome.total.latency.value_at_quantile(0.99) as f64;
            let first = before.iter().find(|step| step.past.is_none())?;
            let slower = p99(outcome) / p99(&first.outcome).max(1.0);
            (slower > SLOWER).then(|| format!("p99 is {slower:.1} times that of the first step"))
        }
        Axis::Concurrencies(_) => {
            let best = before.iter().map(|step| step.outcome.rate()).fold(0.0, f64::max);
            (outcome.rate() < best * GAIN).then(|| "no faster than with less".to_owned())
        }
    };
    why.map(Past::Target)
}

/// The last step before the first that is past it.
fn knee(steps: &[Step]) -> Option<&Step> {
    steps.iter().take_while(|step| step.past.is_none()).last()
}

fn header() -> String {
    format!(
        "{:>10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>8} {:>9}\n",
        "step", "answered/s", "p50 us", "p99 us", "p99.9 us", "max us", "failed", "late p99"
    )
}

fn row(step: &Step) -> String {
    let total = &step.outcome.total;
    let us = |quantile| total.latency.value_at_quantile(quantile).div_ceil(1000);
    let mut row = format!(
        "{:>10} {:>10.0} {:>9} {:>9} {:>9} {:>9} {:>8} {:>9}",
        step.at,
        step.outcome.rate(),
        us(0.5),
        us(0.99),
        us(0.999),
        total.latency.max().div_ceil(1000),
        total.failures.total(),
        total.late.value_at_quantile(0.99).div_ceil(1000),
    );
    if let Some(past) = &step.past {
        let _ = write!(row, "  {}", past.text());
    }
    row.push('\n');
    row
}

impl Found<'_> {
    fn document(&self, setting: &Setting, knee: Option<&Step>) -> Value {
        let document = json!({
            "version": 1,
            "kind": "sweep",
            "plan": report::json::plan(self.plan),
            "axis": match self.axis { Axis::Rates(_) => "rate", Axis::Concurrencies(_) => "concurrency" },
            "capacity": self.capacity,
            "knee": knee.map(|knee| knee.at),
            "interrupted": self.is_interrupted,
            "steps": self.steps.iter().map(Step::document).collect::<Vec<_>>(),
        });
        joined(document, setting.document())
    }
}

impl Step {
    fn document(&self) -> Value {
        json!({
            "at": self.at,
            "answered": self.outcome.total.answered,
            "failed": self.outcome.total.failures.total(),
            "rate": self.outcome.rate(),
            "latency_us": times(&self.outcome.total.latency),
            "late_us": times(&self.outcome.total.late),
            "generator_busiest": self.outcome.busiest(),
            "past": self.past.as_ref().map(Past::text),
            "due": matches!(self.outcome.plan.pace, Pace::Open { .. }).then(|| self.outcome.due()),
            "answered_in_time": self.outcome.in_time(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a refusal that blames the target, and names no way out.
    #[test]
    fn what_is_of_one_run_alone_is_refused() {
        for (option, named) in
            [("--rate", "--rates"), ("-r", "--rates"), ("--csv", "--json"), ("--hdr", "--json"), ("--fail-if", "run")]
        {
            let words = ["sweep", "127.0.0.1:1", option, "5"];
            let said = command().try_get_matches_from(words).unwrap_err().to_string();
            assert!(said.contains(named) && !said.contains("TARGET> cannot"), "{said}");
        }
    }

    #[test]
    fn what_grows() {
        assert_eq!(rates("10, 20.5"), Ok(List(vec![10.0, 20.5])));
        assert_eq!(concurrencies("auto").map(|List(all)| (all.len(), all[10])), Ok((11, 1024)));
        for wrong in ["", "0,1", "2,1", "1,x", "131073", "1e300"] {
            assert!(concurrencies(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "0,1", "2,1", "1,x", "nan", "inf", "1,inf", "1e-300", "1,1e10"] {
            assert!(rates(wrong).is_err(), "{wrong}");
        }
    }
}
