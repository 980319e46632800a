//! Timers: a hierarchical wheel of 1 ms ticks, six levels of 64 slots (about two years), and the handle on one timer. A core may have finer
//! ticks ([`crate::Options::timer_tick`]): all below counts in ticks.
//!
//! A deadline is only stored when it moves later or goes away: the wheel's entry stays where it is, and when it comes up it
//! is put back at the deadline of then. So an idle timeout that each request pushes back costs two stores a request.
//! Never fires early: a deadline's tick is rounded up, the present one down. `poll_expired` compares the instants themselves.
//! Invariant: a scheduled slot is in exactly the list of its `tick`; `tick` <= the deadline's tick whenever there is one.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::core::Inner;
use crate::instant::Instant;
use crate::leaf::Leaf;

const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Beyond this many ticks ahead an entry is put in early and moved on when it comes up.
const TICKS_MAX: u64 = 1 << (SLOT_BITS * LEVELS as u32);
const NIL: u32 = u32::MAX;
/// No time of the loop's clock.
const NEVER: u64 = u64::MAX;
/// Entries that one turn looks at, so that ten thousand idle timeouts at one instant do not hold up the traffic.
const FIRED_PER_TURN_MAX: usize = 4096;

struct Slot {
    deadline: Option<Instant>,
    /// When the entry comes up, as an instant: a deadline at or after it needs no change of the wheel.
    due: Instant,
    tick: u64,
    next: u32,
    previous: u32,
    place: Place,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// On the free list.
    Free,
    /// A timer without an entry in the wheel.
    Off,
    /// In the list of (level, slot).
    In(u8, u8),
}

struct State {
    slots: Vec<Slot>,
    free: u32,
    heads: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
    /// All ticks up to here were served.
    elapsed: u64,
}

/// The timers of one core.
pub(crate) struct Wheel {
    start: Instant,
    /// A tick in the nanoseconds of the loop's clock.
    tick_ns: u64,
    /// Nothing is due before; `NEVER` when the wheel is empty. It may be too early (an entry has left), never too late.
    due_ns: Cell<u64>,
    state: Leaf<State>,
}

impl Wheel {
    /// An empty wheel of such ticks that begins at `start`.
    pub(crate) fn new(start: Instant, tick: Duration) -> Wheel {
        Wheel {
            start,
            tick_ns: tick.as_nanos() as u64,
            due_ns: Cell::new(NEVER),
            state: Leaf::new(State {
                slots: Vec::new(),
                free: NIL,
                heads: [[NIL; SLOTS]; LEVELS],
                occupied: [0; LEVELS],
                elapsed: 0,
            }),
        }
    }

    /// The first tick that begins at or after `at`.
    fn tick_ceil(&self, at: Instant) -> u64 {
        at.ns().saturating_sub(self.start.ns()).div_ceil(self.tick_ns)
    }

    fn begin_of(&self, tick: u64) -> Instant {
        self.start + Duration::from_nanos(tick.saturating_mul(self.tick_ns))
    }

    /// Remembers when the wheel wants to be served next.
    fn wants(&self, next: Option<(usize, usize, u64)>) {
        self.due_ns.set(next.map_or(NEVER, |(_, _, tick)| self.ns_of(tick)));
    }

    /// When a tick begins, on the loop's clock.
    #[inline]
    fn ns_of(&self, tick: u64) -> u64 {
        self.start.ns().saturating_add(tick.saturating_mul(self.tick_ns))
    }

    /// Serves what is due at `now`, on the loop's clock. Says whether it left something for the next turn.
    #[inline]
    pub(crate) fn advance(&self, now: u64) -> bool {
        self.due_ns.get() <= now && self.serve(now)
    }

    #[cold]
    fn serve(&self, now: u64) -> bool {
        let left = self.advance_to(now.saturating_sub(self.start.ns()) / self.tick_ns);
        // SAFETY: plain fields.
        self.wants(unsafe { self.state.with(|state| state.next_due()) });
        left
    }

