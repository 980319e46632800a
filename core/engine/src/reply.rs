//! Answers of our own: errors of the peer, errors of the upstream, and `direct_response`.
//!
//! Statuses, texts and flags are Envoy's, so that what is built on them (alerts, clients that look at bodies) works on.

use ringway_model::HeaderRules;
use ringway_observe::ResponseFlag;
use ringway_protocols::http1::{encode_local_reply, local_reply_size};
use ringway_protocols::{Error, Method, Out, Rule, Version, grpc};
use ringway_runtime::Chunk;

use crate::grpc_reply;
use crate::hop;
use crate::outbox::Outbox;
use crate::worker::Worker;

/// An answer of our own, before it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local<'b> {
    pub(crate) status: u16,
    /// Why, in Envoy's vocabulary. `None` for answers that the configuration asks for.
    pub(crate) flag: Option<ResponseFlag>,
    pub(crate) body: &'b [u8],
    /// Envoy's words for it (`%RESPONSE_CODE_DETAILS%`), where the flag does not say them.
    pub(crate) details: &'static str,
}

const RESET_PREFIX: &str = "upstream connect error or disconnect/reset before headers. reset reason: ";

macro_rules! upstream_failure {
    ($reason:literal) => {
        concat!("upstream connect error or disconnect/reset before headers. reset reason: ", $reason).as_bytes()
    };
}

macro_rules! retried_failure {
    ($reason:literal) => {
        concat!(
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: ",
            $reason
        )
        .as_bytes()
    };
}

/// Why a request could not be answered by its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No route for the host and path.
    NoRoute,
    /// A filter of the listener has no configuration.
    NoFilterConfig,
    /// The route names a cluster that this generation does not have.
    NoCluster,
    /// The cluster has no endpoint.
    NoHealthyUpstream,
    /// A circuit breaker is open.
    Overflow,
    /// The cluster drops a part of its requests (`drop_overloads`), or all.
    DropOverload,
    UnconditionalDrop,
    /// The connection was refused or unreachable.
    Connect,
    /// The connection was not made within `connect_timeout`.
    ConnectTimeout,
    /// The connection ended before the response's head.
    Reset,
    /// The upstream broke the stream off before the response's head.
    RemoteReset,
    /// The upstream would have none of the request, however often it was sent.
    RemoteRefused,
    /// The same, and what had come of it could not be sent again: it was too much to be kept.
    RemoteRefusedPart,
    /// The response broke the rules of HTTP.
    UpstreamProtocol,
    /// It switched to another protocol than the WebSocket that was asked for, or does not know what that is.
    Handshake,
    /// It has not said that it takes extended CONNECT, which is how an upgrade travels in HTTP/2 (RFC 8441 §3).
    NoExtendedConnect,
    /// The route's timeout passed.
    RouteTimeout,
    /// The time for one try passed.
    TryTimeout,
    /// Nothing moved for too long in one try.
    TryIdle,
    /// Nothing moved for `stream_idle_timeout`; the request was complete.
    StreamIdle,
    /// Nothing moved for `stream_idle_timeout`; the request was not complete.
    StreamIdleRequest,
    /// What a route made of the path or the host is none.
    Rewrite,
    /// The route's `max_stream_duration` passed; the request was complete.
    StreamDuration,
    /// The route's `max_stream_duration` passed; the request was not complete.
    StreamDurationRequest,
    /// The cluster's `max_stream_duration` passed; the request was complete.
    UpstreamDuration,
    /// The cluster's `max_stream_duration` passed; the request was not complete.
    UpstreamDurationRequest,
    /// The request was not complete within `request_timeout`.
    RequestTimeout,
    /// The request's head took longer than `request_headers_timeout`.
    HeadTimeout,
}

