//! Timeouts as Envoy means them.

use std::time::Duration;

/// A timeout of 0 s is off.
pub(super) fn unless_zero(timeout: Duration) -> Option<Duration> {
    (!timeout.is_zero()).then_some(timeout)
}
