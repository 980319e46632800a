//! Which endpoint of a cluster is next.
//!
//! A [`Balancer`] is the tables: built once with the cluster, shared by all cores, never changed. [`Wheels`] are one core's turns
//! on it. A pick is the load's part (priority and health), the locality where those have weights, then an endpoint by the policy. It
//! costs no memory and no more with many endpoints than with few: O(1), or O(log n) where weights differ (FULL_SCAN apart, which is
//! what it says). By hash it is one look into a table, and there are no turns.
//!
//! Invariant: a pick's position is one of an endpoint of the list that the tables were built from.

mod edf;
#[cfg(test)]
mod hash_tests;
mod maglev;
mod parts;
mod ring;
mod shares;
#[cfg(test)]
mod simulation;
mod table;
mod table_size;
#[cfg(test)]
mod tests;
mod weighed;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Endpoint, HealthStatus, LbPolicy, LeastRequest, LoadBalancing, Locality, Selection};
use edf::Edf;
pub use parts::LoadPart;
use shares::{Level, Source, shares};
use table::Table;
pub use table_size::TableSize;
use weighed::{members, weighed};

/// The tables for one cluster's endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Balancer {
    config: LoadBalancing,
    membership: Membership,
    shares: Vec<Share>,
    sets: Vec<Set>,
    wheels: Vec<LocalityWheel>,
    /// Positions of endpoints, of those sets whose members do not follow one on another.
    members: Vec<u32>,
    /// By position; empty where all are 1.
    weights: Vec<u32>,
    tables: Tables,
}

/// What is picked by hash. It follows from the rest and the endpoints: balancers are compared without it.
#[derive(Clone, Debug, Default)]
struct Tables {
    /// Whose each table is.
    of: Vec<(usize, Source)>,
    /// Empty until they are built.
    built: Vec<Arc<Table>>,
}

impl PartialEq for Tables {
    fn eq(&self, other: &Self) -> bool {
        self.of == other.of
    }
}

/// How many endpoints a cluster has: Envoy's `membership_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// All.
    pub total: usize,
    /// The healthy ones.
    pub healthy: usize,
    /// The degraded ones.
    pub degraded: usize,
    /// Those that do not count: draining.
    pub excluded: usize,
}

/// A part of the load.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Share {
    /// Where it ends on the way from 0 to 100.
    until: u32,
    is_panic: bool,
    target: Target,
}

/// Who takes a part of the load.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Target {
    Nobody,
    Set(u32),
    /// One of a priority's localities, by its weight.
    Localities(u32),
    /// Whom the hash says.
    Table(u32),
}

/// Endpoints one of which is picked by the policy.
#[derive(Clone, Debug, PartialEq)]
struct Set {
    key: Key,
    count: u32,
    /// Where the members are listed, or else the position of the first.
    listed: Option<u32>,
    first: u32,
    /// The policy goes by weights, and they differ.
    is_weighted: bool,
}

/// What a set of one generation and one of the next have in common.
type Key = (usize, Source, Option<Option<Arc<Locality>>>);

/// Localities of one priority, as sets that follow one on another.
#[derive(Clone, Debug, PartialEq)]
struct LocalityWheel {
    first_set: u32,
    weights: Vec<(u32, f64)>,
}

/// One core's turns.
#[derive(Clone, Debug, Default)]
pub struct Wheels {
    sets: Vec<Wheel>,
    localities: Vec<Edf>,
}

#[derive(Clone, Debug, Default)]
struct Wheel {
    /// Whose turn it is where weights do not count.
    next: u32,
    edf: Option<Box<Edf>>,
}

/// What came of a pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The endpoint's position; `None`: there is none to be picked.
    pub position: Option<usize>,
    /// Health counted for nothing (Envoy's `lb_healthy_panic`).
    pub is_panic: bool,
}

