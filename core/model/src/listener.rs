//! A listener: an address, and what is done with the connections that arrive there.

use std::sync::Arc;
use std::time::Duration;

use crate::rbac::NetworkRbac;
use crate::{
    AccessLog, Address, AlpnOverrides, ChainFacts, ChainId, ChainIndex, CodecType, ConnectionLimit,
    DownstreamTransport, FilterChainMatch, GrpcStatsRules, HeaderRules, Http1Rules, Http2Options, ListenSocket,
    ListenerFilters, ListenerId, LocalRateLimit, LocalReplies, RequestRules, RouteConfiguration, TcpProxy, Upgrade,
};

/// `envoy.config.listener.v3.Listener`, as far as the engine acts on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The number of its name, stable over snapshots.
    pub id: ListenerId,
    /// `name`; the address where the file gives none, as Envoy does for statistics.
    pub name: String,
    /// `address`, then `additional_addresses`; at least the first. Statistics go by the first.
    pub addresses: Vec<ListenAddress>,
    /// `tcp_backlog_size`; 4,096 where the file says nothing (the kernel cuts it to net.core.somaxconn).
    pub backlog: u32,
    /// `per_connection_buffer_limit_bytes`: what may be queued towards a client before its source is no longer read. `None`: the engine's
    /// own bound.
    pub buffer_bytes_max: Option<u32>,
    /// `connection_balance_config.exact_balance` is set: a new connection goes to the worker with the fewest.
    pub exact_balance: bool,
    /// `bind_to_port` is not false. One that is not bound gets its connections from others, by `use_original_dst`.
    pub binds: bool,
    /// `use_original_dst`: a connection that was redirected goes on to the listener of the address that its client wanted, if there is one.
    pub hands_off: bool,
    /// `listener_filters`
    pub inspects: ListenerFilters,
    /// `filter_chains`.
    pub chains: Vec<Arc<FilterChain>>,
    /// Which of them takes a connection: made of their matches.
    pub index: ChainIndex,
    /// `default_filter_chain`: for connections that none of them matches.
    pub default_chain: Option<Arc<FilterChain>>,
    /// `access_log`: they tell of each connection at its end, whoever served it, and of those that were refused.
    pub access_logs: Vec<AccessLog>,
}

impl Listener {
    /// The chain that takes a connection, if one does.
    pub fn chain_for<'p>(
        &self,
        facts: &ChainFacts<'_>,
        protocols: impl IntoIterator<Item = &'p [u8]>,
    ) -> Option<&Arc<FilterChain>> {
        self.index.find(facts, protocols).map(|at| &self.chains[at]).or(self.default_chain.as_ref())
    }

    /// Whether which chain takes a connection may depend on what the client says first.
    pub fn waits_for_first_bytes(&self) -> bool {
        self.chains.iter().any(|chain| chain.matches.asks_first_bytes())
    }

    /// The chain that takes every connection, where there is one.
    pub fn only_chain(&self) -> Option<&Arc<FilterChain>> {
        match (&self.chains[..], &self.default_chain) {
            ([], chain) => chain.as_ref(),
            ([chain], None) if chain.matches == FilterChainMatch::default() => Some(chain),
            _ => None,
        }
    }

    /// All chains, the default one last.
    pub fn all_chains(&self) -> impl Iterator<Item = &Arc<FilterChain>> {
        self.chains.iter().chain(&self.default_chain)
    }
}

/// `AdditionalAddress`, and what the first address comes to: where a listener listens.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenAddress {
    /// `address`. Port 0: the kernel chooses when it is first bound.
    pub address: Address,
    /// What is special about its sockets.
    pub socket: ListenSocket,
}

/// `envoy.config.listener.v3.FilterChain`.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterChain {
    /// What a connection was accepted under; see [`ChainId`].
    pub id: ChainId,
    /// `name`, empty where the file gives none.
    pub name: String,
    /// `filter_chain_match`
    pub matches: FilterChainMatch,
    /// `transport_socket`
    pub transport: DownstreamTransport,
    /// `transport_socket_connect_timeout`: how long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// `filters`, but for the last.
    pub before: Vec<ConnectionFilter>,
    /// The terminal network filter.
    pub filter: NetworkFilter,
}

impl FilterChain {
    /// Its HTTP connection manager, if it has one.
    pub fn http(&self) -> Option<&Arc<HttpConnectionManager>> {
        match &self.filter {
            NetworkFilter::Http(http) => Some(http),
            NetworkFilter::Tcp(_) => None,
        }
    }

