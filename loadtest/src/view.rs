//! What is seen while a run lasts: a bar on a terminal, a line a second elsewhere. It goes to standard error, so that the outcome alone is
//! on standard output.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::plan::{Pace, Plan};
use crate::schedule;
use crate::tally::{Interval, Second};

/// See the module.
#[derive(Debug)]
pub(crate) struct View {
    shown: Shown,
    goal: Goal,
    /// Of the open loop: requests a second, and how long that grows from nothing.
    asked: Option<(f64, Duration)>,
    /// What ends by then is not counted.
    warm_up: Duration,
    /// When nothing more is asked for.
    until: Duration,
    /// How old the run is.
    time: Duration,
    /// Of all seconds so far.
    answered: u64,
    failed: u64,
}

/// How it is seen.
#[derive(Debug)]
enum Shown {
    /// A bar that fills as the run gets on.
    Bar(ProgressBar),
    Lines,
    Quiet,
}

/// What ends a run: its time, so many requests, or the first of both.
#[derive(Clone, Copy, Debug)]
struct Goal {
    duration: Option<Duration>,
    count: Option<u64>,
}

/// How often a bar is drawn a second: smooth to the eye, and no work.
const FRAMES_PER_S: u8 = 10;
/// A bar's length: finer than any terminal shows it.
const BAR_PARTS: u64 = 10_000;

impl View {
    /// That of a run.
    pub(crate) fn new(plan: &Plan, quiet: bool) -> View {
        let shown = if quiet {
            Shown::Quiet
        } else if std::io::stderr().is_terminal() {
            Shown::Bar(bar(ProgressDrawTarget::stderr_with_hz(FRAMES_PER_S)))
        } else {
            Shown::Lines
        };
        let asked = match plan.pace {
            Pace::Closed => None,
            Pace::Open { rate, .. } => Some((rate, plan.ramp)),
        };
        let goal = Goal { duration: plan.is_timed.then_some(plan.duration), count: plan.count };
        let (warm_up, until) = (plan.warm_up, plan.duration);
        View { shown, goal, asked, warm_up, until, time: Duration::ZERO, answered: 0, failed: 0 }
    }

    /// A second that all cores have told of.
    pub(crate) fn second(&mut self, interval: Interval, second: &Second) {
        // What counts of a second of the warm-up comes again with the next one.
        if interval.from >= self.warm_up {
            self.answered += second.answered;
            self.failed += second.failures.total();
        }
        let line = self.line(interval, second);
        match &self.shown {
            Shown::Bar(bar) => bar.set_message(line),
            Shown::Lines => {
                crate::note(&format!("{:>4} s  {line}", (interval.until.as_secs_f64() * 10.0).round() / 10.0));
            }
            Shown::Quiet => {}
        }
        self.draw();
    }

    /// The run is so old.
    pub(crate) fn at(&mut self, time: Duration) {
        self.time = time;
        self.draw();
    }

    /// It is over: a bar leaves the screen, for the outcome says more.
    pub(crate) fn end(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }

    fn draw(&self) {
        if let Shown::Bar(bar) = &self.shown {
            let part = self.goal.part(self.time, self.answered + self.failed);
            bar.set_position((part * BAR_PARTS as f64) as u64);
        }
    }

    /// A second in one line: what was answered of what was asked for, how fast, how late the generator itself was, and the sums.
    fn line(&self, interval: Interval, second: &Second) -> String {
        if interval.from < self.warm_up {
            return "warm-up".to_owned();
        }
        let us = |quantile| second.latency.value_at_quantile(quantile) / 1000;
        let seconds = interval.length().as_secs_f64().max(1e-9);
        let mut line = format!("{:.0}/s", second.answered as f64 / seconds);
        if let Some((rate, ramp)) = self.asked {
            let due = |at: Duration| schedule::due(rate, ramp, at.min(self.until).as_secs_f64());
            line.push_str(&format!(" of {:.0}/s", (due(interval.until) - due(interval.from)) / seconds));
        }
        line.push_str(&format!("  p50 {} us  p99 {} us", us(0.5), us(0.99)));
        if self.asked.is_some() {
            line.push_str(&format!("  late p99 {} us", second.late.value_at_quantile(0.99) / 1000));
        }
        for (failure, count) in second.failures.some() {
            line.push_str(&format!("  {} {count}", failure.name()));
        }
        let of_all = self.goal.count.map_or_else(String::new, |count| format!(" of {count}"));
        line.push_str(&format!("  in all {} answered, {} failed{of_all}", self.answered, self.failed));
        line
    }
}

