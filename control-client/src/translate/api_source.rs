//! `envoy.config.core.v3.ApiConfigSource`: management servers.

use std::collections::HashMap;
use std::time::Duration;

use super::Context;
use super::dns::EDS;
use super::{transport, upstream_http};
use crate::api_source::{ApiSource, Form, RateLimit, Service};
use crate::compatibility::refuse_unsupported;
use crate::discovery::{Backoff, Variant};
use crate::message::{Message, Value};

/// `ApiConfigSource.ApiType`.
const REST: i32 = 1;
const GRPC: i32 = 2;
const DELTA_GRPC: i32 = 3;
/// `ApiVersion`.
const V2: i32 = 1;
/// `request_timeout` where the file says nothing.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// `RateLimitSettings` where the file says nothing.
const RATE_LIMIT_TOKENS: u32 = 100;
const RATE_LIMIT_FILL_RATE: f64 = 10.0;
/// The slowest rate at which requests may be sent: what is slower never comes.
const RATE_LIMIT_INTERVAL_MAX: Duration = Duration::from_secs(86_400);
/// `BackoffStrategy.max_interval`, in base intervals, where the file says nothing.
const BACKOFF_MAX_BASES: u32 = 10;

/// `ads_config`, which is a stream.
pub(super) fn ads(context: &mut Context<'_>, message: &Message) -> Option<ApiSource> {
    stream(context, message, api_source)
}

/// What `read` makes of it, where that is a stream.
fn stream(
    context: &mut Context<'_>,
    message: &Message,
    read: impl FnOnce(&mut Context<'_>, &Message) -> Option<ApiSource>,
) -> Option<ApiSource> {
    if !matches!(message.number("api_type"), GRPC | DELTA_GRPC) {
        // Envoy: "config source must be of type GRPC".
        context.problem(message, "api_type", "must be GRPC or DELTA_GRPC");
        return None;
    }
    read(context, message)
}

/// `load_stats_config`, which is a stream, too, and to which a node need not say who it is.
pub(super) fn reports(context: &mut Context<'_>, message: &Message) -> Option<ApiSource> {
    stream(context, message, source)
}

/// `api_config_source`.
pub(super) fn api_source(context: &mut Context<'_>, message: &Message) -> Option<ApiSource> {
    if context.around.node.id.is_empty() || context.around.node.cluster.is_empty() {
        // Envoy's words.
        context.report.problem(message.place, "node 'id' and 'cluster' are required. Set them in 'node'");
    }
    source(context, message)
}

fn source(context: &mut Context<'_>, message: &Message) -> Option<ApiSource> {
    refuse_unsupported(message, context.report);
    let form = match message.number("api_type") {
        GRPC => Form::Stream(Variant::StateOfTheWorld),
        DELTA_GRPC => Form::Stream(Variant::Delta),
        REST => {
            let timeout = message.duration("request_timeout").unwrap_or(REQUEST_TIMEOUT);
            Form::Rest { interval: message.duration("refresh_delay").unwrap_or_default(), timeout }
        }
        _ => {
            context.problem(message, "api_type", "must be GRPC, DELTA_GRPC or REST");
            return None;
        }
    };
    if message.number("transport_api_version") == V2 {
        // Envoy's words.
        let rule = "The v2 xDS major version has been removed and is no longer supported";
        context.problem(message, "transport_api_version", rule);
    }
    if message.items("cluster_names").is_empty() && message.items("grpc_services").is_empty() {
        // Envoy: "API configs must have either a gRPC service or a cluster name defined".
        context.problem(message, "grpc_services", "value is required: whom to ask");
    }
    if let Form::Rest { .. } = form {
        return rest(context, message, form);
    }
    if !message.items("cluster_names").is_empty() {
        // Envoy's words, but for the message's text.
        context.problem(message, "cluster_names", "a gRPC source must not have a cluster name specified");
    }
    let services = context.each(message, "grpc_services", grpc_service);
    let rate_limit = context.inside(message, "rate_limit_settings", rate_limit);
    let services: Vec<Service> = services.into_iter().collect::<Option<_>>()?;
    let is_node_said_once = message.boolean("set_node_on_first_message_only").unwrap_or(false);
    (!services.is_empty()).then_some(ApiSource { form, services, is_node_said_once, rate_limit })
}

fn rest(context: &mut Context<'_>, message: &Message, form: Form) -> Option<ApiSource> {
    if !message.items("grpc_services").is_empty() {
        // Envoy's words, but for the message's text.
        context.problem(message, "grpc_services", "a source that is no gRPC source must not have gRPC services");
    }
    if message.duration("refresh_delay").is_none_or(|delay| delay.is_zero()) {
        // Envoy: "refresh_delay is required for REST API configuration sources". It takes 0, and then asks without a pause.
        context.problem(message, "refresh_delay", "is required for REST, and more than 0");
    }
    let [name] = message.items("cluster_names") else {
        // Envoy's words, but for the message's text.
        context.problem(message, "cluster_names", "must have a singleton cluster name specified");
        return None;
    };
    let cluster = match &name.value {
        Value::Text(name) => name.to_string(),
        _ => unreachable!("the field is one of texts"),
    };
    if let Some(why) = context.around.servers.unfit(&cluster, Asked::ByRest) {
        context.problem(message, "cluster_names", why);
    }
    let (backoff_base, backoff_max) = (Backoff::BASE, Backoff::MAX);
    let authority = cluster.clone();
    let service =
        Service { cluster, authority, metadata: Vec::new(), backoff_base, backoff_max, message_bytes_max: None };
    Some(ApiSource { form, services: vec![service], is_node_said_once: false, rate_limit: None })
}

fn rate_limit(context: &mut Context<'_>, message: &Message) -> Option<RateLimit> {
    refuse_unsupported(message, context.report);
    let burst = message.uint("max_tokens").unwrap_or(RATE_LIMIT_TOKENS);
    if burst == 0 {
        // Envoy takes it, and then never sends anything.
        context.problem(message, "max_tokens", "0 would send no request at all");
    }
    let rate = message.double("fill_rate").unwrap_or(RATE_LIMIT_FILL_RATE);
    let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(RATE_LIMIT_INTERVAL_MAX);
    Some(RateLimit { burst, interval: interval.min(RATE_LIMIT_INTERVAL_MAX) })
}

fn grpc_service(context: &mut Context<'_>, message: &Message) -> Option<Service> {
    refuse_unsupported(message, context.report);
    let metadata = context.each(message, "initial_metadata", |context, message| {
        refuse_unsupported(message, context.report);
        let value = message.text("value");
        if value.contains('%') {
            context.problem(message, "value", "a format (%) is not supported here yet");
        }
        if message.get("raw_value").is_some() {
            context.problem(message, "raw_value", "not supported here yet: use value");
        }
        (message.text("key").to_owned(), value.to_owned())
    });
    let service = context.inside(message, "envoy_grpc", |context, message| {
        refuse_unsupported(message, context.report);
        let cluster = message.text("cluster_name").to_owned();
        if let Some(why) = context.around.servers.unfit(&cluster, Asked::ByGrpc) {
            context.problem(message, "cluster_name", why);
        }
        let backoff = context.inside(message, "retry_policy", |context, message| {
            refuse_unsupported(message, context.report);
            context.inside(message, "retry_back_off", back_off)
        });
        let (backoff_base, backoff_max) = backoff.unwrap_or((Backoff::BASE, Backoff::MAX));
        let authority = match message.text("authority") {
            "" => cluster.clone(),
            authority => authority.to_owned(),
        };
        let message_bytes_max = message.uint("max_receive_message_length");
        Some(Service { cluster, authority, metadata: Vec::new(), backoff_base, backoff_max, message_bytes_max })
    })?;
    Some(Service { metadata, ..service })
}

/// `BackoffStrategy`: its base interval, and its largest one.
fn back_off(context: &mut Context<'_>, message: &Message) -> Option<(Duration, Duration)> {
    refuse_unsupported(message, context.report);
    let base = message.duration("base_interval")?;
    let max = message.duration("max_interval").unwrap_or(base.saturating_mul(BACKOFF_MAX_BASES));
    if base.is_zero() {
        return None; // the rules have said so
    }
    if max < base {
        // Envoy's words.
        context.problem(message, "max_interval", "max_interval must be greater than or equal to the base_interval");
        return None;
    }
    Some((base, max))
}

/// How a management server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    ByGrpc,
    ByRest,
}

