//! The largest part of what was received that is whole: what is committed next, what waits, for what, and until when.

use std::sync::Arc;
use std::time::Instant;

use ringway_model::Cluster;

use super::entry::{Answer, Body, Rejected, Version, Want, WantKey};
use super::update::Scope;
use super::{Cache, Kind, Moment, Roots, deadline};
use crate::bootstrap::{ClusterPart, ListenerPart, Resources};
use crate::builder::Builder;
use crate::problem::{Problem, Report};
use crate::tls::TlsContexts;
use crate::translate::{self, ClusterDraft, ListenerDraft, SourceUse};

/// What settling came to.
#[derive(Debug)]
pub struct Settled {
    /// What differs from the last time.
    pub outcome: Outcome,
    /// Who is held back.
    pub waits: Vec<Wait>,
    /// When somebody has waited long enough: settle again then, if nothing comes before.
    pub until: Option<Instant>,
    /// Whose statistics count that nothing came in time.
    pub timed_out: Vec<Scope>,
}

/// What there is to commit.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing.
    Same,
    /// The clusters are others, under the names that they had.
    Clusters(ClusterParts),
    /// More than that: [`Cache::resources`] has it all.
    All,
}

/// Clusters for [`Builder::with_clusters`](crate::Builder::with_clusters).
#[derive(Debug, Default)]
pub struct ClusterParts(pub(crate) Vec<ClusterPart>);

/// Somebody who waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wait {
    /// Who: `cluster "c"`.
    pub who: String,
    /// For what: `assignment "c" of /etc/eds.yaml`.
    pub what: String,
    /// `None`: for ever.
    pub until: Option<Instant>,
    /// It has waited long enough, or what it waits for was refused: nobody else waits for it any more.
    pub is_over: bool,
}

impl Cache {
    /// Finds out what is whole by now.
    pub fn settle(&mut self, now: Instant) -> Settled {
        let awaits_layers = self.awaits_layers(now);
        let mut settling =
            Settling { now, awaits_layers, waits: Vec::new(), timed_out: Vec::new(), changed: Vec::new() };
        self.settle_layers(&mut settling);
        for (kind, used) in [(Kind::Cluster, self.roots.cds.clone()), (Kind::Listener, self.roots.lds.clone())] {
            let Some(since) = self.unanswered.get_mut(&kind) else { continue };
            let since = *since.get_or_insert(now);
            let Some(used) = used else { continue };
            if settling.waits(since, &used, &format!("{kind}s"), &format!("all of {}", used.source)) {
                continue;
            }
            settling.timed_out.push(if kind == Kind::Cluster { Scope::Clusters } else { Scope::Listeners });
            self.unanswered.remove(&kind);
        }
        self.begin_lookups();
        // Clusters come first: listeners name them.
        for name in std::mem::take(&mut self.dirty_clusters) {
            self.settle_cluster(&name, &mut settling);
        }
        for name in std::mem::take(&mut self.dirty_listeners) {
            self.settle_listener(&name, &mut settling);
        }
        self.end_lookups();
        let is_reshaped = std::mem::take(&mut self.is_reshaped);
        let outcome = match settling.changed.is_empty() {
            _ if is_reshaped => Outcome::All,
            true => Outcome::Same,
            false => Outcome::Clusters(ClusterParts(settling.changed)),
        };
        let until = settling.waits.iter().filter_map(|wait| wait.until).min();
        Settled { outcome, waits: settling.waits, until, timed_out: settling.timed_out }
    }

    /// All that is whole, as of the last settling: the bootstrap's own in its order, then what came, by name.
    pub fn resources(&self) -> Resources {
        let mut resources = Resources::default();
        let own = self.roots.clusters.iter().filter_map(|draft| self.clusters.get(&draft.cluster.name));
        let others = self.clusters.values().filter(|entry| !entry.is_static);
        for entry in own.chain(others) {
            let (Some(active), Some(built)) = (&entry.active, &entry.built) else { continue };
            if let Some(plan) = &active.draft.names {
                resources.dns.insert(active.draft.cluster.name.clone(), plan.clone());
            }
            resources.clusters.push(built.clone());
        }
        let own = self.roots.listeners.iter().filter_map(|draft| self.listeners.get(&draft.listener.name));
        let others = self.listeners.values().filter(|entry| !entry.is_static);
        resources.listeners.extend(own.chain(others).filter_map(|entry| entry.built.clone()));
        resources
    }

