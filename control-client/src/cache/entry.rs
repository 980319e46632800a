//! What is held of one resource: what is in force of it, what is on its way there, what was refused.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ringway_model::Cluster;

use super::few::Few;
use super::{ConfigSource, Moment};
use crate::document;
use crate::json;
use crate::message::Message;
use crate::problem::{Problem, Report};
use crate::reader::{self, Unknown};
use crate::redaction;
use crate::schema::MessageType;
use crate::translate::ClusterDraft;
use crate::wire;

/// One accepted version.
#[derive(Debug)]
pub(super) struct Version<D> {
    pub(super) version: String,
    pub(super) updated: SystemTime,
    /// `None`: it stands in the bootstrap.
    pub(super) body: Option<Body>,
    pub(super) draft: Arc<D>,
}

/// A resource as it came, with its keys: for reading it again, and for showing it without them. As text, which is the
/// smallest of all forms.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Body {
    text: Arc<str>,
}

/// Without the text, which may hold keys.
impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Body({} bytes)", self.text.len())
    }
}

impl Body {
    pub(super) fn of(message: &Message) -> Body {
        Body { text: json::write_whole(message).into() }
    }

    /// In bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Of what was written of a message so.
    pub(super) fn written(text: Arc<str>) -> Body {
        Body { text }
    }

    pub(super) fn text(&self) -> Arc<str> {
        self.text.clone()
    }

    /// The message again. Its places are those of the text, which nobody sees.
    pub(super) fn message(&self, kind: &'static str) -> Message {
        let mut report = Report::new("");
        let document = document::parse(&self.text, &mut report);
        let kind = MessageType::by_name(kind).expect("the schema has the kinds of resources");
        let message = document.and_then(|document| reader::read(&document, kind, Unknown::Kept, &mut report));
        // An empty message is written as {}, which is read as one.
        message.unwrap_or_else(|| Message::empty(kind, crate::problem::Place::START))
    }

    /// In protobuf's wire form, without what is secret.
    pub(super) fn shown_encoded(&self, kind: &'static str) -> Vec<u8> {
        let mut message = self.message(kind);
        redaction::redact(&mut message);
        wire::write(&message)
    }

    /// As `/config_dump` shows it.
    pub(super) fn shown(&self, kind: &'static str) -> String {
        json::write(self.message(kind))
    }
}

/// A version that was refused.
#[derive(Clone, Debug)]
pub(super) struct Rejected {
    pub(super) version: String,
    pub(super) at: SystemTime,
    pub(super) problems: Vec<Problem>,
    /// `None`: it could not even be read.
    pub(super) body: Option<Body>,
    /// It may be right once something else has changed: a file, or the clusters that there are.
    pub(super) is_retried: bool,
}

impl Rejected {
    /// What could be read and had these problems when it was translated.
    fn translated(problems: &[Problem], version: String, body: Body, at: Moment, is_retried: bool) -> Self {
        Self { version, at: at.time, problems: problems.to_vec(), body: Some(body), is_retried }
    }
}

/// A listener or a cluster.
#[derive(Debug)]
pub(super) struct Entry<D, B> {
    /// It stands in the bootstrap.
    pub(super) is_static: bool,
    /// In the next commit, or in the last.
    pub(super) active: Option<Arc<Version<D>>>,
    /// What became of `active` with all that it wants.
    pub(super) built: Option<B>,
    /// What takes its place when nothing is missing any more.
    pub(super) warming: Option<Arc<Version<D>>>,
    pub(super) rejected: Option<Rejected>,
    /// What was active at the last commit, where something else is now: it comes back where that cannot be committed.
    pub(super) before: Option<Before<D, B>>,
    /// What its versions want.
    pub(super) wants: Few<WantKey>,
    /// The secrets that they want.
    pub(super) secrets: Few<WantKey>,
}

/// A version and what became of it.
pub(super) type Before<D, B> = (Option<Arc<Version<D>>>, Option<B>);

impl<D, B> Entry<D, B> {
    pub(super) fn new(is_static: bool) -> Self {
        Entry {
            is_static,
            active: None,
            built: None,
            warming: None,
            rejected: None,
            before: None,
            wants: Few::None,
            secrets: Few::None,
        }
    }

