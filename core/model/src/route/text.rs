//! `envoy.type.matcher.v3.StringMatcher`.

use super::regex::{Regex, RegexCaches};

/// A test of one text.
#[derive(Clone, Debug, PartialEq)]
pub struct TextMatcher {
    /// What the text is compared with.
    pub pattern: TextPattern,
    /// `ignore_case`: letters of ASCII in either case are the same. Without effect on an expression.
    pub ignore_case: bool,
}

/// `StringMatcher.match_pattern`.
#[derive(Clone, Debug, PartialEq)]
pub enum TextPattern {
    /// `exact`.
    Exact(String),
    /// `prefix`.
    Prefix(String),
    /// `suffix`.
    Suffix(String),
    /// `contains`.
    Contains(String),
    /// `safe_regex`: all of the text.
    Regex(Regex),
}

impl TextMatcher {
    /// Whether `text` passes.
    pub fn matches(&self, text: &[u8], caches: &mut RegexCaches) -> bool {
        let same = |part: Option<&[u8]>, pattern: &str| {
            part.is_some_and(|part| match self.ignore_case {
                true => part.eq_ignore_ascii_case(pattern.as_bytes()),
                false => part == pattern.as_bytes(),
            })
        };
        match &self.pattern {
            TextPattern::Exact(exact) => same(Some(text), exact),
            TextPattern::Prefix(prefix) => same(text.get(..prefix.len()), prefix),
            TextPattern::Suffix(suffix) => {
                same(text.len().checked_sub(suffix.len()).map(|start| &text[start..]), suffix)
            }
            TextPattern::Contains(part) => {
                part.is_empty() || text.windows(part.len()).any(|window| same(Some(window), part))
            }
            TextPattern::Regex(regex) => regex.matches(text, caches),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::regex::Regexes;
    use super::*;

    #[track_caller]
    fn check(pattern: TextPattern, text: &str, sensitive: bool, insensitive: bool) {
        let mut caches = RegexCaches::default();
        let mut test =
            |ignore_case| TextMatcher { pattern: pattern.clone(), ignore_case }.matches(text.as_bytes(), &mut caches);
        assert_eq!([test(false), test(true)], [sensitive, insensitive], "{pattern:?} {text}");
    }

    #[test]
    fn patterns() {
        check(TextPattern::Exact("ab".into()), "ab", true, true);
        check(TextPattern::Exact("ab".into()), "aB", false, true);
        check(TextPattern::Exact("ab".into()), "abc", false, false);
        check(TextPattern::Prefix("ab".into()), "Abc", false, true);
        check(TextPattern::Prefix("abc".into()), "ab", false, false);
        check(TextPattern::Suffix("bc".into()), "abC", false, true);
        check(TextPattern::Suffix("abc".into()), "bc", false, false);
        check(TextPattern::Contains("b".into()), "aBc", false, true);
        check(TextPattern::Contains("bc".into()), "b", false, false);
        let regex = Regexes::default().whole("a.c").expect("a pattern");
        check(TextPattern::Regex(regex.clone()), "abc", true, true);
        check(TextPattern::Regex(regex), "aBC", false, false);
    }
}
