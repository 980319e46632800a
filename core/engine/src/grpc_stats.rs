//! The filter `grpc_stats`: what it counts of a call to a cluster, as its bytes pass.
//!
//! It never changes a byte. Ends are counted where an upstream's `grpc-status` is seen, in trailers or in a head (Envoy counts no answer of
//! its own); messages where their first byte is.

use std::sync::Arc;

use ringway_model::{CountedMethods, GrpcStatsRules};
use ringway_observe::{ClusterStats, GrpcStats};
use ringway_protocols::grpc::{self, MessageCounter, Status};
use ringway_protocols::http1::trailer_fields;
use ringway_protocols::is_same_name;

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToCluster,
    FromCluster,
}

/// Where a call to this cluster is counted, by its path. `None`: it names no method, and is not counted (Envoy).
pub(crate) fn of(rules: &GrpcStatsRules, cluster: &ClusterStats, path: &[u8]) -> Option<Arc<GrpcStats>> {
    let (service, method) = grpc::service_and_method(path)?;
    let stats = match &rules.methods {
        CountedMethods::All { replaces_dots } => cluster.grpc.write_method(service, method, *replaces_dots),
        CountedMethods::Listed(list) if list.has(service, method) => cluster.grpc.write_method(service, method, false),
        CountedMethods::Listed(_) | CountedMethods::None => cluster.grpc.write(),
    };
    Some(Arc::clone(stats))
}

/// Counts one direction of a call.
#[derive(Debug)]
pub(crate) struct Meter {
    stats: Arc<GrpcStats>,
    counter: MessageCounter,
    direction: Direction,
    /// Trailers have gone by.
    is_ended: bool,
}

impl Meter {
    pub(crate) fn new(stats: &Arc<GrpcStats>, direction: Direction) -> Self {
        Self { stats: Arc::clone(stats), counter: MessageCounter::default(), direction, is_ended: false }
    }

    /// Whether trailers have gone by.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Content went by.
    pub(crate) fn content(&mut self, content: &[u8]) {
        let began = self.counter.feed(content);
        if began > 0 {
            match self.direction {
                Direction::ToCluster => &self.stats.request_message_count,
                Direction::FromCluster => &self.stats.response_message_count,
            }
            .add(began);
        }
    }

    /// A trailer section went by that says this.
    pub(crate) fn end(&mut self, status: Option<&[u8]>) {
        self.is_ended = true;
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
pub(crate) fn count_end(stats: &GrpcStats, status: Option<&[u8]>) {
    if let Some(value) = status {
        stats.count(Status::parse(value).map(Status::number));
    }
}
