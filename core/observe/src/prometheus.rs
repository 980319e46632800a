//! The text that Prometheus scrapes (exposition format 0.0.4), with Envoy's names and labels.
//!
//! Written family by family, each with one `# TYPE` line, straight from the blocks: nothing is collected first, so
//! that a scrape of ten thousand clusters costs its own text and no more. Envoy finds its labels by regular
//! expressions over the flat name and so cuts a cluster's name at its first dot; ours keeps the whole name.

use std::fmt::{self, Write};

use crate::grpc::{GrpcStats, TIME};
use crate::registry::{Entry, INITIALIZATION_TIME, classes, listener_http_rows, route_scope, worker_rows};
use crate::{Block, Distribution, Kind, ProxyProtocolStats, Registry};

/// The `content-type` of this text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is shown, and how.
pub struct Show<'s> {
    /// Asked with the flat name (`cluster.a.upstream_rq_total`) and the value (of a histogram: how many it has); what it refuses
    /// is left out.
    pub keep: &'s dyn Fn(&str, u64) -> bool,
    /// The bounds that the histogram of this flat name is counted up to.
    pub bounds: &'s dyn Fn(&str) -> &'s [f64],
    /// Histograms as summaries, with quantiles in place of buckets.
    pub summary: bool,
}

/// Names of labels, Envoy's.
const CLUSTER: &str = "envoy_cluster_name";
const HTTP: &str = "envoy_http_conn_manager_prefix";
const ROUTES: &str = "envoy_rds_route_config";
const LISTENER: &str = "envoy_listener_address";
const TCP: &str = "envoy_tcp_prefix";
const WORKER: &str = "envoy_worker_id";
const CODE: &str = "envoy_response_code";
const CLASS: &str = "envoy_response_code_class";
const GRPC_SERVICE: &str = "envoy_grpc_bridge_service";
const GRPC_METHOD: &str = "envoy_grpc_bridge_method";

/// Writes every number and histogram of `registry`.
///
/// # Errors
/// What `out` failed with.
pub fn write(registry: &Registry, out: &mut dyn Write, show: &Show<'_>) -> fmt::Result {
    let (clusters, https, listeners) = (registry.clusters(), registry.https(), registry.listeners());
    write_scope(out, "cluster", CLUSTER, &clusters, show)?;
    write_codes(out, "cluster", CLUSTER, &clusters, show)?;
    write_scope(out, "cluster", CLUSTER, &registry.memberships(), show)?;
    write_scope(out, "cluster", CLUSTER, &registry.breaker_levels(), show)?;
    write_scope(out, "cluster", CLUSTER, &registry.assignments(), show)?;
    write_scope(out, "http", HTTP, &https, show)?;
    write_routes(out, &registry.route_subscriptions(), show)?;
    write_routes(out, &registry.route_configs(), show)?;
    write_scope(out, "listener", LISTENER, &listeners, show)?;
    write_scope(out, "tcp", TCP, &registry.tcps(), show)?;
    write_scope(out, "rbac", "envoy_rbac_prefix", &registry.rbacs(), show)?;
    write_scope(out, "connection_limit", "envoy_connection_limit_prefix", &registry.connection_limits(), show)?;
    write_scope(out, "local_rate_limit", "envoy_local_network_ratelimit_prefix", &registry.rate_limits(), show)?;
    write_scope(out, "tls_inspector", "", &registry.tls_inspectors(), show)?;
    write_scope(out, "http_inspector", "", &registry.http_inspectors(), show)?;
    write_proxy_protocol(out, &registry.proxy_protocols(), show)?;
    for (at, row) in worker_rows() {
        let mut family = Family::new(out, format!("envoy_listener_worker_{}", row.name), row.kind);
        for entry in &listeners {
            for worker in 0..entry.blocks.len() {
                let value = entry.value_of(worker, at);
                if (show.keep)(&format!("listener.{}.worker_{worker}.{}", entry.name, row.name), value) {
                    family.sample(&[(WORKER, &worker.to_string()), (LISTENER, &entry.name)], value)?;
                }
            }
        }
    }
    let parts = registry.listener_https();
    let mut families = Families::default();
    for (at, row) in listener_http_rows() {
        let (stem, class) = status_class(row.name).map_or((row.name, None), |(stem, class)| (stem, Some(class)));
        let family = match class {
            Some(_) => format!("envoy_listener_http_{stem}_xx"),
            None => format!("envoy_listener_http_{stem}"),
        };
        for (listener, part) in &parts {
            let value = part.value(at);
            if (show.keep)(&format!("listener.{listener}.http.{}.{}", part.name, row.name), value) {
                let labels = [(CLASS, class.unwrap_or("")), (HTTP, &*part.name), (LISTENER, &**listener)];
                let labels = if class.is_some() { &labels[..] } else { &labels[1..] };
                families.of(out, &family, row.kind).sample(labels, value)?;
            }
        }
    }
    let codec_rows = registry.codec_rows().into_iter().map(|(name, kind, value)| (name.into(), kind, value));
    for (name, kind, value) in codec_rows.chain(registry.server_rows()) {
        if (show.keep)(&name, value) {
            Family::new(out, format!("envoy_{}", sanitised(&name)), kind).sample(&[], value)?;
        }
    }
    let mut distribution = Distribution::default();
    write_scope_histograms(out, "cluster", CLUSTER, &clusters, &mut distribution, show)?;
    write_scope_histograms(out, "http", HTTP, &https, &mut distribution, show)?;
    write_scope_histograms(out, "listener", LISTENER, &listeners, &mut distribution, show)?;
    write_update_durations(out, registry, &mut distribution, show)?;
    distribution.clear();
    distribution.add(&registry.server.initialization_time_ms);
    if (show.keep)(INITIALIZATION_TIME, distribution.total()) {
        let mut family = HistogramFamily::new(out, format!("envoy_{}", sanitised(INITIALIZATION_TIME)), show.summary);
        family.distribution(&[], &distribution, (show.bounds)(INITIALIZATION_TIME))?;
    }
    Ok(())
}

