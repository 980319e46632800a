//! A core: its options, its parts, its loop, and the handle that tasks hold on it.
//!
//! ```text
//!   turn:  take wakes -> timers -> ready tasks -> settle -> flush -> one enter (submit, wait, take completions)
//! ```
//! Timers and mailboxes are served in every turn, also when the queue of tasks never runs empty. Time is read when a turn begins, for
//! all who live in it, and when it ends, for the figures (`meter.rs`).
//! Invariant: `run` returns only when every task is dropped, every slot is free and the kernel knows none of our memory.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::block::BlockMut;
use crate::chunk::Chunk;
use crate::connect::Connect;
use crate::driver::Driver;
use crate::executor::{Executor, YieldNow};
use crate::feature::FeatureSet;
use crate::instant::Instant;
use crate::listener::{Listener, Listeners};
use crate::mail::Mail;
use crate::meter::Meter;
use crate::pipe::Pipes;
use crate::pool::Pools;
use crate::pooled::Pooled;
use crate::report::{IoChoice, IoReport, StartError};
use crate::socket::{Phase, Sockets};
use crate::spin::Spin;
use crate::stats::LoopStats;
use crate::stream::{Detached, Stream};
use crate::sys;
use crate::target::Target;
use crate::timer::{Timer, Wheel};
use crate::wake::Wake;

/// How a core is built. The sums say what it may hold at worst.
#[derive(Clone, Debug)]
pub struct Options {
    /// The driver.
    pub io: IoChoice,
    /// Bytes of a receive chunk. 4 KiB holds a usual request with its head; smaller ones cost more completions.
    pub chunk_size: usize,
    /// Receive chunks at the start: 64 x 4 KiB are touched by a core that has little to do.
    pub chunks_initial: u16,
    /// Receive chunks at most (worst case 1024 x 4 KiB = 4 MiB a core): they are held only while their bytes move.
    pub chunks_max: u16,
    /// Bytes of a bulk buffer: one receive and one send for 64 KiB.
    pub bulk_size: usize,
    /// Bulk buffers at most (worst case 256 x 64 KiB = 16 MiB a core); beyond, bulk streams use chunks.
    pub bulk_buffers_max: usize,
    /// Bytes of a pipe that bulk is spliced through: a move of two system calls for so much (decision 16).
    pub pipe_size: usize,
    /// Pipes at most, two descriptors each (worst case 32 x 512 KiB = 16 MiB a core, of the sockets' memory): one is held only while
    /// bytes lie in it; beyond, bulk is copied. 0: nothing is spliced.
    pub pipes_max: usize,
    /// Bytes of free blocks that are kept for reuse.
    pub blocks_bytes_max: usize,
    /// Microseconds to look for work before sleeping, as long as looking finds some (see `spin.rs`); 0: never, which is right on
    /// hosts with few cores or a quota.
    pub spin_us: u32,
    /// How long tasks of one kind may hold the loop before it is counted as a stall. 10 ms: a hundred usual turns, and what a
    /// client that waits for another task begins to notice.
    pub stall_budget: Duration,
    /// How finely timers tick, 1 ms to a microsecond: a deadline is met at the first tick behind it. Finer ticks cost turns, and only on `ring`
    /// does a sleep end so precisely: epoll_wait(2) counts milliseconds.
    pub timer_tick: Duration,
    /// Entries of the submission queue; each connection's turn needs at most three.
    pub sq_entries: u32,
    /// Entries of the completion queue: all chunks, all bulk buffers and a completion for each of some thousand sockets.
    pub cq_entries: u32,
    /// The pieces of one gathered send at most; the rest goes in the next turn. 1 to 1024 (IOV_MAX).
    pub pieces_per_send_max: usize,
    /// What the ring is made without, though the kernel may have it: to see how an older kernel does, or around a fault of
    /// this one. A needed feature here means no ring.
    pub features_denied: FeatureSet,
    /// Where the loop's figures go; a fresh place when there is none.
    pub stats: Option<Arc<LoopStats>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            io: IoChoice::Auto,
            chunk_size: 4096,
            chunks_initial: 64,
            chunks_max: 1024,
            bulk_size: 64 << 10,
            bulk_buffers_max: 256,
            pipe_size: 512 << 10,
            pipes_max: 32,
            blocks_bytes_max: 4 << 20,
            spin_us: 0,
            stall_budget: Duration::from_millis(10),
            timer_tick: Duration::from_millis(1),
            sq_entries: 1024,
            cq_entries: 4096,
            pieces_per_send_max: 64,
            features_denied: FeatureSet::default(),
            stats: None,
        }
    }
}

