//! `/stats`, `/stats/prometheus` and `/reset_counters`.
//!
//! Numbers are written while they are sent: a scrape of ten thousand clusters takes the memory of one piece of its text.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::sync::Arc;

use regex_lite::{Regex, RegexBuilder};
use ringway_model::{RegexCaches, StatsRules};
use ringway_observe::prometheus::{self as exposition, Family, HistogramFamily};
use ringway_observe::show::{Buckets, DEFAULT_BUCKETS, HistogramsJson, histogram_text, json_text};
use ringway_observe::{Kind, is_used};
use ringway_runtime::{Histogram, LoopStats};

use super::Context;
use super::http::{Request, Response, TEXT};
use crate::state::State;

/// The largest compiled filter: room for a few hundred alternatives, and no request can ask for more memory.
const FILTER_BYTES_MAX: usize = 1 << 20;

/// `type=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    All,
    Numbers(Kind),
    Histograms,
    /// Texts.
    Texts,
}

/// Which numbers are shown.
pub(crate) struct Filter {
    pattern: Option<Regex>,
    inverted: bool,
    used_only: bool,
    kind: Type,
    /// What the configuration shows, and the working memory of its expressions.
    rules: Arc<StatsRules>,
    caches: RefCell<RegexCaches>,
}

impl Filter {
    /// The filter that a query asks for.
    ///
    /// # Errors
    /// What to answer instead: the pattern is none, or the type.
    pub(crate) fn read(context: &Context, request: &Request) -> Result<Filter, Response> {
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
            None | Some("all" | "") => Type::All,
            Some("counters") => Type::Numbers(Kind::Counter),
            Some("gauges") => Type::Numbers(Kind::Gauge),
            Some("histograms") => Type::Histograms,
            Some("textreadouts") => Type::Texts,
            Some(_) => return Err(Response::text(400, "invalid &type= param\n")),
        };
        let (inverted, used_only) = (request.switch("invert_filter"), request.switch("usedonly"));
        let rules = context.state.view().stats.clone();
        Ok(Filter { pattern, inverted, used_only, kind, rules, caches: RefCell::default() })
    }

    /// Whether a name without a value of its own passes: a cluster's.
    pub(crate) fn keeps_name(&self, name: &str) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(name) != self.inverted)
    }

    /// Whether the statistic of this name passes.
    fn keeps(&self, name: &str, value: u64) -> bool {
        (!self.used_only || is_used(name, value)) && self.keeps_statistic(name)
    }

    fn keeps_statistic(&self, name: &str) -> bool {
        self.keeps_name(name) && self.rules.shows(name, &mut self.caches.borrow_mut())
    }

    /// The bounds that this histogram is counted up to.
    fn bounds(&self, name: &str) -> &[f64] {
        self.rules.bounds(name, &mut self.caches.borrow_mut()).unwrap_or(&DEFAULT_BUCKETS)
    }

    fn keeps_number(&self, name: &str, kind: Kind, value: u64) -> bool {
        [Type::All, Type::Numbers(kind)].contains(&self.kind) && self.keeps(name, value)
    }

    fn keeps_text(&self, name: &str) -> bool {
        matches!(self.kind, Type::All | Type::Texts) && self.keeps_statistic(name)
    }

    /// Whether a histogram with so many values passes.
    fn keeps_histogram(&self, name: &str, count: u64) -> bool {
        matches!(self.kind, Type::All | Type::Histograms)
            && (!self.used_only || count > 0)
            && self.keeps_statistic(name)
    }
}

/// `histogram_buckets=`.
fn buckets(request: &Request) -> Result<Option<Buckets>, Response> {
    Ok(Some(match request.parameter("histogram_buckets") {
        None => return Ok(None),
        Some("summary" | "none" | "") => Buckets::Summary,
        Some("cumulative") => Buckets::Cumulative,
        Some("disjoint") => Buckets::Disjoint,
        Some("detailed") => Buckets::Detailed,
        Some(_) => {
            let usage = "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary)\n";
            return Err(Response::text(400, usage));
        }
    }))
}

/// `/stats`: `name: value`, or the same as JSON.
pub(crate) fn stats(context: &Context, request: &Request) -> Response {
    stats_or(context, request).unwrap_or_else(|refusal| refusal)
}

