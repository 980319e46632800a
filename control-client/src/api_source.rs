//! `envoy.config.core.v3.ApiConfigSource`: which management servers are asked, and how. Plain data with Envoy's defaults
//! filled in.
//!
//! Equal ones are one source: they share a stream, and what it brought.

use std::fmt;
use std::time::Duration;

use crate::discovery::Variant;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiSource {
    /// `api_type`.
    pub(crate) form: Form,
    /// `grpc_services`, at least one: when one fails, the next is asked. Of REST the one of `cluster_names`.
    pub(crate) services: Vec<Service>,
    /// `set_node_on_first_message_only`.
    pub(crate) is_node_said_once: bool,
    /// `rate_limit_settings`; `None`: requests are sent as they come up.
    pub(crate) rate_limit: Option<RateLimit>,
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Form {
    /// GRPC or DELTA_GRPC: by a stream.
    Stream(Variant),
    /// REST: again and again.
    Rest {
        /// `refresh_delay`.
        interval: Duration,
        /// `request_timeout`.
        timeout: Duration,
    },
}

/// `GrpcService` with its `EnvoyGrpc`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Service {
    /// `cluster_name`: a cluster of the bootstrap.
    pub(crate) cluster: String,
    /// `authority`, or the cluster's name.
    pub(crate) authority: String,
    /// `initial_metadata`.
    pub(crate) metadata: Vec<(String, String)>,
    /// `retry_policy.retry_back_off`.
    pub(crate) backoff_base: Duration,
    pub(crate) backoff_max: Duration,
    /// `max_receive_message_length`; `None`: the reader's own bound.
    pub(crate) message_bytes_max: Option<u32>,
}

/// `RateLimitSettings`: how often requests may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RateLimit {
    /// `max_tokens`: so many at once.
    pub(crate) burst: u32,
    /// `1 / fill_rate`: then one in such a time.
    pub(crate) interval: Duration,
}

/// As people write it.
impl fmt::Display for ApiSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::Stream(Variant::StateOfTheWorld) => "GRPC",
            Form::Stream(Variant::Delta) => "DELTA_GRPC",
            Form::Rest { .. } => "REST",
        };
        let clusters: Vec<&str> = self.services.iter().map(|service| service.cluster.as_str()).collect();
        write!(formatter, "{form} by cluster {}", clusters.join(", "))
    }
}
