//! The text that Prometheus scrapes (exposition format 0.0.4), with Envoy's names and labels.
//!
//! Written family by family, each with one `# TYPE` line, straight from the blocks: nothing is collected first, so
//! that a scrape of ten thousand clusters costs its own text and no more. Envoy finds its labels by regular
//! expressions over the flat name and so cuts a cluster's name at its first dot; ours keeps the whole name.

use std::fmt::Write;

use crate::registry::{Entry, sum};
use crate::{Block, Kind, Registry};

/// The `content-type` of this text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes every number of `registry`. `keep` is asked with the flat name (`cluster.a.upstream_rq_total`) and the value;
/// what it refuses is left out.
pub fn write(registry: &Registry, out: &mut String, keep: &dyn Fn(&str, u64) -> bool) {
    write_scope(out, "cluster", "envoy_cluster_name", &registry.clusters(), keep);
    write_scope(out, "http", "envoy_http_conn_manager_prefix", &registry.https(), keep);
    let listeners = registry.listeners();
    write_scope(out, "listener", "envoy_listener_address", &listeners, keep);
    for (row, kind) in [("downstream_cx_active", Kind::Gauge), ("downstream_cx_total", Kind::Counter)] {
        let mut family = Family::new(out, format!("envoy_listener_worker_{row}"), kind);
        for (address, blocks) in &listeners {
            for (worker, block) in blocks.iter().enumerate() {
                let value = match kind {
                    Kind::Gauge => block.downstream_cx_active.value(),
                    Kind::Counter => block.downstream_cx_total.value(),
                };
                if keep(&format!("listener.{address}.worker_{worker}.{row}"), value) {
                    let worker = worker.to_string();
                    family.sample(&[("envoy_worker_id", &worker), ("envoy_listener_address", address)], value);
                }
            }
        }
    }
    let mut plain = |name: &str, kind, value| {
        if keep(name, value) {
            Family::new(out, format!("envoy_{}", sanitised(name)), kind).sample(&[], value);
        }
    };
    registry.codec_rows(&mut plain);
    registry.server.rows(&mut |name, kind, value| plain(name, kind, value));
}

/// One family of samples; its `# TYPE` line is written before the first sample and not at all where there is none.
pub struct Family<'o> {
    out: &'o mut String,
    name: String,
    kind: Kind,
    opened: bool,
}

impl<'o> Family<'o> {
    /// A family that will be written to `out`. `name` must be a valid name: see [`sanitised`].
    pub fn new(out: &'o mut String, name: String, kind: Kind) -> Self {
        debug_assert_eq!(name, sanitised(&name));
        Self { out, name, kind, opened: false }
    }

    /// Writes one sample. Label names must be valid; values may be any text.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: u64) {
        if !self.opened {
            self.opened = true;
            let kind = match self.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            let _ = writeln!(self.out, "# TYPE {} {kind}", self.name);
        }
        self.out.push_str(&self.name);
        self.out.push('{');
        for (at, (label, text)) in labels.iter().enumerate() {
            self.out.push_str(if at == 0 { "" } else { "," });
            self.out.push_str(label);
            self.out.push_str("=\"");
            escape(text, self.out);
            self.out.push('"');
        }
        let _ = writeln!(self.out, "}} {value}");
    }
}

/// One histogram of a family: its labels, how many fell below each bound and not below the one before, and their sum.
#[derive(Debug)]
pub struct Series<'s> {
    /// Label names must be valid; values may be any text.
    pub labels: &'s [(&'s str, &'s str)],
    /// Upper bounds, growing, and counts. What has no bound has `None`, at the end.
    pub buckets: &'s [(Option<f64>, u64)],
    /// The sum of all, in the bounds' unit.
    pub sum: f64,
}

/// Writes a family of histograms: `_bucket` rows with counts up to each bound, `_sum` and `_count`. `name` must be valid.
pub fn write_histograms(out: &mut String, name: &str, series: &[Series<'_>]) {
    debug_assert_eq!(name, sanitised(name));
    if series.is_empty() {
        return;
    }
    let _ = writeln!(out, "# TYPE {name} histogram");
    for Series { labels, buckets, sum } in series {
        let mut prefix = String::new();
        for (label, text) in *labels {
            prefix.push_str(label);
            prefix.push_str("=\"");
            escape(text, &mut prefix);
            prefix.push_str("\",");
        }
        let mut count = 0;
        for (bound, here) in *buckets {
            count += here;
            if let Some(bound) = bound {
                let _ = writeln!(out, "{name}_bucket{{{prefix}le=\"{bound}\"}} {count}");
            }
        }
        let _ = writeln!(out, "{name}_bucket{{{prefix}le=\"+Inf\"}} {count}");
        let labels = prefix.trim_end_matches(',');
        let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}");
    }
}

/// `name` with everything that a metric's name may not contain replaced by `_`, as Envoy does.
pub fn sanitised(name: &str) -> String {
    let mut text: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == ':' { c } else { '_' }).collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert(0, '_');
    }
    text
}

