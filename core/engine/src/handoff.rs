//! Handing a fresh connection to another worker, so that few connections do not all sit on one core.
//!
//! ```text
//!   worker A: accept ── lighter than A? ──> under_way(B) + 1 ──> B's queue (bounded) ──> wake B, if it sleeps
//!                  └─ no, or the queue is full: A serves it
//!   worker B: its own run of the same socket group takes the connection, as if the kernel had put it there
//! ```
//!
//! What travels is a bare descriptor: it is handed over before anything is armed on it or counted for it.
//!
//! Invariant: a connection that was pushed is taken by a run. Each worker of a [`SocketGroup`] leaves it after its last
//! push, and a worker's run of that group ends only when all have left and its queue was emptied after that. So the
//! receiver still has the last generation that had the listener, whatever was committed meanwhile.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use ringway_runtime::{Detached, Instant, LoopStats, Mailbox, Sender};

use crate::lighter::{Balance, Weight, lighter};
use crate::listen;
use crate::message::Shared;
use crate::run::Run;
use crate::worker::Worker;

/// What a worker carries, for the others to read: a cache line of its own.
pub(crate) type Load = CachePadded<Loaded>;

/// See [`Load`].
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Client connections. One writer: the worker.
    connections: AtomicUsize,
    /// Connections on their way to it: raised by who hands over, so that a burst does not all choose one victim, and
    /// lowered by the worker. The one read-modify-write here; once for each hand-off.
    under_way: AtomicU32,
}

impl Loaded {
    pub(crate) fn set_connections(&self, count: usize) {
        self.connections.store(count, Ordering::Release);
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    fn total(&self) -> u32 {
        let connections = u32::try_from(self.connections.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        connections.saturating_add(self.under_way.load(Ordering::Relaxed))
    }
}

/// The sockets of one address, one for each worker, from bind to close.
#[derive(Debug)]
pub(crate) struct SocketGroup {
    /// Workers that may still hand a connection of it over.
    accepting: AtomicUsize,
}

impl SocketGroup {
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { accepting: AtomicUsize::new(workers) })
    }

    fn have_all_left(&self) -> bool {
        self.accepting.load(Ordering::Acquire) == 0
    }
}

/// A connection on its way: 16 bytes.
pub(crate) struct HandOff {
    connection: Detached,
    group: Arc<SocketGroup>,
}

/// A worker as the others see it.
pub(crate) struct Sibling {
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Sender<HandOff>,
    pub(crate) stats: Arc<LoopStats>,
}

/// All workers, and this one's end of the hand-offs.
pub(crate) struct Siblings {
    own: usize,
    all: Arc<[Sibling]>,
    inbox: Mailbox<HandOff>,
    /// `--balance`, for listeners that do not say otherwise.
    balance: Balance,
    turn: Cell<usize>,
    meters: RefCell<Vec<Meter>>,
}

impl Siblings {
    pub(crate) fn new(
        own: usize,
        all: Arc<[Sibling]>,
        inbox: Mailbox<HandOff>,
        balance: Balance,
        now: Instant,
    ) -> Self {
        let meters = all.iter().map(|_| Meter { at: now, busy_ns: 0, busy: 0 }).collect();
        Self { own, all, inbox, balance, turn: Cell::new(0), meters: RefCell::new(meters) }
    }

    /// Hands a fresh connection of this run to a lighter worker. It comes back when this worker is to serve it.
    pub(crate) fn offer(
        &self,
        connection: Detached,
        run: &Run,
        now: Instant,
        connections_max: usize,
    ) -> Option<Detached> {
        let balance = if run.exact.get() { Balance::Exact } else { self.balance };
        if balance == Balance::Local || self.all.len() == 1 {
            return Some(connection);
        }
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let max = u32::try_from(connections_max).unwrap_or(u32::MAX);
        let weight = |at: usize| Weight { connections: self.all[at].shared.load.total(), busy: self.busy(at, now) };
        let Some(target) = lighter(balance, self.own, self.all.len(), turn, max, weight) else {
            return Some(connection);
        };
        let (sibling, own) = (&self.all[target], &self.all[self.own].shared);
        sibling.shared.load.under_way.fetch_add(1, Ordering::Relaxed);
        match sibling.inbox.try_send(HandOff { connection, group: Arc::clone(&run.group) }) {
            Ok(()) => {
                own.handed_over.add(1);
                run.stats().downstream_cx_handed_over.add(1);
                None
            }
            Err(refused) => {
                sibling.shared.load.under_way.fetch_sub(1, Ordering::Relaxed);
                own.kept_full.add(1);
                run.stats().downstream_cx_kept_full.add(1);
                Some(refused.connection)
            }
        }
    }

