//! The control side: staging a configuration, the one store that commits it on all cores, retiring the last one, and
//! draining at the end (docs/CONFIG_COMMIT.md).
//!
//! ```text
//!   stage    bind what is new: all that can fail, fails here, and nothing has changed
//!   commit   Prepare into every mailbox -> generation.store(g+1), the commit -> listen() on new sockets -> wake all
//!            -> each worker adopts at its next turn and says so -> report
//!   sweep    free what no worker pins any more, on this thread
//! ```
//!
//! It runs on the control thread and may block; it never runs on a worker.

mod drain;
mod problem;
mod retired;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringway_model::{
    Address, Cluster, ClusterId, ClusterTable, ListenAddress, ListenSocket, Listener, ListenerId, NetworkFilter,
    Snapshot,
};
use ringway_observe::Registry;
use ringway_runtime::{self as runtime, Generation, Instant, IoReport, LoopStats, Sender, Wake};

use crate::active::ActiveBook;
use crate::breakers::{ClusterLimits, ClusterSeed};
use crate::connection_filter::FilterBook;
use crate::handoff::{Sibling, Siblings, SocketGroup};
use crate::inspector_stats::InspectorStats;
use crate::lighter::Balance;
use crate::limits::Limits;
use crate::load::LoadRows;
use crate::log::{LogSinks, Logs, access_logs};
use crate::log_ring::{LOG_RING_BYTES, LogTail, log_ring};
use crate::mailbox;
use crate::membership::count_members;
use crate::message::{Adopted, Prepare, Shared, SocketKey, SocketSeed, ToWorker};
use crate::view::ListenerSeeds;
use crate::worker::Parts;
use retired::Retired;

pub use problem::{StageProblem, StartError};

/// How the engine is started.
pub struct Options {
    /// One entry for each worker: the CPU to pin it to, if any.
    pub workers: Vec<Option<usize>>,
    /// Each worker's runtime.
    pub runtime: runtime::Options,
    /// How long a graceful end may take (Envoy, `--drain-time-s`).
    pub drain_time: Duration,
    /// How connections are shared among the workers.
    pub balance: Balance,
    /// Where statistics are filed.
    pub registry: Arc<Registry>,
    /// The engine's bounds.
    pub limits: Limits,
    /// Who writes access logs.
    pub logs: Box<dyn Logs>,
}

/// A configuration that can be committed: nothing that it needs is missing any more.
pub struct Staged {
    snapshot: Arc<Snapshot>,
    /// New sockets: one descriptor for each worker.
    sockets: Vec<(SocketKey, Address, Vec<OwnedFd>)>,
    sinks: Arc<LogSinks>,
}

/// What a commit did.
#[derive(Debug, Clone)]
pub struct CommitReport {
    /// The generation now in force.
    pub generation: u64,
    /// From the first preparation to the last adoption that was waited for.
    pub took: Duration,
    /// Workers that had not adopted when waiting ended. They adopt at their next turn.
    pub late: usize,
}

impl fmt::Display for CommitReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "generation {} in force on all workers after {:?}", self.generation, self.took)?;
        if self.late > 0 {
            write!(formatter, " but for {} late", self.late)?;
        }
        Ok(())
    }
}

/// One worker's figures for the admin server.
#[derive(Debug, Clone)]
pub struct WorkerRow {
    /// Its number.
    pub index: usize,
    /// The CPU that it is pinned to.
    pub cpu: Option<usize>,
    /// The generation that it has adopted.
    pub generation: u64,
    /// Client connections.
    pub connections: usize,
    /// Connections that it accepted and gave to lighter workers.
    pub handed_over: u64,
    /// Connections that others accepted and it serves.
    pub taken_over: u64,
    /// Connections that it kept because the lighter worker's queue was full.
    pub kept_full: u64,
    /// Sockets that it accepts from or drains.
    pub listeners: usize,
    /// Connections that speak HTTP/2, of clients and to endpoints.
    pub http2_connections: u64,
    /// Streams open on them.
    pub http2_streams: u64,
    /// Bytes of heap that their codecs hold.
    pub http2_memory_bytes: u64,
}

