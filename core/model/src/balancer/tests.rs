//! Who is picked, and how often: by seed, within bounds that a wrong balancer does not keep.

use std::cell::Cell;
use std::sync::Arc;

use super::*;
use crate::{CHOICES, Placement};

/// SplitMix64 (Steele, Lea, Flood 2014), counting how often it is asked.
pub(super) struct Chance {
    state: u64,
    pub(super) asked: u64,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, asked: 0 }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.asked += 1;
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

fn zone(name: &str) -> Option<Arc<Locality>> {
    (!name.is_empty()).then(|| Arc::new(Locality { zone: name.into(), ..Locality::default() }))
}

/// Endpoints as words: a weight, and behind it `@zone`, `P` and a priority, `u`, `d`, `x` for unhealthy, degraded, draining.
pub(super) fn endpoints(text: &str) -> Vec<Endpoint> {
    let endpoint = |(position, word): (usize, &str)| {
        let (word, locality) = word.split_once('@').unwrap_or((word, ""));
        let (word, priority) = word.split_once('P').unwrap_or((word, "0"));
        let health = match word.trim_start_matches(|letter: char| letter.is_ascii_digit()) {
            "" => HealthStatus::Healthy,
            "u" => HealthStatus::Unhealthy,
            "d" => HealthStatus::Degraded,
            "x" => HealthStatus::Draining,
            other => panic!("{other}"),
        };
        let weight = word.trim_end_matches(|letter: char| !letter.is_ascii_digit()).parse().expect("a weight");
        let priority = priority.parse().expect("a priority");
        let placement = Placement { weight, health, priority, locality: zone(locality), ..Placement::default() };
        Endpoint {
            address: ([127, 0, 0, 1], position as u16 + 1).into(),
            attempts: Vec::new(),
            hostname: String::new(),
            placement,
            transport: 0,
        }
    };
    text.split_whitespace().enumerate().map(endpoint).collect()
}

const LEAST: LbPolicy =
    LbPolicy::LeastRequest(LeastRequest { selection: Selection::Choices(CHOICES), active_request_bias: 1.0 });

fn by(policy: LbPolicy) -> LoadBalancing {
    LoadBalancing { policy, ..LoadBalancing::default() }
}

/// How often each endpoint is picked, and how many picks found none.
fn counts(config: &LoadBalancing, words: &str, picks: u32) -> (Vec<u32>, u32) {
    let list = endpoints(words);
    let balancer = Balancer::new(config.clone(), &list);
    let mut chance = Chance::new(7);
    let mut wheels = balancer.wheels(&mut || chance.next());
    let (mut counts, mut none) = (vec![0; list.len()], 0);
    for _ in 0..picks {
        match balancer.pick(&mut wheels, &mut || chance.next(), &|_| 0).position {
            Some(position) => counts[position] += 1,
            None => none += 1,
        }
    }
    (counts, none)
}

/// Exactly these shares of 1,000 picks, but for the last period, which is not whole.
#[track_caller]
fn check_exact(config: &LoadBalancing, words: &str, expect: &[u32]) {
    let (counts, none) = counts(config, words, 1000);
    let sum: u32 = expect.iter().sum();
    let near = |(count, part): (&u32, &u32)| {
        (f64::from(*count) - 1000.0 * f64::from(*part) / f64::from(sum)).abs() < expect.len() as f64
    };
    assert!(counts.iter().zip(expect).all(near), "{words}: {counts:?}, not {expect:?}");
    assert_eq!((none, counts.len()), (0, expect.len()));
}

/// Pearson's chi-square of 60,000 picks against these shares. Beyond 27.9 one seed in a thousand would be with 9 degrees of freedom, and
/// fewer have less; the seed is fixed, so that the test cannot fail by chance.
#[track_caller]
fn check_chance(config: &LoadBalancing, words: &str, expect: &[u32]) {
    const PICKS: u32 = 60_000;
    let (counts, none) = counts(config, words, PICKS);
    let sum: u32 = expect.iter().sum();
    let mut square = 0.0;
    for (count, part) in counts.iter().zip(expect) {
        let wanted = f64::from(PICKS) * f64::from(*part) / f64::from(sum);
        assert!(*part > 0 || *count == 0, "{words}: {counts:?}");
        square += if *part == 0 { 0.0 } else { (f64::from(*count) - wanted).powi(2) / wanted };
    }
    assert!(square < 27.9 && none == 0, "{words}: {counts:?} are not {expect:?}: {square}");
}

#[test]
fn round_robin_is_exact() {
    let turns = by(LbPolicy::RoundRobin);
    check_exact(&turns, "1 1 1", &[1, 1, 1]);
    check_exact(&turns, "5 5", &[1, 1]);
    check_exact(&turns, "1 2 3", &[1, 2, 3]);
    check_exact(&turns, "100 1 1 1", &[100, 1, 1, 1]);
    check_exact(&turns, "1 2u 3 4", &[1, 0, 3, 4]);
    check_exact(&turns, "1 1u 1", &[1, 0, 1]);
    check_exact(&turns, "1 1x 1u 1 1", &[1, 0, 0, 1, 1]);
    check_exact(&turns, "1u 1u 1", &[1, 1, 1]); // panic
    check_exact(&turns, "4u 2u 1", &[4, 2, 1]);
    check_exact(&turns, "1u 1u 3d 1d", &[0, 0, 3, 1]);
    check_exact(&turns, "1 1P1", &[1, 0]);
    check_exact(&turns, "1u 1P1", &[0, 1]);
    check_exact(&turns, "1P3", &[1]);
}

