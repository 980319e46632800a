//! Tasks, timers and mailboxes: order, fairness, and wakes from other threads.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ringway_runtime::{Core, Generation, mailbox};
use support::*;

#[test]
fn timers_fire_in_order_and_never_early() {
    each_driver(|core: Core| async move {
        let fired: Rc<RefCell<Vec<u64>>> = Rc::default();
        let began = core.now();
        for ms in [7u64, 1, 3, 90, 2, 0, 66] {
            let (fired, task_core) = (fired.clone(), core.clone());
            core.spawn("timer", async move {
                let timer = task_core.timer();
                timer.set(began + Duration::from_millis(ms));
                timer.expired().await;
                assert!(task_core.now() >= began + Duration::from_millis(ms), "{ms} ms fired early");
                fired.borrow_mut().push(ms);
            });
        }
        until(&core, || fired.borrow().len() == 7).await;
        assert_eq!(*fired.borrow(), [0, 1, 2, 3, 7, 66, 90]);
    });
}

#[test]
fn timers_move_and_go_away() {
    each_driver(|core: Core| async move {
        let timer = core.timer();
        assert_eq!(timer.deadline(), None);
        // Later, lazily.
        timer.set(core.now() + Duration::from_millis(2));
        let late = core.now() + Duration::from_millis(20);
        timer.set(late);
        assert_eq!(timer.deadline(), Some(late));
        timer.expired().await;
        assert!(core.now() >= late);
        // Reached stays reached.
        timer.expired().await;
        // Earlier.
        timer.set(core.now() + LONG);
        timer.set(core.now() + Duration::from_millis(1));
        timer.expired().await;
        // Never.
        timer.set(core.now() + Duration::from_millis(1));
        timer.clear();
        assert!(within(&core, Duration::from_millis(10), timer.expired()).await.is_none());
        // In the past: at once.
        timer.set(core.now());
        timer.expired().await;
    });
}

/// A task that never stops yielding neither stops others nor timers.
#[test]
fn yielding_is_fair() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        let stop = Rc::new(Cell::new(false));
        let rounds = Rc::new(Cell::new(0u64));
        for _ in 0..3 {
            let (core_of_task, stop, rounds) = (core.clone(), stop.clone(), rounds.clone());
            core.spawn("busy", async move {
                while !stop.get() {
                    rounds.set(rounds.get() + 1);
                    core_of_task.yield_now().await;
                }
            });
        }
        let timer = core.timer();
        timer.set(core.now() + Duration::from_millis(5));
        timer.expired().await;
        near.send(core.chunk(b"through"));
        assert_eq!(recv_exact(&far, 7).await, b"through");
        assert!(rounds.get() >= 3);
        stop.set(true);
    });
}

/// A task that wakes itself at every poll does not stop the loop either.
#[test]
fn self_waking_is_bounded() {
    each_driver(|core: Core| async move {
        let stop = Rc::new(Cell::new(false));
        core.spawn("selfish", {
            let stop = stop.clone();
            std::future::poll_fn(move |cx| {
                if stop.get() {
                    return std::task::Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            })
        });
        let timer = core.timer();
        timer.set(core.now() + Duration::from_millis(5));
        timer.expired().await;
        stop.set(true);
    });
}

#[test]
fn pooled_futures_borrow_their_memory() {
    each_driver(|core: Core| async move {
        let before = core.stats().blocks_in_use_bytes.get();
        let timer = core.timer();
        timer.set(core.now() + Duration::from_millis(1));
        let ballast = [1u8; 3000];
        let pooled = core.pooled(async move {
            timer.expired().await;
            ballast.iter().map(|&b| usize::from(b)).sum::<usize>()
        });
        assert!(core.stats().blocks_in_use_bytes.get() >= before + 3000);
        assert_eq!(pooled.await, 3000);
        assert_eq!(core.stats().blocks_in_use_bytes.get(), before);
        drop(core.pooled(std::future::pending::<()>()));
        assert_eq!(core.stats().blocks_in_use_bytes.get(), before);
    });
}

#[test]
fn mailboxes_carry_everything_in_order() {
    const MESSAGES: u64 = 20_000;
    each_driver(|core: Core| async move {
        let (sender, inbox) = mailbox::<u64>(64, core.wake_handle());
        let thread = std::thread::spawn(move || {
            for i in 0..MESSAGES {
                let mut message = i;
                // A full mailbox refuses; this sender is stubborn.
                while let Err(back) = sender.try_send(message) {
                    message = back;
                    std::thread::yield_now();
                }
            }
        });
        for i in 0..MESSAGES {
            assert_eq!(inbox.recv(&core).await, i);
        }
        thread.join().expect("the sender");
    });
}

/// The core sleeps between messages: each one has to wake it.
#[test]
fn a_message_wakes_a_sleeping_core() {
    each_driver(|core: Core| async move {
        let (to_core, at_core) = mailbox::<u64>(4, core.wake_handle());
        let (to_thread, at_thread) = std::sync::mpsc::channel::<u64>();
        let thread = std::thread::spawn(move || {
            while let Ok(n) = at_thread.recv() {
                to_core.try_send(n + 1).expect("room");
            }
        });
        for n in 0..2000 {
            to_thread.send(n).expect("the thread lives");
            assert_eq!(at_core.recv(&core).await, n + 1);
        }
        drop(to_thread);
        thread.join().expect("the thread");
    });
}

#[test]
fn a_full_mailbox_gives_the_message_back() {
    each_driver(|core: Core| async move {
        let (sender, inbox) = mailbox::<Box<u32>>(2, core.wake_handle());
        for n in 0..2 {
            sender.try_send(Box::new(n)).expect("room");
        }
        assert_eq!(sender.clone().try_send(Box::new(9)).map_err(|m| *m), Err(9));
        assert_eq!((*inbox.recv(&core).await, *inbox.recv(&core).await), (0, 1));
    });
}

#[test]
fn a_generation_is_seen_by_all() {
    let generation = Generation::new();
    let other = generation.clone();
    assert_eq!(generation.load(), 0);
    other.store(3);
    assert_eq!(generation.load(), 3);
}

#[test]
#[should_panic(expected = "a generation only grows")]
fn a_generation_never_shrinks() {
    let generation = Generation::new();
    generation.store(2);
    generation.store(2);
}