    /// A listener of the last settling cannot be put in force, for a reason that only the host knows. The version
    /// before it comes back, where there is one. `false`: it is the bootstrap's own, or not new, and cannot be refused
    /// alone.
    pub fn refuse_listener(&mut self, name: &str, rule: String, contexts: &mut TlsContexts, at: Moment) -> bool {
        let Some(entry) = self.listeners.get_mut(name).filter(|entry| !entry.is_static) else { return false };
        let Some((active, built)) = entry.before.take() else { return false };
        let refused = std::mem::replace(&mut entry.active, active);
        entry.built = built;
        let file = format!("listener {name:?}");
        let problem = Problem { file, line: 1, column: 1, path: "address".into(), rule };
        let body = refused.as_ref().and_then(|version| version.body.clone());
        let version = refused.map_or_else(String::new, |version| version.version.clone());
        entry.rejected = Some(Rejected { version, at: at.time, problems: vec![problem], body, is_retried: false });
        // What came for it since is taken up at the next settling.
        self.renew_active(name, contexts);
        self.touch_listener(name);
        self.is_reshaped = true;
        true
    }

    /// All that was settled is in force: no version before it comes back. Gives the roots that are in force with it.
    pub fn caught_up(&mut self) -> Arc<Roots> {
        for name in std::mem::take(&mut self.unproven) {
            self.listeners.entry(name).and_modify(|entry| entry.before = None);
        }
        self.roots.clone()
    }

    /// What a builder made of what was settled is what is held of it from now on: that the same cluster is in memory once.
    pub fn share(&mut self, builder: &Builder) {
        for name in std::mem::take(&mut self.unshared) {
            let Some(part) = self.clusters.get_mut(&name).and_then(|entry| entry.built.as_mut()) else { continue };
            if let Some(cluster) = builder.made_of(part) {
                part.cluster = cluster.clone();
            }
        }
    }

    fn settle_cluster(&mut self, name: &str, settling: &mut Settling) {
        let Some(entry) = self.clusters.get_mut(name) else { return };
        let Some(candidate) = entry.newest().cloned() else { return };
        let draft = &candidate.draft;
        let lacks_layer = Cache::lacks_layer(draft.runtime.as_deref(), settling);
        let awaits_names = self.awaits_names(name, &candidate, settling);
        if self.lacks_secret((Kind::Cluster, name), draft.secrets.as_deref(), settling) || lacks_layer || awaits_names {
            self.dirty_clusters.insert(name.to_owned());
            if lacks_layer || awaits_names {
                self.resettle_cluster(name, settling);
            }
            return;
        }
        let cluster = match draft.assignment.as_deref() {
            None => draft.cluster.clone(),
            Some(used) => {
                let key: WantKey = (used.source.source.clone(), used.name.clone());
                let want = self.assignments.get_mut(&key).expect("what is wanted is listed");
                let scope = || Scope::Assignment(draft.cluster.stat_name.clone());
                if settling.is_missing(want, &used.source, (Kind::Cluster, name), (Kind::Assignment, &key.1), scope) {
                    self.dirty_clusters.insert(name.to_owned());
                    self.resettle_cluster(name, settling);
                    return;
                }
                match with_assignment(want, name, draft) {
                    Ok(cluster) => cluster,
                    Err(problems) => {
                        // Only the two together are wrong: it warms until one of them is another.
                        let (version, body) = (candidate.version.clone(), candidate.body.clone());
                        let at = candidate.updated;
                        let entry = self.clusters.get_mut(name).expect("it is there");
                        entry.rejected = Some(Rejected { version, at, problems, body, is_retried: false });
                        self.resettle_cluster(name, settling);
                        return;
                    }
                }
            }
        };
        let part = ClusterPart { serial: self.next_serial(), cluster: Arc::new(cluster) };
        let entry = self.clusters.get_mut(name).expect("it is there");
        // It may have been wrong together with what came before.
        entry.rejected.take_if(|rejected| rejected.body == candidate.body && rejected.version == candidate.version);
        let has_names = |version: &Option<Arc<Version<ClusterDraft>>>| {
            version.as_ref().is_some_and(|version| version.draft.names.is_some())
        };
        let had_names = has_names(&entry.active);
        if entry.warming.is_some() {
            let versions = entry.active.iter().chain(&entry.warming);
            self.has_new_certificates |= versions.into_iter().any(|version| !version.draft.certificates.is_empty());
            entry.active = entry.warming.take();
        }
        match entry.built.replace(part.clone()) {
            Some(_) if !had_names && !has_names(&entry.active) => settling.changed.push(part),
            _ => self.is_reshaped = true,
        }
        self.touch_cluster(name);
        self.end_lookup(name);
        self.dirty_clusters.remove(name);
        self.unshared.insert(name.to_owned());
    }

