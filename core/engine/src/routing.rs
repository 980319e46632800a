//! From a received head to where it goes: the look-up, what the route changes on the way up, and its answers.
//!
//! The look-up is the model's; what it found is carried out here, in one call without waiting.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_model::format::{Fact, HeaderSource, Operator, PathSource};
use ringway_model::{
    Action, Caches, ForwardAction, Found, HashValues, Hashed, HeaderMutation, HeaderRules, HostRewrite, LookUp,
    Position, Priority, RequestView, RetryRules, Scheme, Target, Upgrade, WeightedCluster, is_from_https, own_location,
    query_parameter, without_query,
};
use ringway_observe::GrpcStats;
use ringway_observe::format::Value;
use ringway_protocols::http1::{HeadEdit, encode_request, is_authority, is_path, request_head_size};
use ringway_protocols::{Framing, Known, KnownSet, Method, Request, Version, is_same_name};
use ringway_runtime::Chunk;

use crate::balance;
use crate::client::{self, Client};
use crate::connection::Downstream;
use crate::core_cluster::CoreCluster;
use crate::fields::{Facts, Fields};
use crate::grpc_stats;
use crate::grpc_timeout::{self, Told};
use crate::handshake::Handshake;
use crate::hash_policy;
use crate::hop::{self, RequestHop};
use crate::original_dst;
use crate::outbox::{Outbox, Spelling};
use crate::pool::EndpointPool;
use crate::reply::{Failure, Local, UPGRADE_REFUSED, UPGRADE_WITH_CONTENT};
use crate::response_edit::ResponseEdit;
use crate::retry::{DEFAULT_RULES, Retry};
use crate::tunnel::{self, Tunnel};
use crate::view::{CoreChain, View};
use crate::worker::Worker;
use crate::written::{Form, Written};

/// A decoded request, for the model's look-ups.
#[derive(Clone, Copy)]
pub(crate) struct Routed<'a> {
    request: Request<'a>,
    /// Fields that are taken off whatever the route, so that none sees them. x-forwarded-proto is another proxy's word: a client's at the
    /// edge counts for nothing, it would pass by `require_tls`.
    hidden: KnownSet,
    /// What we say of the scheme ourselves.
    scheme: Option<Scheme>,
    is_internal: bool,
}

impl<'a> Routed<'a> {
    /// A request as a client sent it.
    #[inline]
    fn received(request: &Request<'a>, chain: &CoreChain, hop: &RequestHop<'_>) -> Self {
        Self::by(request, &chain.http.headers, hop.keeps_client_cert, (hop.scheme, hop.is_internal))
    }

    /// The same by what is known of its client: whether another proxy's word on its certificate stays, what we say of the scheme, and whether it is
    /// one of ours.
    #[inline]
    pub(crate) fn by(
        request: &Request<'a>,
        rules: &HeaderRules,
        keeps_client_cert: bool,
        (scheme, is_internal): (Option<Scheme>, bool),
    ) -> Self {
        let is_trusted = (!rules.use_remote_address || rules.trusted_hops > 0) && rules.scheme.is_none();
        let mut hidden = if is_trusted { KnownSet::NONE } else { KnownSet::NONE.with(Known::XForwardedProto) };
        if !keeps_client_cert {
            hidden = hidden.with(Known::XForwardedClientCert);
        }
        Self { request: *request, hidden, scheme, is_internal }
    }

    /// A request as we send it on.
    pub(crate) fn written(request: Request<'a>) -> Self {
        Self { request, hidden: KnownSet::NONE, scheme: None, is_internal: false }
    }
}

impl RequestView for Routed<'_> {
    fn method(&self) -> &[u8] {
        self.request.method_str()
    }

    fn authority(&self) -> &[u8] {
        self.request.authority()
    }

    fn path(&self) -> &[u8] {
        self.request.path()
    }

    /// The target's own; else what a proxy before us says; else that of the connection. (Envoy, `:scheme`.)
    fn scheme(&self) -> &[u8] {
        if let Some(scheme) = self.scheme {
            return scheme.as_str().as_bytes();
        }
        if self.request.version() == Version::Http2 {
            return if self.request.is_https() { b"https" } else { b"http" };
        }
        let target = self.request.target();
        let begins =
            |scheme: &str| target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme.as_bytes()));
        if begins("https://") || !begins("http://") && is_from_https(self) { b"https" } else { b"http" }
    }

    fn values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
        let ours = self.scheme.filter(|_| name == "x-forwarded-proto").map(|scheme| scheme.as_str().as_bytes());
        let fields = self.request.fields().filter(|field| !self.hidden.contains(field.known));
        let named = fields.filter(move |field| is_same_name(field.name, name.as_bytes()));
        ours.into_iter().chain(named.map(|field| field.value))
    }

    fn is_internal(&self) -> bool {
        self.is_internal
    }
}

