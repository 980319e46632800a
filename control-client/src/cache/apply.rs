//! Taking responses in: each resource is translated alone, and accepted or refused alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ringway_model::Listener;

use super::entry::{Body, Entry, Rejected, Version, Want, WantKey};
use super::update::{Change, Counted, Received, Refused, Scope, Update, Verdict};
use super::{Cache, ConfigSource, Kind, Moment, secrets};
use crate::document::TEXT_BYTES_MAX;
use crate::tls::TlsContexts;
use crate::translate::{self, ClusterDraft, ListenerDraft, RoutesDraft};

/// What stays of a received resource when it was looked at without its kind.
pub(super) struct Taken {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) body: Body,
    pub(super) received: Received,
}

impl Cache {
    /// Takes a response in; what it changes takes effect with the next [`Cache::settle`].
    pub(crate) fn apply(&mut self, update: Update, contexts: &mut TlsContexts, at: Moment) -> Verdict {
        let mut verdict = Verdict::default();
        self.unanswered.remove(&update.kind);
        match update.kind {
            Kind::Cluster => self.apply_clusters(update, contexts, at, &mut verdict),
            Kind::Listener => self.apply_listeners(update, contexts, at, &mut verdict),
            Kind::Assignment => self.apply_assignments(update, at, &mut verdict),
            Kind::Routes => self.apply_routes(update, at, &mut verdict),
            Kind::Secret => self.apply_secrets(update, contexts, at, &mut verdict),
        }
        verdict
    }

    /// A source could not say anything of a kind, or nothing that can be read: nobody waits for it any more. Gives
    /// whose statistics count that.
    pub fn failed(&mut self, source: &ConfigSource, kind: Kind) -> Vec<Scope> {
        self.unanswered.remove(&kind);
        let keys: Vec<WantKey> = self.keys_of(source, kind);
        for key in &keys {
            match kind {
                Kind::Assignment => answer(&mut self.assignments, key),
                Kind::Routes => answer(&mut self.routes, key),
                Kind::Secret => answer(&mut self.secrets, key),
                Kind::Cluster | Kind::Listener => {}
            }
        }
        self.scopes(source, kind)
    }

    /// Whose statistics count what comes from a source.
    pub fn scopes(&self, source: &ConfigSource, kind: Kind) -> Vec<Scope> {
        match kind {
            Kind::Cluster => vec![Scope::Clusters],
            Kind::Listener => vec![Scope::Listeners],
            Kind::Assignment | Kind::Routes | Kind::Secret => {
                let keys = self.keys_of(source, kind);
                let all: BTreeSet<Scope> = keys.iter().flat_map(|key| self.scopes_of(kind, key)).collect();
                all.into_iter().collect()
            }
        }
    }

    fn keys_of(&self, source: &ConfigSource, kind: Kind) -> Vec<WantKey> {
        fn of<D>(wants: &BTreeMap<WantKey, Want<D>>, source: &ConfigSource) -> Vec<WantKey> {
            wants.keys().filter(|(of, _)| **of == *source).cloned().collect()
        }
        match kind {
            Kind::Assignment => of(&self.assignments, source),
            Kind::Routes => of(&self.routes, source),
            Kind::Secret => of(&self.secrets, source),
            Kind::Cluster | Kind::Listener => Vec::new(),
        }
    }

    /// Whose statistics count what comes under a name.
    fn scopes_of(&self, kind: Kind, key: &WantKey) -> Vec<Scope> {
        let mut scopes = BTreeSet::new();
        match kind {
            Kind::Assignment => {
                for user in self.assignments.get(key).into_iter().flat_map(|want| &want.users) {
                    let newest = self.clusters.get(user).and_then(Entry::newest);
                    scopes.extend(newest.map(|version| Scope::Assignment(version.draft.cluster.stat_name.clone())));
                }
            }
            Kind::Routes => {
                for user in self.routes.get(key).into_iter().flat_map(|want| &want.users) {
                    let uses = self.listeners.get(user).and_then(Entry::newest);
                    let uses = uses.into_iter().flat_map(|version| &version.draft.routes);
                    let of_key = uses.filter(|used| used.source.source == key.0 && used.name == key.1);
                    scopes.extend(
                        of_key.map(|used| Scope::Routes {
                            stat_prefix: used.stat_prefix.clone(),
                            name: used.name.clone(),
                        }),
                    );
                }
            }
            Kind::Secret => _ = scopes.insert(Scope::Secret(key.1.clone())),
            Kind::Cluster | Kind::Listener => {}
        }
        scopes.into_iter().collect()
    }

