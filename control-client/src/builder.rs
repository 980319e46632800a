//! From resources to snapshots: numbers that last for names, and the same `Arc` for what did not change.
//!
//! Content is compared, not text: a file that says the same in other words gives the same snapshot. It costs what the file
//! holds, once per load; what xDS sends later is compared resource by resource.
//!
//! Invariant: within all snapshots that somebody still holds, a number stands for one name.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};

use ringway_model::{
    Action, ChainId, Cluster, ClusterId, Endpoint, FilterChain, HttpConnectionManager, Listener, ListenerId,
    NetworkFilter, Pages, RouteConfiguration, Snapshot, Target, TcpProxy,
};

use crate::bootstrap::{Bootstrap, ClusterPart, Resources};
use crate::cache::ClusterParts;

/// What building gave.
#[derive(Clone, Debug)]
pub enum Built {
    /// A new generation, to be committed.
    New(Arc<Snapshot>),
    /// Nothing differs from the generation before, which is this one: there is nothing to commit.
    Same(Arc<Snapshot>),
}

impl Built {
    /// The snapshot, new or not.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        match self {
            Built::New(snapshot) | Built::Same(snapshot) => snapshot,
        }
    }
}

/// Builds one snapshot after the other. A copy goes its own way: what it builds counts only where it takes the place of the original.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    last: Option<Arc<Snapshot>>,
    clusters: Ids<Cluster>,
    listeners: Ids<Listener>,
    /// Every snapshot that somebody may still hold, oldest first.
    held: Vec<(u64, Weak<Snapshot>)>,
    /// Filter chains that were given a number: none is given out twice.
    chains: u32,
    /// Which parts the last snapshot was built of, by serial.
    serials: Arc<Serials>,
}

/// Serials by cluster and by listener; of what has none, none.
#[derive(Clone, Debug, Default)]
struct Serials {
    clusters: Pages<u64>,
    listeners: HashMap<ListenerId, u64>,
}

impl Builder {
    /// A builder that has built nothing: the first snapshot is generation 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// The snapshot that was built last.
    pub fn last(&self) -> Option<&Arc<Snapshot>> {
        self.last.as_ref()
    }

    /// What the last snapshot has of a part, if it was built of this very one.
    pub(crate) fn made_of(&self, part: &ClusterPart) -> Option<&Arc<Cluster>> {
        let last = self.last.as_ref()?;
        let id = last.clusters.id_of(part.cluster.name.as_bytes())?;
        let is_of_it = part.serial != 0 && self.serials.clusters.get(id.0 as usize) == Some(&part.serial);
        is_of_it.then(|| last.clusters.get(id)).flatten()
    }

    /// Builds the snapshot of these resources. It cannot fail: what can be wrong was refused when they were read.
    pub fn build(&mut self, bootstrap: &Bootstrap) -> Built {
        self.build_resources(&bootstrap.resources)
    }

    /// Builds the next snapshot: the last one, but for these clusters' endpoints. Clusters that it does not have do not count.
    pub fn with_endpoints(&mut self, endpoints: BTreeMap<String, Vec<Endpoint>>) -> Built {
        let last = self.last.clone().unwrap_or_default();
        let changed = endpoints.into_iter().filter_map(|(name, endpoints)| {
            let before = last.clusters.get(last.clusters.id_of(name.as_bytes())?)?;
            if *before.endpoints == *endpoints {
                return None;
            }
            let mut cluster = (**before).clone();
            cluster.set_endpoints(endpoints);
            Some((0, Arc::new(cluster)))
        });
        let changed: Vec<_> = changed.collect();
        self.replace(last, changed)
    }

    /// Builds the next snapshot: the last one, but for these clusters, which it has under the same names. It costs what
    /// they cost, and a
    /// copy of the table.
    pub fn with_clusters(&mut self, parts: &ClusterParts) -> Built {
        let last = self.last.clone().unwrap_or_default();
        let changed = parts.0.iter().filter_map(|part| {
            let id = last.clusters.id_of(part.cluster.name.as_bytes())?;
            let before = last.clusters.get(id)?;
            let built = keep_cluster(Cluster { id, ..(*part.cluster).clone() }, Some(before));
            // Also one that is the same: it is of another version now.
            Some((part.serial, built))
        });
        let changed: Vec<_> = changed.collect();
        self.replace(last, changed)
    }