/// What of a route is needed until the response has ended.
pub(crate) struct Forward {
    /// Where the route stands in the chain's configuration.
    pub(crate) position: Position,
    pub(crate) priority: Priority,
    pub(crate) cluster: Rc<CoreCluster>,
    /// The request's head, for the upstream.
    pub(crate) head: Chunk,
    /// The endpoint, where the head depends on it; else it is picked when it is needed.
    pub(crate) endpoint: Option<Rc<EndpointPool>>,
    pub(crate) timeout: Option<Duration>,
    /// In the place of the connection manager's.
    pub(crate) stream_idle: Option<Option<Duration>>,
    pub(crate) max_duration: Option<Duration>,
    /// What is changed in the response's head.
    pub(crate) response: Option<ResponseEdit>,
    pub(crate) tunnel: Tunnel,
    pub(crate) handshake: Handshake,
    /// The scheme that an upstream of HTTP/2 is told.
    pub(crate) is_https: bool,
    /// Where there are rules for tries.
    pub(crate) retry: Option<Box<Retry>>,
    /// Where the call is counted, if it is one.
    pub(crate) grpc: Option<Arc<GrpcStats>>,
}

/// An answer of our own.
pub(crate) struct Answer<'c> {
    pub(crate) local: Local<'c>,
    /// The worker's [`Fields`] hold its fields, `Content-Type` among them.
    pub(crate) edited: bool,
    /// The name of the route, if there is one.
    pub(crate) route: &'c str,
}

impl<'c> From<Local<'c>> for Answer<'c> {
    fn from(local: Local<'c>) -> Self {
        Self { local, edited: false, route: "" }
    }
}

/// Buffers of a worker for what is rewritten, kept from one head to the next.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    pub(crate) path: Vec<u8>,
    host: Vec<u8>,
    pub(crate) hashed: HashValues,
}

/// Where a request goes: to a cluster of this generation, or to an answer of our own.
pub(crate) fn route<'c>(
    connection: &Downstream,
    view: &View,
    chain: &'c Rc<CoreChain>,
    request: &Request<'_>,
    hop: &mut RequestHop<'_>,
) -> Result<Forward, Answer<'c>> {
    if chain.http.lacks_filter {
        return Err(Failure::NoFilterConfig.local().into());
    }
    let chance = connection.worker.chance();
    let caches = &mut *chain.caches.borrow_mut();
    let found = match chain.http.routes.route(&Routed::received(request, chain, hop), chance, caches) {
        LookUp::Found(found) => found,
        LookUp::RequiresTls => {
            let local = Local { status: 301, flag: None, body: b"", details: "" };
            let url = [b"https://", request.authority(), request.path()];
            return Err(sent_to(&connection.worker, chain, request, hop, local, &url));
        }
        LookUp::Nothing => return Err(Failure::NoRoute.local().into()),
    };
    let (mut tunnel, kind) = Tunnel::asked(request);
    if tunnel != Tunnel::Not {
        if !Upgrade::allows(&chain.http.upgrades, tunnel::upgrades(&found.route.action), kind) {
            chain.stats.downstream_rq_ws_on_non_ws_route.add(1);
            return Err(Answer { route: &found.route.name, ..UPGRADE_REFUSED.into() });
        }
        chain.stats.downstream_cx_upgrades_total.add(1);
        hop.upgrade = tunnel.is_upgrade();
        tunnel = tunnel.on(&found.route.action);
    }
    let taken = Taken { connection, request, chain, found, tunnel };
    match &found.route.action {
        Action::Forward(forward) => taken.forward(view, forward, chance, caches, hop),
        Action::Direct(direct) => {
            let local = Local { status: direct.status, flag: None, body: &direct.body, details: "" };
            // Envoy says of a 201 or 3xx where it is, also where that is the request's own URL.
            let says_where = matches!(direct.status, 201 | 301 | 302 | 303 | 307 | 308);
            let location = |out: &mut Vec<u8>| own_location(&Routed::received(request, chain, hop), out);
            Err(taken.answer(local, None, says_where.then_some(location), hop))
        }
        Action::Redirect(redirect) => {
            let local = Local { status: redirect.status, flag: None, body: b"", details: "" };
            let matched = &found.route.rule.path;
            let location =
                |out: &mut Vec<u8>| redirect.location(matched, &Routed::received(request, chain, hop), caches, out);
            Err(taken.answer(local, None, Some(location), hop))
        }
    }
}

