//! The blocks that a worker writes: of a cluster, of a listener, of an HTTP connection manager.
//!
//! Names and meanings are Envoy's (docs: "Statistics" of the cluster manager, of listeners and of the HTTP connection
//! manager). A statistic that Ringway does not count is absent, never a zero that looks like a measurement.

use crate::block::block;

block! {
    /// `cluster.<name>.`: what one worker did towards one cluster.
    ClusterStats {
        /// Requests sent to the cluster, retries included.
        upstream_rq_total: Counter,
        /// Requests under way.
        upstream_rq_active: Gauge,
        /// Responses that came to their end.
        upstream_rq_completed: Counter,
        /// Responses of class 1xx.
        upstream_rq_1xx: Counter,
        /// Responses of class 2xx.
        upstream_rq_2xx: Counter,
        /// Responses of class 3xx.
        upstream_rq_3xx: Counter,
        /// Responses of class 4xx.
        upstream_rq_4xx: Counter,
        /// Responses of class 5xx, those that we made for the cluster included.
        upstream_rq_5xx: Counter,
        /// Bytes received from the cluster's connections.
        upstream_cx_rx_bytes_total: Counter,
        /// Bytes sent on the cluster's connections.
        upstream_cx_tx_bytes_total: Counter,
        /// Connections opened or tried.
        upstream_cx_total: Counter,
        /// Connections open, idle ones included.
        upstream_cx_active: Gauge,
        /// HTTP/1 connections opened or tried.
        upstream_cx_http1_total: Counter,
        /// Connections that could not be opened.
        upstream_cx_connect_fail: Counter,
        /// Connections not open within `connect_timeout`.
        upstream_cx_connect_timeout: Counter,
        /// Times that `max_connections` stood in the way.
        upstream_cx_overflow: Counter,
        /// Connections closed.
        upstream_cx_destroy: Counter,
        /// Connections closed because they were idle for too long.
        upstream_cx_idle_timeout: Counter,
        /// Connections closed because the peer broke the protocol.
        upstream_cx_protocol_error: Counter,
        /// Times that no healthy endpoint was there.
        upstream_cx_none_healthy: Counter,
        /// Connections that the peer announced to close (`Connection: close`).
        upstream_cx_close_notify: Counter,
        /// Requests that waited for a connection.
        upstream_rq_pending_total: Counter,
        /// Requests waiting for a connection.
        upstream_rq_pending_active: Gauge,
        /// Requests refused by `max_pending_requests` or `max_requests`.
        upstream_rq_pending_overflow: Counter,
        /// Requests without a response in time.
        upstream_rq_timeout: Counter,
        /// Retries made.
        upstream_rq_retry: Counter,
        /// Retries that brought a response.
        upstream_rq_retry_success: Counter,
        /// Requests that the peer ended before its response was complete.
        upstream_rq_rx_reset: Counter,
        /// Requests that we ended before the response was complete.
        upstream_rq_tx_reset: Counter,
        /// Look-ups of the cluster's names begun. This and the next three are the control thread's, in the first worker's block.
        update_attempt: Counter,
        /// Look-ups that brought an answer.
        update_success: Counter,
        /// Look-ups without an answer.
        update_failure: Counter,
        /// Answers that changed nothing.
        update_no_rebuild: Counter,
    }
}

block! {
    /// `listener.<address>.`: what one worker accepted at one address.
    ListenerStats {
        /// Connections accepted.
        downstream_cx_total: Counter,
        /// Connections open.
        downstream_cx_active: Gauge,
        /// Connections closed.
        downstream_cx_destroy: Counter,
        /// Connections refused by a connection limit of the listener.
        downstream_cx_overflow: Counter,
        /// Connections accepted here and given to a lighter worker, which counts them in its `downstream_cx_total`.
        /// Ringway's own.
        downstream_cx_handed_over: Counter,
        /// Connections that another worker accepted. Ringway's own.
        downstream_cx_taken_over: Counter,
        /// Connections kept because the lighter worker's queue was full. Ringway's own.
        downstream_cx_kept_full: Counter,
    }
}

