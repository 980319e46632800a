//! The whole configuration of one instant.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::{Cluster, ClusterId, Differing, Listener, ListenerId, Pages};

/// Everything that a worker acts on. Shared by all cores, never changed; the next one shares what did not change.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The number of this configuration: 1 for the first, one more for each commit. 0 stands for "none yet".
    pub generation: u64,
    /// In the order of the file.
    pub listeners: Vec<Arc<Listener>>,
    /// By [`ClusterId`].
    pub clusters: ClusterTable,
}

impl Snapshot {
    /// The listener with this id, if this generation has it.
    pub fn listener(&self, id: ListenerId) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|listener| listener.id == id)
    }

    /// The listener of this address, bound or not, or of its port at any address: whom `use_original_dst` hands a connection to.
    pub fn listener_at(&self, destination: SocketAddr) -> Option<&Arc<Listener>> {
        let has = |address: SocketAddr| {
            move |listener: &&Arc<Listener>| listener.addresses.iter().any(|at| at.address.ip() == Some(address))
        };
        let any: IpAddr = match destination {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let exact = self.listeners.iter().find(has(destination));
        exact.or_else(|| self.listeners.iter().find(has(SocketAddr::new(any, destination.port()))))
    }
}

/// Clusters by the number of their name. Numbers of removed clusters leave holes until they are given out again.
#[derive(Clone, Debug, Default)]
pub struct ClusterTable {
    clusters: Pages<Arc<Cluster>>,
    /// Shared with the snapshots before, as long as no name comes.
    by_name: Arc<BTreeMap<String, ClusterId>>,
    /// Names that routes mention, and that no cluster has: for who is told of them.
    missing: Arc<BTreeMap<ClusterId, String>>,
}

impl ClusterTable {
    /// The cluster of this number, if it exists in this generation.
    #[inline]
    pub fn get(&self, id: ClusterId) -> Option<&Arc<Cluster>> {
        self.clusters.get(id.0 as usize)
    }

    /// The cluster of this name, as `cluster_header` asks for it.
    pub fn id_of(&self, name: &[u8]) -> Option<ClusterId> {
        self.by_name.get(std::str::from_utf8(name).ok()?).copied()
    }

    /// Puts a cluster at its own number.
    pub fn insert(&mut self, cluster: Arc<Cluster>) {
        let at = cluster.id.0 as usize;
        if self.by_name.get(&cluster.name) != Some(&cluster.id) {
            Arc::make_mut(&mut self.by_name).insert(cluster.name.clone(), cluster.id);
        }
        self.clusters.set(at, Some(cluster));
    }

    /// The name that this number stands for, whether there is a cluster of that name or not.
    pub fn name_of(&self, id: ClusterId) -> Option<&str> {
        let missing = || self.missing.get(&id).map(String::as_str);
        self.get(id).map(|cluster| cluster.name.as_str()).or_else(missing)
    }

    /// Sets the names that are mentioned and that no cluster has.
    pub fn set_missing(&mut self, missing: BTreeMap<ClusterId, String>) {
        self.missing = Arc::new(missing);
    }

    /// All clusters, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.clusters.iter()
    }

    /// How many clusters there are.
    pub fn count(&self) -> usize {
        self.clusters.count()
    }

    /// What is another than in a table before, by number: what came, what went, and what changed. It costs what they are.
    pub fn changes<'t>(&'t self, before: &'t ClusterTable) -> impl Iterator<Item = Differing<'t, Arc<Cluster>>> {
        let is_same = |row: &Differing<'t, Arc<Cluster>>| match (row.before, row.now) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            _ => false,
        };
        self.clusters.differing(&before.clusters).filter(move |row| !is_same(row))
    }
}
