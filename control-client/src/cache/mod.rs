//! What was received of dynamic configuration, what depends on what, and the largest part of it that is whole.
//!
//! ```text
//!   transport (files, gRPC, REST)           cache                                    control thread
//!     Update ────────────────> apply ──> Verdict (ACK, or NACK by resource)
//!                              settle(now) ──> Settled: what to commit, what waits ──> Builder, Engine::commit
//!     <──────────────────────  wanted()
//! ```
//! Sans-IO: no file, no socket, no clock. Whoever brings resources does this, and nothing else:
//!
//! 1. [`Cache::wanted`] says what to ask for, now: of each source and [`Kind`] everything, or these names. It is asked
//!    anew after each [`Cache::settle`], because a listener that came names routes, and a cluster endpoints. A name
//!    that appears is to be subscribed to even where the same source already sent it: what nobody wanted was not kept.
//! 2. A response becomes one [`Update`] of that source and kind. State of the world is [`Change::World`]: of listeners
//!    and clusters what is not in it is removed; of routes and assignments it says nothing about those it does not
//!    name. Delta is [`Change::Delta`]. A response that cannot be read at all is no update: [`Cache::failed`].
//! 3. [`Cache::apply`] answers with a [`Verdict`] at once, before anything is warm or in force: it is the ACK, or the
//!    NACK with each refused resource, all its problems and their paths. The others of the same response are accepted
//!    all the same, and a refused one keeps its last good version. What nobody wants is passed over, and is no reason
//!    for a NACK.
//! 4. When all that belongs together was applied, the control thread settles once: one commit.
//!
//! Versions are those of the server, resource by resource where it gives them, else the response's; [`Cache::versions`]
//! has what is held, for `initial_resource_versions`.
//!
//! A version of a listener or a cluster that waits for something leaves the version before it in force, and everybody
//! else alone:
//!
//! ```text
//!   apply ──> warming ──(nothing missing, or waited long enough: settle)──> active ──> in the next commit
//!     └─────> rejected: beside what is active                      removed ──> gone with the next commit
//! ```
//!
//! Invariant: what [`Cache::settle`] gives names no route configuration and no assignment that it does not hold, unless
//! the time to wait for it is over.

mod again;
mod apply;
mod entry;
mod extensions;
mod few;
mod names;
mod roots;
mod runtime;
mod secrets;
mod settle;
mod shown;
#[cfg(test)]
mod tests;
mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use self::entry::{Entry, Want, WantKey};
use self::extensions::ExtensionUser;
pub use self::roots::Roots;
pub use self::settle::{ClusterParts, Outcome, Settled, Wait};
pub use self::shown::{ShownError, ShownResource, ShownVersion};
pub(crate) use self::update::{Change, Received, Unread, Update};
pub use self::update::{
    ConfigSource, Counted, ExtensionEvent, Kind, Names, Refused, RoutesEvent, Scope, Subscription, Verdict,
};
use crate::bootstrap::{ClusterPart, ListenerPart};
use crate::message::Message;
use crate::tls::ContextCertificates;
use crate::translate::{Around, ClusterDraft, ListenerDraft, RoutesDraft, SecretDraft};

/// The most resources of one kind. Ten times the largest meshes; at some 10 KiB each (a cluster with its endpoints, its
/// text and what was made of it) they would take 1.3 GiB, which an operator must have meant.
const RESOURCES_MAX: usize = 131_072;

/// When something came: for waiting, and for people.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For what waits.
    pub instant: Instant,
    /// For what is shown.
    pub time: SystemTime,
}

impl Moment {
    /// Now.
    pub fn now() -> Moment {
        Moment { instant: Instant::now(), time: SystemTime::now() }
    }
}

