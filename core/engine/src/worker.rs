//! One core: its view of the configuration, its connections, its mailbox.
//!
//! The worker is told things through its mailbox and reads the generation word at each accept and each complete head.
//! When the word has moved, the preparation for it is in the mailbox already (it was put there first), so that
//! adopting needs no waiting.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::time::SystemTime;

use ringway_model::{ChainId, ListenerId, Snapshot};
use ringway_observe::ListenerStats;
use ringway_protocols::HeadTable;
use ringway_runtime::{BlockMut, Chunk, Core, Generation, Mailbox, Stream};
use slab::Slab;

use crate::commit::SocketKey;
use crate::downstream;
use crate::limits::Limits;
use crate::listen::{self, Run};
use crate::reply::Date;
use crate::view::{ClusterSeed, HttpSeeds, View};

/// What the control side says to a worker.
pub(crate) enum ToWorker {
    /// Generation `snapshot.generation` is about to be committed.
    Prepare(Box<Prepare>),
    /// The new sockets of this generation listen now: accept from them.
    Listen(u64),
    /// Say `Connection: close` from now on.
    Drain,
    /// Stop accepting, for good; idle connections are closed.
    CloseListeners,
    /// End now.
    Stop,
}

/// What a worker needs in order to adopt a generation.
pub(crate) struct Prepare {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) clusters: Vec<ClusterSeed>,
    pub(crate) http: Arc<WorkerHttp>,
    /// One entry for each socket of this generation, new or kept.
    pub(crate) sockets: Vec<SocketSeed>,
}

/// The HTTP statistics of this worker by `stat_prefix`.
pub(crate) struct WorkerHttp(pub(crate) HttpSeeds);

/// One socket of a generation.
pub(crate) struct SocketSeed {
    pub(crate) key: SocketKey,
    pub(crate) listener: ListenerId,
    pub(crate) stats: Arc<ListenerStats>,
    /// This worker's descriptor, where the socket is new.
    pub(crate) socket: Option<OwnedFd>,
}

/// What a worker says to the control side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adopted {
    pub(crate) worker: usize,
    pub(crate) generation: u64,
}

/// Figures that the control side and the admin server read. Single writer: the worker.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) generation: std::sync::atomic::AtomicU64,
    pub(crate) connections: std::sync::atomic::AtomicUsize,
    pub(crate) listeners: std::sync::atomic::AtomicUsize,
    pub(crate) accepted: std::sync::atomic::AtomicU64,
}

/// A connection in the worker's register.
struct Entry {
    listener: ListenerId,
    chain: ChainId,
    /// The last generation that had the connection's chain, once that is gone: it finishes there what it has read.
    pinned: Option<Rc<View>>,
    waker: Option<Waker>,
}

/// One core's engine.
pub(crate) struct Worker {
    pub(crate) core: Core,
    pub(crate) limits: Limits,
    /// The bounds on responses and on bodies.
    pub(crate) codec_limits: ringway_protocols::Limits,
    pub(crate) date: Date,
    /// Where heads are decoded: one table, since a head is used up before anything else runs.
    pub(crate) table: RefCell<HeadTable>,
    pub(crate) shared: Arc<Shared>,
    index: usize,
    word: Generation,
    inbox: Mailbox<ToWorker>,
    reports: mpsc::Sender<Adopted>,
    view: RefCell<Rc<View>>,
    prepared: RefCell<VecDeque<Box<Prepare>>>,
    /// Messages that were met while looking for a preparation, in order.
    deferred: RefCell<VecDeque<ToWorker>>,
    main: RefCell<Option<Waker>>,
    register: RefCell<Slab<Entry>>,
    runs: RefCell<Vec<Rc<Run>>>,
    /// Sockets of an adopted generation that do not listen yet.
    bound: RefCell<Vec<(SocketSeed, u64)>>,
    draining: Cell<bool>,
    closing: Cell<bool>,
    random: Cell<u64>,
}

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) index: usize,
    pub(crate) word: Generation,
    pub(crate) inbox: Mailbox<ToWorker>,
    pub(crate) reports: mpsc::Sender<Adopted>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
    /// Seeds the choice among weighted clusters.
    pub(crate) seed: u64,
}

