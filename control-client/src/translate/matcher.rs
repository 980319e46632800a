//! The matchers that routes and other parts of a file share: texts, expressions, headers, fractions.

use ringway_model::{
    Fraction, HeaderMatcher, HeaderTest, QueryMatcher, QueryTest, Regex, Subject, TextMatcher, TextPattern,
};

use super::Context;
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

/// `envoy.type.matcher.v3.RegexMatcher`, which must match all of a text.
pub(super) fn whole_regex(context: &mut Context<'_>, message: &Message) -> Option<Regex> {
    let pattern = pattern(context, message);
    let compiled = context.regexes.whole(pattern);
    compiled_or_problem(context, message, compiled)
}

/// `envoy.type.matcher.v3.RegexMatcher`, which is looked for in a text.
pub(super) fn search_regex(context: &mut Context<'_>, message: &Message) -> Option<Regex> {
    let pattern = pattern(context, message);
    let compiled = context.regexes.search(pattern);
    compiled_or_problem(context, message, compiled)
}

pub(super) fn pattern<'m>(context: &mut Context<'_>, message: &'m Message) -> &'m str {
    refuse_unsupported(message, context.report);
    context.inside(message, "google_re2", |context, message| {
        refuse_unsupported(message, context.report);
        Some(())
    });
    message.text("regex")
}

fn compiled_or_problem(context: &mut Context<'_>, message: &Message, compiled: Result<Regex, String>) -> Option<Regex> {
    match compiled {
        Ok(regex) => Some(regex),
        Err(reason) => {
            context.problem(message, "regex", format!("not a regular expression that can be used: {reason}"));
            None
        }
    }
}

/// `envoy.type.matcher.v3.StringMatcher`.
pub(super) fn text(context: &mut Context<'_>, message: &Message) -> Option<TextMatcher> {
    refuse_unsupported(message, context.report);
    let ignore_case = message.boolean("ignore_case").unwrap_or(false);
    let text = |name| message.get(name).map(|_| message.text(name).to_owned());
    let pattern = match () {
        () if message.get("safe_regex").is_some() => {
            if ignore_case {
                context.problem(message, "ignore_case", "ignore_case has no effect for safe_regex");
            }
            TextPattern::Regex(context.inside(message, "safe_regex", whole_regex)?)
        }
        () => text("exact")
            .map(TextPattern::Exact)
            .or_else(|| text("prefix").map(TextPattern::Prefix))
            .or_else(|| text("suffix").map(TextPattern::Suffix))
            .or_else(|| text("contains").map(TextPattern::Contains))?,
    };
    Some(TextMatcher { pattern, ignore_case })
}

/// `envoy.config.route.v3.HeaderMatcher`.
pub(super) fn header(context: &mut Context<'_>, message: &Message) -> Option<HeaderMatcher> {
    refuse_unsupported(message, context.report);
    let plain = |name, pattern: fn(String) -> TextPattern| {
        let set = message.get(name);
        set.map(|_| {
            HeaderTest::Text(TextMatcher { pattern: pattern(message.text(name).to_owned()), ignore_case: false })
        })
    };
    let test = if message.get("string_match").is_some() {
        HeaderTest::Text(context.inside(message, "string_match", text)?)
    } else if message.get("safe_regex_match").is_some() {
        let regex = context.inside(message, "safe_regex_match", whole_regex)?;
        HeaderTest::Text(TextMatcher { pattern: TextPattern::Regex(regex), ignore_case: false })
    } else if let Some(range) = message.message("range_match") {
        refuse_unsupported(range, context.report);
        HeaderTest::Range(range.int("start").unwrap_or(0), range.int("end").unwrap_or(0))
    } else {
        plain("exact_match", TextPattern::Exact)
            .or_else(|| plain("prefix_match", TextPattern::Prefix))
            .or_else(|| plain("suffix_match", TextPattern::Suffix))
            .or_else(|| plain("contains_match", TextPattern::Contains))
            // Also where nothing is specified.
            .unwrap_or_else(|| HeaderTest::Present(message.boolean("present_match").unwrap_or(true)))
    };
    Some(HeaderMatcher {
        subject: Subject::parse(message.text("name")),
        test,
        invert: message.boolean("invert_match").unwrap_or(false),
        missing_is_empty: message.boolean("treat_missing_header_as_empty").unwrap_or(false),
    })
}

/// `envoy.config.route.v3.QueryParameterMatcher`.
pub(super) fn query(context: &mut Context<'_>, message: &Message) -> Option<QueryMatcher> {
    refuse_unsupported(message, context.report);
    let test = match message.get("string_match") {
        Some(_) => QueryTest::Text(context.inside(message, "string_match", text)?),
        None => QueryTest::Present(message.boolean("present_match").unwrap_or(true)),
    };
    Some(QueryMatcher { name: message.text("name").to_owned(), test })
}

/// `envoy.config.core.v3.RuntimeFractionalPercent`.
pub(super) fn fraction(context: &mut Context<'_>, message: &Message) -> Option<Fraction> {
    refuse_unsupported(message, context.report);
    let own = context.inside(message, "default_value", |context, message| Some(fractional(context, message)));
    Some(runtime_fraction(context, message.text("runtime_key")).unwrap_or(own?))
}

/// What the runtime has of this key.
pub(super) fn runtime_fraction(context: &mut Context<'_>, key: &str) -> Option<Fraction> {
    let (numerator, denominator) = context.runtime_fraction(key)?;
    Some(Fraction { numerator, denominator })
}

/// `envoy.type.v3.FractionalPercent`.
pub(super) fn fractional(context: &mut Context<'_>, message: &Message) -> Fraction {
    refuse_unsupported(message, context.report);
    let denominator = match message.number("denominator") {
        0 => 100,
        1 => 10_000,
        _ => 1_000_000,
    };
    Fraction { numerator: message.uint("numerator").unwrap_or(0), denominator }
}
