//! The way of a request: its head, what the connection manager makes of it, its virtual host, its route, and what that does with it.

use ringway_model::{
    Action, Caches, CodecType, ForwardAction, Found, HttpConnectionManager, LookUp, RequestView, Route,
    RouteConfiguration, Snapshot, Target, Upgrade, own_location,
};
use ringway_observe::HttpStats;
use ringway_protocols::http1::{Decoded, HeadScan, decode_request};
use ringway_protocols::{Framing, HeadTable, Known, Method, Request};

use super::cluster::{self, Share};
use super::connection::Arrived;
use super::{ClusterStep, End, Question, Step};
use crate::handshake::Handshake;
use crate::prepare::{self, PreparedHead};
use crate::reply::{self, Failure, Local, UPGRADE_REFUSED, UPGRADE_WITH_CONTENT};
use crate::routing::Routed;
use crate::tunnel::{self, Tunnel};
use crate::view::CoreChain;
use crate::{client, hop};

/// The question's request as HTTP/1.1 writes it.
pub(super) fn head(question: &Question) -> Vec<u8> {
    let is_connect = question.method == "CONNECT";
    let target = if is_connect { &question.authority } else { &question.path };
    let mut head = format!("{} {target} HTTP/1.1\r\n", question.method);
    let mut field = |name: &str, value: &str| head.extend([name, ": ", value, "\r\n"]);
    if !question.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        field("host", &question.authority);
    }
    question.fields.iter().for_each(|(name, value)| field(name, value));
    head.push_str("\r\n");
    head.into_bytes()
}

/// Takes a request to its cluster, or to an answer of our own.
pub(super) fn take(
    snapshot: &Snapshot,
    http: &HttpConnectionManager,
    arrived: &Arrived<'_>,
    head: &[u8],
    steps: &mut Vec<Step>,
) -> (Vec<ClusterStep>, End) {
    let codec = (http.codec == CodecType::Http2).then(|| "codec_type HTTP2: it speaks nothing else".to_owned());
    steps.push(Step::new("network filter", format!("http_connection_manager {}", http.stat_prefix), codec));
    let way = Way { snapshot, http, arrived };
    way.take(head, steps).unwrap_or_else(|end| (Vec::new(), end))
}

/// An answer of our own as the end of the way.
fn answered(local: Local<'_>, why: impl Into<String>) -> End {
    let why: String = why.into();
    let why = if why.is_empty() { local.details.to_owned() } else { why };
    End::Answered { status: local.status, flag: local.flag, why }
}

/// What is found out by the way.
type Taken = Result<(Vec<ClusterStep>, End), End>;

struct Way<'s> {
    snapshot: &'s Snapshot,
    http: &'s HttpConnectionManager,
    arrived: &'s Arrived<'s>,
}

