//! The executor: a table of tasks, a queue of those to run, and wakers that are only numbers.
//!
//! A waker's data is the task's index and generation; waking pushes that number on the queue of the core that runs on this
//! thread. On a thread without a core it does nothing (tasks never leave their core: other threads speak to it through
//! mailboxes), and on another core's thread it at most wakes one of that core's tasks for nothing.
//! Invariant: a task is queued at most once, and its memory stays where it is from spawn to end.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{align_of, size_of};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use crate::chunk::{HEADER_SIZE, Header};
use crate::leaf::Leaf;
use crate::meter::Meter;
use crate::pool::Pools;
use crate::stats::{Kind, LoopStats};
use crate::sys;

/// Polls in one turn: this many, and four for each task that was ready when the turn began. What is left runs in the next turn,
/// after completions and timers had theirs.
const POLLS_PER_TURN_MIN: usize = 64;

thread_local! {
    /// The executor whose core runs on this thread.
    static CURRENT: Cell<*const Executor> = const { Cell::new(std::ptr::null()) };
}

/// A task's index (low half) and generation (high half).
type TaskId = u64;

struct TaskSlot {
    /// The task's memory; `None` when the slot is free.
    cell: Option<NonNull<Header>>,
    generation: u32,
    queued: bool,
}

/// What lies in a task's memory: how to treat it, then the future itself.
#[repr(C)]
struct TaskCell<F> {
    vtable: &'static TaskVtable,
    kind: Kind,
    future: F,
}

struct TaskVtable {
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> Poll<()>,
    drop: unsafe fn(NonNull<Header>),
}

#[inline]
fn cell_of<F>(header: NonNull<Header>) -> *mut TaskCell<F> {
    Header::bytes(header).cast()
}

/// # Safety
/// `header` holds a live `TaskCell<F>`, and nobody else is in it.
unsafe fn poll_cell<F: Future<Output = ()>>(header: NonNull<Header>, cx: &mut Context<'_>) -> Poll<()> {
    // SAFETY: the caller's promise; the memory never moves, so the future is pinned.
    unsafe { Pin::new_unchecked(&mut (*cell_of::<F>(header)).future) }.poll(cx)
}

/// # Safety
/// As `poll_cell`; afterwards the memory holds no value.
unsafe fn drop_cell<F>(header: NonNull<Header>) {
    // SAFETY: the caller's promise.
    unsafe { cell_of::<F>(header).drop_in_place() }
}

pub(crate) struct Executor {
    state: Leaf<State>,
    /// The task being polled.
    running: Cell<TaskId>,
    closed: Cell<bool>,
}

struct State {
    tasks: Vec<TaskSlot>,
    free: Vec<u32>,
    queue: VecDeque<TaskId>,
    /// Tasks that yielded: they join the queue when the turn ends.
    yielded: VecDeque<TaskId>,
}

impl State {
    /// The slot that the task still has.
    #[inline]
    fn slot(&mut self, task: TaskId) -> Option<&mut TaskSlot> {
        let slot = self.tasks.get_mut(task as u32 as usize)?;
        (slot.generation == (task >> 32) as u32).then_some(slot)
    }
}

impl Executor {
    pub(crate) fn new() -> Executor {
        Executor {
            state: Leaf::new(State {
                tasks: Vec::new(),
                free: Vec::new(),
                queue: VecDeque::with_capacity(1024),
                yielded: VecDeque::with_capacity(64),
            }),
            running: Cell::new(TaskId::MAX),
            closed: Cell::new(false),
        }
    }

