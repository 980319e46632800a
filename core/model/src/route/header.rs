//! `envoy.config.route.v3.HeaderMatcher`.

use super::regex::RegexCaches;
use super::request::{Caches, RequestView};
use super::text::TextMatcher;

/// A test of one field of a request, or of a pseudo-field.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderMatcher {
    /// `name`.
    pub subject: Subject,
    /// `header_match_specifier`.
    pub test: HeaderTest,
    /// `invert_match`. A field that is not there passes neither a test of its value nor the inverse of it.
    pub invert: bool,
    /// `treat_missing_header_as_empty`.
    pub missing_is_empty: bool,
}

/// What of a request is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `:method`.
    Method,
    /// `:path`, with its query.
    Path,
    /// `:authority`, which `host` names too.
    Authority,
    /// `:scheme`.
    Scheme,
    /// The field of this name, in lower case. Of several of one name any may pass; with `invert`, none may.
    Field(String),
}

impl Subject {
    /// The subject of a name as Envoy writes it; any case. A pseudo-field that no request has is a field that none has.
    pub fn parse(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            ":method" => Self::Method,
            ":path" => Self::Path,
            ":authority" | "host" => Self::Authority,
            ":scheme" => Self::Scheme,
            _ => Self::Field(name),
        }
    }
}

/// `HeaderMatcher.header_match_specifier`.
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderTest {
    /// `present_match`: whether it is there.
    Present(bool),
    /// `range_match`: a whole number of at least the first and less than the second.
    Range(i64, i64),
    /// `string_match`, and the deprecated spellings of it.
    Text(TextMatcher),
}

impl HeaderTest {
    fn holds(&self, value: &[u8], caches: &mut RegexCaches) -> bool {
        match self {
            HeaderTest::Present(present) => *present,
            HeaderTest::Range(start, end) => {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.trim_ascii().parse::<i64>().ok());
                number.is_some_and(|number| (*start..*end).contains(&number))
            }
            HeaderTest::Text(matcher) => matcher.matches(value, caches),
        }
    }
}

impl HeaderMatcher {
    /// Whether a request passes.
    pub fn matches(&self, request: &impl RequestView, caches: &mut Caches) -> bool {
        let regexes = &mut caches.regexes;
        let holds = match &self.subject {
            Subject::Method => self.test.holds(request.method(), regexes),
            Subject::Path => self.test.holds(request.path(), regexes),
            Subject::Authority => self.test.holds(request.authority(), regexes),
            Subject::Scheme => self.test.holds(request.scheme(), regexes),
            Subject::Field(name) => {
                let mut values = request.values(name).peekable();
                match (values.peek(), &self.test) {
                    (None, HeaderTest::Present(present)) => *present == self.missing_is_empty,
                    (None, _) if !self.missing_is_empty => return false,
                    (None, test) => test.holds(b"", regexes),
                    (Some(_), test) => values.any(|value| test.holds(value, regexes)),
                }
            }
        };
        holds != self.invert
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::Sample;
    use super::super::text::TextPattern;
    use super::*;

    const REQUEST: Sample = Sample {
        method: "GET",
        authority: "a.test",
        path: "/p?q",
        fields: &[("x-a", "one"), ("x-b", "1"), ("x-b", "2"), ("x-n", "-7"), ("x-e", "")],
    };

    #[track_caller]
    fn check(name: &str, test: HeaderTest, invert: bool, missing_is_empty: bool, expect: bool) {
        let subject = Subject::parse(name);
        let matcher = HeaderMatcher { subject, test, invert, missing_is_empty };
        assert_eq!(matcher.matches(&REQUEST, &mut Caches::default()), expect, "{matcher:?}");
    }

    fn exact(text: &str) -> HeaderTest {
        HeaderTest::Text(TextMatcher { pattern: TextPattern::Exact(text.into()), ignore_case: false })
    }

    #[test]
    fn values_and_pseudo_fields() {
        check("X-A", exact("one"), false, false, true);
        check("x-a", exact("two"), false, false, false);
        check("x-b", exact("2"), false, false, true);
        check("x-b", exact("2"), true, false, false);
        check("x-b", exact("3"), true, false, true);
        check("x-b", exact("1,2"), false, false, false);
        check(":method", exact("GET"), false, false, true);
        check(":path", exact("/p?q"), false, false, true);
        check(":authority", exact("a.test"), false, false, true);
        check("Host", exact("a.test"), false, false, true);
        check(":scheme", exact("http"), false, false, true);
        check(":status", HeaderTest::Present(true), false, false, false);
    }

    #[test]
    fn what_is_not_there_passes_no_test_of_its_value() {
        check("x-none", exact("a"), false, false, false);
        check("x-none", exact("a"), true, false, false);
        check("x-none", exact("a"), true, true, true);
        check("x-none", exact(""), false, true, true);
        check("x-e", exact(""), false, false, true);
    }

    #[test]
    fn presence() {
        check("x-a", HeaderTest::Present(true), false, false, true);
        check("x-a", HeaderTest::Present(true), true, false, false);
        check("x-a", HeaderTest::Present(false), false, false, false);
        check("x-none", HeaderTest::Present(true), false, false, false);
        check("x-none", HeaderTest::Present(true), true, false, true);
        check("x-none", HeaderTest::Present(false), false, false, true);
        check("x-none", HeaderTest::Present(true), false, true, true);
        check("x-none", HeaderTest::Present(false), false, true, false);
        check("x-e", HeaderTest::Present(true), false, false, true);
    }

    #[test]
    fn ranges_are_half_open() {
        check("x-n", HeaderTest::Range(-7, -6), false, false, true);
        check("x-n", HeaderTest::Range(-8, -7), false, false, false);
        check("x-a", HeaderTest::Range(i64::MIN, i64::MAX), false, false, false);
        check("x-b", HeaderTest::Range(2, 3), false, false, true);
        check("x-b", HeaderTest::Range(3, 100), false, false, false);
    }
}
