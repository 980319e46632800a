//! `envoy.config.route.v3.QueryParameterMatcher`.

use super::regex::RegexCaches;
use super::text::TextMatcher;

/// A test of one parameter of the query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryMatcher {
    /// `name`; case counts.
    pub name: String,
    /// `query_parameter_match_specifier`.
    pub test: QueryTest,
}

/// `QueryParameterMatcher.query_parameter_match_specifier`.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryTest {
    /// `present_match`: whether it is there. Also where nothing is specified.
    Present(bool),
    /// `string_match`; one that is not there does not pass.
    Text(TextMatcher),
}

impl QueryMatcher {
    /// Whether the query of `path` passes. Of several parameters of the name the first counts. Nothing is decoded.
    pub fn matches(&self, path: &[u8], caches: &mut RegexCaches) -> bool {
        let value = query_parameter(path, self.name.as_bytes());
        match &self.test {
            QueryTest::Present(present) => value.is_some() == *present,
            QueryTest::Text(matcher) => value.is_some_and(|value| matcher.matches(value, caches)),
        }
    }
}

/// The first parameter of this name in the query of `path`; empty where it has no `=`.
pub fn query_parameter<'p>(path: &'p [u8], name: &[u8]) -> Option<&'p [u8]> {
    let query = path.iter().position(|&byte| byte == b'?').map(|at| &path[at + 1..])?;
    query.split(|&byte| byte == b'&').find_map(|parameter| {
        let at = parameter.iter().position(|&byte| byte == b'=').unwrap_or(parameter.len());
        let (key, value) = parameter.split_at(at);
        (key == name).then(|| value.get(1..).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name() {
        for (path, expect) in [
            ("/", None),
            ("/?", None),
            ("/?a", Some("")),
            ("/?a=", Some("")),
            ("/?b=1&a=2&a=3", Some("2")),
            ("/?a=1=2", Some("1=2")),
            ("/?A=1", None),
            ("/?xa=1", None),
            ("/a=1", None),
            ("/?&&a=%20", Some("%20")),
        ] {
            let found = query_parameter(path.as_bytes(), b"a").map(String::from_utf8_lossy);
            assert_eq!(found.as_deref(), expect, "{path}");
        }
    }
}
