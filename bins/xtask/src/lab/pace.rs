//! Waiting in a judge. The proxy is another process: all that a judge can do is to look again, within a time.

use std::time::{Duration, Instant};

/// Lets `time` pass: the pace of a load, or of looking again.
// Nothing here can be told by the other process when its state has changed.
#[allow(clippy::disallowed_methods)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Looks until there is something, at most for `limit`.
///
/// # Errors
/// Says what was waited for.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(format!("waited {} s in vain for {what}", limit.as_secs_f32()));
        }
        pause(Duration::from_millis(2));
    }
}
