//! The way of a connection: its listener, that which it is handed to, its filter chain, and the network filters before the last.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ringway_model::rbac::{ConnectionFacts, Decision, NetworkRbac, PeerNames};
use ringway_model::{
    Address, ChainFacts, ConnectionFilter, DownstreamTransport, FilterChain, Listener, ListenerFilterKind,
    NetworkFilter, RegexCaches, Snapshot,
};
use ringway_protocols::http_inspector;

use super::{End, Question, Step};

/// A connection that has come to the last filter of its chain.
pub(super) struct Arrived<'s> {
    pub(super) chain: &'s Arc<FilterChain>,
    /// Our end, or where the client wanted to go.
    pub(super) local: Option<SocketAddr>,
    /// The client.
    pub(super) peer: Option<SocketAddr>,
    /// `local` is where the client wanted to go.
    pub(super) is_restored: bool,
    pub(super) is_tls: bool,
    /// The client has shown a certificate.
    pub(super) shows_certificate: bool,
}

impl Arrived<'_> {
    /// Where the client wanted to go, if that is known.
    pub(super) fn restored(&self) -> Option<SocketAddr> {
        self.local.filter(|_| self.is_restored)
    }
}

/// What is known of a connection before it has a chain.
struct Seen {
    /// Our end of it.
    own: Option<SocketAddr>,
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    direct_peer: Option<SocketAddr>,
    is_restored: bool,
    is_tls: bool,
    server_name: String,
    protocols: Vec<String>,
}

/// Takes a connection to the last filter of its chain, or says where it ends.
///
/// # Errors
/// Nobody can say which listener is meant.
pub(super) fn arrive<'s>(
    (snapshot, bound): (&'s Snapshot, &[(String, Vec<Address>)]),
    question: &Question,
    head: &[u8],
    steps: &mut Vec<Step>,
) -> Result<Result<Arrived<'s>, End>, String> {
    let Some((mut listener, why)) = listener(snapshot, bound, question)? else {
        let at = question.destination.map_or_else(String::new, |address| format!(" at {address}"));
        return Ok(Err(End::closed(format!("no listener{at}: the connection is refused"))));
    };
    let mut seen = Seen::new(listener, bound, question);
    steps.push(Step::new("connection", "", [seen.told(question)]));
    steps.push(Step::new("listener", &*listener.name, [why]));
    seen.inspect(listener, question, head, steps);
    let next = seen.local.filter(|_| seen.is_restored && listener.hands_off);
    let next = next.and_then(|destination| snapshot.listener_at(destination));
    if let Some(next) = next.filter(|next| next.id != listener.id) {
        listener = next;
        let to = seen.local.map_or_else(String::new, |local| local.to_string());
        steps.push(Step::new("listener", &*listener.name, [format!("use_original_dst: it is that of {to}")]));
        seen.inspect(listener, question, head, steps);
    }
    let facts = ChainFacts {
        destination: seen.local,
        server_name: seen.server_name.as_bytes(),
        transport_protocol: if seen.is_tls { "tls" } else { "raw_buffer" },
        direct_source: seen.direct_peer,
        source: seen.peer,
    };
    let Some(chain) = listener.chain_for(&facts, seen.protocols.iter().map(String::as_bytes)) else {
        let why = format!("no filter chain takes it ({}), and there is no default one", facts_told(&facts, &seen));
        return Ok(Err(End::closed(why)));
    };
    let is_default = listener.default_chain.as_ref().is_some_and(|default| Arc::ptr_eq(default, chain));
    let why = match chain.matches.to_string() {
        _ if is_default => "default_filter_chain: no other takes it".to_owned(),
        all if all.is_empty() => "it takes what no other says more exactly".to_owned(),
        matches => matches,
    };
    steps.push(Step::new("filter chain", &*chain.name, [why]));
    Ok(filters(chain, seen, question, steps))
}