fn stats_or(context: &Context, request: &Request) -> Result<Response, Response> {
    let (filter, buckets) = (Filter::read(context, request)?, buckets(request)?.unwrap_or_default());
    let state = context.state.clone();
    Ok(match request.parameter("format").unwrap_or("text") {
        "text" | "" => Response::stream(TEXT, move |out| text(&state, &filter, buckets, out)),
        "json" => Response::stream("application/json", move |out| json(&state, &filter, buckets, out)),
        "prometheus" => prometheus(context, request),
        _ => Response::text(400, "usage: /stats?format=(json|prometheus|text)\n"),
    })
}

/// `/reset_counters`.
pub(crate) fn reset_counters(context: &Context, _: &Request) -> Response {
    context.state.registry.reset_counters();
    Response::text(200, "OK\n")
}

/// Shows the numbers that pass: the registry's, then those of the loops.
fn numbers(state: &State, filter: &Filter, show: &mut dyn FnMut(&str, u64) -> fmt::Result) -> fmt::Result {
    let mut visit = |name: &str, kind: Kind, value: u64| match filter.keeps_number(name, kind, value) {
        true => show(name, value),
        false => Ok(()),
    };
    state.registry.visit(&mut visit)?;
    for (worker, stats) in state.loop_stats.iter().enumerate() {
        for (row, value) in stats.rows() {
            visit(&format!("worker_{worker}.loop.{row}"), row_kind(row), value)?;
        }
    }
    Ok(())
}

/// The texts that pass: versions, and what the management server calls itself.
fn texts(state: &State, filter: &Filter) -> Vec<(String, String)> {
    let mut texts = state.registry.texts();
    let identifier = state.view().control_plane.clone();
    if !identifier.is_empty() {
        texts.push(("control_plane.identifier".to_owned(), identifier));
        texts.sort();
    }
    texts.retain(|(name, _)| filter.keeps_text(name));
    texts
}

fn text(state: &State, filter: &Filter, buckets: Buckets, out: &mut dyn Write) -> fmt::Result {
    state.measure();
    // First, as in Envoy, which escapes what would be a line of its own as JSON does.
    for (name, value) in texts(state, filter) {
        write!(out, "{name}: ")?;
        json_text(&value, out)?;
        writeln!(out)?;
    }
    numbers(state, filter, &mut |name, value| writeln!(out, "{name}: {value}"))?;
    state.registry.visit_histograms(
        &mut |name, distribution| match filter.keeps_histogram(name, distribution.total()) {
            true => histogram_text(out, name, distribution, buckets, filter.bounds(name)),
            false => Ok(()),
        },
    )?;
    loops_text(state, filter, out)
}

fn json(state: &State, filter: &Filter, buckets: Buckets, out: &mut dyn Write) -> fmt::Result {
    state.measure();
    let mut is_first = true;
    out.write_str("{\"stats\":[")?;
    for (name, value) in texts(state, filter) {
        out.write_str(if std::mem::take(&mut is_first) { "{\"name\":" } else { ",{\"name\":" })?;
        json_text(&name, out)?;
        out.write_str(",\"value\":")?;
        json_text(&value, out)?;
        out.write_str("}")?;
    }
    numbers(state, filter, &mut |name, value| {
        out.write_str(if std::mem::take(&mut is_first) { "{\"name\":" } else { ",{\"name\":" })?;
        json_text(name, out)?;
        write!(out, ",\"value\":{value}}}")
    })?;
    let mut histograms = HistogramsJson::new(buckets);
    state.registry.visit_histograms(
        &mut |name, distribution| match filter.keeps_histogram(name, distribution.total()) {
            true => histograms.write(out, is_first, name, distribution, filter.bounds(name)),
            false => Ok(()),
        },
    )?;
    histograms.finish(out)?;
    out.write_str("]}")
}

/// `/stats/prometheus`: the registry, then what Envoy has no name for: each worker's io level and loop.
pub(crate) fn prometheus(context: &Context, request: &Request) -> Response {
    prometheus_or(context, request).unwrap_or_else(|refusal| refusal)
}