    /// The access logs of its terminal filter.
    pub fn access_logs(&self) -> &[AccessLog] {
        match &self.filter {
            NetworkFilter::Http(http) => &http.access_logs,
            NetworkFilter::Tcp(tcp) => &tcp.access_logs,
        }
    }
}

/// A network filter that lets a connection on or closes it.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionFilter {
    /// `envoy.filters.network.connection_limit`
    ConnectionLimit(Arc<ConnectionLimit>),
    /// `envoy.filters.network.local_ratelimit`
    LocalRateLimit(Arc<LocalRateLimit>),
    /// `envoy.filters.network.rbac`
    Rbac(Arc<NetworkRbac>),
}

/// The terminal network filter of a chain.
#[derive(Clone, Debug, PartialEq)]
pub enum NetworkFilter {
    /// `envoy.filters.network.http_connection_manager`.
    Http(Arc<HttpConnectionManager>),
    /// `envoy.filters.network.tcp_proxy`.
    Tcp(Arc<TcpProxy>),
}

/// How long a client's connection may live. The default is Envoy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionRules {
    /// `common_http_protocol_options.max_connection_duration`. Envoy: no end.
    pub duration_max: Option<Duration>,
    /// `common_http_protocol_options.max_requests_per_connection`. Envoy: no end.
    pub requests_max: Option<u32>,
    /// `drain_timeout`: what a connection has from the end of its time until it is closed without a request. Envoy: 5 s.
    pub drain_timeout: Duration,
    /// `http1_safe_max_connection_duration`: only a response ends it.
    pub is_soft: bool,
}

impl Default for ConnectionRules {
    fn default() -> Self {
        Self { duration_max: None, requests_max: None, drain_timeout: Duration::from_secs(5), is_soft: false }
    }
}

/// `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConnectionManager {
    /// `stat_prefix`.
    pub stat_prefix: String,
    /// `route_config`.
    pub routes: Arc<RouteConfiguration>,
    /// `common_http_protocol_options.idle_timeout`: a connection without a request. Envoy: 1 h; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// `request_headers_timeout`: from the first byte of a head to its last. Envoy: off; ours by default too.
    pub request_headers_timeout: Option<Duration>,
    /// `stream_idle_timeout`: no byte either way while an exchange is open. Envoy: 5 min; `None`: never.
    pub stream_idle_timeout: Option<Duration>,
    /// `request_timeout`: from the first byte of a request to its last. Envoy: off; ours by default too.
    pub request_timeout: Option<Duration>,
    /// `common_http_protocol_options.max_stream_duration`: from the first byte of a request to the end of its response, where the route
    /// says nothing. Envoy: off.
    pub max_stream_duration: Option<Duration>,
    /// How long a connection may live.
    pub connections: ConnectionRules,
    /// `max_request_headers_kb` in bytes. Envoy: 60 KiB.
    pub request_head_bytes_max: usize,
    /// `delayed_close_timeout`: how long a connection that we end may linger so that the peer can read the last
    /// response. Envoy: 1 s.
    pub delayed_close_timeout: Duration,
    /// `access_log`, in the order of the file.
    pub access_logs: Vec<AccessLog>,
    /// What is done to heads on their way through.
    pub headers: HeaderRules,
    /// `upgrade_configs`.
    pub upgrades: Vec<Upgrade>,
    /// `local_reply_config`.
    pub local_replies: Option<LocalReplies>,
    /// What is made of a request's head before anything looks at it.
    pub requests: RequestRules,
    /// `common_http_protocol_options.max_headers_count`. Envoy: 100.
    pub request_fields_max: usize,
    /// `stream_error_on_invalid_http_message`: a 400 of our own does not end the connection, unless it cannot be read any further.
    pub keeps_after_400: bool,
    /// `codec_type`.
    pub codec: CodecType,
    /// `http_protocol_options`.
    pub http1: Http1Rules,
    /// `http2_protocol_options`.
    pub http2: Http2Options,
    /// `proxy_100_continue`: who answers `Expect: 100-continue` is the origin; otherwise we do.
    pub proxy_100_continue: bool,
    /// The filter `envoy.filters.http.grpc_stats`, where it is.
    pub grpc_stats: Option<GrpcStatsRules>,
    /// The filter `istio.alpn`, where it is.
    pub alpn: Option<Arc<AlpnOverrides>>,
    /// The configuration of one of its filters has not come (`config_discovery`), and there is none to go by instead: each request is
    /// answered 500, for nobody knows what that filter would let pass.
    pub lacks_filter: bool,
}