struct WorkerHandle {
    cpu: Option<usize>,
    mailbox: Sender<ToWorker>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// A socket of the committed generation.
struct Bound {
    address: Address,
}

/// The running engine, as the control thread holds it.
pub struct Engine {
    workers: Vec<WorkerHandle>,
    reports: Vec<IoReport>,
    loop_stats: Vec<Arc<LoopStats>>,
    adopted: mpsc::Receiver<Adopted>,
    word: Generation,
    registry: Arc<Registry>,
    limits: Limits,
    drain_time: Duration,
    current: Option<Arc<Snapshot>>,
    sockets: HashMap<SocketKey, Bound>,
    /// Of the clusters in force. Another name under the same number, or another name in statistics, is another cluster.
    cluster_limits: HashMap<ClusterId, Arc<ClusterLimits>>,
    active: ActiveBook,
    filters: FilterBook,
    retired: Retired,
    drain: Option<mpsc::Sender<()>>,
    logs: Box<dyn Logs>,
    /// Each worker has its ring of log lines.
    rings_attached: bool,
}

impl Engine {
    /// Starts the workers and waits until each runs or has said why not.
    ///
    /// # Errors
    /// A thread could not be made, or a runtime did not start on the driver asked for.
    pub fn start(options: Options) -> Result<Engine, StartError> {
        assert!(!options.workers.is_empty(), "an engine has workers");
        let word = Generation::new();
        let (reports, adopted) = mpsc::channel();
        let mut engine = Engine {
            workers: Vec::new(),
            reports: Vec::new(),
            loop_stats: Vec::new(),
            adopted,
            word,
            registry: options.registry,
            limits: options.limits,
            drain_time: options.drain_time,
            current: None,
            sockets: HashMap::new(),
            cluster_limits: HashMap::new(),
            active: ActiveBook::default(),
            filters: FilterBook::default(),
            retired: Retired::default(),
            drain: None,
            logs: options.logs,
            rings_attached: false,
        };
        match engine.spawn_workers(&options.workers, &options.runtime, options.balance, &reports) {
            Ok(()) => {
                engine.registry.server.workers_started.set(1);
                Ok(engine)
            }
            Err(error) => {
                engine.stop();
                Err(error)
            }
        }
    }

    fn spawn_workers(
        &mut self,
        cpus: &[Option<usize>],
        runtime_options: &runtime::Options,
        balance: Balance,
        reports: &mpsc::Sender<Adopted>,
    ) -> Result<(), StartError> {
        // What workers know of each other is there before the first of them runs.
        let mut siblings = Vec::new();
        let mut handoffs = Vec::new();
        for _ in cpus {
            let wake = Wake::new().map_err(StartError::Thread)?;
            let (inbox, handoff) = runtime::mailbox(self.limits.handoffs_max, &wake);
            siblings.push(Sibling { shared: Arc::default(), inbox, stats: Arc::default() });
            handoffs.push(handoff);
        }
        let siblings: Arc<[Sibling]> = siblings.into();
        for ((index, cpu), handoffs) in cpus.iter().enumerate().zip(handoffs) {
            let (started, start) = mpsc::channel();
            let Sibling { shared, inbox, stats } = &siblings[index];
            let (wake, shared) = (Arc::clone(inbox.wake()), Arc::clone(shared));
            let (mailbox, inbox) = runtime::mailbox(self.limits.mailbox_capacity, &wake);
            let parts = Parts {
                index,
                word: self.word.clone(),
                inbox,
                reports: reports.clone(),
                shared: Arc::clone(&shared),
                limits: self.limits.clone(),
                siblings: Siblings::new(index, Arc::clone(&siblings), handoffs, balance, Instant::now()),
                drain_time: self.drain_time,
                seed: seed(index),
            };
            let cpu = *cpu;
            let runtime_options = runtime::Options { stats: Some(Arc::clone(stats)), ..runtime_options.clone() };
            let work = move || {
                if let Some(cpu) = cpu
                    && let Err(error) = runtime::cpus::pin_current_thread(cpu)
                {
                    let _ = started.send(Err(format!("cannot pin to CPU {cpu}: {error}")));
                    return;
                }
                let reported = started.clone();
                let ended = runtime::run(&runtime_options, wake, move |core, report| {
                    let _ = reported.send(Ok((report, Arc::clone(core.stats()))));
                    mailbox::main(core, parts)
                });
                if let Err(error) = ended {
                    let _ = started.send(Err(error.to_string()));
                }
            };
            let thread = thread::Builder::new().name(format!("rw:{index}")).spawn(work).map_err(StartError::Thread)?;
            self.workers.push(WorkerHandle { cpu, mailbox, shared, thread });
            let ended = || Err("its thread ended".to_owned());
            let (report, stats) = start.recv().unwrap_or_else(|_| ended()).map_err(StartError::Runtime)?;
            self.reports.push(report);
            self.loop_stats.push(stats);
        }
        Ok(())
    }

