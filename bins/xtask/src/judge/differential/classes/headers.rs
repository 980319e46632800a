//! Header oddities: names, values and lines that break a rule or are rare; and what becomes of header fields at all levels.

use super::{Class, Draw, Front, any};
use crate::judge::differential::case::Case;
use crate::lab::chance::Chance;

pub(super) const CLASS: Class = Class {
    name: "header oddities",
    fronts: &[Front { name: "headers", hosts: HOSTS, configuration: CONFIGURATION, ..Front::PLAIN }],
    cases,
    ..Class::PLAIN
};

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    let mut cases: Vec<Case> = ODD.iter().map(|(name, text)| Case::raw(chance, name, "GET", text)).collect();
    while cases.len() < count {
        cases.push(match chance.below(3) {
            0 => any::request(chance),
            _ => DRAW.case(chance),
        });
    }
    cases
}

const ODD: &[(&str, &str)] = &[
    ("no host", "GET /a/x HTTP/1.1\r\nX-A: 1\r\n\r\n"),
    ("two hosts", "GET /a/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("an empty host", "GET /a/x HTTP/1.1\r\nHost:\r\n\r\n"),
    ("a host with a path", "GET /a/x HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("a space before the colon", "GET /a/x HTTP/1.1\r\nHost: a\r\nX-A : 1\r\n\r\n"),
    ("a folded field", "GET /a/x HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n\r\n"),
    ("a field without colon", "GET /a/x HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n"),
    ("a field without name", "GET /a/x HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"),
    ("a bare LF", "GET /a/x HTTP/1.1\nHost: a\n\n"),
    ("a bare CR", "GET /a/x HTTP/1.1\r\nHost: a\r\nX-A: 1\r2\r\n\r\n"),
    ("a NUL in a value", "GET /a/x HTTP/1.1\r\nHost: a\r\nX-A: 1\u{0}2\r\n\r\n"),
    ("a control byte in a value", "GET /a/x HTTP/1.1\r\nHost: a\r\nX-A: 1\u{1}2\r\n\r\n"),
    ("empty lines before", "\r\n\r\nGET /a/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("not HTTP at all", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n"),
];

const DRAW: Draw = Draw {
    hosts: &["fields.test"],
    paths: &[
        "/one/x",
        "/one/x?q=1",
        "/one/status-404",
        "/two/x",
        "/two/x?q=1&r",
        "/two/x?q",
        "/two/chunked-5",
        "/x",
        "/one/status-204",
    ],
    fields: &[
        "X-A: one",
        "X-A: two",
        "X-B: b",
        "X-B:",
        "X-C: c",
        "x-c: d",
        "X-D: d",
        "X-Secret: 1",
        "User-Agent: judge",
        "X-Gone: 1",
        "X-Forwarded-For: 192.0.2.1, 192.0.2.2",
        "X-Level: client",
        "X-Old: 0",
        "X-X: 0",
        "X-F: f",
    ],
};

/// Virtual hosts, as items of a YAML flow sequence.
const HOSTS: &str = r#"
  {name: fields, domains: ["fields.test"], routes: [
    {name: first, match: {prefix: /one/}, route: {cluster: a},
     request_headers_to_add: [
      {header: {key: x-a, value: added}},
      {header: {key: x-b, value: absent}, append_action: ADD_IF_ABSENT},
      {header: {key: x-c, value: over}, append_action: OVERWRITE_IF_EXISTS_OR_ADD},
      {header: {key: x-d, value: if}, append_action: OVERWRITE_IF_EXISTS},
      {header: {key: x-e, value: "%REQ(x-none)%"}},
      {header: {key: x-f, value: "%REQ(x-none)%"}, keep_empty_value: true},
      {header: {key: x-g, value: "100%% %REQ(x-a?x-b):3% %PROTOCOL% %ROUTE_NAME%"}},
      {header: {key: x-old, value: "1"}, append: false},
      {header: {key: X-Upper, value: Case}},
      {header: {key: x-level, value: route}}],
     request_headers_to_remove: [x-secret, user-agent],
     response_headers_to_add: [
      {header: {key: x-path, value: "%REQ(:path)% %REQ(x-level)% %RESPONSE_CODE%"}},
      {header: {key: x-origin, value: "%RESP(x-origin)%!"}, append_action: OVERWRITE_IF_EXISTS},
      {header: {key: x-level, value: route}}],
     response_headers_to_remove: [content-type]},
    {name: second, match: {prefix: /two/}, route: {cluster: b},
     request_headers_to_add: [
      {header: {key: x-a, value: "<%REQ(X-A)%>"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD},
      {header: {key: x-q, value: "%QUERY_PARAM(q)%"}},
      {header: {key: x-p, value: "%PATH(NQ)% %PATH(WQ)%"}},
      {header: {key: x-cl, value: "%UPSTREAM_CLUSTER%"}},
      {header: {key: x-ip, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}},
      {header: {key: x-x, value: "1"}}, {header: {key: x-x, value: "2"}}],
     request_headers_to_remove: [X-B],
     response_headers_to_remove: [x-origin, server]},
    {match: {prefix: /}, route: {cluster: a}}],
   request_headers_to_add: [
    {header: {key: x-level, value: "host"}}, {header: {key: x-x, value: "%REQ(x-x)%+"}, append_action: OVERWRITE_IF_EXISTS}],
   request_headers_to_remove: [x-gone],
   response_headers_to_add: [{header: {key: x-level, value: host}, append_action: ADD_IF_ABSENT}]}"#;

/// What stands beside the virtual hosts in the route configuration.
const CONFIGURATION: &str = r#",
  request_headers_to_add: [{header: {key: x-level, value: configuration}}],
  response_headers_to_add: [{header: {key: x-level, value: configuration}, append_action: OVERWRITE_IF_EXISTS}],
  response_headers_to_remove: [x-none]"#;
