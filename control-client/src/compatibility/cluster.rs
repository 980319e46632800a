//! Clusters, how their names become addresses, their sockets and limits.

use super::Covered;

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.config.cluster.v3.Cluster",
        done: "upstream_bind_config upstream_connection_options name eds_cluster_config per_connection_buffer_limit_bytes alt_stat_name connect_timeout load_assignment circuit_breakers common_lb_config \
               round_robin_lb_config least_request_lb_config ring_hash_lb_config maglev_lb_config load_balancing_policy cluster_type dns_refresh_rate dns_jitter \
               dns_failure_refresh_rate respect_dns_ttl dns_lookup_family dns_resolvers use_tcp_for_dns_lookups \
               dns_resolution_config typed_dns_resolver_config wait_for_warm_on_init \
               typed_extension_protocol_options max_requests_per_connection common_http_protocol_options http_protocol_options \
               http2_protocol_options protocol_selection \
               lb_policy original_dst_lb_config cleanup_interval transport_socket transport_socket_matches \
               upstream_http_protocol_options metadata filters",
        only: &[("type", "STATIC STRICT_DNS LOGICAL_DNS EDS ORIGINAL_DST")],
        ignored: &[
            ("lrs_server", "Envoy does not act on it: load is reported where cluster_manager.load_stats_config says"),
            ("ignore_health_on_host_removal", "only matters with health checks, which are refused"),
            ("close_connections_on_host_health_failure", "only matters with health checks, which are refused"),
        ],
        refused: "transport_socket_matcher stats_matcher \
                  per_connection_buffer_high_watermark_timeout health_checks \
                  outlier_detection \
                  lb_subset_config \
                  lrs_report_endpoint_metrics \
                  track_timeout_budgets upstream_config track_cluster_stats preconnect_policy \
                  connection_pool_per_downstream_connection queuing_policies",
    },
    Covered {
        message: "envoy.config.cluster.v3.Filter",
        ignored: &[("name", "the type says what it is")],
        done: "typed_config",
        refused: "config_discovery",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.cluster.v3.Cluster.EdsClusterConfig",
        done: "eds_config service_name",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.cluster.v3.Cluster.TransportSocketMatch",
        done: "name match transport_socket",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.UpstreamHttpProtocolOptions",
        done: "auto_sni auto_san_validation",
        refused: "override_auto_sni_header",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.cluster.v3.Cluster.OriginalDstLbConfig",
        done: "use_http_header http_header_name upstream_port_override",
        refused: "metadata_key",
        ..Covered::NOTHING
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
        message: "envoy.config.cluster.v3.UpstreamConnectionOptions",
        done: "tcp_keepalive happy_eyeballs_config",
        only: &[("set_local_interface_name_on_upstream_connections", "false")],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.cluster.v3.UpstreamConnectionOptions.HappyEyeballsConfig",
        done: "first_address_family_version first_address_family_count",
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
        ignored: &[("track_remaining", "what remains is the limit less what is in use, and both are shown")],
        refused: "max_connection_pools",
    },
    Covered {
        message: "envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget",
        done: "budget_percent min_retry_concurrency",
        only: &[],
        ignored: &[],
        refused: "budget_interval",
    },
];
