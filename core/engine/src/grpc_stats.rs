//! The filter `grpc_stats`: what it counts of a call to a cluster, as its bytes pass.
//!
//! It never changes a byte. Ends are counted where an upstream's `grpc-status` is seen, in trailers or in a head (Envoy counts no answer of
//! its own); messages where their first byte is.

use std::sync::Arc;

use ringway_observe::ClusterStats;
use ringway_protocols::grpc::{MessageCounter, Status};
use ringway_protocols::http1::trailer_fields;
use ringway_protocols::is_same_name;

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToCluster,
    FromCluster,
}

/// Counts one direction of a call.
#[derive(Debug)]
pub(crate) struct Meter {
    stats: Arc<ClusterStats>,
    counter: MessageCounter,
    direction: Direction,
}

impl Meter {
    pub(crate) fn new(stats: &Arc<ClusterStats>, direction: Direction) -> Self {
        Self { stats: Arc::clone(stats), counter: MessageCounter::default(), direction }
    }

    /// Content went by.
    pub(crate) fn content(&mut self, content: &[u8]) {
        let began = self.counter.feed(content);
        if began > 0 {
            let stats = self.stats.grpc.write();
            match self.direction {
                Direction::ToCluster => &stats.request_message_count,
                Direction::FromCluster => &stats.response_message_count,
            }
            .add(began);
        }
    }

    /// A trailer section went by that says this.
    pub(crate) fn end(&self, status: Option<&[u8]>) {
        if self.direction == Direction::FromCluster {
            count_end(&self.stats, status);
        }
    }
}

/// The `grpc-status` of a trailer section.
pub(crate) fn status_in(section: &[u8]) -> Option<&[u8]> {
    trailer_fields(section).find(|(name, _)| is_same_name(name, b"grpc-status")).map(|(_, value)| value)
}

/// Counts the end of a call by its `grpc-status`, if one was seen.
pub(crate) fn count_end(stats: &ClusterStats, status: Option<&[u8]>) {
    if let Some(value) = status {
        stats.grpc.write().count(Status::parse(value).map(Status::number));
    }
}
