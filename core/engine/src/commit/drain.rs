//! A graceful end of the whole process: who is connected is told to leave, and the listeners close once nobody comes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::Engine;
use crate::message::ToWorker;

impl Engine {
    /// Begins a graceful end: responses say `Connection: close`; accepting goes on until half of the drain time, or
    /// until a second has passed without a new connection, since clients and balancers need time to look elsewhere.
    pub fn drain(&mut self) {
        if self.drain.is_some() {
            return;
        }
        for index in 0..self.workers.len() {
            self.tell(index, ToWorker::Drain);
        }
        let (stop, stopped) = mpsc::channel();
        self.drain = Some(stop);
        let workers: Vec<_> =
            self.workers.iter().map(|worker| (worker.mailbox.clone(), Arc::clone(&worker.shared))).collect();
        let half = self.drain_time / 2;
        let watch = move || {
            let count = || workers.iter().map(|(_, shared)| shared.accepted.load(Ordering::Acquire)).sum::<u64>();
            let began = Instant::now();
            let (mut seen, mut since) = (count(), began);
            while began.elapsed() < half && since.elapsed() < QUIET {
                if stopped.recv_timeout(WATCH_EVERY) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
                let now = count();
                if now != seen {
                    (seen, since) = (now, Instant::now());
                }
            }
            for (mailbox, _) in &workers {
                let mut message = ToWorker::CloseListeners;
                while let Err(refused) = mailbox.try_send(message) {
                    message = refused;
                    thread::yield_now();
                }
            }
            // Held until the engine goes, so that its end is seen.
            let _ = stopped.recv();
        };
        // Without this thread nothing would close the listeners: then they are closed at once.
        if thread::Builder::new().name("rw:drain".into()).spawn(watch).is_err() {
            for index in 0..self.workers.len() {
                self.tell(index, ToWorker::CloseListeners);
            }
        }
    }

    /// Whether every listener is closed and no connection is left.
    pub fn drained(&self) -> bool {
        self.drain.is_some()
            && self.workers.iter().all(|worker| {
                worker.shared.listeners.load(Ordering::Acquire) == 0 && worker.shared.load.connections() == 0
            })
    }
}

/// So long without a new connection means that nobody comes any more.
const QUIET: Duration = Duration::from_secs(1);
/// How often the drain looks.
const WATCH_EVERY: Duration = Duration::from_millis(50);
