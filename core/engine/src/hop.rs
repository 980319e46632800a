//! What this hop does to heads whatever their route: who the client is, the request's id, and the fields that are ours
//! (Envoy, "HTTP header manipulation").
//!
//! The fields are written as lines into a small buffer of the worker's and handed to the encoder whole. Lists that a peer had a say in
//! (x-forwarded-for, via) grow in a block and are looked at by the encoder.

use std::net::IpAddr;
use std::time::Duration;

use ringway_model::{ClientCertRules, ForwardClientCert, HeaderRules, Scheme, ServerHeader, UserAgent};
use ringway_protocols::http1::{HeadEdit, put_number};
use ringway_protocols::{Known, KnownSet, Out, Request, Response, grpc};
use ringway_runtime::{BlockMut, Chunk};

use crate::client::{self, Client};
use crate::connection::Downstream;
use crate::fields::Fields;
use crate::lines::Lines;
use crate::uuid::{UUID_SIZE, uuid_v4};
use crate::worker::Worker;

/// Fields of Envoy's that only a client of ours may send: the router acts on them, or says them itself.
const STRIPPED: &[&[u8]] = &[
    b"x-envoy-internal",
    b"x-envoy-retry-on",
    b"x-envoy-retry-grpc-on",
    b"x-envoy-max-retries",
    b"x-envoy-upstream-alt-stat-name",
    b"x-envoy-upstream-rq-timeout-ms",
    b"x-envoy-upstream-rq-per-try-timeout-ms",
    b"x-envoy-upstream-rq-timeout-alt-response",
    b"x-envoy-upstream-stream-duration-ms",
    b"x-envoy-hedge-on-per-try-timeout",
    b"x-envoy-retriable-status-codes",
    b"x-envoy-retriable-header-names",
    b"x-envoy-expected-rq-timeout-ms",
    b"x-envoy-force-trace",
    b"x-envoy-ip-tags",
    // From here on only what comes from outside: see `EDGE`.
    b"x-envoy-external-address",
    b"x-envoy-decorator-operation",
    b"x-envoy-downstream-service-cluster",
    b"x-envoy-downstream-service-node",
    b"x-envoy-original-path",
    b"x-envoy-original-host",
];
/// What we say of ourselves, where the configuration wants it.
const DOWNSTREAM_CLUSTER: &str = "x-envoy-downstream-service-cluster";
const DOWNSTREAM_NODE: &str = "x-envoy-downstream-service-node";

/// How many of them go where the client is internal, where it is none of both, and where it is an outsider.
const INTERNAL: usize = 13;
const PLAIN: usize = 15;
const EDGE: usize = STRIPPED.len();

/// What is done to a request's head.
pub(crate) struct RequestHop<'r> {
    lines: &'r mut Lines,
    drop: KnownSet,
    strip: &'static [&'static [u8]],
    forwarded_for: Option<BlockMut>,
    via: Option<BlockMut>,
    /// Where among the lines the id is that we gave it.
    id: Option<usize>,
    /// The client may ask for another protocol, and does.
    pub(crate) upgrade: bool,
    /// The client is one of ours.
    pub(crate) is_internal: bool,
    /// What we say of the scheme ourselves.
    pub(crate) scheme: Option<Scheme>,
    /// What a proxy before us said of the client's certificate stays.
    pub(crate) keeps_client_cert: bool,
    /// What we say of it.
    client_cert: Option<BlockMut>,
    /// Who we are, and whether that is the request's user agent, too.
    agent: Option<(&'r UserAgent, bool)>,
    /// A client of ours, which has fields that the router acts on.
    pub(crate) has_orders: bool,
    /// The router says which try it is.
    counts: bool,
}

/// Whether we are the first of ours that a client meets: a trusted hop before us would know better than we do.
#[inline]
fn is_first(rules: &HeaderRules) -> bool {
    rules.use_remote_address && rules.trusted_hops == 0
}

/// Whether it is for us to say by which scheme the client came.
#[inline]
pub(crate) fn says_scheme(rules: &HeaderRules, request: &Request<'_>) -> bool {
    !request.has(Known::XForwardedProto) || is_first(rules) || rules.scheme.is_some()
}

/// What we say then; `None`: that of a plain connection.
#[inline]
pub(crate) fn own_scheme(rules: &HeaderRules, is_tls: bool) -> Option<Scheme> {
    rules.scheme.or(is_tls.then_some(Scheme::Https))
}

