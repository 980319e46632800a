//! More than one try: what is kept of a request for it, and what a route's retry policy does with a try that failed. The latter is reached only
//! where an exchange has a [`Retry`].
//!
//! Invariant: once a byte of the response's head was sent to the client, no other try is made.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_model::{Action, Address, GrpcTimeout, HostRewrite, Reset, RetryRules, UpstreamVersion};
use ringway_observe::ResponseFlag;
use ringway_protocols::http1::put_number;
use ringway_protocols::{Out, Response as ResponseHead};
use ringway_runtime::{Chunk, Pooled};

use super::expiry::Expired;
use super::{Exchange, Response, Stop};
use crate::balance;
use crate::connection::After;
use crate::hop;
use crate::outbox::{Outbox, with_lines};
use crate::pool::EndpointPool;
use crate::relay::RelayError;
use crate::reply::Failure;
use crate::retry::{DEFAULT_RULES, Retry, Verdict, Wake};
use crate::tunnel::Tunnel;

impl<'x> Exchange<'x> {
    fn rules(&self) -> &'x RetryRules {
        match &self.chain.http.routes.at(self.position).route.action {
            Action::Forward(action) => action.retry.as_deref().unwrap_or(&DEFAULT_RULES),
            _ => unreachable!("the request is forwarded"),
        }
    }

    /// Whether each try's `grpc-timeout` says how long it may take.
    fn tells_grpc_timeout(&self) -> bool {
        let action = &self.chain.http.routes.at(self.position).route.action;
        let rule = if let Action::Forward(action) = action { action.grpc_timeout } else { None };
        matches!(rule, Some(GrpcTimeout::Request(_))) && self.connection.is_grpc.get()
    }

    fn retry(&mut self) -> &mut Retry {
        self.retry.as_mut().expect("only where there are rules for tries")
    }

    /// Takes the rules for tries, before the first one. The request's body is kept from its first byte where it may have to be sent
    /// again: because the rules allow another try, or because an upstream of HTTP/2 may say that it processed nothing.
    #[inline]
    pub(super) fn begin_tries(&mut self, retry: Option<Box<Retry>>) {
        self.retry = retry;
        if !self.upload.is_done() {
            self.keep_body();
        }
    }

    fn keep_body(&mut self) {
        let bytes_max = match &self.retry {
            Some(retry) if retry.is_enabled() => self.rules().kept_bytes_max(self.chain.unsent_max),
            _ if self.tunnel == Tunnel::Not && self.version() != UpstreamVersion::Http1 => {
                self.worker().limits.unprocessed_bytes_max as u64
            }
            _ => return,
        };
        self.upload.kept = Some(self.worker().retries.take_kept(bytes_max));
    }

    /// Gives the memory back.
    #[inline]
    pub(super) fn end_tries(&mut self) {
        if let Some(kept) = self.upload.kept.take() {
            self.worker().retries.put_kept(kept);
        }
        if let Some(retry) = self.retry.take() {
            self.worker().retries.put(retry);
        }
    }

    /// The request's head has gone to an upstream.
    pub(super) fn sent_try(&mut self) {
        let now = self.worker().core.now();
        self.retry().sent_at = Some(now);
        self.time_try();
        self.arm();
    }

    /// Sets the end of this try, if it is time: the request is complete and there is a connection.
    pub(super) fn time_try(&mut self) {
        let now = self.worker().core.now();
        let is_time = self.upload.is_done() && self.response == Response::Awaited;
        let retry = self.retry();
        if is_time && retry.sent_at.is_some() {
            retry.wake = retry.per_try_timeout.map(|timeout| Wake::TryTimeout(now + timeout));
        }
    }

    /// The request's body is larger than what is kept: there is no other try, and it is counted once.
    fn note_too_large(&mut self) {
        let is_too_large = self.upload.kept.as_ref().is_some_and(|kept| kept.is_overflowed());
        if is_too_large && self.retry().is_enabled() {
            self.retry().disable();
            self.cluster_stats.retry_or_shadow_abandoned.add(1);
        }
    }

    /// Whether a response's head is kept from the client, and another try is made.
    pub(super) fn refuses(&mut self, response: &ResponseHead<'_>) -> bool {
        self.note_too_large();
        let (rules, worker) = (self.rules(), self.worker());
        let seconds = worker.date.nanos(worker.core.now()) / 1_000_000_000;
        let caches = &mut *self.chain.caches.borrow_mut();
        let wanted = self.retry().wants_after_response(rules, response, seconds, caches);
        let verdict = self.decide(wanted);
        if verdict == Verdict::Yes {
            self.cluster_stats.retry_codes.count(response.status());
        }
        verdict == Verdict::Yes
    }

    fn decide(&mut self, wanted: bool) -> Verdict {
        let breakers = self.cluster.state.breakers_of(self.priority);
        let verdict = self.retry.as_mut().map_or(Verdict::No, |retry| retry.decide(wanted, breakers));
        let flag = match verdict {
            Verdict::LimitExceeded => ResponseFlag::URX,
            Verdict::Overflow => ResponseFlag::UO,
            Verdict::No | Verdict::Yes => return verdict,
        };
        self.note(|record, _| record.flags.insert(flag));
        verdict
    }

    /// The response has begun: nothing of the request is needed any more.
    #[inline]
    pub(super) fn begin_response(&mut self) {
        if let Some(kept) = self.upload.kept.take() {
            self.worker().retries.put_kept(kept);
        }
        if let Some(retry) = &mut self.retry {
            retry.wake = None;
            retry.disable();
        }
    }

    /// How often the request was sent, where the client is told.
    pub(super) fn attempts_told(&self) -> Option<u32> {
        let retry = self.retry.as_ref()?;
        self.rules().counts_in_response.then_some(retry.attempts)
    }

    /// As [`Exchange::again`], in memory of its own.
    #[inline(never)]
    pub(super) fn tried_again(
        &mut self,
        stop: Stop,
        pool: &Rc<EndpointPool>,
        head: &Chunk,
    ) -> Pooled<impl Future<Output = Result<(Rc<EndpointPool>, Chunk), Stop>>> {
        self.worker().core.pooled(self.again(stop, pool, head))
    }

    /// After a try that failed: waits, and gives the endpoint and the head for the next one; or what to end the exchange for.
    pub(super) async fn again(
        &mut self,
        stop: Stop,
        pool: &Rc<EndpointPool>,
        head: &Chunk,
    ) -> Result<(Rc<EndpointPool>, Chunk), Stop> {
        if self.response == Response::Begun {
            return Err(stop);
        }
        if !matches!(stop, Stop::Refused { .. }) {
            let reset = match stop {
                Stop::Fail(Failure::Connect | Failure::ConnectTimeout) => Reset::Connect,
                Stop::Fail(
                    Failure::UpstreamProtocol
                    | Failure::Handshake
                    | Failure::NoExtendedConnect
                    | Failure::RemoteReset
                    | Failure::TryTimeout
                    | Failure::TryIdle
                    | Failure::UpstreamDuration
                    | Failure::UpstreamDurationRequest,
                )
                | Stop::Died => Reset::Sent,
                Stop::Unprocessed => Reset::Refused,
                Stop::Fail(_) | Stop::Client(_) | Stop::Refused { .. } => return Err(stop),
            };
            self.note_too_large();
            let method = self.method;
            let wanted = self.retry().wants_after_reset(reset, method);
            if self.decide(wanted) != Verdict::Yes {
                return Err(stop);
            }
        }
        let timed_out = matches!(stop, Stop::Fail(Failure::TryTimeout | Failure::TryIdle));
        let (rules, chance) = (self.rules(), self.worker().chance());
        let stats = self.cluster_stats;
        let wait = self.retry.as_mut().map(|retry| retry.back_off(rules, chance, stats)).unwrap_or_default();
        self.retry().sent_at = None;
        self.ends = self.route_ends;
        self.back_off(wait).await?;
        self.retry().next();
        let attempts = self.retry().attempts;
        let Some(next) = self.pick_again(pool) else {
            stats.upstream_cx_none_healthy.add(1);
            return Err(Stop::Fail(Failure::NoHealthyUpstream));
        };
        self.note(|record, _| record.tried_again(attempts, next.address.borrow().clone()));
        let head = self.head_again(head, &next, timed_out);
        Ok((next, head))
    }

    /// Lets time pass; the client and the other timeouts are watched meanwhile.
    async fn back_off(&mut self, wait: Duration) -> Result<(), Stop> {
        let until = self.worker().core.now() + wait;
        self.retry().wake = Some(Wake::BackOff(until));
        self.arm();
        if wait.is_zero() {
            return Ok(());
        }
        poll_fn(|context| self.poll_back_off(context)).await
    }

    fn poll_back_off(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        if let Some(error) = self.poll_client(context) {
            return Poll::Ready(Err(Stop::Client(error)));
        }
        self.poll_wake(context).map(|expired| match expired {
            Expired::BackOff => Ok(()),
            Expired::Timeout(failure) => Err(Stop::Fail(failure)),
        })
    }

    /// Looks after the client while nothing is read from it. An error: it is gone.
    #[inline]
    pub(super) fn poll_client(&mut self, context: &mut Context<'_>) -> Option<RelayError> {
        if let Some(stream) = self.connection.stream.http2() {
            // What comes is the body's; that it was given up is told at once, whatever waits.
            return stream.poll_reset(context).is_ready().then_some(RelayError::Source);
        }
        if self.watched && self.upload.is_done() && self.connection.stream.poll_watch(context).is_ready() {
            self.watched = false;
            match self.connection.stream.try_recv() {
                // The next request, early: it waits with the socket.
                Some(Ok(Some(chunk))) => self.connection.stream.unread(chunk),
                // The client has no more to say; it may still listen.
                Some(Ok(None)) => self.keep_alive = false,
                Some(Err(_)) => return Some(RelayError::Source),
                None => self.watched = true,
            }
        }
        None
    }

    /// The endpoint for another try: any, but one that was not tried where that is asked for and can be had.
    fn pick_again(&mut self, last: &Rc<EndpointPool>) -> Option<Rc<EndpointPool>> {
        let (worker, cluster, policy) = (self.worker(), self.cluster, &self.rules().policy);
        if cluster.config.original_dst.is_some() {
            return Some(Rc::clone(last));
        }
        let hash = self.retry().hash;
        let pick = |attempt| balance::pick_by(worker, cluster, hash, attempt).map(|at| cluster.pool(at));
        let mut picked = pick(0)?;
        if policy.avoids_previous_hosts {
            let tried = &mut self.retry().tried;
            note_tried(tried, last.address.borrow().clone());
            for attempt in 0..policy.host_selections_max {
                if !tried.contains(&picked.address.borrow()) {
                    break;
                }
                picked = pick(attempt + 1)?;
            }
        }
        Some(Rc::clone(picked))
    }

    /// The request's head for another try: with what has changed since the last one.
    fn head_again(&mut self, head: &Chunk, pool: &Rc<EndpointPool>, timed_out: bool) -> Chunk {
        let (rules, worker) = (self.rules(), self.worker());
        let elapsed =
            self.requested_at.map_or(Duration::ZERO, |since| worker.core.now().saturating_duration_since(since));
        let timeout = self.timeout;
        let retry = self.retry();
        let (attempts, expected) = (retry.attempts, retry.expected(timeout, elapsed));
        let call = expected.filter(|_| self.tells_grpc_timeout());
        let expected = expected.filter(|_| !self.chain.http.headers.suppress_envoy_headers);
        let host = self.own_host(pool);
        let mut gone: [&[u8]; 5] = [b""; 5];
        let mut lines = Outbox::new(&worker.core, LINES_BYTES_MAX + host.map_or(0, str::len));
        if let Some(host) = host {
            gone[0] = b"host";
            lines.put(b"Host: ");
            lines.put(host.as_bytes());
            lines.put(b"\r\n");
        }
        if let Some(expected) = expected {
            gone[1] = b"x-envoy-expected-rq-timeout-ms";
            lines.put(b"x-envoy-expected-rq-timeout-ms: ");
            put_number(u64::try_from(expected.as_millis()).unwrap_or(u64::MAX), &mut lines);
            lines.put(b"\r\n");
        }
        if rules.counts_in_request {
            gone[2] = b"x-envoy-attempt-count";
            hop::put_attempts(attempts, &mut lines);
        }
        if rules.tells_timeout_retry {
            gone[3] = b"x-envoy-is-timeout-retry";
            lines.put(if timed_out {
                b"x-envoy-is-timeout-retry: true\r\n"
            } else {
                b"x-envoy-is-timeout-retry: false\r\n"
            });
        }
        if let Some(timeout) = call {
            gone[4] = b"grpc-timeout";
            hop::put_grpc_timeout(timeout, &mut lines);
        }
        let lines = lines.finish();
        let head = if lines.is_empty() { head.clone() } else { with_lines(&worker.core, head, &gone, &lines) };
        self.note(|record, _| record.request = Some(head.clone()));
        head
    }

    /// The name of an endpoint, where the route makes it the host.
    fn own_host(&self, pool: &Rc<EndpointPool>) -> Option<&'x str> {
        let Action::Forward(action) = &self.chain.http.routes.at(self.position).route.action else { return None };
        if action.host != Some(HostRewrite::Endpoint) {
            return None;
        }
        let at = self.cluster.position_of(pool.endpoint())?;
        Some(self.cluster.config.endpoints[at].hostname.as_str()).filter(|name| !name.is_empty())
    }

    /// Ends the exchange for a failure, with what is known of its tries.
    pub(super) fn answer_tries(&mut self, failure: Failure) -> After {
        let retry = self.retry();
        let mut local = if retry.attempts > 1 { failure.local_retried() } else { failure.local() };
        let is_timeout = matches!(failure, Failure::RouteTimeout | Failure::TryTimeout | Failure::TryIdle);
        if is_timeout && retry.timeout_is_empty {
            (local.status, local.body) = (204, b"");
        }
        let after = self.answer_local(local, failure == Failure::Overflow);
        let details = match failure {
            Failure::TryTimeout => "upstream_per_try_timeout",
            Failure::TryIdle => "upstream_per_try_idle_timeout",
            _ => return after,
        };
        self.note(|record, _| record.details = details);
        after
    }
}

/// Endpoints of one exchange that are remembered as tried: more tries than that are not made in earnest.
const TRIED_MAX: usize = 32;
/// What the lines take that another try changes, but for a host: four names, three numbers and a word.
const LINES_BYTES_MAX: usize = 192;

fn note_tried(tried: &mut Vec<Address>, address: Address) {
    if tried.len() < TRIED_MAX && !tried.contains(&address) {
        tried.push(address);
    }
}
