//! What a cluster's configuration says about how its endpoints are chosen from. Plain data; [`crate::Balancer`] acts on it.

use std::sync::Arc;

use crate::Fraction;

/// `Cluster.lb_policy` and `load_balancing_policy`: who is next among the endpoints that may be picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LbPolicy {
    /// Each endpoint in turn; by weight where weights differ.
    RoundRobin,
    /// Any endpoint. Weights play no part, as in Envoy.
    Random,
    /// The one with the fewest requests under way.
    LeastRequest(LeastRequest),
    /// The one that a request's hash leads to on a ring.
    RingHash(RingHash),
    /// The one that a request's hash leads to in a table.
    Maglev(Maglev),
}

impl LbPolicy {
    /// Whether the same hash leads to the same endpoint.
    #[inline]
    pub fn is_by_hash(&self) -> bool {
        matches!(self, LbPolicy::RingHash(_) | LbPolicy::Maglev(_))
    }

    /// What an endpoint is known by where its metadata says nothing: its name (`use_hostname_for_hashing`), else its address.
    pub(crate) fn is_by_hostname(&self) -> bool {
        match self {
            LbPolicy::RingHash(rule) => rule.by_hostname,
            LbPolicy::Maglev(rule) => rule.by_hostname,
            LbPolicy::RoundRobin | LbPolicy::Random | LbPolicy::LeastRequest(_) => false,
        }
    }
}

/// `Cluster.RingHashLbConfig`, `load_balancing_policies.ring_hash.v3.RingHash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingHash {
    /// `minimum_ring_size`: entries; at most `size_max`.
    pub size_min: u32,
    /// `maximum_ring_size`: entries, at most [`RING_SIZE_MAX`].
    pub size_max: u32,
    /// `hash_function`: what makes an endpoint's places on the ring. A request's hash is xxHash either way.
    pub function: HashFunction,
    /// `use_hostname_for_hashing`.
    pub by_hostname: bool,
}

/// `RingHash.HashFunction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashFunction {
    /// XX_HASH
    #[default]
    XxHash,
    /// MURMUR_HASH_2
    MurmurHash2,
}

/// `Cluster.MaglevLbConfig`, `load_balancing_policies.maglev.v3.Maglev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maglev {
    /// `table_size`: a prime number, at most [`MAGLEV_SIZE_MAX`].
    pub table_size: u32,
    /// `use_hostname_for_hashing`.
    pub by_hostname: bool,
}

/// `minimum_ring_size` where nothing is said.
const RING_SIZE_MIN: u32 = 1024;
/// `maximum_ring_size`, at most and where nothing is said. Envoy's own bound: another would make another ring. Twelve bytes an entry are
/// 96 MiB for each priority that has a part of the load, shared by the workers; so large is a ring where weights differ by thousands.
pub const RING_SIZE_MAX: u32 = 8 << 20;
/// `table_size` where nothing is said.
const MAGLEV_SIZE: u32 = 65_537;
/// `table_size`, at most: Envoy's own bound. Four bytes an entry are 20 MB for each priority that has a part of the load.
pub const MAGLEV_SIZE_MAX: u32 = 5_000_011;

impl Default for RingHash {
    fn default() -> Self {
        Self { size_min: RING_SIZE_MIN, size_max: RING_SIZE_MAX, function: HashFunction::XxHash, by_hostname: false }
    }
}

impl Default for Maglev {
    fn default() -> Self {
        Self { table_size: MAGLEV_SIZE, by_hostname: false }
    }
}

/// `Cluster.LeastRequestLbConfig`, `load_balancing_policies.least_request.v3.LeastRequest`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeastRequest {
    /// How endpoints are looked at where their weights are equal.
    pub selection: Selection,
    /// `active_request_bias`, where weights differ: a weight is divided by (requests under way + 1) to this power. Default 1.
    pub active_request_bias: f64,
}

/// `LeastRequest.SelectionMethod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The best of this many picked by chance (`choice_count`, at least 2).
    Choices(u32),
    /// The best of all.
    FullScan,
}

/// `LeastRequest.choice_count` where nothing is said: the power of two choices.
pub const CHOICES: u32 = 2;

/// More choices are as good as this many: with 100 the best one percent of the endpoints is missed once in three picks, with any count a pick
/// must end.
pub const CHOICES_MAX: u32 = 100;

