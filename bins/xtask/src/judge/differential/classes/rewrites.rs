//! What becomes of a path and a host on their way to an origin.

use super::{Class, Draw, Front};
use crate::judge::differential::case::Case;
use crate::lab::chance::Chance;

pub(super) const CLASS: Class = Class {
    name: "rewrites",
    fronts: &[Front { name: "rewrites", hosts: HOSTS, ..Front::PLAIN }],
    cases,
    ..Class::PLAIN
};

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    (0..count).map(|_| DRAW.case(chance)).collect()
}

const DRAW: Draw = Draw {
    hosts: &["rewrites.test"],
    paths: &[
        "/p/a?q=/p/",
        "/p/",
        "/pp",
        "/ppx?y",
        "/pp/x",
        "/sep",
        "/sep/x?y",
        "/exact?x",
        "/all/of/it?q",
        "/Case/x",
        "/case",
        "/re/v1/x/y?z=/re/a/b",
        "/re/v1",
        "/each/one/one?one",
        "/each/xxyz",
        "/host/literal",
        "/host/header",
        "/host/header",
        "/host/path/abc/x",
        "/host/path/abc",
        "/host/auto",
        "/host/named",
        "/host/kept",
        "/host/both/x?y",
        "/weighted/x",
        "/weight/x",
        "/weighted/length-5",
    ],
    fields: &[
        "X-Host: from.header",
        "X-Host: from.header:82",
        "X-Host:",
        "X-A: one",
        "X-Forwarded-Host: before.test",
        "X-Forwarded-Host: before.test,rewrites.test",
    ],
};

/// Virtual hosts, as items of a YAML flow sequence.
const HOSTS: &str = r#"
  {name: rewrites, domains: ["rewrites.test"], routes: [
    {match: {prefix: /p/}, route: {cluster: a, prefix_rewrite: /}},
    {match: {prefix: /pp}, route: {cluster: b, prefix_rewrite: /new/one}},
    {match: {path_separated_prefix: /sep}, route: {cluster: a, prefix_rewrite: /s2}},
    {match: {path: /exact}, route: {cluster: a, prefix_rewrite: "/other"}},
    {match: {safe_regex: {regex: "/all/.*"}}, route: {cluster: b, prefix_rewrite: /gone}},
    {match: {prefix: /CASE, case_sensitive: false}, route: {cluster: b, prefix_rewrite: /case2}},
    {match: {prefix: /re/}, route: {cluster: a, regex_rewrite: {pattern: {regex: "^/re/([^/]+)(/.*)$"}, substitution: '\2/of/\1'}}},
    {match: {prefix: /each/}, route: {cluster: a, regex_rewrite: {pattern: {regex: "one|x*y"}, substitution: "two"}}},
    {match: {prefix: /host/literal}, route: {cluster: a, host_rewrite_literal: "literal.test:81"}},
    {match: {prefix: /host/header}, route: {cluster: b, host_rewrite_header: x-host}},
    {match: {prefix: /host/path/}, route: {cluster: a, host_rewrite_path_regex: {pattern: {regex: "^/host/path/([a-z]+)/?.*$"}, substitution: '\1.test'}}},
    {match: {prefix: /host/auto}, route: {cluster: b, auto_host_rewrite: true}},
    {match: {prefix: /host/named}, route: {cluster: named, auto_host_rewrite: true, append_x_forwarded_host: true}},
    {match: {prefix: /host/kept}, route: {cluster: a, host_rewrite_literal: kept.test, append_x_forwarded_host: true}},
    {match: {prefix: /host/both/}, route: {cluster: a, host_rewrite_literal: both.test, prefix_rewrite: /both/},
     request_headers_to_add: [{header: {key: x-path, value: "%REQ(:path)% %REQ(:authority)%"}}]},
    {match: {prefix: /weight/}, route: {weighted_clusters: {clusters: [{name: a, weight: 1, host_rewrite_literal: inner.test}]}}},
    {match: {prefix: /weighted/}, route: {host_rewrite_literal: outer.test, weighted_clusters: {clusters: [
      {name: a, weight: 100, host_rewrite_literal: inner.test,
       request_headers_to_add: [{header: {key: x-w, value: "%REQ(x-a)%"}}], response_headers_to_remove: [x-origin]},
      {name: b, weight: 0}]}}}]}"#;