    /// Takes up the bootstrap's own resources.
    pub(super) fn set_static(&mut self, at: Moment) {
        let roots = self.roots.clone();
        let names: HashSet<&str> = roots.clusters.iter().map(|draft| draft.cluster.name.as_str()).collect();
        let gone = |name: &String, entry: &Entry<ClusterDraft, _>| entry.is_static && !names.contains(name.as_str());
        let gone: Vec<String> =
            self.clusters.iter().filter(|(name, entry)| gone(name, entry)).map(|(name, _)| name.clone()).collect();
        gone.iter().for_each(|name| self.remove_cluster(name));
        for draft in &roots.clusters {
            let name = draft.cluster.name.clone();
            let entry = self.clusters.entry(name.clone()).or_insert_with(|| Entry::new(true));
            // What came by CDS under this name gives way.
            (entry.is_static, entry.rejected) = (true, None);
            entry.warming = Some(of_bootstrap(draft, at));
            self.touch_cluster(&name);
        }
        let names: HashSet<&str> = roots.listeners.iter().map(|draft| draft.listener.name.as_str()).collect();
        let gone = |name: &String, entry: &Entry<ListenerDraft, _>| entry.is_static && !names.contains(name.as_str());
        let gone: Vec<String> =
            self.listeners.iter().filter(|(name, entry)| gone(name, entry)).map(|(name, _)| name.clone()).collect();
        gone.iter().for_each(|name| self.remove_listener(name));
        for draft in &roots.listeners {
            let name = draft.listener.name.clone();
            let entry = self.listeners.entry(name.clone()).or_insert_with(|| Entry::new(true));
            (entry.is_static, entry.rejected) = (true, None);
            entry.warming = Some(of_bootstrap(draft, at));
            self.touch_listener(&name);
        }
    }

    /// Forgets all that came of a kind by `cds_config` or `lds_config`.
    pub(super) fn remove_all(&mut self, kind: Kind) {
        match kind {
            Kind::Cluster => dynamic_names(&self.clusters).iter().for_each(|name| self.remove_cluster(name)),
            Kind::Listener => dynamic_names(&self.listeners).iter().for_each(|name| self.remove_listener(name)),
            Kind::Assignment | Kind::Routes | Kind::Secret => {}
        }
    }

