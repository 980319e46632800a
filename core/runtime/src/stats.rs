//! What a core's loop counts, readable from any thread.
//!
//! Each figure has one writer, its core: a change is a load and a store, never a read-modify-write. A reader sees each
//! figure whole, and no two of them at one instant.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use crate::instant::Instant;
use crate::sys;

/// One figure with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The figure now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn sub(&self, n: u64) {
        debug_assert!(self.get() >= n, "a gauge never goes below zero");
        self.0.store(self.get().wrapping_sub(n), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}

macro_rules! loop_stats {
    ($($(#[doc = $doc:literal])+ $name:ident: $sort:ident),+ $(,)?) => {
        /// The figures of one core's loop: counters only grow, gauges are named by what is there now.
        #[derive(Debug, Default)]
        pub struct LoopStats {
            $($(#[doc = $doc])+ pub $name: Counter,)+
            /// How long turns took, from the wake-up to the next `enter`. Every turn is in it.
            pub turn_time: Histogram,
            /// How much later than asked for the kernel gave control back, where a timeout ended the sleep.
            pub wake_delay: Histogram,
            /// What the loop does now, for those who wonder whether it is stuck.
            pub(crate) running: Counter,
            /// On the monotonic clock; 0 while the loop sleeps.
            pub(crate) turn_began: Counter,
            began: OnceLock<Instant>,
            /// The thread's CPU clock; 0: none yet.
            cpu_clock: AtomicI32,
            kinds: Kinds,
            last_stall: Mutex<Option<(u64, Stall)>>,
        }

        impl LoopStats {
            /// Each figure's name and value, in the order of declaration.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)+]
            }

            /// Whether the figure of this name only grows.
            pub fn only_grows(name: &str) -> bool {
                $(if name == stringify!($name) {
                    return stringify!($sort) == "counter";
                })+
                false
            }
        }
    };
}

loop_stats! {
    /// Turns of the loop.
    turns: counter,
    /// Calls of io_uring_enter or epoll_wait.
    enters: counter,
    /// Those of them that were allowed to sleep.
    sleeps: counter,
    /// Socket system calls made outside `enter` (all of them on `poll`; connect, shutdown, close and set-up on `ring`).
    syscalls: counter,
    /// Completion events taken (ring) or readiness events (poll).
    completions: counter,
    /// Times that the loop looked for work before it slept (`spin_us`).
    spins: counter,
    /// Those of them that found some.
    spins_found: counter,
    /// Task polls.
    polls: counter,
    /// Gathered send attempts.
    sends: counter,
    /// Send attempts that the kernel took only in part or not at all.
    send_stalls: counter,
    /// Receives that brought bytes.
    recvs: counter,
    /// Bytes received.
    bytes_received: counter,
    /// Bytes that the kernel took from send queues.
    bytes_sent: counter,
    /// Bytes copied at the end of turns from receive chunks into blocks.
    bytes_settled: counter,
    /// Bytes of both that went through a pipe (splice(2)).
    bytes_spliced: counter,
    /// Receives that found no chunk.
    enobufs: counter,
    /// Times that the completion queue had overflowed into the kernel's list.
    cq_overflows: counter,
    /// Connections accepted.
    accepts: counter,
    /// Accepts that failed (EMFILE and the like).
    accept_errors: counter,
    /// Receive chunks that exist.
    chunks_total: gauge,
    /// Receive chunks that nobody holds.
    chunks_free: gauge,
    /// Bulk buffers that are held by sockets, tasks or the kernel.
    bulk_in_use: gauge,
    /// Bytes of blocks (and of task and future memory) in use.
    blocks_in_use_bytes: gauge,
    /// Bytes of blocks that are kept for reuse.
    blocks_cached_bytes: gauge,
    /// Pipes that exist.
    pipes: gauge,
    /// Tasks alive.
    tasks: gauge,
    /// Sockets alive (streams and connects; listeners apart).
    streams: gauge,
    /// Timers alive.
    timers: gauge,
    /// Nanoseconds of all turns, each from its wake-up to the next `enter`. What the kernel does inside `enter` is in
    /// [`LoopStats::cpu_time`] only.
    busy_ns: counter,
    /// Nanoseconds of the longest turn.
    turn_ns_max: gauge,
    /// Times that tasks held the loop for longer than [`Options::stall_budget`](crate::Options::stall_budget).
    stalls: counter,
    /// Nanoseconds of all stalls.
    stalled_ns: counter,
}

/// Who held the loop for too long, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The kind that the task was spawned with; several, with `|` between them, where the turn did not tell them apart.
    pub kind: String,
    /// How long.
    pub held: Duration,
    /// Polls in that time: with one, it was that poll; with many, all but the slow one took what polls usually take.
    pub polls: u64,
    /// When it was over.
    pub at: Instant,
}

/// What a loop is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The kind of the task that was polled last in this turn.
    pub kind: &'static str,
    /// How long the turn has lasted.
    pub held: Duration,
}

impl LoopStats {
    /// The core begins on this thread.
    pub(crate) fn start(&self, now: Instant) {
        self.began.get_or_init(|| now);
        self.cpu_clock.store(sys::thread_cpu_clock().unwrap_or(0), Ordering::Relaxed);
    }

    /// The core ends: its thread may, too, and its clock with it.
    pub(crate) fn end(&self) {
        self.turn_began.set(0);
        self.cpu_clock.store(0, Ordering::Relaxed);
    }

    /// Time since the core began; `None`: it has not.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.began.get().map(|began| now.saturating_duration_since(*began))
    }

    /// CPU time of the core's thread, in the kernel, too. `None` before it runs and after it ended. One system call of the caller;
    /// the core notices nothing.
    pub fn cpu_time(&self) -> Option<Duration> {
        match self.cpu_clock.load(Ordering::Relaxed) {
            0 => None,
            clock => sys::clock(clock),
        }
    }

    /// What holds the loop at `now`; `None` while it sleeps. Readable from any thread, also while the loop is stuck.
    pub fn hold(&self, now: Instant) -> Option<Hold> {
        let began = self.turn_began.get();
        let kind = self.kinds.name(self.running.get());
        if began == 0 || self.turn_began.get() != began {
            return None;
        }
        let held = now.ns().saturating_sub(began);
        Some(Hold { kind, held: Duration::from_nanos(held) })
    }

    /// The last task that held the loop for longer than the budget.
    pub fn last_stall(&self) -> Option<Stall> {
        let known = self.last_stall.lock().unwrap_or_else(PoisonError::into_inner);
        let (kinds, stall) = known.as_ref()?;
        Some(Stall { kind: self.kinds.names(*kinds), ..stall.clone() })
    }

    #[cold]
    pub(crate) fn stalled(&self, kinds: u64, polls: u64, held_ns: u64, at_ns: u64) {
        self.stalled_ns.add(held_ns);
        let at = Instant::of_ns(at_ns);
        let stall = Stall { kind: String::new(), held: Duration::from_nanos(held_ns), polls, at };
        match self.last_stall.try_lock() {
            Ok(mut known) => *known = Some((kinds, stall)),
            Err(TryLockError::Poisoned(known)) => *known.into_inner() = Some((kinds, stall)),
            // Somebody is copying the one before: this one is counted, and a loop never waits for a reader.
            Err(TryLockError::WouldBlock) => {}
        }
        self.stalls.add(1);
    }

    /// The number of a kind of task, the same at each ask.
    #[inline]
    pub(crate) fn kind(&self, name: &'static str) -> Kind {
        self.kinds.find(name)
    }

    pub(crate) fn kind_name(&self, kind: Kind) -> &'static str {
        self.kinds.name(kind.number())
    }
}