/// `http.<stat_prefix>.rds.<name>.`
fn write_routes<B: Block>(out: &mut dyn Write, entries: &[Entry<B>], show: &Show<'_>) -> fmt::Result {
    for (at, row) in B::table().iter().enumerate() {
        let mut family = Family::new(out, format!("envoy_http_rds_{}", row.name), row.kind);
        for entry in entries {
            let (value, (prefix, name)) = (entry.value(at), route_scope(&entry.name));
            if (show.keep)(&format!("http.{}.{}", entry.name, row.name), value) {
                family.sample(&[(HTTP, prefix), (ROUTES, name)], value)?;
            }
        }
    }
    Ok(())
}

/// How long subscriptions took to take in what came.
fn write_update_durations(
    out: &mut dyn Write,
    registry: &Registry,
    distribution: &mut Distribution,
    show: &Show<'_>,
) -> fmt::Result {
    let mut family = HistogramFamily::new(out, "envoy_http_rds_update_duration".to_owned(), show.summary);
    for entry in registry.route_subscriptions() {
        distribution.clear();
        entry.blocks.iter().for_each(|block| distribution.add(&block.update_duration));
        let flat = format!("http.{}.update_duration", entry.name);
        if distribution.total() > 0 && (show.keep)(&flat, distribution.total()) {
            let (prefix, name) = route_scope(&entry.name);
            family.distribution(&[(HTTP, prefix), (ROUTES, name)], distribution, (show.bounds)(&flat))?;
        }
    }
    for entry in registry.subscriptions() {
        distribution.clear();
        entry.blocks.iter().for_each(|block| distribution.add(&block.update_duration));
        let flat = format!("{}.update_duration", entry.name);
        if distribution.total() > 0 && (show.keep)(&flat, distribution.total()) {
            let mut family = HistogramFamily::new(out, format!("envoy_{}", sanitised(&flat)), show.summary);
            family.distribution(&[], distribution, (show.bounds)(&flat))?;
        }
    }
    Ok(())
}

