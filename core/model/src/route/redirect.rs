//! `envoy.config.route.v3.RedirectAction`, and where an answer of the proxy's own says that something is.

use super::matcher::PathMatch;
use super::request::{Caches, RequestView};
use super::rewrite::PathRewrite;
use super::without_query;
use crate::format::put_number;

/// `RedirectAction`.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// `response_code`: 301, 302, 303, 307 or 308.
    pub status: u16,
    /// `scheme_redirect`, or `https` for `https_redirect`; `None`: the request's.
    pub scheme: Option<String>,
    /// `host_redirect`, which may have a port; `None`: the request's.
    pub host: Option<String>,
    /// `port_redirect`; `None`: that of the host.
    pub port: Option<u16>,
    /// `path_rewrite_specifier`; `None`: the request's.
    pub path: Option<RedirectPath>,
    /// `strip_query`. A `path_redirect` that has a query keeps its own.
    pub strip_query: bool,
}

/// `RedirectAction.path_rewrite_specifier`.
#[derive(Clone, Debug, PartialEq)]
pub enum RedirectPath {
    /// `path_redirect`. One with a query takes the place of the request's.
    Path(String),
    /// `prefix_rewrite`, `regex_rewrite`.
    Rewrite(PathRewrite),
}

impl Redirect {
    /// Appends the value of `Location` for a request that `matched` has matched.
    pub fn location(&self, matched: &PathMatch, request: &impl RequestView, caches: &mut Caches, out: &mut Vec<u8>) {
        let scheme = self.scheme.as_deref().map_or(request.scheme(), str::as_bytes);
        out.extend_from_slice(scheme);
        out.extend_from_slice(b"://");
        match &self.host {
            Some(host) => out.extend_from_slice(host.as_bytes()),
            None => out.extend_from_slice(kept_host(request, scheme, self.port.is_some())),
        }
        if let Some(port) = self.port {
            out.push(b':');
            put_number(u64::from(port), 1, b'0', out);
        }
        let start = out.len();
        let path = request.path();
        let mut own_query = false;
        match &self.path {
            None => out.extend_from_slice(path),
            Some(RedirectPath::Path(new)) => {
                own_query = new.contains('?');
                out.extend_from_slice(new.as_bytes());
                if !own_query {
                    out.extend_from_slice(&path[without_query(path).len()..]);
                }
            }
            Some(RedirectPath::Rewrite(rewrite)) => rewrite.apply(matched, path, &mut caches.regexes, out),
        }
        if self.strip_query && !own_query {
            let kept = without_query(&out[start..]).len();
            out.truncate(start + kept);
        }
    }
}

/// Appends the URL that a request asks for: the `Location` of a 201 or 3xx that the configuration asks for.
pub fn own_location(request: &impl RequestView, out: &mut Vec<u8>) {
    out.extend_from_slice(request.scheme());
    out.extend_from_slice(b"://");
    out.extend_from_slice(request.authority());
    out.extend_from_slice(request.path());
}

/// The request's host: without its port where another comes, or where it is the default of the scheme that is left
/// (Envoy, `processRequestHost`).
fn kept_host<'r>(request: &'r impl RequestView, scheme: &[u8], other_port: bool) -> &'r [u8] {
    let host = request.authority();
    let colon = match host.first() {
        Some(b'[') => host.windows(2).rposition(|pair| pair == b"]:").map(|at| at + 1),
        _ => host.iter().rposition(|&byte| byte == b':'),
    };
    let Some(colon) = colon else { return host };
    let mut said = request.values("x-forwarded-proto");
    let came_by = match (said.next(), said.next()) {
        (None, _) => b"http",
        (Some(scheme), None) => scheme,
        // Several are one text that is no scheme.
        (Some(_), Some(_)) => b"",
    };
    let is_default = matches!((came_by, &host[colon..]), (b"https", b":443") | (b"http", b":80"));
    if other_port || (scheme != came_by && is_default) { &host[..colon] } else { host }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::Sample;
    use super::*;

    const PLAIN: Redirect =
        Redirect { status: 301, scheme: None, host: None, port: None, path: None, strip_query: false };

    #[track_caller]
    fn check(redirect: &Redirect, authority: &'static str, path: &'static str, expect: &str) {
        let request = Sample { authority, path, ..Sample::default() };
        let mut out = Vec::new();
        redirect.location(&PathMatch::Prefix("/a".into()), &request, &mut Caches::default(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }

    #[test]
    fn each_part_is_the_requests_unless_it_is_given() {
        check(&PLAIN, "h:80", "/a?q", "http://h:80/a?q");
        let https = Redirect { scheme: Some("https".into()), ..PLAIN };
        check(&https, "h", "/a?q", "https://h/a?q");
        check(&https, "h:80", "/a", "https://h/a");
        check(&https, "h:8080", "/a", "https://h:8080/a");
        check(&https, "[::1]:80", "/a", "https://[::1]/a");
        check(&https, "[::1]", "/a", "https://[::1]/a");
        check(&Redirect { port: Some(8443), ..PLAIN }, "h:80", "/a", "http://h:8443/a");
        check(&Redirect { port: Some(80), host: Some("o".into()), ..PLAIN }, "h", "/a", "http://o:80/a");
    }

    #[test]
    fn paths_and_queries() {
        let path = |text: &str, strip_query| {
            let path = Some(RedirectPath::Path(text.into()));
            Redirect { path, strip_query, ..PLAIN }
        };
        check(&path("/new", false), "h", "/a?q", "http://h/new?q");
        check(&path("/new", true), "h", "/a?q", "http://h/new");
        check(&path("/new?own", false), "h", "/a?q", "http://h/new?own");
        check(&path("/new?own", true), "h", "/a?q", "http://h/new?own");
        check(&Redirect { strip_query: true, ..PLAIN }, "h", "/a?q", "http://h/a");
        let prefix = Some(RedirectPath::Rewrite(PathRewrite::Prefix("/b".into())));
        check(&Redirect { path: prefix, ..PLAIN }, "h", "/a/c?q", "http://h/b/c?q");
    }

    #[test]
    fn the_own_url() {
        let mut out = Vec::new();
        own_location(&Sample { authority: "h:80", path: "/x?q", ..Sample::default() }, &mut out);
        assert_eq!(out, b"http://h:80/x?q");
    }
}
