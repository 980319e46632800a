//! One raw connection: `tcp_proxy`.
//!
//! ```text
//!   connect ──────────> relay ──────────> closed: both ended, one broke off, or time is over
//!      │ no cluster, no endpoint, no room, no answer
//!      └─────────────────────────────────> closed
//! ```
//!
//! Nothing is read from the client before the upstream is there; what listener filters have read lies with its stream. Then bytes go both
//! ways, whoever speaks first. A connection holds its chain's settings, its cluster and its endpoint, never a snapshot. It never looks at
//! a byte.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use ringway_model::ResponseFlag;
use ringway_observe::{ClusterStats, TcpStats};
use ringway_runtime::{Instant, Stream, Timer};

mod clock;
mod connect;
mod flow;
mod relay;
mod told;

use self::clock::{Clock, Expired};
use self::connect::{Attempted, Upstream};
use self::relay::{End, Progress, Relay, Side};
use self::told::Told;
use crate::arrived::Arrived;
use crate::core_cluster::CoreCluster;
use crate::registered::Registered;
use crate::told_connection::{OF_LISTENER, OF_TCP, ToldConnection};
use crate::view::CoreTcp;

/// What the task of one raw connection may weigh: an idle one is this, its sockets and its timer.
const TASK_SIZE_MAX: usize = 512;

/// A client's connection on its way through.
struct Connection {
    registered: Registered,
    tcp: Rc<CoreTcp>,
    /// What is known of it beside its bytes, once somebody asked.
    arrived: OnceCell<Rc<Arrived>>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Relayed(End),
    Expired(Expired),
}

/// Serves a client's connection in a task of its own.
pub(crate) fn begin(registered: Registered, tcp: Rc<CoreTcp>, stream: Stream, arrived: Option<Rc<Arrived>>) {
    let worker = Rc::clone(&registered.worker);
    let connection = Connection { registered, tcp, arrived: arrived.map_or_else(OnceCell::new, OnceCell::from) };
    if connection.tcp.is_logged() {
        // Of a peer that has gone the system knows nothing any more.
        connection.arrived(&stream);
    }
    let serve = connection.serve(stream);
    assert!(size_of_val(&serve) <= TASK_SIZE_MAX, "the task is {} bytes", size_of_val(&serve));
    worker.core.spawn("tcp", serve);
}

impl Connection {
    /// What is known of it beside its bytes: the system is asked where nobody knows.
    fn arrived(&self, client: &Stream) -> Rc<Arrived> {
        let ask = || {
            let ends = (client.local_addr(), client.peer_addr());
            Rc::new(Arrived::told(ends, Some(&self.tcp.listener), || client.local_path()))
        };
        Rc::clone(self.arrived.get_or_init(ask))
    }

    #[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice, as its own and as locals")]
    fn serve(self, client: Stream) -> impl Future<Output = ()> {
        async move {
            let Self { registered, tcp, .. } = &self;
            tcp.stats.downstream_cx_total.add(1);
            // In memory of its own, which is gone when bytes move.
            let mut tried = tcp.is_logged().then(Box::default);
            let upstream = registered.worker.core.pooled(self.connect(&client, &mut tried)).await;
            let Some(Upstream { stream, permit, cluster, .. }) = upstream else {
                return self.log(tried.as_deref(), None, [0, 0]);
            };
            let stats = &*cluster.state.breakers.stats;
            stats.upstream_rq_active.add(1);
            let (ended, moved) = self.relay(&client, &stream, &cluster).await;
            stats.upstream_rq_active.sub(1);
            let (flag, by_upstream) = self.count_end(ended);
            if by_upstream {
                permit.closed_by_peer();
            }
            if let (Some(flag), Some(tried)) = (flag, &mut tried) {
                tried.flags.insert(flag);
            }
            self.log(tried.as_deref(), Some(&stream), moved);
            if matches!(ended, Ended::Relayed(End::Reset(_))) {
                client.abort();
                stream.abort();
            }
        }
    }

    /// Counts how it ended. The flag that its logs show for it, and whether the upstream's connection was closed by its peer.
    fn count_end(&self, ended: Ended) -> (Option<ResponseFlag>, bool) {
        let stats = &self.tcp.stats;
        match ended {
            Ended::Relayed(End::Whole(Side::Client) | End::Reset(Side::Client)) => (None, false),
            Ended::Relayed(End::Whole(Side::Upstream)) => (None, true),
            Ended::Relayed(End::Reset(Side::Upstream)) => (Some(ResponseFlag::UR), true),
            Ended::Expired(Expired::Idle) => {
                stats.idle_timeout.add(1);
                (None, false)
            }
            Ended::Expired(Expired::Duration) => {
                stats.max_downstream_connection_duration.add(1);
                (Some(ResponseFlag::DT), false)
            }
            Ended::Expired(Expired::Drain) => {
                stats.downstream_cx_drain_close.add(1);
                (None, false)
            }
        }
    }

