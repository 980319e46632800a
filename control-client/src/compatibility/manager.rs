//! The connection manager and its replies.

use super::Covered;

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        done: "stat_prefix route_config rds http_filters common_http_protocol_options max_request_headers_kb \
               stream_idle_timeout request_headers_timeout delayed_close_timeout access_log use_remote_address \
               xff_num_trusted_hops skip_xff_append internal_address_config generate_request_id \
               preserve_external_request_id always_set_request_id_in_response server_name \
               server_header_transformation via normalize_path merge_slashes path_with_escaped_slashes_action \
               strip_matching_host_port strip_any_host_port strip_trailing_host_dot \
               stream_error_on_invalid_http_message forward_client_cert_details set_current_client_cert_details append_x_forwarded_port \
               represent_ipv4_remote_address_as_ipv4_mapped_ipv6 scheme_header_transformation add_user_agent local_reply_config request_timeout drain_timeout \
               http1_safe_max_connection_duration \
               upgrade_configs http_protocol_options http2_protocol_options proxy_100_continue original_ip_detection_extensions \
               request_id_extension",
        only: &[("codec_type", "AUTO HTTP1 HTTP2")],
        ignored: &[("tracing", "no spans are reported, and no fields of tracers added")],
        refused: "scoped_routes \
                  http3_protocol_options \
                  stream_flush_timeout drain_timeout_jitter \
                  access_log_flush_interval flush_access_log_on_new_request access_log_options early_header_mutation_extensions forward_client_cert_matcher \
                  path_normalization_options proxy_status_config \
                  typed_header_validation_config append_local_overload \
                  add_proxy_protocol_connection_state forward_proto_config",
    },
    Covered {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.Rds",
        done: "config_source route_config_name",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails",
        done: "subject cert chain dns uri",
        refused: "format issuer",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension",
        done: "typed_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
        ignored: &[
            ("pack_trace_reason", "only matters to tracing, which has no effect"),
            ("use_request_id_for_trace_sampling", "only matters to tracing, which has no effect"),
        ],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig",
        done: "xff_num_trusted_hops",
        only: &[("skip_xff_append", "true")],
        refused: "xff_trusted_cidrs",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig",
        done: "upgrade_type enabled",
        only: &[],
        ignored: &[],
        refused: "filters",
    },
    Covered {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig",
        done: "cidr_ranges unix_sockets",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig",
        done: "mappers body_format",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper",
        done: "filter status_code body body_format_override headers_to_add",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.core.v3.SchemeHeaderTransformation",
        done: "scheme_to_overwrite",
        only: &[("match_upstream", "false")],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.core.v3.CidrRange",
        done: "address_prefix prefix_len",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.core.v3.HttpProtocolOptions",
        done: "idle_timeout max_headers_count headers_with_underscores_action max_connection_duration \
               max_requests_per_connection max_stream_duration max_response_headers_kb",
        only: &[],
        ignored: &[],
        refused: "max_connection_duration_jitter",
    },
];
