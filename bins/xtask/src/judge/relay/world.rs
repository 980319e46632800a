//! The proxies of this judge: one, or two with TLS between them, each listener with a way of its own to an origin.
//!
//! With TLS the first makes records of what a client sends and opens those of the answer, and the second does it the other way round.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Bench;
use crate::lab::pace::wait_for;
use crate::lab::proxy::{Launch, Proxy};
use crate::{command, setup};

/// A way through the proxies.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) name: String,
    pub(super) origin: SocketAddr,
    /// `per_connection_buffer_limit_bytes` of both sides; nothing: as the proxy has it.
    pub(super) limit: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    proxies: Vec<Proxy>,
}

const OPENSSL_LIMIT: Duration = Duration::from_secs(20);
/// What a connection held is given back in the next turns of the loop; pipes, when the housekeeper has seen a quiet second.
const REST_LIMIT: Duration = Duration::from_secs(30);

/// What a proxy has at rest, of all workers together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest(Vec<(&'static str, u64)>);

impl Rest {
    /// What is more than there was.
    fn beyond(&self, before: &Rest) -> Vec<String> {
        let pairs = self.0.iter().zip(&before.0).filter(|((_, now), (_, then))| now > then);
        pairs.map(|((name, now), (_, then))| format!("{name} {now} (was {then})")).collect()
    }
}

impl World {
    /// Starts what these ways need.
    pub(super) fn start(bench: &Bench, tls: bool, ways: &[Way]) -> Result<World, String> {
        if !tls {
            let text = file(ways, "", "");
            return Ok(World { proxies: vec![launch(bench, "plain", &text)?] });
        }
        if !setup::there_is("openssl") {
            return Err("no `openssl` on this machine: `cargo xtask setup` as root installs it".to_owned());
        }
        certificate(&bench.folder)?;
        let path = |name: &str| format!("{{filename: \"{}\"}}", bench.folder.join(name).display());
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let serves = format!(
            "transport_socket: {{name: tls, typed_config: {{\"@type\": {TLS}.DownstreamTlsContext, common_tls_context: \
             {{tls_certificates: [{{certificate_chain: {cert}, private_key: {key}}}]}}}}}}"
        );
        let asks = format!(
            "transport_socket: {{name: tls, typed_config: {{\"@type\": {TLS}.UpstreamTlsContext, sni: server.test, \
             common_tls_context: {{validation_context: {{trusted_ca: {cert}, match_typed_subject_alt_names: \
             [{{san_type: DNS, matcher: {{exact: server.test}}}}]}}}}}}}}"
        );
        let second = launch(bench, "second", &file(ways, &serves, ""))?;
        let mut between = ways.to_vec();
        for way in &mut between {
            way.origin = second.listener(&way.name)?;
        }
        let first = launch(bench, "first", &file(&between, "", &asks))?;
        Ok(World { proxies: vec![first, second] })
    }

    /// Where clients connect.
    pub(super) fn front(&self, name: &str) -> Result<SocketAddr, String> {
        self.proxies[0].listener(name)
    }

    /// The sum over all workers of one row of their loops.
    pub(super) fn sum(&self, row: &str) -> Result<u64, String> {
        self.proxies.iter().map(|proxy| proxy.workers_sum(row)).sum()
    }

    /// One statistic of the first proxy.
    pub(super) fn stat(&self, name: &str) -> Result<u64, String> {
        self.proxies[0].stat(name)
    }

    /// The most that was resident, in KiB, of the proxy that had most.
    pub(super) fn peak_kib(&self) -> u64 {
        self.proxies.iter().map(peak_kib).max().unwrap_or(0)
    }

    /// What lies in the proxies once nothing moves.
    pub(super) fn rest(&self) -> Result<Rest, String> {
        let mut rows = vec![("descriptors", self.proxies.iter().map(Proxy::descriptors).sum())];
        let chunks = self.sum("chunks_total")?.saturating_sub(self.sum("chunks_free")?);
        rows.push(("chunks", chunks));
        for row in ["bulk_in_use", "blocks_in_use_bytes", "tasks", "streams", "timers", "pipes"] {
            rows.push((row, self.sum(row)?));
        }
        let mut active = 0;
        for proxy in &self.proxies {
            for line in proxy.admin("/stats?filter=_active")?.lines().filter(|line| !line.contains("_destroy_")) {
                let Some((name, value)) = line.rsplit_once(": ") else { continue };
                if name.ends_with("cx_active") || name.ends_with("rq_active") || name.ends_with("pending_active") {
                    active += value.parse::<u64>().unwrap_or(0);
                }
            }
        }
        rows.push(("active connections and requests", active));
        Ok(Rest(rows))
    }

    /// Waits until there is no more than there was.
    pub(super) fn wait_rest(&self, before: &Rest) -> Result<(), String> {
        let mut last = Vec::new();
        wait_for("the proxies' rest", REST_LIMIT, || {
            last = self.rest().map_or_else(|why| vec![why], |now| now.beyond(before));
            last.is_empty().then_some(())
        })
        .map_err(|why| format!("{why}; left behind: {}", last.join(", ")))
    }

    /// The last lines of their logs.
    pub(super) fn log_tails(&self) -> String {
        self.proxies.iter().map(Proxy::log_tail).collect::<Vec<_>>().join("\n")
    }
}

/// From /proc, in KiB: the most that was resident.
fn peak_kib(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";

fn launch(bench: &Bench, name: &str, text: &str) -> Result<Proxy, String> {
    let file = bench.folder.join(format!("{name}.yaml"));
    std::fs::write(&file, text).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    let (kind, folder) = (bench.kind, &bench.folder);
    Proxy::start(&Launch { kind, folder, name, file: &file, concurrency: 2, arguments: &[] })
}

/// A listener and a cluster for each way, with these lines for the chain and for the cluster.
fn file(ways: &[Way], chain: &str, cluster: &str) -> String {
    let (mut listeners, mut clusters) = (String::new(), String::new());
    for Way { name, origin, limit } in ways {
        let limit = limit.map_or_else(String::new, |limit| format!("per_connection_buffer_limit_bytes: {limit}"));
        listeners += &format!(
            r#"
  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    {limit}
    filter_chains:
    - filters: [{{name: tcp, typed_config: {{
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: {name}, cluster: {name}}}}}]
      {chain}"#
        );
        clusters += &format!(
            r#"
  - name: {name}
    {limit}
    connect_timeout: 20s
    circuit_breakers: {{thresholds: [{{max_connections: 100000, max_pending_requests: 100000}}]}}
    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: {{
      address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}]}}]}}
    {cluster}"#,
            origin.ip(),
            origin.port()
        );
    }
    format!(
        "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}\n\
         static_resources:\n  listeners:{listeners}\n  clusters:{clusters}\n"
    )
}

/// A certificate that is its own authority.
fn certificate(folder: &Path) -> Result<(), String> {
    let mut openssl = Command::new("openssl");
    openssl.args(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout key.pem -out cert.pem".split(' '),
    );
    openssl.args(["-subj", "/CN=judge", "-addext", "subjectAltName=DNS:server.test"]).current_dir(folder);
    let outcome = command::run(openssl, OPENSSL_LIMIT, command::Echo::Nothing)?;
    if outcome.success { Ok(()) } else { Err(format!("openssl: {}", outcome.lines.join(" | "))) }
}
