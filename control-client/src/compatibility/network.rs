//! Network filters but the HTTP connection manager.

use super::Covered;

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        done: "stat_prefix cluster weighted_clusters idle_timeout max_connect_attempts \
               max_downstream_connection_duration access_log hash_policy",
        only: &[("upstream_connect_mode", "IMMEDIATE")],
        refused: "on_demand metadata_match downstream_idle_timeout upstream_idle_timeout backoff_options tunneling_config \
                  max_downstream_connection_duration_jitter_percentage access_log_flush_interval \
                  flush_access_log_on_connected access_log_options proxy_protocol_tlvs proxy_protocol_tlv_merge_policy \
                  max_early_data_bytes check_drain_close",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster",
        done: "clusters",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight",
        done: "name weight",
        refused: "metadata_match",
        ..Covered::NOTHING
    },
    Covered { message: "envoy.type.v3.HashPolicy", done: "source_ip", refused: "filter_state", ..Covered::NOTHING },
    Covered { message: "envoy.type.v3.HashPolicy.SourceIp", ..Covered::NOTHING },
    Covered {
        message: "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
        done: "stat_prefix max_connections delay runtime_enabled",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.RuntimeFeatureFlag",
        done: "default_value runtime_key",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
        done: "stat_prefix token_bucket runtime_enabled share_key",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.type.v3.TokenBucket",
        done: "max_tokens tokens_per_fill fill_interval",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.filters.network.rbac.v3.RBAC",
        done: "rules shadow_rules stat_prefix delay_deny",
        ignored: &[
            (
                "enforcement_type",
                "a connection is judged once: what the rules look at does not change while it lasts, so CONTINUOUS says the same",
            ),
            ("shadow_rules_stat_prefix", "names statistics: shadow rules are counted without a prefix of their own"),
        ],
        refused: "matcher shadow_matcher",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.rbac.v3.RBAC",
        done: "action policies",
        refused: "audit_logging_options",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.rbac.v3.Policy",
        done: "permissions principals",
        refused: "condition checked_condition cel_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.rbac.v3.Permission",
        done: "and_rules or_rules any destination_ip destination_port destination_port_range not_rule \
               requested_server_name",
        refused: "header url_path metadata matcher uri_template sourced_metadata",
        ..Covered::NOTHING
    },
    Covered { message: "envoy.config.rbac.v3.Permission.Set", done: "rules", ..Covered::NOTHING },
    Covered {
        message: "envoy.config.rbac.v3.Principal",
        done: "and_ids or_ids any authenticated source_ip direct_remote_ip remote_ip not_id custom",
        refused: "header url_path metadata filter_state sourced_metadata",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.rbac.principals.mtls_authenticated.v3.Config",
        done: "san_matcher any_validated_client_certificate",
        ..Covered::NOTHING
    },
    Covered { message: "envoy.config.rbac.v3.Principal.Set", done: "ids", ..Covered::NOTHING },
    Covered { message: "envoy.config.rbac.v3.Principal.Authenticated", done: "principal_name", ..Covered::NOTHING },
];