    /// Tells the access logs of the connection, at its end.
    fn log(&self, tried: Option<&Attempted>, upstream: Option<&Stream>, moved: [u64; 2]) {
        let Self { registered: Registered { worker, since, .. }, tcp, arrived } = self;
        let Some(tried) = tried else { return };
        let asks =
            tcp.logs.asks_upstream_local || tcp.listener_logs.as_ref().is_some_and(|logs| logs.asks_upstream_local);
        let upstream_local = upstream.filter(|_| asks).and_then(Stream::local_addr);
        let arrived = arrived.get().map(|arrived| &**arrived);
        let id = arrived.and_then(|arrived| arrived.id).unwrap_or_else(|| worker.connection_id());
        let connection = ToldConnection::new(worker, &tcp.listener, &tcp.config.name, (id, *since));
        let connection = ToldConnection { arrived, moved: Some(moved), kind: OF_TCP, ..connection };
        let mut told = Told { connection, tried, upstream_local };
        worker.log.write_connection(worker, (&tcp.tcp.access_logs, &tcp.logs), &told);
        if let Some(logs) = &tcp.listener_logs {
            told.connection.kind = OF_LISTENER;
            worker.log.write_connection(worker, (&tcp.listener.access_logs, logs), &told);
        }
    }

    /// Moves bytes until nothing more is to be moved, or time is over.
    fn relay(
        &self,
        client: &Stream,
        upstream: &Stream,
        cluster: &CoreCluster,
    ) -> impl Future<Output = (Ended, [u64; 2])> {
        let Self { registered, tcp, .. } = self;
        let Registered { worker, key, since, .. } = registered;
        let held_max = |max: Option<u32>, from: &Stream| flow::held_max(&worker.limits, max, from);
        let held_max = (held_max(cluster.config.buffer_bytes_max, client), held_max(tcp.unsent_max, upstream));
        let mut relay = Relay::new(held_max, worker.limits.relay_bytes_per_poll);
        let mut clock = Clock::new(&tcp.tcp, *since, worker.core.now());
        let timer = worker.core.timer();
        let stats = &*cluster.state.breakers.stats;
        let mut is_known = false;
        poll_fn(move |context| {
            let (progress, done) = relay.poll(context, worker.core.turn(), client, upstream);
            count(&progress, &tcp.stats, stats);
            if progress.up.bytes + progress.down.bytes > 0 {
                clock.moved(worker.core.now(), relay.held(client, upstream));
            }
            if let Poll::Ready(end) = done {
                return Poll::Ready((Ended::Relayed(end), relay.moved()));
            }
            let is_new = !std::mem::replace(&mut is_known, true);
            if is_new {
                worker.register_waker(*key, context.waker());
            }
            let leaves = worker.is_pinned(*key) && clock.leave(worker.core.now() + worker.drain_time);
            if (is_new || leaves)
                && let Err(expired) = look(&clock, &timer, worker.core.now())
            {
                return Poll::Ready((Ended::Expired(expired), relay.moved()));
            }
            while timer.poll_expired(context).is_ready() {
                // Who takes slowly what waits for it is not idle.
                clock.taken(relay.held(client, upstream), worker.core.now());
                if let Err(expired) = look(&clock, &timer, worker.core.now()) {
                    return Poll::Ready((Ended::Expired(expired), relay.moved()));
                }
            }
            Poll::Pending
        })
    }
}

/// What is over by now; else the timer is set for when to look again.
fn look(clock: &Clock, timer: &Timer, now: Instant) -> Result<(), Expired> {
    match clock.look(now)? {
        Some(at) => timer.set(at),
        None => timer.clear(),
    }
    Ok(())
}

/// Counts what moved.
#[inline]
fn count(Progress { up, down }: &Progress, tcp: &TcpStats, cluster: &ClusterStats) {
    if up.bytes > 0 {
        tcp.downstream_cx_rx_bytes_total.add(up.bytes);
        cluster.upstream_cx_tx_bytes_total.add(up.bytes);
    }
    if down.bytes > 0 {
        cluster.upstream_cx_rx_bytes_total.add(down.bytes);
        tcp.downstream_cx_tx_bytes_total.add(down.bytes);
    }
    if up.paused {
        tcp.downstream_flow_control_paused_reading_total.add(1);
    }
    if up.resumed {
        tcp.downstream_flow_control_resumed_reading_total.add(1);
    }
}
