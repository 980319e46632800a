//! What looks at a connection before anything is decided about it: `envoy.config.listener.v3.ListenerFilter`.

use std::time::Duration;

use crate::PassedTlvs;

/// The listener filters of a listener, and how long they may take.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerFilters {
    /// In the order of the file.
    pub filters: Vec<ListenerFilter>,
    /// `listener_filters_timeout`. Envoy: 15 s; `None` (0 in the file): no bound.
    pub timeout: Option<Duration>,
    /// `continue_on_listener_filters_timeout`: a client that said nothing in time is not sent away.
    pub continues_on_timeout: bool,
}

impl Default for ListenerFilters {
    fn default() -> Self {
        Self { filters: Vec::new(), timeout: Some(Duration::from_secs(15)), continues_on_timeout: false }
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerFilter {
    /// What it does.
    pub kind: ListenerFilterKind,
    /// `filter_disabled`: connections that it leaves alone.
    pub disabled: Option<DestinationPredicate>,
}

/// What a listener filter does.
#[derive(Clone, Debug, PartialEq)]
pub enum ListenerFilterKind {
    /// `envoy.filters.listener.original_dst`: asks the kernel where the client wanted to go.
    OriginalDst,
    /// `envoy.filters.listener.tls_inspector`: the server name and the protocols of a ClientHello.
    TlsInspector {
        /// `max_client_hello_size`, in bytes. Envoy: 16 KiB, and no more.
        client_hello_bytes_max: usize,
    },
    /// `envoy.filters.listener.http_inspector`: whether it is HTTP, and which.
    HttpInspector,
    /// `envoy.filters.listener.proxy_protocol`: who the client is, by the word of the proxy before us.
    ProxyProtocol(ProxyProtocolIn),
}

/// `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocolIn {
    /// `allow_requests_without_proxy_protocol`.
    pub is_optional: bool,
    /// `disallowed_versions` has V1.
    pub refuses_v1: bool,
    /// `disallowed_versions` has V2.
    pub refuses_v2: bool,
    /// `stat_prefix`: `proxy_proto.<prefix>.`; empty: `proxy_proto.`.
    pub stat_prefix: String,
    /// `pass_through_tlvs`: which are kept for upstreams.
    pub kept: PassedTlvs,
}

/// `ListenerFilterChainMatchPredicate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationPredicate {
    /// `any_match`.
    Any,
    /// `not_match`.
    Not(Box<DestinationPredicate>),
    /// `or_match`.
    Or(Vec<DestinationPredicate>),
    /// `and_match`.
    And(Vec<DestinationPredicate>),
    /// `destination_port_range`: from the first to before the second.
    Ports(u32, u32),
}

impl DestinationPredicate {
    /// Whether it holds for a connection to this port.
    pub fn holds(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Not(inner) => !inner.holds(port),
            Self::Or(all) => all.iter().any(|one| one.holds(port)),
            Self::And(all) => all.iter().all(|one| one.holds(port)),
            Self::Ports(start, end) => (*start..*end).contains(&u32::from(port)),
        }
    }
}

impl ListenerFilter {
    /// Whether it looks at a connection to this port.
    pub fn applies(&self, port: u16) -> bool {
        self.disabled.as_ref().is_none_or(|disabled| !disabled.holds(port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DestinationPredicate::{And, Any, Not, Or, Ports};

    #[test]
    fn ranges_are_half_open_and_predicates_nest() {
        for (predicate, port, holds) in [
            (Any, 1, true),
            (Ports(80, 81), 80, true),
            (Ports(80, 81), 81, false),
            (Not(Box::new(Ports(80, 81))), 81, true),
            (Or(vec![Ports(1, 2), Ports(9, 10)]), 9, true),
            (And(vec![Ports(1, 5), Ports(4, 10)]), 4, true),
            (And(vec![Ports(1, 5), Ports(4, 10)]), 5, false),
            (Ports(0, 65536), 65535, true),
        ] {
            assert_eq!(predicate.holds(port), holds, "{predicate:?} {port}");
            let filter = ListenerFilter { kind: ListenerFilterKind::OriginalDst, disabled: Some(predicate) };
            assert_eq!(filter.applies(port), !holds);
        }
    }
}
