//! What a route makes of the `grpc-timeout` that a request says.

use std::time::Duration;

/// Whether and how far `grpc-timeout` bounds a request. Envoy has two ways, of which a route takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcTimeout {
    /// `max_stream_duration.grpc_timeout_header_max`: it stands for `max_stream_duration` wherever a request says it.
    Stream(GrpcBound),
    /// `max_grpc_timeout` (deprecated): it stands for `timeout`, of gRPC requests alone.
    Request(GrpcBound),
}

/// How far the client is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcBound {
    /// The longest time; `None` (0 s): any.
    pub max: Option<Duration>,
    /// `grpc_timeout_header_offset`, `grpc_timeout_offset`: so much earlier than the client we give up, that it hears of it.
    pub offset: Duration,
}

impl GrpcBound {
    /// How long a stream may take whose client says this. Nothing left: it ends at once (Envoy,
    /// `ActiveStream::refreshDurationTimeout`).
    pub fn of_stream(self, said: Duration) -> Duration {
        self.max.map_or(said, |max| said.min(max)).saturating_sub(self.offset)
    }

    /// How long a gRPC request may take, by what its client says, if it does; `None`: for ever. What the offset would use up is
    /// left as it is (Envoy, `FilterUtility::finalTimeout`).
    pub fn of_request(self, said: Option<Duration>) -> Option<Duration> {
        let said = said.filter(|said| !said.is_zero());
        let said = said.map(|said| if self.offset < said { said - self.offset } else { said });
        match (said, self.max) {
            (Some(said), Some(max)) => Some(said.min(max)),
            (said, max) => said.or(max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_believed_within_the_bound() {
        let ms = Duration::from_millis;
        // max, offset, what the client says; what bounds a stream, and a request. 0: nothing. As Envoy 1.40 did.
        for (max, offset, said, stream, request) in [
            (0, 0, 400, 400, 400),
            (200, 0, 400, 200, 200),
            (200, 50, 400, 150, 200),
            (300, 50, 400, 250, 300),
            (1000, 500, 400, 0, 400),
            (1000, 500, 800, 300, 300),
            (0, 100, 100, 0, 100),
            (0, 0, 0, 0, 0),
            (300, 0, 0, 0, 300),
        ] {
            let bound = GrpcBound { max: Some(ms(max)).filter(|max| !max.is_zero()), offset: ms(offset) };
            assert_eq!(bound.of_stream(ms(said)), ms(stream), "{max} {offset} {said}");
            assert_eq!(bound.of_request(Some(ms(said))).unwrap_or_default(), ms(request), "{max} {offset} {said}");
        }
        let bound = |max| GrpcBound { max, offset: ms(5) };
        assert_eq!(bound(None).of_request(None), None);
        assert_eq!(bound(Some(ms(300))).of_request(None), Some(ms(300)));
    }
}
