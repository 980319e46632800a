//! This core's connections to one endpoint.
//!
//! ```text
//!          connect                     keep-alive
//!  (none) ─────────> in an exchange ──────────────> idle, watched ──> closed: by the peer, by age, by retirement
//!                          ^                           │
//!                          └───────────────────────────┘ newest first
//! ```
//!
//! An idle connection holds no chunk. Bytes, an end or an error on it make it unfit at once; its caretaker, one task
//! per endpoint, is woken and closes it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_model::{Address, Endpoint, Outgoing, Reuse, UpstreamTls, UpstreamTransport, UpstreamVersion};
use ringway_runtime::{Connect, ConnectError, Core, Instant, Stream, Target};

use crate::active::ActiveRow;
use crate::breakers::{Breakers, Place};
use crate::connecting::{Attempts, Connecting};
use crate::date::elapsed_ms;
use crate::http2::{ConnectFailure, Links, Waiting};
use crate::limits::Limits;
use crate::load::CoreLoad;
use crate::side::Side;
use crate::socket;
use crate::tls::Unsecured;

/// Why there is no connection to an endpoint.
#[derive(Debug)]
pub(crate) enum Unconnected {
    Tcp(ConnectError),
    Tls(Unsecured),
}

/// A connection to an endpoint, in use by one exchange or idle in its pool.
pub(crate) struct Upstream {
    pub(crate) stream: Side,
    /// Exchanges it has completed.
    pub(crate) served: u32,
    permit: Rc<ConnectionPermit>,
}

impl Waiting for EndpointPool {
    fn room(&self) {
        self.wake_waiting();
    }
}

/// One connection's place under `max_connections`, and its lines in the statistics.
pub(crate) struct ConnectionPermit {
    breakers: Rc<Breakers>,
    pool: Rc<EndpointPool>,
    leased: bool,
    core: Core,
    since: Instant,
    requests: Cell<u32>,
    /// A request is under way.
    is_busy: Cell<bool>,
    is_peers: Cell<bool>,
}

impl ConnectionPermit {
    /// A place for one more connection. Envoy lets every pool have one whatever the limit says, so that a cluster at
    /// its limit still serves each core; so do we.
    pub(crate) fn acquire(
        breakers: &Rc<Breakers>,
        pool: &Rc<EndpointPool>,
        core: &Core,
        version: UpstreamVersion,
    ) -> Option<Self> {
        let leased = breakers.connections.try_acquire();
        if !leased && pool.open.get() > 0 {
            return None;
        }
        let permit = Self::new(Rc::clone(breakers), pool, core, leased);
        match version {
            UpstreamVersion::Http1 => permit.count_version(false),
            UpstreamVersion::Http2 => permit.count_version(true),
            // Once it is known.
            UpstreamVersion::ByAlpn => {}
        }
        Some(permit)
    }

    /// Counts what is spoken on the connection.
    pub(crate) fn count_version(&self, is_http2: bool) {
        let stats = &self.breakers.stats;
        if is_http2 { &stats.upstream_cx_http2_total } else { &stats.upstream_cx_http1_total }.add(1);
    }

    /// For raw bytes: never more than the limit says.
    pub(crate) fn raw(place: Place, pool: &Rc<EndpointPool>, core: &Core) -> Self {
        Self::new(place.keep(), pool, core, true)
    }

    fn new(breakers: Rc<Breakers>, pool: &Rc<EndpointPool>, core: &Core, leased: bool) -> Self {
        pool.open.set(pool.open.get() + 1);
        breakers.stats.upstream_cx_total.add(1);
        breakers.stats.upstream_cx_active.add(1);
        Self {
            breakers,
            pool: Rc::clone(pool),
            leased,
            since: core.now(),
            core: core.clone(),
            requests: Cell::new(0),
            is_busy: Cell::new(false),
            is_peers: Cell::new(false),
        }
    }
}

