//! Retry policies: which attempts an origin sees, and what the client gets.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{Class, Front};
use crate::judge::differential::case::{Case, Tag};
use crate::judge::differential::origin::{Ask, Next};
use crate::lab::chance::Chance;
use crate::lab::interrupted::uninterrupted;

pub(super) const CLASS: Class = Class {
    name: "retries",
    fronts: &[
        Front { name: "retries", hosts: HOSTS, ..Front::PLAIN },
        Front {
            name: "orders",
            hosts: HOSTS,
            manager: "use_remote_address: true, skip_xff_append: true, internal_address_config: {cidr_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]},",
            ..Front::PLAIN
        },
    ],
    // Cases run side by side: three retries at once are few.
    clusters: r#"
  - name: tries
    type: STATIC
    circuit_breakers: {thresholds: [{max_retries: 1000}]}
    load_assignment: {cluster_name: tries, endpoints: [{lb_endpoints: [
      {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {a}}}}}]}]}
  - name: gone
    type: STATIC
    circuit_breakers: {thresholds: [{max_retries: 1000}]}
    load_assignment: {cluster_name: gone, endpoints: [{lb_endpoints: [
      {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}]}]}"#,
    cases,
    origin,
};

/// The host's policy is that of routes without one. What an upstream is told of the time that is left is the try's, which is the same
/// each time.
pub(in crate::judge::differential) const HOSTS: &str = r#"
  {name: tries, domains: ["tries.test"], include_request_attempt_count: true, include_attempt_count_in_response: true,
   include_is_timeout_retry_header: true,
   retry_policy: {retry_on: "retriable-4xx", per_try_timeout: 5s, retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}, routes: [
    {match: {prefix: "/5xx/"}, route: {cluster: tries, retry_policy: {retry_on: "5xx", per_try_timeout: 5s, num_retries: 2,
      retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}}},
    {match: {prefix: "/gateway/"}, route: {cluster: tries, retry_policy: {retry_on: "gateway-error,reset", per_try_timeout: 5s, num_retries: 3,
      retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}}},
    {match: {prefix: "/codes/"}, route: {cluster: tries, retry_policy: {retry_on: "retriable-status-codes,retriable-headers,unavailable", per_try_timeout: 5s,
      retriable_status_codes: [418, 503], retriable_headers: [{name: x-again, string_match: {exact: "1"}}], num_retries: 3,
      retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}}},
    {match: {prefix: "/connect/"}, route: {cluster: tries, retry_policy: {retry_on: "connect-failure,refused-stream", per_try_timeout: 5s, num_retries: 2,
      retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}}},
    {match: {prefix: "/named/"}, route: {cluster: tries, retry_policy: {retry_on: "5xx", per_try_timeout: 5s, num_retries: 2,
      retriable_request_headers: [{name: ":method", string_match: {exact: POST}}],
      retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}}},
    {match: {prefix: "/limited/"}, route: {cluster: tries, retry_policy: {retry_on: "envoy-ratelimited,5xx", per_try_timeout: 5s, num_retries: 2,
      retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}}},
    {match: {prefix: "/try/"}, route: {cluster: tries, timeout: 1s, retry_policy: {retry_on: "5xx", per_try_timeout: 0.1s, num_retries: 2,
      retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}}},
    {match: {prefix: "/idle/"}, route: {cluster: tries, timeout: 1s, retry_policy: {per_try_idle_timeout: 0.06s}}},
    {match: {prefix: "/quick/"}, route: {cluster: tries, retry_policy: {per_try_timeout: 0.03s, retry_on: "5xx",
      retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}}},
    {match: {prefix: "/none/"}, route: {cluster: tries, retry_policy: {retry_on: "5xx", per_try_timeout: 5s, num_retries: 0}}},
    {match: {prefix: "/dead/"}, route: {cluster: gone, retry_policy: {retry_on: "connect-failure", per_try_timeout: 5s, num_retries: 2,
      retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}}},
    {match: {prefix: "/small/"}, per_request_buffer_limit_bytes: 5000, route: {cluster: tries, retry_policy: {retry_on: "5xx", per_try_timeout: 5s,
      retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}}}},
    {match: {prefix: "/direct/"}, direct_response: {status: 503}},
    {match: {prefix: "/"}, route: {cluster: tries}}]}"#;

