//! How large a table is.

/// Envoy's `ring_hash_lb.*` and `maglev_lb.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Entries.
    pub entries: u64,
    /// Entries of the endpoint that has the fewest.
    pub per_endpoint_min: u64,
    /// Entries of the endpoint that has most.
    pub per_endpoint_max: u64,
}

impl TableSize {
    pub(super) fn of(entries: u64, per_endpoint: impl Iterator<Item = u64> + Clone) -> Self {
        let (min, max) = (per_endpoint.clone().min(), per_endpoint.max());
        Self { entries, per_endpoint_min: min.unwrap_or(0), per_endpoint_max: max.unwrap_or(0) }
    }
}