    fn replace(&mut self, last: Arc<Snapshot>, made: Vec<(u64, Arc<Cluster>)>) -> Built {
        let mut snapshot = Snapshot { generation: last.generation + 1, ..(*last).clone() };
        for (serial, cluster) in made {
            let serials = Arc::make_mut(&mut self.serials);
            serials.clusters.set(cluster.id.0 as usize, Some(serial).filter(|serial| *serial != 0));
            if !last.clusters.get(cluster.id).is_some_and(|before| Arc::ptr_eq(before, &cluster)) {
                snapshot.clusters.insert(cluster);
            }
        }
        if snapshot.clusters.changes(&last.clusters).next().is_none() {
            return Built::Same(last);
        }
        self.keep_last(snapshot)
    }

    fn keep_last(&mut self, snapshot: Snapshot) -> Built {
        let snapshot = Arc::new(snapshot);
        self.held.retain(|(_, snapshot)| snapshot.strong_count() > 0);
        self.held.push((snapshot.generation, Arc::downgrade(&snapshot)));
        self.last = Some(snapshot.clone());
        Built::New(snapshot)
    }

    /// Builds the snapshot of these resources. It cannot fail: what can be wrong was refused when they were read.
    pub fn build_resources(&mut self, resources: &Resources) -> Built {
        let generation = self.last.as_ref().map_or(0, |last| last.generation);
        self.held.retain(|(_, snapshot)| snapshot.strong_count() > 0);
        let oldest = self.held.first().map_or(u64::MAX, |(generation, _)| *generation);
        let last = self.last.clone().unwrap_or_default();

        // Every name that a cluster has or a route mentions.
        let own = resources.clusters.iter().map(|part| part.cluster.name.as_str());
        let named = resources.listeners.iter().flat_map(|part| part.cluster_names.iter().map(String::as_str));
        self.clusters.retire(own.chain(named).collect(), generation, |id| last.clusters.get(ClusterId(id)));
        self.clusters.release(oldest);
        let names = resources.listeners.iter().map(|part| part.listener.name.as_str());
        self.listeners.retire(names.collect(), generation, |id| last.listener(ListenerId(id)));
        self.listeners.release(oldest);

        let mut snapshot = Snapshot { generation: generation + 1, ..Snapshot::default() };
        let mut serials = Serials::default();
        for ClusterPart { serial, cluster } in &resources.clusters {
            let id = ClusterId(self.clusters.id(&cluster.name));
            let before = last.clusters.get(id);
            let known = before.filter(|_| *serial != 0 && self.serials.clusters.get(id.0 as usize) == Some(serial));
            snapshot.clusters.insert(match known {
                Some(known) => known.clone(),
                None => keep_cluster(Cluster { id, ..(**cluster).clone() }, before),
            });
            serials.clusters.set(id.0 as usize, Some(*serial).filter(|serial| *serial != 0));
        }
        for part in &resources.listeners {
            let id = ListenerId(self.listeners.id(&part.listener.name));
            let before = last.listener(id);
            let known = before.filter(|_| part.serial != 0 && self.serials.listeners.get(&id) == Some(&part.serial));
            snapshot.listeners.push(match known {
                Some(known) => known.clone(),
                None => {
                    let ids: Vec<ClusterId> =
                        part.cluster_names.iter().map(|name| ClusterId(self.clusters.id(name))).collect();
                    keep_listener(&part.listener, id, &ids, before, &mut self.chains)
                }
            });
            if part.serial != 0 {
                serials.listeners.insert(id, part.serial);
            }
        }
        let named = resources.listeners.iter().flat_map(|part| &part.cluster_names);
        let named = named.map(|name| (ClusterId(self.clusters.id(name)), name));
        let missing = named.filter(|(id, _)| snapshot.clusters.get(*id).is_none());
        let missing = missing.map(|(id, name)| (id, name.clone())).collect();
        snapshot.clusters.set_missing(missing);
        self.serials = Arc::new(serials);
        if let Some(last) = &self.last
            && same(last, &snapshot)
        {
            return Built::Same(last.clone());
        }
        self.keep_last(snapshot)
    }
}

