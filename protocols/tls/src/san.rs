//! Matching subject alternative names: who a peer must be.
//!
//! It never reads a certificate: names come in as `AltName`s. A regular expression must match all of a name, in linear
//! time; its working memory is made for each question, which a handshake asks once.

use std::fmt;

use regex_automata::util::syntax;
use regex_automata::{Input, meta};
use regex_syntax::hir::{Hir, Look};

use crate::certificate::AltName;

/// Bytes of a compiled expression, as for routes' expressions.
const PROGRAM_BYTES_MAX: usize = 1 << 20;

/// Envoy: `SubjectAltNameMatcher.san_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SanType {
    /// DNS.
    Dns,
    /// URI, as SPIFFE identities are.
    Uri,
    /// EMAIL.
    Email,
    /// IP_ADDRESS, asked about in its usual text.
    IpAddress,
}

/// Envoy: `StringMatcher`, as far as it may stand in a SAN matcher.
#[derive(Clone, Debug, PartialEq)]
pub enum SanPattern {
    /// `exact`. Of a DNS name it matches a wildcard in the certificate (`*.example.com`), too, as Envoy does.
    Exact(String),
    /// `prefix`.
    Prefix(String),
    /// `suffix`.
    Suffix(String),
    /// `contains`.
    Contains(String),
    /// `safe_regex`.
    Regex(SanRegex),
}

/// One condition on the peer's names.
#[derive(Clone, Debug, PartialEq)]
pub struct SanMatcher {
    /// The kind of name that it looks at.
    pub san_type: SanType,
    /// What the name must be.
    pub pattern: SanPattern,
    /// `ignore_case`; ASCII. It has no effect on regular expressions, as in Envoy.
    pub ignore_case: bool,
}

impl SanMatcher {
    /// Whether this name satisfies the matcher.
    pub fn matches(&self, name: &AltName) -> bool {
        let same_type = matches!(
            (self.san_type, name),
            (SanType::Dns, AltName::Dns(_))
                | (SanType::Uri, AltName::Uri(_))
                | (SanType::Email, AltName::Email(_))
                | (SanType::IpAddress, AltName::Ip(_))
        );
        same_type && self.matches_text(&name.text())
    }

    fn matches_text(&self, text: &str) -> bool {
        let (text, fold) = match self.ignore_case {
            true => (text.to_ascii_lowercase(), true),
            false => (text.to_owned(), false),
        };
        let want = |pattern: &String| if fold { pattern.to_ascii_lowercase() } else { pattern.clone() };
        match &self.pattern {
            SanPattern::Exact(pattern) if self.san_type == SanType::Dns => dns_matches(pattern, &text),
            SanPattern::Exact(pattern) => text == want(pattern),
            SanPattern::Prefix(pattern) => text.starts_with(&want(pattern)),
            SanPattern::Suffix(pattern) => text.ends_with(&want(pattern)),
            SanPattern::Contains(pattern) => text.contains(&want(pattern)),
            SanPattern::Regex(regex) => regex.matches(&text),
        }
    }
}

/// Whether a DNS name of a certificate covers this name: equal, or a wildcard for its first label alone (RFC 6125 §6.4.3).
pub(crate) fn dns_matches(name: &str, presented: &str) -> bool {
    if name.eq_ignore_ascii_case(presented) {
        return true;
    }
    let Some(parent) = presented.strip_prefix("*.") else { return false };
    name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
}

/// A regular expression over a whole name.
#[derive(Clone)]
pub struct SanRegex {
    pattern: String,
    program: meta::Regex,
}