fn prometheus_or(context: &Context, request: &Request) -> Result<Response, Response> {
    let filter = Filter::read(context, request)?;
    let summary = match buckets(request)? {
        None | Some(Buckets::Cumulative) => false,
        Some(Buckets::Summary) => true,
        Some(_) => {
            let usage = "usage: /stats/prometheus?histogram_buckets=(cumulative|summary)\n";
            return Err(Response::text(400, usage));
        }
    };
    let state = context.state.clone();
    Ok(Response::stream(exposition::CONTENT_TYPE, move |out| metrics(&state, &filter, summary, out)))
}

fn metrics(state: &Arc<State>, filter: &Filter, summary: bool, out: &mut dyn Write) -> fmt::Result {
    state.measure();
    let show = exposition::Show {
        keep: &|name, value| filter.keeps(name, value),
        bounds: &|name| filter.bounds(name),
        summary,
    };
    exposition::write(&state.registry, out, &show)?;
    let mut io = Family::new(out, "ringway_io_info".into(), Kind::Gauge);
    for (worker, report) in state.reports.iter().enumerate() {
        if filter.keeps("ringway_io_info", 1) {
            let worker = worker.to_string();
            let labels = [
                ("worker", &*worker),
                ("driver", report.driver),
                ("features", &report.features),
                ("reason", &report.reason),
            ];
            io.sample(&labels, 1)?;
        }
    }
    let workers: Vec<_> = state.loop_stats.iter().map(|stats| stats.rows()).collect();
    for (at, (row, _)) in workers.first().into_iter().flatten().enumerate() {
        let name = format!("ringway_loop_{row}");
        let mut family = Family::new(out, name.clone(), row_kind(row));
        for (worker, rows) in workers.iter().enumerate() {
            let value = rows[at].1;
            if filter.keeps(&name, value) {
                family.sample(&[("worker", &worker.to_string())], value)?;
            }
        }
    }
    loops_prometheus(state, filter, out)
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
fn each_histogram<'s>(state: &'s State, filter: &Filter, (row, of): Shown) -> Vec<(String, String, &'s Histogram)> {
    let workers = state.loop_stats.iter().enumerate().map(|(worker, stats)| {
        let worker = format!("worker_{worker}");
        (format!("listener_manager.{worker}.dispatcher.{row}"), worker, of(stats))
    });
    let kept = workers.filter(|(name, _, histogram)| filter.keeps_histogram(name, histogram.count()));
    kept.map(|(name, worker, histogram)| (worker, name, histogram)).collect()
}

/// In Envoy's form: for each quantile the value of the last interval (of which there is none here), and of all time.
fn loops_text(state: &State, filter: &Filter, out: &mut dyn Write) -> fmt::Result {
    for shown in HISTOGRAMS {
        for (_, name, histogram) in each_histogram(state, filter, shown) {
            write!(out, "{name}:")?;
            for percent in [0u32, 25, 50, 75, 90, 95, 99, 100] {
                match histogram.quantile_ns(f64::from(percent) / 100.0) {
                    u64::MAX => write!(out, " P{percent}(nan,inf)")?,
                    ns => write!(out, " P{percent}(nan,{})", ns as f64 / 1000.0)?,
                }
            }
            out.write_char('\n')?;
        }
    }
    Ok(())
}

fn loops_prometheus(state: &State, filter: &Filter, out: &mut dyn Write) -> fmt::Result {
    for shown in HISTOGRAMS {
        let name = format!("envoy_listener_manager_dispatcher_{}", shown.0);
        let mut family = HistogramFamily::new(out, name, false);
        for (worker, _, histogram) in each_histogram(state, filter, shown) {
            let labels = [("envoy_worker_id", worker.as_str())];
            let sum = histogram.sum_ns() as f64 / 1000.0;
            family.buckets(&labels, buckets_us(histogram), sum, histogram.count())?;
        }
    }
    Ok(())
}

/// Bounds in microseconds, and how many fell below each.
fn buckets_us(histogram: &Histogram) -> impl Iterator<Item = (f64, u64)> {
    let bounds = (0..).map_while(|index| Histogram::bound_ns(index).map(|ns| ns as f64 / 1000.0));
    let below = histogram.buckets().scan(0, |count, here| {
        *count += here;
        Some(*count)
    });
    bounds.zip(below)
}
