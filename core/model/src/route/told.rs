//! What a route asks for, in the words of Envoy's fields, for people.

use std::fmt::{self, Display, Formatter};

use super::{Conditions, HeaderMatcher, HeaderTest, PathMatch, QueryMatcher, QueryTest, RouteMatch, Subject};
use super::{Fraction, TextMatcher, TextPattern};

/// `prefix "/a", header "x" exact "1"`: all of it must hold.
impl Display for RouteMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)?;
        if self.ignore_case {
            f.write_str(" in any case")?;
        }
        self.conditions.as_deref().map_or(Ok(()), |conditions| conditions.fmt(f))
    }
}

impl Display for PathMatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            PathMatch::Prefix(text) => write!(f, "prefix {text:?}"),
            PathMatch::Exact(text) => write!(f, "path {text:?}"),
            PathMatch::SeparatedPrefix(text) => write!(f, "path_separated_prefix {text:?}"),
            PathMatch::Regex(regex) => write!(f, "safe_regex {:?}", regex.pattern()),
            PathMatch::Connect => f.write_str("connect_matcher"),
        }
    }
}

/// Each with a comma before it.
impl Display for Conditions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.grpc {
            f.write_str(", grpc")?;
        }
        self.headers.iter().try_for_each(|matcher| write!(f, ", {matcher}"))?;
        self.query.iter().try_for_each(|matcher| write!(f, ", {matcher}"))?;
        self.fraction.map_or(Ok(()), |fraction| write!(f, ", runtime_fraction {fraction}"))
    }
}

impl Display for HeaderMatcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let invert = if self.invert { "not " } else { "" };
        write!(f, "header {:?} {invert}{}", self.subject.to_string(), self.test)
    }
}

impl Display for Subject {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Subject::Method => ":method",
            Subject::Path => ":path",
            Subject::Authority => ":authority",
            Subject::Scheme => ":scheme",
            Subject::Field(name) => name,
        })
    }
}

impl Display for HeaderTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            HeaderTest::Present(true) => f.write_str("present"),
            HeaderTest::Present(false) => f.write_str("absent"),
            HeaderTest::Range(start, end) => write!(f, "range [{start}, {end})"),
            HeaderTest::Text(matcher) => matcher.fmt(f),
        }
    }
}

impl Display for QueryMatcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "query parameter {:?} ", self.name)?;
        match &self.test {
            QueryTest::Present(true) => f.write_str("present"),
            QueryTest::Present(false) => f.write_str("absent"),
            QueryTest::Text(matcher) => matcher.fmt(f),
        }
    }
}

impl Display for TextMatcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (kind, text) = match &self.pattern {
            TextPattern::Exact(text) => ("exact", text.as_str()),
            TextPattern::Prefix(text) => ("prefix", text.as_str()),
            TextPattern::Suffix(text) => ("suffix", text.as_str()),
            TextPattern::Contains(text) => ("contains", text.as_str()),
            TextPattern::Regex(regex) => ("safe_regex", regex.pattern()),
        };
        write!(f, "{kind} {text:?}{}", if self.ignore_case { " in any case" } else { "" })
    }
}

impl Display for Fraction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_told_as_its_file_says_it() {
        let text = |pattern, ignore_case| TextMatcher { pattern, ignore_case };
        let header = |name: &str, test, invert| HeaderMatcher {
            subject: Subject::parse(name),
            test,
            invert,
            missing_is_empty: false,
        };
        let conditions = Conditions {
            grpc: true,
            headers: vec![
                header(":method", HeaderTest::Text(text(TextPattern::Exact("GET".into()), false)), false),
                header("X-A", HeaderTest::Present(true), true),
                header("n", HeaderTest::Range(1, 5), false),
            ],
            query: vec![QueryMatcher {
                name: "q".into(),
                test: QueryTest::Text(text(TextPattern::Prefix("v".into()), true)),
            }],
            fraction: Some(Fraction { numerator: 1, denominator: 100 }),
        };
        let path = PathMatch::SeparatedPrefix("/api".into());
        let rule = RouteMatch { path, ignore_case: true, conditions: Some(Box::new(conditions)) };
        assert_eq!(
            rule.to_string(),
            "path_separated_prefix \"/api\" in any case, grpc, header \":method\" exact \"GET\", header \"x-a\" not present, \
             header \"n\" range [1, 5), query parameter \"q\" prefix \"v\" in any case, runtime_fraction 1/100"
        );
    }
}
