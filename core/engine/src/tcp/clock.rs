//! How long a raw connection may go on: silent, in all, and once its chain is gone.

use std::time::Duration;

use ringway_model::TcpProxy;
use ringway_runtime::Instant;

/// What ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// `idle_timeout`
    Idle,
    /// `max_downstream_connection_duration`
    Duration,
    /// Its chain is gone, and the drain time is over.
    Drain,
}

/// See the module. It is looked at when its timer fires, so that a byte that moves costs no timer.
pub(super) struct Clock {
    idle_timeout: Option<Duration>,
    /// A byte moved last.
    active_at: Instant,
    /// What was queued when it was looked at last.
    unsent: usize,
    ends: Option<Instant>,
    leaves: Option<Instant>,
}

impl Clock {
    pub(super) fn new(tcp: &TcpProxy, since: Instant, now: Instant) -> Self {
        let ends = tcp.duration_max.map(|max| since + max);
        Self { idle_timeout: tcp.idle_timeout, active_at: now, unsent: 0, ends, leaves: None }
    }

    /// A byte moved, and so much is queued.
    #[inline]
    pub(super) fn moved(&mut self, now: Instant, unsent: usize) {
        (self.active_at, self.unsent) = (now, unsent);
    }

    /// So much is queued. Less than last time: a byte moved meanwhile.
    pub(super) fn taken(&mut self, unsent: usize, now: Instant) {
        if unsent < self.unsent {
            self.moved(now, unsent);
        }
    }

    /// The connection's chain is gone: it has so long. Says whether that is news.
    pub(super) fn leave(&mut self, at: Instant) -> bool {
        self.leaves.replace(self.leaves.unwrap_or(at)).is_none()
    }

    /// What is over by now; else when to look again, if ever.
    pub(super) fn look(&self, now: Instant) -> Result<Option<Instant>, Expired> {
        let idle = self.idle_timeout.map(|timeout| self.active_at + timeout);
        let all = [(idle, Expired::Idle), (self.ends, Expired::Duration), (self.leaves, Expired::Drain)];
        let next = all.into_iter().filter_map(|(at, what)| Some((at?, what))).min_by_key(|(at, _)| *at);
        match next {
            Some((at, what)) if at <= now => Err(what),
            next => Ok(next.map(|(at, _)| at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use ringway_model::{ClusterId, TcpTarget};

    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_of_three_ends_counts() {
        let start = Instant::now();
        let tcp = |idle_timeout: Option<Duration>, duration_max: Option<Duration>| TcpProxy {
            stat_prefix: String::new(),
            target: TcpTarget::Cluster(ClusterId(0)),
            idle_timeout,
            duration_max,
            connect_attempts_max: 1,
            access_logs: Vec::new(),
            hashes_source_ip: false,
        };
        let clock = Clock::new(&tcp(None, None), start, start);
        assert_eq!(clock.look(start + 1000 * S), Ok(None));
        let mut clock = Clock::new(&tcp(Some(3 * S), Some(10 * S)), start, start + S);
        assert_eq!(clock.look(start), Ok(Some(start + 4 * S)));
        assert_eq!(clock.look(start + 4 * S), Err(Expired::Idle));
        clock.moved(start + 8 * S, 9);
        assert_eq!(clock.look(start + 4 * S), Ok(Some(start + 10 * S)));
        assert_eq!(clock.look(start + 10 * S), Err(Expired::Duration));
        clock.taken(9, start + 9 * S);
        assert_eq!(clock.active_at, start + 8 * S);
        clock.taken(8, start + 9 * S);
        assert_eq!(clock.active_at, start + 9 * S);
        assert!(clock.leave(start + 9 * S) && !clock.leave(start + 99 * S));
        assert_eq!(clock.look(start + 8 * S), Ok(Some(start + 9 * S)));
        assert_eq!(clock.look(start + 9 * S), Err(Expired::Drain));
    }
}