impl Options {
    fn check(&self) {
        assert!((1..=1 << 20).contains(&self.chunk_size), "a chunk has a size");
        assert!(0 < self.chunks_initial && self.chunks_initial <= self.chunks_max && self.chunks_max <= 1 << 15);
        assert!((1..=1 << 24).contains(&self.bulk_size), "a bulk buffer has a size");
        assert!(
            (Duration::from_micros(1)..=Duration::from_millis(1)).contains(&self.timer_tick),
            "a tick a loop can serve"
        );
        assert!((1..=1024).contains(&self.pieces_per_send_max), "IOV_MAX");
        assert!((8..=32768).contains(&self.sq_entries) && (8..=65536).contains(&self.cq_entries));
    }
}

/// The parts of a core. Everything in it is of one thread.
pub(crate) struct Inner {
    pub(crate) now: Cell<Instant>,
    pub(crate) executor: Executor,
    pub(crate) meter: Meter,
    pub(crate) spin: Spin,
    pub(crate) wheel: Wheel,
    pub(crate) sockets: Sockets,
    pub(crate) listeners: Listeners,
    pub(crate) mail: Mail,
    /// Sockets with output, or with an end to bring about, in this turn.
    pub(crate) flush: RefCell<Vec<u32>>,
    /// The other one of two lists that take turns (and keep their memory).
    pub(crate) flush_spare: RefCell<Vec<u32>>,
    /// Sockets that received in this turn.
    pub(crate) settle: RefCell<Vec<u32>>,
    /// Sockets that found no receive chunk, oldest first.
    pub(crate) starved: RefCell<VecDeque<u32>>,
    pub(crate) pipes: Pipes,
    pub(crate) options: Options,
    pub(crate) stats: Arc<LoopStats>,
    pub(crate) wake: Arc<Wake>,
    /// `main` has completed: this turn is the last.
    pub(crate) done: Cell<bool>,
    /// The loop has ended: handles that are still around do nothing.
    pub(crate) closed: Cell<bool>,
    pub(crate) driver: Driver,
    /// Last, so that all that holds buffers goes first.
    pub(crate) pools: Box<Pools>,
}

/// The handle on a core; cheap to clone. `!Send`.
#[derive(Clone)]
pub struct Core(Rc<Inner>);

impl Core {
    pub(crate) fn inner(&self) -> &Rc<Inner> {
        &self.0
    }

    /// The time at which this turn began.
    #[inline]
    pub fn now(&self) -> Instant {
        self.0.now.get()
    }

    /// The number of this turn: for budgets that hold in each.
    #[inline]
    pub fn turn(&self) -> u64 {
        self.0.stats.turns.get()
    }

    /// Starts a task. `kind` names it in [`Core::census`]. Its memory comes from the block pool. Its future is dropped
    /// when it completes, or when the core ends.
    pub fn spawn(&self, kind: &'static str, future: impl Future<Output = ()> + 'static) {
        self.0.executor.spawn(&self.0.pools, &self.0.stats, kind, future);
    }

    /// Moves a future into borrowed memory, so that its holder stays small.
    pub fn pooled<F: Future>(&self, future: F) -> Pooled<F> {
        Pooled::new(&self.0.pools, future)
    }

    /// A timer without a deadline.
    pub fn timer(&self) -> Timer {
        Timer::new(self.0.clone())
    }

