//! A ring of hashes (ketama): each endpoint has many points on it, and a key belongs to the first one at or behind its own hash.

use super::table_size::TableSize;
use super::weighed::Weighed;
use crate::hash::{murmur_hash, xx_hash};
use crate::{HashFunction, RingHash};

/// The points in order. Hashes lie apart from positions: the search looks at hashes alone.
#[derive(Debug)]
pub(super) struct Ring {
    hashes: Box<[u64]>,
    positions: Box<[u32]>,
}

impl Ring {
    pub(super) fn new(rule: &RingHash, endpoints: &[Weighed]) -> (Ring, TableSize) {
        let least = endpoints.iter().map(|endpoint| endpoint.weight).fold(1.0, f64::min);
        // So many points that the endpoint of least weight has a whole number of them, as far as the ring may grow.
        let scale = ((least * rule.size_min as f64).ceil() / least).min(rule.size_max as f64);
        let size = scale.ceil() as u64;
        let mut points: Vec<(u64, u32)> = Vec::with_capacity(size as usize);
        let mut counts = Vec::with_capacity(endpoints.len());
        // What is no whole number is carried over from each endpoint to the next.
        let mut wanted = 0.0;
        let mut name = Vec::new();
        for endpoint in endpoints {
            wanted += scale * endpoint.weight;
            name.clear();
            name.extend_from_slice(endpoint.key.as_bytes());
            name.push(b'_');
            let own = name.len();
            let before = points.len();
            while (points.len() as f64) < wanted {
                name.truncate(own);
                put_decimal(points.len() - before, &mut name);
                let hash = match rule.function {
                    HashFunction::XxHash => xx_hash(&name, 0),
                    HashFunction::MurmurHash2 => murmur_hash(&name),
                };
                points.push((hash, endpoint.position));
            }
            counts.push((points.len() - before) as u64);
        }
        points.sort_by_key(|(hash, _)| *hash);
        let (hashes, positions): (Vec<u64>, Vec<u32>) = points.into_iter().unzip();
        (Ring { hashes: hashes.into(), positions: positions.into() }, TableSize::of(size, counts.into_iter()))
    }

    #[inline]
    pub(super) fn at(&self, hash: u64, attempt: u32) -> Option<u32> {
        let at = self.hashes.partition_point(|point| *point < hash);
        // Behind the last point comes the first; each further attempt is one point on.
        let at = if at == self.hashes.len() { 0 } else { at };
        self.positions.get((at + attempt as usize) % self.positions.len().max(1)).copied()
    }
}

fn put_decimal(number: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
