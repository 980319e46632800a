//! `envoy.config.core.v3.Http1ProtocolOptions`, of a connection manager and of a cluster.

use ringway_model::{Http1Rules, OwnNames};

use super::{Context, extension};
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

/// `http_protocol_options`, where it is set.
pub(super) fn rules(context: &mut Context<'_>, message: &Message) -> Http1Rules {
    let found = context.inside(message, "http_protocol_options", |context, options| {
        refuse_unsupported(options, context.report);
        let format = context.inside(options, "header_key_format", header_key_format).unwrap_or_default();
        let default_host = options.text("default_host_for_http_10").to_owned();
        // What clients without a Host are taken to say has to be one.
        if !default_host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte)) {
            context.problem(options, "default_host_for_http_10", "not a host");
        }
        Some(Http1Rules {
            trailers: options.boolean("enable_trailers").unwrap_or(false),
            proper_case: format.proper_case,
            preserve_case: format.preserve_case,
            accept_http_10: options.boolean("accept_http_10").unwrap_or(false),
            default_host,
        })
    });
    found.unwrap_or_default()
}

/// `HeaderKeyFormat`, as far as it goes into [`Http1Rules`].
#[derive(Default)]
struct Format {
    proper_case: bool,
    preserve_case: Option<OwnNames>,
}

fn header_key_format(context: &mut Context<'_>, message: &Message) -> Option<Format> {
    refuse_unsupported(message, context.report);
    let proper_case = context.inside(message, "proper_case_words", |context, words| {
        refuse_unsupported(words, context.report);
        Some(())
    });
    let preserve_case = context.inside(message, "stateful_formatter", |context, formatter| {
        refuse_unsupported(formatter, context.report);
        extension::of(context, formatter, &[PRESERVE_CASE], |context, config| {
            refuse_unsupported(config, context.report);
            // `forward_reason_phrase` asks for what is done anyway: phrases are passed on.
            Some(match config.number("formatter_type_on_envoy_headers") {
                1 => OwnNames::ProperCase,
                _ => OwnNames::LowerCase,
            })
        })
    });
    Some(Format { proper_case: proper_case.is_some(), preserve_case })
}

const PRESERVE_CASE: &str = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig";
