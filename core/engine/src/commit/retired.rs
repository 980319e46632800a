//! What was in force before: freed on the control thread, once no worker holds it.

use std::sync::Arc;

use ringway_model::{Cluster, FilterChain, HttpConnectionManager, Listener, Snapshot};

/// What was in force and may still be pinned by a worker. Freed here, never on a core.
#[derive(Default)]
pub(super) struct Retired {
    pub(super) snapshots: Vec<Arc<Snapshot>>,
    clusters: Vec<Arc<Cluster>>,
    listeners: Vec<Arc<Listener>>,
    https: Vec<Arc<HttpConnectionManager>>,
    chains: Vec<Arc<FilterChain>>,
}

impl Retired {
    pub(super) fn add(&mut self, old: Arc<Snapshot>, new: &Snapshot) {
        self.clusters.extend(new.clusters.changes(&old.clusters).filter_map(|row| row.before.cloned()));
        for listener in &old.listeners {
            if !new.listener(listener.id).is_some_and(|kept| Arc::ptr_eq(kept, listener)) {
                self.listeners.push(Arc::clone(listener));
                self.https.extend(listener.all_chains().filter_map(|chain| chain.http().cloned()));
                self.chains.extend(listener.all_chains().cloned());
            }
        }
        self.snapshots.push(old);
    }

    /// Drops what only this list holds, from the outside in.
    pub(super) fn sweep(&mut self) {
        self.snapshots.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.clusters.retain(|cluster| Arc::strong_count(cluster) > 1);
        self.listeners.retain(|listener| Arc::strong_count(listener) > 1);
        self.chains.retain(|chain| Arc::strong_count(chain) > 1);
        self.https.retain(|http| Arc::strong_count(http) > 1);
    }
}
