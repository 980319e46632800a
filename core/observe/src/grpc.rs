//! `cluster.<name>.grpc.`: how calls ended and how many messages went by, where the filter `grpc_stats` counts them.
//!
//! It stands in the block of a cluster and is allocated with the first call; a number is shown once it is not zero, as Envoy makes
//! each when it first counts.

use std::sync::OnceLock;

use crate::{ClusterStats, Counter, Kind, Row, Shown};

/// Statuses that have a number of their own, from 0 on.
const STATUSES: usize = 17;

/// The numbers of one cluster, if a call was ever counted.
#[derive(Debug, Default)]
pub struct GrpcPart(OnceLock<Box<GrpcStats>>);

impl GrpcPart {
    /// To write them; allocated at the first call. For the one writer.
    #[inline]
    pub fn write(&self) -> &GrpcStats {
        self.0.get_or_init(Box::default)
    }

    fn read(&self, of: impl FnOnce(&GrpcStats) -> &Counter) -> u64 {
        self.0.get().map_or(0, |stats| of(stats).value())
    }
}

/// What one worker saw of the calls to one cluster.
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
}

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

macro_rules! rows {
    ($($name:literal = $of:expr,)*) => {
        /// The rows of a cluster.
        pub(crate) fn rows() -> Vec<Row<ClusterStats>> {
            vec![$(Row {
                name: concat!("grpc.", $name),
                kind: Kind::Counter,
                value: |block: &ClusterStats| block.grpc.read($of),
                shown: Shown::Once(|block: &ClusterStats| block.grpc.read($of) > 0),
            },)*]
        }
    };
}

rows! {
    "0" = |stats| &stats.statuses[0],
    "1" = |stats| &stats.statuses[1],
    "2" = |stats| &stats.statuses[2],
    "3" = |stats| &stats.statuses[3],
    "4" = |stats| &stats.statuses[4],
    "5" = |stats| &stats.statuses[5],
    "6" = |stats| &stats.statuses[6],
    "7" = |stats| &stats.statuses[7],
    "8" = |stats| &stats.statuses[8],
    "9" = |stats| &stats.statuses[9],
    "10" = |stats| &stats.statuses[10],
    "11" = |stats| &stats.statuses[11],
    "12" = |stats| &stats.statuses[12],
    "13" = |stats| &stats.statuses[13],
    "14" = |stats| &stats.statuses[14],
    "15" = |stats| &stats.statuses[15],
    "16" = |stats| &stats.statuses[16],
    "success" = |stats| &stats.success,
    "failure" = |stats| &stats.failure,
    "total" = |stats| &stats.total,
    "request_message_count" = |stats| &stats.request_message_count,
    "response_message_count" = |stats| &stats.response_message_count,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Block;

    #[test]
    fn ends_are_counted_by_status_and_by_luck() {
        let cluster = ClusterStats::default();
        let shown = || {
            let rows = ClusterStats::table().iter().filter(|row| row.name.starts_with("grpc."));
            let is_shown = |row: &&Row<ClusterStats>| matches!(row.shown, Shown::Once(is) if is(&cluster));
            rows.filter(is_shown).map(|row| (row.name, (row.value)(&cluster))).collect::<Vec<_>>()
        };
        assert_eq!(shown(), []);
        for status in [Some(0), Some(0), Some(14), None, Some(17)] {
            cluster.grpc.write().count(status);
        }
        cluster.grpc.write().response_message_count.add(3);
        assert_eq!(
            shown(),
            [
                ("grpc.0", 2),
                ("grpc.14", 1),
                ("grpc.failure", 3),
                ("grpc.response_message_count", 3),
                ("grpc.success", 2),
                ("grpc.total", 5)
            ]
        );
    }
}
