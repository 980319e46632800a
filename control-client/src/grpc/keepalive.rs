//! PINGs that show whether the server is there: `connection_keepalive` of its cluster.

use std::time::Duration;

use h2::{Ping, PingPong};
use ringway_model::Keepalive;
use tokio::time::{sleep, timeout};

use crate::chance::Chance;

/// Sends PINGs, and comes back when one was not answered in time. Without an interval it never does.
pub(super) async fn until_silent(mut pings: PingPong, keepalive: Keepalive) {
    let mut chance = Chance::new();
    loop {
        let Some(interval) = keepalive.interval else { return std::future::pending().await };
        sleep(interval + jitter(interval, keepalive.interval_jitter_percent, chance.next())).await;
        match timeout(keepalive.timeout, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection is over; who drives it knows why.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}

/// Up to so many percent of the interval.
fn jitter(interval: Duration, percent: f64, chance: u64) -> Duration {
    let share = chance as f64 / u64::MAX as f64;
    interval.mul_f64((percent / 100.0 * share).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_a_share_of_the_interval() {
        let at = |percent, chance| jitter(Duration::from_secs(10), percent, chance).as_millis();
        assert_eq!([at(15.0, 0), at(15.0, u64::MAX), at(0.0, u64::MAX), at(100.0, u64::MAX)], [0, 1_500, 0, 10_000]);
    }
}
