//! One core of the generator: its connections, its part of the schedule, and what it measures.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ringway_protocols::Limits;
use ringway_protocols::hpack::FieldList;
use ringway_runtime::{Core, Instant, IoReport, LoopStats, Options, StartError, Timer, Wake};
use ringway_tls::ClientContext;

use crate::chance::Chance;
use crate::connect::Wire;
use crate::cpu_time::CpuTime;
use crate::drive;
use crate::expect::Answer;
use crate::failure::Failure;
use crate::message::Message;
use crate::pacing::{Dispatcher, Job, Seat};
use crate::plan::{Pace, Plan};
use crate::schedule::Schedule;
use crate::tally::{Interval, Second, Tally};

/// What cores tell whoever started them.
#[derive(Debug)]
pub(crate) enum Report {
    /// Its connections are there, or failed once.
    Ready,
    /// What it measured in this second.
    Second { interval: Interval, second: Box<Second> },
    /// It is through; requests that it had no time to send, and what it had of its CPU from the start on, over so long.
    Done { missed: u64, cpu: CpuTime, ran: Duration, ended: Instant, is_exhausted: bool },
}

/// What the cores of a run share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// When the run begins, once all are ready.
    start: Mutex<Option<Instant>>,
    /// The user wants no more.
    stop: AtomicBool,
    /// It never begins: a core could not.
    given_up: AtomicBool,
}

impl Shared {
    pub(crate) fn begin(&self, at: Instant) {
        *self.start.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn start(&self) -> Option<Instant> {
        *self.start.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What a core's tasks share.
pub(crate) struct Worker {
    pub(crate) core: Core,
    pub(crate) plan: Arc<Plan>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) tally: Tally,
    pub(crate) message: Message,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<Arc<ClientContext>>,
    pub(crate) chance: RefCell<Chance>,
    /// The section that was decoded last, and working memory of encoders: used up before anything else runs.
    pub(crate) scratch: RefCell<Scratch>,
    /// Connections that have not been tried once.
    unready: Cell<usize>,
    begun: Cell<Option<Instant>>,
    /// When the last request came to its end.
    last: Cell<Instant>,
}

/// See [`Worker::scratch`].
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) fields: FieldList,
    pub(crate) lower: Vec<u8>,
    pub(crate) coded: Vec<u8>,
}

/// Where a core runs, and as which one of all.
pub(crate) struct Place {
    pub(crate) core: usize,
    pub(crate) wake: Arc<Wake>,
}

/// Timers of the open loop tick so finely: a request is late by half of it, on average.
const TICK_OPEN_LOOP: Duration = Duration::from_micros(20);
/// How often the main task looks whether all requests are done once no more become due.
const LOOK: Duration = Duration::from_millis(5);
/// A failed connection of the closed loop rests so long, or a refusing port would be asked a hundred thousand times a second.
const REST: Duration = Duration::from_millis(10);
/// Connections have so long to be made before the run begins without the rest.
const READY_MAX: Duration = Duration::from_secs(1);
/// Requests that become due in one turn, before connections have theirs.
const DUE_PER_TURN_MAX: usize = 256;

/// Runs one core on this thread. What the runtime says of its driver goes to `told`.
///
/// # Errors
/// Neither driver can be set up.
pub(crate) fn run(
    plan: Arc<Plan>,
    tls: Option<Arc<ClientContext>>,
    place: Place,
    shared: Arc<Shared>,
    reports: Sender<Report>,
    told: impl FnOnce(IoReport) + 'static,
) -> Result<(), StartError> {
    let is_open_loop = matches!(plan.pace, Pace::Open { .. });
    let stats: Arc<LoopStats> = Arc::default();
    let options = Options {
        io: plan.io,
        spin_us: plan.spin_us,
        timer_tick: if is_open_loop { TICK_OPEN_LOOP } else { Options::default().timer_tick },
        stats: Some(Arc::clone(&stats)),
        ..Options::default()
    };
    ringway_runtime::run(&options, place.wake, move |core, report| {
        told(report);
        let connections = plan.share(plan.connections as u64, place.core) as usize;
        let count = plan.count.map_or(u64::MAX, |count| plan.share(count, place.core));
        let worker = Rc::new(Worker {
            dispatcher: Dispatcher::new(is_open_loop, count),
            tally: Tally::new(core.now(), is_open_loop),
            message: Message::new(&core, &plan),
            limits: Limits::default(),
            tls,
            chance: RefCell::new(Chance::of(plan.seed, 1000 + place.core as u64)),
            scratch: RefCell::default(),
            unready: Cell::new(connections),
            begun: Cell::new(None),
            last: Cell::new(core.now()),
            core,
            plan,
        });
        worker.live(place.core, connections, shared, reports, stats)
    })
}

