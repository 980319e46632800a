//! How a cluster speaks HTTP: `envoy.extensions.upstreams.http.v3.HttpProtocolOptions`, and the fields of the cluster itself that it took
//! the place of.

use ringway_model::{Http1Rules, Http2Options, Reuse, UpstreamHttp, UpstreamProtocol};

use super::timeout::unless_zero;
use super::tls::AutoSni;
use super::{Context, http1, http2, request, transport};
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

/// What is said of one cluster.
#[derive(Default)]
pub(super) struct Protocol {
    pub(super) http: UpstreamHttp,
    pub(super) http1: Http1Rules,
    pub(super) http2: Http2Options,
    pub(super) version: UpstreamProtocol,
    pub(super) auto_sni: AutoSni,
}

const FIELD: &str = "typed_extension_protocol_options";
const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Of the cluster itself, deprecated since.
const BEFORE: [&str; 5] =
    ["common_http_protocol_options", "http_protocol_options", "http2_protocol_options", "protocol_selection", AUTO];
const AUTO: &str = "upstream_http_protocol_options";

pub(super) fn of_cluster(context: &mut Context<'_>, message: &Message) -> Protocol {
    let mut protocol = match typed(context, message) {
        Some(protocol) => {
            for name in BEFORE.into_iter().filter(|name| message.get(name).is_some()) {
                // Envoy says nothing, and does not look at it.
                context.problem(message, name, format!("without effect beside {FIELD}: set it there"));
            }
            protocol
        }
        None => before(context, message),
    };
    if let Some(max) = message.uint("max_requests_per_connection").filter(|&max| max > 0)
        && protocol.http.reuse.requests_max == u32::MAX
    {
        protocol.http.reuse.requests_max = max;
    }
    if protocol.http1.accept_http_10 || !protocol.http1.default_host.is_empty() {
        // Without effect on a cluster, in Envoy, too.
        protocol.http1 = Http1Rules { accept_http_10: false, default_host: String::new(), ..protocol.http1 };
    }
    protocol
}

/// Whether a cluster is spoken to in HTTP/2, whatever else it says.
pub(super) fn is_http2(cluster: &Message) -> bool {
    let Some(Value::Map(entries)) = cluster.get(FIELD).map(|set| &set.value) else {
        return cluster.get("http2_protocol_options").is_some();
    };
    entries.iter().any(|(_, item)| {
        let Value::Any(any) = &item.value else { unreachable!("the map holds Any") };
        match any.value.as_deref() {
            Some(Value::Message(options)) if options.kind.name() == OPTIONS => {
                let chosen = options.message("explicit_http_config");
                chosen.is_some_and(|chosen| chosen.get("http2_protocol_options").is_some())
            }
            _ => false,
        }
    })
}

/// `typed_extension_protocol_options`: the options of HTTP, by whatever name.
fn typed(context: &mut Context<'_>, message: &Message) -> Option<Protocol> {
    let Some(Value::Map(entries)) = message.get(FIELD).map(|set| &set.value) else { return None };
    let is_plain = !transport::is_all_tls(message);
    let mut found = None;
    for (name, item) in entries {
        let Value::Any(any) = &item.value else { unreachable!("the map holds Any") };
        match any.value.as_deref() {
            Some(Value::Message(options)) if options.kind.name() == OPTIONS => {
                found = context
                    .field(&format!("{FIELD}[{name:?}]"), |context| Some(self::options(context, options, is_plain)));
            }
            Some(Value::Message(options)) => {
                let rule = format!("{} is not supported yet", options.kind.name());
                context.report.problem_in(&format!("{FIELD}[{name:?}]"), item.place, rule);
            }
            _ => {
                // Envoy: "Didn't find a registered network or http filter".
                let rule = format!("no implementation for {name:?} without a type");
                context.report.problem_in(&format!("{FIELD}[{name:?}]"), item.place, rule);
            }
        }
    }
    found
}

