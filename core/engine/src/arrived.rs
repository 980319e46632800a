//! What is known of a client's connection beside its bytes: who and where, by the kernel's word or by that of a proxy before us.

use std::net::SocketAddr;
use std::sync::Arc;

use ringway_model::Listener;
use ringway_model::format::Fact;
use ringway_observe::format::Value;
use ringway_tls::Info;

use crate::client_cert::ClientCertText;
use crate::tls_texts::TlsTexts;

/// See the module. Made when somebody asks, or on arrival where more is known than the kernel tells later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrived {
    /// Our end, or where the client wanted to go before it was redirected here.
    pub(crate) local: Option<SocketAddr>,
    /// The client: by the PROXY protocol, else the other end.
    pub(crate) peer: Option<SocketAddr>,
    /// Our end.
    pub(crate) direct_local: Option<SocketAddr>,
    /// The other end.
    pub(crate) direct_peer: Option<SocketAddr>,
    /// The path of a unix socket: Envoy calls both ends by it.
    pub(crate) pipe: Option<Arc<str>>,
    /// `local` is where the client wanted to go, not our end: what ORIGINAL_DST clusters go by.
    pub(crate) is_restored: bool,
    /// The server name of its ClientHello, in lower case.
    pub(crate) server_name: Option<Arc<str>>,
    /// What a proxy before us said of it in TLVs, as they lay there.
    pub(crate) tlvs: Option<Arc<[u8]>>,
    /// What the next hop is told of its certificate.
    pub(crate) client_cert: ClientCertText,
    /// Its number among all connections of the process, where its listener has an access log: all logs tell the same.
    pub(crate) id: Option<u64>,
    /// What access logs say of its TLS.
    pub(crate) tls_texts: TlsTexts,
    /// What its TLS handshake came to.
    pub(crate) tls: Option<Arc<Info>>,
}

impl Arrived {
    /// What the system says of both ends; of a unix socket, which of the listener's paths (`own_path`) it came over.
    pub(crate) fn told(
        (local, peer): (Option<SocketAddr>, Option<SocketAddr>),
        listener: Option<&Listener>,
        own_path: impl FnOnce() -> Option<String>,
    ) -> Self {
        let pipe = || {
            let addresses = || listener.into_iter().flat_map(|listener| &listener.addresses);
            let paths = || addresses().filter_map(|at| Some(&at.address.pipe()?.path));
            let path = match paths().nth(1) {
                None => paths().next(),
                Some(_) => {
                    let own = own_path()?;
                    paths().find(|path| ***path == *own)
                }
            };
            path.map(Arc::clone)
        };
        let pipe = if local.is_none() { pipe() } else { None };
        Self { local, peer, direct_local: local, direct_peer: peer, pipe, ..Self::default() }
    }

    /// What an access log says of its TLS.
    pub(crate) fn tls_value(&self, fact: Fact) -> Value<'_> {
        self.tls.as_deref().map_or(Value::Absent, |info| self.tls_texts.value(info, fact))
    }

    /// Where the client wanted to go, if that is known.
    pub(crate) fn restored(&self) -> Option<SocketAddr> {
        self.local.filter(|_| self.is_restored)
    }
}
