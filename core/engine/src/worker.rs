//! One core: its view of the configuration, its connections, its mailbox.
//!
//! The worker is told things through its mailbox and reads the generation word at each accept and each complete head.
//! When the word has moved, the preparation for it is in the mailbox already (it was put there first), so that
//! adopting needs no waiting.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use ringway_model::{ChainId, ListenerId};
use ringway_protocols::HeadTable;
use ringway_runtime::{BlockMut, Chunk, Core, Generation, Mailbox};
use slab::Slab;

use crate::date::Date;
use crate::decision::Decision;
use crate::fields::Fields;
use crate::gathered;
use crate::handoff::{Siblings, SocketGroup};
use crate::http2::{Kept, Places, Scratch};
use crate::limits::Limits;
use crate::lines::Lines;
use crate::local_reply::Mapping;
use crate::log::Log;
use crate::message::{Adopted, Prepare, Shared, SocketSeed, ToWorker};
use crate::prepare::PreparedHead;
use crate::retry::Retries;
use crate::routing::Rewritten;
use crate::run::Run;
use crate::tls::Tls;
use crate::view::View;
use crate::written::Written;

/// A connection in the worker's register.
struct Entry {
    listener: ListenerId,
    chain: ChainId,
    /// The last generation that had the connection's chain, once that is gone: it finishes there what it has read.
    pinned: Option<Rc<View>>,
    waker: Option<Waker>,
}

/// A socket of an adopted generation that is not accepted from yet.
pub(crate) struct Bound {
    pub(crate) seed: SocketSeed,
    /// The generation that brought it.
    since: u64,
    /// The last generation that had its listener, where that is gone already.
    pub(crate) last_view: Option<Rc<View>>,
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
    /// What was decided of a head, until its exchange begins: before anything else runs, too. It is too large to be handed from call to
    /// call, each of which would move it.
    pub(crate) decided: RefCell<Kept<Decision>>,
    /// The same of a request in HTTP/2 whose task begins now.
    pub(crate) kept: Cell<Option<Kept<Decision>>>,
    /// Where exchanges are told of.
    pub(crate) log: Log,
    /// Where heads are changed, and what is rewritten in them: used up before anything else runs, too.
    pub(crate) fields: RefCell<Fields>,
    pub(crate) lines: RefCell<Lines>,
    pub(crate) rewritten: RefCell<Rewritten>,
    /// What was written last of heads that come again.
    pub(crate) request_written: RefCell<Written>,
    pub(crate) response_written: RefCell<Written>,
    /// The lines of an answer to a gRPC client.
    pub(crate) grpc_lines: RefCell<Vec<u8>>,
    /// What the connection manager's rules make of a request's path and host.
    pub(crate) prepared_head: RefCell<PreparedHead>,
    /// Where heads of HTTP/2 are on their way.
    pub(crate) http2: Rc<RefCell<Scratch>>,
    /// What was decided of requests in HTTP/2, until their tasks run.
    pub(crate) http2_decisions: RefCell<Places<Decision>>,
    /// Where a ClientHello that came in several records is joined.
    pub(crate) hello: RefCell<Vec<u8>>,
    pub(crate) tls: Tls,
    /// Where answers of our own are changed.
    pub(crate) mapping: Mapping,
    /// The states of requests that may be sent again.
    pub(crate) retries: Retries,
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
    /// Connections of the register that are pinned to an older generation: nearly always none.
    pinned: Cell<usize>,
    /// Connections that are not served yet.
    arriving: Cell<usize>,
    runs: RefCell<Vec<Rc<Run>>>,
    bound: RefCell<Vec<Bound>>,
    pub(crate) siblings: Siblings,
    /// How long connections may go on whose chain is gone, where nothing ends them by itself.
    pub(crate) drain_time: Duration,
    draining: Cell<bool>,
    closing: Cell<bool>,
    random: Cell<[u64; 2]>,
    connections_counted: Cell<u64>,
    /// A timeout in milliseconds, its digits and how many they are: what most requests say.
    pub(crate) timeout_digits: Cell<(Duration, [u8; 20], u8)>,
}

/// More workers than any machine has: what a connection's number leaves room for.
const WORKERS_MAX: u64 = 1 << 12;

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) index: usize,
    pub(crate) word: Generation,
    pub(crate) inbox: Mailbox<ToWorker>,
    pub(crate) reports: mpsc::Sender<Adopted>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) limits: Limits,
    pub(crate) siblings: Siblings,
    /// How long connections may go on whose chain is gone.
    pub(crate) drain_time: Duration,
    /// Seeds the choice among weighted clusters and the ids of requests.
    pub(crate) seed: [u64; 2],
}

