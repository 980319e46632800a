//! A client connection as its exchanges see it.

use std::cell::{Cell, OnceCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ringway_model::{ChainId, ListenerId};
use ringway_observe::HttpStats;
use ringway_protocols::Version;
use ringway_runtime::{Instant, Timer};

use crate::age::Age;
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
    addresses: OnceCell<Rc<Addresses>>,
}

/// What the system says of both ends, where it says something.
pub(crate) struct Addresses {
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    /// The path of a unix socket: Envoy calls both ends by it.
    pipe: Option<Arc<str>>,
}

impl Downstream {
    /// A connection that was accepted just now.
    pub(crate) fn new(
        worker: Rc<Worker>,
        stream: Side,
        listener: ListenerId,
        chain: ChainId,
        key: usize,
        stats: Arc<HttpStats>,
        age: Age,
    ) -> Self {
        let id = worker.connection_id();
        Self::numbered(worker, stream, (listener, chain), key, stats, age, id)
    }

    /// A connection, or one request of several on it, that has a number already.
    pub(crate) fn numbered(
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
    pub(crate) fn tell_addresses(&self, other: &OnceCell<Rc<Addresses>>) {
        if let Some(known) = self.addresses.get() {
            let _ = other.set(Rc::clone(known));
        }
    }

    /// Takes over what another of the same connection knows of both ends.
    pub(crate) fn know_addresses(&self, other: &OnceCell<Rc<Addresses>>) {
        if let Some(known) = other.get() {
            let _ = self.addresses.set(Rc::clone(known));
        }
    }

    /// The addresses of both ends, ours first. The system is asked once: a peer that has gone is not known any more.
    pub(crate) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let addresses = self.known_addresses();
        (addresses.local, addresses.peer)
    }

    /// The path of the unix socket that it came over, if it did.
    pub(crate) fn pipe(&self) -> Option<&str> {
        self.known_addresses().pipe.as_deref()
    }

    fn known_addresses(&self) -> &Addresses {
        self.addresses.get_or_init(|| {
            let (local, peer) = (self.stream.local_addr(), self.stream.peer_addr());
            let pipe = || {
                let view = self.worker.view_for(self.key);
                let listener = view.snapshot.listener(self.listener)?;
                let paths = || listener.addresses.iter().filter_map(|at| Some(&at.address.pipe()?.path));
                let path = match paths().nth(1) {
                    None => paths().next(),
                    Some(_) => {
                        let own = self.stream.local_path()?;
                        paths().find(|path| ***path == *own)
                    }
                };
                path.map(Arc::clone)
            };
            let pipe = if local.is_none() { pipe() } else { None };
            Rc::new(Addresses { local, peer, pipe })
        })
    }
}
