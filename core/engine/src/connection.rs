//! A client connection as its exchanges see it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use ringway_model::{ChainId, ListenerId};
use ringway_observe::HttpStats;
use ringway_runtime::{Stream, Timer};

use crate::worker::Worker;

/// What becomes of the connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may come.
    KeepAlive,
    /// All is answered; the client reads to the end and sees a clean close.
    Linger,
    /// The connection is of no use to anyone: close at once.
    Close,
}

/// A client connection between and during its exchanges.
pub(crate) struct Downstream {
    pub(crate) worker: Rc<Worker>,
    pub(crate) stream: Stream,
    pub(crate) timer: Timer,
    pub(crate) listener: ListenerId,
    pub(crate) chain: ChainId,
    /// Its place in the worker's register, by which a drain finds it.
    pub(crate) key: usize,
    /// Whether a request was answered on it. One that was not has just come, and its first request is on its way.
    pub(crate) served: Cell<bool>,
    pub(crate) stats: Arc<HttpStats>,
}
