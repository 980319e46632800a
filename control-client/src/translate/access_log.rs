//! `envoy.config.accesslog.v3.AccessLog`: files and streams, formats and filters.

use ringway_model::format::{DEFAULT_ACCESS_LOG_FORMAT, Format, Surroundings};
use ringway_model::{
    AccessLog, Comparison, ComparisonOp, Fraction, JsonNode, LogFilter, LogSink, LogText, ResponseFlag, ResponseFlags,
};

use super::{Context, matcher, route};
use crate::compatibility::refuse_unsupported;
use crate::message::{Item, Json, Message, Value};

const FILE: &str = "envoy.extensions.access_loggers.file.v3.FileAccessLog";
const STDOUT: &str = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
const STDERR: &str = "envoy.extensions.access_loggers.stream.v3.StderrAccessLog";
/// A format that is read from a file: many times what people write, and small beside the configuration itself.
const FORMAT_BYTES_MAX: usize = 64 << 10;

/// `AccessLogType`: the one line that an exchange or a connection gets. Lines of a listener have none.
#[derive(Clone, Copy)]
pub(super) enum LogType {
    NotSet = 0,
    TcpConnectionEnd = 3,
    DownstreamEnd = 6,
}

/// The field `access_log`.
pub(super) fn access_logs(context: &mut Context<'_>, message: &Message, kind: LogType) -> Vec<AccessLog> {
    let logs = context.each(message, "access_log", |context, message| access_log(context, message, kind));
    logs.into_iter().flatten().collect()
}

fn access_log(context: &mut Context<'_>, message: &Message, kind: LogType) -> Option<AccessLog> {
    refuse_unsupported(message, context.report);
    let filter = match message.message("filter") {
        None => None,
        Some(inner) => Some(context.field("filter", |context| filter(context, inner, kind))?),
    };
    let found = message.any("typed_config").and_then(|any| any.value.as_deref());
    let Some(Value::Message(config)) = found else {
        // Envoy: "Didn't find a registered implementation".
        let rule = format!("no implementation for {:?} without a type", message.text("name"));
        context.problem(message, "typed_config", rule);
        return None;
    };
    let sink = match config.kind.name() {
        FILE => LogSink::File(config.text("path").to_owned()),
        STDOUT => LogSink::Stdout,
        STDERR => LogSink::Stderr,
        other => {
            context.problem(message, "typed_config", format!("{other} is not supported yet"));
            return None;
        }
    };
    let text = context.field("typed_config", |context| text(context, config))?;
    Some(AccessLog { sink, text, filter })
}

/// The format of a file's or a stream's configuration.
fn text(context: &mut Context<'_>, config: &Message) -> Option<LogText> {
    refuse_unsupported(config, context.report);
    if let Some(inner) = config.message("log_format") {
        return context.field("log_format", |context| format_string(context, inner));
    }
    // Streams have no other field than log_format.
    let set = if config.kind.name() == FILE {
        ["format", "json_format", "typed_json_format"].into_iter().find_map(|name| config.get(name))
    } else {
        None
    };
    match set.map(|set| (set.field.name(), &set.value)) {
        Some((name, Value::Json(json))) => {
            let object = json_node(context, config, name, json)?;
            Some(LogText::Json { object, omit_empty: false })
        }
        Some((_, Value::Text(text))) if !text.is_empty() => {
            let format = read(context, config, "format", text)?;
            Some(LogText::Text { format, omit_empty: false })
        }
        // Envoy: an empty `format` is the default one, too.
        _ => {
            let format = read(context, config, "format", DEFAULT_ACCESS_LOG_FORMAT)?;
            Some(LogText::Text { format, omit_empty: false })
        }
    }
}

/// `envoy.config.core.v3.SubstitutionFormatString`.
pub(super) fn format_string(context: &mut Context<'_>, message: &Message) -> Option<LogText> {
    refuse_unsupported(message, context.report);
    let omit_empty = message.boolean("omit_empty_values").unwrap_or(false);
    if let Some(set) = message.get("json_format") {
        let Value::Json(json) = &set.value else { unreachable!("json_format is a Struct") };
        let object = json_node(context, message, "json_format", json)?;
        return Some(LogText::Json { object, omit_empty });
    }
    let format = match message.message("text_format_source") {
        None => read(context, message, "text_format", message.text("text_format"))?,
        Some(source) => context.field("text_format_source", |context| {
            let data = route::data(context, source, FORMAT_BYTES_MAX)?;
            let name = source.fields.first().map_or("inline_string", |set| set.field.name());
            match std::str::from_utf8(&data) {
                Ok(text) => read(context, source, name, text),
                Err(_) => {
                    context.problem(source, name, "a format is UTF-8");
                    None
                }
            }
        })?,
    };
    Some(LogText::Text { format, omit_empty })
}

/// Reads a format string that stands in this field.
fn read(context: &mut Context<'_>, message: &Message, field: &str, text: &str) -> Option<Format> {
    let hostname = hostname();
    let around = Surroundings { hostname: &hostname, variable: &|name| std::env::var(name).ok() };
    Format::parse(text, &around).map_err(|error| context.problem(message, field, error.to_string())).ok()
}

/// The machine's name, empty where it has none.
fn hostname() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    text.trim().to_owned()
}

fn json_node(context: &mut Context<'_>, message: &Message, field: &str, json: &Json) -> Option<JsonNode> {
    Some(match json {
        Json::Null => JsonNode::Null,
        Json::Bool(value) => JsonNode::Literal(value.to_string()),
        Json::Number(value) => JsonNode::Literal(number(*value)),
        Json::Text(text) => JsonNode::Text(read(context, message, field, text)?),
        Json::List(items) => {
            JsonNode::List(items.iter().map(|item| json_node(context, message, field, item)).collect::<Option<_>>()?)
        }
        Json::Map(entries) => {
            let mut members = Vec::with_capacity(entries.len());
            for (name, value) in entries {
                members.push((name.clone(), json_node(context, message, field, value)?));
            }
            members.sort_by(|one, other| one.0.cmp(&other.0));
            JsonNode::Object(members)
        }
    })
}