block! {
    /// `http.<stat_prefix>.`: what one worker served through one HTTP connection manager, router included.
    HttpStats {
        /// Requests received.
        downstream_rq_total: Counter,
        /// Requests under way.
        downstream_rq_active: Gauge,
        /// Requests received by HTTP/1.
        downstream_rq_http1_total: Counter,
        /// Requests answered to the end.
        downstream_rq_completed: Counter,
        /// Responses of class 1xx.
        downstream_rq_1xx: Counter,
        /// Responses of class 2xx.
        downstream_rq_2xx: Counter,
        /// Responses of class 3xx.
        downstream_rq_3xx: Counter,
        /// Responses of class 4xx.
        downstream_rq_4xx: Counter,
        /// Responses of class 5xx.
        downstream_rq_5xx: Counter,
        /// Requests that reached the router.
        rq_total: Counter,
        /// Requests answered by `direct_response`.
        rq_direct_response: Counter,
        /// Requests without a route.
        no_route: Counter,
        /// Requests whose cluster does not exist.
        no_cluster: Counter,
        /// Bytes received.
        downstream_cx_rx_bytes_total: Counter,
        /// Bytes sent.
        downstream_cx_tx_bytes_total: Counter,
        /// Connections accepted.
        downstream_cx_total: Counter,
        /// Connections open.
        downstream_cx_active: Gauge,
        /// HTTP/1 connections accepted.
        downstream_cx_http1_total: Counter,
        /// HTTP/1 connections open.
        downstream_cx_http1_active: Gauge,
        /// Connections closed.
        downstream_cx_destroy: Counter,
        /// Connections that the client closed while a request was under way.
        downstream_cx_destroy_remote_active_rq: Counter,
        /// Connections that we closed while a request was under way.
        downstream_cx_destroy_local_active_rq: Counter,
        /// Connections closed because they were idle for too long.
        downstream_cx_idle_timeout: Counter,
        /// Connections closed because the client broke the protocol.
        downstream_cx_protocol_error: Counter,
        /// Requests whose wish for another protocol or a tunnel was granted.
        downstream_cx_upgrades_total: Counter,
        /// Those under way.
        downstream_cx_upgrades_active: Gauge,
        /// Requests that asked for another protocol or a tunnel and may not have it.
        downstream_rq_ws_on_non_ws_route: Counter,
        /// Connections closed by a drain.
        downstream_cx_drain_close: Counter,
        /// Requests whose head took longer than `request_headers_timeout`.
        downstream_rq_header_timeout: Counter,
        /// Requests silent for longer than `stream_idle_timeout`.
        downstream_rq_idle_timeout: Counter,
        /// Requests ended by the route's `max_stream_duration`.
        downstream_rq_max_duration_reached: Counter,
        /// Requests refused for their path (`normalize_path`, `path_with_escaped_slashes_action`).
        downstream_rq_failed_path_normalization: Counter,
        /// Clients sent to what was made of their path (`path_with_escaped_slashes_action`).
        downstream_rq_redirected_with_normalized_path: Counter,
        /// Fields left out for their names (`headers_with_underscores_action`). The sum of all is Envoy's `http1.` of that name.
        dropped_headers_with_underscores: Counter,
        /// Requests refused for the name of a field. The sum of all is Envoy's `http1.` of that name.
        requests_rejected_with_underscores_in_headers: Counter,
        /// Requests that the client gave up.
        downstream_rq_rx_reset: Counter,
        /// Requests that we broke off.
        downstream_rq_tx_reset: Counter,
    }
}

impl ClusterStats {
    /// Counts a response of this status in its class. Statuses outside 100..=599 belong to none.
    #[inline]
    pub fn count_status(&self, status: u16) {
        match status / 100 {
            2 => self.upstream_rq_2xx.add(1),
            1 => self.upstream_rq_1xx.add(1),
            3 => self.upstream_rq_3xx.add(1),
            4 => self.upstream_rq_4xx.add(1),
            5 => self.upstream_rq_5xx.add(1),
            _ => {}
        }
    }
}

impl HttpStats {
    /// Counts a response of this status in its class. Statuses outside 100..=599 belong to none.
    #[inline]
    pub fn count_status(&self, status: u16) {
        match status / 100 {
            2 => self.downstream_rq_2xx.add(1),
            1 => self.downstream_rq_1xx.add(1),
            3 => self.downstream_rq_3xx.add(1),
            4 => self.downstream_rq_4xx.add(1),
            5 => self.downstream_rq_5xx.add(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Block;

    fn classes<B: Block>(block: &B) -> Vec<u64> {
        B::table().iter().filter(|row| row.name.ends_with("xx")).map(|row| (row.value)(block)).collect()
    }

    #[test]
    fn statuses_are_counted_in_their_class() {
        let (cluster, http) = (ClusterStats::new(), HttpStats::new());
        for status in [100, 200, 204, 301, 404, 500, 503, 599, 0, 99, 600, 65535] {
            cluster.count_status(status);
            http.count_status(status);
        }
        assert_eq!(classes(&*cluster), [1, 2, 1, 1, 3]);
        assert_eq!(classes(&*http), [1, 2, 1, 1, 3]);
    }
}