impl Balancer {
    /// The tables for these endpoints.
    pub fn new(config: LoadBalancing, endpoints: &[Endpoint]) -> Balancer {
        let mut balancer = Self::draft(config, endpoints);
        balancer.complete(endpoints, None);
        balancer
    }

    /// All but what takes long: to be compared with others, and then completed.
    pub fn draft(config: LoadBalancing, endpoints: &[Endpoint]) -> Balancer {
        let weighs = endpoints.iter().any(|endpoint| endpoint.placement.weight != 1);
        let weights =
            if weighs { endpoints.iter().map(|endpoint| endpoint.placement.weight).collect() } else { Vec::new() };
        let levels = levels(endpoints);
        let mut balancer = Balancer {
            membership: Membership {
                total: endpoints.len(),
                healthy: levels.iter().map(|level| level.healthy as usize).sum(),
                degraded: levels.iter().map(|level| level.degraded as usize).sum(),
                excluded: levels.iter().map(|level| level.excluded as usize).sum(),
            },
            shares: Vec::new(),
            sets: Vec::new(),
            wheels: Vec::new(),
            members: Vec::new(),
            weights,
            tables: Tables::default(),
            config,
        };
        let mut until = 0;
        for load in shares(&balancer.config, &levels) {
            until += load.percent;
            let is_panic = load.source == Source::All;
            let target = match balancer.config.policy.is_by_hash() {
                true => balancer.table_of(endpoints, load.priority, load.source),
                false if is_panic && balancer.config.fail_traffic_on_panic => Target::Nobody,
                false => balancer.target(endpoints, load.priority, load.source),
            };
            balancer.shares.push(Share { until, is_panic, target });
        }
        assert!(matches!(until, 0 | 100), "the load is shared out to the last percent");
        balancer
    }

    /// What it was built by.
    pub fn config(&self) -> &LoadBalancing {
        &self.config
    }

    /// How many endpoints it was built from.
    pub fn membership(&self) -> Membership {
        self.membership
    }

    /// Builds what is picked by hash from the endpoints that the rest was built from. `before` is a balancer of the same endpoints: what is
    /// the same there is shared.
    pub fn complete(&mut self, endpoints: &[Endpoint], before: Option<&Balancer>) {
        assert_eq!(self.membership.total, endpoints.len(), "the same endpoints");
        let before = before.filter(|before| {
            before.config.policy == self.config.policy && before.config.locality_weights == self.config.locality_weights
        });
        let build = |key: &(usize, Source)| {
            let same = before.and_then(|before| {
                let at = before.tables.of.iter().position(|of| of == key)?;
                before.tables.built.get(at).cloned()
            });
            same.unwrap_or_else(|| {
                Arc::new(Table::new(&self.config.policy, weighed(&self.config, endpoints, key.0, key.1)))
            })
        };
        self.tables.built = self.tables.of.iter().map(build).collect();
    }

    /// How large the table of the last priority is that has one.
    pub fn table_size(&self) -> Option<TableSize> {
        self.tables.built.last().map(|table| table.size)
    }

    /// Where the hash says who takes a part of the load. As in Envoy degraded endpoints have no part in it; but where all others are gone
    /// they take what Envoy answers 503.
    fn table_of(&mut self, endpoints: &[Endpoint], priority: usize, source: Source) -> Target {
        let sources = match source {
            Source::All => [Source::All].as_slice(),
            Source::Healthy | Source::Degraded => &[Source::Healthy, Source::Degraded],
        };
        let Some(source) = sources.iter().find(|source| members(endpoints, priority, **source).next().is_some()) else {
            return Target::Nobody;
        };
        let of = &mut self.tables.of;
        let at = of.iter().position(|key| *key == (priority, *source)).unwrap_or_else(|| {
            of.push((priority, *source));
            of.len() - 1
        });
        Target::Table(at as u32)
    }

