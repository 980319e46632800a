//! One source's stream: the types that it carries, over any number of connections.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::interest::Interest;
use super::response::{self, Body, Malformed, Resource, ResourceError, Response};
use super::subscription::{Answer, HELD_MAX, Phase, ResourceType, Subscription};
use super::{delta, state_of_the_world};

/// The longest text of a NACK. A server logs it; the whole is in our own log.
const ERROR_BYTES_MAX: usize = 8 << 10;

/// Which of the protocol's two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Variant {
    StateOfTheWorld,
    Delta,
}

/// All types of one source.
#[derive(Debug)]
pub(crate) struct Stream {
    variant: Variant,
    /// An encoded `envoy.config.core.v3.Node`.
    node: Arc<[u8]>,
    /// Whether only the first request of a connection has it. Delta's others never do.
    is_node_said_once: bool,
    /// In the order in which requests are sent.
    subscriptions: Vec<Subscription>,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed,
    Open {
        /// Whether a request was sent, which had the node.
        has_node: bool,
        /// What was received and is not answered.
        judged: Option<Judged>,
    },
}

/// What is noted of a response until it has been judged.
#[derive(Debug)]
struct Judged {
    /// Of its type.
    at: usize,
    now: Instant,
    nonce: String,
    version: String,
    /// What can be accepted: name, version, TTL.
    changed: Vec<(String, String, Option<Duration>)>,
    removed: Vec<String>,
    refused: Vec<Refusal>,
}

/// What a response comes to.
#[derive(Debug)]
pub(crate) enum Received<'b> {
    /// For the cache. [`Stream::answer`] follows.
    Update(Update<'b>),
    /// All of it is refused, for this reason, and the NACK is written.
    Refused(ResourceType, String),
    /// Of a type that was never asked for, on a stream of several: an answer would ask for it.
    Unasked,
}

/// What a response changes.
#[derive(Debug)]
pub(crate) struct Update<'b> {
    pub(crate) kind: ResourceType,
    pub(crate) version: &'b str,
    /// Nothing besides `changed` is there any more, and nothing of it was left to be guessed.
    pub(crate) is_world: bool,
    /// Each name once, of the right type, and wanted.
    pub(crate) changed: Vec<(Resource<'b>, Body<'b>)>,
    /// The names of what is gone; some may never have been there.
    pub(crate) removed: Vec<String>,
    /// What the server could not give, though it may be there: what is held of it stays.
    pub(crate) failed: Vec<ResourceError<'b>>,
    /// How many resources nobody wants.
    pub(crate) unwanted: usize,
    /// `control_plane.identifier`.
    pub(crate) control_plane: &'b str,
}

/// A resource that is not taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) name: String,
    pub(crate) reason: String,
}

impl Stream {
    /// A stream of these types; of one alone where each type has its own.
    pub(crate) fn new(variant: Variant, node: impl Into<Arc<[u8]>>, kinds: &[ResourceType]) -> Self {
        assert!(!kinds.is_empty(), "a stream carries something");
        Self {
            variant,
            node: node.into(),
            is_node_said_once: true,
            subscriptions: kinds.iter().map(|kind| Subscription::new(*kind)).collect(),
            state: State::Closed,
        }
    }

    /// Says the node in each request of state of the world, as Envoy does unless `set_node_on_first_message_only`.
    pub(crate) fn say_node_each_time(&mut self) {
        self.is_node_said_once = false;
    }

    /// Holds these, which came before this stream was there, and of no version that a server knows: of what a server
    /// of delta does not send anew it has to say that it is gone.
    pub(crate) fn inherit(&mut self, kind: ResourceType, names: impl IntoIterator<Item = String>, now: Instant) {
        let found = self.subscriptions.iter_mut().find(|subscription| subscription.kind == kind);
        let subscription = found.expect("the stream carries this type");
        for name in names {
            if subscription.wanted.wants(&name) && subscription.held.len() < HELD_MAX {
                subscription.hold(name, String::new(), None, now);
            }
        }
    }

    /// Changes what is wanted of a type.
    pub(crate) fn want(&mut self, kind: ResourceType, wanted: Interest) {
        let found = self.subscriptions.iter_mut().find(|subscription| subscription.kind == kind);
        found.expect("the stream carries this type").want(wanted);
        self.check_invariants();
    }

    /// A connection is there.
    pub(crate) fn open(&mut self) {
        assert!(matches!(self.state, State::Closed), "one connection at a time");
        self.state = State::Open { has_node: false, judged: None };
    }

