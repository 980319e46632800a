//! The reviewed list: where the two are meant to differ, and why. A row that no case needs fails the run.

use super::case::{Case, Difference};

/// A difference that was looked at.
pub(super) struct Row {
    /// Any class, where it is empty.
    class: &'static str,
    /// A part of a case's name.
    name: &'static str,
    /// The beginning of an aspect.
    aspect: &'static str,
    /// Envoy's side and ours, where it matters; each the beginning of it.
    sides: [&'static str; 2],
    pub(super) reason: &'static str,
}

impl Row {
    /// Whether it is about this difference.
    pub(super) fn holds(&self, case: &Case, difference: &Difference) -> bool {
        (self.class.is_empty() || self.class == case.class)
            && case.name.contains(self.name)
            && difference.aspect.starts_with(self.aspect)
            && difference.theirs.starts_with(self.sides[0])
            && difference.own.starts_with(self.sides[1])
    }
}

const fn row(
    class: &'static str,
    name: &'static str,
    aspect: &'static str,
    sides: [&'static str; 2],
    reason: &'static str,
) -> Row {
    Row { class, name, aspect, sides, reason }
}

const NO_TRAILER: &str =
    "RFC 9110 §6.5.1: framing, routing and cookies are read before content, and do not come as trailers";
const REFUSED: [&str; 2] = ["whole", "refused"];

/// What is meant to differ.
pub(super) const EXCEPTIONS: &[Row] = &[
    row("interim", "", "interim", ["", ""], "RFC 9110 §15.2: a proxy forwards 1xx; Envoy drops all but 100"),
    row(
        "",
        "",
        "field at the origin connection",
        ["nothing", "\"TE\""],
        "RFC 9110 §10.1.4: who sends TE nominates it in Connection; Envoy does not",
    ),
    row(
        "pseudo-fields",
        "a fragment",
        "end",
        ["whole 400", "refused"],
        "RFC 9113 §8.1.1: a malformed request is a stream error",
    ),
    row(
        "pseudo-fields",
        "/ü",
        "end",
        REFUSED,
        "RFC 3986 §2: a target is ASCII; two parsers may read other bytes otherwise",
    ),
    row("pseudo-fields", "another scheme", "end", REFUSED, "we have no origins but those of http and https"),
    row(
        "fields",
        "a value with a",
        "end",
        REFUSED,
        "RFC 9113 §8.2.1: a value that begins or ends with white space is malformed; Envoy takes it",
    ),
    row(
        "fields",
        "http2-settings",
        "field at the origin http2-settings",
        ["\"AAMAAABk\"", "nothing"],
        "RFC 7540 §3.2.1: it belongs to one connection, and is not to reach another",
    ),
    row(
        "lengths",
        "zeros before",
        "field at the origin content-length",
        ["\"0001\"", "\"1\""],
        "one number has one form behind us",
    ),
    row("trailers", "", "trailer at the origin content-length", ["", "nothing"], NO_TRAILER),
    row("trailers", "", "trailer at the origin host", ["", "nothing"], NO_TRAILER),
    row("trailers", "", "trailer at the origin set-cookie", ["", "nothing"], NO_TRAILER),
    row(
        "authority",
        "",
        "end",
        REFUSED,
        "RFC 9113 §8.3.1: Host that is not :authority, and an authority that is none, are malformed; Envoy takes them",
    ),
    row("cookies", "", "field at the origin cookie", ["", ""], "RFC 9113 §8.2.3: an empty crumb joins nothing"),
    row(
        "connect",
        "",
        "end",
        ["whole 40", "refused"],
        "RFC 9113 §8.5, RFC 9110 §7.8: CONNECT without a port or with a length, and a protocol that is no token, are malformed",
    ),
    row(
        "large heads",
        "",
        "end",
        ["refused", "whole 431"],
        "RFC 6585 §5: a head beyond our limits is answered 431; Envoy resets the stream or the connection",
    ),
    row(
        "interim",
        "another expectation",
        "",
        ["", ""],
        "RFC 9110 §10.1.1: the only expectation is 100-continue; another is 417, as over HTTP/1",
    ),
    row(
        "resets",
        "before a head",
        "requests at the origin",
        ["1", ""],
        "RFC 9110 §9.2.2, RFC 9113 §8.7: an idempotent request whose reused connection died, and one that was refused, are sent again",
    ),
];
