//! How far from even LEAST_REQUEST gets where each worker counts only its own requests: docs/decisions/0013-requests-counted-for-all-workers.md.
//!
//! Endpoints as queues: requests come by chance (Poisson), each takes a time by chance (exponential), an endpoint serves one after the
//! other. Every request belongs to one worker, which picks by what it knows.

use super::tests::Chance;
use super::*;

const ENDPOINTS: usize = 10;
const REQUESTS: usize = 200_000;

/// Who counts what.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Counts {
    /// Each of this many workers its own requests.
    Own(usize),
    /// All of this many workers all requests, as a counter shared by them would.
    All(usize),
}

/// Mean time from coming to being done, in service times, with these speeds of the endpoints and this load.
fn mean_time(policy: LbPolicy, counts: Counts, load: f64, slow: f64) -> f64 {
    let workers = match counts {
        Counts::Own(workers) | Counts::All(workers) => workers,
    };
    let endpoints = (0..ENDPOINTS).map(|at| Endpoint {
        address: ([127, 0, 0, 1], at as u16 + 1).into(),
        attempts: Vec::new(),
        hostname: String::new(),
        placement: crate::Placement::default(),
        transport: 0,
    });
    let config = LoadBalancing { policy, ..LoadBalancing::default() };
    let balancer = Balancer::new(config, &endpoints.collect::<Vec<_>>());
    let mut chance = Chance::new(11);
    let mut wheels: Vec<Wheels> = (0..workers).map(|_| balancer.wheels(&mut || chance.next())).collect();
    let speed = |endpoint: usize| if endpoint == 0 { slow } else { 1.0 };
    let capacity: f64 = (0..ENDPOINTS).map(speed).sum();
    // By endpoint: when each of its requests is done, and whose it is.
    let mut queues: Vec<std::collections::VecDeque<(f64, usize)>> = vec![std::collections::VecDeque::new(); ENDPOINTS];
    let mut active = vec![[0u32; ENDPOINTS]; workers];
    let (mut now, mut sum) = (0.0, 0.0);
    for _ in 0..REQUESTS {
        let mut exponential = || -(((chance.next() >> 11) as f64 + 1.0) / (1u64 << 53) as f64).ln();
        now += exponential() / (capacity * load);
        let service = exponential();
        for (endpoint, queue) in queues.iter_mut().enumerate() {
            while queue.front().is_some_and(|(done, _)| *done <= now) {
                let (_, worker) = queue.pop_front().expect("looked at just now");
                active[worker][endpoint] -= 1;
            }
        }
        let worker = below(chance.next(), workers as u32) as usize;
        let known = |endpoint: usize| match counts {
            Counts::Own(_) => active[worker][endpoint],
            Counts::All(_) => active.iter().map(|active| active[endpoint]).sum(),
        };
        let picked =
            balancer.pick(&mut wheels[worker], &mut || chance.next(), &known).position.expect("there are some");
        let start = queues[picked].back().map_or(now, |(done, _)| done.max(now));
        let done = start + service / speed(picked);
        sum += done - now;
        queues[picked].push_back((done, worker));
        active[worker][picked] += 1;
    }
    sum / REQUESTS as f64
}

/// The rows of the decision. `cargo test -p ringway-model simulation -- --nocapture` prints them.
#[test]
#[expect(clippy::print_stdout, reason = "the rows of the decision")]
fn own_counts_lose_with_each_worker_what_shared_ones_gain() {
    let least = LbPolicy::LeastRequest(LeastRequest::default());
    for (load, slow) in [(0.5, 1.0), (0.8, 1.0), (0.9, 1.0), (0.6, 0.2)] {
        let blind = mean_time(LbPolicy::Random, Counts::Own(1), load, slow);
        let turns = mean_time(LbPolicy::RoundRobin, Counts::Own(4), load, slow);
        let shared = mean_time(least, Counts::All(4), load, slow);
        let own: Vec<f64> = [1, 2, 4].map(|workers| mean_time(least, Counts::Own(workers), load, slow)).to_vec();
        println!(
            "load {load}, one endpoint at speed {slow}: RANDOM {blind:.2}, ROUND_ROBIN {turns:.2}; LEAST_REQUEST shared {shared:.2}, own at 1, 2, 4 workers {:.2} {:.2} {:.2}",
            own[0], own[1], own[2]
        );
        assert!((own[0] - shared).abs() < 0.1 * shared, "one worker knows all");
        assert!(own[1] > 1.08 * shared && own[2] > 1.15 * shared, "workers that know only their own wait longer");
    }
}