/// Whether what a proxy before us said of the client's certificate stays. `shows`: the peer has shown one itself.
#[inline]
pub(crate) fn keeps_client_cert(rules: ClientCertRules, shows: impl FnOnce() -> bool) -> bool {
    match rules.forward {
        ForwardClientCert::AlwaysForwardOnly => true,
        ForwardClientCert::ForwardOnly => shows(),
        _ => false,
    }
}

impl<'r> RequestHop<'r> {
    #[inline(always)] // into both of the two places that make one
    pub(crate) fn new(
        connection: &Downstream,
        rules: &'r HeaderRules,
        request: &Request<'_>,
        lines: &'r mut Lines,
    ) -> Self {
        let worker = &*connection.worker;
        let peer = || connection.addresses().1.map(|peer| peer.ip());
        let client = client::of(connection, rules, request);
        let mut edit = Self {
            lines: lines.cleared(),
            drop: KnownSet::NONE,
            strip: &[],
            forwarded_for: None,
            via: None,
            id: None,
            upgrade: false,
            is_internal: client.is_internal,
            scheme: None,
            keeps_client_cert: false,
            client_cert: None,
            agent: None,
            has_orders: false,
            counts: false,
        };
        if request.has(Known::XEnvoy) {
            edit.has_orders = client.is_internal;
            edit.strip = match client {
                Client { is_internal: true, .. } => &STRIPPED[..INTERNAL],
                Client { is_edge: true, .. } => &STRIPPED[..EDGE],
                _ => &STRIPPED[..PLAIN],
            };
        }
        if rules.use_remote_address
            && !rules.skip_xff_append
            && let Some(peer) = peer()
        {
            edit.drop = edit.drop.with(Known::XForwardedFor);
            let peer = if rules.maps_ipv4 { mapped(peer) } else { peer };
            edit.forwarded_for = Some(forwarded_for(worker, request, peer));
        }
        edit.client_cert(connection, rules.client_cert, request);
        if says_scheme(rules, request) {
            edit.drop = edit.drop.with(Known::XForwardedProto);
            edit.scheme = own_scheme(rules, connection.tls().is_some());
            edit.lines.put(match edit.scheme {
                Some(Scheme::Https) => b"x-forwarded-proto: https\r\n",
                Some(Scheme::Http) | None => b"x-forwarded-proto: http\r\n",
            });
        }
        if rules.append_forwarded_port
            && (!request.has(Known::XForwardedPort) || is_first(rules))
            && let Some(local) = connection.addresses().0
        {
            edit.drop = edit.drop.with(Known::XForwardedPort);
            edit.lines.put(b"x-forwarded-port: ");
            put_number(u64::from(local.port()), edit.lines);
            edit.lines.put(b"\r\n");
        }
        if let Some(agent) = &rules.user_agent {
            let is_named = request.fields_of(Known::UserAgent).next().is_some_and(|agent| !agent.is_empty());
            if !is_named {
                edit.drop = edit.drop.with(Known::UserAgent);
            }
            edit.agent = Some((agent, !is_named));
        }
        if rules.generate_request_id
            && (!request.has(Known::XRequestId) || (client.is_edge && !rules.preserve_external_request_id))
        {
            let id = uuid_v4(worker.chance(), worker.chance());
            edit.drop = edit.drop.with(Known::XRequestId);
            edit.lines.put(b"x-request-id: ");
            edit.id = Some(edit.lines.len());
            edit.lines.put(&id);
            edit.lines.put(b"\r\n");
        }
        if client.is_internal {
            edit.lines.put(b"x-envoy-internal: true\r\n");
        }
        if let (true, Some(address)) = (client.is_edge, client.told) {
            edit.lines.put(b"x-envoy-external-address: ");
            let mut text = [0; ADDRESS_TEXT_MAX];
            edit.lines.put(address_text(address, &mut text));
            edit.lines.put(b"\r\n");
        }
        if !rules.via.is_empty() {
            edit.drop = edit.drop.with(Known::Via);
            edit.via = Some(appended(worker, request.fields_of(Known::Via), b", ", rules.via.as_bytes()));
        }
        edit
    }

