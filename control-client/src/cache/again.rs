//! Translating once more what came before: what it was made of may be another.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::apply::dynamic_names;
use super::entry::{Body, Entry, Rejected, Version, Want, WantKey, outcome};
use super::update::{Change, Received, Refused, Unread, Update};
use super::{Cache, Kind, Moment};
use crate::problem::{Problem, Report};
use crate::tls::{ContextCertificates, TlsContexts};
use crate::translate::{self, Around, ListenerDraft, RuntimeUses};

impl Cache {
    /// Translates anew what depends on files that may have changed (all contexts), or (`all`) on the bootstrap itself.
    /// What cannot be any more keeps its last good version, and is given back.
    pub fn translate_again(&mut self, all: bool, contexts: &mut TlsContexts, at: Moment) -> Vec<(Kind, Refused)> {
        contexts.resume();
        let mut refused = self.translate_static_again(contexts);
        let why = if all { Why::Bootstrap } else { Why::Files };
        self.translate_came(why, contexts, &mut refused);
        if all {
            // What holds of a layer that is waited for is not known: who took values keeps them until then.
            let why = if self.awaits_layers(at.instant) { Why::BootstrapWithoutLayers } else { Why::Bootstrap };
            self.translate_routes_again(why, &mut refused);
        }
        self.retry_all(contexts, at);
        contexts.end();
        refused
    }

    /// Translates anew what took values from the runtime that are others by now, likewise.
    pub(super) fn translate_stale(&mut self, contexts: &mut TlsContexts, at: Moment) -> Vec<(Kind, Refused)> {
        contexts.resume();
        let around = self.around.clone();
        let is_stale = |runtime: Option<&RuntimeUses>| Why::Runtime.concerns(&[], runtime, &around);
        let clusters = static_names(&self.clusters, |draft| is_stale(draft.runtime.as_deref()));
        let listeners = static_names(&self.listeners, |draft| is_stale(draft.runtime.as_deref()));
        let mut refused = self.translate_these(clusters, listeners, contexts);
        self.translate_came(Why::Runtime, contexts, &mut refused);
        self.translate_routes_again(Why::Runtime, &mut refused);
        self.retry_all(contexts, at);
        contexts.end();
        refused
    }

    /// A version in force keeps the values that it has while a layer is awaited: without that they are others than before and than after.
    fn keeps_values(&self, place: Place, runtime: Option<&RuntimeUses>) -> bool {
        matches!(place, Place::Active) && runtime.is_some() && self.lacks_any_layer()
    }

    fn translate_came(&mut self, why: Why, contexts: &mut TlsContexts, refused: &mut Vec<(Kind, Refused)>) {
        for name in dynamic_names(&self.clusters) {
            for (place, version, body) in held(&self.clusters[&name]) {
                let runtime = version.draft.runtime.as_deref();
                if !why.concerns(&version.draft.certificates, runtime, &self.around)
                    || self.keeps_values(place, runtime)
                {
                    continue;
                }
                let (kind, mut report) = (Kind::Cluster, Report::again(&format!("cluster {name:?}")));
                let message = body.message(kind.type_name());
                let draft = translate::cluster(&message, &mut report, &self.around, contexts);
                match (draft, report.finish()) {
                    (Some(draft), Ok(_)) => {
                        let version = Version { draft: Arc::new(draft), ..again(&version, body) };
                        put(self.clusters.get_mut(&name).expect("it is there"), place, version);
                        self.touch_cluster(&name);
                    }
                    (_, outcome) => {
                        let (name, problems) = (name.clone(), outcome.err().unwrap_or_default());
                        refused.push((kind, Refused { name, problems }));
                    }
                }
            }
        }
        for name in dynamic_names(&self.listeners) {
            for (place, version, body) in held(&self.listeners[&name]) {
                let runtime = version.draft.runtime.as_deref();
                if !why.concerns(&version.draft.certificates, runtime, &self.around) {
                    continue;
                }
                match self.listener_again(&name, place, &version, body, contexts) {
                    Some(Ok(version)) => {
                        put(self.listeners.get_mut(&name).expect("it is there"), place, version);
                        self.touch_listener(&name);
                    }
                    Some(Err(problems)) => {
                        refused.push((Kind::Listener, Refused { name: name.clone(), problems }));
                    }
                    None => {}
                }
            }
        }
    }

    /// Translates a version of a listener that came once more. `None`: it is to stay as it is.
    fn listener_again(
        &self,
        name: &str,
        place: Place,
        version: &Version<ListenerDraft>,
        body: Body,
        contexts: &mut TlsContexts,
    ) -> Option<Result<Version<ListenerDraft>, Vec<Problem>>> {
        if self.keeps_values(place, version.draft.runtime.as_deref()) {
            return None;
        }
        let (kind, mut report) = (Kind::Listener, Report::again(&format!("listener {name:?}")));
        // What it names was known when it came.
        let draft =
            translate::listener(&body.message(kind.type_name()), &mut report, &self.around, contexts, &|_| true);
        let extensions = draft.as_ref().and_then(|draft| draft.extensions.as_deref());
        if matches!(place, Place::Active) && extensions.is_some_and(|all| all.misfits().next().is_some()) {
            return None; // what is held was written for the newer version
        }
        Some(outcome(draft, report).map(|draft| Version { draft, ..again(version, body) }))
    }

