//! Wake, mailbox and generation under loom: the sources of the crate, compiled against loom's atomics, in every interleaving.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p ringway-runtime --release --test loom --target-dir target/loom`
//!
//! The eventfd and the message queue (which crossbeam tests by itself) are stand-ins under a mutex; the core's turn is written
//! down here in the order of `core.rs`: take wakes, run what is ready, sleep unless somebody called.
#![cfg(loom)]
#![allow(dead_code, unreachable_pub)] // parts of the sources that only a whole core uses

#[path = "../src/generation.rs"]
mod generation;
#[path = "../src/mail.rs"]
mod mail;
#[path = "../src/mailbox.rs"]
mod mailbox;
#[path = "../src/wake.rs"]
mod wake;

/// In the place of `src/sync.rs`.
mod sync {
    use std::collections::VecDeque;

    use loom::sync::Mutex;
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};

    /// Loom does not know that a read-modify-write stands right behind what it read in the order of modifications, and reports stale
    /// reads that C++20 [atomics.order] excludes. A store that swaps, with the store's own ordering, keeps to the order of execution.
    #[derive(Debug)]
    pub(crate) struct AtomicBool(loom::sync::atomic::AtomicBool);

    impl AtomicBool {
        pub(crate) fn new(value: bool) -> AtomicBool {
            AtomicBool(loom::sync::atomic::AtomicBool::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> bool {
            self.0.load(order)
        }

        pub(crate) fn store(&self, value: bool, order: Ordering) {
            self.0.swap(value, order);
        }

        pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
            self.0.swap(value, order)
        }
    }

    #[derive(Debug)]
    pub(crate) struct ArrayQueue<T> {
        queue: Mutex<VecDeque<T>>,
        capacity: usize,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> ArrayQueue<T> {
            ArrayQueue { queue: Mutex::new(VecDeque::new()), capacity }
        }

        pub(crate) fn push(&self, value: T) -> Result<(), T> {
            let mut queue = self.queue.lock().unwrap();
            if queue.len() == self.capacity {
                return Err(value);
            }
            queue.push_back(value);
            Ok(())
        }

        pub(crate) fn pop(&self) -> Option<T> {
            self.queue.lock().unwrap().pop_front()
        }
    }
}

/// In the place of `src/sys.rs`: an eventfd that a thread can wait for.
mod sys {
    use std::fmt;
    use std::io;

    use loom::sync::Notify;

    pub(crate) struct Event(Notify);

    impl fmt::Debug for Event {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Event")
        }
    }

    pub(crate) fn eventfd() -> io::Result<Event> {
        Ok(Event(Notify::new()))
    }

    pub(crate) fn eventfd_write(event: &Event) {
        event.0.notify();
    }

    /// Sleeps until it is written, and takes that. (Once in a life also for nothing: a signal.)
    pub(crate) fn eventfd_wait(event: &Event) {
        event.0.wait();
    }
}

/// In the place of `src/core.rs`: what a mailbox asks of its core.
mod core {
    use crate::mail::Mail;

    #[derive(Default)]
    pub struct Inner {
        pub(crate) mail: Mail,
    }

    #[derive(Default)]
    pub struct Core(Inner);

