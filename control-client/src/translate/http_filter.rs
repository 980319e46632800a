//! The HTTP filters of a connection manager.
//!
//! A filter is acted upon, or has nothing to do as it is configured, or is refused, whatever `is_optional` says: one that decides who
//! may pass and is not enforced must not be passed over.

use std::sync::Arc;

use ringway_model::{AlpnOverrides, GrpcStatsRules};

use super::tls::PEER_EXCHANGE;
use super::{Context, extension, extension_config, grpc_stats};
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

const ALPN: &str = "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig";
const COMPRESSOR: &str = "envoy.extensions.filters.http.compressor.v3.Compressor";
const CORS: &str = "envoy.extensions.filters.http.cors.v3.Cors";
const FAULT: &str = "envoy.extensions.filters.http.fault.v3.HTTPFault";
const GRPC_STATS: &str = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig";
pub(super) const ROUTER: &str = "envoy.extensions.filters.http.router.v3.Router";

/// The filters that are acted upon, or have nothing to do as they may be configured.
pub(super) const SUPPORTED: [&str; 6] = [ROUTER, GRPC_STATS, ALPN, FAULT, CORS, COMPRESSOR];

/// What routes may say for a filter that has nothing to do by itself.
const OF_ROUTES: [&str; 2] = [FAULT, "envoy.extensions.filters.http.cors.v3.CorsPolicy"];
/// What may be around that.
const WRAPPER: &str = "envoy.config.route.v3.FilterConfig";

/// What the filters say.
#[derive(Clone, Default)]
pub(super) struct HttpFilters {
    pub(super) suppress_envoy_headers: bool,
    pub(super) respect_expected_timeout: bool,
    pub(super) grpc_stats: Option<GrpcStatsRules>,
    pub(super) alpn: Option<Arc<AlpnOverrides>>,
    /// One of them has no configuration.
    pub(super) is_lacking: bool,
}

/// `http_filters`.
pub(super) fn http_filters(context: &mut Context<'_>, message: &Message) -> HttpFilters {
    let count = message.items("http_filters").len();
    let (mut accepted, mut routers, mut is_last) = (0, 0, true);
    let mut filters = HttpFilters::default();
    let mut at = 0;
    context.each(message, "http_filters", |context, message| {
        at += 1;
        refuse_unsupported(message, context.report);
        is_last &= routers == 0;
        if message.get("config_discovery").is_some() {
            // The last one is the router, whether that has come or not.
            let is_accepted = extension_config::filter(context, message, at == count, &mut filters);
            accepted += usize::from(is_accepted);
            routers += usize::from(is_accepted && at == count);
            return;
        }
        if extension::is_ignored(message) {
            accepted += 1;
            return;
        }
        let kind = extension::of(context, message, &SUPPORTED, |context, config| {
            filters.read(context, config);
            Some(config.kind.name())
        });
        accepted += usize::from(kind.is_some());
        routers += usize::from(kind == Some(ROUTER));
    });
    // Of several, all that are not supported have been refused one by one.
    if routers > 1 || routers == 0 && accepted == count {
        context.problem(message, "http_filters", "must be the router, envoy.filters.http.router, once");
    } else if routers == 1 && !is_last {
        // Envoy: "terminal filter ... must be the last filter in a http filter chain".
        context.problem(message, "http_filters", "the router must be the last filter");
    }
    filters
}

impl HttpFilters {
    pub(super) fn read(&mut self, context: &mut Context<'_>, config: &Message) {
        refuse_unsupported(config, context.report);
        let is_set = |name| config.boolean(name).unwrap_or(false);
        match config.kind.name() {
            ROUTER => {
                self.suppress_envoy_headers = is_set("suppress_envoy_headers");
                self.respect_expected_timeout = is_set("respect_expected_rq_timeout");
            }
            GRPC_STATS => {
                if self.grpc_stats.is_some() {
                    context.report.problem(config.place, "the filter grpc_stats is supported once in a chain");
                }
                self.grpc_stats = Some(grpc_stats::rules(context, config));
            }
            ALPN => {
                if self.alpn.is_some() {
                    context.report.problem(config.place, "the filter istio.alpn is supported once in a chain");
                }
                self.alpn = Some(Arc::new(alpn_overrides(context, config)));
            }
            // Nothing is set that they would act upon: it was refused.
            _ => {}
        }
    }
}

