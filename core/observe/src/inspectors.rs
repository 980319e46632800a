//! What is counted of listener filters that look at a connection's first bytes: `tls_inspector.`, `http_inspector.` and
//! `proxy_proto.[<stat_prefix>.]`, each of all listeners together, as in Envoy.

use crate::block::block;
use crate::{Counter, Kind, Row, Shown};

block! {
    /// `tls_inspector.`
    TlsInspectorStats {
        /// ClientHellos longer than they may be.
        client_hello_too_large: Counter,
        /// Connections that begin TLS.
        tls_found: Counter,
        /// Those that begin something else.
        tls_not_found: Counter,
        /// ClientHellos with protocols.
        alpn_found: Counter,
        /// Those without.
        alpn_not_found: Counter,
        /// ClientHellos with a server name.
        sni_found: Counter,
        /// Those without.
        sni_not_found: Counter,
    }
    histograms {}
    beside {}
}

block! {
    /// `http_inspector.`
    HttpInspectorStats {
        /// Connections that begin with a request of a version of HTTP/1 other than 1.1.
        http10_found: Counter,
        /// Those that begin with one of HTTP/1.1.
        http11_found: Counter,
        /// Those that begin HTTP/2.
        http2_found: Counter,
        /// Those that begin something else.
        http_not_found: Counter,
        /// Those whose request line is longer than it may be.
        read_error: Counter,
    }
    histograms {}
    beside {}
}

block! {
    /// `proxy_proto.`
    ProxyProtocolStats {
        /// Connections without a header that may do without.
        not_found_allowed: Counter,
        /// Those closed because they have none.
        not_found_disallowed: Counter,
    }
    histograms {}
    beside {
        /// By version, the first first.
        versions: [ProxyVersionStats; 2],
        => numbers of_versions
    }
}

/// Headers of one version.
#[derive(Debug, Default)]
pub struct ProxyVersionStats {
    /// Those that came.
    pub found: Counter,
    /// Those of a version that is not wanted; found, too.
    pub disallowed: Counter,
    /// Those that break a rule.
    pub error: Counter,
}

macro_rules! of_versions {
    ($($at:literal $name:literal $field:ident,)*) => {
        fn of_versions() -> Vec<Row<ProxyProtocolStats>> {
            vec![$(Row {
                name: $name,
                kind: Kind::Counter,
                value: |block: &ProxyProtocolStats| block.versions[$at].$field.value(),
                shown: Shown::Always,
            },)*]
        }
    };
}

of_versions! {
    0 "versions.v1.disallowed" disallowed,
    0 "versions.v1.error" error,
    0 "versions.v1.found" found,
    1 "versions.v2.disallowed" disallowed,
    1 "versions.v2.error" error,
    1 "versions.v2.found" found,
}
