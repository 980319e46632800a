//! The control thread's end of the streams: which there are, what they want, and what they brought.
//!
//! A stream is there as long as something is wanted of its source: one for all kinds by ADS, one for each kind by
//! `api_config_source`. Another bootstrap leaves it alone where its server is described as before; else another stream
//! takes its place, and what has come stays.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::bundle::Bundle;
use super::letterbox::{Event, Letter, Letterbox, Response, StreamId};
use super::poller::Poller;
use super::service;
use super::task::{Plan, Task, Wants};
use crate::api_source::{ApiSource, Form};
use crate::brought::Brought;
use crate::cache::{Cache, Change, ConfigSource, Counted, Kind, Moment, Roots, Scope, Subscription, Update, Verdict};
use crate::discovery::Refusal;
use crate::tls::TlsContexts;

/// For trees that are a hundred messages deep.
const STACK_SIZE: usize = 2 << 20;
/// Look-ups of servers' names by the C library, which waits.
const LIBRARY_THREADS_MAX: usize = 2;
/// Responses of at most so many bytes are judged where the caller is, not on a thread of their own: what they need
/// meanwhile is as little.
const LIGHT_BYTES: usize = 64 << 10;
/// Reasons why a server cannot be reached that are remembered, so that each is said once.
const REASONS_MAX: usize = 8;

/// See the module.
pub struct Streams {
    letterbox: Letterbox,
    /// Started by the first stream.
    orders: Option<mpsc::UnboundedSender<Order>>,
    running: BTreeMap<Key, Running>,
    next: StreamId,
    roots: watch::Sender<Arc<Roots>>,
    /// What was wanted when this was last settled, as [`Cache::wants_serial`] has it.
    settled: Option<u64>,
    lines: Vec<Line>,
    limited_count: u64,
}

/// A source, and its kind where that has a stream of its own.
type Key = (Arc<ConfigSource>, Option<Kind>);

struct Running {
    id: StreamId,
    api: Arc<ApiSource>,
    wants: watch::Sender<Wants>,
    state: State,
    /// `control_plane.identifier` of its last response.
    identifier: String,
    is_limited: bool,
    /// What belongs together, of a stream for all kinds.
    bundle: Bundle,
    /// What was refused last of each kind, so that the same is said once.
    refused: BTreeMap<Kind, u64>,
}

/// How its server is.
enum State {
    /// Nothing is known yet.
    New,
    /// A connection is there, to this address; it may not last.
    Connected(String, Reasons),
    /// It has lasted.
    Proven,
    /// There is none.
    Lost(Reasons),
}

/// Why there was none since there last was one, as far as was said.
type Reasons = BTreeSet<String>;

enum Order {
    Start(Box<Plan>),
    Stop(StreamId),
}

/// Something for the log.
#[derive(Clone, Debug)]
pub struct Line {
    /// It is bad news.
    pub is_warning: bool,
    /// The text.
    pub text: String,
}

/// What is shown of all streams together: Envoy's `control_plane.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlPlane {
    /// Whether each stream has a connection; with none there is nothing to connect to.
    pub is_connected: bool,
    /// What the server of ADS, or else of the first stream, calls itself; may be empty.
    pub identifier: String,
    /// Requests that wait because of `rate_limit_settings`.
    pub pending_requests: u64,
    /// How often one had to.
    pub rate_limit_enforced: u64,
}

impl Streams {
    /// None yet. `ring` is called, on a thread of its own, when there is something for [`Streams::bring`].
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Streams {
        Streams {
            letterbox: Letterbox::new(ring),
            orders: None,
            running: BTreeMap::new(),
            next: 0,
            roots: watch::Sender::default(),
            settled: None,
            lines: Vec::new(),
            limited_count: 0,
        }
    }

    /// Whether what has come is so little that it may be brought at once.
    pub fn is_light(&self) -> bool {
        self.letterbox.bytes() <= LIGHT_BYTES
    }

