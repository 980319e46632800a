//! Which route is taken. Each route says its name in `x-route`, so that a wrong turn shows.

use super::{Class, Draw, Front};
use crate::judge::differential::case::Case;
use crate::lab::chance::Chance;

pub(super) const CLASS: Class = Class {
    name: "routing",
    fronts: &[Front { name: "routing", hosts: HOSTS, ..Front::PLAIN }],
    cases,
    ..Class::PLAIN
};

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    // gRPC apart: Envoy answers it by itself with a status of gRPC.
    (0..count).map(|at| if at % 8 == 7 { GRPC.case(chance) } else { DRAW.case(chance) }).collect()
}

const DRAW: Draw = Draw {
    hosts: &[
        "routing.test",
        "routing.test",
        "routing.test",
        "routing.test",
        "exact.routes.test",
        "EXACT.routes.test:8080",
        "x.routes.test",
        "x.deep.routes.test",
        ".routes.test",
        "a-dash.test",
        "start.here",
        "start.routes.test",
    ],
    paths: &[
        "/exact",
        "/exact?a",
        "/exact/",
        "/folded",
        "/FOLDED",
        "/Folded/X",
        "/sep",
        "/sep/",
        "/sep/a",
        "/sepa",
        "/sepA/b?q",
        "/sepx",
        "/re/12",
        "/re/12/x",
        "/re/12x",
        "/re/x",
        "/re",
        "/h/x",
        "/h/x",
        "/h/x",
        "/h/x",
        "/h/x",
        "/h/x",
        "/q?a=1",
        "/q?a=2&a=1",
        "/q?b",
        "/q?b=",
        "/q?c=12",
        "/q?c=x",
        "/q?d",
        "/q",
        "/q?x&a=1",
        "/f",
        "/c/x",
        "/c5/x",
        "/c",
        "/d",
        "/d",
        "/d",
    ],
    fields: &[
        "X-A: one",
        "X-A: ONE",
        "X-A: two",
        "X-A: three, four",
        "X-A: four",
        "X-N: 9",
        "X-N: 15",
        "X-N: x",
        "X-N: -5",
        "X-B: 1",
        "X-B: 2",
        "X-B:",
        "X-C:",
        "X-D: 1",
        "X-Cluster: a",
        "X-Cluster: b",
        "X-Cluster: none",
        "X-Cluster:",
    ],
};

const GRPC: Draw = Draw {
    hosts: &["routing.test"],
    paths: &["/g", "/g/x?y"],
    fields: &["Content-Type: application/grpc+proto", "X-A: one"],
};