/// Whether two snapshots hold the very same things, the generation aside.
fn same(one: &Snapshot, other: &Snapshot) -> bool {
    one.listeners.len() == other.listeners.len()
        && one.listeners.iter().zip(&other.listeners).all(|(one, other)| Arc::ptr_eq(one, other))
        && one.clusters.changes(&other.clusters).next().is_none()
}

/// The `Arc` of before where the content is equal.
fn keep<T: PartialEq>(new: T, before: Option<&Arc<T>>) -> Arc<T> {
    match before {
        Some(before) if **before == new => before.clone(),
        _ => Arc::new(new),
    }
}

/// The same of a cluster; what takes long to build is built only where it is new.
fn keep_cluster(mut new: Cluster, before: Option<&Arc<Cluster>>) -> Arc<Cluster> {
    match before {
        Some(before) if **before == new => before.clone(),
        _ => {
            new.complete(before.map(|before| &**before));
            Arc::new(new)
        }
    }
}

/// The listener with the numbers that last, and with each part of before that is equal.
fn keep_listener(
    listener: &Listener,
    id: ListenerId,
    ids: &[ClusterId],
    before: Option<&Arc<Listener>>,
    chains_numbered: &mut u32,
) -> Arc<Listener> {
    let mut chain = |chain: &Arc<FilterChain>, is_default: bool| {
        let numbered_tcp = match &chain.filter {
            NetworkFilter::Http(_) => None,
            NetworkFilter::Tcp(proxy) => {
                let target = proxy.target.numbered(|id| ids[id.0 as usize]);
                Some(Arc::new(TcpProxy { target, ..(**proxy).clone() }))
            }
        };
        let is_same = |before: &&Arc<FilterChain>| is_same_chain(before, chain, numbered_tcp.as_ref());
        let before = before.and_then(|before| match is_default {
            true => before.default_chain.as_ref().filter(is_same),
            false => before.chains.iter().find(is_same),
        });
        let id = before.map(|before| before.id).unwrap_or_else(|| {
            *chains_numbered += 1;
            ChainId(*chains_numbered)
        });
        let filter = match (&chain.filter, numbered_tcp) {
            (NetworkFilter::Http(manager), _) => {
                let manager_before = before.and_then(|before| before.http());
                let routes = keep(
                    numbered(&manager.routes, |id| ids[id.0 as usize]),
                    manager_before.map(|before| &before.routes),
                );
                NetworkFilter::Http(keep(HttpConnectionManager { routes, ..(**manager).clone() }, manager_before))
            }
            (NetworkFilter::Tcp(_), proxy) => NetworkFilter::Tcp(proxy.expect("numbered above")),
        };
        keep(FilterChain { id, filter, ..(**chain).clone() }, before)
    };
    let chains = listener.chains.iter().map(|each| chain(each, false)).collect();
    let default_chain = listener.default_chain.as_ref().map(|each| chain(each, true));
    keep(Listener { id, chains, default_chain, ..listener.clone() }, before)
}

/// Whether two chains accept the same connections in the same way: by the same rules of access, under the same configuration of TLS, and raw
/// ones to the same place. What they do with requests may differ, and so may what files of certificates hold. Of the chains of one listener
/// no two do: their matches differ. `tcp` is that of `new`, with the numbers that last.
fn is_same_chain(before: &FilterChain, new: &FilterChain, tcp: Option<&Arc<TcpProxy>>) -> bool {
    let is_same_filter = match (&before.filter, tcp) {
        (NetworkFilter::Http(_), None) => true,
        (NetworkFilter::Tcp(before), Some(new)) => before == new,
        _ => false,
    };
    is_same_filter
        && before.name == new.name
        && before.matches == new.matches
        && before.before == new.before
        && before.transport.identity() == new.transport.identity()
}

/// The routes with other numbers for their clusters.
pub(crate) fn numbered(routes: &RouteConfiguration, number: impl Fn(ClusterId) -> ClusterId) -> RouteConfiguration {
    let mut routes = routes.clone();
    for action in routes.actions_mut() {
        let Action::Forward(forward) = action else { continue };
        match &mut forward.target {
            Target::Cluster(id) => *id = number(*id),
            Target::Weighted { clusters, .. } => {
                for entry in clusters {
                    entry.cluster = number(entry.cluster);
                }
            }
            Target::Header(_) => {}
        }
    }
    routes
}

