//! Where a redirect points.

use super::{Class, Draw, Front};
use crate::judge::differential::case::Case;
use crate::lab::chance::Chance;

pub(super) const CLASS: Class = Class {
    name: "redirects",
    fronts: &[Front { name: "redirects", hosts: HOSTS, ..Front::PLAIN }],
    cases,
    ..Class::PLAIN
};

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    (0..count).map(|_| DRAW.case(chance)).collect()
}

const DRAW: Draw = Draw {
    hosts: &[
        "secure.test",
        "secure.test:80",
        "redirects.test",
        "redirects.test:80",
        "redirects.test:443",
        "redirects.test:8080",
    ],
    paths: &[
        "/host",
        "/host/x?y",
        "/https",
        "/https?x",
        "/scheme/x",
        "/port",
        "/all?q",
        "/path",
        "/path?q=1",
        "/own?q=1",
        "/strip?q",
        "/strip",
        "/prefix/a?b",
        "/prefix/",
        "/both/y?z",
        "/re/a/b?c",
        "/fields?x",
        "/nothing",
        "/nothing?x",
    ],
    fields: &["X-Forwarded-Proto: https", "X-Forwarded-Proto: http", "X-A: 1"],
};

/// Virtual hosts, as items of a YAML flow sequence.
const HOSTS: &str = r#"
  {name: redirects, domains: ["redirects.test", "redirects.test:80", "redirects.test:443", "redirects.test:8080"], routes: [
    {match: {prefix: /host}, redirect: {host_redirect: "other.test"}},
    {match: {prefix: /https}, redirect: {https_redirect: true}},
    {match: {prefix: /scheme}, redirect: {scheme_redirect: ftp, response_code: FOUND}},
    {match: {prefix: /port}, redirect: {port_redirect: 8443}},
    {match: {prefix: /all}, redirect: {https_redirect: true, host_redirect: "all.test", port_redirect: 444, path_redirect: /there, response_code: SEE_OTHER}},
    {match: {prefix: /path}, redirect: {path_redirect: "/new/path", response_code: TEMPORARY_REDIRECT}},
    {match: {prefix: /own}, redirect: {path_redirect: "/new?own=1", strip_query: true, response_code: PERMANENT_REDIRECT}},
    {match: {prefix: /strip}, redirect: {strip_query: true}},
    {match: {prefix: /prefix/}, redirect: {prefix_rewrite: /}},
    {match: {prefix: /both}, redirect: {prefix_rewrite: /x, strip_query: true}},
    {match: {prefix: /re/}, redirect: {regex_rewrite: {pattern: {regex: "^/re/(.*)$"}, substitution: '/\1/re'}}},
    {match: {prefix: /fields}, redirect: {host_redirect: "f.test"}, response_headers_to_add: [
      {header: {key: x-from, value: "%REQ(:authority)%%REQ(:path)%"}}, {header: {key: cache-control, value: no-store}}]},
    {match: {path: /nothing}, redirect: {}}]},
  {name: secure, domains: ["secure.test", "secure.test:80"], require_tls: ALL, routes: [{match: {prefix: /x}, route: {cluster: a}}],
   response_headers_to_add: [{header: {key: x-added, value: "1"}}]}"#;
