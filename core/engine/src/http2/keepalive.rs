//! PINGs that show whether the peer is there (Envoy, `connection_keepalive`).
//!
//! It never sends: it says when, to who does. Anything at all that comes is a sign of life.

use ringway_model::Keepalive as Rules;
use ringway_runtime::Instant;

/// See the module.
pub(super) struct Keepalive {
    rules: Rules,
    /// When the next PING goes.
    next_ping: Option<Instant>,
    /// Since when a PING waits for an answer.
    asked: Option<Instant>,
    heard: Instant,
    count: u64,
}

impl Keepalive {
    pub(super) fn new(rules: Rules, now: Instant, chance: u64) -> Self {
        let mut keepalive = Self { rules, next_ping: None, asked: None, heard: now, count: 0 };
        keepalive.plan(now, chance);
        keepalive
    }

    fn plan(&mut self, now: Instant, chance: u64) {
        self.next_ping = self.rules.interval.map(|interval| {
            // Of a million parts.
            let part = (chance % 1_000_000) as f64 / 1e6;
            now + interval + interval.mul_f64(self.rules.interval_jitter_percent / 100.0 * part)
        });
    }

    /// Something came.
    pub(super) fn heard(&mut self, now: Instant) {
        (self.heard, self.asked) = (now, None);
    }

    /// Whether the peer did not answer in time.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now >= asked + self.rules.timeout)
    }

    /// What a PING that is due now says.
    pub(super) fn ping(&mut self, now: Instant, chance: u64) -> Option<u64> {
        if self.next_ping.is_none_or(|at| now < at) {
            return None;
        }
        self.plan(now, chance);
        // One that waits for its answer is enough.
        self.asked.is_none().then(|| self.ask(now))
    }

    /// What a PING before a new stream says, where nothing came for too long (`connection_idle_interval`).
    pub(super) fn ping_before_stream(&mut self, now: Instant) -> Option<u64> {
        let quiet = self.rules.connection_idle_interval?;
        (self.asked.is_none() && now.saturating_duration_since(self.heard) >= quiet).then(|| self.ask(now))
    }

    fn ask(&mut self, now: Instant) -> u64 {
        self.asked.get_or_insert(now);
        self.count += 1;
        self.count
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<Instant> {
        let lost = self.asked.map(|asked| asked + self.rules.timeout);
        lost.into_iter().chain(self.next_ping).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rules(interval: Option<Duration>) -> Rules {
        Rules { interval, interval_jitter_percent: 0.0, timeout: SECOND, connection_idle_interval: Some(SECOND * 5) }
    }

    #[test]
    fn a_peer_that_answers_is_not_lost() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(rules(Some(SECOND * 3)), start, 0);
        assert_eq!(keepalive.next(), Some(start + SECOND * 3));
        assert_eq!(keepalive.ping(start + SECOND * 2, 0), None);
        assert_eq!(keepalive.ping(start + SECOND * 3, 0), Some(1));
        assert_eq!(keepalive.next(), Some(start + SECOND * 4));
        assert!(!keepalive.is_lost(start + SECOND * 3));
        keepalive.heard(start + SECOND * 3);
        assert!(!keepalive.is_lost(start + SECOND * 4));
        assert_eq!(keepalive.ping(start + SECOND * 6, 0), Some(2));
        assert!(keepalive.is_lost(start + SECOND * 7));
    }

    #[test]
    fn a_connection_that_was_quiet_is_asked_before_a_stream() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(rules(None), start, 0);
        assert_eq!(keepalive.next(), None);
        assert_eq!(keepalive.ping_before_stream(start + SECOND * 4), None);
        assert_eq!(keepalive.ping_before_stream(start + SECOND * 5), Some(1));
        assert_eq!(keepalive.ping_before_stream(start + SECOND * 5), None);
        assert_eq!(keepalive.next(), Some(start + SECOND * 6));
    }
}
