//! One client connection.
//!
//! ```text
//!            first byte         head complete            answered, keep-alive
//!   Idle ───────────────> Head ───────────────> Exchange ──────────────────────┐
//!    ^                      │                      │                           │
//!    └──────────────────────┼──────────────────────┼───────────────────────────┘
//!       timeout, EOF, drain │ refused              │ answered, close
//!                           v                      v
//!                        Linger: FIN sent, what still comes is read and dropped, then closed
//! ```
//!
//! An idle connection is this small task and nothing else: no chunk, no block. A part of a head is one right-sized
//! block. Only an exchange borrows the larger state, and gives it back.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_model::{ChainId, CodecType, FilterChain, HttpConnectionManager, Listener, ListenerId};
use ringway_observe::{Counter, Gauge, HttpStats};
use ringway_protocols::http1::HeadScan;
use ringway_protocols::http2::PREFACE;
use ringway_protocols::{Error, Version};
use ringway_runtime::{BlockMut, Chunk, Core, Instant, Stream, Timer};

use crate::age::Age;
use crate::arrived::Arrived;
use crate::connection::{After, Downstream};
use crate::date::elapsed_ms;
use crate::decision;
use crate::exchange;
use crate::http2::server as http2;
use crate::local_reply;
use crate::registered::Registered;
use crate::reply::{self, Failure, Local, Reader};
use crate::side::Side;
use crate::told_connection::ToldConnection;
use crate::view::{CoreChain, CoreLogs};

/// What came of the bytes that have come.
enum Decided {
    /// More are needed.
    Partial,
    /// A request, and how many of them are done with.
    Request(usize),
    Http2,
}

/// What came first.
enum Event {
    Bytes(Chunk),
    End,
    Expired,
    Closing,
}

/// The connection's task.
#[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice, as its own and as locals")]
pub(crate) fn serve(
    guard: Counted,
    stream: Stream,
    (listener, chain): (ListenerId, ChainId),
    arrived: Option<Rc<Arrived>>,
) -> impl Future<Output = ()> {
    async move {
        let worker = Rc::clone(&guard.registered.worker);
        let stats = Arc::clone(&guard.stats);
        let age = {
            let view = worker.view_for(guard.registered.key);
            let chain = view.chain(listener, chain).expect("a connection's view has its chain");
            Age::new(&chain.http.connections, worker.core.now())
        };
        let id = guard.logged.as_ref().and_then(|logged| logged.arrived.id).unwrap_or_else(|| worker.connection_id());
        let (side, key) = (Side::Http1(stream), guard.registered.key);
        let connection = Downstream::new(Rc::clone(&worker), side, (listener, chain), key, stats, age, id);
        if let Some(arrived) = arrived {
            connection.arrived_as(arrived);
        }
        if guard.is_logged {
            connection.addresses();
        }
        poll_fn(|context| {
            worker.register_waker(connection.key, context.waker());
            Poll::Ready(())
        })
        .await;
        let is_http2 = loop {
            let after = match connection.head().await {
                // In memory of its own, which an idle connection does without.
                Ok(()) => {
                    guard.speaks(Version::Http11);
                    worker.core.pooled(exchange::run(&connection)).await
                }
                Err(Unserved::After(after)) => after,
                Err(Unserved::Http2) => break true,
            };
            match after {
                After::KeepAlive => connection.served.set(true),
                After::Linger => {
                    connection.linger().await;
                    break false;
                }
                After::Close => break false,
            }
        };
        let stats = Arc::clone(&connection.stats);
        let ended = if is_http2 {
            guard.speaks(Version::Http2);
            let front = http2::Front::new(connection, guard.registered.share(), guard.is_logged);
            worker.core.pooled(http2::serve(front)).await
        } else {
            http2::Ended { by_peer: connection.is_peers.get(), with_requests: connection.is_cut.get() }
        };
        let side = match ended.by_peer {
            true => &stats.downstream_cx_destroy_remote,
            false => &stats.downstream_cx_destroy_local,
        };
        side.add(1);
        if ended.with_requests {
            stats.downstream_cx_destroy_active_rq.add(1);
        }
        if let Some(logged) = &guard.logged {
            guard.tell(logged);
        }
    }
}

