//! The blocks that a worker writes: of a cluster, of a listener, of an HTTP connection manager.
//!
//! Names and meanings are Envoy's (docs: "Statistics" of the cluster manager, of listeners and of the HTTP connection
//! manager). A statistic that Ringway does not count is absent, never a zero that looks like a measurement.

use crate::block::block;
use crate::grpc_part::{self, GrpcPart};
use crate::http2::{self, HasHttp2};
use crate::tls::{self, HasTls, TlsPart};
use crate::{Codes, CodesRow, Counter, Histogram, HistogramRow, Http2Part, Row, Shown};

block! {
    /// `cluster.<name>.`: what one worker did towards one cluster.
    ClusterStats {
        /// Requests sent to the cluster, retries included.
        upstream_rq_total: Counter,
        /// Requests under way.
        upstream_rq_active: Gauge,
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
        /// HTTP/2 connections opened or tried.
        upstream_cx_http2_total: Counter,
        /// Connections that could not be opened.
        upstream_cx_connect_fail: Counter,
        /// Connections not open within `connect_timeout`.
        upstream_cx_connect_timeout: Counter,
        /// Raw connections for which as many attempts failed as they may have.
        upstream_cx_connect_attempts_exceeded: Counter,
        /// Times that `max_connections` stood in the way.
        upstream_cx_overflow: Counter,
        /// Connections closed.
        upstream_cx_destroy: Counter,
        /// Those of them that we closed.
        upstream_cx_destroy_local: Counter,
        /// Those that we closed while a request was under way.
        upstream_cx_destroy_local_with_active_rq: Counter,
        /// Those that the peer closed, connections that could not be opened included.
        upstream_cx_destroy_remote: Counter,
        /// Those that the peer closed while a request was under way.
        upstream_cx_destroy_remote_with_active_rq: Counter,
        /// Those closed while a request was under way.
        upstream_cx_destroy_with_active_rq: Counter,
        /// Connections closed because they were idle for too long.
        upstream_cx_idle_timeout: Counter,
        /// Connections that were as old as they may be.
        upstream_cx_max_duration_reached: Counter,
        /// Connections that had as many requests as they may have.
        upstream_cx_max_requests: Counter,
        /// Connections closed because the peer broke the protocol.
        upstream_cx_protocol_error: Counter,
        /// Times that no healthy endpoint was there.
        upstream_cx_none_healthy: Counter,
        /// Requests whose field for the address of an ORIGINAL_DST cluster holds none.
        original_dst_host_invalid: Counter,
        /// Connections that the peer announced to close (`Connection: close`).
        upstream_cx_close_notify: Counter,
        /// Requests that waited for a connection.
        upstream_rq_pending_total: Counter,
        /// Requests waiting for a connection.
        upstream_rq_pending_active: Gauge,
        /// Requests refused by `max_pending_requests` or `max_requests`.
        upstream_rq_pending_overflow: Counter,
        /// Requests given up while they waited for a connection.
        upstream_rq_cancelled: Counter,
        /// Requests that waited for a connection which then could not be opened.
        upstream_rq_pending_failure_eject: Counter,
        /// Requests without a response in time.
        upstream_rq_timeout: Counter,
        /// Retries made.
        upstream_rq_retry: Counter,
        /// Retries that brought a response.
        upstream_rq_retry_success: Counter,
        /// Retries not made because `max_retries` or the retry budget stood in the way.
        upstream_rq_retry_overflow: Counter,
        /// Retries not made because the request had had as many as it may have.
        upstream_rq_retry_limit_exceeded: Counter,
        /// Retries after a wait of the exponential back-off.
        upstream_rq_retry_backoff_exponential: Counter,
        /// Retries after the wait that the upstream asked for.
        upstream_rq_retry_backoff_ratelimited: Counter,
        /// Tries without a response in `per_try_timeout`.
        upstream_rq_per_try_timeout: Counter,
        /// Tries in which nothing moved for `per_try_idle_timeout`.
        upstream_rq_per_try_idle_timeout: Counter,
        /// Tries ended by `max_stream_duration`.
        upstream_rq_max_duration_reached: Counter,
        /// Requests that could not be retried because their bodies were too large to keep.
        retry_or_shadow_abandoned: Counter,
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
        /// Picks in which health counted for nothing, for too few endpoints had it.
        lb_healthy_panic: Counter,
    }
    histograms {
        /// Milliseconds until a connection was open.
        upstream_cx_connect_ms,
        /// Milliseconds that a connection was there, one that could not be opened included.
        upstream_cx_length_ms,
        /// Requests that a connection carried.
        upstream_rq_per_cx,
    }
    beside {
        /// Milliseconds from the end of a request to the end of its response, by where the request came from.
        rq_time: [Histogram; 2],
        /// Responses by status, those that we made for the cluster included, by where the request came from.
        codes: [Codes; 2],
        /// Responses that were not passed on but asked for once more.
        retry_codes: Codes,
        /// What was done in HTTP/2.
        http2: Http2Part,
        /// How calls ended.
        grpc: GrpcPart,
        /// What was done in TLS.
        tls: TlsPart,
        => numbers cluster_parts
        => histograms cluster_histograms, codes cluster_codes, methods grpc
    }
}

