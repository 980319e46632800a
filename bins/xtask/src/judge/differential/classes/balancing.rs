//! Which endpoint is picked, where health, priorities and localities leave one; and what is said where they leave none.

use super::{Class, Draw, Front};
use crate::judge::differential::case::Case;
use crate::lab::chance::Chance;

pub(super) const CLASS: Class = Class {
    name: "balancing",
    fronts: &[Front { name: "balancing", hosts: HOSTS, ..Front::PLAIN }],
    clusters: CLUSTERS,
    cases,
    ..Class::PLAIN
};

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    (0..count).map(|_| DRAW.case(chance)).collect()
}

const DRAW: Draw = Draw {
    hosts: &["balancing.test"],
    paths: &[
        "/half",
        "/whole",
        "/spilled",
        "/degraded",
        "/draining",
        "/none",
        "/fails",
        "/drops",
        "/zones",
        "/least",
        "/random",
        "/ring?k=1",
        "/ring?k=2",
        "/ring",
        "/maglev?k=3",
        "/maglev?k=4",
        "/maglev",
    ],
    fields: &["X-A: one", "Accept: */*", "X-K: 1-a", "X-K: 2-b", "X-K: 3", "X-K: 4"],
};

/// Virtual hosts, as items of a YAML flow sequence.
const HOSTS: &str = r#"
  {name: balancing, domains: ["balancing.test"], routes: [
    {match: {prefix: /half}, route: {cluster: half}},
    {match: {prefix: /whole}, route: {cluster: whole}},
    {match: {prefix: /spilled}, route: {cluster: spilled}},
    {match: {prefix: /degraded}, route: {cluster: degraded}},
    {match: {prefix: /draining}, route: {cluster: draining}},
    {match: {prefix: /none}, route: {cluster: none}, response_headers_to_add: [{header: {key: x-added, value: "1"}}]},
    {match: {prefix: /fails}, route: {cluster: fails}},
    {match: {prefix: /drops}, route: {cluster: drops}},
    {match: {prefix: /zones}, route: {cluster: zones}},
    {match: {prefix: /least}, route: {cluster: least}},
    {match: {prefix: /random}, route: {cluster: random}},
    {match: {prefix: /ring}, route: {cluster: ring, hash_policy: [
      {header: {header_name: x-k}}, {query_parameter: {name: k}}, {header: {header_name: ":path"}}]}},
    {match: {prefix: /maglev}, route: {cluster: maglev, hash_policy: [
      {header: {header_name: x-k, regex_rewrite: {pattern: {regex: "-.*"}, substitution: ""}}, terminal: true}, {header: {header_name: ":path"}}]}}]}"#;

/// Half of the endpoints is enough; a threshold is taken in whole percents; one priority for another; the degraded for the healthy; who drains does
/// not count; nobody; nobody in panic; all dropped; a locality without weight; the typed policies; the same endpoint for the same hash, whose key
/// is no address: each proxy has origins of its own.
const CLUSTERS: &str = r#"
  - name: half
    load_assignment: {cluster_name: half, endpoints: [{lb_endpoints: [
      {health_status: UNHEALTHY, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}},
      {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {b}}}}}]}]}
  - name: whole
    common_lb_config: {healthy_panic_threshold: {value: 50.9}}
    load_assignment: {cluster_name: whole, endpoints: [{lb_endpoints: [
      {health_status: TIMEOUT, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}},
      {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {a}}}}}]}]}
  - name: spilled
    load_assignment: {cluster_name: spilled, endpoints: [
      {priority: 0, lb_endpoints: [{health_status: UNHEALTHY, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {a}}}}}]},
      {priority: 1, lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {b}}}}}]}]}
  - name: degraded
    load_assignment: {cluster_name: degraded, endpoints: [{lb_endpoints: [
      {health_status: UNHEALTHY, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}},
      {health_status: DEGRADED, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {a}}}}}]}]}
  - name: draining
    load_assignment: {cluster_name: draining, endpoints: [{lb_endpoints: [
      {health_status: DRAINING, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}},
      {health_status: DRAINING, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 2}}}},
      {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {b}}}}}]}]}
  - name: none
    common_lb_config: {healthy_panic_threshold: {value: 0}}
    load_assignment: {cluster_name: none, endpoints: [{lb_endpoints: [
      {health_status: UNHEALTHY, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {a}}}}}]}]}
  - name: fails
    common_lb_config: {zone_aware_lb_config: {fail_traffic_on_panic: true}}
    load_assignment: {cluster_name: fails, endpoints: [{lb_endpoints: [
      {health_status: UNHEALTHY, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {a}}}}}]}]}
  - name: drops
    load_assignment: {cluster_name: drops, policy: {drop_overloads: [{category: all, drop_percentage: {numerator: 100}}]}, endpoints: [
      {lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {a}}}}}]}]}
  - name: zones
    common_lb_config: {locality_weighted_lb_config: {}}
    load_assignment: {cluster_name: zones, endpoints: [
      {locality: {zone: near}, lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}]},
      {locality: {zone: far}, load_balancing_weight: 1, lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {b}}}}}]}]}
  - name: least
    load_balancing_policy: {policies: [{typed_extension_config: {name: least, typed_config: {
      "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest, choice_count: 3}}}]}
    load_assignment: {cluster_name: least, endpoints: [{lb_endpoints: [
      {health_status: UNHEALTHY, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}},
      {load_balancing_weight: 5, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {a}}}}}]}]}
  - name: random
    lb_policy: RANDOM
    load_assignment: {cluster_name: random, endpoints: [{lb_endpoints: [
      {health_status: UNHEALTHY, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}},
      {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {b}}}}}]}]}
  - name: ring
    lb_policy: RING_HASH
    load_assignment: {cluster_name: ring, endpoints: [{lb_endpoints: [
      {metadata: {filter_metadata: {envoy.lb: {hash_key: a}}}, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {a}}}}},
      {load_balancing_weight: 2, metadata: {filter_metadata: {envoy.lb: {hash_key: b}}}, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {b}}}}}]}]}
  - name: maglev
    load_balancing_policy: {policies: [{typed_extension_config: {name: maglev, typed_config: {
      "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev, table_size: 1009}}}]}
    load_assignment: {cluster_name: maglev, endpoints: [{lb_endpoints: [
      {metadata: {filter_metadata: {envoy.lb: {hash_key: a}}}, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {a}}}}},
      {metadata: {filter_metadata: {envoy.lb: {hash_key: b}}}, endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {b}}}}}]}]}"#;
