//! The thread that asks: one task a name, each on its own schedule.
//!
//! ```text
//!   ask ──> answer ──> wait: refresh rate, or the answer's TTL ──┐
//!    ^  └─> failure ─> wait: the failure's back-off, or the same ┤
//!    └───────────────────────────────────────────────────────────┘
//! ```
//! It tells and decides nothing: what an answer means for a cluster is [`super::directory`]'s.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::sleep;

use super::lookup::{Asker, Outcome};
use super::plan::{DnsPlan, ResolverPlan, below};
use crate::chance::Chance;

/// Look-ups under way at once: a socket and a few KiB each. A file with more names asks for the rest when these are answered.
const LOOKUPS_MAX: usize = 256;
/// Threads for look-ups by the C library, which waits: as Envoy's `num_resolver_threads` may ask for.
const LIBRARY_THREADS_MAX: usize = 4;
/// Once the stack of a thread that parses answers of 64 KiB.
const STACK_SIZE: usize = 512 << 10;

/// One cluster's names being followed; given out once.
pub(crate) type FollowId = u64;

/// What the thread tells.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) id: FollowId,
    pub(crate) event: Event,
}

#[derive(Debug)]
pub(crate) enum Event {
    /// A look-up begins.
    Asked,
    /// This name of the cluster was looked up.
    Answered { name: usize, outcome: Outcome },
}

/// News that nobody has taken yet. Bounded by the refresh rates: two for each name and round.
#[derive(Clone)]
pub(crate) struct Letterbox {
    news: Arc<Mutex<Vec<News>>>,
    /// Called after an answer was put into an empty box.
    ring: Arc<dyn Fn() + Send + Sync>,
}

impl Letterbox {
    pub(crate) fn new(ring: impl Fn() + Send + Sync + 'static) -> Letterbox {
        Letterbox { news: Arc::default(), ring: Arc::new(ring) }
    }

    pub(crate) fn take(&self) -> Vec<News> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, id: FollowId, event: Event) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = |event: &Event| matches!(event, Event::Answered { .. });
        // Beginnings wait for the next answer: nobody is woken for them.
        let rings = answered(&event) && !news.iter().any(|news| answered(&news.event));
        news.push(News { id, event });
        drop(news);
        if rings {
            (self.ring)();
        }
    }
}

enum Order {
    Follow(FollowId, Arc<DnsPlan>),
    Forget(FollowId),
}

/// The control side's end of the thread. Dropping it ends the thread.
pub(crate) struct Follower {
    orders: mpsc::UnboundedSender<Order>,
}

impl Follower {
    /// Starts the thread.
    ///
    /// # Errors
    /// It, or what it needs of the kernel, could not be made.
    pub(crate) fn start(letterbox: Letterbox) -> io::Result<Follower> {
        // Made here, so that what can fail is said; it moves to its thread.
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(LIBRARY_THREADS_MAX).build()?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let body = move || LocalSet::new().block_on(&runtime, obey(inbox, &letterbox));
        thread::Builder::new().name("dns".into()).stack_size(STACK_SIZE).spawn(body)?;
        Ok(Follower { orders })
    }

    /// Follows the names of a plan from now on.
    pub(crate) fn follow(&self, id: FollowId, plan: &Arc<DnsPlan>) {
        // The thread ends only with this handle.
        let _ = self.orders.send(Order::Follow(id, plan.clone()));
    }

    /// Stops. What is on its way may still be told.
    pub(crate) fn forget(&self, id: FollowId) {
        let _ = self.orders.send(Order::Forget(id));
    }
}

/// Who is asked, for each way of asking that a plan names.
type Askers = Rc<RefCell<HashMap<ResolverPlan, Rc<Asker>>>>;

/// The asker of this plan, made anew when the system's files have changed.
fn asker(askers: &Askers, plan: &ResolverPlan) -> Rc<Asker> {
    let mut askers = askers.borrow_mut();
    match askers.get(plan) {
        Some(asker) if asker.is_current() => Rc::clone(asker),
        _ => {
            let asker = Rc::new(Asker::new(plan));
            askers.insert(plan.clone(), Rc::clone(&asker));
            asker
        }
    }
}

async fn obey(mut inbox: mpsc::UnboundedReceiver<Order>, letterbox: &Letterbox) {
    let askers = Askers::default();
    let slots = Rc::new(Semaphore::new(LOOKUPS_MAX));
    let mut tasks: HashMap<FollowId, Vec<JoinHandle<()>>> = HashMap::new();
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Follow(id, plan) => {
                let names = (0..plan.names.len()).map(|name| {
                    let (plan, askers, slots) = (plan.clone(), askers.clone(), slots.clone());
                    spawn_local(follow(id, name, plan, askers, slots, letterbox.clone()))
                });
                tasks.insert(id, names.collect());
            }
            Order::Forget(id) => {
                tasks.remove(&id).into_iter().flatten().for_each(|task| task.abort());
                if tasks.is_empty() {
                    askers.borrow_mut().clear();
                }
            }
        }
    }
}

async fn follow(
    id: FollowId,
    name: usize,
    plan: Arc<DnsPlan>,
    askers: Askers,
    slots: Rc<Semaphore>,
    letterbox: Letterbox,
) {
    let mut failures = 0;
    let mut chance = Chance::new();
    loop {
        let slot = slots.acquire().await;
        letterbox.put(id, Event::Asked);
        let asker = asker(&askers, &plan.resolver);
        let outcome = asker.look_up(&plan.names[name].name, plan.family).await;
        drop((slot, asker));
        failures = if plan.is_failure(&outcome) { failures + 1 } else { 0 };
        let wait = plan.wait(&outcome, failures, chance.next(), chance.next());
        letterbox.put(id, Event::Answered { name, outcome });
        sleep(wait).await;
    }
}

impl DnsPlan {
    /// How long to wait after this outcome, the last of `failures` failures in a row. The other numbers are chance.
    pub(crate) fn wait(&self, outcome: &Outcome, failures: u32, one: u64, other: u64) -> Duration {
        let ttl = match outcome {
            Outcome::Found { ttl: Some(ttl), .. } if self.respect_ttl && !ttl.is_zero() => Some(*ttl),
            _ => None,
        };
        let wait = match (failures, self.failure, ttl) {
            (0, _, Some(ttl)) => ttl.max(self.ttl_min),
            (1.., Some(failure), _) => failure.wait(failures, one),
            _ => self.refresh,
        };
        match failures {
            0 => wait + below(self.jitter, other),
            // Envoy adds no jitter to a back-off, which has its own.
            _ => wait,
        }
        .max(WAIT_MIN)
    }
}

/// Envoy refuses rates up to a millisecond; a back-off may still draw zero.
const WAIT_MIN: Duration = Duration::from_millis(1);
