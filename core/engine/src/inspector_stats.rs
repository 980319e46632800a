//! What a worker counts of the listener filters of one listener, in their order.

use std::sync::Arc;

use ringway_model::ListenerFilterKind;
use ringway_observe::{HttpInspectorStats, ProxyProtocolStats, ProxyVersionStats, Registry, TlsInspectorStats};
use ringway_protocols::client_hello::ClientHello;
use ringway_protocols::http_inspector::Detected;
use ringway_protocols::proxy_protocol::Version;

/// Of one filter.
#[derive(Clone, Debug)]
pub(crate) enum InspectorStats {
    /// `original_dst`, of which Envoy counts nothing.
    None,
    Tls(Arc<TlsInspectorStats>),
    Http(Arc<HttpInspectorStats>),
    Proxy(Arc<ProxyProtocolStats>),
}

impl InspectorStats {
    /// Those of one filter, by worker.
    pub(crate) fn of(kind: &ListenerFilterKind, registry: &Registry) -> Vec<Self> {
        match kind {
            ListenerFilterKind::OriginalDst => vec![Self::None; registry.workers()],
            ListenerFilterKind::TlsInspector { .. } => registry.tls_inspector().into_iter().map(Self::Tls).collect(),
            ListenerFilterKind::HttpInspector => registry.http_inspector().into_iter().map(Self::Http).collect(),
            ListenerFilterKind::ProxyProtocol(rules) => {
                registry.proxy_protocol(&rules.stat_prefix).into_iter().map(Self::Proxy).collect()
            }
        }
    }

    pub(crate) fn tls(&self) -> &TlsInspectorStats {
        let Self::Tls(stats) = self else { unreachable!("those of its filter") };
        stats
    }

    pub(crate) fn http(&self) -> &HttpInspectorStats {
        let Self::Http(stats) = self else { unreachable!("those of its filter") };
        stats
    }

    pub(crate) fn proxy(&self) -> &ProxyProtocolStats {
        let Self::Proxy(stats) = self else { unreachable!("those of its filter") };
        stats
    }
}

/// Counts a ClientHello.
pub(crate) fn count_hello(stats: &TlsInspectorStats, hello: &ClientHello<'_>) {
    stats.tls_found.add(1);
    let has_name = hello.server_name().is_some();
    let has_protocols = hello.protocols().next().is_some();
    if has_name {
        stats.sni_found.add(1)
    } else {
        stats.sni_not_found.add(1)
    }
    if has_protocols { stats.alpn_found.add(1) } else { stats.alpn_not_found.add(1) }
}

/// Counts what a connection began with.
pub(crate) fn count_detected(stats: &HttpInspectorStats, detected: Detected) {
    match detected {
        Detected::NeedMore => {}
        Detected::Http2 => stats.http2_found.add(1),
        Detected::Http11 => stats.http11_found.add(1),
        Detected::Http10 => stats.http10_found.add(1),
        Detected::NotHttp => stats.http_not_found.add(1),
        Detected::TooLarge => stats.read_error.add(1),
    }
}

/// Those of one version of the PROXY protocol.
pub(crate) fn of_version(stats: &ProxyProtocolStats, version: Version) -> &ProxyVersionStats {
    match version {
        Version::V1 => &stats.versions[0],
        Version::V2 => &stats.versions[1],
    }
}