#[test]
fn what_chance_decides_is_as_likely_as_it_should_be() {
    for policy in [LbPolicy::Random, LEAST] {
        check_chance(&by(policy), "1 1 1 1 1 1 1 1 1 1", &[1; 10]);
        check_chance(&by(policy), "1 1u 1 1d", &[35, 0, 35, 30]);
    }
    // RANDOM has no weights.
    check_chance(&by(LbPolicy::Random), "1 5 9", &[1, 1, 1]);
    for policy in [LbPolicy::RoundRobin, LbPolicy::Random, LEAST] {
        // 1 of 2 healthy: 70; the other priority takes the rest.
        check_chance(&by(policy), "1 1u 1P1 1P1", &[70, 0, 15, 15]);
        // 2 of the 3 that count: 93; the degraded one takes the rest.
        check_chance(&by(policy), "1 1x 1d 1", &[93, 0, 14, 93]);
        // 1 of 4: 35 for the healthy; 2 of 4 are degraded and take 65 at most 70.
        check_chance(&by(policy), "1 1d 1d 1u", &[70, 65, 65, 0]);
        // All in panic: load by heads.
        check_chance(&by(policy), "1u 1u 1uP1 1uP1", &[25, 25, 25, 25]);
    }
    let scan = LeastRequest { selection: Selection::FullScan, ..LeastRequest::default() };
    check_chance(&by(LbPolicy::LeastRequest(scan)), "1 1 1", &[1, 1, 1]);
}

#[test]
fn localities_share_by_weight_and_health() {
    let weights = |list: &[(u32, &str, u32)]| LoadBalancing {
        locality_weights: Some(list.iter().map(|(priority, name, weight)| (*priority, zone(name), *weight)).collect()),
        ..LoadBalancing::default()
    };
    let plain = weights(&[(0, "a", 1), (0, "b", 3)]);
    check_exact(&plain, "1@a 1@a 1@b", &[1, 1, 6]);
    // Of b half is healthy: 3 x 0.7.
    check_exact(&plain, "1@a 1@b 1u@b", &[100, 210, 0]);
    check_exact(&plain, "1@a 2@b 1@b", &[4, 8, 4]);
    // The last weight of a locality counts; one without a weight has no part.
    check_exact(&weights(&[(0, "a", 9), (0, "a", 1), (0, "b", 1)]), "1@a 1@b 1@c 1", &[1, 1, 0, 0]);
    // None has one: they play no part.
    check_exact(&weights(&[]), "1@a 1@a 1@b", &[1, 1, 1]);
    check_exact(&weights(&[(1, "a", 1)]), "1@a 1@b", &[1, 1]);
    // Nor do they in panic.
    check_exact(&plain, "1u@a 1u@a 1@b", &[1, 1, 1]);
    check_exact(&plain, "1d@a 1d@b", &[1, 3]);
}

#[test]
fn nobody_is_picked_where_nobody_may_be() {
    let none = |config: &LoadBalancing, words| counts(config, words, 10).1;
    let plain = LoadBalancing::default();
    assert_eq!(none(&plain, ""), 10);
    assert_eq!(none(&LoadBalancing { panic_threshold: 0, ..plain.clone() }, "1u 1x"), 10);
    assert_eq!(none(&LoadBalancing { fail_traffic_on_panic: true, ..plain.clone() }, "1u 1u 1"), 10);
    let balancer = Balancer::new(LoadBalancing { fail_traffic_on_panic: true, ..plain }, &endpoints("1u"));
    let pick = balancer.pick(&mut balancer.wheels(&mut || 0), &mut || 0, &|_| 0);
    assert_eq!(pick, Pick { position: None, is_panic: true });
}

