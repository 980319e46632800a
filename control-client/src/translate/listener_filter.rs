//! `listener_filters` and what stands for some of them: `use_original_dst`, and chains that ask what only a ClientHello says.

use std::sync::Arc;
use std::time::Duration;

use ringway_model::{
    DestinationPredicate, FilterChain, ListenerFilter, ListenerFilterKind, ListenerFilters, ProxyProtocolIn,
};

use super::timeout::unless_zero;
use super::{Context, extension, transport};
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

const ORIGINAL_DST: &str = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst";
const TLS_INSPECTOR: &str = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
const HTTP_INSPECTOR: &str = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector";
const PROXY_PROTOCOL: &str = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";

/// `listener_filters_timeout` where the file says nothing.
const TIMEOUT: Duration = Duration::from_secs(15);
/// `max_client_hello_size` where the file says nothing.
const CLIENT_HELLO_BYTES_MAX: usize = 16 << 10;

pub(super) fn filters<'c>(
    context: &mut Context<'_>,
    message: &Message,
    chains: impl Iterator<Item = &'c Arc<FilterChain>>,
) -> ListenerFilters {
    let filters = context.each(message, "listener_filters", filter);
    let mut filters: Vec<ListenerFilter> = filters.into_iter().flatten().collect();
    let add = |filters: &mut Vec<ListenerFilter>, kind: ListenerFilterKind| {
        let same = std::mem::discriminant(&kind);
        if !filters.iter().any(|filter| std::mem::discriminant(&filter.kind) == same) {
            filters.push(ListenerFilter { kind, disabled: None });
        }
    };
    let mut chains = chains;
    if chains.any(|chain| asks_for_tls(chain)) {
        // Envoy: "filter chain match rules require TLS Inspector listener filter, but it isn't configured, trying to inject it".
        add(&mut filters, ListenerFilterKind::TlsInspector { client_hello_bytes_max: CLIENT_HELLO_BYTES_MAX });
    }
    if message.boolean("use_original_dst").unwrap_or(false) {
        add(&mut filters, ListenerFilterKind::OriginalDst);
    }
    ListenerFilters {
        filters,
        timeout: unless_zero(message.duration("listener_filters_timeout").unwrap_or(TIMEOUT)),
        continues_on_timeout: message.boolean("continue_on_listener_filters_timeout").unwrap_or(false),
    }
}

/// Envoy's rule.
fn asks_for_tls(chain: &FilterChain) -> bool {
    let matching = &chain.matches;
    let names_something = !matching.server_names.is_empty() || !matching.application_protocols.is_empty();
    matching.transport_protocol == "tls" || (matching.transport_protocol.is_empty() && names_something)
}

fn filter(context: &mut Context<'_>, message: &Message) -> Option<ListenerFilter> {
    refuse_unsupported(message, context.report);
    let disabled = message.message("filter_disabled").map(|rule| {
        let size = context.report.enter_field("filter_disabled");
        let rule = predicate(context, rule);
        context.report.leave(size);
        rule
    });
    if message.get("config_discovery").is_some() {
        return None; // refused above
    }
    let supported = [ORIGINAL_DST, TLS_INSPECTOR, HTTP_INSPECTOR, PROXY_PROTOCOL];
    let kind = extension::of(context, message, &supported, |context, config| {
        refuse_unsupported(config, context.report);
        Some(match config.kind.name() {
            ORIGINAL_DST => ListenerFilterKind::OriginalDst,
            HTTP_INSPECTOR => ListenerFilterKind::HttpInspector,
            TLS_INSPECTOR => {
                let bytes = config.uint("max_client_hello_size").map(|bytes| bytes as usize);
                ListenerFilterKind::TlsInspector { client_hello_bytes_max: bytes.unwrap_or(CLIENT_HELLO_BYTES_MAX) }
            }
            _ => ListenerFilterKind::ProxyProtocol(proxy_protocol(context, config)),
        })
    })?;
    Some(ListenerFilter { kind, disabled: disabled.flatten() })
}

fn proxy_protocol(context: &mut Context<'_>, message: &Message) -> ProxyProtocolIn {
    const V2: i32 = 1;
    let refused = |version: i32| {
        let is_it = |value: &Value| matches!(value, Value::Enum(number) if *number == version);
        message.items("disallowed_versions").iter().any(|item| is_it(&item.value))
    };
    let (refuses_v1, refuses_v2) = (refused(V2 - 1), refused(V2));
    if refuses_v1 && refuses_v2 {
        // Envoy's words.
        let rule = "Proxy Protocol filter is misconfigured: all proxy protocol versions are disallowed.";
        context.problem(message, "disallowed_versions", rule);
    }
    let kept =
        context.inside(message, "pass_through_tlvs", |context, message| Some(transport::passed_tlvs(context, message)));
    ProxyProtocolIn {
        is_optional: message.boolean("allow_requests_without_proxy_protocol").unwrap_or(false),
        refuses_v1,
        refuses_v2,
        stat_prefix: message.text("stat_prefix").to_owned(),
        kept: kept.unwrap_or_default(),
    }
}

/// `ListenerFilterChainMatchPredicate`, as deep as a file may nest; `None` for one that says nothing, which the rules refuse.
fn predicate(context: &mut Context<'_>, message: &Message) -> Option<DestinationPredicate> {
    refuse_unsupported(message, context.report);
    let set = message.fields.first()?;
    let name = set.field.name();
    let inside = |context: &mut Context<'_>| -> Option<Vec<DestinationPredicate>> {
        context.inside(message, name, |context, rules| {
            refuse_unsupported(rules, context.report);
            context.each(rules, "rules", predicate).into_iter().collect()
        })
    };
    match name {
        "or_match" => inside(context).map(DestinationPredicate::Or),
        "and_match" => inside(context).map(DestinationPredicate::And),
        "not_match" => context.inside(message, name, predicate).map(|inner| DestinationPredicate::Not(Box::new(inner))),
        "destination_port_range" => context.inside(message, name, |context, range| {
            refuse_unsupported(range, context.report);
            let bound = |name| range.int(name).map_or(0, |bound| u32::try_from(bound).unwrap_or(0));
            Some(DestinationPredicate::Ports(bound("start"), bound("end")))
        }),
        _ => Some(DestinationPredicate::Any),
    }
}
