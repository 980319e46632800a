//! What part of the load each endpoint has that is found by hash, and what it is known by there.
//!
//! Invariant: the parts of all are 1, but for those of localities without an endpoint that may be picked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::shares::Source;
use crate::{Endpoint, HealthStatus, LoadBalancing, Locality};

/// An endpoint and its part of the whole.
#[derive(Clone, Debug)]
pub(super) struct Weighed {
    pub(super) position: u32,
    /// What it is known by, whatever its position.
    pub(super) key: String,
    pub(super) weight: f64,
}

/// The endpoints of a priority that have this health, in Envoy's order: that of the file, or that of their localities where those have
/// weights. Unlike turns, hashes leave a locality its part whatever the health of its endpoints.
pub(super) fn weighed(config: &LoadBalancing, endpoints: &[Endpoint], priority: usize, source: Source) -> Vec<Weighed> {
    let share_out = |members: &[u32], part: f64| -> Vec<Weighed> {
        let weight = |position: u32| endpoints[position as usize].placement.weight;
        let sum: u64 = members.iter().map(|position| u64::from(weight(*position))).sum();
        let weigh = |position: &u32| Weighed {
            position: *position,
            key: key(&endpoints[*position as usize], config.policy.is_by_hostname()),
            weight: f64::from(weight(*position)) * part / sum as f64,
        };
        members.iter().map(weigh).collect()
    };
    let mut localities: BTreeMap<&Option<Arc<Locality>>, (u32, Vec<u32>)> = BTreeMap::new();
    if let Some(weights) = &config.locality_weights {
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.placement.priority as usize == priority) {
            let locality = &endpoint.placement.locality;
            let weight = weights.iter().rfind(|(at, of, _)| *at as usize == priority && of == locality);
            localities.entry(locality).or_insert_with(|| (weight.map_or(0, |(_, _, weight)| *weight), Vec::new()));
        }
    }
    let sum: u64 = localities.values().map(|(weight, _)| u64::from(*weight)).sum();
    let all: Vec<u32> = members(endpoints, priority, source).collect();
    for member in &all {
        if let Some((_, members)) = localities.get_mut(&endpoints[*member as usize].placement.locality) {
            members.push(*member);
        }
    }
    let weighty = localities.values().filter(|(weight, _)| *weight > 0);
    let found: Vec<Weighed> =
        weighty.flat_map(|(weight, members)| share_out(members, f64::from(*weight) / sum as f64)).collect();
    // Where no locality with a weight has one it is any of them; Envoy picks nobody.
    if found.is_empty() { share_out(&all, 1.0) } else { found }
}

/// The positions of a priority's endpoints of this health.
pub(super) fn members(endpoints: &[Endpoint], priority: usize, source: Source) -> impl Iterator<Item = u32> {
    let members = (0..).zip(endpoints).filter(move |(_, endpoint)| {
        let placement = &endpoint.placement;
        placement.priority as usize == priority
            && match source {
                Source::Healthy => placement.health == HealthStatus::Healthy,
                Source::Degraded => placement.health == HealthStatus::Degraded,
                Source::All => true,
            }
    });
    members.map(|(position, _)| position)
}

fn key(endpoint: &Endpoint, by_hostname: bool) -> String {
    match &endpoint.placement.hash_key {
        Some(key) if !key.is_empty() => key.to_string(),
        _ if by_hostname => endpoint.hostname.clone(),
        _ => endpoint.address.to_string(),
    }
}