    /// Takes one hop off what a TRACE or OPTIONS may still make; an error where this is the last (RFC 9110 §7.6.2). What is no
    /// number is nobody's limit.
    #[cold]
    pub(crate) fn count_down(&mut self, request: &Request<'_>) -> Result<(), ()> {
        let value = request.field(Known::MaxForwards).and_then(|value| std::str::from_utf8(value).ok());
        let Some(left) = value.and_then(|value| value.parse::<u32>().ok()) else { return Ok(()) };
        let left = left.checked_sub(1).ok_or(())?;
        self.drop = self.drop.with(Known::MaxForwards);
        self.lines.put(b"max-forwards: ");
        put_number(u64::from(left), self.lines);
        self.lines.put(b"\r\n");
        Ok(())
    }

    /// `Expect` is ours to answer: it goes no further.
    pub(crate) fn answer_expectation(&mut self) {
        self.drop = self.drop.with(Known::Expect);
    }

    /// Tells the upstream how long the route lets it take.
    pub(crate) fn expect_within(&mut self, worker: &Worker, rules: &HeaderRules, timeout: Option<Duration>) {
        if let (Some(timeout), false) = (timeout, rules.suppress_envoy_headers) {
            self.lines.put(b"x-envoy-expected-rq-timeout-ms: ");
            // Routes share timeouts: most requests have the one that the last had.
            let (known, mut digits, mut size) = worker.timeout_digits.get();
            if known != timeout {
                let mut text = Lines::new();
                put_number(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX), &mut text);
                size = text.len() as u8;
                digits[..text.len()].copy_from_slice(text.get());
                worker.timeout_digits.set((timeout, digits, size));
            }
            self.lines.put(&digits[..usize::from(size)]);
            self.lines.put(b"\r\n");
        }
    }

    /// Tells the upstream how long a call may take, in the place of what the client says. `None`: for ever, which no word is for.
    #[cold]
    pub(crate) fn tell_grpc_timeout(&mut self, timeout: Option<Duration>) {
        let Some(timeout) = timeout else { return };
        self.drop = self.drop.with(Known::GrpcTimeout);
        put_grpc_timeout(timeout, self.lines);
    }

    /// Tells the upstream that this is the first try (Envoy, `include_request_attempt_count`).
    pub(crate) fn count_first(&mut self) {
        self.counts = true;
        self.lines.put(b"x-envoy-attempt-count: 1\r\n");
    }

    /// Puts it into a head that the route changes, too: what it does comes first, and the route sees it.
    pub(crate) fn apply(&self, fields: &mut Fields) {
        self.strip.iter().filter_map(|name| std::str::from_utf8(name).ok()).for_each(|name| fields.remove(name));
        let dropped = Known::ALL.iter().filter(|(known, _)| self.drop.contains(*known));
        dropped.for_each(|(_, name)| fields.remove(name));
        self.lines.each(|name, value| fields.set(name, value));
        let values = [
            ("x-forwarded-for", &self.forwarded_for),
            ("via", &self.via),
            ("x-forwarded-client-cert", &self.client_cert),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                fields.set(name, value);
            }
        }
        for (name, value) in self.agent_fields() {
            fields.set(name, value.as_bytes());
        }
    }

    /// What becomes of x-forwarded-client-cert.
    #[inline]
    fn client_cert(&mut self, connection: &Downstream, rules: ClientCertRules, request: &Request<'_>) {
        use ForwardClientCert::{AppendForward, SanitizeSet};
        if matches!(rules.forward, AppendForward | SanitizeSet) && connection.shows_certificate() {
            return self.tell_client_cert(connection, rules, request);
        }
        self.keeps_client_cert = keeps_client_cert(rules, || connection.shows_certificate());
        if !self.keeps_client_cert {
            self.drop = self.drop.with(Known::XForwardedClientCert);
        }
    }

    #[cold]
    fn tell_client_cert(&mut self, connection: &Downstream, rules: ClientCertRules, request: &Request<'_>) {
        let ours = connection.client_cert(rules.details).unwrap_or_default();
        let received = request.fields_of(Known::XForwardedClientCert);
        let received = received.filter(|_| rules.forward == ForwardClientCert::AppendForward);
        self.client_cert = Some(appended(&connection.worker, received, b",", ours.as_bytes()));
        self.drop = self.drop.with(Known::XForwardedClientCert);
    }

    /// The fields that say who we are.
    fn agent_fields(&self) -> impl Iterator<Item = (&'static str, &'r str)> {
        let fields = self.agent.map(|(agent, is_agent)| {
            [
                (DOWNSTREAM_CLUSTER, Some(&*agent.cluster)),
                ("user-agent", is_agent.then_some(&*agent.cluster)),
                (DOWNSTREAM_NODE, Some(&*agent.node).filter(|node| !node.is_empty())),
            ]
        });
        fields.into_iter().flatten().filter_map(|(name, value)| Some((name, value?)))
    }

    /// Gives the encoder's form of it to `then`.
    #[inline]
    pub(crate) fn with<R>(&self, then: impl FnOnce(&HeadEdit<'_>) -> R) -> R {
        let edit = HeadEdit { remove: self.strip, drop: self.drop, upgrade: self.upgrade, ..HeadEdit::default() };
        let edit = HeadEdit { lines: self.lines.get(), ..edit };
        let is_bare = self.forwarded_for.is_none() && self.via.is_none() && self.client_cert.is_none();
        if is_bare && self.agent.is_none() && !self.counts {
            return then(&edit);
        }
        self.with_more(edit, then)
    }

    /// The same where there are values of which lines are made by the encoder.
    #[inline(never)]
    fn with_more<R>(&self, edit: HeadEdit<'_>, then: impl FnOnce(&HeadEdit<'_>) -> R) -> R {
        let mut add: [(&[u8], &[u8]); 6] = [(b"", b""); 6];
        let mut count = 0;
        let values = [
            (&b"x-forwarded-for"[..], &self.forwarded_for),
            (b"via", &self.via),
            (b"x-forwarded-client-cert", &self.client_cert),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                add[count] = (name, value);
                count += 1;
            }
        }
        for (name, value) in self.agent_fields() {
            add[count] = (name.as_bytes(), value.as_bytes());
            count += 1;
        }
        let mut counted: [&[u8]; EDGE + 1] = [ATTEMPT_COUNT.as_bytes(); EDGE + 1];
        let remove = if self.counts {
            counted[..self.strip.len()].copy_from_slice(self.strip);
            &counted[..=self.strip.len()]
        } else {
            self.strip
        };
        then(&HeadEdit {
            remove,
            removed: match self.agent {
                None => b"",
                Some((agent, _)) if agent.node.is_empty() => DOWNSTREAM_CLUSTER.as_bytes(),
                Some(_) => b"x-envoy-downstream-service-cluster\nx-envoy-downstream-service-node",
            },
            add: &add[..count],
            ..edit
        })
    }

    /// The request's id as the response is to tell it, where it is to.
    pub(crate) fn told_id(&self, worker: &Worker, rules: &HeaderRules, request: &Request<'_>) -> Option<Chunk> {
        if !rules.always_set_request_id {
            return None;
        }
        let received = || request.field(Known::XRequestId);
        self.id.map(|at| &self.lines.get()[at..at + UUID_SIZE]).or_else(received).map(|id| worker.core.chunk(id))
    }
}