impl Worker {
    async fn live(
        self: Rc<Self>,
        number: usize,
        connections: usize,
        shared: Arc<Shared>,
        reports: Sender<Report>,
        stats: Arc<LoopStats>,
    ) {
        let core = &self.core;
        let timer = core.timer();
        for at in 0..connections {
            core.spawn("connection", drive::connection(Rc::clone(&self), at));
        }
        let ready_until = core.now() + READY_MAX.max(self.plan.connect_timeout.min(READY_MAX * 5));
        while self.unready.get() > 0 && core.now() < ready_until && !shared.is_stopped() {
            self.wait(&timer, LOOK).await;
        }
        let tell = |report| _ = reports.send(report); // who started us may have given up
        tell(Report::Ready);
        let start = loop {
            if let Some(start) = shared.start() {
                break start;
            }
            if shared.is_given_up() {
                return;
            }
            self.wait(&timer, LOOK).await;
        };
        timer.set(start);
        timer.expired().await;
        // What connecting took is no part of what requests take, also where it goes on until the start: a server's tickets are read after its handshake.
        // The time is read outside of the CPU time, at both ends: no thread has more CPU than time. Who begins late is told of by what was due meanwhile.
        let counted_from = Instant::now();
        let cpu_before = CpuTime::now(&stats);
        let spent_by_now = || {
            let cpu = CpuTime::now(&stats).since(cpu_before);
            (cpu, Instant::now().saturating_duration_since(counted_from))
        };
        let mut spent = None;
        let until = start + self.plan.duration;
        self.begun.set(Some(start));
        let from = start + self.plan.warm_up;
        // What is counted off alone ends with its last request, whenever that is.
        self.tally.count_from(from, self.plan.is_timed.then_some(until));
        self.dispatcher.begin(start, from, until);
        let missed: Rc<Cell<Option<u64>>> = Rc::default();
        if let Pace::Open { rate, arrivals } = self.plan.pace {
            let place = (number, self.plan.threads);
            let schedule = Schedule::new(rate, arrivals, self.plan.ramp, self.plan.seed, place);
            let (worker, missed, shared) = (Rc::clone(&self), Rc::clone(&missed), Arc::clone(&shared));
            core.spawn("schedule", async move {
                let left = worker.pace(schedule, start, until, &shared).await;
                missed.set(Some(left));
            });
        } else {
            missed.set(Some(0));
        }
        let drained = until + self.plan.timeout;
        let mut interval = Interval::first(self.plan.warm_up);
        let mut is_over = false;
        let mut held_until = None;
        let ended = loop {
            let now = core.now();
            if now >= start + interval.until {
                tell(Report::Second { interval, second: Box::new(self.tally.take()) });
                interval = interval.next();
                continue;
            }
            if !is_over && (now >= until || self.dispatcher.is_exhausted() || shared.is_stopped()) {
                let held_until = *held_until.get_or_insert(now + self.plan.hold);
                is_over = (missed.get().is_some() && now >= held_until) || shared.is_stopped();
                if is_over {
                    self.dispatcher.end();
                }
            }
            let outstanding = self.dispatcher.outstanding();
            let is_through = outstanding == 0 && missed.get().is_some();
            if spent.is_none() && is_through && (now >= until || self.dispatcher.is_exhausted()) {
                spent = Some(spent_by_now()); // before connections are held
            }
            if is_over && (outstanding == 0 || now >= drained || shared.is_stopped()) {
                // Of a run that was stopped, what is under way is nobody's fault.
                if outstanding > 0 && !shared.is_stopped() {
                    self.tally.unanswered(outstanding);
                }
                // Of what is counted off, the last request's end is the run's.
                break if self.dispatcher.is_exhausted() {
                    self.last.get()
                } else {
                    self.last.get().max(until.min(now))
                };
            }
            let boundary = start + interval.until;
            let is_waiting = is_over || self.dispatcher.is_exhausted() || now >= until;
            let next = if is_waiting { now + LOOK } else { boundary.min(until) };
            self.wait_until(&timer, next.max(now + Duration::from_micros(100))).await;
        };
        // The last second is as long as there was something to do in it.
        let until = ended.saturating_duration_since(start);
        let until = if until > interval.from { until } else { core.now().saturating_duration_since(start) };
        let interval = Interval { until: until.max(interval.from), ..interval };
        tell(Report::Second { interval, second: Box::new(self.tally.take()) });
        let (cpu, ran) = spent.unwrap_or_else(spent_by_now);
        let is_exhausted = self.dispatcher.is_exhausted();
        tell(Report::Done { missed: missed.get().unwrap_or(0), cpu, ran, ended, is_exhausted });
    }

