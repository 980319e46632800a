//! The HTTP connection manager.

use std::sync::Arc;
use std::time::Duration;

use ringway_model::{CodecType, HeaderRules, HttpConnectionManager, RouteConfiguration, ServerHeader};

use super::access_log::LogType;
use super::config_source::config_source;
use super::listener::RoutesUse;
use super::timeout::unless_zero;
use super::{Context, access_log, cidr, http_filter, http1, http2, identity, local_reply, request, route, upgrade};
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

/// `HttpProtocolOptions.idle_timeout` where the file says nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// `HttpConnectionManager.stream_idle_timeout` where the file says nothing.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// `HttpConnectionManager.max_request_headers_kb` where the file says nothing.
const REQUEST_HEADERS_KB: u32 = 60;
/// `HttpConnectionManager.delayed_close_timeout` where the file says nothing.
const DELAYED_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn connection_manager(context: &mut Context<'_>, message: &Message) -> Option<HttpConnectionManager> {
    refuse_unsupported(message, context.report);
    let filters = http_filter::http_filters(context, message);
    let headers = HeaderRules {
        suppress_envoy_headers: filters.suppress_envoy_headers,
        respect_expected_timeout: filters.respect_expected_timeout,
        ..header_rules(context, message)
    };
    let headers = request::forwarded(context, message, headers);
    let mut request_fields_max = request::fields_max_default();
    let mut connections = request::connections_default(message);
    let mut max_stream_duration = None;
    let common = context.inside(message, "common_http_protocol_options", |context, options| {
        refuse_unsupported(options, context.report);
        request_fields_max = request::fields_max(context, options);
        connections = request::connections(message, options);
        max_stream_duration = options.duration("max_stream_duration").and_then(unless_zero);
        if options.get("max_response_headers_kb").is_some() {
            // Envoy: "max_response_headers_kb cannot be set on http_connection_manager".
            context.problem(options, "max_response_headers_kb", "only clusters have it");
        }
        options.duration("idle_timeout")
    });
    let routes = routes(context, message);
    let access_logs = access_log::access_logs(context, message, LogType::DownstreamEnd);
    let http1 = http1::rules(context, message);
    let upgrades = upgrade::upgrades(context, message);
    let kilobytes = message.uint("max_request_headers_kb").unwrap_or(REQUEST_HEADERS_KB);
    let around = http2::Around {
        stream_error: message.boolean("stream_error_on_invalid_http_message"),
        head: Some(("max_request_headers_kb", kilobytes)),
    };
    let http2 = http2::options(context, message, around);
    Some(HttpConnectionManager {
        stat_prefix: message.text("stat_prefix").to_owned(),
        routes: routes?,
        idle_timeout: unless_zero(common.unwrap_or(IDLE_TIMEOUT)),
        request_timeout: message.duration("request_timeout").and_then(unless_zero),
        max_stream_duration,
        connections,
        request_headers_timeout: message.duration("request_headers_timeout").and_then(unless_zero),
        stream_idle_timeout: unless_zero(message.duration("stream_idle_timeout").unwrap_or(STREAM_IDLE_TIMEOUT)),
        request_head_bytes_max: kilobytes as usize * 1024,
        delayed_close_timeout: message.duration("delayed_close_timeout").unwrap_or(DELAYED_CLOSE_TIMEOUT),
        access_logs,
        headers,
        local_replies: context.inside(message, "local_reply_config", local_reply::local_replies),
        upgrades,
        requests: request::rules(message, message.message("common_http_protocol_options")),
        request_fields_max,
        keeps_after_400: message.boolean("stream_error_on_invalid_http_message").unwrap_or(false),
        codec: match message.number("codec_type") {
            1 => CodecType::Http1,
            2 => CodecType::Http2,
            _ => CodecType::Auto,
        },
        http1,
        http2,
        proxy_100_continue: message.boolean("proxy_100_continue").unwrap_or(false),
        grpc_stats: filters.grpc_stats,
        alpn: filters.alpn,
        lacks_filter: filters.is_lacking,
    })
}

/// `route_config`, or of `rds` a place for what comes.
fn routes(context: &mut Context<'_>, message: &Message) -> Option<Arc<RouteConfiguration>> {
    if message.get("rds").is_none() {
        let read = |context: &mut Context<'_>, message: &Message| route::configuration(context, message, true);
        return context.inside(message, "route_config", read).map(Arc::new);
    }
    context.inside(message, "rds", |context, rds| {
        refuse_unsupported(rds, context.report);
        if rds.text("route_config_name").is_empty() {
            // Envoy asks for the name "" then, which nothing has.
            context.problem(rds, "route_config_name", "value is required");
        }
        rds.get("config_source")?; // the rules say so
        let source = context.inside(rds, "config_source", config_source)?;
        let name = rds.text("route_config_name").to_owned();
        let nothing = RouteConfiguration::new(name.clone(), Vec::new()).expect("no domain is claimed twice");
        let place = Arc::new(nothing);
        let stat_prefix = message.text("stat_prefix").to_owned();
        context.routes.push(RoutesUse { source, name, stat_prefix, place: place.clone() });
        Some(place)
    })
}

/// What the connection manager does to heads.
fn header_rules(context: &mut Context<'_>, message: &Message) -> HeaderRules {
    let defaults = HeaderRules::default();
    let internal = context.inside(message, "internal_address_config", |context, config| {
        refuse_unsupported(config, context.report);
        let is_internal_pipe = context.is_pipe && config.boolean("unix_sockets").unwrap_or(false);
        Some((context.each(config, "cidr_ranges", cidr).into_iter().flatten().collect(), is_internal_pipe))
    });
    let (internal, internal_pipe) = internal.unwrap_or_default();
    let detection = identity::detection(context, message);
    identity::request_id(context, message);
    let mut text = |name: &str, default: String| match message.text(name) {
        "" => default,
        // RFC 9110 §5.5: what it is written into must stay one line.
        text if text.chars().any(char::is_control) => {
            context.problem(message, name, "a header's value holds no control characters");
            default
        }
        text => text.to_owned(),
    };
    let (server_name, via) = (text("server_name", defaults.server_name.clone()), text("via", String::new()));
    HeaderRules {
        use_remote_address: message.boolean("use_remote_address").unwrap_or(false),
        trusted_hops: detection.or(message.uint("xff_num_trusted_hops")).unwrap_or(0),
        skip_xff_append: message.boolean("skip_xff_append").unwrap_or(false),
        internal,
        internal_pipe,
        generate_request_id: message.boolean("generate_request_id").unwrap_or(true),
        preserve_external_request_id: message.boolean("preserve_external_request_id").unwrap_or(false),
        always_set_request_id: message.boolean("always_set_request_id_in_response").unwrap_or(false),
        server_name,
        server: match message.get("server_header_transformation").map(|set| &set.value) {
            Some(Value::Enum(1)) => ServerHeader::AppendIfAbsent,
            Some(Value::Enum(2)) => ServerHeader::PassThrough,
            _ => ServerHeader::Overwrite,
        },
        via,
        ..defaults
    }
}