/// The listener that the client connects to, and why it is that one.
fn listener<'s>(
    snapshot: &'s Snapshot,
    bound: &[(String, Vec<Address>)],
    question: &Question,
) -> Result<Option<(&'s Arc<Listener>, String)>, String> {
    let named = |name: &str| snapshot.listeners.iter().find(|listener| listener.name == name);
    let addresses = |name: &str| addresses(bound, name).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(name) = &question.listener {
        let Some(listener) = named(name) else { return Err(format!("no listener {name:?} is in force")) };
        let at = addresses(name);
        let why =
            if at.is_empty() { "as asked for; it binds no address".into() } else { format!("as asked for: {at}") };
        return Ok(Some((listener, why)));
    }
    let ips = || bound.iter().flat_map(|(name, all)| all.iter().filter_map(move |at| Some((name, at.ip()?))));
    if let Some(to) = question.destination {
        let takes = |at: SocketAddr, name: &str| {
            let takes_ipv4 = || named(name).is_some_and(|of| of.addresses.iter().any(|at| at.socket.takes_ipv4));
            let is_family = at.is_ipv4() == to.is_ipv4() || (to.is_ipv4() && takes_ipv4());
            at.port() == to.port() && at.ip().is_unspecified() && is_family
        };
        let found = ips().find(|(_, at)| *at == to).or_else(|| ips().find(|(name, at)| takes(*at, name)));
        return Ok(found.and_then(|(name, at)| Some((named(name)?, format!("it listens at {at}")))));
    }
    let mut by_port: Vec<_> = ips().filter(|(_, at)| Some(at.port()) == question.port).collect();
    by_port.dedup_by(|one, other| one.0 == other.0);
    match &by_port[..] {
        [(name, at)] => Ok(named(name).map(|listener| (listener, format!("the one listener at this port: {at}")))),
        [] => match &snapshot.listeners[..] {
            [] => Ok(None),
            [only] => Ok(Some((only, format!("the only listener: {}", addresses(&only.name))))),
            all => {
                Err(format!("no listener has the URL's port, and it is not said which is meant: {}", names(all.iter())))
            }
        },
        several => Err(format!(
            "several listeners have the URL's port, and it is not said which is meant: {}",
            names(several.iter().filter_map(|(name, _)| named(name)))
        )),
    }
}

/// Names that an error lists; more would hide what it says.
const NAMES_MAX: usize = 20;

fn names<'l>(listeners: impl Iterator<Item = &'l Arc<Listener>>) -> String {
    let mut names: Vec<_> = listeners.map(|listener| format!("{:?}", listener.name)).take(NAMES_MAX + 1).collect();
    if names.len() > NAMES_MAX {
        names[NAMES_MAX] = "...".into();
    }
    names.join(", ")
}

/// Where a listener listens.
fn addresses<'b>(bound: &'b [(String, Vec<Address>)], name: &str) -> impl Iterator<Item = &'b Address> {
    bound.iter().find(|(of, _)| of == name).into_iter().flat_map(|(_, addresses)| addresses)
}

impl Seen {
    fn new(listener: &Listener, bound: &[(String, Vec<Address>)], question: &Question) -> Self {
        let first = addresses(bound, &listener.name).next().unwrap_or(&listener.addresses[0].address);
        // Whoever connects to any of our addresses, and does not say from where, is on this host.
        let own = question.destination.or_else(|| first.ip().map(reachable));
        let peer = question.source.or_else(|| own.map(|own| SocketAddr::new(loopback(own.ip()), 0)));
        let direct_peer = question.direct_source.or(peer);
        Self {
            own,
            local: own,
            peer: direct_peer,
            direct_peer,
            is_restored: false,
            is_tls: false,
            server_name: String::new(),
            protocols: Vec::new(),
        }
    }