    /// The version of a listener that is in force again takes up what came while it was not, as far as it can have it.
    pub(super) fn renew_active(&mut self, name: &str, contexts: &mut TlsContexts) {
        let Some(active) = self.listeners.get(name).and_then(|entry| entry.active.clone()) else { return };
        let Some(body) = active.body.clone() else { return };
        contexts.resume();
        if let Some(Ok(version)) = self.listener_again(name, Place::Active, &active, body, contexts) {
            put(self.listeners.get_mut(name).expect("it is there"), Place::Active, version);
        }
        contexts.end();
    }

    fn retry_all(&mut self, contexts: &mut TlsContexts, at: Moment) {
        for kind in [Kind::Cluster, Kind::Listener, Kind::Routes] {
            self.retry(kind, contexts, at);
        }
        self.retry_secrets(contexts, at);
        self.retry_extensions(contexts, at);
    }

    /// Routes take values from the bootstrap's `layered_runtime`.
    fn translate_routes_again(&mut self, why: Why, refused: &mut Vec<(Kind, Refused)>) {
        let held = self.routes.iter().filter_map(|(key, want)| {
            let version = want.held.as_ref()?;
            if !why.concerns(&[], version.draft.runtime.as_deref(), &self.around) {
                return None;
            }
            Some((key.clone(), version.clone(), version.body.clone()?))
        });
        let held: Vec<_> = held.collect();
        for (key, version, body) in held {
            let (kind, mut report) = (Kind::Routes, Report::again(&format!("route configuration {:?}", key.1)));
            let message = body.message(kind.type_name());
            // What it names was known when it came.
            let draft = translate::routes(&message, &mut report, &self.around, &|_| true);
            match (draft, report.finish()) {
                (Some(draft), Ok(_)) => {
                    let want = self.routes.get_mut(&key).expect("it is wanted");
                    want.held = Some(Arc::new(Version { draft: Arc::new(draft), ..again(&version, body) }));
                    self.dirty_listeners.extend(want.users.iter().cloned());
                }
                (_, outcome) => {
                    refused.push((kind, Refused { name: key.1, problems: outcome.err().unwrap_or_default() }));
                }
            }
        }
    }

    /// Tries those again that were refused for what came only now: servers and files bring it in any order.
    pub(crate) fn retry_after(&mut self, came: &BTreeSet<Kind>, contexts: &mut TlsContexts, at: Moment) {
        let mut due = BTreeSet::new();
        for kind in came {
            match kind {
                // Who was refused may have named one.
                Kind::Cluster => due.extend([Kind::Listener, Kind::Routes]),
                // It may have been refused for what was held of one.
                Kind::Extension => due.extend([Kind::Listener]),
                Kind::Secret => due.extend([Kind::Cluster, Kind::Listener]),
                // What they change is translated again at the settling, with all that was refused.
                Kind::Runtime => {}
                // Nobody else is judged by them.
                Kind::Assignment | Kind::Listener | Kind::Routes => {}
            }
        }
        for kind in due {
            self.retry(kind, contexts, at);
        }
    }

    /// Tries those again that were refused for what may have changed: files, or which clusters there are. Who is refused
    /// again is as before. Gives how many came. Of clusters and listeners none is counted: their statistics are of responses as a
    /// whole, and none came.
    pub(super) fn retry(&mut self, kind: Kind, contexts: &mut TlsContexts, at: Moment) -> usize {
        fn rejected<D, B>(entries: &BTreeMap<String, Entry<D, B>>) -> Vec<(String, Rejected)> {
            let rejected = |(name, entry): (&String, &Entry<D, B>)| Some((name.clone(), entry.rejected.clone()?));
            entries.iter().filter_map(rejected).filter(|(_, rejected)| rejected.is_retried).collect()
        }
        let (before, source) = match kind {
            Kind::Cluster => (rejected(&self.clusters), &self.roots.cds),
            Kind::Listener => (rejected(&self.listeners), &self.roots.lds),
            Kind::Routes => return self.retry_routes(contexts, at),
            Kind::Assignment | Kind::Secret | Kind::Runtime | Kind::Extension => return 0,
        };
        let Some(source) = source.as_ref().map(|used| used.source.clone()).filter(|_| !before.is_empty()) else {
            return 0;
        };
        let again = before.iter().filter_map(|(name, rejected)| {
            let body = Unread::Tree(Some(rejected.body.as_ref()?.message(kind.type_name())));
            let report = Report::new(&format!("{kind} {name:?}"));
            Some(Received { name: name.clone(), version: rejected.version.clone(), body, report })
        });
        let change = Change::Delta { changed: again.collect(), removed: Vec::new() };
        let verdict = self.apply(Update { source, kind, version: String::new(), change }, contexts, at);
        self.retried.extensions.extend(verdict.extensions);
        let refused: HashSet<&str> = verdict.refused.iter().map(|refused| refused.name.as_str()).collect();
        for (name, rejected) in before.into_iter().filter(|(name, _)| refused.contains(name.as_str())) {
            if kind == Kind::Cluster {
                self.clusters.entry(name).and_modify(|entry| entry.rejected = Some(rejected));
            } else {
                self.listeners.entry(name).and_modify(|entry| entry.rejected = Some(rejected));
            }
        }
        verdict.accepted
    }