impl Failure {
    /// The answer that a client gets.
    pub(crate) fn local(self) -> Local<'static> {
        let (status, flag, body) = match self {
            Failure::NoRoute => (404, ResponseFlag::NR, &b""[..]),
            Failure::NoFilterConfig => (500, ResponseFlag::NFCF, &b""[..]),
            Failure::NoCluster => (503, ResponseFlag::NC, &b""[..]),
            Failure::NoHealthyUpstream => (503, ResponseFlag::UH, &b"no healthy upstream"[..]),
            Failure::Overflow => (503, ResponseFlag::UO, upstream_failure!("overflow")),
            Failure::DropOverload => (503, ResponseFlag::DO, &b"drop overload"[..]),
            Failure::UnconditionalDrop => (503, ResponseFlag::UDO, &b"unconditional drop overload"[..]),
            Failure::Connect => (503, ResponseFlag::UF, upstream_failure!("remote connection failure")),
            Failure::ConnectTimeout => (503, ResponseFlag::UF, upstream_failure!("connection timeout")),
            Failure::Reset => (503, ResponseFlag::UC, upstream_failure!("connection termination")),
            Failure::RemoteReset => (503, ResponseFlag::UR, upstream_failure!("remote reset")),
            Failure::RemoteRefused | Failure::RemoteRefusedPart => {
                (503, ResponseFlag::UR, upstream_failure!("remote refused stream reset"))
            }
            Failure::UpstreamProtocol | Failure::Handshake | Failure::NoExtendedConnect => {
                (502, ResponseFlag::UPE, upstream_failure!("protocol error"))
            }
            Failure::RouteTimeout => (504, ResponseFlag::UT, &b"upstream request timeout"[..]),
            Failure::TryTimeout | Failure::TryIdle => (504, ResponseFlag::UT, &b"upstream request timeout"[..]),
            Failure::StreamIdle => (504, ResponseFlag::SI, &b"stream timeout"[..]),
            Failure::StreamIdleRequest => (408, ResponseFlag::SI, &b"stream timeout"[..]),
            Failure::Rewrite => (400, ResponseFlag::DPE, &b"Bad Request"[..]),
            Failure::StreamDuration => (504, ResponseFlag::DT, &b"downstream duration timeout"[..]),
            Failure::StreamDurationRequest => (408, ResponseFlag::DT, &b"downstream duration timeout"[..]),
            Failure::UpstreamDuration => (504, ResponseFlag::UMSDR, &b"upstream max stream duration reached"[..]),
            Failure::UpstreamDurationRequest => {
                (408, ResponseFlag::UMSDR, &b"upstream max stream duration reached"[..])
            }
            Failure::RequestTimeout => (408, ResponseFlag::DT, &b"request timeout"[..]),
            Failure::HeadTimeout => (408, ResponseFlag::DT, &b"request header timeout"[..]),
        };
        debug_assert!(!body.starts_with(RESET_PREFIX.as_bytes()) || status >= 502);
        // Envoy sets no flag for these.
        let (flag, details) = match self {
            Failure::StreamDuration | Failure::StreamDurationRequest => (None, "max_duration_timeout"),
            Failure::RequestTimeout => (None, "request_overall_timeout"),
            Failure::HeadTimeout => (None, "request_header_timeout"),
            Failure::Handshake => (Some(flag), "websocket_accept_invalid"),
            Failure::NoExtendedConnect => (Some(flag), "extended_connect_unsupported"),
            Failure::RemoteReset => (Some(flag), "upstream_reset_before_response_started{remote_reset}"),
            Failure::RemoteRefused => {
                (Some(flag), "upstream_reset_before_response_started{remote_refused_stream_reset}")
            }
            Failure::RemoteRefusedPart => (
                Some(flag),
                "upstream_reset_before_response_started{remote_refused_stream_reset|request_too_large_to_send_again}",
            ),
            _ => (Some(flag), ""),
        };
        Local { status, flag, body, details }
    }

    /// The answer after more than one try, which says so.
    pub(crate) fn local_retried(self) -> Local<'static> {
        let local = self.local();
        let body = match self {
            Failure::Overflow => retried_failure!("overflow"),
            Failure::Connect => retried_failure!("remote connection failure"),
            Failure::ConnectTimeout => retried_failure!("connection timeout"),
            Failure::RemoteReset => retried_failure!("remote reset"),
            Failure::RemoteRefused | Failure::RemoteRefusedPart => retried_failure!("remote refused stream reset"),
            Failure::Reset => retried_failure!("connection termination"),
            Failure::UpstreamProtocol | Failure::Handshake | Failure::NoExtendedConnect => {
                retried_failure!("protocol error")
            }
            _ => local.body,
        };
        Local { body, ..local }
    }
}

/// The answer to who asks for a protocol, or a tunnel, that nobody is to have.
pub(crate) const UPGRADE_REFUSED: Local<'static> =
    Local { status: 403, flag: None, body: b"", details: "upgrade_failed" };

/// The answer to an Upgrade that has content, on its way to HTTP/2: there it would be the tunnel's first bytes, and its end the tunnel's.
pub(crate) const UPGRADE_WITH_CONTENT: Local<'static> =
    Local { status: 400, flag: Some(ResponseFlag::DPE), body: b"Bad Request", details: "upgrade_with_content" };