impl Way<'_> {
    fn take(&self, head: &[u8], steps: &mut Vec<Step>) -> Taken {
        let (http, rules) = (self.http, &self.http.headers);
        let peer = || self.arrived.peer.map(|peer| peer.ip());
        let refused = |error: ringway_protocols::Error| answered(reply::protocol_error(&error), error.rule.text());
        let mut table = HeadTable::new(http.request_fields_max);
        match decode_request(head, &mut HeadScan::default(), &mut table, &CoreChain::codec_limits(http)) {
            Ok(Decoded::Complete { .. }) => {}
            Ok(Decoded::Partial) => return Err(End::closed("the request has no end")),
            Err(error) => return Err(refused(error)),
        }
        // Counted where nobody looks.
        let stats = HttpStats::default();
        prepare::fields(&http.requests, &mut table, head, &stats)
            .map_err(|rule| refused(ringway_protocols::Error::peer(rule)))?;
        if !http.routes.internal_only.is_empty() {
            prepare::internal_only(http, &mut table, head, |request| client::of_peer(peer, rules, request));
        }
        let mut buffers = PreparedHead::default();
        let local_port = || self.arrived.local.map(|local| local.port());
        let received = table.request(head);
        let (request, prepared) = match http.requests.is_none() {
            true => (received, Ok(false)),
            false => prepare::target(local_port, &http.requests, received, &mut buffers, &stats),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let changed = [("path", received.path(), request.path()), ("host", received.authority(), request.authority())];
        let changed = changed.iter().filter(|(_, before, after)| before != after);
        let changed: Vec<_> = changed.map(|(what, _, after)| format!("{what} becomes {:?}", text(after))).collect();
        if !changed.is_empty() {
            steps.push(Step::new("request", "", changed));
        }
        if prepared.is_ok() && request.has(Known::MaxForwards) && is_last_hop(&request) {
            return Err(answered(reply::last_hop(request.method()), "Max-Forwards is 0"));
        }
        match prepared {
            Ok(false) => {}
            Ok(true) => {
                let why = format!("path_with_escaped_slashes_action: redirected to {:?}", text(request.path()));
                return Err(answered(reply::PATH_REDIRECTED, why));
            }
            Err(local) => return Err(answered(local, "")),
        }
        let client = client::of_peer(peer, rules, &request);
        let scheme = hop::says_scheme(rules, &request).then(|| hop::own_scheme(rules, self.arrived.is_tls)).flatten();
        let keeps_client_cert = hop::keeps_client_cert(rules.client_cert, || self.arrived.shows_certificate);
        let routed = Routed::by(&request, rules, keeps_client_cert, (scheme, client.is_internal));
        self.route(&request, &routed, steps)
    }

    fn route(&self, request: &Request<'_>, routed: &Routed<'_>, steps: &mut Vec<Step>) -> Taken {
        if self.http.lacks_filter {
            let why = "the configuration of an HTTP filter has not come (config_discovery)".to_owned();
            return Err(answered(Failure::NoFilterConfig.local(), why));
        }
        let routes = &self.http.routes;
        steps.push(Step::new("route configuration", &*routes.name, []));
        let Some((host, domain)) = routes.virtual_host(request.authority()) else {
            let authority = String::from_utf8_lossy(request.authority());
            return Err(answered(Failure::NoRoute.local(), format!("no virtual host has a domain for {authority:?}")));
        };
        steps.push(Step::new("virtual host", &*host.name, [format!("domain {:?}", domain.to_string())]));
        let mut caches = Caches::default();
        let has_fraction = |route: &Route| route.rule.conditions.as_ref().is_some_and(|all| all.fraction.is_some());
        let by_chance = host.routes().iter().any(has_fraction);
        let (ways, chance) = ways(routes, routed, by_chance, &mut caches);
        let found = match routes.route(routed, chance, &mut caches) {
            LookUp::Found(found) => found,
            LookUp::RequiresTls => {
                let local = Local { status: 301, flag: None, body: b"", details: "" };
                return Err(answered(local, "require_tls: redirected to https"));
            }
            LookUp::Nothing => {
                let path = String::from_utf8_lossy(request.path());
                let why = format!("none of its {} routes takes {path:?}", host.routes().len());
                return Err(answered(Failure::NoRoute.local(), why));
            }
        };
        let mut notes = vec![format!("{}: {}", found.place(), found.route.rule)];
        if ways.len() > 1 {
            let ways = ways.iter().rev().map(|(way, count)| format!("{way} for {count} of 100"));
            notes.push(format!("by chance (runtime_fraction): {}", ways.collect::<Vec<_>>().join(", ")));
        }
        steps.push(Step::new("route", &*found.route.name, notes));
        let (tunnel, kind) = Tunnel::asked(request);
        if tunnel != Tunnel::Not && !Upgrade::allows(&self.http.upgrades, tunnel::upgrades(&found.route.action), kind) {
            let kind = String::from_utf8_lossy(kind);
            return Err(answered(UPGRADE_REFUSED, format!("upgrade_configs do not allow {kind:?}")));
        }
        let mut filters: Vec<_> = self.http.grpc_stats.iter().map(|_| "grpc_stats".to_owned()).collect();
        filters.extend(self.http.alpn.iter().map(|_| "istio.alpn".to_owned()));
        filters.push("router".into());
        steps.push(Step::new("http filters", filters.join(", "), []));
        match &found.route.action {
            Action::Forward(action) => self.forward(request, routed, (found, action), &mut caches, steps),
            Action::Direct(direct) => {
                let local = Local { status: direct.status, flag: None, body: &direct.body, details: "" };
                let mut location = Vec::new();
                if matches!(direct.status, 201 | 301 | 302 | 303 | 307 | 308) {
                    own_location(routed, &mut location);
                }
                let location = match location.is_empty() {
                    true => String::new(),
                    false => format!(", location {}", String::from_utf8_lossy(&location)),
                };
                Err(answered(local, format!("direct_response: {} bytes of body{location}", direct.body.len())))
            }
            Action::Redirect(redirect) => {
                let local = Local { status: redirect.status, flag: None, body: b"", details: "" };
                let mut location = Vec::new();
                redirect.location(&found.route.rule.path, routed, &mut caches, &mut location);
                Err(answered(local, format!("redirect: location {}", String::from_utf8_lossy(&location))))
            }
        }
    }

    fn forward(
        &self,
        request: &Request<'_>,
        routed: &Routed<'_>,
        (found, action): (Found<'_>, &ForwardAction),
        caches: &mut Caches,
        steps: &mut Vec<Step>,
    ) -> Taken {
        let told = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        if let Some(rewrite) = &action.path {
            let mut path = Vec::new();
            rewrite.apply(&found.route.rule.path, request.path(), &mut caches.regexes, &mut path);
            steps.push(Step::new("rewrite", "", [format!("path becomes {:?}", told(&path))]));
        }
        let (tunnel, _) = Tunnel::asked(request);
        let has_content = !matches!(request.framing(), Framing::None | Framing::Length(0));
        let mut clusters = Vec::new();
        for share in shares(&action.target, self.snapshot, routed) {
            let mut step = cluster::step(self.snapshot, &share, Some(action), self.arrived, |name| {
                routed.values(name).next().map(<[u8]>::to_vec)
            });
            let protocol = share.id.and_then(|id| self.snapshot.clusters.get(id)).map(|cluster| cluster.protocol);
            if let Some(protocol) = protocol {
                if tunnel.is_upgrade() && has_content && protocol.may_be_http2(false) {
                    step.end = answered(UPGRADE_WITH_CONTENT, "");
                } else if tunnel == Tunnel::WebSocket
                    && let Err(local) = Handshake::of(request, false, protocol)
                {
                    step.end = answered(local, "");
                }
            }
            clusters.push(step);
        }
        let end = cluster::end_of(&clusters);
        Ok((clusters, end))
    }
}

/// Where a request goes: one cluster, or each of the weighted ones that has weight.
fn shares(target: &Target, snapshot: &Snapshot, routed: &Routed<'_>) -> Vec<Share> {
    match target {
        Target::Cluster(id) => vec![Share::of(snapshot, *id, None)],
        Target::Header(name) => {
            let value = routed.values(name).next();
            let id = value.and_then(|name| snapshot.clusters.id_of(name));
            let name = value.map_or_else(String::new, |value| String::from_utf8_lossy(value).into_owned());
            vec![Share { id, name, weight: None }]
        }
        Target::Weighted { clusters, total } => clusters
            .iter()
            .filter(|entry| entry.weight > 0)
            .map(|entry| Share::of(snapshot, entry.cluster, Some((entry.weight, *total))))
            .collect(),
    }
}

/// The routes that a request may take by its number of chance (`runtime_fraction`), and how many out of 100 take each; the likeliest is last, with
/// a number that leads there.
fn ways(
    routes: &RouteConfiguration,
    routed: &Routed<'_>,
    by_chance: bool,
    caches: &mut Caches,
) -> (Vec<(String, u32)>, u64) {
    let mut ways: Vec<(String, u32, u64)> = Vec::new();
    for percent in 0..if by_chance { 100 } else { 1 } {
        let chance = percent * PERCENTILE;
        let way = match routes.route(routed, chance, caches) {
            LookUp::Found(found) => found.place(),
            LookUp::RequiresTls | LookUp::Nothing => "no route".into(),
        };
        match ways.iter_mut().find(|(known, ..)| *known == way) {
            Some((_, count, _)) => *count += 1,
            None => ways.push((way, 1, chance)),
        }
    }
    ways.sort_by_key(|(_, count, _)| *count);
    let chance = ways.last().map_or(0, |(.., chance)| *chance);
    (ways.into_iter().map(|(way, count, _)| (way, count)).collect(), chance)
}

/// `n` times this is the number of which a hundredth of all is below the `n`th, by each of the denominators that there are: 100, 10,000 and 1,000,000.
const PERCENTILE: u64 = 10_101;

/// Whether a TRACE or OPTIONS may go no further than here.
fn is_last_hop(request: &Request<'_>) -> bool {
    let value = request.field(Known::MaxForwards).and_then(|value| std::str::from_utf8(value).ok());
    matches!(request.method(), Method::Options | Method::Trace)
        && value.and_then(|value| value.parse::<u32>().ok()) == Some(0)
}
