//! Whom a hash leads to: Envoy's own choice, even shares, and few that change.

use std::sync::Arc;

use super::tests::{Chance, endpoints};
use super::*;
use crate::hash::xx_hash;
use crate::{HashFunction, Maglev, RingHash};

const RING: LbPolicy = LbPolicy::RingHash(RingHash {
    size_min: 1024,
    size_max: 8 << 20,
    function: HashFunction::XxHash,
    by_hostname: false,
});
const MAGLEV: LbPolicy = LbPolicy::Maglev(Maglev { table_size: 65_537, by_hostname: false });

fn by(policy: LbPolicy) -> LoadBalancing {
    LoadBalancing { policy, ..LoadBalancing::default() }
}

fn picks(balancer: &Balancer, keys: u64) -> Vec<Option<usize>> {
    (0..keys).map(|key| balancer.pick_by_hash(xx_hash(&key.to_be_bytes(), 0), 0).position).collect()
}

/// How many of 10,000 keys lead to each endpoint.
fn counts(config: &LoadBalancing, words: &str) -> Vec<usize> {
    let list = endpoints(words);
    let mut counts = vec![0; list.len()];
    picks(&Balancer::new(config.clone(), &list), 10_000).into_iter().flatten().for_each(|at| counts[at] += 1);
    counts
}

/// These shares, within so many percent of each.
#[track_caller]
fn check(config: &LoadBalancing, words: &str, expect: &[usize], percent: usize) {
    let counts = counts(config, words);
    let (all, sum) = (counts.iter().sum::<usize>(), expect.iter().sum::<usize>());
    let is_near =
        |(count, part): (&usize, &usize)| count.abs_diff(all * part / sum) * 100 <= all * part / sum * percent;
    assert!(counts.iter().zip(expect).all(is_near), "{words}: {counts:?} are not {expect:?}");
}

#[test]
fn keys_are_shared_out_by_weight() {
    for (policy, percent) in [(RING, 30), (MAGLEV, 10)] {
        let plain = by(policy);
        check(&plain, "1 1 1 1", &[1, 1, 1, 1], percent);
        check(&plain, "1 2 3 4", &[1, 2, 3, 4], percent);
        check(&plain, "1 0 1u 3".replace('0', "1").as_str(), &[1, 1, 0, 3], percent);
        // Panic.
        check(&plain, "1 1u 1u 1u", &[1, 1, 1, 1], percent);
        // 1 of 2: 70 %.
        check(&plain, "1 1u 1P1 1P1", &[70, 0, 15, 15], percent);
        // The degraded have no part but where nobody else is left.
        check(&plain, "1 1d 1d", &[1, 0, 0], 0);
        check(&plain, "1d 1d 1u", &[1, 1, 0], percent);
    }
}

#[test]
fn localities_have_their_parts_whatever_their_health() {
    let zone = |name: &str| Some(Arc::new(Locality { zone: name.into(), ..Locality::default() }));
    let weights = Some(vec![(0, zone("a"), 1), (0, zone("b"), 3)]);
    let config = LoadBalancing { locality_weights: weights, ..by(MAGLEV) };
    check(&config, "1@a 1@a 1@b", &[1, 1, 6], 10);
    check(&config, "1@a 1@b 1u@b", &[1, 3, 0], 10);
    check(&config, "1u@a 1u@a 1@b", &[1, 1, 6], 10);
    check(&config, "1@a 1@c", &[1, 0], 0);
    check(&config, "1u@a 1@c", &[0, 1], 0);
}

/// One of twenty comes or goes: about its share of the keys moves, and no other to speak of.
#[test]
fn a_change_of_one_endpoint_moves_its_share() {
    let twenty = endpoints(&["1"; 20].join(" "));
    for (policy, others_max) in [(RING, 500), (MAGLEV, 300)] {
        let all = picks(&Balancer::new(by(policy), &twenty), 10_000);
        let without = [&twenty[..7], &twenty[8..]].concat();
        let left = picks(&Balancer::new(by(policy), &without), 10_000);
        let (mut moved, mut others) = (0, 0);
        for (all, left) in all.iter().zip(&left) {
            let left = left.map(|at| if at < 7 { at } else { at + 1 });
            match all == &Some(7) {
                true => moved += 1,
                false => others += usize::from(*all != left),
            }
        }
        assert!((300..700).contains(&moved), "{policy:?}: {moved}");
        assert!(others <= others_max, "{policy:?}: {others}");
    }
}

#[test]
fn another_attempt_finds_another() {
    for policy in [RING, MAGLEV] {
        let balancer = Balancer::new(by(policy), &endpoints("1 1 1 1"));
        let is_other = |hash: &u64| {
            let at = |attempt| balancer.pick_by_hash(*hash, attempt).position;
            (1..5).any(|attempt| at(attempt) != at(0))
        };
        let mut chance = Chance::new(1);
        let hashes: Vec<u64> = (0..1000).map(|_| chance.next()).collect();
        assert!(hashes.iter().filter(|hash| is_other(hash)).count() > 980);
        // The same at each time.
        assert!(hashes.iter().all(|hash| balancer.pick_by_hash(*hash, 3) == balancer.pick_by_hash(*hash, 3)));
    }
}

#[test]
fn without_a_hash_it_is_anybody() {
    for policy in [RING, MAGLEV] {
        let balancer = Balancer::new(by(policy), &endpoints("1 1 1"));
        let mut chance = Chance::new(4);
        let mut wheels = balancer.wheels(&mut || chance.next());
        let mut seen = [0; 3];
        (0..300).for_each(|_| seen[balancer.pick(&mut wheels, &mut || chance.next(), &|_| 0).position.unwrap()] += 1);
        assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
    }
}

