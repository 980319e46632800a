//! What the loop says of itself: who held it, while it is held and afterwards; spins; and that reading it costs the loop nothing.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringway_runtime::{Core, Instant, LoopStats, Options, Wake};
use support::*;

/// A busy machine stops a loop for longer than the usual budget now and then; who holds one for longer than this means to.
const BUDGET: Duration = Duration::from_millis(200);

/// Holds the loop; the clock decides how long, as a stall is about nothing else.
fn hold_for(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// A task that holds the loop for `hold`, between others that do not. Expects who is named.
#[track_caller]
fn check_stall(budget: Duration, hold: Duration, expect: Option<&'static str>) {
    let options = Options { stall_budget: budget, ..Options::default() };
    each_driver_with(options, move |core: Core| async move {
        for kind in ["before", "stuck", "after"] {
            core.spawn(kind, async move {
                if kind == "stuck" {
                    hold_for(hold);
                }
            });
        }
        turns(&core, 2).await;
        let stats = core.stats();
        let named = stats.last_stall();
        assert_eq!(named.as_ref().map(|stall| &*stall.kind), expect, "{named:?}");
        assert_eq!(stats.stalls.get(), u64::from(expect.is_some()));
        if let Some(stall) = named {
            assert_eq!(stall.polls, 1);
            assert!(stall.held >= hold && stats.stalled_ns.get() >= hold.as_nanos() as u64, "{stall:?}");
            assert!(stats.turn_ns_max.get() >= stall.held.as_nanos() as u64, "{stall:?}");
            assert_eq!(stats.turn_time.count(), stats.turns.get() - 1, "all turns but this one");
        }
    });
}

#[test]
fn a_task_that_holds_the_loop_is_named() {
    check_stall(BUDGET, BUDGET + Duration::from_millis(10), Some("stuck"));
}

#[test]
fn a_task_below_the_budget_is_not() {
    check_stall(LONG, Duration::from_millis(11), None);
}

/// Runs `work` with the figures of a core that does `main`, on each driver; the core ends when `work` has.
fn beside<W, M>(main: M, work: W)
where
    W: Fn(Arc<LoopStats>, Arc<AtomicBool>) + Send + Copy + 'static,
    M: Fn(&Core, Arc<AtomicBool>) + Copy,
{
    for io in drivers() {
        let stats = Arc::new(LoopStats::default());
        let options = Options { io, stats: Some(stats.clone()), stall_budget: BUDGET, ..Options::default() };
        let wake = Wake::new().expect("an eventfd");
        let (over, waker) = (Arc::new(AtomicBool::new(false)), wake.clone());
        let reader = thread::spawn({
            let over = over.clone();
            move || {
                work(stats, over.clone());
                over.store(true, Ordering::SeqCst);
                waker.wake();
            }
        });
        let ran = ringway_runtime::run(&options, wake, |core, _| {
            main(&core, over.clone());
            async move {
                while !over.load(Ordering::SeqCst) {
                    core.woken().await;
                }
            }
        });
        ran.unwrap_or_else(|error| panic!("{io:?}: {error}"));
        reader.join().expect("what it checks holds");
    }
}

/// Waits on another thread; who hangs is caught by the deadline.
fn wait_until(mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LONG, "it never comes");
        thread::yield_now();
    }
}

#[test]
fn a_worker_that_is_still_stuck_is_visible() {
    let stuck = |core: &Core, over: Arc<AtomicBool>| {
        core.spawn("stuck", async move {
            while !over.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
        });
    };
    beside(stuck, |stats, over| {
        wait_until(|| stats.hold(Instant::now()).is_some_and(|hold| hold.kind == "stuck" && hold.held > BUDGET));
        assert_eq!(stats.last_stall(), None, "it goes on");
        over.store(true, Ordering::SeqCst);
        // Not asked for the stall itself over and over: a loop that meets a reader there only counts it.
        wait_until(|| stats.stalls.get() > 0);
        assert_eq!(stats.last_stall().map(|stall| stall.kind).as_deref(), Some("stuck"));
    });
}

/// The rule that a scrape never touches a worker: whatever is read, a core that sleeps goes on sleeping.
#[test]
fn reading_the_figures_wakes_nobody() {
    beside(
        |_, _| (),
        |stats, _| {
            wait_until(|| stats.sleeps.get() > 0);
            // A turn of its own (housekeeping) may fall into one attempt, not into each.
            let undisturbed = (0..20).any(|_| {
                let before = stats.turns.get();
                for _ in 0..1000 {
                    assert!(stats.rows().iter().any(|(name, _)| *name == "turns"));
                    assert!(stats.turn_time.quantile_ns(0.99) > 0 && stats.cpu_time().is_some());
                    let _ = (stats.hold(Instant::now()), stats.last_stall(), stats.age(Instant::now()));
                }
                stats.turns.get() == before
            });
            assert!(undisturbed, "the core never slept through");
        },
    );
}

#[test]
fn a_spin_that_finds_work_replaces_the_sleep() {
    let options = Options { spin_us: 10_000, ..Options::default() };
    each_driver_with(options, |core: Core| async move {
        let timer = core.timer();
        for _ in 0..20 {
            timer.set(core.now() + Duration::from_micros(200));
            timer.expired().await;
        }
        let stats = core.stats();
        let (spins, found) = (stats.spins.get(), stats.spins_found.get());
        assert!(found >= 10 && found <= spins, "{found} of {spins} found the timer");
        assert!(stats.sleeps.get() < 10, "{} sleeps", stats.sleeps.get());
    });
}

#[test]
fn a_spin_that_finds_nothing_is_cut_back() {
    let options = Options { spin_us: 20, ..Options::default() };
    each_driver_with(options, |core: Core| async move {
        let (timer, began) = (core.timer(), core.now());
        for _ in 0..200 {
            timer.set(core.now() + Duration::from_millis(1));
            timer.expired().await;
        }
        let stats = core.stats();
        let (spins, found) = (stats.spins.get(), stats.spins_found.get());
        // 29 until it is cut, then a probe in 256 x 20 us: one in five or six of these sleeps, or more where a busy host makes them longer.
        let probes = (core.now() - began).as_micros() as u64 / (256 * 20);
        assert!(spins >= 30 && spins < 60 + probes + 2 * found, "{spins} spins, {found} found work, {probes} probes");
    });
}
