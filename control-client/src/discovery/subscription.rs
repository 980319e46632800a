//! One type of resources of one source: what is wanted of it, what is held, and how far the stream has come with it.
//!
//! ```text
//!            request            response             request (ACK, NACK)
//!   Silent ───────────> Asked ─────────────> Asked, owed ───────────────> Asked
//!      ^                                                                     │
//!      └────────────────────── the stream is closed ─────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::interest::Interest;

/// A type of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceType {
    /// The full name of the message.
    pub(crate) name: &'static str,
    /// Whether a response in state of the world has all that there are, so that what it leaves out is deleted (xDS,
    /// "Deleting Resources"). Of other types a resource goes when nobody refers to it.
    pub(crate) is_whole: bool,
}

impl ResourceType {
    /// What names it in requests.
    pub(crate) fn url(&self) -> String {
        format!("{HOST}{}", self.name)
    }

    /// Whether this URL names it. Any host will do.
    pub(crate) fn has_url(&self, url: &str) -> bool {
        url.rsplit_once('/').is_some_and(|(_, name)| name == self.name)
    }
}

/// What stands before the name of a type in its URL.
const HOST: &str = "type.googleapis.com/";

/// The most resources of one type that are held, as many as one response may have: 25 times what is seen. A server that
/// sends more is refused what is too much; these take 120 bytes each and their names.
pub(crate) const HELD_MAX: usize = 256 << 10;

/// Lives as long as the source.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) kind: ResourceType,
    pub(super) wanted: Arc<Interest>,
    /// What was given up since the server was last told, and is not held: if it is wanted again, the server has to hear
    /// of both, or it believes that we have it.
    lost: Interest,
    /// Of the last response that was accepted as a whole.
    pub(super) version: String,
    /// By name, what was accepted and is still there.
    pub(super) held: BTreeMap<String, Held>,
    /// When TTLs end, the next one first.
    expiries: BTreeSet<(Instant, String)>,
    pub(super) phase: Phase,
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) version: String,
    expires: Option<Instant>,
}

/// How far the stream that is open has come.
#[derive(Debug)]
pub(super) enum Phase {
    Silent,
    Asked {
        /// What the server was told last.
        sent: Arc<Interest>,
        /// Whether it was ever told a name, since when an empty list is no wildcard.
        has_named: bool,
        /// Of the last response.
        nonce: String,
        owed: Option<Answer>,
    },
}

/// What is to be said to a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) nonce: String,
    /// `None`: an ACK.
    pub(super) error: Option<String>,
}

impl Subscription {
    pub(super) fn new(kind: ResourceType) -> Self {
        Self {
            kind,
            wanted: Arc::default(),
            lost: Interest::default(),
            version: String::new(),
            held: BTreeMap::new(),
            expiries: BTreeSet::new(),
            phase: Phase::Silent,
        }
    }

    /// Changes what is wanted. What is not wanted any more is not held.
    pub(super) fn want(&mut self, wanted: Interest) {
        if *self.wanted == wanted {
            return;
        }
        if !wanted.is_wildcard {
            let gone: Vec<String> = self.held.keys().filter(|name| !wanted.names.contains(*name)).cloned().collect();
            gone.iter().for_each(|name| self.drop(name));
            let given_up = self.wanted.without(&wanted);
            self.lost.is_wildcard |= given_up.is_wildcard;
            self.lost.names.extend(given_up.names);
        }
        self.wanted = Arc::new(wanted);
    }

    /// Notes that something was sent which is not wanted. Who sends it believes that it is: a request that said
    /// otherwise is still on its way, or was passed over, because this response made its nonce a stale one.
    pub(super) fn pass_over(&mut self, name: &str) {
        if let Phase::Asked { sent, .. } = &mut self.phase {
            Arc::make_mut(sent).names.insert(name.to_owned());
            self.lost.names.insert(name.to_owned());
        }
    }

    /// What the server is to be told next; it is what is wanted, or what comes before that. `None`: it knows.
    pub(super) fn next(&self) -> Option<Arc<Interest>> {
        match &self.phase {
            Phase::Silent if self.wanted.is_empty() => None,
            Phase::Silent => Some(Arc::clone(&self.wanted)),
            Phase::Asked { sent, .. } if self.lost.is_hidden(&self.wanted, sent) => {
                Some(Arc::new(sent.without(&self.lost)))
            }
            Phase::Asked { sent, .. } => (*sent != self.wanted).then(|| Arc::clone(&self.wanted)),
        }
    }

    /// Whether there is something to say.
    pub(super) fn has_request(&self) -> bool {
        matches!(self.phase, Phase::Asked { owed: Some(_), .. }) || self.next().is_some()
    }

    /// Notes what the server has been told; gives what it was told before.
    pub(super) fn told(&mut self, interest: Arc<Interest>, names: bool) -> Arc<Interest> {
        if interest == self.wanted {
            self.lost = Interest::default();
        }
        match &mut self.phase {
            Phase::Silent => {
                self.phase = Phase::Asked { sent: interest, has_named: names, nonce: String::new(), owed: None };
                Arc::default()
            }
            Phase::Asked { sent, has_named, .. } => {
                *has_named |= names;
                std::mem::replace(sent, interest)
            }
        }
    }

    /// Notes a resource that was accepted.
    pub(super) fn hold(&mut self, name: String, version: String, ttl: Option<Duration>, now: Instant) {
        self.drop(&name);
        self.held.insert(name.clone(), Held { version, expires: None });
        self.renew(&name, ttl, now);
    }

    /// A heartbeat: the timer begins anew, or ends. False where there is no such resource of this version.
    pub(super) fn heartbeat(&mut self, name: &str, version: &str, ttl: Option<Duration>, now: Instant) -> bool {
        let known = self.held.get(name).is_some_and(|held| held.version == version);
        if known {
            self.renew(name, ttl, now);
        }
        known
    }

    fn renew(&mut self, name: &str, ttl: Option<Duration>, now: Instant) {
        let Some(held) = self.held.get_mut(name) else { return };
        if let Some(before) = held.expires.take() {
            self.expiries.remove(&(before, name.to_owned()));
        }
        // What is beyond the clock's end never comes.
        held.expires = ttl.and_then(|ttl| now.checked_add(ttl));
        self.expiries.extend(held.expires.map(|at| (at, name.to_owned())));
    }

    /// Forgets a resource. One that is not held is no mistake.
    pub(super) fn drop(&mut self, name: &str) {
        if let Some(Held { expires: Some(at), .. }) = self.held.remove(name) {
            self.expiries.remove(&(at, name.to_owned()));
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// The resources whose TTL is over, which are not held any more.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<String> {
        let mut gone = Vec::new();
        while let Some((at, name)) = self.expiries.pop_first() {
            if at > now {
                self.expiries.insert((at, name));
                break;
            }
            self.held.remove(&name);
            gone.push(name);
        }
        gone
    }

    pub(super) fn check_invariants(&self) {
        let timed = self.held.values().filter(|held| held.expires.is_some()).count();
        assert_eq!(timed, self.expiries.len(), "each TTL has its timer");
        assert!(self.held.keys().all(|name| self.wanted.wants(name)), "what is held is wanted");
        if let Phase::Asked { nonce, owed: Some(answer), .. } = &self.phase {
            assert_eq!(*nonce, answer.nonce, "the last response is the one that is answered");
        }
    }
}