impl SanRegex {
    /// Compiles it as RE2 would read it, bytes for characters.
    ///
    /// # Errors
    /// What is wrong with the pattern, in words.
    pub fn new(pattern: &str) -> Result<SanRegex, String> {
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let hir = syntax::parse_with(pattern, &syntax).map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        })?;
        let hir = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
        let config = meta::Config::new()
            .nfa_size_limit(Some(PROGRAM_BYTES_MAX))
            .onepass_size_limit(Some(PROGRAM_BYTES_MAX))
            .utf8_empty(false);
        match meta::Builder::new().configure(config).build_from_hir(&hir) {
            Ok(program) => Ok(SanRegex { pattern: pattern.to_owned(), program }),
            Err(error) if error.size_limit().is_some() => {
                Err(format!("the compiled expression is larger than {PROGRAM_BYTES_MAX} bytes"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn matches(&self, text: &str) -> bool {
        let mut cache = self.program.create_cache();
        self.program.search_half_with(&mut cache, &Input::new(text).earliest(true)).is_some()
    }
}

impl PartialEq for SanRegex {
    fn eq(&self, other: &SanRegex) -> bool {
        self.pattern == other.pattern
    }
}

impl fmt::Debug for SanRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SanRegex({:?})", self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> AltName {
        AltName::Uri(text.to_owned())
    }

    fn dns(text: &str) -> AltName {
        AltName::Dns(text.to_owned())
    }

    #[track_caller]
    fn check(san_type: SanType, pattern: SanPattern, ignore_case: bool, name: &AltName, expect: bool) {
        let matcher = SanMatcher { san_type, pattern, ignore_case };
        assert_eq!(matcher.matches(name), expect, "{matcher:?} {name:?}");
    }

    #[test]
    fn kinds_and_patterns() {
        use SanPattern::{Contains, Exact, Prefix, Regex, Suffix};
        use SanType::{Dns, Email, IpAddress, Uri};
        let id = "spiffe://cluster.local/ns/default/sa/web";
        let regex = |text: &str| Regex(SanRegex::new(text).unwrap());
        let rows = [
            (Uri, Exact(id.into()), false, uri(id), true),
            (Uri, Exact(id.into()), false, uri(&id.to_uppercase()), false),
            (Uri, Exact(id.into()), true, uri(&id.to_uppercase()), true),
            (Uri, Exact(id.into()), false, dns(id), false),
            (Uri, Exact(id.into()), false, uri(&format!("{id}2")), false),
            (Uri, Prefix("spiffe://cluster.local/".into()), false, uri(id), true),
            (Uri, Prefix("spiffe://other/".into()), false, uri(id), false),
            (Uri, Suffix("/sa/web".into()), false, uri(id), true),
            (Uri, Contains("/ns/default/".into()), false, uri(id), true),
            (Uri, Contains("/NS/".into()), true, uri(id), true),
            (Uri, regex("spiffe://[a-z.]+/ns/default/sa/web"), false, uri(id), true),
            (Uri, regex("default"), false, uri(id), false),
            (Uri, regex("a|spiffe.*"), false, uri(id), true),
            (Dns, Exact("api.example.com".into()), false, dns("api.example.com"), true),
            (Dns, Exact("api.example.com".into()), false, dns("API.example.COM"), true),
            (Dns, Exact("api.example.com".into()), false, dns("*.example.com"), true),
            (Dns, Exact("a.b.example.com".into()), false, dns("*.example.com"), false),
            (Dns, Exact("example.com".into()), false, dns("*.example.com"), false),
            (Dns, Exact(".example.com".into()), false, dns("*.example.com"), false),
            (Dns, Exact("api.example.com".into()), false, dns("a*.example.com"), false),
            (Dns, Suffix(".example.com".into()), false, dns("*.example.com"), true),
            (Email, Exact("a@b.c".into()), false, AltName::Email("a@b.c".into()), true),
            (IpAddress, Exact("10.0.0.1".into()), false, AltName::Ip([10, 0, 0, 1].into()), true),
            (IpAddress, Exact("::1".into()), false, AltName::Ip(std::net::Ipv6Addr::LOCALHOST.into()), true),
            (IpAddress, Exact("10.0.0.1".into()), false, dns("10.0.0.1"), false),
        ];
        for (san_type, pattern, ignore_case, name, expect) in rows {
            check(san_type, pattern, ignore_case, &name, expect);
        }
    }

    #[test]
    fn wrong_expressions_are_told() {
        assert_eq!(SanRegex::new("a)b").unwrap_err(), "unopened group");
        assert!(SanRegex::new(&"(a{1000}){1000}".repeat(2)).is_err());
    }
}