/// An IPv4 address as IPv6 writes it (RFC 4291 §2.5.5.2).
fn mapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V6(address.to_ipv6_mapped()),
        IpAddr::V6(_) => address,
    }
}

/// The longest text of an address: eight groups of four digits, and what separates them.
const ADDRESS_TEXT_MAX: usize = 46;

fn address_text(address: IpAddr, text: &mut [u8; ADDRESS_TEXT_MAX]) -> &[u8] {
    use std::io::Write;
    let mut rest = &mut text[..];
    // No address has a longer text.
    let _never = write!(rest, "{address}");
    let left = rest.len();
    &text[..ADDRESS_TEXT_MAX - left]
}

/// All that was received, and the peer behind it.
fn forwarded_for(worker: &Worker, request: &Request<'_>, peer: IpAddr) -> BlockMut {
    let mut text = [0; ADDRESS_TEXT_MAX];
    appended(worker, request.fields_of(Known::XForwardedFor), b",", address_text(peer, &mut text))
}

/// The values of one field as one list, with one more behind them. Envoy joins what it received by bare commas.
fn appended<'v>(
    worker: &Worker,
    values: impl Iterator<Item = &'v [u8]> + Clone,
    before_last: &[u8],
    last: &[u8],
) -> BlockMut {
    let size: usize = values.clone().map(|value| value.len() + 1).sum();
    let mut block = worker.core.block(size + before_last.len() + last.len());
    for value in values {
        if !block.is_empty() {
            block.extend_from_slice(b",");
        }
        block.extend_from_slice(value);
    }
    if !block.is_empty() && !last.is_empty() {
        block.extend_from_slice(before_last);
    }
    block.extend_from_slice(last);
    block
}