impl Default for LeastRequest {
    fn default() -> Self {
        Self { selection: Selection::Choices(CHOICES), active_request_bias: 1.0 }
    }
}

/// Everything that decides among endpoints, but for the endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadBalancing {
    /// Who is next.
    pub policy: LbPolicy,
    /// `common_lb_config.healthy_panic_threshold`, in percent: with fewer healthy endpoints health counts for nothing. 0 is never.
    pub panic_threshold: u32,
    /// `zone_aware_lb_config.fail_traffic_on_panic`: in panic nobody is picked, instead of anybody. Not by hash, as in Envoy.
    pub fail_traffic_on_panic: bool,
    /// `locality_weighted_lb_config`: the weights of localities, each with its priority; the last of several counts. `None`: localities
    /// play no part.
    pub locality_weights: Option<Vec<LocalityWeight>>,
    /// `policy.overprovisioning_factor`, in percent: how much more a healthy endpoint may take over from others.
    pub overprovisioning_factor: u32,
    /// `policy.weighted_priority_health`: a priority's health is that of its weights, not of its heads.
    pub weighted_priority_health: bool,
    /// `close_connections_on_host_set_change`: no connection outlives a change of the endpoints by more than the request that it serves.
    pub closes_with_changes: bool,
    /// `policy.drop_overloads`: the share of requests that is answered 503 instead.
    pub drop_overload: Option<Fraction>,
    /// Its `category`, for load reports.
    pub drop_category: Option<Arc<str>>,
}

/// A priority, a locality in it, and `LocalityLbEndpoints.load_balancing_weight`.
pub type LocalityWeight = (u32, Option<Arc<Locality>>, u32);

/// `healthy_panic_threshold` where nothing is said.
const PANIC_THRESHOLD: u32 = 50;
/// `overprovisioning_factor` where nothing is said.
const OVERPROVISIONING_FACTOR: u32 = 140;

impl Default for LoadBalancing {
    fn default() -> Self {
        Self {
            policy: LbPolicy::RoundRobin,
            panic_threshold: PANIC_THRESHOLD,
            fail_traffic_on_panic: false,
            locality_weights: None,
            overprovisioning_factor: OVERPROVISIONING_FACTOR,
            weighted_priority_health: false,
            closes_with_changes: false,
            drop_overload: None,
            drop_category: None,
        }
    }
}

/// `envoy.config.core.v3.Locality`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    /// `region`.
    pub region: String,
    /// `zone`.
    pub zone: String,
    /// `sub_zone`.
    pub sub_zone: String,
}

/// `envoy.config.core.v3.HealthStatus`, as a control plane says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HealthStatus {
    /// HEALTHY, and UNKNOWN, which is taken for it.
    #[default]
    Healthy,
    /// Picked for what the healthy cannot take.
    Degraded,
    /// Not picked but in panic.
    Unhealthy,
    /// Like unhealthy.
    Timeout,
    /// Not picked but in panic, and not counted where health is a ratio.
    Draining,
}

impl HealthStatus {
    /// Envoy's name.
    pub fn name(self) -> &'static str {
        match self {
            HealthStatus::Healthy => "HEALTHY",
            HealthStatus::Degraded => "DEGRADED",
            HealthStatus::Unhealthy => "UNHEALTHY",
            HealthStatus::Timeout => "TIMEOUT",
            HealthStatus::Draining => "DRAINING",
        }
    }
}

/// Where an endpoint stands among those of its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// `LbEndpoint.load_balancing_weight`, at least 1.
    pub weight: u32,
    /// `LbEndpoint.health_status`.
    pub health: HealthStatus,
    /// `LocalityLbEndpoints.priority`, 0 first; at most 128.
    pub priority: u32,
    /// `LocalityLbEndpoints.locality`; `None` where it says nothing.
    pub locality: Option<Arc<Locality>>,
    /// `LbEndpoint.metadata`, `hash_key` of `envoy.lb`: what it is known by in the place of its address, where endpoints are found by hash.
    pub hash_key: Option<Arc<str>>,
}

impl Default for Placement {
    fn default() -> Self {
        Self { weight: 1, health: HealthStatus::Healthy, priority: 0, locality: None, hash_key: None }
    }
}
