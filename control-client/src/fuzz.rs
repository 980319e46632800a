//! Fuzz bodies as plain functions: `cargo test` plays mutations through them, `cargo xtask fuzz` many more.
//!
//! Each panics on what must never be. What must hold: no bytes panic a reader; and what was read without a problem is
//! written and read again as the same.

use std::sync::Arc;

use crate::cache::{Change, ConfigSource, Kind};
use crate::document;
use crate::files::read_response;
use crate::message::Value;
use crate::problem::Report;
use crate::reader::{self, Unknown};
use crate::schema::MessageType;
use crate::wire;

/// What a first byte chooses from: the resources, and what is inside of them where most is.
const KINDS: [&str; 8] = [
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.config.listener.v3.Listener",
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.extensions.transport_sockets.tls.v3.Secret",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "envoy.config.core.v3.Node",
    "envoy.service.discovery.v3.DeltaDiscoveryResponse",
];

/// A resource in protobuf's wire form, of a text that names its type as in a file: for the management servers of tests.
///
/// # Panics
/// If it cannot be read.
pub fn encoded(text: &str) -> Vec<u8> {
    let mut report = Report::new("resource");
    let document = document::parse(text, &mut report);
    let any = document.and_then(|document| reader::read_any(&document, Unknown::Kept, &mut report));
    let problems = report.finish().err().unwrap_or_default();
    match any.and_then(|any| any.value).map(|value| *value) {
        Some(Value::Message(message)) if problems.is_empty() => wire::write(&message),
        _ => panic!("{text}: {problems:?}"),
    }
}

/// The resources of a file, each with its name, in protobuf's wire form: for the management servers of tests.
///
/// # Panics
/// If one of them cannot be read.
pub fn resources(kind: Kind, text: &str) -> Vec<(String, Vec<u8>)> {
    let source = Arc::new(ConfigSource::Ads);
    let update = read_response("resources", text, &source, kind, Unknown::Kept);
    let Change::World(received) = update.expect("a response").change else { unreachable!("as it was read") };
    let encoded = received.into_iter().map(|mut received| {
        let message = received.take_message();
        let problems = received.report.finish().err().unwrap_or_default();
        assert!(problems.is_empty(), "{}: {problems:?}", received.name);
        (received.name, wire::write(&message.expect("it has been read")))
    });
    encoded.collect()
}

/// A message of the type that the first byte chooses. Gives the shape of the answer.
///
/// # Panics
/// If something does not hold.
pub fn protobuf(input: &[u8]) -> u64 {
    let Some((&first, bytes)) = input.split_first() else { return 0 };
    let kind = MessageType::by_name(KINDS[usize::from(first) % KINDS.len()]).expect("the schema has it");
    let read = |bytes: &[u8]| {
        let mut report = Report::new("fuzz");
        (wire::read(bytes, kind, Unknown::Kept, &mut report), report)
    };
    let (message, report) = read(bytes);
    if let (Some(message), true) = (&message, report.problems.is_empty()) {
        let written = wire::write(message);
        let (again, report) = read(&written);
        assert_eq!(report.problems, [], "what we wrote of it");
        assert_eq!(wire::write(&again.expect("it has no problem")), written, "what was read of that");
    }
    let rules = report.problems.iter().chain(&report.warnings).map(|problem| problem.rule.len() + problem.path.len());
    let fields = message.map_or(0, |message| 1 + message.fields.len());
    rules.fold(fields as u64, |sum, len| sum.wrapping_mul(31).wrapping_add(len as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;

    /// Resources as people write them, in the order of [`KINDS`].
    const TEXTS: [&str; 4] = [
        "{name: c, type: EDS, connect_timeout: 0.25s, eds_cluster_config: {eds_config: {ads: {}}}, circuit_breakers: {thresholds: [{max_requests: 9}]},
          typed_extension_protocol_options: {x: {\"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}}",
        "{cluster_name: c, endpoints: [{locality: {zone: z}, lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 80}}},
          metadata: {filter_metadata: {envoy.lb: {a: [1, true, null, {b: x}]}}}, load_balancing_weight: 3}]}]}",
        "{name: l, address: {socket_address: {address: '::', port_value: 80}}, filter_chains: [{filters: [{name: f, typed_config:
          {\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: s, cluster: c}}]}]}",
        "{name: r, virtual_hosts: [{name: v, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: c, timeout: 3s, retry_policy:
          {retriable_status_codes: [502, 503]}}, typed_per_filter_config: {f: {\"@type\": type.googleapis.com/google.protobuf.Struct, value: {}}}}]}]}",
    ];

    #[test]
    fn changed_resources_hold() {
        let seeds: Vec<Vec<u8>> = TEXTS
            .iter()
            .enumerate()
            .map(|(at, text)| {
                let kind = MessageType::by_name(KINDS[at]).expect("the schema has it");
                let mut report = Report::new("seed");
                let document = document::parse(text, &mut report).expect("it is YAML");
                let message = crate::reader::read(&document, kind, Unknown::Refused, &mut report);
                assert_eq!(report.problems, []);
                [vec![at as u8], wire::write(&message.expect("it has no problem"))].concat()
            })
            .collect();
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut below = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % end
        };
        for seed in &seeds {
            protobuf(seed);
            (0..seed.len()).for_each(|end| _ = protobuf(&seed[..end]));
            for _ in 0..3_000 {
                let mut input = seed.clone();
                for _ in 0..=below(4) {
                    let at = below(input.len());
                    match below(4) {
                        0 => input[at] = below(256) as u8,
                        1 => input[at] ^= 1 << below(8),
                        2 => _ = input.remove(at),
                        _ => input.insert(at, below(256) as u8),
                    }
                    if input.is_empty() {
                        break;
                    }
                }
                protobuf(&input);
            }
        }
    }
}