/// A name of the server that finds room among the lines; it was looked at when the configuration was read. A longer one is a field
/// like any other.
const SERVER_BYTES_SHORT: usize = 64;

/// What is done to a response's head.
pub(crate) struct ResponseHop<'e> {
    lines: &'e mut Lines,
    drop: KnownSet,
    server: &'e [u8],
    /// Another name of a server may stay.
    server_gives_way: bool,
    /// What the router says itself, first of the lines.
    ours: &'static [&'static [u8]],
    id: Option<&'e [u8]>,
    via: Option<BlockMut>,
}

impl<'e> ResponseHop<'e> {
    /// `service_time` is how long the upstream took, where the request was complete; `attempts` is told where it is to be. A
    /// response that is not final is passed on as it is.
    #[inline(always)] // into both of the two places that make one
    pub(crate) fn new(
        (worker, lines): (&Worker, &'e mut Lines),
        rules: &'e HeaderRules,
        id: Option<&'e Chunk>,
        response: &Response<'_>,
        is_final: bool,
        service_time: Option<Duration>,
        attempts: Option<u32>,
    ) -> Self {
        let mut edit = Self {
            lines: lines.cleared(),
            drop: KnownSet::NONE,
            server: b"",
            server_gives_way: rules.server != ServerHeader::Overwrite,
            ours: &[],
            id: None,
            via: None,
        };
        if !is_final {
            return edit;
        }
        if let (Some(time), false) = (service_time, rules.suppress_envoy_headers) {
            edit.lines.put(b"x-envoy-upstream-service-time: ");
            put_number(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), edit.lines);
            edit.lines.put(b"\r\n");
            edit.ours = &ROUTERS[..1];
        }
        if let Some(attempts) = attempts {
            put_attempts(attempts, edit.lines);
            edit.ours = if edit.ours.is_empty() { &ROUTERS[1..] } else { ROUTERS };
        }
        if !response.has(Known::Date) {
            edit.lines.put(b"date: ");
            edit.lines.put(&worker.date.text(worker.core.now()));
            edit.lines.put(b"\r\n");
        }
        let names_itself = match rules.server {
            ServerHeader::Overwrite => true,
            ServerHeader::AppendIfAbsent => !response.has(Known::Server),
            ServerHeader::PassThrough => false,
        };
        if names_itself {
            edit.drop = edit.drop.with(Known::Server);
            if rules.server_name.len() <= SERVER_BYTES_SHORT {
                edit.lines.put(b"server: ");
                edit.lines.put(rules.server_name.as_bytes());
                edit.lines.put(b"\r\n");
            } else {
                edit.server = rules.server_name.as_bytes();
            }
        }
        if let Some(id) = id {
            edit.drop = edit.drop.with(Known::XRequestId);
            edit.id = Some(id);
        }
        if !rules.via.is_empty() {
            edit.drop = edit.drop.with(Known::Via);
            edit.via = Some(appended(worker, response.fields_of(Known::Via), b", ", rules.via.as_bytes()));
        }
        edit
    }

    /// Puts what the router says into a head that the route changes.
    pub(crate) fn before(&self, fields: &mut Fields) {
        self.lines.each(|name, value| {
            if is_routers(name) {
                fields.set(name, value);
            }
        });
    }

    /// Puts what the connection manager says over what the route has changed.
    pub(crate) fn after(&self, fields: &mut Fields) {
        self.lines.each(|name, value| {
            let is_given = || fields.added(name).next().is_some();
            if !is_routers(name) && !((name == "date" || self.server_gives_way) && is_given()) {
                fields.set(name, value);
            }
        });
        let stays = self.server_gives_way && fields.added("server").next().is_some();
        if !self.server.is_empty() && !stays {
            fields.set("server", self.server);
        }
        if let Some(id) = self.id {
            fields.set("x-request-id", id);
        }
        if let Some(via) = &self.via {
            fields.set("via", via);
        }
    }

