//! The accept loop of one socket on one worker, from its first connection to its end.
//!
//! A socket that goes is drained, never just closed: first no new handshake is let in, then those under way get their
//! time to finish, then what is in the accept queue is taken, and only then the descriptor is closed. A client that
//! saw its connection come up is answered.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use ringway_runtime::{Listener, Stream};

use crate::run::Run;
use crate::worker::{Bound, Worker};
use crate::{arrival, handoff};

/// Accepts from the new sockets of the generations up to this one.
pub(crate) fn start(worker: &Rc<Worker>, generation: u64) {
    for Bound { mut seed, last_view, .. } in worker.take_bound(generation) {
        let (socket, group) = seed.socket.take().expect("only new sockets are kept");
        let run = Run::new(seed, group);
        if last_view.is_some() {
            // Its listener is gone before it was ever accepted from; who connected meanwhile is served.
            run.close(last_view.as_ref());
        }
        worker.run_began(&run);
        worker.core.spawn("accept", accept(Rc::clone(worker), run, worker.core.listen(socket)));
    }
}

/// Accepts until the run is closed, then drains the socket. What is accepted meanwhile goes to the lighter worker; what is
/// drained stays here.
async fn accept(worker: Rc<Worker>, run: Rc<Run>, listener: Listener) {
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
            if full { Poll::Pending } else { listener.poll_accept_detached(context).map(Some) }
        })
        .await;
        match event {
            Some(Ok(fresh)) => {
                let (now, max) = (worker.core.now(), worker.limits.downstreams_max);
                if let Some(kept) = worker.siblings.offer(fresh, &run, now, max) {
                    admit(&worker, &run, worker.core.attach(kept));
                }
            }
            // Out of descriptors or memory: the runtime tries again by itself after a while.
            Some(Err(_)) => run.stats().downstream_cx_overflow.add(1),
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
    handoff::leave(&worker, &run).await;
    worker.run_ended(&run);
}

/// Takes a new client connection in.
pub(crate) fn admit(worker: &Rc<Worker>, run: &Run, stream: Stream) {
    worker.count_accepted();
    let listener = run.listener.get();
    arrival::admit(worker, listener, worker.view_of_run(run), run.stats(), stream);
}
