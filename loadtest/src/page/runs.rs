//! What `run` and `sweep` found: a table of the runs, their latencies by percentile and second by second, each sweep's table and curve, and what all of
//! that was measured by: the command, the host, and the whole plan.

use super::table::{facts, host_rows, known, number, table};
use super::{Plots, Source};
use crate::plot::{Axis, Line, Scale, draw, escaped, short};
use crate::report::QUANTILES;

use serde_json::Value;

/// The runs: a table, and a plot.
pub(super) fn part(runs: &[&Source], plots: &mut Plots) -> String {
    let figure = plots.figure("Latency by percentile", percentiles(runs));
    let mut out = format!("{}<div class=\"plots\">{figure}</div>\n", run_table(runs));
    for run in runs {
        let name = escaped(&run.name);
        out.push_str(&format!("<h3>{name}</h3>\n{}{}", series(run, plots), surroundings(&run.json)));
    }
    out
}

/// Second by second: latencies, and answers. One second alone is no line.
fn series(run: &Source, plots: &mut Plots) -> String {
    let seconds = run.json["series"].as_array().map(Vec::as_slice).unwrap_or_default();
    if seconds.len() < 2 {
        return String::new();
    }
    // A second without an answer has no latency: it is no point.
    let line = |colour, name: &str, value: &dyn Fn(&Value) -> Option<f64>| Line {
        name: name.to_owned(),
        points: seconds.iter().filter_map(|second| Some((number(&second["second"]), value(second)?))).collect(),
        colour,
        is_dashed: false,
    };
    let latency = |member: &'static str| move |second: &Value| second[member].as_f64().filter(|us| *us > 0.0);
    let each_s = |member: &'static str| {
        move |second: &Value| {
            let length = second["length_s"].as_f64().filter(|s| *s > 0.0).unwrap_or(1.0);
            Some(number(&second[member]) / length)
        }
    };
    let latencies =
        [line(0, "p50", &latency("p50_us")), line(1, "p99", &latency("p99_us")), line(3, "max", &latency("max_us"))];
    let answers = [line(2, "answered", &each_s("answered")), line(5, "failed", &each_s("failed"))];
    let times = seconds.iter().map(|second| number(&second["second"]));
    let x = Axis::even("seconds since the start", times);
    let values = |lines: &[Line]| lines.iter().flat_map(|line| &line.points).map(|point| point.1).collect::<Vec<_>>();
    let mut figure = |what: &str, y: &Axis, lines: &[Line]| {
        let caption = format!("{}: {what}", run.name);
        plots.figure(&caption, draw(&caption, &x, y, lines))
    };
    let slow =
        figure("latency by second", &Axis::logarithmic("latency, µs", values(&latencies).into_iter()), &latencies);
    let fast = figure("answers by second", &Axis::even("a second", values(&answers).into_iter()), &answers);
    format!("<div class=\"plots\">{slow}{fast}</div>\n")
}

/// The command, the host and the plan, as far as the document has them.
fn surroundings(json: &Value) -> String {
    let mut out = String::new();
    if let Some(command) = json["command"].as_str() {
        out.push_str(&format!("<pre class=\"wrapped\">{}</pre>\n", escaped(command)));
    }
    if json["host"].is_object() {
        let mut rows = vec![("ringway-load".to_owned(), known(&json["ringway_load"]))];
        rows.extend(host_rows(&json["host"]));
        out.push_str(&format!("<details><summary>The host</summary>{}</details>\n", facts(&rows)));
    }
    if let Some(plan) = json["plan"].as_object() {
        let value = |value: &Value| if value.is_null() { "none".to_owned() } else { known(value) };
        let rows: Vec<(String, String)> = plan.iter().map(|(name, of)| (escaped(name), value(of))).collect();
        out.push_str(&format!("<details><summary>The plan</summary>{}</details>\n", facts(&rows)));
    }
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
        let cell = |name: &str| latency[name].as_f64().map_or_else(|| "-".to_owned(), |us| format!("{us:.0}"));
        row.extend(["p50", "p99", "p99.9", "max"].map(cell));
        row.push(number(&step["failed"]).to_string());
        row.push(escaped(step["past"].as_str().unwrap_or_default()));
        row
    };
    let first = if is_rate { "rate" } else { "connections" };
    let head = [first, "answered/s", "p50 µs", "p99 µs", "p99.9 µs", "max µs", "failed", "past the knee"];
    let line = |colour: usize, name: &str, is_dashed| Line {
        name: name.to_owned(),
        points: steps
            .iter()
            .filter_map(|step| Some((number(&step["at"]), step["latency_us"][name].as_f64().filter(|us| *us > 0.0)?)))
            .collect(),
        colour,
        is_dashed,
    };
    let lines = [line(0, "p50", false), line(1, "p99", false), line(3, "p99.9", true)];
    let values = steps.iter().map(|step| number(&step["at"]));
    let x = if is_rate { Axis::even("requests a second", values) } else { Axis::logarithmic("connections", values) };
    let y = Axis::logarithmic("latency, µs", lines.iter().flat_map(|line| line.points.iter().map(|point| point.1)));
    let knee = match sweep.json["knee"].as_f64() {
        Some(knee) if sweep.json["knee_is_least"] == true => {
            format!("<p>The knee is at {} or more: the generator did not keep the rate beyond.</p>\n", short(knee))
        }
        Some(knee) => format!("<p>The knee is at {}.</p>\n", short(knee)),
        None if steps.is_empty() => "<p>No step was whole.</p>\n".to_owned(),
        None if sweep.json["knee_is_least"] == true => {
            "<p>The knee is not known: the generator did not keep the rate.</p>\n".to_owned()
        }
        None => "<p>The knee is below the first step.</p>\n".to_owned(),
    };
    let drawn = draw(&format!("{}: latency", sweep.name), &x, &y, &lines);
    let figure = plots.figure(&format!("{}: latency", sweep.name), drawn);
    let rows: Vec<Vec<String>> = steps.iter().map(row).collect();
    format!("{knee}{}<div class=\"plots\">{figure}</div>\n{}", table(&head, &rows), surroundings(&sweep.json))
}
