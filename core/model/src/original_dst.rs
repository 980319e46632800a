//! Clusters of the type ORIGINAL_DST: a connection goes where its client wanted to go.

use std::time::Duration;

/// `Cluster.OriginalDstLbConfig`, and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalDst {
    /// `http_header_name` where `use_http_header` is set, in lower case: the address that it holds comes first.
    pub header: Option<String>,
    /// `upstream_port_override`
    pub port: Option<u16>,
    /// `Cluster.cleanup_interval`: how long an address that nobody asks for keeps its pool. Envoy: 5 s.
    pub cleanup_interval: Duration,
}
