//! Bounds of HTTP/2 for who measures, on either side.

use ringway_protocols::http2::{Limits, Rate};

/// Who measures does not defend itself: bounds on oddities are out of the way, and windows are wide from the start, so that neither end of
/// ours is what bounds a transfer. `streams` is how many the peer may have open at once.
pub(crate) fn limits(streams: u32) -> Limits {
    const ANY: Rate = Rate { burst: u32::MAX, per_second: u32::MAX };
    const STREAM_WINDOW: u32 = 1 << 20;
    const CONNECTION_WINDOW: u32 = 16 << 20;
    Limits {
        max_concurrent_streams: streams,
        stream_window: STREAM_WINDOW,
        connection_window: CONNECTION_WINDOW,
        settings: ANY,
        pings: ANY,
        resets: ANY,
        glitches: ANY,
        max_outbound_frames: u32::MAX,
        max_outbound_control_frames: u32::MAX,
        ..Limits::default()
    }
}