/// A kind of task, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(u8);

impl Kind {
    /// No kind: its number is beyond all others.
    pub(crate) const NONE: Kind = Kind(u8::MAX);

    #[inline]
    pub(crate) fn number(self) -> u64 {
        u64::from(self.0)
    }

    #[inline]
    pub(crate) fn bit(self) -> u64 {
        1u64.checked_shl(self.0.into()).unwrap_or(0)
    }
}

/// Kinds that are told apart, as many as a word has bits; those beyond share the last number. A proxy has about ten.
const KINDS_MAX: usize = 64;

/// Kinds of tasks by number. The core writes, anybody reads.
#[derive(Debug)]
struct Kinds([OnceLock<&'static str>; KINDS_MAX]);

impl Default for Kinds {
    fn default() -> Kinds {
        Kinds([const { OnceLock::new() }; KINDS_MAX])
    }
}

impl Kinds {
    #[inline]
    fn find(&self, name: &'static str) -> Kind {
        for (number, known) in self.0[..KINDS_MAX - 1].iter().enumerate() {
            let known = *known.get_or_init(|| name);
            if std::ptr::eq(known, name) || known == name {
                return Kind(number as u8);
            }
        }
        let _ = self.0[KINDS_MAX - 1].set("others");
        Kind((KINDS_MAX - 1) as u8)
    }

    fn name(&self, number: u64) -> &'static str {
        self.0.get(number as usize).and_then(OnceLock::get).copied().unwrap_or("")
    }

    fn names(&self, bits: u64) -> String {
        let names = (0..KINDS_MAX as u64).filter(|number| bits >> number & 1 == 1).map(|number| self.name(number));
        names.collect::<Vec<_>>().join("|")
    }
}

/// Durations by powers of two. Bucket 0 holds those below [`Histogram::bound_ns`]`(0)`, the last one has no bound.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_ns: Counter,
}

