//! One version of a cluster on this core, and what of its name outlives versions.

use std::cell::{Cell, LazyCell, OnceCell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use ringway_model::{Address, Cluster, Endpoint, Priority, UpstreamTransport, Wheels};

use crate::active::ActiveRow;
use crate::breakers::{Breakers, ClusterLimits, ClusterSeed};
use crate::load::{ClusterLoad, CoreLoad};
use crate::original_dst::Originals;
use crate::pool::EndpointPool;

/// This core's state of one cluster's name. Outlives generations; keyed by what does not change with them.
pub(crate) struct ClusterState {
    pub(crate) breakers: Rc<Breakers>,
    /// Of requests of the priority HIGH, once there was one.
    high_breakers: OnceCell<Rc<Breakers>>,
    limits: Arc<ClusterLimits>,
    /// Of the endpoints that requests of this core were sent to.
    pools: RefCell<HashMap<Address, Rc<EndpointPool>>>,
    /// Those of ORIGINAL_DST, once one was asked for.
    originals: OnceCell<Rc<Originals>>,
}

impl ClusterState {
    pub(crate) fn new(seed: &ClusterSeed) -> Self {
        let breakers = Breakers::new(&seed.stats, &seed.limits.default);
        let limits = Arc::clone(&seed.limits);
        let (high_breakers, originals) = (OnceCell::new(), OnceCell::new());
        Self { breakers, high_breakers, limits, pools: RefCell::default(), originals }
    }

    /// The circuit breakers that a request comes under.
    #[inline]
    pub(crate) fn breakers_of(&self, priority: Priority) -> &Rc<Breakers> {
        match priority {
            Priority::Default => &self.breakers,
            Priority::High => self.high_breakers(),
        }
    }

    fn high_breakers(&self) -> &Rc<Breakers> {
        if let Some(breakers) = self.high_breakers.get() {
            return breakers;
        }
        match self.limits.high() {
            Some(limits) => self.high_breakers.get_or_init(|| Breakers::new(&self.breakers.stats, limits)),
            // A generation in which no route had it: its cluster is kept from before.
            None => &self.breakers,
        }
    }

    /// Those of ORIGINAL_DST.
    pub(crate) fn originals(&self) -> &Rc<Originals> {
        self.originals.get_or_init(Rc::default)
    }
}

/// The key of a name's pool, which stays when the name's address changes.
const LOGICAL: Address = Address::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));

/// One version of a cluster on this core.
pub(crate) struct CoreCluster {
    pub(crate) config: Arc<Cluster>,
    pub(crate) state: Rc<ClusterState>,
    /// In the order of the configuration's endpoints. A pool is made when its endpoint is first picked: of ten thousand clusters a core
    /// sends requests to few.
    pools: Box<[OnceCell<Rc<EndpointPool>>]>,
    /// What all cores tell of each endpoint, and this core's place there; for LEAST_REQUEST alone.
    rows: Option<(Box<[ActiveRow]>, usize)>,
    /// Where load is reported.
    pub(crate) load: Option<ClusterLoad>,
    /// Another version took its place, or the cluster is gone: who still picks an endpoint by it leaves nothing behind.
    is_over: Cell<bool>,
    /// Whose turn it is.
    pub(crate) wheels: RefCell<Wheels>,
    /// The bounds on one response.
    pub(crate) codec_limits: ringway_protocols::Limits,
}