    /// Which driver each worker runs on, and why.
    pub fn reports(&self) -> &[IoReport] {
        &self.reports
    }

    /// The loops' figures, by worker.
    pub fn loop_stats(&self) -> &[Arc<LoopStats>] {
        &self.loop_stats
    }

    /// The configuration in force.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.current.clone()
    }

    /// Binds and opens what a configuration needs and does not have. Nothing changes yet.
    ///
    /// # Errors
    /// Every listener that cannot be bound and every access log that cannot be opened, with what the kernel said.
    pub fn stage(&mut self, snapshot: Arc<Snapshot>) -> Result<Staged, Vec<StageProblem>> {
        let mut sockets = Vec::new();
        let mut problems = Vec::new();
        let owners = self.owners(&snapshot);
        for listener in &snapshot.listeners {
            for (key, ListenAddress { address, socket }) in SocketKey::of(listener).zip(&listener.addresses) {
                if owners.get(address).is_some_and(|owner| *owner != listener.id) {
                    // Either would get some of the other's connections.
                    self.registry.server.listener_create_failure.add(1);
                    let (listener, address) = (listener.name.clone(), address.clone());
                    problems.push(StageProblem::Listener { listener, address, error: ErrorKind::AddrInUse.into() });
                    continue;
                }
                if self.sockets.contains_key(&key) {
                    continue;
                }
                match self.bind(address, socket) {
                    Ok((address, group)) => sockets.push((key, address, group)),
                    Err(error) => {
                        self.registry.server.listener_create_failure.add(1);
                        let (listener, address) = (listener.name.clone(), address.clone());
                        problems.push(StageProblem::Listener { listener, address, error });
                    }
                }
            }
        }
        let mut sinks = LogSinks::new();
        for (listener, log) in access_logs(&snapshot) {
            match self.logs.open(&log.sink) {
                Ok(number) => {
                    sinks.insert(log.sink.clone(), number);
                }
                Err(error) => {
                    let (listener, sink) = (listener.to_owned(), log.sink.clone());
                    problems.push(StageProblem::AccessLog { listener, sink, error });
                }
            }
        }
        if problems.is_empty() { Ok(Staged { snapshot, sockets, sinks: Arc::new(sinks) }) } else { Err(problems) }
    }

