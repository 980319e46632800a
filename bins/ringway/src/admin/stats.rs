//! `/stats` and `/stats/prometheus`.

use std::fmt::Write;

use regex_lite::{Regex, RegexBuilder};
use ringway_observe::prometheus::{self as exposition, Family, Series};
use ringway_observe::{Kind, is_used};
use ringway_runtime::{Histogram, LoopStats};

use super::Context;
use super::http::{Request, Response};

/// The largest compiled filter: room for a few hundred alternatives, and no request can ask for more memory.
const FILTER_BYTES_MAX: usize = 1 << 20;

/// Which numbers are shown.
pub(crate) struct Filter {
    pattern: Option<Regex>,
    inverted: bool,
    used_only: bool,
    kind: Option<Kind>,
}

impl Filter {
    /// The filter that a query asks for.
    ///
    /// # Errors
    /// What to answer instead: the pattern is none, or the type.
    pub(crate) fn read(request: &Request) -> Result<Filter, Response> {
        let pattern = match request.parameter("filter") {
            None => None,
            Some(pattern) => Some(
                RegexBuilder::new(pattern)
                    .size_limit(FILTER_BYTES_MAX)
                    .build()
                    .map_err(|error| Response::text(400, format!("Invalid regex: {error}\n")))?,
            ),
        };
        let kind = match request.parameter("type").map(str::to_ascii_lowercase).as_deref() {
            None | Some("all" | "") => None,
            Some("counters") => Some(Kind::Counter),
            Some("gauges") => Some(Kind::Gauge),
            Some(_) => return Err(Response::text(400, "usage: /stats?type=(All|Counters|Gauges)\n")),
        };
        let (inverted, used_only) = (request.switch("invert_filter"), request.switch("usedonly"));
        Ok(Filter { pattern, inverted, used_only, kind })
    }

    /// Whether a name without a value of its own passes: a cluster's.
    pub(crate) fn keeps_name(&self, name: &str) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(name) != self.inverted)
    }

    fn keeps(&self, name: &str, value: u64) -> bool {
        (!self.used_only || is_used(name, value)) && self.keeps_name(name)
    }
}

/// `/stats`: `name: value`, or the same as JSON.
pub(crate) fn stats(context: &Context, request: &Request) -> Response {
    let filter = match Filter::read(request) {
        Ok(filter) => filter,
        Err(refusal) => return refusal,
    };
    let mut body = String::new();
    let mut visit = |show: &mut dyn FnMut(&mut String, &str, u64)| {
        let mut visit = |name: &str, kind: Kind, value: u64| {
            if filter.kind.is_none_or(|wanted| wanted == kind) && filter.keeps(name, value) {
                show(&mut body, name, value);
            }
        };
        context.state.registry.visit(&mut visit);
        for (worker, stats) in context.state.loop_stats.iter().enumerate() {
            for (row, value) in stats.rows() {
                visit(&format!("worker_{worker}.loop.{row}"), row_kind(row), value);
            }
        }
    };
    match request.parameter("format").unwrap_or("text") {
        "text" | "" => {
            visit(&mut |body, name, value| {
                let _ = writeln!(body, "{name}: {value}");
            });
            if filter.kind.is_none() {
                histograms_text(context, &filter, &mut body);
            }
            Response::text(200, body)
        }
        "json" => {
            visit(&mut |body, name, value| {
                body.push_str(if body.is_empty() { "" } else { "," });
                let name = serde_json::Value::from(name);
                let _ = write!(body, "{{\"name\":{name},\"value\":{value}}}");
            });
            let body = format!("{{\"stats\":[{body}]}}");
            Response { status: 200, content_type: "application/json", body, then: None }
        }
        "prometheus" => prometheus(context, request),
        _ => Response::text(400, "usage: /stats?format=(text|json|prometheus)\n"),
    }
}

