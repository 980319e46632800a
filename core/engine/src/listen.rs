//! The accept loop of one socket on one worker, from its first connection to its end.
//!
//! A socket that goes is drained, never just closed: first no new handshake is let in, then those under way get their
//! time to finish, then what is in the accept queue is taken, and only then the descriptor is closed. A client that
//! saw its connection come up is answered.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use ringway_model::ListenerId;
use ringway_observe::ListenerStats;
use ringway_runtime::Listener;

use crate::commit::SocketKey;
use crate::view::View;
use crate::worker::Worker;

/// One socket being accepted from.
pub(crate) struct Run {
    pub(crate) key: SocketKey,
    /// Whose connections these are: may change with a generation, the socket stays.
    pub(crate) listener: Cell<ListenerId>,
    pub(crate) stats: Arc<ListenerStats>,
    closing: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// The last generation that had the listener, once it is gone.
    last_view: RefCell<Option<Rc<View>>>,
}

impl Run {
    pub(crate) fn new(key: SocketKey, listener: ListenerId, stats: Arc<ListenerStats>) -> Rc<Self> {
        Rc::new(Self {
            key,
            listener: Cell::new(listener),
            stats,
            closing: Cell::new(false),
            waker: RefCell::default(),
            last_view: RefCell::default(),
        })
    }

    /// Begins the end of this socket. What is still accepted is served by `last`, where its listener is gone.
    pub(crate) fn close(&self, last: Option<&Rc<View>>) {
        if !self.closing.replace(true) {
            *self.last_view.borrow_mut() = last.map(Rc::clone);
        }
        self.wake();
    }

    pub(crate) fn last_view(&self) -> Option<Rc<View>> {
        self.last_view.borrow().clone()
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// Accepts until the run is closed, then drains the socket.
pub(crate) async fn accept(worker: Rc<Worker>, run: Rc<Run>, listener: Listener) {
    let mut paused = false;
    loop {
        let event = poll_fn(|context| {
            *run.waker.borrow_mut() = Some(context.waker().clone());
            if run.closing.get() {
                return Poll::Ready(None);
            }
            let full = worker.is_full();
            if full != paused {
                // The rest waits in the kernel's backlog.
                paused = full;
                if full { listener.pause() } else { listener.resume() }
            }
            if full { Poll::Pending } else { listener.poll_accept(context).map(Some) }
        })
        .await;
        match event {
            Some(Ok(stream)) => worker.admit(&run, stream),
            // Out of descriptors or memory: the runtime tries again by itself after a while.
            Some(Err(_)) => run.stats.downstream_cx_overflow.add(1),
            None => break,
        }
    }
    if listener.refuse_new().is_ok() {
        let timer = worker.core.timer();
        timer.set(worker.core.now() + worker.limits.handshake_grace);
        poll_fn(|context| {
            while let Poll::Ready(Ok(stream)) = listener.poll_accept(context) {
                worker.admit(&run, stream);
            }
            timer.poll_expired(context)
        })
        .await;
    }
    for stream in listener.drain().await {
        worker.admit(&run, stream);
    }
    drop(listener);
    worker.run_ended(&run);
}