/// See the module.
#[derive(Default)]
pub struct Cache {
    roots: Arc<Roots>,
    clusters: BTreeMap<String, Entry<ClusterDraft, ClusterPart>>,
    listeners: BTreeMap<String, Entry<ListenerDraft, Arc<ListenerPart>>>,
    assignments: BTreeMap<WantKey, Want<()>>,
    routes: BTreeMap<WantKey, Want<RoutesDraft>>,
    /// Their users are named with their kind: [`secrets`].
    secrets: BTreeMap<WantKey, Want<SecretDraft>>,
    /// The bootstrap wants them.
    layers: runtime::Layers,
    /// Configurations of HTTP filters, and the listeners that name any: [`extensions`].
    extensions: BTreeMap<WantKey, Want<Message>>,
    extension_users: BTreeMap<String, ExtensionUser>,
    /// That of the roots, with the secrets, the layers and the configurations of filters that came.
    around: Around,
    /// Clusters whose names are looked up before they are put in force: [`names`].
    lookups: names::Lookups,
    /// `lds_config` and `cds_config` whose first answer is still to come, and since when.
    unanswered: BTreeMap<Kind, Option<Instant>>,
    /// What [`Cache::settle`] looks at: names of clusters and of listeners.
    dirty_clusters: BTreeSet<String>,
    dirty_listeners: BTreeSet<String>,
    /// A cluster with certificates has another version than when that was last asked.
    has_new_certificates: bool,
    /// The clusters that became something since the last [`Cache::share`].
    unshared: BTreeSet<String>,
    /// The listeners of which a version is kept that would come back.
    unproven: Vec<String>,
    /// Something was added or removed, or more than endpoints changed, since the last settling.
    is_reshaped: bool,
    /// What statistics say of those that were refused, and are right now.
    retried: Retried,
    /// The last part that was given a serial.
    serial: u64,
    /// How often [`Cache::wanted`] may have come to give something else.
    wants_serial: u64,
    /// [`RESOURCES_MAX`], but in tests.
    resources_max: Option<usize>,
}

/// What there is to be counted of resources that came before.
#[derive(Debug, Default)]
pub struct Retried {
    /// As [`Verdict::counted`].
    pub counted: Vec<Counted>,
    /// As [`Verdict::routes`].
    pub routes: Vec<(Scope, RoutesEvent)>,
    /// As [`Verdict::extensions`].
    pub extensions: Vec<(String, ExtensionEvent)>,
}

impl Cache {
    /// Without roots: it wants nothing and gives nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up what a bootstrap says, in place of the one before. What was received of sources that both have stays.
    pub fn set_roots(&mut self, roots: Arc<Roots>, at: Moment) {
        let before = std::mem::replace(&mut self.roots, roots);
        let roots = self.roots.clone();
        self.around = roots.around.clone().with(&self.around);
        self.set_layers();
        for (kind, old, new) in [(Kind::Cluster, &before.cds, &roots.cds), (Kind::Listener, &before.lds, &roots.lds)] {
            let source = |used: &Option<crate::translate::SourceUse>| used.as_ref().map(|used| used.source.clone());
            if source(old) != source(new) {
                self.remove_all(kind);
                self.unanswered.remove(&kind);
                if new.is_some() {
                    self.unanswered.insert(kind, None);
                }
            }
        }
        self.set_static(at);
        self.is_reshaped = true;
        self.wants_serial += 1;
    }

    /// What the resources belong to.
    pub(crate) fn roots(&self) -> &Arc<Roots> {
        &self.roots
    }

    /// As long as this is the same, [`Cache::wanted`] is.
    pub(crate) fn wants_serial(&self) -> u64 {
        self.wants_serial
    }

    /// What to ask for, now.
    pub fn wanted(&self) -> Vec<Subscription> {
        let mut wanted = Vec::new();
        named(Kind::Runtime, self.layers.wants.keys(), &mut wanted);
        for (kind, used) in [(Kind::Cluster, &self.roots.cds), (Kind::Listener, &self.roots.lds)] {
            wanted.extend(used.iter().map(|used| Subscription {
                source: used.source.clone(),
                kind,
                names: Names::All,
            }));
        }
        named(Kind::Assignment, self.assignments.keys(), &mut wanted);
        named(Kind::Routes, self.routes.keys(), &mut wanted);
        named(Kind::Secret, self.secrets.keys(), &mut wanted);
        named(Kind::Extension, self.extensions.keys(), &mut wanted);
        wanted
    }