/// The family that was opened last, so that rows which stand side by side share its `# TYPE` line.
#[derive(Default)]
struct Families(String);

impl Families {
    fn of<'o>(&mut self, out: &'o mut dyn Write, name: &str, kind: Kind) -> Family<'o> {
        let opened = self.0 == name;
        if !opened {
            name.clone_into(&mut self.0);
        }
        Family { opened, ..Family::new(out, name.to_owned(), kind) }
    }
}

/// One family of samples; its `# TYPE` line is written before the first sample and not at all where there is none.
pub struct Family<'o> {
    out: &'o mut dyn Write,
    name: String,
    kind: Kind,
    opened: bool,
}

impl<'o> Family<'o> {
    /// A family that will be written to `out`. `name` must be a valid name: see [`sanitised`].
    pub fn new(out: &'o mut dyn Write, name: String, kind: Kind) -> Self {
        debug_assert_eq!(name, sanitised(&name));
        Self { out, name, kind, opened: false }
    }

    /// Writes one sample. Label names must be valid; values may be any text.
    ///
    /// # Errors
    /// What the text's writer failed with.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: u64) -> fmt::Result {
        if !self.opened {
            self.opened = true;
            let kind = match self.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            writeln!(self.out, "# TYPE {} {kind}", self.name)?;
        }
        self.out.write_str(&self.name)?;
        self.out.write_char('{')?;
        write_labels(labels, self.out)?;
        writeln!(self.out, "}} {value}")
    }
}

fn write_labels(labels: &[(&str, &str)], out: &mut dyn Write) -> fmt::Result {
    for (at, (label, text)) in labels.iter().enumerate() {
        out.write_str(if at == 0 { "" } else { "," })?;
        out.write_str(label)?;
        out.write_str("=\"")?;
        escape(text, out)?;
        out.write_char('"')?;
    }
    Ok(())
}

/// A family of histograms, or of summaries of them.
pub struct HistogramFamily<'o> {
    out: &'o mut dyn Write,
    name: String,
    summary: bool,
    opened: bool,
    /// The labels of the row at hand.
    labels: String,
}

impl<'o> HistogramFamily<'o> {
    /// A family that will be written to `out`. `name` must be a valid name: see [`sanitised`].
    pub fn new(out: &'o mut dyn Write, name: String, summary: bool) -> Self {
        debug_assert_eq!(name, sanitised(&name));
        Self { out, name, summary, opened: false, labels: String::new() }
    }

    fn open(&mut self, labels: &[(&str, &str)]) -> fmt::Result {
        if !self.opened {
            self.opened = true;
            writeln!(self.out, "# TYPE {} {}", self.name, if self.summary { "summary" } else { "histogram" })?;
        }
        self.labels.clear();
        write_labels(labels, &mut self.labels)
    }

    /// Writes one histogram: its labels, growing bounds with how many fell up to each, the sum and the count of all.
    ///
    /// # Errors
    /// What the text's writer failed with.
    pub fn buckets(
        &mut self,
        labels: &[(&str, &str)],
        buckets: impl Iterator<Item = (f64, u64)>,
        sum: f64,
        count: u64,
    ) -> fmt::Result {
        self.open(labels)?;
        let Self { out, name, labels, .. } = self;
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in buckets {
            writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}")?;
        }
        writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}")?;
        writeln!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}")
    }

    /// Writes one distribution, as the family is meant.
    ///
    /// # Errors
    /// What the text's writer failed with.
    pub fn distribution(
        &mut self,
        labels: &[(&str, &str)],
        distribution: &Distribution,
        bounds: &[f64],
    ) -> fmt::Result {
        if !self.summary {
            return self.buckets(labels, distribution.below(bounds), distribution.sum(), distribution.total());
        }
        self.open(labels)?;
        let Self { out, name, labels, .. } = self;
        let comma = if labels.is_empty() { "" } else { "," };
        for share in Distribution::QUANTILES {
            match distribution.quantile(share) {
                Some(value) => writeln!(out, "{name}{{{labels}{comma}quantile=\"{share}\"}} {value}")?,
                None => writeln!(out, "{name}{{{labels}{comma}quantile=\"{share}\"}} nan")?,
            }
        }
        let (sum, count) = (distribution.sum(), distribution.total());
        writeln!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}")
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
fn escape(text: &str, out: &mut dyn Write) -> fmt::Result {
    if !text.contains(['\\', '"', '\n']) {
        return out.write_str(text);
    }
    for c in text.chars() {
        match c {
            '\\' => out.write_str("\\\\")?,
            '"' => out.write_str("\\\"")?,
            '\n' => out.write_str("\\n")?,
            c => out.write_char(c)?,
        }
    }
    Ok(())
}

