//! Where load goes: a URL, or a bare `ADDRESS:PORT` as one of HTTP/1.

use std::net::{SocketAddr, ToSocketAddrs};

/// What is spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    /// HTTP, of the version that the server chooses by ALPN.
    HttpByAlpn,
    /// gRPC, by HTTP/2.
    Grpc,
    /// Bytes.
    Tcp,
}

impl Protocol {
    /// As the output names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
            Protocol::HttpByAlpn => "HTTP by ALPN",
            Protocol::Grpc => "gRPC",
            Protocol::Tcp => "TCP",
        }
    }
}

/// A target, before its name is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) protocol: Protocol,
    pub(crate) tls: bool,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) path: String,
}

impl Target {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Target, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (protocol, tls) = match scheme {
            "http" => (Protocol::Http1, false),
            "https" => (Protocol::HttpByAlpn, true),
            "h2c" => (Protocol::Http2, false),
            "grpc" => (Protocol::Grpc, false),
            "grpcs" => (Protocol::Grpc, true),
            "tcp" => (Protocol::Tcp, false),
            "tls" => (Protocol::Tcp, true),
            _ => return Err(format!("{scheme}:// is none of http, https, h2c, grpc, grpcs, tcp, tls")),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = parse_path(path)?;
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or("[ without ]")?;
                (host, rest.strip_prefix(':'))
            }
            None => authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() || host.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'@') {
            return Err(format!("{authority:?} names no host"));
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| format!("{port:?} is no port"))?,
            None if matches!(protocol, Protocol::Tcp) => return Err("a port is needed".into()),
            None => [80, 443][usize::from(tls)],
        };
        Ok(Target { protocol, tls, host: host.to_owned(), port, path })
    }

    /// Host and port as `Host` and `:authority` have them: without a port that the scheme says anyway.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == [80, 443][usize::from(self.tls)] { host } else { format!("{host}:{}", self.port) }
    }

    /// As [`Target::parse`] reads it, but for a version of HTTP that an option asks for.
    pub(crate) fn url(&self) -> String {
        let scheme = match (self.protocol, self.tls) {
            (Protocol::Http1 | Protocol::HttpByAlpn, false) => "http",
            (Protocol::Http2, false) => "h2c",
            (Protocol::Http1 | Protocol::Http2 | Protocol::HttpByAlpn, true) => "https",
            (Protocol::Grpc, false) => "grpc",
            (Protocol::Grpc, true) => "grpcs",
            (Protocol::Tcp, false) => "tcp",
            (Protocol::Tcp, true) => "tls",
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let path = if self.protocol == Protocol::Tcp { "" } else { &self.path };
        format!("{scheme}://{host}:{}{path}", self.port)
    }

    /// Its first address. Blocks: for the start, not for a core.
    ///
    /// # Errors
    /// It has none.
    pub(crate) fn resolve(&self) -> Result<SocketAddr, String> {
        let mut all =
            (self.host.as_str(), self.port).to_socket_addrs().map_err(|error| format!("{}: {error}", self.host))?;
        all.next().ok_or_else(|| format!("{}: no address", self.host))
    }
}

/// Reads a path and query; a `/` in front may be missing.
///
/// # Errors
/// What in it would not be taken as it stands.
pub(crate) fn parse_path(text: &str) -> Result<String, String> {
    if let Some(character) = text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        return Err(format!("{character:?} in the path is to be percent-encoded"));
    }
    Ok(if text.starts_with('/') { text.to_owned() } else { format!("/{text}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (text, expect) in [
            ("/a?b=c%20d", Some("/a?b=c%20d")),
            ("a/b", Some("/a/b")),
            ("?a", Some("/?a")),
            ("", Some("/")),
            ("/a b", None),
            ("/a HTTP/1.1\r\nX-Evil: 1\r\nY: ", None),
            ("/a#b", None),
            ("/ä", None),
        ] {
            assert_eq!(parse_path(text).ok().as_deref(), expect, "{text:?}");
        }
    }

    #[test]
    fn targets() {
        use Protocol::{Grpc, Http1, Http2, HttpByAlpn, Tcp};
        for (text, expect) in [
            ("127.0.0.1:8080", Some((Http1, false, "127.0.0.1", 8080, "/", "127.0.0.1:8080"))),
            ("http://host/a?b=c", Some((Http1, false, "host", 80, "/a?b=c", "host"))),
            ("https://[::1]?x", Some((HttpByAlpn, true, "::1", 443, "/?x", "[::1]"))),
            ("h2c://host:443", Some((Http2, false, "host", 443, "/", "host:443"))),
            ("grpcs://host/p.S/M", Some((Grpc, true, "host", 443, "/p.S/M", "host"))),
            ("tcp://[fe80::1]:7", Some((Tcp, false, "fe80::1", 7, "/", "[fe80::1]:7"))),
            ("tcp://host", None),
            ("ftp://host", None),
            ("http://user@host/", None),
            ("http://host/a b", None),
            ("http://host:70000/", None),
            ("http://[::1/", None),
            ("", None),
        ] {
            let read = Target::parse(text).ok();
            let authority = read.as_ref().map(Target::authority);
            let read = read.as_ref().map(|t| (t.protocol, t.tls, t.host.as_str(), t.port, t.path.as_str()));
            assert_eq!(read, expect.map(|(a, b, c, d, e, _)| (a, b, c, d, e)), "{text}");
            if let Ok(target) = Target::parse(text) {
                assert_eq!(Target::parse(&target.url()), Ok(target), "{text}");
            }
            assert_eq!(authority.as_deref(), expect.map(|all| all.5), "{text}");
        }
    }
}
