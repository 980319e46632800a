//! Who takes which part of the load, for people who ask: read off the tables that picks are made from.

use super::weighed::weighed;
use super::{Balancer, Target};
use crate::Endpoint;

/// A part of the load, and who takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPart {
    /// Of all requests.
    pub percent: u32,
    /// Health counts for nothing here.
    pub is_panic: bool,
    /// Positions of endpoints; none: these requests are answered 503.
    pub members: Vec<u32>,
}

impl Balancer {
    /// Which endpoints take which part of the load, by position. `endpoints` are those that it was built from.
    pub fn parts(&self, endpoints: &[Endpoint]) -> Vec<LoadPart> {
        assert_eq!(self.membership.total, endpoints.len(), "the same endpoints");
        let of_set = |set: u32| {
            let set = &self.sets[set as usize];
            (0..set.count).map(|index| self.member(set, index))
        };
        let mut before = 0;
        let parts = self.shares.iter().map(|share| {
            let members: Vec<u32> = match share.target {
                Target::Nobody => Vec::new(),
                Target::Set(set) => of_set(set).collect(),
                Target::Localities(wheel) => {
                    let wheel = &self.wheels[wheel as usize];
                    wheel.weights.iter().flat_map(|(set, _)| of_set(wheel.first_set + set)).collect()
                }
                Target::Table(table) => {
                    let (priority, source) = self.tables.of[table as usize];
                    let table = weighed(&self.config, endpoints, priority, source);
                    table.into_iter().map(|entry| entry.position).collect()
                }
            };
            let percent = share.until - std::mem::replace(&mut before, share.until);
            LoadPart { percent, is_panic: share.is_panic, members }
        });
        parts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HealthStatus, LbPolicy, LoadBalancing, Maglev, Placement};

    /// Each endpoint as its priority and H, D or U; the parts as `percent: positions`, panic as `!`.
    #[track_caller]
    fn check(policy: LbPolicy, endpoints: &str, expect: &str) {
        let endpoint = |(at, text): (usize, &str)| {
            let health = match &text[1..] {
                "H" => HealthStatus::Healthy,
                "D" => HealthStatus::Degraded,
                _ => HealthStatus::Unhealthy,
            };
            let placement =
                Placement { health, priority: text[..1].parse().expect("a priority"), ..Placement::default() };
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], at as u16 + 1)).into();
            Endpoint { address, attempts: Vec::new(), hostname: String::new(), placement, transport: 0 }
        };
        let endpoints: Vec<Endpoint> = endpoints.split_whitespace().enumerate().map(endpoint).collect();
        let config = LoadBalancing { policy, panic_threshold: 20, ..LoadBalancing::default() };
        let parts = Balancer::new(config, &endpoints).parts(&endpoints);
        let text =
            |part: &LoadPart| format!("{}{}: {:?}", part.percent, if part.is_panic { "!" } else { "" }, part.members);
        assert_eq!(parts.iter().map(text).collect::<Vec<_>>().join(", "), expect, "{policy:?}");
    }

    #[test]
    fn parts_are_those_of_the_tables() {
        for policy in [LbPolicy::RoundRobin, LbPolicy::Random, LbPolicy::Maglev(Maglev::default())] {
            check(policy, "", "");
            check(policy, "0H 0H", "100: [0, 1]");
            check(policy, "0H 0U 1H", "70: [0], 30: [2]");
            check(policy, "0U 0U", "100!: [0, 1]");
        }
        check(LbPolicy::RoundRobin, "0U 0D", "100: [1]");
    }
}
