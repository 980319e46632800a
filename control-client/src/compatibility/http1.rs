//! The options of HTTP/1, of connection managers and of clusters.

use super::Covered;

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.config.core.v3.Http1ProtocolOptions",
        done: "accept_http_10 default_host_for_http_10 header_key_format enable_trailers",
        only: &[
            ("allow_absolute_url", "true"),
            ("allow_chunked_length", "false"),
            ("override_stream_error_on_invalid_http_message", "false"),
            ("send_fully_qualified_url", "false"),
            ("allow_custom_methods", "true"),
        ],
        ignored: &[("use_balsa_parser", "chooses among Envoy's parsers; there is one here")],
        refused: "ignore_http_11_upgrade",
    },
    Covered {
        message: "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat",
        done: "proper_case_words stateful_formatter",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig",
        done: "formatter_type_on_envoy_headers",
        ignored: &[("forward_reason_phrase", "reason phrases are passed on, whatever it says")],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords",
        done: "",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        done: "explicit_http_config use_downstream_protocol_config auto_config common_http_protocol_options \
               upstream_http_protocol_options",
        only: &[],
        ignored: &[],
        refused: "http_filters header_validation_config outlier_detection request_mirror_policies hash_policy retry_policy",
    },
    Covered {
        message: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig",
        done: "http_protocol_options http2_protocol_options",
        refused: "http3_protocol_options",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig",
        done: "http_protocol_options http2_protocol_options",
        only: &[],
        ignored: &[],
        refused: "http3_protocol_options",
    },
];