fn bar(target: ProgressDrawTarget) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(BAR_PARTS), target);
    bar.set_style(ProgressStyle::with_template("{bar:30} {elapsed} {msg}").expect("a right template"));
    bar
}

impl Goal {
    /// How much of it is behind a run that is so old and has so many requests done, 0 to 1.
    fn part(self, time: Duration, done: u64) -> f64 {
        let of_time = self.duration.map_or(0.0, |all| time.as_secs_f64() / all.as_secs_f64().max(1e-9));
        let of_count = self.count.map_or(0.0, |all| done as f64 / all.max(1) as f64);
        of_time.max(of_count).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    fn view(goal: Goal, asked: Option<(f64, Duration)>) -> View {
        let shown = Shown::Bar(bar(ProgressDrawTarget::hidden()));
        let (warm_up, until) = (SECOND, 3600 * SECOND);
        View { shown, goal, asked, warm_up, until, time: Duration::ZERO, answered: 0, failed: 0 }
    }

    fn interval(from_ms: u64, until_ms: u64) -> Interval {
        Interval { from: Duration::from_millis(from_ms), until: Duration::from_millis(until_ms) }
    }

    fn second(answered: u64, timeouts: u64) -> Second {
        let mut second = Second { answered, ..Second::default() };
        second.failures.add(Failure::Timeout, timeouts);
        second
    }

    fn position(view: &View) -> u64 {
        match &view.shown {
            Shown::Bar(bar) => bar.position() * 100 / BAR_PARTS,
            other => panic!("{other:?}"),
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// Guards against a bar that stands still where requests are counted and there is no time to fill it.
    #[test]
    fn a_bar_fills_by_what_ends_the_run() {
        let mut counted = view(Goal { duration: None, count: Some(1000) }, None);
        counted.at(3600 * SECOND);
        assert_eq!(position(&counted), 0);
        // What counts of the warm-up's second comes with the next one, too.
        counted.second(interval(0, 1000), &second(5, 0));
        assert_eq!(position(&counted), 0);
        counted.second(interval(1000, 2000), &second(240, 10));
        assert_eq!(position(&counted), 25);
        counted.second(interval(2000, 3000), &second(900, 0));
        assert_eq!(position(&counted), 100);
        let mut timed = view(Goal { duration: Some(10 * SECOND), count: None }, None);
        timed.at(4 * SECOND);
        assert_eq!(position(&timed), 40);
        let mut both = view(Goal { duration: Some(10 * SECOND), count: Some(1000) }, None);
        both.at(SECOND);
        both.second(interval(1000, 2000), &second(500, 0));
        assert_eq!(position(&both), 50);
    }

    #[test]
    fn a_line_has_what_was_asked_for_and_the_sums() {
        let mut open = view(Goal { duration: Some(10 * SECOND), count: None }, Some((100.0, 2 * SECOND)));
        open.second(interval(1000, 2000), &second(20, 3));
        let mut late = second(70, 0);
        late.late.record(61_000).expect("it grows");
        open.answered += 70;
        let line = open.line(interval(1000, 2000), &late);
        assert!(line.starts_with("70/s of 75/s  p50 0 us") && line.contains("  late p99 61 us"), "{line}");
        assert!(line.ends_with("  in all 90 answered, 3 failed"), "{line}");
        let closed = view(Goal { duration: None, count: Some(1000) }, None);
        let line = closed.line(interval(1000, 1500), &second(7, 1));
        assert_eq!(closed.line(interval(0, 1000), &second(0, 0)), "warm-up");
        assert_eq!(line, "14/s  p50 0 us  p99 0 us  timeout 1  in all 0 answered, 0 failed of 1000");
    }
}
