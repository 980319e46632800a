//! HTTP filters.

use super::Covered;

const NOT_COMPRESSED: &str = "content is passed on as the origin gave it, which every client takes (RFC 9110 §12.5.3)";

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        done: "name typed_config config_discovery",
        only: &[],
        ignored: &[(
            "is_optional",
            "a filter that is not supported is refused, optional or not: it may be one that decides who may pass",
        )],
        refused: "disabled",
    },
    Covered {
        message: "envoy.config.core.v3.ExtensionConfigSource",
        done: "config_source default_config apply_default_config_without_warming type_urls",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
        done: "individual_method_stats_allowlist stats_for_all_methods enable_upstream_stats replace_dots_in_grpc_service_name",
        only: &[],
        ignored: &[("emit_filter_state", "nothing reads filter state")],
        refused: "",
    },
    Covered { message: "envoy.config.core.v3.GrpcMethodList", done: "services", only: &[], ignored: &[], refused: "" },
    Covered {
        message: "envoy.config.core.v3.GrpcMethodList.Service",
        done: "name method_names",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.extensions.filters.http.router.v3.Router",
        done: "suppress_envoy_headers respect_expected_rq_timeout",
        only: &[],
        ignored: &[("start_child_span", "only matters to tracing, which has no effect")],
        refused: "dynamic_stats upstream_log upstream_log_options strict_check_headers suppress_grpc_request_failure_code_stats \
                  upstream_http_filters reject_connect_request_early_data",
    },
    Covered {
        message: "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
        done: "alpn_override",
        ..Covered::NOTHING
    },
    Covered {
        message: "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.AlpnOverride",
        done: "upstream_protocol alpn_override",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.filters.http.fault.v3.HTTPFault",
        ignored: &[
            ("disable_downstream_cluster_stats", "there are no faults that could be counted"),
            ("filter_metadata", "there are no faults that could be logged"),
        ],
        refused: "delay abort upstream_cluster headers downstream_nodes max_active_faults response_rate_limit \
                  delay_percent_runtime abort_percent_runtime delay_duration_runtime abort_http_status_runtime \
                  max_active_faults_runtime response_rate_limit_percent_runtime abort_grpc_status_runtime",
        ..Covered::NOTHING
    },
    Covered { message: "envoy.extensions.filters.http.cors.v3.Cors", ..Covered::NOTHING },
    Covered {
        message: "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        refused: "allow_origin_string_match allow_methods allow_headers expose_headers max_age allow_credentials \
                  filter_enabled shadow_enabled allow_private_network_access forward_not_matching_preflights",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.filters.http.compressor.v3.Compressor",
        ignored: &[
            ("content_length", NOT_COMPRESSED),
            ("content_type", NOT_COMPRESSED),
            ("disable_on_etag_header", NOT_COMPRESSED),
            ("remove_accept_encoding_header", NOT_COMPRESSED),
            ("runtime_enabled", NOT_COMPRESSED),
            ("compressor_library", NOT_COMPRESSED),
            ("request_direction_config", NOT_COMPRESSED),
            ("response_direction_config", NOT_COMPRESSED),
            ("choose_first", NOT_COMPRESSED),
        ],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.route.v3.FilterConfig",
        done: "config disabled",
        ignored: &[("is_optional", "what is not for a filter of the chain has no effect")],
        ..Covered::NOTHING
    },
];