/// Writes those of the PROXY protocol, whose version and prefix are labels.
fn write_proxy_protocol(out: &mut dyn Write, entries: &[Entry<ProxyProtocolStats>], show: &Show<'_>) -> fmt::Result {
    for family in ["disallowed", "error", "found", "not_found_allowed", "not_found_disallowed"] {
        let mut samples = Family::new(out, format!("envoy_proxy_proto_{family}"), Kind::Counter);
        for entry in entries {
            for (at, row) in ProxyProtocolStats::table().iter().enumerate() {
                let version = row.name.strip_prefix("versions.v").and_then(|rest| rest.split_once('.'));
                let (version, name) = version.map_or((None, row.name), |(version, name)| (Some(version), name));
                let dot = if entry.name.is_empty() { "" } else { "." };
                let flat = format!("proxy_proto{dot}{}.{}", entry.name, row.name);
                let value = entry.value(at);
                if name != family || !(show.keep)(&flat, value) {
                    continue;
                }
                let prefix = Some(("envoy_proxy_protocol_prefix", &*entry.name)).filter(|_| !entry.name.is_empty());
                let version = version.map(|version| ("envoy_proxy_protocol_version", version));
                let labels: Vec<_> = prefix.into_iter().chain(version).collect();
                samples.sample(&labels, value)?;
            }
        }
    }
    Ok(())
}

/// All families of one kind of block: for each statistic, one sample per entry. The five classes of a status are one
/// family with a label, as in Envoy.
fn write_scope<B: Block>(
    out: &mut dyn Write,
    scope: &str,
    label: &str,
    entries: &[Entry<B>],
    show: &Show<'_>,
) -> fmt::Result {
    let mut flat = String::new();
    let mut families = Families::default();
    let methods: Vec<_> = entries.iter().map(Entry::methods).collect();
    // The table is sorted, so that the classes of one statistic stand side by side.
    for (at, row) in B::table().iter().enumerate() {
        let class = status_class(row.name);
        let name = match class {
            Some((stem, _)) => format!("envoy_{scope}_{stem}_xx"),
            None => format!("envoy_{scope}_{}", sanitised(row.name)),
        };
        let mut family = families.of(out, &name, row.kind);
        for entry in entries.iter().filter(|entry| entry.shows(at)) {
            let value = entry.value(at);
            flat.clear();
            // What is counted once for the whole process has no name and no label.
            let is_named = !entry.name.is_empty();
            write!(flat, "{scope}.{}{}{}", entry.name, if is_named { "." } else { "" }, row.name)?;
            if (show.keep)(&flat, value) {
                match class {
                    _ if !is_named => family.sample(&[], value)?,
                    Some((_, class)) => family.sample(&[(CLASS, class), (label, &entry.name)], value)?,
                    None => family.sample(&[(label, &entry.name)], value)?,
                }
            }
        }
        // Those of each method are of the family of those of all.
        let grpc =
            || GrpcStats::ROWS.iter().enumerate().find(|(_, (name, _))| row.name.strip_prefix("grpc.") == Some(name));
        if let Some((at, (_, of))) = grpc() {
            for (entry, methods) in entries.iter().zip(&methods) {
                for (name, method) in methods {
                    let Some(value) = method.value(at, *of) else { continue };
                    flat.clear();
                    write!(flat, "{scope}.{}.grpc.{name}.{}", entry.name, GrpcStats::ROWS[at].0)?;
                    if (show.keep)(&flat, value) {
                        let labels =
                            [(GRPC_METHOD, method.method), (GRPC_SERVICE, method.service), (label, &*entry.name)];
                        family.sample(&labels, value)?;
                    }
                }
            }
        }
        if !family.opened {
            families.0.clear();
        }
    }
    Ok(())
}

