//! Transport sockets of both sides: what stands between a socket and the bytes that filters see.

use std::sync::Arc;

use ringway_model::{
    DownstreamTransport, PassedTlvs, ProxyProtocolOut, ProxyProtocolVersion, UpstreamTls, UpstreamTransport,
};

use super::tls::{self, AutoSni};
use super::{Context, extension};
use crate::compatibility::refuse_unsupported;
use crate::message::{Json, Message, Value};

const RAW_BUFFER: &str = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
const DOWNSTREAM_TLS: &str = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const UPSTREAM_TLS: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
const PROXY_PROTOCOL: &str = "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport";

const SOCKET: &str = "transport_socket";
const MATCHES: &str = "transport_socket_matches";
/// Each makes a TLS context, and the endpoints are asked for one after the other; Istio writes two.
const TRANSPORT_MATCHES_MAX: usize = 1024;
/// Where the metadata of an endpoint names its transport socket.
const MATCH_METADATA: &str = "envoy.transport_socket_match";

/// `FilterChain.transport_socket`; `None` where it has a problem.
pub(super) fn downstream(context: &mut Context<'_>, message: &Message) -> Option<DownstreamTransport> {
    if message.get(SOCKET).is_none() {
        return Some(DownstreamTransport::Raw);
    }
    context.inside(message, SOCKET, |context, message| {
        refuse_unsupported(message, context.report);
        extension::of(context, message, &[RAW_BUFFER, DOWNSTREAM_TLS], |context, config| {
            if config.kind.name() == DOWNSTREAM_TLS {
                return tls::downstream(context, config).map(DownstreamTransport::Tls);
            }
            refuse_unsupported(config, context.report);
            Some(DownstreamTransport::Raw)
        })
    })
}

/// Whether the socket of its own negotiates a protocol of the application, itself or below a PROXY header.
pub(super) fn is_tls(owner: &Message) -> bool {
    let socket = owner.message(SOCKET).and_then(|socket| socket.any("typed_config"));
    match socket.and_then(|any| any.value.as_deref()) {
        Some(Value::Message(config)) if config.kind.name() == PROXY_PROTOCOL => is_tls(config),
        Some(Value::Message(config)) => config.kind.name() == UPSTREAM_TLS,
        _ => false,
    }
}

/// Whether a PROXY header comes first.
pub(super) fn is_announced(owner: &Message) -> bool {
    let socket = owner.message(SOCKET).and_then(|socket| socket.any("typed_config"));
    let config = socket.and_then(|any| any.value.as_deref());
    matches!(config, Some(Value::Message(config)) if config.kind.name() == PROXY_PROTOCOL)
}

/// Whether all that a cluster may use do.
pub(super) fn is_all_tls(cluster: &Message) -> bool {
    is_tls(cluster) && cluster.messages(MATCHES).all(is_tls)
}

/// `Cluster.transport_socket`, then `transport_socket_matches`; `None` where one of them has a problem.
pub(super) fn upstream(context: &mut Context<'_>, message: &Message, auto: AutoSni) -> Option<Vec<UpstreamTransport>> {
    let own = match message.get(SOCKET) {
        Some(_) => context.inside(message, SOCKET, |context, message| socket(context, message, auto)),
        None => Some(UpstreamTransport::default()),
    };
    if message.items(MATCHES).len() > TRANSPORT_MATCHES_MAX {
        context.problem(message, MATCHES, format!("more than {TRANSPORT_MATCHES_MAX} are not supported"));
        return None;
    }
    let matches = context.each(message, MATCHES, |context, message| {
        refuse_unsupported(message, context.report);
        if message.get(SOCKET).is_none() {
            // Envoy: "Didn't find a registered implementation for ''".
            context.problem(message, SOCKET, "value is required");
        }
        let name = message.text("name").to_owned();
        let found = context.inside(message, SOCKET, |context, message| socket(context, message, auto))?;
        Some(UpstreamTransport { name, ..found })
    });
    let mut all: Vec<UpstreamTransport> = std::iter::once(own).chain(matches).collect::<Option<_>>()?;
    all.shrink_to_fit(); // most have one
    Some(all)
}

fn socket(context: &mut Context<'_>, message: &Message, auto: AutoSni) -> Option<UpstreamTransport> {
    refuse_unsupported(message, context.report);
    extension::of(context, message, &[RAW_BUFFER, UPSTREAM_TLS, PROXY_PROTOCOL], |context, config| {
        match config.kind.name() {
            UPSTREAM_TLS => Some(of_tls(tls::upstream(context, config, auto)?)),
            PROXY_PROTOCOL => proxy_protocol(context, config, auto),
            _ => {
                refuse_unsupported(config, context.report);
                Some(UpstreamTransport::default())
            }
        }
    })
}

fn of_tls(tls: UpstreamTls) -> UpstreamTransport {
    UpstreamTransport { tls: Some(tls), ..UpstreamTransport::default() }
}