/// Why no request is there to be served.
enum Unserved {
    /// The connection ends.
    After(After),
    /// The client speaks HTTP/2. What it said is with the socket.
    Http2,
}

impl From<After> for Unserved {
    fn from(after: After) -> Self {
        Self::After(after)
    }
}

impl Downstream {
    /// Waits for the next request's head and decides what is to be done with it.
    async fn head(&self) -> Result<(), Unserved> {
        let mut scan = HeadScan::default();
        let mut held: Option<BlockMut> = None;
        let idle_until = self.wait_idle();
        loop {
            let chunk = match poll_fn(|context| self.poll_event(context, held.is_none())).await {
                Event::Bytes(chunk) => chunk,
                Event::Closing => return Err(After::Close.into()),
                Event::End => {
                    self.is_peers.set(true);
                    return Err(After::Close.into());
                }
                Event::Expired if held.is_none() => {
                    if self.expired_idle(idle_until) {
                        return Err(After::Close.into());
                    }
                    continue;
                }
                Event::Expired => {
                    let failure = self.expired_head();
                    return Err(self.refuse(failure.local(), held.map_or(0, |block| block.len())).into());
                }
            };
            self.stats.downstream_cx_rx_bytes_total.add(chunk.len() as u64);
            let first = held.is_none();
            if first {
                self.began.set(self.worker.core.now());
            }
            let bytes = match held.take() {
                None => Err(chunk),
                Some(block) => Ok(self.worker.append(block, &chunk)),
            };
            let decided = match &bytes {
                Ok(block) => self.decide(block, &mut scan),
                Err(chunk) => self.decide(chunk, &mut scan),
            };
            match decided {
                Ok(Decided::Http2) => {
                    self.stream.unread(bytes.map_or_else(|chunk| chunk, BlockMut::freeze));
                    return Err(Unserved::Http2);
                }
                Ok(Decided::Request(consumed)) => {
                    let bytes = bytes.map_or_else(|chunk| chunk, BlockMut::freeze);
                    if consumed < bytes.len() {
                        self.stream.unread(bytes.slice(consumed..bytes.len()));
                    }
                    return Ok(());
                }
                Ok(Decided::Partial) => {
                    held = Some(bytes.unwrap_or_else(|chunk| self.worker.copy(&chunk)));
                    if first {
                        self.wait_head();
                    }
                }
                Err(error) => {
                    self.stats.downstream_cx_protocol_error.add(1);
                    let received = bytes.as_deref().map_or_else(|chunk| chunk.len(), <[u8]>::len);
                    return Err(self.refuse(reply::protocol_error(&error), received).into());
                }
            }
        }
    }

    /// What the bytes are that have come: a request's head, or on a fresh connection the start of another version.
    #[inline]
    fn decide(&self, bytes: &[u8], scan: &mut HeadScan) -> Result<Decided, Error> {
        if !self.served.get()
            && let Some(decided) = self.decide_version(bytes)
        {
            return Ok(decided);
        }
        Ok(decision::decide(self, bytes, scan)?.map_or(Decided::Partial, Decided::Request))
    }

    /// Whether a connection's first bytes begin HTTP/2, or may (`codec_type`). Its preface is no request of HTTP/1 (RFC 9113 §3.4).
    #[inline]
    fn decide_version(&self, bytes: &[u8]) -> Option<Decided> {
        let size = bytes.len().min(PREFACE.len());
        let begins = bytes[..size] == PREFACE[..size];
        let codec = match self.manager(|http| http.codec) {
            // What was agreed on in the handshake holds (RFC 7301 §3.2).
            CodecType::Auto => match self.alpn() {
                Some(b"h2") => CodecType::Http2,
                Some(b"http/1.1" | b"http/1.0") => CodecType::Http1,
                _ => CodecType::Auto,
            },
            codec => codec,
        };
        match codec {
            CodecType::Http2 => Some(Decided::Http2),
            CodecType::Auto if begins && size == PREFACE.len() => Some(Decided::Http2),
            CodecType::Auto if begins => Some(Decided::Partial),
            CodecType::Auto | CodecType::Http1 => None,
        }
    }

