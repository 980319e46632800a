//! Who sent a request, and which one it is: `original_ip_detection_extensions` and `request_id_extension` of a connection manager.

use super::{Context, extension};
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

const DETECTION: &str = "original_ip_detection_extensions";
const XFF: &str = "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig";
const UUID: &str = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig";

/// The trusted hops of the one extension that is supported: it does what the connection manager's own field of that name does.
pub(super) fn detection(context: &mut Context<'_>, message: &Message) -> Option<u32> {
    let count = message.items(DETECTION).len();
    if count == 0 {
        return None;
    }
    if count > 1 {
        context.problem(message, DETECTION, "more than one extension is not supported yet");
    }
    // Envoy's words.
    let mixed = "Original IP detection extensions and this may not be mixed";
    if message.boolean("use_remote_address").unwrap_or(false) {
        context.problem(message, "use_remote_address", mixed);
    }
    if message.uint("xff_num_trusted_hops").unwrap_or(0) > 0 {
        context.problem(message, "xff_num_trusted_hops", mixed);
    }
    let hops = context.each(message, DETECTION, |context, message| {
        refuse_unsupported(message, context.report);
        extension::of(context, message, &[XFF], |context, config| {
            refuse_unsupported(config, context.report);
            Some(config.uint("xff_num_trusted_hops").unwrap_or(0))
        })
    });
    hops.into_iter().flatten().next()
}

/// A request's id is a UUID, with this extension and without. What it can be told is for tracing.
pub(super) fn request_id(context: &mut Context<'_>, message: &Message) {
    context.inside(message, "request_id_extension", |context, message| {
        refuse_unsupported(message, context.report);
        extension::of(context, message, &[UUID], |context, config| {
            refuse_unsupported(config, context.report);
            Some(())
        })
    });
}