    /// Routes are wanted of many sources, and who is refused again is shown as before by what refuses it.
    fn retry_routes(&mut self, contexts: &mut TlsContexts, at: Moment) -> usize {
        let before = rejected_of(&self.routes);
        before.iter().filter(|(key, rejected)| self.retry_named(Kind::Routes, key, rejected, contexts, at)).count()
    }

    /// Tries one again that is wanted by name, and counts it where it is right now: each has statistics of its own. Gives whether it is.
    pub(super) fn retry_named(
        &mut self,
        kind: Kind,
        (source, name): &WantKey,
        rejected: &Rejected,
        contexts: &mut TlsContexts,
        at: Moment,
    ) -> bool {
        let Some(body) = &rejected.body else { return false };
        let body = Unread::Tree(Some(body.message(kind.type_name())));
        let (name, version) = (name.clone(), rejected.version.clone());
        let report = Report::new(&format!("{kind} {name:?}"));
        let change = Change::Delta { changed: vec![Received { name, version, body, report }], removed: Vec::new() };
        let update = Update { source: source.clone(), kind, version: String::new(), change };
        let verdict = self.apply(update, contexts, at);
        let is_right = verdict.refused.is_empty();
        if is_right {
            self.retried.counted.extend(verdict.counted);
            self.retried.routes.extend(verdict.routes);
            self.retried.extensions.extend(verdict.extensions);
        }
        is_right
    }
}

/// Those that are wanted by name, were refused and may be right now.
pub(super) fn rejected_of<D>(wants: &BTreeMap<WantKey, Want<D>>) -> Vec<(WantKey, Rejected)> {
    let rejected = wants.iter().filter_map(|(key, want)| Some((key, want.rejected.as_ref()?)));
    let retried = rejected.filter(|(_, rejected)| rejected.is_retried);
    retried.map(|(key, rejected)| (key.clone(), rejected.clone())).collect()
}

/// What may be another.
#[derive(Clone, Copy)]
enum Why {
    /// Files of certificates and keys.
    Files,
    /// All that a bootstrap says.
    Bootstrap,
    /// The same, but for who took values of the runtime.
    BootstrapWithoutLayers,
    /// Values of the runtime.
    Runtime,
}

impl Why {
    /// Whether what was made of this may be another.
    fn concerns(self, certificates: &[ContextCertificates], runtime: Option<&RuntimeUses>, around: &Around) -> bool {
        match self {
            Why::Files => !certificates.is_empty(),
            Why::Bootstrap => true,
            Why::BootstrapWithoutLayers => runtime.is_none(),
            Why::Runtime => runtime.is_some_and(|runtime| runtime.is_stale(around)),
        }
    }
}

/// The bootstrap's own whose newest version is so.
pub(super) fn static_names<D, B>(entries: &BTreeMap<String, Entry<D, B>>, is_so: impl Fn(&D) -> bool) -> Vec<String> {
    let is_so = |entry: &Entry<D, B>| entry.newest().is_some_and(|newest| is_so(&newest.draft));
    let found = entries.iter().filter(|(_, entry)| entry.is_static && is_so(entry));
    found.map(|(name, _)| name.clone()).collect()
}

/// Which version of a resource.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// In force; another one waits to take its place.
    Active,
    /// The newest.
    Newest,
}

/// The versions of a resource that came, each with what it was made of.
fn held<D, B>(entry: &Entry<D, B>) -> Vec<(Place, Arc<Version<D>>, Body)> {
    let older = entry.active.iter().filter(|_| entry.warming.is_some()).map(|version| (Place::Active, version));
    let newest = entry.newest().into_iter().map(|version| (Place::Newest, version));
    older.chain(newest).filter_map(|(place, version)| Some((place, version.clone(), version.body.clone()?))).collect()
}

pub(super) fn put<D, B>(entry: &mut Entry<D, B>, place: Place, version: Version<D>) {
    match place {
        Place::Active => entry.active = Some(Arc::new(version)),
        Place::Newest => entry.warming = Some(Arc::new(version)),
    }
}

/// A version translated again, but for its draft.
fn again<D>(version: &Version<D>, body: Body) -> Version<D> {
    let draft = version.draft.clone();
    Version { version: version.version.clone(), updated: version.updated, body: Some(body), draft }
}
