//! Open loop: requests are due at a constant rate, whether earlier ones were answered or not.
//!
//! One task says once a millisecond (the runtime's tick) which requests are due and gives each to a connection that is free; those
//! that find none wait in their order. A latency runs from when its request was due, so that a server that stalls is charged with
//! every request of the stall, and not with the one that happened to be sent (coordinated omission).
//!
//! Due is the tick in which a request's time falls: how finely this host's timers tick is not the server's doing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringway_protocols::{HeadTable, Limits};
use ringway_runtime::{Core, Instant};

use crate::histogram::Histogram;
use crate::{Tally, bump, exchange};

/// How often requests become due: the tick of the runtime's timers.
const TICK: Duration = Duration::from_millis(1);
/// Lateness of the pacer that is its own: two ticks. Beyond it, a request is charged from its time, and not from the tick.
const LATE_MAX: Duration = Duration::from_millis(2);

/// What pacer and connections share.
pub(crate) struct Loop {
    /// When each request that no connection has taken was due.
    due: RefCell<VecDeque<Instant>>,
    /// Connections that wait for one.
    idle: RefCell<Vec<Waker>>,
    over: Cell<bool>,
    /// Latencies in microseconds.
    pub(crate) latencies: RefCell<Histogram>,
    /// Requests that were due.
    pub(crate) sent: Cell<u64>,
}

impl Loop {
    pub(crate) fn new() -> Rc<Loop> {
        Rc::new(Loop {
            due: RefCell::default(),
            idle: RefCell::default(),
            over: Cell::new(false),
            latencies: RefCell::default(),
            sent: Cell::new(0),
        })
    }

    /// Makes requests due at `rate` a second until `until`.
    pub(crate) async fn pace(self: Rc<Self>, core: Core, rate: f64, until: Instant) {
        let began = core.now();
        let timer = core.timer();
        let mut made = 0_u64;
        while core.now() < until {
            timer.set(core.now() + TICK);
            timer.expired().await;
            let now = core.now();
            let wanted = ((now - began).as_secs_f64() * rate) as u64;
            while made < wanted {
                made += 1;
                let time = began + Duration::from_secs_f64(made as f64 / rate);
                self.due.borrow_mut().push_back(if now - time > LATE_MAX { time } else { now });
                if let Some(waker) = self.idle.borrow_mut().pop() {
                    waker.wake();
                }
            }
        }
        self.sent.set(made);
        self.over.set(true);
        self.idle.borrow_mut().drain(..).for_each(Waker::wake);
    }

    /// The next request that is due; `None` when there will be no more.
    async fn next(&self) -> Option<Instant> {
        poll_fn(|context| {
            if let Some(due) = self.due.borrow_mut().pop_front() {
                return Poll::Ready(Some(due));
            }
            if self.over.get() {
                return Poll::Ready(None);
            }
            self.idle.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// One connection: takes what is due, as long as there is any.
pub(crate) async fn connection(
    core: Core,
    target: SocketAddr,
    request: Rc<Vec<u8>>,
    tally: Rc<Tally>,
    open: Rc<Loop>,
    limit: Instant,
) {
    let limits = Limits::default();
    let mut table = HeadTable::new(limits.headers_max);
    while let Ok(stream) = core.connect(target, limit).await {
        loop {
            let Some(due) = open.next().await else { return };
            let mut block = core.block(request.len());
            block.extend_from_slice(&request);
            stream.send(block.freeze());
            let Some((status, bytes)) = exchange(&core, &stream, &mut table, &limits).await else {
                bump(&tally.failed, 1);
                break;
            };
            bump(&tally.answered, 1);
            bump(&tally.bytes, bytes);
            bump(&tally.not_2xx, u64::from(!(200..300).contains(&status)));
            open.latencies.borrow_mut().record((core.now() - due).as_micros() as u64);
        }
    }
    bump(&tally.failed, 1);
}
