//! Tables: one rule and one connection at a time, then policies.

use super::*;
use crate::cidr::Cidr;
use crate::{Regexes, TextMatcher, TextPattern};

/// A client at 10.1.1.1 behind a proxy at 10.9.9.9, as a workload's sidecar names itself, to 10.0.0.1:8080.
const FACTS: ConnectionFacts<'static> = ConnectionFacts {
    destination: Some(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 8080)),
    source: Some(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 1, 1)), 5000)),
    direct_source: Some(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 9, 9)), 6000)),
    server_name: b"reviews.default",
    peer: Some(PeerNames {
        uris: &["spiffe://cluster.local/ns/a/sa/one", "spiffe://cluster.local/ns/b/sa/two"],
        dns_names: &["one.a.svc"],
        subject: "CN=one,O=a",
        is_validated: true,
    }),
};

/// From and to a unix socket, without TLS.
const PIPE: ConnectionFacts<'static> =
    ConnectionFacts { destination: None, source: None, direct_source: None, server_name: b"", peer: None };

fn range(text: &str, prefix: u32) -> Cidr {
    Cidr::new(text.parse().expect("an address"), prefix)
}

fn text(pattern: TextPattern) -> TextMatcher {
    TextMatcher { pattern, ignore_case: false }
}

fn exact(of: &str) -> TextMatcher {
    text(TextPattern::Exact(of.to_owned()))
}

fn regex(of: &str) -> TextMatcher {
    text(TextPattern::Regex(Regexes::default().whole(of).expect("an expression")))
}

#[test]
fn permissions() {
    use Permission::{And, Any, DestinationIp, DestinationPort, DestinationPorts, Not, Or, ServerName};
    for (permission, holds, of_pipe) in [
        (Any, true, true),
        (DestinationIp(range("10.0.0.0", 24)), true, false),
        (DestinationIp(range("10.0.1.0", 24)), false, false),
        (DestinationIp(range("::", 0)), false, false),
        (DestinationPort(8080), true, false),
        (DestinationPort(8081), false, false),
        (DestinationPorts(8080..8081), true, false),
        (DestinationPorts(8079..8080), false, false),
        (DestinationPorts(0..65_536), true, false),
        (ServerName(exact("reviews.default")), true, false),
        (ServerName(exact("")), false, true),
        (ServerName(text(TextPattern::Suffix(".default".to_owned()))), true, false),
        (ServerName(regex("rev.*")), true, false),
        (Not(Box::new(DestinationPort(8080))), false, true),
        (And(vec![DestinationPort(8080), Any]), true, false),
        (And(vec![DestinationPort(8080), DestinationPort(1)]), false, false),
        (Or(vec![DestinationPort(1), DestinationPort(8080)]), true, false),
        (Or(vec![DestinationPort(1), Not(Box::new(Any))]), false, false),
    ] {
        let of = |facts| permission.holds(facts, &mut RegexCaches::default());
        assert_eq!([of(&FACTS), of(&PIPE)], [holds, of_pipe], "{permission:?}");
    }
}

#[test]
fn principals() {
    use Principal::{And, Any, Authenticated, DirectRemoteIp, Not, Or, RemoteIp};
    for (principal, is, is_pipe) in [
        (Any, true, true),
        (RemoteIp(range("10.1.0.0", 16)), true, false),
        (RemoteIp(range("10.9.0.0", 16)), false, false),
        (DirectRemoteIp(range("10.9.0.0", 16)), true, false),
        (DirectRemoteIp(range("10.1.0.0", 16)), false, false),
        (Authenticated(None), true, false),
        (Authenticated(Some(exact("spiffe://cluster.local/ns/a/sa/one"))), true, false),
        (Authenticated(Some(exact("spiffe://cluster.local/ns/b/sa/two"))), true, false),
        (Authenticated(Some(exact("spiffe://cluster.local/ns/a/sa/on"))), false, false),
        (Authenticated(Some(exact("one.a.svc"))), true, false),
        (Authenticated(Some(exact("CN=one,O=a"))), true, false),
        (Authenticated(Some(exact("one"))), false, false),
        (Authenticated(Some(regex("spiffe://cluster.local/ns/[ab]/.*"))), true, false),
        (Not(Box::new(Authenticated(None))), false, true),
        (And(vec![RemoteIp(range("10.1.1.1", 32)), Authenticated(None)]), true, false),
        (And(vec![RemoteIp(range("10.1.1.2", 32)), Authenticated(None)]), false, false),
        (Or(vec![RemoteIp(range("10.1.1.2", 32)), Any]), true, true),
        (Or(vec![RemoteIp(range("10.1.1.2", 32))]), false, false),
    ] {
        let of = |facts| principal.is(facts, &mut RegexCaches::default());
        assert_eq!([of(&FACTS), of(&PIPE)], [is, is_pipe], "{principal:?}");
    }
    // TLS without a certificate: no name, but let in by the context.
    let anonymous = ConnectionFacts { peer: Some(PeerNames::default()), ..FACTS };
    let of = |principal: Principal| principal.is(&anonymous, &mut RegexCaches::default());
    assert!(of(Authenticated(None)));
    assert!(!of(Authenticated(Some(regex(".+")))));
    // Only what was verified counts there, and only URIs.
    let unverified = FACTS.peer.map(|peer| PeerNames { is_validated: false, ..peer });
    let unverified = ConnectionFacts { peer: unverified, ..FACTS };
    for (uri, is) in [
        (None, true),
        (Some(exact("spiffe://cluster.local/ns/a/sa/one")), true),
        (Some(exact("spiffe://cluster.local/ns/a/sa/on")), false),
        (Some(exact("one.a.svc")), false),
    ] {
        let principal = Principal::MtlsAuthenticated(uri);
        let of = |facts| principal.is(facts, &mut RegexCaches::default());
        assert_eq!([&FACTS, &PIPE, &anonymous, &unverified].map(of), [is, false, false, false], "{principal:?}");
    }
}