    fn advance_to(&self, tick: u64) -> bool {
        for _ in 0..FIRED_PER_TURN_MAX {
            // SAFETY: plain fields; a waker is moved, not dropped or called.
            match unsafe { self.state.with(|state| state.take_due(tick, |at| self.tick_ceil(at))) } {
                Due::Nothing => return false,
                Due::Moved(index) => {
                    // SAFETY: plain fields.
                    unsafe {
                        self.state.with(|state| {
                            let slot = &mut state.slots[index as usize];
                            slot.due = self.begin_of(slot.tick);
                        });
                    }
                }
                Due::Over(waker) => {
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
            }
        }
        true
    }

    /// How long from `now`, on the loop's clock, until the wheel wants to be served; `None` when it is empty.
    #[inline]
    pub(crate) fn until_due(&self, now: u64) -> Option<Duration> {
        let due = self.due_ns.get();
        (due != NEVER).then(|| Duration::from_nanos(due.saturating_sub(now)))
    }

    fn insert(&self) -> u32 {
        let slot =
            Slot { deadline: None, due: self.start, tick: 0, next: NIL, previous: NIL, place: Place::Off, waker: None };
        // SAFETY: plain fields; the slot that is overwritten holds no waker (`remove`).
        unsafe {
            self.state.with(|state| {
                if state.free == NIL {
                    state.slots.push(slot);
                    return (state.slots.len() - 1) as u32;
                }
                let index = state.free;
                state.free = state.slots[index as usize].next;
                state.slots[index as usize] = slot;
                index
            })
        }
    }

    fn remove(&self, index: u32) {
        // SAFETY: plain fields; the waker is moved out and dropped afterwards.
        let waker = unsafe {
            self.state.with(|state| {
                if state.slots[index as usize].place != Place::Off {
                    state.unlink(index);
                }
                let free = std::mem::replace(&mut state.free, index);
                let slot = &mut state.slots[index as usize];
                slot.place = Place::Free;
                slot.next = free;
                slot.deadline = None;
                slot.waker.take()
            })
        };
        drop(waker);
    }

    #[inline]
    fn set(&self, index: u32, at: Instant) {
        // SAFETY: plain fields.
        let scheduled = unsafe {
            self.state.with(|state| {
                let slot = &mut state.slots[index as usize];
                slot.deadline = Some(at);
                matches!(slot.place, Place::In(..)) && slot.due <= at
            })
        };
        if !scheduled {
            self.schedule(index, at);
        }
    }

    /// Puts the entry where `at` comes up.
    fn schedule(&self, index: u32, at: Instant) {
        let tick = self.tick_ceil(at);
        // SAFETY: plain fields.
        let due = unsafe {
            self.state.with(|state| {
                match state.slots[index as usize].place {
                    Place::In(..) => state.unlink(index),
                    Place::Off => {}
                    Place::Free => unreachable!("a handle names a live timer"),
                }
                let due = state.link(index, tick);
                let slot = &mut state.slots[index as usize];
                slot.due = self.begin_of(slot.tick);
                due
            })
        };
        // All others are known: only this one may be the first now.
        self.due_ns.set(self.due_ns.get().min(self.ns_of(due)));
    }
}

/// What became of the next entry.
enum Due {
    /// There is none up to this tick.
    Nothing,
    /// It went where its deadline of now comes up.
    Moved(u32),
    /// It left the wheel; who waits for it is to be woken.
    Over(Option<Waker>),
}

impl State {
    /// Takes the next entry that is due up to `tick`, if any; else all up to `tick` is served.
    fn take_due(&mut self, tick: u64, tick_of: impl FnOnce(Instant) -> u64) -> Due {
        let (level, slot) = match self.next_due() {
            Some((level, slot, due)) if due <= tick => {
                self.elapsed = self.elapsed.max(due);
                (level, slot)
            }
            _ => {
                self.elapsed = tick;
                return Due::Nothing;
            }
        };
        let index = self.heads[level][slot];
        self.unlink(index);
        let entry = &mut self.slots[index as usize];
        match entry.deadline.map(tick_of) {
            None => Due::Over(None),
            Some(at) if at > self.elapsed => {
                self.link(index, at);
                Due::Moved(index)
            }
            Some(_) => Due::Over(entry.waker.take()),
        }
    }

    /// The first list that wants to be looked at: level, slot, and the tick at which it does.
    #[inline]
    fn next_due(&self) -> Option<(usize, usize, u64)> {
        let mut first: Option<(usize, usize, u64)> = None;
        for level in 0..LEVELS {
            let occupied = self.occupied[level];
            if occupied == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let here = (self.elapsed >> shift) as u32 & (SLOTS as u32 - 1);
            let slot = (occupied.rotate_right(here).trailing_zeros() + here) as usize % SLOTS;
            let range = 1u64 << (shift + SLOT_BITS);
            let mut due = (self.elapsed & !(range - 1)) + ((slot as u64) << shift);
            if due < self.elapsed {
                // Only on the top level do slots wrap around; below, what is behind us is a list half served, right here.
                due = if level == LEVELS - 1 && slot as u32 != here { due + range } else { self.elapsed };
            }
            // Every level counts: a list of a higher one that is half served comes before all of the lower ones.
            if first.is_none_or(|(_, _, at)| due < at) {
                first = Some((level, slot, due));
            }
        }
        first
    }

