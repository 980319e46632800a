//! A client connection as its exchanges see it.

use std::cell::{Cell, OnceCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ringway_model::{ChainId, ClientCertDetails, ListenerId};
use ringway_observe::HttpStats;
use ringway_protocols::Version;
use ringway_runtime::{Instant, Timer};
use ringway_tls::Info;

use crate::age::Age;
use crate::arrived::Arrived;
use crate::side::Side;
use crate::worker::Worker;

/// What becomes of the connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may come.
    KeepAlive,
    /// All is answered; the client reads to the end and sees a clean close.
    Linger,
    /// The connection is of no use to anyone: close at once.
    Close,
}

/// A client connection between and during its exchanges.
pub(crate) struct Downstream {
    pub(crate) worker: Rc<Worker>,
    pub(crate) stream: Side,
    pub(crate) timer: Timer,
    pub(crate) listener: ListenerId,
    pub(crate) chain: ChainId,
    /// Its place in the worker's register, by which a drain finds it.
    pub(crate) key: usize,
    /// Whether a request was answered on it. One that was not has just come, and its first request is on its way.
    pub(crate) served: Cell<bool>,
    /// The version of the last request.
    pub(crate) version: Cell<Version>,
    /// The last request is a gRPC call: answers of our own take its form.
    pub(crate) is_grpc: Cell<bool>,
    pub(crate) stats: Arc<HttpStats>,
    /// Its number among all connections of the process (Envoy, `%CONNECTION_ID%`).
    pub(crate) id: u64,
    pub(crate) age: Age,
    /// When the first byte of the last request was read.
    pub(crate) began: Cell<Instant>,
    /// An exchange was broken off.
    pub(crate) is_cut: Cell<bool>,
    /// The client ended the connection.
    pub(crate) is_peers: Cell<bool>,
    addresses: OnceCell<Rc<Arrived>>,
}

impl Downstream {
    /// A connection that was accepted just now, or one request of several on it. `id`: see the field.
    pub(crate) fn new(
        worker: Rc<Worker>,
        stream: Side,
        (listener, chain): (ListenerId, ChainId),
        key: usize,
        stats: Arc<HttpStats>,
        age: Age,
        id: u64,
    ) -> Self {
        let (timer, began) = (worker.core.timer(), Cell::new(worker.core.now()));
        let addresses = OnceCell::new();
        let version = Cell::new(Version::Http11);
        let [served, is_cut, is_peers, is_grpc] = [const { Cell::new(false) }; 4];
        Self {
            worker,
            stream,
            timer,
            listener,
            chain,
            key,
            served,
            version,
            is_grpc,
            stats,
            id,
            age,
            began,
            is_cut,
            is_peers,
            addresses,
        }
    }

    /// Whether the response that begins now is the connection's last, whatever the client wants.
    #[inline]
    pub(crate) fn closes_after(&self) -> bool {
        self.worker.closes_after(self.key) || self.age.is_old(self.worker.core.now(), &self.stats)
    }

    /// Says what is known of both ends to another of the same connection, if something is.
    pub(crate) fn tell_addresses(&self, other: &OnceCell<Rc<Arrived>>) {
        if let Some(known) = self.addresses.get() {
            let _ = other.set(Rc::clone(known));
        }
    }

    /// What was learned of it on arrival.
    pub(crate) fn arrived_as(&self, arrived: Rc<Arrived>) {
        let _ = self.addresses.set(arrived);
    }

    /// The protocol that was agreed on in its TLS handshake.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.tls()?.alpn.as_deref()
    }

    /// What its TLS handshake came to, if it had one.
    #[inline]
    pub(crate) fn tls(&self) -> Option<&Info> {
        self.addresses.get()?.tls.as_deref()
    }

    /// What the next hop is told of its certificate, if it showed one.
    pub(crate) fn client_cert(&self, details: ClientCertDetails) -> Option<Rc<str>> {
        let arrived = self.addresses.get()?;
        arrived.client_cert.get(arrived.tls.as_deref()?, details)
    }

    /// Whether the client showed a certificate.
    #[inline]
    pub(crate) fn shows_certificate(&self) -> bool {
        self.tls().is_some_and(|info| info.peer.is_some())
    }

    /// Takes over what another of the same connection knows of both ends.
    pub(crate) fn know_addresses(&self, other: &OnceCell<Rc<Arrived>>) {
        if let Some(known) = other.get() {
            let _ = self.addresses.set(Rc::clone(known));
        }
    }

    /// The addresses of both ends, ours first. The system is asked once: a peer that has gone is not known any more.
    pub(crate) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let addresses = self.arrived();
        (addresses.local, addresses.peer)
    }

    /// Where the client wanted to go before it was redirected here.
    pub(crate) fn restored(&self) -> Option<SocketAddr> {
        self.addresses.get()?.restored()
    }

    /// The path of the unix socket that it came over, if it did.
    pub(crate) fn pipe(&self) -> Option<&str> {
        self.arrived().pipe.as_deref()
    }

    /// What is known of it beside its bytes. The system is asked once.
    pub(crate) fn arrived(&self) -> &Rc<Arrived> {
        self.addresses.get_or_init(|| {
            let view = self.worker.view_for(self.key);
            let ends = (self.stream.local_addr(), self.stream.peer_addr());
            Rc::new(Arrived::told(ends, view.snapshot.listener(self.listener).map(|all| &**all), || {
                self.stream.local_path()
            }))
        })
    }
}
