//! What `compare` found: tables with a column for each proxy, in which the best of each row is marked; bars of CPU time; latencies.

mod latency;

use std::fmt::Write;

use serde_json::Value;

use super::table::{compared_table, digits, facts, host_rows, number};
use super::{Plots, Source};
use crate::plot::{Bar, Group, bars, escaped};

/// Scenarios whose bars are drawn together.
const FAMILIES: [(&str, &[&str]); 5] = [
    ("HTTP/1", &["h1-1", "h1-64", "h1-256", "h1-sidecar"]),
    ("HTTP/2", &["h2-1", "h2-100", "h2-16x10", "h2h1-16x10"]),
    ("Raw bytes and TLS", &["tcp-64", "tls-64"]),
    ("Handshakes", &["tls-new"]),
    ("1 MiB", &["h1-1MB", "tcp-1MB"]),
];
/// A comparison, read.
struct Compared<'a> {
    json: &'a Value,
    /// Ours first.
    names: Vec<&'a str>,
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// `0, 1` of a list of numbers.
fn numbers(value: &Value) -> String {
    list(value).iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The whole part of a page.
pub(super) fn part(source: &Source, plots: &mut Plots) -> String {
    let json = &source.json;
    let (ours, others): (Vec<&Value>, Vec<&Value>) =
        list(&json["subjects"]).iter().partition(|subject| subject["ours"] == true);
    let names = ours.iter().chain(&others).map(|subject| text(&subject["name"])).collect();
    let compared = Compared { json, names };
    let mut out = compared.head();
    out.push_str(&compared.cpu(plots));
    out.push_str(&compared.rates());
    out.push_str(&compared.bulk());
    out.push_str(&compared.memory());
    out.push_str(&compared.latency_at_the_same_rate(plots));
    out.push_str(&compared.latency_at_own_rates(plots));
    out.push_str(&compared.doubts());
    out.push_str(&compared.spread());
    out.push_str(&compared.host());
    out.push_str(&compared.commands());
    out
}

/// Whether less or more of a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    Less,
    More,
}

impl<'a> Compared<'a> {
    fn escaped_names(&self) -> Vec<String> {
        self.names.iter().map(|name| escaped(name)).collect()
    }

