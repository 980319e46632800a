//! What an HTTP connection manager makes of requests' heads: the fields of its message that become
//! [`RequestRules`] and parts of [`HeaderRules`].

use ringway_model::{
    ClientCertDetails, ClientCertRules, ConnectionRules, EscapedSlashes, ForwardClientCert, HeaderRules, HostRules,
    PathRules, RequestRules, Scheme, StripPort, Underscores, UserAgent,
};

use super::Context;
use super::timeout::unless_zero;
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

/// `HttpProtocolOptions.max_headers_count` where the file says nothing.
const FIELDS: u32 = 100;
/// The most that it may say: a worker has one table of so many fields (docs/LIMITS.md, `HEADERS_CAP`).
const FIELDS_MAX: u32 = 512;

/// `common` is `common_http_protocol_options`, if it is set.
pub(super) fn rules(message: &Message, common: Option<&Message>) -> RequestRules {
    let is_set = |name: &str| message.boolean(name).unwrap_or(false);
    RequestRules {
        path: PathRules {
            normalize: is_set("normalize_path"),
            merge_slashes: is_set("merge_slashes"),
            // The implementation's own default is to keep them.
            escaped_slashes: match message.number("path_with_escaped_slashes_action") {
                2 => EscapedSlashes::Reject,
                3 => EscapedSlashes::Redirect,
                4 => EscapedSlashes::Forward,
                _ => EscapedSlashes::Keep,
            },
        },
        host: HostRules {
            strip_dot: is_set("strip_trailing_host_dot"),
            strip_port: match (is_set("strip_any_host_port"), is_set("strip_matching_host_port")) {
                (true, _) => StripPort::Any,
                (false, true) => StripPort::Matching,
                (false, false) => StripPort::None,
            },
        },
        underscores: match common.map_or(0, |common| common.number("headers_with_underscores_action")) {
            1 => Underscores::Reject,
            2 => Underscores::Drop,
            _ => Underscores::Allow,
        },
    }
}

/// `max_headers_count` of `HttpProtocolOptions`, which the report stands at.
pub(super) fn fields_max(context: &mut Context<'_>, common: &Message) -> usize {
    let count = common.uint("max_headers_count").unwrap_or(FIELDS);
    if count > FIELDS_MAX {
        context.problem(common, "max_headers_count", format!("at most {FIELDS_MAX} headers are supported"));
    }
    count.min(FIELDS_MAX) as usize
}

/// [`fields_max`] where nothing is set.
pub(super) const fn fields_max_default() -> usize {
    FIELDS as usize
}

/// How long a connection may live, where `common_http_protocol_options` says nothing.
pub(super) fn connections_default(message: &Message) -> ConnectionRules {
    let defaults = ConnectionRules::default();
    ConnectionRules {
        drain_timeout: message.duration("drain_timeout").unwrap_or(defaults.drain_timeout),
        is_soft: message.boolean("http1_safe_max_connection_duration").unwrap_or(false),
        ..defaults
    }
}

/// The same where it is set.
pub(super) fn connections(message: &Message, common: &Message) -> ConnectionRules {
    ConnectionRules {
        duration_max: common.duration("max_connection_duration").and_then(unless_zero),
        requests_max: common.uint("max_requests_per_connection").filter(|&max| max > 0),
        ..connections_default(message)
    }
}

/// What is said of the client and of ourselves.
pub(super) fn forwarded(context: &mut Context<'_>, message: &Message, rules: HeaderRules) -> HeaderRules {
    let is_set = |name: &str| message.boolean(name).unwrap_or(false);
    let scheme = context.inside(message, "scheme_header_transformation", |context, message| {
        refuse_unsupported(message, context.report);
        Some(if message.text("scheme_to_overwrite") == "https" { Scheme::Https } else { Scheme::Http })
            .filter(|_| message.get("scheme_to_overwrite").is_some())
    });
    let user_agent = is_set("add_user_agent")
        .then(|| UserAgent { cluster: context.around.node.cluster.clone(), node: context.around.node.id.clone() });
    for text in user_agent.iter().flat_map(|agent| [&agent.cluster, &agent.node]) {
        if text.chars().any(char::is_control) {
            context.problem(message, "add_user_agent", "the node's names become headers and hold control characters");
        }
    }
    HeaderRules {
        client_cert: client_cert(context, message),
        append_forwarded_port: is_set("append_x_forwarded_port"),
        maps_ipv4: is_set("represent_ipv4_remote_address_as_ipv4_mapped_ipv6"),
        scheme,
        user_agent: user_agent.filter(|agent| !agent.cluster.is_empty()),
        ..rules
    }
}

/// `forward_client_cert_details` and `set_current_client_cert_details`.
fn client_cert(context: &mut Context<'_>, message: &Message) -> ClientCertRules {
    let details = context.inside(message, "set_current_client_cert_details", |context, message| {
        refuse_unsupported(message, context.report);
        let is_set = |name: &str| message.boolean(name).unwrap_or(false);
        Some(ClientCertDetails {
            cert: is_set("cert"),
            chain: is_set("chain"),
            subject: is_set("subject"),
            uri: is_set("uri"),
            dns: is_set("dns"),
        })
    });
    let forward = match message.number("forward_client_cert_details") {
        1 => ForwardClientCert::ForwardOnly,
        2 => ForwardClientCert::AppendForward,
        3 => ForwardClientCert::SanitizeSet,
        4 => ForwardClientCert::AlwaysForwardOnly,
        _ => ForwardClientCert::Sanitize,
    };
    ClientCertRules { forward, details: details.unwrap_or_default() }
}