/// Sends a client elsewhere before any route is taken. `url` is written as one.
pub(crate) fn sent_to(
    worker: &Worker,
    chain: &CoreChain,
    request: &Request<'_>,
    hop: &RequestHop<'_>,
    local: Local<'static>,
    url: &[&[u8]],
) -> Answer<'static> {
    let value = &mut worker.rewritten.borrow_mut().path;
    value.clear();
    url.iter().for_each(|part| value.extend_from_slice(part));
    let fields = &mut *worker.fields.borrow_mut();
    fields.clear();
    fields.add("location", value);
    let rules = &chain.http.headers;
    hop::end_local(rules, hop.told_id(worker, rules, request).as_ref(), fields);
    fields.end_local(false);
    Answer { local, edited: true, route: "" }
}

/// A request and the route that it takes.
struct Taken<'r, 'c> {
    connection: &'r Downstream,
    request: &'r Request<'r>,
    chain: &'c Rc<CoreChain>,
    found: Found<'c>,
    tunnel: Tunnel,
}

impl<'c> Taken<'_, 'c> {
    /// An answer of our own with what the route changes in it. `location` writes where the client is sent.
    fn answer(
        &self,
        local: Local<'c>,
        weighted: Option<&'c WeightedCluster>,
        location: Option<impl FnOnce(&mut Vec<u8>)>,
        hop: &RequestHop<'_>,
    ) -> Answer<'c> {
        if location.is_none() && self.found.mutations(weighted).next().is_none() {
            return Answer { local, edited: false, route: &self.found.route.name };
        }
        let worker = &*self.connection.worker;
        let fields = &mut *worker.fields.borrow_mut();
        fields.clear();
        if let Some(write) = location {
            let value = &mut worker.rewritten.borrow_mut().path;
            value.clear();
            write(value);
            fields.add("location", value);
        }
        // Envoy evaluates before the answer has a status, and says 0.
        let facts = RequestFacts::new(self.connection, self.request, &self.found, None, Some(0));
        self.found.mutations(weighted).for_each(|level| fields.apply(&level.response, &facts));
        let rules = &self.chain.http.headers;
        hop::end_local(rules, hop.told_id(worker, rules, self.request).as_ref(), fields);
        fields.end_local(!local.body.is_empty());
        Answer { local, edited: true, route: &self.found.route.name }
    }

    fn forward(
        &self,
        view: &View,
        action: &'c ForwardAction,
        chance: u64,
        caches: &mut Caches,
        hop: &mut RequestHop<'_>,
    ) -> Result<Forward, Answer<'c>> {
        let (worker, request) = (&*self.connection.worker, self.request);
        let picked = action.target.pick(chance);
        let weighted = picked.map(|(_, weighted)| weighted);
        let id = match (&action.target, weighted) {
            (_, Some(weighted)) => Some(weighted.cluster),
            (Target::Cluster(id), None) => Some(*id),
            (Target::Header(name), None) => Routed::received(request, self.chain, hop)
                .values(name)
                .next()
                .and_then(|name| view.snapshot.clusters.id_of(name)),
            (Target::Weighted { .. }, None) => unreachable!("one of them is picked"),
        };
        let Some(cluster) = id.and_then(|id| view.cluster(id)).map(Rc::clone) else {
            let local = Local { status: action.not_found_status, ..Failure::NoCluster.local() };
            return Err(self.answer(local, weighted, None::<fn(&mut Vec<u8>)>, hop));
        };
        if self.tunnel.is_upgrade()
            && !matches!(request.framing(), Framing::None | Framing::Length(0))
            && cluster.config.protocol.may_be_http2(self.connection.stream.is_http2())
        {
            return Err(self.answer(UPGRADE_WITH_CONTENT, weighted, None::<fn(&mut Vec<u8>)>, hop));
        }
        let handshake = match self.tunnel {
            Tunnel::WebSocket => Handshake::of(request, self.connection.stream.is_http2(), cluster.config.protocol)
                .map_err(|local| self.answer(local, weighted, None::<fn(&mut Vec<u8>)>, hop))?,
            _ => Handshake::Passed,
        };
        let hashed = match cluster.config.balancer.config().policy.is_by_hash() {
            true => {
                let received = Routed::received(request, self.chain, hop);
                let asked = (request, &received);
                Some(hash_policy::hashed((self.connection, self.chain), action, asked, caches, hop))
            }
            false => None,
        };
        let picked_at = match (hashed, &action.host) {
            (Some(Hashed { hash, .. }), _) => balance::pick_by(worker, &cluster, hash, 0),
            (None, Some(HostRewrite::Endpoint)) => balance::pick(worker, &cluster),
            (None, _) => None,
        };
        let endpoint = match &cluster.config.original_dst {
            None => picked_at.map(|at| Rc::clone(cluster.pool(at))),
            Some(config) => {
                let routed = Routed::received(request, self.chain, hop);
                let told = config.header.as_deref().and_then(|name| routed.values(name).next());
                original_dst::endpoint(worker, &cluster, told, self.connection.restored())
            }
        };
        let changes = self.found.mutations(weighted).next().is_some()
            || action.path.is_some()
            || action.host.is_some()
            || weighted.is_some_and(|weighted| weighted.host.is_some());
        let times =
            grpc_timeout::times(action, self.chain.http.max_stream_duration, request, self.connection.is_grpc.get());
        let (mut retry, timeout) = match &action.retry {
            None if !hop.has_orders => {
                hop.expect_within(worker, &self.chain.http.headers, times.timeout);
                (None, times.timeout)
            }
            rules => {
                let rules = rules.as_deref().unwrap_or(&DEFAULT_RULES);
                self.plan(rules, times.timeout, caches, hop)
            }
        };
        if let (Some(retry), Some(hashed)) = (&mut retry, hashed) {
            retry.hash = hashed.hash;
        }
        match times.told {
            Told::AsReceived => {}
            Told::Duration(duration) => hop.tell_grpc_timeout(Some(duration)),
            Told::Try => {
                let one = retry.as_ref().map_or(timeout, |retry| retry.expected(timeout, Duration::ZERO));
                hop.tell_grpc_timeout(one);
            }
        }
        let grpc = match &self.chain.http.grpc_stats {
            Some(rules) if self.connection.is_grpc.get() => {
                grpc_stats::of(rules, &cluster.state.breakers.stats, request.path())
            }
            _ => None,
        };
        let protocol = cluster.config.protocol;
        let from_http2 = self.connection.stream.is_http2();
        let to_http2 = protocol.is_http2(from_http2);
        let is_https =
            protocol.may_be_http2(from_http2) && Routed::received(request, self.chain, hop).scheme() == b"https";
        let head = if changes {
            let hostname = picked_at.map(|at| cluster.config.endpoints[at].hostname.as_str());
            self.rewrite(&cluster, weighted, (action, hostname), caches, hop)?
        } else {
            hop.with(|edit| write_request(worker, request, edit, self.spelling(&cluster), to_http2))
        };
        let weighted_at = picked.map(|(position, _)| position as u32);
        let response =
            changes && self.found.mutations(weighted).any(|level| level.response != HeaderMutation::default());
        let cookies = hashed.map_or(0, |hashed| hashed.given);
        let response = (response || cookies != 0)
            .then(|| ResponseEdit::new(self.chain, self.found.position, weighted_at, head.clone(), cookies));
        Ok(Forward {
            position: self.found.position,
            priority: action.priority,
            endpoint,
            cluster,
            head,
            timeout,
            stream_idle: action.idle_timeout,
            max_duration: times.max_duration,
            response,
            tunnel: self.tunnel,
            handshake,
            is_https,
            retry,
            grpc,
        })
    }

    /// What the route and the client say of tries, and how long the whole may take.
    #[inline(never)]
    fn plan(
        &self,
        rules: &RetryRules,
        timeout: Option<Duration>,
        caches: &mut Caches,
        hop: &mut RequestHop,
    ) -> (Option<Box<Retry>>, Option<Duration>) {
        let (worker, headers) = (&*self.connection.worker, &self.chain.http.headers);
        let request = Routed::received(self.request, self.chain, hop);
        let orders = (hop.has_orders, headers.respect_expected_timeout);
        let (retry, timeout) = Retry::plan((&worker.retries, &worker.core), rules, timeout, &request, orders, caches);
        hop.expect_within(worker, headers, retry.expected(timeout, Duration::ZERO));
        if rules.counts_in_request {
            hop.count_first();
        }
        (Some(retry), timeout)
    }

    #[inline]
    fn spelling(&self, cluster: &CoreCluster) -> Spelling {
        Spelling::of(&self.chain.http.http1, &cluster.config.http1)
    }

    /// The request's head with all that the route changes: fields, then the host, then the path (Envoy,
    /// `finalizeRequestHeaders`).
    fn rewrite(
        &self,
        cluster: &CoreCluster,
        weighted: Option<&WeightedCluster>,
        (action, hostname): (&ForwardAction, Option<&str>),
        caches: &mut Caches,
        hop: &RequestHop<'_>,
    ) -> Result<Chunk, Answer<'static>> {
        let (worker, request) = (&*self.connection.worker, self.request);
        let facts = &RequestFacts::new(self.connection, request, &self.found, Some(cluster), None);
        let regexes = &mut caches.regexes;
        let fields = &mut *worker.fields.borrow_mut();
        fields.clear();
        hop.apply(fields);
        self.found.mutations(weighted).for_each(|level| fields.apply(&level.request, facts));
        let rewritten = &mut *worker.rewritten.borrow_mut();
        rewritten.host.clear();
        let mut edit = HeadEdit { upgrade: hop.upgrade, ..HeadEdit::default() };
        // A weighted cluster's host is what the route's own rewrite then finds as the host.
        let inner = match weighted.and_then(|weighted| weighted.host.as_ref()) {
            Some(HostRewrite::Literal(host)) => Some(host.as_bytes()),
            _ => None,
        };
        let before = inner.unwrap_or(request.authority());
        let first = |name: &str| fields.first(facts, name);
        let host = action.host.as_ref();
        if host.is_some_and(|host| host.apply(request.path(), first, hostname, regexes, &mut rewritten.host)) {
            if action.append_x_forwarded_host {
                forwarded_host(fields, request, before, &mut rewritten.path);
            }
            fields.set("x-envoy-original-host", before);
            edit.authority = Some(&rewritten.host);
        } else {
            edit.authority = inner;
        }
        // A CONNECT has none.
        if let (Some(path), false) = (&action.path, request.path().is_empty()) {
            rewritten.path.clear();
            path.apply(&self.found.route.rule.path, request.path(), regexes, &mut rewritten.path);
            fields.set("x-envoy-original-path", request.path());
            edit.path = Some(&rewritten.path);
        }
        // A client can have had a say in both.
        if !edit.authority.is_none_or(is_authority) || !edit.path.is_none_or(is_path) {
            return Err(Failure::Rewrite.local().into());
        }
        fields.write_lines();
        let edit = HeadEdit { removed: fields.removed(), lines: fields.lines(), ..edit };
        let to_http2 = cluster.config.protocol.is_http2(self.connection.stream.is_http2());
        Ok(write_request(worker, request, &edit, self.spelling(cluster), to_http2))
    }
}