impl CoreCluster {
    /// `before`: the version before, whose turns and pools go on.
    pub(crate) fn new(
        config: Arc<Cluster>,
        state: Rc<ClusterState>,
        before: Option<&CoreCluster>,
        rows: Option<(Box<[ActiveRow]>, usize)>,
        load: Option<ClusterLoad>,
        chance: &mut impl FnMut() -> u64,
    ) -> Rc<Self> {
        assert_eq!(config.balancer.membership().total, config.endpoints.len(), "the balancer is that of the endpoints");
        assert!(rows.as_ref().is_none_or(|(rows, _)| rows.len() == config.endpoints.len()), "a row for each endpoint");
        if let Some(before) = before {
            before.is_over.set(true);
            state.follow(&before.config, &config);
        }
        let codec_limits = ringway_protocols::Limits {
            head_bytes_max: config.http.response_head_bytes_max,
            headers_max: config.http.response_fields_max,
            ..ringway_protocols::Limits::default()
        };
        let wheels = match before {
            None => config.balancer.wheels(chance),
            Some(before) => {
                let stood = LazyCell::new(|| positions(&before.config));
                let kept = |position: usize| stood.get(&key(&config, &config.endpoints[position])).copied();
                config.balancer.resumed((&before.config.balancer, &before.wheels.borrow()), &kept, chance)
            }
        };
        let pools = std::iter::repeat_with(OnceCell::new).take(config.endpoints.len()).collect();
        let (wheels, is_over) = (RefCell::new(wheels), Cell::new(false));
        let cluster = Rc::new(Self { config, state, pools, rows, load, is_over, wheels, codec_limits });
        cluster.take_over();
        cluster
    }

    /// Keeps the pools of endpoints that it has, and lets go of the others.
    fn take_over(&self) {
        let mut pools = self.state.pools.borrow_mut();
        if pools.is_empty() {
            return;
        }
        let mut former = std::mem::take(&mut *pools);
        for (at, endpoint) in self.config.endpoints.iter().enumerate() {
            let key = key(&self.config, endpoint);
            // Two endpoints may have one address.
            let Some(pool) = pools.get(&key).or_else(|| former.get(&key)).map(Rc::clone) else { continue };
            // Some connections of one that differs may lead where the endpoint is not any more.
            if !self.differs(&pool, endpoint) {
                former.remove(&key);
                self.set(&pool, at);
                let is_first = self.pools[at].set(Rc::clone(&pool)).is_ok();
                assert!(is_first, "an endpoint has one pool");
                pools.insert(key, pool);
            }
        }
        former.values().for_each(|pool| pool.retire());
    }

    /// The pool of the endpoint at a position.
    #[inline]
    pub(crate) fn pool(&self, at: usize) -> &Rc<EndpointPool> {
        self.pools[at].get_or_init(|| self.make_pool(at))
    }

    #[cold]
    fn make_pool(&self, at: usize) -> Rc<EndpointPool> {
        let endpoint = &self.config.endpoints[at];
        let fresh = || {
            let pool = Rc::new(EndpointPool::new(endpoint.address.clone()));
            self.set(&pool, at);
            pool
        };
        match self.state.pools.borrow_mut().entry(key(&self.config, endpoint)) {
            Entry::Occupied(place) if !self.differs(place.get(), endpoint) => Rc::clone(place.get()),
            // It serves this one request and keeps no connection.
            _ if self.is_over.get() => {
                let pool = fresh();
                pool.retire();
                pool
            }
            Entry::Occupied(mut place) => {
                place.insert(fresh()).retire();
                Rc::clone(place.get())
            }
            Entry::Vacant(place) => Rc::clone(place.insert(fresh())),
        }
    }

    fn transport(&self, endpoint: &Endpoint) -> &UpstreamTransport {
        &self.config.transports[usize::from(endpoint.transport)]
    }

    fn differs(&self, pool: &EndpointPool, endpoint: &Endpoint) -> bool {
        pool.differs_from(endpoint, self.transport(endpoint), self.config.logical)
    }

    /// A pool is as this version says.
    fn set(&self, pool: &EndpointPool, at: usize) {
        let endpoint = &self.config.endpoints[at];
        pool.set_addresses(endpoint);
        pool.set_transport(self.transport(endpoint), &endpoint.hostname);
        pool.set_reuse(self.config.http.reuse);
        pool.set_load(self.load_of(at));
        // The row is that of the address, whichever version: one pool of this core has it.
        if !self.is_over.get() {
            pool.set_row(self.rows.as_ref().map(|(rows, worker)| (rows[at].clone(), *worker)));
        }
    }

    /// The row of the endpoint at a position; of one of ORIGINAL_DST that of all.
    pub(crate) fn load_of(&self, at: usize) -> Option<Rc<CoreLoad>> {
        self.load.as_ref().map(|load| Rc::clone(load.of_endpoint(at)))
    }