    /// Connects to `address`, until `deadline` at the latest. Dropping the future gives it up and closes the socket.
    pub fn connect<'a>(&self, address: impl Into<Target<'a>>, deadline: Instant) -> Connect {
        self.connect_with(address, deadline, |_| Ok(()))
    }

    /// As [`Core::connect`]; `prepare` may set options and bind the socket before. Its error is that of connecting.
    pub fn connect_with<'a>(
        &self,
        address: impl Into<Target<'a>>,
        deadline: Instant,
        prepare: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Connect {
        Connect::new(self, address.into(), deadline, prepare)
    }

    /// Accepts on `fd`, a bound TCP or unix socket that may not listen yet (see [`start_listening`](crate::start_listening)).
    pub fn listen(&self, fd: OwnedFd) -> Listener {
        Listener::new(self, fd)
    }

    /// Takes a connection over, from another core or from elsewhere.
    pub fn attach(&self, idle: Detached) -> Stream {
        Stream::open(&self.0, idle.into_fd().into_raw_fd(), Phase::Open)
    }

    /// An empty block of at least `capacity_min` bytes. Classes are two an octave; beyond 64 KiB it comes from the allocator.
    #[inline]
    pub fn block(&self, capacity_min: usize) -> BlockMut {
        self.0.pools.block(capacity_min)
    }

    /// A block that holds a copy of `bytes`.
    pub fn chunk(&self, bytes: &[u8]) -> Chunk {
        self.0.pools.copied(bytes)
    }

    /// The same bytes outside the receive chunks: what must wait is kept so, and the chunk goes home. Costs nothing for
    /// bytes that are outside already.
    pub fn settled(&self, chunk: Chunk) -> Chunk {
        if chunk.is_recv() { self.chunk(&chunk) } else { chunk }
    }

    /// Lets everything else that is ready run, and what has completed meanwhile.
    pub fn yield_now(&self) -> impl Future<Output = ()> + use<> {
        YieldNow { yielded: false }
    }

    /// Completes when [`Wake::wake`] was called since this future was made.
    pub fn woken(&self) -> impl Future<Output = ()> + use<> {
        let inner = self.0.clone();
        let seen = inner.mail.woken.get();
        poll_fn(move |cx| {
            if inner.mail.woken.get() != seen {
                return Poll::Ready(());
            }
            inner.mail.register(cx.waker());
            Poll::Pending
        })
    }

    /// The loop's figures, readable from any thread. The gauges of buffers are brought up to date by this call and once a turn.
    pub fn stats(&self) -> &Arc<LoopStats> {
        self.0.pools.gauge(&self.0.stats);
        &self.0.stats
    }

    /// How other threads wake this core.
    pub fn wake_handle(&self) -> &Arc<Wake> {
        &self.0.wake
    }

    /// How many tasks of each kind are alive.
    pub fn census(&self) -> Vec<(&'static str, usize)> {
        self.0.executor.census(&self.0.stats)
    }
}

/// Runs a core on this thread until the future that `main` makes completes. Then all tasks are dropped, all that is in
/// flight is cancelled and awaited, and everything is freed. (What `main` returns may hold chunks of the core; its buffers are
/// then left allocated for good.)
///
/// Errors: when neither driver that `options.io` allows can be set up.
pub fn run<T, F, Fut>(options: &Options, wake: Arc<Wake>, main: F) -> Result<T, StartError>
where
    F: FnOnce(Core, IoReport) -> Fut,
    Fut: Future<Output = T> + 'static,
    T: 'static,
{
    options.check();
    let stats = options.stats.clone().unwrap_or_default();
    let (driver, pools, report) = Driver::start(options, &wake)?;
    let now = Instant::now();
    stats.start(now);
    let inner = Rc::new(Inner {
        now: Cell::new(now),
        executor: Executor::new(),
        meter: Meter::new(options.stall_budget, now.ns()),
        spin: Spin::new(Duration::from_micros(u64::from(options.spin_us))),
        wheel: Wheel::new(now, options.timer_tick),
        sockets: Sockets::new(),
        listeners: Listeners::default(),
        mail: Mail::default(),
        flush: RefCell::new(Vec::with_capacity(LIST_CAPACITY)),
        flush_spare: RefCell::new(Vec::with_capacity(LIST_CAPACITY)),
        settle: RefCell::new(Vec::with_capacity(LIST_CAPACITY)),
        starved: RefCell::new(VecDeque::new()),
        pipes: Pipes::new(options.pipes_max, options.pipe_size),
        options: options.clone(),
        stats,
        wake,
        done: Cell::new(false),
        closed: Cell::new(false),
        driver,
        pools,
    });
    let ending = Ending(inner.clone());
    let entered = inner.executor.enter();
    let result: Rc<Cell<Option<T>>> = Rc::default();
    let future = main(Core(inner.clone()), report);
    inner.executor.spawn(&inner.pools, &inner.stats, "main", {
        let (result, inner) = (result.clone(), inner.clone());
        async move {
            result.set(Some(future.await));
            inner.done.set(true);
        }
    });
    let mut housekeeper = Housekeeper::new(now);
    while !inner.done.get() {
        inner.turn(&mut housekeeper);
    }
    drop(ending);
    drop(entered);
    Ok(result.take().expect("set before `done`"))
}

/// First capacity of the per-turn lists.
const LIST_CAPACITY: usize = 256;

/// Ends a core: also when `main` panicked, where it can only leave the memory to the kernel.
struct Ending(Rc<Inner>);

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Tasks are in an unknown state and the kernel may still write: leaking is the only thing that is safe.
            std::mem::forget(self.0.clone());
            return;
        }
        self.0.end();
        let held = self.0.pools.outstanding();
        if held != (0, 0, 0) {
            // The result of `main` holds buffers; they point back to the pools, which must stay then.
            std::mem::forget(self.0.clone());
        }
    }
}

/// What a quiet core gives back, and when it looks.
struct Housekeeper {
    at: Instant,
    turns_seen: u64,
}