/// The request's head for an upstream.
pub(crate) fn write_request(
    worker: &Worker,
    request: &Request<'_>,
    edit: &HeadEdit<'_>,
    spelling: Spelling,
    to_http2: bool,
) -> Chunk {
    // As Envoy: who has no body says so, but for methods that seldom have one (RFC 9110 §8.6 asks for it with POST and PUT).
    let framing = match (request.framing(), request.method()) {
        (Framing::None, Method::Get | Method::Head | Method::Delete | Method::Connect | Method::Trace) => Framing::None,
        // In HTTP/2 the end of the stream says it.
        (Framing::None, _) if !edit.upgrade && !to_http2 => Framing::Length(0),
        // A stream of HTTP/2 that does not say how long it will be.
        (Framing::UntilClose, _) => Framing::Chunked,
        (framing, _) => framing,
    };
    let form = Form::of(request.id(), (framing, false), edit, spelling);
    Written::or(&worker.request_written, form, edit.lines, || {
        let mut out = Outbox::new(&worker.core, request_head_size(request, edit));
        encode_request(request, framing, edit, &mut out);
        out.finish_spelled(spelling, request.fields().map(|field| field.name))
    })
}

/// Keeps the received host in x-forwarded-host, unless it stands there last already.
fn forwarded_host(fields: &mut Fields, request: &Request<'_>, host: &[u8], value: &mut Vec<u8>) {
    const NAME: &str = "x-forwarded-host";
    value.clear();
    let received = request.fields().filter(|field| field.known == Known::XForwardedHost && !fields.is_removed(NAME));
    for before in received.map(|field| field.value).chain(fields.added(NAME)).filter(|before| !before.is_empty()) {
        value.extend_from_slice(before);
        value.push(b',');
    }
    let last = value.strip_suffix(b",").and_then(|before| before.rsplit(|&byte| byte == b',').next());
    if last != Some(host) {
        value.extend_from_slice(host);
        fields.set(NAME, value);
    }
}