    /// Puts the entry into the list of its tick; when that wants to be looked at, or before.
    fn link(&mut self, index: u32, tick: u64) -> u64 {
        let tick = tick.max(self.elapsed + 1).min(self.elapsed + TICKS_MAX - 1);
        let differs = (self.elapsed ^ tick) | (SLOTS as u64 - 1);
        let level = (((63 - differs.leading_zeros()) / SLOT_BITS) as usize).min(LEVELS - 1);
        let slot = (tick >> (SLOT_BITS * level as u32)) as usize & (SLOTS - 1);
        let head = self.heads[level][slot];
        {
            let entry = &mut self.slots[index as usize];
            entry.tick = tick;
            entry.place = Place::In(level as u8, slot as u8);
            entry.next = head;
            entry.previous = NIL;
        }
        if head != NIL {
            self.slots[head as usize].previous = index;
        }
        self.heads[level][slot] = index;
        self.occupied[level] |= 1 << slot;
        tick >> (SLOT_BITS * level as u32) << (SLOT_BITS * level as u32)
    }

    fn unlink(&mut self, index: u32) {
        let entry = &mut self.slots[index as usize];
        let Place::In(level, slot) = entry.place else { unreachable!("only what is in a list is taken out") };
        entry.place = Place::Off;
        let (next, previous) = (entry.next, entry.previous);
        if next != NIL {
            self.slots[next as usize].previous = previous;
        }
        if previous != NIL {
            self.slots[previous as usize].next = next;
        } else {
            let (level, slot) = (level as usize, slot as usize);
            self.heads[level][slot] = next;
            if next == NIL {
                self.occupied[level] &= !(1 << slot);
            }
        }
    }
}

/// One deadline of a task. Setting it later, or clearing it, is two stores; nothing is allocated. `!Send`.
pub struct Timer {
    inner: Rc<Inner>,
    index: u32,
}

impl Timer {
    pub(crate) fn new(inner: Rc<Inner>) -> Timer {
        let index = inner.wheel.insert();
        inner.stats.timers.add(1);
        Timer { inner, index }
    }

    /// Sets the deadline, whatever it was.
    #[inline]
    pub fn set(&self, at: Instant) {
        self.inner.wheel.set(self.index, at);
    }

    /// Takes the deadline away: `poll_expired` stays pending until the next `set`.
    #[inline]
    pub fn clear(&self) {
        // SAFETY: a plain field.
        unsafe { self.inner.wheel.state.with(|state| state.slots[self.index as usize].deadline = None) };
    }

    /// The deadline, if there is one.
    #[inline]
    pub fn deadline(&self) -> Option<Instant> {
        // SAFETY: a plain field.
        unsafe { self.inner.wheel.state.with(|state| state.slots[self.index as usize].deadline) }
    }

    /// Ready once this turn's time has reached the deadline, and then at every call until it is set anew or cleared.
    #[inline]
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline().is_some_and(|at| at <= self.inner.now.get()) {
            return Poll::Ready(());
        }
        let waker = cx.waker();
        // SAFETY: `will_wake` compares two words.
        let known = unsafe {
            self.inner.wheel.state.with(|state| {
                state.slots[self.index as usize].waker.as_ref().is_some_and(|known| known.will_wake(waker))
            })
        };
        if !known {
            let waker = waker.clone();
            // SAFETY: wakers are moved; the displaced one is dropped afterwards.
            let displaced =
                unsafe { self.inner.wheel.state.with(|state| state.slots[self.index as usize].waker.replace(waker)) };
            drop(displaced);
        }
        Poll::Pending
    }

