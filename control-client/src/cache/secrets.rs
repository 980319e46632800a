//! Secrets of sources (`sds_config`): certificates and keys, whom to believe, ticket keys, which listeners and clusters name.
//!
//! A secret is judged by what becomes of its users: each is translated with it, and where one of them has a problem then, the secret is refused and the
//! last good one stays. A user without its secret warms, and is held back alone; when it has waited long enough (`initial_fetch_timeout`), or its
//! secret was refused, others wait for it no more, but it is not put in force: a listener without a certificate could serve nobody, and a cluster
//! without one would have nobody to trust.
//!
//! Invariant: a draft that lacks a secret is never built of.

use std::collections::HashSet;
use std::sync::Arc;

use super::again::{rejected_of, static_names};
use super::apply::{self, Taken};
use super::entry::{Answer, Body, Entry, Version, WantKey};
use super::few::Few;
use super::settle::{Settling, Wait};
use super::update::{Refused, Scope, Update, Verdict};
use super::{Cache, Kind, Moment};
use crate::problem::{Problem, Report};
use crate::tls::TlsContexts;
use crate::translate::{self, Around, ClusterDraft, ListenerDraft, RuntimeUses, SecretUses};

/// The secrets that these versions want.
pub(super) fn wanted<'v>(versions: impl Iterator<Item = Option<&'v SecretUses>>) -> Few<WantKey> {
    let uses = versions.flatten().flat_map(|secrets| &secrets.uses);
    uses.map(|used| (used.source.source.clone(), used.name.clone())).collect()
}

/// A user of a secret: clusters and listeners may have one name.
fn user(kind: Kind, name: &str) -> String {
    format!("{kind} {name}")
}

/// The kind and the name of a user.
fn of_user(user: &str) -> (Kind, &str) {
    let (kind, name) = user.split_once(' ').expect("a kind and a name");
    (if kind == "cluster" { Kind::Cluster } else { Kind::Listener }, name)
}

/// A user that was translated again.
enum Again {
    Cluster(Arc<Version<ClusterDraft>>),
    Listener(Arc<Version<ListenerDraft>>),
}

impl Cache {
    /// Lets a cluster or a listener want the secrets that it wants now.
    pub(super) fn relink_secrets(&mut self, (kind, name): (Kind, &str), before: &Few<WantKey>, now: &Few<WantKey>) {
        self.wants_serial += u64::from(before != now);
        apply::relink(&mut self.secrets, &user(kind, name), before, now);
        // What nobody wants any more is dropped.
        for key in before.difference(now).filter(|key| !self.secrets.contains_key(*key)) {
            Arc::make_mut(&mut self.around.came).remove(key);
        }
    }

    /// Takes in secrets. A removed one stays: as in Envoy, whoever uses it goes on with it.
    pub(super) fn apply_secrets(
        &mut self,
        update: Update,
        contexts: &mut TlsContexts,
        at: Moment,
        verdict: &mut Verdict,
    ) {
        let Update { source, version, change, .. } = update;
        let mut seen = HashSet::new();
        let (received, _) = apply::named(change);
        for received in received {
            if received.name.is_empty() {
                let refused = apply::take(received, &mut seen, None, Kind::Secret).err();
                verdict.refused.extend(refused.map(|(refused, _)| refused));
                continue;
            }
            let key: WantKey = (source.clone(), received.name.clone());
            let Some(want) = self.secrets.get_mut(&key) else {
                verdict.unwanted += 1;
                continue;
            };
            (want.answer, verdict.is_change) = (Answer::Given, true);
            let accepted = match apply::take(received, &mut seen, None, Kind::Secret) {
                Err(refusal) => {
                    want.rejected = Some(apply::rejected(&refusal, &version, at));
                    verdict.refused.push(refusal.0);
                    None
                }
                Ok(Taken { version: own, body, mut received, .. }) => {
                    let number = if own.is_empty() { version.clone() } else { own };
                    if apply::holds_again(want, &body, &number) {
                        verdict.accepted += 1;
                        Some(number)
                    } else {
                        let message = received.take_message().expect("what was taken has been read");
                        let taken = self.take_secret(&key, &message, received.report, contexts);
                        let want = self.secrets.get_mut(&key).expect("it is wanted");
                        match want.take_in(taken, number.clone(), body, at, true) {
                            Ok(()) => {
                                verdict.accepted += 1;
                                Some(number)
                            }
                            Err(problems) => {
                                verdict.refused.push(Refused { name: key.1.clone(), problems });
                                None
                            }
                        }
                    }
                }
            };
            self.count(verdict, Kind::Secret, &key, accepted);
        }
    }

