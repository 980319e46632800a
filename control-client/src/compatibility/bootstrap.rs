//! The file itself: the node, the admin server, statistics.

use super::{Covered, NO_CONTROL_PLANE};

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.config.bootstrap.v3.Bootstrap",
        done: "node static_resources dynamic_resources admin stats_config use_tcp_for_dns_lookups dns_resolution_config typed_dns_resolver_config",
        only: &[],
        ignored: &[
            ("node_context_params", NO_CONTROL_PLANE),
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
        done: "lds_config cds_config",
        refused: "lds_resources_locator cds_resources_locator ads_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.ConfigSource",
        done: "path path_config_source initial_fetch_timeout",
        only: &[("resource_api_version", "AUTO V3")],
        refused: "authorities api_config_source ads self",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.PathConfigSource",
        done: "path watched_directory",
        refused: "poll_interval",
        ..Covered::NOTHING
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
        done: "listeners clusters secrets",
        only: &[],
        ignored: &[],
        refused: "",
    },
];
