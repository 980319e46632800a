//! Which fields of Envoy's API are acted upon: the one list that the translation, the tests and
//! docs/ENVOY_COMPATIBILITY.md share.
//!
//! Invariant: every field of every message that the translation descends into stands here exactly once, so that nothing
//! is ignored without a reason (a test compares the list with the schema).

mod http1;

use crate::message::{Message, Set, Value};
use crate::problem::Report;
use crate::schema::Kind;

/// One message that the translation descends into.
pub(crate) struct Covered {
    /// Full name.
    pub(crate) message: &'static str,
    /// Fields that are acted upon, separated by blanks.
    pub(crate) done: &'static str,
    /// Fields of which only some values are accepted: those that ask for what is done anyway.
    pub(crate) only: &'static [(&'static str, &'static str)],
    /// Fields that may be set without effect, each with the reason.
    pub(crate) ignored: &'static [(&'static str, &'static str)],
    /// Fields that are refused wherever they are set, separated by blanks.
    pub(crate) refused: &'static str,
}

/// What is done with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Done,
    /// Accepted with one of these values, refused with any other.
    Only(&'static str),
    /// Accepted and without effect, for this reason.
    Ignored(&'static str),
    Refused,
}

impl Covered {
    /// Nothing of a message, for an entry to begin from.
    const NOTHING: Covered = Covered { message: "", done: "", only: &[], ignored: &[], refused: "" };

    fn of(message: &str) -> &'static Covered {
        table().find(|covered| covered.message == message).unwrap_or_else(|| panic!("{message} is not listed"))
    }

    /// `None`: the list does not name the field.
    pub(crate) fn status(&self, field: &str) -> Option<Status> {
        let among = |names: &str| names.split_whitespace().any(|name| name == field);
        if among(self.done) {
            return Some(Status::Done);
        }
        if let Some((_, values)) = self.only.iter().find(|(name, _)| *name == field) {
            return Some(Status::Only(values));
        }
        if let Some((_, reason)) = self.ignored.iter().find(|(name, _)| *name == field) {
            return Some(Status::Ignored(reason));
        }
        among(self.refused).then_some(Status::Refused)
    }
}

/// Refuses, one by one, what `message` sets and Ringway does not do. The translation calls this for each message that it
/// descends into.
pub(crate) fn refuse_unsupported(message: &Message, report: &mut Report) {
    if message.fields.is_empty() {
        return;
    }
    let covered = Covered::of(message.kind.name());
    for set in &message.fields {
        let rule = match covered.status(set.field.name()) {
            Some(Status::Done | Status::Ignored(_)) => continue,
            Some(Status::Only(values)) if values.split_whitespace().any(|value| value == written(set)) => continue,
            Some(Status::Only(values)) => {
                format!("{} is not supported yet, only {}", written(set), values.replace(' ', " and "))
            }
            Some(Status::Refused) => "not supported yet".to_owned(),
            None => panic!("{}.{} is not listed", covered.message, set.field.name()),
        };
        report.problem_in(set.field.name(), set.place, rule);
    }
}

/// A scalar as the list writes it.
fn written(set: &Set) -> String {
    match &set.value {
        Value::Bool(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Enum(number) if set.field.kind == Kind::Enum => {
            set.field.enumeration().name_of(*number).map_or_else(|| number.to_string(), str::to_owned)
        }
        _ => "this".to_owned(),
    }
}

const NO_CONTROL_PLANE: &str = "only told to a control plane; kept in /config_dump";
const NO_FILTER: &str =
    "as in Envoy, what is for a filter outside the chain has no effect; any filter but the router is refused";
const NO_RUNTIME: &str = "there is no runtime that could override the value: layered_runtime is refused";
const NO_ZONES: &str =
    "only matters where cluster_manager.local_cluster_name says who is near, which is refused; in Envoy, too";
const NO_READER: &str = "only read by filters, matchers and logs that are refused";

/// The list of all files.
pub(crate) fn table() -> impl Iterator<Item = &'static Covered> {
    TABLE.iter().chain(http1::TABLE)
}

