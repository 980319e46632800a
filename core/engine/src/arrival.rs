//! A connection from accept to the filter that serves it.
//!
//! ```text
//!   accept ──> listener filters ──> another listener? ──> filter chain ──> network filters ──> TLS ──> HTTP | TCP
//!                 │ too slow, malformed     (once)           │ none           │ one says no     │ refused
//!                 └─────────────────────────────────────────┴────────────────┴─────────────────┴──> closed, counted
//! ```
//!
//! Where nothing of this can happen, for a listener with one plain chain, a connection is served at once and this costs nothing. Otherwise one
//! small task takes it through and is gone when the connection is served: what it gathered is given back to the stream.

mod inspect;

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ringway_model::{DownstreamTls, DownstreamTransport, FilterChain, Listener, ListenerId, NetworkFilter};
use ringway_observe::ListenerStats;
use ringway_runtime::{Instant, Stream, Timer};
use ringway_tls::{ServerContext, Session};

use self::inspect::Seen;
use crate::arrived::Arrived;
use crate::connection_filter::{self, Denied};
use crate::downstream::{self, Counted, Logged};
use crate::registered::Registered;
use crate::tcp;
use crate::tls::{self, Unsecured};
use crate::told_connection::{OF_TCP, Refusal, ToldConnection};
use crate::view::{CoreTcp, View};
use crate::worker::Worker;

/// Takes a new client connection of a listener in.
pub(crate) fn admit(
    worker: &Rc<Worker>,
    listener: ListenerId,
    view: Rc<View>,
    stats: Arc<ListenerStats>,
    stream: Stream,
) {
    // None at all: the listener is gone, and no generation that had it is left to serve under.
    let Some(config) = view.snapshot.listener(listener) else { return };
    match at_once(config) {
        Some(chain) => {
            let chain = Arc::clone(chain);
            // Counted at once, not at the task's first turn: the next connection of a burst sees it.
            let registered = Registered::new(worker, listener, chain.id, Rc::clone(&view), stats);
            serve(&view, registered, stream, (listener, &chain), None);
        }
        None => {
            let arriving = Arriving::new(worker, stats);
            worker.core.spawn("arrival", worker.core.pooled(run(arriving, listener, view, stream)));
        }
    }
}

/// The one chain that all connections of this listener are served by as they are.
fn at_once(listener: &Listener) -> Option<&Arc<FilterChain>> {
    let chain = listener.only_chain()?;
    let is_plain = chain.transport == DownstreamTransport::Raw && chain.before.is_empty();
    let goes_straight = listener.inspects.filters.is_empty() && !listener.hands_off && listener.access_logs.is_empty();
    (is_plain && goes_straight).then_some(chain)
}

/// A connection that is not in the register yet: it counts among those of its worker.
struct Arriving {
    worker: Rc<Worker>,
    stats: Arc<ListenerStats>,
}

impl Arriving {
    fn new(worker: &Rc<Worker>, stats: Arc<ListenerStats>) -> Self {
        stats.downstream_pre_cx_active.add(1);
        worker.arriving(1);
        Self { worker: Rc::clone(worker), stats }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.stats.downstream_pre_cx_active.sub(1);
        self.worker.arriving(-1);
    }
}

async fn run(arriving: Arriving, listener: ListenerId, accepted: Rc<View>, stream: Stream) {
    let worker = &Rc::clone(&arriving.worker);
    let mut front = Front::new(worker, (listener, accepted), &arriving.stats, &stream);
    match front.pass(arriving, &stream).await {
        Ok(registered) => {
            // What was committed within the handshake holds.
            let view = worker.view_for(registered.key);
            let Front { seen, id, chain, .. } = front;
            serve(&view, registered, stream, (id, &chain.expect("it has passed")), Some(Rc::new(seen.arrived)));
        }
        Err(refusal) => front.tell(worker, refusal.as_ref()),
    }
}

/// A connection on its way to its filter chain and through that.
struct Front {
    since: Instant,
    timer: Timer,
    view: Rc<View>,
    id: ListenerId,
    stats: Arc<ListenerStats>,
    seen: Seen,
    /// Once it is chosen.
    chain: Option<Arc<FilterChain>>,
}

/// Why a connection is closed, where a log wants to know.
type Closed = Option<Refusal>;