    /// Gives the encoder's form of it to `then`. `has_envoy`: the response has a field of Envoy's; `form` is what
    /// the client asks for.
    #[inline]
    pub(crate) fn with<R>(&self, has_envoy: bool, form: HeadEdit<'_>, then: impl FnOnce(&HeadEdit<'_>) -> R) -> R {
        let remove = if has_envoy { self.ours } else { &[] };
        let edit = HeadEdit { remove, drop: self.drop.union(form.drop), lines: self.lines.get(), ..form };
        if self.server.is_empty() && self.id.is_none() && self.via.is_none() {
            return then(&edit);
        }
        self.with_more(edit, then)
    }

    /// The same where there are values of which lines are made by the encoder.
    #[inline(never)]
    fn with_more<R>(&self, edit: HeadEdit<'_>, then: impl FnOnce(&HeadEdit<'_>) -> R) -> R {
        let mut add: [(&[u8], &[u8]); 3] = [(b"", b""); 3];
        let mut count = 0;
        let server = (!self.server.is_empty()).then_some(self.server);
        for (name, value) in [(&b"server"[..], server), (b"x-request-id", self.id), (b"via", self.via.as_deref())] {
            if let Some(value) = value {
                add[count] = (name, value);
                count += 1;
            }
        }
        then(&HeadEdit { add: &add[..count], ..edit })
    }
}

/// Puts the fields of ours over what the route has changed in an answer of our own.
pub(crate) fn end_local(rules: &HeaderRules, id: Option<&Chunk>, fields: &mut Fields) {
    let mut ours: [(&[u8], &[u8]); 3] = [(b"", b""); 3];
    for (name, value) in local_fields(rules, id, &mut ours) {
        let name = std::str::from_utf8(name).unwrap_or_default();
        if rules.server != ServerHeader::AppendIfAbsent || name != "server" || fields.added(name).next().is_none() {
            fields.set(name, value);
        }
    }
}

/// What the router says of how long the upstream took.
const SERVICE_TIME: &str = "x-envoy-upstream-service-time";
/// What the router says of how often the request was sent.
const ATTEMPT_COUNT: &str = "x-envoy-attempt-count";

const ROUTERS: &[&[u8]] = &[SERVICE_TIME.as_bytes(), ATTEMPT_COUNT.as_bytes()];

fn is_routers(name: &str) -> bool {
    name == SERVICE_TIME || name == ATTEMPT_COUNT
}

/// What the router says in an answer of our own in a response's place.
pub(crate) struct RouterFields(Lines);

impl RouterFields {
    /// `why` names the field that says why, where there is one. `attempts` is told where it is to be.
    pub(crate) fn new(why: Option<&'static str>, attempts: Option<u32>) -> Self {
        let mut lines = Lines::new();
        if let Some(why) = why {
            lines.put(why.as_bytes());
            lines.put(b": true\r\n");
        }
        if let Some(attempts) = attempts {
            put_attempts(attempts, &mut lines);
        }
        Self(lines)
    }

    pub(crate) fn lines(&self) -> &[u8] {
        self.0.get()
    }

    /// Puts it into an answer that the route changes.
    pub(crate) fn apply(&self, fields: &mut Fields) {
        self.0.each(|name, value| fields.set(name, value));
    }
}

/// Writes `grpc-timeout`.
pub(crate) fn put_grpc_timeout(timeout: Duration, out: &mut impl Out) {
    out.put(b"grpc-timeout: ");
    out.put(grpc::write_timeout(timeout, &mut [0; grpc::TIMEOUT_BYTES_MAX]));
    out.put(b"\r\n");
}

/// Writes the line that tells how often the request was sent.
pub(crate) fn put_attempts(attempts: u32, out: &mut impl Out) {
    out.put(b"x-envoy-attempt-count: ");
    put_number(u64::from(attempts), out);
    out.put(b"\r\n");
}

/// Fields of ours in an answer of our own; at most three.
pub(crate) fn local_fields<'f>(
    rules: &'f HeaderRules,
    id: Option<&'f Chunk>,
    fields: &'f mut [(&'f [u8], &'f [u8]); 3],
) -> &'f [(&'f [u8], &'f [u8])] {
    let mut count = 0;
    let server = (rules.server != ServerHeader::PassThrough).then_some(rules.server_name.as_bytes());
    let via = (!rules.via.is_empty()).then_some(rules.via.as_bytes());
    for (name, value) in [(&b"server"[..], server), (b"x-request-id", id.map(|id| &id[..])), (b"via", via)] {
        if let Some(value) = value {
            fields[count] = (name, value);
            count += 1;
        }
    }
    &fields[..count]
}