/// What is known of a request while its own head is changed, or that of an answer of our own.
struct RequestFacts<'a> {
    connection: &'a Downstream,
    request: &'a Request<'a>,
    route: &'a str,
    cluster: Option<&'a CoreCluster>,
    /// Of the answer that is written; `None`: the request's own head is.
    status: Option<u16>,
}

impl<'a> RequestFacts<'a> {
    fn new(
        connection: &'a Downstream,
        request: &'a Request<'a>,
        found: &Found<'a>,
        cluster: Option<&'a CoreCluster>,
        status: Option<u16>,
    ) -> Self {
        Self { connection, request, route: &found.route.name, cluster, status }
    }

    /// A field of the request, or a pseudo-field, by its name in lower case.
    fn of_request<'v>(&'v self, name: &str, fields: &'v Fields) -> Option<&'v [u8]> {
        match name {
            ":method" => Some(self.request.method_str()),
            ":path" => Some(self.request.path()).filter(|path| !path.is_empty()),
            ":authority" | "host" => Some(self.request.authority()),
            ":scheme" if self.of_request("x-forwarded-proto", fields) == Some(b"https") => Some(b"https"),
            ":scheme" => Some(b"http"),
            // The answer's fields stand in `fields`, not the request's.
            name if self.status.is_some() => self.request.field_named(name.as_bytes()),
            name => fields.first(self, name),
        }
    }
}