    /// Brings the cache what has come, and has each response answered. Gives what came, and whose statistics count
    /// that a server was lost.
    pub fn bring(&mut self, cache: &mut Cache, contexts: &mut TlsContexts, at: Moment) -> (Vec<Brought>, Vec<Scope>) {
        let (mut brought, mut lost) = (Vec::new(), Vec::new());
        let letters = self.letterbox.take();
        if letters.is_empty() {
            return (brought, lost);
        }
        contexts.resume();
        let mut came = BTreeSet::new();
        for Letter { id, event } in letters {
            // One that was stopped meanwhile has nothing to say any more.
            let Some((key, running)) = self.running.iter_mut().find(|(_, running)| running.id == id) else { continue };
            let (source, name) = (&key.0, name(key));
            let mut say = |is_warning, text: String| self.lines.push(Line { is_warning, text });
            match event {
                Event::Response(response) => {
                    let Response { update, complaints, unwanted, control_plane, answer, .. } = *response;
                    running.identifier = control_plane;
                    complaints.into_iter().for_each(|complaint| say(true, format!("{name}: {complaint}")));
                    let kind = update.kind;
                    if key.1.is_none() {
                        running.bundle.hear(kind, &update.version, at.instant);
                    }
                    let began = Instant::now();
                    let mut verdict = cache.apply(update, contexts, at);
                    let took = began.elapsed();
                    // Those of what came: a source may have thousands that a response says nothing about.
                    let scopes = verdict.counted.iter().map(|counted| counted.scope.clone()).collect();
                    verdict.unwanted += unwanted;
                    // Who waits for it may have gone.
                    let _ = answer.send(refusals(&verdict));
                    came.extend(verdict.is_change.then_some(kind));
                    if running.is_said(kind, &verdict) {
                        verdict.refused.clear();
                    }
                    brought.push(Brought { source: source.clone(), kind, outcome: Ok(verdict), scopes, took });
                }
                Event::Refused(kind, reason) => {
                    say(true, format!("{name}: a response of type {} is refused: {reason}", kind.type_name()));
                    let scopes = cache.failed(source, kind);
                    let counted = scopes.iter().map(|scope| Counted { scope: scope.clone(), accepted: None });
                    let verdict = Verdict { counted: counted.collect(), ..Verdict::default() };
                    let took = Duration::ZERO;
                    brought.push(Brought { source: source.clone(), kind, outcome: Ok(verdict), scopes, took });
                }
                Event::Nothing(kind) => {
                    say(false, format!("{name}: the server has none"));
                    lost.extend(cache.has_none(source, kind));
                }
                Event::Expired(kind, removed) => {
                    say(
                        true,
                        format!("{name}: the time of {} resources of {} is over", removed.len(), kind.type_name()),
                    );
                    let change = Change::Delta { changed: Vec::new(), removed };
                    let update = Update { source: source.clone(), kind, version: String::new(), change };
                    let counted = Vec::new();
                    let verdict = Verdict { counted, ..cache.apply(update, contexts, at) };
                    came.extend(verdict.is_change.then_some(kind));
                    let (outcome, scopes, took) = (Ok(verdict), Vec::new(), Duration::ZERO);
                    brought.push(Brought { source: source.clone(), kind, outcome, scopes, took });
                }
                Event::Connected(address) => running.state.connected(address),
                Event::Proven => {
                    if let Some(address) = running.state.proven() {
                        say(false, format!("{name}: connected to {address}"));
                    }
                }
                Event::Lost { why } => {
                    if running.state.lost(&why) {
                        say(true, format!("{name}: {why}; what has come stays, and it is tried again"));
                    }
                    let wants = running.wants.borrow();
                    lost.extend(wants.keys().flat_map(|kind| cache.scopes(source, *kind)));
                }
                Event::Limited(is_limited) => {
                    running.is_limited = is_limited;
                    self.limited_count += u64::from(is_limited);
                }
            }
        }
        cache.retry_after(&came, contexts, at);
        contexts.end();
        (brought, lost)
    }

    /// Until when what has come is to wait for what belongs to it, `wait` from its beginning (`Bundle::held_until`, which is to be asked again
    /// then); `None`: nothing is missing. One stream at most has several types.
    pub fn held_until(&mut self, wait: Duration, now: Instant) -> Option<Instant> {
        self.running.values_mut().filter_map(|running| running.bundle.held_until(wait, now)).max()
    }

