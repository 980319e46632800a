//! Listeners, their filter chains, and addresses.

use super::{Covered, NO_READER};

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.config.listener.v3.Listener",
        done: "socket_options freebind transparent tcp_fast_open_queue_length tcp_keepalive additional_addresses \
               name per_connection_buffer_limit_bytes address filter_chains tcp_backlog_size connection_balance_config",
        only: &[("enable_reuse_port", "true"), ("bind_to_port", "true"), ("use_original_dst", "false")],
        ignored: &[
            ("metadata", NO_READER),
            ("traffic_direction", "only told to tracers and control planes"),
            ("listener_filters_timeout", "nothing waits: listener_filters is refused"),
            ("continue_on_listener_filters_timeout", "nothing waits: listener_filters is refused"),
            ("ignore_global_conn_limit", "there is no global limit: overload_manager is refused"),
            (
                "max_connections_to_accept_per_socket_event",
                "how many wait is no matter: a worker takes each as its loop has room, and others have their turn between",
            ),
            ("bypass_overload_manager", "there is no overload manager: overload_manager is refused"),
        ],
        refused: "stat_prefix stats_matcher fcds_config filter_chain_matcher default_filter_chain \
                  per_connection_buffer_high_watermark_timeout deprecated_v1 drain_type \
                  listener_filters udp_listener_config api_listener \
                  reuse_port access_log \
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
];
