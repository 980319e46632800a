//! How long to wait before connecting again.

use std::time::Duration;

/// Exponential, with full jitter: any time from nothing to a span that doubles with each attempt. So is Envoy's, with
/// the same defaults (`EnvoyGrpc.retry_policy`: a half second, 30 s).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    base: Duration,
    max: Duration,
    span: Duration,
}

impl Backoff {
    pub(crate) const BASE: Duration = Duration::from_millis(500);
    pub(crate) const MAX: Duration = Duration::from_secs(30);

    /// # Panics
    /// Where `max` is less than `base`, or `base` is nothing: a configuration that says so is refused when it is read.
    pub(crate) fn new(base: Duration, max: Duration) -> Self {
        assert!(max >= base && !base.is_zero(), "a span from {base:?} to {max:?}");
        Self { base, max, span: base }
    }

    /// The time to wait before the next attempt. `chance` is drawn evenly from all numbers.
    pub(crate) fn next(&mut self, chance: u64) -> Duration {
        let span = self.span;
        self.span = span.saturating_mul(2).min(self.max);
        // The upper half of the product is even enough: a span in nanoseconds is far below 2^64.
        let nanos = (u128::from(span.as_nanos() as u64) * u128::from(chance)) >> 64;
        Duration::from_nanos(nanos as u64)
    }

    /// After a message from the server: a connection that merely opens says nothing about what is behind it.
    pub(crate) fn reset(&mut self) {
        self.span = self.base;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Self::BASE, Self::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_double_up_to_the_maximum_and_begin_anew() {
        let mut backoff = Backoff::default();
        let spans: Vec<u64> = (0..9).map(|_| backoff.next(u64::MAX).as_millis() as u64 + 1).collect();
        assert_eq!(spans, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        backoff.reset();
        assert_eq!(backoff.next(u64::MAX).as_millis(), 499);
    }

    #[test]
    fn jitter_is_full() {
        let at = |chance| Backoff::default().next(chance).as_millis();
        assert_eq!([at(0), at(u64::MAX / 4), at(u64::MAX / 2)], [0, 124, 249]);
    }

    #[test]
    fn a_server_that_is_gone_is_asked_at_most_so_often() {
        // A hundred clients' first ten minutes, with chances spread evenly: the rate falls to one attempt in 15 s each.
        let (mut attempts, minutes) = (0, 10);
        for client in 0_u64..100 {
            let mut chance = client.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let (mut backoff, mut at) = (Backoff::default(), Duration::ZERO);
            while at < Duration::from_secs(60 * minutes) {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                at += backoff.next(chance);
                attempts += 1;
            }
        }
        assert!((4_200..5_200).contains(&attempts), "{attempts}");
    }
}
