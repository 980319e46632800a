//! Makes the tables of docs/decisions/0006: `cargo run -p ringway-benches --release --bin relay-table -- [FIGURE..] [OPTION..]`.
//!
//! Starts each server as a process of its own, drives it, and prints Markdown. A cell that could not be had is a dash with its
//! reason below the table; nothing is left out in silence.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command's output")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringway_benches::relay::load::Step;
use ringway_benches::relay::rows::{ROWS, Row};
use ringway_benches::relay::runtimes::Runtime;
use ringway_benches::relay::server::{LOAD_CPU, Programs, Watch, instructions, measure, system_calls};
use ringway_benches::relay::setup::Scene;

const USAGE: &str = "usage: relay-table [instructions] [calls] [speed] [memory] (all of them when none is named)
  --runtimes LIST   ring,poll,monoio,monoio-tuned,monoio-epoll,glommio,tokio
  --rows WORD       rows whose name begins so: echo, forward, http1, `echo 64 B x 1`
  --rounds N        of speed and memory; the median counts (5)";

fn main() -> ExitCode {
    let wishes = match Wishes::from_words(std::env::args().skip(1)) {
        Ok(wishes) => wishes,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match wishes.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay-table: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Instructions,
    Calls,
    Speed,
    Memory,
}

const FIGURES: [(&str, Figure); 4] = [
    ("instructions", Figure::Instructions),
    ("calls", Figure::Calls),
    ("speed", Figure::Speed),
    ("memory", Figure::Memory),
];

struct Wishes {
    figures: Vec<Figure>,
    runtimes: Vec<Runtime>,
    rows: Vec<Row>,
    rounds: usize,
}

impl Wishes {
    fn from_words(mut words: impl Iterator<Item = String>) -> Result<Wishes, String> {
        let all = FIGURES.map(|(_, figure)| figure).to_vec();
        let mut wishes =
            Wishes { figures: Vec::new(), runtimes: Runtime::ALL.to_vec(), rows: ROWS.to_vec(), rounds: 5 };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word}: no value"));
            match word.as_str() {
                "--runtimes" => wishes.runtimes = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
                "--rows" => {
                    let start = value()?;
                    wishes.rows.retain(|row| row.name().starts_with(&start));
                }
                "--rounds" => {
                    let number = value()?.parse().ok().filter(|rounds| (1..=100).contains(rounds));
                    wishes.rounds = number.ok_or("--rounds: 1 to 100")?;
                }
                name => {
                    let figure = FIGURES.iter().find(|(word, _)| *word == name);
                    wishes.figures.push(figure.ok_or_else(|| format!("{name:?} is no figure"))?.1);
                }
            }
        }
        if wishes.figures.is_empty() {
            wishes.figures = all;
        }
        Ok(wishes)
    }

    fn run(&self) -> Result<(), String> {
        ringway_runtime::raise_descriptor_limit().map_err(|error| format!("descriptors: {error}"))?;
        if ringway_runtime::cpus::pin_current_thread(LOAD_CPU).is_err() {
            eprintln!("one CPU only: the load shares it with the server");
        }
        let this = std::env::current_exe().map_err(|error| format!("where am I: {error}"))?;
        let folder = this.parent().expect("a program stands in a folder");
        let programs = Programs::new(&folder.join("relay-server"), folder);
        if let Err(why) = &programs.glommio {
            eprintln!("left out: {why}");
        }
        let bench = Bench { wishes: self, programs, scratch: folder.join("relay-counts") };
        std::fs::create_dir_all(&bench.scratch).map_err(|error| format!("{}: {error}", bench.scratch.display()))?;
        for figure in &self.figures {
            match figure {
                Figure::Instructions => bench.counted("User instructions per message", "instructions", 0),
                Figure::Calls => bench.counted("System calls per message", "calls", 2),
                Figure::Speed => bench.speed(),
                Figure::Memory => bench.memory(),
            }
        }
        Ok(())
    }
}

struct Bench<'a> {
    wishes: &'a Wishes,
    programs: Programs,
    /// Where callgrind and strace write.
    scratch: PathBuf,
}

