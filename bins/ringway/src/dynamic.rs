//! What comes besides the bootstrap: the cache, and who feeds it. Decides nothing about when.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringway_control_client::{
    Brought, Cache, ConfigSource, ControlPlane, Counted, ExtensionEvent, Files, Kind, Line, Moment, Outcome, Refused,
    Retried, RoutesEvent, Scope, Settled, Streams, TlsContexts, Wait,
};

/// What comes besides the bootstrap.
#[derive(Default)]
pub(crate) struct Dynamic {
    pub(crate) cache: Cache,
    pub(crate) files: Files,
    /// `None`: nobody is asked, as where a configuration is only checked.
    pub(crate) streams: Option<Streams>,
    /// How the management servers were when that was last told.
    control_plane: ControlPlane,
    /// Who was held back at the last settling, and until when at the latest.
    pub(crate) waits: Vec<Wait>,
    pub(crate) until: Option<Instant>,
    /// What was settled is not in force yet.
    pub(crate) is_ahead: bool,
    /// How long a response waits for the others of its version.
    pub(crate) bundle_wait: Duration,
    /// Files that have moved and could not be taken up.
    pub(crate) missed: BTreeSet<PathBuf>,
}

/// What became of resources that came.
#[derive(Default)]
pub(crate) struct News {
    /// What was refused, as lines.
    pub(crate) refusals: Vec<String>,
    /// Who is held back since now.
    pub(crate) waits: Vec<Wait>,
    /// What statistics count.
    pub(crate) tallies: Vec<Tally>,
    /// What management servers said or did.
    pub(crate) lines: Vec<Line>,
    /// How they are, where that has changed.
    pub(crate) control_plane: Option<ControlPlane>,
}

/// One thing to be counted.
pub(crate) enum Tally {
    /// Something was asked for.
    Attempt(Scope),
    /// A version was accepted, or rejected.
    Answer(Counted),
    /// Nothing came that could be read.
    Failure(Scope),
    /// Nothing came in time.
    TimedOut(Scope),
    /// A layer of files could not be read.
    LayerFailed,
    /// So long it took to take in what was accepted.
    Took(Scope, Duration),
    /// Something became of a route configuration.
    Routes(Scope, RoutesEvent),
    /// Something became of the configuration of a filter.
    Extension(String, ExtensionEvent),
}

impl Dynamic {
    /// Takes in what came and reads files, and settles what they brought. What was settled before and is not in force
    /// yet comes along.
    pub(crate) fn bring(&mut self, contexts: &mut TlsContexts, moved: Option<&BTreeSet<PathBuf>>) -> (Outcome, News) {
        let at = Moment::now();
        // Whatever has come by now belongs to one commit. It comes before files, because it may name some.
        let mut lost = Vec::new();
        let mut brought = match &mut self.streams {
            Some(streams) => {
                let (brought, scopes) = streams.bring(&mut self.cache, contexts, at);
                lost = scopes;
                brought
            }
            None => Vec::new(),
        };
        brought.extend(self.files.bring(&mut self.cache, contexts, moved, at));
        let mut news = News::of(brought);
        news.tallies.extend(lost.into_iter().flat_map(|scope| [Tally::Attempt(scope.clone()), Tally::Failure(scope)]));
        let held_until = self.streams.as_mut().and_then(|streams| streams.held_until(self.bundle_wait, at.instant));
        let settled = held_until.is_none().then(|| {
            let refused = self.cache.take_up_layers(contexts, at);
            news.refusals.extend(refused.iter().flat_map(|(kind, refused)| refusal_lines(*kind, refused)));
            self.cache.settle(at.instant)
        });
        let Retried { counted, routes, extensions } = self.cache.take_retried();
        news.tallies.extend(counted.into_iter().map(Tally::Answer));
        news.tallies.extend(routes.into_iter().map(|(scope, event)| Tally::Routes(scope, event)));
        news.tallies.extend(extensions.into_iter().map(|(name, event)| Tally::Extension(name, event)));
        self.files.settle(&self.cache);
        if let Some(streams) = &mut self.streams {
            streams.settle(&self.cache);
            news.lines = streams.lines();
            let now = streams.control_plane();
            news.control_plane = (now != self.control_plane).then(|| now.clone());
            self.control_plane = now;
        }
        let warnings = self.cache.layer_warnings().into_iter().map(|text| Line { is_warning: true, text });
        news.lines.extend(warnings);
        let Some(Settled { outcome, waits, until, timed_out }) = settled else {
            // What has come is not whole yet: until then nothing can be settled, whoever's time is over.
            self.until = held_until;
            return (Outcome::Same, news);
        };
        news.tallies.extend(timed_out.into_iter().map(Tally::TimedOut));
        let before: HashSet<&Wait> = self.waits.iter().collect();
        news.waits = waits.iter().filter(|wait| !before.contains(wait)).cloned().collect();
        (self.waits, self.until) = (waits, until);
        // What is on its way, or was refused, need not be made again where nothing is new.
        let is_new = !matches!(outcome, Outcome::Same);
        let outcome = if is_new && self.is_ahead { Outcome::All } else { outcome };
        self.is_ahead |= is_new;
        (outcome, news)
    }
}

impl News {
    fn of(brought: Vec<Brought>) -> News {
        let mut news = News::default();
        for Brought { source, kind, outcome, scopes, took } in brought {
            news.tallies.extend(scopes.into_iter().map(Tally::Attempt));
            match outcome {
                Ok(verdict) => {
                    let lines = verdict.refused.iter().flat_map(|refused| refusal_lines(kind, refused));
                    news.refusals.extend(lines);
                    let accepted = verdict.counted.iter().filter(|counted| counted.accepted.is_some());
                    news.tallies.extend(accepted.map(|counted| Tally::Took(counted.scope.clone(), took)));
                    news.tallies.extend(verdict.counted.into_iter().map(Tally::Answer));
                    news.tallies.extend(verdict.routes.into_iter().map(|(scope, event)| Tally::Routes(scope, event)));
                    let events = verdict.extensions.into_iter();
                    news.tallies.extend(events.map(|(name, event)| Tally::Extension(name, event)));
                }
                Err(failure) => {
                    if matches!(*source, ConfigSource::Directory { .. }) {
                        news.tallies.push(Tally::LayerFailed);
                    }
                    news.refusals.push(format!("{source}: no {kind} could be read of it:"));
                    news.refusals.extend(failure.problems.iter().map(ToString::to_string));
                    news.tallies.extend(failure.scopes.into_iter().map(Tally::Failure));
                }
            }
        }
        news
    }

    pub(crate) fn is_empty(&self) -> bool {
        let is_silent = self.refusals.is_empty() && self.lines.is_empty() && self.waits.is_empty();
        is_silent && self.tallies.is_empty() && self.control_plane.is_none()
    }
}

pub(crate) fn refusal_lines(kind: Kind, refused: &Refused) -> Vec<String> {
    let count = refused.problems.len();
    let head = format!("{kind} {:?} refused, the version before it stays; {count} problems:", refused.name);
    std::iter::once(head).chain(refused.problems.iter().map(ToString::to_string)).collect()
}