/// The cluster's own, deprecated fields.
fn before(context: &mut Context<'_>, message: &Message) -> Protocol {
    let has = |name| message.get(name).is_some();
    let version = match message.number("protocol_selection") {
        USE_DOWNSTREAM_PROTOCOL => UpstreamProtocol::AsDownstream,
        _ if has("http2_protocol_options") => UpstreamProtocol::Http2,
        _ => UpstreamProtocol::Http1,
    };
    if version == UpstreamProtocol::Http2 && has("http_protocol_options") {
        // Envoy: "Both HTTP1 and HTTP2 options may only be configured with non-default 'protocol_selection' values".
        let rule = "beside http_protocol_options only where protocol_selection is USE_DOWNSTREAM_PROTOCOL";
        context.problem(message, "http2_protocol_options", rule);
    }
    Protocol {
        http: context.inside(message, "common_http_protocol_options", common).unwrap_or_default(),
        http1: http1::rules(context, message),
        http2: http2::options(context, message, around(message)),
        version,
        auto_sni: context.inside(message, AUTO, auto_sni).unwrap_or_default(),
    }
}

/// `ClusterProtocolSelection`.
const USE_DOWNSTREAM_PROTOCOL: i32 = 1;

/// What bears on the options of HTTP/2, from the message that has `common_http_protocol_options`.
fn around(message: &Message) -> http2::Around {
    let common = message.message("common_http_protocol_options");
    let kilobytes = common.and_then(|common| common.uint("max_response_headers_kb"));
    http2::Around { stream_error: None, head: kilobytes.map(|kilobytes| ("max_response_headers_kb", kilobytes)) }
}

fn options(context: &mut Context<'_>, message: &Message, is_plain: bool) -> Protocol {
    refuse_unsupported(message, context.report);
    let mut protocol = Protocol::default();
    let around = around(message);
    for name in ["explicit_http_config", "use_downstream_protocol_config", "auto_config"] {
        context.inside(message, name, |context, chosen| {
            refuse_unsupported(chosen, context.report);
            protocol.http1 = http1::rules(context, chosen);
            protocol.http2 = http2::options(context, chosen, around);
            protocol.version = match name {
                "use_downstream_protocol_config" => UpstreamProtocol::AsDownstream,
                "auto_config" => UpstreamProtocol::ByAlpn,
                _ if chosen.get("http2_protocol_options").is_some() => UpstreamProtocol::Http2,
                _ => UpstreamProtocol::Http1,
            };
            Some(())
        });
    }
    if message.get("auto_config").is_some() && is_plain {
        // Envoy: "ALPN configured for cluster which has a non-ALPN transport socket".
        context.problem(message, "auto_config", "needs transport sockets that speak ALPN, each of them");
    }
    protocol.auto_sni = context.inside(message, AUTO, auto_sni).unwrap_or_default();
    protocol.http = context.inside(message, "common_http_protocol_options", common).unwrap_or_default();
    protocol
}

/// `UpstreamHttpProtocolOptions`.
fn auto_sni(context: &mut Context<'_>, message: &Message) -> Option<AutoSni> {
    refuse_unsupported(message, context.report);
    Some(AutoSni {
        sni: message.boolean("auto_sni").unwrap_or(false),
        san_validation: message.boolean("auto_san_validation").unwrap_or(false),
    })
}

/// `HttpProtocolOptions` of a cluster.
fn common(context: &mut Context<'_>, message: &Message) -> Option<UpstreamHttp> {
    refuse_unsupported(message, context.report);
    let default = UpstreamHttp::default();
    Some(UpstreamHttp {
        reuse: Reuse {
            idle_timeout: message.duration("idle_timeout").map_or(default.reuse.idle_timeout, unless_zero),
            duration_max: message.duration("max_connection_duration").and_then(unless_zero),
            requests_max: message.uint("max_requests_per_connection").filter(|&max| max > 0).unwrap_or(u32::MAX),
        },
        response_head_bytes_max: message
            .uint("max_response_headers_kb")
            .map_or(default.response_head_bytes_max, |kilobytes| kilobytes as usize * 1024),
        response_fields_max: request::fields_max(context, message),
        max_stream_duration: message.duration("max_stream_duration").and_then(unless_zero),
        keeps_alpn: false, // said by the cluster's metadata
    })
}
