//! What an access log is told of a connection: who and where, and why it ended before anybody served it.
//!
//! Logs of a listener tell of each of its connections, those of `tcp_proxy` of the ones that came as far as its chain. There is no request:
//! what asks for one reads as absent, the status as 0. A log that Envoy writes for the same connection says the same.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;

use ringway_model::format::{Fact, Moment, Operator, Unit};
use ringway_model::{Listener, ResponseFlag};
use ringway_observe::ResponseFlags;
use ringway_observe::format::{Value, Values};
use ringway_protocols::Version;
use ringway_runtime::Instant;

use crate::arrived::Arrived;
use crate::connection_filter::{By, Denied};
use crate::routing::protocol;
use crate::tls::Unsecured;
use crate::uuid::uuid_v4;
use crate::view::CoreLogs;
use crate::worker::Worker;

/// `%ACCESS_LOG_TYPE%` of a listener's logs: Envoy gives them none.
pub(crate) const OF_LISTENER: &str = "NotSet";
/// The same of `tcp_proxy`'s.
pub(crate) const OF_TCP: &str = "TcpConnectionEnd";

/// Why a connection was not served, in Envoy's words where it has some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    flags: ResponseFlags,
    /// `%RESPONSE_CODE_DETAILS%`
    details: &'static str,
    /// `%CONNECTION_TERMINATION_DETAILS%`
    termination: Cow<'static, str>,
    /// `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%`
    transport_failure: &'static str,
}

impl Refusal {
    /// By a listener filter, of which Envoy's logs say no more: what counts it says which.
    pub(crate) fn inspected() -> Self {
        Self::default()
    }

    /// No filter chain is for it.
    pub(crate) fn no_chain() -> Self {
        Self { flags: ResponseFlag::NR.into(), details: "filter_chain_not_found", ..Self::default() }
    }

    /// Its handshake came to nothing.
    pub(crate) fn unsecured(unsecured: &Unsecured) -> Self {
        match unsecured {
            Unsecured::Timeout => {
                Self { termination: Cow::Borrowed("transport socket timeout was reached"), ..Self::default() }
            }
            // Who just leaves is no failure of the transport.
            Unsecured::Ended => Self::default(),
            Unsecured::Overflow | Unsecured::Failed(_) => {
                Self { transport_failure: unsecured.told().reason, ..Self::default() }
            }
        }
    }

    /// It asked for no server name where one is required (`require_sni`).
    pub(crate) fn no_server_name() -> Self {
        Self { transport_failure: "TLS_error:_no_server_name", ..Self::default() }
    }

    /// By a network filter.
    pub(crate) fn denied(denied: &Denied<'_>) -> Self {
        match &denied.by {
            By::ConnectionLimit => Self::default(),
            // Envoy's flag for it.
            By::RateLimit => Self { flags: ResponseFlag::URX.into(), ..Self::default() },
            By::Rbac(decision) => Self { termination: Cow::Owned(decision.details()), ..Self::default() },
        }
    }
}

/// A connection that can be asked.
pub(crate) struct ToldConnection<'t> {
    pub(crate) listener: &'t Listener,
    /// The name of its filter chain; empty: none.
    pub(crate) chain_name: &'t str,
    pub(crate) arrived: Option<&'t Arrived>,
    pub(crate) refusal: Option<&'t Refusal>,
    /// The version of HTTP that was spoken on it.
    pub(crate) protocol: Option<Version>,
    /// Bytes of content from the client and to it, where they are counted by connection: those of HTTP are by request.
    pub(crate) moved: Option<[u64; 2]>,
    pub(crate) id: u64,
    pub(crate) since: Instant,
    pub(crate) now: Instant,
    /// Nanoseconds from 1970 to `now`.
    pub(crate) wall_nanos: u64,
    /// Random bits.
    pub(crate) chance: [u64; 2],
    /// `%ACCESS_LOG_TYPE%`
    pub(crate) kind: &'static str,
}

impl<'t> ToldConnection<'t> {
    /// A connection at its end, which is now.
    pub(crate) fn new(
        worker: &Worker,
        listener: &'t Listener,
        chain_name: &'t str,
        (id, since): (u64, Instant),
    ) -> Self {
        let now = worker.core.now();
        Self {
            listener,
            chain_name,
            arrived: None,
            refusal: None,
            protocol: None,
            moved: Some([0, 0]),
            id,
            since,
            now,
            wall_nanos: worker.date.nanos(now),
            chance: [worker.chance(), worker.chance()],
            kind: OF_LISTENER,
        }
    }

    /// Writes the lines of its listener's logs.
    pub(crate) fn write(&self, worker: &Rc<Worker>, logs: &CoreLogs) {
        worker.log.write_connection(worker, (&self.listener.access_logs, logs), self);
    }

    /// Nanoseconds from its begin to a moment.
    pub(crate) fn nanos_to(&self, at: Instant) -> u64 {
        nanos(self.since, at)
    }

