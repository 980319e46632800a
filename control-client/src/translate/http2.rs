//! `envoy.config.core.v3.Http2ProtocolOptions`, of a connection manager and of a cluster.

use ringway_model::{Http2Options, Keepalive, MalformedEnds};

use super::Context;
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

/// What stands around the options, and has a say in them.
#[derive(Clone, Copy, Default)]
pub(super) struct Around {
    /// `stream_error_on_invalid_http_message` of the connection manager, if it is set.
    pub(super) stream_error: Option<bool>,
    /// The field that says how large a head may be, and its kilobytes.
    pub(super) head: Option<(&'static str, u32)>,
}

/// `http2_protocol_options`; the default where it is not set.
pub(super) fn options(context: &mut Context<'_>, message: &Message, around: Around) -> Http2Options {
    let found = context.inside(message, "http2_protocol_options", |context, options| {
        refuse_unsupported(options, context.report);
        check_header_field_size(context, options, around);
        check_settings(context, options);
        Some(read(context, options, around))
    });
    let unset = Http2Options { malformed_ends: malformed_ends(around.stream_error), ..Http2Options::default() };
    found.unwrap_or(unset)
}

fn read(context: &mut Context<'_>, options: &Message, around: Around) -> Http2Options {
    let default = Http2Options::default();
    let count = |name, default| options.uint(name).unwrap_or(default);
    // More than 2^32 is as good as that.
    let wide =
        |name, default| options.wide_uint(name).map_or(default, |count| u32::try_from(count).unwrap_or(u32::MAX));
    let hpack_table_size = count("hpack_table_size", default.hpack_table_size);
    if hpack_table_size > Http2Options::HPACK_TABLE_SIZE_MAX {
        let rule = format!("at most {} bytes are supported", Http2Options::HPACK_TABLE_SIZE_MAX);
        context.problem(options, "hpack_table_size", rule);
    }
    // `false`, the deprecated field's only other value, is as good as unset: it has no presence.
    let before = options.boolean("stream_error_on_invalid_http_messaging");
    let stream_error = options.boolean("override_stream_error_on_invalid_http_message").or(around.stream_error);
    Http2Options {
        max_concurrent_streams: count("max_concurrent_streams", default.max_concurrent_streams),
        initial_stream_window_size: options.uint("initial_stream_window_size"),
        initial_connection_window_size: options.uint("initial_connection_window_size"),
        hpack_table_size,
        allow_connect: options.boolean("allow_connect").unwrap_or(default.allow_connect),
        max_outbound_frames: count("max_outbound_frames", default.max_outbound_frames),
        max_outbound_control_frames: count("max_outbound_control_frames", default.max_outbound_control_frames),
        max_consecutive_inbound_frames_with_empty_payload: count(
            "max_consecutive_inbound_frames_with_empty_payload",
            default.max_consecutive_inbound_frames_with_empty_payload,
        ),
        max_inbound_priority_frames_per_stream: count(
            "max_inbound_priority_frames_per_stream",
            default.max_inbound_priority_frames_per_stream,
        ),
        max_inbound_window_update_frames_per_data_frame_sent: count(
            "max_inbound_window_update_frames_per_data_frame_sent",
            default.max_inbound_window_update_frames_per_data_frame_sent,
        ),
        stream_reset_burst: wide("stream_reset_burst", default.stream_reset_burst),
        stream_reset_rate: wide("stream_reset_rate", default.stream_reset_rate),
        connection_keepalive: context.inside(options, "connection_keepalive", keepalive),
        malformed_ends: malformed_ends(stream_error.or(before)),
    }
}

fn malformed_ends(stream_error: Option<bool>) -> MalformedEnds {
    match stream_error {
        Some(false) => MalformedEnds::Connection,
        Some(true) | None => MalformedEnds::Stream,
    }
}

fn keepalive(context: &mut Context<'_>, message: &Message) -> Option<Keepalive> {
    refuse_unsupported(message, context.report);
    let jitter = context.inside(message, "interval_jitter", |context, message| {
        refuse_unsupported(message, context.report);
        Some(message.double("value").unwrap_or(0.0))
    });
    Some(Keepalive {
        interval: message.duration("interval"),
        interval_jitter_percent: jitter.unwrap_or(INTERVAL_JITTER_PERCENT),
        // Required: where it is not set, that has been said.
        timeout: message.duration("timeout")?,
        connection_idle_interval: message.duration("connection_idle_interval"),
    })
}

/// `KeepaliveSettings.interval_jitter` where the file says nothing.
const INTERVAL_JITTER_PERCENT: f64 = 15.0;

/// One field of a head may be as large as the head, so that more is what `max_header_field_size_kb` cannot say.
fn check_header_field_size(context: &mut Context<'_>, options: &Message, around: Around) {
    if let (Some(field), Some((name, head))) = (options.uint("max_header_field_size_kb"), around.head)
        && field > head
    {
        // Envoy's words.
        context.problem(options, "max_header_field_size_kb", format!("must not exceed {name}, which is {head}"));
    }
}

/// `custom_settings_parameters`: there is none that another field does not say better.
fn check_settings(context: &mut Context<'_>, options: &Message) {
    let mut seen: Vec<(u32, u32)> = Vec::new();
    context.each(options, "custom_settings_parameters", |context, parameter| {
        refuse_unsupported(parameter, context.report);
        // Both are required: where one is not set, that has been said.
        let (Some(identifier), Some(value)) = (parameter.uint("identifier"), parameter.uint("value")) else { return };
        let is_other = seen.iter().any(|&(before, other)| before == identifier && other != value);
        seen.push((identifier, value));
        let rule = match (identifier, value) {
            _ if is_other => format!("a second value for the SETTINGS parameter {identifier}"),
            // As it is announced in any case.
            (SETTINGS_ENABLE_PUSH, 0) => return,
            (SETTINGS_ENABLE_PUSH, _) => "there is no server push".to_owned(),
            (SETTINGS_ENABLE_CONNECT_PROTOCOL, _) => "set allow_connect instead".to_owned(),
            _ => match named(identifier) {
                Some(field) if options.get(field).is_some() => format!("{field} is set, too"),
                Some(field) => format!("not supported yet: set {field}"),
                None => format!("the SETTINGS parameter {identifier} is not supported yet"),
            },
        };
        context.problem(parameter, "identifier", rule);
    });
}

/// The field that says what a parameter of this identifier would.
fn named(identifier: u32) -> Option<&'static str> {
    match identifier {
        SETTINGS_HEADER_TABLE_SIZE => Some("hpack_table_size"),
        SETTINGS_MAX_CONCURRENT_STREAMS => Some("max_concurrent_streams"),
        SETTINGS_INITIAL_WINDOW_SIZE => Some("initial_stream_window_size"),
        _ => None,
    }
}

// RFC 9113 §6.5.2, RFC 8441 §3.
const SETTINGS_HEADER_TABLE_SIZE: u32 = 1;
const SETTINGS_ENABLE_PUSH: u32 = 2;
const SETTINGS_MAX_CONCURRENT_STREAMS: u32 = 3;
const SETTINGS_INITIAL_WINDOW_SIZE: u32 = 4;
const SETTINGS_ENABLE_CONNECT_PROTOCOL: u32 = 8;