impl Worker {
    pub(crate) fn new(core: Core, parts: Parts) -> Rc<Self> {
        Rc::new(Self {
            date: Date::new(core.now(), SystemTime::now),
            core,
            retries: Retries::new(parts.limits.kept_bytes_max),
            limits: parts.limits,
            codec_limits: ringway_protocols::Limits::default(),
            table: RefCell::new(HeadTable::new(ringway_protocols::Limits::HEADERS_CAP)),
            decided: RefCell::default(),
            kept: Cell::default(),
            log: Log::default(),
            fields: RefCell::default(),
            lines: RefCell::new(Lines::new()),
            rewritten: RefCell::default(),
            request_written: RefCell::default(),
            response_written: RefCell::default(),
            grpc_lines: RefCell::default(),
            prepared_head: RefCell::default(),
            http2: Rc::default(),
            http2_decisions: RefCell::default(),
            mapping: Mapping::default(),
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
            pinned: Cell::new(0),
            arriving: Cell::new(0),
            hello: RefCell::default(),
            tls: Tls::default(),
            runs: RefCell::default(),
            bound: RefCell::default(),
            siblings: parts.siblings,
            drain_time: parts.drain_time,
            draining: Cell::new(false),
            closing: Cell::new(false),
            // Any state but zero will do.
            random: Cell::new([parts.seed[0] | 1, parts.seed[1]]),
            connections_counted: Cell::new(0),
            timeout_digits: Cell::new((Duration::ZERO, *b"0                   ", 1)),
        })
    }

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
        if self.pinned.get() > 0
            && let Some(pinned) = &self.register.borrow()[key].pinned
        {
            return Rc::clone(pinned);
        }
        Rc::clone(&self.view.borrow())
    }

    /// Whether the connection finishes on an older generation.
    #[inline]
    pub(crate) fn is_pinned(&self, key: usize) -> bool {
        self.pinned.get() > 0 && self.register.borrow()[key].pinned.is_some()
    }

    #[inline]
    pub(crate) fn refresh(self: &Rc<Self>) {
        let generation = self.word.load();
        if self.view.borrow().generation != generation {
            self.adopt(generation);
        }
    }

    /// The next message for the main task.
    pub(crate) fn poll_message(&self, context: &mut Context<'_>) -> Poll<ToWorker> {
        *self.main.borrow_mut() = Some(context.waker().clone());
        if let Some(message) = self.deferred.borrow_mut().pop_front() {
            return Poll::Ready(message);
        }
        self.inbox.poll_recv(&self.core, context)
    }

    /// Keeps a preparation until the word reaches its generation.
    pub(crate) fn keep_prepared(&self, prepare: Box<Prepare>) {
        self.prepared.borrow_mut().push_back(prepare);
    }

    /// From now on every response is its connection's last.
    pub(crate) fn begin_drain(&self) {
        self.draining.set(true);
    }

    /// Stops accepting for good; connections between two requests close.
    pub(crate) fn close_listeners(&self) {
        self.begin_drain();
        self.closing.set(true);
        self.runs.borrow().iter().for_each(|run| run.close(None));
        self.wake_connections();
    }

    /// Lets go of every pooled connection: the worker ends.
    pub(crate) fn retire(&self) {
        self.view.borrow().retire_all();
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
        self.shared.generation.store(adopted, Ordering::Release);
        // The control side may be gone already; then nobody waits for this.
        let _ = self.reports.send(Adopted { worker: self.index, generation: adopted });
    }

    fn apply(self: &Rc<Self>, prepare: Prepare) {
        let generation = prepare.snapshot.generation;
        let old = Rc::clone(&self.view.borrow());
        let new = Rc::new(old.adopt(
            prepare.snapshot,
            &prepare.clusters,
            &prepare.listeners,
            &prepare.sinks,
            (self.index, &prepare.active, &prepare.loads),
            &mut || self.chance(),
        ));
        if let Some(tail) = prepare.log {
            self.log.attach(tail);
        }
        *self.view.borrow_mut() = Rc::clone(&new);
        for run in self.runs.borrow().iter() {
            match prepare.sockets.iter().find(|socket| socket.key == run.key) {
                Some(socket) => run.belongs_to(socket),
                None => run.close(Some(&old)),
            }
        }
        let mut bound = self.bound.borrow_mut();
        for Bound { seed, last_view, .. } in bound.iter_mut() {
            match prepare.sockets.iter().find(|socket| socket.key == seed.key && socket.socket.is_none()) {
                Some(socket) => {
                    (seed.listener, seed.exact, seed.stats) =
                        (socket.listener, socket.exact, Arc::clone(&socket.stats));
                }
                None => _ = last_view.get_or_insert_with(|| Rc::clone(&old)),
            }
        }
        let fresh = prepare.sockets.into_iter().filter(|socket| socket.socket.is_some());
        bound.extend(fresh.map(|seed| Bound { seed, since: generation, last_view: None }));
        drop(bound);
        let gone = old.chains_gone(&new);
        if gone.is_empty() {
            return; // as nearly always: no connection needs to be looked at
        }
        let mut wakers = Vec::new();
        for (_, entry) in self.register.borrow_mut().iter_mut() {
            if entry.pinned.is_none() && gone.binary_search(&(entry.listener, entry.chain)).is_ok() {
                entry.pinned = Some(Rc::clone(&old));
                self.pinned.set(self.pinned.get() + 1);
                wakers.extend(entry.waker.clone());
            }
        }
        wakers.iter().for_each(Waker::wake_by_ref);
    }

    /// The new sockets of the generations up to this one, which listen now.
    pub(crate) fn take_bound(&self, generation: u64) -> Vec<Bound> {
        self.bound.borrow_mut().extract_if(.., |bound| bound.since <= generation).collect()
    }

    /// A socket begins to be accepted from.
    pub(crate) fn run_began(&self, run: &Rc<Run>) {
        self.runs.borrow_mut().push(Rc::clone(run));
        self.count_runs();
    }

    /// The accept loop of `run` has ended and its socket is closed.
    pub(crate) fn run_ended(&self, run: &Rc<Run>) {
        self.runs.borrow_mut().retain(|other| !Rc::ptr_eq(other, run));
        self.count_runs();
    }

    fn count_runs(&self) {
        self.shared.listeners.store(self.runs.borrow().len(), Ordering::Release);
    }

    /// One more connection came in.
    pub(crate) fn count_accepted(&self) {
        let accepted = &self.shared.accepted;
        accepted.store(accepted.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// The run of this worker's socket in a group.
    pub(crate) fn run_of(&self, group: &Arc<SocketGroup>) -> Option<Rc<Run>> {
        self.runs.borrow().iter().find(|run| Arc::ptr_eq(&run.group, group)).map(Rc::clone)
    }

    /// The generation under which a connection of this run is taken in: the current one, or while its socket is drained
    /// the last that had its listener.
    pub(crate) fn view_of_run(self: &Rc<Self>, run: &Run) -> Rc<View> {
        let current = self.view();
        if current.snapshot.listener(run.listener.get()).is_some() {
            return current;
        }
        run.last_view().unwrap_or(current)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.register.borrow().len() + self.arriving.get() >= self.limits.downstreams_max
    }

    pub(crate) fn register(&self, listener: ListenerId, chain: ChainId, pinned: Option<Rc<View>>) -> usize {
        let mut register = self.register.borrow_mut();
        self.pinned.set(self.pinned.get() + usize::from(pinned.is_some()));
        let key = register.insert(Entry { listener, chain, pinned, waker: None });
        self.shared.load.set_connections(register.len());
        key
    }

    /// So many more, or fewer, are not served yet.
    pub(crate) fn arriving(&self, change: isize) {
        let was_full = self.is_full();
        self.arriving.set(self.arriving.get().checked_add_signed(change).expect("who left had come"));
        if was_full && !self.is_full() {
            self.runs.borrow().iter().for_each(|run| run.wake());
        }
    }

    pub(crate) fn register_waker(&self, key: usize, waker: &Waker) {
        self.register.borrow_mut()[key].waker = Some(waker.clone());
    }

    pub(crate) fn unregister(&self, key: usize) {
        let was_full = self.is_full();
        let entry = self.register.borrow_mut().remove(key);
        self.pinned.set(self.pinned.get() - usize::from(entry.pinned.is_some()));
        drop(entry);
        self.shared.load.set_connections(self.register.borrow().len());
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
        self.closing.get() || self.is_pinned(key)
    }

    /// Whether the response under way is a connection's last.
    #[inline]
    pub(crate) fn closes_after(&self, key: usize) -> bool {
        self.draining.get() || self.is_pinned(key)
    }

    /// A number for a connection that no other of the process has: counted by this worker, behind which comes which one it is.
    pub(crate) fn connection_id(&self) -> u64 {
        let count = self.connections_counted.get() + 1;
        self.connections_counted.set(count);
        count * WORKERS_MAX + self.index as u64
    }

    /// A number by chance: xoroshiro128++ (Blackman, Vigna 2019), seeded by the system. Good enough to share requests out and to tell
    /// them apart, not to keep secrets.
    #[inline]
    pub(crate) fn chance(&self) -> u64 {
        let [one, other] = self.random.get();
        let number = one.wrapping_add(other).rotate_left(17).wrapping_add(one);
        let mixed = one ^ other;
        self.random.set([one.rotate_left(49) ^ mixed ^ (mixed << 21), mixed.rotate_left(28)]);
        number
    }

    /// A copy in a right-sized block, for bytes that must wait.
    pub(crate) fn copy(&self, bytes: &[u8]) -> BlockMut {
        gathered::copy(&self.core, bytes)
    }

    /// `block` with `bytes` behind it, in a larger block where it does not fit.
    pub(crate) fn append(&self, block: BlockMut, bytes: &[u8]) -> BlockMut {
        gathered::append(&self.core, block, bytes)
    }

    /// `start` and `rest` as one contiguous chunk.
    pub(crate) fn join(&self, start: BlockMut, rest: &[u8]) -> Chunk {
        self.append(start, rest).freeze()
    }
}