/// The list but for what has a file of its own. Messages in the order in which a file nests them.
static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.config.bootstrap.v3.Bootstrap",
        done: "node static_resources admin stats_config use_tcp_for_dns_lookups dns_resolution_config typed_dns_resolver_config",
        only: &[],
        ignored: &[
            ("node_context_params", NO_CONTROL_PLANE),
            ("stats_flush_interval", "there is no sink to flush to: stats_sinks is refused"),
        ],
        refused: "dynamic_resources cluster_manager hds_config flags_path stats_sinks deferred_stat_options \
                  stats_flush_on_admin stats_eviction_interval watchdog watchdogs tracing layered_runtime overload_manager \
                  enable_dispatcher_stats header_prefix stats_server_version_override bootstrap_extensions fatal_actions \
                  config_sources default_config_source default_socket_interface certificate_provider_instances \
                  inline_headers perf_tracing_file_path default_regex_engine xds_delegate_extension \
                  xds_config_tracker_extension listener_manager application_log_config grpc_async_client_manager_config \
                  memory_allocator_manager enable_worker_cpu_affinity",
    },
    Covered {
        message: "envoy.config.core.v3.Node",
        done: "id cluster locality",
        only: &[],
        ignored: &[
            ("metadata", NO_CONTROL_PLANE),
            ("dynamic_parameters", NO_CONTROL_PLANE),
            ("user_agent_name", NO_CONTROL_PLANE),
            ("user_agent_version", NO_CONTROL_PLANE),
            ("user_agent_build_version", NO_CONTROL_PLANE),
            ("extensions", NO_CONTROL_PLANE),
            ("client_features", NO_CONTROL_PLANE),
            ("listening_addresses", NO_CONTROL_PLANE),
        ],
        refused: "",
    },
    Covered {
        message: "envoy.config.core.v3.Locality",
        done: "region zone sub_zone",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.bootstrap.v3.Admin",
        done: "address",
        only: &[],
        ignored: &[
            ("access_log", "requests to the admin server are not logged"),
            ("access_log_path", "requests to the admin server are not logged"),
            ("profile_path", "there is no profiler that could write there"),
            ("ignore_global_conn_limit", "there is no global limit: overload_manager is refused"),
        ],
        refused: "socket_options allow_paths",
    },
    Covered {
        message: "envoy.config.metrics.v3.StatsConfig",
        done: "stats_matcher histogram_bucket_settings",
        only: &[("use_all_default_tags", "true"), ("allow_default_tag_overrides", "false")],
        ignored: &[],
        refused: "stats_tags",
    },
    Covered {
        message: "envoy.config.metrics.v3.StatsMatcher",
        done: "reject_all exclusion_list inclusion_list",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.type.matcher.v3.ListStringMatcher",
        done: "patterns",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.metrics.v3.HistogramBucketSettings",
        done: "match buckets",
        only: &[],
        ignored: &[],
        refused: "bins",
    },
    Covered {
        message: "envoy.config.bootstrap.v3.Bootstrap.StaticResources",
        done: "listeners clusters",
        only: &[],
        ignored: &[],
        refused: "secrets",
    },
    Covered {
        message: "envoy.config.listener.v3.Listener",
        done: "socket_options freebind transparent tcp_fast_open_queue_length tcp_keepalive \
               name per_connection_buffer_limit_bytes address filter_chains tcp_backlog_size connection_balance_config",
        only: &[("enable_reuse_port", "true"), ("bind_to_port", "true"), ("use_original_dst", "false")],
        ignored: &[
            ("metadata", NO_READER),
            ("traffic_direction", "only told to tracers and control planes"),
            ("listener_filters_timeout", "nothing waits: listener_filters is refused"),
            ("continue_on_listener_filters_timeout", "nothing waits: listener_filters is refused"),
            ("ignore_global_conn_limit", "there is no global limit: overload_manager is refused"),
            ("bypass_overload_manager", "there is no overload manager: overload_manager is refused"),
        ],
        refused: "additional_addresses stat_prefix stats_matcher fcds_config filter_chain_matcher default_filter_chain \
                  per_connection_buffer_high_watermark_timeout deprecated_v1 drain_type \
                  listener_filters udp_listener_config api_listener \
                  reuse_port access_log max_connections_to_accept_per_socket_event \
                  internal_listener enable_mptcp",
    },
    Covered {
        message: "envoy.config.listener.v3.Listener.ConnectionBalanceConfig",
        done: "exact_balance",
        only: &[],
        ignored: &[],
        refused: "extend_balance cpu_locality_balance",
    },
    Covered {
        message: "envoy.config.listener.v3.Listener.ConnectionBalanceConfig.ExactBalance",
        done: "",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.core.v3.Address",
        done: "socket_address pipe",
        only: &[],
        ignored: &[],
        refused: "envoy_internal_address",
    },
    Covered { message: "envoy.config.core.v3.Pipe", done: "path mode", only: &[], ignored: &[], refused: "" },
    Covered {
        message: "envoy.config.core.v3.SocketAddress",
        done: "address port_value protocol ipv4_compat",
        only: &[],
        ignored: &[],
        refused: "named_port resolver_name network_namespace_filepath",
    },
    Covered {
        message: "envoy.config.listener.v3.FilterChain",
        done: "filter_chain_match filters name",
        only: &[("use_proxy_proto", "false")],
        ignored: &[("metadata", NO_READER)],
        refused: "transport_socket transport_socket_connect_timeout",
    },
    Covered {
        message: "envoy.config.listener.v3.FilterChainMatch",
        done: "",
        only: &[],
        ignored: &[],
        refused: "destination_port prefix_ranges address_suffix suffix_len direct_source_prefix_ranges source_type \
                  source_prefix_ranges source_ports server_names transport_protocol application_protocols",
    },
    Covered {
        message: "envoy.config.listener.v3.Filter",
        done: "name typed_config",
        only: &[],
        ignored: &[],
        refused: "config_discovery",
    },
    Covered {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        done: "stat_prefix route_config http_filters common_http_protocol_options max_request_headers_kb \
               stream_idle_timeout request_headers_timeout delayed_close_timeout access_log use_remote_address \
               xff_num_trusted_hops skip_xff_append internal_address_config generate_request_id \
               preserve_external_request_id always_set_request_id_in_response server_name \
               server_header_transformation via normalize_path merge_slashes path_with_escaped_slashes_action \
               strip_matching_host_port strip_any_host_port strip_trailing_host_dot \
               stream_error_on_invalid_http_message forward_client_cert_details append_x_forwarded_port \
               represent_ipv4_remote_address_as_ipv4_mapped_ipv6 scheme_header_transformation add_user_agent local_reply_config request_timeout drain_timeout \
               http1_safe_max_connection_duration \
               upgrade_configs http_protocol_options proxy_100_continue",
        only: &[("codec_type", "AUTO HTTP1")],
        ignored: &[("set_current_client_cert_details", "no client shows a certificate: transport_socket is refused")],
        refused: "rds scoped_routes tracing \
                  http2_protocol_options http3_protocol_options \
                  stream_flush_timeout drain_timeout_jitter \
                  access_log_flush_interval flush_access_log_on_new_request access_log_options original_ip_detection_extensions early_header_mutation_extensions forward_client_cert_matcher \
                  request_id_extension \
                  path_normalization_options proxy_status_config \
                  typed_header_validation_config append_local_overload \
                  add_proxy_protocol_connection_state forward_proto_config",
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
        message: "envoy.config.accesslog.v3.AccessLog",
        done: "name filter typed_config",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.accesslog.v3.AccessLogFilter",
        done: "status_code_filter duration_filter not_health_check_filter runtime_filter and_filter or_filter \
               header_filter response_flag_filter grpc_status_filter log_type_filter",
        only: &[],
        ignored: &[],
        refused: "traceable_filter extension_filter metadata_filter",
    },
    Covered {
        message: "envoy.config.accesslog.v3.StatusCodeFilter",
        done: "comparison",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.accesslog.v3.DurationFilter",
        done: "comparison",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.accesslog.v3.ComparisonFilter",
        done: "op value",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.core.v3.RuntimeUInt32",
        done: "default_value",
        only: &[],
        ignored: &[("runtime_key", NO_RUNTIME)],
        refused: "",
    },
    Covered {
        message: "envoy.config.accesslog.v3.NotHealthCheckFilter",
        done: "",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.accesslog.v3.RuntimeFilter",
        done: "percent_sampled use_independent_randomness",
        only: &[],
        ignored: &[("runtime_key", NO_RUNTIME)],
        refused: "",
    },
    Covered { message: "envoy.config.accesslog.v3.AndFilter", done: "filters", only: &[], ignored: &[], refused: "" },
    Covered { message: "envoy.config.accesslog.v3.OrFilter", done: "filters", only: &[], ignored: &[], refused: "" },
    Covered { message: "envoy.config.accesslog.v3.HeaderFilter", done: "header", only: &[], ignored: &[], refused: "" },
    Covered {
        message: "envoy.config.accesslog.v3.ResponseFlagFilter",
        done: "flags",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.accesslog.v3.GrpcStatusFilter",
        done: "statuses exclude",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.accesslog.v3.LogTypeFilter",
        done: "types exclude",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        done: "path format json_format typed_json_format log_format",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        done: "log_format",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
        done: "log_format",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.core.v3.SubstitutionFormatString",
        done: "text_format json_format text_format_source omit_empty_values content_type",
        only: &[],
        ignored: &[("json_format_options", "members are sorted in any case, as in Envoy")],
        refused: "formatters",
    },
    Covered {
        message: "envoy.config.core.v3.HttpProtocolOptions",
        done: "idle_timeout max_headers_count headers_with_underscores_action max_connection_duration \
               max_requests_per_connection max_stream_duration",
        only: &[],
        ignored: &[],
        refused: "max_connection_duration_jitter max_response_headers_kb",
    },
    Covered {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        done: "name typed_config",
        only: &[],
        ignored: &[("is_optional", "the router is supported; any other filter is refused, optional or not")],
        refused: "config_discovery disabled",
    },
    Covered {
        message: "envoy.extensions.filters.http.router.v3.Router",
        done: "suppress_envoy_headers respect_expected_rq_timeout",
        only: &[],
        ignored: &[("start_child_span", "only matters to tracing, which is refused")],
        refused: "dynamic_stats upstream_log upstream_log_options strict_check_headers suppress_grpc_request_failure_code_stats \
                  upstream_http_filters reject_connect_request_early_data",
    },
    Covered {
        message: "envoy.config.route.v3.RouteConfiguration",
        done: "name virtual_hosts validate_clusters max_direct_response_body_size_bytes ignore_port_in_host_matching \
               request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove \
               most_specific_header_mutations_wins internal_only_headers",
        only: &[],
        ignored: &[("metadata", NO_READER), ("typed_per_filter_config", NO_FILTER)],
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
        done: "key value",
        only: &[],
        ignored: &[],
        refused: "raw_value",
    },
    Covered {
        message: "envoy.config.route.v3.VirtualHost",
        done: "name domains routes request_headers_to_add request_headers_to_remove response_headers_to_add \
               response_headers_to_remove require_tls retry_policy include_request_attempt_count \
               include_attempt_count_in_response include_is_timeout_retry_header per_request_buffer_limit_bytes \
               request_body_buffer_limit",
        only: &[],
        ignored: &[("metadata", NO_READER), ("typed_per_filter_config", NO_FILTER)],
        refused: "matcher virtual_clusters rate_limits cors retry_policy_typed_config hedge_policy \
                  request_mirror_policies route_specifiers",
    },
    Covered {
        message: "envoy.config.route.v3.Route",
        done: "name match route redirect direct_response request_headers_to_add request_headers_to_remove \
               response_headers_to_add response_headers_to_remove per_request_buffer_limit_bytes \
               request_body_buffer_limit",
        only: &[],
        ignored: &[
            ("metadata", NO_READER),
            ("decorator", "only names spans; tracing is refused"),
            ("typed_per_filter_config", NO_FILTER),
        ],
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
        message: "envoy.type.matcher.v3.RegexMatcher",
        done: "regex google_re2",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.type.matcher.v3.RegexMatcher.GoogleRE2",
        done: "",
        only: &[],
        ignored: &[(
            "max_program_size",
            "a compiled expression has a limit of its own (docs/LIMITS.md); Envoy's counts RE2's instructions",
        )],
        refused: "",
    },
    Covered {
        message: "envoy.type.matcher.v3.StringMatcher",
        done: "exact prefix suffix safe_regex contains ignore_case",
        only: &[],
        ignored: &[],
        refused: "custom",
    },
    Covered {
        message: "envoy.config.route.v3.HeaderMatcher",
        done: "name exact_match safe_regex_match range_match present_match prefix_match suffix_match contains_match \
               string_match invert_match treat_missing_header_as_empty",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered { message: "envoy.type.v3.Int64Range", done: "start end", only: &[], ignored: &[], refused: "" },
    Covered {
        message: "envoy.config.route.v3.QueryParameterMatcher",
        done: "name string_match present_match",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.core.v3.RuntimeFractionalPercent",
        done: "default_value",
        only: &[],
        ignored: &[("runtime_key", NO_RUNTIME)],
        refused: "",
    },
    Covered { message: "envoy.type.v3.Percent", done: "value", only: &[], ignored: &[], refused: "" },
    Covered {
        message: "envoy.type.v3.FractionalPercent",
        done: "numerator denominator",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.route.v3.RouteAction",
        done: "cluster cluster_header weighted_clusters cluster_not_found_response_code timeout idle_timeout \
               max_stream_duration prefix_rewrite regex_rewrite host_rewrite_literal host_rewrite_header \
               host_rewrite_path_regex auto_host_rewrite append_x_forwarded_host upgrade_configs retry_policy \
               priority",
        only: &[],
        ignored: &[],
        refused: "cluster_specifier_plugin inline_cluster_specifier_plugin metadata_match path_rewrite_policy \
                  path_rewrite host_rewrite flush_timeout early_data_policy retry_policy_typed_config \
                  request_mirror_policies rate_limits include_vh_rate_limits hash_policy cors max_grpc_timeout \
                  grpc_timeout_offset internal_redirect_policy internal_redirect_action \
                  max_internal_redirects hedge_policy",
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
        done: "max_stream_duration",
        only: &[],
        ignored: &[],
        refused: "grpc_timeout_header_max grpc_timeout_header_offset",
    },
    Covered {
        message: "envoy.type.matcher.v3.RegexMatchAndSubstitute",
        done: "pattern substitution",
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
        done: "clusters",
        only: &[("use_hash_policy", "false")],
        ignored: &[
            ("total_weight", "Envoy does not read it either: the total is the sum of the weights"),
            ("runtime_key_prefix", NO_RUNTIME),
        ],
        refused: "header_name",
    },
    Covered {
        message: "envoy.config.route.v3.WeightedCluster.ClusterWeight",
        done: "name weight request_headers_to_add request_headers_to_remove response_headers_to_add \
               response_headers_to_remove host_rewrite_literal",
        only: &[],
        ignored: &[("typed_per_filter_config", NO_FILTER)],
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
        done: "filename inline_bytes inline_string",
        only: &[],
        ignored: &[],
        refused: "environment_variable watched_directory",
    },
    Covered {
        message: "envoy.config.cluster.v3.Cluster",
        done: "upstream_bind_config upstream_connection_options name per_connection_buffer_limit_bytes alt_stat_name connect_timeout load_assignment circuit_breakers common_lb_config \
               round_robin_lb_config least_request_lb_config load_balancing_policy cluster_type dns_refresh_rate dns_jitter \
               dns_failure_refresh_rate respect_dns_ttl dns_lookup_family dns_resolvers use_tcp_for_dns_lookups \
               dns_resolution_config typed_dns_resolver_config wait_for_warm_on_init \
               typed_extension_protocol_options",
        only: &[
            ("type", "STATIC STRICT_DNS LOGICAL_DNS"),
            ("lb_policy", "ROUND_ROBIN LEAST_REQUEST RANDOM LOAD_BALANCING_POLICY_CONFIG"),
        ],
        ignored: &[
            ("metadata", NO_READER),
            ("cleanup_interval", "only matters to ORIGINAL_DST clusters, which are refused"),
            ("ignore_health_on_host_removal", "only matters with health checks, which are refused"),
            ("close_connections_on_host_health_failure", "only matters with health checks, which are refused"),
        ],
        refused: "transport_socket_matches transport_socket_matcher stats_matcher eds_cluster_config \
                  per_connection_buffer_high_watermark_timeout health_checks \
                  max_requests_per_connection upstream_http_protocol_options common_http_protocol_options \
                  http_protocol_options http2_protocol_options outlier_detection \
                  lb_subset_config ring_hash_lb_config maglev_lb_config original_dst_lb_config \
                  transport_socket protocol_selection \
                  filters lrs_server lrs_report_endpoint_metrics \
                  track_timeout_budgets upstream_config track_cluster_stats preconnect_policy \
                  connection_pool_per_downstream_connection queuing_policies",
    },
    Covered {
        message: "envoy.config.cluster.v3.Cluster.CustomClusterType",
        done: "name typed_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.clusters.dns.v3.DnsCluster",
        done: "dns_refresh_rate dns_failure_refresh_rate respect_dns_ttl dns_jitter typed_dns_resolver_config \
               dns_lookup_family all_addresses_in_single_endpoint dns_min_refresh_rate",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate",
        done: "base_interval max_interval",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.cluster.v3.Cluster.RefreshRate",
        done: "base_interval max_interval",
        ..Covered::NOTHING
    },
    Covered { message: "envoy.config.core.v3.TypedExtensionConfig", done: "name typed_config", ..Covered::NOTHING },
    Covered {
        message: "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        done: "resolvers use_resolvers_as_fallback dns_resolver_options query_timeout_seconds query_tries \
               rotate_nameservers edns0_max_payload_size",
        only: &[("filter_unroutable_families", "false")],
        ignored: &[
            ("udp_max_queries", "each question has a socket of its own"),
            ("max_udp_channel_duration", "each question has a socket of its own"),
            (
                "reinit_channel_on_timeout",
                "each question has a socket of its own, and a changed /etc/resolv.conf is read at once",
            ),
            ("qcache_max_ttl", "nothing is cached: names are asked for at their refresh rate"),
        ],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig",
        done: "num_retries",
        ignored: &[("num_resolver_threads", "up to four threads ask, which are there only while they do")],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.DnsResolutionConfig",
        done: "resolvers dns_resolver_options",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.DnsResolverOptions",
        done: "use_tcp_for_dns_lookups no_default_search_domain",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.cluster.v3.Cluster.CommonLbConfig",
        done: "healthy_panic_threshold zone_aware_lb_config locality_weighted_lb_config \
               close_connections_on_host_set_change",
        ignored: &[
            (
                "update_merge_window",
                "only matters where health or weights change by themselves; a file is committed at once",
            ),
            ("ignore_new_hosts_until_first_hc", "only matters with health checks, which are refused"),
            (
                "override_host_status",
                "only matters to filters that name the endpoint (stateful_session), which are refused",
            ),
        ],
        refused: "consistent_hashing_lb_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig",
        done: "fail_traffic_on_panic",
        ignored: &[("routing_enabled", NO_ZONES), ("min_cluster_size", NO_ZONES)],
        ..Covered::NOTHING
    },
    Covered { message: "envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig", ..Covered::NOTHING },
    Covered {
        message: "envoy.config.cluster.v3.Cluster.RoundRobinLbConfig",
        refused: "slow_start_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig",
        done: "choice_count active_request_bias",
        refused: "slow_start_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.RuntimeDouble",
        done: "default_value",
        ignored: &[("runtime_key", NO_RUNTIME)],
        ..Covered::NOTHING
    },
    Covered { message: "envoy.config.cluster.v3.LoadBalancingPolicy", done: "policies", ..Covered::NOTHING },
    Covered {
        message: "envoy.config.cluster.v3.LoadBalancingPolicy.Policy",
        done: "typed_extension_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
        done: "locality_lb_config",
        refused: "slow_start_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.load_balancing_policies.random.v3.Random",
        done: "locality_lb_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        done: "choice_count active_request_bias locality_lb_config enable_full_scan selection_method",
        refused: "slow_start_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig",
        done: "zone_aware_lb_config locality_weighted_lb_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig",
        done: "fail_traffic_on_panic",
        ignored: &[
            ("routing_enabled", NO_ZONES),
            ("min_cluster_size", NO_ZONES),
            ("force_locality_direct_routing", NO_ZONES),
            ("force_local_zone", NO_ZONES),
            ("locality_basis", NO_ZONES),
        ],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.LocalityWeightedLbConfig",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.cluster.v3.UpstreamConnectionOptions",
        done: "tcp_keepalive",
        only: &[("set_local_interface_name_on_upstream_connections", "false")],
        refused: "happy_eyeballs_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.TcpKeepalive",
        done: "keepalive_probes keepalive_time keepalive_interval",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.BindConfig",
        done: "source_address freebind socket_options extra_source_addresses",
        only: &[("validate_network_namespaces", "false")],
        refused: "additional_source_addresses local_address_selector",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.ExtraSourceAddress",
        done: "address",
        refused: "socket_options",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.SocketOption",
        done: "level name int_value buf_value state",
        ignored: &[("description", "for people")],
        refused: "type ip_version",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.cluster.v3.CircuitBreakers",
        done: "thresholds",
        only: &[],
        ignored: &[],
        refused: "per_host_thresholds",
    },
    Covered {
        message: "envoy.config.cluster.v3.CircuitBreakers.Thresholds",
        done: "priority max_connections max_pending_requests max_requests max_retries retry_budget",
        only: &[],
        ignored: &[],
        refused: "track_remaining max_connection_pools",
    },
    Covered {
        message: "envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget",
        done: "budget_percent min_retry_concurrency",
        only: &[],
        ignored: &[],
        refused: "budget_interval",
    },
    Covered {
        message: "envoy.config.endpoint.v3.ClusterLoadAssignment",
        done: "cluster_name endpoints policy",
        refused: "named_endpoints",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy",
        done: "overprovisioning_factor weighted_priority_health drop_overloads",
        ignored: &[(
            "endpoint_stale_after",
            "only matters to assignments of a control plane; a file's are never stale",
        )],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload",
        done: "drop_percentage",
        ignored: &[("category", "only told to a control plane's load reports")],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.endpoint.v3.LocalityLbEndpoints",
        done: "lb_endpoints locality load_balancing_weight priority",
        ignored: &[("proximity", "not used by Envoy either"), ("metadata", NO_READER)],
        refused: "load_balancer_endpoints leds_cluster_locality_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.endpoint.v3.LbEndpoint",
        done: "endpoint health_status load_balancing_weight",
        ignored: &[("metadata", NO_READER)],
        refused: "endpoint_name",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.endpoint.v3.Endpoint",
        done: "address hostname",
        only: &[],
        ignored: &[
            ("observability_name", "statistics of single endpoints are filed under the address"),
            ("health_check_config", "only matters with health checks, which are refused"),
        ],
        refused: "additional_addresses",
    },
];

#[cfg(test)]
mod tests;