impl Facts for RequestFacts<'_> {
    fn received(&self, name: &str) -> Option<&[u8]> {
        match self.status {
            Some(_) => None,
            None => self.request.field_named(name.as_bytes()),
        }
    }

    fn value<'v>(&'v self, operator: &Operator, fields: &'v Fields) -> Value<'v> {
        let text = |text: Option<&'v [u8]>| text.map_or(Value::Absent, Value::Text);
        match operator {
            Operator::Header { of: HeaderSource::Request, name, otherwise } => {
                text(self.of_request(name, fields).or_else(|| self.of_request(otherwise, fields)))
            }
            Operator::Header { of: HeaderSource::Response, name, otherwise } => {
                text(fields.first(self, name).or_else(|| fields.first(self, otherwise)))
            }
            // Asked of what was received: the head that is being written may name the peer by now, or not.
            Operator::Fact(
                Fact::DownstreamRemoteAddress | Fact::DownstreamRemoteAddressWithoutPort | Fact::DownstreamRemotePort,
            ) if self.connection.addresses().1.is_some() => {
                let (view, peer) =
                    (self.connection.worker.view_for(self.connection.key), self.connection.addresses().1);
                let chain = view.chain(self.connection.listener, self.connection.chain);
                let rules = &chain.expect("a connection's view has its chain").http.headers;
                let client = Client::of(rules, client::forwarded(self.request), || peer.map(|peer| peer.ip()));
                client.address(peer).map_or(Value::Absent, Value::Address)
            }
            operator => {
                let field = |name: &str| self.of_request(name, fields);
                of_exchange(operator, self.connection, field, self.route, self.cluster, self.status)
            }
        }
    }
}

