//! `envoy.config.rbac.v3.Permission`: what is asked for.

use std::ops::Range;

use super::ConnectionFacts;
use crate::cidr::Cidr;
use crate::{RegexCaches, TextMatcher};

/// One of `Permission.rule`, of those that a connection can be judged by.
#[derive(Clone, Debug, PartialEq)]
pub enum Permission {
    /// `any`.
    Any,
    /// `and_rules`.
    And(Vec<Permission>),
    /// `or_rules`.
    Or(Vec<Permission>),
    /// `not_rule`.
    Not(Box<Permission>),
    /// `destination_ip`.
    DestinationIp(Cidr),
    /// `destination_port`.
    DestinationPort(u16),
    /// `destination_port_range`: its end is not in it, and at most 65,536.
    DestinationPorts(Range<u32>),
    /// `requested_server_name`; without a name it is compared with nothing, which may match.
    ServerName(TextMatcher),
}

impl Permission {
    /// Whether a connection asks for this.
    pub(super) fn holds(&self, facts: &ConnectionFacts<'_>, caches: &mut RegexCaches) -> bool {
        let to = facts.destination;
        match self {
            Self::Any => true,
            Self::And(all) => all.iter().all(|one| one.holds(facts, caches)),
            Self::Or(all) => all.iter().any(|one| one.holds(facts, caches)),
            Self::Not(other) => !other.holds(facts, caches),
            Self::DestinationIp(range) => to.is_some_and(|to| range.contains(to.ip())),
            Self::DestinationPort(port) => to.is_some_and(|to| to.port() == *port),
            Self::DestinationPorts(ports) => to.is_some_and(|to| ports.contains(&to.port().into())),
            Self::ServerName(matcher) => matcher.matches(facts.server_name, caches),
        }
    }
}
