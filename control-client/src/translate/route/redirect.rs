//! `envoy.config.route.v3.RedirectAction`.

use ringway_model::{Redirect, RedirectPath};

use super::super::Context;
use super::action;
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

/// By the number of `RedirectAction.RedirectResponseCode`.
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

pub(super) fn redirect(context: &mut Context<'_>, message: &Message) -> Option<Redirect> {
    refuse_unsupported(message, context.report);
    for name in ["host_redirect", "path_redirect", "scheme_redirect"] {
        // The bytes become part of a Location.
        if message.text(name).bytes().any(|byte| !(0x21..=0x7e).contains(&byte)) {
            context.problem(message, name, "not legal in a URL");
        }
    }
    let text = |name| Some(message.text(name).to_owned()).filter(|text: &String| !text.is_empty());
    let scheme = text("scheme_redirect")
        .or_else(|| message.boolean("https_redirect").unwrap_or(false).then(|| "https".to_owned()));
    let port = match message.uint("port_redirect").map(u16::try_from) {
        None => None,
        Some(Ok(port)) => Some(port).filter(|&port| port > 0),
        Some(Err(_)) => {
            context.problem(message, "port_redirect", "not a port");
            None
        }
    };
    let path = match text("path_redirect") {
        Some(path) => Some(RedirectPath::Path(path)),
        None => action::path_rewrite(context, message).map(RedirectPath::Rewrite),
    };
    let status = usize::try_from(message.number("response_code")).ok().and_then(|at| STATUSES.get(at));
    Some(Redirect {
        status: *status?,
        scheme,
        host: text("host_redirect"),
        port,
        path,
        strip_query: message.boolean("strip_query").unwrap_or(false),
    })
}
