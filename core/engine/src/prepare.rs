//! What a connection manager makes of a request's head before anything looks at it: the model's rules, carried out.
//!
//! It never copies the head: fields that go are hidden in the table, a path or a host that changes lies in the worker's own buffer.

use ringway_model::{HttpConnectionManager, PathOutcome, RequestRules, Underscores};
use ringway_observe::HttpStats;
use ringway_protocols::http1::is_path;
use ringway_protocols::{HeadTable, Known, Method, Request, Rule, Version};

use crate::client::Client;
use crate::reply::{Local, PATH_REFUSED};

/// Buffers of a worker, kept from one head to the next.
#[derive(Debug, Default)]
pub(crate) struct PreparedHead {
    path: Vec<u8>,
    host: Vec<u8>,
}

/// Hides the fields that nobody is to see for their names.
///
/// # Errors
/// The rule that a request breaks where none may have them.
pub(crate) fn fields(rules: &RequestRules, table: &mut HeadTable, bytes: &[u8], stats: &HttpStats) -> Result<(), Rule> {
    let has_underscore = |name: &[u8]| name.contains(&b'_');
    let is_http2 = table.request(bytes).version() == Version::Http2;
    match rules.underscores {
        Underscores::Allow => {}
        Underscores::Drop => {
            let dropped = table.hide(bytes, has_underscore);
            stats.dropped_for_underscores(is_http2).add(dropped as u64);
        }
        Underscores::Reject if table.request(bytes).fields().any(|field| has_underscore(field.name)) => {
            stats.rejected_for_underscores(is_http2).add(1);
            return Err(Rule::Underscore);
        }
        Underscores::Reject => {}
    }
    Ok(())
}

/// Hides the fields that only a client of ours may send, where it is none. `client` says who it is.
pub(crate) fn internal_only(
    http: &HttpConnectionManager,
    table: &mut HeadTable,
    bytes: &[u8],
    client: impl FnOnce(&Request<'_>) -> Client,
) {
    if client(&table.request(bytes)).is_internal {
        return;
    }
    let names = &http.routes.internal_only;
    table.hide(bytes, |name| names.iter().any(|of_ours| name.eq_ignore_ascii_case(of_ours.as_bytes())));
}

/// The request with the path and the host that the rules make of its own, and whether its client is to be sent there, or the answer to
/// a path that they refuse. `local_port`: where its connection arrived.
pub(crate) fn target<'a>(
    local_port: impl FnOnce() -> Option<u16>,
    rules: &RequestRules,
    request: Request<'a>,
    buffers: &'a mut PreparedHead,
    stats: &HttpStats,
) -> (Request<'a>, Result<bool, Local<'static>>) {
    let PreparedHead { path, host } = buffers;
    let outcome = rules.path.apply(request.path(), path);
    // Envoy: a gRPC client does not follow.
    let is_lost = outcome == PathOutcome::Redirected
        && request.field(Known::ContentType).is_some_and(|kind| kind.starts_with(b"application/grpc"));
    let request = match outcome {
        PathOutcome::Kept => request,
        PathOutcome::Changed | PathOutcome::Redirected if is_path(path) && !is_lost => request.with_path(path),
        PathOutcome::Changed | PathOutcome::Redirected | PathOutcome::Refused => {
            stats.downstream_rq_failed_path_normalization.add(1);
            return (request, Err(PATH_REFUSED));
        }
    };
    if outcome == PathOutcome::Redirected {
        stats.downstream_rq_redirected_with_normalized_path.add(1);
    }
    // The host of a CONNECT is where it goes (RFC 9110 §9.3.6).
    if request.method() == Method::Connect {
        return (request, Ok(false));
    }
    let authority = rules.host.apply(request.authority(), local_port, host);
    let request = if authority == request.authority() { request } else { request.with_authority(authority) };
    (request, Ok(outcome == PathOutcome::Redirected))
}
