//! One socket that connections are accepted from on this core, from its first connection to its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use ringway_model::ListenerId;
use ringway_observe::ListenerStats;

use crate::handoff::SocketGroup;
use crate::message::{SocketKey, SocketSeed};
use crate::view::View;

/// One socket being accepted from.
pub(crate) struct Run {
    pub(crate) key: SocketKey,
    /// Whose connections these are: may change with a generation, the socket stays.
    pub(crate) listener: Cell<ListenerId>,
    /// `connection_balance_config.exact_balance` of that listener.
    pub(crate) exact: Cell<bool>,
    /// The sockets of this address on all workers.
    pub(crate) group: Arc<SocketGroup>,
    /// Those of that listener.
    stats: RefCell<Arc<ListenerStats>>,
    pub(crate) closing: Cell<bool>,
    pub(crate) waker: RefCell<Option<Waker>>,
    /// The last generation that had the listener, once it is gone.
    last_view: RefCell<Option<Rc<View>>>,
}

impl Run {
    pub(crate) fn new(seed: SocketSeed, group: Arc<SocketGroup>) -> Rc<Self> {
        Rc::new(Self {
            key: seed.key,
            listener: Cell::new(seed.listener),
            exact: Cell::new(seed.exact),
            group,
            stats: RefCell::new(seed.stats),
            closing: Cell::new(false),
            waker: RefCell::default(),
            last_view: RefCell::default(),
        })
    }

    /// Whose connections these are from now on.
    pub(crate) fn belongs_to(&self, seed: &SocketSeed) {
        self.listener.set(seed.listener);
        self.exact.set(seed.exact);
        *self.stats.borrow_mut() = Arc::clone(&seed.stats);
    }

    pub(crate) fn stats(&self) -> Arc<ListenerStats> {
        Arc::clone(&self.stats.borrow())
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
