//! Listeners and endpoints of each family of addresses, and what is told of them.

use super::{Class, Front};
use crate::judge::differential::case::{Case, Tag};
use crate::lab::chance::Chance;

pub(super) const CLASS: Class = Class {
    name: "addresses",
    fronts: &[
        Front { name: "v4", hosts: HOSTS, manager: TRUSTED, ..Front::PLAIN },
        Front { name: "v6", address: "::1", hosts: HOSTS, manager: TRUSTED, ..Front::PLAIN },
        Front { name: "any-v4", address: "0.0.0.0", hosts: HOSTS, manager: DETECTED, ..Front::PLAIN },
        Front { name: "any-v6", address: "::", hosts: HOSTS, manager: APPENDED, ..Front::PLAIN },
    ],
    clusters: CLUSTERS,
    cases,
    ..Class::PLAIN
};

/// The client's own address is believed, with one proxy before it.
const TRUSTED: &str = "use_remote_address: true, xff_num_trusted_hops: 1,";
/// The hop before the last is believed, and its request's id is told back.
const DETECTED: &str = "original_ip_detection_extensions: [{name: e, typed_config: {'@type': \
    type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig, xff_num_trusted_hops: 1}}], \
    request_id_extension: {typed_config: {'@type': \
    type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig, pack_trace_reason: false}},";
const APPENDED: &str = "use_remote_address: true, skip_xff_append: true,";

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    (0..count)
        .map(|at| {
            let (method, body) = *chance.pick(&[("GET", ""), ("HEAD", ""), ("POST", "body")]);
            let path = PATHS[at % PATHS.len()];
            let mut text = format!("{method} {path} HTTP/1.1\r\nHost: addresses.test\r\n");
            for _ in 0..chance.below(3) {
                text += *chance.pick(FIELDS);
                text += "\r\n";
            }
            if !body.is_empty() {
                text += &format!("Content-Length: {}\r\n", body.len());
            }
            let front = *chance.pick(&["v4", "v6", "any-v4", "any-v6"]);
            let case = Case::of(chance, "", method, &format!("{text}\r\n{body}")).on(front).tag(Tag::Loopback);
            if path == "/nobody/x" { case.tag(Tag::Unsent) } else { case }
        })
        .collect()
}

const PATHS: &[&str] = &["/v4/x", "/dns/x", "/logical/x", "/numeric/x", "/several/x", "/nobody/x", "/told"];

const FIELDS: &[&str] = &[
    "X-Forwarded-For: 192.0.2.7",
    "X-Forwarded-For: 2001:db8::7, 10.0.0.1",
    "X-Forwarded-For: ::1",
    "X-Forwarded-For: nonsense",
    "X-Forwarded-Proto: https",
    "X-Envoy-External-Address: 192.0.2.9",
    "X-Envoy-Internal: true",
];

const HOSTS: &str = r#"
  {name: addresses, domains: ["addresses.test"], routes: [
    {match: {prefix: /v4/}, route: {cluster: a}},
    {match: {prefix: /dns/}, route: {cluster: dns}},
    {match: {prefix: /logical/}, route: {cluster: logical, auto_host_rewrite: true}},
    {match: {prefix: /numeric/}, route: {cluster: numeric}},
    {match: {prefix: /several/}, route: {cluster: several}},
    {match: {prefix: /nobody/}, route: {cluster: nobody}},
    {match: {prefix: /told}, direct_response: {status: 200, body: {inline_string: told}}}],
   request_headers_to_add: [
    {header: {key: x-remote, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}},
    {header: {key: x-local, value: "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"}}],
   response_headers_to_add: [
    {header: {key: x-remote, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}},
    {header: {key: x-local, value: "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"}}]}"#;

// Nobody listens on port 1 of the loopback.
const CLUSTERS: &str = r#"
  - name: several
    upstream_connection_options: {happy_eyeballs_config: {first_address_family_version: V6, first_address_family_count: 2}}
    load_assignment: {cluster_name: several, endpoints: [{lb_endpoints: [
      {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}, additional_addresses: [
        {address: {socket_address: {address: '::1', port_value: 1}}},
        {address: {socket_address: {address: 127.0.0.1, port_value: {a}}}}]}}]}]}
  - name: nobody
    load_assignment: {cluster_name: nobody, endpoints: [{lb_endpoints: [
      {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}, additional_addresses: [
        {address: {socket_address: {address: '::1', port_value: 1}}}]}}]}]}
  - name: dns
    type: STRICT_DNS
    dns_lookup_family: V4_ONLY
    load_assignment: {cluster_name: dns, endpoints: [{lb_endpoints: [
      {endpoint: {address: {socket_address: {address: localhost, port_value: {a}}}}}]}]}
  - name: logical
    type: LOGICAL_DNS
    dns_lookup_family: V4_ONLY
    load_assignment: {cluster_name: logical, endpoints: [{lb_endpoints: [
      {endpoint: {address: {socket_address: {address: localhost, port_value: {b}}}}}]}]}
  - name: numeric
    type: STRICT_DNS
    load_assignment: {cluster_name: numeric, endpoints: [{lb_endpoints: [
      {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {b}}}}}]}]}"#;
