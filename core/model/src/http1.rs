//! How HTTP/1 is spoken on one side: `envoy.config.core.v3.Http1ProtocolOptions`.

/// What a connection manager, or a cluster, says of HTTP/1. The default is Envoy's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http1Rules {
    /// `enable_trailers`: of a message that is received here trailers are kept, and to this side they are sent. They pass where both
    /// sides have it.
    pub trailers: bool,
    /// `header_key_format.proper_case_words`: names are sent as `Content-Type`. Otherwise as they came.
    pub proper_case: bool,
    /// `header_key_format.stateful_formatter` with `preserve_case`: of a message that is received here, the names are sent on in the
    /// spelling in which they came, whatever the other side's format is.
    pub preserve_case: Option<OwnNames>,
    /// `accept_http_10`. Connection managers alone.
    pub accept_http_10: bool,
    /// `default_host_for_http_10`: what stands for the Host that an HTTP/1.0 request does not have. Empty: such a request is refused.
    pub default_host: String,
}

/// `PreserveCaseFormatterConfig.formatter_type_on_envoy_headers`: the names of fields that are ours, beside those that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnNames {
    /// `DEFAULT`: `content-type`.
    LowerCase,
    /// `PROPER_CASE`: `Content-Type`.
    ProperCase,
}