    impl Core {
        pub(crate) fn inner(&self) -> &Inner {
            &self.0
        }
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use loom::cell::UnsafeCell;
use loom::thread;

use crate::core::Core;
use crate::generation::Generation;
use crate::mailbox::mailbox;
use crate::wake::Wake;

/// The one task of the core, ready or not. Only the core's thread touches it.
struct Task(AtomicBool);

impl std::task::Wake for Task {
    fn wake(self: Arc<Task>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A core that takes `count` messages and sleeps whenever there is none. It sleeps for ever, which loom finds, if a wake is lost.
fn receive(wake: &Wake, mut poll: impl FnMut(&Core, &mut Context<'_>) -> Poll<()>, count: usize) {
    let core = Core::default();
    let task = Arc::new(Task(AtomicBool::new(true)));
    let waker = Waker::from(task.clone());
    let mut taken = 0;
    loop {
        if wake.take_pending() {
            core.inner().mail.wake_all();
        }
        while task.0.swap(false, Ordering::Relaxed) {
            while poll(&core, &mut Context::from_waker(&waker)).is_ready() {
                taken += 1;
            }
        }
        if taken == count {
            return;
        }
        if wake.may_sleep() {
            sys::eventfd_wait(wake.event());
            wake.awake();
        }
    }
}

/// All interleavings of these take minutes, three preemptions take seconds. LOOM_MAX_PREEMPTIONS sets another bound.
fn check(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(run);
}

#[test]
fn two_senders_and_a_core_that_sleeps() {
    check(|| {
        let wake = Wake::new().expect("a stand-in");
        let (sender, inbox) = mailbox::<u32>(2, &wake);
        let other = sender.clone();
        let threads = [
            thread::spawn(move || sender.try_send(1).expect("room")),
            thread::spawn(move || other.try_send(2).expect("room")),
        ];
        let mut sum = 0;
        receive(&wake, |core, cx| inbox.poll_recv(core, cx).map(|message| sum += message), 2);
        assert_eq!(sum, 3, "each message once");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// The core may wake up, and go to sleep again, between the two.
#[test]
fn two_messages_of_one_sender_stay_in_order() {
    check(|| {
        let wake = Wake::new().expect("a stand-in");
        let (sender, inbox) = mailbox::<u32>(2, &wake);
        let thread = thread::spawn(move || {
            sender.try_send(1).expect("room");
            sender.try_send(2).expect("room");
        });
        let mut next = 1;
        receive(
            &wake,
            |core, cx| {
                inbox.poll_recv(core, cx).map(|message| {
                    assert_eq!(message, next);
                    next += 1;
                })
            },
            2,
        );
        thread.join().unwrap();
    });
}

/// `Wake` alone must carry what was written before it: nothing else is shared under a lock here.
#[test]
fn what_was_written_before_a_wake_is_seen_after_it() {
    struct Shared(UnsafeCell<u32>);
    // SAFETY: the model under test is what orders the accesses; loom fails when it does not.
    unsafe impl Sync for Shared {}
    // SAFETY: as above.
    unsafe impl Send for Shared {}
    loom::model(|| {
        let wake = Wake::new().expect("a stand-in");
        let shared = Arc::new(Shared(UnsafeCell::new(0)));
        let (writer, theirs) = (wake.clone(), shared.clone());
        let thread = thread::spawn(move || {
            // SAFETY: as above.
            theirs.0.with_mut(|value| unsafe { *value = 7 });
            writer.wake();
        });
        while !wake.take_pending() {
            if wake.may_sleep() {
                sys::eventfd_wait(wake.event());
                wake.awake();
            }
        }
        // SAFETY: as above.
        assert_eq!(shared.0.with(|value| unsafe { *value }), 7);
        thread.join().unwrap();
    });
}

/// All is prepared before the one store that commits: whoever sees the generation sees what it names.
#[test]
fn a_generation_is_prepared_before_it_is_in_force() {
    struct Shared(UnsafeCell<u64>);
    // SAFETY: as above.
    unsafe impl Sync for Shared {}
    // SAFETY: as above.
    unsafe impl Send for Shared {}
    loom::model(|| {
        let generation = Generation::new();
        let prepared = Arc::new([1, 2].map(|_| Shared(UnsafeCell::new(0))));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (generation, prepared) = (generation.clone(), prepared.clone());
                thread::spawn(move || {
                    let in_force = generation.load();
                    for (index, shared) in prepared.iter().enumerate().take(in_force as usize) {
                        // SAFETY: as above.
                        assert_eq!(shared.0.with(|value| unsafe { *value }), index as u64 + 1);
                    }
                    assert!(generation.load() >= in_force, "it only grows");
                })
            })
            .collect();
        for next in 1..=2 {
            // SAFETY: as above.
            prepared[next as usize - 1].0.with_mut(|value| unsafe { *value = next });
            generation.store(next);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
