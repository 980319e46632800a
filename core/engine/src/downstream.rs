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

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_model::{ChainId, HttpConnectionManager, ListenerId};
use ringway_observe::{HttpStats, ListenerStats};
use ringway_protocols::Version;
use ringway_protocols::http1::HeadScan;
use ringway_runtime::{BlockMut, Chunk, Instant, Stream};

use crate::age::Age;
use crate::connection::{After, Downstream};
use crate::date::elapsed_ms;
use crate::decision;
use crate::exchange;
use crate::local_reply;
use crate::reply::{self, Failure, Local, Reader};
use crate::view::View;
use crate::worker::Worker;

/// What came first.
enum Event {
    Bytes(Chunk),
    End,
    Expired,
    Closing,
}

/// The connection's task.
pub(crate) async fn serve(guard: Registered, stream: Stream, listener: ListenerId, chain: ChainId) {
    let worker = Rc::clone(&guard.worker);
    let stats = Arc::clone(&guard.stats);
    let age = {
        let view = worker.view_for(guard.key);
        let chain = view.chain(listener, chain).expect("a connection's view has its chain");
        Age::new(&chain.http.connections, worker.core.now())
    };
    let connection = Downstream::new(Rc::clone(&worker), stream, listener, chain, guard.key, stats, age);
    if guard.is_logged {
        connection.addresses();
    }
    poll_fn(|context| {
        worker.register_waker(connection.key, context.waker());
        Poll::Ready(())
    })
    .await;
    loop {
        let after = match connection.head().await {
            // In memory of its own, which an idle connection does without.
            Ok(()) => worker.core.pooled(exchange::run(&connection)).await,
            Err(after) => after,
        };
        match after {
            After::KeepAlive => connection.served.set(true),
            After::Linger => break connection.linger().await,
            After::Close => break,
        }
    }
    let side = match connection.is_peers.get() {
        true => &connection.stats.downstream_cx_destroy_remote,
        false => &connection.stats.downstream_cx_destroy_local,
    };
    side.add(1);
    if connection.is_cut.get() {
        connection.stats.downstream_cx_destroy_active_rq.add(1);
    }
}

