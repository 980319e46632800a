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
    /// `auto_config`: HTTP/2 on a connection whose endpoint chose it by ALPN, HTTP/1.1 on any other.
    ByAlpn,
}

/// What is spoken to an endpoint for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Either: each connection has its own.
    ByAlpn,
}

impl UpstreamProtocol {
    /// What a request of a client that speaks HTTP/2, or does not, goes on in.
    #[inline]
    pub fn version(self, client_is_http2: bool) -> UpstreamVersion {
        match self {
            Self::Http2 => UpstreamVersion::Http2,
            Self::AsDownstream if client_is_http2 => UpstreamVersion::Http2,
            Self::Http1 | Self::AsDownstream => UpstreamVersion::Http1,
            Self::ByAlpn => UpstreamVersion::ByAlpn,
        }
    }

    /// Whether a request of such a client goes on in HTTP/2, or may do so.
    #[inline]
    pub fn may_be_http2(self, client_is_http2: bool) -> bool {
        self.version(client_is_http2) != UpstreamVersion::Http1
    }

    /// Whether a request of such a client goes on in HTTP/2 whatever the endpoint says.
    #[inline]
    pub fn is_http2(self, client_is_http2: bool) -> bool {
        self.version(client_is_http2) == UpstreamVersion::Http2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_towards_an_endpoint() {
        use UpstreamVersion::{ByAlpn, Http1, Http2};
        for (protocol, versions) in [
            (UpstreamProtocol::Http1, [Http1, Http1]),
            (UpstreamProtocol::Http2, [Http2, Http2]),
            (UpstreamProtocol::AsDownstream, [Http1, Http2]),
            (UpstreamProtocol::ByAlpn, [ByAlpn, ByAlpn]),
        ] {
            assert_eq!([false, true].map(|client| protocol.version(client)), versions);
            assert_eq!([false, true].map(|client| protocol.is_http2(client)), versions.map(|version| version == Http2));
            assert_eq!(
                [false, true].map(|client| protocol.may_be_http2(client)),
                versions.map(|version| version != Http1)
            );
        }
    }
}