impl ConnectionPermit {
    /// Whether a request was under way, at the end of a connection that has several.
    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.is_busy.set(is_busy);
    }

    /// The peer closed the connection, or never opened it.
    pub(crate) fn closed_by_peer(&self) {
        self.is_peers.set(true);
    }

    /// Counts how the attempt ended that it was taken for.
    ///
    /// # Errors
    /// How it failed.
    pub(crate) fn connected<T>(&self, ended: Result<T, Unconnected>) -> Result<T, ConnectFailure> {
        let stats = &self.breakers.stats;
        match ended {
            Ok(established) => {
                stats.upstream_cx_connect_ms.record(elapsed_ms(self.since, self.core.now()));
                Ok(established)
            }
            Err(error) => {
                stats.upstream_cx_connect_fail.add(1);
                Err(match error {
                    Unconnected::Tcp(ConnectError::Timeout) | Unconnected::Tls(Unsecured::Timeout) => {
                        stats.upstream_cx_connect_timeout.add(1);
                        ConnectFailure::Timeout
                    }
                    Unconnected::Tcp(ConnectError::Io(error)) => {
                        self.closed_by_peer();
                        ConnectFailure::Io(error.kind())
                    }
                    Unconnected::Tls(unsecured) => {
                        if !matches!(unsecured, Unsecured::Overflow) {
                            self.closed_by_peer();
                        }
                        ConnectFailure::Tls(unsecured.told().reason)
                    }
                })
            }
        }
    }

    /// Whether it has had its requests, or its time.
    fn is_used_up(&self) -> bool {
        let reuse = self.pool.reuse.get();
        self.requests.get() >= reuse.requests_max || self.is_old(reuse.duration_max)
    }

    fn is_old(&self, duration_max: Option<Duration>) -> bool {
        let old = duration_max.is_some_and(|max| self.core.now() >= self.since + max);
        if old {
            self.breakers.stats.upstream_cx_max_duration_reached.add(1);
        }
        old
    }

    fn count_end(&self) {
        let stats = &self.breakers.stats;
        stats.upstream_cx_active.sub(1);
        stats.upstream_cx_destroy.add(1);
        stats.upstream_cx_length_ms.record(elapsed_ms(self.since, self.core.now()));
        if self.requests.get() > 0 {
            stats.upstream_rq_per_cx.record(u64::from(self.requests.get()));
        }
        let (side, busy) = match self.is_peers.get() {
            true => (&stats.upstream_cx_destroy_remote, &stats.upstream_cx_destroy_remote_with_active_rq),
            false => (&stats.upstream_cx_destroy_local, &stats.upstream_cx_destroy_local_with_active_rq),
        };
        side.add(1);
        if self.is_busy.get() {
            stats.upstream_cx_destroy_with_active_rq.add(1);
            busy.add(1);
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if self.leased {
            self.breakers.connections.release();
        }
        self.pool.open.set(self.pool.open.get() - 1);
        self.count_end();
        self.pool.wake_waiting();
    }
}

impl Upstream {
    pub(crate) fn new(stream: Stream, permit: ConnectionPermit) -> Self {
        Self::shared(stream, Rc::new(permit))
    }

    pub(crate) fn shared(stream: Stream, permit: Rc<ConnectionPermit>) -> Self {
        Self { stream: Side::Http1(stream), served: 0, permit }
    }

    /// A request goes to it.
    pub(crate) fn begin(&self) {
        let requests = self.permit.requests.get().saturating_add(1);
        self.permit.requests.set(requests);
        if requests == self.permit.pool.reuse.get().requests_max {
            self.permit.breakers.stats.upstream_cx_max_requests.add(1);
        }
        self.permit.is_busy.set(true);
    }

    /// Where it leads, if that may be elsewhere than to the endpoint's own address.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        if self.permit.pool.has_several_addresses() { self.stream.peer_addr() } else { None }
    }

    /// The response is complete.
    pub(crate) fn end(&self) {
        self.permit.is_busy.set(false);
    }

    /// The peer closed it.
    pub(crate) fn died(&self) {
        if !self.stream.is_http2() {
            self.permit.closed_by_peer();
        }
    }
}

