//! What the control side and a worker say to each other.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringway_model::{Listener, ListenerId, Snapshot};
use ringway_observe::ListenerStats;

use crate::breakers::ClusterSeed;
use crate::view::HttpSeeds;

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
    pub(crate) http: Arc<WorkerHttp>,
    /// One entry for each socket of this generation, new or kept.
    pub(crate) sockets: Vec<SocketSeed>,
}

/// The HTTP statistics of this worker by `stat_prefix`.
pub(crate) struct WorkerHttp(pub(crate) HttpSeeds);

/// One socket of a generation.
pub(crate) struct SocketSeed {
    pub(crate) key: SocketKey,
    pub(crate) listener: ListenerId,
    pub(crate) stats: Arc<ListenerStats>,
    /// This worker's descriptor, where the socket is new.
    pub(crate) socket: Option<OwnedFd>,
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
    pub(crate) connections: std::sync::atomic::AtomicUsize,
    pub(crate) listeners: std::sync::atomic::AtomicUsize,
    pub(crate) accepted: std::sync::atomic::AtomicU64,
}

/// What identifies a listening socket over generations: its address; for port 0, where each listener gets a port of
/// its own, the name too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SocketKey {
    address: SocketAddr,
    name: Option<String>,
}

impl SocketKey {
    pub(crate) fn of(listener: &Listener) -> Self {
        let name = (listener.address.port() == 0).then(|| listener.name.clone());
        Self { address: listener.address, name }
    }
}