    /// Starts a task. After `close` the future is dropped instead.
    pub(crate) fn spawn<F>(&self, pools: &Pools, stats: &LoopStats, kind: &'static str, future: F)
    where
        F: Future<Output = ()> + 'static,
    {
        const { assert!(align_of::<TaskCell<F>>() <= HEADER_SIZE, "a task's memory is aligned to 32 bytes") };
        let header = pools.cell(size_of::<TaskCell<F>>());
        let kind = stats.kind(kind);
        let vtable = const { &TaskVtable { poll: poll_cell::<F>, drop: drop_cell::<F> } };
        let cell = cell_of::<F>(header);
        // SAFETY: fresh memory of at least this size, aligned by the assertion above. Field by field, and the future nowhere else: so it is made
        // where it stays, and not moved there with all the room that its states are going to need.
        unsafe {
            (&raw mut (*cell).vtable).write(vtable);
            (&raw mut (*cell).kind).write(kind);
            (&raw mut (*cell).future).write(future);
        }
        if self.closed.get() {
            // SAFETY: written just now, and nobody else knows of it.
            unsafe {
                drop_cell::<F>(header);
                Pools::release_cell(header);
            }
            return;
        }
        stats.tasks.add(1);
        // SAFETY: plain collections.
        unsafe {
            self.state.with(|state| {
                let index = state.free.pop().unwrap_or_else(|| {
                    state.tasks.push(TaskSlot { cell: None, generation: 0, queued: false });
                    (state.tasks.len() - 1) as u32
                });
                let slot = &mut state.tasks[index as usize];
                slot.cell = Some(header);
                slot.queued = true;
                let task = id(index, slot.generation);
                state.queue.push_back(task);
            });
        }
    }

    #[inline]
    fn schedule(&self, task: TaskId) {
        // SAFETY: plain collections.
        unsafe {
            self.state.with(|state| {
                if let Some(slot) = state.slot(task)
                    && !slot.queued
                {
                    slot.queued = true;
                    state.queue.push_back(task);
                }
            });
        }
    }

    /// Runs what is ready, bounded (see `POLLS_PER_TURN_MIN`). Returns how many polls it made.
    #[inline]
    pub(crate) fn run_ready(&self, stats: &LoopStats, meter: &Meter) -> u64 {
        // SAFETY: a number is read.
        let mut left = unsafe { self.state.with(|state| state.queue.len()) } * 4 + POLLS_PER_TURN_MIN;
        let mut polls = 0;
        while left > 0 {
            // SAFETY: plain collections.
            let next = unsafe {
                self.state.with(|state| {
                    let task = state.queue.pop_front()?;
                    let cell = state.slot(task).and_then(|slot| {
                        slot.queued = false;
                        slot.cell
                    });
                    Some((task, cell))
                })
            };
            let Some((task, cell)) = next else { break };
            left -= 1;
            if let Some(header) = cell {
                // SAFETY: the slot names a live task; `kind` has the same place in every `TaskCell` (repr(C)).
                let kind = unsafe { (*cell_of::<()>(header)).kind };
                meter.polls(stats, kind, polls, sys::monotonic_ns);
                polls += 1;
                self.poll_one(stats, task, header);
            }
        }
        stats.polls.add(polls);
        // SAFETY: plain collections.
        unsafe {
            self.state.with(|state| {
                if !state.yielded.is_empty() {
                    state.queue.extend(state.yielded.drain(..));
                }
            });
        }
        polls
    }

    #[inline]
    fn poll_one(&self, stats: &LoopStats, task: TaskId, header: NonNull<Header>) {
        self.running.set(task);
        let waker = std::mem::ManuallyDrop::new(waker(task));
        // SAFETY: the slot names a live task; only this loop polls, and it polls one at a time. Every `TaskCell<F>` starts
        // with the vtable of its own `F` (repr(C)).
        let done = unsafe { ((*cell_of::<()>(header)).vtable.poll)(header, &mut Context::from_waker(&waker)) };
        self.running.set(TaskId::MAX);
        if done.is_ready() {
            self.end(stats, task as u32, header);
        }
    }

    fn end(&self, stats: &LoopStats, index: u32, header: NonNull<Header>) {
        // SAFETY: plain fields.
        unsafe {
            self.state.with(|state| {
                let slot = &mut state.tasks[index as usize];
                slot.cell = None;
                slot.queued = false;
                slot.generation = slot.generation.wrapping_add(1);
            });
        }
        // SAFETY: live until here; nobody can reach it any more. Dropping may wake or spawn, so nothing is borrowed.
        unsafe {
            ((*cell_of::<()>(header)).vtable.drop)(header);
            Pools::release_cell(header);
        }
        // SAFETY: plain collections.
        unsafe { self.state.with(|state| state.free.push(index)) };
        stats.tasks.sub(1);
    }

    /// Puts the running task behind all that is ready and all that completes meanwhile.
    fn yield_running(&self) {
        let task = self.running.get();
        // SAFETY: plain collections.
        unsafe {
            self.state.with(|state| {
                if let Some(slot) = state.slot(task)
                    && !slot.queued
                {
                    slot.queued = true;
                    state.yielded.push_back(task);
                }
            });
        }
    }

    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        // SAFETY: a number is read.
        unsafe { self.state.with(|state| state.queue.is_empty()) }
    }

    /// Drops all tasks; later spawns drop their future at once.
    pub(crate) fn close(&self, stats: &LoopStats) {
        self.closed.set(true);
        let mut index = 0;
        loop {
            // SAFETY: plain fields.
            let cell = unsafe { self.state.with(|state| state.tasks.get(index as usize).map(|slot| slot.cell)) };
            match cell {
                None => break,
                Some(Some(header)) => self.end(stats, index, header),
                Some(None) => {}
            }
            index += 1;
        }
        // SAFETY: numbers are dropped.
        unsafe { self.state.with(|state| state.queue.clear()) };
    }

