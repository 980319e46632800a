//! Configurations of HTTP filters (`config_discovery`, ECDS), which listeners name.
//!
//! One is judged by itself, and by what becomes of its users: each listener that names it is translated with it, and where the filter cannot have it (its
//! type is none of `type_urls`, it is a router that does not stand last) or the chain has a problem then, it is refused and the last good one stays.
//! What is removed is gone: the filter goes by its `default_config`, or each request is answered 500.
//!
//! Invariant: a listener's draft was made with what `around` holds, or without what did not fit it; one that is put in force for the first time
//! has used all that is held for it, or has waited for another one in vain.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::again::{Place, put, rejected_of};
use super::apply::{self, Taken};
use super::entry::{Answer, Body, Entry, Rejected, Version, WantKey};
use super::few::Few;
use super::settle::{Settling, Wait};
use super::update::{ExtensionEvent, Refused, Scope, Update, Verdict};
use super::{Cache, Kind, Moment};
use crate::message::Message;
use crate::problem::{Problem, Report};
use crate::tls::TlsContexts;
use crate::translate::{self, Around, ExtensionUses, Given, ListenerDraft};

/// A listener that names configurations.
#[derive(Debug, Default)]
pub(super) struct ExtensionUser {
    wants: Few<WantKey>,
    /// Since when it waits for another one in the place of one that is not for it.
    since: Option<Instant>,
}

/// A version of a listener that was translated again.
type Again = (String, Place, Version<ListenerDraft>);

impl Cache {
    /// Lets a listener want the configurations that it wants now.
    pub(super) fn relink_extensions(&mut self, name: &str) {
        let entry = self.listeners.get(name);
        let versions = entry.into_iter().flat_map(|entry| entry.active.iter().chain(&entry.warming));
        let uses = versions.filter_map(|version| version.draft.extensions.as_deref()).flat_map(|of| &of.uses);
        let wants: Few<WantKey> = uses.map(|used| (used.source.source.clone(), used.name.clone())).collect();
        let before = self.extension_users.remove(name).unwrap_or_default();
        self.wants_serial += u64::from(before.wants != wants);
        apply::relink(&mut self.extensions, name, &before.wants, &wants);
        // What nobody wants any more is dropped.
        for key in before.wants.difference(&wants).filter(|key| !self.extensions.contains_key(*key)) {
            Arc::make_mut(&mut self.around.extensions).remove(key);
        }
        if !wants.is_empty() {
            self.extension_users.insert(name.to_owned(), ExtensionUser { wants, since: before.since });
        }
    }

    /// Takes in configurations, and takes out what a delta says is gone.
    pub(super) fn apply_extensions(
        &mut self,
        update: Update,
        contexts: &mut TlsContexts,
        at: Moment,
        verdict: &mut Verdict,
    ) {
        let Update { source, version, change, .. } = update;
        let mut seen = HashSet::new();
        let (received, gone) = apply::named(change);
        for received in received {
            if received.name.is_empty() {
                let refused = apply::take(received, &mut seen, None, Kind::Extension).err();
                verdict.refused.extend(refused.map(|(refused, _)| refused));
                continue;
            }
            let key: WantKey = (source.clone(), received.name.clone());
            let Some(want) = self.extensions.get_mut(&key) else {
                verdict.unwanted += 1;
                continue;
            };
            let mut accepted = None;
            let mut rejected = None;
            // Whoever waited for it goes on either way.
            let mut is_change = std::mem::replace(&mut want.answer, Answer::Given) == Answer::Awaited;
            match apply::take(received, &mut seen, None, Kind::Extension) {
                Err(refusal) => {
                    rejected = Some(apply::rejected(&refusal, &version, at));
                    verdict.refused.push(refusal.0);
                }
                Ok(Taken { version: own, body, mut received, .. }) => {
                    let number = if own.is_empty() { version.clone() } else { own };
                    let is_same = apply::holds_again(want, &body, &number);
                    let message = received.take_message().expect("what was taken has been read");
                    let taken = match is_same {
                        true => Ok(()),
                        false => self.take_extension(&key, message, received.report, contexts).map(|draft| {
                            let (version, updated, body) = (number.clone(), at.time, Some(body.clone()));
                            let held = Some(Arc::new(Version { version, updated, body, draft }));
                            self.extensions.entry(key.clone()).and_modify(|want| want.held = held);
                            verdict.extensions.push((key.1.clone(), ExtensionEvent::Reload));
                            is_change = true;
                        }),
                    };
                    match taken {
                        Ok(()) => {
                            verdict.accepted += 1;
                            accepted = Some(number);
                        }
                        Err(problems) => {
                            let (kept, version, at) = (problems.clone(), number, at.time);
                            rejected =
                                Some(Rejected { version, at, problems: kept, body: Some(body), is_retried: true });
                            verdict.refused.push(Refused { name: key.1.clone(), problems });
                        }
                    }
                }
            }
            let want = self.extensions.get_mut(&key).expect("it is wanted");
            want.rejected = rejected;
            if is_change {
                verdict.is_change = true;
                self.dirty_listeners.extend(want.users.iter().cloned());
            }
            self.count(verdict, Kind::Extension, &key, accepted);
        }
        for name in gone {
            self.remove_extension((source.clone(), name), &version, contexts, verdict);
        }
    }

