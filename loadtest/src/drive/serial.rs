//! One request at a time on a connection: it is taken, the connection is made where there is none, and it is kept for the next where it may be.

use std::rc::Rc;

use ringway_runtime::{Instant, Stream, Timer};

use super::Begin;
use crate::expect::Answer;
use crate::failure::Failure;
use crate::pacing::{Job, Seat};
use crate::worker::Worker;

/// A place for one request after another, and its connection.
pub(super) struct Serial {
    worker: Rc<Worker>,
    seat: Rc<Seat>,
    /// Taken already.
    first: Option<Job>,
    /// The connection between two requests.
    kept: Option<Stream>,
    /// Requests that it had.
    served: u64,
    timer: Timer,
}

/// A request, and the connection that it goes on.
pub(super) struct Taken {
    pub(super) job: Job,
    pub(super) stream: Stream,
}

impl Serial {
    pub(super) fn new(worker: &Rc<Worker>, seat: &Rc<Seat>, begin: Begin) -> Serial {
        let Begin { wire, job } = begin;
        if job.is_none() {
            worker.dispatcher.offer(seat, 1, worker.core.now());
        }
        Serial {
            timer: worker.core.timer(),
            worker: Rc::clone(worker),
            seat: Rc::clone(seat),
            first: job,
            kept: wire.map(|wire| wire.stream),
            served: 0,
        }
    }

    /// Expires when the request that was taken last must be answered.
    pub(super) fn timer(&self) -> &Timer {
        &self.timer
    }

    /// The next request, with a connection for it; `None`: there is none any more. Those that get no connection have failed.
    pub(super) async fn take(&mut self) -> Option<Taken> {
        loop {
            let job = match self.first.take() {
                Some(job) => job,
                None => self.worker.dispatcher.take(&self.seat).await?,
            };
            let deadline = self.worker.deadline(job);
            if self.worker.core.now() >= deadline {
                self.worker.failed(&self.seat, job, Failure::Unsent);
                continue;
            }
            self.timer.set(deadline);
            // An idle connection may be closed by the peer at any time: that is no error.
            if let Some(stream) = self.kept.take().filter(Stream::is_quiet) {
                return Some(Taken { job, stream });
            }
            self.served = 0;
            match self.worker.connect().await {
                Ok(wire) => return Some(Taken { job, stream: wire.stream }),
                Err(failure) => self.worker.failed_to_connect(&self.seat, job, failure).await,
            }
        }
    }

    /// What became of the request that was `sent` then: its answer and whether the connection persists, or why there is none.
    pub(super) fn done(&mut self, taken: Taken, sent: Instant, result: Result<(Answer, bool), Failure>) {
        let Taken { job, stream } = taken;
        match result {
            Ok((answer, keep_alive)) => {
                self.served += 1;
                let most = self.worker.plan.requests_per_connection;
                if keep_alive && most.is_none_or(|most| self.served < most) {
                    self.kept = Some(stream);
                }
                self.worker.answered(&self.seat, job, sent, &answer);
            }
            Err(failure) => self.worker.failed(&self.seat, job, failure),
        }
    }
}