/// A number as JSON has it; whole ones without a fraction, as Envoy writes them.
fn number(value: f64) -> String {
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0; // 2^53: beyond it not every whole number is one
    if value.fract() == 0.0 && value.abs() <= WHOLE_MAX { format!("{value:.0}") } else { format!("{value:?}") }
}

pub(super) fn filter(context: &mut Context<'_>, message: &Message, kind: LogType) -> Option<LogFilter> {
    refuse_unsupported(message, context.report);
    let set = message.fields.first()?;
    let name = set.field.name();
    let inner = message.message(name)?;
    let several = |context: &mut Context<'_>| -> Option<Vec<LogFilter>> {
        context.field(name, |context| {
            refuse_unsupported(inner, context.report);
            let read = |context: &mut Context<'_>, inner: &Message| filter(context, inner, kind);
            context.each(inner, "filters", read).into_iter().collect()
        })
    };
    Some(match name {
        "status_code_filter" => LogFilter::Status(context.field(name, |context| comparison(context, inner))?),
        "duration_filter" => LogFilter::Duration(context.field(name, |context| comparison(context, inner))?),
        "not_health_check_filter" => LogFilter::NotHealthCheck,
        "header_filter" => context.field(name, |context| {
            refuse_unsupported(inner, context.report);
            context.inside(inner, "header", matcher::header).map(LogFilter::Header)
        })?,
        "runtime_filter" => context.field(name, |context| sampled(context, inner))?,
        "response_flag_filter" => {
            context.field(name, |context| refuse_unsupported(inner, context.report));
            flags(inner)
        }
        "grpc_status_filter" => {
            context.field(name, |context| refuse_unsupported(inner, context.report));
            let statuses = numbers(inner, "statuses").map(|status| status as u32).collect();
            LogFilter::GrpcStatus { statuses, exclude: inner.boolean("exclude").unwrap_or(false) }
        }
        "log_type_filter" => {
            context.field(name, |context| refuse_unsupported(inner, context.report));
            let is_named = numbers(inner, "types").any(|number| number == kind as i32);
            let is_wanted = is_named != inner.boolean("exclude").unwrap_or(false);
            // All of none passes; any of none does not.
            if is_wanted { LogFilter::All(Vec::new()) } else { LogFilter::Any(Vec::new()) }
        }
        "and_filter" => LogFilter::All(several(context)?),
        "or_filter" => LogFilter::Any(several(context)?),
        // Refused above.
        _ => return None,
    })
}

/// The enums of a list.
fn numbers<'m>(message: &'m Message, name: &str) -> impl Iterator<Item = i32> + use<'m> {
    message.items(name).iter().map(|Item { value, .. }| match value {
        Value::Enum(number) => *number,
        other => unreachable!("a list of enums holds no {other:?}"),
    })
}

/// The comparison of a `StatusCodeFilter` or a `DurationFilter`.
fn comparison(context: &mut Context<'_>, message: &Message) -> Option<Comparison> {
    refuse_unsupported(message, context.report);
    context.inside(message, "comparison", |context, message| {
        refuse_unsupported(message, context.report);
        let op = match message.get("op").map(|set| &set.value) {
            Some(Value::Enum(1)) => ComparisonOp::AtLeast,
            Some(Value::Enum(2)) => ComparisonOp::AtMost,
            Some(Value::Enum(3)) => ComparisonOp::Unequal,
            _ => ComparisonOp::Equal,
        };
        let value = context.inside(message, "value", |context, value| {
            refuse_unsupported(value, context.report);
            let runtime = context.runtime_uint(value.text("runtime_key"));
            Some(runtime.or(value.uint("default_value")).unwrap_or(0))
        })?;
        Some(Comparison { op, value })
    })
}

fn sampled(context: &mut Context<'_>, message: &Message) -> Option<LogFilter> {
    refuse_unsupported(message, context.report);
    let percent = message.message("percent_sampled");
    if let Some(percent) = percent {
        context.field("percent_sampled", |context| refuse_unsupported(percent, context.report));
    }
    let independent = message.boolean("use_independent_randomness").unwrap_or(false);
    if let Some(Fraction { numerator, denominator }) = matcher::runtime_fraction(context, message.text("runtime_key")) {
        return Some(LogFilter::Sampled { numerator, denominator, independent });
    }
    let denominator = match percent.and_then(|percent| percent.get("denominator")).map(|set| &set.value) {
        Some(Value::Enum(1)) => 10_000,
        Some(Value::Enum(2)) => 1_000_000,
        _ => 100,
    };
    Some(LogFilter::Sampled {
        // Without a percentage only the runtime could turn it on.
        numerator: percent.and_then(|percent| percent.uint("numerator")).unwrap_or(0),
        denominator,
        independent,
    })
}

/// Flags that nothing here sets are valid and never met.
fn flags(message: &Message) -> LogFilter {
    let items = message.items("flags");
    if items.is_empty() {
        return LogFilter::AnyFlag;
    }
    let mut flags = ResponseFlags::NONE;
    for item in items {
        let Value::Text(name) = &item.value else { unreachable!("flags are strings") };
        if let Some(flag) = ResponseFlag::ALL.iter().find(|flag| flag.short() == name) {
            flags.insert(*flag);
        }
    }
    LogFilter::Flags(flags)
}
