//! What is counted of HTTP/2: `http2.` of all connection managers together, and `cluster.<name>.http2.`.
//!
//! It stands in the block of a connection manager or of a cluster and is allocated when HTTP/2 is first spoken there, as Envoy's is: till
//! then it is 16 bytes and is not shown.

use std::sync::OnceLock;

use crate::block::block;
use crate::{Gauge, Kind, Row, Shown};

/// The numbers of HTTP/2 of one block, if HTTP/2 was ever spoken there.
#[derive(Debug, Default)]
pub struct Http2Part(OnceLock<Box<Http2Stats>>);

impl Http2Part {
    /// To write them; allocated at the first call. For the one writer.
    #[inline]
    pub fn write(&self) -> &Http2Stats {
        self.0.get_or_init(Box::default)
    }

    /// To read them.
    #[inline]
    pub fn read(&self) -> Option<&Http2Stats> {
        self.0.get().map(|stats| &**stats)
    }
}

/// A block that has such a part.
pub(crate) trait HasHttp2 {
    fn part(&self) -> &Http2Part;
}

macro_rules! http2_stats {
    ($($(#[$doc:meta])* $field:ident: $kind:ident,)*) => {
        block! {
            /// `http2.` and `cluster.<name>.http2.`: what one worker did in HTTP/2 on one side.
            Http2Stats { $($(#[$doc])* $field: $kind,)* }
            histograms {}
            beside {}
        }

        /// The rows of a block that has them in a part.
        pub(crate) fn rows<B: HasHttp2>(shown: &dyn Fn() -> Shown<B>) -> Vec<Row<B>> {
            vec![$(Row {
                name: concat!("http2.", stringify!($field)),
                kind: Kind::$kind,
                value: |block: &B| block.part().read().map_or(0, |part| part.$field.value()),
                shown: shown(),
            },)*]
        }
    };
}

http2_stats! {
    /// Fields left out for their names (`headers_with_underscores_action`).
    dropped_headers_with_underscores: Counter,
    /// GOAWAYs sent.
    goaway_sent: Counter,
    /// Streams or connections ended for heads larger than they may be.
    header_overflow: Counter,
    /// Connections ended for frames without content (`max_consecutive_inbound_frames_with_empty_payload`).
    inbound_empty_frames_flood: Counter,
    /// Connections ended for PRIORITY frames (`max_inbound_priority_frames_per_stream`).
    inbound_priority_frames_flood: Counter,
    /// Connections ended for WINDOW_UPDATE frames (`max_inbound_window_update_frames_per_data_frame_sent`).
    inbound_window_update_frames_flood: Counter,
    /// Connections ended for a PING without an answer (`connection_keepalive`).
    keepalive_timeout: Counter,
    /// Connections ended for control frames that the peer did not take (`max_outbound_control_frames`).
    outbound_control_flood: Counter,
    /// Connections ended for frames that the peer did not take (`max_outbound_frames`).
    outbound_flood: Counter,
    /// Requests refused for the name of a field (`headers_with_underscores_action`).
    requests_rejected_with_underscores_in_headers: Counter,
    /// Malformed messages (RFC 9113 §8.1.1).
    rx_messaging_error: Counter,
    /// RST_STREAMs received.
    rx_reset: Counter,
    /// RST_STREAMs received that say REFUSED_STREAM.
    stream_refused_errors: Counter,
    /// Trailer sections received.
    trailers: Counter,
    /// Streams ended because the peer opened no window for the rest of them in time.
    tx_flush_timeout: Counter,
    /// RST_STREAMs sent.
    tx_reset: Counter,
    /// Connections ended for resets, whoever sent them (`stream_reset_burst`, `stream_reset_rate`). Ringway's own.
    reset_flood: Counter,
    /// Connections ended for the number or the size of CONTINUATION frames. Ringway's own.
    continuation_flood: Counter,
    /// Connections ended for SETTINGS frames or their entries. Ringway's own.
    settings_flood: Counter,
    /// Connections ended for PING frames. Ringway's own.
    ping_flood: Counter,
    /// Connections ended for what is legal but odd. Ringway's own.
    glitch_flood: Counter,
    /// Bytes of content that wait for a window.
    pending_send_bytes: Gauge,
    /// Streams open.
    streams_active: Gauge,
}

/// What one worker holds of HTTP/2, on both sides, for `/workers`.
#[derive(Debug, Default)]
pub struct Http2Load {
    /// Connections that speak HTTP/2: of clients, and to endpoints.
    pub connections: Gauge,
    /// Streams open on them.
    pub streams: Gauge,
    /// Bytes of heap that their codecs hold: tables of HPACK, streams, field blocks under way.
    pub memory_bytes: Gauge,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Block, ClusterStats};

    #[test]
    fn nothing_is_there_before_it_is_written() {
        let cluster = ClusterStats::default();
        assert!(size_of::<Http2Part>() == 16 && cluster.http2.read().is_none());
        cluster.http2.write().rx_reset.add(2);
        cluster.http2.write().streams_active.add(1);
        let rows = ClusterStats::table().iter().filter(|row| row.name.starts_with("http2."));
        let set: Vec<_> = rows.map(|row| (row.name, (row.value)(&cluster))).filter(|row| row.1 > 0).collect();
        assert_eq!(set, [("http2.rx_reset", 2), ("http2.streams_active", 1)]);
    }
}
