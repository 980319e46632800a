//! How long a client's connection may live: so many requests, so much time.
//!
//! ```text
//!   Young ──────────────────────────> Old ──────────────────────────────> closed
//!           max_connection_duration        the next response says so; without a
//!           or the last request            request: after drain_timeout
//! ```
//!
//! It never closes a connection: it says when, to who waits on it. One that has had no request is closed as soon as it is old.

use std::cell::Cell;

use ringway_model::ConnectionRules;
use ringway_observe::HttpStats;
use ringway_runtime::Instant;

/// See the module.
pub(crate) struct Age {
    /// When its time is up.
    ends: Cell<Option<Instant>>,
    requests: Cell<u32>,
    /// This is its last request, whatever the time.
    is_last: Cell<bool>,
    /// That its time is up was counted.
    is_counted: Cell<bool>,
}

impl Age {
    /// A connection that was opened now.
    pub(crate) fn new(rules: &ConnectionRules, now: Instant) -> Self {
        Self {
            ends: Cell::new(rules.duration_max.map(|duration| now + duration)),
            requests: Cell::new(0),
            is_last: Cell::new(false),
            is_counted: Cell::new(false),
        }
    }

    /// Without bounds: what counts is somebody else's affair.
    pub(crate) fn none() -> Self {
        let ends = Cell::new(None);
        Self { ends, requests: Cell::new(0), is_last: Cell::new(false), is_counted: Cell::new(false) }
    }

    /// When its time is up, until that was counted.
    pub(crate) fn ends(&self) -> Option<Instant> {
        self.ends.get().filter(|_| !self.is_counted.get())
    }

    /// A request has come.
    #[inline]
    pub(crate) fn request(&self, rules: &ConnectionRules, stats: &HttpStats) {
        let Some(max) = rules.requests_max else { return };
        self.requests.set(self.requests.get().saturating_add(1));
        if self.requests.get() >= max {
            self.is_last.set(true);
            stats.downstream_cx_max_requests_reached.add(1);
        }
    }

    /// Whether the response that begins now is the connection's last.
    #[inline]
    pub(crate) fn is_old(&self, now: Instant, stats: &HttpStats) -> bool {
        self.is_last.get() || (self.ends.get().is_some() && self.time_is_up(now, stats))
    }

    /// When a connection without a request under way is to be looked at next. `served`: it has had one.
    pub(crate) fn next_look(&self, rules: &ConnectionRules, served: bool) -> Option<Instant> {
        let ends = self.ends.get()?;
        match (self.is_counted.get(), rules.is_soft) {
            (false, _) => Some(ends),
            // Only a request can end it.
            (true, true) if served => None,
            (true, _) => Some(ends + rules.drain_timeout),
        }
    }

    /// Whether a connection without a request under way is to be closed.
    pub(crate) fn closes(&self, rules: &ConnectionRules, served: bool, now: Instant, stats: &HttpStats) -> bool {
        let Some(ends) = self.ends.get() else { return false };
        if !self.time_is_up(now, stats) {
            return false;
        }
        !served || (!rules.is_soft && now >= ends + rules.drain_timeout)
    }

    fn time_is_up(&self, now: Instant, stats: &HttpStats) -> bool {
        let is_up = self.ends.get().is_some_and(|ends| now >= ends);
        if is_up && !self.is_counted.replace(true) {
            stats.downstream_cx_max_duration_reached.add(1);
        }
        is_up
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn rules(duration_max: Option<Duration>, requests_max: Option<u32>, is_soft: bool) -> ConnectionRules {
        ConnectionRules { duration_max, requests_max, drain_timeout: TEN / 2, is_soft }
    }

    #[test]
    fn the_last_of_so_many_requests() {
        let (stats, now) = (HttpStats::new(), Instant::now());
        let rules = rules(None, Some(2), false);
        let age = Age::new(&rules, now);
        for expect in [false, true, true] {
            age.request(&rules, &stats);
            assert_eq!(age.is_old(now, &stats), expect);
        }
        assert_eq!(age.next_look(&rules, true), None);
    }

    /// Each row: seconds since it was opened, whether a request was served, whether the close is soft; then whether a response
    /// that begins is the last, and whether it is closed without one.
    #[test]
    fn so_much_time() {
        for (seconds, served, is_soft, is_old, closes) in [
            (9, false, false, false, false),
            (10, false, false, true, true),
            (10, true, false, true, false),
            (14, true, false, true, false),
            (15, true, false, true, true),
            (10, false, true, true, true),
            (99, true, true, true, false),
        ] {
            let (stats, opened) = (HttpStats::new(), Instant::now());
            let rules = rules(Some(TEN), None, is_soft);
            let age = Age::new(&rules, opened);
            let now = opened + Duration::from_secs(seconds);
            let found = (age.is_old(now, &stats), age.closes(&rules, served, now, &stats));
            assert_eq!(found, (is_old, closes), "{seconds} {served} {is_soft}");
            assert_eq!(stats.downstream_cx_max_duration_reached.value(), u64::from(seconds >= 10), "counted once");
        }
    }
}
