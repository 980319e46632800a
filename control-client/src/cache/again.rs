//! Translating once more what came before: what it was made of may be another.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::apply::dynamic_names;
use super::entry::{Body, Entry, Rejected, Version};
use super::update::{Change, Received, Refused, Update};
use super::{Cache, Kind, Moment};
use crate::problem::Report;
use crate::tls::TlsContexts;
use crate::translate;

impl Cache {
    /// Translates anew what depends on files that may have changed (all contexts), or (`all`) on the bootstrap itself.
    /// What cannot be any more keeps its last good version, and is given back.
    pub fn translate_again(&mut self, all: bool, contexts: &mut TlsContexts, at: Moment) -> Vec<(Kind, Refused)> {
        let mut refused = Vec::new();
        contexts.resume();
        for name in dynamic_names(&self.clusters) {
            let entry = &self.clusters[&name];
            let Some(newest) = entry.newest().cloned() else { continue };
            let Some(body) = newest.body.clone() else { continue };
            if !all && newest.draft.certificates.is_empty() {
                continue;
            }
            let (kind, mut report) = (Kind::Cluster, Report::new(&format!("cluster {name:?}")));
            let draft = translate::cluster(&body.message(kind.type_name()), &mut report, &self.roots.around, contexts);
            match (draft, report.finish()) {
                (Some(draft), Ok(_)) => {
                    let version = Version { draft: Arc::new(draft), ..again(&newest, body) };
                    self.clusters.get_mut(&name).expect("it is there").warming = Some(Arc::new(version));
                    self.touch_cluster(&name);
                }
                (_, outcome) => {
                    refused.push((kind, Refused { name, problems: outcome.err().unwrap_or_default() }));
                }
            }
        }
        for name in dynamic_names(&self.listeners) {
            let entry = &self.listeners[&name];
            let Some(newest) = entry.newest().cloned() else { continue };
            let Some(body) = newest.body.clone() else { continue };
            if !all && newest.draft.certificates.is_empty() {
                continue;
            }
            let (kind, mut report) = (Kind::Listener, Report::new(&format!("listener {name:?}")));
            let (message, around) = (body.message(kind.type_name()), &self.roots.around);
            // What it names was known when it came.
            let draft = translate::listener(&message, &mut report, around, contexts, &|_| true);
            match (draft, report.finish()) {
                (Some(draft), Ok(_)) => {
                    let version = Version { draft: Arc::new(draft), ..again(&newest, body) };
                    self.listeners.get_mut(&name).expect("it is there").warming = Some(Arc::new(version));
                    self.touch_listener(&name);
                }
                (_, outcome) => {
                    refused.push((kind, Refused { name, problems: outcome.err().unwrap_or_default() }));
                }
            }
        }
        for kind in [Kind::Cluster, Kind::Listener] {
            self.retry(kind, contexts, at);
        }
        contexts.end();
        refused
    }

    /// Tries those again that were refused for what may have changed: files, or which clusters there are. Who is refused
    /// again is as before. Gives how many came.
    pub(crate) fn retry(&mut self, kind: Kind, contexts: &mut TlsContexts, at: Moment) -> usize {
        fn rejected<D, B>(entries: &BTreeMap<String, Entry<D, B>>) -> Vec<(String, Rejected)> {
            let rejected = |(name, entry): (&String, &Entry<D, B>)| Some((name.clone(), entry.rejected.clone()?));
            entries.iter().filter_map(rejected).filter(|(_, rejected)| rejected.is_retried).collect()
        }
        let (before, source) = match kind {
            Kind::Cluster => (rejected(&self.clusters), &self.roots.cds),
            Kind::Listener => (rejected(&self.listeners), &self.roots.lds),
            Kind::Assignment | Kind::Routes => return 0,
        };
        let Some(source) = source.as_ref().map(|used| used.source.clone()).filter(|_| !before.is_empty()) else {
            return 0;
        };
        let again = before.iter().filter_map(|(name, rejected)| {
            let message = Some(rejected.body.as_ref()?.message(kind.type_name()));
            let report = Report::new(&format!("{kind} {name:?}"));
            Some(Received { name: name.clone(), version: rejected.version.clone(), message, report })
        });
        let change = Change::Delta { changed: again.collect(), removed: Vec::new() };
        let verdict = self.apply(Update { source, kind, version: String::new(), change }, contexts, at);
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
}

/// A version translated again, but for its draft.
fn again<D>(version: &Version<D>, body: Body) -> Version<D> {
    let draft = version.draft.clone();
    Version { version: version.version.clone(), updated: version.updated, body: Some(body), draft }
}
