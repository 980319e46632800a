//! The endpoints of an ORIGINAL_DST cluster: the addresses that clients wanted, made when one is asked for.
//!
//! ```text
//!   asked for ──> kept, with its pool ──────────────> gone: nobody asked for it in a whole `cleanup_interval`
//!                   ^         │ asked for again
//!                   └─────────┘
//! ```
//!
//! It never asks the kernel: where a client wanted to go was learned on arrival, or stands in a field of its request. Invariant: while
//! there is an address, its cleaner runs.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringway_model::{Address, UpstreamTransport};
use ringway_runtime::{Core, Instant};

use crate::core_cluster::CoreCluster;
use crate::pool::EndpointPool;
use crate::worker::Worker;

/// Addresses that one worker keeps for one cluster; beyond it, those that nobody uses go first, and when all are used a new one is refused
/// like an unhealthy endpoint. More than any host talks to at once, and 0.6 KiB each: 10 MiB.
const ADDRESSES_MAX: usize = 16 << 10;
/// How often a full table is searched for unused ones: each search looks at all.
const SEARCH_EVERY: Duration = Duration::from_secs(1);

struct Entry {
    pool: Rc<EndpointPool>,
    /// Asked for since the cleaner looked last.
    is_asked: Cell<bool>,
}

/// One cluster's addresses on this core.
#[derive(Default)]
pub(crate) struct Originals {
    pools: RefCell<HashMap<SocketAddr, Entry>>,
    interval: Cell<Duration>,
    cleaner_runs: Cell<bool>,
    searched_at: Cell<Option<Instant>>,
}

/// The endpoint for a client that wanted to go to `restored`, or whose request says in the cluster's own field where (`told`). `None`: neither
/// names an address, or there is no room for one more.
pub(crate) fn endpoint(
    worker: &Worker,
    cluster: &CoreCluster,
    told: Option<&[u8]>,
    restored: Option<SocketAddr>,
) -> Option<Rc<EndpointPool>> {
    let config = cluster.config.original_dst.as_ref()?;
    let told = told.and_then(|told| {
        let address = std::str::from_utf8(told).ok().and_then(|text| text.parse().ok());
        if address.is_none() {
            cluster.state.breakers.stats.original_dst_host_invalid.add(1);
        }
        address
    });
    let mut address = told.or(restored)?;
    if let Some(port) = config.port {
        address.set_port(port);
    }
    let originals = cluster.state.originals();
    originals.interval.set(config.cleanup_interval);
    let transport = &cluster.config.transports[0];
    let pool = originals.find(&worker.core, address, transport)?;
    pool.set_reuse(cluster.config.http.reuse);
    pool.set_transport(transport, "");
    if cluster.load.is_some() {
        pool.set_load(cluster.load_of(0));
    }
    Some(pool)
}

impl Originals {
    fn find(
        self: &Rc<Self>,
        core: &Core,
        address: SocketAddr,
        transport: &UpstreamTransport,
    ) -> Option<Rc<EndpointPool>> {
        if let Some(entry) = self.pools.borrow().get(&address)
            && entry.pool.begins_with(transport, "")
        {
            entry.is_asked.set(true);
            return Some(Rc::clone(&entry.pool));
        }
        // Its connections began with certificates that are not the cluster's any more.
        if let Some(entry) = self.pools.borrow_mut().remove(&address) {
            entry.pool.retire();
        }
        if self.pools.borrow().len() >= ADDRESSES_MAX && !self.make_room(core.now()) {
            return None;
        }
        let pool = Rc::new(EndpointPool::new(Address::Ip(address)));
        let entry = Entry { pool: Rc::clone(&pool), is_asked: Cell::new(true) };
        self.pools.borrow_mut().insert(address, entry);
        if !self.cleaner_runs.replace(true) {
            core.spawn("original_dst", clean(core.clone(), Rc::clone(self)));
        }
        Some(pool)
    }