    fn busy(&self, at: usize, now: Instant) -> u32 {
        self.meters.borrow_mut()[at].read(self.all[at].stats.busy_ns.get(), now)
    }
}

/// The busy time of one worker as another one follows it: brought up to date by who asks, so that no idle worker wakes
/// for it.
#[derive(Debug)]
struct Meter {
    at: Instant,
    busy_ns: u64,
    /// Thousandths.
    busy: u32,
}

/// How long busy time is gathered before it counts; half of the figure is then what was known before.
const METER_PERIOD: Duration = Duration::from_millis(100);

impl Meter {
    fn read(&mut self, busy_ns: u64, now: Instant) -> u32 {
        let past = now.saturating_duration_since(self.at);
        if past >= METER_PERIOD {
            let share = u128::from(busy_ns.saturating_sub(self.busy_ns)) * 1000 / past.as_nanos();
            self.busy = (self.busy + share.min(1000) as u32) / 2;
            (self.at, self.busy_ns) = (now, busy_ns);
        }
        self.busy
    }
}

/// The task that takes what other workers hand over.
pub(crate) async fn receive(worker: Rc<Worker>) {
    loop {
        for _ in 0..HANDOFFS_PER_TURN {
            let handoff = poll_fn(|context| worker.siblings.inbox.poll_recv(&worker.core, context)).await;
            take(&worker, handoff);
        }
        worker.core.yield_now().await;
    }
}

/// Connections taken before other tasks have their turn.
const HANDOFFS_PER_TURN: usize = 64;

/// The end of a run's accepting: what is on its way to this worker is waited for and taken.
pub(crate) async fn leave(worker: &Rc<Worker>, run: &Run) {
    let Siblings { own, all, inbox, .. } = &worker.siblings;
    if run.group.accepting.fetch_sub(1, Ordering::AcqRel) == 1 {
        let others = all.iter().enumerate().filter(|(at, _)| at != own);
        others.for_each(|(_, sibling)| sibling.inbox.wake().wake());
    }
    loop {
        // Made before the look: a wake after it is not missed.
        let woken = worker.core.woken();
        if run.group.have_all_left() {
            break;
        }
        woken.await;
    }
    while let Some(handoff) = inbox.try_recv() {
        take(worker, handoff);
    }
}

fn take(worker: &Rc<Worker>, handoff: HandOff) {
    let HandOff { connection, group } = handoff;
    let run = worker.run_of(&group).or_else(|| {
        // Another worker was told of the new socket first.
        worker.refresh();
        listen::start(worker, worker.view().generation);
        worker.run_of(&group)
    });
    let run = run.expect("a run outlives the hand-offs of its group");
    worker.shared.taken_over.add(1);
    run.stats().downstream_cx_taken_over.add(1);
    listen::admit(worker, &run, worker.core.attach(connection));
    // After the connection is counted: in between it counts twice, which only sends the next one elsewhere.
    worker.shared.load.under_way.fetch_sub(1, Ordering::Relaxed);
}