/// Where a request came from, as `x-envoy-internal` says it: Envoy counts the two apart, and together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// From an internal client.
    Internal,
    /// From any other.
    #[default]
    External,
}

impl HasHttp2 for ClusterStats {
    fn part(&self) -> &Http2Part {
        &self.http2
    }
}

fn cluster_parts() -> Vec<Row<ClusterStats>> {
    let mut rows = http2::rows(&|| Shown::Once(|block: &ClusterStats| block.http2.read().is_some()));
    rows.extend(grpc_part::rows());
    rows.extend(tls::rows());
    rows
}

fn cluster_histograms() -> Vec<HistogramRow<ClusterStats>> {
    vec![
        HistogramRow {
            name: "upstream_rq_time",
            add: |block, to| block.rq_time.iter().for_each(|histogram| to.add(histogram)),
            is_always: false,
        },
        HistogramRow {
            name: "internal.upstream_rq_time",
            add: |block, to| to.add(&block.rq_time[Origin::Internal as usize]),
            is_always: false,
        },
        HistogramRow {
            name: "external.upstream_rq_time",
            add: |block, to| to.add(&block.rq_time[Origin::External as usize]),
            is_always: false,
        },
        HistogramRow { name: "grpc.upstream_rq_time", add: |block, to| block.grpc.add_times(to), is_always: false },
    ]
}

fn cluster_codes() -> &'static [CodesRow<ClusterStats>] {
    &[
        CodesRow { prefix: "", of: |block, visit| block.codes.iter().for_each(visit) },
        CodesRow { prefix: "external.", of: |block, visit| visit(&block.codes[Origin::External as usize]) },
        CodesRow { prefix: "internal.", of: |block, visit| visit(&block.codes[Origin::Internal as usize]) },
        CodesRow { prefix: "retry.", of: |block, visit| visit(&block.retry_codes) },
    ]
}

block! {
    /// `cluster.<name>.`: a cluster's endpoints. Written by the control thread.
    MembershipStats {
        /// Times that the endpoints changed.
        membership_change: Counter,
        /// Endpoints.
        membership_total: Gauge,
        /// Endpoints that requests are sent to.
        membership_healthy: Gauge,
        /// Endpoints that requests are sent to only where healthy ones are too few.
        membership_degraded: Gauge,
        /// Endpoints that do not count where health is a ratio: draining.
        membership_excluded: Gauge,
    }
    histograms {}
    beside {}
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
        /// Connections that the listener filters look at.
        downstream_pre_cx_active: Gauge,
        /// Those that said nothing in `listener_filters_timeout`.
        downstream_pre_cx_timeout: Counter,
        /// Those that ended before the listener filters had seen enough.
        downstream_listener_filter_remote_close: Counter,
        /// Those that a listener filter refused for how they began.
        downstream_listener_filter_error: Counter,
        /// Connections that no filter chain takes.
        no_filter_chain_match: Counter,
    }
    histograms {
        /// Milliseconds that a connection was there.
        downstream_cx_length_ms,
    }
    beside {
        /// What was done in TLS.
        tls: TlsPart,
        => numbers listener_tls
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
        /// Requests received by HTTP/2.
        downstream_rq_http2_total: Counter,
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
        /// HTTP/2 connections accepted.
        downstream_cx_http2_total: Counter,
        /// HTTP/2 connections open.
        downstream_cx_http2_active: Gauge,
        /// Connections closed.
        downstream_cx_destroy: Counter,
        /// Those of them that the client closed.
        downstream_cx_destroy_remote: Counter,
        /// Those that we closed.
        downstream_cx_destroy_local: Counter,
        /// Those closed while a request was under way.
        downstream_cx_destroy_active_rq: Counter,
        /// Connections that lingered until `delayed_close_timeout`.
        downstream_cx_delayed_close_timeout: Counter,
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
        /// Connections whose `max_connection_duration` was over.
        downstream_cx_max_duration_reached: Counter,
        /// Connections that had their `max_requests_per_connection`.
        downstream_cx_max_requests_reached: Counter,
        /// Requests not complete within `request_timeout`.
        downstream_rq_timeout: Counter,
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
        /// Fields of HTTP/1 left out for their names (`headers_with_underscores_action`). The sum of all is Envoy's `http1.` of that name.
        dropped_headers_with_underscores: Counter,
        /// Requests of HTTP/1 refused for the name of a field. The sum of all is Envoy's `http1.` of that name.
        requests_rejected_with_underscores_in_headers: Counter,
        /// Requests that the client gave up.
        downstream_rq_rx_reset: Counter,
        /// Requests that we broke off.
        downstream_rq_tx_reset: Counter,
        /// Requests answered to the end before they were complete.
        downstream_rq_response_before_rq_complete: Counter,
        /// Responses that broke off after their head went out.
        rq_reset_after_downstream_response_started: Counter,
    }
    histograms {
        /// Milliseconds that a connection was there.
        downstream_cx_length_ms,
        /// Milliseconds from the first byte of a request to the end of its response.
        downstream_rq_time,
    }
    beside {
        /// What was done in HTTP/2. The sum of all is Envoy's `http2.`.
        http2: Http2Part,
        => numbers manager_http2
    }
}

