//! What a core's turns cost in time, and who held the loop for too long. Pure: every instant comes in as an argument.
//!
//! A turn lasts from the wake-up to the next `enter`: two clock reads (some 25 ns each) tell it exactly, and how late the wake-up was. Inside a turn, tasks of one kind that are polled one after the other are a *run*, and the clock is read where a
//! run of another kind begins, so that a stall is put down to a kind without reading the clock at each poll: nearly all of a
//! proxy's polls are of one kind. A run of many polls may be long without any of them being slow, so what so many polls usually
//! take is allowed on top of the budget.
//!
//! Invariant: in a turn the clock is read at most `RUNS_TIMED_MAX` times more; later runs of the turn are judged as one, and named by
//! all their kinds.

use std::cell::Cell;
use std::time::Duration;

use crate::stats::{Kind, LoopStats};

/// Runs of a turn that are timed apart: a turn that alternates between kinds pays for so many clock reads and no more.
const RUNS_TIMED_MAX: u8 = 4;

/// No time: the monotonic clock passed it when the host booted.
const NEVER: u64 = 0;

/// All times are nanoseconds of the monotonic clock.
pub(crate) struct Meter {
    budget: u64,
    began: Cell<u64>,
    ended: Cell<u64>,
    /// When the last sleep was over, until a turn begins with it.
    woke: Cell<u64>,
    /// The kind of the last poll.
    kind: Cell<Kind>,
    run: Run,
}

/// Polls of one kind, one after the other. One that began before the turn began with it.
struct Run {
    began: Cell<u64>,
    /// Polls of the turn before it.
    polled: Cell<u64>,
    /// One bit for each kind in it.
    kinds: Cell<u64>,
    /// Clock reads that the turn may still make.
    reads_left: Cell<u8>,
}