    fn poll_event(&self, context: &mut Context<'_>, idle: bool) -> Poll<Event> {
        match self.stream.poll_recv(context) {
            Poll::Ready(Ok(Some(chunk))) => return Poll::Ready(Event::Bytes(chunk)),
            Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Event::End),
            Poll::Pending => {}
        }
        if idle && self.served.get() && self.worker.closes_when_idle(self.key) {
            return Poll::Ready(Event::Closing);
        }
        self.timer.poll_expired(context).map(|()| Event::Expired)
    }

    /// Asks the connection manager that holds for this connection.
    fn manager<T>(&self, ask: impl FnOnce(&HttpConnectionManager) -> T) -> T {
        let view = self.worker.view_for(self.key);
        ask(&view.chain(self.listener, self.chain).expect("a connection's view has its chain").http)
    }

    fn set_timer(&self, at: Option<Instant>) {
        match at {
            Some(at) => self.timer.set(at),
            None => self.timer.clear(),
        }
    }

    /// Arms the timer for a connection without a request. When it has been idle for too long.
    fn wait_idle(&self) -> Option<Instant> {
        self.manager(|http| {
            let until = http.idle_timeout.map(|timeout| self.worker.core.now() + timeout);
            self.set_timer(earlier(until, self.age.next_look(&http.connections, self.served.get())));
            until
        })
    }

    /// Whether a connection without a request is to be closed, now that its timer has fired. If not, the timer is armed again.
    fn expired_idle(&self, idle_until: Option<Instant>) -> bool {
        let (now, served) = (self.worker.core.now(), self.served.get());
        self.manager(|http| {
            if self.age.closes(&http.connections, served, now, &self.stats) {
                return true;
            }
            let is_idle = idle_until.is_some_and(|until| now >= until);
            if is_idle {
                self.stats.downstream_cx_idle_timeout.add(1);
            } else {
                self.set_timer(earlier(idle_until, self.age.next_look(&http.connections, served)));
            }
            is_idle
        })
    }

    /// Arms the timer for a head that is not whole.
    fn wait_head(&self) {
        let began = self.began.get();
        self.manager(|http| {
            let timeouts = [http.request_headers_timeout, http.request_timeout, http.max_stream_duration];
            self.set_timer(timeouts.into_iter().flatten().min().map(|timeout| began + timeout));
        });
    }

    /// Which of the timeouts for a head has passed.
    fn expired_head(&self) -> Failure {
        let age = self.worker.core.now().saturating_duration_since(self.began.get());
        let is_over = |timeout: Option<Duration>| timeout.is_some_and(|timeout| age >= timeout);
        self.manager(|http| {
            if is_over(http.request_headers_timeout) {
                self.stats.downstream_rq_header_timeout.add(1);
                Failure::HeadTimeout
            } else if is_over(http.request_timeout) {
                self.stats.downstream_rq_timeout.add(1);
                Failure::RequestTimeout
            } else {
                self.stats.downstream_rq_max_duration_reached.add(1);
                Failure::StreamDurationRequest
            }
        })
    }

    /// Answers a head that was not understood, of so many bytes, and ends the connection.
    pub(crate) fn refuse(&self, local: Local<'_>, received: usize) -> After {
        self.stats.downstream_rq_total.add(1);
        self.stats.count_version(self.version.get() == Version::Http2);
        self.stats.downstream_rq_completed.add(1);
        self.stats.downstream_rq_time.record(elapsed_ms(self.began.get(), self.worker.core.now()));
        let view = self.worker.view_for(self.key);
        let chain = view.chain(self.listener, self.chain).expect("a connection's view has its chain");
        let version = if self.stream.is_http2() { Version::Http2 } else { Version::Http11 };
        let to = Reader { version, head_only: false, proper_case: chain.http.http1.proper_case, grpc: false };
        self.is_grpc.set(false);
        let mut reply = reply::write(&self.worker, &chain.http.headers, None, local, true, to);
        let mut status = local.status;
        if chain.keeps_records() {
            let mut record = self.worker.log.record(self.began.get());
            record.downstream_received = received as u64;
            record.local(&local, &reply, self.worker.core.now());
            (status, reply) = local_reply::map(self, chain, &mut record, reply, local.body, true);
            self.worker.log.write(self, chain, record);
        }
        self.stats.count_status(status);
        self.stream.send_whole(reply);
        After::Linger
    }

    /// As the function of this name, for as long as the connection manager says.
    async fn linger(&self) {
        let timeout = {
            let view = self.worker.view_for(self.key);
            let http = view.chain(self.listener, self.chain).map(|chain| chain.http.delayed_close_timeout);
            http.unwrap_or(std::time::Duration::from_secs(1))
        };
        if let Some(socket) = self.stream.socket() {
            linger(&self.worker.core, socket, &self.timer, timeout, &self.stats).await;
        }
    }
}