    /// Tells the streams what is wanted, after the cache has settled: begins those that are missing and ends those of which
    /// nothing is wanted.
    pub fn settle(&mut self, cache: &Cache) {
        if self.settled.replace(cache.wants_serial()) == Some(cache.wants_serial()) {
            return;
        }
        let roots = cache.roots();
        if !Arc::ptr_eq(&self.roots.borrow(), roots) {
            self.roots.send_replace(roots.clone());
        }
        let mut wanted: BTreeMap<Key, (Arc<ApiSource>, Wants)> = BTreeMap::new();
        for Subscription { source, kind, names } in cache.wanted() {
            let (api, of) = match &*source {
                ConfigSource::Path { .. } | ConfigSource::Directory { .. } => continue,
                ConfigSource::Ads => (roots.ads.clone(), None),
                ConfigSource::Api(api) => (Some(api.clone()), Some(kind)),
            };
            // A resource of a bootstrap before this one may still name the ADS that is no more.
            let Some(api) = api else { continue };
            wanted.entry((source, of)).or_insert_with(|| (api, Wants::new())).1.insert(kind, names);
        }
        let is_stale = |key: &Key, running: &Running| wanted.get(key).is_none_or(|(api, _)| *api != running.api);
        let stale: Vec<Key> =
            self.running.iter().filter(|(key, running)| is_stale(key, running)).map(|(key, _)| key.clone()).collect();
        for key in stale {
            let running = self.running.remove(&key).expect("just found");
            self.order(Order::Stop(running.id));
        }
        for (key, (api, wants)) in wanted {
            match self.running.get_mut(&key) {
                Some(running) => {
                    running.bundle.want(wants.keys().copied());
                    running.wants.send_if_modified(|before| {
                        let is_other = *before != wants;
                        *before = wants;
                        is_other
                    });
                }
                None => self.start(key, api, wants, cache),
            }
        }
        if self.running.is_empty() {
            self.orders = None;
        }
    }

    /// What there is to say since the last call.
    pub fn lines(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    /// How the servers are.
    pub fn control_plane(&self) -> ControlPlane {
        let mut all = self.running.values();
        let is_connected = |running: &Running| matches!(running.state, State::Connected(..) | State::Proven);
        ControlPlane {
            is_connected: !self.running.is_empty() && all.clone().all(is_connected),
            pending_requests: all.clone().filter(|running| running.is_limited).count() as u64,
            rate_limit_enforced: self.limited_count,
            identifier: all
                .find(|running| !running.identifier.is_empty())
                .map_or_else(String::new, |running| running.identifier.clone()),
        }
    }

    fn start(&mut self, key: Key, api: Arc<ApiSource>, wants: Wants, cache: &Cache) {
        self.next += 1;
        let id = self.next;
        let kinds = key.1.map_or(service::ORDER.to_vec(), |kind| vec![kind]);
        let inherited = kinds.into_iter().map(|kind| (kind, cache.versions(&key.0, kind).into_keys().collect()));
        let (wants, receiver) = watch::channel(wants);
        let plan = Plan {
            id,
            source: key.0.clone(),
            api: api.clone(),
            kind: key.1,
            node: cache.roots().node.clone(),
            inherited: inherited.collect(),
            wants: receiver,
            roots: self.roots.subscribe(),
        };
        if self.orders.is_none() {
            match begin(self.letterbox.clone()) {
                Ok(orders) => self.orders = Some(orders),
                Err(error) => {
                    let text = format!("no thread to ask management servers: {error}; a reload tries again");
                    self.lines.push(Line { is_warning: true, text });
                    self.settled = None;
                    return;
                }
            }
        }
        self.order(Order::Start(Box::new(plan)));
        let mut bundle = Bundle::default();
        bundle.want(wants.borrow().keys().copied());
        let (state, identifier, refused) = (State::New, String::new(), BTreeMap::new());
        self.running.insert(key, Running { id, api, wants, state, identifier, is_limited: false, bundle, refused });
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The thread ends only with this handle.
            let _ = orders.send(order);
        }
    }
}

impl Running {
    /// Whether just this was refused of a kind the last time, too.
    fn is_said(&mut self, kind: Kind, verdict: &Verdict) -> bool {
        if verdict.refused.is_empty() {
            self.refused.remove(&kind);
            return false;
        }
        let mut hasher = DefaultHasher::new();
        for refused in &verdict.refused {
            refused.name.hash(&mut hasher);
            refused.problems.iter().for_each(|problem| (&problem.path, &problem.rule).hash(&mut hasher));
        }
        let hash = hasher.finish();
        self.refused.insert(kind, hash) == Some(hash)
    }
}