    /// The version of a cluster that is in force, while a newer one waits: what came for it takes effect.
    fn resettle_cluster(&mut self, name: &str, settling: &mut Settling) {
        let entry = &self.clusters[name];
        let (Some(active), Some(built), Some(_)) = (&entry.active, &entry.built, &entry.warming) else { return };
        let (draft, had_names) = (active.draft.clone(), active.draft.names.is_some());
        let made = match draft.assignment.as_deref() {
            None => Ok(draft.cluster.clone()),
            Some(used) => {
                let key: WantKey = (used.source.source.clone(), used.name.clone());
                with_assignment(self.assignments.get_mut(&key).expect("what is wanted is listed"), name, &draft)
            }
        };
        let Ok(cluster) = made else { return };
        // What it became may have its number already.
        let cluster = Cluster { id: built.cluster.id, ..cluster };
        if cluster == *built.cluster {
            return;
        }
        let part = ClusterPart { serial: self.next_serial(), cluster: Arc::new(cluster) };
        self.clusters.get_mut(name).expect("it is there").built = Some(part.clone());
        self.unshared.insert(name.to_owned());
        match had_names {
            true => self.is_reshaped = true,
            false => settling.changed.push(part),
        }
    }

    fn settle_listener(&mut self, name: &str, settling: &mut Settling) {
        let Some(entry) = self.listeners.get_mut(name) else { return };
        let Some(candidate) = entry.newest().cloned() else { return };
        let draft = &candidate.draft;
        let mut is_missing = self.lacks_secret((Kind::Listener, name), draft.secrets.as_deref(), settling);
        let mut lacks_layer = Cache::lacks_layer(draft.runtime.as_deref(), settling);
        is_missing |= self.awaits_extension(name, draft.extensions.as_deref(), settling);
        for used in &draft.routes {
            let key: WantKey = (used.source.source.clone(), used.name.clone());
            let want = self.routes.get_mut(&key).expect("what is wanted is listed");
            let of_routes = want.held.as_ref().and_then(|held| held.draft.runtime.as_deref());
            lacks_layer |= Cache::lacks_layer(of_routes, settling);
            let (stat_prefix, name_of) = (used.stat_prefix.clone(), used.name.clone());
            let scope = || Scope::Routes { stat_prefix, name: name_of };
            is_missing |=
                settling.is_missing(want, &used.source, (Kind::Listener, name), (Kind::Routes, &key.1), scope);
        }
        if is_missing || lacks_layer {
            self.dirty_listeners.insert(name.to_owned());
            if !lacks_layer {
                self.resettle_listener(name);
            }
            return;
        }
        let part = self.with_routes(draft);
        let entry = self.listeners.get_mut(name).expect("it is there");
        let built = entry.built.replace(Arc::new(part));
        if let Some(warm) = entry.warming.take() {
            let active = entry.active.replace(warm);
            // Until a commit it is the one of the last commit that comes back.
            entry.before.get_or_insert((active, built));
            self.unproven.push(name.to_owned());
        }
        self.is_reshaped = true;
        self.touch_listener(name);
        self.dirty_listeners.remove(name);
    }

