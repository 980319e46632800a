//! Small stable numbers that stand for names.
//!
//! The control client gives each name a number when it first sees it and keeps it for as long as anything refers to
//! the name, over any number of snapshots. That makes a cluster's state on a core one index away, and keeps a route
//! unchanged when the cluster that it names is replaced.

/// The number of a cluster's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub u32);

/// The number of a listener's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u32);

/// The identity of a filter chain within its listener: equal as long as what a connection was accepted under (its
/// match and its transport socket) is equal. The filters themselves may change under the same id: they belong to
/// the request's scope (docs/CONFIG_COMMIT.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(pub u32);