    fn told(&self, question: &Question) -> String {
        let end = |address: Option<SocketAddr>, is_said: bool| match address {
            None => "a unix socket".to_owned(),
            Some(address) if is_said => address.to_string(),
            Some(address) => format!("{address} (assumed)"),
        };
        let from = end(self.peer, question.direct_source.or(question.source).is_some());
        let to = end(self.own, question.destination.is_some());
        let tls = if question.is_tls { "in TLS" } else { "in plaintext" };
        let peer = match &question.peer {
            Some(_) => ", with a certificate",
            None if question.is_tls => ", without a certificate",
            None => "",
        };
        format!("from {from} to {to}, {tls}{peer}")
    }

    /// What the listener's filters find out.
    fn inspect(&mut self, listener: &Listener, question: &Question, head: &[u8], steps: &mut Vec<Step>) {
        for filter in &listener.inspects.filters {
            if !filter.applies(self.local.map_or(0, |local| local.port())) {
                continue;
            }
            let (name, note) = match &filter.kind {
                ListenerFilterKind::OriginalDst => {
                    let original = question.original_destination.filter(|original| Some(*original) != self.own);
                    if let Some(original) = original {
                        (self.local, self.is_restored) = (Some(original), true);
                    }
                    let note = original.map_or("it was not redirected".into(), |to| format!("it wanted to go to {to}"));
                    ("original_dst", note)
                }
                ListenerFilterKind::TlsInspector { .. } if question.is_tls => {
                    self.is_tls = true;
                    self.server_name = question.server_name.to_ascii_lowercase();
                    self.protocols.clone_from(&question.protocols);
                    let note = format!("server name {:?}, ALPN {}", self.server_name, self.protocols.join(", "));
                    ("tls_inspector", note)
                }
                ListenerFilterKind::TlsInspector { .. } => ("tls_inspector", "no TLS".to_owned()),
                // Within TLS there is nothing to see.
                ListenerFilterKind::HttpInspector if self.is_tls => continue,
                ListenerFilterKind::HttpInspector => {
                    let bytes = if question.is_tls { TLS_RECORD } else { head };
                    let protocol = http_inspector::detect(bytes, bytes.len() + 1).application_protocol();
                    self.protocols = protocol.iter().map(|name| (*name).to_owned()).collect();
                    ("http_inspector", protocol.map_or("no HTTP".into(), |name| format!("protocol {name}")))
                }
                ListenerFilterKind::ProxyProtocol(_) => {
                    let said = question.source.filter(|source| Some(*source) != self.direct_peer);
                    self.peer = said.or(self.peer);
                    if let Some(original) = question.original_destination {
                        (self.local, self.is_restored) = (Some(original), Some(original) != self.own);
                    }
                    (
                        "proxy_protocol",
                        said.map_or("no word of another client".into(), |of| format!("it speaks for {of}")),
                    )
                }
            };
            steps.push(Step::new("listener filter", name, [note]));
        }
    }
}

/// How TLS begins (RFC 8446 §5.1).
const TLS_RECORD: &[u8] = &[22, 3, 1];

/// What a connection was that no chain takes.
fn facts_told(facts: &ChainFacts<'_>, seen: &Seen) -> String {
    let end = |address: Option<SocketAddr>| address.map_or("a unix socket".to_owned(), |address| address.to_string());
    format!(
        "destination {}, server name {:?}, transport protocol {}, application protocols {:?}, source {}",
        end(facts.destination),
        seen.server_name,
        facts.transport_protocol,
        seen.protocols,
        end(facts.source)
    )
}

