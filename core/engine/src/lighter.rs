//! Which worker a new connection goes to: the policy alone, with loads and chance as arguments.
//!
//! The kernel puts a connection into the queue of one worker by a hash of its addresses (SO_REUSEPORT). With few
//! connections that is a roll of dice: of two connections on two workers, both are on one worker every second time.
//! The worker that accepted therefore compares itself with others before it does anything for the connection. It never
//! reads a clock or a load by itself.

/// `--balance`: how connections are shared among the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// As the kernel's hash says.
    Local,
    /// The lighter of the worker that accepted and one other, which rotates.
    LeastOfTwo,
    /// The lightest of all (Envoy: `connection_balance_config.exact_balance`). Every accept reads every worker's line:
    /// for few workers, or connections that stay.
    Exact,
}

impl Balance {
    /// What so many workers use where nobody says otherwise: exact as long as that costs no more than asking one.
    #[must_use]
    pub fn for_workers(workers: usize) -> Balance {
        if workers <= EXACT_WORKERS_MAX { Balance::Exact } else { Balance::LeastOfTwo }
    }
}

/// Up to so many workers exact balance costs what the lighter of two costs (measured: decision 7), and of as many connections
/// as workers it leaves none without.
const EXACT_WORKERS_MAX: usize = 4;

/// What a worker has to carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Client connections, those on their way to it included.
    pub(crate) connections: u32,
    /// Its busy time, in thousandths of the last while. An estimate of the past, so it decides only between equals.
    pub(crate) busy: u32,
}

impl Weight {
    fn is_lighter_than(self, other: Weight) -> bool {
        // One connection is enough: with a wider margin two connections on two workers would stay where dice put them.
        self.connections < other.connections
            || self.connections == other.connections && self.busy + BUSY_MARGIN <= other.busy
    }
}

/// Workers whose busy times differ by less (in thousandths) are equally busy: the figure is a sample of turns.
const BUSY_MARGIN: u32 = 250;

