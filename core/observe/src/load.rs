//! What load reports (LRS) are made of: the requests to each locality of each cluster, counted by each worker for itself.
//!
//! Only a process that reports its load has any of it: [`Registry::begin_loads`](crate::Registry::begin_loads). A worker writes its
//! own rows; whoever reports sums them, as a scrape does. A row is known by a serial number: a locality that goes and comes again
//! has another one, and begins at nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringway_model::{Cluster, Locality};

use crate::{Counter, Gauge};

/// What one worker does towards one locality of one cluster. Aligned, so that two workers share no cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct LocalityLoad {
    /// Requests sent, each try counted.
    pub issued: Counter,
    /// Tries under way, those that wait for a connection included.
    pub active: Gauge,
    /// Responses but for 5xx, and gRPC's like of it.
    pub successful: Counter,
    /// 5xx, tries that failed, and connections that could not be made.
    pub failed: Counter,
}

/// What one worker did not send to a cluster.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct DroppedLoad {
    /// Requests refused by circuit breakers and by `drop_overloads`.
    pub all: Counter,
    /// Those refused by `drop_overloads`.
    pub overload: Counter,
}

/// One locality of one priority, with a row for each worker.
#[derive(Clone, Debug)]
pub struct LocalityRows {
    /// `priority`.
    pub priority: u32,
    /// `locality`.
    pub locality: Option<Arc<Locality>>,
    /// Which rows these are.
    pub serial: u64,
    /// By worker.
    pub workers: Arc<[LocalityLoad]>,
}

/// The rows of one version of a cluster.
#[derive(Debug)]
pub struct ClusterRows {
    /// Its name, which is not the one in statistics.
    pub name: String,
    /// `eds_cluster_config.service_name`; may be empty.
    pub service_name: String,
    /// `category` of its `drop_overloads`.
    pub drop_category: Option<Arc<str>>,
    /// Which cluster of the name it is.
    pub serial: u64,
    /// By worker.
    pub dropped: Arc<[DroppedLoad]>,
    /// At least one.
    pub localities: Vec<LocalityRows>,
    /// Of each endpoint, in the order of the configuration, its place in `localities`.
    pub of_endpoints: Arc<[u32]>,
}

/// What all workers together did towards one locality, since its rows began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalitySum {
    /// As [`LocalityLoad::issued`].
    pub issued: u64,
    /// As [`LocalityLoad::successful`].
    pub successful: u64,
    /// As [`LocalityLoad::failed`].
    pub failed: u64,
    /// Those under way now.
    pub in_progress: u64,
}

impl LocalityRows {
    /// The sum over the workers. What became of requests is read before how many there were, so that none seems to have an end and no
    /// beginning.
    pub fn sum(&self) -> LocalitySum {
        let mut sum = LocalitySum::default();
        for row in &*self.workers {
            sum.successful += row.successful.value();
            sum.failed += row.failed.value();
            sum.in_progress += row.active.value();
            sum.issued += row.issued.value();
        }
        sum
    }
}

impl ClusterRows {
    /// Requests that were dropped, and those of them dropped by `drop_overloads`.
    pub fn dropped(&self) -> (u64, u64) {
        let rows = self.dropped.iter();
        rows.fold((0, 0), |(all, overload), row| (all + row.all.value(), overload + row.overload.value()))
    }
}

/// The rows of all clusters in force. Its lock is taken by the control thread at a commit and by who reports, for as long as it
/// takes to find a name or to copy the list of them; by no worker.
#[derive(Debug, Default)]
pub struct LoadBook(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    clusters: BTreeMap<String, Arc<ClusterRows>>,
    /// The last serial number that was given.
    serial: u64,
}

impl LoadBook {
    /// Takes up a cluster that is new or has changed. Localities that it had before keep their rows; those that it has no more are
    /// forgotten, with what of them was not reported yet.
    pub fn set(&self, cluster: &Cluster, workers: usize) -> Arc<ClusterRows> {
        let mut rows = self.rows();
        let before = rows.clusters.remove(&cluster.name);
        let mut localities: Vec<LocalityRows> = Vec::new();
        let mut places = HashMap::new();
        let mut place = |rows: &mut Rows, priority: u32, locality: &Option<Arc<Locality>>| -> u32 {
            // One that says nothing and one that is empty look the same in a report.
            let locality = locality.clone().filter(|locality| **locality != Locality::default());
            *places.entry((priority, locality.clone())).or_insert_with(|| {
                let known = before.iter().flat_map(|before| &before.localities);
                let mut known = known.filter(|known| known.priority == priority && known.locality == locality);
                localities.push(known.next().cloned().unwrap_or_else(|| LocalityRows {
                    priority,
                    locality,
                    serial: rows.next(),
                    workers: (0..workers).map(|_| LocalityLoad::default()).collect(),
                }));
                u32::try_from(localities.len() - 1).expect("no more than endpoints")
            })
        };
        let endpoints = cluster.endpoints.iter().map(|endpoint| &endpoint.placement);
        let of_endpoints =
            endpoints.map(|placement| place(&mut rows, placement.priority, &placement.locality)).collect();
        if cluster.endpoints.is_empty() {
            // An ORIGINAL_DST cluster has none of its own.
            place(&mut rows, 0, &None);
        }
        let serial = before.as_ref().map_or_else(|| rows.next(), |before| before.serial);
        let fresh = || (0..workers).map(|_| DroppedLoad::default()).collect();
        let dropped = before.as_ref().map_or_else(fresh, |before| Arc::clone(&before.dropped));
        // Where none is named any more, what is not reported yet was of the last one.
        let named = cluster.balancer.config().drop_category.clone();
        let drop_category = named.or_else(|| before.as_ref().and_then(|before| before.drop_category.clone()));
        let now = Arc::new(ClusterRows {
            name: cluster.name.clone(),
            service_name: cluster.service_name.clone(),
            drop_category,
            serial,
            dropped,
            localities,
            of_endpoints,
        });
        rows.clusters.insert(cluster.name.clone(), Arc::clone(&now));
        now
    }

