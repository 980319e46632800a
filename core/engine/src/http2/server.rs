//! A client's connection in HTTP/2: one task that reads frames, and one for each request.
//!
//! ```text
//!            GOAWAY(2^31-1)            GOAWAY(last)              the last request ended
//!   Open ──────────────────> Warned ─────────────────> Leaving ──────────────────────────> Linger ──> closed
//!     │    drain, age           the PING behind it came back, or time passed
//!     └──> failed: GOAWAY with the code; all that is under way is broken off ──────────────┘
//! ```

use std::cell::OnceCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_model::{ChainId, HttpConnectionManager, ListenerId};
use ringway_observe::HttpStats;
use ringway_protocols::http2::{Code, Connection, Key, Role};
use ringway_protocols::{Framing, Rule};
use ringway_runtime::{Instant, Stream, Timer};

use super::keepalive::Keepalive;
use super::limits;
use super::link::{DRAIN_PING, End, Happened, Link, Setup};
use super::meter::{Meter, Of};
use super::places::Kept;
use super::quiet::Quiet;
use super::reading::{self, Reading, Tends};
use super::stream::Http2Stream;
use crate::age::Age;
use crate::arrived::Arrived;
use crate::connection::{After, Downstream};
use crate::decision::{self, Decision};
use crate::downstream;
use crate::exchange;
use crate::registered::Line;
use crate::reply;
use crate::side::Side;
use crate::worker::Worker;

/// From the first GOAWAY to the second where the client does not answer the PING between them.
const WARNING_MAX: Duration = Duration::from_secs(1);

/// A connection that is going to be one of HTTP/2: what is known of it.
pub(crate) struct Front {
    pub(crate) worker: Rc<Worker>,
    pub(crate) socket: Stream,
    pub(crate) listener: ListenerId,
    pub(crate) chain: ChainId,
    pub(crate) key: usize,
    pub(crate) stats: Arc<HttpStats>,
    pub(crate) id: u64,
    pub(crate) age: Age,
    pub(crate) line: Rc<Line>,
    pub(crate) is_logged: bool,
    /// What is known of it beside its bytes.
    pub(crate) addresses: OnceCell<Rc<Arrived>>,
}

impl Front {
    /// A connection whose first bytes, which are with its socket, begin HTTP/2.
    pub(crate) fn new(connection: Downstream, line: Rc<Line>, is_logged: bool) -> Self {
        let addresses = OnceCell::new();
        connection.tell_addresses(&addresses);
        let Downstream { worker, stream, listener, chain, key, stats, id, age, .. } = connection;
        let Side::Http1(socket) = stream else { unreachable!("a socket until now") };
        Self { worker, socket, listener, chain, key, stats, id, age, line, is_logged, addresses }
    }
}

/// The connection's end, for who counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) by_peer: bool,
    pub(crate) with_requests: bool,
}

/// Serves a client's connection from its preface to its end.
pub(crate) async fn serve(front: Front) -> Ended {
    let Front { worker, socket, listener, chain, key, stats, id, age, line, is_logged, addresses } = front;
    let core = worker.core.clone();
    let (codec, keepalive, close_timeout) = {
        let view = worker.view_for(key);
        let chain = view.chain(listener, chain).expect("a connection's view has its chain");
        let keepalive = chain.http.http2.connection_keepalive;
        let keepalive = keepalive.map(|rules| Keepalive::new(rules, core.now(), worker.chance()));
        (Connection::new(Role::Server, &limits::of_chain(chain), 0), keepalive, chain.http.delayed_close_timeout)
    };
    let meter = Meter::new(Of::Manager(Arc::clone(&stats)), &worker.shared);
    let setup = Setup { unsent_high: worker.limits.unsent_high, streams_max: 0, meter, keepalive };
    let link = Link::new(&core, &worker.http2, codec, socket, setup);
    link.begin();
    let mut server = Server {
        timer: core.timer(),
        link: Rc::clone(&link),
        listener,
        chain,
        key,
        stats: Arc::clone(&stats),
        id,
        age,
        addresses,
        phase: Phase::Open,
        reading: Reading::default(),
        quiet: Quiet::new(core.now()),
        line,
        is_logged,
        worker,
    };
    let worker = Rc::clone(&server.worker);
    let end = poll_fn(|context| reading::poll(&mut server, &link, &worker, context)).await;
    let with_requests = link.active() > 0;
    let socket = link.close(end);
    if let (Some(socket), false) = (socket, end == End::Peer) {
        downstream::linger(&core, &socket, &server.timer, close_timeout, &stats).await;
    }
    Ended { by_peer: end == End::Peer, with_requests }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The client was told that no more requests are wanted; those on their way are taken.
    Warned {
        until: Instant,
    },
    /// None is taken any more.
    Leaving,
}

