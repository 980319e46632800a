//! What stands between a socket and the bytes that the filters see: nothing, or TLS.
//!
//! A TLS context is built and judged by the control client and looked into by the engine alone. To this crate it is a value that is
//! carried along: it knows when two are the same one, and whether two were made from the same configuration.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A TLS context of either side.
#[derive(Clone)]
pub struct TlsContext {
    context: Arc<dyn Any + Send + Sync>,
    /// What was configured, the contents of files aside: certificates that rotate keep it.
    identity: Arc<str>,
}

impl TlsContext {
    /// `identity`: the configuration that it was made from, with the paths of files but without what they held; never key material.
    pub fn new<T: Any + Send + Sync>(context: Arc<T>, identity: &str) -> Self {
        Self { context, identity: identity.into() }
    }

    /// The context itself. `None`: it is of another type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(&self.context).downcast().ok()
    }

    /// The configuration that it was made from.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

/// The very same context: one made anew from other certificates differs.
impl PartialEq for TlsContext {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.context, &other.context)
    }
}

impl Eq for TlsContext {}

/// Without what is in it.
impl fmt::Debug for TlsContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TlsContext")
    }
}

/// `FilterChain.transport_socket`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum DownstreamTransport {
    /// `envoy.transport_sockets.raw_buffer`, or none.
    #[default]
    Raw,
    /// `envoy.transport_sockets.tls` with a DownstreamTlsContext.
    Tls(DownstreamTls),
}

/// `DownstreamTlsContext`, as far as it is not in the context itself.
#[derive(Clone, Debug, PartialEq)]
pub struct DownstreamTls {
    /// Certificates, keys, versions, ciphers, ALPN, and who is believed.
    pub context: TlsContext,
    /// `require_sni`: a ClientHello without a name is refused.
    pub requires_sni: bool,
}

impl DownstreamTransport {
    /// What a connection was accepted under: equal where only certificates differ.
    pub fn identity(&self) -> &str {
        match self {
            DownstreamTransport::Raw => "",
            DownstreamTransport::Tls(tls) => tls.context.identity(),
        }
    }
}

/// `Cluster.transport_socket`, or one of `transport_socket_matches`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpstreamTransport {
    /// `name` of the match; empty for the cluster's own.
    pub name: String,
    /// `envoy.transport_sockets.upstream_proxy_protocol`: what a connection begins with.
    pub proxy_protocol: Option<ProxyProtocolOut>,
    /// `envoy.transport_sockets.tls` with an UpstreamTlsContext. `None`: the bytes travel as they are.
    pub tls: Option<UpstreamTls>,
}

impl UpstreamTransport {
    /// Whether bytes travel as they are, from the first on.
    #[inline]
    pub fn is_raw(&self) -> bool {
        self.proxy_protocol.is_none() && self.tls.is_none()
    }
}

/// `UpstreamTlsContext`, as far as it is not in the context itself.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTls {
    /// Certificates, versions, ciphers, ALPN, and who is believed.
    pub context: TlsContext,
    /// `sni`; empty: none is sent.
    pub sni: Arc<str>,
    /// `UpstreamHttpProtocolOptions.auto_sni`: the request's host instead.
    pub auto_sni: bool,
    /// `UpstreamHttpProtocolOptions.auto_san_validation`: the certificate has to be the host's.
    pub auto_san_validation: bool,
    /// `UpstreamTlsContext.auto_host_sni`: the endpoint's hostname instead of `sni`.
    pub auto_host_sni: bool,
}

/// `ProxyProtocolConfig.Version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocolVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// `envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocolOut {
    /// `config.version`.
    pub version: ProxyProtocolVersion,
    /// `config.pass_through_tlvs`: which of the client's TLVs go on; version 2 only.
    pub passed: PassedTlvs,
    /// `config.added_tlvs`: type and value; version 2 only.
    pub added: Vec<(u8, Vec<u8>)>,
}

/// `ProxyProtocolPassThroughTLVs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PassedTlvs {
    /// It is not there.
    #[default]
    Nothing,
    /// `INCLUDE_ALL`.
    All,
    /// `INCLUDE`: those of these types.
    These(Vec<u8>),
}

impl PassedTlvs {
    /// Whether those of this type are among them.
    pub fn has(&self, kind: u8) -> bool {
        match self {
            PassedTlvs::Nothing => false,
            PassedTlvs::All => true,
            PassedTlvs::These(kinds) => kinds.contains(&kind),
        }
    }
}

/// How long a TLS handshake may take where `transport_socket_connect_timeout` says nothing. Envoy waits without end; a peer that never
/// finishes would hold its memory for ever (docs/LIMITS.md).
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_itself_and_keeps_its_configuration_apart() {
        let (one, other) = (TlsContext::new(Arc::new(1_u32), "c"), TlsContext::new(Arc::new(1_u32), "c"));
        assert!(one == one.clone() && one != other && one.identity() == other.identity());
        assert_eq!(one.get::<u32>().as_deref(), Some(&1));
        assert!(one.get::<u64>().is_none());
        assert_eq!(format!("{one:?}"), "TlsContext");
    }
}
