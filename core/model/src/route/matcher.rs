//! `envoy.config.route.v3.RouteMatch`: the path, and what else must hold.

use super::header::HeaderMatcher;
use super::query::QueryMatcher;
use super::regex::{Regex, RegexCaches};
use super::request::{Caches, RequestView};

/// What a request must be for a route to take it. All of it must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteMatch {
    /// `path_specifier`.
    pub path: PathMatch,
    /// `case_sensitive: false`: letters of ASCII in either case are the same. Without effect on an expression.
    pub ignore_case: bool,
    /// Everything but the path; `None` where the path is all.
    pub conditions: Option<Box<Conditions>>,
}

impl RouteMatch {
    /// A match of the path alone, in which case counts.
    pub fn of_path(path: PathMatch) -> Self {
        Self { path, ignore_case: false, conditions: None }
    }

    /// Whether the path, which comes without its query, is one for this route.
    #[inline]
    pub(super) fn takes_path(&self, path: &[u8], regexes: &mut RegexCaches) -> bool {
        let same = |one: &[u8], other: &str| {
            if self.ignore_case { one.eq_ignore_ascii_case(other.as_bytes()) } else { one == other.as_bytes() }
        };
        let begins = |prefix: &str| path.get(..prefix.len()).is_some_and(|start| same(start, prefix));
        match &self.path {
            PathMatch::Prefix(prefix) => begins(prefix),
            PathMatch::Exact(exact) => same(path, exact),
            PathMatch::SeparatedPrefix(prefix) => {
                begins(prefix) && path.get(prefix.len()).is_none_or(|&byte| byte == b'/')
            }
            PathMatch::Regex(regex) => regex.matches(path, regexes),
            PathMatch::Connect => false,
        }
    }
}

/// `RouteMatch.path_specifier`; matched against the path without its query.
#[derive(Clone, Debug, PartialEq)]
pub enum PathMatch {
    /// `prefix`: the path begins with it.
    Prefix(String),
    /// `path`: the path equals it.
    Exact(String),
    /// `path_separated_prefix`: the path equals it, or begins with it and a `/`.
    SeparatedPrefix(String),
    /// `safe_regex`: all of the path matches.
    Regex(Regex),
    /// `connect_matcher`: a CONNECT, which has no path; no other specifier takes one.
    Connect,
}

/// What a route asks of a request beside its path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// `headers`.
    pub headers: Vec<HeaderMatcher>,
    /// `query_parameters`.
    pub query: Vec<QueryMatcher>,
    /// `grpc`: the content is of the type application/grpc or one of its kinds.
    pub grpc: bool,
    /// `runtime_fraction`.
    pub fraction: Option<Fraction>,
}

/// `RuntimeFractionalPercent`, by its default: no runtime overrides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    /// `numerator`.
    pub numerator: u32,
    /// `denominator`: 100, 10,000 or 1,000,000.
    pub denominator: u32,
}

impl Fraction {
    /// Whether a uniformly random number falls within the fraction.
    pub fn holds(&self, chance: u64) -> bool {
        chance % u64::from(self.denominator) < u64::from(self.numerator)
    }
}

impl Conditions {
    /// Whether a request meets all of them. `chance` is the request's random number.
    pub fn hold(&self, request: &impl RequestView, chance: u64, caches: &mut Caches) -> bool {
        (!self.grpc || is_grpc(request))
            && self.fraction.is_none_or(|fraction| fraction.holds(chance))
            && self.headers.iter().all(|matcher| matcher.matches(request, caches))
            && self.query.iter().all(|matcher| matcher.matches(request.path(), &mut caches.regexes))
    }
}

/// Envoy: `Grpc::Common::isGrpcRequestHeaders`.
fn is_grpc(request: &impl RequestView) -> bool {
    let mut values = request.values("content-type");
    let Some(kind) = values.next().and_then(|value| value.strip_prefix(b"application/grpc")) else { return false };
    // Several are one text, joined by commas.
    matches!(kind, [b'+', ..]) || (kind.is_empty() && values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::Sample;
    use super::*;

    #[test]
    fn grpc_is_known_by_its_content_type() {
        for (content_type, expect) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/json", false),
            ("", false),
        ] {
            let fields: &'static [_] = Box::leak(Box::new([("content-type", content_type)]));
            let request = Sample { fields, ..Sample::default() };
            let conditions = Conditions { grpc: true, ..Conditions::default() };
            assert_eq!(conditions.hold(&request, 0, &mut Caches::default()), expect, "{content_type}");
        }
        let conditions = Conditions { grpc: true, ..Conditions::default() };
        assert!(!conditions.hold(&Sample::default(), 0, &mut Caches::default()));
    }

    #[test]
    fn a_fraction_takes_its_share_of_the_numbers() {
        for (numerator, denominator, expect) in [(0, 100, 0), (1, 100, 100), (100, 100, 10_000), (25, 10_000, 25)] {
            let fraction = Fraction { numerator, denominator };
            let held = (0..10_000).filter(|&chance| fraction.holds(chance)).count();
            assert_eq!(held, expect, "{fraction:?}");
        }
    }
}