struct Server {
    worker: Rc<Worker>,
    link: Rc<Link>,
    timer: Timer,
    listener: ListenerId,
    chain: ChainId,
    key: usize,
    stats: Arc<HttpStats>,
    id: u64,
    age: Age,
    addresses: OnceCell<Rc<Arrived>>,
    phase: Phase,
    reading: Reading,
    quiet: Quiet,
    line: Rc<Line>,
    is_logged: bool,
}

impl Tends for Server {
    const READS_FROM_CHOKED: bool = false;
    // What a flood of requests costs others in a turn.
    const HEADS_PER_RECEIVE_MAX: u32 = 32;

    fn reading(&mut self) -> &mut Reading {
        &mut self.reading
    }

    fn came(&mut self, bytes: usize) {
        self.stats.downstream_cx_rx_bytes_total.add(bytes as u64);
    }

    fn happened(&mut self, happened: Happened) -> Result<(), End> {
        match happened {
            Happened::Nothing | Happened::NeedMore | Happened::Settings | Happened::GoAway => {}
            Happened::Head { key, ends } => self.head(key, ends),
            Happened::Trailers(port, key) => {
                let view = self.worker.view_for(self.key);
                let chain = view.chain(self.listener, self.chain).expect("a connection's view has its chain");
                self.link.read_trailers(port, key, &chain.codec_limits);
            }
            Happened::Pong(payload) => {
                if payload == DRAIN_PING
                    && let Phase::Warned { until } = &mut self.phase
                {
                    *until = self.worker.core.now();
                }
            }
            Happened::Failed(error) => {
                self.stats.downstream_cx_protocol_error.add(1);
                return Err(End::Failed(error));
            }
        }
        Ok(())
    }

    fn look_after(&mut self, context: &mut Context<'_>) -> Option<End> {
        let worker = Rc::clone(&self.worker);
        let now = worker.core.now();
        let is_idle = self.link.active() == 0;
        loop {
            if self.phase == Phase::Open && (worker.closes_after(self.key) || self.age.is_old(now, &self.stats)) {
                self.stats.downstream_cx_drain_close.add(1);
                self.link.drain();
                self.phase = Phase::Warned { until: now + WARNING_MAX };
            }
            if let Phase::Warned { until } = self.phase
                && now >= until
            {
                self.link.go_away(Code::NO_ERROR);
                self.phase = Phase::Leaving;
            }
            if self.phase == Phase::Leaving && is_idle {
                return Some(End::Closed);
            }
            let quiet = self.quiet.look(&self.link, now);
            let idle_until = self.manager(|http| http.idle_timeout).and_then(|timeout| self.quiet.for_so_long(timeout));
            if idle_until.is_some_and(|until| now >= until) {
                self.stats.downstream_cx_idle_timeout.add(1);
                self.link.go_away(Code::NO_ERROR);
                return Some(End::Closed);
            }
            let Ok(pings) = self.link.keep_alive(|| worker.chance()) else {
                self.link.go_away(Code::NO_ERROR);
                return Some(End::Closed);
            };
            let warned = match self.phase {
                Phase::Warned { until } => Some(until),
                Phase::Open | Phase::Leaving => None,
            };
            let ages = match self.phase {
                Phase::Open => self.age.ends(),
                Phase::Warned { .. } | Phase::Leaving => None,
            };
            match [quiet, idle_until, warned, ages, pings].into_iter().flatten().min() {
                Some(at) => self.timer.set(at),
                None => self.timer.clear(),
            }
            if self.timer.poll_expired(context).is_pending() {
                return None;
            }
        }
    }
}

