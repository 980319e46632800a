//! One request and its response.
//!
//! ```text
//!   decide ──> Answered (a reply of our own)
//!      │
//!      └─────> Acquire ──> AwaitHead ──> Body ──> done
//!                ^             │
//!                └── replay ───┘  the reused connection died before a byte of the response, and asking
//!                                 again is safe (RFC 9110 §9.2.2)
//! ```
//!
//! Where the route has a policy, `again` leads back to Acquire from each of them, too: `again.rs`.
//!
//! `decide` (see `decision.rs`) is the pure part; [`run`] carries out what it decided. While a request waits it holds no
//! chunk: its head is one block, and what else the client sent lies with its socket.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_model::format::Moment;
use ringway_model::{Position, Priority, UpstreamProtocol};
use ringway_observe::{ClusterStats, GrpcStats, HttpStats, Origin, ResponseFlag};
use ringway_protocols::http2::Code;
use ringway_protocols::{Framing, Method};
use ringway_runtime::{Chunk, Instant};

mod again;
mod connect;
mod expiry;
mod local;
mod respond;
mod response_head;
mod tunnel;

use crate::balance;
use crate::connection::{After, Downstream};
use crate::core_cluster::CoreCluster;
use crate::date::elapsed_ms;
use crate::decision::{Decision, Then};
use crate::grpc_stats::{Direction, Meter};
use crate::handshake::Handshake;
use crate::http2::{HeadForm, Http2Stream, Reset};
use crate::pool::{ActiveRequest, EndpointPool, Upstream};
use crate::record::Record;
use crate::relay::{Relay, RelayError};
use crate::reply::{self, Failure};
use crate::response_edit::ResponseEdit;
use crate::retry::Retry;
use crate::routing::Forward;
use crate::tunnel::{ESTABLISHED, Tunnel};
use crate::view::CoreChain;
use crate::worker::Worker;

/// Carries out to the last byte of the response what was decided: just now ([`Worker::decided`]), or what was kept since ([`Worker::kept`]).
pub(crate) async fn run(connection: &Downstream) -> After {
    let Decision { method, framing, keep_alive, continues, chain, stream_idle, record, request_id, origin, then } =
        decided(connection);
    let stats = &*chain.stats;
    stats.downstream_rq_active.add(1);
    let _active = scopeguard(|| {
        stats.downstream_rq_active.sub(1);
        stats.downstream_rq_time.record(elapsed_ms(connection.began.get(), connection.worker.core.now()));
    });
    if continues {
        send_continue(connection, stats);
    }
    // Taken apart at once, and nowhere kept: what lives while the upstream is waited for is the exchange's memory.
    let (
        Forward {
            position,
            priority,
            cluster,
            head,
            endpoint,
            timeout,
            stream_idle: idle,
            max_duration,
            response,
            tunnel,
            handshake,
            is_https,
            retry,
            grpc,
        },
        record,
    ) = match unanswered(connection, &chain, record, then) {
        Ok(both) => both,
        Err(after) => return after,
    };
    let stream_idle = idle.unwrap_or(stream_idle);
    let dropped = balance::drops(&connection.worker, &cluster);
    cluster.state.breakers.stats.upstream_rq_active.add(1);
    let _active = scopeguard(|| cluster.state.breakers.stats.upstream_rq_active.sub(1));
    let mut exchange =
        Exchange::new(connection, (&cluster, position), &chain, method, framing, keep_alive, stream_idle);
    exchange.timeout = timeout;
    let began = connection.began.get();
    exchange.route_ends = max_duration.map(|duration| began + duration);
    exchange.ends = exchange.route_ends;
    exchange.request_ends = chain.http.request_timeout.map(|timeout| began + timeout);
    exchange.edit = response;
    exchange.priority = priority;
    exchange.record = record;
    exchange.request_id = request_id;
    if tunnel != Tunnel::Not && connection.stream.is_http2() {
        // What comes on the stream is the tunnel's.
        exchange.upload.give_up();
    }
    exchange.ask(tunnel, handshake);
    exchange.begin_tries(retry);
    exchange.upload.trailers = exchange.passes_trailers();
    exchange.grpc = grpc;
    exchange.upload.grpc = exchange.meter(Direction::ToCluster);
    if tunnel != Tunnel::Not {
        stats.downstream_cx_upgrades_active.add(1);
    }
    exchange.origin = origin;
    exchange.is_https = is_https;
    let after = if let Some(failure) = dropped {
        if let Some(load) = &cluster.load {
            load.overloaded();
        }
        exchange.answer_local(failure.local(), false)
    } else if cluster.state.breakers_of(priority).requests.try_acquire() {
        let _permit = scopeguard(|| cluster.state.breakers_of(priority).requests.release());
        exchange.forward(head, endpoint).await
    } else {
        cluster.state.breakers.stats.upstream_rq_pending_overflow.add(1);
        cluster.overflowed();
        exchange.answer(Failure::Overflow)
    };
    if tunnel != Tunnel::Not {
        stats.downstream_cx_upgrades_active.sub(1);
    }
    exchange.end_tries();
    if let Some(mut record) = exchange.record.take() {
        record.body_received = exchange.upload.moved;
        record.downstream_received += exchange.upload.received;
        record.upstream_sent += exchange.upload.sent;
        connection.worker.log.write(connection, &chain, record);
    }
    after
}