/// The word of a version.
pub(crate) fn protocol(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::Http2 => "HTTP/2",
    }
}

/// Who the client is by a head that we wrote: `last_first` are its values of x-forwarded-for. What it says ends with the peer, where we
/// have put it there.
pub(crate) fn remote_address<'v, 'h>(
    connection: &'v Downstream,
    last_first: impl Iterator<Item = &'h [u8]>,
) -> Value<'v> {
    let view = connection.worker.view_for(connection.key);
    let chain = view.chain(connection.listener, connection.chain).expect("a connection's view has its chain");
    let rules = &chain.http.headers;
    let peer = connection.addresses().1;
    let own = usize::from(rules.use_remote_address && !rules.skip_xff_append && peer.is_some());
    let told = last_first.flat_map(|list| list.rsplit(|&byte| byte == b',')).skip(own);
    let absent = || connection.pipe().map_or(Value::Absent, |path| Value::Pipe(path.as_bytes()));
    Client::of(rules, told, || peer.map(|peer| peer.ip())).address(peer).map_or_else(absent, Value::Address)
}

/// What an operator says that asks for no header. `field` gives the request's fields and pseudo-fields.
pub(crate) fn of_exchange<'v>(
    operator: &Operator,
    connection: &'v Downstream,
    field: impl Fn(&str) -> Option<&'v [u8]>,
    route: &'v str,
    cluster: Option<&'v CoreCluster>,
    status: Option<u16>,
) -> Value<'v> {
    let worker = &connection.worker;
    let absent = || connection.pipe().map_or(Value::Absent, |path| Value::Pipe(path.as_bytes()));
    let address = |address: Option<SocketAddr>| address.map_or_else(absent, Value::Address);
    let bytes = |text: Option<&'v [u8]>| text.map_or(Value::Absent, Value::Text);
    let text = |text: &'v str| if text.is_empty() { Value::Absent } else { Value::Text(text.as_bytes()) };
    match operator {
        Operator::Path { query, of } => {
            let original = || field("x-envoy-original-path");
            let path = match of {
                PathSource::Original => original(),
                PathSource::Path => field(":path"),
                PathSource::Either => original().or_else(|| field(":path")),
            };
            bytes(if *query { path } else { path.map(without_query) })
        }
        Operator::QueryParameter(name) => bytes(field(":path").and_then(|path| query_parameter(path, name.as_bytes()))),
        Operator::StartTime(_) => Value::Time(worker.date.nanos(connection.began.get())),
        Operator::Fact(Fact::Protocol) => Value::Text(protocol(connection.version.get()).as_bytes()),
        Operator::Fact(Fact::RouteName) => text(route),
        Operator::Fact(Fact::UpstreamCluster) => {
            cluster.map_or(Value::Absent, |cluster| text(&cluster.config.stat_name))
        }
        Operator::Fact(Fact::UpstreamClusterRaw) => cluster.map_or(Value::Absent, |cluster| text(&cluster.config.name)),
        Operator::Fact(Fact::ResponseCode) => status.map_or(Value::Absent, |status| Value::Number(u64::from(status))),
        Operator::Fact(
            Fact::DownstreamRemoteAddress | Fact::DownstreamRemoteAddressWithoutPort | Fact::DownstreamRemotePort,
        ) => remote_address(connection, field("x-forwarded-for").into_iter()),
        Operator::Fact(
            Fact::DownstreamDirectRemoteAddress
            | Fact::DownstreamDirectRemoteAddressWithoutPort
            | Fact::DownstreamDirectRemotePort,
        ) => address(connection.arrived().direct_peer),
        Operator::Fact(
            Fact::DownstreamLocalAddress | Fact::DownstreamLocalAddressWithoutPort | Fact::DownstreamLocalPort,
        ) => address(connection.addresses().0),
        // The translation has refused what else there is.
        _ => Value::Absent,
    }
}