/// The worker that the connection goes to; `None`: it stays with `own`, who accepted it. `turn` grows by one with each
/// connection that `own` accepts. A worker with `connections_max` connections is given none.
pub(crate) fn lighter(
    balance: Balance,
    own: usize,
    workers: usize,
    turn: usize,
    connections_max: u32,
    weight: impl Fn(usize) -> Weight,
) -> Option<usize> {
    assert!(own < workers, "who accepts is one of the workers");
    let others = match balance {
        _ if workers == 1 => 0,
        Balance::Local => 0,
        Balance::LeastOfTwo => 1,
        Balance::Exact => workers - 1,
    };
    let (mut chosen, mut least) = (own, weight(own));
    for step in 0..others {
        // From `own + 1` round to `own - 1`, begun at another place each time.
        let other = (own + 1 + (turn + step) % (workers - 1)) % workers;
        let load = weight(other);
        if load.connections < connections_max && load.is_lighter_than(least) {
            (chosen, least) = (other, load);
        }
    }
    (chosen != own).then_some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = 100;

    /// Worker 0 accepts. A weight is connections, or connections and busy thousandths.
    #[track_caller]
    fn check(balance: Balance, turn: usize, weights: &[(u32, u32)], expect: Option<usize>) {
        let weight = |at: usize| Weight { connections: weights[at].0, busy: weights[at].1 };
        assert_eq!(lighter(balance, 0, weights.len(), turn, MAX, weight), expect, "{balance:?} {turn} {weights:?}");
    }

    #[test]
    fn few_workers_are_balanced_exactly() {
        for (workers, expect) in [(1, Balance::Exact), (4, Balance::Exact), (5, Balance::LeastOfTwo)] {
            assert_eq!(Balance::for_workers(workers), expect);
        }
    }

    #[test]
    fn one_worker_keeps_all() {
        for balance in [Balance::Local, Balance::LeastOfTwo, Balance::Exact] {
            check(balance, 0, &[(9, 999)], None);
        }
    }

    #[test]
    fn local_never_hands_over() {
        check(Balance::Local, 0, &[(9, 0), (0, 0)], None);
    }

    #[test]
    fn least_of_two_asks_one_other_in_turn() {
        for (turn, expect) in [(0, None), (1, None), (2, Some(3)), (3, None), (5, Some(3))] {
            check(Balance::LeastOfTwo, turn, &[(3, 0), (3, 0), (9, 0), (2, 0)], expect);
        }
    }

    #[test]
    fn exact_finds_the_lightest_wherever_it_begins() {
        for turn in 0..7 {
            check(Balance::Exact, turn, &[(3, 0), (3, 0), (9, 0), (2, 0)], Some(3));
            check(Balance::Exact, turn, &[(2, 0), (2, 0), (9, 0), (2, 0)], None);
        }
    }

    #[test]
    fn among_equals_the_turn_decides() {
        for (turn, expect) in [(0, 1), (1, 2), (2, 3), (3, 1)] {
            check(Balance::Exact, turn, &[(1, 0), (0, 0), (0, 0), (0, 0)], Some(expect));
        }
    }

    #[test]
    fn busy_time_decides_between_equals_and_never_against_connections() {
        for balance in [Balance::LeastOfTwo, Balance::Exact] {
            check(balance, 0, &[(1, 900), (1, 100)], Some(1));
            check(balance, 0, &[(1, 900), (1, 651)], None);
            check(balance, 0, &[(1, 900), (2, 0)], None);
            check(balance, 0, &[(2, 0), (1, 999)], Some(1));
        }
    }

    #[test]
    fn a_full_worker_is_given_nothing() {
        for balance in [Balance::LeastOfTwo, Balance::Exact] {
            check(balance, 0, &[(MAX + 5, 0), (MAX, 0)], None);
            check(balance, 0, &[(MAX + 5, 0), (MAX - 1, 0)], Some(1));
        }
        check(Balance::Exact, 0, &[(MAX + 5, 0), (MAX, 0), (7, 0)], Some(2));
    }

    /// xorshift64: the kernel's hash of fresh connections, from a fixed seed.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 33) as usize % bound
        }
    }

    const TRIALS: usize = 4000;

    /// Busiest worker over the average (mean), and the share of trials that left a worker without a connection.
    fn simulate(balance: Balance, workers: usize, connections: usize) -> (f64, f64) {
        let mut dice = Dice(2026 + (workers * 1000 + connections) as u64);
        let (mut busiest, mut idle) = (0.0, 0);
        for trial in 0..TRIALS {
            let mut loads = vec![0u32; workers];
            let mut turns = vec![trial; workers];
            for _ in 0..connections {
                let own = dice.below(workers);
                let weight = |at: usize| Weight { connections: loads[at], busy: 0 };
                let chosen = lighter(balance, own, workers, turns[own], u32::MAX, weight).unwrap_or(own);
                turns[own] += 1;
                loads[chosen] += 1;
            }
            let most = *loads.iter().max().expect("workers");
            busiest += f64::from(most) * workers as f64 / connections as f64;
            idle += usize::from(loads.contains(&0));
        }
        (busiest / TRIALS as f64, idle as f64 / TRIALS as f64)
    }

    /// The known figures: the hash alone, and the lighter of two (a balls-into-bins result; Mitzenmacher 2001).
    #[test]
    fn simulated_connections_spread_as_is_known() {
        let near = |found: f64, expect: f64, within: f64| (found - expect).abs() <= within;
        for (workers, connections, hash, hash_idle, two, two_idle) in [
            (2, 2, 1.50, 0.50, 1.00, 0.00),
            (2, 8, 1.27, 0.01, 1.00, 0.00),
            (4, 8, 1.77, 0.40, 1.31, 0.04),
            (4, 16, 1.54, 0.04, 1.16, 0.00),
            (4, 64, 1.27, 0.00, 1.04, 0.00),
            (8, 64, 1.53, 0.00, 1.13, 0.00),
            (8, 256, 1.26, 0.00, 1.03, 0.00),
        ] {
            let what = format!("{workers} workers, {connections} connections");
            let (busiest, idle) = simulate(Balance::Local, workers, connections);
            assert!(near(busiest, hash, 0.03) && near(idle, hash_idle, 0.03), "{what}: hash {busiest:.2} {idle:.2}");
            let (busiest, idle) = simulate(Balance::LeastOfTwo, workers, connections);
            // Not worse than two independent throws; a rotating second choice may be better.
            assert!(busiest <= two + 0.03 && idle <= two_idle + 0.02, "{what}: two {busiest:.2} {idle:.2}");
            assert!(near(busiest, two, 0.12), "{what}: two {busiest:.2}");
            let even = connections.div_ceil(workers) as f64 * workers as f64 / connections as f64;
            assert_eq!(simulate(Balance::Exact, workers, connections), (even, 0.0), "{what}");
        }
    }
}
