//! What can be seen of a running proxy: counters under Envoy's names, response flags, the texts of its access logs, and the
//! forms they are read in.
//!
//! Does no I/O, starts no thread, reads no clock. A worker owns the blocks of numbers that it writes; everybody else
//! only reads them. So counting costs a load, an addition and a store on a line that no other core writes.
//!
//! Invariant: each number has one writer at a time. The [`Registry`] is the only place that knows all blocks, and only
//! the control and the admin thread take its locks.

pub mod access_log;
mod block;
mod breakers;
mod codes;
mod filters;
pub mod format;
mod grpc;
mod grpc_part;
mod histogram;
mod http2;
mod inspectors;
mod line;
mod load;
mod methods;
mod number;
pub mod prometheus;
mod registry;
mod server;
pub mod show;
mod stats;
mod subscription;
mod tcp;
mod tls;

pub use block::{Block, CodesRow, HistogramRow, Kind, Row, Shown, VisitCodes};
pub use breakers::{BreakerStats, PriorityLevels};
pub use codes::Codes;
pub use filters::{ConnectionLimitStats, RateLimitStats, RbacStats};
pub use grpc::GrpcStats;
pub use grpc_part::GrpcPart;
pub use histogram::{Bin, Distribution, Histogram};
pub use http2::{Http2Load, Http2Part, Http2Stats};
pub use inspectors::{HttpInspectorStats, ProxyProtocolStats, ProxyVersionStats, TlsInspectorStats};
pub use line::Line;
pub use load::{ClusterRows, DroppedLoad, LoadBook, LocalityLoad, LocalityRows, LocalitySum};
pub use methods::Methods;
pub use number::{Counter, Gauge};
pub use registry::{Registry, Visit, VisitHistogram, is_used};
pub use ringway_model::{ResponseFlag, ResponseFlags};
pub use server::{Server, ServerState};
pub use stats::{ClusterStats, HttpStats, ListenerStats, MembershipStats, Origin};
pub use subscription::{
    AssignmentStats, ControlPlaneStats, ExtensionStats, LoadReporterStats, RouteConfigStats, RuntimeStats,
    SubscriptionStats,
};
pub use tcp::TcpStats;
pub use tls::{TlsPart, TlsStats};
