//! Latencies of open loops: of all at one and the same rate, and of each at parts of its own capacity.

use std::fmt::Write;

use serde_json::Value;

use super::super::Plots;
use super::super::runs::curves;
use super::super::table::{compared_table, digits, number};
use super::{Better, Compared, compared_cell, list, text};
use crate::plot::{Axis, Line, draw, escaped};

/// Scenarios with one rate for all.
const SAME: [(&str, &str); 2] = [("HTTP/1", "h1-same-50"), ("HTTP/2", "h2-same-50")];
/// Parts of the capacity at which latencies are measured, for either protocol.
const RATES: [(&str, [&str; 3]); 2] =
    [("HTTP/1", ["h1-rate-20", "h1-rate-50", "h1-rate-80"]), ("HTTP/2", ["h2-rate-20", "h2-rate-50", "h2-rate-80"])];

/// What is shown of latencies at the same rate, and where the rounds have it.
const SHOWN: [(&str, &str); 3] = [("p50", "p50_us"), ("p99", "p99_us"), ("p99.9", "p99.9_us")];
/// The row without a proxy.
const ORIGIN: &str = "origin";

impl<'a> Compared<'a> {
    /// A table with a row for each proxy, and a curve of each.
    pub(super) fn latency_at_the_same_rate(&self, plots: &mut Plots) -> String {
        let mut out = String::new();
        for (protocol, name) in SAME {
            let Some(scenario) = self.scenario(name) else { continue };
            let Some(rate) = list(&scenario["rows"]).iter().find(|row| row["asked_rate"].is_number()) else { continue };
            let _ = writeln!(
                out,
                "<h3>{protocol}: {} requests a second</h3>\n<p>{:.0} % of what the slowest, {}, came to in a closed loop ({} a second).</p>",
                digits(number(&rate["asked_rate"])),
                100.0 * number(&rate["asked_rate"]) / number(&rate["capacity"]).max(1e-9),
                escaped(text(&rate["capacity_of"])),
                digits(number(&rate["capacity"])),
            );
            out.push_str(&self.same_rate_table(scenario));
            let caption = format!("{protocol}: latency at the same rate");
            let names: Vec<&str> = self.names.iter().copied().chain([ORIGIN]).collect();
            let figure = plots.figure(&caption, self.curves(&caption, scenario, &names));
            let _ = writeln!(out, "<div class=\"plots\">\n{figure}</div>");
        }
        if out.is_empty() {
            return out;
        }
        format!(
            "<h2>Latency at the same rate</h2>\n<p>In an open loop at one rate for all, in microseconds from when a request was due. Below each median \
             of the rounds stand the least and the greatest: where these overlap, two are the same. The best of each column is set in bold. The origin is \
             what the generator and the origin take by themselves, without a proxy. Late is what the generator, which shares CPUs with the origin, was \
             late by at p99: a part of the latency. Load is which part of its own closed loop the rate is.</p>\n{out}"
        )
    }

    fn same_rate_table(&self, scenario: &'a Value) -> String {
        let rows = self.names.iter().copied().chain([ORIGIN]).filter_map(|name| {
            let row = Self::row(scenario, name)?;
            let doubtful = if row["doubt"].is_string() { " <span class=\"bad\">doubtful</span>" } else { "" };
            let mut cells = vec![format!("{}{doubtful}", escaped(name))];
            match text(&row["outcome"]) {
                "cannot" => cells.push("<small>cannot</small>".to_owned()),
                "failed" => cells.push("<span class=\"bad\">failed</span>".to_owned()),
                _ => {
                    cells.extend(SHOWN.map(|shown| self.same_rate_cell(scenario, row, shown)));
                    cells.push(row.pointer("/late_us/p99").and_then(Value::as_f64).map_or_else(String::new, digits));
                    let own = number(&row["asked_rate"]) / number(&row["own_capacity"]).max(1e-9);
                    cells.push(format!("{:.0} %", 100.0 * own));
                }
            }
            cells.resize(SHOWN.len() + 3, String::new());
            Some(cells)
        });
        let mut head: Vec<String> = SHOWN.iter().map(|(name, _)| format!("{name}, µs")).collect();
        head.extend(["late, µs".to_owned(), "load".to_owned()]);
        compared_table(&head, &rows.collect::<Vec<_>>())
    }