    /// A circuit breaker kept a request from it.
    #[inline]
    pub(crate) fn overflowed(&self) {
        if let Some(load) = &self.load {
            load.overflowed();
        }
    }

    /// Where the endpoint of a pool stands.
    pub(crate) fn position_of(&self, pool: &Rc<EndpointPool>) -> Option<usize> {
        self.pools.iter().position(|place| place.get().is_some_and(|own| Rc::ptr_eq(own, pool)))
    }

    /// Requests under way to the endpoint at a position: of all cores, where they tell each other.
    #[inline]
    pub(crate) fn active(&self, at: usize) -> u32 {
        match self.pools[at].get() {
            Some(pool) => pool.active(),
            None => self.rows.as_ref().map_or(0, |(rows, _)| rows[at].sum()),
        }
    }

    /// The cluster is gone, or its worker ends: no connection is kept.
    pub(crate) fn retire(&self) {
        self.is_over.set(true);
        self.state.originals.get().iter().for_each(|originals| originals.retire());
        for (_, pool) in self.state.pools.borrow_mut().drain() {
            pool.retire();
        }
    }
}

impl ClusterState {
    /// Lets go of what cannot go on under another version.
    fn follow(&self, before: &Cluster, now: &Cluster) {
        let mut pools = self.pools.borrow_mut();
        if now.balancer.config().closes_with_changes && before.endpoints != now.endpoints {
            pools.drain().for_each(|(_, pool)| pool.retire());
        }
        // A connection of HTTP/2 was made under the options of its time, which its peer was told: it takes no more streams under others.
        let options =
            |config: &Cluster| (config.http2, config.http.response_head_bytes_max, config.http.response_fields_max);
        if options(before) != options(now) {
            pools.values().for_each(|pool| pool.links.retire());
            self.originals.get().iter().for_each(|originals| originals.retire_links());
        }
        if before.transports != now.transports {
            self.originals.get().iter().for_each(|originals| originals.retire());
        }
    }
}

/// What an endpoint's pool is known by.
fn key(cluster: &Cluster, endpoint: &Endpoint) -> Address {
    if cluster.logical { LOGICAL } else { endpoint.address.clone() }
}

