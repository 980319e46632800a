//! What an answer of the proxy's own says.

use super::{Class, Draw, Front};
use crate::judge::differential::case::Case;
use crate::lab::chance::Chance;

pub(super) const CLASS: Class = Class {
    name: "local replies",
    fronts: &[Front { name: "local_replies", hosts: HOSTS, ..Front::PLAIN }],
    cases,
    ..Class::PLAIN
};

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    (0..count).map(|_| DRAW.case(chance)).collect()
}

const DRAW: Draw = Draw {
    hosts: &["local.test"],
    paths: &[
        "/200",
        "/201?x",
        "/201",
        "/204",
        "/302",
        "/302?y",
        "/404",
        "/503",
        "/599",
        "/type",
        "/untyped",
        "/echo?x",
        "/echo",
        "/missing",
        "/dead",
        "/slow/silent",
        "/long/silent",
        "/idle/silent",
        "/nowhere",
    ],
    fields: &["X-A: one", "X-B: two", "X-Forwarded-Proto: https", "Accept: */*"],
};

/// Virtual hosts, as items of a YAML flow sequence.
const HOSTS: &str = r#"
  {name: local, domains: ["local.test"], routes: [
    {match: {prefix: /200}, direct_response: {status: 200, body: {inline_string: "a body"}}},
    {match: {prefix: /201}, direct_response: {status: 201}},
    {match: {prefix: /204}, direct_response: {status: 204}},
    {match: {prefix: /302}, direct_response: {status: 302, body: {inline_string: "elsewhere"}}},
    {match: {prefix: /404}, direct_response: {status: 404, body: {inline_bytes: "bm90IGhlcmU="}}},
    {match: {prefix: /503}, direct_response: {status: 503}},
    {match: {prefix: /599}, direct_response: {status: 599, body: {inline_string: "odd"}}},
    {match: {prefix: /type}, direct_response: {status: 200, body: {inline_string: "{}"}}, response_headers_to_add: [
      {header: {key: content-type, value: application/json}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]},
    {match: {prefix: /untyped}, direct_response: {status: 200, body: {inline_string: "?"}}, response_headers_to_remove: [content-type]},
    {match: {prefix: /echo}, direct_response: {status: 200, body: {inline_string: "."}}, response_headers_to_add: [
      {header: {key: x-echo, value: "%REQ(x-a?x-b)% %REQ(:METHOD)% %PROTOCOL% %RESPONSE_CODE%"}},
      {header: {key: x-type, value: "%RESP(content-type)%"}}]},
    {match: {prefix: /missing}, route: {cluster_header: x-none}, response_headers_to_add: [{header: {key: x-added, value: "1"}}]},
    {match: {prefix: /dead}, route: {cluster: dead}, response_headers_to_add: [{header: {key: x-added, value: "1"}}]},
    {match: {prefix: /slow/}, route: {cluster: a, timeout: 0.15s}, response_headers_to_add: [{header: {key: x-added, value: "1"}}]},
    {match: {prefix: /long/}, route: {cluster: a, timeout: 0s, max_stream_duration: {max_stream_duration: 0.15s}}, response_headers_to_add: [{header: {key: x-added, value: "1"}}]},
    {match: {prefix: /idle/}, route: {cluster: a, timeout: 0s, idle_timeout: 0.15s}, response_headers_to_add: [{header: {key: x-added, value: "1"}}]}]}"#;