    /// A median, compared with the best of all proxies, and its spread.
    fn same_rate_cell(&self, scenario: &Value, row: &Value, (name, of_round): (&str, &str)) -> String {
        let pointer = format!("/latency_us/{name}");
        let Some(figure) = row.pointer(&pointer).and_then(Value::as_f64) else { return String::new() };
        let best = self.best(scenario, &pointer, Better::Less).filter(|_| row["subject"] != ORIGIN);
        let rounds = || list(&row["rounds"]).iter().filter_map(|round| round[of_round].as_f64());
        let (least, most) = (rounds().fold(f64::INFINITY, f64::min), rounds().fold(0.0, f64::max));
        let mut cell = compared_cell(figure, best);
        if least <= most {
            let _ = write!(cell, "<small class=\"spread\">{}–{}</small>", digits(least), digits(most));
        }
        cell
    }

    /// Latency by percentile of those of these that were measured.
    fn curves(&self, caption: &str, scenario: &Value, names: &[&str]) -> String {
        let measured = |name: &&str| {
            let row =
                list(&scenario["rows"]).iter().find(|row| row["subject"] == *name && row["outcome"] == "measured")?;
            // A proxy has its colour in all plots; what is none, the one behind theirs.
            let colour = self.names.iter().position(|other| other == name).unwrap_or(self.names.len());
            Some(((*name).to_owned(), colour, &row["latency_us"]))
        };
        curves(caption, &names.iter().filter_map(measured).collect::<Vec<_>>())
    }

    pub(super) fn latency_at_own_rates(&self, plots: &mut Plots) -> String {
        let mut out = String::new();
        for (protocol, names) in RATES {
            let scenarios: Vec<&Value> = names.iter().filter_map(|name| self.scenario(name)).collect();
            if scenarios.is_empty() {
                continue;
            }
            let _ = writeln!(out, "<h3>{protocol}</h3>");
            let mut rows: Vec<Vec<String>> = Vec::new();
            for (what, pointer) in
                [("p50, µs", "/latency_us/p50"), ("p99, µs", "/latency_us/p99"), ("p99.9, µs", "/latency_us/p99.9")]
            {
                for scenario in &scenarios {
                    let share = text(&scenario["name"]).rsplit('-').next().unwrap_or_default();
                    let mut row = vec![format!("{what}, at {} % of capacity", escaped(share))];
                    row.extend(self.cells(scenario, pointer, Better::Less));
                    rows.push(row);
                }
            }
            out.push_str(&compared_table(&self.escaped_names(), &rows));
            out.push_str("<div class=\"plots\">\n");
            let caption = format!("{protocol}: latency against rate");
            out.push_str(&plots.figure(&caption, self.against_rate(&caption, &scenarios)));
            for scenario in &scenarios {
                let caption = text(&scenario["what"]);
                out.push_str(&plots.figure(caption, self.curves(caption, scenario, &self.names)));
            }
            out.push_str("</div>\n");
        }
        if out.is_empty() {
            return out;
        }
        format!(
            "<h2>Latency at rates of their own</h2>\n<p>In an open loop at a part of what each proxy's own closed loop came to, so that the faster has more to do. A latency runs \
             from when a request was due.</p>\n{out}"
        )
    }

    /// p50 (dashed) and p99 of each proxy at the rates that it answered.
    fn against_rate(&self, title: &str, scenarios: &[&Value]) -> String {
        let mut lines = Vec::new();
        for name in &self.names {
            for (quantile, is_dashed) in [("p99", false), ("p50", true)] {
                let point = |scenario: &&Value| {
                    let rate = Self::figure(scenario, name, "/rate/median")?;
                    let latency = Self::figure(scenario, name, &format!("/latency_us/{quantile}"))?;
                    Some((rate, latency.max(1e-3)))
                };
                let points: Vec<(f64, f64)> = scenarios.iter().filter_map(point).collect();
                if !points.is_empty() {
                    let colour = self.colour(name);
                    lines.push(Line { name: format!("{name}, {quantile}"), points, colour, is_dashed });
                }
            }
        }
        let all = || lines.iter().flat_map(|line| line.points.iter());
        let x = Axis::even("requests a second", all().map(|point| point.0));
        let y = Axis::logarithmic("latency, µs", all().map(|point| point.1).collect::<Vec<_>>().into_iter());
        draw(title, &x, &y, &lines)
    }