impl Bench<'_> {
    fn samples(
        &self,
        runtime: Runtime,
        row: &Row,
        watch: &Watch,
        steps: &[Step],
    ) -> Result<Vec<ringway_benches::relay::server::Sample>, String> {
        let program = self.programs.of(runtime)?;
        measure(program, runtime, row, watch, steps)
    }

    /// What a watcher counts over the whole process: a run with twice the messages, less one with that many, so that start, end and
    /// the connections' set-up are taken out.
    fn counted(&self, title: &str, what: &str, decimals: usize) {
        let messages = |row: &Row| if row.connections == 1 { 2_000 } else { 8_000 };
        let count = |runtime, row: &Row| {
            let total = |messages| -> Result<u64, String> {
                let file = self.scratch.join(format!("{what}.{runtime}.{}.{messages}", row.name().replace(' ', "-")));
                let watch = match what {
                    "calls" => Watch::Strace(file.clone()),
                    _ => Watch::Callgrind(file.clone()),
                };
                let steps = [Step::Connect(row.connections), Step::Exchange(messages)];
                self.samples(runtime, row, &watch, &steps)?;
                read(what, &file)
            };
            let messages = messages(row);
            let (once, twice) = (total(messages)?, total(2 * messages)?);
            Ok(twice.saturating_sub(once) as f64 / messages as f64)
        };
        let mut table = Table::new(title, self.wishes);
        for row in &self.wishes.rows {
            for runtime in &self.wishes.runtimes {
                table.set(row.name(), *runtime, count(*runtime, row));
                progress(title, row, *runtime);
            }
        }
        table.print(decimals);
    }

    /// CPU time and messages per second: rounds over all cells, so that what else the host does falls on all alike.
    fn speed(&self) {
        let mut cpu: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
        let mut rate: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
        let mut missing: BTreeMap<(usize, usize), String> = BTreeMap::new();
        for round in 0..self.wishes.rounds {
            for (at_row, row) in self.wishes.rows.iter().enumerate() {
                let messages: u64 = if row.connections == 1 { 5_000 } else { 20_000 };
                let steps = [Step::Connect(row.connections), Step::Exchange(messages / 5), Step::Exchange(messages)];
                for (at_runtime, runtime) in self.wishes.runtimes.iter().enumerate() {
                    let cell = (at_row, at_runtime);
                    match self.samples(*runtime, row, &Watch::Nothing, &steps) {
                        Ok(samples) => {
                            let [.., before, after] = samples.as_slice() else { unreachable!("a sample a step") };
                            let used = after.cpu.saturating_sub(before.cpu).as_secs_f64();
                            let elapsed = (after.at - before.at).as_secs_f64();
                            cpu.entry(cell).or_default().push(used * 1e6 / messages as f64);
                            rate.entry(cell).or_default().push(messages as f64 / elapsed / 1e3);
                        }
                        Err(why) => {
                            missing.insert(cell, why);
                        }
                    }
                }
                progress(&format!("round {round}"), row, Runtime::Ring);
            }
        }
        for (title, figures, decimals) in
            [("CPU µs per message, user and kernel", cpu, 2), ("Thousand messages per second", rate, 1)]
        {
            let mut table = Table::new(title, self.wishes);
            for (at_row, row) in self.wishes.rows.iter().enumerate() {
                for (at_runtime, runtime) in self.wishes.runtimes.iter().enumerate() {
                    let cell = (at_row, at_runtime);
                    let figure = match figures.get(&cell) {
                        Some(rounds) => Ok(median(rounds)),
                        None => Err(missing.get(&cell).cloned().unwrap_or_default()),
                    };
                    table.set(row.name(), *runtime, figure);
                }
            }
            table.print(decimals);
        }
    }

    /// Resident bytes per connection that has spoken once and is quiet: from 100 to 1,000 connections, and from there to 5,000.
    fn memory(&self) {
        let mut table = Table::new("Resident bytes per idle connection", self.wishes);
        for (scene, message_size) in [(Scene::Echo, 64), (Scene::Forward, 1024), (Scene::Http1, 1024)] {
            let row = Row { scene, connections: 1, message_size };
            let counts = [100, 1_000, if scene == Scene::Forward { 2_000 } else { 5_000 }];
            for runtime in &self.wishes.runtimes {
                let mut slopes = [Vec::new(), Vec::new()];
                let mut problem = None;
                for _ in 0..self.wishes.rounds {
                    match self.samples(*runtime, &row, &Watch::Nothing, &counts.map(Step::Connect)) {
                        Ok(samples) => {
                            for (slope, at) in slopes.iter_mut().zip([1, 2]) {
                                let bytes = samples[at + 1].resident.saturating_sub(samples[at].resident) as f64;
                                slope.push(bytes / (counts[at] - counts[at - 1]) as f64);
                            }
                        }
                        Err(why) => problem = Some(why),
                    }
                }
                for (slope, up_to) in slopes.iter().zip(&counts[1..]) {
                    let figure =
                        if slope.is_empty() { Err(problem.clone().unwrap_or_default()) } else { Ok(median(slope)) };
                    table.set(format!("{}, up to {up_to}", scene.name()), *runtime, figure);
                }
                progress("memory", &row, *runtime);
            }
        }
        table.print(0);
    }
}

fn read(what: &str, file: &Path) -> Result<u64, String> {
    if what == "calls" { system_calls(file) } else { instructions(file) }
}

/// A line on standard error: the whole takes minutes.
fn progress(what: &str, row: &Row, runtime: Runtime) {
    eprintln!("{what}: {} {runtime}", row.name());
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// One table of Markdown: rows by name in the order in which they came, a column for each runtime.
struct Table {
    title: String,
    runtimes: Vec<Runtime>,
    rows: Vec<(String, Vec<Result<f64, String>>)>,
}

impl Table {
    fn new(title: &str, wishes: &Wishes) -> Table {
        Table { title: title.to_owned(), runtimes: wishes.runtimes.clone(), rows: Vec::new() }
    }

    fn set(&mut self, row: String, runtime: Runtime, figure: Result<f64, String>) {
        let column = self.runtimes.iter().position(|known| *known == runtime).expect("a runtime that was asked for");
        let at = self.rows.iter().position(|(name, _)| *name == row).unwrap_or_else(|| {
            self.rows.push((row, vec![Err("not measured".into()); self.runtimes.len()]));
            self.rows.len() - 1
        });
        self.rows[at].1[column] = figure;
    }

    fn print(&self, decimals: usize) {
        let names: Vec<&str> = self.runtimes.iter().map(|runtime| runtime.name()).collect();
        println!("\n| {} | {} |\n|---|{}", self.title, names.join(" | "), "---|".repeat(names.len()));
        let mut reasons: Vec<&str> = Vec::new();
        for (name, figures) in &self.rows {
            let cells: Vec<String> = figures
                .iter()
                .map(|figure| match figure {
                    Ok(number) => grouped(*number, decimals),
                    Err(why) => {
                        if !reasons.contains(&why.as_str()) {
                            reasons.push(why);
                        }
                        "–".to_owned()
                    }
                })
                .collect();
            println!("| {name} | {} |", cells.join(" | "));
        }
        for why in reasons {
            println!("\n–: {why}");
        }
    }
}

/// A number with its thousands apart.
fn grouped(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), String::new()), |(w, f)| (w, format!(".{f}")));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + &fraction
}