    fn scenario(&self, name: &str) -> Option<&'a Value> {
        list(&self.json["scenarios"]).iter().find(|scenario| scenario["name"] == name)
    }

    fn colour(&self, name: &str) -> usize {
        self.names.iter().position(|other| *other == name).unwrap_or(0)
    }

    fn head(&self) -> String {
        let json = self.json;
        let versions: Vec<String> = list(&json["subjects"])
            .iter()
            .map(|subject| format!("{} {}", escaped(text(&subject["name"])), escaped(text(&subject["version"]))))
            .collect();
        let mut out = format!("<p>{} beside each other.</p>\n", versions.join(", "));
        let _ = writeln!(
            out,
            "<p>Proxies on CPU {}, the generator and the origin on {}; rounds: {}, of {} s each, in which all take their turn. Figures are medians. \
             The best of each row is <strong>set in bold</strong>, and the others say how many times as much they have.</p>",
            numbers(&json["proxy_cpus"]),
            numbers(&json["load_cpus"]),
            number(&json["rounds"]),
            number(&json["seconds"]),
        );
        if let Some(noise) = self.noise() {
            let _ = writeln!(
                out,
                "<p>How far to trust it: between the rounds of one scenario, CPU time a request moved by {noise:.0} % at the median of all, from \
                 the least to the greatest. Where two differ by less, they are the same.</p>"
            );
        }
        for note in list(&json["notes"]) {
            let _ = writeln!(out, "<p><strong>Note</strong>: {}.</p>", escaped(text(note)));
        }
        for missing in list(&json["missing"]) {
            let _ = writeln!(
                out,
                "<p>{} is missing: {}</p>",
                escaped(text(&missing["name"])),
                escaped(text(&missing["why"]))
            );
        }
        for failure in list(&json["failures"]) {
            let _ = writeln!(out, "<p class=\"bad\">Failed: {}</p>", escaped(text(failure)));
        }
        out
    }

    /// The middle of how much CPU time moved from round to round, in percent.
    fn noise(&self) -> Option<f64> {
        if number(&self.json["rounds"]) < 2.0 {
            return None;
        }
        let rows = list(&self.json["scenarios"]).iter().flat_map(|scenario| list(&scenario["rows"]));
        let spreads =
            rows.map(|row| &row["cpu_us"]).filter(|cpu| cpu["median"].as_f64().is_some_and(|median| median > 0.0));
        let mut all: Vec<f64> = spreads
            .map(|cpu| 100.0 * (number(&cpu["most"]) - number(&cpu["least"])) / number(&cpu["median"]))
            .collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    }

    /// One table: a row for each of these scenarios that has a figure, and a column for each proxy. `pointer` is where the figure is.
    fn table(&self, scenarios: &[&str], pointer: &str, better: Better, floor: bool) -> Option<String> {
        let mut rows = Vec::new();
        for scenario in scenarios.iter().filter_map(|name| self.scenario(name)) {
            let mut row = vec![label(scenario)];
            row.extend(self.cells(scenario, pointer, better));
            if floor {
                row.push(scenario["floor_cpu_us"].as_f64().map_or_else(String::new, digits));
            }
            rows.push(row);
        }
        let mut names = self.escaped_names();
        if floor {
            names.push("floor".to_owned());
        }
        (!rows.is_empty()).then(|| compared_table(&names, &rows))
    }

    fn row(scenario: &'a Value, name: &str) -> Option<&'a Value> {
        list(&scenario["rows"]).iter().find(|row| row["subject"] == name)
    }

    fn figure(scenario: &Value, name: &str, pointer: &str) -> Option<f64> {
        let row = list(&scenario["rows"]).iter().find(|row| row["subject"] == name && row["outcome"] == "measured")?;
        row.pointer(pointer)?.as_f64()
    }

    fn best(&self, scenario: &Value, pointer: &str, better: Better) -> Option<f64> {
        let figures = self.names.iter().filter_map(|name| Self::figure(scenario, name, pointer));
        match better {
            Better::Less => figures.reduce(f64::min),
            Better::More => figures.reduce(f64::max),
        }
    }

    fn cells(&self, scenario: &'a Value, pointer: &str, better: Better) -> Vec<String> {
        let best = self.best(scenario, pointer, better);
        let cell = |name: &&str| {
            let outcome = Self::row(scenario, name).map(|row| text(&row["outcome"]));
            match (outcome, Self::figure(scenario, name, pointer)) {
                (Some("cannot"), _) => "<small>cannot</small>".to_owned(),
                (Some("failed"), _) => "<span class=\"bad\">failed</span>".to_owned(),
                (_, Some(figure)) => compared_cell(figure, best),
                _ => String::new(),
            }
        };
        self.names.iter().map(cell).collect()
    }

    fn cpu(&self, plots: &mut Plots) -> String {
        let names: Vec<&str> = FAMILIES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let Some(table) = self.table(&names, "/cpu_us/median", Better::Less, true) else { return String::new() };
        let mut out = String::from(
            "<h2>CPU time a request</h2>\n<p>Microseconds of the proxy's own processes, in user space and in the kernel. The floor is twice what the \
             origin takes for a request without a proxy: what the kernel's part of two connections costs.</p>\n",
        );
        out.push_str(&table);
        out.push_str(&self.wins(&names));
        out.push_str("<p class=\"quiet\">In the bars the dotted line is the floor, and each group has a scale of its own.</p>\n<div class=\"plots\">\n");
        for (family, names) in FAMILIES {
            let groups: Vec<Group> = names
                .iter()
                .filter_map(|name| self.scenario(name))
                .filter_map(|scenario| self.group(scenario))
                .collect();
            if !groups.is_empty() {
                let caption = format!("CPU a request: {family}");
                out.push_str(&plots.figure(&caption, bars(&caption, &groups)));
            }
        }
        out.push_str("</div>\n");
        if let Some(instructions) =
            self.table(&names, "/instructions_user", Better::Less, false).filter(|_| self.counts())
        {
            let _ = write!(out, "<h3>Instructions a request, in user space</h3>\n{instructions}");
        }
        out.push_str(&self.reasons(&names));
        out
    }

    fn counts(&self) -> bool {
        self.json["host"]["instructions_counted"] == true
    }

    fn group(&self, scenario: &'a Value) -> Option<Group> {
        let bar = |name: &&str| {
            let value = Self::figure(scenario, name, "/cpu_us/median")?;
            let (name, colour) = ((*name).to_owned(), self.colour(name));
            Some(Bar { name, value, text: format!("{} µs", digits(value)), colour })
        };
        let bars: Vec<Bar> = self.names.iter().filter_map(bar).collect();
        let floor = scenario["floor_cpu_us"].as_f64();
        (!bars.is_empty()).then(|| Group { name: text(&scenario["what"]).to_owned(), bars, floor })
    }

    /// Who is best how often.
    fn wins(&self, scenarios: &[&str]) -> String {
        let measured: Vec<&Value> = scenarios.iter().filter_map(|name| self.scenario(name)).collect();
        let won = |name: &&str| {
            let is_best = |scenario: &&&Value| {
                let figure = Self::figure(scenario, name, "/cpu_us/median");
                figure.is_some() && figure == self.best(scenario, "/cpu_us/median", Better::Less)
            };
            format!("{} {}", escaped(name), measured.iter().filter(is_best).count())
        };
        let all: Vec<String> = self.names.iter().map(won).collect();
        format!("<p>Least CPU time, of {} scenarios: {}.</p>\n", measured.len(), all.join(", "))
    }

    /// Why some cells have no figure.
    fn reasons(&self, scenarios: &[&str]) -> String {
        let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
        for scenario in scenarios.iter().filter_map(|name| self.scenario(name)) {
            for row in list(&scenario["rows"]).iter().filter(|row| row["outcome"] == "cannot") {
                let said = format!("{}: {}", text(&row["subject"]), text(&row["why"]));
                match reasons.iter_mut().find(|(reason, _)| *reason == said) {
                    Some((_, names)) => names.push(text(&scenario["name"])),
                    None => reasons.push((said, vec![text(&scenario["name"])])),
                }
            }
        }
        let items: Vec<String> = reasons
            .iter()
            .map(|(reason, names)| {
                format!("<li>{} <small>({})</small></li>", escaped(reason), escaped(&names.join(", ")))
            })
            .collect();
        if items.is_empty() { String::new() } else { format!("<p>Cannot:</p><ul>{}</ul>\n", items.join("")) }
    }

    fn rates(&self) -> String {
        let names: Vec<&str> = FAMILIES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let Some(table) = self.table(&names, "/rate/median", Better::More, false) else { return String::new() };
        format!(
            "<h2>Requests a second</h2>\n<p>In a closed loop: the next request when the last is answered. The generator and the origin may be what \
             bounds it.</p>\n{table}"
        )
    }

    fn bulk(&self) -> String {
        let names = ["h1-1MB", "tcp-1MB"];
        let parts = [
            ("Gigabits a second", self.table(&names, "/gbit_s/median", Better::More, false)),
            ("CPU seconds for 10<sup>9</sup> bytes", self.table(&names, "/cpu_s_per_gb/median", Better::Less, false)),
        ];
        let parts: Vec<String> =
            parts.into_iter().filter_map(|(head, table)| Some(format!("<h3>{head}</h3>\n{}", table?))).collect();
        if parts.is_empty() { String::new() } else { format!("<h2>Bulk</h2>\n{}", parts.join("")) }
    }

    fn memory(&self) -> String {
        const MIB: f64 = 1_048_576.0;
        let mut rows = Vec::new();
        let of_subject = |member: &str| {
            let subject = |name: &&str| list(&self.json["subjects"]).iter().find(|subject| subject["name"] == *name);
            self.names.iter().map(|name| subject(name)?[member].as_f64().map(|bytes| bytes / MIB)).collect::<Vec<_>>()
        };
        if let Some(scenario) = self.scenario("idle") {
            for (what, pointer) in [
                ("process with one listener, resident, MiB", "/idle/resident_before_bytes"),
                ("the same, shared pages in parts, MiB", "/idle/proportional_before_bytes"),
            ] {
                let figures: Vec<Option<f64>> = self
                    .names
                    .iter()
                    .map(|name| Self::figure(scenario, name, pointer).map(|bytes| bytes / MIB))
                    .collect();
                rows.push(row_of(what, &figures));
            }
        }
        rows.push(row_of("with all listeners that it can have, resident, MiB", &of_subject("idle_resident_bytes")));
        for (name, what) in [("idle", "HTTP/1"), ("idle-h2", "HTTP/2"), ("idle-tls", "TLS")] {
            if let Some(scenario) = self.scenario(name) {
                let mut row = vec![format!("an idle connection, {what}, bytes")];
                row.extend(self.cells(scenario, "/idle/each_bytes", Better::Less));
                rows.push(row);
            }
        }
        for name in ["h1-256", "h1-1MB", "h2-16x10", "tls-64"] {
            if let Some(scenario) = self.scenario(name) {
                let figures: Vec<Option<f64>> = self
                    .names
                    .iter()
                    .map(|name| Self::figure(scenario, name, "/peak_bytes").map(|bytes| bytes / MIB))
                    .collect();
                rows.push(row_of(&format!("at most under load, {name}, MiB"), &figures));
            }
        }
        format!(
            "<h2>Memory</h2>\n<p>Resident pages of all processes. Idle connections have had one request each; their cost is the slope from a quarter \
             of them to all. A proxy that can serve h1-sidecar has its 200 routes and 100 clusters among all listeners.</p>\n{}",
            compared_table(&self.escaped_names(), &rows)
        )
    }

    /// How connections and CPU time lie on the proxies' workers, in the scenarios with the most connections of either protocol.
    fn spread(&self) -> String {
        let first = |names: &[&str]| names.iter().find_map(|name| self.scenario(name));
        let scenarios: Vec<&Value> = [first(&["h1-256", "h1-64", "h1-same-50"]), first(&["h2-16x10", "h2-same-50"])]
            .into_iter()
            .flatten()
            .collect();
        if scenarios.is_empty() {
            return String::new();
        }
        let mut out =
            "<h2>Spread over workers</h2>\n<p>Connections of each worker, and each thread's part of the CPU time.</p>\n".to_owned();
        for scenario in scenarios {
            let row = |name: &&str| {
                let row = Self::row(scenario, name).filter(|row| row["outcome"] == "measured")?;
                let connections = match row["connections"].as_array() {
                    Some(all) => all.iter().map(Value::to_string).collect::<Vec<_>>().join(" + "),
                    None => "<small>it does not tell</small>".to_owned(),
                };
                let part = |thread: &Value| {
                    format!("{} {:.0} %", escaped(text(&thread["name"])), 100.0 * number(&thread["part"]))
                };
                let threads: Vec<String> = list(&row["threads"]).iter().map(part).collect();
                Some(vec![escaped(name), connections, threads.join(", ")])
            };
            let rows: Vec<Vec<String>> = self.names.iter().filter_map(row).collect();
            if !rows.is_empty() {
                let head = ["connections", "threads"].map(str::to_owned);
                let _ = write!(out, "<h3>{}</h3>\n{}", escaped(text(&scenario["what"])), compared_table(&head, &rows));
            }
        }
        out
    }

    fn host(&self) -> String {
        let host = &self.json["host"];
        let mut rows = host_rows(host);
        let instructions =
            if self.counts() { "counted by perf" } else { "not counted: this host's CPU does not let perf" };
        rows.push(("instructions".to_owned(), instructions.to_owned()));
        format!("<h2>The host</h2>\n{}", facts(&rows))
    }

    fn commands(&self) -> String {
        let json = self.json;
        let mut out =
            format!("<h2>The commands</h2>\n<pre class=\"wrapped\">{}</pre>\n", escaped(text(&json["command"])));
        let subject = |subject: &Value| {
            (escaped(text(&subject["name"])), format!("<code>{}</code>", escaped(text(&subject["command"]))))
        };
        out.push_str(&facts(&list(&json["subjects"]).iter().map(subject).collect::<Vec<_>>()));
        let generator = |scenario: &Value| {
            (escaped(text(&scenario["name"])), format!("<code>{}</code>", escaped(text(&scenario["generator"]))))
        };
        let rows: Vec<(String, String)> = list(&json["scenarios"]).iter().map(generator).collect();
        let _ = writeln!(out, "<details><summary>The generator, by scenario</summary>{}</details>", facts(&rows));
        out
    }
}

