//! The file itself: the node, the admin server, statistics.

use super::{Covered, NO_GLOBAL_LIMIT, NODE_IS_OURS};

const ONLY_BACKOFF: &str = "streams are tried again for ever, and only retry_back_off is looked at; in Envoy, too";

const DEFAULT_TAGS: &str = "metrics have the labels of Envoy's default tags, and no others";
const NOT_OVERLOADED: &str = "memory and connections are bounded from the start (docs/LIMITS.md)";

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.config.bootstrap.v3.Bootstrap",
        done: "default_regex_engine cluster_manager layered_runtime overload_manager bootstrap_extensions node static_resources dynamic_resources admin stats_config use_tcp_for_dns_lookups dns_resolution_config typed_dns_resolver_config",
        only: &[],
        ignored: &[
            ("node_context_params", "only for names of the form xdstp://, which are opaque here"),
            ("stats_flush_interval", "there is no sink to flush to: stats_sinks has no effect"),
            ("stats_sinks", "statistics are pulled from the admin server, not pushed"),
            ("hds_config", "no health checks are made for a management server"),
            ("stats_eviction_interval", "statistics go with what they count"),
            ("deferred_stat_options", "statistics of a cluster or a listener are made with it"),
            ("application_log_config", "lines have one format"),
            ("tracing", "no spans are reported"),
        ],
        refused: "flags_path \
                  stats_flush_on_admin watchdog watchdogs \
                  enable_dispatcher_stats header_prefix stats_server_version_override fatal_actions \
                  config_sources default_config_source default_socket_interface certificate_provider_instances \
                  inline_headers perf_tracing_file_path xds_delegate_extension  \
                  xds_config_tracker_extension listener_manager grpc_async_client_manager_config \
                  memory_allocator_manager enable_worker_cpu_affinity",
    },
    Covered {
        message: "envoy.config.bootstrap.v3.ClusterManager",
        done: "load_stats_config",
        ignored: &[
            ("outlier_detection", "says where ejections are logged; outlier_detection of clusters is refused"),
            (
                "enable_deferred_cluster_creation",
                "what a worker needs of a cluster is made when it is first picked, always",
            ),
        ],
        refused: "local_cluster_name upstream_bind_config",
        ..Covered::NOTHING
    },
    Covered { message: "envoy.extensions.regex_engines.v3.GoogleRE2", ..Covered::NOTHING },
    Covered { message: "envoy.config.bootstrap.v3.LayeredRuntime", done: "layers", ..Covered::NOTHING },
    Covered {
        message: "envoy.config.bootstrap.v3.RuntimeLayer",
        done: "name static_layer disk_layer admin_layer rtds_layer",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.bootstrap.v3.RuntimeLayer.DiskLayer",
        done: "symlink_root subdirectory append_service_cluster",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.bootstrap.v3.RuntimeLayer.RtdsLayer",
        done: "name rtds_config",
        ..Covered::NOTHING
    },
    Covered { message: "envoy.service.runtime.v3.Runtime", done: "name layer", ..Covered::NOTHING },
    Covered { message: "envoy.config.bootstrap.v3.RuntimeLayer.AdminLayer", ..Covered::NOTHING },
    Covered {
        message: "envoy.config.overload.v3.OverloadManager",
        ignored: &[
            ("refresh_interval", "nothing is monitored"),
            ("resource_monitors", NOT_OVERLOADED),
            ("actions", NOT_OVERLOADED),
            ("loadshed_points", NOT_OVERLOADED),
            ("buffer_factory_config", "buffers are counted for each worker"),
        ],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
        ignored: &[("buffer_size_kb", "internal_listener is refused")],
        ..Covered::NOTHING
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
            ("ignore_global_conn_limit", NO_GLOBAL_LIMIT),
        ],
        refused: "socket_options allow_paths",
    },
    Covered {
        message: "envoy.config.metrics.v3.StatsConfig",
        done: "stats_matcher histogram_bucket_settings",
        only: &[],
        ignored: &[
            ("stats_tags", DEFAULT_TAGS),
            ("use_all_default_tags", DEFAULT_TAGS),
            ("allow_default_tag_overrides", DEFAULT_TAGS),
        ],
        refused: "",
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
