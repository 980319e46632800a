//! Assignments and route configurations: a source gives those that somebody wants, by name.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::entry::{Answer, Entry, Made, WantKey, outcome};
use super::super::update::{Refused, RoutesEvent, Update, Verdict};
use super::super::{Cache, Kind, Moment};
use super::{Taken, holds_again, named, rejected, take};
use crate::translate::{self, ClusterDraft, RoutesDraft};

impl Cache {
    pub(super) fn apply_assignments(&mut self, update: Update, at: Moment, verdict: &mut Verdict) {
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
            want.answer = Answer::Given;
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
                        let mut made = Vec::new();
                        for user in users.iter() {
                            // The newest version that wants it: one that warms may want another.
                            let Some(draft) = self.clusters.get(user).and_then(|entry| of_key(entry, &key)) else {
                                continue;
                            };
                            let Some(used) = draft.assignment.as_deref() else { continue };
                            let report = &mut received.report;
                            if let Some(cluster) = translate::assignment(&message, report, used, &draft.cluster) {
                                made.push(Made { of: user.clone(), draft, cluster: Box::new(cluster) });
                            }
                        }
                        let want = self.assignments.get_mut(&key).expect("it is wanted");
                        let checked = received.report.finish().map(|_| Arc::new(()));
                        // What is wrong with one is wrong whatever else changes.
                        match want.take_in(checked, number.clone(), body, at, false) {
                            Ok(()) => {
                                (accepted, want.made) = (Some(number), made);
                                verdict.accepted += 1;
                            }
                            Err(problems) => verdict.refused.push(Refused { name, problems }),
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
                want.go();
                self.dirty_clusters.extend(want.users.iter().cloned());
                verdict.is_change = true;
            }
        }
    }

    pub(super) fn apply_routes(&mut self, update: Update, at: Moment, verdict: &mut Verdict) {
        let Update { source, version, change, .. } = update;
        let mut seen = HashSet::new();
        let (received, gone) = named(change);
        if received.is_empty() && gone.is_empty() && source.is_of_one() {
            // Envoy counts it as accepted, too.
            for key in self.keys_of(&source, Kind::Routes) {
                // Who waited goes on without, as in Envoy.
                if let Some(want) = self.routes.get_mut(&key)
                    && std::mem::replace(&mut want.answer, Answer::Given) == Answer::Awaited
                {
                    self.dirty_listeners.extend(want.users.iter().cloned());
                    verdict.is_change = true;
                }
                self.count(verdict, Kind::Routes, &key, Some(version.clone()));
                verdict
                    .routes
                    .extend(self.scopes_of(Kind::Routes, &key).into_iter().map(|of| (of, RoutesEvent::Empty)));
            }
        }
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
            want.answer = Answer::Given;
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
                        let draft: Option<RoutesDraft> =
                            translate::routes(&message, &mut received.report, &self.around, &knows);
                        let want = self.routes.get_mut(&key).expect("it is wanted");
                        match want.take_in(outcome(draft, received.report), number.clone(), body, at, true) {
                            Ok(()) => {
                                accepted = Some(number);
                                verdict.accepted += 1;
                                let scopes = self.scopes_of(Kind::Routes, &key).into_iter();
                                verdict.routes.extend(scopes.map(|scope| (scope, RoutesEvent::Reload)));
                            }
                            Err(problems) => verdict.refused.push(Refused { name, problems }),
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
                want.go();
                self.dirty_listeners.extend(want.users.iter().cloned());
                verdict.is_change = true;
            }
        }
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
