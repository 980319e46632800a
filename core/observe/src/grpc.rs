//! The numbers of gRPC calls: how they ended, and how many messages went by.

use crate::{Counter, Histogram};

/// Statuses that have a number of their own, from 0 on.
const STATUSES: usize = 17;

/// What one worker saw of the calls to one cluster, or of one method there.
#[derive(Debug, Default)]
pub struct GrpcStats {
    statuses: [Counter; STATUSES],
    success: Counter,
    failure: Counter,
    total: Counter,
    /// Messages that began on their way to the cluster.
    pub request_message_count: Counter,
    /// Messages that began on their way from it.
    pub response_message_count: Counter,
    /// Milliseconds from the end of a call's request to its end, where they are wanted.
    pub upstream_rq_time: Histogram,
}

/// A number of a [`GrpcStats`].
pub(crate) type RowOf = fn(&GrpcStats) -> &Counter;

impl GrpcStats {
    /// Counts the end of a call by its `grpc-status`; `None`: one that no status has.
    pub fn count(&self, status: Option<u8>) {
        if let Some(counter) = status.and_then(|status| self.statuses.get(usize::from(status))) {
            counter.add(1);
        }
        (if status == Some(0) { &self.success } else { &self.failure }).add(1);
        self.total.add(1);
    }
}

/// The name of [`GrpcStats::upstream_rq_time`].
pub(crate) const TIME: &str = "upstream_rq_time";

impl GrpcStats {
    /// Its counters, each with the end of its name.
    pub(crate) const ROWS: [(&'static str, RowOf); 22] = [
        ("0", |stats| &stats.statuses[0]),
        ("1", |stats| &stats.statuses[1]),
        ("2", |stats| &stats.statuses[2]),
        ("3", |stats| &stats.statuses[3]),
        ("4", |stats| &stats.statuses[4]),
        ("5", |stats| &stats.statuses[5]),
        ("6", |stats| &stats.statuses[6]),
        ("7", |stats| &stats.statuses[7]),
        ("8", |stats| &stats.statuses[8]),
        ("9", |stats| &stats.statuses[9]),
        ("10", |stats| &stats.statuses[10]),
        ("11", |stats| &stats.statuses[11]),
        ("12", |stats| &stats.statuses[12]),
        ("13", |stats| &stats.statuses[13]),
        ("14", |stats| &stats.statuses[14]),
        ("15", |stats| &stats.statuses[15]),
        ("16", |stats| &stats.statuses[16]),
        ("success", |stats| &stats.success),
        ("failure", |stats| &stats.failure),
        ("total", |stats| &stats.total),
        ("request_message_count", |stats| &stats.request_message_count),
        ("response_message_count", |stats| &stats.response_message_count),
    ];
}