    fn target(&mut self, endpoints: &[Endpoint], priority: usize, source: Source) -> Target {
        let members: Vec<u32> = members(endpoints, priority, source).collect();
        if members.is_empty() {
            return Target::Nobody;
        }
        let localities = self.localities(endpoints, priority, &members);
        // In panic, and where no locality has a weight, it is any of them.
        if source == Source::All || localities.is_empty() {
            self.set((priority, source, None), &members);
            return Target::Set(self.sets.len() as u32 - 1);
        }
        let first_set = self.sets.len() as u32;
        let mut weights = Vec::new();
        for (locality, weight, members) in localities {
            weights.push((self.sets.len() as u32 - first_set, weight));
            self.set((priority, source, Some(locality)), &members);
        }
        self.wheels.push(LocalityWheel { first_set, weights });
        Target::Localities(self.wheels.len() as u32 - 1)
    }

    /// The localities of these members that have a weight: it shrinks with their health, as far as the others cannot take more (Envoy,
    /// "Locality weighted load balancing").
    fn localities(
        &self,
        endpoints: &[Endpoint],
        priority: usize,
        members: &[u32],
    ) -> Vec<(Option<Arc<Locality>>, f64, Vec<u32>)> {
        let Some(weights) = &self.config.locality_weights else { return Vec::new() };
        let mut found: BTreeMap<&Option<Arc<Locality>>, (u64, Vec<u32>)> = BTreeMap::new();
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.placement.priority as usize == priority) {
            let counts = endpoint.placement.health != HealthStatus::Draining;
            found.entry(&endpoint.placement.locality).or_default().0 += u64::from(counts);
        }
        for member in members {
            let locality = &endpoints[*member as usize].placement.locality;
            found.get_mut(locality).expect("counted above").1.push(*member);
        }
        let weigh = |(locality, (count, members)): (&Option<Arc<Locality>>, (u64, Vec<u32>))| {
            let is_it = |(at, of, _): &&(u32, Option<Arc<Locality>>, u32)| *at as usize == priority && of == locality;
            let (_, _, weight) = weights.iter().rfind(is_it)?;
            let available = if count == 0 { 0.0 } else { members.len() as f64 / count as f64 };
            let effective = (f64::from(self.config.overprovisioning_factor) / 100.0 * available).min(1.0);
            let weight = f64::from(*weight) * effective;
            (weight > 0.0).then(|| (locality.clone(), weight, members))
        };
        found.into_iter().filter_map(weigh).collect()
    }

    fn set(&mut self, key: Key, members: &[u32]) {
        let (first, count) = (members[0], members.len() as u32);
        let is_row = members.last().is_some_and(|last| last - first + 1 == count);
        let listed = (!is_row).then_some(self.members.len() as u32);
        if !is_row {
            self.members.extend_from_slice(members);
        }
        let differ = !self.weights.is_empty()
            && members.iter().any(|member| self.weights[*member as usize] != self.weights[first as usize]);
        let is_weighted = differ && self.config.policy != LbPolicy::Random;
        self.sets.push(Set { key, count, listed, first, is_weighted });
    }

    #[inline]
    fn member(&self, set: &Set, index: u32) -> u32 {
        debug_assert!(index < set.count);
        match set.listed {
            None => set.first + index,
            Some(list) => self.members[(list + index) as usize],
        }
    }

    fn weight(&self, position: u32) -> f64 {
        f64::from(self.weights[position as usize])
    }

    /// Fresh wheels for a core; `chance` gives numbers by chance, so that cores do not begin with the same endpoint.
    pub fn wheels(&self, chance: &mut impl FnMut() -> u64) -> Wheels {
        self.wheels_after(None, &|_| None, chance)
    }

    /// Wheels that go on where those of the tables before stand: `kept` names an endpoint's position there, if it was one.
    pub fn resumed(
        &self,
        before: (&Balancer, &Wheels),
        kept: &impl Fn(usize) -> Option<usize>,
        chance: &mut impl FnMut() -> u64,
    ) -> Wheels {
        self.wheels_after(Some(before), kept, chance)
    }

    fn wheels_after(
        &self,
        before: Option<(&Balancer, &Wheels)>,
        kept: &impl Fn(usize) -> Option<usize>,
        chance: &mut impl FnMut() -> u64,
    ) -> Wheels {
        let parts =
            if self.sets.iter().any(|set| set.is_weighted) { before.map(parts) } else { None }.unwrap_or_default();
        let wheel = |set: &Set| {
            if set.is_weighted {
                let members = (0..set.count).map(|index| self.member(set, index));
                let part = |member: u32| kept(member as usize).and_then(|old| parts.get(old).copied().flatten());
                let edf = match members.clone().any(|member| part(member).is_some()) {
                    // Who is new is due anywhere in its period: not all of them at once.
                    true => Edf::resumed(members.map(|member| {
                        let by_chance = || ((chance() >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
                        (member, self.weight(member), part(member).unwrap_or_else(by_chance))
                    })),
                    false => {
                        let items: Vec<(u32, f64)> = members.map(|member| (member, self.weight(member))).collect();
                        Edf::after(&items, chance())
                    }
                };
                return Wheel { next: 0, edf: Some(Box::new(edf)) };
            }
            let old = before.and_then(|(balancer, wheels)| {
                let at = balancer.sets.iter().position(|old| old.key == set.key)?;
                Some(wheels.sets[at].next)
            });
            Wheel { next: old.unwrap_or_else(|| (chance() % u64::from(set.count)) as u32), edf: None }
        };
        let sets = self.sets.iter().map(wheel).collect();
        let localities = self.wheels.iter().map(|wheel| Edf::after(&wheel.weights, chance())).collect();
        Wheels { sets, localities }
    }

    /// The next endpoint. `chance` gives numbers by chance and is asked only where chance decides; `active` tells how many requests are under way
    /// to the endpoint of a position.
    #[inline]
    pub fn pick(&self, wheels: &mut Wheels, chance: &mut impl FnMut() -> u64, active: &impl Fn(usize) -> u32) -> Pick {
        let Some(share) = self.share(chance) else { return Pick { position: None, is_panic: false } };
        let set = match share.target {
            Target::Nobody => return Pick { position: None, is_panic: share.is_panic },
            Target::Set(set) => set,
            Target::Localities(wheel) => {
                let LocalityWheel { first_set, weights } = &self.wheels[wheel as usize];
                first_set + wheels.localities[wheel as usize].pick(|locality| weights[locality as usize].1)
            }
            Target::Table(_) => return self.pick_by_hash(chance(), 0),
        };
        let position = self.pick_of(&self.sets[set as usize], &mut wheels.sets[set as usize], chance, active);
        Pick { position: Some(position as usize), is_panic: share.is_panic }
    }

    /// Whom this hash leads to, where the policy goes by hashes: the same at each time and on each core. `attempt` counts the endpoints that
    /// were not wanted for the same request.
    #[inline]
    pub fn pick_by_hash(&self, hash: u64, attempt: u32) -> Pick {
        let Some(share) = self.share(&mut || hash) else { return Pick { position: None, is_panic: false } };
        let position = match share.target {
            Target::Table(table) => self.tables.built[table as usize].at(hash, attempt),
            Target::Nobody => None,
            Target::Set(_) | Target::Localities(_) => unreachable!("the policy goes by hashes"),
        };
        Pick { position: position.map(|position| position as usize), is_panic: share.is_panic }
    }

    /// Whose part of the load a number by chance falls into.
    #[inline]
    fn share(&self, chance: &mut impl FnMut() -> u64) -> Option<&Share> {
        match &self.shares[..] {
            [] => None,
            [only] => Some(only),
            several => {
                let number = (chance() % 100) as u32;
                Some(several.iter().find(|share| number < share.until).expect("the last ends at 100"))
            }
        }
    }

    #[inline]
    fn pick_of(
        &self,
        set: &Set,
        wheel: &mut Wheel,
        chance: &mut impl FnMut() -> u64,
        active: &impl Fn(usize) -> u32,
    ) -> u32 {
        match (&self.config.policy, &mut wheel.edf) {
            (LbPolicy::RoundRobin, None) => {
                // The list may have been longer a moment ago.
                let at = if wheel.next < set.count { wheel.next } else { 0 };
                wheel.next = at + 1;
                self.member(set, at)
            }
            (LbPolicy::RoundRobin, Some(edf)) => edf.pick(|member| self.weight(member)),
            (LbPolicy::Random, _) => self.member(set, below(chance(), set.count)),
            (LbPolicy::RingHash(_) | LbPolicy::Maglev(_), _) => unreachable!("it has tables, not sets"),
            (LbPolicy::LeastRequest(rule), None) => self.least(set, rule.selection, chance, active),
            (LbPolicy::LeastRequest(rule), Some(edf)) => {
                edf.pick(|member| self.weight(member) / rule.burden(active(member as usize)))
            }
        }
    }

    fn least(
        &self,
        set: &Set,
        selection: Selection,
        chance: &mut impl FnMut() -> u64,
        active: &impl Fn(usize) -> u32,
    ) -> u32 {
        match selection {
            Selection::Choices(count) => {
                let mut choose = || self.member(set, below(chance(), set.count));
                let mut best = choose();
                let mut least = active(best as usize);
                for _ in 1..count {
                    let other = choose();
                    let load = active(other as usize);
                    if load < least {
                        (best, least) = (other, load);
                    }
                }
                best
            }
            Selection::FullScan => {
                let (mut best, mut least, mut ties) = (0, u32::MAX, 0);
                for index in 0..set.count {
                    let member = self.member(set, index);
                    let load = active(member as usize);
                    if load < least || ties == 0 {
                        (best, least, ties) = (member, load, 1);
                    } else if load == least {
                        // Each of those that tie is kept with the same chance.
                        ties += 1;
                        if below(chance(), ties) == 0 {
                            best = member;
                        }
                    }
                }
                best
            }
        }
    }
}

impl LeastRequest {
    /// What a weight is divided by with this many requests under way.
    fn burden(self, active: u32) -> f64 {
        let active = f64::from(active) + 1.0;
        if self.active_request_bias == 1.0 { active } else { active.powf(self.active_request_bias) }
    }
}

/// A number below `count` out of one by chance: its upper half scaled, no division (Lemire 2019, without the correction, which matters at
/// 2^32 / count alone).
#[inline]
fn below(chance: u64, count: u32) -> u32 {
    (((chance >> 32) * u64::from(count)) >> 32) as u32
}

/// What is left of each endpoint's period, by position.
fn parts((balancer, wheels): (&Balancer, &Wheels)) -> Vec<Option<f64>> {
    let mut parts = vec![None; balancer.membership.total];
    for edf in wheels.sets.iter().filter_map(|wheel| wheel.edf.as_ref()) {
        for (member, left) in edf.remaining() {
            // Requests under way may have made the period longer.
            parts[member as usize] = Some((left * balancer.weight(member)).min(1.0));
        }
    }
    parts
}

/// By priority.
fn levels(endpoints: &[Endpoint]) -> Vec<Level> {
    let count = endpoints.iter().map(|endpoint| endpoint.placement.priority as usize + 1).max().unwrap_or(0);
    let mut levels = vec![Level::default(); count];
    for placement in endpoints.iter().map(|endpoint| &endpoint.placement) {
        let level = &mut levels[placement.priority as usize];
        let weight = u64::from(placement.weight);
        level.total += 1;
        level.total_weight += weight;
        match placement.health {
            HealthStatus::Healthy => (level.healthy += 1, level.healthy_weight += weight),
            HealthStatus::Degraded => (level.degraded += 1, level.degraded_weight += weight),
            HealthStatus::Draining => (level.excluded += 1, level.excluded_weight += weight),
            HealthStatus::Unhealthy | HealthStatus::Timeout => ((), ()),
        };
    }
    levels
}
