//! What is counted of resources that come by xDS. Written by the control thread.

use crate::block::block;

block! {
    /// `cluster_manager.cds.`, `listener_manager.lds.`, `sds.<secret>.`, `runtime.`, `http.<stat_prefix>.rds.<route_config_name>.`: one
    /// subscription.
    SubscriptionStats {
        /// Times that nothing came in `initial_fetch_timeout`.
        init_fetch_timeout: Counter,
        /// Times that a source was asked, or a file was read.
        update_attempt: Counter,
        /// Times that nothing came that could be read.
        update_failure: Counter,
        /// Responses of which something was refused.
        update_rejected: Counter,
        /// Responses that were accepted.
        update_success: Counter,
        /// When the last response was accepted: milliseconds since 1970.
        update_time: Gauge,
        /// A hash of the last version that was accepted.
        version: Gauge,
    }
    histograms {
        /// How long it took to take in what was accepted: milliseconds.
        update_duration,
    }
    beside {}
}

block! {
    /// `http.<stat_prefix>.rds.<route_config_name>.`: what of a route configuration is not counted with its subscription.
    RouteConfigStats {
        /// Times that another one came.
        config_reload: Counter,
        /// When that was last: milliseconds since 1970.
        config_reload_time_ms: Gauge,
        /// Times that a file, or a server by REST, had none at all.
        update_empty: Counter,
    }
    histograms {}
    beside {}
}

block! {
    /// `extension_config_discovery.http_filter.<name>.`: what of a filter's configuration is not counted with its subscription.
    ExtensionStats {
        /// Listeners that came for whose filter the one that is held is not.
        config_conflict: Counter,
        /// Times that one was refused, or none came.
        config_fail: Counter,
        /// Times that another one came to be used.
        config_reload: Counter,
    }
    histograms {}
    beside {}
}

block! {
    /// `cluster.<name>.`: what of a cluster's assignments is not counted with its names
    /// ([`ClusterStats`](crate::ClusterStats)).
    AssignmentStats {
        /// Times that none came in `initial_fetch_timeout`.
        init_fetch_timeout: Counter,
        /// Assignments that were refused.
        update_rejected: Counter,
        /// When the last one was accepted: milliseconds since 1970.
        update_time: Gauge,
        /// A hash of its version.
        version: Gauge,
    }
    histograms {}
    beside {}
}

block! {
    /// `load_reporter.`: the stream of load reports, under Envoy's names, which are the server's view. Written by its own thread.
    LoadReporterStats {
        /// Times that the server could not be reached or ended the stream, but for an end with status 0.
        errors: Counter,
        /// Messages of the server.
        requests: Counter,
        /// Reports sent.
        responses: Counter,
        /// Attempts after the first.
        retries: Counter,
    }
    histograms {}
    beside {}
}

block! {
    /// `runtime.`: `layered_runtime`, beside the subscription of its layers by RTDS, which has the same prefix.
    RuntimeStats {
        /// 0: there is no `/runtime_modify`.
        admin_overrides_active: Gauge,
        /// Times that a layer of files could not be read. A layer of a source that is refused counts in `update_rejected`, as in Envoy.
        load_error: Counter,
        /// Times that it was taken up: with each bootstrap, and with each layer that came.
        load_success: Counter,
        /// Keys that have a value.
        num_keys: Gauge,
        /// Layers, empty ones included.
        num_layers: Gauge,
    }
    histograms {}
    beside {}
}

block! {
    /// `control_plane.`: of all management servers together.
    ControlPlaneStats {
        /// 1 where each stream of resources has a connection.
        connected_state: Gauge,
        /// Requests that wait because of `rate_limit_settings`.
        pending_requests: Gauge,
        /// How often one had to wait.
        rate_limit_enforced: Counter,
    }
    histograms {}
    beside {}
}
