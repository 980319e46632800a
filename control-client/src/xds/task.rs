//! One stream: connecting, asking, answering, and doing so again for as long as somebody wants something of it.
//!
//! ```text
//!             dialled, HTTP/2 is there
//!   Dialling ───────────────────────────> Open
//!      ^  │ it could not be                 │ it ended
//!      │  └────────────> Waiting <──────────┘
//!      └─ the backoff is over ─┘
//! ```
//! While it waits, what is wanted is followed and TTLs go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use tokio::time::sleep_until;

use super::dial::Dialler;
use super::letterbox::{Event, Letterbox, Response, StreamId};
use super::tokens::Tokens;
use super::{parse, service};
use crate::api_source::{ApiSource, Service};
use crate::cache::{ConfigSource, Kind, Names, Roots};
use crate::chance::Chance;
use crate::discovery::{Backoff, Received, Refusal, Stream, Variant};
use crate::grpc::{self, Call};
use crate::race::{First, race};

/// NACKs that go out at once, and the pace of those behind them: a server that sends the same wrong resource after each NACK is
/// answered once a second.
const NACKS_AT_ONCE: u32 = 8;
const NACK_INTERVAL: Duration = Duration::from_secs(1);
/// A connection that has lasted so long is one, though nothing came by it: nothing may have changed.
const PROVEN_AFTER: Duration = Duration::from_secs(1);

/// What is wanted of each kind; of a kind that is not named nothing.
pub(super) type Wants = BTreeMap<Kind, Names>;

/// What a stream is for.
pub(super) struct Plan {
    pub(super) id: StreamId,
    pub(super) source: Arc<ConfigSource>,
    pub(super) api: Arc<ApiSource>,
    /// `None`: all of them, by ADS.
    pub(super) kind: Option<Kind>,
    pub(super) node: Arc<[u8]>,
    /// What the cache has of this source already, by kind.
    pub(super) inherited: Vec<(Kind, Vec<String>)>,
    pub(super) wants: watch::Receiver<Wants>,
    /// Where clusters are found, as of now.
    pub(super) roots: watch::Receiver<Arc<Roots>>,
}

/// See the module.
pub(super) struct Task {
    plan: Plan,
    variant: Variant,
    stream: Stream,
    letterbox: Letterbox,
    /// Of each service.
    backoffs: Vec<Backoff>,
    dialler: Dialler,
    chance: Chance,
    requests: Option<Tokens>,
    nacks: Tokens,
    /// A request waits for its token, and that was said.
    is_limited: bool,
}

impl Task {
    pub(super) fn new(plan: Plan, variant: Variant, letterbox: Letterbox) -> Self {
        let now = Instant::now();
        let api = &plan.api;
        let kinds = plan.kind.map_or(service::ORDER.to_vec(), |kind| vec![kind]);
        let types: Vec<_> = kinds.into_iter().map(service::resource_type).collect();
        let mut stream = Stream::new(variant, plan.node.clone(), &types);
        if !api.is_node_said_once {
            stream.say_node_each_time();
        }
        let backoffs = api.services.iter().map(|service| Backoff::new(service.backoff_base, service.backoff_max));
        let requests = api.rate_limit.map(|limit| Tokens::new(limit.burst, limit.interval, now));
        Self {
            backoffs: backoffs.collect(),
            requests,
            nacks: Tokens::new(NACKS_AT_ONCE, NACK_INTERVAL, now),
            stream,
            letterbox,
            dialler: Dialler::default(),
            chance: Chance::new(),
            is_limited: false,
            variant,
            plan,
        }
    }

    /// Until nobody wants anything of it any more.
    pub(super) async fn run(mut self) {
        self.want();
        for (kind, names) in std::mem::take(&mut self.plan.inherited) {
            self.stream.inherit(service::resource_type(kind), names, Instant::now());
        }
        let count = self.plan.api.services.len();
        for turn in (0..count).cycle() {
            let service = self.plan.api.services[turn].clone();
            let why = match self.dial(&service).await {
                Ok((call, address)) => {
                    self.letterbox.put(self.plan.id, Event::Connected(address.clone()));
                    self.stream.open();
                    let why = self.talk(call, turn).await;
                    self.stream.close();
                    format!("{address}: {why}")
                }
                Err(why) => why,
            };
            self.letterbox.put(self.plan.id, Event::Lost { why });
            let wait = self.backoffs[turn].next(self.chance.next());
            self.pause(wait).await;
        }
    }

    /// Takes up what is wanted now.
    fn want(&mut self) {
        let wants = self.plan.wants.borrow_and_update();
        let kinds = self.plan.kind.map_or(service::ORDER.to_vec(), |kind| vec![kind]);
        for kind in kinds {
            let interest = wants.get(&kind).map(service::interest).unwrap_or_default();
            self.stream.want(service::resource_type(kind), interest);
        }
    }