    /// The versions held of a source, by name.
    pub fn versions(&self, source: &ConfigSource, kind: Kind) -> BTreeMap<String, String> {
        fn of<D, B>(entries: &BTreeMap<String, Entry<D, B>>) -> BTreeMap<String, String> {
            let held = entries.iter().filter(|(_, entry)| !entry.is_static);
            let held = held.filter_map(|(name, entry)| Some((name.clone(), entry.newest()?.version.clone())));
            held.collect()
        }
        fn wanted<D>(wants: &BTreeMap<WantKey, Want<D>>, source: &ConfigSource) -> BTreeMap<String, String> {
            let held = wants.iter().filter(|((of, _), _)| **of == *source);
            held.filter_map(|((_, name), want)| Some((name.clone(), want.held.as_ref()?.version.clone()))).collect()
        }
        let is_root =
            |used: &Option<crate::translate::SourceUse>| used.as_ref().is_some_and(|used| *used.source == *source);
        match kind {
            Kind::Cluster if is_root(&self.roots.cds) => of(&self.clusters),
            Kind::Listener if is_root(&self.roots.lds) => of(&self.listeners),
            Kind::Cluster | Kind::Listener => BTreeMap::new(),
            Kind::Assignment => wanted(&self.assignments, source),
            Kind::Routes => wanted(&self.routes, source),
            Kind::Secret => wanted(&self.secrets, source),
            Kind::Runtime => wanted(&self.layers.wants, source),
            Kind::Extension => wanted(&self.extensions, source),
        }
    }

    /// Whether anything is to be asked for.
    pub fn wants_more(&self) -> bool {
        let is_listed = self.roots.cds.is_some() || self.roots.lds.is_some() || !self.layers.wants.is_empty();
        let is_named = !self.assignments.is_empty() || !self.routes.is_empty() || !self.secrets.is_empty();
        is_listed || is_named || !self.extensions.is_empty()
    }

    /// [`Cache::certificates`], where clusters have brought others since the last call.
    pub fn take_new_certificates(&mut self) -> Option<Vec<ContextCertificates>> {
        std::mem::take(&mut self.has_new_certificates).then(|| self.certificates())
    }

    /// What the certificates of all contexts say: clusters, then listeners.
    pub fn certificates(&self) -> Vec<ContextCertificates> {
        let clusters = self.clusters.values().filter_map(|entry| Some(&entry.active.as_ref()?.draft.certificates));
        let listeners = self.listeners.values().filter_map(|entry| Some(&entry.active.as_ref()?.draft.certificates));
        clusters.chain(listeners).flatten().cloned().collect()
    }

    /// Whether there is a cluster of this name, in force or not yet.
    fn knows_cluster(&self, name: &str) -> bool {
        self.clusters.get(name).is_some_and(|entry| entry.newest().is_some())
    }

    /// What statistics count of resources that were refused and were accepted since this was last asked: other resources came.
    pub fn take_retried(&mut self) -> Retried {
        std::mem::take(&mut self.retried)
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn resources_max(&self) -> usize {
        self.resources_max.unwrap_or(RESOURCES_MAX)
    }
}

/// What these keys of one kind want, by source.
fn named<'k>(kind: Kind, keys: impl Iterator<Item = &'k WantKey>, wanted: &mut Vec<Subscription>) {
    for (source, name) in keys {
        match wanted.last_mut() {
            // By source and name: those of one source stand together.
            Some(Subscription { source: last, kind: of, names: Names::These(names) })
                if of == &kind && last == source =>
            {
                names.insert(name.clone());
            }
            _ => {
                let names = Names::These(BTreeSet::from([name.clone()]));
                wanted.push(Subscription { source: source.clone(), kind, names });
            }
        }
    }
}

/// The end of a wait that began at `since`.
fn deadline(since: Instant, timeout: Option<Duration>) -> Option<Instant> {
    since.checked_add(timeout?)
}