/// Virtual hosts, as items of a YAML flow sequence.
const HOSTS: &str = r#"
  {name: exact, domains: ["exact.routes.test", "exact.routes.test:8080"], routes: [
    {match: {prefix: /}, route: {cluster: a}, response_headers_to_add: [{header: {key: x-route, value: exact}}]}]},
  {name: suffix, domains: ["*.routes.test"], routes: [
    {match: {prefix: /}, route: {cluster: a}, response_headers_to_add: [{header: {key: x-route, value: suffix}}]}]},
  {name: longer, domains: ["*.deep.routes.test", "*-dash.test"], routes: [
    {match: {prefix: /}, route: {cluster: b}, response_headers_to_add: [{header: {key: x-route, value: longer}}]}]},
  {name: start, domains: ["start.*"], routes: [
    {match: {prefix: /}, route: {cluster: b}, response_headers_to_add: [{header: {key: x-route, value: start}}]}]},
  {name: routing, domains: ["routing.test"], routes: [
    {name: "1", match: {path: /exact}, route: {cluster: a}},
    {name: "2", match: {path: /Folded, case_sensitive: false}, route: {cluster: b}},
    {name: "3", match: {prefix: /folded/, case_sensitive: false}, route: {cluster: a}},
    {name: "4", match: {path_separated_prefix: /sep}, route: {cluster: b}},
    {name: "5", match: {path_separated_prefix: /SEPA, case_sensitive: false}, route: {cluster: a}},
    {name: "6", match: {safe_regex: {regex: "/re/[0-9]+(/.*)?"}}, route: {cluster: a}},
    {name: "7", match: {prefix: /re/, headers: [{name: x-a, string_match: {exact: one}}]}, route: {cluster: b}},
    {name: "8", match: {safe_regex: {regex: "/re/.*"}, headers: [{name: x-a, present_match: false}]}, route: {cluster: a}},
    {name: "9", match: {prefix: /re}, route: {cluster: b}},
    {name: "10", match: {prefix: /h/, headers: [{name: x-a, string_match: {prefix: "on", ignore_case: true}}]}, route: {cluster: a}},
    {name: "11", match: {prefix: /h/, headers: [{name: x-a, string_match: {suffix: wo}}]}, route: {cluster: b}},
    {name: "12", match: {prefix: /h/, headers: [{name: x-a, string_match: {contains: "re,"}}]}, route: {cluster: a}},
    {name: "13", match: {prefix: /h/, headers: [{name: x-a, string_match: {safe_regex: {regex: "f.*r"}}}]}, route: {cluster: b}},
    {name: "14", match: {prefix: /h/, headers: [{name: x-n, range_match: {start: -5, end: 10}}]}, route: {cluster: a}},
    {name: "15", match: {prefix: /h/, headers: [{name: x-n, range_match: {start: 10, end: 20}, invert_match: true}]}, route: {cluster: b}},
    {name: "16", match: {prefix: /h/, headers: [{name: x-b, string_match: {exact: "1"}, invert_match: true}]}, route: {cluster: a}},
    {name: "17", match: {prefix: /h/, headers: [{name: x-b, string_match: {exact: ""}, treat_missing_header_as_empty: true}, {name: ":method", string_match: {exact: POST}}]}, route: {cluster: b}},
    {name: "18", match: {prefix: /h/, headers: [{name: x-c, present_match: true}]}, route: {cluster: a}},
    {name: "19", match: {prefix: /h/, headers: [{name: x-d, present_match: true, invert_match: true}, {name: host, string_match: {exact: routing.test}}]}, route: {cluster: b}},
    {name: "20", match: {prefix: /h/, headers: [{name: x-d, present_match: false, treat_missing_header_as_empty: true}]}, route: {cluster: a}},
    {name: "21", match: {prefix: /q, query_parameters: [{name: a, string_match: {exact: "1"}}]}, route: {cluster: a}},
    {name: "22", match: {prefix: /q, query_parameters: [{name: b, present_match: true}]}, route: {cluster: b}},
    {name: "23", match: {prefix: /q, query_parameters: [{name: c, string_match: {safe_regex: {regex: "[0-9]*"}}}]}, route: {cluster: a}},
    {name: "24", match: {prefix: /q, query_parameters: [{name: d, present_match: false}]}, route: {cluster: b}},
    {name: "25", match: {prefix: /g, grpc: {}}, route: {cluster: a}},
    {name: "25b", match: {prefix: /g}, route: {cluster: b}},
    {name: "26", match: {prefix: /f, runtime_fraction: {default_value: {numerator: 0}}}, route: {cluster: a}},
    {name: "27", match: {prefix: /f, runtime_fraction: {default_value: {numerator: 10000, denominator: TEN_THOUSAND}}}, route: {cluster: b}},
    {name: "28", match: {prefix: /c/}, route: {cluster_header: x-cluster, cluster_not_found_response_code: NOT_FOUND}},
    {name: "29", match: {prefix: /c5/}, route: {cluster_header: x-cluster, cluster_not_found_response_code: INTERNAL_SERVER_ERROR}},
    {name: "30", match: {prefix: /c}, route: {cluster_header: x-cluster}},
    {name: "31", match: {prefix: /d, headers: [{name: x-a, exact_match: one}]}, route: {cluster: a}},
    {name: "32", match: {prefix: /d, headers: [{name: x-a, prefix_match: t}]}, route: {cluster: b}},
    {name: "33", match: {prefix: /d, headers: [{name: x-a, suffix_match: r}]}, route: {cluster: a}},
    {name: "34", match: {prefix: /d, headers: [{name: x-a, contains_match: hre}]}, route: {cluster: b}},
    {name: "35", match: {prefix: /d, headers: [{name: x-a, safe_regex_match: {regex: ".+"}}]}, route: {cluster: a}}],
   response_headers_to_add: [{header: {key: x-route, value: "%ROUTE_NAME%"}}]}"#;