    /// Translates a secret, and each of its users with it.
    fn take_secret(
        &mut self,
        key: &WantKey,
        message: &crate::message::Message,
        mut report: Report,
        contexts: &mut TlsContexts,
    ) -> Result<Arc<translate::SecretDraft>, Vec<Problem>> {
        let draft = translate::secret(message, &mut report, contexts);
        report.finish()?;
        let draft = Arc::new(draft.expect("what has no problem was translated"));
        let mut around = self.around.clone();
        Arc::make_mut(&mut around.came).insert(key.clone(), draft.clone());
        let users = self.secrets.get(key).map(|want| want.users.clone()).unwrap_or_default();
        let mut again = Vec::new();
        let mut problems = Vec::new();
        for user in users.iter() {
            let (kind, name) = of_user(user);
            match self.translate_user(kind, name, &around, contexts) {
                Ok(version) => again.extend(version.map(|version| (name, version))),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        self.around = around;
        again.into_iter().for_each(|(name, version)| self.take_again(name, version));
        Ok(draft)
    }

    fn take_again(&mut self, name: &str, version: Again) {
        match version {
            Again::Cluster(version) => {
                self.clusters.entry(name.to_owned()).and_modify(|entry| entry.warming = Some(version));
                self.touch_cluster(name);
            }
            Again::Listener(version) => {
                self.listeners.entry(name.to_owned()).and_modify(|entry| entry.warming = Some(version));
                self.touch_listener(name);
            }
        }
    }

    /// The newest version of a user, translated with these secrets; `None`: there is none.
    fn translate_user(
        &self,
        kind: Kind,
        name: &str,
        around: &Around,
        contexts: &mut TlsContexts,
    ) -> Result<Option<Again>, Vec<Problem>> {
        let mut report = Report::again(&format!("{kind} {name:?}"));
        if kind == Kind::Cluster {
            let Some(newest) = self.clusters.get(name).and_then(Entry::newest) else { return Ok(None) };
            let (secrets, runtime) = (newest.draft.secrets.as_deref(), newest.draft.runtime.as_deref());
            let Some(body) = body_of(newest, secrets, runtime) else { return Ok(None) };
            let draft = translate::cluster(&body.message(kind.type_name()), &mut report, around, contexts);
            report.finish()?;
            let draft = draft.map(|mut draft| {
                keep_text(&body, newest, draft.secrets.as_deref_mut(), draft.runtime.as_deref_mut());
                Arc::new(draft)
            });
            return Ok(draft.map(|draft| Again::Cluster(with_draft(newest, draft))));
        }
        let Some(newest) = self.listeners.get(name).and_then(Entry::newest) else { return Ok(None) };
        let Some(body) = newest.body.clone().or_else(|| Some(Body::written(newest.draft.text()?))) else {
            return Ok(None);
        };
        // What it names was known when it came.
        let draft = translate::listener(&body.message(kind.type_name()), &mut report, around, contexts, &|_| true);
        report.finish()?;
        let draft = draft.map(|mut draft| {
            draft.keep_text(newest.body.is_none().then(|| body.text()));
            // One that has none of its own was given one.
            name.clone_into(&mut draft.listener.name);
            Arc::new(draft)
        });
        Ok(draft.map(|draft| Again::Listener(with_draft(newest, draft))))
    }

    /// Translates those of the bootstrap's own again that name secrets or configurations of filters: the bootstrap was read without any.
    pub(super) fn translate_static_again(&mut self, contexts: &mut TlsContexts) -> Vec<(Kind, Refused)> {
        let clusters = static_names(&self.clusters, |draft| draft.secrets.is_some());
        let names_any = |draft: &ListenerDraft| draft.secrets.is_some() || draft.extensions.is_some();
        let listeners = static_names(&self.listeners, names_any);
        self.translate_these(clusters, listeners, contexts)
    }

    /// Translates the newest versions of these clusters and listeners again. What cannot be any more stays as it is, and is given back.
    pub(super) fn translate_these(
        &mut self,
        clusters: Vec<String>,
        listeners: Vec<String>,
        contexts: &mut TlsContexts,
    ) -> Vec<(Kind, Refused)> {
        let clusters = clusters.into_iter().map(|name| (Kind::Cluster, name));
        let mut refused = Vec::new();
        for (kind, name) in clusters.chain(listeners.into_iter().map(|name| (Kind::Listener, name))) {
            let around = self.around.clone();
            match self.translate_user(kind, &name, &around, contexts) {
                Ok(again) => again.into_iter().for_each(|version| self.take_again(&name, version)),
                Err(problems) => refused.push((kind, Refused { name, problems })),
            }
        }
        refused
    }

    /// Tries those again that were refused: a file that they name, or one of their users, may be another. Who is refused again is as before.
    pub(super) fn retry_secrets(&mut self, contexts: &mut TlsContexts, at: Moment) {
        for (key, rejected) in rejected_of(&self.secrets) {
            if !self.retry_named(Kind::Secret, &key, &rejected, contexts, at) {
                self.secrets.entry(key).and_modify(|want| want.rejected = Some(rejected));
            }
        }
    }

    /// Whether a user is held back because one of its secrets has not come.
    pub(super) fn lacks_secret(
        &mut self,
        (kind, name): (Kind, &str),
        secrets: Option<&SecretUses>,
        settling: &mut Settling,
    ) -> bool {
        let Some(secrets) = secrets.filter(|secrets| secrets.lacks) else { return false };
        for used in &secrets.uses {
            let key: WantKey = (used.source.source.clone(), used.name.clone());
            let want = self.secrets.get_mut(&key).expect("what is wanted is listed");
            let scope = || Scope::Secret(used.name.clone());
            let waits = settling.is_missing(want, &used.source, (kind, name), (Kind::Secret, &used.name), scope);
            if !waits && want.held.is_none() {
                let what = format!("secret {:?} of {}", used.name, used.source.source);
                let (who, until) = (format!("{kind} {name:?}"), None);
                settling.waits.push(Wait { who, what, until, is_over: true });
            }
        }
        true
    }
}

/// What a version was translated from.
fn body_of<D>(version: &Version<D>, secrets: Option<&SecretUses>, runtime: Option<&RuntimeUses>) -> Option<Body> {
    let of_bootstrap = || secrets.and_then(|uses| uses.text.clone()).or_else(|| runtime?.text.clone());
    version.body.clone().or_else(|| of_bootstrap().map(Body::written))
}

/// The text of one of the bootstrap's own goes on to what was made of it.
fn keep_text<D>(body: &Body, before: &Version<D>, secrets: Option<&mut SecretUses>, runtime: Option<&mut RuntimeUses>) {
    if before.body.is_some() {
        return;
    }
    if let Some(secrets) = secrets {
        secrets.text = Some(body.text());
    }
    if let Some(runtime) = runtime {
        runtime.text = Some(body.text());
    }
}

fn with_draft<D>(version: &Version<D>, draft: Arc<D>) -> Arc<Version<D>> {
    let (number, updated, body) = (version.version.clone(), version.updated, version.body.clone());
    Arc::new(Version { version: number, updated, body, draft })
}
