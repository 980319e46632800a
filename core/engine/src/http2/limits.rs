//! The codec's bounds, as the configuration sets them.

use ringway_model::{Http2Options, MalformedEnds};
use ringway_protocols::http2::{Limits, Rate};

use crate::core_cluster::CoreCluster;
use crate::view::CoreChain;

/// Those of a client's connection.
pub(super) fn of_chain(chain: &CoreChain) -> Limits {
    of(&chain.http.http2, &chain.codec_limits)
}

/// Those of a connection to an upstream.
pub(super) fn of_upstream(cluster: &CoreCluster) -> Limits {
    of(&cluster.config.http2, &cluster.codec_limits)
}

fn of(options: &Http2Options, heads: &ringway_protocols::Limits) -> Limits {
    let own = Limits::default();
    // A window that the configuration sets stays as it is; ours grow with use.
    let (stream_window, stream_window_max) = match options.initial_stream_window_size {
        Some(size) => (size, size),
        None => (own.stream_window, own.stream_window_max),
    };
    let (connection_window, connection_window_max) = match options.initial_connection_window_size {
        Some(size) => (size, size),
        None => (own.connection_window, own.connection_window_max),
    };
    Limits {
        max_concurrent_streams: options.max_concurrent_streams,
        stream_window,
        stream_window_max,
        connection_window,
        connection_window_max,
        decoder_table_bytes: options.hpack_table_size,
        extended_connect: options.allow_connect,
        malformed_ends_connection: options.malformed_ends == MalformedEnds::Connection,
        max_outbound_frames: options.max_outbound_frames,
        max_outbound_control_frames: options.max_outbound_control_frames,
        max_consecutive_inbound_frames_with_empty_payload: options.max_consecutive_inbound_frames_with_empty_payload,
        max_inbound_priority_frames_per_stream: options.max_inbound_priority_frames_per_stream,
        max_inbound_window_update_frames_per_data_frame_sent: options
            .max_inbound_window_update_frames_per_data_frame_sent,
        resets: Rate { burst: options.stream_reset_burst, per_second: options.stream_reset_rate },
        ..own
    }
    .with_heads(heads.head_bytes_max, heads.headers_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards two lists of the same numbers.
    #[test]
    fn a_file_that_says_nothing_leaves_the_codecs_own() {
        let heads = ringway_protocols::Limits::default();
        let own = Limits::default().with_heads(heads.head_bytes_max, heads.headers_max);
        assert_eq!(of(&Http2Options::default(), &heads), own);
    }
}
