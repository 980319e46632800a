//! What differs between the two sides of one case.
//!
//! Compared at the client: status, interim responses, how the body is framed, the body, end-to-end fields, whether the
//! connection ends. Compared at the origin: which requests came, and of each method, target, framing, body and fields. Names
//! without regard to case, values of one name in their order.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, Tag};
use super::client::{Answer, end_to_end};
use super::origin::Recorded;

/// What came of one case on one side.
#[derive(Debug, Default)]
pub(super) struct Played {
    pub(super) answers: Vec<Answer>,
    pub(super) recorded: Vec<Recorded>,
}

/// One aspect in which the sides differ.
#[derive(Debug)]
pub(super) struct Difference {
    /// `client status`, `origin field x-request-id`, ...
    pub(super) aspect: String,
    pub(super) theirs: String,
    pub(super) own: String,
}

/// Each aspect in which two sides differ, and how.
pub(super) fn differences(theirs: &Played, own: &Played, case: &Case) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |aspect: &str, theirs: String, own: String| {
        if theirs != own {
            found.push(Difference { aspect: aspect.to_owned(), theirs, own });
        }
    };
    let more = |theirs: usize, own: usize| if own > theirs { " (more)" } else { "" };
    let answers = format!("client answers{}", more(theirs.answers.len(), own.answers.len()));
    differ(&answers, statuses(&theirs.answers), statuses(&own.answers));
    for (theirs, own) in theirs.answers.iter().zip(&own.answers) {
        differ("client status", theirs.status.to_string(), own.status.to_string());
        differ("client interim", format!("{:?}", theirs.interim), format!("{:?}", own.interim));
        differ("client framing", theirs.framing.to_owned(), own.framing.to_owned());
        differ("client end", theirs.ends.to_string(), own.ends.to_string());
        differ("client cut", theirs.cut.to_string(), own.cut.to_string());
        if !theirs.cut && !case.has(Tag::Weighted) {
            differ("client body", text(&theirs.body), text(&own.body));
        }
        for name in names(&theirs.fields, &own.fields) {
            if !(name == "x-origin" && case.has(Tag::Weighted)) {
                differ(&format!("client field {name}"), values(&theirs.fields, name), values(&own.fields, name));
            }
        }
    }
    let (theirs_once, own_once) = (once(&theirs.recorded, case), once(&own.recorded, case));
    let requests = format!("origin requests{}", more(theirs_once.len(), own_once.len()));
    differ(&requests, lines(&theirs.recorded), lines(&own.recorded));
    for (theirs, own) in theirs_once.iter().zip(&own_once) {
        if !case.has(Tag::Weighted) {
            differ("origin chosen", theirs.origin.to_owned(), own.origin.to_owned());
        }
        differ("origin framing", theirs.framing.to_owned(), own.framing.to_owned());
        differ("origin body", text(&theirs.body), text(&own.body));
        let (theirs, own) = (end_to_end(&theirs.head), end_to_end(&own.head));
        for name in names(&theirs, &own) {
            differ(&format!("origin field {name}"), values(&theirs, name), values(&own, name));
        }
    }
    found
}

/// What holds on our side whatever Envoy does: what we refuse reaches no origin, and only what is idempotent comes twice
/// where no retry policy asks for it.
pub(super) fn breaches(own: &Played, case: &Case) -> Vec<String> {
    let mut found = Vec::new();
    if case.alone && own.answers.first().is_some_and(|answer| answer.status == 400) && !own.recorded.is_empty() {
        found.push(format!("refused with 400, yet the origin got {}", lines(&own.recorded)));
    }
    // RFC 9110 §9.2.2. A class with a policy of its own asks for more attempts, and is compared with Envoy's.
    let sent = case.methods.iter().filter(|method| matches!(**method, "POST" | "PATCH")).count();
    let is_unsafe = |line: &str| line.starts_with("POST ") || line.starts_with("PATCH ");
    let came = own.recorded.iter().filter(|request| is_unsafe(&request.head.line)).count();
    if came > sent && case.class != "retries" && !case.alone {
        found.push(format!("{sent} requests that must not be repeated, and {came} at the origin"));
    }
    found
}

/// The requests at an origin, one that was tried again counted once.
fn once<'a>(recorded: &'a [Recorded], case: &Case) -> Vec<&'a Recorded> {
    let mut kept: Vec<&Recorded> = Vec::new();
    for request in recorded {
        if !(case.has(Tag::Reset) && kept.last().is_some_and(|last| last.head == request.head)) {
            kept.push(request);
        }
    }
    kept
}

fn names<'a>(one: &'a BTreeMap<String, Vec<String>>, other: &'a BTreeMap<String, Vec<String>>) -> BTreeSet<&'a str> {
    one.keys().chain(other.keys()).map(String::as_str).collect()
}

/// The values of a field as one text. Lines of one name are a list, however it is cut into lines (RFC 9110 §5.3), but for
/// Set-Cookie: Envoy joins the lines of names that it knows.
fn values(fields: &BTreeMap<String, Vec<String>>, name: &str) -> String {
    match fields.get(name) {
        None => "nothing".to_owned(),
        Some(values) if name == "set-cookie" => format!("{values:?}"),
        Some(values) => format!("[{:?}]", values.join(",")),
    }
}

/// The statuses of answers as one text.
pub(super) fn statuses(answers: &[Answer]) -> String {
    format!("{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>())
}

fn lines(recorded: &[Recorded]) -> String {
    format!("{:?}", recorded.iter().map(|request| request.head.line.as_str()).collect::<Vec<_>>())
}

/// A body as one short text that differs when the bodies do.
fn text(body: &[u8]) -> String {
    if body.len() <= 120 {
        return format!("{:?}", String::from_utf8_lossy(body));
    }
    // FNV-1a: only to tell two bodies apart in a line.
    let digest = body
        .iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
    format!("{} bytes with digest {digest:016x}", body.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::http::Head;

    fn played(status: u16, fields: &[(&str, &str)]) -> Played {
        let head = Head {
            line: String::new(),
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let answer = Answer { status, fields: end_to_end(&head), ..Answer::default() };
        Played { answers: vec![answer], recorded: Vec::new() }
    }

    #[track_caller]
    fn check(theirs: &Played, own: &Played, expect: &[&str]) {
        let found = differences(theirs, own, &Case::default());
        let aspects: Vec<&str> = found.iter().map(|difference| difference.aspect.as_str()).collect();
        assert_eq!(aspects, expect, "{found:?}");
    }

    #[test]
    fn differences_are_found_and_what_is_new_in_each_run_is_passed_over() {
        check(&played(200, &[("A", "1")]), &played(200, &[("a", "1")]), &[]);
        check(&played(200, &[]), &played(503, &[]), &["client answers", "client status"]);
        check(&played(200, &[("a", "1"), ("a", "2")]), &played(200, &[("a", "2"), ("a", "1")]), &["client field a"]);
        let time = |value| played(200, &[("server", "envoy"), ("x-envoy-upstream-service-time", value)]);
        check(&time("1"), &time("17"), &[]);
        check(&time("1"), &played(200, &[("server", "envoy")]), &["client field x-envoy-upstream-service-time"]);
    }
}