/// The worker's main task: reads the mailbox until it is told to stop.
pub(crate) async fn main(core: Core, parts: Parts) {
    let headers_max = ringway_protocols::Limits::default().headers_max;
    let worker = Rc::new(Worker {
        date: Date::new(core.now(), SystemTime::now()),
        core,
        limits: parts.limits,
        codec_limits: ringway_protocols::Limits::default(),
        table: RefCell::new(HeadTable::new(headers_max)),
        shared: parts.shared,
        index: parts.index,
        word: parts.word,
        inbox: parts.inbox,
        reports: parts.reports,
        view: RefCell::default(),
        prepared: RefCell::default(),
        deferred: RefCell::default(),
        main: RefCell::default(),
        register: RefCell::default(),
        runs: RefCell::default(),
        bound: RefCell::default(),
        draining: Cell::new(false),
        closing: Cell::new(false),
        random: Cell::new(parts.seed | 1),
    });
    loop {
        let message = poll_fn(|context| {
            *worker.main.borrow_mut() = Some(context.waker().clone());
            if let Some(message) = worker.deferred.borrow_mut().pop_front() {
                return Poll::Ready(message);
            }
            worker.inbox.poll_recv(&worker.core, context)
        })
        .await;
        // A preparation first, then the generation that it is for: `Listen` means sockets that adopting hands over.
        let message = match message {
            ToWorker::Prepare(prepare) => {
                worker.prepared.borrow_mut().push_back(prepare);
                None
            }
            other => Some(other),
        };
        worker.refresh();
        match message {
            None => {}
            Some(ToWorker::Prepare(_)) => unreachable!("taken above"),
            Some(ToWorker::Listen(generation)) => worker.start_accepting(generation),
            Some(ToWorker::Drain) => worker.draining.set(true),
            Some(ToWorker::CloseListeners) => {
                worker.draining.set(true);
                worker.closing.set(true);
                worker.runs.borrow().iter().for_each(|run| run.close(None));
                worker.wake_connections();
            }
            Some(ToWorker::Stop) => break,
        }
    }
    worker.view.borrow().retire_all();
}

impl Worker {
    /// The generation in force: one load of a line that almost never changes.
    #[inline]
    pub(crate) fn view(self: &Rc<Self>) -> Rc<View> {
        self.refresh();
        Rc::clone(&self.view.borrow())
    }

    /// The generation in force for this connection: the current one, or the last that had its chain.
    #[inline]
    pub(crate) fn view_for(self: &Rc<Self>, key: usize) -> Rc<View> {
        self.refresh();
        match &self.register.borrow()[key].pinned {
            None => Rc::clone(&self.view.borrow()),
            Some(pinned) => Rc::clone(pinned),
        }
    }

    #[inline]
    fn refresh(self: &Rc<Self>) {
        let generation = self.word.load();
        if self.view.borrow().generation != generation {
            self.adopt(generation);
        }
    }

    /// Takes up every prepared generation that the word has reached.
    #[cold]
    fn adopt(self: &Rc<Self>, generation: u64) {
        while let Some(message) = self.inbox.try_recv() {
            match message {
                ToWorker::Prepare(prepare) => self.prepared.borrow_mut().push_back(prepare),
                other => {
                    self.deferred.borrow_mut().push_back(other);
                    if let Some(main) = &*self.main.borrow() {
                        main.wake_by_ref();
                    }
                }
            }
        }
        loop {
            let due = self.prepared.borrow().front().is_some_and(|next| next.snapshot.generation <= generation);
            if !due {
                break;
            }
            let next = self.prepared.borrow_mut().pop_front().expect("looked at just now");
            self.apply(*next);
        }
        let adopted = self.view.borrow().generation;
        assert_eq!(adopted, generation, "a generation is prepared before it is committed");
        self.shared.generation.store(adopted, std::sync::atomic::Ordering::Release);
        // The control side may be gone already; then nobody waits for this.
        let _ = self.reports.send(Adopted { worker: self.index, generation: adopted });
    }

    fn apply(self: &Rc<Self>, prepare: Prepare) {
        let generation = prepare.snapshot.generation;
        let old = Rc::clone(&self.view.borrow());
        let new = Rc::new(old.adopt(prepare.snapshot, &prepare.clusters, &prepare.http.0));
        *self.view.borrow_mut() = Rc::clone(&new);
        for run in self.runs.borrow().iter() {
            match prepare.sockets.iter().find(|socket| socket.key == run.key) {
                Some(socket) => run.listener.set(socket.listener),
                None => run.close(Some(&old)),
            }
        }
        let bound = prepare.sockets.into_iter().filter(|socket| socket.socket.is_some());
        self.bound.borrow_mut().extend(bound.map(|socket| (socket, generation)));
        let mut gone = Vec::new();
        for (_, entry) in self.register.borrow_mut().iter_mut() {
            if entry.pinned.is_none() && new.chain(entry.listener, entry.chain).is_none() {
                entry.pinned = Some(Rc::clone(&old));
                gone.extend(entry.waker.clone());
            }
        }
        gone.iter().for_each(Waker::wake_by_ref);
    }

    fn start_accepting(self: &Rc<Self>, generation: u64) {
        let due: Vec<_> = self.bound.borrow_mut().extract_if(.., |(_, since)| *since <= generation).collect();
        for (seed, _) in due {
            let socket = seed.socket.expect("only new sockets are kept here");
            let run = Run::new(seed.key, seed.listener, seed.stats);
            self.runs.borrow_mut().push(Rc::clone(&run));
            self.count_runs();
            self.core.spawn("accept", listen::accept(Rc::clone(self), run, self.core.listen(socket)));
        }
    }

