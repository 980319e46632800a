//! What is counted of raw connections: `tcp.<stat_prefix>.`.

use crate::block::block;

block! {
    /// `tcp.<stat_prefix>.`: what one worker forwarded through `tcp_proxy`.
    TcpStats {
        /// Connections that reached the filter.
        downstream_cx_total: Counter,
        /// Those for which no cluster was there.
        downstream_cx_no_route: Counter,
        /// Bytes received from clients.
        downstream_cx_rx_bytes_total: Counter,
        /// Bytes sent to clients.
        downstream_cx_tx_bytes_total: Counter,
        /// Connections closed because their chain was gone and the drain time was over.
        downstream_cx_drain_close: Counter,
        /// Times that a client was not read because its upstream takes nothing.
        downstream_flow_control_paused_reading_total: Counter,
        /// Times that it was read again.
        downstream_flow_control_resumed_reading_total: Counter,
        /// Connections closed because no byte moved for `idle_timeout`.
        idle_timeout: Counter,
        /// Connections closed by `max_downstream_connection_duration`.
        max_downstream_connection_duration: Counter,
    }
    histograms {}
    beside {}
}
