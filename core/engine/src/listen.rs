//! The accept loop of one socket on one worker, from its first connection to its end.
//!
//! A socket that goes is drained, never just closed: first no new handshake is let in, then those under way get their
//! time to finish, then what is in the accept queue is taken, and only then the descriptor is closed. A client that
//! saw its connection come up is answered.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use ringway_runtime::{Listener, Stream};

use crate::downstream;
use crate::run::Run;
use crate::worker::Worker;

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
            Some(Ok(stream)) => admit(&worker, &run, stream),
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
                admit(&worker, &run, stream);
            }
            timer.poll_expired(context)
        })
        .await;
    }
    for stream in listener.drain().await {
        admit(&worker, &run, stream);
    }
    drop(listener);
    worker.run_ended(&run);
}

/// Takes a new client connection in.
fn admit(worker: &Rc<Worker>, run: &Run, stream: Stream) {
    worker.count_accepted();
    let listener = run.listener.get();
    let view = worker.view_of_listener(listener);
    // Chains are not matched yet: a listener has one. None at all: the listener is gone, and no generation that had it
    // is left to serve under.
    let chain = view.snapshot.listener(listener).and_then(|listener| listener.chains.first()).map(|chain| chain.id);
    let Some(chain) = chain else { return };
    let serve = downstream::serve(Rc::clone(worker), stream, listener, chain, view, Arc::clone(&run.stats));
    // The idle connection's budget (design: 512 bytes for the task's own state).
    assert!(size_of_val(&serve) <= IDLE_TASK_SIZE_MAX, "the idle task is {} bytes", size_of_val(&serve));
    worker.core.spawn("downstream", serve);
}

/// What the task of one client connection may weigh, its exchange aside.
const IDLE_TASK_SIZE_MAX: usize = 512;