    /// How many tasks of each kind are alive, for people who look for a leak.
    pub(crate) fn census(&self, stats: &LoopStats) -> Vec<(&'static str, usize)> {
        let mut rows: Vec<(&'static str, usize)> = Vec::new();
        // SAFETY: `kind` has the same place in every `TaskCell` (repr(C)); a list is built.
        unsafe {
            self.state.with(|state| {
                for header in state.tasks.iter().filter_map(|slot| slot.cell) {
                    let kind = stats.kind_name((*cell_of::<()>(header)).kind);
                    match rows.iter_mut().find(|(name, _)| *name == kind) {
                        Some((_, count)) => *count += 1,
                        None => rows.push((kind, 1)),
                    }
                }
            });
        }
        rows
    }

    /// Makes this the executor of the thread until the guard is dropped. Panics when there is one already.
    pub(crate) fn enter(&self) -> Entered<'_> {
        CURRENT.with(|current| {
            assert!(current.get().is_null(), "one core to a thread");
            current.set(self);
        });
        Entered(PhantomData)
    }
}

/// While it lives, wakers work on this thread.
pub(crate) struct Entered<'a>(PhantomData<&'a Executor>);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        CURRENT.with(|current| current.set(std::ptr::null()));
    }
}

fn id(index: u32, generation: u32) -> TaskId {
    u64::from(generation) << 32 | u64::from(index)
}

static VTABLE_AT: RawWakerVTable = RawWakerVTable::new(clone_raw, wake_raw, wake_raw, drop_raw);

fn waker(task: TaskId) -> Waker {
    const { assert!(size_of::<usize>() == 8, "a waker's data holds 64 bits") };
    // SAFETY: the functions below keep the contract of RawWaker: the data is a number, so cloning and dropping do
    // nothing, and waking from any thread touches only what belongs to that thread.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::without_provenance(task as usize), &VTABLE_AT)) }
}

unsafe fn clone_raw(data: *const ()) -> RawWaker {
    RawWaker::new(data, &VTABLE_AT)
}

unsafe fn wake_raw(data: *const ()) {
    let executor = CURRENT.with(Cell::get);
    if executor.is_null() {
        return;
    }
    // SAFETY: `Entered` keeps the executor borrowed as long as CURRENT names it.
    unsafe { &*executor }.schedule(data.addr() as TaskId);
}

unsafe fn drop_raw(_: *const ()) {}

/// Goes to the back of the queue once (see [`crate::Core::yield_now`]).
pub(crate) struct YieldNow {
    pub(crate) yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        let executor = CURRENT.with(Cell::get);
        // A future inside a combinator has the combinator's waker: only that one leads back here.
        let ours = std::ptr::eq(cx.waker().vtable(), &VTABLE_AT);
        if executor.is_null() || !ours {
            cx.waker().wake_by_ref();
        } else {
            // SAFETY: as in `wake_raw`.
            unsafe { &*executor }.yield_running();
        }
        Poll::Pending
    }
}

/// A place for one waker.
pub(crate) struct WakerCell(std::cell::UnsafeCell<Option<Waker>>);

impl WakerCell {
    pub(crate) const fn new() -> WakerCell {
        WakerCell(std::cell::UnsafeCell::new(None))
    }

    /// Remembers whom to wake.
    #[inline]
    pub(crate) fn register(&self, waker: &Waker) {
        // SAFETY: cells are `!Sync` and the exclusive reference ends before any foreign code could come back here:
        // `will_wake` compares two words, and the displaced waker is dropped after the assignment.
        let displaced = unsafe {
            let cell = &mut *self.0.get();
            match cell {
                Some(old) if old.will_wake(waker) => return,
                _ => cell.replace(waker.clone()),
            }
        };
        drop(displaced);
    }

    /// Wakes and forgets. Says whether there was somebody.
    #[inline]
    pub(crate) fn wake(&self) -> bool {
        // SAFETY: the exclusive reference ends before `wake` runs.
        let waker = unsafe { (*self.0.get()).take() };
        match waker {
            Some(waker) => {
                waker.wake();
                true
            }
            None => false,
        }
    }

    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        // SAFETY: a short shared look; no exclusive reference lives across calls.
        unsafe { (*self.0.get()).is_some() }
    }

    pub(crate) fn clear(&self) {
        // SAFETY: the reference ends before the waker is dropped.
        let waker = unsafe { (*self.0.get()).take() };
        drop(waker);
    }
}
