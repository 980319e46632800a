//! How HTTP/1 is spoken on one side: `envoy.config.core.v3.Http1ProtocolOptions`.

/// What a connection manager, or a cluster, says of HTTP/1. The default is Envoy's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http1Rules {
    /// `enable_trailers`: of a message that is received here trailers are kept, and to this side they are sent. They pass where both
    /// sides have it.
    pub trailers: bool,
    /// `header_key_format.proper_case_words`: names are sent as `Content-Type`. Otherwise as they came.
    pub proper_case: bool,
    /// `accept_http_10`. Connection managers alone.
    pub accept_http_10: bool,
    /// `default_host_for_http_10`: what stands for the Host that an HTTP/1.0 request does not have. Empty: such a request is refused.
    pub default_host: String,
}