/// The families of counts by status: each status, each class, and all of them.
fn write_codes<B: Block>(
    out: &mut dyn Write,
    scope: &str,
    label: &str,
    entries: &[Entry<B>],
    show: &Show<'_>,
) -> fmt::Result {
    /// One sample: its own label, the end of its flat name, and its value.
    type Sample = (Option<(&'static str, u16)>, String, u64);
    type End = (&'static str, fn(&[(u16, u64)]) -> Vec<Sample>);
    const ENDS: [End; 3] = [
        ("", |sums| sums.iter().map(|(code, count)| (Some((CODE, *code)), format!("_{code}"), *count)).collect()),
        ("_xx", |sums| {
            classes(sums).map(|(class, count)| (Some((CLASS, class)), format!("_{class}xx"), count)).collect()
        }),
        ("_completed", |sums| match sums.iter().map(|sum| sum.1).sum() {
            0 => vec![],
            completed => vec![(None, "_completed".to_owned(), completed)],
        }),
    ];
    let mut sums = Vec::new();
    for (at, row) in B::codes().iter().enumerate() {
        let stem = sanitised(row.prefix);
        for (end, samples) in ENDS {
            let mut family = Family::new(out, format!("envoy_{scope}_{stem}upstream_rq{end}"), Kind::Counter);
            for entry in entries {
                entry.codes(at, &mut sums);
                for (of, end, count) in samples(&sums) {
                    if !(show.keep)(&format!("{scope}.{}.{}upstream_rq{end}", entry.name, row.prefix), count) {
                        continue;
                    }
                    match of {
                        Some((name, of)) => family.sample(&[(name, &of.to_string()), (label, &entry.name)], count)?,
                        None => family.sample(&[(label, &entry.name)], count)?,
                    }
                }
            }
        }
    }
    Ok(())
}

fn write_scope_histograms<B: Block>(
    out: &mut dyn Write,
    scope: &str,
    label: &str,
    entries: &[Entry<B>],
    distribution: &mut Distribution,
    show: &Show<'_>,
) -> fmt::Result {
    let mut flat = String::new();
    for row in B::histograms() {
        let mut family = HistogramFamily::new(out, format!("envoy_{scope}_{}", sanitised(row.name)), show.summary);
        for entry in entries {
            distribution.clear();
            entry.blocks.iter().for_each(|block| (row.add)(block, distribution));
            flat.clear();
            write!(flat, "{scope}.{}.{}", entry.name, row.name)?;
            let is_there = row.is_always || distribution.total() > 0;
            if is_there && (show.keep)(&flat, distribution.total()) {
                family.distribution(&[(label, &entry.name)], distribution, (show.bounds)(&flat))?;
            }
        }
        if row.name.strip_prefix("grpc.") != Some(TIME) {
            continue;
        }
        for entry in entries {
            for (name, method) in entry.methods() {
                distribution.clear();
                method.add_times(distribution);
                flat.clear();
                write!(flat, "{scope}.{}.grpc.{name}.{TIME}", entry.name)?;
                if distribution.total() > 0 && (show.keep)(&flat, distribution.total()) {
                    let labels = [(GRPC_METHOD, method.method), (GRPC_SERVICE, method.service), (label, &*entry.name)];
                    family.distribution(&labels, distribution, (show.bounds)(&flat))?;
                }
            }
        }
    }
    Ok(())
}

/// `upstream_rq_5xx` -> `("upstream_rq", "5")`.
fn status_class(name: &str) -> Option<(&str, &str)> {
    let (stem, class) = name.strip_suffix("xx")?.rsplit_once('_')?;
    matches!(class, "1" | "2" | "3" | "4" | "5").then_some((stem, class))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;

    fn text(registry: &Registry, summary: bool, keep: &dyn Fn(&str, u64) -> bool) -> String {
        let mut out = String::new();
        let show = Show { keep, bounds: &|_| &[0.5, 10.0], summary };
        write(registry, &mut out, &show).expect("a text takes all");
        out
    }

    #[test]
    fn what_was_counted_reads_as_envoy_writes_it() {
        let registry = Registry::new(2);
        for (name, worker) in [("a", 0), ("a", 1), ("b.\"x\"\\\n", 1)] {
            let stats = &registry.cluster(name)[worker];
            stats.upstream_rq_total.add(2);
            stats.count_status(Origin::External, 200);
            stats.count_status(Origin::Internal, 503);
            stats.count_time(Origin::External, 7);
        }
        registry.http("in", "127.0.0.1:80")[0].no_route.add(1);
        registry.http("in", "127.0.0.1:80")[0].count_status(404);
        registry.listener("127.0.0.1:80")[1].downstream_cx_active.add(1);
        registry.tcp("raw")[1].downstream_cx_total.add(3);
        registry.server.live.set(1);
        let expect = r#"# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{envoy_cluster_name="a"} 4
envoy_cluster_upstream_rq_total{envoy_cluster_name="b.\"x\"\\\n"} 2
# TYPE envoy_cluster_upstream_rq counter
envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="a"} 2
envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="a"} 2
envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="b.\"x\"\\\n"} 1
envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="b.\"x\"\\\n"} 1
# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="a"} 2
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="a"} 2
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="b.\"x\"\\\n"} 1
envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="b.\"x\"\\\n"} 1
# TYPE envoy_cluster_upstream_rq_completed counter
envoy_cluster_upstream_rq_completed{envoy_cluster_name="a"} 4
envoy_cluster_upstream_rq_completed{envoy_cluster_name="b.\"x\"\\\n"} 2
# TYPE envoy_http_downstream_rq_xx counter
envoy_http_downstream_rq_xx{envoy_response_code_class="4",envoy_http_conn_manager_prefix="in"} 1
# TYPE envoy_http_no_route counter
envoy_http_no_route{envoy_http_conn_manager_prefix="in"} 1
# TYPE envoy_listener_downstream_cx_active gauge
envoy_listener_downstream_cx_active{envoy_listener_address="127.0.0.1_80"} 1
# TYPE envoy_tcp_downstream_cx_total counter
envoy_tcp_downstream_cx_total{envoy_tcp_prefix="raw"} 3
# TYPE envoy_listener_worker_downstream_cx_active gauge
envoy_listener_worker_downstream_cx_active{envoy_worker_id="1",envoy_listener_address="127.0.0.1_80"} 1
# TYPE envoy_listener_http_downstream_rq_xx counter
envoy_listener_http_downstream_rq_xx{envoy_response_code_class="4",envoy_http_conn_manager_prefix="in",envoy_listener_address="127.0.0.1_80"} 1
# TYPE envoy_server_concurrency gauge
envoy_server_concurrency{} 2
# TYPE envoy_server_live gauge
envoy_server_live{} 1
# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="0.5"} 0
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="10"} 2
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="a",le="+Inf"} 2
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="a"} 14.099290780141844
envoy_cluster_upstream_rq_time_count{envoy_cluster_name="a"} 2
"#;
        let keep = |name: &str, value| {
            value != 0
                && !["external.", "internal.", "b.\"x\"\\\n.upstream_rq_time"].iter().any(|part| name.contains(part))
        };
        assert_eq!(text(&registry, false, &keep), expect);
        let summary = text(&registry, true, &|name, _| name == "cluster.a.upstream_rq_time");
        assert!(summary.starts_with("# TYPE envoy_cluster_upstream_rq_time summary\n"), "{summary}");
        assert!(summary.contains("{envoy_cluster_name=\"a\",quantile=\"0.5\"} 7.0"), "{summary}");
    }

    /// The labels are Envoy's; its service ends at the first dot, ours is whole.
    #[test]
    fn methods_of_grpc_are_labels() {
        let registry = Registry::new(1);
        let grpc = &registry.cluster("c")[0].grpc;
        grpc.write().count(Some(0));
        for stats in [grpc.write(), grpc.write_method(b"a.B", b"C", false), grpc.write_method(b"a.B", b"D", true)] {
            stats.request_message_count.add(2);
            stats.upstream_rq_time.record(4);
        }
        let keep = |name: &str, _| name.contains("grpc") && (name.contains("count") || name.contains("time"));
        let expect = r#"# TYPE envoy_cluster_grpc_request_message_count counter
envoy_cluster_grpc_request_message_count{envoy_cluster_name="c"} 2
envoy_cluster_grpc_request_message_count{envoy_grpc_bridge_method="C",envoy_grpc_bridge_service="a.B",envoy_cluster_name="c"} 2
envoy_cluster_grpc_request_message_count{envoy_grpc_bridge_method="D",envoy_grpc_bridge_service="a_B",envoy_cluster_name="c"} 2
# TYPE envoy_cluster_grpc_upstream_rq_time histogram
envoy_cluster_grpc_upstream_rq_time_bucket{envoy_cluster_name="c",le="0.5"} 0
"#;
        let text = text(&registry, false, &keep);
        assert!(text.starts_with(expect), "{text}");
        let count = r#"envoy_cluster_grpc_upstream_rq_time_count{envoy_grpc_bridge_method="D",envoy_grpc_bridge_service="a_B",envoy_cluster_name="c"} 1"#;
        assert!(text.contains(count), "{text}");
        assert_eq!(text.matches("# TYPE").count(), 2, "{text}");
    }

    #[test]
    fn each_family_has_one_type_line_and_stays_together() {
        let registry = Registry::new(1);
        for name in ["a", "b"] {
            registry.cluster(name);
            registry.http(name, name);
            registry.membership(name);
            registry.breakers(name);
            registry.cluster(name)[0].count_status(Origin::External, 200);
            registry.listener(name);
        }
        let text = text(&registry, false, &|_, _| true);
        let mut seen = std::collections::HashSet::new();
        let mut family = "";
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => {
                    family = rest.split(' ').next().expect("a name");
                    assert!(seen.insert(family), "{family} twice");
                }
                None => assert!(line.split('{').next().is_some_and(|name| name.starts_with(family)), "{line}"),
            }
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("envoy_cluster_upstream_rq_xx{")).count(), 2);
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let mut out = String::new();
        let mut family = HistogramFamily::new(&mut out, "h".into(), false);
        let buckets = [(1.024, 2), (2.048, 2)].into_iter();
        family.buckets(&[("w", "a\"b")], buckets, 9.5, 3).expect("a text takes all");
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

    #[test]
    fn a_prefix_is_part_of_the_name_and_a_label() {
        let registry = Registry::new(1);
        registry.tls_inspector()[0].sni_found.add(3);
        registry.http_inspector();
        registry.proxy_protocol("")[0].not_found_allowed.add(1);
        registry.proxy_protocol("pre")[0].versions[1].found.add(2);
        let mut flat = Vec::new();
        registry
            .visit(&mut |name, _, value| {
                if value > 0 {
                    flat.push(format!("{name}={value}"))
                };
                Ok(())
            })
            .expect("no error");
        let own = |line: &&String| ["tls_i", "http_i", "proxy"].iter().any(|begin| line.starts_with(begin));
        let flat: Vec<_> = flat.iter().filter(own).collect();
        assert_eq!(
            flat,
            ["proxy_proto.not_found_allowed=1", "proxy_proto.pre.versions.v2.found=2", "tls_inspector.sni_found=3"]
        );
        let mut text = String::new();
        let show = Show { keep: &|_, value| value > 0, bounds: &|_| &[], summary: false };
        write(&registry, &mut text, &show).expect("no error");
        for line in [
            "envoy_tls_inspector_sni_found{} 3\n",
            "envoy_proxy_proto_not_found_allowed{} 1\n",
            "envoy_proxy_proto_found{envoy_proxy_protocol_prefix=\"pre\",envoy_proxy_protocol_version=\"2\"} 2\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
