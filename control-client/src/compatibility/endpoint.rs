//! The endpoints of clusters.

use super::{Covered, NO_READER};

pub(super) static TABLE: &[Covered] = &[
    Covered {
        message: "envoy.config.endpoint.v3.ClusterLoadAssignment",
        done: "cluster_name endpoints policy",
        refused: "named_endpoints",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy",
        done: "overprovisioning_factor weighted_priority_health drop_overloads",
        ignored: &[("endpoint_stale_after", "without effect in a cluster's own assignment; refused in one of EDS")],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload",
        done: "category drop_percentage",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.endpoint.v3.LocalityLbEndpoints",
        done: "lb_endpoints locality load_balancing_weight priority metadata",
        ignored: &[("proximity", "not used by Envoy either")],
        refused: "load_balancer_endpoints leds_cluster_locality_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.endpoint.v3.LbEndpoint",
        done: "endpoint health_status load_balancing_weight metadata",
        refused: "endpoint_name",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.endpoint.v3.Endpoint",
        done: "address hostname additional_addresses",
        only: &[],
        ignored: &[
            ("observability_name", "statistics of single endpoints are filed under the address"),
            ("health_check_config", "only matters with health checks, which are refused"),
        ],
        refused: "",
    },
    Covered { message: "envoy.config.endpoint.v3.Endpoint.AdditionalAddress", done: "address", ..Covered::NOTHING },
    Covered {
        message: "envoy.config.core.v3.Metadata",
        done: "filter_metadata",
        ignored: &[("typed_filter_metadata", NO_READER)],
        ..Covered::NOTHING
    },
];
