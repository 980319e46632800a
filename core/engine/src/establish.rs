//! A connection to an endpoint from its first packet to where its user's bytes begin: connected, and secured where the cluster says so.
//!
//! What is offered by ALPN, first that there is: what the filter `istio.alpn` says, what the transport socket names, what goes with the
//! version of HTTP. A connection is pooled with what it was made with: requests of a listener with another `istio.alpn` find it there.
//!
//! All of it is one attempt with one `connect_timeout`, as in Envoy. Of an endpoint at several addresses the first that is connected is secured.

use std::rc::Rc;
use std::sync::Arc;

use ringway_model::{
    Address, AlpnOverrides, ProxyProtocolOut, ProxyProtocolVersion, UpstreamTransport, UpstreamVersion,
};
use ringway_protocols::proxy_protocol::{Tlvs, V1_SIZE_MAX, encode_v1, encode_v2, tlv, v2_size};
use ringway_runtime::{Chunk, Instant, Stream};
use ringway_tls::{ClientContext, Session, Target};

use crate::arrived::Arrived;
use crate::breakers::Breakers;
use crate::core_cluster::CoreCluster;
use crate::outbox::Outbox;
use crate::pool::{EndpointPool, Unconnected};
use crate::tls::{self, Unsecured};
use crate::worker::Worker;

/// A connection on which the next byte is its user's.
pub(crate) struct Established {
    pub(crate) stream: Stream,
    /// The endpoint chose HTTP/2 by ALPN.
    pub(crate) chose_http2: bool,
}

impl Established {
    fn plain(stream: Stream) -> Self {
        Self { stream, chose_http2: false }
    }
}

/// What is offered by ALPN where the transport socket names nothing, as Envoy's pools do. `None` is for bytes that are not HTTP.
fn offered(version: Option<UpstreamVersion>) -> &'static [&'static [u8]] {
    match version {
        None => &[],
        Some(UpstreamVersion::Http1) => &[b"http/1.1"],
        Some(UpstreamVersion::Http2) => &[b"h2"],
        Some(UpstreamVersion::ByAlpn) => &[b"h2", b"http/1.1"],
    }
}

/// What the bytes on a connection will be.
#[derive(Clone, Default)]
pub(crate) struct Purpose {
    /// The version of HTTP; `None`: they are not HTTP.
    pub(crate) version: Option<UpstreamVersion>,
    /// The filter `istio.alpn` of the chain that they come through.
    pub(crate) alpn: Option<Arc<AlpnOverrides>>,
}

impl Purpose {
    /// HTTP of this version, through a chain with this filter, or none.
    pub(crate) fn http(version: UpstreamVersion, alpn: Option<&Arc<AlpnOverrides>>) -> Self {
        Self { version: Some(version), alpn: alpn.cloned() }
    }
}

/// Makes a new connection to the endpoint, for this purpose.
///
/// # Errors
/// There is none.
pub(crate) async fn establish(
    worker: &Worker,
    cluster: &CoreCluster,
    (pool, breakers): (&Rc<EndpointPool>, &Rc<Breakers>),
    purpose: &Purpose,
    client: impl FnOnce() -> Option<Rc<Arrived>>,
) -> Result<Established, Unconnected> {
    let deadline = worker.core.now() + cluster.config.connect_timeout;
    let outgoing = cluster.config.outgoing.as_deref();
    let stream = pool.connect((&worker.core, &worker.limits), breakers, outgoing, deadline).await;
    let stream = stream.map_err(Unconnected::Tcp)?;
    let transport = pool.transport.borrow().clone();
    let Some(transport) = transport else { return Ok(Established::plain(stream)) };
    // In memory of its own, which plain connections do without.
    if let Some(rules) = &transport.proxy_protocol {
        stream.send(proxy_header(worker, rules, client().as_deref()));
    }
    let overrides = purpose.alpn.as_deref().filter(|_| !cluster.config.http.keeps_alpn);
    worker
        .core
        .pooled(prepare(worker, (&transport, pool, purpose.version, overrides), breakers, stream, deadline))
        .await
}

/// What the connection begins with: whose it is. Without a client it is our own.
fn proxy_header(worker: &Worker, rules: &ProxyProtocolOut, client: Option<&Arrived>) -> Chunk {
    let endpoints = client.and_then(|client| Some((client.peer?, client.local?)));
    if rules.version == ProxyProtocolVersion::V1 {
        let mut out = Outbox::new(&worker.core, V1_SIZE_MAX);
        encode_v1(endpoints, &mut out);
        return out.finish();
    }
    let client_tlvs = client.and_then(|client| client.tlvs.as_deref()).unwrap_or_default();
    // A checksum is of the header that it came in.
    let passed = Tlvs::of(client_tlvs).filter(|(kind, _)| *kind != tlv::CRC32C && rules.passed.has(*kind));
    let added = rules.added.iter().map(|(kind, value)| (*kind, &value[..]));
    let mut tlvs: Vec<(u8, &[u8])> = added.chain(passed).collect();
    let size = loop {
        match v2_size(endpoints, tlvs.iter().copied()) {
            Ok(size) => break size,
            // What does not fit any more is left out, last first.
            Err(_) => _ = tlvs.pop(),
        }
    };
    let mut out = Outbox::new(&worker.core, size);
    encode_v2(endpoints, tlvs.iter().copied(), &mut out).expect("it fits");
    out.finish()
}

async fn prepare(
    worker: &Worker,
    (transport, pool, version, overrides): (
        &UpstreamTransport,
        &EndpointPool,
        Option<UpstreamVersion>,
        Option<&AlpnOverrides>,
    ),
    breakers: &Breakers,
    stream: Stream,
    deadline: Instant,
) -> Result<Established, Unconnected> {
    let Some(config) = &transport.tls else { return Ok(Established::plain(stream)) };
    let stats = breakers.stats.tls.write();
    let failed = |unsecured: Unsecured| {
        unsecured.count(stats);
        Unconnected::Tls(unsecured)
    };
    let endpoint = match (stream.peer_addr(), &*pool.address.borrow()) {
        (Some(peer), _) | (None, &Address::Ip(peer)) => peer.to_string(),
        (None, Address::Pipe(pipe)) => pipe.path.to_string(),
    };
    // As in Envoy, where only HTTP's router says whose the certificate has to be: of a request without a host, nobody's.
    let names = pool.host.as_deref().filter(|_| config.auto_san_validation);
    let target = Target {
        server_name: Some(&*config.sni).filter(|name| !name.is_empty()),
        endpoint: endpoint.as_bytes(),
        subject_alt_names: names.as_slice(),
        alpn: offered(version),
    };
    let context = config.context.get::<ClientContext>().expect("a client's context");
    let instead = overrides.zip(version).map(|(overrides, version)| overrides.of(version)).unwrap_or_default();
    let session = match &instead[..] {
        [] => Session::client(&context, target),
        names => Session::client_offering(&context, target, names),
    };
    let session = session.map_err(|error| failed(Unsecured::Failed(error)))?;
    let timer = worker.core.timer();
    let info = tls::secure((&worker.core, &worker.tls), &stream, session, &timer, deadline).await.map_err(failed)?;
    tls::count(&info, stats);
    Ok(Established { stream, chose_http2: info.alpn.as_deref() == Some(b"h2") })
}
