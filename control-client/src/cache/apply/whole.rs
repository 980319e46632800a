//! Clusters and listeners: a source gives all that there are, and who is not named is removed.

use std::collections::{BTreeMap, HashMap, HashSet};

use ringway_model::Listener;

use super::super::entry::{Body, Entry};
use super::super::update::{Change, Counted, ExtensionEvent, Received, Refused, Scope, Update, Verdict};
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
        let (mut seen, max) = (HashSet::new(), self.resources_max());
        let mut is_rejected = false;
        for received in received {
            let (name, number, body, mut received) =
                match admit(&mut self.clusters, received, &mut seen, (Kind::Cluster, max), &version, at) {
                    Admitted::New(taken) => {
                        let Taken { name, version, body, received } = *taken;
                        (name, version, body, received)
                    }
                    Admitted::Again(_) => {
                        verdict.accepted += 1;
                        continue;
                    }
                    Admitted::Refused(refused) => {
                        is_rejected = true;
                        verdict.refused.push(refused);
                        continue;
                    }
                };
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
        let (mut seen, max) = (HashSet::new(), self.resources_max());
        let mut is_rejected = false;
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
            let (name, number, body, mut received) =
                match admit(&mut self.listeners, received, &mut seen, (Kind::Listener, max), &version, at) {
                    Admitted::New(taken) => {
                        let Taken { name, version, body, received } = *taken;
                        (name, version, body, received)
                    }
                    Admitted::Again(name) => {
                        let newest = self.listeners.get(&name).and_then(Entry::newest).expect("it is the same");
                        taken_addresses
                            .extend(addresses(&newest.draft.listener).map(|address| (address, name.clone())));
                        verdict.accepted += 1;
                        continue;
                    }
                    Admitted::Refused(refused) => {
                        is_rejected = true;
                        verdict.refused.push(refused);
                        continue;
                    }
                };
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
                    let misfits = draft.extensions.iter().flat_map(|extensions| extensions.misfits());
                    verdict.extensions.extend(misfits.map(|name| (name.to_owned(), ExtensionEvent::Conflict)));
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

/// What becomes of a received listener or cluster before anything is made of it.
enum Admitted {
    /// It is to be translated, as this version.
    New(Box<Taken>),
    /// The newest version says the very same.
    Again(String),
    Refused(Refused),
}

/// Judges it by what is held already, where so many may be.
fn admit<D, B>(
    entries: &mut BTreeMap<String, Entry<D, B>>,
    received: Received,
    seen: &mut HashSet<String>,
    (kind, max): (Kind, usize),
    version: &str,
    at: Moment,
) -> Admitted {
    let refusal = match entries.get(&received.name) {
        Some(entry) if entry.is_static => {
            Some(format!("the bootstrap has a {kind} {:?} of its own, which stays", received.name))
        }
        None if entries.len() >= max => {
            Some(format!("there are {} {kind}s already, the most that are held", entries.len()))
        }
        _ => None,
    };
    match take(received, seen, refusal, kind) {
        Ok(mut taken) => {
            if taken.version.is_empty() {
                version.clone_into(&mut taken.version);
            }
            let held = entries.get_mut(&taken.name);
            if held.is_some_and(|entry| same_again(entry, &taken.body, &taken.version)) {
                return Admitted::Again(taken.name);
            }
            Admitted::New(Box::new(taken))
        }
        Err(refusal) => {
            reject(entries, &refusal, version, at, max);
            Admitted::Refused(refusal.0)
        }
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
