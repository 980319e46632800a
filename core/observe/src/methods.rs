//! The methods of gRPC that were called on a cluster, each with its numbers: `cluster.<name>.grpc.<service>.<method>.`.
//!
//! One worker adds to the table and finds in it without a lock and, once a method is known, without memory of its own; any thread may read it
//! meanwhile: places are filled once and never emptied. Clients may invent methods, so that there is room for [`METHODS_MAX`] of them, and for
//! none whose name is longer than [`METHOD_BYTES_MAX`] or has odd bytes in it. Invariant: a name stands once.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ringway_model::{METHOD_BYTES_MAX, METHODS_MAX};

use crate::grpc::{GrpcStats, RowOf};
use crate::{Counter, Distribution};

/// Places of the first step of a look-up: four names each when the table is full. 4 KiB.
const BUCKETS: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Methods {
    buckets: [OnceLock<Box<Method>>; BUCKETS],
    count: Counter,
    /// Calls of methods that had no room.
    pub(crate) overflow: Counter,
}

impl Default for Methods {
    fn default() -> Self {
        Self { buckets: [const { OnceLock::new() }; BUCKETS], count: Counter::new(), overflow: Counter::new() }
    }
}

/// One method.
#[derive(Debug)]
pub(crate) struct Method {
    hash: u64,
    service: Box<str>,
    method: Box<str>,
    stats: Arc<GrpcStats>,
    next: OnceLock<Box<Method>>,
}

impl Method {
    /// Those that share a bucket.
    fn chain(first: &OnceLock<Box<Method>>) -> impl Iterator<Item = &Method> {
        std::iter::successors(first.get().map(|method| &**method), |method| method.next.get().map(|next| &**next))
    }
}

impl Methods {
    /// The numbers of this method; `None`: it has no room. `replaces_dots`: those of the service are written `_`. For the one writer.
    pub(crate) fn find(&self, service: &[u8], method: &[u8], replaces_dots: bool) -> Option<&Arc<GrpcStats>> {
        let shown = |byte: u8| if replaces_dots && byte == b'.' { b'_' } else { byte };
        let service_bytes = || service.iter().map(|&byte| shown(byte));
        let bytes = service_bytes().chain([b'/']).chain(method.iter().copied());
        // FNV-1a: names are short, and a chain is bounded whoever chose them.
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut place = &self.buckets[(hash ^ hash >> 32) as usize % BUCKETS];
        while let Some(known) = place.get() {
            if known.hash == hash && known.method.as_bytes() == method && known.service.bytes().eq(service_bytes()) {
                return Some(&known.stats);
            }
            place = &known.next;
        }
        let is_name = |name: &[u8]| !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        let is_short = service.len() + method.len() <= METHOD_BYTES_MAX;
        if self.count.value() >= METHODS_MAX as u64 || !is_short || !is_name(service) || !is_name(method) {
            self.overflow.add(1);
            return None;
        }
        self.count.add(1);
        let new = || {
            Box::new(Method {
                hash,
                service: service_bytes().map(char::from).collect(),
                method: method.iter().copied().map(char::from).collect(),
                stats: Arc::default(),
                next: OnceLock::new(),
            })
        };
        Some(&place.get_or_init(new).stats)
    }

    fn iter(&self) -> impl Iterator<Item = &Method> {
        self.buckets.iter().flat_map(Method::chain)
    }

    /// What the counters of each method are, by its name.
    pub(crate) fn counts(&self) -> MethodCounts {
        let mut counts = MethodCounts::new();
        for Method { service, method, stats, .. } in self.iter() {
            let sums = counts.entry(format!("{service}.{method}")).or_insert_with(|| vec![0; GrpcStats::ROWS.len()]);
            sums.iter_mut().zip(GrpcStats::ROWS).for_each(|(sum, (_, of))| *sum += of(stats).value());
        }
        counts
    }
}

