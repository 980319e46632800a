//! Clusters of names (STRICT_DNS, LOGICAL_DNS) that came by CDS and whose names nobody has looked up yet.
//!
//! Such a version warms like one that waits for its assignment: the version before it stays in force, and everybody else goes on. Who looks
//! names up ([`Directory`](crate::Directory)) is told which with each settling, and tells which are known. The bootstrap's own are looked up
//! with their file, which takes effect as a whole.

use std::sync::Arc;

use super::entry::Version;
use super::settle::{Settling, Wait};
use super::{Cache, Kind};
use crate::dns::{DnsPlan, DnsPlans};
use crate::translate::ClusterDraft;

/// Clusters that wait for their names, by name.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    /// Who waits, for these and perhaps for more, as of the last settling.
    awaited: DnsPlans,
    /// Of those, whose names are known.
    known: DnsPlans,
}

impl Cache {
    /// The clusters that wait for the first answer to their names, as of the last settling.
    pub fn awaited_names(&self) -> &DnsPlans {
        &self.lookups.awaited
    }

    /// The names of these are known, or have failed once. Gives whether somebody waited for them.
    pub fn know_names(&mut self, known: DnsPlans) -> bool {
        let is_news = known.iter().any(|(name, plan)| {
            self.lookups.awaited.get(name) == Some(plan) && self.lookups.known.get(name) != Some(plan)
        });
        self.lookups.known = known;
        is_news
    }

    /// Who waits is found anew by each settling.
    pub(super) fn begin_lookups(&mut self) {
        self.lookups.awaited.clear();
    }

    /// What was known of somebody who has gone, or is in force, is not known any more.
    pub(super) fn end_lookups(&mut self) {
        let Lookups { awaited, known } = &mut self.lookups;
        known.retain(|name, plan| awaited.get(name) == Some(plan));
    }

    /// What was in force of a cluster that goes: if one with the same names takes its place in this settling, they are known.
    pub(super) fn keep_names(&mut self, name: &str, plan: &Arc<DnsPlan>) {
        self.lookups.known.insert(name.to_owned(), Arc::clone(plan));
    }

    /// A cluster is in force, and its names are followed with the others that are.
    pub(super) fn end_lookup(&mut self, name: &str) {
        self.lookups.awaited.remove(name);
    }

    /// Whether a version of a cluster waits for its names.
    pub(super) fn awaits_names(
        &mut self,
        name: &str,
        candidate: &Version<ClusterDraft>,
        settling: &mut Settling,
    ) -> bool {
        let Some(plan) = candidate.draft.names.as_ref().filter(|plan| plan.waits) else { return false };
        let entry = &self.clusters[name];
        // What is in force is followed, by the same plan under the same name.
        let in_force = entry.active.as_ref().and_then(|active| active.draft.names.as_ref());
        if entry.is_static || in_force == Some(plan) {
            return false;
        }
        // Also where they are known: it may wait for something else.
        self.lookups.awaited.insert(name.to_owned(), plan.clone());
        if self.lookups.known.get(name) == Some(plan) {
            return false;
        }
        let (who, what) = (format!("{} {name:?}", Kind::Cluster), "the first answer to its names".to_owned());
        // A look-up ends by its own rules.
        settling.waits.push(Wait { who, what, until: None, is_over: false });
        true
    }
}
