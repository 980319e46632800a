//! What we want: the configuration of one instant as plain, immutable data, and the pure look-ups on it.
//!
//! Everything here is `Send + Sync`, is built once by the control client and is never changed afterwards. This crate
//! knows no protobuf, no sockets and no time.
//!
//! Invariant: a [`Snapshot`] that exists is right. Whoever builds one has already refused what is wrong, so that the
//! look-ups here have no error to report but "there is no such thing".

mod access_log;
mod address;
mod alpn;
mod balancer;
mod chain_index;
mod cidr;
mod client_cert;
mod cluster;
mod connection_filter;
mod eyeballs;
mod filter_chain_match;
mod flags;
pub mod format;
mod grpc_stats;
pub mod hash;
mod header_rules;
mod host;
mod http1;
mod http2;
mod ids;
mod listener;
mod listener_filter;
mod load_balancing;
mod local_reply;
mod original_dst;
mod pages;
mod path;
mod protocol;
pub mod rbac;
mod request_rules;
mod route;
mod snapshot;
mod socket;
mod stats_rules;
mod tcp_proxy;
mod transport;
mod upgrade;
mod upstream_http;

pub use access_log::{AccessLog, Comparison, ComparisonOp, JsonNode, LogFilter, LogSink, LogText};
pub use address::{Address, Pipe};
pub use alpn::AlpnOverrides;
pub use balancer::{Balancer, LoadPart, Membership, Pick, TableSize, Wheels};
pub use chain_index::{ChainFacts, ChainIndex, ChainProblem};
pub use cidr::Cidr;
pub use client_cert::{ClientCertDetails, ClientCertRules, ForwardClientCert};
pub use cluster::{CircuitBreakers, Cluster, Endpoint, Priority, RetryBudget};
pub use connection_filter::{ConnectionLimit, LocalRateLimit, TokenBucket};
pub use eyeballs::{Family, HappyEyeballs};
pub use filter_chain_match::{FilterChainMatch, ServerNames, SourceType};
pub use flags::{ResponseFlag, ResponseFlags};
pub use grpc_stats::{CountedMethods, GrpcStatsRules, METHOD_BYTES_MAX, METHODS_MAX, MethodList};
pub use header_rules::{HeaderRules, Scheme, ServerHeader, UserAgent};
pub use host::{HostRules, StripPort};
pub use http1::{Http1Rules, OwnNames};
pub use http2::{Http2Options, Keepalive, MalformedEnds};
pub use ids::{ChainId, ClusterId, ListenerId};
pub use listener::{
    ConnectionFilter, ConnectionRules, FilterChain, HttpConnectionManager, ListenAddress, Listener, NetworkFilter,
};
pub use listener_filter::{DestinationPredicate, ListenerFilter, ListenerFilterKind, ListenerFilters, ProxyProtocolIn};
pub use load_balancing::{
    CHOICES, CHOICES_MAX, HashFunction, HealthStatus, LbPolicy, LeastRequest, LoadBalancing, Locality, LocalityWeight,
    MAGLEV_SIZE_MAX, Maglev, Placement, RING_SIZE_MAX, RingHash, Selection,
};
pub use local_reply::{BodyFormat, LocalReplies, LocalReplyMapper};
pub use original_dst::OriginalDst;
pub use pages::{Differing, Pages};
pub use path::{EscapedSlashes, PathOutcome, PathRules};
pub use protocol::{CodecType, UpstreamProtocol, UpstreamVersion};
pub use request_rules::{RequestRules, Underscores};
pub use route::{
    Action, AppendAction, BackOff, Caches, Conditions, DirectResponse, Domain, ForwardAction, Found, Fraction,
    GrpcBound, GrpcTimeout, HASH_POLICIES_MAX, HashCookie, HashPolicy, HashSource, HashValues, Hashed, HeaderAddition,
    HeaderMatcher, HeaderMutation, HeaderMutations, HeaderTest, HostRewrite, LookUp, PathMatch, PathRewrite, Position,
    QueryMatcher, QueryTest, RateLimitedBackOff, Redirect, RedirectPath, Regex, RegexCaches, Regexes, RequestView,
    RequireTls, Reset, ResetHeader, RetryOn, RetryPolicy, RetryRules, Rewrite, Route, RouteConfiguration, RouteMatch,
    Subject, Substitution, Target, TextMatcher, TextPattern, VirtualHost, WeightedCluster, is_from_https, own_location,
    query_parameter, without_query,
};
pub use snapshot::{ClusterTable, Snapshot};
pub use socket::{ListenSocket, Outgoing, SocketOption, SocketState};
pub use stats_rules::{BucketRule, StatsRules, StatsShown};
pub use tcp_proxy::{TcpProxy, TcpTarget};
pub use transport::{
    DownstreamTls, DownstreamTransport, HANDSHAKE_TIMEOUT, PassedTlvs, ProxyProtocolOut, ProxyProtocolVersion,
    TlsContext, UpstreamTls, UpstreamTransport,
};
pub use upgrade::Upgrade;
pub use upstream_http::{Reuse, UpstreamHttp};