impl Server {
    /// A request's head came: its task begins.
    fn head(&mut self, key: Key, ends: bool) {
        let worker = Rc::clone(&self.worker);
        let port = self.link.open(key);
        if ends {
            self.link.ended(port);
        }
        let stream = Http2Stream::new(&self.link, port, Code::NO_ERROR);
        let view = worker.view_for(self.key);
        let chain = view.chain(self.listener, self.chain).expect("a connection's view has its chain");
        let mut scratch = worker.http2.borrow_mut();
        let mut block = std::mem::take(&mut scratch.block);
        block.clear();
        let mut table = worker.table.borrow_mut();
        let (fields, repeat) = &mut scratch.fields.of_requests;
        let read = match fields.is_too_large() {
            true => Err(Rule::HeadTooLarge.into()),
            false => {
                let allows_connect = chain.http.http2.allow_connect;
                repeat.read_request(fields, ends, allows_connect, &chain.codec_limits, &mut table, &mut block)
            }
        };
        drop(scratch);
        self.age.request(&chain.http.connections, &self.stats);
        let is_malformed = read.as_ref().is_err_and(|error| error.status == 400);
        if is_malformed {
            // A stream error that no origin sees (RFC 9113 §8.1.1), or the connection's: the codec knows which the configuration wants.
            drop(table);
            let error = read.expect_err("looked at just now");
            self.link.reject(port, key, error.rule);
            worker.http2.borrow_mut().block = block;
            return;
        }
        let connection = Downstream::new(
            Rc::clone(&worker),
            Side::Http2(stream),
            (self.listener, self.chain),
            self.key,
            Arc::clone(&self.stats),
            Age::none(),
            self.id,
        );
        connection.version.set(ringway_protocols::Version::Http2);
        connection.know_addresses(&self.addresses);
        if self.is_logged {
            connection.addresses();
        }
        let decided = read.and_then(|()| {
            self.link.keep_out(port, table.request(&block).never_indexed());
            // What comes on a tunnel is no content, whatever its head says of that.
            if let Framing::Length(length) = table.request(&block).framing()
                && table.request(&block).upgrade().is_none()
            {
                self.link.expect_length(key, length);
            }
            decision::decide_stream(&connection, (&view, chain), &block, table)
        });
        connection.tell_addresses(&self.addresses);
        match decided {
            Ok(()) => {
                let kept = worker.http2_decisions.borrow_mut().keep(&mut worker.decided.borrow_mut());
                let task = run(connection, kept, Rc::clone(&self.line));
                debug_assert!(size_of_val(&task) <= TASK_BYTES_MAX, "{} bytes", size_of_val(&task));
                worker.core.spawn("stream", task);
            }
            Err(error) => {
                self.stats.downstream_cx_protocol_error.add(1);
                connection.refuse(reply::protocol_error(&error), block.len());
                worker.core.spawn("stream", refused(connection, Rc::clone(&self.line)));
            }
        }
        worker.http2.borrow_mut().block = block;
    }

    fn manager<T>(&self, ask: impl FnOnce(&HttpConnectionManager) -> T) -> T {
        let view = self.worker.view_for(self.key);
        ask(&view.chain(self.listener, self.chain).expect("a connection's view has its chain").http)
    }
}

/// Bytes of a request's task: with what the runtime puts in front of it, a block of 1 KiB.
const TASK_BYTES_MAX: usize = 976;

/// One request's task.
#[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice, as its own and as locals")]
fn run(connection: Downstream, mut kept: Kept<Decision>, line: Rc<Line>) -> impl Future<Output = ()> {
    async move {
        let _line = &line;
        if connection.stream.http2().is_some_and(|stream| stream.reset().is_some()) {
            // Given up before it began: it costs no upstream anything (CVE-2023-44487).
            exchange::given_up(&connection, kept.place().take().expect("decided when its head came"));
            return connection.worker.http2_decisions.borrow_mut().give_back(kept);
        }
        connection.worker.kept.set(Some(kept));
        let _: After = exchange::run(&connection).await;
        if !connection.is_cut.get() && connection.stream.http2().is_some_and(Http2Stream::is_sent) {
            return; // as most are
        }
        finish(&connection).await;
    }
}

/// The task of a request that was answered at its head.
async fn refused(connection: Downstream, _line: Rc<Line>) {
    finish(&connection).await;
}

/// Lets what was answered leave, as long as the client takes of it, and ends the stream.
async fn finish(connection: &Downstream) {
    let Some(stream) = connection.stream.http2() else { return };
    if connection.is_cut.get() {
        // What came is not the whole.
        stream.code.set(Code::INTERNAL_ERROR);
        return;
    }
    let timeout = {
        let view = connection.worker.view_for(connection.key);
        view.chain(connection.listener, connection.chain).and_then(|chain| chain.http.stream_idle_timeout)
    };
    let mut unsent = usize::MAX;
    poll_fn(|context| {
        if stream.poll_sent(context).is_ready() {
            return Poll::Ready(());
        }
        let left = stream.unsent();
        if left < unsent {
            unsent = left;
            match timeout {
                Some(timeout) => connection.timer.set(connection.worker.core.now() + timeout),
                None => connection.timer.clear(),
            }
        }
        let expired = connection.timer.poll_expired(context);
        if expired.is_ready() {
            stream.count_flush_timeout();
            stream.code.set(Code::CANCEL);
        }
        expired
    })
    .await;
}
