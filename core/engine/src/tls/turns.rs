//! Who may make a step of a handshake in this turn of the core: first come, first served.
//!
//! ```text
//!   enter ──> refused: too many wait
//!     └─────> waits ──> first ──> served ──> the next one is first
//!               │         └── this turn's steps are made: it is first in the next one
//!               └── gives up (its place is dropped) ──> the line closes up
//! ```
//!
//! It knows no clock and no socket. Invariant: the first in line has been woken, or is being polled.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Waker};

/// Steps of handshakes in one turn of a core: one that signs or verifies takes up to half a millisecond.
pub(super) const STEPS_PER_TURN: u32 = 2;

/// Who may wait: at half a millisecond a step four seconds of a worker, about as long as clients do. Beyond it what is computed comes too late, and
/// keeps those waiting whom it would not. 32 bytes each, and what their connections hold.
pub(super) const WAITING_MAX: usize = 8192;

/// While more than so many wait, nobody is let in who has not begun: what was spent on those who have would be lost with them.
pub(super) const FRESH_MAX: usize = WAITING_MAX / 2;

/// See the module.
#[derive(Default)]
pub(super) struct Turns {
    turn: Cell<u64>,
    made: Cell<u32>,
    /// The number of who comes next.
    next: Cell<u64>,
    /// Who is in line, by number, and how to wake them once they have asked.
    line: RefCell<VecDeque<(u64, Option<Waker>)>>,
}

/// What a place in the line comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A step is to be made now; the place is left.
    Now,
    /// It is the first, and has to ask again in the next turn of the core.
    Next,
    /// Others come before; it will be woken.
    Waits,
}

impl Turns {
    /// Takes the last place; `None`: too many wait. `is_fresh`: nothing was spent on this handshake yet.
    pub(super) fn enter(&self, is_fresh: bool) -> Option<Place<'_>> {
        let mut line = self.line.borrow_mut();
        if line.len() >= if is_fresh { FRESH_MAX } else { WAITING_MAX } {
            return None;
        }
        let number = self.next.replace(self.next.get() + 1);
        line.push_back((number, None));
        Some(Place { turns: self, number })
    }

    /// Whether one more step may be made in this turn of the core; then it counts.
    fn takes(&self, turn: u64) -> bool {
        if turn != self.turn.replace(turn) {
            self.made.set(0);
        }
        let may = self.made.get() < STEPS_PER_TURN;
        self.made.set(self.made.get() + u32::from(may));
        may
    }
}

/// A place in the line, until it is dropped.
pub(super) struct Place<'t> {
    turns: &'t Turns,
    number: u64,
}

impl Place<'_> {
    /// Whether it is its turn, in this turn of the core. After [`Turn::Now`] the place is to be dropped.
    pub(super) fn poll(&self, turn: u64, context: &mut Context<'_>) -> Turn {
        let mut line = self.turns.line.borrow_mut();
        let at = line.binary_search_by_key(&self.number, |(number, _)| *number).expect("who has a place is in line");
        if at > 0 {
            match &mut line[at].1 {
                Some(waker) => waker.clone_from(context.waker()),
                waker @ None => *waker = Some(context.waker().clone()),
            }
            return Turn::Waits;
        }
        if self.turns.takes(turn) { Turn::Now } else { Turn::Next }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.turns.line.borrow_mut();
        let at = line.binary_search_by_key(&self.number, |(number, _)| *number).expect("who has a place is in line");
        line.remove(at);
        let first = if at == 0 { line.front_mut().and_then(|(_, waker)| waker.take()) } else { None };
        drop(line);
        if let Some(waker) = first {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn poll(self: &Arc<Self>, place: &Place<'_>, turn: u64) -> Turn {
            place.poll(turn, &mut Context::from_waker(&Waker::from(Arc::clone(self))))
        }

        fn times(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn enter(turns: &Turns) -> Place<'_> {
        turns.enter(true).expect("room")
    }

    /// Guards against a line that outgrows its clients' patience, and against refusing those for whom most was computed.
    #[test]
    fn the_line_is_bounded_and_who_has_begun_comes_in_longer() {
        let turns = Turns::default();
        let mut line: Vec<_> = (0..FRESH_MAX).map(|_| enter(&turns)).collect();
        assert!(turns.enter(true).is_none());
        line.extend((FRESH_MAX..WAITING_MAX).map(|_| turns.enter(false).expect("room")));
        assert!(turns.enter(false).is_none());
        line.truncate(FRESH_MAX);
        assert!(turns.enter(true).is_none());
        line.truncate(FRESH_MAX - 1);
        assert!(turns.enter(true).is_some());
    }

    #[test]
    fn so_many_steps_are_made_in_a_turn_and_the_next_is_first_in_the_next() {
        let (turns, woken) = (Turns::default(), Arc::<Woken>::default());
        for turn in 1..4 {
            for _ in 0..STEPS_PER_TURN {
                assert_eq!(woken.poll(&enter(&turns), turn), Turn::Now);
            }
            let late = enter(&turns);
            assert_eq!(woken.poll(&late, turn), Turn::Next);
            let later = enter(&turns);
            assert_eq!(woken.poll(&later, turn + 1), Turn::Waits, "it does not overtake");
        }
        assert!(turns.line.borrow().is_empty());
    }

    /// Guards against a line that stops for good when somebody in it gives up: the woken one has to be the one that comes next.
    #[test]
    fn whoever_gives_up_the_rest_are_served_in_their_order() {
        for gone in 0..4 {
            let (turns, woken) = (Turns::default(), [(); 4].map(|()| Arc::<Woken>::default()));
            let mut line: Vec<_> = (0..4).map(|at| (at, enter(&turns))).collect();
            for (at, place) in line.iter().skip(1) {
                assert_eq!(woken[*at].poll(place, 0), Turn::Waits);
            }
            // The first may have been told to come again, and the second have been woken already: neither changes anything.
            drop(line.remove(gone));
            let mut turn = 1;
            while !line.is_empty() {
                let (at, place) = line.remove(0);
                assert_eq!(woken[at].times(), u32::from(at > 0), "{at} of a line without {gone}");
                assert_eq!(woken[at].poll(&place, turn), Turn::Now);
                for (at, place) in &line {
                    assert_eq!(woken[*at].poll(place, turn), Turn::Waits);
                }
                drop(place);
                turn += 1;
            }
        }
    }

    #[test]
    fn who_is_woken_and_gives_up_wakes_the_next() {
        let (turns, woken) = (Turns::default(), [(); 3].map(|()| Arc::<Woken>::default()));
        let [first, second, third] = [(); 3].map(|()| enter(&turns));
        assert_eq!(woken[1].poll(&second, 0), Turn::Waits);
        assert_eq!(woken[2].poll(&third, 0), Turn::Waits);
        drop(first);
        assert_eq!([woken[1].times(), woken[2].times()], [1, 0]);
        drop(second);
        assert_eq!(woken[2].times(), 1);
        assert_eq!(woken[2].poll(&third, 0), Turn::Now);
    }
}
