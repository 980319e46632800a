//! What an access log is told of a raw connection, at its end: what is told of any connection, and its upstream.

use std::net::SocketAddr;

use ringway_model::Address;
use ringway_model::format::{Fact, Moment, Operator};
use ringway_observe::format::{Value, Values};

use super::connect::Attempted;
use crate::told_connection::ToldConnection;

/// A connection that can be asked.
pub(super) struct Told<'t> {
    pub(super) connection: ToldConnection<'t>,
    pub(super) tried: &'t Attempted,
    /// Our end of the upstream's connection, where somebody asks.
    pub(super) upstream_local: Option<SocketAddr>,
}

impl Told<'_> {
    /// Nanoseconds from the connection's begin to this moment, if it came.
    fn nanos(&self, moment: Moment) -> Option<u64> {
        let at = match moment {
            Moment::RequestBegan => Some(self.connection.since),
            Moment::ConnectBegan => self.tried.began,
            Moment::ConnectEnded => self.tried.connected,
            _ => None,
        };
        Some(self.connection.nanos_to(at?))
    }

    fn upstream(&self) -> Value<'_> {
        match &self.tried.endpoint {
            None => Value::Absent,
            Some(Address::Ip(address)) => Value::Address(*address),
            Some(Address::Pipe(pipe)) => Value::Pipe(pipe.path.as_bytes()),
        }
    }

    /// What is more than of any connection.
    fn fact(&self, fact: Fact) -> Option<Value<'_>> {
        let [up, down] = self.connection.moved.unwrap_or_default();
        let cluster = self.tried.cluster.as_ref().map(|cluster| &cluster.config);
        Some(match fact {
            Fact::ResponseFlags | Fact::ResponseFlagsLong => Value::Flags(self.tried.flags),
            Fact::DownstreamWireBytesReceived | Fact::UpstreamWireBytesSent => Value::Number(up),
            Fact::DownstreamWireBytesSent | Fact::UpstreamWireBytesReceived => Value::Number(down),
            Fact::UpstreamTransportFailureReason if !self.tried.transport_failure.is_empty() => {
                Value::Text(self.tried.transport_failure.as_bytes())
            }
            Fact::UpstreamHost | Fact::UpstreamHostName | Fact::UpstreamHostNameWithoutPort => self.upstream(),
            Fact::UpstreamRemoteAddress | Fact::UpstreamRemoteAddressWithoutPort | Fact::UpstreamRemotePort => {
                match self.tried.remote {
                    Some(remote) => Value::Address(remote),
                    None if self.tried.connected.is_some() => self.upstream(),
                    None => Value::Absent,
                }
            }
            Fact::UpstreamLocalAddress | Fact::UpstreamLocalAddressWithoutPort | Fact::UpstreamLocalPort => {
                self.upstream_local.map_or(Value::Absent, Value::Address)
            }
            Fact::UpstreamCluster => cluster.map_or(Value::Absent, |cluster| Value::Text(cluster.stat_name.as_bytes())),
            Fact::UpstreamClusterRaw => cluster.map_or(Value::Absent, |cluster| Value::Text(cluster.name.as_bytes())),
            Fact::UpstreamRequestAttemptCount => Value::Number(u64::from(self.tried.attempts)),
            Fact::StreamId => self.connection.uuid(),
            _ => return None,
        })
    }
}

impl Values for Told<'_> {
    fn value(&self, operator: &Operator) -> Value<'_> {
        let own = match operator {
            Operator::Fact(fact) => self.fact(*fact),
            Operator::Between(from, to, unit) => {
                Some(ToldConnection::between(self.nanos(*from), self.nanos(*to), *unit))
            }
            _ => None,
        };
        own.unwrap_or_else(|| self.connection.value(operator))
    }
}