    pub(super) fn newest(&self) -> Option<&Arc<Version<D>>> {
        self.warming.as_ref().or(self.active.as_ref())
    }

    /// Takes up a version that came, and what was made of it: it warms, or it is refused and shown as that.
    ///
    /// # Errors
    /// Its problems.
    pub(super) fn take_in(
        &mut self,
        draft: Option<D>,
        report: Report,
        version: String,
        body: Body,
        at: Moment,
    ) -> Result<Arc<D>, Vec<Problem>> {
        match outcome(draft, report) {
            Ok(draft) => {
                let body = Some(body);
                self.warming = Some(Arc::new(Version { version, updated: at.time, body, draft: draft.clone() }));
                self.rejected = None;
                Ok(draft)
            }
            Err(problems) => {
                self.rejected = Some(Rejected::translated(&problems, version, body, at, true));
                Err(problems)
            }
        }
    }
}

/// What translating came to.
///
/// # Errors
/// Its problems.
pub(super) fn outcome<D>(draft: Option<D>, report: Report) -> Result<Arc<D>, Vec<Problem>> {
    match (draft, report.finish()) {
        (Some(draft), Ok(_)) => Ok(Arc::new(draft)),
        (_, finished) => Err(finished.err().unwrap_or_default()),
    }
}

/// What is wanted by name: of which source, which.
pub(super) type WantKey = (Arc<ConfigSource>, String);

/// A route configuration or an assignment that somebody wants.
#[derive(Debug)]
pub(super) struct Want<D> {
    /// The listeners or clusters that name it.
    pub(super) users: Few<String>,
    pub(super) held: Option<Arc<Version<D>>>,
    pub(super) rejected: Option<Rejected>,
    /// When somebody first waited for it.
    pub(super) since: Option<Instant>,
    pub(super) answer: Answer,
    /// Of an assignment what clusters became with it: what is checked when it comes need not be done again when it is
    /// settled.
    pub(super) made: Vec<Made>,
}

/// What a source has said about a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing yet: who wants it waits.
    #[default]
    Awaited,
    /// Something, if only that there is none; or nothing in time. Nobody waits for it any more.
    Given,
    /// Nothing that can be read. Nobody waits for it any more, and whether there is one is not known.
    Unreadable,
}

/// What a cluster became with an assignment, until that is settled.
#[derive(Debug)]
pub(super) struct Made {
    /// The name.
    pub(super) of: String,
    pub(super) draft: Arc<ClusterDraft>,
    pub(super) cluster: Box<Cluster>,
}

impl<D> Want<D> {
    /// Takes up a version that came, and what was made of it: it is held, or it is refused and shown as that.
    ///
    /// # Errors
    /// Its problems.
    pub(super) fn take_in(
        &mut self,
        outcome: Result<Arc<D>, Vec<Problem>>,
        version: String,
        body: Body,
        at: Moment,
        is_retried: bool,
    ) -> Result<(), Vec<Problem>> {
        match outcome {
            Ok(draft) => {
                self.held = Some(Arc::new(Version { version, updated: at.time, body: Some(body), draft }));
                self.rejected = None;
                Ok(())
            }
            Err(problems) => {
                self.rejected = Some(Rejected::translated(&problems, version, body, at, is_retried));
                Err(problems)
            }
        }
    }

    /// It is there no more, and its source said so.
    pub(super) fn go(&mut self) {
        (self.held, self.rejected, self.answer, self.made) = (None, None, Answer::Given, Vec::new());
    }

    /// Whether it is still to be waited for.
    pub(super) fn is_awaited(&self) -> bool {
        self.answer == Answer::Awaited && self.held.is_none()
    }

    /// What a cluster of this draft became with it.
    pub(super) fn take_made(&mut self, name: &str, draft: &Arc<ClusterDraft>) -> Option<Cluster> {
        let at = self.made.iter().position(|made| made.of == name)?;
        let made = self.made.swap_remove(at);
        if self.made.is_empty() {
            self.made = Vec::new(); // there is one for each of ten thousand assignments
        }
        Arc::ptr_eq(&made.draft, draft).then_some(*made.cluster)
    }
}

impl<D> Default for Want<D> {
    fn default() -> Self {
        Want { users: Few::None, held: None, rejected: None, since: None, answer: Answer::default(), made: Vec::new() }
    }
}
