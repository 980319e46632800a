//! What one exchange remembers for its access logs, and how it answers their operators.
//!
//! Made only where the connection manager has a log, and then from the worker's own store of records. Heads are remembered as they
//! left us (a reference to the very bytes that were sent) and are decoded again when a line is written.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use ringway_model::format::{Fact, HeaderSource, Moment, Operator, PathSource, Unit};
use ringway_model::{Address, Caches, HeaderMatcher, HeaderRules};
use ringway_observe::access_log::grpc_status_of;
use ringway_observe::format::{Value, Values};
use ringway_observe::{ResponseFlag, ResponseFlags};
use ringway_protocols::{Method, Request, Version};
use ringway_runtime::{Chunk, Instant};

use crate::arrived::Arrived;
use crate::client::Client;
use crate::core_cluster::CoreCluster;
use crate::reply::Local;
use crate::routing::{Routed, protocol};
use crate::tls;
use crate::told_heads::ToldHeads;
use crate::uuid::uuid_v4;

/// Moments of an exchange: all of [`Moment`] but `Never`.
const MOMENTS: usize = Moment::Never as usize;
const _: () = assert!(MOMENTS <= u16::BITS as usize, "a bit for each");

/// One exchange, as its logs will tell of it.
pub(crate) struct Record {
    /// The request's first byte was read.
    began: Instant,
    /// When each moment came, if it did.
    moments: [Instant; MOMENTS],
    /// A bit for each moment that has come.
    came: u16,
    /// What the client was told; 0: nothing.
    pub(crate) status: u16,
    pub(crate) flags: ResponseFlags,
    /// Envoy's words for how the response came about.
    pub(crate) details: &'static str,
    /// Why the last connection could not be made.
    pub(crate) transport_failure: &'static str,
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// The request's head as it goes, or would go, to the upstream.
    pub(crate) request: Option<Chunk>,
    /// The response's head as it went to the client; its body may follow in the same bytes.
    pub(crate) response: Option<Chunk>,
    /// The response is our own and has no body: to Envoy's logs it has no length either.
    pub(crate) is_bare: bool,
    /// The route's name, if it has one.
    pub(crate) route: Option<Chunk>,
    pub(crate) cluster: Option<Rc<CoreCluster>>,
    pub(crate) upstream: Option<Address>,
    pub(crate) upstream_local: Option<SocketAddr>,
    /// Which of several addresses of the endpoint the connection leads to.
    pub(crate) upstream_remote: Option<SocketAddr>,
    /// The upstream was asked in HTTP/2.
    pub(crate) upstream_http2: bool,
    /// The `grpc-status` in the response's trailers.
    pub(crate) grpc_status: Option<u32>,
    /// Requests sent, or meant to be sent, to an upstream.
    pub(crate) attempts: u32,
    /// Bytes of the bodies, without framing.
    pub(crate) body_received: u64,
    pub(crate) body_sent: u64,
    /// All bytes to and from the two sides.
    pub(crate) downstream_received: u64,
    pub(crate) downstream_sent: u64,
    pub(crate) upstream_received: u64,
    pub(crate) upstream_sent: u64,
}

impl Record {
    pub(crate) fn new(began: Instant) -> Self {
        let mut record = Self {
            began,
            moments: [began; MOMENTS],
            came: 0,
            status: 0,
            flags: ResponseFlags::NONE,
            details: "",
            transport_failure: "",
            method: Method::Other,
            version: Version::Http11,
            request: None,
            response: None,
            is_bare: false,
            route: None,
            cluster: None,
            upstream: None,
            upstream_remote: None,
            upstream_http2: false,
            upstream_local: None,
            grpc_status: None,
            attempts: 0,
            body_received: 0,
            body_sent: 0,
            downstream_received: 0,
            downstream_sent: 0,
            upstream_received: 0,
            upstream_sent: 0,
        };
        record.mark(Moment::RequestBegan, began);
        record
    }

    /// Takes up a record that was forgotten for another exchange.
    pub(crate) fn begin(&mut self, began: Instant) {
        debug_assert!(self.request.is_none() && self.cluster.is_none(), "it was forgotten");
        self.began = began;
        self.came = 0;
        self.status = 0;
        self.flags = ResponseFlags::NONE;
        self.details = "";
        self.transport_failure = "";
        self.method = Method::Other;
        self.version = Version::Http11;
        self.is_bare = false;
        self.upstream_http2 = false;
        self.grpc_status = None;
        self.attempts = 0;
        self.body_received = 0;
        self.body_sent = 0;
        self.downstream_received = 0;
        self.downstream_sent = 0;
        self.upstream_received = 0;
        self.upstream_sent = 0;
        self.mark(Moment::RequestBegan, began);
    }

