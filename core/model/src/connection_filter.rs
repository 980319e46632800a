//! Network filters before the terminal one: they let a connection on or close it.

use std::time::Duration;

/// `envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit`. The limit is the whole process's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimit {
    /// `stat_prefix`: `connection_limit.<prefix>.`
    pub stat_prefix: String,
    /// `max_connections`: of its filter chain, at the same time.
    pub connections_max: u64,
    /// `delay`: how long a connection beyond the limit is held before it is closed.
    pub delay: Option<Duration>,
}

/// `envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit`. The rate is the whole process's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRateLimit {
    /// `stat_prefix`: `local_rate_limit.<prefix>.`
    pub stat_prefix: String,
    /// `token_bucket`
    pub bucket: TokenBucket,
    /// `share_key`: filters with the same key and bucket share it.
    pub share_key: String,
}

/// `envoy.type.v3.TokenBucket`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenBucket {
    /// `max_tokens`
    pub tokens_max: u32,
    /// `tokens_per_fill`. Envoy: 1.
    pub tokens_per_fill: u32,
    /// `fill_interval`
    pub fill_interval: Duration,
}