impl Front {
    fn new(worker: &Worker, (id, view): (ListenerId, Rc<View>), stats: &Arc<ListenerStats>, stream: &Stream) -> Self {
        let (since, timer, stats) = (worker.core.now(), worker.core.timer(), Arc::clone(stats));
        let seen = Seen::new(stream, view.snapshot.listener(id));
        Self { since, timer, view, id, stats, seen, chain: None }
    }

    fn config(&self) -> Arc<Listener> {
        Arc::clone(self.view.snapshot.listener(self.id).expect("a listener of this view"))
    }

    /// Takes a connection to the filter that serves it.
    ///
    /// # Errors
    /// It is to be closed.
    async fn pass(&mut self, arriving: Arriving, stream: &Stream) -> Result<Registered, Closed> {
        let worker = &Rc::clone(&arriving.worker);
        self.inspect(worker, stream).await?;
        let config = self.config();
        let (facts, protocols) = self.seen.facts();
        let Some(chain) = config.chain_for(&facts, protocols).map(Arc::clone) else {
            self.stats.no_filter_chain_match.add(1);
            return Err(self.closed(Refusal::no_chain));
        };
        self.chain = Some(Arc::clone(&chain));
        self.seen.give_back(stream);
        if self.view.listener_logs(self.id).is_some() {
            self.seen.arrived.id = Some(worker.connection_id());
        }
        let (view, stats) = (Rc::clone(&self.view), Arc::clone(&self.stats));
        let mut registered = Registered::new(worker, self.id, chain.id, view, stats);
        drop(arriving); // from here on the register counts it, and not both
        let filters = self.view.filters(self.id, chain.id);
        let filters = filters.as_deref().unwrap_or_default();
        match connection_filter::come(filters, worker.core.now()) {
            Ok(places) => registered.places = (!places.is_empty()).then(|| places.into_boxed_slice()),
            Err(denied) => return Err(self.deny(worker, denied).await),
        }
        if let DownstreamTransport::Tls(config) = &chain.transport {
            self.secure(worker, stream, (config, chain.handshake_timeout)).await?;
        }
        match connection_filter::judge(filters, &self.seen.arrived) {
            Ok(()) => Ok(registered),
            Err(denied) => Err(self.deny(worker, denied).await),
        }
    }

    /// Has the listener's filters look at it, and those of the listener that it goes on to.
    async fn inspect(&mut self, worker: &Rc<Worker>, stream: &Stream) -> Result<(), Closed> {
        let mut is_handed = false;
        loop {
            let config = self.config();
            let by = (&**worker, stream, &self.timer);
            let stats = (&*self.stats, &*self.view.inspectors(self.id));
            if self.seen.pass(by, &config, stats, self.view.waits(self.id)).await.is_err() {
                return Err(self.closed(Refusal::inspected));
            }
            // What was committed meanwhile holds, unless it has not got the listener.
            let current = worker.view();
            if current.snapshot.listener(self.id).is_some() {
                self.view = current;
            }
            let next = self.seen.restored().filter(|_| config.hands_off && !is_handed);
            let next = next.and_then(|destination| self.view.snapshot.listener_at(destination)).map(|next| next.id);
            match next.filter(|next| *next != self.id) {
                None => return Ok(()),
                Some(next) => {
                    (self.id, is_handed) = (next, true);
                    self.stats = self.view.listener_stats(next);
                }
            }
        }
    }

    /// Makes the handshake that its chain asks for.
    async fn secure(
        &mut self,
        worker: &Worker,
        stream: &Stream,
        (config, timeout): (&DownstreamTls, Duration),
    ) -> Result<(), Closed> {
        let context = config.context.get::<ServerContext>().expect("a server's context");
        let (deadline, session) = (worker.core.now() + timeout, Session::server(&context));
        let stats = self.stats.tls.write();
        match tls::secure((&worker.core, &worker.tls), stream, session, &self.timer, deadline).await {
            Ok(info) if config.requires_sni && info.server_name.is_none() => {
                stats.connection_error.add(1);
                tell_and_close(worker, stream, &self.timer).await;
                Err(self.closed(Refusal::no_server_name))
            }
            Ok(info) => {
                tls::count(&info, stats);
                self.seen.arrived.server_name = info.server_name.as_deref().map(Arc::from);
                self.seen.arrived.tls = Some(Arc::from(info));
                Ok(())
            }
            Err(unsecured) => {
                unsecured.count(stats);
                if matches!(unsecured, Unsecured::Failed(_)) {
                    tell_and_close(worker, stream, &self.timer).await;
                }
                Err(self.closed(|| Refusal::unsecured(&unsecured)))
            }
        }
    }

