//! What `run` and `sweep` found: a table of the runs, their latencies by percentile, and each sweep's table and curve.

use super::table::{number, table};
use super::{Plots, Source};
use crate::plot::{Axis, Line, Scale, draw, escaped, short};
use crate::report::QUANTILES;

use serde_json::Value;

/// The runs: a table, and a plot.
pub(super) fn part(runs: &[&Source], plots: &mut Plots) -> String {
    let figure = plots.figure("Latency by percentile", percentiles(runs));
    format!("{}<div class=\"plots\">{figure}</div>\n", run_table(runs))
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

fn percentiles(runs: &[&Source]) -> String {
    let runs = runs.iter().enumerate().map(|(at, source)| (source.name.clone(), at, &source.json["latency_us"]));
    curves("Latency by percentile", &runs.collect::<Vec<_>>())
}

/// Latency against one request in so many: a name, a colour and percentiles for each line.
pub(super) fn curves(title: &str, latencies: &[(String, usize, &Value)]) -> String {
    let lines: Vec<Line> = latencies
        .iter()
        .map(|(name, colour, latency)| {
            let known = QUANTILES.iter().filter(|(name, _)| latency[*name].is_number());
            let points = known.map(|(name, part)| (1.0 / (1.0 - part), number(&latency[*name]).max(1e-3)));
            Line { name: name.clone(), points: points.collect(), colour: *colour, is_dashed: false }
        })
        .collect();
    let marks = [(2.0, "50 %"), (10.0, "90 %"), (100.0, "99 %"), (1e3, "99.9 %"), (1e4, "99.99 %"), (1e5, "99.999 %")];
    let x = Axis {
        name: "part of all requests that are no slower",
        scale: Scale::Logarithmic,
        marks: marks.map(|(value, text)| (value, text.to_owned())).to_vec(),
    };
    let y = Axis::logarithmic("latency, µs", lines.iter().flat_map(|line| line.points.iter().map(|point| point.1)));
    draw(title, &x, &y, &lines)
}

pub(super) fn sweep_part(sweep: &Source, plots: &mut Plots) -> String {
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
    let figure = plots.figure(&format!("{}: latency", sweep.name), drawn);
    format!("{knee}{}<div class=\"plots\">{figure}</div>\n", table(&head, &steps.iter().map(row).collect::<Vec<_>>()))
}
