//! Who sends what is due: one core's dispatcher between its schedule and its connections.
//!
//! ```text
//!   closed loop   a place that becomes free is due at once
//!   open loop     schedule ──> due ──> the connection that has been free for longest
//!                                └──> backlog, in order, while none is ──> the next place that becomes free
//! ```
//!
//! A latency runs from when its request was due, so that a target that stalls is charged with every request of the stall, and not with
//! the one that happened to be sent (coordinated omission). How late the schedule itself was served is counted apart: that is the
//! generator's fault.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringway_runtime::Instant;

/// A request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// When it was to be sent.
    pub(crate) due: Instant,
}

/// Requests that may wait for a connection: beyond it they fail at once. A million are more than any timeout leaves there, and take 8 MiB a core.
const BACKLOG_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connections are being made.
    Waiting,
    Running,
    /// Nothing more is due; what waits is still sent.
    Over,
}

/// One connection's places for requests.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    jobs: RefCell<VecDeque<Job>>,
    free: Cell<u32>,
    /// It stands in the line of those that have a free place.
    enlisted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Seat {
    fn give(&self, job: Job) {
        self.jobs.borrow_mut().push_back(job);
        self.wake();
    }

    /// A request that was taken is to be taken again, before the others.
    pub(crate) fn put_back(&self, job: Job) {
        self.jobs.borrow_mut().push_front(job);
    }

    /// Its connection runs, and will ask: it need not be woken.
    pub(crate) fn runs(&self) {
        *self.waker.borrow_mut() = None;
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    is_open_loop: bool,
    phase: Cell<Phase>,
    /// Requests that may still become due, beside those of the warm-up.
    left: Cell<u64>,
    /// The end of the warm-up: what is due before it is not counted off.
    from: Cell<Option<Instant>>,
    /// Closed loop: when nothing more becomes due.
    until: Cell<Option<Instant>>,
    seats: RefCell<Vec<Rc<Seat>>>,
    line: RefCell<VecDeque<Rc<Seat>>>,
    backlog: RefCell<VecDeque<Job>>,
    /// Due and not done.
    outstanding: Cell<u64>,
}

impl Dispatcher {
    /// One that gives out `count` requests at most, beside those of the warm-up.
    pub(crate) fn new(is_open_loop: bool, count: u64) -> Dispatcher {
        Dispatcher {
            is_open_loop,
            phase: Cell::new(Phase::Waiting),
            left: Cell::new(count),
            from: Cell::new(None),
            until: Cell::new(None),
            seats: RefCell::default(),
            line: RefCell::default(),
            backlog: RefCell::default(),
            outstanding: Cell::new(0),
        }
    }

    pub(crate) fn is_open_loop(&self) -> bool {
        self.is_open_loop
    }

    /// A new connection's.
    pub(crate) fn seat(&self) -> Rc<Seat> {
        let seat = Rc::new(Seat::default());
        self.seats.borrow_mut().push(Rc::clone(&seat));
        seat
    }

    /// Begins: from `now` to `until`; what is due before `from` is warm-up.
    pub(crate) fn begin(&self, now: Instant, from: Instant, until: Instant) {
        assert!(self.phase.get() == Phase::Waiting, "a run begins once");
        self.phase.set(Phase::Running);
        self.from.set(Some(from));
        self.until.set(Some(until));
        if !self.is_open_loop {
            for seat in &*self.seats.borrow() {
                self.offer(seat, seat.free.take(), now);
            }
        }
    }

    /// Nothing more becomes due.
    pub(crate) fn end(&self) {
        self.phase.set(Phase::Over);
        self.seats.borrow().iter().for_each(|seat| seat.wake());
    }

    /// Due and not done.
    pub(crate) fn outstanding(&self) -> u64 {
        self.outstanding.get()
    }

    /// Whether all that may become due has.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.left.get() == 0
    }

    /// `count` more places of a connection are free.
    pub(crate) fn offer(&self, seat: &Rc<Seat>, count: u32, now: Instant) {
        if self.is_open_loop {
            let mut count = count;
            while count > 0
                && let Some(job) = self.backlog.borrow_mut().pop_front()
            {
                seat.give(job);
                count -= 1;
            }
            seat.free.set(seat.free.get() + count);
            self.enlist(seat);
            return;
        }
        match self.phase.get() {
            Phase::Waiting => seat.free.set(seat.free.get() + count),
            Phase::Running if self.until.get().is_some_and(|until| now < until) => {
                let count = u64::from(count).min(self.left.get());
                self.count_off(count, now);
                self.outstanding.set(self.outstanding.get() + count);
                (0..count).for_each(|_| seat.give(Job { due: now }));
            }
            Phase::Running | Phase::Over => {}
        }
    }

    fn count_off(&self, count: u64, due: Instant) {
        if self.from.get().is_none_or(|from| due >= from) {
            self.left.set(self.left.get() - count);
        }
    }

    fn enlist(&self, seat: &Rc<Seat>) {
        if seat.free.get() > 0 && !seat.enlisted.replace(true) {
            self.line.borrow_mut().push_back(Rc::clone(seat));
        }
    }

    /// Open loop: a request is due. False: too many wait already, and it is nobody's.
    #[must_use]
    pub(crate) fn due(&self, job: Job) -> bool {
        assert!(self.left.get() > 0, "no more than planned");
        self.count_off(1, job.due);
        let first = self.line.borrow_mut().pop_front();
        match first {
            Some(seat) => {
                seat.enlisted.set(false);
                seat.free.set(seat.free.get() - 1);
                seat.give(job);
                self.enlist(&seat);
            }
            None if self.backlog.borrow().len() >= BACKLOG_MAX => return false,
            None => self.backlog.borrow_mut().push_back(job),
        }
        self.outstanding.set(self.outstanding.get() + 1);
        true
    }

    /// A request came to its end, whichever.
    pub(crate) fn done(&self) {
        let outstanding = self.outstanding.get();
        assert!(outstanding > 0, "each is done once");
        self.outstanding.set(outstanding - 1);
    }

    /// A connection's next request; `None`: there will be no more.
    pub(crate) fn poll_take(&self, seat: &Seat, context: &mut Context<'_>) -> Poll<Option<Job>> {
        if let Some(job) = seat.jobs.borrow_mut().pop_front() {
            return Poll::Ready(Some(job));
        }
        if self.phase.get() == Phase::Over {
            return Poll::Ready(None);
        }
        *seat.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits for [`Dispatcher::poll_take`].
    pub(crate) async fn take(&self, seat: &Seat) -> Option<Job> {
        poll_fn(|context| self.poll_take(seat, context)).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn take(dispatcher: &Dispatcher, seat: &Seat) -> Poll<Option<Job>> {
        dispatcher.poll_take(seat, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_free_place_is_due_at_once_in_closed_loop() {
        let now = Instant::now();
        let until = now + Duration::from_secs(1);
        let dispatcher = Dispatcher::new(false, 3);
        let seat = dispatcher.seat();
        dispatcher.offer(&seat, 2, now);
        assert_eq!(take(&dispatcher, &seat), Poll::Pending, "it has not begun");
        dispatcher.begin(now, now, until);
        for _ in 0..2 {
            assert_eq!(take(&dispatcher, &seat), Poll::Ready(Some(Job { due: now })));
        }
        dispatcher.done();
        dispatcher.offer(&seat, 1, until);
        assert_eq!(take(&dispatcher, &seat), Poll::Pending, "its time is over");
        dispatcher.offer(&seat, 2, now);
        assert!(take(&dispatcher, &seat).is_ready() && take(&dispatcher, &seat).is_pending(), "three in all");
        assert!(dispatcher.is_exhausted());
        dispatcher.end();
        assert_eq!((take(&dispatcher, &seat), dispatcher.outstanding()), (Poll::Ready(None), 2));
    }

    #[test]
    fn the_warm_up_is_not_counted_off() {
        let now = Instant::now();
        let ms = |ms| now + Duration::from_millis(ms);
        for is_open_loop in [false, true] {
            let dispatcher = Dispatcher::new(is_open_loop, 2);
            let seat = dispatcher.seat();
            dispatcher.begin(now, ms(10), ms(20));
            for at in [0, 9, 10, 11] {
                assert!(!dispatcher.is_exhausted(), "{at}");
                dispatcher.offer(&seat, 1, ms(at));
                assert!(!is_open_loop || dispatcher.due(Job { due: ms(at) }));
                assert!(take(&dispatcher, &seat).is_ready(), "{at}");
            }
            assert!(dispatcher.is_exhausted());
        }
    }

    #[test]
    fn what_is_due_goes_to_who_was_free_for_longest_or_waits() {
        let now = Instant::now();
        let job = |ms| Job { due: now + Duration::from_millis(ms) };
        let dispatcher = Dispatcher::new(true, u64::MAX);
        let [first, second] = [dispatcher.seat(), dispatcher.seat()];
        dispatcher.offer(&first, 2, now);
        dispatcher.offer(&second, 1, now);
        dispatcher.begin(now, now, now);
        (0..5).for_each(|ms| assert!(dispatcher.due(job(ms))));
        assert_eq!(take(&dispatcher, &first), Poll::Ready(Some(job(0))));
        assert_eq!(take(&dispatcher, &second), Poll::Ready(Some(job(1))));
        assert_eq!(take(&dispatcher, &first), Poll::Ready(Some(job(2))));
        assert!(take(&dispatcher, &first).is_pending() && take(&dispatcher, &second).is_pending());
        dispatcher.end();
        dispatcher.offer(&second, 1, now);
        assert_eq!(take(&dispatcher, &second), Poll::Ready(Some(job(3))), "what waits is sent after the end, too");
        assert_eq!(take(&dispatcher, &first), Poll::Ready(None));
        assert_eq!(dispatcher.outstanding(), 5);
    }
}