    /// Lets go of addresses without a connection. Whether there is room now.
    #[cold]
    fn make_room(&self, now: Instant) -> bool {
        if self.searched_at.get().is_some_and(|at| now < at + SEARCH_EVERY) {
            return false;
        }
        self.searched_at.set(Some(now));
        self.keep(|entry| !entry.pool.is_unused());
        self.pools.borrow().len() < ADDRESSES_MAX
    }

    fn keep(&self, is_kept: impl Fn(&Entry) -> bool) {
        let gone: Vec<_> = self.pools.borrow_mut().extract_if(|_, entry| !is_kept(entry)).collect();
        gone.iter().for_each(|(_, entry)| entry.pool.retire());
    }

    /// Connections were made under options that have changed.
    pub(crate) fn retire_links(&self) {
        self.pools.borrow().values().for_each(|entry| entry.pool.links.retire());
    }

    /// Lets go of all: the cluster is gone.
    pub(crate) fn retire(&self) {
        self.keep(|_| false);
    }
}

/// The cleaner. Ends with the last address.
async fn clean(core: Core, originals: Rc<Originals>) {
    let timer = core.timer();
    loop {
        timer.set(core.now() + originals.interval.get().max(INTERVAL_MIN));
        timer.expired().await;
        originals.keep(|entry| entry.is_asked.replace(false));
        if originals.pools.borrow().is_empty() {
            originals.cleaner_runs.set(false);
            return;
        }
    }
}

/// The cleaner looks at all addresses; more often would be a load of its own.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use ringway_runtime::{IoChoice, Options, Wake, run};

    use super::*;

    fn on_a_core(work: impl AsyncFnOnce(Core) + 'static) {
        let options = Options { io: IoChoice::Poll, ..Options::default() };
        let wake = Wake::new().expect("an eventfd");
        run(&options, wake, |core, _| async { work(core).await }).expect("the poll driver runs everywhere");
    }

    fn address(number: usize) -> SocketAddr {
        ([10, 0, (number >> 8) as u8, number as u8], 80).into()
    }

    #[test]
    fn an_address_that_nobody_asks_for_goes_and_its_pool_with_it() {
        on_a_core(async |core: Core| {
            let originals = Rc::new(Originals::default());
            let find = |number| originals.find(&core, address(number), &UpstreamTransport::default()).expect("room");
            let (asked, left) = (find(1), find(2));
            assert!(Rc::ptr_eq(&asked, &find(1)) && !Rc::ptr_eq(&asked, &left));
            let timer = core.timer();
            while !left.is_retired() {
                find(1);
                timer.set(core.now() + Duration::from_millis(1));
                timer.expired().await;
            }
            assert!(!asked.is_retired() && Rc::ptr_eq(&asked, &find(1)));
            // Its cleaner ends with the last one, and begins again with the next.
            while originals.cleaner_runs.get() {
                timer.set(core.now() + Duration::from_millis(1));
                timer.expired().await;
            }
            assert!(asked.is_retired() && originals.pools.borrow().is_empty());
            find(3);
            assert!(originals.cleaner_runs.get());
            originals.retire();
        });
    }

    #[test]
    fn a_full_table_lets_go_of_what_nobody_uses_and_else_takes_no_more() {
        on_a_core(async |core: Core| {
            let originals = Rc::new(Originals::default());
            originals.interval.set(Duration::from_secs(3600));
            let used: Vec<_> = (0..ADDRESSES_MAX)
                .map(|number| {
                    originals.find(&core, address(number), &UpstreamTransport::default()).expect("room").begin_request()
                })
                .collect();
            assert!(originals.find(&core, address(ADDRESSES_MAX), &UpstreamTransport::default()).is_none());
            drop(used);
            // One search a second.
            assert!(originals.find(&core, address(ADDRESSES_MAX), &UpstreamTransport::default()).is_none());
            originals.searched_at.set(None);
            assert!(originals.find(&core, address(ADDRESSES_MAX), &UpstreamTransport::default()).is_some());
            assert_eq!(originals.pools.borrow().len(), 1);
            originals.retire();
        });
    }
}
