//! `cargo xtask measure NAME`: figures for people, as Markdown tables. Judges nothing.
//!
//! All variants of a measure are started at once and their rounds are interleaved (a, b, a, b, ...), and a cell is the
//! median of its rounds: a noisy machine then moves all of them alike, and the ratios hold where the figures do not.
//! Where there are two CPUs, the proxy has CPU 0, load and origin have CPU 1, as in peerbench.

mod balance;
mod driver;
mod open_loop;
mod reuse;
mod xds_scale;

use std::path::PathBuf;
use std::time::Duration;

use crate::lab::config::{Config, route};
use crate::lab::load::{self, Answered, Backend};
use crate::lab::proxy::{Kind, Launch, Proxy, raise_descriptors};
use crate::step::{Report, Verdict};
use crate::{ci, workspace};

/// One measure.
struct Measure {
    name: &'static str,
    shows: &'static str,
    run: fn(&Stand) -> Result<Table, String>,
}

const MEASURES: &[Measure] = &[
    Measure {
        name: "io",
        shows: "ring and poll: CPU per request and latency at 1 and 64 connections",
        run: driver::io,
    },
    Measure { name: "spin", shows: "--spin-us 0, 20, 50: latency and CPU at 1 connection", run: driver::spin },
    Measure { name: "pin", shows: "--pin off and on, two workers, 64 connections", run: driver::pin },
    Measure { name: "concurrency", shows: "1 and 2 workers at 1 and 64 connections", run: driver::concurrency },
    Measure {
        name: "balance",
        shows: "--balance local, least-of-two, exact: how 2 to 64 connections spread over 2 to 8 workers",
        run: balance::spread,
    },
    Measure {
        name: "balance-cost",
        shows: "--balance with a new connection for each request: CPU per connection",
        run: balance::cost,
    },
    Measure {
        name: "open-loop",
        shows: "latency at half of the slowest peer's capacity, open loop: ring, poll, Envoy, HAProxy, nginx",
        run: open_loop::run,
    },
    Measure {
        name: "reuse",
        shows: "requests that find a warm upstream connection: 8 workers, 64 clients",
        run: reuse::run,
    },
    Measure {
        name: "xds-scale",
        shows: "10,000 clusters by delta ADS on Envoy, ring and poll: start, memory, one endpoint moved a thousand times",
        run: xds_scale::run,
    },
];

/// What a measure gets.
#[derive(Debug)]
pub(crate) struct Stand {
    /// A folder of its own.
    pub(crate) folder: PathBuf,
    /// Interleaved rounds, whose median is shown.
    pub(crate) rounds: usize,
    /// Seconds of load of each variant in each round.
    pub(crate) seconds: u64,
    /// The CPU of load and origin, and the one of a proxy with one worker: where there are two.
    pub(crate) apart: Option<[usize; 2]>,
}

/// A table of figures.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// What holds for all rows: one line.
    pub(crate) note: String,
    /// Heads of the columns.
    pub(crate) columns: Vec<String>,
    /// Cells.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// The table in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("{}\n\n{}|", self.note, line(&self.columns));
        text.push_str(&"---|".repeat(self.columns.len()));
        text.push('\n');
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }
}

/// The names, and what each shows.
pub(crate) fn list() {
    for measure in MEASURES {
        println!("{:<14} {}", measure.name, measure.shows);
    }
}

/// `cargo xtask measure NAME|all [--rounds N] [--seconds N]`.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let (name, options) = words.split_first().expect("the caller saw a name");
    let [rounds, seconds] = read_options(options)?;
    let wanted: Vec<&Measure> = MEASURES.iter().filter(|measure| *name == "all" || measure.name == *name).collect();
    if wanted.is_empty() {
        let names: Vec<&str> = MEASURES.iter().map(|measure| measure.name).collect();
        return Err(format!("no measure {name}; there are: {}", names.join(", ")));
    }
    let _raised = raise_descriptors();
    let mut report = Report::default();
    report.step("build --release", |skips| ci::cargo(&["build", "--release", "--bin", "ringway"], skips));
    for measure in wanted {
        report.step(measure.name, |_| {
            let measured = workspace::scratch(&format!("measure-{}", measure.name)).and_then(|folder| {
                let apart = std::thread::available_parallelism().is_ok_and(|count| count.get() >= 2).then_some([1, 0]);
                (measure.run)(&Stand { folder, rounds: rounds as usize, seconds, apart })
            });
            match measured {
                Ok(table) => {
                    println!("\n{}", table.markdown());
                    Verdict::Shown(table.note)
                }
                Err(why) => Verdict::Missing(why),
            }
        });
    }
    report.end()
}

/// Rounds and seconds.
fn read_options(options: &[&str]) -> Result<[u64; 2], String> {
    let mut read = [5, 2];
    for pair in options.chunks(2) {
        let at = match pair[0] {
            "--rounds" => 0,
            "--seconds" => 1,
            other => return Err(format!("no option {other}; there are --rounds N and --seconds N")),
        };
        let number = pair.get(1).and_then(|text| text.parse().ok()).filter(|number| *number > 0);
        read[at] = number.ok_or_else(|| format!("{} wants a number above 0", pair[0]))?;
    }
    Ok(read)
}

