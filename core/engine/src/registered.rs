//! A client connection's line in the worker's register and in its listener's statistics, from accept to close.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use ringway_model::{ChainId, ListenerId};
use ringway_observe::ListenerStats;
use ringway_runtime::Instant;

use crate::connection_filter::Place;
use crate::date::elapsed_ms;
use crate::view::View;
use crate::worker::Worker;

/// See the module.
pub(crate) struct Registered {
    pub(crate) worker: Rc<Worker>,
    /// Its place in the worker's register, by which a drain finds it.
    pub(crate) key: usize,
    pub(crate) since: Instant,
    listener_stats: Arc<ListenerStats>,
    /// Its places under limits.
    pub(crate) places: Option<Box<[Place]>>,
    /// Its line in the register is that of others, too.
    is_shared: Cell<bool>,
}

/// A connection's line in the worker's register, for as long as its task or one of its requests needs it: in HTTP/2 the requests may outlive the
/// connection for a moment.
pub(crate) struct Line {
    worker: Rc<Worker>,
    key: usize,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.worker.unregister(self.key);
    }
}

impl Registered {
    /// Takes in a connection that was accepted under `view`.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        listener: ListenerId,
        chain: ChainId,
        view: Rc<View>,
        listener_stats: Arc<ListenerStats>,
    ) -> Self {
        listener_stats.downstream_cx_total.add(1);
        listener_stats.downstream_cx_active.add(1);
        // Accepted from a socket whose listener is gone: it lives on the view that it was accepted under.
        let pinned = (!worker.view().has_chain(listener, chain)).then_some(view);
        let key = worker.register(listener, chain, pinned);
        let (worker, since) = (Rc::clone(worker), worker.core.now());
        Self { worker, key, since, listener_stats, places: None, is_shared: Cell::default() }
    }

    /// The line, which is from now on that of all who have it.
    pub(crate) fn share(&self) -> Rc<Line> {
        self.is_shared.set(true);
        Rc::new(Line { worker: Rc::clone(&self.worker), key: self.key })
    }

    /// Milliseconds that the connection has been there.
    pub(crate) fn age_ms(&self) -> u64 {
        elapsed_ms(self.since, self.worker.core.now())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if !self.is_shared.get() {
            self.worker.unregister(self.key);
        }
        self.listener_stats.downstream_cx_active.sub(1);
        self.listener_stats.downstream_cx_destroy.add(1);
        self.listener_stats.downstream_cx_length_ms.record(self.age_ms());
    }
}
