//! A bucket of tokens: so many at once, then one in such a time.

use std::time::{Duration, Instant};

/// See the module. The clock is the caller's.
#[derive(Debug)]
pub(super) struct Tokens {
    burst: u32,
    interval: Duration,
    left: u32,
    /// When the last token was added, or was due while the bucket was full.
    since: Instant,
}

impl Tokens {
    /// A full bucket of at least one token.
    pub(super) fn new(burst: u32, interval: Duration, now: Instant) -> Self {
        assert!(burst > 0 && !interval.is_zero(), "{burst} tokens, one in {interval:?}");
        Self { burst, interval, left: burst, since: now }
    }

    /// Takes one.
    ///
    /// # Errors
    /// There is none before this time.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let passed = now.saturating_duration_since(self.since);
        let added = u32::try_from(passed.as_nanos() / self.interval.as_nanos()).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(added).min(self.burst);
        self.since = if self.left == self.burst { now } else { self.since + self.interval * added };
        if self.left == 0 {
            return Err(self.since + self.interval);
        }
        self.left -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_in_each_interval() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut tokens = Tokens::new(2, Duration::from_millis(100), start);
        assert_eq!([0, 0, 0].map(|millis| tokens.take(at(millis))), [Ok(()), Ok(()), Err(at(100))]);
        assert_eq!([99, 100, 150].map(|millis| tokens.take(at(millis))), [Err(at(100)), Ok(()), Err(at(200))]);
        // However long nobody came, no more than the burst.
        assert_eq!([9_000, 9_000, 9_000].map(|millis| tokens.take(at(millis))), [Ok(()), Ok(()), Err(at(9_100))]);
    }
}