struct Idle {
    upstream: Upstream,
    since: Instant,
}

/// One endpoint's connections on this core. Keyed by address, or by being a name: survives changes of its cluster.
pub(crate) struct EndpointPool {
    /// Where new connections go.
    pub(crate) address: RefCell<Address>,
    /// What its cluster says now.
    pub(crate) reuse: Cell<Reuse>,
    /// What stands between a connection's socket and its bytes; `None`: nothing does.
    pub(crate) transport: RefCell<Option<Rc<UpstreamTransport>>>,
    /// The host that its certificate has to be of (`auto_san_validation`). `None`: requests name none, as raw bytes do.
    pub(crate) host: Option<Box<str>>,
    /// The endpoint's own pool, where this one is for requests to a host.
    of: Option<Rc<EndpointPool>>,
    /// Where connections depend on the host that is asked for: those of each host, the one asked for last at the end.
    named: RefCell<Vec<Rc<EndpointPool>>>,
    /// The last connection whose endpoint had the choice came to speak HTTP/2.
    pub(crate) chose_http2: Cell<bool>,
    /// Where they are tried in turn, if there is more than one address.
    attempts: RefCell<Option<Rc<[SocketAddr]>>>,
    idle: RefCell<Vec<Idle>>,
    open: Cell<u32>,
    /// Requests of this core under way to the endpoint, those that wait for a connection included.
    active: Cell<u32>,
    /// Where it tells of them, and hears of the other cores'; and this core's place there.
    row: RefCell<Option<(ActiveRow, usize)>>,
    /// Its locality's row, where load is reported.
    load: RefCell<Option<Rc<CoreLoad>>>,
    retired: Cell<bool>,
    /// Its HTTP/2 connections.
    pub(crate) links: Links<ConnectionPermit>,
    /// Requests that wait for a connection because the cluster's limit is reached, first come first served.
    waiting: RefCell<VecDeque<Waker>>,
    caretaker: RefCell<Option<Waker>>,
    caretaker_runs: Cell<bool>,
}

/// A request under way to an endpoint.
pub(crate) struct ActiveRequest(Rc<EndpointPool>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.set_active(self.0.active.get() - 1);
    }
}

impl ActiveRequest {
    /// It is sent.
    #[inline]
    pub(crate) fn sent(&self) {
        if let Some(load) = &*self.0.load.borrow() {
            load.row().issued.add(1);
        }
    }

    /// What became of it, for load reports.
    #[inline]
    pub(crate) fn judged(&self, is_successful: bool) {
        if let Some(load) = &*self.0.load.borrow() {
            let row = load.row();
            if is_successful { &row.successful } else { &row.failed }.add(1);
        }
    }

    /// Whether somebody wants to know what becomes of it.
    #[inline]
    pub(crate) fn is_reported(&self) -> bool {
        self.0.load.borrow().is_some()
    }
}

