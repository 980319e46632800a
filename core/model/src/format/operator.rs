//! The operators of a format string: Envoy's names and arguments as data.
//!
//! It knows what is asked for and where Envoy takes no argument or length; what the answer is, the data side knows.
//! Names: Envoy, "Substitution formatting", command operators.

use super::Surroundings;
use super::time::TimeFormat;

/// What stands between two `%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `%REQ(X?Y)%`, `%RESP(X?Y)%`: the first field of this name, else of the other one.
    Header {
        /// Where it is looked for.
        of: HeaderSource,
        /// In lower case; `:method`, `:path`, `:authority`, `:scheme` and `:status` stand for the start line.
        name: String,
        /// The same, looked for where the first is missing; empty: none.
        otherwise: String,
    },
    /// `%START_TIME(format)%`: when the request's first byte was read.
    StartTime(TimeFormat),
    /// `%EMIT_TIME(format)%`: when the text is made.
    EmitTime(TimeFormat),
    /// `%COMMON_DURATION(from:to:unit)%`.
    Between(Moment, Moment, Unit),
    /// `%QUERY_PARAM(name)%`: the first value, as it stands.
    QueryParameter(String),
    /// `%PATH(WQ|NQ:ORIG|PATH|ORIG_OR_PATH)%`.
    Path {
        /// `WQ`: with the query.
        query: bool,
        /// Of which header.
        of: PathSource,
    },
    /// `%GRPC_STATUS(form)%`, `%GRPC_STATUS_NUMBER%`.
    GrpcStatus(GrpcForm),
    /// `%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%`; without the argument blanks become `_`.
    ResponseCodeDetails {
        /// `ALLOW_WHITESPACES`.
        blanks: bool,
    },
    /// All that take no argument.
    Fact(Fact),
    /// What no exchange here has: TLS, filters' state, spans. Envoy says the same of an exchange without them.
    Absent,
}

/// Where a header is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderSource {
    /// The request as it goes to the upstream.
    Request,
    /// The response as it goes to the client.
    Response,
}

/// Of which header `%PATH%` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathSource {
    /// `x-envoy-original-path`.
    Original,
    /// `:path`.
    Path,
    /// The first that is there.
    Either,
}

/// How a gRPC status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcForm {
    /// `NotFound`
    Camel,
    /// `NOT_FOUND`
    Snake,
    /// `5`
    Number,
}

/// The unit of a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// A moment of an exchange (Envoy, `COMMON_DURATION`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// `DS_RX_BEG`: the request's first byte was read.
    RequestBegan,
    /// `DS_RX_END`: its last byte was.
    RequestEnded,
    /// `US_CX_BEG`: connecting to the upstream began.
    ConnectBegan,
    /// `US_CX_END`: the connection was there.
    ConnectEnded,
    /// `US_TX_BEG`: the request's first byte went to the upstream.
    SendBegan,
    /// `US_TX_END`: its last byte did.
    SendEnded,
    /// `US_RX_BEG`: the response's first byte was read.
    ResponseBegan,
    /// `US_RX_END`: its last byte was.
    ResponseEnded,
    /// `DS_TX_BEG`: the response's first byte went to the client.
    AnswerBegan,
    /// `DS_TX_END`: its last byte did.
    AnswerEnded,
    /// A moment that does not come here: TLS handshakes, points set by filters.
    Never,
}

