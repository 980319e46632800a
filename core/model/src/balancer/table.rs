//! Which endpoint a hash stands for: a table, built once for the endpoints that one part of the load may go to.
//!
//! The same endpoints and the same configuration give Envoy's own table, entry for entry, so that a fleet of both kinds sends a key to one
//! endpoint. An endpoint that comes or goes moves about its own share of the keys.
//!
//! Invariant: a table's entries are positions of endpoints that it was built from.

use super::maglev;
use super::ring::Ring;
use super::table_size::TableSize;
use super::weighed::Weighed;
use crate::LbPolicy;

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    kind: Kind,
    pub(super) size: TableSize,
}

#[derive(Debug)]
enum Kind {
    Ring(Ring),
    /// Positions, by the rest of the hash.
    Maglev(Box<[u32]>),
}

impl Table {
    /// The table of these endpoints, of which there is at least one.
    pub(super) fn new(policy: &LbPolicy, endpoints: Vec<Weighed>) -> Table {
        assert!(!endpoints.is_empty(), "a table is somebody's");
        match policy {
            LbPolicy::RingHash(rule) => {
                let (ring, size) = Ring::new(rule, &endpoints);
                Table { kind: Kind::Ring(ring), size }
            }
            LbPolicy::Maglev(rule) => {
                let (positions, size) = maglev::fill(rule.table_size, endpoints);
                Table { kind: Kind::Maglev(positions), size }
            }
            LbPolicy::RoundRobin | LbPolicy::Random | LbPolicy::LeastRequest(_) => unreachable!("it has no table"),
        }
    }

    /// The endpoint of a hash; of the next `attempt`, where the first was not wanted, another, most of the time. `None`: the ring is to have
    /// no entries.
    #[inline]
    pub(super) fn at(&self, hash: u64, attempt: u32) -> Option<u32> {
        match &self.kind {
            Kind::Ring(ring) => ring.at(hash, attempt),
            Kind::Maglev(positions) => {
                Some(positions[(maglev::varied(hash, attempt) % positions.len() as u64) as usize])
            }
        }
    }
}
