//! One source that is asked again and again by REST: the same events as of a stream, from exchanges that stand alone.
//!
//! Each exchange has a connection of its own: between two there is a `refresh_delay`, usually seconds, and a
//! server behind a balancer is found anew each time.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{sleep_until, timeout};

use super::dial::{Dialled, Dialler};
use super::letterbox::{Event, Letterbox, Response};
use super::task::Plan;
use crate::cache::{Kind, Names};
use crate::chance::Chance;
use crate::discovery::Refusal;
use crate::files::read_response;
use crate::json;
use crate::problem::Report;
use crate::race::{First, race};
use crate::reader::Unknown;
use crate::rest::{Answer, Poll, Post, post};
use crate::schema::MessageType;
use crate::wire;

/// See the module.
pub(super) struct Poller {
    plan: Plan,
    kind: Kind,
    poll: Poll,
    timeout: Duration,
    /// As JSON.
    node: String,
    letterbox: Letterbox,
    dialler: Dialler,
    chance: Chance,
    /// The last exchange brought an answer.
    is_connected: bool,
    /// It was that there is nothing, which was told.
    has_nothing: bool,
}

impl Poller {
    pub(super) fn new(plan: Plan, interval: Duration, timeout: Duration, letterbox: Letterbox) -> Self {
        let kind = plan.kind.expect("ADS is a stream");
        let message = MessageType::by_name("envoy.config.core.v3.Node").expect("the schema has the node");
        let node = wire::read(&plan.node, message, Unknown::Kept, &mut Report::new("node"));
        let node = json::write_whole(&node.expect("we wrote it"));
        Self {
            poll: Poll::new(kind, interval),
            kind,
            timeout,
            node,
            letterbox,
            dialler: Dialler::default(),
            chance: Chance::new(),
            is_connected: false,
            has_nothing: false,
            plan,
        }
    }

    /// Until nobody wants anything of it any more.
    pub(super) async fn run(mut self) {
        loop {
            let names = self.plan.wants.borrow_and_update().get(&self.kind).cloned();
            if let Some(names) = &names {
                let answer = match timeout(self.timeout, self.ask(names)).await {
                    Ok(answer) => answer,
                    Err(_) => Answer::Failed(format!("no answer within {:?}", self.timeout)),
                };
                self.take(answer).await;
            }
            let until = Instant::now() + self.poll.wait(self.chance.next());
            self.pause(until, names).await;
        }
    }

    /// One exchange.
    async fn ask(&mut self, names: &Names) -> Answer {
        let service = &self.plan.api.services[0];
        let roots = self.plan.roots.borrow().clone();
        let Some(draft) = roots.clusters.iter().find(|draft| draft.cluster.name == service.cluster) else {
            // It was there when the source was read; a later bootstrap has another.
            return Answer::Failed(format!("there is no cluster {:?}", service.cluster));
        };
        let Dialled { io, address } = match self.dialler.dial(draft, &service.authority).await {
            Ok(dialled) => dialled,
            Err(why) => return Answer::Failed(why),
        };
        let body = self.poll.body(&self.node, names);
        let request = Post { authority: &service.authority, path: self.poll.path(), body };
        match post(io, request).await {
            Answer::Failed(why) => Answer::Failed(format!("{address}: {why}")),
            answer => {
                if !self.is_connected {
                    self.is_connected = true;
                    self.letterbox.put(self.plan.id, Event::Connected(address));
                    self.letterbox.put(self.plan.id, Event::Proven);
                }
                answer
            }
        }
    }

    /// Has an answer judged. What was taken whole is said the next time.
    async fn take(&mut self, answer: Answer) {
        let had_nothing = std::mem::replace(&mut self.has_nothing, answer == Answer::Nothing);
        let text = match answer {
            Answer::Response(text) => text,
            Answer::Nothing if !had_nothing => return self.letterbox.put(self.plan.id, Event::Nothing(self.kind)),
            Answer::Nothing | Answer::Unchanged => return,
            Answer::Failed(why) => {
                self.is_connected = false;
                return self.letterbox.put(self.plan.id, Event::Lost { why });
            }
        };
        let source = &self.plan.source;
        let update = match read_response(&source.to_string(), &text, source, self.kind, Unknown::Kept) {
            Ok(update) => update,
            Err(problems) => {
                let reason: Vec<String> = problems.iter().map(ToString::to_string).collect();
                return self.letterbox.put(self.plan.id, Event::Refused(self.kind, reason.join("; ")));
            }
        };
        let (version, bytes) = (update.version.clone(), text.len());
        drop(text);
        let (answer, verdict) = oneshot::channel();
        let (complaints, control_plane) = (Vec::new(), String::new());
        let response = Response { update, complaints, unwanted: 0, control_plane, bytes, answer };
        self.letterbox.put(self.plan.id, Event::Response(Box::new(response)));
        // Dropped unanswered: the process ends, or nobody wants this source any more.
        let refused: Result<Vec<Refusal>, _> = verdict.await;
        if refused.is_ok_and(|refused| refused.is_empty()) {
            self.poll.take(version);
        }
    }

    /// Until then, or until something is wanted that was not among these names: it is asked for at once.
    async fn pause(&mut self, until: Instant, asked: Option<Names>) {
        loop {
            match race(self.plan.wants.changed(), sleep_until(until.into())).await {
                // Nobody is left to want anything: this task is about to be ended.
                First::One(Err(_)) => return std::future::pending().await,
                First::One(Ok(())) => {
                    let wants = self.plan.wants.borrow_and_update();
                    let is_new = match (&asked, wants.get(&self.kind)) {
                        (_, None) => false,
                        (Some(Names::All), Some(_)) => false,
                        (Some(Names::These(asked)), Some(Names::These(names))) => !names.is_subset(asked),
                        (None, Some(_)) | (Some(Names::These(_)), Some(Names::All)) => true,
                    };
                    drop(wants);
                    if is_new {
                        // A server that answers by version alone would say that nothing changed.
                        self.poll.forget();
                        self.has_nothing = false;
                        return;
                    }
                }
                First::Other(()) => return,
            }
        }
    }
}
