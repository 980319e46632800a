//! The two drivers behind one completion-shaped interface.
//!
//! A driver arms receives, makes send attempts, waits, and reports to `flow.rs`. It decides nothing about tasks or bytes.
//! Same semantics on both; the tests run on both.

mod poll;

use std::sync::Arc;
use std::time::Duration;

use crate::core::{Inner, Options};
use crate::listener::ListenSlot;
use crate::pool::Pools;
use crate::report::{IoReport, StartError};
use crate::socket::Socket;
use crate::stats::LoopStats;
use crate::wake::Wake;

use poll::PollDriver;

pub(crate) enum Driver {
    Poll(PollDriver),
}

macro_rules! each {
    ($self:ident, $driver:ident => $call:expr) => {
        match $self {
            Driver::Poll($driver) => $call,
        }
    };
}

impl Driver {
    /// Sets up the driver that `options.io` asks for, with its buffers, on the thread that will run it.
    pub(crate) fn start(
        options: &Options,
        stats: &Arc<LoopStats>,
        wake: &Arc<Wake>,
    ) -> Result<(Driver, Box<Pools>, IoReport), StartError> {
        let pools = Box::new(Pools::new(options, stats.clone()));
        pools.start(false);
        let driver = PollDriver::new(wake)?;
        let report = IoReport { driver: "poll", features: "epoll_edge".into(), reason: "asked for".into() };
        Ok((Driver::Poll(driver), pools, report))
    }

    /// Arms the receive of an idle socket: chunks, or one bulk buffer when bulk is wanted and there is one.
    #[inline]
    pub(crate) fn arm_recv(&self, inner: &Inner, socket: &Socket) {
        each!(self, driver => driver.arm_recv(inner, socket))
    }

    /// Disarms the receive, so that it can be armed in another way or not at all: `receive_idle` follows.
    pub(crate) fn disarm_recv(&self, inner: &Inner, socket: &Socket) {
        each!(self, driver => driver.disarm_recv(inner, socket))
    }

    /// Reports `writable` once the socket is.
    pub(crate) fn arm_writable(&self, inner: &Inner, socket: &Socket) {
        each!(self, driver => driver.arm_writable(inner, socket))
    }

    /// Makes the turn's one send attempt, if there is output that may go, and what follows it.
    #[inline]
    pub(crate) fn flush(&self, inner: &Inner, socket: &Socket) {
        each!(self, driver => driver.flush(inner, socket))
    }

    /// Cancels all that is in flight for a closing socket; it is finished when the last of it has completed.
    pub(crate) fn cancel(&self, inner: &Inner, socket: &Socket) {
        each!(self, driver => driver.cancel(inner, socket))
    }

    /// A socket slot was filled.
    pub(crate) fn attach(&self, inner: &Inner, socket: &Socket) -> std::io::Result<()> {
        each!(self, driver => driver.attach(inner, socket))
    }

    /// A socket's descriptor leaves this core alive.
    pub(crate) fn detach(&self, inner: &Inner, socket: &Socket) {
        each!(self, driver => driver.detach(inner, socket))
    }

    /// Starts accepting (again).
    pub(crate) fn arm_accept(&self, inner: &Inner, slot: &ListenSlot) {
        each!(self, driver => driver.arm_accept(inner, slot))
    }

    /// Stops accepting; the slot is idle once the last accept has completed.
    pub(crate) fn disarm_accept(&self, inner: &Inner, slot: &ListenSlot) {
        each!(self, driver => driver.disarm_accept(inner, slot))
    }

    /// Submits, waits at most `timeout` (for ever when `None`) unless something is due, and takes what has completed.
    #[inline]
    pub(crate) fn enter(&self, inner: &Inner, timeout: Option<Duration>) {
        each!(self, driver => driver.enter(inner, timeout))
    }

    /// Whether the kernel writes to receive chunks only inside `enter`.
    pub(crate) fn fills_only_inside_enter(&self) -> bool {
        match self {
            Driver::Poll(_) => true,
        }
    }

    /// The core has ended: nothing is in flight.
    pub(crate) fn end(&self, inner: &Inner) {
        let _ = inner;
    }
}