const _: () = assert!(size_of::<HandOff>() <= 16 && align_of::<Load>() >= 64);

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;

    use ringway_model::ListenerId;
    use ringway_runtime::{Generation, IoChoice, Options, Wake, mailbox, run};

    use super::*;
    use crate::limits::Limits;
    use crate::message::{SocketKey, SocketSeed};
    use crate::worker::Parts;

    #[test]
    fn busy_time_is_followed_by_halves_and_not_looked_at_too_often() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut meter = Meter { at: begin, busy_ns: 0, busy: 0 };
        for (now, busy_ms, expect) in
            [(99, 99, 0), (100, 100, 500), (150, 150, 500), (200, 200, 750), (300, 200, 375), (10_000, 200, 187)]
        {
            assert_eq!(meter.read(busy_ms * 1_000_000, at(now)), expect, "at {now} ms");
        }
    }

    /// A core with worker 0 of two, and with the other's hands on its hand-off queue.
    fn on_worker<F: Future<Output = ()> + 'static>(work: impl FnOnce(Rc<Worker>, Arc<[Sibling]>) -> F) {
        let wake = Wake::new().expect("an eventfd");
        let sibling = |wake: &Arc<Wake>| {
            let (inbox, handoffs) = mailbox(4, wake);
            (Sibling { shared: Arc::default(), inbox, stats: Arc::default() }, handoffs)
        };
        let ((own, handoffs), (other, _)) = (sibling(&wake), sibling(&Wake::new().expect("an eventfd")));
        let shared = Arc::clone(&own.shared);
        let all: Arc<[Sibling]> = [own, other].into();
        let options = Options { io: IoChoice::Poll, ..Options::default() };
        let siblings = Arc::clone(&all);
        let (_, inbox) = mailbox(4, &wake);
        let parts = Parts {
            index: 0,
            word: Generation::new(),
            inbox,
            reports: mpsc::channel().0,
            shared,
            limits: Limits::default(),
            siblings: Siblings::new(0, Arc::clone(&all), handoffs, Balance::Exact, Instant::now()),
            drain_time: std::time::Duration::from_secs(1),
            seed: [1, 2],
        };
        run(&options, wake, |core, _| work(Worker::new(core, parts), siblings)).expect("poll runs everywhere");
    }

    fn fresh() -> Detached {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        drop(client);
        listener.accept().expect("a connection").0.into()
    }

    fn run_of(group: &Arc<SocketGroup>) -> Rc<Run> {
        let key = SocketKey::test("127.0.0.1:80");
        let seed = SocketSeed { key, listener: ListenerId(0), exact: true, stats: Arc::default(), socket: None };
        Run::new(seed, Arc::clone(group))
    }

    /// A worker that is late may hand a connection over long after the others have closed their sockets.
    #[test]
    fn a_run_outlives_the_last_handoff_of_its_group() {
        on_worker(|worker, all| async move {
            let group = SocketGroup::new(2);
            let run = run_of(&group);
            worker.run_began(&run);
            let left = Rc::new(Cell::new(false));
            worker.core.spawn("leave", {
                let (worker, left) = (Rc::clone(&worker), Rc::clone(&left));
                async move {
                    leave(&worker, &run).await;
                    worker.run_ended(&run);
                    left.set(true);
                }
            });
            for _ in 0..3 {
                worker.core.yield_now().await;
                all[0].inbox.wake().wake();
            }
            assert!(!left.get() && worker.run_of(&group).is_some(), "the other may still hand over");
            let sent = all[0].inbox.try_send(HandOff { connection: fresh(), group: Arc::clone(&group) });
            assert!(sent.is_ok());
            all[0].shared.load.under_way.fetch_add(1, Ordering::Relaxed);
            group.accepting.fetch_sub(1, Ordering::AcqRel);
            all[0].inbox.wake().wake();
            while !left.get() {
                worker.core.yield_now().await;
            }
            assert!(worker.run_of(&group).is_none());
            assert_eq!((all[0].shared.taken_over.value(), all[0].shared.load.total()), (1, 0));
        });
    }

    /// Ten connections come at once to a worker that has some already, the other has none and takes none of them yet.
    #[test]
    fn a_burst_spreads_and_a_full_queue_keeps_the_rest() {
        for (own, max, handed_over, kept_full) in [(0, 100, 0, 0), (2, 100, 2, 0), (8, 100, 4, 6), (8, 3, 3, 0)] {
            on_worker(move |worker, all| async move {
                let run = run_of(&SocketGroup::new(2));
                all[0].shared.load.set_connections(own);
                let now = worker.core.now();
                let kept = (0..10).filter(|_| worker.siblings.offer(fresh(), &run, now, max).is_some()).count();
                assert_eq!(kept as u64, 10 - handed_over);
                // Those on their way count at once.
                assert_eq!(u64::from(all[1].shared.load.total()), handed_over);
                assert_eq!(all[0].shared.handed_over.value(), handed_over);
                assert_eq!(
                    (all[0].shared.kept_full.value(), run.stats().downstream_cx_kept_full.value()),
                    (kept_full, kept_full)
                );
            });
        }
    }
}