/// `FilterConfig` of `istio.alpn`. Of a version that stands there twice the later counts; requests to endpoints are never HTTP/1.0.
fn alpn_overrides(context: &mut Context<'_>, message: &Message) -> AlpnOverrides {
    const HTTP11: i32 = 1;
    const HTTP2: i32 = 2;
    let mut overrides = AlpnOverrides::default();
    context.each(message, "alpn_override", |context, message| {
        refuse_unsupported(message, context.report);
        for (at, name) in message.texts("alpn_override").enumerate() {
            if name.is_empty() || name.len() > ALPN_LENGTH_MAX {
                let rule = format!("an ALPN name has 1 to {ALPN_LENGTH_MAX} bytes");
                context.report.problem_in(&format!("alpn_override[{at}]"), message.place_of("alpn_override"), rule);
            }
        }
        let names = message.texts("alpn_override").filter(|name| *name != PEER_EXCHANGE);
        let names = names.map(|name| name.as_bytes().to_vec()).collect();
        match message.number("upstream_protocol") {
            HTTP11 => overrides.http1 = names,
            HTTP2 => overrides.http2 = names,
            _ => {}
        }
    });
    overrides
}

/// An ALPN name (RFC 7301 §3.1).
const ALPN_LENGTH_MAX: usize = 255;

/// `typed_per_filter_config`. What is for a filter outside the chain has no effect, as in Envoy; what would give work to one that
/// is accepted only because it has none is refused, in the chain or not.
pub(super) fn per_filter(context: &mut Context<'_>, message: &Message) {
    const FIELD: &str = "typed_per_filter_config";
    let Some(Value::Map(entries)) = message.get(FIELD).map(|set| &set.value) else { return };
    let field = context.report.enter_field(FIELD);
    for (name, item) in entries {
        let Value::Any(any) = &item.value else { unreachable!("the map holds Any") };
        let config = match any.value.as_deref() {
            Some(Value::Message(config)) => Some(config),
            _ => None,
        };
        let kind = config.map_or("", |config| config.kind.name());
        let key = context.report.enter_key(name);
        if kind == ROUTER {
            context.report.problem(item.place, "the router has no configuration of its own for a route");
        } else if kind.starts_with("envoy.extensions.filters.http.") || kind == WRAPPER {
            config.into_iter().for_each(|config| of_route(context, name, config));
        } else {
            // Envoy: "Didn't find a registered implementation".
            context.report.problem(item.place, format!("no implementation for {name:?} of type {kind:?}"));
        }
        context.report.leave(key);
    }
    context.report.leave(field);
}

/// Filters that act on more than the route says, by the names that they go by: they cannot be switched off for some requests.
const NOT_DISABLED: [&str; 2] = ["istio.alpn", "envoy.filters.http.grpc_stats"];

fn of_route(context: &mut Context<'_>, name: &str, config: &Message) {
    if OF_ROUTES.contains(&config.kind.name()) {
        return refuse_unsupported(config, context.report);
    }
    if config.kind.name() != WRAPPER {
        return;
    }
    if config.boolean("disabled").unwrap_or(false) {
        if NOT_DISABLED.contains(&name) {
            context.problem(config, "disabled", format!("{name} cannot be disabled for a route yet"));
        }
        return;
    }
    if let Some(Value::Message(inner)) = config.any("config").and_then(|any| any.value.as_deref())
        && OF_ROUTES.contains(&inner.kind.name())
    {
        context.field("config", |context| refuse_unsupported(inner, context.report));
    }
}
