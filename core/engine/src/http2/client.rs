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
use std::task::Context;

use ringway_model::UpstreamVersion;
use ringway_protocols::Rule;
use ringway_protocols::http2::message::read_response;
use ringway_protocols::http2::{Code, Connection, Key, Role};
use ringway_runtime::{Instant, Stream, Timer};

use super::keepalive::Keepalive;
use super::limits;
use super::link::{End, Happened, Link, Setup};
use super::meter::{Meter, Of};
use super::quiet::{QUIET, Quiet};
use super::reading::{self, Reading, Tends};
use super::scratch::{Head, Scratch};
use crate::breakers::Breakers;
use crate::core_cluster::CoreCluster;
use crate::establish::{Established, Purpose, establish};
use crate::pool::{self, ConnectionPermit, EndpointPool};
use crate::worker::Worker;

/// Makes one more connection to the endpoint.
pub(crate) fn start(
    worker: &Rc<Worker>,
    cluster: &Rc<CoreCluster>,
    pool: &Rc<EndpointPool>,
    breakers: &Rc<Breakers>,
    (permit, purpose): (ConnectionPermit, Purpose),
) {
    pool.links.begin_connecting();
    let (worker, cluster, pool) = (Rc::clone(worker), Rc::clone(cluster), Rc::clone(pool));
    let (core, breakers) = (worker.core.clone(), Rc::clone(breakers));
    core.spawn("upstream", run(worker, cluster, pool, breakers, (Rc::new(permit), purpose)));
}

async fn run(
    worker: Rc<Worker>,
    cluster: Rc<CoreCluster>,
    pool: Rc<EndpointPool>,
    breakers: Rc<Breakers>,
    (permit, purpose): (Rc<ConnectionPermit>, Purpose),
) {
    let is_choice = purpose.version == Some(UpstreamVersion::ByAlpn);
    let connected = establish(&worker, &cluster, (&pool, &breakers), &purpose, || None).await;
    let Established { stream, chose_http2 } = match permit.connected(connected) {
        Ok(established) => established,
        Err(failure) => {
            pool.links.failed(failure);
            drop(permit);
            return pool.wake_waiting();
        }
    };
    if is_choice {
        pool.chose_http2.set(chose_http2);
        permit.count_version(chose_http2);
        if !chose_http2 {
            pool.links.gave_way();
            pool.put(&worker.core, pool::Upstream::shared(stream, permit), worker.limits.idle_per_endpoint_max);
            return pool.wake_waiting();
        }
    }
    let connection = open(worker, cluster, pool, &breakers, (stream, &permit));
    tend(connection, permit).await;
}

/// Makes a connection that was made for a request one for all: its endpoint chose HTTP/2.
pub(crate) fn adopt(
    worker: &Rc<Worker>,
    cluster: &Rc<CoreCluster>,
    pool: &Rc<EndpointPool>,
    breakers: &Rc<Breakers>,
    (stream, permit): (Stream, ConnectionPermit),
) {
    pool.links.begin_connecting();
    let permit = Rc::new(permit);
    let connection = open(Rc::clone(worker), Rc::clone(cluster), Rc::clone(pool), breakers, (stream, &permit));
    worker.core.spawn("upstream", tend(connection, permit));
}

/// Its first frames are sent, and there is room on it.
fn open(
    worker: Rc<Worker>,
    cluster: Rc<CoreCluster>,
    pool: Rc<EndpointPool>,
    breakers: &Breakers,
    (socket, permit): (Stream, &Rc<ConnectionPermit>),
) -> Upstream {
    let (core, limits) = (&worker.core, &worker.limits);
    let keepalive = cluster.config.http2.connection_keepalive;
    let keepalive = keepalive.map(|rules| Keepalive::new(rules, core.now(), worker.chance()));
    let codec = Connection::new(Role::Client, &limits::of_upstream(&cluster), 0);
    let meter = Meter::new(Of::Cluster(Arc::clone(&breakers.stats)), &worker.shared);
    let streams_max = cluster.config.http2.max_concurrent_streams;
    let setup = Setup { unsent_high: limits.unsent_high, streams_max, meter, keepalive };
    let link = Link::new(core, &worker.http2, codec, socket, setup);
    link.begin();
    pool.links.connected(&link, permit);
    pool.wake_waiting();
    Upstream {
        timer: core.timer(),
        reading: Reading::default(),
        quiet: Quiet::new(core.now()),
        ends: pool.reuse.get().duration_max.map(|max| core.now() + max),
        worker,
        cluster,
        pool,
        link,
    }
}