/// Counters by the whole names of methods, each in the order of [`GrpcStats::ROWS`].
pub(crate) type MethodCounts = BTreeMap<String, Vec<u64>>;

/// One method, of all blocks of a cluster.
#[derive(Debug)]
pub(crate) struct MethodOf<'e> {
    pub(crate) service: &'e str,
    pub(crate) method: &'e str,
    stats: Vec<&'e GrpcStats>,
    /// What is taken off, by row.
    base: Vec<&'e [u64]>,
}

impl<'e> MethodOf<'e> {
    /// The methods of these tables, each with what is taken off its numbers, by their whole names: service, `.`, method.
    pub(crate) fn all(tables: impl Iterator<Item = (&'e Methods, Option<&'e MethodCounts>)>) -> BTreeMap<String, Self> {
        let mut all = BTreeMap::new();
        for (methods, counts) in tables {
            for Method { service, method, stats, .. } in methods.iter() {
                let name = format!("{service}.{method}");
                let one = all.entry(name).or_insert_with(|| Self { service, method, stats: vec![], base: vec![] });
                one.stats.push(&**stats);
            }
            for (name, base) in counts.into_iter().flatten() {
                if let Some(one) = all.get_mut(name) {
                    one.base.push(base);
                }
            }
        }
        all
    }

    /// The number of this row, if there ever was one.
    pub(crate) fn value(&self, at: usize, of: RowOf) -> Option<u64> {
        let sum: u64 = self.stats.iter().map(|stats| of(stats).value()).sum();
        let base: u64 = self.base.iter().map(|base| base[at]).sum();
        (sum > 0).then(|| sum.saturating_sub(base))
    }

    pub(crate) fn add_times(&self, to: &mut Distribution) {
        self.stats.iter().for_each(|stats| to.add(&stats.upstream_rq_time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_found_again_under_its_name() {
        let methods = Methods::default();
        let count = |service: &str, method: &str, replaces_dots| {
            let stats = methods.find(service.as_bytes(), method.as_bytes(), replaces_dots).expect("there is room");
            stats.count(Some(0));
        };
        count("a.B", "C", false);
        count("a.B", "C", false);
        count("a.B", "C", true);
        count("a_B", "C", false);
        count("a", "B.C", false);
        let counts = methods.counts();
        let totals: Vec<_> = counts.iter().map(|(name, counts)| (name.as_str(), counts[0])).collect();
        // Two that are spelled alike are one to whom reads.
        assert_eq!(methods.iter().count(), 3);
        assert_eq!(totals.len(), 2);
        assert!(totals.contains(&("a_B.C", 2)), "{totals:?}");
    }

    #[test]
    fn there_is_room_for_so_many_and_for_no_odd_ones() {
        let methods = Methods::default();
        let long = vec![b'x'; METHOD_BYTES_MAX];
        for odd in [&long[..], b"", b"a b", b"a\n", "\u{e9}".as_bytes()] {
            assert!(methods.find(b"s", odd, false).is_none() && methods.find(odd, b"m", false).is_none());
        }
        assert!(methods.find(b"", &long, false).is_none(), "no service");
        assert!(methods.find(b"s", &long[1..], false).is_some());
        let overflow = methods.overflow.value();
        for number in 0..2 * METHODS_MAX {
            let found = methods.find(b"s", number.to_string().as_bytes(), false);
            assert_eq!(found.is_some(), number + 1 < METHODS_MAX, "{number}");
        }
        assert!(methods.find(b"s", b"7", false).is_some(), "who is known stays");
        assert_eq!((methods.iter().count(), methods.count.value() as usize), (METHODS_MAX, METHODS_MAX));
        assert_eq!(methods.overflow.value() - overflow, METHODS_MAX as u64 + 1);
        // Names are spread: no chain is long.
        let longest = methods.buckets.iter().map(|first| Method::chain(first).count());
        assert!(longest.max() < Some(16));
    }
}