    /// Who has which address: whoever has it now, else whoever comes first. Port 0 is another port each time.
    fn owners<'s>(&self, snapshot: &'s Snapshot) -> HashMap<&'s Address, ListenerId> {
        let current = self.current.iter().flat_map(|current| &current.listeners).filter(|listener| listener.binds);
        let now: HashMap<&Address, ListenerId> =
            current.flat_map(|listener| listener.addresses.iter().map(|at| (&at.address, listener.id))).collect();
        let mut owners = HashMap::new();
        for listener in snapshot.listeners.iter().filter(|listener| listener.binds) {
            for at in listener.addresses.iter().filter(|at| !at.address.is_of_any_port()) {
                let owner = owners.entry(&at.address).or_insert(listener.id);
                if now.get(&at.address) == Some(&listener.id) {
                    *owner = listener.id;
                }
            }
        }
        owners
    }

    /// One socket for each worker, all of one SO_REUSEPORT group. A unix socket has no such groups: all workers accept from the one.
    fn bind(&self, address: &Address, socket: &ListenSocket) -> io::Result<(Address, Vec<OwnedFd>)> {
        let first = crate::socket::listener(address, socket)?;
        let Address::Ip(_) = address else {
            let others: io::Result<Vec<_>> = (1..self.workers.len()).map(|_| first.try_clone()).collect();
            let mut group = others?;
            group.push(first);
            return Ok((address.clone(), group));
        };
        let address = Address::Ip(std::net::TcpListener::from(first.try_clone()?).local_addr()?);
        let mut group = vec![first];
        for _ in 1..self.workers.len() {
            group.push(crate::socket::listener(&address, socket)?);
        }
        Ok((address, group))
    }

    /// Puts a staged configuration in force on all cores at one instant, and waits until every worker has adopted it
    /// or `Limits::adoption_wait` has passed.
    pub fn commit(&mut self, staged: Staged) -> CommitReport {
        let began = Instant::now();
        let Staged { snapshot, sockets, sinks } = staged;
        let generation = snapshot.generation;
        assert!(generation > self.current.as_ref().map_or(0, |current| current.generation), "generations grow");
        let listening: Vec<OwnedFd> = sockets
            .iter()
            .flat_map(|(_, _, group)| group)
            .map(|socket| socket.as_fd().try_clone_to_owned().expect("descriptors were made a moment ago"))
            .collect();
        let backlogs: Vec<u32> = sockets
            .iter()
            .flat_map(|(key, _, group)| {
                let listener =
                    snapshot.listeners.iter().find(|listener| SocketKey::of(listener).any(|other| other == *key));
                std::iter::repeat_n(listener.expect("staged for one").backlog, group.len())
            })
            .collect();
        for prepare in self.prepare(&snapshot, sockets, &sinks) {
            let (index, prepare) = prepare;
            self.tell(index, ToWorker::Prepare(Box::new(prepare)));
        }
        // The commit.
        self.word.store(generation);
        for (socket, backlog) in listening.iter().zip(backlogs) {
            // Cannot fail: the address was bound for this, and nobody else has the descriptor.
            let _ = runtime::start_listening(socket.as_fd(), i32::try_from(backlog).unwrap_or(i32::MAX));
        }
        drop(listening);
        for index in 0..self.workers.len() {
            self.tell(index, ToWorker::Listen(generation));
        }
        let late = self.await_adoption(generation, began);
        self.account(&snapshot, generation, late);
        if let Some(old) = self.current.replace(Arc::clone(&snapshot)) {
            self.retired.add(old, &snapshot);
        }
        CommitReport { generation, took: began.elapsed(), late }
    }

    /// What each worker needs for this generation, and the control side's own books brought up to date.
    fn prepare(
        &mut self,
        snapshot: &Arc<Snapshot>,
        sockets: Vec<(SocketKey, Address, Vec<OwnedFd>)>,
        sinks: &Arc<LogSinks>,
    ) -> Vec<(usize, Prepare)> {
        let count = self.workers.len();
        let mut tails = self.log_tails(sinks);
        let mut seeds: Vec<Vec<ClusterSeed>> = (0..count).map(|_| Vec::new()).collect();
        let none = ClusterTable::default();
        let before = self.current.as_ref().map_or(&none, |current| &current.clusters);
        let mut loads = LoadRows::new();
        for change in snapshot.clusters.changes(before) {
            if let Some(book) = self.registry.loads() {
                match change.now {
                    Some(cluster) => _ = loads.insert(cluster.id, book.set(cluster, count)),
                    None => change.before.iter().for_each(|gone| book.remove(&gone.name)),
                }
            }
            let names = |cluster: &'_ Arc<Cluster>| (cluster.name.clone(), cluster.stat_name.clone());
            if let Some(old) = change.before
                && change.now.map(names) != Some(names(old))
            {
                self.cluster_limits.remove(&old.id);
            }
            let Some(cluster) = change.now else { continue };
            // A priority that comes or goes is rare: then the cluster begins anew, and what is under way ends under what it began with.
            if self.cluster_limits.get(&cluster.id).is_some_and(|limits| limits.set(cluster)) {
                continue;
            }
            let stats = self.registry.cluster(&cluster.stat_name);
            let limits =
                Arc::new(ClusterLimits::new(cluster, &stats, self.registry.breakers(&cluster.stat_name), count));
            self.cluster_limits.insert(cluster.id, Arc::clone(&limits));
            for (seeds, stats) in seeds.iter_mut().zip(stats) {
                seeds.push(ClusterSeed { id: cluster.id, stats, limits: Arc::clone(&limits) });
            }
        }
        let mut groups = HashMap::new();
        for (key, address, group) in sockets {
            self.sockets.insert(key.clone(), Bound { address });
            groups.insert(key, group);
        }
        let mut seeds_listeners: Vec<ListenerSeeds> = (0..count).map(|_| ListenerSeeds::default()).collect();
        let mut seeds_sockets: Vec<Vec<SocketSeed>> = (0..count).map(|_| Vec::new()).collect();
        for listener in &snapshot.listeners {
            let address = self.first_address(listener).to_string();
            for chain in listener.all_chains() {
                for (at, filter) in chain.before.iter().enumerate() {
                    let key = (listener.id, chain.id, at);
                    let of_workers = self.filters.seeds(key, filter, &self.registry, Instant::now());
                    for (seeds, seed) in seeds_listeners.iter_mut().zip(of_workers) {
                        seeds.filters.insert(key, seed);
                    }
                }
                match &chain.filter {
                    NetworkFilter::Http(http) => {
                        let stats = self.registry.http(&http.stat_prefix, &address);
                        for (seeds, stats) in seeds_listeners.iter_mut().zip(stats) {
                            seeds.http.insert((listener.id, http.stat_prefix.clone()), stats);
                        }
                    }
                    NetworkFilter::Tcp(tcp) => {
                        for (seeds, stats) in seeds_listeners.iter_mut().zip(self.registry.tcp(&tcp.stat_prefix)) {
                            seeds.tcp.insert(tcp.stat_prefix.clone(), stats);
                        }
                    }
                }
            }
            for (at, filter) in listener.inspects.filters.iter().enumerate() {
                let of_workers = InspectorStats::of(&filter.kind, &self.registry);
                for (seeds, stats) in seeds_listeners.iter_mut().zip(of_workers) {
                    seeds.inspectors.insert((listener.id, at), stats);
                }
            }
            let stats = self.registry.listener(&address);
            for (seeds, stats) in seeds_listeners.iter_mut().zip(&stats) {
                seeds.listeners.insert(listener.id, Arc::clone(stats));
            }
            for key in SocketKey::of(listener) {
                let group = SocketGroup::new(count);
                let mut sockets = groups.remove(&key).into_iter().flatten().map(|socket| (socket, Arc::clone(&group)));
                for (seeds, stats) in seeds_sockets.iter_mut().zip(&stats) {
                    let (key, exact, stats) = (key.clone(), listener.exact_balance, Arc::clone(stats));
                    seeds.push(SocketSeed { key, listener: listener.id, exact, stats, socket: sockets.next() });
                }
            }
        }
        self.filters.forget_others();
        let first = |snapshot: &Snapshot| -> HashSet<String> {
            snapshot.listeners.iter().map(|listener| self.first_address(listener).to_string()).collect()
        };
        if let Some(old) = &self.current {
            first(old).difference(&first(snapshot)).for_each(|gone| self.registry.forget_listener(gone));
        }
        let kept: HashSet<SocketKey> = snapshot.listeners.iter().flat_map(|listener| SocketKey::of(listener)).collect();
        self.sockets.retain(|key, _| kept.contains(key));
        let active = Arc::new(self.active.rows(self.current.as_deref(), snapshot, count));
        let loads = Arc::new(loads);
        let parts = seeds.into_iter().zip(seeds_listeners).zip(seeds_sockets).enumerate();
        parts
            .map(|(index, ((clusters, listeners), sockets))| {
                let (sinks, log) = (Arc::clone(sinks), tails.pop());
                let (snapshot, active, loads) = (Arc::clone(snapshot), Arc::clone(&active), Arc::clone(&loads));
                (index, Prepare { snapshot, clusters, listeners, active, loads, sockets, sinks, log })
            })
            .collect()
    }

    /// The workers' ends of their rings, made for the first configuration with an access log: an idle process without one does
    /// not pay for them.
    fn log_tails(&mut self, sinks: &LogSinks) -> Vec<LogTail> {
        if self.rings_attached || sinks.is_empty() {
            return Vec::new();
        }
        self.rings_attached = true;
        let ring = |_| {
            let (tail, reader) = log_ring(LOG_RING_BYTES, LOG_RING_BYTES / 8, self.logs.thread());
            self.logs.attach(reader);
            tail
        };
        (0..self.workers.len()).map(ring).collect()
    }

    /// Waits for room in a worker's mailbox. A worker is told two things per commit and the mailbox holds those of many:
    /// a full one means that it has not turned its loop for as many commits.
    fn tell(&self, index: usize, message: ToWorker) {
        let mut message = message;
        while let Err(refused) = self.workers[index].mailbox.try_send(message) {
            message = refused;
            if self.workers[index].thread.is_finished() {
                return;
            }
            thread::yield_now();
        }
    }

    fn await_adoption(&self, generation: u64, began: Instant) -> usize {
        let mut waiting: Vec<usize> = (0..self.workers.len()).collect();
        while !waiting.is_empty() {
            let left = self.limits.adoption_wait.saturating_sub(began.elapsed());
            match self.adopted.recv_timeout(left) {
                Ok(adopted) if adopted.generation >= generation => waiting.retain(|&index| index != adopted.worker),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        waiting.len()
    }

    fn account(&self, snapshot: &Snapshot, generation: u64, late: usize) {
        let server = &self.registry.server;
        server.generation.set(generation);
        server.late_workers.set(late as u64);
        server.active_clusters.set(snapshot.clusters.count() as u64);
        server.total_listeners_active.set(snapshot.listeners.len() as u64);
        let none = Snapshot::default();
        let old = self.current.as_deref().unwrap_or(&none);
        for change in snapshot.clusters.changes(&old.clusters) {
            change.now.inspect(|cluster| count_members(&self.registry, change.before, cluster));
            let counter = match (change.before, change.now) {
                (Some(_), None) => &server.cluster_removed,
                (Some(_), Some(_)) => &server.cluster_modified,
                (None, _) => &server.cluster_added,
            };
            counter.add(1);
        }
        for listener in &snapshot.listeners {
            match old.listener(listener.id) {
                None => {
                    server.listener_added.add(1);
                    server.listener_create_success.add(self.workers.len() as u64);
                }
                Some(other) if !Arc::ptr_eq(other, listener) => server.listener_modified.add(1),
                Some(_) => {}
            }
        }
        self.forget(old, snapshot);
        let gone = old.listeners.iter().filter(|listener| snapshot.listener(listener.id).is_none()).count();
        server.listener_removed.add(gone as u64);
    }

    /// Drops the statistics of names that are gone, as Envoy does. A request that is still under way counts into blocks that
    /// nobody shows any more.
    fn forget(&self, old: &Snapshot, new: &Snapshot) {
        let changes = new.clusters.changes(&old.clusters);
        let gone = changes.filter_map(|change| {
            change.before.filter(|before| change.now.is_none_or(|now| now.stat_name != before.stat_name))
        });
        let gone: Vec<&Arc<Cluster>> = gone.collect();
        if !gone.is_empty() {
            // Others may go by the same name.
            let clusters: HashSet<&str> = new.clusters.iter().map(|cluster| cluster.stat_name.as_str()).collect();
            for cluster in gone.into_iter().filter(|cluster| !clusters.contains(cluster.stat_name.as_str())) {
                self.registry.forget_cluster(&cluster.stat_name);
            }
        }
        let prefixes: HashSet<&str> = http_prefixes(new).collect();
        for prefix in http_prefixes(old).filter(|prefix| !prefixes.contains(prefix)) {
            self.registry.forget_http(prefix);
        }
        let prefixes: HashSet<&str> = tcp_prefixes(new).collect();
        for prefix in tcp_prefixes(old).filter(|prefix| !prefixes.contains(prefix)) {
            self.registry.forget_tcp(prefix);
        }
    }

    /// The listeners in force, by name, with their addresses as bound.
    pub fn listeners(&self) -> Vec<(String, Vec<Address>)> {
        let current = self.current.as_deref();
        let listeners = current.into_iter().flat_map(|snapshot| &snapshot.listeners);
        listeners.map(|listener| (listener.name.clone(), self.bound(listener).cloned().collect())).collect()
    }

    /// The addresses of a listener of the committed generation as bound, in the order of the file.
    fn bound(&self, listener: &Listener) -> impl Iterator<Item = &Address> {
        SocketKey::of(listener).map(|key| &self.sockets[&key].address)
    }

    /// What a listener's statistics go by: its first address as bound, or as the file has it.
    fn first_address<'e>(&'e self, listener: &'e Listener) -> &'e Address {
        self.bound(listener).next().unwrap_or(&listener.addresses[0].address)
    }

    /// Each worker's figures.
    pub fn workers(&self) -> Vec<WorkerRow> {
        self.workers
            .iter()
            .enumerate()
            .map(|(index, worker)| WorkerRow {
                index,
                cpu: worker.cpu,
                generation: worker.shared.generation.load(Ordering::Acquire),
                connections: worker.shared.load.connections(),
                handed_over: worker.shared.handed_over.value(),
                taken_over: worker.shared.taken_over.value(),
                kept_full: worker.shared.kept_full.value(),
                listeners: worker.shared.listeners.load(Ordering::Acquire),
                http2_connections: worker.shared.http2.connections.value(),
                http2_streams: worker.shared.http2.streams.value(),
                http2_memory_bytes: worker.shared.http2.memory_bytes.value(),
            })
            .collect()
    }

    /// What the workers have to say in the log since the last time: at most one line each.
    pub fn complaints(&self) -> impl Iterator<Item = String> {
        self.workers.iter().filter_map(|worker| worker.shared.complaints.take())
    }

    /// Frees what was retired and is pinned by nobody, and shows what only a look tells. To be called about once a second.
    pub fn sweep(&mut self) {
        self.retired.sweep();
        self.cluster_limits.values().for_each(|limits| limits.show());
        self.registry.server.pinned_generations.set(self.retired.snapshots.len() as u64);
        let connections: usize = self.workers().iter().map(|worker| worker.connections).sum();
        self.registry.server.total_connections.set(connections as u64);
    }

    /// Ends the workers at once and waits for their threads.
    pub fn stop(mut self) {
        self.drain = None;
        for index in 0..self.workers.len() {
            self.tell(index, ToWorker::Stop);
        }
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so on stderr.
            let _ = worker.thread.join();
        }
    }
}

fn http_prefixes(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    let chains = snapshot.listeners.iter().flat_map(|listener| listener.all_chains());
    chains.filter_map(|chain| Some(chain.http()?.stat_prefix.as_str()))
}

fn tcp_prefixes(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    let chains = snapshot.listeners.iter().flat_map(|listener| listener.all_chains());
    chains.filter_map(|chain| match &chain.filter {
        NetworkFilter::Tcp(tcp) => Some(tcp.stat_prefix.as_str()),
        NetworkFilter::Http(_) => None,
    })
}

/// A seed for a worker's choices: the keys of a fresh `RandomState` are the system's chance.
fn seed(index: usize) -> [u64; 2] {
    use std::hash::{BuildHasher, RandomState};
    [RandomState::new().hash_one(index), RandomState::new().hash_one(index)]
}