    /// Its users go on without.
    fn remove_extension(&mut self, key: WantKey, version: &str, contexts: &mut TlsContexts, verdict: &mut Verdict) {
        if !self.extensions.contains_key(&key) {
            return;
        }
        let mut around = self.around.clone();
        Arc::make_mut(&mut around.extensions).remove(&key);
        match self.users_with(&key, None, &around, contexts) {
            Ok(again) => {
                self.take_with(around, again);
                let want = self.extensions.get_mut(&key).expect("it is wanted");
                if want.held.take().is_some() {
                    verdict.extensions.push((key.1.clone(), ExtensionEvent::Reload));
                }
                (want.rejected, want.answer) = (None, Answer::Given);
                self.dirty_listeners.extend(want.users.iter().cloned());
                verdict.is_change = true;
                // Envoy counts it as an update, too.
                self.count(verdict, Kind::Extension, &key, Some(version.to_owned()));
            }
            // Two defaults of one chain that do not go together: what is in force stays.
            Err(problems) => verdict.refused.push(Refused { name: key.1, problems }),
        }
    }

    /// Judges a configuration by itself, and each of its users with it.
    fn take_extension(
        &mut self,
        key: &WantKey,
        message: Message,
        mut report: Report,
        contexts: &mut TlsContexts,
    ) -> Result<Arc<Message>, Vec<Problem>> {
        translate::extension(&message, &mut report);
        report.finish()?;
        let message = Arc::new(message);
        let mut around = self.around.clone();
        Arc::make_mut(&mut around.extensions).insert(key.clone(), message.clone());
        let again = self.users_with(key, Some(&message), &around, contexts)?;
        self.take_with(around, again);
        Ok(message)
    }

    fn take_with(&mut self, around: Around, again: Vec<Again>) {
        self.around = around;
        for (name, place, version) in again {
            let entry = self.listeners.get_mut(&name).expect("it was translated");
            put(entry, place, version);
            self.touch_listener(&name);
        }
    }

    /// All versions of the users of a configuration, translated with these. The version in force of a listener that has a newer one stays as it is
    /// where it cannot have it: it is the newer one that was written for it.
    fn users_with(
        &self,
        key: &WantKey,
        came: Option<&Message>,
        around: &Around,
        contexts: &mut TlsContexts,
    ) -> Result<Vec<Again>, Vec<Problem>> {
        let (mut again, mut problems) = (Vec::new(), Vec::new());
        for name in self.extensions.get(key).into_iter().flat_map(|want| want.users.iter()) {
            for (place, version) in self.listeners.get(name).into_iter().flat_map(versions) {
                if uses_of(&version.draft, key).next().is_none() {
                    continue;
                }
                let Some(body) = version.body.clone().or_else(|| version.draft.text().map(Body::written)) else {
                    continue;
                };
                if matches!(place, Place::Active) && version.draft.runtime.is_some() && self.lacks_any_layer() {
                    continue; // it keeps the values that it has until the layers have come
                }
                let kind = Kind::Listener;
                let mut report = Report::again(&format!("{kind} {name:?}"));
                // What it names was known when it came.
                let message = body.message(kind.type_name());
                let draft = translate::listener(&message, &mut report, around, contexts, &|_| true);
                let mut draft = match (draft, report.finish()) {
                    (Some(draft), Ok(_)) => draft,
                    (_, Err(found)) if matches!(place, Place::Newest) => {
                        problems.extend(found);
                        continue;
                    }
                    _ => continue,
                };
                let of_all = draft.extensions.as_deref();
                if matches!(place, Place::Active) && of_all.is_some_and(|all| all.misfits().next().is_some()) {
                    continue; // whatever came, what is held of another was written for the newer version
                }
                let misfits: Vec<&str> = uses_of(&draft, key).filter_map(|used| used.misfit()).collect();
                match (came, place) {
                    (Some(came), Place::Newest) if !misfits.is_empty() => {
                        let mut report = Report::new(&format!("{} {:?}", Kind::Extension, key.1));
                        for rule in misfits {
                            let rule = format!("{rule}: {kind} {name:?}");
                            report.problem_in("typed_config", came.place_of("typed_config"), rule);
                        }
                        problems.extend(report.problems);
                        continue;
                    }
                    _ => {}
                }
                draft.keep_text(version.draft.text());
                // One that has none of its own was given one.
                name.clone_into(&mut draft.listener.name);
                let (number, updated, body) = (version.version.clone(), version.updated, version.body.clone());
                again.push((name.clone(), place, Version { version: number, updated, body, draft: Arc::new(draft) }));
            }
        }
        if problems.is_empty() { Ok(again) } else { Err(problems) }
    }