    fn apply_clusters(&mut self, update: Update, contexts: &mut TlsContexts, at: Moment, verdict: &mut Verdict) {
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

    fn apply_listeners(&mut self, update: Update, contexts: &mut TlsContexts, at: Moment, verdict: &mut Verdict) {
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

    fn apply_assignments(&mut self, update: Update, at: Moment, verdict: &mut Verdict) {
        let Update { source, version, change, .. } = update;
        let mut seen = HashSet::new();
        let (received, gone) = named(change);
        for received in received {
            if received.name.is_empty() {
                verdict
                    .refused
                    .extend(take(received, &mut seen, None, Kind::Assignment).err().map(|(refused, _)| refused));
                continue;
            }
            let key: WantKey = (source.clone(), received.name.clone());
            let Some(want) = self.assignments.get_mut(&key) else {
                verdict.unwanted += 1;
                continue;
            };
            want.answered = true;
            let users = want.users.clone();
            let taken = take(received, &mut seen, None, Kind::Assignment);
            let (mut accepted, mut is_same) = (None, false);
            match taken {
                Err(refusal) => {
                    want.rejected = Some(rejected(&refusal, &version, at));
                    verdict.refused.push(refusal.0);
                }
                Ok(Taken { name, version: own, body, mut received }) => {
                    let number = if own.is_empty() { version.clone() } else { own };
                    if holds_again(want, &body, &number) {
                        verdict.accepted += 1;
                        (accepted, is_same) = (Some(number), true);
                    } else {
                        let message = received.take_message().expect("what was taken has been read");
                        let mut made = BTreeMap::new();
                        for user in &users {
                            // The newest version that wants it: one that warms may want another.
                            let Some(draft) = self.clusters.get(user).and_then(|entry| of_key(entry, &key)) else {
                                continue;
                            };
                            let Some(used) = draft.assignment.as_deref() else { continue };
                            let report = &mut received.report;
                            if let Some(cluster) = translate::assignment(&message, report, used, &draft.cluster) {
                                made.insert(user.clone(), (draft, cluster));
                            }
                        }
                        let want = self.assignments.get_mut(&key).expect("it is wanted");
                        match received.report.finish() {
                            Ok(_) => {
                                let (draft, body) = (Arc::new(()), Some(body));
                                accepted = Some(number.clone());
                                want.held = Some(Arc::new(Version { version: number, updated: at.time, body, draft }));
                                (want.made, want.rejected) = (made, None);
                                (verdict.accepted, verdict.is_change) = (verdict.accepted + 1, true);
                            }
                            Err(problems) => {
                                let (kept, body) = (problems.clone(), Some(body));
                                want.rejected = Some(Rejected {
                                    version: number,
                                    at: at.time,
                                    problems: kept,
                                    body,
                                    is_retried: false,
                                });
                                verdict.refused.push(Refused { name, problems });
                            }
                        }
                    }
                }
            }
            if !is_same {
                // Who waited goes on either way.
                verdict.is_change = true;
                self.dirty_clusters.extend(users);
            }
            self.count(verdict, Kind::Assignment, &key, accepted);
        }
        for name in gone {
            let key = (source.clone(), name);
            if let Some(want) = self.assignments.get_mut(&key) {
                (want.held, want.answered) = (None, true);
                want.made.clear();
                self.dirty_clusters.extend(want.users.iter().cloned());
                verdict.is_change = true;
            }
        }
    }

    fn apply_routes(&mut self, update: Update, at: Moment, verdict: &mut Verdict) {
        let Update { source, version, change, .. } = update;
        let mut seen = HashSet::new();
        let (received, gone) = named(change);
        for received in received {
            if received.name.is_empty() {
                verdict.refused.extend(take(received, &mut seen, None, Kind::Routes).err().map(|(refused, _)| refused));
                continue;
            }
            let key: WantKey = (source.clone(), received.name.clone());
            let Some(want) = self.routes.get_mut(&key) else {
                verdict.unwanted += 1;
                continue;
            };
            want.answered = true;
            let users = want.users.clone();
            let (mut accepted, mut is_same) = (None, false);
            match take(received, &mut seen, None, Kind::Routes) {
                Err(refusal) => {
                    want.rejected = Some(rejected(&refusal, &version, at));
                    verdict.refused.push(refusal.0);
                }
                Ok(Taken { name, version: own, body, mut received }) => {
                    let number = if own.is_empty() { version.clone() } else { own };
                    if holds_again(want, &body, &number) {
                        verdict.accepted += 1;
                        (accepted, is_same) = (Some(number), true);
                    } else {
                        let message = received.take_message().expect("what was taken has been read");
                        let knows = |cluster: &str| self.knows_cluster(cluster);
                        let draft: Option<RoutesDraft> = translate::routes(&message, &mut received.report, &knows);
                        let want = self.routes.get_mut(&key).expect("it is wanted");
                        match (draft, received.report.finish()) {
                            (Some(draft), Ok(_)) => {
                                let (draft, body) = (Arc::new(draft), Some(body));
                                accepted = Some(number.clone());
                                want.held = Some(Arc::new(Version { version: number, updated: at.time, body, draft }));
                                want.rejected = None;
                                verdict.accepted += 1;
                            }
                            (_, outcome) => {
                                let problems = outcome.err().unwrap_or_default();
                                let (kept, body) = (problems.clone(), Some(body));
                                want.rejected = Some(Rejected {
                                    version: number,
                                    at: at.time,
                                    problems: kept,
                                    body,
                                    is_retried: true,
                                });
                                verdict.refused.push(Refused { name, problems });
                            }
                        }
                    }
                }
            }
            if !is_same {
                verdict.is_change = true;
                self.dirty_listeners.extend(users);
            }
            self.count(verdict, Kind::Routes, &key, accepted);
        }
        for name in gone {
            let key = (source.clone(), name);
            if let Some(want) = self.routes.get_mut(&key) {
                (want.held, want.answered) = (None, true);
                self.dirty_listeners.extend(want.users.iter().cloned());
                verdict.is_change = true;
            }
        }
    }

    pub(super) fn count(&self, verdict: &mut Verdict, kind: Kind, key: &WantKey, accepted: Option<String>) {
        let scopes = self.scopes_of(kind, key).into_iter();
        verdict.counted.extend(scopes.map(|scope| Counted { scope, accepted: accepted.clone() }));
    }

    /// A cluster has another version, or none: what it wants is wanted.
    pub(super) fn touch_cluster(&mut self, name: &str) {
        self.dirty_clusters.insert(name.to_owned());
        let Some(entry) = self.clusters.get_mut(name) else { return };
        let versions = entry.active.iter().chain(&entry.warming);
        let uses = versions.filter_map(|version| version.draft.assignment.as_deref());
        let wants = uses.map(|used| (used.source.source.clone(), used.name.clone())).collect();
        let before = std::mem::replace(&mut entry.wants, wants);
        self.wants_serial += u64::from(before != entry.wants);
        relink(&mut self.assignments, name, &before, &entry.wants);
        let versions = entry.active.iter().chain(&entry.warming);
        let secrets = secrets::wanted(versions.map(|version| version.draft.secrets.as_deref()));
        let before = std::mem::replace(&mut entry.secrets, secrets.clone());
        self.relink_secrets((Kind::Cluster, name), &before, &secrets);
    }

    /// The same of a listener.
    pub(super) fn touch_listener(&mut self, name: &str) {
        self.dirty_listeners.insert(name.to_owned());
        let Some(entry) = self.listeners.get_mut(name) else { return };
        let versions = entry.active.iter().chain(&entry.warming);
        let uses = versions.flat_map(|version| &version.draft.routes);
        let wants = uses.map(|used| (used.source.source.clone(), used.name.clone())).collect();
        let before = std::mem::replace(&mut entry.wants, wants);
        self.wants_serial += u64::from(before != entry.wants);
        relink(&mut self.routes, name, &before, &entry.wants);
        let versions = entry.active.iter().chain(&entry.warming);
        let secrets = secrets::wanted(versions.map(|version| version.draft.secrets.as_deref()));
        let before = std::mem::replace(&mut entry.secrets, secrets.clone());
        self.relink_secrets((Kind::Listener, name), &before, &secrets);
    }

    fn remove_cluster(&mut self, name: &str) {
        let Some(entry) = self.clusters.remove(name) else { return };
        self.wants_serial += u64::from(!entry.wants.is_empty());
        relink(&mut self.assignments, name, &entry.wants, &BTreeSet::new());
        self.relink_secrets((Kind::Cluster, name), &entry.secrets, &BTreeSet::new());
        self.dirty_clusters.remove(name);
        self.is_reshaped |= entry.built.is_some();
    }

    fn remove_listener(&mut self, name: &str) {
        let Some(entry) = self.listeners.remove(name) else { return };
        self.wants_serial += u64::from(!entry.wants.is_empty());
        relink(&mut self.routes, name, &entry.wants, &BTreeSet::new());
        self.relink_secrets((Kind::Listener, name), &entry.secrets, &BTreeSet::new());
        self.dirty_listeners.remove(name);
        self.is_reshaped |= entry.built.is_some();
    }
}

/// The newest version of a cluster that wants this assignment.
fn of_key<B>(entry: &Entry<ClusterDraft, B>, key: &WantKey) -> Option<Arc<ClusterDraft>> {
    let uses = |draft: &ClusterDraft| {
        draft.assignment.as_ref().is_some_and(|used| used.source.source == key.0 && used.name == key.1)
    };
    let mut versions = entry.warming.iter().chain(&entry.active);
    Some(versions.find(|version| uses(&version.draft))?.draft.clone())
}

/// Lets `user` want what it wants now; what nobody wants any more is dropped.
pub(super) fn relink<D>(
    wants: &mut BTreeMap<WantKey, Want<D>>,
    user: &str,
    before: &BTreeSet<WantKey>,
    now: &BTreeSet<WantKey>,
) {
    for key in now.difference(before) {
        wants.entry(key.clone()).or_default().users.insert(user.to_owned());
    }
    for key in before.difference(now) {
        if let Some(want) = wants.get_mut(key) {
            want.users.remove(user);
            want.made.remove(user);
            if want.users.is_empty() {
                wants.remove(key);
            }
        }
    }
}

fn answer<D>(wants: &mut BTreeMap<WantKey, Want<D>>, key: &WantKey) {
    if let Some(want) = wants.get_mut(key) {
        want.answered = true;
    }
}

fn of_bootstrap<D>(draft: &Arc<D>, at: Moment) -> Arc<Version<D>> {
    Arc::new(Version { version: String::new(), updated: at.time, body: None, draft: draft.clone() })
}

pub(super) fn dynamic_names<D, B>(entries: &BTreeMap<String, Entry<D, B>>) -> Vec<String> {
    entries.iter().filter(|(_, entry)| !entry.is_static).map(|(name, _)| name.clone()).collect()
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

/// The same of route configurations and assignments, which go only where that is said.
pub(super) fn named(change: Change) -> (Vec<Received>, Vec<String>) {
    match change {
        Change::World(received) => (received, Vec::new()),
        Change::Delta { changed, removed } => (changed, removed),
    }
}

/// A received resource that may be translated; or the refusal, with the body where there is one. The first of a name
/// counts.
pub(super) fn take(
    mut received: Received,
    seen: &mut HashSet<String>,
    refusal: Option<String>,
    kind: Kind,
) -> Result<Taken, (Refused, Option<Body>)> {
    received.read(kind);
    let place = received.message().map_or(crate::problem::Place::START, |message| message.place);
    if received.name.is_empty() && received.report.problems.is_empty() {
        received.report.problem_in(kind.name_field(), place, "value is required");
    } else if !received.name.is_empty() && !seen.insert(received.name.clone()) {
        // Envoy: "duplicate cluster found".
        received.report.problem_in(
            kind.name_field(),
            place,
            format!("a second {kind} {:?} in one response", received.name),
        );
    }
    let own = received.message().map(|message| message.text(kind.name_field()).to_owned());
    if let Some(own) = own.filter(|own| !received.name.is_empty() && *own != received.name) {
        // It would be held under the one name, and be in force under the other.
        let rule = format!("{own:?} is not the name that the resource was given, {:?}", received.name);
        received.report.problem_in(kind.name_field(), place, rule);
    }
    if let Some(rule) = refusal {
        received.report.problem_in(kind.name_field(), place, rule);
    }
    let name = received.name.clone();
    let body = received.message().map(Body::of);
    if let Some(size) = body.as_ref().map(Body::len).filter(|size| *size > TEXT_BYTES_MAX) {
        let rule = format!("the resource has {size} bytes as JSON, more than {TEXT_BYTES_MAX}");
        received.report.problem_in(kind.name_field(), place, rule);
    }
    match body {
        Some(body) if received.report.problems.is_empty() => {
            Ok(Taken { name, version: std::mem::take(&mut received.version), body, received })
        }
        body => Err((Refused { name, problems: received.report.finish().err().unwrap_or_default() }, body)),
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

pub(super) fn rejected((refused, body): &(Refused, Option<Body>), version: &str, at: Moment) -> Rejected {
    let (version, problems) = (version.to_owned(), refused.problems.clone());
    Rejected { version, at: at.time, problems, body: body.clone(), is_retried: false }
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

/// The same of what is wanted by name.
pub(super) fn holds_again<D>(want: &mut Want<D>, body: &Body, version: &str) -> bool {
    match &mut want.held {
        Some(held) if held.body.as_ref() == Some(body) => {
            renumber(held, version);
            want.rejected = None;
            true
        }
        _ => false,
    }
}

fn renumber<D>(held: &mut Arc<Version<D>>, version: &str) {
    if held.version != version {
        let (draft, body) = (held.draft.clone(), held.body.clone());
        *held = Arc::new(Version { version: version.to_owned(), updated: held.updated, body, draft });
    }
}