/// The answer to a client that broke the rules.
pub(crate) fn protocol_error(error: &Error) -> Local<'static> {
    let body: &[u8] = match error.status {
        414 => b"URI Too Long",
        426 => b"Upgrade Required",
        431 => b"Request Header Fields Too Large",
        501 => b"Not Implemented",
        505 => b"HTTP Version Not Supported",
        // Envoy says more of what its codec refuses than of what its connection manager does.
        _ if matches!(error.rule, Rule::HostMissing | Rule::Fragment) => b"",
        _ => b"Bad Request",
    };
    let details = match error.rule {
        Rule::TooManyFields => "http1.too_many_headers",
        Rule::Underscore => "http1.unexpected_underscore",
        _ => "",
    };
    Local { status: error.status, flag: Some(ResponseFlag::DPE), body, details }
}

/// Envoy's words for what the rules of paths came to.
const PATH: &str = "path_normalization_failed";

/// The answer to a path that the rules refuse.
pub(crate) const PATH_REFUSED: Local<'static> = Local { status: 400, flag: None, body: b"", details: PATH };

/// The answer that sends a client to what the rules make of its path.
pub(crate) const PATH_REDIRECTED: Local<'static> = Local { status: 307, flag: None, body: b"", details: PATH };

/// The answer to a request that may go no further than here: nothing to an OPTIONS; to a TRACE no echo, which would tell what the
/// client's other fields say (RFC 9110 §9.3.8).
pub(crate) fn last_hop(method: Method) -> Local<'static> {
    let status = if method == Method::Options { 200 } else { 405 };
    Local { status, flag: None, body: b"", details: "max_forwards" }
}

/// What the client that reads an answer of our own wants of its form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    pub(crate) version: Version,
    /// The request was a HEAD: the length is said, the body is not sent.
    pub(crate) head_only: bool,
    /// `header_key_format.proper_case_words`
    pub(crate) proper_case: bool,
    /// It speaks gRPC, and nothing more is made of the answer.
    pub(crate) grpc: bool,
}

impl Reader {
    /// What it is told in the place of this.
    pub(crate) fn told(self, local: Local<'_>) -> Local<'_> {
        if self.grpc { grpc_reply::told(local) } else { local }
    }
}

/// Writes an answer whole.
pub(crate) fn write(
    worker: &Worker,
    rules: &HeaderRules,
    request_id: Option<&Chunk>,
    local: Local<'_>,
    close: bool,
    to: Reader,
) -> Chunk {
    write_lines(worker, rules, request_id, local, b"", close, to)
}

/// The same with lines of the router's own.
pub(crate) fn write_lines(
    worker: &Worker,
    rules: &HeaderRules,
    request_id: Option<&Chunk>,
    local: Local<'_>,
    lines: &[u8],
    close: bool,
    to: Reader,
) -> Chunk {
    let mut extra: [(&[u8], &[u8]); 3] = [(b"", b""); 3];
    let extra = hop::local_fields(rules, request_id, &mut extra);
    let content_type = if local.body.is_empty() { None } else { Some(&b"text/plain"[..]) };
    write_with(worker, local, (content_type, extra), lines, close, to)
}

/// Writes an answer whose fields, `Content-Type` among them, are these lines.
pub(crate) fn write_edited(worker: &Worker, local: Local<'_>, lines: &[u8], close: bool, to: Reader) -> Chunk {
    write_with(worker, local, (None, &[]), lines, close, to)
}

/// Name and value.
type Pair<'p> = (&'p [u8], &'p [u8]);

fn write_with(
    worker: &Worker,
    local: Local<'_>,
    (content_type, extra): (Option<&[u8]>, &[Pair<'_>]),
    lines: &[u8],
    close: bool,
    to: Reader,
) -> Chunk {
    if to.grpc {
        let mut grpc_lines = worker.grpc_lines.borrow_mut();
        grpc_reply::write_lines(&local, lines, to.head_only, &mut grpc_lines);
        let content_type = Some(grpc::CONTENT_TYPE);
        let to = Reader { grpc: false, ..to };
        return write_with(worker, grpc_reply::told(local), (content_type, extra), &grpc_lines, close, to);
    }
    let date = worker.date.text(worker.core.now());
    let body_size = if to.head_only { 0 } else { local.body.len() };
    let mut out = Outbox::new(&worker.core, local_reply_size(content_type, extra, &date) + lines.len() + body_size);
    encode_local_reply(to.version, local.status, content_type, local.body.len(), close, extra, lines, &date, &mut out);
    if !to.head_only {
        out.put(local.body);
    }
    out.finish_in_case(to.proper_case)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_status_that_blames_the_right_side() {
        for (failure, status) in [
            (Failure::NoRoute, 404),
            (Failure::NoCluster, 503),
            (Failure::Overflow, 503),
            (Failure::UpstreamProtocol, 502),
            (Failure::RouteTimeout, 504),
            (Failure::HeadTimeout, 408),
        ] {
            assert_eq!(failure.local().status, status, "{failure:?}");
        }
    }
}