fn label(scenario: &Value) -> String {
    format!("{} <small>{}</small>", escaped(text(&scenario["name"])), escaped(text(&scenario["what"])))
}

/// A figure: in bold where it is the best, else with how many times as much it is.
fn compared_cell(figure: f64, best: Option<f64>) -> String {
    match best {
        Some(best) if figure.total_cmp(&best).is_eq() => {
            format!("<strong>{}</strong> <small class=\"times\">best</small>", digits(figure))
        }
        Some(best) if best > 0.0 => format!("{} <small class=\"times\">×{:.2}</small>", digits(figure), figure / best),
        _ => digits(figure),
    }
}

/// A row of figures of which less is better.
fn row_of(name: &str, figures: &[Option<f64>]) -> Vec<String> {
    let best = figures.iter().flatten().copied().filter(|figure| *figure > 0.0).reduce(f64::min);
    let cell = |figure: &Option<f64>| {
        figure.filter(|figure| *figure > 0.0).map_or_else(String::new, |figure| compared_cell(figure, best))
    };
    std::iter::once(escaped(name)).chain(figures.iter().map(cell)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn notes_and_workers_are_shown() {
        let thread = |name: &str, part: f64| json!({"name": name, "part": part});
        let row = json!({
            "subject": "a", "outcome": "measured", "connections": [31, 33], "threads": [thread("w<0>", 0.25), thread("w1", 0.75)],
        });
        let scenario = |name: &str| json!({"name": name, "what": format!("{name}, in words"), "rows": [row]});
        let json = json!({"notes": ["they <share>"], "scenarios": [scenario("h1-64"), scenario("h2-16x10")]});
        let compared = Compared { json: &json, names: vec!["a"] };
        assert!(compared.head().contains("they &lt;share&gt;"));
        let out = compared.spread();
        assert_eq!(out.matches("<td>31 + 33</td><td>w&lt;0&gt; 25 %, w1 75 %</td>").count(), 2, "{out}");
        assert!(out.contains("h1-64, in words") && out.contains("h2-16x10, in words"), "{out}");
    }
}