/// `ProxyProtocolUpstreamTransport`, around another socket.
fn proxy_protocol(context: &mut Context<'_>, message: &Message, auto: AutoSni) -> Option<UpstreamTransport> {
    refuse_unsupported(message, context.report);
    let out = match message.get("config") {
        Some(_) => context.inside(message, "config", proxy_protocol_config),
        None => {
            Some(ProxyProtocolOut { version: ProxyProtocolVersion::V1, passed: PassedTlvs::Nothing, added: Vec::new() })
        }
    };
    let inner = context.inside(message, SOCKET, |context, inner| {
        refuse_unsupported(inner, context.report);
        extension::of(context, inner, &[RAW_BUFFER, UPSTREAM_TLS], |context, config| {
            if config.kind.name() == UPSTREAM_TLS {
                return tls::upstream(context, config, auto).map(of_tls);
            }
            refuse_unsupported(config, context.report);
            Some(UpstreamTransport::default())
        })
    });
    Some(UpstreamTransport { proxy_protocol: Some(out?), ..inner? })
}

/// `ProxyProtocolConfig`.
fn proxy_protocol_config(context: &mut Context<'_>, message: &Message) -> Option<ProxyProtocolOut> {
    refuse_unsupported(message, context.report);
    let version = match message.number("version") {
        0 => ProxyProtocolVersion::V1,
        _ => ProxyProtocolVersion::V2,
    };
    let passed = context.inside(message, "pass_through_tlvs", |context, message| Some(passed_tlvs(context, message)));
    let added = context.each(message, "added_tlvs", |context, message| {
        refuse_unsupported(message, context.report);
        let value = match message.get("value").map(|set| &set.value) {
            Some(Value::Bytes(bytes)) => bytes.clone(),
            _ => Vec::new(),
        };
        // The rules bound it.
        (message.uint("type").unwrap_or(0) as u8, value)
    });
    Some(ProxyProtocolOut { version, passed: passed.unwrap_or_default(), added })
}

/// `ProxyProtocolPassThroughTLVs`.
pub(super) fn passed_tlvs(context: &mut Context<'_>, message: &Message) -> PassedTlvs {
    const INCLUDE: i32 = 1;
    refuse_unsupported(message, context.report);
    if message.number("match_type") != INCLUDE {
        return PassedTlvs::All;
    }
    let kinds = message.items("tlv_type").iter().map(|item| match &item.value {
        Value::Uint(kind) => *kind as u8, // the rules bound it
        other => unreachable!("a list of numbers holds no {other:?}"),
    });
    PassedTlvs::These(kinds.collect())
}

/// What endpoints' metadata must hold for each of `transport_socket_matches`.
#[derive(Clone, Debug)]
pub(super) struct Criteria(Vec<Vec<(String, Json)>>);

impl Criteria {
    pub(super) fn of(cluster: &Message) -> Self {
        let of_match = |message: &Message| match message.get("match").map(|set| &set.value) {
            Some(Value::Json(Json::Map(fields))) => fields.clone(),
            _ => Vec::new(),
        };
        Self(cluster.messages(MATCHES).map(of_match).collect())
    }

    /// Which of a cluster's transports an endpoint has: by its own metadata, else by that of its locality.
    pub(super) fn transport(&self, endpoint: Option<&Message>, locality: Option<&Message>) -> u16 {
        let found = [endpoint, locality].into_iter().find_map(|metadata| {
            let labels = metadata.and_then(labels)?;
            self.0.iter().position(|criteria| criteria.iter().all(|(key, value)| holds(labels, key, value)))
        });
        // A match that asks for nothing takes those without metadata, too.
        let found = found.or_else(|| self.0.iter().position(|criteria| criteria.is_empty()));
        found.map_or(0, |position| u16::try_from(position + 1).expect("as many were refused"))
    }
}

/// Of `envoy.config.core.v3.Metadata` what is for matches.
fn labels(metadata: &Message) -> Option<&[(String, Json)]> {
    section(metadata, MATCH_METADATA)
}

/// What endpoints are known by where they are found by hash (`hash_key` of `envoy.lb`).
pub(super) fn hash_key(metadata: &Message) -> Option<Arc<str>> {
    let (_, key) = section(metadata, "envoy.lb")?.iter().find(|(label, _)| label == "hash_key")?;
    match key {
        Json::Text(key) => Some(key.as_str().into()),
        _ => None,
    }
}

/// Cluster metadata by which Istio says that the filter `istio.alpn` is not for its endpoints.
pub(super) fn keeps_alpn(cluster: &Message) -> bool {
    let fields = cluster.message("metadata").and_then(|metadata| section(metadata, "istio")).unwrap_or_default();
    fields.iter().any(|(key, value)| key == "alpn_override" && *value == Json::Text("false".to_owned()))
}

fn section<'m>(metadata: &'m Message, name: &str) -> Option<&'m [(String, Json)]> {
    let Some(Value::Map(filters)) = metadata.get("filter_metadata").map(|set| &set.value) else { return None };
    let (_, item) = filters.iter().find(|(other, _)| other == name)?;
    match &item.value {
        Value::Json(Json::Map(fields)) => Some(fields),
        _ => None,
    }
}

fn holds(labels: &[(String, Json)], key: &str, value: &Json) -> bool {
    labels.iter().any(|(label, held)| label == key && held == value)
}
