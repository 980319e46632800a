//! Who may connect: `envoy.config.rbac.v3.RBAC` of a network filter (`envoy.extensions.filters.network.rbac.v3.RBAC`).
//!
//! It never closes a connection and counts nothing: it says what is to be done. Nothing is looked at but what is known of a connection before
//! its first byte of content; rules about requests are for others.
//!
//! Invariant: policies are in the order of their names, as Envoy asks them; the first that matches is the one that is named.

mod permission;
mod principal;

use std::net::SocketAddr;
use std::time::Duration;

use crate::RegexCaches;

pub use permission::Permission;
pub use principal::Principal;

/// `envoy.extensions.filters.network.rbac.v3.RBAC`.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkRbac {
    /// `stat_prefix`: `<prefix>.rbac.`, the dot between them once.
    pub stat_prefix: String,
    /// `rules`. `None`: everybody may.
    pub rules: Option<Rbac>,
    /// `shadow_rules`: what they would have said is counted.
    pub shadow_rules: Option<Rbac>,
    /// `delay_deny`: how long a connection is held before it is closed.
    pub delay_deny: Option<Duration>,
}

/// What both sets of rules say of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'r> {
    /// Of `rules`. `None`: there are none, and the connection is let on.
    pub enforced: Option<Decision<'r>>,
    /// Of `shadow_rules`, if there are any.
    pub shadow: Option<Decision<'r>>,
}

impl NetworkRbac {
    /// What is to be done with a connection. Both sets of rules use one [`crate::Regexes`], and `caches` are those for it.
    pub fn decide(&self, facts: &ConnectionFacts<'_>, caches: &mut RegexCaches) -> Verdict<'_> {
        let shadow = self.shadow_rules.as_ref().map(|rules| rules.decide(facts, caches));
        Verdict { shadow, enforced: self.rules.as_ref().map(|rules| rules.decide(facts, caches)) }
    }
}

/// `envoy.config.rbac.v3.RBAC`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rbac {
    action: Action,
    policies: Vec<Policy>,
}

/// `RBAC.Action`: what is done with whom a policy matches; the opposite is done with everybody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// `ALLOW`
    #[default]
    Allow,
    /// `DENY`
    Deny,
    /// `LOG`: all may, and a match says that it should be logged.
    Log,
}

/// `envoy.config.rbac.v3.Policy`: any of these may do any of those.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its key in `policies`.
    pub name: String,
    /// `permissions`: to what; at least one.
    pub permissions: Vec<Permission>,
    /// `principals`: who; at least one.
    pub principals: Vec<Principal>,
}

/// What is said of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'r> {
    /// It may go on.
    pub allowed: bool,
    /// The policy that matched.
    pub policy: Option<&'r str>,
}

impl Decision<'_> {
    /// What Envoy says of a connection that it closes for this (`%CONNECTION_TERMINATION_DETAILS%`): the policy's name, whose whitespace is
    /// replaced, as it stands between the words of a log.
    pub fn details(&self) -> String {
        let policy = self.policy.unwrap_or("none").replace(|letter: char| letter.is_ascii_whitespace(), "_");
        format!("rbac_access_denied_matched_policy[{policy}]")
    }
}

impl Rbac {
    /// Of policies in any order.
    pub fn new(action: Action, mut policies: Vec<Policy>) -> Self {
        policies.sort_by(|one, other| one.name.cmp(&other.name));
        Self { action, policies }
    }

    /// What is done with whom a policy matches.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The policies, in the order in which they are asked.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// Whether a connection may go on. `caches` are those for the [`crate::Regexes`] of these rules.
    pub fn decide(&self, facts: &ConnectionFacts<'_>, caches: &mut RegexCaches) -> Decision<'_> {
        let policy = self.policies.iter().find(|policy| policy.matches(facts, caches));
        let allowed = match self.action {
            Action::Allow => policy.is_some(),
            Action::Deny => policy.is_none(),
            Action::Log => true,
        };
        Decision { allowed, policy: policy.map(|policy| policy.name.as_str()) }
    }
}

impl Policy {
    fn matches(&self, facts: &ConnectionFacts<'_>, caches: &mut RegexCaches) -> bool {
        self.permissions.iter().any(|permission| permission.holds(facts, caches))
            && self.principals.iter().any(|principal| principal.is(facts, caches))
    }
}

/// What is known of a connection when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionFacts<'a> {
    /// Where the client wanted to go: the original destination, what the PROXY protocol said, else our own address. `None`: a unix socket.
    pub destination: Option<SocketAddr>,
    /// The client: the peer, unless the PROXY protocol has said otherwise. `None`: a unix socket.
    pub source: Option<SocketAddr>,
    /// The peer of the connection.
    pub direct_source: Option<SocketAddr>,
    /// The server name in lower case; empty: none.
    pub server_name: &'a [u8],
    /// Who the peer has shown to be, in TLS. `None`: plaintext. Who showed no certificate has no names.
    pub peer: Option<PeerNames<'a>>,
}

/// The names in a peer's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerNames<'a> {
    /// URIs among its subject alternative names.
    pub uris: &'a [&'a str],
    /// DNS names among them.
    pub dns_names: &'a [&'a str],
    /// The subject, as RFC 2253 writes it.
    pub subject: &'a str,
    /// It showed a certificate, and that was verified.
    pub is_validated: bool,
}

#[cfg(test)]
mod tests;