    /// Where the generator did not keep a rate.
    pub(super) fn doubts(&self) -> String {
        let doubts: Vec<String> = list(&self.json["scenarios"])
            .iter()
            .flat_map(|scenario| list(&scenario["rows"]).iter().map(move |row| (scenario, row)))
            .filter_map(|(scenario, row)| {
                let doubt = row["doubt"].as_str()?;
                let (scenario, subject) = (text(&scenario["name"]), text(&row["subject"]));
                Some(format!("<li>{}, {}: {}</li>", escaped(scenario), escaped(subject), escaped(doubt)))
            })
            .collect();
        if doubts.is_empty() {
            return String::new();
        }
        format!(
            "<p>The generator did not keep the rate, so that these latencies are partly its own:</p><ul>{}</ul>\n",
            doubts.join("")
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(name: &str, p50: f64, own: f64) -> Value {
        json!({
            "subject": name, "outcome": "measured", "latency_us": {"p50": p50, "p99": 2.0 * p50, "p99.9": 3.0 * p50}, "late_us": {"p99": 7.0},
            "asked_rate": 500.0, "capacity": 1000.0, "capacity_of": "a <slow> one", "own_capacity": own,
            "rounds": [{"p50_us": p50 - 1.0, "p99_us": 2.0 * p50}, {"p50_us": p50 + 1.0, "p99_us": 2.0 * p50}],
        })
    }

    /// The best of each column is marked, and the origin, which is no proxy, never is; spreads are those of the rounds, where they have them.
    #[test]
    fn latencies_at_the_same_rate_are_a_row_each() {
        let mut doubtful = row("ours", 20.0, 5000.0);
        doubtful["doubt"] = json!("late");
        let cannot = json!({"subject": "none", "outcome": "cannot", "why": "no"});
        let rows = json!([row("origin", 10.0, 9000.0), row("a <slow> one", 40.0, 1000.0), doubtful, cannot]);
        let json = json!({"scenarios": [{"name": "h1-same-50", "rows": rows}]});
        let compared = Compared { json: &json, names: vec!["ours", "a <slow> one", "none"] };
        let mut plots = Plots::default();
        let out = compared.latency_at_the_same_rate(&mut plots);
        assert!(
            out.contains("HTTP/1: 500 requests a second")
                && out.contains("50 % of what the slowest, a &lt;slow&gt; one, came to"),
            "{out}"
        );
        let row = |name: &str| {
            let row = out.split("<tr>").find(|row| row.starts_with(&format!("<td>{name}")));
            row.unwrap_or_else(|| panic!("{name} in {out}")).to_owned()
        };
        let ours = row("ours");
        assert_eq!((ours.matches("best").count(), ours.matches("doubtful").count()), (3, 1), "{ours}");
        assert!(
            ours.contains("19.0–21.0") && ours.contains("<td>10 %</td>") && ours.contains("<td>7.00</td>"),
            "{ours}"
        );
        assert_eq!(ours.matches('–').count(), 2, "the rounds do not have p99.9: {ours}");
        assert_eq!(row("a &lt;slow&gt; one").matches("×2.00").count(), 3);
        let origin = row("origin");
        assert!(!origin.contains("best") && !origin.contains('×') && origin.contains("10.0"), "{origin}");
        assert_eq!((row("none").matches("cannot").count(), row("none").matches("<td>").count()), (1, 6));
        let (_, svg) = &plots.drawn[0];
        assert_eq!((plots.drawn.len(), svg.matches("<polyline").count()), (1, 3), "a curve for each that was measured");
    }

    #[test]
    fn a_comparison_without_open_loops_has_no_latencies() {
        let json = json!({"scenarios": [{"name": "h1-64", "rows": []}]});
        let compared = Compared { json: &json, names: vec!["ours"] };
        let mut plots = Plots::default();
        assert!(
            compared.latency_at_the_same_rate(&mut plots).is_empty()
                && compared.latency_at_own_rates(&mut plots).is_empty()
        );
        assert!(compared.doubts().is_empty() && plots.drawn.is_empty());
    }
}