/// What an exchange begins with. A function, so that the exchange's memory has no place for where it was kept.
#[inline]
fn decided(connection: &Downstream) -> Decision {
    let worker = &*connection.worker;
    let decided = match worker.kept.take() {
        None => worker.decided.borrow_mut().place().take(),
        Some(mut kept) => {
            let decided = kept.place().take();
            worker.http2_decisions.borrow_mut().give_back(kept);
            decided
        }
    };
    decided.expect("an exchange begins with what was decided")
}

/// What is to be forwarded; an answer that was decided is given here.
fn unanswered(
    connection: &Downstream,
    chain: &CoreChain,
    record: Option<Box<Record>>,
    then: Then,
) -> Result<(Forward, Option<Box<Record>>), After> {
    match then {
        Then::Answer { response, status, complete } => {
            let stats = &*chain.stats;
            stats.count_status(status);
            stats.downstream_rq_completed.add(1);
            stats.downstream_cx_tx_bytes_total.add(response.len() as u64);
            connection.stream.send_whole(response);
            if let Some(record) = record {
                connection.worker.log.write(connection, chain, record);
            }
            Err(if complete { After::KeepAlive } else { After::Linger })
        }
        Then::Forward(forward) => Ok((forward, record)),
    }
}

/// Ends a request whose client gave it up before anything was done about it.
pub(crate) fn given_up(connection: &Downstream, decision: Decision) {
    let Decision { chain, record, .. } = decision;
    let stats = &*chain.stats;
    stats.downstream_rq_rx_reset.add(1);
    stats.downstream_rq_time.record(elapsed_ms(connection.began.get(), connection.worker.core.now()));
    if let Some(mut record) = record {
        record.client_gone();
        connection.worker.log.write(connection, &chain, record);
    }
}

/// Tells the client to send the body that it waits with (RFC 9110 §10.1.1). Envoy does so whatever the answer will be.
#[cold]
fn send_continue(connection: &Downstream, stats: &HttpStats) {
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    stats.count_status(100);
    stats.downstream_cx_tx_bytes_total.add(CONTINUE.len() as u64);
    connection.stream.send_head(connection.worker.core.chunk(CONTINUE), HeadForm::default());
}

/// Runs `end` when it goes out of scope, however the exchange ends.
fn scopeguard(end: impl FnMut()) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(end)
}

/// How far the response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Response {
    /// Nothing of it has been sent to the client.
    Awaited,
    /// Its head has; it can only be completed or cut short.
    Begun,
}

/// Why waiting ended without what was waited for.
enum Stop {
    /// Answer with this.
    Fail(Failure),
    /// The client is gone or broke the framing of its body.
    Client(RelayError),
    /// The upstream connection died before a byte of the response.
    Died,
    /// The upstream said that it did nothing about the request: asking again is safe whatever it asks for (RFC 9113 §8.7).
    Unprocessed,
    /// The response is one after which another try is made; whether its connection may be reused.
    Refused { reusable: bool },
}

/// Why a stream ended before its response.
#[cold]
fn stream_died(stream: &Http2Stream) -> Stop {
    match stream.reset() {
        Some(Reset { is_unprocessed: true, .. }) => Stop::Unprocessed,
        Some(Reset { is_ours: true, .. }) => Stop::Fail(Failure::UpstreamProtocol),
        // As Envoy: it says that we broke the rules.
        Some(Reset { code: Code::PROTOCOL_ERROR, .. }) => Stop::Fail(Failure::UpstreamProtocol),
        Some(_) if !stream.has_lost_connection() => Stop::Fail(Failure::RemoteReset),
        _ => Stop::Died,
    }
}

