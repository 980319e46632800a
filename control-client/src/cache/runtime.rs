//! Layers of the runtime that come of sources (`rtds_layer`), and who took a value from them.
//!
//! A layer that came is judged by itself. What it says takes effect with the next settling: each cluster, listener and route configuration
//! that asked for a value which is another now is translated again, so that all of them are in one commit; who cannot be translated with it
//! keeps its last good version. Until each layer came, or was waited for long enough (`initial_fetch_timeout`: it is empty then), nobody who
//! asks for values is put in force: at the start that holds up the first commit, as in Envoy, where layers come before all else; and where a
//! reload brought a layer, what is in force stays.
//!
//! Invariant: once nothing is waited for, a settling gives nothing that was made with another value than the one that holds.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::apply::{self, Taken};
use super::entry::{Answer, Version, Want, WantKey};
use super::settle::Settling;
use super::update::{Refused, Update, Verdict};
use super::{Cache, ConfigSource, Kind, Moment, deadline};
use crate::runtime::{LayerValues, Runtime};
use crate::tls::TlsContexts;
use crate::translate::{self, LayerUse, RuntimeUses};

/// The layers of sources.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// By source and name. Their users are all the bootstrap's own; one that it does not name is not there.
    pub(super) wants: BTreeMap<WantKey, Want<LayerValues>>,
    /// Somebody may have been made with values that are others now.
    is_changed: bool,
    /// What was taken up last; `None`: nothing was since the bootstrap has layers of sources.
    taken_up: Option<Arc<Runtime>>,
    /// What was accepted but deserves a line.
    warnings: Vec<String>,
}

/// What a layer wants.
fn key_of(layer: &LayerUse) -> WantKey {
    (layer.source.source.clone(), layer.name.clone())
}

impl Cache {
    /// What fields with a `runtime_key` were given at the last settling; `None`: the bootstrap has it all, so far.
    pub fn runtime(&self) -> Option<&Arc<Runtime>> {
        self.layers.taken_up.as_ref()
    }

    /// Takes up which layers a bootstrap has; what came for those that it still has stays.
    pub(super) fn set_layers(&mut self) {
        let mut before = std::mem::take(&mut self.layers.wants);
        for layer in self.around.layers() {
            let key = key_of(layer);
            let want = before.remove(&key).unwrap_or_default();
            self.layers.wants.entry(key).or_insert(want);
        }
        match self.layers.wants.is_empty() {
            true => self.layers = Layers::default(),
            false => self.fill_layers(),
        }
    }

    fn fill_layers(&mut self) {
        let wants = &self.layers.wants;
        self.around.fill_layers(|layer| Some(wants.get(&key_of(layer))?.held.as_ref()?.draft.clone()));
        self.layers.is_changed = true;
    }