/// How often a core looks whether it is quiet.
const QUIET_PERIOD: Duration = Duration::from_secs(1);
/// Fewer turns than this in a period are quiet.
const QUIET_TURNS: u64 = 200;

impl Housekeeper {
    fn new(now: Instant) -> Housekeeper {
        Housekeeper { at: now + QUIET_PERIOD, turns_seen: 0 }
    }

    fn look(&mut self, inner: &Inner) {
        let turns = inner.stats.turns.get();
        let quiet = turns - self.turns_seen < QUIET_TURNS;
        inner.pipes.look(quiet);
        if quiet {
            inner.pools.shrink(inner.driver.fills_only_inside_enter());
        }
        self.turns_seen = turns;
        self.at = inner.now.get() + QUIET_PERIOD;
    }
}

impl Inner {
    fn turn(&self, housekeeper: &mut Housekeeper) {
        self.stats.turns.add(1);
        let ns = self.meter.take_woke().unwrap_or_else(sys::monotonic_ns);
        let began = Instant::of_ns(ns);
        self.now.set(began);
        self.meter.turn_begins(&self.stats, ns);
        if self.wake.take_pending() {
            self.listeners.retry_all();
            self.mail.wake_all();
        }
        let timers_left = self.wheel.advance(ns);
        if began >= housekeeper.at {
            housekeeper.look(self);
        }
        let polls = self.executor.run_ready(&self.stats, &self.meter);
        if self.done.get() {
            return;
        }
        self.settle_received();
        self.flush_all();
        let starved_left = self.rearm_starved();
        let busy = timers_left || starved_left || !self.executor.is_idle() || !self.flush.borrow().is_empty();
        let timeout = if busy {
            Some(Duration::ZERO)
        } else {
            let could_shrink = self.pools.could_shrink() || self.pipes.could_shrink();
            let until_shrink = could_shrink.then(|| housekeeper.at.saturating_duration_since(began));
            match (self.wheel.until_due(ns), until_shrink) {
                (Some(due), Some(shrink)) => Some(due.min(shrink)),
                (due, shrink) => due.or(shrink),
            }
        };
        self.pools.gauge(&self.stats);
        self.stats.pipes.set(self.pipes.made() as u64);
        self.meter.turn_ends(&self.stats, polls, sys::monotonic_ns());
        self.driver.enter(self, timeout);
    }

    /// Until when a driver that is about to sleep should look for work instead; `None`: it should sleep at once.
    #[inline]
    pub(crate) fn spin_until(&self, timeout: Option<Duration>) -> Option<u64> {
        let until = self.spin.until(self.meter.ended())?;
        Some(self.timer_due(timeout).map_or(until, |due| until.min(due)))
    }

    /// When a sleep of at most `timeout` has to be over.
    fn timer_due(&self, timeout: Option<Duration>) -> Option<u64> {
        timeout.map(|timeout| self.meter.ended().saturating_add(timeout.as_nanos() as u64))
    }

    /// A driver's sleep of at most `timeout` was ended by it.
    #[cold]
    pub(crate) fn timed_out(&self, timeout: Option<Duration>) {
        if let Some(timeout) = timeout {
            self.meter.timed_out(&self.stats, timeout);
        }
    }

    /// Whether there is something to do that no completion tells of.
    pub(crate) fn has_work(&self) -> bool {
        self.wake.is_pending() || !self.executor.is_idle()
    }

    /// A driver looked for work until `now`, and found some or not. A timer that is due is work: no sleep was worth it.
    pub(crate) fn spun(&self, now: u64, found: bool, timeout: Option<Duration>) -> bool {
        let found = found || self.timer_due(timeout).is_some_and(|due| now >= due);
        self.stats.spins.add(1);
        self.stats.spins_found.add(u64::from(found));
        self.spin.spun(now, found);
        found
    }

    /// Drops all tasks and handles' work, and waits until the kernel is done with all of it.
    fn end(&self) {
        self.executor.close(&self.stats);
        self.listeners.close_all(self);
        self.sockets.each(|socket| self.close(socket));
        let mut turns_left = END_TURNS_MAX;
        while self.sockets.live() > 0 || self.listeners.live() > 0 {
            self.flush_all();
            self.driver.enter(self, Some(Duration::from_millis(10)));
            turns_left -= 1;
            assert!(turns_left > 0, "what was cancelled completes");
        }
        self.closed.set(true);
        self.pools.gauge(&self.stats);
        self.stats.end();
        self.driver.end();
    }
}

/// Turns in which the end of a core has to be through: each waits up to 10 ms for completions of cancelled operations.
const END_TURNS_MAX: u32 = 3000;