struct Exchange<'x> {
    connection: &'x Downstream,
    cluster: &'x Rc<CoreCluster>,
    stats: &'x HttpStats,
    cluster_stats: &'x ClusterStats,
    method: Method,
    keep_alive: bool,
    /// The request's body on its way up.
    upload: Relay,
    response: Response,
    timeout: Option<Duration>,
    stream_idle: Option<Duration>,
    /// When the route's timeout passes: it runs from the end of the request (Envoy, `RouteAction.timeout`).
    deadline: Option<Instant>,
    /// When `request_timeout` passes, unless the request is complete.
    request_ends: Option<Instant>,
    /// When the route's `max_stream_duration` passes.
    route_ends: Option<Instant>,
    /// When that or, of the try at hand, the cluster's passes.
    ends: Option<Instant>,
    edit: Option<ResponseEdit>,
    /// When something last moved, and how much had moved until then.
    active_at: Instant,
    moved: u64,
    /// Whether the client's socket is still watched for its end.
    watched: bool,
    /// Bytes came from the upstream of a head that is not complete.
    heard: bool,
    /// The client was passed an upstream's 100: that of another try is nothing new.
    continued: bool,
    record: Option<Box<Record>>,
    chain: &'x CoreChain,
    /// The request's id, where the response is to tell it.
    request_id: Option<Chunk>,
    /// Where the request came from.
    origin: Origin,
    /// When the last byte of the request had come, if it has.
    requested_at: Option<Instant>,
    tunnel: Tunnel,
    handshake: Handshake,
    /// The request's fields are to be kept out of every table.
    never_indexed: bool,
    /// The upstream is spoken to in HTTP/2; before there is a connection: perhaps.
    to_http2: bool,
    /// The scheme that an upstream of HTTP/2 is told.
    is_https: bool,
    /// Where the request's route stands in the chain's configuration.
    position: Position,
    priority: Priority,
    /// Where there are rules for tries.
    retry: Option<Box<Retry>>,
    /// Where the call is counted, if it is one.
    grpc: Option<Arc<GrpcStats>>,
    /// Its end was seen: trailers, or a head without content.
    is_ended: bool,
    /// The try under way, and whether it is known what became of it.
    active: Option<ActiveRequest>,
    is_judged: bool,
}

impl<'x> Exchange<'x> {
    fn new(
        connection: &'x Downstream,
        (cluster, position): (&'x Rc<CoreCluster>, Position),
        chain: &'x CoreChain,
        method: Method,
        framing: Framing,
        keep_alive: bool,
        stream_idle: Option<Duration>,
    ) -> Self {
        // A stream's end is the end of its message; what frames it says how it goes on to HTTP/1.
        let came = match framing {
            Framing::Length(_) | Framing::Chunked if connection.stream.is_http2() => Framing::UntilClose,
            framing => framing,
        };
        let goes = if framing == Framing::UntilClose { Framing::Chunked } else { framing };
        Self {
            connection,
            cluster,
            stats: &chain.stats,
            cluster_stats: &cluster.state.breakers.stats,
            method,
            keep_alive,
            upload: Relay::new(came, goes).within(cluster.config.buffer_bytes_max),
            response: Response::Awaited,
            timeout: None,
            stream_idle,
            deadline: None,
            request_ends: None,
            route_ends: None,
            ends: None,
            edit: None,
            active_at: connection.worker.core.now(),
            moved: 0,
            watched: true,
            heard: false,
            continued: false,
            record: None,
            chain,
            request_id: None,
            origin: Origin::default(),
            requested_at: None,
            tunnel: Tunnel::Not,
            handshake: Handshake::Passed,
            never_indexed: connection.stream.http2().is_some_and(Http2Stream::never_indexed),
            to_http2: cluster.config.protocol.may_be_http2(connection.stream.is_http2()),
            is_https: false,
            position,
            priority: Priority::Default,
            retry: None,
            grpc: None,
            is_ended: false,
            active: None,
            is_judged: false,
        }
    }

    /// Tells the record of something that happens now.
    #[inline]
    fn note(&mut self, tell: impl FnOnce(&mut Record, Instant)) {
        if let Some(record) = &mut self.record {
            tell(record, self.connection.worker.core.now());
        }
    }

    /// What counts one direction of the call, where the filter `grpc_stats` is and this is one.
    fn meter(&self, direction: Direction) -> Option<Meter> {
        self.grpc.as_ref().map(|stats| Meter::new(stats, direction))
    }

    fn worker(&self) -> &'x Worker {
        &self.connection.worker
    }

