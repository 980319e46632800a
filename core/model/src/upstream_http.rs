//! What a cluster says of HTTP whatever its version: `envoy.config.core.v3.HttpProtocolOptions`.

use std::time::Duration;

/// `common_http_protocol_options` of a cluster. The default is Envoy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamHttp {
    /// When connections are used again.
    pub reuse: Reuse,
    /// `max_response_headers_kb`: bytes of a response's head, 60 KiB.
    pub response_head_bytes_max: usize,
    /// `max_headers_count`: fields of a response's head, 100.
    pub response_fields_max: usize,
    /// `max_stream_duration`: from when a try has its connection to the end of its response. Envoy: off.
    pub max_stream_duration: Option<Duration>,
    /// The cluster's metadata `istio: {alpn_override: "false"}`: the filter `istio.alpn` leaves alone what its transport socket offers.
    pub keeps_alpn: bool,
}

/// Until when a connection to an endpoint is used for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// `idle_timeout`: how long it may stay unused, 1 h. `None`: as long as it likes.
    pub idle_timeout: Option<Duration>,
    /// `max_connection_duration`: how old it may be.
    pub duration_max: Option<Duration>,
    /// `max_requests_per_connection`; `u32::MAX` for no bound.
    pub requests_max: u32,
}

impl Default for Reuse {
    fn default() -> Self {
        Self { idle_timeout: Some(Duration::from_secs(3600)), duration_max: None, requests_max: u32::MAX }
    }
}

impl Default for UpstreamHttp {
    fn default() -> Self {
        Self {
            reuse: Reuse::default(),
            response_head_bytes_max: 60 * 1024,
            response_fields_max: 100,
            max_stream_duration: None,
            keeps_alpn: false,
        }
    }
}
