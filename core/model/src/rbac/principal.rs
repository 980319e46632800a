//! `envoy.config.rbac.v3.Principal`: who asks.

use super::{ConnectionFacts, PeerNames};
use crate::cidr::Cidr;
use crate::{RegexCaches, TextMatcher};

/// One of `Principal.identifier`, of those that a connection can be judged by.
#[derive(Clone, Debug, PartialEq)]
pub enum Principal {
    /// `any`.
    Any,
    /// `and_ids`.
    And(Vec<Principal>),
    /// `or_ids`.
    Or(Vec<Principal>),
    /// `not_id`.
    Not(Box<Principal>),
    /// `authenticated.principal_name`: a URI of the peer's certificate, a DNS name of it, or its subject; as in Envoy any of them will do. `None`: whoever
    /// the TLS context has let in, which is anybody where it asks for no certificate.
    Authenticated(Option<TextMatcher>),
    /// `custom`, of the type `envoy.extensions.rbac.principals.mtls_authenticated.v3.Config`: who showed a certificate that was verified; with a
    /// matcher (`san_matcher` of the type URI), and one of whose URIs is so.
    MtlsAuthenticated(Option<TextMatcher>),
    /// `direct_remote_ip`: the peer's own address.
    DirectRemoteIp(Cidr),
    /// `remote_ip`, and the deprecated `source_ip`: the client's address, which the PROXY protocol may have said.
    RemoteIp(Cidr),
}

impl Principal {
    /// Whether this is who has connected.
    pub(super) fn is(&self, facts: &ConnectionFacts<'_>, caches: &mut RegexCaches) -> bool {
        match self {
            Self::Any => true,
            Self::And(all) => all.iter().all(|one| one.is(facts, caches)),
            Self::Or(all) => all.iter().any(|one| one.is(facts, caches)),
            Self::Not(other) => !other.is(facts, caches),
            Self::Authenticated(None) => facts.peer.is_some(),
            Self::Authenticated(Some(matcher)) => {
                facts.peer.is_some_and(|peer| names(peer).any(|name| matcher.matches(name.as_bytes(), caches)))
            }
            Self::MtlsAuthenticated(uri) => facts.peer.is_some_and(|peer| {
                let mut is_so =
                    |matcher: &TextMatcher| peer.uris.iter().any(|uri| matcher.matches(uri.as_bytes(), caches));
                peer.is_validated && uri.as_ref().is_none_or(&mut is_so)
            }),
            Self::DirectRemoteIp(range) => facts.direct_source.is_some_and(|source| range.contains(source.ip())),
            Self::RemoteIp(range) => facts.source.is_some_and(|source| range.contains(source.ip())),
        }
    }
}

fn names(peer: PeerNames<'_>) -> impl Iterator<Item = &str> {
    peer.uris.iter().chain(peer.dns_names).copied().chain([peer.subject])
}