macro_rules! facts {
    ($($(#[$doc:meta])* $fact:ident = $text:literal,)*) => {
        /// An operator without an argument.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fact { $(#[doc = $text] $(#[$doc])* $fact,)* }

        const FACTS: &[(&str, Fact)] = &[$(($text, Fact::$fact),)*];
    };
}

facts! {
    Protocol = "PROTOCOL",
    UpstreamProtocol = "UPSTREAM_PROTOCOL",
    ResponseCode = "RESPONSE_CODE",
    ConnectionTerminationDetails = "CONNECTION_TERMINATION_DETAILS",
    DownstreamTransportFailureReason = "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    UpstreamTransportFailureReason = "UPSTREAM_TRANSPORT_FAILURE_REASON",
    ResponseFlags = "RESPONSE_FLAGS",
    ResponseFlagsLong = "RESPONSE_FLAGS_LONG",
    BytesReceived = "BYTES_RECEIVED",
    BytesSent = "BYTES_SENT",
    DownstreamWireBytesReceived = "DOWNSTREAM_WIRE_BYTES_RECEIVED",
    DownstreamWireBytesSent = "DOWNSTREAM_WIRE_BYTES_SENT",
    UpstreamWireBytesReceived = "UPSTREAM_WIRE_BYTES_RECEIVED",
    UpstreamWireBytesSent = "UPSTREAM_WIRE_BYTES_SENT",
    Duration = "DURATION",
    RequestDuration = "REQUEST_DURATION",
    RequestTxDuration = "REQUEST_TX_DURATION",
    ResponseDuration = "RESPONSE_DURATION",
    ResponseTxDuration = "RESPONSE_TX_DURATION",
    UpstreamHost = "UPSTREAM_HOST",
    UpstreamHostName = "UPSTREAM_HOST_NAME",
    UpstreamHostNameWithoutPort = "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    UpstreamCluster = "UPSTREAM_CLUSTER",
    UpstreamClusterRaw = "UPSTREAM_CLUSTER_RAW",
    UpstreamLocalAddress = "UPSTREAM_LOCAL_ADDRESS",
    UpstreamLocalAddressWithoutPort = "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    UpstreamLocalPort = "UPSTREAM_LOCAL_PORT",
    UpstreamRemoteAddress = "UPSTREAM_REMOTE_ADDRESS",
    UpstreamRemoteAddressWithoutPort = "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    UpstreamRemotePort = "UPSTREAM_REMOTE_PORT",
    UpstreamRequestAttemptCount = "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    DownstreamLocalAddress = "DOWNSTREAM_LOCAL_ADDRESS",
    DownstreamLocalAddressWithoutPort = "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    DownstreamLocalPort = "DOWNSTREAM_LOCAL_PORT",
    DownstreamDirectLocalAddress = "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
    DownstreamDirectLocalAddressWithoutPort = "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT",
    DownstreamDirectLocalPort = "DOWNSTREAM_DIRECT_LOCAL_PORT",
    DownstreamRemoteAddress = "DOWNSTREAM_REMOTE_ADDRESS",
    DownstreamRemoteAddressWithoutPort = "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    DownstreamRemotePort = "DOWNSTREAM_REMOTE_PORT",
    DownstreamDirectRemoteAddress = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    DownstreamDirectRemoteAddressWithoutPort = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    DownstreamDirectRemotePort = "DOWNSTREAM_DIRECT_REMOTE_PORT",
    RequestedServerName = "REQUESTED_SERVER_NAME",
    ConnectionId = "CONNECTION_ID",
    DownstreamTlsVersion = "DOWNSTREAM_TLS_VERSION",
    DownstreamTlsCipher = "DOWNSTREAM_TLS_CIPHER",
    DownstreamPeerSubject = "DOWNSTREAM_PEER_SUBJECT",
    DownstreamPeerIssuer = "DOWNSTREAM_PEER_ISSUER",
    DownstreamPeerSerial = "DOWNSTREAM_PEER_SERIAL",
    DownstreamPeerFingerprint256 = "DOWNSTREAM_PEER_FINGERPRINT_256",
    DownstreamPeerCert = "DOWNSTREAM_PEER_CERT",
    DownstreamPeerUriSan = "DOWNSTREAM_PEER_URI_SAN",
    DownstreamPeerDnsSan = "DOWNSTREAM_PEER_DNS_SAN",
    DownstreamPeerIpSan = "DOWNSTREAM_PEER_IP_SAN",
    DownstreamPeerEmailSan = "DOWNSTREAM_PEER_EMAIL_SAN",
    DownstreamLocalSubject = "DOWNSTREAM_LOCAL_SUBJECT",
    DownstreamLocalUriSan = "DOWNSTREAM_LOCAL_URI_SAN",
    DownstreamLocalDnsSan = "DOWNSTREAM_LOCAL_DNS_SAN",
    DownstreamLocalIpSan = "DOWNSTREAM_LOCAL_IP_SAN",
    DownstreamLocalEmailSan = "DOWNSTREAM_LOCAL_EMAIL_SAN",
    StreamId = "STREAM_ID",
    UniqueId = "UNIQUE_ID",
    RouteName = "ROUTE_NAME",
    FilterChainName = "FILTER_CHAIN_NAME",
    ListenerName = "LISTENER_NAME",
    QueryParameters = "QUERY_PARAMS",
    LocalReplyBody = "LOCAL_REPLY_BODY",
    AccessLogType = "ACCESS_LOG_TYPE",
}

/// Operators of Envoy's that would have a value and are not known here: what is said of TLS beside [`Fact`]. They are refused: a log must not say that
/// there is none.
const UNSUPPORTED: &[&str] = &[
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_TLS_SESSION_ID",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "UPSTREAM_LOCAL_DNS_SAN",
    "UPSTREAM_LOCAL_IP_SAN",
    "UPSTREAM_LOCAL_SUBJECT",
    "UPSTREAM_LOCAL_URI_SAN",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_PEER_DNS_SAN",
    "UPSTREAM_PEER_IP_SAN",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_VERSION",
];

/// Operators of Envoy's whose value no exchange here has, since what would set it is refused: filters, tracing, virtual clusters, custom flags.
/// HTTP/1 trailers belong here: Envoy drops them unless `enable_trailers`, which is refused.
const ABSENT: &[&str] = &[
    "CLUSTER_METADATA",
    "CUSTOM_FLAGS",
    "DYNAMIC_METADATA",
    "FILTER_STATE",
    "SPAN_ID",
    "TRACE_ID",
    "TRAILER",
    "UPSTREAM_FILTER_STATE",
    "UPSTREAM_METADATA",
    "VIRTUAL_CLUSTER_NAME",
];

/// Of those, what Envoy wants an argument of.
const ABSENT_WITH_ARGUMENT: &[&str] =
    &["CLUSTER_METADATA", "DYNAMIC_METADATA", "FILTER_STATE", "TRAILER", "UPSTREAM_FILTER_STATE", "UPSTREAM_METADATA"];

/// Which of argument and length an operator takes.
#[derive(Clone, Copy)]
enum Takes {
    /// Neither.
    Nothing,
    /// Perhaps an argument.
    Choice,
    /// An argument.
    Argument,
    /// An argument, and perhaps a length.
    ArgumentAndLength,
    /// Perhaps an argument, perhaps a length.
    All,
}

/// What a command is once read.
pub(super) enum Read {
    /// To be asked of each exchange.
    Operator(Operator),
    /// Known now, once for all: `%ENVIRONMENT(X)%`, `%HOSTNAME%`.
    Text(String),
}

/// Reads one operator from its name and what stands in its brackets.
pub(super) fn parse(
    name: &str,
    argument: &str,
    length: Option<usize>,
    around: &Surroundings<'_>,
) -> Result<Read, String> {
    let takes = |takes: Takes| check(name, argument, length, takes);
    if let Some((_, fact)) = FACTS.iter().find(|(text, _)| *text == name) {
        takes(Takes::Nothing)?;
        return Ok(Read::Operator(Operator::Fact(*fact)));
    }
    if UNSUPPORTED.contains(&name) {
        return Err(format!("%{name}% is not supported yet"));
    }
    if ABSENT.contains(&name) {
        takes(match name {
            name if ABSENT_WITH_ARGUMENT.contains(&name) => Takes::ArgumentAndLength,
            _ => Takes::Nothing,
        })?;
        return Ok(Read::Operator(Operator::Absent));
    }
    let operator = match name {
        "REQ" | "REQUEST_HEADER" | "STREAM_INFO_REQ" => {
            takes(Takes::ArgumentAndLength)?;
            header(HeaderSource::Request, argument)?
        }
        "RESP" | "RESPONSE_HEADER" => {
            takes(Takes::ArgumentAndLength)?;
            header(HeaderSource::Response, argument)?
        }
        "START_TIME" => {
            takes(Takes::Choice)?;
            Operator::StartTime(time(argument)?)
        }
        "EMIT_TIME" => {
            takes(Takes::Choice)?;
            Operator::EmitTime(time(argument)?)
        }
        "COMMON_DURATION" => {
            takes(Takes::Argument)?;
            between(argument)?
        }
        "QUERY_PARAM" => {
            takes(Takes::ArgumentAndLength)?;
            Operator::QueryParameter(argument.to_owned())
        }
        "PATH" => {
            takes(Takes::All)?;
            path(argument)?
        }
        "GRPC_STATUS" => {
            takes(Takes::Choice)?;
            Operator::GrpcStatus(match argument {
                "" | "CAMEL_STRING" => GrpcForm::Camel,
                "SNAKE_STRING" => GrpcForm::Snake,
                "NUMBER" => GrpcForm::Number,
                other => return Err(format!("GRPC_STATUS is CAMEL_STRING, SNAKE_STRING or NUMBER, not {other:?}")),
            })
        }
        "GRPC_STATUS_NUMBER" => {
            takes(Takes::Nothing)?;
            Operator::GrpcStatus(GrpcForm::Number)
        }
        // Any other argument is none to Envoy.
        "RESPONSE_CODE_DETAILS" => {
            takes(Takes::Choice)?;
            Operator::ResponseCodeDetails { blanks: argument == "ALLOW_WHITESPACES" }
        }
        "HOSTNAME" => {
            takes(Takes::Nothing)?;
            return Ok(Read::Text(known_text(Some(around.hostname.to_owned()), None)));
        }
        "ENVIRONMENT" => {
            takes(Takes::ArgumentAndLength)?;
            return Ok(Read::Text(known_text((around.variable)(argument), length)));
        }
        _ => return Err(format!("%{name}% is unknown or not supported yet")),
    };
    Ok(Read::Operator(operator))
}

fn known_text(text: Option<String>, length: Option<usize>) -> String {
    // Envoy: a text `-`, also where empty values are left out.
    let text = text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    text.chars().take(length.unwrap_or(usize::MAX)).collect()
}

fn check(name: &str, argument: &str, length: Option<usize>, takes: Takes) -> Result<(), String> {
    let has_argument = !argument.is_empty();
    match takes {
        Takes::Nothing if has_argument || length.is_some() => {
            Err(format!("{name} does not take any parameters or length"))
        }
        Takes::Argument | Takes::ArgumentAndLength if !has_argument => Err(format!("{name} requires parameters")),
        Takes::Choice | Takes::Argument if length.is_some() => {
            Err(format!("{name} does not allow length to be specified"))
        }
        _ => Ok(()),
    }
}

fn header(of: HeaderSource, argument: &str) -> Result<Operator, String> {
    let mut names = argument.split('?').map(str::to_ascii_lowercase);
    let (name, otherwise) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    if names.next().is_some() {
        return Err(format!("more than 1 alternative header specified in {argument}"));
    }
    // RFC 9110 §5.6.2: a token; or a name with a colon before it.
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    for name in [&name, &otherwise] {
        if !name.strip_prefix(':').unwrap_or(name).bytes().all(is_token) {
            return Err(format!("{name:?} is no header's name"));
        }
    }
    Ok(Operator::Header { of, name, otherwise })
}

fn time(argument: &str) -> Result<TimeFormat, String> {
    if argument.is_empty() {
        return Ok(TimeFormat::default());
    }
    TimeFormat::parse(argument).map_err(|(_, rule)| rule)
}

fn between(argument: &str) -> Result<Operator, String> {
    let mut parts = argument.split(':');
    let (Some(from), Some(to)) = (parts.next(), parts.next()) else {
        return Err("COMMON_DURATION needs two points".to_owned());
    };
    let unit = match parts.next().unwrap_or("ms") {
        "ms" => Unit::Milliseconds,
        "us" => Unit::Microseconds,
        "ns" => Unit::Nanoseconds,
        other => return Err(format!("invalid common duration precision: {other}")),
    };
    if parts.next().is_some() {
        return Err("COMMON_DURATION takes two points and a precision".to_owned());
    }
    Ok(Operator::Between(moment(from), moment(to), unit))
}

/// A name that is no point of ours is one that a filter may set in Envoy: it never comes.
fn moment(name: &str) -> Moment {
    match name {
        "DS_RX_BEG" => Moment::RequestBegan,
        "DS_RX_END" => Moment::RequestEnded,
        "US_CX_BEG" => Moment::ConnectBegan,
        "US_CX_END" => Moment::ConnectEnded,
        "US_TX_BEG" => Moment::SendBegan,
        "US_TX_END" => Moment::SendEnded,
        "US_RX_BEG" => Moment::ResponseBegan,
        "US_RX_END" => Moment::ResponseEnded,
        "DS_TX_BEG" => Moment::AnswerBegan,
        "DS_TX_END" => Moment::AnswerEnded,
        _ => Moment::Never,
    }
}

fn path(argument: &str) -> Result<Operator, String> {
    let (query, of) = argument.split_once(':').unwrap_or((argument, ""));
    let query = match query {
        "" | "WQ" => true,
        "NQ" => false,
        other => return Err(format!("invalid PATH option: {other:?}, only WQ and NQ are allowed")),
    };
    let of = match of {
        "ORIG" => PathSource::Original,
        "PATH" => PathSource::Path,
        "" | "ORIG_OR_PATH" => PathSource::Either,
        other => {
            return Err(format!("invalid PATH option: {other:?}, only ORIG, PATH and ORIG_OR_PATH are allowed"));
        }
    };
    Ok(Operator::Path { query, of })
}