impl Downstream {
    /// Waits for the next request's head and decides what is to be done with it.
    async fn head(&self) -> Result<(), After> {
        let mut scan = HeadScan::default();
        let mut held: Option<BlockMut> = None;
        let idle_until = self.wait_idle();
        loop {
            let chunk = match poll_fn(|context| self.poll_event(context, held.is_none())).await {
                Event::Bytes(chunk) => chunk,
                Event::Closing => return Err(After::Close),
                Event::End => {
                    self.is_peers.set(true);
                    return Err(After::Close);
                }
                Event::Expired if held.is_none() => {
                    if self.expired_idle(idle_until) {
                        return Err(After::Close);
                    }
                    continue;
                }
                Event::Expired => {
                    let failure = self.expired_head();
                    return Err(self.refuse(failure.local(), held.map_or(0, |block| block.len())));
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
                Ok(block) => decision::decide(self, block, &mut scan),
                Err(chunk) => decision::decide(self, chunk, &mut scan),
            };
            match decided {
                Ok(Some(consumed)) => {
                    let bytes = bytes.map_or_else(|chunk| chunk, BlockMut::freeze);
                    if consumed < bytes.len() {
                        self.stream.unread(bytes.slice(consumed..bytes.len()));
                    }
                    return Ok(());
                }
                Ok(None) => {
                    held = Some(bytes.unwrap_or_else(|chunk| self.worker.copy(&chunk)));
                    if first {
                        self.wait_head();
                    }
                }
                Err(error) => {
                    self.stats.downstream_cx_protocol_error.add(1);
                    let received = bytes.as_deref().map_or_else(|chunk| chunk.len(), <[u8]>::len);
                    return Err(self.refuse(reply::protocol_error(&error), received));
                }
            }
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
    fn refuse(&self, local: Local<'_>, received: usize) -> After {
        self.stats.downstream_rq_total.add(1);
        self.stats.downstream_rq_http1_total.add(1);
        self.stats.downstream_rq_completed.add(1);
        self.stats.downstream_rq_time.record(elapsed_ms(self.began.get(), self.worker.core.now()));
        let view = self.worker.view_for(self.key);
        let chain = view.chain(self.listener, self.chain).expect("a connection's view has its chain");
        let to = Reader { version: Version::Http11, head_only: false, proper_case: chain.http.http1.proper_case };
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
        self.stream.send(reply);
        After::Linger
    }

    /// Lets the client read the last response: a close with unread bytes would make the kernel send RST, and the
    /// client's kernel may then drop what it has not yet handed over (RFC 9112 §9.6).
    async fn linger(&self) {
        let timeout = {
            let view = self.worker.view_for(self.key);
            let http = view.chain(self.listener, self.chain).map(|chain| chain.http.delayed_close_timeout);
            http.unwrap_or(std::time::Duration::from_secs(1))
        };
        self.stream.shutdown_write();
        let mut unsent = usize::MAX;
        poll_fn(|context| {
            // Who reads slowly has the time anew for each piece that it takes (Envoy, `delayed_close_timeout`).
            let left = self.stream.unsent();
            if left < unsent {
                unsent = left;
                self.timer.set(self.worker.core.now() + timeout);
            }
            loop {
                match self.stream.poll_recv(context) {
                    Poll::Ready(Ok(Some(_dropped))) => {}
                    // It has ended its side and may still read.
                    Poll::Ready(Ok(None)) => match self.stream.poll_unsent_below(context, 0) {
                        Poll::Ready(_) => return Poll::Ready(()),
                        Poll::Pending => break,
                    },
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            if left > 0 {
                let _wakes = self.stream.poll_unsent_below(context, left - 1);
            }
            let expired = self.timer.poll_expired(context);
            if expired.is_ready() {
                self.stats.downstream_cx_delayed_close_timeout.add(1);
            }
            expired
        })
        .await;
    }
}

/// The earlier of two moments, of which each may never come.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// A connection's lines in the worker's register and in the statistics, from accept to close.
pub(crate) struct Registered {
    worker: Rc<Worker>,
    key: usize,
    stats: Arc<HttpStats>,
    listener_stats: Arc<ListenerStats>,
    since: Instant,
    is_logged: bool,
}

impl Registered {
    pub(crate) fn new(
        worker: &Rc<Worker>,
        listener: ListenerId,
        chain: ChainId,
        view: Rc<View>,
        listener_stats: Arc<ListenerStats>,
    ) -> Self {
        let core_chain = view.chain(listener, chain).expect("accepted under this view");
        let (stats, is_logged) = (Arc::clone(&core_chain.stats), core_chain.is_logged());
        stats.downstream_cx_total.add(1);
        stats.downstream_cx_http1_total.add(1);
        stats.downstream_cx_active.add(1);
        stats.downstream_cx_http1_active.add(1);
        listener_stats.downstream_cx_total.add(1);
        listener_stats.downstream_cx_active.add(1);
        // Accepted from a socket whose listener is gone: it lives on the view that it was accepted under.
        let pinned = worker.view().chain(listener, chain).is_none().then_some(view);
        let key = worker.register(listener, chain, pinned);
        Self { worker: Rc::clone(worker), key, stats, listener_stats, since: worker.core.now(), is_logged }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.unregister(self.key);
        self.stats.downstream_cx_active.sub(1);
        self.stats.downstream_cx_http1_active.sub(1);
        self.stats.downstream_cx_destroy.add(1);
        self.listener_stats.downstream_cx_active.sub(1);
        self.listener_stats.downstream_cx_destroy.add(1);
        let ms = elapsed_ms(self.since, self.worker.core.now());
        self.stats.downstream_cx_length_ms.record(ms);
        self.listener_stats.downstream_cx_length_ms.record(ms);
    }
}