/// The bootstrap's own clusters.
#[derive(Clone, Debug, Default)]
pub(super) struct Servers(HashMap<String, Server>);

/// What of a cluster decides whether a management server is reached by it.
#[derive(Clone, Debug)]
struct Server {
    is_http2: bool,
    /// Why none is.
    unfit: Option<&'static str>,
}

impl Servers {
    /// Of `static_resources`. Looked at before they are translated, because any of them may name any other.
    pub(super) fn of(bootstrap: &Message) -> Self {
        let resources = bootstrap.message("static_resources");
        let clusters = resources.into_iter().flat_map(|resources| resources.messages("clusters"));
        let server = |cluster: &Message| Server { is_http2: upstream_http::is_http2(cluster), unfit: unfit(cluster) };
        Self(clusters.map(|cluster| (cluster.text("name").to_owned(), server(cluster))).collect())
    }

    /// Why not by this one.
    fn unfit(&self, name: &str, asked: Asked) -> Option<String> {
        let Some(Server { is_http2, unfit }) = self.0.get(name) else {
            // Envoy's words.
            return Some(format!(
                "'{name}' must refer to a statically defined non-EDS cluster: it does not exist in static_resources"
            ));
        };
        let why = unfit.or(match (asked, is_http2) {
            (Asked::ByGrpc, false) => Some("gRPC needs HTTP/2: set http2_protocol_options in its HttpProtocolOptions"),
            (Asked::ByRest, true) => Some("REST over HTTP/2 is not supported yet"),
            (Asked::ByGrpc, true) | (Asked::ByRest, false) => None,
        });
        why.map(|why| format!("'{name}': {why}"))
    }
}

fn unfit(cluster: &Message) -> Option<&'static str> {
    const ORIGINAL_DST: i32 = 4;
    match cluster.number("type") {
        EDS => return Some("must refer to a statically defined non-EDS cluster"),
        ORIGINAL_DST => return Some("an ORIGINAL_DST cluster has no endpoints"),
        _ => {}
    }
    if cluster.get("upstream_bind_config").is_some() {
        return Some("upstream_bind_config of a management server's cluster is not supported yet");
    }
    if cluster.get("transport_socket_matches").is_some() {
        return Some("transport_socket_matches of a management server's cluster are not supported yet");
    }
    transport::is_announced(cluster).then_some("a PROXY header to a management server is not supported yet")
}