    /// Tries those again that were refused: the listeners that name them may be others. Who is refused again is as before.
    pub(super) fn retry_extensions(&mut self, contexts: &mut TlsContexts, at: Moment) {
        for (key, rejected) in rejected_of(&self.extensions) {
            if !self.retry_named(Kind::Extension, &key, &rejected, contexts, at) {
                self.extensions.entry(key).and_modify(|want| want.rejected = Some(rejected));
            }
        }
    }

    /// Whether a version of a listener waits for one of its configurations.
    pub(super) fn awaits_extension(
        &mut self,
        name: &str,
        extensions: Option<&ExtensionUses>,
        settling: &mut Settling,
    ) -> bool {
        let mut awaits = false;
        let is_newer = self.listeners.get(name).is_some_and(|entry| entry.warming.is_some());
        let user = self.extension_users.get_mut(name);
        let mut since = user.as_ref().and_then(|user| user.since);
        let mut has_misfit = false;
        for used in extensions.into_iter().flat_map(|of| &of.uses) {
            let key: WantKey = (used.source.source.clone(), used.name.clone());
            let is_held = self.extensions.get(&key).is_some_and(|want| want.held.is_some());
            if is_held && is_newer && matches!(used.given, Given::Nothing) {
                // It could not be made with what is held: one of the bootstrap's own is read without any. What is in force stays, and
                // takes up everything else, whether it has a filter or not.
                let who = format!("{} {name:?}", Kind::Listener);
                let what = format!("another {} {:?} of {}", Kind::Extension, used.name, used.source.source);
                settling.waits.push(Wait { who, what, until: None, is_over: true });
                awaits = true;
                continue;
            }
            if !used.warms {
                continue;
            }
            if let Some(misfit) = used.misfit() {
                // Another one is on its way, most likely.
                has_misfit = true;
                let since = *since.get_or_insert(settling.now);
                let what = format!("{} {:?} of {}: {misfit}", Kind::Extension, used.name, used.source.source);
                awaits |= settling.waits(since, &used.source, &format!("{} {name:?}", Kind::Listener), &what);
                continue;
            }
            let want = self.extensions.get_mut(&key).expect("what is wanted is listed");
            let scope = || Scope::Extension(used.name.clone());
            awaits |=
                settling.is_missing(want, &used.source, (Kind::Listener, name), (Kind::Extension, &used.name), scope);
        }
        if let Some(user) = user {
            user.since = since.filter(|_| has_misfit);
        }
        awaits
    }
}

/// The versions of a listener: the one in force, where there is a newer one, and the newest.
fn versions<B>(entry: &Entry<ListenerDraft, B>) -> impl Iterator<Item = (Place, &Arc<Version<ListenerDraft>>)> {
    let older = entry.active.iter().filter(|_| entry.warming.is_some()).map(|version| (Place::Active, version));
    older.chain(entry.newest().into_iter().map(|version| (Place::Newest, version)))
}

/// The filters of a listener that name this configuration.
fn uses_of<'d>(draft: &'d ListenerDraft, key: &'d WantKey) -> impl Iterator<Item = &'d translate::ExtensionUse> {
    let uses = draft.extensions.as_deref().into_iter().flat_map(|of| &of.uses);
    uses.filter(|used| used.source.source == key.0 && used.name == key.1)
}