/// `steps` names what is done at each attempt, the last for all further ones.
fn origin(ask: &Ask, mut stream: &TcpStream) -> io::Result<Next> {
    if ask.kind != "steps" {
        return Ok(Next::Unknown);
    }
    let steps = ask.head.values("x-steps").next().unwrap_or_default().to_owned();
    let steps: Vec<&str> = steps.split(' ').collect();
    let step = steps[(ask.attempt - 1).min(steps.len() - 1)];
    let (status, field) = match step {
        "reset" => return Ok(Next::Close),
        "garbage" => {
            stream.write_all(b"HTTP/1.1 abc\r\nnot a field\r\n\r\n")?;
            return Ok(Next::Close);
        }
        "silent" => {
            // Until the proxy gives up: the end of the connection, or this much time.
            stream.set_read_timeout(Some(Duration::from_secs(3)))?;
            let _ended = uninterrupted(|| stream.read(&mut [0; 1]));
            return Ok(Next::Close);
        }
        "again" => ("200", "x-again: 1\r\n"),
        "unavailable" => ("200", "grpc-status: 14\r\n"),
        "limited" => ("429", "x-envoy-ratelimited: true\r\n"),
        status => (status, ""),
    };
    let length = ask.attempt % 3;
    let head =
        format!("HTTP/1.1 {status} As Asked\r\n{field}X-Attempt: {}\r\nContent-Length: {length}\r\n\r\n", ask.attempt);
    stream.write_all(head.as_bytes())?;
    if !ask.head.line.starts_with("HEAD ") {
        stream.write_all(&b"ab"[..length])?;
    }
    Ok(Next::Keep)
}

/// A request for these steps; with this field, and this much of a body.
fn case(
    chance: &mut Chance,
    name: &str,
    (method, path): (&'static str, &str),
    steps: &str,
    (field, size): (&str, usize),
) -> Case {
    let length = if matches!(method, "POST" | "PUT") { format!("Content-Length: {size}\r\n") } else { String::new() };
    let field = if field.is_empty() { String::new() } else { format!("{field}\r\n") };
    let mut text =
        format!("{method} {path}steps HTTP/1.1\r\nHost: tries.test\r\nX-Steps: {steps}\r\n{field}{length}\r\n");
    if !length.is_empty() {
        text += &"b".repeat(size);
    }
    Case::of(chance, name, method, &text)
}

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    let mut cases: Vec<Case> = NAMED
        .iter()
        .map(|(name, method, path, steps, field)| case(chance, name, (*method, path), steps, (field, 4)))
        .collect();
    // RFC 9110 §9.2.2: what may have been acted on is not done twice.
    for (name, path, steps) in ONCE {
        cases.push(case(chance, name, ("POST", path), steps, ("", 4)).tag(Tag::Once));
    }
    for (name, method, steps, fields) in ORDERS {
        cases.push(case(chance, name, (*method, "/plain/"), steps, (fields, 4)).on("orders"));
    }
    for size in [0, 5_000, 5_001, 200_000] {
        let name = format!("a body of {size} bytes kept up to 5000");
        cases.push(case(chance, &name, ("PUT", "/small/"), "503 200", ("", size)));
    }
    while cases.len() < count {
        let path = *chance.pick(&["/5xx/", "/gateway/", "/codes/", "/connect/", "/limited/", "/named/", "/plain/"]);
        let method = *chance.pick(&["GET", "GET", "HEAD", "PUT", "DELETE"]);
        let size = *chance.pick(&[0, 1, 3_000, 70_000]);
        // Without a body a request whose reused connection died is replayed before any policy is asked (the class of resets).
        let is_kept = method == "PUT" && size > 0;
        let steps: Vec<&str> = (0..1 + chance.below(4))
            .map(|_| match *chance.pick(STEPS) {
                "reset" if !is_kept => "garbage",
                step => step,
            })
            .collect();
        cases.push(case(chance, "", (method, path), &steps.join(" "), ("", size)));
    }
    cases
}

const STEPS: &[&str] =
    &["200", "200", "500", "502", "503", "504", "409", "404", "418", "again", "unavailable", "limited", "reset"];

