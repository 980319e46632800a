//! What Istio's filter `istio.alpn` has transport sockets offer by ALPN in place of what they name.
//!
//! In a mesh the names carry more than a version of HTTP: `istio-http/1.1` tells the other sidecar, whose filter chains match on it,
//! that a sidecar speaks and that what comes is HTTP.

use crate::protocol::UpstreamVersion;

/// `istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig`. A version without names leaves the transport socket's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlpnOverrides {
    /// Of `upstream_protocol: HTTP11`.
    pub http1: Vec<Vec<u8>>,
    /// Of `upstream_protocol: HTTP2`.
    pub http2: Vec<Vec<u8>>,
}

impl AlpnOverrides {
    /// What is offered where this is to be spoken, first the names that are liked best; nothing: what the transport socket names.
    pub fn of(&self, version: UpstreamVersion) -> Vec<&[u8]> {
        let (first, second): (&[Vec<u8>], &[Vec<u8>]) = match version {
            UpstreamVersion::Http1 => (&self.http1, &[]),
            UpstreamVersion::Http2 => (&self.http2, &[]),
            UpstreamVersion::ByAlpn => (&self.http2, &self.http1),
        };
        let mut names: Vec<&[u8]> = Vec::with_capacity(first.len() + second.len());
        for name in first.iter().chain(second) {
            if !names.contains(&&**name) {
                names.push(name);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_names_and_a_choice_has_both() {
        let names = |list: &[&str]| list.iter().map(|name| name.as_bytes().to_vec()).collect();
        let overrides =
            AlpnOverrides { http1: names(&["istio-http/1.1", "istio"]), http2: names(&["istio-h2", "istio"]) };
        assert_eq!(overrides.of(UpstreamVersion::Http1), [&b"istio-http/1.1"[..], b"istio"]);
        assert_eq!(overrides.of(UpstreamVersion::Http2), [&b"istio-h2"[..], b"istio"]);
        assert_eq!(overrides.of(UpstreamVersion::ByAlpn), [&b"istio-h2"[..], b"istio", b"istio-http/1.1"]);
        assert!(AlpnOverrides::default().of(UpstreamVersion::Http1).is_empty());
    }
}
