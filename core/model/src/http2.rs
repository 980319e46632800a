//! How HTTP/2 is spoken on one side: `envoy.config.core.v3.Http2ProtocolOptions`. Fields bear Envoy's names.

use std::time::Duration;

/// What a connection manager, or a cluster, says of HTTP/2. The default is Envoy 1.40's, where a field does not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Http2Options {
    /// How many streams the peer may have open on one connection (SETTINGS_MAX_CONCURRENT_STREAMS), 1 to 2^31 - 1. Of a cluster: how many
    /// we open on one connection, if the endpoint allows as many. 1,024.
    pub max_concurrent_streams: u32,
    /// Bytes of one stream that the peer may send before we have taken any (SETTINGS_INITIAL_WINDOW_SIZE), 65,535 to 2^31 - 1; then it
    /// stays as large. `None`: the engine's own, which grows with use (Envoy: 16 MiB).
    pub initial_stream_window_size: Option<u32>,
    /// The same for all streams of a connection. `None`: the engine's own, which grows with use (Envoy: 24 MiB).
    pub initial_connection_window_size: Option<u32>,
    /// Bytes of the peer's dynamic table that we keep (SETTINGS_HEADER_TABLE_SIZE), 0 to [`Http2Options::HPACK_TABLE_SIZE_MAX`]. 4,096.
    pub hpack_table_size: u32,
    /// Extended CONNECT (RFC 8441) is announced to clients, and with it WebSocket over HTTP/2. `false`.
    pub allow_connect: bool,
    /// Frames of any type that may wait because the peer does not read. 10,000.
    pub max_outbound_frames: u32,
    /// Of them PING, SETTINGS and RST_STREAM. 1,000.
    pub max_outbound_control_frames: u32,
    /// HEADERS, CONTINUATION and DATA one after the other with nothing inside and without END_STREAM. 1.
    pub max_consecutive_inbound_frames_with_empty_payload: u32,
    /// PRIORITY frames, for each stream that was opened and one more. 100.
    pub max_inbound_priority_frames_per_stream: u32,
    /// WINDOW_UPDATE frames: 5 and twice the sum of the streams opened and of this many for each DATA frame that we sent. 10.
    pub max_inbound_window_update_frames_per_data_frame_sent: u32,
    /// Resets that a connection may have at once. Envoy counts the RST_STREAMs of clients; here those that a peer made us send count, too,
    /// on both sides. 1,000.
    pub stream_reset_burst: u32,
    /// Resets a second that come to the burst again. 33.
    pub stream_reset_rate: u32,
    /// PINGs that show whether the peer is there. None.
    pub connection_keepalive: Option<Keepalive>,
    /// What a malformed message ends. The stream (Envoy: the connection).
    pub malformed_ends: MalformedEnds,
}

impl Http2Options {
    /// The most that `hpack_table_size` may say: each connection holds as much if its peer wants so.
    pub const HPACK_TABLE_SIZE_MAX: u32 = 64 * 1024;
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 1024,
            initial_stream_window_size: None,
            initial_connection_window_size: None,
            hpack_table_size: 4096,
            allow_connect: false,
            max_outbound_frames: 10_000,
            max_outbound_control_frames: 1000,
            max_consecutive_inbound_frames_with_empty_payload: 1,
            max_inbound_priority_frames_per_stream: 100,
            max_inbound_window_update_frames_per_data_frame_sent: 10,
            stream_reset_burst: 1000,
            stream_reset_rate: 33,
            connection_keepalive: None,
            malformed_ends: MalformedEnds::Stream,
        }
    }
}

/// `KeepaliveSettings`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keepalive {
    /// `interval`: from one PING to the next. `None`: none by time.
    pub interval: Option<Duration>,
    /// `interval_jitter`: up to so many percent of the interval, by chance, come to it. 0 to 100; 15.
    pub interval_jitter_percent: f64,
    /// `timeout`: the connection ends when nothing at all came for so long after a PING.
    pub timeout: Duration,
    /// `connection_idle_interval`: before a new stream, when nothing came for so long. Of clusters alone.
    pub connection_idle_interval: Option<Duration>,
}

/// `override_stream_error_on_invalid_http_message` and the fields that it took the place of: how far a malformed message
/// (RFC 9113 §8.1.1) reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MalformedEnds {
    /// A stream error, as RFC 9113 §8.1.1 asks.
    #[default]
    Stream,
    /// A connection error: the file says `false`, with which Envoy ends connections.
    Connection,
}