    /// Notes that a moment has come; the last time counts for what ends, the first for what begins.
    pub(crate) fn mark(&mut self, moment: Moment, now: Instant) {
        let is_end = matches!(
            moment,
            Moment::RequestEnded
                | Moment::ConnectEnded
                | Moment::SendEnded
                | Moment::ResponseEnded
                | Moment::AnswerEnded
        );
        if is_end || !self.has_come(moment) {
            self.moments[moment as usize] = now;
            self.came |= 1 << moment as u16;
        }
    }

    fn has_come(&self, moment: Moment) -> bool {
        self.came >> moment as u16 & 1 != 0
    }

    /// Notes that the request's last byte went to the upstream, if its first one did.
    pub(crate) fn mark_sent(&mut self, now: Instant) {
        if self.has_come(Moment::SendBegan) {
            self.mark(Moment::SendEnded, now);
        }
    }

    /// Notes an answer of our own and the bytes it took.
    pub(crate) fn local(&mut self, local: &Local<'_>, written: &Chunk, now: Instant) {
        self.status = local.status;
        self.details = local_details(local, self.transport_failure);
        if let Some(flag) = local.flag {
            self.flags.insert(flag);
        }
        self.body_sent = if self.method == Method::Head { 0 } else { local.body.len() as u64 };
        self.downstream_sent += written.len() as u64;
        self.response = Some(written.clone());
        self.is_bare = local.body.is_empty();
        self.mark(Moment::AnswerBegan, now);
        self.mark(Moment::AnswerEnded, now);
    }

    /// Notes that the response broke off after its head was sent.
    pub(crate) fn cut(&mut self, flag: Option<ResponseFlag>, details: &'static str) {
        self.details = match flag {
            _ if !details.is_empty() => details,
            Some(ResponseFlag::UT) => "response_timeout",
            Some(ResponseFlag::UMSDR) => "upstream_max_stream_duration_reached",
            Some(ResponseFlag::SI) => "stream_idle_timeout",
            Some(ResponseFlag::UPE) => "upstream_reset_after_response_started{protocol_error}",
            _ => "upstream_reset_after_response_started{connection_termination}",
        };
        if let Some(flag) = flag {
            self.flags.insert(flag);
        }
    }

    /// Notes that the request is sent once more, to this endpoint: what is told of the upstream is told of the last try.
    pub(crate) fn tried_again(&mut self, attempts: u32, upstream: Address) {
        self.attempts = attempts;
        self.upstream = Some(upstream);
        self.upstream_remote = None;
        self.transport_failure = "";
        for moment in
            [Moment::ConnectBegan, Moment::ConnectEnded, Moment::SendBegan, Moment::SendEnded, Moment::ResponseBegan]
        {
            self.came &= !(1 << moment as u16);
        }
    }

    /// Notes that the client went away before it had its answer.
    pub(crate) fn client_gone(&mut self) {
        self.flags.insert(ResponseFlag::DC);
        self.details = "downstream_remote_disconnect";
    }

    /// Lets go of what it refers to.
    pub(crate) fn forget(&mut self) {
        self.request = None;
        self.response = None;
        self.route = None;
        self.cluster = None;
        self.upstream = None;
        self.upstream_remote = None;
        self.upstream_local = None;
    }