fn policy(name: &str, port: u16, source: &str) -> Policy {
    Policy {
        name: name.to_owned(),
        permissions: vec![Permission::DestinationPort(1), Permission::DestinationPort(port)],
        principals: vec![Principal::RemoteIp(range("192.0.2.0", 24)), Principal::RemoteIp(range(source, 32))],
    }
}

#[test]
fn actions_and_policies() {
    let (ours, others, elsewhere) =
        (policy("b ours", 8080, "10.1.1.1"), policy("a others", 8080, "10.1.1.2"), policy("c", 81, "10.1.1.1"));
    let again = Policy { name: "a".to_owned(), ..ours.clone() };
    for (action, policies, allowed, name) in [
        (Action::Allow, vec![], false, None),
        (Action::Deny, vec![], true, None),
        (Action::Log, vec![], true, None),
        (Action::Allow, vec![&ours], true, Some("b ours")),
        (Action::Deny, vec![&ours], false, Some("b ours")),
        (Action::Log, vec![&ours], true, Some("b ours")),
        (Action::Allow, vec![&others, &elsewhere], false, None),
        (Action::Deny, vec![&others, &elsewhere], true, None),
        // By name, whatever the order of the file.
        (Action::Allow, vec![&ours, &elsewhere, &again, &others], true, Some("a")),
    ] {
        let rbac = Rbac::new(action, policies.into_iter().cloned().collect());
        assert_eq!(rbac.decide(&FACTS, &mut RegexCaches::default()), Decision { allowed, policy: name }, "{rbac:?}");
    }
}

#[test]
fn shadow_rules_have_a_say_of_their_own() {
    let rules = |action| Some(Rbac::new(action, vec![policy("p", 8080, "10.1.1.1")]));
    for (enforced, shadow) in [(None, None), (Some(true), Some(false)), (Some(false), None), (None, Some(true))] {
        let of = |allowed| if allowed { Action::Allow } else { Action::Deny };
        let rbac = NetworkRbac {
            stat_prefix: "x".to_owned(),
            rules: enforced.and_then(|allowed| rules(of(allowed))),
            shadow_rules: shadow.and_then(|allowed| rules(of(allowed))),
            delay_deny: None,
        };
        let verdict = rbac.decide(&FACTS, &mut RegexCaches::default());
        let said = |decision: Option<Decision<'_>>| decision.map(|decision| decision.allowed);
        assert_eq!((said(verdict.enforced), said(verdict.shadow)), (enforced, shadow));
    }
}

/// Two expressions in different places have different slots: one cache serves both sets of rules.
#[test]
fn expressions_of_both_sets_share_caches() {
    let mut regexes = Regexes::default();
    let mut named = |pattern: &str| {
        let name =
            TextMatcher { pattern: TextPattern::Regex(regexes.whole(pattern).expect("valid")), ignore_case: false };
        let policy = Policy {
            name: "p".to_owned(),
            permissions: vec![Permission::ServerName(name)],
            principals: vec![Principal::Any],
        };
        Some(Rbac::new(Action::Allow, vec![policy]))
    };
    let rbac = NetworkRbac {
        stat_prefix: String::new(),
        rules: named("reviews[.].*"),
        shadow_rules: named("ratings[.].*"),
        delay_deny: Some(Duration::from_secs(1)),
    };
    let mut caches = RegexCaches::default();
    for _ in 0..2 {
        let verdict = rbac.decide(&FACTS, &mut caches);
        assert_eq!(verdict.enforced, Some(Decision { allowed: true, policy: Some("p") }));
        assert_eq!(verdict.shadow, Some(Decision { allowed: false, policy: None }));
    }
}

#[test]
fn what_a_log_says_of_a_refusal() {
    let of = |policy| Decision { allowed: false, policy }.details();
    assert_eq!(of(Some("ns[a]-policy[b c\td]")), "rbac_access_denied_matched_policy[ns[a]-policy[b_c_d]]");
    assert_eq!(of(None), "rbac_access_denied_matched_policy[none]");
}