    /// A connection that is denied is closed after a while, where its filter says so: who tries again at once gains nothing.
    async fn deny(&self, worker: &Worker, denied: Denied<'_>) -> Closed {
        let closed = self.closed(|| Refusal::denied(&denied));
        if let Some(delay) = denied.delay {
            self.timer.set(worker.core.now() + delay);
            poll_fn(|context| self.timer.poll_expired(context)).await;
        }
        closed
    }

    fn closed(&self, why: impl FnOnce() -> Refusal) -> Closed {
        (self.view.listener_logs(self.id).is_some() || self.raw().is_some()).then(why)
    }

    /// Its chain, if that ends in `tcp_proxy` and has logs.
    fn raw(&self) -> Option<&CoreTcp> {
        let core = self.view.tcp(self.id, self.chain.as_ref()?.id)?;
        (!core.logs.lines.is_empty()).then_some(core)
    }

    /// Tells the logs of its listener, and those of its raw chain, that it was closed.
    fn tell(&mut self, worker: &Rc<Worker>, refusal: Option<&Refusal>) {
        let Some(refusal) = refusal else { return };
        let arrived = &self.seen.arrived;
        let id = arrived.id.unwrap_or_else(|| worker.connection_id());
        let listener = self.config();
        let chain_name = self.chain.as_ref().map_or("", |chain| &chain.name);
        let told = ToldConnection::new(worker, &listener, chain_name, (id, self.since));
        let mut told = ToldConnection { arrived: Some(arrived), refusal: Some(refusal), ..told };
        if let Some(logs) = self.view.listener_logs(self.id) {
            told.write(worker, logs);
        }
        if let Some(core) = self.raw() {
            told.kind = OF_TCP;
            worker.log.write_connection(worker, (&core.tcp.access_logs, &core.logs), &told);
        }
    }
}

/// Lets the peer read why it is refused: a close with something unread would take that from it.
async fn tell_and_close(worker: &Worker, stream: &Stream, timer: &Timer) {
    stream.shutdown_write();
    timer.set(worker.core.now() + ALERT_TIMEOUT);
    poll_fn(|context| {
        while let Poll::Ready(came) = stream.poll_recv(context) {
            if !matches!(came, Ok(Some(_))) {
                return Poll::Ready(());
            }
        }
        timer.poll_expired(context)
    })
    .await;
}

/// How long a client that was refused in its handshake has to read why.
const ALERT_TIMEOUT: Duration = Duration::from_secs(1);

/// Has the last filter of the chain serve the connection.
fn serve(
    view: &Rc<View>,
    registered: Registered,
    stream: Stream,
    (listener, chain): (ListenerId, &FilterChain),
    arrived: Option<Rc<Arrived>>,
) {
    let worker = Rc::clone(&registered.worker);
    match &chain.filter {
        NetworkFilter::Http(_) => {
            let core_chain = view.chain(listener, chain.id).expect("a chain of this view");
            let logged = || {
                let (logs, arrived) = (Rc::clone(view.listener_logs(listener)?), Rc::clone(arrived.as_ref()?));
                arrived.id?;
                let listener = Arc::clone(view.snapshot.listener(listener)?);
                let chain = Arc::clone(&core_chain.config);
                Some(Box::new(Logged { logs, listener, chain, arrived }))
            };
            let counted = Counted::new(registered, core_chain, logged());
            let serve = downstream::serve(counted, stream, (listener, chain.id), arrived);
            // The idle connection's budget (design: 512 bytes for the task's own state).
            assert!(size_of_val(&serve) <= IDLE_TASK_SIZE_MAX, "the idle task is {} bytes", size_of_val(&serve));
            worker.core.spawn("downstream", serve);
        }
        NetworkFilter::Tcp(config) => {
            // An upstream that is told whose connection it is has to be told so.
            let is_told = |id| {
                let cluster = view.cluster(id).into_iter();
                cluster.flat_map(|cluster| cluster.config.transports.iter()).any(|all| all.proxy_protocol.is_some())
            };
            let arrived = arrived
                .or_else(|| config.target.clusters().any(is_told).then(|| Rc::new(Seen::new(&stream, None).arrived)));
            let core_chain = view.tcp(listener, chain.id).expect("a chain of this view");
            tcp::begin(registered, Rc::clone(core_chain), stream, arrived);
        }
    }
}

/// What the task of one client connection may weigh, its exchange aside.
const IDLE_TASK_SIZE_MAX: usize = 512;