    /// Forgets a cluster. Workers that still serve its last requests go on writing; nobody reads it.
    pub fn remove(&self, name: &str) {
        self.rows().clusters.remove(name);
    }

    /// The clusters that are wanted, by name.
    pub fn clusters(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Arc<ClusterRows>> {
        let rows = self.rows();
        rows.clusters.iter().filter(|(name, _)| is_wanted(name)).map(|(_, rows)| Arc::clone(rows)).collect()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringway_model::{
        Balancer, CircuitBreakers, ClusterId, Endpoint, Http1Rules, Http2Options, LoadBalancing, Placement,
        UpstreamHttp, UpstreamProtocol, UpstreamTransport,
    };

    use super::*;

    /// A cluster of endpoints in these zones, of these priorities.
    fn cluster(zones: &[(&str, u32)]) -> Cluster {
        let endpoint = |(zone, priority): &(&str, u32)| Endpoint {
            address: ([127, 0, 0, 1], 1).into(),
            attempts: Vec::new(),
            hostname: String::new(),
            placement: Placement {
                priority: *priority,
                locality: Some(Arc::new(Locality { zone: (*zone).into(), ..Locality::default() })),
                ..Placement::default()
            },
            transport: 0,
        };
        let endpoints: Vec<Endpoint> = zones.iter().map(endpoint).collect();
        Cluster {
            id: ClusterId(0),
            name: "c".into(),
            stat_name: "shared".into(),
            service_name: "s".into(),
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
        }
    }

    #[test]
    fn localities_of_each_priority_have_rows_that_all_workers_write() {
        let book = LoadBook::default();
        let rows = book.set(&cluster(&[("a", 0), ("b", 0), ("a", 0), ("a", 1)]), 2);
        assert_eq!(*rows.of_endpoints, [0, 1, 0, 2]);
        let first = &rows.localities[0];
        first.workers[0].issued.add(3);
        first.workers[1].issued.add(4);
        first.workers[1].active.add(5);
        first.workers[1].failed.add(1);
        assert_eq!(first.sum(), LocalitySum { issued: 7, successful: 0, failed: 1, in_progress: 5 });
        assert_eq!(rows.localities[1].sum(), LocalitySum::default());
        assert_eq!(rows.localities[2].priority, 1);
    }

    #[test]
    fn rows_last_as_long_as_their_locality_and_their_cluster() {
        let book = LoadBook::default();
        let one = book.set(&cluster(&[("a", 0), ("b", 0)]), 1);
        let two = book.set(&cluster(&[("b", 0), ("c", 0)]), 1);
        assert!(Arc::ptr_eq(&one.localities[1].workers, &two.localities[0].workers));
        assert!(Arc::ptr_eq(&one.dropped, &two.dropped) && one.serial == two.serial);
        let three = book.set(&cluster(&[("a", 0)]), 1);
        assert_ne!(three.localities[0].serial, one.localities[0].serial);
        book.remove("c");
        assert!(book.clusters(|_| true).is_empty());
        let four = book.set(&cluster(&[("a", 0)]), 1);
        assert_ne!((four.serial, four.localities[0].serial), (three.serial, three.localities[0].serial));
    }

    #[test]
    fn a_cluster_without_endpoints_has_a_locality_that_says_nothing() {
        let book = LoadBook::default();
        let rows = book.set(&cluster(&[]), 1);
        assert_eq!((rows.localities.len(), rows.of_endpoints.len()), (1, 0));
        assert_eq!((rows.localities[0].priority, &rows.localities[0].locality), (0, &None));
        // Which is that of endpoints whose locality is empty.
        let after = book.set(&cluster(&[("", 0)]), 1);
        assert_eq!(after.localities[0].serial, rows.localities[0].serial);
        assert_eq!(book.clusters(|name| name == "c").len(), 1);
        assert!(book.clusters(|name| name == "d").is_empty());
    }
}