    /// Tries until there is an answer.
    #[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice, as its own and as locals")]
    fn forward(&mut self, mut head: Chunk, endpoint: Option<Rc<EndpointPool>>) -> impl Future<Output = After> {
        async move {
            self.request_ended();
            self.arm();
            let pick = || balance::pick(self.worker(), self.cluster).map(|at| Rc::clone(self.cluster.pool(at)));
            let Some(mut pool) = endpoint.or_else(pick) else {
                self.cluster_stats.upstream_cx_none_healthy.add(1);
                return self.answer(Failure::NoHealthyUpstream);
            };
            self.note(|record, _| record.upstream = Some(pool.address.borrow().clone()));
            let mut replays = 0;
            'tries: loop {
                if let Some(of_host) = pool.for_host(&head) {
                    pool = of_host;
                }
                let stop = 'attempt: {
                    (self.active, self.is_judged) = (Some(pool.begin_request()), false);
                    let mut reused = true;
                    let upstream = match self.take(&pool, replays) {
                        Some(upstream) => upstream,
                        None => {
                            reused = false;
                            match self.acquired(&pool).await {
                                Ok(upstream) => upstream,
                                Err(failure) => break 'attempt Stop::Fail(failure),
                            }
                        }
                    };
                    if self.tunnel.is_upgrade()
                        && upstream.stream.is_http2()
                        && let Err(failure) = self.offered(&pool, &upstream).await
                    {
                        break 'attempt Stop::Fail(failure);
                    }
                    if self.connection.stream.http2().is_some_and(|stream| stream.reset().is_some()) {
                        // Given up while the connection was made: it costs the upstream nothing.
                        break 'attempt Stop::Client(RelayError::Source);
                    }
                    upstream.begin();
                    if let Some(is_one_of_many) = self.connection.stream.is_one_of_many() {
                        upstream.stream.set_sparing(is_one_of_many);
                    }
                    if self.cluster.config.protocol == UpstreamProtocol::ByAlpn {
                        self.to_http2 = upstream.stream.is_http2();
                        self.upload.trailers = self.passes_trailers();
                    }
                    self.cluster_stats.upstream_rq_total.add(1);
                    self.active.iter().for_each(ActiveRequest::sent);
                    if self.tunnel == Tunnel::Terminated {
                        // A connection that is made is what the next proxy would say 200 to.
                        upstream.stream.unread(self.worker().core.chunk(ESTABLISHED));
                    } else {
                        let tunnel = self.tunnel != Tunnel::Not;
                        let ends = !tunnel && self.upload.is_done() && self.upload.is_untouched();
                        let form =
                            HeadForm { ends, tunnel, never_indexed: self.never_indexed, is_https: self.is_https };
                        let head = if tunnel { self.tunnel_head(&head) } else { head.clone() };
                        let size = head.len();
                        upstream.stream.send_head(head, form);
                        self.upload.send_again(self.worker(), &upstream.stream);
                        self.sent(&upstream, size);
                        self.cluster_stats.upstream_cx_tx_bytes_total.add(size as u64);
                    }
                    let stop = match self.respond(&upstream).await {
                        Ok(reusable) => {
                            upstream.end();
                            if replays > 0 {
                                self.cluster_stats.upstream_rq_retry_success.add(1);
                            }
                            if reusable {
                                self.put_back(&pool, upstream);
                            }
                            self.active = None;
                            return self.finish();
                        }
                        Err(Stop::Died) => upstream.stream.http2().map_or(Stop::Died, stream_died),
                        Err(stop) => stop,
                    };
                    match stop {
                        Stop::Unprocessed
                            if replays < self.worker().limits.unprocessed_replays_max
                                && self.upload.is_repeatable() =>
                        {
                            replays += 1;
                            self.judge(false);
                            self.cluster_stats.upstream_rq_retry.add(1);
                            continue 'tries;
                        }
                        Stop::Died
                            if reused
                                && replays < self.worker().limits.replays_max
                                && self.method.is_idempotent()
                                && self.upload.is_untouched() =>
                        {
                            upstream.died();
                            replays += 1;
                            self.judge(false);
                            self.cluster_stats.upstream_rq_retry.add(1);
                            continue 'tries;
                        }
                        Stop::Died | Stop::Unprocessed | Stop::Fail(Failure::RemoteReset) => {
                            upstream.died();
                            self.cluster_stats.upstream_rq_rx_reset.add(1);
                        }
                        Stop::Refused { reusable: true } => {
                            upstream.end();
                            self.put_back(&pool, upstream);
                        }
                        _ => {
                            if matches!(stop, Stop::Fail(Failure::Reset)) {
                                upstream.died();
                            }
                            self.cluster_stats.upstream_rq_tx_reset.add(1);
                        }
                    }
                    stop
                };
                let stop = self.judge_stop(stop);
                if self.retry.is_none() {
                    return self.stopped(stop);
                }
                match self.tried_again(stop, &pool, &head).await {
                    Ok(next) => (pool, head) = next,
                    Err(stop) => return self.stopped(stop),
                }
            }
        }
    }

    /// What a try that was stopped says of its endpoint, to load reports. A client that goes away, or its own time, says nothing.
    #[inline]
    fn judge_stop(&mut self, stop: Stop) -> Stop {
        match stop {
            Stop::Client(_)
            | Stop::Fail(
                Failure::StreamIdle
                | Failure::StreamIdleRequest
                | Failure::StreamDuration
                | Failure::StreamDurationRequest
                | Failure::RequestTimeout,
            ) => {}
            Stop::Fail(Failure::Overflow) => self.cluster.overflowed(),
            Stop::Fail(_) | Stop::Died | Stop::Unprocessed | Stop::Refused { .. } => self.judge(false),
        }
        self.active = None;
        // By value there and back: what is lent has a place in the task for as long as the next try takes.
        stop
    }

    /// What became of the try under way. Only the first word counts.
    #[inline]
    fn judge(&mut self, is_successful: bool) {
        if let Some(active) = self.active.as_ref().filter(|_| !self.is_judged) {
            active.judged(is_successful);
        }
        self.is_judged = true;
    }

    /// Whether load reports still want to know what becomes of it.
    #[inline]
    fn is_unjudged(&self) -> bool {
        !self.is_judged && self.active.as_ref().is_some_and(ActiveRequest::is_reported)
    }

    fn put_back(&self, pool: &Rc<EndpointPool>, mut upstream: Upstream) {
        upstream.served += 1;
        pool.put(&self.worker().core, upstream, self.worker().limits.idle_per_endpoint_max);
    }

    /// Ends the exchange for what stopped its last try.
    fn stopped(&mut self, stop: Stop) -> After {
        let error = match stop {
            Stop::Died => return self.answer(Failure::Reset),
            Stop::Unprocessed if self.upload.is_repeatable() => return self.answer(Failure::RemoteRefused),
            Stop::Unprocessed => return self.answer(Failure::RemoteRefusedPart),
            Stop::Fail(failure) => return self.answer(failure),
            Stop::Refused { .. } => unreachable!("another try is made, or what came is passed on"),
            Stop::Client(error) => error,
        };
        self.stats.downstream_rq_rx_reset.add(1);
        self.connection.is_cut.set(true);
        if !self.connection.stream.is_http2() {
            self.stats.downstream_cx_destroy_remote_active_rq.add(1);
        }
        match (error, self.response) {
            (RelayError::Malformed(error), Response::Awaited) => {
                self.stats.downstream_cx_protocol_error.add(1);
                self.answer_local(reply::protocol_error(&error), false)
            }
            (RelayError::Malformed(_), Response::Begun) => {
                self.note(|record, _| record.flags.insert(ResponseFlag::DPE));
                After::Linger
            }
            (_, Response::Awaited | Response::Begun) => {
                self.connection.is_peers.set(true);
                self.note(|record, _| record.client_gone());
                After::Close
            }
        }
    }

    /// The request's head has gone to an upstream.
    fn sent(&mut self, upstream: &Upstream, size: usize) {
        if let Some(duration) = self.cluster.config.http.max_stream_duration {
            self.end_try_within(duration);
        }
        if self.retry.is_some() {
            self.sent_try();
        }
        let (is_complete, chain) = (self.upload.is_done(), self.chain);
        self.note(|record, now| {
            record.upstream_sent += size as u64;
            record.mark(Moment::SendBegan, now);
            if is_complete {
                record.mark(Moment::SendEnded, now);
            }
            record.upstream_http2 = upstream.stream.is_http2();
            record.upstream_remote = upstream.remote();
            if chain.logs.asks_upstream_local {
                record.upstream_local = upstream.stream.local_addr();
            }
        });
    }

    fn finish(&mut self) -> After {
        if self.worker().closes_after(self.connection.key) && !self.connection.stream.is_http2() {
            self.stats.downstream_cx_drain_close.add(1);
        }
        self.stats.downstream_rq_completed.add(1);
        match self.requested_at {
            Some(since) => {
                let ms = elapsed_ms(since, self.worker().core.now());
                self.cluster_stats.count_time(self.origin, ms);
                if let Some(stats) = &self.grpc
                    && self.is_ended
                    && self.chain.http.grpc_stats.as_ref().is_some_and(|rules| rules.times)
                {
                    stats.upstream_rq_time.record(ms);
                }
            }
            None => self.stats.downstream_rq_response_before_rq_complete.add(1),
        }
        if self.keep_alive { After::KeepAlive } else { After::Linger }
    }
}