    async fn dial(&mut self, service: &Service) -> Result<(Call, String), String> {
        let roots = self.plan.roots.borrow().clone();
        let variant = self.variant;
        let path = self.plan.kind.map_or(service::aggregated(variant), |kind| service::method(kind, variant));
        self.dialler.call(&roots.clusters, service, path).await
    }

    /// Asks and answers until the call is over, and says why it is.
    async fn talk(&mut self, mut call: Call, turn: usize) -> String {
        let mut proven = Some(Instant::now() + PROVEN_AFTER);
        // The answer that is owed is a NACK, and one too many.
        let mut held_until: Option<Instant> = None;
        loop {
            let now = Instant::now();
            held_until = held_until.filter(|until| *until > now);
            let mut again = held_until;
            if call.has_room() && held_until.is_none() {
                again = self.say(&mut call, now);
            }
            let reads = !self.stream.is_owing();
            let deadline = [again, proven, self.stream.deadline()].into_iter().flatten().min();
            let next = async { if reads { call.next().await } else { call.room().await } };
            let due = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            match race(self.plan.wants.changed(), race(due, next)).await {
                First::One(_) => self.want(),
                First::Other(First::One(())) => {
                    if proven.is_some_and(|at| at <= Instant::now()) {
                        proven = None;
                        self.letterbox.put(self.plan.id, Event::Proven);
                    }
                    self.expire();
                }
                First::Other(First::Other(Ok(grpc::Event::Room))) => {}
                First::Other(First::Other(Ok(grpc::Event::Message(message)))) => match self.hear(&message).await {
                    Ok(is_nack) => {
                        self.backoffs[turn].reset();
                        if proven.take().is_some() {
                            self.letterbox.put(self.plan.id, Event::Proven);
                        }
                        if is_nack {
                            held_until = self.nacks.take(Instant::now()).err();
                        }
                    }
                    Err(why) => return why,
                },
                First::Other(First::Other(Err(ended))) => return ended.to_string(),
            }
        }
    }

    /// Sends the next request, if there is one and it may be sent. `Some`: when it may.
    fn say(&mut self, call: &mut Call, now: Instant) -> Option<Instant> {
        if !self.stream.has_request() {
            self.limited(false);
            return None;
        }
        if let Some(Err(until)) = self.requests.as_mut().map(|tokens| tokens.take(now)) {
            self.limited(true);
            return Some(until);
        }
        self.limited(false);
        let request = self.stream.request().expect("there is one");
        call.send(&request);
        None
    }

    fn limited(&mut self, is_limited: bool) {
        if self.is_limited != is_limited {
            self.is_limited = is_limited;
            self.letterbox.put(self.plan.id, Event::Limited(is_limited));
        }
    }

    /// Takes a message, has it judged, and notes the answer: whether that is a NACK.
    ///
    /// # Errors
    /// Why the call has to end.
    async fn hear(&mut self, message: &Bytes) -> Result<bool, String> {
        let received = self.stream.receive(message, Instant::now()).map_err(|malformed| malformed.to_string())?;
        let update = match received {
            Received::Update(update) => update,
            Received::Refused(kind, reason) => {
                self.letterbox.put(self.plan.id, Event::Refused(service::kind(kind), reason));
                return Ok(true);
            }
            Received::Unasked => return Ok(false),
        };
        let (complaints, unwanted) = (parse::complaints(&update), update.unwanted);
        let control_plane = update.control_plane.to_owned();
        let update = parse::update(&self.plan.source, message, update);
        let (answer, verdict) = oneshot::channel();
        let bytes = message.len();
        let response = Response { update, complaints, unwanted, control_plane, bytes, answer };
        self.letterbox.put(self.plan.id, Event::Response(Box::new(response)));
        // Dropped unanswered: the process ends, or nobody wants this stream any more.
        let refused: Vec<Refusal> = verdict.await.map_err(|_| "nobody is left to judge".to_owned())?;
        Ok(self.stream.answer(refused))
    }

    /// Tells of what nobody renewed.
    fn expire(&mut self) {
        let mut gone: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
        for (of, name) in self.stream.expire(Instant::now()) {
            gone.entry(service::kind(of)).or_default().push(name);
        }
        for (kind, names) in gone {
            self.letterbox.put(self.plan.id, Event::Expired(kind, names));
        }
    }

    /// Waits, and follows meanwhile what need not wait.
    async fn pause(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        while Instant::now() < until {
            let next = self.stream.deadline().map_or(until, |deadline| deadline.min(until));
            match race(self.plan.wants.changed(), sleep_until(next.into())).await {
                // Nobody is left to want anything: this task is about to be ended.
                First::One(Err(_)) => return std::future::pending().await,
                First::One(Ok(())) => self.want(),
                First::Other(()) => self.expire(),
            }
        }
    }
}
