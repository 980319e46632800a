//! The reviewed list: where the two are meant to differ, and why; and what is not built yet.
//!
//! An exception that no case of a run needs has stopped being true, and fails the run: each needs a case that is always played.
//! A pending row is taken out with the work that it waits for.

use super::case::{Case, Tag};
use super::compare::{Difference, Played};

/// Rows of [`EXCEPTIONS`] at most: what issue 4 allows.
#[cfg(test)]
const EXCEPTIONS_MAX: usize = 12;

/// A difference that was looked at, with the reason.
pub(super) struct Row {
    of: Of,
    pub(super) reason: &'static str,
}

/// What a row is about.
enum Of {
    /// One aspect (`client status`, ...; a final `*` stands for any rest), in cases with this tag or in all, where the sides
    /// are some of these, Envoy's first, or any.
    Aspect { aspect: &'static str, tag: Option<Tag>, sides: Option<&'static [[&'static str; 2]]> },
    /// Each of these aspects, in cases with this tag.
    Aspects(Tag, &'static [&'static str]),
    /// All aspects of cases of these names, each with Envoy's statuses and ours.
    Cases(&'static [(&'static str, &'static [u16], &'static [u16])]),
}

const fn within(tag: Tag, aspect: &'static str, reason: &'static str) -> Row {
    Row { of: Of::Aspect { aspect, tag: Some(tag), sides: None }, reason }
}

const fn exactly(aspect: &'static str, sides: &'static [[&'static str; 2]], reason: &'static str) -> Row {
    Row { of: Of::Aspect { aspect, tag: None, sides: Some(sides) }, reason }
}

const fn cases(of: &'static [(&'static str, &'static [u16], &'static [u16])], reason: &'static str) -> Row {
    Row { of: Of::Cases(of), reason }
}

/// What is meant to differ.
pub(super) const EXCEPTIONS: &[Row] = &[
    exactly(
        "origin field connection",
        &[["nothing", "[\"TE\"]"]],
        "RFC 9110 §10.1.4: who sends TE nominates it in Connection; Envoy does not",
    ),
    exactly(
        "origin field max-forwards",
        &[["[\"3\"]", "[\"2\"]"], ["[\"3,3\"]", "[\"2\"]"]],
        "RFC 9110 §7.6.2: each proxy counts an OPTIONS or TRACE down; Envoy does not",
    ),
    within(Tag::Nominated, "client field x-secret", "RFC 9110 §7.6.1: a nominated field ends here; Envoy passes it on"),
    within(Tag::Reset, "origin requests", "we try an idempotent request again when a reused connection died"),
    within(Tag::Once, "*", "RFC 9110 §9.2.2: a proxy does not repeat a POST that may have been acted on (decision 12)"),
    Row {
        of: Of::Aspects(Tag::Pipelined, &["client answers (more)", "origin requests (more)"]),
        reason: "Envoy leaves unanswered what is pipelined after some replies of its own; we answer all",
    },
    Row {
        of: Of::Aspects(Tag::Loopback, &["origin field x-forwarded-for"]),
        reason: "for a client on the loopback Envoy names another address of this host; we name the client's",
    },
    Row {
        of: Of::Aspects(Tag::Unsent, &["client end", "client answers", "origin requests"]),
        reason: "where no origin could be reached, Envoy has read the body; we read none that nobody takes, and end the connection",
    },
    within(
        Tag::Interim,
        "client interim",
        "RFC 9110 §15.2: a proxy forwards 1xx; Envoy drops all but 100, and those without proxy_100_continue",
    ),
    cases(
        &[
            ("two hosts", &[200], &[400]),
            ("an empty host", &[200], &[400]),
            ("a folded field", &[200], &[400]),
            ("a bare LF", &[200], &[400]),
            ("a bare CR", &[200], &[400]),
            ("empty lines before", &[200], &[400]),
            ("a chunk longer than it says", &[200], &[400]),
            ("another coding", &[501], &[400]),
            ("chunked is not last", &[501], &[400]),
            ("chunked twice", &[501], &[400]),
        ],
        "what the rules do not allow and two parsers may read otherwise is a bad request (RFC 9112 §2.2, §3.2, §5.2, §6.3, §7.1; RFC 9110 §4.2.1)",
    ),
    cases(
        &[("a lower-case method", &[400], &[200]), ("an unknown method", &[400], &[200])],
        "RFC 9110 §16.1: there may be more methods than we know; which of them it has is the origin's to say",
    ),
    cases(
        &[("version 2.0", &[426], &[505]), ("version 1.2", &[426], &[505]), ("no version", &[426], &[400])],
        "RFC 9110 §15.6.6; and a request line without a version is none of HTTP/1.1",
    ),
];

/// What differs until it is built: not meant, and gone with the work that each reason names.
pub(super) const PENDING: &[Row] = &[];

impl Row {
    /// Whether it is about this difference.
    pub(super) fn holds(&self, difference: &Difference, case: &Case, theirs: &Played, own: &Played) -> bool {
        match &self.of {
            Of::Aspect { aspect, tag, sides } => {
                let named = match aspect.strip_suffix('*') {
                    Some(start) => difference.aspect.starts_with(start),
                    None => difference.aspect == *aspect,
                };
                let sided = sides.is_none_or(|pairs| pairs.contains(&[&difference.theirs, &difference.own]));
                named && sided && tag.is_none_or(|tag| case.has(tag))
            }
            Of::Aspects(tag, aspects) => case.has(*tag) && aspects.contains(&difference.aspect.as_str()),
            Of::Cases(rows) => rows.iter().any(|(name, envoy, ringway)| {
                let statuses = |played: &Played| played.answers.iter().map(|answer| answer.status).collect::<Vec<_>>();
                case.name == *name && statuses(theirs) == *envoy && statuses(own) == *ringway
            }),
        }
    }

    /// Whether it says that every case of this name differs.
    pub(super) fn names(&self, case: &Case) -> bool {
        matches!(&self.of, Of::Cases(rows) if rows.iter().any(|(name, ..)| case.name == *name))
    }

    /// What it is about, in a line.
    pub(super) fn about(&self) -> String {
        match &self.of {
            Of::Aspect { aspect, tag: Some(tag), .. } => format!("{aspect} ({tag:?})"),
            Of::Aspect { aspect, .. } => (*aspect).to_owned(),
            Of::Aspects(tag, aspects) => format!("{} ({tag:?})", aspects.join(", ")),
            Of::Cases(rows) => rows.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_excepted_than_was_allowed() {
        assert!(EXCEPTIONS.len() <= EXCEPTIONS_MAX, "{} rows", EXCEPTIONS.len());
    }
}
