//! Clusters and listeners: a source gives all that there are, and who is not named is removed.

use std::collections::{BTreeMap, HashMap, HashSet};

use ringway_model::Listener;

use super::super::entry::{Body, Entry};
use super::super::update::{Change, Counted, Received, Refused, Scope, Update, Verdict};
use super::super::{Cache, Kind, Moment};
use super::{Taken, dynamic_names, rejected, renumber, take};
use crate::tls::TlsContexts;
use crate::translate;

impl Cache {
    pub(super) fn apply_clusters(
        &mut self,
        update: Update,
        contexts: &mut TlsContexts,
        at: Moment,
        verdict: &mut Verdict,
    ) {
        let Update { version, change, .. } = update;
        let (received, gone) = whole(change, dynamic_names(&self.clusters));
        let mut seen = HashSet::new();
        let mut is_rejected = false;
        for received in received {
            let refusal = match &received.name {
                name if self.clusters.get(name).is_some_and(|entry| entry.is_static) => {
                    Some(format!("the bootstrap has a cluster {name:?} of its own, which stays"))
                }
                name if !self.clusters.contains_key(name) && self.clusters.len() >= self.resources_max() => {
                    Some(format!("there are {} clusters already, the most that are held", self.clusters.len()))
                }
                _ => None,
            };
            let taken = match take(received, &mut seen, refusal, Kind::Cluster) {
                Ok(taken) => taken,
                Err(refusal) => {
                    is_rejected = true;
                    let max = self.resources_max();
                    reject(&mut self.clusters, &refusal, &version, at, max);
                    verdict.refused.push(refusal.0);
                    continue;
                }
            };
            let Taken { name, version: own, body, mut received } = taken;
            let number = if own.is_empty() { version.clone() } else { own };
            if let Some(entry) = self.clusters.get_mut(&name)
                && same_again(entry, &body, &number)
            {
                verdict.accepted += 1;
                continue;
            }
            let message = received.take_message().expect("what was taken has been read");
            let draft = translate::cluster(&message, &mut received.report, &self.around, contexts);
            let entry = self.clusters.entry(name.clone()).or_insert_with(|| Entry::new(false));
            match entry.take_in(draft, received.report, number, body, at) {
                Ok(_) => {
                    (verdict.accepted, verdict.is_change) = (verdict.accepted + 1, true);
                    self.touch_cluster(&name);
                }
                Err(problems) => {
                    is_rejected = true;
                    verdict.refused.push(Refused { name, problems });
                }
            }
        }
        for name in gone.into_iter().filter(|name| !seen.contains(name)) {
            if self.clusters.get(&name).is_some_and(|entry| !entry.is_static) {
                verdict.is_change = true;
                self.remove_cluster(&name);
            }
        }
        let accepted = (!is_rejected).then_some(version);
        verdict.counted.push(Counted { scope: Scope::Clusters, accepted });
    }

