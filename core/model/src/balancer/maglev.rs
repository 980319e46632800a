//! A table of the Maglev kind (Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, §3.4):
//! each endpoint prefers the places of the table in an order of its own, and they take turns by weight until it is full.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::table_size::TableSize;
use super::weighed::Weighed;
use crate::hash::xx_hash;

/// An endpoint on its way through the places that it prefers.
struct Preference {
    position: u32,
    place: u64,
    skip: u64,
    weight: f64,
    /// It has its turn in rounds that, times its weight, are at least this.
    due: f64,
    count: u64,
}

/// Who is in each of `size` places, a prime number of them.
pub(super) fn fill(size: u32, mut endpoints: Vec<Weighed>) -> (Box<[u32]>, TableSize) {
    const FREE: u32 = u32::MAX;
    let places = u64::from(size);
    assert!(places > 1, "a prime number");
    // Whatever order they come in.
    endpoints.sort_by(|one, other| one.key.cmp(&other.key));
    let most = endpoints.iter().map(|endpoint| endpoint.weight).fold(0.0, f64::max);
    let preference = |endpoint: &Weighed| Preference {
        position: endpoint.position,
        place: xx_hash(endpoint.key.as_bytes(), 0) % places,
        skip: xx_hash(endpoint.key.as_bytes(), 1) % (places - 1) + 1,
        weight: endpoint.weight,
        due: 0.0,
        count: 0,
    };
    let mut all: Vec<Preference> = endpoints.iter().map(preference).collect();
    let mut table = vec![FREE; size as usize];
    let mut left = places;
    // Who has a turn in which round: the heaviest in each. Looking for the next round of each endpoint, rather than at each endpoint in
    // each round, makes one table cost no more than another.
    let mut turns: BinaryHeap<Reverse<(u64, usize)>> = (0..all.len()).map(|index| Reverse((1, index))).collect();
    while left > 0 {
        let Some(Reverse((round, index))) = turns.pop() else { unreachable!("each turn is followed by one") };
        let entry = &mut all[index];
        entry.due += most;
        while table[entry.place as usize] != FREE {
            entry.place = (entry.place + entry.skip) % places;
        }
        table[entry.place as usize] = entry.position;
        entry.place = (entry.place + entry.skip) % places;
        entry.count += 1;
        left -= 1;
        turns.push(Reverse((round_due(entry, round + 1), index)));
    }
    (table.into(), TableSize::of(places, all.iter().map(|entry| entry.count)))
}

/// The first round from this one on in which an endpoint has its turn, by the very comparison that Envoy makes in each round.
fn round_due(entry: &Preference, from: u64) -> u64 {
    let is_due = |round: u64| round as f64 * entry.weight >= entry.due;
    let mut round = ((entry.due / entry.weight) as u64).saturating_sub(1).max(from);
    while !is_due(round) {
        round += 1;
    }
    round
}

/// The hash for another attempt: with most of its bits the other way round.
#[inline]
pub(super) fn varied(hash: u64, attempt: u32) -> u64 {
    hash ^ u64::from(attempt).wrapping_neg()
}