    /// Nanoseconds from the request's first byte to this moment, if it came.
    fn nanos(&self, moment: Moment) -> Option<u64> {
        let at = self.moments.get(moment as usize).filter(|_| self.has_come(moment))?;
        Some(u64::try_from(at.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Envoy's words (`StreamInfo::ResponseCodeDetails`) for an answer of our own.
fn local_details(local: &Local<'_>, transport_failure: &'static str) -> &'static str {
    if !local.details.is_empty() {
        return local.details;
    }
    match local.flag {
        None => "direct_response",
        Some(ResponseFlag::NR) => "route_not_found",
        Some(ResponseFlag::NC) => "cluster_not_found",
        // Envoy has no words for it either.
        Some(ResponseFlag::NFCF) => "",
        Some(ResponseFlag::UH) => "no_healthy_upstream",
        Some(ResponseFlag::UO) => "upstream_reset_before_response_started{overflow}",
        Some(ResponseFlag::UF) => ConnectFailure::details(transport_failure),
        Some(ResponseFlag::UC) => "upstream_reset_before_response_started{connection_termination}",
        Some(ResponseFlag::UPE) => "upstream_reset_before_response_started{protocol_error}",
        Some(ResponseFlag::UT) => "response_timeout",
        Some(ResponseFlag::SI) => "stream_idle_timeout",
        Some(ResponseFlag::DO) => "drop_overload",
        Some(ResponseFlag::UDO) => "unconditional_drop_overload",
        Some(ResponseFlag::DPE) => match local.status {
            426 => "low_version",
            431 => "http1.headers_too_large",
            _ => "http1.codec_error",
        },
        Some(_) => "",
    }
}

/// What is said of a connection that could not be made.
struct ConnectFailure {
    error: std::io::ErrorKind,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`
    reason: &'static str,
    /// `%RESPONSE_CODE_DETAILS%`
    details: &'static str,
}

macro_rules! connect_failures {
    ($($kind:ident = $text:literal,)*) => {
        const CONNECT_FAILURES: &[ConnectFailure] = &[$(ConnectFailure {
            error: std::io::ErrorKind::$kind,
            reason: concat!("delayed_connect_error:_", $text),
            details: concat!(
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_", $text, "}"
            ),
        },)*];
    };
}

// The texts of strerror(3), which Envoy prints with its blanks replaced.
connect_failures! {
    ConnectionRefused = "Connection_refused",
    ConnectionReset = "Connection_reset_by_peer",
    HostUnreachable = "No_route_to_host",
    NetworkUnreachable = "Network_is_unreachable",
    TimedOut = "Connection_timed_out",
    PermissionDenied = "Permission_denied",
    AddrNotAvailable = "Cannot_assign_requested_address",
}

impl ConnectFailure {
    /// Of its reason; an empty one stands for our own `connect_timeout`.
    fn of(reason: &str) -> &'static ConnectFailure {
        const TIMEOUT: ConnectFailure = ConnectFailure {
            error: std::io::ErrorKind::TimedOut,
            reason: "",
            details: "upstream_reset_before_response_started{connection_timeout}",
        };
        CONNECT_FAILURES.iter().find(|failure| failure.reason == reason).unwrap_or(&TIMEOUT)
    }

    /// `%RESPONSE_CODE_DETAILS%`
    fn details(reason: &str) -> &'static str {
        let unsecured = tls::TOLD.iter().find(|told| told.reason == reason);
        unsecured.map_or_else(|| Self::of(reason).details, |told| told.details)
    }
}

/// `%UPSTREAM_TRANSPORT_FAILURE_REASON%` of what the system said to connect(2).
pub(crate) fn transport_failure(kind: std::io::ErrorKind) -> &'static str {
    let failure = CONNECT_FAILURES.iter().find(|failure| failure.error == kind);
    failure.map_or("delayed_connect_error:_Input/output_error", |failure| failure.reason)
}

/// A record about to be written down, with what only then is known.
pub(crate) struct Told<'t> {
    pub(crate) record: &'t Record,
    pub(crate) heads: ToldHeads<'t>,
    /// The whole head of the request, where something looks at it.
    pub(crate) request: Option<Request<'t>>,
    pub(crate) rules: &'t HeaderRules,
    /// Working memory for matchers.
    pub(crate) caches: &'t RefCell<Caches>,
    pub(crate) now: Instant,
    /// Nanoseconds from 1970 to `now`.
    pub(crate) wall_nanos: u64,
    pub(crate) downstream_local: Option<SocketAddr>,
    /// The client: by the PROXY protocol, else the other end.
    pub(crate) downstream_remote: Option<SocketAddr>,
    /// The other end, whatever was said of it.
    pub(crate) downstream_direct: Option<SocketAddr>,
    /// The unix socket that the client came over.
    pub(crate) pipe: Option<&'t str>,
    /// What is known of the connection beside its bytes.
    pub(crate) arrived: &'t Arrived,
    pub(crate) connection_id: u64,
    pub(crate) listener_name: &'t str,
    pub(crate) filter_chain_name: &'t str,
    /// Random bits for `%UNIQUE_ID%`.
    pub(crate) chance: [u64; 2],
    /// The status as digits.
    pub(crate) status_text: [u8; 3],
}

impl<'t> Told<'t> {
    fn response_field(&self, name: &str) -> Option<&[u8]> {
        match name {
            "" => None,
            ":status" => (self.record.status > 0).then_some(&self.status_text[..]),
            "content-length" if self.record.is_bare => None,
            name => self.heads.response_field(name),
        }
    }

    /// The client, as far as those before us can be believed.
    fn remote(&self) -> Option<SocketAddr> {
        let peer = || self.downstream_remote.map(|peer| peer.ip());
        // The head is the one that we sent on: where we named the peer, it is the last, and no more to be believed than we are.
        let rules = self.rules;
        let own = usize::from(rules.use_remote_address && !rules.skip_xff_append && self.downstream_remote.is_some());
        let entries = self.heads.forwarded().flat_map(|list| list.rsplit(|&byte| byte == b',')).skip(own);
        Client::of(rules, entries, peer).address(self.downstream_remote)
    }

    fn path(&self, of: PathSource) -> Option<&[u8]> {
        let original = || self.heads.original_path();
        match of {
            PathSource::Original => original(),
            PathSource::Path => self.heads.request_field(":path"),
            PathSource::Either => original().or_else(|| self.heads.request_field(":path")),
        }
    }

    fn query(&self) -> Option<&[u8]> {
        let path = self.path(PathSource::Path)?;
        let at = path.iter().position(|&byte| byte == b'?')?;
        Some(&path[at + 1..])
    }

    fn since_begin(&self, moment: Moment) -> Value<'_> {
        self.record.nanos(moment).map_or(Value::Absent, |nanos| Value::Number(nanos / NANOS_PER_MS))
    }

    fn between(&self, from: Moment, to: Moment, unit: Unit) -> Value<'_> {
        let (Some(from), Some(to)) = (self.record.nanos(from), self.record.nanos(to)) else { return Value::Absent };
        let Some(nanos) = to.checked_sub(from) else { return Value::Absent };
        Value::Number(match unit {
            Unit::Milliseconds => nanos / NANOS_PER_MS,
            Unit::Microseconds => nanos / 1_000,
            Unit::Nanoseconds => nanos,
        })
    }

    fn grpc_status(&self) -> Value<'_> {
        let content_type = self.heads.request_field("content-type").unwrap_or_default();
        let is_grpc = content_type == b"application/grpc" || content_type.starts_with(b"application/grpc+");
        if !is_grpc {
            return Value::Absent;
        }
        let in_head =
            || self.response_field("grpc-status").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let said = self.record.grpc_status.map(u64::from).or_else(in_head);
        Value::Number(said.unwrap_or_else(|| grpc_status_of(u64::from(self.record.status))))
    }

    fn fact(&self, fact: Fact) -> Value<'_> {
        let record = self.record;
        let text = |text: &'static str| if text.is_empty() { Value::Absent } else { Value::Text(text.as_bytes()) };
        let name = |text: &'_ str| -> Option<usize> { (!text.is_empty()).then_some(text.len()) };
        let absent = self.pipe.map_or(Value::Absent, |path| Value::Pipe(path.as_bytes()));
        let address = |address: Option<SocketAddr>| address.map_or(absent, Value::Address);
        match fact {
            Fact::Protocol => text(protocol(record.version)),
            Fact::UpstreamProtocol if record.has_come(Moment::SendBegan) => {
                text(if record.upstream_http2 { "HTTP/2" } else { "HTTP/1.1" })
            }
            Fact::ResponseCode => Value::Number(u64::from(record.status)),
            Fact::UpstreamTransportFailureReason => text(record.transport_failure),
            Fact::ResponseFlags | Fact::ResponseFlagsLong => Value::Flags(record.flags),
            Fact::BytesReceived => Value::Number(record.body_received),
            Fact::BytesSent => Value::Number(record.body_sent),
            Fact::DownstreamWireBytesReceived => Value::Number(record.downstream_received),
            Fact::DownstreamWireBytesSent => Value::Number(record.downstream_sent),
            Fact::UpstreamWireBytesReceived => Value::Number(record.upstream_received),
            Fact::UpstreamWireBytesSent => Value::Number(record.upstream_sent),
            Fact::Duration => Value::Number(
                u64::try_from(self.now.saturating_duration_since(record.began).as_millis()).unwrap_or(u64::MAX),
            ),
            Fact::RequestDuration => self.since_begin(Moment::RequestEnded),
            Fact::RequestTxDuration => self.since_begin(Moment::SendEnded),
            Fact::ResponseDuration => self.since_begin(Moment::ResponseBegan),
            Fact::ResponseTxDuration => self.between(Moment::ResponseBegan, Moment::AnswerEnded, Unit::Milliseconds),
            Fact::UpstreamRemoteAddress | Fact::UpstreamRemoteAddressWithoutPort | Fact::UpstreamRemotePort
                if record.upstream_remote.is_some() =>
            {
                record.upstream_remote.map_or(Value::Absent, Value::Address)
            }
            Fact::UpstreamHost
            | Fact::UpstreamHostName
            | Fact::UpstreamHostNameWithoutPort
            | Fact::UpstreamRemoteAddress
            | Fact::UpstreamRemoteAddressWithoutPort
            | Fact::UpstreamRemotePort => match &record.upstream {
                None => Value::Absent,
                Some(Address::Ip(address)) => Value::Address(*address),
                Some(Address::Pipe(pipe)) => Value::Pipe(pipe.path.as_bytes()),
            },
            Fact::UpstreamLocalAddress | Fact::UpstreamLocalAddressWithoutPort | Fact::UpstreamLocalPort => {
                record.upstream_local.map_or(Value::Absent, Value::Address)
            }
            Fact::UpstreamCluster => match &record.cluster {
                Some(cluster) => Value::Text(cluster.config.stat_name.as_bytes()),
                None => Value::Absent,
            },
            Fact::UpstreamClusterRaw => match &record.cluster {
                Some(cluster) => Value::Text(cluster.config.name.as_bytes()),
                None => Value::Absent,
            },
            Fact::UpstreamRequestAttemptCount => Value::Number(u64::from(record.attempts)),
            Fact::DownstreamLocalAddress | Fact::DownstreamLocalAddressWithoutPort | Fact::DownstreamLocalPort => {
                address(self.downstream_local)
            }
            Fact::DownstreamDirectLocalAddress
            | Fact::DownstreamDirectLocalAddressWithoutPort
            | Fact::DownstreamDirectLocalPort => address(self.arrived.direct_local),
            Fact::DownstreamRemoteAddress | Fact::DownstreamRemoteAddressWithoutPort | Fact::DownstreamRemotePort => {
                address(self.remote())
            }
            Fact::DownstreamDirectRemoteAddress
            | Fact::DownstreamDirectRemoteAddressWithoutPort
            | Fact::DownstreamDirectRemotePort => address(self.downstream_direct),
            Fact::RequestedServerName => {
                let name = self.arrived.server_name.as_deref();
                name.map_or(Value::Absent, |name| Value::Text(name.as_bytes()))
            }
            Fact::ConnectionId => Value::Number(self.connection_id),
            Fact::StreamId => self.heads.request_field("x-request-id").map_or(Value::Absent, Value::Text),
            Fact::UniqueId => Value::Uuid(uuid_v4(self.chance[0], self.chance[1])),
            Fact::RouteName => record.route.as_ref().map_or(Value::Absent, |name| Value::Text(name)),
            Fact::FilterChainName => {
                name(self.filter_chain_name).map_or(Value::Absent, |_| Value::Text(self.filter_chain_name.as_bytes()))
            }
            Fact::ListenerName => Value::Text(self.listener_name.as_bytes()),
            Fact::QueryParameters => self.query().map_or(Value::Absent, Value::Text),
            // Only a formatter of local replies has it; to a log it is an empty text.
            Fact::LocalReplyBody => Value::Text(b""),
            Fact::AccessLogType => text("DownstreamEnd"),
            Fact::UpstreamProtocol | Fact::ConnectionTerminationDetails => Value::Absent,
            of_tls => self.arrived.tls_value(of_tls),
        }
    }
}

const NANOS_PER_MS: u64 = 1_000_000;

impl Values for Told<'_> {
    fn value(&self, operator: &Operator) -> Value<'_> {
        match operator {
            Operator::Header { of, name, otherwise } => {
                let field = |name: &str| match of {
                    HeaderSource::Request => self.heads.request_field(name),
                    HeaderSource::Response => self.response_field(name),
                };
                field(name).or_else(|| field(otherwise)).map_or(Value::Absent, Value::Text)
            }
            Operator::StartTime(_) => {
                let since = u64::try_from(self.now.saturating_duration_since(self.record.began).as_nanos());
                Value::Time(self.wall_nanos.saturating_sub(since.unwrap_or(u64::MAX)))
            }
            Operator::EmitTime(_) => Value::Time(self.wall_nanos),
            Operator::Between(from, to, unit) => self.between(*from, *to, *unit),
            Operator::QueryParameter(name) => {
                let mut parameters = self.query().unwrap_or_default().split(|&byte| byte == b'&');
                let found = parameters.find_map(|parameter| match parameter.iter().position(|&byte| byte == b'=') {
                    Some(at) if parameter[..at] == *name.as_bytes() => Some(&parameter[at + 1..]),
                    None if parameter == name.as_bytes() => Some(&b""[..]),
                    _ => None,
                });
                found.map_or(Value::Absent, Value::Text)
            }
            Operator::Path { query, of } => match self.path(*of) {
                None => Value::Absent,
                Some(path) if *query => Value::Text(path),
                Some(path) => {
                    let end = path.iter().position(|&byte| byte == b'?').unwrap_or(path.len());
                    Value::Text(&path[..end])
                }
            },
            Operator::GrpcStatus(_) => self.grpc_status(),
            Operator::ResponseCodeDetails { .. } if self.record.details.is_empty() => Value::Absent,
            Operator::ResponseCodeDetails { .. } => Value::Text(self.record.details.as_bytes()),
            Operator::Fact(fact) => self.fact(*fact),
            Operator::Absent => Value::Absent,
        }
    }

    fn request_header(&self, name: &str) -> Option<&[u8]> {
        self.heads.request_field(name)
    }

    fn request_matches(&self, matcher: &HeaderMatcher) -> bool {
        self.request.is_some_and(|request| matcher.matches(&Routed::written(request), &mut self.caches.borrow_mut()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is no reference; naming each field makes the compiler ask for new ones.
    fn shown(record: &Record) -> String {
        let Record {
            began,
            moments,
            came,
            status,
            flags,
            details,
            transport_failure,
            method,
            version,
            request,
            response,
            is_bare,
            route,
            cluster,
            upstream,
            upstream_remote,
            upstream_http2,
            upstream_local,
            grpc_status,
            attempts,
            body_received,
            body_sent,
            downstream_received,
            downstream_sent,
            upstream_received,
            upstream_sent,
        } = record;
        let references =
            (request.is_some(), response.is_some(), route.is_some(), cluster.is_some(), upstream.is_some());
        let addresses = (upstream_remote, upstream_http2, upstream_local);
        let texts =
            (status, flags, details, transport_failure, method, version, is_bare, grpc_status, attempts, addresses);
        let bytes = [body_received, body_sent, downstream_received, downstream_sent, upstream_received, upstream_sent];
        format!("{began:?} {moments:?} {came} {references:?} {texts:?} {bytes:?}")
    }

    /// What one exchange left behind another would tell, or answer: a HEAD's answer has no body.
    #[test]
    fn a_record_taken_up_again_is_a_new_one() {
        let began = Instant::now();
        let later = began + std::time::Duration::from_secs(1);
        let mut record = Record::new(began);
        record.status = 200;
        record.flags.insert(ResponseFlag::UF);
        (record.details, record.transport_failure) = ("details", "failure");
        (record.method, record.version, record.is_bare, record.attempts) = (Method::Head, Version::Http10, true, 2);
        record.grpc_status = Some(5);
        record.upstream_local = Some("127.0.0.1:1".parse().expect("an address"));
        record.upstream_remote = record.upstream_local;
        record.upstream_http2 = true;
        (record.body_received, record.body_sent) = (1, 2);
        (record.downstream_received, record.downstream_sent) = (3, 4);
        (record.upstream_received, record.upstream_sent) = (5, 6);
        record.mark(Moment::SendBegan, later);
        assert_eq!(record.nanos(Moment::SendBegan), Some(1_000_000_000));
        record.forget();
        record.begin(later);
        assert_eq!(record.nanos(Moment::SendBegan), None);
        // The instants of moments that have not come mean nothing.
        record.moments = [later; MOMENTS];
        assert_eq!(shown(&record), shown(&Record::new(later)));
    }
}
