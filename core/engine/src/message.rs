//! What the control side and a worker say to each other.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringway_model::{Address, ListenAddress, ListenSocket, Listener, ListenerId, Snapshot};
use ringway_observe::{Counter, Http2Load, ListenerStats};

use crate::active::ActiveRows;
use crate::breakers::ClusterSeed;
use crate::complaints::Complaints;
use crate::handoff::{Load, SocketGroup};
use crate::load::LoadRows;
use crate::log::LogSinks;
use crate::log_ring::LogTail;
use crate::view::ListenerSeeds;

/// What the control side says to a worker.
pub(crate) enum ToWorker {
    /// Generation `snapshot.generation` is about to be committed.
    Prepare(Box<Prepare>),
    /// The new sockets of this generation listen now: accept from them.
    Listen(u64),
    /// Say `Connection: close` from now on.
    Drain,
    /// Stop accepting, for good; idle connections are closed.
    CloseListeners,
    /// End now.
    Stop,
}

/// What a worker needs in order to adopt a generation.
pub(crate) struct Prepare {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) clusters: Vec<ClusterSeed>,
    pub(crate) listeners: ListenerSeeds,
    /// Who counts requests under way with the other workers, and where.
    pub(crate) active: Arc<ActiveRows>,
    /// Where load is counted, where it is reported.
    pub(crate) loads: Arc<LoadRows>,
    /// One entry for each socket of this generation, new or kept.
    pub(crate) sockets: Vec<SocketSeed>,
    /// The sinks of its access logs.
    pub(crate) sinks: Arc<LogSinks>,
    /// This worker's end of its ring of log lines, with the first configuration that has a log.
    pub(crate) log: Option<LogTail>,
}

/// One socket of a generation.
pub(crate) struct SocketSeed {
    pub(crate) key: SocketKey,
    pub(crate) listener: ListenerId,
    /// `connection_balance_config.exact_balance`.
    pub(crate) exact: bool,
    pub(crate) stats: Arc<ListenerStats>,
    /// This worker's descriptor and its group, where the socket is new.
    pub(crate) socket: Option<(OwnedFd, Arc<SocketGroup>)>,
}

/// What a worker says to the control side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adopted {
    pub(crate) worker: usize,
    pub(crate) generation: u64,
}

/// Figures that the control side and the admin server read. Single writer: the worker.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) generation: std::sync::atomic::AtomicU64,
    /// Read by the other workers at each accept.
    pub(crate) load: Load,
    pub(crate) listeners: std::sync::atomic::AtomicUsize,
    /// Connections that this worker began to serve.
    pub(crate) accepted: std::sync::atomic::AtomicU64,
    /// Connections given to lighter workers.
    pub(crate) handed_over: Counter,
    /// Connections taken from other workers.
    pub(crate) taken_over: Counter,
    /// Connections kept because the lighter worker's queue was full.
    pub(crate) kept_full: Counter,
    /// What it holds of HTTP/2.
    pub(crate) http2: Http2Load,
    /// What it has to say in the process's log.
    pub(crate) complaints: Complaints,
}

/// What identifies a listening socket over generations: its address and its options; for port 0, where each address gets a port of
/// its own, also the listener's name and which of its addresses of that kind it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SocketKey {
    address: Address,
    socket: ListenSocket,
    of_any_port: Option<(String, usize)>,
}

impl SocketKey {
    /// The key of an address alone.
    #[cfg(test)]
    pub(crate) fn test(address: &str) -> Self {
        let address = Address::Ip(address.parse().expect("an address"));
        Self { address, socket: ListenSocket::default(), of_any_port: None }
    }

    /// The keys of a listener's addresses, in their order.
    pub(crate) fn of(listener: &Listener) -> impl Iterator<Item = SocketKey> {
        let mut of_any_port = 0..;
        let bound = if listener.binds { &listener.addresses[..] } else { &[] };
        bound.iter().map(move |ListenAddress { address, socket }| {
            let place = |at| (listener.name.clone(), at);
            let of_any_port = if address.is_of_any_port() { of_any_port.next().map(place) } else { None };
            SocketKey { address: address.clone(), socket: socket.clone(), of_any_port }
        })
    }
}
