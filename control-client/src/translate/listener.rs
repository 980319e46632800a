//! `envoy.config.listener.v3.Listener`, its filter chain and the HTTP connection manager.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ringway_model::{
    ChainId, Cidr, CodecType, FilterChain, HeaderRules, HttpConnectionManager, ListenAddress, Listener, ListenerId,
    NetworkFilter, ServerHeader,
};

use super::timeout::unless_zero;
use super::{
    Context, access_log, address, extension, http1, http2, identity, local_reply, request, route, socket, upgrade,
};
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

/// `Listener.tcp_backlog_size` where the file says nothing: what the kernel allows at most by default.
const BACKLOG: u32 = 4096;
/// `HttpProtocolOptions.idle_timeout` where the file says nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// `HttpConnectionManager.stream_idle_timeout` where the file says nothing.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// `HttpConnectionManager.max_request_headers_kb` where the file says nothing.
const REQUEST_HEADERS_KB: u32 = 60;
/// `HttpConnectionManager.delayed_close_timeout` where the file says nothing.
const DELAYED_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

const HTTP_CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const GRPC_STATS: &str = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig";
const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";

/// What the listeners before have taken.
#[derive(Default)]
pub(super) struct Seen {
    names: HashSet<String>,
    addresses: HashSet<String>,
}

impl Seen {
    pub(super) fn check(&mut self, context: &mut Context<'_>, message: &Message, listener: &Listener) {
        let additional: Vec<_> = message.messages("additional_addresses").collect();
        for (at, ListenAddress { address, .. }) in listener.addresses.iter().enumerate() {
            // Port 0 is another port each time.
            if address.is_of_any_port() || self.addresses.insert(address.to_string()) {
                continue;
            }
            // Envoy binds one that the same listener has twice.
            let rule = format!("a second listener on {address}");
            match at.checked_sub(1) {
                None => context.problem(message, "address", rule),
                Some(at) => context.field("additional_addresses", |context| {
                    let size = context.report.enter_item(at);
                    context.problem(additional[at], "address", rule);
                    context.report.leave(size);
                }),
            }
        }
        // Envoy lets the later one replace the earlier one without a word. One without a name is named by its address.
        if !self.names.insert(listener.name.clone()) {
            context.problem(message, "name", format!("a second listener {:?}", listener.name));
        }
    }
}

/// The id is set by the caller, who knows the position.
pub(super) fn listener(context: &mut Context<'_>, message: &Message) -> Option<Listener> {
    refuse_unsupported(message, context.report);
    let address = match message.get("address") {
        Some(_) => context.inside(message, "address", address),
        None if message.get("internal_listener").is_some() || message.get("api_listener").is_some() => None, // refused above
        None => {
            context.problem(message, "address", "value is required");
            None
        }
    };
    let sockets = socket::OfListener::read(context, message);
    let socket = sockets.first(context, message);
    let mut addresses = vec![address.map(|address| ListenAddress { address, socket })];
    addresses.extend(context.each(message, "additional_addresses", |context, additional| {
        refuse_unsupported(additional, context.report);
        if additional.get("address").is_none() {
            context.problem(additional, "address", "value is required");
        }
        let address = context.inside(additional, "address", super::address);
        let socket = sockets.additional(context, additional);
        address.map(|address| ListenAddress { address, socket })
    }));
    context.is_pipe = addresses.iter().flatten().any(|at| at.address.pipe().is_some());
    let chains = context.each(message, "filter_chains", chain);
    // What takes the place of the chains has been refused above.
    let instead = ["default_filter_chain", "udp_listener_config", "api_listener", "internal_listener", "fcds_config"];
    match message.items("filter_chains").len() {
        1 => {}
        0 if instead.into_iter().any(|name| message.get(name).is_some()) || is_udp(message) => {}
        // Envoy: "no filter chains specified".
        0 => context.problem(message, "filter_chains", "no filter chains specified"),
        _ => context.problem(message, "filter_chains", "more than one filter chain is not supported yet"),
    }
    let balance = context.inside(message, "connection_balance_config", |context, message| {
        refuse_unsupported(message, context.report);
        Some(message.get("exact_balance").is_some())
    });
    let exact_balance = balance.unwrap_or(false);
    let addresses: Vec<ListenAddress> = addresses.into_iter().collect::<Option<_>>()?;
    let name = match message.text("name") {
        "" => addresses[0].address.to_string(),
        name => name.to_owned(),
    };
    Some(Listener {
        id: ListenerId(0),
        name,
        addresses,
        exact_balance,
        backlog: message.uint("tcp_backlog_size").unwrap_or(BACKLOG),
        buffer_bytes_max: buffer_bytes_max(message),
        chains: chains.into_iter().flatten().collect(),
    })
}

/// `per_connection_buffer_limit_bytes`. 0 is Envoy's word for no bound, and nothing here is without one: the engine's own holds.
pub(super) fn buffer_bytes_max(message: &Message) -> Option<u32> {
    message.uint("per_connection_buffer_limit_bytes").filter(|&bytes| bytes > 0)
}