    /// Takes in layers. Where delta says that one is gone, or its time to live is over, it is empty, as in Envoy; the state of the world says
    /// nothing of those that it does not name.
    pub(super) fn apply_layers(&mut self, update: Update, at: Moment, verdict: &mut Verdict) {
        let Update { source, version, change, .. } = update;
        // One by one, and for nobody else: then Envoy, too, refuses one of another name.
        let is_alone = source.is_of_one();
        let mut seen = HashSet::new();
        let (received, gone) = apply::named(change);
        let is_wanted = |name: &str| self.layers.wants.contains_key(&(source.clone(), name.to_owned()));
        let has_none = !received.iter().any(|received| is_wanted(&received.name));
        for received in received {
            let key: WantKey = (source.clone(), received.name.clone());
            if !received.name.is_empty() && !self.layers.wants.contains_key(&key) {
                if !(is_alone && has_none) {
                    verdict.unwanted += 1;
                    continue;
                }
                let wanted = self.keys_of(&source, Kind::Runtime).into_iter().map(|(_, name)| format!("{name:?}"));
                let names: Vec<String> = wanted.collect();
                let rule = format!("only {} is asked for here", names.join(", "));
                let refused = apply::take(received, &mut seen, Some(rule), Kind::Runtime).err();
                verdict.refused.extend(refused.map(|(refused, _)| refused));
                continue;
            }
            let taken = apply::take(received, &mut seen, None, Kind::Runtime);
            let Some(want) = self.layers.wants.get_mut(&key) else {
                // It has no name.
                verdict.refused.extend(taken.err().map(|(refused, _)| refused));
                continue;
            };
            (want.answer, verdict.is_change) = (Answer::Given, true);
            let accepted = match taken {
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
                        let values = translate::runtime_layer(&message, &mut received.report);
                        let outcome = match (values, received.report.finish()) {
                            (Some(values), Ok(warnings)) => {
                                self.layers.warnings.extend(warnings.iter().map(ToString::to_string));
                                Ok(Arc::new(values))
                            }
                            (_, finished) => Err(finished.err().unwrap_or_default()),
                        };
                        match want.take_in(outcome, number.clone(), body, at, false) {
                            Ok(()) => {
                                verdict.accepted += 1;
                                self.fill_layers();
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
            self.count(verdict, Kind::Runtime, &key, accepted);
        }
        if is_alone && has_none {
            self.answer_without(&source, verdict);
        }
        for name in gone {
            if let Some(want) = self.layers.wants.get_mut(&(source.clone(), name)) {
                want.go();
                verdict.is_change = true;
                self.fill_layers();
            }
        }
    }

    /// Takes in what the files of a `disk_layer` say.
    pub(crate) fn apply_directory(&mut self, source: &Arc<ConfigSource>, values: LayerValues, at: Moment) -> Verdict {
        let (values, mut verdict) = (Arc::new(values), Verdict { accepted: 1, ..Verdict::default() });
        for key in self.keys_of(source, Kind::Runtime) {
            let want = self.layers.wants.get_mut(&key).expect("it is wanted");
            want.answer = Answer::Given;
            if want.held.as_ref().is_some_and(|held| held.draft == values) {
                continue;
            }
            let draft = values.clone();
            want.held = Some(Arc::new(Version { version: String::new(), updated: at.time, body: None, draft }));
            verdict.is_change = true;
            let missed = translate::runtime_missed(&values)
                .map(|key| format!("{source}: {key} has no effect: Envoy reads it where no field names it"));
            self.layers.warnings.extend(missed);
        }
        if verdict.is_change {
            self.fill_layers();
        }
        verdict
    }

    /// A source for nobody else said something, and nothing of a layer: nobody waits for it any more.
    fn answer_without(&mut self, source: &Arc<ConfigSource>, verdict: &mut Verdict) {
        let keys = self.keys_of(source, Kind::Runtime);
        for key in &keys {
            self.layers.wants.entry(key.clone()).and_modify(|want| want.answer = Answer::Given);
        }
        if let Some(key) = keys.first().filter(|_| !verdict.refused.is_empty()) {
            self.count(verdict, Kind::Runtime, key, None);
        }
    }

    /// Translates those again that took values which are others by now, unless a layer is still waited for. What cannot be any more keeps its
    /// last good version, and is given back. To be done before [`Cache::settle`].
    pub fn take_up_layers(&mut self, contexts: &mut TlsContexts, at: Moment) -> Vec<(Kind, Refused)> {
        if !self.layers.is_changed || self.awaits_layers(at.instant) {
            return Vec::new();
        }
        self.layers.is_changed = false;
        self.layers.taken_up = Some(self.around.runtime().clone());
        self.translate_stale(contexts, at)
    }

    /// What deserves a line of layers that were accepted since this was last asked.
    pub fn layer_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.layers.warnings)
    }

    /// Whether there is a layer that has to come first.
    pub(super) fn awaits_layers(&self, now: Instant) -> bool {
        self.around.layers().iter().any(|layer| {
            let want = &self.layers.wants[&key_of(layer)];
            let until = deadline(want.since.unwrap_or(now), layer.source.timeout);
            want.is_awaited() && until.is_none_or(|until| now < until)
        })
    }

    /// Whether a layer has neither come nor been waited for in vain.
    pub(super) fn lacks_any_layer(&self) -> bool {
        self.around.layers().iter().any(|layer| self.layers.wants.get(&key_of(layer)).is_some_and(Want::is_awaited))
    }

    /// Whether something of these values has to wait because a layer does.
    pub(super) fn lacks_layer(runtime: Option<&RuntimeUses>, settling: &Settling) -> bool {
        runtime.is_some() && settling.awaits_layers
    }

    /// Notes who is waited for, and who has been for long enough.
    pub(super) fn settle_layers(&mut self, settling: &mut Settling) {
        for layer in self.around.layers() {
            let want = self.layers.wants.get_mut(&key_of(layer)).expect("what is wanted is listed");
            settling.is_missing_layer(want, &layer.source, &layer.name);
        }
    }
}
