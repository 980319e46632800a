//! The two drivers behind one completion-shaped interface.
//!
//! A driver arms receives, makes send attempts, waits, and reports to `flow.rs`. It decides nothing about tasks or bytes.
//! Same semantics on both; the tests run on both.

#[cfg(feature = "fault")]
mod fault;
mod kernel;
mod operation;
mod poll;
mod probe;
mod ring;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::core::{Inner, Options};
use crate::feature::FeatureSet;
use crate::listener::ListenSlot;
use crate::pool::Pools;
use crate::refusal;
use crate::report::{IoChoice, IoReport, StartError};
use crate::socket::Socket;
use crate::wake::Wake;

use poll::PollDriver;
use ring::RingDriver;

pub(crate) enum Driver {
    Ring(RingDriver),
    Poll(PollDriver),
}

impl Driver {
    /// Sets up the driver that `options.io` asks for, with its buffers, on the thread that will run it.
    pub(crate) fn start(options: &Options, wake: &Arc<Wake>) -> Result<(Driver, Box<Pools>, IoReport), StartError> {
        let (reason, advice) = match options.io {
            IoChoice::Poll => ("asked for".to_string(), ""),
            #[cfg(feature = "fault")]
            IoChoice::Fault(seed) => {
                let options = &fault::scanty(options, seed);
                let pools = Box::new(Pools::new(options));
                pools.start(true);
                let (driver, report) = RingDriver::start_fault(options, &pools, wake, seed);
                return Ok((Driver::Ring(driver), pools, report));
            }
            IoChoice::Ring | IoChoice::Auto => {
                let pools = Box::new(Pools::new(options));
                pools.start(true);
                match RingDriver::start(options, &pools, wake) {
                    Ok((driver, features)) => {
                        let asked = options.io == IoChoice::Ring;
                        let reason = if asked { "asked for" } else { "the kernel allows it" }.to_string();
                        let missing = probe::missing(features);
                        let features = probe::shown(features).to_string();
                        let report = IoReport { driver: "ring", features, missing, reason, advice: "" };
                        return Ok((Driver::Ring(driver), pools, report));
                    }
                    Err(mut error) => {
                        error.advice = refusal::advice(&error.error, Path::new("/"));
                        // A kernel that failed the self-test may still hold on to the buffers: they stay, once.
                        std::mem::forget(pools);
                        if options.io == IoChoice::Ring {
                            return Err(error);
                        }
                        (format!("no io_uring here: {}: {}", error.tried, error.error), error.advice)
                    }
                }
            }
        };
        let pools = Box::new(Pools::new(options));
        pools.start(false);
        let driver = PollDriver::new(wake)?;
        let missing = FeatureSet::default();
        let report = IoReport { driver: "poll", features: "epoll_edge".into(), missing, reason, advice };
        Ok((Driver::Poll(driver), pools, report))
    }

    /// Arms the receive of an idle socket: chunks, or one bulk buffer when bulk is wanted and there is one.
    #[inline]
    pub(crate) fn arm_recv(&self, inner: &Inner, socket: &Socket) {
        match self {
            Driver::Ring(driver) => driver.arm_recv(inner, socket),
            Driver::Poll(driver) => driver.arm_recv(socket),
        }
    }

    /// Disarms the receive, so that it can be armed in another way or not at all: `receive_idle` follows.
    pub(crate) fn disarm_recv(&self, inner: &Inner, socket: &Socket) {
        match self {
            Driver::Ring(driver) => driver.disarm_recv(inner, socket),
            Driver::Poll(driver) => driver.disarm_recv(inner, socket),
        }
    }

    /// Reports `readable` once the socket is: for a socket whose receive is idle.
    pub(crate) fn arm_readable(&self, socket: &Socket) {
        match self {
            Driver::Ring(driver) => driver.arm_readable(socket),
            Driver::Poll(driver) => driver.arm_readable(socket),
        }
    }

    /// Reports `writable` once the socket is.
    pub(crate) fn arm_writable(&self, socket: &Socket) {
        match self {
            Driver::Ring(driver) => driver.arm_writable(socket),
            // The edge is registered for all of the socket's life.
            Driver::Poll(_) => {}
        }
    }

    /// Makes the turn's one send attempt, if there is output that may go, and what follows it.
    #[inline]
    pub(crate) fn flush(&self, inner: &Inner, socket: &Socket) {
        match self {
            Driver::Ring(driver) => driver.flush(inner, socket),
            Driver::Poll(driver) => driver.flush(inner, socket),
        }
    }

    /// Cancels all that is in flight for a closing socket; it is finished when the last of it has completed.
    pub(crate) fn cancel(&self, socket: &Socket) {
        match self {
            Driver::Ring(driver) => driver.cancel(socket),
            Driver::Poll(_) => unreachable!("nothing is ever in flight on poll"),
        }
    }

    /// A socket slot was filled.
    pub(crate) fn attach(&self, inner: &Inner, socket: &Socket) -> std::io::Result<()> {
        match self {
            Driver::Ring(_) => Ok(()),
            Driver::Poll(driver) => driver.attach(inner, socket),
        }
    }

    /// A socket's descriptor leaves this core alive.
    pub(crate) fn detach(&self, inner: &Inner, socket: &Socket) {
        match self {
            Driver::Ring(_) => {}
            Driver::Poll(driver) => driver.detach(inner, socket),
        }
    }

    /// Starts accepting (again).
    pub(crate) fn arm_accept(&self, inner: &Inner, slot: &ListenSlot) {
        match self {
            Driver::Ring(driver) => driver.arm_accept(slot),
            Driver::Poll(driver) => driver.arm_accept(inner, slot),
        }
    }

    /// Stops accepting; the slot is idle once the last accept has completed.
    pub(crate) fn disarm_accept(&self, inner: &Inner, slot: &ListenSlot) {
        match self {
            Driver::Ring(driver) => driver.disarm_accept(slot),
            Driver::Poll(driver) => driver.disarm_accept(inner, slot),
        }
    }

    /// Submits, waits at most `timeout` (for ever when `None`) unless something is due, and takes what has completed.
    #[inline]
    pub(crate) fn enter(&self, inner: &Inner, timeout: Option<Duration>) {
        match self {
            Driver::Ring(driver) => driver.enter(inner, timeout),
            Driver::Poll(driver) => driver.enter(inner, timeout),
        }
    }

    /// Whether the kernel writes to receive chunks only inside `enter`.
    pub(crate) fn fills_only_inside_enter(&self) -> bool {
        match self {
            Driver::Ring(driver) => driver.fills_only_inside_enter(),
            Driver::Poll(_) => true,
        }
    }

    /// The core has ended: nothing is in flight.
    pub(crate) fn end(&self) {
        match self {
            Driver::Ring(driver) => driver.end(),
            Driver::Poll(_) => {}
        }
    }
}
