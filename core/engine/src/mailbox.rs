//! A worker's main task: it does what the control side says.

use std::future::poll_fn;

use ringway_runtime::Core;

use crate::message::ToWorker;
use crate::worker::{Parts, Worker};
use crate::{handoff, listen};

/// The worker's main task: reads the mailbox until it is told to stop.
pub(crate) async fn main(core: Core, parts: Parts) {
    let worker = Worker::new(core, parts);
    worker.core.spawn("handoff", handoff::receive(std::rc::Rc::clone(&worker)));
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
            Some(ToWorker::Listen(generation)) => listen::start(&worker, generation),
            Some(ToWorker::Drain) => worker.begin_drain(),
            Some(ToWorker::CloseListeners) => {
                worker.close_listeners();
            }
            Some(ToWorker::Stop) => break,
        }
    }
    worker.retire();
}
