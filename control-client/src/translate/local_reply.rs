//! `envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig`.

use ringway_model::{BodyFormat, LocalReplies, LocalReplyMapper, LogText};

use super::access_log::LogType;
use super::route::mutation;
use super::{Context, access_log, route};
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

/// A body that takes the place of an answer's own: many times what people write.
const BODY_BYTES_MAX: usize = 64 << 10;

pub(super) fn local_replies(context: &mut Context<'_>, message: &Message) -> Option<LocalReplies> {
    refuse_unsupported(message, context.report);
    let mappers = context.each(message, "mappers", mapper);
    let format = match message.message("body_format") {
        None => None,
        Some(format) => Some(context.field("body_format", |context| body_format(context, format))?),
    };
    Some(LocalReplies { mappers: mappers.into_iter().collect::<Option<_>>()?, format })
}

fn mapper(context: &mut Context<'_>, message: &Message) -> Option<LocalReplyMapper> {
    refuse_unsupported(message, context.report);
    // That there is one the rules of the API demand.
    let filter = context
        .inside(message, "filter", |context, message| access_log::filter(context, message, LogType::DownstreamEnd));
    let body = match message.message("body") {
        None => None,
        Some(body) => Some(context.field("body", |context| route::data(context, body, BODY_BYTES_MAX))?),
    };
    let format = match message.message("body_format_override") {
        None => None,
        Some(format) => Some(context.field("body_format_override", |context| body_format(context, format))?),
    };
    let headers = mutation::of_local_reply(context, message);
    let status = message.uint("status_code").and_then(|status| u16::try_from(status).ok());
    Some(LocalReplyMapper { filter: filter?, status, body, format, headers })
}

fn body_format(context: &mut Context<'_>, message: &Message) -> Option<BodyFormat> {
    let text = access_log::format_string(context, message)?;
    let content_type = match (message.text("content_type"), &text) {
        ("", LogText::Json { .. }) => "application/json",
        ("", LogText::Text { .. }) => "text/plain",
        (said, _) if said.chars().any(char::is_control) => {
            context.problem(message, "content_type", "a header's value holds no control characters");
            return None;
        }
        (said, _) => said,
    };
    Some(BodyFormat { text, content_type: content_type.to_owned() })
}