impl EndpointPool {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address: RefCell::new(address),
            reuse: Cell::default(),
            chose_http2: Cell::new(false),
            attempts: RefCell::default(),
            transport: RefCell::default(),
            host: None,
            of: None,
            named: RefCell::default(),
            idle: RefCell::default(),
            links: Links::default(),
            open: Cell::new(0),
            active: Cell::new(0),
            row: RefCell::default(),
            load: RefCell::default(),
            retired: Cell::new(false),
            waiting: RefCell::default(),
            caretaker: RefCell::default(),
            caretaker_runs: Cell::new(false),
        }
    }

    /// Requests under way to the endpoint: of all cores, where they tell each other.
    #[inline]
    pub(crate) fn active(&self) -> u32 {
        self.row.borrow().as_ref().map_or(self.active.get(), |(row, _)| row.sum())
    }

    /// From now on tells the other cores of its requests there, or nobody.
    pub(crate) fn set_row(&self, row: Option<(ActiveRow, usize)>) {
        if let Some((row, worker)) = &*self.row.borrow() {
            row.tell(*worker, 0);
        }
        *self.row.borrow_mut() = row;
        self.set_active(self.active.get());
    }

    #[inline]
    fn set_active(&self, count: u32) {
        let before = self.active.replace(count);
        if let Some(load) = &*self.load.borrow() {
            let active = &load.row().active;
            active.add(count.saturating_sub(before).into());
            active.sub(before.saturating_sub(count).into());
        }
        if let Some((row, worker)) = &*self.row.borrow() {
            row.tell(*worker, count);
        }
    }

    /// Counts a request as under way until what is given is dropped.
    #[inline]
    pub(crate) fn begin_request(self: &Rc<Self>) -> ActiveRequest {
        let pool = self.endpoint();
        pool.set_active(pool.active.get() + 1);
        ActiveRequest(Rc::clone(pool))
    }

    /// From now on its tries count there, or nowhere; those under way, too.
    pub(crate) fn set_load(&self, load: Option<Rc<CoreLoad>>) {
        let count = self.active.get().into();
        if let Some(before) = self.load.replace(load) {
            before.row().active.sub(count);
        }
        if let Some(load) = &*self.load.borrow() {
            load.row().active.add(count);
        }
    }

    /// The endpoint is where this version of its cluster says.
    pub(crate) fn set_addresses(&self, endpoint: &Endpoint) {
        self.named.borrow().iter().for_each(|pool| pool.set_addresses(endpoint));
        self.address.replace(endpoint.address.clone());
        let attempts = (!endpoint.attempts.is_empty()).then(|| Rc::from(&endpoint.attempts[..]));
        self.attempts.replace(attempts);
    }

    /// What its connections begin with.
    pub(crate) fn set_transport(&self, transport: &UpstreamTransport, hostname: &str) {
        if self.transport.borrow().is_none() && !transport.is_raw() {
            self.transport.replace(Some(Rc::new(to_endpoint(transport, hostname).into_owned())));
        }
    }

    /// Whether that is what its connections begin with.
    pub(crate) fn begins_with(&self, transport: &UpstreamTransport, hostname: &str) -> bool {
        self.transport.borrow().as_deref() == Some(&*to_endpoint(transport, hostname)).filter(|of| !of.is_raw())
    }

    /// What its cluster says now of using connections again.
    pub(crate) fn set_reuse(&self, reuse: Reuse) {
        self.reuse.set(reuse);
        self.named.borrow().iter().for_each(|pool| pool.set_reuse(reuse));
    }

    /// The connections for requests to the host that this head names, where they are not those for all (`auto_sni`, `auto_san_validation`).
    #[inline]
    pub(crate) fn for_host(self: &Rc<Self>, head: &[u8]) -> Option<Rc<EndpointPool>> {
        let transport = self.transport.borrow();
        let tls = transport.as_ref()?.tls.as_ref()?;
        if !(tls.auto_sni || tls.auto_san_validation) || self.of.is_some() {
            return None;
        }
        self.named(transport.as_ref()?, host_of(head).unwrap_or_default())
    }

    /// The endpoint's own pool: what it is known by.
    #[inline]
    pub(crate) fn endpoint(self: &Rc<Self>) -> &Rc<Self> {
        self.of.as_ref().unwrap_or(self)
    }

    fn named(self: &Rc<Self>, transport: &UpstreamTransport, host: &str) -> Option<Rc<EndpointPool>> {
        let mut named = self.named.borrow_mut();
        // From the back: those that are asked for most are there.
        if let Some(at) = named.iter().rposition(|pool| pool.host.as_deref() == Some(host)) {
            named[at..].rotate_left(1);
            return named.last().map(Rc::clone);
        }
        let pool = self.begin_named(transport, host)?;
        if self.retired.get() {
            pool.retire(); // nobody would do it later
            return Some(pool);
        }
        if named.len() == HOSTS_MAX {
            let unused = named.iter().position(|pool| pool.open.get() == 0);
            named.remove(unused.unwrap_or(0)).retire();
        }
        named.push(Rc::clone(&pool));
        Some(pool)
    }

    #[cold]
    fn begin_named(self: &Rc<Self>, transport: &UpstreamTransport, host: &str) -> Option<Rc<EndpointPool>> {
        let mut transport = transport.clone();
        let tls = transport.tls.as_mut()?;
        // An address is no server name (RFC 6066 §3).
        if tls.auto_sni && host.parse::<IpAddr>().is_err() {
            tls.sni = host.into();
        }
        let pool = Self {
            attempts: self.attempts.clone(),
            transport: RefCell::new(Some(Rc::new(transport))),
            host: Some(host.into()),
            of: Some(Rc::clone(self)),
            reuse: self.reuse.clone(),
            ..Self::new(self.address.borrow().clone())
        };
        Some(Rc::new(pool))
    }

    /// Whether a connection may lead elsewhere than to `address`.
    pub(crate) fn has_several_addresses(&self) -> bool {
        self.attempts.borrow().is_some()
    }

    /// Whether it has other addresses by this version than before, or another transport. The first address is its key.
    pub(crate) fn differs_from(&self, endpoint: &Endpoint, transport: &UpstreamTransport, is_logical: bool) -> bool {
        !is_logical && self.attempts.borrow().as_deref().unwrap_or_default() != endpoint.attempts
            || !self.begins_with(transport, &endpoint.hostname)
    }

    /// Begins a new connection, which is nobody's yet.
    pub(crate) fn connect<'o>(
        &self,
        (core, limits): (&Core, &Limits),
        breakers: &Rc<Breakers>,
        outgoing: Option<&'o Outgoing>,
        deadline: Instant,
    ) -> Connecting<'o> {
        match &*self.attempts.borrow() {
            None => Connecting::One(connect(core, &self.address.borrow(), outgoing, deadline)),
            Some(attempts) => Connecting::Several(Box::new(Attempts::new(
                core,
                limits,
                Rc::clone(attempts),
                breakers,
                outgoing,
                deadline,
            ))),
        }
    }

    /// The connection used last, if it is still fit.
    pub(crate) fn take(&self) -> Option<Upstream> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            if idle.upstream.permit.is_old(self.reuse.get().duration_max) {
                continue;
            }
            if idle.upstream.stream.is_quiet() {
                return Some(idle.upstream);
            }
            idle.upstream.died();
            // Dropped outside the borrow: closing wakes whoever waits for a place.
        }
    }

    /// A stream of a connection that has room for one more.
    pub(crate) fn take_stream(self: &Rc<Self>) -> Option<Upstream> {
        let (mut stream, permit) = self.links.take(ConnectionPermit::is_used_up)?;
        stream.frees_room_for(Rc::clone(self) as Rc<dyn Waiting>);
        Some(Upstream { stream: Side::Http2(stream), served: 0, permit })
    }

    /// Takes a connection back after a complete exchange. Closes it where it is not wanted any more.
    pub(crate) fn put(self: &Rc<Self>, core: &Core, upstream: Upstream, idle_max: usize) {
        let is_quiet = upstream.stream.is_quiet();
        if !is_quiet {
            upstream.died();
        }
        // One that began with a client's addresses is that client's.
        let is_announced = self.transport.borrow().as_ref().is_some_and(|transport| transport.proxy_protocol.is_some());
        if self.retired.get() || !is_quiet || is_announced || upstream.permit.is_used_up() {
            return;
        }
        if !self.caretaker_runs.replace(true) {
            core.spawn("pool", care(core.clone(), Rc::clone(self)));
        }
        if let Some(waker) = &*self.caretaker.borrow() {
            let mut context = Context::from_waker(waker);
            if upstream.stream.poll_watch(&mut context).is_ready() {
                return;
            }
            // Its end may come before all that the caretaker waits for.
            if self.reuse.get().duration_max.is_some() {
                waker.wake_by_ref();
            }
        }
        let surplus = {
            let mut idle = self.idle.borrow_mut();
            idle.push(Idle { upstream, since: core.now() });
            (idle.len() > idle_max).then(|| idle.remove(0))
        };
        drop(surplus);
        self.wake_waiting();
    }

    /// Whether nobody has a connection to it, or waits for one.
    pub(crate) fn is_unused(&self) -> bool {
        self.open.get() == 0 && self.active.get() == 0
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Stops keeping connections: the endpoint is gone from its cluster. Those in use finish what they do.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.links.retire();
        self.named.borrow_mut().drain(..).for_each(|pool| pool.retire());
        self.set_row(None);
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        drop(idle);
        if let Some(waker) = &*self.caretaker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Ready when a connection came back or one was closed since the caller last looked.
    pub(crate) fn wait(&self) -> impl Future<Output = ()> {
        let mut queued = false;
        poll_fn(move |context| {
            if queued {
                return Poll::Ready(());
            }
            queued = true;
            self.waiting.borrow_mut().push_back(context.waker().clone());
            Poll::Pending
        })
    }

    /// Wakes all who wait: one of them may have given up, and a wake spent on it would be lost to the next. They run in
    /// the order in which they came.
    pub(crate) fn wake_waiting(&self) {
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    /// Closes what is unfit or too old; the time at which the next one will be.
    fn prune(&self, now: Instant) -> Option<Instant> {
        let Reuse { idle_timeout, duration_max, .. } = self.reuse.get();
        let mut closed = Vec::new();
        let mut idle = self.idle.borrow_mut();
        let mut at = 0;
        while at < idle.len() {
            let unused = idle_timeout.is_some_and(|timeout| now >= idle[at].since + timeout);
            if unused {
                idle[at].upstream.permit.breakers.stats.upstream_cx_idle_timeout.add(1);
            }
            let old = unused || idle[at].upstream.permit.is_old(duration_max);
            let is_quiet = idle[at].upstream.stream.is_quiet();
            if !is_quiet {
                idle[at].upstream.died();
            }
            if old || !is_quiet {
                closed.push(idle.remove(at));
            } else {
                at += 1;
            }
        }
        // Pushed in order of time, so the first was unused for longest; any of them may be the oldest.
        let next = idle.first().and_then(|first| Some(first.since + idle_timeout?));
        let oldest = duration_max.and_then(|max| idle.iter().map(|idle| idle.upstream.permit.since + max).min());
        let next = next.into_iter().chain(oldest).min();
        drop(idle);
        drop(closed);
        next
    }
}

/// Hosts that an endpoint is asked for under names of their own (`auto_sni`); beyond it one without a connection
/// begins anew, or where there is none the one that was longest not asked for. Worst case: what so many
/// pools hold.
const HOSTS_MAX: usize = 256;

/// The transport as it is towards this endpoint.
fn to_endpoint<'t>(transport: &'t UpstreamTransport, hostname: &str) -> Cow<'t, UpstreamTransport> {
    match &transport.tls {
        Some(tls) if tls.auto_host_sni && !hostname.is_empty() => {
            let tls = Some(UpstreamTls { sni: hostname.into(), ..tls.clone() });
            Cow::Owned(UpstreamTransport { tls, ..transport.clone() })
        }
        _ => Cow::Borrowed(transport),
    }
}

