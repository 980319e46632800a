//! A worker's main task: it does what the control side says.

use std::future::poll_fn;
use std::rc::Rc;

use ringway_runtime::Core;

use crate::listen;
use crate::message::ToWorker;
use crate::run::Run;
use crate::worker::{Parts, Worker};

/// The worker's main task: reads the mailbox until it is told to stop.
pub(crate) async fn main(core: Core, parts: Parts) {
    let worker = Worker::new(core, parts);
    loop {
        let message = poll_fn(|context| worker.poll_message(context)).await;
        // A preparation first, then the generation that it is for: `Listen` means sockets that adopting hands over.
        let message = match message {
            ToWorker::Prepare(prepare) => {
                worker.keep_prepared(prepare);
                None
            }
            other => Some(other),
        };
        worker.refresh();
        match message {
            None => {}
            Some(ToWorker::Prepare(_)) => unreachable!("taken above"),
            Some(ToWorker::Listen(generation)) => start_accepting(&worker, generation),
            Some(ToWorker::Drain) => worker.begin_drain(),
            Some(ToWorker::CloseListeners) => {
                worker.close_listeners();
            }
            Some(ToWorker::Stop) => break,
        }
    }
    worker.retire();
}

/// Accepts from the new sockets of a generation.
fn start_accepting(worker: &Rc<Worker>, generation: u64) {
    for seed in worker.take_bound(generation) {
        let socket = seed.socket.expect("only new sockets are kept");
        let run = Run::new(seed.key, seed.listener, seed.stats);
        worker.run_began(&run);
        worker.core.spawn("accept", listen::accept(Rc::clone(worker), run, worker.core.listen(socket)));
    }
}
