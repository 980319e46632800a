//! Which version of HTTP is spoken with a client, and which with an endpoint.

/// `HttpConnectionManager.codec_type`: the version that a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodecType {
    /// `AUTO`: what the first bytes say. HTTP/2 begins with its preface (RFC 9113 §3.4), which is no request of HTTP/1.
    #[default]
    Auto,
    /// `HTTP1`: the preface is a bad request.
    Http1,
    /// `HTTP2`: anything but the preface is a connection error.
    Http2,
}

/// The version that a cluster's endpoints are spoken to in. The default is Envoy's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1: `explicit_http_config` with `http_protocol_options`, or nothing.
    #[default]
    Http1,
    /// HTTP/2 by prior knowledge: `explicit_http_config` with `http2_protocol_options`.
    Http2,
    /// `use_downstream_protocol_config`: the one that the client speaks, whichever options are set.
    AsDownstream,
}

impl UpstreamProtocol {
    /// Whether a request of a client that speaks HTTP/2, or does not, goes on in HTTP/2.
    #[inline]
    pub fn is_http2(self, client_is_http2: bool) -> bool {
        match self {
            Self::Http1 => false,
            Self::Http2 => true,
            Self::AsDownstream => client_is_http2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_towards_an_endpoint() {
        let answers = |protocol: UpstreamProtocol| [false, true].map(|client| protocol.is_http2(client));
        assert_eq!(answers(UpstreamProtocol::Http1), [false, false]);
        assert_eq!(answers(UpstreamProtocol::Http2), [true, true]);
        assert_eq!(answers(UpstreamProtocol::AsDownstream), [false, true]);
    }
}