    pub(super) fn apply_listeners(
        &mut self,
        update: Update,
        contexts: &mut TlsContexts,
        at: Moment,
        verdict: &mut Verdict,
    ) {
        let Update { version, change, .. } = update;
        let (received, gone) = whole(change, dynamic_names(&self.listeners));
        let mut is_rejected = false;
        let mut seen = HashSet::new();
        // Whoever stays keeps its addresses; whoever comes takes what is left.
        let coming: HashSet<&str> = received.iter().map(|received| received.name.as_str()).collect();
        let going: HashSet<&str> = gone.iter().map(String::as_str).collect();
        let stays = |name: &String| !coming.contains(name.as_str()) && !going.contains(name.as_str());
        let mut taken_addresses: HashMap<String, String> = HashMap::new();
        for (name, entry) in &self.listeners {
            if let Some(newest) = entry.newest().filter(|_| stays(name) || entry.is_static) {
                taken_addresses.extend(addresses(&newest.draft.listener).map(|address| (address, name.clone())));
            }
        }
        for received in received {
            let refusal = match &received.name {
                name if self.listeners.get(name).is_some_and(|entry| entry.is_static) => {
                    Some(format!("the bootstrap has a listener {name:?} of its own, which stays"))
                }
                name if !self.listeners.contains_key(name) && self.listeners.len() >= self.resources_max() => {
                    Some(format!("there are {} listeners already, the most that are held", self.listeners.len()))
                }
                _ => None,
            };
            let taken = match take(received, &mut seen, refusal, Kind::Listener) {
                Ok(taken) => taken,
                Err(refusal) => {
                    is_rejected = true;
                    let max = self.resources_max();
                    reject(&mut self.listeners, &refusal, &version, at, max);
                    verdict.refused.push(refusal.0);
                    continue;
                }
            };
            let Taken { name, version: own, body, mut received } = taken;
            let number = if own.is_empty() { version.clone() } else { own };
            if let Some(entry) = self.listeners.get_mut(&name)
                && same_again(entry, &body, &number)
            {
                let listener = &entry.newest().expect("it is the same").draft.listener;
                taken_addresses.extend(addresses(listener).map(|address| (address, name.clone())));
                verdict.accepted += 1;
                continue;
            }
            let message = received.take_message().expect("what was taken has been read");
            let knows = |cluster: &str| self.knows_cluster(cluster);
            let around = &self.around;
            let draft = translate::listener(&message, &mut received.report, around, contexts, &knows);
            for address in draft.iter().flat_map(|draft| addresses(&draft.listener)) {
                if let Some(other) = taken_addresses.get(&address).filter(|other| **other != name) {
                    // Envoy: "error adding listener: has duplicate address as existing listener".
                    let rule = format!("the listener {other:?} has the address {address} already");
                    received.report.problem_in("address", message.place_of("address"), rule);
                }
            }
            let entry = self.listeners.entry(name.clone()).or_insert_with(|| Entry::new(false));
            match entry.take_in(draft, received.report, number, body, at) {
                Ok(draft) => {
                    taken_addresses.extend(addresses(&draft.listener).map(|address| (address, name.clone())));
                    (verdict.accepted, verdict.is_change) = (verdict.accepted + 1, true);
                    self.touch_listener(&name);
                }
                Err(problems) => {
                    is_rejected = true;
                    verdict.refused.push(Refused { name, problems });
                }
            }
        }
        for name in gone.into_iter().filter(|name| !seen.contains(name)) {
            if self.listeners.get(&name).is_some_and(|entry| !entry.is_static) {
                verdict.is_change = true;
                self.remove_listener(&name);
            }
        }
        let accepted = (!is_rejected).then_some(version);
        verdict.counted.push(Counted { scope: Scope::Listeners, accepted });
    }
}

/// Addresses as the index by which two listeners would meet. Port 0 is another port each time.
fn addresses(listener: &Listener) -> impl Iterator<Item = String> {
    let addresses = listener.addresses.iter().filter(|at| !at.address.is_of_any_port());
    addresses.map(|at| at.address.to_string())
}

/// What a response of listeners or clusters brings, and the names that go unless it brings them. A resource that nobody
/// can tell the name of may be any of them: then none goes.
fn whole(change: Change, held: Vec<String>) -> (Vec<Received>, Vec<String>) {
    match change {
        Change::World(received) if received.iter().any(|received| received.name.is_empty()) => (received, Vec::new()),
        Change::World(received) => (received, held),
        Change::Delta { changed, removed } => (changed, removed),
    }
}

/// Shows the refusal beside what is in force, where there is room. The bootstrap's own show none: nothing of them was
/// refused.
fn reject<D, B>(
    entries: &mut BTreeMap<String, Entry<D, B>>,
    refusal: &(Refused, Option<Body>),
    version: &str,
    at: Moment,
    max: usize,
) {
    let name = &refusal.0.name;
    if name.is_empty() || !entries.contains_key(name) && entries.len() >= max {
        return;
    }
    let entry = entries.entry(name.clone()).or_insert_with(|| Entry::new(false));
    if !entry.is_static {
        entry.rejected = Some(rejected(refusal, version, at));
    }
}

/// Whether the newest version says the very same; then only its number changes.
fn same_again<D, B>(entry: &mut Entry<D, B>, body: &Body, version: &str) -> bool {
    let newest = if entry.warming.is_some() { &mut entry.warming } else { &mut entry.active };
    match newest {
        Some(newest) if newest.body.as_ref() == Some(body) => {
            renumber(newest, version);
            entry.rejected = None;
            true
        }
        _ => false,
    }
}
