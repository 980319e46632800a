//! A pick among 10 and 1,000 endpoints: it should cost much the same. By hash it is the hash of a key of 16 bytes and a look-up.

use std::hint::black_box;
use std::sync::Arc;

use ringway_benches::case::{Case, Chance};
use ringway_model::hash::xx_hash;
use ringway_model::{
    Balancer, Endpoint, HealthStatus, LbPolicy, LeastRequest, LoadBalancing, Locality, Maglev, Placement, RingHash,
    Selection,
};

/// What is special about a cluster's endpoints.
#[derive(Clone, Copy)]
enum Spread {
    /// Nothing.
    Even,
    /// Weights of 1 to 4.
    Weights,
    /// Half of them have the priority 1, and of the priority 0 half are not healthy: both take a part of the load.
    Priorities,
    /// Three localities, which have weights.
    Localities,
}

const ROUND_ROBIN: LbPolicy = LbPolicy::RoundRobin;

/// Each balancer, and what changes its way.
fn rows() -> [(&'static str, LbPolicy, Spread); 13] {
    let least_request = LbPolicy::LeastRequest(LeastRequest::default());
    let full_scan = LbPolicy::LeastRequest(LeastRequest { selection: Selection::FullScan, ..LeastRequest::default() });
    let ring_hash = LbPolicy::RingHash(RingHash::default());
    let maglev = LbPolicy::Maglev(Maglev::default());
    [
        ("round robin", ROUND_ROBIN, Spread::Even),
        ("round robin, weights", ROUND_ROBIN, Spread::Weights),
        ("round robin, two priorities", ROUND_ROBIN, Spread::Priorities),
        ("round robin, weighted localities", ROUND_ROBIN, Spread::Localities),
        ("random", LbPolicy::Random, Spread::Even),
        ("least request", least_request, Spread::Even),
        ("least request, weights", least_request, Spread::Weights),
        ("least request, full scan", full_scan, Spread::Even),
        ("ring hash", ring_hash, Spread::Even),
        ("ring hash, weights", ring_hash, Spread::Weights),
        ("ring hash, two priorities", ring_hash, Spread::Priorities),
        ("maglev", maglev, Spread::Even),
        ("maglev, weights", maglev, Spread::Weights),
    ]
}

/// The suite.
pub(crate) fn cases() -> Vec<Case> {
    let case = |(name, policy, spread), count: u16| {
        Case::new("balance", format!("{name}/{count}"), move || pick(policy, spread, count))
    };
    rows().into_iter().flat_map(|row| [10, 1_000].map(|count| case(row, count))).collect()
}

fn pick(policy: LbPolicy, spread: Spread, count: u16) -> impl FnMut() {
    let localities = [0, 1, 2].map(|at| Some(Arc::new(Locality { zone: format!("zone{at}"), ..Locality::default() })));
    let endpoint = |at: u16| Endpoint {
        address: ([10, 0, (at >> 8) as u8, at as u8], 80).into(),
        attempts: Vec::new(),
        hostname: String::new(),
        placement: placed(at, spread, &localities),
        transport: 0,
    };
    let endpoints: Vec<_> = (0..count).map(endpoint).collect();
    let weights = || localities.iter().zip([3, 2, 1]).map(|(locality, weight)| (0, locality.clone(), weight)).collect();
    let locality_weights = matches!(spread, Spread::Localities).then(weights);
    let balancer = Balancer::new(LoadBalancing { policy, locality_weights, ..LoadBalancing::default() }, &endpoints);
    let mut chance = Chance::new();
    let mut wheels = balancer.wheels(&mut || chance.number());
    move || {
        let mut chance = || chance.number();
        black_box(match policy.is_by_hash() {
            true => {
                let key = [chance(), 0].map(u64::to_le_bytes);
                balancer.pick_by_hash(xx_hash(black_box(key.as_flattened()), 0), 0)
            }
            false => balancer.pick(&mut wheels, &mut chance, &|_| 0),
        });
    }
}

fn placed(at: u16, spread: Spread, localities: &[Option<Arc<Locality>>; 3]) -> Placement {
    let even = Placement::default();
    match spread {
        Spread::Even => even,
        Spread::Weights => Placement { weight: u32::from(at % 4 + 1), ..even },
        Spread::Priorities => {
            let health = if at.is_multiple_of(4) { HealthStatus::Unhealthy } else { HealthStatus::Healthy };
            Placement { priority: u32::from(at % 2), health, ..even }
        }
        Spread::Localities => Placement { locality: localities[usize::from(at % 3)].clone(), ..even },
    }
}
