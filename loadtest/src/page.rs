//! `ringway-load report`: outcomes of `run` and `sweep` as one HTML page that needs nothing else: tables, curves, and the figures themselves.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::Value;

use crate::plot::{Axis, Line, Scale, draw, escaped, short};
use crate::report::QUANTILES;

/// What can be said.
pub(crate) fn command() -> Command {
    Command::new("report")
        .about("One HTML page of outcomes that run and sweep have written as JSON")
        .arg(
            Arg::new("files")
                .required(true)
                .value_name("[NAME=]FILE")
                .action(ArgAction::Append)
                .num_args(1..)
                .help("JSON of run or sweep, and how it is called on the page"),
        )
        .arg(
            Arg::new("out")
                .short('o')
                .long("out")
                .value_name("FILE")
                .default_value("report.html")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(Arg::new("title").long("title").value_name("TEXT").default_value("Load test"))
}

/// One outcome.
#[derive(Debug)]
struct Source {
    name: String,
    json: Value,
}

/// Writes the page.
///
/// # Errors
/// A file that cannot be read or written, or is no outcome.
pub(crate) fn report(matches: &mut ArgMatches) -> Result<(), String> {
    const DEFAULTED: &str = "required or with a default";
    let files = matches.remove_many::<String>("files").expect(DEFAULTED);
    let sources = files.map(|file| read(&file)).collect::<Result<Vec<_>, _>>()?;
    let title: String = matches.remove_one("title").expect(DEFAULTED);
    let out: PathBuf = matches.remove_one("out").expect(DEFAULTED);
    crate::write(&out, &page(&title, &sources))
}

fn read(argument: &str) -> Result<Source, String> {
    let (name, path) = match argument.split_once('=') {
        Some((name, path)) => (name.to_owned(), Path::new(path)),
        None => {
            let path = Path::new(argument);
            (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path)
        }
    };
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let json: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    if json["latency_us"].is_object() || json["steps"].is_array() {
        Ok(Source { name, json })
    } else {
        Err(format!("{}: neither of run nor of sweep", path.display()))
    }
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #d8dde3;
  --c0: #0b62c4; --c1: #c2410c; --c2: #15803d; --c3: #7e22ce; --c4: #a16207; --c5: #be185d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --paper: #14171a; --faint: #3a4149;
  --c0: #66b0ff; --c1: #ff9a62; --c2: #5fd28a; --c3: #c99bff; --c4: #e5c158; --c5: #ff8fc0; } }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--faint); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
svg { width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 13px; }
.grid { stroke: var(--faint); } polyline, svg path { fill: none; stroke-width: 2; } .grid { stroke-width: 1 !important; }
.dashed { stroke-dasharray: 6 4; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); }
.c3 { stroke: var(--c3); } .c4 { stroke: var(--c4); } .c5 { stroke: var(--c5); }
pre { overflow-x: auto; font-size: 13px; } .bad { color: var(--c1); font-weight: 600; }
";

fn page(title: &str, sources: &[Source]) -> String {
    let title = escaped(title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>\n"
    );
    let (runs, sweeps): (Vec<&Source>, Vec<&Source>) =
        sources.iter().partition(|source| source.json["latency_us"].is_object());
    if !runs.is_empty() {
        out.push_str(&run_table(&runs));
        out.push_str("<h2>Latency by percentile</h2>\n");
        out.push_str(&percentiles(&runs));
    }
    for sweep in sweeps {
        let _ = write!(out, "<h2>{}</h2>\n{}", escaped(&sweep.name), sweep_part(sweep));
    }
    out.push_str("<h2>The figures</h2>\n");
    for source in sources {
        let _ = writeln!(
            out,
            "<details><summary>{}</summary><pre>{}</pre></details>",
            escaped(&source.name),
            escaped(&format!("{:#}", source.json))
        );
    }
    out.push_str("</body></html>\n");
    out
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = String::from("<div class=\"wide\"><table><tr>");
    head.iter().for_each(|cell| _ = write!(out, "<th>{cell}</th>"));
    for row in rows {
        out.push_str("</tr><tr>");
        row.iter().for_each(|cell| _ = write!(out, "<td>{cell}</td>"));
    }
    out.push_str("</tr></table></div>\n");
    out
}

fn run_table(runs: &[&Source]) -> String {
    let head = [
        "",
        "what",
        "loop",
        "answered/s",
        "failed",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "max µs",
        "late p99 µs",
        "verdict",
    ];
    let row = |source: &&Source| {
        let json = &source.json;
        let latency = &json["latency_us"];
        let plan = &json["plan"];
        let pace = match plan["rate"].as_f64() {
            Some(rate) => format!("open, {}/s", short(rate)),
            None => "closed".to_owned(),
        };
        let verdict = json["verdict"].as_str().unwrap_or_default();
        let class = if verdict == "good" { "" } else { " class=\"bad\"" };
        let protocol = plan["protocol"].as_str().unwrap_or_default();
        let mut row = vec![escaped(&source.name), escaped(protocol), pace, format!("{:.0}", number(&json["rate"]))];
        row.push(number(&json["failed"]).to_string());
        row.extend(["p50", "p99", "p99.9", "max"].map(|name| format!("{:.0}", number(&latency[name]))));
        row.push(format!("{:.0}", number(&json["generator"]["late_us"]["p99"])));
        row.push(format!("<span{class}>{}</span>", escaped(verdict)));
        row
    };
    table(&head, &runs.iter().map(row).collect::<Vec<_>>())
}

/// Latency against one request in so many.
fn percentiles(runs: &[&Source]) -> String {
    let lines: Vec<Line> = runs
        .iter()
        .enumerate()
        .map(|(colour, source)| {
            let latency = &source.json["latency_us"];
            let points = QUANTILES.iter().map(|(name, part)| (1.0 / (1.0 - part), number(&latency[*name]).max(1e-3)));
            Line { name: source.name.clone(), points: points.collect(), colour, is_dashed: false }
        })
        .collect();
    let marks = [(2.0, "50 %"), (10.0, "90 %"), (100.0, "99 %"), (1e3, "99.9 %"), (1e4, "99.99 %"), (1e5, "99.999 %")];
    let x = Axis {
        name: "part of all requests that are no slower",
        scale: Scale::Logarithmic,
        marks: marks.map(|(value, text)| (value, text.to_owned())).to_vec(),
    };
    let y = Axis::logarithmic("latency, µs", lines.iter().flat_map(|line| line.points.iter().map(|point| point.1)));
    draw("Latency by percentile", &x, &y, &lines)
}

fn sweep_part(sweep: &Source) -> String {
    let steps = sweep.json["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_rate = sweep.json["axis"] == "rate";
    let row = |step: &Value| {
        let latency = &step["latency_us"];
        let mut row = vec![short(number(&step["at"])), format!("{:.0}", number(&step["rate"]))];
        row.extend(["p50", "p99", "p99.9", "max"].map(|name| format!("{:.0}", number(&latency[name]))));
        row.push(number(&step["failed"]).to_string());
        row.push(escaped(step["past"].as_str().unwrap_or_default()));
        row
    };
    let first = if is_rate { "rate" } else { "connections" };
    let head = [first, "answered/s", "p50 µs", "p99 µs", "p99.9 µs", "max µs", "failed", "past the knee"];
    let line = |colour: usize, name: &str, is_dashed| Line {
        name: name.to_owned(),
        points: steps.iter().map(|step| (number(&step["at"]), number(&step["latency_us"][name]).max(1e-3))).collect(),
        colour,
        is_dashed,
    };
    let lines = [line(0, "p50", false), line(1, "p99", false), line(3, "p99.9", true)];
    let values = steps.iter().map(|step| number(&step["at"]));
    let x = if is_rate { Axis::even("requests a second", values) } else { Axis::logarithmic("connections", values) };
    let y = Axis::logarithmic("latency, µs", lines.iter().flat_map(|line| line.points.iter().map(|point| point.1)));
    let knee = match sweep.json["knee"].as_f64() {
        Some(knee) => format!("<p>The knee is at {}.</p>\n", short(knee)),
        None => "<p>The knee is below the first step.</p>\n".to_owned(),
    };
    let drawn = draw(&format!("{}: latency", sweep.name), &x, &y, &lines);
    format!("{knee}{}{drawn}\n", table(&head, &steps.iter().map(row).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_has_what_was_measured_and_needs_nothing_else() {
        let run = json!({
            "rate": 1000.0, "failed": 0, "verdict": "good", "plan": {"protocol": "HTTP/2", "rate": 1000.0},
            "latency_us": {"p50": 90.0, "p99": 400.0, "p99.9": 900.0, "max": 1000.0}, "generator": {"late_us": {"p99": 60}},
        });
        let step =
            |at| json!({"at": at, "rate": at, "failed": 0, "latency_us": {"p50": 90.0, "p99": at}, "past": "<slow>"});
        let sweep = json!({"axis": "rate", "knee": 100.0, "steps": [step(100.0), step(2000.0)]});
        let sources = [("a<b", run), ("grows", sweep)].map(|(name, json)| Source { name: name.into(), json });
        let page = page("T & t", &sources);
        for part in ["T &amp; t", "a&lt;b", "1000</td>", "&lt;slow&gt;", "The knee is at 100.", "viewport", "dark"] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert_eq!(page.matches("<svg").count(), 2);
        for outside in ["http://", "https://", "<script", "NaN"] {
            assert!(!page.contains(outside), "{outside} in {page}");
        }
    }
}