/// Endpoint 0 has many requests under way, and is left alone as far as the rule says.
#[test]
fn least_request_goes_where_less_is_under_way() {
    let share = |rule: LeastRequest, words: &str| {
        let list = endpoints(words);
        let balancer = Balancer::new(by(LbPolicy::LeastRequest(rule)), &list);
        let mut chance = Chance::new(3);
        let mut wheels = balancer.wheels(&mut || chance.next());
        let active = |position| if position == 0 { 9 } else { 0 };
        let mut pick = || balancer.pick(&mut wheels, &mut || chance.next(), &active).position;
        // One round in which a wheel that was built with nothing under way learns of it.
        (0..100).for_each(|_| _ = pick());
        (0..10_000).filter(|_| pick() == Some(0)).count()
    };
    let rule = LeastRequest::default();
    // Both choices fall on it: 1 in 16.
    assert!((500..750).contains(&share(rule, "1 1 1 1")), "{}", share(rule, "1 1 1 1"));
    let four = LeastRequest { selection: Selection::Choices(4), ..rule };
    assert!((10..80).contains(&share(four, "1 1 1 1")), "{}", share(four, "1 1 1 1"));
    assert_eq!(share(LeastRequest { selection: Selection::FullScan, ..rule }, "1 1 1 1"), 0);
    // Weights 10 and 20: 10/(9+1) to 20.
    assert!(share(rule, "10 20").abs_diff(10_000 / 21) <= 1);
    let none = LeastRequest { active_request_bias: 0.0, ..rule };
    assert!(share(none, "10 20").abs_diff(3333) <= 1);
    let double = LeastRequest { active_request_bias: 2.0, ..rule };
    assert!(share(double, "100 50").abs_diff(10_000 / 51) <= 1);
}

/// Cores begin at different endpoints: a commit is no stampede to the first one.
#[test]
fn fresh_wheels_begin_anywhere() {
    for words in ["1 1 1 1", "1 2 3 4"] {
        let balancer = Balancer::new(LoadBalancing::default(), &endpoints(words));
        let first = |seed| {
            let mut chance = Chance::new(seed);
            let mut wheels = balancer.wheels(&mut || chance.next());
            balancer.pick(&mut wheels, &mut || 0, &|_| 0).position.expect("there are some")
        };
        let mut seen = [0; 4];
        (0..400).for_each(|seed| seen[first(seed)] += 1);
        assert!(seen.iter().all(|count| *count > 10), "{words}: {seen:?}");
    }
}

/// Over many commits, each after one pick, shares are as if there had been none.
#[test]
fn commits_do_not_disturb_the_shares() {
    for (words, expect) in [("1 1 1", [2000, 2000, 2000]), ("1 2 3", [1000, 2000, 3000])] {
        let balancer = Balancer::new(LoadBalancing::default(), &endpoints(words));
        let mut chance = Chance::new(1);
        let mut wheels = balancer.wheels(&mut || chance.next());
        let mut counts = [0u32; 3];
        for _ in 0..6000 {
            counts[balancer.pick(&mut wheels, &mut || chance.next(), &|_| 0).position.expect("one")] += 1;
            wheels = balancer.resumed((&balancer, &wheels), &Some, &mut || chance.next());
        }
        assert!(counts.iter().zip(expect).all(|(count, expect)| count.abs_diff(expect) <= 3), "{words}: {counts:?}");
    }
}

/// One endpoint goes, one comes: the others' turns go on, the new one gets its share and no more.
#[test]
fn who_stays_keeps_its_turn() {
    let (old, new) = (endpoints("1 2 3"), endpoints("3 2 6"));
    let [old, new] = [old, new].map(|list| Balancer::new(LoadBalancing::default(), &list));
    let mut chance = Chance::new(5);
    for turns in 0..12 {
        let mut wheels = old.wheels(&mut || 0);
        (0..turns).for_each(|_| _ = old.pick(&mut wheels, &mut || 0, &|_| 0));
        // The first is new; the third and second of before are the second and third now.
        let kept = |position| [None, Some(1), Some(2)][position];
        let mut wheels = new.resumed((&old, &wheels), &kept, &mut || chance.next());
        let mut counts = [0u32; 3];
        (0..110).for_each(|_| counts[new.pick(&mut wheels, &mut || 0, &|_| 0).position.expect("one")] += 1);
        assert!(
            counts.iter().zip([30, 20, 60]).all(|(count, expect)| count.abs_diff(expect) <= 1),
            "{turns}: {counts:?}"
        );
    }
}

/// What a pick looks at does not grow with the endpoints: numbers by chance asked for, loads looked at.
#[test]
fn a_pick_costs_the_same_with_ten_thousand_endpoints() {
    let cost = |policy, words: &str, count: usize| {
        let list = endpoints(&vec![words; count / 10].join(" "));
        let balancer = Balancer::new(by(policy), &list);
        let mut chance = Chance::new(2);
        let mut wheels = balancer.wheels(&mut || chance.next());
        chance.asked = 0;
        let looked = Cell::new(0u64);
        let active = |_| {
            looked.set(looked.get() + 1);
            0
        };
        (0..1000).for_each(|_| _ = balancer.pick(&mut wheels, &mut || chance.next(), &active));
        (chance.asked, looked.get())
    };
    let plain = "1 1 1 1 1 1 1 1 1 1";
    for (policy, words, expect) in [
        (LbPolicy::RoundRobin, plain, (0, 0)),
        (LbPolicy::Random, plain, (1000, 0)),
        (LEAST, plain, (2000, 2000)),
        (LbPolicy::RoundRobin, "1 2 3 4 5 6 7 8 9 9", (0, 0)),
        (LEAST, "1 2 3 4 5 6 7 8 9 9", (0, 1000)),
    ] {
        for count in [10, 10_000] {
            assert_eq!(cost(policy, words, count), expect, "{policy:?} {count}");
        }
    }
}
