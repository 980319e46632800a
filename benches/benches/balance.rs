//! A pick among 10 and 1,000 endpoints: it should cost much the same. By hash it is the hash of a key of 16 bytes and a look-up.
#![allow(missing_docs, reason = "criterion's macros write functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringway_model::hash::xx_hash;
use ringway_model::{Balancer, Endpoint, LbPolicy, LeastRequest, LoadBalancing, Maglev, Placement, RingHash};

fn endpoints(count: u16) -> Vec<Endpoint> {
    let endpoint = |at: u16| Endpoint {
        address: ([10, 0, (at >> 8) as u8, at as u8], 80).into(),
        attempts: Vec::new(),
        hostname: String::new(),
        placement: Placement::default(),
        transport: 0,
    };
    (0..count).map(endpoint).collect()
}

fn picks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("balance");
    for (name, policy) in [
        ("round robin", LbPolicy::RoundRobin),
        ("random", LbPolicy::Random),
        ("least request", LbPolicy::LeastRequest(LeastRequest::default())),
        ("ring hash", LbPolicy::RingHash(RingHash::default())),
        ("maglev", LbPolicy::Maglev(Maglev::default())),
    ] {
        for count in [10, 1000] {
            let config = LoadBalancing { policy, ..LoadBalancing::default() };
            let balancer = Balancer::new(config, &endpoints(count));
            let mut number = 1u64;
            // A step of an LCG (Knuth): what is asked for is the pick.
            let mut chance = || {
                number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                number
            };
            let mut wheels = balancer.wheels(&mut chance);
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| match policy.is_by_hash() {
                    true => {
                        let key = [chance(), 0].map(u64::to_le_bytes);
                        balancer.pick_by_hash(xx_hash(black_box(key.as_flattened()), 0), 0)
                    }
                    false => balancer.pick(&mut wheels, &mut chance, &|_| 0),
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, picks);
criterion_main!(benches);