/// Numbers for names. A number is given out again only when no snapshot with its old meaning is held any more, and nobody holds the thing
/// itself: a worker that skips a generation must not mistake a new cluster for the old one of the same number.
#[derive(Debug)]
struct Ids<T> {
    /// Shared by copies, until a name comes or goes.
    by_name: Arc<HashMap<String, u32>>,
    /// Numbers below this have been given out.
    next: u32,
    free: BTreeSet<u32>,
    retired: Vec<Retired<T>>,
}

/// A number whose name is gone.
#[derive(Debug)]
struct Retired<T> {
    id: u32,
    /// The last generation in which it had its meaning.
    generation: u64,
    thing: Weak<T>,
}

impl<T> Clone for Ids<T> {
    fn clone(&self) -> Self {
        let retired = self.retired.iter().map(|retired| Retired { thing: retired.thing.clone(), ..*retired });
        Self { by_name: self.by_name.clone(), next: self.next, free: self.free.clone(), retired: retired.collect() }
    }
}

impl<T> Default for Ids<T> {
    fn default() -> Self {
        Self { by_name: Arc::default(), next: 0, free: BTreeSet::new(), retired: Vec::new() }
    }
}

impl<T> Ids<T> {
    fn id(&mut self, name: &str) -> u32 {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        Arc::make_mut(&mut self.by_name).insert(name.to_owned(), id);
        id
    }