/// The host in a head that we send, without its port.
fn host_of(head: &[u8]) -> Option<&str> {
    let is_host = |line: &&[u8]| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case(b"host:"));
    let line = head.split(|&byte| byte == b'\n').find(is_host)?;
    let authority = std::str::from_utf8(&line[5..]).ok()?.trim();
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next();
    }
    authority.split(':').next()
}

/// How often a pool is looked at whose connections may stay unused for ever.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// The caretaker: closes idle connections that ended, misbehaved or grew old. Ends with its pool.
async fn care(core: Core, pool: Rc<EndpointPool>) {
    let timer = core.timer();
    *pool.caretaker.borrow_mut() = Some(poll_fn(|context| Poll::Ready(context.waker().clone())).await);
    // Those that came before there was a waker to watch them with.
    poll_fn(|context| {
        for idle in pool.idle.borrow().iter() {
            let _ = idle.upstream.stream.poll_watch(context);
        }
        Poll::Ready(())
    })
    .await;
    poll_fn(|context| {
        let now = core.now();
        let next = pool.prune(now);
        // An empty pool is looked at again after one idle timeout: a connection put back meanwhile was not unused for longer.
        timer.set(next.unwrap_or(now + pool.reuse.get().idle_timeout.unwrap_or(LOOK_AGAIN)));
        let _ = timer.poll_expired(context);
        if pool.retired.get() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Begins a connection to one address.
pub(crate) fn connect(core: &Core, address: &Address, outgoing: Option<&Outgoing>, deadline: Instant) -> Connect {
    let target = match address {
        Address::Ip(address) => Target::Ip(*address),
        Address::Pipe(pipe) => Target::Unix(&pipe.path),
    };
    match outgoing {
        None => core.connect(target, deadline),
        Some(outgoing) => core.connect_with(target, deadline, |fd| socket::prepare(fd, address, outgoing)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringway_model::{TlsContext, UpstreamTls};

    use super::*;

    /// Guards against invented hosts that put an end to the connections for the host that everybody asks for.
    #[test]
    fn hosts_that_are_asked_for_stay() {
        let tls = UpstreamTls {
            context: TlsContext::new(Arc::new(()), ""),
            sni: Arc::from(""),
            auto_sni: true,
            auto_san_validation: false,
            auto_host_sni: false,
        };
        let transport = UpstreamTransport { tls: Some(tls), ..UpstreamTransport::default() };
        let endpoint = Rc::new(EndpointPool::new(([127, 0, 0, 1], 443).into()));
        endpoint.set_transport(&transport, "");
        let ask = |host: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            endpoint.for_host(head.as_bytes()).expect("one of its own")
        };
        let (hot, quiet) = (ask("hot.test"), ask("quiet.test"));
        quiet.open.set(1);
        let all = (0..2 * HOSTS_MAX).map(|number| {
            assert!(Rc::ptr_eq(&hot, &ask("hot.test")), "after {number} others");
            ask(&format!("{number}.test"))
        });
        // None of these has a connection: one of them goes, whatever was asked for longest ago.
        let all: Vec<_> = all.collect();
        assert!(Rc::ptr_eq(&quiet, &ask("quiet.test")) && !quiet.retired.get());
        assert_eq!(endpoint.named.borrow().len(), HOSTS_MAX);
        // Where all have some, the one that was longest not asked for.
        endpoint.named.borrow().iter().for_each(|pool| pool.open.set(1));
        let last = Rc::clone(&all[2 * HOSTS_MAX - 1]);
        for number in 0..HOSTS_MAX - 2 {
            ask(&format!("more{number}.test")).open.set(1);
            assert!(Rc::ptr_eq(&hot, &ask("hot.test")));
        }
        assert!(last.retired.get() && !hot.retired.get() && !quiet.retired.get());
        endpoint.named.borrow().iter().for_each(|pool| pool.open.set(0));
        // Who still asks when the endpoint is gone keeps nothing, and nobody holds the other.
        endpoint.retire();
        assert!(ask("late.test").retired.get() && endpoint.named.borrow().is_empty());
    }

    #[test]
    fn the_host_of_a_head_is_without_its_port() {
        for (head, host) in [
            ("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n", Some("a.test")),
            ("GET / HTTP/1.1\r\nX: host: b\r\nHost: a.test:80\r\n\r\n", Some("a.test")),
            ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", Some("::1")),
            ("GET / HTTP/1.1\r\nHost: \r\n\r\n", Some("")),
            ("GET / HTTP/1.0\r\n\r\n", None),
        ] {
            assert_eq!(host_of(head.as_bytes()), host, "{head}");
        }
    }
}