/// One way to run the proxy.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    /// Its name in the table.
    pub(crate) name: String,
    /// The driver.
    pub(crate) kind: Kind,
    /// Workers.
    pub(crate) concurrency: usize,
    /// Further arguments.
    pub(crate) arguments: Vec<String>,
}

impl Variant {
    /// A variant with one worker and no further arguments.
    pub(crate) fn of(kind: Kind) -> Variant {
        Variant { name: kind.name().to_owned(), kind, concurrency: 1, arguments: Vec::new() }
    }

    /// The same under another name with further arguments.
    pub(crate) fn with(self, name: &str, arguments: &[&str]) -> Variant {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Variant { name: name.to_owned(), arguments, ..self }
    }

    /// The same with so many workers.
    pub(crate) fn workers(self, concurrency: usize) -> Variant {
        Variant { concurrency, ..self }
    }

    /// Starts it before one origin; its listener is `front`. A proxy with one worker has its CPU for itself, the control
    /// thread included.
    pub(crate) fn start(&self, stand: &Stand, origin: &Backend) -> Result<Proxy, String> {
        let any = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
        let config =
            Config::default().listener("front", any, &[route("/", "back")]).cluster("back", &[origin.address()]);
        let name: String = self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let file = stand.folder.join(format!("{name}.yaml"));
        std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let (folder, concurrency) = (stand.folder.as_path(), self.concurrency);
        let launch = Launch { kind: self.kind, folder, name: &name, file: &file, concurrency, arguments: &arguments };
        let proxy = Proxy::start(&launch)?;
        if let (1, Some([_, cpu])) = (concurrency, stand.apart) {
            proxy.move_to(cpu)?;
        }
        Ok(proxy)
    }
}

/// What one round of one variant came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// What the load saw.
    pub(crate) answered: Answered,
    /// CPU time of the proxy per request, in microseconds.
    pub(crate) cpu_us: f64,
}

/// Loads a proxy for one round.
pub(crate) fn round(stand: &Stand, proxy: &Proxy, connections: usize) -> Result<Round, String> {
    let front = proxy.listener("front")?;
    let before = proxy.cpu_time();
    let answered = load::ask(front, connections, stand.seconds, stand.apart.map(|[cpu, _]| cpu))?;
    let spent = proxy.cpu_time().saturating_sub(before);
    Ok(Round { answered, cpu_us: micros(spent) / answered.requests.max(1) as f64 })
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The middle of some numbers; 0 of none.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

/// The common table: each variant at each count of connections, rounds interleaved, the medians.
pub(crate) fn compare(stand: &Stand, variants: &[Variant], connections: &[usize]) -> Result<Table, String> {
    let origin = Backend::start(&stand.folder, stand.apart.map(|[cpu, _]| cpu))?;
    let proxies = variants.iter().map(|variant| variant.start(stand, &origin)).collect::<Result<Vec<_>, _>>()?;
    let columns =
        ["connections", "variant", "CPU per request (µs)", "p50 (µs)", "p99 (µs)", "requests per second", "errors"];
    let mut table = Table {
        note: format!("{} rounds of {} s, medians; origin: {}", stand.rounds, stand.seconds, origin.name()),
        columns: columns.map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    for count in connections {
        let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); proxies.len()];
        for number in 0..stand.rounds {
            // Each round begins with another: who comes first has the cooler machine.
            for turn in 0..proxies.len() {
                let at = (turn + number) % proxies.len();
                rounds[at].push(round(stand, &proxies[at], *count)?);
            }
        }
        for (variant, rounds) in variants.iter().zip(&rounds) {
            let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
            table.rows.push(vec![
                count.to_string(),
                variant.name.clone(),
                format!("{:.1}", of(|round| round.cpu_us)),
                format!("{:.0}", of(|round| round.answered.p50_us)),
                format!("{:.0}", of(|round| round.answered.p99_us)),
                format!("{:.0}", of(|round| round.answered.requests as f64 / round.answered.seconds)),
                rounds.iter().map(|round| round.answered.errors).sum::<u64>().to_string(),
            ]);
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown() {
        let table = Table {
            note: "a note".to_owned(),
            columns: vec!["a".to_owned(), "b".to_owned()],
            rows: vec![vec!["1".to_owned(), "2".to_owned()]],
        };
        assert_eq!(table.markdown(), "a note\n\n| a | b |\n|---|---|\n| 1 | 2 |\n");
    }

    #[test]
    fn options_and_medians() {
        assert_eq!(read_options(&["--rounds", "3"]), Ok([3, 2]));
        assert!(read_options(&["--rounds", "0"]).is_err());
        assert!(read_options(&["--fast"]).is_err());
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
