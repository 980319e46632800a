//! What a source brought the cache, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::{ConfigSource, Kind, Scope, Verdict};
use crate::problem::Problem;

/// A file that was read, or a response that came.
#[derive(Debug)]
pub struct Brought {
    /// Of whom.
    pub source: Arc<ConfigSource>,
    /// Which resources it has.
    pub kind: Kind,
    /// What became of it.
    pub outcome: Result<Verdict, Failure>,
    /// Whose statistics count the attempt.
    pub scopes: Vec<Scope>,
    /// How long it took to take it in; of what could not be read, nothing.
    pub took: Duration,
}

/// What nothing could be used of.
#[derive(Debug)]
pub struct Failure {
    /// All that is wrong.
    pub problems: Vec<Problem>,
    /// Whose statistics count it.
    pub scopes: Vec<Scope>,
}
