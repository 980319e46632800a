//! Extensions of Istio's Envoy that Envoy's own API does not have, and that do nothing here.
//!
//! Each says about traffic, and to whom it may be said; none decides where it goes or who may send it. What is inside of them is not
//! read, so that they may change.

/// One type, and what it is allowed to stand for.
pub(crate) struct IgnoredType {
    /// Full name.
    pub(crate) name: &'static str,
    /// Where it may stand: the messages that hold it as their `typed_config`, separated by blanks.
    pub(crate) holders: &'static str,
    /// Why nothing is missed.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the page, which a test writes"))]
    pub(crate) reason: &'static str,
}

pub(super) static TYPES: &[IgnoredType] = &[
    IgnoredType {
        name: "stats.PluginConfig",
        holders: "HttpFilter Filter",
        reason: "istio.stats: counts requests by workload; nothing but its own metrics is missing",
    },
    IgnoredType {
        name: "io.istio.http.peer_metadata.Config",
        holders: "HttpFilter",
        reason: "istio.peer_metadata: tells and learns, by x-envoy-peer-metadata, which workload the peer is, for metrics and logs; the \
                 fields of a peer are passed on",
    },
    IgnoredType {
        name: "envoy.tcp.metadataexchange.config.MetadataExchange",
        holders: "Filter",
        reason: "istio.metadata_exchange: the same where the ALPN istio-peer-exchange was agreed on, and that is never offered or chosen",
    },
    IgnoredType {
        name: "io.istio.network.authn.Config",
        holders: "Filter",
        reason: "istio_authn: writes the peer's identity into metadata, and rules that read metadata are refused",
    },
    IgnoredType {
        name: "istio.workload.BootstrapExtension",
        holders: "TypedExtensionConfig",
        reason: "learns of workloads for istio.peer_metadata, which does nothing",
    },
];

/// Whether this is one of them.
pub(crate) fn is_ignored_type(name: &str) -> bool {
    TYPES.iter().any(|known| known.name == name)
}

/// Whether this is one of them, and stands where it may.
pub(crate) fn is_ignored_in(name: &str, holder: &str) -> bool {
    TYPES.iter().any(|known| known.name == name && known.holders.split_whitespace().any(|other| other == holder))
}