    /// Completes when the deadline is reached.
    pub fn expired(&self) -> impl Future<Output = ()> {
        poll_fn(|cx| self.poll_expired(cx))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.inner.wheel.remove(self.index);
        self.inner.stats.timers.sub(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    use super::*;

    /// Where the loop's clock stands when a wheel begins.
    const BEGIN: u64 = 123_456_789;

    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A step of a wheel's life, in milliseconds since its start.
    enum Step {
        /// Sets timer 0 or 1.
        Set(u32, u64),
        Clear(u32),
        /// Time passes to here, in one go; these are woken.
        To(u64, &'static [u32]),
        /// The wheel does not want to be looked at before the first and not after the second.
        Due(Option<(u64, u64)>),
    }
    use Step::{Clear, Due, Set, To};

    #[track_caller]
    fn check(steps: &[Step]) {
        let start = Instant::of_ns(BEGIN);
        let at = |ms: u64| start + Duration::from_millis(ms);
        let wheel = Wheel::new(start, Duration::from_millis(1));
        let ns = |ms: u64| BEGIN + ms * 1_000_000;
        let counts = [0, 1].map(|_| Arc::new(Count(AtomicU64::new(0))));
        for _ in &counts {
            wheel.insert();
        }
        let mut now = 0;
        for (n, step) in steps.iter().enumerate() {
            match *step {
                Set(index, ms) => {
                    wheel.set(index, at(ms));
                    let waker = Waker::from(counts[index as usize].clone());
                    // SAFETY: nothing else is in the wheel now.
                    unsafe { wheel.state.with(|state| state.slots[index as usize].waker = Some(waker)) };
                }
                // SAFETY: as above.
                Clear(index) => unsafe { wheel.state.with(|state| state.slots[index as usize].deadline = None) },
                To(ms, expect) => {
                    let before = [0, 1].map(|i: usize| counts[i].0.load(Ordering::Relaxed));
                    now = ms;
                    while wheel.advance(ns(ms)) {}
                    for (i, before) in (0..).zip(before) {
                        let woken = counts[i as usize].0.load(Ordering::Relaxed) - before;
                        assert_eq!(woken, u64::from(expect.contains(&i)), "step {n}: timer {i} at {ms} ms");
                    }
                }
                Due(expect) => {
                    let due = wheel.until_due(ns(now)).map(|wait| now + wait.as_millis() as u64);
                    let fits = match (due, expect) {
                        (Some(due), Some((first, last))) => (first..=last).contains(&due),
                        (due, expect) => due.is_none() && expect.is_none(),
                    };
                    assert!(fits, "step {n}: due at {due:?}");
                }
            }
        }
    }

    #[test]
    fn empty_wheels_want_nothing() {
        check(&[Due(None), To(5, &[]), Due(None), To(1 << 40, &[]), Due(None)]);
    }

    #[test]
    fn each_level() {
        for ms in [1, 63, 64, 65, 4095, 4096, 262_143, 262_144, 16_777_216, 1_073_741_824, 68_719_476_735] {
            check(&[Set(0, ms), Due(Some((1, ms))), To(ms - 1, &[]), To(ms, &[0]), Due(None), To(ms + 70, &[])]);
        }
    }

    #[test]
    fn beyond_the_last_level() {
        let far = (1 << 36) + 12_345;
        check(&[Set(0, far), To(1 << 36, &[]), To(far - 1, &[]), To(far, &[0]), Due(None)]);
    }

    #[test]
    fn later_is_lazy() {
        check(&[
            Set(0, 10),
            Set(0, 500),
            Due(Some((1, 10))),
            To(10, &[]),
            Due(Some((11, 500))),
            To(499, &[]),
            To(500, &[0]),
        ]);
    }

    #[test]
    fn earlier_is_at_once() {
        check(&[Set(0, 5000), Set(0, 7), Due(Some((1, 7))), To(7, &[0]), To(5000, &[])]);
    }

    #[test]
    fn cleared_never_fires() {
        check(&[Set(0, 10), Set(1, 10), Clear(0), To(10, &[1]), Due(None)]);
    }

    #[test]
    fn cleared_and_set_again() {
        check(&[Set(0, 10), Clear(0), Set(0, 30), To(10, &[]), To(29, &[]), To(30, &[0])]);
        check(&[Set(0, 30), Clear(0), Set(0, 10), To(10, &[0]), To(30, &[])]);
    }

    #[test]
    fn the_past_fires_at_the_next_tick() {
        check(&[To(100, &[]), Set(0, 50), To(101, &[0])]);
    }

    #[test]
    fn long_jumps_miss_nobody() {
        check(&[Set(0, 3), Set(1, 100_000), To(1_000_000, &[0, 1]), Due(None)]);
    }

    #[test]
    fn two_in_one_slot() {
        check(&[Set(0, 4097), Set(1, 4099), To(4097, &[0]), To(4098, &[]), To(4099, &[1])]);
    }
}
