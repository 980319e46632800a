//! Since when a connection has had no request under way, and what it gives back then.

use ringway_runtime::Instant;

use super::link::Link;
use std::time::Duration;

/// A connection without a request for so long gives back what it has for speed: the encoder's table, room for streams. What comes more often than
/// this pays nothing for it.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Quiet {
    since: Option<Instant>,
    is_shrunk: bool,
}

impl Quiet {
    /// Of a connection that has had none yet, and has nothing to give back.
    pub(super) fn new(now: Instant) -> Self {
        Self { since: Some(now), is_shrunk: true }
    }

    /// Looks at the connection. When it gives something back, if that is to come.
    pub(super) fn look(&mut self, link: &Link, now: Instant) -> Option<Instant> {
        if link.active() > 0 {
            self.since = None;
            return None;
        }
        if self.since.is_none() {
            (self.since, self.is_shrunk) = (Some(now), false);
        }
        let until = self.since.filter(|_| !self.is_shrunk)? + QUIET;
        if now < until {
            return Some(until);
        }
        self.is_shrunk = true;
        link.shrink();
        None
    }

    /// When so much time without a request has passed; `None` while there is one.
    pub(super) fn for_so_long(&self, time: Duration) -> Option<Instant> {
        self.since.map(|since| since + time)
    }
}
