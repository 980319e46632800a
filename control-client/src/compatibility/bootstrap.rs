//! The file itself: the node, the admin server, statistics.

use super::{Covered, NODE_IS_OURS};

const ONLY_BACKOFF: &str = "streams are tried again for ever, and only retry_back_off is looked at; in Envoy, too";

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.config.bootstrap.v3.Bootstrap",
        done: "node static_resources dynamic_resources admin stats_config use_tcp_for_dns_lookups dns_resolution_config typed_dns_resolver_config",
        only: &[],
        ignored: &[
            ("node_context_params", "only for names of the form xdstp://, which are opaque here"),
            ("stats_flush_interval", "there is no sink to flush to: stats_sinks is refused"),
        ],
        refused: "cluster_manager hds_config flags_path stats_sinks deferred_stat_options \
                  stats_flush_on_admin stats_eviction_interval watchdog watchdogs tracing layered_runtime overload_manager \
                  enable_dispatcher_stats header_prefix stats_server_version_override bootstrap_extensions fatal_actions \
                  config_sources default_config_source default_socket_interface certificate_provider_instances \
                  inline_headers perf_tracing_file_path default_regex_engine xds_delegate_extension \
                  xds_config_tracker_extension listener_manager application_log_config grpc_async_client_manager_config \
                  memory_allocator_manager enable_worker_cpu_affinity",
    },
    Covered {
        message: "envoy.config.bootstrap.v3.Bootstrap.DynamicResources",
        done: "lds_config cds_config ads_config",
        refused: "lds_resources_locator cds_resources_locator",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.ConfigSource",
        done: "path path_config_source api_config_source ads initial_fetch_timeout",
        only: &[("resource_api_version", "AUTO V3")],
        refused: "authorities self",
        ..Covered::NOTHING
    },
    Covered { message: "envoy.config.core.v3.AggregatedConfigSource", ..Covered::NOTHING },
    Covered {
        message: "envoy.config.core.v3.ApiConfigSource",
        done: "api_type transport_api_version grpc_services rate_limit_settings set_node_on_first_message_only \
               cluster_names refresh_delay request_timeout",
        refused: "config_validators",
        ..Covered::NOTHING
    },
    Covered { message: "envoy.config.core.v3.RateLimitSettings", done: "max_tokens fill_rate", ..Covered::NOTHING },
    Covered {
        message: "envoy.config.core.v3.GrpcService",
        done: "envoy_grpc initial_metadata",
        ignored: &[
            ("timeout", "a stream has no end in time; in Envoy, too"),
            (
                "retry_policy",
                "of streams of resources envoy_grpc.retry_policy says how they are tried again; in Envoy, too",
            ),
        ],
        refused: "google_grpc",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.GrpcService.EnvoyGrpc",
        done: "cluster_name authority retry_policy max_receive_message_length",
        ignored: &[("skip_envoy_headers", "none of them is sent")],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.RetryPolicy",
        done: "retry_back_off",
        ignored: &[
            ("num_retries", ONLY_BACKOFF),
            ("retry_on", ONLY_BACKOFF),
            ("retry_priority", ONLY_BACKOFF),
            ("retry_host_predicate", ONLY_BACKOFF),
            ("host_selection_retry_max_attempts", ONLY_BACKOFF),
        ],
        ..Covered::NOTHING
    },
    Covered { message: "envoy.config.core.v3.BackoffStrategy", done: "base_interval max_interval", ..Covered::NOTHING },
    Covered {
        message: "envoy.config.core.v3.PathConfigSource",
        done: "path watched_directory",
        refused: "poll_interval",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.Node",
        done: "id cluster locality metadata",
        only: &[],
        ignored: &[
            (
                "dynamic_parameters",
                "only for names of the form xdstp://, which are opaque here; told to a management server",
            ),
            ("user_agent_name", NODE_IS_OURS),
            ("user_agent_version", NODE_IS_OURS),
            ("user_agent_build_version", NODE_IS_OURS),
            ("extensions", NODE_IS_OURS),
            ("client_features", NODE_IS_OURS),
            ("listening_addresses", NODE_IS_OURS),
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
        done: "listeners clusters secrets",
        only: &[],
        ignored: &[],
        refused: "",
    },
];