/// Name, method, path, steps, one field.
const NAMED: &[(&str, &str, &str, &str, &str)] = &[
    ("5xx until it works", "GET", "/5xx/", "503 500 200", ""),
    ("5xx for ever", "GET", "/5xx/", "503", ""),
    ("a head of 5xx", "HEAD", "/5xx/", "503 200", ""),
    ("5xx to a POST", "POST", "/5xx/", "503 200", ""),
    ("a protocol error and 5xx", "PUT", "/5xx/", "garbage 200", ""),
    ("a protocol error for ever", "GET", "/5xx/", "garbage", ""),
    ("gateway errors", "GET", "/gateway/", "502 504 503 200", ""),
    ("no gateway error", "GET", "/gateway/", "500 200", ""),
    ("a listed status", "GET", "/codes/", "418 503 200", ""),
    ("a field of the response", "GET", "/codes/", "again 200", ""),
    ("a gRPC status in the head", "GET", "/codes/", "unavailable 200", ""),
    ("no connect failure", "GET", "/connect/", "503 200", ""),
    ("the policy of the host", "GET", "/plain/", "409 200", ""),
    ("the policy of the host and another status", "GET", "/plain/", "503 200", ""),
    ("a method that the policy names", "POST", "/named/", "503 200", ""),
    ("a method that the policy does not name", "GET", "/named/", "503 200", ""),
    ("a rate limit", "GET", "/limited/", "limited 200", ""),
    ("a rate limit that is no reason", "GET", "/5xx/", "limited 200", ""),
    ("a try that takes too long", "GET", "/try/", "silent 200", ""),
    ("tries that all take too long", "GET", "/try/", "silent", ""),
    ("a try in which nothing moves", "GET", "/idle/", "silent", ""),
    ("no retries", "GET", "/none/", "503 200", ""),
    ("nobody there", "GET", "/dead/", "200", ""),
    ("a count that a client has made up", "GET", "/5xx/", "503 200", "X-Envoy-Attempt-Count: 9"),
    ("an answer of the proxy's own", "GET", "/direct/", "200", ""),
    ("orders of a stranger", "GET", "/none/", "503 200", "X-Envoy-Retry-On: 5xx"),
];

const ONCE: &[(&str, &str, &str)] = &[
    ("a POST that may have been acted on", "/gateway/", "reset 200"),
    ("a POST that takes too long", "/try/", "silent 200"),
];

/// Of a client of ours: name, method, steps, fields.
const ORDERS: &[(&str, &str, &str, &str)] = &[
    ("asks for a retry", "GET", "503 200", "X-Envoy-Retry-On: 5xx"),
    ("asks for no retry but of its host", "GET", "409 200", "X-Envoy-Max-Retries: 3"),
    ("asks for more retries", "GET", "503 503 503 200", "X-Envoy-Retry-On: 5xx\r\nX-Envoy-Max-Retries: 3"),
    ("asks for none", "GET", "409 200", "X-Envoy-Max-Retries: 0"),
    ("asks in words of gRPC", "POST", "unavailable 200", "X-Envoy-Retry-Grpc-On: unavailable"),
    (
        "lists a status",
        "GET",
        "418 404 200",
        "X-Envoy-Retry-On: retriable-status-codes\r\nX-Envoy-Retriable-Status-Codes: 418,404\r\nX-Envoy-Max-Retries: 2",
    ),
    (
        "lists a field",
        "GET",
        "again 200",
        "X-Envoy-Retry-On: retriable-headers\r\nX-Envoy-Retriable-Header-Names: X-Foo, X-Again",
    ),
    ("bounds the whole", "GET", "silent", "X-Envoy-Upstream-Rq-Timeout-Ms: 150"),
    (
        "bounds the whole and wants no error",
        "GET",
        "silent",
        "X-Envoy-Upstream-Rq-Timeout-Ms: 150\r\nX-Envoy-Upstream-Rq-Timeout-Alt-Response: 1",
    ),
    (
        "bounds each try",
        "GET",
        "silent 200",
        "X-Envoy-Retry-On: 5xx\r\nX-Envoy-Upstream-Rq-Per-Try-Timeout-Ms: 100\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 1000",
    ),
    ("bounds it with nonsense", "GET", "200", "X-Envoy-Upstream-Rq-Timeout-Ms: soon"),
];
