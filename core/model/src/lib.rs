//! What we want: the configuration of one instant as plain, immutable data, and the pure look-ups on it.
//!
//! Everything here is `Send + Sync`, is built once by the control client and is never changed afterwards. This crate
//! knows no protobuf, no sockets and no time.
//!
//! Invariant: a [`Snapshot`] that exists is right. Whoever builds one has already refused what is wrong, so that the
//! look-ups here have no error to report but "there is no such thing".

mod access_log;
mod address;
mod balancer;
mod cluster;
mod eyeballs;
mod flags;
pub mod format;
mod header_rules;
mod host;
mod http1;
mod http2;
mod ids;
mod listener;
mod load_balancing;
mod local_reply;
mod path;
mod protocol;
mod request_rules;
mod route;
mod snapshot;
mod socket;
mod stats_rules;
mod upgrade;
mod upstream_http;

pub use access_log::{AccessLog, Comparison, ComparisonOp, JsonNode, LogFilter, LogSink, LogText};
pub use address::{Address, Pipe};
pub use balancer::{Balancer, Membership, Pick, Wheels};
pub use cluster::{CircuitBreakers, Cluster, Endpoint, Priority, RetryBudget};
pub use eyeballs::{Family, HappyEyeballs};
pub use flags::{ResponseFlag, ResponseFlags};
pub use header_rules::{Cidr, HeaderRules, Scheme, ServerHeader, UserAgent};
pub use host::{HostRules, StripPort};
pub use http1::{Http1Rules, OwnNames};
pub use http2::{Http2Options, Keepalive, MalformedEnds};
pub use ids::{ChainId, ClusterId, ListenerId};
pub use listener::{ConnectionRules, FilterChain, HttpConnectionManager, ListenAddress, Listener, NetworkFilter};
pub use load_balancing::{
    CHOICES, CHOICES_MAX, HealthStatus, LbPolicy, LeastRequest, LoadBalancing, Locality, LocalityWeight, Placement,
    Selection,
};
pub use local_reply::{BodyFormat, LocalReplies, LocalReplyMapper};
pub use path::{EscapedSlashes, PathOutcome, PathRules};
pub use protocol::{CodecType, UpstreamProtocol};
pub use request_rules::{RequestRules, Underscores};
pub use route::{
    Action, AppendAction, BackOff, Caches, Conditions, DirectResponse, Domain, ForwardAction, Found, Fraction,
    GrpcBound, GrpcTimeout, HeaderAddition, HeaderMatcher, HeaderMutation, HeaderMutations, HeaderTest, HostRewrite,
    LookUp, PathMatch, PathRewrite, Position, QueryMatcher, QueryTest, RateLimitedBackOff, Redirect, RedirectPath,
    Regex, RegexCaches, Regexes, RequestView, RequireTls, Reset, ResetHeader, RetryOn, RetryPolicy, RetryRules,
    Rewrite, Route, RouteConfiguration, RouteMatch, Subject, Substitution, Target, TextMatcher, TextPattern,
    VirtualHost, WeightedCluster, is_from_https, own_location, query_parameter, without_query,
};
pub use snapshot::{ClusterTable, Snapshot};
pub use socket::{ListenSocket, Outgoing, SocketOption, SocketState};
pub use stats_rules::{BucketRule, StatsRules, StatsShown};
pub use upgrade::Upgrade;
pub use upstream_http::{Reuse, UpstreamHttp};