/// Where each endpoint of a version stands.
fn positions(cluster: &Cluster) -> HashMap<Address, usize> {
    cluster.endpoints.iter().enumerate().map(|(at, endpoint)| (key(cluster, endpoint), at)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringway_model::{
        Balancer, CircuitBreakers, ClusterId, Http1Rules, Http2Options, LoadBalancing, Placement, UpstreamHttp,
        UpstreamProtocol,
    };
    use ringway_observe::Registry;

    use super::*;
    use crate::breakers::ClusterLimits;

    fn cluster(ports: &[u16]) -> Arc<Cluster> {
        let endpoint = |port: &u16| Endpoint {
            address: ([127, 0, 0, 1], *port).into(),
            attempts: Vec::new(),
            hostname: String::new(),
            placement: Placement::default(),
            transport: 0,
        };
        let endpoints: Vec<Endpoint> = ports.iter().map(endpoint).collect();
        Arc::new(Cluster {
            id: ClusterId(0),
            name: "c".into(),
            stat_name: "c".into(),
            service_name: String::new(),
            connect_timeout: Duration::from_secs(5),
            buffer_bytes_max: None,
            circuit_breakers: CircuitBreakers::default(),
            high_breakers: None,
            balancer: Balancer::new(LoadBalancing::default(), &endpoints),
            endpoints: endpoints.into(),
            logical: false,
            outgoing: None,
            http: UpstreamHttp::default(),
            http1: Http1Rules::default(),
            http2: Http2Options::default(),
            protocol: UpstreamProtocol::default(),
            transports: [UpstreamTransport::default()].into(),
            original_dst: None,
        })
    }

    fn state(config: &Cluster) -> Rc<ClusterState> {
        let registry = Registry::new(1);
        let stats = registry.cluster("c");
        let limits = Arc::new(ClusterLimits::new(config, &stats, registry.breakers("c"), 1));
        Rc::new(ClusterState::new(&ClusterSeed { id: config.id, stats: Arc::clone(&stats[0]), limits }))
    }

    fn version(ports: &[u16], before: &CoreCluster) -> Rc<CoreCluster> {
        CoreCluster::new(cluster(ports), Rc::clone(&before.state), Some(before), None, None, &mut || 0)
    }

    fn first(ports: &[u16]) -> Rc<CoreCluster> {
        let config = cluster(ports);
        CoreCluster::new(Arc::clone(&config), state(&config), None, None, None, &mut || 0)
    }

    /// They are made for the first request that has the priority: guards against those that the cluster came with, and against a limit for each core.
    #[test]
    fn limits_of_the_priority_high_are_those_of_now_and_of_the_process() {
        let with = |requests_max| {
            let high = CircuitBreakers { requests_max, ..CircuitBreakers::default() };
            Cluster { high_breakers: Some(high), ..(*cluster(&[1])).clone() }
        };
        let registry = Registry::new(2);
        let stats = registry.cluster("c");
        let limits = Arc::new(ClusterLimits::new(&with(9), &stats, registry.breakers("c"), 2));
        let seed =
            |stats: &Arc<_>| ClusterSeed { id: ClusterId(0), stats: Arc::clone(stats), limits: Arc::clone(&limits) };
        let [one, other] = [0, 1].map(|core| ClusterState::new(&seed(&stats[core])));
        assert!(limits.set(&with(1)));
        let requests = |state: &ClusterState| state.breakers_of(Priority::High).requests.try_acquire();
        assert_eq!([&one, &other, &one].map(requests), [true, false, false]);
        assert!(limits.set(&with(2)));
        assert_eq!([&one, &other].map(requests), [true, false]);
        let is_default = |state: &ClusterState| state.breakers_of(Priority::Default).requests.try_acquire();
        assert_eq!([&one, &other].map(is_default), [true, true]);
        assert!(!limits.set(&cluster(&[1])), "a priority that goes");
        // What is shown: of limits that nobody has made, and of a priority that is gone.
        let levels = registry.breakers("c");
        let shown = |config: &Cluster| {
            ClusterLimits::new(config, &stats, Arc::clone(&levels), 2).show();
            (levels.high.rq_open.value(), levels.high.cx_open.value())
        };
        assert_eq!([shown(&with(0)), shown(&with(1))], [(1, 0), (0, 0)]);
        assert_eq!([shown(&with(0)), shown(&cluster(&[1]))], [(1, 0), (0, 0)]);
    }

    #[test]
    fn a_pool_is_made_when_it_is_asked_for_and_stays_while_its_endpoint_does() {
        let one = first(&[1, 2, 3]);
        assert!(one.state.pools.borrow().is_empty());
        let (two, three) = (Rc::clone(one.pool(1)), Rc::clone(one.pool(2)));
        assert_eq!((one.state.pools.borrow().len(), one.position_of(&two)), (2, Some(1)));
        let next = version(&[3, 4], &one);
        assert!(two.is_retired() && !three.is_retired());
        assert!(Rc::ptr_eq(next.pool(0), &three));
        assert_eq!(next.state.pools.borrow().len(), 1);
        next.retire();
        assert!(three.is_retired() && next.state.pools.borrow().is_empty());
    }

    #[test]
    fn who_picks_by_a_version_that_is_over_leaves_nothing_behind() {
        let one = first(&[1, 2]);
        let next = version(&[2, 3], &one);
        // Still there: both versions share the pool, whoever asks first.
        assert!(Rc::ptr_eq(next.pool(0), one.pool(1)) && !one.pool(1).is_retired());
        // Gone: its connection ends with the request.
        assert!(one.pool(0).is_retired());
        assert_eq!(next.state.pools.borrow().len(), 1);
        next.retire();
        assert!(next.pool(1).is_retired() && next.state.pools.borrow().is_empty());
    }

    #[test]
    fn endpoints_of_one_address_share_a_pool() {
        let one = first(&[7, 7]);
        assert!(Rc::ptr_eq(one.pool(0), one.pool(1)));
        let next = version(&[7, 7], &one);
        assert!(Rc::ptr_eq(next.pool(0), one.pool(0)) && Rc::ptr_eq(next.pool(1), one.pool(0)));
    }
}