/// Refused with the address.
fn is_udp(message: &Message) -> bool {
    let socket = message.message("address").and_then(|address| address.message("socket_address"));
    socket.is_some_and(|socket| socket.get("protocol").is_some())
}

fn chain(context: &mut Context<'_>, message: &Message) -> Option<Arc<FilterChain>> {
    refuse_unsupported(message, context.report);
    // An empty match matches all; each of its fields is refused.
    context.inside(message, "filter_chain_match", |context, message| {
        refuse_unsupported(message, context.report);
        Some(())
    });
    let filters = context.each(message, "filters", |context, message| {
        refuse_unsupported(message, context.report);
        filter(context, message, HTTP_CONNECTION_MANAGER, connection_manager)
    });
    if filters.len() != 1 {
        context.problem(message, "filters", "exactly one filter, the HTTP connection manager, is supported yet");
    }
    let filter = filters.into_iter().flatten().next()?;
    // One chain without a match: nothing that a connection is accepted under can differ.
    Some(Arc::new(FilterChain { id: ChainId(0), name: message.text("name").to_owned(), filter }))
}

/// A filter, if it is the one that is supported.
fn filter<T>(
    context: &mut Context<'_>,
    message: &Message,
    supported: &str,
    inner: impl FnOnce(&mut Context<'_>, &Message) -> Option<T>,
) -> Option<T> {
    if message.get("config_discovery").is_some() {
        return None; // refused above
    }
    extension::of(context, message, &[supported], inner)
}

fn connection_manager(context: &mut Context<'_>, message: &Message) -> Option<NetworkFilter> {
    refuse_unsupported(message, context.report);
    let router = http_filters(context, message);
    let headers = HeaderRules {
        suppress_envoy_headers: router.suppress_envoy_headers,
        respect_expected_timeout: router.respect_expected_timeout,
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
    let routes = context.inside(message, "route_config", route::configuration);
    let access_logs = context.each(message, "access_log", access_log::access_log);
    let access_logs = access_logs.into_iter().flatten().collect();
    let http1 = http1::rules(context, message);
    let upgrades = upgrade::upgrades(context, message);
    let kilobytes = message.uint("max_request_headers_kb").unwrap_or(REQUEST_HEADERS_KB);
    let around = http2::Around {
        stream_error: message.boolean("stream_error_on_invalid_http_message"),
        head: Some(("max_request_headers_kb", kilobytes)),
    };
    let http2 = http2::options(context, message, around);
    Some(NetworkFilter::Http(Arc::new(HttpConnectionManager {
        stat_prefix: message.text("stat_prefix").to_owned(),
        routes: Arc::new(routes?),
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
        grpc_stats: router.grpc_stats,
    })))
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

/// `envoy.config.core.v3.CidrRange`.
fn cidr(context: &mut Context<'_>, message: &Message) -> Option<Cidr> {
    refuse_unsupported(message, context.report);
    let text = message.text("address_prefix");
    match text.parse() {
        Ok(address) => Some(Cidr::new(address, message.uint("prefix_len").unwrap_or(0))),
        Err(_) => {
            context.problem(message, "address_prefix", format!("malformed IP address: {text}"));
            None
        }
    }
}

/// What the router's own configuration says.
#[derive(Default)]
struct RouterOptions {
    suppress_envoy_headers: bool,
    respect_expected_timeout: bool,
    /// Before it stands the filter that counts calls.
    grpc_stats: bool,
}

/// `http_filters`: the router, and `grpc_stats` before it.
fn http_filters(context: &mut Context<'_>, message: &Message) -> RouterOptions {
    let count = message.items("http_filters").len();
    let (mut supported, mut routers, mut is_last) = (0, 0, true);
    let mut options = RouterOptions::default();
    context.each(message, "http_filters", |context, filter| {
        refuse_unsupported(filter, context.report);
        if filter.get("config_discovery").is_some() {
            return; // refused above
        }
        let kind = extension::of(context, filter, &[ROUTER, GRPC_STATS], |context, config| {
            refuse_unsupported(config, context.report);
            let is_set = |name| config.boolean(name).unwrap_or(false);
            if config.kind.name() == GRPC_STATS {
                options.grpc_stats = true;
                return Some(GRPC_STATS);
            }
            options.suppress_envoy_headers = is_set("suppress_envoy_headers");
            options.respect_expected_timeout = is_set("respect_expected_rq_timeout");
            Some(ROUTER)
        });
        supported += usize::from(kind.is_some());
        routers += usize::from(kind == Some(ROUTER));
        is_last &= kind != Some(GRPC_STATS) || routers == 0;
    });
    // Of several, all that are not supported have been refused one by one.
    if routers > 1 || routers == 0 && supported == count {
        context.problem(message, "http_filters", "must be the router, envoy.filters.http.router, once");
    } else if !is_last {
        // Envoy: "terminal filter ... must be the last filter in a http filter chain".
        context.problem(message, "http_filters", "the router must be the last filter");
    }
    options
}
