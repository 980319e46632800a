//! A connection to an upstream: one task, and the streams of this core's requests.
//!
//! ```text
//!   connect ──> Open ──> Leaving ──> closed
//!                 │         no room for new streams: GOAWAY of the peer's, its time or its requests are used up, its endpoint is gone;
//!                 │         those under way end
//!                 └──> failed: all that is under way is broken off
//! ```

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ringway_protocols::Rule;
use ringway_protocols::http2::message::{read_response, read_trailers};
use ringway_protocols::http2::{Code, Connection, Key, Role};
use ringway_runtime::{BlockMut, Chunk, ConnectError, Instant, Timer};

use super::keepalive::Keepalive;
use super::limits;
use super::link::{End, Happened, Link, QUIET, Setup};
use super::links::ConnectFailure;
use super::meter::{Meter, Of};
use crate::breakers::Breakers;
use crate::date::elapsed_ms;
use crate::pool::{ConnectionPermit, EndpointPool};
use crate::view::CoreCluster;
use crate::worker::Worker;

/// Receives of one turn at most, before others have theirs.
const RECEIVES_PER_TURN_MAX: usize = 16;

/// Makes one more connection to the endpoint.
pub(crate) fn start(
    worker: &Rc<Worker>,
    cluster: &Rc<CoreCluster>,
    pool: &Rc<EndpointPool>,
    breakers: &Rc<Breakers>,
    permit: ConnectionPermit,
) {
    pool.links.begin_connecting();
    let (worker, cluster, pool) = (Rc::clone(worker), Rc::clone(cluster), Rc::clone(pool));
    let (core, breakers) = (worker.core.clone(), Rc::clone(breakers));
    core.spawn("upstream", run(worker, cluster, pool, breakers, Rc::new(permit)));
}

async fn run(
    worker: Rc<Worker>,
    cluster: Rc<CoreCluster>,
    pool: Rc<EndpointPool>,
    breakers: Rc<Breakers>,
    permit: Rc<ConnectionPermit>,
) {
    let (core, limits) = (&worker.core, &worker.limits);
    let began = core.now();
    let deadline = began + cluster.config.connect_timeout;
    let connected = pool.connect((core, limits), &breakers, cluster.config.outgoing.as_deref(), deadline).await;
    let socket = match connected {
        Ok(socket) => socket,
        Err(error) => {
            breakers.stats.upstream_cx_connect_fail.add(1);
            let failure = match error {
                ConnectError::Timeout => {
                    breakers.stats.upstream_cx_connect_timeout.add(1);
                    ConnectFailure::Timeout
                }
                ConnectError::Io(error) => {
                    permit.closed_by_peer();
                    ConnectFailure::Io(error.kind())
                }
            };
            pool.links.failed(failure);
            drop(permit);
            return pool.wake_waiting();
        }
    };
    breakers.stats.upstream_cx_connect_ms.record(elapsed_ms(began, core.now()));
    let keepalive = cluster.config.http2.connection_keepalive;
    let keepalive = keepalive.map(|rules| Keepalive::new(rules, core.now(), worker.chance()));
    let codec = Connection::new(Role::Client, &limits::of_upstream(&cluster), 0);
    let meter = Meter::new(Of::Cluster(Arc::clone(&breakers.stats)), &worker.shared);
    let streams_max = cluster.config.http2.max_concurrent_streams;
    let setup = Setup { unsent_high: limits.unsent_high, streams_max, meter, keepalive };
    let link = Link::new(core, &worker.http2, codec, socket, setup);
    link.begin();
    pool.links.connected(&link, &permit);
    pool.wake_waiting();
    let mut connection = Upstream {
        worker: Rc::clone(&worker),
        cluster,
        pool: Rc::clone(&pool),
        link: Rc::clone(&link),
        timer: core.timer(),
        held: None,
        idle_since: Some(core.now()),
        is_shrunk: true,
        ends: pool.reuse.get().duration_max.map(|max| core.now() + max),
    };
    let end = poll_fn(|context| connection.poll(context)).await;
    drop(connection);
    pool.links.gone(&link);
    permit.set_busy(link.active() > 0);
    if end == End::Peer {
        permit.closed_by_peer();
    }
    // What was queued, a GOAWAY perhaps, leaves with the last flush of the socket.
    drop(link.close(end));
    drop(permit);
    pool.wake_waiting();
}

struct Upstream {
    worker: Rc<Worker>,
    cluster: Rc<CoreCluster>,
    pool: Rc<EndpointPool>,
    link: Rc<Link>,
    timer: Timer,
    /// A frame that has not come whole.
    held: Option<BlockMut>,
    idle_since: Option<Instant>,
    /// What a quiet connection does without was given back.
    is_shrunk: bool,
    /// When its time is used up.
    ends: Option<Instant>,
}