/// The network filters but for the last, and TLS between them.
fn filters<'s>(
    chain: &'s Arc<FilterChain>,
    seen: Seen,
    question: &Question,
    steps: &mut Vec<Step>,
) -> Result<Arrived<'s>, End> {
    for filter in &chain.before {
        let (name, note) = match filter {
            ConnectionFilter::ConnectionLimit(limit) => (
                format!("connection_limit {}", limit.stat_prefix),
                format!("at most {} at once", limit.connections_max),
            ),
            ConnectionFilter::LocalRateLimit(limit) => {
                let bucket = limit.bucket;
                let note = format!(
                    "{} each {:?}, at most {}",
                    bucket.tokens_per_fill, bucket.fill_interval, bucket.tokens_max
                );
                (format!("local_ratelimit {}", limit.stat_prefix), note)
            }
            ConnectionFilter::Rbac(_) => continue,
        };
        steps.push(Step::new("network filter", name, [format!("{note}; not judged here")]));
    }
    let is_raw = matches!(chain.filter, NetworkFilter::Tcp(_));
    let is_tls = match &chain.transport {
        DownstreamTransport::Raw if question.is_tls && !is_raw => {
            return Err(End::closed("the client speaks TLS, and this chain plaintext"));
        }
        DownstreamTransport::Raw => false,
        DownstreamTransport::Tls(_) if !question.is_tls => {
            return Err(End::closed("the chain speaks TLS, and the client plaintext"));
        }
        DownstreamTransport::Tls(tls) if tls.requires_sni && question.server_name.is_empty() => {
            return Err(End::closed("require_sni: the client names no server"));
        }
        DownstreamTransport::Tls(_) => {
            steps.push(Step::new("transport socket", "tls", ["the handshake is taken to succeed".to_owned()]));
            true
        }
    };
    let server_name = if is_tls { question.server_name.to_ascii_lowercase() } else { seen.server_name.clone() };
    for filter in &chain.before {
        let ConnectionFilter::Rbac(rbac) = filter else { continue };
        let (note, denied) = judge(rbac, &seen, &server_name, question.peer.as_ref().filter(|_| is_tls), is_tls);
        steps.push(Step::new("network filter", format!("rbac {}", rbac.stat_prefix), note));
        if let Some(details) = denied {
            return Err(End::Closed { why: details });
        }
    }
    let Seen { local, peer, is_restored, .. } = seen;
    let shows_certificate = is_tls && question.peer.is_some();
    Ok(Arrived { chain, local, peer, is_restored, is_tls, shows_certificate })
}

/// What the rules of one filter say, in words, and the details of a connection that they close.
fn judge(
    rbac: &NetworkRbac,
    seen: &Seen,
    server_name: &str,
    peer: Option<&super::Peer>,
    is_tls: bool,
) -> (Vec<String>, Option<String>) {
    let list = |all: Option<&Vec<String>>| all.into_iter().flatten().cloned().collect::<Vec<String>>();
    let (uris, dns_names) = (list(peer.map(|peer| &peer.uris)), list(peer.map(|peer| &peer.dns_names)));
    let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
    let dns_names: Vec<&str> = dns_names.iter().map(String::as_str).collect();
    let subject = peer.map_or("", |peer| &peer.subject);
    let names = PeerNames { uris: &uris, dns_names: &dns_names, subject, is_validated: peer.is_some() };
    let facts = ConnectionFacts {
        destination: seen.local,
        source: seen.peer,
        direct_source: seen.direct_peer,
        server_name: server_name.as_bytes(),
        peer: is_tls.then_some(names),
    };
    let verdict = rbac.decide(&facts, &mut RegexCaches::default());
    let told = |what: &str, decision: Decision<'_>| {
        let policy = decision.policy.map_or("no policy matches".into(), |name| format!("policy {name:?} matches"));
        format!("{what}: {}: {policy}", if decision.allowed { "allowed" } else { "denied" })
    };
    let notes = [("rules", verdict.enforced), ("shadow_rules", verdict.shadow)];
    let notes = notes.into_iter().filter_map(|(what, decision)| Some(told(what, decision?))).collect();
    let denied = verdict.enforced.filter(|decision| !decision.allowed);
    let details = denied.map(|decision| decision.details());
    (notes, details)
}

/// Where a client reaches who listens at any address.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { SocketAddr::new(loopback(address.ip()), address.port()) } else { address }
}

fn loopback(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}
