//! What we announce to a peer, and the bounds on what it may make us do, each with its reason and the memory it may cost.

use super::budget::Rate;
use super::window::WINDOW_MAX;
use crate::hpack::ListLimits;

/// Bounds on one connection. `Default` is what Envoy 1.40 has where Envoy has it, else nghttp2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams at once; as a server we announce it and refuse further ones (REFUSED_STREAM), as a client we open no more. 1,024 as Envoy. Worst
    /// case: 36 bytes each here, besides what the caller keeps of each.
    pub max_concurrent_streams: u32,
    /// Our `SETTINGS_INITIAL_WINDOW_SIZE`: bytes that a peer may send on a stream before anybody has taken any. 16 KiB, a whole frame: a hundred readers
    /// that stop hold 1.6 MiB, and one that does not has a larger window within its first round trip.
    pub stream_window: u32,
    /// What a stream's window may grow to while its bytes are taken as fast as they come. 16 MiB, Envoy's `initial_stream_window_size`. Worst case:
    /// as much for each stream whose reader stops then, within the connection's.
    pub stream_window_max: u32,
    /// Bytes that a peer may send on all streams before anybody has taken any. 1 MiB; it doubles
    /// while readers hold half of it, so that those who stop do not starve the others.
    pub connection_window: u32,
    /// What that may grow to. 24 MiB, Envoy's `initial_connection_window_size`. Worst case: as much for each connection.
    pub connection_window_max: u32,
    /// Our `SETTINGS_HEADER_TABLE_SIZE`: what the peer's encoder may keep in our decoder's table. Worst case: so many bytes and half as many of
    /// places.
    pub decoder_table_bytes: u32,
    /// What our encoder uses of the peer's table at most. Worst case: as above.
    pub encoder_table_bytes: u32,
    /// Bounds on a field section; its size is our `SETTINGS_MAX_HEADER_LIST_SIZE`. The memory is one list a core.
    pub fields: ListLimits,
    /// Bytes of a field block that comes in several frames. Worst case: as much while such a block is under way.
    pub block_bytes_max: u32,
    /// CONTINUATION frames in a field block. 8 as nghttp2: an honest sender fills its frames (CVE-2024-27316 and its family). No memory.
    pub continuations_max: u32,
    /// Whether extended CONNECT is announced (RFC 8441).
    pub extended_connect: bool,
    /// Whether a malformed message that [`super::Connection::reject`] is told of ends the connection, not only its stream (RFC 9113 §8.1.1 allows
    /// both; Envoy's `stream_error_on_invalid_http_message: false`).
    pub malformed_ends_connection: bool,
    /// Frames of ours that the peer has not taken (`max_outbound_frames`). A caller that heeds backpressure never comes near. The memory is the
    /// caller's: what it has not sent.
    pub max_outbound_frames: u32,
    /// Such frames that the peer made us send: acknowledgements and RST_STREAM (`max_outbound_control_frames`; CVE-2019-9512, 9514, 9515). Worst
    /// case: 17 bytes each.
    pub max_outbound_control_frames: u32,
    /// HEADERS, CONTINUATION and DATA without content, one after another and not ending a stream
    /// (`max_consecutive_inbound_frames_with_empty_payload`; CVE-2019-9518). No memory.
    pub max_consecutive_inbound_frames_with_empty_payload: u32,
    /// PRIORITY frames for each stream opened, and once more (`max_inbound_priority_frames_per_stream`; CVE-2019-9513). No memory.
    pub max_inbound_priority_frames_per_stream: u32,
    /// WINDOW_UPDATE frames for each DATA frame sent; Envoy allows 5 + 2 * (streams + this * DATA frames). No memory.
    pub max_inbound_window_update_frames_per_data_frame_sent: u32,
    /// Entries of one SETTINGS frame. 32 as nghttp2 (CVE-2020-11080). No memory.
    pub settings_entries_max: u32,
    /// SETTINGS frames behind the first one (CVE-2019-9515). An adaptive peer sends a few a second. No memory.
    pub settings: Rate,
    /// PING frames that no HEADERS or DATA of ours came before: who measures its path pings once for what it got (CVE-2019-9512). No memory.
    pub pings: Rate,
    /// Streams that the peer reset, those that it made us reset or refuse, and heads too large: one budget, whoever said RST_STREAM (CVE-2023-44487,
    /// CVE-2025-8671). 1,000 and 33 a second as nghttp2. No memory.
    pub resets: Rate,
    /// Legal but odd frames: unknown ones, late ones, skipped stream identifiers, tiny windows. 10,000 and 330 a second as nghttp2. No memory.
    pub glitches: Rate,
}

impl Limits {
    /// With the bounds on heads that the configuration gives: bytes (names, values, and 32 for each field) and fields.
    ///
    /// A block has room for twice that, because a coded string may be longer than what it says, and for as many frames as it takes.
    #[must_use]
    pub fn with_heads(self, bytes_max: usize, fields_max: usize) -> Self {
        let block_bytes_max = (2 * bytes_max).max(1 << 14) as u32;
        Self {
            fields: ListLimits { size_max: bytes_max, fields_max },
            block_bytes_max,
            continuations_max: self.continuations_max.max(block_bytes_max.div_ceil(1 << 14)),
            ..self
        }
    }

    /// Whether its parts fit together.
    pub(super) fn is_sound(&self) -> bool {
        self.stream_window <= self.stream_window_max
            && self.stream_window_max <= WINDOW_MAX
            && self.connection_window >= 65_535
            && self.connection_window <= self.connection_window_max
            && self.connection_window_max <= WINDOW_MAX
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 1_024,
            stream_window: 16_384,
            stream_window_max: 16 << 20,
            connection_window: 1 << 20,
            connection_window_max: 24 << 20,
            decoder_table_bytes: 4_096,
            encoder_table_bytes: 4_096,
            fields: ListLimits { size_max: 60 << 10, fields_max: 100 },
            block_bytes_max: 120 << 10,
            continuations_max: 8,
            extended_connect: false,
            malformed_ends_connection: false,
            max_outbound_frames: 10_000,
            max_outbound_control_frames: 1_000,
            max_consecutive_inbound_frames_with_empty_payload: 1,
            max_inbound_priority_frames_per_stream: 100,
            max_inbound_window_update_frames_per_data_frame_sent: 10,
            settings_entries_max: 32,
            settings: Rate { burst: 100, per_second: 10 },
            pings: Rate { burst: 1_000, per_second: 33 },
            resets: Rate { burst: 1_000, per_second: 33 },
            glitches: Rate { burst: 10_000, per_second: 330 },
        }
    }
}
