//! How long a request may take by its route and its own `grpc-timeout`, and what the upstream is told of it.
//!
//! As Envoy, but for one thing: an upstream is never told a later end than the client said.

use std::time::Duration;

use ringway_model::{ForwardAction, GrpcTimeout};
use ringway_protocols::{Known, Request, grpc};

/// What bounds a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// From the end of the request on.
    pub(crate) timeout: Option<Duration>,
    /// From its first byte on.
    pub(crate) max_duration: Option<Duration>,
    pub(crate) told: Told,
}

/// What `grpc-timeout` says to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// What the client said, if it did.
    AsReceived,
    /// This.
    Duration(Duration),
    /// What one try may take.
    Try,
}

/// The bounds of a request. `manager`: the connection manager's `max_stream_duration`.
#[inline]
pub(crate) fn times(action: &ForwardAction, manager: Option<Duration>, request: &Request<'_>, is_grpc: bool) -> Times {
    let max_duration = action.max_stream_duration.unwrap_or(manager);
    let times = Times { timeout: action.timeout, max_duration, told: Told::AsReceived };
    if action.grpc_timeout.is_none() && !request.has(Known::GrpcTimeout) {
        return times;
    }
    let value = request.field(Known::GrpcTimeout);
    bounded(times, action.grpc_timeout, value, is_grpc)
}

#[inline(never)]
fn bounded(times: Times, rule: Option<GrpcTimeout>, value: Option<&[u8]>, is_grpc: bool) -> Times {
    let said = value.and_then(grpc::parse_timeout);
    match (rule, said) {
        (Some(GrpcTimeout::Stream(bound)), Some(said)) => {
            let duration = bound.of_stream(said);
            Times { max_duration: Some(duration), told: Told::Duration(duration), ..times }
        }
        (Some(GrpcTimeout::Request(bound)), said) if is_grpc => {
            Times { timeout: bound.of_request(said), told: Told::Try, ..times }
        }
        _ => {
            let end = times.max_duration.filter(|_| value.is_some());
            let told = end.map(|end| said.map_or(end, |said| end.min(said)));
            Times { told: told.map_or(Told::AsReceived, Told::Duration), ..times }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_model::{ClusterId, GrpcBound, Target};
    use ringway_protocols::http1::{Decoded, HeadScan, decode_request};
    use ringway_protocols::{HeadTable, Limits};

    #[test]
    fn a_request_is_bounded_by_its_route_and_its_own_word() {
        let ms = Duration::from_millis;
        let bound = |max| GrpcBound { max: Some(ms(max)), offset: ms(0) };
        let (stream, request) = (Some(GrpcTimeout::Stream(bound(200))), Some(GrpcTimeout::Request(bound(300))));
        // The rule, the route's max_stream_duration, what the client says, whether it speaks gRPC; timeout, duration, what is told.
        for (rule, max, said, is_grpc, timeout, duration, told) in [
            (None, None, "", true, Some(15_000), None, Told::AsReceived),
            (None, None, "100m", true, Some(15_000), None, Told::AsReceived),
            (None, Some(500), "", true, Some(15_000), Some(500), Told::AsReceived),
            (None, Some(500), "5S", true, Some(15_000), Some(500), Told::Duration(ms(500))),
            (None, Some(500), "100m", true, Some(15_000), Some(500), Told::Duration(ms(100))),
            (None, Some(500), "junk", true, Some(15_000), Some(500), Told::Duration(ms(500))),
            (stream, None, "100m", false, Some(15_000), Some(100), Told::Duration(ms(100))),
            (stream, None, "1S", true, Some(15_000), Some(200), Told::Duration(ms(200))),
            (stream, None, "junk", true, Some(15_000), None, Told::AsReceived),
            (stream, Some(600), "5S", true, Some(15_000), Some(200), Told::Duration(ms(200))),
            (stream, Some(600), "", true, Some(15_000), Some(600), Told::AsReceived),
            (request, None, "5S", true, Some(300), None, Told::Try),
            (request, None, "150m", true, Some(150), None, Told::Try),
            (request, None, "", true, Some(300), None, Told::Try),
            (request, None, "junk", true, Some(300), None, Told::Try),
            (request, None, "100m", false, Some(15_000), None, Told::AsReceived),
        ] {
            let mut action = ForwardAction::new(Target::Cluster(ClusterId(1)));
            (action.grpc_timeout, action.max_stream_duration) = (rule, max.map(|max| Some(ms(max))));
            let field = if said.is_empty() { String::new() } else { format!("grpc-timeout: {said}\r\n") };
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n");
            let mut table = HeadTable::new(10);
            let decoded = decode_request(head.as_bytes(), &mut HeadScan::default(), &mut table, &Limits::default());
            let Ok(Decoded::Complete { head, .. }) = decoded else { panic!("{decoded:?}") };
            let expect = Times { timeout: timeout.map(ms), max_duration: duration.map(ms), told };
            assert_eq!(times(&action, None, &head, is_grpc), expect, "{rule:?} {max:?} {said}");
        }
    }
}
