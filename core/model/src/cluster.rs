//! A cluster: the endpoints that serve one name, and the rules for using them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Address, Balancer, ClusterId, Http1Rules, Http2Options, OriginalDst, Outgoing, Placement, UpstreamHttp,
    UpstreamProtocol, UpstreamTransport,
};

/// `envoy.config.cluster.v3.Cluster`, as far as the engine acts on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The number of its name, stable over snapshots.
    pub id: ClusterId,
    /// `name`.
    pub name: String,
    /// `alt_stat_name` where given, else `name`: what statistics are filed under.
    pub stat_name: String,
    /// `eds_cluster_config.service_name`, which load reports tell beside the name; empty where the file gives none.
    pub service_name: String,
    /// `connect_timeout`; Envoy's default is 5 s.
    pub connect_timeout: Duration,
    /// `per_connection_buffer_limit_bytes`: what may be queued towards an endpoint before its source is no longer read. `None`: the
    /// engine's own bound.
    pub buffer_bytes_max: Option<u32>,
    /// `circuit_breakers.thresholds` of the default priority.
    pub circuit_breakers: CircuitBreakers,
    /// The same of the priority HIGH; `None` where no request has it.
    pub high_breakers: Option<CircuitBreakers>,
    /// `load_assignment`, flattened in the order of the file. Whoever changes it builds `balancer` anew: [`Cluster::set_endpoints`].
    /// Shared by the versions of the cluster that have the same.
    pub endpoints: Arc<[Endpoint]>,
    /// LOGICAL_DNS: the endpoint is a name, and connections to addresses that it had before stay in use.
    pub logical: bool,
    /// Which of the endpoints is next.
    pub balancer: Balancer,
    /// What is special about its connections.
    pub outgoing: Option<Box<Outgoing>>,
    /// `typed_extension_protocol_options`: `common_http_protocol_options`.
    pub http: UpstreamHttp,
    /// `typed_extension_protocol_options`: `http_protocol_options` of the configuration that is chosen there.
    pub http1: Http1Rules,
    /// The same of `http2_protocol_options`.
    pub http2: Http2Options,
    /// The version of HTTP that its endpoints are spoken to in.
    pub protocol: UpstreamProtocol,
    /// `transport_socket`, then `transport_socket_matches`: at least the first.
    pub transports: Arc<[UpstreamTransport]>,
    /// ORIGINAL_DST: it has no endpoints of its own.
    pub original_dst: Option<OriginalDst>,
}

impl Cluster {
    /// The same cluster with other endpoints.
    pub fn set_endpoints(&mut self, endpoints: Vec<Endpoint>) {
        self.balancer = Balancer::new(self.balancer.config().clone(), &endpoints);
        self.endpoints = endpoints.into();
    }

    /// Builds what of the balancer is built last, or shares it with the version before, where the endpoints are the same.
    pub fn complete(&mut self, before: Option<&Cluster>) {
        let same = before.filter(|before| before.endpoints == self.endpoints);
        self.balancer.complete(&self.endpoints, same.map(|before| &before.balancer));
    }
}

/// `RoutingPriority`: whose circuit breakers a request comes under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// `DEFAULT`
    #[default]
    Default,
    /// `HIGH`
    High,
}

/// `CircuitBreakers.Thresholds`: what the whole process, not each core, may have open towards a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CircuitBreakers {
    /// `max_connections`: connections, idle ones included. Default 1,024.
    pub connections_max: u32,
    /// `max_pending_requests`: requests that wait for a connection. Default 1,024.
    pub pending_requests_max: u32,
    /// `max_requests`: requests under way. Default 1,024.
    pub requests_max: u32,
    /// `max_retries`: retries under way. Default 3.
    pub retries_max: u32,
    /// `retry_budget`: in the place of `max_retries`.
    pub retry_budget: Option<RetryBudget>,
}

/// `CircuitBreakers.Thresholds.RetryBudget`: retries in proportion to the requests under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// `budget_percent`: 0 to 100. Envoy: 20.
    pub percent: f64,
    /// `min_retry_concurrency`: so many are always allowed. Envoy: 3.
    pub retries_min: u32,
}

impl Default for CircuitBreakers {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            pending_requests_max: 1024,
            requests_max: 1024,
            retries_max: 3,
            retry_budget: None,
        }
    }
}

/// `LbEndpoint`: one address that serves the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `endpoint.address`. Health and load state is keyed by it and survives changes of the cluster.
    pub address: Address,
    /// Where connections are tried, in this order, where there is more than one address: `address` and
    /// `endpoint.additional_addresses`, or of a LOGICAL_DNS cluster all that its name has. Else empty.
    pub attempts: Vec<SocketAddr>,
    /// `endpoint.hostname`: what `auto_host_rewrite` makes of the host. Empty where the file gives none.
    pub hostname: String,
    /// Where it stands among the others.
    pub placement: Placement,
    /// Which of [`Cluster::transports`] its connections have: by the metadata of the endpoint.
    pub transport: u16,
}
