//! `/stats` and `/stats/prometheus`.

use std::fmt::Write;

use regex_lite::{Regex, RegexBuilder};
use ringway_observe::prometheus::{self as exposition, Family};
use ringway_observe::{Kind, is_used};

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
        context.state.registry.visit(&mut |name, kind, value| {
            if filter.kind.is_none_or(|wanted| wanted == kind) && filter.keeps(name, value) {
                show(&mut body, name, value);
            }
        });
    };
    match request.parameter("format").unwrap_or("text") {
        "text" | "" => {
            visit(&mut |body, name, value| {
                let _ = writeln!(body, "{name}: {value}");
            });
            Response::text(200, body)
        }
        "json" => {
            visit(&mut |body, name, value| {
                body.push_str(if body.is_empty() { "" } else { "," });
                let name = serde_json::Value::from(name);
                let _ = write!(body, "{{\"name\":{name},\"value\":{value}}}");
            });
            let body = format!("{{\"stats\":[{body}]}}");
            Response { status: 200, content_type: "application/json", body }
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
        // Which of them only grow is the runtime's to know; a gauge promises less and is never wrong.
        let mut family = Family::new(&mut body, name.clone(), Kind::Gauge);
        for (worker, rows) in workers.iter().enumerate() {
            let value = rows[at].1;
            if filter.keeps(&name, value) {
                family.sample(&[("worker", &worker.to_string())], value);
            }
        }
    }
    Response { status: 200, content_type: exposition::CONTENT_TYPE, body }
}