/// Buckets: 1 us, 2 us, ... 8.6 s, and all that is longer.
const BUCKETS: usize = 25;
/// The first bound is 2 to this, 1.024 us: no turn is shorter than a few hundred nanoseconds.
const FIRST_BOUND_LOG2: u32 = 10;

impl Histogram {
    #[inline]
    pub(crate) fn record(&self, ns: u64) {
        // One shift and one count of bits: a duration that equals a bound falls above it.
        let bits = u64::BITS - (ns >> FIRST_BOUND_LOG2).leading_zeros();
        self.buckets[(bits as usize).min(BUCKETS - 1)].add(1);
        self.sum_ns.add(ns);
    }

    /// The nanoseconds that all of bucket `index` stay below; `None` for the last one.
    pub fn bound_ns(index: usize) -> Option<u64> {
        (index + 1 < BUCKETS).then(|| 1 << (FIRST_BOUND_LOG2 as usize + index))
    }

    /// How many fell into each bucket, shortest first. Not cumulative.
    pub fn buckets(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(Counter::get)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets().sum()
    }

    /// All of them together, in nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns.get()
    }

    /// The bound below which this share (0 to 1) of all lies, in nanoseconds; 0 when there are none, `u64::MAX` beyond the last
    /// bound.
    pub fn quantile_ns(&self, share: f64) -> u64 {
        let buckets: Vec<u64> = self.buckets().collect();
        let total: u64 = buckets.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        if total == 0 {
            return 0;
        }
        let mut seen = 0;
        let index = buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        index.and_then(Histogram::bound_ns).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_they_stay_below() {
        for (ns, bucket) in [
            (0, 0),
            (1, 0),
            (1023, 0),
            (1024, 1),
            (2047, 1),
            (2048, 2),
            ((1 << 33) - 1, 23),
            (1 << 33, 24),
            (u64::MAX, 24),
        ] {
            let histogram = Histogram::default();
            histogram.record(ns);
            assert_eq!(histogram.buckets().position(|count| count == 1), Some(bucket), "{ns}");
            assert!(Histogram::bound_ns(bucket).is_none_or(|bound| ns < bound), "{ns}");
            assert!(bucket == 0 || Histogram::bound_ns(bucket - 1).is_some_and(|bound| ns >= bound), "{ns}");
            assert_eq!((histogram.count(), histogram.sum_ns()), (1, ns));
        }
    }

    #[test]
    fn a_quantile_is_the_bound_that_holds_it() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile_ns(0.5), 0);
        (0..99).for_each(|_| histogram.record(1000));
        histogram.record(5_000_000);
        for (share, bound) in [(0.5, 1024), (0.99, 1024), (1.0, 1 << 23)] {
            assert_eq!(histogram.quantile_ns(share), bound, "{share}");
        }
    }

    #[test]
    fn kinds_have_one_number_and_those_beyond_the_last_share_one() {
        let stats = LoopStats::default();
        let names: Vec<&'static str> = (0..100).map(|n| &*Box::leak(format!("kind {n}").into_boxed_str())).collect();
        let kinds: Vec<Kind> = names.iter().map(|name| stats.kind(name)).collect();
        assert_eq!(kinds.iter().map(|kind| kind.number()).max(), Some(63));
        for (name, kind) in names.iter().zip(kinds) {
            assert_eq!(stats.kind(name), kind);
            assert_eq!(stats.kind_name(kind), if kind.number() < 63 { *name } else { "others" });
        }
        assert_eq!(stats.kinds.names(0b101), "kind 0|kind 2");
    }

    #[test]
    fn every_row_knows_whether_it_only_grows() {
        let grows = |name| LoopStats::only_grows(name);
        assert!(grows("turns") && grows("stalls") && !grows("tasks") && !grows("turn_ns_max") && !grows("nothing"));
    }
}