async fn tend(mut connection: Upstream, permit: Rc<ConnectionPermit>) {
    let (worker, pool, link) =
        (Rc::clone(&connection.worker), Rc::clone(&connection.pool), Rc::clone(&connection.link));
    let end = poll_fn(|context| reading::poll(&mut connection, &link, &worker, context)).await;
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
    reading: Reading,
    quiet: Quiet,
    /// When its time is used up.
    ends: Option<Instant>,
}

impl Tends for Upstream {
    // What it has to say is what makes room for more.
    const READS_FROM_CHOKED: bool = true;
    // Each is to a request of ours.
    const HEADS_PER_RECEIVE_MAX: u32 = u32::MAX;

    fn reading(&mut self) -> &mut Reading {
        &mut self.reading
    }

    fn came(&mut self, _: usize) {}

    fn happened(&mut self, happened: Happened) -> Result<(), End> {
        let stats = &self.cluster.state.breakers.stats;
        match happened {
            Happened::Nothing | Happened::NeedMore | Happened::Pong(_) => {}
            Happened::Head { key, ends } => self.head(key, ends),
            Happened::Trailers(port, key) => self.link.read_trailers(port, key, &self.cluster.codec_limits),
            Happened::Settings => {
                self.pool.links.told(self.link.streams_max());
                self.pool.wake_waiting();
            }
            Happened::GoAway => {
                stats.upstream_cx_close_notify.add(1);
                self.link.leave();
            }
            Happened::Failed(error) => {
                stats.upstream_cx_protocol_error.add(1);
                return Err(End::Failed(error));
            }
        }
        Ok(())
    }

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
        let reuse = self.pool.reuse.get();
        loop {
            let quiet = self.quiet.look(&self.link, now);
            // Who waited for it may have given up.
            let idle_timeout = if is_retired { Some(QUIET) } else { reuse.idle_timeout };
            let idle_until = idle_timeout.and_then(|timeout| self.quiet.for_so_long(timeout));
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

impl Upstream {
    /// A response's head came.
    fn head(&mut self, key: Key, ends: bool) {
        let link = &self.link;
        let port = link.port_of(key);
        let mut scratch = self.worker.http2.borrow_mut();
        let Scratch { fields, block, tables, .. } = &mut *scratch;
        let limits = &self.cluster.codec_limits;
        let (fields, repeat) = &mut fields.of_responses;
        let read = match fields.is_too_large() {
            true => Err(Rule::HeadTooLarge.into()),
            false => link.with_asked(port, |asked| {
                repeat.response(fields, ends, asked, limits, |before, id| {
                    before.into_iter().for_each(|head| tables.give(head.table));
                    block.clear();
                    let mut table = tables.take(limits.headers_max);
                    let own = Rc::get_mut(&mut table).expect("nobody else has it");
                    read_response(fields, ends, asked, limits, own, block)?;
                    own.know_as(id);
                    Ok(Some(Head { block: self.worker.core.chunk(block), table }))
                })
            }),
        };
        drop(scratch);
        match read {
            Ok(head) => {
                let Head { block, table } = head.expect("what was read");
                let response = table.response(&block);
                let is_interim = response.status() < 200 && response.upgrade().is_none();
                if !is_interim {
                    link.expect(port, key, &response);
                }
                if is_interim && link.count_interim(port) > self.worker.limits.interim_responses_max {
                    link.reject(port, key, Rule::TooManyInterims);
                } else {
                    link.push_head(port, block, table, ends);
                }
            }
            Err(error) => {
                self.cluster.state.breakers.stats.upstream_cx_protocol_error.add(1);
                link.reject(port, key, error.rule);
            }
        }
    }
}