impl HasTls for ListenerStats {
    fn part(&self) -> &TlsPart {
        &self.tls
    }
}

impl HasTls for ClusterStats {
    fn part(&self) -> &TlsPart {
        &self.tls
    }
}

fn listener_tls() -> Vec<Row<ListenerStats>> {
    tls::rows()
}

impl HasHttp2 for HttpStats {
    fn part(&self) -> &Http2Part {
        &self.http2
    }
}

fn manager_http2() -> Vec<Row<HttpStats>> {
    http2::rows(&|| Shown::InSum)
}

impl ClusterStats {
    /// Counts a response to a request that came from there.
    #[inline]
    pub fn count_status(&self, origin: Origin, status: u16) {
        self.codes[origin as usize].count(status);
    }

    /// Counts how long a response took, from the end of its request.
    #[inline]
    pub fn count_time(&self, origin: Origin, ms: u64) {
        self.rq_time[origin as usize].record(ms);
    }
}

impl HttpStats {
    /// Where fields are counted that are left out for their names.
    #[inline]
    pub fn dropped_for_underscores(&self, is_http2: bool) -> &Counter {
        if is_http2 {
            &self.http2.write().dropped_headers_with_underscores
        } else {
            &self.dropped_headers_with_underscores
        }
    }

    /// Where requests are counted that are refused for the name of a field.
    #[inline]
    pub fn rejected_for_underscores(&self, is_http2: bool) -> &Counter {
        if is_http2 {
            &self.http2.write().requests_rejected_with_underscores_in_headers
        } else {
            &self.requests_rejected_with_underscores_in_headers
        }
    }

    /// Counts a request by the version that it came in.
    #[inline]
    pub fn count_version(&self, is_http2: bool) {
        (if is_http2 { &self.downstream_rq_http2_total } else { &self.downstream_rq_http1_total }).add(1);
    }

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

    #[test]
    fn statuses_are_counted_in_their_class() {
        let http = HttpStats::new();
        for status in [100, 200, 204, 301, 404, 500, 503, 599, 0, 99, 600, 65535] {
            http.count_status(status);
        }
        let rows = HttpStats::table().iter().filter(|row| row.name.ends_with("xx"));
        assert_eq!(rows.map(|row| (row.value)(&http)).collect::<Vec<_>>(), [1, 2, 1, 1, 3]);
    }

    #[test]
    fn requests_are_counted_by_version() {
        let http = HttpStats::new();
        [true, false, true].into_iter().for_each(|is_http2| http.count_version(is_http2));
        let rows = HttpStats::table().iter().filter(|row| row.name.starts_with("downstream_rq_http"));
        assert_eq!(rows.map(|row| (row.value)(&http)).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_came_from_both_sides_is_read_together_and_apart() {
        let cluster = ClusterStats::new();
        for (origin, status, ms) in
            [(Origin::Internal, 200, 5), (Origin::External, 200, 70), (Origin::External, 503, 7)]
        {
            cluster.count_status(origin, status);
            cluster.count_time(origin, ms);
        }
        cluster.retry_codes.count(503);
        let codes = |row: &CodesRow<ClusterStats>| {
            let mut sums = vec![];
            (row.of)(&cluster, &mut |codes| codes.add_to(&mut sums));
            (row.prefix, sums)
        };
        let codes: Vec<_> = ClusterStats::codes().iter().map(codes).collect();
        let expect = [
            ("", vec![(200, 2), (503, 1)]),
            ("external.", vec![(200, 1), (503, 1)]),
            ("internal.", vec![(200, 1)]),
            ("retry.", vec![(503, 1)]),
        ];
        assert_eq!(codes, expect);
        let totals = ClusterStats::histograms().iter().map(|row| {
            let mut distribution = crate::Distribution::default();
            (row.add)(&cluster, &mut distribution);
            (row.name, distribution.total())
        });
        let totals: Vec<_> = totals.filter(|total| total.1 > 0).collect();
        assert_eq!(
            totals,
            [("external.upstream_rq_time", 2), ("internal.upstream_rq_time", 1), ("upstream_rq_time", 3)]
        );
    }
}
