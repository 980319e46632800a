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

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_model::format::Moment;
use ringway_model::{Position, Priority};
use ringway_observe::{ClusterStats, HttpStats, Origin, ResponseFlag};
use ringway_protocols::http1::HeadScan;
use ringway_protocols::http2::Code;
use ringway_protocols::{Framing, Method, Version};
use ringway_runtime::{BlockMut, Chunk, Instant};

mod again;
mod connect;
mod expiry;
mod local;
mod response_head;

use crate::balance;
use crate::connection::{After, Downstream};
use crate::date::elapsed_ms;
use crate::decision::{Decision, Then};
use crate::grpc_stats::{Direction, Meter};
use crate::http2::{HeadForm, Http2Stream, Reset};
use crate::pool::{EndpointPool, Upstream};
use crate::record::Record;
use crate::relay::{Relay, RelayError};
use crate::reply::{self, Failure};
use crate::response_edit::ResponseEdit;
use crate::retry::Retry;
use crate::routing::Forward;
use crate::side::Side;
use crate::tunnel::{self, End, Tunnel};
use crate::view::{CoreChain, CoreCluster};
use crate::worker::Worker;
use response_head::Seen;

/// Carries out to the last byte of the response what was decided just now ([`Worker::decided`]).
pub(crate) async fn run(connection: &Downstream) -> After {
    let Some(Decision { method, framing, keep_alive, continues, chain, stream_idle, record, request_id, origin, then }) =
        connection.worker.decided.borrow_mut().take()
    else {
        unreachable!("an exchange begins with what was decided")
    };
    let stats = &*chain.stats;
    stats.downstream_rq_active.add(1);
    let _active = scopeguard(|| {
        stats.downstream_rq_active.sub(1);
        stats.downstream_rq_time.record(elapsed_ms(connection.began.get(), connection.worker.core.now()));
    });
    if continues {
        send_continue(connection, stats);
    }
    match then {
        Then::Answer { response, status, complete } => {
            stats.count_status(status);
            stats.downstream_rq_completed.add(1);
            stats.downstream_cx_tx_bytes_total.add(response.len() as u64);
            connection.stream.send_whole(response);
            if let Some(record) = record {
                connection.worker.log.write(connection, &chain, record);
            }
            if complete { After::KeepAlive } else { After::Linger }
        }
        Then::Forward(Forward {
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
            is_https,
            retry,
        }) => {
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
            exchange.begin_tries(retry);
            exchange.record = record;
            exchange.request_id = request_id;
            if tunnel != Tunnel::Not && connection.stream.is_http2() {
                // What comes on the stream is the tunnel's.
                exchange.upload.give_up();
            }
            exchange.ask(tunnel);
            exchange.upload.trailers = exchange.passes_trailers();
            exchange.upload.grpc = exchange.meter(Direction::ToCluster);
            if tunnel != Tunnel::Not {
                stats.downstream_cx_upgrades_active.add(1);
            }
            exchange.origin = origin;
            exchange.is_https = is_https;
            let after = if let Some(failure) = dropped {
                exchange.answer_local(failure.local(), false)
            } else if cluster.state.breakers_of(priority).requests.try_acquire() {
                let _permit = scopeguard(|| cluster.state.breakers_of(priority).requests.release());
                exchange.forward(head, endpoint).await
            } else {
                cluster.state.breakers.stats.upstream_rq_pending_overflow.add(1);
                exchange.answer(Failure::Overflow)
            };
            if tunnel != Tunnel::Not {
                stats.downstream_cx_upgrades_active.sub(1);
            }
            if exchange.retry.is_some() {
                exchange.end_tries();
            }
            if let Some(mut record) = exchange.record.take() {
                record.body_received = exchange.upload.moved;
                record.downstream_received += exchange.upload.received;
                record.upstream_sent += exchange.upload.sent;
                connection.worker.log.write(connection, &chain, record);
            }
            after
        }
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
    record: Option<Box<Record>>,
    chain: &'x CoreChain,
    /// The request's id, where the response is to tell it.
    request_id: Option<Chunk>,
    /// Where the request came from.
    origin: Origin,
    /// When the last byte of the request had come, if it has.
    requested_at: Option<Instant>,
    tunnel: Tunnel,
    /// The request's fields are to be kept out of every table.
    never_indexed: bool,
    /// The scheme that an upstream of HTTP/2 is told.
    is_https: bool,
    /// Where the request's route stands in the chain's configuration.
    position: Position,
    priority: Priority,
    /// Where there are rules for tries.
    retry: Option<Box<Retry>>,
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
            record: None,
            chain,
            request_id: None,
            origin: Origin::default(),
            requested_at: None,
            tunnel: Tunnel::Not,
            never_indexed: connection.stream.http2().is_some_and(Http2Stream::never_indexed),
            is_https: false,
            position,
            priority: Priority::Default,
            retry: None,
        }
    }

    /// Tells the record of something that happens now.
    #[inline]
    fn note(&mut self, tell: impl FnOnce(&mut Record, Instant)) {
        if let Some(record) = &mut self.record {
            tell(record, self.connection.worker.core.now());
        }
    }

    /// What counts the call, where the filter `grpc_stats` is and this is one.
    fn meter(&self, direction: Direction) -> Option<Meter> {
        let is_counted = self.chain.http.grpc_stats && self.connection.is_grpc.get();
        is_counted.then(|| Meter::new(&self.cluster.state.breakers.stats, direction))
    }

    fn worker(&self) -> &'x Worker {
        &self.connection.worker
    }

    async fn forward(&mut self, head: Chunk, endpoint: Option<Rc<EndpointPool>>) -> After {
        self.request_ended();
        self.arm();
        let pick = || balance::pick(self.worker(), self.cluster).map(|at| Rc::clone(&self.cluster.endpoints[at]));
        let Some(mut pool) = endpoint.or_else(pick) else {
            self.cluster_stats.upstream_cx_none_healthy.add(1);
            return self.answer(Failure::NoHealthyUpstream);
        };
        self.note(|record, _| record.upstream = Some(pool.address.borrow().clone()));
        let mut head = head;
        let mut replays = 0;
        'tries: loop {
            let stop = 'attempt: {
                let _active = pool.begin_request();
                let pooled = self.take(&pool, replays);
                let reused = pooled.is_some();
                let upstream = match pooled {
                    Some(upstream) => upstream,
                    None => match self.acquired(&pool).await {
                        Ok(upstream) => upstream,
                        Err(failure) => break 'attempt Stop::Fail(failure),
                    },
                };
                if self.connection.stream.http2().is_some_and(|stream| stream.reset().is_some()) {
                    // Given up while the connection was made: it costs the upstream nothing.
                    break 'attempt Stop::Client(RelayError::Source);
                }
                upstream.begin();
                self.cluster_stats.upstream_rq_total.add(1);
                if self.tunnel == Tunnel::Terminated {
                    // A connection that is made is what the next proxy would say 200 to.
                    upstream.stream.unread(self.worker().core.chunk(tunnel::ESTABLISHED));
                } else {
                    let tunnel = self.tunnel != Tunnel::Not;
                    let ends = !tunnel && self.upload.is_done() && self.upload.is_untouched();
                    let form = HeadForm { ends, tunnel, never_indexed: self.never_indexed, is_https: self.is_https };
                    upstream.stream.send_head(head.clone(), form);
                    self.sent(&upstream, head.len());
                    self.cluster_stats.upstream_cx_tx_bytes_total.add(head.len() as u64);
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
                        return self.finish();
                    }
                    Err(Stop::Died) => upstream.stream.http2().map_or(Stop::Died, stream_died),
                    Err(stop) => stop,
                };
                match stop {
                    Stop::Unprocessed
                        if replays < self.worker().limits.unprocessed_replays_max && self.upload.is_untouched() =>
                    {
                        replays += 1;
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
            if self.retry.is_none() {
                return self.stopped(stop);
            }
            match self.tried_again(stop, &pool, &head).await {
                Ok(next) => (pool, head) = next,
                Err(stop) => return self.stopped(stop),
            }
        }
    }

    fn put_back(&self, pool: &Rc<EndpointPool>, mut upstream: Upstream) {
        upstream.served += 1;
        pool.put(&self.worker().core, upstream, self.worker().limits.idle_per_endpoint_max);
    }

    /// Ends the exchange for what stopped its last try.
    fn stopped(&mut self, stop: Stop) -> After {
        let error = match stop {
            Stop::Died => return self.answer(Failure::Reset),
            Stop::Unprocessed => return self.answer(Failure::RemoteRefused),
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

    /// Sends the rest of the request and brings the response to the client. `true`: the connection may be reused.
    async fn respond(&mut self, upstream: &Upstream) -> Result<bool, Stop> {
        let mut scan = HeadScan::default();
        let mut held: Option<BlockMut> = None;
        let mut continued = false;
        let mut interims = 0;
        self.heard = false;
        let head = loop {
            let chunk = poll_fn(|context| self.poll_awaiting(context, &upstream.stream)).await?;
            self.heard = true;
            self.note(|record, now| record.mark(Moment::ResponseBegan, now));
            let bytes = match held.take() {
                None => Err(chunk),
                Some(block) => Ok(self.worker().append(block, &chunk)),
            };
            let decoded = match &bytes {
                Ok(block) => self.decode(&upstream.stream, block, &mut scan),
                Err(chunk) => self.decode(&upstream.stream, chunk, &mut scan),
            };
            match decoded {
                Ok(None) => held = Some(bytes.unwrap_or_else(|chunk| self.worker().copy(&chunk))),
                Ok(Some(Seen::Refused { reusable })) => return Err(Stop::Refused { reusable }),
                Ok(Some(Seen::Head(mut head))) => {
                    let bytes = bytes.map_or_else(|chunk| chunk, BlockMut::freeze);
                    let rest = bytes.slice(head.consumed..bytes.len());
                    if self.tunnel == Tunnel::Terminated {
                        head.consumed = 0; // said by ourselves
                    }
                    self.cluster_stats.upstream_cx_rx_bytes_total.add(head.consumed as u64);
                    if head.status >= 200 || head.tunnels {
                        break (head, rest);
                    }
                    // An interim response: pass it on, and read the next head (RFC 9110 §15.2).
                    interims += 1;
                    if interims > self.worker().limits.interim_responses_max {
                        self.cluster_stats.upstream_cx_protocol_error.add(1);
                        return Err(Stop::Fail(Failure::UpstreamProtocol));
                    }
                    if self.passes_interim(head.status) && !(continued && head.status == 100) {
                        continued |= head.status == 100;
                        self.connection.stream.send_head(head.out, HeadForm::default());
                    }
                    scan = HeadScan::default();
                    self.heard = !rest.is_empty();
                    if !rest.is_empty() {
                        upstream.stream.unread(rest);
                    }
                }
                Err(_) => {
                    self.cluster_stats.upstream_cx_protocol_error.add(1);
                    return Err(Stop::Fail(Failure::UpstreamProtocol));
                }
            }
        };
        let (head, rest) = head;
        self.begin(&head);
        self.stats.downstream_cx_tx_bytes_total.add(head.out.len() as u64);
        let framing = if head.whole { Framing::None } else { head.framing };
        let unsent_max = self.chain.unsent_max;
        let mut download = Relay::new(framing, head.framing_out).within(unsent_max);
        let form = HeadForm {
            ends: download.is_done() && !head.tunnels,
            tunnel: head.tunnels,
            never_indexed: upstream.stream.http2().is_some_and(Http2Stream::never_indexed),
            is_https: false,
        };
        self.connection.stream.send_head(head.out, form);
        download.trailers = self.passes_trailers();
        download.grpc = if head.grpc { self.meter(Direction::FromCluster) } else { None };
        let mut whole = Ok(());
        // An empty slice, too, would keep its chunk from going home as long as the body takes.
        let rest = Some(rest).filter(|rest| !rest.is_empty());
        if head.tunnels {
            if let Some(rest) = rest {
                upstream.stream.unread(rest);
            }
            self.upload.open_tunnel();
            download = Relay::new(Framing::UntilClose, Framing::UntilClose).within(unsent_max);
            self.deadline = None;
            self.arm();
            whole = poll_fn(|context| self.poll_tunnel(context, &mut download, &upstream.stream)).await;
        } else if let Some(rest) = rest {
            if download.is_done() {
                upstream.stream.unread(rest);
            } else {
                // Fed directly: it needs no second look at the socket.
                let fed = download.feed(self.worker(), rest, &upstream.stream, &self.connection.stream);
                whole = fed.map_err(|error| self.cut(&error));
            }
        }
        if whole.is_ok() && !download.is_done() {
            whole = poll_fn(|context| self.poll_body(context, &mut download, &upstream.stream)).await;
        }
        let stats = self.cluster_stats;
        stats.upstream_cx_rx_bytes_total.add(download.received);
        stats.upstream_cx_tx_bytes_total.add(self.upload.sent);
        self.stats.downstream_cx_tx_bytes_total.add(download.sent);
        self.stats.downstream_cx_rx_bytes_total.add(self.upload.received);
        let is_whole = whole.is_ok();
        self.note(|record, now| {
            record.body_sent += download.moved;
            record.grpc_status = download.grpc_status;
            record.downstream_sent += download.sent;
            record.upstream_received += download.received;
            if is_whole {
                record.mark(Moment::ResponseEnded, now);
                record.mark(Moment::AnswerEnded, now);
            }
        });
        whole?;
        if !head.upstream_keep_alive {
            self.cluster_stats.upstream_cx_close_notify.add(1);
        }
        Ok(head.upstream_keep_alive && self.upload.is_done() && self.tunnel == Tunnel::Not)
    }

    /// Until the first bytes of a response: the request's body goes up, the timeouts run, the client is watched.
    fn poll_awaiting(&mut self, context: &mut Context<'_>, upstream: &Side) -> Poll<Result<Chunk, Stop>> {
        if !self.upload.is_done()
            && let Some(stop) = self.poll_upload(context, upstream)
        {
            return Poll::Ready(Err(stop));
        }
        match upstream.poll_recv(context) {
            Poll::Ready(Ok(Some(chunk))) => return Poll::Ready(Ok(chunk)),
            Poll::Ready(Ok(None) | Err(_)) if self.heard => {
                return Poll::Ready(Err(Stop::Fail(Failure::UpstreamProtocol)));
            }
            Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Err(Stop::Died)),
            Poll::Pending => {}
        }
        if let Some(error) = self.poll_client(context) {
            return Poll::Ready(Err(Stop::Client(error)));
        }
        self.poll_expired(context).map(|failure| Err(Stop::Fail(failure)))
    }

    /// Until the last byte of the response; a request's body may still be on its way up.
    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        download: &mut Relay,
        upstream: &Side,
    ) -> Poll<Result<(), Stop>> {
        if !self.upload.is_done()
            && let Some(stop) = self.poll_upload(context, upstream)
        {
            return Poll::Ready(Err(stop));
        }
        if let Poll::Ready(result) = download.poll(context, self.worker(), upstream, &self.connection.stream) {
            return Poll::Ready(result.map_err(|error| self.cut(&error)));
        }
        let moved = self.upload.moved + download.moved;
        if moved != self.moved {
            self.moved = moved;
            self.active_at = self.worker().core.now();
        }
        // A socket's end shows when it takes no more; a stream's is told, and its upstream may be silent for long.
        if self.connection.stream.is_http2()
            && let Some(error) = self.poll_client(context)
        {
            return Poll::Ready(Err(Stop::Client(error)));
        }
        self.poll_expired(context).map(|failure| Err(Stop::Fail(failure)))
    }

    /// Whether trailers pass: both sides have to have them (Envoy, `enable_trailers`).
    fn passes_trailers(&self) -> bool {
        (self.chain.http.http1.trailers || self.connection.stream.is_http2())
            && (self.cluster.config.http1.trailers || self.is_http2_upstream())
    }

    /// Whether an interim response is the client's affair: HTTP/1.0 has none, and a 100 only where it is the origin's to say
    /// (RFC 9110 §15.2).
    fn passes_interim(&self, status: u16) -> bool {
        self.connection.version.get() != Version::Http10 && (status != 100 || self.chain.http.proxy_100_continue)
    }

    /// The client asks for a tunnel: whatever it gets, its connection has no further request.
    fn ask(&mut self, tunnel: Tunnel) {
        self.tunnel = tunnel;
        self.keep_alive &= tunnel == Tunnel::Not;
    }

    /// Until both sides of a tunnel have ended, or one broke off.
    fn poll_tunnel(
        &mut self,
        context: &mut Context<'_>,
        download: &mut Relay,
        upstream: &Side,
    ) -> Poll<Result<(), Stop>> {
        let (sides, relays) = ((&self.connection.stream, upstream), (&mut self.upload, &mut *download));
        let mut first = None;
        let polled = tunnel::poll(context, &self.connection.worker, relays, sides, |end| first = Some(end));
        match first {
            // Envoy, which ends both sides with the first, has it so in its logs.
            Some(End::Client) => self.note(|record, _| record.client_gone()),
            Some(End::Upstream) if self.tunnel != Tunnel::Terminated => {
                self.note(|record, _| record.cut(Some(ResponseFlag::UC), ""));
            }
            _ => {}
        }
        if let Poll::Ready(result) = polled {
            return Poll::Ready(result.map_err(|end| match end {
                End::Client => Stop::Client(RelayError::Source),
                End::Upstream => Stop::Fail(Failure::Reset),
            }));
        }
        let moved = self.upload.moved + download.moved;
        if moved != self.moved {
            self.moved = moved;
            self.active_at = self.worker().core.now();
        }
        self.poll_expired(context).map(|failure| Err(Stop::Fail(failure)))
    }

    /// Moves the request's body. An upstream that stops taking it may still answer: only the client's faults stop it.
    fn poll_upload(&mut self, context: &mut Context<'_>, upstream: &Side) -> Option<Stop> {
        match self.upload.poll(context, self.worker(), &self.connection.stream, upstream) {
            Poll::Ready(Ok(())) => {
                self.request_ended();
                self.arm();
                None
            }
            Poll::Ready(Err(RelayError::Sink)) | Poll::Pending => {
                if self.moved != self.upload.moved && self.response == Response::Awaited {
                    self.moved = self.upload.moved;
                    self.active_at = self.worker().core.now();
                }
                None
            }
            Poll::Ready(Err(error)) => Some(Stop::Client(error)),
        }
    }

    /// The request's head has gone to an upstream.
    fn sent(&mut self, upstream: &Upstream, size: usize) {
        if let Some(duration) = self.cluster.config.http.max_stream_duration {
            self.end_try_within(duration);
        }
        if self.retry.is_some() {
            self.sent_try(&upstream.stream);
        }
        let (is_complete, chain) = (self.upload.is_done(), self.chain);
        self.note(|record, now| {
            record.upstream_sent += size as u64;
            record.mark(Moment::SendBegan, now);
            if is_complete {
                record.mark(Moment::SendEnded, now);
            }
            record.upstream_remote = upstream.remote();
            if chain.logs_upstream_local {
                record.upstream_local = upstream.stream.local_addr();
            }
        });
    }

    /// What it means that the response's body broke off. By the rules of the two sides only the upstream can have
    /// broken them; a client that went away is its own affair.
    fn cut(&self, error: &RelayError) -> Stop {
        match error {
            RelayError::Sink => Stop::Client(RelayError::Source),
            RelayError::Malformed(_) => {
                self.cluster_stats.upstream_cx_protocol_error.add(1);
                Stop::Fail(Failure::UpstreamProtocol)
            }
            RelayError::Source => Stop::Fail(Failure::Reset),
        }
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
            }
            None => self.stats.downstream_rq_response_before_rq_complete.add(1),
        }
        if self.keep_alive { After::KeepAlive } else { After::Linger }
    }
}