/// A label's text: backslash, quote and line feed are escaped, nothing else is.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// All families of one kind of block: for each statistic, one sample per entry. The five classes of a status are one
/// family with a label, as in Envoy.
fn write_scope<B: Block>(
    out: &mut String,
    scope: &str,
    label: &str,
    entries: &[Entry<B>],
    keep: &dyn Fn(&str, u64) -> bool,
) {
    let mut flat = String::new();
    let mut row_sample = |family: &mut Family<'_>, class: Option<&str>, row: &crate::Row<B>| {
        for (entry, blocks) in entries {
            let value = sum(blocks, row.value);
            flat.clear();
            let _ = write!(flat, "{scope}.{entry}.{}", row.name);
            if keep(&flat, value) {
                match class {
                    Some(class) => family.sample(&[("envoy_response_code_class", class), (label, entry)], value),
                    None => family.sample(&[(label, entry)], value),
                }
            }
        }
    };
    let mut rows = B::table().iter().peekable();
    while let Some(row) = rows.next() {
        let Some((stem, class)) = status_class(row.name) else {
            row_sample(&mut Family::new(out, format!("envoy_{scope}_{}", row.name), row.kind), None, row);
            continue;
        };
        let mut family = Family::new(out, format!("envoy_{scope}_{stem}_xx"), row.kind);
        row_sample(&mut family, Some(class), row);
        // The table is sorted, so that the classes of one statistic stand side by side.
        while let Some(row) = rows.next_if(|next| status_class(next.name).is_some_and(|(other, _)| other == stem)) {
            row_sample(&mut family, status_class(row.name).map(|(_, class)| class), row);
        }
    }
}

/// `upstream_rq_5xx` -> `("upstream_rq", "5")`.
fn status_class(name: &str) -> Option<(&str, &str)> {
    let (stem, class) = name.strip_suffix("xx")?.rsplit_once('_')?;
    matches!(class, "1" | "2" | "3" | "4" | "5").then_some((stem, class))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(registry: &Registry, keep: &dyn Fn(&str, u64) -> bool) -> String {
        let mut out = String::new();
        write(registry, &mut out, keep);
        out
    }

    #[test]
    fn what_was_counted_reads_as_envoy_writes_it() {
        let registry = Registry::new(2);
        for (name, worker) in [("a", 0), ("a", 1), ("b.\"x\"\\\n", 1)] {
            let stats = &registry.cluster(name)[worker];
            stats.upstream_rq_total.add(2);
            stats.count_status(200);
            stats.count_status(503);
        }
        registry.http("in")[0].no_route.add(1);
        registry.listener("127.0.0.1:80")[1].downstream_cx_active.add(1);
        registry.server.live.set(1);
        let expect = r#"# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="a"} 2
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="b.\"x\"\\\n"} 1
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="a"} 2
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="b.\"x\"\\\n"} 1
# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{envoy_cluster_name="a"} 4
envoy_cluster_upstream_rq_total{envoy_cluster_name="b.\"x\"\\\n"} 2
# TYPE envoy_http_no_route counter
envoy_http_no_route{envoy_http_conn_manager_prefix="in"} 1
# TYPE envoy_listener_downstream_cx_active gauge
envoy_listener_downstream_cx_active{envoy_listener_address="127.0.0.1_80"} 1
# TYPE envoy_listener_worker_downstream_cx_active gauge
envoy_listener_worker_downstream_cx_active{envoy_worker_id="1",envoy_listener_address="127.0.0.1_80"} 1
# TYPE envoy_server_concurrency gauge
envoy_server_concurrency{} 2
# TYPE envoy_server_live gauge
envoy_server_live{} 1
"#;
        assert_eq!(text(&registry, &|_, value| value != 0), expect);
    }

    #[test]
    fn each_family_has_one_type_line_and_stays_together() {
        let registry = Registry::new(1);
        for name in ["a", "b"] {
            registry.cluster(name);
            registry.http(name);
            registry.listener(name);
        }
        let text = text(&registry, &|_, _| true);
        let mut seen = std::collections::HashSet::new();
        let mut family = "";
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => {
                    family = rest.split(' ').next().expect("a name");
                    assert!(seen.insert(family), "{family} twice");
                }
                None => assert_eq!(line.split('{').next(), Some(family), "{line}"),
            }
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("envoy_cluster_upstream_rq_xx{")).count(), 10);
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let mut out = String::new();
        let buckets = [(Some(1.024), 2), (Some(2.048), 0), (None, 1)];
        let series = [Series { labels: &[("w", "a\"b")], buckets: &buckets, sum: 9.5 }];
        write_histograms(&mut out, "h", &series);
        let expect = r#"# TYPE h histogram
h_bucket{w="a\"b",le="1.024"} 2
h_bucket{w="a\"b",le="2.048"} 2
h_bucket{w="a\"b",le="+Inf"} 3
h_sum{w="a\"b"} 9.5
h_count{w="a\"b"} 3
"#;
        assert_eq!(out, expect);
    }

    #[test]
    fn names_are_sanitised() {
        for (name, expect) in [("server.live", "server_live"), ("9a-b", "_9a_b"), ("a:b", "a:b"), ("ü", "_")] {
            assert_eq!(sanitised(name), expect);
        }
    }
}
