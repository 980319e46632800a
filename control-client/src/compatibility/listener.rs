//! Listeners, their filter chains, and addresses.

use super::{Covered, NO_GLOBAL_LIMIT, NO_READER};

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.config.listener.v3.Listener",
        done: "socket_options freebind transparent tcp_fast_open_queue_length tcp_keepalive additional_addresses \
               name per_connection_buffer_limit_bytes address filter_chains tcp_backlog_size connection_balance_config \
               default_filter_chain listener_filters listener_filters_timeout continue_on_listener_filters_timeout \
               bind_to_port use_original_dst access_log",
        only: &[("enable_reuse_port", "true")],
        ignored: &[
            ("metadata", NO_READER),
            ("traffic_direction", "only told to tracers and control planes"),
            ("ignore_global_conn_limit", NO_GLOBAL_LIMIT),
            (
                "max_connections_to_accept_per_socket_event",
                "how many wait is no matter: a worker takes each as its loop has room, and others have their turn between",
            ),
            ("bypass_overload_manager", "there is no overload manager"),
        ],
        refused: "stat_prefix stats_matcher fcds_config filter_chain_matcher \
                  per_connection_buffer_high_watermark_timeout deprecated_v1 drain_type \
                  udp_listener_config api_listener \
                  reuse_port \
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
        message: "envoy.config.listener.v3.AdditionalAddress",
        done: "address socket_options tcp_keepalive",
        only: &[],
        ignored: &[],
        refused: "",
    },
    Covered {
        message: "envoy.config.core.v3.SocketOptionsOverride",
        done: "socket_options",
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
        done: "filter_chain_match filters name transport_socket transport_socket_connect_timeout",
        only: &[("use_proxy_proto", "false")],
        ignored: &[("metadata", NO_READER)],
        refused: "",
    },
    Covered {
        message: "envoy.config.listener.v3.FilterChainMatch",
        done: "destination_port prefix_ranges direct_source_prefix_ranges source_type source_prefix_ranges source_ports \
               server_names transport_protocol application_protocols",
        refused: "address_suffix suffix_len",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.listener.v3.Filter",
        done: "name typed_config",
        only: &[],
        ignored: &[],
        refused: "config_discovery",
    },
    Covered {
        message: "envoy.config.listener.v3.ListenerFilter",
        done: "name typed_config filter_disabled",
        refused: "config_discovery",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.listener.v3.ListenerFilterChainMatchPredicate",
        done: "or_match and_match not_match any_match destination_port_range",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet",
        done: "rules",
        ..Covered::NOTHING
    },
    Covered { message: "envoy.extensions.filters.listener.original_dst.v3.OriginalDst", ..Covered::NOTHING },
    Covered {
        message: "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        done: "max_client_hello_size",
        only: &[("enable_ja3_fingerprinting", "false"), ("enable_ja4_fingerprinting", "false")],
        ignored: &[("initial_read_buffer_size", "a buffer grows with what has arrived")],
        refused: "close_connection_on_client_hello_parsing_errors",
    },
    Covered { message: "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector", ..Covered::NOTHING },
    Covered {
        message: "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
        done: "allow_requests_without_proxy_protocol disallowed_versions stat_prefix pass_through_tlvs",
        refused: "rules tlv_location",
        ..Covered::NOTHING
    },
    Covered { message: "envoy.type.v3.Int32Range", done: "start end", ..Covered::NOTHING },
];