/// `/stats/prometheus`: the registry, then what Envoy has no name for: each worker's io level and loop.
pub(crate) fn prometheus(context: &Context, request: &Request) -> Response {
    let filter = match Filter::read(request) {
        Ok(filter) => filter,
        Err(refusal) => return refusal,
    };
    let mut body = String::new();
    exposition::write(&context.state.registry, &mut body, &|name, value| filter.keeps(name, value));
    let mut io = Family::new(&mut body, "ringway_io_info".into(), Kind::Gauge);
    for (worker, report) in context.state.reports.iter().enumerate() {
        if filter.keeps("ringway_io_info", 1) {
            let worker = worker.to_string();
            let labels = [
                ("worker", &*worker),
                ("driver", report.driver),
                ("features", &report.features),
                ("reason", &report.reason),
            ];
            io.sample(&labels, 1);
        }
    }
    let workers: Vec<_> = context.state.loop_stats.iter().map(|stats| stats.rows()).collect();
    for (at, (row, _)) in workers.first().into_iter().flatten().enumerate() {
        let name = format!("ringway_loop_{row}");
        let mut family = Family::new(&mut body, name.clone(), row_kind(row));
        for (worker, rows) in workers.iter().enumerate() {
            let value = rows[at].1;
            if filter.keeps(&name, value) {
                family.sample(&[("worker", &worker.to_string())], value);
            }
        }
    }
    histograms_prometheus(context, &filter, &mut body);
    Response { status: 200, content_type: exposition::CONTENT_TYPE, body, then: None }
}

fn row_kind(row: &str) -> Kind {
    if LoopStats::only_grows(row) { Kind::Counter } else { Kind::Gauge }
}

/// A histogram of each loop, and its name.
type Shown = (&'static str, fn(&LoopStats) -> &Histogram);

/// Envoy's names of what it measures of a worker's event loop (docs: "Performance", `enable_dispatcher_stats`), where the same is
/// meant: the time between two polls, and how late a poll returned that a timeout ended. Ours cost nothing to have on.
const HISTOGRAMS: [Shown; 2] =
    [("loop_duration_us", |stats| &stats.turn_time), ("poll_delay_us", |stats| &stats.wake_delay)];

/// Each worker's histograms that pass the filter, with the worker's name and the flat name.
fn each_histogram<'c>(context: &'c Context, filter: &Filter, (row, of): Shown) -> Vec<(String, String, &'c Histogram)> {
    let workers = context.state.loop_stats.iter().enumerate().map(|(worker, stats)| {
        let worker = format!("worker_{worker}");
        (format!("listener_manager.{worker}.dispatcher.{row}"), worker, of(stats))
    });
    let kept = workers.filter(|(name, _, histogram)| filter.keeps(name, histogram.count()));
    kept.map(|(name, worker, histogram)| (worker, name, histogram)).collect()
}

/// In Envoy's form: for each quantile the value of the last interval (of which there is none here), and of all time.
fn histograms_text(context: &Context, filter: &Filter, body: &mut String) {
    for shown in HISTOGRAMS {
        for (_, name, histogram) in each_histogram(context, filter, shown) {
            let _ = write!(body, "{name}:");
            for percent in [0u32, 25, 50, 75, 90, 95, 99, 100] {
                match histogram.quantile_ns(f64::from(percent) / 100.0) {
                    u64::MAX => _ = write!(body, " P{percent}(nan,inf)"),
                    ns => _ = write!(body, " P{percent}(nan,{})", ns as f64 / 1000.0),
                }
            }
            body.push('\n');
        }
    }
}

fn histograms_prometheus(context: &Context, filter: &Filter, body: &mut String) {
    for shown in HISTOGRAMS {
        let kept = each_histogram(context, filter, shown);
        let labelled = kept.iter().map(|(worker, _, histogram)| {
            (buckets_us(histogram), [("envoy_worker_id", worker.as_str())], histogram.sum_ns() as f64 / 1000.0)
        });
        let labelled: Vec<_> = labelled.collect();
        let series = labelled.iter().map(|(buckets, labels, sum)| Series { labels, buckets, sum: *sum });
        let series: Vec<_> = series.collect();
        exposition::write_histograms(body, &format!("envoy_listener_manager_dispatcher_{}", shown.0), &series);
    }
}

/// Bounds in microseconds, and how many fell below each.
fn buckets_us(histogram: &Histogram) -> Vec<(Option<f64>, u64)> {
    let bounds = (0..).map(|index| Histogram::bound_ns(index).map(|ns| ns as f64 / 1000.0));
    bounds.zip(histogram.buckets()).collect()
}
