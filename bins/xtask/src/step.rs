//! One step of a run and its verdict, and the table at the end.

use std::time::{Duration, Instant};

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All that the step looks at holds. The text says how much was looked at.
    Pass(String),
    /// Something does not hold.
    Fail(String),
    /// The step could not look: what it needs is missing. A failure where `RINGWAY_REQUIRE_ALL=1`.
    Missing(String),
    /// The step shows figures and judges nothing.
    Shown(String),
}

/// One line of the table at the end.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    verdict: Verdict,
    took: Duration,
}

/// The steps so far, and what they left out.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// Each reason for a skip with how often it was given, in order of first appearance.
    skips: Vec<(String, usize)>,
}

impl Report {
    /// Runs one step, prints its name before and its verdict after, and keeps both.
    pub(crate) fn step(&mut self, name: &str, run: impl FnOnce(&mut Skips) -> Verdict) {
        println!("\n=== {name}");
        let mut skips = Skips::default();
        let started = Instant::now();
        let mut verdict = run(&mut skips);
        if let (Verdict::Missing(why), true) = (&verdict, crate::workspace::require_all()) {
            verdict = Verdict::Fail(format!("missing, and RINGWAY_REQUIRE_ALL=1: {why}"));
        }
        let row = Row { name: name.to_owned(), verdict, took: started.elapsed() };
        println!("=== {}", row.line());
        self.rows.push(row);
        for why in skips.0 {
            match self.skips.iter_mut().find(|(known, _)| *known == why) {
                Some((_, count)) => *count += 1,
                None => self.skips.push((why, 1)),
            }
        }
    }

    /// Prints the table; an error if anything failed.
    pub(crate) fn end(self) -> Result<(), String> {
        println!("\n{:<26} {:>8}  verdict", "step", "seconds");
        for row in &self.rows {
            println!("{}", row.line());
        }
        let total: Duration = self.rows.iter().map(|row| row.took).sum();
        println!("{:<26} {:>8.1}", "all", total.as_secs_f64());
        for (why, count) in &self.skips {
            println!("SKIPPED x{count}: {why}");
        }
        if self.skips.is_empty() {
            println!("nothing was skipped");
        }
        for row in &self.rows {
            if let Verdict::Fail(why) = &row.verdict {
                println!("\n=== {} failed: {why}", row.name);
            }
        }
        let failed: Vec<&str> = self
            .rows
            .iter()
            .filter(|row| matches!(row.verdict, Verdict::Fail(_)))
            .map(|row| row.name.as_str())
            .collect();
        match failed.as_slice() {
            [] => Ok(()),
            names => Err(format!("failed: {}", names.join(", "))),
        }
    }
}

impl Row {
    fn line(&self) -> String {
        let (word, text) = match &self.verdict {
            Verdict::Pass(text) => ("pass", text),
            Verdict::Fail(text) => ("FAIL", text),
            Verdict::Missing(text) => ("MISSING", text),
            Verdict::Shown(text) => ("shown", text),
        };
        let first = text.lines().next().unwrap_or_default();
        format!("{:<26} {:>8.1}  {word} {first}", self.name, self.took.as_secs_f64())
    }
}

/// What a step left out, as it says itself.
#[derive(Debug, Default)]
pub(crate) struct Skips(Vec<String>);

impl Skips {
    /// Notes one thing that was left out.
    pub(crate) fn push(&mut self, why: impl Into<String>) {
        let why = why.into();
        println!("SKIP {why}");
        self.0.push(why);
    }

    /// Notes what another program said it left out, without saying it again.
    pub(crate) fn heard(&mut self, why: &str) {
        self.0.push(why.to_owned());
    }
}
