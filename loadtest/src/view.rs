//! What is seen while a run lasts: a bar on a terminal, a line a second elsewhere. It goes to standard error, so that the outcome alone is
//! on standard output.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::plan::Plan;
use crate::tally::Second;

/// See the module.
#[derive(Debug)]
pub(crate) enum View {
    /// A bar that fills with the run's time.
    Bar(ProgressBar),
    Lines,
    Quiet,
}

/// How often a bar is drawn a second: smooth to the eye, and no work.
const FRAMES_PER_S: u8 = 10;

impl View {
    /// That of a run.
    pub(crate) fn new(plan: &Plan, quiet: bool) -> View {
        if quiet {
            return View::Quiet;
        }
        if !std::io::stderr().is_terminal() {
            return View::Lines;
        }
        let target = ProgressDrawTarget::stderr_with_hz(FRAMES_PER_S);
        let bar = ProgressBar::with_draw_target(Some(plan.duration.as_millis() as u64), target);
        let style = ProgressStyle::with_template("{bar:30} {elapsed} {msg}").expect("a right template");
        bar.set_style(style);
        View::Bar(bar)
    }

    /// A second that all cores have told of.
    pub(crate) fn second(&mut self, number: u32, second: &Second) {
        let line = line(second);
        match self {
            View::Bar(bar) => bar.set_message(line),
            View::Lines => crate::note(&format!("{:>4} s  {line}", number + 1)),
            View::Quiet => {}
        }
    }

    /// The run is so old.
    pub(crate) fn at(&mut self, time: Duration) {
        if let View::Bar(bar) = self {
            bar.set_position(time.as_millis() as u64);
        }
    }

    /// It is over: a bar leaves the screen, for the outcome says more.
    pub(crate) fn end(&mut self) {
        if let View::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// A second in one line.
fn line(second: &Second) -> String {
    let us = |quantile| second.latency.value_at_quantile(quantile) / 1000;
    let mut line = format!("{}/s  p50 {} us  p99 {} us", second.answered, us(0.5), us(0.99));
    for (failure, count) in second.failures.some() {
        line.push_str(&format!("  {} {count}", failure.name()));
    }
    line
}