    /// The version of a listener that is in force, while a newer one waits: what came for it takes effect.
    fn resettle_listener(&mut self, name: &str) {
        let entry = &self.listeners[name];
        let (Some(active), Some(built), Some(_)) = (&entry.active, &entry.built, &entry.warming) else { return };
        let (active, built) = (active.clone(), built.clone());
        let part = ListenerPart { serial: built.serial, ..self.with_routes(&active.draft) };
        if part == *built {
            return;
        }
        let part = ListenerPart { serial: self.next_serial(), ..part };
        self.listeners.get_mut(name).expect("it is there").built = Some(Arc::new(part));
        self.is_reshaped = true;
    }

    /// The listener of a draft with the routes that it wants, as far as they are there.
    fn with_routes(&mut self, draft: &ListenerDraft) -> ListenerPart {
        let (listener, cluster_names) = draft.with_routes(|used| {
            let want = self.routes.get(&(used.source.source.clone(), used.name.clone()))?;
            let held = want.held.as_ref()?;
            Some((&held.draft.routes, held.draft.cluster_names.as_slice()))
        });
        ListenerPart { serial: self.next_serial(), listener, cluster_names }
    }
}

/// The cluster of a draft with the endpoints that are wanted, or without any, where there are none.
fn with_assignment(want: &mut Want<()>, name: &str, draft: &Arc<ClusterDraft>) -> Result<Cluster, Vec<Problem>> {
    if let Some(cluster) = want.take_made(name, draft) {
        return Ok(cluster);
    }
    let Some(held) = &want.held else { return Ok(draft.cluster.clone()) };
    let used = draft.assignment.as_deref().expect("it wants one");
    let body: &Body = held.body.as_ref().expect("what came by EDS has a body");
    let mut report = Report::new(&format!("assignment {:?}", used.name));
    let message = body.message(Kind::Assignment.type_name());
    let cluster = translate::assignment(&message, &mut report, used, &draft.cluster);
    match (cluster, report.finish()) {
        (Some(cluster), Ok(_)) => Ok(cluster),
        (_, outcome) => Err(outcome.err().unwrap_or_default()),
    }
}

/// What one settling has found so far.
pub(super) struct Settling {
    pub(super) now: Instant,
    /// A layer of the runtime has to come first.
    pub(super) awaits_layers: bool,
    pub(super) waits: Vec<Wait>,
    timed_out: Vec<Scope>,
    changed: Vec<ClusterPart>,
}

impl Settling {
    /// Whether something that is not there is still to be waited for.
    pub(super) fn is_missing<D>(
        &mut self,
        want: &mut Want<D>,
        used: &SourceUse,
        (kind, who): (Kind, &str),
        (of, what): (Kind, &str),
        scope: impl FnOnce() -> Scope,
    ) -> bool {
        if !want.is_awaited() {
            return false;
        }
        let since = *want.since.get_or_insert(self.now);
        if self.waits(since, used, &format!("{kind} {who:?}"), &format!("{of} {what:?} of {}", used.source)) {
            return true;
        }
        want.answer = Answer::Given;
        self.timed_out.push(scope());
        false
    }

    /// The same of a layer of the runtime.
    pub(super) fn is_missing_layer<D>(&mut self, want: &mut Want<D>, used: &SourceUse, name: &str) {
        if !want.is_awaited() {
            return;
        }
        let since = *want.since.get_or_insert(self.now);
        let what = format!("{} {name:?} of {}", Kind::Runtime, used.source);
        if !self.waits(since, used, "layered_runtime", &what) {
            want.answer = Answer::Given;
            self.timed_out.push(Scope::Runtime);
        }
    }

    pub(super) fn waits(&mut self, since: Instant, used: &SourceUse, who: &str, what: &str) -> bool {
        let until = deadline(since, used.timeout);
        let waits = until.is_none_or(|until| self.now < until);
        if waits {
            self.waits.push(Wait { who: who.to_owned(), what: what.to_owned(), until, is_over: false });
        }
        waits
    }
}