impl State {
    fn connected(&mut self, address: String) {
        let reasons = match std::mem::replace(self, State::New) {
            State::Lost(reasons) | State::Connected(_, reasons) => reasons,
            State::New | State::Proven => Reasons::new(),
        };
        *self = State::Connected(address, reasons);
    }

    /// The address, where that is news.
    fn proven(&mut self) -> Option<String> {
        match std::mem::replace(self, State::Proven) {
            State::Connected(address, _) => Some(address),
            State::New | State::Proven | State::Lost(_) => None,
        }
    }

    /// Whether that is news.
    fn lost(&mut self, why: &str) -> bool {
        let mut reasons = match std::mem::replace(self, State::New) {
            State::Lost(reasons) | State::Connected(_, reasons) => reasons,
            State::New | State::Proven => Reasons::new(),
        };
        let is_news = reasons.len() < REASONS_MAX && reasons.insert(why.to_owned());
        *self = State::Lost(reasons);
        is_news
    }
}

/// What people call a stream.
fn name((source, kind): &Key) -> String {
    match kind {
        None => source.to_string(),
        Some(kind) => format!("{kind}s of {source}"),
    }
}

/// What the server is told of what the cache refuses: each problem with its path.
fn refusals(verdict: &Verdict) -> Vec<Refusal> {
    let refusal = |refused: &crate::cache::Refused| {
        let problems = refused.problems.iter().map(|problem| match problem.path.as_str() {
            "" => problem.rule.clone(),
            path => format!("{path}: {}", problem.rule),
        });
        Refusal { name: refused.name.clone(), reason: problems.collect::<Vec<_>>().join("; ") }
    };
    verdict.refused.iter().map(refusal).collect()
}

/// Starts the thread.
fn begin(letterbox: Letterbox) -> io::Result<mpsc::UnboundedSender<Order>> {
    // Made here, so that what can fail is said; it moves to its thread.
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(LIBRARY_THREADS_MAX).build()?;
    let (orders, inbox) = mpsc::unbounded_channel();
    let body = move || LocalSet::new().block_on(&runtime, obey(inbox, letterbox));
    thread::Builder::new().name("xds".into()).stack_size(STACK_SIZE).spawn(body)?;
    Ok(orders)
}

async fn obey(mut inbox: mpsc::UnboundedReceiver<Order>, letterbox: Letterbox) {
    let mut tasks: BTreeMap<StreamId, JoinHandle<()>> = BTreeMap::new();
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Start(plan) => {
                let (id, letterbox) = (plan.id, letterbox.clone());
                let task = match plan.api.form {
                    Form::Stream(variant) => spawn_local(Task::new(*plan, variant, letterbox).run()),
                    Form::Rest { interval, timeout } => {
                        spawn_local(Poller::new(*plan, interval, timeout, letterbox).run())
                    }
                };
                tasks.insert(id, task);
            }
            Order::Stop(id) => tasks.remove(&id).into_iter().for_each(|task| task.abort()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_a_servers_state_is_said_once() {
        let mut state = State::New;
        assert!(state.lost("refused"));
        assert!(!state.lost("refused"));
        assert!(state.lost("reset"));
        // Two endpoints in turn are no news.
        assert!(!state.lost("refused"));
        // A connection that does not last is none.
        state.connected("a".to_owned());
        assert!(!state.lost("reset"));
        state.connected("a".to_owned());
        assert_eq!(state.proven().as_deref(), Some("a"));
        assert_eq!(state.proven(), None);
        assert!(state.lost("reset"));
        let said = (0..100).filter(|at| state.lost(&at.to_string())).count();
        assert_eq!(said, REASONS_MAX - 1);
    }

    #[test]
    fn what_the_server_is_told_has_each_problem_and_its_path() {
        let problem = |path: &str, rule: &str| crate::problem::Problem {
            file: "ADS".into(),
            line: 0,
            column: 0,
            path: path.into(),
            rule: rule.into(),
        };
        let problems = vec![problem("a.b", "wrong"), problem("", "no message")];
        let refused = vec![crate::cache::Refused { name: "c".into(), problems }];
        let told = refusals(&Verdict { refused, ..Verdict::default() });
        assert_eq!(told, [Refusal { name: "c".into(), reason: "a.b: wrong; no message".into() }]);
    }
}
