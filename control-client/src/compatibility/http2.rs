//! The options of HTTP/2, of connection managers and of clusters.

use super::Covered;

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.config.core.v3.Http2ProtocolOptions",
        done: "hpack_table_size max_concurrent_streams initial_stream_window_size initial_connection_window_size \
               allow_connect max_outbound_frames max_outbound_control_frames \
               max_consecutive_inbound_frames_with_empty_payload max_inbound_priority_frames_per_stream \
               max_inbound_window_update_frames_per_data_frame_sent stream_error_on_invalid_http_messaging \
               override_stream_error_on_invalid_http_message custom_settings_parameters connection_keepalive \
               stream_reset_burst stream_reset_rate",
        only: &[("allow_metadata", "false"), ("enable_huffman_encoding", "true"), ("disallow_obs_text", "false")],
        ignored: &[
            ("use_oghttp2_codec", "chooses among Envoy's codecs; there is one here"),
            ("max_metadata_size", "only matters with allow_metadata, which is refused"),
            ("max_header_field_size_kb", "a field may be as large as the head, which is what bounds it"),
        ],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.Http2ProtocolOptions.SettingsParameter",
        done: "identifier value",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.KeepaliveSettings",
        done: "interval timeout interval_jitter connection_idle_interval",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig",
        done: "http_protocol_options http2_protocol_options",
        refused: "http3_protocol_options alternate_protocols_cache_options",
        ..Covered::NOTHING
    },
];