    /// The accept loop of `run` has ended and its socket is closed.
    pub(crate) fn run_ended(&self, run: &Rc<Run>) {
        self.runs.borrow_mut().retain(|other| !Rc::ptr_eq(other, run));
        self.count_runs();
    }

    fn count_runs(&self) {
        self.shared.listeners.store(self.runs.borrow().len(), std::sync::atomic::Ordering::Release);
    }

    /// Takes a new client connection in.
    pub(crate) fn admit(self: &Rc<Self>, run: &Run, stream: Stream) {
        let accepted = &self.shared.accepted;
        let count = accepted.load(std::sync::atomic::Ordering::Relaxed) + 1;
        accepted.store(count, std::sync::atomic::Ordering::Release);
        let listener = run.listener.get();
        let view = self.view_of_listener(listener);
        // Chains are not matched yet: a listener has one.
        let Some(chain) = view.snapshot.listener(listener).and_then(|listener| listener.chains.first()) else {
            // Its listener went with the generation just adopted: the socket is being drained, and whoever connected
            // in time is still served by what was in force then.
            return;
        };
        let serve = downstream::serve(Rc::clone(self), stream, listener, chain.id, view, Arc::clone(&run.stats));
        // The idle connection's budget (design: 512 bytes for the task's own state).
        assert!(size_of_val(&serve) <= IDLE_TASK_SIZE_MAX, "the idle task is {} bytes", size_of_val(&serve));
        self.core.spawn("downstream", serve);
    }

    /// The generation under which a connection of this listener is taken in: the current one, or while its socket is
    /// drained the last that had it.
    fn view_of_listener(self: &Rc<Self>, listener: ListenerId) -> Rc<View> {
        let current = self.view();
        if current.snapshot.listener(listener).is_some() {
            return current;
        }
        let runs = self.runs.borrow();
        let last = runs.iter().filter(|run| run.listener.get() == listener).find_map(|run| run.last_view());
        last.unwrap_or(current)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.register.borrow().len() >= self.limits.downstreams_max
    }

    pub(crate) fn register(&self, listener: ListenerId, chain: ChainId, pinned: Option<Rc<View>>) -> usize {
        let mut register = self.register.borrow_mut();
        let key = register.insert(Entry { listener, chain, pinned, waker: None });
        self.shared.connections.store(register.len(), std::sync::atomic::Ordering::Release);
        key
    }

    pub(crate) fn register_waker(&self, key: usize, waker: &Waker) {
        self.register.borrow_mut()[key].waker = Some(waker.clone());
    }

    pub(crate) fn unregister(&self, key: usize) {
        let was_full = self.is_full();
        let entry = self.register.borrow_mut().remove(key);
        drop(entry);
        self.shared.connections.store(self.register.borrow().len(), std::sync::atomic::Ordering::Release);
        if was_full {
            self.runs.borrow().iter().for_each(|run| run.wake());
        }
    }

    fn wake_connections(&self) {
        for (_, entry) in self.register.borrow().iter() {
            if let Some(waker) = &entry.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Whether a connection that is between two requests has to go.
    #[inline]
    pub(crate) fn closes_when_idle(&self, key: usize) -> bool {
        self.closing.get() || self.register.borrow()[key].pinned.is_some()
    }

    /// Whether the response under way is a connection's last.
    #[inline]
    pub(crate) fn closes_after(&self, key: usize) -> bool {
        self.draining.get() || self.register.borrow()[key].pinned.is_some()
    }

    /// A number by chance (xorshift64): good enough to share requests out, not to keep secrets.
    pub(crate) fn chance(&self) -> u64 {
        let mut state = self.random.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.set(state);
        state
    }

    /// A copy in a right-sized block, for bytes that must wait.
    pub(crate) fn copy(&self, bytes: &[u8]) -> BlockMut {
        let mut block = self.core.block(bytes.len());
        block.extend_from_slice(bytes);
        block
    }

    /// `block` with `bytes` behind it, in a larger block where it does not fit.
    pub(crate) fn append(&self, mut block: BlockMut, bytes: &[u8]) -> BlockMut {
        let size = block.len() + bytes.len();
        if size > block.capacity() {
            let mut larger = self.core.block(size.max(2 * block.capacity()));
            larger.extend_from_slice(&block);
            block = larger;
        }
        block.extend_from_slice(bytes);
        block
    }

    /// `start` and `rest` as one contiguous chunk.
    pub(crate) fn join(&self, start: BlockMut, rest: &[u8]) -> Chunk {
        self.append(start, rest).freeze()
    }
}

/// What the task of one client connection may weigh, its exchange aside.
const IDLE_TASK_SIZE_MAX: usize = 512;
