//! What the proxy itself says to a gRPC client (Trailers-Only: HTTP 200, the status in the one field section, which ends
//! the stream), and deadlines: passed on, and kept.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use super::Bench;
use crate::lab::config::{Config, Http2, answer, route, route_with_timeout};
use crate::lab::h2::frame::code_named;
use crate::lab::h2::origin::{self as h2_origin, Response, value};
use crate::lab::h2::session::{Event, Session, fields};
use crate::lab::proxy::{Launch, Proxy};

/// HTTP statuses of answers of the proxy's own, and what a gRPC client must see (gRPC over HTTP2, "HTTP to gRPC Status
/// Code Mapping", and Envoy's table for what that leaves out).
const MAPPED: [(u16, u32); 10] =
    [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (500, 2), (501, 2), (502, 14), (503, 14), (504, 14)];
const DEADLINE_EXCEEDED: u32 = 4;
const UNIMPLEMENTED: u32 = 12;
const UNAVAILABLE: u32 = 14;

/// What is asked for, beside the answers of [`MAPPED`], and the status that is due.
const OTHERS: [(&str, &[u32]); 5] = [
    ("/no/route", &[UNIMPLEMENTED]),
    ("/dead/x", &[UNAVAILABLE]),
    ("/reset/REFUSED_STREAM", &[UNAVAILABLE]),
    ("/reset/INTERNAL_ERROR", &[UNAVAILABLE]),
    // A route's timeout is an HTTP 504; a call's own deadline, which another proxy is asked for, is its own status.
    ("/late/x", &[UNAVAILABLE]),
];
/// Nothing listens on port 1 of any machine in its right mind.
const DEAD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const GRPC_TIMEOUT: &str = "3000m";

/// How many of how many held; what did not goes to `wrong`.
pub(super) fn judge(bench: &Bench, wrong: &mut Vec<String>) -> Result<(usize, usize), String> {
    let timeouts: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&timeouts);
    let origin = h2_origin::start(move |request| {
        let path = request.value(":path").to_owned();
        if path.starts_with("/until") {
            seen.lock().expect("no holder panics").push(request.value("grpc-timeout").to_owned());
        }
        match path.strip_prefix("/reset/") {
            Some(name) => Response { reset: Some(code_named(name)), ..Response::default() },
            None => Response { silent: true, ..Response::default() },
        }
    })?;
    let mut routes: Vec<String> =
        MAPPED.iter().map(|(status, _)| answer(&format!("/local/{status}"), *status, "no")).collect();
    routes.extend([route("/dead", "dead"), route("/reset", "origin"), route_with_timeout("/late", "origin", "0.2s")]);
    let mut asked: Vec<(String, Vec<u32>)> =
        MAPPED.iter().map(|(status, due)| (format!("/local/{status}"), vec![*due])).collect();
    asked.extend(OTHERS.iter().map(|(path, due)| ((*path).to_owned(), due.to_vec())));
    let deadline = "{match: {prefix: \"/until\"}, route: {cluster: origin, timeout: 0s, \
                    max_stream_duration: {grpc_timeout_header_max: 0s}}}";
    let until = ("/until/x".to_owned(), vec![DEADLINE_EXCEEDED]);
    let count = asked.len() + 2;
    // Apart, so that who does not know of deadlines is judged by the rest.
    let mut good = 0;
    for (name, routes, asked) in [("statuses", routes, asked), ("deadline", vec![deadline.to_owned()], vec![until])] {
        let proxy = match start(bench, name, &routes, origin.address) {
            Ok(proxy) => proxy,
            Err(why) => {
                wrong.push(why);
                continue;
            }
        };
        let front = proxy.listener("front")?;
        for (path, due) in &asked {
            match call(front, path) {
                Ok(status) if due.contains(&status) => good += 1,
                Ok(status) => wrong.push(format!("{path}: status {status}, not one of {due:?}")),
                Err(why) => wrong.push(format!("{path}: {why}")),
            }
        }
    }
    let seen = timeouts.lock().expect("no holder panics").clone();
    match seen.first().map(|text| milliseconds(text)) {
        // A proxy may pass on what is left of it.
        Some(Some(left)) if (1..=3000).contains(&left) => good += 1,
        _ => wrong.push(format!("grpc-timeout: {GRPC_TIMEOUT} came to the origin as {seen:?}")),
    }
    Ok((good, count))
}

fn start(bench: &Bench, name: &str, routes: &[String], origin: SocketAddr) -> Result<Proxy, String> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = Config::default()
        .listener("front", any, routes)
        .cluster_http2("origin", &[origin], &Http2::default())
        .cluster_http2("dead", &[DEAD], &Http2::default());
    let file = bench.folder.join(format!("{name}.yaml"));
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let launch = Launch { kind: bench.kind, folder: &bench.folder, name, file: &file, concurrency: 1, arguments: &[] };
    Proxy::start(&launch)
}

/// One call without a message; the gRPC status, if it came as Trailers-Only.
fn call(front: SocketAddr, path: &str) -> Result<u32, String> {
    let head = fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "grpc.test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", GRPC_TIMEOUT),
    ]);
    let talk = || -> std::io::Result<Event> {
        let mut session = Session::client(front, &[])?;
        let stream = session.open(&head, false)?;
        session.body(stream, vec![0; 5], None, true)?;
        loop {
            match session.hear()? {
                Event::Settings(_) | Event::Pong(_) => {}
                event => return Ok(event),
            }
        }
    };
    match talk().map_err(|e| e.to_string())? {
        Event::Fields { fields, ends: true, .. } => {
            let (http, status) = (value(&fields, ":status"), value(&fields, "grpc-status"));
            let kind = value(&fields, "content-type");
            if http != "200" || !kind.starts_with("application/grpc") {
                return Err(format!("HTTP {http} of type {kind:?}: {fields:?}"));
            }
            status.parse().map_err(|_| format!("grpc-status {status:?}"))
        }
        event => Err(format!("not Trailers-Only: {event:?}")),
    }
}

/// A grpc-timeout in milliseconds, if it is one.
fn milliseconds(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    match unit {
        "S" => Some(number * 1_000),
        "m" => Some(number),
        "u" => Some(number / 1_000),
        "n" => Some(number / 1_000_000),
        _ => None,
    }
}