/// Lets the client read the last response: a close with unread bytes would make the kernel send RST, and the
/// client's kernel may then drop what it has not yet handed over (RFC 9112 §9.6).
pub(crate) async fn linger(core: &Core, socket: &Stream, timer: &Timer, timeout: Duration, stats: &HttpStats) {
    socket.shutdown_write();
    let mut unsent = usize::MAX;
    poll_fn(|context| {
        // Who reads slowly has the time anew for each piece that it takes (Envoy, `delayed_close_timeout`).
        let left = socket.unsent();
        if left < unsent {
            unsent = left;
            timer.set(core.now() + timeout);
        }
        loop {
            match socket.poll_recv(context) {
                Poll::Ready(Ok(Some(_dropped))) => {}
                // It has ended its side and may still read.
                Poll::Ready(Ok(None)) => match socket.poll_unsent_below(context, 0) {
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => break,
                },
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if left > 0 {
            let _wakes = socket.poll_unsent_below(context, left - 1);
        }
        let expired = timer.poll_expired(context);
        if expired.is_ready() {
            stats.downstream_cx_delayed_close_timeout.add(1);
        }
        expired
    })
    .await;
}

/// The earlier of two moments, of which each may never come.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// What the logs of a listener need of a connection at its end.
pub(crate) struct Logged {
    pub(crate) logs: Rc<CoreLogs>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) chain: Arc<FilterChain>,
    pub(crate) arrived: Rc<Arrived>,
}

/// A connection in the statistics of its connection manager, from accept to close.
pub(crate) struct Counted {
    registered: Registered,
    stats: Arc<HttpStats>,
    is_logged: bool,
    /// For the logs of its listener, where it has some.
    logged: Option<Box<Logged>>,
    /// The version that is spoken, once that is known.
    version: Cell<Option<Version>>,
}

impl Counted {
    /// What the first request tells of the connection.
    #[inline]
    fn speaks(&self, version: Version) {
        if self.version.get().is_none() {
            self.version.set(Some(version));
            let (total, active) = self.of_version(version);
            total.add(1);
            active.add(1);
        }
    }

    fn of_version(&self, version: Version) -> (&Counter, &Gauge) {
        match version {
            Version::Http2 => (&self.stats.downstream_cx_http2_total, &self.stats.downstream_cx_http2_active),
            Version::Http10 | Version::Http11 => {
                (&self.stats.downstream_cx_http1_total, &self.stats.downstream_cx_http1_active)
            }
        }
    }

    pub(crate) fn new(registered: Registered, chain: &CoreChain, logged: Option<Box<Logged>>) -> Self {
        let (stats, is_logged) = (Arc::clone(&chain.stats), chain.is_logged());
        stats.downstream_cx_total.add(1);
        stats.downstream_cx_active.add(1);
        Self { registered, stats, is_logged, logged, version: Cell::default() }
    }

    /// Tells the logs of its listener of the connection, at its end.
    #[cold]
    fn tell(&self, logged: &Logged) {
        let Registered { worker, since, .. } = &self.registered;
        let Logged { logs, listener, chain, arrived } = logged;
        let numbered = (arrived.id.expect("it has a number where there are logs"), *since);
        let connection = ToldConnection::new(worker, listener, &chain.name, numbered);
        let (arrived, protocol) = (Some(&**arrived), self.version.get());
        ToldConnection { arrived, protocol, moved: None, ..connection }.write(worker, logs);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.stats.downstream_cx_active.sub(1);
        if let Some(version) = self.version.get() {
            self.of_version(version).1.sub(1);
        }
        self.stats.downstream_cx_destroy.add(1);
        self.stats.downstream_cx_length_ms.record(self.registered.age_ms());
    }
}