    /// Waits until then, or until somebody wakes this core.
    async fn wait_until(&self, timer: &Timer, at: Instant) {
        timer.set(at);
        let mut woken = std::pin::pin!(self.core.woken());
        std::future::poll_fn(|context| {
            if woken.as_mut().poll(context).is_ready() {
                return std::task::Poll::Ready(());
            }
            timer.poll_expired(context)
        })
        .await;
    }

    async fn wait(&self, timer: &Timer, time: Duration) {
        self.wait_until(timer, self.core.now() + time).await;
    }

    /// Makes requests due until `until`. How many there was no time for: who is late catches up, for as long as being late is pardoned.
    async fn pace(&self, mut schedule: Schedule, start: Instant, until: Instant, shared: &Shared) -> u64 {
        let timer = self.core.timer();
        while !shared.is_stopped() && !self.dispatcher.is_exhausted() {
            let now = self.core.now();
            let mut made = 0;
            let next = loop {
                let due = start + schedule.next_at();
                if due >= until {
                    return 0;
                }
                if due > now || made == DUE_PER_TURN_MAX || self.dispatcher.is_exhausted() {
                    break due;
                }
                let job = Job { due };
                self.tally.late(job, now - due);
                if !self.dispatcher.due(job) {
                    self.tally.failed(job, Failure::Unsent);
                }
                schedule.advance();
                made += 1;
            };
            if now >= until + self.plan.late_max {
                return schedule.left(until - start);
            }
            if next > now {
                timer.set(next);
                timer.expired().await;
            } else {
                self.core.yield_now().await;
            }
        }
        0
    }

    /// The connection at this place before anything is due: made at once, or in its turn of the ramp; `None` where it failed, or is to be made for
    /// a request.
    pub(crate) async fn first(&self, at: usize) -> Option<Wire> {
        if self.plan.requests_per_connection == Some(1) {
            self.tried();
            return None;
        }
        if self.plan.ramp.is_zero() || self.dispatcher.is_open_loop() {
            let made = self.connect().await.ok();
            self.tried();
            return made;
        }
        self.tried();
        let timer = self.core.timer();
        let start = loop {
            if let Some(start) = self.begun.get() {
                break start;
            }
            self.wait(&timer, LOOK).await;
        };
        let connections = self.plan.connections.div_ceil(self.plan.threads).max(1);
        timer.set(start + self.plan.ramp.mul_f64(at as f64 / connections as f64));
        timer.expired().await;
        self.connect().await.ok()
    }

    fn tried(&self) {
        self.unready.set(self.unready.get() - 1);
    }

    /// The size of the next request's body.
    pub(crate) fn draw_size(&self) -> usize {
        if self.message.is_fixed() { self.message.body.len() } else { self.message.size(&mut self.chance.borrow_mut()) }
    }

    /// When a request has to be answered.
    pub(crate) fn deadline(&self, job: Job) -> Instant {
        job.due + self.plan.timeout
    }

    /// A request came to its end. Those of the warm-up are no part of what is measured.
    fn ended(&self, job: Job, now: Instant) {
        if self.tally.counts(job) {
            self.last.set(now);
        }
    }

    /// A request got its whole answer, and its place is free again.
    pub(crate) fn answered(&self, seat: &Rc<Seat>, job: Job, sent: Instant, answer: &Answer) {
        let now = self.core.now();
        let wrong = self.plan.expect.judge(answer);
        if let Some(failure) = wrong {
            self.tally.because(failure, answer);
        }
        self.tally.answered((job, sent), now, answer, wrong);
        self.ended(job, now);
        self.dispatcher.done();
        self.dispatcher.offer(seat, 1, now);
    }

    /// A request got none, and its place is free again.
    pub(crate) fn failed(&self, seat: &Rc<Seat>, job: Job, failure: Failure) {
        self.tally.failed(job, failure);
        self.ended(job, self.core.now());
        self.dispatcher.done();
        self.dispatcher.offer(seat, 1, self.core.now());
    }

    /// As [`Worker::failed`], for want of a connection: a closed loop rests before it tries again.
    pub(crate) async fn failed_to_connect(&self, seat: &Rc<Seat>, job: Job, failure: Failure) {
        self.tally.failed(job, failure);
        self.ended(job, self.core.now());
        self.dispatcher.done();
        if !self.dispatcher.is_open_loop() {
            let timer = self.core.timer();
            timer.set(self.core.now() + REST);
            timer.expired().await;
        }
        self.dispatcher.offer(seat, 1, self.core.now());
    }
}