impl Meter {
    pub(crate) fn new(budget: Duration, now: u64) -> Meter {
        let run = Run { began: Cell::new(NEVER), polled: Cell::new(0), kinds: Cell::new(0), reads_left: Cell::new(0) };
        Meter {
            budget: u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX),
            began: Cell::new(now),
            ended: Cell::new(now),
            woke: Cell::new(NEVER),
            kind: Cell::new(Kind::NONE),
            run,
        }
    }

    /// A driver slept until `now`. The turn begins here, so that taking what has completed counts as its work.
    #[inline]
    pub(crate) fn woke(&self, now: u64) {
        self.woke.set(now);
    }

    /// When the last sleep was over, if that was since the last call.
    #[inline]
    pub(crate) fn take_woke(&self) -> Option<u64> {
        let woke = self.woke.replace(NEVER);
        (woke != NEVER).then_some(woke)
    }

    /// When the last turn ended.
    #[inline]
    pub(crate) fn ended(&self) -> u64 {
        self.ended.get()
    }

    /// A sleep of at most `timeout` was over at `woke`, and the timeout ended it.
    #[cold]
    pub(crate) fn timed_out(&self, stats: &LoopStats, timeout: Duration) {
        let due = self.ended.get().saturating_add(timeout.as_nanos() as u64);
        stats.wake_delay.record(self.woke.get().saturating_sub(due));
    }

    /// A turn begins at `now`.
    #[inline]
    pub(crate) fn turn_begins(&self, stats: &LoopStats, now: u64) {
        self.began.set(now);
        stats.turn_began.set(now);
    }

    /// A task of this kind is about to be polled, after `polled` others in this turn. `clock` is asked where a run ends.
    #[inline]
    pub(crate) fn polls(&self, stats: &LoopStats, kind: Kind, polled: u64, clock: impl FnOnce() -> u64) {
        if self.kind.get() == kind {
            return;
        }
        let before = self.kind.replace(kind);
        stats.running.set(kind.number());
        let first = self.run.began.get() <= self.began.get();
        if polled > 0 && (first || self.run.reads_left.get() > 0) {
            let reads_left = if first { RUNS_TIMED_MAX } else { self.run.reads_left.get() };
            self.run.reads_left.set(reads_left - 1);
            self.run_ends(stats, before, polled, clock());
        }
        self.run.kinds.set(self.run.kinds.get() | kind.bit());
    }

    #[cold]
    fn run_ends(&self, stats: &LoopStats, last: Kind, polled: u64, now: u64) {
        self.judge(stats, last, polled, now);
        // Later than the turn, however coarse the clock.
        self.run.began.set(now.max(self.began.get() + 1));
        self.run.polled.set(polled);
        self.run.kinds.set(0);
    }

    /// The turn is over at `now` after `polled` polls.
    #[inline]
    pub(crate) fn turn_ends(&self, stats: &LoopStats, polled: u64, now: u64) {
        let took = now.saturating_sub(self.began.get());
        if took > self.budget {
            self.judge(stats, self.kind.get(), polled, now);
        }
        stats.busy_ns.add(took);
        stats.turn_time.record(took);
        if took > stats.turn_ns_max.get() {
            stats.turn_ns_max.set(took);
        }
        self.ended.set(now);
        stats.turn_began.set(NEVER);
    }

    /// Whether the run that ends with the turn's poll `polled`, of a task of the kind `last`, held the loop for longer than the
    /// budget and what its polls usually take.
    #[cold]
    fn judge(&self, stats: &LoopStats, last: Kind, polled: u64, now: u64) {
        let (run, turn) = (&self.run, self.began.get());
        let (began, before, kinds) = if run.began.get() > turn {
            (run.began.get(), run.polled.get(), run.kinds.get())
        } else {
            (turn, 0, last.bit())
        };
        let (took, polls) = (now.saturating_sub(began), polled - before);
        if took <= self.budget || polls == 0 {
            return;
        }
        let usual = stats.busy_ns.get().saturating_sub(stats.stalled_ns.get()) / stats.polls.get().max(1);
        if took > self.budget.saturating_add(usual.saturating_mul(polls - 1)) {
            stats.stalled(kinds, polls, took, now);
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::instant::Instant;
    use crate::sys;

    const BUDGET_MS: u64 = 10;

    /// One turn after `usual` turns of one poll and 100 us: each row is a poll's kind and its milliseconds. Expects what was held
    /// against whom.
    #[track_caller]
    fn check(usual: u64, polls: &[(&'static str, u64)], expect: &[(&str, u64)]) {
        let stats = LoopStats::default();
        let mut now = 1_000_000_000;
        let meter = Meter::new(Duration::from_millis(BUDGET_MS), now);
        let main = stats.kind("main");
        for _ in 0..usual {
            meter.turn_begins(&stats, now);
            meter.polls(&stats, main, 0, || unreachable!("one run"));
            now += 100_000;
            stats.polls.add(1);
            meter.turn_ends(&stats, 1, now);
        }
        let mut seen = Vec::new();
        let mut look = |stats: &LoopStats| {
            if stats.stalls.get() > seen.len() as u64 {
                let stall = stats.last_stall().expect("counted");
                seen.push((stall.kind, stall.held.as_millis() as u64));
            }
        };
        meter.turn_begins(&stats, now);
        for (polled, (kind, ms)) in polls.iter().enumerate() {
            meter.polls(&stats, stats.kind(kind), polled as u64, || now);
            look(&stats);
            now += ms * 1_000_000;
        }
        stats.polls.add(polls.len() as u64);
        meter.turn_ends(&stats, polls.len() as u64, now);
        look(&stats);
        let seen: Vec<_> = seen.iter().map(|(kind, ms)| (kind.as_str(), *ms)).collect();
        assert_eq!(seen, expect, "{polls:?}");
    }

    #[test]
    fn who_held_the_loop_is_named() {
        check(0, &[], &[]);
        check(0, &[("main", 10)], &[]);
        check(0, &[("main", 11)], &[("main", 11)]);
        check(0, &[("main", 1), ("stuck", 50), ("main", 1)], &[("stuck", 50)]);
        check(0, &[("stuck", 20), ("main", 0), ("slow", 30)], &[("stuck", 20), ("slow", 30)]);
    }

    #[test]
    fn many_short_polls_are_no_stall() {
        // 200 polls in 20 ms, as quick as ever.
        let mut polls = vec![("main", 0); 180];
        polls.extend([("main", 1); 20]);
        check(1000, &polls, &[]);
        // One of them takes 30 ms on top.
        polls[7].1 = 30;
        check(1000, &polls, &[("main", 50)]);
    }

    #[test]
    fn turns_that_alternate_are_timed_for_a_while_and_then_named_by_all_kinds() {
        let polls = [("a", 1), ("b", 1), ("a", 1), ("b", 1), ("a", 1), ("b", 40), ("a", 1)];
        check(0, &polls, &[("a|b", 42)]);
    }

    #[test]
    fn a_late_wake_up_is_measured() {
        let stats = LoopStats::default();
        let began = 1_000_000_000;
        let meter = Meter::new(Duration::from_millis(BUDGET_MS), began);
        for (timeout_us, woke_us) in [(100, 100), (100, 99), (100, 108)] {
            meter.turn_begins(&stats, began);
            meter.turn_ends(&stats, 0, began);
            meter.woke(began + woke_us * 1000);
            meter.timed_out(&stats, Duration::from_micros(timeout_us));
        }
        assert_eq!((stats.wake_delay.count(), stats.wake_delay.sum_ns()), (3, 8000));
    }

    /// What other threads see of a worker that does not come back.
    #[test]
    fn a_turn_that_lasts_is_visible_meanwhile() {
        let stats = LoopStats::default();
        let began = Instant::now();
        stats.start(began);
        let meter = Meter::new(Duration::from_millis(BUDGET_MS), sys::monotonic_ns());
        assert!(stats.hold(began).is_none(), "no turn yet");
        let turn = sys::monotonic_ns();
        meter.turn_begins(&stats, turn);
        meter.polls(&stats, stats.kind("stuck"), 0, || unreachable!("the first run"));
        let later = Instant::of_ns(turn) + Duration::from_secs(3);
        let hold = stats.hold(later).expect("in a turn");
        assert_eq!((hold.kind, hold.held), ("stuck", Duration::from_secs(3)));
        meter.turn_ends(&stats, 1, sys::monotonic_ns());
        assert!(stats.hold(later).is_none());
    }
}
