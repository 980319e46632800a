//! How clusters balance: policies and their options.

use super::{Covered, NO_ZONES};

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.config.cluster.v3.Cluster.CommonLbConfig",
        done: "healthy_panic_threshold zone_aware_lb_config locality_weighted_lb_config \
               close_connections_on_host_set_change consistent_hashing_lb_config",
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
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig",
        done: "use_hostname_for_hashing",
        refused: "hash_balance_factor",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.cluster.v3.Cluster.RingHashLbConfig",
        done: "minimum_ring_size maximum_ring_size hash_function",
        ..Covered::NOTHING
    },
    Covered { message: "envoy.config.cluster.v3.Cluster.MaglevLbConfig", done: "table_size", ..Covered::NOTHING },
    Covered {
        message: "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash",
        done: "hash_function minimum_ring_size maximum_ring_size use_hostname_for_hashing consistent_hashing_lb_config \
               locality_weighted_lb_config",
        refused: "hash_balance_factor",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.load_balancing_policies.maglev.v3.Maglev",
        done: "table_size consistent_hashing_lb_config locality_weighted_lb_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig",
        done: "use_hostname_for_hashing",
        refused: "hash_balance_factor hash_policy",
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
    Covered { message: "envoy.config.core.v3.RuntimeDouble", done: "default_value runtime_key", ..Covered::NOTHING },
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
];
