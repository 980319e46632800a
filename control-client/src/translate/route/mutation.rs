//! `request_headers_to_add`, `request_headers_to_remove`, and the same of responses: at each level of a route configuration.

use ringway_model::format::{Fact, Format, HeaderSource, Operator, Piece, Surroundings};
use ringway_model::{AppendAction, HeaderAddition, HeaderMutation, HeaderMutations};

use super::super::Context;
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

/// The mutations of one level; `None` where it has none, or where a problem stands in the way.
pub(super) fn mutations(context: &mut Context<'_>, message: &Message) -> Option<Box<HeaderMutations>> {
    let request = mutation(context, message, "request_headers_to_add", "request_headers_to_remove", Head::Request);
    let response = mutation(context, message, "response_headers_to_add", "response_headers_to_remove", Head::Response);
    let mutations = HeaderMutations { request, response };
    (mutations != HeaderMutations::default()).then(|| Box::new(mutations))
}

/// Which head is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    Request,
    Response,
    /// That of an answer of our own, when all is known that an access log would be told.
    LocalReply,
}

/// The fields that are added to answers of our own.
pub(in crate::translate) fn of_local_reply(context: &mut Context<'_>, message: &Message) -> HeaderMutation {
    let add = context.each(message, "headers_to_add", |context, message| addition(context, message, Head::LocalReply));
    HeaderMutation { remove: Vec::new(), add: add.into_iter().flatten().collect() }
}

fn mutation(context: &mut Context<'_>, message: &Message, add: &str, remove: &str, head: Head) -> HeaderMutation {
    let additions = context.each(message, add, |context, message| addition(context, message, head));
    HeaderMutation { remove: removals(context, message, remove), add: additions.into_iter().flatten().collect() }
}

/// The names of fields that go, in lower case.
pub(super) fn removals(context: &mut Context<'_>, message: &Message, field: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (index, item) in message.items(field).iter().enumerate() {
        let Value::Text(name) = &item.value else { unreachable!("names are strings") };
        match fault_of_name(name, "removed") {
            Some(rule) => context.report.problem_in(&format!("{field}[{index}]"), item.place, rule),
            None => names.push(name.to_ascii_lowercase()),
        }
    }
    names
}

/// Why a field of this name cannot be changed, if it cannot.
fn fault_of_name(name: &str, what: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if lower.starts_with(':') || lower == "host" {
        // Envoy: ":-prefixed or host headers may not be modified".
        return Some(format!(":-prefixed or host headers may not be {what}"));
    }
    if !is_token(name) {
        return Some("not the name of a header".to_owned());
    }
    // Envoy lets them be set, and the message then is not what it says that it is.
    FRAMING.contains(&lower.as_str()).then(|| format!("{lower} says how the message is framed: it cannot be {what}"))
}

/// Fields that the encoder writes by itself, and those that are of one hop.
const FRAMING: [&str; 8] =
    ["content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"];

/// RFC 9110 §5.6.2.
fn is_token(name: &str) -> bool {
    let is_mark = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
}

fn addition(context: &mut Context<'_>, message: &Message, head: Head) -> Option<HeaderAddition> {
    refuse_unsupported(message, context.report);
    let action = match (message.boolean("append"), message.number("append_action")) {
        (None, 0) | (Some(true), 0) => AppendAction::AppendIfExistsOrAdd,
        (Some(false), 0) => AppendAction::OverwriteIfExistsOrAdd,
        (Some(_), _) => {
            context.problem(message, "append", "both append and append_action are set");
            return None;
        }
        (None, 1) => AppendAction::AddIfAbsent,
        (None, 2) => AppendAction::OverwriteIfExistsOrAdd,
        (None, _) => AppendAction::OverwriteIfExists,
    };
    let keep_empty = message.boolean("keep_empty_value").unwrap_or(false);
    let (name, value) = context.inside(message, "header", |context, header| field(context, header, head))?;
    Some(HeaderAddition { name, value, action, keep_empty })
}

/// `envoy.config.core.v3.HeaderValue`.
fn field(context: &mut Context<'_>, message: &Message, head: Head) -> Option<(String, Format)> {
    refuse_unsupported(message, context.report);
    let name = message.text("key");
    if let Some(rule) = fault_of_name(name, "modified") {
        context.problem(message, "key", rule);
        return None;
    }
    let (field, text) = match message.get("raw_value").map(|set| &set.value) {
        None => ("value", message.text("value")),
        // Envoy: "Only one of value or raw_value can be set".
        Some(_) if message.get("value").is_some() => {
            context.problem(message, "raw_value", "only one of value and raw_value can be set");
            return None;
        }
        Some(Value::Bytes(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => ("raw_value", text),
            Err(_) => {
                context.problem(message, "raw_value", "bytes that are not UTF-8 are not supported yet");
                return None;
            }
        },
        Some(other) => unreachable!("raw_value holds no {other:?}"),
    };
    let hostname = if text.contains("%HOSTNAME%") { hostname() } else { String::new() };
    let around = Surroundings { hostname: &hostname, variable: &|name| std::env::var(name).ok() };
    let format = match Format::parse(text, &around) {
        Ok(format) => format,
        Err(error) => {
            context.problem(message, field, error.to_string());
            return None;
        }
    };
    for piece in format.pieces() {
        match piece {
            Piece::Text(text) if text.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) => {
                context.problem(message, field, "a header cannot hold control characters");
                return None;
            }
            Piece::Value(operator, _) if !is_known(operator, head) => {
                context.problem(message, field, format!("not supported yet in a header: {operator:?}"));
                return None;
            }
            Piece::Text(_) | Piece::Value(..) => {}
        }
    }
    Some((name.to_ascii_lowercase(), format))
}

/// The machine's name, empty where it has none.
fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// Whether an operator can be answered while a head is written.
fn is_known(operator: &Operator, head: Head) -> bool {
    if head == Head::LocalReply {
        return true;
    }
    match operator {
        Operator::Header { of: HeaderSource::Request, .. }
        | Operator::Path { .. }
        | Operator::QueryParameter(_)
        | Operator::StartTime(_)
        | Operator::Absent => true,
        Operator::Header { of: HeaderSource::Response, .. } => head == Head::Response,
        Operator::Fact(fact) => match fact {
            Fact::Protocol
            | Fact::RouteName
            | Fact::UpstreamCluster
            | Fact::UpstreamClusterRaw
            | Fact::DownstreamRemoteAddress
            | Fact::DownstreamRemoteAddressWithoutPort
            | Fact::DownstreamRemotePort
            | Fact::DownstreamDirectRemoteAddress
            | Fact::DownstreamDirectRemoteAddressWithoutPort
            | Fact::DownstreamDirectRemotePort
            | Fact::DownstreamLocalAddress
            | Fact::DownstreamLocalAddressWithoutPort
            | Fact::DownstreamLocalPort => true,
            Fact::ResponseCode => head == Head::Response,
            _ => false,
        },
        _ => false,
    }
}