    /// Takes the numbers away from all names but these.
    fn retire<'a>(&mut self, names: HashSet<&str>, generation: u64, thing: impl Fn(u32) -> Option<&'a Arc<T>>)
    where
        T: 'a,
    {
        if self.by_name.keys().all(|name| names.contains(name.as_str())) {
            return;
        }
        let retired = &mut self.retired;
        Arc::make_mut(&mut self.by_name).retain(|name, id| {
            let kept = names.contains(name.as_str());
            if !kept {
                let thing = thing(*id).map_or_else(Weak::new, Arc::downgrade);
                retired.push(Retired { id: *id, generation, thing });
            }
            kept
        });
    }

    /// Frees the numbers that nobody can know any more; `oldest` is the oldest generation that is held.
    fn release(&mut self, oldest: u64) {
        let free = &mut self.free;
        self.retired.retain(|retired| {
            let known = retired.generation >= oldest || retired.thing.strong_count() > 0;
            if !known {
                free.insert(retired.id);
            }
            known
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::{ReadOptions, Source, read_bootstrap};

    /// A file with these clusters, each with an endpoint on its port, and one listener per route.
    fn file(clusters: &[(&str, u16)], routes: &[(&str, &str)]) -> Bootstrap {
        let mut text = String::from("static_resources:\n  clusters:\n");
        for (name, port) in clusters {
            text += &format!(
                "  - {{name: {name}, load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{{endpoint: \
                 {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}}}\n"
            );
        }
        text += "  listeners:\n";
        for (name, cluster) in routes {
            text += &format!(
                "  - {{name: {name}, address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}, filter_chains: \
                 [{{filters: [{{name: hcm, typed_config: {{'@type': t/envoy.extensions.filters.network.\
                 http_connection_manager.v3.HttpConnectionManager, stat_prefix: s, route_config: {{virtual_hosts: [{{name: v, \
                 domains: ['*'], routes: [{{match: {{prefix: /}}, route: {{cluster: {cluster}}}}}]}}]}}, http_filters: [{{name: r, \
                 typed_config: {{'@type': t/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}]}}]}}\n"
            );
        }
        read_bootstrap(Source { name: "f", text: &text }, &ReadOptions::default()).expect("the file is right")
    }

    fn cluster<'s>(snapshot: &'s Snapshot, name: &str) -> &'s Arc<Cluster> {
        snapshot.clusters.iter().find(|cluster| cluster.name == name).expect("the cluster is there")
    }

    #[test]
    fn one_changed_endpoint_changes_one_cluster() {
        let mut builder = Builder::new();
        let routes = [("l0", "a"), ("l1", "b")];
        let one = builder.build(&file(&[("a", 1), ("b", 2), ("c", 3)], &routes)).snapshot().clone();
        let two = builder.build(&file(&[("a", 1), ("b", 9), ("c", 3)], &routes));
        assert!(matches!(two, Built::New(_)));
        let two = two.snapshot();
        assert_eq!((one.generation, two.generation), (1, 2));
        for name in ["a", "c"] {
            assert!(Arc::ptr_eq(cluster(&one, name), cluster(two, name)), "{name}");
        }
        assert_eq!(cluster(&one, "b").id, cluster(two, "b").id);
        assert_ne!(cluster(&one, "b"), cluster(two, "b"));
        for (before, after) in one.listeners.iter().zip(&two.listeners) {
            assert!(Arc::ptr_eq(before, after), "{}", before.name);
        }
    }

    #[test]
    fn order_and_additions_keep_numbers_and_parts() {
        let mut builder = Builder::new();
        let one = builder.build(&file(&[("a", 1), ("b", 2)], &[("l0", "a"), ("l1", "b")])).snapshot().clone();
        let two =
            builder.build(&file(&[("new", 7), ("b", 2), ("a", 1)], &[("l1", "b"), ("l0", "new")])).snapshot().clone();
        assert!(Arc::ptr_eq(cluster(&one, "a"), cluster(&two, "a")));
        assert!(Arc::ptr_eq(&one.listeners[1], &two.listeners[0]));
        assert_eq!(one.listeners[0].id, two.listeners[1].id);
        assert_eq!(cluster(&two, "new").id, ClusterId(2));
    }

    #[test]
    fn the_same_content_is_no_new_generation() {
        let mut builder = Builder::new();
        let one = builder.build(&file(&[("a", 1)], &[("l", "a")])).snapshot().clone();
        match builder.build(&file(&[("a", 1)], &[("l", "a")])) {
            Built::Same(two) => assert!(Arc::ptr_eq(&one, &two)),
            Built::New(two) => panic!("{two:?}"),
        }
    }

    /// Guards access: who was admitted by other rules, or raw to another place, does not stay under the new ones.
    #[test]
    fn a_chain_of_other_rules_or_of_another_place_is_another_chain() {
        let proxy = |before: &str, cluster: &str| {
            let listener = format!(
                "  listeners: [{{name: l, address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}, filter_chains: [{{filters: \
                 [{before}{{name: t, typed_config: {{'@type': t/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: s, \
                 cluster: {cluster}}}}}]}}]}}]\n"
            );
            let clusters = "static_resources:\n  clusters: [{name: new}, {name: a}, {name: b}]\n".to_owned();
            read_bootstrap(Source { name: "f", text: &(clusters + &listener) }, &ReadOptions::default()).expect("right")
        };
        let limit = "{name: c, typed_config: {'@type': t/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit, \
                     stat_prefix: c, max_connections: 5}}, ";
        let mut builder = Builder::new();
        let mut chain =
            |before: &str, cluster: &str| builder.build(&proxy(before, cluster)).snapshot().listeners[0].chains[0].id;
        let one = chain("", "a");
        assert_eq!(chain("", "a"), one);
        let other = chain("", "b");
        assert_ne!(other, one);
        let limited = chain(limit, "b");
        assert_ne!(limited, other);
        assert_eq!(chain(limit, "b"), limited);
        assert_ne!(chain(&limit.replace('5', "6"), "b"), limited);
    }

    #[test]
    fn a_number_is_given_out_again_only_when_nobody_knows_its_old_meaning() {
        let mut builder = Builder::new();
        let one = builder.build(&file(&[("a", 1), ("b", 2)], &[])).snapshot().clone();
        let old = cluster(&one, "b").clone();
        assert_eq!(old.id, ClusterId(1));
        let id = |built: &Built, name: &str| cluster(built.snapshot(), name).id;
        assert_eq!(id(&builder.build(&file(&[("a", 1), ("c", 3)], &[])), "c"), ClusterId(2));
        drop(one);
        assert_eq!(id(&builder.build(&file(&[("a", 1), ("c", 3), ("d", 4)], &[])), "d"), ClusterId(3));
        drop(old);
        assert_eq!(id(&builder.build(&file(&[("a", 1), ("c", 3), ("d", 4), ("e", 5)], &[])), "e"), ClusterId(1));
    }
}
