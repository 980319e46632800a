//! `cluster.<name>.grpc.`: what the filter `grpc_stats` counts of a cluster's calls, of all methods together or of each ([`Methods`]).
//!
//! It stands in the block of a cluster and is allocated with the first call; a number is shown once it is not zero, as Envoy makes
//! each when it first counts.

use std::sync::{Arc, OnceLock};

use crate::grpc::GrpcStats;
use crate::methods::Methods;
use crate::{ClusterStats, Distribution, Kind, Row, Shown};

/// The numbers of one cluster, if a call was ever counted.
#[derive(Debug, Default)]
pub struct GrpcPart {
    all: OnceLock<Arc<GrpcStats>>,
    methods: OnceLock<Box<Methods>>,
}

impl GrpcPart {
    /// To write those without a method; allocated at the first call. For the one writer.
    #[inline]
    pub fn write(&self) -> &Arc<GrpcStats> {
        self.all.get_or_init(Arc::default)
    }

    /// To write those of a method, which are allocated at its first call; those without a method where the table of methods has no room for it, which
    /// is counted. `replaces_dots`: those of the service are written `_`. For the one writer.
    pub fn write_method(&self, service: &[u8], method: &[u8], replaces_dots: bool) -> &Arc<GrpcStats> {
        let found = self.methods.get_or_init(Box::default).find(service, method, replaces_dots);
        found.unwrap_or_else(|| self.write())
    }

    /// The methods, if calls were counted by them.
    pub(crate) fn methods(&self) -> Option<&Methods> {
        self.methods.get().map(|methods| &**methods)
    }

    /// The counter of this place among [`GrpcStats::ROWS`].
    fn read<const AT: usize>(&self) -> u64 {
        self.all.get().map_or(0, |stats| GrpcStats::ROWS[AT].1(stats).value())
    }

    fn overflow(&self) -> u64 {
        self.methods().map_or(0, |methods| methods.overflow.value())
    }

    /// Adds the times of those without a method.
    pub(crate) fn add_times(&self, to: &mut Distribution) {
        if let Some(stats) = self.all.get() {
            to.add(&stats.upstream_rq_time);
        }
    }
}

macro_rules! rows {
    ($($at:literal $name:literal,)*) => {
        /// The rows of a cluster.
        pub(crate) fn rows() -> Vec<Row<ClusterStats>> {
            vec![$(Row {
                name: concat!("grpc.", $name),
                kind: Kind::Counter,
                value: |block: &ClusterStats| block.grpc.read::<$at>(),
                shown: Shown::Once(|block: &ClusterStats| block.grpc.read::<$at>() > 0),
            },)*
            Row {
                name: "grpc.methods_overflow",
                kind: Kind::Counter,
                value: |block: &ClusterStats| block.grpc.overflow(),
                shown: Shown::Once(|block: &ClusterStats| block.grpc.overflow() > 0),
            }]
        }
    };
}

rows! {
    0 "0",
    1 "1",
    2 "2",
    3 "3",
    4 "4",
    5 "5",
    6 "6",
    7 "7",
    8 "8",
    9 "9",
    10 "10",
    11 "11",
    12 "12",
    13 "13",
    14 "14",
    15 "15",
    16 "16",
    17 "success",
    18 "failure",
    19 "total",
    20 "request_message_count",
    21 "response_message_count",
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Block;

    #[test]
    fn each_counter_has_its_row() {
        for (at, row) in rows().iter().take(GrpcStats::ROWS.len()).enumerate() {
            let cluster = ClusterStats::default();
            GrpcStats::ROWS[at].1(cluster.grpc.write()).add(7);
            assert_eq!((row.name.strip_prefix("grpc."), (row.value)(&cluster)), (Some(GrpcStats::ROWS[at].0), 7));
        }
        assert_eq!(rows().len(), GrpcStats::ROWS.len() + 1);
    }

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
