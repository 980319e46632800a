//! What is counted of network filters that let a connection on or close it.

use crate::block::block;

block! {
    /// `<stat_prefix>.rbac.`: whom the network filter `rbac` let on.
    RbacStats {
        /// Connections that the rules let on.
        allowed: Counter,
        /// Connections that they closed.
        denied: Counter,
        /// Connections that the shadow rules would have let on.
        shadow_allowed: Counter,
        /// Connections that they would have closed.
        shadow_denied: Counter,
    }
    histograms {}
    beside {}
}

block! {
    /// `connection_limit.<stat_prefix>.`
    ConnectionLimitStats {
        /// Connections under the limit.
        active_connections: Gauge,
        /// Connections closed because they were too many.
        limited_connections: Counter,
    }
    histograms {}
    beside {}
}

block! {
    /// `local_rate_limit.<stat_prefix>.`
    RateLimitStats {
        /// Connections closed because no token was left.
        rate_limited: Counter,
    }
    histograms {}
    beside {}
}