impl Upstream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let link = Rc::clone(&self.link);
        link.runs(context);
        link.settle();
        for turn in 0.. {
            if turn == RECEIVES_PER_TURN_MAX {
                context.waker().wake_by_ref();
                break;
            }
            let end = match link.poll_recv(context) {
                Poll::Pending => break,
                Poll::Ready(Ok(Some(chunk))) => match self.feed(chunk) {
                    Ok(()) => continue,
                    Err(end) => end,
                },
                Poll::Ready(Ok(None) | Err(_)) => End::Peer,
            };
            link.pump(context);
            return Poll::Ready(end);
        }
        if let Some(end) = self.look_after(context) {
            link.pump(context);
            return Poll::Ready(end);
        }
        link.pump(context);
        if link.has_fresh() {
            // Who something came for runs now; what it does not take is settled after that.
            link.wake();
        }
        Poll::Pending
    }

    fn feed(&mut self, chunk: Chunk) -> Result<(), End> {
        self.link.heard();
        let chunk = match self.held.take() {
            None => chunk,
            Some(held) => self.worker.join(held, &chunk),
        };
        let mut at = 0;
        loop {
            let (consumed, happened) = self.link.receive(&chunk, at);
            at += consumed;
            match happened {
                Happened::Nothing | Happened::Pong(_) => {}
                Happened::Head { key, ends } => self.head(key, ends),
                Happened::Trailers(port, key) => self.trailers(port, key),
                Happened::Settings => {
                    self.pool.links.told(self.link.streams_max());
                    self.pool.wake_waiting();
                }
                Happened::GoAway => {
                    self.cluster.state.breakers.stats.upstream_cx_close_notify.add(1);
                    self.link.leave();
                }
                Happened::Failed(error) => {
                    self.cluster.state.breakers.stats.upstream_cx_protocol_error.add(1);
                    return Err(End::Failed(error));
                }
                Happened::NeedMore => {
                    if at < chunk.len() {
                        self.held = Some(self.worker.copy(&chunk[at..]));
                    }
                    return Ok(());
                }
            }
        }
    }

    /// A response's head came.
    fn head(&mut self, key: Key, ends: bool) {
        let link = &self.link;
        let port = link.port_of(key);
        let mut scratch = self.worker.http2.borrow_mut();
        let mut block = std::mem::take(&mut scratch.block);
        block.clear();
        let limits = &self.cluster.codec_limits;
        let mut table = scratch.take_table(limits.headers_max);
        let read = match scratch.fields.is_too_large() {
            true => Err(Rule::HeadTooLarge.into()),
            false => link
                .with_asked(port, |asked| read_response(&scratch.fields, ends, asked, limits, &mut table, &mut block)),
        };
        drop(scratch);
        match read {
            Ok(()) => {
                let response = table.response(&block);
                let is_interim = response.status() < 200 && response.upgrade().is_none();
                if !is_interim {
                    link.expect(port, key, &response);
                }
                if is_interim && link.count_interim(port) > self.worker.limits.interim_responses_max {
                    link.reject(port, key, Rule::TooManyInterims);
                } else {
                    link.push_head(port, self.worker.core.chunk(&block), table, ends);
                }
            }
            Err(error) => {
                self.cluster.state.breakers.stats.upstream_cx_protocol_error.add(1);
                link.reject(port, key, error.rule);
            }
        }
        self.worker.http2.borrow_mut().block = block;
    }

    /// The trailers of a response came.
    fn trailers(&mut self, port: usize, key: Key) {
        let mut scratch = self.worker.http2.borrow_mut();
        let mut block = std::mem::take(&mut scratch.block);
        block.clear();
        let read = read_trailers(&scratch.fields, &self.cluster.codec_limits, &mut block);
        drop(scratch);
        match read {
            Ok(()) => self.link.push_trailers(port, self.worker.core.chunk(&block)),
            Err(error) => self.link.reject(port, key, error.rule),
        }
        self.worker.http2.borrow_mut().block = block;
    }

    /// Gives memory back that a connection does without that was quiet for a while; else when that will be.
    fn quiet_until(&mut self, now: Instant) -> Option<Instant> {
        let until = self.idle_since.filter(|_| !self.is_shrunk)? + QUIET;
        if now < until {
            return Some(until);
        }
        self.is_shrunk = true;
        self.link.shrink();
        None
    }

    /// What time and the configuration ask for.
    fn look_after(&mut self, context: &mut Context<'_>) -> Option<End> {
        let now = self.worker.core.now();
        let is_idle = self.link.active() == 0;
        let is_retired = self.pool.is_retired();
        if is_retired && !self.pool.links.has_waiting() {
            self.link.leave();
        }
        if self.link.is_leaving() && is_idle {
            self.link.go_away(Code::NO_ERROR);
            return Some(End::Closed);
        }
        self.idle_since = match (is_idle, self.idle_since) {
            (false, _) => None,
            (true, None) => {
                self.is_shrunk = false;
                Some(now)
            }
            (true, since) => since,
        };
        let reuse = self.pool.reuse.get();
        loop {
            let quiet = self.quiet_until(now);
            // Who waited for it may have given up.
            let idle_timeout = if is_retired { Some(QUIET) } else { reuse.idle_timeout };
            let idle_until = self.idle_since.zip(idle_timeout).map(|(since, timeout)| since + timeout);
            if idle_until.is_some_and(|until| now >= until) {
                self.cluster.state.breakers.stats.upstream_cx_idle_timeout.add(1);
                self.link.go_away(Code::NO_ERROR);
                return Some(End::Closed);
            }
            if self.ends.is_some_and(|ends| now >= ends) {
                self.ends = None;
                self.cluster.state.breakers.stats.upstream_cx_max_duration_reached.add(1);
                self.link.leave();
                if is_idle {
                    self.link.go_away(Code::NO_ERROR);
                    return Some(End::Closed);
                }
            }
            let Ok(pings) = self.link.keep_alive(|| self.worker.chance()) else { return Some(End::Peer) };
            match [quiet, idle_until, self.ends, pings].into_iter().flatten().min() {
                Some(at) => self.timer.set(at),
                None => self.timer.clear(),
            }
            if self.timer.poll_expired(context).is_pending() {
                return None;
            }
        }
    }
}