    /// The connection is gone, and with it all nonces. What is held stays.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
        self.subscriptions.iter_mut().for_each(|subscription| subscription.phase = Phase::Silent);
    }

    /// Whether [`Stream::request`] would give one.
    pub(crate) fn has_request(&self) -> bool {
        !self.is_closed() && self.subscriptions.iter().any(Subscription::has_request)
    }

    /// The next request, when there is room for it. `None`: there is nothing to say.
    pub(crate) fn request(&mut self) -> Option<Vec<u8>> {
        let State::Open { has_node, .. } = &mut self.state else { return None };
        let is_said = *has_node && (self.is_node_said_once || self.variant == Variant::Delta);
        let node = (!is_said).then_some(&*self.node);
        let request = self.subscriptions.iter_mut().find_map(|subscription| match self.variant {
            Variant::StateOfTheWorld => state_of_the_world::request(subscription, node),
            Variant::Delta => delta::request(subscription, node),
        });
        *has_node |= request.is_some();
        self.check_invariants();
        request
    }

    /// Takes one message of the server.
    ///
    /// # Errors
    /// There is no answer to what cannot be read: the caller closes the connection.
    ///
    /// # Panics
    /// Where the answer to the message before has not been taken by [`Stream::request`], or no connection is there.
    pub(crate) fn receive<'b>(&mut self, bytes: &'b [u8], now: Instant) -> Result<Received<'b>, Malformed> {
        let State::Open { judged, .. } = &self.state else { panic!("a message without a connection") };
        assert!(judged.is_none() && !self.is_owing(), "one response at a time");
        let response = match self.variant {
            Variant::StateOfTheWorld => response::state_of_the_world(bytes)?,
            Variant::Delta => response::delta(bytes)?,
        };
        if response.nonce.is_empty() {
            return Err(Malformed::Nonce);
        }
        let is_single = self.subscriptions.len() == 1;
        let at = match self.subscriptions.iter().position(|subscription| subscription.kind.has_url(response.type_url)) {
            Some(at) => at,
            // Where a stream has one type, a response need not say which; if it says another, that is refused.
            None if is_single && response.type_url.is_empty() => 0,
            None if is_single => {
                let reason = format!("{} is served here, not {:?}", self.subscriptions[0].kind.name, response.type_url);
                return Ok(self.refuse(0, &response, reason));
            }
            None => return Ok(Received::Unasked),
        };
        if matches!(self.subscriptions[at].phase, Phase::Silent) {
            return Ok(Received::Unasked);
        }
        // xDS, "Duplicate Resource Names". And what has no name might be any of those that are held.
        let mut names = BTreeSet::new();
        for resource in &response.resources {
            let reason = match resource.name {
                "" => "a resource without a name".to_owned(),
                name if !names.insert(name) => format!("{name:?} is there twice"),
                _ => continue,
            };
            return Ok(self.refuse(at, &response, reason));
        }
        let update = self.update(at, response, &names, now);
        self.check_invariants();
        Ok(Received::Update(update))
    }

    /// Refuses a response as a whole.
    fn refuse<'b>(&mut self, at: usize, response: &Response<'_>, reason: String) -> Received<'b> {
        self.owe(at, Answer { nonce: response.nonce.to_owned(), error: Some(bounded(reason.clone())) });
        self.check_invariants();
        Received::Refused(self.subscriptions[at].kind, reason)
    }

    /// What the response changes, and what is to be remembered of it.
    fn update<'b>(&mut self, at: usize, response: Response<'b>, names: &BTreeSet<&str>, now: Instant) -> Update<'b> {
        let subscription = &mut self.subscriptions[at];
        let kind = subscription.kind;
        let (mut changed, mut refused, mut unwanted, mut beats) = (Vec::new(), Vec::new(), 0, 0);
        let count = response.resources.len();
        let mut refuse = |name: &str, reason: String| refused.push(Refusal { name: name.to_owned(), reason });
        let mut room = HELD_MAX.saturating_sub(subscription.held.len());
        for mut resource in response.resources {
            if resource.version.is_empty() {
                resource.version = response.version;
            }
            match resource.body {
                None if subscription.heartbeat(resource.name, resource.version, resource.ttl, now) => beats += 1,
                _ if !subscription.wanted.wants(resource.name) => {
                    unwanted += 1;
                    if self.variant == Variant::StateOfTheWorld {
                        subscription.pass_over(resource.name);
                    }
                }
                None => refuse(resource.name, "a heartbeat of a resource or a version that is not held".into()),
                Some(body) if !kind.has_url(body.type_url) => {
                    refuse(resource.name, format!("{:?} among resources of type {}", body.type_url, kind.name));
                }
                Some(_) if room == 0 && !subscription.held.contains_key(resource.name) => {
                    refuse(resource.name, format!("more than {HELD_MAX} resources"));
                }
                Some(body) => {
                    room -= usize::from(!subscription.held.contains_key(resource.name));
                    changed.push((resource, body));
                }
            }
        }
        let (gone, failed): (Vec<_>, Vec<_>) = response.errors.into_iter().partition(ResourceError::is_not_found);
        let gone = gone.into_iter().map(|error| error.name).chain(response.removed);
        let mut removed: Vec<String> = gone.filter(|name| !names.contains(name)).map(str::to_owned).collect();
        // What state of the world leaves out is deleted; but a response of heartbeats alone is no state of the world, and one
        // with resources of another type may not be of this type at all.
        let is_world = self.variant == Variant::StateOfTheWorld
            && kind.is_whole
            && (beats == 0 || beats < count)
            && refused.is_empty();
        if is_world {
            let spared = |name: &str| names.contains(name) || failed.iter().any(|error| error.name == name);
            removed.extend(subscription.held.keys().filter(|name| !spared(name)).cloned());
        }
        let is_all = is_world && beats == 0 && failed.is_empty();
        let accepted = |(resource, _): &(Resource<'_>, Body<'_>)| {
            (resource.name.to_owned(), resource.version.to_owned(), resource.ttl)
        };
        let noted = Judged {
            at,
            now,
            nonce: response.nonce.to_owned(),
            version: response.version.to_owned(),
            changed: changed.iter().map(accepted).collect(),
            removed: removed.clone(),
            refused,
        };
        if let State::Open { judged, .. } = &mut self.state {
            *judged = Some(noted);
        }
        let (version, control_plane) = (response.version, response.control_plane);
        Update { kind, version, is_world: is_all, changed, removed, failed, unwanted, control_plane }
    }

    /// Answers the last update: an ACK, or a NACK where the cache or we refuse some of it. What is not refused is held
    /// from now on; of what is refused, the version before. Gives whether it is a NACK.
    ///
    /// # Panics
    /// Where there is none to answer.
    pub(crate) fn answer(&mut self, refused: Vec<Refusal>) -> bool {
        let State::Open { judged, .. } = &mut self.state else { panic!("an answer without a connection") };
        let Judged { at, now, nonce, version, changed, removed, refused: mut all } =
            judged.take().expect("there is something to answer");
        all.extend(refused);
        let bad: BTreeSet<&str> = all.iter().map(|refusal| refusal.name.as_str()).collect();
        let subscription = &mut self.subscriptions[at];
        for (name, version, ttl) in changed {
            // It may have become unwanted while it was judged.
            if !bad.contains(name.as_str()) && subscription.wanted.wants(&name) {
                subscription.hold(name, version, ttl, now);
            }
        }
        removed.iter().for_each(|name| subscription.drop(name));
        let error = (!all.is_empty()).then(|| {
            let lines: Vec<String> = all.iter().map(|Refusal { name, reason }| format!("{name:?}: {reason}")).collect();
            bounded(lines.join("\n"))
        });
        if error.is_none() {
            subscription.version = version;
        }
        let is_nack = error.is_some();
        self.owe(at, Answer { nonce, error });
        self.check_invariants();
        is_nack
    }

    fn owe(&mut self, at: usize, answer: Answer) {
        let Phase::Asked { nonce, owed, .. } = &mut self.subscriptions[at].phase else {
            unreachable!("a response to nothing was passed over")
        };
        assert!(owed.is_none(), "each response has an answer of its own");
        nonce.clone_from(&answer.nonce);
        *owed = Some(answer);
    }

    /// Whether an answer waits for room on the wire. Then nothing more is read: a server that takes no answers sends no
    /// updates.
    pub(crate) fn is_owing(&self) -> bool {
        self.subscriptions.iter().any(|subscription| matches!(subscription.phase, Phase::Asked { owed: Some(_), .. }))
    }

    /// Whether no connection is there.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// When [`Stream::expire`] is to be called next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.subscriptions.iter().filter_map(Subscription::deadline).min()
    }

    /// The resources whose TTL is over. They are gone, whether the server is there or not.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(ResourceType, String)> {
        let mut gone = Vec::new();
        for subscription in &mut self.subscriptions {
            let kind = subscription.kind;
            gone.extend(subscription.expire(now).into_iter().map(|name| (kind, name)));
        }
        self.check_invariants();
        gone
    }

    /// Another state of the first type than the protocol leads to in a test's time.
    #[cfg(test)]
    pub(super) fn replace(&mut self, subscription: Subscription) {
        self.subscriptions[0] = subscription;
    }

    fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            self.subscriptions.iter().for_each(Subscription::check_invariants);
            let is_closed = self.is_closed();
            let silent = |subscription: &Subscription| matches!(subscription.phase, Phase::Silent);
            assert!(!is_closed || self.subscriptions.iter().all(silent), "nothing was asked of nobody");
        }
    }
}

/// At most [`ERROR_BYTES_MAX`] of a text.
fn bounded(mut text: String) -> String {
    if text.len() > ERROR_BYTES_MAX {
        text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
        text.push_str(" …");
    }
    text
}
