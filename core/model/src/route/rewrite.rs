//! What a route makes of a request's path and host before it goes up.
//!
//! It never checks what comes out: who writes the head does, and refuses what is no path or no host.

use super::matcher::PathMatch;
use super::regex::{Regex, RegexCaches, Substitution};
use super::without_query;

/// `RouteAction.prefix_rewrite`, `RouteAction.regex_rewrite`, and the same of `RedirectAction`.
#[derive(Clone, Debug, PartialEq)]
pub enum PathRewrite {
    /// `prefix_rewrite`: what the route matched of the path is replaced; all of it, but for a prefix.
    Prefix(String),
    /// `regex_rewrite`: each match in the path, without its query, is replaced.
    Regex(Rewrite),
}

/// `envoy.type.matcher.v3.RegexMatchAndSubstitute`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewrite {
    /// `pattern`, which is looked for.
    pub pattern: Regex,
    /// `substitution`.
    pub substitution: Substitution,
}

impl Rewrite {
    /// Appends what it makes of `text`.
    pub(super) fn apply(&self, text: &[u8], caches: &mut RegexCaches, out: &mut Vec<u8>) {
        self.pattern.replace_all(text, &self.substitution, caches, out);
    }
}

impl PathRewrite {
    /// Appends the rewritten path and the query of `path`, which `matched` has matched.
    pub fn apply(&self, matched: &PathMatch, path: &[u8], caches: &mut RegexCaches, out: &mut Vec<u8>) {
        let (plain, query) = path.split_at(without_query(path).len());
        match self {
            PathRewrite::Prefix(prefix) => {
                let replaced = match matched {
                    PathMatch::Prefix(text) | PathMatch::SeparatedPrefix(text) => text.len(),
                    PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::Connect => plain.len(),
                };
                out.extend_from_slice(prefix.as_bytes());
                out.extend_from_slice(&plain[replaced..]);
            }
            PathRewrite::Regex(rewrite) => rewrite.apply(plain, caches, out),
        }
        out.extend_from_slice(query);
    }
}

/// `RouteAction.host_rewrite_specifier`.
#[derive(Clone, Debug, PartialEq)]
pub enum HostRewrite {
    /// `host_rewrite_literal`.
    Literal(String),
    /// `host_rewrite_header`: the first value of this field (in lower case), unless there is none or it is empty.
    Header(String),
    /// `host_rewrite_path_regex`: what it makes of the path, without its query, before that is rewritten.
    Path(Rewrite),
    /// `auto_host_rewrite`: the hostname of the endpoint, where it has one.
    Endpoint,
}

impl HostRewrite {
    /// Appends the host for a request; true where there is one. `values` gives the fields of a name, `hostname` is that
    /// of the endpoint.
    pub fn apply<'r>(
        &self,
        path: &[u8],
        first: impl Fn(&str) -> Option<&'r [u8]>,
        hostname: Option<&str>,
        caches: &mut RegexCaches,
        out: &mut Vec<u8>,
    ) -> bool {
        let start = out.len();
        match self {
            HostRewrite::Literal(host) => out.extend_from_slice(host.as_bytes()),
            HostRewrite::Header(name) => out.extend_from_slice(first(name).unwrap_or_default()),
            HostRewrite::Path(rewrite) => {
                rewrite.apply(without_query(path), caches, out);
                // Envoy sets what comes out even where it is empty; an empty Host is refused by who writes the head.
                return true;
            }
            HostRewrite::Endpoint => out.extend_from_slice(hostname.unwrap_or_default().as_bytes()),
        }
        out.len() > start
    }
}

#[cfg(test)]
mod tests {
    use super::super::regex::Regexes;
    use super::*;

    fn rewrite(pattern: &str, substitution: &str) -> Rewrite {
        let pattern = Regexes::default().search(pattern).expect("a pattern");
        let substitution = Substitution::parse(substitution, &pattern).expect("a rewrite string");
        Rewrite { pattern, substitution }
    }

    #[track_caller]
    fn check(rewrite: &PathRewrite, matched: &PathMatch, path: &str, expect: &str) {
        let mut out = Vec::new();
        rewrite.apply(matched, path.as_bytes(), &mut RegexCaches::default(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }

    #[test]
    fn what_matched_is_replaced_and_the_query_stays() {
        let prefix = PathRewrite::Prefix("/new".into());
        check(&prefix, &PathMatch::Prefix("/old".into()), "/old/x?a=/old", "/new/x?a=/old");
        check(&prefix, &PathMatch::Prefix("/old".into()), "/oldx", "/newx");
        check(&prefix, &PathMatch::SeparatedPrefix("/old".into()), "/old/x", "/new/x");
        check(&prefix, &PathMatch::SeparatedPrefix("/old".into()), "/old?q", "/new?q");
        check(&prefix, &PathMatch::Exact("/old".into()), "/old?q", "/new?q");
        let any = PathMatch::Regex(Regexes::default().whole(".*").expect("a pattern"));
        check(&prefix, &any, "/old/x?q", "/new?q");
        let regex = PathRewrite::Regex(rewrite("^/v([0-9])(/.*)$", r"\2/of/\1"));
        check(&regex, &PathMatch::Prefix("/".into()), "/v1/x?/v2/y", "/x/of/1?/v2/y");
        check(&regex, &PathMatch::Prefix("/".into()), "/x?q", "/x?q");
    }

    #[track_caller]
    fn check_host(rewrite: &HostRewrite, field: Option<&'static [u8]>, expect: Option<&str>) {
        let mut out = Vec::new();
        let is_set = rewrite.apply(b"/a.test/x?q", |_| field, Some("e.test"), &mut RegexCaches::default(), &mut out);
        assert_eq!(is_set.then(|| String::from_utf8_lossy(&out).into_owned()).as_deref(), expect, "{rewrite:?}");
    }

    #[test]
    fn hosts() {
        check_host(&HostRewrite::Literal("l.test".into()), None, Some("l.test"));
        check_host(&HostRewrite::Header("x-host".into()), Some(b"h.test"), Some("h.test"));
        check_host(&HostRewrite::Header("x-host".into()), Some(b""), None);
        check_host(&HostRewrite::Header("x-host".into()), None, None);
        check_host(&HostRewrite::Endpoint, None, Some("e.test"));
        check_host(&HostRewrite::Path(rewrite("^/([^/]*)/.*$", r"\1")), None, Some("a.test"));
    }
}
