//! The timeouts of one exchange: one timer for all of them.

use std::task::{Context, Poll};
use std::time::Duration;

use ringway_model::format::Moment;
use ringway_runtime::Instant;

use super::{Exchange, Response};
use crate::reply::Failure;
use crate::retry::Wake;
use crate::tunnel::Tunnel;

/// What the timer was set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// A timeout has passed.
    Timeout(Failure),
    /// The wait before the next try is over.
    BackOff,
}

impl Exchange<'_> {
    pub(super) fn request_ended(&mut self) {
        if self.upload.is_done() {
            let now = self.worker().core.now();
            self.requested_at = Some(now);
            self.deadline = self.timeout.map(|timeout| now + timeout);
            if self.retry.is_some() {
                self.time_try();
            }
            self.note(|record, now| {
                record.mark(Moment::RequestEnded, now);
                record.mark_sent(now);
            });
        }
    }

    /// Sets the connection's one timer to the earliest of the timeouts.
    pub(super) fn arm(&self) {
        let idle = self.stream_idle.map(|timeout| self.active_at + timeout);
        let wake = self.retry.as_ref().and_then(|retry| retry.wakes_at(self.active_at));
        let earlier = |one: Option<Instant>, other: Option<Instant>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            _ => one.or(other),
        };
        match earlier(earlier(self.deadline, idle), earlier(earlier(self.ends, self.request_ends()), wake)) {
            Some(at) => self.connection.timer.set(at),
            None => self.connection.timer.clear(),
        }
    }

    /// The try at hand, which has its connection now, may take so long.
    #[cold]
    pub(super) fn end_try_within(&mut self, duration: Duration) {
        let ends = self.worker().core.now() + duration;
        self.ends = Some(self.route_ends.map_or(ends, |route| route.min(ends)));
        self.arm();
    }

    /// When the request has to be complete, while that counts.
    fn request_ends(&self) -> Option<Instant> {
        self.request_ends.filter(|_| self.response == Response::Awaited && !self.upload.is_done())
    }

    /// Which timeout passed, if one did, while no next try is waited for.
    pub(super) fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        self.poll_wake(context).map(|expired| match expired {
            Expired::Timeout(failure) => failure,
            Expired::BackOff => unreachable!("no next try is waited for"),
        })
    }

    /// What passed, if something did. The idle timer is only looked at when it fires: what moved meanwhile cost nothing.
    #[inline]
    pub(super) fn poll_wake(&mut self, context: &mut Context<'_>) -> Poll<Expired> {
        match self.connection.timer.poll_expired(context) {
            Poll::Ready(()) => self.fired(context),
            Poll::Pending => Poll::Pending,
        }
    }

    #[cold]
    fn fired(&mut self, context: &mut Context<'_>) -> Poll<Expired> {
        loop {
            let now = self.worker().core.now();
            if self.deadline.is_some_and(|deadline| now >= deadline) {
                self.cluster_stats.upstream_rq_timeout.add(1);
                return Poll::Ready(Expired::Timeout(Failure::RouteTimeout));
            }
            if self.ends.is_some_and(|ends| now >= ends) {
                if self.route_ends.is_none_or(|ends| now < ends) {
                    self.cluster_stats.upstream_rq_max_duration_reached.add(1);
                    return Poll::Ready(Expired::Timeout(match self.upload.is_done() {
                        true => Failure::UpstreamDuration,
                        false => Failure::UpstreamDurationRequest,
                    }));
                }
                self.stats.downstream_rq_max_duration_reached.add(1);
                return Poll::Ready(Expired::Timeout(match self.upload.is_done() && self.tunnel == Tunnel::Not {
                    true => Failure::StreamDuration,
                    false => Failure::StreamDurationRequest,
                }));
            }
            if self.request_ends().is_some_and(|ends| now >= ends) {
                self.stats.downstream_rq_timeout.add(1);
                return Poll::Ready(Expired::Timeout(Failure::RequestTimeout));
            }
            if self.stream_idle.is_some_and(|timeout| now >= self.active_at + timeout) {
                self.stats.downstream_rq_idle_timeout.add(1);
                return Poll::Ready(Expired::Timeout(match self.upload.is_done() && self.tunnel == Tunnel::Not {
                    true => Failure::StreamIdle,
                    false => Failure::StreamIdleRequest,
                }));
            }
            if let Some(retry) = &self.retry
                && retry.wakes_at(self.active_at).is_some_and(|at| now >= at)
            {
                let stats = self.cluster_stats;
                return Poll::Ready(match retry.wake {
                    Some(Wake::BackOff(at)) if now >= at => Expired::BackOff,
                    Some(Wake::TryTimeout(at)) if now >= at => {
                        stats.upstream_rq_per_try_timeout.add(1);
                        Expired::Timeout(Failure::TryTimeout)
                    }
                    _ => {
                        stats.upstream_rq_per_try_idle_timeout.add(1);
                        Expired::Timeout(Failure::TryIdle)
                    }
                });
            }
            self.arm();
            if self.connection.timer.poll_expired(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