#[test]
fn nobody_is_picked_where_nobody_may_be() {
    for policy in [RING, MAGLEV] {
        let none = |config: LoadBalancing, words| Balancer::new(config, &endpoints(words)).pick_by_hash(7, 0);
        assert_eq!(none(by(policy), ""), Pick { position: None, is_panic: false });
        let never = LoadBalancing { panic_threshold: 0, ..by(policy) };
        assert_eq!(none(never, "1u 1x"), Pick { position: None, is_panic: false });
        // As in Envoy panic is for all, whatever else is said.
        let fails = LoadBalancing { fail_traffic_on_panic: true, ..by(policy) };
        let found = none(fails, "1u 1u");
        assert!(found.position.is_some() && found.is_panic);
    }
    let empty = RingHash { size_min: 0, ..RingHash::default() };
    assert_eq!(Balancer::new(by(LbPolicy::RingHash(empty)), &endpoints("1 1")).pick_by_hash(7, 0).position, None);
}

/// Envoy's own numbers (`ring_hash_lb.*`, `maglev_lb.*` of 1.40).
#[test]
fn tables_are_as_large_as_envoys() {
    let size = |policy, words| Balancer::new(by(policy), &endpoints(words)).table_size().expect("a table");
    let ring = |min, max| LbPolicy::RingHash(RingHash { size_min: min, size_max: max, ..RingHash::default() });
    for (policy, words, expect) in [
        (RING, "1", [1024, 1024, 1024]),
        (RING, "1 1 1", [1026, 342, 342]),
        (RING, "1 2 3 4", [1030, 103, 412]),
        (ring(4, 6), "1 1 1 1", [4, 1, 1]),
        (ring(6, 6), "1 1 1 1", [6, 1, 2]),
        (MAGLEV, "1 1 1", [65_537, 21_845, 21_846]),
        (MAGLEV, "1 2 3 4", [65_537, 6554, 26_214]),
        (MAGLEV, "1 1u 1u 2u", [65_537, 13_108, 26_213]),
    ] {
        let TableSize { entries, per_endpoint_min, per_endpoint_max } = size(policy, words);
        assert_eq!([entries, per_endpoint_min, per_endpoint_max], expect, "{policy:?} {words}");
    }
}

/// What Envoy 1.40 makes of the keys `key-0` to `key-63`, `hash_policy` being a header: endpoints by their digits.
#[test]
fn the_choice_is_envoys() {
    let ring = |min, max, function| {
        LbPolicy::RingHash(RingHash { size_min: min, size_max: max, function, ..RingHash::default() })
    };
    let zone = |name: &str| Some(Arc::new(Locality { zone: name.into(), ..Locality::default() }));
    let zones =
        |policy| LoadBalancing { locality_weights: Some(vec![(0, zone("b"), 3), (0, zone("a"), 1)]), ..by(policy) };
    let (xx, murmur) = (HashFunction::XxHash, HashFunction::MurmurHash2);
    let small = LbPolicy::Maglev(Maglev { table_size: 7, by_hostname: false });
    for (config, words, expect) in [
        (by(RING), "1 1 1", "1202101210120002210012112112210202020100220110101210021111101201"),
        (by(RING), "1 2 3 4", "3332322333123012233133333132213302333331220213103333333113132231"),
        (by(ring(4, 6, xx)), "1 1 1 1", "1110001111111111110101111111111111111011110111110111031103111111"),
        (by(ring(6, 6, xx)), "1 1 1 1", "1010000111011110010101001010111010101000110010110010031103011111"),
        (by(ring(100, 1000, murmur)), "1 1 2 3 1", "2321104332334233341231301341240123434114243221242344124412303244"),
        (zones(RING), "1@b 2@a 1u@b 3@b 1@c", "3333331313133311333333333333013301033330110310103333333113330331"),
        (by(RING), "1 1u 1P1 1P1", "0300000003000300200033000002020300003030000300000300000000330000"),
        (by(MAGLEV), "1 1 1", "0111200202202002120121201122102021102020121121020101222101110002"),
        (by(MAGLEV), "1 2 3 4", "3121332333332203123123231122222333132220331121020133223321110302"),
        (by(small), "1 2 1", "1010112221222010111212122012102202101110011102211011200022210112"),
        (zones(MAGLEV), "1@b 2@a 1u@b 3@b 1@c", "3111330333333003130133131113103333133030331111010133333301110300"),
        (by(MAGLEV), "1 1u 1P1 1P1", "0300000003000200200023000002020300002020000300000200000000220000"),
        (by(MAGLEV), "1 1u 1u 2u", "3111330333303003120123231122102333132020331121020133223301110302"),
    ] {
        let balancer = Balancer::new(config, &endpoints(words));
        let pick = |key: u64| balancer.pick_by_hash(xx_hash(format!("key-{key}").as_bytes(), 0), 0).position;
        let found: String = (0..64).map(|key| pick(key).expect("somebody").to_string()).collect();
        assert_eq!(found, expect, "{words}");
    }
}

/// What is the same is built once.
#[test]
fn tables_outlive_what_does_not_touch_them() {
    let list = endpoints("1 1 1u");
    let before = Balancer::new(by(MAGLEV), &list);
    let mut same = Balancer::draft(LoadBalancing { panic_threshold: 10, ..by(MAGLEV) }, &list);
    same.complete(&list, Some(&before));
    assert!(Arc::ptr_eq(&before.tables.built[0], &same.tables.built[0]));
    let mut other = Balancer::draft(by(RING), &list);
    other.complete(&list, Some(&before));
    assert!(other.tables.built[0].size != before.tables.built[0].size);
    assert_eq!(Balancer::draft(by(MAGLEV), &list), before);
}
