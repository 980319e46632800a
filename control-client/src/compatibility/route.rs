//! Route tables: virtual hosts, routes and what they do.

use super::{Covered, NO_READER};

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.config.route.v3.RouteConfiguration",
        done: "name virtual_hosts validate_clusters max_direct_response_body_size_bytes ignore_port_in_host_matching \
               request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove \
               most_specific_header_mutations_wins internal_only_headers typed_per_filter_config",
        only: &[],
        ignored: &[("metadata", NO_READER)],
        refused: "vhds cluster_specifier_plugins request_mirror_policies vhost_header \
                  ignore_path_parameters_in_path_matching route_specifiers",
    },
    Covered {
        message: "envoy.config.core.v3.HeaderValueOption",
        done: "header append append_action keep_empty_value",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.core.v3.HeaderValue",
        done: "key value raw_value",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.route.v3.VirtualHost",
        done: "name domains routes request_headers_to_add request_headers_to_remove response_headers_to_add \
               response_headers_to_remove require_tls retry_policy include_request_attempt_count \
               include_attempt_count_in_response include_is_timeout_retry_header per_request_buffer_limit_bytes \
               request_body_buffer_limit typed_per_filter_config",
        only: &[],
        ignored: &[("metadata", NO_READER)],
        refused: "matcher virtual_clusters rate_limits cors retry_policy_typed_config hedge_policy \
                  request_mirror_policies route_specifiers",
    },
    Covered {
        message: "envoy.config.route.v3.Route",
        done: "name match route redirect direct_response request_headers_to_add request_headers_to_remove \
               response_headers_to_add response_headers_to_remove per_request_buffer_limit_bytes \
               request_body_buffer_limit typed_per_filter_config",
        only: &[],
        ignored: &[("metadata", NO_READER), ("decorator", "only names spans, and none are reported")],
        refused: "filter_action non_forwarding_action tracing stat_prefix route_specifiers",
    },
    Covered {
        message: "envoy.config.route.v3.RouteMatch",
        done: "prefix path path_separated_prefix safe_regex case_sensitive headers query_parameters grpc runtime_fraction \
               connect_matcher",
        only: &[],
        ignored: &[],
        refused: "path_match_policy cookies tls_context dynamic_metadata filter_state",
    },
    Covered {
        message: "envoy.config.route.v3.RouteMatch.ConnectMatcher",
        done: "",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions",
        done: "",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.route.v3.RouteAction",
        done: "cluster cluster_header weighted_clusters cluster_not_found_response_code timeout idle_timeout \
               max_stream_duration prefix_rewrite regex_rewrite host_rewrite_literal host_rewrite_header \
               host_rewrite_path_regex auto_host_rewrite append_x_forwarded_host upgrade_configs retry_policy \
               priority max_grpc_timeout grpc_timeout_offset hash_policy",
        only: &[],
        ignored: &[],
        refused: "cluster_specifier_plugin inline_cluster_specifier_plugin metadata_match path_rewrite_policy \
                  path_rewrite host_rewrite flush_timeout early_data_policy retry_policy_typed_config \
                  request_mirror_policies rate_limits include_vh_rate_limits cors \
                  internal_redirect_policy internal_redirect_action \
                  max_internal_redirects hedge_policy",
    },
    Covered {
        message: "envoy.config.route.v3.RouteAction.HashPolicy",
        done: "header cookie connection_properties query_parameter terminal",
        refused: "filter_state",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.route.v3.RouteAction.HashPolicy.Header",
        done: "header_name regex_rewrite",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.route.v3.RouteAction.HashPolicy.Cookie",
        done: "name ttl path attributes",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute",
        done: "name value",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties",
        done: "source_ip",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter",
        done: "name",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.route.v3.RouteAction.UpgradeConfig",
        done: "upgrade_type enabled connect_config",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.route.v3.RetryPolicy",
        done: "retry_on num_retries per_try_timeout per_try_idle_timeout retry_host_predicate \
               host_selection_retry_max_attempts retriable_status_codes retry_back_off rate_limited_retry_back_off \
               retriable_headers retriable_request_headers",
        only: &[],
        ignored: &[],
        refused: "retry_priority retry_options_predicates refresh_cluster_on_retry",
    },
    Covered {
        message: "envoy.config.route.v3.RetryPolicy.RetryHostPredicate",
        done: "name typed_config",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig",
        done: "",
        only: &[("allow_post", "false")],
        ignored: &[],
        refused: "proxy_protocol_config",
    },
    Covered {
        message: "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
        done: "",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate",
        done: "",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.route.v3.RetryPolicy.RetryBackOff",
        done: "base_interval max_interval",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff",
        done: "reset_headers max_interval",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.route.v3.RetryPolicy.ResetHeader",
        done: "name format",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.route.v3.RouteAction.MaxStreamDuration",
        done: "max_stream_duration grpc_timeout_header_max grpc_timeout_header_offset",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.route.v3.RedirectAction",
        done: "https_redirect scheme_redirect host_redirect port_redirect path_redirect prefix_rewrite regex_rewrite \
               response_code strip_query",
        only: &[],
        ignored: &[],
        refused: "path_rewrite",
    },
    Covered {
        message: "envoy.config.route.v3.WeightedCluster",
        done: "clusters runtime_key_prefix",
        only: &[("use_hash_policy", "false")],
        ignored: &[("total_weight", "Envoy does not read it either: the total is the sum of the weights")],
        refused: "header_name",
    },
    Covered {
        message: "envoy.config.route.v3.WeightedCluster.ClusterWeight",
        done: "name weight request_headers_to_add request_headers_to_remove response_headers_to_add \
               response_headers_to_remove host_rewrite_literal typed_per_filter_config",
        only: &[],
        ignored: &[],
        refused: "cluster_header metadata_match",
    },
    Covered {
        message: "envoy.config.route.v3.DirectResponseAction",
        done: "status body",
        only: &[],
        ignored: &[],
        refused: "body_format",
    },
    Covered {
        message: "envoy.config.core.v3.DataSource",
        done: "filename inline_bytes inline_string environment_variable",
        only: &[],
        ignored: &[],
        refused: "watched_directory",
    },
];
