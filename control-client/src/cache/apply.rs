//! Taking responses in: each resource is translated alone, and accepted or refused alone.

mod by_name;
mod whole;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::entry::{Answer, Body, Entry, Rejected, Version, Want, WantKey};
use super::few::Few;
use super::update::{Change, Counted, Received, Refused, Scope, Update, Verdict};
use super::{Cache, ConfigSource, Kind, Moment, secrets};
use crate::document::TEXT_BYTES_MAX;
use crate::tls::TlsContexts;
use crate::translate::{ClusterDraft, ListenerDraft};

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
            Kind::Listener => {
                self.apply_listeners(update, contexts, at, &mut verdict);
                // What was refused may fit those that came.
                self.retry_extensions(contexts, at);
            }
            Kind::Assignment => self.apply_assignments(update, at, &mut verdict),
            Kind::Routes => self.apply_routes(update, at, &mut verdict),
            Kind::Secret => self.apply_secrets(update, contexts, at, &mut verdict),
            Kind::Runtime => self.apply_layers(update, at, &mut verdict),
            Kind::Extension => self.apply_extensions(update, contexts, at, &mut verdict),
        }
        verdict
    }

    /// A source said nothing of a kind that can be read: nobody waits for it any more. Gives whose statistics count that.
    pub fn failed(&mut self, source: &ConfigSource, kind: Kind) -> Vec<Scope> {
        self.answered(source, kind, Answer::Unreadable)
    }

    /// A source said that it has none of a kind, likewise.
    pub(crate) fn has_none(&mut self, source: &ConfigSource, kind: Kind) -> Vec<Scope> {
        self.answered(source, kind, Answer::Given)
    }

    fn answered(&mut self, source: &ConfigSource, kind: Kind, with: Answer) -> Vec<Scope> {
        self.unanswered.remove(&kind);
        let keys: Vec<WantKey> = self.keys_of(source, kind);
        for key in &keys {
            match kind {
                Kind::Assignment => answer(&mut self.assignments, key, with),
                Kind::Routes => answer(&mut self.routes, key, with),
                Kind::Secret => answer(&mut self.secrets, key, with),
                Kind::Runtime => answer(&mut self.layers.wants, key, with),
                Kind::Extension => answer(&mut self.extensions, key, with),
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
            Kind::Assignment | Kind::Routes | Kind::Secret | Kind::Runtime | Kind::Extension => {
                let keys = self.keys_of(source, kind);
                let all: BTreeSet<Scope> = keys.iter().flat_map(|key| self.scopes_of(kind, key)).collect();
                all.into_iter().collect()
            }
        }
    }

    pub(super) fn keys_of(&self, source: &ConfigSource, kind: Kind) -> Vec<WantKey> {
        fn of<D>(wants: &BTreeMap<WantKey, Want<D>>, source: &ConfigSource) -> Vec<WantKey> {
            wants.keys().filter(|(of, _)| **of == *source).cloned().collect()
        }
        match kind {
            Kind::Assignment => of(&self.assignments, source),
            Kind::Routes => of(&self.routes, source),
            Kind::Secret => of(&self.secrets, source),
            Kind::Runtime => of(&self.layers.wants, source),
            Kind::Extension => of(&self.extensions, source),
            Kind::Cluster | Kind::Listener => Vec::new(),
        }
    }

    /// Whose statistics count what comes under a name.
    pub(super) fn scopes_of(&self, kind: Kind, key: &WantKey) -> Vec<Scope> {
        let mut scopes = BTreeSet::new();
        match kind {
            Kind::Assignment => {
                for user in self.assignments.get(key).into_iter().flat_map(|want| want.users.iter()) {
                    let newest = self.clusters.get(user).and_then(Entry::newest);
                    scopes.extend(newest.map(|version| Scope::Assignment(version.draft.cluster.stat_name.clone())));
                }
            }
            Kind::Routes => {
                for user in self.routes.get(key).into_iter().flat_map(|want| want.users.iter()) {
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
            // RTDS alone.
            Kind::Runtime if matches!(*key.0, ConfigSource::Directory { .. }) => {}
            Kind::Runtime => _ = scopes.insert(Scope::Runtime),
            Kind::Extension => _ = scopes.insert(Scope::Extension(key.1.clone())),
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
            Kind::Assignment | Kind::Routes | Kind::Secret | Kind::Runtime | Kind::Extension => {}
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
        self.relink_extensions(name);
    }

    fn remove_cluster(&mut self, name: &str) {
        let Some(entry) = self.clusters.remove(name) else { return };
        if let Some(plan) = entry.active.as_ref().and_then(|version| version.draft.names.as_ref()) {
            self.keep_names(name, plan);
        }
        self.wants_serial += u64::from(!entry.wants.is_empty());
        relink(&mut self.assignments, name, &entry.wants, &Few::None);
        self.relink_secrets((Kind::Cluster, name), &entry.secrets, &Few::None);
        self.dirty_clusters.remove(name);
        self.is_reshaped |= entry.built.is_some();
    }

    fn remove_listener(&mut self, name: &str) {
        let Some(entry) = self.listeners.remove(name) else { return };
        self.wants_serial += u64::from(!entry.wants.is_empty());
        relink(&mut self.routes, name, &entry.wants, &Few::None);
        self.relink_secrets((Kind::Listener, name), &entry.secrets, &Few::None);
        self.relink_extensions(name);
        self.dirty_listeners.remove(name);
        self.is_reshaped |= entry.built.is_some();
    }
}

/// Lets `user` want what it wants now; what nobody wants any more is dropped.
pub(super) fn relink<D>(wants: &mut BTreeMap<WantKey, Want<D>>, user: &str, before: &Few<WantKey>, now: &Few<WantKey>) {
    for key in now.difference(before) {
        wants.entry(key.clone()).or_default().users.insert(user.to_owned());
    }
    for key in before.difference(now) {
        if let Some(want) = wants.get_mut(key) {
            want.users.remove(user);
            want.made.retain(|made| made.of != user);
            if want.users.is_empty() {
                wants.remove(key);
            }
        }
    }
}

/// What can be read once and not any more has been said.
fn answer<D>(wants: &mut BTreeMap<WantKey, Want<D>>, key: &WantKey, with: Answer) {
    if let Some(want) = wants.get_mut(key).filter(|want| want.answer != Answer::Given) {
        want.answer = with;
    }
}

fn of_bootstrap<D>(draft: &Arc<D>, at: Moment) -> Arc<Version<D>> {
    Arc::new(Version { version: String::new(), updated: at.time, body: None, draft: draft.clone() })
}

pub(super) fn dynamic_names<D, B>(entries: &BTreeMap<String, Entry<D, B>>) -> Vec<String> {
    entries.iter().filter(|(_, entry)| !entry.is_static).map(|(name, _)| name.clone()).collect()
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

pub(super) fn rejected((refused, body): &(Refused, Option<Body>), version: &str, at: Moment) -> Rejected {
    let (version, problems) = (version.to_owned(), refused.problems.clone());
    Rejected { version, at: at.time, problems, body: body.clone(), is_retried: false }
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
