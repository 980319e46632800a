//! What is made of paths, hosts and names of fields before a route is looked for, and of local replies before they are sent.

use super::{Class, Front};
use crate::judge::differential::case::Case;
use crate::lab::chance::Chance;

pub(super) const CLASS: Class = Class { name: "preparation", fronts: FRONTS, cases, ..Class::PLAIN };

/// Each with its own rules; the first four are about paths alone.
const FRONTS: &[Front] = &[
    Front { name: "normalized", manager: "normalize_path: true, ", ..Front::PLAIN },
    Front {
        name: "unescaped",
        manager: "normalize_path: true, merge_slashes: true, path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD, ",
        ..Front::PLAIN
    },
    Front {
        name: "redirected",
        manager: "merge_slashes: true, path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT, ",
        ..Front::PLAIN
    },
    Front { name: "refused", manager: "path_with_escaped_slashes_action: REJECT_REQUEST, ", ..Front::PLAIN },
    Front {
        name: "hosts",
        manager: "strip_any_host_port: true, strip_trailing_host_dot: true, \
                  common_http_protocol_options: {headers_with_underscores_action: DROP_HEADER}, ",
        ..Front::PLAIN
    },
    Front {
        name: "mapped",
        manager: r#"local_reply_config: {mappers: [
          {filter: {status_code_filter: {comparison: {op: EQ, value: {default_value: 404, runtime_key: k}}}}, status_code: 410,
           body: {inline_string: gone}, headers_to_add: [{header: {key: x-l, value: "%RESPONSE_CODE% %REQ(:path)% %RESPONSE_FLAGS%"}}]},
          {filter: {response_flag_filter: {flags: [UF]}}, body_format_override: {json_format: {c: "%RESPONSE_CODE%", m: "%LOCAL_REPLY_BODY%"}}}],
          body_format: {text_format_source: {inline_string: "<%LOCAL_REPLY_BODY%:%RESPONSE_CODE%>"}, content_type: text/html}}, "#,
        ..Front::PLAIN
    },
];

const PIECES: &[&str] = &[
    "/", "/", "/", "/", ".", "..", "..", "%2e", "%2E", "%2F", "%2f", "%5C", "%5c", "\\", ";", "a", "b", "%41", "%",
    "%2", "?", "x;y", "|", "%3b", "%00", "//",
];
const HOSTS: &[&str] = &["h.test", "h.test:80", "second.test:8080", "second.test.", "second.test.:80", "[::1]:80"];
const FIELDS: &[&str] = &["X-A: 1", "x_a: 2", "_x: 3", "X_Forwarded_For: 1.2.3.4", "X-B_C: 5"];
const LOCAL: &[&str] = &["/nowhere", "/direct", "/empty", "/dead", "/a/x"];

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    (0..count).map(|number| case(chance, FRONTS[number % FRONTS.len()].name)).collect()
}

fn case(chance: &mut Chance, front: &'static str) -> Case {
    let text = match front {
        "hosts" => {
            let fields: String = (0..chance.below(4)).map(|_| format!("{}\r\n", chance.pick(FIELDS))).collect();
            format!("GET /a/x HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", chance.pick(HOSTS))
        }
        "mapped" => format!("GET {} HTTP/1.1\r\nHost: h.test\r\n\r\n", chance.pick(LOCAL)),
        _ => {
            let path: String = (0..chance.below(9)).map(|_| *chance.pick(PIECES)).collect();
            format!("GET /a/{path} HTTP/1.1\r\nHost: h.test\r\n\r\n")
        }
    };
    let mut case = Case::of(chance, "", "GET", &text);
    case.front = front;
    case
}