    fn downstream(&self, of: impl FnOnce(&Arrived) -> Option<SocketAddr>) -> Value<'_> {
        let Some(arrived) = self.arrived else { return Value::Absent };
        match (of(arrived), &arrived.pipe) {
            (Some(address), _) => Value::Address(address),
            (None, Some(path)) => Value::Pipe(path.as_bytes()),
            (None, None) => Value::Absent,
        }
    }

    /// A random number for the connection.
    pub(crate) fn uuid(&self) -> Value<'_> {
        Value::Uuid(uuid_v4(self.chance[0], self.chance[1]))
    }

    fn fact(&self, fact: Fact) -> Value<'_> {
        let moved = |way: usize| self.moved.map_or(Value::Absent, |moved| Value::Number(moved[way]));
        match fact {
            Fact::ResponseCode | Fact::UpstreamRequestAttemptCount => Value::Number(0),
            // Envoy says 0 of what has no request.
            Fact::DownstreamWireBytesReceived
            | Fact::DownstreamWireBytesSent
            | Fact::UpstreamWireBytesReceived
            | Fact::UpstreamWireBytesSent => Value::Number(0),
            Fact::BytesReceived => moved(0),
            Fact::BytesSent => moved(1),
            Fact::ResponseFlags | Fact::ResponseFlagsLong => {
                Value::Flags(self.refusal.map_or(ResponseFlags::NONE, |refusal| refusal.flags))
            }
            Fact::Duration => Value::Number(self.nanos_to(self.now) / NANOS_PER_MS),
            Fact::Protocol => self.protocol.map_or(Value::Absent, |version| text(protocol(version))),
            Fact::ConnectionTerminationDetails => text(self.refusal.map_or("", |refusal| &refusal.termination)),
            Fact::DownstreamTransportFailureReason => {
                text(self.refusal.map_or("", |refusal| refusal.transport_failure))
            }
            Fact::DownstreamLocalAddress | Fact::DownstreamLocalAddressWithoutPort | Fact::DownstreamLocalPort => {
                self.downstream(|arrived| arrived.local)
            }
            Fact::DownstreamDirectLocalAddress
            | Fact::DownstreamDirectLocalAddressWithoutPort
            | Fact::DownstreamDirectLocalPort => self.downstream(|arrived| arrived.direct_local),
            Fact::DownstreamRemoteAddress | Fact::DownstreamRemoteAddressWithoutPort | Fact::DownstreamRemotePort => {
                self.downstream(|arrived| arrived.peer)
            }
            Fact::DownstreamDirectRemoteAddress
            | Fact::DownstreamDirectRemoteAddressWithoutPort
            | Fact::DownstreamDirectRemotePort => self.downstream(|arrived| arrived.direct_peer),
            Fact::RequestedServerName => {
                text(self.arrived.and_then(|arrived| arrived.server_name.as_deref()).unwrap_or_default())
            }
            Fact::ConnectionId => Value::Number(self.id),
            Fact::UniqueId => self.uuid(),
            Fact::FilterChainName => text(self.chain_name),
            Fact::ListenerName => text(&self.listener.name),
            Fact::AccessLogType => text(self.kind),
            Fact::StreamId
            | Fact::UpstreamTransportFailureReason
            | Fact::UpstreamHost
            | Fact::UpstreamHostName
            | Fact::UpstreamHostNameWithoutPort
            | Fact::UpstreamRemoteAddress
            | Fact::UpstreamRemoteAddressWithoutPort
            | Fact::UpstreamRemotePort
            | Fact::UpstreamLocalAddress
            | Fact::UpstreamLocalAddressWithoutPort
            | Fact::UpstreamLocalPort
            | Fact::UpstreamCluster
            | Fact::UpstreamClusterRaw
            | Fact::UpstreamProtocol
            | Fact::RequestDuration
            | Fact::RequestTxDuration
            | Fact::ResponseDuration
            | Fact::ResponseTxDuration
            | Fact::RouteName
            | Fact::QueryParameters
            | Fact::LocalReplyBody => Value::Absent,
            of_tls => self.arrived.map_or(Value::Absent, |arrived| arrived.tls_value(of_tls)),
        }
    }

    /// The time between two moments, given in nanoseconds from its begin.
    pub(crate) fn between(from: Option<u64>, to: Option<u64>, unit: Unit) -> Value<'t> {
        let (Some(from), Some(to)) = (from, to) else { return Value::Absent };
        let Some(nanos) = to.checked_sub(from) else { return Value::Absent };
        Value::Number(match unit {
            Unit::Milliseconds => nanos / NANOS_PER_MS,
            Unit::Microseconds => nanos / 1_000,
            Unit::Nanoseconds => nanos,
        })
    }
}

impl Values for ToldConnection<'_> {
    fn value(&self, operator: &Operator) -> Value<'_> {
        match operator {
            Operator::Fact(fact) => self.fact(*fact),
            Operator::StartTime(_) => Value::Time(self.wall_nanos.saturating_sub(self.nanos_to(self.now))),
            Operator::EmitTime(_) => Value::Time(self.wall_nanos),
            Operator::Between(from, to, unit) => {
                let nanos = |moment: &Moment| (*moment == Moment::RequestBegan).then_some(0);
                Self::between(nanos(from), nanos(to), *unit)
            }
            Operator::ResponseCodeDetails { .. } => text(self.refusal.map_or("", |refusal| refusal.details)),
            Operator::Header { .. }
            | Operator::QueryParameter(_)
            | Operator::Path { .. }
            | Operator::GrpcStatus(_)
            | Operator::Absent => Value::Absent,
        }
    }
}

const NANOS_PER_MS: u64 = 1_000_000;

fn text(text: &str) -> Value<'_> {
    if text.is_empty() { Value::Absent } else { Value::Text(text.as_bytes()) }
}

fn nanos(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}
